/* Blocks: races of the same candidates in processes of their own, put together.  A racer's figure
 * is the median over blocks of its logarithm over the leader's, and of blocks apart in time the
 * mean, since the median of two states jumps from one to the other; its interval comes from how
 * much blocks differ.  A few blocks say little of their own spread, so that of all racers stands
 * for half of it (an inverse gamma prior, as in empirical Bayes). */
#include "autotune/blocks.h"

#include <math.h>
#include <string.h>

static const double TIE = 1.01;      /* within this the rule of ties decides, not time */
static const double ROUGH = 1.02;    /* how far off a close rival may be in the end */
static const double SECOND = 2;      /* who was slower by less in the first block, a process
                                      * that may have been an unlucky one, is asked again */
static const double APART = 1.05;    /* nobody nearer than this: two blocks will do */
static const double USUAL_SPREAD = 0.008;   /* of ratios between processes, before any is known */
/* Half an interval of what a state of the machine (neighbours, clocks) does to a ratio for longer
 * than a session, and so no repetition within it averages out. */
static const double LASTING = 0.006;

enum {
    PRIOR = 4,          /* blocks that what is usual counts for */
    LEAST = 3, ALONE = 2,   /* blocks in any case; where nobody is near */
    MOMENTS = 4,            /* likewise of blocks apart, before which nobody is dropped */
    ROUGHLY = 6,        /* blocks after which only rough ties go on */
    AGAIN = 8           /* dropped in the first block, but asked again, at most */
};

/* ---- figures ---- */

static double median_of(const double *v, int n)
{
    double t[HONE_BLOCKS];
    memcpy(t, v, (size_t)n * sizeof *t);
    return hone_stats_of(t, n).median;
}

static double figure_of(const struct hone_blocks *b, const double *d, int n)
{
    double sum = 0;
    if (!b->apart) return median_of(d, n);
    for (int k = 0; k < n; k++) sum += d[k];
    return sum / n;
}

/* Logarithms of i over j, of the blocks that both ran in.  Returns how many. */
static int over(const struct hone_blocks *b, int i, int j, double d[HONE_BLOCKS])
{
    const int n = b->of[i].n < b->of[j].n ? b->of[i].n : b->of[j].n;
    for (int k = 0; k < n; k++) d[k] = log(b->of[i].ms[k] / b->of[j].ms[k]);
    return n;
}

/* The sum of squares about the figure.  What is far out by the median of deviations counts as three
 * times that (with Croux and Rousseeuw's factors for small samples, 1992): one unlucky process does
 * not make all the others uncertain.  Blocks apart stand as they are: a state that the machine was
 * in once it will be in again. */
static double squares(const struct hone_blocks *b, const double *d, int n)
{
    static const double small[] = { 0, 0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107 };
    const double middle = figure_of(b, d, n);
    double away[HONE_BLOCKS], sum = 0;
    for (int k = 0; k < n; k++) away[k] = fabs(d[k] - middle);
    const double spread = 1.4826 * median_of(away, n) * (n < 10 ? small[n] : n / (n - 0.8)),
                 most = b->apart ? INFINITY : 3 * fmax(spread, USUAL_SPREAD);
    for (int k = 0; k < n; k++) sum += fmin(away[k], most) * fmin(away[k], most);
    return sum;
}

/* Student's t, 97.5 % of n degrees of freedom (Abramowitz and Stegun 26.7.5). */
static double student(double n)
{
    const double z = 1.959964;
    return z + (z * z * z + z) / (4 * n) + (5 * pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * n * n);
}

static void choose_leader(struct hone_blocks *b)
{
    double least = INFINITY, d[HONE_BLOCKS];
    int any = -1;
    for (int i = 0; i < b->n && any < 0; i++)
        if (!b->of[i].out && !b->of[i].rests) any = i;
    b->leader = any;
    for (int i = 0; any >= 0 && i < b->n; i++) {
        if (b->of[i].out || b->of[i].rests) continue;
        const double figure = figure_of(b, d, over(b, i, any, d));
        if (figure < least) { least = figure; b->leader = i; }
    }
}

