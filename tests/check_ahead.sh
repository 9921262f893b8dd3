#!/bin/sh
# Jit candidates are compiled at once and timed alone: one whose code the compiler refuses, or hangs
# on, harms no other, and what comes of it is the same as when they are compiled one by one.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone P=relu:f32:any:n4096 K=cpu_vector_plain_jit
real=${HONE_CC:-${CC:-cc}}
if "$hone" kernels --problem $P --build jit | sed '1,/^refuse/d' | grep -q "^  $K "; then
    echo "1..0 # SKIP no compiler here"
    exit 0
fi
cat >cc.sh <<EOF
#!/bin/sh
for a; do case \$a in *.c) source=\$a ;; esac; done
[ "\$source" ] || exec $real "\$@"
grep -q 'hone_jit_config = { { 4, 0, 1,' "\$source" && { echo 'error: it does not like it' >&2; exit 1; }
grep -q 'hone_jit_config = { { 1, 0, 1,' "\$source" && { sleep 60; exit 1; }
mkdir -p running; : >running/\$\$; ls running | wc -l >>most
sleep 0.3
$real "\$@" -O0; code=\$?
rm running/\$\$
exit \$code
EOF
chmod +x cc.sh
HONE_CC=$tmp/cc.sh HONE_JIT_SECONDS=7
export HONE_CC HONE_JIT_SECONDS
# tune JOBS: with a database and a cache of its own; what became of each candidate goes to JOBS.txt
tune() {
    : >most
    XDG_CACHE_HOME=$tmp/cache$1 "$hone" autotune --db $1.db --problem $P --kernel $K --build jit \
        --budget full --jobs $1 --json >$1.json 2>err
    tap $? "a session with $1 at once"
    "$hone" db --db $1.db export | sed -n 's/.*"config":"\([^"]*\)","status":"\([^"]*\)","why":"\([^"]*\)".*/\1 \2 \3/p' |
        sed 's/ timed .*/ works/; s/ dropped .*/ works/' | sort >$1.txt
    sort -n most | tail -1 >$1.most
}
tune 1
tune 3
cp 1.txt out; diff 1.txt 3.txt >err
tap $? "what becomes of each candidate does not depend on it"
[ "$(grep -c 'works$' 3.txt)" -ge 1 ] && [ "$(grep -c 'failed build: .*compiler failed.*it does not like it' 3.txt)" = 1 ]
tap $? "the one that the compiler refuses is recorded with the reason"
[ "$(grep -c 'failed build: .*compiler took more than 7 s' 3.txt)" = 1 ]
tap $? "so is the one that it hangs on"
[ "$(cat 1.most)" = 1 ] && [ "$(cat 3.most)" -ge 2 ]
tap $? "$(cat 3.most) at once, and $(cat 1.most) where one is asked for"
grep -q '"compiled_ahead": 0,' 1.json && grep -q '"compiled_ahead": [2-9]' 3.json
tap $? "and the report counts them"
[ -z "$(find cache3 -type f ! -name '*.so' ! -name '*.json')" ] || { find cache3 -type f >out; false; }
tap $? "nothing is left beside what was compiled"
echo 1..$n
exit $bad
