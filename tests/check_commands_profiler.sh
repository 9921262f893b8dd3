#!/bin/sh
# `hone devices`, `hone kernels` and `hone bench` with good and bad input: exit codes, messages, output.
hone=${builddir:-.}/hone
dir=`mktemp -d` || exit 1
trap 'rm -rf "$dir"' 0
XDG_CACHE_HOME=$dir/cache; export XDG_CACHE_HOME
n=0 bad=0
result() { # result GOOD NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"
    else bad=1; echo "not ok $n - $2"; sed 's/^/# out: /' "$dir/out" | head -5; sed 's/^/# err: /' "$dir/err" | head -5; fi
}
try() { # try CODE PATTERN COMMAND...: exit code, and a line of stdout (code 0) or stderr that matches
    want=$1 pattern=$2; shift 2
    "$hone" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $want = 0 ]; then grep -q -e "$pattern" "$dir/out"; else grep -q -e "$pattern" "$dir/err"; fi
    found=$?
    [ $code = $want ] && [ $found = 0 ]
    result $? "hone $* gives $want"
    [ $want = 0 ] || { [ ! -s "$dir/out" ]; result $? "and leaves stdout empty"; }
}
has() { # has PATTERN: the output of the last command also has this
    grep -q -e "$1" "$dir/out"
    result $? "and shows $1"
}
G=gemm:f32:nn:m24n24k24

try 0 '^cpu0: ' devices
has 'f32 GFLOP/s *[0-9]'
has 'memory GB/s *[0-9]'
has '^gpu0: '
has 'OpenBLAS  *[0-9]'
has '^  rusage  *6 events'
has '^  papi '
[ -f "$dir"/cache/hone/peaks-*.json ]
result $? "peaks are kept in the user's cache"
try 0 'numbers too small to be normal count as 0' devices
try 0 '"devices": \[' devices --json
try 0 '"flushes_subnormal": true' devices --json
has '"flops_all": {'
has '"absent": '
has '"name": "minflt"'
[ "`head -c 1 "$dir/out"`" = '{' ] && [ "`tail -n 1 "$dir/out"`" = '}' ]
result $? "and nothing but one object"
try 0 '^  ipc ' counters
has '-> flops/byte  *works'
has '-> IPC  *\(works\|n/a (PAPI_TOT_INS: .\)'
has '^  minflt  *page faults'
has '^papi: '
try 0 '^  nvcsw ' counters switches
try 0 '^  minflt ' counters --all
try 0 '"metrics": \[' counters --json
has '"name": "minflt"'
try 1 "no event here has 'no_such'" counters no_such
try 2 "unexpected argument 'y'" counters x y
echo damaged >`ls "$dir"/cache/hone/peaks-*.json`
try 0 '(now)' devices
try 2 "unexpected argument 'x'" devices x
try 2 'unrecognized option' devices --no-such

try 0 '^  gemm .*m n k:alpha(1) beta(0)' kernels
has '^  ref .*every op'
try 0 '^  ref ' kernels --problem $G
has 'refuse'
try 0 '"accept": \[' kernels --problem $G --json
has '"workspace_bytes": '
try 0 '"attributes": \[' kernels --json
C=conv2d_fwd:f32:nhwc:mb1ic16ih8oc16oh8kh3ph1
try 0 'configs  *workspace  *max-error  *guess' kernels --problem $C
try 0 '^  cpu_winograd_plain  *the bound of its error is above --max-error' kernels --problem $C --max-error 1e-6
has '^  ref  *aot'
try 2 "max-error: '0' is no number above 0" kernels --problem $C --max-error 0
try 2 "max-error: '1e-5x' is no number above 0" bench --problem $C --max-error 1e-5x
try 1 'cpu_winograd_plain refuses: the bound' bench --problem $C --max-error 1e-6 --kernel cpu_winograd_plain
try 2 "problem 'foo': no such op 'foo'" kernels --problem foo
try 0 '^  kc = 128|192' kernels --space cpu_blocked_plain --problem $G
try 0 '^where (mr == .* && needed(kc, k)' kernels --space cpu_blocked_plain --problem $G
try 0 '^[0-9]* combinations, [1-9][0-9]* valid, [0-9]* independent groups; guess mr=' kernels --space cpu_blocked_plain --problem $G
try 0 '"exact": true' kernels --space cpu_blocked_plain --problem $G --json
try 2 "space needs a --problem" kernels --space cpu_blocked_plain
try 2 "'cpu_magic': no kernel of gemm" kernels --space cpu_magic --problem $G
try 1 "device 'tpu0': no such device" kernels --device tpu0

try 0 'right' bench --problem $G --windows 3 --counters minflt,PAPI_TOT_INS
has '95 % interval'
has '^  minflt  *[0-9]'
has '^  PAPI_TOT_INS  *\([0-9]\|n/a (.\)'
try 0 'right' bench --problem $G --windows 2 --kernel ref --counters model,ipc,system
has '^  model:flops  *27648$'
has '^  flops/byte  *4$'
has '^  processors busy  *[0-9]'
has '^  IPC  *\([0-9]\|n/a (PAPI_TOT_INS: .\)'
try 0 '^ref ' bench --problem $G --windows 2 --kernel ref --cache warm
try 0 '"ms_median": [0-9]' bench --problem $G --windows 2 --kernel ref --cache cold --json
has '"verdict": "right"'
has '"cache": "cold"'
try 0 'Examples:' bench --help
try 2 '--problem is missing' bench
try 2 "bench: --problem: problem 'gemm:f32:nn:m1'" bench --problem gemm:f32:nn:m1
try 1 "bench: --device: device 'cpu99'" bench --device cpu99 --problem $G
try 1 "bench: --device: device 'gpu99'" bench --device gpu99 --problem $G
try 2 "bench: --kernel: 'no_such' is no kernel" bench --problem $G --kernel no_such
try 2 "bench: --config: " bench --problem $G --kernel ref --config x=1
try 2 '--config needs --kernel' bench --problem $G --config x=1
try 2 "bench: --counters: counter 'no_such'" bench --problem $G --counters no_such
try 2 "bench: --counters: counters 'minflt,,utime'" bench --problem $G --counters minflt,,utime
try 2 "bench: --cache: cache mode 'hot'" bench --problem $G --cache hot
try 2 "--windows: '0'" bench --problem $G --windows 0
try 2 "--windows: '9x'" bench --problem $G --windows 9x
if [ -w /dev/full ]; then
    for c in kernels 'devices --json' 'net lenet5' 'train --data synthetic:1x1x8:0:64 --net housing-mlp --epochs 1'; do
        # shellcheck disable=SC2086
        "$hone" $c >/dev/full 2>"$dir/err"
        [ $? = 1 ] && grep -q 'cannot write to standard output' "$dir/err"
        result $? "hone $c: a full disk is an error"
    done
fi
mkdir "$dir/ro" && echo x >"$dir/ro/hone"
XDG_CACHE_HOME=$dir/ro "$hone" devices >"$dir/out" 2>"$dir/err"
[ $? = 0 ] && grep -q 'measured each time: cannot make directory' "$dir/err" && grep -q 'f32 GFLOP/s *[0-9]' "$dir/out"
result $? "a cache that cannot be written costs time, not results"
echo 1..$n
exit $bad
