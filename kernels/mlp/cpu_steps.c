/* Training steps of a small net on a processor, in one parallel region.  A thread takes its share
 * of the batch's rows from input to gradients, `rows` of them at a time, so that all numbers
 * between stay in its caches; then all add up each other's gradients, each for its share of the
 * parameters, and update these.
 *
 * Rows are in the lanes of vectors: what the thread has of a number of the net, over its rows, lies
 * in one run.  Products then read weights one by one where they are, forward and backward, widths
 * need no padding, and softmax and dropout work on whole vectors.  A weight's gradient is the
 * product of two runs, whose lanes are added up; or one of them is turned, rows for runs. */
#include "kernels/dropout/vector.h"
#include "kernels/gemm/dots.h"
#include "kernels/gemm/micro.h"
#include "kernels/kept.h"
#include "kernels/loss/error.h"
#include "kernels/mlp/layers.h"
#include "kernels/optimizer/steps.h"

#include <sched.h>

/* Rows at a time; vectors of them in a tile of a product; threads. */
enum { ROWS, NV, THREADS };

/* What a thread has, in numbers from its area on: over its rows, what layer l reads at a[l], and at
 * d[l] the gradient of what layer l - 1 gives before its activation; some runs of such a gradient,
 * turned, over the inputs' where those are read no more; the gradient of layer l's number i of P at
 * grad[l] + i.  Until the gradient is known there is the activation's slope times dropout's factor;
 * but relu's is seen from what layer l reads, whose place the gradient takes, as softmax's takes
 * that of what it reads. */
struct places {
    int a[MLP_MAX_LAYERS + 1], d[MLP_MAX_LAYERS + 1], turned, grad[MLP_MAX_LAYERS], size;
};

/* What a problem's and a config's numbers come to. */
struct sizes { struct mlp m; int rows, nv, threads; struct places at; };

struct job {
    const struct sizes *sizes;
    real *p, *state[2], *y, *loss, *hit, *areas;
    const real *x, *t, *hyper;
    const int32_t *label;
    const uint64_t *seed;
    uint32_t *meetings;
};

/* Rows [first, first + n) of a step's batch; more: gradients of others are there already; last: no
 * others follow. */
struct part { int step, first, n, more, last; real *area; };

HONE_JIT_INLINE int least(int a, int b) { return a < b ? a : b; }
HONE_JIT_INLINE int up(int a, int b) { return (a + b - 1) / b; }

/* Does f(l) for each of the net's layers, upwards or downwards: no loop, so that in a jit build
 * each has its own constants. */
#define LAYERS_UP(nlayers, f) \
    do { f(0) if (nlayers > 1) f(1) if (nlayers > 2) f(2) if (nlayers > 3) f(3) } while (0)
#define LAYERS_DOWN(nlayers, f) \
    do { if (nlayers > 3) f(3) if (nlayers > 2) f(2) if (nlayers > 1) f(1) f(0) } while (0)

/* Of what the layers give. */
HONE_JIT_INLINE int widest(const struct mlp *m)
{
    int most = m->width[1];
#define WIDER(l) { if (m->width[l + 1] > most) most = m->width[l + 1]; }
    LAYERS_UP(m->nlayers, WIDER);
    return most;
}

/* Vectors of runs that are turned at a time: few, for the area is to lie in L1. */
enum { TURNED = 2 };

/* Between what two threads write: lines that are fetched in pairs. */
enum { BETWEEN = 2 * HONE_ALIGN / sizeof(real) };

/* Gradients of weights that `in` runs and `out` gradients make, of n rows: products of runs, whose
 * lanes are added up, which takes 3 VL instructions for VL weights. */
HONE_INLINE int by_dots(int in, int out, int n) { return out == 1 || in * VL <= 3 * n; }

/* Instructions that products of `in` rows of vectors with `out` numbers in each take, for n terms,
 * where one of both is turned before, or the product is after: to turn VL runs, VL rows of each,
 * takes 2 VL log VL, half of them for one of the processor's units alone. */
HONE_INLINE int64_t effort(int in, int out, int n, int turned)
{
    return (int64_t)in * up(out, VL) * n + (int64_t)up(out, VL) * up(turned, VL) * 5 * VL;
}

/* The first layer's inputs are rows already, before they are runs. */
HONE_INLINE int by_inputs(const struct mlp *m, int rows)
{
    const int in = m->width[0], out = m->width[1], n = least(rows, m->mb);
    return !by_dots(in, out, n) && effort(out, in, n, out) < effort(in, out, n, n);
}

/* Layer l's numbers in P, from its weights to what pads its bias. */
HONE_JIT_INLINE int numbers_of(const struct mlp *m, int l)
{
    return m->b[l] + mlp_padded(m->width[l + 1]) - m->w[l];
}

/* Runs are turned and added up VL at a time, and the last may begin at a gradient's last run.
 * once: all of a thread's rows are one part, so that a layer's gradients may take the place of what
 * lies two layers above, where they fit: that was read before they are computed. */
