/* nets/nets.h -- what is trained: a net is read from text, lowered to steps (problems with
 * arguments), assembled (plans, one arena), and run on data. */
#ifndef HONE_NETS_H
#define HONE_NETS_H

#include "autotune/autotune.h"

enum { HONE_NAME = 32 };

/* ---- net: layers and tensors, no memory, no batch ---- */

/* Where a tensor lives and who owns its bytes. */
enum hone_role {
    HONE_ROLE_DATA,        /* inputs and labels of a batch */
    HONE_ROLE_WEIGHT,      /* in the one parameter array */
    HONE_ROLE_RUNNING,     /* running statistics: behind the parameters, not trainable */
    HONE_ROLE_GRADIENT,    /* of a weight: in the one gradient array */
    HONE_ROLE_STATE,       /* the optimizer's, hyper-parameters, seeds: live as long as the net */
    HONE_ROLE_ACTIVATION   /* in the arena, from its first writer to its last reader */
};

struct hone_tensor {
    char name[2 * HONE_NAME];
    enum hone_role role;
    enum hone_dtype dtype;
    int rank;
    /* (mb, h, w, c) or (mb, features); weights (oc, kh, kw, ic) or (in, out) */
    int64_t dim[HONE_MAX_RANK];
    int64_t offset;               /* bytes into its array, or, after assemble, the arena */
    int layer;                    /* that made it, index into net->layer; -1: the whole net's */
    int64_t fan_in, fan_out;      /* of a weight, for its first values; fan_out 0: a bias */
    double first;                 /* fan_in 0: where all its numbers start */
    int rectified;                /* relu or the like comes next */
    int over;                     /* after assemble: the tensor that it is written over; -1: none */
    int within;                   /* it is a part of that tensor, from its offset on; -1: of none */
};

int64_t hone_tensor_len(const struct hone_tensor *t);
int64_t hone_tensor_bytes(const struct hone_tensor *t);

enum hone_phase {
    HONE_FORWARD, HONE_LOSS, HONE_BACKWARD_DATA, HONE_BACKWARD_WEIGHTS, HONE_UPDATE, HONE_WHOLE_STEP,
    HONE_NPHASES
};
const char *hone_phase_name(enum hone_phase phase);

struct hone_step {
    int layer;                    /* index into net->layer; -1: the whole net's (update) */
    enum hone_phase phase;
    struct hone_problem problem;
    int arg[HONE_MAX_ARGS];       /* tensors */
    int nargs;
    struct hone_plan plan;        /* after assemble */
    int known;                    /* 1: the plan comes from a record, 0: untuned default */
    void *mem[HONE_MAX_ARGS];     /* after assemble: where the arguments lie */
    void *workspace;
    int64_t workspace_offset;     /* after assemble: its bytes into the arena */
};

enum { HONE_MAX_KEYS = 12, HONE_MAX_INPUTS = 16 };

struct hone_layer {
    char kind[HONE_NAME], name[HONE_NAME];   /* "conv", "c1" */
    int input[HONE_MAX_INPUTS], ninputs;     /* layers, all before this one */
    struct {
        const char *name;
        double value;                        /* as the text says, or what it then is; `same` is -1 */
    } key[HONE_MAX_KEYS];                    /* "k", 6 */
    int nkeys;
    const char *act;                         /* act=relu; NULL: none */
    char what[64];                /* "5x5 1->6 p2" for the layer table */
    int64_t parameters, macs;     /* per sample, forward */
    /* Of a convolution whose output may be computed again, the products of each number; else 0. */
    int64_t again;
    int out;                      /* tensor; the input's where only the shape changes */
    int h, w, c;                  /* output of one sample; features: h = w = 1 */
    int line;                     /* of the text */
};

/* ---- what a net is trained with ---- */

enum hone_optimizer {
    HONE_SGD, HONE_ADAM, HONE_ADAMW, HONE_RMSPROP, HONE_ADADELTA, HONE_NOPTIMIZERS
};

enum { HONE_MAX_MILESTONES = 8 };

