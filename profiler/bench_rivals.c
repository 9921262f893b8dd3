/* `hone bench --problems FILE`: for each problem all rivals in one run, and in the end how they
 * compare with the best library.  A rival is a kernel; with which config it competes, a short trial
 * of a few of them decides. */
#include "profiler/bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ratios to the best library, as logarithms. */
struct mean {
    double sum;
    int n, below;
};

static const double BAR = 0.92;   /* slower than the best library by more is counted */

struct session {
    const char *command;
    const struct hone_bench_rivals *o;
    struct hone_device *d;
    struct hone_peaks peaks;
    int have_peaks, nproblems, nbad;
    /* Of each build's best, of the best of ours, and of the best jit kernel to the best that is
     * none. */
    struct mean build[HONE_LIB + 1], ours, jit;
    char worst[HONE_TEXT];
    double worst_ratio;
    json_t *rows;
};

/* ---- who competes ---- */

static int named(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *s = list; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (!strncmp(s, name, len) && (!s[len] || s[len] == ',')) return 1;
    return 0;
}

/* What comes behind avx512 has vectors as wide. */
static int is_narrower(enum hone_isa isa, enum hone_isa device)
{
    return isa < device && isa < HONE_ISA_avx512;
}

/* By name any kernel; by build the hand-written ones in the widest vectors there are. */
static int competes(const struct session *s, const struct hone_kernel *k)
{
    const char *list = s->o->rivals ? s->o->rivals : "aot,lib";
    if (named(list, k->name)) return 1;
    if (k->slow || (k->build != HONE_LIB && is_narrower(k->isa, s->d->isa))) return 0;
    return named(list, "all") || named(list, hone_build_name(k->build));
}

/* A word that is neither a build nor a kernel. */
static int check_rivals(const struct session *s)
{
    char word[64];
    for (const char *p = s->o->rivals; p && *p; p += strcspn(p, ","), p += *p == ',') {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        int known = !strcmp(word, "all");
        for (int b = HONE_AOT; b <= HONE_LIB; b++)
            known |= !strcmp(word, hone_build_name((enum hone_build)b));
        for (int i = 0; hone_kernels[i]; i++) known |= !strcmp(word, hone_kernels[i]->name);
        if (!known)
            return hone_fail(HONE_EPARSE, "'%s' is no kernel, and not all, aot, jit or lib", word);
    }
    return HONE_OK;
}

/* ---- with which config ---- */

static int admits(const struct session *s, const struct hone_kernel *k,
                  const struct hone_problem *p, const struct hone_config *c)
{
    return hone_config_valid(k, p, c, s->d) &&
           (!s->o->threads || hone_config_get(k, c, "threads", 1) == s->o->threads ||
            hone_config_get(k, c, "threads", 0) == 0);
}

static const double HOPELESS = 10;   /* times the best rival's time: out after a first look */

/* A kernel, its config, and the least time of its trials; 0: it was not tried. */
struct rival {
    const struct hone_kernel *kernel;
    struct hone_config config;
    double ms;
};

/* The least of a few windows, of one where that is hopeless beside `best`; 0: it does not run. */
static double try_config(const struct session *s, const struct hone_kernel *k, struct hone_case *c,
                         const struct hone_config *config, double best)
{
    struct hone_plan plan;
    int runs;
    double least = 0, t;
    if (hone_plan_open(&plan, &c->problem, k, config, s->d)) return 0;
    if (!hone_case_workspace(c, &plan) &&
        !hone_time_calibrate(&plan, c, s->o->cache, 0.0005, &runs, &least))
        for (int i = 0; i < 2 && !(best > 0 && least > HOPELESS * best) &&
                        !hone_time_window(&plan, c, s->o->cache, runs, &t); i++)
            if (t < least) least = t;
    hone_plan_close(&plan);
    return least;
}

enum { MOST_TRIES = 256 };
static const double NEAR = 1.5;   /* slower than the best by more than this: not tried again */

struct trial {
    struct hone_config config;
    double ms;                    /* the least of all windows; 0: it does not run */
};

