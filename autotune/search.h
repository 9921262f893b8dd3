/* autotune/search.h -- what is tried next: a pool of candidates, and searchers that are asked for
 * one and told what it took.  They know no kernel, no device and no clock, so that what holds on a
 * recorded space holds on a live one. */
#ifndef HONE_AUTOTUNE_SEARCH_H
#define HONE_AUTOTUNE_SEARCH_H

#include "autotune/race.h"

/* ---- pool.c: the candidates ---- */

struct hone_pool_kernel {
    char name[64];
    int isa, build;              /* enum hone_isa, enum hone_build */
    int nparams;
    char param[HONE_MAX_PARAMS][16];
    int first, n;                /* its candidates; the first is its guess */
};

struct hone_choice {
    int kernel;                  /* index into pool->kernel */
    int v[HONE_MAX_PARAMS];      /* values of its parameters */
};

struct hone_pool {
    int nkernels, n;
    struct hone_pool_kernel *kernel;   /* (nkernels) in the order of preference */
    /* What an untuned problem runs is the guess of kernel[usual - 1]; 0: none of them. */
    int usual;
    struct hone_choice *at;         /* (n) kernel by kernel */
    double *cost;                /* (n) logarithms of time that an analytic model expects, NAN: it
                                  * has no idea; NULL: there is none */
};

/* Names and parameters of a kernel, which has no candidates yet; NULL for lack of memory. */
struct hone_pool_kernel *hone_pool_kernel_add(struct hone_pool *pool);
int  hone_pool_add(struct hone_pool *pool, const int v[HONE_MAX_PARAMS]);   /* to the last kernel */
int  hone_pool_of_space(struct hone_pool *pool, const struct hone_space *s);
int  hone_pool_find(const struct hone_pool *pool, const char *kernel, const int v[], int nparams);
void hone_pool_close(struct hone_pool *pool);

/* cost.c: fills cost for problem p. */
int  hone_pool_expect(struct hone_pool *pool, const struct hone_problem *p,
                      const struct hone_device *d);

/* ---- search_counters.c: what was counted of some candidates, and what others should count ---- */

enum { HONE_COUNTED = 16, HONE_COUNTS = 12 };   /* candidates and counters at most */

/* What candidate `at` of the pool counted, in this search (lesson 0) or in another one. */
struct hone_count_note {
    int at, lesson;
    double log[HONE_COUNTS];     /* logarithms of 1 + what was counted; NAN: was not counted */
};

struct hone_counts {
    int n, nwhat, nactive;       /* candidates that this search counted; counters; those that differ */
    int nnotes;
    struct hone_count_note *note;   /* (nnotes) this search's and those that were taught */
    float *place;                /* (pool->n, nwhat) what every candidate should count, in units of how
                                  * much they differ; NULL: nothing was counted */
    unsigned char *known;        /* (pool->nkernels) 1: enough is known of it to expect anything */
};

/* How alike two candidates of one kernel count, by their parameters: 1 for equals. */
typedef double hone_alike_fn(const void *ctx, int i, int j);

/* Expects of every candidate what it would count. */
int  hone_counts_expect(struct hone_counts *c, const struct hone_pool *pool, hone_alike_fn *alike,
                        const void *ctx);

/* How far apart what two candidates count is expected to be; negative: nobody knows. */
double hone_counts_apart(const struct hone_counts *c, const struct hone_pool *pool, int i, int j);
void hone_counts_close(struct hone_counts *c);

/* The counters of a session by name: HONE_COUNTS of them, as they come. */
struct hone_count_names { char name[HONE_COUNTS][64]; };

/* "dram_read=1.2e+06 occupancy=47" as values in the order of names, to which new ones are added; NAN
 * where the text has none of that name.  How many it has. */
int  hone_counts_read(struct hone_count_names *names, const char *text, double value[HONE_COUNTS]);

/* ---- searchers: ask and tell ---- */

struct hone_search {
    const struct hone_searcher *searcher;
    const struct hone_pool *pool;
    const double *prior;         /* (pool->n) what other problems taught: the expected logarithm of
                                  * its time over the best one's; NULL: nothing */
    double *ms;                  /* (pool->n) 0: not tried yet; negative: does not work */
    int ntried, best;            /* best: a candidate, or -1 */
    double gain;                 /* share of the best time that the next trial should save, where
                                  * the searcher can tell; else negative */
    uint64_t seed, drawn;
    int at;                      /* where a local search stands: a candidate, or below 0 */
    struct hone_counts counts;
    void *state;                 /* the searcher's own */
};

