/* Problems and their text: OP:DTYPE:LAYOUT:SIZES[:ATTRIBUTES]. */
#include "kernels/kernel.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t hone_arg_len(const struct hone_arg *a)
{
    int64_t n = 1;
    for (int i = 0; i < a->rank; i++) n *= a->dim[i];
    return n;
}

int64_t hone_arg_bytes(const struct hone_arg *a)
{
    return hone_arg_len(a) * (int64_t)hone_dtype_bytes(a->dtype);
}

static int dim_index(const struct hone_op *op, const char *name)
{
    for (int i = 0; i < HONE_MAX_DIMS && op->dim[i].name; i++)
        if (!strcmp(op->dim[i].name, name)) return i;
    return -1;
}

static int attr_index(const struct hone_op *op, const char *name)
{
    for (int i = 0; i < HONE_MAX_ATTRS && op->attr[i].name; i++)
        if (!strcmp(op->attr[i].name, name)) return i;
    return -1;
}

/* ---- reading ---- */

static int parse_sizes(struct hone_problem *p, const char *s, uint32_t *given)
{
    while (*s) {
        char name[16];
        int used = 0;
        char *end;
        if (sscanf(s, "%15[a-z_]%n", name, &used) != 1 || s[used] < '0' || s[used] > '9')
            return hone_fail(HONE_EPARSE, "expected a size such as '%s8' at '%s'",
                             p->op->dim[0].name, s);
        long value = strtol(s + used, &end, 10);
        int i = dim_index(p->op, name);
        if (i < 0) return hone_fail(HONE_EPARSE, "%s has no size '%s'", p->op->name, name);
        if (*given >> i & 1) return hone_fail(HONE_EPARSE, "size '%s' is given twice", name);
        if (value < p->op->dim[i].min || value > INT32_MAX)
            return hone_fail(HONE_EPARSE,
                             "size '%s' is %.*s; it must be %d or more, and fit in 31 bits", name,
                             (int)(end - s - used), s + used, p->op->dim[i].min);
        p->dim[i] = (int32_t)value;
        *given |= 1u << i;
        s = end;
    }
    return HONE_OK;
}

/* The value that print() shows, so that text and value say the same. */
static double nine_digits(double v)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", v);
    return strtod(text, NULL);
}

static int parse_attrs(struct hone_problem *p, const char *text)
{
    if (!*text) return hone_fail(HONE_EPARSE, "expected an attribute after the last ':'");
    for (const char *s = text; *s;) {
        size_t len = strcspn(s, "+");
        char word[64], *end;
        int i = -1;
        if (!len || len >= sizeof word)
            return hone_fail(HONE_EPARSE, "expected an attribute at '%s'", s);
        memcpy(word, s, len);
        word[len] = 0;
        for (int a = 0; i < 0 && a < HONE_MAX_ATTRS && p->op->attr[a].name; a++) {
            const struct hone_attr *attr = &p->op->attr[a];
            size_t n = strlen(attr->name);
            if (!attr->numeric) {
                if (!strcmp(word, attr->name)) i = a;
            } else if (!strncmp(word, attr->name, n) && word[n]) {
                double v = strtod(word + n, &end);
                if (!*end && v - v == 0) { i = a; p->value[a] = nine_digits(v); }
            }
        }
        if (i < 0) return hone_fail(HONE_EPARSE, "%s has no attribute '%s'", p->op->name, word);
        if (p->attrs >> i & 1) return hone_fail(HONE_EPARSE, "attribute '%s' is given twice", word);
        if (!p->op->attr[i].numeric || p->value[i] != p->op->attr[i].def) p->attrs |= 1u << i;
        s += len;
        if (*s == '+' && !*++s) return hone_fail(HONE_EPARSE, "expected an attribute after '+'");
    }
    return HONE_OK;
}

static int fill_in(struct hone_problem *p, uint32_t given)
{
    for (int i = 0; i < HONE_MAX_DIMS && p->op->dim[i].name; i++) {
        const struct hone_dim *d = &p->op->dim[i];
        if (given >> i & 1) continue;
        int s = d->same ? dim_index(p->op, d->same) : -1;
        assert(!d->same || (s >= 0 && s < i));   /* copied sizes come after what they copy */
        if (s >= 0 && (given >> s & 1 || d->def == HONE_REQUIRED || d->def == HONE_DERIVED))
            p->dim[i] = p->dim[s];
        else if (d->def == HONE_REQUIRED)
            return hone_fail(HONE_EPARSE, "size '%s' is missing", d->name);
        else p->dim[i] = d->def == HONE_DERIVED ? 0 : d->def;
    }
    for (int i = 0; i < HONE_MAX_NUMERIC && p->op->attr[i].name && p->op->attr[i].numeric; i++)
        if (!(p->attrs >> i & 1)) p->value[i] = p->op->attr[i].def;
    return p->op->check ? p->op->check(p) : HONE_OK;
}

