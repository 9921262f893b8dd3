/* Parameters, repetition and expressions in net texts: what they make, and each error's message. */
#include "nets/nets.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static int parse(struct hone_net *net, const char *text, const char *set)
{
    struct hone_lowering how = {
        .batch = 2, .train = 1, .optim = hone_optim_default(HONE_SGD), .set = set
    };
    return hone_net_parse(net, "t.net", text, &how);
}

/* ---- expressions: the width of a layer ---- */

static const struct {
    const char *expr;
    int value;
} good[] = {
    { "7", 7 },
    { "1 + 2 * 3", 7 },
    { "(1 + 2) * 3", 9 },
    { "10 - 4 - 3", 3 },
    { "48 / 4 / 2", 6 },
    { "7 / 2 * 2", 7 },
    { "17 % 5", 2 },
    { "-3 % 5", 2 },
    { "- - 4", 4 },
    { "n", 9 },
    { "n*n-n", 72 },
    { "round(n * 0.5)", 5 },
    { "floor(n / 2)", 4 },
    { "ceil(n / 2)", 5 },
    { "max(1, 5, 3)", 5 },
    { "min(4, n)", 4 },
    { "max(1,round(0.01*n))", 1 },
    { "pow(2, n - 1)", 256 },
    { "pick(2, 10, 20, 30)", 20 },
    { "1 + (n == 9)", 2 },
    { "1 + (n != 9)", 1 },
    { "1 + (n < 9) + (n <= 9) * 10", 11 },
    { "1 + (n > 8) + (n >= 10) * 10", 2 },
    { "1 + (w == A)", 2 },
    { "1 + (w == B)", 1 },
    { "1 + (w != B)", 2 },
    { "1 + (w == w2)", 1 },
    { "1 + (half * 2 == 1)", 2 },
    { "((((((((3))))))))", 3 },
};

static void check_good(void)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct hone_net net;
        char text[512];
        snprintf(text, sizeof text,
                 "param n=9 w=A w2=C half=0.5\ninput x c=3\nfc y = x k={%s}\nmse l = y\n",
                 good[i].expr);
        int err = parse(&net, text, NULL), c = err ? -1 : net.layer[1].c;
        if (!ok(!err && c == good[i].value, "{%s} is %d", good[i].expr, good[i].value))
            printf("# %s %d\n", err ? hone_errmsg() : "it is", c);
        hone_net_close(&net);
    }
}

/* ---- lines ---- */

static const char tower[] = "param n=2 width=4 act=relu # defaults\n"
                            "input x0 c=3\n"
                            "repeat i=1..{n}\n"
                            "  let k={width * i}\n"
                            "  if {act == none}\n"
                            "    fc x{i} = x{i-1} k={k}\n"
                            "  else\n"
                            "    fc h{i} = x{i-1} k={k}\n"
                            "    repeat j=1..1\n"
                            "      {act} x{i} = h{i}\n"
                            "    end\n"
                            "  end\n"
                            "end\n"
                            "repeat i=1..0\n"
                            "  nonsense\n"
                            "end\n"
                            "mse l = x{n}\n";

static const struct {
    const char *set, *layers, *name, *params;
} towers[] = {
    { NULL, "x0 3, h1 4, x1 4, h2 8, x2 8, l 8", "t", "n=2 width=4 act=relu" },
    { "n=2", "x0 3, h1 4, x1 4, h2 8, x2 8, l 8", "t", "n=2 width=4 act=relu" },
    { "n=1,width=5", "x0 3, h1 5, x1 5, l 5", "t:n=1,width=5", "n=1 width=5 act=relu" },
    { "width=5,n=1", "x0 3, h1 5, x1 5, l 5", "t:n=1,width=5", "n=1 width=5 act=relu" },
    { "act=none,width=1.0", "x0 3, x1 1, x2 2, l 2", "t:width=1,act=none", "n=2 width=1 act=none" },
    { "act=tanh,n=1", "x0 3, h1 4, x1 4, l 4", "t:n=1,act=tanh", "n=1 width=4 act=tanh" },
};

