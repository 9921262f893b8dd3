/* The same net, first weights and batches here and in other frameworks: the first losses beside
 * each other, then rounds in which each way trains for a while in turn, so that a machine that
 * slows down slows all of them. */
#include "results/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BATCHES = 16, WARM_UP = 4, MOST_STEPS = 2000, LEAST_STEPS = 2 };

/* ---- batches ---- */

/* Floats, or labels as they are, to a tensor's numbers, and back. */
static void from_floats(const struct hone_tensor *t, const void *from, char *to)
{
    const size_t bytes = hone_dtype_bytes(t->dtype);
    if (t->dtype == HONE_F32 || t->dtype == HONE_I32) {
        memcpy(to, from, (size_t)hone_tensor_bytes(t));
        return;
    }
    for (int64_t i = 0; i < hone_tensor_len(t); i++) {
        double v = (double)((const float *)from)[i];
        hone_from_double(t->dtype, &v, to + (size_t)i * bytes, 1);
    }
}

static int write_floats(const struct hone_tensor *t, const char *from, FILE *f)
{
    const size_t n = (size_t)hone_tensor_len(t), bytes = hone_dtype_bytes(t->dtype);
    if (t->dtype == HONE_F32 || t->dtype == HONE_I32) return fwrite(from, bytes, n, f) == n;
    for (size_t i = 0; i < n; i++) {
        double v;
        hone_to_double(t->dtype, from + i * bytes, &v, 1);
        const float one = (float)v;
        if (fwrite(&one, sizeof one, 1, f) != 1) return 0;
    }
    return 1;
}

static void keep_batch(struct hone_compare *c, int nth, const void *x, const void *target)
{
    char *to = c->batch + (size_t)nth * c->batch_bytes;
    from_floats(&c->net.tensor[c->net.input], x, to);
    from_floats(&c->net.tensor[c->net.target], target, to + c->x_bytes);
}

/* Numbers uniform in [0, 1) and labels over all classes, as hone profile has them. */
static void draw_batch(struct hone_compare *c, int nth, float *x, void *target)
{
    const struct hone_net *net = &c->net;
    const struct hone_tensor *out = &net->tensor[net->output], *t = &net->tensor[net->target];
    const int64_t n = hone_tensor_len(&net->tensor[net->input]);
    uint64_t key = hone_random(c->o->seed, (uint64_t)nth);
    for (int64_t i = 0; i < n; i++) x[i] = (float)hone_random_unit(key, (uint64_t)i);
    for (int64_t i = 0; i < hone_tensor_len(t); i++) {
        double u = hone_random_unit(~key, (uint64_t)i);
        if (t->dtype == HONE_I32)
            ((int32_t *)target)[i] = (int32_t)floor(u * (double)out->dim[out->rank - 1]);
        else
            ((float *)target)[i] = (float)u;
    }
    keep_batch(c, nth, x, target);
}

/* The batches of a training run's first epoch. */
static int gather_batches(struct hone_compare *c, const struct hone_data *train, float *x,
                          void *target)
{
    int err = hone_net_fits(&c->net, train, 1);
    int64_t *order = err ? NULL : malloc((size_t)train->rows * sizeof *order);
    if (err) return err;
    if (!order) return hone_fail(HONE_ENOMEM, "%lld rows", (long long)train->rows);
    hone_data_shuffle(order, train->rows, c->o->seed, 1);
    for (int i = 0; i < c->nbatches; i++) {
        hone_data_gather(train, order + (int64_t)i * c->net.batch, c->net.batch, x, target);
        keep_batch(c, i, x, target);
    }
    free(order);
    return HONE_OK;
}

