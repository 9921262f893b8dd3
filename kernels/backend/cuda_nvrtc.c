/* NVRTC, NVIDIA's compiler as a library: text in, code for one architecture out.  It needs neither a
 * GPU nor a driver. */
#include "kernels/backend/cuda.h"
#include "kernels/backend/cuda_driver.h"
#include "kernels/library.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
#define X(name, parameters) int(*name) parameters;
    HONE_NVRTC_CALLS(X)
#undef X
    const char *(*nvrtcGetErrorString)(int code);
    char version[32];
} rtc;

/* Opens it; NULL, or why that cannot be. */
static const char *load(void)
{
    static char why[HONE_LIBRARY_WHY];
    static const struct hone_symbol symbols[] = {
#define X(name, parameters) { #name, &rtc.name },
        HONE_NVRTC_CALLS(X) X(nvrtcGetErrorString, (int code))
#undef X
        { NULL, NULL }
    };
    const char *own = getenv("HONE_LIBNVRTC");
    /* Found by its path, it would not find this part of itself. */
    const struct hone_library library = {
        .name = "NVRTC", .file = { own ? own : "libnvrtc.so.13", own ? NULL : "libnvrtc.so.12" },
        .needs = { "libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.12.9" }, .symbol = symbols
    };
    int major = 0, minor = 0;
    const char *missing = hone_library_open(&library, why);
    if (missing) return missing;
    if (rtc.nvrtcVersion(&major, &minor)) return "the NVRTC here does not work";
    snprintf(rtc.version, sizeof rtc.version, "NVRTC %d.%d", major, minor);
    return NULL;
}

const char *hone_nvrtc_absent(void)
{
    static const char *known;
    static int asked;
    if (!asked) known = load();
    asked = 1;
    return known;
}

const char *hone_nvrtc_version(void) { return hone_nvrtc_absent() ? "no NVRTC" : rtc.version; }

/* "sm_80" where NVRTC knows this GPU, of 9.0 with what no other has, "sm_90a"; else PTX of the
 * newest older one, which its driver compiles. */
static int target(int major, int minor, char text[64], int *is_ptx)
{
    int n = 0, *arch = NULL, best = 0, cc = 10 * major + minor;
    if (!rtc.nvrtcGetNumSupportedArchs(&n) && (arch = calloc((size_t)n + 1, sizeof *arch)) &&
        !rtc.nvrtcGetSupportedArchs(arch))
        for (int i = 0; i < n; i++)
            if (arch[i] <= cc && arch[i] > best) best = arch[i];
    free(arch);
    if (!best)
        return hone_fail(HONE_EREFUSED, "%s compiles nothing for sm_%d", rtc.version, cc);
    *is_ptx = best != cc;
    snprintf(text, 64, "--gpu-architecture=%s_%d%s", *is_ptx ? "compute" : "sm", best,
             best == 90 && !*is_ptx ? "a" : "");
    return HONE_OK;
}

/* The first line of the log that tells of an error. */
static int complain(void *program, int code)
{
    size_t n = 0;
    char *log = NULL, *line = NULL, *end;
    if (!rtc.nvrtcGetProgramLogSize(program, &n) && n > 1 && (log = calloc(n + 1, 1)) &&
        !rtc.nvrtcGetProgramLog(program, log))
        for (line = log; line && *line && (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            if (strstr(line, "error")) break;
        }
    hone_fail(HONE_EIO, "%s: %s: %.200s", rtc.version, rtc.nvrtcGetErrorString(code),
              line && *line ? line : log ? log : "no word");
    free(log);
    return HONE_EIO;
}

static int take(void *program, int is_ptx, char **image, size_t *size)
{
    int code = is_ptx ? rtc.nvrtcGetPTXSize(program, size) : rtc.nvrtcGetCUBINSize(program, size);
    if (code) return hone_fail(HONE_EIO, "%s: %s", rtc.version, rtc.nvrtcGetErrorString(code));
    *image = malloc(*size + 1);
    if (!*image) return hone_fail(HONE_ENOMEM, "%zu bytes of GPU code", *size);
    code = is_ptx ? rtc.nvrtcGetPTX(program, *image) : rtc.nvrtcGetCUBIN(program, *image);
    if (!code) return HONE_OK;
    free(*image);
    *image = NULL;
    return hone_fail(HONE_EIO, "%s: %s", rtc.version, rtc.nvrtcGetErrorString(code));
}

int hone_nvrtc_compile(const char *text, const char *name, int major, int minor, char **image,
                       size_t *size)
{
    char arch[64];
    const char *const options[] = { arch, "--std=c++17", "-lineinfo", "-default-device" };
    void *program = NULL;
    int is_ptx = 0;
    const char *why = hone_nvrtc_absent();
    if (why) return hone_fail(HONE_EREFUSED, "%s", why);
    int err = target(major, minor, arch, &is_ptx);
    if (err) return err;
    int code = rtc.nvrtcCreateProgram(&program, text, name, 0, NULL, NULL);
    if (code) return hone_fail(HONE_EIO, "%s: %s", rtc.version, rtc.nvrtcGetErrorString(code));
    code = rtc.nvrtcCompileProgram(program, 4, options);
    err = code ? complain(program, code) : take(program, is_ptx, image, size);
    rtc.nvrtcDestroyProgram(&program);
    return err;
}
