/* What a net's outputs are worth: counts of labels against answers, and errors of numbers. */
#include "nets/nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int hone_scores_open(struct hone_scores *s, enum hone_task task, int width)
{
    size_t n = (size_t)width;
    memset(s, 0, sizeof *s);
    s->task = task;
    s->width = width;
    if (task == HONE_CLASSIFY)
        s->confusion = calloc(n * n, sizeof *s->confusion);
    else
        s->output = calloc(n, sizeof *s->output);
    if (s->confusion || s->output) return HONE_OK;
    return hone_fail(HONE_ENOMEM, "scores of %d outputs", width);
}

void hone_scores_close(struct hone_scores *s)
{
    free(s->confusion);
    free(s->output);
    memset(s, 0, sizeof *s);
}

void hone_scores_reset(struct hone_scores *s)
{
    size_t n = (size_t)s->width;
    s->rows = s->top5 = 0;
    if (s->confusion) memset(s->confusion, 0, n * n * sizeof *s->confusion);
    if (s->output) memset(s->output, 0, n * sizeof *s->output);
}

/* ---- adding rows ---- */

void hone_scores_add_label(struct hone_scores *s, const float *x, int32_t label)
{
    int answer = 0, before = 0;
    for (int j = 0; j < s->width; j++) {
        if (x[j] > x[answer] || isnan(x[answer])) answer = j;
        before += x[j] > x[label] || (x[j] == x[label] && j < label);
    }
    s->rows++;
    s->top5 += before < 5 && !isnan(x[label]);
    s->confusion[(int64_t)label * s->width + answer]++;
}

/* Mean and squares about it as rows pass (Welford 1962). */
void hone_scores_add_values(struct hone_scores *s, const float *x, const float *want)
{
    s->rows++;
    for (int j = 0; j < s->width; j++) {
        struct hone_output_score *o = &s->output[j];
        double y = (double)want[j], off = (double)x[j] - y, from = y - o->mean;
        o->mean += from / (double)s->rows;
        o->spread += from * (y - o->mean);
        o->squares += off * off;
        o->sizes += fabs(off);
    }
}

/* ---- what comes of it ---- */

static double share(int64_t part, int64_t of) { return of ? (double)part / (double)of : NAN; }

struct hone_class_score hone_scores_class(const struct hone_scores *s, int k)
{
    int64_t right = s->confusion[(int64_t)k * s->width + k], rows = 0, answers = 0;
    for (int j = 0; j < s->width; j++) {
        rows += s->confusion[(int64_t)k * s->width + j];
        answers += s->confusion[(int64_t)j * s->width + k];
    }
    return (struct hone_class_score){ .rows = rows,
                                      .precision = share(right, answers),
                                      .recall = share(right, rows),
                                      .f1 = share(2 * right, rows + answers) };
}

/* The mean of those that are numbers. */
static void add_mean(double *sum, int *n, double v)
{
    if (isnan(v)) return;
    *sum += v;
    ++*n;
}

struct hone_class_score hone_scores_macro(const struct hone_scores *s)
{
    struct hone_class_score mean = { .rows = s->rows };
    int np = 0, nr = 0, nf = 0;
    for (int k = 0; k < s->width; k++) {
        struct hone_class_score c = hone_scores_class(s, k);
        add_mean(&mean.precision, &np, c.precision);
        add_mean(&mean.recall, &nr, c.recall);
        add_mean(&mean.f1, &nf, c.f1);
    }
    mean.precision = np ? mean.precision / np : NAN;
    mean.recall = nr ? mean.recall / nr : NAN;
    mean.f1 = nf ? mean.f1 / nf : NAN;
    return mean;
}

double hone_scores_accuracy(const struct hone_scores *s)
{
    int64_t right = 0;
    for (int k = 0; k < s->width; k++) right += s->confusion[(int64_t)k * s->width + k];
    return share(right, s->rows);
}

double hone_scores_top5(const struct hone_scores *s) { return share(s->top5, s->rows); }

double hone_scores_mse(const struct hone_scores *s)
{
    double sum = 0;
    for (int j = 0; j < s->width; j++) sum += s->output[j].squares;
    return s->rows ? sum / (double)s->rows / s->width : NAN;
}

double hone_scores_mae(const struct hone_scores *s)
{
    double sum = 0;
    for (int j = 0; j < s->width; j++) sum += s->output[j].sizes;
    return s->rows ? sum / (double)s->rows / s->width : NAN;
}

double hone_scores_r2(const struct hone_scores *s)
{
    double sum = 0;
    for (int j = 0; j < s->width; j++) {
        if (!(s->output[j].spread > 0)) return NAN;
        sum += 1 - s->output[j].squares / s->output[j].spread;
    }
    return sum / s->width;
}
