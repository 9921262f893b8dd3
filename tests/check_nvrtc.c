/* Every .cu compiles by NVRTC, where it is installed, for old and new GPUs; and an error in one is
 * told with its line.  Compiling needs no GPU. */
#include "kernels/backend/cuda.h"
#include "kernels/jit.h"
#include "tests/tap.h"

#include <stdlib.h>

int main(void)
{
    static const int archs[][2] = { { 7, 5 }, { 9, 0 } };
    const char *why = hone_nvrtc_absent();
    char *image = NULL;
    size_t size = 0;
    for (int i = 0; hone_cuda_sources[i].kernel; i++) {
        const char *path = hone_cuda_sources[i].path;
        char *text = hone_jit_joined(path);
        if (!ok(text != NULL, "the program holds the text of %s", path)) continue;
        for (size_t a = 0; a < sizeof archs / sizeof *archs; a++) {
            const int major = archs[a][0], minor = archs[a][1];
            if (why) { skip(why, "%s for sm_%d%d", path, major, minor); continue; }
            int err = hone_nvrtc_compile(text, path, major, minor, &image, &size);
            if (!ok(!err && size > 500, "%s for sm_%d%d", path, major, minor))
                printf("# %s\n", hone_errmsg());
            free(image);
            image = NULL;
        }
        free(text);
    }
    if (why) {
        skip(why, "an error is told with its line");
    } else {
        int err = hone_nvrtc_compile("\n\nint f() { return nothing; }\n", "a.cu", 9, 0, &image, &size);
        ok(err && strstr(hone_errmsg(), "a.cu(3)"), "an error is told with its line: %s",
           hone_errmsg());
    }
    return tap_end();
}