static void compare(struct hone_blocks *b)
{
    double d[HONE_BLOCKS], sum = PRIOR * USUAL_SPREAD * USUAL_SPREAD;
    int freedom = PRIOR;
    choose_leader(b);
    for (int i = 0; b->leader >= 0 && i < b->n; i++) {
        if (b->of[i].out || i == b->leader) continue;
        const int n = over(b, i, b->leader, d);
        sum += squares(b, d, n);
        freedom += n - 1;
    }
    for (int i = 0; b->leader >= 0 && i < b->n; i++) {
        struct hone_contender *a = &b->of[i];
        if (a->out) continue;
        const int n = over(b, i, b->leader, d);
        /* The leader's own is that of a rival's ratio to it. */
        const double pooled = sum / freedom,
                     own = i == b->leader ? pooled * (n - 1) : squares(b, d, n),
                     spread = sqrt((PRIOR * pooled + own) / (PRIOR + n - 1)),
                     /* A median's error is up to 1.25 times a mean's. */
                     loss = n > 2 && !b->apart ? 1.25 : 1,
                     within = student(PRIOR + n - 1) * loss * spread / sqrt(n),
                     half = hypot(within, LASTING),
                     figure = figure_of(b, d, n);
        a->ratio = exp(figure);
        a->lo = exp(figure - half);
        a->hi = exp(figure + half);
    }
}

/* ---- who stays ---- */

static int kept(const struct hone_blocks *b, int i)
{
    const struct hone_contender *a = &b->of[i], *lead = &b->of[b->leader];
    int library = a->kernel->build == HONE_LIB, other = a->kernel != lead->kernel;
    for (int j = 0; j < b->n; j++) {
        const struct hone_contender *c = &b->of[j];
        if (c->out || c->ratio >= a->ratio) continue;
        if (c->kernel->build == HONE_LIB) library = 0;
        if (c->kernel != lead->kernel) other = 0;
    }
    return i == b->leader || library || other || a->incumbent || a->front;
}

/* Who is clearly slower is out; who is kept for the report, and far behind, is asked no more. */
static void drop_losers(struct hone_blocks *b)
{
    int lost[HONE_RACERS] = { 0 };
    if (b->apart && b->nblocks < MOMENTS) return;
    for (int i = 0; i < b->n; i++)
        lost[i] = !b->of[i].out && b->of[i].lo > TIE && !kept(b, i);
    for (int i = 0; i < b->n; i++) {
        b->of[i].rests |= !b->of[i].out && b->nblocks >= LEAST && b->of[i].lo > APART;
        if (!lost[i]) continue;
        b->of[i].out = 1;
        snprintf(b->of[i].why, sizeof b->of[i].why,
                 "clearly slower: %.3f times the leader's time [%.3f, %.3f] in %d processes",
                 b->of[i].ratio, b->of[i].lo, b->of[i].hi, b->nblocks);
    }
}

/* Has who was dropped in the first block fewer than AGAIN before him? */
static int asked_again(const struct hone_race *r, int i, const double *ratio)
{
    int before = 0;
    for (int j = 0; j < r->n; j++)
        before += r->racer[j].out && !r->racer[j].err && ratio[j] > 0 && ratio[j] < ratio[i];
    return ratio[i] < SECOND && before < AGAIN;
}

void hone_blocks_next(const struct hone_blocks *b, struct hone_race *r)
{
    r->n = b->n;
    r->all = b->nblocks > 0;
    r->rounds = b->nblocks ? HONE_BLOCK_ROUNDS : HONE_BLOCK_FIRST;
    r->seed += 7919u * (unsigned)b->nblocks;
    memset(r->racer, 0, (size_t)b->n * sizeof *r->racer);
    for (int i = 0; i < b->n; i++) {
        r->racer[i].kernel = b->of[i].kernel;
        r->racer[i].incumbent = b->of[i].incumbent;
        r->racer[i].front = b->of[i].front;
        r->racer[i].out = b->of[i].out || b->of[i].rests;
    }
}

