/* nets/lower.h -- how a net's text becomes steps.  text.c reads lines into nodes; lower.c walks the
 * nodes forward, then backward, and asks each node's kind for its steps; the kinds are the rows in
 * layers/.  For nets/ alone; others include nets.h. */
#ifndef HONE_NETS_LOWER_H
#define HONE_NETS_LOWER_H

#include "nets/nets.h"

enum { HONE_MAX_SIZE = 1 << 24, HONE_SAME = -1 };

struct hone_lower;
struct hone_node;

/* ---- kinds of layers ---- */

enum hone_key_type {
    HONE_KEY_WHOLE,       /* k=16 */
    HONE_KEY_WHOLE_SAME,  /* p=2 or p=same, which reads as HONE_SAME */
    HONE_KEY_SHARE,       /* p=0.25: a number in [0, 1) */
    HONE_KEY_POSITIVE,    /* delta=1.5: a number above 0, up to max */
    HONE_KEY_ACT          /* act=relu: sets the node's act */
};

struct hone_key {
    const char *name;
    enum hone_key_type type;
    int required;
    double min, max;      /* of a whole number */
    double def;
    const char *same;     /* omitted, it is the value of this key, which comes earlier */
};

/* A row: what `NAME out = in key=value...` means. */
struct hone_layer_kind {
    const char *name;
    int ninputs;
    int or_more;          /* 1: reads ninputs tensors or more, up to HONE_MAX_INPUTS */
    struct hone_key key[HONE_MAX_KEYS + 1];
    int is_loss;
    int is_act;           /* an activation: the name is an op's and an epilogue's */
    /* Its steps can have an activation as epilogue: any, or those that cut off, relu and relu6. */
    enum { HONE_TAKES_NO_ACT, HONE_TAKES_ACT, HONE_TAKES_CUT } takes_act;
    int takes_sum;        /* its steps can add another tensor */
    int is_sum;
    int from_y;           /* activation: its gradient needs the output (1) or the input (0) */
    int from_sign;        /* and of the output no more than whether it is above 0 */
    int rectifies;        /* activation: it cuts the negative half off, more or less */
    int cuts;             /* activation: it does nothing else: relu, relu6 */
    /* Sets n's shape, y, parameters and adds the forward steps; n's inputs are lowered. */
    int (*forward)(struct hone_lower *b, struct hone_node *n);
    /* Adds the steps from the gradient of n->y to those of n's input and weights.  NULL: none. */
    int (*backward)(struct hone_lower *b, struct hone_node *n);
    /* Adds the step by which the backward pass has n's output once more, bit by bit, from what it
     * needs anyway; returns that tensor.  NULL: the output is kept. */
    int (*again)(struct hone_lower *b, struct hone_node *n);
    /* Is n one of those? */
    int (*is_again)(const struct hone_lower *b, const struct hone_node *n);
};

/* All kinds: arrays, one of a file in layers/, each ended by a row without a name. */
extern const struct hone_layer_kind *const hone_layer_kinds[];   /* from Makefile.am's NET_LAYERS */

const struct hone_layer_kind *hone_layer_kind_find(const char *name);

/* Texts built into the program, in Makefile.am's order of NETS. */
struct hone_net_text { const char *name, *text; };
extern const struct hone_net_text hone_net_texts[];              /* ended by a row without a name */

/* ---- nodes: lines of the text ---- */

struct hone_node {
    const struct hone_layer_kind *kind;
    char name[HONE_NAME];
    int line;
    int input[HONE_MAX_INPUTS];              /* nodes */
    int ninputs;
    double value[HONE_MAX_KEYS];             /* of kind->key[i] */
    uint32_t given;                          /* bit i: key i stands in the text */
    int nreaders;
    int reader;                              /* the last one; -1 */
    const struct hone_layer_kind *act;       /* epilogue, its own or its reader's; NULL */
    int absorbed;                            /* this activation is its input's epilogue */
    int sum, sum_of;                         /* the node of the sum that is part of this one's steps,
                                              * and from there back; -1 */
    /* set by forward */
    int h, w, c;                             /* shape of one sample; h = w = 1: features */
    int y;                                   /* tensor with the output */
    int pre;                                 /* what act was applied to, where kept; else -1 */
    int weight, bias;                        /* tensors; -1; of bnorm: gamma, beta */
    int matrix;                              /* the weight as steps read it, maybe as halves */
    int parts;                               /* of the batch, in which the pool that reads this
                                              * activation computes it; then y is its input's; 0 */
    int again;                               /* tensor: y once more, in the backward pass; -1 */
    int places;                              /* of maxpool: tensor, of its maxima; -1 */
    const struct hone_layer_kind *cut;       /* the activation below whose gradient is in them */
    int is_cut_above;                        /* 1: this node's activation is such a one */
    int mean, rstd, off;                     /* of bnorm: tensors for its backward */
    int dsum;                                /* where sum >= 0: the gradient of both its terms */
    int pieces;                              /* in which the weight's gradient is made; 0, 1: in one */
    int backward;                            /* 1: weights here or before it need a gradient */
    char sizes[HONE_TEXT];                   /* of the op, for the kind's backward */
};

