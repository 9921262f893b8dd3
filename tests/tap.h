/* tests/tap.h -- the Test Anything Protocol: one line a check, a plan at the end, and an exit code
 * that depends on the checks. */
#ifndef HONE_TAP_H
#define HONE_TAP_H

#include <stdarg.h>
#include <stdio.h>

static int tap_n, tap_bad;

/* One check; the name is printf-style. */
__attribute__((format(printf, 2, 3), unused)) static int ok(int good, const char *name, ...)
{
    va_list ap;
    printf("%s %d - ", good ? "ok" : "not ok", ++tap_n);
    va_start(ap, name);
    vprintf(name, ap);
    va_end(ap);
    printf("\n");
    tap_bad += !good;
    return good;
}

__attribute__((format(printf, 2, 3), unused)) static void skip(const char *why, const char *name, ...)
{
    va_list ap;
    printf("ok %d - ", ++tap_n);
    va_start(ap, name);
    vprintf(name, ap);
    va_end(ap);
    printf(" # SKIP %s\n", why);
}

/* The program's exit code. */
__attribute__((unused)) static int tap_end(void)
{
    printf("1..%d\n", tap_n);
    return tap_bad != 0;
}

#endif
