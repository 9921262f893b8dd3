/* Searchers, by replay: on recorded spaces of this program's kernels each needs few measurements, a
 * lesson that misleads does little harm, and a file that is none is refused. */
#include "config.h"

#include "autotune/replay.h"
#include "tests/tap.h"

#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEEDS = 11, MAX_SPACES = 40, NEEDED = 20 };

static struct hone_recording space[MAX_SPACES];
static int nspaces;

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static struct hone_searcher const *searcher(const char *name)
{
    const struct hone_searcher *s;
    return hone_searcher_find(name, &s) ? NULL : s;
}

/* The median of measurements to 95 %; *reached: seeds that reached 90 % within 200. */
static int median(const struct hone_recording *r, const char *name, const double *prior, int blind,
                  const char *noise, int *reached)
{
    int to95[SEEDS];
    *reached = 0;
    for (int i = 0; i < SEEDS; i++) {
        struct hone_reach reach = { .to95 = 0 };
        struct hone_replay x = { .recording = r, .searcher = searcher(name), .prior = prior,
                                 .blind = blind, .seed = hone_random(7, (uint64_t)i) };
        hone_noise_parse(noise, &x.noise);
        if (hone_replay_run(&x, &reach)) printf("# %s\n", hone_errmsg());
        to95[i] = reach.to95;
        *reached += reach.to90 > 0 && reach.to90 <= 200;
    }
    qsort(to95, SEEDS, sizeof *to95, by_value);
    return to95[SEEDS / 2];
}

/* ---- ask and tell ---- */

/* Every searcher gets through a space in which things fail, asks for nobody twice, and does the
 * same again for the same seed. */
static void check_protocol(const struct hone_searcher *s)
{
    struct hone_recording r;
    struct hone_search a, b;
    int asked = 0, same = 1, once = 1;
    hone_recording_synthetic(&r, 3);
    r.pool.nkernels = 1;   /* one of four kernels is enough */
    r.pool.n = r.pool.kernel[0].n;
    for (int i = 0; i < r.pool.n; i += 3) r.ms[i] = 0;
    hone_search_open(&a, s, &r.pool, NULL, 5);
    hone_search_open(&b, s, &r.pool, NULL, 5);
    for (int i; (i = hone_search_ask(&a)) >= 0; asked++) {
        once &= i < r.pool.n && !a.ms[i];
        if (!once) break;
        same &= hone_search_ask(&b) == i;
        hone_search_tell(&a, i, r.ms[i]);
        hone_search_tell(&b, i, r.ms[i]);
    }
    double best = 0;
    for (int i = 0; i < r.pool.n; i++)
        if (r.ms[i] > 0 && (best <= 0 || r.ms[i] < best)) best = r.ms[i];
    ok(once && asked == r.pool.n && a.best >= 0 && r.ms[a.best] == best,
       "%s: each of %d candidates once, the best found", s->name, asked);
    ok(same, "%s: equal seeds, equal questions", s->name);
    hone_search_close(&a);
    hone_search_close(&b);
    hone_recording_close(&r);
}

static void check_names(void)
{
    const struct hone_searcher *s;
    ok(!hone_searcher_find(NULL, &s) && s == hone_searchers[0] && !strcmp(s->name, "model"),
       "the default is the model");
    ok(hone_searcher_find("magic", &s) == HONE_EPARSE &&
           strstr(hone_errmsg(), "model, ils, genetic, annealing, random, exhaustive"),
       "an unknown name gives the list");
}

/* ---- files ---- */

static void check_file(const char *text, const char *why)
{
    char file[] = "/tmp/hone-space-XXXXXX";
    struct hone_recording r;
    int f = mkstemp(file), err = 0;
    if (f >= 0 && write(f, text, strlen(text)) == (ssize_t)strlen(text))
        err = hone_recording_read(&r, file);
    close(f);
    unlink(file);
    if (!ok(err && strstr(hone_errmsg(), file) && strstr(hone_errmsg(), why), "a bad file: %s",
            why))
        printf("# %s\n", err ? hone_errmsg() : "was read");
}

