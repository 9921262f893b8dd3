/* CSV files: fields between commas, semicolons or tabs (whichever of tab, semicolon, comma stands
 * in the first line), quotes as in RFC 4180, LF or CRLF, with or without a header.  Every field but
 * the target must be a finite number; there is no value for "missing".  Blank lines are passed
 * over. */
#include "nets/data.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct csv {
    const char *path;
    char *text, *at, *end; /* the file's contents, NUL-terminated and cut into fields in place */
    char sep;
    int line, next_line; /* of the row read last; of the one to come */
    int ncols;           /* of the first row; 0 before it */
    int nfields;         /* of the row read last */
    char **field;        /* (ncols) */
    char **name;         /* (ncols), of a header, else NULL */
    int target, classify;
    int bare; /* 1: all columns are features */
};

/* ---- text into rows ---- */

static int slurp(struct csv *c)
{
    struct hone_file s;
    size_t size = 0, room = 1 << 16, got = 0;
    int err = hone_file_open(&s, c->path);
    if (err) return err;
    do {
        char *grown = realloc(c->text, room + 1);
        if (!grown) {
            err = hone_fail(HONE_ENOMEM, "%s: no memory for %zu bytes", c->path, room);
            break;
        }
        c->text = grown;
        err = hone_file_read(&s, c->text + size, room - size, &got);
        size += got;
        if (size < room) break;
        room *= 2;
    } while (!err);
    hone_file_close(&s);
    if (err) return err;
    c->text[size] = 0;
    c->end = c->text + size;
    const char *nul = memchr(c->text, 0, size);
    if (nul)
        return hone_fail(HONE_EDATA, "%s: byte %lld is NUL: this is not a text file", c->path,
                         (long long)(nul - c->text));
    c->at = c->text;
    if (size >= 3 && !memcmp(c->text, "\xef\xbb\xbf", 3)) c->at += 3; /* byte-order mark of UTF-8 */
    c->next_line = 1;
    return HONE_OK;
}

static int is_blank(char ch) { return ch == ' ' || ch == '\t' || ch == '\r'; }

static void skip_blank_lines(struct csv *c)
{
    for (;;) {
        char *s = c->at;
        while (is_blank(*s)) s++;
        if (*s != '\n') {
            if (!*s) c->at = s;
            return;
        }
        c->at = s + 1;
        c->next_line++;
    }
}

/* What separates: outside of quotes, a tab in the first line leaves no doubt, nor does a semicolon;
 * commas may then be part of numbers. */
static char find_separator(const char *s)
{
    int quoted = 0, semicolon = 0;
    for (; *s && (quoted || *s != '\n'); s++) {
        if (*s == '"')
            quoted = !quoted;
        else if (!quoted && *s == '\t')
            return '\t';
        else if (!quoted && *s == ';')
            semicolon = 1;
    }
    return semicolon ? ';' : ',';
}

/* Reads a quoted field at *s (its opening quote) in place; leaves *s behind the closing quote. */
static int read_quoted(struct csv *c, char **s, char **field)
{
    char *from = *s + 1, *to = from;
    int opened = c->next_line;
    *field = from;
    for (;; from++) {
        if (!*from)
            return hone_fail(HONE_EDATA, "%s:%d: column %d: this quote is never closed", c->path,
                             opened, c->nfields + 1);
        if (*from == '\n') c->next_line++;
        if (*from == '"' && *++from != '"') break;
        *to++ = *from;
    }
    *s = from;
    while (is_blank(**s) && **s != c->sep) ++*s;
    int good = !**s || **s == '\n' || **s == c->sep;
    *to = 0;
    return good ? HONE_OK
                : hone_fail(HONE_EDATA, "%s:%d: column %d: text after the closing quote", c->path,
                            c->next_line, c->nfields + 1);
}

static void read_bare(struct csv *c, char **s, char **field, char **end)
{
    while (is_blank(**s) && **s != c->sep) ++*s;
    *field = *s;
    while (**s && **s != c->sep && **s != '\n') ++*s;
    *end = *s;
    while (*end > *field && is_blank((*end)[-1])) --*end;
}

/* Reads the next row's fields; *more is 0 at the end of the file.  Fields beyond ncols are counted,
 * not kept. */
