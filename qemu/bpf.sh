#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# bpf.sh [NAME]: boot the kernel NAME and send the samples' events to BPF
# programs: by libbpf, a bpf_link and a ring buffer, and by bpftrace.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
"$top/qemu/packages.sh" kernel guest bpf || exit
"$top/qemu/kernel.sh" "$name" || exit
"$top/qemu/kernel.sh" "$name" headers || exit

# shellcheck source=name.sh
. "$top/qemu/name.sh"
samples=$top/samples/user_events
rm -rf "$build/bpf"
mkdir -p "$build/bpf"
for sample in user_events_example user_events_batch; do
	logged "building $sample" "bpf-$sample" cc -O2 -Wall -Werror \
		-I "$obj/usr/include" -o "$build/bpf/$sample" \
		"$samples/$sample.c"
done
logged "building the BPF sample" bpf-ring make -C "$samples" \
	OUT="$build/bpf" CFLAGS="-O2 -Wall -Wextra -Werror"

boot_kernel -t 600 -l "$logs/bpf.log" "$top/qemu/bpf-guest.sh" "$build/bpf"
