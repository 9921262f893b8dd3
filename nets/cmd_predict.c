/* hone predict: what a trained net makes of rows: classes with probabilities, or numbers. */
#include "nets/data.h"
#include "nets/options.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct options {
    const char *device, *net, *weights, *db;
    struct hone_data_choice data;
    uint64_t seed;
    enum hone_dtype dtype;
    int batch, top, json, untuned;
    char **file;
    int nfiles;
};

/* ---- one row ---- */

struct printer {
    const struct options *o;
    struct hone_infer *f;
    const struct hone_data *d; /* class names where the weights have none */
    int outputs, classify, top;
    json_t *rows; /* NULL: print lines */
    double *p;    /* (outputs) */
    int *rank;    /* (outputs): classes, the most probable first */
};

static const char *class_name(const struct printer *w, int k, char text[HONE_NAME])
{
    const struct hone_data *named = w->f->about.class_name ? &w->f->about : w->d;
    int known = named->class_name && (named == w->d || k < named->classes);
    snprintf(text, HONE_NAME, "%d", k);
    return known ? named->class_name[k] : text;
}

static void softmax(const float *x, double *p, int n)
{
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++) most = fmax(most, (double)x[k]);
    for (int k = 0; k < n; k++) sum += p[k] = exp((double)x[k] - most);
    for (int k = 0; k < n; k++) p[k] /= sum;
}

/* The `top` most probable classes come first, equal ones in their order. */
static void rank_classes(struct printer *w)
{
    for (int k = 0; k < w->outputs; k++) w->rank[k] = k;
    for (int i = 0; i < w->top; i++) {
        int best = i;
        for (int k = i + 1; k < w->outputs; k++)
            if (w->p[w->rank[k]] > w->p[w->rank[best]]) best = k;
        int chosen = w->rank[best];
        memmove(w->rank + i + 1, w->rank + i, (size_t)(best - i) * sizeof *w->rank);
        w->rank[i] = chosen;
    }
}

static int is_png(const char *path)
{
    size_t len = strlen(path);
    return len > 4 && !strcasecmp(path + len - 4, ".png");
}

/* What names a row: its image, or its number from 1 on. */
static const char *row_name(const struct printer *w, int64_t row, char text[HONE_NAME])
{
    snprintf(text, HONE_NAME, "%lld", (long long)row + 1);
    return w->o->nfiles && is_png(w->o->file[0]) ? w->o->file[row] : text;
}

static void print_classes(struct printer *w, const char *name)
{
    char text[HONE_NAME];
    json_t *list = w->rows ? json_array() : NULL;
    rank_classes(w);
    if (!list) printf("%s", name);
    for (int i = 0; i < w->top; i++) {
        int k = w->rank[i];
        if (list)
            json_array_append_new(list, json_pack("{s:i, s:s, s:f}", "class", k, "name",
                                                  class_name(w, k, text), "probability", w->p[k]));
        else
            printf("\t%s\t%.4f", class_name(w, k, text), w->p[k]);
    }
    if (list)
        json_array_append_new(w->rows, json_pack("{s:s, s:o}", "row", name, "classes", list));
    else
        putchar('\n');
}

static void print_values(struct printer *w, const char *name, const float *y)
{
    json_t *list = w->rows ? json_array() : NULL;
    if (!list) printf("%s", name);
    for (int k = 0; k < w->outputs; k++) {
        if (list)
            json_array_append_new(list, isfinite(y[k]) ? json_real((double)y[k]) : json_null());
        else
            printf("\t%.6g", (double)y[k]);
    }
    if (list)
        json_array_append_new(w->rows, json_pack("{s:s, s:o}", "row", name, "values", list));
    else
        putchar('\n');
}

static int print_batch(void *ctx, int64_t first, int n, double seconds)
{
    struct printer *w = ctx;
    char text[HONE_NAME];
    (void)seconds;
    for (int i = 0; i < n; i++) {
        const float *y = w->f->output + (int64_t)i * w->outputs;
        const char *name = row_name(w, first + i, text);
        if (w->classify) {
            softmax(y, w->p, w->outputs);
            print_classes(w, name);
        } else {
            print_values(w, name, y);
        }
    }
    return HONE_OK;
}

