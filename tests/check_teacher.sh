#!/bin/sh
# hone train --teacher: what it prints, what it refuses, and runs that are killed and go on; and --activation.
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
# fails STATUS PATTERN ARGUMENT...: exit status, and a line with the pattern.
fails() {
    want=$1 pattern=$2; shift 2
    train "$@"
    [ $? = "$want" ] && grep -q -- "$pattern" err; tap $? "$* fails: $pattern"
}

cat >teacher.net <<'N'
input x c=1 h=10 w=10
conv c1 = x k=6 r=3 p=1 act=gelu_tanh
maxpool p1 = c1 r=2
flatten f = p1
dropout d = f p=0.3
fc y = d k=5
softmax_ce l = y
N
sed 's/k=6/k=2/' teacher.net >student.net
data="--data synthetic:10x10x1:5:930"
# 6 epochs of 47 steps, the last one short; dropout in the student.
train --net teacher.net $data --epochs 3 --batch 16 --save teacher.safetensors; tap $? 'a teacher'
# shellcheck disable=SC2089
run="--net student.net $data --epochs 6 --batch 16 --losses 100000 --teacher teacher.net --teacher-weights teacher.safetensors --temperature 2 --mix 0.7"

# ---- what is printed ----
# shellcheck disable=SC2086
train $run --save want.safetensors; tap $? 'a run without a break'
grep ^step out | sort >want.steps
[ "$(wc -l <want.steps)" = 282 ]; tap $? 'has 282 steps'
grep -q '^epoch .* wait  *teacher  *student  *student/s$' out; tap $? 'the teacher has columns'
# The columns: 2 seconds, 3 rows/s, 9 teacher, 10 student, 11 student/s.  A fast machine's teacher takes less than
# the millisecond that is printed: the rates tell that it took something, in most epochs.
awk '/^ *[1-6] / { n++; d = $2 - $9 - $10; if (!(d < 0.002 && d > -0.002)) bad = 1; if ($11 < $3) bad = 1; faster += $11 > $3 } END { exit bad || n != 6 || faster < 3 }' out
tap $? "the teacher's seconds and the student's are the epoch's, and without it is faster"
grep -q '^total with the teacher [0-9.]* s, [0-9]* images/s; without [0-9.]* s, [0-9]* images/s$' out; tap $? 'the total has both'
grep -q '^teacher teacher: [0-9]* parameters, from teacher.safetensors; temperature 2, mix 0.7$' err; tap $? 'the teacher is named'
# shellcheck disable=SC2086
train $run --epochs 2 --json
for key in teacher_seconds student_seconds student_images_per_s; do
    [ "$(grep -c "\"$key\": [0-9.e-]*" out)" -ge 2 ]; tap $? "JSON has $key of each epoch"
done
for key in seconds_with_teacher seconds_without_teacher images_per_s_with_teacher images_per_s_without_teacher temperature mix; do
    grep -q "\"$key\": [0-9.e-]*" out; tap $? "JSON has $key"
done
# shellcheck disable=SC2086
train $run --teacher-cache; tap $? 'with logits that are kept'
grep -q '; its logits of all rows [0-9.]* s before$' out; tap $? 'their time is told'
train --net student.net $data --epochs 1; ! grep -q teacher out; tap $? 'no teacher, no columns'

# ---- doubles ----
train --net student.net $data --epochs 1 --losses 20 --teacher teacher.net --teacher-weights teacher.safetensors; cp out single
train --net student.net $data --epochs 1 --losses 20 --teacher teacher.net --teacher-weights teacher.safetensors --dtype f64
tap $? 'teacher and student in doubles'
grep ^step out >double
grep ^step single | paste -d ' ' - double | awk '{ d = $4 / $8 - 1; n++; if (d > 1e-4 || d < -1e-4) bad = 1 } END { exit bad || n != 12 }'
tap $? 'give the same losses'

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
    if [ $tries -lt 8 ]; then
        # After so many lines, not seconds: whatever the machine's pace, steps are left.
        lines=$(awk -v s="$seed$tries" 'BEGIN { srand(s); print int(25 * rand()) }')
        while kill -0 $pid 2>/dev/null && [ "$(wc -l <out)" -lt "$lines" ]; do sleep 0.01; done
        kill -9 $pid 2>/dev/null
    fi
    wait $pid 2>/dev/null
    status=$?
    sed -n '/^step [0-9]* loss [0-9].*[0-9]$/p' out | awk 'length > 18' >>steps
    [ $status = 137 ] && kills=$((kills + 1))
    [ $status = 0 ] && break
    if [ $status != 137 ]; then tap 1 "exit status $status after a kill"; break; fi
