/* The optimizers' numbers. */
#include "nets/nets.h"

#include <math.h>

/* Indices into the hyper-parameters of the ops sgd and adam. */
enum { LR, MOMENTUM, BETA1 = 1, BETA2, EPSILON, WEIGHT_DECAY, C1, C2 };

const char *hone_optimizer_name(enum hone_optimizer o)
{
    static const char *const name[] = { [HONE_SGD] = "sgd", [HONE_ADAM] = "adam" };
    return name[o];
}

struct hone_optim hone_optim_default(enum hone_optimizer o)
{
    return (struct hone_optim){ .kind = o,
                                .lr = o == HONE_ADAM ? 0.001 : 0.01,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .epsilon = 1e-8 };
}

void hone_optim_hyper(const struct hone_optim *o, int64_t t, float hyper[8])
{
    for (int i = 0; i < 8; i++) hyper[i] = 0;
    hyper[LR] = (float)(o->lr / (1 + o->decay * (double)t));
    hyper[WEIGHT_DECAY] = (float)o->weight_decay;
    hyper[MOMENTUM] = (float)o->momentum;
    if (o->kind != HONE_ADAM) return;
    hyper[BETA1] = (float)o->beta1;
    hyper[BETA2] = (float)o->beta2;
    hyper[EPSILON] = (float)o->epsilon;
    hyper[C1] = (float)(1 / (1 - pow(o->beta1, (double)t + 1)));
    hyper[C2] = (float)(1 / sqrt(1 - pow(o->beta2, (double)t + 1)));
}
