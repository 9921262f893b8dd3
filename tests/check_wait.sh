#!/bin/sh
# No step waits for the host: on the pretend driver, which does what is enqueued only when somebody waits for it, a run
# of many steps waits a few times, and gives the bits of one that waits for each of them (HONE_AHEAD=0).
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone
HONE_LIBCUDA=$builddir/tests/pretend_cuda.so
HONE_LIBNVRTC=$HONE_LIBCUDA
export HONE_LIBCUDA HONE_LIBNVRTC
unset HONE_PRETEND_FAIL HONE_PRETEND_ORDER HONE_PRETEND_CC HONE_PRETEND_DEAF HONE_GRAPH HONE_LAUNCH HONE_AHEAD

printf 'input x c=6\nfc a = x k=8 act=tanh\ndropout d = a p=0.25\nfc y = d k=1\nmse l = y\n' >line.net
printf 'input x c=16\nfc a = x k=8 act=tanh\nfc y = a k=26\nsoftmax_ce l = y\n' >letter.net
printf 'input x c=1 h=12 w=12\nconv c = x k=4 r=3 stride=2 act=relu\nflatten f = c\nfc y = f k=4\nsoftmax_ce l = y\n' >small.net
go() { # go NAME OPTIONS...: what is printed but seconds, weights, counts
    name=$1
    shift
    HONE_PRETEND_COUNTS=$tmp/counts.$name "$hone" train --device gpu0 --untuned --losses 999 --save "$tmp/$name" "$@" >out 2>err
    code=$?
    { sed -n 's/^step //p; s/^ *\([12]\)  *[0-9.]* *[0-9]* *\(.*\) [0-9.]*$/\1 \2/p' out; grep '^epoch.*norm\|skipped' err; } >said.$name
    grep -q 'pretend driver' err && code=99
}
waits() { sed 's/.*waits //' "counts.$1"; }
alike() { [ $code = 0 ] && [ "$(grep -c . "said.$1")" -gt 20 ] && cmp -s "said.$1" "said.$2" && cmp -s "$1" "$2"; }

# ---- how often ----
letters() { echo "--net ./letter.net --data synthetic:1x1x16:26:$1 --batch 16 --lr 0.01"; }
go few $(letters 320) --epochs 1
go many $(letters 1600) --epochs 1
[ $code = 0 ] && [ $(($(waits many) - $(waits few))) -le 10 ]
tap $? "80 steps and their evaluation wait $(waits many) times, 16 steps $(waits few) times"
HONE_AHEAD=0 go slow $(letters 1600) --epochs 1
alike many slow && [ "$(waits slow)" -ge $(($(waits many) + 70)) ]
tap $? "waiting for each of them would be $(waits slow) times, to the same bits"

# ---- the same bits ----
while read -r what options; do
    for ahead in 0 3 16; do
        # shellcheck disable=SC2086
        HONE_AHEAD=$ahead go "ahead$ahead" $options --epochs 2
    done
    alike ahead0 ahead3 && alike ahead0 ahead16
    tap $? "$what: $(grep -c . said.ahead0) lines and the weights are the same, however far ahead"
done <<END
numbers,dropout,clipped --net ./line.net --data synthetic:1x1x6:0:490 --batch 16 --optimizer adam --clip 0.5
batches-put --net ./line.net --data synthetic:1x1x6:0:490 --batch 16 --optimizer rmsprop --feed inline
batches-put-by-a-thread --net ./letter.net --data synthetic:1x1x16:26:490 --batch 16 --feed background
f16 --net ./letter.net --data synthetic:1x1x16:26:330 --batch 16 --dtype f16
pictures --net ./small.net --data synthetic:12x12x1:4:205 --batch 10 --augment crop:2,flip
checkpoints --net ./letter.net --data synthetic:1x1x16:26:490 --batch 16 --checkpoint run.ckpt --checkpoint-every 7
END
for launch in 1 2 5; do
    HONE_LAUNCH=$launch HONE_AHEAD=0 go launch0 $(letters 490) --epochs 2
    HONE_LAUNCH=$launch go launch $(letters 490) --epochs 2
    alike launch0 launch
    tap $? "$launch steps in a launch: so are they"
done
HONE_GRAPH=0 go plain $(letters 490) --epochs 2
go graph $(letters 490) --epochs 2
alike plain graph
tap $? 'steps one by one: so are they'

# ---- a teacher ----
go teacher $(letters 490) --epochs 1
for cache in '' --teacher-cache; do
    # shellcheck disable=SC2086
    HONE_AHEAD=0 go host $(letters 490) --epochs 2 --teacher ./letter.net --teacher-weights teacher $cache
    # shellcheck disable=SC2086
    go device $(letters 490) --epochs 2 --teacher ./letter.net --teacher-weights teacher $cache
    # Behind the losses stand the teacher's seconds.
    for i in host device; do grep loss "said.$i" >losses && mv losses "said.$i"; done
    alike host device && [ "$(waits device)" -lt "$(waits host)" ]
    tap $? "with a teacher $cache: the same bits, $(waits device) waits for $(waits host)"
