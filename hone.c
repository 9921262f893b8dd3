/* hone COMMAND ...: finds the command and hands over.  Called by the name of a command (autotune),
 * it is that command. */
#include "config.h"

#include "results/results.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is of nets comes from a folder to the right of the tuner's. */
static int autotune(int argc, char **argv)
{
    return hone_cmd_autotune(argc, argv, hone_net_problems_of, hone_net_race);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    { "devices", hone_cmd_devices, "what is here: devices, measured peaks, libraries, meters" },
    { "kernels", hone_cmd_kernels, "all ops and kernels; for a problem, who accepts and who refuses" },
    { "counters", hone_cmd_counters, "what can be counted while kernels run, and why the rest cannot" },
    { "bench", hone_cmd_bench, "prove, time and count one problem" },
    { "autotune", autotune, "find the fastest kernels for a net or for problems" },
    { "train", hone_cmd_train, "train a net; a line for every epoch" },
    { "evaluate", hone_cmd_evaluate, "a trained net on test rows: loss, metrics, time of inference" },
    { "predict", hone_cmd_predict, "what a trained net makes of rows, images, CSV files" },
    { "profile", hone_cmd_profile, "where a training step's time and memory go, layer by layer" },
    { "report", hone_cmd_report, "what was measured before: a profile's layers, a run's epochs" },
    { "compare", hone_cmd_compare, "the same training in PyTorch, TensorFlow, JAX, side by side" },
    { "sweep", hone_cmd_sweep, "train with lists of options, or search among them; tables and plots" },
    { "net", hone_cmd_net, "the layers of a net: shapes, parameters, multiply-accumulates" },
    { "import", hone_cmd_import, "an ONNX model as a net with its weights" },
    { "data", hone_cmd_data, "what data sets are here; check and sum up one" },
    { "db", hone_cmd_db, "what was measured: list, explain, export, import, audit" },
    { NULL, NULL, NULL },
};

static void usage(FILE *f)
{
    fputs("Usage: hone COMMAND [OPTION...]\n"
          "Finds the fastest kernels for a device, proves them, and trains nets with them.\n\n", f);
    for (int i = 0; commands[i].name; i++)
        fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].about);
    fputs("\n`hone COMMAND --help` shows a command's options, with examples.\n", f);
}

/* One turn of GCC's OpenMP's waiting loop. */
static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Of so many microseconds; a pause is 12 ns on one processor and 56 on another. */
static long turns(double us)
{
    enum { TURNS = 256, TRIES = 4 };
    double least = 1;
    for (int i = 0; i < TRIES; i++) {
        const double start = hone_now();
        for (int k = 0; k < TURNS; k++) relax();
        const double took = hone_now() - start;
        if (took > 0 && took < least) least = took;
    }
    const double n = 1e-6 * us * TURNS / least;
    return n < 100 ? 100 : n > 1e6 ? 1000000 : (long)n;
}

/* GCC's OpenMP lets a thread that waits spin for milliseconds (17 ms on a 2.5 GHz Skylake), and on
 * a busy machine it spins on the very core that the thread it waits for needs: steps of 2 ms then
 * take 400.  But who sleeps is woken 40 us late, for whom the other has waited so long, and sleeps
 * in turn: with spins shorter than that, steps of 2 ms may take 6 from then on, with nobody else at
 * work.  OpenBLAS's own threads spin for 107 ms beside whatever kernel comes next.  Both read how
 * long before main() begins, so the program starts itself again with 100 us and less than 1 ms.
 * What the user has set stays; HONE_SPINCOUNT says that it was not the user. */
static void spin_briefly(char **argv)
{
    char count[32];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    snprintf(count, sizeof count, "%ld", turns(100));
    if (setenv("OPENBLAS_THREAD_TIMEOUT", "20", 0) || setenv("HONE_SPINCOUNT", count, 1) ||
        setenv("GOMP_SPINCOUNT", count, 1))
        return;
    execv("/proc/self/exe", argv);   /* where that fails, the old way is good enough */
}

/* A command's results count only once they are written. */
static int run(int i, int argc, char **argv)
{
    int code = commands[i].run(argc, argv);
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout)) return code;
    fprintf(stderr, "%s: cannot write to standard output%s%s\n", argv[0], errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code ? code : 1;
}

int main(int argc, char **argv)
{
    spin_briefly(argv);
    hone_flush_subnormal();
    hone_worker_main(argc, argv);
    argp_err_exit_status = 2;   /* a wrong option, as everywhere in GNU */
    const char *self = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    for (int i = 0; commands[i].name; i++)
        if (!strcmp(self, commands[i].name)) return run(i, argc, argv);
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts(PACKAGE_STRING);
        return 0;
    }
    for (int i = 0; commands[i].name; i++) {
        if (strcmp(argv[1], commands[i].name)) continue;
        char name[64];
        snprintf(name, sizeof name, "hone %s", commands[i].name);
        argv[1] = name;
        return run(i, argc - 1, argv + 1);
    }
    fprintf(stderr, "hone: '%s' is no command; `hone --help` lists them\n", argv[1]);
    return 2;
}