/* Those of a kernel so far. */
struct trials {
    const struct session *s;
    const struct hone_kernel *kernel;
    struct hone_case *c;
    double rival;                 /* the best other kernel's time; 0: there is none */
    struct trial trial[MOST_TRIES];
    int n, most, best;            /* best: -1: none runs */
};

/* Tries it, again if it was before. */
static void try_once_more(struct trials *l, int i)
{
    struct trial *t = &l->trial[i];
    const double ms = try_config(l->s, l->kernel, l->c, &t->config, l->rival);
    if (ms > 0 && (t->ms <= 0 || ms < t->ms)) t->ms = ms;
    if (ms > 0 && (l->best < 0 || ms < l->trial[l->best].ms)) l->best = i;
}

static void try_first(struct trials *l, const struct hone_config *c)
{
    if (hone_interrupted()) return;
    l->trial[l->n++] = (struct trial){ .config = *c };
    try_once_more(l, l->n - 1);
}

static int is_admitted(const struct trials *l, const struct hone_config *c)
{
    return admits(l->s, l->kernel, &l->c->problem, c);
}

static int was_tried(const struct trials *l, const struct hone_config *c)
{
    for (int i = 0; i < l->n; i++) {
        int same = 1;
        for (int j = 0; j < HONE_MAX_PARAMS && l->kernel->param[j].name; j++)
            same &= l->trial[i].config.v[j] == c->v[j];
        if (same) return 1;
    }
    return 0;
}

/* The guess, with the number of threads that is asked for. */
static void try_guess(struct trials *l)
{
    const struct session *s = l->s;
    const struct hone_kernel *k = l->kernel;
    struct hone_config c;
    hone_config_guess(k, &l->c->problem, s->d, &c);
    for (int i = 0; s->o->threads && i < HONE_MAX_PARAMS && k->param[i].name; i++)
        if (!strcmp(k->param[i].name, "threads")) c.v[i] = s->o->threads;
    if (is_admitted(l, &c)) try_first(l, &c);
}

/* So many configs, spread evenly over all valid ones. */
static void try_evenly(struct trials *l, int64_t tries)
{
    struct hone_config c;
    int64_t n = 0, at = 0, taken = 0;
    hone_config_first(l->kernel, &c);
    do n += is_admitted(l, &c);
    while (hone_config_next(l->kernel, &c));
    hone_config_first(l->kernel, &c);
    do {
        if (!is_admitted(l, &c) || at++ * tries / n < taken) continue;
        taken++;
        if (l->n < l->most && !was_tried(l, &c)) try_first(l, &c);
    } while (hone_config_next(l->kernel, &c));
}

/* A config not yet tried that differs from c in one parameter, which has the next larger or smaller
 * value that is valid; 0: there is none.  Switches come before sizes: kernels name them last. */
static int step_from(const struct trials *l, const struct hone_config *c, struct hone_config *to)
{
    int n = 0;
    while (n < HONE_MAX_PARAMS && l->kernel->param[n].name) n++;
    for (int i = n - 1; i >= 0; i--) {
        const struct hone_param *q = &l->kernel->param[i];
        int now = 0;
        while (now < q->nvalues && q->value[now] != c->v[i]) now++;
        for (int way = 1; way >= -1; way -= 2)
            for (int j = now + way; j >= 0 && j < q->nvalues; j += way) {
                *to = *c;
                to->v[i] = q->value[j];
                if (!is_admitted(l, to)) continue;
                if (!was_tried(l, to)) return 1;
                break;
            }
    }
    return 0;
}

/* The best of a few configs of k; 0: there is none.  Tried are the guess, others from everywhere,
 * and with what is left of the tries those a step from the best so far.  What disturbs the machine
 * lasts longer than a trial, so those that are not far behind are tried three times, in turn. */
