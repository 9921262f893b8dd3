#!/bin/sh
# A GPU's candidates run in a process of their own, which is the program anew: whoever crashes, hangs,
# ends it, or makes all later calls fail is a record, and the session goes on.  On the pretend
# driver, whose kernels go wrong by request.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone P=relu:f32:any:n4000 R=tanh:f32:any:n4000
HONE_LIBCUDA=$builddir/tests/pretend_cuda.so XDG_CACHE_HOME=$tmp/cache HONE_PRETEND_PIDS=$tmp/pids
export HONE_LIBCUDA XDG_CACHE_HOME HONE_PRETEND_PIDS
tune() { # tune DB ARGUMENT...
    : >pids
    db=$1; shift
    "$hone" autotune --device gpu0 --db "$db" --budget full --build aot --counters none "$@" >out 2>err
}
has() { # has CONFIG PATTERN: what became of it
    "$hone" db --db faults.db export | grep "\"config\":\"$1\"" >out
    grep -q "$2" out; tap $? "$1: $3"
}

tune good.db $P $R
tap $? 'two problems are tuned'
[ "$(sort -u pids | wc -l)" = 2 ]; tap $? 'by one session and one worker'
tune good.db $P $R --again --in-process
[ $? = 0 ] && [ "$(sort -u pids | wc -l)" = 1 ]; tap $? 'or, where that is asked for, by the session alone'

HONE_PRETEND_FAULT=illegal:flat:128.32,hang:flat:256.16,crash:flat:512.8,exit:flat:1024.4
export HONE_PRETEND_FAULT
tune faults.db $P --patience 2
tap $? 'a session among candidates that do harm'
grep -q '"status":"timed"' out || "$hone" db --db faults.db show $P --device gpu0 >out 2>>err
grep -q 'timed .*cuda_flat' out; tap $? 'has a winner'
has wide=1,block=128 '"status":"failed","why":"error: .*CUDA_ERROR_ILLEGAL_ADDRESS' 'an illegal address'
has wide=1,block=256 '"status":"failed","why":"hang: no end after 2 s' 'a hang'
has wide=1,block=512 '"status":"failed","why":"crash: signal 6' 'a crash in a launch'
has wide=1,block=1024 '"status":"failed","why":"exit: ended the program' 'the end of the program'
"$hone" db --db faults.db export >out
[ "$(grep -c '"status":"failed"' out)" = 4 ] && ! grep -q '"status":"wrong"' out
tap $? 'and nobody else is blamed'
n1=$(sort -u pids | wc -l)
[ "$n1" -ge 5 ] && [ "$n1" -le 10 ]; tap $? "in $n1 processes, the session's among them"
tune faults.db $P --patience 2 --again
[ $? = 0 ] && grep -q '0 wrong, 0 failed' out; tap $? 'none of them is tried again'

unset HONE_PRETEND_FAULT

# ---- in the race: the best so far is raced in any case ----
size=120000
L=relu:f32:any:n$size   # takes so long that a window is one launch
tune late.db $L
tap $? 'a third problem is tuned'
wide=$(sed -n 's/.*cuda_flat wide=\([0-9]*\),block=.*/\1/p' out) block=$(sed -n 's/.*,block=\([0-9]*\) .*/\1/p' out)
HONE_PRETEND_FAULT=illegal:flat:$block.$(((size + wide * block - 1) / (wide * block))):25 tune late.db $L --again
[ $? = 0 ] && grep -q 'cuda_flat' out; tap $? 'its best goes wrong in the race: the session has another'
"$hone" db --db late.db export | grep '"status":"failed"' >out
grep -q "\"config\":\"wide=$wide,block=$block\".*\"why\":\"error: .*CUDA_ERROR_ILLEGAL_ADDRESS.*in the race" out; tap $? 'and the record says so'
HONE_PRETEND_ALONE=1 tune alone.db $P
[ $? = 0 ] && grep -q 'cuda_flat' out; tap $? 'a GPU that admits one process only: the session does without a worker'

# ---- the worker ends with the session ----
gone() { # gone: is no process left that opened the driver?
    for i in 1 2 3 4 5 6 7 8 9 10; do
        left=
        for pid in $(sort -u pids); do [ "$(sed -n 's/^State:\t//p' /proc/$pid/status 2>/dev/null | cut -c1)" = Z ] || ! kill -0 $pid 2>/dev/null || left=$pid; done
        [ -z "$left" ] && return 0
        sleep 0.3
    done
    return 1
}
for signal in INT KILL; do
    : >pids
    HONE_PRETEND_FAULT=hang:flat:256.4 "$hone" autotune --device gpu0 --db ended.db --budget full --build aot --counters none $P --again >out 2>err &
    pid=$!
    i=0
    while [ $i -lt 100 ] && [ "$(sort -u pids | wc -l)" -lt 2 ]; do sleep 0.1; i=$((i + 1)); done
    sleep 0.5
    kill -$signal $pid
    wait $pid 2>/dev/null
    gone; tap $? "SIG$signal to the session ends the worker, too"
done
echo 1..$n
exit $bad
