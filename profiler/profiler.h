/* profiler/profiler.h -- what running a plan cost: time, counters, memory; what the device could
 * do at best (peaks, roof); and the watch that long commands keep (progress, Ctrl-C). */
#ifndef HONE_PROFILER_H
#define HONE_PROFILER_H

#include "kernels/gpu_limits.h"
#include "kernels/kernel.h"

#include <stdio.h>

/* ---- time ---- */

/* Seconds on a monotonic clock. */
double hone_now(void);

/* A counter that runs evenly and costs a few ns to read, where the processor has one; its unit is
 * its own. */
uint64_t hone_ticks(void);

/* Median with a rank-based (distribution-free) interval of about 95 %: the order statistics
 * around the middle that a binomial(n, 1/2) leaves out with at most 2.5 % on either side; for
 * n < 6 the interval is [min, max]. */
struct hone_stats {
    int n;
    double median, lo, hi, min;
};

/* Sorts t[0..n). */
struct hone_stats hone_stats_of(double *t, int n);

/* Cache state before each timed run (a named mode on the command line: warm, weights, cold). */
enum hone_cache {
    HONE_CACHE_WEIGHTS, /* the default: parameters come from memory unless they fit half of L1 (the
                           update has just written those), small data that several threads
                           share come from the cache of the core that calls, all else is as the
                           last run left it */
    HONE_CACHE_WARM,    /* as the last run left it */
    HONE_CACHE_COLD     /* every argument comes from memory */
};
int hone_cache_parse(const char *text, enum hone_cache *cache);
const char *hone_cache_name(enum hone_cache cache);

/* Times one window: `runs` runs of the plan on the case's buffers; *seconds is the time of one
 * run.  In a cache mode that moves data, each run is timed by itself and the moving is not
 * counted.  A run that nobody times goes before where the window before was another plan's, or
 * where there are several. */
int hone_time_window(const struct hone_plan *plan, struct hone_case *c, enum hone_cache cache,
                     int runs, double *seconds);

/* Waits until the process's other threads sleep, and puts so many that share the caller's work on a
 * core each; hone_time_window() does so where the window before was another kernel's. */
void hone_settle(int threads);

/* Runs per window such that a window lasts at least `window` seconds, found by doubling; the
 * first runs (page faults, frequency, caches) are dropped.  *estimate: seconds of one run. */
int hone_time_calibrate(const struct hone_plan *plan, struct hone_case *c, enum hone_cache cache,
                        double window, int *runs, double *estimate);

struct hone_sample {
    int nruns;            /* runs per window */
    struct hone_stats ms; /* milliseconds of one run, over windows */
};

struct hone_timing {
    enum hone_cache cache;
    int windows;   /* 0: 15 */
    double window; /* seconds; 0: 0.002 */
    double limit;  /* seconds in all after which sampling stops with what it has; 0: none */
};

int hone_measure(const struct hone_plan *plan, struct hone_case *c, const struct hone_timing *t,
                 struct hone_sample *s);

/* ---- counters ---- */

enum { HONE_MAX_COUNTERS = 48 };

struct hone_counter {
    char name[64];
    int ok;        /* 1: value is per run; 0: `why` says why it could not be read */
    int is_metric; /* 1: not counted, but made of those that were */
    double value;
    char why[128];
};

/* A source of counters.  Time never goes through a meter: counting disturbs time. */
struct hone_meter {
    const char *name;
    const char *(*absent)(void); /* why it is unusable here, or NULL */
    /* Is there an event of that name, countable here or not? */
    int (*knows)(const char *event);
    /* Calls f(ctx, event, description, why) for every event it knows; why NULL: countable here. */
    void (*list)(void (*f)(void *ctx, const char *event, const char *about, const char *why),
                 void *ctx);
    /* Counts each event in passes over `runs` runs of the plan; fills counter[i] for event i. */
    int (*count)(const struct hone_plan *plan, struct hone_case *c, int runs, int n,
                 const char *const event[], struct hone_counter counter[]);
};

