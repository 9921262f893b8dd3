/* cuDNN, opened at run time, and graphs of its operations; see cudnn.h. */
#include "kernels/nvidia/cudnn.h"
#include "kernels/nvidia/cudnn_calls.h"
#include "kernels/library.h"

#include <stdio.h>
#include <string.h>

struct hone_cudnn_calls hone_cudnn;

static const struct hone_symbol symbols[] = {
#define X(name, type, args) { "cudnn" #name, &hone_cudnn.name },
    HONE_CUDNN_CALLS(X)
#undef X
        { NULL, NULL },
};

static const struct hone_library library = { "cuDNN", { "libcudnn.so.9" }, { NULL }, symbols };

enum { OLDEST = 90000, DESCRIBES = 90800 };

/* cuDNN opens NVRTC for every engine that it is asked about, and closes it again: a list takes
 * ten times as long then.  One that is cut short would end the program there, too. */
static int keep_nvrtc(char why[HONE_LIBRARY_WHY])
{
    static const struct hone_symbol none[] = { { NULL, NULL } };
    static const struct hone_library nvrtc = {
        "NVRTC", { "libnvrtc.so.13", "libnvrtc.so.12" }, { NULL }, none
    };
    return hone_library_open(&nvrtc, why) && strstr(why, "cut short");
}

const char *hone_cudnn_absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    if (asked++) return why[0] ? why : NULL;
    if (hone_library_open(&library, why)) return why;
    if (keep_nvrtc(why)) return why;
    why[0] = 0;
    const size_t v = hone_cudnn.GetVersion();
    if (v < OLDEST)
        snprintf(why, sizeof why, "cuDNN is too old: %s, and 9.0 is needed", hone_cudnn_version());
    return why[0] ? why : NULL;
}

const char *hone_cudnn_version(void)
{
    static char text[32];
    const size_t v = hone_cudnn.GetVersion ? hone_cudnn.GetVersion() : 0;
    /* Before 9 the major number was in thousands. */
    if (v >= OLDEST)
        snprintf(text, sizeof text, "cuDNN %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    else
        snprintf(text, sizeof text, "cuDNN %zu.%zu.%zu", v / 1000, v / 100 % 10, v % 100);
    return v ? text : "cuDNN absent";
}

int hone_cudnn_fail(int status, const char *what)
{
    char more[160] = "";
    hone_cudnn.GetLastErrorString(more, sizeof more);
    more[strcspn(more, "\n")] = 0;
    return hone_fail(HONE_EDEVICE, "cuDNN: %s: %s%s%s", what, hone_cudnn.GetErrorString(status),
                     more[0] ? ": " : "", more);
}

void hone_cudnn_drop(dnn_descriptor d)
{
    if (d) hone_cudnn.BackendDestroyDescriptor(d);
}

int hone_cudnn_type(enum hone_dtype t)
{
    return t == HONE_BF16 ? DNN_DATA_BFLOAT16 : t == HONE_F16 ? DNN_DATA_HALF : DNN_DATA_FLOAT;
}

/* ---- graphs ---- */

dnn_descriptor hone_cudnn_part(struct hone_cudnn_graph *g, int kind)
{
    dnn_descriptor d = NULL;
    if (g->err) return NULL;
    if (g->nparts == HONE_CUDNN_PARTS) {
        g->err = hone_fail(HONE_EDEVICE, "cuDNN: more than %d parts", HONE_CUDNN_PARTS);
        return NULL;
    }
    int status = hone_cudnn.BackendCreateDescriptor(kind, &d);
    if (status) g->err = hone_cudnn_fail(status, "a descriptor");
    return g->part[g->nparts++] = d;
}

void hone_cudnn_set(struct hone_cudnn_graph *g, dnn_descriptor d, int attr, int type, int64_t n,
                    const void *values)
{
    if (g->err) return;
    int status = hone_cudnn.BackendSetAttribute(d, attr, type, n, values);
    if (!status) return;
    char what[32];
    snprintf(what, sizeof what, "attribute %d", attr);
    g->err = hone_cudnn_fail(status, what);
}

void hone_cudnn_set_part(struct hone_cudnn_graph *g, dnn_descriptor d, int attr,
                         dnn_descriptor part)
{
    hone_cudnn_set(g, d, attr, DNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

void hone_cudnn_finish(struct hone_cudnn_graph *g, dnn_descriptor d, const char *what)
{
    if (g->err) return;
    int status = hone_cudnn.BackendFinalize(d);
    if (status) g->err = hone_cudnn_fail(status, what);
}

void hone_cudnn_add_op(struct hone_cudnn_graph *g, dnn_descriptor op, const char *what)
{
    hone_cudnn_finish(g, op, what);
    if (!g->err && g->nops == HONE_CUDNN_OPS)
        g->err = hone_fail(HONE_EDEVICE, "cuDNN: more than %d operations", HONE_CUDNN_OPS);
    if (!g->err) g->op[g->nops++] = op;
}

/* by_value: the number lies on the host. */
static dnn_descriptor tensor(struct hone_cudnn_graph *g, int64_t id, int type,
                             const int64_t size[4], uint8_t by_value)
{
    dnn_descriptor d = hone_cudnn_part(g, DNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t nhwc[4] = { size[1] * size[2] * size[3], 1, size[3] * size[1], size[1] },
                  nchw[4] = { size[1] * size[2] * size[3], size[2] * size[3], size[3], 1 };
    const int64_t align = 16;
    const uint8_t is_virtual = id < 0;
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_DATA_TYPE, DNN_TYPE_DATA_TYPE, 1, &type);
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_DIMENSIONS, DNN_TYPE_INT64, 4, size);
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_STRIDES, DNN_TYPE_INT64, 4, g->nchw ? nchw : nhwc);
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_UNIQUE_ID, DNN_TYPE_INT64, 1, &id);
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_BYTE_ALIGNMENT, DNN_TYPE_INT64, 1, &align);
    hone_cudnn_set(g, d, DNN_ATTR_TENSOR_IS_VIRTUAL, DNN_TYPE_BOOLEAN, 1, &is_virtual);
    if (by_value) hone_cudnn_set(g, d, DNN_ATTR_TENSOR_IS_BY_VALUE, DNN_TYPE_BOOLEAN, 1, &by_value);
    hone_cudnn_finish(g, d, "a tensor");
    return d;
}

