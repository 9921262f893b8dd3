/* Expressions in net texts: numbers, names, + - * / %, comparisons, a few functions.
 *
 *     comparison: sum [(== != < <= > >=) sum]        1 or 0; words only == and !=
 *     sum:        product {(+ -) product}
 *     product:    factor {(* / %) factor}            / is exact: 7 / 2 is 3.5
 *     factor:     - factor | number | name | function(sum, ...) | (comparison)
 *
 * One function a rule, as in any parser by recursive descent. */
#include "nets/expand.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32, MAX_OPERANDS = 32 };

struct reader {
    const struct hone_names *names;
    const char *s;
    int depth;
};

/* ---- values ---- */

int hone_value_read(const char *text, struct hone_value *v)
{
    char *end;
    *v = (struct hone_value){ .is_word = 1 };
    int is_number = isdigit((unsigned char)text[text[0] == '-']) || text[0] == '.';
    double number = is_number ? strtod(text, &end) : 0;
    if (is_number && !*end && isfinite(number)) {
        *v = (struct hone_value){ .number = number };
        return HONE_OK;
    }
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("_-.", text[i])) len = HONE_NAME;
    if (!len || len >= HONE_NAME)
        return hone_fail(HONE_EPARSE, "'%.40s': expected a number, or a word of at most %d letters",
                         text, HONE_NAME - 1);
    memcpy(v->word, text, len + 1);
    return HONE_OK;
}

void hone_value_print(const struct hone_value *v, char text[HONE_NAME])
{
    int whole = !v->is_word && v->number == floor(v->number) && fabs(v->number) < 1e15;
    if (v->is_word)
        snprintf(text, HONE_NAME, "%s", v->word);
    else
        snprintf(text, HONE_NAME, whole ? "%.0f" : "%.9g", v->number + 0.0);
}

int hone_value_equal(const struct hone_value *a, const struct hone_value *b)
{
    char x[HONE_NAME], y[HONE_NAME];
    if (!a->is_word && !b->is_word) return a->number == b->number;
    hone_value_print(a, x);
    hone_value_print(b, y);
    return !strcmp(x, y);
}

int hone_names_find(const struct hone_names *names, const char *name)
{
    int i = names->n - 1;
    while (i >= 0 && strcmp(names->at[i].name, name)) i--;
    return i;
}

/* ---- functions ---- */

static double least(const double v[], int n)
{
    double least = v[0];
    for (int i = 1; i < n; i++) least = fmin(least, v[i]);
    return least;
}

static double most(const double v[], int n)
{
    double most = v[0];
    for (int i = 1; i < n; i++) most = fmax(most, v[i]);
    return most;
}

/* pick(2, a, b, c) is b; beyond the list, no number. */
static double pick(const double v[], int n)
{
    return v[0] >= 1 && v[0] < n && v[0] == floor(v[0]) ? v[(int)v[0]] : NAN;
}

static double down(const double v[], int n) { return (void)n, floor(v[0]); }
static double up(const double v[], int n) { return (void)n, ceil(v[0]); }
static double nearest(const double v[], int n) { return (void)n, floor(v[0] + 0.5); }
static double power(const double v[], int n) { return (void)n, pow(v[0], v[1]); }

static const struct {
    const char *name;
    int least, most;
    double (*of)(const double v[], int n);
} functions[] = {
    { "min", 1, MAX_OPERANDS, least }, { "max", 1, MAX_OPERANDS, most },
    { "round", 1, 1, nearest },        { "floor", 1, 1, down },
    { "ceil", 1, 1, up },              { "pow", 2, 2, power },
    { "pick", 2, MAX_OPERANDS, pick },
};
enum { NFUNCTIONS = sizeof functions / sizeof *functions };

/* ---- reading ---- */

static int comparison(struct reader *r, struct hone_value *v);

static void blanks(struct reader *r) { r->s += strspn(r->s, " \t\r"); }

/* The next thing is `token`: then it is read. */
static int takes(struct reader *r, const char *token)
{
    blanks(r);
    size_t len = strlen(token);
    if (strncmp(r->s, token, len)) return 0;
    r->s += len;
    return 1;
}

/* Reads a name; 0: there is none. */
static int takes_name(struct reader *r, char name[HONE_NAME])
{
    size_t len = 0;
    blanks(r);
    if (!isalpha((unsigned char)r->s[0])) return 0;
    while (isalnum((unsigned char)r->s[len]) || r->s[len] == '_') len++;
    snprintf(name, HONE_NAME, "%.*s", (int)len, r->s);
    r->s += len;
    return 1;
}

static int give(struct hone_value *v, double number)
{
    *v = (struct hone_value){ .number = number };
    return isfinite(number) ? HONE_OK : hone_fail(HONE_EPARSE, "the result is no number");
}

static int no_name(const struct reader *r, const char *name)
{
    char list[HONE_TEXT] = "no names";
    size_t len = 0;
    for (int i = 0; i < r->names->n && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "",
                                r->names->at[i].name);
    return hone_fail(HONE_EPARSE, "no name '%s'; there are %s", name, list);
}

/* Words are for comparisons only. */
static int want_number(const struct hone_value *v)
{
    return v->is_word ? hone_fail(HONE_EPARSE, "'%s' is a word, not a number", v->word) : HONE_OK;
}

