/* Training steps of a small net on one multiprocessor of a GPU: a single block, in whose shared
 * memory parameters, gradients, the optimizer's states and a batch's numbers stay for all steps of
 * a launch.  Batches come from the GPU's memory, losses go there. */
#include "kernels/mlp/steps_host.h"

#include <stdio.h>

enum { TILE, BLOCK };

/* Places in shared memory; returns how many words these are. */
static int64_t place(const struct mlp *m, struct mlp_sizes *s)
{
    int64_t at = 0;
    for (int l = 0; l < m->nlayers; l++) {
        s->at[l] = (int)at;
        s->row[l] = mlp_odd(m->width[l + 1]);
        at += (int64_t)(m->width[l] + 1) * s->row[l];
    }
    s->words = (int)at;
    s->copies = 2 + m->nstates;
    at *= s->copies;
    for (int l = 0; l <= m->nlayers; l++) {
        s->x[l] = (int)at;
        s->x_row[l] = mlp_odd(m->width[l] + (l < m->nlayers));
        at += (int64_t)m->mb * s->x_row[l];
    }
    return at;
}

static struct mlp_sizes sizes_of(const struct mlp *m)
{
    struct mlp_sizes s = mlp_sizes_of(m);
    place(m, &s);
    return s;
}

static int64_t shared_of(const struct hone_problem *p)
{
    const struct mlp m = mlp_of(p);
    struct mlp_sizes s;
    return place(&m, &s) * (int64_t)sizeof(float);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    static _Thread_local char why[128];
    const int64_t needed = shared_of(p), most = hone_cuda_limits(d)->shared_per_block;
    if (needed <= most) return NULL;
    snprintf(why, sizeof why, "it needs %lld bytes of shared memory, and a block has %lld",
             (long long)needed, (long long)most);
    return why;
}

static int prepare(struct hone_plan *plan)
{
    const struct mlp m = mlp_of(&plan->problem);
    const struct mlp_sizes s = sizes_of(&m);
    const struct mlp_tile tile = mlp_tile(plan->config.v[TILE]);
    char name[64], config[64];
    snprintf(name, sizeof name, "mlp_block_%d_%d", tile.rows, tile.cols);
    snprintf(config, sizeof config, "X(%d, %d)", tile.rows, tile.cols);
    const struct hone_cuda_code code = { .function = { name },
                                         .shared_bytes = { (unsigned)shared_of(&plan->problem) },
                                         .config = config, HONE_CUDA_SIZES(s) };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct mlp m = mlp_of(&plan->problem);
    struct mlp_steps a = mlp_steps_of(&m, mem);
    const struct hone_cuda_shape shape = { { 1, 1, 1 }, { (unsigned)plan->config.v[BLOCK], 1, 1 },
                                           (unsigned)shared_of(&plan->problem) };
    (void)workspace;
    a.s = sizes_of(&m);
    return hone_cuda_launch(plan, 0, &shape, &a);
}

static const struct hone_op *const ops[] = { &hone_op_mlp_mse, &hone_op_mlp_mae, &hone_op_mlp_huber,
                                             &hone_op_mlp_ce, NULL };

const struct hone_kernel hone_mlp_cuda_block = {
    .name = "cuda_block", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("tile", 1, 0, 2, 3), HONE_PARAM("block", 512, 256, 1024) },
    .refuse = refuse, .prepare = prepare, .run = run,
};
