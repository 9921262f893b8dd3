/* Parameters and repetition in net texts:
 *
 *     param NAME=VALUE...         defaults, which `--net resnet56:n=3` replaces
 *     let NAME=VALUE...           names a value until the end of the block
 *     repeat NAME=A..B ... end    both ends included; B < A: not at all
 *     if VALUE ... else ... end   0 is false
 *
 * and {expressions} in any line, of which these lines are made too.  Lines are run where they
 * stand, so that an error has the place that its writer knows. */
#include "nets/expand.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Runaway texts end soon: the largest of known nets have a few thousand layers. */
enum { MAX_BLOCKS = 16, MAX_LINES = 200000, MAX_WORDS = 64 };

enum kind { PLAIN, PARAM, LET, REPEAT, IF, ELSE, END };
static const char *const keyword[] = { "", "param", "let", "repeat", "if", "else", "end" };

struct line {
    char *text;         /* without its comment */
    enum kind kind;
    int next;           /* of repeat, if and else: where the block ends, its `end` or `else` */
};

struct run {
    struct hone_expand *e;
    struct hone_names names;
    struct line *line;
    int nlines, done;   /* lines run */
    char *out;          /* a line with its expressions replaced */
    char *set;          /* e->set, cut up */
    struct { const char *name, *value; int used; } given[HONE_MAX_NAMES];
    int ngiven;
};

static int block(struct run *r, int from, int to);

/* ---- the text, cut into lines ---- */

static enum kind kind_of(const char *text)
{
    text += strspn(text, " \t\r");
    size_t len = strcspn(text, " \t\r");
    for (int k = PARAM; k <= END; k++)
        if (strlen(keyword[k]) == len && !strncmp(text, keyword[k], len)) return (enum kind)k;
    return PLAIN;
}

static int cut(struct run *r, char *text)
{
    size_t n = 1, longest = 0;
    for (const char *s = text; *s; s++) n += *s == '\n';
    r->line = calloc(n, sizeof *r->line);
    if (!r->line) return hone_fail(HONE_ENOMEM, "%zu lines", n);
    while (*text) {
        size_t len = strcspn(text, "\n");
        int last = !text[len];
        text[len] = 0;
        struct line *l = &r->line[r->nlines++];
        l->text = text;
        l->text[strcspn(l->text, "#")] = 0;
        l->kind = kind_of(l->text);
        if (len > longest) longest = len;
        text += len + !last;
    }
    /* The shortest expression, {n}, becomes at most a whole word. */
    r->out = malloc((longest + 1) * HONE_NAME / 3 + HONE_NAME);
    return r->out ? HONE_OK : hone_fail(HONE_ENOMEM, "a line of %zu bytes", longest);
}

/* Finds each block's end. */
static int match(struct run *r)
{
    int open[MAX_BLOCKS], n = 0, i = 0;
    for (; i < r->nlines; i++) {
        enum kind kind = r->line[i].kind;
        r->e->last = i + 1;
        if (kind == ELSE && (!n || r->line[open[n - 1]].kind != IF))
            return hone_fail(HONE_EPARSE, "'else' without 'if'");
        if (kind == END && !n) return hone_fail(HONE_EPARSE, "'end' without 'repeat' or 'if'");
        if (kind == PARAM && n)
            return hone_fail(HONE_EPARSE, "'param' inside of '%s'",
                             keyword[r->line[open[n - 1]].kind]);
        if (kind == ELSE || kind == END) r->line[open[--n]].next = i;
        if ((kind == REPEAT || kind == IF || kind == ELSE) && n == MAX_BLOCKS)
            return hone_fail(HONE_EPARSE, "more than %d blocks in each other", MAX_BLOCKS);
        if (kind == REPEAT || kind == IF || kind == ELSE) open[n++] = i;
    }
    if (!n) return HONE_OK;
    r->e->last = open[n - 1] + 1;
    return hone_fail(HONE_EPARSE, "'%s' without 'end'", keyword[r->line[open[n - 1]].kind]);
}

/* "n=3,width=32". */
static int read_set(struct run *r)
{
    char *rest = r->set;
    for (char *item; rest && (item = strsep(&rest, ","));) {
        char *equals = strchr(item, '=');
        if (!equals || equals == item || !equals[1])
            return hone_fail(HONE_EINVAL, "'%s': expected name=value", item);
        *equals = 0;
        for (int i = 0; i < r->ngiven; i++)
            if (!strcmp(r->given[i].name, item))
                return hone_fail(HONE_EINVAL, "parameter '%s' is given twice", item);
        if (r->ngiven == HONE_MAX_NAMES)
            return hone_fail(HONE_EINVAL, "more than %d parameters", HONE_MAX_NAMES);
        r->given[r->ngiven].name = item;
        r->given[r->ngiven++].value = equals + 1;
    }
    return HONE_OK;
}

