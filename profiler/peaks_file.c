/* Peaks as a JSON file in the user's cache: what cannot be read in full is measured anew. */
#include "profiler/peaks.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { METHOD = 2 }; /* of measuring; another one's numbers are foreign */

/* `level`: 0 is always there, 1 is a processor's, 3 only with an L3. */
#define BANDWIDTHS(X)                                                                              \
    X(l1_one, 1)                                                                                   \
    X(l2_one, 0) X(l3_one, 3) X(memory_one, 0) X(l1_all, 1) X(l2_all, 0) X(l3_all, 3)              \
        X(memory_all, 0) X(triad_all, 0)

static const struct {
    const char *name;
    size_t offset;
    int level;
} bandwidths[] = {
#define X(name, level) { #name, offsetof(struct hone_peaks, name), level },
    BANDWIDTHS(X)
#undef X
};

static double *field(struct hone_peaks *p, size_t offset)
{
    return (double *)(void *)((char *)p + offset);
}

static int has_level(const struct hone_device *d, int level)
{
    return level == 1 ? !d->backend->start : level != 3 || d->l3_bytes;
}

/* A rate that can be: a positive number. */
static int get_rate(const json_t *o, const char *name, double *v)
{
    const json_t *j = json_object_get(o, name);
    *v = json_number_value(j);
    return json_is_number(j) && isfinite(*v) && *v > 0;
}

static int fill(const json_t *root, const struct hone_device *d, struct hone_peaks *p)
{
    const char *device = json_string_value(json_object_get(root, "device"));
    const char *when = json_string_value(json_object_get(root, "when"));
    const json_t *one = json_object_get(root, "flops_one"),
                 *all = json_object_get(root, "flops_all");
    if (json_integer_value(json_object_get(root, "method")) != METHOD)
        return hone_fail(HONE_EDATA, "measured in another way");
    if (!device || strcmp(device, d->id)) return hone_fail(HONE_EDATA, "another device's peaks");
    p->nthreads = (int)json_integer_value(json_object_get(root, "nthreads"));
    if (p->nthreads < 1 || !when) return hone_fail(HONE_EDATA, "damaged peaks");
    snprintf(p->when, sizeof p->when, "%s", when);
    p->times = (int)json_integer_value(json_object_get(root, "times"));
    if (p->times < 1 || !get_rate(root, "share", &p->share))
        return hone_fail(HONE_EDATA, "damaged peaks");
    for (int t = HONE_F32; t < HONE_NDTYPES; t++) {
        const char *name = hone_dtype_name((enum hone_dtype)t);
        if (!hone_peaks_has(d, (enum hone_dtype)t)) continue;
        if (!get_rate(one, name, &p->flops_one[t]) || !get_rate(all, name, &p->flops_all[t]))
            return hone_fail(HONE_EDATA, "damaged peaks: %s", name);
    }
    for (size_t i = 0; i < sizeof bandwidths / sizeof *bandwidths; i++)
        if (!get_rate(root, bandwidths[i].name, field(p, bandwidths[i].offset)) &&
            has_level(d, bandwidths[i].level))
            return hone_fail(HONE_EDATA, "damaged peaks: %s", bandwidths[i].name);
    return HONE_OK;
}

int hone_peaks_load(const char *path, const struct hone_device *d, struct hone_peaks *peaks)
{
    json_error_t error;
    memset(peaks, 0, sizeof *peaks);
    json_t *root = json_load_file(path, 0, &error);
    if (!root) return hone_fail(HONE_EDATA, "%s: %s", path, error.text);
    int err = fill(root, d, peaks);
    json_decref(root);
    if (err) {
        memset(peaks, 0, sizeof *peaks);
        return hone_fail_at(err, "%s", path);
    }
    peaks->cached = 1;
    return HONE_OK;
}

json_t *hone_peaks_json(const struct hone_device *d, const struct hone_peaks *p)
{
    struct hone_peaks copy = *p;
    json_t *one = json_object(), *all = json_object();
    for (int t = HONE_F32; t < HONE_NDTYPES; t++) {
        if (!hone_peaks_has(d, (enum hone_dtype)t)) continue;
        json_object_set_new(one, hone_dtype_name((enum hone_dtype)t), json_real(p->flops_one[t]));
        json_object_set_new(all, hone_dtype_name((enum hone_dtype)t), json_real(p->flops_all[t]));
    }
    json_t *root =
        json_pack("{s:i, s:s, s:s, s:i, s:f, s:i, s:o, s:o}", "method", METHOD, "device", d->id,
                  "when", p->when, "times", p->times, "share", p->share, "nthreads", p->nthreads,
                  "flops_one", one, "flops_all", all);
    for (size_t i = 0; i < sizeof bandwidths / sizeof *bandwidths; i++)
        json_object_set_new(root, bandwidths[i].name,
                            json_real(*field(&copy, bandwidths[i].offset)));
    return root;
}

int hone_peaks_save(const char *path, const struct hone_device *d, const struct hone_peaks *peaks)
{
    char temp[544];
    snprintf(temp, sizeof temp, "%.500s.XXXXXX", path);
    int fd = mkstemp(temp);
    if (fd < 0) return hone_fail(HONE_EIO, "cannot write %s: %s", temp, strerror(errno));
    json_t *root = hone_peaks_json(d, peaks);
    int bad = !root || json_dumpfd(root, fd, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(root);
    bad |= write(fd, "\n", 1) != 1;
    bad |= fsync(fd) != 0;
    bad |= close(fd) != 0;
    bad = bad || rename(temp, path);
    if (!bad) return HONE_OK;
    int why = errno;
    unlink(temp);
    return hone_fail(HONE_EIO, "cannot write %s: %s", path, strerror(why));
}
