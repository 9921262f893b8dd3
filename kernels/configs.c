/* The space of a kernel's configs, counted and drawn from without looking at every combination.
 *
 * Clauses of its constraint tie parameters together; groups that nothing ties are counted apart and
 * multiplied.  In a group, parameters get their values one after another; after each, what the
 * known ones mean to the open clauses (HONE_OPEN's key: the values of the largest known parts) is
 * all that matters for the rest, so that what was counted once is looked up.  With a * b * c <= N
 * the 256 values of a and b become as many states as there are products, and a chain of pairs stays
 * as wide as one pair. */
#include "kernels/constraint.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_KEY = 240,          /* numbers that tell a state */
    MAX_BYTES = 128 << 20,  /* of states; more: an estimate */
    ENUMERABLE = 1 << 18,   /* what C code must judge is counted up to this, */
    DRAWS = 20000           /* and estimated from so many above */
};

struct state {
    int depth, nkey;
    int64_t *key;          /* (nkey) */
    uint64_t count;        /* of what follows */
    struct state *next;
};

struct space {
    struct hone_constraint t;
    struct hone_problem p;
    const struct hone_device *d;
    int nparams, order[HONE_MAX_PARAMS];     /* parameters, group by group */
    int group_end[HONE_MAX_PARAMS];          /* place behind the group of place i */
    int group_first[HONE_MAX_PARAMS];
    uint64_t group_count[HONE_MAX_PARAMS];   /* by the group's first place */
    struct state **bucket;
    size_t bytes;
    int full;
    uint64_t texts;                          /* configs that the text admits */
};

enum { BUCKETS = 1 << 13 };

/* ---- groups ---- */

static void tie(struct space *s, unsigned *with)
{
    for (int i = 0; i < s->nparams; i++) with[i] = 1u << i;
    for (int i = 0; i < s->t.nclauses; i++)
        for (int j = 0; j < s->nparams; j++)
            if (s->t.params[i] >> j & 1) with[j] |= s->t.params[i];
    for (int again = 1; again;) {
        again = 0;
        for (int i = 0; i < s->nparams; i++)
            for (int j = 0; j < s->nparams; j++)
                if (with[i] >> j & 1 && (with[i] | with[j]) != with[i]) {
                    with[i] |= with[j];
                    again = 1;
                }
    }
}

static int make_groups(struct space *s)
{
    unsigned with[HONE_MAX_PARAMS], done = 0;
    int place = 0, n = 0;
    tie(s, with);
    for (int i = 0; i < s->nparams; i++) {
        if (done >> i & 1) continue;
        int first = place;
        for (int j = 0; j < s->nparams; j++)
            if (with[i] >> j & 1) s->order[place++] = j;
        for (int j = first; j < place; j++) {
            s->group_first[j] = first;
            s->group_end[j] = place;
        }
        done |= with[i];
        n++;
    }
    return n;
}

/* ---- counting ---- */

/* What is open in a group: its clauses' numbers and their keys.  0 where one fails. */
static int open_key(const struct space *s, unsigned known, unsigned group,
                    const struct hone_config *c, int64_t key[MAX_KEY], int *n)
{
    *n = 0;
    for (int i = 0; i < s->t.nclauses; i++) {
        if (!(s->t.params[i] & group)) continue;
        int before = *n;
        if (before < MAX_KEY) key[(*n)++] = -1 - i;
        enum hone_truth truth = hone_constraint_rest(&s->t, i, c, known, key, n, MAX_KEY);
        if (truth == HONE_FAILS) return 0;
        if (truth == HONE_HOLDS) *n = before;
    }
    return 1;
}

static struct state **find(struct space *s, int depth, const int64_t *key, int n)
{
    uint64_t h = (uint64_t)depth;
    for (int i = 0; i < n; i++) h = hone_random(h, (uint64_t)key[i]);
    struct state **at = &s->bucket[h % BUCKETS];
    while (*at && ((*at)->depth != depth || (*at)->nkey != n ||
                   memcmp((*at)->key, key, (size_t)n * sizeof *key)))
        at = &(*at)->next;
    return at;
}

static int value_fits(const struct space *s, int param, int value)
{
    const struct hone_param *q = &s->t.kernel->param[param];
    return value <= s->d->ncores || strcmp(q->name, "threads");
}

/* How many ways there are to go on from place within its group. */
static uint64_t count(struct space *s, int place, int end, struct hone_config *c)
{
    int64_t key[MAX_KEY];
    int n;
    unsigned known = 0, group = 0;
    for (int i = s->group_first[end - 1]; i < end; i++) {
        group |= 1u << s->order[i];
        if (i < place) known |= 1u << s->order[i];
    }
    if (s->full || !open_key(s, known, group, c, key, &n)) return 0;
    if (place == end) return 1;
    if (n > MAX_KEY || s->bytes > MAX_BYTES) { s->full = 1; return 0; }
    struct state **at = find(s, place, key, n), *state = *at;
    if (state) return state->count;
    uint64_t sum = 0;
    const struct hone_param *q = &s->t.kernel->param[s->order[place]];
    for (int i = 0; i < q->nvalues; i++) {
        c->v[s->order[place]] = q->value[i];
        if (value_fits(s, s->order[place], q->value[i])) sum += count(s, place + 1, end, c);
    }
    if (s->full) return 0;
    size_t size = sizeof *state + (size_t)n * sizeof *key;
    state = malloc(size);
    if (!state) { s->full = 1; return 0; }
    *state = (struct state){ .depth = place, .nkey = n, .count = sum };
    state->key = (int64_t *)(state + 1);
    memcpy(state->key, key, (size_t)n * sizeof *key);
    at = find(s, place, key, n);
    *at = state;
    s->bytes += size + 16;   /* what malloc() adds */
    return sum;
}

