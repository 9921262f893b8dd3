/* kernels/activation/vector.h -- the activations on vectors of floats, for kernels and epilogues. */
#ifndef HONE_ACTIVATION_VECTOR_H
#define HONE_ACTIVATION_VECTOR_H

#include "kernels/activation/activation.h"
#include "kernels/backend/cpu.h"

/* f(x) lane by lane.  `a` is a constant in inner loops: switch outside of them. */
static inline vf vf_activate(enum hone_act a, vf x)
{
    vf zero = { 0 };
    switch (a) {
    case HONE_ACT_none: return x;
    case HONE_ACT_relu: return vf_max(x, zero);
    case HONE_ACT_relu6: return vf_min(vf_max(x, zero), vf_set(6));
    case HONE_ACT_leaky_relu: return vf_select(x > zero, x, x * (float)HONE_LEAKY_SLOPE);
    default:
        for (int i = 0; i < VL; i++) x[i] = (float)hone_act_value(a, (double)x[i]);
        return x;
    }
}

#endif
