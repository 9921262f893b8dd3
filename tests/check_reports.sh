#!/bin/sh
# hone report compare, on made-up records: what differs is called by its name, what cannot be compared is refused.
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
whole=$srcdir/results/lenet5-profile/lenet5.json
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
    sed 's/"optimizer": "sgd"/"optimizer": "adam"/; s/"device_id": "/&other /; s/"share_of_processors": 0\.5/"share_of_processors": 0.9/; s/"threads": 2,$/"threads": 4,/' >c.json
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
echo 1..$n
exit $bad
