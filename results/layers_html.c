/* The report as one page that needs nothing else: no network, no other file.  It is well-formed
 * XML, so that a test can read it. */
#include "results/layers.h"

#include <math.h>
#include <string.h>

void hone_layers_escape(const char *text, FILE *f)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '"': fputs("&quot;", f); break;
        case '\'': fputs("&#39;", f); break;
        /* What XML does not allow at all. */
        default:
            putc((unsigned char)*text < 0x20 && *text != '\n' && *text != '\t' ? '?' : *text, f);
        }
    }
}

static const char style[] =
    ":root{--ink:#1c2330;--dim:#667085;--paper:#fff;--line:#e3e7ee;--roof:#b42318}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--paper:#14181f;--line:#"
    "2b323d;--roof:#f97066}}\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 "
    "auto;padding:12px;max-width:1240px}\n"
    "h1{font-size:1.35em;margin:.2em 0}h2{font-size:1.1em;margin:1.6em 0 .4em}p{margin:.4em 0}\n"
    ".dim{color:var(--dim)}.wide{overflow-x:auto}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5em,1fr));gap:8px;margin:.8em "
    "0}\n"
    "dl div{border:1px solid var(--line);border-radius:6px;padding:6px "
    "10px}dt{color:var(--dim);font-size:.85em}dd{margin:0;font-size:1.1em}\n"
    "table{border-collapse:collapse;font-size:.9em;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:3px 8px;text-align:right;border-bottom:1px solid "
    "var(--line);white-space:nowrap}\n"
    "th{position:sticky;top:0;background:var(--paper);cursor:pointer}th.t,td.t{text-align:left}\n"
    "td.bar{background:linear-gradient(90deg,#7aa7e055 var(--w),transparent var(--w))}\n"
    "svg{width:100%;min-width:560px;max-width:1000px;height:auto;display:block}\n"
    "svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .tick,svg .name{fill:var(--dim)}\n"
    ".grid{stroke:var(--line)}.roof{stroke:var(--roof);stroke-width:1.5}.dot{fill-opacity:.55;"
    "stroke:var(--paper)}\n"
    ".fwd{fill:#2f6fc4;background:#2f6fc4}.loss{fill:#8a8f98;background:#8a8f98}.dgrad{fill:#"
    "e08214;background:#e08214}\n"
    ".wgrad{fill:#1a9850;background:#1a9850}.update,.whole{fill:#8e4fb5;background:#8e4fb5}\n"
    ".measured{fill:none;stroke:var(--ink);stroke-width:1.5}.ink{background:var(--ink)}\n"
    ".area{fill-opacity:.8}.block{fill-opacity:.65;stroke:var(--paper)}\n"
    ".weights,.h0{fill:#2f6fc4;background:#2f6fc4}.gradients,.h1{fill:#e08214;background:#e08214}\n"
    ".optimizer,.h2{fill:#8e4fb5;background:#8e4fb5}.batch,.h3{fill:#8a8f98;background:#8a8f98}\n"
    ".activations,.h4{fill:#1a9850;background:#1a9850}.workspace,.h5{fill:#d4b106;background:#"
    "d4b106}\n"
    ".box{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-left:.6em}.key{font-"
    "size:.9em}\n"
    "@media(max-width:700px){body{font-size:14px;padding:8px}.more{display:none}"
    "table{font-size:.82em}th,td{padding:3px 4px}svg "
    "text{font-size:15px}}\n";

/* Neither < nor & occurs, so that it is the same in HTML and XML. */
static const char script[] =
    "document.querySelectorAll('table.sort').forEach(function(t){\n"
    "  t.querySelectorAll('th').forEach(function(h,i){h.onclick=function(){\n"
    "    var b=t.tBodies[0],d=h.dataset.d==='1'?-1:1;h.dataset.d=d;\n"
    "    function v(r){var c=r.cells[i],x=c.dataset.v;return "
    "x===undefined?c.textContent:Number(x);}\n"
    "    Array.from(b.rows).sort(function(p,q){var x=v(p),y=v(q);\n"
    "      return typeof x==='number'?d*(y-x):d*x.localeCompare(y);\n"
    "    }).forEach(function(r){b.appendChild(r);});};});});\n";

