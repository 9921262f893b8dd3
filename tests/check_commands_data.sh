#!/bin/sh
# `hone data`: its answers, its exit codes, and what it prints where.
builddir=${builddir:-.}
case $builddir in /*) ;; *) builddir=$PWD/$builddir ;; esac
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
mkdir -p here place/letter
cd here || exit 1
HONE_DATA=$tmp/place XDG_DATA_HOME=$tmp/none HOME=$tmp/none
export HONE_DATA XDG_DATA_HOME HOME
n=0 bad=0

# run STATUS ARGUMENT...: runs `hone data`, keeps what it printed in out and err.
run() {
    want=$1; shift
    "$builddir/hone" data "$@" >out 2>err
    status=$?
    said="hone data $*"
}
tap() { # tap GOOD NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"
    else bad=1; echo "not ok $n - $2"; sed 's/^/# /' out err; fi
}
# good PATTERN...: it ended with the wanted status and printed a line for each pattern, nothing on the other stream.
good() {
    miss=0
    [ "$status" = "$want" ] || miss=1
    if [ "$want" = 0 ]; then on=out off=err; else on=err off=out; fi
    for p; do grep -q -- "$p" $on || miss=1; done
    [ ! -s $off ] || miss=1
    tap $miss "$said"
}

run 0; good '^fashion-mnist ' '^mnist ' '^letter ' "^ *absent: data set 'letter' is in none of $tmp/place/letter" '^synthetic:'
i=0
for c in A B C D E F G H I J K L M N O P Q R S T U V W X Y Z; do
    echo "$c,$i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"; i=$((i + 1))
done >$tmp/place/letter/letter-recognition.data
run 0; good "^ *found in $tmp/place/letter$"
run 0 letter; good '^letter$' 'rows  *26 train, 0 test' 'shape  *16 features' 'target  *26 classes' \
    '^  feature 1  *0  *12.5  *25  *7.5$' '^  Z  *1  *0$' 'warning: feature 2 is constant (1)'
printf 'size,kind\n1,x\n2,x\n3,x\n4,y\n' >pets.csv
run 0 pets.csv; good 'source  *pets.csv' '^  size  *1  *2.5  *4  *1.11803$' '^  x  *3  *0$' \
    'warning: classes are unbalanced: x has 3 rows, y has 1' 'warning: rows are sorted by class'
printf 'a,y\n1,2\n3,4\n' >two.csv
run 0 two.csv; good 'target  *1 value (regression)' '^  target  *2  *3  *4  *1$'
run 0 two.csv --target a; good '^  y  *2  *3  *4  *1$'
run 0 two.csv --target class:y; good 'target  *2 classes'
run 0 two.csv --json; good '"name": "two.csv"' '"train_rows": 2' '"mean": 3'
run 0 synthetic:4x4x1:3:30; good '^synthetic$' 'rows  *30 train' 'shape  *4 x 4 x 1'
printf 'a,b,kind\n1,2,x\n3,4,y\n1,2,x\n1,2,y\n5,6,x\n3,5,y\n' >twins.csv
run 0 twins.csv; good 'memory  *0.0 MB, as 32-bit floats' 'equal  *2 training rows repeat another, 0 test rows are training rows' \
    'warning: 1 rows equal one of another class'
run 0 twins.csv --json; good '"repeated_train_rows": 2' '"contrary_rows": 1' '"memory_bytes": 48'
mkdir twins
printf '\0\0\10\3\0\0\0\3\0\0\0\1\0\0\0\2abcdab' >twins/train-images-idx3-ubyte
printf '\0\0\10\1\0\0\0\3\0\1\0' >twins/train-labels-idx1-ubyte
printf '\0\0\10\3\0\0\0\2\0\0\0\1\0\0\0\2cdxy' >twins/t10k-images-idx3-ubyte
printf '\0\0\10\1\0\0\0\2\0\1' >twins/t10k-labels-idx1-ubyte
run 0 twins; good 'as bytes' 'equal  *1 training rows repeat another, 1 test rows are training rows' \
    'warning: 1 test rows are training rows, too: tests flatter' 'warning: 1 rows equal one of another class'
run 0 --help; good '^Usage: hone data' 'Examples:' 'Exit status:'
run 0 --json; good '"name": "housing"' '"found": null'

run 1 nowhere; good "^hone data: 'nowhere' is no file, directory or known data set; "
run 1 two.csv --target z; good "^hone data: two.csv:1: no column 'z' among a, y$"
printf 'a,y\n1,2\n3,\n' >bad.csv
run 1 bad.csv; good "^hone data: bad.csv:3: column 2 'y': the value is missing$"
run 1 synthetic:4; good 'expected synthetic:HxWxC'
run 1 letter --target 1; good "'letter' has its own target"
run 1 housing; good "^hone data: data set 'housing' is in none of "
run 2 a b; good 'one data set at a time'
run 2 --target 1; good '--target needs data'
run 2 --colour; good 'unrecognized option'

if [ -w /dev/full ]; then
    "$builddir/hone" data two.csv >/dev/full 2>err; status=$?
    : >out; said='hone data on a full disk' want=1; good '^hone data: '
fi
echo "1..$n"
exit $bad
