/* The lines, or the JSON, of `hone train`: losses, epochs, and a warning where a net learned next
 * to nothing. */
#include "nets/report.h"

#include <math.h>
#include <stdlib.h>

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

void hone_report_loss(void *ctx, int64_t step, double loss)
{
    struct hone_report *r = ctx;
    if (step >= r->nlosses) return;
    json_array_append_new(r->losses, number(loss));
    if (!r->quiet) printf("step %lld loss %.9g\n", (long long)step, loss);
}

void hone_report_heading(const struct hone_report *r)
{
    if (r->quiet) return;
    if (r->task == HONE_CLASSIFY)
        printf("epoch    seconds   images/s  train loss  train acc   test loss   test acc       "
               "wait%s\n",
               r->teacher ? "    teacher    student  student/s" : "");
    else
        printf("epoch    seconds     rows/s  train loss  train mae    test mse   test mae       "
               "wait\n");
}

static void print_cell(double v, int width, int digits)
{
    if (isnan(v))
        printf("  %*s", width, "-");
    else
        printf("  %*.*f", width, digits, v);
}

/* What the teacher took of the epoch, and how fast it would have been without. */
static void report_teacher(const struct hone_report *r, const struct hone_epoch *e,
                           const struct hone_trainer *t)
{
    json_t *epoch = json_array_get(r->epochs, json_array_size(r->epochs) - 1);
    double student = e->seconds - t->teacher.seconds,
           rate = e->images_per_s * e->seconds / student;
    json_object_set_new(epoch, "teacher_seconds", number(t->teacher.seconds));
    json_object_set_new(epoch, "student_seconds", number(student));
    json_object_set_new(epoch, "student_images_per_s", number(rate));
    if (r->quiet) return;
    print_cell(t->teacher.seconds, 9, 3);
    print_cell(student, 9, 3);
    print_cell(rate, 9, 0);
}

void hone_report_epoch(const struct hone_report *r, const struct hone_epoch *e,
                       const struct hone_trainer *t,
                       const struct hone_metrics *train, const struct hone_metrics *test)
{
    json_array_append_new(
        r->epochs,
        json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch", e->epoch,
                  "seconds", number(e->seconds), "wait", number(t->wait_seconds), "images_per_s",
                  number(e->images_per_s), "train_loss", number(train->loss), "train_accuracy",
                  number(train->accuracy), "train_mae", number(train->mae), "test_loss",
                  number(test->loss), "test_accuracy", number(test->accuracy), "test_mse",
                  number(test->mse), "test_mae", number(test->mae)));
    if (r->quiet) {
        if (r->teacher) report_teacher(r, e, t);
        return;
    }
    int classify = r->task == HONE_CLASSIFY;
    printf("%5d", e->epoch);
    print_cell(e->seconds, 9, 3);
    print_cell(e->images_per_s, 9, 0);
    print_cell(train->loss, 10, 4);
    print_cell(classify ? train->accuracy : train->mae, 9, 4);
    print_cell(classify ? test->loss : test->mse, 10, 4);
    print_cell(classify ? test->accuracy : test->mae, 9, 4);
    print_cell(t->wait_seconds, 9, 3);
    if (r->teacher) report_teacher(r, e, t);
    putchar('\n');
    fflush(stdout);
}

void hone_report_rate(const struct hone_report *r, const struct hone_trainer *t)
{
    json_t *epoch = json_array_get(r->epochs, json_array_size(r->epochs) - 1);
    double clipped = t->nnorms ? (double)t->nclipped / (double)t->nnorms : NAN;
    json_object_set_new(epoch, "lr",
                        number(hone_optim_lr(&t->net.optim, t->step ? t->step - 1 : 0)));
    json_object_set_new(epoch, "gradient_norm", number(t->norm));
    json_object_set_new(epoch, "clipped", number(clipped));
    if (t->net.dtype == HONE_F16) {
        json_object_set_new(epoch, "loss_scale", number(t->scale.now));
        json_object_set_new(epoch, "skipped_steps", json_integer(t->scale.skipped));
    }
    if (t->scale.skipped && !r->quiet)
        fprintf(stderr, "epoch %d: loss scale %g; %lld steps so far were skipped, whose gradients "
                        "were infinite\n",
                t->epoch, t->scale.now, (long long)t->scale.skipped);
    if (t->nnorms && !r->quiet)
        fprintf(stderr, "epoch %d: gradients' mean norm %.4g; %.1f %% of steps clipped to %g\n",
                t->epoch, t->norm, 100 * clipped, t->net.optim.clip);
}

