/* The peak of a problem that is bound by memory: its own arrays are moved by a loop that computes
 * nothing.  The loop is a kernel to those who time it, but no one's rival: it is in no registry. */
#include "profiler/peaks.h"

#include "kernels/backend/cpu.h"

enum { STREAM, LINES, THREADS };   /* LINES: of the longest array at a time */

static int is_whole(const struct hone_arg *a) { return a->whole && a->io != HONE_OUT; }

/* Are the inputs that are needed whole read a second time? */
static int reads_again(const struct hone_arg arg[], int nargs, const struct hone_device *d,
                       int threads)
{
    int64_t bytes = 0;
    for (int a = 0; a < nargs; a++) bytes += is_whole(&arg[a]) ? hone_arg_bytes(&arg[a]) : 0;
    return bytes > threads * d->l2_bytes;
}

double hone_moved_bytes(const struct hone_problem *p, const struct hone_device *d, int threads)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    const int nargs = p->op->args(p, arg), again = reads_again(arg, nargs, d, threads);
    double bytes = hone_problem_bytes(p);
    for (int a = 0; a < nargs; a++)
        if (again && is_whole(&arg[a])) bytes += (double)hone_arg_bytes(&arg[a]);
    return bytes;
}

/* Arrays of a run; `again`: those that a pass before reads alone. */
struct job {
    struct hone_moved all[HONE_MAX_ARGS], again[HONE_MAX_ARGS];
    int nall, nagain;
    int64_t most;    /* lines of the longest */
};

static struct job job_of(const struct hone_plan *plan, void *const mem[])
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    struct job j = { .nall = 0 };
    const int nargs = plan->problem.op->args(&plan->problem, arg);
    const int again = reads_again(arg, nargs, plan->device, plan->config.v[THREADS]);
    for (int a = 0; a < nargs; a++) {
        const struct hone_moved m = { .at = mem ? mem[a] : NULL,
                                      .lines = hone_arg_bytes(&arg[a]) / HONE_LINE,
                                      .io = arg[a].io };
        if (!m.lines) continue;
        j.all[j.nall++] = m;
        if (m.lines > j.most) j.most = m.lines;
        if (!again || !is_whole(&arg[a])) continue;
        j.again[j.nagain] = m;
        j.again[j.nagain++].io = HONE_IN;
    }
    return j;
}

/* A thread's part.  The second of two passes goes backwards, in pieces: what was read last is still
 * in the cache. */
static void move_part(const struct hone_plan *plan, const struct job *j, int t)
{
    enum { PIECE = 512 };   /* lines of the longest array */
    const struct hone_loops *loops = hone_loops_for(plan->device);
    const int stream = plan->config.v[STREAM], threads = plan->config.v[THREADS];
    const int64_t lines = plan->config.v[LINES], steps = (j->most + lines - 1) / lines,
                  from = steps * t / threads, to = steps * (t + 1) / threads,
                  piece = j->nagain ? PIECE / lines : steps;
    if (j->nagain) loops->move(j->again, j->nagain, from, to, steps, 0);
    for (int64_t end = to; end > from; end -= piece)
        loops->move(j->all, j->nall, end - piece > from ? end - piece : from, end, steps, stream);
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const struct job j = job_of(plan, mem);
    const int threads = plan->config.v[THREADS];
    (void)workspace;
    if (threads == 1) { move_part(plan, &j, 0); return HONE_OK; }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) move_part(plan, &j, t);
    return HONE_OK;
}

static const struct hone_kernel mover = {
    .name = "moves",
    .backend = &hone_backend_cpu,
    .param = { HONE_PARAM("stream", 0, 1), HONE_PARAM("lines", 4, 16, 64),
               HONE_PARAM("threads", 1) },
    .run = run,
};

int hone_moves(const struct hone_problem *p, struct hone_device *d, int threads,
               struct hone_plan plan[HONE_MOVES])
{
    if (d->backend != &hone_backend_cpu || hone_problem_bytes(p) < (double)d->l2_bytes) return 0;
    for (int i = 0; i < HONE_MOVES; i++)
        plan[i] = (struct hone_plan){
            .problem = *p, .kernel = &mover, .device = d,
            .config.v = { [STREAM] = i % 2, [LINES] = i < 2 ? 4 : i < 4 ? 16 : 64,
                          [THREADS] = threads },
        };
    return job_of(plan, NULL).nall ? HONE_MOVES : 0;
}
