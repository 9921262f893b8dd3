/* A compiler that pretends to be NVRTC: the system's, which makes a shared object of a .cu for the
 * pretend driver.  $HONE_PRETEND_COMPILER is its command, $HONE_PRETEND_SOURCE where
 * tests/cuda/shim.h is. */
#include "config.h"   /* _GNU_SOURCE */

#include "kernels/backend/cuda_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define X(name, parameters) int name parameters;
HONE_NVRTC_CALLS(X)
#undef X
const char *nvrtcGetErrorString(int code);

enum { GOOD, OUT_OF_MEMORY, COMPILATION = 6 };

struct program { char *text, *image, log[512]; size_t size; };

int nvrtcVersion(int *major, int *minor) { *major = 0; *minor = 1; return GOOD; }
int nvrtcGetNumSupportedArchs(int *n) { *n = 3; return GOOD; }

int nvrtcGetSupportedArchs(int *archs)
{
    archs[0] = 75, archs[1] = 80, archs[2] = 90;
    return GOOD;
}

const char *nvrtcGetErrorString(int code)
{
    return code == COMPILATION ? "NVRTC_ERROR_COMPILATION" : code ? "NVRTC_ERROR" : "NVRTC_SUCCESS";
}

int nvrtcCreateProgram(void **program, const char *text, const char *name, int nheaders,
                       const char *const *headers, const char *const *header_names)
{
    struct program *p = calloc(1, sizeof *p);
    (void)name, (void)nheaders, (void)headers, (void)header_names;
    if (!p || !(p->text = strdup(text))) { free(p); return OUT_OF_MEMORY; }
    *program = p;
    return GOOD;
}

int nvrtcDestroyProgram(void **program)
{
    struct program *p = *program;
    free(p->text);
    free(p->image);
    free(p);
    return GOOD;
}

/* All of a file; NULL: there is none. */
static char *content(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *data = f && !fseek(f, 0, SEEK_END) ? malloc((size_t)ftell(f) + 1) : NULL;
    if (data) {
        *size = (size_t)ftell(f);
        rewind(f);
        if (fread(data, 1, *size, f) != *size) { free(data); data = NULL; }
        else data[*size] = 0;
    }
    if (f) fclose(f);
    return data;
}

int nvrtcCompileProgram(void *program, int noptions, const char *const *options)
{
    struct program *p = program;
    const char *cc = getenv("HONE_PRETEND_COMPILER"), *source = getenv("HONE_PRETEND_SOURCE");
    char dir[] = "/tmp/hone-pretend.XXXXXX", command[2048], path[64];
    size_t size = 0;
    (void)noptions, (void)options;
    if (!mkdtemp(dir)) return OUT_OF_MEMORY;
    snprintf(path, sizeof path, "%s/a.c", dir);
    FILE *f = fopen(path, "w");
    int bad = !f || fputs(p->text, f) < 0;
    if (f) bad |= fclose(f) != 0;
    /* Linked without what -fsanitize=thread links: the pretend driver is in its place. */
    snprintf(command, sizeof command,
             "cd %s && { %s -std=gnu11 -O1 -w -fPIC -fsanitize=thread -fno-strict-aliasing -I%s -c a.c && "
             "%s -shared -o a.so a.o; } >log 2>&1", dir, cc ? cc : "cc", source ? source : ".",
             cc ? cc : "cc");
    bad = bad || system(command);
    snprintf(path, sizeof path, "%s/%s", dir, bad ? "log" : "a.so");
    char *data = content(path, &size);
    if (data && bad) snprintf(p->log, sizeof p->log, "%s", data);
    if (bad) free(data);
    else p->image = data, p->size = size;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    bad |= system(command);
    return bad || !p->image ? COMPILATION : GOOD;
}

int nvrtcGetProgramLogSize(void *program, size_t *size)
{
    *size = strlen(((struct program *)program)->log) + 1;
    return GOOD;
}

int nvrtcGetProgramLog(void *program, char *log)
{
    strcpy(log, ((struct program *)program)->log);
    return GOOD;
}

int nvrtcGetCUBINSize(void *program, size_t *size)
{
    *size = ((struct program *)program)->size;
    return GOOD;
}

int nvrtcGetCUBIN(void *program, char *image)
{
    struct program *p = program;
    memcpy(image, p->image, p->size);
    return GOOD;
}

int nvrtcGetPTXSize(void *program, size_t *size) { return nvrtcGetCUBINSize(program, size); }
int nvrtcGetPTX(void *program, char *image) { return nvrtcGetCUBIN(program, image); }