/* ---- a teacher ---- */

json_t *hone_report_teacher_json(const struct hone_report *r, const struct hone_trainer *t)
{
    const struct hone_teacher_choice *c = &t->options.teacher;
    double seconds = 0, teacher = 0, rows = 0;
    size_t i;
    json_t *e;
    json_array_foreach(r->epochs, i, e)
    {
        double of_epoch = json_number_value(json_object_get(e, "seconds"));
        seconds += of_epoch;
        teacher += json_number_value(json_object_get(e, "teacher_seconds"));
        rows += of_epoch * json_number_value(json_object_get(e, "images_per_s"));
    }
    return json_pack("{s:s, s:s, s:I, s:f, s:f, s:b, s:f, s:f, s:f, s:f, s:o, s:o}", "net",
                     t->teacher.net.name, "weights", c->weights, "parameters",
                     (json_int_t)t->teacher.net.parameters, "temperature", c->temperature, "mix",
                     c->mix, "cache", c->cache, "cache_seconds", t->teacher.cache_seconds,
                     "seconds_with_teacher", seconds + t->teacher.cache_seconds, "teacher_seconds",
                     teacher + t->teacher.cache_seconds, "seconds_without_teacher",
                     seconds - teacher, "images_per_s_with_teacher",
                     number(rows / (seconds + t->teacher.cache_seconds)),
                     "images_per_s_without_teacher", number(rows / (seconds - teacher)));
}

void hone_report_teacher(const struct hone_report *r, const struct hone_trainer *t)
{
    json_t *all = hone_report_teacher_json(r, t);
    double with, without, cache, fast, slow;
    if (r->quiet || json_unpack(all, "{s:F, s:F, s:F, s:F, s:F}", "seconds_with_teacher", &with,
                                "seconds_without_teacher", &without, "cache_seconds", &cache,
                                "images_per_s_with_teacher", &slow, "images_per_s_without_teacher",
                                &fast)) {
        json_decref(all);
        return;
    }
    printf("total with the teacher %.3f s, %.0f images/s; without %.3f s, %.0f images/s", with,
           slow, without, fast);
    if (t->options.teacher.cache) printf("; its logits of all rows %.3f s before", cache);
    putchar('\n');
    json_decref(all);
}

/* The share of the test set's largest class: what a net reaches that has learned nothing but that.
 */
static double chance(const struct hone_data *d)
{
    int64_t *count = calloc((size_t)d->classes + 1, sizeof *count), most = 0;
    for (int64_t i = 0; count && i < d->rows; i++) count[d->label[i]]++;
    for (int k = 0; count && k < d->classes; k++)
        if (count[k] > most) most = count[k];
    free(count);
    return (double)most / (double)d->rows;
}

const char *hone_report_near_chance(const struct hone_data *d, double accuracy,
                                    char text[HONE_TEXT])
{
    if (!d->classes || !d->rows || isnan(accuracy)) return NULL;
    double c = chance(d), slack = 3 * sqrt(c * (1 - c) / (double)d->rows);
    if (accuracy > c + fmax(slack, 0.2 * c)) return NULL;
    snprintf(text, HONE_TEXT,
             "test accuracy %.4f is near chance (%.4f, the share of the largest class): the net "
             "has learned "
             "next to nothing; are the rows sorted, is the learning rate too small or too large?",
             accuracy, c);
    return text;
}
