/* Net texts, good and bad, with the exact message of each error; the totals of the nets that ship;
 * what lowering makes of them. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static struct hone_lowering lowering(int batch, int train)
{
    return (struct hone_lowering){ .batch = batch,
                                   .train = train,
                                   .optim = hone_optim_default(HONE_SGD) };
}

/* ---- bad texts ---- */

#define KINDS                                                                                      \
    "input, flatten, conv, dwconv, fc, relu, relu6, leaky_relu, sigmoid, tanh, gelu_erf, "         \
    "gelu_tanh, silu, maxpool, avgpool, gap, bnorm, add, concat, shortcut, dropout, softmax_ce, "  \
    "mse, mae, huber"

static const struct {
    const char *what, *text, *message;
} bad[] = {
    { "empty", "", "t.net:1: the net has no input" },
    { "comments only", "# nothing\n\n", "t.net:2: the net has no input" },
    { "no input", "# head\nrelu a = x\n", "t.net:2: no tensor 'x' in the lines above" },
    { "no loss", "input x c=4\nfc y = x k=2\n",
      "t.net:2: the net has no loss (softmax_ce, mse, mae or huber)" },
    { "unknown layer", "input x c=4\ncnov y = x k=2\n",
      "t.net:2: no layer 'cnov'; there are " KINDS },
    { "unknown key", "input x c=4\nfc y = x k=2 bais=0\n",
      "t.net:2: fc has no key 'bais'; it has k, bias, act" },
    { "key of a layer without", "input x c=4\nrelu y = x k=2\n",
      "t.net:2: relu has no key 'k', and no others" },
    { "unknown tensor", "input x c=4\nfc y = z k=2\n",
      "t.net:2: no tensor 'z' in the lines above" },
    { "tensor of a line below", "input x c=4\nfc y = z k=2\nfc z = x k=2\n",
      "t.net:2: no tensor 'z' in the lines above" },
    { "name twice", "input x c=4\nfc x = x k=2\n", "t.net:2: 'x' is already the name of line 1" },
    { "key twice", "input x c=4\nfc y = x k=2 k=3\n", "t.net:2: key 'k' is given twice" },
    { "missing key", "input x c=4\nfc y = x\n", "t.net:2: fc 'y' needs k=" },
    { "missing key of input", "input x h=4\n", "t.net:1: input 'x' needs c=" },
    { "no number", "input x c=4\nfc y = x k=many\n",
      "t.net:2: k=many: expected a whole number from 1 to 16777216" },
    { "number with a tail", "input x c=4\nfc y = x k=2x\n",
      "t.net:2: k=2x: expected a whole number from 1 to 16777216" },
    { "negative", "input x c=-4\n", "t.net:1: c=-4: expected a whole number from 1 to 16777216" },
    { "zero", "input x c=0\n", "t.net:1: c=0: expected a whole number from 1 to 16777216" },
    { "huge", "input x c=99999999999999999999\n",
      "t.net:1: c=99999999999999999999: expected a whole number from 1 to 16777216" },
    { "bad padding", "input x c=1 h=8 w=8\nconv y = x k=2 r=3 p=full\n",
      "t.net:2: p=full: expected a whole number from 0 to 4096, or 'same'" },
    { "bad rate", "input x c=4\ndropout y = x p=1\n",
      "t.net:2: p=1: expected a number from 0 on and below 1" },
    { "rate is nan", "input x c=4\ndropout y = x p=nan\n",
      "t.net:2: p=nan: expected a number from 0 on and below 1" },
    { "unknown activation", "input x c=4\nfc y = x k=2 act=step\n",
      "t.net:2: no activation 'step'; there are relu, relu6, leaky_relu, sigmoid, tanh, gelu_erf, "
      "gelu_tanh, silu" },
    { "layer as activation", "input x c=4\nfc y = x k=2 act=maxpool\n",
      "t.net:2: no activation 'maxpool'; there are relu, relu6, leaky_relu, sigmoid, tanh, "
      "gelu_erf, gelu_tanh, silu" },
    { "no name", "input\n",
      "t.net:1: input '': expected a name: a letter, then letters, digits, _ or -, at most 31" },
    { "bad name", "input 9x c=4\n",
      "t.net:1: input '9x': expected a name: a letter, then letters, digits, _ or -, at most 31" },
    { "long name", "input x2345678901234567890123456789012 c=4\n",
      "t.net:1: input 'x2345678901234567890123456789012': expected a name: a letter, then letters, "
      "digits, _ or -, at most 31" },
    { "no equals sign", "input x c=4\nfc y x k=2\n", "t.net:2: expected 'fc y = TENSOR'" },
    { "key without value", "input x c=4\nfc y = x k=\n", "t.net:2: 'k=': expected key=value" },
    { "word after keys", "input x c=4\nfc y = x k=2 oops\n",
      "t.net:2: 'oops': expected key=value" },
    { "two inputs of one layer", "input x c=4\nfc y = x x k=2\n",
      "t.net:2: fc reads 1 tensor, not 2" },
    { "input that reads", "input x = x c=4\n", "t.net:1: '=': expected key=value" },
    { "control character", "input x c=4\nfc y\001 = x k=2\n",
      "t.net:2: a control character: this is no text" },
    { "second input", "input x c=4\ninput z c=4\n", "t.net:2: a second input; a net has one" },
    { "second loss", "input x c=4\nmse l = x\nmse m = x\n",
      "t.net:3: a second loss; a net has one" },
    { "reading the loss", "input x c=4\nmse l = x\nrelu r = l\n",
      "t.net:3: 'l' is the loss: nothing can read it" },
    { "unused", "input x c=4\nfc a = x k=2\nfc b = x k=2\nmse l = a\n",
      "t.net:3: 'b' is never used" },
    { "image into fc", "input x c=1 h=8 w=8\nfc y = x k=2\nsoftmax_ce l = y\n",
      "t.net:2: fc 'y' reads features, and 'x' is 8x8x1: put flatten between" },
    { "image into loss", "input x c=1 h=8 w=8\nmse l = x\n",
      "t.net:2: mse 'l' reads features, and 'x' is 8x8x1: put flatten between" },
    { "window too large", "input x c=1 h=4 w=4\nconv y = x k=2 r=5\nflatten f = y\nmse l = f\n",
      "t.net:2: conv 'y' on 4x4x1: problem "
      "'conv2d_fwd:f32:nhwc:g1mb4ic1ih4iw4oc2kh5kw5sh1sw1ph0pw0dh0dw0': the kernel spans 5 in "
      "direction h, the padded input only 4" },
    { "pool too large", "input x c=1 h=4 w=4\nmaxpool y = x r=5\nflatten f = y\nmse l = f\n",
      "t.net:2: maxpool 'y' on 4x4x1: problem "
      "'maxpool_fwd:f32:nhwc:mb4ic1ih4iw4kh5kw5sh5sw5ph0pw0': window kh 5 is larger than the "
      "padded input 4" },
    { "pool padding", "input x c=1 h=4 w=4\navgpool y = x r=2 p=2\nflatten f = y\nmse l = f\n",
      "t.net:2: avgpool 'y' on 4x4x1: problem "
      "'avgpool_fwd:f32:nhwc:mb4ic1ih4iw4kh2kw2sh2sw2ph2pw2': ph 2 must be below kh 2, or "
      "the first window is all padding" },
    { "groups", "input x c=3 h=4 w=4\nconv y = x k=4 r=1 g=2\nflatten f = y\nmse l = f\n",
      "t.net:2: conv 'y' on 4x4x3: problem "
      "'conv2d_fwd:f32:nhwc:g2mb4ic3ih4iw4oc4kh1kw1sh1sw1ph0pw0dh0dw0': 2 groups do not divide ic "
      "3" },
    { "one class", "input x c=4\nfc y = x k=1\nsoftmax_ce l = y\n",
      "t.net:3: softmax_ce 'l' needs at least 2 classes, and 'y' has 1" },
    { "too large a tensor", "input x c=16777216 h=16 w=16\nflatten f = x\nmse l = f\n",
      "t.net:1: 'x' would hold 1.718e+10 numbers; at most 2147483647 are possible" },
    { "too many weights", "input x c=16777216\nfc y = x k=16777216\nmse l = y\n",
      "t.net:2: 'y.w' would hold 2.815e+14 numbers; at most 2147483647 are possible" },
    { "add of different shapes",
      "input x c=4\nfc a = x k=2\nfc b = x k=3\nadd s = a b\nmse l = s\n",
      "t.net:4: add 's': 'a' is 1x1x2 and 'b' is 1x1x3: they must be equal" },
    { "add of one", "input x c=4\nadd s = x\n", "t.net:2: add reads 2 tensors, not 1" },
    { "concat of one", "input x c=4\nconcat s = x\n",
      "t.net:2: concat reads 2 or more, at most 16, tensors, not 1" },
    { "concat of different sizes",
      "input x c=4 h=4 w=4\nmaxpool a = x r=2\nconcat s = x a\n"
      "flatten f = s\nfc y = f k=2\nmse l = y\n",
      "t.net:3: concat 's': 'x' is 4x4x4 and 'a' is 2x2x4: their rows and columns must be equal" },
    { "shortcut that drops channels",
      "input x c=4 h=4 w=4\nshortcut s = x k=3\nflatten f = s\nfc y = f k=2\nmse l = y\n",
      "t.net:2: shortcut 's': k=3, and 'x' has 4 channels: it drops none" },
    { "bad first weights", "init zero\ninput x c=4\n",
      "t.net:1: expected 'init glorot', 'init he' or 'init pytorch'" },
    { "nothing to train", "input x c=4\nrelu y = x\nmse l = y\n",
      "t.net: the net has no parameters to train" },
};

