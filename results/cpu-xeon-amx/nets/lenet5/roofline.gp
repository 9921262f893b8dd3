# gnuplot roofline.gp draws roofline.svg and roofline.png from roofline.dat.
set title 'Roofline: lenet5, batch 64' noenhanced
set grid
set xlabel 'flops for each byte that must move'
set ylabel 'GFLOP/s'
set logscale x 2
set logscale y 10
set key outside right noenhanced
set yrange [*:893.258]
roof(x, rate) = rate * x < 446.629 ? rate * x : 446.629
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,600 }
    if (kind eq 'png') { set terminal @png size 1000,600 }
    set output 'roofline.'.kind
    plot roof(x, 606.517) with lines lc rgb '#b42318' dt 1 title 'L1, 607 GB/s', \
        roof(x, 354.399) with lines lc rgb '#b42318' dt 2 title 'L2, 354 GB/s', \
        roof(x, 37.8542) with lines lc rgb '#b42318' dt 3 title 'L3, 38 GB/s', \
        roof(x, 31.1013) with lines lc rgb '#b42318' dt 4 title 'memory, 31 GB/s', \
        'roofline.dat' index 0 using 1:2:(0.6 + 6 * sqrt($3)) with points pt 7 ps variable lc 1 title 'fwd', \
        'roofline.dat' index 1 using 1:2:(0.6 + 6 * sqrt($3)) with points pt 7 ps variable lc 2 title 'loss', \
        'roofline.dat' index 2 using 1:2:(0.6 + 6 * sqrt($3)) with points pt 7 ps variable lc 3 title 'wgrad', \
        'roofline.dat' index 3 using 1:2:(0.6 + 6 * sqrt($3)) with points pt 7 ps variable lc 4 title 'dgrad', \
        'roofline.dat' index 4 using 1:2:(0.6 + 6 * sqrt($3)) with points pt 7 ps variable lc 5 title 'update'
}
