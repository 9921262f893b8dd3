/* Measures a net's training step part by part.  Whole steps run with and without a clock reading
 * between their parts, in turn: the parts are seen with the caches as the step leaves them, and
 * what the looking costs is known. */
#include "results/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 3, MAX_RECORDS = 512 };

/* Below this a call and a fork of threads weigh as much as the work. */
static const double OVERHEAD_MS = 0.005;

/* Inputs uniform in [0, 1), labels over all classes: what a normalised batch looks like to the
 * kernels, zeros (which flatter) left out. */
static void fill_batch(const struct hone_net *net)
{
    const struct hone_tensor *x = &net->tensor[net->input], *t = &net->tensor[net->target];
    const struct hone_tensor *out = &net->tensor[net->output];
    int64_t classes = out->dim[out->rank - 1];
    char *to = net->data + x->offset;
    for (int64_t i = 0; i < hone_tensor_len(x); i++, to += hone_dtype_bytes(x->dtype))
        hone_from_double(x->dtype, &(double){ hone_random_unit(1, (uint64_t)i) }, to, 1);
    to = net->data + t->offset;
    for (int64_t i = 0; i < hone_tensor_len(t); i++, to += hone_dtype_bytes(t->dtype)) {
        double u = hone_random_unit(2, (uint64_t)i);
        if (t->dtype == HONE_I32) u = floor(u * (double)classes);
        hone_from_double(t->dtype, &u, to, 1);
    }
}

/* ---- time ---- */

static int traced_step(const struct hone_net *net, double seconds[])
{
    double before = hone_now();
    for (int s = 0; s < net->nsteps; s++) {
        int err = hone_net_run(net, s, s + 1);
        if (err) return err;
        double after = hone_now();
        seconds[s] = after - before;
        before = after;
    }
    return HONE_OK;
}

/* t: nsteps + 2 rows of `rounds` milliseconds: the parts, their sum, the untraced step. */
static int time_rounds(const struct hone_net *net, int rounds, double *t, double *seconds)
{
    int n = net->nsteps;
    double started = hone_now();
    for (int r = -WARM_UP; r < rounds; r++) {
        double sum = 0, begin = hone_now();
        int err = hone_net_run(net, 0, n);
        double whole = hone_now() - begin;
        if (!err) err = traced_step(net, seconds);
        if (err) return err;
        if (hone_interrupted()) return hone_fail(HONE_EINTR, "interrupted");
        if (r < 0) continue;
        for (int s = 0; s < n; s++) {
            t[s * rounds + r] = seconds[s] * 1e3;
            sum += seconds[s] * 1e3;
        }
        t[n * rounds + r] = sum;
        t[(n + 1) * rounds + r] = whole * 1e3;
        hone_progress("profile", r + 1, rounds, started);
    }
    hone_progress_end();
    return HONE_OK;
}

static int measure(struct hone_profile *prof, int rounds)
{
    const struct hone_net *net = prof->net;
    int n = net->nsteps, err;
    double *t = malloc(sizeof *t * (size_t)(n + 2) * (size_t)rounds), *seconds = malloc(sizeof *seconds * (size_t)n);
    if (!t || !seconds) err = hone_fail(HONE_ENOMEM, "%d rounds of %d times", rounds, n);
    else err = time_rounds(net, rounds, t, seconds);
    for (int s = 0; !err && s < n; s++) prof->row[s].ms = hone_stats_of(t + s * rounds, rounds);
    if (!err) {
        prof->traced_ms = hone_stats_of(t + n * rounds, rounds);
        prof->step_ms = hone_stats_of(t + (n + 1) * rounds, rounds);
    }
    free(t);
    free(seconds);
    return err;
}

/* ---- why this kernel, how near the roof ---- */

static int is_library(const struct hone_record *r) { return !strncmp(r->version, "lib ", 4); }

/* The records that the choice was made from: the chosen one, the best of another kernel, the best
 * library's.  Only if the plan is what the records call best do their ratios belong to it. */
static int look_up(struct hone_profile_row *row, const struct hone_step *s, struct hone_db *db, struct hone_device *d)
{
    if (!s->known) return HONE_OK;
    struct hone_record *best = malloc(sizeof *best * MAX_RECORDS);
    if (!best) return hone_fail(HONE_ENOMEM, "%d records", MAX_RECORDS);
    int n = hone_db_best(db, &s->problem, d, best, MAX_RECORDS);
    for (int i = 0; i < n; i++) {
        if (i == 0) row->best = best[0];
        if (!row->runner_up.kernel[0] && strcmp(best[i].kernel, best[0].kernel)) row->runner_up = best[i];
        if (!row->library.kernel[0] && is_library(&best[i])) row->library = best[i];
    }
    row->ncandidates = n > 0 ? n : 0;
    free(best);
    return n < 0 ? n : HONE_OK;
}

static void place_under_roof(struct hone_profile *prof, int s)
{
    const struct hone_step *step = &prof->net->step[s];
    struct hone_profile_row *row = &prof->row[s];
    row->threads = hone_config_get(step->plan.kernel, &step->plan.config, "threads", 1);
    row->flops = step->problem.op->flops(&step->problem);
    row->bytes = hone_problem_bytes(&step->problem);
    row->roof_ms = 1e3 * hone_roof(&step->problem, prof->net->device, &prof->peaks, row->threads, &row->bound);
    if (row->ms.median < OVERHEAD_MS && row->roof_ms < row->ms.median / 2) row->bound = "overhead";
}

/* Counters come from separate runs of the same plan on the problem's own random data. */
static int count(struct hone_profile_row *row, const struct hone_step *s, struct hone_device *d, const char *list)
{
    struct hone_case c;
    int err = hone_case_open(&c, &s->problem, d, HONE_REALS, 1);
    if (err) return err;
    err = hone_case_workspace(&c, &s->plan);
    if (!err) err = hone_count(&s->plan, &c, list, row->counter, &row->ncounters);
    hone_case_close(&c);
    return err;
}

int hone_profile_open(struct hone_profile *prof, struct hone_net *net, struct hone_db *db,
                      const struct hone_profile_options *o)
{
    memset(prof, 0, sizeof *prof);
    prof->net = net;
    prof->row = calloc((size_t)net->nsteps, sizeof *prof->row);
    if (!prof->row) return hone_fail(HONE_ENOMEM, "%d rows", net->nsteps);
    int err = hone_peaks(net->device, 0, &prof->peaks);
    fill_batch(net);
    if (!err) err = measure(prof, o->rounds);
    /* Read before the counters' own buffers add to it. */
    prof->peak_bytes = hone_memory_peak();
    for (int s = 0; !err && s < net->nsteps; s++) {
        place_under_roof(prof, s);
        err = look_up(&prof->row[s], &net->step[s], db, net->device);
        if (!err && o->counters) err = count(&prof->row[s], &net->step[s], net->device, o->counters);
    }
    if (err) hone_profile_close(prof);
    return err;
}

void hone_profile_close(struct hone_profile *prof)
{
    free(prof->row);
    memset(prof, 0, sizeof *prof);
}