/* How the learning rate changes; times are in epochs, which steps_per_epoch makes steps of. */
struct hone_schedule {
    enum { HONE_CONSTANT, HONE_STEPS, HONE_COSINE, HONE_EXP } kind;
    double warmup;                /* first epochs: step t of W runs at (t + 1) / W of the rate */
    int nat;
    double at[HONE_MAX_MILESTONES];   /* STEPS: each of these multiplies the rate by factor */
    double factor;                /* EXP: after warm-up every epoch does, step by step */
    int64_t epochs;               /* COSINE: falls to 0 from the end of warm-up to here */
    int64_t steps_per_epoch;      /* set by hone_trainer_open(); 0 counts as 1 */
};

/* "constant", "step:30,60:0.1", "cosine", "exp:0.95"; warm-up, epochs and their steps stay. */
int  hone_schedule_parse(const char *text, struct hone_schedule *s);
void hone_schedule_print(const struct hone_schedule *s, char text[HONE_TEXT]);

struct hone_optim {
    enum hone_optimizer kind;
    double lr, decay;             /* Keras's: step t = 0, 1, ... runs at lr / (1 + decay t) */
    double momentum, weight_decay, beta1, beta2, rho, epsilon;
    int nesterov;
    double clip;                  /* largest norm of all gradients together; 0: any */
    struct hone_schedule schedule;
};

/* PyTorch's defaults: momentum 0, weight decay 0 (adamw: 0.01), beta 0.9 and 0.999, rho 0.99
 * (adadelta: 0.9), epsilon 1e-8 (adadelta: 1e-6); lr 0.001 of adam and adamw, 0.01 of rmsprop, 1 of
 * adadelta; but 0.01 of sgd, as Keras has it. */
struct hone_optim hone_optim_default(enum hone_optimizer o);

const char *hone_optimizer_name(enum hone_optimizer o);
int hone_optimizer_find(const char *name, enum hone_optimizer *o);

/* Which numbers an optimizer has. */
enum hone_optimizer_number { HONE_HAS_MOMENTUM, HONE_HAS_BETAS, HONE_HAS_RHO, HONE_HAS_EPSILON };
int hone_optimizer_has(enum hone_optimizer o, enum hone_optimizer_number number);

/* "sgd+momentum+nesterov+wd+clip": a name, and what of its variants, at its usual value. */
int  hone_optim_parse(const char *text, struct hone_optim *o);
void hone_optim_print(const struct hone_optim *o, char text[HONE_TEXT]);

/* The problem of a step on n parameters; returns how many arrays of states it has. */
int hone_optim_problem(const struct hone_optim *o, int64_t n, char text[HONE_TEXT]);

/* The learning rate of step t = 0, 1, ...: of decay, schedule and warm-up together. */
double hone_optim_lr(const struct hone_optim *o, int64_t t);

/* What the optimizer's op reads at step t. */
void hone_optim_hyper(const struct hone_optim *o, int64_t t, double hyper[8]);

/* First weights, see hone_net_init(); DEFAULT: as the text says, else GLOROT. */
enum hone_init { HONE_INIT_DEFAULT, HONE_INIT_GLOROT, HONE_INIT_HE, HONE_INIT_PYTORCH };

/* By its name in texts and on the command line, "he"; a negative code where there is none. */
int hone_init_find(const char *name);

enum hone_task { HONE_CLASSIFY, HONE_REGRESS };

struct hone_data;

/* For hone_lowering.dtype: f32, of which products and convolutions may round their factors to tf32's
 * 11 bits, as a GPU's tensor cores do: these problems have the attribute tf32. */
static const enum hone_dtype HONE_TF32 = HONE_NDTYPES + 1;

