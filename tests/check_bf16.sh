#!/bin/sh
# --dtype bf16 through every command: training, continuing, weights that f32 reads, evaluation, sweeps, tuning, and the memory it saves.
. "$(dirname "$0")/scratch.inc"
hone() { "$builddir/hone" "$@" >out 2>err; }
# field NAME: of JSON in out, one number a line.
field() { sed -n "s/^ *\"$1\": \([-+.e0-9]*\),*$/\1/p" out; }

printf 'input x c=1 h=12 w=12\nconv c1 = x k=8 r=3 p=1\nbnorm b1 = c1\nrelu r1 = b1\nmaxpool p1 = r1 r=3 stride=2\nconv c2 = p1 k=8 r=3 p=1 act=relu\nadd s = c2 p1\ngap g = s\nfc f = g k=16 act=tanh\nfc y = f k=4\nsoftmax_ce l = y\n' >own.net
run='--net own.net --data synthetic:12x12x1:4:500 --epochs 4 --batch 16 --optimizer adam --lr 0.01 --losses 300 --dtype bf16'
# shellcheck disable=SC2086
hone train $run --save want.safetensors; tap $? 'a net trains in bf16'
grep ^step out >want.steps
[ "$(wc -l <want.steps)" = 100 ]; tap $? 'a hundred steps'
awk '/^ *4 / { exit !($0 ~ /0\.[89]|1\.0/) }' out; tap $? 'and learns'
# shellcheck disable=SC2086
hone train $run --save again.safetensors
grep ^step out | cmp -s - want.steps && cmp -s want.safetensors again.safetensors; tap $? 'the same losses and weights again, to the last bit'

# ---- killed and continued ----
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
hone train ${run% --dtype bf16} --resume run.ckpt
[ $? = 1 ] && grep -q 'run.ckpt: was written with --dtype bf16, and this run has f32$' err; tap $? 'not in another type'

# ---- files of weights are floats, which f32 reads, and the other way round ----
head -c 4000 want.safetensors | tr -d '\0' | grep -q '"dtype": *"F32"' && ! head -c 4000 want.safetensors | tr -d '\0' | grep -q BF16; tap $? 'weights in files are f32'
for t in bf16 f32; do
    hone evaluate --net own.net --weights want.safetensors --data synthetic:12x12x1:4:500 --dtype $t --json; tap $? "evaluated in $t"
    field accuracy | head -n 1 >acc.$t; field loss | head -n 1 >loss.$t
    hone predict --net own.net --weights want.safetensors --data synthetic:12x12x1:4:500 --dtype $t; tap $? "predicted in $t"
    grep -v '^[#a-z]' out | awk '{ print $2 }' >class.$t
done
paste loss.bf16 loss.f32 | awk '{ exit !(NF == 2 && ($1 - $2) ^ 2 < 1e-3 && $1 != $2) }'; tap $? "the losses are near each other, and not the same: $(cat loss.bf16) $(cat loss.f32)"
paste acc.bf16 acc.f32 | awk '{ exit !($1 > 0.7 && ($1 - $2) ^ 2 < 4e-4) }'; tap $? "so are the accuracies: $(cat acc.bf16) $(cat acc.f32)"
paste class.bf16 class.f32 | awk '{ same += $1 == $2 } END { exit !(NR == 100 && same > 96) }'; tap $? 'and so are the predictions'
# shellcheck disable=SC2086
hone train ${run% --dtype bf16} --epochs 1 --save f32.safetensors && hone train $run --epochs 1 --weights f32.safetensors; tap $? 'bf16 goes on with the weights of f32'

# ---- memory ----
for t in f32 bf16; do
    hone profile --net lenet5 --batch 128 --rounds 3 --dtype $t --json; tap $? "profiled in $t"
    python3 -c 'import json; print(json.load(open("out"))["memory"]["activations"])' >mem.$t
done
paste mem.bf16 mem.f32 | awk '{ r = $1 / $2; exit !(r > 0.4 && r < 0.65) }'; tap $? "activations take about half: $(cat mem.bf16) of $(cat mem.f32) bytes"

# ---- sweep, tuner, bench ----
hone sweep --net own.net --data synthetic:12x12x1:4:500 --epochs 2 --batch 16 --optimizer adam --lr 0.01 --dtype f32,bf16 -o types; tap $? 'a sweep over types'
[ "$(cut -d, -f1 types/table.csv | tr '\n' ' ')" = 'dtype f32 bf16 ' ]; tap $? 'has a row of each'
hone autotune --net own.net --batch 16 --dtype bf16 --budget 2; tap $? 'its problems are tuned'
hone db ls; grep -q 'conv2d_wgrad:bf16:nhwc' out && grep -q 'gemm:bf16:tn:.*wide' out && grep -q 'narrow:bf16' out; tap $? 'and kept'
hone bench --problem maxpool_bwd:bf16:nhwc:mb2ic6ih9kh3sh2ph1 --windows 1; tap $? 'and timed one by one'
hone kernels --problem conv2d_fwd:bf16:nhwc:mb2ic3ih9oc8kh3ph1; grep -q cpu_widened out; tap $? 'kernels list them'

echo 1..$n
exit $bad
