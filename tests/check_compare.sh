#!/bin/sh
# hone compare with peers that are shell scripts: what they say stands in the table, what they fail at is their own line, and nothing stays behind.
# With a framework at hand, the losses of a net of many layers are those of ours.
srcdir=$(cd "${srcdir:-.}" && pwd) . "${srcdir:-.}/tests/scratch.inc"
hone=$builddir/hone
XDG_CACHE_HOME=$tmp/cache TMPDIR=$tmp/work HONE_PEERS=$tmp/peers; export XDG_CACHE_HOME TMPDIR HONE_PEERS
given=$HONE_PYTHON HONE_PYTHON=sh; export HONE_PYTHON
mkdir work peers

has() { # has NAME FILE PATTERN...: every pattern stands in the file
    name=$1 file=$2; shift 2
    cp "$file" out; : >err
    for p in "$@"; do grep -q -e "$p" "$file" || echo "no $p" >>err; done
    [ ! -s err ]; tap $? "$name"
}
fails() { # fails CODE PATTERN NAME COMMAND...: one line on stderr with the pattern, nothing on stdout
    want=$1 pattern=$2 name=$3; shift 3
    "$@" >out 2>err </dev/null
    [ $? = "$want" ] && [ ! -s out ] && grep -q -e "$pattern" err && [ "$(grep -v -e '^Try ' -e '^information' err | wc -l)" = 1 ]
    tap $? "$name"
}
compare() { "$hone" compare --net housing-mlp --batch 32 --rounds 7 --turn 0.01 "$@"; }

# A step takes it 2 ms, in its other mode 4; the first of a turn, which does not count, a second.
cat >peers/peer_fake.py <<'E2'
mode=none
echo "${LD_PRELOAD-none}" >>"$KEPT/preloads"
echo "${GOMP_SPINCOUNT-none}" >>"$KEPT/spins"
echo modes quick slow
while read -r what rest; do
    case $what in
    job) cp "$rest" "$KEPT/job"; for f in net.json weights.safetensors batches; do cp "${rest%/*}/$f" "$KEPT/"; done
        ms=0.002; grep -q '"mode": "slow"' "$rest" && ms=0.004
        echo ready Fake 1.2 ;;
    losses) printf 'losses 0.5'; i=0; while [ $i -lt "$rest" ]; do printf ' 2.5'; i=$((i + 1)); done; echo ;;
    steps) printf 'seconds 1'; i=1; while [ $i -lt "$rest" ]; do printf ' %s' $ms; i=$((i + 1)); done; echo ;;
    memory) echo memory 1048576 3145728 ;;
    esac
done
E2
peer() { printf '%s\n' "$2" >peers/peer_$1.py; } # peer NAME SCRIPT
peer gone 'echo fail no module gone'
peer none 'echo "Traceback" >&2; echo "ModuleNotFoundError: none" >&2; exit 1'
peer killed 'echo modes a; read -r x; kill -9 $$'
peer chatty 'echo hello'
peer refuses 'echo modes a; read -r x; echo fail layers of kind fc are not written; exit 1'
peer short 'echo modes a; read -r x; echo ready Short 1; while read -r what rest; do case $what in losses) echo losses 1 2 3;; esac; done'
peer late 'echo modes a; read -r x; echo ready Late 1; read -r x; echo losses 1 1 1 1 1 1 1 1 1 1 1; read -r x; echo seconds 1 1 1 1; read -r x; echo "out of luck" >&2; exit 3'
KEPT=$tmp; export KEPT

compare --peer fake --json >json 2>err
tap $? "two modes of one peer"
has "as it says: 2 ms and 4 ms, 2 MiB of 3 less ten batches of 1152 bytes, the first step half a second" json '"peer": "fake"' '"mode": "quick"' '"version": "Fake 1.2"' '"median": 2.0,' '"median": 4.0,' \
    '"rows_per_s": 16000.0' '"rows_per_s": 8000.0' '"memory_bytes": 2085632' '"base_bytes": 1048576' '"first_ms": 500.0' '"n": 7'
if command -v python3 >/dev/null 2>&1; then
    python3 - <<'P' >out 2>err
