/* Constraints as text: one function a rule, as in any parser by recursive descent, and a tree that
 * is evaluated as far as its parameters are known. */
#include "kernels/constraint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum op {
    CONSTANT, PARAM, OR, AND, EQ, NE, LE, GE, LT, GT, ADD, SUB, MUL, DIV, MOD, NOT, MIN, MAX, CEIL,
    NEEDED, OCCUPANCY
};
enum { MAX_DEPTH = 40 };

struct reader {
    struct hone_constraint *t;
    const struct hone_problem *p;
    const struct hone_device *d;
    const char *s;
    int depth, err, knows_gpu;
};

/* ---- reading ---- */

static int fail(struct reader *r, const char *expected)
{
    if (!r->err)
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: expected %s at '%.40s'",
                           r->t->kernel->name, expected, r->s);
    return 0;
}

static int add(struct reader *r, enum op op, int a, int b, int64_t value)
{
    if (r->t->n == HONE_MAX_NODES) return fail(r, "a shorter text");
    r->t->node[r->t->n] = (struct hone_node){ (int)op, a, b, value };
    return r->t->n++;
}

static int eat(struct reader *r, const char *token)
{
    while (isspace((unsigned char)*r->s)) r->s++;
    if (strncmp(r->s, token, strlen(token))) return 0;
    r->s += strlen(token);
    return 1;
}

static int either(struct reader *r);

static int param_of(const struct hone_kernel *k, const char *name, size_t len)
{
    for (int i = 0; i < HONE_MAX_PARAMS && k->param[i].name; i++)
        if (strlen(k->param[i].name) == len && !strncmp(k->param[i].name, name, len)) return i;
    return -1;
}

static int64_t vector_bytes(enum hone_isa isa)
{
    static const int64_t bytes[HONE_NISAS] = { 16, 32, 64, 64, 64 };
    return bytes[isa];
}

/* Read from the driver once a text, and only for texts that ask. */
static const struct hone_gpu_limits *gpu_of(struct reader *r)
{
    if (!r->knows_gpu++ && (r->d->description || !strcmp(r->d->backend->name, "cuda")))
        hone_gpu_limits(r->d, &r->t->gpu);
    return &r->t->gpu;
}

static int gpu_limit(struct reader *r, const char *name, size_t len, int64_t *value)
{
    static const struct { const char *name; size_t at; } limit[] = {
        { "sms", offsetof(struct hone_gpu_limits, nsms) },
        { "sm_threads", offsetof(struct hone_gpu_limits, threads) },
        { "sm_blocks", offsetof(struct hone_gpu_limits, blocks) },
        { "sm_registers", offsetof(struct hone_gpu_limits, registers) },
        { "sm_shared", offsetof(struct hone_gpu_limits, shared_bytes) },
    };
    for (size_t i = 0; i < sizeof limit / sizeof *limit; i++)
        if (strlen(limit[i].name) == len && !strncmp(limit[i].name, name, len)) {
            *value = *(const int *)((const char *)gpu_of(r) + limit[i].at);
            return 1;
        }
    if (len != strlen("thread_registers") || strncmp(name, "thread_registers", len)) return 0;
    *value = gpu_of(r)->nsms ? HONE_GPU_THREAD_REGISTERS : 0;
    return 1;
}

/* A size of the problem or a limit of the device. */
static int constant_of(struct reader *r, const char *name, size_t len, int64_t *value)
{
    const struct hone_problem *p = r->p;
    const int64_t word = (int64_t)hone_dtype_bytes(hone_dtype_wide(p->dtype));
    const struct { const char *name; int64_t value; } limit[] = {
        { "cores", r->d->ncores }, { "l1", r->d->l1_bytes }, { "l2", r->d->l2_bytes },
        { "l3", r->d->l3_bytes }, { "memory", r->d->memory_bytes },
        { "lanes", vector_bytes(r->t->kernel->isa) / word }, { "word", word },
    };
    for (int i = 0; i < HONE_MAX_DIMS && p->op->dim[i].name; i++)
        if (strlen(p->op->dim[i].name) == len && !strncmp(p->op->dim[i].name, name, len)) {
            *value = p->dim[i];
            return 1;
        }
    for (size_t i = 0; i < sizeof limit / sizeof *limit; i++)
        if (strlen(limit[i].name) == len && !strncmp(limit[i].name, name, len)) {
            *value = limit[i].value;
            return 1;
        }
    if (gpu_limit(r, name, len, value)) return 1;
    if (len != 5 || strncmp(name, "bytes", len)) return 0;
    *value = (int64_t)hone_problem_bytes(p);
    return 1;
}

