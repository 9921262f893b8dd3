/* Every .cu compiles by NVRTC, where it is installed, for old and new GPUs, as a plan has it
 * compiled: with one line of its configurations; and an error in one is told with its line.  Each
 * is compiled for an old, a plain and the newest that it has code of its own for, and, but for the
 * convolutions, which take long, by turns for one of the others.
 * Compiling needs no GPU. */
#include "config.h"   /* _GNU_SOURCE */

#include "kernels/backend/cuda.h"
#include "kernels/jit.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* text behind a definition of CONFIGS(X) as the first line of the list that it names. */
static char *with_one_config(const char *text)
{
    char name[64], *list = NULL, *out = NULL;
    const char *configs = strstr(text, "#define CONFIGS(X) ");
    int n = 0;
    if (!configs || sscanf(configs, "#define CONFIGS(X) %63[A-Z_]", name) != 1) return strdup(text);
    if (asprintf(&list, "#define %s(X)", name) < 0) return NULL;
    const char *row = strstr(text, list);
    free(list);
    if (row) row = strstr(row, "X(");
    if (row) n = (int)strcspn(row, ")") + 1;
    return row && asprintf(&out, "#define CONFIGS(X) %.*s\n%s", n, row, text) >= 0 ? out : NULL;
}

int main(void)
{
    enum { ALWAYS = 3 };
    static const int archs[][2] = { { 7, 5 }, { 8, 0 }, { 9, 0 }, { 8, 6 }, { 8, 7 }, { 8, 8 },
                                    { 8, 9 }, { 10, 0 }, { 10, 3 }, { 11, 0 }, { 12, 0 }, { 12, 1 } };
    const int narchs = sizeof archs / sizeof *archs;
    const char *why = hone_nvrtc_absent();
    char *image = NULL;
    size_t size = 0;
    int others = 0;
    for (int i = 0; hone_cuda_sources[i].kernel; i++) {
        const char *path = hone_cuda_sources[i].path;
        char *joined = hone_jit_joined(path), *text = joined ? with_one_config(joined) : NULL;
        free(joined);
        if (!ok(text != NULL, "the program holds the text of %s", path)) continue;
        const int n = ALWAYS + !strstr(path, "conv2d");
        for (int a = 0; a < n; a++) {
            const int *arch = archs[a < ALWAYS ? a : ALWAYS + others++ % (narchs - ALWAYS)];
            const int major = arch[0], minor = arch[1];
            if (why) { skip(why, "%s for sm_%d%d", path, major, minor); continue; }
            int err = hone_nvrtc_compile(text, path, major, minor, &image, &size);
            if (!ok(!err && size > 500, "%s for sm_%d%d", path, major, minor))
                printf("# %s\n", hone_errmsg());
            free(image);
            image = NULL;
        }
        free(text);
    }
    ok(others >= narchs - ALWAYS, "each architecture has its turn");
    if (why) {
        skip(why, "an error is told with its line");
    } else {
        int err = hone_nvrtc_compile("\n\nint f() { return nothing; }\n", "a.cu", 9, 0, &image, &size);
        ok(err && strstr(hone_errmsg(), "a.cu(3)"), "an error is told with its line: %s",
           hone_errmsg());
    }
    return tap_end();
}
