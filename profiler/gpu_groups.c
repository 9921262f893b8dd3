/* Groups of a GPU's counters.  The same thing has other names on other chips: tests/check_cupti
 * asks CUPTI about every chip that it knows.
 *
 * Counters of instructions (sass) are not in the hardware: CUPTI patches the kernel's code and
 * counts threads, so that they add a pass and much time, but are exact. */
#include "profiler/cupti.h"

#include <stdlib.h>
#include <string.h>

#define SASS(op) "sm__sass_thread_inst_executed_op_" op "_pred_on.sum"
#define TENSOR(path) "sm__ops_path_tensor_" path ".sum"
#define BUSY ".avg.pct_of_peak_sustained_elapsed"
#define STALL(why) "smsp__average_warps_issue_stalled_" why "_per_issue_active.ratio"

#define NO_DRAM "its memory is the system's, whose traffic the GPU does not count"
#define NO_TENSOR "its tensor cores do not compute this type, or count it together with another"

const struct hone_gpu_group hone_gpu_groups[] = {
    { "gpu-time",
      "how long a kernel takes while it is counted, and how much of the GPU works",
      { { "gpu_ns", "time on the GPU", "nanosecond", { "gpu__time_duration.sum" }, NULL },
        { "sm_busy", "busiest part of the multiprocessors", "percent",
          { "sm__throughput" BUSY }, NULL },
        { "sm_active", "multiprocessors that have work", "percent",
          { "sm__cycles_active" BUSY }, NULL } } },
    { "gpu-dram",
      "traffic with the GPU's memory",
      { { "dram_read", "bytes read", "byte",
          { "dram__bytes_read.sum", "dram__bytes_op_read.sum" }, NO_DRAM },
        { "dram_write", "bytes written", "byte",
          { "dram__bytes_write.sum", "dram__bytes_op_write.sum" }, NO_DRAM },
        { "dram_busy", "of the memory's peak", "percent",
          { "dram__throughput" BUSY }, NO_DRAM } } },
    { "gpu-l2",
      "traffic with the second-level cache, and its hits",
      { { "l2_bytes", "bytes asked of it", "byte", { "lts__t_bytes.sum" }, NULL },
        { "l2_hits", "sectors that were in it", "percent", { "lts__t_sector_hit_rate.pct" }, NULL },
        { "l2_busy", "of its peak", "percent", { "lts__throughput" BUSY }, NULL } } },
    { "gpu-l1",
      "traffic with the first-level cache, and its hits",
      { { "l1_bytes", "bytes asked of it", "byte", { "l1tex__t_bytes.sum" }, NULL },
        { "l1_hits", "sectors that were in it", "percent", { "l1tex__t_sector_hit_rate.pct" },
          NULL },
        { "l1_conflicts", "conflicts of shared memory's banks",
          "l1data_bank_conflict", { "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum" },
          NULL } } },
    { "gpu-occupancy",
      "warps in flight and what they issue",
      { { "occupancy", "warps in flight, of as many as fit", "percent",
          { "sm__warps_active.avg.pct_of_peak_sustained_active" }, NULL },
        { "ipc", "instructions a cycle in a multiprocessor that has work", "instruction/gpc_cycle",
          { "sm__inst_executed.avg.per_cycle_active" }, NULL } } },
    { "gpu-tensor",
      "use of the tensor cores",
      { { "tensor_busy", "cycles in which they work", "percent",
          { "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active" }, NULL } } },
    { "gpu-flops",
      "floating-point operations outside of tensor cores, by type",
      { { "flops_f32", "of floats", "flop",
          { "2*" SASS("ffma") " + " SASS("fadd") " + " SASS("fmul")
            " + ?4*" SASS("ffma2") " + ?2*" SASS("fadd2") " + ?2*" SASS("fmul2") },
          NULL },
        { "flops_f64", "of doubles", "flop",
          { "2*" SASS("dfma") " + " SASS("dadd") " + " SASS("dmul") }, NULL },
        { "flops_f16", "of halves", "flop",
          { "2*" SASS("hfma") " + " SASS("hadd") " + " SASS("hmul") }, NULL } } },
    { "gpu-tensor-flops",
      "floating-point operations of tensor cores, by type",
      { { "tensor_bf16", "of bf16", "flop", { TENSOR("src_bf16_dst_fp32") }, NO_TENSOR },
        { "tensor_f16", "of halves", "flop",
          { TENSOR("src_fp16"), TENSOR("src_fp16_dst_fp16") " + " TENSOR("src_fp16_dst_fp32"),
            TENSOR("src_fp16_dst_fp16") " + " TENSOR("src_fp16_bf16_tf32_dst_fp32") },
          NO_TENSOR },
        { "tensor_tf32", "of floats rounded to tf32", "flop", { TENSOR("src_tf32_dst_fp32") },
          NO_TENSOR },
        { "tensor_f64", "of doubles", "flop", { TENSOR("src_fp64") }, NO_TENSOR } } },
    { "gpu-stalls",
      "warps that wait, for each instruction issued, by what they wait for",
      { { "stall_memory", "for global or local memory", "instruction",
          { STALL("long_scoreboard") }, NULL },
        { "stall_shared", "for shared memory", "instruction", { STALL("short_scoreboard") }, NULL },
        { "stall_barrier", "for other threads of the block", "instruction",
          { STALL("barrier") }, NULL },
        { "stall_math", "for an arithmetic unit", "instruction",
          { STALL("math_pipe_throttle") }, NULL },
        { "stall_code", "for the next instruction", "instruction",
          { STALL("no_instruction") }, NULL } } },
    { NULL, NULL, { { NULL, NULL, NULL, { NULL }, NULL } } },
};

const struct hone_gpu_metric *hone_gpu_metric_find(const char *name)
{
    for (const struct hone_gpu_group *g = hone_gpu_groups; g->name; g++)
        for (const struct hone_gpu_metric *m = g->metric; m->name; m++)
            if (!strcmp(m->name, name)) return m;
    return NULL;
}

/* "?4*NAME" */
static int parse_term(const char *text, size_t len, struct hone_gpu_term *t)
{
    const char *star = memchr(text, '*', len);
    t->may_lack = *text == '?';
    t->weight = star ? atof(text + t->may_lack) : 1;
    const char *name = star ? star + 1 : text + t->may_lack;
    len -= (size_t)(name - text);
    if (!len || len >= HONE_GPU_NAME || !(t->weight > 0))
        return hone_fail(HONE_EPARSE, "'%.40s': expected [?][WEIGHT*]NAME", text);
    memcpy(t->name, name, len);
    t->name[len] = 0;
    return HONE_OK;
}

int hone_gpu_sum_parse(const char *text, struct hone_gpu_sum *s)
{
    s->n = 0;
    for (;;) {
        const char *end = strstr(text, " + ");
        if (s->n == HONE_GPU_TERMS)
            return hone_fail(HONE_EPARSE, "more than %d terms", HONE_GPU_TERMS);
        int err = parse_term(text, end ? (size_t)(end - text) : strlen(text), &s->term[s->n++]);
        if (err || !end) return err;
        text = end + 3;
    }
}
