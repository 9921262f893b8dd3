/* How much memory this process holds, and the most it has held. */
#include "profiler/profiler.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

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

int hone_memory_peak_reset(void)
{
    /* Linux 4.0: "5" sets the high-water mark to what is resident. */
    int f = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    int done = f >= 0 && write(f, "5", 1) == 1;
    if (f >= 0) close(f);
    return done;
}