struct hone_net {
    char name[128];                          /* "resnet56:n=3": what differs is in it */
    char params_text[HONE_TEXT];             /* "n=3 width=16": parameters of the text */
    int batch;
    enum hone_dtype dtype;
    int tf32;                                /* 1: its products may round f32 to tf32 */
    enum hone_task task;
    int64_t parameters;                      /* trainable numbers */
    int nlayers, ntensors, nsteps;
    struct hone_layer *layer;
    struct hone_tensor *tensor;
    struct hone_step *step;
    /* Tensors; output: logits or values; hit: -1 unless classifying. */
    int input, target, output, loss, hit;
    /* The flat arrays as tensors, for the update step.  What large weights' gradients are is not in
     * grads: they are in the arena, and have update steps of their own. */
    int params, grads;
    int hyper, seed;                         /* the optimizer's numbers, dropout's seed; -1: none */
    int teacher;                             /* (mb, classes) a teacher's logits, DATA; -1: none */
    int norm;                                /* (1) of the gradients, before clipping; -1: none */
    int first_backward, first_update;        /* steps [0, first_backward) are forward and loss */
    /* Above 0: the one step is an op of so many whole training steps, each on its rows of `batch`. */
    int launch;
    /* after assemble */
    struct hone_device *device;
    char *arena, *weights, *gradients, *state, *data;
    int64_t trainable_bytes;                 /* of the weights' array; running values follow */
    void *fed[3];                            /* see hone_net_read_at(), hone_net_learn_from() */
    /* arena: of activations alone; workspace: what workspaces need behind that */
    int64_t arena_bytes, weights_bytes, gradients_bytes, state_bytes, data_bytes, workspace_bytes;
    int owns_weights, owns_gradients, owns_arena;
    int64_t memory;                          /* bytes that it may plan; 0: any */
    double ms;                               /* of a step, as the records have it; 0: not known */
    void *graph;                             /* of all steps; see hone_net_run_whole() */
    int nwhole;                              /* how often; below 0: they cannot be recorded */
    int reference;                           /* all plans are the reference kernel's */
    enum hone_init init;
    struct hone_optim optim;
};

/* Are a plain net's training steps one op (whole.c)?  $HONE_LAUNCH has the last word: 0 never, else
 * always, and so many steps at once in training. */
enum hone_whole { HONE_WHOLE_IF_FASTER, HONE_WHOLE_NEVER, HONE_WHOLE_ALWAYS };

/* Steps of a launch in training, where an epoch has as many; at most, as asked for. */
enum { HONE_LAUNCH = 16, HONE_MAX_LAUNCH = 64 };

int hone_launch_wanted(void);   /* $HONE_LAUNCH; below 0: nothing is said */

/* What training adds to a net's text. */
struct hone_lowering {
    int batch;
    int train;                    /* 0: evaluation: forward and loss only, no dropout */
    /* HONE_F32 or HONE_F64: of everything but labels and seeds.  HONE_BF16, HONE_F16: of activations,
     * their gradients and what convolutions and products read of the weights; the rest is floats. */
    enum hone_dtype dtype;
    struct hone_optim optim;
    const char *loss;             /* NULL: as the text says */
    double label_smoothing;       /* of softmax_ce in training; 0: as the text says */
    double huber_delta;           /* 0: as the text says */
    /* Above 0, softmax_ce becomes distill in training: net->teacher must hold a teacher's logits
     * before each step, and the loss is mix of the teacher, at this temperature, and the rest of
     * the labels.  Evaluation measures softmax_ce as ever. */
    double teacher_temperature, teacher_mix;
    int reference;                /* 1: run the reference kernels, for checking */
    enum hone_init init;
    /* "relu": every hidden activation of the text is this one; NULL: as the text says.  A net's name
     * may end in ":activation=relu" instead, and this net's then does. */
    const char *activation;
    const char *set;              /* "n=3,width=32": parameters of the text; NULL: its defaults */
    /* bnorm and add take what follows them into their steps; apart 1: never.  With a database, not
     * where the parts were measured to be faster on the device. */
    int apart;
    /* 1: the backward pass computes no output again, and no gradient in pieces. */
    int keep;
    /* Bytes that hone_net_bytes() may be; 0: any. */
    int64_t memory;
    /* (layers) 1: the backward pass computes this convolution's output again, if it may; NULL: none,
     * but those that cost nothing.  hone_net_open_within() sets it. */
    const unsigned char *again;
    struct hone_db *db;
    const struct hone_device *device;
    enum hone_whole whole;
    int launch;                   /* steps of the op where it is one; 0: 1 */
};

