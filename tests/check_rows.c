/* Rows in memory: made data, split, normalise, shuffle, gather. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int opened(struct hone_data *train, struct hone_data *test, const char *data)
{
    int err = hone_data_open(train, test, data, NULL);
    if (err) printf("# %s\n", hone_errmsg());
    return !err;
}

static void bad(const char *data, const char *message)
{
    struct hone_data train, test;
    int err = hone_data_open(&train, &test, data, NULL);
    if (!ok(err < 0 && !strcmp(hone_errmsg(), message) && !train.x, "bad: %s", data))
        printf("# got  %s\n# want %s\n", err ? hone_errmsg() : "", message);
    hone_data_close(&train);
    hone_data_close(&test);
}

static int same_floats(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (a[i] != b[i]) {
            printf("# value %lld is %.9g, want %.9g\n", (long long)i, a[i], b[i]);
            return 0;
        }
    return 1;
}

/* ---- synthetic ---- */

/* Share of rows nearest to the mean of their own class, the means being of the training rows. */
static double nearest_mean(const struct hone_data *train, const struct hone_data *test)
{
    int64_t len = (int64_t)train->h * train->w * train->c, hits = 0;
    double *mean = calloc((size_t)(train->classes * len), sizeof *mean),
           *n = calloc((size_t)train->classes, sizeof *n);
    for (int64_t i = 0; mean && n && i < train->rows; i++) {
        n[train->label[i]]++;
        for (int64_t j = 0; j < len; j++) mean[train->label[i] * len + j] += train->x[i * len + j];
    }
    for (int64_t i = 0; mean && n && i < test->rows; i++) {
        double least = INFINITY;
        int best = -1;
        for (int k = 0; k < train->classes; k++) {
            double sum = 0;
            for (int64_t j = 0; j < len; j++) {
                double v = test->x[i * len + j] - mean[k * len + j] / n[k];
                sum += v * v;
            }
            if (sum < least) {
                least = sum;
                best = k;
            }
        }
        hits += best == test->label[i];
    }
    free(mean);
    free(n);
    return (double)hits / (double)test->rows;
}

static void check_synthetic(void)
{
    struct hone_data a, b, c, test;
    double share = 0;
    int good = opened(&a, &test, "synthetic:8x8x3:10:2000") &&
               opened(&b, &test, "synthetic:8x8x3:10:2000:1") &&
               opened(&c, &test, "synthetic:8x8x3:10:2000:2");
    ok(good && a.rows == 2000 && a.h == 8 && a.w == 8 && a.c == 3 && a.classes == 10 &&
           !strcmp(a.name, "synthetic"),
       "synthetic: shape and name");
    ok(good && !memcmp(a.x, b.x, 2000 * 192 * sizeof *a.x),
       "synthetic: seed 1 is the default, bit by bit");
    ok(good && memcmp(a.x, c.x, 2000 * 192 * sizeof *a.x), "synthetic: another seed, another set");
    float want[2] = { -0.32968834f, -0.0442094207f };
    ok(good && same_floats(a.x, want, 2), "synthetic: equal on every machine");
    if (good && !hone_data_split(&a, &test, 0.7, 3)) share = nearest_mean(&a, &test);
    ok(share > 0.99, "synthetic: can be learned (%.4f by the nearest mean)", share);
    hone_data_close(&a);
    hone_data_close(&b);
    hone_data_close(&c);
    hone_data_close(&test);
    good = opened(&a, &test, "synthetic:1x1x8:0:500");
    ok(good && a.rows == 500 && a.c == 8 && !a.classes && a.outputs == 1 && a.y && !a.label,
       "synthetic: regression");
    hone_data_close(&a);
    static const char *const text[] = { "",
                                        "8x8",
                                        "8x8x1:10",
                                        "8x8x1:10:",
                                        "8x8x1:10:0",
                                        "0x8x1:10:5",
                                        "8x8x1:-1:5",
                                        "8x8x1:10:5:",
                                        "8x8x1:10:5:1:2",
                                        "8x8x1:10:5x",
                                        "8x8x1:10:99999999999999999999",
                                        "8x8x1 :10:5" };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        char data[100], message[300];
        snprintf(data, sizeof data, "synthetic:%s", text[i]);
        snprintf(
            message, sizeof message,
            "'%s': expected synthetic:HxWxC:CLASSES:ROWS[:SEED], such as synthetic:28x28x1:10:1000",
            data);
        bad(data, message);
    }
    bad("synthetic:65536x65536x1:2:2",
        "'synthetic:65536x65536x1:2:2': more numbers than can be addressed");
    bad("synthetic:1x1x2:1:5", "synthetic:1x1x2:1:5: all rows are of one class");
}

