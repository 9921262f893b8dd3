/* Wisdom: records that are shipped with the program, so that a machine which has measured nothing
 * starts with what the nearest one found.  They are export's JSON Lines in a directory:
 * $HONE_WISDOM, else `wisdom` among the program's data, else what lies beside the program.  It is
 * read when the first problem without a record of its own is met.
 *
 * A record of a kernel whose source has changed since is a hint: its config may still be good, but
 * it is used only where it is valid and has been proven anew. */
#include "config.h"

#include "autotune/db.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct hone_wisdom {
    int n, room;
    struct hone_record *r;
};

/* ---- reading ---- */

static int keep(struct hone_wisdom *w, const struct hone_record *r)
{
    if (w->n == w->room) {
        int room = 2 * w->room + 64;
        struct hone_record *more = realloc(w->r, (size_t)room * sizeof *more);
        if (!more) return hone_fail(HONE_ENOMEM, "%d records", room);
        w->r = more;
        w->room = room;
    }
    w->r[w->n++] = *r;
    return HONE_OK;
}

/* A bad line is nobody's wisdom: it is left out. */
static void read_file(struct hone_wisdom *w, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    FILE *f = fopen(path, "r");
    while (f && (len = getline(&line, &room, f)) > 0) {
        struct hone_record r;
        json_t *j = json_loadb(line, (size_t)len, 0, NULL);
        const char *type = json_string_value(json_object_get(j, "type"));
        if (type && !strcmp(type, "record") && !hone_record_read(j, &r) && r.status == HONE_TIMED)
            keep(w, &r);
        json_decref(j);
    }
    free(line);
    if (f) fclose(f);
}

static int is_jsonl(const struct dirent *e)
{
    const char *end = strrchr(e->d_name, '.');
    return end && !strcmp(end, ".jsonl");
}

/* Beside the program, where it runs from its build folder or was copied with its records. */
static int find_beside(char path[1024])
{
    static const char *const places[] = { "wisdom", "results/wisdom", "../results/wisdom",
                                          "../share/hone/wisdom" };
    char self[512];
    struct stat st;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (!slash) return 0;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, 1024, "%s/%s", self, places[i]);
        if (!stat(path, &st) && S_ISDIR(st.st_mode)) return 1;
    }
    return 0;
}

static struct hone_wisdom *load(void)
{
    const char *place = getenv("HONE_WISDOM");
    struct hone_wisdom *w = calloc(1, sizeof *w);
    struct dirent **entry;
    struct stat st;
    char path[2048], beside[1024];
    if (!place) place = hone_wisdom_dir;
    if (place == hone_wisdom_dir && stat(place, &st) && find_beside(beside)) place = beside;
    if (!w || !place[0] || stat(place, &st)) return w;
    if (!S_ISDIR(st.st_mode)) { read_file(w, place); return w; }
    int n = scandir(place, &entry, is_jsonl, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", place, entry[i]->d_name);
        read_file(w, path);
        free(entry[i]);
    }
    if (n >= 0) free(entry);
    return w;
}

void hone_wisdom_close(struct hone_wisdom *w)
{
    if (w) free(w->r);
    free(w);
}

/* ---- how near a device is ---- */

struct traits {
    char backend[16], model[96], isa[16];
    double cores, l2, l3;
};

/* "cpu:Intel Xeon Processor:6.85.7:avx512:2cores:l2=1024k:l3=36608k", from its end. */
static int traits_of(const char *id, struct traits *t)
{
    char text[192], *field[6], *at;
    snprintf(text, sizeof text, "%s", id);
    memset(t, 0, sizeof *t);
    for (int i = 0; i < 5; i++) {
        if (!(at = strrchr(text, ':'))) return 0;
        field[i] = at + 1;
        *at = 0;
    }
    snprintf(t->backend, sizeof t->backend, "%.*s", (int)strcspn(text, ":"), text);
    snprintf(t->model, sizeof t->model, "%.90s", text);
    snprintf(t->isa, sizeof t->isa, "%.15s", field[3]);
    return sscanf(field[2], "%lfcores", &t->cores) == 1 &&
           sscanf(field[1], "l2=%lfk", &t->l2) == 1 && sscanf(field[0], "l3=%lfk", &t->l3) == 1;
}

static double octaves(double a, double b) { return fabs(log2((a + 1) / (b + 1))); }

double hone_wisdom_distance(const char *a, const char *b)
{
    struct traits s, t;
    if (!strcmp(a, b)) return 0;
    if (!traits_of(a, &s) || !traits_of(b, &t) || strcmp(s.backend, t.backend)) return INFINITY;
    return 4 * (strcmp(s.isa, t.isa) != 0) + octaves(s.cores, t.cores) + 0.5 * octaves(s.l2, t.l2) +
           0.25 * octaves(s.l3, t.l3) + 0.25 * (strcmp(s.model, t.model) != 0) + 0.01;
}

/* ---- choosing ---- */

static const char *source_of(const char *version)
{
    const char *last = strrchr(version, ' ');
    return last ? last + 1 : version;
}

/* The record's kernel and config where they are possible here; *hint: its source is another. */
static const struct hone_kernel *fits(const struct hone_db *db, const struct hone_record *r,
                                      const struct hone_problem *p, const struct hone_device *d,
                                      struct hone_config *c, int *hint)
{
    char version[HONE_TEXT];
    const struct hone_kernel *k = hone_kernel_find(p->op, r->kernel);
    if (!k || k->slow || (db->builds && !(db->builds >> k->build & 1))) return NULL;
    if (hone_kernel_refuse(k, p, d)) return NULL;
    hone_config_guess(k, p, d, c);
    if (hone_config_parse(k, r->config, c) || !hone_config_valid(k, p, c, d)) return NULL;
    hone_kernel_version(k, version);
    *hint = k->build == HONE_LIB ? strcmp(version, r->version) != 0
                                 : strcmp(source_of(version), source_of(r->version)) != 0;
    return k;
}

int hone_wisdom_plan(struct hone_plan *plan, struct hone_db *db, const struct hone_problem *p,
                     struct hone_device *d, int hints, char from[192])
{
    const struct hone_kernel *best = NULL;
    struct hone_config config = { 0 };
    char text[HONE_TEXT];
    double least = INFINITY, ms = 0;
    int is_hint = 0;
    from[0] = 0;
    if (!db || !db->path[0]) return HONE_EREFUSED;
    if (!db->wisdom && !(db->wisdom = load())) return HONE_EREFUSED;
    hone_problem_print(p, text);
    for (int i = 0; i < db->wisdom->n; i++) {
        const struct hone_record *r = &db->wisdom->r[i];
        struct hone_config c;
        int hint = 0;
        if (strcmp(r->problem, text)) continue;
        const struct hone_kernel *k = fits(db, r, p, d, &c, &hint);
        const double far = hone_wisdom_distance(r->device, d->id) + (hint ? 100 : 0);
        if (!k || (hint && !hints) || !(far < least || (far == least && r->ms_median < ms)))
            continue;
        best = k;
        config = c;
        least = far;
        ms = r->ms_median;
        is_hint = hint;
        snprintf(from, 192, "%s", r->device);
    }
    int err = best ? hone_plan_open(plan, p, best, &config, d) : HONE_EREFUSED;
    if (!err && is_hint && (err = hone_verify(plan, 1, NULL))) hone_plan_close(plan);
    if (err) from[0] = 0;
    return err;
}