static int make_batches(struct hone_compare *c, const struct hone_data *train)
{
    const struct hone_net *net = &c->net;
    int wanted = c->o->nlosses < MOST_BATCHES ? c->o->nlosses : MOST_BATCHES;
    if (train->rows && train->rows < net->batch)
        return hone_fail(HONE_EDATA, "%s: %lld rows fill no batch of %d", train->source,
                         (long long)train->rows, net->batch);
    if (train->rows && train->rows / net->batch < wanted) wanted = (int)(train->rows / net->batch);
    c->nbatches = wanted;
    c->x_bytes = (size_t)hone_tensor_bytes(&net->tensor[net->input]);
    /* Kernels read whole lines from a line's beginning. */
    c->x_bytes = (c->x_bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN;
    c->batch_bytes = c->x_bytes + (size_t)hone_tensor_bytes(&net->tensor[net->target]);
    c->batch_bytes = (c->batch_bytes + HONE_ALIGN - 1) / HONE_ALIGN * HONE_ALIGN;
    c->batch = aligned_alloc(HONE_ALIGN, (size_t)wanted * c->batch_bytes);
    float *x = malloc((size_t)hone_tensor_len(&net->tensor[net->input]) * sizeof *x);
    void *target = malloc((size_t)hone_tensor_len(&net->tensor[net->target]) * sizeof(float));
    int err = c->batch && x && target ? HONE_OK : hone_fail(HONE_ENOMEM, "%d batches", wanted);
    if (!err && train->rows) err = gather_batches(c, train, x, target);
    for (int i = 0; !err && !train->rows && i < wanted; i++) draw_batch(c, i, x, target);
    free(target);
    free(x);
    return err;
}

/* ---- our own way ---- */

/* A device with memory of its own gets a copy of the batch, as in training. */
static int give_batch(struct hone_net *net, const char *x, const char *target)
{
    struct hone_device *d = net->device;
    if (!d->backend->start) {
        hone_net_read_at(net, (void *)x, (void *)target);
        return HONE_OK;
    }
    int err = d->backend->put(d, hone_net_mem(net, net->input), x,
                              (size_t)hone_tensor_bytes(&net->tensor[net->input]));
    return err ? err
               : d->backend->put(d, hone_net_mem(net, net->target), target,
                                 (size_t)hone_tensor_bytes(&net->tensor[net->target]));
}

/* The mean of the rows' losses, which waits for the device. */
static int mean_loss(struct hone_net *net, double *loss)
{
    const struct hone_tensor *t = &net->tensor[net->loss];
    const size_t n = (size_t)net->batch, bytes = hone_dtype_bytes(t->dtype);
    char *rows = malloc(n * bytes);
    if (!rows) return hone_fail(HONE_ENOMEM, "%zu losses", n);
    int err =
        net->device->backend->get(net->device, rows, hone_net_mem(net, net->loss), n * bytes);
    double sum = 0, v;
    for (size_t i = 0; !err && i < n; i++) {
        hone_to_double(t->dtype, rows + i * bytes, &v, 1);
        sum += v;
    }
    *loss = sum / net->batch;
    free(rows);
    return err;
}

/* hone_net_run_whole() with what training writes before each step. */
static int our_step(struct hone_compare *c, double *seconds, double *loss)
{
    struct hone_net *net = &c->net;
    double hyper[8], now[8];
    char *x = c->batch + (size_t)(c->step % c->nbatches) * c->batch_bytes;
    uint64_t seed[2] = { hone_dropout_seed(c->o->seed), (uint64_t)c->step };
    hone_optim_hyper(&net->optim, c->step++, hyper);
    const enum hone_dtype wide = hone_dtype_wide(net->dtype);
    hone_from_double(wide, hyper, now, 8);
    struct hone_device *d = net->device;
    /* The peers' batches lie on their device, too. */
    int err = give_batch(net, x, x + c->x_bytes);
    const double begin = hone_now();
    if (!err) err = d->backend->put(d, hone_net_mem(net, net->hyper), now,
                                  8 * hone_dtype_bytes(wide));
    if (!err && net->seed >= 0)
        err = d->backend->put(d, hone_net_mem(net, net->seed), seed, sizeof seed);
    if (!err) err = hone_net_run_whole(net, c->no_graph);
    if (!err) err = d->backend->sync(d);
    *seconds = hone_now() - begin;
    return err ? err : mean_loss(net, loss);
}

static int our_steps(struct hone_compare *c, int n, double *seconds, double *loss)
{
    double ignored;
    int err = HONE_OK;
    for (int i = 0; !err && i < n; i++) {
        err = our_step(c, &seconds[i], loss ? &loss[i] : &ignored);
        if (!err && hone_interrupted()) err = hone_fail(HONE_EINTR, "interrupted");
    }
    return err;
}

/* ---- any way ---- */

static int numbers(char *text, double *v, int n)
{
    for (int i = 0; i < n; i++) {
        char *end;
        v[i] = strtod(text, &end);
        if (end == text) return hone_fail(HONE_EIO, "gave %d numbers of %d", i, n);
        text = end;
    }
    return HONE_OK;
}

static int steps_of(struct hone_compare *c, struct hone_way *w, int n, double *seconds)
{
    char question[64], *rest;
    if (w == c->way) return our_steps(c, n, seconds, NULL);
    snprintf(question, sizeof question, "steps %d", n);
    int err = hone_peer_ask(&w->process, question, "seconds", &rest);
    return err ? err : numbers(rest, seconds, n);
}

static int losses_of(struct hone_compare *c, struct hone_way *w)
{
    int n = c->o->nlosses, err;
    char question[64], *rest;
    double *v = malloc((size_t)(n + 1) * 2 * sizeof *v);
    if (!v) return hone_fail(HONE_ENOMEM, "%d losses", n);
    v[0] = 0;
    if (w == c->way) {
        err = our_steps(c, n, v + n + 1, v + 1);
        v[0] = v[n + 1];
    } else {
        snprintf(question, sizeof question, "losses %d", n);
        err = hone_peer_ask(&w->process, question, "losses", &rest);
        if (!err) err = numbers(rest, v, n + 1);
    }
    w->first_ms = 1e3 * v[0];
    for (int i = 0; !err && i < n; i++) {
        double ours = c->way[0].loss[i];
        w->loss[i] = v[i + 1];
        if (w != c->way) w->worst = fmax(w->worst, fabs(w->loss[i] - ours) / fabs(ours));
    }
    free(v);
    return err;
}

/* How many steps a turn has: from a few of them. */
static int size_turn(struct hone_compare *c, struct hone_way *w)
{
    double t[WARM_UP];
    int err = steps_of(c, w, WARM_UP, t);
    if (err) return err;
    double least = t[0];
    for (int i = 1; i < WARM_UP; i++) least = fmin(least, t[i]);
    double n = c->o->turn / fmax(least, 1e-7);
    w->nsteps = n < LEAST_STEPS ? LEAST_STEPS : n > MOST_STEPS ? MOST_STEPS : (int)n;
    return HONE_OK;
}

/* The first step of a turn finds the caches as others left them, and is not counted.  The pause
 * lets their threads, which wait for more work, go to sleep. */
static int turn(struct hone_compare *c, struct hone_way *w, int round)
{
    double t[MOST_STEPS + 1];
    usleep(20000);
    int err = steps_of(c, w, w->nsteps + 1, t);
    if (!err) w->ms[round] = 1e3 * hone_stats_of(t + 1, w->nsteps).median;
    return err;
}

/* A peer's failure is its own; ours, and an interruption, end it all. */
static int note(struct hone_compare *c, struct hone_way *w, int err)
{
    if (!err || w == c->way || err == HONE_EINTR) return err;
    snprintf(w->why, sizeof w->why, "%.*s", HONE_TEXT - 1, hone_errmsg());
    hone_peer_close(&w->process);
    return HONE_OK;
}

/* Calls it for every way that still goes; in every second round the other way round. */
static int each(struct hone_compare *c, int backwards,
                int (*call)(struct hone_compare *, struct hone_way *, int), int arg)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < c->nways; i++) {
        struct hone_way *w = &c->way[backwards ? c->nways - 1 - i : i];
        if (!w->why[0]) err = note(c, w, call(c, w, arg));
    }
    return err;
}