/* ---- lines ---- */

/* Copies the line to r->out with its expressions replaced. */
static int replace(struct run *r, const char *s)
{
    char *to = r->out;
    while (*s) {
        struct hone_value v;
        char expr[HONE_MAX_EXPR];
        if (*s == '}') return hone_fail(HONE_EPARSE, "a } without {");
        if (*s != '{') {
            *to++ = *s++;
            continue;
        }
        size_t len = strcspn(++s, "{}");
        if (s[len] != '}') return hone_fail(HONE_EPARSE, "a { without }");
        if (len >= sizeof expr)
            return hone_fail(HONE_EPARSE, "an expression of more than %zu letters",
                             sizeof expr - 1);
        memcpy(expr, s, len);
        expr[len] = 0;
        int err = hone_expr_compute(&r->names, expr, &v);
        if (err) return err;
        hone_value_print(&v, to);
        to += strlen(to);
        s += len + 1;
    }
    *to = 0;
    return HONE_OK;
}

static int split(char *line, char *word[MAX_WORDS])
{
    int n = 0;
    char *rest = line;
    for (char *w; n < MAX_WORDS && (w = strtok_r(rest, " \t\r", &rest)); n++) word[n] = w;
    return n;
}

static int is_name(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_') return 0;
    return isalpha((unsigned char)s[0]) && len < HONE_NAME;
}

/* Cuts "NAME=VALUE" in two. */
static int split_pair(const struct run *r, char *word, char **value)
{
    *value = strchr(word, '=');
    if (!*value) return hone_fail(HONE_EPARSE, "'%s': expected NAME=VALUE", word);
    *(*value)++ = 0;
    int i = hone_names_find(&r->names, word);
    if (!is_name(word))
        return hone_fail(HONE_EPARSE, "'%s': expected a name: a letter, then letters, digits or _",
                         word);
    if (i >= 0 && r->names.at[i].is_param)
        return hone_fail(HONE_EPARSE, "'%s' is already a parameter", word);
    return HONE_OK;
}

static int add_name(struct run *r, const char *name, const struct hone_value *v)
{
    struct hone_names *names = &r->names;
    if (names->n == HONE_MAX_NAMES)
        return hone_fail(HONE_EPARSE, "more than %d names", HONE_MAX_NAMES);
    snprintf(names->at[names->n].name, HONE_NAME, "%s", name);
    names->at[names->n].is_param = 0;
    names->at[names->n++].value = *v;
    return HONE_OK;
}

static void list(char text[HONE_TEXT], const char *separator, const char *name,
                 const struct hone_value *v)
{
    char value[HONE_NAME];
    size_t len = strlen(text);
    hone_value_print(v, value);
    snprintf(text + len, HONE_TEXT - len, "%s%s=%s", len ? separator : "", name, value);
}

/* A parameter's value: the one given, else the default.  Where the default is a word any will do:
 * padding=same may become padding=1. */
static int add_param(struct run *r, const char *name, const struct hone_value *dflt)
{
    struct hone_value v = *dflt;
    for (int i = 0; i < r->ngiven; i++) {
        if (strcmp(r->given[i].name, name)) continue;
        int err = hone_value_read(r->given[i].value, &v);
        if (err) return hone_fail_at(err, "parameter '%s'", name);
        if (v.is_word && !dflt->is_word)
            return hone_fail(HONE_EINVAL, "parameter '%s' is '%s'; expected a number", name,
                             v.word);
        r->given[i].used = 1;
        if (!hone_value_equal(&v, dflt)) list(r->e->changed, ",", name, &v);
    }
    list(r->e->params, " ", name, &v);
    int err = add_name(r, name, &v);
    if (!err) r->names.at[r->names.n - 1].is_param = 1;
    return err;
}

static int run_names(struct run *r, const struct line *l)
{
    char *word[MAX_WORDS], *value;
    struct hone_value v;
    int n = split(r->out, word), err = HONE_OK;
    if (n < 2) return hone_fail(HONE_EPARSE, "expected '%s NAME=VALUE...'", word[0]);
    for (int i = 1; !err && i < n; i++) {
        err = split_pair(r, word[i], &value);
        if (!err) err = hone_value_read(value, &v);
        if (!err) err = l->kind == PARAM ? add_param(r, word[i], &v) : add_name(r, word[i], &v);
    }
    return err;
}