static void count_groups(struct space *s)
{
    struct hone_config c = { { 0 } };
    s->texts = 1;
    for (int i = 0; i < s->nparams; i = s->group_end[i]) {
        s->group_count[i] = count(s, i, s->group_end[i], &c);
        if (__builtin_mul_overflow(s->texts, s->group_count[i], &s->texts)) s->full = 1;
    }
    /* Clauses without parameters hold or fail for all. */
    for (int i = 0; i < s->t.nclauses; i++) {
        int n = 0;
        if (!s->t.params[i] && hone_constraint_rest(&s->t, i, &c, 0, NULL, &n, 0) != HONE_HOLDS)
            s->texts = 0;
    }
}

/* ---- drawing ---- */

/* The config of that number among those that the text admits. */
static void numbered(struct space *s, uint64_t number, struct hone_config *c)
{
    memset(c, 0, sizeof *c);
    for (int first = 0; first < s->nparams; first = s->group_end[first]) {
        uint64_t rest = number % s->group_count[first];
        number /= s->group_count[first];
        for (int place = first; place < s->group_end[first]; place++) {
            const struct hone_param *q = &s->t.kernel->param[s->order[place]];
            for (int i = 0; i < q->nvalues; i++) {
                if (!value_fits(s, s->order[place], q->value[i])) continue;
                c->v[s->order[place]] = q->value[i];
                uint64_t ways = count(s, place + 1, s->group_end[first], c);
                if (rest < ways) break;
                rest -= ways;
            }
        }
    }
}

/* Evenly from all combinations, where the text's own were too many to count. */
static void any(const struct space *s, uint64_t seed, uint64_t *at, struct hone_config *c)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < s->nparams; i++) {
        const struct hone_param *q = &s->t.kernel->param[i];
        c->v[i] = q->value[hone_random(seed, (*at)++) % (uint64_t)q->nvalues];
    }
}

int hone_configs_draw(struct hone_configs *x, uint64_t seed, uint64_t *at, struct hone_config *c)
{
    struct space *s = x->priv;
    if (x->valid < 1) return 0;
    for (int tries = 0; tries < ENUMERABLE; tries++) {
        if (s->full) any(s, seed, at, c);
        else numbered(s, hone_random(seed, (*at)++) % s->texts, c);
        if (hone_config_valid(s->t.kernel, &s->p, c, s->d)) return 1;
    }
    return 0;
}

int hone_configs_each(struct hone_configs *x, int (*f)(void *ctx, const struct hone_config *c),
                      void *ctx)
{
    struct space *s = x->priv;
    struct hone_config c;
    int stop = 0;
    if (s->full) {
        hone_config_first(s->t.kernel, &c);
        do
            if (hone_config_valid(s->t.kernel, &s->p, &c, s->d)) stop = f(ctx, &c);
        while (!stop && hone_config_next(s->t.kernel, &c));
        return stop;
    }
    for (uint64_t i = 0; !stop && i < s->texts; i++) {
        numbered(s, i, &c);
        if (!x->coded || hone_config_valid(s->t.kernel, &s->p, &c, s->d)) stop = f(ctx, &c);
    }
    return stop;
}

/* ---- open and close ---- */

static int tally(void *ctx, const struct hone_config *c)
{
    (void)c;
    ++*(double *)ctx;
    return 0;
}

/* Of what is too much to be looked at: the share of draws that are valid. */
static void estimate(struct hone_configs *x)
{
    struct space *s = x->priv;
    struct hone_config c;
    uint64_t at = 0;
    int valid = 0;
    for (int i = 0; i < DRAWS; i++) {
        if (s->full) any(s, 1, &at, &c);
        else numbered(s, hone_random(1, at++) % s->texts, &c);
        valid += hone_config_valid(s->t.kernel, &s->p, &c, s->d);
    }
    x->valid = (s->full ? x->raw : (double)s->texts) * valid / DRAWS;
    x->exact = 0;
}

int hone_configs_open(struct hone_configs *x, const struct hone_kernel *k,
                      const struct hone_problem *p, const struct hone_device *d)
{
    memset(x, 0, sizeof *x);
    struct space *s = x->priv = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ENOMEM, "space of %s", k->name);
    s->p = *p;
    s->d = d;
    s->bucket = calloc(BUCKETS, sizeof(struct state *));
    int err = s->bucket ? hone_constraint_parse(&s->t, k, p, d)
                        : hone_fail(HONE_ENOMEM, "space of %s", k->name);
    if (err) { hone_configs_close(x); return err; }
    x->raw = 1;
    for (; s->nparams < HONE_MAX_PARAMS && k->param[s->nparams].name; s->nparams++)
        x->raw *= k->param[s->nparams].nvalues;
    x->ngroups = make_groups(s);
    count_groups(s);
    x->exact = 1;
    x->coded = k->valid || d->max_error > 0;
    x->valid = (double)s->texts;
    if (!s->full && !x->coded) return HONE_OK;
    if (s->full ? x->raw > ENUMERABLE : s->texts > ENUMERABLE) estimate(x);
    else {
        x->valid = 0;
        hone_configs_each(x, tally, &x->valid);
    }
    return HONE_OK;
}

void hone_configs_close(struct hone_configs *x)
{
    struct space *s = x->priv;
    for (int i = 0; s && s->bucket && i < BUCKETS; i++)
        for (struct state *a = s->bucket[i], *next; a; a = next) {
            next = a->next;
            free(a);
        }
    if (s) free(s->bucket);
    free(s);
    memset(x, 0, sizeof *x);
}
