#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# headings.sh: README.md has a line of the list of differences for each heading of
# diff/wanted and the other way round, and the tests that are named there exist.

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

wanted=$top/diff/wanted
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT

sed -n 's/^difference //p' "$wanted" | sort >"$work/wanted"
sed -n '/^## What differs/,/^## /s/^\* \*\*\(.*\)\*\*.*/\1/p' "$top/README.md" |
	sort >"$work/readme"
[ -s "$work/readme" ] || die "README.md has no list of differences"
cmp -s "$work/wanted" "$work/readme" || {
	echo "error: differences of README.md (+) and diff/wanted (-):" >&2
	diff -U0 "$work/wanted" "$work/readme" | grep '^[-+][^-+]' >&2
	exit 1
}

# "shown SUITE TEST"
sed -n 's/^shown //p' "$wanted" | while read -r suite name; do
	grep -q "TEST_F([a-z_]*, $name)" \
		"$top/tools/testing/selftests/user_events/$suite.c" ||
		echo "$suite has no test $name"
done >"$work/missing"
[ ! -s "$work/missing" ] || die "diff/wanted: $(cat "$work/missing")"
