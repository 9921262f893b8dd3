#!/bin/sh
# hone bench --problems: all rivals on a file of problems, as a table, CSV and JSON; and the files of
# all nets' problems are what the nets have.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone
try() { # try CODE TEXT ARGUMENT...: exit code, and a text on stdout or stderr
    want=$1 text=$2
    shift 2
    "$hone" "$@" >out 2>err
    code=$?
    [ $code = "$want" ] && cat out err | grep -q -e "$text"
    tap $? "$want '$text' hone $*"
}
for op in gemm conv; do
    "$hone" net --batch 128 --problems=$op >out 2>err && cmp -s out "$srcdir/tests/shapes/nets-$op.txt"
    tap $? "nets-$op.txt is what the nets have: hone net --batch 128 --problems=$op"
done
try 0 '^gemm:f32:nn:m32n10k84:bias$' net lenet5 --batch 32 --problems
cat >p.txt <<'P'
# a comment
gemm:f32:nn:m8n16k16   # another
gemm:f64:nt:m9n5k7

conv2d_fwd:f32:nhwc:mb1ic3ih8oc4oh8kh3ph1
P
try 0 'against the best library' bench --problems p.txt --threads 1 --windows 3 --tries 2
try 0 'geometric mean [0-9.]*x over 3 problems' bench --problems p.txt --threads 1 --windows 3 --tries 1
grep -q '^conv2d_fwd:f32' out && grep -q '^  lib_openblas  *[0-9.e-]* ms \[' out
tap $? "a line of each rival under its problem"
[ "$(grep -c '^  (peak right after) .* GFLOP/s  100 %$' out)" = 3 ]
tap $? "and the peak that the processor had meanwhile"
try 0 'vs_library' bench --problems p.txt --rivals lib,ref --windows 3 --csv
[ "$(grep -c ',ref,' out)" = 3 ] && awk -F'"' '/^[cg]/ { n = split($1 $3, a, ","); if (n != 17) exit 1 }' out
tap $? "CSV has as many fields as its head, and a kernel asked for by name"
try 0 '"geometric_mean"' bench --problems p.txt --rivals lib,aot --windows 3 --tries 1 --json
if command -v python3 >/dev/null 2>&1; then
    python3 -c "import json; j = json.load(open('out')); p = j['problems']
assert all(q['peak_gflops'] > 0.1 for q in p)
assert len(p) == 3 and all(r['verdict'] == 'right' and r['ms_median'] > 0 for q in p for r in q['rivals'])"
    tap $? "JSON holds every rival's time"
fi
# What memory bounds has bytes and bandwidth; bnorm_fwd reads x twice where it is beyond L2.
cat >m.txt <<'P'
relu:f32:any:n2000000
bnorm_fwd:f32:any:m125000n16
gemm:f32:nn:m512n512k512
P
try 0 'against the best library' bench --problems m.txt --rivals aot --threads 1 --windows 3 --tries 1
[ "$(grep -c '^  cpu_.* GB/s  *[0-9]* %' out)" = 2 ] && [ "$(grep -c '^  (peak right after) .* GB/s  *100 %  stream=[01],lines=[0-9]*,threads=1$' out)" = 2 ]
tap $? "GB/s of what is bound by memory, and the peak beside it"
grep -A 1 '^gemm' out | grep -q ' GFLOP/s  *[0-9]* %'
tap $? "GFLOP/s of what is not"
try 0 ',gbytes_per_s,bandwidth_share$' bench --problems m.txt --rivals aot --threads 1 --windows 3 --tries 1 --csv
# Behind the config in quotes: verdict, n, ms, ... and in the end the two.
awk -F'"' 'function near(a, b) { return a > 0.99 * b && a < 1.01 * b }
    /^[brg][en][a-z_]*:/ { n = split($3, f, ","); rows++; ms = f[4]; rate = f[n - 1]; share = f[n]
        bytes = /^relu/ ? 8 * 2000000 : /^bnorm/ ? 12 * 125000 * 16 : 0
        if (bytes ? !near(rate * ms * 1e6, bytes) || share < 0.02 || share > 1.5 : rate share != "") exit 1 }
    END { if (!rows) exit 1 }' out
tap $? "GB/s are of the least bytes"
try 0 '"bound": "memory"' bench --problems m.txt --rivals aot --threads 1 --windows 3 --tries 1 --json
if command -v python3 >/dev/null 2>&1; then
    python3 -c "import json; p = json.load(open('out'))['problems']
near = lambda a, b: 0.999 * b < a < 1.001 * b
assert [q['bound'] for q in p] == ['memory', 'memory', 'compute']
assert near(p[0]['moved_bytes'], 8 * 2e6) and near(p[1]['moved_bytes'], 12 * 2e6) and 'moved_bytes' not in p[2]
for q in p[:2]:
    for r in q['rivals']:
        assert near(r['gbytes_per_s'] * r['ms_median'] * 1e6, q['moved_bytes'])
        assert near(r['bandwidth_share'], r['gbytes_per_s'] / q['peak_gbytes_per_s'])"
    tap $? "JSON: rates, shares and peaks are of one another"
fi
# The problems of a net of other numbers come from the net: its weights' gradients are wide.
"$hone" net lenet5 --batch 4 --problems=gemm --dtype bf16 >halves.txt 2>err && ! grep -qv '^gemm:bf16:' halves.txt && grep -q ':tn:.*:wide$' halves.txt
tap $? "problems of a net of bf16"
"$hone" bench --problems - --threads 1 --windows 3 --tries 1 --csv <halves.txt >out 2>err && [ "$(cut -d, -f1 out | sort -u | wc -l)" = $(($(wc -l <halves.txt) + 1)) ]
tap $? "are benched from stdin, each with its rivals"
echo gemm:f32 >bad.txt
try 2 "stdin:1: problem 'gemm:f32'" bench --problems - <bad.txt
echo 'gemm:f32:nn:m8' >bad.txt
try 2 "bad.txt:1: problem 'gemm:f32:nn:m8'" bench --problems bad.txt
try 1 'none.txt: No such file' bench --problems none.txt
try 2 "'fastest' is no kernel" bench --problems p.txt --rivals fastest
try 2 'takes --rivals' bench --problems p.txt --kernel ref
try 2 'need --problems' bench --problem relu:f32:any:n8 --csv
try 2 "build 'mkl': expected" bench --problem relu:f32:any:n8 --build mkl
try 0 'lib_openblas' kernels --problem gemm:f32:nn:m8n8k8 --build lib
! grep -q cpu_ out
tap $? "hone kernels --build lib lists no other"
echo 1..$n
exit $bad
