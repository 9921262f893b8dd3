/* How commands end: with a message, or with output that was really written. */
#include "profiler/command.h"

#include <errno.h>
#include <string.h>

int hone_command_fail(const char *command, const char *option, int err)
{
    fprintf(stderr, "%s: %s%s%s\n", command, option ? option : "", option ? ": " : "",
            hone_errmsg());
    return err == HONE_EPARSE || err == HONE_EINVAL ? HONE_USAGE : HONE_BAD;
}

int hone_command_end(const char *command, json_t *root, int code)
{
    int bad = 0;
    if (root) {
        bad = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) ||
              putchar('\n') == EOF;
        json_decref(root);
    }
    if (fflush(stdout) || ferror(stdout) || bad) {
        fprintf(stderr, "%s: cannot write the output: %s\n", command, strerror(errno));
        return HONE_BAD;
    }
    return code;
}

const char *hone_bytes_text(int64_t bytes, char text[32])
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)bytes;
    int u = 0;
    for (; v >= 1024 && u < 4; u++) v /= 1024;
    if (!bytes)
        snprintf(text, 32, "-");
    else
        snprintf(text, 32, u && v < 100 && v != (int)v ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return text;
}
