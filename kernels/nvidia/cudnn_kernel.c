/* What cuDNN's kernels share: lists of engines, each made once per problem and GPU, and plans. */
#include "kernels/nvidia/cudnn_kernel.h"
#include "kernels/nvidia/cudnn_calls.h"
#include "kernels/nvidia/kept.h"

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

struct answer {
    struct hone_kept kept;
    struct hone_cudnn_list list;
};

static int open_graph(struct hone_cudnn_graph *g, const struct hone_problem *p,
                      const struct hone_device *d, hone_cudnn_build *build)
{
    memset(g, 0, sizeof *g);
    if (hone_cudnn_absent()) return g->err = hone_fail(HONE_EDEVICE, "%s", hone_cudnn_absent());
    g->err = open_handle(d, &g->handle);
    if (!g->err) g->err = build(g, p);
    return g->err ? g->err : hone_cudnn_graph_finish(g, d);
}

static void close_graph(struct hone_cudnn_graph *g, const struct hone_device *d)
{
    const int had_handle = g->handle != NULL;
    hone_cudnn_graph_close(g);
    if (had_handle) close_handle(d);
}

static int ask(void *answer, const struct hone_problem *p, const struct hone_device *d, void *build)
{
    struct hone_cudnn_graph g;
    int err = open_graph(&g, p, d, *(hone_cudnn_build **)build);
    if (!err) err = hone_cudnn_list(&g, &((struct answer *)answer)->list);
    close_graph(&g, d);
    return err;
}

static const struct answer *list_of(const struct hone_problem *p, const struct hone_device *d,
                                    hone_cudnn_build *build)
{
    static _Thread_local struct hone_kept *all;
    return hone_kept_answer(&all, sizeof(struct answer), p, d, ask, &build);
}

const char *hone_cudnn_refuse(const struct hone_problem *p, const struct hone_device *d,
                              hone_cudnn_build *build)
{
    if (hone_cudnn_absent()) return hone_cudnn_absent();
    if (!d->description && hone_nvidia_pretend()) return hone_nvidia_pretend();
    const struct answer *k = list_of(p, d, build);
    return !k ? "out of memory" : k->kept.err ? k->kept.why : NULL;
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
    const struct answer *k = list_of(p, d, build);
    for (int i = 0; k && i < k->list.n; i++) {
        const struct hone_cudnn_choice *choice = &k->list.choice[i];
        if (choice->engine == c->v[ENGINE] && choice->number == c->v[KNOBS]) return choice;
    }
    return NULL;
}

size_t hone_cudnn_workspace(const struct hone_problem *p, const struct hone_config *c,
                            const struct hone_device *d, hone_cudnn_build *build)
{
    const struct hone_cudnn_choice *choice = hone_cudnn_find(p, c, d, build);
    return choice ? (size_t)choice->workspace_bytes : 0;
}

void hone_cudnn_guess(const struct hone_problem *p, const struct hone_device *d,
                      hone_cudnn_build *build, struct hone_config *c)
{
    const struct answer *k = list_of(p, d, build);
    if (k && k->list.n) *c = config_of(&k->list.choice[0]);
}

int hone_cudnn_candidates(const struct hone_problem *p, const struct hone_device *d,
                          hone_cudnn_build *build,
                          void (*f)(void *ctx, const struct hone_candidate *c), void *ctx)
{
    const struct answer *k = list_of(p, d, build);
    char about[HONE_TEXT];
    if (!k) return hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *k);
    if (k->kept.err) return hone_fail(k->kept.err, "%s", k->kept.why);
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
    void *mem[HONE_MAX_ARGS], *workspace; /* in the pack */
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

/* An argument's number is its tensor's id; tensors beyond are second names of arguments, and
 * numbers that lie in the graph itself.  Returns how many there are. */
static int64_t list_tensors(struct state *s, int64_t id[], void *at[])
{
    struct hone_cudnn_graph *g = &s->graph;
    int64_t n = 0;
    for (int i = 0; i < s->nargs; i++) {
        id[n] = i;
        at[n++] = s->mem[i];
    }
    for (int i = 0; i < g->nextra; i++) {
        id[n] = HONE_CUDNN_EXTRA + i;
        at[n++] = g->extra[i].arg < 0 ? (void *)&g->extra[i].value : s->mem[g->extra[i].arg];
    }
    return n;
}

static int make_pack(struct state *s, void *const mem[], void *workspace)
{
    int64_t id[HONE_MAX_ARGS + HONE_CUDNN_EXTRAS];
    void *at[HONE_MAX_ARGS + HONE_CUDNN_EXTRAS];
    memcpy(s->mem, mem, (size_t)s->nargs * sizeof *mem);
    s->workspace = workspace;
    const int64_t n = list_tensors(s, id, at);
    hone_cudnn_drop(s->pack);
    s->pack = NULL;
    int status = hone_cudnn.BackendCreateDescriptor(DNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &s->pack);
    if (!status)
        status = hone_cudnn.BackendSetAttribute(s->pack, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                                DNN_TYPE_INT64, n, id);
    if (!status)
        status = hone_cudnn.BackendSetAttribute(s->pack, DNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                                DNN_TYPE_VOID_PTR, n, at);
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
        s->workspace != workspace)
        err = make_pack(s, mem, workspace);
    if (err) return err;
    int status = hone_cudnn.BackendExecute(s->graph.handle, s->plan, s->pack);
    return status ? hone_cudnn_fail(status, "a run") : HONE_OK;
}
