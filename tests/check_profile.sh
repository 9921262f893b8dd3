#!/bin/sh
# hone profile and hone report: one record, every form of it the same twice, sums that add up, memory as
# predicted, files that are whole or not there, and bad input.
srcdir=$(cd "${srcdir:-.}" && pwd) . "${srcdir:-.}/tests/scratch.inc"
XDG_CACHE_HOME=$tmp/cache; export XDG_CACHE_HOME
hone=$builddir/hone

fails() { # fails CODE PATTERN NAME COMMAND...: one line on stderr with the pattern, nothing on stdout
    want=$1 pattern=$2 name=$3; shift 3
    "$@" >out 2>err </dev/null
    [ $? = "$want" ] && [ ! -s out ] && grep -q -e "$pattern" err &&
        [ "$(grep -v -e '^Try ' -e '^information' err | wc -l)" = 1 ]
    tap $? "$name"
}
check() { # check NAME FUNCTION FILE...: a function of check_profile.py
    name=$1; shift
    if ! command -v python3 >/dev/null 2>&1; then n=$((n + 1)); echo "ok $n - $name # SKIP no python3"; return; fi
    python3 "$srcdir/tests/check_profile.py" "$@" >out 2>err
    tap $? "$name"
}

# ---- one record ----

"$hone" profile --net lenet5 --batch 16 --rounds 21 --counters model,ipc,minflt --json >a.json 2>err
tap $? "hone profile --json"
"$hone" report layers a.json --json >b.json 2>err && cmp a.json b.json >out 2>&1
tap $? "the record read and written again is the same bytes"
for k in 1 2; do
    "$hone" report layers a.json --html h$k.html --trace t$k.json --plot p$k >table$k 2>err || echo bad >>err.all
    "$hone" report layers - --csv <a.json >c$k.csv 2>>err || echo bad >>err.all
done
[ ! -f err.all ] && cmp h1.html h2.html && cmp t1.json t2.json && cmp table1 table2 && cmp c1.csv c2.csv
tap $? "page, trace, table and CSV are the same bytes twice"
if command -v gnuplot >/dev/null 2>&1; then
    diff -r p1 p2 >out 2>&1 && for f in roofline layers memory; do
        for e in png svg gp dat; do [ -s p1/$f.$e ] || exit 1; done; done && [ ! -e p1/gnuplot.log ]
    tap $? "so are the plots, whose scripts and data lie beside them"
else
    n=$((n + 1)); echo "ok $n - plots are the same bytes twice # SKIP no gnuplot"
fi
grep -q '^c2  *dgrad' table1 && grep -q '^update  ' table1 && grep -q 'untraced step$' table1 &&
    grep -q '^peak resident: predicted' table1 && grep -q 'untuned: `hone autotune' table1
tap $? "the table has parts, phases, sums, memory and advice"
[ "$("$hone" report layers a.json --top 3 | grep -c -e ' fwd ' -e 'grad ' )" -ge 3 ] &&
    "$hone" report layers a.json --top 3 | grep -q '^... and [0-9]* shorter parts'
tap $? "--top shows the longest parts"

check "shares, phases and sums add up" sums a.json
check "tensors in the arena never overlap while they live" arena a.json
check "counters are numbers or reasons, the model's as the problems say" counters a.json
check "the trace is in the Trace Event Format, and its bars do not overlap" trace t1.json a.json
check "the page is well-formed, complete, and asks for nothing" html h1.html a.json
check "CSV has a line for each part with the record's numbers" csv c1.csv a.json

# ---- measured against the plan: another program may spoil a try.  How large the overhead is depends on the machine: it is shown ----

measured() { # measured NAME FUNCTION OPTION...
    name=$1 function=$2; shift 2
    if ! command -v python3 >/dev/null 2>&1; then n=$((n + 1)); echo "ok $n - $name # SKIP no python3"; return; fi
    for try in 1 2 3 4 5 6; do
        "$hone" profile "$@" --json >m.json 2>err && python3 "$srcdir/tests/check_profile.py" $function m.json >out 2>err && break
    done
    python3 "$srcdir/tests/check_profile.py" $function m.json >out 2>err
    tap $? "$name"
    sed 's/^/# /' out
}
measured "peak memory of housing-mlp is as predicted" memory --net housing-mlp --rounds 5
measured "peak memory of lenet5 with adam is as predicted" memory --net lenet5 --optimizer adam --rounds 5
measured "peak memory of mnist-cnn is as predicted" memory --net mnist-cnn --batch 64 --rounds 2
measured "peak memory of a small resnet is as predicted" memory --net resnet56:n=2 --batch 4 --rounds 5
measured "parts and their overhead are the step: housing-mlp" overhead --net housing-mlp --rounds 201
measured "parts and their overhead are the step: lenet5" overhead --net lenet5 --rounds 101

# ---- texts that need quoting ----

sed 's|"net": "lenet5"|"net": "a<b>\&\\"'"'"',c"|' a.json >q.json
"$hone" report layers q.json --html q.html --plot q --csv >q.csv 2>err
tap $? "a net's name may have any characters"
check "and the page is still well-formed" html q.html q.json
check "and CSV too" csv q.csv q.json

