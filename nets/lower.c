/* From nodes to steps: each kind adds its forward steps in the order of the text, then its backward
 * steps in reverse, then the optimizer runs over the flat arrays of all parameters. */
#include "nets/lower.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *hone_phase_name(enum hone_phase phase)
{
    static const char *const name[HONE_NPHASES] = {
        [HONE_FORWARD] = "fwd",         [HONE_LOSS] = "loss",
        [HONE_BACKWARD_DATA] = "dgrad", [HONE_BACKWARD_WEIGHTS] = "wgrad",
        [HONE_UPDATE] = "update",        [HONE_WHOLE_STEP] = "whole",
    };
    return name[phase];
}

/* ---- what kinds call ---- */

void *hone_lower_grown(void *array, int n, size_t size)
{
    if (n & (n - 1)) return array;
    array = realloc(array, (n ? 2 * (size_t)n : 1) * size);
    if (!array) hone_fail(HONE_ENOMEM, "a list of %d", n + 1);
    return array;
}

int hone_lower_tensor(struct hone_lower *b, enum hone_role role, enum hone_dtype dtype, int layer,
                      int rank, const int64_t dim[], const char *fmt, ...)
{
    struct hone_net *net = b->net;
    double len = 1;
    int t = net->ntensors;
    struct hone_tensor *tensor = hone_lower_grown(net->tensor, t, sizeof *tensor);
    if (!tensor) return HONE_ENOMEM;
    net->tensor = tensor;
    int *last = hone_lower_grown(b->last, t, sizeof *last);
    if (!last) return HONE_ENOMEM;
    b->last = last;
    if (dtype == HONE_F32 && role == HONE_ROLE_ACTIVATION) dtype = net->dtype;
    else if (dtype == HONE_F32 || dtype == HONE_WIDE) dtype = hone_dtype_wide(net->dtype);
    net->tensor[t] = (struct hone_tensor){
        .role = role, .dtype = dtype, .rank = rank, .layer = layer, .over = -1, .within = -1
    };
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(net->tensor[t].name, sizeof net->tensor[t].name, fmt, ap);
    va_end(ap);
    for (int i = 0; i < rank; i++) len *= (double)(net->tensor[t].dim[i] = dim[i]);
    if (len > INT32_MAX)
        return hone_fail(HONE_EPARSE, "'%s' would hold %.4g numbers; at most %d are possible",
                         net->tensor[t].name, len, INT32_MAX);
    b->last[t] = -1;
    return net->ntensors++;
}

