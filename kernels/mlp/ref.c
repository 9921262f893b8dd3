/* The meaning of the mlp ops: the references of the ops that a step is made of, one after the
 * other, in doubles.  Beside each number goes how far a kernel's may be from it, in units of
 * roundoff: what its own op may add, which is that op's growth times scale, and what errors of its
 * arguments become on the way, to first order (running error analysis: Higham, Accuracy and
 * Stability of Numerical Algorithms, 2002, section 3.3). */
#include "kernels/dropout/dropout.h"
#include "kernels/gemm/gemm.h"
#include "kernels/loss/loss.h"
#include "kernels/mlp/mlp.h"
#include "kernels/optimizer/optimizer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Numbers and their errors. */
struct nums { double *v, *e; };

struct walk {
    struct mlp m;
    const struct hone_problem *p;
    const double *const *in;
    double eps;                                 /* roundoff of what kernels compute */
    struct nums out[4], hit;                    /* P, states; Y at 3: of all steps */
    struct nums loss;
    struct nums a[MLP_MAX_LAYERS + 1];          /* what layer l reads; [nlayers]: Y of this step */
    struct nums pre[MLP_MAX_LAYERS];            /* what layer l activates */
    struct nums dz[MLP_MAX_LAYERS + 1], grad;   /* gradients: before layer l's activation; of P */
    double *rows;                               /* what softmax's rows share */
    double *end;
};

static struct nums take(struct walk *w, int64_t n)
{
    struct nums x = { w->end, w->end + n };
    w->end += 2 * n;
    return x;
}

/* Deals out memory from base on. */
static struct walk walk_of(const struct hone_problem *p, double *base)
{
    struct walk w = { .m = mlp_of(p), .p = p, .end = base,
                      .eps = hone_dtype_eps(hone_dtype_wide(p->dtype)) };
    const struct mlp *m = &w.m;
    const int64_t rows = (int64_t)m->mb * m->steps;
    for (int i = 0; i <= m->nstates; i++) w.out[i] = take(&w, m->numbers);
    w.out[3] = take(&w, rows * m->width[m->nlayers]);
    w.loss = take(&w, rows);
    w.hit = take(&w, rows);
    w.grad = take(&w, m->numbers);
    w.rows = take(&w, 2 * (int64_t)m->mb).v;
    for (int l = 0; l <= m->nlayers; l++) {
        w.a[l] = take(&w, (int64_t)m->mb * m->width[l]);
        w.dz[l] = take(&w, (int64_t)m->mb * m->width[l]);
        if (l < m->nlayers) w.pre[l] = take(&w, (int64_t)m->mb * m->width[l + 1]);
    }
    return w;
}

/* A problem of an op that a step is made of. */
static struct hone_problem part(const char *text)
{
    struct hone_problem p;
    int err = hone_problem_parse(text, &p);
    assert(!err);
    (void)err;
    return p;
}

/* ---- forward ---- */

/* C = op(A) op(B) as gemm has it, (m, n) of k terms. */
static void product(const char *layout, struct nums c, struct nums a, struct nums b, int m, int n,
                    int k, const struct nums *bias)
{
    char text[HONE_TEXT];
    snprintf(text, sizeof text, "gemm:f64:%s:m%dn%dk%d%s", layout, m, n, k, bias ? ":bias" : "");
    const struct hone_problem p = part(text);
    const double *in[] = { NULL, a.v, b.v, bias ? bias->v : NULL };
    const int tn = p.layout == GEMM_TN, nt = p.layout == GEMM_NT;
    for (int64_t i = 0; i < (int64_t)m * n; i++) {
        const int64_t row = i / n, col = i % n;
        double scale, e = bias ? bias->e[col] : 0;
        c.v[i] = hone_gemm_meaning(&p, in, GEMM_C, i, &scale);
        for (int64_t l = 0; l < k; l++) {
            const int64_t at = tn ? l * m + row : row * k + l, bt = nt ? col * k + l : l * n + col;
            e += fabs(a.v[at]) * b.e[bt] + a.e[at] * fabs(b.v[bt]);
        }
        c.e[i] = e + p.op->growth(&p) * scale;
    }
}

/* What dropout makes of number i behind layer l at step s: 0, or 1 / (1 - drop). */
static double kept(const struct walk *w, int l, int s, int64_t i)
{
    const struct mlp *m = &w->m;
    if (!(m->drop > 0)) return 1;
    const double *seed = w->in[m->arg.seed] + 2 * s;
    const uint64_t key = dropout_key((uint64_t)seed[0], (uint64_t)seed[1], 2 * (l + 1));
    return dropout_keep(key, dropout_threshold(m->drop), i) ? 1 / (1 - m->drop) : 0;
}

