/* The reader of `.net` texts: one layer a line,
 *
 *     KIND NAME [= INPUT...] [KEY=VALUE...]
 *
 * into nodes, after expand.c has replaced parameters and repeated lines.  It knows words, names and
 * keys; shapes are the business of the kinds. */
#include "nets/expand.h"
#include "nets/lower.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names are looked for among all before: more would take minutes. */
enum { MAX_WORDS = 64, MAX_LAYERS = 20000 };

const struct hone_layer_kind *hone_layer_kind_find(const char *name)
{
    for (int i = 0; hone_layer_kinds[i]; i++)
        for (const struct hone_layer_kind *k = hone_layer_kinds[i]; k->name; k++)
            if (!strcmp(k->name, name)) return k;
    return NULL;
}

/* ---- messages ---- */

static void append(char list[HONE_TEXT], const char *word)
{
    size_t len = strlen(list);
    snprintf(list + len, HONE_TEXT - len, "%s%s", len ? ", " : "", word);
}

static int no_kind(const char *name, const char *what, int acts_only)
{
    char list[HONE_TEXT] = "";
    for (int i = 0; hone_layer_kinds[i]; i++)
        for (const struct hone_layer_kind *k = hone_layer_kinds[i]; k->name; k++)
            if (!acts_only || k->is_act) append(list, k->name);
    return hone_fail(HONE_EPARSE, "no %s '%s'; there are %s", what, name, list);
}

static int no_key(const struct hone_layer_kind *kind, const char *name)
{
    char list[HONE_TEXT] = "";
    for (int i = 0; kind->key[i].name; i++) append(list, kind->key[i].name);
    if (!list[0])
        return hone_fail(HONE_EPARSE, "%s has no key '%s', and no others", kind->name, name);
    return hone_fail(HONE_EPARSE, "%s has no key '%s'; it has %s", kind->name, name, list);
}

/* ---- keys ---- */

static int read_whole(const struct hone_key *key, const char *text, double *value)
{
    char *end;
    if (key->type == HONE_KEY_WHOLE_SAME && !strcmp(text, "same")) {
        *value = HONE_SAME;
        return HONE_OK;
    }
    long v = isdigit((unsigned char)text[0]) ? strtol(text, &end, 10) : (end = (char *)text, -1L);
    if (end == text || *end || v < key->min || v > key->max)
        return hone_fail(HONE_EPARSE, "%s=%s: expected a whole number from %.0f to %.0f%s",
                         key->name, text, key->min, key->max,
                         key->type == HONE_KEY_WHOLE_SAME ? ", or 'same'" : "");
    *value = (double)v;
    return HONE_OK;
}

static int read_share(const struct hone_key *key, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value >= 0 && *value < 1))
        return hone_fail(HONE_EPARSE, "%s=%s: expected a number from 0 on and below 1", key->name,
                         text);
    return HONE_OK;
}

static int read_positive(const struct hone_key *key, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value > 0 && *value <= key->max))
        return hone_fail(HONE_EPARSE, "%s=%s: expected a number above 0, at most %g", key->name,
                         text, key->max);
    return HONE_OK;
}

static int read_key(struct hone_node *n, const char *name, const char *text)
{
    int i = 0;
    while (n->kind->key[i].name && strcmp(n->kind->key[i].name, name)) i++;
    const struct hone_key *key = &n->kind->key[i];
    if (!key->name) return no_key(n->kind, name);
    if (n->given >> i & 1) return hone_fail(HONE_EPARSE, "key '%s' is given twice", name);
    n->given |= 1u << i;
    switch (key->type) {
    case HONE_KEY_WHOLE:
    case HONE_KEY_WHOLE_SAME: return read_whole(key, text, &n->value[i]);
    case HONE_KEY_SHARE: return read_share(key, text, &n->value[i]);
    case HONE_KEY_POSITIVE: return read_positive(key, text, &n->value[i]);
    case HONE_KEY_ACT: break;
    }
    n->act = hone_layer_kind_find(text);
    return n->act && n->act->is_act ? HONE_OK : no_kind(text, "activation", 1);
}

/* Fills in what was not given. */
static int complete(struct hone_node *n)
{
    for (int i = 0; n->kind->key[i].name; i++) {
        const struct hone_key *key = &n->kind->key[i];
        if (n->given >> i & 1) continue;
        if (key->required)
            return hone_fail(HONE_EPARSE, "%s '%s' needs %s=", n->kind->name, n->name, key->name);
        n->value[i] = key->def;
        for (int j = 0; key->same && j < i; j++)
            if (!strcmp(n->kind->key[j].name, key->same)) n->value[i] = n->value[j];
    }
    return HONE_OK;
}

/* ---- lines ---- */

static int is_name(const char *s)
{
    size_t len = strlen(s);
    if (!isalpha((unsigned char)s[0]) || len >= HONE_NAME) return 0;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] != '-') return 0;
    return 1;
}

static int find_node(const struct hone_lower *b, const char *name)
{
    for (int i = 0; i < b->nnodes; i++)
        if (!strcmp(b->node[i].name, name)) return i;
    return -1;
}

