/* From rows to batches: pictures kept as bytes against the same as floats, augmentation against its
 * definition, and the thread that makes batches, and the op that does so on a device, against
 * making them in line. */
#include "nets/feed.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { H = 6, W = 5, ROWS = 40 };

static int byte_at(int row, int i)
{
    return (int)(hone_random(9, (uint64_t)(row * 1000 + i)) % 256);
}

/* Pictures of `c` channels, as bytes or as floats of the same values. */
static struct hone_data pictures(int c, int as_bytes)
{
    struct hone_data d = { .name = "made", .rows = ROWS, .h = H, .w = W, .c = c, .classes = 3 };
    int64_t n = (int64_t)ROWS * H * W * c;
    d.label = malloc(ROWS * sizeof *d.label);
    if (as_bytes) {
        d.bytes = malloc((size_t)n);
        d.value = malloc((size_t)c * 256 * sizeof *d.value);
        for (int i = 0; i < 256 * c; i++) d.value[i] = (float)(i % 256) / 255.0f;
    } else
        d.x = malloc((size_t)n * sizeof *d.x);
    for (int r = 0; r < ROWS; r++) {
        d.label[r] = r % 3;
        for (int i = 0; i < H * W * c; i++) {
            if (as_bytes)
                d.bytes[r * H * W * c + i] = (uint8_t)byte_at(r, i);
            else
                d.x[r * H * W * c + i] = (float)byte_at(r, i) / 255.0f;
        }
    }
    return d;
}

static int64_t *identity(void)
{
    static int64_t order[ROWS];
    for (int i = 0; i < ROWS; i++) order[i] = i;
    return order;
}

/* Largest difference of two sets' rows, gathered; labels must be equal. */
static double distance(const struct hone_data *a, const struct hone_data *b)
{
    static float x[ROWS * H * W * 4], y[ROWS * H * W * 4];
    int32_t la[ROWS], lb[ROWS];
    double most = 0;
    hone_data_gather(a, identity(), (int)a->rows, x, la);
    hone_data_gather(b, identity(), (int)a->rows, y, lb);
    for (int64_t i = 0; i < a->rows * H * W * a->c; i++)
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
    return memcmp(la, lb, (size_t)a->rows * sizeof *la) ? INFINITY : most;
}

static void check_bytes(int c)
{
    struct hone_data a = pictures(c, 1), b = pictures(c, 0), ta = { 0 }, tb = { 0 };
    ok(distance(&a, &b) == 0, "bytes: %d channels: gathered as floats are, bit by bit", c);
    int err = hone_data_split(&a, &ta, 0.7, 4) | hone_data_split(&b, &tb, 0.7, 4);
    ok(!err && a.rows == 28 && distance(&a, &b) == 0 && distance(&ta, &tb) == 0,
       "bytes: %d channels: split as floats are", c);
    err = hone_data_normalise(&a, &ta) | hone_data_normalise(&b, &tb);
    /* Sums of counts and sums of values differ in the last bits of a double. */
    ok(!err && distance(&a, &b) < 1e-6 && distance(&ta, &tb) < 1e-6,
       "bytes: %d channels: normalised as floats are", c);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < a.rows * H * W; i++) {
        double v = a.value[256 * (c - 1) + a.bytes[i * c + c - 1]];
        sum += v;
        squares += v * v;
    }
    double n = (double)(a.rows * H * W);
    ok(fabs(sum / n) < 1e-6 && fabs(squares / n - 1) < 1e-6,
       "bytes: %d channels: mean 0, deviation 1", c);
    struct hone_data *const all[] = { &a, &b, &ta, &tb };
    for (int i = 0; i < 4; i++) hone_data_close(all[i]);
}

/* ---- augmentation ---- */

/* Number `k` of pixel (y, x) of `from`, padded by p, cut out at (top, left), mirrored. */
static float moved(const float *from, const float *black, int c, int p, int top, int left, int flip,
                   int y, int x, int k)
{
    int from_y = y + top - p, from_x = (flip ? W - 1 - x : x) + left - p;
    if (from_y < 0 || from_y >= H || from_x < 0 || from_x >= W) return black[k];
    return from[(from_y * W + from_x) * c + k];
}

