#!/bin/sh
# Nets whose training steps are one op, on the processor: they learn what they learn in steps apart, also
# several in a launch, with short batches at the end, tests between epochs, and a break in between.
. "$(dirname "$0")/scratch.inc"
unset HONE_LAUNCH

# train STEPS NAME ARGUMENT...: so many in a launch, 0: apart; losses of steps and epochs, and weights.
train() {
    steps=$1 name=$2; shift 2
    HONE_LAUNCH=$steps "$builddir/hone" train --losses 100000 --save "$name" "$@" >out 2>err
    code=$?
    grep '^step ' out | sort >steps.$name
    sed -n 's/^step \([0-9]*\) loss \([0-9]*\.[0-9][0-9][0-9]\).*/\1 \2/p' out | sort >rough.$name
    grep '^ *[0-9]' out | awk '{ print $1, $4, $5, $6, $7 }' >epochs.$name
    awk '{ printf "%s %.3f %.3f\n", $1, $2, $4 }' epochs.$name >table.$name
}
# agree NAME ARGUMENT...: apart, one at a time, and three in a launch.
agree() {
    what=$1; shift
    train 0 apart --untuned "$@"
    train 1 one --untuned "$@"
    [ $code = 0 ] && grep -q '0 of 1 steps tuned' err && [ -s rough.one ] && cmp -s rough.apart rough.one &&
        [ -s table.one ] && cmp -s table.apart table.one
    tap $? "$what: losses of $(grep -c . rough.one) steps, and tests of epochs, as in steps apart"
    train 3 three --untuned "$@"
    [ $code = 0 ] && cmp -s one three && cmp -s steps.one steps.three && cmp -s epochs.one epochs.three
    tap $? "$what: three in a launch have the bits of one by one"
}
letters="--net letter-mlp --data synthetic:1x1x16:26:1000 --split 0.8 --epochs 3 --batch 48"
houses="--net housing-mlp --data synthetic:1x1x8:0:700 --split 0.8 --epochs 2 --batch 33"
# shellcheck disable=SC2086
{
agree "dropout and adamw" $letters --optimizer adamw --lr 0.01
agree "a schedule and Nesterov's momentum" $letters --optimizer sgd --momentum 0.9 --nesterov --lr 0.05 --schedule cosine
agree "numbers" $houses --optimizer sgd --lr 0.02
agree "Huber's error, doubles" $houses --loss huber --dtype f64 --optimizer adam --lr 0.002
agree "smoothed labels, tanh" $letters --activation tanh --label-smoothing 0.1 --optimizer sgd --lr 0.1 --weight-decay 1e-3
}

# ---- a break ----
# shellcheck disable=SC2086
for launch in 1 3; do
    for at in 1 7 17 20 50; do
        rm -f run.ckpt
        train $launch whole --untuned $letters
        train $launch part --untuned $letters --checkpoint run.ckpt --until $at
        [ $code = 0 ] && [ -s run.ckpt ]
        made=$?
        train $launch rest --untuned $letters --checkpoint run.ckpt --resume
        [ $made$code = 00 ] && cmp -s whole rest && sort -u steps.part steps.rest | cmp -s steps.whole -
        tap $? "$launch in a launch, stopped at step $at: goes on to the same bits"
    done
done

# ---- what was measured decides ----
"$builddir/hone" autotune --net letter-mlp --batch 128 --optimizer sgd --budget 6s >out 2>err
[ $? = 0 ] && grep -q '^mlp_ce:f32:any:mb128i16h50g22o26:drop0.1+relu  *cpu_steps' out
tap $? "hone autotune measures the steps as one op"
HONE_LAUNCH=1 "$builddir/hone" profile --net letter-mlp --batch 128 --optimizer sgd --seconds 1 --rounds 1 >out 2>err
[ $? = 0 ] && grep -q '^(net)  *whole .*cpu_steps' out
tap $? "hone profile shows it as one row"
echo 1..$n
exit $bad