struct hone_lower {
    struct hone_net *net;
    const struct hone_lowering *how;
    const char *file;
    struct hone_node *node; /* one per net->layer */
    int nnodes;
    /* What its readers wrote of the gradient of tensor t is a list: partial[last[t]], and so on. */
    int *last;     /* (ntensors) -1: none */
    struct hone_partial {
        int gradient, next; /* a tensor; index into partial, -1 */
    } *partial;
    int npartials;
    int64_t nflat;    /* trainable numbers in the weights' array so far, with padding */
    int64_t ngrads;   /* of these that have a gradient in the gradients' array */
    int moment[2], nmoments; /* the optimizer's states as tensors */
    int64_t nrunning; /* running values, behind them */
    int lastline;
};

/* text.c: reads lines into b->node. */
int hone_lower_read(struct hone_lower *b, const char *text);

static inline int hone_node_is_flat(const struct hone_node *n) { return n->h == 1 && n->w == 1; }

/* ---- what kinds call; all return a negative code on errors ---- */

/* A new tensor; returns its index.  The name is for messages and reports.  HONE_F32 stands for the
 * net's number type, here and in the problems of hone_lower_step(); but in a net of bf16 or f16
 * only activations are such, and problems of ops that have such. */
int hone_lower_tensor(struct hone_lower *b, enum hone_role role, enum hone_dtype dtype, int layer,
                      int rank, const int64_t dim[], const char *fmt, ...)
    __attribute__((format(printf, 7, 8)));

/* Gives a problem that a kind wrote in f32 the net's number type, or f32 where its op has no such. */
void hone_lower_dtype(const struct hone_net *net, struct hone_problem *p);

/* Stands for the type that numbers of the net are added up in: f32 of halves, else the net's. */
static const enum hone_dtype HONE_WIDE = HONE_NDTYPES;

/* In a net of halves, a new tensor with the numbers of t, which are floats, as such, or the other
 * way round, and the step of n that makes it; else, or where t is of that type, t. */
int hone_lower_narrow(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int t);
int hone_lower_widen(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase, int t);

/* In a net of halves, columns [from, from + columns) of matrix t, a weight of n, as halves, and the
 * forward step that makes them. */
int hone_lower_narrow_columns(struct hone_lower *b, const struct hone_node *n, int t, int from,
                              int columns);

/* n's weights as the gradient of its input reads them: n->matrix, or, where they are large, halves
 * that are made again. */
int hone_lower_matrix_backward(struct hone_lower *b, const struct hone_node *n);

/* The tensor (batch, h, w, c), or (batch, c) where the node is flat, for n's output. */
int hone_lower_output(struct hone_lower *b, struct hone_node *n, const char *suffix);

/* A weight of n, and with training its gradient.  fan_out 0: a bias; fan_in 0: it starts at 0. */
int hone_lower_weight(struct hone_lower *b, struct hone_node *n, const char *suffix, int64_t fan_in,
                      int64_t fan_out, int rank, const int64_t dim[]);

/* So many numbers on whole cache lines, of floats: the same places for every number type. */
static inline int64_t hone_lower_on_lines(int64_t len)
{
    enum { LINE = HONE_ALIGN / sizeof(float) };
    return (len + LINE - 1) / LINE * LINE;
}

/* Numbers of n that steps change but training does not: running statistics.  They start at
 * `first`. */
int hone_lower_running(struct hone_lower *b, struct hone_node *n, const char *suffix, int64_t len,
                       double first);

/* The tensor with the gradient of t, for the layer that computes t: t's readers were lowered
 * before.  Where several read t, adds the steps that add up what they wrote. */
int hone_lower_gradient_of(struct hone_lower *b, int t);

/* A new tensor for what one reader adds to the gradient of t, which a step is about to write. */
int hone_lower_new_gradient(struct hone_lower *b, int layer, int t);

/* The same where that is tensor g already: as of a sum, whose gradient is that of its terms. */
int hone_lower_same_gradient(struct hone_lower *b, int t, int g);

/* The tensor with the numbers of t for a step of the backward pass: t, or where the layer that made
 * it computes it again (again.c) another. */
int hone_lower_again(struct hone_lower *b, int t);

/* May it ask n, whose output is known, for that?  Then n's forward steps must see to it. */
int hone_lower_is_again(const struct hone_lower *b, const struct hone_node *n);

/* Room for number n in an array that doubles at powers of two; NULL: no memory, and the array
 * stands. */
void *hone_lower_grown(void *array, int n, size_t size);

/* Adds a step; the arguments must be what the op says, and one that is a negative code is the error
 * that it is.  n NULL: the whole net's. */
int hone_lower_step(struct hone_lower *b, const struct hone_node *n, enum hone_phase phase,
                    const char *problem, const int arg[], int nargs);

/* The value of key `name`, as a whole number and as it is. */
int    hone_node_int(const struct hone_node *n, const char *name);
double hone_node_real(const struct hone_node *n, const char *name);

