/* The processor as a device: its instruction sets, cores, caches and name. */
#include "config.h"

#include "kernels/backend/cpu.h"

#include <ctype.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HAVE_HWLOC
#include <hwloc.h>
#endif

static const char *absent(void) { return NULL; }
static int count(void) { return 1; }

#ifdef __x86_64__
/* Does it convert f16?  Clang 14's __builtin_cpu_supports() does not know. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

#ifdef __x86_64__
/* AVX512_BF16, and AMX's tiles of bf16, which Linux gives to a process that asks: the state of a
 * thread is 8 KiB larger with them (Documentation/arch/x86/xstate.rst). */
static enum hone_isa isa_of_bf16(void)
{
    enum { REQUEST = 0x1023, TILE_DATA = 18 };   /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    unsigned a, b, c, d, most;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5)) return HONE_ISA_avx512;
    if (!__get_cpuid_count(7, 0, &most, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24))
        return HONE_ISA_avx512dot;   /* no AMX_BF16 or no AMX_TILE */
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) ? HONE_ISA_avx512dot : HONE_ISA_amx;
}
#endif

static enum hone_isa best_isa(void)
{
#if defined __x86_64__
    __builtin_cpu_init();
    /* What GCC's x86-64-v4 and -v3 levels need of vectors. */
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return isa_of_bf16();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        return HONE_ISA_avx2;
#endif
    return HONE_ISA_plain;
}

static int ncores(void)
{
#ifndef _OPENMP
    return 1;   /* this build has no threads */
#endif
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* "Intel(R) Xeon(R) Processor @ 2.50GHz" -> "Intel Xeon Processor @ 2.50GHz" */
static void model_name(char *out, size_t size)
{
    char line[256];
    snprintf(out, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        char *s = strchr(line, ':');
        if (!s || (strncmp(line, "model name", 10) && strncmp(line, "CPU part", 8))) continue;
        size_t n = 0;
        for (s++; *s && *s != '\n' && n + 1 < size; s++) {
            if (!strncmp(s, "(R)", 3) || !strncmp(s, "(r)", 3)) { s += 2; continue; }
            if (!strncmp(s, "(TM)", 4)) { s += 3; continue; }
            if (isspace((unsigned char)*s) && (!n || out[n - 1] == ' ')) continue;
            out[n++] = *s;
        }
        while (n && out[n - 1] == ' ') n--;
        out[n] = 0;
        break;
    }
    fclose(f);
}

/* Family, model and stepping where the kernel tells: two processors of one marketing name differ
 * there. */
static void cpu_signature(char *out, size_t size)
{
    char line[256];
    size_t n = 0;
    out[0] = 0;
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    while (fgets(line, sizeof line, f) && line[0] != '\n') {
        static const char *const keys[] = { "cpu family",      "model\t",     "stepping",
                                            "CPU implementer", "CPU variant", "CPU revision" };
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            char *s = strchr(line, ':');
            if (!s || strncmp(line, keys[i], strlen(keys[i]))) continue;
            s[strcspn(s, "\n")] = 0;
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "." : "", s + 2);
            if (n >= size) n = size - 1;
        }
    }
    fclose(f);
}

static void caches(struct hone_device *d)
{
#ifdef HAVE_HWLOC
    hwloc_topology_t t;
    /* Where a container has no /sys, hwloc would say so on stderr; what it does not find is asked
     * of the C library below. */
    setenv("HWLOC_HIDE_ERRORS", "2", 0);
    if (!hwloc_topology_init(&t)) {
        if (!hwloc_topology_load(t)) {
            static const hwloc_obj_type_t type[] = { HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE,
                                                     HWLOC_OBJ_L3CACHE };
            int64_t *to[] = { &d->l1_bytes, &d->l2_bytes, &d->l3_bytes };
            for (int i = 0; i < 3; i++)
                if (hwloc_get_nbobjs_by_type(t, type[i]) > 0)
                    *to[i] = (int64_t)hwloc_get_obj_by_type(t, type[i], 0)->attr->cache.size;
        }
        hwloc_topology_destroy(t);
    }
#endif
#ifdef _SC_LEVEL1_DCACHE_SIZE
    if (d->l1_bytes <= 0) d->l1_bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (d->l2_bytes <= 0) d->l2_bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (d->l3_bytes <= 0) d->l3_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    if (d->l1_bytes <= 0)
        d->l1_bytes = 32 << 10; /* the smallest in use: a tile that fits there fits anywhere */
    if (d->l2_bytes <= 0) d->l2_bytes = 256 << 10;
    if (d->l3_bytes < 0) d->l3_bytes = 0;
}

