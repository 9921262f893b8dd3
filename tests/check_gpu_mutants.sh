#!/bin/sh
# Seeded bugs in kernels for GPUs: each is put into the text that a jit kernel is compiled of, and the
# proof on the pretend driver must find it.  No GPU is needed, and none is used.
srcdir=$(cd "${srcdir:-.}" && pwd)
. "$srcdir/tests/pretend.inc"
HONE_PRETEND_COMPILER="sh $tmp/compiler"
export HONE_PRETEND_COMPILER tmp

# The compiler is called where the text is a.c, to compile and then to link.
cat >compiler <<'END'
[ -f a.o ] || { sed "$(cat "$tmp/bug")" a.c >b.c; cmp -s a.c b.c || : >"$tmp/changed"; mv b.c a.c; }
exec cc "$@"
END

prove() { # prove BUG PROBLEM KERNEL CONFIG: sets code
    rm -rf changed cache
    printf '%s\n' "$1" >bug
    "$hone" bench --device gpu0 --windows 1 --build jit --problem "$2" --kernel "$3_jit" --config "$4" >out 2>err
    code=$?
}
with() { # with PROBLEM KERNEL CONFIG: what follows is about; without a bug it is right
    about="$1 $2 $3"
    prove '' $about
    [ $code = 0 ] && grep -q ' right ' out && [ ! -f changed ]
    tap $? "$2 of $1 is right"
}
caught() { # caught NAME BUG: as sed puts it in
    prove "$2" $about
    [ $code = 1 ] && [ -f changed ] && grep -q 'is [-0-9.a-z]*, want\|LAUNCH_FAILED\|differ' out err
    tap $? "caught: $1"
}

# 49 tiles of 2 x 2 an image, in two parts of 74 and 73, each in two shares of 40 and less; 13 pixels
# end in half a tile.
with conv2d_wgrad:f32:nhwc:mb3ic5ih13oc6kh3ph1 cuda_winograd m=2,parts=2,split=2
caught "a tile's outputs beyond the image" 's/const int inside = at.h + r < s.out_h .*;/const int inside = 1;/'
caught "a share that is not added up" 's/int share = 0; share < s.split/int share = 1; share < s.split/'
caught "a part that overwrites the one before" 's/if (s.wgrad && given.first) sum += .to;//'
caught "shares that overlap" 's,\*from = blockIdx.z / s.points \* s.share,& - (blockIdx.z >= s.points),'
caught "a share that ends a term too early" 's/\*end = \(.*\) : s.k;/*end = \1 : s.k - 1;/'
caught "the last part as long as the first" 's/if (s.part > s.tiles - given.first) s.part = .*;//'
caught "a transform of dy turned around" 's/winograd_gradient(m, y, half + c, m)/winograd_gradient(m, y, half + c * m, 1)/'
caught "taps turned around" 's/to\[(int64)(3 \* r + c) \* channels\]/to[(int64)(3 * c + r) * channels]/'
caught "a barrier left out" 's/^        __syncthreads();$//'
with conv2d_wgrad:f32:nhwc:mb1ic4ih9oc8kh3ph1:tf32 cuda_winograd_mma m=4
caught "a number of A that is another" 's/(real)0.25 \* y\[2\], o = /(real)0.125 * y[2], o = /'
caught "a copy that nobody waits for" 's/copies_wait(s.stages - 2)/copies_wait(s.stages - 1)/'
with gemm:f32:nn:m20n36k130 cuda_tiled split=4
caught "a part that is not added up" 's/int part = 0; part < s.parts/int part = 0; part < s.parts - 1/'
# 14, 12 and 10 rows of weights, 7 of the batch: no layer's shares are even.
with mlp_ce:f32:any:mb7s2i13h11g9o5:drop0.1+tanh+adam cuda_cluster cluster=4,tile=1,block=128
caught "no barrier of the cluster before sums are added up" '/mem, FORWARD, l, /{n;d;}'
caught "no barrier of the cluster behind the loss" '/^    lose(given, s, mem, step, rank);/{n;d;}'
caught "one of the block in its place" '/^    lose(given, s, mem, step, rank);/{n;s/cluster_sync/__syncthreads/;}'
caught "no barrier of the cluster before the next layer's gradients" '/mem, WEIGHTS, l, /{n;d;}'
caught "weights updated while others read them" '/mem, DATA, l, /{n;d;}'
caught "the sums of a wrong block" 's/sum += \*cluster_place(place, (unsigned)rank)/sum += *cluster_place(place, rank ? rank : 1)/'
caught "gradients that the last block never gets" '/^DEVICE void tell_all/,/^}/s/rank < s.ranks/rank < s.ranks - 1/'
caught "a block behind the last" 's/\*cluster_place(place, (unsigned)rank) = v/*cluster_place(place, rank + 1) = v/'
caught "two blocks with one share" 's/rank = (int)cluster_rank()/& \/ 2/'
caught "shares without what is left over" 's/r.n = n \* (rank + 1) .*/r.n = n \/ s.ranks;/'
caught "the bias taken for a number" '/if (r.from + r.n > k)/d'
echo 1..$n
exit $bad
