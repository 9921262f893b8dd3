/* Counter groups: events that are read together, and what they say together.
 *
 * Presets are PAPI's, since their formulas know the processor: PAPI_SP_OPS weighs every vector
 * instruction with its lanes.  A metric is a ratio of sums, and stands or falls with its terms. */
#include "profiler/profiler.h"

#include <string.h>

enum { LINE = 64 }; /* bytes that a miss of the last cache brings */

const struct hone_counter_group hone_counter_groups[] = {
    { "ipc",
      "instructions and cycles",
      { "PAPI_TOT_INS", "PAPI_TOT_CYC" },
      { { "IPC", 1, { "PAPI_TOT_INS" }, { "PAPI_TOT_CYC" } },
        { "Gcycles/s", 1e-9, { "PAPI_TOT_CYC" }, { "seconds" } } } },
    { "flops",
      "floating-point operations that were executed, and the share of them in vectors",
      { "PAPI_SP_OPS", "PAPI_DP_OPS", "PAPI_VEC_SP", "PAPI_VEC_DP", "model:flops" },
      { { "GFLOP/s counted", 1e-9, { "PAPI_SP_OPS", "PAPI_DP_OPS" }, { "seconds" } },
        { "vector share", 1, { "PAPI_VEC_SP", "PAPI_VEC_DP" }, { "PAPI_SP_OPS", "PAPI_DP_OPS" } },
        { "counted/model flops", 1, { "PAPI_SP_OPS", "PAPI_DP_OPS" }, { "model:flops" } } } },
    { "memory",
      "cache lines that came from memory",
      { "PAPI_L3_TCM", "model:bytes" },
      { { "bytes from memory", LINE, { "PAPI_L3_TCM" }, { NULL } },
        { "GB/s from memory", LINE * 1e-9, { "PAPI_L3_TCM" }, { "seconds" } },
        { "memory/model bytes", LINE, { "PAPI_L3_TCM" }, { "model:bytes" } } } },
    { "cache",
      "misses of each level, as shares of what was asked of it",
      { "PAPI_LST_INS", "PAPI_L1_DCM", "PAPI_L2_TCA", "PAPI_L2_TCM", "PAPI_L3_TCA", "PAPI_L3_TCM" },
      { { "L1 miss ratio", 1, { "PAPI_L1_DCM" }, { "PAPI_LST_INS" } },
        { "L2 miss ratio", 1, { "PAPI_L2_TCM" }, { "PAPI_L2_TCA" } },
        { "L3 miss ratio", 1, { "PAPI_L3_TCM" }, { "PAPI_L3_TCA" } } } },
    { "branch",
      "conditional branches that were predicted wrong",
      { "PAPI_BR_CN", "PAPI_BR_MSP" },
      { { "misprediction ratio", 1, { "PAPI_BR_MSP" }, { "PAPI_BR_CN" } } } },
    { "tlb",
      "translations of addresses that were not at hand",
      { "PAPI_TLB_DM", "PAPI_TOT_INS" },
      { { "TLB misses/1000 ins", 1000, { "PAPI_TLB_DM" }, { "PAPI_TOT_INS" } } } },
    { "stalls",
      "cycles in which some resource had run out",
      { "PAPI_RES_STL", "PAPI_TOT_CYC" },
      { { "stalled share", 1, { "PAPI_RES_STL" }, { "PAPI_TOT_CYC" } } } },
    { "system",
      "what the operating system counts, in every machine",
      { "rusage:minflt", "rusage:majflt", "rusage:nvcsw", "rusage:nivcsw", "rusage:utime",
        "rusage:stime" },
      { { "processors busy", 1, { "rusage:utime", "rusage:stime" }, { "seconds" } },
        { "page faults/s", 1, { "rusage:minflt", "rusage:majflt" }, { "seconds" } } } },
    { "model",
      "not counted but computed: the problem's flops and least bytes",
      { "model:flops", "model:bytes" },
      { { "flops/byte", 1, { "model:flops" }, { "model:bytes" } },
        { "GFLOP/s", 1e-9, { "model:flops" }, { "seconds" } },
        { "GB/s", 1e-9, { "model:bytes" }, { "seconds" } } } },
    { NULL, NULL, { NULL }, { { NULL, 0, { NULL }, { NULL } } } },
};

const struct hone_counter_group *hone_counter_group_find(const char *name, size_t len)
{
    for (const struct hone_counter_group *g = hone_counter_groups; g->name; g++)
        if (strlen(g->name) == len && !memcmp(g->name, name, len)) return g;
    return NULL;
}
