/* Data by name and path: CSV files good and bad, the known sets where they are present, where they
 * are searched for, and mutations of CSV files. */
#include "tests/data_files.h"

/* ---- CSV ---- */

struct good_csv {
    const char *what, *target, *text;
    int rows, c, classes;
    float x[8];
    float y[4];                       /* or labels */
    const char *feature, *class_name; /* joined by '|' */
};

static void join(char *to, size_t size, char (*from)[HONE_NAME], int n)
{
    size_t len = 0;
    to[0] = 0;
    for (int i = 0; from && i < n && len < size; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%s", i ? "|" : "", from[i]);
}

static void check_csv_good(void)
{
    static const struct good_csv table[] = {
        { "header",
          NULL,
          "a,b,y\n1,2,3\n4,5.5,-6e1\n",
          2,
          2,
          0,
          { 1, 2, 4, 5.5f },
          { 3, -60 },
          "a|b",
          "" },
        { "no header", NULL, "1,2,3\n4,5,6\n", 2, 2, 0, { 1, 2, 4, 5 }, { 3, 6 }, "", "" },
        { "no newline at the end",
          NULL,
          "1,2,3\n4,5,6",
          2,
          2,
          0,
          { 1, 2, 4, 5 },
          { 3, 6 },
          "",
          "" },
        { "one row", NULL, "1,2,3", 1, 2, 0, { 1, 2 }, { 3 }, "", "" },
        { "CRLF, blank lines, blanks around fields",
          NULL,
          "\r\na , b,y\r\n1, 2 ,3\r\n\r\n  \r\n4,5,6\r\n\r\n",
          2,
          2,
          0,
          { 1, 2, 4, 5 },
          { 3, 6 },
          "a|b",
          "" },
        { "byte-order mark",
          NULL,
          "\xef\xbb\xbf"
          "a,y\n1,2\n",
          1,
          1,
          0,
          { 1 },
          { 2 },
          "a",
          "" },
        { "semicolons", NULL, "a;b;y\n1;2;3\n", 1, 2, 0, { 1, 2 }, { 3 }, "a|b", "" },
        { "semicolons, a comma in a name",
          NULL,
          "a, b;y\n1;3\n",
          1,
          1,
          0,
          { 1 },
          { 3 },
          "a, b",
          "" },
        { "tabs", NULL, "1\t2\t3\n4\t5\t6\n", 2, 2, 0, { 1, 2, 4, 5 }, { 3, 6 }, "", "" },
        { "quotes",
          NULL,
          "\"a,\"\"1\"\"\",\"b\nc\" ,y\n\"1\",2,\"3\"\n",
          1,
          2,
          0,
          { 1, 2 },
          { 3 },
          "a,\"1\"|b?c",
          "" },
        { "a header without its first name",
          NULL,
          ",b,y\n0,2,3\n",
          1,
          2,
          0,
          { 0, 2 },
          { 3 },
          "|b",
          "" },
        { "target by name", "b", "a,b,y\n1,2,3\n", 1, 2, 0, { 1, 3 }, { 2 }, "a|y", "" },
        { "target by number", "1", "a,b,y\n1,2,3\n", 1, 2, 0, { 2, 3 }, { 1 }, "b|y", "" },
        { "target by number, no header",
          "2",
          "1,2,3\n4,5,6\n",
          2,
          2,
          0,
          { 1, 3, 4, 6 },
          { 2, 5 },
          "",
          "" },
        { "a name that is a number", "3", "3,b,y\n1,2,9\n", 1, 2, 0, { 2, 9 }, { 1 }, "b|y", "" },
        { "classes first, no header",
          NULL,
          "T,2,8\nI,5,12\nA,1,1\nT,0,0\n",
          4,
          2,
          3,
          { 2, 8, 5, 12, 1, 1, 0, 0 },
          { 2, 1, 0, 2 },
          "",
          "A|I|T" },
        { "classes last, header",
          NULL,
          "a,kind\n1,x\n2,w\n",
          2,
          1,
          2,
          { 1, 2 },
          { 1, 0 },
          "a",
          "w|x" },
        { "classes by name, in the middle",
          "kind",
          "a,kind,b\n1,x,2\n3,y,4\n",
          2,
          2,
          2,
          { 1, 2, 3, 4 },
          { 0, 1 },
          "a|b",
          "x|y" },
        { "classes by number, no header",
          "2",
          "1,x,2\n3,y,4\n",
          2,
          2,
          2,
          { 1, 2, 3, 4 },
          { 0, 1 },
          "",
          "x|y" },
        { "numbers as classes",
          "class:",
          "a,y\n1,10\n2,9\n3,10\n4,2\n",
          4,
          1,
          3,
          { 1, 2, 3, 4 },
          { 2, 1, 2, 0 },
          "a",
          "2|9|10" },
        { "numbers as classes, by name",
          "class:a",
          "a,y\n0,5\n1,6\n",
          2,
          1,
          2,
          { 5, 6 },
          { 0, 1 },
          "y",
          "0|1" },
        { "numbers before words",
          "class:1",
          "x,1\n10,1\n9,2\n",
          3,
          1,
          3,
          { 1, 1, 2 },
          { 2, 1, 0 },
          "",
          "9|10|x" },
        { "quoted classes that are missing elsewhere",
          "2",
          "1,\"no, none\"\n2,yes\n",
          2,
          1,
          2,
          { 1, 2 },
          { 0, 1 },
          "",
          "no, none|yes" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct good_csv *t = &table[i];
        struct hone_data d, test;
        char features[200], classes[200];
        put_text(in("good.csv"), t->text);
        int good = opened(&d, &test, in("good.csv"), t->target) && d.rows == t->rows && d.h == 1 &&
                   d.w == 1 && d.c == t->c && d.classes == t->classes && d.outputs == !t->classes &&
                   !test.rows;
        good = good && same_floats(d.x, t->x, d.rows * d.c);
        for (int r = 0; good && r < t->rows; r++)
            good = t->classes ? d.label[r] == (int)t->y[r] : d.y[r] == t->y[r];
        join(features, sizeof features, d.feature, d.c);
        join(classes, sizeof classes, d.class_name, d.classes);
        good = good && !strcmp(features, t->feature) && !strcmp(classes, t->class_name);
        if (!ok(good, "csv: %s", t->what))
            printf("# %lld rows, %d features %s, %d classes %s\n", (long long)d.rows, d.c, features,
                   d.classes, classes);
        hone_data_close(&d);
        hone_data_close(&test);
    }
}

static void check_csv_bad(void)
{
    static const struct {
        const char *what, *target, *text, *message;
    } table[] = {
        { "empty file", NULL, "", "FILE: the file is empty" },
        { "blank lines only", NULL, "\n \r\n\t\n", "FILE: the file has no rows" },
        { "byte-order mark only", NULL, "\xef\xbb\xbf", "FILE: the file has no rows" },
        { "header only", NULL, "a,b,y\n", "FILE: there are no rows after the header" },
        { "one column", NULL, "y\n1\n",
          "FILE:1: one column only: no comma, semicolon or tab parts a target from features" },
        { "missing value", NULL, "a,b,y\n1,2,3\n4,,6\n",
          "FILE:3: column 2 'b': the value is missing" },
        { "missing value, no header", NULL, "1,2,3\n4,NA,6\n",
          "FILE:2: column 2: the value is missing" },
        { "missing value in the first row", NULL, "?,2,3\n4,5,6\n",
          "FILE:1: column 1: the value is missing" },
        { "missing target", NULL, "a,b,y\n1,2,3\n4,5,\n",
          "FILE:3: column 3 'y': the value is missing" },
        { "missing class", NULL, "a,y\n1,x\n2,\n", "FILE:3: column 2 'y': the class is missing" },
        { "word among numbers", NULL, "a,b,y\n1,2,3\n\n4,five,6\n",
          "FILE:4: column 2 'b': 'five' is not a number" },
        { "word among targets", NULL, "a,b,y\n1,2,3\n4,5,six\n",
          "FILE:3: column 3 'y': 'six' is not a number" },
        { "control characters", NULL, "1,2\n3,\"\x1b[1m\n\x7f\"\n",
          "FILE:2: column 2: '?[1m?\?' is not a number" },
        { "a long word", NULL, "1,2\n3,0123456789012345678901234567890123456789x\n",
          "FILE:2: column 2: '0123456789012345678901234567890' is not a number" },
        { "two columns of words", NULL, "1,x,3\n4,y,z\n", "FILE:2: column 3: 'z' is not a number" },
        { "hexadecimal", NULL, "1,2\n3,0x10\n", "FILE:2: column 2: '0x10' is not a number" },
        { "infinity", NULL, "1,2\n3,inf\n", "FILE:2: column 2: 'inf' is not a number" },
        { "two points", NULL, "1,2\n3,1.2.3\n", "FILE:2: column 2: '1.2.3' is not a number" },
        { "too large for f32", NULL, "1,2\n3,1e39\n",
          "FILE:2: column 2: '1e39' is too large for f32" },
        { "too large for f64", NULL, "1,2\n3,-1e999\n",
          "FILE:2: column 2: '-1e999' is too large for f32" },
        { "short row", NULL, "a,b,y\n1,2,3\n4,5\n",
          "FILE:3: column 3 'y': missing: the row ends after 2 of 3 fields" },
        { "short row, no header", NULL, "1,2,3\n4\n",
          "FILE:2: column 2: missing: the row ends after 1 of 3 fields" },
        { "long row", NULL, "1,2,3\n4,5,6,7\n", "FILE:2: 4 fields, but the first line has 3" },
        { "short row after the header", NULL, "a,b,y\n1,2\n",
          "FILE:2: column 3 'y': missing: the row ends after 2 of 3 fields" },
        { "line numbers after a quoted line break", NULL, "\"a\nb\",y\n1,2\n3,x\n",
          "FILE:4: column 2 'y': 'x' is not a number" },
        { "open quote", NULL, "1,2\n\"3,4\n5,6\n", "FILE:2: column 1: this quote is never closed" },
        { "text after a quote", NULL, "1,2\n3,\"4\"5\n",
          "FILE:2: column 2: text after the closing quote" },
        { "no such column", "z", "a,b,y\n1,2,3\n", "FILE:1: no column 'z' among a, b, y" },
        { "no such column number", "4", "a,b,y\n1,2,3\n", "FILE: no column 4: there are 3" },
        { "column 0", "0", "1,2,3\n", "FILE: no column 0: there are 3" },
        { "column 1.5", "1.5", "1,2,3\n", "FILE: no column 1.5: there are 3" },
        { "a name without a header", "price", "1,2,3\n",
          "FILE: no column 'price': there is no header; use a number from 1 to 3" },
        { "one class", NULL, "1,x\n2,x\n", "FILE: all rows are of one class" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        put_text(in("bad.csv"), table[i].text);
        bad(table[i].what, in("bad.csv"), table[i].target, in("bad.csv"), table[i].message);
    }
    put(in("bad.csv"), "1,2\n3,\0004\n", 9);
    bad("NUL", in("bad.csv"), NULL, in("bad.csv"), "FILE: byte 6 is NUL: this is not a text file");
    static struct bytes s = { .n = 8, .b = "1,2\n3,4\n" }, z;
    gzip(&s, &z);
    put(in("bad.csv.gz"), z.b, z.n - 3);
    char message[100];
    snprintf(message, sizeof message, "FILE: the gzip data is cut off at compressed byte %zu",
             z.n - 3);
    bad("csv.gz cut", in("bad.csv.gz"), NULL, in("bad.csv.gz"), message);
}

/* More text than one buffer holds, and more rows than the first allocation. */
static void check_csv_long(void)
{
    enum { N = 30000 };
    struct hone_data d, test;
    FILE *f = fopen(in("long.csv"), "w");
    for (int i = 0; f && i < N; i++) fprintf(f, "%d,%d.25,%s\n", i, i * 3, i % 7 ? "x" : "seventh");
    if (f) fclose(f);
    int good = opened(&d, &test, in("long.csv"), NULL) && d.rows == N && d.c == 2 && d.classes == 2;
    for (int i = 0; good && i < N; i++)
        good = d.x[2 * i] == (float)i && d.x[2 * i + 1] == (float)i * 3 + 0.25f &&
               d.label[i] == (i % 7 != 0);
    ok(good, "csv: %d rows", N);
    hone_data_close(&d);
}

/* ---- known names and paths ---- */

static void check_names(void)
{
    struct hone_data d, test;
    char want[2000], cwd[400];
    mkdir(in("here"), 0700);
    if (!getcwd(cwd, sizeof cwd) || chdir(in("here"))) {
        ok(0, "chdir");
        return;
    }
    setenv("HONE_DATA", in("place"), 1);
    setenv("XDG_DATA_HOME", in("xdg"), 1);
    setenv("HOME", in("home"), 1);
    snprintf(
        want, sizeof want,
        "data set 'housing' is in none of %s/place/cal_housing, %s/place/housing, "
        "%s/xdg/hone/cal_housing, "
        "%s/xdg/hone/housing, %s/home/.local/share/hone/cal_housing, "
        "%s/home/.local/share/hone/housing, "
        "/usr/share/datasets/cal_housing, /usr/share/datasets/housing, ../shared/data/cal_housing, "
        "../shared/data/housing; set HONE_DATA to the place that has it",
        tmp, tmp, tmp, tmp, tmp, tmp);
    bad("a known set that is nowhere", "housing", NULL, "", want);
    bad("no such set", "nist", NULL, "",
        "'nist' is no file, directory or known data set; `hone data` lists those");
    bad("a target for a known set", "housing", "9", "",
        "'housing' has its own target: a target column is for CSV files");

    mkdir(in("place"), 0700);
    mkdir(in("place/cal_housing"), 0700);
    static const char *const rows = "-122.23,37.88,41,880,129,322,126,8.3252,452600\n-122.22,37.86,"
                                    "21,7099,1106,2401,1138,8.3014,358500\n";
    static const float x[] = { 8.3252f, 41,           880 / 126.0f, 129 / 126.0f,
                               322,     322 / 126.0f, 37.88f,       -122.23f };
    put_text(in("place/cal_housing/cal_housing.data"), rows);
    for (int i = 0; i < 3; i++) {
        const char *data = i == 0   ? "housing"
                           : i == 1 ? in("place/cal_housing")
                                    : in("place/cal_housing/cal_housing.data");
        int good = opened(&d, &test, data, NULL) && d.rows == 2 && d.c == 8 && d.outputs == 1 &&
                   same_floats(d.x, x, 8) && d.y[0] == 4.526f && d.y[1] == 3.585f &&
                   !strcmp(d.feature[2], "AveRooms");
        ok(good, "housing by %s", i == 0 ? "name" : i == 1 ? "directory" : "file");
        hone_data_close(&d);
    }
    ok(opened(&d, &test, in("place/cal_housing/cal_housing.data"), "1") && d.c == 8 &&
           d.y[0] == -122.23f && !d.feature,
       "cal_housing.data with another target is a plain CSV file");
    hone_data_close(&d);
    put_text(in("place/cal_housing/cal_housing.data"), "1,2,3,4,5,6,0,8,9\n");
    bad("no households", "housing", NULL, in("place/cal_housing/cal_housing.data"),
        "FILE: row 1: column 7: there must be households");
    put_text(in("place/cal_housing/cal_housing.data"), "1,2,3,4,5,6,7,8,9,10\n");
    bad("housing with ten columns", "housing", NULL, in("place/cal_housing/cal_housing.data"),
        "FILE: 9 features, but data set 'housing' has 8");
    mkdir(in("place/letter"), 0700);
    put_text(in("place/letter/letter-recognition.data"),
             "T,2,8,3,5,1,8,13,0,6,6,10,8,0,8,0,8\nI,5,12,3,7,2,10,5,5,4,13,3,9,2,8,4,10\n");
    bad("two letters", "letter", NULL, in("place/letter/letter-recognition.data"),
        "FILE: 2 classes, but data set 'letter' has 26");
    write_set("place/mnist", 0);
    bad("small pictures as MNIST", "mnist", NULL, in("place/mnist"),
        "FILE: 12 features, but data set 'mnist' has 784");
    static struct bytes s;
    make_labels(&s, ROWS);
    s.b[12] = 10;
    put(in("place/mnist/%s", idx_name[1]), s.b, s.n);
    bad("a digit 10 in MNIST", "mnist", NULL, in("place/mnist/%s", idx_name[1]),
        "FILE: byte 12: label 10 of row 4, but the classes are 0..9");
    ok(!chdir(cwd), "back to the test's directory");
}

/* ---- real sets ---- */

/* crc: of pixels (features) and labels of training and test rows, computed by another program. */
static void check_real(const char *name, int64_t train_rows, int64_t test_rows, int h, int c,
                       int classes, double factor, const uint32_t crc[4])
{
    struct hone_data train, test;
    if (hone_data_open(&train, &test, name, NULL)) {
        skip(hone_errmsg(), "real: %s", name);
        return;
    }
    ok(train.rows == train_rows && test.rows == test_rows && train.h == h && train.w == h &&
           train.c == c && train.classes == classes,
       "real: %s: rows and shape", name);
    uint32_t got[4] = { crc_of(&train, factor), crc_of_labels(&train),
                        test_rows ? crc_of(&test, factor) : 0,
                        test_rows ? crc_of_labels(&test) : 0 };
    if (!ok(!memcmp(got, crc, sizeof got), "real: %s: check sums", name))
        printf("# %08x %08x %08x %08x\n", got[0], got[1], got[2], got[3]);
    hone_data_close(&train);
    hone_data_close(&test);
}

static void check_housing(void)
{
    struct hone_data d, test;
    if (hone_data_open(&d, &test, "housing", NULL)) {
        skip(hone_errmsg(), "real: housing");
        return;
    }
    static const float first[8] = { 8.3252f, 41,          6.98412698f, 1.02380952f,
                                    322,     2.55555556f, 37.88f,      -122.23f };
    double sum = 0;
    for (int64_t i = 0; i < d.rows; i++) sum += d.y[i];
    ok(d.rows == 20640 && d.c == 8 && d.outputs == 1 && !d.classes && same_floats(d.x, first, 8) &&
           d.y[0] == 4.526f,
       "real: housing: rows, shape, first row");
    ok(fabs(sum / 20640 - 2.06855817) < 1e-6, "real: housing: mean of the target");
    hone_data_close(&d);
}

/* The known sets' own places, and here the project's shared folder, which stands beside its
 * sources. */
static void check_real_sets(void)
{
    static const uint32_t fashion[4] = { 0xae65dccd, 0x2ed6e46a, 0x12728439, 0x242bc73f };
    static const uint32_t mnist[4] = { 0xf3639b56, 0xba07e8ef, 0xe4ca5f57, 0xee8604d9 };
    static const uint32_t letter[4] = { 0x5590f5dd, 0x90d9c382, 0, 0 };
    char shared[512];
    struct stat st;
    snprintf(shared, sizeof shared, "%s/../shared/data", getenv("srcdir") ? getenv("srcdir") : ".");
    if (!getenv("HONE_DATA") && !stat(shared, &st)) setenv("HONE_DATA", shared, 1);
    check_real("fashion-mnist", 60000, 10000, 28, 1, 10, 255, fashion);
    check_real("mnist", 60000, 10000, 28, 1, 10, 255, mnist);
    check_real("letter", 20000, 0, 1, 16, 26, 1, letter);
    check_housing();
}

/* ---- mutations ---- */

static void check_mutations(void)
{
    static struct bytes s, z;
    static const char *const text[] = {
        "a,\"b, \"\"c\"\"\",kind\n1,2.5,x\n-3e2,\"4\",y\n5,6,\"x\"\n",
        "1;2;3\r\n4;5;6\r\n\r\n7;8;9",
        "T,2,8,3\nI,5,12,3\nD,4,11,6\nN,7,11,6\n",
    };
    for (int i = 0; i < 3; i++) {
        s.n = strlen(text[i]);
        memcpy(s.b, text[i], s.n);
        fuzz("a CSV file", in("fuzz.csv"), in("fuzz.csv"), &s, (uint64_t)(20 + i));
    }
    gzip(&s, &z);
    fuzz("a CSV file in gzip", in("fuzz.csv.gz"), in("fuzz.csv.gz"), &z, 23);
}

int main(void)
{
    if (!files_begin()) return 1;
    check_real_sets();
    check_csv_good();
    check_csv_bad();
    check_csv_long();
    check_names();
    check_mutations();
    return files_end();
}
