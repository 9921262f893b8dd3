/* What cuDNN's kernels share: lists of engines, each made once per problem and GPU, and plans. */
#include "kernels/nvidia/cudnn_kernel.h"
#include "kernels/nvidia/cudnn_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENGINE, KNOBS };

/* ---- a handle for each open device, as long as somebody needs it ---- */

static struct shared {
    const struct hone_device *device;
    dnn_handle handle;
    int users;
} shared[8];
enum { NSHARED = sizeof shared / sizeof *shared };

static struct shared *find_shared(const struct hone_device *d)
{
    for (int i = 0; i < NSHARED; i++)
        if (shared[i].users && shared[i].device == d) return &shared[i];
    return NULL;
}

static int open_handle(const struct hone_device *d, dnn_handle *handle)
{
    struct shared *s = find_shared(d);
    int i = 0;
    *handle = NULL;
    if (d->description) return HONE_OK;
    while (!s && i < NSHARED && shared[i].users) i++;
    if (!s && i == NSHARED) return hone_fail(HONE_EDEVICE, "cuDNN: more than %d devices", NSHARED);
    if (!s) {
        s = &shared[i];
        int status = hone_cudnn.Create(&s->handle);
        if (!status) status = hone_cudnn.SetStream(s->handle, hone_cuda_stream(d));
        if (status) return hone_cudnn_fail(status, "start");
        s->device = d;
    }
    s->users++;
    *handle = s->handle;
    return HONE_OK;
}

static void close_handle(const struct hone_device *d)
{
    struct shared *s = find_shared(d);
    if (s && !--s->users) hone_cudnn.Destroy(s->handle);
}

/* ---- lists ---- */

struct kept {
    struct kept *next;
    char key[HONE_TEXT + 192];
    int err;
    char why[256];
    struct hone_cudnn_list list;
};

static int open_graph(struct hone_cudnn_graph *g, const struct hone_problem *p,
                      const struct hone_device *d, hone_cudnn_build *build)
{
    memset(g, 0, sizeof *g);
    if (hone_cudnn_absent()) return g->err = hone_fail(HONE_EDEVICE, "%s", hone_cudnn_absent());
    g->err = open_handle(d, &g->handle);
    if (!g->err) build(g, p);
    return hone_cudnn_graph_finish(g, d);
}

static void close_graph(struct hone_cudnn_graph *g, const struct hone_device *d)
{
    const int had_handle = g->handle != NULL;
    hone_cudnn_graph_close(g);
    if (had_handle) close_handle(d);
}

static void fill(struct kept *k, const struct hone_problem *p, const struct hone_device *d,
                 hone_cudnn_build *build)
{
    struct hone_cudnn_graph g;
    k->err = open_graph(&g, p, d, build);
    if (!k->err) k->err = hone_cudnn_list(&g, p, &k->list);
    if (k->err) snprintf(k->why, sizeof k->why, "%.250s", hone_errmsg());
    close_graph(&g, d);
}

/* Asking cuDNN takes a tenth of a second, and the tuner asks about every configuration, so answers
 * are kept as long as the program runs.  NULL: out of memory. */
static const struct kept *list_of(const struct hone_problem *p, const struct hone_device *d,
                                  hone_cudnn_build *build)
{
    static _Thread_local struct kept *all;
    char text[HONE_TEXT], key[sizeof all->key];
    hone_problem_print(p, text);
    snprintf(key, sizeof key, "%s %s", text, d->id);
    for (struct kept *k = all; k; k = k->next)
        if (!strcmp(k->key, key)) return k;
    struct kept *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    memcpy(k->key, key, sizeof key);
    fill(k, p, d, build);
    k->next = all;
    return all = k;
}

const char *hone_cudnn_refuse(const struct hone_problem *p, const struct hone_device *d,
                              hone_cudnn_build *build)
{
    if (hone_cudnn_absent()) return hone_cudnn_absent();
    if (!d->description && hone_cuda_is_pretend()) return "the tests' driver has no libraries";
    const struct kept *k = list_of(p, d, build);
    return !k ? "out of memory" : k->err ? k->why : NULL;
}

static struct hone_config config_of(const struct hone_cudnn_choice *c)
{
    return (struct hone_config){ { [ENGINE] = c->engine, [KNOBS] = c->number } };
}

