#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fuzz.sh NAME SEED COMMANDS STEPS: the fuzzer on the kernel NAME.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

[ $# = 4 ] || die "usage: fuzz.sh NAME SEED COMMANDS STEPS"
name=$1
# shellcheck source=name.sh
. "$top/qemu/name.sh"
[ "$arch" = x86_64 ] || die "the fuzzer runs on x86_64 only"

# shellcheck source=suites.sh
. "$top/qemu/suites.sh"

# Following each allocation takes most of the time; the test suite looks for leaks.
# Process ids in set_event_pid have more probes in the scheduler come and go, for
# which the kernel patches calls that are always in use.
boot_kernel -o -a "kmemleak=off $bootargs" -t 7200 -l "$logs/fuzz-$name.log" \
	"$suites/user_events/fuzz" -p -s "$2" -c "$3" -n "$4"
