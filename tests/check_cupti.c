/* The table of a GPU's counters: as data everywhere, and against every chip that CUPTI knows where
 * CUPTI is installed; no GPU is needed for either. */
#include "profiler/cupti.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_METRICS = 64 };

static const struct hone_gpu_metric *metric[MAX_METRICS];
static int nmetrics;

/* What was seen of each metric on some chip: which sums were taken, and whether one lacked it. */
static struct {
    int taken[HONE_GPU_SUMS], lacked;
} seen[MAX_METRICS];

/* ---- as data ---- */

/* CUPTI's names are UNIT__COUNTER.ROLLUP. */
static int well_formed(const struct hone_gpu_term *t)
{
    const char *dot = strchr(t->name, '.');
    return strstr(t->name, "__") && dot && dot[1] &&
           t->name[strspn(t->name, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == 0;
}

static int good_sum(const char *text)
{
    struct hone_gpu_sum s;
    int needed = 0, good = !hone_gpu_sum_parse(text, &s);
    for (int i = 0; good && i < s.n; i++) {
        needed += !s.term[i].may_lack;
        good = well_formed(&s.term[i]);
        for (int k = 0; k < i; k++) good &= !!strcmp(s.term[i].name, s.term[k].name);
    }
    return good && needed;
}

static void check_data(void)
{
    for (const struct hone_gpu_group *g = hone_gpu_groups; g->name; g++) {
        ok(!hone_counter_group_find(g->name, strlen(g->name)) && g->about[0],
           "%s is a name of its own", g->name);
        ok(hone_counters_check(g->name) == HONE_OK, "%s can be asked for", g->name);
        for (const struct hone_gpu_metric *m = g->metric; m->name; m++) {
            int good = m->about[0] && m->unit[0] && m->sum[0];
            for (int i = 0; m->sum[i]; i++) good &= good_sum(m->sum[i]);
            ok(good, "%s of %s is made of well-formed names", m->name, g->name);
            ok(hone_gpu_metric_find(m->name) == m, "%s is the name of one metric", m->name);
            if (nmetrics < MAX_METRICS) metric[nmetrics++] = m;
        }
    }
    struct hone_gpu_sum s;
    ok(!hone_gpu_sum_parse("2*a__b.sum + ?0.5*c__d.sum", &s) && s.n == 2 && s.term[0].weight == 2 &&
           !s.term[0].may_lack && s.term[1].weight == 0.5 && s.term[1].may_lack &&
           !strcmp(s.term[1].name, "c__d.sum"),
       "a sum with weights is read");
    ok(hone_gpu_sum_parse("a__b.sum + ", &s) == HONE_EPARSE, "a sum that ends early is an error");
    ok(hone_gpu_sum_parse("0*a__b.sum", &s) == HONE_EPARSE, "a weight of 0 is an error");
    ok(!hone_gpu_metric_find("no_such"), "an unknown metric is not found");
    ok(hone_counters_check("gpu-no-such") == HONE_EPARSE, "an unknown group is an error");
}

/* ---- against CUPTI ---- */

/* CUPTI counts a multiply-add of the tensor cores as two math_op. */
static int same_unit(const char *ours, const char *theirs)
{
    return !strcmp(ours, theirs) || (!strcmp(ours, "flop") && !strcmp(theirs, "math_op"));
}

static int which_sum(const struct hone_gpu_metric *m, const struct hone_gpu_sum *s)
{
    struct hone_gpu_sum t;
    for (int i = 0; m->sum[i]; i++)
        if (!hone_gpu_sum_parse(m->sum[i], &t) && !strcmp(t.term[0].name, s->term[0].name) &&
            (s->n == 1 || (t.n > 1 && !strcmp(t.term[1].name, s->term[1].name))))
            return i;
    return 0;
}

static void check_metric(const struct hone_cupti_chip *c, int i, const char *name[], size_t *n,
                         struct hone_gpu_sum *s)
{
    const char *why = hone_cupti_resolve(c, metric[i], s), *unit = "";
    if (why) {
        seen[i].lacked = 1;
        if (!metric[i]->lack || !strstr(why, metric[i]->lack) || !strstr(why, c->name))
            ok(0, "%s on %s is missing for a known reason: %s", metric[i]->name, c->name, why);
        return;
    }
    seen[i].taken[which_sum(metric[i], s)] = 1;
    for (int k = 0; k < s->n; k++) name[(*n)++] = s->term[k].name;
    if (s->n == 1 && hone_cupti_has(c, s->term[0].name, NULL, &unit) &&
        !same_unit(metric[i]->unit, unit))
        ok(0, "%s on %s is in %s, not in %s", metric[i]->name, c->name, unit, metric[i]->unit);
}

static void check_chip(const char *chip)
{
    struct hone_cupti_chip c;
    static struct hone_gpu_sum sum[MAX_METRICS];
    const char *name[MAX_METRICS * HONE_GPU_TERMS];
    size_t n = 0, bytes, passes;
    uint8_t *image;
    if (hone_cupti_open(&c, chip, NULL)) {
        /* Of these CUPTI knows the name, but does not count. */
        ok(strstr(hone_errmsg(), "NOT_SUPPORTED") != NULL, "%s: %s", chip, hone_errmsg());
        return;
    }
    int bad = tap_bad;
    for (int i = 0; i < nmetrics; i++) check_metric(&c, i, name, &n, &sum[i]);
    ok(bad == tap_bad && n > 20, "%s has the metrics, or lacks them for a known reason", chip);
    int err = hone_cupti_image(&c, name, n, &image, &bytes, &passes);
    ok(!err && bytes > 0 && passes >= 5 && passes <= 40, "%s counts all %zu in %zu passes", chip, n,
       passes);
    free(image);
    if (!strcmp(chip, "GH100")) {
        name[n++] = "sm__no_such_counter.sum";
        err = hone_cupti_image(&c, name, n, &image, &bytes, &passes);
        ok(err == HONE_EDEVICE && !image, "%s refuses a set with an unknown name", chip);
    }
    hone_cupti_close(&c);
}

static void check_one(const char *chip, const char *of, const char *counter, size_t want)
{
    struct hone_cupti_chip c;
    struct hone_gpu_sum s = { 0 };
    size_t bytes, passes = 0;
    uint8_t *image = NULL;
    const char *name;
    int good = !hone_cupti_open(&c, chip, NULL) &&
               !hone_cupti_resolve(&c, hone_gpu_metric_find(of), &s) &&
               !strcmp(name = s.term[0].name, counter) &&
               !hone_cupti_image(&c, &name, 1, &image, &bytes, &passes);
    ok(good && passes == want, "%s of %s is %s, in %zu", of, chip, counter, want);
    free(image);
    hone_cupti_close(&c);
}

static void check_chips(void)
{
    const char *const *chip;
    size_t n = 0;
    int err = hone_cupti_chips(&chip, &n);
    ok(!err && n >= 20, "%s knows %zu chips", hone_cupti_version(), n);
    for (size_t i = 0; i < n; i++) check_chip(chip[i]);
    for (int i = 0; i < nmetrics; i++) {
        for (int k = 0; metric[i]->sum[k]; k++)
            ok(seen[i].taken[k], "sum %d of %s serves some chip", k, metric[i]->name);
        ok(seen[i].lacked == !!metric[i]->lack,
           "%s has a reason to be missing only if some chip lacks it", metric[i]->name);
    }
    check_one("GH100", "dram_read", "dram__bytes_read.sum", 1);
    check_one("GB202", "dram_read", "dram__bytes_op_read.sum", 1);
    check_one("GV100", "l2_bytes", "lts__t_bytes.sum", 1);
    struct hone_cupti_chip c;
    ok(hone_cupti_open(&c, "XY100", NULL) == HONE_EINVAL && strstr(hone_errmsg(), " GH100"),
       "an unknown chip is an error that names the known ones");
}

int main(void)
{
    check_data();
    if (hone_cupti_absent()) {
        skip(hone_cupti_absent(), "every metric on every chip");
        struct hone_cupti_chip c;
        ok(hone_cupti_open(&c, "GH100", NULL) == HONE_EDEVICE,
           "without CUPTI a chip cannot be opened");
    } else
        check_chips();
    return tap_end();
}
