#!/bin/sh
# --dtype bf16 and f16 through every command: training, continuing, weights that f32 reads, evaluation, sweeps, tuning, and the memory it saves.
. "$(dirname "$0")/scratch.inc"
hone() { "$builddir/hone" "$@" >out 2>err; }
# field NAME: of JSON in out, one number a line.
field() { sed -n "s/^ *\"$1\": \([-+.e0-9]*\),*$/\1/p" out; }

printf 'input x c=1 h=12 w=12\nconv c1 = x k=8 r=3 p=1\nbnorm b1 = c1\nrelu r1 = b1\nmaxpool p1 = r1 r=3 stride=2\nconv c2 = p1 k=8 r=3 p=1 act=relu\nadd s = c2 p1\ngap g = s\nfc f = g k=16 act=tanh\nfc y = f k=4\nsoftmax_ce l = y\n' >own.net
for T in bf16 f16; do
run='--net own.net --data synthetic:12x12x1:4:500 --epochs 4 --batch 16 --optimizer adam --lr 0.01 --losses 300 '"--dtype $T"
# shellcheck disable=SC2086
hone train $run --save want.safetensors; tap $? "a net trains in $T"
grep ^step out >want.steps
[ "$(wc -l <want.steps)" = 100 ]; tap $? 'a hundred steps'
awk '$1 == 4 { exit !($7 > 0.7) }' out; tap $? 'and learns'
# shellcheck disable=SC2086
hone train $run --save again.safetensors
grep ^step out | cmp -s - want.steps && cmp -s want.safetensors again.safetensors; tap $? 'the same losses and weights again, to the last bit'

# ---- killed and continued ----
: >out   # the one before was as long
# shellcheck disable=SC2086
"$builddir/hone" train $run --checkpoint run.ckpt --checkpoint-every 5 >out 2>err &
pid=$!
while kill -0 $pid 2>/dev/null && [ "$(wc -l <out)" -lt 37 ]; do sleep 0.01; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
# shellcheck disable=SC2086
hone train $run --resume run.ckpt --save got.safetensors; tap $? 'killed, it goes on'
cmp -s want.safetensors got.safetensors; tap $? 'to the same weights, to the last bit'
# shellcheck disable=SC2086
hone train ${run% --dtype *} --resume run.ckpt
[ $? = 1 ] && grep -q 'run.ckpt: was written with --dtype '$T', and this run has f32$' err; tap $? 'not in another type'

# ---- files of weights are floats, which f32 reads, and the other way round ----
head -c 4000 want.safetensors | tr -d '\0' | grep -q '"dtype": *"F32"' && ! head -c 4000 want.safetensors | tr -d '\0' | grep -q F16; tap $? 'weights in files are f32'
for t in $T f32; do
    hone evaluate --net own.net --weights want.safetensors --data synthetic:12x12x1:4:500 --dtype "$t" --json; tap $? "evaluated in $t"
    field accuracy | head -n 1 >"acc.$t"; field loss | head -n 1 >"loss.$t"
    hone predict --net own.net --weights want.safetensors --data synthetic:12x12x1:4:500 --dtype "$t"; tap $? "predicted in $t"
    grep -v '^[#a-z]' out | awk '{ print $2 }' >"class.$t"
done
paste "loss.$T" loss.f32 | awk '{ exit !(NF == 2 && ($1 - $2) ^ 2 < 1e-3 && $1 != $2) }'; tap $? "the losses are near each other, and not the same: $(cat "loss.$T") $(cat loss.f32)"
paste "acc.$T" acc.f32 | awk '{ exit !($1 > 0.7 && ($1 - $2) ^ 2 < 4e-4) }'; tap $? "so are the accuracies: $(cat "acc.$T") $(cat acc.f32)"
paste "class.$T" class.f32 | awk '{ same += $1 == $2 } END { exit !(NR == 100 && same > 96) }'; tap $? 'and so are the predictions'
# shellcheck disable=SC2086
hone train ${run% --dtype *} --epochs 1 --save f32.safetensors && hone train $run --epochs 1 --weights f32.safetensors; tap $? "$T goes on with the weights of f32"

