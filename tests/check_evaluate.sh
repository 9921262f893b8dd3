#!/bin/sh
# hone evaluate and hone predict: the numbers of training come back from the file, whatever the batch and wherever rows come from.
. "$(dirname "$0")/scratch.inc"
hone() { "$builddir/hone" "$@" >out 2>err; }
fails() { # fails STATUS PATTERN ARGUMENT...
    want=$1 pattern=$2; shift 2
    hone "$@"
    [ $? = "$want" ] && [ ! -s out ] && grep -q -- "$pattern" err; tap $? "$*: $pattern"
}

# Three classes by the larger of two features, whose sizes are far apart: only normalised do they count alike.
awk 'BEGIN { srand(7); print "small,large,kind"
    for (i = 0; i < 200; i++) { a = rand(); b = rand(); k = (a > b + .2) ? "low" : (b > a + .2) ? "high" : "even"
        printf "%.6f,%.3f,%s\n", a / 1000, 1000 * b + 5000, k } }' >rows.csv
printf 'input x c=2\nfc f = x k=16 act=tanh\nfc y = f k=3\nsoftmax_ce l = y\n' >own.net
hone train --net own.net --data rows.csv --target kind --epochs 60 --batch 16 --lr 0.02 --save w; tap $? 'trained'
acc=$(tail -n 1 out | awk '{ print $7 }') loss=$(tail -n 1 out | awk '{ print $6 }')
awk -v a="$acc" 'BEGIN { exit !(a > 0.8) }'; tap $? "and learned: $acc"
for b in 1 7 40 64; do
    hone evaluate --net own.net --weights w --data rows.csv --target kind --batch $b
    [ -n "$acc" ] && [ "$(awk '/^accuracy/ { print $2 }' out)" = "$acc" ] && awk -v l="$loss" '/^loss/ { exit !(($2 - l) ^ 2 < 4e-9) }' out; tap $? "evaluate in batches of $b: training's accuracy and loss"
done
grep -q '^inference  *[0-9.]* ms \[[0-9.]* [0-9.]*\] per batch of 40, n = [0-9]*$' out && grep -q '^throughput  *[0-9]* rows/s$' out; tap $? 'and what it costs'
hone evaluate --net own.net --weights w --data rows.csv --target kind --dtype f64
[ "$(awk '/^accuracy/ { print $2 }' out)" = "$acc" ] && awk -v l="$loss" '/^loss/ { exit !(($2 - l) ^ 2 < 4e-9) }' out; tap $? 'the same in doubles'
hone evaluate --net own.net --weights w --data rows.csv --target kind --json --rows train
grep -q '"rows": 160' out && grep -q '"batch_ms": {' out && grep -q '"mse": null' out; tap $? 'training rows, as JSON'

python3 - out <<'P'
import json, sys
d = json.load(open(sys.argv[1]))
m = d["metrics"]
rows = [sum(r) for r in m["confusion"]]
assert sum(rows) == 160 and rows == [c["rows"] for c in m["classes"]]
right = sum(m["confusion"][k][k] for k in range(3))
assert abs(right / 160 - d["accuracy"]) < 1e-12 and d["accuracy"] > 0.8 and d["warning"] is None
P
tap $? 'with a confusion matrix that gives the accuracy'
hone evaluate --net own.net --weights w --data rows.csv --target kind --metrics
grep -q '^labels  *answers$' out && grep -q '^mean  *40 ' out; tap $? '--metrics: confusion matrix and classes'
hone train --net own.net --data rows.csv --target kind --epochs 1 --lr 0 --save nothing
hone evaluate --net own.net --weights nothing --data synthetic:1x1x2:3:500
grep -q '^warning: test accuracy .* near chance' err && grep -q '^accuracy .*near chance$' out; tap $? 'near chance: flagged'
hone evaluate --net own.net --weights nothing --data synthetic:1x1x2:3:500 --json
grep -q '"accuracy": null' out && grep -q '"no_better_than_chance": true' out; tap $? 'in JSON, too'

# ---- predictions ----
hone predict --net own.net --weights w rows.csv --target kind; tap $? 'predict a CSV file with a target'
cut -f 2 out >with
cut -d , -f 1,2 rows.csv >bare.csv
hone predict --net own.net --weights w bare.csv; tap $? 'and without'
cut -f 2 out | cmp -s - with && [ "$(wc -l <out)" = 200 ]; tap $? 'gives the same classes, a line a row'
sed 1d bare.csv >headless.csv
hone predict --net own.net --weights w headless.csv --batch 3
cut -f 2 out | cmp -s - with; tap $? 'so does one without a header, in batches of 3'
sed 1d rows.csv | cut -d , -f 3 | paste - with | awk '$1 == $2' | wc -l >right
awk '{ exit !($1 > 160) }' right; tap $? "names of classes, most of them right: $(cat right) of 200"
hone predict --net own.net --weights w bare.csv --top 9
awk -F '\t' 'NF != 7 || ($3 + $5 + $7 - 1) ^ 2 > 1e-6 || $3 < $5 || $5 < $7 { bad = 1 } END { exit bad || !NR }' out; tap $? '--top: all classes, falling, in all 1'
hone predict --net own.net --weights w --data rows.csv --target kind --json
[ "$(grep -c '"row"' out)" = 40 ] && grep -q '"probability": 0.' out; tap $? 'the test rows of a set, as JSON'
hone train --net housing-mlp --data synthetic:1x1x8:0:200 --epochs 1 --save h
hone predict --net housing-mlp --weights h --data synthetic:1x1x8:0:200
[ "$(grep -c '^[0-9]*	-*[0-9.e-]*$' out)" = 40 ]; tap $? 'numbers'
hone evaluate --net housing-mlp --weights h --data synthetic:1x1x8:0:200; grep -q '^R2  *-*[0-9.]*$' out; tap $? 'and their R2'

# ---- bad input ----
fails 1 "rows.csv:2: column 3 'kind': '[a-z]*' is not a number" predict --net own.net --weights w rows.csv
cut -d , -f 1 rows.csv >one.csv
fails 1 "net 'own' reads 1x1x2, and a row of 'one.csv' is 1x1x1" predict --net own.net --weights w one.csv
fails 1 "w: has no tensor 'c1.w'" evaluate --net lenet5 --weights w --data synthetic:28x28x1:10:100
fails 1 'nothere: No such file' evaluate --net own.net --weights nothere --data rows.csv
fails 2 'are needed' evaluate --net own.net
fails 2 'are needed' predict --weights w rows.csv
fails 2 'expected either --data' predict --net own.net --weights w
fails 2 'expected one CSV file' predict --net own.net --weights w rows.csv bare.csv
fails 2 "'i32': a net computes in f32, tf32, f64, bf16 or f16" evaluate --net own.net --weights w --data rows.csv --dtype i32
for c in evaluate predict; do hone $c --help; grep -q '^Examples:' out; tap $? "$c --help has examples"; done

echo 1..$n
exit $bad