struct hone_searcher {
    const char *name, *about;
    int  (*open)(struct hone_search *s);    /* may be NULL, as close and tell */
    void (*close)(struct hone_search *s);
    int  (*ask)(struct hone_search *s);     /* one that was not tried; there is one */
    void (*tell)(struct hone_search *s, int i);
    /* The next few to try, if what is told in between is what is expected: as many as n, the first
     * the one that ask names; NULL: it says one at a time. */
    int  (*batch)(struct hone_search *s, int n, int next[]);
    int  (*count)(struct hone_search *s);   /* another was counted; NULL: does not care */
};

extern const struct hone_searcher *const hone_searchers[];   /* NULL-terminated, the default first */

/* HONE_EPARSE, with the list of names, for an unknown one; NULL: the default. */
int hone_searcher_find(const char *name, const struct hone_searcher **searcher);

int  hone_search_open(struct hone_search *s, const struct hone_searcher *searcher,
                      const struct hone_pool *pool, const double *prior, uint64_t seed);
void hone_search_close(struct hone_search *s);

/* The candidate to try next; -1: all were tried.  A negative code below -1 is an error. */
int  hone_search_ask(struct hone_search *s);

/* Likewise the next few, at most n: how many, or a code as of ask. */
int  hone_search_ask_few(struct hone_search *s, int n, int next[]);

/* Candidate i, asked for or not, took so long; 0 or less: it does not work. */
void hone_search_tell(struct hone_search *s, int i, double ms);

/* Once the search is over: candidate i was asked again and took only so long. */
void hone_search_amend(struct hone_search *s, int i, double ms);

/* Who should be counted now, of those that were tried: at most every eighth.  -1: nobody. */
int  hone_search_curious(const struct hone_search *s);

/* Candidate i counted value[nwhat], the same counters for all; NAN: this one not. */
int  hone_search_count(struct hone_search *s, int i, const double value[], int nwhat);

/* Likewise what it counted elsewhere: on another problem or device, which the lesson (from 1) stands
 * for.  How counters change with parameters is much the same there. */
int  hone_search_count_taught(struct hone_search *s, int i, int lesson, const double value[],
                              int nwhat);

/* ---- for searchers ---- */

/* A random number below n, the next of this search; one of [0, 1). */
int  hone_search_draw(struct hone_search *s, int n);
double hone_search_unit(struct hone_search *s);

int  hone_search_guess(const struct hone_search *s);   /* of a kernel, not tried yet, or -1 */
/* Guesses of kernels that were not tried yet, at most n in their order: how many. */
int  hone_search_guesses(const struct hone_search *s, int n, int next[]);
int  hone_search_any(struct hone_search *s);           /* any that was not tried */

/* One not tried of i's kernel that differs from i in as few parameters (*differ) as any does; -1:
 * all were tried. */
int  hone_search_near(struct hone_search *s, int i, int *differ);

/* In how many parameters two of a kernel differ; of two kernels: in more than there are. */
int  hone_pool_differ(const struct hone_pool *pool, int i, int j);

/* ---- lessons.c ---- */

/* Fills prior (pool->n) from a database's records of other problems, devices and sessions; *taught:
 * of how many candidates they tell. */
int hone_lessons(struct hone_db *db, const struct hone_problem *p, const struct hone_device *d,
                 const struct hone_pool *pool, double *prior, int *taught);

/* Tells the search what candidates counted on other problems and devices, and in earlier sessions. */
int hone_lessons_count(struct hone_db *db, const struct hone_problem *p, struct hone_search *s,
                       struct hone_count_names *names);

/* ---- transfer.c: what other problems and devices teach ---- */

struct hone_lesson {
    const struct hone_pool *pool;
    const double *ms;            /* (pool->n) of one session; 0: not measured or does not work */
    double weight;
};

/* 0: the same sizes; 1: one of them is twice as large. */
double hone_problem_distance(const struct hone_problem *p, const struct hone_problem *q);

/* Fills prior (pool->n), of kernels that no lesson has with NAN.  How many candidates were taught
 * about; 0: nothing was learned. */
int hone_transfer(const struct hone_pool *pool, const struct hone_lesson *lesson, int n,
                  double *prior);

#endif