static int read_inputs(struct hone_lower *b, struct hone_node *n, char *const word[], int nwords)
{
    int self = b->nnodes;
    int most = n->kind->or_more ? HONE_MAX_INPUTS : n->kind->ninputs;
    if (nwords < n->kind->ninputs || nwords > most)
        return hone_fail(HONE_EPARSE, "%s reads %d%s tensor%s, not %d", n->kind->name,
                         n->kind->ninputs, n->kind->or_more ? " or more, at most 16," : "",
                         most == 1 ? "" : "s", nwords);
    n->ninputs = nwords;
    for (int i = 0; i < nwords; i++) {
        int in = find_node(b, word[i]);
        if (in < 0) return hone_fail(HONE_EPARSE, "no tensor '%s' in the lines above", word[i]);
        if (b->node[in].kind->is_loss)
            return hone_fail(HONE_EPARSE, "'%s' is the loss: nothing can read it", word[i]);
        n->input[i] = in;
        b->node[in].nreaders++;
        b->node[in].reader = self;
    }
    return HONE_OK;
}

/* `init he`: first weights, unless the command line says otherwise. */
static int read_init(struct hone_lower *b, char *const word[], int nwords)
{
    int init = nwords == 2 ? hone_init_find(word[1]) : -1;
    if (init < 0)
        return hone_fail(HONE_EPARSE, "expected 'init glorot', 'init he' or 'init pytorch'");
    if (b->how->init == HONE_INIT_DEFAULT) b->net->init = (enum hone_init)init;
    return HONE_OK;
}

static int read_words(struct hone_lower *b, struct hone_node *n, char *word[], int nwords)
{
    int first = 3, err = HONE_OK;
    n->kind = hone_layer_kind_find(word[0]);
    if (!n->kind) return no_kind(word[0], "layer", 0);
    if (nwords < 2 || !is_name(word[1]))
        return hone_fail(
            HONE_EPARSE,
            "%s '%s': expected a name: a letter, then letters, digits, _ or -, at most %d", word[0],
            nwords < 2 ? "" : word[1], HONE_NAME - 1);
    snprintf(n->name, sizeof n->name, "%s", word[1]);
    int twin = find_node(b, n->name);
    if (twin >= 0)
        return hone_fail(HONE_EPARSE, "'%s' is already the name of line %d", n->name,
                         b->node[twin].line);
    if (n->kind->ninputs && (nwords < 4 || strcmp(word[2], "=")))
        return hone_fail(HONE_EPARSE, "expected '%s %s = TENSOR'", n->kind->name, n->name);
    if (!n->kind->ninputs) first = 2;
    int last = first;
    while (last < nwords && !strchr(word[last], '=')) last++;
    err = read_inputs(b, n, word + first, last - first);
    for (int i = last; !err && i < nwords; i++) {
        char *equals = strchr(word[i], '=');
        if (!equals || equals == word[i] || !equals[1])
            return hone_fail(HONE_EPARSE, "'%s': expected key=value", word[i]);
        *equals = 0;
        err = read_key(n, word[i], equals + 1);
    }
    return err ? err : complete(n);
}

/* The words of a line, which is cut up in place; -1 where there are too many. */
static int split(char *line, char *word[MAX_WORDS])
{
    int n = 0;
    char *rest = line;
    for (char *w; (w = strtok_r(rest, " \t\r", &rest)); n++) {
        if (n == MAX_WORDS) return -1;
        word[n] = w;
    }
    return n;
}

static int read_line(void *ctx, int number, char *line)
{
    struct hone_lower *b = ctx;
    char *word[MAX_WORDS];
    for (const char *s = line; *s; s++)
        if ((unsigned char)*s < ' ' && *s != '\t' && *s != '\r')
            return hone_fail(HONE_EPARSE, "a control character: this is no text");
    int nwords = split(line, word);
    if (nwords < 0) return hone_fail(HONE_EPARSE, "more than %d words", MAX_WORDS);
    if (!nwords) return HONE_OK;
    if (!strcmp(word[0], "init")) return read_init(b, word, nwords);
    if (b->nnodes == MAX_LAYERS) return hone_fail(HONE_EPARSE, "more than %d layers", MAX_LAYERS);
    struct hone_node *node = hone_lower_grown(b->node, b->nnodes, sizeof *node);
    if (!node) return HONE_ENOMEM;
    b->node = node;
    b->node[b->nnodes] = (struct hone_node){
        .line = number, .reader = -1, .sum = -1, .sum_of = -1, .y = -1, .pre = -1, .places = -1, .again = -1,
        .weight = -1, .bias = -1
    };
    int err = read_words(b, &b->node[b->nnodes], word, nwords);
    b->nnodes += !err;
    return err;
}

/* "resnet56:n=3": the name alone would be that of another net. */
static int name_net(struct hone_net *net, const struct hone_expand *e, const char *activation)
{
    char changed[HONE_TEXT + HONE_NAME];
    snprintf(changed, sizeof changed, "%s%s%s%s", e->changed,
             activation && e->changed[0] ? "," : "", activation ? "activation=" : "",
             activation ? activation : "");
    size_t len = strlen(net->name), more = strlen(changed);
    if (len + more + 1 >= sizeof net->name)
        return hone_fail(HONE_EINVAL, "%s:%s: a name of more than %zu letters", net->name,
                         changed, sizeof net->name - 1);
    if (more) {
        net->name[len] = ':';
        memcpy(net->name + len + 1, changed, more + 1);
    }
    snprintf(net->params_text, sizeof net->params_text, "%s", e->params);
    return HONE_OK;
}

int hone_lower_read(struct hone_lower *b, const char *text)
{
    struct hone_expand e = { .set = b->how->set, .line = read_line, .ctx = b };
    int err = hone_expand_run(&e, text);
    b->lastline = e.last;
    if (err)
        return e.last ? hone_fail_at(err, "%s:%d", b->file, e.last)
                      : hone_fail_at(err, "%s", b->file);
    return name_net(b->net, &e, b->how->activation);
}