import json
ways = json.load(open("json"))["ways"]
ours, quick = ways[0], ways[1]
assert abs(quick["losses_differ"] - max(abs(2.5 - a) / a for a in ours["losses"])) < 1e-6 and len(ours["losses"]) == 10
lo, hi = quick["over_hone"]["lo"], quick["over_hone"]["hi"]
assert lo <= 2 / ours["step_ms"]["median"] * 1.0001 and hi >= 2 / ours["step_ms"]["median"] * 0.9999
net = {layer["name"]: layer for layer in json.load(open("net.json"))["layers"]}
assert net["f1"]["inputs"] == ["x"] and net["f1"]["keys"] == {"k": 128, "bias": 1, "act": "relu"} and net["loss"]["inputs"] == ["f2"]
job = json.load(open("job"))
assert job["batch"] == 32 and job["dtype"] == "f32" and job["nbatches"] == 10 and job["optimizer"]["name"] == "sgd" and job["optimizer"]["lr"] == 0.01
P
    tap $? "losses, ratios, the job and the net that peers read"
else
    n=$((n + 1)); echo "ok $n - the job # SKIP no python3"
fi
[ "$(wc -c <batches)" = $((10 * 32 * 9 * 4)) ] && [ "$(wc -c <weights.safetensors)" -gt $((1281 * 4)) ]
tap $? "batches and weights are whole"
# How OpenMP's threads wait hone chooses for itself, and not for its peers; what the user says is for all.
rm -f spins
(unset OMP_WAIT_POLICY GOMP_SPINCOUNT HONE_SPINCOUNT; compare --peer fake:quick >out 2>err; GOMP_SPINCOUNT=77 compare --peer fake:quick >out 2>err)
[ "$(sort -u spins | tr '\n' ' ')" = "77 none " ]
tap $? "peers wait as the user left it"
compare --peer fake:slow --csv >csv 2>err
[ "$(wc -l <csv)" = 3 ] && awk -F, 'NF != 18 || $18 != (NR > 1 ? "f32" : "dtype") { bad = 1 } END { exit bad }' csv && grep -q '^fake,slow,Fake 1.2,,[0-9]*,7,4,4,4,8000,' csv
tap $? "one mode alone, as CSV"

# Weights are what the net keeps: floats of bf16, doubles of f64; batches are floats in all of them.
for type in tf32 bf16 f64; do
    compare --dtype $type --peer fake:quick --json >json 2>err && grep -q "\"dtype\": \"$type\"" json && grep -q "\"dtype\": \"$type\"" job
    tap $? "$type in JSON and in the job"
    case $type in f64) bytes=8 ;; *) bytes=4 ;; esac
    [ "$(wc -c <batches)" = $((10 * 32 * 9 * 4)) ] && [ $(($(wc -c <weights.safetensors) / (1281 * bytes))) = 1 ]
    tap $? "batches and weights of $type"
done
compare --dtype bf16 --peer fake:quick,gone --csv >csv 2>err && awk -F, 'NF != 18 || NR > 1 && $18 != "bf16" { bad = 1 } END { exit bad }' csv
tap $? "bf16 in every line of CSV"

compare --peer gone,none,killed,chatty,refuses,short,late,absent,fake:quick >table 2>err
tap $? "peers that fail beside one that does not"
has "each has its reason" table '^gone  *failed: no module gone$' '^none  *failed: ModuleNotFoundError: none$' '^killed a  *failed: killed by signal 9' \
    "^chatty  *failed: said 'hello' where 'modes' was due" '^refuses a  *failed: layers of kind fc are not written$' '^Short 1 a  *failed: gave 3 numbers of 11$' \
    '^Late 1 a  *failed: out of luck$' '^absent  *failed: no .*peer_absent.py' '^Fake 1.2 quick  *2 \[2 2\]  *1.6e+04 ' '^Hone '
compare --peer gone,absent --csv >csv 2>err
[ $? = 1 ] && grep -q 'gone : no module gone' err && grep -q '^hone,,Hone,' csv
tap $? "nobody to compare with: status 1, and our own line"
compare --peer fake --plot plots >out 2>err && [ -s plots/steps.dat ] && [ -s plots/losses.gp ] && [ "$(grep -c . plots/losses.dat)" = 33 ]
tap $? "data and scripts of the plots"
if command -v gnuplot >/dev/null 2>&1; then [ -s plots/steps.svg ] && [ -s plots/losses.png ]; tap $? "and pictures"
else n=$((n + 1)); echo "ok $n - and pictures # SKIP no gnuplot"; fi
HONE_PYTHON=no-such-program:sh compare --peer fake:quick --csv >csv 2>err && grep -q '^fake,quick,Fake' csv
tap $? "the first interpreter that has it"

