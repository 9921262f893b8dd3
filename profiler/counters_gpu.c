/* `hone counters --device gpu0` and `--chip`: groups of a GPU's counters, what the chip calls them,
 * and the passes they take. */
#include "profiler/command.h"
#include "profiler/cupti.h"

#include <stdlib.h>
#include <string.h>

/* ---- the chip of a GPU that is described: one of its compute capability stands for all ---- */

static const struct {
    int capability; /* major * 100 + minor * 10 */
    const char *chip;
} chips[] = {
    { 700, "GV100" }, { 750, "TU102" }, { 800, "GA100" },  { 860, "GA102" },
    { 890, "AD102" }, { 900, "GH100" }, { 1000, "GB100" }, { 1200, "GB202" },
};

int hone_gpu_described_chip(const char *device, char chip[32])
{
    struct hone_device d;
    int err = hone_device_describe(&d, device);
    if (err) return err;
    json_t *root = json_loads(d.description, 0, NULL);
    const int capability = (int)json_integer_value(json_object_get(root, "deviceVer"));
    json_decref(root);
    hone_device_close(&d);
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        if (chips[i].capability != capability) continue;
        snprintf(chip, 32, "%s", chips[i].chip);
        return HONE_OK;
    }
    return hone_fail(HONE_EINVAL, "'%s': no chip is known with deviceVer %d; use --chip", device,
                     capability);
}

/* ---- groups ---- */

/* The names in use; each once, group after group. */
struct all {
    size_t n;
    char name[512][HONE_GPU_NAME];
};

static void remember(struct all *all, const struct hone_gpu_sum *s)
{
    for (int i = 0; i < s->n && all->n < 512; i++) {
        size_t k = 0;
        while (k < all->n && strcmp(all->name[k], s->term[i].name)) k++;
        memcpy(all->name[k], s->term[i].name, HONE_GPU_NAME);
        all->n += k == all->n;
    }
}

/* Passes of a group, or of all; 0: none of it can be counted. */
static int passes_of(const struct hone_cupti_chip *c, const struct all *all, size_t first,
                     size_t *passes)
{
    const char *name[512];
    uint8_t *image;
    size_t bytes;
    *passes = 0;
    if (all->n == first) return HONE_OK;
    for (size_t i = first; i < all->n; i++) name[i - first] = all->name[i];
    int err = hone_cupti_image(c, name, all->n - first, &image, &bytes, passes);
    free(image);
    return err;
}

/* "2*A.sum + B.sum" of what the chip has. */
static void print_sum(const struct hone_gpu_sum *s, char text[], size_t size)
{
    size_t len = 0;
    for (int i = 0; i < s->n && len < size; i++) {
        len += (size_t)snprintf(text + len, size - len, "%s", i ? " + " : "");
        if (s->term[i].weight != 1 && len < size)
            len += (size_t)snprintf(text + len, size - len, "%g*", s->term[i].weight);
        if (len < size) len += (size_t)snprintf(text + len, size - len, "%s", s->term[i].name);
    }
}

static void show_metric(const struct hone_cupti_chip *c, const struct hone_gpu_metric *m,
                        struct all *all, json_t *metrics)
{
    struct hone_gpu_sum s;
    char text[HONE_GPU_TERMS * (HONE_GPU_NAME + 8)] = "";
    const char *why = hone_cupti_resolve(c, m, &s);
    remember(all, &s);
    print_sum(&s, text, sizeof text);
    if (metrics)
        json_array_append_new(metrics, json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "name", m->name,
                                                 "about", m->about, "unit", m->unit, "counters",
                                                 why ? NULL : text, "why", why));
    else if (why)
        printf("    %-13s n/a (%s)\n", m->name, why);
    else
        printf("    %-13s %s (%s)\n        %s\n", m->name, m->about, m->unit, text);
}

static int show_groups(const struct hone_cupti_chip *c, struct all *all, json_t *groups)
{
    size_t passes;
    int err = HONE_OK;
    for (const struct hone_gpu_group *g = hone_gpu_groups; !err && g->name; g++) {
        size_t first = all->n;
        json_t *metrics = groups ? json_array() : NULL;
        if (!groups) printf("  %s: %s\n", g->name, g->about);
        for (const struct hone_gpu_metric *m = g->metric; m->name; m++)
            show_metric(c, m, all, metrics);
        err = passes_of(c, all, first, &passes);
        if (groups)
            json_array_append_new(groups,
                                  json_pack("{s:s, s:s, s:i, s:o}", "name", g->name, "about",
                                            g->about, "passes", (int)passes, "metrics", metrics));
        else if (!err)
            printf("    in %zu pass%s\n", passes, passes == 1 ? "" : "es");
    }
    return err;
}

int hone_gpu_counters(const char *chip, json_t **root)
{
    struct hone_cupti_chip c;
    size_t passes = 0;
    int err = hone_cupti_open(&c, chip, NULL);
    struct all *all = calloc(1, sizeof *all);
    if (!err && !all) err = hone_fail(HONE_ENOMEM, "%zu bytes", sizeof *all);
    json_t *groups = !err && root ? json_array() : NULL;
    if (!err && !root)
        printf("groups of counters of %s, as %s has them\n", c.name, hone_cupti_version());
    if (!err) err = show_groups(&c, all, groups);
    if (!err) err = passes_of(&c, all, 0, &passes);
    if (!err && root)
        *root = json_pack("{s:s, s:s, s:i, s:O}", "chip", c.name, "version", hone_cupti_version(),
                          "passes", (int)passes, "groups", groups);
    else if (!err)
        printf("all %zu counters together: %zu passes\n", all->n, passes);
    json_decref(groups);
    hone_cupti_close(&c);
    free(all);
    return err;
}