static int next_row(struct csv *c, int *more)
{
    skip_blank_lines(c);
    *more = c->at < c->end;
    c->line = c->next_line;
    c->nfields = 0;
    for (char *s = c->at; *more;) {
        char *field, *end = NULL;
        while (is_blank(*s) && *s != c->sep) s++;
        int err = HONE_OK;
        if (*s == '"')
            err = read_quoted(c, &s, &field);
        else
            read_bare(c, &s, &field, &end);
        if (err) return err;
        char stop = *s;
        if (end) *end = 0;
        if (c->nfields < c->ncols) c->field[c->nfields] = field;
        c->nfields++;
        c->at = s + (stop != 0);
        if (stop != c->sep) {
            c->next_line += stop == '\n';
            break;
        }
        s++;
    }
    return HONE_OK;
}

/* ---- what a field is ---- */

static int is_number(const char *s, double *v)
{
    char *end;
    if (!*s || s[strspn(s, "0123456789+-.eE")]) return 0; /* strtod() also reads hex, inf and nan */
    *v = strtod(s, &end);
    return end > s && !*end;
}

static int is_missing(const char *s)
{
    static const char *const word[] = { "", "?", "NA", "N/A", "NaN", "nan", "NULL", "null" };
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (!strcmp(s, word[i])) return 1;
    return 0;
}

static int is_word(const char *s)
{
    double v;
    return !is_missing(s) && !is_number(s, &v);
}

/* "FILE:7: column 3 'rooms'", to begin a message with. */
static const char *place(const struct csv *c, int column, char text[700])
{
    char name[HONE_NAME];
    int n = snprintf(text, 700, "%.500s:%d: column %d", c->path, c->line, column + 1);
    if (c->name) {
        hone_data_text(name, c->name[column]);
        snprintf(text + n, 700 - (size_t)n, " '%s'", name);
    }
    return text;
}

/* ---- header and target ---- */

/* The number of words in the row, leaving out column `but`; *last is the last of them. */
static int words(const struct csv *c, int but, int *last)
{
    int n = 0;
    for (int j = 0; j < c->ncols; j++)
        if (j != but && is_word(c->field[j])) {
            *last = j;
            n++;
        }
    return n;
}

static int no_column(const struct csv *c, const char *target, char **name)
{
    char list[300] = "", text[HONE_NAME];
    size_t len = 0;
    double v;
    if (is_number(target, &v))
        return hone_fail(HONE_EDATA, "%s: no column %s: there are %d", c->path, target, c->ncols);
    for (int j = 0; name && j < c->ncols && len < sizeof list; j++) {
        hone_data_text(text, name[j]);
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", j ? ", " : "", text);
    }
    if (!name)
        return hone_fail(HONE_EDATA,
                         "%s: no column '%s': there is no header; use a number from 1 to %d",
                         c->path, target, c->ncols);
    return hone_fail(HONE_EDATA, "%s:%d: no column '%s' among %s%s", c->path, c->line, target, list,
                     len < sizeof list ? "" : "...");
}

/* Tells from the first row whether it is a header, and which column `target` means (-1: not given).
 */
static int read_first(struct csv *c, const char *target)
{
    int last = -1, column = -1, header;
    double v;
    if (target && is_number(target, &v) && v >= 1 && v <= c->ncols && v == floor(v))
        column = (int)v - 1;
    int n = words(c, column, &last);
    /* One word alone is the class of a first row, unless the target stands elsewhere. */
    header = n > 1 || (n == 1 && (column >= 0 || c->bare));
    c->target = column;
    if (target && column < 0) header = n > 0;
    for (int j = 0; target && header && j < c->ncols; j++)
        if (!strcmp(c->field[j], target)) {
            c->target = j;
            break;
        }
    if (target && c->target < 0) return no_column(c, target, header ? c->field : NULL);
    if (!header) return HONE_OK;
    c->name = malloc((size_t)c->ncols * sizeof *c->name);
    if (!c->name) return hone_fail(HONE_ENOMEM, "%s: no memory for %d columns", c->path, c->ncols);
    memcpy(c->name, c->field, (size_t)c->ncols * sizeof *c->name);
    return HONE_OK;
}

