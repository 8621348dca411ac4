#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kernel.sh [NAME [TARGET...]]: build a kernel as build/NAME/bzImage.
#
# NAME is [CONFIG-]ARCH. The configuration is allnoconfig with the fragments common,
# ARCH, CONFIG and ours of qemu/config, each followed by what the base adds to it
# (qemu/config/6.12 and so on); CONFIG "baseline" stands for the untouched base
# tree. With TARGETs, make them instead of the kernel's image.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
[ $# -eq 0 ] || shift
# shellcheck source=name.sh
. "$top/qemu/name.sh"
# shellcheck source=build.sh
. "$top/qemu/build.sh"
fragments="common $arch"
differs=$(base_directory qemu/config)
# shellcheck disable=SC2086 # a list of names
"$top/qemu/packages.sh" kernel $packages || exit
lock "kernel-$name"

case $config in
baseline)
	"$top/qemu/tree.sh" baseline || exit
	;;
distro)
	die "CONFIG=distro is for 'make test'; 'make deb' builds its kernel"
	;;
*)
	fragments="$fragments $config ours"
	"$top/qemu/tree.sh" || exit
	;;
esac
mkdir -p "$obj" "$logs"

configure()
{
	for fragment in $fragments; do
		[ -e "$top/qemu/config/$fragment" ] ||
			die "there is no configuration qemu/config/$fragment"
		cat "$top/qemu/config/$fragment"
		[ ! -e "$differs/$fragment" ] || cat "$differs/$fragment"
	done >"$obj/fragments.new"
	if [ -e "$obj/.config" ] && cmp -s "$obj/fragments" "$obj/fragments.new"
	then
		return
	fi
	logged "configuring $name" "config-$name" \
		kmake KCONFIG_ALLCONFIG="$obj/fragments.new" allnoconfig
	check_config "$obj/fragments.new"
	mv "$obj/fragments.new" "$obj/fragments"
}

configure
if [ $# -gt 0 ]; then
	logged "making $* for $name" "make-$name" kmake "$@"
	exit
fi
build_kernel "$image"
mkdir -p "$build/$name"
cmp -s "$obj/$image_path" "$build/$name/$image" ||
	cp "$obj/$image_path" "$build/$name/$image"
echo "Kernel: build/$name/$image"
