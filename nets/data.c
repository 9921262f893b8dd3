/* Finds and opens data: what a name or a path means, and where the known sets lie. */
#include "nets/data.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int64_t hone_mul(int64_t a, int64_t b)
{
    int64_t c;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &c) ? -1 : c;
}

void hone_data_text(char to[HONE_NAME], const char *from)
{
    int i = 0;
    for (; i < HONE_NAME - 1 && from[i]; i++)
        to[i] = (unsigned char)from[i] < ' ' || from[i] == 0x7f ? '?' : from[i];
    to[i] = 0;
}

/* ---- known sets ---- */

/* The eight features of Pace and Barry (Statistics & Probability Letters 33, 1997) as scikit-learn
 * derives them from the columns longitude, latitude, age, rooms, bedrooms, population, households,
 * income; value in 100,000 dollars. */
static int derive_housing(struct hone_data *d)
{
    static const char *const name[8] = { "MedInc",     "HouseAge", "AveRooms", "AveBedrms",
                                         "Population", "AveOccup", "Latitude", "Longitude" };
    enum { LONGITUDE, LATITUDE, AGE, ROOMS, BEDROOMS, POPULATION, HOUSEHOLDS, INCOME };
    for (int64_t i = 0; i < d->rows; i++) {
        float c[8], *x = d->x + 8 * i;
        memcpy(c, x, sizeof c);
        if (!(c[HOUSEHOLDS] > 0))
            return hone_fail(HONE_EDATA, "%s: row %lld: column 7: there must be households",
                             d->source, (long long)i + 1);
        const float made[8] = { c[INCOME],
                                c[AGE],
                                c[ROOMS] / c[HOUSEHOLDS],
                                c[BEDROOMS] / c[HOUSEHOLDS],
                                c[POPULATION],
                                c[POPULATION] / c[HOUSEHOLDS],
                                c[LATITUDE],
                                c[LONGITUDE] };
        memcpy(x, made, sizeof made);
        d->y[i] /= 100000;
    }
    free(d->feature);
    d->feature = malloc(8 * sizeof *d->feature);
    if (!d->feature) return hone_fail(HONE_ENOMEM, "%s: no memory", d->source);
    for (int j = 0; j < 8; j++) snprintf(d->feature[j], sizeof *d->feature, "%s", name[j]);
    return HONE_OK;
}

const struct hone_known hone_known_sets[] = {
    { .name = "fashion-mnist",
      .about = "70,000 pictures of clothes, 28x28, 10 classes (Debian: dataset-fashion-mnist)",
      .folder = { "fashion-mnist" },
      .format = &hone_idx,
      .classes = 10,
      .features = 784 },
    { .name = "mnist",
      .about = "70,000 handwritten digits, 28x28, 10 classes",
      .folder = { "mnist" },
      .format = &hone_idx,
      .classes = 10,
      .features = 784 },
    { .name = "cifar10",
      .about = "60,000 pictures of things and animals, 32x32 in colour, 10 classes",
      .folder = { "cifar10", "cifar-10-batches-bin" },
      .format = &hone_cifar,
      .classes = 10,
      .features = 3072 },
    { .name = "cifar100",
      .about = "60,000 such pictures, 100 classes; --target coarse: 20 groups of them",
      .folder = { "cifar100", "cifar-100-binary" },
      .format = &hone_cifar,
      .classes = 100,
      .features = 3072 },
    { .name = "letter",
      .about = "20,000 printed letters, 16 features, 26 classes (UCI Letter Recognition)",
      .folder = { "letter" },
      .file = "letter-recognition.data",
      .target = "1",
      .classes = 26,
      .features = 16 },
    { .name = "housing",
      .about = "20,640 Californian districts, 8 features, price (California Housing)",
      .folder = { "cal_housing", "housing" },
      .file = "cal_housing.data",
      .target = "9",
      .features = 8,
      .derive = derive_housing },
    { .name = NULL },
};

/* Where sets are searched for, in this order: each place is an environment variable's directory and
 * a tail, or a fixed directory; a set lies in one of its folders there.  Looking must not make
 * directories, so the user's data directory is named here and not by hone_user_path(). */
static const struct {
    const char *env, *tail;
} places[] = {
    { "HONE_DATA", "" },
    { "XDG_DATA_HOME", "/hone" },
    { "HOME", "/.local/share/hone" },
    { NULL, "/usr/share/datasets" },
    { NULL, "../shared/data" },
};

static int holds(const struct hone_known *k, const char *dir)
{
    char path[512];
    struct stat st;
    if (k->format) return k->format->holds(dir);
    int n = snprintf(path, sizeof path, "%s/%s", dir, k->file);
    return n < (int)sizeof path && !stat(path, &st);
}

int hone_known_find(const struct hone_known *k, char dir[512])
{
    char tried[900] = "";
    size_t len = 0;
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        const char *env = places[p].env ? getenv(places[p].env) : "";
        if (!env || (places[p].env && !*env)) continue;
        for (int i = 0; i < 2 && k->folder[i]; i++) {
            int n = snprintf(dir, 512, "%s%s/%s", env, places[p].tail, k->folder[i]);
            if (n < 512 && holds(k, dir)) return HONE_OK;
            if (len < sizeof tried)
                len +=
                    (size_t)snprintf(tried + len, sizeof tried - len, "%s%s", len ? ", " : "", dir);
        }
    }
    return hone_fail(HONE_EDATA,
                     "data set '%s' is in none of %s; set HONE_DATA to the place that has it",
                     k->name, tried);
}

