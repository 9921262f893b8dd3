/* lenet5's first ten losses on the pretend gpu0 are the CPU's, within what roundings may make of
 * them; the arrays lie where the host cannot touch them. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 10, BATCH = 2 };

struct losses { double v[STEPS]; int n; };

static void keep(void *ctx, int64_t step, double loss)
{
    struct losses *l = ctx;
    (void)step;
    if (l->n < STEPS) l->v[l->n++] = loss;
}

/* Roundings that a number has gone through at most in a step, in units of eps. */
static double growth(const struct hone_net *net)
{
    double sum = 0;
    for (int s = 0; s < net->nsteps; s++)
        sum += net->step[s].problem.op->growth(&net->step[s].problem);
    return sum;
}

static int train(const char *device, const struct hone_data *data, struct losses *l, double *steps)
{
    struct hone_device d;
    struct hone_trainer t;
    struct hone_data none = { 0 };
    struct hone_metrics m;
    struct hone_train_options o = {
        .net = "lenet5", .seed = 5, .each_step = keep, .ctx = l,
        .how = { .batch = BATCH, .train = 1, .dtype = HONE_F32,
                 .optim = hone_optim_default(HONE_SGD), .init = HONE_INIT_DEFAULT }
    };
    o.how.optim.lr = 0.1;
    l->n = 0;
    int err = hone_device_open(&d, device);
    if (err) return err;
    err = hone_trainer_open(&t, &o, &d, data, &none);
    if (!err) {
        *steps = growth(&t.net);
        err = hone_trainer_epoch(&t, 1, &m);
        hone_trainer_close(&t);
    }
    hone_device_close(&d);
    return err;
}

int main(void)
{
    char path[4096];
    const char *dir = getenv("builddir");
    struct hone_data data, none;
    struct losses cpu, gpu;
    double steps = 0;
    snprintf(path, sizeof path, "%s/tests/pretend_cuda.so", dir ? dir : ".");
    setenv("HONE_LIBCUDA", path, 1);
    int err = hone_data_open(&data, &none, "synthetic:28x28x1:10:25", NULL);
    if (!err) data.rows = STEPS * BATCH;
    if (!err) err = train("cpu0", &data, &cpu, &steps);
    if (!err) err = train("gpu0", &data, &gpu, &steps);
    if (!ok(!err && cpu.n == STEPS && gpu.n == STEPS, "lenet5 trains on both for %d steps", STEPS))
        printf("# %s\n", hone_errmsg());
    /* Independent roundings add up as the root of their number (Higham and Mary 2019); 8 deviations
     * of it on either side. */
    for (int i = 0; !err && i < STEPS; i++) {
        const double bound = 2 * 8 * sqrt(steps * (i + 1)) * hone_dtype_eps(HONE_F32) * cpu.v[i];
        ok(fabs(cpu.v[i] - gpu.v[i]) <= bound, "step %d: %.7f on cpu0, %.7f on gpu0, bound %.1e", i,
           cpu.v[i], gpu.v[i], bound);
    }
    ok(!err && cpu.v[0] != cpu.v[STEPS - 1], "and the losses change");
    hone_data_close(&data);
    hone_data_close(&none);
    return tap_end();
}
