#!/bin/sh
# What a GPU says of itself while it is tuned goes into the records, and a GPU that is held back is
# told: on the pretend driver, with a library that pretends to be NVML.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/scratch.inc"
hone=$builddir/hone
HONE_LIBCUDA=$builddir/tests/pretend_cuda.so XDG_CACHE_HOME=$tmp/cache LD_LIBRARY_PATH=$tmp/lib
export HONE_LIBCUDA XDG_CACHE_HOME LD_LIBRARY_PATH
mkdir lib
nvml() { # nvml THROTTLE
    cat >nvml.c <<EOF
#include <string.h>
int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int c) { return "error"; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **g) { return 6; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *s, void **g) { *g = (void *)1; return strcmp(s, "0000:1B:00.0") ? 6 : 0; }
int nvmlDeviceGetClockInfo(void *g, int t, unsigned *v) { *v = t == 1 ? 1410 : 3201; return 0; }
int nvmlDeviceGetPowerUsage(void *g, unsigned *v) { *v = 350500; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *g, unsigned long long *v) { static unsigned long long e; *v = e += 1000; return 0; }
int nvmlDeviceGetTemperature(void *g, int s, unsigned *v) { *v = 61; return s; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *g, unsigned long long *v) { *v = $1; return 0; }
EOF
    ${CC:-cc} -w -shared -fPIC -o lib/libnvidia-ml.so.1 nvml.c
}
has() { # has TEXT NAME
    cat out err | grep -q -e "$1"
    tap $? "$2"
}
tune() { "$hone" autotune --device gpu0 --problem $1 --budget 2s --build aot >out 2>err; }

nvml 0x24
tune relu:f32:any:n4000
tap $? 'a problem is tuned'
"$hone" db export >records 2>err
grep '"status": *"timed"' records | grep -c 'sm_clock=1410 memory_clock=3201 power=350.5 temperature=61 throttle=power_cap+heat' >out
[ "$(cat out)" -ge 1 ] && [ "$(cat out)" = "$(grep -c '"status": *"timed"' records)" ]
tap $? 'every sample has clocks, power, temperature and what holds the GPU back'
grep -v '+later"' records | grep -c 'energy=' >out   # races at later moments repeat them
[ "$(cat out)" -ge 1 ] && [ "$(cat out)" -le 3 ]
tap $? 'what needs runs to be counted is read of the fastest few'
"$hone" db why relu:f32:any:n4000 --device gpu0 >out 2>err
has 'sm_clock=1410' 'hone db why shows it'
has 'throttled: power cap, heat' 'and what holds the GPU back'
nvml 0x3
tune relu6:f32:any:n4000
"$hone" db why relu6:f32:any:n4000 --device gpu0 >out 2>err
has 'throttle=idle+set_clocks' 'clocks that were set are told'
! grep -q throttled: out
tap $? 'and hold nothing back'

# ---- hone compare has its batches on the GPU ----
HONE_PEERS=$tmp "$hone" compare --device gpu0 --net housing-mlp --batch 4 --peer pytorch:eager --rounds 2 --loss 3 --csv >out 2>err
grep -q '^hone,,Hone,,[1-9][0-9]*,2,[0-9.]*,' out
tap $? 'hone compare trains on the GPU'

# ---- profiles ----
nvml 0x20
HONE_PRETEND_CLOCKS=1 "$hone" profile --device gpu0 --net housing-mlp --batch 4 --rounds 5 --json >p.json 2>err
tap $? 'a profile on the GPU'
"$hone" report layers p.json >out 2>err
has '^gpu0 after the steps: sm_clock=1410' 'keeps its state'
has '^- the GPU was throttled: heat' 'and tells that it was held back'
grep -q '^fwd .* [0-9.]*%$' out
tap $? 'its roof is by its clocks'
! grep -q 'roofline as counted\|^kernels' out
tap $? 'nothing is told of what was not counted'
sed 's|"counters": {}|"counters": {"dram_read": 6000, "dram_write": 2000, "flops_f32": 16000}|; s|^{|{"activity": [{"ph": "X", "name": "k_gemm", "cat": "fc1", "dur": 7.5, "args": {"step": 1, "registers": 32, "shared_bytes": 1536, "local_bytes": 0, "grid": [4, 2, 1], "block": [256, 1, 1], "occupancy": 0.75, "limited_by": "registers"}}],|' p.json >counted.json
"$hone" report layers counted.json >out 2>err
has '^[a-z0-9]* *fwd *8000 bytes .*GB/s .*of memory.s peak .*1.6e+04 flop .* 2.00 flop/B .*of compute.s peak' 'counted bytes and operations have a roofline'
has '^fc1 *7.50 *32 *1536 4x2x1 *256x1x1 *75% registers *k_gemm' 'kernels by layer, with registers, shared memory, grid and occupancy'
rm lib/libnvidia-ml.so.1
tune tanh:f32:any:n4000
"$hone" db why tanh:f32:any:n4000 --device gpu0 >out 2>err
[ $? = 0 ] && ! grep -q 'sm_clock' out
tap $? 'without NVML there are no facts'
echo 1..$n
exit $bad