static int begin_way(struct hone_compare *c, struct hone_way *w)
{
    int err = losses_of(c, w);
    return err ? err : size_turn(c, w);
}

static int memory_of(struct hone_compare *c, struct hone_way *w, int arg)
{
    double v[2] = { 0 };
    char *rest;
    (void)arg;
    if (w == c->way) return HONE_OK;
    int err = hone_peer_ask(&w->process, "memory", "memory", &rest);
    if (!err) err = numbers(rest, v, 2);
    w->base_bytes = err ? 0 : (int64_t)v[0];
    w->peak_bytes = err ? 0 : (int64_t)v[1];
    return err;
}

/* ---- the job ---- */

static int write_job(const struct hone_compare *c, const struct hone_way *w, const char *path)
{
    const struct hone_optim *o = &c->net.optim;
    char net[300], weights[300], batches[300];
    snprintf(net, sizeof net, "%s/net.json", c->dir);
    snprintf(weights, sizeof weights, "%s/weights.safetensors", c->dir);
    snprintf(batches, sizeof batches, "%s/batches", c->dir);
    json_t *optimizer = json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f}", "name",
        hone_optimizer_name(o->kind), "lr", o->lr, "momentum", o->momentum, "weight_decay",
        o->weight_decay, "beta1", o->beta1, "beta2", o->beta2, "rho", o->rho, "epsilon",
        o->epsilon, "nesterov", o->nesterov, "clip", o->clip);
    json_t *job = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:o}", "mode",
                            w->mode, "dtype", hone_net_dtype_name(&c->net), "device",
                            c->net.device->backend->name, "index", c->net.device->index, "net",
                            net, "weights", weights, "batches", batches, "batch", c->net.batch,
                            "nbatches", c->nbatches, "threads", c->o->threads, "seed",
                            (json_int_t)c->o->seed, "optimizer", optimizer);
    int bad = !job || json_dump_file(job, path, JSON_INDENT(1));
    json_decref(job);
    return bad ? hone_fail(HONE_EIO, "cannot write %s", path) : HONE_OK;
}

