/* hone report compare: two records of hone profile, part by part.  What cannot be compared is
 * refused; what makes a comparison weaker stands above it. */
#include "results/layers.h"
#include "results/output.h"

#include <argp.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_TIMES = 6, MAX_NOTES = 8 }; /* fewer times give no interval of 95 % for a median */

static const double alike = 0.01;

enum word { FASTER, SLOWER, SAME, UNCLEAR, NWORDS };
static const char *const word_name[NWORDS] = { "FASTER", "SLOWER", "SAME", "UNCLEAR" };

/* B over A; NAN: has no interval. */
struct ratio {
    double at, lo, hi;
    enum word word;
};

struct pair {
    const struct hone_layers_step *a, *b; /* one of them may be NULL */
    const char *version[2];
    struct ratio ratio;
};

struct comparison {
    struct hone_layers a, b;
    int shares, npairs, count[NWORDS], nonly[2], nnotes;
    struct pair *pair; /* (npairs) in A's order, then those of B alone */
    struct ratio step;
    char note[MAX_NOTES][256];
};

/* ---- ratios ---- */

static enum word judge(const struct ratio *r)
{
    if (isnan(r->lo) || isnan(r->hi)) return UNCLEAR;
    if (r->lo >= 1 - alike && r->hi <= 1 + alike) return SAME;
    return r->hi < 1 ? FASTER : r->lo > 1 ? SLOWER : UNCLEAR;
}

/* The interval of a ratio from the intervals of both of its sides, in logarithms: Zou and Donner
 * 2008, Statistics in Medicine 27, pp. 1693-1702.  Equal numbers are one measurement, not two.
 * B's times count `scale`-fold. */
static struct ratio ratio_of(const struct hone_stats *a, const struct hone_stats *b, double scale)
{
    struct ratio r = { b->median / a->median * scale, NAN, NAN, UNCLEAR };
    if (a->n == b->n && a->median == b->median && a->lo == b->lo && a->hi == b->hi && scale == 1)
        r.lo = r.hi = r.at;
    else if (a->n >= LEAST_TIMES && b->n >= LEAST_TIMES && a->lo > 0 && b->lo > 0) {
        r.lo = r.at * exp(-hypot(log(b->median / b->lo), log(a->hi / a->median)));
        r.hi = r.at * exp(hypot(log(b->hi / b->median), log(a->median / a->lo)));
    }
    r.word = judge(&r);
    return r;
}

/* ---- what can be compared ---- */

static const char *text_at(const struct hone_layers *l, const char *name)
{
    const char *text = json_string_value(json_object_get(l->root, name));
    return text ? text : "";
}

static int refuse(const struct hone_layers *a, const struct hone_layers *b)
{
    if (strcmp(a->net, b->net) || strcmp(text_at(a, "params"), text_at(b, "params")))
        return hone_fail(HONE_EINVAL, "cannot be compared: A is of the net %s %s, B of %s %s",
                         a->net, text_at(a, "params"), b->net, text_at(b, "params"));
    if (a->batch != b->batch)
        return hone_fail(HONE_EINVAL, "cannot be compared: A has batches of %d, B of %d", a->batch,
                         b->batch);
    if (strcmp(a->dtype, b->dtype))
        return hone_fail(HONE_EINVAL, "cannot be compared: A is in %s, B in %s", a->dtype,
                         b->dtype);
    return HONE_OK;
}

static void note(struct comparison *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct comparison *c, const char *fmt, ...)
{
    va_list ap;
    if (c->nnotes == MAX_NOTES) return;
    va_start(ap, fmt);
    vsnprintf(c->note[c->nnotes++], sizeof c->note[0], fmt, ap);
    va_end(ap);
}

static void take_notes(struct comparison *c)
{
    const struct hone_layers *a = &c->a, *b = &c->b;
    if (json_equal(a->root, b->root)) {
        note(c, "one record, compared with itself");
        return;
    }
    if (strcmp(text_at(a, "device_id"), text_at(b, "device_id")))
        note(c, "other devices: A ran on %.100s, B on %.100s", a->device_text, b->device_text);
    note(c, "other sessions: where other programs run, times of two sessions differ by more than "
            "their intervals; --shares takes out what slows all parts alike, and `hone bench` "
            "measures in turns");
    if (a->roof_threads != b->roof_threads)
        note(c, "other numbers of threads: A had %d, B %d", a->roof_threads, b->roof_threads);
    if (fabs(a->roof_share - b->roof_share) > 0.1)
        note(c, "the machine was not equally busy: A's roofs had %.0f %% of the processors, B's "
                "%.0f %%", 100 * a->roof_share, 100 * b->roof_share);
    if (strcmp(a->optimizer, b->optimizer))
        note(c, "other optimizers: %.100s in A, %.100s in B", a->optimizer, b->optimizer);
}

