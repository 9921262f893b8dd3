/* A net's steps as one graph of the device: they are recorded once and replayed then, at the cost
 * of one launch.  What changes from step to step (batch, learning rate, seed) lies in the device's
 * memory, so that the graph stays as it is. */
#include "nets/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hone_net_forget_graph(struct hone_net *net)
{
    if (net->graph) net->device->backend->forget(net->device, net->graph);
    net->graph = NULL;
    net->nwhole = 0;
}

int hone_net_has_graph(const struct hone_net *net)
{
    const char *wanted = getenv("HONE_GRAPH");
    return net->device->backend->record && net->nwhole >= 0 && !(wanted && !strcmp(wanted, "0"));
}

/* A kernel that cannot be recorded ends the recording, and then the steps run one by one for good;
 * why, in *why.  The recording ends in any case. */
static void record(struct hone_net *net, char why[HONE_TEXT])
{
    struct hone_device *d = net->device;
    void *graph = NULL;
    int err = d->backend->record(d);
    const int begun = !err;
    if (!err) err = hone_net_run(net, 0, net->nsteps);
    if (err) snprintf(why, HONE_TEXT, "%s", hone_errmsg());
    if (begun) {
        const int bad = d->backend->recorded(d, &graph);
        if (bad && !err) snprintf(why, HONE_TEXT, "%s", hone_errmsg());
        err = err ? err : bad;
    }
    if (err && graph) d->backend->forget(d, graph);
    net->graph = err ? NULL : graph;
    if (err) net->nwhole = -1;
}

int hone_net_run_whole(struct hone_net *net, char why[HONE_TEXT])
{
    if (!hone_net_has_graph(net)) return hone_net_run(net, 0, net->nsteps);
    /* The first time libraries load code and take memory, which cannot be recorded. */
    if (net->nwhole++ == 0) return hone_net_run(net, 0, net->nsteps);
    if (!net->graph) record(net, why);
    if (!net->graph) return hone_net_run(net, 0, net->nsteps);
    int err = net->device->backend->replay(net->device, net->graph);
    return err ? hone_fail_at(err, "the step as one graph (HONE_GRAPH=0: without)") : HONE_OK;
}
