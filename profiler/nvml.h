/* profiler/nvml.h -- the state of a GPU while it works, from NVML: clocks, power, energy, heat, and
 * what holds it back.  It explains why two times of one kernel differ. */
#ifndef HONE_NVML_H
#define HONE_NVML_H

#include "kernels/kernel.h"

#include <stdint.h>

/* What a GPU does not tell is -1, of its throttling 0 with throttle_known 0. */
struct hone_gpu_state {
    double sm_mhz, memory_mhz;
    double watts;
    double joules;             /* since the driver was loaded */
    double celsius;
    uint64_t throttle;         /* what keeps the clocks down: bits, see hone_throttle_text() */
    int throttle_known;
};

/* Why there is no NVML here, or NULL. */
const char *hone_nvml_absent(void);

/* The state of the GPU with this PCI bus id ("0000:1b:00.0"), or, for NULL, of the first. */
int hone_gpu_state(const char *bus_id, struct hone_gpu_state *s);

/* That of a device that is open. */
int hone_gpu_state_of(const struct hone_device *d, struct hone_gpu_state *s);

/* "power cap, heat"; "none" for 0. */
const char *hone_throttle_text(uint64_t bits, char text[160]);

#endif
