/* mlp_ce, mlp_mse, mlp_mae, mlp_huber: sizes, arguments, flops. */
#include "kernels/mlp/layers.h"
#include "kernels/optimizer/optimizer.h"

#include <stdarg.h>
#include <stdio.h>

struct mlp mlp_of(const struct hone_problem *p) { return mlp_from(p); }

/* ---- the op ---- */

static int check(struct hone_problem *p)
{
    const int32_t *d = p->dim;
    double numbers = 0, from = d[MLP_I], widest = d[MLP_I];
    if ((d[MLP_G] && !d[MLP_H]) || (d[MLP_F] && !d[MLP_G]))
        return hone_fail(HONE_EPARSE, "hidden layers are h, then g, then f");
    for (int i = MLP_H; i <= MLP_O; i++)
        if (d[i]) {
            numbers += (from + 1 + 2 * MLP_LINE) * d[i];
            from = d[i];
            if (from > widest) widest = from;
        }
    if (numbers > 1 << 24 || (double)d[MLP_MB] * d[MLP_S] * (widest + 8) > 1 << 27)
        return hone_fail(HONE_EPARSE, "a net of more than %d parameters, or rows of more than %d "
                         "numbers in all, is not small", 1 << 24, 1 << 27);
    if (!(p->value[MLP_DROP] >= 0 && p->value[MLP_DROP] < 1))
        return hone_fail(HONE_EPARSE, "drop is %g; it must be from 0 and below 1",
                         p->value[MLP_DROP]);
    if (!d[MLP_H] && (p->value[MLP_DROP] > 0 || hone_act_of(p) != HONE_ACT_none))
        return hone_fail(HONE_EPARSE, "there is no hidden layer to activate or drop");
    if (hone_problem_is(p, mlp_ce) && !(p->value[MLP_NUMBER] >= 0 && p->value[MLP_NUMBER] < 1))
        return hone_fail(HONE_EPARSE, "smooth is %g; it must be from 0 and below 1",
                         p->value[MLP_NUMBER]);
    if (hone_problem_is(p, mlp_ce) && d[MLP_O] < 2)
        return hone_fail(HONE_EPARSE, "classes are at least 2");
    if (hone_problem_is(p, mlp_huber) && !(p->value[MLP_NUMBER] > 0 && p->value[MLP_NUMBER] <= 1e6))
        return hone_fail(HONE_EPARSE, "delta is %g; it must be above 0, at most 1e6",
                         p->value[MLP_NUMBER]);
    if (hone_problem_has(p, "adam") && hone_problem_has(p, "momentum"))
        return hone_fail(HONE_EPARSE, "momentum is of sgd, and not of adam");
    if (hone_problem_has(p, "nesterov") && !hone_problem_has(p, "momentum"))
        return hone_fail(HONE_EPARSE, "nesterov needs momentum");
    if (hone_problem_has(p, "decoupled") &&
        !(hone_problem_has(p, "adam") && hone_problem_has(p, "wd")))
        return hone_fail(HONE_EPARSE, "decoupled needs adam and wd");
    return hone_act_check(p);
}

/* Weights and rates small enough that a few steps stay near where they began: bounds on errors grow
 * with every step. */
static int args(const struct hone_problem *p, struct hone_arg arg[])
{
    const struct mlp m = mlp_of(p);
    const struct mlp_args *at = &m.arg;
    const int rows = m.steps * m.mb, out = m.width[m.nlayers];
    arg[at->p] = HONE_ARG("p", HONE_INOUT, p->dtype, m.numbers);
    arg[at->p].lo = -0.25, arg[at->p].hi = 0.25;
    arg[at->p].weight = 1;
    for (int i = 0; i < m.nstates; i++) {
        arg[at->state[i]] = HONE_ARG(i ? "v" : "m", HONE_INOUT, p->dtype, m.numbers);
        if (i) arg[at->state[i]].hi = 1;   /* a mean of squares */
    }
    arg[at->y] = HONE_ARG("y", HONE_OUT, p->dtype, rows, out);
    arg[at->loss] = HONE_ARG("loss", HONE_OUT, p->dtype, rows);
    if (at->hit >= 0) arg[at->hit] = HONE_ARG("hit", HONE_OUT, p->dtype, rows);
    arg[at->x] = HONE_ARG("x", HONE_IN, p->dtype, rows, m.width[0]);
    if (m.loss == MLP_CE) {
        arg[at->t] = HONE_ARG("label", HONE_IN, HONE_I32, rows);
        arg[at->t].hi = out - 1;
    } else {
        arg[at->t] = HONE_ARG("t", HONE_IN, p->dtype, rows, out);
    }
    arg[at->hyper] = HONE_ARG("hyper", HONE_IN, p->dtype, m.steps, HYPER_LEN);
    arg[at->hyper].lo = 0.05, arg[at->hyper].hi = 0.2;
    if (at->seed >= 0) {
        arg[at->seed] = HONE_ARG("seed", HONE_IN, HONE_U64, m.steps, 2);
        arg[at->seed].hi = 0x1p52;
    }
    return at->n;
}