done
echo "# killed $kills times"
[ $kills -gt 1 ]; tap $? 'killed more than once'
cmp -s want.safetensors got.safetensors; tap $? 'kill -9: the same weights to the last bit'
sort -u steps | comm -23 - want.steps >other
[ ! -s other ]; tap $? 'kill -9: the same losses'

# ---- a checkpoint of another teacher ----
train --net teacher.net $data --epochs 1 --batch 16 --save other.safetensors
# shellcheck disable=SC2086
{
fails 1 'was written with --temperature 2, and this run has 3$' $run --resume=run.ckpt --temperature 3
fails 1 'was written with --mix 0.69[0-9]*, and this run has 0.5$' $run --resume=run.ckpt --mix 0.5
fails 1 'was written with --teacher-weights hash [0-9a-f]*, and this run has hash' $run --resume=run.ckpt --teacher-weights other.safetensors
fails 1 'was written with --teacher-cache 0, and this run has 1$' $run --resume=run.ckpt --teacher-cache
fails 1 'was written with --teacher teacher, and this run has none$' --net student.net $data --epochs 6 --batch 16 --resume=run.ckpt

# ---- usage ----
fails 2 '--teacher needs --teacher-weights' --net student.net --teacher teacher.net
fails 2 '--teacher-weights needs --teacher' --net student.net --teacher-weights teacher.safetensors
fails 2 '--temperature, --mix and --teacher-cache need --teacher' --net student.net --mix 0.5
fails 2 '--mix 1.5: expected a number from 0 to 1' $run --mix 1.5
fails 2 '--temperature 0: expected a number from 0.01' $run --temperature 0
fails 2 '--teacher-cache and --augment exclude each other' $run --teacher-cache --augment flip
fails 1 "teacher 'lenet5': net 'lenet5' knows 10 classes, and the student 'student' 5" $run --teacher lenet5
fails 1 "teacher.safetensors: its features were normalised" $run --no-normalise
fails 1 'teacher and student need the same training rows' $run --limit 100
fails 1 'labels that are smoothed do not go with a teacher' $run --label-smoothing 0.1
}

# ---- activations ----
"$builddir/hone" net lenet5:activation=relu --json >out 2>err
grep -q '"net": "lenet5:activation=relu"' out && grep -q '+relu' out && ! grep -q gelu out
tap $? 'lenet5:activation=relu has relu alone'
"$builddir/hone" net teacher.net:activation=tanh --json >out 2>err
grep -q '+tanh' out && ! grep -q gelu out; tap $? 'and so it is at the end of other layers'
"$builddir/hone" net resnet56:n=1,activation=silu,width=4 >out 2>err
grep -q '^resnet56:n=1,width=4,activation=silu' out; tap $? 'among other parameters'
train --net teacher.net $data --epochs 1 --activation relu --losses 3 --save relu.safetensors; cp out option
train --net teacher.net:activation=relu $data --epochs 1 --losses 3
[ "$(grep ^step out)" = "$(grep ^step option)" ]; tap $? '--activation and a name are the same net'
train --net teacher.net $data --epochs 1 --losses 3
[ "$(grep ^step out)" != "$(grep ^step option)" ]; tap $? 'and another one than without'
train --net student.net $data --epochs 1 --teacher teacher.net:activation=relu --teacher-weights relu.safetensors
tap $? 'a teacher of other activations'
train --net teacher.net $data --epochs 1 --activation gelu --losses 3; cp out option
train --net teacher.net $data --epochs 1 --activation gelu_erf --losses 3
[ "$(grep ^step out)" = "$(grep ^step option)" ]; tap $? 'gelu is gelu_erf'
fails 1 "no activation 'step'; there are relu, relu6" --net teacher.net $data --activation step
fails 1 "the activation is given twice" --net teacher.net:activation=relu $data --activation tanh
fails 1 "the activation is given twice" --net teacher.net:activation=relu,activation=tanh $data
printf 'input x c=2\nfc y = x k=2 act=tanh\nsoftmax_ce l = y\n' >flat.net
fails 1 'no hidden activation to replace' --net flat.net --data synthetic:1x1x2:2:90 --activation relu

echo "1..$n"
exit $bad
