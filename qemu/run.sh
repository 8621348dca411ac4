#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [NAME]: boot the kernel NAME and show the sample's events in each
# consumer.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
"$top/qemu/packages.sh" kernel guest || exit
"$top/qemu/kernel.sh" "$name" || exit
"$top/qemu/kernel.sh" "$name" headers || exit

# shellcheck source=name.sh
. "$top/qemu/name.sh"
sample=$build/$name/user_events_example
logged "building the sample" sample cc -O2 -Wall -Werror \
	-I "$obj/usr/include" -o "$sample" \
	"$top/samples/user_events/user_events_example.c"

boot_kernel -t 120 -l "$logs/run.log" "$top/qemu/run-guest.sh" "$sample"
