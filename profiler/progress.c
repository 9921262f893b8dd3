/* The watch that long commands keep: a line with the time left, and the wish to stop. */
#include "profiler/profiler.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- progress ---- */

static int width; /* of the line that stands on the terminal; 0: none */
static double last_shown;

/* "12 s", "3:07 min", "2:05 h" */
static void print_left(double seconds, char *text, size_t size)
{
    long s = seconds < 1e7 ? (long)(seconds + 0.5) : 9999999;
    if (s < 100)
        snprintf(text, size, "%ld s", s);
    else if (s < 6000)
        snprintf(text, size, "%ld:%02ld min", s / 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld h", s / 3600, s / 60 % 60);
}

void hone_progress(const char *what, double done, double total, double started)
{
    char line[128], left[32] = "?";
    double now = hone_now(), share = total > 0 ? done / total : 0;
    /* Ten a second are as many as anyone reads. */
    if (!isatty(STDERR_FILENO) || (width && now - last_shown < 0.1)) return;
    last_shown = now;
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    if (share > 0) print_left((now - started) * (1 - share) / share, left, sizeof left);
    int n = snprintf(line, sizeof line, "%-40.48s %3.0f %%  %s left", what, 100 * share, left);
    fprintf(stderr, "\r%s%*s", line, width > n ? width - n : 0, "");
    fflush(stderr);
    width = n;
}

void hone_progress_end(void)
{
    if (width) fprintf(stderr, "\r%*s\r", width, "");
    width = 0;
}

/* ---- interruption ---- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    if (interrupted) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    interrupted = 1;
}

void hone_catch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int hone_interrupted(void) { return interrupted; }
