#!/bin/sh
# A folder includes only what stands to its left, and of other folders only their one public header.
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
allow profiler "profiler/[a-z0-9_/]*\\.h|kernels/backend/cpu\\.h|$K"
allow autotune "autotune/[a-z0-9_/]*\\.h|$K|$P"
allow nets     "nets/[a-z0-9_/]*\\.h|$K|$P|$A"
allow results  "results/[a-z0-9_/]*\\.h|$K|$P|$A|$N"
for h in kernels/kernel.h profiler/profiler.h autotune/autotune.h nets/nets.h; do
    n=$((n + 1))
    if (cd "$srcdir" && ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I. -x c "$h"); then echo "ok $n - $h compiles alone"
    else bad=1; echo "not ok $n - $h compiles alone"; fi
done
echo 1..$n
exit $bad
