#!/bin/sh
# Kernels for NVIDIA GPUs on the pretend driver: each .cu, compiled for this processor, gives right
# results, stays inside of its memory and has its barriers; and each of the driver's calls that fails
# is one clear line and leaves nothing behind.  No GPU is needed, and none is used.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/pretend.inc"

# ---- kernels ----
prove() { # prove FILE CONFIGS FLOPS BUILDS
    HONE_CHECK_DEVICE=gpu0 HONE_CHECK_CONFIGS=$2 HONE_CHECK_FLOPS=$3 HONE_CHECK_BUILD=$4 \
        "$builddir/tests/check_kernels" "${shapes:-$srcdir/tests/shapes}/$1.txt" >proof 2>err
    code=$?
    sed -n 's/^ok [0-9]* - //p' proof | grep -v SKIP >right
    while read -r name; do tap 0 "$name"; done <right
    grep '^not ok\|^#\|^Bail' proof >out
    [ $code = 0 ] && [ -s right ] && ! grep -q pretend err
    tap $? "GPU kernels ($4) are right on $(grep -c . right) of tests/shapes/$1.txt"
}
prove activation 1 1e5 aot
prove half 1 1e5 aot
prove gemm 1 2e5 aot
for f in bias pool loss optimizer; do prove $f 1 1e5 aot; done
prove mlp 1 1e6 aot
for f in norm join dropout cast scale gather; do prove $f 1 3e4 aot; done
prove conv 1 1e4 aot
prove conv-nchw 1 1e4 aot
# f32 in tensor cores is tf32, which the problem must allow; Winograd's bound is loose.
mkdir tf32
for f in gemm conv conv-nchw; do
    sed -n 's/^\([a-z_0-9]*:f32:[a-z]*:[a-z0-9_]*\):\(.*\)$/\1:tf32+\2/p; s/^\([a-z_0-9]*:f32:[a-z]*:[a-z0-9_]*\)$/\1:tf32/p' \
        "$srcdir/tests/shapes/$f.txt" | grep -v '+.*tf32' >tf32/$f.txt
done
shapes=tf32 HONE_CHECK_ONLY=cuda_mma prove gemm 1 1e5 aot
shapes=tf32 HONE_CHECK_ONLY=implicit_mma prove conv 1 5e4 aot
shapes=tf32 HONE_CHECK_ONLY=implicit_mma prove conv-nchw 1 2e4 aot
shapes=tf32 HONE_CHECK_ONLY=cuda_winograd prove conv 4 1e5 aot
HONE_CHECK_ONLY=cuda_winograd prove conv 4 1e5 aot
HONE_CHECK_ONLY=cuda_depthwise prove conv 1 3e4 aot
prove tensor 1 1e7 aot
HONE_CHECK_ONLY=ih13oc prove tensor 8 1e7 aot
HONE_CHECK_ONLY=cuda_wgmma prove tensor 3 1e7 aot
prove jit 1 1e6 jit

# ---- devices ----
"$hone" devices >out 2>err
has '^gpu0: pretend GPU' "hone devices shows the pretend GPU"
sed -n '/^gpu0/,/^libraries/p' out | grep -q 'memory GB/s  *-  *[0-9]'
tap $? "and measures its peaks"
HONE_LIBCUDA=$tmp/none "$hone" devices >out 2>err
has '^gpu0: absent (.*none' "a driver that is not there is a reason"
"$hone" kernels --device gpu0 --problem gemm:f32:nn:m64n64k64 >out 2>err
has '^  cuda_tiled ' "hone kernels lists the GPU's kernels"

# ---- commands ----
"$hone" autotune --device gpu0 --problem avgpool_fwd:f32:nhwc:mb2ic3ih8kh2sh2 --problem relu:f32:any:n1000 --budget 2s >out 2>err
has 'cuda_windows' "hone autotune finds kernels for the GPU"
"$hone" db ls >out 2>err
grep -q 'pretend GPU' out && grep -q 'cuda_flat' out
tap $? "and records whose they are"
"$hone" train --device gpu0 --net letter-mlp --data synthetic:1x1x16:26:80 --batch 16 --epochs 1 --optimizer sgd --momentum 0.9 --lr 0.1 >out 2>err
has '^ *1  ' "hone train trains a net on the GPU"
grep -q 'pretend driver' err
[ $? = 1 ]
tap $? "and gives everything back"

