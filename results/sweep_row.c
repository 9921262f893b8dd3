/* What a run showed: its record as numbers. */
#include "results/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* The median and its interval over the epochs after the first, which finds caches cold and pages
 * untouched; of the first where it is the only one. */
static struct hone_stats spread(const json_t *epochs, const char *key)
{
    int n = (int)json_array_size(epochs), first = n > 1, count = 0;
    double *v = calloc((size_t)n + 1, sizeof *v);
    for (int i = first; v && i < n; i++)
        v[count++] = number_of(json_array_get(epochs, (size_t)i), key);
    struct hone_stats stats = { .median = NAN, .lo = NAN, .hi = NAN, .min = NAN };
    if (count) stats = hone_stats_of(v, count);
    free(v);
    return stats;
}

/* The first of the epochs with the best test accuracy, or of numbers the least error. */
static void find_best(struct hone_sweep_row *r, const json_t *epochs)
{
    r->best = NAN;
    for (int i = 0; i < r->nepochs; i++) {
        const json_t *e = json_array_get(epochs, (size_t)i);
        double v = number_of(e, r->is_classes ? "test_accuracy" : "test_mse");
        if (isnan(v) || (!isnan(r->best) && (r->is_classes ? v <= r->best : v >= r->best)))
            continue;
        r->best = v;
        r->best_epoch = i + 1;
    }
}

static void read_last(struct hone_sweep_row *r, const json_t *last)
{
    r->is_classes = !isnan(number_of(last, "train_accuracy"));
    const char *test = r->is_classes ? "test_accuracy" : "test_mae";
    double measure = number_of(last, r->is_classes ? "test_accuracy" : "test_mse");
    r->train_loss = number_of(last, "train_loss");
    r->train_score = number_of(last, r->is_classes ? "train_accuracy" : "train_mae");
    r->test_loss = number_of(last, "test_loss");
    r->test_score = number_of(last, test);
    r->goal = isnan(measure) ? -r->train_loss : r->is_classes ? measure : -measure;
}

struct hone_sweep_row hone_sweep_row_of(const struct hone_sweep_point *p)
{
    struct hone_sweep_row r = { .point = p,
                                .first_seconds = NAN,
                                .rows_per_s = NAN,
                                .train_loss = NAN,
                                .train_score = NAN,
                                .test_loss = NAN,
                                .test_score = NAN,
                                .goal = NAN,
                                .best = NAN,
                                .seconds = { .median = NAN, .lo = NAN, .hi = NAN } };
    const json_t *result = json_object_get(p->record, "result");
    const json_t *epochs = json_object_get(result, "epochs");
    const char *status = json_string_value(json_object_get(p->record, "status"));
    r.failed = !status || strcmp(status, "done");
    r.reason = json_string_value(json_object_get(p->record, "reason"));
    r.peak_bytes = json_integer_value(json_object_get(p->record, "peak_bytes"));
    r.steps = (int)json_integer_value(json_object_get(result, "steps"));
    r.steps_tuned = (int)json_integer_value(json_object_get(result, "steps_tuned"));
    r.near_chance =
        json_is_true(json_object_get(json_object_get(result, "metrics"), "no_better_than_chance"));
    r.nepochs = (int)json_array_size(epochs);
    if (!r.nepochs) return r;
    r.first_seconds = number_of(json_array_get(epochs, 0), "seconds");
    r.seconds = spread(epochs, "seconds");
    r.rows_per_s = spread(epochs, "images_per_s").median;
    read_last(&r, json_array_get(epochs, (size_t)r.nepochs - 1));
    find_best(&r, epochs);
    return r;
}

static int compare(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a < b) - (a > b);
}

int hone_sweep_rank(const void *a, const void *b)
{
    const struct hone_sweep_point *p = a, *q = b;
    struct hone_sweep_row x = hone_sweep_row_of(p), y = hone_sweep_row_of(q);
    if (x.failed != y.failed) return x.failed - y.failed;
    if (p->rung != q->rung) return q->rung - p->rung;
    /* Where accuracies are those of guessing, losses still tell who has begun to learn. */
    if (x.near_chance != y.near_chance) return x.near_chance - y.near_chance;
    int order = x.near_chance ? 0 : compare(x.goal, y.goal);
    /* Of equal accuracies the smaller loss, then the first in the order of options. */
    if (!order) order = compare(-x.test_loss, -y.test_loss);
    if (order) return order;
    char *s = json_dumps(p->options, JSON_COMPACT), *t = json_dumps(q->options, JSON_COMPACT);
    order = s && t ? strcmp(s, t) : 0;
    free(s);
    free(t);
    return order;
}
