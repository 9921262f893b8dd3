/* A plan's code on a GPU: a module that nvcc made when this program was built, or one that NVRTC
 * makes now of the same text with the problem's sizes as constants; and launching it. */
#include "kernels/backend/cuda.h"
#include "kernels/backend/cuda_driver.h"
#include "kernels/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct code {
    void *function[HONE_CUDA_FUNCTIONS];
    void *module;                    /* a JIT plan's own */
    int is_jit;
    struct hone_jit_cost cost;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static const struct hone_cuda_source *source_of(const struct hone_kernel *k)
{
    const struct hone_kernel *aot = k->aot ? k->aot : k;
    int i = 0;
    while (hone_cuda_sources[i].kernel != aot) i++;
    return &hone_cuda_sources[i];
}

/* ---- NVRTC's ---- */

/* The .cu with all it includes, behind the sizes and the one configuration. */
static char *text_of(const struct hone_cuda_source *s, const struct hone_cuda_code *code)
{
    char *text = NULL, *body = hone_jit_joined(s->path);
    size_t size;
    FILE *f = body ? open_memstream(&text, &size) : NULL;
    if (f) {
        fprintf(f, "#define HONE_SIZES {");
        for (int i = 0; i < code->nsizes; i++) fprintf(f, " %d,", code->sizes[i]);
        fprintf(f, " }\n");
        if (code->config) fprintf(f, "#define CONFIGS(X) %s\n", code->config);
        fputs(body, f);
        if (fclose(f)) {
            free(text);
            text = NULL;
        }
    }
    if (body && !text) hone_fail(HONE_ENOMEM, "the text of %s", s->path);
    free(body);
    return text;
}

static int keep(struct hone_jit_entry *e, const char *image, size_t size)
{
    char path[HONE_JIT_PATH + 32];
    snprintf(path, sizeof path, "%s.%ld", e->path, (long)getpid());
    FILE *f = fopen(path, "wb");
    int bad = !f || fwrite(image, 1, size, f) != size;
    if (f) bad |= fclose(f) != 0;
    int err = bad ? hone_fail(HONE_EIO, "%s: cannot write", path) : hone_jit_keep(e, path);
    if (err) unlink(path);
    return err;
}

/* Finds the image in the cache, or compiles it.  The caller frees it. */
static int find_image(const struct hone_plan *plan, const struct hone_cuda_source *s,
                      const char *text, struct hone_jit_entry *e, char **image, int *cached)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(plan->device);
    const char *version = hone_nvrtc_version();
    const int target[3] = { l->major, l->minor, hone_cuda_is_pretend() };
    size_t size = 0;
    *e = (struct hone_jit_entry){ .key = { 0, 0 } };
    hone_jit_hash(e->key, version, strlen(version));
    hone_jit_hash(e->key, target, sizeof target);
    hone_jit_hash(e->key, text, strlen(text));
    int found = hone_jit_find(e);
    *cached = found > 0;
    if (found < 0) return found;
    if (found && (*image = hone_jit_read(e, &size))) return HONE_OK;
    double started = now_ms();
    int err = hone_nvrtc_compile(text, s->path, l->major, l->minor, image, &size);
    e->compile_ms = now_ms() - started;
    *cached = 0;
    return err ? err : keep(e, *image, size);
}

static int compile(struct hone_plan *plan, const struct hone_cuda_code *want, struct code *code)
{
    const struct hone_cuda_source *s = source_of(plan->kernel);
    struct hone_jit_entry e;
    char *image = NULL, *text = text_of(s, want);
    int cached = 0;
    if (!text) return HONE_EINVAL;
    double started = now_ms();
    int err = find_image(plan, s, text, &e, &image, &cached);
    if (!cached) started = now_ms();
    if (!err) err = HONE_CU(cuModuleLoadData, &code->module, image);
    /* What cannot be loaded is not kept. */
    if (err && image) unlink(e.path);
    code->cost = (struct hone_jit_cost){ .compile_ms = e.compile_ms, .load_ms = now_ms() - started,
                                         .code_bytes = e.code_bytes, .cached = cached };
    free(image);
    free(text);
    return err;
}

/* ---- plans ---- */

/* Above 48 KiB a function must be told how much shared memory it may be launched with: all that
 * there is, since it is one function, whose plans need more and less. */
static int find_function(const struct hone_plan *plan, void *module, const char *name,
                         unsigned shared_bytes, void **function)
{
    int err = HONE_CU(cuModuleGetFunction, function, module, name);
    if (!err && shared_bytes > 48 << 10)
        err = HONE_CU(cuFuncSetAttribute, *function, HONE_CU_FUNC_MAX_DYNAMIC_SHARED,
                      hone_cuda_limits(plan->device)->shared_per_block);
    return err ? hone_fail_at(err, "%s", name) : HONE_OK;
}