/* Reads a net by name (built in), or by path where the name holds a '/' or ends in ".net"; behind a
 * colon, parameters of the text: "resnet56:n=3,width=32".  Errors are "file:line: ...".  Lowered to
 * steps at once for the batch given. */
int  hone_net_open(struct hone_net *net, const char *name, const struct hone_lowering *how);
int hone_net_parse(struct hone_net *net, const char *file, const char *text,
                   const struct hone_lowering *how);
void hone_net_close(struct hone_net *net);

/* Numbers of running statistics, which are no parameters. */
int64_t hone_net_running(const struct hone_net *net);

/* The layer table: name, kind, output shape, parameters, MACs, and the totals. */
void hone_net_print(const struct hone_net *net, FILE *f);

/* The same, how the layers hang together, and the steps as JSON, for other programs. */
int  hone_net_json(const struct hone_net *net, FILE *f);

/* Distinct problems of the steps, in order of first use. */
int  hone_net_problems(const struct hone_net *net, struct hone_problem p[], int max);

/* Chooses plans, lays out the arena from lifetimes, allocates.  `shared`: another assembled net of
 * the same text whose weights, gradients and optimizer state are used (NULL: own ones), and whose
 * arena, where that is large enough: what a run left there is gone when the other has run.  Its plans
 * also serve problems without a record.  Fails where how->memory does not suffice. */
int hone_net_assemble(struct hone_net *net, struct hone_db *db, struct hone_device *d,
                      struct hone_net *shared);

/* Of every activation the first step that has it as an argument and the last, between which its
 * place in the arena is its own (nsteps: what outlives the step); -1 of what is none. */
void hone_net_lifetimes(const struct hone_net *net, int first[], int last[]);

/* Bytes that an assembled net plans: weights, gradients, what the optimizer keeps, activations and
 * workspaces.  Batches, which are often read where they lie, and what libraries keep are not in it. */
int64_t hone_net_bytes(const struct hone_net *net);

/* hone_net_open() of a net that keeps within how->memory once hone_net_assemble() was called with
 * how->db, d and shared, and then takes as little time as the records promise; fails where that is
 * not possible.  how->memory 0: hone_net_open(). */
int hone_net_open_within(struct hone_net *net, const char *name, const struct hone_lowering *how,
                         struct hone_device *d, const struct hone_net *shared);

/* Can the step's kernel write the first argument over any other one that is as large? */
int hone_step_in_place(const struct hone_step *s);

/* Lets the steps read their batch at x and target, on the device, until the next call; NULL: in the
 * net's own memory. */
void hone_net_read_at(struct hone_net *net, void *x, void *target);

/* Lets the steps read the teacher's logits at this place on the device, for good. */
void hone_net_learn_from(struct hone_net *net, void *logits);

/* Where tensor t lies, on the device. */
void *hone_net_mem(const struct hone_net *net, int t);

/* Fills weights from the seed.  GLOROT: uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and
 * Bengio 2010), the default of Keras, and ours since it gives the studies' accuracies: wide first
 * weights fit housing-mlp's outliers. HE: +-sqrt(6 / fan_in) before relu and its like (He et al.
 * 2015), else Glorot's: for deep nets without normalisation.  Biases start at 0.  PYTORCH:
 * +-1 / sqrt(fan_in), biases too: its default for these layers.  Of bnorm, gamma and the running
 * variance start at 1, beta and the running mean at 0. */
int  hone_net_init(struct hone_net *net, uint64_t seed);

/* What the op dropout reads first, of the seed of a training run: 52 bits, so that doubles hold it.
 */
uint64_t hone_dropout_seed(uint64_t seed);

/* A batch of numbers uniform in [0, 1), labels over all classes: what a normalised batch looks like
 * to the kernels, zeros (which flatter) left out. */
int  hone_net_fill(const struct hone_net *net);

/* Writes the weights, and what else lies in their array, as a safetensors file: by their names
 * ("c1.w"), in the net's layout, which the metadata say.  With the data it was trained on (NULL:
 * none) they also say how features were normalised, and the names of the classes.  The path holds
 * the old file or the new one at any moment. */
