/* The reference as a kernel: every element of every output by op->ref, in doubles, rounded once.
 * For reading, for checking, and for training when nothing else accepts a problem. */
#include "kernels/backend/cpu.h"

#include <stdlib.h>

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct hone_problem *p = &plan->problem;
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    double *number[HONE_MAX_ARGS] = { 0 }, *out[HONE_MAX_ARGS] = { 0 };
    int nargs = p->op->args(p, arg);
    double *next = workspace;

    for (int a = 0; a < nargs; a++) {
        int64_t n = hone_arg_len(&arg[a]);
        if (arg[a].io != HONE_IN) { out[a] = next; next += n; }
        if (arg[a].io != HONE_OUT) {
            number[a] = next;
            next += n;
            hone_to_double(arg[a].dtype, mem[a], number[a], n);
        }
    }
    if (p->op->share) {
        p->op->share(p, (const double *const *)number, next);
        number[p->op->shared_arg] = next;
    }
    for (int a = 0; a < nargs; a++) {
        if (!out[a]) continue;
        int64_t n = hone_arg_len(&arg[a]);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            double scale;
            out[a][i] = p->op->ref(p, (const double *const *)number, a, i, &scale);
        }
    }
    for (int a = 0; a < nargs; a++)
        if (out[a]) hone_from_double(arg[a].dtype, out[a], mem[a], hone_arg_len(&arg[a]));
    return HONE_OK;
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    int nargs = p->op->args(p, arg);
    size_t n = 0;
    (void)c, (void)d;
    for (int a = 0; a < nargs; a++)
        n += (size_t)hone_arg_len(&arg[a]) * (arg[a].io == HONE_INOUT ? 2 : 1);
    if (p->op->share) n += (size_t)p->op->nshared(p);
    return n * sizeof(double);
}

const struct hone_kernel hone_backend_ref = {
    .name = "ref", .backend = &hone_backend_cpu, .slow = 1, .workspace = workspace, .run = run,
};
