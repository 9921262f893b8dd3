#!/bin/sh
# Reports made of made-up records: what differs is called by its name, sums are as counted by hand, bad input is one line.
srcdir=$(cd "${srcdir:-.}" && pwd) . "${srcdir:-.}/tests/scratch.inc"
hone=$builddir/hone

fails() { # fails CODE PATTERN NAME COMMAND...: one line on stderr with the pattern, nothing on stdout
    want=$1 pattern=$2 name=$3; shift 3
    "$@" >out 2>err </dev/null
    [ $? = "$want" ] && [ ! -s out ] && grep -q -e "$pattern" err &&
        [ "$(grep -v -e '^Try ' -e '^information' err | wc -l)" = 1 ]
    tap $? "$name"
}
has() { # has NAME FILE PATTERN...: every pattern stands in the file
    name=$1 file=$2; shift 2
    cp "$file" out; : >err
    for p in "$@"; do grep -q -e "$p" "$file" || echo "no $p" >>err; done
    [ ! -s err ]; tap $? "$name"
}

# ---- compare ----

# retime STEP FACTOR HALF [N]: the times of a step (all: of every one) become FACTOR-fold, with an interval of +-HALF of them.
retime() {
    awk -v step="$1" -v by="$2" -v half="$3" -v n="$4" '
        /^   "ms": \{/ { now = step == "all" || step == seen; seen++ }
        /^   \}/ { now = 0 }
        now && n && $1 == "\"n\":" { $0 = "    \"n\": " n "," }
        now && $1 == "\"median\":" { m = by * $2; $0 = sprintf("    \"median\": %.9g,", m) }
        now && $1 == "\"lo\":" { $0 = sprintf("    \"lo\": %.9g,", m * (1 - half)) }
        now && $1 == "\"hi\":" { $0 = sprintf("    \"hi\": %.9g", m * (1 + half)) }
        { print }'
}
whole=$srcdir/results/cpu-xeon-2.5GHz/nets/lenet5.json
retime all 1 0.001 <"$whole" >a.json
parts=$(grep -c '^   "ms": {' a.json)
retime 0 0.9 0.001 <a.json | retime 1 1.2 0.001 | retime 2 1.002 0.001 | retime 3 1 0.05 | retime 4 0.5 0.001 5 >b.json

"$hone" report compare "$whole" "$whole" >same 2>err
has "a record and itself: all is the same" same "^0 FASTER, 0 SLOWER, $parts SAME, 0 UNCLEAR; only in A 0, only in B 0" \
    '^untraced step .* 1.000 \[ 1.000  1.000\] SAME' '^! one record, compared with itself'
"$hone" report compare a.json b.json >ab 2>err
has "each difference has its word" ab "^1 FASTER, 1 SLOWER, $((parts - 4)) SAME, 2 UNCLEAR; only in A 0, only in B 0" \
    '^c1  *fwd  *conv2d_fwd .* 0.900 \[ 0.899  0.901\] FASTER' '^a1  *fwd .* 1.200 \[ 1.198  1.202\] SLOWER' \
    '^p1  *fwd .* 1.002 \[ 1.001  1.003\] SAME' '^c2  *fwd .* 1.000 \[ 0.950  1.050\] UNCLEAR' \
    '^a2  *fwd .* 0.500 \[? ?\]  *UNCLEAR' '^! other sessions' '^planned  .* 1.000$'
"$hone" report compare b.json a.json >ba 2>err
has "the other way round faster is slower" ba '^c1  *fwd .* 1.111 .*SLOWER' '^a1  *fwd .* 0.833 .*FASTER'
"$hone" report compare a.json - <b.json >again 2>err && cmp ab again >out 2>&1
tap $? "the same records give the same bytes, from standard input too"

retime all 2 0.001 <a.json >double.json
"$hone" report compare a.json double.json --shares >out 2>err && cp out shares &&
    "$hone" report compare a.json double.json >out 2>err && cp out doubled
has "twice as slow all over: every share is the same" shares "^0 FASTER, 0 SLOWER, $parts SAME, 0 UNCLEAR"
has "and every time is slower" doubled "^0 FASTER, $parts SLOWER, 0 SAME, 0 UNCLEAR"

awk '/^   "layer":/ && ++n == 1 { sub(/c1/, "other") } /^   "kernel":/ && ++k == 2 { sub(/"cpu_vector[^"]*"/, "\"new_kernel\"") }
    /^   "version":/ && ++v == 3 { sub(/aot/, "jit") } { print }' a.json |
    sed 's/"optimizer": "sgd"/"optimizer": "adam"/; s/"device_id": "/&other /; s/"share_of_processors": [0-9.]*/"share_of_processors": 0.1/; s/"threads": 2,$/"threads": 4,/' >c.json
