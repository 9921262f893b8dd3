/* A library that pretends to be cuDNN's graph interface on the pretend driver: descriptors remember
 * what was set, one engine computes every graph, and executing walks its operations number by
 * number, as cuDNN's documentation defines them. */
#include "kernels/nvidia/cudnn_abi.h"
#include "tests/cuda/half.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define API(type) __attribute__((visibility("default"))) type

enum { OK = 0, BAD = 2000, UNSUPPORTED = 3000 };
enum { ATTRS = 24, BYTES = 128, VALUES = 64, WORKSPACE = 256 };

struct desc {
    int kind, n, done;
    struct { int attr; int64_t n; char data[BYTES]; } a[ATTRS];
};

static int handles;
static void *stream;

/* ---- descriptors: never freed, since what is made of one may outlive it ---- */

static const void *find(const struct desc *d, int attr, int64_t *n)
{
    for (int i = 0; d && i < d->n; i++)
        if (d->a[i].attr == attr) {
            if (n) *n = d->a[i].n;
            return d->a[i].data;
        }
    return NULL;
}

static struct desc *part(const struct desc *d, int attr)
{
    struct desc *const *p = find(d, attr, NULL);
    return p ? *p : NULL;
}

static int64_t whole(const struct desc *d, int attr, int i)
{
    const int64_t *p = find(d, attr, NULL);
    return p ? p[i] : 0;
}

static int number(const struct desc *d, int attr)
{
    const int *p = find(d, attr, NULL);
    return p ? *p : 0;
}

static double real(const struct desc *d, int attr)
{
    const double *p = find(d, attr, NULL);
    return p ? *p : 0;
}

API(size_t) cudnnGetVersion(void) { return 91900; }
API(const char *) cudnnGetErrorString(int s)
{
    return s == BAD ? "bad parameter" : "not supported";
}
API(void) cudnnGetLastErrorString(char *t, size_t n) { if (n) *t = 0; }
API(int) cudnnCreate(dnn_handle *h) { handles++; *h = &handles; return OK; }
API(int) cudnnDestroy(dnn_handle h) { return h == &handles && handles-- > 0 ? OK : BAD; }
API(int) cudnnSetStream(dnn_handle h, void *s) { stream = s; return h == &handles ? OK : BAD; }

API(int) cudnnBackendCreateDescriptor(int kind, dnn_descriptor *d)
{
    struct desc *new = *d = calloc(1, sizeof *new);
    new->kind = kind;
    return OK;
}
API(int) cudnnBackendDestroyDescriptor(dnn_descriptor d) { return d ? OK : BAD; }
API(int) cudnnBackendFinalize(dnn_descriptor d)
{
    struct desc *p = d;
    if (p->kind == DNN_BACKEND_ENGINEHEUR_DESCRIPTOR) return UNSUPPORTED;
    p->done = 1;
    return OK;
}

API(int) cudnnBackendSetAttribute(dnn_descriptor d, int attr, int type, int64_t n, const void *v)
{
    static const int size[] = { [DNN_TYPE_HANDLE] = 8, [DNN_TYPE_BOOLEAN] = 1, [DNN_TYPE_INT64] = 8,
                                [DNN_TYPE_DOUBLE] = 8, [DNN_TYPE_VOID_PTR] = 8,
                                [DNN_TYPE_BACKEND_DESCRIPTOR] = 8, [DNN_TYPE_CHAR] = 1,
                                [DNN_TYPE_NORM_FWD_PHASE] = 0 };
    struct desc *p = d;
    const size_t bytes = (size_t)n * (size_t)(size[type] ? size[type] : 4);
    if (p->done || p->n == ATTRS || bytes > BYTES || n < 1 || find(p, attr, NULL)) return BAD;
    if (type == DNN_TYPE_BACKEND_DESCRIPTOR)
        for (int i = 0; i < n; i++)
            if (!((struct desc *const *)v)[i] || !((struct desc *const *)v)[i]->done) return BAD;
    p->a[p->n].attr = attr;
    p->a[p->n].n = n;
    memcpy(p->a[p->n++].data, v, bytes);
    return OK;
}

API(int) cudnnBackendGetAttribute(dnn_descriptor d, int attr, int type, int64_t room, int64_t *n,
                                  void *v)
{
    (void)d, (void)type, (void)room;
    *n = 0;
    if (attr == DNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT) *(int64_t *)v = *n = 1;
    if (attr == DNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) *(int64_t *)v = WORKSPACE, *n = 1;
    return OK;
}

