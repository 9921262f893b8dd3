/* Distillation: losses and gradients against what the two nets' outputs give in doubles, a teacher
 * that stays as it is, short batches, kept logits, and pairs that do not go together. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 44, BATCH = 16, CLASSES = 5, LONGEST = 256 };

static struct hone_device device;
static struct hone_data data, none;
static char dir[] = "/tmp/check_distill-XXXXXX", teacher_net[64], student_net[64], teacher_file[64];

/* The teacher drops out and normalises by batches where it trains: neither may happen here. */
static const char teacher_text[] = "input x c=2 h=6 w=6\n"
                                   "conv c1 = x k=4 r=3 p=1\n"
                                   "bnorm b1 = c1\n"
                                   "gelu_tanh a1 = b1\n"
                                   "flatten f = a1\n"
                                   "dropout d = f p=0.5\n"
                                   "fc y = d k=5\n"
                                   "softmax_ce loss = y\n",
                  student_text[] = "input x c=2 h=6 w=6\n"
                                   "flatten f = x\n"
                                   "fc f1 = f k=7 act=tanh\n"
                                   "fc y = f1 k=5\n"
                                   "softmax_ce loss = y\n";

static int write_text(char path[64], const char *name, const char *text)
{
    snprintf(path, 64, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    int bad = !f || fputs(text, f) < 0;
    return f && fclose(f) ? 1 : bad;
}

/* ---- training ---- */

struct losses {
    double loss[LONGEST];
    int n;
};

static void keep_loss(void *ctx, int64_t step, double loss)
{
    struct losses *l = ctx;
    l->loss[step % LONGEST] = loss;
    l->n++;
}

/* lr 0: the weights stay, so that every batch of an epoch is of the same net. */
static struct hone_train_options options_of(double lr, double temperature, double mix)
{
    struct hone_train_options o = {
        .net = student_net,
        .seed = 3,
        .each_step = keep_loss,
        .how = { .batch = BATCH, .train = 1, .optim = hone_optim_default(HONE_SGD) },
        .teacher = { teacher_net, teacher_file, temperature, mix, 0 },
    };
    o.how.optim.lr = lr;
    return o;
}

/* The epoch's losses; hash (NULL: not wanted) of the student's weights afterwards. */
static int train(struct hone_train_options o, int epochs, struct losses *l, uint64_t *hash)
{
    struct hone_trainer t;
    struct hone_metrics m;
    *l = (struct losses){ .n = 0 };
    o.ctx = l;
    int err = hone_trainer_open(&t, &o, &device, &data, &none);
    for (int e = 1; !err && e <= epochs; e++) err = hone_trainer_epoch(&t, e, &m);
    for (int64_t i = 0; !err && hash && i < t.net.weights_bytes / 8; i++) {
        uint64_t word;
        memcpy(&word, t.net.weights + 8 * i, 8);
        *hash = hone_random(i ? *hash : 0, word);
    }
    hone_trainer_close(&t);
    return err;
}

/* ---- the same from the two nets' outputs ---- */

/* Logits (ROWS, CLASSES) of all rows, one by one. */
static int logits_of(const char *name, const char *weights, const struct hone_net *like, float *out)
{
    struct hone_net net;
    struct hone_lowering how = { .batch = 1, .optim = hone_optim_default(HONE_SGD) };
    int32_t label;
    int err = hone_net_open(&net, name, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &device, NULL);
    if (!err && weights) err = hone_weights_load(&net, weights);
    if (!err && like) memcpy(net.weights, like->weights, (size_t)net.weights_bytes);
    for (int64_t r = 0; !err && r < ROWS; r++) {
        hone_data_gather(&data, &r, 1, hone_net_mem(&net, net.input), &label);
        err = hone_net_run(&net, 0, net.nsteps);
        memcpy(out + r * CLASSES, hone_net_mem(&net, net.output), CLASSES * sizeof *out);
    }
    hone_net_close(&net);
    return err;
}

static void log_softmax(const float *x, double t, double out[CLASSES])
{
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < CLASSES; j++) most = fmax(most, x[j] / t);
    for (int j = 0; j < CLASSES; j++) sum += exp(x[j] / t - most);
    for (int j = 0; j < CLASSES; j++) out[j] = x[j] / t - most - log(sum);
}