static void check_bad(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hone_net net;
        struct hone_lowering how = lowering(4, 1);
        int err = hone_net_parse(&net, "t.net", bad[i].text, &how);
        if (!ok(err && !strcmp(hone_errmsg(), bad[i].message), "bad net: %s", bad[i].what))
            printf("# got  '%s'\n# want '%s'\n", err ? hone_errmsg() : "(no error)",
                   bad[i].message);
        hone_net_close(&net);
    }
}

static void check_open(void)
{
    struct hone_net net;
    struct hone_lowering how = lowering(4, 1);
    ok(hone_net_open(&net, "lenet6", &how) &&
           !strcmp(hone_errmsg(), "no net 'lenet6'; there are lenet5, lenet5-student, mnist-cnn, "
                                  "letter-mlp, housing-mlp, cifar10-cnn, cifar100-cnn, alexnet, "
                                  "vgg16, resnet56, resnet152, mobilenetv1, mobilenetv1-cifar, and "
                                  "any file whose name ends in .net"),
       "an unknown name says which there are");
    ok(hone_net_open(&net, "./no-such.net", &how) &&
           !strcmp(hone_errmsg(), "./no-such.net: No such file or directory"),
       "a missing file");
    ok(hone_net_open(&net, "/", &how) && !strcmp(hone_errmsg(), "/: Is a directory"),
       "a directory");
    how.batch = 0;
    ok(hone_net_open(&net, "lenet5", &how) &&
           !strcmp(hone_errmsg(), "batch 0: it must be 1 or more"),
       "batch 0");
    how = lowering(4, 1);
    how.loss = "hinge";
    ok(hone_net_open(&net, "lenet5", &how) && !strcmp(hone_errmsg(), "no loss 'hinge'"),
       "an unknown loss");
    how.loss = "mae";
    int err = hone_net_open(&net, "housing-mlp", &how);
    ok(!err && !strcmp(net.step[net.first_backward - 1].problem.op->name, "mae"),
       "another loss than the text's");
    hone_net_close(&net);
}

