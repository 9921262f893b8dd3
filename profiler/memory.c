/* How much memory this process holds, and the most it has held. */
#include "profiler/profiler.h"

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

void hone_memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

int64_t hone_memory_peak(void)
{
    /* getrusage() also counts what the program that became this one by exec had held. */
    char line[256];
    long long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && kib < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld kB", &kib) != 1) kib = -1;
    if (f) fclose(f);
    struct rusage u;
    if (kib < 0) kib = getrusage(RUSAGE_SELF, &u) ? 0 : u.ru_maxrss;
    return kib * 1024;
}

/* Linux's pages: resident, and of these such as stand for files. */
static int read_pages(long long *resident, long long *files)
{
    FILE *f = fopen("/proc/self/statm", "r");
    int good = f && fscanf(f, "%*d %lld %lld", resident, files) == 2;
    if (f) fclose(f);
    return good;
}

int64_t hone_memory_now(void)
{
    long long resident, files;
    return read_pages(&resident, &files) ? resident * sysconf(_SC_PAGESIZE) : hone_memory_peak();
}

int64_t hone_memory_files(void)
{
    long long resident, files;
    return read_pages(&resident, &files) ? files * sysconf(_SC_PAGESIZE) : 0;
}

int64_t hone_memory_of(const void *mem, size_t bytes)
{
    enum { PAGES = 4096 };
    unsigned char in[PAGES];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)mem / page * page, end = (uintptr_t)mem + bytes;
    int64_t n = 0;
    for (; bytes && at < end; at += PAGES * page) {
        size_t pages = (end - at + page - 1) / page;
        if (pages > PAGES) pages = PAGES;
        if (mincore((void *)at, pages * page, in)) return n * (int64_t)page;
        for (size_t i = 0; i < pages; i++) n += in[i] & 1;
    }
    return n * (int64_t)page;
}

int hone_memory_peak_reset(void)
{
    /* Linux 4.0: "5" sets the high-water mark to what is resident. */
    int f = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    int done = f >= 0 && write(f, "5", 1) == 1;
    if (f >= 0) close(f);
    return done;
}
