/* Folders of PNG images: good ones in every form that is read, each refusal with its message, and
 * mutations. */
#include "tests/data_files.h"

#include <png.h>

enum { PH = 5, PW = 7 };

/* What is written: libpng's colour type, bits, and what else. */
struct form {
    const char *what;
    int type, depth, interlaced, transparent; /* transparent: alpha, or tRNS of palette entry 0 */
};

/* Channel k of pixel i of image `number`. */
static int value(int number, int i, int k) { return (31 * number + 5 * i + 90 * k) % 256; }

/* A line of the file: palettes and few bits hold numbers 0, 1, ... in turn. */
static void make_line(const struct form *f, int number, int w, int y, unsigned char *line)
{
    int alpha = f->type & PNG_COLOR_MASK_ALPHA ? 1 : 0;
    int colour = f->type & PNG_COLOR_MASK_COLOR ? 3 : 1;
    for (int x = 0; x < w; x++) {
        int i = y * w + x;
        if (f->type == PNG_COLOR_TYPE_PALETTE || f->depth < 8) {
            int v = (i + number) % (1 << (f->depth < 2 ? 1 : 2)), at = x * f->depth;
            if (at % 8 == 0) line[at / 8] = 0;
            line[at / 8] |= (unsigned char)(v << (8 - f->depth - at % 8));
            continue;
        }
        int bytes = f->depth / 8;
        for (int k = 0; k < colour + alpha; k++)
            for (int b = 0; b < bytes; b++)
                line[(x * (colour + alpha) + k) * bytes + b] =
                    (unsigned char)(k < colour ? value(number, i, k) : 255);
        if (alpha && f->transparent && x == 2 && y == 1) line[x * (colour + 1) + colour] = 254;
    }
}

static void put_png(const char *path, const struct form *f, int number, int h, int w)
{
    static const png_color palette[4] = {
        { 1, 2, 3 }, { 250, 251, 252 }, { 9, 8, 7 }, { 0, 128, 0 }
    };
    static const png_byte clear[1] = { 0 };
    unsigned char all[64][512], *rows[64];
    FILE *out = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!out || !info || setjmp(png_jmpbuf(png))) {
        printf("Bail out! %s cannot be written\n", path);
        exit(1);
    }
    png_init_io(png, out);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, f->depth, f->type,
                 f->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    if (f->type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
    if (f->type == PNG_COLOR_TYPE_PALETTE && f->transparent)
        png_set_tRNS(png, info, clear, 1, NULL);
    png_write_info(png, info);
    for (int y = 0; y < h; y++) {
        make_line(f, number, w, y, all[y]);
        rows[y] = all[y];
    }
    png_write_image(png, rows);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(out);
}

static const struct form grey = { "grey", PNG_COLOR_TYPE_GRAY, 8, 0, 0 },
                         rgb = { "colour", PNG_COLOR_TYPE_RGB, 8, 0, 0 };

/* tmp/DIR and all folders above it. */
static void make_dirs(const char *dir)
{
    char path[200];
    for (const char *s = dir; s; s = *s ? strchr(s + 1, '/') : NULL) {
        snprintf(path, sizeof path, "%.*s", (int)(s - dir), dir);
        if (*path) mkdir(in("%s", path), 0700);
    }
    mkdir(in("%s", dir), 0700);
}

/* Classes ant, bee, cat of two images each, numbered in order; the order in which they are written
 * is another. */
static void write_folders(const char *dir, const struct form *f, int first)
{
    static const char *const file[] = { "cat/b.png", "ant/10.PNG", "bee/x.png",
                                        "ant/9.png", "cat/a.png",  "bee/y y.png" };
    static const int number[] = { 5, 0, 2, 1, 4, 3 };
    static const char *const folder[] = { "cat", "bee", "ant" };
    char path[300];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, folder[i]);
        make_dirs(path);
    }
    for (int i = 0; i < 6; i++) put_png(in("%s/%s", dir, file[i]), f, first + number[i], PH, PW);
}