HONE_JIT_INLINE struct places places_of(const struct mlp *m, int rows, int once)
{
    const int turned = least(up(widest(m), VL), TURNED) * VL * rows, inputs = m->width[0] * rows;
    const int over = by_inputs(m, rows);   /* runs that the first product alone reads */
    struct places at = { .size = over ? 0 : inputs };
#define PLACE(l)                                                                                   \
    {                                                                                              \
        at.a[l + 1] = at.size;                                                                     \
        const int in_place = l + 1 < m->nlayers ? m->act == HONE_ACT_relu : m->loss == MLP_CE;     \
        at.size += m->width[l + 1] * rows;                                                         \
        at.d[l + 1] = in_place ? at.a[l + 1] : at.size;                                            \
        at.size += in_place ? 0 : m->width[l + 1] * rows;                                          \
    }
    LAYERS_UP(m->nlayers, PLACE);
    at.turned = at.size;
    at.size += over && inputs > turned ? inputs : turned;
    if (over) at.a[0] = at.turned;
#define PLACE_GRADIENTS(l)                                                                         \
    {                                                                                              \
        const int n = numbers_of(m, l), above = least(l + 2, m->nlayers);                          \
        const int fits = once && l + 1 < m->nlayers && n <= m->width[above] * rows;                \
        at.grad[l] = (fits ? at.a[above] : at.size) - m->w[l];                                     \
        at.size += fits ? 0 : n;                                                                   \
    }
    LAYERS_UP(m->nlayers, PLACE_GRADIENTS);
    at.size += BETWEEN;
    return at;
}

HONE_JIT_INLINE struct sizes sizes_of(const struct hone_problem *p, const struct hone_config *c)
{
    struct sizes z = { .m = mlp_from(p), .nv = c->v[NV], .threads = c->v[THREADS] };
    const int most = up(up(z.m.mb, VL), z.threads) * VL;   /* of a thread's share */
    z.rows = least(c->v[ROWS], most);
    z.at = places_of(&z.m, z.rows, z.rows == most);
    return z;
}

/* Names them z.  In a jit build each function makes them of constants for itself: of a struct in
 * memory the compiler would lose sight behind the first stores, and tiles of sizes that it does
 * not know are not in registers. */
#ifdef HONE_JIT_BUILD
#define SIZES(j)                                                                                   \
    const struct sizes made = sizes_of(hone_plan_problem(NULL), hone_plan_config(NULL));           \
    const struct sizes *const z = &made
#else
#define SIZES(j) const struct sizes *const z = (j)->sizes
#endif

/* Where thread t's rows begin: whole vectors. */
HONE_JIT_INLINE int first_row(const struct sizes *z, int t)
{
    return (int)hone_part(z->m.mb, VL, z->threads, t);
}

/* ---- forward and backward: products along a layer ---- */

/* What is computed: what a layer gives; the gradient of what it reads; of its weights, from runs or
 * from the first layer's inputs. */
enum { FORWARD, BACKWARD, WEIGHTS, INPUTS };

/* Sums of so many terms, each a number of W by a vector of X's row: y(i) = bias(i) + sum w(l, i)
 * x(l), or y(i) *= sum w(i, l) x(l); rows of X and Y are runs.  With relu Y is cut, or where it is
 * positive the sum takes its place, `factor` times.  Of weights W is what the layer read, X is the
 * gradient of what it gave, turned, Y has rows of y_row numbers, the last `cols` of a tile's
 * vectors exist, and `more` adds to what is there. */
struct product {
    int terms, w_row, row, relu, y_row, cols, more;
    const real *w, *bias, *x;
    real *y, *bias_y, factor;
};

/* n numbers of v are gradients g, or more of them. */
HONE_INLINE void put(int more, real *g, vf v, int n)
{
    vf_store_n(g, more ? v + vf_load_n(g, n) : v, n);
}

HONE_INLINE void forward_tile(int mr, int nv, const struct product *t)
{
    vf s[HONE_TILE_MAX];
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) s[q] = vf_set(t->bias[q / nv]);
    hone_tile_columns(mr, nv, s, t->terms, t->w, t->w_row, t->x, t->row, nv * VL);
    if (t->relu) hone_tile_relu(mr, nv, s);
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++)
        vf_store(t->y + q / nv * t->row + q % nv * VL, s[q]);
}

HONE_INLINE void backward_tile(int mr, int nv, const struct product *t)
{
    vf s[HONE_TILE_MAX];
    hone_tile_zero(mr, nv, s);
    hone_tile_rows(mr, nv, s, t->terms, t->w, t->w_row, t->x, t->row, nv * VL);
    HONE_UNROLLED for (int q = 0; q < mr * nv; q++) {
        real *y = t->y + q / nv * t->row + q % nv * VL;
        const vf was = vf_load(y), zero = { 0 };
        vf_store(y, t->relu ? vf_select(was > zero, s[q] * t->factor, zero) : s[q] * was);
    }
}

HONE_INLINE void weights_tile(int mr, int nv, const struct product *t)
{
    vf s[HONE_TILE_MAX];
    hone_tile_zero(mr, nv, s);
    hone_tile_rows(mr, nv, s, t->terms, t->w, t->w_row, t->x, t->row, nv * VL);
    if (t->more) hone_tile_add(mr, nv, s, t->y, t->y_row, t->cols);
    hone_tile_store(mr, nv, s, t->y, t->y_row, t->cols);
}

/* As weights_tile(), but W is the gradient, X are rows of inputs, and the sums are turned. */
HONE_INLINE void inputs_tile(int mr, const struct product *t)
{
    vf s[VL];
    hone_tile_zero(VL, 1, s);
    hone_tile_rows(mr, 1, s, t->terms, t->w, t->w_row, t->x, t->row, t->cols);
    hone_transpose(s);
    HONE_UNROLLED for (int i = 0; i < VL; i++)
        if (i < t->cols) put(t->more, t->y + i * t->y_row, s[i], mr);
}