/* ---- good texts ---- */

static const struct {
    const char *name;
    long parameters, macs;
    int classes;
} totals[] = {
    { "lenet5", 61706, 416520, 10 },        { "lenet5-student", 11246, 129300, 10 },
    { "mnist-cnn", 1199882, 11992448, 10 }, { "letter-mlp", 2570, 2472, 26 },
    { "housing-mlp", 1281, 1152, 1 },       { "cifar10-cnn", 1250858, 20741120, 10 },
    { "cifar100-cnn", 1297028, 20787200, 100 },
    { "alexnet", 2472266, 14957056, 10 },
    { "vgg16", 34015396, 332480512, 100 },
    { "vgg16:bn=0", 34006948, 332480512, 100 },
    { "vgg16:fc=0", 14774436, 313247744, 100 },
    { "vgg16:bn=0,fc=0", 14765988, 313247744, 100 },
    { "resnet56", 853018, 125485696, 10 },
    { "resnet56:option=B", 855770, 125747840, 10 },
    { "resnet56:n=6", 561370, 83018368, 10 },
    { "resnet56:n=6,option=B", 564122, 83280512, 10 },
    { "resnet56:n=3", 269722, 40551040, 10 },
    { "resnet152", 3667354, 232969216, 10 },
    { "mobilenetv1", 3228170, 11596288, 10 },
    { "mobilenetv1-cifar", 3217226, 46354432, 10 },
    { "mobilenetv1:size=224,classes=1000,bias=0", 4231976, 568740352, 1000 },
    { "mobilenetv1:width=0.5", 829194, 3045632, 10 },
};

