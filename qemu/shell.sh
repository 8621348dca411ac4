#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# shell.sh [-g] [NAME]: a shell in the guest, on the kernel NAME. With -g it waits
# for gdb before it boots.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

debugger=
if [ "$1" = -g ]; then
	debugger="-g -a nokaslr"
	shift
fi
name=${1:-x86_64}
# shellcheck source=name.sh
. "$top/qemu/name.sh"
"$top/qemu/packages.sh" kernel guest || exit
"$top/qemu/kernel.sh" "$name" || exit

echo "The files are this machine's, what you write to them is lost at the end."
echo "Leave with 'exit', or kill the guest with Ctrl-A X."
[ -z "$debugger" ] || echo "It waits for: gdb -ex 'target remote :1234' $obj/vmlinux"
size=$(stty size 2>/dev/null)
# shellcheck disable=SC2016,SC2086 # the guest's shell expands it; options
boot_kernel -s -b $debugger -l "$logs/shell.log" sh -c '
	stty rows "${1% *}" cols "${1#* }" 2>/dev/null
	cd /sys/kernel/tracing && exec bash -i' sh "${size:-24 80}"
