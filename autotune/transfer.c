/* What other problems and devices teach of this one: a candidate is expected to stand as far from
 * the best as its likes of the same kernel did there.  Lessons count by how near their problem is,
 * and in a lesson every config counts by how near its values are. */
#include "autotune/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values are compared by their logarithms: 128 and 256 are as far apart as 1 and 2. */
static const double NEAR = 0.5;

double hone_problem_distance(const struct hone_problem *p, const struct hone_problem *q)
{
    double sum = 0;
    int i = 0;
    for (; i < HONE_MAX_DIMS && p->op->dim[i].name && q->op->dim[i].name; i++) {
        if (strcmp(p->op->dim[i].name, q->op->dim[i].name)) return 8;
        double d = log2((p->dim[i] + 1.0) / (q->dim[i] + 1.0));
        sum += d * d;
    }
    if (i < HONE_MAX_DIMS && (p->op->dim[i].name || q->op->dim[i].name)) return 8;
    return sqrt(sum) + 2 * (p->op != q->op) + (p->dtype != q->dtype) +
           0.5 * (p->layout != q->layout);
}

static double apart(const struct hone_choice *a, const struct hone_choice *b, int n)
{
    double sum = 0;
    for (int p = 0; p < n; p++)
        if (a->v[p] != b->v[p])
            sum += 0.2 + fabs(log2((abs(a->v[p]) + 1.0) / (abs(b->v[p]) + 1.0)));
    return sum;
}

static double best_of(const struct hone_lesson *l)
{
    double best = 0;
    for (int i = 0; i < l->pool->n; i++)
        if (l->ms[i] > 0 && (best <= 0 || l->ms[i] < best)) best = l->ms[i];
    return best;
}

static const struct hone_pool_kernel *same_kernel(const struct hone_pool *pool,
                                                  const struct hone_pool_kernel *k)
{
    for (int i = 0; i < pool->nkernels; i++)
        if (!strcmp(pool->kernel[i].name, k->name) && pool->kernel[i].nparams == k->nparams)
            return &pool->kernel[i];
    return NULL;
}

/* Adds what the lesson says of candidate i. */
static void learn(const struct hone_pool *pool, int i, const struct hone_pool_kernel *taught,
                  const struct hone_lesson *l, double best, double *sum, double *weight)
{
    double s = 0, w = 1e-12;
    for (int j = taught->first; j < taught->first + taught->n; j++) {
        if (l->ms[j] <= 0) continue;
        double like = exp(-apart(&pool->at[i], &l->pool->at[j], taught->nparams) / NEAR);
        s += like * log(l->ms[j] / best);
        w += like;
    }
    if (w < 1e-9) return;
    *sum += l->weight * s / w;
    *weight += l->weight;
}

int hone_transfer(const struct hone_pool *pool, const struct hone_lesson *lesson, int n,
                  double *prior)
{
    int taught = 0;
    for (int i = 0; i < pool->n; i++) prior[i] = NAN;
    double *weight = calloc((size_t)pool->n + 1, sizeof *weight);
    if (!weight) return 0;
    for (int l = 0; l < n; l++) {
        double best = best_of(&lesson[l]);
        for (int k = 0; best > 0 && k < pool->nkernels; k++) {
            const struct hone_pool_kernel *q = &pool->kernel[k],
                                          *as = same_kernel(lesson[l].pool, q);
            for (int i = q->first; as && i < q->first + q->n; i++) {
                if (isnan(prior[i])) prior[i] = 0;
                learn(pool, i, as, &lesson[l], best, &prior[i], &weight[i]);
            }
        }
    }
    for (int i = 0; i < pool->n; i++) {
        prior[i] = weight[i] > 0 ? prior[i] / weight[i] : NAN;
        taught += weight[i] > 0;
    }
    free(weight);
    return taught;
}
