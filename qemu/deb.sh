#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # name.sh sets them
#
# deb.sh [-f FLAVOUR] [-c FILE] [-t] [-n]: build Debian packages of the kernel, with a
# distribution's configuration, in build/deb.
#
#   -f FLAVOUR  of Debian's configurations: cloud-amd64 (default) or amd64
#   -c FILE     a configuration of one's own instead, as /boot/config-*
#   -t          leave out the modules that qemu/config/distro.modules does not name
#   -n          configure only

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

flavour=cloud-amd64
kconfig=
trim=
configure_only=
while getopts f:c:tn option; do
	case $option in
	f) flavour=${OPTARG:-$flavour} ;;
	c) kconfig=$OPTARG ;;
	t) trim=yes ;;
	n) configure_only=yes ;;
	*) die "usage: deb.sh [-f FLAVOUR] [-c FILE] [-t] [-n]" ;;
	esac
done

name=deb-x86_64
[ -z "$trim" ] || name=distro-x86_64
# shellcheck source=name.sh
. "$top/qemu/name.sh"
# shellcheck source=build.sh
. "$top/qemu/build.sh"
"$top/qemu/packages.sh" kernel deb || exit
lock "kernel-$name"
"$top/qemu/tree.sh" || exit
mkdir -p "$obj" "$logs" "$build/deb"
theirs=$obj/config-theirs
wanted=$obj/config-wanted
last=$obj/config-last

# The configuration that ours is made from.
take_theirs()
{
	if [ -n "$kconfig" ]; then
		cat "$kconfig" >"$theirs" || die "there is no configuration $kconfig"
		return
	fi
	grep -q "^config-$base " "$top/qemu/packages" ||
		die "qemu/packages has no configuration for $base: name one by KCONFIG="
	"$top/qemu/packages.sh" "config-$base" || exit
	directory=/usr/src/linux-config-$base
	packed=$directory/config.amd64_none_$flavour.xz
	[ -e "$packed" ] || die "there is no $packed: FLAVOUR= is one of" \
		"$(find "$directory" -name '*_none_*' 2>/dev/null |
			sed 's/.*_none_\(.*\)[.]xz/\1/' | sort | xargs)"
	xz -dc "$packed" >"$theirs" || die "cannot unpack $packed"
}

# What is set on top of it: of the options of the selftests those that it has not got,
# as a module or otherwise, and that this kernel knows.
want()
{
	cat "$top/qemu/config/distro"
	while IFS='=' read -r option value; do
		grep -q "^$option=[ym]" "$theirs" ||
			! grep -rqx --include='Kconfig*' "config ${option#CONFIG_}" \
				"$tree/init" "$tree/kernel" "$tree/fs" "$tree/mm" \
				"$tree/drivers/block" ||
			echo "$option=$value"
	done <"$top/tools/testing/selftests/user_events/config"
}

# As lsmod prints them.
modules()
{
	echo "Module Size Used by"
	sed -n 's/^[a-z].*/& 0 0/p' "$top/qemu/config/distro.modules"
}

configure()
{
	take_theirs
	want >"$wanted"
	modules >"$obj/modules"
	cat "$theirs" "$wanted" "$obj/modules" >"$last.new"
	echo "$trim" >>"$last.new"
	[ ! -e "$obj/.config" ] || ! cmp -s "$last" "$last.new" || return
	rm -f "$last"
	cat "$theirs" "$wanted" >"$obj/.config"
	logged "configuring $name" "config-$name" kmake olddefconfig
	if [ -n "$trim" ]; then
		logged "leaving out modules" "config-$name" \
			kmake LSMOD="$obj/modules" localmodconfig
	fi
	check_config "$wanted"
	mv "$last.new" "$last"
}

# Of the newest file that is compiled or configures: the version of the package rises with
# each change, so that apt takes it for an update.
changed()
{
	cd "$top" || exit
	find include kernel patches qemu/config/distro* samples -type f -printf '%T@\n' |
		sort -n | tail -n 1 | sed 's/^/@/; s/[.].*//'
}

# What the build takes, before it starts: a kernel of 1,636 options and modules was 2,915
# files and 6 GB, one of 2,943 was some 6,600 files and 9 GB.
check_room()
{
	count=$(grep -c '=[ym]$' "$obj/.config")
	objects=$((count <= 1640 ? 2900 : 2900 + (count - 1640) * 3))
	gigabytes=$((3 + objects / 900))
	here=$(($(du -sk "$obj" | cut -f1) / 1000000))
	minutes=$((objects * 2 / $(nproc) / 60))
	free=$(($(df -k --output=avail "$build" | tail -n 1) / 1000000))
	memory=$(awk '/^MemAvailable/ { print int($2 / 1000000) }' /proc/meminfo)
	echo "To compile: about $objects files, $((minutes / 2)) to $((minutes * 2)) minutes" \
		"on this machine if nothing of it is there yet"
	echo "It takes $gigabytes GB of disk, of which $here GB are there, and 4 GB of memory." \
		"Free: $free GB of disk, $memory GB of memory"
	[ $((free + here)) -ge $gigabytes ] || die "too little disk in $build"
	[ "$memory" -ge 4 ] || die "too little memory"
}

configure
echo "Configuration: $(grep -c '=y$' "$obj/.config") options and $(grep -c '=m$' \
	"$obj/.config") modules, $name"
check_room
[ -z "$configure_only" ] || exit 0

source=$("$top/qemu/source.sh") || exit
when=$(changed)
release=${source%% *}
revision=${release#*-}
revision=${revision%%~*}+userevents.$(date -u -d "$when" +%Y%m%d%H%M)
[ -z "$trim" ] || revision=$revision~trim
version=${release%%-*}-$revision

# The same for the build and for bindeb-pkg, which would link again otherwise.
packing()
{
	"$@" KBUILD_BUILD_VERSION="$revision" \
		KBUILD_BUILD_TIMESTAMP="$(date -u -d "$when" +%F)"
}

packing build_kernel headers all

# bindeb-pkg puts its packages above the directory of the objects. linux-libc-dev is what
# all programs are compiled with: the distribution's stays.
pack()
{
	rm -f "$tree"/linux-*"_$version"_*.deb "$tree"/linux-upstream_*
	packing kmake DEBFULLNAME=user_events DEBEMAIL=root@localhost \
		KDEB_PKGVERSION="$version" KDEB_CHANGELOG_DIST=UNRELEASED KDEB_COMPRESS=zstd \
		DPKG_FLAGS=-Ppkg.linux-upstream.nokerneldbg bindeb-pkg || return
	rm -f "$tree"/linux-libc-dev_*.deb "$tree"/linux-upstream_* \
		"$build/deb"/linux-*-user-events_*.deb &&
	mv "$tree"/linux-*-user-events_"$version"_*.deb "$build/deb"
}

echo "Packing version $version"
logged "packing the kernel" "deb-$name" pack
for package in "$build/deb"/linux-*"_$version"_*.deb; do
	echo "Package: ${package#"$top"/}, $(($(stat -c %s "$package") / 1000000)) MB," \
		"$(($(dpkg-deb -f "$package" Installed-Size) / 1000)) MB installed"
done
echo "Install it by: apt install ./${build#"$top"/}/deb/linux-image-*_${version}_*.deb"
