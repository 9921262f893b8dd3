/* Training steps of a net that is too large for one multiprocessor of a GPU, or better shared by
 * several: the blocks of one cluster, in whose shared memories parameters, the optimizer's states
 * and a batch's numbers stay for all steps of a launch.  The blocks reach each other's. */
#include "kernels/mlp/steps_host.h"

#include <stdio.h>

enum { CLUSTER, TILE, BLOCK };

/* The largest of `ranks` shares of n. */
static int share(int n, int ranks) { return (n + ranks - 1) / ranks; }

/* Places in a block's shared memory; returns how many words these are. */
static int64_t place(const struct mlp *m, int ranks, struct mlp_sizes *s)
{
    int64_t at = 0, most = 0;
    s->ranks = ranks;
    for (int l = 0; l < m->nlayers; l++) {
        s->at[l] = (int)at;
        s->row[l] = mlp_odd(m->width[l + 1]);
        at += (int64_t)share(m->width[l] + 1, ranks) * s->row[l];
        if (s->row[l] > most) most = s->row[l];
    }
    s->words = (int)at;
    s->copies = 1 + m->nstates;
    at *= s->copies;
    for (int l = 0; l < m->nlayers; l++) {
        s->x[l] = (int)at;
        s->x_row[l] = mlp_odd(share(m->width[l] + 1, ranks));
        at += (int64_t)m->mb * s->x_row[l];
    }
    s->x[m->nlayers] = (int)at;
    s->x_row[m->nlayers] = mlp_odd(m->width[m->nlayers]);
    at += (int64_t)share(m->mb, ranks) * s->x_row[m->nlayers];
    for (int i = 0; i < 2; i++) {
        s->part[i] = (int)at;
        at += m->mb * most;
    }
    return at;
}

static int64_t shared_of(const struct hone_problem *p, int ranks)
{
    const struct mlp m = mlp_of(p);
    struct mlp_sizes s;
    return place(&m, ranks, &s) * (int64_t)sizeof(float);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    static _Thread_local char why[128];
    const char *missing = hone_cuda_refuse_clusters(d);
    const int64_t needed = shared_of(p, HONE_CUDA_CLUSTER);
    const int most = hone_cuda_limits(d)->shared_per_block;
    if (missing || needed <= most) return missing;
    snprintf(why, sizeof why,
             "it needs %lld bytes of shared memory in each of %d blocks, and a block has %d",
             (long long)needed, HONE_CUDA_CLUSTER, most);
    return why;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    return shared_of(p, c->v[CLUSTER]) <= hone_cuda_limits(d)->shared_per_block;
}

static struct hone_cuda_shape shape_of(const struct hone_plan *plan)
{
    const int *v = plan->config.v;
    return (struct hone_cuda_shape){ { (unsigned)v[CLUSTER], 1, 1 }, { (unsigned)v[BLOCK], 1, 1 },
                                     (unsigned)shared_of(&plan->problem, v[CLUSTER]) };
}

static struct mlp_sizes sizes_of(const struct hone_plan *plan, const struct mlp *m)
{
    struct mlp_sizes s = mlp_sizes_of(m);
    place(m, plan->config.v[CLUSTER], &s);
    return s;
}

static int prepare(struct hone_plan *plan)
{
    const struct mlp m = mlp_of(&plan->problem);
    const struct mlp_sizes s = sizes_of(plan, &m);
    const struct mlp_tile tile = mlp_tile(plan->config.v[TILE]);
    const struct hone_cuda_shape shape = shape_of(plan);
    char name[64], config[64];
    snprintf(name, sizeof name, "mlp_cluster_%d_%d", tile.rows, tile.cols);
    snprintf(config, sizeof config, "X(%d, %d)", tile.rows, tile.cols);
    const struct hone_cuda_code code = { .function = { name },
                                         .shared_bytes = { shape.shared_bytes },
                                         .config = config, HONE_CUDA_SIZES(s) };
    int err = hone_cuda_open(plan, &code);
    if (err) return err;
    err = hone_cuda_allow_clusters(plan, 0, &shape, plan->config.v[CLUSTER]);
    if (err) hone_cuda_close(plan);
    return err;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct mlp m = mlp_of(&plan->problem);
    const struct hone_cuda_shape shape = shape_of(plan);
    struct mlp_steps a = mlp_steps_of(&m, mem);
    (void)workspace;
    a.s = sizes_of(plan, &m);
    return hone_cuda_launch_clusters(plan, 0, &shape, plan->config.v[CLUSTER], &a);
}

static const struct hone_op *const ops[] = { &hone_op_mlp_mse, &hone_op_mlp_mae, &hone_op_mlp_huber,
                                             &hone_op_mlp_ce, NULL };

const struct hone_kernel hone_mlp_cuda_cluster = {
    .name = "cuda_cluster", .ops = ops, HONE_CUDA_F32,
    .param = { HONE_PARAM("cluster", 4, 2, 8, HONE_CUDA_CLUSTER), HONE_PARAM("tile", 1, 0, 2, 3),
               HONE_PARAM("block", 256, 128, 512, 1024) },
    .refuse = refuse, .valid = valid, .prepare = prepare, .run = run,
};