/* Counts the first row's fields, then reads it and, after a header, the first row of data. */
static int begin(struct csv *c, const char *target)
{
    int more, last = -1;
    skip_blank_lines(c);
    if (c->at == c->end) return hone_fail(HONE_EDATA, "%s: the file has no rows", c->path);
    c->sep = find_separator(c->at);
    size_t most = 1;
    int quoted = 0;
    for (const char *s = c->at; *s && (quoted || *s != '\n'); s++) {
        quoted ^= *s == '"';
        most += *s == c->sep;
    }
    if (most >= INT_MAX / 2)
        return hone_fail(HONE_EDATA, "%s:%d: too many columns", c->path, c->next_line);
    c->field = malloc(most * sizeof *c->field);
    if (!c->field) return hone_fail(HONE_ENOMEM, "%s: no memory for %zu columns", c->path, most);
    c->ncols = (int)most;
    int err = next_row(c, &more);
    if (err) return err;
    if (c->nfields > c->ncols)
        return hone_fail(HONE_EDATA, "%s:%d: quotes in the middle of fields", c->path, c->line);
    c->ncols = c->nfields;
    if (c->ncols < 2 && !c->bare)
        return hone_fail(
            HONE_EDATA,
            "%s:%d: one column only: no comma, semicolon or tab parts a target from features",
            c->path, c->line);
    err = read_first(c, target);
    if (!err && c->name) {
        err = next_row(c, &more);
        if (!err && !more)
            err = hone_fail(HONE_EDATA, "%s: there are no rows after the header", c->path);
    }
    if (err || c->nfields != c->ncols || c->bare) return err;
    if (c->target < 0) c->target = words(c, -1, &last) == 1 ? last : c->ncols - 1;
    c->classify |= is_word(c->field[c->target]);
    return HONE_OK;
}

/* ---- rows into numbers ---- */

struct rows {
    int64_t n, room;
    float *x, *y;
    char **label; /* texts of classes, in c->text */
};

static int nfeatures(const struct csv *c) { return c->ncols - !c->bare; }

static int grow(struct csv *c, struct rows *r)
{
    if (r->n < r->room) return HONE_OK;
    int64_t room = r->room ? 2 * r->room : 256,
            bytes = hone_mul(room, (int64_t)sizeof(float) * nfeatures(c));
    float *x = bytes < 0 ? NULL : realloc(r->x, (size_t)bytes);
    if (x) r->x = x;
    float *y = realloc(r->y, (size_t)room * sizeof *y);
    if (y) r->y = y;
    char **label = realloc(r->label, (size_t)room * sizeof *label);
    if (label) r->label = label;
    if (!x || !y || !label)
        return hone_fail(HONE_ENOMEM, "%s:%d: no memory for %lld rows", c->path, c->line,
                         (long long)room);
    r->room = room;
    return HONE_OK;
}

static int ragged(const struct csv *c)
{
    char text[700];
    if (c->nfields > c->ncols)
        return hone_fail(HONE_EDATA, "%s:%d: %d fields, but the first line has %d", c->path,
                         c->line, c->nfields, c->ncols);
    return hone_fail(HONE_EDATA, "%s: missing: the row ends after %d of %d fields",
                     place(c, c->nfields, text), c->nfields, c->ncols);
}

static int wrong(const struct csv *c, int j, const char *why)
{
    char text[700], field[HONE_NAME];
    hone_data_text(field, c->field[j]);
    return hone_fail(HONE_EDATA, "%s: '%s' %s", place(c, j, text), field, why);
}

static int take_number(const struct csv *c, int j, float *to)
{
    char text[700];
    double v;
    if (is_missing(c->field[j]))
        return hone_fail(HONE_EDATA, "%s: the value is missing", place(c, j, text));
    if (!is_number(c->field[j], &v)) return wrong(c, j, "is not a number");
    if (!(fabs(v) <= FLT_MAX)) return wrong(c, j, "is too large for f32");
    *to = (float)v;
    return HONE_OK;
}

