/* What a training step does to need less memory leaves its results alone: the same bits of losses
 * and weights as without it, in fewer bytes.  And workspaces that are to be small, and limits. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 3 };

static struct hone_device cpu;

/* ---- a net and its training ---- */

static int assemble(struct hone_net *net)
{
    int err = hone_net_assemble(net, NULL, &cpu, NULL);
    return err ? err : hone_net_init(net, 1);
}

/* text NULL: the net of that name. */
static int open_net(struct hone_net *net, const char *name, const char *text,
                    const struct hone_lowering *how)
{
    int err = text ? hone_net_parse(net, name, text, how) : hone_net_open(net, name, how);
    return err ? err : assemble(net);
}

static void put(struct hone_net *net, int t, const double v[])
{
    hone_from_double(net->tensor[t].dtype, v, hone_net_mem(net, t),
                     hone_tensor_len(&net->tensor[t]));
}

/* Step s on a batch of its own; *loss: of all rows. */
static int step(struct hone_net *net, int s, double *loss)
{
    const int64_t n = hone_tensor_len(&net->tensor[net->input]),
                  classes = net->tensor[net->output].dim[1];
    double hyper[8], *v = malloc((size_t)(n + net->batch) * sizeof *v);
    if (!v) return hone_fail(HONE_ENOMEM, "a batch");
    for (int64_t i = 0; i < n; i++) v[i] = hone_random_unit((uint64_t)s, (uint64_t)i);
    put(net, net->input, v);
    for (int i = 0; i < net->batch; i++) v[i] = (double)((i + s) % classes);
    put(net, net->target, v);
    hone_optim_hyper(&net->optim, s, hyper);
    put(net, net->hyper, hyper);
    if (net->seed >= 0) put(net, net->seed, (double[]){ 7, s });
    int err = hone_net_run(net, 0, net->nsteps);
    hone_to_double(net->tensor[net->loss].dtype, hone_net_mem(net, net->loss), v, net->batch);
    *loss = 0;
    for (int i = 0; i < net->batch; i++) *loss += v[i];
    free(v);
    return err;
}

/* Steps of the op whose problem has this attribute. */
static int count(const struct hone_net *net, const char *op, const char *attr)
{
    int n = 0;
    for (int i = 0; i < net->nsteps; i++)
        n += !strcmp(net->step[i].problem.op->name, op) &&
             (!attr || hone_problem_has(&net->step[i].problem, attr));
    return n;
}

static int64_t bytes_of(const struct hone_net *net)
{
    return net->arena_bytes + net->workspace_bytes;
}

/* Both train; do they stay alike bit by bit, and learn? */
static int alike(struct hone_net *a, struct hone_net *b)
{
    double x = 0, y = 0, first = 0;
    int same = 1, err = HONE_OK;
    for (int s = 0; !err && s < STEPS; s++) {
        err = step(a, s, &x);
        if (!err) err = step(b, s, &y);
        same &= x == y;
        if (!s) first = x;
    }
    if (err) printf("# %s\n", hone_errmsg());
    return !err && same && x != first && a->weights_bytes == b->weights_bytes &&
           !memcmp(a->weights, b->weights, (size_t)a->weights_bytes);
}

/* ---- outputs computed again ---- */