# ---- a step as one graph ----
# What changes from step to step is read from the GPU's memory: learning rate and count, dropout's
# seed; and 90 rows leave a last batch of another size.
steps() { # steps WEIGHTS
    "$hone" train --device gpu0 --net letter-mlp --data synthetic:1x1x16:26:90 --batch 16 --epochs 2 --optimizer adam --lr 0.01 --schedule exp:0.5 --clip 1 --losses 99 --save "$tmp/$1" >out 2>err
}
HONE_GRAPH=0 steps apart
grep -i loss out >losses.apart
steps whole
grep -i loss out >losses.whole
[ -s losses.whole ] && cmp -s losses.apart losses.whole && cmp -s "$tmp/apart" "$tmp/whole"
tap $? "steps as one graph give the bits of steps apart, on $(grep -c . losses.whole) lines of losses"
HONE_PRETEND_FAIL=cuGraphLaunch:3 steps no
[ $? = 1 ] && grep -q 'epoch 1, step [0-9]*: the step as one graph.*cuGraphLaunch: CUDA_ERROR_UNKNOWN' err && ! grep -q 'pretend driver' err
tap $? "a graph that fails is told: $(grep -o 'epoch.*' err | head -1)"
for call in cuStreamBeginCapture_v2 cuStreamEndCapture cuGraphInstantiateWithFlags; do
    HONE_PRETEND_FAIL=$call:1 steps plain
    [ $? = 0 ] && grep -q "the step is not one graph: $(echo $call | sed 's/_v2//; s/WithFlags//'): CUDA_ERROR_UNKNOWN" err && cmp -s "$tmp/apart" "$tmp/plain"
    tap $? "without $call steps run apart, to the same end"
done

# ---- whole steps in a launch ----
# 90 rows of batch 16: five whole batches and a short one, in two epochs; the learning rate falls
# within a launch.
whole() { # whole STEPS WEIGHTS
    HONE_LAUNCH=$1 HONE_PRETEND_COUNTS=$tmp/counts.$2 "$hone" train --device gpu0 --net letter-mlp --data synthetic:1x1x16:26:112 --split 0.8 --batch 16 --epochs 2 --optimizer adam --lr 0.01 --schedule exp:0.5 --losses 99 --save "$tmp/$2" >out 2>err
    code=$?
    sed -n 's/^step \([0-9]*\) loss \([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1 \2/p' out >losses.$2
    grep -q 'pretend driver' err && code=99
}
launched() { # kernels and graphs
    sed 's/launches \([0-9]*\) graphs \([0-9]*\).*/\1 \2/' "counts.$1" | { read -r k g; echo $((k + g)); }
}
whole 0 none
whole 1 one
[ $code = 0 ] && [ "$(grep -c . losses.one)" -ge 12 ] && cmp -s losses.none losses.one
tap $? "a whole step in one launch has the losses of its parts: $(tail -1 losses.one), $(cat counts.none); whole: $(cat counts.one)"
whole 5 five
[ $code = 0 ] && cmp -s losses.one losses.five && cmp -s one five && [ "$(launched five)" -lt "$(launched one)" ]
tap $? "five steps in a launch have the bits of one by one: $(cat counts.five)"
HONE_PRETEND_FAIL=cuLaunchKernel:2 whole 5 no
[ $code = 1 ] && grep -q 'epoch [0-9]*, step [0-9]*: .*cuLaunchKernel: CUDA_ERROR_UNKNOWN' err
tap $? "a launch that fails is told: $(grep -o 'epoch.*' err | head -1)"
HONE_LAUNCH=1 "$hone" profile --device gpu0 --net housing-mlp --batch 4 >out 2>err
has '^(net)  *whole .*cuda_block' "hone profile shows it as one row"

# ---- data on the device ----
# Pictures of 12 x 12 bytes, 42 of them: two whole batches of 16 and a short one.
mkdir pictures
{ printf '\0\0\10\3\0\0\0\52\0\0\0\14\0\0\0\14'; head -c 6048 "$srcdir/nets/README.md"; } >pictures/train-images-idx3-ubyte
{ printf '\0\0\10\1\0\0\0\52'; for i in 1 2 3 4 5 6; do printf '\0\1\2\3\2\1\0'; done; } >pictures/train-labels-idx1-ubyte
for f in images-idx3 labels-idx1; do cp pictures/train-$f-ubyte pictures/t10k-$f-ubyte; done
printf 'input x c=1 h=12 w=12\nconv c = x k=4 r=3 stride=2 act=relu\nflatten f = c\nfc y = f k=4\nsoftmax_ce l = y\n' >small.net
printf 'input x c=6\nfc y = x k=1\nmse l = y\n' >line.net
fed() { # fed NAME OPTIONS...
    name=$1
    shift
    HONE_PRETEND_COUNTS=$tmp/counts.$name "$hone" train --device gpu0 --untuned --batch 16 --lr 0.01 --losses 99 --save "$tmp/$name" "$@" >out 2>err
    code=$?
    sed -n 's/^step //p; s/^ *\([12]\)  *[0-9.]* *[0-9]* *\(.*\) [0-9.]*$/\1 \2/p' out >losses.$name
    grep -q 'pretend driver' err && code=99
}
count() { sed "s/.*$2 \([0-9]*\).*/\1/" "counts.$1"; }
alike() { [ $code = 0 ] && [ -s losses.put ] && cmp -s losses.put losses.there && cmp -s put there; }
for augment in '' '--augment flip' '--augment crop:3,flip'; do
    run="--net small.net --data pictures --optimizer adam --epochs 2 $augment"
    fed put $run --feed inline
    fed there $run
    alike && [ "$(count there puts)" -lt "$(count put puts)" ]
    tap $? "pictures on the device $augment: the same bits, $(count put puts) puts before, $(count there puts) now"