static void check_running(void)
{
    static const struct {
        const char *name;
        long running;
    } nets[] = { { "lenet5", 0 }, { "resnet56", 4064 }, { "mobilenetv1", 21888 } };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct hone_net net;
        struct hone_lowering how = lowering(3, 0);
        ok(!hone_net_open(&net, nets[i].name, &how) && hone_net_running(&net) == nets[i].running,
           "%s has %ld running values", nets[i].name, nets[i].running);
        hone_net_close(&net);
    }
}

static void check_totals(void)
{
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        struct hone_net net;
        struct hone_lowering how = lowering(3, 1);
        int64_t macs = 0, parameters = 0;
        if (!ok(!hone_net_open(&net, totals[i].name, &how), "%s opens", totals[i].name)) {
            printf("# %s\n", hone_errmsg());
            continue;
        }
        for (int l = 0; l < net.nlayers; l++) {
            macs += net.layer[l].macs;
            parameters += net.layer[l].parameters;
        }
        ok(net.parameters == totals[i].parameters && parameters == net.parameters,
           "%s has %ld parameters", totals[i].name, totals[i].parameters);
        ok(macs == totals[i].macs, "%s has %ld MACs", totals[i].name, totals[i].macs);
        ok(net.tensor[net.output].dim[1] == totals[i].classes && net.tensor[net.output].dim[0] == 3,
           "%s: output (3, %d)", totals[i].name, totals[i].classes);
        hone_net_close(&net);
    }
}

/* Counts the steps whose problem's text holds `part`. */
static int count(const struct hone_net *net, const char *part)
{
    int n = 0;
    for (int i = 0; i < net->nsteps; i++) {
        char text[HONE_TEXT];
        hone_problem_print(&net->step[i].problem, text);
        n += strstr(text, part) != NULL;
    }
    return n;
}

static void check_lowering(void)
{
    static const char text[] =
        "input x c=2 h=9 w=9\nconv c1 = x k=4 r=3 p=same stride=2\nrelu a1 = c1\nmaxpool p = a1 "
        "r=2\n"
        "conv c2 = p k=4 r=2 bias=0\ngelu_erf a2 = c2\ndropout d = a2 p=0.5\nflatten f = d\n"
        "fc y = f k=3\nsoftmax_ce l = y";
    struct hone_net net;
    struct hone_lowering how = lowering(2, 1);
    if (!ok(!hone_net_parse(&net, "dir/t.net", text, &how), "a net of every sort of layer"))
        printf("# %s\n", hone_errmsg());
    ok(!strcmp(net.name, "t"), "its name is the file's");
    ok(count(&net, "conv2d_fwd:f32:nhwc:mb2ic2ih9oc4oh5kh3sh2ph1:bias+relu") == 1,
       "relu is conv's epilogue");
    ok(count(&net, "relu") == 2 && count(&net, "kh2sh2:index+relu") == 1,
       "and its gradient is in the places of the maximum above");
    ok(count(&net, "gelu_erf:") == 1 && count(&net, "+gelu_erf") == 0,
       "gelu, whose gradient needs its input, is a step");
    ok(count(&net, "conv2d_dgrad") == 1 && count(&net, "conv2d_wgrad") == 2,
       "the first layer computes no input gradient");
    ok(count(&net, "bias_bwd") == 2, "bias=0 leaves the bias out");
    ok(count(&net, "dropout") == 2 && net.seed >= 0, "dropout runs forward and backward");
    ok(count(&net, "sgd:f32:any:n") == 1, "one step of the optimizer");
    hone_net_close(&net);
    how.train = 0;
    ok(!hone_net_parse(&net, "t.net", text, &how), "for evaluation");
    ok(net.nsteps == 5 && count(&net, "+gelu_erf") + count(&net, ":gelu_erf") == 1 &&
           !count(&net, "dropout"),
       "evaluation fuses every activation and drops dropout");
    hone_net_close(&net);
}

static void check_act_key(void)
{
    static const char *const acts[] = { "relu", "relu6",    "leaky_relu", "sigmoid",
                                        "tanh", "gelu_erf", "gelu_tanh",  "silu" };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char key[128], line[128];
        struct hone_net with, apart;
        struct hone_lowering how = lowering(2, 1);
        snprintf(key, sizeof key, "input x c=3\nfc h = x k=4 act=%s\nfc y = h k=2\nmse l = y\n",
                 acts[i]);
        snprintf(line, sizeof line,
                 "input x c=3\nfc g = x k=4\n%s h = g\nfc y = h k=2\nmse l = y\n", acts[i]);
        int err = hone_net_parse(&with, "a.net", key, &how) ||
                  hone_net_parse(&apart, "b.net", line, &how);
        int same = !err && with.nsteps == apart.nsteps;
        for (int s = 0; same && s < with.nsteps; s++)
            same = hone_problem_equal(&with.step[s].problem, &apart.step[s].problem);
        ok(same, "act=%s and a line of its own make the same steps", acts[i]);
        hone_net_close(&with);
        hone_net_close(&apart);
    }
}

