/* Every kernel of narrow and widen on every bf16 and every f16 there is, and on the floats at,
 * beside and between them: halves go to the even one, large numbers to infinity, NaN stays NaN. */
#include "kernels/cast/cast.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>

/* Of a number and the next one: itself, the float behind it, those around the middle, the one
 * before the next. */
enum { NFLOATS = 6, NHALVES = 1 << 16, ALL = NHALVES * NFLOATS };

static const struct type { enum hone_dtype type; int fraction; } types[] = { { HONE_BF16, 7 },
                                                                             { HONE_F16, 10 } };

static uint16_t infinity_of(const struct type *t)
{
    return (uint16_t)(0x8000 - (1 << t->fraction));
}
static int is_nan(const struct type *t, uint16_t h) { return (h & 0x7fff) > infinity_of(t); }

/* As IEEE 754 has it; of infinity, the number that would be there. */
static double value(const struct type *t, uint16_t h)
{
    const int one = 1 << t->fraction, e = (h & 0x7fff) >> t->fraction,
              bias = (1 << (14 - t->fraction)) - 1;
    const double v = ldexp((e ? one : 0) + (h & (one - 1)), (e ? e : 1) - bias - t->fraction);
    return h >> 15 ? -v : v;
}

static float input(const struct type *t, uint16_t h, int which)
{
    const float lo = (float)value(t, h), hi = (float)value(t, (uint16_t)(h + 1));
    const float middle = (float)((value(t, h) + value(t, (uint16_t)(h + 1))) / 2);
    if (is_nan(t, h)) return NAN;
    if ((h & 0x7fff) == infinity_of(t)) return copysignf(INFINITY, lo);
    const float all[NFLOATS] = { lo, nextafterf(lo, hi), nextafterf(middle, lo), middle,
                                 nextafterf(middle, hi), nextafterf(hi, lo) };
    return all[which];
}

/* Neighbours are neighbours as whole numbers too, up to infinity. */
static int is_right(const struct type *t, uint16_t h, int which, uint16_t got)
{
    if (is_nan(t, h)) return is_nan(t, got);
    if ((h & 0x7fff) == infinity_of(t)) return got == h;
    return got == h + (which > 3 || (which == 3 && h % 2));
}

static int check_narrow(const struct type *t, const float *x, const uint16_t *y)
{
    for (int i = 0; i < ALL; i++)
        if (!is_right(t, (uint16_t)(i / NFLOATS), i % NFLOATS, y[i])) {
            printf("# %a became %04x\n", (double)x[i], y[i]);
            return 0;
        }
    return 1;
}

static int check_widen(const struct type *t, const uint16_t *x, const float *y)
{
    for (int i = 0; i < NHALVES; i++) {
        const float want = input(t, x[i], 0);
        if (isnan(want) ? isnan(y[i]) : want == y[i] && !signbit(want) == !signbit(y[i])) continue;
        printf("# %04x became %a\n", x[i], (double)y[i]);
        return 0;
    }
    return 1;
}

static void check(const struct hone_kernel *k, const struct hone_op *op, struct hone_device *d,
                  const struct type *t, float *wide, uint16_t *half)
{
    const int narrow = op == &hone_op_narrow, n = narrow ? ALL : NHALVES;
    struct hone_plan plan;
    struct hone_problem p;
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:%s:any:n%d", op->name, hone_dtype_name(t->type), n);
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_plan_open(&plan, &p, k, NULL, d);
    void *workspace = err ? NULL : malloc(plan.workspace_bytes + 1);
    if (err || !workspace) { ok(0, "%s/%s: %s", text, k->name, hone_errmsg()); return; }
    for (int i = 0; i < n; i++)
        if (narrow) wide[i] = input(t, (uint16_t)(i / NFLOATS), i % NFLOATS), half[i] = 0;
        else half[i] = (uint16_t)i, wide[i] = 0;
    err = hone_plan_run(&plan, narrow ? (void *[]){ half, wide } : (void *[]){ wide, half },
                        workspace);
    ok(!err && (narrow ? check_narrow(t, wide, half) : check_widen(t, half, wide)), "%s/%s", text,
       k->name);
    free(workspace);
    hone_plan_close(&plan);
}

/* What all kernels' results are compared with elsewhere. */
static void check_doubles(const struct type *t)
{
    int bad = 0;
    for (int i = 0; i < ALL; i++) {
        const uint16_t h = (uint16_t)(i / NFLOATS);
        const double x = (double)input(t, h, i % NFLOATS);
        uint16_t got;
        double back;
        hone_from_double(t->type, &x, &got, 1);
        bad += !is_right(t, h, i % NFLOATS, got);
        hone_to_double(t->type, &h, &back, 1);
        const double want = (double)input(t, h, 0);
        bad += isnan(want) ? !isnan(back) : want != back;
    }
    ok(!bad, "doubles to %s and back: %d wrong", hone_dtype_name(t->type), bad);
}

int main(void)
{
    struct hone_device d;
    float *wide = aligned_alloc(HONE_ALIGN, ALL * sizeof *wide);
    uint16_t *half = aligned_alloc(HONE_ALIGN, ALL * sizeof *half);
    if (hone_device_open(&d, "cpu0") || !wide || !half) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    /* The judge itself: truncation and rounding halves away are wrong; 1 and the largest of
     * each. */
    ok(!is_right(types, 0x3f81, 3, 0x3f81) && !is_right(types, 0x3f80, 3, 0x3f81) &&
           is_right(types, 0x3f81, 3, 0x3f82) && is_right(types, 0x7f7f, 5, 0x7f80) &&
           !is_right(types, 0x7f80, 1, 0x7f81),
       "halves go to the even one, and not away from 0 or towards it");
    ok(value(types, 0x3f80) == 1 && value(types + 1, 0x3c00) == 1 &&
           value(types + 1, 0x7bff) == 65504 && value(types + 1, 1) == 0x1p-24 &&
           input(types + 1, 0x7bff, 3) == 65520,
       "1, the largest and the smallest");
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        check_doubles(&types[t]);
        for (int i = 0; hone_kernels[i]; i++) {
            const struct hone_op *const ops[] = { &hone_op_narrow, &hone_op_widen };
            const struct hone_kernel *k = hone_kernels[i];
            for (int o = 0; o < 2; o++)
                if (hone_kernel_does(k, ops[o]) && k->backend == d.backend && k->isa <= d.isa &&
                    (!k->dtypes || k->dtypes >> types[t].type & 1))
                    check(k, ops[o], &d, &types[t], wide, half);
        }
    }
    free(wide);
    free(half);
    hone_device_close(&d);
    return tap_end();
}
