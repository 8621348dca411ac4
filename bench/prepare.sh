# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154
#
# What measurements on both kernels begin with; sourced, with $work set to a
# directory for them.

"$top/qemu/packages.sh" kernel guest bench || exit
"$top/qemu/kernel.sh" baseline-x86_64 || exit
"$top/qemu/kernel.sh" x86_64 || exit
mkdir -p "$work"
cp "$build/baseline-x86_64/bzImage" "$work/baseline.bzImage" || exit
cp "$build/x86_64/bzImage" "$work/ours.bzImage" || exit

# The base kernel's version.
# shellcheck disable=SC2034 # for the scripts that source this file
version=$(make -s -C "$build/linux-baseline" kernelversion)

# compile PROGRAM SOURCE...
compile()
{
	program=$1
	shift
	(
		cd "$top/bench" || exit
		logged "building $program" "bench-$program" \
			cc -O2 -Wall -Wextra -Wno-unused-parameter -Werror \
			-I "$top/include/uapi" -o "$work/$program" "$@"
	) || exit
}