static int number_of(struct reader *r, int (*rule)(struct reader *, struct hone_value *), double *x)
{
    struct hone_value v;
    int err = rule(r, &v);
    if (!err) err = want_number(&v);
    *x = v.number;
    return err;
}

static int call(struct reader *r, const char *name, struct hone_value *v)
{
    double operand[MAX_OPERANDS];
    int n = 0, f = 0, err = HONE_OK;
    char list[HONE_TEXT] = "";
    for (; f < NFUNCTIONS && strcmp(functions[f].name, name); f++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", f ? ", " : "",
                 functions[f].name);
    if (f == NFUNCTIONS)
        return hone_fail(HONE_EPARSE, "no function '%s'; there are %s", name, list);
    do {
        if (n == MAX_OPERANDS)
            return hone_fail(HONE_EPARSE, "%s() of more than %d numbers", name, MAX_OPERANDS);
        err = number_of(r, comparison, &operand[n++]);
    } while (!err && takes(r, ","));
    if (err) return err;
    if (!takes(r, ")")) return hone_fail(HONE_EPARSE, "%s( is not closed", name);
    if (n < functions[f].least || n > functions[f].most)
        return hone_fail(HONE_EPARSE, "%s() takes %d number%s, not %d", name, functions[f].least,
                         functions[f].least < functions[f].most ? "s or more"
                         : functions[f].most > 1                ? "s"
                                                                : "",
                         n);
    return give(v, functions[f].of(operand, n));
}

static int factor(struct reader *r, struct hone_value *v)
{
    char name[HONE_NAME], *end;
    double x;
    int err = HONE_OK;
    *v = (struct hone_value){ 0 };
    if (++r->depth > MAX_DEPTH)
        return hone_fail(HONE_EPARSE, "more than %d levels deep", MAX_DEPTH);
    blanks(r);
    if (takes(r, "-")) {
        err = number_of(r, factor, &x);
        if (!err) err = give(v, -x);
    } else if (takes(r, "(")) {
        err = comparison(r, v);
        if (!err && !takes(r, ")")) err = hone_fail(HONE_EPARSE, "a ( is not closed");
    } else if (isdigit((unsigned char)*r->s) || *r->s == '.') {
        x = strtod(r->s, &end);
        if (end == r->s) return hone_fail(HONE_EPARSE, "'%.20s': expected a number", r->s);
        r->s = end;
        err = give(v, x);
    } else if (takes_name(r, name)) {
        int i = hone_names_find(r->names, name);
        if (takes(r, "(")) err = call(r, name, v);
        else if (i < 0) err = no_name(r, name);
        else *v = r->names->at[i].value;
    } else {
        err = hone_fail(HONE_EPARSE, "expected a number, a name or ( before '%.20s'", r->s);
    }
    r->depth--;
    return err;
}

static int product(struct reader *r, struct hone_value *v)
{
    int err = factor(r, v);
    while (!err) {
        double y, x = v->number;
        int op = takes(r, "*") ? '*' : takes(r, "/") ? '/' : takes(r, "%") ? '%' : 0;
        if (!op) break;
        err = want_number(v);
        if (!err) err = number_of(r, factor, &y);
        if (err) break;
        if (op != '*' && y == 0) return hone_fail(HONE_EPARSE, "division by zero");
        /* The remainder has the sign of y: (i - 1) % n counts on below zero too. */
        err = give(v, op == '*' ? x * y : op == '/' ? x / y : x - y * floor(x / y));
    }
    return err;
}

static int sum(struct reader *r, struct hone_value *v)
{
    int err = product(r, v);
    while (!err) {
        double y, x = v->number;
        int op = takes(r, "+") ? '+' : takes(r, "-") ? '-' : 0;
        if (!op) break;
        err = want_number(v);
        if (!err) err = number_of(r, product, &y);
        if (!err) err = give(v, op == '+' ? x + y : x - y);
    }
    return err;
}

/* What a word is compared with: a name's value, or else a word itself. */
static int word_or_sum(struct reader *r, struct hone_value *v)
{
    const char *from = r->s;
    char name[HONE_NAME];
    if (takes_name(r, name) && hone_names_find(r->names, name) < 0)
        return hone_value_read(name, v);
    r->s = from;
    return sum(r, v);
}

static int comparison(struct reader *r, struct hone_value *v)
{
    static const char *const ops[] = { "==", "!=", "<=", ">=", "<", ">" };
    struct hone_value w;
    int op = 0, err = sum(r, v);
    if (err) return err;
    while (op < 6 && !takes(r, ops[op])) op++;
    if (op == 6) return HONE_OK;
    err = v->is_word ? word_or_sum(r, &w) : sum(r, &w);
    if (err) return err;
    if (op < 2) return give(v, hone_value_equal(v, &w) == !op);
    if ((err = want_number(v)) || (err = want_number(&w))) return err;
    double x = v->number, y = w.number;
    return give(v, op == 2 ? x <= y : op == 3 ? x >= y : op == 4 ? x < y : x > y);
}

int hone_expr_compute(const struct hone_names *names, const char *text, struct hone_value *v)
{
    struct reader r = { .names = names, .s = text };
    int err = comparison(&r, v);
    blanks(&r);
    if (!err && *r.s) err = hone_fail(HONE_EPARSE, "'%.20s' is left over", r.s);
    return err ? hone_fail_at(err, "{%.60s}", text) : HONE_OK;
}
