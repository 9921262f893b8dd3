/* kernels/backend/up_to.h -- X(n, v) for every n from 1 up to so many: a tile's numbers of rows or
 * pixels, each of which is compiled. */
#ifndef HONE_BACKEND_UP_TO_H
#define HONE_BACKEND_UP_TO_H

#define HONE_UP_TO_2(X, v) X(1, v) X(2, v)
#define HONE_UP_TO_3(X, v) HONE_UP_TO_2(X, v) X(3, v)
#define HONE_UP_TO_4(X, v) HONE_UP_TO_3(X, v) X(4, v)
#define HONE_UP_TO_6(X, v) HONE_UP_TO_4(X, v) X(5, v) X(6, v)
#define HONE_UP_TO_8(X, v) HONE_UP_TO_6(X, v) X(7, v) X(8, v)
#define HONE_UP_TO_9(X, v) HONE_UP_TO_8(X, v) X(9, v)
#define HONE_UP_TO_12(X, v) HONE_UP_TO_9(X, v) X(10, v) X(11, v) X(12, v)
#define HONE_UP_TO_14(X, v) HONE_UP_TO_12(X, v) X(13, v) X(14, v)
#define HONE_UP_TO_16(X, v) HONE_UP_TO_14(X, v) X(15, v) X(16, v)

#endif