/* ---- rows ---- */

/* Rows of two features, i and -i; label i mod 3 or value 2 i. */
static struct hone_data rows(int64_t first, int64_t n, int classes)
{
    struct hone_data d = {
        .rows = n, .h = 1, .w = 1, .c = 2, .classes = classes, .outputs = !classes
    };
    d.x = malloc((size_t)n * 2 * sizeof *d.x);
    if (classes)
        d.label = malloc((size_t)n * sizeof *d.label);
    else
        d.y = malloc((size_t)n * sizeof *d.y);
    if (classes) {
        d.class_name = calloc((size_t)classes, sizeof *d.class_name);
        snprintf(d.class_name[2], HONE_NAME, "third");
    }
    d.feature = calloc(2, sizeof *d.feature);
    snprintf(d.feature[1], HONE_NAME, "minus");
    for (int64_t i = 0; i < n; i++) {
        d.x[2 * i] = (float)(first + i);
        d.x[2 * i + 1] = -(float)(first + i);
        if (classes)
            d.label[i] = (int32_t)((first + i) % 3);
        else
            d.y[i] = 2 * (float)(first + i);
    }
    return d;
}

/* Marks each row's number in seen[]; 0 where a row's parts do not belong together. */
static int mark(const struct hone_data *d, int seen[])
{
    for (int64_t i = 0; i < d->rows; i++) {
        int r = (int)d->x[2 * i];
        seen[r]++;
        if (d->x[2 * i + 1] != (float)-r ||
            (d->label ? d->label[i] != r % 3 : d->y[i] != 2 * (float)r))
            return 0;
    }
    return 1;
}

static void check_split_of(int64_t n, int64_t m, int classes, double share, int64_t want)
{
    struct hone_data train = rows(0, n, classes),
                     test = m ? rows(n, m, classes) : (struct hone_data){ 0 };
    int *seen = calloc((size_t)(n + m), sizeof *seen), fixed = 0;
    int err = hone_data_split(&train, &test, share, 5);
    int good = !err && train.rows == want && test.rows == n + m - want && mark(&train, seen) &&
               mark(&test, seen);
    for (int64_t i = 0; good && i < n + m; i++) good = seen[i] == 1;
    good =
        good && test.classes == classes && test.c == 2 && !strcmp(test.feature[1], "minus") &&
        test.feature != train.feature &&
        (!classes || (!strcmp(test.class_name[2], "third") && test.class_name != train.class_name));
    for (int64_t i = 0; good && i < want; i++) fixed += train.x[2 * i] == (float)i;
    ok(good && fixed <= 5 + want / 4,
       "split %g of %lld + %lld rows, %s: each row once, in another order", share, (long long)n,
       (long long)m, classes ? "classes" : "values");
    hone_data_close(&train);
    hone_data_close(&test);
    free(seen);
}