static int build_peer(struct hone_compare *c, struct hone_way *w)
{
    char path[300], question[400], *rest;
    snprintf(path, sizeof path, "%s/job-%d.json", c->dir, (int)(w - c->way));
    int err = write_job(c, w, path);
    snprintf(question, sizeof question, "job %s", path);
    fprintf(stderr, "%s %s ...\n", w->peer, w->shown);
    if (!err) err = hone_peer_ask(&w->process, question, "ready", &rest);
    if (!err) snprintf(w->version, sizeof w->version, "%.95s", rest);
    return err;
}

/* Batches as they lie but for what fills lines up, as floats whatever the net computes in. */
static int write_batches(const struct hone_compare *c)
{
    const struct hone_net *net = &c->net;
    char path[300];
    snprintf(path, sizeof path, "%s/batches", c->dir);
    FILE *f = fopen(path, "wb");
    int bad = !f;
    for (int i = 0; !bad && i < c->nbatches; i++) {
        const char *at = c->batch + (size_t)i * c->batch_bytes;
        bad = !write_floats(&net->tensor[net->input], at, f) ||
              !write_floats(&net->tensor[net->target], at + c->x_bytes, f);
    }
    if (f && fclose(f)) bad = 1;
    return bad ? hone_fail(HONE_EIO, "cannot write %s", path) : HONE_OK;
}

static int write_net(const struct hone_compare *c)
{
    char path[300];
    snprintf(path, sizeof path, "%s/net.json", c->dir);
    FILE *f = fopen(path, "w");
    int err = f ? hone_net_json(&c->net, f) : hone_fail(HONE_EIO, "cannot write %s", path);
    if (f && fclose(f) && !err) err = hone_fail(HONE_EIO, "cannot write %s", path);
    snprintf(path, sizeof path, "%s/weights.safetensors", c->dir);
    return err ? err : hone_weights_save(&c->net, NULL, path);
}

/* ---- ways ---- */

static struct hone_way *add_way(struct hone_compare *c, const char *peer, const char *mode,
                                const char *allocator)
{
    const char *slash = strrchr(allocator, '/'), *name = slash ? slash + 1 : allocator;
    int plain = !strcmp(allocator, "system");
    if (c->nways == HONE_MAX_WAYS) return NULL;
    struct hone_way *w = &c->way[c->nways++];
    snprintf(w->peer, sizeof w->peer, "%s", peer);
    snprintf(w->mode, sizeof w->mode, "%s", mode);
    snprintf(w->shown, sizeof w->shown, "%.31s%s%.60s", mode, plain ? "" : "+", plain ? "" : name);
    w->loss = calloc((size_t)c->o->nlosses, sizeof *w->loss);
    w->ms = calloc((size_t)c->o->rounds, sizeof *w->ms);
    return w->loss && w->ms ? w : NULL;
}

static int no_room(void) { return hone_fail(HONE_ENOMEM, "more than %d ways", HONE_MAX_WAYS - 1); }