/* mix T^2 CE(softmax(x / T), softmax(z / T)) + (1 - mix) CE(softmax(x), label) of a row. */
static double row_loss(const float *x, const float *z, int label, double t, double mix)
{
    double p[CLASSES], q[CLASSES], hard[CLASSES], soft = 0;
    log_softmax(x, t, p);
    log_softmax(z, t, q);
    log_softmax(x, 1, hard);
    for (int j = 0; j < CLASSES; j++) soft -= exp(q[j]) * p[j];
    return mix * t * t * soft - (1 - mix) * hard[label];
}

/* Is every step's loss that of its rows?  ROWS is 2 batches and a short one of 12. */
static int losses_are_right(double temperature, double mix, int cache)
{
    struct hone_train_options o = options_of(0, temperature, mix);
    struct hone_trainer t;
    struct hone_metrics m;
    struct losses l = { .n = 0 };
    float x[ROWS * CLASSES], z[ROWS * CLASSES];
    int64_t order[ROWS];
    o.ctx = &l;
    o.teacher.cache = cache;
    int err = hone_trainer_open(&t, &o, &device, &data, &none);
    if (!err) err = logits_of(student_net, NULL, &t.net, x);
    if (!err) err = logits_of(teacher_net, teacher_file, NULL, z);
    if (!err) err = hone_trainer_epoch(&t, 1, &m);
    hone_trainer_close(&t);
    if (err) printf("# %s\n", hone_errmsg());
    if (err || l.n != 3) return 0;
    hone_data_shuffle(order, ROWS, o.seed, 1);
    for (int s = 0, at = 0; s < 3; s++) {
        double want = 0;
        int n = ROWS - at < BATCH ? ROWS - at : BATCH;
        for (int i = 0; i < n; i++, at++)
            want += row_loss(x + order[at] * CLASSES, z + order[at] * CLASSES,
                             data.label[order[at]], temperature, mix) /
                    n;
        /* Some hundred roundings of f32 at most. */
        if (fabs(l.loss[s] - want) > 2e-5 * fabs(want)) {
            printf("# step %d: loss %.9g, want %.9g\n", s, l.loss[s], want);
            return 0;
        }
    }
    return 1;
}

