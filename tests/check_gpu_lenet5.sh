#!/bin/sh
# lenet5 from end to end on the pretend GPU: tuned, trained by what was found, and profiled; a batch
# of one and budgets of seconds, since a thread is a fiber there.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/pretend.inc"

"$hone" autotune --device gpu0 --net lenet5 --batch 1 --optimizer sgd --budget 4s >out 2>err
[ $? = 0 ] && tuned=$(grep cuda_ out | grep -vc untuned) && [ "$tuned" -gt 0 ]
tap $? "hone autotune finds kernels for $tuned of lenet5's problems on the GPU"
"$hone" train --device gpu0 --net lenet5 --data synthetic:28x28x1:10:4 --batch 1 --epochs 1 --optimizer sgd --losses 3 >out 2>err
[ $? = 0 ] && grep -q '^ *1  ' out && ! grep -q '; 0 of [0-9]* steps tuned' err && grep -q 'of [0-9]* steps tuned' err
tap $? "hone train runs them: $(grep -o '[0-9]* of [0-9]* steps tuned' err)"
train="$hone train --device gpu0 --net lenet5 --data synthetic:28x28x1:10:4 --batch 1 --epochs 1 --optimizer sgd --losses 3"
grep '^step' out >losses; $train --memory 1GiB >out 2>err && grep '^step' out | cmp -s - losses
tap $? "a limit on memory that suffices changes nothing"
$train --memory 64KiB >out 2>err; [ $? = 1 ] && grep -q "^hone train: 'lenet5' at batch 1 plans [0-9.]* MiB at least, and --memory allows 0.06: " err
tap $? "one that does not is an error"
"$hone" profile --device gpu0 --net lenet5 --batch 1 --seconds 1 --rounds 1 >out 2>err
[ $? = 0 ] && grep -q '^c1 .*fwd.*cuda_' out && grep -q '^update  *1 ' out
tap $? "hone profile times its $(grep -c '  cuda_' out) parts there"
echo 1..$n
exit $bad