/* Which of all cut-outs is this row?  -1: none. */
static int which(const float *plain, const float *got, const float *black, int c, int p)
{
    int side = 2 * p + 1;
    for (int v = 0; v < 2 * side * side; v++) {
        int same = 1;
        for (int i = 0; same && i < H * W * c; i++)
            same = got[i] == moved(plain, black, c, p, v / 2 / side, v / 2 % side, v % 2, i / c / W,
                                   i / c % W, i % c);
        if (same) return v;
    }
    return -1;
}

static void check_augment(int c, int as_bytes, int crop, int flip)
{
    enum { EPOCHS = 150 };
    struct hone_data d = pictures(c, as_bytes), none = { 0 };
    struct hone_augment a = { crop, flip };
    static float plain[ROWS * H * W * 4], got[ROWS * H * W * 4], again[ROWS * H * W * 4];
    int32_t label[ROWS], count[2 * 7 * 7] = { 0 };
    int err = hone_data_normalise(&d, &none), len = H * W * c, side = 2 * crop + 1, wrong = 0;
    float black[4];
    for (int k = 0; k < c; k++) black[k] = as_bytes ? d.value[256 * k] : d.black[k];
    hone_data_gather(&d, identity(), ROWS, plain, label);
    for (int e = 0; e < EPOCHS && !wrong; e++) {
        hone_data_gather_augmented(&d, identity(), ROWS, &a, hone_augment_key(3, e), got, label);
        for (int r = 0; r < ROWS; r++) {
            int v = which(plain + r * len, got + r * len, black, c, crop);
            if (v < 0)
                wrong++;
            else
                count[v]++;
            wrong += label[r] != r % 3;
        }
    }
    ok(!err && !wrong && black[0] < 0,
       "augment: crop %d, flip %d, %d channels, %s: every row is a "
       "cut-out, padded with black",
       crop, flip, c, as_bytes ? "bytes" : "floats");
    /* All cut-outs are equally likely: chi-square, mean n - 1, deviation sqrt(2 (n - 1)). */
    int kinds = side * side * (flip ? 2 : 1);
    double want = (double)EPOCHS * ROWS / kinds, chi = 0;
    for (int v = 0; v < 2 * side * side; v++)
        if (flip || v % 2 == 0) chi += (count[v] - want) * (count[v] - want) / want;
    ok(chi < kinds - 1 + 4 * sqrt(2.0 * (kinds - 1)) && (kinds == 1 || chi > 0),
       "augment: %d cut-outs equally often (chi-square %.1f)", kinds, chi);
    /* A row becomes the same in another batch and place. */
    static const int64_t other[3] = { 7, 3, 39 };
    hone_data_gather_augmented(&d, identity(), ROWS, &a, hone_augment_key(3, 1), got, label);
    hone_data_gather_augmented(&d, other, 3, &a, hone_augment_key(3, 1), again, label);
    int same = 1;
    for (int i = 0; i < 3; i++)
        same &= !memcmp(again + i * len, got + other[i] * len, (size_t)len * sizeof *got);
    ok(same && label[0] == 1 && label[2] == 0, "augment: in another batch and order the same");
    hone_data_gather_augmented(&d, identity(), ROWS, &a, hone_augment_key(4, 1), again, label);
    ok(memcmp(again, got, (size_t)(ROWS * len) * sizeof *got), "augment: another seed, others");
    hone_data_close(&d);
}