/* Runs in a tile of 1, 2 and 4 vectors. */
#if defined __AVX512F__ || defined __aarch64__
#define RUNS(nv) ((nv) == 4 ? 6 : (nv) == 2 ? 12 : 16)
#define NARROW(X) HONE_UP_TO_16(X, 1)
#define TILES(X) NARROW(X) HONE_UP_TO_12(X, 2) HONE_UP_TO_6(X, 4)
#elif defined __AVX2__
#define RUNS(nv) ((nv) == 4 ? 2 : (nv) == 2 ? 6 : 8)
#define NARROW(X) HONE_UP_TO_8(X, 1)
#define TILES(X) NARROW(X) HONE_UP_TO_6(X, 2) HONE_UP_TO_2(X, 4)
#else
#define RUNS(nv) ((nv) == 4 ? 2 : (nv) == 2 ? 4 : 8)
#define NARROW(X) HONE_UP_TO_8(X, 1)
#define TILES(X) NARROW(X) HONE_UP_TO_4(X, 2) HONE_UP_TO_2(X, 4)
#endif

/* In a jit build there are but the tiles that are called. */
#ifdef HONE_JIT_BUILD
HONE_INLINE void run_tile(int what, int mr, int nv, const struct product *t)
{
    if (what == FORWARD) forward_tile(mr, nv, t);
    else if (what == BACKWARD) backward_tile(mr, nv, t);
    else if (what == WEIGHTS) weights_tile(mr, nv, t);
    else inputs_tile(mr, t);
}
#else
typedef void tile_fn(const struct product *t);
#define X(mr, nv)                                                                                  \
    static void forward_##mr##x##nv(const struct product *t) { forward_tile(mr, nv, t); }          \
    static void backward_##mr##x##nv(const struct product *t) { backward_tile(mr, nv, t); }        \
    static void weights_##mr##x##nv(const struct product *t) { weights_tile(mr, nv, t); }
TILES(X)
#undef X
#define X(mr, nv)                                                                                  \
    static void inputs_##mr##x##nv(const struct product *t) { inputs_tile(least(mr, VL), t); }
NARROW(X)
#undef X
#define X(mr, nv)                                                                                  \
    [FORWARD][nv][mr] = forward_##mr##x##nv, [BACKWARD][nv][mr] = backward_##mr##x##nv,            \
    [WEIGHTS][nv][mr] = weights_##mr##x##nv,
#define Y(mr, nv) [INPUTS][nv][mr] = inputs_##mr##x##nv,
static tile_fn *const tiles[4][5][17] = { TILES(X) NARROW(Y) };
#undef Y
#undef X

static void run_tile(int what, int mr, int nv, const struct product *t)
{
    tiles[what][nv][mr](t);
}
#endif

/* n runs, nv vectors of each from row r on, in groups as equal as can be: the first `longer` have
 * one more. */
HONE_JIT_INLINE void down(int what, int nv, const struct product *whole, int n, int r)
{
    const int most = what == INPUTS ? least(RUNS(nv), VL) : RUNS(nv);
    const int groups = up(n, most), each = n / groups, middle = n % groups * (each + 1);
    struct product t = *whole;
    t.x += r;
    for (int i = 0; i < n; ) {
        const int count = i < middle ? each + 1 : each;
        t.w = whole->w + (what == FORWARD ? i : i * t.w_row);
        t.y = what == INPUTS    ? whole->y + r * t.y_row + i
              : what == WEIGHTS ? whole->y + i * t.y_row + r
                                : whole->y + i * t.row + r;
        if (what == FORWARD) t.bias = whole->bias + i;
        if (i < middle) run_tile(what, each + 1, nv, &t);
        else run_tile(what, each, nv, &t);
        i += count;
    }
}

HONE_JIT_INLINE void product(const struct job *j, const struct part *w, int what,
                             const struct product *t, int n)
{
    SIZES(j);
    const int end = up(w->n, VL) * VL, nv = z->nv;
    int r = 0;
    for (; r + nv * VL <= end; r += nv * VL) down(what, nv, t, n, r);
    if (nv == 4)
        for (; r + 2 * VL <= end; r += 2 * VL) down(what, 2, t, n, r);
    if (nv > 1)
        for (; r < end; r += VL) down(what, 1, t, n, r);
}

/* What dropout multiplies by what it keeps. */
HONE_JIT_INLINE real drop_factor(const struct sizes *z) { return (real)(1 / (1 - z->m.drop)); }

HONE_JIT_INLINE void forward(const struct job *j, const struct part *w, int l)
{
    SIZES(j);
    const struct product t = {
        .terms = z->m.width[l], .w_row = z->m.width[l + 1], .row = z->rows,
        .w = j->p + z->m.w[l], .bias = j->p + z->m.b[l],
        .x = w->area + z->at.a[l], .y = w->area + z->at.a[l + 1],
        .relu = z->m.act == HONE_ACT_relu && l + 1 < z->m.nlayers,
    };
    product(j, w, FORWARD, &t, z->m.width[l + 1]);
}

/* The gradient of what layer l reads, l > 0, up to the activation below. */
HONE_JIT_INLINE void backward(const struct job *j, const struct part *w, int l)
{
    SIZES(j);
    const struct product t = {
        .terms = z->m.width[l + 1], .w_row = z->m.width[l + 1], .row = z->rows,
        .w = j->p + z->m.w[l], .x = w->area + z->at.d[l + 1], .y = w->area + z->at.d[l],
        .relu = z->m.act == HONE_ACT_relu, .factor = drop_factor(z),
    };
    product(j, w, BACKWARD, &t, z->m.width[l]);
}

/* ---- activation and dropout ---- */

