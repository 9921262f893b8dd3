/* Pictures inside the page: the roofline, memory over the steps, the map of the arena.  Colours are
 * classes of the page's style. */
#include "results/layers.h"

#include <math.h>
#include <string.h>

enum { W = 760, H = 430, LEFT = 66, RIGHT = 16, TOP = 16, BOTTOM = 46 };

/* A linear axis, or a logarithmic one, from value lo at pixel `from` to hi at `to`. */
struct axis {
    double lo, hi, from, to;
    int is_log;
};

static double at(const struct axis *a, double v)
{
    double x = a->is_log ? log(v / a->lo) / log(a->hi / a->lo) : (v - a->lo) / (a->hi - a->lo);
    return a->from + (a->to - a->from) * x;
}

static void begin(FILE *f, const char *label)
{
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", W, H, label);
}

static void text(FILE *f, double x, double y, const char *anchor, const char *class, const char *t)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor, class);
    hone_layers_escape(t, f);
    fputs("</text>\n", f);
}

static void line(FILE *f, double x1, double y1, double x2, double y2, const char *class)
{
    fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2,
            y2, class);
}

/* A line across and its label, on either axis. */
static void tick(FILE *f, const struct axis *a, int is_x, double v, const char *label)
{
    double p = at(a, v);
    if (is_x)
        line(f, p, TOP, p, H - BOTTOM, "grid");
    else
        line(f, LEFT, p, W - RIGHT, p, "grid");
    if (is_x)
        text(f, p, H - BOTTOM + 16, "middle", "tick", label);
    else
        text(f, LEFT - 6, p + 4, "end", "tick", label);
}

/* ---- roofline ---- */

static double intensity(const struct hone_layers_step *s)
{
    return s->bytes > 0 ? s->flops / s->bytes : 0;
}
static double gflops(const struct hone_layers_step *s) { return s->flops / s->ms.median * 1e-6; }

/* What the picture must show: all parts that compute, and the ridge. */
static void limits(const struct hone_layers *l, struct axis *x, struct axis *y)
{
    double top = l->roofs.compute * 1e-9, xlo = 1, xhi = 8, ylo = top / 10;
    for (int i = 0; i < 4; i++)
        if (l->roofs.level[i] > 0) xhi = fmax(xhi, 2 * l->roofs.compute / l->roofs.level[i]);
    for (int i = 0; i < l->nsteps; i++) {
        const struct hone_layers_step *s = &l->step_of[i];
        if (!(s->flops > 0) || !(s->bytes > 0)) continue;
        xlo = fmin(xlo, intensity(s));
        xhi = fmax(xhi, intensity(s));
        ylo = fmin(ylo, gflops(s));
        top = fmax(top, gflops(s));
    }
    *x = (struct axis){ exp2(floor(log2(xlo))), exp2(ceil(log2(xhi))), LEFT, W - RIGHT, 1 };
    *y = (struct axis){ pow(10, floor(log10(ylo))), top * 1.6, H - BOTTOM, TOP, 1 };
}

static void draw_roofs(const struct hone_layers *l, const struct axis *x, const struct axis *y,
                       FILE *f)
{
    double compute = l->roofs.compute * 1e-9;
    char label[64];
    if (!(compute > 0)) return;
    line(f, at(x, x->lo), at(y, compute), at(x, x->hi), at(y, compute), "roof");
    snprintf(label, sizeof label, "%.0f GFLOP/s", compute);
    text(f, W - RIGHT - 4, at(y, compute) - 6, "end", "label", label);
    for (int i = 0; i < 4; i++) {
        double rate = l->roofs.level[i] * 1e-9, from = fmax(x->lo, y->lo / (rate > 0 ? rate : 1));
        if (!(rate > 0) || from * rate >= compute) continue;
        line(f, at(x, from), at(y, from * rate), at(x, compute / rate), at(y, compute), "roof");
        snprintf(label, sizeof label, "%s %.0f GB/s", hone_layers_level[i], rate);
        /* Written along the line, above it, at a place of each level's own. */
        double px = at(x, from * 1.2), py = at(y, from * 1.2 * rate) - 5;
        double slope =
            -180 / M_PI *
            atan2(at(y, from * rate) - at(y, compute), at(x, compute / rate) - at(x, from));
        fprintf(f,
                "<text transform=\"translate(%.1f %.1f) rotate(%.1f)\" class=\"label\">%s</text>\n",
                px, py, slope, label);
    }
}