done

# ---- f16: the device decides about the scale ----
# Of errors near 100 the gradient times 65536 is infinite in f16, and so the first steps are skipped; learning rates
# change with every step that is not.
printf 'input x c=4\nfc a = x k=16 act=tanh\nfc y = a k=1\nmse l = y\n' >half.net
awk 'BEGIN { srand(3); print "a,b,c,d,y"; for (i = 0; i < 205; i++) { a = rand(); b = rand(); print a "," b "," rand() "," rand() "," 100 + 20 * a - 10 * b } }' >half.csv
half='--net ./half.net --data half.csv --target y --split 0.8 --batch 8 --epochs 2 --lr 0.5 --schedule exp:0.5 --dtype f16'
for optimizer in 'sgd --lr 0.001 --momentum 0.9' adam adamw 'rmsprop --momentum 0.5 --weight-decay 0.01' adadelta 'adam --clip 1'; do
    # shellcheck disable=SC2086
    HONE_AHEAD=0 go host $half --optimizer $optimizer
    # shellcheck disable=SC2086
    go device $half --optimizer $optimizer
    alike host device && grep -q 'steps so far were skipped' said.device && [ "$(waits device)" -lt $(($(waits host) - 60)) ]
    tap $? "f16, $optimizer: the same bits where the device decides, with $(waits device) waits for $(waits host); $(tail -1 said.device)"
done
# shellcheck disable=SC2086
go never $half --loss-scale 1e9
[ $code = 1 ] && grep -q 'epoch 1, step 1: gradients are not finite at --loss-scale 1e+09' err
tap $? "a scale of its own that is too large is told: $(tail -1 err)"
# shellcheck disable=SC2086
go until $half --until 1 --checkpoint half.ckpt
# shellcheck disable=SC2086
go device $half
# shellcheck disable=SC2086
go resumed $half --resume half.ckpt
[ $code = 0 ] && cmp -s device resumed
tap $? 'a checkpoint keeps the scale'

# ---- cut off and continued ----
HONE_PRETEND_FAIL=cuGraphLaunch:41 go off $(letters 490) --epochs 2 --checkpoint cut.ckpt --checkpoint-every 9
[ $code = 1 ] && grep -q 'epoch 2, step [0-9]*: the step as one graph' err && [ -s cut.ckpt ]
tap $? "cut off: $(tail -1 err)"
go on $(letters 490) --epochs 2 --resume cut.ckpt
[ $code = 0 ] && cmp -s graph on && grep -q 'goes on in epoch 2 after step 3[0-9]' err
tap $? "a checkpoint in the middle leads to the same end: $(grep 'goes on' err)"

# ---- a loss that is no number ----
printf 'input x c=2\nfc a = x k=4 act=relu\nfc y = a k=1\nmse l = y\n' >far.net
awk 'BEGIN { srand(1); print "a,b,y"; for (i = 0; i < 400; i++) print rand() "," rand() "," rand() }' >far.csv
far='--net ./far.net --data far.csv --target y --split 0.8 --batch 4 --epochs 1 --optimizer sgd --lr 9e5'
HONE_AHEAD=0 go at_once $far
grep -o 'epoch 1, step [0-9]*: the loss is [a-z]*' err >where.at_once
go later $far
[ $code = 1 ] && grep -q "$(cat where.at_once): weights of layer 'a' (fc) are not finite after the update, found 1[0-9] steps later (HONE_AHEAD=0: at once)" err && cmp -s said.at_once said.later
tap $? "found later, it is named: $(tail -1 err)"

# ---- calls that fail ----
for call in cuMemHostAlloc cuEventCreate cuEventRecord cuEventSynchronize cuMemcpyHtoDAsync_v2 cuMemcpyDtoHAsync_v2; do
    told=0 other=0 good=0
    for i in 1 2 3 4 5 7 11 21 45; do
        HONE_PRETEND_FAIL=$call:$i go no $(letters 490) --epochs 1 --feed inline
        if [ $code = 0 ] && cmp -s "said.no" said.whole; then good=$((good + 1))
        elif [ $code = 1 ] && grep -q "${call%_v2}: CUDA_ERROR_UNKNOWN" err; then told=$((told + 1))
        elif [ $code = 0 ] && [ ! -f said.whole ]; then cp said.no said.whole; good=$((good + 1))
        else other=$((other + 1)); fi
    done
    [ $other = 0 ] && [ $told -ge 3 ]
    tap $? "$call fails: told $told times, $good times not called so often"
done

# ---- who does not wait is found ----
HONE_PRETEND_DEAF=1 go deaf $(letters 490) --epochs 2
[ $code != 0 ] || ! cmp -s said.deaf said.graph
tap $? "a program that did not wait for events would be found: $(tail -1 err | cut -c1-90)"
echo 1..$n
exit $bad
