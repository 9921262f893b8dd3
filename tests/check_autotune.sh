#!/bin/sh
# `hone autotune` and `hone db`: answers, exit codes, what stands on which stream, and what is left
# after a kill, an interruption and a full disk.
builddir=${builddir:-.}
case $builddir in /*) ;; *) builddir=$PWD/$builddir ;; esac
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
# The machine's peaks are measured once, here, and not taken from the user's cache.
HOME=$tmp XDG_CACHE_HOME=$tmp/cache XDG_DATA_HOME=$tmp/data
export HOME XDG_CACHE_HOME XDG_DATA_HOME
HONE_WISDOM=; export HONE_WISDOM
unset HONE_DB
n=0 bad=0
P=gemm:f32:nn:m16n16k16 Q=gemm:f32:nn:m24n16k8 R=gemm:f32:nt:m16n24k8

tap() { # tap STATUS NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"
    else bad=1; echo "not ok $n - $2"; sed 's/^/# /' out err; fi
}
# run STATUS ARGUMENT...: runs hone, keeps what it printed in out and err.
run() {
    want=$1; shift
    "$builddir/hone" "$@" >out 2>err
    status=$?
    said="hone $*"
}
# good PATTERN...: the wanted status, and on standard output a line for each pattern.
good() {
    miss=0
    [ "$status" = "$want" ] || miss=1
    for p; do grep -q -e "$p" out || miss=1; done
    tap $miss "$said"
}
# fails PATTERN: the wanted status, nothing on standard output, one line on standard error (wrong usage: and where to find help).
fails() {
    miss=0
    [ "$status" = "$want" ] || miss=1
    grep -q -e "$1" err || miss=1
    [ "$(grep -c . err)" -le "$status" ] || miss=1
    [ ! -s out ] || miss=1
    tap $miss "$said: $1"
}
records() { "$builddir/hone" db --db "$1" export | grep -c '"type":"record"'; }

# ---- tuning ----
run 0 autotune --db a.db $P --budget 0; good "^$P .*untuned: the default"
[ ! -e a.db ]; tap $? "a budget of 0 makes no database"
run 0 autotune --db a.db -p $P -p $Q --budget 1s; good "^$P .* ms .*GFLOP/s.*lib .*next .*tried [1-9]" "^$Q "
before=$(records a.db)
[ "$before" -gt 1 ]; tap $? "every candidate has a record: $before"
# Known is what every kernel was tried for; the library is one kernel, and one config of it is always tried.
run 0 autotune --db l.db $P --budget 5 --build lib; good "lib wins"
before=$(records l.db)
run 0 autotune --db l.db $P --budget 1 --build lib; good "^$P .*known since"
[ "$(records l.db)" = "$before" ]; tap $? "what is known is not measured again"
run 0 autotune --db l.db $P --budget 0.2 --build lib --again; good "tried"
[ "$(records l.db)" -gt "$before" ]; tap $? "unless it is asked for again"
run 0 autotune --db a.db $P --budget 0; good "^$P .*known since"
run 0 autotune --db a.db $P --budget 0 --json; good '"problem": "gemm' '"tuned": true' '"ms_median": [0-9]'
run 0 autotune --net letter-mlp --batch 16 --budget 0; good '^gemm:f32:nn:m16n50k16' '^softmax_ce:'
"$builddir/hone" db export --db a.db >wise.jsonl
HONE_WISDOM=$tmp/wise.jsonl; run 0 autotune --db fresh.db $P --budget 0; good "^$P .*untuned: as on cpu:"; HONE_WISDOM=
run 0 autotune --db ws.db $P --budget 0.3 --max-workspace 1; good "^$P "
[ -z "$("$builddir/hone" db --db ws.db export | grep '"status":"timed"' | grep -v '"workspace_bytes":0')" ]; tap $? "--max-workspace: who needs more is not tried"
grep -q 'A against A differs by [0-9.]* %' err; tap $? "the report tells A against A"
run 2 autotune $P --max-workspace lots; fails "max-workspace: 'lots': expected bytes, such as 4096, 64k or 1.5GiB"
run 0 autotune --help; good 'Examples:' 'Exit status'
ln -s "$builddir/hone" autotune
./autotune --db a.db $P --budget 0 >out 2>err; tap $? "by the name autotune it is that command"
XDG_DATA_HOME=$tmp/own "$builddir/hone" autotune $P --budget 0.1 >out 2>err && [ -s own/hone/hone.db ]; tap $? "without --db: the user's data directory"
HONE_DB=$tmp/env.db "$builddir/hone" autotune $P --budget 0.1 >out 2>err && [ -s env.db ]; tap $? "or \$HONE_DB"

# ---- two sessions that know nothing of each other ----
TMPDIR=$tmp; export TMPDIR
run 0 autotune --twice $P $Q --budget 2s --build aot; good "^$P  *\(same\|tie\|level\|DIFFERENT\)  *cpu_.* +[0-9.]* %  cpu_" '^2 problems twice: .* in [0-9.]* %.*regret: mean'
[ -z "$(ls -d hone-twice-* 2>/dev/null)" ]; tap $? "their databases are gone"
run 1 autotune --twice $P --budget 0; fails '--twice needs a budget'
unset TMPDIR

# ---- energy, on a powercap tree of our own whose counter goes on by itself ----
HONE_POWERCAP=$tmp/nowhere; export HONE_POWERCAP
run 1 autotune --db e.db $P --objective energy --budget 1s; fails 'objective energy: no energy counter: .*nowhere.*No such file'
run 2 autotune --db e.db $P --objective beauty; fails "objective 'beauty': expected time or energy"
HONE_POWERCAP=$tmp/powercap
mkdir -p powercap/intel-rapl:0; echo 1000000 >powercap/intel-rapl:0/max_energy_range_uj
echo 1 >powercap/intel-rapl:0/energy_uj
run 1 autotune --db e.db $P --objective energy --budget 1s --build aot; fails 'stands still'
( uj=0; while [ -d powercap ]; do uj=$(((uj + 500) % 1000000)); echo $uj >powercap/next && mv powercap/next powercap/intel-rapl:0/energy_uj; sleep 0.01; done ) 2>/dev/null &
run 0 autotune --db e.db $P --objective energy --budget 1s --build aot; good "^$P .*tried"
"$builddir/hone" db --db e.db export | grep '"status":"timed"' >out; [ -s out ] && ! grep -v 'joules=[0-9]' out; tap $? "who wins by energy has a record of it"
rm -rf powercap; unset HONE_POWERCAP

# ---- wisdom beside the program ----
mkdir -p beside/wisdom
if ln "$builddir/hone" beside/hone 2>/dev/null || cp "$builddir/hone" beside/hone; then
    sed 's/"device":"cpu:/"device":"cpu:Another /' wise.jsonl >beside/wisdom/other.jsonl
    env -u HONE_WISDOM beside/hone autotune --db fresh2.db $P --budget 0 >out 2>err
    grep -q "^$P .*untuned: as on cpu:Another" out; tap $? "a copy of the program finds the records beside it"
fi

# ---- a budget holds: the largest share first, the rest stays as it is ----
run 0 autotune --db few.db $P $Q gemm:f32:nn:m512n512k512 --budget 10ms --build aot
good '^gemm:f32:nn:m512n512k512 .*tried' "^$P .*untuned"
grep -q '^2 of 3 problems were not tuned for lack of time' err; tap $? "and says for whom no time was left"

# ---- a net whose training step can be one op: that comes first, in both forms, and is searched; each step is known ----
run 0 autotune --db whole.db --net letter-mlp --batch 16 --optimizer sgd --budget 8s --build aot
good '^mlp_ce:f32:any:mb16s16i16.*tried \([2-9]\|[1-9][0-9]\) of' '^mlp_ce:f32:any:mb16i16.*tried \([2-9]\|[1-9][0-9]\) of'
[ "$(head -n 2 out | grep -c '^mlp_ce')" = 2 ]; tap $? "the whole step comes first"
[ "$(sed '/^after races/,$d' out | grep -c ' ms .*\(tried\|known since\)')" = 19 ] && ! grep -q 'untuned' out; tap $? "and every step has a record"
run 0 autotune --db whole.db --net letter-mlp --batch 16 --optimizer sgd --budget 0; good '^mlp_ce:f32:any:mb16i16.*known since'

# ---- searchers, budgets, recorded spaces ----
for s in model ils genetic annealing random exhaustive; do
    run 0 autotune --db s.db $P --search $s --budget 25evals --build aot --again; good "^$P .*tried [1-9]"
done
run 0 autotune --db s.db $Q --budget converged --build aot; good "^$Q .*tried [1-9]"
run 0 autotune --db s.db $P --build aot --record r.jsonl; grep -q '^[0-9]* configs of' err && [ ! -s out ]; tap $? "a space is recorded"
grep -q '"type":"space","problem":"gemm' r.jsonl && grep -q '"type":"kernel","name":"cpu_' r.jsonl; tap $? "with its problem and kernels"
run 0 autotune --replay r.jsonl --seeds 3; good '^space .*model .*random' "^$P " '^median over the spaces'
run 0 autotune --replay r.jsonl --replay synthetic:1 --seeds 3 --search ils --noise busy --blind --transfer --json; good '"to95_median"' '"synthetic:1"'
run 1 autotune --replay missing.jsonl; fails 'missing.jsonl: cannot read'
echo '{' >bad.jsonl; run 1 autotune --replay bad.jsonl; fails 'bad.jsonl:1: not JSON'
run 1 autotune --replay r.jsonl --noise loud; grep -q "noise 'loud'" err; tap $? "an unknown noise"
run 1 autotune $P $Q --record r2.jsonl; fails 'one problem, not 2'
run 2 autotune $P --budget 0.5evals; fails "budget '0.5evals'"
run 2 autotune $P --search magic; fails "model, ils, genetic, annealing, random, exhaustive"

# ---- wrong usage and wrong words ----
run 2 autotune; fails 'nothing to tune'
run 2 autotune $P --budget soon; fails "budget 'soon'"
run 2 autotune $P --search magic; fails "search 'magic'"
run 2 autotune $P --build aot,cat; fails "build 'aot,cat'"
run 2 autotune $P --cache lukewarm; fails "cache mode 'lukewarm'"
run 2 autotune --net lenet5 --batch 0; fails "batch '0'"
run 1 autotune --db n.db gemm:f32:nn:m16n16; fails 'gemm:f32:nn:m16n16'
run 1 autotune --db n.db --device cpu9 $P; fails "device 'cpu9'"
run 1 autotune --db n.db --net nonet; fails nonet
run 1 autotune --db n.db $P --kernel nokernel; fails "kernel 'nokernel'"
[ ! -e n.db ]; tap $? "none of these makes a database"
run 2 db; fails 'ls, show, why'
run 2 db export --format pdf; fails "format 'pdf'"
run 2 db merge; fails 'a file is missing'
run 1 db merge none.db --db c0.db; fails 'none.db: no database there'
run 2 db eat; fails "'eat'"
run 2 db why; fails 'missing'
run 2 db ls more; fails "unexpected argument 'more'"
run 1 db why gemm:f32:nn:m1n1k1 --db a.db; fails 'no record of gemm:f32:nn:m1n1k1'
run 1 db show cat:f32 --db a.db; fails 'cat'

# ---- looking ----
run 0 db ls --db a.db; good "^$P .* ms " "^$Q "
run 0 db ls --db a.db --json; good '"best": {'
run 0 db why $P --db a.db; good '^chosen: ' 'ms, 1.00x' 'slow: not a candidate'
run 0 db why $P --db a.db --json; good '"kernels": \['
run 0 db show $P --db a.db; good ' timed '
run 0 db runs --db a.db; good
run 1 db runs 7 --db a.db; fails "no run '7'"
run 0 db audit --db a.db; good ' 0 faults'
run 0 db why $P --db a.db --all; good '^      timed .* windows'
run 0 db gc --db a.db --dry-run; good '0 records would go'
run 0 db export --db a.db --format t4; good '"schema_version": "1.0.0"' '"invalidity": "correct"'
run 1 db export --db a.db --format cache; fails 'a cache file holds one kernel'
K=$("$builddir/hone" db ls --db a.db | awk -v p=$P '$1 == p { print $4 }')
run 0 db export --db a.db --format cache --problem $P --kernel $K; good '"tune_params_keys"' '"time": [0-9]'
run 0 db merge --db merged.db a.db l.db; good 'a.db: [1-9][0-9]* added, 0 known already, 0 bad'

# ---- counters ----
run 0 autotune --db count.db $P --budget 1s --counters rusage:minflt,model:flops; good
run 0 db why $P --db count.db --all; good 'counted: minflt=.* flops=[1-9]'
run 0 db show $P --db count.db; good 'counted: minflt='
run 0 db export --db count.db; good '"counters":{"minflt":'
run 0 autotune --db none.db $P $R --budget 1s --counters none; good
[ "$("$builddir/hone" db --db none.db export | grep -c '"counters"')" = 0 ]; tap $? "none: nothing is counted"
run 2 autotune $P --counters no_such_counter; fails "counter 'no_such_counter'"
run 0 autotune --db none.db $P $R --budget 2s --again --counters papi:skx::NO_SUCH_EVENT; good
[ "$(grep -c 'nothing is counted: .*; the search goes without' err)" = 1 ]; tap $? "what cannot be counted is told once"

# ---- text ----
run 0 db --db a.db export a.jsonl; good
run 0 db --db b.db import a.jsonl; good ' added, 0 known already, 0 bad'
"$builddir/hone" db --db b.db export >b.jsonl; cmp a.jsonl b.jsonl; tap $? "export, import, export: identical"
{ sed -n 1,2p a.jsonl; echo '{"type":"record",'; sed -n 3p a.jsonl; } >mixed.jsonl
run 1 db --db c.db import mixed.jsonl; good '2 added, 0 known already, 1 bad'
grep -q '^mixed.jsonl:3: not JSON' err; tap $? "a bad line is named by file and line"
run 1 db --db c.db import missing.jsonl; fails 'missing.jsonl: cannot read'
if [ -w /dev/full ]; then
    "$builddir/hone" db --db a.db export >/dev/full 2>err; [ $? = 1 ] && grep -q 'cannot write' err; tap $? "export to a full disk fails"
    "$builddir/hone" autotune --db a.db $P --budget 0 >/dev/full 2>err; [ $? = 1 ] && grep -q 'cannot write' err; tap $? "so does a table"
fi

# ---- bad databases: one line, and no byte changed ----
intact() { # intact FILE PATTERN: tuning into it fails as said and leaves it
    cp "$1" copy
    run 1 autotune --db "$1" $R --budget 1; fails "$2"
    cmp -s "$1" copy; tap $? "$1 is as it was"
}
echo 'this is no database' >text.db; intact text.db 'not a database'
head -c 8192 a.db >half.db; intact half.db 'damaged'
{ head -c 60 a.db; printf '\000\000\000\011'; tail -c +65 a.db; } >newer.db; intact newer.db 'newer hone'
{ head -c 68 a.db; printf 'Cats'; tail -c +73 a.db; } >foreign.db; intact foreign.db 'another program'
cp a.db copy
(ulimit -f 16; exec "$builddir/hone" autotune --db a.db $R --budget 1) >out 2>err
[ $? = 1 ] && grep -q 'limit full\|disk full' err && [ "$(grep -c . err)" = 1 ]; tap $? "a full disk: one line"
[ "$(records a.db)" -ge "$(records copy)" ] && "$builddir/hone" db --db a.db audit >out; tap $? "and the database is whole"

# ---- interruption ----
# stop SIGNAL DB: starts a long search and sends the signal once records are there.
stop() {
    "$builddir/hone" autotune --db "$2" $R gemm:f32:nn:m96n96k96 --budget full --again >out 2>err &
    pid=$!
    i=0
    while [ $i -lt 200 ] && [ "$(records "$2" 2>/dev/null || echo 0)" -lt $((base + 1)) ]; do sleep 0.1; i=$((i + 1)); done
    kill -"$1" $pid
    wait $pid 2>/dev/null
    status=$?
}
cp b.db k.db; base=$(records k.db)
stop KILL k.db
"$builddir/hone" db --db k.db audit >out 2>err; tap $? "killed while tuning: the database is whole"
"$builddir/hone" db --db k.db export >k.jsonl; [ "$(grep -cxFf a.jsonl k.jsonl)" = "$(grep -c . a.jsonl)" ]; tap $? "and all earlier records are there"
[ "$(records k.db)" -gt "$base" ]; tap $? "so are those that were written before the kill"
base=$(records k.db)
stop INT k.db
[ $status = 1 ] && grep -q 'interrupted: .* results so far are kept' err; tap $? "interrupted: says so, exit status 1"
"$builddir/hone" db --db k.db audit >out 2>err && "$builddir/hone" db --db k.db why $R >out 2>err; tap $? "and what was found is kept"

echo 1..$n
exit $bad