static int arguments(struct reader *r, enum op op, const char *name)
{
    int a = either(r), n = 1;
    while (!r->err && eat(r, ",")) {
        int b = either(r);
        a = add(r, op, a, b, 0);
        n++;
    }
    if (!r->err && !eat(r, ")")) return fail(r, "',' or ')'");
    if (!r->err && ((op == CEIL || op == NEEDED) ? n != 2 : n < 2))
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: %s() of %d arguments",
                           r->t->kernel->name, name, n);
    if (!r->err && op == NEEDED && r->t->node[r->t->node[a].a].op != PARAM)
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: needed() of what is no parameter",
                           r->t->kernel->name);
    return a;
}

/* The least of what each bound allows; a node's value says which one it is. */
static int occupancy(struct reader *r)
{
    int arg[3], n = 0, least = -1;
    gpu_of(r);
    do arg[n++] = either(r);
    while (!r->err && n < 3 && eat(r, ","));
    if (!r->err && !eat(r, ")")) return fail(r, "')'");
    if (!r->err && n < 3)
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: occupancy() of %d arguments",
                           r->t->kernel->name, n);
    for (int by = 0; !r->err && by < HONE_NGPU_BOUNDS; by++) {
        const int node = add(r, OCCUPANCY, arg[by == HONE_BY_SHARED], arg[2], by);
        least = least < 0 ? node : add(r, MIN, least, node, 0);
    }
    return r->err ? 0 : least;
}

static int name(struct reader *r)
{
    static const struct { const char *name; enum op op; } function[] = {
        { "min", MIN }, { "max", MAX }, { "ceil", CEIL }, { "needed", NEEDED },
        { "occupancy", OCCUPANCY }
    };
    const char *s = r->s;
    size_t len = 0;
    int64_t value = 0;
    while (isalnum((unsigned char)s[len]) || s[len] == '_') len++;
    int param = param_of(r->t->kernel, s, len), constant = constant_of(r, s, len, &value);
    for (size_t i = 0; i < sizeof function / sizeof *function; i++) {
        if (strlen(function[i].name) != len || strncmp(function[i].name, s, len)) continue;
        r->s += len;
        if (!eat(r, "(")) return fail(r, "'('");
        return function[i].op == OCCUPANCY ? occupancy(r)
                                           : arguments(r, function[i].op, function[i].name);
    }
    if (param >= 0 && constant && !r->err)
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: '%.*s' is a parameter and a size",
                           r->t->kernel->name, (int)len, s);
    if (param < 0 && !constant && !r->err)
        r->err = hone_fail(HONE_EPARSE, "constraint of %s: '%.*s' is no parameter, no size of %s, "
                           "and no limit", r->t->kernel->name, (int)len, s, r->p->op->name);
    r->s += len;
    return param >= 0 ? add(r, PARAM, 0, 0, param) : add(r, CONSTANT, 0, 0, value);
}

static int factor(struct reader *r)
{
    int node = 0;
    if (r->err) return 0;
    if (++r->depth > MAX_DEPTH) return fail(r, "a less nested text");
    if (eat(r, "(")) {
        node = either(r);
        if (!r->err && !eat(r, ")")) fail(r, "')'");
    } else if (eat(r, "-")) {
        int zero = add(r, CONSTANT, 0, 0, 0), of = factor(r);
        node = add(r, SUB, zero, of, 0);
    } else if (eat(r, "!")) {
        int of = factor(r);
        node = add(r, NOT, of, of, 0);
    } else if (isdigit((unsigned char)*r->s)) {
        char *end;
        long long value = strtoll(r->s, &end, 10);
        r->s = end;
        node = add(r, CONSTANT, 0, 0, value);
    } else if (isalpha((unsigned char)*r->s)) node = name(r);
    else fail(r, "a number, a name or '('");
    r->depth--;
    return node;
}

