/* The reader of ONNX files: Protocol Buffers' wire format (a field is a number and a kind: varint,
 * 8 bytes, 4 bytes, or bytes with their length before them), and of ONNX's messages those fields
 * that a net is made of.  Field numbers are those of onnx.proto3. */
#include "nets/onnx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the wire format ---- */

enum { VARINT, FIXED64, BYTES, FIXED32 = 5 };

struct message {
    const uint8_t *at, *end;
};

struct field {
    int number, kind;
    uint64_t v;           /* VARINT, FIXED64, FIXED32 */
    struct message bytes; /* BYTES */
};

static int damaged(void) { return hone_fail(HONE_EPARSE, "is cut off, damaged, or no ONNX file"); }

static int read_varint(struct message *m, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;
        *v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return HONE_OK;
    }
    return damaged();
}

static int read_fixed(struct message *m, int n, uint64_t *v)
{
    *v = 0;
    if (m->end - m->at < n) return damaged();
    for (int i = 0; i < n; i++) *v |= (uint64_t)*m->at++ << 8 * i;
    return HONE_OK;
}

/* The next field; 1 where there is one, 0 at the end, negative on errors. */
static int next(struct message *m, struct field *f)
{
    uint64_t tag;
    if (m->at == m->end) return 0;
    int err = read_varint(m, &tag);
    if (err) return err;
    f->number = (int)(tag >> 3 & 0x1fffffff);
    f->kind = (int)(tag & 7);
    f->bytes = (struct message){ 0 };
    switch (f->kind) {
    case VARINT: err = read_varint(m, &f->v); break;
    case FIXED64: err = read_fixed(m, 8, &f->v); break;
    case FIXED32: err = read_fixed(m, 4, &f->v); break;
    case BYTES:
        err = read_varint(m, &f->v);
        if (!err && f->v > (uint64_t)(m->end - m->at)) err = damaged();
        if (err) break;
        f->bytes = (struct message){ m->at, m->at + f->v };
        m->at += f->v;
        break;
    default: err = damaged();
    }
    if (!err && !f->number) err = damaged();
    return err ? err : 1;
}

static int read_text(const struct field *f, char *to, size_t room)
{
    size_t n = (size_t)(f->bytes.end - f->bytes.at);
    if (f->kind != BYTES || memchr(f->bytes.at ? f->bytes.at : (const uint8_t *)"", 0, n))
        return damaged();
    if (n >= room) return hone_fail(HONE_EPARSE, "a name of %zu bytes; at most %zu", n, room - 1);
    if (n) memcpy(to, f->bytes.at, n);
    to[n] = 0;
    return HONE_OK;
}

static float to_float(uint64_t v)
{
    uint32_t bits = (uint32_t)v;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double to_double(uint64_t v)
{
    double x;
    memcpy(&x, &v, sizeof x);
    return x;
}

/* Appends the whole numbers of a repeated field, packed or not. */
static int read_list(const struct field *f, int64_t list[], int room, int *n)
{
    struct message m = f->bytes;
    uint64_t v = f->v;
    if (f->kind == VARINT) {
        if (*n == room) return hone_fail(HONE_EPARSE, "a list of more than %d numbers", room);
        list[(*n)++] = (int64_t)v;
        return HONE_OK;
    }
    while (m.at < m.end) {
        int err = read_varint(&m, &v);
        if (err) return err;
        if (*n == room) return hone_fail(HONE_EPARSE, "a list of more than %d numbers", room);
        list[(*n)++] = (int64_t)v;
    }
    return f->kind == BYTES ? HONE_OK : damaged();
}

/* Room for entry n of an array that doubles. */
static int more(void **array, int n, size_t size)
{
    if (n & (n - 1)) return HONE_OK;
    void *grown = realloc(*array, (n ? 2 * (size_t)n : 1) * size);
    if (!grown) return hone_fail(HONE_ENOMEM, "a list of %d", n + 1);
    *array = grown;
    return HONE_OK;
}

/* ---- files ---- */

static int slurp(const char *path, uint8_t **data, size_t *size)
{
    struct stat is;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = HONE_OK;
    *data = NULL;
    if (fd < 0) return hone_fail(HONE_EIO, "%s", strerror(errno));
    if (fstat(fd, &is) || !S_ISREG(is.st_mode)) err = hone_fail(HONE_EIO, "is no file");
    size_t want = err ? 0 : (size_t)is.st_size;
    if (!err && !(*data = malloc(want + 1))) err = hone_fail(HONE_ENOMEM, "%zu bytes", want);
    for (*size = 0; !err && *size < want;) {
        ssize_t k = read(fd, *data + *size, want - *size);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) err = hone_fail(HONE_EIO, "%s", strerror(errno));
        if (k == 0) err = hone_fail(HONE_EIO, "became shorter while it was read");
        if (k > 0) *size += (size_t)k;
    }
    close(fd);
    return err;
}

