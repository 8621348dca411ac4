# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154
#
# Sourced with $name set to [CONFIG-]ARCH: where the kernel of that name is
# built and how.

arch=${name##*-}
config=${name%"$arch"}
config=${config%-}

tree=$build/linux
[ "$config" != baseline ] || tree=$build/linux-baseline

# Objects live below the tree: Kbuild then uses relative paths only, and ccache
# finds what another clone has compiled.
obj=$tree/obj-$name

# About as many files as a build compiles.
objects=1320
cross=
packages=
cc=gcc
[ "$config" != clang ] || cc=clang
image=bzImage
case $arch in
x86_64)
	karch=x86_64
	image_path=arch/x86/boot/bzImage
	;;
*)
	die "unknown architecture $arch"
	;;
esac

# What tests take there: MB, seconds, kernel arguments.
memory=1024
testlimit=1200
bootargs=

kmake()
{
	CCACHE_NOHASHDIR=1 make -C "$tree" O="$obj" ARCH="$karch" \
		CROSS_COMPILE="$cross" CC="ccache $cross$cc" \
		HOSTCC="ccache gcc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=user KBUILD_BUILD_HOST=host \
		-j"$(nproc)" "$@"
}
