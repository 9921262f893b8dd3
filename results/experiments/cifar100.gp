# gnuplot cifar100.gp makes cifar100.svg from cifar100.dat.
set terminal svg size 720,420 font "sans,13" background "white"
set output "cifar100.svg"
set title "cifar100-cnn on 10,000 rows of CIFAR-100: accuracy by epoch"
set xlabel "epoch"
set ylabel "accuracy"
set yrange [0:]
set grid ytics
set key right bottom
plot "cifar100.dat" index 0 using 1:2 with lines lw 1 lc rgb "#c0c0c0" title "training rows", \
     "" index 0 using 1:3 with lines lw 2 lc rgb "#888888" title "test rows", \
     "" index 1 using 1:2 with lines lw 1 lc rgb "#8cc5d6" title "training rows, cut and mirrored", \
     "" index 1 using 1:3 with lines lw 2 lc rgb "#1f6f8b" title "test rows, cut and mirrored", \
     0.33 with lines lw 1 lc rgb "#b03a2e" title "least of the study"