static int take_row(struct csv *c, struct rows *r)
{
    char text[700];
    int err = c->nfields == c->ncols ? grow(c, r) : ragged(c);
    if (err) return err;
    float *x = r->x + r->n * nfeatures(c);
    for (int j = 0; !err && j < c->ncols; j++) {
        if (j != c->target)
            err = take_number(c, j, x++);
        else if (!c->classify)
            err = take_number(c, j, &r->y[r->n]);
        else if (is_missing(c->field[j]))
            err = hone_fail(HONE_EDATA, "%s: the class is missing", place(c, j, text));
        else
            r->label[r->n] = c->field[j];
    }
    r->n += !err;
    return err;
}

/* ---- classes ---- */

/* Numbers come first and by value, then words: 2 before 10 before "ten". */
static int by_class(const void *pa, const void *pb)
{
    const char *a = *(char *const *)pa, *b = *(char *const *)pb;
    double x = 0, y = 0;
    int na = is_number(a, &x), nb = is_number(b, &y);
    if (na != nb) return nb - na;
    if (na && x != y) return x < y ? -1 : 1;
    return strcmp(a, b);
}

/* Numbers the classes in their order, whatever the order of rows. */
static int make_labels(const struct csv *c, struct rows *r, struct hone_data *d)
{
    char **class = malloc((size_t)r->n * sizeof *class);
    int64_t n = 0;
    d->label = malloc((size_t)r->n * sizeof *d->label);
    if (class && d->label) {
        memcpy(class, r->label, (size_t)r->n * sizeof *class);
        qsort(class, (size_t)r->n, sizeof *class, by_class);
        for (int64_t i = 0; i < r->n; i++)
            if (!n || strcmp(class[n - 1], class[i])) class[n++] = class[i];
        d->class_name = calloc((size_t)n, sizeof *d->class_name);
    }
    if (!d->class_name || n > INT_MAX) {
        free(class);
        return hone_fail(HONE_ENOMEM, "%s: no memory for %lld classes", c->path, (long long)n);
    }
    d->classes = (int)n;
    for (int64_t k = 0; k < n; k++) hone_data_text(d->class_name[k], class[k]);
    for (int64_t i = 0; i < r->n; i++) {
        char **at = bsearch(&r->label[i], class, (size_t)n, sizeof *class, by_class);
        d->label[i] = (int32_t)(at - class);
    }
    free(class);
    return HONE_OK;
}

static int finish(const struct csv *c, struct rows *r, struct hone_data *d)
{
    d->rows = r->n;
    d->h = d->w = 1;
    d->c = nfeatures(c);
    d->x = r->x;
    r->x = NULL;
    if (c->name) {
        d->feature = calloc((size_t)d->c, sizeof *d->feature);
        if (!d->feature)
            return hone_fail(HONE_ENOMEM, "%s: no memory for %d columns", c->path, c->ncols);
        for (int j = 0, f = 0; j < c->ncols; j++)
            if (j != c->target) hone_data_text(d->feature[f++], c->name[j]);
    }
    if (c->bare) return HONE_OK;
    if (c->classify) return make_labels(c, r, d);
    d->outputs = 1;
    d->y = r->y;
    r->y = NULL;
    return HONE_OK;
}

static int read_csv(struct csv *c, struct hone_data *d, const char *target)
{
    struct rows r = { 0 };
    int more = 1, err = slurp(c);
    if (!err) err = begin(c, target);
    while (!err && more) {
        err = take_row(c, &r);
        if (!err) err = next_row(c, &more);
    }
    if (!err) err = finish(c, &r, d);
    free(r.x);
    free(r.y);
    free(r.label);
    free(c->text);
    free(c->field);
    free(c->name);
    return err;
}

int hone_csv_read(struct hone_data *d, const char *path, const char *target)
{
    struct csv c = { .path = path, .target = -1 };
    if (target && !strncmp(target, "class:", 6)) {
        c.classify = 1;
        target = target[6] ? target + 6 : NULL;
    }
    return read_csv(&c, d, target);
}

int hone_csv_read_features(struct hone_data *d, const char *path)
{
    struct csv c = { .path = path, .target = -1, .bare = 1 };
    memset(d, 0, sizeof *d);
    snprintf(d->source, sizeof d->source, "%s", path);
    snprintf(d->name, sizeof d->name, "%.*s", HONE_NAME - 1, path);
    return read_csv(&c, d, NULL);
}