static void check_files(void)
{
    static const char head[] = "{\"type\":\"space\",\"problem\":\"p\",\"device\":\"d\",\"cache\":\"warm\"}\n";
    char text[1024];
    const struct { const char *line, *why; } bad[] = {
        { "{", ":2: not JSON" }, { "[1]", ":2: no type" }, { "{\"type\":\"cat\"}", ":2: type 'cat'" },
        { "{\"type\":\"kernel\"}", ":2: a kernel needs" },
        { "{\"type\":\"kernel\",\"name\":\"k\",\"isa\":\"avx2\",\"build\":\"aot\",\"params\":[\"a\"],\"configs\":[[1,2,3]]}",
          ":2: expected [values of 1 parameters, ms]" },
        { "{\"type\":\"kernel\",\"name\":\"k\",\"isa\":\"avx2\",\"build\":\"aot\",\"params\":[\"a\"],\"configs\":[[0.5,3]]}",
          ":2: a parameter's value" },
        { "{\"type\":\"kernel\",\"name\":\"k\",\"isa\":\"avx2\",\"build\":\"aot\",\"params\":[],\"configs\":[[-3]]}", ":2: expected" },
        { "", "no recorded space" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s%s\n", head, bad[i].line);
        check_file(text, bad[i].why);
    }
    check_file("{\"type\":\"kernel\"}\n", ":1: type 'kernel'");
    char file[] = "/tmp/hone-space-XXXXXX";
    struct hone_recording r, back;
    FILE *f = fdopen(mkstemp(file), "w");
    hone_recording_synthetic(&r, 1);
    int same = f && !hone_recording_write(&r, f);
    if (f) fclose(f);
    same = same && !hone_recording_read(&back, file) && back.pool.n == r.pool.n;
    for (int i = 0; same && i < r.pool.n; i++)
        same = !memcmp(&back.pool.at[i], &r.pool.at[i], sizeof r.pool.at[i]) &&
               fabs(back.ms[i] / r.ms[i] - 1) < 1e-3;
    ok(same, "what was written is read back");
    hone_recording_close(&back);
    hone_recording_close(&r);
    f = fopen(file, "w");
    hone_recording_roofline(&r, 1);
    same = f && !hone_recording_write(&r, f);
    if (f) fclose(f);
    same = same && !hone_recording_read(&back, file) && back.pool.n == r.pool.n &&
           back.nwhat == r.nwhat;
    for (int i = 0; same && i < r.pool.n * r.nwhat; i++)
        same = fabs(back.count[i] / r.count[i] - 1) < 1e-3 &&
               !strcmp(back.what[i % r.nwhat], r.what[i % r.nwhat]);
    ok(same, "so are counters");
    unlink(file);
    hone_recording_close(&back);
    hone_recording_close(&r);
}

static void check_noise(void)
{
    struct hone_noise q;
    ok(!hone_noise_parse("jitter=0.02,outliers=0.1", &q) && q.jitter == 0.02 && q.outliers == 0.1 &&
           !q.drift,
       "noise is read");
    ok(hone_noise_parse("jitter", &q) == HONE_EPARSE &&
           hone_noise_parse("loud", &q) == HONE_EPARSE &&
           hone_noise_parse("jitter=x", &q) == HONE_EPARSE,
       "and what is none refused");
}

/* ---- how few measurements ---- */

static void open_spaces(void)
{
    char pattern[1024];
    glob_t g = { 0 };
    const char *srcdir = getenv("srcdir");
    snprintf(pattern, sizeof pattern, "%s/results/spaces/*.jsonl", srcdir ? srcdir : ".");
    if (glob(pattern, 0, NULL, &g)) return;
    for (size_t i = 0; i < g.gl_pathc && nspaces < MAX_SPACES; i++)
        if (hone_recording_read(&space[nspaces], g.gl_pathv[i])) printf("# %s\n", hone_errmsg());
        else nspaces++;
    globfree(&g);
}

/* What all spaces of other problems teach about space i. */
static double *lessons(int i)
{
    struct hone_lesson lesson[MAX_SPACES];
    struct hone_problem p, q;
    int n = 0;
    double *prior = calloc((size_t)space[i].pool.n, sizeof *prior);
    hone_problem_parse(space[i].problem, &p);
    for (int j = 0; j < nspaces; j++) {
        if (!strcmp(space[i].problem, space[j].problem) || hone_problem_parse(space[j].problem, &q))
            continue;
        lesson[n++] = (struct hone_lesson){ &space[j].pool, space[j].ms,
                                            exp(-hone_problem_distance(&p, &q) / 2) };
    }
    hone_transfer(&space[i].pool, lesson, n, prior);
    return prior;
}

struct bars {
    int cold[MAX_SPACES], taught[MAX_SPACES], misled[MAX_SPACES], random[MAX_SPACES];
    int most_cold, fewest, quick, worse, harmed;
};

static void measure(struct bars *b, int blind, const char *noise)
{
    memset(b, 0, sizeof *b);
    b->fewest = SEEDS;
    for (int i = 0; i < nspaces; i++) {
        int reached;
        double *prior = lessons(i);
        b->cold[i] = median(&space[i], "model", NULL, blind, noise, &reached);
        if (reached < b->fewest) b->fewest = reached;
        b->taught[i] = median(&space[i], "model", prior, blind, noise, &reached);
        /* A lesson that says the contrary of what it should. */
        for (int j = 0; j < space[i].pool.n; j++) prior[j] = 1 - prior[j];
        b->misled[i] = median(&space[i], "model", prior, blind, noise, &reached);
        if (reached < b->fewest) b->fewest = reached;
        b->random[i] = median(&space[i], "random", NULL, blind, noise, &reached);
        if (b->cold[i] > b->most_cold) b->most_cold = b->cold[i];
        b->quick += b->taught[i] <= 15;
        /* Where guesses are hidden the first trial is one of nobody's choice, and one or two more
         * are much of what little it takes. */
        b->worse += b->taught[i] > 1.2 * b->cold[i] + 2 * blind;
        b->harmed += b->misled[i] > 2 * b->cold[i] + 5;
        printf("# %-48s model %3d, taught %3d, misled %3d, random %3d\n", space[i].problem,
               b->cold[i], b->taught[i], b->misled[i], b->random[i]);
        free(prior);
    }
}

static int middle(int *t)
{
    qsort(t, (size_t)nspaces, sizeof *t, by_value);
    return t[nspaces / 2];
}

static void check_bars(int blind, const char *noise)
{
    struct bars b;
    const char *how = blind ? "guesses hidden" : "guesses known";
    measure(&b, blind, noise);
    ok(b.most_cold <= 60,
       "%s, %s noise: 95 %% of the best after at most %d measurements, median of seeds", how, noise,
       b.most_cold);
    ok(b.fewest == SEEDS, "all seeds reach 90 %% within 200");
    ok(b.quick * 4 >= nspaces * 3, "taught: within 15 on %d of %d spaces", b.quick, nspaces);
    ok(!b.worse, "taught: on no space more than 1.2 times the cold search's%s, %d are",
       blind ? " and 2" : "", b.worse);
    ok(!b.harmed, "misled: on no space more than twice the cold search's and 5, %d are", b.harmed);
    int random = middle(b.random), model = middle(b.cold);
    ok(random >= (blind ? 2 : 5) * model,
       "random search needs %d where the model needs %d, on the median space", random, model);
}

/* ---- a model of cost ---- */

/* `sign` times the true logarithms, and off by up to a fifth: a good model, or one that has it all
 * upside down. */
static int median_costed(struct hone_recording *r, double sign)
{
    int reached;
    free(r->pool.cost);
    r->pool.cost = malloc((size_t)r->pool.n * sizeof *r->pool.cost);
    for (int i = 0; r->pool.cost && i < r->pool.n; i++)
        r->pool.cost[i] = sign * log(r->ms[i]) + 0.2 * hone_random_unit(31, (uint64_t)i);
    return median(r, "model", NULL, 1, "quiet", &reached);
}

static void check_cost(void)
{
    int cold = 0, told = 0, harmed = 0, reached;
    for (int k = 0; k < 4; k++) {
        struct hone_recording r;
        hone_recording_synthetic(&r, 40 + (uint64_t)k);
        const int without = median(&r, "model", NULL, 1, "quiet", &reached),
                  with = median_costed(&r, 1), misled = median_costed(&r, -1);
        printf("# %d measurements, %d with a model of cost, %d with one upside down\n", without,
               with, misled);
        cold += without;
        told += with;
        harmed += misled > 2 * without + 5;
        hone_recording_close(&r);
    }
    ok(told * 3 <= cold * 2, "a model of cost helps: %d measurements instead of %d", told, cold);
    ok(!harmed, "one that misleads costs at most twice the measurements and 5, but on %d of 4",
       harmed);
}

/* ---- guesses ---- */

/* What an untuned problem runs comes first, whoever was fast on other problems; then these. */
static void check_guesses(void)
{
    struct hone_recording r;
    struct hone_search s;
    int next[8];
    hone_recording_synthetic(&r, 3);
    const int last = r.pool.nkernels - 1, n = r.pool.nkernels < 8 ? r.pool.nkernels : 8;
    double *prior = calloc((size_t)r.pool.n + 1, sizeof *prior);
    if (!prior) abort();
    for (int i = 0; i < r.pool.n; i++) prior[i] = r.pool.at[i].kernel;
    hone_search_open(&s, searcher("model"), &r.pool, prior, 5);
    ok(hone_search_guesses(&s, n, next) == n && next[0] == r.pool.kernel[0].first &&
           next[n - 1] == r.pool.kernel[last].first,
       "guesses come in the order of what was fast on other problems");
    r.pool.usual = last + 1;
    ok(hone_search_guesses(&s, n, next) == n && next[0] == r.pool.kernel[last].first &&
           next[1] == r.pool.kernel[0].first && next[n - 1] == r.pool.kernel[last - 1].first,
       "but first what an untuned problem runs, and nobody twice");
    hone_search_tell(&s, next[0], 1);
    ok(hone_search_guesses(&s, n, next) == n - 1 && next[0] == r.pool.kernel[0].first,
       "which is not tried again");
    hone_search_close(&s);
    hone_recording_close(&r);
    free(prior);
}

/* ---- several at once ---- */

/* Measurements to 95 % where so many are asked for at once. */
static int to95_by(const struct hone_recording *r, int few, uint64_t seed)
{
    struct hone_search s;
    int n = 0, there = 0, next[8], some;
    double best = 0;
    for (int i = 0; i < r->pool.n; i++)
        if (r->ms[i] > 0 && (best <= 0 || r->ms[i] < best)) best = r->ms[i];
    hone_search_open(&s, searcher("model"), &r->pool, NULL, seed);
    while (!there && (some = hone_search_ask_few(&s, few, next)) > 0)
        for (int k = 0; k < some && !there; k++, n++) {
            const double ms = r->ms[next[k]];
            there = ms > 0 && 0.95 * ms <= best;
            hone_search_tell(&s, next[k], ms * (1 + 0.02 * hone_random_unit(seed, (uint64_t)n)));
        }
    hone_search_close(&s);
    return n;
}

static void check_few(void)
{
    struct hone_recording r;
    struct hone_search a, b;
    int same = 1, once = 1, next[4], sum[3] = { 0 };
    hone_recording_synthetic(&r, 3);
    hone_search_open(&a, searcher("model"), &r.pool, NULL, 5);
    hone_search_open(&b, searcher("model"), &r.pool, NULL, 5);
    for (int n = 0; n < 40; n++) {
        const int some = hone_search_ask_few(&a, 4, next), i = hone_search_ask(&b);
        same &= some > 0 && next[0] == i && a.gain == b.gain;
        for (int k = 0; k < some; k++) {
            once &= !a.ms[next[k]];
            for (int j = 0; j < k; j++) once &= next[j] != next[k];
        }
        hone_search_tell(&a, i, r.ms[i]);
        hone_search_tell(&b, i, r.ms[i]);
    }
    ok(same, "asking for several changes nothing");
    ok(once, "and names each once");
    hone_search_close(&a);
    hone_search_close(&b);
    hone_recording_close(&r);
    for (int k = 0; k < 8; k++) {
        hone_recording_synthetic(&r, 40 + (uint64_t)k);
        for (int few = 0; few < 3; few++) sum[few] += to95_by(&r, 1 << few, 1);
        hone_recording_close(&r);
    }
    ok(sum[1] <= 1.25 * sum[0] && sum[2] <= 1.6 * sum[0],
       "on 8 spaces %d measurements one by one, %d two by two, %d four by four", sum[0], sum[1], sum[2]);
}

/* ---- counters ---- */

enum { MADE = 4 };

/* Sums over made-up spaces of median measurements, of which a count is one. */
struct counted { int cold, own, taught, misled, worse; };

static int median_of(const struct hone_replay *x)
{
    int to95[SEEDS];
    for (int i = 0; i < SEEDS; i++) {
        struct hone_reach reach = { .to95 = 0 };
        struct hone_replay one = *x;
        one.searcher = searcher("model");
        one.seed = hone_random(7, (uint64_t)i);
        one.blind = 1;
        hone_noise_parse("quiet", &one.noise);
        if (hone_replay_run(&one, &reach)) printf("# %s\n", hone_errmsg());
        to95[i] = reach.to95;
    }
    qsort(to95, SEEDS, sizeof *to95, by_value);
    return to95[SEEDS / 2];
}

/* Every candidate's counts become another's. */
static void muddle(struct hone_recording *r)
{
    for (int i = r->pool.n - 1; i > 0; i--) {
        const int j = (int)(hone_random(99, (uint64_t)i) % (uint64_t)(i + 1));
        for (int w = 0; w < r->nwhat; w++) {
            double was = r->count[i * r->nwhat + w];
            r->count[i * r->nwhat + w] = r->count[j * r->nwhat + w];
            r->count[j * r->nwhat + w] = was;
        }
    }
}

static void check_counters(void)
{
    struct hone_recording r[MADE];
    struct counted sum = { 0 };
    int middle[MADE];
    for (int i = 0; i < MADE; i++) hone_recording_roofline(&r[i], 1 + (uint64_t)i);
    for (int right = 1; right >= 0; right--) {
        for (int i = 0; i < MADE && !right; i++) muddle(&r[i]);
        for (int i = 0; i < MADE; i++) {
            struct hone_replay x = { .recording = &r[i] },
                               bare = { .recording = &r[i], .uncounted = 1 };
            for (int j = 0; j < MADE; j++)
                if (j != i) x.teacher[x.nteachers++] = &r[j];
            const int taught = median_of(&x);
            x.nteachers = 0;
            const int own = right ? median_of(&x) : 0, cold = right ? median_of(&bare) : middle[i];
            if (right) { middle[i] = cold; sum.cold += cold; sum.own += own; sum.taught += taught; }
            else sum.misled += taught;
            sum.worse += (own > 1.2 * cold + 1) + (right ? taught > 1.2 * cold + 1 : taught > 2 * cold + 5);
            printf("# %s: %d measurements, with %s counters %d, taught %d\n", r[i].problem, cold,
                   right ? "its" : "muddled", own, taught);
        }
    }
    ok(sum.taught * 4 <= sum.cold * 3, "what a few candidates counted on other problems: %d measurements instead "
       "of %d", sum.taught, sum.cold);
    ok(sum.own * 5 <= sum.cold * 6, "what a few counted here costs no more than 1.2 times: %d", sum.own);
    ok(!sum.worse, "on no space 1.2 times and 1; muddled counters twice and 5; but on %d", sum.worse);
    for (int i = 0; i < MADE; i++) hone_recording_close(&r[i]);
}

int main(void)
{
    check_names();
    for (int i = 0; hone_searchers[i]; i++) check_protocol(hone_searchers[i]);
    check_files();
    check_noise();
    open_spaces();
    if (!ok(nspaces >= NEEDED, "%d recorded spaces", nspaces)) return tap_end();
    check_bars(0, "quiet");
    check_bars(1, "quiet");
    check_bars(0, "busy");
    for (int i = 0; i < nspaces; i++) hone_recording_close(&space[i]);
    check_cost();
    check_guesses();
    check_few();
    check_counters();
    return tap_end();
}
