/* Which runs a sweep has: lists and ranges of options, their product, or random draws. */
#include "results/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

static int one_of(const char *name, const char *const list[])
{
    for (; *list; list++)
        if (!strcmp(name, *list)) return 1;
    return 0;
}

/* Values of these have commas of their own: several are several options. */
static int has_commas(const char *name)
{
    static const char *const whole[] = { "augment", "schedule",        "target", "weights",
                                         "db",      "teacher-weights", NULL };
    return one_of(name, whole);
}

/* Names and paths, where ".." is no range. */
static int is_path(const char *name)
{
    static const char *const paths[] = { "net",    "teacher",         "data",
                                         "target", "weights",         "db",
                                         "device", "teacher-weights", NULL };
    return one_of(name, paths);
}

static int add_value(struct hone_sweep_option *o, const char *text, size_t len)
{
    if (o->n == HONE_SWEEP_VALUES)
        return hone_fail(HONE_EINVAL, "--%s: more than %d values", o->name, HONE_SWEEP_VALUES);
    for (int i = 0; i < o->n; i++)
        if (strlen(o->value[i]) == len && !memcmp(o->value[i], text, len))
            return hone_fail(HONE_EINVAL, "--%s: '%s' stands twice", o->name, o->value[i]);
    char **value = realloc(o->value, (size_t)(o->n + 1) * sizeof *value);
    if (value) o->value = value;
    if (!value || !(value[o->n] = strndup(text, len)))
        return hone_fail(HONE_ENOMEM, "the values of --%s", o->name);
    o->n++;
    return HONE_OK;
}

static int is_net(const char *name) { return !strcmp(name, "net") || !strcmp(name, "teacher"); }

/* Where the value that starts here ends.  NAME=VALUE behind a net is of that net: "resnet56:n=3,
 * width=32". */
static size_t value_length(const struct hone_sweep_option *o, const char *text)
{
    if (has_commas(o->name)) return strlen(text);
    size_t len = strcspn(text, ",");
    while (is_net(o->name) && memchr(text, ':', len) && text[len] == ',') {
        size_t next = strcspn(text + len + 1, ",");
        if (!memchr(text + len + 1, '=', next) || memchr(text + len + 1, ':', next)) break;
        len += 1 + next;
    }
    return len;
}

static int add_list(struct hone_sweep_option *o, const char *text)
{
    for (const char *s = text;;) {
        size_t len = value_length(o, s);
        if (!len) return hone_fail(HONE_EINVAL, "--%s '%s': an empty value", o->name, text);
        int err = add_value(o, s, len);
        if (err || !s[len]) return err;
        s += len + 1;
    }
}

static int bad_range(const struct hone_sweep_option *o, const char *text, const char *why)
{
    return hone_fail(HONE_EINVAL, "--%s %s: %s", o->name, text, why);
}

static int add_range(struct hone_sweep_option *o, const char *text)
{
    char lo[64], *end;
    const char *s = text;
    o->is_linear = !strncmp(s, "lin:", 4);
    if (o->is_linear) s += 4;
    const char *dots = strstr(s, "..");
    snprintf(lo, sizeof lo, "%.*s", dots - s < 60 ? (int)(dots - s) : 60, s);
    o->lo = strtod(lo, &end);
    int bad = end == lo || *end;
    o->hi = strtod(dots + 2, &end);
    if (bad || end == dots + 2 || *end || !isfinite(o->lo) || !isfinite(o->hi))
        return bad_range(o, text, "expected a range as 1e-4..1e-1, or lin:0..0.9");
    if (o->lo >= o->hi) return bad_range(o, text, "the range is empty: its ends go up");
    if (!o->is_linear && o->lo <= 0)
        return bad_range(o, text,
                         "a log-uniform range starts above 0; lin: before it draws "
                         "uniformly");
    o->is_whole = !strpbrk(s, "eE") && !strchr(lo, '.') && !strchr(dots + 2, '.');
    o->is_range = 1;
    return HONE_OK;
}

static struct hone_sweep_option *find(struct hone_sweep_space *space, const char *name)
{
    for (int i = 0; i < space->n; i++)
        if (!strcmp(space->option[i].name, name)) return &space->option[i];
    return NULL;
}

int hone_sweep_add(struct hone_sweep_space *space, const char *name, const char *text)
{
    struct hone_sweep_option *o = find(space, name);
    if (o && (!text || o->is_range))
        return text ? bad_range(o, text, "a range stands alone") : HONE_OK;
    if (!o) {
        if (space->n == HONE_SWEEP_OPTIONS) return hone_fail(HONE_EINVAL, "too many options");
        o = &space->option[space->n++];
        *o = (struct hone_sweep_option){ .name = name, .is_flag = !text };
    }
    if (!text) return HONE_OK;
    if (!strstr(text, "..") || is_path(name)) return add_list(o, text);
    return o->n ? bad_range(o, text, "a range stands alone") : add_range(o, text);
}

