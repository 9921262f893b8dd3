/* Batches out of a data set in memory, a row at a time: lines of pictures are copied in vectors, or
 * looked up byte by byte in tables of 256 numbers, which the L1 cache holds. */
#include "kernels/backend/cpu.h"
#include "kernels/gather/gather.h"

#include <string.h>

enum { THREADS };

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const union { uint32_t word; uint8_t byte[4]; } order = { 1 };
    (void)p, (void)d;
    return order.byte[0] ? NULL : "processor is big-endian";
}

static inline void copy(real *to, const real *from, int n)
{
    int i = 0;
    for (; i + VL <= n; i += VL) vf_store(to + i, vf_load(from + i));
    if (i < n) vf_store_n(to + i, vf_load_n(from + i, n - i), n - i);
}

/* n pixels of c channels; step: 1, or -1 where they are mirrored. */
HONE_INLINE void floats(real *to, const real *from, int n, int c, int step)
{
    if (step > 0) { copy(to, from, n * c); return; }
    for (int i = 0; i < n; i++) copy(to + i * c, from - (int64_t)i * c, c);
}

HONE_INLINE void look_up(real *to, const uint8_t *from, int n, int c, int step, const real *table)
{
    for (int i = 0; i < n; i++, from += step * c, to += c)
        for (int k = 0; k < c; k++) to[k] = table[256 * k + from[k]];
}

HONE_INLINE void pad(real *to, int n, int c, const real *table, int apart)
{
    for (int i = 0; i < n; i++, to += c)
        for (int k = 0; k < c; k++) to[k] = table[apart * k];
}

/* Line y of a picture. */
HONE_INLINE void line(const struct hone_problem *p, void *const mem[], int64_t row, int y,
                      struct gather_move m, real *to)
{
    const int h = p->dim[GATHER_H], w = p->dim[GATHER_W], c = p->dim[GATHER_C],
              bytes = gather_has(p, GATHER_BYTES);
    const real *table = mem[GATHER_TABLE];
    const int first = m.dx < 0 ? -m.dx : 0, end = m.dx > 0 ? w - m.dx : w,   /* seen, unmirrored */
        inside = y + m.dy >= 0 && y + m.dy < h, n = inside ? end - first : 0,
        before = !inside ? 0 : m.flip ? w - end : first;
    const int64_t from = (row * h + y + m.dy) * w + m.dx + (m.flip ? end - 1 : first);
    pad(to, before, c, table, bytes ? 256 : 1);
    if (n && bytes)
        look_up(to + before * c, (const uint8_t *)mem[GATHER_X] + from * c, n, c, m.flip ? -1 : 1,
                table);
    else if (n)
        floats(to + before * c, (const real *)mem[GATHER_X] + from * c, n, c, m.flip ? -1 : 1);
    pad(to + (before + n) * c, w - before - n, c, table, bytes ? 256 : 1);
}

/* Row b of the batch. */
static void gather_row(const struct hone_problem *p, void *const mem[], int b)
{
    const int h = p->dim[GATHER_H], width = p->dim[GATHER_W] * p->dim[GATHER_C];
    const int64_t row = ((const int32_t *)mem[GATHER_ORDER])[b];
    const size_t target = (size_t)p->dim[GATHER_O] * sizeof(int32_t);   /* or floats, as large */
    const struct gather_move m = gather_move(p, *(const uint64_t *)mem[GATHER_KEY], row);
    real *y = (real *)mem[GATHER_Y] + b * gather_len(p);
    for (int i = 0; i < h; i++) line(p, mem, row, i, m, y + (int64_t)i * width);
    memcpy((char *)mem[GATHER_T] + (size_t)b * target,
           (const char *)mem[GATHER_TARGET] + (size_t)row * target, target);
}

extern const struct hone_kernel HONE_SYM(gather_cpu_rows);

static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const double numbers = (double)p->dim[GATHER_M] * (double)gather_len(p);
    c->v[THREADS] = hone_guess_threads(d, numbers / 1e3);   /* 1 number a nanosecond */
    while (c->v[THREADS] > 1 && !hone_config_valid(&HONE_SYM(gather_cpu_rows), p, c, d))
        c->v[THREADS] /= 2;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int threads = hone_plan_config(plan)->v[THREADS],
              m = hone_plan_problem(plan)->dim[GATHER_M];
    (void)workspace;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int b = 0; b < m; b++) gather_row(hone_plan_problem(plan), mem, b);
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_gather, 0 };

const struct hone_kernel HONE_SYM(gather_cpu_rows) = {
    .name = HONE_NAME("cpu_rows"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = { HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64) },
    .refuse = refuse, .constraint = "threads == 1 || m >= threads", .guess = guess, .run = run,
};