struct token { const char *text; enum op op; };

static int match(struct reader *r, const struct token *token, enum op *op)
{
    for (; token->text; token++)
        if (eat(r, token->text)) { *op = token->op; return 1; }
    return 0;
}

static int chain(struct reader *r, int (*part)(struct reader *), const struct token *token)
{
    enum op op;
    int a = part(r);
    while (!r->err && match(r, token, &op)) {
        int b = part(r);
        a = add(r, op, a, b, 0);
    }
    return a;
}

static int product(struct reader *r)
{
    static const struct token t[] = { { "*", MUL }, { "/", DIV }, { "%", MOD }, { NULL, MUL } };
    return chain(r, factor, t);
}

static int sum(struct reader *r)
{
    static const struct token t[] = { { "+", ADD }, { "-", SUB }, { NULL, ADD } };
    return chain(r, product, t);
}

static int compared(struct reader *r)
{
    static const struct token t[] = { { "==", EQ }, { "!=", NE }, { "<=", LE }, { ">=", GE },
                                      { "<", LT },  { ">", GT },  { NULL, EQ } };
    enum op op;
    int a = sum(r);
    if (r->err || !match(r, t, &op)) return a;
    int b = sum(r);
    return add(r, op, a, b, 0);
}

static int both(struct reader *r)
{
    static const struct token t[] = { { "&&", AND }, { NULL, AND } };
    return chain(r, compared, t);
}

static int either(struct reader *r)
{
    static const struct token t[] = { { "||", OR }, { NULL, OR } };
    return chain(r, both, t);
}

static unsigned params_of(const struct hone_constraint *t, int node)
{
    const struct hone_node *x = &t->node[node];
    if (x->op == CONSTANT) return 0;
    if (x->op == PARAM) return 1u << x->value;
    return params_of(t, x->a) | params_of(t, x->b);
}

/* What is joined by && is told apart: each part ties fewer parameters. */
static void split(struct reader *r, int node)
{
    struct hone_constraint *t = r->t;
    if (t->node[node].op == AND) {
        split(r, t->node[node].a);
        split(r, t->node[node].b);
    } else if (t->nclauses == HONE_MAX_CLAUSES) fail(r, "fewer parts");
    else {
        t->params[t->nclauses] = params_of(t, node);
        t->clause[t->nclauses++] = node;
    }
}

int hone_constraint_parse(struct hone_constraint *t, const struct hone_kernel *k,
                          const struct hone_problem *p, const struct hone_device *d)
{
    struct reader r = { .t = t, .p = p, .d = d, .s = k->constraint };
    t->kernel = k;
    t->n = t->nclauses = 0;
    t->gpu = (struct hone_gpu_limits){ 0 };
    if (!k->constraint) return HONE_OK;
    int root = either(&r);
    eat(&r, "");
    if (!r.err && *r.s) fail(&r, "an operator or the end");
    if (!r.err) split(&r, root);
    return r.err;
}

/* ---- evaluating ---- */

enum state { KNOWN, UNKNOWN, BROKEN };   /* broken: divided by 0, overflowed */

struct view {
    const struct hone_constraint *t;
    const struct hone_config *c;
    unsigned known;
    int64_t *key;
    int n, max;
};

static int needed(const struct hone_constraint *t, const struct hone_node *x, int64_t value,
                  int64_t cover)
{
    const struct hone_param *q = &t->kernel->param[t->node[x->a].value];
    for (int i = 0; i < q->nvalues; i++)
        if (q->value[i] < value && q->value[i] >= cover) return 0;
    return 1;
}

/* Percent of the warps that one bound lets be in flight. */
static enum state filled(const struct hone_gpu_limits *l, enum hone_gpu_bound by, int64_t amount,
                         int64_t threads, int64_t *v)
{
    enum { WARP = 32 };
    if (amount < 0 || amount > 1 << 24 || threads < 1 || threads > 1 << 24 || l->threads < WARP)
        return BROKEN;
    *v = 100 * hone_gpu_blocks(l, by, (int)amount, (int)threads) * ((threads + WARP - 1) / WARP) /
         (l->threads / WARP);
    return KNOWN;
}

