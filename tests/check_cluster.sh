#!/bin/sh
# Clusters of blocks on the pretend driver: a net that one block has no room for trains in a cluster as
# it does in steps apart; and what a GPU lacks is told.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/pretend.inc"

# ---- a net ----
# 16,695 parameters, and adam's two states: 265 KiB with their gradients, where a block has 227 KiB.
printf 'input x c=130\nfc h = x k=121 act=relu\nfc y = h k=7\nsoftmax_ce l = y\n' >wide.net
printf 'input x c=2 h=13 w=5\nflatten f = x\nfc h = f k=121 act=relu\nfc y = h k=7\nsoftmax_ce l = y\n' >pictures.net
train() { # train STEPS WEIGHTS
    HONE_LAUNCH=$1 "$hone" train --device gpu0 --untuned --net ${net:-wide}.net --data synthetic:${shape:-1x1x130}:7:${rows:-25} --split 0.8 --batch ${batch:-4} --epochs 1 --optimizer adam --lr 0.01 --losses 99 --save "$tmp/$2" >out 2>err
    code=$?
    sed -n 's/^step \([0-9]*\) loss \([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1 \2/p' out >losses.$2
    grep -q 'pretend driver' err && code=99
}
agree() { # agree NAME: of nothing, one step and three in a launch
    train 0 none
    train 1 one
    [ $code = 0 ] && [ "$(grep -c . losses.one)" = 5 ] && cmp -s losses.none losses.one && grep -q '0 of 1 steps tuned' err
    tap $? "$1: steps in a cluster have the losses of their parts: $(tail -1 losses.one)"
    train 3 three
    [ $code = 0 ] && cmp -s losses.one losses.three && cmp -s one three
    tap $? "$1: three steps in a launch have the bits of one by one"
}
agree "a wide net"
# The last 4 of 64 rows need less shared memory than the 60 before, in the same function.
rows=80 batch=60 train 1 rest
[ $code = 0 ] && [ "$(grep -c . losses.rest)" = 2 ]
tap $? "a short batch at the end has a plan of its own: $(tail -1 losses.rest)"
net=pictures shape=13x5x2
agree "a net of pictures"
net=wide shape=1x1x130
HONE_GRAPH=0 HONE_PRETEND_FAIL=cuLaunchKernelEx:2 train 1 no
[ $code = 1 ] && grep -q 'epoch 1, step [0-9]*: .*cuLaunchKernelEx: CUDA_ERROR_UNKNOWN' err
tap $? "a launch that fails is told: $(grep -o 'epoch.*' err | head -1)"
HONE_LAUNCH=1 "$hone" profile --device gpu0 --net wide.net --batch 4 --optimizer adam --seconds 1 --rounds 1 >out 2>err
has '^(net)  *whole .*cuda_cluster' "hone profile shows the kernel"
HONE_PRETEND_CLUSTER=4 "$hone" autotune --device gpu0 --net wide.net --batch 4 --optimizer adam --budget 4s >out 2>err
[ $? = 0 ] && grep -q 'mlp_ce.*cuda_cluster' out && ! grep -q 'pretend driver' err
tap $? "hone autotune measures it beside the steps apart, and passes over clusters that there is no room for"

# ---- what a GPU lacks ----
wide=mlp_ce:f32:any:mb4i130h121o7:relu+adam
"$hone" kernels --device gpu0 --problem $wide >out 2>err
has 'cuda_block.* needs [0-9]* bytes of shared memory, and a block has 232448' "the net needs more than a block has"
HONE_PRETEND_CC=80 "$hone" kernels --device gpu0 --problem $wide >out 2>err
has 'cuda_cluster.*sm_90 and later' "older GPUs have no clusters"
"$hone" kernels --device gpu0 --problem mlp_ce:f32:any:mb64i784h1024o10:relu+adam >out 2>err
has 'cuda_cluster.* needs [0-9]* bytes of shared memory in each of 16 blocks' "what no cluster holds is refused"
bench() { # bench CLUSTER
    "$hone" bench --device gpu0 --problem $wide --kernel cuda_cluster --config cluster=$1,tile=1,block=128 --build aot --windows 1 >out 2>err
    code=$?
    grep -q 'pretend driver' err && code=99
}
for blocks in 2 16; do
    bench $blocks
    [ $code = 0 ] && grep -q '^cuda_cluster ' out
    tap $? "hone bench runs a cluster of $blocks blocks"
done
HONE_PRETEND_CLUSTER=8 bench 16
has 'no room for a cluster of 16 blocks of 128 threads and [0-9]* bytes' "a cluster that the GPU has no room for is told"
# Of 2 blocks, for more than 48 KiB of shared memory; of 16, for more blocks than 8.
for call in cuLaunchKernelEx.2 cuOccupancyMaxActiveClusters.2 cuFuncSetAttribute.2 cuFuncSetAttribute.16; do
    HONE_PRETEND_FAIL=${call%.*}:1 bench ${call#*.}
    cat out err | grep -q "${call%.*}: CUDA_ERROR_UNKNOWN" && [ $code != 99 ]
    tap $? "$call fails: $(cat out err | grep -o "${call%.*}: .*)" | head -1)"
done
echo 1..$n
exit $bad
