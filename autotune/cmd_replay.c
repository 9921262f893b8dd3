/* `hone autotune --replay`: how many measurements each searcher needs on recorded or made-up
 * spaces, over many seeds.  Each space may be taught by all the others. */
#include "autotune/replay.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WITHIN = 200 };   /* measurements after which 90 % should be reached */

struct space {
    struct hone_recording r;
    struct hone_problem p;
    int real;                 /* 1: p is a problem of this program */
    double *prior;            /* (r.pool.n) or NULL */
    int good;                 /* configs that reach 95 % */
};

struct score {
    double median, upper;     /* measurements to reach 95 %: median, 95th percentile */
    double reached;           /* share of seeds that reached 90 % within WITHIN */
};

struct bench {
    const struct hone_replay_options *o;
    struct hone_noise noise;
    const struct hone_searcher *searcher[16];
    int nsearchers, nspaces;
    struct space *space;      /* (nspaces) */
    struct score *score;      /* (nspaces, nsearchers) */
    struct hone_device d;     /* open where the model of cost is asked for */
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *t, int n, double share)
{
    qsort(t, (size_t)n, sizeof *t, by_value);
    return t[(int)(share * (n - 1) + 0.5)];
}

/* ---- spaces ---- */

static void count_good(struct space *s)
{
    double best = 0;
    for (int i = 0; i < s->r.pool.n; i++)
        if (s->r.ms[i] > 0 && (best <= 0 || s->r.ms[i] < best)) best = s->r.ms[i];
    for (int i = 0; i < s->r.pool.n; i++) s->good += s->r.ms[i] > 0 && 0.95 * s->r.ms[i] <= best;
}

/* "synthetic:1", "roofline:1" or a file. */
static int open_space(struct hone_recording *r, const char *file)
{
    static const struct {
        const char *name;
        int (*make)(struct hone_recording *r, uint64_t seed);
    } made_up[] = {
        { "synthetic:", hone_recording_synthetic },
        { "roofline:", hone_recording_roofline },
    };
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++) {
        const size_t n = strlen(made_up[i].name);
        if (strncmp(file, made_up[i].name, n)) continue;
        return made_up[i].make(r, strtoull(file + n, NULL, 10));
    }
    return hone_recording_read(r, file);
}

static int open_spaces(struct bench *b)
{
    b->space = calloc((size_t)b->o->nfiles, sizeof *b->space);
    if (!b->space) return hone_fail(HONE_ENOMEM, "%d spaces", b->o->nfiles);
    for (; b->nspaces < b->o->nfiles; b->nspaces++) {
        const char *file = b->o->file[b->nspaces];
        struct space *s = &b->space[b->nspaces];
        int err = open_space(&s->r, file);
        if (err) return err;
        s->real = !hone_problem_parse(s->r.problem, &s->p);
        count_good(s);
        if (b->o->cost && s->real && (err = hone_pool_expect(&s->r.pool, &s->p, &b->d))) return err;
    }
    return HONE_OK;
}

/* All other problems' spaces are lessons. */
static int teach(struct bench *b)
{
    struct hone_lesson *lesson = calloc((size_t)b->nspaces, sizeof *lesson);
    if (!lesson) return hone_fail(HONE_ENOMEM, "%d lessons", b->nspaces);
    for (int i = 0; i < b->nspaces; i++) {
        struct space *s = &b->space[i];
        int n = 0;
        for (int j = 0; j < b->nspaces; j++) {
            const struct space *t = &b->space[j];
            if (!strcmp(s->r.problem, t->r.problem)) continue;
            double far = s->real && t->real ? hone_problem_distance(&s->p, &t->p) : 8;
            lesson[n++] = (struct hone_lesson){ &t->r.pool, t->r.ms, exp(-far / 2) };
        }
        s->prior = calloc((size_t)s->r.pool.n, sizeof *s->prior);
        if (s->prior && hone_transfer(&s->r.pool, lesson, n, s->prior)) continue;
        free(s->prior);
        s->prior = NULL;
    }
    free(lesson);
    return HONE_OK;
}

/* ---- running ---- */

