#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# shell.sh [NAME]: a shell in the guest, on the kernel NAME.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
# shellcheck source=name.sh
. "$top/qemu/name.sh"
"$top/qemu/packages.sh" kernel guest || exit
"$top/qemu/kernel.sh" "$name" || exit

echo "The files are this machine's, what you write to them is lost at the end."
echo "Leave with 'exit', or kill the guest with Ctrl-A X."
size=$(stty size 2>/dev/null)
# shellcheck disable=SC2016 # the guest's shell expands it
"$top/qemu/boot.sh" -s -b -k "$build/$name/$image" -m "$memory" \
	-l "$logs/shell.log" sh -c '
	stty rows "${1% *}" cols "${1#* }" 2>/dev/null
	cd /sys/kernel/tracing && exec bash -i' sh "${size:-24 80}"
