/* NVIDIA GPUs through the driver, opened at run time: is one here, and if not, why.  No kernel is
 * written for it yet, so a GPU that is here is named and then refused. */
#include "kernels/kernel.h"

#include <dlfcn.h>
#include <stdio.h>

extern const struct hone_backend hone_backend_cuda;

static const char *absent(void)
{
    static char why[256];
    if (why[0]) return why;
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(why, sizeof why, "no NVIDIA driver: libcuda.so.1 not found");
        return why;
    }
    int (*init)(unsigned) = NULL, (*get_count)(int *) = NULL;
    *(void **)&init = dlsym(lib, "cuInit");
    *(void **)&get_count = dlsym(lib, "cuDeviceGetCount");
    int code = init ? init(0) : -1, n = 0;
    if (code)
        snprintf(why, sizeof why, "NVIDIA driver is here, but cuInit failed with code %d", code);
    else if (!get_count || get_count(&n) || !n)
        snprintf(why, sizeof why, "NVIDIA driver is here, but it has no device");
    else
        snprintf(why, sizeof why,
                 "%d NVIDIA GPU(s) here, but this version of Hone has no CUDA kernels", n);
    dlclose(lib);
    return why;
}

static int count(void) { return 0; }

/* Never reached while absent() always gives a reason. */
static int open_none(struct hone_device *d, int index)
{
    (void)d;
    return hone_fail(HONE_EDEVICE, "GPU %d: %s", index, absent());
}

const struct hone_backend hone_backend_cuda = {
    .name = "cuda", .absent = absent, .count = count, .open = open_none,
};
