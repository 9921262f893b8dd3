/* CUPTI's host half: which counters a chip has, and in how many passes they are counted.  One name
 * that a chip lacks would make CUPTI refuse a whole set without saying which, so each is asked
 * about before. */
#include "kernels/library.h"
#include "profiler/cupti.h"

#include <stdlib.h>
#include <string.h>

static struct {
    int (*version)(uint32_t *v);
    int (*result_text)(int status, const char **text);
    int (*chips)(struct cupti_chips *p);
    int (*open)(struct cupti_host_open *p);
    int (*close)(struct cupti_host *p);
    int (*metric)(struct cupti_metric *p);
    int (*add)(struct cupti_add *p);
    int (*image_size)(struct cupti_image_size *p);
    int (*image)(struct cupti_image *p);
    int (*passes)(struct cupti_passes *p);
} cupti;

static const struct hone_symbol symbols[] = {
    { "cuptiGetVersion", &cupti.version },
    { "cuptiGetResultString", &cupti.result_text },
    { "cuptiProfilerHostGetSupportedChips", &cupti.chips },
    { "cuptiProfilerHostInitialize", &cupti.open },
    { "cuptiProfilerHostDeinitialize", &cupti.close },
    { "cuptiProfilerHostGetMetricProperties", &cupti.metric },
    { "cuptiProfilerHostConfigAddMetrics", &cupti.add },
    { "cuptiProfilerHostGetConfigImageSize", &cupti.image_size },
    { "cuptiProfilerHostGetConfigImage", &cupti.image },
    { "cuptiProfilerHostGetNumOfPasses", &cupti.passes },
    { NULL, NULL },
};

static const struct hone_library library = {
    "CUPTI", { "libcupti.so.13", "libcupti.so.12" }, { "libnvperf_host.so" }, symbols
};

const char *hone_cupti_absent(void)
{
    static char why[HONE_LIBRARY_WHY];
    static int asked;
    if (!asked++) hone_library_open(&library, why);
    return why[0] ? why : NULL;
}

const char *hone_cupti_version(void)
{
    static char text[32];
    uint32_t v = 0;
    cupti.version(&v);
    /* 130001 is 13.0 update 1; 26 and before counted otherwise and lack the range profiler. */
    snprintf(text, sizeof text, "CUPTI %u.%u.%u", v / 10000, v / 100 % 100, v % 100);
    return text;
}

int hone_cupti_fail(int status, const char *what)
{
    const char *text = NULL;
    cupti.result_text(status, &text);
    return hone_fail(HONE_EDEVICE, "CUPTI: %s: %d %s", what, status, text ? text : "");
}

int hone_cupti_chips(const char *const **name, size_t *n)
{
    struct cupti_chips p;
    CUPTI_INIT(p, name);
    int status = cupti.chips(&p);
    *name = p.name;
    *n = p.n;
    return status ? hone_cupti_fail(status, "list of chips") : HONE_OK;
}

static int open_host(const char *chip, const uint8_t *available, void **host)
{
    struct cupti_host_open p;
    CUPTI_INIT(p, host);
    p.type = CUPTI_RANGE_PROFILER;
    p.chip = chip;
    p.available = available;
    int status = cupti.open(&p);
    *host = status ? NULL : p.host;
    return status ? hone_cupti_fail(status, chip) : HONE_OK;
}

static void close_host(void *host)
{
    struct cupti_host p;
    CUPTI_INIT(p, host);
    p.host = host;
    if (host) cupti.close(&p);
}

static int unknown(const char *chip, const char *const name[], size_t n)
{
    char known[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < n && len < sizeof known; i++)
        len += (size_t)snprintf(known + len, sizeof known - len, " %s", name[i]);
    return hone_fail(HONE_EINVAL, "'%s': no such chip; %s knows%s", chip, hone_cupti_version(),
                     known);
}

int hone_cupti_open(struct hone_cupti_chip *c, const char *chip, const uint8_t *available)
{
    const char *const *name;
    size_t n, i = 0;
    *c = (struct hone_cupti_chip){ .available = available };
    if (hone_cupti_absent()) return hone_fail(HONE_EDEVICE, "%s", hone_cupti_absent());
    int err = hone_cupti_chips(&name, &n);
    if (err) return err;
    while (i < n && strcmp(name[i], chip)) i++;
    if (i == n) return unknown(chip, name, n);
    c->name = name[i];
    return open_host(c->name, available, &c->host);
}

void hone_cupti_close(struct hone_cupti_chip *c)
{
    close_host(c->host);
    memset(c, 0, sizeof *c);
}

int hone_cupti_has(const struct hone_cupti_chip *c, const char *name, const char **about,
                   const char **unit)
{
    struct cupti_metric p;
    CUPTI_INIT(p, type);
    p.host = c->host;
    p.name = name;
    if (cupti.metric(&p)) return 0;
    if (about) *about = p.about ? p.about : "";
    if (unit) *unit = p.unit ? p.unit : "";
    return 1;
}

/* Leaves out what s may lack; the first name that it may not, or NULL. */
static const char *lacking(const struct hone_cupti_chip *c, struct hone_gpu_sum *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        if (hone_cupti_has(c, s->term[i].name, NULL, NULL))
            s->term[n++] = s->term[i];
        else if (!s->term[i].may_lack)
            return s->term[i].name;
    }
    s->n = n;
    return NULL;
}

const char *hone_cupti_resolve(const struct hone_cupti_chip *c, const struct hone_gpu_metric *m,
                               struct hone_gpu_sum *s)
{
    static _Thread_local char why[320];
    const char *first = NULL;
    for (int i = 0; m->sum[i]; i++) {
        if (hone_gpu_sum_parse(m->sum[i], s)) return hone_errmsg();
        const char *name = lacking(c, s);
        if (!name) return NULL;
        if (!first)
            snprintf(why, sizeof why, "%s has no %s%s%s", c->name, first = name,
                     m->lack ? ": " : "", m->lack ? m->lack : "");
    }
    s->n = 0;
    return why;
}

static int get_image(void *host, uint8_t **image, size_t *bytes)
{
    struct cupti_image_size size;
    struct cupti_image p;
    CUPTI_INIT(size, bytes);
    size.host = host;
    int status = cupti.image_size(&size);
    if (status) return hone_cupti_fail(status, "size of a configuration");
    *image = malloc(*bytes = size.bytes);
    if (!*image) return hone_fail(HONE_ENOMEM, "%zu bytes", size.bytes);
    CUPTI_INIT(p, image);
    p.host = host;
    p.bytes = size.bytes;
    p.image = *image;
    status = cupti.image(&p);
    return status ? hone_cupti_fail(status, "configuration") : HONE_OK;
}

int hone_cupti_image(const struct hone_cupti_chip *c, const char *const name[], size_t n,
                     uint8_t **image, size_t *bytes, size_t *passes)
{
    /* A host remembers what was added, so each set has one of its own. */
    struct cupti_add add;
    struct cupti_passes p;
    void *host;
    *image = NULL;
    *passes = 0;
    int err = open_host(c->name, c->available, &host);
    if (err) return err;
    CUPTI_INIT(add, n);
    add.host = host;
    add.name = name;
    add.n = n;
    int status = cupti.add(&add);
    err = status ? hone_cupti_fail(status, "set of counters") : get_image(host, image, bytes);
    if (!err) {
        CUPTI_INIT(p, n);
        p.bytes = *bytes;
        p.image = *image;
        status = cupti.passes(&p);
        *passes = p.n;
        if (status) err = hone_cupti_fail(status, "number of passes");
    }
    close_host(host);
    if (err) free(*image), *image = NULL;
    return err;
}