static enum state apply(const struct hone_constraint *t, const struct hone_node *x, int64_t a,
                        int64_t b, int64_t *v)
{
    if ((x->op == DIV || x->op == MOD || x->op == CEIL) && (!b || (b == -1 && a == INT64_MIN)))
        return BROKEN;
    switch (x->op) {
    case EQ: *v = a == b; break;
    case NE: *v = a != b; break;
    case LE: *v = a <= b; break;
    case GE: *v = a >= b; break;
    case LT: *v = a < b; break;
    case GT: *v = a > b; break;
    case ADD: return __builtin_add_overflow(a, b, v) ? BROKEN : KNOWN;
    case SUB: return __builtin_sub_overflow(a, b, v) ? BROKEN : KNOWN;
    case MUL: return __builtin_mul_overflow(a, b, v) ? BROKEN : KNOWN;
    case DIV: *v = a / b; break;
    case MOD: *v = a % b; break;
    case CEIL: *v = a / b + (a % b != 0 && (a > 0) == (b > 0)); break;
    case MIN: *v = a < b ? a : b; break;
    case MAX: *v = a > b ? a : b; break;
    case NEEDED: *v = needed(t, x, a, b); break;
    case OCCUPANCY: return filled(&t->gpu, (enum hone_gpu_bound)x->value, a, b, v);
    default: *v = !a; break;
    }
    return KNOWN;
}

static enum state eval(const struct view *w, int node, int64_t *v)
{
    const struct hone_node *x = &w->t->node[node];
    int64_t a = 0, b = 0;
    if (x->op == CONSTANT) { *v = x->value; return KNOWN; }
    if (x->op == PARAM) {
        *v = w->c->v[x->value];
        return w->known >> x->value & 1 ? KNOWN : UNKNOWN;
    }
    enum state left = eval(w, x->a, &a);
    if (x->op == AND || x->op == OR) {
        int decides = x->op == OR;
        if (left == BROKEN) { left = KNOWN; a = 0; }
        if (left == KNOWN && (a != 0) == decides) { *v = decides; return KNOWN; }
        enum state right = eval(w, x->b, &b);
        if (right == BROKEN) { right = KNOWN; b = 0; }
        if (right == UNKNOWN) return UNKNOWN;
        *v = !!b;
        return (b != 0) == decides ? KNOWN : left;
    }
    enum state right = eval(w, x->b, &b);
    if (left == BROKEN || right == BROKEN) {
        *v = x->op == NOT;
        return (x->op >= EQ && x->op <= GT) || x->op == NOT ? KNOWN : BROKEN;
    }
    return left == KNOWN && right == KNOWN ? apply(w->t, x, a, b, v) : UNKNOWN;
}

int hone_constraint_holds(const struct hone_constraint *t, const struct hone_config *c)
{
    struct view w = { .t = t, .c = c, .known = ~0u };
    int64_t v;
    for (int i = 0; i < t->nclauses; i++)
        if (eval(&w, t->clause[i], &v) != KNOWN || !v) return 0;
    return 1;
}

/* Adds the values of the largest known parts of an open node; each is told from an open one. */
static void summarise(struct view *w, int node)
{
    const struct hone_node *x = &w->t->node[node];
    int64_t v = 0;
    enum state state = eval(w, node, &v);
    if (w->n + 2 > w->max) { w->n = w->max + 1; return; }
    w->key[w->n++] = state;
    if (state == KNOWN) w->key[w->n++] = v;
    if (state != UNKNOWN || x->op == PARAM) return;
    summarise(w, x->a);
    if (w->n <= w->max && x->op != NOT) summarise(w, x->b);
}

enum hone_truth hone_constraint_rest(const struct hone_constraint *t, int i,
                                     const struct hone_config *c, unsigned known, int64_t *key,
                                     int *n, int max)
{
    struct view w = { .t = t, .c = c, .known = known, .key = key, .n = *n, .max = max };
    int64_t v;
    enum state state = eval(&w, t->clause[i], &v);
    if (state == BROKEN) return HONE_FAILS;
    if (state == KNOWN) return v ? HONE_HOLDS : HONE_FAILS;
    if (w.n <= w.max) summarise(&w, t->clause[i]);
    *n = w.n;
    return HONE_OPEN;
}