/* Of the op that a step done apart has. */
__attribute__((format(printf, 1, 2))) static double flops_of(const char *format, ...)
{
    struct hone_problem p;
    char text[HONE_TEXT];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return hone_problem_parse(text, &p) ? 0 : p.op->flops(&p);
}

/* Each layer is three products, and the first but two, as nothing wants its input's gradient. */
static double layer_flops(const struct mlp *m, const char *type, int l)
{
    const int in = m->width[l], out = m->width[l + 1], n = m->mb * out;
    const char *act = hone_act_name(m->act);
    double sum = (l ? 3 : 2) * flops_of("gemm:%s:nn:m%dn%dk%d", type, m->mb, out, in) +
                 flops_of("bias_bwd:%s:any:m%dn%d", type, m->mb, out);
    if (l == m->nlayers - 1) return sum;
    if (m->act != HONE_ACT_none)
        sum += flops_of("%s:%s:any:n%d", act, type, n) + flops_of("%s_bwd:%s:any:n%d", act, type, n);
    if (m->drop > 0) sum += 2 * flops_of("dropout:%s:any:n%d:p%g", type, n, m->drop);
    return sum;
}

static double flops(const struct hone_problem *p)
{
    static const char *const losses[] = { "mse", "mae", "huber", "softmax_ce" };
    const struct mlp m = mlp_of(p);
    const char *type = hone_dtype_name(p->dtype);
    double step = flops_of("%s:%s:any:m%dn%d", losses[m.loss], type, m.mb, m.width[m.nlayers]) +
                  flops_of("%s:%s:any:n%d%s%s%s%s%s", m.adam ? "adam" : "sgd", type, m.numbers,
                           m.wd || m.momentum ? ":" : "", m.wd ? "wd" : "",
                           m.wd && (m.momentum || m.decoupled) ? "+" : "",
                           m.momentum ? "momentum" : m.decoupled ? "decoupled" : "",
                           m.nesterov ? "+nesterov" : "");
    for (int l = 0; l < m.nlayers; l++) step += layer_flops(&m, type, l);
    return m.steps * step;
}

#define MLP_OP(loss, ...)                                                                          \
    const struct hone_op hone_op_mlp_##loss = {                                                    \
        .name = "mlp_" #loss, .dtypes = HONE_F32_F64, .layout = { "any" },                         \
        .dim = { { "mb", 1, HONE_REQUIRED, 0 }, { "s", 1, 1, 0 }, { "i", 1, HONE_REQUIRED, 0 },    \
                 { "h", 0, 0, 0 }, { "g", 0, 0, 0 }, { "f", 0, 0, 0 },                             \
                 { "o", 1, HONE_REQUIRED, 0 } },                                                   \
        .attr = { { "drop", 1, 0 }, __VA_ARGS__ { "relu", 0, 0 }, { "relu6", 0, 0 },               \
                  { "leaky_relu", 0, 0 }, { "sigmoid", 0, 0 }, { "tanh", 0, 0 },                   \
                  { "adam", 0, 0 }, { "momentum", 0, 0 }, { "nesterov", 0, 0 }, { "wd", 0, 0 },    \
                  { "decoupled", 0, 0 } },                                                         \
        .check = check, .args = args, .flops = flops, .ref = hone_mlp_meaning,                     \
        .growth = hone_mlp_growth, .nshared = hone_mlp_nshared, .share = hone_mlp_share,           \
        .shared_arg = MLP_Y,                                                                       \
    }

MLP_OP(mse, );
MLP_OP(mae, );
MLP_OP(huber, { "delta", 1, 1 }, );
MLP_OP(ce, { "smooth", 1, 0 }, );
