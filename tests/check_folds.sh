#!/bin/sh
# --folds and --repeat: every row is tested once, the same seed deals the same folds, mean and deviation are those of the lines, a killed protocol goes on.
. "$(dirname "$0")/scratch.inc"
train() { "$builddir/hone" train "$@" >out 2>err; }

printf 'input x c=6\nfc f = x k=12 act=relu\nfc y = f k=4\nsoftmax_ce l = y\n' >own.net
printf 'input x c=6\nfc y = x k=1\nmse l = y\n' >line.net
run='--net own.net --data synthetic:1x1x6:4:103 --epochs 3 --batch 8'

# shellcheck disable=SC2086
train $run --folds 5; tap $? '5 folds'
grep '^[1-5] ' out | awk '{ print $1, $5, $6, $7, $8 }' >lines
[ "$(wc -l <lines)" = 5 ] && grep -q '^total *5 of 5 folds in [0-9.]* s$' out; tap $? 'a line each, and the time of all'
grep -q '83 rows to train on, 20 to test on$\|82 rows to train on, 21 to test on$' err; tap $? 'of 103 rows the first fold has 21'
# The table is rounded to 4 digits.
awk '/^[1-5] / { s += $8; q += $8 * $8; k++ }
    /^mean/ { m = $7 } /^deviation/ { d = $7 }
    END { w = sqrt((q - s * s / k) / (k - 1)); exit !(k == 5 && (m - s / k) ^ 2 < 1e-7 && (d - w) ^ 2 < 1e-7) }' out; tap $? 'mean and deviation of the test accuracy are those of the lines'
# shellcheck disable=SC2086
train $run --folds 5
grep '^[1-5] ' out | awk '{ print $1, $5, $6, $7, $8 }' | cmp -s - lines; tap $? 'the same seed, the same folds'
# shellcheck disable=SC2086
train $run --folds 5 --seed 2
grep '^[1-5] ' out | awk '{ print $1, $5, $6, $7, $8 }' | cmp -s - lines; [ $? = 1 ]; tap $? 'another seed, other folds'
# shellcheck disable=SC2086
train $run --folds 103 --epochs 1; tap $? 'as many folds as rows'
# shellcheck disable=SC2086
train $run --folds 104
[ $? = 1 ] && [ ! -s out ] && grep -q '^hone train: 104 folds of 103 rows: ' err; tap $? 'more folds than rows: an error'
# shellcheck disable=SC2086
train $run --folds 3 --json
[ "$(grep -c '"run":' out)" = 3 ] && grep -q '"protocol": "folds"' out && grep -q '"deviation": {' out && grep -q '"complete": true' out; tap $? 'folds as JSON'
train --net line.net --data synthetic:1x1x6:0:90 --epochs 2 --folds 3
grep -q 'test mse *test mae$' out && grep -q '^mean ' out; tap $? 'numbers: MSE and MAE'

train --net own.net --data synthetic:1x1x6:4:103 --epochs 1 --folds 2 --lr 0 --optimizer sgd
grep -q '^warning: in [12] of 2 runs the test accuracy is near chance' err; tap $? 'accuracy near chance is warned of once'

# ---- repetitions ----
# shellcheck disable=SC2086
train $run --repeat 3 --seed 7 --split 0.7
awk '/^[1-3] / { print $2 }' out | tr '\n' ' ' | grep -q '^7 8 9 $'; tap $? '3 repetitions have seeds 7, 8, 9'
grep '^2 ' out | awk '{ print $5, $6, $7, $8 }' >second
# shellcheck disable=SC2086
train $run --seed 8 --split 0.7
tail -n 1 out | awk '{ print $4, $5, $6, $7 }' | cmp -s - second; tap $? 'and the second is the run with seed 8'

# ---- a protocol that is killed ----
slow="--net own.net --data synthetic:1x1x6:4:1003 --epochs 12 --batch 4 --folds 4"
# shellcheck disable=SC2086
train $slow
grep '^[1-4] ' out | awk '{ print $1, $5, $6, $7, $8 }' >want
tries=0 kills=0
while [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=1 "$builddir/hone" train $slow --checkpoint f.ckpt --checkpoint-every 50 --resume >out 2>err &
    pid=$!
    if [ $tries -lt 6 ]; then sleep 0.2; kill -9 $pid 2>/dev/null; fi
    wait $pid 2>/dev/null
    status=$?
    [ $status = 137 ] || break
    kills=$((kills + 1))
done
grep '^[1-4] ' out | awk '{ print $1, $5, $6, $7, $8 }' | cmp -s - want && [ $status = 0 ]; tap $? "killed $kills times, the same folds come out"

echo 1..$n
exit $bad
