/* How a session's time is shared among its problems: a net's steps, and, where these can be one op,
 * that op in place of them. */
#include "autotune/shares.h"

static const double AHEAD = 5;     /* times the other side's share */
static const double TWICE = 2;     /* as much time as the other side: it has lost */

/* What is known of the steps of one optimizer, and of the ops in place of them. */
struct sides {
    double parts;                  /* ms of the known steps together */
    int all;                       /* 1: each is known */
    int nops;
    int ahead;                     /* 1: one of the ops is not known to be slower than the steps */
    int wins;                      /* 1: all ops are faster by far */
};

static int is_of(const struct hone_share *s, int k) { return s->use.in >> k & 1; }

/* Milliseconds of one training step by the op. */
static double step_ms(const struct hone_share *s) { return s->ms / s->use.whole; }

static struct sides sides_of(const struct hone_share s[], int n, int k)
{
    struct sides x = { .all = 1, .wins = 1 };
    for (int i = 0; i < n; i++) {
        if (!is_of(&s[i], k) || s[i].use.whole) continue;
        x.parts += s[i].use.each * s[i].ms;
        x.all &= s[i].ms > 0;
    }
    for (int i = 0; i < n; i++) {
        if (!is_of(&s[i], k) || !s[i].use.whole) continue;
        x.nops++;
        x.ahead |= s[i].ms <= 0 || !x.all || step_ms(&s[i]) <= x.parts;
        x.wins &= s[i].ms > 0 && TWICE * step_ms(&s[i]) <= x.parts;
    }
    return x;
}

/* With each optimizer that it is of. */
static int has_lost(const struct hone_share s[], int n, int i)
{
    int lost = s[i].use.in != 0;
    for (int k = 0; k < HONE_MAX_OPTIMIZERS; k++) {
        if (!is_of(&s[i], k)) continue;
        const struct sides x = sides_of(s, n, k);
        lost &= s[i].use.whole ? s[i].ms > 0 && x.all && step_ms(&s[i]) >= TWICE * x.parts
                               : x.nops && x.wins;
    }
    return lost;
}

int hone_shares_whole(const struct hone_share s[], int n)
{
    int any = 0;
    for (int i = 0; i < n; i++) any |= s[i].use.whole > 0;
    return any;
}

void hone_shares_set(struct hone_share s[], int n)
{
    double sum[2] = { 0, 0 }, side[2] = { 1, 1 };   /* of steps, of ops */
    int count[2] = { 0, 0 };
    for (int k = 0; k < HONE_MAX_OPTIMIZERS; k++) {
        const struct sides x = sides_of(s, n, k);
        if (x.nops) side[x.ahead] = AHEAD;
    }
    for (int i = 0; i < n; i++) {
        const int op = s[i].use.whole > 0;
        s[i].lost = has_lost(s, n, i);
        if (s[i].lost) continue;
        count[op]++;
        sum[op] += s[i].use.times * s[i].estimate;
    }
    for (int i = 0; i < n; i++) {
        const int op = s[i].use.whole > 0;
        const double of = count[!op] ? side[op] / (side[0] + side[1]) : 1,
                     even = 1.0 / (count[op] ? count[op] : 1),
                     all = s[i].use.times * s[i].estimate;
        s[i].share = s[i].lost ? 0 : of * (0.5 * even + 0.5 * (sum[op] > 0 ? all / sum[op] : even));
    }
}
