/* kernels/kernel.h -- the words of this program: what can be computed (op, problem), on what
 * (backend, device), by what (kernel, config, build), and all of it tied together (plan); and
 * how an answer is proven right (case).  Nothing here knows how to measure, tune or train.
 *
 * Everything that can be added is one const struct in one file, named by a line of Makefile.am. */
#ifndef HONE_KERNEL_H
#define HONE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    HONE_MAX_DIMS = 18,     /* named sizes of a problem, e.g. conv2d's mb ic ih iw oc ... */
    HONE_MAX_ATTRS = 16,
    HONE_MAX_NUMERIC = 4,   /* attributes that carry a number; they come first in op->attr */
    HONE_MAX_LAYOUTS = 4,
    HONE_MAX_RANK = 4,
    HONE_MAX_ARGS = 10,
    HONE_MAX_PARAMS = 12,
    HONE_TEXT = 256,        /* longest text of a problem or config, with the NUL */
    HONE_ALIGN = 64         /* every buffer starts on a cache line */
};

/* ---- errors: 0 or a negative code; hone_errmsg() says what went wrong in this thread ---- */

#define HONE_ERR_MAP(X)                                       \
    X(HONE_EINVAL, "bad argument")                            \
    X(HONE_EPARSE, "cannot read text")                        \
    X(HONE_ENOMEM, "out of memory")                           \
    X(HONE_EREFUSED, "kernel refuses problem")                \
    X(HONE_EDEVICE, "device failed")                          \
    X(HONE_EWRONG, "wrong result")                            \
    X(HONE_EIO, "cannot read or write file")                  \
    X(HONE_EDB, "database failed")                            \
    X(HONE_EDATA, "bad data set")                             \
    X(HONE_EINTR, "interrupted")

enum hone_err {
    HONE_OK = 0,
    HONE_BELOW_FIRST_ERR = -100,
#define X(code, text) code,
    HONE_ERR_MAP(X)
#undef X
};

