/* nets/expand.h -- parameters and repetition in net texts.  expand.c runs the lines param, let,
 * repeat and if, and replaces {expressions} in all others; expr.c computes these.  For text.c. */
#ifndef HONE_NETS_EXPAND_H
#define HONE_NETS_EXPAND_H

#include "nets/nets.h"

enum { HONE_MAX_NAMES = 64, HONE_MAX_EXPR = 256 };

/* A number, or a word: letters, digits, _, - and dots. */
struct hone_value {
    int is_word;
    double number;
    char word[HONE_NAME];
};

/* What expressions may name, innermost last. */
struct hone_names {
    int n;
    struct {
        char name[HONE_NAME];
        int is_param;
        struct hone_value value;
    } at[HONE_MAX_NAMES];
};

/* The name's index, or -1. */
int hone_names_find(const struct hone_names *names, const char *name);

/* Computes "max(1, round(32 * width))". */
int hone_expr_compute(const struct hone_names *names, const char *text, struct hone_value *v);

/* "3", "0.5" are numbers, what is left are words; an error where it is neither. */
int  hone_value_read(const char *text, struct hone_value *v);
void hone_value_print(const struct hone_value *v, char text[HONE_NAME]);
int  hone_value_equal(const struct hone_value *a, const struct hone_value *b);

struct hone_expand {
    const char *set;      /* "n=3,width=32": replaces defaults; NULL: none */
    /* Called with each line that is left; may cut it up. */
    int (*line)(void *ctx, int number, char *line);
    void *ctx;
    int last;             /* line that was read last, from 1 on: where an error is */
    char changed[HONE_TEXT];   /* "n=3": parameters that differ from their default, in order */
    char params[HONE_TEXT];    /* "n=3 width=16": all */
};

/* An error's message lacks the place, which is e->last; 0: the parameters set are wrong. */
int hone_expand_run(struct hone_expand *e, const char *text);

#endif
