# SPDX-License-Identifier: GPL-2.0
#
# The scaling curves, from files CURVE.KERNEL in the directory "data".
set terminal svg size 900,700 dynamic font "sans,13" background "white"
set multiplot layout 2,2
set logscale xy
set format y "%.0s %c"
set grid
set key left top
set ylabel "guest instructions"
set style data linespoints
set style line 1 lw 2 pt 7 ps 0.6 lc rgb "#b0413e"
set style line 2 lw 2 pt 5 ps 0.6 lc rgb "#2b6a99"
set xtics (250, 500, 1000, 2000, 4000, 8000)

file(curve, kernel) = sprintf("%s/%s.%s", data, curve, kernel)

set title "register a new event"
set xlabel "events of the process"
set yrange [1000:1000000]
plot file("register_new", "baseline") title baseline ls 1, \
     file("register_new", "ours") title "ours" ls 2

set title "unregister, the event stays"
plot file("unregister", "baseline") title baseline ls 1, \
     file("unregister", "ours") title "ours" ls 2

set title "fork, exit and wait"
set xlabel "registrations of the process"
set yrange [100000:10000000]
plot file("fork_exit", "baseline") title baseline ls 1, \
     file("fork_exit", "ours") title "ours" ls 2

set title "switch one event on and off"
set xlabel "other events of the process"
set yrange [10000:1000000]
plot file("toggle", "baseline") title baseline ls 1, \
     file("toggle", "ours") title "ours" ls 2
