#!/bin/sh
# Regenerates the tables of all gemm and conv problems of all nets on this machine, and of what memory
# bounds in them:
#     results/cpu/run.sh NAME [gemm|small-gemm|conv|memory]...
# writes results/cpu-NAME/LIST-threadsN.csv and .txt (the summary) for one thread, and for all cores
# with as many threads as each rival is fastest with, and machine.txt.  HONE: the program (./hone); WINDOWS, TRIES: of `hone bench` (11, 8); the lists are of
# batch 128.  Hours on two cores for conv: a list that was interrupted is begun anew.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 NAME [gemm|small-gemm|conv|memory]..." >&2; exit 2; }
top=$(cd "$(dirname "$0")/../.." && pwd)
hone=${HONE:-./hone}
name=$1
shift
[ $# -gt 0 ] || set -- gemm small-gemm conv memory
out=$top/results/cpu-$name
mkdir -p "$out"
{ "$hone" devices; ${CC:-cc} --version | head -1; } >"$out/machine.txt"
for list; do
    case $list in
    small-gemm) file=$top/tests/shapes/small-gemm.txt cores=1 ;;
    gemm | conv | memory) file=$top/tests/shapes/nets-$list.txt cores="1 $(nproc)" ;;
    *) echo "$0: '$list' is none of gemm, small-gemm, conv, memory" >&2; exit 2 ;;
    esac
    for threads in $cores; do
        to=$out/$list-threads$threads
        one=
        [ "$threads" = 1 ] && one="--threads 1"
        # shellcheck disable=SC2086
        "$hone" bench --problems "$file" --rivals all $one --windows "${WINDOWS:-11}" \
            --tries "${TRIES:-8}" --csv >"$to.csv.new" 2>"$to.txt.new" || [ $? = 1 ]
        mv "$to.csv.new" "$to.csv"
        tr '\r' '\n' <"$to.txt.new" | grep -v '%.*left' >"$to.txt"
        rm "$to.txt.new"
        echo "$to.csv: $(grep -c . "$to.csv") lines"
        cat "$to.txt"
    done
done