extern const struct hone_meter
    *const hone_meters[]; /* NULL-terminated; generated from Makefile.am's METERS */

/* A metric is scale * (sum of top) / (sum of bottom); a term is an event of the group, or "seconds"
 * of a run that was not counted.  No bottom: 1. */
enum { HONE_GROUP_EVENTS = 8, HONE_GROUP_METRICS = 4, HONE_METRIC_TERMS = 3 };

struct hone_metric {
    const char *name;
    double scale;
    const char *top[HONE_METRIC_TERMS], *bottom[HONE_METRIC_TERMS];
};

struct hone_counter_group {
    const char *name, *about;
    const char *event[HONE_GROUP_EVENTS];
    struct hone_metric metric[HONE_GROUP_METRICS];
};

extern const struct hone_counter_group hone_counter_groups[]; /* ended by one without a name */

const struct hone_counter_group *hone_counter_group_find(const char *name, size_t len);

/* Counts "papi:PAPI_TOT_INS,rusage:minflt" or, without a meter's name, by the first meter that
 * knows the event; a group's name stands for its events, and its metrics come last.  Each event of
 * the hardware has a pass of its own.  Events that cannot be counted here, and metrics that need
 * them, come back with ok = 0 and a reason; a text that is no list of known names is an error. */
int hone_count(const struct hone_plan *plan, struct hone_case *c, const char *list,
               struct hone_counter counter[], int *ncounters);

/* Likewise with runs for about so many seconds: hone_count() takes 0.01. */
int hone_count_for(const struct hone_plan *plan, struct hone_case *c, const char *list, double seconds,
                   struct hone_counter counter[], int *ncounters);

/* Is the text such a list? */
int hone_counters_check(const char *list);

/* Facts that explain a GPU's time, for records: "sm_clock=1980 memory_clock=3201 power=512
 * temperature=61 throttle=power_cap+heat", what it tells now; and, with runs of the plan, what of
 * joules, traffic and use of its parts can be counted, too.  "": it tells nothing, or is no GPU. */
void hone_gpu_now(const struct hone_device *d, char *text, size_t size);
void hone_gpu_facts(const struct hone_plan *plan, struct hone_case *c, char *text, size_t size);

/* Do these facts say that something kept the clocks down?  why: "power cap, heat". */
int hone_gpu_throttled(const char *facts, char why[160]);

/* ---- activity: what ran on a GPU when; needs no rights, but a GPU ---- */

struct json_t; /* jansson's */

enum hone_activity_kind { HONE_RAN_KERNEL, HONE_RAN_COPY, HONE_RAN_SET, HONE_RAN_CALL };

struct hone_ran {
    enum hone_activity_kind kind;
    char name[128];                        /* of a kernel, in C++ as the linker knows it */
    uint64_t start, end;                   /* ns on the GPU's clock as CUPTI aligns it with ours */
    uint64_t step;                         /* as given to hone_activity_step(); 0: none */
    uint32_t correlation;                  /* equal for a call and what it launched */
    uint32_t lane;                         /* stream, or of a call the thread */
    int registers, shared_bytes, local_bytes;   /* of a kernel, a thread's or a block's */
    int grid[3], block[3];
    uint64_t bytes;                        /* of a copy or setting */
};

struct hone_activity {
    int n, room, failed;
    int64_t ndropped;
    struct hone_ran *ran;                  /* by start */
    struct hone_gpu_limits limits;         /* for the trace to tell occupancy; zeroed: not known */
};

/* Why nothing can be recorded here, or NULL. */
const char *hone_activity_absent(void);

/* Begins recording; all that this thread launches belongs to the step that was named last. */
int  hone_activity_begin(void);
void hone_activity_step(uint64_t step);

/* Ends it, after the device was waited for.  The caller closes a. */
int  hone_activity_end(struct hone_activity *a);
void hone_activity_close(struct hone_activity *a);

