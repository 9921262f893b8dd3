/* Devices that are described, not here: enough for libraries to say what they could run on them. */
#include "kernels/describe.h"
#include "kernels/library.h"
#include "kernels/nvidia/cudnn_abi.h"

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

/* A name without a dot or a slash is that of a description that is built in. */
static json_t *load(const char *name, json_error_t *at)
{
    const struct hone_gpu_text *t = hone_gpu_texts;
    if (strpbrk(name, "./")) return json_load_file(name, JSON_REJECT_DUPLICATES, at);
    while (t->name && strcmp(t->name, name)) t++;
    if (t->name) return json_loads(t->json, JSON_REJECT_DUPLICATES, at);
    int len =
        snprintf(at->text, sizeof at->text, "%.32s: no such GPU is built in, of these:", name);
    for (t = hone_gpu_texts; t->name && len < (int)sizeof at->text; t++)
        len += snprintf(at->text + len, sizeof at->text - (size_t)len, " %s", t->name);
    at->line = -1;
    return NULL;
}

int hone_device_describe(struct hone_device *d, const char *name)
{
    const char *file = file_of(name);
    json_error_t at;
    memset(d, 0, sizeof *d);
    json_t *root = load(file, &at);
    if (!root && at.line < 0) return hone_fail(HONE_EIO, "%s", at.text);
    if (!root) return hone_fail(HONE_EPARSE, "%s:%d: %s", file, at.line, at.text);
    int err = json_is_object(root) ? fill(d, root) : hone_fail(HONE_EPARSE, "expected an object");
    json_decref(root);
    snprintf(d->name, sizeof d->name, "%.*s", (int)(file - name - 1), name);
    return err ? hone_fail_at(err, "%s", file) : HONE_OK;
}

/* ---- of a GPU that is here ---- */

static struct {
    int (*create)(dnn_handle *h);
    int (*destroy)(dnn_handle h);
    int (*make)(int kind, dnn_descriptor *d);
    int (*drop)(dnn_descriptor d);
    int (*set)(dnn_descriptor d, int attr, int type, int64_t n, const void *values);
    int (*finish)(dnn_descriptor d);
    int (*get)(dnn_descriptor d, int attr, int type, int64_t room, int64_t *n, void *values);
    const char *(*error)(int status);
} dnn;

static const struct hone_symbol symbols[] = {
    { "cudnnCreate", &dnn.create },
    { "cudnnDestroy", &dnn.destroy },
    { "cudnnBackendCreateDescriptor", &dnn.make },
    { "cudnnBackendDestroyDescriptor", &dnn.drop },
    { "cudnnBackendSetAttribute", &dnn.set },
    { "cudnnBackendFinalize", &dnn.finish },
    { "cudnnBackendGetAttribute", &dnn.get },
    { "cudnnGetErrorString", &dnn.error },
    { NULL, NULL },
};

static int read_text(dnn_descriptor d, char **json)
{
    const int attr = DNN_ATTR_DEVICEPROP_JSON_REPRESENTATION;
    int64_t n = 0;
    int status = dnn.get(d, attr, DNN_TYPE_CHAR, 0, &n, NULL);
    if (status || n < 1) return status ? status : -1;
    *json = calloc(1, (size_t)n + 1);
    return *json ? dnn.get(d, attr, DNN_TYPE_CHAR, n, &n, *json) : -1;
}

int hone_device_properties(const struct hone_device *d, char **json)
{
    static const struct hone_library library = { "cuDNN", { "libcudnn.so.9" }, { NULL }, symbols };
    char why[HONE_LIBRARY_WHY];
    dnn_handle handle = NULL;
    dnn_descriptor prop = NULL;
    *json = NULL;
    if (strcmp(d->backend->name, "cuda"))
        return hone_fail(HONE_EINVAL, "%s is no GPU", d->name);
    if (hone_library_open(&library, why)) return hone_fail(HONE_EDEVICE, "%s", why);
    int status = dnn.create(&handle);
    if (!status) status = dnn.make(DNN_BACKEND_DEVICEPROP_DESCRIPTOR, &prop);
    if (!status)
        status = dnn.set(prop, DNN_ATTR_DEVICEPROP_HANDLE, DNN_TYPE_HANDLE, 1, &handle);
    if (!status) status = dnn.finish(prop);
    if (!status) status = read_text(prop, json);
    if (prop) dnn.drop(prop);
    if (handle) dnn.destroy(handle);
    if (!status) return HONE_OK;
    free(*json);
    *json = NULL;
    return hone_fail(HONE_EDEVICE, "cuDNN does not describe %s: %s", d->name,
                     status < 0 ? "nothing came" : dnn.error(status));
}
