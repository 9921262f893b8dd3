/* A net as JSON: its layers, how they hang together, and the steps of training. */
#include "nets/nets.h"

#include <jansson.h>
#include <math.h>

static json_t *number(double v)
{
    return v == floor(v) && fabs(v) < 1e15 ? json_integer((json_int_t)v) : json_real(v);
}

static json_t *layers_json(const struct hone_net *net)
{
    json_t *layers = json_array();
    for (int i = 0; i < net->nlayers; i++) {
        const struct hone_layer *l = &net->layer[i];
        json_t *inputs = json_array(), *keys = json_object();
        for (int k = 0; k < l->ninputs; k++)
            json_array_append_new(inputs, json_string(net->layer[l->input[k]].name));
        for (int k = 0; k < l->nkeys; k++)
            json_object_set_new(keys, l->key[k].name, number(l->key[k].value));
        if (l->act) json_object_set_new(keys, "act", json_string(l->act));
        json_array_append_new(
            layers, json_pack("{s:s, s:s, s:s, s:o, s:o, s:[i,i,i], s:I, s:I}", "name", l->name,
                              "kind", l->kind, "what", l->what, "inputs", inputs, "keys", keys,
                              "output", l->h, l->w, l->c, "parameters", (json_int_t)l->parameters,
                              "macs", (json_int_t)l->macs));
    }
    return layers;
}

static json_t *steps_json(const struct hone_net *net)
{
    json_t *steps = json_array();
    for (int i = 0; i < net->nsteps; i++) {
        const struct hone_step *s = &net->step[i];
        char text[HONE_TEXT];
        hone_problem_print(&s->problem, text);
        json_array_append_new(steps,
                              json_pack("{s:s?, s:s, s:s}", "layer",
                                        s->layer < 0 ? NULL : net->layer[s->layer].name, "phase",
                                        hone_phase_name(s->phase), "problem", text));
    }
    return steps;
}

int hone_net_json(const struct hone_net *net, FILE *f)
{
    int64_t macs = 0;
    for (int i = 0; i < net->nlayers; i++) macs += net->layer[i].macs;
    json_t *root = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o}", "net", net->name, "params",
                             net->params_text, "batch", net->batch, "parameters",
                             (json_int_t)net->parameters, "running",
                             (json_int_t)hone_net_running(net), "macs", (json_int_t)macs, "layers",
                             layers_json(net), "steps", steps_json(net));
    int bad = !root || json_dumpf(root, f, JSON_INDENT(2)) || putc('\n', f) == EOF;
    json_decref(root);
    return bad ? hone_fail(HONE_EIO, "cannot write JSON") : HONE_OK;
}
