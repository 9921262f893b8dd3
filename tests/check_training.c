/* What runs after assembly: the arena, memory in steps, fast kernels against the reference, short
 * batches, and golden training runs on made data. */
#define _GNU_SOURCE   /* dladdr() */
#include "nets/nets.h"
#include "tests/tap.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a count of allocations ---- */

static long nallocations;

#if defined __SANITIZE_ADDRESS__
#include <dlfcn.h>
#include <execinfo.h>

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));

/* OpenMP's runtime makes a team anew where the number of threads changes. */
static int is_openmp(void)
{
    static __thread int within;   /* backtrace() may allocate */
    void *frame[12];
    Dl_info of;
    if (within) return 1;
    within = 1;
    int n = backtrace(frame, 12), found = 0;
    for (int i = 0; i < n && !found; i++)
        found = dladdr(frame[i], &of) && of.dli_fname && strstr(of.dli_fname, "omp.so");
    within = 0;
    return found;
}

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p, (void)n;
    if (!is_openmp()) __atomic_add_fetch(&nallocations, 1, __ATOMIC_RELAXED);
}
static void on_free(const volatile void *p) { (void)p; }
static int can_count(void)
{
    static int there;   /* a second hook would count everything twice */
    if (!there) there = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0;
    return there;
}
#elif defined __GLIBC__
/* Ours come before the C library's, whose own lie behind these names. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
static void count(void) { __atomic_add_fetch(&nallocations, 1, __ATOMIC_RELAXED); }
void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}
int posix_memalign(void **mem, size_t align, size_t n)
{
    count();
    *mem = __libc_memalign(align, n);
    return *mem ? 0 : ENOMEM;
}
static int can_count(void) { return 1; }
#else
static int can_count(void) { return 0; }
#endif

static struct hone_device device;

static int near(float got, double want) { return fabs((double)got - want) <= 1e-6 * fabs(want); }

static struct hone_lowering lowering(int batch, int train)
{
    return (struct hone_lowering){ .batch = batch,
                                   .train = train,
                                   .optim = hone_optim_default(HONE_ADAM) };
}

/* ---- the arena ---- */

static int reads_or_writes(const struct hone_step *s, int t)
{
    for (int a = 0; a < s->nargs; a++)
        if (s->arg[a] == t) return 1;
    return 0;
}

/* Steps between which t must stay, found anew; results must outlive the last step.  0: no step
 * names it. */
static int lifetime(const struct hone_net *net, int t, int *first, int *last)
{
    *first = -1;
    for (int s = 0; s < net->nsteps; s++) {
        if (!reads_or_writes(&net->step[s], t)) continue;
        if (*first < 0) *first = s;
        *last = s;
    }
    if (t == net->loss || t == net->hit || t == net->output) *last = net->nsteps;
    return *first >= 0;
}

static int overlap(const struct hone_net *net, int t, int u)
{
    const struct hone_tensor *a = &net->tensor[t], *b = &net->tensor[u];
    return a->offset < b->offset + hone_tensor_bytes(b) &&
           b->offset < a->offset + hone_tensor_bytes(a);
}

/* Is u read for the last time by the step that first writes t, number by number over it? */
static int is_over(const struct hone_net *net, int t, int u)
{
    static const char *const ops[] = { "add", "dropout", "relu", "relu_bwd", "gelu_tanh",
                                       "gelu_tanh_bwd", "bnorm_infer", "bnorm_fwd", "bnorm_bwd",
                                       "sigmoid_bwd" };
    int f = 0, l = 0, g = 0, m = 0, known = 0;
    if (!lifetime(net, t, &f, &l) || !lifetime(net, u, &g, &m) || f != m || g == f) return 0;
    const struct hone_step *s = &net->step[f];
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        known |= !strcmp(s->problem.op->name, ops[i]);
    return known && s->arg[0] == t && net->tensor[t].offset == net->tensor[u].offset &&
           hone_tensor_len(&net->tensor[t]) == hone_tensor_len(&net->tensor[u]);
}