# ---- memory ----
for t in f32 $T; do
    hone profile --net lenet5 --batch 128 --rounds 3 --dtype "$t" --json; tap $? "profiled in $t"
    python3 -c 'import json; print(json.load(open("out"))["memory"]["activations"])' >"mem.$t"
done
paste "mem.$T" mem.f32 | awk '{ r = $1 / $2; exit !(r > 0.4 && r < 0.65) }'; tap $? "activations take about half: $(cat "mem.$T") of $(cat mem.f32) bytes"

# ---- sweep, tuner, bench ----
hone sweep --net own.net --data synthetic:12x12x1:4:500 --epochs 2 --batch 16 --optimizer adam --lr 0.01 --dtype f32,$T -o types.$T; tap $? 'a sweep over types'
[ "$(cut -d, -f1 types.$T/table.csv | tr '\n' ' ')" = "dtype f32 $T " ]; tap $? 'has a row of each'
hone autotune --net own.net --batch 16 --dtype $T --budget 2; tap $? 'its problems are tuned'
hone db ls; grep -q "conv2d_wgrad:$T:nhwc" out && grep -q "gemm:$T:tn:.*wide" out && grep -q "narrow:$T" out; tap $? 'and kept'
hone bench --problem maxpool_bwd:$T:nhwc:mb2ic6ih9kh3sh2ph1 --windows 1; tap $? 'and timed one by one'
hone kernels --problem conv2d_fwd:$T:nhwc:mb2ic3ih9oc8kh3ph1; grep -q cpu_widened out; tap $? 'kernels list them'
done

# ---- f16: the loss's scale ----
# Of errors near 100 the gradient times 65536 is infinite in f16, and so the first steps are skipped.
printf 'input x c=4\nfc a = x k=16 act=tanh\nfc y = a k=1\nmse l = y\n' >far.net
awk 'BEGIN { srand(3); print "a,b,c,d,y"; for (i = 0; i < 200; i++) { a = rand(); b = rand(); print a "," b "," rand() "," rand() "," 100 + 20 * a - 10 * b } }' >far.csv
far='--net far.net --data far.csv --target y --split 0.8 --epochs 6 --batch 8 --optimizer adam --lr 0.5 --dtype f16'
# shellcheck disable=SC2086
hone train $far --json; tap $? 'a net whose gradients are infinite at first trains'
field skipped_steps | tail -n 1 >skipped; field loss_scale | tail -n 1 | paste skipped - | awk '{ exit !($1 > 0 && $2 == 65536 / 2 ^ $1) }'; tap $? "$(cat skipped) steps were skipped, and each halved the scale"
# shellcheck disable=SC2086
hone train $far; grep -q "steps so far were skipped" err; tap $? "which is said: $(tail -n 1 err)"
# shellcheck disable=SC2086
hone train $far --loss-scale 1e9; [ $? = 1 ] && grep -q 'gradients are not finite at --loss-scale 1e+09' err; tap $? 'at a scale of its own that is an error'
# shellcheck disable=SC2086
hone train $far --save want.safetensors; hone train $far --epochs 2 --checkpoint run.ckpt
# shellcheck disable=SC2086
hone train $far --resume run.ckpt --save got.safetensors && cmp -s want.safetensors got.safetensors; tap $? 'a checkpoint keeps the scale'
# A scale that is far too small leaves gradients of nothing, and no one learns.
for s in 1e-9 1 1024 auto; do
    # shellcheck disable=SC2086
    hone train $run --epochs 2 --loss-scale $s --json; field train_loss | tail -n 1 >loss.$s
done
paste loss.1e-9 loss.1024 loss.auto | awk '{ exit !(NF == 3 && $1 > $2 * 1.2 && $3 < $2 * 1.05 && $3 > $2 * 0.95) }'; tap $? "without gradients nothing is learnt: losses $(cat loss.1e-9 loss.1 loss.1024 loss.auto | tr '\n' ' ')"
hone train --net own.net --data synthetic:12x12x1:4:500 --epochs 1 --loss-scale 8; [ $? = 2 ] && grep -q -e '--loss-scale is for --dtype f16' err; tap $? 'no scale in f32'

echo 1..$n
exit $bad