/* A mode is for every device, or "graphs@cuda" for those of one backend alone. */
static int is_for(const struct hone_device *d, char *mode)
{
    char *of = strchr(mode, '@');
    if (of) *of++ = 0;
    return !of || !strcmp(of, d->backend->name);
}

/* With each allocator.  The process that the peer was found by, where there is still one, has the
 * system's. */
static int add_mode(struct hone_compare *c, const char *name, const char *mode, const char *python,
                    struct hone_peer *found)
{
    int err = HONE_OK;
    for (int i = 0; !err && i < c->o->nmallocs; i++) {
        const char *allocator = c->o->malloc[i];
        struct hone_way *w = add_way(c, name, mode, allocator);
        if (!w) return no_room();
        if (found->pid && !strcmp(allocator, "system")) {
            w->process = *found;
            memset(found, 0, sizeof *found);
        } else {
            err = note(c, w, hone_peer_open(&w->process, name, python, allocator, c->dir));
        }
    }
    return err;
}

/* "pytorch:compile", or "pytorch" for all of its modes, each of them in a process of its own. */
static int add_peer(struct hone_compare *c, const struct hone_device *d, char *name)
{
    struct hone_peer first;
    char *wanted = strchr(name, ':'), *mode, *modes, python[256], *all;
    if (wanted) *wanted++ = 0;
    int err = hone_peer_open(&first, name, NULL, "system", c->dir);
    if (err) {
        struct hone_way *w = add_way(c, name, wanted ? wanted : "", "system");
        return w ? note(c, w, err) : no_room();
    }
    snprintf(python, sizeof python, "%s", first.python);
    modes = all = strdup(wanted ? wanted : first.line + strlen("modes "));
    while (!err && all && (mode = strsep(&modes, " ")))
        if (is_for(d, mode)) err = add_mode(c, name, mode, python, &first);
    free(all);
    hone_peer_close(&first);
    return err;
}

static int add_ways(struct hone_compare *c, const struct hone_device *d)
{
    char *list = strdup(c->o->peers), *rest = list, *one;
    struct hone_way *ours = add_way(c, "hone", "", "system");
    int err = list && ours ? HONE_OK : hone_fail(HONE_ENOMEM, "the peers");
    while (!err && (one = strsep(&rest, ",")))
        if (*one) err = add_peer(c, d, one);
    free(list);
    return err;
}

/* ---- all of it ---- */

/* What a library loads and keeps from its first product on is the library's, here as in the peers,
 * whose first step is one of 8 x 8 numbers, too. */
static int use_libraries(struct hone_device *d)
{
    struct hone_problem p;
    struct hone_case kase = { 0 };
    int err = hone_problem_parse("gemm:f32:nn:m8n8k8", &p);
    if (!err) err = hone_case_open(&kase, &p, d, HONE_INTEGERS, 1);
    for (int i = 0; !err && hone_kernels[i]; i++) {
        struct hone_plan plan = { 0 };
        if (hone_kernels[i]->build != HONE_LIB || hone_kernel_refuse(hone_kernels[i], &p, d))
            continue;
        err = hone_plan_open(&plan, &p, hone_kernels[i], NULL, d);
        if (!err) err = hone_case_check(&kase, &plan, NULL);
        hone_plan_close(&plan);
    }
    hone_case_close(&kase);
    return err;
}

static int assemble(struct hone_compare *c, struct hone_db *db, struct hone_device *d,
                    const struct hone_data *train)
{
    struct hone_net *net = &c->net;
    struct hone_way *ours = &c->way[0];
    snprintf(ours->version, sizeof ours->version, "Hone");
    int err = d->backend->start ? HONE_OK : use_libraries(d);
    if (db) hone_db_rest(db);   /* what is given back later would count for less than nothing */
    hone_memory_trim();
    ours->base_bytes = hone_memory_now() - hone_memory_files();
    if (!err) err = hone_net_assemble(net, db, d, NULL);
    if (!err) err = hone_net_init(net, c->o->seed);
    if (!err) err = make_batches(c, train);
    for (int s = 0; s < net->nsteps; s++) c->ntuned += net->step[s].known;
    for (int i = 0; i < net->nlayers; i++)
        c->dropout += !strcmp(net->layer[i].kind, "dropout") && net->layer[i].key[0].value > 0;
    return err;
}