/* A step's workspace lies in the arena, away from all that lives at the step. */
static int workspaces_are_apart(const struct hone_net *net)
{
    int f = 0, l = 0;
    for (int i = 0; i < net->nsteps; i++) {
        const struct hone_step *s = &net->step[i];
        const int64_t from = s->workspace_offset, to = from + (int64_t)s->plan.workspace_bytes;
        if (from == to) continue;
        if (from % HONE_ALIGN || to > net->arena_bytes + net->workspace_bytes ||
            (char *)s->workspace != net->arena + from)
            return 0;
        for (int t = 0; t < net->ntensors; t++) {
            const struct hone_tensor *of = &net->tensor[t];
            if (of->role != HONE_ROLE_ACTIVATION || !lifetime(net, t, &f, &l) || i < f || i > l)
                continue;
            if (from < of->offset + hone_tensor_bytes(of) && of->offset < to) {
                printf("# the workspace of step %d lies on '%s'\n", i, of->name);
                return 0;
            }
        }
    }
    return 1;
}

static int arena_is_sound(const struct hone_net *net, int64_t *all)
{
    int f = 0, l = 0, g = 0, m = 0;
    *all = 0;
    for (int t = 0; t < net->ntensors; t++) {
        const struct hone_tensor *of = &net->tensor[t];
        if (of->role != HONE_ROLE_ACTIVATION || !lifetime(net, t, &f, &l)) continue;
        *all += hone_tensor_bytes(of);
        if (of->offset < 0 || of->offset % HONE_ALIGN ||
            of->offset + hone_tensor_bytes(of) > net->arena_bytes + net->workspace_bytes) {
            printf("# '%s' lies at %lld, arena %lld\n", of->name, (long long)of->offset,
                   (long long)(net->arena_bytes + net->workspace_bytes));
            return 0;
        }
        for (int u = 0; u < t; u++) {
            if (net->tensor[u].role != HONE_ROLE_ACTIVATION || !lifetime(net, u, &g, &m) || m < f ||
                g > l)
                continue;
            if (!overlap(net, t, u) || is_over(net, t, u) || is_over(net, u, t)) continue;
            printf("# '%s' and '%s' lie on each other\n", of->name, net->tensor[u].name);
            return 0;
        }
    }
    return workspaces_are_apart(net);
}

/* Weights on cache lines, side by side, gradients at the same places. */
static int weights_are_sound(const struct hone_net *net)
{
    int64_t end = 0;
    for (int t = 0; t < net->ntensors; t++) {
        const struct hone_tensor *w = &net->tensor[t];
        if (w->role != HONE_ROLE_WEIGHT || t == net->params) continue;
        if (w->offset % HONE_ALIGN || w->offset < end || w->offset >= end + HONE_ALIGN) return 0;
        end = w->offset + hone_tensor_bytes(w);
    }
    if (end > net->trainable_bytes || net->trainable_bytes >= end + HONE_ALIGN) return 0;
    /* Running values follow. */
    end = net->trainable_bytes;
    for (int t = 0; t < net->ntensors; t++) {
        const struct hone_tensor *r = &net->tensor[t];
        if (r->role != HONE_ROLE_RUNNING) continue;
        if (r->offset % HONE_ALIGN || r->offset < end || r->offset >= end + HONE_ALIGN) return 0;
        end = r->offset + hone_tensor_bytes(r);
    }
    return end <= net->weights_bytes && net->weights_bytes < end + HONE_ALIGN;
}

static void check_arena(const char *name, int batch, int train)
{
    struct hone_net net;
    struct hone_lowering how = lowering(batch, train);
    int64_t all = 0;
    int err = hone_net_open(&net, name, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &device, NULL);
    ok(!err && arena_is_sound(&net, &all), "%s, batch %d%s: no two live tensors share bytes", name,
       batch, train ? "" : ", evaluation");
    ok(!err && net.arena_bytes > 0 && net.arena_bytes <= all + HONE_ALIGN * net.ntensors,
       "and the arena, %lld bytes, is no larger than their sum", (long long)net.arena_bytes);
    /* Forward keeps what backward reads; without backward, two neighbours at a time is all there
     * is. */
    if (!train && net.nsteps > 6)
        ok(net.arena_bytes < all * 3 / 4, "in evaluation it is much smaller");
    ok(!err && weights_are_sound(&net), "weights lie side by side on cache lines");
    hone_net_close(&net);
}

