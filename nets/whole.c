/* Whole training steps as one op: where a net is a plain multilayer perceptron, of fully connected
 * layers on features or pictures, each but the last with the same activation and dropout, its steps
 * are replaced by one of the ops mlp_ce, mlp_mse, ..., where that was measured to be faster on the
 * device. */
#include "nets/lower.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 4 };

/* What the op is told. */
struct plain {
    int nlayers, width[MOST_LAYERS + 1];
    const struct hone_layer_kind *act;
    const struct hone_node *loss;
    double drop;
};

/* ---- is it a plain net? ---- */

/* Dropout behind hidden layer l has the stream 2 l in the op, which is the node's place where each
 * layer is a line and each dropout another, and no flatten before them. */
static int add_dropout(const struct hone_lower *b, const struct hone_node *n, struct plain *m)
{
    if (m->nlayers > 1 && n->value[0] != m->drop) return 0;
    m->drop = n->value[0];
    return m->nlayers && (m->drop == 0 || hone_node_index(b, n) == 2 * m->nlayers);
}

static int add_layer(const struct hone_node *n, struct plain *m)
{
    if (m->nlayers == MOST_LAYERS || n->bias < 0 || (n->act && !n->act->from_y)) return 0;
    m->width[++m->nlayers] = n->c;
    return 1;
}

/* Hidden layers are those before the last: they have one activation and one rate of dropout. */
static int hidden_alike(const struct hone_lower *b, struct plain *m)
{
    int layer = 0, drops = 0;
    for (int i = 0; i < b->nnodes; i++) {
        const struct hone_node *n = &b->node[i];
        if (!strcmp(n->kind->name, "dropout") && n->value[0] > 0) drops++;
        if (strcmp(n->kind->name, "fc")) continue;
        if (++layer == m->nlayers) return !n->act && (!drops || drops == layer - 1);
        if (layer > 1 && n->act != m->act) return 0;
        m->act = n->act;
    }
    return 0;
}

static int is_plain(const struct hone_lower *b, struct plain *m)
{
    *m = (struct plain){ 0 };
    for (int i = 0; i < b->nnodes; i++) {
        const struct hone_node *n = &b->node[i];
        const char *kind = n->kind->name;
        if (n->nreaders > 1 || (i && (n->ninputs != 1 || n->input[0] != i - 1))) return 0;
        if (n->kind->is_loss) m->loss = n;
        else if (n->absorbed) continue;
        else if (i < 2 && (!strcmp(kind, "input") || !strcmp(kind, "flatten"))) m->width[0] = n->c;
        else if (!strcmp(kind, "dropout") ? !add_dropout(b, n, m)
                                          : strcmp(kind, "fc") || !add_layer(n, m)) return 0;
    }
    const struct hone_optim *o = &b->how->optim;
    return m->nlayers && m->loss && hidden_alike(b, m) && b->net->teacher < 0 && o->clip == 0 &&
           b->ngrads == b->nflat &&
           (o->kind == HONE_SGD || o->kind == HONE_ADAM || o->kind == HONE_ADAMW);
}

/* ---- the op's problem ---- */

/* "mlp_ce:f32:any:mb128s16i16h50g22o26:drop0.1+relu+adam"; the last step is the optimizer's. */
static void print_problem(const struct hone_lower *b, const struct plain *m, int launch,
                          char text[HONE_TEXT])
{
    const struct hone_lowering *how = b->how;
    const struct hone_net *net = b->net;
    const struct hone_problem *update = &net->step[net->nsteps - 1].problem;
    const int ce = net->task == HONE_CLASSIFY, huber = !strcmp(m->loss->kind->name, "huber");
    char optim[HONE_TEXT], *attrs, sizes[64] = "", more[128] = "";
    for (int l = 1; l < m->nlayers; l++)
        snprintf(sizes + strlen(sizes), sizeof sizes - strlen(sizes), "%c%d", "hgf"[l - 1],
                 m->width[l]);
    if (m->drop > 0) snprintf(more, sizeof more, "+drop%.9g", m->drop);
    double number = huber ? hone_node_real(m->loss, "delta")
                    : ce  ? hone_node_real(m->loss, "smooth")
                          : 0;
    if (huber && how->huber_delta > 0) number = how->huber_delta;
    if (ce && how->label_smoothing > 0) number = how->label_smoothing;
    size_t len = strlen(more);
    if (number > 0)
        len += (size_t)snprintf(more + len, sizeof more - len, "+%s%.9g",
                                huber ? "delta" : "smooth", number);
    hone_problem_print(update, optim);
    attrs = strchr(strchr(strchr(optim, ':') + 1, ':') + 1, ':');
    attrs = strchr(attrs + 1, ':');
    snprintf(more + len, sizeof more - len, "%s%s%s%s%.48s", m->act ? "+" : "",
             m->act ? m->act->name : "", strcmp(update->op->name, "adam") ? "" : "+adam",
             attrs ? "+" : "", attrs ? attrs + 1 : "");
    snprintf(text, HONE_TEXT, "mlp_%s:%s:any:mb%ds%di%d%so%d%s%s", ce ? "ce" : m->loss->kind->name,
             hone_dtype_name(net->dtype), net->batch, launch, m->width[0], sizes,
             m->width[m->nlayers], *more ? ":" : "", *more ? more + 1 : "");
}