done
run='--net line.net --data synthetic:1x1x6:0:90 --optimizer sgd --epochs 2'
fed put $run --feed background
fed there $run
alike
tap $? "features and values on the device: the same bits"
# An epoch puts the order of its rows, its key, and of each step the optimizer's numbers.
fed one --net small.net --data pictures --optimizer adam --epochs 1
fed two --net small.net --data pictures --optimizer adam --epochs 2
[ $(($(count two puts) - $(count one puts))) = 7 ]
tap $? "an epoch of 3 steps and its evaluation puts $(($(count two puts) - $(count one puts))) times"
for steps in 2 5; do
    HONE_LAUNCH=$steps fed put --net letter-mlp --data synthetic:1x1x16:26:112 --split 0.8 --optimizer adam --epochs 2 --feed inline
    HONE_LAUNCH=$steps fed there --net letter-mlp --data synthetic:1x1x16:26:112 --split 0.8 --optimizer adam --epochs 2
    alike
    tap $? "so do $steps steps in a launch"
done
run='--net small.net --data pictures --optimizer adam --epochs 1 --augment crop:3,flip'
fed put $run --feed inline
HONE_PRETEND_MEMORY=20000 fed there $run
alike && grep -q '^the data are not kept on the device: 0 MB are more than half of its 0 MB' err
tap $? "data that do not fit into half of its memory are put batch by batch"
for call in cuMemAlloc_v2 cuMemcpyHtoDAsync_v2; do
    kept=0 put=0 told=0 other=0
    for i in $(seq 1 45); do
        rm -f there
        HONE_PRETEND_FAIL=$call:$i fed there $run
        if [ $code = 1 ] && grep -q "${call%_v2}: CUDA_ERROR_UNKNOWN" err; then told=$((told + 1))
        elif ! alike; then other=$((other + 1))
        elif ! grep -q '^the data are not kept' err; then kept=$((kept + 1))
        elif grep -q "not kept on the device: .*${call%_v2}: CUDA_ERROR_UNKNOWN" err; then put=$((put + 1))
        fi
    done
    [ $other = 0 ] && [ $put -ge 6 ] && [ $told -ge 5 ] && [ $((kept + put + told)) = 45 ]
    tap $? "$call fails: $told times told, $put times the data stay here, $kept times not needed"
done

for t in bf16 f16; do
    for d in cpu0 gpu0; do
        "$hone" train --device $d --dtype $t --net lenet5 --data synthetic:28x28x1:10:12 --batch 4 --epochs 1 --optimizer sgd --lr 0.1 >out 2>err
        # Losses are about 2.3, and bf16 rounds a number that is not far from 1 by up to 0.004.
        sed -n 's/^ *1  *[0-9.]* *[0-9]* *\([0-9]\.[0-9][0-9]\).*/\1/p' out >loss.$d
    done
    [ -s loss.gpu0 ] && cmp -s loss.cpu0 loss.gpu0
    tap $? "lenet5 trains in $t on the GPU: loss $(cat loss.gpu0) as on the CPU"
done
XDG_CACHE_HOME=$tmp/other "$hone" profile --device gpu0 --net housing-mlp --batch 4 >out 2>err
grep -q '^fwd ' out && grep -q ' n/a .*cuda_tiled' out
tap $? "hone profile tells a step's parts on the GPU, without a roof"
grep -q '^- .* % of the step' out && ! grep -q '% of the roof\|at the roof' out
tap $? "and does not say how far it is from one"
has '^as one graph, which training runs: [0-9.]* .* times as fast' "and the step as one graph"
HONE_PRETEND_FAIL=cuStreamEndCapture:1 "$hone" profile --device gpu0 --net housing-mlp --batch 4 >out 2>err
has '^the step is not one graph: cuStreamEndCapture: CUDA_ERROR_UNKNOWN' "or why there is none"

