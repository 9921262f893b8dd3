/* A net's tensors to and from safetensors files.  What is kept of a net is every tensor in the
 * array of its weights, by name; with the optimizer's state, those too. */
#include "nets/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char STATE[] = "optimizer/", WEIGHTS[] = "hone.weights";

/* ---- the tensors of a net, and their copies in our memory ---- */

/* One of the net's arrays; host: its numbers. */
struct array {
    char *device, *host;
    int64_t bytes;
};

struct kept {
    const struct hone_net *net;
    struct array weights, state; /* state.bytes 0: without the optimizer */
};

static int lies_in(const struct array *a, const void *mem)
{
    return a->device && (const char *)mem >= a->device && (const char *)mem < a->device + a->bytes;
}

/* Where tensor t lies in our memory, or NULL where it is not kept.  The flat view of all parameters
 * is left out, and what every step writes anew. */
static char *kept_at(const struct kept *k, int t)
{
    const struct hone_net *net = k->net;
    if (t == net->params || t == net->hyper || t == net->seed || net->tensor[t].within >= 0)
        return NULL;
    const char *mem = hone_net_mem(net, t);
    for (const struct array *a = &k->weights; a <= &k->state; a++)
        if (lies_in(a, mem)) return a->host + (mem - a->device);
    return NULL;
}

static int fetch(struct array *a, struct hone_device *d, char *mem, int64_t bytes)
{
    a->device = mem;
    a->bytes = mem ? bytes : 0;
    a->host = calloc((size_t)a->bytes + 1, 1);
    if (!a->host) return hone_fail(HONE_ENOMEM, "%lld bytes", (long long)bytes);
    return a->bytes ? d->backend->get(d, a->host, mem, (size_t)a->bytes) : HONE_OK;
}

static int kept_open(struct kept *k, const struct hone_net *net, int with_state)
{
    memset(k, 0, sizeof *k);
    k->net = net;
    int err = fetch(&k->weights, net->device, net->weights, net->weights_bytes);
    return err ? err
               : fetch(&k->state, net->device, with_state ? net->state : NULL, net->state_bytes);
}

static void kept_close(struct kept *k)
{
    free(k->weights.host);
    free(k->state.host);
    hone_memory_trim();
}

/* Writes our memory back to the net's. */
static int kept_store(const struct kept *k)
{
    struct hone_device *d = k->net->device;
    int err = d->backend->put(d, k->net->weights, k->weights.host, (size_t)k->weights.bytes);
    if (!err && k->state.bytes)
        err = d->backend->put(d, k->net->state, k->state.host, (size_t)k->state.bytes);
    return err;
}

/* The tensor's entry in a file. */
static struct hone_safetensor entry_of(const struct kept *k, int t)
{
    const struct hone_tensor *tensor = &k->net->tensor[t];
    struct hone_safetensor e = { .rank = tensor->rank, .bytes = hone_tensor_bytes(tensor) };
    int of_state = lies_in(&k->state, hone_net_mem(k->net, t));
    snprintf(e.name, sizeof e.name, "%s%s", of_state ? STATE : "", tensor->name);
    snprintf(e.dtype, sizeof e.dtype, "%s", hone_safetensor_dtype(tensor->dtype));
    memcpy(e.dim, tensor->dim, (size_t)tensor->rank * sizeof *e.dim);
    e.data = kept_at(k, t);
    return e;
}

static const char *layout_of(const struct hone_tensor *t)
{
    static const char *const layout[] = { "", "c", "in,out", "kh,kw,c", "oc,kh,kw,ic" };
    return layout[t->rank];
}

static int is_finite(const struct hone_tensor *t, const void *data)
{
    double v[256];
    int64_t len = hone_tensor_len(t);
    size_t size = hone_dtype_bytes(t->dtype);
    for (int64_t i = 0; i < len; i += 256) {
        int64_t n = len - i < 256 ? len - i : 256;
        hone_to_double(t->dtype, (const char *)data + (size_t)i * size, v, n);
        for (int64_t j = 0; j < n; j++)
            if (!isfinite(v[j])) return 0;
    }
    return 1;
}

/* ---- writing ---- */