static void check_towers(void)
{
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        struct hone_net net;
        char layers[512] = "";
        int err = parse(&net, tower, towers[i].set);
        for (int l = 0; l < net.nlayers; l++)
            snprintf(layers + strlen(layers), sizeof layers - strlen(layers), "%s%s %d",
                     l ? ", " : "", net.layer[l].name, net.layer[l].c);
        const char *set = towers[i].set ? towers[i].set : "defaults";
        if (!ok(!err && !strcmp(layers, towers[i].layers), "tower with %s: its layers", set))
            printf("# got %s\n", err ? hone_errmsg() : layers);
        if (!ok(!err && !strcmp(net.name, towers[i].name) &&
                    !strcmp(net.params_text, towers[i].params),
                "its name is %s", towers[i].name))
            printf("# got %s, %s\n", net.name, net.params_text);
        hone_net_close(&net);
    }
    struct hone_net net;
    int err = parse(&net, tower, NULL);
    ok(!err && net.layer[1].line == 8 && net.layer[3].line == 8 && net.layer[5].line == 17,
       "layers know the line that they come from");
    hone_net_close(&net);
}

/* ---- errors ---- */

#define X "input x c=3\n"

static const struct {
    const char *what, *text, *set, *message;
} bad[] = {
    { "unknown name", "param n=2 m=3\n" X "fc y = x k={n+q}\n", NULL,
      "t.net:3: {n+q}: no name 'q'; there are n, m" },
    { "no names at all", X "fc y = x k={q}\n", NULL,
      "t.net:2: {q}: no name 'q'; there are no names" },
    { "name of a block that has ended", X "repeat i=1..1\nend\nfc y = x k={i}\n", NULL,
      "t.net:4: {i}: no name 'i'; there are no names" },
    { "unknown function", X "fc y = x k={sqrt(4)}\n", NULL,
      "t.net:2: {sqrt(4)}: no function 'sqrt'; there are min, max, round, floor, ceil, pow, pick" },
    { "function of too few", X "fc y = x k={pow(4)}\n", NULL,
      "t.net:2: {pow(4)}: pow() takes 2 numbers, not 1" },
    { "function of too many", X "fc y = x k={round(4, 5)}\n", NULL,
      "t.net:2: {round(4, 5)}: round() takes 1 number, not 2" },
    { "pick beyond the list", X "fc y = x k={pick(3, 1, 2)}\n", NULL,
      "t.net:2: {pick(3, 1, 2)}: the result is no number" },
    { "division by zero", "param n=0\n" X "fc y = x k={8 / n}\n", NULL,
      "t.net:3: {8 / n}: division by zero" },
    { "remainder by zero", X "fc y = x k={8 % 0}\n", NULL, "t.net:2: {8 % 0}: division by zero" },
    { "overflow", X "fc y = x k={pow(10, 999)}\n", NULL,
      "t.net:2: {pow(10, 999)}: the result is no number" },
    { "nothing", X "fc y = x k={}\n", NULL,
      "t.net:2: {}: expected a number, a name or ( before ''" },
    { "half an expression", X "fc y = x k={2 +}\n", NULL,
      "t.net:2: {2 +}: expected a number, a name or ( before ''" },
    { "too much", X "fc y = x k={2 3}\n", NULL, "t.net:2: {2 3}: '3' is left over" },
    { "two comparisons", X "fc y = x k={1 < 2 < 3}\n", NULL,
      "t.net:2: {1 < 2 < 3}: '< 3' is left over" },
    { "open parenthesis", X "fc y = x k={(2}\n", NULL, "t.net:2: {(2}: a ( is not closed" },
    { "open call", X "fc y = x k={max(2, 3}\n", NULL, "t.net:2: {max(2, 3}: max( is not closed" },
    { "word in a sum", "param w=A\n" X "fc y = x k={1 + w}\n", NULL,
      "t.net:3: {1 + w}: 'A' is a word, not a number" },
    { "word below a word", "param w=A\n" X "fc y = x k={w < B}\n", NULL,
      "t.net:3: {w < B}: 'A' is a word, not a number" },
    { "fraction for a whole number", X "fc y = x k={7 / 2}\n", NULL,
      "t.net:2: k=3.5: expected a whole number from 1 to 16777216" },
    { "open brace", X "fc y = x k={2\n", NULL, "t.net:2: a { without }" },
    { "closing brace", X "fc y = x k=2}\n", NULL, "t.net:2: a } without {" },
    { "brace in a brace", X "fc y = x k={{2}}\n", NULL, "t.net:2: a { without }" },
    { "repeat without end", X "repeat i=1..3\nrepeat j=1..2\nend\n", NULL,
      "t.net:2: 'repeat' without 'end'" },
    { "if without end", X "if {1}\nelse\n", NULL, "t.net:3: 'else' without 'end'" },
    { "end too many", X "end\n", NULL, "t.net:2: 'end' without 'repeat' or 'if'" },
    { "else of a repeat", X "repeat i=1..3\nelse\nend\n", NULL, "t.net:3: 'else' without 'if'" },
    { "two elses", X "if {1}\nelse\nelse\nend\n", NULL, "t.net:4: 'else' without 'if'" },
    { "repeat of nothing", X "repeat\nend\n", NULL, "t.net:2: expected 'repeat NAME=A..B'" },
    { "repeat without a range", X "repeat i=4\nend\n", NULL,
      "t.net:2: 'repeat i': expected whole numbers A..B" },
    { "repeat of half a layer", X "repeat i=1..{3/2}\nend\n", NULL,
      "t.net:2: 'repeat i': expected whole numbers A..B" },
    { "if of nothing", X "if\nend\n", NULL, "t.net:2: expected 'if {EXPRESSION}'" },
    { "if of a word", X "if A\nend\n", NULL, "t.net:2: 'if A': expected a number; 0 is false" },
    { "param in a block", X "if {1}\nparam n=2\nend\n", NULL, "t.net:3: 'param' inside of 'if'" },
    { "param of nothing", "param\n", NULL, "t.net:1: expected 'param NAME=VALUE...'" },
    { "param without a value", "param n\n", NULL, "t.net:1: 'n': expected NAME=VALUE" },
    { "param with a bad name", "param 9=2\n", NULL,
      "t.net:1: '9': expected a name: a letter, then letters, digits or _" },
    { "param twice", "param n=2\nparam n=3\n", NULL, "t.net:2: 'n' is already a parameter" },
    { "let of a param", "param n=2\nlet n=3\n", NULL, "t.net:2: 'n' is already a parameter" },
    { "loop over a param", "param n=2\nrepeat n=1..3\nend\n", NULL,
      "t.net:2: 'n' is already a parameter" },
    { "value of no word", "param n=a/b\n", NULL,
      "t.net:1: 'a/b': expected a number, or a word of at most 31 letters" },
    { "the second round goes wrong", X "repeat i=1..2\nfc y = x k=2\nend\n", NULL,
      "t.net:3: 'y' is already the name of line 3" },
    { "runaway loop", X "repeat i=1..100000\nrepeat j=1..100000\nend\nend\n", NULL,
      "t.net:3: more than 200000 lines, repeated ones counted" },
    { "runaway layers", "input x0 c=3\nrepeat i=1..100000\nrelu x{i} = x{i-1}\nend\n", NULL,
      "t.net:3: more than 20000 layers" },
    { "unknown parameter", tower, "depth=3", "t.net: no parameter 'depth'; it has n, width, act" },
    { "parameter of a net without", X "fc y = x k=2\nmse l = y\n", "n=3",
      "t.net: no parameter 'n'; it has none" },
    { "parameter twice", tower, "n=3,n=3", "t.net: parameter 'n' is given twice" },
    { "parameter without a value", tower, "n=", "t.net: 'n=': expected name=value" },
    { "no parameters", tower, "", "t.net: '': expected name=value" },
    { "word for a number", tower, "n=many", "t.net:1: parameter 'n' is 'many'; expected a number" },
};