static void draw_point(const struct hone_layers_step *s, const struct axis *x, const struct axis *y,
                       FILE *f)
{
    char tip[256];
    if (!(s->flops > 0) || !(s->bytes > 0)) return;
    snprintf(tip, sizeof tip,
             "%s %s: %.4g ms, %.1f GFLOP/s at %.2f flop/B, %.0f %% of the roof, %s", s->layer,
             s->phase, s->ms.median, gflops(s), intensity(s), 100 * s->roof_ms / s->ms.median,
             s->kernel);
    fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"dot %s\"><title>",
            at(x, intensity(s)), at(y, gflops(s)), 3 + 16 * sqrt(s->share), s->phase);
    hone_layers_escape(tip, f);
    fputs("</title></circle>\n", f);
    if (s->rank < 5) {
        snprintf(tip, sizeof tip, "%s %s", s->layer, s->phase);
        double px = at(x, intensity(s));
        text(f, px > W - 140 ? px - 8 : px + 8, at(y, gflops(s)) + 4,
             px > W - 140 ? "end" : "start", "label", tip);
    }
}

void hone_layers_svg_roofline(const struct hone_layers *l, FILE *f)
{
    struct axis x, y;
    char label[32];
    limits(l, &x, &y);
    begin(f, "Roofline: rate of each part over its arithmetic intensity");
    for (double v = x.lo; v <= x.hi * 1.001; v *= x.hi / x.lo > 4096  ? 8
                                                  : x.hi / x.lo > 256 ? 4
                                                                      : 2) {
        if (v < 1)
            snprintf(label, sizeof label, "1/%.0f", 1 / v);
        else
            snprintf(label, sizeof label, "%.0f", v);
        tick(f, &x, 1, v, label);
    }
    for (double v = y.lo; v <= y.hi; v *= 10) {
        snprintf(label, sizeof label, "%g", v);
        tick(f, &y, 0, v, label);
    }
    text(f, (LEFT + W - RIGHT) / 2.0, H - 8, "middle", "name",
         "flops for each byte that must move");
    text(f, 4, TOP + 4, "start", "name", "GFLOP/s");
    draw_roofs(l, &x, &y, f);
    /* The large ones first, so that they cover nobody. */
    for (int i = 0; i < l->nsteps; i++) draw_point(&l->step_of[l->by_time[i]], &x, &y, f);
    fputs("</svg>\n", f);
}

/* ---- memory ---- */

static void byte_axis(FILE *f, const struct axis *y)
{
    char label[16];
    for (int i = 0; i <= 4; i++) {
        double v = y->hi * i / 4;
        tick(f, y, 0, v, hone_layers_bytes((int64_t)v, label));
    }
}

static void step_axis(FILE *f, const struct axis *x, int n)
{
    char label[16];
    int by = n > 10 ? (n + 9) / 10 : 1;
    for (int i = 0; i < n; i += by) {
        snprintf(label, sizeof label, "%d", i);
        text(f, at(x, i + 0.5), H - BOTTOM + 16, "middle", "tick", label);
    }
    text(f, (LEFT + W - RIGHT) / 2.0, H - 8, "middle", "name",
         "part of the step, in the order in which they run");
}

enum { WEIGHTS, GRADIENTS, OPTIMIZER, BATCH, ACTIVATIONS, WORKSPACE, NKINDS };
static const char *const kind_name[NKINDS] = { "weights", "gradients",   "optimizer",
                                               "batch",   "activations", "workspace" };

static int64_t kind_bytes(const struct hone_layers *l, int kind, int s)
{
    const struct hone_layers_memory *m = &l->memory;
    const int64_t v[NKINDS] = { m->weights,
                                m->gradients,
                                m->optimizer,
                                m->batch,
                                l->step_of[s].live_bytes,
                                l->step_of[s].workspace_bytes };
    return v[kind];
}