int64_t hone_tensor_len(const struct hone_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

int64_t hone_tensor_bytes(const struct hone_tensor *t)
{
    return hone_tensor_len(t) * (int64_t)hone_dtype_bytes(t->dtype);
}

int hone_node_index(const struct hone_lower *b, const struct hone_node *n)
{
    return n ? (int)(n - b->node) : -1;
}

struct hone_layer *hone_node_layer(const struct hone_lower *b, const struct hone_node *n)
{
    return &b->net->layer[n - b->node];
}

const struct hone_node *hone_node_input(const struct hone_lower *b, const struct hone_node *n)
{
    return &b->node[n->input[0]];
}

int hone_lower_output(struct hone_lower *b, struct hone_node *n, const char *suffix)
{
    int64_t image[] = { b->how->batch, n->h, n->w, n->c }, features[] = { b->how->batch, n->c };
    int flat = hone_node_is_flat(n);
    return hone_lower_tensor(b, HONE_ROLE_ACTIVATION, HONE_F32, hone_node_index(b, n), flat ? 2 : 4,
                             flat ? features : image, "%s%s", n->name, suffix);
}

/* Does a rectifier follow n, with nothing but pooling and the like between? */
static int is_rectified(const struct hone_lower *b, const struct hone_node *n)
{
    for (int first = 1; n; first = 0) {
        if (n->act) return n->act->rectifies;
        if (n->kind->is_act) return n->kind->rectifies;
        if (!first && n->kind->takes_act == HONE_TAKES_ACT) return 0;
        n = n->reader < 0 ? NULL : &b->node[n->reader];
    }
    return 0;
}

static int64_t number_bytes(const struct hone_lower *b)
{
    return (int64_t)hone_dtype_bytes(hone_dtype_wide(b->net->dtype));
}

int hone_lower_weight(struct hone_lower *b, struct hone_node *n, const char *suffix, int64_t fan_in,
                      int64_t fan_out, int rank, const int64_t dim[])
{
    int layer = hone_node_index(b, n), g = 0;
    int w = hone_lower_tensor(b, HONE_ROLE_WEIGHT, HONE_F32, layer, rank, dim, "%s.%s", n->name,
                              suffix);
    if (w < 0) return w;
    const int64_t bytes = hone_tensor_bytes(&b->net->tensor[w]);
    const int apart = hone_lower_updates_apart(b, bytes);
    if (b->how->train)
        g = hone_lower_tensor(b, apart ? HONE_ROLE_ACTIVATION : HONE_ROLE_GRADIENT, HONE_WIDE,
                              layer, rank, dim, "d %s.%s", n->name, suffix);
    if (g < 0) return g;
    struct hone_tensor *t = b->net->tensor;
    int64_t len = hone_tensor_len(&t[w]);
    t[w].offset = b->nflat * number_bytes(b);
    t[w].fan_in = fan_in;
    t[w].fan_out = fan_out;
    t[w].rectified = is_rectified(b, n);
    int err = HONE_OK;
    if (b->how->train) {
        t[g].offset = b->ngrads * number_bytes(b);
        b->ngrads += apart ? 0 : hone_lower_on_lines(len);
        err = hone_lower_same_gradient(b, w, g);
    }
    if (err) return err;
    /* The next tensor starts on a cache line; the numbers between stay 0, for their gradient is 0.
     */
    b->nflat += hone_lower_on_lines(len);
    hone_node_layer(b, n)->parameters += len;
    b->net->parameters += len;
    if (b->nflat > INT32_MAX) return hone_fail(HONE_EPARSE, "more than %d parameters", INT32_MAX);
    return w;
}

int hone_lower_running(struct hone_lower *b, struct hone_node *n, const char *suffix, int64_t len,
                       double first)
{
    int t = hone_lower_tensor(b, HONE_ROLE_RUNNING, HONE_F32, hone_node_index(b, n), 1,
                              (int64_t[]){ len }, "%s.%s", n->name, suffix);
    if (t < 0) return t;
    /* Where the trainable numbers end is known when all layers are lowered. */
    b->net->tensor[t].offset = b->nrunning * number_bytes(b);
    b->net->tensor[t].first = first;
    b->nrunning += hone_lower_on_lines(len);
    return t;
}

/* Puts the running values behind the trainable ones. */
static void place_running(struct hone_lower *b)
{
    struct hone_net *net = b->net;
    for (int t = 0; t < net->ntensors; t++)
        if (net->tensor[t].role == HONE_ROLE_RUNNING)
            net->tensor[t].offset += b->nflat * number_bytes(b);
    net->trainable_bytes = b->nflat * number_bytes(b);
    net->weights_bytes = net->trainable_bytes + b->nrunning * number_bytes(b);
}

/* ---- gradients ---- */

int hone_lower_same_gradient(struct hone_lower *b, int t, int g)
{
    struct hone_partial *p = hone_lower_grown(b->partial, b->npartials, sizeof *p);
    if (!p) return HONE_ENOMEM;
    b->partial = p;
    p[b->npartials] = (struct hone_partial){ .gradient = g, .next = b->last[t] };
    b->last[t] = b->npartials++;
    return HONE_OK;
}

int hone_lower_new_gradient(struct hone_lower *b, int layer, int t)
{
    const struct hone_tensor of = b->net->tensor[t];
    int g = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, of.dtype, layer, of.rank, of.dim, "d %s",
                              of.name);
    if (g >= 0) b->net->tensor[g].dtype = of.dtype;   /* logits are floats in any net */
    int err = g < 0 ? g : hone_lower_same_gradient(b, t, g);
    return err ? err : g;
}