/* ---- data made here ---- */

/* Blobs: each class is bright around a place of its own, with noise; so that learning shows. */
static void make_images(struct hone_data *d, int rows, int side, int classes, uint64_t seed)
{
    *d = (struct hone_data){ .name = "blobs",
                             .source = "blobs",
                             .rows = rows,
                             .h = side,
                             .w = side,
                             .c = 1,
                             .classes = classes };
    d->x = malloc((size_t)rows * (size_t)(side * side) * sizeof *d->x);
    d->label = malloc((size_t)rows * sizeof *d->label);
    if (!d->x || !d->label) abort();
    for (int i = 0; i < rows; i++) {
        int k = (int)(hone_random(seed, (uint64_t)i) % (uint64_t)classes);
        double cy = side * (0.5 + 0.3 * sin(6.28 * k / classes)),
               cx = side * (0.5 + 0.3 * cos(6.28 * k / classes));
        d->label[i] = k;
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                double r2 = (y - cy) * (y - cy) + (x - cx) * (x - cx),
                       noise = hone_random_unit(seed + 1, (uint64_t)((i * side + y) * side + x));
                d->x[(i * side + y) * side + x] = (float)(exp(-r2 / side) + noise - 0.5);
            }
    }
}

/* y = sin(2 a) + b c, of features in [-1, 1). */
static void make_rows(struct hone_data *d, int rows, uint64_t seed)
{
    *d = (struct hone_data){
        .name = "surface", .source = "surface", .rows = rows, .h = 1, .w = 1, .c = 8, .outputs = 1
    };
    d->x = malloc((size_t)rows * 8 * sizeof *d->x);
    d->y = malloc((size_t)rows * sizeof *d->y);
    if (!d->x || !d->y) abort();
    for (int i = 0; i < rows; i++) {
        float *x = d->x + i * 8;
        for (int j = 0; j < 8; j++)
            x[j] = (float)(2 * hone_random_unit(seed, (uint64_t)(i * 8 + j)) - 1);
        d->y[i] = sinf(2 * x[0]) + x[1] * x[2];
    }
}

/* ---- steps ---- */

struct losses {
    double v[10];
    int n;
};

static void keep_loss(void *ctx, int64_t step, double loss)
{
    struct losses *l = ctx;
    (void)step;
    if (l->n < 10) l->v[l->n++] = loss;
}

/* Roundings that a number has gone through at most in steps [from, to), in units of eps. */
static double growth(const struct hone_net *net, int from, int to)
{
    double sum = 0;
    for (int s = from; s < to; s++) sum += net->step[s].problem.op->growth(&net->step[s].problem);
    return sum;
}

static int first_losses(const struct hone_data *data, enum hone_dtype dtype, int reference,
                        struct losses *l, double *forward, double *backward)
{
    struct hone_trainer t;
    struct hone_data none = { 0 };
    struct hone_metrics m;
    struct hone_train_options o = {
        .net = "lenet5", .how = lowering(8, 1), .seed = 5, .each_step = keep_loss, .ctx = l
    };
    o.how.optim = hone_optim_default(HONE_SGD);
    o.how.optim.lr = 0.1;
    o.how.reference = reference;
    o.how.dtype = dtype;
    *l = (struct losses){ .n = 0 };
    int err = hone_trainer_open(&t, &o, &device, data, &none);
    if (err) return err;
    *forward = growth(&t.net, 0, t.net.first_backward);
    *backward = growth(&t.net, t.net.first_backward, t.net.nsteps);
    err = hone_trainer_epoch(&t, 1, &m);
    hone_trainer_close(&t);
    return err;
}

/* In halves, kernels and reference round a number to different sides where what they have in f32,
 * off by e, lies about the middle: with the chance e / eps, and then they are eps apart.  The
 * deviation of that is sqrt(e eps). */