/* Events of Chrome's trace format, appended to an array: calls on the CPU as process cpu, streams as
 * process cpu + 1, and an arrow from each call to what it launched.  name(ctx, step) may give NULL. */
void hone_activity_trace(const struct hone_activity *a, int cpu,
                         const char *(*name)(void *ctx, uint64_t step), void *ctx,
                         struct json_t *events);

/* ---- peaks and roof ---- */

struct hone_peaks {
    int nthreads;                   /* that `all` was measured with */
    double flops_one[HONE_NDTYPES]; /* per second, one thread; 0: not measured */
    double flops_all[HONE_NDTYPES];
    /* Bytes per second read from each level, one thread and all; 0: no such level. */
    double l1_one, l2_one, l3_one, memory_one;
    double l1_all, l2_all, l3_all, memory_all;
    double triad_all;   /* bytes per second of a[i] = b[i] + s c[i] out of cache */
    char when[32];      /* ISO 8601, UTC */
    /* The best of so many measurements, and the largest share of the processors that the threads
     * had while measuring: of a busy machine's peaks, which are measured again next time. */
    int times;
    double share;
    int cached;         /* 1: read back, not measured now */
    char not_kept[160]; /* why they could not be put into the cache; empty: they were */
};

/* Measures the device's peaks, or reads them from the user's cache directory, keyed by device id;
 * `again` measures in any case, and a GPU's are measured only so.  Takes about two seconds.  Peaks
 * of a busy machine are provisional: the next calls measure again and keep the best, until the
 * machine was quiet or it was done five times. */
int hone_peaks(struct hone_device *d, int again, struct hone_peaks *peaks);

/* Those of a GPU, computed from its clocks and units.  HONE_EDEVICE: it does not tell. */
int hone_gpu_peaks(const struct hone_device *d, struct hone_peaks *peaks);

/* Least seconds for a problem on `threads` threads under the roofs, and what binds it: "compute",
 * "L1", "L2", "L3" or "memory" (by the level that holds its bytes). */
double hone_roof(const struct hone_problem *p, const struct hone_device *d,
                 const struct hone_peaks *peaks, int threads, const char **bound);

/* Resident bytes of this process: at most so far, or since the last reset; now; and of these the
 * pages of files, which are programs and libraries as far as they were used. */
int64_t hone_memory_peak(void);
int64_t hone_memory_now(void);
int64_t hone_memory_files(void);

/* Of the pages that hold these bytes, those that are resident. */
int64_t hone_memory_of(const void *mem, size_t bytes);

/* Gives what was freed back to the system, where the C library can: it keeps as much as the largest
 * buffers that came and went, such as those of files. */
void hone_memory_trim(void);

/* Lets the peak begin anew at what is held now; 0: this system does not allow it. */
int hone_memory_peak_reset(void);

/* ---- threads ---- */

enum { HONE_MAX_THREADS = 256 };

/* The threads of this process, as they were at open(), by their clocks of processor time. */
struct hone_threads {
    int n, tid[HONE_MAX_THREADS]; /* the thread that began the process first */
};
int hone_threads_open(struct hone_threads *t);

/* Seconds that each has run so far; one that has ended has run 0. */
void hone_threads_read(const struct hone_threads *t, double seconds[]);

/* ---- progress and interruption ---- */

/* A line on stderr with share done and time left, rewritten in place; silent where stderr is no
 * terminal.  done and total are in any unit. */
void hone_progress(const char *what, double done, double total, double started);
void hone_progress_end(void);

/* After hone_catch_interrupt(), SIGINT and SIGTERM set a flag that hone_interrupted() shows; a
 * second one ends the program. */
void hone_catch_interrupt(void);
int hone_interrupted(void);

/* ---- commands ---- */

int hone_cmd_devices(int argc, char **argv);
int hone_cmd_counters(int argc, char **argv);
int hone_cmd_kernels(int argc, char **argv);
int hone_cmd_bench(int argc, char **argv);

#endif
