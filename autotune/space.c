/* The space of a problem: all valid configs of all kernels that accept it, or a fair sample of
 * them.  A kernel's guess always comes first: it is good without measuring, so that even the
 * smallest budget compares good configs of all kernels. */
#include "autotune/race.h"

#include <stdlib.h>
#include <string.h>

/* SMALL: configs of all kernels together that are searched exhaustively unless told otherwise, and
 * the size of a sample. ENUMERABLE: combinations of one kernel that are looked at one by one to see
 * which are valid. */
enum { SMALL = 480, ENUMERABLE = 1 << 20 };

static int add(struct hone_space_kernel *sk, int *room, const struct hone_config *c)
{
    if (sk->n == *room) {
        struct hone_config *more =
            realloc(sk->config, (size_t)(*room = 2 * *room + 16) * sizeof *more);
        if (!more) return hone_fail(HONE_ENOMEM, "%d configs of %s", *room, sk->kernel->name);
        sk->config = more;
    }
    sk->config[sk->n++] = *c;
    return HONE_OK;
}

static double combinations(const struct hone_kernel *k)
{
    double n = 1;
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++) n *= k->param[i].nvalues;
    return n;
}

static int same(const struct hone_config *a, const struct hone_config *b)
{
    return !memcmp(a, b, sizeof *a);
}

/* Every valid config but the guess, which is there already. */
static int enumerate(struct hone_space_kernel *sk, int *room, const struct hone_problem *p,
                     const struct hone_device *d)
{
    struct hone_config c;
    int err = HONE_OK;
    hone_config_first(sk->kernel, &c);
    do {
        if (!hone_config_valid(sk->kernel, p, &c, d) || same(&c, &sk->config[0])) continue;
        err = add(sk, room, &c);
    } while (!err && hone_config_next(sk->kernel, &c));
    sk->nvalid = sk->n;
    return err;
}

/* Combinations drawn evenly, value by value, and kept if valid: no config is nearer than another,
 * as it would be if an enumeration were cut short. */
static int draw(struct hone_space_kernel *sk, int *room, const struct hone_problem *p,
                const struct hone_device *d, uint64_t seed)
{
    const struct hone_kernel *k = sk->kernel;
    int err = HONE_OK;
    int64_t tries = 0, valid = 0;
    uint64_t at = 0;
    for (; !err && sk->n < SMALL && tries < ENUMERABLE; tries++) {
        struct hone_config c = { 0 };
        int known = 0;
        for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++)
            c.v[i] = k->param[i].value[hone_random(seed, at++) % (uint64_t)k->param[i].nvalues];
        if (!hone_config_valid(k, p, &c, d)) continue;
        valid++;
        for (int i = 0; i < sk->n && !known; i++) known = same(&c, &sk->config[i]);
        if (!known) err = add(sk, room, &c);
    }
    sk->nvalid = (int64_t)(combinations(k) * (double)valid / (double)(tries ? tries : 1));
    if (sk->nvalid < sk->n) sk->nvalid = sk->n;
    return err;
}

/* Fisher and Yates's shuffle of all but the guess. */
static void shuffle(struct hone_space_kernel *sk, uint64_t seed)
{
    for (int i = sk->n - 1; i > 1; i--) {
        int j = 1 + (int)(hone_random(seed, (uint64_t)i) % (uint64_t)i);
        struct hone_config c = sk->config[i];
        sk->config[i] = sk->config[j];
        sk->config[j] = c;
    }
}

static int open_kernel(struct hone_space_kernel *sk, const struct hone_problem *p,
                       const struct hone_device *d, const struct hone_tune_options *o,
                       uint64_t seed)
{
    struct hone_config guess;
    int room = 0, all = o->search && !strcmp(o->search, "exhaustive");
    hone_config_guess(sk->kernel, p, d, &guess);
    if (!hone_config_valid(sk->kernel, p, &guess, d)) return HONE_OK;
    int err = add(sk, &room, &guess);
    /* A jit kernel beside its precompiled twin takes the configs that suit that one. */
    if (!err && sk->kernel->aot && !o->kernel && o->builds >> HONE_AOT & 1) {
        sk->nvalid = 1;
        return err;
    }
    if (!err && (all || combinations(sk->kernel) <= ENUMERABLE)) err = enumerate(sk, &room, p, d);
    else if (!err) err = draw(sk, &room, p, d, seed);
    if (!err) shuffle(sk, hone_random(seed, 1));
    return err;
}

