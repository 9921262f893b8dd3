/* The pretend driver finds what is wrong with a kernel, in any order of its threads; and nothing
 * where nothing is. */
#include "tests/cuda/faults.h"
#include "kernels/backend/cuda_driver.h"
#include "tests/tap.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 4, THREADS = 64, ORDERS = 3 };

static struct hone_cu cu;

static int load(void)
{
    char path[4096];
    const char *dir = getenv("builddir");
    snprintf(path, sizeof path, "%s/tests/pretend_cuda.so", dir ? dir : ".");
    void *lib = dlopen(path, RTLD_NOW);
#define X(name, symbol, parameters)                                                                \
    if (lib) *(void **)&cu.name = dlsym(lib, #symbol);                                             \
    if (!cu.name) return 0;
    HONE_CU_CALLS(X) HONE_CU_LATER_CALLS(X)
#undef X
    return 1;
}

/* The code of a launch of this kernel, in clusters of so many blocks along x and y; cluster[0] 0:
 * there are none. */
static unsigned launch_in(const unsigned cluster[2], const char *name, unsigned blocks,
                          unsigned threads, unsigned shared)
{
    struct faults given;
    hone_cu_address mem;
    void *module, *function, *stream, *arg[] = { &given };
    unsigned code = cu.cuModuleLoadData(&module, "none");
    if (!code) code = cu.cuModuleGetFunction(&function, module, name);
    if (!code) code = cu.cuStreamCreate(&stream, 0);
    if (!code)
        code = cu.cuMemAlloc(&mem, (blocks > BLOCKS ? blocks : BLOCKS) * THREADS * sizeof(float));
    if (code) return 1000 + code;
    given.out = (float *)(uintptr_t)mem;
    struct hone_cu_launch_attribute clusters = { .id = HONE_CU_LAUNCH_CLUSTER,
                                                 .cluster = { cluster[0], cluster[1], 1 } };
    const struct hone_cu_launch l = { { blocks, 1, 1 }, { threads, 1, 1 }, shared, stream,
                                      &clusters, 1 };
    if (cluster[0]) code = cu.cuLaunchKernelEx(&l, function, arg, NULL);
    else code = cu.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, arg, NULL);
    if (!code) code = cu.cuStreamSynchronize(stream);
    cu.cuMemFree(mem);
    cu.cuStreamDestroy(stream);
    cu.cuModuleUnload(module);
    return code;
}

static unsigned launch(const char *name, unsigned blocks, unsigned threads, unsigned shared)
{
    return launch_in((const unsigned[]){ 0, 1 }, name, blocks, threads, shared);
}

static unsigned launch_pairs(const char *name)
{
    return launch_in((const unsigned[]){ 2, 1 }, name, BLOCKS, THREADS, THREADS * sizeof(float));
}

/* What the driver says of clusters of so many blocks, and whether it has room for one. */
static void check_clusters(void)
{
    const unsigned shared = THREADS * sizeof(float);
    ok(launch_in((const unsigned[]){ 3, 1 }, "cluster_none", BLOCKS, THREADS, shared) == 912,
       "a grid that is no whole number of clusters is refused");
    ok(launch_in((const unsigned[]){ 16, 1 }, "cluster_none", 16, THREADS, shared) == 912,
       "a cluster of 16 blocks must be allowed");
    ok(launch_in((const unsigned[]){ 2, 2 }, "cluster_none", BLOCKS, THREADS, shared) == 1,
       "so is a cluster that is not along x");
    ok(!launch_in((const unsigned[]){ 8, 1 }, "cluster_none", 8, 33,
                  33 * sizeof(float)),
       "eight blocks of a warp and a thread are a cluster");
    ok(!launch_in((const unsigned[]){ 1, 1 }, "cluster_none", BLOCKS, THREADS, shared),
       "and so is one block");
    setenv("HONE_PRETEND_CLUSTER", "4", 1);
    ok(launch_in((const unsigned[]){ 8, 1 }, "cluster_none", 8, THREADS, shared) == 701,
       "a cluster that the GPU has no room for is refused");
    unsetenv("HONE_PRETEND_CLUSTER");
    setenv("HONE_PRETEND_CC", "80", 1);
    ok(launch_pairs("cluster_none") == 912, "sm_80 has no clusters");
    unsetenv("HONE_PRETEND_CC");
}

int main(void)
{
    static const char *const faults[] = {
        "fault_no_barrier", "fault_two_barriers", "fault_one_barrier_short", "fault_past_shared",
        "fault_past_memory", "fault_before_memory", "fault_same_word", "fault_early_copy",
        "fault_half_warp", "fault_gate_unmade", "fault_gate_for_ever", "fault_unfenced",
        "fault_product_left"
    };
    static const char *const of_clusters[] = {
        "cluster_no_barrier", "cluster_early_write", "cluster_same_word", "cluster_not_begun",
        "cluster_ended", "cluster_no_such_block", "cluster_past_shared", "cluster_other_barrier",
        "cluster_one_short", "cluster_gate"
    };
    const unsigned shared = THREADS * sizeof(float);
    if (!load()) { printf("Bail out! tests/pretend_cuda.so cannot be opened\n"); return 1; }
    void *context;
    cu.cuInit(0);
    cu.cuDevicePrimaryCtxRetain(&context, 0);
    ok(launch("fault_none", BLOCKS, THREADS, shared) == 1201,
       "a thread without a context is refused");
    cu.cuCtxSetCurrent(context);
    /* What is found is said on stderr. */
    if (!freopen("/dev/null", "w", stderr)) return 1;
    for (int order = 0; order < ORDERS; order++) {
        char text[8];
        snprintf(text, sizeof text, "%d", order);
        setenv("HONE_PRETEND_ORDER", text, 1);
        ok(!launch("fault_none", BLOCKS, THREADS, shared), "order %d: nothing is wrong", order);
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
            ok(launch(faults[i], BLOCKS, THREADS, shared) == 719, "order %d: %s is found", order,
               faults[i]);
        ok(!launch_pairs("cluster_none"), "order %d: nothing is wrong in clusters", order);
        for (size_t i = 0; i < sizeof of_clusters / sizeof *of_clusters; i++)
            ok(launch_pairs(of_clusters[i]) == 719, "order %d: %s is found", order, of_clusters[i]);
    }
    check_clusters();
    ok(launch("fault_none", BLOCKS, 1025, shared) == 1, "a block of too many threads is refused");
    ok(launch("fault_none", BLOCKS, THREADS, 49 << 10) == 1,
       "more than 48 KiB of shared memory must be asked for");
    ok(launch("fault_none", 0, THREADS, shared) == 1, "a grid of nothing is refused");
    ok(launch("fault_nowhere", BLOCKS, THREADS, shared) == 1500,
       "an unknown function is not found");
    return tap_end();
}
