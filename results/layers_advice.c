/* What to do about it: a line for what would shorten the step most, with the numbers behind it. */
#include "results/layers.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { MOST_STEPS = 5 };

static void say(struct hone_layers *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct hone_layers *l, const char *fmt, ...)
{
    va_list ap;
    if (l->nadvice == HONE_MAX_ADVICE) return;
    va_start(ap, fmt);
    vsnprintf(l->advice[l->nadvice++], sizeof l->advice[0], fmt, ap);
    va_end(ap);
}

/* What the step would gain if this part ran at its roof; all of it where none is known. */
static double gain(const struct hone_layers_step *s)
{
    return s->ms.median > s->roof_ms ? s->ms.median - s->roof_ms : 0;
}

/* Appends to a text of 512 bytes; what does not fit is cut off. */
static void add(char text[512], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(char text[512], const char *fmt, ...)
{
    size_t at = strlen(text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + at, 512 - at, fmt, ap);
    va_end(ap);
}

static int is_memory(const struct hone_layers_step *s)
{
    for (int i = 0; i < 4; i++)
        if (!strcmp(s->bound, hone_layers_level[i])) return 1;
    return 0;
}

static void advise_step(struct hone_layers *l, const struct hone_layers_step *s)
{
    const int has_roof = s->roof_ms > 0;
    double of_roof = s->roof_ms / s->ms.median;
    char text[512] = "";
    add(text, "%s %s: %.0f %% of the step", s->layer, s->phase, 100 * s->share);
    if (has_roof) add(text, " at %.0f %% of the roof (%s)", 100 * of_roof, s->bound);
    if (of_roof > 0.6 && is_memory(s))
        add(text, "; near its roof: only moving less data helps, as where its neighbour does its "
                  "work too");
    else if (has_roof && gain(s) > 0)
        add(text, "; at the roof the step would be %.0f %% shorter", 100 * gain(s) / l->parts_ms);
    if (s->warm.n && s->ms.median > 1.3 * s->warm.median)
        add(text, "; alone, with warm caches, it takes %.2f of this time",
            s->warm.median / s->ms.median);
    if (s->threads == 1 && l->roof_threads > 1 && s->ms.median > 0.1)
        add(text, "; it runs on 1 of %d threads", l->roof_threads);
    if (!s->tuned)
        add(text, "; %s is an untuned default", s->kernel);
    else if (!isnan(s->runner_up))
        add(text, "; %s leads by %.2fx", s->kernel, s->runner_up);
    if (s->refused) add(text, "; %s refused: %s", s->refused, s->refused_why);
    say(l, "%s", text);
}

/* The parts with most to gain, of those that matter. */
static void advise_steps(struct hone_layers *l)
{
    double before = INFINITY;
    for (int n = 0; n < MOST_STEPS; n++) {
        const struct hone_layers_step *best = NULL;
        for (int i = 0; i < l->nsteps; i++) {
            const struct hone_layers_step *s = &l->step_of[l->by_time[i]];
            if (s->share < 0.02 || gain(s) >= before) continue;
            if (!best || gain(s) > gain(best)) best = s;
        }
        if (!best || !(gain(best) > 0)) return;
        before = gain(best);
        advise_step(l, best);
    }
}

static void advise_small_parts(struct hone_layers *l)
{
    int n = 0;
    double ms = 0;
    for (int i = 0; i < l->nsteps; i++) {
        if (strcmp(l->step_of[i].bound, "overhead")) continue;
        ms += l->step_of[i].ms.median;
        n++;
    }
    if (ms > 0.05 * l->parts_ms)
        say(l,
            "%d parts so short that calling them is the work are %.0f %% of the step: a larger "
            "batch shares "
            "them among more samples",
            n, 100 * ms / l->parts_ms);
}

static void advise_update(struct hone_layers *l)
{
    for (int p = 0; p < l->nphases; p++)
        if (!strcmp(l->phase[p].name, "update") && l->phase[p].ms > 0.15 * l->parts_ms)
            say(l,
                "the update is %.0f %% of the step, whatever the batch: a larger one has fewer of "
                "them",
                100 * l->phase[p].ms / l->parts_ms);
}

/* Libraries allocate for themselves: code they compile, buffers they keep. */
static void advise_library_memory(struct hone_layers *l)
{
    const struct hone_layers_memory *m = &l->memory;
    char text[16];
    int n = 0;
    for (int s = 0; s < l->nsteps; s++) n += !strncmp(l->step_of[s].kernel, "lib_", 4);
    if (m->libraries < m->peak / 50 || m->libraries < 1 << 20) return;
    say(l, "%s of the peak are in no plan: libraries, in %d of %d parts, keep memory of their own",
        hone_layers_bytes(m->libraries, text), n, l->nsteps);
}

static void advise_memory(struct hone_layers *l)
{
    const struct hone_layers_memory *m = &l->memory;
    char a[16], b[16];
    if (m->activations > m->planned / 2)
        say(l, "activations are %.0f %% of %s: memory grows with the batch",
            100.0 * (double)m->activations / (double)m->planned, hone_layers_bytes(m->planned, a));
    if (m->workspace > m->planned / 5)
        say(l, "workspaces are %s of %s: `hone db why PROBLEM` shows kernels that need less",
            hone_layers_bytes(m->workspace, a), hone_layers_bytes(m->planned, b));
    advise_library_memory(l);
}

static void advise_trust(struct hone_layers *l)
{
    char held[160];
    if (l->gpu && hone_gpu_throttled(l->gpu, held))
        say(l, "the GPU was throttled: %s; its times are not those of a cool one at full power",
            held);
    if (l->held_up_ms > 0.05 * l->step.median)
        say(l,
            "the machine was busy: %.0f %% of a step is parts being held up; shares and ranks "
            "hold, sums of times less so",
            100 * l->held_up_ms / l->step.median);
    if (fabs(l->gap_ms) > 0.03 * l->step.median || l->overhead.median > 0.03)
        say(l,
            "traced and untraced steps differ by %.1f %%: measure on a quieter machine, or more "
            "--rounds",
            100 * fmax(fabs(l->gap_ms) / l->step.median, l->overhead.median));
    if (l->roof_share > 0 && l->roof_share < 0.95)
        say(l,
            "the roofs were measured while other programs ran (%.0f %% of the processors): shares "
            "of them "
            "are too large; `hone devices --peaks-again`",
            100 * l->roof_share);
}

void hone_layers_advise(struct hone_layers *l)
{
    if (l->nuntuned)
        say(l,
            "%d of %d parts are untuned: `hone autotune --device %s --net %s --batch %d "
            "--optimizer %s` finds their "
            "fastest kernels",
            l->nuntuned, l->nsteps, l->device, l->net, l->batch, l->optimizer);
    advise_steps(l);
    advise_small_parts(l);
    advise_update(l);
    advise_memory(l);
    advise_trust(l);
}