/* As hone train does by default. */
static int load(struct hone_data *train, struct hone_data *test, const struct hone_compare *c)
{
    int err = hone_data_open(train, test, c->o->data, NULL);
    if (!err && !test->rows) err = hone_data_split(train, test, 0.8, c->o->seed);
    return err ? err : hone_data_normalise(train, test);
}

static int run_rounds(struct hone_compare *c)
{
    double started = hone_now();
    int err = HONE_OK;
    for (int r = 0; !err && r < c->o->rounds; r++) {
        err = each(c, r % 2, turn, r);
        hone_progress("compare", r + 1, c->o->rounds, started);
    }
    hone_progress_end();
    return err;
}

static int conclude(struct hone_compare *c)
{
    int n = c->o->rounds;
    double *v = malloc((size_t)n * sizeof *v);
    if (!v) return hone_fail(HONE_ENOMEM, "%d rounds", n);
    for (int i = 0; i < c->nways; i++) {
        struct hone_way *w = &c->way[i];
        if (w->why[0]) continue;
        for (int r = 0; r < n; r++) v[r] = w->ms[r] / c->way[0].ms[r];
        w->ratio = hone_stats_of(v, n);
        memcpy(v, w->ms, (size_t)n * sizeof *v);
        w->step_ms = hone_stats_of(v, n);
        c->ncompared += i > 0;
    }
    free(v);
    return HONE_OK;
}

static int measure(struct hone_compare *c)
{
    int err = write_net(c);
    if (!err) err = write_batches(c);
    hone_memory_trim();   /* writing files is over, as reading them is in the peers */
    hone_memory_peak_reset();
    if (!err) err = begin_way(c, &c->way[0]);
    c->way[0].peak_bytes = hone_memory_peak() - hone_memory_files();
    for (int i = 1; !err && i < c->nways; i++) {
        struct hone_way *w = &c->way[i];
        if (!w->why[0]) err = note(c, w, build_peer(c, w));
        if (!err && !w->why[0]) err = note(c, w, begin_way(c, w));
    }
    if (!err) err = run_rounds(c);
    if (!err) err = each(c, 0, memory_of, 0);
    return err ? err : conclude(c);
}

int hone_compare_open(struct hone_compare *c, const struct hone_compare_options *o,
                      struct hone_db *db, struct hone_device *d)
{
    struct hone_lowering how = {
        .batch = o->batch, .train = 1, .dtype = o->dtype, .optim = o->optim, .memory = o->memory,
        .db = db, .device = d
    };
    struct hone_data train = { 0 }, test = { 0 };
    const char *tmp = getenv("TMPDIR");
    memset(c, 0, sizeof *c);
    c->o = o;
    snprintf(c->dir, sizeof c->dir, "%.200s/hone-compare-XXXXXX", tmp && *tmp ? tmp : P_tmpdir);
    int err = hone_net_open_within(&c->net, o->net, &how, d, NULL);
    if (!err && o->data) err = load(&train, &test, c);
    if (!err && !mkdtemp(c->dir)) err = hone_fail(HONE_EIO, "cannot make directory %s", c->dir);
    if (err) c->dir[0] = 0;
    if (!err) err = add_ways(c, d);
    if (!err) err = assemble(c, db, d, &train);
    if (!err) err = measure(c);
    hone_data_close(&train);
    hone_data_close(&test);
    if (err) hone_compare_close(c);
    return err;
}

static void remove_files(const struct hone_compare *c)
{
    static const char *const name[] = { "net.json", "weights.safetensors", "batches" };
    char path[300];
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        snprintf(path, sizeof path, "%s/%s", c->dir, name[i]);
        unlink(path);
    }
    for (int i = 0; i < c->nways; i++) {
        snprintf(path, sizeof path, "%s/job-%d.json", c->dir, i);
        unlink(path);
    }
    rmdir(c->dir);
}

void hone_compare_close(struct hone_compare *c)
{
    for (int i = 0; i < c->nways; i++) {
        hone_peer_close(&c->way[i].process);
        free(c->way[i].loss);
        free(c->way[i].ms);
    }
    if (c->dir[0]) remove_files(c);
    free(c->batch);
    hone_net_close(&c->net);
    memset(c, 0, sizeof *c);
}