static void check_again(const char *name, const char *text, int batch, enum hone_dtype dtype,
                        int nagain)
{
    struct hone_lowering how = { .batch = batch, .train = 1, .dtype = dtype, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net again, kept;
    how.optim.momentum = 0.9;
    int err = open_net(&again, name, text, &how);
    how.keep = 1;
    if (!err) err = open_net(&kept, name, text, &how);
    if (!ok(!err, "%s in %s opens", name, hone_dtype_name(dtype))) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    const int n = count(&again, "bnorm_infer", "again"),
              convs = count(&again, "conv2d_fwd", NULL) - count(&kept, "conv2d_fwd", NULL),
              halves = count(&again, "narrow", NULL) - count(&kept, "narrow", NULL);
    ok(n == nagain && convs == 1 && !count(&kept, "bnorm_infer", NULL) &&
           halves == (dtype == HONE_BF16) && kept.nsteps + n + 1 + halves == again.nsteps,
       "%d outputs are computed again, and the first layer's%s", n, halves ? ", of new halves" : "");
    ok(bytes_of(&again) < bytes_of(&kept), "which takes %lld bytes in place of %lld",
       (long long)bytes_of(&again), (long long)bytes_of(&kept));
    ok(alike(&again, &kept), "and gives the same bits, losses and weights");
    hone_net_close(&again);
    hone_net_close(&kept);
}

/* ---- a gradient in pieces ---- */

/* nhalves: how often weights and the input are made halves for the backward pass.  By the reference
 * kernels: of the others a piece may have one that sums in another order than the whole's. */
static void check_pieces(const char *what, const char *text, enum hone_dtype dtype, int npieces,
                         int nhalves)
{
    struct hone_lowering how = { .batch = 8, .train = 1, .dtype = dtype, .device = &cpu,
                                 .reference = 1, .optim = hone_optim_default(HONE_ADAM) };
    struct hone_net pieces = { 0 }, whole = { 0 };
    int err = open_net(&pieces, "p.net", text, &how);
    how.keep = 1;
    if (!err) err = open_net(&whole, "p.net", text, &how);
    if (!ok(!err, "a large %s in %s opens", what, hone_dtype_name(dtype))) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    const int n = count(&pieces, "adam", NULL) - count(&whole, "adam", NULL) + 1,
              halves = count(&pieces, "narrow", NULL) - count(&whole, "narrow", NULL);
    ok(n == npieces && count(&pieces, "concat_bwd", NULL) == n - 1 && halves == nhalves,
       "its gradient has %d pieces, %d halves are made again", n, halves);
    ok(bytes_of(&pieces) < bytes_of(&whole), "which take %lld bytes in place of %lld",
       (long long)bytes_of(&pieces), (long long)bytes_of(&whole));
    ok(alike(&pieces, &whole), "and give the same bits, losses and weights");
    hone_net_close(&pieces);
    hone_net_close(&whole);
}

/* ---- which gradient comes first ---- */

static int step_of(const struct hone_net *net, int layer, const char *op)
{
    int i = 0;
    while (i < net->nsteps &&
           (net->step[i].layer != layer || strcmp(net->step[i].problem.op->name, op)))
        i++;
    return i;
}

static int is_input_first(const struct hone_net *net, int layer)
{
    return step_of(net, layer, "conv2d_dgrad") < step_of(net, layer, "conv2d_wgrad");
}

/* The input's, where it is the smaller one, and else the filters': g and h of the text. */
static void check_order(const char *text)
{
    struct hone_lowering how = { .batch = 128, .train = 1, .device = &cpu,
                                 .optim = hone_optim_default(HONE_ADAM) };
    struct hone_net order, kept;
    int err = open_net(&order, "o.net", text, &how);
    how.keep = 1;
    if (!err) err = open_net(&kept, "o.net", text, &how);
    if (!ok(!err, "large filters open")) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    ok(is_input_first(&order, 2) && !is_input_first(&order, 3) && !is_input_first(&kept, 2),
       "the smaller gradient comes first, the input's or the filters'");
    ok(alike(&order, &kept), "which gives the same bits, losses and weights");
    hone_net_close(&order);
    hone_net_close(&kept);
}

/* ---- halves of large weights, some columns after the other ---- */

static void check_columns(const char *text, enum hone_dtype dtype)
{
    struct hone_lowering how = { .batch = 8, .train = 1, .dtype = dtype, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net columns = { 0 }, whole = { 0 };
    int err = open_net(&columns, "c.net", text, &how), n = 0;
    int64_t most = 0;
    how.keep = 1;
    if (!err) err = open_net(&whole, "c.net", text, &how);
    if (!ok(!err, "8 MiB of %s open", hone_dtype_name(dtype))) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    for (int i = 0; i < columns.first_backward; i++) {
        const struct hone_step *s = &columns.step[i];
        if (strcmp(s->problem.op->name, "narrow")) continue;
        const int64_t bytes = hone_tensor_bytes(&columns.tensor[s->arg[0]]);
        n += !strncmp(columns.tensor[s->arg[0]].name, "h.w.", 4);
        if (bytes > most) most = bytes;
    }
    ok(n == 2 && most == 4 << 20, "are made in %d pieces, of %lld bytes at most", n,
       (long long)most);
    ok(bytes_of(&columns) < bytes_of(&whole), "which take %lld bytes in place of %lld",
       (long long)bytes_of(&columns), (long long)bytes_of(&whole));
    ok(alike(&columns, &whole), "and give the same bits, losses and weights");
    hone_net_close(&columns);
    hone_net_close(&whole);
}

/* ---- an activation and its average in parts of the batch ---- */

static void check_parts(enum hone_dtype dtype, int nparts)
{
    struct hone_lowering how = { .batch = 32, .train = 1, .dtype = dtype, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net parts, whole;
    int err = open_net(&parts, "lenet5", NULL, &how);
    how.keep = 1;
    if (!err) err = open_net(&whole, "lenet5", NULL, &how);
    if (!ok(!err, "lenet5 in %s opens", hone_dtype_name(dtype))) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    const int n = count(&parts, "avgpool_bwd", NULL);
    ok(n == nparts && count(&whole, "avgpool_bwd", NULL) == 2 &&
           count(&parts, "gelu_tanh_bwd", NULL) == n + 2,
       "its two averages go backward in %d parts", n);
    /* At the fullest step it may be a workspace that decides. */
    ok(parts.arena_bytes < whole.arena_bytes && bytes_of(&parts) <= bytes_of(&whole),
       "whose activations take %lld bytes in place of %lld", (long long)parts.arena_bytes,
       (long long)whole.arena_bytes);
    ok(alike(&parts, &whole), "and give the same bits, losses and weights");
    hone_net_close(&parts);
    hone_net_close(&whole);
}

/* ---- rectifiers below dropout ---- */

/* Gradients of activations that read what a dropout made. */
static int read_dropouts(const struct hone_net *net)
{
    int n = 0;
    for (int i = 0; i < net->nsteps; i++) {
        const struct hone_step *s = &net->step[i];
        if (!strstr(s->problem.op->name, "relu_bwd") && strcmp(s->problem.op->name, "relu6_bwd"))
            continue;
        const int layer = net->tensor[s->arg[2]].layer;
        n += layer >= 0 && !strcmp(net->layer[layer].kind, "dropout");
    }
    return n;
}

/* relu and leaky_relu find the sign that they need in it; relu6 does not, nor where others read it. */
static void check_dropouts(enum hone_dtype dtype)
{
    static const char text[] =
        "input x c=40\nfc a = x k=512 act=relu\ndropout b = a p=0.5\nfc c = b k=512\n"
        "leaky_relu d = c\nflatten e = d\ndropout f = e p=0.3\nfc g = f k=512 act=relu6\n"
        "dropout h = g p=0.25\nfc i = h k=512 act=relu\ndropout j = i p=0.5\nadd k = i j\n"
        "fc y = k k=10\nsoftmax_ce l = y\n";
    struct hone_lowering how = { .batch = 64, .train = 1, .dtype = dtype, .device = &cpu,
                                 .optim = hone_optim_default(HONE_ADAM) };
    struct hone_net shared, kept;
    int err = open_net(&shared, "d.net", text, &how);
    how.keep = 1;
    if (!err) err = open_net(&kept, "d.net", text, &how);
    if (!ok(!err, "dropouts in %s open", hone_dtype_name(dtype))) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    ok(read_dropouts(&shared) == 2 && !read_dropouts(&kept), "two of four are read by a gradient");
    ok(bytes_of(&shared) < bytes_of(&kept), "which takes %lld bytes in place of %lld",
       (long long)bytes_of(&shared), (long long)bytes_of(&kept));
    ok(alike(&shared, &kept), "and gives the same bits, losses and weights");
    hone_net_close(&shared);
    hone_net_close(&kept);
}

/* ---- places ---- */

/* The most that lives at a step, in whole lines. */
static int64_t most_alive(const struct hone_net *net)
{
    const int n = net->ntensors;
    int *first = calloc(2 * (size_t)n, sizeof *first), *last = first + n;
    int64_t most = 0;
    if (!first) return 0;
    hone_net_lifetimes(net, first, last);
    for (int t = 0; t < n; t++)   /* it ends where one that is written over it begins */
        if (net->tensor[t].over >= 0) last[net->tensor[t].over]--;
    for (int s = 0; s < net->nsteps; s++) {
        int64_t sum = 0;
        for (int t = 0; t < n; t++)
            if (first[t] >= 0 && first[t] <= s && last[t] >= s)
                sum += (hone_tensor_bytes(&net->tensor[t]) + HONE_ALIGN - 1) / HONE_ALIGN *
                       HONE_ALIGN;
        if (sum > most) most = sum;
    }
    free(first);
    return most;
}

/* The reference's kernels have no workspaces: a plan for any machine. */
static void check_places(const char *name)
{
    struct hone_lowering how = { .batch = 128, .train = 1, .device = &cpu, .reference = 1,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net net;
    int err = hone_net_open(&net, name, &how);
    if (!err) err = hone_net_assemble(&net, NULL, &cpu, NULL);
    if (!ok(!err, "%s is planned", name)) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    const int64_t most = most_alive(&net);
    ok(most && net.arena_bytes <= most + most / 200,
       "its arena, %lld bytes, is within 0.5 %% of what lives at once, %lld",
       (long long)net.arena_bytes, (long long)most);
    hone_net_close(&net);
}

/* ---- what plans were chosen by ---- */

static void check_rest(void)
{
    struct hone_lowering how = { .batch = 4, .train = 1, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_db db;
    struct hone_net net;
    int err = hone_db_open(&db, ":memory:", 0);
    if (!err) err = hone_net_open(&net, "letter-mlp", &how);
    if (!err) err = hone_net_assemble(&net, &db, &cpu, NULL);
    if (!ok(!err, "a net is assembled by a database")) {
        printf("# %s\n", hone_errmsg());
        return;
    }
    ok(!db.wisdom && !db.found && !db.build, "of which nothing is kept while it trains");
    hone_net_close(&net);
    hone_db_close(&db);
}

/* ---- a limit ---- */

static int is_too_large(int err, const char *name)
{
    return err == HONE_ENOMEM && strstr(hone_errmsg(), name) &&
           strstr(hone_errmsg(), " MiB at least, and --memory allows ");
}

/* Of the net that may take so many bytes less than it would; *net is assembled where it can. */
static int open_within(struct hone_net *net, const char *name, struct hone_lowering *how,
                       int64_t bytes)
{
    how->memory = bytes;
    int err = hone_net_open_within(net, name, how, &cpu, NULL);
    return err ? err : assemble(net);
}

/* It fits, computes convolutions again for that, more of them for less, and gives the same bits.  Of
 * so many rows it is activations that decide. */
static void check_limit(const char *name, enum hone_dtype dtype, double less)
{
    struct hone_lowering how = { .batch = 16, .train = 1, .dtype = dtype, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net free_one, net = { 0 };
    how.optim.momentum = 0.9;
    if (!ok(!open_net(&free_one, name, NULL, &how), "%s opens", name)) return;
    const int64_t all = hone_net_bytes(&free_one), some = (int64_t)(less * (double)all);
    const int convs = count(&free_one, "conv2d_fwd", NULL);
    int err = open_within(&net, name, &how, all);
    ok(!err && net.nsteps == free_one.nsteps, "as many bytes as it takes: as ever");
    hone_net_close(&net);
    err = open_within(&net, name, &how, all - 1);
    const int first = count(&net, "conv2d_fwd", NULL) - convs;
    ok(!err && first >= 1 && hone_net_bytes(&net) < all,
       "one byte less: %d convolutions are computed again", first);
    if (!err) ok(alike(&net, &free_one), "which gives the same bits, losses and weights");
    hone_net_close(&net);
    err = open_within(&net, name, &how, some);
    const int more = count(&net, "conv2d_fwd", NULL) - convs;
    ok(!err && more >= first && hone_net_bytes(&net) <= some, "%.2f of them: %d, %lld bytes of %lld",
       less, more, (long long)hone_net_bytes(&net), (long long)some);
    if (!err) {
        hone_net_close(&free_one);   /* it has learned meanwhile */
        how.memory = 0;
        err = open_net(&free_one, name, NULL, &how);
        ok(!err && alike(&net, &free_one), "which gives the same bits, too");
    }
    hone_net_close(&net);
    hone_net_close(&free_one);
    how.memory = some;
    err = open_net(&net, name, NULL, &how);
    ok(is_too_large(err, name), "without being asked for that, it is an error: %s", hone_errmsg());
    hone_net_close(&net);
    err = open_within(&net, name, &how, 1);
    ok(is_too_large(err, "allows 0.00: "), "one byte: %s", hone_errmsg());
}

static void check_bytes(void)
{
    static const struct { const char *text; int64_t bytes; } good[] = {
        { "1", 1 }, { "500000000", 500000000 }, { "64KiB", 65536 }, { "1.5MiB", 3 << 19 },
        { "2GiB", (int64_t)2 << 30 }, { "1TiB", (int64_t)1 << 40 }, { "64k", 65536 }, { "1.5M", 3 << 19 },
    };
    static const char *const bad[] = { "", "0", "-1", "-2MiB", "MiB", "k", "3x", "3 MiB", "3mib",
                                       "3MB", "3kk", "nan", "inf", "0.5", "9e18", "4194304TiB" };
    int64_t bytes;
    int right = 0, wrong = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        right += !hone_bytes_parse(good[i].text, &bytes) && bytes == good[i].bytes;
    ok(right == sizeof good / sizeof *good, "%d texts are bytes", right);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        wrong += hone_bytes_parse(bad[i], &bytes) == HONE_EPARSE;
    ok(wrong == sizeof bad / sizeof *bad, "%d are none: %s", wrong, hone_errmsg());
}

/* ---- an arena of several nets ---- */

static void check_shared(void)
{
    struct hone_lowering how = { .batch = 8, .train = 1, .device = &cpu,
                                 .optim = hone_optim_default(HONE_SGD) };
    struct hone_net net, small = { 0 }, large = { 0 };
    int err = open_net(&net, "lenet5", NULL, &how);
    how.train = 0;
    if (!err) err = hone_net_open(&small, "lenet5", &how);
    if (!err) err = hone_net_assemble(&small, NULL, &cpu, &net);
    how.batch = 128;
    if (!err) err = hone_net_open(&large, "lenet5", &how);
    if (!err) err = hone_net_assemble(&large, NULL, &cpu, &net);
    ok(!err && small.arena == net.arena, "evaluation computes where training does");
    ok(!err && large.arena != net.arena && bytes_of(&large) > bytes_of(&net),
       "but where it needs more, which is its own");
    hone_net_close(&large);
    hone_net_close(&small);
    hone_net_close(&net);
}

/* ---- workspaces ---- */

/* Do our kernels of that name need less than so many bytes for the problem, with one thread?  More
 * have more at once. */
static void check_little(const char *problem, const char *name, int64_t bytes, const char *what)
{
    struct hone_device one = cpu;
    struct hone_problem p;
    int n = 0, little = 1;
    one.ncores = 1;
    if (hone_problem_parse(problem, &p)) { ok(0, "%s: %s", problem, hone_errmsg()); return; }
    for (int i = 0; hone_kernels[i]; i++) {
        const struct hone_kernel *k = hone_kernels[i];
        struct hone_plan plan;
        if (strncmp(k->name, name, strlen(name)) || k->build != HONE_AOT ||
            hone_kernel_refuse(k, &p, &one) || hone_plan_open(&plan, &p, k, NULL, &one))
            continue;
        n++;
        little &= (int64_t)plan.workspace_bytes < bytes;
        if ((int64_t)plan.workspace_bytes >= bytes)
            printf("# %s: %lld bytes\n", k->name, (long long)plan.workspace_bytes);
        hone_plan_close(&plan);
    }
    ok(n && little, "%s needs less than half of %s", problem, what);
}

/* With many channels and few pixels Winograd's transformed weights, or the sums of their gradient,
 * are most of what there is: our kernels never have all of them at once. */
static void check_winograd(const char *problem)
{
    check_little(problem, "cpu_winograd", 36 * 256 * 256 * 4 / 2, "its transformed weights");
}

/* Of filters' gradient the larger one of both factors is never copied as a whole, nor of convolution
 * what is larger than the packed weights. */
static void check_images(void)
{
    check_little("conv2d_dgrad:f32:nhwc:mb256ic64ih4oc192oh4kh3ph1", "cpu_images_",
                 (256 * 16 + 9 * 64) * 192 * 4 / 2, "what it reads");
    check_little("conv2d_wgrad:f32:nhwc:mb128ic64ih4oc192oh4kh5ph2", "cpu_images_wgrad",
                 128 * 16 * (64 + 192) * 4 / 2, "what it reads");
    check_little("conv2d_wgrad:f32:nhwc:mb128ic384ih2oc64oh2kh3ph1", "cpu_images_wgrad",
                 128 * 4 * (384 + 64) * 4 / 2, "what it reads");
}

int main(void)
{
    /* The second layer has nine tenths of all parameters. */
    static const char products[] = "input x c=100\nfc g = x k=1024 act=relu\n"
                                   "fc h = g k=1024 act=relu\nfc y = h k=10\nsoftmax_ce l = y\n";
    static const char filters[] =
        "input x c=3 h=4 w=4\nconv g = x k=64 r=3 p=1 act=relu\n"
        "conv h = g k=1024 r=3 p=same act=relu\ngap a = h\nfc y = a k=10\nsoftmax_ce l = y\n";
    static const char rectified[] = "input x c=64\nfc g = x k=1024 act=relu\n"
                                    "fc h = g k=4096 act=relu\nfc y = h k=10\nsoftmax_ce l = y\n",
                      apart[] = "input x c=64\nfc g = x k=1024 act=relu\n"
                                "fc h = g k=4096 bias=0 act=silu\nfc y = h k=10\nsoftmax_ce l = y\n";
    static const char large[] =
        "input x c=3 h=4 w=4\nconv f = x k=64 r=3 p=1 act=relu\nconv g = f k=192 r=5 p=2 act=relu\n"
        "conv h = g k=160 r=3 p=1 act=relu\ngap a = h\nfc y = a k=10\nsoftmax_ce l = y\n";
    /* Sums that nothing cuts off, which the next normalisation reads (He et al. 2016). */
    static const char before[] =
        "input x c=3 h=8 w=8\nconv c0 = x k=8 r=3 p=1 bias=0\nbnorm y0 = c0\n"
        "repeat i=1..6\n bnorm a{i} = y{i-1}\n relu b{i} = a{i}\n"
        " conv c{i} = b{i} k=8 r=3 p=1 bias=0\n bnorm d{i} = c{i}\n add y{i} = d{i} y{i-1}\nend\n"
        "gap g = y6\nfc f = g k=10\nsoftmax_ce loss = f\n";
    if (!ok(!hone_device_open(&cpu, "cpu0"), "cpu0 opens")) return tap_end();
    /* Of option A's sums those after the first of a stage, all but every fourth; of B's those, too,
     * with their projections. */
    check_again("resnet56:n=2", NULL, 4, HONE_F32, 11);
    check_again("resnet56:n=1,option=B", NULL, 4, HONE_F64, 9);
    check_again("resnet56:n=6", NULL, 4, HONE_BF16, 32);
    check_again("before.net", before, 4, HONE_F32, 11);
    check_again("mobilenetv1:width=0.25", NULL, 4, HONE_F32, 26);
    check_again("mobilenetv1:width=0.25", NULL, 4, HONE_BF16, 26);
    check_limit("resnet56:width=4", HONE_F32, 0.8);
    check_limit("resnet56:width=4,option=B", HONE_BF16, 0.8);
    check_limit("mobilenetv1:width=0.25", HONE_F64, 0.9);
    check_limit("cifar10-cnn", HONE_F32, 0.95);
    check_limit("cifar10-cnn:activation=tanh", HONE_BF16, 0.93);
    check_bytes();
    check_shared();
    check_parts(HONE_F32, 5);
    check_parts(HONE_F64, 10);
    check_parts(HONE_BF16, 3);
    check_pieces("fc", products, HONE_F32, 8, 0);
    check_pieces("fc", products, HONE_F64, 16, 0);
    check_pieces("fc", products, HONE_BF16, 8, 9);
    check_pieces("conv", filters, HONE_F32, 4, 0);
    check_pieces("conv", filters, HONE_BF16, 4, 1);   /* so small an input is kept */
    check_order(large);
    check_columns(rectified, HONE_BF16);
    check_columns(apart, HONE_BF16);
    check_columns(rectified, HONE_F16);
    check_dropouts(HONE_F32);
    check_dropouts(HONE_F64);
    check_dropouts(HONE_BF16);
    static const char *const nets[] = { "lenet5", "alexnet", "cifar10-cnn", "resnet56:n=3",
                                        "mobilenetv1:width=0.5", "vgg16:width=0.5,fc=512" };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) check_places(nets[i]);
    check_rest();
    check_winograd("conv2d_fwd:f32:nhwc:mb16ic256ih4oc256oh4kh3ph1");
    check_winograd("conv2d_dgrad:f32:nhwc:mb16ic256ih4oc256oh4kh3ph1");
    check_winograd("conv2d_wgrad:f32:nhwc:mb16ic256ih4oc256oh4kh3ph1");
    check_images();
    hone_device_close(&cpu);
    return tap_end();
}