/* ---- cells ---- */

static void cell_text(FILE *f, const char *class, const char *text)
{
    fprintf(f, "<td class=\"%s\">", class);
    hone_layers_escape(text, f);
    fputs("</td>", f);
}

/* Its value sorts; one that is not there sorts last. */
static void cell(FILE *f, const char *class, double v, const char *fmt)
{
    fprintf(f, "<td class=\"%s\" data-v=\"%.9g\">", class, isnan(v) ? -1 : v);
    if (isnan(v))
        fputs("-", f);
    else
        fprintf(f, fmt, v);
    fputs("</td>", f);
}

static void cell_bar(FILE *f, double share)
{
    double of_all = share < 1 ? share : 1;
    fprintf(f, "<td class=\"bar\" style=\"--w:%.1f%%\" data-v=\"%.9g\">%.1f %%</td>", 100 * of_all,
            share, 100 * share);
}

static void head(FILE *f, const char *const title[][3], int n)
{
    fputs("<thead><tr>", f);
    for (int i = 0; i < n; i++)
        fprintf(f, "<th class=\"%s\" title=\"%s\">%s</th>", title[i][1], title[i][2], title[i][0]);
    fputs("</tr></thead>\n<tbody>\n", f);
}

/* ---- sections ---- */

static void tile(FILE *f, const char *name, const char *value)
{
    fprintf(f, "<div><dt>%s</dt><dd>", name);
    hone_layers_escape(value, f);
    fputs("</dd></div>\n", f);
}

static void put_summary(const struct hone_layers *l, FILE *f)
{
    const struct hone_layers_memory *m = &l->memory;
    char text[128], a[16];
    fputs("<dl>\n", f);
    snprintf(text, sizeof text, "%.4g ms [%.4g, %.4g]", l->step.median, l->step.lo, l->step.hi);
    tile(f, "training step", text);
    snprintf(text, sizeof text, "%.0f samples/s", l->batch / l->step.median * 1e3);
    tile(f, "throughput", text);
    snprintf(text, sizeof text, "%.1f GFLOP/s", l->flops / l->step.median * 1e-6);
    tile(f, "rate", text);
    snprintf(text, sizeof text, "%.1f %% and %+.1f %%", 100 * l->held_up_ms / l->step.median,
             100 * l->gap_ms / l->step.median);
    tile(f, "held up, between the parts", text);
    snprintf(text, sizeof text, "%+.1f %%", 100 * l->overhead.median);
    tile(f, "cost of looking", text);
    tile(f, "planned memory", hone_layers_bytes(m->planned, a));
    snprintf(text, sizeof text, "%s (predicted %+.1f %%)", hone_layers_bytes(m->peak, a),
             100.0 * (double)(m->predicted - m->peak) / (double)m->peak);
    tile(f, "peak resident", text);
    fputs("</dl>\n", f);
}

static void put_advice(const struct hone_layers *l, FILE *f)
{
    if (!l->nadvice) return;
    fputs("<h2>What to do about it</h2>\n<ul>\n", f);
    for (int i = 0; i < l->nadvice; i++) {
        fputs("<li>", f);
        hone_layers_escape(l->advice[i], f);
        fputs("</li>\n", f);
    }
    fputs("</ul>\n", f);
}

