/* kernels/constraint.h -- which configs are possible, as text: "mr * nv <= 28 && threads <= m".
 *
 *     or:      and {|| and}          and: compared {&& compared}
 *     compared: sum [(== != < <= > >=) sum]
 *     sum:     product {(+ -) product}            product: factor {(* / %) factor}
 *     factor:  - factor | ! factor | number | name | function(or, ...) | (or)
 *
 * Whole numbers of 64 bits; / drops the rest, as in C.  Names: the kernel's parameters; the
 * problem's sizes by the op's names (m, n, k, mb, ic, ...); cores, l1, l2, l3, memory (bytes) of
 * the device; lanes (numbers in a vector of the kernel), word (bytes of a number), bytes (that the
 * problem moves at least); of a GPU sms, and of one multiprocessor sm_threads, sm_blocks,
 * sm_registers, sm_shared (bytes), and thread_registers (that a thread has at most), all 0 of a
 * processor.  Functions: min(a, ...), max(a, ...), ceil(a, b): a / b rounded up, and
 * needed(parameter, a): the parameter's next smaller value is below a, so that of all values that
 * cover a the least stands for all; occupancy(registers, shared, threads): percent of a
 * multiprocessor's warps that are in flight at most, of so many registers a thread, and bytes and
 * threads a block.  A comparison of what divides by 0 or overflows is false. */
#ifndef HONE_CONSTRAINT_H
#define HONE_CONSTRAINT_H

#include "kernels/gpu_limits.h"
#include "kernels/kernel.h"

enum { HONE_MAX_NODES = 160, HONE_MAX_CLAUSES = 24 };

struct hone_node {
    int op, a, b;               /* a, b: operands, other nodes */
    int64_t value;              /* of a constant; a parameter's index */
};

/* A text whose sizes and limits are constants now: clauses that must all hold. */
struct hone_constraint {
    const struct hone_kernel *kernel;
    struct hone_gpu_limits gpu;             /* read where the text names any of them */
    int n, nclauses;
    int clause[HONE_MAX_CLAUSES];           /* nodes */
    unsigned params[HONE_MAX_CLAUSES];      /* bit i: the clause depends on parameter i */
    struct hone_node node[HONE_MAX_NODES];
};

/* HONE_EPARSE, saying what is wrong and where.  A kernel without a text has no clauses. */
int hone_constraint_parse(struct hone_constraint *t, const struct hone_kernel *k,
                          const struct hone_problem *p, const struct hone_device *d);

int hone_constraint_holds(const struct hone_constraint *t, const struct hone_config *c);

/* What clause i is where only the parameters in `known` have their values: HONE_HOLDS and
 * HONE_FAILS whatever the others are, else HONE_OPEN, with all that the known ones have to say to
 * the rest added to key[*n], of which there is room for max (*n = max + 1: there was not). */
enum hone_truth { HONE_FAILS, HONE_HOLDS, HONE_OPEN };
enum hone_truth hone_constraint_rest(const struct hone_constraint *t, int i,
                                     const struct hone_config *c, unsigned known, int64_t *key,
                                     int *n, int max);

#endif
