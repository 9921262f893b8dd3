#!/bin/sh
# cuDNN's kernels on the pretend driver, with a library that pretends to be cuDNN and walks the graphs
# that it is given: what is asked for is what our ops mean, and every buffer is where it belongs.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
HONE_LIBCUDA=$builddir/tests/pretend_cuda.so HONE_PRETEND_LIBRARIES=1 XDG_CACHE_HOME=$tmp/cache LD_LIBRARY_PATH=$tmp/lib
export HONE_LIBCUDA HONE_PRETEND_LIBRARIES XDG_CACHE_HOME LD_LIBRARY_PATH
mkdir lib
${CC:-cc} -std=gnu11 -shared -fPIC -O1 -w -I"$srcdir" -o lib/libcudnn.so.9 "$srcdir/tests/cuda/cudnn.c" -lm -ldl
prove() { # prove LIST LEAST
    HONE_CHECK_DEVICE=gpu0 HONE_CHECK_CONFIGS=1 HONE_CHECK_FLOPS=3e4 HONE_CHECK_BUILD=lib \
        "$builddir/tests/check_kernels" "$srcdir/tests/shapes/$1.txt" >proof 2>err
    code=$?
    right=$(grep '^ok .*lib_cudnn/engine=' proof | grep -vc SKIP)
    grep -A3 '^not ok\|^Bail' proof >out
    [ $code = 0 ] && [ "$right" -ge "$2" ]
    tap $? "cuDNN's graphs are right on $right problems of tests/shapes/$1.txt"
}
prove activation 90
prove pool 50
prove norm 60
prove conv 100
prove conv-nchw 40
"$builddir/hone" bench --device gpu0 --problem bnorm_fwd:f32:any:m9n5:add+relu --kernel lib_cudnn --windows 3 >out 2>err
grep -q 'lib_cudnn .*right.*engine=0,knobs=0' out && grep -q '256 B' out
tap $? 'and are timed, with their workspace'
echo 1..$n
exit $bad
