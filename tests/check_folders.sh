#!/bin/sh
# A folder includes only what stands to its left, and of other folders only their one public header.
# And every test can run, and leaves a log of its own.
srcdir=${srcdir:-.}
n=0 bad=0
allow() { # allow FOLDER REGEX: what it may include
    n=$((n + 1))
    out=$(cd "$srcdir" && grep -rnE '#include "[a-z]+/' --include='*.[ch]' "$1" | grep -vE "#include \"($2)\"")
    if [ -z "$out" ]; then echo "ok $n - $1 includes only what stands to its left"
    else bad=1; echo "not ok $n - $1 includes only what stands to its left"; echo "$out" | sed 's/^/# /'; fi
}
K='kernels/kernel\.h' P='profiler/profiler\.h' A='autotune/autotune\.h' N='nets/nets\.h'
allow kernels  'kernels/[a-z0-9_/]*\.h'
allow profiler "profiler/[a-z0-9_/]*\\.h|kernels/backend/(cpu|dots|cuda_peaks)\\.h|kernels/library\\.h|kernels/describe\\.h|kernels/gpu_limits\\.h|$K"
allow autotune "autotune/[a-z0-9_/]*\\.h|$K|$P"
allow nets     "nets/[a-z0-9_/]*\\.h|$K|$P|$A"
allow results  "results/[a-z0-9_/]*\\.h|$K|$P|$A|$N"
for h in kernels/kernel.h profiler/profiler.h autotune/autotune.h nets/nets.h; do
    n=$((n + 1))
    if (cd "$srcdir" && ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I. -x c "$h"); then echo "ok $n - $h compiles alone"
    else bad=1; echo "not ok $n - $h compiles alone"; fi
done
for f in "$srcdir"/tests/*.sh; do
    n=$((n + 1))
    if [ -x "$f" ]; then echo "ok $n - ${f##*/} may be executed"
    else bad=1; echo "not ok $n - ${f##*/} may be executed"; fi
done
n=$((n + 1))
twice=$(cd "$srcdir/tests" && ls *.c *.sh shapes/*.txt | sed 's/\.[a-z]*$//' | sort | uniq -d)
if [ -z "$twice" ]; then echo "ok $n - no two tests share a log"
else bad=1; echo "not ok $n - no two tests share a log: $twice"; fi
echo 1..$n
exit $bad