/* ---- tensors ---- */

/* ONNX's types that weights and lists come in. */
static const struct {
    int type, bytes;
} types[] = { { 1, 4 }, { 11, 8 }, { 7, 8 }, { 6, 4 } };

enum { FLOAT = 1, INT32 = 6, INT64 = 7, DOUBLE = 11 };

static double number_of(int type, const uint8_t *from)
{
    struct message m = { from, from + 8 };
    uint64_t v = 0;
    read_fixed(&m, type == FLOAT || type == INT32 ? 4 : 8, &v);
    return type == FLOAT    ? (double)to_float(v)
           : type == DOUBLE ? to_double(v)
           : type == INT32  ? (double)(int32_t)v
                            : (double)(int64_t)v;
}

struct raw {
    int type, external;
    struct message bytes;  /* raw_data */
    struct message packed; /* float_data, int64_data, ... */
    char location[256];
    int64_t offset, length; /* of external data; length -1: to the end */
};

static int read_entry(struct message m, struct raw *r)
{
    char key[32] = "", value[256] = "";
    struct field f;
    int more_fields, err = HONE_OK;
    while (!err && (more_fields = next(&m, &f))) {
        if (more_fields < 0) return more_fields;
        if (f.number == 1) err = read_text(&f, key, sizeof key);
        if (f.number == 2) err = read_text(&f, value, sizeof value);
    }
    if (!strcmp(key, "location")) snprintf(r->location, sizeof r->location, "%s", value);
    if (!strcmp(key, "offset")) r->offset = strtoll(value, NULL, 10);
    if (!strcmp(key, "length")) r->length = strtoll(value, NULL, 10);
    return err;
}

/* Weights that lie in a file beside the model, which must be in its folder. */
static int read_external(const struct hone_onnx *m, struct raw *r, uint8_t **data)
{
    char path[800];
    size_t size = 0;
    const char *slash = strrchr(m->path, '/');
    if (!r->location[0] || strchr(r->location, '/') || r->location[0] == '.')
        return hone_fail(HONE_EPARSE, "its numbers lie in '%s', which is no name in its folder",
                         r->location);
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - m->path + 1) : 0, m->path,
             r->location);
    int err = slurp(path, data, &size);
    if (err) return hone_fail_at(err, "%s", path);
    int64_t length = r->length < 0 ? (int64_t)size - r->offset : r->length;
    if (r->offset < 0 || length < 0 || r->offset > (int64_t)size ||
        length > (int64_t)size - r->offset)
        return hone_fail(HONE_EPARSE, "%s: bytes %lld to %lld are not there", path,
                         (long long)r->offset, (long long)(r->offset + length));
    r->bytes = (struct message){ *data + r->offset, *data + r->offset + length };
    return HONE_OK;
}

/* float_data and double_data are packed like raw numbers; whole numbers are varints. */
static int unpack(const struct raw *r, struct hone_onnx_tensor *t)
{
    struct message m = r->bytes.at ? r->bytes : r->packed;
    int varints = !r->bytes.at && (r->type == INT32 || r->type == INT64), bytes = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == r->type) bytes = types[i].bytes;
    if (!bytes)
        return hone_fail(HONE_EPARSE, "is of ONNX's type %d; f32, f64, i32 and i64 are read",
                         r->type);
    if (!varints && m.end - m.at != t->len * bytes)
        return hone_fail(HONE_EPARSE, "its shape needs %lld bytes, and it has %lld",
                         (long long)(t->len * bytes), (long long)(m.end - m.at));
    t->value = malloc(((size_t)t->len + 1) * sizeof *t->value);
    if (!t->value) return hone_fail(HONE_ENOMEM, "%lld numbers", (long long)t->len);
    for (int64_t i = 0; i < t->len; i++) {
        uint64_t v;
        if (varints && read_varint(&m, &v)) return damaged();
        t->value[i] = varints ? (double)(int64_t)v : number_of(r->type, m.at + i * bytes);
    }
    return varints && m.at != m.end ? damaged() : HONE_OK;
}