/* relu is done, and no slope of it is kept. */
HONE_INLINE void activate_of(enum hone_act act, const struct job *j, const struct part *w, int l)
{
    SIZES(j);
    const int n = z->m.width[l + 1], drop = z->m.drop > 0;
    const vf factor = vf_set(drop_factor(z));
    const uint64_t *seed = j->seed + 2 * w->step;
    const uint64_t key = drop ? dropout_key(seed[0], seed[1], 2 * (l + 1)) : 0;
    for (int r = 0; r < w->n; r += VL) {
        real *y = w->area + z->at.a[l + 1] + r, *slope = w->area + z->at.d[l + 1] + r;
        struct dropout_rows draws = dropout_rows(key, z->m.drop, n, w->first + r);
        for (int c = 0; c < n; c += 2) {
            vi keep[2];
            if (drop) dropout_draw(&draws, keep);
            for (int side = 0; side < 2 && c + side < n; side++, y += z->rows, slope += z->rows) {
                vf v = vf_load(y), d;
                if (act != HONE_ACT_relu) v = vf_activate(act, v);
                vf_store(y, drop ? (vf)(keep[side] & (vi)(v * factor)) : v);
                if (act == HONE_ACT_relu) continue;
                d = vf_activate_bwd(act, vf_set(1), v);
                vf_store(slope, drop ? (vf)(keep[side] & (vi)(d * factor)) : d);
            }
        }
    }
}

HONE_JIT_INLINE void activate(const struct job *j, const struct part *w, int l)
{
    SIZES(j);
    switch (z->m.act) {
    case HONE_ACT_relu: if (z->m.drop > 0) activate_of(HONE_ACT_relu, j, w, l); break;
    case HONE_ACT_relu6: activate_of(HONE_ACT_relu6, j, w, l); break;
    case HONE_ACT_leaky_relu: activate_of(HONE_ACT_leaky_relu, j, w, l); break;
    case HONE_ACT_sigmoid: activate_of(HONE_ACT_sigmoid, j, w, l); break;
    case HONE_ACT_tanh: activate_of(HONE_ACT_tanh, j, w, l); break;
    default: activate_of(HONE_ACT_none, j, w, l); break;
    }
}

/* ---- loss ---- */

/* All bits of the first n lanes. */
HONE_INLINE vi lanes_below(int n) { return vi_lanes() < (vi){ 0 } + n; }

/* Labels of n rows from `first` on. */
HONE_INLINE vi labels(const struct job *j, int64_t first, int n)
{
    const int32_t *label = j->label + first;
    vi v = { 0 };
    if (sizeof(real) == sizeof *label) return (vi)vf_load_n((const real *)label, n);
    for (int i = 0; i < VL; i++) if (i < n) v[i] = label[i];
    return v;
}

/* Softmax and cross-entropy, a vector of rows at a time; rows that are none get no gradient. */
HONE_JIT_INLINE void softmax(const struct job *j, const struct part *w)
{
    SIZES(j);
    const int n = z->m.width[z->m.nlayers], row = z->rows;
    const int64_t first = (int64_t)w->step * z->m.mb + w->first;
    const real share = 1 / (real)z->m.mb, smooth = (real)z->m.number, spread = smooth / (real)n;
    const vf zero = { 0 };
    for (int r = 0; r < w->n; r += VL) {
        const int live = least(VL, w->n - r);
        const real *x = w->area + z->at.a[z->m.nlayers] + r;
        real *dx = w->area + z->at.d[z->m.nlayers] + r;
        const vi label = labels(j, first + r, live), all = lanes_below(live);
        vf most = vf_set(-__builtin_inff()), sum = zero, depth = zero, right = zero;
        vi best = (vi){ 0 } - 1, c = { 0 };   /* -1: only NaN */
        for (int i = 0; i < n; i++, c += 1) {
            vf v = vf_load(x + i * row);
            best = (vi)vf_select(v > most, (vf)c, (vf)best);
            right = vf_select(c == label, v, right);
            most = vf_max(v, most);
        }
        for (int i = 0; i < n; i++) {
            vf v = vf_load(x + i * row) - most, e = vf_exp(v);
            vf_store(dx + i * row, e);
            sum += e;
            if (smooth != 0) depth += v;
        }
        vf loss = vf_log(sum) - (1 - smooth) * (right - most);
        if (smooth != 0) loss -= spread * depth;
        vf_store_n(j->loss + first + r, loss, live);
        vf_store_n(j->hit + first + r, vf_select(best == label, vf_set(1), zero), live);
        const vf factor = vf_select(all, share / sum, zero);
        const vf target = vf_select(all, vf_set((1 - smooth + spread) * share), zero);
        const vf rest = vf_select(all, vf_set(spread * share), zero);
        c = (vi){ 0 };
        for (int i = 0; i < n; i++, c += 1) {
            vf e = vf_load(dx + i * row);
            vf_store(dx + i * row, e * factor - vf_select(c == label, target, rest));
        }
    }
}

/* Mean squared, mean absolute or Huber's error; what is wanted is where its gradient will be. */
HONE_INLINE void errors(enum error kind, const struct job *j, const struct part *w)
{
    SIZES(j);
    const int n = z->m.width[z->m.nlayers], row = z->rows;
    const struct error_weights weights = error_weights_of(kind, z->m.mb, n, z->m.number);
    for (int r = 0; r < w->n; r += VL) {
        const int live = least(VL, w->n - r);
        const real *x = w->area + z->at.a[z->m.nlayers] + r;
        real *dx = w->area + z->at.d[z->m.nlayers] + r;
        vf sum = { 0 }, d;
        for (int i = 0; i < n; i++) {
            sum += error_of(kind, vf_load(x + i * row) - vf_load(dx + i * row), &weights, &d);
            vf_store(dx + i * row, (vf)(lanes_below(live) & (vi)d));
        }
        vf_store_n(j->loss + (int64_t)w->step * z->m.mb + w->first + r, sum / (real)n, live);
    }
}

