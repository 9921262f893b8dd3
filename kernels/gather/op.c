/* gather: sizes, arguments, meaning, error bound. */
#include "kernels/gather/gather.h"

#include <math.h>

static int check(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    const double crop = p->value[GATHER_CROP],
                 row = (double)d[GATHER_H] * d[GATHER_W] * d[GATHER_C];
    if (!(crop >= 0 && crop < d[GATHER_H] && crop < d[GATHER_W]) || crop != rint(crop))
        return hone_fail(HONE_EPARSE, "crop is %g; it must be a whole number below h %d and w %d",
                         crop, d[GATHER_H], d[GATHER_W]);
    if (gather_has(p, GATHER_LABELS) && d[GATHER_O] != 1)
        return hone_fail(HONE_EPARSE, "o is %d, and a row has one label", d[GATHER_O]);
    if ((row + d[GATHER_O]) * d[GATHER_M] > 0x1p31 - 1)
        return hone_fail(HONE_EPARSE, "a batch would have more than 2^31 numbers");
    if (row * d[GATHER_R] > 0x1p48 || (double)d[GATHER_O] * d[GATHER_R] > 0x1p48)
        return hone_fail(HONE_EPARSE, "the rows would have more than 2^48 numbers");
    return HONE_OK;
}

static int args(const struct hone_problem *p, struct hone_arg arg[])
{
    const int32_t *d = p->dim;
    const int bytes = gather_has(p, GATHER_BYTES);
    const enum hone_dtype target = gather_has(p, GATHER_LABELS) ? HONE_I32 : p->dtype;
    const int64_t all = d[GATHER_R] * gather_len(p);
    arg[GATHER_Y] = HONE_ARG("y", HONE_OUT, p->dtype, d[GATHER_M], d[GATHER_H], d[GATHER_W],
                             d[GATHER_C]);
    arg[GATHER_T] = HONE_ARG("t", HONE_OUT, target, d[GATHER_M], d[GATHER_O]);
    arg[GATHER_X] = bytes ? HONE_ARG("x", HONE_IN, HONE_I32, (all + 3) / 4)
                          : HONE_ARG("x", HONE_IN, p->dtype, all);
    if (bytes) arg[GATHER_X].lo = -0x1p31, arg[GATHER_X].hi = 0x1p31 - 1;
    arg[GATHER_TARGET] = HONE_ARG("target", HONE_IN, target, d[GATHER_R], d[GATHER_O]);
    if (target == HONE_I32) arg[GATHER_TARGET].hi = 1000;
    arg[GATHER_ORDER] = HONE_ARG("order", HONE_IN, HONE_I32, d[GATHER_M]);
    /* r - 1, but that of one row no two zeros stand here, which would mean [-1, 1]. */
    arg[GATHER_ORDER].hi = d[GATHER_R] - 1.5;
    arg[GATHER_TABLE] = HONE_ARG("table", HONE_IN, p->dtype, d[GATHER_C], bytes ? 256 : 1);
    arg[GATHER_KEY] = HONE_ARG("key", HONE_IN, HONE_U64, 1);
    arg[GATHER_KEY].hi = 0x1p52;
    return 7;
}

/* Nothing is computed. */
static double flops(const struct hone_problem *p) { (void)p; return 0; }

/* Number i of x; k: its channel. */
static double number(const struct hone_problem *p, const double *const in[], int64_t i, int k)
{
    if (!gather_has(p, GATHER_BYTES)) return in[GATHER_X][i];
    const uint32_t word = (uint32_t)(int32_t)in[GATHER_X][i / 4];
    return in[GATHER_TABLE][256 * k + (word >> 8 * (i % 4) & 255)];
}

static double pixel(const struct hone_problem *p, const double *const in[], int64_t i)
{
    const int h = p->dim[GATHER_H], w = p->dim[GATHER_W], c = p->dim[GATHER_C],
              k = (int)(i % c), x = (int)(i / c % w), y = (int)(i / c / w % h);
    const int64_t row = (int64_t)in[GATHER_ORDER][i / gather_len(p)];
    const struct gather_move m = gather_move(p, (uint64_t)in[GATHER_KEY][0], row);
    const int from_y = y + m.dy, from_x = (m.flip ? w - 1 - x : x) + m.dx;
    if (from_y < 0 || from_y >= h || from_x < 0 || from_x >= w)
        return in[GATHER_TABLE][gather_has(p, GATHER_BYTES) ? 256 * k : k];
    return number(p, in, row * gather_len(p) + ((int64_t)from_y * w + from_x) * c + k, k);
}

static double ref(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                  double *scale)
{
    const int o = p->dim[GATHER_O];
    const double v = out == GATHER_Y
                         ? pixel(p, in, i)
                         : in[GATHER_TARGET][(int64_t)in[GATHER_ORDER][i / o] * o + i % o];
    *scale = fabs(v);
    return v;
}

static double growth(const struct hone_problem *p) { (void)p; return 0; }
static int exact(const struct hone_problem *p) { (void)p; return 4095; }

const struct hone_op hone_op_gather = {
    .name = "gather", .dtypes = 1u << HONE_F32, .layout = { "nhwc" },
    .dim = { { "m", 1, HONE_REQUIRED, 0 }, { "r", 1, HONE_REQUIRED, 0 }, { "h", 1, 1, 0 },
             { "w", 1, 1, 0 }, { "c", 1, HONE_REQUIRED, 0 }, { "o", 1, 1, 0 } },
    .attr = { { "crop", 1, 0 }, { "flip", 0, 0 }, { "bytes", 0, 0 }, { "labels", 0, 0 } },
    .check = check, .args = args, .flops = flops, .ref = ref, .growth = growth, .exact = exact,
};