# ---- calls that fail ----
HONE_PRETEND_CC=75 "$hone" kernels --device gpu0 --problem gemm:bf16:nn:m64n64k64 >out 2>err
has 'cuda_mma.*sm_80' "a GPU without the instructions is told so"
has 'cuda_wgmma.*sm_90a' "or that it is another"
"$hone" kernels --device gpu0 --problem gemm:bf16:nn:m64n60k64 >out 2>err
has 'cuda_wgmma.*rows of B.*16 bytes' "rows that no box can begin with are refused"
"$hone" kernels --device gpu0 --problem gemm:f32:nn:m64n64k64 >out 2>err
has 'cuda_mma.*tf32.*attribute' "f32 is not rounded to tf32 unasked"
"$hone" kernels --device gpu0 --problem gemm:f32:nn:m64n64k64:tf32 >out 2>err
grep -q '^  cuda_mma .*aot' out
tap $? "and where the problem has the attribute tf32, it is"
"$hone" net lenet5 --problems --batch 8 --dtype tf32 >out 2>err
grep -q '^conv2d_wgrad:f32:.*:tf32$' out && grep -q '^gemm:f32:.*tf32$' out && ! grep -q '^relu.*tf32' out
tap $? "which --dtype tf32 gives a net's products and convolutions"
winograd=conv2d_wgrad:f32:nhwc:mb2ic16ih8oc16kh3ph1
"$hone" kernels --device gpu0 --problem $winograd >out 2>err
has '^  cuda_winograd .*aot' "Winograd computes a gradient of weights"
"$hone" kernels --device gpu0 --problem $winograd --max-error 1e-5 >out 2>err
has '^  cuda_winograd .*the bound of its error is above' "but where errors are limited"
has '^  cuda_implicit .*aot' "the direct sum does"
bench() { "$hone" bench --device gpu0 --problem gemm:f32:nn:m64n64k64 --windows 1 "$@" >out 2>err; }
bench --build aot
has '^cuda_tiled ' "hone bench runs on the GPU"
grep -q 'pretend driver' err
[ $? = 1 ]
tap $? "and gives everything back"
for call in $(sed -n 's/^ *X(\(cu[A-Za-z]*\), \(cu[A-Za-z0-9_]*\),.*/\2/p' "$srcdir/kernels/backend/cuda_driver.h"); do
    case $call in
    # What gives back tells nobody; steps as one graph are above, maps and much shared memory below,
    # clusters in check_cluster.sh.
    cuGetErrorName | *Destroy* | cuMemFree* | cuModuleUnload | *Release* | cuFunc* | cuGraph* | *Capture* | cuTensorMap* | cuLaunchKernelEx | cuOccupancy*) continue ;;
    esac
    HONE_PRETEND_FAIL=$call:1 bench --build aot
    code=$?
    [ $code != 0 ] || grep -q CUDA_ERROR_UNKNOWN out
    bad_code=$?
    cat out err | grep "${call%_v2}.*CUDA_ERROR_UNKNOWN" >said
    [ $bad_code = 0 ] && [ -s said ] && ! grep -q 'pretend driver' err && [ $code -lt 64 ]
    tap $? "$call fails: $(head -1 said | cut -c1-100)"
done
for call in cuTensorMapEncodeTiled cuFuncSetAttribute; do
    HONE_PRETEND_FAIL=$call:1 "$hone" bench --device gpu0 --problem gemm:bf16:nn:m64n64k256 --kernel cuda_wgmma --config split=1,stages=4 --windows 1 >out 2>err
    cat out err | grep -q "$call: CUDA_ERROR_UNKNOWN" && ! grep -q 'pretend driver' err
    tap $? "$call fails: $(cat out err | grep -o "$call.*" | head -1)"
done
for call in cuMemFree_v2 cuMemFreeHost cuModuleUnload cuStreamDestroy_v2 cuEventDestroy_v2 cuDevicePrimaryCtxRelease_v2; do
    HONE_PRETEND_FAIL=$call:1 bench --build aot
    [ $? = 0 ] && grep -q '^cuda_tiled .*right' out && grep -q 'pretend driver: 1 ' err
    tap $? "$call fails: nothing else goes wrong"
done
HONE_PRETEND_NAMELESS=1 HONE_PRETEND_FAIL=cuLaunchKernel:1 bench --build aot
has 'cuLaunchKernel: an error without a name (999)' "an error that the driver has no name for has a number"
echo 1..$n
exit $bad