# Another malloc is preloaded in the peer alone.  What stands for one is a library of ours that no shell has, under the
# names of allocators in a folder that is looked at first; a file of no bytes there is one that cannot be loaded.
library=$(ldd "$hone" 2>/dev/null | awk '/libjansson/ { print $3 }')
with() { rm -f preloads; (LD_LIBRARY_PATH=$tmp/libs; export LD_LIBRARY_PATH; compare "$@" >out 2>err); status=$?; cp out table; return $status; } # with OPTION...
preloads() { tr '\n' ' ' <preloads; }
if [ -s "$library" ]; then
    mkdir libs; for one in libtcmalloc.so.4 libmimalloc.so.2 kept.so; do cp "$library" libs/$one; done; ln -s kept.so libs/own.so
    : >libs/libtcmalloc_minimal.so.4; : >libs/libjemalloc.so.2
    (unset LD_PRELOAD; with --peer fake --malloc system,mimalloc,libs/own.so --csv) &&
        [ "$(awk -F, '{ printf "%s=%s ", $2, $7 }' out | sed 's/^[^ ]* *=[^ ]* //')" = "quick=2 quick+mimalloc=2 quick+own.so=2 slow=4 slow+mimalloc=4 slow+own.so=4 " ] &&
        [ "$(preloads)" = "none libmimalloc.so.2 libs/own.so none libmimalloc.so.2 libs/own.so " ]
    tap $? "each mode with each malloc, of a name or a path"
    with --peer fake:slow --malloc mimalloc --json && grep -q '"mode": "slow+mimalloc"' out && ! grep -q '"mode": "slow"' out && grep -q '"mode": "slow"' job
    tap $? "the system's malloc only where it is asked for, and no malloc in the job"
    with --peer fake:quick --malloc tcmalloc --plot plots && grep -q 'Fake 1.2 quick+tcmalloc' plots/losses.gp && grep -q '^Fake 1.2 quick+tcmalloc  *2 \[2 2\]' out && [ "$(tail -n 1 preloads)" = libtcmalloc.so.4 ]
    tap $? "the second library where the first cannot be loaded; its name in table and plots"
    (LD_PRELOAD=$library; export LD_PRELOAD; with --peer fake:quick --malloc system,mimalloc --csv) && [ "$(preloads)" = "$library libmimalloc.so.2:$library " ]
    tap $? "what the user preloads stays, behind ours"
    with --peer fake:quick --malloc system,jemalloc,libs/none.so; has "a library that cannot be loaded is its line's failure" table '^Fake 1.2 quick  *2 \[2 2\]' \
        "^fake quick+jemalloc  *failed: no libjemalloc.so.2: cannot be preloaded (file too short); Debian's package is libjemalloc2\$" '^fake quick+none.so  *failed: no libs/none.so: cannot be preloaded (cannot open'
    : >libs/libtcmalloc.so.4; : >libs/libmimalloc.so.2
    with --peer fake:quick --malloc tcmalloc,mimalloc --csv; has "and so of two names" table '^fake,quick+tcmalloc,,no libtcmalloc_minimal.so.4 or libtcmalloc.so.4: .*libtcmalloc-minimal4' '^fake,quick+mimalloc,,no libmimalloc.so.2: .*libmimalloc2.0'
    # ld.so says nothing where an interpreter is a script that takes the library out of its environment.
    printf '#!/bin/sh\nexec env -u LD_PRELOAD sh "$@"\n' >became; printf '#!/bin/sh\nenv -u LD_PRELOAD sh "$@"\nexit $?\n' >begot; printf '#!/bin/sh\nsh "$@"\nexit $?\n' >passed; chmod +x became begot passed
    for python in became begot; do
        HONE_PYTHON=./$python with --peer fake:quick --malloc libs/own.so --csv
        has "a library that its process is without, $python" table "^fake,quick+own.so,,no libs/own.so: the peer's process is without it,"
    done
    HONE_PYTHON=./passed with --peer fake:quick --malloc libs/own.so --csv; has "a library in what a script starts" table '^fake,quick+own.so,Fake 1.2,,'
else
    n=$((n + 1)); echo "ok $n - mallocs # SKIP no libjansson.so in ldd's list"
fi

