/* Scores against numbers worked out by hand; R2, MSE and MAE are the examples of scikit-learn's
 * documentation. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>

static int near(double got, double want) { return fabs(got - want) <= 1e-12 * (1 + fabs(want)); }

/* A row whose largest output is `answer`. */
static void add(struct hone_scores *s, int label, int answer)
{
    float x[3] = { 0.5f, 0.5f, 0.5f };
    x[answer] = 1;
    hone_scores_add_label(s, x, label);
}

static void check_classes(void)
{
    static const int label[] = { 0, 0, 1, 2, 2, 2 }, answer[] = { 0, 1, 1, 2, 0, 2 };
    static const int64_t confusion[] = { 1, 1, 0, 0, 1, 0, 1, 0, 2 };
    static const int rows[] = { 2, 1, 3 };
    static const double precision[] = { 0.5, 0.5, 1 }, recall[] = { 0.5, 1, 2.0 / 3 },
                        f1[] = { 0.5, 2.0 / 3, 0.8 };
    struct hone_scores s;
    int same = 1, err = hone_scores_open(&s, HONE_CLASSIFY, 3);
    for (int round = 0; !err && round < 2; round++) {
        hone_scores_reset(&s);
        for (int i = 0; i < 6; i++) add(&s, label[i], answer[i]);
    }
    for (int i = 0; !err && i < 9; i++) same = same && s.confusion[i] == confusion[i];
    ok(!err && same && s.rows == 6, "labels against answers, counted anew after a reset");
    ok(!err && near(hone_scores_accuracy(&s), 4.0 / 6), "accuracy");
    for (int k = 0; !err && k < 3; k++) {
        struct hone_class_score c = hone_scores_class(&s, k);
        ok(c.rows == rows[k] && near(c.precision, precision[k]) && near(c.recall, recall[k]) &&
               near(c.f1, f1[k]),
           "class %d: precision %.4f, recall %.4f, F1 %.4f", k, c.precision, c.recall, c.f1);
    }
    struct hone_class_score mean = hone_scores_macro(&s);
    ok(near(mean.precision, 2.0 / 3) && near(mean.recall, 13.0 / 18) && near(mean.f1, 59.0 / 90),
       "means over classes");
    hone_scores_close(&s);
}

/* A class without rows or answers has no recall or precision, and means leave it out. */
static void check_absent(void)
{
    struct hone_scores s;
    int err = hone_scores_open(&s, HONE_CLASSIFY, 3);
    if (!err) add(&s, 0, 1);
    struct hone_class_score none = hone_scores_class(&s, 2), mean = hone_scores_macro(&s);
    ok(!err && isnan(none.precision) && isnan(none.recall) && isnan(none.f1) && none.rows == 0,
       "a class without rows and answers has no scores");
    ok(mean.precision == 0 && mean.recall == 0 && mean.f1 == 0, "and means are of the others");
    hone_scores_reset(&s);
    ok(isnan(hone_scores_accuracy(&s)) && isnan(hone_scores_top5(&s)), "nothing is no accuracy");
    hone_scores_close(&s);
}

static void check_top5(void)
{
    static const float x[7] = { 7, 6, 5, 4, 3, 3, 1 };
    struct hone_scores s;
    int err = hone_scores_open(&s, HONE_CLASSIFY, 7);
    for (int label = 0; !err && label < 7; label++) hone_scores_add_label(&s, x, label);
    ok(!err && s.top5 == 5,
       "five of seven labels are among the five largest; of equals, the first");
    hone_scores_reset(&s);
    hone_scores_add_label(&s, (float[7]){ NAN, NAN, 2, 1, NAN, 0, 0 }, 0);
    ok(s.top5 == 0 && s.confusion[2] == 1, "NaN is no answer");
    hone_scores_close(&s);
}

static void check_values(void)
{
    static const float y[] = { 3, -0.5f, 2, 7 }, x[] = { 2.5f, 0, 2, 8 };
    static const float y2[] = { 0.5f, 1, -1, 1, 7, -6 }, x2[] = { 0, 2, -1, 2, 8, -5 };
    struct hone_scores s;
    int err = hone_scores_open(&s, HONE_REGRESS, 1);
    for (int i = 0; !err && i < 4; i++) hone_scores_add_values(&s, &x[i], &y[i]);
    ok(!err && near(hone_scores_r2(&s), 0.9486081370449679), "R2 of one output");
    ok(near(hone_scores_mse(&s), 0.375) && near(hone_scores_mae(&s), 0.5), "MSE and MAE");
    hone_scores_close(&s);
    err = hone_scores_open(&s, HONE_REGRESS, 2);
    for (int i = 0; !err && i < 3; i++) hone_scores_add_values(&s, &x2[2 * i], &y2[2 * i]);
    ok(!err &&
           near(hone_scores_r2(&s), (1 - 1.25 / (50.25 - 42.25 / 3) + 1 - 3 / (38 - 16.0 / 3)) / 2),
       "R2 of two outputs is the mean of theirs: %.9f", hone_scores_r2(&s));
    hone_scores_reset(&s);
    hone_scores_add_values(&s, x2, y2);
    ok(isnan(hone_scores_r2(&s)), "one row has no R2");
    hone_scores_close(&s);
}

int main(void)
{
    check_classes();
    check_absent();
    check_top5();
    check_values();
    return tap_end();
}
