/* What ran on a GPU in one training step: its kernels and copies, by the layers that launched them.
 * Recording disturbs time, so it is a step of its own.  Not run on a GPU yet. */
#include "results/profile.h"

#include <string.h>

static int record(struct hone_profile *prof)
{
    const struct hone_net *net = prof->net;
    int err = HONE_OK;
    /* Where nothing can be recorded, as under another profiler, the rest of the profile stands. */
    if (hone_activity_begin()) return HONE_OK;
    for (int s = 0; !err && s < net->nsteps; s++) {
        hone_activity_step((uint64_t)s + 1);
        err = hone_net_run(net, s, s + 1);
    }
    if (!err) err = net->device->backend->sync(net->device);
    int end = hone_activity_end(&prof->activity);
    /* Where the driver does not tell, occupancy is left out. */
    hone_gpu_limits(net->device, &prof->activity.limits);
    return err ? err : end;
}

int hone_profile_activity(struct hone_profile *prof)
{
    if (strcmp(prof->net->device->backend->name, "cuda") || hone_activity_absent()) return HONE_OK;
    return record(prof);
}

/* Numbers of steps begin at 1. */
static const char *layer_of(void *ctx, uint64_t step)
{
    const struct hone_net *net = ctx;
    const int layer = net->step[step - 1].layer;
    return layer < 0 ? "optimizer" : net->layer[layer].name;
}

json_t *hone_profile_activity_json(const struct hone_profile *prof)
{
    enum { CPU = 3 }; /* a process of the trace; 1 and 2 are the step's and its threads' */
    if (!prof->activity.n) return NULL;
    json_t *events = json_array();
    hone_activity_trace(&prof->activity, CPU, layer_of, (void *)prof->net, events);
    return events;
}