void hone_blocks_add(struct hone_blocks *b, const struct hone_race *r)
{
    struct hone_stats over_lead[HONE_RACERS] = { { 0 } };
    double ratio[HONE_RACERS] = { 0 };
    int lead = -1;
    const int at = b->nblocks;
    for (int i = 0; i < r->n; i++)
        if (!r->racer[i].out && r->racer[i].n &&
            (lead < 0 || hone_race_ratio(r, i, lead).median < 1))
            lead = i;
    for (int i = 0; lead >= 0 && i < r->n; i++) {
        if (!r->racer[i].n) continue;
        over_lead[i] = hone_race_ratio(r, i, lead);
        ratio[i] = over_lead[i].median;
    }
    for (int i = 0; i < r->n; i++) {
        struct hone_contender *a = &b->of[i];
        const struct hone_racer *q = &r->racer[i];
        if (a->out || a->rests) continue;
        a->rounds += q->n;
        a->ms[a->n++] = ratio[i];
        /* Of who goes no further; the others' figures are those of all blocks. */
        if (!at) a->ratio = ratio[i], a->lo = over_lead[i].lo, a->hi = over_lead[i].hi;
        if (!q->out && ratio[i] > 0) continue;
        if (!at && !q->err && ratio[i] > 0 && asked_again(r, i, ratio)) continue;
        a->out = 1;
        a->err = q->err;
        snprintf(a->why, sizeof a->why, "%s", q->why[0] ? q->why : "not timed, for lack of time");
    }
    if (lead < 0) return;
    struct hone_stats s;
    double t[HONE_RACE_ROUNDS];
    memcpy(t, r->racer[lead].ms, (size_t)r->racer[lead].n * sizeof *t);
    s = hone_stats_of(t, r->racer[lead].n);
    b->ms[b->nblocks++] = s.median;
    compare(b);
    if (at && b->leader >= 0) drop_losers(b);
}

/* ---- the end ---- */

static int is_open(const struct hone_blocks *b, int i, double level)
{
    const struct hone_contender *a = &b->of[i];
    return !a->out && i != b->leader && a->lo <= TIE && a->hi > level;
}

int hone_blocks_settled(const struct hone_blocks *b)
{
    int near = 0;
    if (b->leader < 0 || b->nblocks >= (b->most ? b->most : HONE_BLOCKS_USUAL)) return 1;
    for (int i = 0; i < b->n; i++) near += !b->of[i].out && i != b->leader && b->of[i].lo < APART;
    if (b->nblocks < (b->apart ? MOMENTS : near ? LEAST : ALONE)) return 0;
    for (int i = 0; i < b->n; i++)
        if (is_open(b, i, b->apart || b->nblocks < ROUGHLY ? TIE : ROUGH)) return 0;
    return 1;
}

double hone_blocks_doubt(const struct hone_blocks *b)
{
    double most = 0;
    if (hone_blocks_settled(b)) return 0;
    for (int i = 0; i < b->n; i++)
        if (!b->of[i].out && i != b->leader) most = fmax(most, 1 - b->of[i].lo);
    return most + 1e-3;
}

void hone_blocks_finish(struct hone_blocks *b)
{
    int known = -1;
    for (int i = 0; i < b->n; i++)
        if (!b->of[i].out && b->of[i].incumbent) known = i;
    if (known < 0 || known == b->leader) return;
    const struct hone_contender best = b->of[known];
    /* Level with the leader, or proven slower: the rule of ties, or time, decides. */
    if (best.ratio <= TIE || best.lo > TIE) return;
    for (int i = 0; i < b->n; i++) {
        struct hone_contender *a = &b->of[i];
        const double times = best.ratio / a->ratio;
        if (a->out || i == known || times <= TIE) continue;
        a->out = 1;
        snprintf(a->why, sizeof a->why,
                 "not proven faster than the best so far, which takes %.3f times as long "
                 "[%.3f, %.3f]",
                 times, best.lo, best.hi);
    }
    compare(b);
}

void hone_blocks_sample(const struct hone_blocks *b, int i, struct hone_record *rec)
{
    const struct hone_contender *a = &b->of[i], *lead = &b->of[b->leader];
    double t[HONE_BLOCKS];
    /* The leader's own times, in units of which its rivals' are. */
    for (int k = 0; k < lead->n; k++) t[k] = b->ms[k] * lead->ms[k];
    const double unit = median_of(t, lead->n);
    rec->n = a->rounds;
    rec->ms_median = unit * a->ratio;
    rec->ms_lo = unit * a->lo;
    rec->ms_hi = unit * a->hi;
}