static int read_fields(struct message m, struct hone_onnx_tensor *t, struct raw *r)
{
    struct field f;
    int got, err = HONE_OK;
    while (!err && (got = next(&m, &f))) {
        if (got < 0) return got;
        switch (f.number) {
        case 1: err = read_list(&f, t->dim, 8, &t->rank); break;
        case 2: r->type = (int)f.v; break;
        case 8: err = read_text(&f, t->name, sizeof t->name); break;
        case 9: r->bytes = f.bytes; break;
        case 4:
        case 5:
        case 7:
        case 10:
            if (f.kind != BYTES) return hone_fail(HONE_EPARSE, "holds numbers that are not packed");
            r->packed = f.bytes;
            break;
        case 13: err = read_entry(f.bytes, r); break;
        case 14: r->external = f.v == 1; break;
        default: break;
        }
    }
    return err;
}

static int read_tensor(struct hone_onnx *model, struct message m, const char *name)
{
    struct raw r = { .length = -1 };
    uint8_t *external = NULL;
    int err = more((void **)&model->constant, model->nconstants, sizeof *model->constant);
    if (err) return err;
    struct hone_onnx_tensor *t = &model->constant[model->nconstants++];
    memset(t, 0, sizeof *t);
    err = read_fields(m, t, &r);
    if (name) snprintf(t->name, sizeof t->name, "%s", name);
    t->len = 1;
    for (int i = 0; !err && i < t->rank; i++)
        if (t->dim[i] < 0 || __builtin_mul_overflow(t->len, t->dim[i], &t->len) ||
            t->len > INT32_MAX)
            err = hone_fail(HONE_EPARSE, "its shape is no shape");
    if (!err && r.external) err = read_external(model, &r, &external);
    if (!err) err = unpack(&r, t);
    free(external);
    return err ? hone_fail_at(err, "tensor '%s'", t->name) : HONE_OK;
}

/* ---- nodes, inputs and outputs ---- */

static int read_attr(struct hone_onnx *model, struct message m, struct hone_onnx_attr *a)
{
    struct field f;
    int got, err = HONE_OK;
    memset(a, 0, sizeof *a);
    a->tensor = -1;
    while (!err && (got = next(&m, &f))) {
        if (got < 0) return got;
        switch (f.number) {
        case 1: err = read_text(&f, a->name, sizeof a->name); break;
        case 2: a->real = (double)to_float(f.v); break;
        case 3: a->whole = (int64_t)f.v; break;
        case 4: err = read_text(&f, a->text, sizeof a->text); break;
        case 5:
            err = read_tensor(model, f.bytes, NULL);
            a->tensor = model->nconstants - 1;
            break;
        case 8: err = read_list(&f, a->list, HONE_ONNX_LIST, &a->n); break;
        default: break;
        }
    }
    return err;
}

/* A node whose value is a constant becomes one. */
static int take_constant(struct hone_onnx *model, const struct hone_onnx_node *n)
{
    const struct hone_onnx_attr *a = hone_onnx_attr(n, "value");
    if (!a || a->tensor < 0) return hone_fail(HONE_EPARSE, "a Constant without a tensor");
    snprintf(model->constant[a->tensor].name, HONE_ONNX_NAME, "%s", n->output);
    model->nnodes--;
    return HONE_OK;
}

static int read_node(struct hone_onnx *model, struct message m)
{
    struct field f;
    int got, err = more((void **)&model->node, model->nnodes, sizeof *model->node);
    if (err) return err;
    struct hone_onnx_node *n = &model->node[model->nnodes++];
    memset(n, 0, sizeof *n);
    while (!err && (got = next(&m, &f))) {
        if (got < 0) return got;
        switch (f.number) {
        case 1:
            if (n->ninputs == HONE_ONNX_INPUTS)
                return hone_fail(HONE_EPARSE, "a node with more than %d inputs", HONE_ONNX_INPUTS);
            err = read_text(&f, n->input[n->ninputs++], HONE_ONNX_NAME);
            break;
        case 2:
            if (!n->noutputs++) err = read_text(&f, n->output, HONE_ONNX_NAME);
            break;
        case 3: err = read_text(&f, n->name, sizeof n->name); break;
        case 4: err = read_text(&f, n->op, sizeof n->op); break;
        case 5:
            if (n->nattrs == HONE_ONNX_ATTRS)
                return hone_fail(HONE_EPARSE, "a node with more than %d attributes",
                                 HONE_ONNX_ATTRS);
            err = read_attr(model, f.bytes, &n->attr[n->nattrs++]);
            break;
        default: break;
        }
    }
    return err || strcmp(n->op, "Constant") ? err : take_constant(model, n);
}

