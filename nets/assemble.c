/* From steps to something that runs: a plan for every step, a place for every tensor, and no
 * allocation after that. */
#include "nets/arena.h"

#include <stdlib.h>
#include <string.h>

static int64_t aligned(int64_t bytes) { return (bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN; }

/* ---- plans ---- */

/* The step of another net of the same text that does the same for the same layer. */
static const struct hone_plan *like_plan(const struct hone_net *shared, const struct hone_step *s)
{
    for (int i = 0; shared && i < shared->nsteps; i++) {
        const struct hone_step *t = &shared->step[i];
        if (t->layer == s->layer && t->phase == s->phase && t->problem.op == s->problem.op)
            return &t->plan;
    }
    return NULL;
}

static int choose_plans(struct hone_net *net, struct hone_db *db, struct hone_device *d,
                        const struct hone_net *shared)
{
    struct hone_db none = { 0 };
    for (int i = 0; i < net->nsteps; i++) {
        struct hone_step *s = &net->step[i];
        int err = net->reference ? hone_plan_open(&s->plan, &s->problem, &hone_backend_ref, NULL, d)
                                 : hone_plan_best(&s->plan, db ? db : &none, &s->problem, d,
                                                  like_plan(shared, s), &s->known);
        if (err) {
            char text[HONE_TEXT];
            hone_problem_print(&s->problem, text);
            return hone_fail_at(err, "%s: %s", net->name, text);
        }
    }
    return HONE_OK;
}

/* ---- memory ---- */

static void plan_rest(struct hone_net *net)
{
    for (int t = 0; t < net->ntensors; t++) {
        struct hone_tensor *tensor = &net->tensor[t];
        int64_t *end = tensor->role == HONE_ROLE_DATA ? &net->data_bytes : &net->state_bytes;
        if (tensor->role != HONE_ROLE_DATA && tensor->role != HONE_ROLE_STATE) continue;
        if (tensor->within >= 0) continue;
        tensor->offset = *end;
        *end += aligned(hone_tensor_bytes(tensor));
    }
    /* A whole step as one op has its gradients in its workspace. */
    net->gradients_bytes =
        net->grads >= 0 && !net->launch ? hone_tensor_bytes(&net->tensor[net->grads]) : 0;
}

int hone_net_zeros(struct hone_device *d, char *mem, int64_t bytes)
{
    static const char nothing[1 << 16];
    int err = HONE_OK;
    for (int64_t at = 0, n; !err && at < bytes; at += n) {
        n = bytes - at < (int64_t)sizeof nothing ? bytes - at : (int64_t)sizeof nothing;
        err = d->backend->put(d, mem + at, nothing, (size_t)n);
    }
    return err;
}

static int zeros(struct hone_device *d, int64_t bytes, char **mem)
{
    int err = d->backend->alloc(d, (size_t)bytes, (void **)mem);
    return err ? err : hone_net_zeros(d, *mem, bytes);
}

/* The batch alone is left as it is: often it is read elsewhere, and its pages are never touched. */
static int make_room_for_batch(struct hone_net *net)
{
    struct hone_device *d = net->device;
    const int64_t from = net->tensor[net->input].offset,
                  to = from + aligned(hone_tensor_bytes(&net->tensor[net->input]));
    int err = d->backend->alloc(d, (size_t)net->data_bytes, (void **)&net->data);
    if (!err) err = hone_net_zeros(d, net->data, from);
    return err ? err : hone_net_zeros(d, net->data + to, net->data_bytes - to);
}

static int take_shared(struct hone_net *net, const struct hone_net *shared)
{
    if (net->weights_bytes != shared->weights_bytes || net->parameters != shared->parameters)
        return hone_fail(HONE_EINVAL,
                         "'%s' cannot share the weights of '%s': they are of another text",
                         net->name, shared->name);
    if (net->grads >= 0 && (shared->grads < 0 || net->state_bytes != shared->state_bytes))
        return hone_fail(HONE_EINVAL,
                         "'%s' cannot share an optimizer with a net that trains otherwise",
                         net->name);
    net->weights = shared->weights;
    net->state = net->grads >= 0 ? shared->state : NULL;
    return HONE_OK;
}

/* Gradients are numbers of one step: nets that share weights share them to save memory. */
static int make_room_for_gradients(struct hone_net *net, const struct hone_net *shared)
{
    net->owns_gradients = !shared || shared->gradients_bytes != net->gradients_bytes;
    if (!net->owns_gradients) net->gradients = shared->gradients;
    return net->owns_gradients && net->gradients_bytes
               ? zeros(net->device, net->gradients_bytes, &net->gradients)
               : HONE_OK;
}

/* Nor does any keep something in its arena between its runs. */
static int make_room_for_arena(struct hone_net *net, const struct hone_net *shared)
{
    const int64_t bytes = net->arena_bytes + net->workspace_bytes;
    net->owns_arena = !shared || shared->arena_bytes + shared->workspace_bytes < bytes;
    if (!net->owns_arena) net->arena = shared->arena;
    return net->owns_arena ? net->device->backend->alloc(net->device, (size_t)bytes,
                                                         (void **)&net->arena)
                           : HONE_OK;
}

static int allocate(struct hone_net *net, struct hone_net *shared)
{
    struct hone_device *d = net->device;
    int err = make_room_for_arena(net, shared);
    if (!err) err = make_room_for_batch(net);
    if (!err) err = make_room_for_gradients(net, shared);
    if (err || shared) return err ? err : take_shared(net, shared);
    net->owns_weights = 1;
    err = zeros(d, net->weights_bytes, &net->weights);
    if (!err && net->state_bytes) err = zeros(d, net->state_bytes, &net->state);
    return err;
}

void *hone_net_mem(const struct hone_net *net, int t)
{
    if (t == net->input && net->fed[0]) return net->fed[0];
    if (t == net->target && net->fed[1]) return net->fed[1];
    if (t == net->teacher && net->fed[2]) return net->fed[2];
    const struct hone_tensor *of = &net->tensor[t];
    if (of->within >= 0) return (char *)hone_net_mem(net, of->within) + of->offset;
    char *const base[] = {
        [HONE_ROLE_DATA] = net->data,          [HONE_ROLE_WEIGHT] = net->weights,
        [HONE_ROLE_RUNNING] = net->weights,    [HONE_ROLE_GRADIENT] = net->gradients,
        [HONE_ROLE_STATE] = net->state,        [HONE_ROLE_ACTIVATION] = net->arena,
    };
    return base[of->role] + of->offset;
}

/* Data may lie elsewhere than before. */
static void find_data(struct hone_net *net)
{
    hone_net_forget_graph(net);
    for (int i = 0; i < net->nsteps; i++) {
        struct hone_step *s = &net->step[i];
        for (int a = 0; a < s->nargs; a++)
            if (net->tensor[s->arg[a]].role == HONE_ROLE_DATA)
                s->mem[a] = hone_net_mem(net, s->arg[a]);
    }
}

void hone_net_read_at(struct hone_net *net, void *x, void *target)
{
    if (net->fed[0] == x && net->fed[1] == target) return;
    net->fed[0] = x;
    net->fed[1] = target;
    find_data(net);
}

void hone_net_learn_from(struct hone_net *net, void *logits)
{
    net->fed[2] = logits;
    find_data(net);
}

int hone_net_plan(struct hone_net *net, struct hone_db *db, struct hone_device *d,
                  const struct hone_net *shared)
{
    net->device = d;
    int err = choose_plans(net, db, d, shared);
    if (!err) err = hone_net_plan_arena(net);
    if (err) return err;
    plan_rest(net);
    return db && !net->reference ? hone_net_spare(net, db) : HONE_OK;
}

int hone_net_assemble(struct hone_net *net, struct hone_db *db, struct hone_device *d,
                      struct hone_net *shared)
{
    int err = hone_net_plan(net, db, d, shared);
    if (db) {   /* training looks nothing up */
        hone_db_rest(db);
        hone_memory_trim();
    }
    if (!err && net->memory && hone_net_bytes(net) > net->memory)
        err = hone_net_too_large(net, hone_net_bytes(net));
    if (err) return err;
    if ((err = allocate(net, shared))) return hone_fail_at(err, "%s", net->name);
    for (int i = 0; i < net->nsteps; i++) {
        struct hone_step *s = &net->step[i];
        for (int a = 0; a < s->nargs; a++) s->mem[a] = hone_net_mem(net, s->arg[a]);
        s->workspace = net->arena + s->workspace_offset;
    }
    return HONE_OK;
}

/* ---- running ---- */

int hone_net_run(const struct hone_net *net, int from, int to)
{
    const struct hone_step *end = net->step + to;
    for (const struct hone_step *s = net->step + from; s < end; s++) {
        int err = s->plan.kernel->run(&s->plan, s->mem, s->workspace);
        if (err) return err;
    }
    return HONE_OK;
}
