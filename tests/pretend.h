/* tests/pretend.h -- a library of NVIDIA's that pretends: a test compiles it, and starts itself again
 * where the loader finds it, in a mode that both are told. */
#ifndef HONE_PRETEND_H
#define HONE_PRETEND_H

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char pretend_dir[] = P_tmpdir "/hone-pretend-XXXXXX";

/* Makes a folder; its name is pretend_dir. */
static int pretend_begin(void) { return mkdtemp(pretend_dir) ? 0 : -1; }

/* Compiles text as a library of that name. */
static int pretend(const char *file, const char *text)
{
    char path[128], command[512];
    const char *cc = getenv("CC");
    snprintf(path, sizeof path, "%s/pretend.c", pretend_dir);
    FILE *f = fopen(path, "w");
    if (!f) return -1;
    int bad = fputs(text, f) < 0;
    bad |= fclose(f) != 0;
    snprintf(command, sizeof command, "%s -w -shared -fPIC -o %s/%s %s", cc ? cc : HONE_CONFIGURED_CC,
             pretend_dir, file, path);
    return bad || system(command);
}

/* Runs this program in a mode, as its argument and as $PRETEND, and shows what it said; 0: good. */
static int pretend_again(const char *self, const char *mode)
{
    char command[512];
    snprintf(command, sizeof command, "LD_LIBRARY_PATH=%s PRETEND=%s %s %s >%s/out", pretend_dir, mode,
             self, mode, pretend_dir);
    int code = system(command);
    snprintf(command, sizeof command, "sed 's/^/# /' %s/out", pretend_dir);
    fflush(stdout);
    return system(command) || code;
}

static int pretend_end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", pretend_dir);
    return system(command);
}

#endif