static int choose(const struct session *s, const struct hone_kernel *k, struct hone_case *c,
                  double best, struct rival *r)
{
    enum { ROUNDS = 3 };
    struct trials l = { .s = s, .kernel = k, .c = c, .rival = best, .best = -1,
                        .most = s->o->tries < MOST_TRIES ? s->o->tries : MOST_TRIES };
    struct hone_config next;
    try_guess(&l);
    if (l.most > 1 || !l.n) try_evenly(&l, (l.most - l.n + 1) / 2);
    while (l.best >= 0 && l.n < l.most && !hone_interrupted() &&
           step_from(&l, &l.trial[l.best].config, &next))
        try_first(&l, &next);
    for (int round = 1; round < ROUNDS && l.n > 1; round++)
        for (int i = 0; i < l.n && l.best >= 0 && !hone_interrupted(); i++) {
            const double least = l.trial[l.best].ms;
            if (l.trial[i].ms > 0 && l.trial[i].ms <= NEAR * least &&
                !(best > 0 && least > HOPELESS * best))
                try_once_more(&l, i);
        }
    if (l.best < 0) return 0;
    r->config = l.trial[l.best].config;
    r->ms = l.trial[l.best].ms;
    return 1;
}

/* A jit kernel competes with what suits its precompiled twin: to try it is to compile it. */
static int find_rivals(const struct session *s, const struct hone_problem *p, struct hone_case *c,
                       struct rival *rival)
{
    double best = 0;
    int n = 0;
    for (int i = 0; hone_kernels[i] && !hone_interrupted(); i++) {
        const struct hone_kernel *k = hone_kernels[i];
        struct rival *r = &rival[n];
        int known = 0;
        if (!competes(s, k) || hone_kernel_refuse(k, p, s->d)) continue;
        *r = (struct rival){ .kernel = k };
        for (int j = 0; k->aot && j < n && !known; j++)
            if ((known = rival[j].kernel == k->aot)) r->config = rival[j].config, r->ms = rival[j].ms;
        if (!known && !choose(s, k->aot ? k->aot : k, c, best, r)) continue;
        if (r->ms > 0 && (best <= 0 || r->ms < best)) best = r->ms;
        n++;
    }
    /* Who is hopeless takes most of the time, and is of no interest. */
    int stay = 0;
    for (int i = 0; i < n; i++)
        if (rival[i].ms <= HOPELESS * best || named(s->o->rivals, rival[i].kernel->name))
            rival[stay++] = rival[i];
    return stay;
}

static int add_rivals(const struct session *s, struct hone_bench *b, struct hone_case *c)
{
    int n = 0, err = HONE_OK;
    while (hone_kernels[n]) n++;
    struct rival *rival = calloc((size_t)n + 1, sizeof *rival);
    if (!rival) return hone_fail(HONE_ENOMEM, "%d rivals", n);
    n = find_rivals(s, &b->problem, c, rival);
    for (int i = 0; !err && i < n; i++) err = hone_bench_add(b, rival[i].kernel, &rival[i].config);
    free(rival);
    return err;
}

/* ---- one problem ---- */

static int threads_of(const struct session *s)
{
    return s->o->threads ? s->o->threads : s->d->ncores;
}

/* flop/s: the median of what was measured right after the rounds, or of a device where that is not
 * done what is known of it; 0: nothing. */
static struct hone_stats peak(const struct session *s, const struct hone_bench *b)
{
    enum hone_dtype t = b->problem.dtype;
    if (b->npeaks && b->peak[0] > 0) return hone_stats_of(b->peak, b->npeaks);
    if (!s->have_peaks) return (struct hone_stats){ 0 };
    if (s->peaks.flops_one[t] <= 0) t = HONE_F32;
    const double sum = s->peaks.flops_one[t] * threads_of(s), all = s->peaks.flops_all[t];
    return (struct hone_stats){ .median = sum < all || all <= 0 ? sum : all };
}

/* What limits a problem, and the rate that it allows: flop/s, or where moving the problem's bytes
 * takes longer bytes/s; 0: the rate is not known.  amount: of the problem, in flops or bytes. */
struct limit {
    int memory;
    const char *unit;
    double amount;
    struct hone_stats rate;
    const struct hone_bench_row *move;   /* bound by memory: what was timed for it, or NULL */
};