# ---- files that cannot be written ----

echo old >old.html
( trap '' XFSZ; ulimit -f 1; exec "$hone" report layers a.json --html old.html >/dev/null 2>err )
[ $? = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q 'cannot write old.html: File too large' err &&
    [ "$(cat old.html)" = old ] && ! ls -- *.part >/dev/null 2>&1
tap $? "a file that grows too large leaves the old one, and one clear line"
"$hone" report layers a.json --html no/such/x.html --trace t3.json >table3 2>err
[ $? = 1 ] && grep -q 'cannot write no/such/x.html.*No such file' err && [ "$(wc -l <err)" = 1 ] && cmp table1 table3 && cmp t1.json t3.json
tap $? "a directory that is not there: one clear line, and the rest stands"
ln -s old.html link.html && "$hone" report layers a.json --html link.html >/dev/null 2>err && [ -L link.html ] && cmp old.html h1.html
tap $? "a link stays a link"
if [ -w /dev/full ]; then
    "$hone" report layers a.json --trace /dev/full >table3 2>err
    [ $? = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q 'cannot write /dev/full: No space left' err &&
        [ -c /dev/full ] && cmp table1 table3
    tap $? "a trace to a full disk: one clear line, and the table stands"
    "$hone" report layers a.json --json >/dev/full 2>err
    [ $? = 1 ] && grep -q 'cannot write' err
    tap $? "JSON to a full disk is an error"
fi
"$hone" report layers a.json --html /dev/stderr >out 2>stderr.html && grep -q '</html>' stderr.html && cmp out table1
tap $? "what is no plain file is written to as it is"
PATH=/nonexistent "$hone" report layers a.json --plot bare >out 2>err
[ $? = 0 ] && grep -q 'no roofline plot: no gnuplot in PATH' err && [ -s bare/roofline.gp ] && [ ! -e bare/gnuplot.log ]
tap $? "without gnuplot scripts and data are there, and the reason"
touch file
fails_plot() { "$hone" report layers a.json --plot file --top 1 2>err >out; [ $? = 1 ] && grep -q 'cannot make directory file: Not a directory' err; }
fails_plot
tap $? "a plot's directory that is a file"

# ---- bad input ----

fails 1 'none.json: No such file' "no file" "$hone" report layers none.json
echo '{"x": ' >bad.json
fails 1 'bad.json:[0-9]*: ' "no JSON" "$hone" report layers bad.json
echo '{"x": 1}' >bad.json
fails 1 'bad.json: no record of hone profile' "another program's JSON" "$hone" report layers bad.json
sed 's/"version": 1,/"version": 7,/' a.json >bad.json
fails 1 'version 7' "a record of another version" "$hone" report layers bad.json
sed 's/"roof_ms"/"roof"/' a.json >bad.json
fails 1 'step 0: .*roof_ms' "a record without a key" "$hone" report layers bad.json
sed '0,/"first": [0-9]*/s//"first": 9999/' a.json >bad.json
fails 1 'arena 0: lives from step 9999' "a tensor that lives nowhere" "$hone" report layers bad.json
head -c 3000 a.json >bad.json
fails 1 'bad.json:[0-9]*: ' "half a record" "$hone" report layers bad.json
fails 2 'FILE is missing' "no record" "$hone" report layers
fails 2 "'x' is no report" "no such report" "$hone" report x
fails 2 'json and --csv' "two forms for one output" "$hone" report layers a.json --json --csv
fails 2 "top: '0'" "no part" "$hone" report layers a.json --top 0
fails 2 "counter 'no_such'" "an unknown event" "$hone" profile --net lenet5 --counters no_such
fails 1 "no_such" "an unknown net" "$hone" profile --net no_such

# ---- DAWNBench ----

fails 1 'no training run' "no run in the database" "$hone" report dawnbench
"$hone" train --net letter-mlp --data synthetic:1x1x16:26:640 --split 0.8 --epochs 3 >out 2>err &&
    "$hone" report dawnbench --output d.tsv >out 2>err && "$hone" report dawnbench --run 1 >d2.tsv && cmp d.tsv d2.tsv
tap $? "hone report dawnbench"
awk -F'\t' 'NR == 1 { ok = $0 == "epoch\thours\ttop1Accuracy" } NR > 1 { ok = ok && NF == 3 && $1 == NR - 1 && $2 > last && $3 >= 0 && $3 <= 100; last = $2 }
    END { exit !(ok && NR == 4) }' d.tsv
tap $? "epochs, hours that grow, percents"
fails 1 "'9' is none of the 1 runs" "no such run" "$hone" report dawnbench --run 9
"$hone" train --net housing-mlp --data synthetic:1x1x8:0:128 --epochs 1 >out 2>err
tap $? "training on numbers"
fails 1 'no epoch has a test accuracy' "a run of numbers" "$hone" report dawnbench
echo nothing >foreign.db
fails 1 'foreign.db' "a foreign database" "$hone" report dawnbench --db foreign.db
echo 1..$n
exit $bad