static void check_problems(void)
{
    struct hone_problem p[128], conv;
    struct hone_use use[128];
    int twice = 0, adam = 0, stage = 0;
    int n = hone_net_problems_of("lenet5", 64, "f32", "sgd,adam", NULL, p, NULL, 128);
    for (int i = 0; i < n; i++) {
        adam += !strcmp(p[i].op->name, "adam");
        for (int j = 0; j < i; j++) twice += hone_problem_equal(&p[i], &p[j]);
    }
    ok(n > 20 && !twice, "lenet5 has %d different problems, none twice", n);
    ok(adam == 1, "among them both optimizers'");
    ok(hone_net_problems_of("lenet5", 64, "f32", "sgd,adam", NULL, p, NULL, 3) < 0,
       "a list too short is an error");
    ok(hone_net_problems_of("no-net", 64, "f32", "sgd", NULL, p, NULL, 128) < 0,
       "so is an unknown net");
    n = hone_net_problems_of("resnet56", 4, "f32", "sgd", NULL, p, use, 128);
    hone_problem_parse("conv2d_fwd:f32:nhwc:mb4ic16ih32oc16oh32kh3ph1", &conv);
    for (int i = 0; i < n; i++) stage += hone_problem_equal(&p[i], &conv) ? use[i].times : 0;
    ok(stage == 2 * 18, "resnet56's first stage has 18 equal convolutions, fused and apart: %d",
       stage);
}

/* What each problem is to a plain net, whose step can be one op, with one optimizer and with two. */
static void check_uses(void)
{
    struct hone_problem p[64];
    struct hone_use use[64];
    int n = hone_net_problems_of("letter-mlp", 16, "f32", "sgd,adam", NULL, p, use, 64), whole = 0,
        once = 0, twice = 0, both = 0;
    for (int i = 0; i < n; i++) {
        const char *op = p[i].op->name;
        if (!strcmp(op, "mlp_ce"))
            whole += use[i].whole * (use[i].in == 1 ? 1 : use[i].in == 2 ? 100 : 10000);
        else if (!strcmp(op, "sgd") || !strcmp(op, "adam"))
            once += use[i].in == (op[0] == 's' ? 1u : 2u) && use[i].each == 1 && !use[i].whole;
        else both += use[i].in == 3 && !use[i].whole;
        /* Dropout and its gradient are one problem. */
        twice += !strcmp(op, "dropout") && use[i].each == 2;
    }
    ok(n > 18 && whole == 1717 && once == 2 && both == n - 6,
       "letter-mlp: %d problems, one of each optimizer's step alone, and it as one op: %d", n,
       whole);
    ok(twice == 2, "a problem that is two steps of it is counted twice, whatever the optimizers");
}

/* A teacher's logits are an input of training alone. */
static void check_teacher(void)
{
    static const char text[] = "input x c=5\nfc y = x k=4\nsoftmax_ce l = y\n";
    struct hone_lowering how = { .batch = 8,
                                 .optim = hone_optim_default(HONE_SGD),
                                 .teacher_temperature = 4,
                                 .teacher_mix = 0.5 };
    char problem[HONE_TEXT] = "";
    struct hone_net net;
    for (int train = 0; train < 2; train++) {
        how.train = train;
        int err = hone_net_parse(&net, "t.net", text, &how), t = err ? -1 : net.teacher;
        for (int i = 0; !err && i < net.nsteps; i++)
            if (net.step[i].phase == HONE_LOSS) hone_problem_print(&net.step[i].problem, problem);
        ok(!err &&
               (train ? t >= 0 && net.tensor[t].role == HONE_ROLE_DATA &&
                            net.tensor[t].dim[0] == 8 && net.tensor[t].dim[1] == 4
                      : t < 0) &&
               !strcmp(problem,
                       train ? "distill:f32:any:m8n4:t4+mix0.5" : "softmax_ce:f32:any:m8n4"),
           "with a teacher %s computes %s", train ? "training" : "evaluation", problem);
        hone_net_close(&net);
    }
}

int main(void)
{
    check_bad();
    check_open();
    check_totals();
    check_running();
    check_lowering();
    check_act_key();
    check_problems();
    check_uses();
    check_teacher();
    return tap_end();
}
