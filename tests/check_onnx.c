/* ONNX models, written here in the same wire format: what they compute comes out of the imported
 * net, and what lies, is cut off or is not known is refused in a sentence. */
#include "nets/onnx.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a writer ---- */

struct buf {
    uint8_t b[8192];
    size_t n;
};

static void varint(struct buf *to, uint64_t v)
{
    for (; v > 127; v >>= 7) to->b[to->n++] = (uint8_t)(v | 128);
    to->b[to->n++] = (uint8_t)v;
}

static void put_whole(struct buf *to, int field, int64_t v)
{
    varint(to, (uint64_t)field << 3);
    varint(to, (uint64_t)v);
}

static void put_bytes(struct buf *to, int field, const void *from, size_t n)
{
    varint(to, (uint64_t)field << 3 | 2);
    varint(to, n);
    memcpy(to->b + to->n, from, n);
    to->n += n;
}

static void put_text(struct buf *to, int field, const char *text)
{
    put_bytes(to, field, text, strlen(text));
}

/* An initializer of numbers 0.01 (i * 37 % 23) - 0.1. */
static float number(int i) { return (float)(0.01 * (i * 37 % 23) - 0.1); }

static void put_tensor(struct buf *graph, const char *name, int rank, const int64_t dim[], int lie)
{
    struct buf t = { .n = 0 };
    float v[512];
    int64_t len = 1;
    for (int i = 0; i < rank; i++) {
        put_whole(&t, 1, dim[i]);
        len *= dim[i];
    }
    put_whole(&t, 2, 1);
    put_text(&t, 8, name);
    for (int i = 0; i < len; i++) v[i] = number(i);
    put_bytes(&t, 9, v, (size_t)(len - lie) * sizeof *v);
    put_bytes(graph, 5, t.b, t.n);
}

/* inputs: names parted by blanks; attrs: name, then count, then numbers, ended by NULL. */
struct ints {
    const char *name;
    int n;
    int64_t v[4];
};

static void put_node(struct buf *graph, const char *op, const char *inputs, const char *output,
                     const struct ints attr[], int nattrs)
{
    struct buf n = { .n = 0 };
    char list[128];
    snprintf(list, sizeof list, "%s", inputs);
    for (char *s = strtok(list, " "); s; s = strtok(NULL, " ")) put_text(&n, 1, s);
    put_text(&n, 2, output);
    put_text(&n, 4, op);
    for (int i = 0; i < nattrs; i++) {
        struct buf a = { .n = 0 };
        put_text(&a, 1, attr[i].name);
        if (attr[i].n == 0) put_whole(&a, 3, attr[i].v[0]);
        for (int j = 0; j < attr[i].n; j++) put_whole(&a, 8, attr[i].v[j]);
        put_bytes(&n, 5, a.b, a.n);
    }
    put_bytes(graph, 1, n.b, n.n);
}

static void put_value(struct buf *graph, int field, const char *name, int rank, const int64_t dim[])
{
    struct buf shape = { .n = 0 }, tensor = { .n = 0 }, type = { .n = 0 }, value = { .n = 0 };
    for (int i = 0; i < rank; i++) {
        struct buf d = { .n = 0 };
        put_whole(&d, 1, dim[i]);
        put_bytes(&shape, 1, d.b, d.n);
    }
    put_whole(&tensor, 1, 1);
    put_bytes(&tensor, 2, shape.b, shape.n);
    put_bytes(&type, 1, tensor.b, tensor.n);
    put_text(&value, 1, name);
    put_bytes(&value, 2, type.b, type.n);
    put_bytes(graph, field, value.b, value.n);
}

static char dir[] = "hone-onnx-XXXXXX"; /* in the build folder */
static char path[64], weights[64];

static void put_model(const struct buf *graph, size_t cut)
{
    struct buf m = { .n = 0 };
    put_whole(&m, 1, 8);
    put_text(&m, 2, "check_onnx");
    put_bytes(&m, 7, graph->b, graph->n);
    FILE *f = fopen(path, "w");
    fwrite(m.b, 1, cut < m.n ? cut : m.n, f);
    fclose(f);
}

/* ---- nets ---- */

enum { C = 2, H = 5, W = 4, K = 3, OUT = 2 };

/* Conv 3x3 pad 1, relu, flatten, product with a transposed matrix, softmax. */
static struct buf picture_net(int64_t channels, int64_t outputs, int lie, const char *op)
{
    struct buf g = { .n = 0 };
    const struct ints pads = { "pads", 4, { 1, 1, 1, 1 } }, trans = { "transB", 0, { 1 } };
    put_node(&g, "Conv", "x w b", "c", &pads, 1);
    put_node(&g, op, "c", "r", NULL, 0);
    put_node(&g, "Flatten", "r", "f", NULL, 0);
    put_node(&g, "Gemm", "f v u", "y", &trans, 1);
    put_node(&g, "Softmax", "y", "p", NULL, 0);
    put_tensor(&g, "w", 4, (int64_t[]){ K, C, 3, 3 }, 0);
    put_tensor(&g, "b", 1, (int64_t[]){ K }, 0);
    put_tensor(&g, "v", 2, (int64_t[]){ OUT, K * H * W }, lie);
    put_tensor(&g, "u", 1, (int64_t[]){ OUT }, 0);
    put_value(&g, 11, "x", 4, (int64_t[]){ 1, channels, H, W });
    put_value(&g, 12, "p", 2, (int64_t[]){ 1, outputs });
    return g;
}