/* TensorShapeProto. */
static int read_shape(struct message m, struct hone_onnx_value *v)
{
    struct field f, d;
    int got;
    v->rank = 0;
    while ((got = next(&m, &f)) > 0) {
        if (f.number != 1) continue;
        if (v->rank == 8) return hone_fail(HONE_EPARSE, "a shape of more than 8 dimensions");
        struct message dim = f.bytes;
        v->dim[v->rank] = -1;
        while ((got = next(&dim, &d)) > 0)
            if (d.number == 1) v->dim[v->rank] = (int64_t)d.v;
        if (got < 0) return got;
        v->rank++;
    }
    return got;
}

/* ValueInfoProto, TypeProto and its Tensor nest: name, then type.tensor_type.{elem_type, shape}. */
static int read_value(struct message m, struct hone_onnx_value *v, int depth)
{
    struct field f;
    int got, err = HONE_OK;
    while (!err && (got = next(&m, &f))) {
        if (got < 0) return got;
        if (depth == 0 && f.number == 1) err = read_text(&f, v->name, sizeof v->name);
        if (depth == 0 && f.number == 2) err = read_value(f.bytes, v, 1);
        if (depth == 1 && f.number == 1) err = read_value(f.bytes, v, 2);
        if (depth == 2 && f.number == 1) v->type = (int)f.v;
        if (depth == 2 && f.number == 2) err = read_shape(f.bytes, v);
    }
    return err;
}

static int add_value(struct hone_onnx_value **list, int *n, struct message m)
{
    int err = more((void **)list, *n, sizeof **list);
    if (err) return err;
    struct hone_onnx_value *v = &(*list)[(*n)++];
    memset(v, 0, sizeof *v);
    v->rank = -1;
    return read_value(m, v, 0);
}

static int read_graph(struct hone_onnx *model, struct message m)
{
    struct field f;
    int got, err = HONE_OK;
    while (!err && (got = next(&m, &f))) {
        if (got < 0) return got;
        switch (f.number) {
        case 1: err = read_node(model, f.bytes); break;
        case 5: err = read_tensor(model, f.bytes, NULL); break;
        case 11: err = add_value(&model->input, &model->ninputs, f.bytes); break;
        case 12: err = add_value(&model->output, &model->noutputs, f.bytes); break;
        case 15: err = hone_fail(HONE_EPARSE, "holds sparse tensors"); break;
        default: break;
        }
    }
    return err;
}

/* ---- the whole ---- */

int hone_onnx_open(struct hone_onnx *model, const char *path)
{
    uint8_t *data;
    size_t size = 0;
    struct field f;
    int got = 0, graphs = 0;
    memset(model, 0, sizeof *model);
    snprintf(model->path, sizeof model->path, "%s", path);
    int err = slurp(path, &data, &size);
    struct message m = { data, data + size };
    while (!err && (got = next(&m, &f))) {
        if (got < 0)
            err = got;
        else if (f.number == 2 && f.kind == BYTES)
            err = read_text(&f, model->producer, sizeof model->producer);
        else if (f.number == 7 && f.kind == BYTES && !graphs++)
            err = read_graph(model, f.bytes);
    }
    if (!err && !graphs) err = damaged();
    free(data);
    if (!err) return HONE_OK;
    hone_onnx_close(model);
    return hone_fail_at(err, "%s", path);
}

void hone_onnx_close(struct hone_onnx *m)
{
    for (int i = 0; i < m->nconstants; i++) free(m->constant[i].value);
    free(m->node);
    free(m->constant);
    free(m->input);
    free(m->output);
    memset(m, 0, sizeof *m);
}

const struct hone_onnx_tensor *hone_onnx_constant(const struct hone_onnx *m, const char *name)
{
    for (int i = 0; name[0] && i < m->nconstants; i++)
        if (!strcmp(m->constant[i].name, name)) return &m->constant[i];
    return NULL;
}

const struct hone_onnx_attr *hone_onnx_attr(const struct hone_onnx_node *n, const char *name)
{
    for (int i = 0; i < n->nattrs; i++)
        if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
    return NULL;
}
