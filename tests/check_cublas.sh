#!/bin/sh
# cuBLASLt's kernel on the pretend driver, with a library that pretends to be cuBLASLt: how products are
# asked for, that they come out right, and what is said where the library is missing, older or damaged.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone
HONE_LIBCUDA=$builddir/tests/pretend_cuda.so HONE_PRETEND_LIBRARIES=1 XDG_CACHE_HOME=$tmp/cache LD_LIBRARY_PATH=$tmp/lib
export HONE_LIBCUDA HONE_PRETEND_LIBRARIES XDG_CACHE_HOME LD_LIBRARY_PATH
has() { # has TEXT NAME
    cat out err | grep -q -e "$1"
    tap $? "$2"
}
library() { # library C-FILE: as libcublasLt.so.13
    mkdir -p "$tmp/lib"
    ${CC:-cc} -shared -fPIC -O1 -w -I"$srcdir" -o "$tmp/lib/libcublasLt.so.13" "$1" -lm -ldl
}
kernels() { "$hone" kernels --device gpu0 --problem "$@" >out 2>err; }

library "$srcdir/tests/cuda/cublaslt.c"
kernels gemm:f32:nn:m64n64k64:bias+relu
has 'lib_cublas  *algo=66,setting=0  *32 MiB  *heuristic 1: tile 20' 'an algorithm is a config with its workspace'
has 'lib_cublas  *algo=66,setting=1  *1 MiB' 'another setting of it is another'
has 'lib_cublas  *algo=66,setting=2  *- ' 'and one without workspace'
[ "$(grep -c 'lib_cublas .*heuristic' out)" = 4 ]
tap $? 'what is proposed twice, for less workspace, is listed once'
kernels gemm:f32:nn:m64n64k64:leaky_relu
has 'lib_cublas  *cuBLASLt has no such activation' 'an epilogue that it lacks'
HONE_CHECK_DEVICE=gpu0 HONE_CHECK_CONFIGS=4 HONE_CHECK_FLOPS=3e5 HONE_CHECK_BUILD=lib "$builddir/tests/check_kernels" "$srcdir/tests/shapes/gemm.txt" >proof 2>err
code=$?
grep '^not ok\|^Bail' proof >out
[ $code = 0 ] && [ "$(grep '^ok' proof | grep -c 'lib_cublas/algo=')" -ge 60 ]
tap $? "products of all layouts, epilogues, alpha and beta are right ($(grep '^ok' proof | grep -c 'lib_cublas/algo=') proofs)"
for t in f32 bf16 f16; do
    HONE_CHECK_DEVICE=gpu0 HONE_CHECK_BUILD=lib; export HONE_CHECK_DEVICE HONE_CHECK_BUILD
    printf 'gemm:%s:nn:m9n17k5:bias+relu\ngemm:%s:nt:m9n17k5:beta2+alpha3\ngemm:%s:tn:m9n17k5:bias+gelu_tanh\n' $t $t $t >few.txt
    [ $t = f32 ] && echo gemm:f32:nn:m9n17k5:tf32 >>few.txt || echo gemm:$t:tn:m9n17k5:wide >>few.txt
    "$builddir/tests/check_kernels" few.txt >out 2>err && [ "$(grep -c '^ok.*lib_cublas/algo=' out)" -ge 4 ]
    tap $? "$t, bias and activation, alpha and beta, and tf32 or f32 sums"
done
PRETEND=none kernels gemm:f32:nn:m64n64k64
has 'lib_cublas  *cuBLASLt proposes no algorithm' 'nothing proposed'
PRETEND=fail kernels gemm:f32:nn:m64n64k64
has 'lib_cublas  *cuBLASLt: heuristics: unsupported' 'heuristics that fail'

# Missing, older, damaged.
head -c 5000 "$tmp/lib/libcublasLt.so.13" >cut && mv cut "$tmp/lib/libcublasLt.so.13"
kernels gemm:f32:nn:m64n64k64
has 'lib_cublas  *cuBLASLt cannot be opened: .*libcublasLt.so.13 is cut short' 'a library that was cut short'
echo 'int cublasLtCreate(void **h) { return 1; } unsigned long cublasLtGetVersion(void) { return 110000; }' >old.c
library old.c
kernels gemm:f32:nn:m64n64k64
has 'lib_cublas  *cuBLASLt is too old or of another kind: libcublasLt.so.13 lacks cublasLt[A-Za-z]*' 'an older library'
echo 1..$n
exit $bad
