#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# coverage.sh NAME: which lines of the subsystem the tests have run on the
# kernel NAME, from what the guest has left in build/NAME/results.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=$1
# shellcheck source=name.sh
. "$top/qemu/name.sh"
results=$build/$name/results
[ -e "$results/trace_events_user.gcda" ] ||
	die "the guest has left no coverage in $results"

cp "$results/trace_events_user.gcda" "$obj/kernel/trace" &&
	cd "$obj" || exit
logged "gcov" coverage gcov -b -c -o kernel/trace kernel/trace/trace_events_user.gcda
mv trace_events_user.c.gcov "$results"
rm -f ./*.gcov

echo
echo "Coverage of kernel/trace/trace_events_user.c, see $results/trace_events_user.c.gcov:"
sed -n '/trace_events_user\.c/,/^$/p' "$logs/coverage.log" |
	grep -E '^(Lines|Branches|Taken)'
echo "Lines that did not run:"
grep '#####' "$results/trace_events_user.c.gcov"
