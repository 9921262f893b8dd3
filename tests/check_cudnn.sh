#!/bin/sh
# cuDNN's engines for a GPU that is only described, where cuDNN is; and what is said where it is not,
# is of another kind, older or damaged.
hone=${builddir:-.}/hone
dir=`mktemp -d` || exit 99
trap 'rm -rf "$dir"' 0
XDG_CACHE_HOME=$dir/cache; export XDG_CACHE_HOME
json=${srcdir:-.}/kernels/nvidia/h200.json
n=0 bad=0
result() { # result GOOD NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"
    else bad=1; echo "not ok $n - $2"; sed 's/^/# out: /' "$dir/out" | head -5; sed 's/^/# err: /' "$dir/err" | head -5; fi
}
try() { # try CODE PATTERN NAME COMMAND...: exit code, and a line of stdout (code 0) or stderr that matches
    want=$1 pattern=$2 name=$3; shift 3
    "$hone" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $want = 0 ]; then grep -q -e "$pattern" "$dir/out"; else grep -q -e "$pattern" "$dir/err"; fi
    found=$?
    [ $code = $want ] && [ $found = 0 ]
    result $? "$name"
}
has() { # has PATTERN NAME: the last output also has this
    grep -q -e "$1" "$dir/out"
    result $? "$2"
}
lacks() { ! grep -q -e "$1" "$dir/out"; result $? "$2"; }
list() { want=$1 name=$2 problem=$3; shift 3; try 0 "$want" "$name" kernels --device gpu0:"$json" --problem $problem "$@"; }
S=mb8ic64ih8oc64oh8kh3ph1

# Wrong input.
try 1 'none.json: No such file' 'a description that is not there' kernels --device gpu0:"$dir/none.json" --problem conv2d_fwd:f32:nhwc:$S
echo '{"deviceName": "x",' >"$dir/cut.json"
try 2 'cut.json:[0-9]*: ' 'a description that ends early, with its line' kernels --device gpu0:"$dir/cut.json" --problem conv2d_fwd:f32:nhwc:$S
echo '{"deviceName": "x"}' >"$dir/poor.json"
try 2 'poor.json: expected "[a-zA-Z0-9]*" with a number' 'a description without what is needed' kernels --device gpu0:"$dir/poor.json" --problem conv2d_fwd:f32:nhwc:$S
try 2 'only described needs --problem' 'a description without a problem' kernels --device gpu0:"$json"
try 1 'only described runs nothing' 'a description does not run' bench --device gpu0:"$json" --problem conv2d_fwd:f32:nhwc:$S

try 1 'h201: no such GPU is built in, of these: h200' 'a GPU by a name that nobody knows' kernels --device gpu0:h201 --problem conv2d_fwd:f32:nhwc:$S
try 0 'NVIDIA H200, described' 'a GPU by its name' kernels --device gpu0:h200 --problem conv2d_fwd:f32:nhwc:$S
try 2 'cpu0 is no GPU' 'a processor has no description' devices --describe cpu0
try 1 'none.json: No such file' 'counters of a description that is not there' counters --device gpu0:"$dir/none.json"

if ! "$hone" kernels --json | grep -q '"lib_cudnn"'; then
    echo "ok $((n + 1)) - cuDNN's engines # SKIP this build of Hone leaves the NVIDIA backend out"
    echo 1..$((n + 1))
    exit $bad
fi

# cuDNN itself.
list '.' 'kernels are listed for a description' conv2d_fwd:f32:nhwc:$S
if grep -q 'lib_cudnn .*n/a (no cuDNN: libcudnn.so.9 not found)' "$dir/out"; then
    n=$((n + 1))
    echo "ok $n - cuDNN's engines # SKIP no cuDNN here"