static double deviation(enum hone_dtype dtype, double growth)
{
    double e = hone_dtype_eps(hone_dtype_wide(dtype)) * 8 * sqrt(growth);
    return hone_dtype_is_half(dtype) ? sqrt(e * hone_dtype_eps(dtype)) : e;
}

/* A loss has gone through the roundings of one pass forward, and of a whole step for every step
 * before.  Where n roundings are independent, their sum grows as sqrt(n) (Higham and Mary 2019); 8
 * deviations of it. */
static void check_losses(enum hone_dtype dtype)
{
    const char *type = hone_dtype_name(dtype);
    struct hone_data data;
    struct losses fast, again, slow;
    double forward = 0, backward = 0, worst = 0;
    make_images(&data, 80, 28, 10, 3);
    int err = first_losses(&data, dtype, 0, &fast, &forward, &backward);
    if (!err) err = first_losses(&data, dtype, 0, &again, &forward, &backward);
    if (!err) err = first_losses(&data, dtype, 1, &slow, &forward, &backward);
    if (!ok(!err && fast.n == 10, "lenet5 trains for ten steps in %s", type))
        printf("# %s\n", hone_errmsg());
    ok(!err && !memcmp(&fast, &again, sizeof fast), "its losses are the same bits from run to run");
    for (int i = 0; !err && i < 10; i++) {
        double n = forward + i * (forward + backward),
               bound = deviation(dtype, n) * (1 + slow.v[i]);
        worst = fmax(worst, fabs(fast.v[i] - slow.v[i]) / bound);
        printf("# step %d: %.17g, reference %.17g, bound %.2g\n", i, fast.v[i], slow.v[i], bound);
    }
    ok(!err && worst <= 1, "and those of the reference within the bound (%.3f of it)", worst);
    ok(!err && fast.v[9] < fast.v[0], "and fall");
    hone_data_close(&data);
}

static void check_allocations(const char *net, const struct hone_data *data)
{
    struct hone_trainer t;
    struct hone_metrics m;
    struct hone_train_options o = { .net = net, .how = lowering(8, 1), .seed = 5 };
    if (!can_count()) {
        skip("no way to count allocations here", "%s: a step allocates nothing", net);
        return;
    }
    int err = hone_trainer_open(&t, &o, &device, data, data);
    /* The first epoch starts threads and library pools. */
    if (!err) err = hone_trainer_epoch(&t, 1, &m);
    if (!err) err = hone_trainer_evaluate(&t, &m);
    free(malloc(1));
    long before = nallocations;
    ok(before > 0, "%s: allocations are counted", net);
    if (!err) err = hone_trainer_epoch(&t, 2, &m);
    if (!err) err = hone_trainer_evaluate(&t, &m);
    long after = nallocations;
    ok(!err && after == before,
       "%s: an epoch with its short batch and its evaluation allocates nothing (%ld)", net,
       after - before);
    hone_trainer_close(&t);
}

/* ---- running statistics ---- */

static const float *numbers(const struct hone_net *net, const char *name)
{
    for (int t = 0; t < net->ntensors; t++)
        if (!strcmp(net->tensor[t].name, name)) return hone_net_mem(net, t);
    return NULL;
}

/* Two steps on one batch: running values go from 0 and 1 by momentum towards the batch's mean and
 * unbiased variance, evaluation reads them, and the optimizer leaves them alone. */
