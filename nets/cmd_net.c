/* hone net: the layer table of a net, or the list of nets. */
#include "nets/lower.h"

#include <argp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROBLEMS = 4096 };

struct options {
    const char *net, *problems;   /* problems: of ops whose name begins so; NULL: not asked for */
    int batch, json;
    enum hone_dtype dtype;
    const char *dtype_name;       /* as the user wrote it */
};

static int dump(json_t *root)
{
    int err = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
    json_decref(root);
    putchar('\n');
    return err ? hone_fail(HONE_ENOMEM, "cannot write JSON") : HONE_OK;
}

static int show(const struct options *o)
{
    struct hone_net net;
    struct hone_lowering how = { .batch = o->batch,
                                 .train = 1,
                                 .dtype = o->dtype,
                                 .optim = hone_optim_default(HONE_SGD) };
    int err = hone_net_open(&net, o->net, &how);
    if (err) return err;
    if (o->json)
        err = hone_net_json(&net, stdout);
    else
        hone_net_print(&net, stdout);
    hone_net_close(&net);
    return err;
}

/* ---- problems ---- */

static int by_text(const void *a, const void *b)
{
    char x[HONE_TEXT], y[HONE_TEXT];
    hone_problem_print(a, x);
    hone_problem_print(b, y);
    return strcmp(x, y);
}

/* The problems of one net's training step after the n that are there; how many these are then. */
static int add_problems(const struct options *o, const char *net, struct hone_problem p[], int n)
{
    int more = hone_net_problems_of(net, o->batch, o->dtype_name, "sgd", NULL, p + n,
                                    NULL, MAX_PROBLEMS - n);
    return more < 0 ? more : n + more;
}

/* Of the net, or of all nets that are built in: each problem once, one a line. */
static int list_problems(const struct options *o)
{
    struct hone_problem *p = calloc(MAX_PROBLEMS, sizeof *p);
    char text[HONE_TEXT];
    int n = 0;
    if (!p) return hone_fail(HONE_ENOMEM, "%d problems", MAX_PROBLEMS);
    if (o->net) n = add_problems(o, o->net, p, 0);
    for (const struct hone_net_text *t = hone_net_texts; !o->net && n >= 0 && t->name; t++)
        n = add_problems(o, t->name, p, n);
    if (n > 0) qsort(p, (size_t)n, sizeof *p, by_text);
    for (int i = 0; i < n; i++) {
        if (strncmp(p[i].op->name, o->problems, strlen(o->problems))) continue;
        if (i && hone_problem_equal(&p[i], &p[i - 1])) continue;
        hone_problem_print(&p[i], text);
        puts(text);
    }
    free(p);
    return n < 0 ? n : HONE_OK;
}

static int list(const struct options *o)
{
    json_t *names = json_array();
    for (const struct hone_net_text *t = hone_net_texts; t->name; t++) {
        if (o->json)
            json_array_append_new(names, json_string(t->name));
        else
            puts(t->name);
    }
    if (o->json) return dump(names);
    json_decref(names);
    return HONE_OK;
}

enum { DTYPE = 256 };

static const struct argp_option argp_options[] = {
    { "batch", 'b', "B", 0,
      "samples per step, for the problems that --json and --problems list (default 64)", 0 },
    { "problems", 'p', "OP", OPTION_ARG_OPTIONAL,
      "the problems of a training step, one a line, of ops whose name begins with OP; of all nets "
      "where none is named", 0 },
    { "dtype", DTYPE, "TYPE", 0,
      "numbers of those problems: f32, tf32, f64, bf16 or f16 (default f32)", 0 },
    { "json", 'j', NULL, 0, "print JSON: layers and the steps of training", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    char *end;
    long v;
    switch (key) {
    case 'b':
        v = strtol(arg, &end, 10);
        if (*end || v < 1 || v > 1 << 24)
            argp_error(state, "--batch %s: expected a whole number from 1 on", arg);
        o->batch = (int)v;
        return 0;
    case 'j': o->json = 1; return 0;
    case DTYPE:
        if (hone_net_dtype_find(arg, &o->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        o->dtype_name = arg;
        return 0;
    case 'p': o->problems = arg ? arg : ""; return 0;
    case ARGP_KEY_ARG:
        if (o->net) argp_error(state, "one net at a time, please: '%s'", arg);
        o->net = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Shows a net's layers: output shapes, parameters and multiply-accumulates of one sample "
    "forward."
    "\v"
    "NET is a name, or a file: one whose name holds a '/' or ends in .net.  Without it, the names "
    "are listed.  Parameters of its text follow a colon.\n\n"
    "Examples:\n"
    "  hone net                       which nets are built in\n"
    "  hone net lenet5                its layers\n"
    "  hone net resnet56:n=3,width=8  a smaller one: ResNet-20 at half width\n"
    "  hone net my.net --json         a net of your own; nets/README.md explains the text\n"
    "  hone net --batch 128 --problems=conv   all convolutions of all nets, for hone bench\n\n"
    "Exit status: 0 good, 1 a bad net, 2 wrong usage.";

int hone_cmd_net(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, "[NET]", about, NULL, NULL, NULL };
    struct options o = { .batch = 64, .dtype_name = "f32" };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = o.problems ? list_problems(&o) : o.net ? show(&o) : list(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
