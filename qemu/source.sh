#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2317 # logged calls the functions
#
# source.sh: have the source of the base and print "VERSION TARBALL". With status 3
# Debian's archive does not have it (any more).
#
# The package linux-source-$BASE is taken where it is installed. Otherwise it is
# fetched from the backports of Debian's next release, whose lists apt keeps below
# build/: nothing of that release is installed, and apt's own lists stay as they are.
# Of a tree in KERNEL_SRC it is what is committed, or all of it without a repository.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

release=trixie-backports
source=$build/source

answer()
{
	[ -e "$2" ] || return
	echo "$1 $2"
	exit
}

if [ -z "$KERNEL_SRC" ]; then
	if grep -q "^source-$base " "$top/qemu/packages"; then
		"$top/qemu/packages.sh" "source-$base" >&2 || exit
	fi
	version=$(dpkg-query -W -f '${Version}' "$linux" 2>/dev/null)
	[ -z "$version" ] || answer "$version" "/usr/src/$linux.tar.xz"
fi

mkdir -p "$source"
lock source

pack()
{
	if [ -n "$commit" ]; then
		git -C "$KERNEL_SRC" archive --prefix="$linux/" -o "$1" HEAD
	else
		tar -C "$KERNEL_SRC" --exclude-vcs --transform "s|^[.]|$linux|" \
			-cf "$1" .
	fi
}

if [ -n "$KERNEL_SRC" ]; then
	version=$(make -s -C "$KERNEL_SRC" kernelversion 2>/dev/null) ||
		die "KERNEL_SRC=$KERNEL_SRC is no tree of Linux"
	commit=$(GIT_CEILING_DIRECTORIES=$(dirname "$KERNEL_SRC") \
		git -C "$KERNEL_SRC" rev-parse HEAD 2>/dev/null)
	version=$version-${commit:-$(stat -c %Y "$KERNEL_SRC/Makefile")}
	if [ "$(cat "$source/version" 2>/dev/null)" != "$version" ]; then
		echo "Packing $KERNEL_SRC" >&2
		rm -f "$source/version"
		logged "packing $KERNEL_SRC" source-pack pack "$source/$linux.tar"
		echo "$version" >"$source/version"
	fi
	answer "$version" "$source/$linux.tar"
fi

version=$(cat "$source/version" 2>/dev/null)
[ -z "$version" ] || answer "$version" "$source/usr/src/$linux.tar.xz"

# shellcheck source=archive.sh
. "$top/qemu/archive.sh"
echo "deb ${keyring:+[signed-by=$keyring] }$uri $release main" >"$source/sources.list"

# apt COMMAND...: with our list alone
apt()
{
	command=$1
	shift
	"apt-$command" -o Dir::Etc::sourcelist="$source/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::Lists="$source/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

download()
{
	cd "$source" && rm -f ./*.deb && apt get download "$linux" &&
		rm -rf usr && dpkg-deb -x "$linux"_*.deb .
}

mkdir -p "$source/lists/partial"
echo "Fetching $linux from $release" >&2
logged "fetching the list of $release" source-list apt get update
found=$(apt cache search --names-only '^linux-source-[0-9.]+$' | sed 's/ .*//' | sort -V)
if ! echo "$found" | grep -qxF "$linux"; then
	{
		echo "error: $release has no $linux. What it has:"
		echo "$found" | sed 's/^linux-source-\(.*\)/  | make BASE=\1 .../'
		echo "A base without a directory of its own in patches/ is tried with" \
			"those of the one before it."
	} >&2
	exit 3
fi
logged "fetching $linux" source-package download
dpkg-deb -f "$source/$linux"_*.deb Version >"$source/version"
rm -f "$source/$linux"_*.deb
answer "$(cat "$source/version")" "$source/usr/src/$linux.tar.xz"
die "the package $linux has no /usr/src/$linux.tar.xz"
