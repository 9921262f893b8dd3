/* Why this kernel, how near the roof, and who else could not be chosen. */
#include "results/profile.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 512 };

/* Below this a call and a fork of threads weigh as much as the work. */
static const double OVERHEAD_MS = 0.005;

/* The records that choices are made from: the chosen one, the best of another kernel, the best
 * library's. */
int hone_profile_look_up(struct hone_profile *prof, struct hone_db *db, const struct hone_device *d)
{
    struct hone_record *best = malloc(sizeof *best * MAX_RECORDS);
    int n = 0;
    if (!best) return hone_fail(HONE_ENOMEM, "%d records", MAX_RECORDS);
    for (int s = 0; n >= 0 && db->sql && s < prof->net->nsteps; s++) {
        struct hone_profile_row *row = &prof->row[s];
        struct hone_podium podium;
        n = hone_db_best(db, &prof->net->step[s].problem, d, best, MAX_RECORDS);
        row->ncandidates = n > 0 ? n : 0;
        if (n > 0) n = hone_db_podium(db, &prof->net->step[s].problem, d, &podium);
        if (n < 0 || !row->ncandidates) continue;
        row->best = podium.best;
        row->runner_up = podium.runner_up;
        row->library = podium.library;
    }
    free(best);
    return n < 0 ? n : HONE_OK;
}

/* Only if the plan is what the records call best do their ratios belong to it. */
static void forget_unused(struct hone_profile_row *row, const struct hone_step *s)
{
    if (s->known) return;
    row->ncandidates = 0;
    row->best = row->runner_up = row->library = (struct hone_record){ .id = 0 };
}

static void place_under_roof(struct hone_profile *prof, int s)
{
    const struct hone_step *step = &prof->net->step[s];
    struct hone_profile_row *row = &prof->row[s];
    row->threads = hone_config_get(step->plan.kernel, &step->plan.config, "threads", 1);
    row->flops = step->problem.op->flops(&step->problem);
    row->bytes = hone_problem_bytes(&step->problem);
    row->roof_ms =
        1e3 * hone_roof(&step->problem, prof->net->device, &prof->peaks, row->threads, &row->bound);
    if (prof->peaks.flops_all[HONE_F32] <= 0) row->bound = "n/a";
    else if (row->ms.median < OVERHEAD_MS && row->roof_ms < row->ms.median / 2)
        row->bound = "overhead";
}

/* ---- who could not be chosen ---- */

/* The length of a kernel's name without what it was compiled for: "cpu_direct" of
 * "cpu_direct_avx512_f64". */
static size_t stem(const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < HONE_NISAS; i++) {
        const char *isa = hone_isa_name((enum hone_isa)i), *at = strstr(name, isa);
        if (at > name && at[-1] == '_' && (size_t)(at - 1 - name) < len)
            len = (size_t)(at - 1 - name);
    }
    return len;
}

/* Does a build of the same kernel for another instruction set accept the problem, or stand in the
 * list? */
static int is_covered(const struct hone_profile_row *row, const struct hone_kernel *k,
                      const struct hone_problem *p, const struct hone_device *d)
{
    size_t len = stem(k->name);
    for (int i = 0; i < row->nrefusals; i++)
        if (stem(row->refusal[i].kernel) == len && !memcmp(row->refusal[i].kernel, k->name, len))
            return 1;
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *o = hone_kernels[i];
        if (stem(o->name) == len && !memcmp(o->name, k->name, len) && hone_kernel_does(o, p->op) &&
            !hone_kernel_refuse(o, p, d))
            return 1;
    }
    return 0;
}

/* Is a build of the kernel chosen for the same op elsewhere in the net? */
static int is_chosen(const struct hone_net *net, const struct hone_op *op, const char *kernel)
{
    size_t len = stem(kernel);
    for (int s = 0; s < net->nsteps; s++) {
        const char *name = net->step[s].plan.kernel->name;
        if (net->step[s].problem.op == op && stem(name) == len && !memcmp(name, kernel, len))
            return 1;
    }
    return 0;
}

/* Heavier ones first; of equal ones the earlier. */
static void refuse(struct hone_profile_row *row, const char *kernel, const char *why, int weight)
{
    int at = row->nrefusals;
    while (at && row->refusal[at - 1].weight < weight) at--;
    if (at == HONE_MAX_REFUSALS) return;
    if (row->nrefusals < HONE_MAX_REFUSALS) row->nrefusals++;
    memmove(&row->refusal[at + 1], &row->refusal[at],
            (size_t)(row->nrefusals - at - 1) * sizeof *row->refusal);
    struct hone_refusal *r = &row->refusal[at];
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel);
    snprintf(r->why, sizeof r->why, "%s", why);
    r->weight = weight;
}

/* What an option forbids the user can allow; a kernel that is good elsewhere might be here. */
static void ask_kernels(struct hone_profile_row *row, const struct hone_net *net,
                        const struct hone_problem *p)
{
    const struct hone_device *d = net->device;
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        if (k->slow || k->backend != d->backend || !hone_kernel_does(k, p->op)) continue;
        if (k->dtypes && !(k->dtypes >> p->dtype & 1)) continue;
        const char *why = hone_kernel_refuse(k, p, d);
        if (!why || is_covered(row, k, p, d)) continue;
        refuse(row, k->name, why, strstr(why, "--") ? 2 : is_chosen(net, p->op, k->name));
    }
}

/* Records of this program's kernels that were wrong, or failed. */
struct faults {
    struct hone_profile_row *row;
    const struct hone_op *op;
};

static int see_record(void *ctx, const struct hone_record *r)
{
    struct faults *f = ctx;
    char version[HONE_TEXT], why[256];
    const struct hone_kernel *k = hone_kernel_find(f->op, r->kernel);
    if (!k || (r->status != HONE_WRONG && r->status != HONE_FAILED)) return 0;
    hone_kernel_version(k, version);
    if (strcmp(version, r->version)) return 0;
    for (int i = 0; i < f->row->nrefusals; i++)
        if (!strcmp(f->row->refusal[i].kernel, r->kernel)) return 0;
    snprintf(why, sizeof why, "%s: %.180s", hone_status_name(r->status), r->why);
    refuse(f->row, r->kernel, why, 1);
    return f->row->nrefusals == HONE_MAX_REFUSALS;
}

int hone_profile_explain(struct hone_profile *prof, struct hone_db *db)
{
    const struct hone_net *net = prof->net;
    int err = HONE_OK;
    for (int s = 0; !err && s < net->nsteps; s++) {
        const struct hone_problem *p = &net->step[s].problem;
        struct hone_profile_row *row = &prof->row[s];
        struct faults f = { row, p->op };
        char text[HONE_TEXT];
        place_under_roof(prof, s);
        forget_unused(row, &net->step[s]);
        hone_problem_print(p, text);
        if (db->sql) err = hone_db_each(db, net->device->id, text, see_record, &f);
        if (!err) ask_kernels(row, net, p);
    }
    return err;
}
