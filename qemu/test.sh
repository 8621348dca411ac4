#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# test.sh [NAME [SUITE...]]: KUnit and the kselftests on the kernel NAME, or
# only the given programs of the kselftests.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
[ $# -eq 0 ] || shift
# shellcheck source=name.sh
. "$top/qemu/name.sh"

# shellcheck disable=SC2086 # a list of names
"$top/qemu/packages.sh" kernel guest test $packages || exit
"$top/qemu/kernel.sh" "$name" || exit
"$top/qemu/kernel.sh" "$name" headers || exit
"$top/qemu/patch.sh" || exit

suites=$build/$name/kselftest
rm -rf "$suites"
logged "building the selftests" "selftests-$name" make \
	-C "$tree/tools/testing/selftests" TARGETS=user_events O="$obj" \
	CC="ccache ${cross}gcc" ARCH="$karch" KCFLAGS= INSTALL_PATH="$suites" \
	-j"$(nproc)" install
[ -s "$suites/kselftest-list.txt" ] ||
	fail "building the selftests" "$logs/selftests-$name.log"

tests=
for suite; do
	tests="$tests -t user_events:$suite"
done

console=$logs/test-$name-console.log
output=$logs/test-$name.tap
results=$build/$name/results
rm -rf "$results"
mkdir -p "$results"

echo "Booting build/$name/$image"
# shellcheck disable=SC2086 # options
{
	"$top/qemu/boot.sh" -k "$build/$name/$image" -l "$console" -w "$results" \
		-a "kunit.enable=1 kunit.filter_glob=user_event* $bootargs" \
		-m "$memory" -t "$testlimit" \
		"$top/qemu/test-guest.sh" "$suites" "$results" $tests
	echo $? >"$results/status"
} | tee "$output"

# KUnit reports on the console, each line with its time.
kunit=$results/kunit.tap
awk '
{ sub(/^\[ *[0-9.]+\] /, "") }
/^KTAP version/ { inside = 1 }
inside { print }
inside && /^1\.\.[0-9]+/ { left = substr($1, 4) + 1 }
/^(not )?ok [0-9]+/ || /^1\.\./ { if (--left == 0) exit }
' "$console" >"$kunit"
echo
cat "$kunit"

listed=$suites/kselftest-list.txt
cases=$(grep -c '^[[:space:]]*KUNIT_CASE' "$top/kernel/trace/trace_events_user_test.c")
if [ $# -gt 0 ]; then
	listed=$results/listed
	printf 'user_events:%s\n' "$@" >"$listed"
fi
awk -f "$top/qemu/tap.awk" -v cases="$cases" -v status="$(cat "$results/status")" \
	"$listed" "$kunit" "$output"
