/* kernels/gemm/cuda_tiles.h -- tiles of products on a GPU: what the .cu files that include
 * tiled.cuh or mma.cuh and the .c files that launch them share. */
#ifndef HONE_GEMM_CUDA_TILES_H
#define HONE_GEMM_CUDA_TILES_H

/* n neighbouring numbers at `at`, all that there are of those asked for; none where n is 0. */
struct run {
    const void *at;
    int n;
};

/* Without tensor cores: rows and columns of C that a block computes, terms at a time, and rows and
 * columns that a thread has in registers; compiled by nvcc for each line. */
#define SIMT_TILES(X)                                                                              \
    X(32, 32, 8, 2, 2)                                                                             \
    X(64, 32, 8, 4, 2)                                                                             \
    X(64, 64, 8, 4, 4)                                                                             \
    X(64, 64, 16, 4, 4)                                                                            \
    X(128, 64, 8, 8, 4)                                                                            \
    X(128, 128, 8, 8, 8)

/* With them: rows and columns of C that a block computes, terms at a time, and warps down and
 * across. */
#define MMA_TILES(X)                                                                               \
    X(32, 32, 32, 2, 2)                                                                            \
    X(64, 64, 32, 2, 2)                                                                            \
    X(128, 128, 32, 2, 4)                                                                          \
    X(128, 256, 32, 2, 4)

/* Numbers from one row in shared memory to the next, of `width` numbers of `size` bytes.  Rows of k
 * floats that are read along k need 8 words more, all others 16 bytes. */
#define MMA_PITCH(width, size, turned) ((width) + ((turned) && (size) == 4 ? 8 : 16 / (size)))

/* Bytes of the bk terms of `width` rows of A or columns of B. */
#define MMA_BYTES(width, bk, size, turned)                                                         \
    ((size) * ((turned) ? (bk) * MMA_PITCH(width, size, turned)                                    \
                        : (width) * MMA_PITCH(bk, size, turned)))

#endif
