#!/bin/sh
# Kernels compiled at run time: right, kept and found again; and what goes wrong with a compiler or a
# cache is said in a line while the session goes on.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone
XDG_CACHE_HOME=$tmp/cache
export XDG_CACHE_HOME
unset HONE_CC HONE_JIT_SECONDS
G=gemm:f32:nn:m9n9k9
bench() { "$hone" bench --problem $G --windows 2 --build jit --json "$@" >out 2>err; }
has() { # has TEXT NAME
    cat out err | grep -q -e "$1"
    tap $? "$2"
}
widest=$("$hone" kernels --problem $G --build jit | sed -n 's/^  cpu_small_\([a-z0-9]*\)_jit .*/\1/p' | head -1)
if [ -z "$widest" ]; then
    "$hone" kernels --problem $G | grep -q 'cpu_small_.*_jit .*compiler'
    tap $? "without a compiler here every jit kernel refuses"
    echo 1..$n
    exit $bad
fi

# The guess of every kernel in the widest vectors on a few problems.
HONE_CHECK_BUILD=jit HONE_CHECK_CONFIGS=1 HONE_CHECK_ONLY=_$widest "$builddir/tests/check_kernels" "$srcdir/tests/shapes/jit.txt" >proof 2>&1
code=$?
sed -n "s/^ok [0-9]* - /x /p" proof | grep -v SKIP >right
while read -r _ name; do tap 0 "$name"; done <right
grep '^not ok\|^#\|^Bail' proof >out
: >err
[ $code = 0 ] && [ "$(grep -c . right)" -ge 10 ]
tap $? "jit kernels are right on tests/shapes/jit.txt"

k="--kernel cpu_small_${widest}_jit"
bench $k
has '"cached": false' "the first plan is compiled"
has '"code_bytes": [1-9]' "its code has a size"
grep -q '"compile_ms": [1-9]' out && grep -q '"first_ms": [0-9.e-]*[1-9]' out
tap $? "what it took is shown"
bench $k
has '"cached": true' "the second is found"
[ "$(stat -c %a "$XDG_CACHE_HOME/hone/jit")" = 700 ]
tap $? "the cache is the user's alone"
[ -z "$(find "$XDG_CACHE_HOME/hone/jit" -type f ! -name '*.so')" ]
tap $? "nothing but entries is left in it"
entry=$(ls -t "$XDG_CACHE_HOME"/hone/jit/*.so | head -1)
head -c 3000 "$entry" >short && cat short >"$entry"
bench $k
has '"cached": false' "an entry cut short is a miss"
cp "$entry" good
printf 'x' | dd of="$entry" bs=1 seek=4096 conv=notrunc 2>/dev/null
bench $k
has '"cached": false' "a damaged entry is a miss"
bench $k --config kc=256
[ "$(ls "$XDG_CACHE_HOME"/hone/jit/*.so | wc -l)" -ge 2 ]
tap $? "another config is another entry"
other=$(ls -t "$XDG_CACHE_HOME"/hone/jit/*.so | head -1)
if [ "$other" != "$entry" ]; then
    cat "$other" >"$entry"
    bench $k
    has '"cached": false' "an entry under another's name is a miss"
fi
chmod 666 "$entry"
bench $k
has '"cached": false' "an entry that others could have written is a miss"
chmod 755 "$XDG_CACHE_HOME/hone/jit"
bench $k
[ "$(stat -c %a "$XDG_CACHE_HOME/hone/jit")" = 700 ]
tap $? "a directory open to others is closed"

# Compilers that fail.
fake() { # fake NAME BODY
    { echo '#!/bin/sh'; echo 'case $1 in --version) echo "fake 1.0"; exit;; esac'; echo "$2"; } >"$1"
    chmod +x "$1"
}
fake fails 'echo "x.c:1: error: no such machine" >&2; exit 3'
fake hangs 'sleep 60'
fake lies 'echo text >$(for a; do [ "$last" = -o ] && echo "$a"; last=$a; done)'
HONE_CC=$tmp/none "$hone" kernels --problem $G >out 2>err
has 'cpu_small_.*_jit .*HONE_CC .*none. is no compiler' "a compiler that is not there: refused, with the reason"
HONE_CC=$tmp/none "$hone" bench --problem $G --windows 2 --build jit,lib >out 2>err
[ $? = 0 ] && grep -q lib_openblas out
tap $? "and the rest is timed"
HONE_CC=$tmp/fails bench $k
[ $? = 1 ] && grep -q 'compiler failed (3): x.c:1: error: no such machine' out
tap $? "one that fails is quoted"
started=$(date +%s)
HONE_CC=$tmp/hangs HONE_JIT_SECONDS=1 bench $k
[ $? = 1 ] && grep -q 'more than 1 s (HONE_JIT_SECONDS): stopped' out && [ $(($(date +%s) - started)) -lt 30 ]
tap $? "one that hangs is stopped"
HONE_CC=$tmp/lies bench $k
[ $? = 1 ] && grep -q 'cannot load what was compiled' out
tap $? "one whose file is no code is found out"
HONE_CC=$tmp/fails "$hone" autotune --problem $G --kernel cpu_small_${widest}_jit --budget 1s >out 2>err
has 'compiler failed (3)' "autotune says so too"

# A cache that takes nothing.
echo file >plain
XDG_CACHE_HOME=$tmp/plain bench $k
[ $? = 1 ] && grep -q 'cannot make directory' out
tap $? "no directory for the cache: said"
(trap '' XFSZ; ulimit -f 8; XDG_CACHE_HOME=$tmp/full bench $k)
[ $? = 1 ] && grep -q 'cannot write' out
tap $? "a full cache: said"
[ -z "$(find "$tmp/full" -path '*jit/*' -type f)" ]
tap $? "and nothing half written is left"

# The tuner.
"$hone" autotune --problem $G --build aot,jit --budget 8s --json >out 2>err && "$hone" db export >db.json 2>err &&
    grep '"kernel":"cpu_small_'"$widest"'_jit"' db.json | grep -q 'compile_ms=.* code_bytes='
tap $? "autotune --build aot,jit races jit kernels, and keeps what they took"
grep '_jit"' db.json | grep -o '"kernel":"[^"]*"\|"config":"[^"]*"\|"session":"[^"]*"' | paste - - - | sort | uniq -d >out
[ ! -s out ]; tap $? "each with other values"
"$hone" autotune --problem relu:f32:any:n512 --budget 1s --json >out 2>err && ! "$hone" db export | grep 'relu' | grep -q _jit
tap $? "without --build nothing is compiled"
echo 1..$n
exit $bad