int hone_weights_save(const struct hone_net *net, const struct hone_data *data, const char *path);

/* What a file of weights says of the data: fills in range, classes and class_name of *d, which is
 * otherwise empty and is closed by the caller. */
int hone_weights_data(const char *path, struct hone_data *d);

/* Reads them from such a file, or from a checkpoint.  An error, and the weights as they were, where
 * the file is damaged, of another net, in another layout, or holds numbers that are not finite. */
int hone_weights_load(struct hone_net *net, const char *path);

/* Puts zeros there, in pieces: a copy as large would be the most memory that a net ever needs. */
int  hone_net_zeros(struct hone_device *d, char *mem, int64_t bytes);

/* Runs steps [from, to). */
int  hone_net_run(const struct hone_net *net, int from, int to);

/* Runs all of them: on a device that has graphs, from the second time on as one, which stays as
 * long as data are read where they were.  *why: set to what was in the way of recording them, once.
 * HONE_GRAPH=0 in the environment: one by one, as where hone_net_has_graph() is 0. */
int  hone_net_run_whole(struct hone_net *net, char why[HONE_TEXT]);
int  hone_net_has_graph(const struct hone_net *net);
void hone_net_forget_graph(struct hone_net *net);

/* ---- data ---- */

/* Of the numbers of a feature, or of a channel of pictures. */
struct hone_range {
    double min, max, mean, std;
};

struct hone_data {
    char source[512];             /* path, for messages; a synthetic set's text */
    char name[HONE_NAME];
    int64_t rows;
    int h, w, c;                  /* of one sample; features: h = w = 1 */
    int classes;                  /* 0: regression */
    int outputs;                  /* regression: values per row */
    float *x;                     /* (rows, h, w, c); NULL where there are bytes */
    uint8_t *bytes;               /* (rows, h, w, c) of 8-bit pictures, a quarter of x; else NULL */
    float *value;                 /* (c, 256): the number that a byte of a channel stands for: 0..1,
                                   * or what normalising made of it */
    float *black;                 /* (c): what normalising made of x = 0; NULL: 0 */
    struct hone_range *range;     /* (c): what normalising made mean 0 and deviation 1; NULL: nothing */
    int32_t *label;               /* (rows), classification: in [0, classes) */
    float *y;                     /* (rows, outputs), regression */
    char (*class_name)[HONE_NAME];   /* (classes), cut to fit; NULL: classes are 0, 1, ... */
    char (*feature)[HONE_NAME];      /* (c), a CSV header's names, cut to fit; NULL: none */
};

/* Loads DATA: a known name (hone_known_sets in data.c: searched for in the places that
 * nets/README.md lists), a directory (of IDX files, CIFAR's files, a folder of PNG images for each
 * class, or a known set's file), a CSV file, or "synthetic:HxWxC:CLASSES:ROWS[:SEED]" (CLASSES 0:
 * regression).  Files may be gzip or xz.  `target`, for CSV files: a column's name or 1-based
 * number, with "class:" before it where numbers there name classes; NULL: the one column that is
 * not numeric, else the last.  For CIFAR-100: "coarse" or "fine"; NULL: fine.  test has 0 rows where
 * the source has no split.  Both are written in any case and may be closed after an error.
 * Messages are "FILE: ..." or "FILE:LINE: ...". */
int hone_data_open(struct hone_data *train, struct hone_data *test, const char *data,
                   const char *target);
void hone_data_close(struct hone_data *d);

/* Merges the rows of both and deals them out anew: a share of them, chosen by the seed, to train
 * and the rest to test; train gets floor(share * rows) rows.  An error where one of the two would
 * be empty. */
int hone_data_split(struct hone_data *train, struct hone_data *test, double train_share,
                    uint64_t seed);

/* Merges the rows of both, shuffles them by the seed, deals them into `folds` parts, the first of
 * them one row larger where they do not divide (as scikit-learn's KFold with shuffle), and gives
 * part `fold` (from 0 on) to test and the others to train.  An error where there are fewer rows
 * than folds. */
int hone_data_fold(struct hone_data *train, struct hone_data *test, int folds, int fold,
                   uint64_t seed);