"$hone" report compare a.json c.json >ac 2>err
has "parts of one side, other kernels, and what else differs" ac 'only in A 1, only in B 1$' '^c1 .* - .*ONLY A' '^other .*ONLY B' \
    '^a1 .*cpu_vector.* -> new_kernel' '^p1 .*(another version)' '^! other devices' '^! the machine was not equally busy' '^! other optimizers: sgd in A, adam in B' '^! other numbers of threads: A had 2, B 4'
"$hone" report compare a.json c.json --csv >csv 2>err
awk -F, 'NR == 1 { n = NF } END { exit !(NR == '$((parts + 3))' && n == 23) }' csv && grep -q '^(step),' csv && grep -q '^other,.*,ONLY B,,' csv
tap $? "CSV has a line for each part and the step"
if command -v python3 >/dev/null 2>&1; then
    "$hone" report compare a.json b.json --json >j.json 2>err && python3 - j.json "$parts" >out 2>err <<'P'
import json, sys
j = json.load(open(sys.argv[1]))
n = int(sys.argv[2])
assert j["words"] == {"FASTER": 1, "SLOWER": 1, "SAME": n - 4, "UNCLEAR": 2} and len(j["parts"]) == n
p = j["parts"][0]
assert p["layer"] == "c1" and p["op"] == "conv2d_fwd" and p["b_over_a"]["word"] == "FASTER"
assert abs(p["b_over_a"]["ratio"] - p["b"]["ms"]["median"] / p["a"]["ms"]["median"]) < 1e-8
assert abs(p["b_over_a"]["hi"] / 0.9 - 1 - 0.001 * 2 ** 0.5) < 1e-5
assert j["parts"][4]["b_over_a"]["lo"] is None and j["memory"]["planned"]["a"] == j["memory"]["planned"]["b"]
P
    tap $? "JSON holds the same"
else
    n=$((n + 1)); echo "ok $n - JSON holds the same # SKIP no python3"
fi

sed 's/"net": "lenet5"/"net": "vgg16"/' a.json >bad.json
fails 1 'cannot be compared: A is of the net lenet5' "another net" "$hone" report compare a.json bad.json
sed 's/"batch": 64,/"batch": 32,/' a.json >bad.json
fails 1 'cannot be compared: A has batches of 64, B of 32' "another batch" "$hone" report compare a.json bad.json
sed 's/"dtype": "f32"/"dtype": "bf16"/' a.json >bad.json
fails 1 'cannot be compared: A is in f32, B in bf16' "another number type" "$hone" report compare a.json bad.json
head -c 3000 a.json >bad.json
fails 1 'bad.json:[0-9]*: ' "half a record" "$hone" report compare a.json bad.json
fails 1 'none.json: No such file' "no file" "$hone" report compare none.json a.json
fails 2 'two files are needed' "one file" "$hone" report compare a.json
fails 2 "unexpected argument 'x'" "three files" "$hone" report compare a.json b.json x
fails 2 'only one of both' "standard input twice" "$hone" report compare - -
fails 2 'json and --csv' "two forms for one output" "$hone" report compare a.json b.json --json --csv
# ---- jit ----