void hone_sweep_space_close(struct hone_sweep_space *space)
{
    for (int i = 0; i < space->n; i++) {
        for (int k = 0; k < space->option[i].n; k++) free(space->option[i].value[k]);
        free(space->option[i].value);
    }
    memset(space, 0, sizeof *space);
}

int hone_sweep_varies(const struct hone_sweep_option *o) { return o->is_range || o->n > 1; }

const char *hone_sweep_value(const struct hone_sweep_space *space, const char *name)
{
    struct hone_sweep_option *o = find((struct hone_sweep_space *)space, name);
    return o && o->n == 1 ? o->value[0] : NULL;
}

/* ---- points ---- */

static void set_option(json_t *options, const struct hone_sweep_option *o, const char *value)
{
    char key[HONE_TEXT];
    snprintf(key, sizeof key, "--%s", o->name);
    json_object_set_new(options, key, value ? json_string(value) : json_null());
}

void hone_sweep_free(struct hone_sweep_point *points, int n)
{
    for (int i = 0; points && i < n; i++) {
        json_decref(points[i].options);
        json_decref(points[i].record);
    }
    free(points);
}

int hone_sweep_grid(const struct hone_sweep_space *space, struct hone_sweep_point **points, int *n)
{
    double size = 1;
    for (int i = 0; i < space->n; i++) {
        const struct hone_sweep_option *o = &space->option[i];
        if (o->is_range)
            return hone_fail(HONE_EINVAL, "--%s: a range needs --search random or halving",
                             o->name);
        if (o->n) size *= o->n;
    }
    if (size > HONE_SWEEP_POINTS)
        return hone_fail(HONE_EINVAL, "%.0f runs are more than %d; --search random draws some",
                         size, HONE_SWEEP_POINTS);
    *n = (int)size;
    *points = calloc((size_t)*n, sizeof **points);
    if (!*points) return hone_fail(HONE_ENOMEM, "%d runs", *n);
    for (int p = 0; p < *n; p++) {
        int rest = p, stride = *n;
        (*points)[p].options = json_object();
        for (int i = 0; i < space->n; i++) {
            const struct hone_sweep_option *o = &space->option[i];
            if (o->n) stride /= o->n;
            set_option((*points)[p].options, o, o->n ? o->value[rest / stride] : NULL);
            rest %= stride;
        }
    }
    return HONE_OK;
}

/* What u in [0, 1) stands for; four digits are enough for a rate, and fit on a command line. */
static void draw_value(const struct hone_sweep_option *o, double u, char *text, size_t size)
{
    double hi = o->is_whole ? o->hi + 1 : o->hi;
    double v = o->is_linear ? o->lo + u * (hi - o->lo) : o->lo * pow(hi / o->lo, u);
    if (!o->is_range)
        snprintf(text, size, "%s", o->value[(int)(u * o->n)]);
    else if (o->is_whole)
        snprintf(text, size, "%.0f", fmin(floor(v), o->hi));
    else
        snprintf(text, size, "%.4g", v);
}

/* By the option's name, so that the order of options changes nothing. */
static double unit(uint64_t key, const char *name)
{
    for (; *name; name++) key = hone_random(key, (unsigned char)*name);
    return hone_random_unit(key, 0);
}

static json_t *draw(const struct hone_sweep_space *space, uint64_t seed, int trial)
{
    json_t *options = json_object();
    uint64_t key = hone_random(seed, (uint64_t)trial);
    for (int i = 0; i < space->n; i++) {
        const struct hone_sweep_option *o = &space->option[i];
        char text[4 * HONE_TEXT];
        if (!o->is_flag) draw_value(o, unit(key, o->name), text, sizeof text);
        set_option(options, o, o->is_flag ? NULL : text);
    }
    return options;
}

static int is_new(const struct hone_sweep_point *points, int n, const json_t *options)
{
    for (int i = 0; i < n; i++)
        if (json_equal(points[i].options, options)) return 0;
    return 1;
}

int hone_sweep_draw(const struct hone_sweep_space *space, int trials, uint64_t seed,
                    struct hone_sweep_point **points, int *n)
{
    *n = 0;
    *points = calloc((size_t)trials, sizeof **points);
    if (!*points) return hone_fail(HONE_ENOMEM, "%d trials", trials);
    /* A small space repeats itself; after many draws without a new one there is hardly one left. */
    for (int i = 0, stale = 0; *n < trials && stale < 1000 + 10 * *n; i++, stale++) {
        json_t *options = draw(space, seed, i);
        if (is_new(*points, *n, options)) {
            (*points)[(*n)++].options = json_incref(options);
            stale = 0;
        }
        json_decref(options);
    }
    return HONE_OK;
}