/* Rows of n numbers as runs, and back; what is beyond the last row is 0. */
HONE_JIT_INLINE void runs_of_rows(const struct job *j, const struct part *w, const real *x, int n,
                                  int place)
{
    SIZES(j);
    const int64_t first = (int64_t)w->step * z->m.mb + w->first;
    hone_pack_rows(w->area + place, z->rows, x + first * n, n, n, w->n);
}

HONE_JIT_INLINE void rows_of_runs(const struct job *j, const struct part *w, int place, real *y,
                                  int n)
{
    SIZES(j);
    const int64_t first = (int64_t)w->step * z->m.mb + w->first;
    hone_pack_rows(y + first * n, n, w->area + place, z->rows, w->n, n);
}

HONE_JIT_INLINE void loss(const struct job *j, const struct part *w)
{
    SIZES(j);
    const int last = z->m.nlayers, n = z->m.width[last];
    rows_of_runs(j, w, z->at.a[last], j->y, n);
    if (z->m.loss != MLP_CE) runs_of_rows(j, w, j->t, n, z->at.d[last]);
    switch (z->m.loss) {
    case MLP_CE: softmax(j, w); break;
    case MLP_MSE: errors(SQUARED, j, w); break;
    case MLP_MAE: errors(ABSOLUTE, j, w); break;
    case MLP_HUBER: errors(HUBER, j, w); break;
    }
}

/* ---- gradients of weights ---- */

/* VL products of runs are a square of so many by so many, as good as VL is one. */
enum { DOWN = VL >= 16 ? 4 : VL >= 4 ? 2 : 1, ALONG = VL / DOWN };
typedef real vpart
    __attribute__((vector_size(ALONG * sizeof(real)), aligned(sizeof(real)), may_alias));

/* The sums of VL runs of n rows. */
HONE_INLINE vf sums(const real *d, int row, int n)
{
    vf s[VL];
    HONE_UNROLLED for (int i = 0; i < VL; i++) s[i] = (vf){ 0 };
    for (int r = 0; r < n; r += VL)
        HONE_UNROLLED for (int i = 0; i < VL; i++) s[i] += vf_load(d + i * row + r);
    return hone_sum_lanes(s);
}

HONE_JIT_INLINE void bias_gradients(const struct product *t, const real *d, int row, int n)
{
    for (int k = 0; k < t->y_row; k += VL)
        put(t->more, t->bias_y + k, sums(d + k * row, row, n), least(VL, t->y_row - k));
}

/* The products of DOWN runs from a on and ALONG from d on, of n rows, one after another. */
HONE_INLINE vf dots(const real *a, const real *d, int row, int n)
{
    vf s[VL];
    HONE_UNROLLED for (int q = 0; q < VL; q++) s[q] = (vf){ 0 };
    for (int r = 0; r < n; r += VL) {
        vf x[DOWN];
        HONE_UNROLLED for (int i = 0; i < DOWN; i++) x[i] = vf_load(a + i * row + r);
        HONE_UNROLLED for (int k = 0; k < ALONG; k++) {
            vf y = vf_load(d + k * row + r);
            HONE_UNROLLED for (int i = 0; i < DOWN; i++) s[i * ALONG + k] += x[i] * y;
        }
    }
    return hone_sum_lanes(s);
}

/* Products of runs, whose lanes are added up. */
HONE_JIT_INLINE void gradients_by_dots(const struct product *t, const real *d, int in)
{
    const int out = t->y_row, n = t->terms, row = t->w_row;
    bias_gradients(t, d, row, n);
    for (int i = 0; out == 1 && i < in; i += VL)
        put(t->more, t->y + i, hone_dots(t->w + i * row, row, d, n), least(VL, in - i));
    for (int k = 0; out > 1 && k < out; k += ALONG)
        for (int i = 0; i < in; i += DOWN) {
            real all[2 * VL] __attribute__((aligned(VB)));
            vf_store(all, dots(t->w + i * row, d + k * row, row, n));
            for (int q = 0; q < DOWN && i + q < in; q++) {
                real *to = t->y + (i + q) * out + k;
                if (k + ALONG > out) put(t->more, to, vf_load(all + q * ALONG), out - k);
                else if (t->more) *(vpart *)to += *(const vpart *)(all + q * ALONG);
                else *(vpart *)to = *(const vpart *)(all + q * ALONG);
            }
        }
}

/* Runs from d on as rows, one of `width` numbers for each of n; sums: of each run. */
HONE_JIT_INLINE void turn(const real *d, int row, int n, real *to, int width, vf *sums)
{
    for (int k = 0; k < width; k += VL) {
        vf sum = { 0 };
        for (int r = 0; r < n; r += VL) {
            vf v[VL];
            HONE_UNROLLED for (int i = 0; i < VL; i++) v[i] = vf_load(d + (k + i) * row + r);
            hone_transpose(v);
            HONE_UNROLLED for (int i = 0; i < VL; i++) vf_store(to + (r + i) * width + k, v[i]);
            HONE_UNROLLED for (int half = VL / 2; half; half /= 2)
                HONE_UNROLLED for (int i = 0; i < half; i++) v[i] += v[i + half];
            sum += v[0];
        }
        sums[k / VL] = sum;
    }
}