static void check_parse(void)
{
    static const struct {
        const char *text;
        int crop, flip;
    } good[] = {
        { "flip", 0, 1 }, { "crop:4", 4, 0 }, { "crop:4,flip", 4, 1 }, { "flip,crop:1024", 1024, 1 }
    };
    static const char *const wrong[] = { "",          "crop",          "crop:",   "crop:0",
                                         "crop:-1",   "crop:1025",     "crop:4,", "crop:4x",
                                         "flip,flip", "crop:2,crop:3", "flop",    "flip ",
                                         "crop: 4",   "crop:99999" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct hone_augment a = { 9, 9 };
        ok(!hone_augment_parse(&a, good[i].text) && a.crop == good[i].crop &&
               a.flip == good[i].flip,
           "augment: '%s'", good[i].text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hone_augment a = { 9, 9 };
        char message[200];
        snprintf(message, sizeof message,
                 "'%s': expected crop:PIXELS (1 to 1024), flip, or both with a comma", wrong[i]);
        ok(hone_augment_parse(&a, wrong[i]) == HONE_EPARSE && !strcmp(hone_errmsg(), message) &&
               a.crop == 9,
           "bad: augment '%s'", wrong[i]);
    }
    struct hone_data d = { .name = "rows", .h = 1, .w = 1, .c = 8 }, p = { .h = 28, .w = 20 };
    struct hone_augment flip = { 0, 1 }, far = { 20, 0 }, near = { 19, 1 };
    ok(hone_augment_check(&flip, &d) &&
           !strcmp(hone_errmsg(), "augmentation is for pictures, and 'rows' has features"),
       "bad: augmented features");
    ok(hone_augment_check(&far, &p) &&
           !strcmp(hone_errmsg(), "crop:20 moves pictures of 28 x 20 pixels out of sight"),
       "bad: a crop that may show nothing");
    ok(!hone_augment_check(&near, &p), "augment: a crop that shows at least one line");
}

/* ---- the feed ---- */

/* All batches of a pass, one after the other.  What the background hands out must still hold when
 * the thread has had time to fill the other buffer. */
static int64_t collect(const struct hone_feed_source *s, enum hone_feeding how, float *x,
                       int32_t *label, int64_t most)
{
    struct hone_feed feed;
    static float place[64 * H * W * 4];
    int32_t targets[64];
    int64_t len = (int64_t)s->data->h * s->data->w * s->data->c, at = s->at, got = 0;
    if (hone_feed_open(&feed, s, how)) return -1;
    while (at < s->end && got < most) {
        struct hone_batch b = { place, targets };
        int64_t n = s->end - at < s->batch ? s->end - at : s->batch;
        hone_feed_next(&feed, &b);
        if (how == HONE_FEED_BACKGROUND) usleep(20);
        memcpy(x + got * len, b.x, (size_t)(n * len) * sizeof *x);
        memcpy(label + got, b.target, (size_t)n * sizeof *label);
        at += n;
        got += n;
    }
    hone_feed_close(&feed);
    return got;
}

static void check_feed(void)
{
    static float a[ROWS * H * W * 3], b[ROWS * H * W * 3];
    static int32_t la[ROWS], lb[ROWS];
    int64_t order[ROWS];
    struct hone_data d = pictures(3, 1);
    hone_data_shuffle(order, ROWS, 1, 1);
    static const int batches[] = { 1, 7, 8, 20, 40, 64 };
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        for (int augmented = 0; augmented < 2; augmented++) {
            struct hone_feed_source s = { .data = &d,
                                          .order = order,
                                          .end = ROWS,
                                          .batch = batches[i],
                                          .augment = { 2 * augmented, augmented },
                                          .key = 77 };
            int same = 1;
            for (int round = 0; same && round < 20; round++) {
                memset(b, 0, sizeof b);
                same = collect(&s, HONE_FEED_INLINE, a, la, ROWS) == ROWS &&
                       collect(&s, HONE_FEED_BACKGROUND, b, lb, ROWS) == ROWS &&
                       !memcmp(a, b, sizeof a) && !memcmp(la, lb, sizeof la);
            }
            ok(same, "feed: batches of %d, %s: the thread's are the same", batches[i],
               augmented ? "augmented" : "as they are");
        }
    struct hone_feed_source s = { .data = &d, .order = order, .at = 16, .end = ROWS, .batch = 8 };
    ok(collect(&s, HONE_FEED_BACKGROUND, b, lb, ROWS) == ROWS - 16 && lb[0] == order[16] % 3 &&
           lb[23] == order[39] % 3,
       "feed: from the middle on");
    int early = 1;
    for (int i = 0; i < 50; i++)
        early &= collect(&s, HONE_FEED_BACKGROUND, b, lb, 8 * (i % 3)) >= 0;
    ok(early, "feed: closed after none, one and two batches");
    hone_data_close(&d);
}

/* ---- on a device ---- */

/* Batches of rows that the op gathers, against the host's. */
static void check_resident(struct hone_device *device, int c, int as_bytes, int crop, int flip)
{
    enum { BATCH = 16 };
    static float want[BATCH * H * W * 4], got[BATCH * H * W * 4];
    int32_t labels[BATCH], label[BATCH];
    struct hone_data d = pictures(c, as_bytes), none = { 0 };
    const struct hone_augment a = { crop, flip };
    struct hone_resident r = { 0 };
    int64_t order[ROWS];
    const size_t bytes = (size_t)(BATCH * H * W * c) * sizeof *want;
    int err = hone_data_normalise(&d, &none), same = 0, tries = 0;
    if (!err) err = hone_resident_open(&r, &d, &a, device);
    if (!err) err = hone_resident_batch(&r, NULL, BATCH);
    for (int epoch = 1; !err && epoch <= 5; epoch++) {
        const uint64_t key = hone_augment_key(3, epoch);
        hone_data_shuffle(order, ROWS, 3, epoch);
        err = hone_resident_epoch(&r, order, key);
        for (int64_t at = 0; !err && at + BATCH <= ROWS; at += 12, tries++) {
            hone_data_gather_augmented(&d, order + at, BATCH, &a, key, want, labels);
            err = hone_resident_gather(&r, at, BATCH, got, label);
            same += !memcmp(want, got, bytes) && !memcmp(labels, label, sizeof label);
        }
    }
    ok(!err && same == tries && tries == 15,
       "device: crop %d, flip %d, %d channels, %s: the host's bits", crop, flip, c,
       as_bytes ? "bytes" : "floats");
    ok(hone_resident_gather(&r, 0, BATCH + 1, got, label) == HONE_EINVAL,
       "device: a batch that nothing was made ready for is an error");
    hone_resident_close(&r);
    hone_data_close(&d);
}

static void check_residents(void)
{
    struct hone_device device = { 0 };
    ok(!hone_device_open(&device, "cpu0"), "device: cpu0");
    for (int i = 0; i < 16; i++) check_resident(&device, 1 + i / 8 * 2, i & 1, i & 2, i >> 2 & 1);
    hone_device_close(&device);
}

/* ---- training ---- */

struct losses {
    int n;
    double v[64];
};

static void keep(void *ctx, int64_t step, double loss)
{
    struct losses *l = ctx;
    if (step < 64) l->v[l->n++] = loss;
}

static int train(struct hone_device *device, const struct hone_data *data, enum hone_feeding how,
                 struct hone_augment a, struct losses *l, struct hone_metrics m[2])
{
    struct hone_trainer t;
    struct hone_train_options o = {
        .net = "lenet5-student",
        .how = { .batch = 16, .train = 1, .optim = hone_optim_default(HONE_ADAM) },
        .seed = 5,
        .augment = a,
        .feeding = how,
        .each_step = keep,
        .ctx = l,
    };
    l->n = 0;
    int err = hone_trainer_open(&t, &o, device, data, data);
    for (int e = 1; !err && e <= 2; e++) err = hone_trainer_epoch(&t, e, &m[0]);
    if (!err) err = hone_trainer_evaluate(&t, &m[1]);
    if (!err && !(t.wait_seconds > 0 && t.wait_seconds <= t.epoch_seconds)) err = HONE_EDATA;
    if (err) printf("# %d %s\n", err, hone_errmsg());
    hone_trainer_close(&t);
    return err;
}

static void check_training(void)
{
    static struct losses a, b, c;
    struct hone_metrics ma[2], mb[2], mc[2] = { 0 };
    struct hone_device device = { 0 };
    struct hone_data d, none;
    int err = hone_device_open(&device, "cpu0");
    if (!err) err = hone_data_open(&d, &none, "synthetic:28x28x1:10:100", NULL);
    for (int augmented = 0; augmented < 2; augmented++) {
        struct hone_augment how = { 2 * augmented, augmented };
        if (!err) err = train(&device, &d, HONE_FEED_INLINE, how, &a, ma);
        if (!err) err = train(&device, &d, HONE_FEED_BACKGROUND, how, &b, mb);
        ok(!err && a.n == 14 && b.n == 14 && !memcmp(a.v, b.v, 14 * sizeof *a.v) &&
               ma[1].loss == mb[1].loss && ma[1].accuracy == mb[1].accuracy && ma[1].rows == 100,
           "training %s: the same losses with the thread as without",
           augmented ? "augmented" : "on rows as they are");
        if (!augmented) {
            c = a;
            memcpy(mc, ma, sizeof mc);
        }
    }
    ok(!err && c.v[0] != a.v[0] && mc[1].loss != ma[1].loss,
       "training: augmentation changes losses");
    hone_data_close(&d);
    hone_data_close(&none);
    hone_device_close(&device);
}

int main(void)
{
    for (int c = 1; c <= 4; c++) check_bytes(c);
    check_augment(3, 1, 2, 1);
    check_augment(3, 0, 2, 1);
    check_augment(1, 1, 3, 0);
    check_augment(1, 0, 0, 1);
    check_augment(4, 1, 1, 1);
    check_parse();
    check_feed();
    check_residents();
    check_training();
    return tap_end();
}