else
    has 'lib_cudnn  *engine=[0-9]*,knobs=[0-9]* .*heuristic A [0-9]*: precompiled' 'engines with configs and where they come from'
    lacks 'tensor cores' 'f32 is not computed by tensor cores'
    has 'fallback' 'fallback engines'
    has 'sampled' 'knobs by chance'
    has 'engine=[0-9,a-z=]*  *[0-9.]* [KM]iB' 'workspaces'
    cp "$dir/out" "$dir/first"
    list '.' 'the list is made again' conv2d_fwd:f32:nhwc:$S
    cmp -s "$dir/out" "$dir/first"
    result $? 'and is the same'
    list 'tensor cores' 'bf16 is computed by tensor cores' conv2d_fwd:bf16:nhwc:$S
    list 'engine=' 'fused with bias and relu' conv2d_fwd:f32:nhwc:$S:bias+relu
    list 'engine=' 'the gradient of data' conv2d_dgrad:f32:nhwc:$S
    list '"config": "engine=' 'the gradient of weights, as JSON' conv2d_wgrad:f32:nhwc:$S --json
    list 'engine=' 'an activation with a slope' conv2d_fwd:f32:nhwc:$S:leaky_relu
    # What else cuDNN has is compiled at run time: engines are listed, though no plan can be made here.
    runtime() { # runtime NAME PROBLEM...
        name=$1; shift
        : >"$dir/out"
        for problem; do
            "$hone" kernels --device gpu0:"$json" --problem $problem 2>"$dir/err" |
                grep -q 'lib_cudnn  *engine=[0-9]*,knobs=0 .*runtime-compiled (workspace not known without a driver)' || echo $problem >>"$dir/out"
        done
        [ ! -s "$dir/out" ]
        result $? "$name"
    }
    runtime 'batch normalisation: training, with running averages, inference, gradient' bnorm_fwd:f32:any:m512n16 bnorm_fwd:bf16:any:m512n16 \
        bnorm_infer:f32:any:m512n16 bnorm_bwd:f32:any:m512n16
    runtime 'batch normalisation with an addend and a cut' bnorm_fwd:bf16:any:m512n16:add+relu bnorm_infer:f32:any:m512n16:add+relu6
    runtime 'activations' relu:f32:any:n1024 relu6:bf16:any:n1024 leaky_relu:f32:any:n1024 sigmoid:f32:any:n1024 tanh:f32:any:n1024 \
        gelu_erf:f32:any:n1024 gelu_tanh:f32:any:n1024 silu:f32:any:n1024
    runtime 'their gradients, from x or from y' relu_bwd:f32:any:n1024 relu6_bwd:f32:any:n1024 leaky_relu_bwd:f32:any:n1024 \
        sigmoid_bwd:f32:any:n1024 tanh_bwd:f32:any:n1024 gelu_erf_bwd:f32:any:n1024 gelu_tanh_bwd:bf16:any:n1024 silu_bwd:f32:any:n1024
    runtime 'pooling' maxpool_fwd:f32:nhwc:mb8ic64ih8kh2sh2 avgpool_fwd:f32:nhwc:mb8ic64ih8kh3sh2ph1 \
        avgpool_fwd:f32:nhwc:mb8ic64ih8kh3sh2ph1:include_pad avgpool_bwd:f32:nhwc:mb8ic64ih8kh2sh2
    runtime 'bf16 with f32 parameters: bias, gradient of weights' conv2d_fwd:bf16:nhwc:$S:bias+relu conv2d_wgrad:bf16:nhwc:$S
    list 'lib_cudnn .*n/a (cuDNN.s gradient takes no activation.s)' 'what it cannot do' bnorm_bwd:f32:any:m512n16:relu
fi
list 'lib_cublas .*n/a (cuBLASLt.s heuristics need the GPU itself; .*without workspace)' 'cuBLASLt says that it needs the GPU' gemm:f32:nn:m64n64k64

