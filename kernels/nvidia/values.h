/* kernels/nvidia/values.h -- parameters of kernels that take a library's own numbers. */
#ifndef HONE_NVIDIA_VALUES_H
#define HONE_NVIDIA_VALUES_H

#include "kernels/kernel.h"

/* The numbers from 0 up to 39 or 119. */
enum { HONE_VALUES_40 = 40, HONE_VALUES_120 = 120 };

#define HONE_TENS(t) t##0, t##1, t##2, t##3, t##4, t##5, t##6, t##7, t##8, t##9
#define HONE_PARAM_40(name) HONE_PARAM(name, HONE_TENS(), HONE_TENS(1), HONE_TENS(2), HONE_TENS(3))
#define HONE_PARAM_120(name)                                                                       \
    HONE_PARAM(name, HONE_TENS(), HONE_TENS(1), HONE_TENS(2), HONE_TENS(3), HONE_TENS(4),          \
               HONE_TENS(5), HONE_TENS(6), HONE_TENS(7), HONE_TENS(8), HONE_TENS(9),               \
               HONE_TENS(10), HONE_TENS(11))

#endif
