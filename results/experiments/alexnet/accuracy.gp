# gnuplot accuracy.gp draws accuracy.svg and accuracy.png from accuracy.dat.
set title 'Test accuracy' noenhanced
set xlabel 'epoch'
set ylabel 'test accuracy'
set grid
stats 'accuracy.dat' using 1 nooutput
set xtics ceil((STATS_max - 1) / 12.0)
set key outside right noenhanced
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,600 }
    if (kind eq 'png') { set terminal @png size 1000,600 }
    set output 'accuracy.'.kind
    plot 'accuracy.dat' index 0 using 1:2 with linespoints lw 1 title 'optimizer=sgd lr=0.01', \
        'accuracy.dat' index 1 using 1:2 with linespoints lw 1 title 'optimizer=sgd lr=0.001', \
        'accuracy.dat' index 2 using 1:2 with linespoints lw 1 title 'optimizer=sgd lr=0.0001', \
        'accuracy.dat' index 3 using 1:2 with linespoints lw 1 title 'optimizer=adam lr=0.01', \
        'accuracy.dat' index 4 using 1:2 with linespoints lw 1 title 'optimizer=adam lr=0.001', \
        'accuracy.dat' index 5 using 1:2 with linespoints lw 1 title 'optimizer=adam lr=0.0001', \
        'accuracy.dat' index 6 using 1:2 with linespoints lw 1 title 'optimizer=rmsprop lr=0.01', \
        'accuracy.dat' index 7 using 1:2 with linespoints lw 1 title 'optimizer=rmsprop lr=0.001', \
        'accuracy.dat' index 8 using 1:2 with linespoints lw 2 title 'optimizer=rmsprop lr=0.0001'
}