static int count(struct run *r)
{
    return ++r->done > MAX_LINES
               ? hone_fail(HONE_EPARSE, "more than %d lines, repeated ones counted", MAX_LINES)
               : HONE_OK;
}

static int run_repeat(struct run *r, int at)
{
    char *word[MAX_WORDS], *value = NULL, *end = NULL, name[HONE_NAME];
    long from = 0, to = 0;
    int err = split(r->out, word) == 2 ? split_pair(r, word[1], &value)
                                       : hone_fail(HONE_EPARSE, "expected 'repeat NAME=A..B'");
    if (err) return err;
    snprintf(name, sizeof name, "%s", word[1]);
    from = strtol(value, &end, 10);
    int good = end != value && !strncmp(end, "..", 2);
    if (good) to = strtol(value = end + 2, &end, 10);
    if (!good || end == value || *end || labs(from) > MAX_LINES || labs(to) > 1L << 31)
        return hone_fail(HONE_EPARSE, "'repeat %s': expected whole numbers A..B", name);
    for (long i = from; !err && i <= to; i++) {
        int mark = r->names.n;
        struct hone_value v = { .number = (double)i };
        err = count(r); /* an empty body's rounds too */
        if (!err) err = add_name(r, name, &v);
        if (!err) err = block(r, at + 1, r->line[at].next);
        r->names.n = mark;
    }
    return err;
}

static int run_if(struct run *r, int at)
{
    char *word[MAX_WORDS];
    struct hone_value v;
    int yes = r->line[at].next, is_else = r->line[yes].kind == ELSE;
    if (split(r->out, word) != 2) return hone_fail(HONE_EPARSE, "expected 'if {EXPRESSION}'");
    int err = hone_value_read(word[1], &v), mark = r->names.n;
    if (!err && v.is_word)
        err = hone_fail(HONE_EPARSE, "'if %s': expected a number; 0 is false", v.word);
    if (!err && v.number != 0)
        err = block(r, at + 1, yes);
    else if (!err && is_else)
        err = block(r, yes + 1, r->line[yes].next);
    r->names.n = mark;
    return err;
}

/* Where a block that begins in line `at` ends. */
static int behind(const struct run *r, int at)
{
    int end = r->line[at].next;
    return r->line[end].kind == ELSE ? r->line[end].next : end;
}

static int block(struct run *r, int from, int to)
{
    int err = HONE_OK;
    for (int i = from; !err && i < to; i++) {
        const struct line *l = &r->line[i];
        r->e->last = i + 1;
        err = count(r);
        if (!err) err = replace(r, l->text);
        if (err) break;
        switch (l->kind) {
        case PARAM:
        case LET: err = run_names(r, l); break;
        case REPEAT: err = run_repeat(r, i); break;
        case IF: err = run_if(r, i); break;
        default: err = r->e->line(r->e->ctx, i + 1, r->out);
        }
        if (!err && (l->kind == REPEAT || l->kind == IF)) i = behind(r, i);
    }
    return err;
}

/* ---- the whole ---- */

/* Parameters given that the text does not have. */
static int check_given(struct run *r)
{
    char names[HONE_TEXT] = "";
    for (int i = 0; i < r->ngiven; i++) {
        if (r->given[i].used) continue;
        r->e->last = 0;
        for (int j = 0; j < r->names.n; j++) {
            size_t len = strlen(names);
            if (!r->names.at[j].is_param) continue;
            snprintf(names + len, sizeof names - len, "%s%s", len ? ", " : "",
                     r->names.at[j].name);
        }
        return hone_fail(HONE_EINVAL, "no parameter '%s'; it has %s", r->given[i].name,
                         names[0] ? names : "none");
    }
    return HONE_OK;
}

int hone_expand_run(struct hone_expand *e, const char *text)
{
    struct run r = { .e = e };
    char *copy = strdup(text);
    r.set = e->set ? strdup(e->set) : NULL;
    e->last = 0;
    e->changed[0] = e->params[0] = 0;
    int err = copy && (r.set || !e->set) ? read_set(&r) : hone_fail(HONE_ENOMEM, "a net's text");
    if (!err) err = cut(&r, copy);
    if (!err) err = match(&r);
    if (!err) err = block(&r, 0, r.nlines);
    if (!err) err = check_given(&r);
    if (!err) e->last = r.nlines;
    free(copy);
    free(r.set);
    free(r.line);
    free(r.out);
    return err;
}
