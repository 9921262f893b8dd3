/* How commands end: with a message, or with JSON. */
#include "profiler/command.h"


int hone_command_fail(const char *command, const char *option, int err)
{
    fprintf(stderr, "%s: %s%s%s\n", command, option ? option : "", option ? ": " : "",
            hone_errmsg());
    return err == HONE_EPARSE || err == HONE_EINVAL ? HONE_USAGE : HONE_BAD;
}

int hone_command_end(const char *command, json_t *root, int code)
{
    if (!root) return code;
    int bad = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    putchar('\n');
    if (!bad) return code;
    fprintf(stderr, "%s: cannot write JSON\n", command);
    return HONE_BAD;
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
