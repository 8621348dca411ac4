#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# accel.sh IMAGE: print kvm or tcg.
#
# That /dev/kvm opens does not mean that a guest runs: boot one, once. Without a
# root file system the kernel panics and resets, which is all it has to manage.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

answer=$build/accel
if [ ! -e "$answer" ]; then
	mkdir -p "$logs"
	log=$logs/accel.log
	new=$answer.$$
	echo tcg >"$new"
	if [ -w /dev/kvm ]; then
		timeout -k 1 20 qemu-system-x86_64 -accel kvm -cpu host -m 256 \
			-display none -monitor none -serial stdio -no-reboot \
			-kernel "$1" -append "console=ttyS0 panic=-1" \
			</dev/null >"$log" 2>&1 &&
			grep -q 'Kernel panic.*root fs' "$log" &&
			echo kvm >"$new"
	fi
	mv "$new" "$answer"
fi
cat "$answer"
