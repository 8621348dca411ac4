#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# series.sh [-b]: write build/series-BASE, what patch.sh has in one patch as a
# series for `git am`, and prove that git am turns the files of an unmodified tree
# into ours. With -b, prove that every step compiles.
#
# Patches of patches/ that no step names stand alone and come first. The steps of
# patches/steps follow in the order of their names. A step begins with its subject
# and with lines that say what is in it:
#   Files: PATH...   our files at and below these paths, which are
#   Below: PATH      in this directory ("*" is all that is left)
#   Patches: NAME... of patches/
#   Until: PART      trace_events_user.c up to the part that opens with this word, or
#                    "end"
# shellcheck disable=SC2317 # logged calls the functions

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

compile=
while getopts b option; do
	case $option in
	b) compile=yes ;;
	*) die "usage: series.sh [-b]" ;;
	esac
done

"$top/qemu/packages.sh" kernel series || exit
source=$("$top/qemu/source.sh") || exit
# The configuration that each patch is compiled with. It takes the lock below itself.
[ -z "$compile" ] || "$top/qemu/kernel.sh" x86_64 prepare || exit
"$top/qemu/tree.sh" || exit
# Nobody syncs the tree again meanwhile.
lock tree-ours

main=kernel/trace/trace_events_user.c
steps=$top/patches/steps
stage=$build/state/ours/stage
out=$top/build/series-$base
work=$build/state/series
repo=$work/repo
proven=$build/state/series.proven
# git takes no notice of the repository around it.
export GIT_CEILING_DIRECTORIES="$build"

field()
{
	sed -n "/^$/q; s/^$1: //p" "$2"
}

# A file's text, which follows its head.
text()
{
	sed -n '/^diff --git/q; /^$/,$p' "$1" | sed '1d'
}

# What was written before from the same files is as good.
everything()
{
	echo "$source"
	(cd "$stage" && find . -type f | LC_ALL=C sort | xargs sha256sum)
	# shellcheck disable=SC2046 # names without spaces
	cat "$0" $(patch_files) "$steps"/* "$top/patches/cover-letter" \
		"$top/bench/results.md" | sha256sum
	git -C "$top" config user.name
	git -C "$top" config user.email
}

# unpack_base DIR: what the base has at the places of our files
unpack_base()
{
	(cd "$stage" && find . -type f) | sed "s|^\.|$linux|" >"$work/files"
	"$top/qemu/tree.sh" own | sed "s|^|$linux/|" >>"$work/files"
	sort -u "$work/files" -o "$work/files"
	# Not each of our files is in the base.
	LC_ALL=C tar -C "$1" -xf "${source#* }" --strip-components=1 \
		-T "$work/files" 2>"$work/tar.log"
	! grep -v 'Not found in archive\|previous errors' "$work/tar.log" >&2 ||
		die "cannot unpack ${source#* }"
}

new_repo()
{
	git init -q "$1" && git -C "$1" add -A -f &&
		git -C "$1" -c user.name=base -c user.email=base@localhost \
			commit -q -m "$linux ${source% *}"
}

# commit FILE: what is in the repository now, as FILE describes it
commit()
{
	git -C "$repo" add -A -f
	{
		field Subject "$1"
		echo
		text "$1"
	} | git -C "$repo" commit -q -F - || die "$1 changes nothing"
}

# A user that git does not know is no reason to write no series.
identity()
{
	signoff=--signoff
	if ! git -C "$top" config user.name >/dev/null ||
			! git -C "$top" config user.email >/dev/null; then
		echo "git knows no user.name and user.email: nobody signs off"
		signoff=
		git -C "$repo" config user.name "user_events"
		git -C "$repo" config user.email "user_events@localhost"
		return
	fi
	git -C "$repo" config user.name "$(git -C "$top" config user.name)"
	git -C "$repo" config user.email "$(git -C "$top" config user.email)"
}

apply()
{
	git -C "$repo" apply "$1" || die "$1 does not apply"
}

# The patch of this name, if our base has it.
named_patch()
{
	patch_files | grep "/$1[.]patch$"
}

# As long as it is not whole, USER_EVENTS cannot be selected.
unfinished()
{
	sed -i '/^config USER_EVENTS$/,/^$/ s/^\tbool .*/&\n\tdepends on BROKEN/' \
		"$repo/kernel/trace/Kconfig"
}

