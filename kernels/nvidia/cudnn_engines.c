/* Which of cuDNN's engines can compute a graph, with which knobs.
 *
 * An engine is an algorithm, a knob one of its numbers, such as a tile's size.  Their ranges are
 * supersets, of which most combinations are refused, and too many to try; so the list is what
 * cuDNN's heuristics propose, then the defaults of engines that they left out, then knobs by
 * chance. */
#include "kernels/nvidia/cudnn.h"
#include "kernels/nvidia/cudnn_calls.h"
#include "kernels/nvidia/values.h"

#include <stdio.h>
#include <string.h>

/* Code that is compiled at run time takes seconds, of each choice again: there are fewer of those,
 * and none by chance. */
enum { ENGINES = HONE_VALUES_120, TRIES = 6, SAMPLES = 2, HEURISTICS = 64, COMPILED = 8 };

/* ---- small steps ---- */

static dnn_descriptor make(int kind)
{
    dnn_descriptor d = NULL;
    return hone_cudnn.BackendCreateDescriptor(kind, &d) ? NULL : d;
}

static int set(dnn_descriptor d, int attr, int type, int64_t n, const void *values)
{
    return hone_cudnn.BackendSetAttribute(d, attr, type, n, values);
}

static int set_part(dnn_descriptor d, int attr, dnn_descriptor part)
{
    return set(d, attr, DNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

static int64_t get(dnn_descriptor d, int attr, int type, int64_t room, void *values)
{
    int64_t n = 0;
    return hone_cudnn.BackendGetAttribute(d, attr, type, room, &n, values) || n < 0 ? 0 : n;
}

static dnn_descriptor open_engine(const struct hone_cudnn_graph *g, int64_t index)
{
    dnn_descriptor e = make(DNN_BACKEND_ENGINE_DESCRIPTOR);
    int bad = set_part(e, DNN_ATTR_ENGINE_OPERATION_GRAPH, g->graph) ||
              set(e, DNN_ATTR_ENGINE_GLOBAL_INDEX, DNN_TYPE_INT64, 1, &index) ||
              (g->device && set_part(e, DNN_ATTR_ENGINE_DEVICEPROP, g->device)) ||
              hone_cudnn.BackendFinalize(e);
    if (!bad) return e;
    hone_cudnn_drop(e);
    return NULL;
}

static void read_notes(dnn_descriptor engine, struct hone_cudnn_choice *c)
{
    int note[64];
    int64_t n = get(engine, DNN_ATTR_ENGINE_NUMERICAL_NOTE, DNN_TYPE_NUMERICAL_NOTE,
                    DNN_NUMERICAL_NOTE_TYPE_COUNT, note);
    for (int64_t i = 0; i < n; i++)
        if (note[i] >= 0 && note[i] < 32) c->notes |= 1u << note[i];
    n = get(engine, DNN_ATTR_ENGINE_BEHAVIOR_NOTE, DNN_TYPE_BEHAVIOR_NOTE,
            DNN_BEHAVIOR_NOTE_TYPE_COUNT, note);
    for (int64_t i = 0; i < n; i++) c->compiles |= note[i] == DNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
}

/* Those that a configuration has set. */
static void read_knobs(dnn_descriptor config, struct hone_cudnn_choice *c)
{
    dnn_descriptor part[DNN_KNOB_TYPE_COUNTS];
    for (int i = 0; i < DNN_KNOB_TYPE_COUNTS; i++)
        part[i] = make(DNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    int64_t n = get(config, DNN_ATTR_ENGINECFG_KNOB_CHOICES, DNN_TYPE_BACKEND_DESCRIPTOR,
                    DNN_KNOB_TYPE_COUNTS, part);
    for (int64_t i = 0; i < n && c->nknobs < HONE_CUDNN_KNOBS; i++) {
        int type = 0;
        int64_t value = 0;
        if (!get(part[i], DNN_ATTR_KNOB_CHOICE_KNOB_TYPE, DNN_TYPE_KNOB_TYPE, 1, &type) ||
            !get(part[i], DNN_ATTR_KNOB_CHOICE_KNOB_VALUE, DNN_TYPE_INT64, 1, &value))
            continue;
        int at = c->nknobs++;
        for (; at > 0 && c->knob[at - 1].type > type; at--) c->knob[at] = c->knob[at - 1];
        c->knob[at].type = type;
        c->knob[at].value = value;
    }
    for (int i = 0; i < DNN_KNOB_TYPE_COUNTS; i++) hone_cudnn_drop(part[i]);
}

/* ---- plans ---- */

static int set_knob(dnn_descriptor *part, int type, int64_t value)
{
    *part = make(DNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    return set(*part, DNN_ATTR_KNOB_CHOICE_KNOB_TYPE, DNN_TYPE_KNOB_TYPE, 1, &type) ||
           set(*part, DNN_ATTR_KNOB_CHOICE_KNOB_VALUE, DNN_TYPE_INT64, 1, &value) ||
           hone_cudnn.BackendFinalize(*part);
}

/* Not 0, and no configuration: the engine refuses these knobs, for the reason of cuDNN's status. */
static int open_config(dnn_descriptor engine, const struct hone_cudnn_choice *c,
                       dnn_descriptor *config)
{
    dnn_descriptor d = *config = make(DNN_BACKEND_ENGINECFG_DESCRIPTOR),
                   part[HONE_CUDNN_KNOBS] = { NULL };
    int status = set_part(d, DNN_ATTR_ENGINECFG_ENGINE, engine);
    for (int i = 0; i < c->nknobs && !status; i++)
        status = set_knob(&part[i], (int)c->knob[i].type, c->knob[i].value);
    if (!status && c->nknobs)
        status =
            set(d, DNN_ATTR_ENGINECFG_KNOB_CHOICES, DNN_TYPE_BACKEND_DESCRIPTOR, c->nknobs, part);
    if (!status) status = hone_cudnn.BackendFinalize(d);
    for (int i = 0; i < c->nknobs; i++) hone_cudnn_drop(part[i]);
    if (!status) return 0;
    hone_cudnn_drop(d);
    *config = NULL;
    return status;
}

/* Likewise. */
static int open_plan(const struct hone_cudnn_graph *g, dnn_descriptor config, dnn_descriptor *plan)
{
    dnn_descriptor d = *plan = make(DNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int status = 0;
    if (g->handle) status = set(d, DNN_ATTR_EXECUTION_PLAN_HANDLE, DNN_TYPE_HANDLE, 1, &g->handle);
    if (!status && g->device) status = set_part(d, DNN_ATTR_EXECUTION_PLAN_DEVICEPROP, g->device);
    if (!status) status = set_part(d, DNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (!status) status = hone_cudnn.BackendFinalize(d);
    if (!status) return 0;
    hone_cudnn_drop(d);
    *plan = NULL;
    return status;
}

int hone_cudnn_plan(struct hone_cudnn_graph *g, const struct hone_cudnn_choice *c,
                    dnn_descriptor *plan)
{
    dnn_descriptor engine = open_engine(g, c->engine), config = NULL;
    *plan = NULL;
    if (engine) open_config(engine, c, &config);
    if (config) open_plan(g, config, plan);
    hone_cudnn_drop(config);
    hone_cudnn_drop(engine);
    return *plan ? HONE_OK : hone_fail(HONE_EDEVICE, "cuDNN: engine %d makes no plan", c->engine);
}

/* ---- the list ---- */

static int is_exact(const struct hone_cudnn_graph *g, unsigned notes)
{
    unsigned rounds = 1u << DNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION |
                      1u << DNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    if (!g->tf32) rounds |= 1u << DNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
    if (g->needs_f32) rounds |= 1u << DNN_NUMERICAL_NOTE_TENSOR_CORE;
    return !(notes & rounds);
}

static int same(const struct hone_cudnn_choice *a, const struct hone_cudnn_choice *b)
{
    if (a->engine != b->engine || a->nknobs != b->nknobs) return 0;
    for (int i = 0; i < a->nknobs; i++)
        if (a->knob[i].type != b->knob[i].type || a->knob[i].value != b->knob[i].value) return 0;
    return 1;
}

/* What has to be compiled passes all of cuDNN's other checks before it finds that there is no
 * driver. */
static int lacks_driver(const struct hone_cudnn_graph *g, const struct hone_cudnn_choice *c,
                        int status)
{
    return g->device && c->compiles &&
           status == DNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING;
}

/* Gives a choice that is exact and new the next number of its engine's settings; 0: it is not. */
static int is_new(const struct hone_cudnn_graph *g, struct hone_cudnn_choice *c,
                  const struct hone_cudnn_list *list)
{
    c->number = strcmp(c->from, "default") != 0;
    if (list->n == HONE_CUDNN_CHOICES || c->engine >= ENGINES) return 0;
    if (!is_exact(g, c->notes)) return 0;
    int compiled = 0;
    for (int i = 0; i < list->n; i++) {
        compiled += list->choice[i].compiles;
        if (same(&list->choice[i], c)) return 0;
        if (c->number && list->choice[i].engine == c->engine && list->choice[i].number >= c->number)
            c->number = list->choice[i].number + 1;
    }
    return c->number < HONE_VALUES_40 && !(c->number && c->compiles && compiled >= COMPILED);
}

/* Takes a choice if it is new, exact and makes a plan. */
static int add(const struct hone_cudnn_graph *g, struct hone_cudnn_choice *c, dnn_descriptor config,
               struct hone_cudnn_list *list)
{
    dnn_descriptor plan;
    if (!is_new(g, c, list)) return 0;
    const int status = open_plan(g, config, &plan);
    c->unbuilt = lacks_driver(g, c, status);
    if (status && !c->unbuilt) return 0;
    if (plan)
        get(plan, DNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, DNN_TYPE_INT64, 1, &c->workspace_bytes);
    hone_cudnn_drop(plan);
    list->choice[list->n++] = *c;
    return 1;
}

/* Likewise, of an engine and knobs that cuDNN did not propose. */
static int add_knobs(const struct hone_cudnn_graph *g, dnn_descriptor engine,
                     struct hone_cudnn_choice *c, struct hone_cudnn_list *list)
{
    dnn_descriptor config;
    const int status = open_config(engine, c, &config);
    int taken = 0;
    if (config) {
        if (!c->nknobs) read_knobs(config, c);
        taken = add(g, c, config, list);
        hone_cudnn_drop(config);
    } else if (lacks_driver(g, c, status) && is_new(g, c, list)) {
        c->unbuilt = taken = 1;
        list->choice[list->n++] = *c;
    }
    return taken;
}

static void add_heuristic(const struct hone_cudnn_graph *g, int mode, const char *name,
                          struct hone_cudnn_list *list)
{
    dnn_descriptor h = make(DNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config[HEURISTICS];
    int bad = set_part(h, DNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph) ||
              set(h, DNN_ATTR_ENGINEHEUR_MODE, DNN_TYPE_HEUR_MODE, 1, &mode) ||
              (g->device && set_part(h, DNN_ATTR_ENGINEHEUR_DEVICEPROP, g->device)) ||
              hone_cudnn.BackendFinalize(h);
    for (int i = 0; i < HEURISTICS; i++) config[i] = make(DNN_BACKEND_ENGINECFG_DESCRIPTOR);
    int64_t n =
        bad ? 0
            : get(h, DNN_ATTR_ENGINEHEUR_RESULTS, DNN_TYPE_BACKEND_DESCRIPTOR, HEURISTICS, config);
    for (int64_t i = 0; i < n && i < HEURISTICS; i++) {
        struct hone_cudnn_choice c = { .engine = ENGINES };
        dnn_descriptor engine = make(DNN_BACKEND_ENGINE_DESCRIPTOR);
        int64_t index = ENGINES;
        if (get(config[i], DNN_ATTR_ENGINECFG_ENGINE, DNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine))
            get(engine, DNN_ATTR_ENGINE_GLOBAL_INDEX, DNN_TYPE_INT64, 1, &index);
        c.engine = (int)index;
        read_notes(engine, &c);
        read_knobs(config[i], &c);
        snprintf(c.from, sizeof c.from, "%s %d", name, (int)i + 1);
        add(g, &c, config[i], list);
        hone_cudnn_drop(engine);
    }
    for (int i = 0; i < HEURISTICS; i++) hone_cudnn_drop(config[i]);
    hone_cudnn_drop(h);
}

struct range {
    int type;
    int64_t lo, hi, step;
};

static int read_ranges(dnn_descriptor engine, struct range range[HONE_CUDNN_KNOBS])
{
    dnn_descriptor part[DNN_KNOB_TYPE_COUNTS];
    int k = 0;
    for (int i = 0; i < DNN_KNOB_TYPE_COUNTS; i++) part[i] = make(DNN_BACKEND_KNOB_INFO_DESCRIPTOR);
    int64_t n = get(engine, DNN_ATTR_ENGINE_KNOB_INFO, DNN_TYPE_BACKEND_DESCRIPTOR,
                    DNN_KNOB_TYPE_COUNTS, part);
    for (int64_t i = 0; i < n && k < HONE_CUDNN_KNOBS; i++) {
        struct range *r = &range[k];
        int all = get(part[i], DNN_ATTR_KNOB_INFO_TYPE, DNN_TYPE_KNOB_TYPE, 1, &r->type) &&
                  get(part[i], DNN_ATTR_KNOB_INFO_MINIMUM_VALUE, DNN_TYPE_INT64, 1, &r->lo) &&
                  get(part[i], DNN_ATTR_KNOB_INFO_MAXIMUM_VALUE, DNN_TYPE_INT64, 1, &r->hi) &&
                  get(part[i], DNN_ATTR_KNOB_INFO_STRIDE, DNN_TYPE_INT64, 1, &r->step);
        if (r->step < 1) r->step = 1;
        k += all && r->hi >= r->lo;
    }
    for (int i = 0; i < DNN_KNOB_TYPE_COUNTS; i++) hone_cudnn_drop(part[i]);
    return k;
}

/* Knobs by chance, the same in every session. */
static void add_samples(const struct hone_cudnn_graph *g, dnn_descriptor engine,
                        const struct hone_cudnn_choice *of, struct hone_cudnn_list *list)
{
    struct range range[HONE_CUDNN_KNOBS];
    int n = read_ranges(engine, range), taken = 0;
    for (uint64_t t = 0; t < TRIES && taken < SAMPLES && n; t++) {
        struct hone_cudnn_choice c = *of;
        c.nknobs = n;
        for (int i = 0; i < n; i++) {
            const struct range *r = &range[i];
            uint64_t steps = (uint64_t)((r->hi - r->lo) / r->step) + 1;
            c.knob[i].type = r->type;
            c.knob[i].value = r->lo + r->step * (int64_t)(hone_random(t, (uint64_t)i) % steps);
        }
        snprintf(c.from, sizeof c.from, "sampled");
        taken += add_knobs(g, engine, &c, list);
    }
}

static void add_engine(const struct hone_cudnn_graph *g, int64_t index, int samples,
                       struct hone_cudnn_list *list)
{
    dnn_descriptor engine = open_engine(g, index);
    struct hone_cudnn_choice c = { .engine = (int)index, .from = "default" };
    if (!engine) return;
    read_notes(engine, &c);
    if (!samples)
        add_knobs(g, engine, &c, list);
    else if (!c.compiles)
        add_samples(g, engine, &c, list);
    hone_cudnn_drop(engine);
}

int hone_cudnn_list(struct hone_cudnn_graph *g, struct hone_cudnn_list *list)
{
    int64_t engines = 0;
    list->n = 0;
    add_heuristic(g, DNN_HEUR_MODE_A, "heuristic A", list);
    add_heuristic(g, DNN_HEUR_MODE_FALLBACK, "fallback", list);
    get(g->graph, DNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, DNN_TYPE_INT64, 1, &engines);
    for (int samples = 0; samples < 2; samples++)
        for (int64_t i = 0; i < engines && i < ENGINES; i++) add_engine(g, i, samples, list);
    return list->n ? HONE_OK
                   : hone_fail(HONE_EREFUSED, "cuDNN has no exact engine for it on this GPU");
}

/* cuDNN's names without CUDNN_KNOB_TYPE_, by its numbers. */
static const char *const knob_name[DNN_KNOB_TYPE_COUNTS] = {
    "split_k",
    "swizzle",
    "tile",
    "use_tex",
    "edge",
    "kblock",
    "ldga",
    "ldgb",
    "chunk_k",
    "split_h",
    "wino_tile",
    "multiply",
    "split_k_buf",
    "tilek",
    "stages",
    "reduction_mode",
    "cta_split_k_mode",
    "split_k_slc",
    "idx_mode",
    "sliced",
    "split_rs",
    "singlebuffer",
    "ldgc",
    "specfilt",
    "kernel_cfg",
    "workspace",
    "tile_cga",
    "tile_cga_m",
    "tile_cga_n",
    "block_size",
    "occupancy",
    "array_size",
    "num_c_per_block",
    "split_cols",
    "tile_rows",
    "tile_cols",
    "load_size",
    "cta_count",
    "stream_k",
    "split_p_slc",
    "tile_m",
    "tile_n",
    "warp_spec_cfg",
    "swap_ab",
};

static int print_knob(const struct hone_cudnn_choice *c, int i, char text[], size_t size)
{
    const int64_t type = c->knob[i].type;
    const int known = type >= 0 && type < DNN_KNOB_TYPE_COUNTS;
    char number[24];
    snprintf(number, sizeof number, "knob%lld", (long long)type);
    return snprintf(text, size, "%s%s=%lld", i ? " " : ", ", known ? knob_name[type] : number,
                    (long long)c->knob[i].value);
}

void hone_cudnn_about(const struct hone_cudnn_choice *c, char text[HONE_TEXT])
{
    static const struct {
        int note;
        const char *name;
    } notes[] = {
        { DNN_NUMERICAL_NOTE_TENSOR_CORE, "tensor cores" },
        { DNN_NUMERICAL_NOTE_FFT, "FFT" },
        { DNN_NUMERICAL_NOTE_WINOGRAD, "Winograd" },
        { DNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4, "tiles 4x4" },
        { DNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6, "tiles 6x6" },
        { DNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13, "tiles 13x13" },
    };
    int len = snprintf(text, HONE_TEXT, "%s: %s%s", c->from,
                       c->compiles ? "runtime-compiled" : "precompiled",
                       c->unbuilt ? " (workspace not known without a driver)" : "");
    for (size_t i = 0; i < sizeof notes / sizeof *notes && len < HONE_TEXT; i++)
        if (c->notes >> notes[i].note & 1)
            len += snprintf(text + len, (size_t)(HONE_TEXT - len), ", %s", notes[i].name);
    for (int i = 0; i < c->nknobs && len < HONE_TEXT; i++)
        len += print_knob(c, i, text + len, (size_t)(HONE_TEXT - len));
}
