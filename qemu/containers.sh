#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# containers.sh [NAME]: boot the kernel NAME and run programs in containers with a
# group of user events each: of crun, bubblewrap, and bubblewrap without rights.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
"$top/qemu/packages.sh" kernel guest containers || exit
"$top/qemu/kernel.sh" "$name" || exit
"$top/qemu/kernel.sh" "$name" headers || exit

# shellcheck source=name.sh
. "$top/qemu/name.sh"
rm -rf "$build/containers"
mkdir -p "$build/containers"
# A container has no libraries of its own.
for program in samples/user_events/user_events_example qemu/contained; do
	logged "building $program" "containers-${program##*/}" cc -O2 -Wall -Werror \
		-static -I "$obj/usr/include" -o "$build/containers/${program##*/}" \
		"$top/$program.c"
done

boot_kernel -t 600 -l "$logs/containers.log" "$top/qemu/containers-guest.sh" "$build/containers"