static void check_bad(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hone_net net;
        int err = parse(&net, bad[i].text, bad[i].set);
        if (!ok(err && !strcmp(hone_errmsg(), bad[i].message), "error: %s", bad[i].what))
            printf("# got  '%s'\n# want '%s'\n", err ? hone_errmsg() : "(no error)",
                   bad[i].message);
        hone_net_close(&net);
    }
}

/* Deep nesting must not eat the stack, nor long words a buffer. */
static void check_large(void)
{
    struct hone_net net;
    enum { N = 100000 };
    char *text = malloc(2 * N + 64);
    if (!text) abort();
    strcpy(text, X "fc y = x k={");
    size_t len = strlen(text);
    memset(text + len, '(', 200);
    strcpy(text + len + 200, "}\n");
    ok(parse(&net, text, NULL) && strstr(hone_errmsg(), "more than 32 levels deep"),
       "200 parentheses are refused");
    memset(text + len, '(', N);
    strcpy(text + len + N, "}\n");
    ok(parse(&net, text, NULL) &&
           !strcmp(hone_errmsg(), "t.net:2: an expression of more than 255 letters"),
       "a long expression is refused");
    text[0] = 0;
    for (int i = 0; i < 20; i++) strcat(text, "if {1}\n");
    ok(parse(&net, text, NULL) &&
           !strcmp(hone_errmsg(), "t.net:17: more than 16 blocks in each other"),
       "20 blocks in each other are refused");
    strcpy(text, "param w=abcdefghijklmnopqrstuvwxyz123456\n");
    ok(parse(&net, text, NULL) && strstr(hone_errmsg(), "a word of at most 31 letters"),
       "a long word is refused");
    free(text);
}