static int parse_fields(char *text, struct hone_problem *p)
{
    char *field[5] = { 0 };
    int n = 0;
    for (char *s = text; s && n < 5; n++) {
        field[n] = s;
        s = strchr(s, ':');
        if (s) *s++ = 0;
        if (s && n == 4) return hone_fail(HONE_EPARSE, "more than five fields at ':%s'", s);
    }
    for (int i = 0; hone_ops[i]; i++)
        if (!strcmp(hone_ops[i]->name, field[0])) p->op = hone_ops[i];
    if (!p->op)
        return hone_fail(HONE_EPARSE, "no such op '%s'; `hone kernels` lists them", field[0]);
    if (n < 4) return hone_fail(HONE_EPARSE, "expected OP:DTYPE:LAYOUT:SIZES[:ATTRIBUTES]");

    int t = 0, l = 0;
    while (t < HONE_NDTYPES && strcmp(hone_dtype_name((enum hone_dtype)t), field[1])) t++;
    if (t == HONE_NDTYPES || !(p->op->dtypes >> t & 1))
        return hone_fail(HONE_EPARSE, "%s has no dtype '%s'", p->op->name, field[1]);
    while (p->op->layout[l] && strcmp(p->op->layout[l], field[2])) l++;
    if (!p->op->layout[l])
        return hone_fail(HONE_EPARSE, "%s has no layout '%s'", p->op->name, field[2]);
    p->dtype = (enum hone_dtype)t;
    p->layout = l;

    uint32_t given = 0;
    int err = parse_sizes(p, field[3], &given);
    if (!err && n == 5) err = parse_attrs(p, field[4]);
    return err ? err : fill_in(p, given);
}

int hone_problem_parse(const char *text, struct hone_problem *p)
{
    char copy[HONE_TEXT];
    memset(p, 0, sizeof *p);
    if (strlen(text) >= sizeof copy)
        return hone_fail(HONE_EPARSE, "problem '%.40s...' is longer than %d characters", text,
                         HONE_TEXT - 1);
    snprintf(copy, sizeof copy, "%s", text);
    int err = parse_fields(copy, p);
    return err ? hone_fail_at(err, "problem '%s'", text) : HONE_OK;
}

/* ---- printing ---- */

static int is_default(const struct hone_problem *p, int i)
{
    const struct hone_dim *d = &p->op->dim[i];
    if (d->same) {
        int s = dim_index(p->op, d->same);
        const struct hone_dim *from = &p->op->dim[s];
        /* What parse() would fill in if this size were omitted. */
        int printed = from->def < 0 || p->dim[s] != from->def;
        if (printed || d->def < 0) return p->dim[i] == p->dim[s];
        return p->dim[i] == d->def;
    }
    return d->def >= 0 && p->dim[i] == d->def;
}

struct line { char *at, *end; };

static void put(struct line *l, const char *s)
{
    while (*s && l->at < l->end) *l->at++ = *s++;
}

static void put_number(struct line *l, int v)
{
    char digits[12];
    int n = (int)sizeof digits;
    unsigned u = v < 0 ? 0u - (unsigned)v : (unsigned)v;
    digits[--n] = 0;
    do digits[--n] = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0) digits[--n] = '-';
    put(l, digits + n);
}

/* By hand: each look-up prints its problem, and printf takes longer than the look-up where a
 * library has registered conversions of its own, as libquadmath does. */
void hone_problem_print(const struct hone_problem *p, char text[HONE_TEXT])
{
    const struct hone_op *op = p->op;
    struct line l = { text, text + HONE_TEXT - 1 };
    const char *field[] = { op->name, hone_dtype_name(p->dtype), op->layout[p->layout] },
               *sep = ":";
    for (int i = 0; i < 3; i++) { put(&l, field[i]); put(&l, ":"); }
    for (int i = 0; i < HONE_MAX_DIMS && op->dim[i].name; i++) {
        if (is_default(p, i)) continue;
        put(&l, op->dim[i].name);
        put_number(&l, p->dim[i]);
    }
    for (int i = 0; i < HONE_MAX_ATTRS && op->attr[i].name; i++) {
        char value[32];
        if (!(p->attrs >> i & 1)) continue;
        put(&l, sep);
        put(&l, op->attr[i].name);
        sep = "+";
        if (!op->attr[i].numeric) continue;
        snprintf(value, sizeof value, "%.9g", p->value[i]);
        put(&l, value);
    }
    *l.at = 0;
}

/* ---- asking ---- */

int hone_problem_equal(const struct hone_problem *p, const struct hone_problem *q)
{
    return p->op == q->op && p->dtype == q->dtype && p->layout == q->layout &&
           p->attrs == q->attrs && !memcmp(p->dim, q->dim, sizeof p->dim) &&
           !memcmp(p->value, q->value, sizeof p->value);
}

int hone_problem_has(const struct hone_problem *p, const char *name)
{
    int i = attr_index(p->op, name);
    assert(i >= 0);
    return p->attrs >> i & 1;
}

double hone_problem_bytes(const struct hone_problem *p)
{
    struct hone_arg arg[HONE_MAX_ARGS] = { 0 };
    double bytes = 0;
    int n = p->op->args(p, arg);
    for (int i = 0; i < n; i++)
        bytes += (double)hone_arg_bytes(&arg[i]) * (arg[i].io == HONE_INOUT ? 2 : 1);
    return bytes;
}