/* Where n's tensor is read by several layers, their parts are added up in the order of the text. */
int hone_lower_gradient_of(struct hone_lower *b, int t)
{
    assert(b->last[t] >= 0);
    struct hone_partial sum = b->partial[b->last[t]];
    while (sum.next >= 0) {
        const struct hone_tensor of = b->net->tensor[t];
        int other = b->partial[sum.next].gradient;
        char text[HONE_TEXT];
        int g = hone_lower_tensor(b, HONE_ROLE_ACTIVATION, of.dtype, of.layer, of.rank, of.dim,
                                  "d %s", of.name);
        if (g < 0) return g;
        snprintf(text, sizeof text, "add:f32:any:n%lld", (long long)hone_tensor_len(&of));
        int err = hone_lower_step(b, &b->node[of.layer], HONE_BACKWARD_DATA, text,
                                  (int[]){ g, sum.gradient, other }, 3);
        if (err) return err;
        sum = (struct hone_partial){ .gradient = g, .next = b->partial[sum.next].next };
    }
    b->partial[b->last[t]] = sum;
    return sum.gradient;
}

/* Kinds write f32.  Losses and optimizers compute in floats what are halves elsewhere. */
void hone_lower_dtype(const struct hone_net *net, struct hone_problem *p)
{
    const struct hone_op *op = p->op;
    if (p->dtype == HONE_F32)
        p->dtype = op->dtypes >> net->dtype & 1 ? net->dtype : hone_dtype_wide(net->dtype);
    for (int i = 0; net->tf32 && i < HONE_MAX_ATTRS && op->attr[i].name; i++)
        if (!strcmp(op->attr[i].name, "tf32")) p->attrs |= 1u << i;
}

int hone_lower_step(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase,
                    const char *problem, const int arg[], int nargs)
{
    struct hone_net *net = b->net;
    struct hone_arg want[HONE_MAX_ARGS] = { 0 };
    for (int i = 0; i < nargs; i++)
        if (arg[i] < 0) return arg[i];
    struct hone_step *s = hone_lower_grown(net->step, net->nsteps, sizeof *s);
    if (!s) return HONE_ENOMEM;
    net->step = s;
    s += net->nsteps;
    memset(s, 0, sizeof *s);
    s->layer = hone_node_index(b, n);
    s->phase = phase;
    s->nargs = nargs;
    int err = hone_problem_parse(problem, &s->problem);
    if (err) return err;
    hone_lower_dtype(net, &s->problem);
    if (s->problem.op->args(&s->problem, want) != nargs)
        return hone_fail(HONE_EINVAL, "%s: the net gives it %d arguments", problem, nargs);
    for (int i = 0; i < nargs; i++) {
        const struct hone_tensor *t = &net->tensor[arg[i]];
        s->arg[i] = arg[i];
        if (hone_arg_len(&want[i]) != hone_tensor_len(t) || want[i].dtype != t->dtype)
            return hone_fail(
                HONE_EINVAL,
                "%s: its argument '%s' holds %lld numbers of %s, tensor '%s' is another", problem,
                want[i].name, (long long)hone_arg_len(&want[i]), hone_dtype_name(want[i].dtype),
                t->name);
    }
    net->nsteps++;
    return HONE_OK;
}

double hone_node_real(const struct hone_node *n, const char *name)
{
    int i = 0;
    while (n->kind->key[i].name && strcmp(n->kind->key[i].name, name)) i++;
    assert(n->kind->key[i].name);
    return n->value[i];
}

int hone_node_int(const struct hone_node *n, const char *name)
{
    return (int)hone_node_real(n, name);
}

