#!/bin/sh
# Profiles the six nets on this machine and writes the page about it, in about 15 minutes:
#     results/cpu/profile.sh DIR
# DIR/README.md with a table of the nets, a page for each, plots, trade-offs, and, where PEERS names
# some, a comparison.  Choose a quiet hour.
#   HONE     the program (./hone)
#   NETS     "NET:BATCH:OPTIMIZER ..." in place of the six
#   TUNE     seconds of tuning for each net that go first (90; 0: none)
#   ROUNDS   traced and untraced steps (151), for at most LIMIT seconds (30)
#   PEERS    for hone compare, such as pytorch,jax (none; minutes more for each net and mode)
set -eu
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
hone=${HONE:-./hone}
out=$1
: "${NETS:=lenet5:64:sgd housing-mlp:64:adam alexnet:64:sgd+momentum mobilenetv1:32:sgd+momentum resnet56:32:sgd+momentum vgg16:32:sgd+momentum}"
: "${TUNE:=90}" "${ROUNDS:=151}" "${LIMIT:=30}" "${PEERS:=}"
mkdir -p "$out"

records=
for line in $NETS; do
    net=${line%%:*} optimizer=${line##*:}
    batch=${line#*:} batch=${batch%%:*}
    echo "$net, batch $batch, $optimizer" >&2
    set -- --net "$net" --batch "$batch" --optimizer "$optimizer"
    [ "$TUNE" = 0 ] || "$hone" autotune "$@" --budget "${TUNE}s" >"$out/$net.tuned" || echo "$net: not tuned" >&2
    rm -f "$out/$net.tuned"
    "$hone" profile "$@" --rounds "$ROUNDS" --seconds "$LIMIT" --counters system,ipc --json >"$out/$net.json"
    "$hone" report layers "$out/$net.json" --html "$out/$net.html" --plot "$out/$net" --top 12 >"$out/$net.txt"
    rm -f "$out/$net"/*.png
    "$hone" report tradeoff "$@" --csv >"$out/$net-tradeoff.csv" || rm "$out/$net-tradeoff.csv"
    [ -z "$PEERS" ] || "$hone" compare "$@" --peer "$PEERS" >"$out/$net-compare.txt" || echo "$net: no peer" >&2
    records="$records $out/$net.json"
done

page() {
    echo "# The six nets on this processor"
    echo
    echo '```'
    "$hone" devices | head -3
    echo '```'
    echo
    echo "Written by \`results/cpu/profile.sh\`: per net $TUNE s of tuning, then $ROUNDS traced and untraced training steps in turn. *parts' sum*: the medians of all parts of the step,"
    echo "as a share of the untraced step *of step*; *held up*: the rest, since in each step some part is delayed by others; *looking*: what a traced step takes longer; *off*: the peak"
    echo "of memory against the prediction."
    echo
    # Each word of $records is a file's name.
    # shellcheck disable=SC2086
    "$hone" report nets --markdown --plot "$out" $records
    echo
    echo "![where the time of a step goes](nets.svg)"
    echo
    for line in $NETS; do
        net=${line%%:*}
        echo "- $net: [page]($net.html), [longest parts]($net.txt), [record]($net.json); [roofline]($net/roofline.svg), [layers]($net/layers.svg), [memory]($net/memory.svg)$(
            [ ! -e "$out/$net-tradeoff.csv" ] || printf '; [time against workspace](%s-tradeoff.csv)' "$net")"
        [ -s "$out/$net-compare.txt" ] || continue
        echo
        echo '```'
        cat "$out/$net-compare.txt"
        echo '```'
        echo
    done
}
page >"$out/README.md.new"
mv "$out/README.md.new" "$out/README.md"
rm -f "$out/nets.png"
cat "$out/README.md"
