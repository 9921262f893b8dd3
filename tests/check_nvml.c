/* A GPU's state, from a library that pretends to be NVML. */
#include "profiler/nvml.h"
#include "profiler/profiler.h"
#include "tests/pretend.h"
#include "tests/tap.h"

/* 1410 MHz, 350.5 W, ... of a GPU at one bus id; $PRETEND says what it does otherwise. */
static const char fake[] =
    "#include <stdlib.h>\n"
    "#include <string.h>\n"
    "static int is(const char *s) { const char *e = getenv(\"PRETEND\"); return e && !strcmp(e, s); }\n"
    "int nvmlInit_v2(void) { return is(\"noinit\") ? 9 : 0; }\n"
    "const char *nvmlErrorString(int c) { return c == 9 ? \"Driver Not Loaded\" : c == 3 ? \"Not Supported\" : \"Not Found\"; }\n"
    "int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **g) { *g = (void *)1; return i ? 6 : 0; }\n"
    "int nvmlDeviceGetHandleByPciBusId_v2(const char *s, void **g) { *g = (void *)1; return strcmp(s, \"0000:1B:00.0\") ? 6 : 0; }\n"
    "int nvmlDeviceGetClockInfo(void *g, int t, unsigned *v) { *v = t == 1 ? 1410 : t == 2 ? 3201 : 7; return 0; }\n"
    "int nvmlDeviceGetPowerUsage(void *g, unsigned *v) { *v = 350500; return is(\"mute\") ? 3 : 0; }\n"
    "int nvmlDeviceGetTotalEnergyConsumption(void *g, unsigned long long *v) { static unsigned long long e; *v = 5000000000ull + e++; return 0; }\n"
    "int nvmlDeviceGetTemperature(void *g, int s, unsigned *v) { *v = 61; return s; }\n"
    "int nvmlDeviceGetCurrentClocksThrottleReasons(void *g, unsigned long long *v) { *v = 0x24; return is(\"mute\") ? 3 : 0; }\n";

static void check_state(void)
{
    struct hone_gpu_state s;
    char text[160];
    ok(!hone_nvml_absent(), "the pretended NVML is opened");
    ok(!hone_gpu_state("0000:1B:00.0", &s) && s.sm_mhz == 1410 && s.memory_mhz == 3201 &&
           s.watts == 350.5 && s.joules == 5e6 && s.celsius == 61 && s.throttle_known &&
           s.throttle == 0x24,
       "clocks, power, energy, temperature and throttling come in our units");
    ok(!hone_gpu_state(NULL, &s) && s.joules == 5e6 + 1e-3, "without a bus id it is the first GPU");
    ok(hone_gpu_state("0000:99:00.0", &s) == HONE_EDEVICE &&
           strstr(hone_errmsg(), "0000:99:00.0: Not Found"),
       "a bus id without a GPU is an error that names both");
    ok(!strcmp(hone_throttle_text(0x24, text), "power cap, heat"), "throttling has words");
    ok(!strcmp(hone_throttle_text(0, text), "none"), "and none is none");
    ok(!strcmp(hone_throttle_text(1ull << 40 | 8, text), "hardware, others"),
       "and bits that come later are others");
    ok(strlen(hone_throttle_text(~0ull, text)) < 159, "and all together fit");
}

static const struct hone_meter *meter(void)
{
    int i = 0;
    while (hone_meters[i] && strcmp(hone_meters[i]->name, "nvml")) i++;
    return hone_meters[i];
}

static int nlisted, nmute;

static void listed(void *ctx, const char *event, const char *about, const char *why)
{
    (void)ctx, (void)about;
    nlisted++;
    nmute += why && !strcmp(why, "this GPU does not tell") &&
             (!strcmp(event, "power") || !strcmp(event, "throttle"));
}

/* On a CPU's plan there is nothing to count. */
static void check_meter(int mute)
{
    struct hone_device d;
    struct hone_problem p;
    struct hone_plan plan;
    struct hone_case c;
    struct hone_counter counter = { .ok = 0 };
    const char *event = "power";
    meter()->list(listed, NULL);
    ok(nlisted == 6 && nmute == (mute ? 2 : 0), "6 events, of which %d are not told", nmute);
    ok(meter()->knows("energy") && !meter()->knows("joy"), "the meter knows its events");
    int err = hone_device_open(&d, "cpu0");
    if (!err) err = hone_problem_parse("relu:f32:any:n64", &p);
    if (!err) err = hone_plan_default(&plan, &p, &d);
    if (!err) err = hone_case_open(&c, &p, &d, HONE_REALS, 1);
    if (!err) err = meter()->count(&plan, &c, 3, 1, &event, &counter);
    ok(!err && !counter.ok && !strcmp(counter.why, "cpu0 is no GPU"),
       "a CPU's plan has no GPU's power");
    hone_case_close(&c);
    hone_plan_close(&plan);
    hone_device_close(&d);
}

/* ---- its modes ---- */

static int refused(const char *what)
{
    const char *why = hone_nvml_absent();
    struct hone_gpu_state s;
    printf("%s\n", why ? why : "no reason");
    return !(why && strstr(why, what) && hone_gpu_state(NULL, &s) == HONE_EDEVICE &&
             strstr(hone_errmsg(), what));
}

int main(int argc, char **argv)
{
    const char *lib = "libnvidia-ml.so.1";
    if (argc == 2 && !strcmp(argv[1], "noinit")) return refused("NVML does not start: Driver Not Loaded");
    if (argc == 2 && !strcmp(argv[1], "old")) return refused("NVML is too old or of another kind: libnvidia-ml.so.1 lacks nvmlErrorString");
    if (argc == 2) {
        if (!strcmp(argv[1], "all")) check_state();
        check_meter(!strcmp(argv[1], "mute"));
        return tap_end();
    }
    if (pretend_begin()) return 1;
    if (pretend(lib, fake)) {
        skip("no compiler here", "the state of a GPU");
        return tap_end();
    }
    ok(!pretend_again(argv[0], "all"), "the state of a GPU is read");
    ok(!pretend_again(argv[0], "mute"), "what a GPU does not tell is left out");
    ok(!pretend_again(argv[0], "noinit"), "an NVML that does not start says why");
    ok(!pretend(lib, "int nvmlInit_v2(void) { return 0; }") && !pretend_again(argv[0], "old"),
       "an old NVML is refused");
    return pretend_end() ? 1 : tap_end();
}