/* Sets this thread's message and returns code. */
int hone_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "place: " before the message that stands, and returns code: callers add place once. */
int hone_fail_at(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *hone_errmsg(void);

/* The name of a code: "HONE_EPARSE". */
const char *hone_errname(int code);

/* ---- number types ---- */

enum hone_dtype { HONE_F32, HONE_F64, HONE_BF16, HONE_I32, HONE_U64, HONE_F16, HONE_NDTYPES };

/* For op->dtypes. */
enum {
    HONE_F32_F64 = 1u << HONE_F32 | 1u << HONE_F64,
    HONE_HALVES = 1u << HONE_BF16 | 1u << HONE_F16,
    HONE_F32_F64_HALF = HONE_F32_F64 | HONE_HALVES
};

size_t hone_dtype_bytes(enum hone_dtype t);
const char *hone_dtype_name(enum hone_dtype t);

/* Unit roundoff: half the distance between 1 and the next number; 0 for integers. */
double hone_dtype_eps(enum hone_dtype t);

/* Has it 16 bits: bf16, the upper half of a float, or f16, IEEE 754's binary16, with three bits
 * more and less range: up to 65504, and below 2^-14 in steps of 2^-24. */
int hone_dtype_is_half(enum hone_dtype t);

/* The type of what a problem of this type adds up or keeps: f32 of halves, which are for arrays of
 * activations, their gradients and weights alone; else the type itself. */
enum hone_dtype hone_dtype_wide(enum hone_dtype t);

/* Conversion of n numbers between a buffer of type t and doubles; rounding is to nearest even, and
 * what is too large for the type becomes infinite. */
void hone_to_double(enum hone_dtype t, const void *from, double *to, int64_t n);
void hone_from_double(enum hone_dtype t, const double *from, void *to, int64_t n);

/* ---- backend and device ---- */

/* Instruction sets that a CPU kernel can be compiled for; a device has all up to its own.  avx512dot:
 * with AVX512_BF16; amx: with tiles of bf16, too. */
enum hone_isa {
    HONE_ISA_plain, HONE_ISA_avx2, HONE_ISA_avx512, HONE_ISA_avx512dot, HONE_ISA_amx, HONE_NISAS
};

const char *hone_isa_name(enum hone_isa isa);

struct hone_device {
    const struct hone_backend *backend;
    int index;
    char name[16];             /* "cpu0" */
    char id[192];              /* fingerprint, equal on equal machines; a part of records' keys */
    char text[128];            /* for people: "Intel Xeon @ 2.50GHz" */
    enum hone_isa isa;
    int ncores;                /* processors this process may use */
    /* Data caches: L1 and L2 of a core, L3 of a socket; 0: none. */
    int64_t l1_bytes, l2_bytes, l3_bytes;
    int64_t memory_bytes;
    double max_error;          /* kernels refuse whose hone_kernel_error() is larger; 0: none */
    char *description;         /* JSON of a device that is not here: it lists, but never runs */
    void *priv;                /* the backend's own */
};

struct hone_kernel;

struct hone_backend {
    const char *name;
    const char *(*absent)(void);   /* why it is unusable here, or NULL */
    int  (*count)(void);           /* devices */
    int  (*open)(struct hone_device *d, int index);
    void (*close)(struct hone_device *d);
    int  (*alloc)(struct hone_device *d, size_t bytes, void **mem);   /* HONE_ALIGN-ed */
    void (*free)(struct hone_device *d, void *mem);
    /* Copies come in the order of what is enqueued; host may be reused when they return. */
    int  (*put)(struct hone_device *d, void *dst, const void *host, size_t bytes);
    int  (*get)(struct hone_device *d, void *host, const void *src, size_t bytes);
    int  (*sync)(struct hone_device *d);
    /* Copies that nobody waits for, from and to memory of the host that pin() gives.  They come in
     * the order of what is enqueued: until reach() has waited for a mark() that was set behind them,
     * what send() reads must stay, and what receive() writes is not there.  mark() makes a mark
     * where *mark is NULL, else sets it anew.  All NULL: the device's memory is ours. */
    int  (*pin)(struct hone_device *d, size_t bytes, void **host);
    void (*unpin)(struct hone_device *d, void *host);
    int  (*send)(struct hone_device *d, void *dst, const void *pinned, size_t bytes);
    int  (*receive)(struct hone_device *d, void *pinned, const void *src, size_t bytes);
    int  (*mark)(struct hone_device *d, void **mark);
    int  (*reach)(struct hone_device *d, void *mark);
    void (*unmark)(struct hone_device *d, void *mark);
    /* The seconds that the device takes for what is enqueued between the two; the second waits for
     * it.  Both NULL: run() returns when its work is done, and wall time tells. */
    int  (*start)(struct hone_device *d);
    int  (*stop)(struct hone_device *d, double *seconds);
    /* Enqueues that nothing is left in the device's caches.  NULL: its memory is ours, and lines are
     * flushed one by one. */
    int  (*evict)(struct hone_device *d);
    /* What is enqueued between the first two is not done but kept as a graph, to be replayed as
     * often as one likes at the cost of one launch.  All NULL: there is no such thing. */
    int  (*record)(struct hone_device *d);
    int  (*recorded)(struct hone_device *d, void **graph);
    int  (*replay)(struct hone_device *d, void *graph);
    void (*forget)(struct hone_device *d, void *graph);
    /* Why no kernel of k's build can run on d, whatever the problem, such as that there is no
     * compiler; or NULL. */
    const char *(*refuse)(const struct hone_kernel *k, const struct hone_device *d);
    /* By what JIT and precompiled kernels are compiled ("gcc 12.2.0"), which is a part of records'
     * keys.  aot_compiler NULL: by what this program is. */
    const char *(*jit_compiler)(void);
    const char *(*aot_compiler)(void);
};

/* Opens "cpu0", "gpu0", ...: name of a backend's device.  The caller closes it. */
int  hone_device_open(struct hone_device *d, const char *name);
void hone_device_close(struct hone_device *d);

/* In this thread of the processor, and in those that it starts from now on, what is too small to be
 * a normal number becomes 0, read or written.  The momentum of weights that get no gradient any
 * more, such as those of a relu that lets nothing through, would otherwise shrink down to the
 * smallest numbers and stay there, and each operation on one of these takes more than a hundred
 * cycles.  A program's choice: what kernels promise of such small numbers holds without. */
void hone_flush_subnormal(void);
int  hone_flushes_subnormal(void);   /* 1: so it is in this thread */

/* "gpu0:FILE": a GPU that need not be here, by cuDNN's JSON of its properties. */
int  hone_device_describe(struct hone_device *d, const char *name);
int  hone_device_is_description(const char *name);

/* Sets max_error from a user's text, such as "1e-5"; NULL: no limit. */
int  hone_device_limit(struct hone_device *d, const char *text);

/* ---- op and problem ---- */

enum { HONE_REQUIRED = -1, HONE_DERIVED = -2 };

/* A named size.  Omitted in the text, it is that of `same`, else def; HONE_DERIVED ones are
 * computed by op->check and always printed. */
struct hone_dim {
    const char *name;
    int min;               /* smallest allowed value */
    int def;
    const char *same;
};

/* "bias", or with a number: "beta1", "slope0.01". */
struct hone_attr {
    const char *name;
    int numeric;
    double def;            /* of a numeric one that is not given */
};

/* A problem is a plain value; its text OP:DTYPE:LAYOUT:SIZES[:ATTRIBUTES] is the command-line
 * argument, the database's key, the test's name and the report's row. */
struct hone_problem {
    const struct hone_op *op;
    enum hone_dtype dtype;
    int layout;                        /* index into op->layout */
    int32_t dim[HONE_MAX_DIMS];        /* in the order of op->dim; unused ones are 0 */
    uint32_t attrs;                    /* bit i: op->attr[i] is given */
    double value[HONE_MAX_NUMERIC];    /* of op->attr[i] */
};

enum hone_io { HONE_IN, HONE_OUT, HONE_INOUT };

/* One argument of a problem: what a buffer holds and what a test may fill it with. */
struct hone_arg {
    const char *name;      /* "x", "w", "bias", ... */
    enum hone_io io;
    enum hone_dtype dtype;
    int rank;
    int64_t dim[HONE_MAX_RANK];   /* row-major */
    double lo, hi;         /* values it takes in tests and timings: reals in [lo, hi], integer types
                            * in lo, lo+1, ..., hi.  Both 0: [-1, 1]. */
    int weight;            /* 1: parameters of a net, for the cache modes of timing */
    int whole;             /* 1: all of it is needed before the first output is known, so that it is
                            * read twice where the caches do not hold it */
};

/* An argument by its dimensions: HONE_ARG("x", HONE_IN, HONE_F32, m, n). */
#define HONE_ARG(name_, io_, dtype_, ...)                                                         \
    ((struct hone_arg){ .name = (name_), .io = (io_), .dtype = (dtype_),                          \
                        .rank = (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),      \
                        .dim = { __VA_ARGS__ } })

int64_t hone_arg_len(const struct hone_arg *a);     /* numbers */
int64_t hone_arg_bytes(const struct hone_arg *a);

struct hone_op {
    const char *name;
    unsigned dtypes;                               /* bit t: enum hone_dtype t is possible */
    const char *layout[HONE_MAX_LAYOUTS + 1];      /* the first is the usual one */
    struct hone_dim dim[HONE_MAX_DIMS + 1];
    struct hone_attr attr[HONE_MAX_ATTRS + 1];

    /* Fills in derived sizes; a negative code and a message if sizes or attributes contradict
     * each other.  May be NULL. */
    int (*check)(struct hone_problem *p);

    /* Describes the arguments in the order in which kernels take them; returns how many. */
    int (*args)(const struct hone_problem *p, struct hone_arg arg[HONE_MAX_ARGS]);

    double (*flops)(const struct hone_problem *p);

    /* The meaning: exact value of element i of output `out` (an index into the arguments), in
     * doubles.  in[a] holds argument a as doubles as it stood before the run (NULL: output only).
     * *scale: the magnitude that rounding errors are relative to, e.g. the sum of |a||b| of a
     * dot product. */
    double (*ref)(const struct hone_problem *p, const double *const in[], int out, int64_t i,
                  double *scale);

    /* What many elements' meanings need, computed once per inputs, such as a column's mean: share()
     * fills nshared() doubles, and ref() finds them in in[shared_arg], which is free, since that
     * argument is an output only.  Both NULL where ref() needs no such thing. */
    int shared_arg;
    int64_t (*nshared)(const struct hone_problem *p);
    void (*share)(const struct hone_problem *p, const double *const in[], double *shared);

    /* Allowed error in units of eps * scale of a straightforward evaluation: about the length of
     * the longest chain of roundings. */
    double (*growth)(const struct hone_problem *p);

    /* The largest |input| for which integer inputs give exact results in the problem's dtype in
     * every order of summation; 0: never exact.  May be NULL: never. */
    int (*exact)(const struct hone_problem *p);
};

/* Reads a problem; omitted sizes are filled in, so that equal problems are equal values. */
int  hone_problem_parse(const char *text, struct hone_problem *p);

/* The shortest text that parse() reads back as p. */
void hone_problem_print(const struct hone_problem *p, char text[HONE_TEXT]);

int  hone_problem_equal(const struct hone_problem *p, const struct hone_problem *q);

/* Is attribute `name` given?  An assert catches a name the op does not have. */
int  hone_problem_has(const struct hone_problem *p, const char *name);

/* Is p a problem of this op?  hone_problem_is(p, conv2d_fwd); see JIT below: a compiler does not
 * know of addresses outside of its own code whether they are the same. */
#ifndef HONE_JIT_BUILD
#define hone_problem_is(p, op_name) ((p)->op == &hone_op_##op_name)
#endif

/* Bytes that must move at least: every input read once, every output written once. */
double hone_problem_bytes(const struct hone_problem *p);

/* ---- kernel, config, plan ---- */

enum hone_build { HONE_AOT, HONE_JIT, HONE_LIB };

const char *hone_build_name(enum hone_build b);

struct hone_param {
    const char *name;      /* "threads" means OpenMP threads: valid up to device->ncores */
    int nvalues;
    const int *value;
};

#define HONE_PARAM(name, ...)                                                                      \
    { name, sizeof((int[]){ __VA_ARGS__ }) / sizeof(int), (const int[]){ __VA_ARGS__ } }

struct hone_config {
    int v[HONE_MAX_PARAMS];   /* one value per kernel->param, in order */
};

struct hone_plan;
struct hone_jit_cost;

/* One way in which a library can compute a problem: its config, and what the library says of it. */
struct hone_candidate {
    struct hone_config config;
    size_t workspace_bytes;
    const char *about;
};

struct hone_kernel {
    const char *name;                        /* key in the database: never renamed, never reused */
    const struct hone_op *const *ops;        /* NULL-terminated; NULL: every op */
    const struct hone_backend *backend;
    enum hone_build build;
    enum hone_isa isa;                       /* CPU: the least it needs */
    unsigned dtypes;                         /* bit t: it computes enum hone_dtype t; 0: all */
    struct hone_param param[HONE_MAX_PARAMS];
    int slow;                                /* 1: for checking, not a candidate of the tuner */
    const struct hone_kernel *aot;           /* JIT: the kernel whose source is compiled again */

    /* Library kernels: "OpenBLAS 0.3.21".  Part of the record's key. */
    const char *(*version)(void);
    /* Why this kernel cannot do p on d, or NULL if it can. */
    const char *(*refuse)(const struct hone_problem *p, const struct hone_device *d);
    /* Is it likely to be a good choice where nothing was measured?  NULL: always. */
    int (*suits)(const struct hone_problem *p, const struct hone_device *d);
    /* Which configs are possible and sensible: kernels/constraint.h tells what may stand here, such
     * as "mr * nv <= 28 && needed(kc, k)".  NULL: every combination is. */
    const char *constraint;
    /* Likewise, for what the text cannot say.  NULL: nothing. */
    int (*valid)(const struct hone_problem *p, const struct hone_config *c,
                 const struct hone_device *d);
    /* A config that is good without measuring; must be valid.  NULL: the first valid one. */
    void (*guess)(const struct hone_problem *p, const struct hone_device *d, struct hone_config *c);
    /* Bytes of scratch memory run() needs.  NULL: none. */
    size_t (*workspace)(const struct hone_problem *p, const struct hone_config *c,
                        const struct hone_device *d);
    /* Replaces op->growth where the algorithm rounds more, or provably less.  May be NULL. */
    double (*growth)(const struct hone_problem *p, const struct hone_config *c);
    /* Replaces the scale of op->ref for element i of output `out`, where rounding errors are
     * relative to more than the products that belong to it (Winograd).  Such a kernel rounds whole
     * numbers, too.  May be NULL. */
    double (*scale)(const struct hone_problem *p, const struct hone_config *c,
                    const double *const in[], int out, int64_t i);
    /* How many times op->ref's scale that can be where all inputs are of one size.  NULL: 1. */
    double (*amplify)(const struct hone_problem *p, const struct hone_config *c);
    /* Library kernels that ask their library: calls f for each candidate, best guess first; d may be
     * a description.  0, or why there are none.  May be NULL. */
    int  (*candidates)(const struct hone_problem *p, const struct hone_device *d,
                       void (*f)(void *ctx, const struct hone_candidate *c), void *ctx);
    /* Work done once per plan (compile, tables), kept in plan->priv.  Either may be NULL. */
    int  (*prepare)(struct hone_plan *plan);
    void (*release)(struct hone_plan *plan);
    /* mem[i] is argument i of the op; workspace has plan->workspace_bytes.  Never allocates. */
    int  (*run)(const struct hone_plan *plan, void *const mem[], void *workspace);
    /* Milliseconds of a run, on average of all so far, that went into changing layouts: what a
     * library's kernel in its own layout would not need among others of its kind.  May be NULL. */
    double (*reorder_ms)(const struct hone_plan *plan);
    /* JIT: what it took to have the plan's code. */
    const struct hone_jit_cost *(*jit_cost)(const struct hone_plan *plan);
};

struct hone_plan {
    struct hone_problem problem;
    struct hone_config config;
    const struct hone_kernel *kernel;
    struct hone_device *device;
    size_t workspace_bytes;
    void *priv;               /* kernel's own, between prepare() and release() */
};

/* Why k cannot do p on d, or NULL: op, backend, ISA, then k's own reasons. */
const char *hone_kernel_refuse(const struct hone_kernel *k, const struct hone_problem *p,
                               const struct hone_device *d);

/* Bound on the error of a result, relative to the sum of absolute values that it is made of where
 * all inputs are of one size: what a user may limit. */
double hone_kernel_error(const struct hone_kernel *k, const struct hone_problem *p,
                         const struct hone_config *c);

int hone_kernel_does(const struct hone_kernel *k, const struct hone_op *op);

/* "aot,lib": a set of builds, bit HONE_AOT and so on. */
int  hone_builds_parse(const char *text, unsigned *builds);

/* Who competes where nobody says otherwise: all that need not be compiled first. */
enum { HONE_USUAL_BUILDS = 1u << HONE_AOT | 1u << HONE_LIB };

/* "aot gcc 12.2.0 -O3 -mavx2 1a2b3c4d": build, compiler or library version, hash of the kernel's
 * source.  Part of the record's key, so that an edited kernel's old times are never served. */
void hone_kernel_version(const struct hone_kernel *k, char text[HONE_TEXT]);

/* The kernel of that name for op, or NULL. */
const struct hone_kernel *hone_kernel_find(const struct hone_op *op, const char *name);

/* The config used when nothing was measured; always valid. */
void hone_config_guess(const struct hone_kernel *k, const struct hone_problem *p,
                       const struct hone_device *d, struct hone_config *c);
int  hone_config_valid(const struct hone_kernel *k, const struct hone_problem *p,
                       const struct hone_config *c, const struct hone_device *d);

/* All combinations in the order of an odometer, valid or not: first, then next until it gives 0. */
void hone_config_first(const struct hone_kernel *k, struct hone_config *c);
int  hone_config_next(const struct hone_kernel *k, struct hone_config *c);

/* All of a kernel's configs for a problem, be they 10^9. */
struct hone_configs {
    double raw;              /* combinations */
    double valid;            /* of these */
    int exact;               /* 1: `valid` is a count; 0: an estimate */
    int coded;               /* 1: code has a say besides the text */
    int ngroups;             /* of parameters that nothing ties together */
    void *priv;
};

/* HONE_EPARSE for a constraint that is none.  d must outlive it; close() takes a zeroed struct. */
int  hone_configs_open(struct hone_configs *x, const struct hone_kernel *k,
                       const struct hone_problem *p, const struct hone_device *d);
void hone_configs_close(struct hone_configs *x);

/* One of the valid ones, all equally likely; 0: there is none, or they are too rare to be met.
 * *at counts the random numbers of the seed that were used. */
int  hone_configs_draw(struct hone_configs *x, uint64_t seed, uint64_t *at, struct hone_config *c);

/* Calls f for each valid one until it returns nonzero, and returns that. */
int  hone_configs_each(struct hone_configs *x, int (*f)(void *ctx, const struct hone_config *c),
                       void *ctx);

/* "mr=14,nv=2,threads=2"; "-" for a kernel without parameters.  Unnamed parameters in the text
 * keep what c holds, so start from a guess; an unknown name or value is an error. */
void hone_config_print(const struct hone_kernel *k, const struct hone_config *c,
                       char text[HONE_TEXT]);
int  hone_config_parse(const struct hone_kernel *k, const char *text, struct hone_config *c);

/* c->v of the parameter `name`; dflt if k has no such parameter. */
int  hone_config_get(const struct hone_kernel *k, const struct hone_config *c, const char *name,
                     int dflt);

/* c may be NULL: the guess.  close() takes a zeroed struct. */
int  hone_plan_open(struct hone_plan *plan, const struct hone_problem *p,
                    const struct hone_kernel *k, const struct hone_config *c,
                    struct hone_device *d);
void hone_plan_close(struct hone_plan *plan);

static inline int hone_plan_run(const struct hone_plan *plan, void *const mem[], void *workspace)
{
    return plan->kernel->run(plan, mem, workspace);
}

/* The plan used for p when nothing was measured: the first kernel in registry order that accepts p,
 * suits it, is not slow and need not be compiled, else the first that accepts it, else the first
 * that must be compiled, else the reference. */
int  hone_plan_default(struct hone_plan *plan, const struct hone_problem *p, struct hone_device *d);

/* ---- JIT: kernels compiled while the program runs, problem and config being constants ---- */

/* Every kernel of Makefile.am's SIMD lists is there once more, as NAME_jit: the same functions say
 * what it can do, but opening a plan compiles its source for this problem and config alone, or
 * finds that in the user's cache directory.  A kernel's run() reads both through these two, which
 * in such a compilation are constants to the compiler; it may do so anew inside a parallel region,
 * where the compiler no longer knows what is outside.  HONE_JIT_INLINE functions are inlined there,
 * so that what they are given is constant to them too. */
#ifdef HONE_JIT_BUILD
#define HONE_JIT_INLINE static inline __attribute__((always_inline))
static const struct hone_problem hone_jit_problem;
static const struct hone_config hone_jit_config;
#define hone_plan_problem(plan) ((void)(plan), &hone_jit_problem)
#define hone_plan_config(plan) ((void)(plan), &hone_jit_config)
#else
#define HONE_JIT_INLINE static
#define hone_plan_problem(plan) (&(plan)->problem)
#define hone_plan_config(plan) (&(plan)->config)
#endif

/* What it took to have a plan's code. */
struct hone_jit_cost {
    double compile_ms;     /* when it was compiled, be it by an earlier program */
    double load_ms;        /* finding it in the cache, checking and linking it */
    double first_ms;       /* the first run; 0: none yet */
    int64_t code_bytes;    /* of machine code */
    int cached;            /* 1: nothing was compiled now */
};

/* NULL for plans of other builds. */
const struct hone_jit_cost *hone_plan_jit(const struct hone_plan *plan);

/* Why nothing can be compiled for this processor, or NULL. */
const char *hone_jit_absent(void);

/* "gcc (Debian 12.2.0-14) 12.2.0": the first line of what the compiler says of itself. */
const char *hone_jit_compiler(void);

/* ---- registry (generated from Makefile.am's lists) ---- */

extern const struct hone_op *const hone_ops[];           /* NULL-terminated */
extern const struct hone_backend *const hone_backends[];
extern const struct hone_kernel *const hone_kernels[];
extern const char *const hone_kernel_source[];           /* hash of kernel i's source */
extern const char *const hone_isa_flags[];               /* compiler flags by enum hone_isa */

/* The kernel that evaluates op->ref element by element: slow, right, for every op. */
extern const struct hone_kernel hone_backend_ref;

/* ---- case: a problem's inputs on a device, and what the outputs must be ---- */

enum hone_values { HONE_INTEGERS, HONE_REALS };

struct hone_case {
    struct hone_problem problem;
    struct hone_device *device;
    enum hone_values values;
    int nargs;
    struct hone_arg arg[HONE_MAX_ARGS];
    void *mem[HONE_MAX_ARGS];         /* on the device, guard bands before and after; for run() */
    void *host[HONE_MAX_ARGS];        /* initial contents */
    double *number[HONE_MAX_ARGS];    /* inputs as doubles */
    int64_t nwant[HONE_MAX_ARGS];     /* outputs: elements with a known answer; all, or a sample */
    int64_t *at[HONE_MAX_ARGS];       /* which; NULL: 0, 1, 2, ... */
    double *want[HONE_MAX_ARGS], *scale[HONE_MAX_ARGS];
    double *shared;                   /* op->share()'s, or NULL */
    void *workspace;                  /* grown by check() to what plans need; the case owns it */
    size_t workspace_bytes;
};

/* Makes inputs from the seed and computes the expected outputs: all of them where that takes at
 * most about 3e8 operations, else a sample of that cost. */
int  hone_case_open(struct hone_case *c, const struct hone_problem *p, struct hone_device *d,
                    enum hone_values values, uint64_t seed);
void hone_case_close(struct hone_case *c);

/* Sets every buffer to its initial contents; outputs to NaN. */
int  hone_case_reset(struct hone_case *c);

/* Sees to it that c->workspace holds what plan needs, guard bands included. */
int  hone_case_workspace(struct hone_case *c, const struct hone_plan *plan);

/* Runs the plan, twice, and compares: HONE_EWRONG where an output differs from the expected by
 * more than the bound (or at all, for integers), is unwritten, where a guard band or an input
 * was written, or where the two runs differ in a bit.  *error: largest error in units of the
 * bound (may be NULL). */
int  hone_case_check(struct hone_case *c, const struct hone_plan *plan, double *error);

/* Both kinds of values, opened, checked and closed. */
int  hone_verify(const struct hone_plan *plan, uint64_t seed, double *error);

/* ---- where things lie ---- */

/* "$XDG_CACHE_HOME/hone/NAME" or "~/.cache/hone/NAME" (kind "cache"), likewise "data" with
 * XDG_DATA_HOME and ~/.local/share; directories are made, mode 0700. */
int hone_user_path(const char *kind, const char *name, char *path, size_t size);

/* ---- random numbers: counter-based, equal on every machine ---- */

/* splitmix64's mixing function (Steele, Lea, Flood 2014) of the pair (seed, i). */
static inline uint64_t hone_random(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1), 53 bits. */
static inline double hone_random_unit(uint64_t seed, uint64_t i)
{
    return (double)(hone_random(seed, i) >> 11) * 0x1p-53;
}

#endif