static void check_running(void)
{
    static const char text[] = "input x c=2\nbnorm b = x momentum=0.25 eps=0\nfc y = b k=1\n"
                               "mse l = y\n";
    static const float x[] = { 1, 10, 3, 20, 5, 60 };
    struct hone_net net, eval = { 0 };
    struct hone_lowering how = lowering(3, 1), how_eval = lowering(3, 0);
    how.optim.weight_decay = 0.5;
    int err = hone_net_parse(&net, "t.net", text, &how);
    if (!err) err = hone_net_parse(&eval, "t.net", text, &how_eval);
    if (!err) err = hone_net_assemble(&net, NULL, &device, NULL);
    if (!err) err = hone_net_assemble(&eval, NULL, &device, &net);
    if (!err) err = hone_net_init(&net, 1);
    if (!ok(!err && net.parameters == 4 + 3, "bnorm of 2 channels has 4 parameters")) return;
    const float *mean = numbers(&net, "b.mean"), *var = numbers(&net, "b.var"),
                *gamma = numbers(&net, "b.gamma"), *beta = numbers(&net, "b.beta");
    ok(mean[0] == 0 && mean[1] == 0 && var[0] == 1 && var[1] == 1 && gamma[0] == 1 && beta[1] == 0,
       "it starts with mean 0, variance 1, gamma 1, beta 0");
    memcpy(hone_net_mem(&net, net.input), x, sizeof x);
    for (int i = 0; !err && i < 2; i++) err = hone_net_run(&net, 0, net.nsteps);
    /* Batch: mean 3 and 30, unbiased variance 4 and 700; share of what is new: 1 - 0.75^2. */
    ok(!err && near(mean[0], 3 * 0.4375) && near(mean[1], 30 * 0.4375) &&
           near(var[0], 0.5625 + 4 * 0.4375) && near(var[1], 0.5625 + 700 * 0.4375),
       "two steps move it by momentum (%g %g %g %g)", mean[0], mean[1], var[0], var[1]);
    ok(gamma[0] != 1, "while gamma is trained");
    const float *y = numbers(&eval, "b");
    float before = mean[0];
    memcpy(hone_net_mem(&eval, eval.input), x, sizeof x);
    if (!err) err = hone_net_run(&eval, 0, 1);
    double want = (60 - (double)mean[1]) / sqrt((double)var[1]) * (double)gamma[1] + (double)beta[1];
    ok(!err && near(y[5], want) && numbers(&eval, "b.mean") == mean && mean[0] == before,
       "evaluation normalises by it, and leaves it alone");
    hone_net_close(&eval);
    hone_net_close(&net);
    how.batch = 1;
    ok(hone_net_parse(&net, "t.net", text, &how) && strstr(hone_errmsg(), "--last drop"),
       "a batch of one row has nothing to normalise by");
    hone_net_close(&net);
}

/* PyTorch's first weights: +-1 / sqrt(fan_in), for biases too; a depthwise convolution's fan_in is
 * its taps. */
static void check_init(void)
{
    static const char text[] = "init pytorch\ninput x c=64 h=6 w=6\ndwconv d = x r=3\n"
                               "conv c = d k=64 r=1\ngap g = c\nfc y = g k=10\nmse l = y\n";
    static const struct {
        const char *name;
        double limit;
    } want[] = { { "d.w", 1 / 3.0 }, { "d.bias", 1 / 3.0 }, { "c.w", 0.125 }, { "c.bias", 0.125 },
                 { "y.w", 0.125 } };
    struct hone_net net;
    struct hone_lowering how = lowering(3, 1);
    int err = hone_net_parse(&net, "t.net", text, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &device, NULL);
    if (!err) err = hone_net_init(&net, 1);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const float *v = err ? NULL : numbers(&net, want[i].name);
        double most = 0;
        for (int j = 0; v && j < 64; j++) most = fmax(most, fabs((double)v[j]));
        ok(v && most <= want[i].limit && most > 0.9 * want[i].limit,
           "init pytorch: %s in +-%g (%g)", want[i].name, want[i].limit, most);
    }
    hone_net_close(&net);
    how.init = HONE_INIT_GLOROT;
    err = hone_net_parse(&net, "t.net", text, &how);
    ok(!err && net.init == HONE_INIT_GLOROT,
       "the command line's first weights go before the text's");
    hone_net_close(&net);
}

/* ---- batches ---- */