/* nv vectors of columns from k on, of all weights and the bias. */
HONE_JIT_INLINE void columns(int nv, const struct product *whole, const real *d, real *turned,
                             int in, int k)
{
    struct product t = *whole;
    vf sums[TURNED];
    turn(d + k * t.w_row, t.w_row, t.terms, turned, nv * VL, sums);
    t.x = turned;
    t.row = nv * VL;
    t.y += k;
    t.cols = least(nv * VL, t.y_row - k);
    down(WEIGHTS, nv, &t, in, 0);
    for (int v = 0; v < nv; v++)
        put(t.more, t.bias_y + k + v * VL, sums[v], least(VL, t.y_row - k - v * VL));
}

HONE_JIT_INLINE void gradients_by_rows(const struct product *t, const real *d, real *turned,
                                       int in)
{
    int k = 0;
    for (; k + VL < t->y_row; k += TURNED * VL) columns(TURNED, t, d, turned, in, k);
    if (k < t->y_row) columns(1, t, d, turned, in, k);
}

/* The inputs are rows already, before they are runs: products of d's runs and vectors of these are
 * gradients of weights, turned. */
HONE_JIT_INLINE void gradients_by_inputs(const struct product *whole, const real *d, const real *x,
                                         int n, int in)
{
    struct product t = *whole;
    bias_gradients(&t, d, t.w_row, t.terms);
    t.w = d;
    t.x = x;
    t.row = in;
    t.terms = n;
    for (int i = 0; i < in; i += VL) {
        t.cols = least(VL, in - i);
        down(INPUTS, 1, &t, t.y_row, i);
    }
}

HONE_JIT_INLINE void gradients(const struct job *j, const struct part *w, int l)
{
    SIZES(j);
    const int in = z->m.width[l], out = z->m.width[l + 1], n = up(w->n, VL) * VL;
    const real *d = w->area + z->at.d[l + 1];
    const struct product t = {
        .terms = n, .w = w->area + z->at.a[l], .w_row = z->rows,
        .more = w->more, .y = w->area + z->at.grad[l] + z->m.w[l], .y_row = out,
        .bias_y = w->area + z->at.grad[l] + z->m.b[l],
    };
    const int64_t first = (int64_t)w->step * z->m.mb + w->first;
    if (l == 0 && by_inputs(&z->m, z->rows)) {
        gradients_by_inputs(&t, d, j->x + first * in, w->n, in);
    } else if (by_dots(in, out, n)) {
        gradients_by_dots(&t, d, in);
    } else {
        gradients_by_rows(&t, d, w->area + z->at.turned, in);
    }
}

/* ---- update ---- */

/* The sum of all threads' gradients, n of them, of layer l's numbers from i on. */
HONE_INLINE vf gradient(const struct job *j, int l, int n, int i)
{
    SIZES(j);
    const real *g = j->areas + z->at.grad[l] + i;
    vf sum = flat_load(g, n);
    for (int t = 1; t < z->threads; t++) sum += flat_load(g + (int64_t)t * z->at.size, n);
    return sum;
}

/* move(n) for all numbers i of P in [from, to), n at a time. */
#define EACH_VECTOR(move)                                                                          \
    do {                                                                                           \
        int i = from;                                                                              \
        for (; i + VL <= to; i += VL) move(VL);                                                    \
        if (i < to) move(to - i);                                                                  \
    } while (0)

HONE_INLINE void sgd(int variant, const struct job *j, const real *hyper, int l, int from, int to)
{
    const struct sgd_step s = sgd_step_of(j->p, j->state[0], hyper);
#define MOVE(n) sgd_move(variant, n, &s, i, gradient(j, l, n, i))
    EACH_VECTOR(MOVE);
#undef MOVE
}

HONE_INLINE void adam(enum adam_decay decay, const struct job *j, const real *hyper, int l,
                      int from, int to)
{
    const struct adam_step s = adam_step_of(j->p, j->state[0], j->state[1], hyper);
#define MOVE(n) adam_move(decay, n, &s, i, gradient(j, l, n, i))
    EACH_VECTOR(MOVE);
#undef MOVE
}

HONE_JIT_INLINE void update_range(const struct job *j, int step, int l, int from, int to)
{
    SIZES(j);
    enum { M = 1 << SGD_MOMENTUM, N = 1 << SGD_NESTEROV, W = 1 << SGD_WD };
    const real *hyper = j->hyper + HYPER_LEN * step;
    const struct mlp *m = &z->m;
    if (m->adam && !m->wd) adam(ADAM_KEEPS, j, hyper, l, from, to);
    else if (m->adam && !m->decoupled) adam(ADAM_DECAYS, j, hyper, l, from, to);
    else if (m->adam) adam(ADAM_DECAYS_APART, j, hyper, l, from, to);
    else if (!m->momentum && !m->wd) sgd(0, j, hyper, l, from, to);
    else if (!m->momentum) sgd(W, j, hyper, l, from, to);
    else if (!m->nesterov && !m->wd) sgd(M, j, hyper, l, from, to);
    else if (!m->nesterov) sgd(M | W, j, hyper, l, from, to);
    else if (!m->wd) sgd(M | N, j, hyper, l, from, to);
    else sgd(M | N | W, j, hyper, l, from, to);
}

/* The n of layer l's numbers at `first`, as far as they are in [from, to). */
HONE_JIT_INLINE void update_within(const struct job *j, int step, int l, int from, int to,
                                   int first, int n)
{
    const int begin = first > from ? first : from, end = least(first + n, to);
    if (begin < end) update_range(j, step, l, begin, end);
}

