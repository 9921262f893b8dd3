/* kernels/library.h -- libraries that are opened while the program runs, so that one binary
 * serves machines with and without them.  What is missing is a sentence, never an error. */
#ifndef HONE_LIBRARY_H
#define HONE_LIBRARY_H

enum { HONE_LIBRARY_WHY = 256 };

/* A function and where its address goes: a pointer to a pointer to a function. */
struct hone_symbol {
    const char *name;
    void *to;
};

struct hone_library {
    const char *name;                  /* for people: "CUPTI" */
    const char *file[4];               /* the first that is there; NULL-terminated */
    /* What it opens by name when it is used.  Where it is found by a path of its own, these must
     * have been opened from there before.  NULL-terminated. */
    const char *needs[3];
    const struct hone_symbol *symbol;  /* ended by one without a name */
};

/* Opens a library and fills in its functions; NULL, or why it cannot be used.  It is looked for
 * where the system looks, then in $CUDA_HOME and where the toolkit's packages put it, and is never
 * closed again.  A file that is there but cannot be opened is not passed over. */
const char *hone_library_open(const struct hone_library *l, char why[HONE_LIBRARY_WHY]);

#endif