# record PROBLEM KERNEL VERSION STATUS MS HALF SESSION WHY [WORKSPACE]: a record whose interval is +-HALF of its median.
record() {
    awk -v p="$1" -v k="$2" -v v="$3" -v s="$4" -v ms="$5" -v half="$6" -v session="$7" -v why="$8" -v w="${9:-0}" 'BEGIN {
        printf "{\"type\":\"record\",\"device\":\"made up\",\"problem\":\"%s\",\"kernel\":\"%s\",\"version\":\"%s\",\"config\":\"-\",", p, k, v
        printf "\"status\":\"%s\",\"why\":\"%s\",\"n\":15,\"ms_median\":%.9f,\"ms_lo\":%.9f,\"ms_hi\":%.9f,", s, why, ms, ms * (1 - half), ms * (1 + half)
        printf "\"workspace_bytes\":%d,\"error\":0.5,\"cache\":\"weights\",\"session\":\"%s\",\"when\":\"2026-01-02T03:04:%02dZ\"}\n", w, session, substr(session, 2) }'
}
cost='compile_ms=90 load_ms=9 first_ms=1.5 code_bytes=4096'
g=gemm:f32:nn:m8n8k8 h=gemm:f32:nn:m16n8k8 u=gemm:f32:nn:m24n8k8 d=gemm:f32:nn:m32n8k8 x=relu:f32:any:n64
{
    record $g old_jit 'jit y' timed 0.1 0.01 s1 "$cost"       # of an earlier session: no longer counts
    record $g ours 'aot x' timed 2 0.01 s2 ''
    record $g slower 'aot x' timed 3 0.01 s2 ''
    record $g ours_jit 'jit y' timed 0.5 0.01 s2 "$cost"
    record $g bad_jit 'jit y' wrong 0.1 0.01 s1 'output 0'
    record $g bad_jit 'jit y' timed 0.2 0.01 s2 "$cost"       # was found wrong
    record $g theirs 'lib z' timed 1.5 0.01 s2 ''             # faster than ours: the rival
    record $g ours 'aot x' timed 0.3 0.01 s3 ''               # of a session without jit
    record $h ours 'aot x' timed 0.4 0.01 s2 ''
    record $h ours_jit 'jit y' timed 0.5 0.01 s2 "$cost"
    record $u ours 'aot x' timed 0.51 0.05 s2 ''
    record $u ours_jit 'jit y' timed 0.5 0.05 s2 "$cost"
    record $d ours 'aot x' timed 0.4 0.01 s2 ''
    record $d ours_jit 'jit y' dropped 0.6 0.01 s2 'clearly slower'
    record $d cost_jit 'jit y' dropped 0.59 0.01 s2 "clearly slower; $cost"
    record $d far_jit 'jit y' dropped 0.8 0.01 s2 'clearly slower'
    record $x ours 'aot x' timed 1 0.01 s2 ''                 # without a jit kernel
} >made.jsonl
"$hone" db import made.jsonl --db made.db >out 2>err
tap $? "made-up records"
"$hone" report jit --db made.db >jit 2>err
# 90 + 9 + 1.5 - 0.5 ms at 1 ms a run; the difference is 1 +- hypot(0.015, 0.005) = 0.98419 .. 1.01581.
has "jit pays after as many runs as counted by hand" jit "^$g .* 100  *99  *102 PAYS  *ours ours_jit theirs" \
    "^$g .* 2.0000 \\[1.9800 2.0200\\]  *0.5000 .* 1.5000 .* 90.0 .* 9.000  *1.5000  *4096" "^$h .* never  *never  *never NEVER" \
    "^$u .* 10000 .* never UNCLEAR" "^$d .* 90.0  *9.000  *1.5000  *4096 .* never NEVER   *ours cost_jit[*]\$" '^4 problems: jit PAYS in 1, NEVER in 2, UNCLEAR in 1'
! grep -q -e relu -e bad_jit -e old_jit jit
tap $? "and what has no jit kernel, was wrong or is old is left out"
"$hone" report jit --db made.db --csv >csv 2>err
awk -F, 'NF != 29 { bad = 1 } END { exit bad || NR != 5 }' csv && grep -q "^made up,$g,s2,ours,timed,-,2,1.98,2.02,ours_jit,.*,100,99,102,PAYS$" csv
tap $? "CSV has a line for each problem"
"$hone" report jit --db made.db --problem $h --json >json 2>err
has "JSON of one problem" json '"runs": "never"' '"pays": 0' '"code_bytes": 4096.0' '"lib": null'
fails 1 'made.db: none of 1 records of relu:f32:any:n64 is of a jit kernel' "a problem without" "$hone" report jit --db made.db --problem $x
fails 1 'none of 0 records is of a jit kernel' "an empty database" "$hone" report jit --db none.db
echo nothing >foreign.db
fails 1 'foreign.db' "a foreign database" "$hone" report jit --db foreign.db
fails 2 "problem: " "no problem" "$hone" report jit --problem gemm
fails 2 'json and --csv' "two forms for one output" "$hone" report jit --json --csv
# ---- tradeoff: made-up times of kernels that are there, as an untuned profile names them ----

XDG_CACHE_HOME=$tmp/cache; export XDG_CACHE_HOME
"$hone" profile --net housing-mlp --batch 32 --rounds 5 --json >p.json 2>err
tap $? "an untuned profile"
awk -F'"' 'function add(ms, w, config) {
        printf "{\"type\":\"record\",\"device\":\"%s\",\"problem\":\"%s\",\"kernel\":\"%s\",\"version\":\"%s\",", device, problem, kernel, version
        printf "\"config\":\"%s\",\"status\":\"timed\",\"why\":\"\",\"n\":15,\"ms_median\":%.9f,\"ms_lo\":%.9f,\"ms_hi\":%.9f,", config, ms, ms, ms
        printf "\"workspace_bytes\":%d,\"error\":0.5,\"cache\":\"weights\",\"session\":\"s1\",\"when\":\"2026-01-02T03:04:05Z\"}\n", w }
    $2 == "device_id" { device = $4 } $2 == "problem" { problem = $4 } $2 == "kernel" { kernel = $4 }
    $2 == "version" && NF == 5 {
        version = $4; step++
        if (step == 1) { add(4, 0, "a"); add(5, 1024, "b"); add(2, 1024, "c"); add(1.99, 2048, "d"); add(1, 4096, "e"); add(3, 8192, "f") }
        else if (step == 2) { add(3, 1024, "a"); add(2.5, 4096, "b") }
        else if (step < 10) add(1, 0, "a") }' p.json >made.jsonl
