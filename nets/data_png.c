/* Folders of PNG images, one per class: DIR/CLASS/NAME.png, or DIR/train/CLASS/... and
 * DIR/test/CLASS/....  Classes and images are in the order of their names, byte by byte.  All
 * images must be of one size, all grey or all in colour, 8 bits per channel: what can be brought
 * there without loss is (palettes, 1, 2 and 4 bits, an alpha channel that is opaque everywhere),
 * the rest is refused by name. */
#include "nets/data.h"

#include <dirent.h>
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- one file ---- */

struct picture {
    const char *path;
    FILE *f;
    png_structp png;
    png_infop info;
    int h, w, c, alpha; /* c without the alpha channel; alpha: there is one behind it */
    char why[120];
};

static void keep_message(png_structp png, png_const_charp message)
{
    struct picture *p = png_get_error_ptr(png);
    snprintf(p->why, sizeof p->why, "%s", message);
    png_longjmp(png, 1);
}

static void keep_quiet(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static int damaged(const struct picture *p)
{
    if (ferror(p->f)) return hone_fail(HONE_EIO, "%s: cannot be read", p->path);
    if (feof(p->f)) return hone_fail(HONE_EDATA, "%s: the PNG data is cut off", p->path);
    return hone_fail(HONE_EDATA, "%s: the PNG data is damaged: %s", p->path, p->why);
}

static void close_picture(struct picture *p)
{
    if (p->png) png_destroy_read_struct(&p->png, &p->info, NULL);
    if (p->f) fclose(p->f);
}

/* Asks libpng for rows of 8-bit grey or colour, and says what they will be. */
static int set_form(struct picture *p)
{
    int type = png_get_color_type(p->png, p->info), depth = png_get_bit_depth(p->png, p->info);
    if (depth == 16)
        return hone_fail(HONE_EDATA, "%s: 16 bits per channel, but only 8 are read", p->path);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(p->png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(p->png);
    if (png_get_valid(p->png, p->info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(p->png);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
    int channels = png_get_channels(p->png, p->info);
    p->alpha = channels == 2 || channels == 4;
    p->c = channels - p->alpha;
    p->h = (int)png_get_image_height(p->png, p->info);
    p->w = (int)png_get_image_width(p->png, p->info);
    return HONE_OK;
}

/* Reads all up to the pixels. */
static int open_picture(struct picture *p, const char *path)
{
    unsigned char magic[8];
    struct stat st;
    *p = (struct picture){ .path = path, .f = fopen(path, "rb") };
    if (!p->f || fstat(fileno(p->f), &st))
        return hone_fail(HONE_EIO, "%s: %s", path, strerror(errno));
    if (fread(magic, 1, 8, p->f) < 8 || png_sig_cmp(magic, 0, 8))
        return hone_fail(HONE_EDATA, "%s: byte 0: no PNG header", path);
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, keep_message, keep_quiet);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info) return hone_fail(HONE_ENOMEM, "%s: libpng: out of memory", path);
    if (setjmp(png_jmpbuf(p->png))) return damaged(p);
    png_init_io(p->png, p->f);
    png_set_sig_bytes(p->png, 8);
    png_read_info(p->png, p->info);
    int err = set_form(p);
    /* A damaged size must not ask for memory that no such file can fill: see data_file.c. */
    if (!err && (int64_t)p->h * p->w / 8 / 1032 > (int64_t)st.st_size)
        err = hone_fail(HONE_EDATA, "%s: byte 16: %d x %d pixels are more than %lld bytes can hold",
                        path, p->h, p->w, (long long)st.st_size);
    return err;
}

/* `rows` point at p->h rows of all channels. */
static int read_rows(struct picture *p, png_bytep *rows)
{
    if (setjmp(png_jmpbuf(p->png))) return damaged(p);
    png_read_image(p->png, rows);
    png_read_end(p->png, NULL);
    return HONE_OK;
}

/* Takes the alpha channel out of pixels in place where it says nothing. */
static int strip_alpha(const struct picture *p, const uint8_t *from, uint8_t *to)
{
    for (int64_t i = 0; i < (int64_t)p->h * p->w; i++, from += p->c + 1, to += p->c) {
        if (from[p->c] != 255)
            return hone_fail(HONE_EDATA,
                             "%s: pixel (%d, %d) is transparent: only opaque images are "
                             "read",
                             p->path, (int)(i % p->w), (int)(i / p->w));
        memcpy(to, from, (size_t)p->c);
    }
    return HONE_OK;
}

/* Reads the pixels to (h, w, c). */
static int read_pixels(struct picture *p, uint8_t *to)
{
    size_t line = (size_t)p->w * (size_t)(p->c + p->alpha);
    png_bytep *rows = malloc((size_t)p->h * sizeof *rows);
    uint8_t *all = p->alpha ? malloc((size_t)p->h * line) : to;
    int err = rows && all ? HONE_OK : hone_fail(HONE_ENOMEM, "%s: no memory", p->path);
    for (int y = 0; !err && y < p->h; y++) rows[y] = all + (size_t)y * line;
    if (!err) err = read_rows(p, rows);
    if (!err && p->alpha) err = strip_alpha(p, all, to);
    if (p->alpha) free(all);
    free(rows);
    return err;
}

/* ---- folders ---- */

static int is_directory(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int ends_in(const char *name, const char *const ending[])
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && ending[i]; i++)
        if (!strcasecmp(dot, ending[i])) return 1;
    return 0;
}

static int is_png(const char *name)
{
    static const char *const png[] = { ".png", NULL };
    return ends_in(name, png);
}

/* Of the other kinds an image must not be passed over in silence. */
static int is_other_image(const char *name)
{
    static const char *const other[] = { ".jpg",  ".jpeg", ".gif", ".bmp", ".tif",
                                         ".tiff", ".webp", ".ppm", ".pgm", NULL };
    return ends_in(name, other);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* DIR/NAME; 0 where it does not fit. */
static int join(char path[512], const char *dir, const char *name)
{
    int n = snprintf(path, 512, "%s/%s", dir, name);
    return n < 512;
}

/* Has dir a folder, in which (deep) there is an image? */
static int has_folder(const char *dir, int deep)
{
    char path[512];
    int found = 0;
    struct dirent *e, *image;
    DIR *top = opendir(dir), *sub;
    while (top && !found && (e = readdir(top))) {
        if (!visible(e) || !join(path, dir, e->d_name) || !is_directory(path)) continue;
        found = !deep;
        if (!deep || !(sub = opendir(path))) continue;
        while (!found && (image = readdir(sub))) found = visible(image) && is_png(image->d_name);
        closedir(sub);
    }
    if (top) closedir(top);
    return found;
}

static int is_split(const char *dir)
{
    char path[512];
    return join(path, dir, "train") && has_folder(path, 0);
}

static int holds(const char *dir) { return is_split(dir) || has_folder(dir, 1); }

/* The images of a set, in order, and its classes. */
struct listing {
    int64_t n, room;
    char **path;
    int32_t *label;
    int nclasses;
    char **name;
};

static void forget(struct listing *l)
{
    for (int64_t i = 0; i < l->n; i++) free(l->path[i]);
    for (int i = 0; i < l->nclasses; i++) free(l->name[i]);
    free(l->path);
    free(l->label);
    free(l->name);
}

static int add_image(struct listing *l, const char *path, int label)
{
    if (l->n == l->room) {
        int64_t room = l->room ? 2 * l->room : 1024;
        char **paths = realloc(l->path, (size_t)room * sizeof *paths);
        if (paths) l->path = paths;
        int32_t *labels = realloc(l->label, (size_t)room * sizeof *labels);
        if (labels) l->label = labels;
        if (!paths || !labels) return hone_fail(HONE_ENOMEM, "%s: no memory", path);
        l->room = room;
    }
    l->path[l->n] = strdup(path);
    if (!l->path[l->n]) return hone_fail(HONE_ENOMEM, "%s: no memory", path);
    l->label[l->n++] = label;
    return HONE_OK;
}

static int list_class(struct listing *l, const char *dir, int label)
{
    struct dirent **entry;
    char path[512];
    int64_t before = l->n;
    int n = scandir(dir, &entry, visible, by_name), err = HONE_OK;
    if (n < 0) return hone_fail(HONE_EIO, "%s: %s", dir, strerror(errno));
    for (int i = 0; !err && i < n; i++) {
        if (!join(path, dir, entry[i]->d_name))
            err = hone_fail(HONE_EDATA, "%s: a path in it is longer than 511 bytes", dir);
        else if (is_other_image(path))
            err = hone_fail(HONE_EDATA, "%s: only PNG images are read", path);
        else if (is_png(path))
            err = add_image(l, path, label);
    }
    for (int i = 0; i < n; i++) free(entry[i]);
    free(entry);
    if (!err && l->n == before)
        err = hone_fail(HONE_EDATA, "%s: no PNG image in this class's folder", dir);
    return err;
}

/* The class of a folder: of training folders a new one, of test folders one that is known. */
static int class_of(struct listing *l, const struct listing *known, const char *name)
{
    for (int i = 0; known && i < known->nclasses; i++)
        if (!strcmp(known->name[i], name)) return i;
    if (known) return -1;
    char *copy = strdup(name),
         **names = realloc(l->name, (size_t)(l->nclasses + 1) * sizeof *names);
    if (names) l->name = names;
    if (!names || !copy) {
        free(copy);
        return -1;
    }
    l->name[l->nclasses] = copy;
    return l->nclasses++;
}

/* known: NULL, or the training listing whose classes dir's folders must be. */
static int list_set(struct listing *l, const struct listing *known, const char *dir)
{
    struct dirent **entry;
    char path[512];
    int n = scandir(dir, &entry, visible, by_name), err = HONE_OK;
    if (n < 0) return hone_fail(HONE_EIO, "%s: %s", dir, strerror(errno));
    for (int i = 0; !err && i < n; i++) {
        int fits = join(path, dir, entry[i]->d_name);
        if (!fits) err = hone_fail(HONE_EDATA, "%s: a path in it is longer than 511 bytes", dir);
        if (!fits || !is_directory(path)) continue;
        int label = class_of(l, known, entry[i]->d_name);
        if (label >= 0)
            err = list_class(l, path, label);
        else
            err = known ? hone_fail(HONE_EDATA,
                                    "%s: there is no such class among the training images", path)
                        : hone_fail(HONE_ENOMEM, "%s: no memory", path);
    }
    for (int i = 0; i < n; i++) free(entry[i]);
    free(entry);
    if (!err && !l->n) err = hone_fail(HONE_EDATA, "%s: no folder of PNG images", dir);
    return err;
}

/* ---- the set ---- */

static const char *colour(int c) { return c == 1 ? "grey" : "in colour"; }

/* Reads image i into its place; first: whose size and colour all must have. */
static int read_image(const struct hone_data *d, const char *path, int64_t i, const char *first)
{
    struct picture p;
    int err = open_picture(&p, path);
    if (!err && (p.h != d->h || p.w != d->w))
        err = hone_fail(HONE_EDATA, "%s: %d x %d pixels, but %s has %d x %d", path, p.h, p.w, first,
                        d->h, d->w);
    if (!err && p.c != d->c)
        err = hone_fail(HONE_EDATA, "%s: is %s, but %s is %s", path, colour(p.c), first,
                        colour(d->c));
    if (!err) err = read_pixels(&p, d->bytes + i * d->h * d->w * d->c);
    close_picture(&p);
    return err;
}

/* Threads share the images; the message is that of the first bad one in order, as by one thread. */
static int read_images(struct hone_data *d, const struct listing *l, const char *first)
{
    int64_t worst = l->n;
    int err = HONE_OK;
    char why[1200] = "";
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < l->n; i++) {
        int64_t limit;
#pragma omp atomic read
        limit = worst;
        int bad = i < limit ? read_image(d, l->path[i], i, first) : HONE_OK;
        if (!bad) continue;
#pragma omp critical
        if (i < worst) {
#pragma omp atomic write
            worst = i;
            err = bad;
            snprintf(why, sizeof why, "%s", hone_errmsg());
        }
    }
    return err ? hone_fail(err, "%s", why) : HONE_OK;
}

/* The first image's size and colour. */
static int look_at(const char *path, struct hone_data *d)
{
    struct picture p;
    int err = open_picture(&p, path);
    d->h = p.h;
    d->w = p.w;
    d->c = p.c;
    close_picture(&p);
    return err;
}

static int name_classes(struct hone_data *d, const struct listing *l)
{
    d->classes = l->nclasses;
    d->class_name = calloc((size_t)l->nclasses, sizeof *d->class_name);
    for (int i = 0; d->class_name && i < l->nclasses; i++)
        hone_data_text(d->class_name[i], l->name[i]);
    return d->class_name ? HONE_OK
                         : hone_fail(HONE_ENOMEM, "no memory for %d classes", l->nclasses);
}

static int fill(struct hone_data *d, struct listing *l, const char *first)
{
    d->rows = l->n;
    if (hone_data_room(d))
        return hone_fail(HONE_ENOMEM, "%s: no memory for %lld such images", first, (long long)l->n);
    d->label = l->label;
    l->label = NULL;
    return read_images(d, l, first);
}

int hone_png_read_files(struct hone_data *d, char *const path[], int64_t n)
{
    struct listing l = { .path = (char **)path, .n = n };
    memset(d, 0, sizeof *d);
    snprintf(d->source, sizeof d->source, "%s", path[0]);
    snprintf(d->name, sizeof d->name, "%.*s", HONE_NAME - 1, path[0]);
    int err = look_at(path[0], d);
    return err ? err : fill(d, &l, path[0]);
}

static int read_set(struct hone_data *train, struct hone_data *test, const char *dir,
                    const char *target, int classes)
{
    struct listing l = { 0 }, tested = { 0 };
    char path[512];
    (void)target; /* none is let through */
    (void)classes;
    int split = is_split(dir), has_test = split && join(path, dir, "test") && is_directory(path);
    if (split) join(path, dir, "train");
    int err = list_set(&l, NULL, split ? path : dir);
    if (!err && has_test) err = join(path, dir, "test") ? list_set(&tested, &l, path) : HONE_EDATA;
    if (!err) err = look_at(l.path[0], train);
    if (!err) err = name_classes(train, &l);
    if (!err) err = fill(train, &l, l.path[0]);
    if (!err && has_test) {
        test->h = train->h;
        test->w = train->w;
        test->c = train->c;
        err = name_classes(test, &l);
        if (!err) err = fill(test, &tested, l.path[0]);
    }
    forget(&l);
    forget(&tested);
    return err;
}

const struct hone_format hone_png = { "a folder of PNG images for each class", 0, holds, read_set };