/* Where thread t's share of layer l's parameters begins; t + 1's is where it ends.  Each thread has
 * some of every layer's: it waits for others' gradients of the last that they compute, only. */
HONE_JIT_INLINE int share_of(const struct sizes *z, int l, int t)
{
    return z->m.w[l] + (int)hone_part(numbers_of(&z->m, l), MLP_LINE, z->threads, t);
}

/* Thread t's shares; what pads them stays. */
HONE_JIT_INLINE void update(const struct job *j, int step, int t)
{
    SIZES(j);
#define UPDATE(l)                                                                                  \
    {                                                                                              \
        const int from = share_of(z, l, t), to = share_of(z, l, t + 1);                            \
        update_within(j, step, l, from, to, z->m.w[l], z->m.width[l] * z->m.width[l + 1]);         \
        update_within(j, step, l, from, to, z->m.b[l], z->m.width[l + 1]);                         \
    }
    LAYERS_DOWN(z->m.nlayers, UPDATE);
}

/* ---- what threads exchange ---- */

/* The line of p is to be this processor's, who will write to it. */
static inline void fetch_to_write(const real *p)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*p));
#else
    __builtin_prefetch(p, 1);
#endif
}

/* Lines that others had last, if they are few, are asked for long before they are needed: on
 * their way they cost nothing. */
HONE_JIT_INLINE int hastens(const struct sizes *z)
{
    enum { FEW = 32 << 10 };
    return z->threads > 1 && z->m.numbers * (int)sizeof(real) <= FEW;
}

enum { LINE = HONE_ALIGN / sizeof(real) };

/* Others have updated most of layer l's parameters. */
HONE_JIT_INLINE void fetch_parameters(const struct job *j, int l)
{
    SIZES(j);
    if (!hastens(z)) return;
    for (int i = share_of(z, l, 0); i < share_of(z, l, z->threads); i += LINE)
        __builtin_prefetch(j->p + i);
}

/* Others are done with layer l, more or less: what thread t adds up of their gradients, and the
 * parameters that it will update. */
HONE_JIT_INLINE void fetch_share(const struct job *j, int t, int l)
{
    SIZES(j);
    if (!hastens(z)) return;
    for (int i = share_of(z, l, t); i < share_of(z, l, t + 1); i += LINE) {
        for (int other = 0; other < z->threads; other++)
            if (other != t)
                __builtin_prefetch(j->areas + (int64_t)other * z->at.size + z->at.grad[l] + i);
        fetch_to_write(j->p + i);
    }
}

/* Numbers between two threads' places in j->meetings. */
enum { APART = 2 * HONE_ALIGN / sizeof(uint32_t) };

/* Every thread of the team has come to its meeting number n, counted from 1, before any goes on.
 * OpenMP's own barrier wakes sleepers by a system call each time, of which a step of 10 us has
 * none to spare; a thread that waits for long lets others have its processor. */
static inline void meet(const struct job *j, uint32_t n)
{
    enum { SPINS = 10000 };
    uint32_t *const own = j->meetings + hone_thread() * APART;
    __atomic_store_n(own, n, __ATOMIC_RELEASE);
    for (int t = 0, spins = 0; t < hone_threads(); t++)
        while (__atomic_load_n(j->meetings + t * APART, __ATOMIC_ACQUIRE) < n)
            if (++spins > SPINS) sched_yield();
}

/* ---- steps ---- */

/* A part of thread t's rows from input to gradients. */
HONE_JIT_INLINE void some_rows(const struct job *j, const struct part *w, int t)
{
    SIZES(j);
    const int last = z->m.nlayers - 1;
    if (!w->more) fetch_parameters(j, 0);
    runs_of_rows(j, w, j->x, z->m.width[0], z->at.a[0]);
#define THERE(l)                                                                                   \
    {                                                                                              \
        if (l < last && !w->more) fetch_parameters(j, l + 1);                                      \
        forward(j, w, l);                                                                          \
        if (l < last) activate(j, w, l);                                                           \
    }
    LAYERS_UP(z->m.nlayers, THERE);
    loss(j, w);
#define BACK(l)                                                                                    \
    {                                                                                              \
        gradients(j, w, l);                                                                        \
        if (l > 0) backward(j, w, l);                                                              \
        if (l < last && w->last) fetch_share(j, t, l + 1);                                         \
    }
    LAYERS_DOWN(z->m.nlayers, BACK);
}

/* Thread t's rows of a step. */
HONE_JIT_INLINE void all_rows(const struct job *j, int step, int t)
{
    SIZES(j);
    const int alike = z->m.mb % (VL * z->threads) == 0, begin = first_row(z, t);
    const int n = alike ? z->m.mb / z->threads : first_row(z, t + 1) - begin;
    struct part w = { .step = step, .area = j->areas + (int64_t)t * z->at.size };
    for (int r = 0; r < n; r += z->rows) {
        w.first = begin + r;
        w.n = n % z->rows == 0 ? z->rows : least(z->rows, n - r);
        w.more = r > 0;
        w.last = r + z->rows >= n;
        some_rows(j, &w, t);
    }
}

/* ---- the kernel ---- */

extern const struct hone_kernel HONE_SYM(mlp_cpu_steps);

/* Rows at a time are worth trying if fewer do not hold all already. */
static int useful(const struct hone_param *q, int value, int size)
{
    int i = 0;
    while (i < q->nvalues && q->value[i] != value) i++;
    return i == 0 || q->value[i - 1] < size;
}

