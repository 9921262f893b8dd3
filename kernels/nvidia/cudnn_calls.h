/* kernels/nvidia/cudnn_calls.h -- cuDNN's functions, as they were found at run time. */
#ifndef HONE_CUDNN_CALLS_H
#define HONE_CUDNN_CALLS_H

#include "kernels/nvidia/cudnn_abi.h"

#define HONE_CUDNN_CALLS(X)                                                                        \
    X(GetVersion, size_t, (void))                                                                  \
    X(GetErrorString, const char *, (int status))                                                  \
    X(GetLastErrorString, void, (char *text, size_t size))                                         \
    X(Create, int, (dnn_handle * h))                                                               \
    X(Destroy, int, (dnn_handle h))                                                                \
    X(SetStream, int, (dnn_handle h, void *stream))                                                \
    X(BackendCreateDescriptor, int, (int kind, dnn_descriptor *d))                                 \
    X(BackendDestroyDescriptor, int, (dnn_descriptor d))                                           \
    X(BackendFinalize, int, (dnn_descriptor d))                                                    \
    X(BackendSetAttribute, int,                                                                    \
      (dnn_descriptor d, int attr, int type, int64_t n, const void *values))                       \
    X(BackendGetAttribute, int,                                                                    \
      (dnn_descriptor d, int attr, int type, int64_t room, int64_t *n, void *values))              \
    X(BackendExecute, int, (dnn_handle h, dnn_descriptor plan, dnn_descriptor pack))

struct hone_cudnn_calls {
#define X(name, type, args) type(*name) args;
    HONE_CUDNN_CALLS(X)
#undef X
};

extern struct hone_cudnn_calls hone_cudnn;

/* cuDNN's complaint as ours. */
int hone_cudnn_fail(int status, const char *what);

#endif