/* ---- pairs ---- */

static int op_length(const struct hone_layers_step *s) { return (int)strcspn(s->problem, ":"); }

/* A layer may run an op more than once: then the first is compared with the first. */
static void key_of(json_t *seen, const struct hone_layers_step *s, char key[256])
{
    int n = snprintf(key, 220, "%.80s\n%.40s\n%.*s", s->layer, s->phase,
                     op_length(s) < 90 ? op_length(s) : 90, s->problem);
    json_int_t times = json_integer_value(json_object_get(seen, key));
    json_object_set_new(seen, key, json_integer(times + 1));
    snprintf(key + n, (size_t)(256 - n), "\n%lld", (long long)times);
}

static const char *version_of(const struct hone_layers *l, const struct hone_layers_step *s)
{
    json_t *steps = json_object_get(l->root, "steps");
    const char *v = json_string_value(
        json_object_get(json_array_get(steps, (size_t)(s - l->step_of)), "version"));
    return v ? v : "";
}

static void add_pair(struct comparison *c, const struct hone_layers_step *a,
                     const struct hone_layers_step *b)
{
    struct pair *p = &c->pair[c->npairs++];
    *p = (struct pair){ .a = a, .b = b, .ratio = { NAN, NAN, NAN, UNCLEAR } };
    p->version[0] = a ? version_of(&c->a, a) : "";
    p->version[1] = b ? version_of(&c->b, b) : "";
    if (!a || !b) {
        c->nonly[!a]++;
        return;
    }
    p->ratio = ratio_of(&a->ms, &b->ms, c->shares ? c->a.parts_ms / c->b.parts_ms : 1);
    c->count[p->ratio.word]++;
}

static int match(struct comparison *c)
{
    json_t *of_b = json_object(), *seen[2] = { json_object(), json_object() };
    char key[256];
    c->pair = calloc((size_t)c->a.nsteps + (size_t)c->b.nsteps, sizeof *c->pair);
    int bad = !c->pair || !of_b || !seen[0] || !seen[1];
    for (int i = 0; !bad && i < c->b.nsteps; i++) {
        key_of(seen[1], &c->b.step_of[i], key);
        bad = json_object_set_new(of_b, key, json_integer(i));
    }
    for (int i = 0; !bad && i < c->a.nsteps; i++) {
        key_of(seen[0], &c->a.step_of[i], key);
        json_t *at = json_object_get(of_b, key);
        add_pair(c, &c->a.step_of[i], at ? &c->b.step_of[json_integer_value(at)] : NULL);
        json_object_del(of_b, key);
    }
    json_t *at;
    const char *name;
    if (!bad) json_object_foreach(of_b, name, at)
        add_pair(c, NULL, &c->b.step_of[json_integer_value(at)]);
    json_decref(of_b);
    json_decref(seen[0]);
    json_decref(seen[1]);
    return bad ? hone_fail(HONE_ENOMEM, "%d parts", c->a.nsteps + c->b.nsteps) : HONE_OK;
}

static int compare(struct comparison *c)
{
    int err = refuse(&c->a, &c->b);
    if (err) return err;
    take_notes(c);
    c->step = ratio_of(&c->a.step, &c->b.step, 1);
    return match(c);
}

/* ---- memory: planned is exact, and has no interval ---- */

struct amount {
    const char *name;
    int64_t a, b;
};

enum { NAMOUNTS = 8 };

static void amounts(const struct comparison *c, struct amount to[NAMOUNTS])
{
    const struct hone_layers_memory *a = &c->a.memory, *b = &c->b.memory;
    const struct amount all[NAMOUNTS] = {
        { "weights", a->weights, b->weights },
        { "gradients", a->gradients, b->gradients },
        { "optimizer", a->optimizer, b->optimizer },
        { "activations", a->activations, b->activations },
        { "workspace", a->workspace, b->workspace },
        { "batch", a->batch, b->batch },
        { "planned", a->planned, b->planned },
        { "peak_resident", a->peak, b->peak },
    };
    memcpy(to, all, sizeof all);
}

/* ---- table ---- */

static void print_ratio(const struct ratio *r, FILE *f)
{
    if (isnan(r->at))
        fprintf(f, " %7s %-15s", "-", "");
    else if (isnan(r->lo))
        fprintf(f, " %7.3f %-15s", r->at, "[? ?]");
    else
        fprintf(f, " %7.3f [%6.3f %6.3f]", r->at, r->lo, r->hi);
}

