/* hone import: an ONNX model as a net's text and its weights. */
#include "nets/onnx.h"
#include "nets/safetensors.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *model, *output, *loss;
    char weights[600];
};

static int write_text(const char *path, const char *text)
{
    struct hone_replacement r;
    int err = hone_replacement_open(&r, path);
    if (!err) err = hone_replacement_write(&r, text, strlen(text));
    int closed = hone_replacement_close(&r, !err);
    return err ? err : closed;
}

static int import(const struct options *o)
{
    struct hone_onnx m;
    char *text = NULL;
    int err = hone_onnx_open(&m, o->model);
    if (err) return err;
    err = hone_onnx_convert(&m, o->loss, o->weights, &text);
    if (!err) err = write_text(o->output, text);
    if (!err) printf("%s\n%s\n", o->output, o->weights);
    if (!err)
        fprintf(stderr, "features are taken as they are: give the net what it was trained on\n");
    free(text);
    hone_onnx_close(&m);
    return err;
}

static const struct argp_option argp_options[] = {
    { "output", 'o', "FILE.net", 0, "the net's text; weights go to FILE.safetensors", 0 },
    { "loss", 'l', "LOSS", 0,
      "softmax_ce (default where there are several outputs, or a softmax at the end), mse or mae",
      0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static void complete(struct options *o, struct argp_state *state)
{
    if (!o->model) argp_error(state, "expected an ONNX file");
    if (!o->output) argp_error(state, "expected -o FILE.net");
    size_t len = strlen(o->output);
    if (len < 5 || len > 500 || strcmp(o->output + len - 4, ".net"))
        argp_error(state, "-o %s: expected a name that ends in .net", o->output);
    snprintf(o->weights, sizeof o->weights, "%.*s.safetensors", (int)(len - 4), o->output);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'o': o->output = arg; return 0;
    case 'l': o->loss = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->model) argp_error(state, "one model at a time, please: '%s'", arg);
        o->model = arg;
        return 0;
    case ARGP_KEY_END: complete(o, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Reads an ONNX model, and writes it as a net with its weights."
    "\v"
    "Operators: Conv, Gemm, MatMul, Add, Concat, BatchNormalization, MaxPool, AveragePool, "
    "GlobalAveragePool, Relu, LeakyRelu, Sigmoid, Tanh, Gelu, Clip, Flatten, Reshape and Squeeze "
    "to features, Dropout, Identity, and Softmax at the end.  Pictures become (h, w, c), and "
    "weights with them.\n\n"
    "Examples:\n"
    "  hone import model.onnx -o my.net\n"
    "  hone evaluate --net my.net --weights my.safetensors --data mnist\n"
    "  hone train --net ./my.net --weights my.safetensors --data mnist --lr 1e-4\n\n"
    "Exit status: 0 good, 1 a model that cannot be taken, 2 wrong usage.";

int hone_cmd_import(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, "MODEL.onnx", about, NULL, NULL, NULL };
    struct options o = { 0 };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = import(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
