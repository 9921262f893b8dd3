#!/bin/sh
# Libraries that are opened at run time, when they are of another kind, older or damaged: one clear
# line each, and never a crash.
hone=${builddir:-.}/hone
dir=`mktemp -d` || exit 99
trap 'rm -rf "$dir"' 0
XDG_CACHE_HOME=$dir/cache; export XDG_CACHE_HOME
n=0 bad=0
make_fake() { # make_fake FILE C-TEXT: a library in a folder of its own
    mkdir -p "$dir/lib" && rm -f "$dir"/lib/*
    echo "$2" >"$dir/fake.c"
    ${CC:-cc} -shared -fPIC -w -o "$dir/lib/$1" "$dir/fake.c"
}
says() { # says CODE LINE NAME COMMAND...: exit code, and the only line on stderr
    want=$1 line=$2 name=$3; shift 3
    n=$((n + 1))
    LD_LIBRARY_PATH=$dir/lib "$hone" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $code = $want ] && [ "`wc -l <"$dir/err"`" = 1 ] && grep -q -e "$line" "$dir/err"; then echo "ok $n - $name"
    else bad=1; echo "not ok $n - $name"; echo "# exit code $code"; sed 's/^/# err: /' "$dir/err" | head -5; fi
}
damaged() { # damaged FILE NAME COMMAND...: cut short, empty, and no library at all
    file=$1 what=$2; shift 2
    make_fake $file 'static char big[100000] = { 1 }; char *f(void) { return big; }'
    head -c 50000 "$dir/lib/$file" >"$dir/cut" && mv "$dir/cut" "$dir/lib/$file"
    says 1 "$what cannot be opened: .*/$file is cut short" "$what, cut short" "$@"
    : >"$dir/lib/$file"
    says 1 "$what cannot be opened: .*/$file: file too short" "$what, empty" "$@"
    seq 10000 >"$dir/lib/$file"
    says 1 "$what cannot be opened: .*/$file: invalid ELF header" "$what, no library" "$@"
}

damaged libcupti.so.13 CUPTI counters --chip GH100
says 1 'CUPTI cannot be opened' 'and for a described GPU' counters --device gpu0:"${srcdir:-.}/kernels/nvidia/h200.json"
sed 's/900/777/' "${srcdir:-.}/kernels/nvidia/h200.json" >"$dir/other.json"
says 2 'no chip is known with deviceVer 777' 'a described GPU of no known chip' counters --device gpu0:"$dir/other.json"
make_fake libcupti.so.13 'int cuptiGetVersion(unsigned *v) { *v = 17; return 0; }'
says 1 'CUPTI is too old or of another kind: libcupti.so.13 lacks cuptiGetResultString' 'an old CUPTI' counters --chip GH100

# The others, whose reasons are no errors: each of these four states has its line.
states() { # states FILE NAME COMMAND...
    file=$1 what=$2; shift 2
    make_fake $file 'int nothing(void) { return 0; }'
    tells "$what is too old or of another kind: $file lacks [a-zA-Z_0-9]*" "$what, older" "$@"
    make_fake $file 'static char big[100000] = { 1 }; char *f(void) { return big; }'
    head -c 50000 "$dir/lib/$file" >"$dir/cut" && mv "$dir/cut" "$dir/lib/$file"
    tells "$what cannot be opened: .*/$file is cut short" "$what, cut short" "$@"
    : >"$dir/lib/$file"
    tells "$what cannot be opened: .*/$file: file too short" "$what, empty" "$@"
    seq 10000 >"$dir/lib/$file"
    tells "$what cannot be opened: .*/$file: invalid ELF header" "$what, no library" "$@"
    rm "$dir/lib/$file"
    ldconfig -p 2>/dev/null | grep -q "$file" || tells "no $what: $file.* not found" "$what, missing" "$@"
}
tells() { # tells LINE NAME COMMAND...: good, with this in what is printed
    line=$1 name=$2; shift 2
    n=$((n + 1))
    LD_LIBRARY_PATH=$dir/lib "$hone" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $code = 0 ] && grep -q -e "$line" "$dir/out"; then echo "ok $n - $name"
    else bad=1; echo "not ok $n - $name"; echo "# exit code $code"; grep -i "$what" "$dir/out" | sed 's/^/# out: /' | head -5; fi
}
PATH=$PATH:/sbin:/usr/sbin
here=`cd "${builddir:-.}" && pwd`
states libnvidia-ml.so.1 NVML devices
if "$hone" kernels --json | grep -q '"lib_cudnn"'; then
    states libcudnn.so.9 cuDNN kernels --device gpu0:h200 --problem relu:f32:any:n64
    if [ -f "$here/tests/pretend_cuda.so" ]; then
        HONE_LIBCUDA=$here/tests/pretend_cuda.so HONE_PRETEND_LIBRARIES=1; export HONE_LIBCUDA HONE_PRETEND_LIBRARIES
        states libcublasLt.so.13 cuBLASLt kernels --device gpu0 --problem gemm:f32:nn:m8n8k8
        states libnvrtc.so.13 NVRTC kernels --device gpu0 --problem relu:f32:any:n64
    fi
fi
echo 1..$n
exit $bad