static void check_batches(const struct hone_data *data)
{
    static const int batch[] = { 1, 4, 7, 30 }; /* of 30 rows: rest 0, 2, 2, 0 */
    struct hone_metrics m[4];
    int err = 0, same = 1;
    for (int i = 0; !err && i < 4; i++) {
        struct hone_trainer t;
        struct hone_train_options o = { .net = "lenet5-student",
                                        .how = lowering(batch[i], 1),
                                        .seed = 5 };
        err = hone_trainer_open(&t, &o, &device, data, data);
        if (!err) err = hone_trainer_evaluate(&t, &m[i]);
        hone_trainer_close(&t);
        same = same && !err && m[i].rows == 30 && m[i].accuracy == m[0].accuracy &&
               fabs(m[i].loss - m[0].loss) < 1e-5 * m[0].loss;
    }
    ok(same, "evaluation gives the same in batches of 1, 4, 7 and 30 of 30 rows");
    for (int drop = 0; !err && drop < 2; drop++) {
        struct hone_trainer t;
        struct hone_train_options o = {
            .net = "lenet5-student", .how = lowering(4, 1), .seed = 5, .drop_last = drop
        };
        err = hone_trainer_open(&t, &o, &device, data, data);
        if (!err) err = hone_trainer_epoch(&t, 1, &m[0]);
        ok(!err && t.step == (drop ? 7 : 8) && m[0].rows == (drop ? 28 : 30), "%s",
           drop ? "--last drop leaves 2 rows out" : "a short batch takes them");
        ok(!err && (drop ? !t.rest.nsteps
                         : t.rest.weights == t.net.weights && t.rest.state == t.net.state &&
                               t.eval_rest.weights == t.net.weights),
           "%s",
           drop ? "and there is no second net" : "in a net that shares weights and optimizer");
        hone_trainer_close(&t);
    }
}

/* ---- numbers of the optimizer ---- */

static void check_hyper(void)
{
    struct hone_optim o = hone_optim_default(HONE_ADAM);
    double h[8];
    hone_optim_hyper(&o, 0, h);
    ok(near(h[0], 1e-3) && near(h[1], 0.9) && near(h[2], 0.999) && near(h[3], 1e-8) &&
           near(h[5], 10) && near(h[6], 31.622777),
       "adam, first step");
    hone_optim_hyper(&o, 9, h);
    ok(near(h[5], 1 / (1 - pow(0.9, 10))) && near(h[6], 1 / sqrt(1 - pow(0.999, 10))),
       "adam, tenth step");
    o = hone_optim_default(HONE_SGD);
    o.decay = 0.5;
    o.momentum = 0.75;
    o.weight_decay = 0.25;
    hone_optim_hyper(&o, 4, h);
    ok(near(h[0], 0.01 / 3) && near(h[1], 0.75) && near(h[4], 0.25), "sgd, with Keras's decay");
}

/* ---- golden runs ---- */

struct golden {
    const char *net;
    enum hone_optimizer optimizer;
    double lr, momentum;
    int epochs;
    double loss, tolerance; /* of the last epoch's training rows */
    double accuracy, mse;   /* test: at least, at most */
};

/* Losses recorded with the reference kernels.  Rounding moves them by far less than the tolerance;
 * a wrong seed, order, gradient, first weight or update by more. */
static const struct golden runs[] = {
    { "lenet5-student", HONE_SGD, 0.05, 0.9, 2, 0.21518, 0.01, 0.9, 0 },
    { "housing-mlp", HONE_ADAM, 0.01, 0, 5, 0.015573, 0.002, 0, 0.02 },
};

static void check_golden(const struct golden *g, const struct hone_data *train,
                         const struct hone_data *test)
{
    struct hone_trainer t;
    struct hone_metrics m, tested;
    struct hone_train_options o = { .net = g->net, .how = lowering(16, 1), .seed = 42 };
    o.how.optim = hone_optim_default(g->optimizer);
    o.how.optim.lr = g->lr;
    o.how.optim.momentum = g->momentum;
    o.how.reference = getenv("HONE_CHECK_REFERENCE") != NULL;
    int err = hone_trainer_open(&t, &o, &device, train, test);
    for (int e = 1; !err && e <= g->epochs; e++) err = hone_trainer_epoch(&t, e, &m);
    if (!err) err = hone_trainer_evaluate(&t, &tested);
    if (err)
        printf("# %s\n", hone_errmsg());
    else
        printf("# %s: loss %.6f, test accuracy %.4f, test mse %.5f\n", g->net, m.loss,
               tested.accuracy, tested.mse);
    ok(!err && fabs(m.loss - g->loss) <= g->tolerance * g->loss,
       "golden run of %s: loss %.6f within %g %%", g->net, g->loss, 100 * g->tolerance);
    if (g->accuracy > 0)
        ok(!err && tested.accuracy >= g->accuracy, "golden run of %s: test accuracy at least %g",
           g->net, g->accuracy);
    else
        ok(!err && tested.mse <= g->mse, "golden run of %s: test mse at most %g", g->net, g->mse);
    hone_trainer_close(&t);
}

