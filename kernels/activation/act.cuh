/* kernels/activation/act.cuh -- the activations on a GPU, as kernels/activation/act.c means them;
 * the constants are HONE_ACT_MAP's rows in order, which cuda_flat.c sees to. */
#ifndef HONE_ACT_CUH
#define HONE_ACT_CUH

#include "kernels/backend/cuda.cuh"

enum { ACT_RELU, ACT_RELU6, ACT_LEAKY_RELU, ACT_SIGMOID, ACT_TANH, ACT_GELU_ERF, ACT_GELU_TANH,
       ACT_SILU, ACT_NONE };

#define ACT_FLAT 1e3f   /* beyond -ACT_FLAT f is 0 to the last digit; inf times 0 would be NaN */

DEVICE float act_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* The argument of gelu_tanh's tanh. */
DEVICE float act_cubic(float x) { return 0.7978845608f * (x + 0.044715f * x * x * x); }

DEVICE float act_value(int act, float x)
{
    const float low = x < -ACT_FLAT ? -ACT_FLAT : x;
    switch (act) {
    case ACT_RELU: return x <= 0.0f ? 0.0f : x;
    case ACT_RELU6: return x >= 6.0f ? 6.0f : x <= 0.0f ? 0.0f : x;
    case ACT_LEAKY_RELU: return x > 0.0f ? x : 0.01f * x;
    case ACT_SIGMOID: return act_sigmoid(x);
    case ACT_TANH: return tanhf(x);
    case ACT_GELU_ERF: return 0.5f * low * erfcf(-low * 0.7071067812f);
    case ACT_GELU_TANH: return 0.5f * low * (1.0f + tanhf(act_cubic(low)));
    case ACT_SILU: return low * act_sigmoid(low);
    default: return x;
    }
}

/* For epilogues, which stand in a kernel many times: all but the simplest are called. */
DEVICE_CALL float act_value_called(int act, float x) { return act_value(act, x); }

DEVICE float act_epilogue(int act, float x)
{
    if (act == ACT_NONE) return x;
    if (act == ACT_RELU) return x <= 0.0f ? 0.0f : x;
    return act_value_called(act, x);
}

/* f' from s: from y where f' of y is known, else from x, cut where f is flat. */
DEVICE float act_slope(int act, float s)
{
    const float x = s < -ACT_FLAT ? -ACT_FLAT : s > ACT_FLAT ? ACT_FLAT : s;
    float t;
    switch (act) {
    case ACT_RELU: return s > 0.0f ? 1.0f : 0.0f;
    case ACT_RELU6: return s > 0.0f && s < 6.0f ? 1.0f : 0.0f;
    case ACT_LEAKY_RELU: return s > 0.0f ? 1.0f : 0.01f;
    case ACT_SIGMOID: return s * (1.0f - s);
    case ACT_TANH: return (1.0f - s) * (1.0f + s);
    case ACT_GELU_ERF:
        return 0.5f * erfcf(-x * 0.7071067812f) + x * 0.3989422804f * expf(-0.5f * x * x);
    case ACT_GELU_TANH:
        t = tanhf(act_cubic(x));
        return 0.5f * (1.0f + t) +
               0.5f * x * (1.0f - t * t) * 0.7978845608f * (1.0f + 0.134145f * x * x);
    case ACT_SILU: t = act_sigmoid(x); return t * (1.0f + x * (1.0f - t));
    default: return 1.0f;
    }
}

/* dy f'(s); a gradient that is cut off is 0 whatever it was. */
DEVICE float act_gradient(int act, float dy, float s)
{
    if (act == ACT_RELU || act == ACT_RELU6) return act_slope(act, s) != 0.0f ? dy : 0.0f;
    return dy * act_slope(act, s);
}

#endif
