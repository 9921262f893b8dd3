/* A point of a sweep: run by another hone, remembered in a file of its own. */
#include "results/output.h"
#include "results/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGS = HONE_SWEEP_OPTIONS + 16 };

/* ---- keys ---- */

/* 64 bits of a text, by FNV-1a's rule. */
static uint64_t hash(uint64_t h, const char *text)
{
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* The order of options makes no difference. */
static void key_of(const struct hone_sweep *s, const json_t *options, char key[17])
{
    char *text = json_dumps(options, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t h = hash(hash(14695981039346656037u, text ? text : ""), s->tune ? "tuned" : "");
    snprintf(key, 17, "%016" PRIx64, h);
    free(text);
}

static json_t *with_until(const json_t *options, int until)
{
    char text[32];
    json_t *copy = json_copy((json_t *)options);
    snprintf(text, sizeof text, "%d", until);
    if (until) json_object_set_new(copy, "--until", json_string(text));
    return copy;
}

static void record_path(const struct hone_sweep *s, const json_t *options, char *path, size_t size)
{
    char key[17];
    key_of(s, options, key);
    hone_sweep_path(s, path, size, "points/%s.json", key);
}

/* All rungs of a point share it. */
static void checkpoint_path(const struct hone_sweep *s, const struct hone_sweep_point *p,
                            char *path, size_t size)
{
    char key[17];
    key_of(s, p->options, key);
    hone_sweep_path(s, path, size, "checkpoints/%s.ckpt", key);
}

void hone_sweep_forget(const struct hone_sweep *s, const struct hone_sweep_point *p)
{
    char path[PATH_MAX];
    checkpoint_path(s, p, path, sizeof path);
    unlink(path);
}

/* ---- records ---- */

/* NULL where there is none that counts: none, a damaged one, or one of a failure that is to be
 * tried again. */
static json_t *load(const struct hone_sweep *s, const json_t *options)
{
    char path[PATH_MAX];
    record_path(s, options, path, sizeof path);
    json_t *record = json_load_file(path, 0, NULL);
    const char *status = json_string_value(json_object_get(record, "status"));
    int good = status && json_equal(json_object_get(record, "options"), options) &&
               (!strcmp(status, "done") || (!s->retry && !strcmp(status, "failed")));
    if (good) return record;
    json_decref(record);
    return NULL;
}

static int store(const struct hone_sweep *s, const json_t *options, const json_t *record)
{
    char path[PATH_MAX], *text = json_dumps(record, JSON_INDENT(2));
    record_path(s, options, path, sizeof path);
    int err = text ? hone_output_write(path, text, strlen(text))
                   : hone_fail(HONE_ENOMEM, "the record of a run");
    free(text);
    return err;
}

int hone_sweep_has(const struct hone_sweep *s, const struct hone_sweep_point *p, int until)
{
    json_t *options = with_until(p->options, until), *record = load(s, options);
    int there = record != NULL;
    json_decref(options);
    json_decref(record);
    return there;
}

/* ---- command lines ---- */

static int is_plain(const char *text)
{
    return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789-_=+,./:@%")];
}

/* As a shell reads it. */
static void quote(FILE *f, const char *text)
{
    if (is_plain(text)) {
        fputs(text, f);
        return;
    }
    putc('\'', f);
    for (; *text; text++) fputs(*text == '\'' ? "'\\''" : (char[]){ *text, 0 }, f);
    putc('\'', f);
}

char *hone_sweep_command(const json_t *options)
{
    char *text = NULL;
    size_t size;
    const char *key;
    json_t *value;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    fputs("hone train", f);
    json_object_foreach((json_t *)options, key, value)
    {
        fprintf(f, " %s", key);
        if (json_is_string(value)) putc(' ', f);
        if (json_is_string(value)) quote(f, json_string_value(value));
    }
    fclose(f);
    return text;
}

/* Arguments "--batch=250", each of its own memory, NULL at the end. */
static int add_argument(char **argv, int n, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t size = strlen(key) + (text ? strlen(text) : 0) + 2;
    if (!(argv[n] = malloc(size))) return n;
    snprintf(argv[n], size, text ? "%s=%s" : "%s", key, text);
    return n + 1;
}

static void free_arguments(char **argv)
{
    for (; *argv; argv++) free(*argv);
}

static int arguments(const json_t *options, const char *checkpoint, char *argv[MAX_ARGS])
{
    const char *key;
    json_t *value, *path = json_string(checkpoint);
    int n = 0;
    memset(argv, 0, MAX_ARGS * sizeof *argv);
    n = add_argument(argv, n, "hone", NULL);
    n = add_argument(argv, n, "train", NULL);
    n = add_argument(argv, n, "--json", NULL);
    n = add_argument(argv, n, "--resume", NULL);
    n = add_argument(argv, n, "--checkpoint", path);
    json_object_foreach((json_t *)options, key, value) n = add_argument(argv, n, key, value);
    json_decref(path);
    return n == 5 + (int)json_object_size(options) ? HONE_OK
                                                   : hone_fail(HONE_ENOMEM, "a command line");
}

/* ---- a run ---- */

/* What the line of progress needs while a run lasts. */
struct watch {
    struct hone_sweep *sweep;
    const char *what;
    double epochs; /* of this run */
};

/* How far the run is, the epochs before it tell by their time. */
static void waiting(void *ctx, double seconds)
{
    const struct watch *w = ctx;
    const struct hone_sweep *s = w->sweep;
    double each = s->done > 0 ? (hone_now() - seconds - s->started) / s->done : 0;
    double done = each > 0 ? seconds / each : 0;
    hone_progress(w->what, s->done + (done < 0.95 * w->epochs ? done : 0.95 * w->epochs), s->work,
                  s->started);
}

/* The matrix of a hundred classes is longer than all else. */
static json_t *read_result(const char *path)
{
    json_t *result = json_load_file(path, 0, NULL);
    json_t *metrics = json_object_get(result, "metrics");
    json_object_del(metrics, "confusion");
    json_object_del(metrics, "classes");
    return result;
}

/* One try; *record NULL where it does not count. */
static int attempt(struct hone_sweep *s, const json_t *options, const char *checkpoint,
                   struct watch *w, json_t **record)
{
    char out[PATH_MAX], err_path[PATH_MAX], reason[HONE_TEXT], *argv[MAX_ARGS];
    struct hone_child child = { 0 };
    *record = NULL;
    hone_sweep_path(s, out, sizeof out, "points/run.out");
    hone_sweep_path(s, err_path, sizeof err_path, "points/run.err");
    int err = arguments(options, checkpoint, argv);
    if (!err) err = hone_child_run(argv, out, err_path, &child, waiting, w);
    free_arguments(argv);
    if (!err) {
        json_t *result = read_result(out);
        int failed = child.status || !result;
        char *command = hone_sweep_command(options);
        hone_child_reason(&child, err_path, reason);
        *record = json_pack("{s:O, s:s, s:s, s:o, s:f, s:I, s:o}", "options", options, "command",
                            command ? command : "", "status", failed ? "failed" : "done", "reason",
                            failed ? json_string(reason) : json_null(), "wall_seconds",
                            child.seconds, "peak_bytes", (json_int_t)child.peak_bytes, "result",
                            result ? result : json_null());
        free(command);
        if (!*record) err = hone_fail(HONE_ENOMEM, "the record of a run");
    }
    unlink(out);
    unlink(err_path);
    return err;
}

static int is_failure(const json_t *record)
{
    const char *status = json_string_value(json_object_get(record, "status"));
    return !status || strcmp(status, "done");
}

int hone_sweep_run(struct hone_sweep *s, struct hone_sweep_point *p, int until, int keep,
                   const char *what)
{
    char checkpoint[PATH_MAX];
    const char *text = json_string_value(json_object_get(p->options, "--epochs"));
    json_t *options = with_until(p->options, until), *record = load(s, options);
    double before =
        (double)json_array_size(json_object_get(json_object_get(p->record, "result"), "epochs"));
    struct watch w = { s, what, (until ? until : text ? atof(text) : 10) - before };
    int err = HONE_OK;
    checkpoint_path(s, p, checkpoint, sizeof checkpoint);
    if (record) {
        s->nkept++;
        /* A search counts what is there as work; it is none. */
        if (until || before > 0) s->work -= w.epochs;
    } else {
        int was_there = !access(checkpoint, F_OK);
        err = attempt(s, options, checkpoint, &w, &record);
        /* A checkpoint of another program may be the cause: once more, from the start. */
        if (!err && is_failure(record) && was_there && !unlink(checkpoint)) {
            json_decref(record);
            err = attempt(s, options, checkpoint, &w, &record);
        }
        if (!err) err = store(s, options, record);
        s->done += w.epochs;
        s->nrun++;
    }
    if (!err && (!keep || is_failure(record))) hone_sweep_forget(s, p);
    json_decref(options);
    if (err) {
        json_decref(record);
        return err;
    }
    json_decref(p->record);
    p->record = record;
    return HONE_OK;
}

/* ---- tuning before ---- */

static const char *option_of(const struct hone_sweep_point *p, const char *key, const char *dflt)
{
    const char *text = json_string_value(json_object_get(p->options, key));
    return text ? text : dflt;
}

/* hone autotune's name of the optimizer: "sgd+momentum+wd". */
static void optimizer_of(const struct hone_sweep_point *p, char text[HONE_TEXT])
{
    snprintf(text, HONE_TEXT, "%s%s%s%s%s", option_of(p, "--optimizer", "adam"),
             atof(option_of(p, "--momentum", "0")) > 0 ? "+momentum" : "",
             json_object_get(p->options, "--nesterov") ? "+nesterov" : "",
             atof(option_of(p, "--weight-decay", "0")) > 0 ? "+wd" : "",
             json_object_get(p->options, "--clip") ? "+clip" : "");
}

static void not_waiting(void *ctx, double seconds)
{
    const struct watch *w = ctx;
    double budget = w->epochs;
    hone_progress(w->what, seconds < budget ? seconds : budget, budget, hone_now() - seconds);
}

int hone_sweep_tune(struct hone_sweep *s, const struct hone_sweep_point *p)
{
    char optimizer[HONE_TEXT], what[HONE_TEXT], key[17], reason[HONE_TEXT];
    char mark[PATH_MAX], out[PATH_MAX], err_path[PATH_MAX];
    const char *act = option_of(p, "--activation", NULL), *batch = option_of(p, "--batch", "64");
    char net[HONE_TEXT];
    snprintf(net, sizeof net, "%s", option_of(p, "--net", "lenet5"));
    if (act)   /* a parameter of every net */
        snprintf(net + strlen(net), sizeof net - strlen(net), "%sactivation=%s",
                 strchr(net, ':') ? "," : ":", act);
    const char *device = option_of(p, "--device", "cpu0"), *db = option_of(p, "--db", NULL);
    struct hone_child child = { 0 };
    optimizer_of(p, optimizer);
    json_t *task =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s*}", "--device", device, "--net", net,
                  "--batch", batch, "--dtype", option_of(p, "--dtype", "f32"), "--optimizer",
                  optimizer, "--budget", s->tune, "--db", db);
    if (!task) return hone_fail(HONE_ENOMEM, "a command line");
    key_of(s, task, key);
    hone_sweep_path(s, mark, sizeof mark, "tuned/%s.json", key);
    hone_sweep_path(s, out, sizeof out, "tuned/run.out");
    hone_sweep_path(s, err_path, sizeof err_path, "tuned/run.err");
    int err = HONE_OK;
    if (access(mark, F_OK)) {
        char *argv[MAX_ARGS] = { NULL };
        const char *name;
        json_t *value;
        struct watch w = { s, what, atof(s->tune) };
        int n = add_argument(argv, 0, "hone", NULL);
        n = add_argument(argv, n, "autotune", NULL);
        json_object_foreach(task, name, value) n = add_argument(argv, n, name, value);
        snprintf(what, sizeof what, "tuning %.60s, batch %.20s, %.40s", net, batch, optimizer);
        err = hone_child_run(argv, out, err_path, &child, not_waiting, &w);
        free_arguments(argv);
        hone_progress_end();
        hone_child_reason(&child, err_path, reason);
        char *text = json_dumps(task, JSON_INDENT(2));
        if (!err && child.status)
            fprintf(stderr, "%s: not tuned: %s\n", what, reason);
        else if (!err && text)
            err = hone_output_write(mark, text, strlen(text));
        if (!err && !child.status) fprintf(stderr, "%s: %.1f s\n", what, child.seconds);
        free(text);
        unlink(out);
        unlink(err_path);
    }
    json_decref(task);
    return err;
}