/* ---- a loss that is no number, and data that do not fit ---- */

static void check_blame(const struct hone_data *data)
{
    struct hone_trainer t;
    struct hone_metrics m;
    struct hone_train_options o = { .net = "lenet5-student", .how = lowering(8, 1), .seed = 5 };
    int err = hone_trainer_open(&t, &o, &device, data, data);
    for (int i = 0; !err && i < t.net.ntensors; i++)
        if (!strcmp(t.net.tensor[i].name, "f2.w")) *(float *)hone_net_mem(&t.net, i) = NAN;
    ok(!err && hone_trainer_epoch(&t, 1, &m) == HONE_EDATA &&
           !strcmp(hone_errmsg(),
                   "epoch 1, step 1: the loss is nan: weights of layer 'f2' (fc) are not finite"),
       "a weight that is no number is found");
    hone_trainer_close(&t);
    o.how.optim.lr = 1e30;
    err = hone_trainer_open(&t, &o, &device, data, data);
    err = err ? err : hone_trainer_epoch(&t, 1, &m);
    ok(err == HONE_EDATA && strstr(hone_errmsg(), "epoch 1, step ") &&
           strstr(hone_errmsg(), "layer '"),
       "so is a step too far");
    printf("# %s\n", hone_errmsg());
    hone_trainer_close(&t);
}

static void check_misfits(const struct hone_data *images, const struct hone_data *rows)
{
    struct hone_trainer t;
    struct hone_data few = *images,
                     none = { .name = "none", .h = 28, .w = 28, .c = 1, .classes = 10 };
    struct hone_train_options o = { .net = "lenet5", .how = lowering(8, 1), .seed = 5 };
    ok(hone_trainer_open(&t, &o, &device, rows, rows) &&
           !strcmp(hone_errmsg(), "net 'lenet5' reads 28x28x1, and a row of 'surface' is 1x1x8"),
       "another shape");
    ok(hone_trainer_open(&t, &o, &device, &none, images) &&
           !strcmp(hone_errmsg(), "'none' has no rows to train on"),
       "no rows");
    few.classes = 11;
    ok(hone_trainer_open(&t, &o, &device, &few, images) &&
           !strcmp(hone_errmsg(), "net 'lenet5' knows 10 classes, and 'blobs' has 11"),
       "too many classes");
    o.net = "housing-mlp";
    o.how.loss = "softmax_ce";
    ok(hone_trainer_open(&t, &o, &device, rows, rows) &&
           strstr(hone_errmsg(), "needs at least 2 classes"),
       "classes of one output");
    o.net = "lenet5";
    o.how.loss = "mse";
    ok(hone_trainer_open(&t, &o, &device, images, images) &&
           !strcmp(hone_errmsg(),
                   "net 'lenet5' computes numbers, and 'blobs' has classes as targets"),
       "classes as numbers");
    o.how.loss = NULL;
    few = *images;
    few.rows = 5;
    o.drop_last = 1;
    ok(hone_trainer_open(&t, &o, &device, &few, images) &&
           !strcmp(hone_errmsg(), "the 5 rows of 'blobs' fill no batch of 8"),
       "fewer rows than a batch");
}

/* ---- large weights' own update steps ---- */