/* Cuts a large space to SMALL: kernels with few configs keep them all, the others share what is
 * left evenly. */
static void sample(struct hone_space *s)
{
    int cap = SMALL, kept;
    do {
        kept = 0;
        for (int i = 0; i < s->nkernels; i++) kept += s->kernel[i].n < cap ? s->kernel[i].n : cap;
    } while (kept > SMALL && (cap -= 1 + cap / 16) > 1);
    for (int i = 0; i < s->nkernels; i++)
        if (s->kernel[i].n > cap) s->kernel[i].n = cap;
}

static int admitted(const struct hone_kernel *k, const struct hone_tune_options *o)
{
    if (o->kernel)
        return !strcmp(k->name, o->kernel); /* asked for by name, even a slow one may run */
    return !k->slow && (o->builds ? o->builds : HONE_USUAL_BUILDS) >> k->build & 1;
}

int hone_space_open(struct hone_space *s, const struct hone_problem *p, const struct hone_device *d,
                    const struct hone_tune_options *o)
{
    const struct hone_kernel *const *kernels = o->kernels ? o->kernels : hone_kernels;
    char text[HONE_TEXT];
    uint64_t seed = o->seed;
    int count = 0, err = HONE_OK;
    memset(s, 0, sizeof *s);
    hone_problem_print(p, text);
    for (const char *c = text; *c; c++) seed = hone_random(seed, (unsigned char)*c);
    while (kernels[count]) count++;
    s->kernel = calloc((size_t)count + 1, sizeof *s->kernel);
    if (!s->kernel) return hone_fail(HONE_ENOMEM, "space of %d kernels", count);
    for (int i = 0; !err && i < count; i++) {
        if (!admitted(kernels[i], o) || hone_kernel_refuse(kernels[i], p, d)) continue;
        struct hone_space_kernel *sk = &s->kernel[s->nkernels];
        sk->kernel = kernels[i];
        err = open_kernel(sk, p, d, o, hone_random(seed, (uint64_t)i));
        s->nvalid += sk->nvalid;
        s->n += sk->n;
        if (err || sk->n) s->nkernels++;   /* a failed one too, so that close() frees it */
    }
    if (err) { hone_space_close(s); return err; }
    if (s->n > SMALL && !(o->search && !strcmp(o->search, "exhaustive"))) sample(s);
    s->n = 0;
    for (int i = 0; i < s->nkernels; i++) s->n += s->kernel[i].n;
    return HONE_OK;
}

int hone_space_put_first(struct hone_space *s, const struct hone_kernel *k,
                         const struct hone_config *c)
{
    int i = 0, j = 0;
    while (i < s->nkernels && s->kernel[i].kernel != k) i++;
    if (i == s->nkernels) {
        struct hone_space_kernel *more =
            realloc(s->kernel, ((size_t)s->nkernels + 1) * sizeof *more);
        if (!more) return hone_fail(HONE_ENOMEM, "%d kernels", s->nkernels + 1);
        s->kernel = more;
        s->kernel[s->nkernels++] = (struct hone_space_kernel){ .kernel = k };
    }
    struct hone_space_kernel *sk = &s->kernel[i];
    while (j < sk->n && !same(&sk->config[j], c)) j++;
    if (j == sk->n) {
        int room = sk->n, err = add(sk, &room, c);
        if (err) return err;
        s->n++;
        if (sk->nvalid < sk->n) { sk->nvalid++; s->nvalid++; }
    }
    struct hone_config first = sk->config[0];
    sk->config[0] = *c;
    sk->config[j] = j ? first : *c;
    return HONE_OK;
}

void hone_space_close(struct hone_space *s)
{
    for (int i = 0; i < s->nkernels; i++) free(s->kernel[i].config);
    free(s->kernel);
    memset(s, 0, sizeof *s);
}