static int run(struct bench *b, int space, int searcher, struct score *score)
{
    int seeds = b->o->seeds, reached = 0, err = HONE_OK;
    double *to95 = calloc((size_t)seeds, sizeof *to95);
    if (!to95) return hone_fail(HONE_ENOMEM, "%d seeds", seeds);
    for (int i = 0; !err && i < seeds; i++) {
        struct hone_reach reach;
        struct hone_replay x = { .recording = &b->space[space].r,
                                 .searcher = b->searcher[searcher],
                                 .prior = b->space[space].prior,
                                 .blind = b->o->blind,
                                 .uncounted = b->o->uncounted,
                                 .noise = b->noise,
                                 .seed = hone_random(1, (uint64_t)i) };
        for (int j = 0; b->o->transfer & HONE_TEACH_COUNTERS && j < b->nspaces; j++)
            if (strcmp(b->space[j].r.problem, b->space[space].r.problem))
                x.teacher[x.nteachers++] = &b->space[j].r;
        if (hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
        if (!err) err = hone_replay_run(&x, &reach);
        if (err) break;
        to95[i] = reach.to95;
        reached += reach.to90 <= WITHIN;
    }
    if (!err)
        *score = (struct score){ .median = quantile(to95, seeds, 0.5),
                                 .upper = quantile(to95, seeds, 0.95),
                                 .reached = (double)reached / seeds };
    free(to95);
    return err;
}

/* ---- printing ---- */

static void print_space(const struct bench *b, int i)
{
    const struct space *s = &b->space[i];
    printf("%-46s %5d %5d ", s->r.problem, s->r.pool.n, s->good);
    for (int j = 0; j < b->nsearchers; j++) {
        const struct score *c = &b->score[i * b->nsearchers + j];
        printf("  %4.0f %4.0f %3.0f%%", c->median, c->upper, 100 * c->reached);
    }
    putchar('\n');
    fflush(stdout);
}

static double over_spaces(const struct bench *b, int searcher, double share)
{
    double t[HONE_MAX_REPLAYS];
    for (int i = 0; i < b->nspaces; i++) t[i] = b->score[i * b->nsearchers + searcher].median;
    return quantile(t, b->nspaces, share);
}

static void print_head(const struct bench *b)
{
    printf("measurements to reach 95 %% of the best: median and 95th percentile of %d seeds; seeds "
           "that reach 90 %% within %d\n", b->o->seeds, WITHIN);
    printf("%-46s %5s %5s ", "space", "all", "good");
    for (int j = 0; j < b->nsearchers; j++) printf("  %-14s", b->searcher[j]->name);
    putchar('\n');
}

static void print_foot(const struct bench *b)
{
    printf("%-58s ", "median over the spaces, and the most");
    for (int j = 0; j < b->nsearchers; j++)
        printf("  %4.0f %4.0f     ", over_spaces(b, j, 0.5), over_spaces(b, j, 1));
    putchar('\n');
}

static int print_json(const struct bench *b)
{
    json_t *spaces = json_array();
    for (int i = 0; i < b->nspaces; i++) {
        json_t *searchers = json_object();
        for (int j = 0; j < b->nsearchers; j++) {
            const struct score *c = &b->score[i * b->nsearchers + j];
            json_object_set_new(searchers, b->searcher[j]->name,
                                json_pack("{sf sf sf}", "to95_median", c->median, "to95_p95",
                                          c->upper, "to90_within_200", c->reached));
        }
        json_array_append_new(spaces, json_pack("{ss ss si si so}", "problem",
                                                b->space[i].r.problem, "device",
                                                b->space[i].r.device, "configs",
                                                b->space[i].r.pool.n, "within_5_percent",
                                                b->space[i].good, "searchers", searchers));
    }
    json_t *j = json_pack("{si so}", "seeds", b->o->seeds, "spaces", spaces);
    int bad = !j || json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(j);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- command ---- */

static int run_all(struct bench *b)
{
    int err = open_spaces(b);
    if (!err && b->o->transfer & HONE_TEACH_TIMES) err = teach(b);
    b->score = calloc((size_t)b->nspaces * (size_t)b->nsearchers + 1, sizeof *b->score);
    if (!err && !b->score) err = hone_fail(HONE_ENOMEM, "%d spaces", b->nspaces);
    if (!err && !b->o->json) print_head(b);
    for (int i = 0; !err && i < b->nspaces; i++) {
        for (int j = 0; !err && j < b->nsearchers; j++)
            err = run(b, i, j, &b->score[i * b->nsearchers + j]);
        if (!err && !b->o->json) print_space(b, i);
    }
    if (err) return err;
    if (b->o->json) return print_json(b);
    print_foot(b);
    return HONE_OK;
}

int hone_replay_command(const struct hone_replay_options *o)
{
    struct bench b = { .o = o };
    int err = hone_noise_parse(o->noise ? o->noise : "quiet", &b.noise);
    if (!err && o->search) {
        err = hone_searcher_find(o->search, &b.searcher[0]);
        b.nsearchers = 1;
    } else if (!err) {
        /* Every space is full, so that going through it in order says nothing. */
        for (int i = 0; hone_searchers[i]; i++)
            if (strcmp(hone_searchers[i]->name, "exhaustive"))
                b.searcher[b.nsearchers++] = hone_searchers[i];
    }
    if (!err && o->cost) err = hone_device_open(&b.d, "cpu0");
    if (!err) err = run_all(&b);
    for (int i = 0; i < b.nspaces; i++) {
        hone_recording_close(&b.space[i].r);
        free(b.space[i].prior);
    }
    free(b.space);
    free(b.score);
    if (b.d.backend) hone_device_close(&b.d);
    return err;
}
