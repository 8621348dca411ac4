#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# test.sh [-r PERCENT] [NAME [SUITE...]]: KUnit and the kselftests on the kernel
# NAME, or only the given programs of the kselftests. Races go through PERCENT of
# their rounds.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

rounds=100
while getopts r: option; do
	case $option in
	r) rounds=$OPTARG ;;
	*) die "usage: test.sh [-r PERCENT] [NAME [SUITE...]]" ;;
	esac
done
shift $((OPTIND - 1))
if ! [ "$rounds" -ge 1 ] 2>/dev/null || [ "$rounds" -gt 100 ]; then
	die "ROUNDS is $rounds, and has to be 1 to 100 percent"
fi
name=${1:-x86_64}
[ $# -eq 0 ] || shift
# shellcheck source=name.sh
. "$top/qemu/name.sh"
[ "$config" != distro ] || exec "$top/qemu/distro.sh" "$rounds" "$@"

# shellcheck source=suites.sh
. "$top/qemu/suites.sh"
"$top/qemu/patch.sh" || exit

console=$logs/test-$name-console.log
output=$logs/test-$name.tap
choose_suites "$@"

initramfs()
{
	root=$build/$name/initramfs
	rm -rf "$root"
	mkdir -p "$root/tests" "$root/dev" &&
	"${cross}gcc" $cflags -O2 -Wall -Werror -static \
		-isystem "$obj/usr/include" -o "$root/init" "$top/qemu/init.c" &&
	sed 's/^user_events://' "$listed" >"$root/tests/list" &&
	cp -r "$suites/user_events/." "$root/tests" &&
	(cd "$root" && find . | cpio -o -H newc >"$root.cpio")
}

# KCSAN watches the whole kernel; our functions are what is tested.
symbols=
if [ "$config" = kcsan ]; then
	symbols=$results/symbols
	"${cross}nm" "$obj/kernel/trace/trace_events_user.o" |
		awk 'NF == 3 && $2 ~ /[tT]/ { print $3 }' >"$symbols"
	[ -s "$symbols" ] || die "there are no functions in trace_events_user.o"
fi

# What the kernel does not know becomes the environment of its first process.
bootargs="$bootargs UE_ROUNDS=$rounds"

set -- -A "$arch" -l "$console" -r "$symbols" \
	-a "kunit.enable=1 kunit.filter_glob=user_event* $bootargs" -t "$testlimit"
if [ "$arch" = x86_64 ]; then
	# shellcheck disable=SC2086 # options
	set -- "$@" -w "$results" "$top/qemu/test-guest.sh" "$suites" "$results" $tests
else
	logged "making the initramfs" "initramfs-$name" initramfs
	set -- "$@" -I "$build/$name/initramfs.cpio"
fi

{
	boot_kernel "$@" 2>"$results/errors"
	echo $? >"$results/status"
} | tee "$output"

# KUnit reports on the console, each line with its time and a carriage return.
kunit=$results/kunit.tap
awk '
{ sub(/^\[ *[0-9.]+\] /, ""); sub(/\r$/, "") }
/^KTAP version/ { inside = 1 }
inside { print }
inside && /^1\.\.[0-9]+/ { left = substr($1, 4) + 1 }
/^(not )?ok [0-9]+/ || /^1\.\./ { if (--left == 0) exit }
' "$console" >"$kunit"
echo
cat "$kunit"

cases=$(grep -c '^[[:space:]]*KUNIT_CASE' "$top/kernel/trace/trace_events_user_test.c")
[ "$config" != gcov ] || "$top/qemu/coverage.sh" "$name"

# Without fault injection in the kernel no test of fault_test can run.
mayskip=
grep -q '^CONFIG_FAULT_INJECTION_DEBUG_FS=y' "$obj/.config" || mayskip=fault_test
awk -f "$top/qemu/tap.awk" -v cases="$cases" -v status="$(cat "$results/status")" \
	-v mayskip="$mayskip" "$listed" "$kunit" "$output"
status=$?
# Last, where who reads a log looks first: what the kernel or QEMU reported.
cat "$results/errors" >&2
[ $status = 0 ]
