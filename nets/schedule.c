/* Learning rates over time: a pure function of the step's number, so that a run that goes on from a
 * checkpoint needs nothing but that number. */
#include "nets/nets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- text: constant, step:30,60:0.1, cosine, exp:0.95 ---- */

/* A number above 0, up to the end of the text or one of `ends`. */
static int number(const char **s, const char *ends, double *v)
{
    char *end;
    *v = strtod(*s, &end);
    if (end == *s || !isfinite(*v) || !(*v > 0) || !strchr(ends, *end)) return 0;
    *s = end;
    return 1;
}

static int parse_steps(const char *s, struct hone_schedule *to)
{
    do {
        s++;
        if (to->nat == HONE_MAX_MILESTONES || !number(&s, ",:", &to->at[to->nat])) return 0;
        if (to->nat && to->at[to->nat] <= to->at[to->nat - 1]) return 0;
        to->nat++;
    } while (*s == ',');
    s += *s == ':';
    return number(&s, "", &to->factor);
}

int hone_schedule_parse(const char *text, struct hone_schedule *to)
{
    struct hone_schedule s = { .warmup = to->warmup,
                               .epochs = to->epochs,
                               .steps_per_epoch = to->steps_per_epoch };
    size_t len = strcspn(text, ":");
    const char *rest = text + len + 1;
    int good = 0;
    if (!strcmp(text, "constant") || !strcmp(text, "cosine")) {
        s.kind = text[1] == 'o' && text[2] == 's' ? HONE_COSINE : HONE_CONSTANT;
        good = 1;
    } else if (!strncmp(text, "step:", 5)) {
        s.kind = HONE_STEPS;
        good = parse_steps(text + 4, &s);
    } else if (!strncmp(text, "exp:", 4)) {
        s.kind = HONE_EXP;
        good = number(&rest, "", &s.factor);
    }
    if (!good)
        return hone_fail(HONE_EPARSE,
                         "schedule '%s': expected constant, step:EPOCH,EPOCH,...:FACTOR with "
                         "epochs that rise (at most %d), cosine, or exp:FACTOR",
                         text, HONE_MAX_MILESTONES);
    *to = s;
    return HONE_OK;
}

void hone_schedule_print(const struct hone_schedule *s, char text[HONE_TEXT])
{
    static const char *const name[] = { [HONE_CONSTANT] = "constant",
                                        [HONE_STEPS] = "step",
                                        [HONE_COSINE] = "cosine",
                                        [HONE_EXP] = "exp" };
    int n = snprintf(text, HONE_TEXT, "%s", name[s->kind]);
    for (int i = 0; i < s->nat; i++)
        n += snprintf(text + n, (size_t)(HONE_TEXT - n), "%c%.9g", i ? ',' : ':', s->at[i]);
    if (s->factor != 0) snprintf(text + n, (size_t)(HONE_TEXT - n), ":%.9g", s->factor);
}

/* ---- the rate ---- */

/* Goyal et al. 2017 (warm-up), Loshchilov and Hutter 2017 (cosine, without restarts). */
double hone_optim_lr(const struct hone_optim *o, int64_t t)
{
    const struct hone_schedule *s = &o->schedule;
    const double epoch = s->steps_per_epoch > 0 ? (double)s->steps_per_epoch : 1, at = (double)t;
    const double warm = round(s->warmup * epoch), all = (double)s->epochs * epoch;
    const double after = fmax(0, at - warm);
    double lr = o->lr / (1 + o->decay * at);
    if (at < warm) lr *= (at + 1) / warm;
    if (s->kind == HONE_COSINE) lr *= 0.5 * (1 + cos(M_PI * fmin(1, after / fmax(1, all - warm))));
    if (s->kind == HONE_EXP) lr *= pow(s->factor, after / epoch);
    for (int i = 0; i < s->nat; i++)
        if (at >= round(s->at[i] * epoch)) lr *= s->factor;
    return lr;
}
