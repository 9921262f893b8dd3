/* profiler/cupti_abi.h -- as much of CUPTI's interface (12.6 and later) as is used here, declared
 * anew, so that a program built without NVIDIA's headers still uses a CUPTI that it finds at run
 * time.  tests/check_abi.sh holds every size, place and number against the headers where they are.
 *
 * Every call takes one struct that begins with its own size up to its last field. */
#ifndef HONE_CUPTI_ABI_H
#define HONE_CUPTI_ABI_H

#include <stddef.h>
#include <stdint.h>

enum { CUPTI_RANGE_PROFILER = 0 };               /* CUpti_ProfilerType */
enum { CUPTI_RANGE_PROFILING = 0 };              /* CUpti_Profiler_API */
enum { CUPTI_SUPPORTED = 3 };                    /* CUpti_Profiler_Support_Level */
enum { CUPTI_RANGE_AUTO = 1, CUPTI_REPLAY_KERNEL = 2 };
enum { CUPTI_DENIED = 35 };                      /* CUPTI_ERROR_INSUFFICIENT_PRIVILEGES */

#define CUPTI_HEAD size_t size; void *priv       /* priv: NULL */

/* Sets *p to zeros and its size; `last` is the struct's last field. */
#define CUPTI_INIT(p, last)                                                                        \
    ((p) = (__typeof__(p)){ .size = offsetof(__typeof__(p), last) + sizeof (p).last })

/* ---- the host half: names, passes, values; needs no GPU ---- */

struct cupti_chips { CUPTI_HEAD; size_t n; const char *const *name; };
struct cupti_host_open {
    CUPTI_HEAD;
    int type;
    const char *chip;
    const uint8_t *available;                    /* counters of this very device; NULL: all */
    void *host;
};
struct cupti_host { CUPTI_HEAD; void *host; };   /* to close it */
struct cupti_metric {
    CUPTI_HEAD;
    void *host;
    const char *name, *about, *unit_of_chip, *unit;
    int type;
};
struct cupti_add { CUPTI_HEAD; void *host; const char *const *name; size_t n; };
struct cupti_image_size { CUPTI_HEAD; void *host; size_t bytes; };
struct cupti_image { CUPTI_HEAD; void *host; size_t bytes; uint8_t *image; };
struct cupti_passes { CUPTI_HEAD; size_t bytes; uint8_t *image; size_t n; };
struct cupti_values {
    CUPTI_HEAD;
    void *host;
    const uint8_t *data;
    size_t bytes, range;
    const char *const *name;
    size_t n;
    double *value;
};

/* ---- the device half: counting ---- */

struct cupti_begin { CUPTI_HEAD; };
struct cupti_supported {
    CUPTI_HEAD;
    int device;
    int all, architecture, sli, vgpu, confidential, cmp, wsl;
    int api;
};
struct cupti_chip_name { CUPTI_HEAD; size_t device; const char *name; };
struct cupti_available { CUPTI_HEAD; void *context; size_t bytes; uint8_t *image; };
struct cupti_enable { CUPTI_HEAD; void *context; void *profiler; };
struct cupti_profiler { CUPTI_HEAD; void *profiler; };   /* to disable and to start it */
struct cupti_stop { CUPTI_HEAD; void *profiler; size_t pass, level; uint8_t complete; };
struct cupti_decode { CUPTI_HEAD; void *profiler; size_t ndropped; };
struct cupti_data_size {
    CUPTI_HEAD;
    void *profiler;
    const char *const *name;
    size_t n, nranges;
    uint32_t nnodes;
    size_t bytes;
};
struct cupti_data_init { CUPTI_HEAD; void *profiler; size_t bytes; uint8_t *data; };
struct cupti_config {
    CUPTI_HEAD;
    void *profiler;
    size_t image_bytes;
    const uint8_t *image;
    size_t data_bytes;
    uint8_t *data;
    int range, replay;
    size_t nranges;
    uint16_t levels, least_level;
    size_t pass;
    uint16_t level;
};
struct cupti_ranges { CUPTI_HEAD; const uint8_t *data; size_t bytes; size_t n; };

/* ---- activity: what ran when ---- */

enum {
    CUPTI_ACTIVITY_MEMCPY_KIND = 1, CUPTI_ACTIVITY_MEMSET_KIND = 2, CUPTI_ACTIVITY_DRIVER_KIND = 4,
    CUPTI_ACTIVITY_KERNEL_KIND = 10, CUPTI_ACTIVITY_EXTERNAL_KIND = 39
};

/* The beginning of CUpti_ActivityKernel4 to 10: what has the same place in all of them. */
struct cupti_kernel {
    int kind;
    uint8_t cache[2];
    uint16_t registers;
    uint8_t unused[8];
    uint64_t start, end;                         /* ns */
    uint64_t completed;
    uint32_t device, context, stream;
    int32_t grid[3], block[3];
    int32_t static_shared, dynamic_shared;       /* bytes */
    uint32_t local_per_thread, local_total;
    uint32_t correlation;
    int64_t grid_id;
    const char *name;
} __attribute__((packed));

/* The beginning of those of copies and of memory that is set. */
struct cupti_move {
    int kind;
    uint8_t more[4];                             /* of a copy: its kind, from, to, flags */
    uint64_t bytes, start, end;
    uint32_t device, context, stream, correlation;
};

/* A call of the driver. */
struct cupti_call {
    int kind;
    uint32_t function;
    uint64_t start, end;
    uint32_t process, thread, correlation, returned;
};

/* What the program said that it does: our number of a step. */
struct cupti_external {
    int kind, external_kind;
    uint64_t id;
    uint32_t correlation, unused;
};
enum { CUPTI_EXTERNAL_OURS = 3 };                /* CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0 */

#endif