static struct nums parameters(const struct walk *w, int at)
{
    return (struct nums){ w->out[0].v + at, w->out[0].e + at };
}

static void forward(struct walk *w, int s)
{
    const struct mlp *m = &w->m;
    const int64_t nx = (int64_t)m->mb * m->width[0];
    memcpy(w->a[0].v, w->in[m->arg.x] + s * nx, (size_t)nx * sizeof(double));
    memset(w->a[0].e, 0, (size_t)nx * sizeof(double));
    for (int l = 0; l < m->nlayers; l++) {
        const int n = m->width[l + 1], last = l == m->nlayers - 1;
        const struct nums bias = parameters(w, m->b[l]);
        struct nums z = w->pre[l], a = w->a[l + 1];
        product("nn", z, w->a[l], parameters(w, m->w[l]), m->mb, n, m->width[l], &bias);
        for (int64_t i = 0; i < (int64_t)m->mb * n; i++) {
            const double f = last ? 1 : kept(w, l, s, i);
            const enum hone_act act = last ? HONE_ACT_none : m->act;
            const double y = hone_act_value(act, z.v[i]);
            a.v[i] = f * y;
            a.e[i] = f * (hone_act_slope(act) * z.e[i] + (last ? 0 : 12) * fabs(y));
        }
    }
}

/* ---- loss ---- */

/* What errors of x do to a row of softmax and its loss: each share moves by its own error and by
 * that of the mean. */
static void spread_softmax(const struct walk *w, const double *x, const double *e, int label, int n,
                           double *dx_e, double *loss_e, double *hit_e)
{
    double most = x[0], sum = 0, mean = 0, all = 0;
    for (int j = 1; j < n; j++) most = fmax(most, x[j]);
    for (int j = 0; j < n; j++) sum += exp(x[j] - most);
    for (int j = 0; j < n; j++) mean += exp(x[j] - most) / sum * e[j];
    for (int j = 0; j < n; j++) all += e[j] / n;
    for (int j = 0; j < n; j++) {
        dx_e[j] += exp(x[j] - most) / sum * (e[j] + mean) / w->m.mb;
        if (j != label && fabs(x[j] - x[label]) <= w->eps * (e[j] + e[label])) *hit_e = 1 / w->eps;
    }
    *loss_e += mean + (1 - w->m.number) * e[label] + w->m.number * all;
}

/* The same of numbers whose errors e become those of differences. */
static void spread_error(const struct walk *w, const double *x, const double *t, const double *e,
                         int n, double *dx_e, double *loss_e)
{
    const double all = (double)w->m.mb * n;
    for (int j = 0; j < n; j++) {
        const double d = fabs(x[j] - t[j]);
        switch (w->m.loss) {
        case MLP_MSE: *loss_e += 2 * d * e[j] / n; dx_e[j] += 2 * e[j] / all; break;
        case MLP_MAE:
            *loss_e += e[j] / n;
            if (d <= w->eps * e[j]) dx_e[j] += 2 / all / w->eps;
            break;
        default: *loss_e += fmin(d, w->m.number) * e[j] / n; dx_e[j] += e[j] / all; break;
        }
    }
}

static struct hone_problem loss_problem(const struct mlp *m)
{
    static const char *const names[] = { [MLP_MSE] = "mse", [MLP_MAE] = "mae",
                                         [MLP_HUBER] = "huber", [MLP_CE] = "softmax_ce" };
    char text[HONE_TEXT], number[32] = "";
    if (m->loss == MLP_CE) snprintf(number, sizeof number, ":smooth%.9g", m->number);
    if (m->loss == MLP_HUBER) snprintf(number, sizeof number, ":delta%.9g", m->number);
    snprintf(text, sizeof text, "%s:f64:any:m%dn%d%s", names[m->loss], m->mb, m->width[m->nlayers],
             number);
    return part(text);
}