/* ---- what was measured ---- */

/* Milliseconds of the best; negative: not known. */
static double best_ms(const struct hone_lower *b, const struct hone_problem *p)
{
    struct hone_record best;
    return b->how->db && b->how->device &&
                   hone_db_best(b->how->db, p, b->how->device, &best, 1) == 1
               ? best.ms_median
               : -1;
}

/* Is it known to be faster than the steps that it replaces, be it than those alone that are known:
 * the others take some time, too? */
static int wins(const struct hone_lower *b, const struct hone_problem *p, int launch)
{
    double parts = 0, whole = best_ms(b, p);
    for (int i = 0; whole >= 0 && i < b->net->nsteps; i++) {
        const double ms = best_ms(b, &b->net->step[i].problem);
        if (ms > 0) parts += ms;
    }
    return whole >= 0 && whole <= launch * parts;
}

int hone_launch_wanted(void)
{
    const char *text = getenv("HONE_LAUNCH");
    char *end;
    long n = text ? strtol(text, &end, 10) : -1;
    return text && *text && !*end && n >= 0 && n <= HONE_MAX_LAUNCH ? (int)n : -1;
}

/* ---- in place of the steps ---- */

static int more_rows(struct hone_net *net, int t, int launch)
{
    if (t >= 0) net->tensor[t].dim[0] *= launch;
    return t;
}

/* Of several steps the optimizer's numbers and dropout's seeds are the launch's own: the state,
 * which nets share, is laid out as it is without them. */
static int own(struct hone_lower *b, int t, int launch, const char *name)
{
    if (t < 0 || launch == 1) return t;
    const struct hone_tensor of = b->net->tensor[t];
    return hone_lower_tensor(b, HONE_ROLE_DATA, of.dtype, -1, 1, (int64_t[]){ launch * of.dim[0] },
                             "%s", name);
}

static int replace_steps(struct hone_lower *b, const char *problem, int launch)
{
    struct hone_net *net = b->net;
    const struct hone_step update = net->step[net->nsteps - 1];
    const int nstates = update.nargs - 3;   /* beside parameters, gradients and their numbers */
    int arg[HONE_MAX_ARGS], n = 0;
    arg[n++] = more_rows(net, net->output, launch);
    arg[n++] = more_rows(net, net->loss, launch);
    if (net->hit >= 0) arg[n++] = more_rows(net, net->hit, launch);
    for (int i = 0; i <= nstates; i++) arg[n++] = update.arg[i];
    arg[n++] = more_rows(net, net->input, launch);
    arg[n++] = more_rows(net, net->target, launch);
    arg[n++] = net->hyper = own(b, net->hyper, launch, "hyper-parameters of a launch");
    if (net->seed >= 0) arg[n++] = net->seed = own(b, net->seed, launch, "seeds of a launch");
    net->nsteps = 0;
    net->first_backward = net->first_update = 1;
    net->batch *= launch;
    net->launch = launch;
    return hone_lower_step(b, NULL, HONE_WHOLE_STEP, problem, arg, n);
}

int hone_lower_whole(struct hone_lower *b)
{
    const int launch = b->how->launch ? b->how->launch : 1, wanted = hone_launch_wanted();
    const enum hone_whole whole = wanted == 0 ? HONE_WHOLE_NEVER
                                  : wanted > 0 ? HONE_WHOLE_ALWAYS
                                               : b->how->whole;
    struct plain m;
    struct hone_problem p;
    char text[HONE_TEXT];
    if (whole == HONE_WHOLE_NEVER || b->how->apart || b->how->reference || !is_plain(b, &m))
        return HONE_OK;
    print_problem(b, &m, launch, text);
    if (hone_problem_parse(text, &p) || !(p.op->dtypes >> b->net->dtype & 1)) return HONE_OK;
    if (whole == HONE_WHOLE_IF_FASTER && !wins(b, &p, launch)) return HONE_OK;
    return replace_steps(b, text, launch);
}