static int is_folders(const struct hone_data *d, int first, int c)
{
    int good = d->rows == 6 && d->h == PH && d->w == PW && d->c == c && d->classes == 3 && d->bytes;
    static const char *const name[] = { "ant", "bee", "cat" };
    for (int k = 0; good && k < 3; k++) good = !strcmp(d->class_name[k], name[k]);
    for (int r = 0; good && r < 6; r++) {
        good = d->label[r] == r / 2;
        for (int i = 0; good && i < PH * PW * c; i++)
            good =
                value_at(d, r * PH * PW * c + i) == (float)value(first + r, i / c, i % c) / 255.0f;
    }
    return good;
}

static void check_good(void)
{
    static const struct form forms[] = {
        { "grey", PNG_COLOR_TYPE_GRAY, 8, 0, 0 },
        { "grey, interlaced", PNG_COLOR_TYPE_GRAY, 8, 1, 0 },
        { "colour", PNG_COLOR_TYPE_RGB, 8, 0, 0 },
        { "colour, interlaced", PNG_COLOR_TYPE_RGB, 8, 1, 0 },
        { "colour with opaque alpha", PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, 0 },
        { "grey with opaque alpha", PNG_COLOR_TYPE_GRAY_ALPHA, 8, 1, 0 },
    };
    struct hone_data train, test;
    char dir[40];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int c = forms[i].type & PNG_COLOR_MASK_COLOR ? 3 : 1;
        snprintf(dir, sizeof dir, "good%zu", i);
        write_folders(dir, &forms[i], 0);
        put_text(in("%s/bee/notes.txt", dir), "no image\n");
        put_text(in("%s/bee/.hidden.png", dir), "no image\n");
        put_text(in("%s/README", dir), "no folder\n");
        ok(opened(&train, &test, in("%s", dir), NULL) && is_folders(&train, 0, c) && !test.rows,
           "png: %s", forms[i].what);
        hone_data_close(&train);
        hone_data_close(&test);
    }
    write_folders("split/train", &rgb, 0);
    write_folders("split/test", &rgb, 40);
    ok(opened(&train, &test, in("split"), NULL) && is_folders(&train, 0, 3) &&
           is_folders(&test, 40, 3) && !strcmp(train.name, "split"),
       "png: train and test");
    hone_data_close(&train);
    hone_data_close(&test);
    unlink(in("split/test/ant/9.png"));
    unlink(in("split/test/ant/10.PNG"));
    rmdir(in("split/test/ant"));
    ok(opened(&train, &test, in("split"), NULL) && test.rows == 4 && test.label[0] == 1 &&
           test.classes == 3 && !strcmp(test.class_name[0], "ant"),
       "png: a class without test images keeps its number");
    hone_data_close(&train);
    hone_data_close(&test);
}

/* Forms whose values are not the bytes written. */
static void check_widened(void)
{
    static const struct form forms[] = {
        { "1 bit", PNG_COLOR_TYPE_GRAY, 1, 0, 0 },
        { "2 bits", PNG_COLOR_TYPE_GRAY, 2, 0, 0 },
        { "4 bits", PNG_COLOR_TYPE_GRAY, 4, 1, 0 },
        { "a palette of 2 bits", PNG_COLOR_TYPE_PALETTE, 2, 0, 0 },
        { "a palette of 8 bits", PNG_COLOR_TYPE_PALETTE, 8, 0, 0 },
    };
    static const int palette[4][3] = { { 1, 2, 3 }, { 250, 251, 252 }, { 9, 8, 7 }, { 0, 128, 0 } };
    struct hone_data train, test;
    char dir[40];
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        int coloured = forms[f].type == PNG_COLOR_TYPE_PALETTE, c = coloured ? 3 : 1, wrong = 0;
        int most = (1 << forms[f].depth) - 1, kinds = forms[f].depth < 2 ? 2 : 4;
        snprintf(dir, sizeof dir, "wide%zu", f);
        write_folders(dir, &forms[f], 0);
        int good = opened(&train, &test, in("%s", dir), NULL) && train.rows == 6 && train.c == c;
        for (int r = 0; good && r < 6; r++)
            for (int i = 0; i < PH * PW * c; i++) {
                int v = (i / c + r) % kinds, want = coloured ? palette[v][i % c] : v * 255 / most;
                wrong += train.bytes[r * PH * PW * c + i] != want;
            }
        ok(good && !wrong, "png: %s", forms[f].what);
        hone_data_close(&train);
        hone_data_close(&test);
    }
}