/* ---- names of nets ---- */

static void check_names(void)
{
    struct hone_net net;
    struct hone_lowering how = { .batch = 2, .train = 1, .optim = hone_optim_default(HONE_SGD) };
    struct hone_problem p[512];
    int err = hone_net_open(&net, "resnet56:n=1,option=B", &how);
    ok(!err && !strcmp(net.name, "resnet56:n=1,option=B"), "a name keeps its parameters");
    hone_net_close(&net);
    ok(hone_net_open(&net, "resnet56:m=1", &how) &&
           !strcmp(hone_errmsg(),
                   "resnet56.net: no parameter 'm'; it has n, width, classes, option"),
       "a parameter that is not there says which are");
    ok(hone_net_open(&net, "resnet56:", &how) &&
           !strcmp(hone_errmsg(), "net 'resnet56:': expected NAME:PARAMETER=VALUE,..."),
       "a colon and nothing");
    ok(hone_net_open(&net, "resnet:n=1", &how) && strstr(hone_errmsg(), "no net 'resnet'; there"),
       "an unknown net with parameters");
    ok(hone_net_open(&net, "./no.net:n=1", &how) &&
           !strcmp(hone_errmsg(), "./no.net: No such file or directory"),
       "a missing file with parameters");
    int few = hone_net_problems_of("resnet56:n=1", 4, "f32", "sgd", NULL, p, NULL, 512),
        many = hone_net_problems_of("resnet56:n=1,option=B", 4, "f32", "sgd", NULL, p, NULL, 512);
    ok(few > 20 && many > few, "problems follow the parameters (%d, %d)", few, many);
    ok(hone_net_problems_of("mobilenetv1", 4, "f32", "sgd", NULL, p, NULL, 512) > 40,
       "mobilenetv1 has a list of problems");
}

int main(void)
{
    check_good();
    check_towers();
    check_bad();
    check_large();
    check_names();
    return tap_end();
}