finished()
{
	sed -i '/^config USER_EVENTS$/,/^$/ { /^\tdepends on BROKEN$/d }' \
		"$repo/kernel/trace/Kconfig"
}

# A part opens with a comment that begins with its name.
write_main()
{
	awk -v heading=" * $1: " '
	index($0, heading) == 1 && text[NR - 1] == "/*" { last = NR - 2; exit }
	{ text[NR] = $0 }
	END {
		if (heading == " * end: ")
			last = NR
		while (last > 0 && text[last] == "")
			last--
		for (i = 1; i <= last; i++)
			print text[i]
		exit !last
	}' "$stage/$main" >"$repo/$main" || die "$main has no part $1"
}

# write_files BELOW PATH...: what of these is ours; "*" is all that is there
write_files()
{
	(
		cd "$stage" || exit
		below=${1:-.}
		shift
		for path; do
			[ "$path" != '*' ] || path=
			find "$below/$path" -type f || die "there is no $below/$path"
		done
	) >"$work/paths" || exit
	rsync -a --files-from="$work/paths" "$stage/" "$repo/"
}

take_step()
{
	for name in $(field Patches "$1"); do
		file=$(named_patch "$name")
		[ -z "$file" ] || apply "$file" || return
	done
	case $(basename "$1") in
	10-*)
		(cd "$repo" && "$top/qemu/tree.sh" own | xargs rm -rf)
		unfinished
		;;
	esac
	files=$(field Files "$1")
	set -f
	# shellcheck disable=SC2086 # a list of names
	[ -z "$files" ] || write_files "$(field Below "$1")" $files || return
	set +f
	until=$(field Until "$1")
	[ -z "$until" ] || write_main "$until" || return
	[ "$until" != end ] || finished
	commit "$1"
}

# Those that no step names stand alone.
standalone()
{
	named=" $(cat "$steps"/* | sed -n 's/^Patches: //p' | tr '\n' ' ') "
	patch_files | while read -r file; do
		name=$(basename "$file" .patch)
		case $named in
		*" $name "*) ;;
		*) echo "$file" ;;
		esac
	done
}