/* Bytes in so long as `ms` says. */
static struct limit memory_limit(const struct session *s, const struct hone_bench *b,
                                 struct hone_stats ms)
{
    const double bytes = hone_moved_bytes(&b->problem, b->device, threads_of(s));
    return (struct limit){ .memory = 1, .unit = "GB/s", .amount = bytes,
                           .rate = { .n = ms.n, .median = 1e3 * bytes / ms.median,
                                     .lo = 1e3 * bytes / ms.hi, .hi = 1e3 * bytes / ms.lo } };
}

static struct limit limit_of(const struct session *s, const struct hone_bench *b)
{
    const struct limit compute = { .unit = "GFLOP/s",
                                   .amount = b->problem.op->flops(&b->problem),
                                   .rate = peak(s, b) };
    const struct hone_bench_row *move = hone_bench_bound(b, compute.rate.median),
                                *r = b->nrows ? &b->row[0] : NULL;
    if (move) {
        struct limit l = memory_limit(s, b, move->stats);
        l.move = move;
        return l;
    }
    /* Of a device whose peaks are kept the roof tells. */
    if (compute.rate.n || !r || r->roof_ms <= 0 || !strcmp(r->bound, "compute")) return compute;
    return memory_limit(s, b, (struct hone_stats){ .median = r->roof_ms, .lo = r->roof_ms,
                                                   .hi = r->roof_ms });
}

/* Per second, in 1e9. */
static double rate_of(const struct limit *l, const struct hone_bench_row *r)
{
    return l->amount / (r->stats.median * 1e6);
}

/* Of the rate that the limit allows; 0: that is not known. */
static double share_of(const struct limit *l, const struct hone_bench_row *r)
{
    return l->rate.median > 0 ? 1e9 * rate_of(l, r) / l->rate.median : 0;
}

static double best_ms(const struct hone_bench *b, unsigned builds)
{
    double ms = 0;
    for (int i = 0; i < b->nrows; i++)
        if (hone_bench_timed(&b->row[i]) && builds >> b->row[i].kernel->build & 1 &&
            (ms <= 0 || b->row[i].stats.median < ms))
            ms = b->row[i].stats.median;
    return ms;
}

static double add_ratio(struct mean *m, double rival, double mine)
{
    if (rival <= 0 || mine <= 0) return 0;
    m->sum += log(rival / mine);
    m->n++;
    m->below += rival / mine < BAR;
    return rival / mine;
}

static void compare(struct session *s, const struct hone_bench *b, const char *text)
{
    const unsigned aot = 1u << HONE_AOT, jit = 1u << HONE_JIT, lib = 1u << HONE_LIB;
    const double library = best_ms(b, lib);
    for (int i = HONE_AOT; i < HONE_LIB; i++)
        add_ratio(&s->build[i], library, best_ms(b, 1u << i));
    double ratio = add_ratio(&s->ours, library, best_ms(b, aot | jit));
    add_ratio(&s->jit, best_ms(b, aot), best_ms(b, jit));
    if (ratio > 0 && (!s->worst[0] || ratio < s->worst_ratio)) {
        s->worst_ratio = ratio;
        snprintf(s->worst, sizeof s->worst, "%s", text);
    }
}

static const char *verdict(const struct hone_bench_row *r)
{
    return !r->state ? "right" : r->state == HONE_EWRONG ? "wrong" : "failed";
}

static void print_table(const struct session *s, const struct hone_bench *b, const char *text)
{
    const struct limit limit = limit_of(s, b);
    const struct hone_stats *most = &limit.rate;
    char config[HONE_TEXT], interval[48];
    printf("%s\n", text);
    for (int i = 0; i < b->nrows; i++) {
        const struct hone_bench_row *r = &b->row[i];
        hone_config_print(r->kernel, &r->config, config);
        if (!hone_bench_timed(r)) {
            printf("  %-32s %s: %s  %s\n", r->kernel->name, verdict(r), r->why, config);
            continue;
        }
        snprintf(interval, sizeof interval, "[%.4g, %.4g]", r->stats.lo, r->stats.hi);
        printf("  %-32s %10.4g ms %-22s %8.4g %-7s", r->kernel->name, r->stats.median, interval,
               rate_of(&limit, r), limit.unit);
        if (most->median > 0) printf(" %4.0f %%", 100 * share_of(&limit, r));
        if (r->vs_library > 0) printf(" %6.2fx", r->vs_library);
        if (r->reorder_ms > 0) printf("  (reorders %.3g ms)", r->reorder_ms);
        printf("  %s\n", config);
    }
    if (!most->n) return;
    config[0] = 0;
    if (limit.move) hone_config_print(limit.move->kernel, &limit.move->config, config);
    snprintf(interval, sizeof interval, "[%.4g, %.4g]", 1e-9 * most->lo, 1e-9 * most->hi);
    printf("  %-32s %24s %22.4g %-7s  100 %%%s%s\n", "(peak right after)", interval,
           1e-9 * most->median, limit.unit, config[0] ? "  " : "", config);
}