/* ---- opening ---- */

static int open_known(struct hone_data *train, struct hone_data *test, const struct hone_known *k,
                      const char *dir, const char *target)
{
    char path[512 + 64];
    snprintf(path, sizeof path, "%s/%s", dir, k->file ? k->file : "");
    if (k->file)
        snprintf(train->source, sizeof train->source, "%.*s", (int)sizeof train->source - 1, path);
    int err = k->file ? hone_csv_read(train, path, k->target)
                      : k->format->read(train, test, dir, target, k->classes);
    if (err) return err;
    if (train->h * train->w * train->c != k->features)
        return hone_fail(HONE_EDATA, "%s: %d features, but data set '%s' has %d", train->source,
                         train->h * train->w * train->c, k->name, k->features);
    if (!target && train->classes != k->classes)
        return hone_fail(HONE_EDATA, "%s: %d classes, but data set '%s' has %d", train->source,
                         train->classes, k->name, k->classes);
    return k->derive ? k->derive(train) : HONE_OK;
}

static const struct hone_format *const formats[] = { &hone_idx, &hone_cifar, &hone_png };

enum { NFORMATS = sizeof formats / sizeof *formats };

static int own_target(const char *data)
{
    return hone_fail(HONE_EINVAL, "'%s' has its own target: a target column is for CSV files",
                     data);
}

static int open_directory(struct hone_data *train, struct hone_data *test, const char *dir,
                          const char *target)
{
    char lacks[512];
    int len = 0;
    for (int i = 0; i < NFORMATS; i++) {
        const struct hone_format *f = formats[i];
        len += snprintf(lacks + len, sizeof lacks - (size_t)len, "%s, ", f->files);
        if (!f->holds(dir)) continue;
        return target && !f->has_target ? own_target(dir) : f->read(train, test, dir, target, 0);
    }
    for (const struct hone_known *k = hone_known_sets; k->name; k++)
        if (k->file && holds(k, dir))
            return target ? own_target(dir) : open_known(train, test, k, dir, NULL);
    return hone_fail(HONE_EDATA,
                     "%s: no data set in this directory: there is no %sletter-recognition.data or "
                     "cal_housing.data",
                     dir, lacks);
}

/* The files of known sets are known by their names, too, wherever they lie. */
static int open_file(struct hone_data *train, struct hone_data *test, const char *path,
                     const char *target)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char dir[512] = ".";
    if (base > path) snprintf(dir, sizeof dir, "%.*s", (int)(base - path), path);
    if (strstr(base, "-ubyte"))
        return hone_fail(HONE_EDATA, "%s: a set has several IDX files: name their directory, %s",
                         path, dir);
    for (const struct hone_known *k = hone_known_sets; k->name; k++)
        if (k->file && !target && !strcmp(base, k->file))
            return open_known(train, test, k, dir, NULL);
    return hone_csv_read(train, path, target);
}

/* What all readers promise, and no reader alone can see. */
static int check(const struct hone_data *d, const char *data)
{
    if (d->classes == 1) return hone_fail(HONE_EDATA, "%s: all rows are of one class", data);
    return HONE_OK;
}

static void set_name(struct hone_data *d, const char *name)
{
    size_t len = strlen(name);
    while (len > 1 && name[len - 1] == '/') len--;
    const char *from = name + len;
    while (from > name && from[-1] != '/') from--;
    snprintf(d->name, sizeof d->name, "%.*s", (int)(name + len - from), from);
}

int hone_data_open(struct hone_data *train, struct hone_data *test, const char *data,
                   const char *target)
{
    const struct hone_known *k = hone_known_sets;
    const char *name = data;
    char dir[512];
    struct stat st;
    int err, synthetic = !strncmp(data, "synthetic:", 10);
    memset(train, 0, sizeof *train);
    memset(test, 0, sizeof *test);
    while (k->name && strcmp(k->name, data)) k++;
    int found = !k->name && !synthetic && !stat(data, &st);
    snprintf(train->source, sizeof train->source, "%s", data);
    if (target && (synthetic || (k->name && !(k->format && k->format->has_target))))
        return own_target(data);
    if (k->name) {
        err = hone_known_find(k, dir);
        if (!err) snprintf(train->source, sizeof train->source, "%s", dir);
        if (!err) err = open_known(train, test, k, dir, target);
    } else if (synthetic) {
        err = hone_synthetic_make(train, data);
        name = "synthetic";
    } else if (!found)
        err = hone_fail(HONE_EIO,
                        "'%s' is no file, directory or known data set; `hone data` lists those",
                        data);
    else if (S_ISDIR(st.st_mode))
        err = open_directory(train, test, data, target);
    else
        err = open_file(train, test, data, target);
    if (!err) err = check(train, data);
    if (err) {
        hone_data_close(train);
        hone_data_close(test);
        return err;
    }
    set_name(train, name);
    snprintf(test->source, sizeof test->source, "%s", train->source);
    snprintf(test->name, sizeof test->name, "%s", train->name);
    return HONE_OK;
}

void hone_data_close(struct hone_data *d)
{
    free(d->x);
    free(d->bytes);
    free(d->value);
    free(d->black);
    free(d->range);
    free(d->label);
    free(d->y);
    free(d->class_name);
    free(d->feature);
    memset(d, 0, sizeof *d);
}