const struct hone_cudnn_choice *hone_cudnn_find(const struct hone_problem *p,
                                                const struct hone_config *c,
                                                const struct hone_device *d,
                                                hone_cudnn_build *build)
{
    const struct kept *k = list_of(p, d, build);
    for (int i = 0; k && i < k->list.n; i++) {
        const struct hone_cudnn_choice *choice = &k->list.choice[i];
        if (choice->engine == c->v[ENGINE] && choice->number == c->v[KNOBS]) return choice;
    }
    return NULL;
}

void hone_cudnn_guess(const struct hone_problem *p, const struct hone_device *d,
                      hone_cudnn_build *build, struct hone_config *c)
{
    const struct kept *k = list_of(p, d, build);
    if (k && k->list.n) *c = config_of(&k->list.choice[0]);
}

int hone_cudnn_candidates(const struct hone_problem *p, const struct hone_device *d,
                          hone_cudnn_build *build,
                          void (*f)(void *ctx, const struct hone_candidate *c), void *ctx)
{
    const struct kept *k = list_of(p, d, build);
    char about[HONE_TEXT];
    if (!k) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *k);
    if (k->err) return hone_fail(k->err, "%s", k->why);
    for (int i = 0; i < k->list.n; i++) {
        const struct hone_cudnn_choice *c = &k->list.choice[i];
        hone_cudnn_about(c, about);
        f(ctx, &(struct hone_candidate){ config_of(c), (size_t)c->workspace_bytes, about });
    }
    return HONE_OK;
}

/* ---- plans ---- */

/* The pack names the buffers; it is made anew only when they change, as in a net they never do. */
struct state {
    struct hone_cudnn_graph graph;
    dnn_descriptor plan, pack;
    int nargs;
    void *mem[HONE_MAX_ARGS + 1]; /* in the pack; the last is the workspace */
};

void hone_cudnn_release(struct hone_plan *plan)
{
    struct state *s = plan->priv;
    if (!s) return;
    hone_cudnn_drop(s->pack);
    hone_cudnn_drop(s->plan);
    close_graph(&s->graph, plan->device);
    free(s);
    plan->priv = NULL;
}

int hone_cudnn_prepare(struct hone_plan *plan, hone_cudnn_build *build)
{
    struct hone_arg arg[HONE_MAX_ARGS];
    struct state *s = plan->priv = calloc(1, sizeof *s);
    if (!s) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *s);
    const struct hone_cudnn_choice *c =
        hone_cudnn_find(&plan->problem, &plan->config, plan->device, build);
    s->nargs = plan->problem.op->args(&plan->problem, arg);
    int err = c ? open_graph(&s->graph, &plan->problem, plan->device, build)
                : hone_fail(HONE_EREFUSED, "cuDNN has no such engine");
    if (!err) err = hone_cudnn_plan(&s->graph, c, &s->plan);
    if (err) hone_cudnn_release(plan);
    return err;
}

/* An argument's number is its tensor's id. */
static int make_pack(struct state *s, void *const mem[], void *workspace)
{
    int64_t id[HONE_MAX_ARGS];
    for (int i = 0; i < s->nargs; i++) id[i] = i, s->mem[i] = mem[i];
    s->mem[HONE_MAX_ARGS] = workspace;
    hone_cudnn_drop(s->pack);
    s->pack = NULL;
    int status = hone_cudnn.BackendCreateDescriptor(DNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &s->pack);
    if (!status)
        status = hone_cudnn.BackendSetAttribute(s->pack, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                                DNN_TYPE_INT64, s->nargs, id);
    if (!status)
        status = hone_cudnn.BackendSetAttribute(s->pack, DNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                                DNN_TYPE_VOID_PTR, s->nargs, s->mem);
    if (!status)
        status = hone_cudnn.BackendSetAttribute(s->pack, DNN_ATTR_VARIANT_PACK_WORKSPACE,
                                                DNN_TYPE_VOID_PTR, 1, &workspace);
    if (!status) status = hone_cudnn.BackendFinalize(s->pack);
    return status ? hone_cudnn_fail(status, "the buffers") : HONE_OK;
}

int hone_cudnn_run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    struct state *s = plan->priv;
    int err = HONE_OK;
    if (!s->pack || memcmp(s->mem, mem, (size_t)s->nargs * sizeof *mem) ||
        s->mem[HONE_MAX_ARGS] != workspace)
        err = make_pack(s, mem, workspace);
    if (err) return err;
    int status = hone_cudnn.BackendExecute(s->graph.handle, s->plan, s->pack);
    return status ? hone_cudnn_fail(status, "a run") : HONE_OK;
}