static void print_csv(const struct session *s, const struct hone_bench *b, const char *text)
{
    const double most = peak(s, b).median;
    const struct limit limit = limit_of(s, b);
    char config[HONE_TEXT];
    for (int i = 0; i < b->nrows; i++) {
        const struct hone_bench_row *r = &b->row[i];
        const struct hone_jit_cost *jit = hone_plan_jit(&r->plan);
        hone_config_print(r->kernel, &r->config, config);
        printf("%s,%s,%s,\"%s\",%s,", text, r->kernel->name, hone_build_name(r->kernel->build),
               config, verdict(r));
        if (!hone_bench_timed(r)) { printf(",,,,,,,,,,,\n"); continue; }
        printf("%d,%.6g,%.6g,%.6g,%.6g,", r->stats.n, r->stats.median, r->stats.lo, r->stats.hi,
               hone_bench_gflops(b, r));
        if (most > 0) printf("%.4g", 1e9 * hone_bench_gflops(b, r) / most);
        putchar(',');
        if (r->vs_library > 0) printf("%.4g", r->vs_library);
        printf(",%.4g,", r->reorder_ms);
        if (jit) printf("%.4g,%lld", jit->compile_ms, (long long)jit->code_bytes);
        else putchar(',');
        if (limit.memory) printf(",%.6g,%.4g\n", rate_of(&limit, r), share_of(&limit, r));
        else puts(",,");
    }
}

static void keep_json(struct session *s, const struct hone_bench *b, const char *text)
{
    const double most = peak(s, b).median;
    const struct limit limit = limit_of(s, b);
    json_t *rivals = json_array(), *problem;
    for (int i = 0; i < b->nrows; i++) {
        const struct hone_bench_row *r = &b->row[i];
        json_t *row = hone_bench_row_json(b, r);
        if (most > 0 && hone_bench_timed(r))
            json_object_set_new(row, "peak_share", json_real(1e9 * hone_bench_gflops(b, r) / most));
        if (limit.memory && hone_bench_timed(r)) {
            json_object_set_new(row, "gbytes_per_s", json_real(rate_of(&limit, r)));
            json_object_set_new(row, "bandwidth_share", json_real(share_of(&limit, r)));
        }
        json_array_append_new(rivals, row);
    }
    problem = json_pack("{s:s, s:f, s:s, s:o}", "problem", text, "peak_gflops", 1e-9 * most,
                        "bound", limit.memory ? "memory" : "compute", "rivals", rivals);
    if (limit.memory)
        json_object_update_new(problem, json_pack("{s:f, s:f}", "moved_bytes", limit.amount,
                                                  "peak_gbytes_per_s", 1e-9 * limit.rate.median));
    json_array_append_new(s->rows, problem);
}

static int bench_problem(struct session *s, const struct hone_problem *p)
{
    struct hone_bench b = { .device = s->d, .problem = *p, .cache = s->o->cache, .seed = 1,
                            .windows = s->o->windows, .peak_threads = threads_of(s) };
    struct hone_case c;
    char text[HONE_TEXT];
    hone_problem_print(p, text);
    int err = hone_case_open(&c, p, s->d, HONE_REALS, 1);
    if (!err) {
        err = hone_case_reset(&c);
        if (!err) err = add_rivals(s, &b, &c);
        hone_case_close(&c);
    }
    if (!err && !hone_interrupted()) {
        err = hone_bench_measure(&b, s->have_peaks ? &s->peaks : NULL, NULL);
        if (!err && !b.interrupted) {
            compare(s, &b, text);
            s->nproblems++;
            if (s->o->form == HONE_BENCH_TABLE) print_table(s, &b, text);
            else if (s->o->form == HONE_BENCH_CSV) print_csv(s, &b, text);
            else keep_json(s, &b, text);
            fflush(stdout);
        }
        for (int i = 0; i < b.nrows; i++) s->nbad += b.row[i].state != 0;
    }
    hone_bench_close(&b);
    return err;
}