/* The same by the definition, in ONNX's order. */
static void expected(const double x[C][H][W], double y[OUT])
{
    double r[K * H * W];
    for (int k = 0; k < K; k++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++) {
                double sum = (double)number(k);
                for (int c = 0; c < C; c++)
                    for (int i = 0; i < 3; i++)
                        for (int j = 0; j < 3; j++) {
                            int p = h + i - 1, q = w + j - 1;
                            if (p < 0 || q < 0 || p >= H || q >= W) continue;
                            sum += x[c][p][q] * (double)number(((k * C + c) * 3 + i) * 3 + j);
                        }
                r[(k * H + h) * W + w] = sum > 0 ? sum : 0;
            }
    for (int o = 0; o < OUT; o++) {
        y[o] = (double)number(o);
        for (int i = 0; i < K * H * W; i++) y[o] += r[i] * (double)number(o * K * H * W + i);
    }
}

static int convert(char **text)
{
    struct hone_onnx m;
    *text = NULL;
    int err = hone_onnx_open(&m, path);
    if (err) return err;
    err = hone_onnx_convert(&m, NULL, weights, text);
    hone_onnx_close(&m);
    return err;
}

static void check_values(void)
{
    struct buf g = picture_net(C, OUT, 0, "Relu");
    struct hone_net net = { 0 };
    struct hone_device d;
    struct hone_lowering how = { .batch = 1, .optim = hone_optim_default(HONE_SGD) };
    char *text;
    double x[C][H][W], want[OUT], worst = 0;
    put_model(&g, SIZE_MAX);
    int err = convert(&text);
    ok(!err && strstr(text, "conv conv1 = input1 k=3 r=3 p=1 bias=1\n") &&
           strstr(text, "\nsoftmax_ce "),
       "a model becomes a text");
    if (err) printf("# %s\n", hone_errmsg());
    if (err || hone_device_open(&d, "cpu0")) return;
    err = hone_net_parse(&net, "my.net", text, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &d, NULL);
    if (!err) err = hone_weights_load(&net, weights);
    ok(!err, "that is a net, and takes the weights");
    float *in = err ? NULL : hone_net_mem(&net, net.input);
    for (int c = 0; in && c < C; c++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++)
                in[(h * W + w) * C + c] = (float)(x[c][h][w] = sin(c + 3 * h + 7 * w));
    if (in) err = hone_net_run(&net, 0, net.first_backward);
    expected(x, want);
    const float *got = in ? hone_net_mem(&net, net.output) : NULL;
    for (int o = 0; got && o < OUT; o++) worst = fmax(worst, fabs((double)got[o] - want[o]));
    ok(got && worst < 1e-5, "and computes what the model says: difference %g", worst);
    free(text);
    hone_net_close(&net);
    hone_device_close(&d);
}

/* ---- bad files ---- */

static void refused(const struct buf *g, const char *why)
{
    char *text;
    put_model(g, SIZE_MAX);
    int err = convert(&text);
    if (!ok(err && !text && strstr(hone_errmsg(), why), "refused: %s", why))
        printf("# %s\n", err ? hone_errmsg() : "taken");
    free(text);
}

static void check_bad(void)
{
    struct buf g = picture_net(C, OUT, 0, "Relu");
    char *text;
    int taken = 0;
    size_t end = g.n + 17; /* the fields before the graph */
    for (size_t n = 0; n < end; n += n + 40 < end ? 7 : 1) {
        put_model(&g, n);
        int err = convert(&text);
        taken += !err;
        free(text);
    }
    ok(!taken, "no model that is cut off is taken");
    unsigned seed = 1;
    for (int i = 0; i < 120; i++) {
        struct buf bad = g;
        seed = seed * 1103515245 + 12345;
        bad.b[seed / 65536 % bad.n] ^= (uint8_t)(1u << (seed >> 8) % 8);
        put_model(&bad, SIZE_MAX);
        convert(&text);
        free(text);
    }
    ok(1, "models with a wrong bit end in an answer");
    g = picture_net(C, OUT, 1, "Relu");
    refused(&g, "tensor 'v': its shape needs 480 bytes, and it has 476");
    g = picture_net(C + 1, OUT, 0, "Relu");
    refused(&g, "node 'c' (Conv): weights 'w' are for 2 channels in 1 groups, and its input has 3");
    g = picture_net(C, OUT + 1, 0, "Relu");
    refused(&g, "output 'p' is said to be 3 numbers, and is 2");
    g = picture_net(C, OUT, 0, "LSTM");
    refused(&g, "node 'r': no operator 'LSTM' here; there are Conv, Gemm");
    g = picture_net(C, OUT, 0, "Softmax");
    refused(&g, "in the middle of a net");
    g = picture_net(0, OUT, 0, "Relu");
    refused(&g, "input 'x': its size 2 is not a known number");
    g = (struct buf){ .n = 0 };
    refused(&g, "the graph has no output");
    FILE *f = fopen(path, "w");
    fputs("input x c=1\n", f);
    fclose(f);
    ok(convert(&text) && strstr(hone_errmsg(), "m.onnx: is cut off, damaged, or no ONNX file"),
       "a file of another kind");
}

int main(void)
{
    char rm[64];
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/m.onnx", dir);
    snprintf(weights, sizeof weights, "%s/w", dir);
    check_values();
    check_bad();
    snprintf(rm, sizeof rm, "rm -r %s", dir);
    ok(!system(rm), "nothing stays in the directory");
    return tap_end();
}