make_commits()
(
	for file in $(standalone); do
		apply "$file" && commit "$file" || return
	done
	for file in "$steps"/*; do
		take_step "$file" || return
	done
	diff -rq -x .git "$stage" "$repo" || die "no step has these"
)

# The cover letter, with the table of a file for "@FILE".
cover()
{
	text "$top/patches/cover-letter" | while IFS= read -r line; do
		case $line in
		@*) grep '^|' "$top/${line#@}" ;;
		*) printf '%s\n' "$line" ;;
		esac
	done >"$work/blurb"
	awk -v subject="$(field Subject "$top/patches/cover-letter")" -v blurb="$work/blurb" '
	/[*][*][*] BLURB HERE [*][*][*]/ {
		while ((getline line <blurb) > 0)
			print line
		next
	}
	{ sub(/[*][*][*] SUBJECT HERE [*][*][*]/, subject); print }
	' "$1" >"$1.new" && mv "$1.new" "$1"
}

# Each patch on the files of the base, as a maintainer takes them.
prove()
(
	mkdir -p "$work/proof" && cp -a "$work/base/." "$work/proof" &&
		new_repo "$work/proof" &&
		(cd "$out" && find "$PWD" -name '0*.patch' ! -name '0000-*' | sort) |
			xargs git -C "$work/proof" -c user.name=base \
				-c user.email=base@localhost am -q &&
		diff -rq -x .git "$stage" "$work/proof"
)

write_series()
{
	rm -rf "$work" "$out"
	mkdir -p "$work/base" "$repo"
	unpack_base "$work/base"
	cp -a "$work/base/." "$repo"
	logged "making the repository of the series" series-base new_repo "$repo"
	git -C "$repo" tag base
	identity
	logged "making the commits of the series" series-commits make_commits
	logged "writing the patches of the series" series-patches \
		git -C "$repo" format-patch --cover-letter --no-renames --stat=75 \
		${signoff:+"$signoff"} -o "$out" base
	cover "$out/0000-cover-letter.patch"
	logged "git am of the series" series-am prove
}

now=$(everything)
if [ ! -d "$out" ] || [ "$now" != "$(cat "$proven" 2>/dev/null)" ]; then
	rm -f "$proven" "$proven-built"
	write_series
	echo "$now" >"$proven"
fi
count=$(find "$out" -name '0*.patch' ! -name '0000-*' | wc -l)
echo "Series: ${out#"$top"/}, $count patches, applies to $linux and gives the same tree"
[ -n "$compile" ] || exit 0
if [ -e "$proven-built" ]; then
	echo "Series: every patch has been compiled before"
	exit
fi

# A tree of the series' own, of links to the files that it does not change.
name=x86_64
# shellcheck source=name.sh
. "$top/qemu/name.sh"
config=$obj/.config
tree=$build/linux-series

# checkout COMMIT: write those files of the commit that are not in the tree
checkout()
{
	git -C "$repo" checkout -q "$1" &&
		rsync -rlp --checksum --exclude=/.git "$repo/" "$tree/" || return
	git -C "$repo" diff --name-only --diff-filter=D base "$1" |
		(cd "$tree" && xargs rm -f)
}

configure()
{
	mkdir -p "$obj" && cp "$config" "$obj/.config" || return
	[ "$1" = with ] ||
		sed -i '/^CONFIG_USER_EVENTS/d' "$obj/.config"
	kmake olddefconfig
}

# Also what cannot be selected yet: a static function that nobody calls yet is no
# reason to warn.
compile_unfinished()
{
	! grep -q '^CONFIG_USER_EVENTS=y' "$obj/.config" && [ -e "$tree/$main" ] ||
		return 0
	kmake CONFIG_USER_EVENTS=y \
		CFLAGS_trace_events_user.o="-DCONFIG_USER_EVENTS=1 -Wno-unused -Werror" \
		"${main%.c}.o"
}

compile_commit()
(
	checkout "$1" || return
	for with in with without; do
		obj=$tree/obj-$with
		# What Kconfig asks may have changed.
		configure "$with" && kmake kernel/trace/ kernel/events/ mm/ fs/tracefs/ || return
	done
	compile_unfinished
)

logged "linking the tree of the series" series-tree \
	rsync -a --delete --exclude='/obj-*' --link-dest="$tree" \
	"$build/linux/" "$tree/"
git -C "$repo" rev-list --reverse base..HEAD >"$work/commits"
total=$(wc -l <"$work/commits")
number=0
while read -r commit; do
	number=$((number + 1))
	subject=$(git -C "$repo" log -1 --format=%s "$commit")
	begin=$(date +%s)
	# What is not compiled with the kernel changes nothing.
	if git -C "$repo" diff --name-only "$commit^" "$commit" |
			grep -qv '^Documentation/\|^MAINTAINERS\|^samples/\|^tools/'; then
		logged "compiling patch $number, $subject," "series-build-$number" \
			compile_commit "$commit"
	fi
	echo "  $number/$total, $(($(date +%s) - begin)) s: $subject"
done <"$work/commits"
git -C "$repo" checkout -q "$(tail -n 1 "$work/commits")"
: >"$proven-built"
echo "Series: every patch compiles, with and without USER_EVENTS"