void hone_lower_say(struct hone_lower *b, const struct hone_node *n, const char *fmt, ...)
{
    struct hone_layer *l = hone_node_layer(b, n);
    size_t len = strlen(l->what);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->what + len, sizeof l->what - len, fmt, ap);
    va_end(ap);
}

void hone_lower_pass(struct hone_node *n, const struct hone_node *in)
{
    n->h = in->h;
    n->w = in->w;
    n->c = in->c;
    n->y = in->y;
}

/* ---- checks of the whole ---- */

static void replace(struct hone_node *n, const struct hone_layer_kind *kind)
{
    n->kind = kind;
    for (int k = 0; kind->key[k].name; k++) n->value[k] = kind->key[k].def;
}

/* --loss on the command line replaces the text's, with that kind's usual keys. */
static int replace_loss(struct hone_lower *b)
{
    if (!b->how->loss) return HONE_OK;
    const struct hone_layer_kind *kind = hone_layer_kind_find(b->how->loss);
    if (!kind || !kind->is_loss) return hone_fail(HONE_EINVAL, "no loss '%s'", b->how->loss);
    for (int i = 0; i < b->nnodes; i++) {
        struct hone_node *n = &b->node[i];
        if (!n->kind->is_loss || n->kind == kind) continue;
        replace(n, kind);
    }
    return HONE_OK;
}

static int no_activation(const char *name)
{
    char list[HONE_TEXT] = "";
    for (int i = 0; hone_layer_kinds[i]; i++)
        for (const struct hone_layer_kind *k = hone_layer_kinds[i]; k->name; k++) {
            size_t len = strlen(list);
            if (k->is_act)
                snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", k->name);
        }
    return hone_fail(HONE_EINVAL, "no activation '%s'; there are %s", name, list);
}

/* Hidden activations are all but one that the loss reads. */
static int replace_activations(struct hone_lower *b)
{
    if (!b->how->activation) return HONE_OK;
    /* PyTorch's and Keras's name of the exact form. */
    const char *name = strcmp(b->how->activation, "gelu") ? b->how->activation : "gelu_erf";
    const struct hone_layer_kind *kind = hone_layer_kind_find(name);
    int n = 0;
    if (!kind || !kind->is_act)
        return no_activation(b->how->activation);
    for (int i = 0; i < b->nnodes; i++) {
        struct hone_node *node = &b->node[i];
        if (node->reader >= 0 && b->node[node->reader].kind->is_loss) continue;
        if (node->kind->is_act) replace(node, kind), n++;
        if (node->act) node->act = kind, n++;
    }
    return n ? HONE_OK : hone_fail(HONE_EINVAL, "%s: no hidden activation to replace", b->file);
}

static int check_whole(const struct hone_lower *b)
{
    int ninputs = 0, nlosses = 0, line = b->lastline ? b->lastline : 1;
    for (int i = 0; i < b->nnodes; i++) {
        const struct hone_node *n = &b->node[i];
        ninputs += !n->kind->ninputs;
        nlosses += n->kind->is_loss;
        if (ninputs > 1)
            return hone_fail(HONE_EPARSE, "%s:%d: a second input; a net has one", b->file, n->line);
        if (nlosses > 1)
            return hone_fail(HONE_EPARSE, "%s:%d: a second loss; a net has one", b->file, n->line);
    }
    if (!ninputs) return hone_fail(HONE_EPARSE, "%s:%d: the net has no input", b->file, line);
    if (!nlosses)
        return hone_fail(HONE_EPARSE, "%s:%d: the net has no loss (softmax_ce, mse, mae or huber)",
                         b->file, line);
    for (int i = 0; i < b->nnodes; i++) {
        const struct hone_node *n = &b->node[i];
        if (!n->nreaders && !n->kind->is_loss)
            return hone_fail(HONE_EPARSE, "%s:%d: '%s' is never used", b->file, n->line, n->name);
    }
    return HONE_OK;
}

/* ---- phases ---- */