/* ---- tensors ---- */

struct tensor {
    const struct desc *d;
    int64_t id, size[4], stride[4], n;
    double *v;                       /* (size), dense in the order of the dimensions */
};

/* One execution: what was read or computed. */
static struct tensor value[VALUES];
static int nvalues;
static const struct desc *pack;

static void *driver(const char *name)
{
    void *lib = dlopen(getenv("HONE_LIBCUDA"), RTLD_NOW), *f = lib ? dlsym(lib, name) : NULL;
    if (!f) abort();
    return f;
}

static void *address(int64_t id)
{
    int64_t n = 0;
    const int64_t *ids = find(pack, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &n);
    void *const *at = find(pack, DNN_ATTR_VARIANT_PACK_DATA_POINTERS, NULL);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] == id) return at[i];
    return NULL;
}

/* Number i of an array of this type. */
static float got(int type, const void *at, int64_t i)
{
    return type == DNN_DATA_BFLOAT16 ? bf16_number(((const uint16_t *)at)[i])
           : type == DNN_DATA_HALF   ? f16_number(((const uint16_t *)at)[i])
                                     : ((const float *)at)[i];
}

static void put(int type, void *at, int64_t i, float v)
{
    if (type == DNN_DATA_BFLOAT16) ((uint16_t *)at)[i] = bf16_rounded(v);
    else if (type == DNN_DATA_HALF) ((uint16_t *)at)[i] = f16_rounded(v);
    else ((float *)at)[i] = v;
}

static size_t width_of(int type) { return type == DNN_DATA_FLOAT ? 4 : 2; }

static int64_t place(const struct tensor *t, int64_t i)
{
    int64_t at = 0;
    for (int k = 3; k >= 0; k--) at += i % t->size[k] * t->stride[k], i /= t->size[k];
    return at;
}

/* By its id, made at first sight; what the pack has is read if it is an input. */
static struct tensor *tensor(const struct desc *d, int reads)
{
    const int64_t id = whole(d, DNN_ATTR_TENSOR_UNIQUE_ID, 0);
    for (int i = 0; i < nvalues; i++)
        if (value[i].id == id) return &value[i];
    if (nvalues == VALUES) abort();
    struct tensor *t = &value[nvalues++];
    *t = (struct tensor){ .d = d, .id = id, .n = 1 };
    for (int i = 0; i < 4; i++) {
        t->size[i] = whole(d, DNN_ATTR_TENSOR_DIMENSIONS, i);
        t->stride[i] = whole(d, DNN_ATTR_TENSOR_STRIDES, i);
        t->n *= t->size[i];
    }
    t->v = calloc((size_t)t->n, sizeof *t->v);
    const char *virtual = find(d, DNN_ATTR_TENSOR_IS_VIRTUAL, NULL),
               *by_value = find(d, DNN_ATTR_TENSOR_IS_BY_VALUE, NULL);
    if (!reads || (virtual && *virtual)) return t;
    if (!address(id)) abort();
    if (by_value && *by_value) {
        t->v[0] = *(float *)address(id);
        return t;
    }
    const int type = number(d, DNN_ATTR_TENSOR_DATA_TYPE);
    const size_t width = width_of(type);
    char *host = malloc((size_t)t->n * width);
    int (*get)(void *, uint64_t, size_t, void *) = driver("cuMemcpyDtoHAsync_v2");
    if (get(host, (uint64_t)(uintptr_t)address(id), (size_t)t->n * width, stream)) abort();
    for (int64_t i = 0; i < t->n; i++) t->v[i] = got(type, host, place(t, i));
    free(host);
    return t;
}

static int store(const struct tensor *t)
{
    const int type = number(t->d, DNN_ATTR_TENSOR_DATA_TYPE);
    const size_t width = width_of(type);
    char *host = malloc((size_t)t->n * width);
    for (int64_t i = 0; i < t->n; i++) put(type, host, place(t, i), (float)t->v[i]);
    int (*set)(uint64_t, const void *, size_t, void *) = driver("cuMemcpyHtoDAsync_v2");
    const int bad = set((uint64_t)(uintptr_t)address(t->id), host, (size_t)t->n * width, stream);
    free(host);
    return bad;
}

/* An operation's tensor; outputs that are no virtual ones are stored in the end. */
static struct tensor *output[VALUES];
static int noutputs;

static struct tensor *in(const struct desc *op, int attr)
{
    return part(op, attr) ? tensor(part(op, attr), 1) : NULL;
}

