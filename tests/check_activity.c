/* What ran on a GPU, from a library that pretends to be CUPTI: records come back in buffers, out of
 * order, and find their steps and their launches. */
#include "profiler/profiler.h"
#include "tests/pretend.h"
#include "tests/tap.h"

#include <jansson.h>

/* Two steps: a copy and a kernel, then a kernel that no step names; in one buffer, and an unknown
 * kind of record among them.  $PRETEND says what fails. */
static const char fake[] =
    "#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n"
    "typedef void W(uint8_t **, size_t *, size_t *); typedef void H(void *, uint32_t, uint8_t *, size_t, size_t);\n"
    "static W *want; static H *have; static uint64_t pushed[9]; static int n, depth;\n"
    "static int is(const char *s) { const char *e = getenv(\"PRETEND\"); return e && !strcmp(e, s); }\n"
    "struct kernel { int kind; uint8_t c[2]; uint16_t regs; uint8_t u[8]; uint64_t start, end, done; uint32_t dev, ctx, stream; int32_t g[3], b[3], ss, ds; uint32_t l, lt, corr; int64_t gid; const char *name; } __attribute__((packed));\n"
    "struct move { int kind; uint8_t k[4]; uint64_t bytes, start, end; uint32_t dev, ctx, stream, corr; };\n"
    "struct call { int kind; uint32_t f; uint64_t start, end; uint32_t p, t, corr, ret; };\n"
    "struct ext { int kind, ek; uint64_t id; uint32_t corr, u; };\n"
    "int cuptiGetResultString(int s, const char **t) { *t = \"CUPTI_ERROR_UNKNOWN\"; return 0; }\n"
    "int cuptiActivityRegisterCallbacks(W *w, H *h) { want = w; have = h; return 0; }\n"
    "int cuptiActivityEnable(int k) { return is(\"fail\") && k == 4 ? 999 : 0; }\n"
    "int cuptiActivityDisable(int k) { return 0; }\n"
    "int cuptiActivityPushExternalCorrelationId(int k, uint64_t id) { pushed[n++] = id; depth++; return k != 3; }\n"
    "int cuptiActivityPopExternalCorrelationId(int k, uint64_t *id) { depth--; return k != 3 || depth < 0; }\n"
    "int cuptiActivityGetNumDroppedRecords(void *c, uint32_t s, size_t *d) { *d = 2; return 0; }\n"
    "static uint64_t at[16]; static int nrec, next;\n"
    "static uint8_t *put(uint8_t *p, const void *r, size_t s) { at[nrec++] = (uint64_t)p; memcpy(p, r, s); return p + (s + 7) / 8 * 8; }\n"
    "int cuptiActivityGetNextRecord(uint8_t *b, size_t v, void **r) { if (next == nrec) return 12; *r = (void *)at[next++]; return 0; }\n"
    "int cuptiActivityFlushAll(uint32_t f) {\n"
    "  uint8_t *b, *p; size_t size, max; want(&b, &size, &max); p = b; int other[4] = { 77 };\n"
    "  struct kernel k1 = { 10, {0}, 32, {0}, 5000, 9000, 9000, 0, 1, 7, {4, 2, 1}, {256, 1, 1}, 1024, 512, 16, 0, 102, 1, \"k_gemm\" }, k2 = k1;\n"
    "  k2.start = 9500; k2.end = 9600; k2.corr = 103; k2.name = 0;\n"
    "  struct move m = { 1, {1, 2, 3, 0}, 4096, 2000, 3000, 0, 1, 7, 101 };\n"
    "  struct call c1 = { 4, 307, 1000, 1500, 1, 55, 101, 0 }, c2 = { 4, 308, 4000, 4200, 1, 55, 102, 0 }, c3 = { 4, 309, 300, 310, 1, 55, 199, 0 };\n"
    "  struct ext e1 = { 39, 3, pushed[0], 101, 0 }, e2 = { 39, 3, pushed[1], 102, 0 }, e3 = { 39, 1, 66, 103, 0 };\n"
    "  p = put(p, &k1, sizeof k1); p = put(p, &other, sizeof other); p = put(p, &e2, sizeof e2); p = put(p, &c2, sizeof c2); p = put(p, &m, sizeof m);\n"
    "  p = put(p, &k2, sizeof k2); p = put(p, &e1, sizeof e1); p = put(p, &c1, sizeof c1); p = put(p, &e3, sizeof e3); p = put(p, &c3, sizeof c3);\n"
    "  have(0, 0, b, size, p - b); return depth ? 1 : 0; }\n";