/* One file of a good set is replaced. */
static void check_forms_refused(void)
{
    static const struct {
        struct form form;
        int h, w;
        const char *message; /* FIRST stands for the first image */
    } table[] = {
        { { "another height", PNG_COLOR_TYPE_RGB, 8, 0, 0 },
          6,
          7,
          "FILE: 6 x 7 pixels, but FIRST has 5 x 7" },
        { { "another width", PNG_COLOR_TYPE_RGB, 8, 0, 0 },
          5,
          8,
          "FILE: 5 x 8 pixels, but FIRST has 5 x 7" },
        { { "grey among colour", PNG_COLOR_TYPE_GRAY, 8, 0, 0 },
          5,
          7,
          "FILE: is grey, but FIRST is in colour" },
        { { "16 bits", PNG_COLOR_TYPE_RGB, 16, 0, 0 },
          5,
          7,
          "FILE: 16 bits per channel, but only 8 are read" },
        { { "a pixel that is nearly opaque", PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, 1 },
          5,
          7,
          "FILE: pixel (2, 1) is transparent: only opaque images are read" },
        { { "a transparent colour of the palette", PNG_COLOR_TYPE_PALETTE, 8, 0, 1 },
          5,
          7,
          "FILE: pixel (0, 0) is transparent: only opaque images are read" },
    };
    char message[1500], first[400];
    write_folders("bad", &rgb, 0);
    snprintf(first, sizeof first, "%s", in("bad/ant/10.PNG"));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *path = in("bad/bee/y y.png"), *mark = strstr(table[i].message, "FIRST");
        put_png(path, &table[i].form, 0, table[i].h, table[i].w);
        snprintf(message, sizeof message, "%s", table[i].message);
        if (mark)
            snprintf(message, sizeof message, "%.*s%s%s", (int)(mark - table[i].message),
                     table[i].message, first, mark + 5);
        bad(table[i].form.what, in("bad"), NULL, path, message);
    }
    put_png(in("bad/bee/y y.png"), &rgb, 3, PH, PW);
}

static size_t slurp(const char *path, struct bytes *s)
{
    FILE *f = fopen(path, "rb");
    s->n = f ? fread(s->b, 1, sizeof s->b, f) : 0;
    if (f) fclose(f);
    return s->n;
}

