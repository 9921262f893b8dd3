/* profiler/cupti.h -- a GPU's hardware counters by names of our own, whatever its chip calls them;
 * CUPTI says which it has and in how many passes they are counted.  That part needs CUPTI, but no
 * GPU. */
#ifndef HONE_CUPTI_H
#define HONE_CUPTI_H

#include "profiler/cupti_abi.h"
#include "profiler/profiler.h"

enum { HONE_GPU_NAME = 96, HONE_GPU_TERMS = 8, HONE_GPU_SUMS = 3, HONE_GPU_METRICS = 8 };

/* A metric is a sum of the chip's counters, "2*A.sum + B.sum", by the first of these texts whose
 * counters the chip has.  A term after a question mark is left out where the chip lacks it. */
struct hone_gpu_metric {
    const char *name, *about, *unit;
    const char *sum[HONE_GPU_SUMS + 1];
    const char *lack;                    /* why a chip may have none of them; NULL: all have */
};

struct hone_gpu_group {
    const char *name, *about;
    struct hone_gpu_metric metric[HONE_GPU_METRICS + 1];
};

extern const struct hone_gpu_group hone_gpu_groups[];   /* ended by one without a name */

const struct hone_gpu_metric *hone_gpu_metric_find(const char *name);

/* ---- sums as data ---- */

struct hone_gpu_term {
    double weight;
    int may_lack;
    char name[HONE_GPU_NAME];
};

struct hone_gpu_sum {
    int n;
    struct hone_gpu_term term[HONE_GPU_TERMS];
};

int hone_gpu_sum_parse(const char *text, struct hone_gpu_sum *s);

/* ---- CUPTI's host half ---- */

/* Why there is no CUPTI here, or NULL. */
const char *hone_cupti_absent(void);

/* "CUPTI 13.0"; only where it is there. */
const char *hone_cupti_version(void);

/* The chips that CUPTI knows. */
int hone_cupti_chips(const char *const **name, size_t *n);

/* What CUPTI knows about one chip; available: see struct cupti_host_open. */
struct hone_cupti_chip {
    const char *name;
    const uint8_t *available;
    void *host;
};
int  hone_cupti_open(struct hone_cupti_chip *c, const char *chip, const uint8_t *available);
void hone_cupti_close(struct hone_cupti_chip *c);

/* CUPTI's description and unit of a counter; 0: the chip has none of that name. */
int hone_cupti_has(const struct hone_cupti_chip *c, const char *name, const char **about,
                   const char **unit);

/* The sum that a metric is on this chip; NULL, or why there is none. */
const char *hone_cupti_resolve(const struct hone_cupti_chip *c, const struct hone_gpu_metric *m,
                               struct hone_gpu_sum *s);

/* What CUPTI has to set in the hardware to count these, and in how many runs of a kernel; the
 * caller frees *image. */
int hone_cupti_image(const struct hone_cupti_chip *c, const char *const name[], size_t n,
                     uint8_t **image, size_t *bytes, size_t *passes);

/* The chip of "gpu0", as CUPTI calls it; and of a GPU that is described. */
int hone_gpu_chip(const char *device, char chip[32]);
int hone_gpu_described_chip(const char *device, char chip[32]);

/* "CUPTI: what: 17 CUPTI_ERROR_INVALID_METRIC_NAME" as this thread's message. */
int hone_cupti_fail(int status, const char *what);

#endif