int hone_cuda_open(struct hone_plan *plan, const struct hone_cuda_code *want)
{
    /* The pretend driver finds functions without one, but a module has an image. */
    static const unsigned char none[4];
    const unsigned char *image = source_of(plan->kernel)->image;
    struct code *code = calloc(1, sizeof *code);
    void *module = NULL;
    if (!code) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *code);
    code->is_jit = plan->kernel->build == HONE_JIT;
    int err = code->is_jit ? compile(plan, want, code)
                           : hone_cuda_module(plan->device, image ? image : none, &module);
    if (code->is_jit) module = code->module;
    for (int i = 0; !err && i < HONE_CUDA_FUNCTIONS && want->function[i]; i++)
        err = find_function(plan, module, want->function[i], want->shared_bytes[i],
                            &code->function[i]);
    plan->priv = code;
    if (!err) return HONE_OK;
    hone_cuda_close(plan);
    return hone_fail_at(err, "%s", plan->kernel->name);
}

void hone_cuda_close(struct hone_plan *plan)
{
    struct code *code = plan->priv;
    if (code->module) {
        hone_cu.cuStreamSynchronize(hone_cuda_stream(plan->device));
        hone_cu.cuModuleUnload(code->module);
    }
    free(code);
    plan->priv = NULL;
}

const struct hone_jit_cost *hone_cuda_jit_cost(const struct hone_plan *plan)
{
    const struct code *code = plan->priv;
    return code->is_jit ? &code->cost : NULL;
}

int hone_cuda_launch(const struct hone_plan *plan, int f, const struct hone_cuda_shape *s,
                     const void *args)
{
    const struct code *code = plan->priv;
    void *arg[] = { (void *)(uintptr_t)args };
    return HONE_CU(cuLaunchKernel, code->function[f], s->grid[0], s->grid[1], s->grid[2],
                   s->block[0], s->block[1], s->block[2], s->shared_bytes,
                   hone_cuda_stream(plan->device), arg, NULL);
}

/* ---- clusters ---- */

static struct hone_cu_launch_attribute clusters_of(int cluster)
{
    return (struct hone_cu_launch_attribute){ .id = HONE_CU_LAUNCH_CLUSTER,
                                              .cluster = { (unsigned)cluster, 1, 1 } };
}

static struct hone_cu_launch launch_of(const struct hone_plan *plan,
                                       const struct hone_cuda_shape *s,
                                       struct hone_cu_launch_attribute *clusters)
{
    struct hone_cu_launch l = { .shared_bytes = s->shared_bytes, .attribute = clusters,
                                .nattributes = 1, .stream = hone_cuda_stream(plan->device) };
    memcpy(l.grid, s->grid, sizeof l.grid);
    memcpy(l.block, s->block, sizeof l.block);
    return l;
}

int hone_cuda_allow_clusters(const struct hone_plan *plan, int f, const struct hone_cuda_shape *s,
                             int cluster)
{
    const struct code *code = plan->priv;
    struct hone_cu_launch_attribute clusters = clusters_of(cluster);
    const struct hone_cu_launch l = launch_of(plan, s, &clusters);
    int n = 0, err = HONE_OK;
    if (cluster > HONE_CUDA_PORTABLE_CLUSTER)
        err = HONE_CU(cuFuncSetAttribute, code->function[f], HONE_CU_FUNC_NON_PORTABLE_CLUSTER, 1);
    if (!err) err = HONE_CU(cuOccupancyMaxActiveClusters, &n, code->function[f], &l);
    if (err || n > 0) return err;
    return hone_fail(HONE_EREFUSED, "this GPU has no room for a cluster of %d blocks of %u threads "
                     "and %u bytes of shared memory", cluster, s->block[0], s->shared_bytes);
}

int hone_cuda_launch_clusters(const struct hone_plan *plan, int f, const struct hone_cuda_shape *s,
                              int cluster, const void *args)
{
    const struct code *code = plan->priv;
    struct hone_cu_launch_attribute clusters = clusters_of(cluster);
    const struct hone_cu_launch l = launch_of(plan, s, &clusters);
    void *arg[] = { (void *)(uintptr_t)args };
    return HONE_CU(cuLaunchKernelEx, &l, code->function[f], arg, NULL);
}

const char *hone_cuda_refuse_clusters(const struct hone_device *d)
{
    if (hone_cuda_limits(d)->major < 9) return "clusters of blocks are of sm_90 and later";
    return hone_cu.cuLaunchKernelEx && hone_cu.cuOccupancyMaxActiveClusters
               ? NULL
               : "the driver is older than CUDA 12";
}

/* ---- maps ---- */

int hone_cuda_map(struct hone_cuda_map *map, const void *from, int size, int64_t rows,
                  int64_t cols, int box_rows)
{
    const unsigned long long sizes[] = { (unsigned long long)cols, (unsigned long long)rows };
    const unsigned long long strides[] = { sizes[0] * (unsigned)size };
    const unsigned box[] = { 128 / (unsigned)size, (unsigned)box_rows }, steps[] = { 1, 1 };
    return HONE_CU(cuTensorMapEncodeTiled, map,
                   size == 2 ? HONE_CU_MAP_16_BITS : HONE_CU_MAP_32_BITS, 2,
                   (void *)(uintptr_t)from, sizes, strides, box, steps, 0, HONE_CU_MAP_SWIZZLE_128,
                   HONE_CU_MAP_L2_256, 0);
}

const char *hone_cuda_refuse_groups(const struct hone_device *d)
{
    const struct hone_cuda_limits *l = hone_cuda_limits(d);
    if (l->major != 9 || l->minor) return "its instructions are sm_90a's alone";
    return hone_cu.cuTensorMapEncodeTiled ? NULL : "the driver is older than CUDA 12";
}
