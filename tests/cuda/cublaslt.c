/* A library that pretends to be cuBLASLt on the pretend driver: it multiplies column-major matrices
 * as that one is documented to, one number after another, and proposes algorithms that differ by
 * name and workspace.  $PRETEND: "none" proposes nothing, "fail" fails at heuristics. */
#include "kernels/nvidia/cublas_abi.h"
#include "tests/cuda/half.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define API(type) __attribute__((visibility("default"))) type

enum { OK = 0, INVALID = 7, UNSUPPORTED = 15, MIB = 1 << 20 };

struct desc {
    int compute, scale, transa, transb, epilogue, bias_type;
    void *bias;
};

struct layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
};

static int open_handles;

static int is(const char *mode) { return getenv("PRETEND") && !strcmp(getenv("PRETEND"), mode); }

/* ---- the driver's copies ---- */

static void *driver(const char *name)
{
    void *lib = dlopen(getenv("HONE_LIBCUDA"), RTLD_NOW);
    void *f = lib ? dlsym(lib, name) : NULL;
    if (!f) abort();
    return f;
}

static double number(const void *at, int type, uint64_t i)
{
    const uint16_t *half = at;
    if (type == LT_CUDA_R_32F) return ((const float *)at)[i];
    return type == LT_CUDA_R_16F ? f16_number(half[i]) : bf16_number(half[i]);
}

static void put(void *at, int type, uint64_t i, double v)
{
    const float f = (float)v;
    if (type == LT_CUDA_R_32F) ((float *)at)[i] = f;
    else ((uint16_t *)at)[i] = type == LT_CUDA_R_16F ? f16_rounded(f) : bf16_rounded(f);
}

static size_t bytes_of(const struct layout *m)
{
    return (size_t)m->ld * m->cols * (m->type == LT_CUDA_R_32F ? 4 : 2);
}

static void *fetch(const void *from, size_t bytes, void *stream)
{
    int (*get)(void *, uint64_t, size_t, void *) = driver("cuMemcpyDtoHAsync_v2");
    void *host = malloc(bytes);
    if (!host || get(host, (uint64_t)(uintptr_t)from, bytes, stream)) abort();
    return host;
}

/* ---- descriptions ---- */

API(size_t) cublasLtGetVersion(void) { return 130100; }
API(const char *) cublasLtGetStatusString(int s)
{
    return s == INVALID ? "invalid" : "unsupported";
}
API(int) cublasLtCreate(void **h) { open_handles++; *h = &open_handles; return OK; }
API(int) cublasLtDestroy(void *h)
{
    return h == &open_handles && open_handles-- > 0 ? OK : INVALID;
}

API(int) cublasLtMatmulDescCreate(void **desc, int compute, int scale)
{
    struct desc *d = *desc = calloc(1, sizeof *d);
    d->compute = compute, d->scale = scale, d->epilogue = LT_CUBLASLT_EPILOGUE_DEFAULT;
    return scale == LT_CUDA_R_32F ? OK : INVALID;
}
API(int) cublasLtMatmulDescDestroy(void *desc) { free(desc); return OK; }

API(int) cublasLtMatmulDescSetAttribute(void *desc, int attr, const void *value, size_t size)
{
    struct desc *d = desc;
    const struct { int attr; void *to; size_t size; } row[] = {
        { LT_CUBLASLT_MATMUL_DESC_TRANSA, &d->transa, 4 },
        { LT_CUBLASLT_MATMUL_DESC_TRANSB, &d->transb, 4 },
        { LT_CUBLASLT_MATMUL_DESC_EPILOGUE, &d->epilogue, 4 },
        { LT_CUBLASLT_MATMUL_DESC_BIAS_POINTER, &d->bias, sizeof d->bias },
        { LT_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &d->bias_type, 4 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (row[i].attr != attr) continue;
        if (row[i].size != size) return INVALID;
        memcpy(row[i].to, value, size);
        return OK;
    }
    return INVALID;
}

API(int) cublasLtMatrixLayoutCreate(void **m, int type, uint64_t rows, uint64_t cols, int64_t ld)
{
    struct layout *l = *m = calloc(1, sizeof *l);
    *l = (struct layout){ type, rows, cols, ld };
    return ld >= (int64_t)rows ? OK : INVALID;
}
API(int) cublasLtMatrixLayoutDestroy(void *m) { free(m); return OK; }

/* ---- algorithms: number, setting and workspace in the first words ---- */

API(int) cublasLtMatmulPreferenceCreate(void **p) { *p = calloc(1, sizeof(size_t)); return OK; }
API(int) cublasLtMatmulPreferenceDestroy(void *p) { free(p); return OK; }
API(int) cublasLtMatmulPreferenceSetAttribute(void *p, int attr, const void *value, size_t size)
{
    memcpy(p, value, sizeof(size_t));
    return attr == LT_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && size == sizeof(size_t) ? OK
                                                                                         : INVALID;
}

/* As if the largest were the fastest. */
API(int)
cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d,
                               void *pref, int room, struct lt_result *result, int *n)
{
    static const struct { uint64_t id, tile, bytes; } all[] = {
        { 66, 20, 32 * MIB }, { 66, 15, 1 * MIB }, { 21, 15, 0 }, { 66, 18, 0 },
    };
    (void)desc, (void)a, (void)b, (void)d, (void)c;
    *n = 0;
    if (is("fail")) return UNSUPPORTED;
    if (handle != &open_handles || open_handles < 1) return INVALID;
    for (size_t i = 0; i < 4 && *n < room && !is("none"); i++)
        if (all[i].bytes <= *(size_t *)pref)
            result[(*n)++] = (struct lt_result){
                { { all[i].id, all[i].tile, all[i].bytes } }, all[i].bytes, OK, 1, { 0 }
            };
    return *n || is("none") ? OK : UNSUPPORTED;
}

