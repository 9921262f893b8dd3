# gnuplot memory.gp draws memory.svg and memory.png from memory.dat.
set title 'Memory in use during a step: lenet5, batch 64' noenhanced
set grid
set xlabel 'part of the step'
set ylabel 'MiB'
set yrange [0:*]
set style fill solid 0.8
set key outside right noenhanced
png = strstrt(GPVAL_TERMINALS, 'pngcairo') ? 'pngcairo' : 'png'
do for [kind in 'svg png'] {
    if (kind eq 'svg') { set terminal svg size 1000,600 }
    if (kind eq 'png') { set terminal @png size 1000,600 }
    set output 'memory.'.kind
    plot 'memory.dat' using 1:7 with fillsteps title 'workspace', \
        'memory.dat' using 1:6 with fillsteps title 'activations', \
        'memory.dat' using 1:5 with fillsteps title 'batch', \
        'memory.dat' using 1:4 with fillsteps title 'optimizer', \
        'memory.dat' using 1:3 with fillsteps title 'gradients', \
        'memory.dat' using 1:2 with fillsteps title 'weights', \
        'memory.dat' using 1:8 with steps lw 2 lc rgb 'black' title 'resident in the first step', \
        2.78497 with lines lc rgb '#b42318' dt 2 title 'planned'
}
