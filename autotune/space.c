/* The space of a problem: all valid configs of all kernels that accept it, or a fair sample of
 * them.  A kernel's guess always comes first: it is good without measuring, so that even the
 * smallest budget compares good configs of all kernels. */
#include "autotune/race.h"

#include <stdlib.h>
#include <string.h>

/* Configs of all kernels together that a searcher chooses from, unless told that all are to be. */
enum { POOL = 4096 };

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

static int same(const struct hone_config *a, const struct hone_config *b)
{
    return !memcmp(a, b, sizeof *a);
}

struct filling {
    struct hone_space_kernel *sk;
    int room, err;
};

/* The guess is there already. */
static int fill(void *ctx, const struct hone_config *c)
{
    struct filling *f = ctx;
    if (!same(c, &f->sk->config[0])) f->err = add(f->sk, &f->room, c);
    return f->err;
}

/* A sample without repetition; a config that comes up again is drawn anew, some times. */
static int draw(struct filling *f, struct hone_configs *all, uint64_t seed)
{
    struct hone_space_kernel *sk = f->sk;
    struct hone_config c;
    uint64_t at = 0;
    for (int tries = 0; !f->err && sk->n < POOL / 8 && tries < POOL; tries++) {
        int known = 0;
        if (!hone_configs_draw(all, seed, &at, &c)) break;
        for (int i = 0; i < sk->n && !known; i++) known = same(&c, &sk->config[i]);
        if (!known) f->err = add(sk, &f->room, &c);
    }
    return f->err;
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
    int every = o->search && !strcmp(o->search, "exhaustive");
    struct filling f = { .sk = sk };
    struct hone_configs all;
    hone_config_guess(sk->kernel, p, d, &guess);
    if (!hone_config_valid(sk->kernel, p, &guess, d)) return HONE_OK;
    int err = add(sk, &f.room, &guess);
    /* A jit kernel beside its precompiled twin takes the configs that suit that one; where nothing
     * is measured, nobody asks for more than who may compete. */
    if (!err && (!o->seconds || (sk->kernel->aot && !o->kernel && o->builds >> HONE_AOT & 1))) {
        sk->nvalid = 1;
        return err;
    }
    if (!err) err = hone_configs_open(&all, sk->kernel, p, d);
    if (err) return err;
    if (every || (all.exact && all.valid <= POOL)) {
        hone_configs_each(&all, fill, &f);
        err = f.err;
    } else err = draw(&f, &all, seed);
    sk->nvalid = all.valid < sk->n ? sk->n : (int64_t)all.valid;
    hone_configs_close(&all);
    if (!err) shuffle(sk, hone_random(seed, 1));
    return err;
}

/* Cuts a large space to POOL: kernels with few configs keep them all, the others share what is
 * left evenly. */
static void sample(struct hone_space *s)
{
    int cap = POOL, kept;
    do {
        kept = 0;
        for (int i = 0; i < s->nkernels; i++) kept += s->kernel[i].n < cap ? s->kernel[i].n : cap;
    } while (kept > POOL && (cap -= 1 + cap / 16) > 1);
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
    if (s->n > POOL && !(o->search && !strcmp(o->search, "exhaustive"))) sample(s);
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