static void loss(struct walk *w, int s)
{
    const struct mlp *m = &w->m;
    const struct hone_problem p = loss_problem(m);
    const int n = m->width[m->nlayers], ce = m->loss == MLP_CE, mb = m->mb;
    const int64_t first = (int64_t)s * mb;
    const double *t = w->in[m->arg.t] + (ce ? first : first * n);
    struct nums x = w->a[m->nlayers], dx = w->dz[m->nlayers];
    const double *in[5] = { ce ? w->rows : NULL, NULL, ce ? NULL : x.v, ce ? x.v : t,
                            ce ? t : NULL };
    assert(!ce || p.op->nshared(&p) <= 4 * (int64_t)mb);
    if (ce) p.op->share(&p, in, w->rows);
    for (int64_t i = 0; i < (int64_t)mb * n; i++) {
        double scale;
        dx.v[i] = p.op->ref(&p, in, CE_DX, i, &scale);
        dx.e[i] = p.op->growth(&p) * scale;
    }
    for (int64_t i = 0; i < mb; i++) {
        double scale, *loss_e = &w->loss.e[first + i];
        w->loss.v[first + i] = p.op->ref(&p, in, CE_LOSS, i, &scale);
        *loss_e = p.op->growth(&p) * scale;
        if (ce) {
            w->hit.v[first + i] = p.op->ref(&p, in, CE_HIT, i, &scale);
            w->hit.e[first + i] = 0;
            spread_softmax(w, x.v + i * n, x.e + i * n, (int)t[i], n, dx.e + i * n, loss_e,
                           &w->hit.e[first + i]);
        } else {
            spread_error(w, x.v + i * n, t + i * n, x.e + i * n, n, dx.e + i * n, loss_e);
        }
    }
    memcpy(w->out[3].v + first * n, x.v, (size_t)mb * (size_t)n * sizeof(double));
    memcpy(w->out[3].e + first * n, x.e, (size_t)mb * (size_t)n * sizeof(double));
}

/* ---- backward ---- */

/* Is z so near to a kink of the activation that a kernel may be on its other side? */
static int near_kink(const struct walk *w, double z, double e)
{
    const enum hone_act a = w->m.act;
    if (a != HONE_ACT_relu && a != HONE_ACT_relu6 && a != HONE_ACT_leaky_relu) return 0;
    return fabs(z) <= w->eps * e || (a == HONE_ACT_relu6 && fabs(z - 6) <= w->eps * e);
}

/* Turns dz[l], the gradient of what layer l reads, into that of what layer l - 1 activates. */
static void through_activation(struct walk *w, int l, int s)
{
    const struct mlp *m = &w->m;
    struct nums dz = w->dz[l], z = w->pre[l - 1];
    const int smooth = m->act == HONE_ACT_sigmoid || m->act == HONE_ACT_tanh;
    for (int64_t i = 0; i < (int64_t)m->mb * m->width[l]; i++) {
        const double f = kept(w, l - 1, s, i), slope = hone_act_derivative(m->act, z.v[i]);
        const double y = hone_act_value(m->act, z.v[i]), da = dz.v[i];
        /* The slope is computed from y, which is found again from what dropout made of it. */
        const double y_e = hone_act_slope(m->act) * z.e[i] + 20 * fabs(y);
        double slope_e = smooth ? 2 * y_e + 4 * slope : 0;
        if (near_kink(w, z.v[i], z.e[i])) slope_e = 1 / w->eps;
        dz.v[i] = f * da * slope;
        dz.e[i] = f * (slope * dz.e[i] + fabs(da) * slope_e) + 8 * fabs(dz.v[i]);
    }
}

static void backward(struct walk *w, int s)
{
    const struct mlp *m = &w->m;
    memset(w->grad.v, 0, 2 * (size_t)m->numbers * sizeof(double));
    for (int l = m->nlayers - 1; l >= 0; l--) {
        const int k = m->width[l], n = m->width[l + 1];
        struct nums dz = w->dz[l + 1];
        product("tn", (struct nums){ w->grad.v + m->w[l], w->grad.e + m->w[l] }, w->a[l], dz, k, n,
                m->mb, NULL);
        for (int j = 0; j < n; j++) {
            double sum = 0, size = 0, e = 0;
            for (int64_t i = j; i < (int64_t)m->mb * n; i += n)
                sum += dz.v[i], size += fabs(dz.v[i]), e += dz.e[i];
            w->grad.v[m->b[l] + j] = sum;
            w->grad.e[m->b[l] + j] = e + (m->mb + 3) * size;
        }
        if (!l) return;
        product("nt", w->dz[l], dz, parameters(w, m->w[l]), m->mb, k, n, NULL);
        through_activation(w, l, s);
    }
}

/* ---- update ---- */

static struct hone_problem optimizer_problem(const struct mlp *m)
{
    char text[HONE_TEXT], attrs[64] = "";
    if (m->momentum) strcat(attrs, "+momentum");
    if (m->nesterov) strcat(attrs, "+nesterov");
    if (m->wd) strcat(attrs, "+wd");
    if (m->decoupled) strcat(attrs, "+decoupled");
    if (*attrs) attrs[0] = ':';
    snprintf(text, sizeof text, "%s:f64:any:n%d%s", m->adam ? "adam" : "sgd", m->numbers, attrs);
    return part(text);
}

/* What errors of number i's parameter, states and gradient become in sgd's step. */
static void spread_sgd(const struct walk *w, const double *hyper, int i, double e[3])
{
    const double *p = w->out[0].e, *v = w->out[1].e;
    const double g = w->grad.e[i] + (w->m.wd ? hyper[HYPER_WD] * p[i] : 0);
    double move = g;
    if (w->m.momentum) e[1] = move = hyper[HYPER_MOMENTUM] * v[i] + g;
    if (w->m.nesterov) move = g + hyper[HYPER_MOMENTUM] * move;
    e[0] = p[i] + hyper[HYPER_LR] * move;
}