/* n's index, and what the layer table says of it. */
int hone_node_index(const struct hone_lower *b, const struct hone_node *n);
struct hone_layer *hone_node_layer(const struct hone_lower *b, const struct hone_node *n);
const struct hone_node *hone_node_input(const struct hone_lower *b, const struct hone_node *n);

/* Appends to the layer table's "what" of n; what does not fit is cut off. */
void hone_lower_say(struct hone_lower *b, const struct hone_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* n reads its input's numbers under another shape, or not at all changed. */
void hone_lower_pass(struct hone_node *n, const struct hone_node *in);

/* ---- activations, as layers of their own or at the end of conv and fc (layers/act.c) ---- */

/* Is n->act computed by the op's epilogue: always but when its gradient needs the numbers before
 * it? */
int hone_lower_fuses(const struct hone_lower *b, const struct hone_layer_kind *act);

/* "" or "+relu", to append to a problem's attributes. */
const char *hone_lower_epilogue(const struct hone_lower *b, const struct hone_node *n,
                                char text[HONE_NAME]);

/* Where conv and fc write: n's output, or where act is a step of its own, n->pre. */
int hone_lower_act_output(struct hone_lower *b, struct hone_node *n);

/* The step after it, where it needs one. */
int hone_lower_act_forward(struct hone_lower *b, struct hone_node *n);

/* Is n's output kept until then for act's gradient? */
int hone_lower_act_keeps(const struct hone_lower *b, const struct hone_node *n);

/* The tensor with the gradient of what conv or fc computed before act; adds act's step where there
 * is one.  y_again: n's output once more, for that; 0: there is none. */
int hone_lower_act_backward(struct hone_lower *b, struct hone_node *n, int y_again);

/* ---- layers as parts of others' steps (fuse.c) ---- */

/* Before the forward pass: sets nodes' act, absorbed, sum and sum_of. */
void hone_lower_fuse(struct hone_lower *b);

/* Can maxpool n keep the places of its maxima, each in a byte? */
int hone_lower_has_places(const struct hone_node *n);

/* Are the fused problems not known to be slower than those apart, beyond doubt, for these keep more
 * in memory, and there is no limit on that?  Both end with NULL. */
int hone_lower_wins(const struct hone_lower *b, const char *const fused[],
                    const char *const apart[]);

/* n, which is being lowered, gives up its sum, else its activation: they follow as steps. */
void hone_lower_part(struct hone_lower *b, struct hone_node *n);

/* Part nth of `parts` of the batch of tensor t, as a tensor. */
int hone_lower_batch_part(struct hone_lower *b, int t, int nth, int parts);

/* The step of n's activation from x to y, and that from dy and x to dx. */
int hone_lower_act_of_part(struct hone_lower *b, const struct hone_node *n, int y, int x);
int hone_lower_act_gradient_of_part(struct hone_lower *b, const struct hone_node *n, int dx, int dy,
                                    int x);

/* optimizer steps (update.c): are weights of so many bytes worth a step of their own, in training on
 * a processor? */
int hone_lower_is_large(const struct hone_lower *b, int64_t bytes);

/* Is the gradient of so many bytes of weights in the arena, for an update as soon as it is there? */
int hone_lower_updates_apart(const struct hone_lower *b, int64_t bytes);

/* In how many pieces of its first dimension n's weight gets its gradient, each with an update of its
 * own before the next, where as many bytes as `copied` must be copied for that: so many that one is
 * no more than 1 / share of all parameters, but 512 KiB. */
int hone_lower_pieces(const struct hone_lower *b, const struct hone_node *n, int share,
                      int64_t copied);

/* Numbers [from, from + n) of tensor t, a weight or the optimizer's, as a tensor; t itself where that
 * is all of it. */
int hone_lower_numbers(struct hone_lower *b, int t, int64_t from, int64_t n);

/* One of so many pieces of n's weight as a tensor. */
int hone_lower_weight_piece(struct hone_lower *b, const struct hone_node *n, int nth, int pieces);

/* Adds the steps of that: t, of as many columns as belong to all pieces, is halved until `gradient`
 * is asked for the steps that give dw, the gradient of piece nth, of its own columns. */
typedef int hone_lower_piece(struct hone_lower *b, struct hone_node *n, int dw, int columns,
                             int other);
int hone_lower_in_pieces(struct hone_lower *b, struct hone_node *n, int t,
                         hone_lower_piece *gradient, int other);

/* Before the backward pass: the flat arrays and the optimizer's states; after that of n: the step
 * for its weights, where that is one of its own; after all: the steps for the rest. */
int hone_lower_update_open(struct hone_lower *b);
int hone_lower_update_of(struct hone_lower *b, const struct hone_node *n);
int hone_lower_update_rest(struct hone_lower *b);

/* After all: one step in place of all that there are, where the net is plain (whole.c). */
int hone_lower_whole(struct hone_lower *b);

/* The gradient of the bias of conv and fc, whose dy is (rows, n->c) (layers/fc.c). */
int hone_lower_bias_backward(struct hone_lower *b, const struct hone_node *n, int64_t rows, int dy);

#endif