static void check_split(void)
{
    check_split_of(10, 0, 3, 0.7, 7);
    check_split_of(1000, 0, 0, 0.29, 290); /* 0.29 * 1000 is 289.99... in doubles */
    check_split_of(60, 10, 3, 0.7, 49);
    check_split_of(20640, 0, 0, 0.8, 16512);
    check_split_of(7, 0, 3, 0.5, 3);
    struct hone_data a = rows(0, 100, 3), b = rows(0, 100, 3), c = rows(0, 100, 3), ta = { 0 },
                     tb = { 0 }, tc = { 0 };
    int err = hone_data_split(&a, &ta, 0.5, 1) | hone_data_split(&b, &tb, 0.5, 1) |
              hone_data_split(&c, &tc, 0.5, 2);
    ok(!err && !memcmp(a.x, b.x, 100 * sizeof *a.x) &&
           !memcmp(ta.label, tb.label, 50 * sizeof *ta.label),
       "split: same seed, same rows");
    ok(!err && memcmp(a.x, c.x, 100 * sizeof *a.x), "split: another seed, other rows");
    static const struct {
        double share;
        const char *message;
    } table[] = {
        { 0, "split 0: expected a share between 0 and 1" },
        { 1, "split 1: expected a share between 0 and 1" },
        { -0.5, "split -0.5: expected a share between 0 and 1" },
        { NAN, "split nan: expected a share between 0 and 1" },
        { 0.001, "split 0.001 of 100 rows leaves no training rows" },
        { 0.99999999999, "split 1 of 100 rows leaves no test rows" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        err = hone_data_split(&a, &ta, table[i].share, 1);
        if (!ok(err < 0 && !strcmp(hone_errmsg(), table[i].message) && a.rows == 50 &&
                    ta.rows == 50,
                "bad: split %g", table[i].share))
            printf("# %s\n", hone_errmsg());
    }
    struct hone_data *const all[] = { &a, &b, &c, &ta, &tb, &tc };
    for (int i = 0; i < 6; i++) hone_data_close(all[i]);
}

static void check_normalise(void)
{
    enum { N = 1000, M = 10 };
    struct hone_data train = { .rows = N, .h = 1, .w = 1, .c = 4 },
                     test = { .rows = M, .h = 1, .w = 1, .c = 4 };
    train.x = malloc(N * 4 * sizeof *train.x);
    test.x = malloc(M * 4 * sizeof *test.x);
    for (int i = 0; i < N + M; i++) {
        float *x = i < N ? train.x + 4 * i : test.x + 4 * (i - N);
        x[0] = (float)hone_random_unit(1, (uint64_t)i);
        x[1] = 1e6f + (float)(hone_random(2, (uint64_t)i) % 9); /* small deviation, large mean */
        x[2] = i < N ? 0.1f : 7;                                /* constant in training only */
        x[3] = (float)(i % 2 * 2 - 1) * 5;                      /* mean 0, deviation 5 */
    }
    float first = test.x[1];
    double mean1 = 0, var1 = 0;
    for (int i = 0; i < N; i++) mean1 += (double)train.x[4 * i + 1] / N;
    for (int i = 0; i < N; i++)
        var1 += (train.x[4 * i + 1] - mean1) * (train.x[4 * i + 1] - mean1) / N;
    int err = hone_data_normalise(&train, &test);
    for (int c = 0; c < 4; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < N; i++) {
            sum += train.x[4 * i + c];
            squares += (double)train.x[4 * i + c] * train.x[4 * i + c];
        }
        ok(!err && fabs(sum / N) < 1e-6 && fabs(squares / N - (c != 2)) < 1e-6,
           "normalise: feature %d has mean 0, deviation %d", c, c != 2);
    }
    int zero = 1;
    for (int i = 0; i < N; i++) zero &= train.x[4 * i + 2] == 0;
    for (int i = 0; i < M; i++) zero &= test.x[4 * i + 2] == 0;
    ok(zero, "normalise: a constant feature is 0 everywhere");
    ok(fabs(test.x[1] - (first - mean1) / sqrt(var1)) < 1e-5,
       "normalise: test rows by the training rows' numbers");
    ok(train.x[3] == -1 && train.x[7] == 1, "normalise: -5, 5 becomes -1, 1");
    hone_data_close(&train);
    hone_data_close(&test);

    /* Pictures: one number per channel, over all places. */
    struct hone_data d, none;
    err = !opened(&d, &none, "synthetic:6x5x3:4:40");
    double sum[3] = { 0 }, squares[3] = { 0 };
    int place_differs = 0;
    if (!err) err = hone_data_normalise(&d, &none);
    for (int64_t i = 0; !err && i < 40 * 30 * 3; i++) {
        sum[i % 3] += d.x[i];
        squares[i % 3] += (double)d.x[i] * d.x[i];
    }
    double corner = 0;
    for (int64_t i = 0; !err && i < 40; i++) corner += d.x[i * 90];
    place_differs = fabs(corner / 40) > 0.01;
    for (int c = 0; c < 3; c++)
        ok(fabs(sum[c] / 1200) < 1e-6 && fabs(squares[c] / 1200 - 1) < 1e-6 && place_differs,
           "normalise: channel %d of pictures", c);
    hone_data_close(&d);
}