#if defined __x86_64__
enum { FLUSH = 1 << 15 | 1 << 6 };   /* MXCSR: flush to zero, denormals are zeros */
#elif defined __aarch64__
enum { FLUSH = 1 << 24 };            /* FPCR: FZ */

static uint64_t fpcr(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}
#endif

void hone_flush_subnormal(void)
{
#if defined __x86_64__
    _mm_setcsr(_mm_getcsr() | FLUSH);
#elif defined __aarch64__
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr() | FLUSH));
#endif
}

int hone_flushes_subnormal(void)
{
#if defined __x86_64__
    return (_mm_getcsr() & FLUSH) == FLUSH;
#elif defined __aarch64__
    return (fpcr() & FLUSH) == FLUSH;
#else
    return 0;
#endif
}

static int cpu_open(struct hone_device *d, int index)
{
    char signature[64];
    *d = (struct hone_device){
        .backend = &hone_backend_cpu, .index = index, .isa = best_isa(), .ncores = ncores()
    };
    d->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    caches(d);
    model_name(d->text, sizeof d->text);
    cpu_signature(signature, sizeof signature);
    snprintf(d->id, sizeof d->id, "cpu:%.80s:%.40s:%s:%dcores:l2=%lldk:l3=%lldk", d->text,
             signature, hone_isa_name(d->isa), d->ncores, (long long)d->l2_bytes >> 10,
             (long long)d->l3_bytes >> 10);
    return HONE_OK;
}

static void cpu_close(struct hone_device *d) { (void)d; }

/* Large pieces have huge pages where there are any: rows of a matrix are often a page apart, and the
 * processor would look up a translation for each. */
static int cpu_alloc(struct hone_device *d, size_t bytes, void **mem)
{
    const size_t huge = (size_t)2 << 20;
    (void)d;
    if (posix_memalign(mem, bytes < 2 * huge ? HONE_ALIGN : huge, bytes ? bytes : 1))
        return hone_fail(HONE_ENOMEM, "cannot allocate %zu bytes", bytes);
#ifdef MADV_HUGEPAGE
    /* Not the last, which is a part of one: its rest would be memory for nothing. */
    if (bytes >= 2 * huge) madvise(*mem, bytes / huge * huge, MADV_HUGEPAGE);
#endif
    return HONE_OK;
}

static void cpu_free(struct hone_device *d, void *mem) { (void)d; free(mem); }

static int cpu_put(struct hone_device *d, void *dst, const void *host, size_t bytes)
{
    (void)d;
    memcpy(dst, host, bytes);
    return HONE_OK;
}

static int cpu_get(struct hone_device *d, void *host, const void *src, size_t bytes)
{
    (void)d;
    memcpy(host, src, bytes);
    return HONE_OK;
}

static int cpu_sync(struct hone_device *d) { (void)d; return HONE_OK; }

static const char *cpu_refuse(const struct hone_kernel *k, const struct hone_device *d)
{
    (void)d;
    return k->build == HONE_JIT ? hone_jit_absent() : NULL;
}

const struct hone_backend hone_backend_cpu = {
    .name = "cpu", .absent = absent, .count = count, .open = cpu_open, .close = cpu_close,
    .alloc = cpu_alloc, .free = cpu_free, .put = cpu_put, .get = cpu_get, .sync = cpu_sync,
    .refuse = cpu_refuse, .jit_compiler = hone_jit_compiler,
};
