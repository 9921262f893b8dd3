/* kernels/nvidia/cudnn_kernel.h -- the parts of a kernel that all of cuDNN's kernels share: each
 * brings a function that builds the graph of its problem. */
#ifndef HONE_CUDNN_KERNEL_H
#define HONE_CUDNN_KERNEL_H

#include "kernels/backend/cuda.h"
#include "kernels/nvidia/cudnn.h"
#include "kernels/nvidia/values.h"

/* Puts the operations of p into g; HONE_EREFUSED with a sentence where cuDNN has none of its
 * meaning. */
typedef int hone_cudnn_build(struct hone_cudnn_graph *g, const struct hone_problem *p);

/* An engine by cuDNN's number, and which of its settings: 0 its default, else those of the list in
 * their order, which is the same for one version of cuDNN on one kind of GPU. */
#define HONE_CUDNN_PARAMS HONE_PARAM_120("engine"), HONE_PARAM_40("knobs")

const char *hone_cudnn_refuse(const struct hone_problem *p, const struct hone_device *d,
                              hone_cudnn_build *build);

/* NULL: no such configuration. */
const struct hone_cudnn_choice *hone_cudnn_find(const struct hone_problem *p,
                                                const struct hone_config *c,
                                                const struct hone_device *d,
                                                hone_cudnn_build *build);
size_t hone_cudnn_workspace(const struct hone_problem *p, const struct hone_config *c,
                            const struct hone_device *d, hone_cudnn_build *build);
void hone_cudnn_guess(const struct hone_problem *p, const struct hone_device *d,
                      hone_cudnn_build *build, struct hone_config *c);
int  hone_cudnn_candidates(const struct hone_problem *p, const struct hone_device *d,
                           hone_cudnn_build *build,
                           void (*f)(void *ctx, const struct hone_candidate *c), void *ctx);

int  hone_cudnn_prepare(struct hone_plan *plan, hone_cudnn_build *build);
void hone_cudnn_release(struct hone_plan *plan);
int  hone_cudnn_run(const struct hone_plan *plan, void *const mem[], void *workspace);

/* All of a kernel but its ops: the functions by their usual names, around its build(), and the
 * members of the struct. */
#define HONE_CUDNN_FUNCTIONS(build)                                                                \
    static const char *refuse(const struct hone_problem *p, const struct hone_device *d)           \
    {                                                                                              \
        return hone_cudnn_refuse(p, d, build);                                                     \
    }                                                                                              \
    static int valid(const struct hone_problem *p, const struct hone_config *c,                    \
                     const struct hone_device *d)                                                  \
    {                                                                                              \
        return hone_cudnn_find(p, c, d, build) != NULL;                                            \
    }                                                                                              \
    static void guess(const struct hone_problem *p, const struct hone_device *d,                   \
                      struct hone_config *c)                                                       \
    {                                                                                              \
        hone_cudnn_guess(p, d, build, c);                                                          \
    }                                                                                              \
    static size_t workspace(const struct hone_problem *p, const struct hone_config *c,             \
                            const struct hone_device *d)                                           \
    {                                                                                              \
        return hone_cudnn_workspace(p, c, d, build);                                               \
    }                                                                                              \
    static int candidates(const struct hone_problem *p, const struct hone_device *d,               \
                          void (*f)(void *ctx, const struct hone_candidate *c), void *ctx)         \
    {                                                                                              \
        return hone_cudnn_candidates(p, d, build, f, ctx);                                         \
    }                                                                                              \
    static int prepare(struct hone_plan *plan) { return hone_cudnn_prepare(plan, build); }

#define HONE_CUDNN_MEMBERS                                                                         \
    .backend = &hone_backend_cuda, .build = HONE_LIB,                                              \
    .dtypes = 1u << HONE_F32 | HONE_HALVES, .version = hone_cudnn_version,                         \
    .param = { HONE_CUDNN_PARAMS }, .refuse = refuse, .valid = valid, .guess = guess,              \
    .workspace = workspace, .candidates = candidates, .prepare = prepare,                          \
    .release = hone_cudnn_release, .run = hone_cudnn_run

#endif
