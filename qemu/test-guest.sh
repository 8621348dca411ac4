#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# test-guest.sh SUITES RESULTS [OPTION...]: in the guest, run the kselftests that
# are installed in SUITES, then collect what the kernel's tools have found. The
# tests' verdicts are in the output; the status says whether all of that worked.

suites=$1
results=$2
shift 2

# Without it every test is skipped.
data=/sys/kernel/tracing/user_events_data
if [ ! -e $data ]; then
	echo "error: there is no $data"
	exit 1
fi

status=0
"$suites/run_kselftest.sh" "$@" || status=1

# A leak counts when two scans find it; the kernel says so on the console. It
# refuses to scan once it has run out of memory to follow all allocations.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	sleep 6
	if ! echo scan >$leaks || ! echo scan >$leaks; then
		echo "error: kmemleak does not scan"
		status=1
	fi
	cat $leaks
fi

coverage=/sys/kernel/debug/gcov
if [ -d $coverage ]; then
	find $coverage -name 'trace_events_user.gcda' -exec cp {} "$results" \;
	if [ ! -s "$results/trace_events_user.gcda" ]; then
		echo "error: there is no coverage in $coverage"
		status=1
	fi
fi
exit $status
