/* Our numbers of cuDNN's interface are cuDNN's.  Compiled by check_abi.sh, where the headers
 * are. */
#include "kernels/nvidia/cudnn_abi.h"

#include <cudnn.h>

#define X(name, value) _Static_assert((int)CUDNN_##name == (value), #name);
DNN_NUMBERS(X)
#undef X

_Static_assert(sizeof(cudnnBackendDescriptor_t) == sizeof(dnn_descriptor),
               "a descriptor is a pointer");
_Static_assert(sizeof(cudnnDataType_t) == sizeof(int) &&
                   sizeof(cudnnBackendKnobType_t) == sizeof(int),
               "an enum is an int");
