# gnuplot throughput.gp draws throughput.svg and throughput.png from throughput.dat.
set title 'Training throughput' noenhanced
set xlabel 'batch'
set ylabel 'rows per second'
set grid
set logscale x 2
set yrange [0:*]
set format y '%.0f'
set key outside right noenhanced
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,600 }
    if (kind eq 'png') { set terminal @png size 1000,600 }
    set output 'throughput.'.kind
    plot 'throughput.dat' index 0 using 1:2:xtic(1) with linespoints title 'the run'
}
