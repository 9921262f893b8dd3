#!/bin/sh
# All figures of an NVIDIA GPU, in three calls of less than ten minutes each, on a machine that need
# have nothing but its driver and NVIDIA's libraries:
#     results/nvidia-h200/run.sh pack FILE.tar.gz    where Hone was built: the program and all that it needs
#     results/nvidia-h200/run.sh prove OUT           what is there, its description and peaks, every kernel's proof, targets
#     results/nvidia-h200/run.sh race OUT            all rivals on all products and convolutions of the six nets
#     results/nvidia-h200/run.sh nets OUT            the nets: tuned, profiled with counters, trained, against PyTorch
# The last three run in the folder that the archive unpacks to, or in a build folder.  OUT, one for each
# call, gets at most eight files; HONE_DB names the database to go on with (OUT/hone.db).
#   DEVICE   gpu0             NETS    the six        BATCHES  "128 1024"
#   SECONDS_IN_ALL   of a call (540)                 DATA     of hone train (made, synthetic:...)
#   TARGET   4096, of the products that targets are set for
# Counters need root.  Whatever fails is told in OUT/log and does not stop the rest.
set -u
usage() { sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# = 2 ] || usage
part=$1 out=$2
self=$(cd "$(dirname "$0")" && pwd)
: "${DEVICE:=gpu0}" "${NETS:=resnet56 mobilenetv1 vgg16 alexnet housing-mlp letter-mlp}" "${BATCHES:=128 1024}"
: "${SECONDS_IN_ALL:=540}" "${DATA:=}" "${TARGET:=4096}"

if [ "$part" = pack ]; then
    top=$(cd "$self/../.." && pwd)
    dir=$(mktemp -d) || exit 1
    trap 'rm -rf "$dir"' EXIT
    mkdir -p "$dir/hone/lib" "$dir/hone/tests" "$dir/hone/results/nvidia-h200" || exit 1
    cp "${HONE:-./hone}" "$dir/hone/hone" && cp "${CHECK:-tests/check_kernels}" "$dir/hone/tests/check_kernels" || exit 1
    strip "$dir/hone/hone" "$dir/hone/tests/check_kernels"
    # All but the system's own: the loader and what belongs to it.
    ldd "$dir/hone/hone" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | grep -v '/\(libc\|libm\|libdl\|libpthread\|librt\)\.so' |
        while read -r lib; do cp -L "$lib" "$dir/hone/lib/"; done
    cp -r "$top/tests/shapes" "$dir/hone/tests/" && cp "$0" "$dir/hone/results/nvidia-h200/run.sh" || exit 1
    mkdir -p "$dir/hone/results/peers" && cp "$top"/results/peers/*.py "$dir/hone/results/peers/" || exit 1
    tar -C "$dir" -czf "$out" hone || exit 1
    ls -l "$out"
    exit 0
fi

case $part in prove | race | nets) ;; *) usage ;; esac
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
cd "$self/../.." || exit 1
[ -x ./hone ] || cd "${BUILD:-$OLDPWD}" || exit 1
[ -x "${HONE:=./hone}" ] || { echo "$0: no program $HONE; HONE names it" >&2; exit 1; }
[ -d lib ] && LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} && export LD_LIBRARY_PATH
shapes=${SHAPES:-$self/../../tests/shapes}
HONE_DB=${HONE_DB:-$out/hone.db} XDG_CACHE_HOME=${XDG_CACHE_HOME:-/tmp/hone-cache}
export HONE_DB XDG_CACHE_HOME
[ -d results/peers ] && HONE_PEERS=$PWD/results/peers && export HONE_PEERS
log=$out/log
ends=$(($(date +%s) + SECONDS_IN_ALL))
left() { echo $((ends - $(date +%s))); }
say() { printf '%s  %4d s left  %s\n' "$(date -u +%H:%M:%S)" "$(left)" "$*" | tee -a "$log" >&2; }

# step SECONDS NAME COMMAND...: at most so long, and no longer than the call; output goes where the caller says.
step() {
    most=$1 name=$2; shift 2
    [ "$(left)" -lt "$most" ] && most=$(left)
    [ "$most" -gt 2 ] || { say "$name: no time left"; return 0; }
    timeout -k 5 "$most" "$@" 2>>"$log"
    code=$?
    say "$name: $([ $code = 0 ] && echo good || echo "exit $code")"
    return $code
}

# What lies outside of memory, and races: the guess of each kernel on small problems.
sanitize() {
    command -v compute-sanitizer >/dev/null || { echo "not measured: compute-sanitizer is not here"; return; }
    for tool in memcheck racecheck; do
        for file in tensor gemm conv mlp; do
            HONE_CHECK_DEVICE=$DEVICE HONE_CHECK_CONFIGS=1 HONE_CHECK_FLOPS=1e6 HONE_CHECK_BUILD=aot \
                step 30 "$tool, $file" compute-sanitizer --tool $tool --error-exitcode 9 "${CHECK:-tests/check_kernels}" "$shapes/$file.txt" |
                grep '^not ok\|^=========' | tail -n 3
        done
    done
}

prove() {
    step 60 devices "$HONE" devices >"$out/devices.txt"
    step 30 description "$HONE" devices --describe "$DEVICE" >"$out/description.json"
    step 60 counters "$HONE" counters --device "$DEVICE" >>"$out/devices.txt"
    for p in conv2d_fwd:f32:nhwc:mb128ic64ih8oc64oh8kh3ph1 conv2d_fwd:bf16:nhwc:mb128ic64ih8oc64oh8kh3ph1:bias+relu \
        gemm:f32:nn:m1024n1024k1024:bias+relu gemm:bf16:nn:m1024n1024k1024 bnorm_fwd:bf16:any:m131072n64 relu:f32:any:n1000000; do
        step 60 "candidates of $p" "$HONE" kernels --device "$DEVICE" --problem $p
    done >"$out/candidates.txt"
    step 60 'counters of a product' "$HONE" bench --device "$DEVICE" --problem "gemm:f32:nn:m${TARGET}n${TARGET}k$TARGET" \
        --counters gpu-dram,gpu-l2,gpu-occupancy,gpu-flops,gpu-tensor,sm_clock,power,energy,throttle >"$out/counted.txt"
    for p in gemm:f32:nn:m${TARGET}n${TARGET}k$TARGET gemm:bf16:nn:m${TARGET}n${TARGET}k$TARGET gemm:f16:nn:m${TARGET}n${TARGET}k$TARGET \
        add:f32:any:n$((TARGET * TARGET)) relu:bf16:any:n$((TARGET * TARGET)); do
        step 40 "target $p" "$HONE" bench --device "$DEVICE" --problem "$p" --build aot,jit,lib
    done >>"$out/counted.txt"
    sanitize >"$out/sanitizer.txt"
    : >"$out/proofs.txt"
    for build in aot lib jit; do
        for file in activation bias conv conv-nchw gemm tensor half mlp pool norm join loss optimizer dropout cast scale gather; do
            HONE_CHECK_DEVICE=$DEVICE HONE_CHECK_CONFIGS=${CONFIGS:-2} HONE_CHECK_BUILD=$build \
                step "${PROOF_SECONDS:-60}" "proofs of $build, $file" "${CHECK:-tests/check_kernels}" "$shapes/$file.txt" >"$out/tap"
            echo "$build $file: $(grep '^ok' "$out/tap" | grep -vc SKIP) right, $(grep -c '^not ok' "$out/tap") not" >>"$out/proofs.txt"
            grep -A3 '^not ok' "$out/tap" >>"$out/proofs.txt"
        done
    done
    rm -f "$out/tap"
}

# A line a problem and rival: who wins, ours over cuDNN's and cuBLAS's best.
race() {
    for type in f32 bf16; do
        for op in conv gemm; do
            for net in $NETS; do "$HONE" net "$net" --batch "${BATCHES%% *}" --dtype $type --problems=$op 2>>"$log"; done |
                sort -u >"$out/list"
            step $((SECONDS_IN_ALL / 4)) "race of $(grep -c . "$out/list") problems, $op, $type" "$HONE" bench --device "$DEVICE" \
                --problems "$out/list" --rivals all --tries "${TRIES:-8}" --windows "${WINDOWS:-7}" --csv >"$out/race-$type-$op.csv"
        done
    done
    rm -f "$out/list"
}

# Made data for a net: rows of its input's shape, and the classes that its loss knows.
made() {
    "$HONE" net "$1" 2>>"$log" | awk '$2 == "input" { x = $3 ~ /x/ ? $3 : "1x1x" $3 } $2 == "softmax_ce" { n = $3 }
        END { print "synthetic:" x ":" n + 0 ":12800" }'
}

nets() {
    first=${BATCHES%% *} n=0
    for net in $NETS; do n=$((n + 1)); done
    share=$(($(left) / (4 * n)))
    : >"$out/nets.txt"
    for net in $NETS; do
        for type in f32 bf16; do
            step $((2 * share)) "tuning of $net, $type" "$HONE" autotune --device "$DEVICE" --net "$net" --batch "$first" --dtype $type \
                --optimizer sgd+momentum --budget "${share}s" >>"$out/nets.txt"
        done
        for batch in $BATCHES; do
            step "$share" "profile of $net, batch $batch" "$HONE" profile --device "$DEVICE" --net "$net" --batch "$batch" \
                --optimizer sgd+momentum --rounds "${ROUNDS:-31}" --seconds 10 --counters gpu-dram,gpu-flops,gpu-tensor-flops,gpu-occupancy --json >"$out/one.json" &&
                { cat "$out/one.json" >>"$out/profiles.json"; "$HONE" report layers "$out/one.json" --top 10 >>"$out/nets.txt"; }
            step "$share" "$net against PyTorch, batch $batch" "$HONE" compare --device "$DEVICE" --net "$net" --batch "$batch" \
                --peer pytorch --rounds 5 --csv >>"$out/pytorch.csv"
        done
        step "$share" "training of $net" "$HONE" train --device "$DEVICE" --net "$net" --data "${DATA:-$(made "$net")}" --batch "$first" \
            --epochs 1 --optimizer sgd --momentum 0.9 --lr 0.01 >>"$out/nets.txt"
    done
    rm -f "$out/one.json"
    "$HONE" db export >"$out/records.jsonl" 2>>"$log"
}

$part
say "$part: done"
