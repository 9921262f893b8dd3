/* What check_shim.c gives to faults.cu: as many numbers as threads. */
#ifndef HONE_TESTS_CUDA_FAULTS_H
#define HONE_TESTS_CUDA_FAULTS_H

struct faults { float *out; };

#endif
