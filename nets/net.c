/* Nets by name or file, their problems, and their layer table. */
#include "nets/lower.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20 };

/* ---- open and close ---- */

static int is_path(const char *name)
{
    size_t len = strlen(name);
    return strchr(name, '/') || (len > 4 && !strcmp(name + len - 4, ".net"));
}

static int read_file(const char *path, char **text)
{
    FILE *f = fopen(path, "r");
    if (!f) return hone_fail(HONE_EIO, "%s: %s", path, strerror(errno));
    char *buf = malloc(MAX_TEXT + 1);
    size_t n = buf ? fread(buf, 1, MAX_TEXT + 1, f) : 0;
    int err = HONE_OK;
    if (!buf)
        err = hone_fail(HONE_ENOMEM, "%s", path);
    else if (ferror(f))
        err = hone_fail(HONE_EIO, "%s: %s", path, strerror(errno));
    else if (n > MAX_TEXT)
        err = hone_fail(HONE_EPARSE, "%s: more than %d bytes; that is no net", path, MAX_TEXT);
    else if (memchr(buf, 0, n))
        err = hone_fail(HONE_EPARSE, "%s: holds a byte 0; that is no text", path);
    fclose(f);
    if (err) {
        free(buf);
        return err;
    }
    buf[n] = 0;
    *text = buf;
    return HONE_OK;
}

/* A net's name or path without parameters. */
static int open_named(struct hone_net *net, const char *name, const struct hone_lowering *how)
{
    char list[HONE_TEXT] = "", *text = NULL;
    if (is_path(name)) {
        int err = read_file(name, &text);
        if (!err) err = hone_net_parse(net, name, text, how);
        free(text);
        return err;
    }
    for (const struct hone_net_text *t = hone_net_texts; t->name; t++) {
        size_t len = strlen(list);
        if (!strcmp(t->name, name)) {
            snprintf(list, sizeof list, "%s.net", name);
            return hone_net_parse(net, list, t->text, how);
        }
        snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", t->name);
    }
    return hone_fail(HONE_EINVAL, "no net '%s'; there are %s, and any file whose name ends in .net",
                     name, list);
}

/* Every net has the parameter "activation", which stands in no text: it moves from the list, which
 * is "n=3,activation=relu", to how. */
static int take_activation(char *list, struct hone_lowering *how)
{
    static const char key[] = "activation=";
    char *at = list;
    while (at && strncmp(at, key, sizeof key - 1)) {
        at = strchr(at, ',');
        if (at) at++;
    }
    how->set = list;
    if (!at) return HONE_OK;
    if (how->activation)
        return hone_fail(HONE_EINVAL, "the activation is given twice: '%s' and '%s'",
                         how->activation, at + sizeof key - 1);
    char *end = strchr(at, ',');
    if (end && strstr(end, key))
        return hone_fail(HONE_EINVAL, "the activation is given twice: '%s'", at);
    how->activation = at + sizeof key - 1;
    if (end) {
        /* The rest of the list in front, and behind it the name. */
        char name[HONE_NAME];
        snprintf(name, sizeof name, "%.*s", (int)(end - how->activation), how->activation);
        memmove(at, end + 1, strlen(end));
        size_t len = strlen(list);
        strcpy(list + len + 1, name);
        how->activation = list + len + 1;
    } else if (at > list) {
        at[-1] = 0;
    } else {
        how->set = NULL;
    }
    return HONE_OK;
}

int hone_net_open(struct hone_net *net, const char *name, const struct hone_lowering *how)
{
    char base[1024], list[HONE_TEXT + HONE_NAME];
    size_t len = strlen(name);
    const char *colon = strrchr(name, ':');
    struct hone_lowering with = *how;
    memset(net, 0, sizeof *net);
    /* A path may hold colons: parameters end its ".net", or there is none. */
    if (!colon || (len > 4 && !strcmp(name + len - 4, ".net"))) return open_named(net, name, how);
    if (!strchr(colon, '='))
        return hone_fail(HONE_EINVAL, "net '%s': expected NAME:PARAMETER=VALUE,...", name);
    if ((size_t)(colon - name) >= sizeof base)
        return hone_fail(HONE_EINVAL, "a net's name of more than %zu letters", sizeof base - 1);
    snprintf(base, sizeof base, "%.*s", (int)(colon - name), name);
    if (strlen(colon) > HONE_TEXT)
        return hone_fail(HONE_EINVAL, "'%.40s...': parameters of more than %d letters", colon,
                         HONE_TEXT);
    snprintf(list, sizeof list, "%s", colon + 1);
    int err = take_activation(list, &with);
    return err ? err : open_named(net, base, &with);
}

void hone_net_close(struct hone_net *net)
{
    hone_net_forget_graph(net);
    for (int i = 0; i < net->nsteps; i++) hone_plan_close(&net->step[i].plan);
    struct hone_device *d = net->device;
    if (d) {
        if (net->owns_arena) d->backend->free(d, net->arena);
        d->backend->free(d, net->data);
        if (net->owns_gradients) d->backend->free(d, net->gradients);
        if (net->owns_weights) {
            d->backend->free(d, net->weights);
            d->backend->free(d, net->state);
        }
    }
    free(net->layer);
    free(net->tensor);
    free(net->step);
    memset(net, 0, sizeof *net);
}

/* ---- problems ---- */

/* Adds those of `net` to the n that are there; use: what each is (NULL: not asked); k: the
 * optimizer whose step the net does, below 0 where that is not the one that an op may replace. */
