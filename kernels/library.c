/* Opening libraries by name while the program runs; see library.h. */
#include "kernels/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 512 };

/* Where it is looked for, in this order; "": where the system looks. */
static const struct {
    int in_home; /* below $CUDA_HOME */
    const char *folder;
} places[] = {
    { 0, "" },
    { 1, "/lib64" },
    { 1, "/extras/CUPTI/lib64" },
    { 0, "/usr/local/cuda/lib64" },
    { 0, "/usr/local/cuda/extras/CUPTI/lib64" },
    { 0, "/opt/cuda/lib64" },
    { 0, "/opt/cuda/extras/CUPTI/lib64" },
};
enum { NPLACES = sizeof places / sizeof *places };

static void *open_at(int place, const char *file)
{
    char path[PATH];
    const char *home = places[place].in_home ? getenv("CUDA_HOME") : "";
    if (!home) return NULL;
    int len =
        snprintf(path, sizeof path, "%s%s%s%s", home, places[place].folder, place ? "/" : "", file);
    return len < PATH ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

/* ---- a copy that was cut short: opening it would end the program with SIGBUS ---- */

static int is_cut(const char *path)
{
    ElfW(Ehdr) head;
    ElfW(Phdr) part;
    int cut = 0;
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    if (fread(&head, sizeof head, 1, f) == 1 && !memcmp(head.e_ident, ELFMAG, SELFMAG) &&
        head.e_phentsize == sizeof part) {
        fseek(f, 0, SEEK_END);
        const long size = ftell(f);
        for (int i = 0; i < head.e_phnum && !cut; i++)
            cut = fseek(f, (long)head.e_phoff + i * (long)sizeof part, SEEK_SET) ||
                  fread(&part, sizeof part, 1, f) != 1 ||
                  (part.p_type == PT_LOAD && (long)(part.p_offset + part.p_filesz) > size);
    }
    fclose(f);
    return cut;
}

static int find_cut(const char *folder, int len, const char *file, char path[PATH])
{
    return len && snprintf(path, PATH, "%.*s/%s", len, folder, file) < PATH && is_cut(path);
}

/* Looks in $LD_LIBRARY_PATH and all places; the system's own list of libraries is its own. */
static int is_damaged(const char *file, char path[PATH])
{
    char folder[PATH];
    for (const char *s = getenv("LD_LIBRARY_PATH"); s && *s; s += *s == ':') {
        const int len = (int)strcspn(s, ":");
        if (find_cut(s, len, file, path)) return 1;
        s += len;
    }
    for (int i = 1; i < NPLACES; i++) {
        const char *home = places[i].in_home ? getenv("CUDA_HOME") : "";
        const int len = home ? snprintf(folder, PATH, "%s%s", home, places[i].folder) : 0;
        if (len < PATH && find_cut(folder, len, file, path)) return 1;
    }
    return 0;
}

/* ---- opening ---- */

/* dlerror() says so of a file that is not there; what else it says is of one that is there and
 * does not open, and another one should not take its place in silence. */
static int is_missing(const char *said, const char *file)
{
    return !said || (strstr(said, file) && strstr(said, "No such file or directory"));
}

/* Tries a name everywhere.  NULL: not found, or `why` says what is wrong with it. */
static void *open_file(const struct hone_library *l, const char *file, char why[HONE_LIBRARY_WHY])
{
    char path[PATH];
    if (is_damaged(file, path)) {
        snprintf(why, HONE_LIBRARY_WHY, "%s cannot be opened: %.150s is cut short", l->name, path);
        return NULL;
    }
    for (int i = 0; i < NPLACES; i++) {
        for (int n = 0; i && l->needs[n]; n++) open_at(i, l->needs[n]);
        dlerror();
        void *lib = open_at(i, file);
        if (lib) return lib;
        const char *said = dlerror();
        if (is_missing(said, file)) continue;
        snprintf(why, HONE_LIBRARY_WHY, "%s cannot be opened: %.200s", l->name, said);
        return NULL;
    }
    return NULL;
}

const char *hone_library_open(const struct hone_library *l, char why[HONE_LIBRARY_WHY])
{
    void *lib = NULL;
    const char *file = NULL;
    why[0] = 0;
    for (int i = 0; !lib && !why[0] && l->file[i]; i++) lib = open_file(l, file = l->file[i], why);
    if (!lib && !why[0])
        snprintf(why, HONE_LIBRARY_WHY, "no %s: %s not found", l->name, l->file[0]);
    if (!lib) return why;
    for (const struct hone_symbol *s = l->symbol; s->name; s++) {
        void *f = dlsym(lib, s->name);
        if (!f) {
            snprintf(why, HONE_LIBRARY_WHY, "%s is too old or of another kind: %s lacks %s",
                     l->name, file, s->name);
            return why;
        }
        memcpy(s->to, &f, sizeof f);
    }
    return NULL;
}