static void check_shuffle(void)
{
    enum { N = 1000, M = 5, EPOCHS = 20000 };
    int64_t order[N], again[N], other[N], small[M];
    int seen[N] = { 0 }, good = 1, fixed = 0;
    hone_data_shuffle(order, N, 7, 3);
    hone_data_shuffle(again, N, 7, 3);
    hone_data_shuffle(other, N, 7, 4);
    for (int i = 0; i < N; i++) {
        good &= order[i] >= 0 && order[i] < N && !seen[order[i]]++;
        fixed += order[i] == i;
    }
    ok(good && fixed < 10, "shuffle: a permutation of %d, %d stay", N, fixed);
    ok(!memcmp(order, again, sizeof order), "shuffle: same seed and epoch, same order");
    ok(memcmp(order, other, sizeof order), "shuffle: another epoch, another order");
    hone_data_shuffle(small, M, 1, 0);
    ok(small[0] == 4 && small[1] == 0 && small[2] == 3 && small[3] == 1 && small[4] == 2,
       "shuffle: equal on every machine: %d %d %d %d %d", (int)small[0], (int)small[1],
       (int)small[2], (int)small[3], (int)small[4]);
    /* Every value stands in every place equally often: chi-square of 25 cells, 16 degrees of
     * freedom. */
    int count[M][M] = { { 0 } };
    double chi = 0, want = (double)EPOCHS / M;
    for (int e = 0; e < EPOCHS; e++) {
        hone_data_shuffle(small, M, 11, e);
        for (int i = 0; i < M; i++) count[i][small[i]]++;
    }
    for (int i = 0; i < M * M; i++)
        chi += (count[i / M][i % M] - want) * (count[i / M][i % M] - want) / want;
    ok(chi < 40, "shuffle: fair (chi-square %.1f; 40 would be 1 in 1,000)", chi);
    hone_data_shuffle(small, 0, 1, 0);
    hone_data_shuffle(small, 1, 1, 0);
    ok(small[0] == 0, "shuffle: one row");
}

static void check_gather(void)
{
    static const int64_t order[] = { 3, 0, 3, 9 };
    float x[8], y[4];
    int32_t label[4];
    struct hone_data a = rows(0, 10, 3), b = rows(0, 10, 0);
    static const float want_x[] = { 3, -3, 0, 0, 3, -3, 9, -9 }, want_y[] = { 6, 0, 6, 18 };
    hone_data_gather(&a, order, 4, x, label);
    ok(same_floats(x + 4, want_x + 4, 4) && x[0] == 3 && x[2] == 0 && label[0] == 0 &&
           label[1] == 0 && label[2] == 0 && label[3] == 0,
       "gather: rows and labels");
    hone_data_gather(&a, order + 1, 1, x, label);
    a.label[0] = 2;
    hone_data_gather(&a, order, 2, x, label);
    ok(label[0] == 0 && label[1] == 2, "gather: labels by row");
    hone_data_gather(&b, order, 4, x, y);
    ok(x[0] == 3 && x[7] == -9 && !memcmp(y, want_y, sizeof y), "gather: rows and values");
    hone_data_close(&a);
    hone_data_close(&b);
}

/* ---- folds ---- */

/* Rows are known by their first feature. */
static int times_seen(const struct hone_data *d, float x)
{
    int n = 0;
    for (int64_t i = 0; i < d->rows; i++) n += d->x[i * d->c] == x;
    return n;
}

static void check_fold(int64_t rows, int folds)
{
    struct hone_data all, none, train, test;
    char data[64];
    int good = 1, sizes = 1;
    int *tested = calloc((size_t)rows, sizeof *tested);
    snprintf(data, sizeof data, "synthetic:1x1x2:0:%lld", (long long)rows);
    opened(&all, &none, data);
    for (int f = 0; f < folds; f++) {
        int err = !opened(&train, &test, data);
        if (!err) err = hone_data_fold(&train, &test, folds, f, 4);
        sizes &= !err && test.rows == rows / folds + (f < rows % folds) &&
                 train.rows + test.rows == rows;
        for (int64_t i = 0; !err && i < rows; i++) {
            float x = i < all.rows ? all.x[i * 2] : none.x[(i - all.rows) * 2];
            int there = times_seen(&test, x);
            tested[i] += there;
            good &= times_seen(&train, x) + there == 1;
        }
        hone_data_close(&train);
        hone_data_close(&test);
    }
    for (int64_t i = 0; i < rows; i++) good &= tested[i] == 1;
    ok(sizes, "%d folds of %lld rows: sizes as scikit-learn's KFold", folds, (long long)rows);
    ok(good, "every row is tested once, and else trained on");
    free(tested);
    hone_data_close(&all);
    hone_data_close(&none);
}

static void check_folds(void)
{
    struct hone_data train, test;
    check_fold(23, 2);
    check_fold(23, 5);
    check_fold(24, 5);
    check_fold(25, 5);
    check_fold(26, 7);
    check_fold(9, 8);
    check_fold(9, 9);
    opened(&train, &test, "synthetic:1x1x2:0:9");
    ok(hone_data_fold(&train, &test, 10, 0, 1) && strstr(hone_errmsg(), "10 folds of 9 rows"),
       "more folds than rows");
    hone_data_close(&train);
    hone_data_close(&test);
}

int main(void)
{
    check_folds();
    check_synthetic();
    check_split();
    check_normalise();
    check_shuffle();
    check_gather();
    return tap_end();
}