/* Scales every feature (of images: every channel) to mean 0, deviation 1 of the training rows; one
 * that is constant there becomes 0. */
int  hone_data_normalise(struct hone_data *train, struct hone_data *test);

/* The same by ranges that are known, (c) of them. */
int  hone_data_scale(struct hone_data *d, const struct hone_range range[]);

/* The order of rows in an epoch: a permutation from the seed, equal on every machine. */
void hone_data_shuffle(int64_t *order, int64_t n, uint64_t seed, int epoch);

/* Copies rows order[0..n) into a batch's x (n, h, w, c) and target: i32 (n) labels, or f32 (n,
 * outputs). */
void hone_data_gather(const struct hone_data *d, const int64_t *order, int n, float *x,
                      void *target);

/* How training pictures are changed each time they are seen: padded with `crop` pixels of zero on
 * every side, cut out again at a random place, and mirrored (`flip`) every second time, as in He et
 * al. 2015.  The zero is that of the numbers before normalising, black, as with torchvision, which
 * pads first. */
struct hone_augment {
    int crop, flip;
};

/* "crop:4,flip", in any order. */
int hone_augment_parse(struct hone_augment *a, const char *text);

/* An error where d's rows are no pictures, or too small. */
int hone_augment_check(const struct hone_augment *a, const struct hone_data *d);

/* What a row becomes depends on the key and its number alone: on no thread, batch or order. */
uint64_t hone_augment_key(uint64_t seed, int epoch);
void hone_data_gather_augmented(const struct hone_data *d, const int64_t *order, int n,
                                const struct hone_augment *a, uint64_t key, float *x, void *target);

/* Who makes the next batch ready: the thread that trains, when it needs it; or another one, while
 * the step runs.  AUTO: the device itself, where it has its own memory and the data fit into it;
 * else the second where batches are so large that it pays. */
enum hone_feeding { HONE_FEED_AUTO, HONE_FEED_INLINE, HONE_FEED_BACKGROUND };

/* ---- training ---- */

struct hone_trainer;
struct hone_resident;

/* A net that is trained already, from whose answers another one learns. */
struct hone_teacher_choice {
    const char *net, *weights;    /* name or file, and file; net NULL: no teacher */
    double temperature, mix;      /* see struct hone_lowering */
    int cache;                    /* 1: all its logits are computed before the first epoch */
};

struct hone_train_options {
    const char *net;              /* name or file */
    struct hone_lowering how;     /* batch, optimizer, loss, first weights; train is set here */
    int drop_last;                /* 1: rows that fill no batch are left out; 0: a short batch */
    uint64_t seed;                /* of the weights, the order of rows, and dropout */
    struct hone_db *db;           /* of the plans; NULL: untuned */
    struct hone_augment augment;  /* of the training rows */
    enum hone_feeding feeding;    /* changes no result */
    struct hone_teacher_choice teacher;
    double loss_scale;            /* of nets of f16; 0: found while training */
    /* Called after every step of training with its number from 0 on and its loss; may be NULL. */
    void (*each_step)(void *ctx, int64_t step, double loss);
    void *ctx;
    /* Called between steps; may be NULL.  Who saves the trainer's state or reads its sums calls
     * hone_trainer_catch_up() first. */
    int (*between)(void *ctx, struct hone_trainer *t);
    void *between_ctx;
};

/* Means over rows; what does not apply is NAN. */
struct hone_metrics {
    int64_t rows;
    double loss;                  /* the net's */
    double accuracy;              /* classification: share of rows */
    double mse, mae;              /* regression: of the values */
};

/* What is counted while rows of a test set pass; width: the net's outputs.  Shares without rows are
 * NAN. */
struct hone_scores {
    enum hone_task task;
    int width;
    int64_t rows, top5;           /* top5: the label is among the five largest */
    int64_t *confusion;           /* (width, width): label, answer; NULL for numbers */
    struct hone_output_score {
        double mean, spread;      /* of what is wanted: mean, sum of squares about it */
        double squares, sizes;    /* sums of errors */
    } *output;                    /* (width) NULL for classes */
};

