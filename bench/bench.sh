#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Count what user events cost on the base kernel and on ours, by the benchmarks
# named or by all. Those of all go into results.md and scaling.svg, those of some
# are only printed.

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

bench=$top/bench
work=$build/bench
all="write fork exit toggle toggle_watched toggle_words enable_all hold memory
	groups register destroy let_go crowd"

# shellcheck source=prepare.sh
. "$bench/prepare.sh"
compile user_events_bench bench.c write.c scale.c hold.c

# measure KERNEL: each benchmark in a guest of its own
measure()
{
	: >"$work/$1.txt"
	for name in ${benchmarks:-$all}; do
		begin=$(date +%s)
		"$top/qemu/boot.sh" -i -m 2048 -t 1800 -k "$work/$1.bzImage" \
			-l "$logs/bench-$1-$name.log" "$work/user_events_bench" "$name" \
			>>"$work/$1.txt" || exit
		echo "  $1: $name, $(($(date +%s) - begin)) s"
	done
}

plot()
{
	for kernel in baseline ours; do
		for curve in register_new unregister fork_exit toggle; do
			sed -n "s/^$curve\.\([1-9][0-9]*\) /\1 /p" \
				"$work/$kernel.txt" | sort -n \
				>"$work/$curve.$kernel"
		done
	done
	logged "plotting" bench-plot gnuplot -e "data='$work'" \
		-e "baseline='$version'" -e "set output '$work/scaling.svg'" \
		"$bench/plot.gp"
}

benchmarks=$*
measure baseline
measure ours
awk -v baseline="$version" -v partial="$benchmarks" -f "$bench/table.awk" \
	"$work/baseline.txt" "$work/ours.txt" "$bench/rows" \
	>"$work/results.txt" || exit
cat "$work/results.txt"
[ -z "$benchmarks" ] || exit 0

plot
{
	cat <<END
# What user events cost

Guest instructions, counted under QEMU (-icount) by \`make bench\` on Linux
$version as it is and with this implementation, configured alike. A call's figure
is an average, and includes the system call. Ratio is ours by $version's, growth
is of a kernel's own figures.

END
	cat "$work/results.txt"
	cat <<END

![How costs grow with the number of events](scaling.svg)
END
} >"$bench/results.md"
sed 's/[[:space:]]*$//' "$work/scaling.svg" >"$bench/scaling.svg"
echo "Written: bench/results.md, bench/scaling.svg"
