#!/bin/sh
# Checkpoints: a run that is killed at any moment goes on to the same bits, and nothing that goes wrong costs the file that is there.
builddir=${builddir:-.}
case $builddir in /*) ;; *) builddir=$PWD/$builddir ;; esac
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
XDG_DATA_HOME=$tmp/home HOME=$tmp/home HONE_DB=$tmp/runs.db
export XDG_DATA_HOME HOME HONE_DB
n=0 bad=0

tap() { # tap BAD NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"
    else bad=1; echo "not ok $n - $2"; sed 's/^/# /' err; fi
}
train() { "$builddir/hone" train "$@" >out 2>err; }
# fails PATTERN ARGUMENT...: exit status 1, a line with the pattern, no result.
fails() {
    pattern=$1; shift
    train "$@"
    [ $? = 1 ] && grep -q -- "$pattern" err; tap $? "$* fails: $pattern"
}

cat >own.net <<'N'
input x c=1 h=10 w=10
conv c1 = x k=4 r=3 p=1 act=relu
maxpool p1 = c1 r=2
flatten f = p1
fc f1 = f k=24 act=tanh
dropout d = f1 p=0.3
fc y = d k=5
softmax_ce l = y
N
# 8 epochs of 47 steps, the last one short; dropout, Adam's moments, decay.
run="--net own.net --data synthetic:10x10x1:5:930 --epochs 8 --batch 16 --decay 1e-3 --losses 100000"

# shellcheck disable=SC2086
train $run --save want.safetensors; tap $? 'a run without a break'
grep ^step out | sort >want.steps
grep '^ *[0-9]' out | awk '{ print $1, $4, $5, $6, $7 }' >want.epochs
[ "$(wc -l <want.steps)" = 376 ]; tap $? 'has 376 steps'

# same NAME: the run that out and steps tell of came to the same weights, losses and epochs.
same() {
    cmp -s want.safetensors got.safetensors; tap $? "$1: the same weights to the last bit"
    sort -u steps >got.steps; cmp -s want.steps got.steps; tap $? "$1: every step's loss, and the same"
}

# ---- kill -9 at random moments ----
seed=${HONE_TEST_SEED:-$(date +%s)}
echo "# HONE_TEST_SEED=$seed"
kills=0 tries=0
: >steps
while :; do
    tries=$((tries + 1))
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=1 "$builddir/hone" train $run --checkpoint run.ckpt --checkpoint-every 1 --resume --save got.safetensors >out 2>err &
    pid=$!
    if [ $tries -lt 12 ]; then
        # After so many lines, not seconds: whatever the machine's pace, steps are left.
        lines=$(awk -v s="$seed$tries" 'BEGIN { srand(s); print int(25 * rand()) }')
        while kill -0 $pid 2>/dev/null && [ "$(wc -l <out)" -lt "$lines" ]; do sleep 0.01; done
        kill -9 $pid 2>/dev/null
    fi
    wait $pid 2>/dev/null
    status=$?
    # A line that the kill cut off is no line.
    sed -n '/^step [0-9]* loss [0-9].*[0-9]$/p' out | awk 'length > 18' >>steps
    [ $status = 137 ] && kills=$((kills + 1))
    [ $status = 0 ] && break
    if [ $status != 137 ]; then tap 1 "exit status $status after a kill"; break; fi
done
echo "# killed $kills times"
[ $kills -gt 2 ]; tap $? 'killed more than twice'
sort -u steps | awk '{ print $2 }' | uniq -d >twice
[ ! -s twice ]; tap $? 'kill -9: a step that ran twice had the same loss twice'
cmp -s want.safetensors got.safetensors; tap $? 'kill -9: the same weights to the last bit'
sort -u steps | comm -23 - want.steps >other
[ ! -s other ]; tap $? 'kill -9: the same losses'
"$builddir/hone" db audit >out 2>err; tap $? 'and the database is whole'

# ---- Ctrl-C, and the epochs so far ----
rm -f run.ckpt got.safetensors
# shellcheck disable=SC2086
"$builddir/hone" train $run --checkpoint run.ckpt --epochs 3000 >out 2>err &
pid=$!
i=0
while [ $i -lt 3000 ] && ! grep -q '^step 60' out; do sleep 0.02; i=$((i + 1)); done
kill -INT $pid
wait $pid
[ $? = 1 ] && grep -q '^hone train: interrupted in e[pv]' err && grep -q '^run.ckpt: --resume goes on from here$' err; tap $? 'Ctrl-C'
grep ^step out >steps
# shellcheck disable=SC2086
train $run --resume run.ckpt --save got.safetensors; status=$?
if [ "$(wc -l <steps)" -le 376 ]; then
    tap $status 'goes on'
    grep ^step out >>steps
    same 'Ctrl-C'
fi

# ---- a finished run: more epochs, and as JSON with those before ----
# shellcheck disable=SC2086
train $run --epochs 1 --checkpoint more.ckpt; grep ^step out >steps
# shellcheck disable=SC2086
train $run --resume=more.ckpt --save got.safetensors; tap $? 'a finished run goes on with more epochs'
grep ^step out >>steps
same 'more epochs'
# shellcheck disable=SC2086
train $run --resume more.ckpt --json --losses 2
[ "$(grep -c '"test_accuracy"' out)" = 8 ]; tap $? 'JSON has the epochs of all sessions'

# ---- an end before the last epoch ----
# shellcheck disable=SC2086
train $run --schedule cosine --save whole.safetensors
# shellcheck disable=SC2086
train $run --schedule cosine --until 3 --checkpoint until.ckpt
[ "$(grep -c '^ *[0-9]' out)" = 3 ]; tap $? '--until 3 of 8 epochs'
# shellcheck disable=SC2086
train $run --schedule cosine --until 3 --resume=until.ckpt --json
grep -q '"measured_accuracy": [01]\.' out && [ "$(grep -c '"test_accuracy"' out)" = 3 ]; tap $? 'continued to where it is: the scores of the weights that are there'
# shellcheck disable=SC2086
train $run --schedule cosine --resume=until.ckpt --save rest.safetensors
cmp -s whole.safetensors rest.safetensors; tap $? 'and on: the schedule ran over all 8, the same weights to the last bit'

# ---- weights, best, early stop ----
# shellcheck disable=SC2086
train $run --weights want.safetensors --lr 0 --optimizer sgd --momentum 0 --decay 0 --epochs 1 --save again.safetensors
cmp -s want.safetensors again.safetensors; tap $? '--weights and --save give the same file'
train --net own.net --data synthetic:10x10x1:5:300 --epochs 50 --lr 0 --optimizer sgd --early-stop 3 --best best.safetensors
[ "$(grep -c '^ *[0-9]' out)" = 4 ] && grep -q '^stopped after epoch 4: none was better than epoch 1$' err; tap $? '--early-stop 3 ends after three epochs without progress'
[ -s best.safetensors ]; tap $? '--best wrote the first'
# shellcheck disable=SC2086
train $run --weights run.ckpt --epochs 1; tap $? 'a checkpoint serves as weights'

# ---- checkpoints that do not fit ----
sed 's/k=24/k=25/' own.net >other.net
sed 's/p=0.3/p=0.5/' own.net >dropped.net
sed 's/ act=tanh//' own.net >linear.net
cp run.ckpt kept
args="--data synthetic:10x10x1:5:930 --epochs 3 --batch 16 --decay 1e-3 --resume run.ckpt"
# shellcheck disable=SC2086
{
fails "run.ckpt: tensor 'f1.w' is F32 (100, 24), and that of net 'other' is F32 (100, 25)$" --net other.net $args
fails "run.ckpt: was written with --batch 16, and this run has 32$" --net own.net $args --batch 32
fails "run.ckpt: was written with --lr 0.00[0-9]*, and this run has 0.5$" --net own.net $args --lr 0.5
fails "run.ckpt: was written with --seed 1, and this run has 2$" --net own.net $args --seed 2
fails "run.ckpt: was written with --optimizer adam, and this run has sgd$" --net own.net $args --optimizer sgd
fails "run.ckpt: was written with --augment crop:0,flip:0, and this run has crop:1,flip:1$" --net own.net $args --augment crop:1,flip
fails "run.ckpt: was written with --label-smoothing 0, and this run has 0.1[0-9]*$" --net own.net $args --label-smoothing 0.1
fails "run.ckpt: was written with --schedule constant, and this run has exp:0.5$" --net own.net $args --schedule exp:0.5
fails "run.ckpt: was written with --last short, and this run has drop$" --net own.net $args --last drop
fails "run.ckpt: was written with --dtype f32, and this run has f64$\|run.ckpt: tensor 'c1.w' is F32" --net own.net $args --dtype f64
fails "run.ckpt: was written with a net of layers [0-9a-f]*, and this run has [0-9a-f]*$" --net dropped.net $args
fails "run.ckpt: was written with a net of layers [0-9a-f]*, and this run has [0-9a-f]*$" --net linear.net $args
fails "want.safetensors: is no checkpoint" --net own.net $run --resume=want.safetensors
fails "none.ckpt: No such file" --net own.net $run --resume=none.ckpt
fails "own.net: this is no safetensors file" --net own.net $run --resume=own.net
}
head -c 2000 run.ckpt >short.ckpt
# shellcheck disable=SC2086
fails 'short.ckpt: ' $run --resume=short.ckpt
cmp -s run.ckpt kept; tap $? 'and every one stays as it was'

# ---- places that cannot be written ----
# shellcheck disable=SC2086
{
fails 'nowhere/run.ckpt: its directory: No such file' $run --checkpoint nowhere/run.ckpt
fails 'nowhere/w: its directory: No such file' $run --save nowhere/w
fails 'nowhere/b: its directory: No such file' $run --best nowhere/b
}
[ ! -s out ]; tap $? 'which is said before the first step'
# A limit on the size of files stands for a full disk: LeNet-5's checkpoint is larger, the database is not.
lenet='--data synthetic:28x28x1:10:160 --batch 32 --limit 96'
# shellcheck disable=SC2086
train $lenet --epochs 1 --checkpoint full.ckpt
cp full.ckpt kept
# shellcheck disable=SC2086
(trap '' XFSZ; ulimit -f 1000; "$builddir/hone" train $lenet --epochs 2 --resume full.ckpt >out 2>err)
[ $? = 1 ] && grep -q '^hone train: the last checkpoint is not written: full.ckpt: cannot write: ' err &&
    grep -q '^warning: no checkpoint after step 6: ' err && grep -q '^    2 ' out; tap $? 'a full disk is said, and the epoch is not lost'
cmp -s full.ckpt kept && [ ! -e full.ckpt.part ]; tap $? 'the old checkpoint is as it was, and no part of another'
# shellcheck disable=SC2086
(trap '' XFSZ; ulimit -f 1000; "$builddir/hone" train $lenet --epochs 2 --checkpoint new.ckpt >out 2>err)
[ $? = 1 ] && [ "$(grep -c '^ *[0-9]' out)" = 0 ] && [ ! -e new.ckpt ]; tap $? 'a disk that is full from the start: no step is made'

# ---- a loss that is no number ----
sed 's/tanh/relu/' own.net >relu.net
train --net relu.net --data synthetic:10x10x1:5:930 --epochs 3 --batch 16 --optimizer sgd --lr 9e5 --checkpoint nan.ckpt --checkpoint-every 1
[ $? = 1 ] && grep -q "^hone train: epoch 1, step [0-9]*: the loss is [a-z]*: .*'" err; tap $? 'a loss that is no number ends the run'
train --net relu.net --data synthetic:10x10x1:5:930 --weights nan.ckpt --epochs 1
! grep -q nan.ckpt err; tap $? 'and the checkpoint before it holds numbers'

for o in '--resume' '--checkpoint-every 3' '--checkpoint x --checkpoint-every 0' '--checkpoint x --checkpoint-every 3m' '--early-stop 0' '--folds 1' \
    '--folds 3 --save x' '--folds 3 --repeat 2' '--folds 3 --split 0.5' '--resume x --weights y' 'stray'; do
    # shellcheck disable=SC2086
    train $run $o
    [ $? = 2 ] && [ ! -s out ]; tap $? "$o: wrong usage"
done

echo 1..$n
exit $bad
