# gnuplot nets.gp draws nets.svg and nets.png from nets.dat.
set title 'Where the time of a training step goes' noenhanced
set grid
set ylabel '% of the parts'
set yrange [0:100]
set style data histograms
set style histogram rowstacked
set style fill solid 0.8
set boxwidth 0.7
set xtics rotate by -30 noenhanced
set key outside right noenhanced
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,500 }
    if (kind eq 'png') { set terminal @png size 1000,500 }
    set output 'nets.'.kind
    plot 'nets.dat' using 2:xtic(1) title 'fwd', \
        'nets.dat' using 3 title 'loss', \
        'nets.dat' using 4 title 'dgrad', \
        'nets.dat' using 5 title 'wgrad', \
        'nets.dat' using 6 title 'update'
}