# Others by its name.
LD_LIBRARY_PATH=$dir/lib; export LD_LIBRARY_PATH
fake() { # fake C-TEXT
    mkdir -p "$dir/lib" && rm -f "$dir"/lib/*
    echo "$1" >"$dir/fake.c"
    ${CC:-cc} -shared -fPIC -w -o "$dir/lib/libcudnn.so.9" "$dir/fake.c"
}
calls='const char *cudnnGetErrorString(int s) { return "error"; } void cudnnGetLastErrorString(char *t, unsigned long n) { *t = 0; }
#define F(x) int cudnn##x() { return 1; }
F(Create) F(Destroy) F(SetStream) F(BackendCreateDescriptor) F(BackendDestroyDescriptor) F(BackendFinalize) F(BackendSetAttribute) F(BackendGetAttribute) F(BackendExecute)'
fake "unsigned long cudnnGetVersion(void) { return 8907; } $calls"
list 'lib_cudnn .*n/a (cuDNN is too old: cuDNN 8.9.7, and 9.0 is needed)' 'an old cuDNN' conv2d_fwd:f32:nhwc:$S
fake "unsigned long cudnnGetVersion(void) { return 90701; } $calls"
list 'lib_cudnn .*n/a (.*' 'a cuDNN that fails at everything' conv2d_fwd:f32:nhwc:$S
fake 'int cudnnGetVersion(void) { return 91900; }'
list 'lib_cudnn .*n/a (cuDNN is too old or of another kind: libcudnn.so.9 lacks cudnnGetErrorString)' 'a cuDNN without its functions' conv2d_fwd:f32:nhwc:$S
# What a GPU that is here says of itself comes out as JSON that goes in again.
here=`cd "${builddir:-.}" && pwd`
if [ -f "$here/tests/pretend_cuda.so" ]; then
    HONE_LIBCUDA=$here/tests/pretend_cuda.so; export HONE_LIBCUDA
    json_of='#include <string.h>
static const char json[] = "{\"deviceName\":\"P\",\"deviceVer\":900,\"multiProcessorCount\":3,\"l2CacheSize\":4,\"totalGlobalMem\":5}";
int cudnnCreate(void **h) { *h = h; return 0; } int cudnnDestroy(void *h) { return 0; }
int cudnnBackendCreateDescriptor(int kind, void **d) { *d = d; return kind != 38; } int cudnnBackendDestroyDescriptor(void *d) { return 0; }
int cudnnBackendSetAttribute(void *d, int a, int t, long n, const void *v) { return a != 2701 || t != 0 || n != 1; }
int cudnnBackendFinalize(void *d) { return 0; } const char *cudnnGetErrorString(int s) { return "error"; }'
    fake "$json_of
int cudnnBackendGetAttribute(void *d, int a, int t, long room, long *n, void *v) { *n = sizeof json; if (room >= *n) memcpy(v, json, *n); return a != 2702; }"
    try 0 '"multiProcessorCount": 3' 'a GPU that is here is described' devices --describe gpu0
    cp "$dir/out" "$dir/here.json"
    try 0 'on gpu0 (P, described, not here)' 'by what can be read again' kernels --device gpu0:"$dir/here.json" --problem relu:f32:any:n64
    fake "$json_of
int cudnnBackendGetAttribute(void *d, int a, int t, long room, long *n, void *v) { *n = 0; return 0; }"
    try 1 'cuDNN does not describe gpu0: nothing came' 'a GPU about which cuDNN says nothing' devices --describe gpu0
    unset HONE_LIBCUDA
fi
fake 'static char big[100000] = { 1 }; char *f(void) { return big; }'
head -c 50000 "$dir/lib/libcudnn.so.9" >"$dir/cut" && mv "$dir/cut" "$dir/lib/libcudnn.so.9"
list 'lib_cudnn .*n/a (cuDNN cannot be opened: .*libcudnn.so.9 is cut short)' 'a cuDNN that was cut short' conv2d_fwd:f32:nhwc:$S
echo 1..$n
exit $bad
