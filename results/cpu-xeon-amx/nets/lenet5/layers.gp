# gnuplot layers.gp draws layers.svg and layers.png from layers.dat.
set title 'Time of each layer: lenet5, batch 64' noenhanced
set grid
set ylabel 'ms'
set style data histograms
set style histogram rowstacked
set style fill solid 0.8
set boxwidth 0.8
set yrange [0:*]
set xtics rotate by -50 noenhanced
set key outside right noenhanced
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,600 }
    if (kind eq 'png') { set terminal @png size 1000,600 }
    set output 'layers.'.kind
    plot 'layers.dat' using 2:xtic(1) title 'fwd', \
        'layers.dat' using 3 title 'loss', \
        'layers.dat' using 4 title 'wgrad', \
        'layers.dat' using 5 title 'dgrad', \
        'layers.dat' using 6 title 'update'
}