static double below(const struct hone_layers *l, int kind, int s)
{
    double sum = 0;
    for (int k = 0; k < kind; k++) sum += (double)kind_bytes(l, k, s);
    return sum;
}

void hone_layers_svg_memory(const struct hone_layers *l, FILE *f)
{
    double most = (double)l->memory.planned * 1.08 + 1;
    struct axis x = { 0, l->nsteps, LEFT, W - RIGHT, 0 }, y = { 0, most, H - BOTTOM, TOP, 0 };
    char label[64], text16[16];
    begin(f, "Memory in use during a step, by what it is for");
    byte_axis(f, &y);
    step_axis(f, &x, l->nsteps);
    for (int k = 0; k < NKINDS; k++) {
        fprintf(f, "<path class=\"area %s\" d=\"M", kind_name[k]);
        for (int s = 0; s < l->nsteps; s++) {
            double v = at(&y, below(l, k + 1, s));
            fprintf(f, "%.1f %.1f %.1f %.1f ", at(&x, s), v, at(&x, s + 1), v);
        }
        for (int s = l->nsteps - 1; s >= 0; s--) {
            double v = at(&y, below(l, k, s));
            fprintf(f, "%.1f %.1f %.1f %.1f ", at(&x, s + 1), v, at(&x, s), v);
        }
        fprintf(f, "Z\"><title>%s</title></path>\n", kind_name[k]);
    }
    fputs("<polyline class=\"measured\" points=\"", f);
    for (int s = 0; s < l->nsteps; s++) {
        double v = at(&y, fmin((double)(l->step_of[s].resident_bytes - l->memory.base), most));
        fprintf(f, "%.1f,%.1f %.1f,%.1f ", at(&x, s), v, at(&x, s + 1), v);
    }
    fputs("\"><title>resident, beyond what was before the net, in the first "
          "step</title></polyline>\n",
          f);
    line(f, LEFT, at(&y, (double)l->memory.planned), W - RIGHT, at(&y, (double)l->memory.planned),
         "roof");
    snprintf(label, sizeof label, "planned: %s", hone_layers_bytes(l->memory.planned, text16));
    text(f, W - RIGHT - 4, at(&y, (double)l->memory.planned) - 4, "end", "label", label);
    fputs("</svg>\n<p class=\"key\">", f);
    for (int k = 0; k < NKINDS; k++)
        fprintf(f, "<span class=\"box %s\"></span> %s ", kind_name[k], kind_name[k]);
    fputs("<span class=\"box ink\"></span> measured: resident in the first step, as pages are "
          "touched</p>\n",
          f);
}

void hone_layers_svg_arena(const struct hone_layers *l, FILE *f)
{
    const struct hone_layers_memory *m = &l->memory;
    struct axis x = { 0, l->nsteps, LEFT, W - RIGHT, 0 };
    struct axis y = { 0, (double)(m->activations + m->workspace) + 1, H - BOTTOM, TOP, 0 };
    char size[16], tip[256];
    begin(f, "The arena: where each activation lies, and from which part to which");
    byte_axis(f, &y);
    step_axis(f, &x, l->nsteps);
    for (int i = 0; i < m->nblocks; i++) {
        const struct hone_layers_block *b = &m->block[i];
        double x0 = at(&x, b->first), y0 = at(&y, (double)(b->offset + b->bytes));
        snprintf(tip, sizeof tip, "%s: %s at %lld, parts %d to %d", b->tensor,
                 hone_layers_bytes(b->bytes, size), (long long)b->offset, b->first, b->last);
        fprintf(f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"block "
                "h%d\"><title>",
                x0, y0, at(&x, b->last + 1) - x0, fmax(at(&y, (double)b->offset) - y0, 0.1), i % 6);
        hone_layers_escape(tip, f);
        fputs("</title></rect>\n", f);
        if (at(&x, b->last + 1) - x0 > 7.0 * (double)strlen(b->tensor) &&
            at(&y, (double)b->offset) - y0 > 14)
            text(f, x0 + 4, y0 + 12, "start", "label", b->tensor);
    }
    fputs("</svg>\n", f);
}