/* Three steps on made numbers; clip 0: none. */
static int train_large(struct hone_net *net, const char *text, enum hone_optimizer kind,
                       double clip)
{
    struct hone_lowering how = lowering(8, 1);
    how.optim = hone_optim_default(kind);
    how.optim.clip = clip;
    how.optim.momentum = kind == HONE_SGD ? 0.9 : 0;
    int err = hone_net_parse(net, "large.net", text, &how);
    if (!err) err = hone_net_assemble(net, NULL, &device, NULL);
    if (!err) err = hone_net_init(net, 7);
    if (err) return err;
    float *x = hone_net_mem(net, net->input);
    int32_t *label = hone_net_mem(net, net->target);
    for (int64_t i = 0; i < hone_tensor_len(&net->tensor[net->input]); i++)
        x[i] = (float)hone_random_unit(3, (uint64_t)i);
    for (int i = 0; i < 8; i++) label[i] = i % 3;
    for (int i = 0; !err && i < 3; i++) err = hone_net_run(net, 0, net->nsteps);
    return err;
}

/* Clipping at a norm that is never reached changes no bit, and needs all gradients at once. */
static void check_large(const char *text, enum hone_optimizer kind, int steps, int64_t gradients)
{
    struct hone_net own, flat;
    int err = train_large(&own, text, kind, 0), n = 0;
    if (!err) err = train_large(&flat, text, kind, 1e30);
    for (int s = 0; !err && s < own.nsteps; s++) n += own.step[s].phase == HONE_UPDATE;
    ok(!err && n == steps, "%s: large weights are updated by steps of their own, %d in all",
       hone_optimizer_name(kind), n);
    ok(!err && own.gradients_bytes == gradients && flat.gradients_bytes == flat.trainable_bytes,
       "their gradients lie in the arena: %lld bytes are elsewhere", (long long)own.gradients_bytes);
    ok(!err && own.weights_bytes == flat.weights_bytes &&
           !memcmp(own.weights, flat.weights, (size_t)own.weights_bytes),
       "weights are those of one step for all, bit by bit");
    hone_net_close(&own);
    hone_net_close(&flat);
}

int main(void)
{
    static const char *const names[] = { "lenet5", "lenet5-student", "mnist-cnn", "letter-mlp",
                                         "housing-mlp", "resnet56:n=2", "resnet56:n=1,option=B",
                                         "resnet152:n3=2", "mobilenetv1", "vgg16:width=0.125,fc=8" };
    struct hone_data images, few, test_images, rows, few_rows, test_rows;
    if (hone_device_open(&device, "cpu0")) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int train = 0; train < 2; train++) check_arena(names[i], i % 2 ? 5 : 64, train);
    make_images(&images, 400, 28, 10, 11);
    make_images(&few, 30, 28, 10, 12);
    make_images(&test_images, 200, 28, 10, 13);
    make_rows(&rows, 1000, 14);
    make_rows(&few_rows, 30, 15);
    make_rows(&test_rows, 200, 16);
    check_losses(HONE_F32);
    check_losses(HONE_F64);
    check_losses(HONE_BF16);
    check_losses(HONE_F16);
    check_allocations("lenet5", &few);
    check_allocations("housing-mlp", &few_rows);
    check_batches(&few);
    check_hyper();
    /* Runs of small ones before, between and behind them; large ones, in halves, alone. */
    check_large("input x c=16\nfc a = x k=600\nfc b = a k=512 act=relu\nfc c = b k=512\n"
                "fc y = c k=3\nsoftmax_ce l = y\n",
                HONE_SGD, 7, 4 * (16 * 600 + 608 + 512 + 512 + 512 * 3 + 16));
    check_large("input x c=600\nfc b = x k=512 bias=0\nfc y = b k=513 bias=0\n"
                "softmax_ce l = y\n", HONE_ADAM, 4, 0);
    check_running();
    check_init();
    check_golden(&runs[0], &images, &test_images);
    check_golden(&runs[1], &rows, &test_rows);
    check_blame(&few);
    check_misfits(&images, &rows);
    hone_data_close(&images);
    hone_data_close(&few);
    hone_data_close(&test_images);
    hone_data_close(&rows);
    hone_data_close(&few_rows);
    hone_data_close(&test_rows);
    hone_device_close(&device);
    return tap_end();
}