static void print_side(const struct hone_layers_step *s, FILE *f)
{
    if (s)
        fprintf(f, " %9.4f %5.1f%%", s->ms.median, 100 * s->share);
    else
        fprintf(f, " %9s %6s", "-", "-");
}

static void print_kernel(const struct hone_layers_step *s, FILE *f)
{
    fprintf(f, "%s%s%s%s", s->kernel, strcmp(s->config, "-") ? " " : "",
            strcmp(s->config, "-") ? s->config : "", s->tuned ? "" : " (untuned)");
}

static int same_kernel(const struct pair *p)
{
    return !strcmp(p->a->kernel, p->b->kernel) && !strcmp(p->a->config, p->b->config);
}

static const char *word_of(const struct pair *p)
{
    return !p->b ? "ONLY A" : !p->a ? "ONLY B" : word_name[p->ratio.word];
}

static void print_pair(const struct pair *p, FILE *f)
{
    const struct hone_layers_step *s = p->a ? p->a : p->b;
    fprintf(f, "%-10s %-7s %-14.*s", s->layer, s->phase, op_length(s), s->problem);
    print_side(p->a, f);
    print_side(p->b, f);
    print_ratio(&p->ratio, f);
    fprintf(f, " %-7s  ", word_of(p));
    print_kernel(s, f);
    if (p->a && p->b && !same_kernel(p)) {
        fputs(" -> ", f);
        print_kernel(p->b, f);
    } else if (p->a && p->b && strcmp(p->version[0], p->version[1]))
        fputs(" (another version)", f);
    if (p->a && p->b && strcmp(p->a->problem, p->b->problem))
        fprintf(f, " (%s -> %s)", p->a->problem, p->b->problem);
    putc('\n', f);
}

static void print_sum(const char *name, double a, double b, const struct ratio *r, FILE *f)
{
    fprintf(f, "%-33s %9.4f %6s %9.4f %6s", name, a, "", b, "");
    if (r) {
        print_ratio(r, f);
        fprintf(f, " %s\n", word_name[r->word]);
    } else
        fprintf(f, " %7.3f\n", b / a);
}

static double phase_ms(const struct hone_layers *l, const char *name)
{
    for (int i = 0; i < l->nphases; i++)
        if (!strcmp(l->phase[i].name, name)) return l->phase[i].ms;
    return 0;
}

static void print_sums(const struct comparison *c, FILE *f)
{
    putc('\n', f);
    for (int i = 0; i < c->a.nphases; i++) {
        double b = phase_ms(&c->b, c->a.phase[i].name);
        if (b > 0) print_sum(c->a.phase[i].name, c->a.phase[i].ms, b, NULL, f);
    }
    print_sum("parts, the sum of their medians", c->a.parts_ms, c->b.parts_ms, NULL, f);
    print_sum("untraced step", c->a.step.median, c->b.step.median, &c->step, f);
    print_sum("first step", c->a.first_ms, c->b.first_ms, NULL, f);
}

static void print_memory(const struct comparison *c, FILE *f)
{
    struct amount m[NAMOUNTS];
    char a[16], b[16];
    amounts(c, m);
    fprintf(f, "\n%-14s %12s %12s %7s\n", "memory", "A", "B", "B/A");
    for (int i = 0; i < NAMOUNTS; i++) {
        if (!m[i].a && !m[i].b) continue;
        fprintf(f, "%-14s %12s %12s", m[i].name, hone_layers_bytes(m[i].a, a),
                hone_layers_bytes(m[i].b, b));
        if (m[i].a)
            fprintf(f, " %7.3f\n", (double)m[i].b / (double)m[i].a);
        else
            fprintf(f, " %7s\n", "-");
    }
}

static void print(const struct comparison *c, FILE *f)
{
    const struct hone_layers *side[] = { &c->a, &c->b };
    fprintf(f, "%s, batch %d, %s: B over A, by %s\n", c->a.net, c->a.batch, c->a.dtype,
            c->shares ? "shares of the parts' sum" : "time");
    for (int i = 0; i < 2; i++)
        fprintf(f, "%c: %s, %s (%s), n = %d\n", 'A' + i, side[i]->optimizer, side[i]->device,
                side[i]->device_text, side[i]->rounds);
    for (int i = 0; i < c->nnotes; i++) fprintf(f, "! %s\n", c->note[i]);
    fprintf(f, "\n%-10s %-7s %-14s %9s %6s %9s %6s %7s %-15s %-7s  %s\n", "layer", "phase", "op",
            "A ms", "step", "B ms", "step", "B/A", "[95 %]", "", "kernel and config");
    for (int i = 0; i < c->npairs; i++) print_pair(&c->pair[i], f);
    print_sums(c, f);
    print_memory(c, f);
    fprintf(f, "\n%d FASTER, %d SLOWER, %d SAME, %d UNCLEAR; only in A %d, only in B %d\n",
            c->count[FASTER], c->count[SLOWER], c->count[SAME], c->count[UNCLEAR], c->nonly[0],
            c->nonly[1]);
}