dnn_descriptor hone_cudnn_tensor(struct hone_cudnn_graph *g, int64_t id, int type,
                                 const int64_t size[4])
{
    return tensor(g, id, type, size, 0);
}

/* The id of one more tensor. */
static int64_t extra(struct hone_cudnn_graph *g, int arg, double value)
{
    if (!g->err && g->nextra == HONE_CUDNN_EXTRAS)
        g->err = hone_fail(HONE_EDEVICE, "cuDNN: more than %d further tensors", HONE_CUDNN_EXTRAS);
    if (g->err) return HONE_CUDNN_EXTRA;
    g->extra[g->nextra].arg = arg;
    g->extra[g->nextra].value = (float)value;
    return HONE_CUDNN_EXTRA + g->nextra++;
}

dnn_descriptor hone_cudnn_again(struct hone_cudnn_graph *g, int arg, int type,
                                const int64_t size[4])
{
    return tensor(g, extra(g, arg, 0), type, size, 0);
}

dnn_descriptor hone_cudnn_scalar(struct hone_cudnn_graph *g, double value)
{
    static const int64_t one[4] = { 1, 1, 1, 1 };
    return tensor(g, extra(g, -1, value), DNN_DATA_FLOAT, one, 1);
}

static void describe(struct hone_cudnn_graph *g, const char *json)
{
    if (!g->err && hone_cudnn.GetVersion() < DESCRIBES)
        g->err = hone_fail(HONE_EDEVICE, "%s is too old to take a GPU's description: 9.8 can",
                           hone_cudnn_version());
    dnn_descriptor d = hone_cudnn_part(g, DNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    hone_cudnn_set(g, d, DNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, DNN_TYPE_CHAR,
                   (int64_t)strlen(json) + 1, json);
    hone_cudnn_finish(g, d, "the GPU's description");
    g->device = d;
}

int hone_cudnn_graph_finish(struct hone_cudnn_graph *g, const struct hone_device *d)
{
    if (d->description) describe(g, d->description);
    g->graph = hone_cudnn_part(g, DNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (g->handle)
        hone_cudnn_set(g, g->graph, DNN_ATTR_OPERATIONGRAPH_HANDLE, DNN_TYPE_HANDLE, 1, &g->handle);
    hone_cudnn_set(g, g->graph, DNN_ATTR_OPERATIONGRAPH_OPS, DNN_TYPE_BACKEND_DESCRIPTOR, g->nops,
                   g->op);
    hone_cudnn_finish(g, g->graph, "the graph");
    return g->err;
}

void hone_cudnn_graph_close(struct hone_cudnn_graph *g)
{
    while (g->nparts) hone_cudnn_drop(g->part[--g->nparts]);
    memset(g, 0, sizeof *g);
}