static void put_phases(const struct hone_layers *l, FILE *f)
{
    static const char *const title[][3] = {
        { "phase", "t", "" },  { "parts", "", "" },
        { "ms", "", "" },      { "share", "", "of the parts' sum" },
        { "GFLOP/s", "", "" }, { "of the roof", "", "" }
    };
    fputs("<h2>Phases</h2>\n<div class=\"wide\"><table class=\"sort\">", f);
    head(f, title, 6);
    for (int p = 0; p < l->nphases; p++) {
        const struct hone_layers_phase *h = &l->phase[p];
        fprintf(f, "<tr><td class=\"t\"><span class=\"box %s\"></span> %s</td>", h->name, h->name);
        cell(f, "", h->n, "%.0f");
        cell(f, "", h->ms, "%.4f");
        cell_bar(f, h->ms / l->parts_ms);
        cell(f, "", h->flops / h->ms * 1e-6, "%.1f");
        cell(f, "", h->roof_ms > 0 ? 100 * h->roof_ms / h->ms : NAN, "%.1f %%");
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

static void put_step(const struct hone_layers_step *s, FILE *f)
{
    char text[600];
    fputs("<tr>", f);
    cell_text(f, "t", s->layer);
    cell_text(f, "t", s->phase);
    cell(f, "", s->ms.median, "%.4f");
    snprintf(text, sizeof text, "%.4f to %.4f", s->ms.lo, s->ms.hi);
    cell_text(f, "more", text);
    cell_bar(f, s->share);
    cell(f, "", 100 * s->cumulative, "%.1f %%");
    cell(f, "more", s->warm.n ? s->warm.median : NAN, "%.4f");
    cell(f, "more", s->cold.n ? s->cold.median : NAN, "%.4f");
    cell(f, "", s->flops / s->ms.median * 1e-6, "%.1f");
    cell(f, "more", s->bytes > 0 ? s->flops / s->bytes : NAN, "%.2f");
    cell(f, "", s->roof_ms > 0 ? 100 * s->roof_ms / s->ms.median : NAN, "%.1f %%");
    cell_text(f, "t", s->bound);
    cell(f, "more", s->runner_up, "%.2fx");
    cell(f, "more", s->library, "%.2fx");
    cell(f, "more", s->threads, "%.0f");
    snprintf(text, sizeof text, "%s %s%s", s->kernel, s->config, s->tuned ? "" : " (untuned)");
    cell_text(f, "t", text);
    snprintf(text, sizeof text, "%s%s%s", s->refused ? s->refused : "", s->refused ? ": " : "",
             s->refused ? s->refused_why : "");
    cell_text(f, "t more", text);
    fputs("</tr>\n", f);
}

static void put_steps(const struct hone_layers *l, FILE *f)
{
    static const char *const title[][3] = {
        { "layer", "t", "" },
        { "phase", "t", "" },
        { "ms", "", "median inside whole steps" },
        { "95 %", "more", "interval of the median" },
        { "share", "", "of the parts' sum" },
        { "cum.", "", "with all that take longer" },
        { "warm", "more", "ms alone, caches warm" },
        { "cold", "more", "ms alone, arguments in memory" },
        { "GFLOP/s", "", "" },
        { "flop/B", "more", "flops for each byte that must move" },
        { "of the roof", "", "least time under the measured roofs, over this time" },
        { "bound", "t", "what the roof is made of" },
        { "runner-up", "more", "the best other kernel&#39;s time over this one&#39;s" },
        { "library", "more", "the best library&#39;s time over this one&#39;s" },
        { "threads", "more", "" },
        { "kernel and config", "t", "" },
        { "refused", "t more", "the first kernel that could not be chosen" }
    };
    fputs("<h2>Parts of the step</h2>\n<p class=\"dim\">A click on a column sorts by it.</p>\n"
          "<div class=\"wide\"><table class=\"sort\">",
          f);
    head(f, title, (int)(sizeof title / sizeof *title));
    for (int i = 0; i < l->nsteps; i++) put_step(&l->step_of[i], f);
    fputs("</tbody></table></div>\n", f);
}

static void put_roofline(const struct hone_layers *l, FILE *f)
{
    fprintf(f,
            "<h2>Roofline</h2>\n<p class=\"dim\">Roofs measured with %d threads. A part is a "
            "circle, as large as its share of the "
            "step.</p>\n<div class=\"wide\">",
            l->roof_threads);
    hone_layers_svg_roofline(l, f);
    fputs("</div>\n<p class=\"key\">", f);
    for (int p = 0; p < l->nphases; p++)
        fprintf(f, "<span class=\"box %s\"></span> %s ", l->phase[p].name, l->phase[p].name);
    fputs("</p>\n", f);
}

static void put_layer_memory(const struct hone_layers *l, FILE *f)
{
    static const char *const keys[] = { "weights", "gradients", "activations", "workspace" };
    static const char *const title[][3] = { { "layer", "t", "" },
                                            { "weights", "", "" },
                                            { "gradients", "", "" },
                                            { "activations", "", "" },
                                            { "workspace", "", "" } };
    size_t i;
    json_t *j;
    char text[16];
    fputs("<div class=\"wide\"><table class=\"sort\">", f);
    head(f, title, 5);
    json_array_foreach(l->memory.layers, i, j)
    {
        const char *name = json_string_value(json_object_get(j, "layer"));
        fputs("<tr>", f);
        cell_text(f, "t", name ? name : "?");
        for (int k = 0; k < 4; k++) {
            int64_t v = (int64_t)json_integer_value(json_object_get(j, keys[k]));
            fprintf(f, "<td data-v=\"%lld\">%s</td>", (long long)v,
                    v ? hone_layers_bytes(v, text) : "-");
        }
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

static void put_memory(const struct hone_layers *l, FILE *f)
{
    const struct hone_layers_memory *m = &l->memory;
    char t[6][16], libraries[64] = "";
    if (m->libraries)
        snprintf(libraries, sizeof libraries, "; libraries keep %s for themselves",
                 hone_layers_bytes(m->libraries, t[0]));
    fprintf(f,
            "<h2>Memory</h2>\n<p>weights %s, gradients %s, optimizer %s, batch %s, activations %s, "
            "workspace %s%s.</p>\n",
            hone_layers_bytes(m->weights, t[0]), hone_layers_bytes(m->gradients, t[1]),
            hone_layers_bytes(m->optimizer, t[2]), hone_layers_bytes(m->batch, t[3]),
            hone_layers_bytes(m->activations, t[4]), hone_layers_bytes(m->workspace, t[5]),
            libraries);
    fputs("<div class=\"wide\">", f);
    hone_layers_svg_memory(l, f);
    fputs("</div>\n<h2>Arena</h2>\n<p class=\"dim\">Each activation at its place, from the part "
          "that writes it to the last that reads "
          "it.</p>\n<div class=\"wide\">",
          f);
    hone_layers_svg_arena(l, f);
    fputs("</div>\n", f);
    put_layer_memory(l, f);
}

static void put_counters(const struct hone_layers *l, FILE *f)
{
    static const char *const title[][3] = { { "layer", "t", "" },
                                            { "phase", "t", "" },
                                            { "counter", "t", "" },
                                            { "per run", "", "" },
                                            { "why not", "t", "" } };
    int any = 0;
    for (int s = 0; s < l->nsteps; s++) {
        const char *name, *why;
        json_t *v;
        json_object_foreach(l->step_of[s].counters, name, v)
        {
            if (!any++) {
                fputs("<h2>Counters</h2>\n<div class=\"wide\"><table class=\"sort\">", f);
                head(f, title, 5);
            }
            fputs("<tr>", f);
            cell_text(f, "t", l->step_of[s].layer);
            cell_text(f, "t", l->step_of[s].phase);
            cell_text(f, "t", name);
            cell(f, "", json_is_number(v) ? json_number_value(v) : NAN, "%.6g");
            why = json_string_value(json_object_get(v, "not_available"));
            cell_text(f, "t", why ? why : "");
            fputs("</tr>\n", f);
        }
    }
    if (any) fputs("</tbody></table></div>\n", f);
}

void hone_layers_html(const struct hone_layers *l, FILE *f)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
          f);
    hone_layers_escape(l->net, f);
    fprintf(f, ", batch %d: profile</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>", l->batch,
            style);
    hone_layers_escape(l->net, f);
    fprintf(f, ", batch %d</h1>\n<p class=\"dim\">%s, ", l->batch, l->dtype);
    hone_layers_escape(l->optimizer, f);
    fputs(", training step on ", f);
    hone_layers_escape(l->device, f);
    fputs(" (", f);
    hone_layers_escape(l->device_text, f);
    fprintf(f, "), n = %d</p>\n", l->rounds);
    put_summary(l, f);
    put_advice(l, f);
    put_phases(l, f);
    put_roofline(l, f);
    put_steps(l, f);
    put_memory(l, f);
    put_counters(l, f);
    fprintf(f, "<script>\n%s</script>\n</body>\n</html>\n", script);
}