static int add_problems(const struct hone_net *net, int k, struct hone_problem p[],
                        struct hone_use use[], int n, int max)
{
    for (int i = 0; i < net->nsteps; i++) {
        int j = 0;
        while (j < n && !hone_problem_equal(&p[j], &net->step[i].problem)) j++;
        if (j == max)
            return hone_fail(HONE_EINVAL, "'%s' has more than %d different problems", net->name,
                             max);
        if (j == n) {
            p[n++] = net->step[i].problem;
            if (use) use[j] = (struct hone_use){ .whole = net->launch };
        }
        if (!use) continue;
        use[j].times++;
        if (k < 0) continue;
        /* With another optimizer it is as many steps. */
        if (!(use[j].in & ~(1u << k))) use[j].each++;
        use[j].in |= 1u << k;
    }
    return n;
}

int hone_net_problems(const struct hone_net *net, struct hone_problem p[], int max)
{
    return add_problems(net, -1, p, NULL, 0, max);
}

int hone_net_dtype_find(const char *name, enum hone_dtype *dtype)
{
    static const enum hone_dtype known[] = { HONE_F32, HONE_F64, HONE_BF16, HONE_F16 };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, hone_dtype_name(*dtype = known[i]))) return HONE_OK;
    if (!strcmp(name, "tf32")) {
        *dtype = HONE_TF32;
        return HONE_OK;
    }
    return hone_fail(HONE_EINVAL, "'%s': a net computes in f32, tf32, f64, bf16 or f16", name);
}

const char *hone_net_dtype_name(const struct hone_net *net)
{
    return net->tf32 ? "tf32" : hone_dtype_name(net->dtype);
}

int hone_net_problems_of(const char *name, int batch, const char *dtype, const char *optimizers,
                         const struct hone_device *d, struct hone_problem p[],
                         struct hone_use use[], int max)
{
    struct hone_net net;
    enum hone_dtype type;
    char list[HONE_TEXT], *rest = list;
    int n = 0;
    if (strlen(optimizers) >= sizeof list)
        return hone_fail(HONE_EINVAL, "optimizers '%.40s...': the list is too long", optimizers);
    snprintf(list, sizeof list, "%s", optimizers);
    int bad = hone_net_dtype_find(dtype, &type);
    if (bad) return bad;
    for (int k = 0; rest && n >= 0; k++) {
        if (k == HONE_MAX_OPTIMIZERS)
            return hone_fail(HONE_EINVAL, "more than %d optimizers", HONE_MAX_OPTIMIZERS);
        struct hone_lowering how = { .batch = batch, .train = 1, .dtype = type,
                                     .device = d, .whole = HONE_WHOLE_NEVER };
        int err = hone_optim_parse(strsep(&rest, ","), &how.optim);
        /* Fused steps and their parts: what is measured decides. */
        for (how.apart = 0; !err && n >= 0 && how.apart < 2; how.apart++) {
            if ((err = hone_net_open(&net, name, &how))) break;
            n = add_problems(&net, how.apart ? -1 : k, p, use, n, max);
            hone_net_close(&net);
        }
        /* So are a plain net's steps as one op, and several of them. */
        how.apart = 0;
        how.whole = HONE_WHOLE_ALWAYS;
        for (how.launch = 1; !err && n >= 0 && how.launch <= HONE_LAUNCH;
             how.launch += HONE_LAUNCH - 1) {
            if ((err = hone_net_open(&net, name, &how))) break;
            if (net.launch) n = add_problems(&net, k, p, use, n, max);
            hone_net_close(&net);
        }
        if (err) return err;
    }
    return n;
}

/* ---- the layer table ---- */

static void print_shape(const struct hone_layer *l, char text[48])
{
    if (l->h == 1 && l->w == 1)
        snprintf(text, 48, "%d", l->c);
    else
        snprintf(text, 48, "%dx%dx%d", l->h, l->w, l->c);
}

/* 1234567 as 1,234,567. */
static const char *grouped(int64_t n, char text[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), to = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = 0;
    return text;
}

int64_t hone_net_running(const struct hone_net *net)
{
    int64_t n = 0;
    for (int i = 0; i < net->ntensors; i++)
        if (net->tensor[i].role == HONE_ROLE_RUNNING) n += hone_tensor_len(&net->tensor[i]);
    return n;
}

void hone_net_print(const struct hone_net *net, FILE *f)
{
    char shape[48], parameters[32], macs[32];
    int64_t all = 0;
    int name = 5, what = 4;
    for (int i = 0; i < net->nlayers; i++) {
        if ((int)strlen(net->layer[i].name) > name) name = (int)strlen(net->layer[i].name);
        if ((int)strlen(net->layer[i].what) > what) what = (int)strlen(net->layer[i].what);
    }
    if (net->params_text[0]) fprintf(f, "%s with %s\n\n", net->name, net->params_text);
    fprintf(f, "%-*s  %-10s  %-*s  %-14s %12s %14s\n", name, "layer", "kind", what, "what",
            "output", "parameters", "MACs");
    for (int i = 0; i < net->nlayers; i++) {
        const struct hone_layer *l = &net->layer[i];
        all += l->macs;
        print_shape(l, shape);
        fprintf(f, "%-*s  %-10s  %-*s  %-14s %12s %14s\n", name, l->name, l->kind, what, l->what,
                shape, grouped(l->parameters, parameters), grouped(l->macs, macs));
    }
    fprintf(f, "%-*s  %-10s  %-*s  %-14s %12s %14s\n", name, "total", "", what, "", "",
            grouped(net->parameters, parameters), grouped(all, macs));
    int64_t running = hone_net_running(net);
    if (running)
        fprintf(f, "\nrunning statistics, besides the parameters: %s\n",
                grouped(running, parameters));
}
