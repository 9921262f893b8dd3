/* The most memory this process has held. */
#include "profiler/profiler.h"

#include <stdio.h>
#include <sys/resource.h>

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