/* ---- CSV ---- */

static void put_number(double v, FILE *f)
{
    if (isnan(v))
        putc(',', f);
    else
        fprintf(f, ",%.9g", v);
}

static void put_stats(const struct hone_stats *s, double share, FILE *f)
{
    put_number(s ? s->median : NAN, f);
    put_number(s ? s->lo : NAN, f);
    put_number(s ? s->hi : NAN, f);
    put_number(share, f);
}

static void put_ratio(const struct ratio *r, const char *word, FILE *f)
{
    put_number(r->at, f);
    put_number(r->lo, f);
    put_number(r->hi, f);
    fprintf(f, ",%s", word);
}

static void csv(const struct comparison *c, FILE *f)
{
    fputs("layer,phase,op,problem_a,problem_b,kernel_a,config_a,kernel_b,config_b,a_ms,a_lo,a_hi,"
          "a_share,b_ms,b_lo,b_hi,b_share,ratio,ratio_lo,ratio_hi,word,a_workspace_bytes,"
          "b_workspace_bytes\n", f);
    for (int i = 0; i < c->npairs; i++) {
        const struct pair *p = &c->pair[i];
        const struct hone_layers_step *a = p->a, *b = p->b, *s = a ? a : b;
        const char *text[] = { s->phase,           a ? a->problem : "", b ? b->problem : "",
                               a ? a->kernel : "", a ? a->config : "",  b ? b->kernel : "",
                               b ? b->config : "" };
        hone_output_cell(f, s->layer);
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            putc(',', f);
            hone_output_cell(f, text[k]);
            if (k == 0) fprintf(f, ",%.*s", op_length(s), s->problem);
        }
        put_stats(a ? &a->ms : NULL, a ? a->share : NAN, f);
        put_stats(b ? &b->ms : NULL, b ? b->share : NAN, f);
        put_ratio(&p->ratio, word_of(p), f);
        put_number(a ? (double)a->workspace_bytes : NAN, f);
        put_number(b ? (double)b->workspace_bytes : NAN, f);
        putc('\n', f);
    }
    fputs("(step),,,,,,,,", f);
    put_stats(&c->a.step, NAN, f);
    put_stats(&c->b.step, NAN, f);
    put_ratio(&c->step, word_name[c->step.word], f);
    fputs(",,\n", f);
}

/* ---- JSON ---- */

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *ratio_json(const struct ratio *r, const char *word)
{
    return json_pack("{s:o, s:o, s:o, s:s}", "ratio", number(r->at), "lo", number(r->lo), "hi",
                     number(r->hi), "word", word);
}

static json_t *times_json(const struct hone_stats *s)
{
    return json_pack("{s:i, s:f, s:f, s:f}", "n", s->n, "median", s->median, "lo", s->lo, "hi",
                     s->hi);
}

static json_t *side_json(const struct hone_layers_step *s, const char *version)
{
    if (!s) return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:f, s:I}", "problem", s->problem, "kernel",
                     s->kernel, "config", s->config, "version", version, "tuned", s->tuned, "ms",
                     times_json(&s->ms), "share", s->share, "workspace_bytes",
                     (json_int_t)s->workspace_bytes);
}

static json_t *pair_json(const struct pair *p)
{
    const struct hone_layers_step *s = p->a ? p->a : p->b;
    return json_pack("{s:s, s:s, s:s%, s:o, s:o, s:o}", "layer", s->layer, "phase", s->phase, "op",
                     s->problem, (size_t)op_length(s), "a", side_json(p->a, p->version[0]), "b",
                     side_json(p->b, p->version[1]), "b_over_a", ratio_json(&p->ratio, word_of(p)));
}

static json_t *record_json(const struct hone_layers *l)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:o, s:f, s:f}", "optimizer", l->optimizer, "device",
                     l->device, "device_text", l->device_text, "rounds", l->rounds, "step_ms",
                     times_json(&l->step), "parts_ms", l->parts_ms, "first_step_ms", l->first_ms);
}

