#!/bin/sh
# What we declare anew of NVIDIA's interfaces is held against NVIDIA's headers, where they are.
srcdir=${srcdir:-.}
dir=`mktemp -d` || exit 99
trap 'rm -rf "$dir"' 0
n=0 bad=0
# cupti_profiler_host.h includes C++'s <string>, of which it uses nothing.
: >"$dir/string"
include=
for d in "$CUDA_HOME" /usr/local/cuda /opt/cuda; do
    [ -z "$include" ] && [ -n "$d" ] && [ -f "$d/include/cuda.h" ] && include=$d/include
done
check() { # check NAME HEADER
    n=$((n + 1))
    if [ -z "$include" ] || [ ! -f "$include/$2" ]; then
        echo "ok $n - $1 is declared as in $2 # SKIP no $2 in \$CUDA_HOME/include or /usr/local/cuda/include"
    elif ${CC:-cc} -std=gnu11 -w -fsyntax-only -I"$srcdir" -isystem "$include" -idirafter "$dir" "$srcdir/tests/abi/$1.c" 2>"$dir/err"; then
        echo "ok $n - $1 is declared as in $2"
    else
        bad=1
        echo "not ok $n - $1 is declared as in $2"
        grep -E 'error' "$dir/err" | head -20 | sed 's/^/# /'
    fi
}
check cupti cupti_range_profiler.h
check cudnn cudnn.h
check cublas cublasLt.h
check cuda cuda.h
echo 1..$n
exit $bad
