#!/bin/sh
# The kernels, the core and the CPU backend compile for AArch64, without a warning, where a cross
# compiler is installed (Debian: gcc-aarch64-linux-gnu).
srcdir=${srcdir:-.}
cross=aarch64-linux-gnu-gcc
n=0 bad=0
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
: > "$tmp/config.h"   # what this machine's configure found is not there
# Kernels for halves are compiled as such, too: those that SIMD_HALF_KERNELS names, up to its last line.
half=$(sed -n '/^SIMD_HALF_KERNELS/,/[^\\]$/p' "$srcdir/Makefile.am" | grep -o 'kernels/[a-z0-9_/]*\.c' | sed 's/\(.*\)/\1:-DHONE_REAL=16 \1:-DHONE_REAL=16:-DHONE_DIGITS=11/')
# Kernels of bf16 products are x86's, and compiled for its two instruction sets that have them alone.
dots=$(sed -n '/^DOTS_KERNELS/,/[^\\]$/p' "$srcdir/Makefile.am" | grep -o 'kernels/[a-z0-9_/]*\.c')
[ -n "$dots" ] || { echo "Bail out! Makefile.am has no DOTS_KERNELS"; exit 1; }
[ -n "$half" ] || { echo "Bail out! Makefile.am has no SIMD_HALF_KERNELS"; exit 1; }
for f in $(cd "$srcdir" && ls kernels/*.c kernels/*/*.c | grep -v '/lib_' | grep -vxF "$dots") $half; do
    n=$((n + 1)) flag=
    case $f in *:*) flag=$(echo "${f#*:}" | tr : " "); f=${f%%:*} ;; esac
    if ! command -v $cross >/dev/null 2>&1; then
        echo "ok $n - $f $flag compiles for AArch64 # SKIP no $cross"
    elif out=$($cross -std=gnu11 -D_GNU_SOURCE -O1 -fopenmp -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes \
                   -Werror $flag -I"$tmp" -I"$srcdir" -c -o "$tmp/a.o" "$srcdir/$f" 2>&1); then
        echo "ok $n - $f $flag compiles for AArch64"
    else
        bad=1
        echo "not ok $n - $f $flag compiles for AArch64"
        echo "$out" | sed 's/^/# /'
    fi
done
echo 1..$n
exit $bad
