#!/bin/sh
# `hone train` and `hone net`: their answers, their exit codes, bad input, and what an interruption leaves.
. "$(dirname "$0")/scratch.inc"

# run STATUS COMMAND ARGUMENT...: runs `hone COMMAND`, keeps what it printed in out and err.
run() {
    want=$1; shift
    "$builddir/hone" "$@" >out 2>err
    status=$?
    said="hone $*"
}
# good PATTERN...: it ended with the wanted status, and a line of the right stream has each pattern.
good() {
    miss=0
    [ "$status" = "$want" ] || miss=1
    if [ "$want" = 0 ]; then on=out; else on=err; fi
    for p; do grep -q -- "$p" $on || miss=1; done
    [ "$want" = 0 ] || [ ! -s out ] || miss=1
    tap $miss "$said"
}
# fails PATTERN: one line on stderr, nothing on stdout.
fails() {
    miss=0
    [ "$status" = "$want" ] && [ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -q -- "$1" err || miss=1
    tap $miss "$said: one clear line"
}

images=synthetic:28x28x1:10:320 rows=synthetic:1x1x8:0:640

# ---- hone net ----
run 0 net; good '^lenet5$' '^housing-mlp$'
run 0 net lenet5; good '^c1  *conv  *5x5 1->6 same  *28x28x6  *156  *117,600$' '^total  *61,706  *416,520$'
run 0 net mnist-cnn; good '^total  *1,199,882  *11,992,448$'
run 0 net lenet5 --batch 2 --json; good '"parameters": 61706' '"problem": "gemm:f32:nn:m2n10k84:bias"'
run 0 net lenet5 --batch 2 --dtype bf16 --json; good '"problem": "narrow:bf16:any:n1568"' '"problem": "gemm:bf16:nn:m2n10k84:bias+wide"' '"problem": "softmax_ce:f32:any:m2n10"' '"problem": "sgd:f32:any:n[0-9]*"'
run 0 net --help; good '^Usage: hone net' 'Examples:'
printf 'input x c=8\nfc y = x k=1\nmse l = y\n' >own.net
run 0 net own.net; good '^total  *9  *8$'
printf 'input x c=8\n\nfc y = z k=1\n' >bad.net
run 1 net bad.net; fails "^hone net: bad.net:3: no tensor 'z' in the lines above$"
run 1 net ./bad.net; fails "^hone net: ./bad.net:3: "
run 1 net none.net; fails '^hone net: none.net: No such file or directory$'
run 1 net lenet6; fails "^hone net: no net 'lenet6'; there are lenet5, "
head -c 3000 "$builddir/hone" >binary.net
run 1 net binary.net; fails '^hone net: binary.net: holds a byte 0; that is no text$'
run 2 net lenet5 --batch 0; good 'expected a whole number from 1 on'

# ---- memory ----
printf 'input x c=3 h=8 w=8\nrepeat i=1..12\n conv c{i} = x{i-1} k=32 r=3 p=1\n bnorm b{i} = c{i}\n relu x{i} = b{i}\nend\ngap g = x12\nfc y = g k=10\nsoftmax_ce l = y\n' | sed 's/input x/input x0/' >deep.net
small=synthetic:8x8x3:10:200
run 0 train --net deep.net --data $small --batch 64 --epochs 1 --losses 2; good '^    1 '; grep '^step' out >any
run 0 train --net deep.net --data $small --batch 64 --epochs 1 --losses 2 --memory 7.5MiB; good '^    1 '; grep '^step' out | cmp -s - any; tap $? 'less memory, the same losses'
run 1 train --net deep.net --data $small --batch 64 --epochs 1 --memory 1MiB; fails "^hone train: 'deep' at batch 64 plans [0-9.]* MiB at least, and --memory allows 1.00: try a smaller batch$"
run 2 train --memory 3x; good "--memory: '3x': expected bytes, such as "
run 2 train --memory 1GiB --keep; good '--keep and --memory exclude each other'
run 2 profile --net lenet5 --memory 0; good "--memory: '0': expected bytes, such as "
run 2 profile --net lenet5 --memory 1GiB --keep; good '--keep and --memory exclude each other'
run 2 compare --net lenet5 --memory 5MB; good "--memory: '5MB': expected bytes, such as "
run 1 profile --net lenet5 --batch 64 --memory 64KiB; fails "^hone profile: 'lenet5' at batch 64 plans [0-9.]* MiB at least"

# ---- good runs ----
run 0 train --data $images --epochs 2 --batch 32; good '^epoch  *seconds  *images/s' '^    1 ' '^    2 '
grep -q '^lenet5: 61706 parameters; synthetic: 256 rows to train on, 64 to test on$' err; tap $? 'what it does is said on stderr'
run 0 train --net housing-mlp --data $rows --epochs 1; good 'train mae    test mse   test mae  *wait$' '^    1 '
run 0 train --net own.net --data $rows --epochs 1 --loss mae; good '^    1 '
run 0 train --net own.net --data $rows --epochs 1 --loss huber --delta 0.5; good '^    1 '
run 1 train --net own.net --data $rows --epochs 1 --delta 0.5; fails '^hone train: own.net:3: --delta is of the loss huber, and this is mse$'
run 1 train --net own.net --data $rows --label-smoothing 0.1; fails ': --label-smoothing is of the loss softmax_ce, and this is mse$'
run 0 train --data $images --epochs 1 --label-smoothing 0.1 --optimizer adamw --schedule cosine --warmup 0.5 --clip 1 --json
good '"optimizer": "adamw"' '"lr": 0' '"gradient_norm": [0-9]' '"clipped": [0-9]'
run 0 train --data $images --epochs 2 --net lenet5-student --optimizer rmsprop --rho 0.9 --momentum 0.5 --epsilon 1e-7 --lr 0.001 --schedule step:1:0.1; good '^    2 '
run 0 train --data $images --epochs 1 --net lenet5-student --optimizer adadelta --rho 0.95; good '^    1 '
run 0 train --data $images --epochs 1 --limit 100 --losses 2 --split 0.5; good '^step 0 loss 2\.[0-9]*$' '^step 1 loss '
cp out first
run 0 train --data $images --epochs 1 --limit 100 --losses 2 --split 0.5
grep step first >a; grep step out >b; cmp -s a b; tap $? 'the same seed gives the same losses'
for feed in inline background; do
    run 0 train --data $images --epochs 1 --limit 100 --batch 16 --losses 7 --augment crop:2,flip --feed $feed
    grep step out >$feed
done
cmp -s inline background; tap $? 'a thread makes the same augmented batches'
run 0 train --data $images --epochs 1 --limit 100 --losses 2 --split 0.5 --seed 2
grep step out >b; cmp -s a b; [ $? = 1 ]; tap $? 'another seed does not'
run 0 train --data $images --epochs 1 --limit 20 --batch 8 --reference --net lenet5-student --split 0.9; good '^    1 '
run 0 train --data $images --epochs 1 --limit 70 --json --optimizer sgd --lr 0.05 --momentum 0.9 --nesterov --weight-decay 1e-4 \
    --decay 1e-3 --init he --untuned --last drop --no-normalise --losses 1
good '"net": "lenet5"' '"optimizer": "sgd"' '"complete": true' '"test_accuracy": 0' '"test_mae": null' '"losses": \['
run 0 train --data $images --epochs 1 --optimizer sgd --lr 0
grep -q '^warning: test accuracy .* is near chance (0\.1' err; tap $? 'accuracy near chance is warned of'
run 0 train --data $images --epochs 1 --optimizer sgd --lr 0 --json
good '"no_better_than_chance": true' '"accuracy": null' '"measured_accuracy": 0' '"confusion": \['
run 0 train --data $images --epochs 1 --optimizer sgd --lr 0 --metrics; good '^accuracy no better than chance$'
run 0 train --net lenet5-student --data $images --epochs 4 --batch 16 --metrics; good '^labels  *answers' '^class  *rows  *precision  *recall  *F1$' '^accuracy [01][.0-9]*, top-5 '
run 0 train --net housing-mlp --data $rows --epochs 1 --metrics; good '^R2 .*, MSE .*, MAE '
run 0 train --net housing-mlp --data $rows --epochs 1 --json; good '"r2": ' '"mae": '
run 0 train --help; good '^Usage: hone train' 'seven parameters' 'Examples:'

# ---- bad input ----
run 1 train --net housing-mlp --data $rows --augment flip; fails "^hone train: augmentation is for pictures, and 'synthetic' has features$"
run 1 train --data $images --augment crop:28; fails '^hone train: crop:28 moves pictures of 28 x 28 pixels out of sight$'
run 2 train --augment twist; grep -q -- "--augment 'twist': expected crop:PIXELS (1 to 1024), flip, or both with a comma" err; tap $? '--augment twist'
run 2 train --feed later; grep -q -- '--feed later: expected inline or background' err; tap $? '--feed later'
run 1 train --net bad.net --data $rows; fails "^hone train: bad.net:3: no tensor 'z'"
run 1 train --net nonet; fails "^hone train: no net 'nonet'"
run 1 train --data nowhere; fails "^hone train: 'nowhere' is no file"
run 1 train --device cpu7 --data $images; fails "^hone train: device 'cpu7': there are only"
run 1 train --device tpu0 --data $images; fails "^hone train: device 'tpu0': no such device"
run 1 train --data $rows; fails "^hone train: net 'lenet5' reads 28x28x1, and a row of 'synthetic' is 1x1x8$"
run 1 train --net housing-mlp --data synthetic:1x1x8:3:60; fails "computes numbers, and 'synthetic' has classes as targets$"
run 1 train --data $images --limit 30 --batch 64 --last drop; fails "the 30 rows of 'synthetic' fill no batch of 64$"
run 1 train --data $images --loss hinge; fails "^hone train: no loss 'hinge'$"
run 1 train --data $images --db $tmp; fails "^hone train: $tmp"
echo 'this is no database, and longer than a header of one hundred bytes would have to be; it stays as it is, byte by byte' >junk.db
cp junk.db junk.copy
run 1 train --data $images --db junk.db; fails '^hone train: junk.db: '
cmp -s junk.db junk.copy; tap $? 'and is left as it was'
run 1 train --data $images --epochs 3 --optimizer sgd --lr 9e5
[ "$status" = 1 ] && grep -q "^hone train: epoch 1, step [0-9]*: the loss is [a-z]*: .*layer '[a-z0-9]*' ([a-z0-9_]*)" err; tap $? 'a loss that is no number names epoch, step and layer'
printf 'input x c=1 h=10 w=10\nconv c1 = x k=4 r=3 p=1\nbnorm b1 = c1\nrelu r1 = b1\nflatten f = r1\nfc y = f k=5\nsoftmax_ce l = y\n' >bnorm.net
run 1 train --net bnorm.net --data synthetic:10x10x1:5:930 --epochs 2 --batch 16 --optimizer sgd --lr 9e5
[ "$status" = 1 ] && grep -q "^hone train: epoch [12], step [0-9]*: the loss is [a-z]*: .*layer '[a-z0-9]*' ([a-z0-9_]*)" err; tap $? 'so it does with batch normalisation'
# Squares of 1e38 are no floats: the layer that takes them is the one to name.
awk 'BEGIN { srand(1); print "a,b,t"; for (i = 0; i < 60; i++) print (rand() - 0.5) "e38," rand() "," rand() }' >huge.csv
printf 'input x c=2\nbnorm b1 = x\nfc y = b1 k=1\nmse l = y\n' >rows.net
run 1 train --net rows.net --data huge.csv --target t --no-normalise --epochs 2 --batch 16 --optimizer sgd
[ "$status" = 1 ] && grep -q "^hone train: epoch 1, step [0-9]*: the loss is [a-z]*: .*layer 'b1' (bnorm)" err; tap $? 'numbers too large for batch normalisation name it'

for o in '--epochs 0' '--epochs 1.5' '--batch -1' '--lr x' '--lr -1' '--lr nan' '--optimizer lion' '--split 1' '--split 0' \
    '--last maybe' '--seed -1' '--init zero' '--nesterov --optimizer sgd' '--momentum 0.9' '--beta1 0.5 --optimizer sgd' \
    '--epsilon 0' '--rho 0.5' '--clip 0' '--schedule step:3' '--schedule cosine:1' '--warmup 2 --epochs 1' '--optimizer adadelta --momentum 0.5' \
    '--optimizer rmsprop --momentum 0.5 --nesterov' '--label-smoothing 1' '--delta 0' '--untuned --reference' '--nonsense' 'lenet5'; do
    # shellcheck disable=SC2086
    run 2 train --data $images $o; good .
done

# ---- Ctrl-C ----
"$builddir/hone" train --data synthetic:28x28x1:10:20000 --epochs 1000 >out 2>err &
pid=$!
i=0
while [ $i -lt 600 ] && ! grep -q '^cpu0' err; do sleep 0.1; i=$((i + 1)); done
sleep 0.5
kill -INT $pid
wait $pid
status=$? want=1 said='Ctrl-C in an epoch'
[ $status = 1 ] && grep -q '^hone train: interrupted in ' err && grep -q '^epoch' out && tail -n 1 out | grep -q '^ *[0-9]* '
tap $? 'Ctrl-C ends after the step, with what is done so far and exit status 1'

echo 1..$n
exit $bad
