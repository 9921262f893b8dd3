/* Devices that are described, not here: enough for libraries to say what they could run on them. */
#include "kernels/kernel.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *file_of(const char *name)
{
    const char *colon = strchr(name, ':');
    return colon && !strncmp(name, "gpu", 3) ? colon + 1 : NULL;
}

int hone_device_is_description(const char *name) { return file_of(name) != NULL; }

/* A positive number by its name, or 0 with the message. */
static int64_t number(const json_t *root, const char *name)
{
    const json_t *v = json_object_get(root, name);
    const int64_t n = json_is_integer(v) ? json_integer_value(v) : 0;
    if (n <= 0) hone_fail(HONE_EPARSE, "expected \"%s\" with a number above 0", name);
    return n > 0 ? n : 0;
}

static int fill(struct hone_device *d, const json_t *root)
{
    const char *name = json_string_value(json_object_get(root, "deviceName"));
    const int64_t version = number(root, "deviceVer");
    if (!name) return hone_fail(HONE_EPARSE, "expected \"deviceName\" with a text");
    d->ncores = (int)number(root, "multiProcessorCount");
    d->l2_bytes = number(root, "l2CacheSize");
    d->memory_bytes = number(root, "totalGlobalMem");
    if (!version || !d->ncores || !d->l2_bytes || !d->memory_bytes) return HONE_EPARSE;
    snprintf(d->text, sizeof d->text, "%.80s, described, not here", name);
    snprintf(d->id, sizeof d->id, "described %.80s sm_%d %d", name, (int)(version / 10), d->ncores);
    d->description = json_dumps(root, JSON_COMPACT);
    return d->description ? HONE_OK : hone_fail(HONE_ENOMEM, "a description");
}

int hone_device_describe(struct hone_device *d, const char *name)
{
    const char *file = file_of(name);
    json_error_t at;
    memset(d, 0, sizeof *d);
    json_t *root = json_load_file(file, JSON_REJECT_DUPLICATES, &at);
    if (!root && at.line < 0) return hone_fail(HONE_EIO, "%s", at.text);
    if (!root) return hone_fail(HONE_EPARSE, "%s:%d: %s", file, at.line, at.text);
    int err = json_is_object(root) ? fill(d, root) : hone_fail(HONE_EPARSE, "expected an object");
    json_decref(root);
    snprintf(d->name, sizeof d->name, "%.*s", (int)(file - name - 1), name);
    return err ? hone_fail_at(err, "%s", file) : HONE_OK;
}
