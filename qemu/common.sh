# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the scripts of this folder share; sourced, never run.

top=$(cd "$(dirname "$0")/.." && pwd -P)
# The kernel that ours is built on. What is built on another one than Debian's 6.12
# has a directory of its own.
base=${BASE:-6.12}
# shellcheck disable=SC2034 # for the scripts that source this file
linux=linux-source-$base
build=$top/build
if [ -n "$KERNEL_SRC" ]; then
	build=$top/build/own-$base
elif [ "$base" != 6.12 ]; then
	build=$top/build/$base
fi
logs=$build/log

# What make was called with is not for the makes that run from here.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL ARCH CONFIG
export BASE KERNEL_SRC

die()
{
	echo "error: $*" >&2
	exit 1
}

# fail WHAT LOG: say what went wrong and show the errors and the end of its log
fail()
{
	{
		echo "error: $1 failed. From $2:"
		grep -nE -A2 'error:|\*\*\* |undefined reference' "$2" |
			head -n 20 | sed 's/^/  | /'
		echo "  | ..."
		tail -n 15 "$2" | sed 's/^/  | /'
	} >&2
	exit 1
}

# logged WHAT LOG COMMAND...: run it quietly, its output in LOG
logged()
{
	logged_what=$1
	logged_log=$logs/$2.log
	shift 2
	mkdir -p "$logs"
	"$@" >"$logged_log" 2>&1 </dev/null || fail "$logged_what" "$logged_log"
}

# lock NAME: wait until no other script holds it; ours until this one ends.
lock()
{
	mkdir -p "$build/state"
	exec 9>"$build/state/$1.lock"
	flock -n 9 || { echo "Waiting for another build"; flock 9; }
}

# base_directory PARENT: where PARENT has what differs between the bases, for ours.
# A base that has nothing of its own takes what the one before it has.
base_directory()
{
	(cd "$top/$1" && printf '%s\n' ./[0-9]* && echo "./$base") | sort -Vu |
		while read -r known; do
			[ ! -d "$top/$1/$known" ] || echo "$top/$1/${known#./}"
			[ "$known" != "./$base" ] || break
		done | tail -n 1
}

# The patches of our base, in the order in which they apply.
patch_files()
{
	for patch in "$top"/patches/common/*.patch \
			"$(base_directory patches)"/*.patch; do
		[ ! -e "$patch" ] || echo "${patch##*/} $patch"
	done | LC_ALL=C sort | cut -d' ' -f2
}

# our_files PATH...: our files at and below these paths, relative to $top: those
# that git knows or would add, so nothing that was built among them. Where there
# is no repository, those that do not look built.
our_files()
(
	cd "$top" || exit
	if [ -e .git ] && git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard \
			-x '*~' -x '.*.sw?' -- "$@"
	else
		find "$@" -type f ! -name '*.o' ! -name '*.cmd' ! -name '*.pyc' \
			! -name '*~' ! -name '.*.sw?' ! -path '*/user_events/ring' \
			! -path 'samples/*/user_events_*[!c]'
	fi | LC_ALL=C sort -u | while read -r file; do
		# git also knows those that were deleted since the last commit.
		[ ! -f "$file" ] || echo "$file"
	done
)
