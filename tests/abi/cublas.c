/* Our numbers and sizes of cuBLASLt's interface are its own.  Compiled by check_abi.sh, where the
 * headers are. */
#include "kernels/nvidia/cublas_abi.h"

#include <cublasLt.h>

#define X(name, value) _Static_assert((int)name == (value), #name);
LT_NUMBERS(X)
#undef X

#define AT(ours, theirs) \
    _Static_assert(offsetof(struct lt_result, ours) == offsetof(cublasLtMatmulHeuristicResult_t, theirs), #ours)
_Static_assert(sizeof(struct lt_algo) == sizeof(cublasLtMatmulAlgo_t), "algorithm");
_Static_assert(sizeof(struct lt_result) == sizeof(cublasLtMatmulHeuristicResult_t), "result");
AT(algo, algo);
AT(workspace_bytes, workspaceSize);
AT(status, state);
AT(waves, wavesCount);