static int write_json(const struct comparison *c, FILE *f)
{
    struct amount m[NAMOUNTS];
    json_t *notes = json_array(), *parts = json_array(), *memory = json_object(),
           *words = json_object();
    amounts(c, m);
    for (int i = 0; i < c->nnotes; i++) json_array_append_new(notes, json_string(c->note[i]));
    for (int i = 0; i < c->npairs; i++) json_array_append_new(parts, pair_json(&c->pair[i]));
    for (int i = 0; i < NAMOUNTS; i++)
        json_object_set_new(memory, m[i].name,
                            json_pack("{s:I, s:I}", "a", (json_int_t)m[i].a, "b",
                                      (json_int_t)m[i].b));
    for (int i = 0; i < NWORDS; i++)
        json_object_set_new(words, word_name[i], json_integer(c->count[i]));
    json_t *all = json_pack(
        "{s:s, s:i, s:s, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "hone", "comparison",
        "version", 1, "net", c->a.net, "batch", c->a.batch, "dtype", c->a.dtype, "by",
        c->shares ? "share" : "time", "notes", notes, "a", record_json(&c->a), "b",
        record_json(&c->b), "step", ratio_json(&c->step, word_name[c->step.word]), "words", words,
        "memory", memory, "parts", parts);
    int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
              putc('\n', f) == EOF;
    json_decref(all);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}

/* ---- the command ---- */

struct options {
    const char *path[2];
    int npaths, json, csv, shares;
};

enum { OPT_JSON = 256, OPT_CSV, OPT_SHARES };

static const struct argp_option option[] = {
    { "shares", OPT_SHARES, 0, 0, "judge parts by their share of the parts' sum, not by time", 0 },
    { "json", OPT_JSON, 0, 0, "print JSON", 0 },
    { "csv", OPT_CSV, 0, 0, "print CSV: a line for each part, and one for the step", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case OPT_JSON: o->json = 1; break;
    case OPT_CSV: o->csv = 1; break;
    case OPT_SHARES: o->shares = 1; break;
    case ARGP_KEY_ARG:
        if (o->npaths == 2) argp_error(state, "unexpected argument '%s'", arg);
        o->path[o->npaths++] = arg;
        break;
    case ARGP_KEY_END:
        if (o->npaths < 2)
            argp_error(state, "two files are needed: what `hone profile --json` printed");
        if (!strcmp(o->path[0], "-") && !strcmp(o->path[1], "-"))
            argp_error(state, "only one of both can be standard input");
        if (o->json && o->csv)
            argp_error(state, "--json and --csv both go to standard output; give one");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] =
    "Compares two profiles of a net: B over A for each part and for the step, kernels that differ, "
    "memory."
    "\vA and B are what `hone profile --json` printed; - is standard input.  Parts are matched by "
    "layer, phase and op.  A ratio's interval is made of both sides' 95 % intervals:\n\n"
    "  SAME     it lies within 0.99 .. 1.01\n"
    "  FASTER   it lies below 1: B takes less\n"
    "  SLOWER   it lies above 1\n"
    "  UNCLEAR  else, or a side has fewer than 6 times\n\n"
    "Equal numbers on both sides are one measurement, and SAME.  Another net, batch or number type "
    "cannot be compared; lines with ! name what else makes A and B differ.  An "
    "interval knows the noise of its own session only: the same kernels may differ by a few "
    "percent in the next.  --shares takes the sum of the parts as exact.\n\n"
    "Examples:\n"
    "  hone profile --net lenet5 --json > a.json\n"
    "  hone profile --net lenet5 --build aot --json > b.json\n"
    "  hone report compare a.json b.json\n"
    "  hone report compare a.json b.json --shares --csv > shares.csv\n\n"
    "Exit status: 0 good, 1 a record cannot be read, or they cannot be compared, 2 wrong usage.";

int hone_report_compare(int argc, char **argv)
{
    static const struct argp argp = {
        .options = option, .parser = parse, .args_doc = "A B", .doc = doc
    };
    struct options o = { 0 };
    struct comparison c = { 0 };
    if (argp_parse(&argp, argc, argv, 0, NULL, &o)) return 2;
    c.shares = o.shares;
    int err = hone_layers_load(&c.a, o.path[0]);
    if (!err) err = hone_layers_load(&c.b, o.path[1]);
    if (!err) err = compare(&c);
    if (!err && o.json)
        err = write_json(&c, stdout);
    else if (!err && o.csv)
        csv(&c, stdout);
    else if (!err)
        print(&c, stdout);
    if (err) fprintf(stderr, "%s: %s\n", argv[0], hone_errmsg());
    hone_layers_close(&c.a);
    hone_layers_close(&c.b);
    free(c.pair);
    return err ? 1 : 0;
}