# The same rows in the same order as in training.
data=synthetic:1x1x8:0:640
compare --peer fake:quick --data $data --optimizer adam --lr 0.002 --loss 6 --json >json 2>err
losses() { awk '/"losses": \[/ { on = 1; next } /\]/ { if (on) exit } on { gsub(/[ ,]/, ""); printf "%.5f\n", $1 }' "$1"; }
losses json >a
"$hone" train --net housing-mlp --data $data --batch 32 --optimizer adam --lr 0.002 --epochs 1 --losses 6 --json >json 2>err; losses json >b
[ "$(wc -l <a)" = 6 ] && cmp a b >out 2>&1; tap $? "our losses are those of hone train"

fails 2 'net is missing' "no net" "$hone" compare
fails 2 "batch: '0'" "no batch" compare --batch 0
fails 2 "lr: 'x'" "no rate" compare --lr x
fails 2 "dtype: 'f8'" "no such numbers" compare --dtype f8 --peer fake
fails 2 'dtype: f16 trains with a loss scale' "f16 is not compared" compare --dtype f16 --peer fake
for names in '' system, , libjemalloc.so.2 Jemalloc libs/; do fails 2 "malloc: '.*' is none of system" "malloc: '$names'" compare --malloc "$names" --peer fake; done
fails 2 'malloc: more than 8' "nine of them" compare --malloc ./1,./2,./3,./4,./5,./6,./7,./8,./9 --peer fake
fails 1 'more than 63 ways' "too many ways" compare --malloc ./1,./2,./3,./4,./5,./6,./7,./8 --peer fake,fake,fake,fake
fails 2 'json and --csv' "two forms for one output" compare --json --csv
fails 1 'no_such' "no such net" "$hone" compare --net no_such --peer fake
fails 1 '20 rows fill no batch of 32' "too few rows" compare --data synthetic:1x1x8:0:25 --peer fake
fails 1 '8 features\|does not fit\|16' "rows of another shape" compare --data synthetic:1x1x16:0:640 --peer fake
fails 1 'threads 4000' "more threads than there are" compare --threads 4000 --peer fake
peer hangs 'echo modes a; read -r x; echo $$ >$KEPT/pid; sleep 60'
"$hone" compare --net housing-mlp --peer hangs >out 2>err & child=$!
while [ ! -s pid ]; do sleep 0.1; done
kill -TERM $child; wait $child
[ $? = 1 ] && grep -q interrupted err && ! kill -0 "$(cat pid)" 2>/dev/null
tap $? "interrupted: no peer stays"
[ -z "$(ls work)" ]
tap $? "and no file"

# ---- real frameworks ----

cat >all.net <<'N'
input x c=4 h=11 w=9
conv c1 = x k=8 r=3 p=same stride=2
bnorm b1 = c1
relu r1 = b1
dwconv d1 = r1 r=3 p=1 act=silu
conv c2 = d1 k=8 r=1 bias=0
add s1 = c2 r1
relu6 r2 = s1
shortcut h = r2 k=11 stride=2
maxpool m = h r=2 stride=1
avgpool a = m r=2 stride=1
concat j = a a
flatten f = j
fc f1 = f k=12 act=gelu_tanh
fc f2 = f1 k=5
softmax_ce loss = f2 smooth=0.1
N
HONE_PEERS=$srcdir/results/peers HONE_PYTHON=${given:-python3}
# The first loss, that of one step, knows nothing of how roundings grow: 2^-8 is bf16's.
for type in f32:1e-4:10 bf16:4e-3:1 f64:1e-10:10; do
    most=${type#*:} losses=${most#*:} most=${most%:*} type=${type%%:*}
    "$hone" compare --net ./all.net --batch 6 --optimizer sgd+momentum+wd --rounds 1 --turn 0.001 --loss $losses --dtype $type \
        --peer pytorch:eager,tensorflow:function,jax --csv >csv 2>err
    for peer in pytorch tensorflow jax; do
        why=$(awk -F, -v p=$peer '$1 == p { print $4 }' csv)
        case $why in *"no module"*|*"cannot run"*|*"has no f64"*) n=$((n + 1)); echo "ok $n - losses of $type in $peer # SKIP $why"; continue ;; esac
        cp csv out; awk -F, -v p=$peer -v most=$most '$1 == p { good = $4 == "" && $17 < most + 0 } END { exit !good }' csv
        tap $? "losses of $type in $peer"
    done
done
echo 1..$n
exit $bad
