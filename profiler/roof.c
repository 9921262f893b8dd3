/* The roofline (Williams, Waterman, Patterson 2009): no run is faster than its flops at the peak
 * rate, nor than its bytes at the bandwidth of the level that holds them. */
#include "profiler/profiler.h"

/* What `threads` threads reach: each as much as one alone, all together no more than all. */
static double rate(double one, double all, int threads)
{
    double sum = one * threads;
    return sum < all || all <= 0 ? sum : all;
}

double hone_roof(const struct hone_problem *p, const struct hone_device *d,
                 const struct hone_peaks *peaks, int threads, const char **bound)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    int64_t held = 0, n = threads > 0 ? threads : peaks->nthreads;
    int nargs = p->op->args(p, arg);
    for (int a = 0; a < nargs; a++) held += hone_arg_bytes(&arg[a]);
    const struct {
        const char *name;
        int64_t bytes;
        double one, all;
    } levels[] = {
        { "L1", n * d->l1_bytes, peaks->l1_one, peaks->l1_all },
        { "L2", n * d->l2_bytes, peaks->l2_one, peaks->l2_all },
        { "L3", d->l3_bytes, peaks->l3_one, peaks->l3_all },
        { "memory", INT64_MAX, peaks->memory_one, peaks->memory_all },
    };
    int level = 0;
    while (held > levels[level].bytes || levels[level].one <= 0)
        if (++level == 3) break;
    double bandwidth = rate(levels[level].one, levels[level].all, (int)n);
    double move = bandwidth > 0 ? hone_problem_bytes(p) / bandwidth : 0;
    /* Types without a peak of their own are computed in f32. */
    enum hone_dtype t = peaks->flops_one[p->dtype] > 0 ? p->dtype : HONE_F32;
    double flops = rate(peaks->flops_one[t], peaks->flops_all[t], (int)n);
    double compute = flops > 0 ? p->op->flops(p) / flops : 0;
    if (bound) *bound = compute >= move ? "compute" : levels[level].name;
    return compute >= move ? compute : move;
}
