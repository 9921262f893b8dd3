/* autotune/options.h -- what hone autotune is told. */
#ifndef HONE_AUTOTUNE_OPTIONS_H
#define HONE_AUTOTUNE_OPTIONS_H

#include "autotune/replay.h"

enum { HONE_MOST_PROBLEMS = 1024 };   /* of a session */

struct hone_autotune_options {
    const char *device, *net, *db, *optimizers, *dtype, *max_error, *record;
    int batch, json, twice;
    int64_t max_workspace;
    struct hone_tune_options tune;
    struct hone_replay_options replay;
    int ntexts;
    const char *text[HONE_MOST_PROBLEMS];
};

/* Reads the command line into o, over the defaults.  Wrong usage, and --help, end the program; else
 * returns 0, or what argp failed with. */
int hone_autotune_options_read(int argc, char **argv, struct hone_autotune_options *o);

#endif
