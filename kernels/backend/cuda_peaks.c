/* Launches the loops that a GPU's peaks are measured with (cuda_peaks.h). */
#include "kernels/backend/cuda_peaks.h"

#include "kernels/backend/cuda.h"

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    (void)p, (void)d;
    return (size_t)c->v[PEAKS_BLOCKS] * PEAKS_THREADS * sizeof(float);
}

static int prepare(struct hone_plan *plan)
{
    const struct hone_cuda_code code = { .function = { [PEAKS_FMA_F32] = "peaks_fma_f32",
                                                       [PEAKS_FMA_F64] = "peaks_fma_f64",
                                                       [PEAKS_READ] = "peaks_read",
                                                       [PEAKS_TRIAD] = "peaks_triad" } };
    return hone_cuda_open(plan, &code);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int *v = plan->config.v;
    const struct hone_cuda_shape shape = { { (unsigned)v[PEAKS_BLOCKS], 1, 1 },
                                           { PEAKS_THREADS, 1, 1 }, 0 };
    const struct cuda_peaks args = { workspace, mem[0], v[PEAKS_KIB] * 64ll, v[PEAKS_ROUNDS],
                                     0.5f };
    return hone_cuda_launch(plan, v[PEAKS_LOOP], &shape, &args);
}

static const struct hone_op *const none[] = { NULL };

const struct hone_kernel hone_backend_cuda_peaks = {
    .name = "cuda_peaks", .ops = none, HONE_CUDA_F32, .slow = 1,
    .workspace = workspace, .prepare = prepare, .run = run,
};