static void set_text(json_t *to, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void set_text(json_t *to, const char *key, const char *fmt, ...)
{
    char text[HONE_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_object_set_new(to, key, json_string(text));
}

/* Takes the list over; an empty one is left out. */
static void set_list(json_t *to, const char *key, json_t *list)
{
    char *text = json_array_size(list) ? json_dumps(list, JSON_COMPACT) : NULL;
    if (text) json_object_set_new(to, key, json_string(text));
    free(text);
    json_decref(list);
}

/* Collects the entries of all kept tensors; returns how many, or a negative code. */
static int collect(const struct kept *k, struct hone_safetensor *entry, json_t *metadata)
{
    int n = 0;
    for (int t = 0; t < k->net->ntensors; t++) {
        const struct hone_tensor *tensor = &k->net->tensor[t];
        char key[HONE_TEXT];
        if (!kept_at(k, t)) continue;
        entry[n] = entry_of(k, t);
        if (!is_finite(tensor, entry[n].data))
            return hone_fail(HONE_EDATA, "tensor '%s' holds a number that is not finite",
                             entry[n].name);
        snprintf(key, sizeof key, "layout.%s", tensor->name);
        if (!lies_in(&k->state, hone_net_mem(k->net, t)))
            set_text(metadata, key, "%s", layout_of(tensor));
        n++;
    }
    return n;
}

/* Lists as texts: "data.mean": "[0.28, ...]". */
static void describe(const struct hone_data *d, json_t *metadata)
{
    json_t *mean = json_array(), *std = json_array(), *classes = json_array();
    for (int c = 0; d && d->range && c < d->c; c++) {
        json_array_append_new(mean, json_real(d->range[c].mean));
        json_array_append_new(std, json_real(d->range[c].std));
    }
    for (int k = 0; d && d->class_name && k < d->classes; k++)
        json_array_append_new(classes, json_string(d->class_name[k]));
    set_list(metadata, "data.mean", mean);
    set_list(metadata, "data.std", std);
    set_list(metadata, "data.classes", classes);
}

int hone_tensors_save(const struct hone_net *net, const struct hone_data *data, const char *path,
                      int with_state, json_t *metadata)
{
    struct kept k;
    struct hone_safetensor *entry = calloc((size_t)net->ntensors + 1, sizeof *entry);
    int err = kept_open(&k, net, with_state), n = 0;
    if (!entry || !metadata) err = hone_fail(HONE_ENOMEM, "%d tensors", net->ntensors);
    if (!err && (n = collect(&k, entry, metadata)) < 0)
        err = hone_fail_at(n, "%s: not written", path);
    set_text(metadata, "net", "%s", net->name);
    describe(data, metadata);
    if (!err) err = hone_safetensors_write(path, entry, n, metadata);
    kept_close(&k);
    free(entry);
    return err;
}

int hone_weights_save(const struct hone_net *net, const struct hone_data *data, const char *path)
{
    json_t *metadata = json_pack("{s:s}", "format", WEIGHTS);
    int err = hone_tensors_save(net, data, path, 0, metadata);
    json_decref(metadata);
    return err;
}

/* ---- reading ---- */

static int read_tensor(const struct kept *k, const struct hone_safetensors *file, int t, int exact)
{
    const struct hone_tensor *tensor = &k->net->tensor[t];
    struct hone_safetensor want = entry_of(k, t);
    const struct hone_safetensor *have = hone_safetensors_find(file, want.name);
    char wants[HONE_TEXT], has[HONE_TEXT], key[HONE_TEXT];
    hone_safetensor_print(&want, wants);
    if (!have)
        return hone_fail(HONE_EDATA, "has no tensor '%s' %s of net '%s'", want.name, wants,
                         k->net->name);
    hone_safetensor_print(have, has);
    int type = hone_safetensor_dtype_of(have->dtype);
    if (have->rank != want.rank || memcmp(have->dim, want.dim, sizeof want.dim) || type < 0 ||
        (exact && type != (int)tensor->dtype))
        return hone_fail(HONE_EDATA, "tensor '%s' is %s, and that of net '%s' is %s", want.name,
                         has, k->net->name, wants);
    snprintf(key, sizeof key, "layout.%s", tensor->name);
    const char *layout = hone_safetensors_text(file, key);
    if (!lies_in(&k->state, hone_net_mem(k->net, t)) &&
        (!layout || strcmp(layout, layout_of(tensor))))
        return hone_fail(HONE_EDATA, "its metadata say of '%s' %s%s%s; Hone reads layout '%s'", key,
                         layout ? "'" : "", layout ? layout : "nothing", layout ? "'" : "",
                         layout_of(tensor));
    if (type == (int)tensor->dtype) {
        memcpy((void *)want.data, have->data, (size_t)want.bytes);
    } else {
        double v;
        size_t from = hone_dtype_bytes(type), to = hone_dtype_bytes(tensor->dtype);
        char number[8];
        for (int64_t i = 0; i < hone_tensor_len(tensor); i++) {
            memcpy(number, (const char *)have->data + (size_t)i * from, from);
            hone_to_double(type, number, &v, 1);
            hone_from_double(tensor->dtype, &v, (char *)want.data + (size_t)i * to, 1);
        }
    }
    return is_finite(tensor, want.data)
               ? HONE_OK
               : hone_fail(HONE_EDATA, "tensor '%s' holds a number that is not finite", want.name);
}

/* Is there a tensor that the net does not have?  The optimizer's are no matter where only weights
 * are wanted. */
static int check_rest(const struct kept *k, const struct hone_safetensors *file)
{
    for (int i = 0; i < file->n; i++) {
        const struct hone_safetensor *e = &file->tensor[i];
        int found = !k->state.bytes && !strncmp(e->name, STATE, sizeof STATE - 1);
        for (int t = 0; !found && t < k->net->ntensors; t++)
            found = kept_at(k, t) && !strcmp(entry_of(k, t).name, e->name);
        if (!found)
            return hone_fail(HONE_EDATA, "tensor '%s' is none of net '%s'", e->name, k->net->name);
    }
    return HONE_OK;
}

int hone_tensors_read(const struct hone_net *net, const struct hone_safetensors *file,
                      int with_state, int store)
{
    struct kept k;
    int err = kept_open(&k, net, with_state);
    for (int t = 0; !err && t < net->ntensors; t++)
        if (kept_at(&k, t)) err = read_tensor(&k, file, t, with_state);
    if (!err) err = check_rest(&k, file);
    if (!err && store) err = kept_store(&k);
    kept_close(&k);
    return err;
}

/* Is it one of ours?  Files that others wrote may hold weights in another order. */
static int check_format(const struct hone_safetensors *file)
{
    const char *format = hone_safetensors_text(file, "format");
    if (format && (!strcmp(format, WEIGHTS) || !strcmp(format, HONE_CHECKPOINT))) return HONE_OK;
    return hone_fail(HONE_EDATA,
                     "its metadata do not say 'format': '%s', so that the layout of its weights is "
                     "not known",
                     WEIGHTS);
}

int hone_weights_load(struct hone_net *net, const char *path)
{
    struct hone_safetensors file;
    int err = hone_safetensors_open(&file, path);
    if (err) return err;
    err = check_format(&file);
    if (!err) err = hone_tensors_read(net, &file, 0, 1);
    hone_safetensors_close(&file);
    return err ? hone_fail_at(err, "%s", path) : HONE_OK;
}

/* ---- what is said of the data ---- */

static json_t *get_list(const struct hone_safetensors *file, const char *key)
{
    const char *text = hone_safetensors_text(file, key);
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    if (json_is_array(list)) return list;
    json_decref(list);
    return json_array();
}

static int read_ranges(const json_t *mean, const json_t *std, struct hone_data *d)
{
    size_t n = json_array_size(mean);
    if (n != json_array_size(std) || n > INT32_MAX)
        return hone_fail(HONE_EDATA, "its metadata hold %zu means and %zu deviations", n,
                         json_array_size(std));
    if (!n) return HONE_OK;
    d->c = (int)n;
    d->range = calloc(n, sizeof *d->range);
    if (!d->range) return hone_fail(HONE_ENOMEM, "%zu means", n);
    for (size_t c = 0; c < n; c++) {
        d->range[c].mean = json_number_value(json_array_get(mean, c));
        d->range[c].std = json_number_value(json_array_get(std, c));
        if (!isfinite(d->range[c].mean) || !(d->range[c].std >= 0))
            return hone_fail(HONE_EDATA, "its metadata hold a mean that is no number");
    }
    return HONE_OK;
}

static int read_classes(const json_t *classes, struct hone_data *d)
{
    size_t n = json_array_size(classes);
    if (!n || n > INT32_MAX) return HONE_OK;
    d->class_name = calloc(n, sizeof *d->class_name);
    if (!d->class_name) return hone_fail(HONE_ENOMEM, "%zu classes", n);
    d->classes = (int)n;
    for (size_t k = 0; k < n; k++) {
        const char *name = json_string_value(json_array_get(classes, k));
        snprintf(d->class_name[k], sizeof d->class_name[k], "%s", name ? name : "?");
    }
    return HONE_OK;
}

int hone_weights_data(const char *path, struct hone_data *d)
{
    struct hone_safetensors file;
    memset(d, 0, sizeof *d);
    int err = hone_safetensors_open(&file, path);
    if (err) return err;
    json_t *mean = get_list(&file, "data.mean"), *std = get_list(&file, "data.std"),
           *classes = get_list(&file, "data.classes");
    err = read_ranges(mean, std, d);
    if (!err) err = read_classes(classes, d);
    json_decref(mean);
    json_decref(std);
    json_decref(classes);
    hone_safetensors_close(&file);
    return err ? hone_fail_at(err, "%s", path) : HONE_OK;
}