"$hone" db import made.jsonl --db front.db >out 2>err && "$hone" report tradeoff --net housing-mlp --batch 32 --db front.db >table 2>err
# The first problem's front is a, c, e: d is within 1 % of c, b and f are beaten.  Seven steps take 1 ms each, the tenth is untuned.
has "fronts and sums as counted by hand" table '^gemm:f32:nn:m32n128k8.* 1  *0 B  *4.00000 .* 1.00x .* a$' '^  *1.0 KiB  *2.00000 .* 2.00x .* c$' \
    '^  *4.0 KiB  *1.00000 .* 4.00x .* e$' '^  *0 B  *-  *-  too little for 1 of 9 tuned steps$' '^  *1.0 KiB  *12.0000  *1.14x$' '^  *4.0 KiB  *10.5000  *1.00x$' \
    '^sgd:.* untuned$' '^1 of 10 steps are untuned'
[ "$(grep -c ' b$' table)" = 1 ] && ! grep -q -e ' [df]$' table   # the second problem's b
tap $? "what is beaten in both is left out"
"$hone" report tradeoff --net housing-mlp --batch 32 --db front.db --csv >csv 2>err
awk -F, 'NF != 13 { bad = 1 } END { exit bad || NR != 17 }' csv && grep -q '^limit,,9,1024,12,,,,,0,32,f32,[0-9]*$' csv && grep -q '^limit,,9,0,,,,,,1,32,f32,[0-9]*$' csv && grep -q '^untuned,sgd' csv
tap $? "CSV has a line for each point and limit"
"$hone" report tradeoff --net housing-mlp --batch 32 --db front.db --json >json 2>err
has "JSON holds the same" json '"untuned": 1' '"ms": 10.5' '"ms": null' '"steps_without": 1'
"$hone" report tradeoff --net housing-mlp --batch 32,16,32 --plot front --db front.db >both 2>err
[ $? = 1 ] && [ "$(grep -c 'batch 16, is tuned' err)" = 1 ] && [ -s front/tradeoff.gp ]
tap $? "of several batches one that is untuned is told, and the rest stands"
has "their sums side by side" both '^ *32  *f32  *1.0 KiB .* 12.0000  *375.0000  *1.14x  1 of 10$' '^ *32  *f32  *4.0 KiB .* 10.5000  *328.1250  *1.00x  1 of 10$'
[ "$(grep -c '^[^#]' front/tradeoff.dat)" = 4 ] && [ "$(grep -c 'steps lc' front/tradeoff.gp)" = 2 ]
tap $? "and a curve of each"
"$hone" report nets p.json none.json >nets 2>err
[ $? = 1 ] && grep -q 'none.json: No such file' err
tap $? "of several profiles one that is missing is told"
has "and the rest stands" nets '^housing-mlp  *32  *5 '
"$hone" report nets p.json p.json --csv >csv 2>err && awk -F, 'NF != 19 { bad = 1 } END { exit bad || NR != 3 }' csv
tap $? "CSV has a line for each net"
awk '/"base":/ { print "  \"libraries\": 1048576," } /"libraries":/ { next } { print }' p.json >lib.json
"$hone" report layers lib.json >out 2>err && grep -q 'and 1.0 MiB that libraries keep)' out
tap $? "what libraries keep stands in the prediction"
# ---- jit of a net: its first problem gains 3 ms a step for 99.5 ms of compiling, its second nothing ----

awk -F'"' -v cost="$cost" 'function add(kernel, version, ms, why) {
        printf "{\"type\":\"record\",\"device\":\"%s\",\"problem\":\"%s\",\"kernel\":\"%s\",\"version\":\"%s\",\"config\":\"-\",", device, problem, kernel, version
        printf "\"status\":\"timed\",\"why\":\"%s\",\"n\":15,\"ms_median\":%.9f,\"ms_lo\":%.9f,\"ms_hi\":%.9f,", why, ms, ms, ms
        printf "\"workspace_bytes\":0,\"error\":0.5,\"cache\":\"weights\",\"session\":\"s1\",\"when\":\"2026-01-02T03:04:05Z\"}\n" }
    $2 == "device_id" { device = $4 } $2 == "problem" { problem = $4; step++
        if (step == 1) { add("a", "aot x", 4, ""); add("j", "jit y", 1, cost) }
        if (step == 2) { add("a", "aot x", 1, ""); add("j", "jit y", 2, cost) } }' p.json >made.jsonl
