#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# tree.sh [baseline]: bring build/linux (build/linux-baseline) up to date.
# tree.sh own: list what the base's own user_events is.
#
# The tree is unpacked once per version of the base, without the base's own
# user_events. Our files and patches/ are then synced into it, and a file is
# written only if its content changes, so that the next build compiles only what
# depends on it. The baseline is the same source, untouched.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

kind=${1:-ours}
tree=$build/linux
[ "$kind" = ours ] || tree=$build/linux-$kind

# What is ours from top to bottom, so that nothing of the base's may remain.
own="kernel/trace/trace_events_user.c
include/linux/user_events.h
include/uapi/linux/user_events.h
tools/testing/selftests/user_events
Documentation/trace/user_events.rst
samples/user_events"

if [ "$kind" = own ]; then
	echo "$own"
	exit
fi

unpack()
{
	echo "Unpacking $linux $version into ${tree#"$top"/}"
	rm -rf "$tree" "$tree.tmp" "$state"
	mkdir -p "$tree.tmp"
	set --
	if [ "$kind" = ours ]; then
		for path in $own; do
			set -- "$@" --exclude="$linux/$path"
		done
	fi
	logged "unpacking $tarball" "unpack-$kind" \
		tar -C "$tree.tmp" -xf "$tarball" --strip-components=1 "$@"
	mv "$tree.tmp" "$tree"
	mkdir -p "$state/base"
	echo "$version" >"$state/version"
}

# The files that patches/ change, as they are without us.
patched()
{
	patch_files | xargs cat | sed -n 's|^+++ b/\([^	]*\).*|\1|p' | sort -u
}

# git apply must not take a surrounding repository for its own.
apply()
{
	for patch in $(patch_files); do
		GIT_CEILING_DIRECTORIES=$build git -C "$1" apply \
			--whitespace=error-all "$patch" || {
			echo "$patch does not apply" >&2
			return 1
		}
	done
}

sync_tree()
{
	stage=$state/stage
	rm -rf "$stage"
	mkdir -p "$stage"

	patched | while read -r file; do
		[ -e "$state/base/$file" ] || {
			mkdir -p "$state/base/$(dirname "$file")"
			cp -p "$tree/$file" "$state/base/$file" || exit 1
		}
		mkdir -p "$stage/$(dirname "$file")"
		cp -p "$state/base/$file" "$stage/$file" || exit 1
	done || die "patches/ change a file that $linux does not have"
	logged "applying patches/" patches apply "$stage"

	our_files Documentation include kernel samples tools >"$stage.files"
	[ -s "$stage.files" ] || die "there are none of our files in $top"
	(cd "$top" && xargs cp --parents -p -t "$stage") <"$stage.files" ||
		die "cannot copy our files to $stage"

	# What was ours in the last sync and is no more: gone, or as in the base.
	(cd "$stage" && find . -type f | sort) >"$state/files.new"
	touch "$state/files"
	comm -23 "$state/files" "$state/files.new" | while read -r file; do
		if [ -e "$state/base/$file" ]; then
			cp "$state/base/$file" "$tree/$file"
		else
			rm -f "$tree/$file"
		fi
	done
	rsync --recursive --links --perms --checksum "$stage/" "$tree/" ||
		die "cannot copy our files into $tree"
	mv "$state/files.new" "$state/files"
}

source=$("$top/qemu/source.sh") || exit
version=${source% *}
tarball=${source#* }
state=$build/state/$kind
lock "tree-$kind"

if [ "$(cat "$state/version" 2>/dev/null)" != "$version" ] || [ ! -d "$tree" ]
then
	unpack
fi
[ "$kind" != ours ] || sync_tree
