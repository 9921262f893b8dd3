/* What the activations mean, and how they stand among the attributes of gemm and conv2d_fwd. */
#include "kernels/activation/activation.h"

#include <math.h>
#include <string.h>

static const struct { const char *name; int from_y; double slope; } acts[HONE_NACTS] = {
#define X(name, from_y, slope) { #name, from_y, slope },
    HONE_ACT_MAP(X)
#undef X
};

const char *hone_act_name(enum hone_act a) { return a == HONE_ACT_none ? "none" : acts[a].name; }
int hone_act_from_y(enum hone_act a) { return acts[a].from_y; }
double hone_act_slope(enum hone_act a) { return a == HONE_ACT_none ? 1 : acts[a].slope; }

enum hone_act hone_act_find(const char *name)
{
    int a = 0;
    while (a < HONE_NACTS && strcmp(acts[a].name, name)) a++;
    return (enum hone_act)a;
}

static int epilogues(const struct hone_problem *p, enum hone_act *last)
{
    int n = 0;
    *last = HONE_ACT_none;
    for (int i = 0; i < HONE_MAX_ATTRS && p->op->attr[i].name; i++) {
        if (!(p->attrs >> i & 1)) continue;   /* asked for every element of a reference */
        enum hone_act a = hone_act_find(p->op->attr[i].name);
        if (a != HONE_ACT_none) { *last = a; n++; }
    }
    return n;
}

enum hone_act hone_act_of(const struct hone_problem *p)
{
    enum hone_act a;
    epilogues(p, &a);
    return a;
}

int hone_act_check(struct hone_problem *p)
{
    enum hone_act a;
    return epilogues(p, &a) > 1 ? hone_fail(HONE_EPARSE, "two activations in one problem")
                                : HONE_OK;
}

int hone_act_exact(enum hone_act a)
{
    return a == HONE_ACT_none || a == HONE_ACT_relu || a == HONE_ACT_relu6;
}

static const double TWO_OVER_SQRT_PI = 1.1283791670955126, SQRT_HALF = 0.70710678118654752;
static const double SQRT_2_OVER_PI = 0.79788456080286536, GELU_CUBE = 0.044715;

/* Where f is flat to the last digit of a double; beyond, inf times 0 would hide the limit. */
static double limited(double x) { return x < -1e3 ? -1e3 : x > 1e3 ? 1e3 : x; }

double hone_act_value(enum hone_act a, double x)
{
    if (x < 0 && (a == HONE_ACT_gelu_erf || a == HONE_ACT_gelu_tanh || a == HONE_ACT_silu))
        x = limited(x);
    switch (a) {
    case HONE_ACT_relu: return x <= 0 ? 0 : x;
    case HONE_ACT_relu6: return x >= 6 ? 6 : x <= 0 ? 0 : x;
    case HONE_ACT_leaky_relu: return x > 0 ? x : HONE_LEAKY_SLOPE * x;
    case HONE_ACT_sigmoid: return 1 / (1 + exp(-x));
    case HONE_ACT_tanh: return tanh(x);
    case HONE_ACT_gelu_erf: return 0.5 * x * erfc(-x * SQRT_HALF);
    case HONE_ACT_gelu_tanh:
        return 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x)));
    case HONE_ACT_silu: return x / (1 + exp(-x));
    case HONE_NACTS: break;
    }
    return x;
}

double hone_act_derivative(enum hone_act a, double x)
{
    x = limited(x);
    switch (a) {
    case HONE_ACT_relu: return x > 0;
    case HONE_ACT_relu6: return x > 0 && x < 6;
    case HONE_ACT_leaky_relu: return x > 0 ? 1 : HONE_LEAKY_SLOPE;
    case HONE_ACT_sigmoid: { double y = 1 / (1 + exp(-x)); return y * (1 - y); }
    case HONE_ACT_tanh: { double y = tanh(x); return 1 - y * y; }
    case HONE_ACT_gelu_erf:
        return 0.5 * erfc(-x * SQRT_HALF) +
               0.5 * x * TWO_OVER_SQRT_PI * SQRT_HALF * exp(-0.5 * x * x);
    case HONE_ACT_gelu_tanh: {
        double t = tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x * x);
    }
    case HONE_ACT_silu: { double s = 1 / (1 + exp(-x)); return s * (1 + x * (1 - s)); }
    case HONE_NACTS: break;
    }
    return 1;
}

double hone_act_derivative_of(enum hone_act a, double s)
{
    if (a == HONE_ACT_sigmoid) return s * (1 - s);
    if (a == HONE_ACT_tanh) return (1 - s) * (1 + s);
    return hone_act_derivative(a, s);   /* the rest is from x, or has the same kinks in y as in x */
}