static void check_losses(void)
{
    static const struct {
        double t, mix;
    } cases[] = { { 1, 1 }, { 1, 0 }, { 4, 1 }, { 0.5, 0.7 }, { 20, 0.25 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int cache = 0; cache < 2; cache++)
            ok(losses_are_right(cases[i].t, cases[i].mix, cache),
               "losses of all batches are those of the two nets' outputs: temperature %g, mix "
               "%g%s",
               cases[i].t, cases[i].mix, cache ? ", logits kept" : "");
}

/* ---- the gradient ---- */

/* Mean loss of all rows by the student's weights as they are. */
static int mean_loss(const struct hone_net *student, const float *z, double temperature, double mix,
                     double *loss)
{
    float x[ROWS * CLASSES];
    int err = logits_of(student_net, NULL, student, x);
    *loss = 0;
    for (int r = 0; !err && r < ROWS; r++)
        *loss += row_loss(x + r * CLASSES, z + r * CLASSES, data.label[r], temperature, mix) / ROWS;
    return err;
}

/* All rows are one batch; one weight in some is moved both ways. */
static void check_gradient(double temperature, double mix)
{
    struct hone_train_options o = options_of(0, temperature, mix);
    struct hone_trainer t;
    struct hone_metrics m;
    struct losses l = { .n = 0 };
    float z[ROWS * CLASSES];
    const double move = 1.0 / 64;
    double worst = 0, most = 0;
    o.how.batch = ROWS;
    o.ctx = &l;
    int err = hone_trainer_open(&t, &o, &device, &data, &none);
    if (!err) err = logits_of(teacher_net, teacher_file, NULL, z);
    if (!err) err = hone_trainer_epoch(&t, 1, &m);
    float *w = err ? NULL : hone_net_mem(&t.net, t.net.params);
    const float *g = err ? NULL : hone_net_mem(&t.net, t.net.grads);
    int64_t n = err ? 0 : hone_tensor_len(&t.net.tensor[t.net.params]);
    for (int64_t i = 0; !err && i < n; i += 13) {
        const float was = w[i];
        double above = 0, below = 0;
        w[i] = was + (float)move;
        err = mean_loss(&t.net, z, temperature, mix, &above);
        w[i] = was - (float)move;
        if (!err) err = mean_loss(&t.net, z, temperature, mix, &below);
        w[i] = was;
        worst = fmax(worst, fabs((above - below) / (2 * move) - (double)g[i]));
        most = fmax(most, fabs((double)g[i]));
    }
    hone_trainer_close(&t);
    /* The third derivative times move^2 / 6 is below a hundredth of the largest. */
    if (!ok(!err && most > 0 && worst < 0.01 * most,
            "gradients are the losses' slopes: temperature %g, mix %g", temperature, mix))
        printf("# off by %g of %g\n", worst, most);
}

/* The student with the teacher's own weights has nothing to learn from it. */
static void check_itself(void)
{
    struct hone_train_options o = options_of(0, 2, 1);
    struct hone_trainer t;
    struct hone_metrics m;
    struct losses l = { .n = 0 };
    double most[2] = { 0, 0 };
    char file[64];
    snprintf(file, sizeof file, "%s/itself.safetensors", dir);
    int err = HONE_OK;
    for (int i = 0; !err && i < 2; i++) {
        /* 0: the labels alone, for what a gradient is here. */
        o.teacher.mix = i;
        o.teacher.weights = file;
        o.teacher.net = student_net;
        o.ctx = &l;
        struct hone_net net;
        struct hone_lowering how = { .batch = 1, .optim = hone_optim_default(HONE_SGD) };
        err = hone_net_open(&net, student_net, &how);
        if (!err) err = hone_net_assemble(&net, NULL, &device, NULL);
        if (!err) err = hone_net_init(&net, 17);
        if (!err) err = hone_weights_save(&net, &data, file);
        hone_net_close(&net);
        if (!err) err = hone_trainer_open(&t, &o, &device, &data, &none);
        if (!err) err = hone_weights_load(&t.net, file);
        if (!err) err = hone_trainer_epoch(&t, 1, &m);
        const float *g = err ? NULL : hone_net_mem(&t.net, t.net.grads);
        for (int64_t j = 0; g && j < hone_tensor_len(&t.net.tensor[t.net.grads]); j++)
            most[i] = fmax(most[i], fabs((double)g[j]));
        hone_trainer_close(&t);
    }
    if (!ok(!err && most[0] > 0.01 && most[1] < 1e-5 * most[0],
            "a teacher with the student's own weights gives no gradient"))
        printf("# %g, of labels %g; %s\n", most[1], most[0], err ? hone_errmsg() : "");
}

/* ---- bits ---- */

static void check_bits(void)
{
    struct hone_train_options o = options_of(0.1, 2, 0.8);
    struct losses a, b;
    uint64_t ha, hb;
    int err = train(o, 3, &a, &ha);
    if (!err) err = train(o, 3, &b, &hb);
    ok(!err && a.n == 9 && ha == hb && !memcmp(a.loss, b.loss, 9 * sizeof *a.loss),
       "the same seed gives the same bits");
    o.feeding = HONE_FEED_BACKGROUND;
    err = train(o, 3, &b, &hb);
    ok(!err && ha == hb, "and with a thread that makes batches");
    o.teacher.cache = 1;
    err = train(o, 3, &b, &hb);
    double off = 0;
    for (int s = 0; s < 9; s++) off = fmax(off, fabs(a.loss[s] / b.loss[s] - 1));
    if (!ok(!err && off < 1e-5, "logits that are kept give the same losses")) printf("# %g\n", off);
    o.teacher.cache = 0;
    o.teacher.mix = 0.1;
    err = train(o, 3, &b, &hb);
    ok(!err && ha != hb, "another mix gives others");
}

/* Neither weights nor running statistics of the teacher move; its time is measured. */
static void check_teacher_stays(void)
{
    struct hone_train_options o = options_of(0.1, 1, 1);
    struct hone_trainer t;
    struct hone_metrics m;
    struct losses l;
    o.ctx = &l;
    int err = hone_trainer_open(&t, &o, &device, &data, &none);
    size_t bytes = err ? 0 : (size_t)t.teacher.net.weights_bytes;
    void *before = malloc(bytes + 1);
    if (!err) memcpy(before, t.teacher.net.weights, bytes);
    if (!err) err = hone_trainer_epoch(&t, 1, &m);
    ok(!err && bytes && !memcmp(before, t.teacher.net.weights, bytes),
       "the teacher stays as it is");
    ok(!err && t.teacher.seconds > 0 && t.teacher.seconds < t.epoch_seconds,
       "its seconds are a part of the epoch's");
    free(before);
    hone_trainer_close(&t);
}

/* ---- what does not go together ---- */

static void refused(struct hone_train_options o, const struct hone_data *d, const char *message)
{
    struct hone_trainer t;
    int err = hone_trainer_open(&t, &o, &device, d, &none);
    if (!ok(err && strstr(hone_errmsg(), message), "refused: %s", message))
        printf("# %s\n", err ? hone_errmsg() : "taken");
    hone_trainer_close(&t);
}

static void check_refusals(void)
{
    const struct hone_train_options good = options_of(0.1, 1, 1);
    struct hone_train_options o = good;
    char path[64];
    static struct hone_range other[2] = { { .std = 1 }, { .mean = 0.5, .std = 1 } };
    static char names[CLASSES][HONE_NAME] = { "a", "b", "c", "d", "e" };
    struct hone_data d = data;

    o.teacher.net = "lenet5";
    refused(o, &data, "net 'lenet5' knows 10 classes, and the student 'student' 5");
    o.teacher.net = "housing-mlp";
    refused(o, &data, "net 'housing-mlp' computes numbers, and a teacher classifies");
    write_text(path, "small.net",
               "input x c=2 h=5 w=5\nflatten f = x\nfc y = f k=5\nsoftmax_ce l = y\n");
    o.teacher.net = path;
    refused(o, &data, "net 'small' reads 5x5x2, and a row of 'synthetic' is 6x6x2");
    o = good;
    o.teacher.weights = "none.safetensors";
    refused(o, &data, "none.safetensors: No such file");
    o.teacher.weights = NULL;
    refused(o, &data, "its weights are not named");
    o = good;
    o.teacher.net = student_net;
    refused(o, &data, "has no tensor 'f1.w'");
    o = good;
    o.teacher.cache = 1;
    o.augment.flip = 1;
    refused(o, &data, "pictures that change each time cannot have its logits kept");
    o = good;
    o.how.loss = "mse";
    refused(o, &data, "a teacher goes with the loss softmax_ce");
    o = good;
    o.teacher.temperature = 0.001;
    refused(o, &data, "it must be from 0.01");
    d.range = NULL;
    refused(good, &d, "its features were normalised, and those of 'synthetic' are not");
    d.range = other;
    refused(good, &d, "feature or channel 1 was normalised by mean");
    d = data;
    d.class_name = names;
    refused(good, &d, "its class 0 is 'v', and that of 'synthetic' is 'a'");
}

/* ---- files ---- */

/* A teacher that was trained a little, so that its running statistics are not the first ones. */
static int make_teacher(void)
{
    struct hone_train_options o = options_of(0.05, 0, 0);
    struct hone_trainer t;
    struct hone_metrics m;
    struct losses l;
    static char names[CLASSES][HONE_NAME] = { "v", "w", "x", "y", "z" };
    struct hone_data named = data;
    o.net = teacher_net;
    o.teacher = (struct hone_teacher_choice){ 0 };
    o.ctx = &l;
    named.class_name = names;
    int err = hone_trainer_open(&t, &o, &device, &named, &none);
    for (int e = 1; !err && e <= 5; e++) err = hone_trainer_epoch(&t, e, &m);
    if (!err) err = hone_weights_save(&t.net, &named, teacher_file);
    hone_trainer_close(&t);
    return err;
}

static void remove_files(void)
{
    static const char *const file[] = { "teacher.net", "student.net", "small.net",
                                        "teacher.safetensors", "itself.safetensors" };
    char path[64];
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, file[i]);
        unlink(path);
    }
    rmdir(dir);
}

int main(void)
{
    int err = mkdtemp(dir) ? hone_device_open(&device, "cpu0") : HONE_EIO;
    snprintf(teacher_file, sizeof teacher_file, "%s/teacher.safetensors", dir);
    if (!err) err = hone_data_open(&data, &none, "synthetic:6x6x2:5:55", NULL);
    if (!err) err = hone_data_split(&data, &none, 0.81, 1);
    if (!err) err = hone_data_normalise(&data, &none);
    hone_data_close(&none);
    none = (struct hone_data){ 0 };
    if (!err && (data.rows != ROWS || write_text(teacher_net, "teacher.net", teacher_text) ||
                 write_text(student_net, "student.net", student_text)))
        err = hone_fail(HONE_EIO, "%lld rows, or no file in %s", (long long)data.rows, dir);
    if (!err) err = make_teacher();
    if (!ok(!err, "a teacher")) printf("# %s\n", hone_errmsg());
    if (!err) {
        check_losses();
        check_gradient(1, 1);
        check_gradient(3, 0.6);
        check_itself();
        check_bits();
        check_teacher_stays();
        check_refusals();
    }
    remove_files();
    hone_data_close(&data);
    hone_device_close(&device);
    return tap_end();
}
