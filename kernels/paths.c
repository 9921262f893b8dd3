/* Where a user's files lie: the XDG base directories. */
#include "kernels/kernel.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *home(void)
{
    const char *h = getenv("HOME");
    if (h && h[0] == '/') return h;
    const struct passwd *pw = getpwuid(getuid());
    return pw ? pw->pw_dir : NULL;
}

/* Makes the directories that lead to the file path. */
static int make_parents(char *path)
{
    for (char *s = path + 1; (s = strchr(s, '/')); s++) {
        struct stat st;
        *s = 0;
        int why = mkdir(path, 0700) ? errno : 0;
        if (why == EEXIST) why = stat(path, &st) ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
        if (why) return hone_fail(HONE_EIO, "cannot make directory %s: %s", path, strerror(why));
        *s = '/';
    }
    return HONE_OK;
}

int hone_user_path(const char *kind, const char *name, char *path, size_t size)
{
    static const struct {
        const char *kind, *variable, *under_home;
    } kinds[] = {
        { "cache", "XDG_CACHE_HOME", ".cache" },
        { "data", "XDG_DATA_HOME", ".local/share" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kind, kinds[i].kind)) continue;
        /* The standard has relative paths ignored. */
        const char *base = getenv(kinds[i].variable), *h = home();
        int n;
        if (base && base[0] == '/')
            n = snprintf(path, size, "%s/hone/%s", base, name);
        else if (h)
            n = snprintf(path, size, "%s/%s/hone/%s", h, kinds[i].under_home, name);
        else
            return hone_fail(HONE_EIO, "no home directory: set HOME or %s", kinds[i].variable);
        if (n < 0 || (size_t)n >= size)
            return hone_fail(HONE_EINVAL, "the path of %s file %s is too long", kind, name);
        return make_parents(path);
    }
    return hone_fail(HONE_EINVAL, "'%s' is no kind of user file", kind);
}