/* The same in adam's, where m and v, the new ones, are known. */
static void spread_adam(const struct walk *w, const double *hyper, int i, double m, double v,
                        double e[3])
{
    const double b1 = hyper[HYPER_BETA1], b2 = hyper[HYPER_BETA2], c2 = hyper[HYPER_C2];
    const double lr = hyper[HYPER_LR] * hyper[HYPER_C1], p = w->out[0].e[i];
    const double wd = w->m.wd && !w->m.decoupled ? hyper[HYPER_WD] : 0;
    const double g = w->grad.v[i] + wd * w->out[0].v[i], ge = w->grad.e[i] + wd * p;
    e[1] = b1 * w->out[1].e[i] + (1 - b1) * ge;
    e[2] = b2 * w->out[2].e[i] + (1 - b2) * ge * (2 * fabs(g) + w->eps * ge);
    /* |sqrt(v) - sqrt(v')| is at most |v - v'| / sqrt(v), and at most sqrt(|v - v'|). */
    const double root = fmin(e[2] / fmax(sqrt(v), 1e-300), sqrt(e[2] / w->eps));
    const double below = sqrt(v) * c2 + hyper[HYPER_EPS];
    e[0] = p + lr * (e[1] / below + fabs(m) * c2 * root / (below * below));
}

static void update_number(struct walk *w, const struct hone_problem *p, const double *hyper, int i)
{
    const struct mlp *m = &w->m;
    const double *in[] = { w->out[0].v, w->out[1].v, w->out[2].v, w->grad.v, hyper };
    double value[3] = { 0 }, own[3] = { 0 }, e[3] = { 0 };
    if (!m->adam) in[sgd_g(p)] = w->grad.v, in[sgd_hyper(p)] = hyper;
    for (int a = 0; a <= m->nstates; a++) {
        double scale;
        value[a] = p->op->ref(p, in, a, i, &scale);
        own[a] = p->op->growth(p) * scale;
    }
    if (m->adam) spread_adam(w, hyper, i, value[1], value[2], e);
    else spread_sgd(w, hyper, i, e);
    for (int a = 0; a <= m->nstates; a++) {
        w->out[a].v[i] = value[a];
        w->out[a].e[i] = own[a] + e[a];
    }
}

static void update(struct walk *w, int s)
{
    const struct mlp *m = &w->m;
    const struct hone_problem p = optimizer_problem(m);
    const double *hyper = w->in[m->arg.hyper] + (int64_t)HYPER_LEN * s;
    for (int l = 0; l < m->nlayers; l++) {
        for (int i = 0; i < m->width[l] * m->width[l + 1]; i++)
            update_number(w, &p, hyper, m->w[l] + i);
        for (int i = 0; i < m->width[l + 1]; i++) update_number(w, &p, hyper, m->b[l] + i);
    }
}

/* ---- the op ---- */

int64_t hone_mlp_nshared(const struct hone_problem *p)
{
    static double base[1];
    const struct walk w = walk_of(p, base);
    return w.end - base;
}

void hone_mlp_share(const struct hone_problem *p, const double *const in[], double *shared)
{
    struct walk w = walk_of(p, shared);
    const struct mlp *m = &w.m;
    w.in = in;
    for (int a = 0; a <= m->nstates; a++) {
        memcpy(w.out[a].v, in[m->arg.p + a], (size_t)m->numbers * sizeof(double));
        memset(w.out[a].e, 0, (size_t)m->numbers * sizeof(double));
    }
    for (int s = 0; s < m->steps; s++) {
        forward(&w, s);
        loss(&w, s);
        backward(&w, s);
        update(&w, s);
    }
}

/* The longest chain of roundings of a step goes through all layers there and back; errors are known
 * as they are, and the scale is what they are to be multiples of. */
double hone_mlp_growth(const struct hone_problem *p)
{
    const struct mlp m = mlp_of(p);
    double chain = 2 * m.mb + 16;
    for (int l = 0; l < m.nlayers; l++) chain += 2 * m.width[l] + 2 * m.width[l + 1];
    return m.steps * chain;
}

double hone_mlp_meaning(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                        double *scale)
{
    const struct walk w = walk_of(p, (double *)(uintptr_t)in[MLP_Y]);
    const struct mlp_args *at = &w.m.arg;
    const struct nums x = out == at->y      ? w.out[3]
                          : out == at->loss ? w.loss
                          : out == at->hit  ? w.hit
                                            : w.out[out - at->p];
    *scale = x.e[i] / hone_mlp_growth(p);
    return x.v[i];
}
