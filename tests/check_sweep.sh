#!/bin/sh
# hone sweep: every combination runs once, whatever kills it; failures are results with a reason; survivors of a search go on instead of beginning again.
. "$(dirname "$0")/scratch.inc"
# Without gnuplot, but where $plots has it.
sweep() { PATH=${plots:-$tmp/empty} "$builddir/hone" sweep "$@" >out 2>err; }
# wrong PATTERN ARGUMENT...: exit status 2, a line with the pattern, nothing made.
wrong() {
    pattern=$1; shift
    sweep "$@" -o wrong
    [ $? = 2 ] && [ ! -s out ] && [ ! -e wrong ] && grep -q -- "^hone sweep: .*$pattern" err; tap $? "$*: $pattern"
}
# column NAME FILE: a column of a CSV file whose fields have no commas.
column() { awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) k = i } NR > 1 { print $k }' "$2"; }

mkdir empty
printf 'input x c=6\nfc f = x k=12 act=relu\nfc y = f k=4\nsoftmax_ce l = y\n' >own.net
printf 'input x c=6\nfc y = x k=1\nmse l = y\n' >line.net
base='--net own.net --data synthetic:1x1x6:4:400'

# ---- the product ----
# shellcheck disable=SC2086
sweep $base --epochs 3 --batch 8,16 --optimizer sgd,adam --lr 0.1,0.01,0.001 -o grid; tap $? 'a grid of 2 x 2 x 3'
[ "$(wc -l <grid/table.csv)" = 13 ] && [ "$(wc -l <grid/curves.csv)" = 37 ]; tap $? '12 runs, 36 epochs'
for b in 8 16; do for o in sgd adam; do for l in 0.1 0.01 0.001; do echo "$b $o $l"; done; done; done >want
paste -d' ' grid/table.csv /dev/null | awk -F, 'NR > 1 { print $1, $2, $3 }' | cmp -s - want; tap $? 'every combination, the first option outermost'
head -n 1 grid/table.csv | grep -q '^batch,optimizer,lr,status,near_chance,rung,epochs,first_epoch_seconds,epoch_seconds,epoch_seconds_lo,epoch_seconds_hi,images_per_s,train_loss,train_accuracy,train_mae,test_loss,test_accuracy,test_mae,best_epoch,best_test_accuracy,best_test_mse,steps,steps_tuned,peak_bytes,reason,command$'; tap $? 'columns of table.csv'
head -n 1 grid/curves.csv | grep -q '^batch,optimizer,lr,epoch,seconds,images_per_s,rate,train_loss,train_accuracy,train_mae,test_loss,test_accuracy,test_mse,test_mae$'; tap $? 'columns of curves.csv'
awk -F, 'NR > 1 && !($9 >= $10 && $9 <= $11 && $9 > 0 && $8 > 0)' grid/table.csv >odd; [ ! -s odd ]; tap $? 'a median within its interval, and the first epoch'
awk -F, 'NR > 1 { if ($4 == 1) first = $5; else { a = b; b = $5 } if ($4 == 3) printf "%.12g %.12g\n", first, (a + b) / 2 }' grid/curves.csv >want
awk -F, 'NR > 1 { print $8, $9 }' grid/table.csv | paste -d' ' - want | awk '{ if ($1 != $3 || ($2 - $4) ^ 2 > 1e-12 * $4 ^ 2) exit 1 }'; tap $? 'the median is of the epochs after the first'
grep -q '^batch *optimizer *lr *epochs *s/epoch *first s *images/s *train loss *train acc *test loss *test acc *best epoch *tuned$' out; tap $? 'the table'
# The same run by hone train, to every digit of the file.
cmd=$(column command grid/table.csv | sed -n 5p)
# shellcheck disable=SC2086
"$builddir/hone" ${cmd#hone } --json >one.json 2>err
[ "$(awk -F'[:,]' '/"test_loss"/ { v = $2 } END { printf "%.9g", v }' one.json)" = "$(column test_loss grid/table.csv | sed -n 5p)" ]; tap $? "the command of a run gives the run: $cmd"
rm -f grid/table.csv
cp -r grid/points before
# shellcheck disable=SC2086
sweep $base --epochs 3 --batch 8,16 --optimizer sgd,adam --lr 0.1,0.01,0.001 -o grid
[ $? = 0 ] && diff -r before grid/points >/dev/null && grep -q '^12 of 12 runs are known' err && [ "$(wc -l <grid/table.csv)" = 13 ]; tap $? 'again: nothing runs, the tables are there'
# shellcheck disable=SC2086
sweep --lr 0.1,0.01,0.001,0.5 --optimizer sgd,adam --batch 8,16 $base --epochs 3 -o grid
grep -q '^12 of 16 runs are known' err && [ "$(find grid/points -name '*.json' | wc -l)" = 16 ]; tap $? 'more values add their runs, in any order of options'

# ---- what each value may be ----
# shellcheck disable=SC2086
sweep $base --epochs 2 --schedule step:1:0.1 --schedule step:1,2:0.5 --nesterov --momentum 0.9 --optimizer sgd -o commas
[ "$(column schedule commas/table.csv | wc -l)" = 2 ] && grep -q '"step:1,2:0.5"' commas/table.csv && grep -q -- '--nesterov' commas/table.csv; tap $? 'values with commas are given once each; flags go along'
sweep --net line.net --data synthetic:1x1x6:0:200 --epochs 3 --lr 0.1,0.01 -o numbers
grep -q 'train mae *test loss *test mae *best (mse)' out && column test_mae numbers/table.csv | grep -q '^0\.' && column test_accuracy numbers/table.csv | grep -qv .; tap $? 'numbers: MAE and MSE'
# shellcheck disable=SC2086
sweep $base --epochs 1 --lr 0,0.1 --optimizer sgd --batch 4 -o chance
grep -q '^0 .* chance ' out && grep -q '^chance: ' out && grep -q '^0,done,1,.*' chance/table.csv && [ -z "$(column test_accuracy chance/table.csv | head -n 1)" ]; tap $? 'an accuracy near chance is flagged, and no result'
# shellcheck disable=SC2086
sweep $base --epochs 1 --lr 0.1,0.01 --json -o json
python3 -c 'import json; d = json.load(open("out")); assert len(d["points"]) == 2 and d["points"][0]["options"]["--lr"] == "0.1" and len(d["points"][1]["curve"]) == 1' 2>err; tap $? 'JSON'

# ---- failures ----
# shellcheck disable=SC2086
sweep $base --epochs 2 --loss softmax_ce,mse --optimizer sgd,adem --lr 0.1,1e5 -o bad
status=$?
[ $status = 0 ] && [ "$(grep -c ' failed: ' out)" -ge 6 ] && grep -q "failed: --optimizer: .*adem" out; tap $? 'refused options are rows with a reason'
sweep --net line.net --data synthetic:1x1x6:0:200 --epochs 3 --lr 1e5,0.01 --optimizer sgd -o nan
[ $? = 0 ] && grep -q '^1e5 *failed: epoch [0-9]*, step [0-9]*: the loss is \(nan\|infinite\)' out && [ "$(column status nan/table.csv | tr '\n' ' ')" = 'failed done ' ]; tap $? 'a loss that is no number'
sweep --net line.net --data synthetic:1x1x6:0:200 --epochs 3 --lr 1e5,0.01 --optimizer sgd -o nan
grep -q '^2 of 2 runs are known' err; tap $? 'a failed run is not repeated'
sweep --net line.net --data synthetic:1x1x6:0:200 --epochs 3 --lr 1e5,0.01 --optimizer sgd --retry -o nan
grep -q '^1 of 2 runs are known' err; tap $? 'but with --retry'
sweep --net none.net --lr 1,2 -o none
[ $? = 1 ] && grep -q '^hone sweep: no run succeeded$' err; tap $? 'no run succeeded'

# ---- options ----
wrong "--lr '0.1,,0.2': an empty value" --lr 0.1,,0.2
wrong "--lr '': an empty value" --lr ''
wrong "--lr '0.1,': an empty value" --lr 0.1,
wrong "--lr: '0.1' stands twice" --lr 0.1,0.2,0.1
wrong '--lr: a range needs --search' --lr 1e-4..1e-1
wrong '--lr 1..0.1: the range is empty' --search random --lr 1..0.1
wrong '--lr 0..1: a log-uniform range starts above 0' --search random --lr 0..1
wrong '--lr 1e-4..: expected a range' --search random --lr 1e-4..
wrong '--lr 0.1..1: a range stands alone' --search random --lr 0.5 --lr 0.1..1
wrong '--search: no option has a list or a range' --search random --lr 0.1
wrong '--search tree: expected grid' --search tree --lr 0.1,0.2
wrong '--trials 1: expected a whole number' --search random --trials 1 --lr 0.1,0.2
wrong '--trials goes with' --trials 3 --lr 0.1,0.2
wrong '--eta goes with' --eta 3 --search random --lr 0.1,0.2
wrong '--epochs: --search halving wants one' --search halving --epochs 3,9 --lr 0.1,0.2
wrong 'none can be left out' --search halving --epochs 2 --lr 0.1..0.2
wrong '--tune soon: expected a time' --tune soon --lr 0.1,0.2
wrong "unrecognized option '--learning'" --learning 0.1
wrong '--folds: not in a sweep; --seed 1,2,3' --folds 3
wrong "unexpected argument 'more'" --lr 0.1 more
"$builddir/hone" sweep --lr 0.1 >out 2>err
[ $? = 2 ] && grep -q '^hone sweep: --output is missing' err; tap $? '--output is missing'
touch file
# shellcheck disable=SC2086
sweep $base --lr 0.1,0.2 -o file
[ $? = 1 ] && grep -q '^hone sweep: cannot make directory file: Not a directory' err; tap $? 'the directory is a file'

# ---- searches ----
search="$base --epochs 9 --search halving --trials 9 --eta 3 --optimizer sgd --lr 1e-4..1e-1 --momentum lin:0..0.9 --batch 8..64 --schedule cosine"
# shellcheck disable=SC2086
sweep $search -o halving; tap $? 'halving: 9 trials, cosine over all epochs'
column epochs halving/table.csv | tr '\n' ' ' | grep -q '^9 3 3 1 1 1 1 1 1 $'; tap $? '9 trials for 1 epoch, 3 for 3, 1 for 9'
grep -q '^9 trials, at most 21 epochs instead of 81$' err; tap $? 'survivors go on: 21 epochs'
[ -z "$(ls halving/checkpoints)" ]; tap $? 'no checkpoint is left behind'
# A survivor's epochs are those of its earlier rungs, to the last bit of their time: 21 in all, five of them in several records.
# Two trials' may take equally long, as the clock has it, but not with one loss.
awk '/"seconds": / { s = $2 } /"train_loss": / { print s, $2 }' halving/points/*.json | sort | uniq -c | awk '{ k[$1]++ } END { exit !(k[1] == 16 && k[2] == 4 && k[3] == 1) }'; tap $? 'and no epoch is trained twice'
cmd=$(sed -n 's/^winner: hone //p' out)
# shellcheck disable=SC2086
"$builddir/hone" $cmd --json >one.json 2>err
[ -n "$cmd" ] && [ "$(awk -F'[:,]' '/"test_loss"/ { v = $2 } END { printf "%.9g", v }' one.json)" = "$(column test_loss halving/table.csv | head -n 1)" ]; tap $? "the winner's command gives the winner: $cmd"
awk -F, 'NR > 1 { if (!($1 >= 1e-4 && $1 <= 0.1 && $2 >= 0 && $2 <= 0.9 && $3 == int($3) && $3 >= 8 && $3 <= 64)) exit 1 }' halving/table.csv; tap $? 'draws are in their ranges'
column command halving/table.csv | sort >want
# shellcheck disable=SC2086
sweep $search -o again
column command again/table.csv | sort | cmp -s - want; tap $? 'the same seed, the same trials'
# shellcheck disable=SC2086
sweep $search --seed 2 -o other
column command other/table.csv | sed 's/ --seed 2//' | sort | cmp -s - want; [ $? = 1 ]; tap $? 'another seed, other trials'
# shellcheck disable=SC2086
sweep $base --epochs 1 --search random --trials 20 --lr 0.1,0.01 --batch 8,16,32 -o random
[ "$(wc -l <random/table.csv)" = 7 ] && grep -q '^the options have 6 combinations, fewer than 20 trials$' err; tap $? 'random: a small space is drawn once each'
column test_accuracy random/table.csv >got
column test_accuracy random/table.csv | sort -rg | cmp -s - got; tap $? 'ranked by test accuracy'

# ---- kill -9 ----
runs="--net own.net --data synthetic:1x1x6:4:4000 --batch 4 --lr 0.1,0.03,0.01,0.003,0.001 --optimizer sgd,adam"
slow="$runs --epochs 16"
# shellcheck disable=SC2086
sweep $slow -o whole; tap $? 'a sweep without a break'
tries=0 kills=0
while [ $tries -lt 30 ]; do
    tries=$((tries + 1))
    # shellcheck disable=SC2086
    "$builddir/hone" sweep $slow -o killed >out 2>err &
    pid=$!
    # Four times, as soon as one more run is known: whatever the machine's pace, some are left.
    if [ $tries -lt 5 ]; then
        while kill -0 $pid 2>/dev/null && [ "$(find killed/points -name '*.json' 2>/dev/null | wc -l)" -lt $tries ]; do sleep 0.01; done
        kill -9 $pid 2>/dev/null
    fi
    wait $pid 2>/dev/null
    status=$?
    [ $status = 137 ] || break
    kills=$((kills + 1))
    for f in killed/points/*.json; do [ -e "$f" ] && cp -pn "$f" "kept.$(basename "$f")"; done
done
[ $status = 0 ] && [ $kills -gt 1 ]; tap $? "killed $kills times, it comes to its end"
same=0
for f in kept.*; do cmp -s "$f" "killed/points/${f#kept.}" || same=1; done
[ $same = 0 ] && grep -q 'known from before' err; tap $? 'no finished run ran again'
# All but the times.
awk -F, '{ print $1, $2, $3, $6, $7, $8, $10, $11 }' whole/curves.csv >want
awk -F, '{ print $1, $2, $3, $6, $7, $8, $10, $11 }' killed/curves.csv | cmp -s - want; tap $? 'and the results are those without a break'

# ---- Ctrl-C, two at once ----
# More epochs than any machine ends before it is told to.
# shellcheck disable=SC2086
"$builddir/hone" sweep $runs --epochs 1000000 -o stopped >out 2>err &
pid=$!
i=0
while [ $i -lt 3000 ] && [ -z "$(ls stopped/checkpoints 2>/dev/null)" ]; do sleep 0.02; i=$((i + 1)); done
# shellcheck disable=SC2086
"$builddir/hone" sweep $runs --epochs 1000000 -o stopped >out2 2>err2
[ $? = 1 ] && grep -q '^hone sweep: another hone sweep is at work in stopped$' err2; tap $? 'one sweep a directory'
kill -TERM $pid
wait $pid
[ $? = 1 ] && grep -q '^hone sweep: interrupted in the first run; the same command goes on$' err && [ -z "$(find stopped/points -type f)" ] && [ -n "$(ls stopped/checkpoints)" ]; tap $? 'a signal: exit status 1, the checkpoint stays'

# ---- plots ----
mkdir bin
printf '#!/bin/sh\necho "no such terminal" >&2\nexit 1\n' >bin/gnuplot; chmod +x bin/gnuplot
# shellcheck disable=SC2086
sweep $base --epochs 2 --batch 8,16 --lr 0.1 -o plain
[ $? = 0 ] && grep -q '^throughput plot refused: no gnuplot in PATH$' err && [ -s plain/throughput.gp ] && [ -s plain/accuracy.dat ]; tap $? 'no gnuplot: a reason, script and data'
# shellcheck disable=SC2086
plots=$tmp/bin:$PATH sweep $base --epochs 2 --batch 8,16 --lr 0.1 -o plain
[ $? = 0 ] && grep -q '^accuracy plot refused: gnuplot failed, see gnuplot.log$' err && grep -q 'no such terminal' plain/gnuplot.log; tap $? 'a gnuplot that fails'
# shellcheck disable=SC2086
sweep $base --epochs 1 --lr 0.1,0.01 -o few
grep -q '^throughput plot refused: no two runs differ in the batch alone$' err && grep -q '^accuracy plot refused: one epoch makes no curve$' err && [ ! -e few/throughput.gp ]; tap $? 'nothing to plot: a reason'
if command -v gnuplot >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    plots=$PATH sweep $base --epochs 2 --batch 8,16 --lr 0.1 -o plain
    grep -q '^plain/accuracy.png, accuracy.svg$' err && head -c 4 plain/accuracy.png | grep -q PNG && grep -q '<svg' plain/throughput.svg; tap $? 'gnuplot: PNG and SVG'
else
    n=$((n + 1)); echo "ok $n - gnuplot: PNG and SVG # SKIP no gnuplot"
fi

# ---- tuning before ----
# shellcheck disable=SC2086
# It ends long before; but a budget holds, and on a busy machine a shorter one leaves steps untuned.
sweep $base --epochs 1 --batch 8,16 --optimizer sgd --tune 20s -o tuned
[ $? = 0 ] && [ "$(find tuned/tuned -name '*.json' | wc -l)" = 2 ] && [ "$(column steps tuned/table.csv)" = "$(column steps_tuned tuned/table.csv)" ]; tap $? '--tune: all steps of both batches'
# shellcheck disable=SC2086
HONE_DB=$tmp/fresh.db sweep $base --epochs 1 --batch 8,16 --optimizer sgd -o untuned
grep -q '^in 2 of 2 runs untuned steps ran by default kernels' err; tap $? 'without it: untuned steps are told'

echo 1..$n
exit $bad