static void check_damage(void)
{
    static struct bytes s;
    char message[1500];
    char dir[300], path[300];
    snprintf(dir, sizeof dir, "%s", in("bad"));
    snprintf(path, sizeof path, "%s", in("bad/ant/9.png"));
    size_t n = slurp(path, &s);
    put(path, s.b, n - 20);
    bad("png: cut in the pixels", dir, NULL, path, "FILE: the PNG data is cut off");
    put(path, s.b, n - 1);
    bad("png: the last byte lacks", dir, NULL, path, "FILE: the PNG data is cut off");
    put(path, s.b, 20);
    bad("png: cut in the header", dir, NULL, path, "FILE: the PNG data is cut off");
    put(path, s.b, 7);
    bad("png: cut in the magic number", dir, NULL, path, "FILE: byte 0: no PNG header");
    put(path, "", 0);
    bad("png: empty file", dir, NULL, path, "FILE: byte 0: no PNG header");
    s.b[1] = 'J';
    put(path, s.b, n);
    bad("png: magic number", dir, NULL, path, "FILE: byte 0: no PNG header");
    s.b[1] = 'P';
    s.b[n - 13] ^= 1; /* the chunk that ends the file has 12 bytes */
    put(path, s.b, n);
    bad("png: check sum of the pixels", dir, NULL, path,
        "FILE: the PNG data is damaged: IDAT: CRC error");
    s.b[n - 13] ^= 1;
    s.b[20] ^= 1;
    put(path, s.b, n);
    bad("png: check sum of the header", dir, NULL, path,
        "FILE: the PNG data is damaged: IHDR: CRC error");
    s.b[20] ^= 1;
    /* A header with a right check sum that asks for 900,000 x 900,000 pixels. */
    poke32(&s, 16, 900000);
    poke32(&s, 20, 900000);
    poke32(&s, 29, (uint32_t)crc32(crc32(0, NULL, 0), s.b + 12, 17));
    put(path, s.b, n);
    snprintf(message, sizeof message,
             "FILE: byte 16: 900000 x 900000 pixels are more than %zu bytes can hold", n);
    bad("png: a size that it cannot hold", dir, NULL, path, message);
    put_png(path, &rgb, 1, PH, PW);
    put(in("bad/bee/x.png"), "x", 1);
    put(in("bad/cat/b.png"), "x", 1);
    bad("png: the first of two bad files is named", dir, NULL, in("bad/bee/x.png"),
        "FILE: byte 0: no PNG header");
    put_png(in("bad/bee/x.png"), &rgb, 2, PH, PW);
    put_png(in("bad/cat/b.png"), &rgb, 5, PH, PW);
}

static void check_folders(void)
{
    make_dirs("bad/dog");
    bad("png: an empty class", in("bad"), NULL, in("bad/dog"),
        "FILE: no PNG image in this class's folder");
    put_text(in("bad/dog/a.jpg"), "x");
    bad("png: a JPEG image", in("bad"), NULL, in("bad/dog/a.jpg"),
        "FILE: only PNG images are read");
    unlink(in("bad/dog/a.jpg"));
    rmdir(in("bad/dog"));
    write_folders("wild/train", &grey, 0);
    write_folders("wild/test", &grey, 0);
    make_dirs("wild/test/dog");
    put_png(in("wild/test/dog/a.png"), &grey, 0, PH, PW);
    bad("png: a class that is only tested", in("wild"), NULL, in("wild/test/dog"),
        "FILE: there is no such class among the training images");
    bad("png: a target", in("wild"), "1", in("wild"),
        "'FILE' has its own target: a target column is for CSV files");
    make_dirs("none/train/ant");
    bad("png: no images", in("none"), NULL, in("none/train/ant"),
        "FILE: no PNG image in this class's folder");
    make_dirs("void/ant");
    bad("png: folders without images", in("void"), NULL, in("void"),
        "FILE: no data set in this directory: there is no train-images-idx3-ubyte[.gz|.xz], "
        "data_batch_1.bin or train.bin (CIFAR), a folder of PNG images for each class, "
        "letter-recognition.data or cal_housing.data");
    make_dirs("one/ant");
    put_png(in("one/ant/a.png"), &grey, 0, PH, PW);
    bad("png: one class", in("one"), NULL, in("one"), "FILE: all rows are of one class");
}

static void check_mutations(void)
{
    static struct bytes s;
    write_folders("fuzz", &rgb, 0);
    slurp(in("fuzz/bee/x.png"), &s);
    fuzz("a PNG image", in("fuzz"), in("fuzz/bee/x.png"), &s, 41);
    slurp(in("fuzz/ant/10.PNG"), &s);
    fuzz("the first PNG image", in("fuzz"), in("fuzz/ant/10.PNG"), &s, 42);
}

int main(void)
{
    if (!files_begin()) return 1;
    check_good();
    check_widened();
    check_forms_refused();
    check_damage();
    check_folders();
    check_mutations();
    return files_end();
}
