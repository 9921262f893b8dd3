/* kernels/conv2d/winograd_matrices.h -- minimal filtering F(m x m, 3 x 3) for m = 2 and 4 (Winograd
 * 1980; Lavin, Gray: Fast algorithms for convolutional neural networks, 2016).
 *
 * m outputs of a filter of 3 taps are polynomials multiplied at m + 1 points and infinity:
 *
 *     y = A' ((G w) * (B' x))        x: n = m + 2 inputs, w: 3 taps, * element by element
 *
 * and in two dimensions the same along rows and along columns, n * n products where a sum over
 * taps has 9 m * m.  The points are 0, 1, -1 for m = 2, and 0, 1/2, -1/2, 2, -2 for m = 4: with
 * them all numbers in A and B are exact, and errors grow 5 times less than with the usual 0, 1, -1,
 * 2, -2.
 *
 * Who includes this has defined `vf`, a vector or a number, `real`, what it is made of, and
 * HONE_INLINE: backend/cpu.h has them, and a .cu its own. */
#ifndef HONE_CONV2D_WINOGRAD_MATRICES_H
#define HONE_CONV2D_WINOGRAD_MATRICES_H

enum { WINOGRAD_N = 6 };   /* most inputs of a tile in one direction */

/* t = B' x, n = m + 2 vectors that lie `step` apart. */
HONE_INLINE void winograd_input(int m, const vf *x, vf *t, int step)
{
    if (m == 2) {
        t[0 * step] = x[0] - x[2];
        t[1 * step] = x[1] + x[2];
        t[2 * step] = x[2] - x[1];
        t[3 * step] = x[1] - x[3];
        return;
    }
    vf e = x[4] - 4 * x[2], o = x[3] - 4 * x[1];
    vf f = x[4] - (real)0.25 * x[2], p = x[3] - (real)0.25 * x[1];
    t[0 * step] = x[0] - (real)4.25 * x[2] + x[4];
    t[1 * step] = e + (real)0.5 * o;
    t[2 * step] = e - (real)0.5 * o;
    t[3 * step] = f + 2 * p;
    t[4 * step] = f - 2 * p;
    t[5 * step] = x[1] - (real)4.25 * x[3] + x[5];
}

/* y = A' t, m vectors from n. */
HONE_INLINE void winograd_output(int m, const vf *t, vf *y, int step)
{
    if (m == 2) {
        y[0 * step] = t[0] + t[1] + t[2];
        y[1 * step] = t[1] - t[2] - t[3];
        return;
    }
    vf s = t[1] + t[2], d = t[1] - t[2], u = t[3] + t[4], e = t[3] - t[4];
    y[0 * step] = t[0] + s + u;
    y[1 * step] = (real)0.5 * d + 2 * e;
    y[2 * step] = (real)0.25 * s + 4 * u;
    y[3 * step] = (real)0.125 * d + (8 * e + t[5]);
}

/* t = G w, n vectors from 3. */
HONE_INLINE void winograd_weights(int m, const vf *w, vf *t, int step)
{
    if (m == 2) {
        vf s = w[0] + w[2];
        t[0 * step] = w[0];
        t[1 * step] = (real)0.5 * (s + w[1]);
        t[2 * step] = (real)0.5 * (s - w[1]);
        t[3 * step] = w[2];
        return;
    }
    vf s = w[0] + (real)0.25 * w[2], u = w[0] + 4 * w[2];
    t[0 * step] = w[0];
    t[1 * step] = (real)(-8.0 / 15) * (s + (real)0.5 * w[1]);
    t[2 * step] = (real)(-8.0 / 15) * (s - (real)0.5 * w[1]);
    t[3 * step] = (real)(1.0 / 30) * (u + 2 * w[1]);
    t[4 * step] = (real)(1.0 / 30) * (u - 2 * w[1]);
    t[5 * step] = w[2];
}

/* ---- transposes: with them the gradient of the weights is G' ((A dy) * (B' x)) ---- */

/* t = A y, n vectors from m. */
HONE_INLINE void winograd_gradient(int m, const vf *y, vf *t, int step)
{
    if (m == 2) {
        t[0 * step] = y[0];
        t[1 * step] = y[0] + y[1];
        t[2 * step] = y[0] - y[1];
        t[3 * step] = -y[1];
        return;
    }
    vf e = y[0] + (real)0.25 * y[2], o = y[1] + (real)0.25 * y[3];
    vf f = y[0] + 4 * y[2], p = y[1] + 4 * y[3];
    t[0 * step] = y[0];
    t[1 * step] = e + (real)0.5 * o;
    t[2 * step] = e - (real)0.5 * o;
    t[3 * step] = f + 2 * p;
    t[4 * step] = f - 2 * p;
    t[5 * step] = y[3];
}

/* w = G' t, 3 vectors from n. */
HONE_INLINE void winograd_sum(int m, const vf *t, vf *w, int step)
{
    if (m == 2) {
        vf s = (real)0.5 * (t[1] + t[2]);
        w[0 * step] = t[0] + s;
        w[1 * step] = (real)0.5 * (t[1] - t[2]);
        w[2 * step] = t[3] + s;
        return;
    }
    vf s = (real)(-8.0 / 15) * (t[1] + t[2]), d = (real)(-8.0 / 15) * (t[1] - t[2]);
    vf u = (real)(1.0 / 30) * (t[3] + t[4]), e = (real)(1.0 / 30) * (t[3] - t[4]);
    w[0 * step] = t[0] + (s + u);
    w[1 * step] = (real)0.5 * d + 2 * e;
    w[2 * step] = (real)0.25 * s + (4 * u + t[5]);
}

#endif
