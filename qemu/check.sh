#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh: what tools say about our files without running them. Each step runs,
# whatever the others found.
# shellcheck disable=SC2317 # step calls the functions

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

"$top/qemu/packages.sh" kernel test bpf check || exit
"$top/qemu/tree.sh" || exit
mkdir -p "$logs"
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
failed=0

# step NAME FUNCTION [ARG]: it passes with status 0 and no warning in its output.
step()
{
	log=$logs/check-$2$3.log
	if ("$2" "$3") >"$log" 2>&1 </dev/null &&
		! grep -qE '(warning|error|WARNING|ERROR|CHECK): ?|: (warning|error)' "$log"
	then
		echo "ok      $1"
	else
		echo "FAILED  $1: $log"
		tail -n 40 "$log" | sed 's/^/  | /'
		failed=1
	fi
}

cd "$top" || exit
files=$(our_files Documentation include kernel samples tools bench diff docs qemu .ci \
	Makefile README.md)
sources=$(echo "$files" | grep -E '^(include|kernel|samples|tools)/.*\.[ch]$')
# shellcheck disable=SC2086 # a list of names
scripts=$(grep -lE '^#!/bin/(ba)?sh|shellcheck shell=sh' $files)

# In the tree, where the path says which rules hold, and without a repository
# around it, which checkpatch would ask for more.
checkpatch()
{
	export GIT_DIR=/nonexistent
	cd "$build/linux" || return
	for file in $files; do
		case $file in
		Documentation/* | include/* | kernel/* | samples/* | tools/*) ;;
		*) file=$top/$file ;;
		esac
		scripts/checkpatch.pl --strict --no-summary --terse \
			--show-types -f "$file"
	done
}

# What is sent, by the rules of its base: those of patches/ are in there. Allocating
# by kzalloc_obj() and a const ctl_table is what 6.12 does not have or not take;
# SPACING: the operands of asm statements; MAINTAINERS is a patch of its own.
checkpatch_series()
{
	"$top/qemu/series.sh" || return
	for file in "$top/build/series-$base"/0*.patch; do
		case $file in
		*/0000-*) continue ;;
		esac
		"$build/linux/scripts/checkpatch.pl" --strict --no-summary --terse \
			--show-types --no-signoff --no-tree \
			--ignore FILE_PATH_CHANGES,SPACING,ALLOC_WITH_SIZEOF,CONST_STRUCT \
			"$file"
	done
}

# The bases that are supported, each in a shell with the directories of its own.
checkpatch_of()
{
	BASE=$1 "$top/qemu/check.sh" series
}

# Objects of their own, for the flags would spoil those of the kernel's build.
compile()
{
	name=$1
	shift
	# shellcheck source=name.sh
	. "$top/qemu/name.sh"
	"$top/qemu/kernel.sh" "$name" prepare || return
	rm -f "$obj"/kernel/trace/trace_events_user.o
	kmake W=1 "$@" kernel/trace/trace_events_user.o
}

gcc_sparse()
{
	compile check-x86_64 C=2
}

with_clang()
{
	compile clang-x86_64
}

# The selftests and the sample, as the tree builds them and as cc does.
programs()
{
	name=check-x86_64
	# shellcheck source=name.sh
	. "$top/qemu/name.sh"
	"$top/qemu/kernel.sh" "$name" headers || return
	kmake samples/user_events/ || return
	for cc in gcc clang; do
		make -C "$tree/tools/testing/selftests" TARGETS=user_events \
			O="$work/$cc" CC="ccache $cc" \
			KHDR_INCLUDES="-isystem $obj/usr/include" || return
		for sample in samples/user_events/user_events_*.c; do
			$cc -Wall -Wextra -Werror -O2 -isystem "$obj/usr/include" \
				-o "$work/sample" "$sample" || return
		done
		mkdir -p "$work/bpf-$cc"
		make -C samples/user_events OUT="$work/bpf-$cc" CC="$cc" \
			CFLAGS="-O2 -Wall -Wextra -Werror" || return
	done
}

kernel_doc()
{
	# shellcheck disable=SC2086 # a list of names
	"$build/linux/scripts/kernel-doc" -none -Wall -Werror $sources
}

documentation()
{
	docs/render.sh "$work/html"
}

shell_scripts()
{
	# shellcheck disable=SC2086 # a list of names
	shellcheck -x -P SCRIPTDIR $scripts
}

# filp is what the kernel calls an open file.
spelling()
{
	# shellcheck disable=SC2046,SC2086 # lists of names
	codespell -L filp $files $(our_files patches)
}

# Each patch of the core is in README.md, and no other.
readme()
{
	diff/headings.sh || return
	for patch in patches/*/*.patch; do
		basename "$patch" .patch
	done | sort -u >"$work/patches"
	sed -n '/^What the patches/,/^How it is tested/s/^| \(`[^|]*\) |.*/\1/p' README.md |
		sed 's/(.*//' | grep -o '[a-z_]*' | sort >"$work/described"
	diff "$work/patches" "$work/described" || {
		echo "patches (<) and the tables of README.md (>) differ"
		return 1
	}
}

if [ "$1" = series ]; then
	checkpatch_series
	exit
fi

step "checkpatch --strict" checkpatch
for directory in "$top"/patches/[0-9]*; do
	number=${directory##*/}
	BASE=$number "$top/qemu/source.sh" >/dev/null 2>"$work/source"
	if [ $? = 3 ]; then
		echo "SKIPPED the series for $number: $(head -n 1 "$work/source")"
		continue
	fi
	step "checkpatch --strict, the series for $number" checkpatch_of "$number"
done
step "shellcheck" shell_scripts
step "spelling" spelling
step "README.md has the differences and the patches" readme
step "kernel-doc" kernel_doc
step "sphinx" documentation
step "gcc W=1 and sparse" gcc_sparse
step "clang W=1" with_clang
step "selftests and sample, gcc and clang" programs
exit $failed
