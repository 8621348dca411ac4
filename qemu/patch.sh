#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# patch.sh: write build/user_events-BASE.patch, and prove that git apply turns
# the files of an unmodified tree into ours with it.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

"$top/qemu/packages.sh" kernel || exit
"$top/qemu/tree.sh" || exit
# Nobody syncs the tree again meanwhile.
lock tree-ours

source=$("$top/qemu/source.sh") || exit
stage=$build/state/ours/stage
patch=$top/build/user_events-$base.patch
proof=$build/state/patch
proven=$build/state/patch.proven

# The same tree as the last time needs no new patch.
now=$(cat "$build/state/ours/version" && cd "$stage" && find . -type f |
	LC_ALL=C sort | xargs sha256sum)
if [ -e "$patch" ] && [ "$now" = "$(cat "$proven" 2>/dev/null)" ]; then
	echo "Patch: ${patch#"$top"/} is up to date"
	exit
fi

rm -rf "$proof" "$proven"
mkdir -p "$proof/a" "$proof/b" "$proof/c"
trap 'rm -rf "$proof"' EXIT
trap 'exit 130' INT TERM

# Ours, what the base has at these places, and that once more to patch it.
(cd "$stage" && find . -type f) | sed "s|^\.|$linux|" >"$proof/files"
"$top/qemu/tree.sh" own | sed "s|^|$linux/|" >>"$proof/files"
sort -u "$proof/files" -o "$proof/files"
# Not each of our files is in the base.
LC_ALL=C tar -C "$proof/a" -xf "${source#* }" --strip-components=1 \
	-T "$proof/files" 2>"$proof/tar.log"
grep -v 'Not found in archive\|previous errors' "$proof/tar.log" &&
	die "cannot unpack ${source#* }"
cp -a "$proof/a/." "$proof/c"
cp -a "$stage/." "$proof/b"

# git quotes no path and takes no notice of the repository around it.
export GIT_CEILING_DIRECTORIES="$build" GIT_CONFIG_GLOBAL=/dev/null
(cd "$proof" && git diff --no-index --no-color --no-renames --no-prefix \
	a b >"$patch.new")
[ -s "$patch.new" ] || die "the patch is empty"
logged "git apply of the patch" patch-apply \
	git -C "$proof/c" apply "$patch.new"
find "$proof" -depth -type d -empty -delete
logged "comparing the patched tree with ours" patch-compare \
	diff -rq "$proof/b" "$proof/c"
mv "$patch.new" "$patch"
echo "$now" >"$proven"
echo "Patch: ${patch#"$top"/} applies to $linux and gives the same tree"