static int valid(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d)
{
    const int share = up(up(p->dim[MLP_MB], VL), c->v[THREADS]);
    (void)d;
    return c->v[THREADS] <= p->dim[MLP_MB] / VL + (c->v[THREADS] == 1) &&
           c->v[NV] <= share && c->v[NV] * VL <= c->v[ROWS] &&
           useful(&HONE_SYM(mlp_cpu_steps).param[ROWS], c->v[ROWS], share * VL);
}

static const char *refuse(const struct hone_problem *p, const struct hone_device *d)
{
    const union { uint64_t whole; uint32_t half[2]; } order = { 1 };
    (void)d;
    return order.half[0] || !(p->value[MLP_DROP] > 0) ? NULL : "processor is big-endian";
}

/* Threads meet twice a step, which takes one about 1 us for 50,000 operations. */
static void guess(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c)
{
    const struct hone_param *q = HONE_SYM(mlp_cpu_steps).param;
    const int best = VB == 64 ? 4 : 2;
    c->v[THREADS] = hone_guess_threads(d, p->op->flops(p) / p->dim[MLP_S] / 5e4);
    while (c->v[THREADS] > 1 && c->v[THREADS] > p->dim[MLP_MB] / VL) c->v[THREADS] /= 2;
    c->v[NV] = best;
    while (c->v[NV] > up(up(p->dim[MLP_MB], VL), c->v[THREADS])) c->v[NV] /= 2;
    /* As many rows as L1 holds, more or less; or L2, where L1 has no room for the weights either,
     * which are read anew for each part of the rows. */
    c->v[ROWS] = q[ROWS].value[0];
    for (int i = 0; i < q[ROWS].nvalues; i++) {
        struct hone_config more = *c;
        more.v[ROWS] = q[ROWS].value[i];
        if (!valid(p, &more, d)) continue;
        const struct sizes z = sizes_of(p, &more);
        const int64_t word = (int64_t)sizeof(real),
                      most = z.m.numbers * word > d->l1_bytes ? d->l2_bytes / 2
                                                              : d->l1_bytes * 3 / 2;
        if (valid(p, c, d) && z.at.size * word > most) break;
        *c = more;
    }
}

static size_t workspace(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d)
{
    const struct sizes z = sizes_of(p, c);
    (void)d;
    return (size_t)z.threads * ((size_t)z.at.size * sizeof(real) + APART * sizeof(uint32_t));
}

static int prepare(struct hone_plan *plan)
{
    const struct sizes z = sizes_of(hone_plan_problem(plan), hone_plan_config(plan));
    return hone_plan_keep(plan, &z, sizeof z);
}

HONE_JIT_INLINE struct job job_at(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct job j = { .sizes = plan->priv };
    SIZES(&j);
    const struct mlp_args *at = &z->m.arg;
    j.p = mem[at->p];
    for (int i = 0; i < 2; i++) j.state[i] = at->state[i] < 0 ? NULL : mem[at->state[i]];
    j.y = mem[at->y];
    j.loss = mem[at->loss];
    j.hit = at->hit < 0 ? NULL : mem[at->hit];
    j.x = mem[at->x];
    j.t = mem[at->t];
    j.label = mem[at->t];
    j.hyper = mem[at->hyper];
    j.seed = at->seed < 0 ? NULL : mem[at->seed];
    j.areas = workspace;
    j.meetings = (uint32_t *)(j.areas + (int64_t)z->threads * z->at.size);
    return j;
}

static int run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    const int threads = hone_plan_config(plan)->v[THREADS];
    if (threads == 1) {
        const struct job j = job_at(plan, mem, workspace);
        SIZES(&j);
        for (int s = 0; s < z->m.steps; s++) {
            all_rows(&j, s, 0);
            update(&j, s, 0);
        }
        return HONE_OK;
    }
    const struct job job = job_at(plan, mem, workspace);
    for (int t = 0; t < threads; t++) job.meetings[t * APART] = 0;
#pragma omp parallel num_threads(threads)
    {
        /* Fewer threads than asked for compute the same bits. */
        const struct job j = job_at(plan, mem, workspace);
        SIZES(&j);
        uint32_t meetings = 0;
        for (int s = 0; s < z->m.steps; s++) {
            for (int t = hone_thread(); t < threads; t += hone_threads()) all_rows(&j, s, t);
            meet(&j, ++meetings);
            for (int t = hone_thread(); t < threads; t += hone_threads()) {
                fetch_share(&j, t, 0);
                update(&j, s, t);
            }
            if (s + 1 < z->m.steps) meet(&j, ++meetings);   /* the region's end is one */
        }
    }
    return HONE_OK;
}

static const struct hone_op *const ops[] = { &hone_op_mlp_mse, &hone_op_mlp_mae, &hone_op_mlp_huber,
                                             &hone_op_mlp_ce, 0 };

const struct hone_kernel HONE_SYM(mlp_cpu_steps) = {
    .name = HONE_NAME("cpu_steps"), .ops = ops, .backend = &hone_backend_cpu, .isa = HONE_THIS_ISA,
    .dtypes = HONE_THIS_DTYPES,
    .param = {
        HONE_PARAM("rows", 16, 32, 64, 128, 256, 512), HONE_PARAM("nv", 1, 2, 4),
        HONE_PARAM("threads", 1, 2, 4, 8, 16, 32, 64),
    },
    .refuse = refuse, .valid = valid, .guess = guess, .workspace = workspace,
    .prepare = prepare, .release = hone_plan_forget, .run = run,
};