static const char *name_of(void *ctx, uint64_t step)
{
    (void)ctx;
    return step == 11 ? "conv1" : step == 12 ? "fc" : "?";
}

static int is(const struct hone_ran *r, enum hone_activity_kind kind, const char *name,
              uint64_t start, uint64_t step)
{
    return r->kind == kind && !strcmp(r->name, name) && r->start == start && r->step == step;
}

/* An event by phase and a field's value. */
static json_t *find(json_t *events, const char *phase, const char *field, json_int_t value)
{
    size_t i;
    json_t *e;
    json_array_foreach(events, i, e)
        if (!strcmp(json_string_value(json_object_get(e, "ph")), phase) && json_integer_value(json_object_get(e, field)) == value) return e;
    return NULL;
}

static double number(json_t *e, const char *field)
{
    return json_number_value(json_object_get(e, field));
}

static void check_trace(const struct hone_activity *a)
{
    json_t *events = json_array();
    hone_activity_trace(a, 3, name_of, NULL, events);
    size_t i, narrows = 0;
    json_t *e;
    json_array_foreach(events, i, e) narrows += strchr("sf", *json_string_value(json_object_get(e, "ph"))) != NULL;
    ok(narrows == 4, "two calls have arrows to what they launched, and nothing else has");
    json_t *from = find(events, "s", "id", 102), *to = find(events, "f", "id", 102);
    ok(number(from, "pid") == 3 && number(from, "tid") == 55 && number(from, "ts") == 3.7,
       "an arrow leaves the call");
    ok(number(to, "pid") == 4 && number(to, "tid") == 7 && number(to, "ts") == 4.7,
       "and arrives at the kernel's stream");
    json_t *kernel = NULL;
    json_array_foreach(events, i, e)
        if (!strcmp(json_string_value(json_object_get(e, "name")), "k_gemm")) kernel = e;
    ok(kernel && !strcmp(json_string_value(json_object_get(kernel, "cat")), "fc") &&
           number(kernel, "dur") == 4,
       "a kernel is of its layer");
    json_t *copy = NULL;
    json_array_foreach(events, i, e)
        if (!strcmp(json_string_value(json_object_get(e, "name")), "copy")) copy = e;
    ok(copy && !strcmp(json_string_value(json_object_get(copy, "cat")), "conv1") &&
           number(json_object_get(copy, "args"), "bytes") == 4096 && number(copy, "pid") == 4,
       "a transfer is of its layer, on its stream, with its bytes");
    json_t *args = json_object_get(kernel, "args");
    ok(number(args, "registers") == 32 && number(args, "shared_bytes") == 1536 &&
           json_integer_value(json_array_get(json_object_get(args, "grid"), 1)) == 2,
       "with its registers, shared memory and grid");
    ok(number(args, "occupancy") == 1 &&
           !strcmp(json_string_value(json_object_get(args, "limited_by")), "threads"),
       "and its occupancy");
    json_decref(events);
}

