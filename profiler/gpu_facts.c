/* What explains a GPU's time, as a text that goes into records: "sm_clock=1980 power=512". */
#include "profiler/nvml.h"
#include "profiler/profiler.h"

#include <stdlib.h>
#include <string.h>

static const char thrown[] = "throttle";

/* " name=value" behind what stands there, or nothing where it would be cut. */
static void add(char *text, size_t size, const char *name, const char *value)
{
    const size_t at = strlen(text);
    const int n = snprintf(text + at, size - at, "%s%s=%s", at ? " " : "", name, value);
    if (n >= (int)(size - at)) text[at] = 0;
}

static void add_number(char *text, size_t size, const char *name, double v)
{
    char value[32];
    snprintf(value, sizeof value, "%.4g", v);
    if (v >= 0) add(text, size, name, value);
}

/* Words are joined by signs that records do not part facts by. */
static void add_throttle(char *text, size_t size, uint64_t bits)
{
    char value[160];
    hone_throttle_text(bits, value);
    for (char *s = value; *s; s++)
        if (*s == ' ') *s = s > value && s[-1] == ',' ? '+' : '_';
    for (char *s; (s = strchr(value, ','));) memmove(s, s + 1, strlen(s));
    add(text, size, thrown, value);
}

void hone_gpu_now(const struct hone_device *d, char *text, size_t size)
{
    struct hone_gpu_state s;
    text[0] = 0;
    if (strcmp(d->backend->name, "cuda") || hone_nvml_absent()) return;
    if (hone_gpu_state_of(d, &s)) return;
    add_number(text, size, "sm_clock", s.sm_mhz);
    add_number(text, size, "memory_clock", s.memory_mhz);
    add_number(text, size, "power", s.watts);
    add_number(text, size, "temperature", s.celsius);
    if (s.throttle_known) add_throttle(text, size, s.throttle);
}

void hone_gpu_facts(const struct hone_plan *plan, struct hone_case *c, char *text, size_t size)
{
    static const char list[] = "nvml:energy,gpu-dram,cupti:occupancy,gpu-tensor,cupti:l2_hits";
    struct hone_counter counter[HONE_MAX_COUNTERS];
    int n = 0;
    hone_gpu_now(plan->device, text, size);
    if (strcmp(plan->device->backend->name, "cuda")) return;
    if (hone_count(plan, c, list, counter, &n)) return;
    for (int i = 0; i < n; i++) {
        const char *colon = strchr(counter[i].name, ':');
        if (counter[i].ok)
            add_number(text, size, colon ? colon + 1 : counter[i].name, counter[i].value);
    }
}

int hone_gpu_throttled(const char *facts, char why[160])
{
    /* Idle, or clocks that were set, hold nothing back. */
    static const char *const harmless[] = { "idle", "set_clocks", "none", "display" };
    const char *s = strstr(facts, thrown);
    size_t len = 0;
    why[0] = 0;
    if (!s || s[sizeof thrown - 1] != '=') return 0;
    s += sizeof thrown;
    while (*s && *s != ' ') {
        const size_t n = strcspn(s, "+ ");
        int bad = n > 0;
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            bad &= strlen(harmless[i]) != n || memcmp(harmless[i], s, n) != 0;
        if (bad && len < 160)
            len += (size_t)snprintf(why + len, 160 - len, "%s%.*s", len ? ", " : "", (int)n, s);
        s += n + (s[n] == '+');
    }
    for (char *u = why; *u; u++)
        if (*u == '_') *u = ' ';
    return why[0] != 0;
}
