/* kernels/jit.h -- the parts of the JIT: the text to compile (jit_unit.c), the compiler
 * (jit_compile.c), the cache of what it made (jit_cache.c), and the kernels over them (jit.c).
 * What others use stands in kernel.h. */
#ifndef HONE_JIT_H
#define HONE_JIT_H

#include "kernels/kernel.h"

/* ---- generated from Makefile.am's lists ---- */

/* Kernels and the headers they include, by the path from the top; a NULL path ends. */
struct hone_jit_text {
    const char *path, *text;
};
extern const struct hone_jit_text hone_jit_texts[];

/* Twin i in hone_jit_kernels[] is made of kernel i here; a NULL kernel ends. */
struct hone_jit_source {
    const struct hone_kernel *aot;
    const char *path;
    int real;                        /* HONE_REAL: bits of the number type; 0: not for the CPU */
};
extern const struct hone_jit_source hone_jit_sources[];
extern struct hone_kernel hone_jit_kernels[];
extern const char *const hone_jit_flags[];     /* of the compiler, by enum hone_isa */

/* Fills hone_jit_kernels[]: a constant cannot be made of another one in C, so the registry calls
 * this before main() begins. */
void hone_jit_twins(void);

/* ---- text ---- */

/* One file without includes of ours, in which problem and config are constants and
 * `hone_jit_module` points to the kernel.  The caller frees it; NULL: hone_errmsg() says why. */
char *hone_jit_unit(const struct hone_jit_source *s, const struct hone_problem *p,
                    const struct hone_config *c);

/* A text with those that it includes in their places.  The caller frees it. */
char *hone_jit_joined(const char *path);

/* ---- compiler ---- */

/* Compiles the text into the shared object `path`, which must not be there yet; `log` is a path
 * for what the compiler says, removed afterwards.  A compiler that takes longer than
 * $HONE_JIT_SECONDS (60) is stopped. */
int hone_jit_compile(const char *text, const char *flags, const char *path, const char *log);

/* ---- cache ---- */

/* Room for a path in the cache. */
enum { HONE_JIT_PATH = 512 };

struct hone_jit_entry {
    uint64_t key[2];
    double compile_ms;
    int64_t code_bytes;
    char path[HONE_JIT_PATH];        /* of the shared object */
};

/* Adds n bytes to a hash; start from { 0, 0 }. */
void hone_jit_hash(uint64_t h[2], const void *data, size_t n);

/* Finds e->key: 1: e is filled in; 0: a miss, e->path is where it would be; negative: there can be
 * no cache.  An entry of another user or key, or a damaged one, is a miss. */
int hone_jit_find(struct hone_jit_entry *e);

/* The bytes of a found entry, its trailer behind them.  The caller frees them; NULL: it is gone. */
char *hone_jit_read(const struct hone_jit_entry *e, size_t *size);

/* Makes the fresh shared object `path` the entry of e->key, with its e->compile_ms. */
int hone_jit_keep(struct hone_jit_entry *e, const char *path);

#endif
