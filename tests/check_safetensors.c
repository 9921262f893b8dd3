/* Safetensors files: what is written comes back bit by bit, other programs' files are read, and of
 * damaged ones no byte is believed.  Weights of a net: by name, shape and layout. */
#include "nets/safetensors.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "hone-safetensors-XXXXXX"; /* in the build folder */

static const char *in_dir(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

/* ---- files made by hand ---- */

/* PREFIX bytes that say `len`, the header, and n bytes of numbers. */
static void put_file(const char *name, uint64_t len, const char *header, size_t n)
{
    FILE *f = fopen(in_dir(name), "w");
    for (int i = 0; i < 8; i++) fputc((int)(len >> 8 * i & 255), f);
    fputs(header, f);
    for (size_t i = 0; i < n; i++) fputc((int)(i & 255), f);
    fclose(f);
}

static void refused(const char *why, const char *header, size_t n)
{
    struct hone_safetensors s;
    put_file("bad", strlen(header), header, n);
    int err = hone_safetensors_open(&s, in_dir("bad"));
    ok(err && strstr(hone_errmsg(), why) && strstr(hone_errmsg(), "/bad: "), "refused: %s", why);
    if (!err || !strstr(hone_errmsg(), why)) printf("# %s\n", err ? hone_errmsg() : "taken");
    if (!err) hone_safetensors_close(&s);
}

#define A "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void check_reader(void)
{
    struct hone_safetensors s;
    const char *good = A ",\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]},"
                         "\"e\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[8,8]},"
                         "\"__metadata__\":{\"k\":\"v\"}}  ";
    put_file("good", strlen(good), good, 9);
    int err = hone_safetensors_open(&s, in_dir("good"));
    ok(!err && s.n == 3, "a file of another program is read");
    const struct hone_safetensor *b = err ? NULL : hone_safetensors_find(&s, "b");
    ok(b && b->rank == 0 && b->bytes == 1 && *(const unsigned char *)b->data == 8,
       "a scalar, in its place");
    ok(!err && !strcmp(hone_safetensors_text(&s, "k"), "v") && !hone_safetensors_text(&s, "l") &&
           !hone_safetensors_find(&s, "c"),
       "texts and names that are there and that are not");
    if (!err) hone_safetensors_close(&s);
    refused("8 bytes behind the last tensor", A "}", 16);
    refused("it ends at byte 8 of the numbers, and the file at 7", A "}", 7);
    refused("its shape needs 8 bytes, and its data_offsets hold 4",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4);
    refused("tensors 'a' and 'b' overlap",
            A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8);
    refused("bytes before tensor 'b' belong to none",
            A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16);
    refused("no dtype 'F31'", "{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            8);
    refused("more numbers than any file",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
            0);
    refused("no whole numbers", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}",
            8);
    refused("no whole numbers",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", 8);
    refused("two rising numbers",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8);
    refused("two rising numbers", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}",
            8);
    refused("expected dtype, shape and data_offsets", "{\"a\":[1,2]}", 0);
    refused("no list of at most 8",
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1);
    refused("duplicate",
            A ","
              "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
            8);
    refused("__metadata__ is no object", "{\"__metadata__\":3}", 0);
    refused("'k' is no text", "{\"__metadata__\":{\"k\":3}}", 0);
    refused("does not begin with '{'", "[1]", 0);
    refused("header, byte ", "{\"a\":", 0);
    put_file("bad", 1000, A "}", 8);
    err = hone_safetensors_open(&s, in_dir("bad"));
    ok(err && strstr(hone_errmsg(), "is cut off"), "a header longer than the file");
    put_file("bad", UINT64_MAX, A "}", 8);
    err = hone_safetensors_open(&s, in_dir("bad"));
    ok(err && strstr(hone_errmsg(), "a header of 18446744073709551615 bytes"),
       "a header longer than any");
    ok(hone_safetensors_open(&s, dir) && strstr(hone_errmsg(), "is no file"), "a directory");
    ok(hone_safetensors_open(&s, in_dir("none")) && strstr(hone_errmsg(), "No such file"),
       "a file that is not there");
}

/* ---- a net's weights ---- */

static const char *text = "input x c=3 h=6 w=6\nconv c1 = x k=5 r=3 act=relu\nmaxpool p = c1 r=2\n"
                          "flatten f = p\nfc y = f k=4\nsoftmax_ce l = y\n";

static int open_net(struct hone_net *net, struct hone_device *d, const char *file, const char *from,
                    uint64_t seed)
{
    struct hone_lowering how = { .batch = 2, .train = 1, .optim = hone_optim_default(HONE_ADAM) };
    int err = hone_net_parse(net, file, from, &how);
    if (!err) err = hone_net_assemble(net, NULL, d, NULL);
    return err ? err : hone_net_init(net, seed);
}

static void other(struct hone_device *d, const char *from, const char *why)
{
    struct hone_net net;
    int err = open_net(&net, d, "other.net", from, 3);
    char *before = malloc((size_t)net.weights_bytes);
    memcpy(before, net.weights, (size_t)net.weights_bytes);
    ok(!err && hone_weights_load(&net, in_dir("w")) && strstr(hone_errmsg(), why),
       "another net's: %s", why);
    if (!strstr(hone_errmsg(), why)) printf("# %s\n", hone_errmsg());
    ok(!memcmp(before, net.weights, (size_t)net.weights_bytes),
       "and the weights stay as they were");
    free(before);
    hone_net_close(&net);
}

/* Every byte of a file cut off in turn, and every byte of its header changed: an error, or the same
 * numbers. */
static void check_damage(struct hone_net *net)
{
    struct stat is;
    stat(in_dir("w"), &is);
    size_t size = (size_t)is.st_size;
    char *bytes = malloc(size);
    int taken = 0, wrong = 0;
    size_t header = 0;
    FILE *f = fopen(in_dir("w"), "r");
    size_t got = fread(bytes, 1, size, f);
    fclose(f);
    for (int i = 0; i < 8; i++) header |= (size_t)(unsigned char)bytes[i] << 8 * i;
    header += 8;
    for (size_t n = 0; got == size && n < size; n += n < 900 ? 7 : 41) {
        f = fopen(in_dir("cut"), "w");
        fwrite(bytes, 1, n, f);
        fclose(f);
        taken += !hone_weights_load(net, in_dir("cut"));
    }
    ok(got == size && !taken, "no file that is cut off is taken");
    char *want = malloc((size_t)net->weights_bytes);
    memcpy(want, net->weights, (size_t)net->weights_bytes);
    taken = 0;
    for (size_t n = 0; n < header; n += 3) {
        f = fopen(in_dir("cut"), "w");
        bytes[n] ^= 1;
        fwrite(bytes, 1, size, f);
        bytes[n] ^= 1;
        fclose(f);
        if (hone_weights_load(net, in_dir("cut"))) continue;
        taken++;
        wrong += memcmp(want, net->weights, (size_t)net->weights_bytes) != 0;
    }
    ok(!wrong, "a changed header gives an error or the same weights (%d taken)", taken);
    free(bytes);
    free(want);
}

static void check_weights(struct hone_device *d)
{
    struct hone_net net, twin;
    int err = open_net(&net, d, "a.net", text, 1);
    if (!err) err = open_net(&twin, d, "a.net", text, 2);
    ok(!err && memcmp(net.weights, twin.weights, (size_t)net.weights_bytes), "two nets differ");
    ok(!hone_weights_save(&net, NULL, in_dir("w")) && !hone_weights_load(&twin, in_dir("w")) &&
           !memcmp(net.weights, twin.weights, (size_t)net.weights_bytes),
       "weights come back bit by bit");
    ok(access(in_dir("w.part"), F_OK), "nothing else is left behind");
    struct hone_safetensors s;
    ok(!hone_safetensors_open(&s, in_dir("w")) && s.n == 4 &&
           hone_safetensors_find(&s, "c1.w")->rank == 4 &&
           !strcmp(hone_safetensors_text(&s, "layout.c1.w"), "oc,kh,kw,ic") &&
           !strcmp(hone_safetensors_text(&s, "layout.y.w"), "in,out"),
       "tensors have the net's names, and say their layout");
    ok(((char *)s.tensor[0].data - s.file) % 8 == 0, "numbers begin at a multiple of 8");
    hone_safetensors_close(&s);
    other(d, "input x c=3 h=6 w=6\nconv c1 = x k=6 r=3\nflatten f = c1\nfc y = f k=4\nmse l = y\n",
          "tensor 'c1.w' is F32 (5, 3, 3, 3), and that of net 'other' is F32 (6, 3, 3, 3)");
    other(d, "input x c=3 h=6 w=6\nconv c2 = x k=5 r=3\nflatten f = c2\nfc y = f k=4\nmse l = y\n",
          "has no tensor 'c2.w' F32 (5, 3, 3, 3) of net 'other'");
    other(d, "input x c=3 h=6 w=6\nconv c1 = x k=5 r=3\nflatten f = c1\nmse l = f\n",
          "tensor 'y.w' is none of net 'other'");
    check_damage(&twin);
    ((float *)net.weights)[1] = NAN;
    ok(hone_weights_save(&net, NULL, in_dir("w")) &&
           strstr(hone_errmsg(), "'c1.w' holds a number that"),
       "weights that are not finite are not written");
    ok(!hone_weights_load(&net, in_dir("w")) &&
           !memcmp(net.weights, twin.weights, (size_t)net.weights_bytes),
       "and what was there stays");
    hone_net_close(&net);
    hone_net_close(&twin);
}

static void check_formats(struct hone_device *d)
{
    struct hone_net net;
    int err = open_net(&net, d, "a.net", "input x c=2\nfc y = x k=1 bias=0\nmse l = y\n", 1);
    const char *tensor = "\"y.w\":{\"dtype\":\"F64\",\"shape\":[2,1],\"data_offsets\":[0,16]}";
    const char *texts[] = { "{%s}", "{\"__metadata__\":{\"format\":\"pt\"},%s}",
                            "{\"__metadata__\":{\"format\":\"hone.weights\"},%s}",
                            "{\"__metadata__\":{\"format\":\"hone.weights\",\"layout.y.w\":"
                            "\"out,in\"},%s}",
                            "{\"__metadata__\":{\"format\":\"hone.weights\",\"layout.y.w\":"
                            "\"in,out\"},%s}" };
    const char *why[] = { "do not say 'format'", "do not say 'format'",
                          "say of 'layout.y.w' nothing", "'out,in'; Hone reads layout 'in,out'",
                          NULL };
    for (int i = 0; i < 5; i++) {
        char header[512];
        snprintf(header, sizeof header, texts[i], tensor);
        put_file("f64", strlen(header), header, 16);
        int bad = hone_weights_load(&net, in_dir("f64"));
        ok(!err && !bad == !why[i] && (!bad || strstr(hone_errmsg(), why[i])), "%s",
           why[i] ? why[i] : "doubles of another program, with format and layout, are taken");
        if (bad && (!why[i] || !strstr(hone_errmsg(), why[i]))) printf("# %s\n", hone_errmsg());
    }
    hone_net_close(&net);
}

/* ---- files that cannot be written ---- */

static void check_places(struct hone_device *d)
{
    struct hone_net net;
    struct hone_replacement r;
    int err = open_net(&net, d, "a.net", text, 1);
    ok(!err && hone_weights_save(&net, NULL, in_dir("none/w")) &&
           strstr(hone_errmsg(), "No such file"),
       "a directory that is not there");
    ok(hone_weights_save(&net, NULL, dir) && strstr(hone_errmsg(), "is no file"),
       "a directory is no file");
    ok(hone_weights_save(&net, NULL, "/dev/null") && strstr(hone_errmsg(), "is no file"),
       "nor is a device, and it stays one");
    err = hone_replacement_open(&r, in_dir("twice"));
    ok(!err && hone_weights_save(&net, NULL, in_dir("twice")) &&
           strstr(hone_errmsg(), "another process is writing it"),
       "two writers: the second is told");
    ok(!access(in_dir("twice.part"), F_OK), "and the first one's part stays");
    err = hone_replacement_write(&r, "abc", 3);
    if (!err) err = hone_replacement_close(&r, 1);
    struct stat is;
    ok(!err && !stat(in_dir("twice"), &is) && is.st_size == 3, "so that it can finish");
    FILE *junk = fopen(in_dir("w.part"), "w");
    for (int i = 0; i < 100000; i++) fputc('x', junk);
    fclose(junk);
    struct hone_safetensors s;
    ok(!hone_weights_save(&net, NULL, in_dir("w")) && !hone_safetensors_open(&s, in_dir("w")),
       "the part that a killed process left is written over");
    hone_safetensors_close(&s);
    hone_net_close(&net);
}

int main(void)
{
    struct hone_device d;
    char rm[64];
    if (!mkdtemp(dir) || hone_device_open(&d, "cpu0")) return 1;
    check_reader();
    check_weights(&d);
    check_formats(&d);
    check_places(&d);
    hone_device_close(&d);
    snprintf(rm, sizeof rm, "rm -r %s", dir);
    ok(!system(rm), "nothing stays in the directory");
    return tap_end();
}