/* ---- all of them ---- */

static double geometric(const struct mean *m) { return m->n ? exp(m->sum / m->n) : 0; }

static void print_mean(FILE *f, const char *what, const struct mean *m)
{
    if (m->n)
        fprintf(f, "%-28s geometric mean %.3fx over %d problems, %d below %.2fx\n", what,
                geometric(m), m->n, m->below, BAR);
}

static void summary(const struct session *s, FILE *f)
{
    fprintf(f, "%d problems on %s (%s), %d windows; against the best library:\n", s->nproblems,
            s->d->name, s->d->text, s->o->windows);
    print_mean(f, "  precompiled", &s->build[HONE_AOT]);
    print_mean(f, "  jit", &s->build[HONE_JIT]);
    print_mean(f, "  the better of both", &s->ours);
    if (s->worst[0]) fprintf(f, "  least: %.2fx at %s\n", s->worst_ratio, s->worst);
    print_mean(f, "jit against precompiled:", &s->jit);
}

static json_t *mean_json(const struct mean *m)
{
    return m->n ? json_pack("{s:f, s:i, s:i}", "geometric_mean", geometric(m), "problems", m->n,
                            "below", m->below)
                : json_null();
}

static int read_problems(struct session *s, FILE *f)
{
    char line[2 * HONE_TEXT];
    struct hone_problem p;
    int err = HONE_OK, lineno = 0;
    while (!err && !hone_interrupted() && fgets(line, sizeof line, f)) {
        lineno++;
        line[strcspn(line, " \t#\r\n")] = 0;
        if (!line[0]) continue;
        err = hone_problem_parse(line, &p);
        if (!err) err = bench_problem(s, &p);
        if (err) err = hone_fail_at(err, "%s:%d", f == stdin ? "stdin" : s->o->file, lineno);
    }
    return err;
}

int hone_bench_rivals(const char *command, struct hone_device *d,
                      const struct hone_bench_rivals *o)
{
    struct session s = { .command = command, .o = o, .d = d };
    int err = check_rivals(&s);
    if (err) return hone_command_fail(command, "--rivals", err);
    FILE *f = strcmp(o->file, "-") ? fopen(o->file, "r") : stdin;
    if (!f) {
        err = hone_fail(HONE_EIO, "%s: %s", o->file, strerror(errno));
        return hone_command_fail(command, "--problems", err);
    }
    s.have_peaks = !hone_peaks(d, 0, &s.peaks);
    hone_catch_interrupt();
    if (o->form == HONE_BENCH_JSON) s.rows = json_array();
    if (o->form == HONE_BENCH_CSV)
        puts("problem,kernel,build,config,verdict,n,ms,ms_lo,ms_hi,gflops,peak_share,vs_library,"
             "reorder_ms,compile_ms,code_bytes,gbytes_per_s,bandwidth_share");
    err = read_problems(&s, f);
    if (f != stdin) fclose(f);
    hone_progress_end();
    int code = err                                 ? hone_command_fail(command, NULL, err)
               : s.nbad || hone_interrupted() ? HONE_BAD
                                                   : HONE_GOOD;
    /* A table ends with it; a file for a program does not. */
    summary(&s, o->form == HONE_BENCH_TABLE ? stdout : stderr);
    json_t *root = NULL;
    if (s.rows)
        root = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "device", d->text, "problems", s.rows,
                         "aot", mean_json(&s.build[HONE_AOT]), "jit",
                         mean_json(&s.build[HONE_JIT]), "ours", mean_json(&s.ours),
                         "jit_against_aot", mean_json(&s.jit));
    return hone_command_end(command, root, code);
}
