/* Every kernel of narrow and widen on every bf16 number there is, and on the floats at, beside and
 * between them: halves go to the even one, large numbers to infinity, NaN stays NaN. */
#include "kernels/cast/cast.h"
#include "tests/tap.h"

#include <stdlib.h>

/* What a float's lower half may be: none, the least, and around the middle. */
static const uint16_t lower[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff };
enum { NLOWER = sizeof lower / sizeof *lower, NHALVES = 1 << 16, NFLOATS = NHALVES * NLOWER };

static int is_nan(uint16_t half) { return (half & 0x7fff) > 0x7f80; }

/* Neighbours are neighbours as whole numbers too, up to infinity. */
static int is_right(uint16_t upper, uint16_t low, uint16_t got)
{
    const int infinite = (upper & 0x7fff) == 0x7f80, even = !(upper & 1);
    if (is_nan(upper) || (infinite && low)) return is_nan(got);
    return got == upper + (low > 0x8000 || (low == 0x8000 && !even));
}

static int check_narrow(const uint32_t *x, const uint16_t *y)
{
    for (int i = 0; i < NFLOATS; i++)
        if (!is_right((uint16_t)(x[i] >> 16), (uint16_t)x[i], y[i])) {
            printf("# %08x became %04x\n", x[i], y[i]);
            return 0;
        }
    return 1;
}

static int check_widen(const uint16_t *x, const uint32_t *y)
{
    for (int i = 0; i < NHALVES; i++) {
        int good = is_nan(x[i]) ? is_nan((uint16_t)(y[i] >> 16)) : y[i] == (uint32_t)x[i] << 16;
        if (good) continue;
        printf("# %04x became %08x\n", x[i], y[i]);
        return 0;
    }
    return 1;
}

static void check(const struct hone_kernel *k, const struct hone_op *op, struct hone_device *d,
                  uint32_t *wide, uint16_t *half)
{
    const int narrow = op == &hone_op_narrow, n = narrow ? NFLOATS : NHALVES;
    struct hone_plan plan;
    struct hone_problem p;
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "%s:bf16:any:n%d", op->name, n);
    int err = hone_problem_parse(text, &p);
    if (!err) err = hone_plan_open(&plan, &p, k, NULL, d);
    void *workspace = err ? NULL : malloc(plan.workspace_bytes + 1);
    if (err || !workspace) { ok(0, "%s/%s: %s", text, k->name, hone_errmsg()); return; }
    for (int i = 0; i < n; i++)
        if (narrow) wide[i] = (uint32_t)(i / NLOWER) << 16 | lower[i % NLOWER], half[i] = 0;
        else half[i] = (uint16_t)i, wide[i] = 0;
    err = hone_plan_run(&plan, narrow ? (void *[]){ half, wide } : (void *[]){ wide, half },
                        workspace);
    ok(!err && (narrow ? check_narrow(wide, half) : check_widen(half, wide)), "%s/%s", text,
       k->name);
    free(workspace);
    hone_plan_close(&plan);
}

int main(void)
{
    struct hone_device d;
    void *wide = aligned_alloc(HONE_ALIGN, NFLOATS * sizeof(uint32_t)),
         *half = aligned_alloc(HONE_ALIGN, NFLOATS * sizeof(uint16_t));
    if (hone_device_open(&d, "cpu0") || !wide || !half) {
        printf("Bail out! %s\n", hone_errmsg());
        return 1;
    }
    /* The judge itself: truncation and rounding halves away are wrong. */
    ok(!is_right(0x3f81, 0x8000, 0x3f81) && !is_right(0x3f80, 0x8000, 0x3f81) &&
           is_right(0x3f81, 0x8000, 0x3f82) && is_right(0x7f7f, 0xffff, 0x7f80) &&
           !is_right(0x7f80, 1, 0x7f80),
       "halves go to the even one, and not away from 0 or towards it");
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_op *const ops[] = { &hone_op_narrow, &hone_op_widen };
        for (int o = 0; o < 2; o++) {
            const struct hone_kernel *k = hone_kernels[i];
            if (!hone_kernel_does(k, ops[o]) || k->backend != d.backend || k->isa > d.isa) continue;
            check(k, ops[o], &d, wide, half);
        }
    }
    free(wide);
    free(half);
    hone_device_close(&d);
    return tap_end();
}