API(int) cublasLtMatmulAlgoConfigGetAttribute(const struct lt_algo *algo, int attr, void *value,
                                              size_t size, size_t *written)
{
    (void)written;
    const int v = attr == LT_CUBLASLT_ALGO_CONFIG_ID        ? (int)algo->data[0]
                  : attr == LT_CUBLASLT_ALGO_CONFIG_TILE_ID ? (int)algo->data[1]
                                                            : 0;
    memcpy(value, &v, sizeof v);
    return size == sizeof v ? OK : INVALID;
}

/* ---- the product ---- */

static double act(int epilogue, double x)
{
    switch (epilogue & ~LT_CUBLASLT_EPILOGUE_BIAS) {
    case LT_CUBLASLT_EPILOGUE_RELU: return x > 0 ? x : 0;
    case LT_CUBLASLT_EPILOGUE_GELU:
        return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    default: return x;
    }
}

static double element(const struct layout *m, const void *at, int transposed, uint64_t i,
                      uint64_t j)
{
    return number(at, m->type, transposed ? i * (uint64_t)m->ld + j : j * (uint64_t)m->ld + i);
}

API(int) cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *a_desc,
                        const void *b, void *b_desc, const void *beta, const void *c, void *c_desc,
                        void *d, void *d_desc, const struct lt_algo *algo, void *workspace,
                        size_t workspace_bytes, void *stream)
{
    const struct desc *q = desc;
    const struct layout *ma = a_desc, *mb = b_desc, *mc = c_desc, *md = d_desc;
    const float scale = *(const float *)alpha, keep = *(const float *)beta;
    const uint64_t k = q->transa ? ma->rows : ma->cols, m = q->transa ? ma->cols : ma->rows,
                   n = q->transb ? mb->rows : mb->cols;
    if (handle != &open_handles || workspace_bytes < algo->data[2] ||
        (algo->data[2] && !workspace) || m != md->rows || n != md->cols ||
        k != (q->transb ? mb->cols : mb->rows) || mc->ld != md->ld)
        return INVALID;
    void *ha = fetch(a, bytes_of(ma), stream), *hb = fetch(b, bytes_of(mb), stream),
         *hc = keep != 0 ? fetch(c, bytes_of(mc), stream) : NULL, *hd = calloc(1, bytes_of(md)),
         *bias = q->epilogue & LT_CUBLASLT_EPILOGUE_BIAS
                     ? fetch(q->bias, m * (q->bias_type == LT_CUDA_R_32F ? 4 : 2), stream)
                     : NULL;
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t i = 0; i < m; i++) {
            double sum = 0;
            for (uint64_t l = 0; l < k; l++)
                sum += element(ma, ha, q->transa, i, l) * element(mb, hb, q->transb, l, j);
            sum *= (double)scale;
            if (hc) sum += (double)keep * element(mc, hc, 0, i, j);
            if (bias) sum += number(bias, q->bias_type, i);
            put(hd, md->type, j * (uint64_t)md->ld + i, act(q->epilogue, sum));
        }
    int (*set)(uint64_t, const void *, size_t, void *) = driver("cuMemcpyHtoDAsync_v2");
    const int bad = set((uint64_t)(uintptr_t)d, hd, bytes_of(md), stream);
    free(ha), free(hb), free(hc), free(hd), free(bias);
    return bad ? INVALID : OK;
}
