#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# test-guest.sh SUITES RESULTS [OPTION...]: in the guest, run the kselftests that
# are installed in SUITES, then collect what the kernel's tools have found.

suites=$1
results=$2
shift 2

"$suites/run_kselftest.sh" "$@"

# A leak counts when two scans find it; the kernel says so on the console.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	sleep 6
	echo scan >$leaks
	echo scan >$leaks
	cat $leaks
fi

coverage=/sys/kernel/debug/gcov
if [ -d $coverage ]; then
	find $coverage -name 'trace_events_user.gcda' -exec cp {} "$results" \;
fi
exit 0
