#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What write() answers for payloads of every size and what arrives,
# on the base kernel and on ours. The table goes into sizes.md.

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

bench=$top/bench
work=$build/sizes

# shellcheck source=prepare.sh
. "$bench/prepare.sh"
compile sizes -D_GNU_SOURCE -isystem \
	"$build/linux/tools/testing/selftests/user_events" sizes.c

for kernel in baseline ours; do
	begin=$(date +%s)
	ignore=
	# The base kernel warns of samples that are too large for it.
	[ $kernel = ours ] || ignore=-b
	"$top/qemu/boot.sh" $ignore -c 1 -t 600 -k "$work/$kernel.bzImage" \
		-l "$logs/sizes-$kernel.log" "$work/sizes" \
		>"$work/$kernel.txt" || exit
	echo "  $kernel, $(($(date +%s) - begin)) s"
done

awk -v baseline="$version" -f "$bench/sizes.awk" "$work/baseline.txt" \
	"$work/ours.txt" >"$work/table.md" || exit
cat "$work/table.md"
{
	cat <<END
# What write() answers and what arrives

By \`make sizes\`, on Linux $version as it is and with this implementation: a
write of a payload of each size, to consumers with room for it. "arrived" is
byte for byte.

END
	cat "$work/table.md"
} >"$bench/sizes.md"
echo "Written: bench/sizes.md"