record $g ours_jit 'jit y' timed 0.5 0.01 s2 "$cost" >>made.jsonl   # of no step of the net
"$hone" db import made.jsonl --db net.db >out 2>err && "$hone" report jit --net housing-mlp --batch 32 --db net.db >table 2>err
has "jit of a net: what it costs and when it has paid, as counted by hand" table '2 of 10 steps have such records; their sum is 5.0000 ms' \
    '^2.0000 ms with jit kernels in the 1 where these are faster, for 100 ms of compiling first: it pays after 34 training steps$' '^ *10000  *50  *20.1$' '^2 problems: '
"$hone" report jit --net housing-mlp --batch 32 --db net.db --json >json 2>err
has "JSON of the net" json '"cost_ms": 99.5' '"runs": 34.0' '"by_jit": 1'
fails 1 'net.db: no training run is in it' "no training run" "$hone" report jit --net housing-mlp --batch 32 --db net.db --accuracy 0.8
cat >run.jsonl <<'END'
{"type":"run","session":"r1","when":"2026-01-02T03:04:05Z","net":"housing-mlp","data":"made","device":"cpu","epochs":3,"batch":32,"optimizer":"sgd","lr":0.1,"seed":1,"parameters":9,"command":"hone train"}
{"type":"epoch","run":"r1","epoch":1,"seconds":2,"images_per_s":16000,"train_loss":1,"train_accuracy":0.4,"test_loss":1,"test_accuracy":0.5,"test_mae":null}
{"type":"epoch","run":"r1","epoch":2,"seconds":2,"images_per_s":16000,"train_loss":1,"train_accuracy":0.4,"test_loss":1,"test_accuracy":0.81,"test_mae":null}
{"type":"epoch","run":"r1","epoch":3,"seconds":2,"images_per_s":16000,"train_loss":1,"train_accuracy":0.4,"test_loss":1,"test_accuracy":0.9,"test_mae":null}
END
"$hone" db import run.jsonl --db net.db >out 2>err && "$hone" report jit --net housing-mlp --batch 32 --db net.db --accuracy 0.8 >table 2>err
has "the way to an accuracy, compiling included, as counted by hand" table '^To a test accuracy of 0.8, which run 1 reached in 2 epochs of 32000 rows:$' \
    '^ *2000  *10  *4.099$'
"$hone" report jit --net housing-mlp --batch 32 --db net.db --accuracy 0.8 --run r1 --json >json 2>err
has "JSON of it" json '"to_accuracy"' '"steps": 2000.0' '"with_s": 4.0995'
fails 1 'the best test accuracy of its 3 epochs is 0.9, not 0.95' "an accuracy not reached" "$hone" report jit --net housing-mlp --batch 32 --db net.db --accuracy 0.95
fails 1 "'7' is none of the 1 runs" "no such run" "$hone" report jit --net housing-mlp --batch 32 --db net.db --accuracy 0.8 --run 7
fails 2 "accuracy: '80'" "a percentage" "$hone" report jit --net housing-mlp --accuracy 80
fails 2 'accuracy: is for --net' "an accuracy of nothing" "$hone" report jit --accuracy 0.8
fails 1 'no problem of housing-mlp, batch 16, has a record of a jit kernel' "a net without" "$hone" report jit --net housing-mlp --batch 16 --db net.db
fails 1 'no problem of housing-mlp, batch 16, is tuned' "another batch" "$hone" report tradeoff --net housing-mlp --batch 16 --db front.db
fails 1 'no problem of lenet5' "an empty database" "$hone" report tradeoff --net lenet5 --db none.db
fails 1 'foreign.db' "a foreign database" "$hone" report tradeoff --net lenet5 --db foreign.db
fails 1 'no_such' "no such net" "$hone" report tradeoff --net no_such --db front.db
fails 2 'net is missing' "no net" "$hone" report tradeoff
fails 2 "batch: '0'" "no batch" "$hone" report tradeoff --net lenet5 --batch 0
fails 2 "dtype: " "no such numbers" "$hone" report tradeoff --net lenet5 --dtype f8
echo 1..$n
exit $bad