static int predict(const struct options *o, struct hone_infer *f, const struct hone_data *d)
{
    struct printer w = { .o = o,
                         .f = f,
                         .d = d,
                         .outputs = (int)f->net.tensor[f->net.output].dim[1],
                         .classify = f->net.task == HONE_CLASSIFY,
                         .rows = o->json ? json_array() : NULL };
    w.top = o->top < w.outputs ? o->top : w.outputs;
    w.p = malloc((size_t)w.outputs * sizeof *w.p);
    w.rank = malloc((size_t)w.outputs * sizeof *w.rank);
    int err = w.p && w.rank ? HONE_OK : hone_fail(HONE_ENOMEM, "%d outputs", w.outputs);
    if (!err) err = hone_infer_rows(f, d, print_batch, &w);
    if (w.rows) {
        json_dumpf(w.rows, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(w.rows);
    free(w.p);
    free(w.rank);
    return err;
}

/* ---- where rows come from ---- */

static int read_rows(const struct options *o, struct hone_data *other, struct hone_data *d)
{
    if (!o->nfiles) return hone_data_choose(other, d, &o->data, o->seed);
    if (is_png(o->file[0])) return hone_png_read_files(d, o->file, o->nfiles);
    if (o->data.target) return hone_data_open(d, other, o->file[0], o->data.target);
    return hone_csv_read_features(d, o->file[0]);
}

/* The columns of a CSV file may be a picture's numbers, in the order (h, w, c). */
static void shape_rows(const struct hone_net *net, struct hone_data *d)
{
    const struct hone_tensor *x = &net->tensor[net->input];
    if (x->rank != 4 || d->h != 1 || d->w != 1 || d->c != x->dim[1] * x->dim[2] * x->dim[3]) return;
    free(d->feature);
    d->feature = NULL;
    d->h = (int)x->dim[1];
    d->w = (int)x->dim[2];
    d->c = (int)x->dim[3];
}

static int run(const struct options *o)
{
    struct hone_device device = { 0 };
    struct hone_db db = { 0 };
    struct hone_infer f = { 0 };
    struct hone_data other = { 0 }, d = { 0 };
    int err = hone_device_open(&device, o->device);
    if (!err && !o->untuned) err = hone_db_open(&db, o->db, 0);
    if (!err) err = read_rows(o, &other, &d);
    int batch = d.rows && d.rows < o->batch ? (int)d.rows : o->batch;
    const struct hone_lowering how = { .batch = batch, .dtype = o->dtype };
    if (!err) err = hone_infer_open(&f, o->net, o->weights, &how, &db, &device);
    if (!err) shape_rows(&f.net, &d);
    if (!err) err = hone_infer_prepare(&f, &d, 0);
    hone_catch_interrupt();
    if (!err) err = predict(o, &f, &d);
    hone_infer_close(&f);
    hone_data_close(&other);
    hone_data_close(&d);
    hone_db_close(&db);
    hone_device_close(&device);
    return err;
}

/* ---- options ---- */

enum { SPLIT = 256, DB, UNTUNED, DTYPE, TARGET, TOP };

static const struct argp_option argp_options[] = {
    { "net", 'n', "NET", 0, "name or file of a net, see `hone net`", 0 },
    { "weights", 'w', "FILE", 0, "from hone train's --save, --best or --checkpoint", 0 },
    { "data", 'D', "DATA", 0, "test rows of a data set, see `hone data`", 0 },
    { "top", TOP, "K", 0, "the K most probable classes (default 1)", 0 },
    { "batch", 'b', "B", 0, "rows per step (default 64)", 0 },
    { "device", 'd', "D", 0, "where to run (default cpu0)", 0 },
    { "split", SPLIT, "SHARE", 0, "of --data, as in training, with the same --seed", 0 },
    { "seed", 's', "S", 0, "of the split (default 1)", 0 },
    { "target", TARGET, "COL", 0, "column of the CSV file that is a target, and not a feature", 0 },
    { "dtype", DTYPE, "TYPE", 0,
      "numbers of the net: f32, tf32 (f32, but a GPU's products may round to 11 bits), f64, or "
      "bf16 or f16 with f32 weights (default f32)", 0 },
    { "db", DB, "FILE", 0, "database of plans (default $HONE_DB, else the user's)", 0 },
    { "untuned", UNTUNED, NULL, 0, "default kernels, whatever the database knows", 0 },
    { "json", 'j', NULL, 0, "print JSON", 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static void complete(struct options *o, struct argp_state *state)
{
    if (!o->net || !o->weights) argp_error(state, "--net and --weights are needed");
    if (!o->data.data == !o->nfiles)
        argp_error(state, "expected either --data, or one CSV file, or PNG images");
    for (int i = 1; i < o->nfiles; i++)
        if (!is_png(o->file[i]) || !is_png(o->file[0]))
            argp_error(state, "'%s': expected one CSV file, or PNG images", o->file[i]);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'n': o->net = arg; return 0;
    case 'w': o->weights = arg; return 0;
    case 'D': o->data.data = arg; return 0;
    case 'd': o->device = arg; return 0;
    case 'b': o->batch = (int)hone_option_whole(state, "batch", arg, 1, 1 << 24); return 0;
    case 's': o->seed = (uint64_t)hone_option_whole(state, "seed", arg, 0, INT64_MAX); return 0;
    case TOP: o->top = (int)hone_option_whole(state, "top", arg, 1, 1 << 24); return 0;
    case SPLIT: o->data.split = hone_option_real(state, "split", arg, 0, 1, 1); return 0;
    case TARGET: o->data.target = arg; return 0;
    case DB: o->db = arg; return 0;
    case DTYPE:
        if (hone_net_dtype_find(arg, &o->dtype)) argp_error(state, "--dtype: %s", hone_errmsg());
        return 0;
    case UNTUNED: o->untuned = 1; return 0;
    case 'j': o->json = 1; return 0;
    case ARGP_KEY_ARGS:
        o->file = state->argv + state->next;
        o->nfiles = state->argc - state->next;
        return 0;
    case ARGP_KEY_END: complete(o, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char about[] =
    "Runs a trained net on rows.  A line for each: its number or file, the class and its "
    "probability, or the values; tabs between."
    "\v"
    "FILE is a CSV file whose columns are the features, or a picture's numbers in the order "
    "(h, w, c), or PNG images.  Features are normalised "
    "as the weights say that they were in training.\n\n"
    "Examples:\n"
    "  hone predict --net lenet5 --weights lenet5.safetensors --data mnist --top 3\n"
    "  hone predict --net my.net --weights my.safetensors rows.csv\n"
    "  hone predict --net cifar.net --weights best.safetensors cat.png dog.png --json\n\n"
    "Exit status: 0 good, 1 failure, 2 wrong usage.";

int hone_cmd_predict(int argc, char **argv)
{
    static const struct argp argp = { argp_options, parse, "[FILE...]", about, NULL, NULL, NULL };
    struct options o = { .device = "cpu0", .batch = 64, .seed = 1, .top = 1, .data = { .raw = 1 } };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    int err = run(&o);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    return err ? 1 : 0;
}
