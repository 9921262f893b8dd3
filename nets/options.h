/* nets/options.h -- the options of `hone train`, in groups that other commands can take over: each
 * is an argp parser whose input is the part of struct hone_train_command that it fills in.  For
 * nets/ alone; others include nets.h. */
#ifndef HONE_NETS_OPTIONS_H
#define HONE_NETS_OPTIONS_H

#include "nets/nets.h"

#include <argp.h>

/* Where rows come from, and what is done to them before a net sees them. */
struct hone_data_choice {
    const char *data, *target; /* data NULL: left to the net */
    double split;              /* 0: as the source has it, or 0.8 where it has none */
    int64_t limit;             /* training rows; 0: all */
    int raw;                   /* 1: not normalised */
    int drop_last;
    struct hone_augment augment;
    enum hone_feeding feeding;
};

/* The optimizer, and the options that were given, to find what does not go together. */
struct hone_optim_choice {
    struct hone_optim optim;
    const char *lr, *momentum, *beta, *rho, *epsilon, *nesterov, *weight_decay;
};

/* What is kept on disk, and how many runs there are. */
struct hone_keep_choice {
    const char *weights, *save, *best, *checkpoint; /* files; NULL: none */
    const char *resume;                             /* file; NULL: none, or that of checkpoint */
    int resuming;
    int64_t every_steps;  /* 0: only after epochs */
    double every_seconds; /* likewise */
    int patience;         /* epochs; 0: no early stop */
    int folds, repeat;    /* 0: one run */
    int until;            /* epoch to end after, of those that training is for; 0: the last */
};

/* An option that changes what training computes has its line in hone_train_signature() (keep.c), so
 * that a checkpoint of other options is refused. */
struct hone_train_command {
    const char *device, *net, *db, *max_error;
    struct hone_data_choice data;
    struct hone_optim_choice optim;
    struct hone_keep_choice keep;
    struct hone_teacher_choice teacher;
    struct hone_train_options train;
    int epochs, nlosses, json, untuned, metrics;
    unsigned builds;      /* whose records choose plans; 0: all */
    char command[1024];
};

/* options_data.c; the input is a struct hone_data_choice. */
extern const struct argp hone_data_argp;
/* options_optim.c; the input is a struct hone_optim_choice. */
extern const struct argp hone_optim_argp;
/* options_keep.c; the input is a struct hone_keep_choice. */
extern const struct argp hone_keep_argp;
/* options_teacher.c; the input is a struct hone_teacher_choice. */
extern const struct argp hone_teacher_argp;
/* options_train.c; the input is a struct hone_train_command. */
extern const struct argp hone_train_argp;

/* The set that goes with a built-in net where none is named. */
const char *hone_data_of_net(const char *net);

/* Opens, splits, limits and normalises as chosen; both are closed by the caller in any case. */
int hone_data_choose(struct hone_data *train, struct hone_data *test,
                     const struct hone_data_choice *c, uint64_t seed);

/* The same for part `fold` of `folds`, in place of a split. */
int hone_data_choose_fold(struct hone_data *train, struct hone_data *test,
                          const struct hone_data_choice *c, int folds, int fold, uint64_t seed);

/* ---- values of options; what is wrong ends the program with argp_error() ---- */

long hone_option_whole(struct argp_state *state, const char *name, const char *arg, long min,
                       long max);

/* A number in [min, max), or (min, max) where open. */
double hone_option_real(struct argp_state *state, const char *name, const char *arg, double min,
                        double max, int open);

/* 0: the first word, 1: the second. */
int hone_option_choice(struct argp_state *state, const char *name, const char *arg,
                       const char *first, const char *second);

#endif