struct hone_class_score {
    int64_t rows;                 /* with this label */
    double precision, recall, f1;
};

int  hone_scores_open(struct hone_scores *s, enum hone_task task, int width);
void hone_scores_close(struct hone_scores *s);
void hone_scores_reset(struct hone_scores *s);

/* A row's outputs (width), and what they should be.  The answer is the first largest. */
void hone_scores_add_label(struct hone_scores *s, const float *x, int32_t label);
void hone_scores_add_values(struct hone_scores *s, const float *x, const float *want);

struct hone_class_score hone_scores_class(const struct hone_scores *s, int k);
struct hone_class_score hone_scores_macro(const struct hone_scores *s);   /* means over classes */
double hone_scores_accuracy(const struct hone_scores *s);
double hone_scores_top5(const struct hone_scores *s);

/* Over all numbers; R2, the share of the spread that is explained, is the mean of the outputs'. */
double hone_scores_mse(const struct hone_scores *s);
double hone_scores_mae(const struct hone_scores *s);
double hone_scores_r2(const struct hone_scores *s);

/* Its nets read the student's batches where these lie, and evaluate: no dropout, running
 * statistics as they are. */
struct hone_teacher {
    struct hone_net net, rest;    /* nsteps 0 where there is none; rest: for the short batch */
    uint64_t hash;                /* of its weights */
    char *logits, *batch;         /* of the cache: (rows, classes) and (batch, classes); else NULL */
    size_t row_bytes;             /* of a row's logits */
    /* Of the epoch in progress, or the last one: for its logits; where the host is ahead of the
     * device, as some of the steps took. */
    double seconds;
    double step_seconds;          /* of the last one that was measured */
    int64_t nsteps;               /* so far */
    double cache_seconds;         /* before the first epoch */
};

/* By what the gradient of the loss is multiplied on its way backward, in nets of f16. */
struct hone_loss_scale {
    double now;
    int64_t good;                 /* steps since it changed, or since one was skipped */
    int64_t skipped;              /* steps without an update, since gradients were not finite */
};

/* A net in training: it and, where rows are left over, its twin for the short batch; likewise for
 * evaluation. */
struct hone_trainer {
    struct hone_train_options options;
    const struct hone_data *train, *test;
    /* nsteps 0 where there is none; several: net->launch steps at once, with net's state. */
    struct hone_net net, rest, eval, eval_rest, several;
    int64_t *order;               /* (rows of the larger set) */
    /* Steps done, or enqueued: on a device with its own memory, sums are of some steps less until
     * hone_trainer_catch_up(). */
    int64_t step;
    int epoch;                    /* in progress, or the last one done */
    int64_t position;             /* its rows done */
    struct hone_metrics sums;     /* over these rows: means come when the epoch ends */
    double epoch_seconds;         /* of its steps, evaluation left out, the teacher included */
    double wait_seconds;          /* of these, for batches */
    /* Of its steps since the start or the resumption, where gradients are clipped. */
    double norm;                  /* mean before clipping; NAN: none */
    int64_t nnorms, nclipped;
    char no_graph[HONE_TEXT];     /* what kept steps from being one graph of the device; or "" */
    struct hone_loss_scale scale;
    struct hone_scaling *scaling; /* the scale on a device with its own memory; NULL: there is none */
    int restored;                 /* 1: the next epoch goes on where the four above say */
    struct hone_teacher teacher;
    struct hone_scores *scores;   /* the caller's: filled in by evaluation; NULL: none */
    /* The training and the test rows on the device; NULL: batches are put there, and why. */
    struct hone_resident *resident[2];
    char no_resident[HONE_TEXT];  /* "" where it goes without saying */
    void *host;                   /* a batch or any tensor, on its way to another type or device */
    size_t host_bytes;
    /* Batches for a device with its own memory; sent: a mark behind each, when it is there. */
    struct hone_outgoing { char *mem; void *sent; } outgoing[2];
    int turn;                     /* which of them is next */
    struct hone_arrivals *arrivals;   /* what steps under way are going to tell */
    int64_t at_work;              /* the first row of the step that is run or taken, for messages */
};

/* Checks that net and data go together, assembles, sets the first weights.  Data and device must
 * outlive it. */
