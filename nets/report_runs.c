/* Several runs of one kind: a line for each, their mean and spread. */
#include "nets/report.h"

#include <math.h>
#include <string.h>

static double number_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Columns of a table: the task's, and what they hold of a result. */
struct column {
    const char *title, *key;
    int width, digits;
};

static const struct column classify[] = {
    { "epochs", "epochs", 6, 0 },
    { "seconds", "seconds", 9, 2 },
    { "train loss", "train_loss", 10, 4 },
    { "train acc", "train_accuracy", 9, 4 },
    { "test loss", "test_loss", 10, 4 },
    { "test acc", "test_accuracy", 9, 4 },
    { NULL, NULL, 0, 0 },
};

static const struct column regress[] = {
    { "epochs", "epochs", 6, 0 },
    { "seconds", "seconds", 9, 2 },
    { "train loss", "train_loss", 10, 4 },
    { "train mae", "train_mae", 9, 4 },
    { "test mse", "test_mse", 10, 4 },
    { "test mae", "test_mae", 9, 4 },
    { NULL, NULL, 0, 0 },
};

static const struct column *columns_of(enum hone_task task)
{
    return task == HONE_CLASSIFY ? classify : regress;
}

json_t *hone_report_result(const struct hone_report *r, int run, uint64_t seed, double seconds)
{
    size_t n = json_array_size(r->epochs);
    json_t *last = json_copy(json_array_get(r->epochs, n - 1)), *result = json_object();
    json_object_set_new(result, "run", json_integer(run));
    json_object_set_new(result, "seed", json_integer((json_int_t)seed));
    json_object_set_new(result, "epochs", json_integer((json_int_t)n));
    if (last) {
        json_object_del(last, "epoch");
        json_object_del(last, "images_per_s");
        json_object_update(result, last);
    }
    json_object_set_new(result, "seconds", json_real(seconds));
    json_decref(last);
    return result;
}

void hone_report_runs_heading(enum hone_task task, const char *what)
{
    printf("%-9s  %10s", what, "seed");
    for (const struct column *c = columns_of(task); c->title; c++)
        printf("  %*s", c->width, c->title);
    putchar('\n');
    fflush(stdout);
}

static void print_cells(enum hone_task task, const json_t *result)
{
    for (const struct column *c = columns_of(task); c->title; c++) {
        double v = number_of(result, c->key);
        if (isnan(v))
            printf("  %*s", c->width, "-");
        else
            printf("  %*.*f", c->width, c->digits, v);
    }
    putchar('\n');
    fflush(stdout);
}

void hone_report_run(enum hone_task task, const json_t *result)
{
    printf("%-9lld  %10lld", (long long)json_integer_value(json_object_get(result, "run")),
           (long long)json_integer_value(json_object_get(result, "seed")));
    print_cells(task, result);
}

/* Mean and deviation of the sample (n - 1) of what all results have; NAN where one lacks it. */
static void spread_of(const json_t *results, const char *key, double *mean, double *deviation)
{
    size_t n = json_array_size(results), i;
    json_t *result;
    double sum = 0, squares = 0;
    json_array_foreach((json_t *)results, i, result) sum += number_of(result, key);
    *mean = n ? sum / (double)n : NAN;
    json_array_foreach((json_t *)results, i, result) squares +=
        pow(number_of(result, key) - *mean, 2);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}

void hone_report_add_spread(json_t *to, const json_t *results)
{
    json_t *means = json_object(), *deviations = json_object(), *value;
    const char *key;
    json_object_foreach(json_array_get(results, 0), key, value)
    {
        double mean, deviation;
        if (!strcmp(key, "run") || !strcmp(key, "seed")) continue;
        spread_of(results, key, &mean, &deviation);
        json_object_set_new(means, key, isfinite(mean) ? json_real(mean) : json_null());
        json_object_set_new(deviations, key,
                            isfinite(deviation) ? json_real(deviation) : json_null());
    }
    json_object_set_new(to, "mean", means);
    json_object_set_new(to, "deviation", deviations);
}

void hone_report_spread(enum hone_task task, const json_t *results)
{
    json_t *spread = json_object();
    hone_report_add_spread(spread, results);
    printf("%-9s  %10s", "mean", "");
    print_cells(task, json_object_get(spread, "mean"));
    printf("%-9s  %10s", "deviation", "");
    print_cells(task, json_object_get(spread, "deviation"));
    json_decref(spread);
}
