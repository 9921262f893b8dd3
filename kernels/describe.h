/* kernels/describe.h -- descriptions of GPUs, as cuDNN writes and reads them: JSON of a device's
 * properties.  hone_device_describe() opens one. */
#ifndef HONE_DESCRIBE_H
#define HONE_DESCRIBE_H

#include "kernels/kernel.h"

/* Those that are built in, by name; ended by one without. */
struct hone_gpu_text {
    const char *name, *json;
};
extern const struct hone_gpu_text hone_gpu_texts[];

/* The description of a GPU that is here, which the caller frees.  HONE_EDEVICE: no cuDNN, or none
 * that can tell. */
int hone_device_properties(const struct hone_device *d, char **json);

#endif