int hone_trainer_open(struct hone_trainer *t, const struct hone_train_options *o,
                      struct hone_device *d, const struct hone_data *train,
                      const struct hone_data *test);
void hone_trainer_close(struct hone_trainer *t);

/* One pass over the training rows in the order of the seed and `epoch` (from 1 on); *m: of the rows
 * as each step saw them, dropout included.  After an interruption HONE_EINTR, and *m of the rows so
 * far; where the loss is no number HONE_EDATA, with epoch, step and the first layer that is not
 * finite. */
int  hone_trainer_epoch(struct hone_trainer *t, int epoch, struct hone_metrics *m);

/* Waits for the steps under way, and takes in what they tell: an error as of an epoch. */
int  hone_trainer_catch_up(struct hone_trainer *t);

/* Passes all rows of the test set forward. */
int  hone_trainer_evaluate(struct hone_trainer *t, struct hone_metrics *m);

/* Do rows of d go through the net; and with targets, are they such as its loss reads? */
int hone_net_fits(const struct hone_net *net, const struct hone_data *d, int with_targets);

/* ---- trained nets ---- */

/* A net with its weights, for rows in batches; and what its weights say of the data. */
struct hone_infer {
    struct hone_net net, rest;    /* rest: for rows that fill no batch; opened when needed */
    struct hone_data about;       /* range, classes and their names; rows 0 */
    struct hone_lowering how;
    const char *name;
    struct hone_db *db;
    float *x, *output, *loss;     /* of a batch, in our memory */
    double *wide;                     /* room for any one of them, for a net of doubles */
    void *target;
};

/* Of `how` the batch, the number type and the loss count. */
int hone_infer_open(struct hone_infer *f, const char *net, const char *weights,
                    const struct hone_lowering *how, struct hone_db *db, struct hone_device *d);
void hone_infer_close(struct hone_infer *f);

/* Normalises rows as those were that the net was trained on, once they fit.  Without
 * targets those of d, if it has any, are forgotten. */
int hone_infer_prepare(struct hone_infer *f, struct hone_data *d, int with_targets);

/* Passes all rows forward.  After every batch f->output (n, outputs) and f->loss (n) are of rows
 * [first, first + n); seconds: of the steps alone. */
int hone_infer_rows(struct hone_infer *f, const struct hone_data *d,
                    int (*each)(void *ctx, int64_t first, int n, double seconds), void *ctx);

/* ---- commands ---- */

int hone_cmd_evaluate(int argc, char **argv);
int hone_cmd_predict(int argc, char **argv);
int hone_cmd_import(int argc, char **argv);

int hone_cmd_net(int argc, char **argv);
int hone_cmd_train(int argc, char **argv);
int hone_cmd_data(int argc, char **argv);

/* The options of `hone train`, for commands that hand them on: argp's array, with the headers of
 * its groups and without the row of zeros at its end.  Returns how many there are; list has room
 * for max. */
struct argp_option;
int hone_train_option_list(struct argp_option *list, int max);

/* For hone_cmd_autotune(): the problems of a training step of a net with each of the optimizers, a
 * list such as "sgd+momentum,adam", and what each is to the net (use[max] or NULL): with fused
 * steps, and with their parts instead, and a plain net's as one op.  d: the device, which may have
 * steps of its own; NULL: a processor. */
int hone_net_problems_of(const char *net, int batch, const char *dtype, const char *optimizers,
                         const struct hone_device *d, struct hone_problem p[],
                         struct hone_use use[], int max);

/* For hone_cmd_autotune(): hone_net_race_fn (inside.c); with the first of the optimizers.  Does
 * nothing on a device that steps are enqueued on. */
int hone_net_race(const char *net, int batch, const char *dtype, const char *optimizers,
                  struct hone_db *db, struct hone_device *d, double seconds, uint64_t seed);

/* The number type that --dtype means, which may be HONE_TF32; and a net's, as --dtype takes it. */
int hone_net_dtype_find(const char *name, enum hone_dtype *dtype);
const char *hone_net_dtype_name(const struct hone_net *net);

#endif