static struct tensor *out(const struct desc *op, int attr)
{
    if (!part(op, attr)) return NULL;
    struct tensor *t = tensor(part(op, attr), 0);
    const char *virtual = find(t->d, DNN_ATTR_TENSOR_IS_VIRTUAL, NULL);
    if (!(virtual && *virtual)) output[noutputs++] = t;
    return t;
}

/* Index of element i of `of` in t, which may have sizes of 1 where `of` has more. */
static int64_t same(const struct tensor *t, const struct tensor *of, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int k = 3; k >= 0; k--) {
        if (t->size[k] > 1) at += i % of->size[k] * step;
        step *= t->size[k];
        i /= of->size[k];
    }
    return at;
}

static double *element(const struct tensor *t, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return &t->v[((n * t->size[1] + c) * t->size[2] + h) * t->size[3] + w];
}

/* ---- convolutions ---- */

static void convolve(const struct desc *conv, struct tensor *x, struct tensor *w, struct tensor *y,
                     const struct tensor *result)
{
    int64_t s[2], p[2], d[2];
    for (int i = 0; i < 2; i++) {
        s[i] = whole(conv, DNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
        p[i] = whole(conv, DNN_ATTR_CONVOLUTION_PRE_PADDINGS, i);
        d[i] = whole(conv, DNN_ATTR_CONVOLUTION_DILATIONS, i);
        /* The output's size follows from both paddings. */
        const int64_t span = x->size[2 + i] + p[i] + whole(conv, DNN_ATTR_CONVOLUTION_POST_PADDINGS, i);
        if ((span - (w->size[2 + i] - 1) * d[i] - 1) / s[i] + 1 != y->size[2 + i]) abort();
    }
    const int64_t of_group = w->size[0] / (x->size[1] / w->size[1]);
    for (int64_t n = 0; n < y->size[0]; n++)
        for (int64_t k = 0; k < y->size[1]; k++)
            for (int64_t i = 0; i < y->size[2]; i++)
                for (int64_t j = 0; j < y->size[3]; j++)
                    for (int64_t c = 0; c < w->size[1]; c++)
                        for (int64_t r = 0; r < w->size[2]; r++)
                            for (int64_t q = 0; q < w->size[3]; q++) {
                                const int64_t h = i * s[0] - p[0] + r * d[0],
                                              l = j * s[1] - p[1] + q * d[1];
                                if (h < 0 || h >= x->size[2] || l < 0 || l >= x->size[3]) continue;
                                double *a = element(x, n, k / of_group * w->size[1] + c, h, l),
                                       *b = element(w, k, c, r, q), *e = element(y, n, k, i, j);
                                if (result == y) *e += *a * *b;
                                else if (result == x) *a += *e * *b;
                                else *b += *a * *e;
                            }
}

/* ---- single numbers ---- */

static double slope_of_gelu(double x)
{
    return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
}

static double slope_of_gelu_tanh(double x)
{
    const double c = sqrt(2 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static double point(const struct desc *how, double x, double b, double dy)
{
    const double upper = real(how, DNN_ATTR_POINTWISE_RELU_UPPER_CLIP),
                 slope = real(how, DNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE), s = 1 / (1 + exp(-x));
    switch (number(how, DNN_ATTR_POINTWISE_MODE)) {
    case DNN_POINTWISE_ADD: return x + b;
    case DNN_POINTWISE_MUL: return x * b;
    case DNN_POINTWISE_SUB: return x - b;
    case DNN_POINTWISE_NEG: return -x;
    case DNN_POINTWISE_RSQRT: return 1 / sqrt(x);
    case DNN_POINTWISE_RELU_FWD: return upper > 0 && x > upper ? upper : x <= 0 ? slope * x : x;
    case DNN_POINTWISE_TANH_FWD: return tanh(x);
    case DNN_POINTWISE_SIGMOID_FWD: return s;
    case DNN_POINTWISE_SWISH_FWD: return x * s;
    case DNN_POINTWISE_GELU_FWD: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case DNN_POINTWISE_GELU_APPROX_TANH_FWD:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case DNN_POINTWISE_RELU_BWD: return x <= 0 ? slope * dy : upper > 0 && x >= upper ? 0 : dy;
    case DNN_POINTWISE_SWISH_BWD: return dy * s * (1 + x * (1 - s));
    case DNN_POINTWISE_GELU_BWD: return dy * slope_of_gelu(x);
    case DNN_POINTWISE_GELU_APPROX_TANH_BWD: return dy * slope_of_gelu_tanh(x);
    default: abort();
    }
}

static void pointwise(const struct desc *op)
{
    const struct desc *how = part(op, DNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    struct tensor *x = in(op, DNN_ATTR_OPERATION_POINTWISE_XDESC),
                  *b = in(op, DNN_ATTR_OPERATION_POINTWISE_BDESC),
                  *dy = in(op, DNN_ATTR_OPERATION_POINTWISE_DYDESC),
                  *y = out(op, dy ? DNN_ATTR_OPERATION_POINTWISE_DXDESC
                                  : DNN_ATTR_OPERATION_POINTWISE_YDESC);
    for (int64_t i = 0; i < y->n; i++)
        y->v[i] = point(how, x->v[same(x, y, i)], b ? b->v[same(b, y, i)] : 0,
                        dy ? dy->v[same(dy, y, i)] : 0);
}

/* ---- pooling ---- */

static void pool(const struct desc *how, struct tensor *x, struct tensor *y, int backward)
{
    const int mode = number(how, DNN_ATTR_RESAMPLE_MODE);
    int64_t k[2], s[2], p[2];
    for (int i = 0; i < 2; i++) {
        k[i] = whole(how, DNN_ATTR_RESAMPLE_WINDOW_DIMS, i);
        s[i] = whole(how, DNN_ATTR_RESAMPLE_STRIDES, i);
        p[i] = whole(how, DNN_ATTR_RESAMPLE_PRE_PADDINGS, i);
        const int64_t span = x->size[2 + i] + p[i] + whole(how, DNN_ATTR_RESAMPLE_POST_PADDINGS, i);
        if ((span - k[i]) / s[i] + 1 != y->size[2 + i]) abort();
    }
    for (int64_t at = 0; at < y->n; at++) {
        const int64_t j = at % y->size[3], i = at / y->size[3] % y->size[2],
                      c = at / (y->size[3] * y->size[2]) % y->size[1],
                      n = at / (y->size[3] * y->size[2] * y->size[1]);
        double sum = 0, most = -INFINITY, inside = 0;
        for (int pass = 0; pass < 1 + backward; pass++)
            for (int64_t r = 0; r < k[0]; r++)
                for (int64_t q = 0; q < k[1]; q++) {
                    const int64_t h = i * s[0] - p[0] + r, l = j * s[1] - p[1] + q;
                    if (h < 0 || h >= x->size[2] || l < 0 || l >= x->size[3]) continue;
                    double *e = element(x, n, c, h, l);
                    if (pass) *e += y->v[at] / inside;
                    else sum += *e, inside++, most = *e > most || *e != *e ? *e : most;
                    if (!pass && mode == DNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING && backward)
                        inside = (double)(k[0] * k[1]);
                }
        if (backward) continue;
        if (mode == DNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING) inside = (double)(k[0] * k[1]);
        y->v[at] = mode == DNN_RESAMPLE_MAXPOOL ? most : sum / inside;
    }
}

/* ---- batch normalisation, of (n, c, 1, 1) ---- */

static void norm_forward(const struct desc *op)
{
#define IN(name) struct tensor *name = in(op, DNN_ATTR_OPERATION_NORM_FWD_##name)
#define OUT(name) struct tensor *name = out(op, DNN_ATTR_OPERATION_NORM_FWD_##name)
    IN(XDESC); IN(SCALE_DESC); IN(BIAS_DESC); IN(INPUT_RUNNING_MEAN_DESC); IN(INPUT_RUNNING_VAR_DESC);
    IN(EPSILON_DESC); IN(EXP_AVG_FACTOR_DESC);
    OUT(YDESC); OUT(MEAN_DESC); OUT(INV_VARIANCE_DESC); OUT(OUTPUT_RUNNING_MEAN_DESC);
    OUT(OUTPUT_RUNNING_VAR_DESC);
#undef OUT
#undef IN
    const int64_t m = XDESC->size[0], n = XDESC->size[1];
    const double momentum = EXP_AVG_FACTOR_DESC->v[0];
    if (number(op, DNN_ATTR_OPERATION_NORM_FWD_MODE) != DNN_BATCH_NORM ||
        number(op, DNN_ATTR_OPERATION_NORM_FWD_PHASE) != DNN_NORM_FWD_TRAINING)
        abort();
    for (int64_t c = 0; c < n; c++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < m; i++) mean += XDESC->v[i * n + c] / (double)m;
        for (int64_t i = 0; i < m; i++)
            var += (XDESC->v[i * n + c] - mean) * (XDESC->v[i * n + c] - mean) / (double)m;
        const double rstd = 1 / sqrt(var + EPSILON_DESC->v[0]);
        for (int64_t i = 0; i < m; i++)
            YDESC->v[i * n + c] =
                (XDESC->v[i * n + c] - mean) * rstd * SCALE_DESC->v[c] + BIAS_DESC->v[c];
        MEAN_DESC->v[c] = mean;
        INV_VARIANCE_DESC->v[c] = rstd;
        OUTPUT_RUNNING_MEAN_DESC->v[c] =
            (1 - momentum) * INPUT_RUNNING_MEAN_DESC->v[c] + momentum * mean;
        OUTPUT_RUNNING_VAR_DESC->v[c] = (1 - momentum) * INPUT_RUNNING_VAR_DESC->v[c] +
                                        momentum * var * (double)m / (double)(m > 1 ? m - 1 : 1);
    }
}

static void norm_backward(const struct desc *op)
{
#define IN(name) struct tensor *name = in(op, DNN_ATTR_OPERATION_NORM_BWD_##name)
#define OUT(name) struct tensor *name = out(op, DNN_ATTR_OPERATION_NORM_BWD_##name)
    IN(XDESC); IN(DYDESC); IN(MEAN_DESC); IN(INV_VARIANCE_DESC); IN(SCALE_DESC);
    OUT(DXDESC); OUT(DSCALE_DESC); OUT(DBIAS_DESC);
#undef OUT
#undef IN
    const int64_t m = XDESC->size[0], n = XDESC->size[1];
    for (int64_t c = 0; c < n; c++) {
        const double mean = MEAN_DESC->v[c], rstd = INV_VARIANCE_DESC->v[c];
        double dscale = 0, dbias = 0;
        for (int64_t i = 0; i < m; i++) {
            dbias += DYDESC->v[i * n + c];
            dscale += DYDESC->v[i * n + c] * (XDESC->v[i * n + c] - mean) * rstd;
        }
        for (int64_t i = 0; i < m; i++)
            DXDESC->v[i * n + c] =
                SCALE_DESC->v[c] * rstd *
                (DYDESC->v[i * n + c] - dbias / (double)m -
                 (XDESC->v[i * n + c] - mean) * rstd * dscale / (double)m);
        DSCALE_DESC->v[c] = dscale;
        DBIAS_DESC->v[c] = dbias;
    }
}

/* ---- running a graph ---- */

static int run(const struct desc *op)
{
    struct tensor *x, *y;
    switch (op->kind) {
    case DNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        y = out(op, DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
        convolve(part(op, DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC),
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X),
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W), y, y);
        return OK;
    case DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        x = out(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX);
        convolve(part(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC), x,
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W),
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY), x);
        return OK;
    case DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        x = out(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
        convolve(part(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC),
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X), x,
                 in(op, DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY), x);
        return OK;
    case DNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: pointwise(op); return OK;
    case DNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR:
        pool(part(op, DNN_ATTR_OPERATION_RESAMPLE_FWD_DESC),
             in(op, DNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC),
             out(op, DNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC), 0);
        return OK;
    case DNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR:
        pool(part(op, DNN_ATTR_OPERATION_RESAMPLE_BWD_DESC),
             out(op, DNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC),
             in(op, DNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC), 1);
        return OK;
    case DNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR: norm_forward(op); return OK;
    case DNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR: norm_backward(op); return OK;
    default: return BAD;
    }
}

API(int) cudnnBackendExecute(dnn_handle h, dnn_descriptor plan, dnn_descriptor variant)
{
    const struct desc *config = part(plan, DNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                      *engine = part(config, DNN_ATTR_ENGINECFG_ENGINE),
                      *graph = part(engine, DNN_ATTR_ENGINE_OPERATION_GRAPH);
    int64_t n = 0;
    struct desc *const *op = find(graph, DNN_ATTR_OPERATIONGRAPH_OPS, &n);
    int bad = h != &handles || handles < 1 || !op ||
              !*(void *const *)find(variant, DNN_ATTR_VARIANT_PACK_WORKSPACE, NULL);
    pack = variant;
    nvalues = noutputs = 0;
    for (int64_t i = 0; i < n && !bad; i++) bad = run(op[i]);
    for (int i = 0; i < noutputs && !bad; i++) bad = store(output[i]);
    for (int i = 0; i < nvalues; i++) free(value[i].v);
    return bad ? BAD : OK;
}