/* As NVIDIA's occupancy calculator has it for compute capability 9.0. */
static void check_occupancy(const struct hone_gpu_limits *l)
{
    static const struct {
        int registers, shared, threads;
        double share;
        const char *by;
    } row[] = {
        { 32, 0, 256, 1, "threads" },             { 128, 0, 256, 0.25, "registers" },
        { 40, 0, 256, 0.75, "registers" },        { 16, 100 << 10, 256, 0.25, "shared memory" },
        { 16, 0, 32, 0.5, "blocks" },             { 255, 0, 1024, 0, "registers" },
        { 16, 227 << 10, 128, 0.0625, "shared memory" }, { 168, 0, 384, 0.1875, "registers" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *by = "";
        const double share = hone_occupancy(l, row[i].registers, row[i].shared, row[i].threads, &by);
        if (!ok(share == row[i].share && !strcmp(by, row[i].by),
                "%d registers, %d bytes, %d threads: %g of the warps by %s", row[i].registers,
                row[i].shared, row[i].threads, row[i].share, row[i].by))
            printf("# %g by %s\n", share, by);
    }
}

static struct hone_gpu_limits limits_of_h200(void)
{
    struct hone_device d;
    struct hone_gpu_limits l = { 0 };
    ok(!hone_device_describe(&d, "gpu0:h200") && !hone_gpu_limits(&d, &l),
       "a described GPU has limits");
    ok(l.major == 9 && !l.minor && l.nsms == 132 && l.threads == 2048 &&
           l.shared_bytes == 228 << 10 && l.registers == 65536 && l.blocks == 32,
       "those of its multiprocessors");
    struct hone_peaks p;
    ok(!hone_gpu_peaks(&d, &p) && p.flops_all[HONE_F32] > 66.8e12 &&
           p.flops_all[HONE_F32] < 67e12 && p.flops_all[HONE_BF16] / p.flops_all[HONE_F32] == 16,
       "its rates are those of the data sheet");
    hone_device_close(&d);
    return l;
}

static int check_records(void)
{
    struct hone_activity a;
    ok(!hone_activity_absent(), "the pretended CUPTI is opened");
    ok(!hone_activity_begin(), "recording begins");
    hone_activity_step(11);
    hone_activity_step(12);
    ok(!hone_activity_end(&a), "and ends, with every step taken back");
    if (ok(a.n == 6 && a.ndropped == 2, "6 records of kinds that we know, and 2 were dropped")) {
        ok(is(&a.ran[0], HONE_RAN_CALL, "driver call 309", 300, 0),
           "by start, first a call that launched nothing");
        ok(is(&a.ran[1], HONE_RAN_CALL, "driver call 307", 1000, 11) &&
               is(&a.ran[2], HONE_RAN_COPY, "copy", 2000, 11) && a.ran[2].bytes == 4096,
           "a copy of the first step");
        ok(is(&a.ran[3], HONE_RAN_CALL, "driver call 308", 4000, 12) &&
               is(&a.ran[4], HONE_RAN_KERNEL, "k_gemm", 5000, 12) && a.ran[4].block[0] == 256,
           "a kernel of the second");
        ok(is(&a.ran[5], HONE_RAN_KERNEL, "?", 9500, 0),
           "a kernel without a name, and of nobody's step");
        a.limits = limits_of_h200();
        check_occupancy(&a.limits);
        check_trace(&a);
    }
    hone_activity_close(&a);
    return tap_end();
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "all")) return check_records();
    if (argc == 2) {
        int err = hone_activity_begin();
        puts(hone_errmsg());
        return !(err == HONE_EDEVICE &&
                 strstr(hone_errmsg(), "records of activity: 999 CUPTI_ERROR_UNKNOWN"));
    }
    if (pretend_begin()) return 1;
    if (pretend("libcupti.so.13", fake)) {
        skip("no compiler here", "what ran on a GPU");
        return tap_end();
    }
    ok(!pretend_again(argv[0], "all"), "records find their steps and launches");
    ok(!pretend_again(argv[0], "fail"),
       "a kind that cannot be recorded is an error with its reason");
    return pretend_end() ? 1 : tap_end();
}