/* What the text says of a node, before nodes become parts of others' steps. */
static void name_layers(struct hone_lower *b)
{
    for (int i = 0; i < b->nnodes; i++) {
        const struct hone_node *n = &b->node[i];
        struct hone_layer *l = &b->net->layer[i];
        snprintf(l->kind, sizeof l->kind, "%s", n->kind->name);
        snprintf(l->name, sizeof l->name, "%s", n->name);
        l->line = n->line;
        l->ninputs = n->ninputs;
        for (int k = 0; k < n->ninputs; k++) l->input[k] = n->input[k];
        l->act = n->act ? n->act->name : NULL;
        for (int k = 0; n->kind->key[k].name; k++) {
            if (n->kind->key[k].type == HONE_KEY_ACT) continue;
            l->key[l->nkeys].name = n->kind->key[k].name;
            l->key[l->nkeys++].value = n->value[k];
        }
    }
}

static int forward(struct hone_lower *b)
{
    for (int i = 0; i < b->nnodes; i++) {
        struct hone_node *n = &b->node[i];
        struct hone_layer *l = &b->net->layer[i];
        int err = n->kind->forward(b, n);
        if (err) return hone_fail_at(err, "%s:%d", b->file, n->line);
        n->backward = n->weight >= 0;
        for (int j = 0; j < n->ninputs; j++) n->backward |= b->node[n->input[j]].backward;
        l->out = n->y;
        l->h = n->h;
        l->w = n->w;
        l->c = n->c;
    }
    return HONE_OK;
}

static int backward(struct hone_lower *b)
{
    for (int i = b->nnodes - 1; i >= 0; i--) {
        struct hone_node *n = &b->node[i];
        int err = n->backward && n->kind->backward ? n->kind->backward(b, n) : HONE_OK;
        if (!err) err = hone_lower_update_of(b, n);
        if (err) return hone_fail_at(err, "%s:%d", b->file, n->line);
    }
    return HONE_OK;
}

static int lower(struct hone_lower *b)
{
    struct hone_net *net = b->net;
    int err = replace_loss(b);
    if (!err) err = check_whole(b);
    if (!err) err = replace_activations(b);
    if (err) return err;
    net->nlayers = b->nnodes;
    net->layer = calloc((unsigned)b->nnodes, sizeof *net->layer);
    if (!net->layer) return hone_fail(HONE_ENOMEM, "%d layers", b->nnodes);
    name_layers(b);
    hone_lower_fuse(b);
    err = forward(b);
    net->first_backward = net->first_update = net->nsteps;
    place_running(b);
    if (err || !b->how->train) return err;
    if (!net->parameters)
        return hone_fail(HONE_EPARSE, "%s: the net has no parameters to train", b->file);
    err = hone_lower_update_open(b);
    if (!err) err = backward(b);
    net->first_update = net->nsteps;
    if (!err) err = hone_lower_update_rest(b);
    return err ? err : hone_lower_whole(b);
}

int hone_net_parse(struct hone_net *net, const char *file, const char *text,
                   const struct hone_lowering *how)
{
    struct hone_lower b = { .net = net, .how = how, .file = file };
    memset(net, 0, sizeof *net);
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    snprintf(net->name, HONE_NAME, "%.*s", (int)strcspn(base, "."), base);
    net->batch = how->batch;
    net->tf32 = how->dtype == HONE_TF32;
    net->dtype = net->tf32 ? HONE_F32 : how->dtype;
    net->reference = how->reference;
    net->memory = how->memory;
    net->init = how->init ? how->init : HONE_INIT_GLOROT;
    net->optim = how->optim;
    net->input = net->target = net->output = net->loss = net->hit = net->params = net->grads =
        net->hyper = net->seed = net->norm =
            net->teacher = -1;
    if (how->batch < 1) return hone_fail(HONE_EINVAL, "batch %d: it must be 1 or more", how->batch);
    int err = hone_lower_read(&b, text);
    if (!err) err = lower(&b);
    free(b.node);
    free(b.last);
    free(b.partial);
    if (err) hone_net_close(net);
    return err;
}
