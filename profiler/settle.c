/* Quiet before a window: threads of this process that still wait in a loop for their next work hold
 * the cores that another library's threads want.  libgomp's do so for 1.5 ms after a region, and
 * OpenBLAS's for 2^28 ticks, 107 ms at 2.5 GHz: all that time a kernel of two OpenMP threads on two
 * cores took twice as long, and a race chose by who had run before whom.
 *
 * And a core for each: a thread that is new, or was woken, may lie on the core of the one that waits
 * for it.  The scheduler moves it when one of its ticks meets both running; where they wait for each
 * other within microseconds that can take a second.  A training step of 0.015 ms on two threads took
 * 0.26 in some of the processes that tried it, and was dropped. */
#define _GNU_SOURCE   /* sched_setaffinity() */
#include "profiler/profiler.h"

#include "kernels/backend/cpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>

/* OpenBLAS ends its threads with it before a fork; the next call that wants them starts new ones.
 * Weak: another BLAS may be linked. */
extern int blas_thread_shutdown_(void) __attribute__((weak));
extern int openblas_get_parallel(void) __attribute__((weak));

static void end_openblas(void)
{
    enum { PTHREADS = 1 };
    if (blas_thread_shutdown_ && openblas_get_parallel && openblas_get_parallel() == PTHREADS)
        blas_thread_shutdown_();
}

/* The letter behind the name in parentheses: R is running, or ready to. */
static int runs(const char *tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", tid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name = strrchr(text, ')');
    return name && !strncmp(name, ") R", 3);
}

static int others_run(void)
{
    const long self = syscall(SYS_gettid);
    int any = 0;
    DIR *dir = opendir("/proc/self/task");
    for (const struct dirent *e; dir && !any && (e = readdir(dir));)
        any = e->d_name[0] != '.' && atol(e->d_name) != self && runs(e->d_name);
    if (dir) closedir(dir);
    return any;
}

/* The caller stays where it is, the others take the cores behind; afterwards all are free to go. */
static void spread(int threads)
{
    cpu_set_t all;
    const int here = sched_getcpu();
    if (threads < 2 || here < 0 || sched_getaffinity(0, sizeof all, &all) ||
        CPU_COUNT(&all) < threads)
        return;
#pragma omp parallel num_threads(threads)
    {
        cpu_set_t one;
        int core = here;
        for (int t = hone_thread(); t > 0; t--)
            do core = (core + 1) % CPU_SETSIZE;
            while (!CPU_ISSET(core, &all));
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        if (!sched_setaffinity(0, sizeof one, &one)) sched_setaffinity(0, sizeof all, &all);
    }
}

void hone_settle(int threads)
{
    const double patience = 0.15;
    end_openblas();
    const double started = hone_now();
    while (others_run() && hone_now() - started < patience) {}
    spread(threads);
}
#else
void hone_settle(int threads) { (void)threads; }
#endif
