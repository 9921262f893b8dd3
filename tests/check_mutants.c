/* Seeded bugs: small kernels that are right, and each of them once more with one bug of the kinds
 * that real kernels have: an index, a tail, an accumulator, a race, too little precision.  None may
 * pass the proof of kernels/case.c on the shapes that a kernel is tried on, and no right variant
 * (another order of summation, other blocks, threads) may fail it.
 *
 * A race here is what an unlucky schedule makes of it, at every second run, so that the test is the
 * same each time. */
#include "config.h"

#include "kernels/activation/activation.h"
#include "kernels/bias/bias.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kernel.h"
#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool/pool.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct hone_backend hone_backend_cpu;

/* The bug that is in, 1, 2, ...; 0: none; -1, -2, ...: another variant that is right. */
static int bug;
static int run_number;   /* for races */

#define BUG(n, wrong, right) (bug == (n) ? (wrong) : (right))

static int unlucky(int n) { return bug == n && run_number % 2; }
static int min(int a, int b) { return a < b ? a : b; }

/* x with 12 bits: what a fast approximation or a narrow accumulator leaves. */
static float coarse(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    u &= 0xfffff000u;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- gemm: blocks of 4 x 8, k in chunks, packed B ---- */

enum { MR = 4, NR = 8, KC = 16 };

static float sum_k(const float *a, int sa, const float *b, int sb, int k)
{
    float s = 0, t[4] = { 0 };
    if (bug == -1) {   /* four chains */
        for (int l = 0; l < k; l++) t[l % 4] += a[l * sa] * b[l * sb];
        return (t[0] + t[1]) + (t[2] + t[3]);
    }
    if (bug == -2) {   /* backwards, fused */
        for (int l = k - 1; l >= 0; l--) s = fmaf(a[l * sa], b[l * sb], s);
        return s;
    }
    for (int l = BUG(1, 1, 0); l < BUG(2, k - 1, k); l++) {
        if (bug == 3 && l && l % KC == 0) s = 0;                /* chunk overwrites */
        if (bug == 4 && l == KC) continue;                      /* chunk's first is lost */
        if (bug == 5 && k > KC && l == k - 1) continue;         /* k's tail */
        float p = a[l * sa] * b[l * sb];
        s += BUG(6, coarse(p), p);
        if (bug == 7) s = coarse(s);
        if (bug == 8 && l % KC == KC - 1) s += p;               /* chunk's last twice */
    }
    return s;
}

static int run_gemm(const struct hone_plan *plan, void *const mem[], void *w)
{
    const struct hone_problem *p = &plan->problem;
    const int m = p->dim[GEMM_M], n = p->dim[GEMM_N], k = p->dim[GEMM_K];
    const int at = p->layout == GEMM_TN, bt = p->layout == GEMM_NT;
    const int bias = hone_problem_has(p, "bias"), relu = hone_problem_has(p, "relu");
    float *c = mem[GEMM_C];
    const float *a = mem[GEMM_A], *b = mem[GEMM_B], *v = bias ? mem[GEMM_BIAS] : NULL;
    const float alpha = (float)p->value[GEMM_ALPHA], beta = (float)p->value[GEMM_BETA];
    run_number++;
    (void)w;
    for (int i0 = 0; i0 < m; i0 += MR)
        for (int j0 = 0; j0 < n; j0 += NR) {
            const int ie = BUG(9, min(i0 + MR, m - (m % MR == 1)), min(i0 + MR, m));
            const int je = BUG(10, min(j0 + NR, n / 2 * 2 > 2 ? n / 2 * 2 : n), min(j0 + NR, n));
            for (int i = i0; i < ie; i++)
                for (int j = j0; j < je; j++) {
                    const float *ai = at ? a + BUG(11, min(i + 1, m - 1), i)
                                         : a + (int64_t)BUG(12, (i == m - 1 && m > 1 ? 0 : i), i) * k;
                    const float *bj = bt ? b + (int64_t)j * k : b + BUG(13, j ^ (j + 1 < n && n > 1), j);
                    const int sa = at ? BUG(14, m > 1 ? m - 1 : m, m) : 1, sb = bt ? 1 : n;
                    float s = sum_k(ai, sa, bj, sb, k);
                    float *to = c + (int64_t)i * n + j;
                    if (bug == 15 && i + 1 == m && j + 1 == n && m > 1) continue;   /* the corner */
                    if (bug == 16 && j - j0 == NR - 1) s = 0;                        /* a lane */
                    if (unlucky(17) && i0 + MR >= m) s *= 1 + 0x1p-23f; /* order of threads */
                    if (unlucky(18) && j == 0) s = *to;                 /* lost update */
                    s *= BUG(19, 1, alpha);
                    if (beta != 0) s += BUG(20, 1, BUG(21, alpha, beta)) * *to;
                    if (bug == 22 && beta != 0) s -= beta * *to;
                    if (v) s += BUG(23, v[i < n ? i : 0], v[BUG(24, j0, j)]);
                    if (relu && BUG(25, s < -1, s < 0)) s = 0;
                    if (bug == 26 && relu && v) s += s == 0 ? v[j] > 0 ? v[j] : 0 : 0;
                    *to = s;
                }
        }
    if (bug == 27) c[(int64_t)m * n] = 0; /* a full vector */
    if (bug == 28 && m % MR) c[-1] = 0;
    if (bug == 29 && m * k > 1) ((float *)(uintptr_t)a)[1] = 0; /* packs in place */
    return HONE_OK;
}
enum { GEMM_BUGS = 29 };

/* ---- convolution ---- */

static int run_conv(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const struct conv v = conv_of(&plan->problem);
    const int bias = hone_problem_has(&plan->problem, "bias");
    float *y = mem[CONV_Y];
    const float *x = mem[CONV_X], *w = mem[CONV_W], *add = bias ? mem[CONV_BIAS] : NULL;
    run_number++;
    (void)ws;
    for (int n = 0; n < v.mb; n++)
        for (int oh = 0; oh < v.oh; oh++)
            for (int ow = 0; ow < v.ow; ow++)
                for (int oc = 0; oc < v.oc; oc++) {
                    const int group = BUG(1, 0, oc / v.ocg);
                    float s = add ? BUG(2, add[0], BUG(3, 0, add[oc])) : 0;
                    float part[2] = { 0, 0 };
                    for (int kh = 0; kh < BUG(4, v.kw, v.kh); kh++)
                        for (int kw = 0; kw < v.kw; kw++) {
                            if (bug == 4 && kh >= v.kh) continue;
                            const int ph = BUG(5, v.pw, v.ph), pw = BUG(6, 0, v.pw);
                            const int ih = oh * BUG(7, v.sw, v.sh) - ph + kh * BUG(8, 1, v.dh);
                            const int iw = ow * v.sw - pw + kw * BUG(9, v.dh, v.dw);
                            if (ih < 0 || ih >= BUG(10, v.ih - 1, v.ih) || iw < 0 || iw >= v.iw)
                                continue;
                            if (bug == 11 && iw == v.iw - 1 && v.pw) continue;    /* right border */
                            if (bug == 12 && kh == v.kh - 1 && v.kh > 1) continue; /* last row of taps */
                            const float *xi = x + (((int64_t)n * v.ih + ih) * v.iw + iw) * v.ic + group * v.icg;
                            const int fh = BUG(13, v.kh - 1 - kh, kh), fw = BUG(14, v.kw - 1 - kw, kw);
                            const float *wi = w + (((int64_t)oc * v.kh + BUG(15, min(fw, v.kh - 1), fh)) * v.kw +
                                                   BUG(15, min(fh, v.kw - 1), fw)) * v.icg;
                            for (int c = 0; c < BUG(16, v.icg >= 4 ? v.icg / 4 * 4 : v.icg, v.icg); c++) {
                                float t = xi[c] * wi[c];
                                if (bug == -1) part[c % 2] += t;
                                else if (bug == -2) s = fmaf(xi[c], wi[c], s);
                                else s += BUG(17, coarse(t), t);
                                if (bug == 18) s = coarse(s);
                            }
                            if (bug == 19 && kh == 0 && kw == 0 && v.kh > 1)
                                s = 0; /* clears too late */
                        }
                    s += part[0] + part[1];
                    float *to = y + (((int64_t)n * v.oh + oh) * v.ow + ow) * v.oc + oc;
                    if (bug == 20 && oc == v.oc - 1 && v.oc % 2 && v.oc > 1)
                        continue; /* odd channel */
                    if (bug == 21 && ow == v.ow - 1 && v.ow % 2 && v.ow > 1)
                        continue; /* odd pixel */
                    if (bug == 22 && n == v.mb - 1 && v.mb > 1) to -= (int64_t)v.oh * v.ow * v.oc;
                    if (unlucky(23) && oc == 0) s += 0x1p-12f;
                    if (unlucky(24) && n == v.mb - 1) s *= 1 + 0x1p-23f;
                    if (bug == 25) s = s < 0 ? 0 : s; /* a relu nobody asked for */
                    *to = s;
                }
    if (bug == 26) y[(int64_t)v.mb * v.oh * v.ow * v.oc + 3] = 0;
    return HONE_OK;
}
enum { CONV_BUGS = 26 };

/* ---- bias: sums of columns ---- */

static int run_bias(const struct hone_plan *plan, void *const mem[], void *w)
{
    const int m = plan->problem.dim[BIAS_M], n = plan->problem.dim[BIAS_N];
    float *db = mem[BIAS_DB];
    const float *dy = mem[BIAS_DY];
    run_number++;
    (void)w;
    for (int j = 0; j < n; j++) {
        float s = bug == 1 ? db[j] : 0, half = 0;
        for (int i = BUG(2, 1, 0); i < BUG(3, m >= 4 ? m / 4 * 4 : m, m); i++) {
            float v = dy[(int64_t)i * n + BUG(4, (j + (i == m - 1)) % n, j)];
            if (bug == -1 && i % 2) half += v;
            else s += v;
            if (bug == 5) s = coarse(s);
            if (unlucky(6) && i == m / 2) s -= v;             /* lost update */
        }
        if (unlucky(7)) s += 0x1p-20f * fabsf(s);
        db[j] = s + half;
    }
    return HONE_OK;
}
enum { BIAS_BUGS = 7 };

/* ---- leaky relu and its gradient's neighbour, by vectors of 8 ---- */

static int run_leaky(const struct hone_plan *plan, void *const mem[], void *w)
{
    const int n = plan->problem.dim[ACT_N], vec = n / 8 * 8;
    float *y = mem[ACT_Y];
    const float *x = mem[ACT_X], slope = (float)HONE_LEAKY_SLOPE;
    (void)w;
    run_number++;
    for (int i = 0; i < BUG(1, vec ? vec : n, BUG(2, n - 1 ? n - 1 : n, n)); i++) {
        float v = x[BUG(3, i >= vec && i ? i - 1 : i, i)];
        float z = v > 0 ? v : BUG(4, 0.1f, slope) * v;
        if (bug == 5) z = v < 0 ? v : slope * v;
        if (bug == 6) z = fmaxf(v, 0);
        if (bug == 7) z = coarse(z);
        if (bug == -1) z = fmaxf(v, slope * v);
        if (unlucky(8) && i == n / 2) continue;
        y[i] = z;
    }
    if (bug == 9) for (int i = n; i < (n + 7) / 8 * 8 + (n % 8 == 0); i++) y[i] = 0;
    return HONE_OK;
}
enum { LEAKY_BUGS = 9 };

/* ---- pooling ---- */

static int run_pool(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const int32_t *d = plan->problem.dim;
    const int max = !strcmp(plan->problem.op->name, "maxpool_fwd"), ic = d[POOL_IC];
    float *y = mem[POOL_Y];
    const float *x = mem[POOL_X];
    (void)ws;
    run_number++;
    for (int n = 0; n < d[POOL_MB]; n++)
        for (int oh = 0; oh < d[POOL_OH]; oh++)
            for (int ow = 0; ow < d[POOL_OW]; ow++)
                for (int c = 0; c < ic; c++) {
                    const int h0 = oh * BUG(1, d[POOL_KH], d[POOL_SH]) -
                                   BUG(2, d[POOL_PW], d[POOL_PH]),
                              w0 = ow * BUG(3, d[POOL_SH], d[POOL_SW]) - d[POOL_PW];
                    float best = BUG(4, 0, -INFINITY), sum = 0;
                    int count = 0;
                    for (int kh = 0; kh < BUG(5, d[POOL_KW], d[POOL_KH]); kh++)
                        for (int kw = 0; kw < d[POOL_KW] - (bug == 6 && kh && d[POOL_KW] > 1);
                             kw++) {
                            const int ih = h0 + kh, iw = w0 + kw;
                            if (ih < 0 || ih >= d[POOL_IH] || iw < 0 || iw >= d[POOL_IW]) {
                                if (bug == 7) {
                                    best = fmaxf(best, 0);
                                    count++;
                                } /* zeros count */
                                continue;
                            }
                            if (bug == 8 && kh == d[POOL_KH] - 1 && kw == d[POOL_KW] - 1 && kh + kw)
                                continue;
                            float v = x[(((int64_t)n * d[POOL_IH] + ih) * d[POOL_IW] + iw) * ic +
                                        BUG(9, ic - 1 - c, c)];
                            best = BUG(10, fminf(best == -INFINITY ? v : best, v), fmaxf(best, v));
                            sum += v;
                            count++;
                        }
                    if (bug == 11) best = fabsf(best);
                    if (bug == 12) { count = d[POOL_KH] * d[POOL_KW]; best = coarse(best); }
                    if (bug == 13) { sum = coarse(sum); best *= 1 + 0x1p-23f; }
                    if (unlucky(14)) { best += 1; sum += 1; }
                    if (bug == 15 && c == ic - 1 && ic > 1) continue;
                    y[(((int64_t)n * d[POOL_OH] + oh) * d[POOL_OW] + ow) * ic + c] =
                        max ? best : bug == -1 ? sum * (1.0f / (float)count) : sum / (float)count;
                }
    return HONE_OK;
}
enum { POOL_BUGS = 15 };

/* ---- batch normalisation ---- */

static int run_bnorm(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const int m = plan->problem.dim[NORM_M], n = plan->problem.dim[NORM_N];
    const float momentum = (float)plan->problem.value[NORM_MOMENTUM];
    const float eps = (float)plan->problem.value[NORM_EPS];
    float *y = mem[NORM_Y], *means = mem[NORM_MEAN], *rstds = mem[NORM_RSTD],
          *rmean = mem[NORM_RMEAN], *rvar = mem[NORM_RVAR];
    const float *x = mem[NORM_X], *gamma = mem[NORM_GAMMA], *beta = mem[NORM_BETA];
    (void)ws;
    run_number++;
    for (int j = 0; j < n; j++) {
        float mean = 0, var = 0;
        for (int i = 0; i < BUG(1, m - (m > 1), m); i++)
            mean += bug == -1 ? x[(int64_t)(m - 1 - i) * n + j] : x[(int64_t)i * n + j];
        mean /= (float)BUG(2, m > 1 ? m - 1 : 1, m);
        for (int i = 0; i < m; i++) {
            float d = x[(int64_t)i * n + j] - BUG(3, coarse(mean), mean);
            var += d * d;
        }
        const float unbiased = var / (float)(m > 1 ? m - 1 : 1);
        var /= (float)m;
        float rstd = 1 / (BUG(4, sqrtf(var) + eps, sqrtf(var + BUG(5, 0.001f, eps))));
        if (bug == 6) rstd = coarse(rstd);
        if (bug == 7) rstd = 1 / sqrtf(unbiased + eps);
        if (unlucky(8) && j == n - 1) mean += 0x1p-10f;
        for (int i = 0; i < m; i++)
            y[(int64_t)i * n + j] = (x[(int64_t)i * n + j] - mean) * rstd * gamma[BUG(9, (j + 1) % n, j)] +
                                    BUG(10, beta[0], beta[j]);
        means[j] = BUG(11, 0, mean);
        rstds[j] = BUG(12, var, rstd);
        rmean[j] = BUG(13, momentum * rmean[j] + (1 - momentum) * mean,
                       (1 - momentum) * rmean[j] + momentum * mean);
        rvar[j] = (1 - momentum) * rvar[j] + momentum * BUG(14, var, unbiased);
        if (bug == 15) rvar[j] = momentum * unbiased;
    }
    return HONE_OK;
}
enum { BNORM_BUGS = 15 };

/* ---- softmax and cross entropy ---- */

static int run_softmax(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const int m = plan->problem.dim[LOSS_M], n = plan->problem.dim[LOSS_N];
    float *dx = mem[CE_DX], *loss = mem[CE_LOSS], *hit = mem[CE_HIT];
    const float *xs = mem[CE_X];
    const int *label = mem[CE_LABEL];
    (void)ws;
    run_number++;
    for (int i = 0; i < m; i++) {
        const float *x = xs + (int64_t)i * n;
        float max = x[0], sum = 0;
        int at = 0;
        for (int j = 1; j < BUG(1, n - 1, n); j++) if (x[j] > max) { max = x[j]; at = j; }
        for (int j = 0; j < BUG(2, n >= 4 ? n / 4 * 4 : n, n); j++)
            sum += BUG(3, coarse(expf(x[j] - max)), expf(x[j] - max));
        if (bug == -1) { sum = 0; for (int j = n - 1; j >= 0; j--) sum += expf(x[j] - max); }
        const float inverse = BUG(4, coarse(1 / sum), 1 / sum);
        for (int j = 0; j < n; j++) {
            float soft = expf(x[j] - max) * inverse;
            dx[(int64_t)i * n + j] = (soft - (float)(j == BUG(5, label[0], label[i]))) / (float)BUG(6, 1, BUG(7, n, m));
        }
        if (bug == 8) dx[(int64_t)i * n + label[i]] += 2 / (float)m;
        float l = logf(sum) - (x[label[i]] - BUG(9, 0, max));
        if (bug == 10) l = -l;
        if (bug == 11) l /= (float)m;
        if (unlucky(12) && i == m - 1) l *= 1 + 0x1p-22f;
        if (bug == 13) l = logf(sum) - coarse(x[label[i]] - max);
        loss[i] = l;
        hit[i] = BUG(14, at != label[i], at == label[i]);
    }
    return HONE_OK;
}
enum { SOFTMAX_BUGS = 14 };

/* ---- optimizers ---- */

static int run_sgd(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const struct hone_problem *p = &plan->problem;
    const int n = p->dim[OPTIM_N], momentum = p->attrs >> SGD_MOMENTUM & 1,
              wd = p->attrs >> SGD_WD & 1;
    float *w = mem[SGD_P], *v = momentum ? mem[SGD_V] : NULL;
    const float *g = mem[sgd_g(p)], *h = mem[sgd_hyper(p)];
    (void)ws;
    run_number++;
    for (int i = 0; i < BUG(1, n >= 8 ? n / 8 * 8 : n, n); i++) {
        float d = g[i] + (wd ? BUG(2, -h[HYPER_WD], h[HYPER_WD]) * BUG(3, g[i], w[i]) : 0);
        if (v) {
            v[i] = BUG(4, (1 - h[HYPER_MOMENTUM]), 1) * d + BUG(5, 1, h[HYPER_MOMENTUM]) * v[i];
            d = BUG(6, g[i], v[i]);
        }
        if (bug == 7) d = coarse(d);
        if (unlucky(8) && i == 0) continue;
        w[i] = BUG(9, w[i] + h[HYPER_LR] * d,
                   bug == -1 ? fmaf(-h[HYPER_LR], d, w[i]) : w[i] - h[HYPER_LR] * d);
    }
    return HONE_OK;
}
enum { SGD_BUGS = 9 };

static int run_adam(const struct hone_plan *plan, void *const mem[], void *ws)
{
    const int n = plan->problem.dim[OPTIM_N];
    float *w = mem[ADAM_P], *m = mem[ADAM_M], *v = mem[ADAM_V];
    const float *g = mem[ADAM_G], *h = mem[ADAM_HYPER];
    const float b1 = h[HYPER_BETA1], b2 = h[HYPER_BETA2];
    (void)ws;
    run_number++;
    for (int i = 0; i < BUG(1, n - (n > 1), n); i++) {
        m[i] = b1 * m[i] + BUG(2, 1, 1 - b1) * g[i];
        v[i] = BUG(3, b1, b2) * v[i] + (1 - b2) * g[i] * BUG(4, 1, g[i]);
        float root = sqrtf(v[i]);
        if (bug == 5) root = coarse(root);
        if (bug == 6) root = sqrtf(v[i] + h[HYPER_EPS]);
        float below = root * BUG(7, 1, h[HYPER_C2]) + (bug == 6 ? 0 : BUG(8, 0.5f, h[HYPER_EPS]));
        float lr = h[HYPER_LR] * BUG(9, 1, h[HYPER_C1]);
        w[i] -= lr * BUG(10, g[i], m[i]) / below;
        if (bug == -1) continue;
    }
    if (unlucky(11)) w[n - 1] *= 1 + 0x1p-23f;
    return HONE_OK;
}
enum { ADAM_BUGS = 11 };

/* ---- the proof of each ---- */

static const struct family {
    const char *name;
    int (*run)(const struct hone_plan *plan, void *const mem[], void *workspace);
    int nbugs, nvariants;
    const char *shape[10];
} families[] = {
    { "gemm", run_gemm, GEMM_BUGS, 2,
      { "gemm:f32:nn:m1n1k1", "gemm:f32:nn:m7n5k3", "gemm:f32:nt:m33n65k33", "gemm:f32:tn:m5n17k67",
        "gemm:f32:nn:m9n8k16:bias+relu", "gemm:f32:nn:m13n24k31:alpha2+beta3", "gemm:f32:tn:m33n9k7:bias" } },
    { "conv2d_fwd", run_conv, CONV_BUGS, 2,
      { "conv2d_fwd:f32:nhwc:mb1ic1ih1oc1kh1", "conv2d_fwd:f32:nhwc:mb2ic3ih7oc5kh3ph1",
        "conv2d_fwd:f32:nhwc:mb2ic5ih9iw11oc3kh3kw2sh2sw1ph1pw0:bias",
        "conv2d_fwd:f32:nhwc:g2mb1ic6ih8iw7oc4kh2kw3ph1pw2dh1dw0", "conv2d_fwd:f32:nhwc:mb2ic4ih5oc8kh1:bias" } },
    { "bias_bwd", run_bias, BIAS_BUGS, 1,
      { "bias_bwd:f32:any:m1n1", "bias_bwd:f32:any:m7n5", "bias_bwd:f32:any:m129n3" } },
    { "leaky_relu", run_leaky, LEAKY_BUGS, 1,
      { "leaky_relu:f32:any:n1", "leaky_relu:f32:any:n7", "leaky_relu:f32:any:n17", "leaky_relu:f32:any:n64" } },
    { "maxpool_fwd", run_pool, POOL_BUGS, 0,
      { "maxpool_fwd:f32:nhwc:mb1ic1ih1kh1", "maxpool_fwd:f32:nhwc:mb2ic3ih9kh3sh2ph1",
        "maxpool_fwd:f32:nhwc:mb1ic5ih8iw11kh3kw2sh2sw1ph1pw0", "maxpool_fwd:f32:nhwc:mb2ic2ih5kh2" } },
    { "avgpool_fwd", run_pool, POOL_BUGS, 1,
      { "avgpool_fwd:f32:nhwc:mb1ic1ih1kh1", "avgpool_fwd:f32:nhwc:mb2ic3ih9kh3sh2ph1",
        "avgpool_fwd:f32:nhwc:mb1ic5ih8iw11kh3kw2sh2sw1ph1pw0", "avgpool_fwd:f32:nhwc:mb2ic2ih5kh2" } },
    { "bnorm_fwd", run_bnorm, BNORM_BUGS, 1,
      { "bnorm_fwd:f32:any:m2n3", "bnorm_fwd:f32:any:m7n5", "bnorm_fwd:f32:any:m65n17" } },
    { "softmax_ce", run_softmax, SOFTMAX_BUGS, 1,
      { "softmax_ce:f32:any:m1n2", "softmax_ce:f32:any:m3n7", "softmax_ce:f32:any:m64n10" } },
    { "sgd", run_sgd, SGD_BUGS, 1,
      { "sgd:f32:any:n1", "sgd:f32:any:n17", "sgd:f32:any:n33:momentum", "sgd:f32:any:n9:momentum+wd" } },
    { "adam", run_adam, ADAM_BUGS, 0, { "adam:f32:any:n1", "adam:f32:any:n33", "adam:f32:any:n17" } },
};
enum { NFAMILIES = sizeof families / sizeof *families };

/* HONE_OK if the variant passes on every shape, and else the proof's code and words of the first
 * on which it does not. */
static int prove(const struct family *f, struct hone_device *d, const char **shape)
{
    for (int s = 0; f->shape[s]; s++) {
        struct hone_problem p;
        struct hone_plan plan;
        int err = hone_problem_parse(f->shape[s], &p);
        const struct hone_op *const ops[] = { p.op, NULL };
        const struct hone_kernel kernel = {
            .name = f->name, .ops = ops, .backend = &hone_backend_cpu, .run = f->run
        };
        *shape = f->shape[s];
        if (err) { printf("# %s\n", hone_errmsg()); return HONE_EPARSE; }
        plan = (struct hone_plan){ .problem = p, .kernel = &kernel, .device = d };
        err = hone_verify(&plan, 7, NULL);
        if (err) return err;
    }
    return HONE_OK;
}

/* The two poolings share a function, and these are bugs of the maximum. */
static int does_nothing(const struct family *f, int b)
{
    return !strcmp(f->name, "avgpool_fwd") && (b == 4 || b == 10 || b == 11);
}

int main(void)
{
    struct hone_device d;
    int nbugs = 0, nright = 0;
    if (hone_device_open(&d, "cpu0")) { printf("Bail out! %s\n", hone_errmsg()); return 1; }
    for (int i = 0; i < NFAMILIES; i++) {
        const struct family *f = &families[i];
        const char *shape = "";
        for (bug = -f->nvariants; bug <= 0; bug++, nright++) {
            int err = prove(f, &d, &shape);
            if (!ok(!err, "%s, right, variant %d: is accepted", f->name, -bug))
                printf("# %s: %s\n", shape, hone_errmsg());
        }
        for (bug = 1; bug <= f->nbugs; bug++) {
            if (does_nothing(f, bug)) continue;
            int err = prove(f, &d, &shape);
            ok(err == HONE_EWRONG, "%s, bug %d: %s", f->name, bug,
               err ? hone_errmsg() : "passes every proof");
            nbugs++;
        }
    }
    ok(nbugs >= 100, "%d bugs, none of which passes; %d right variants, all of which do", nbugs,
       nright);
    hone_device_close(&d);
    return tap_end();
}
