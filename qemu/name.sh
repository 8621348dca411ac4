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
objects=1100

cc=gcc
[ "$config" != clang ] || cc=clang
cross=
cflags=
karch=$arch
image=bzImage
packages=
options=

# What tests take there: MB, seconds, kernel arguments.
memory=1024
testlimit=1800
bootargs=
# Options of boot.sh by which the kernel works under emulation.
emulation=

case $arch in
x86_64)
	image_path=arch/x86/boot/bzImage
	;;
i386)
	image_path=arch/x86/boot/bzImage
	cflags=-m32
	packages=i386
	objects=1270
	;;
s390x)
	karch=s390
	image_path=arch/s390/boot/bzImage
	cross=s390x-linux-gnu-
	packages=s390x
	objects=870
	;;
arm64)
	image=Image
	image_path=arch/arm64/boot/Image
	cross=aarch64-linux-gnu-
	packages=arm64
	objects=1100
	;;
*)
	die "unknown architecture $arch"
	;;
esac

case $config in
features)
	# It patches its own code all the time.
	emulation=-o
	packages=features
	objects=1200
	testlimit=3600
	;;
gcov)
	options=GCOV_PROFILE_trace_events_user.o=y
	;;
debug)
	# Shadow memory, and several times as many instructions.
	memory=2048
	testlimit=3600
	bootargs=panic_on_warn=1
	options=KCOV_INSTRUMENT_trace_events_user.o=y
	;;
kcsan)
	memory=2048
	testlimit=7200
	# Look closely: emulated, a test makes fewer accesses than on hardware. A
	# million events, as loss_test sends them, would take longer than a test may.
	bootargs="kcsan.skip_watch=400 kcsan.udelay_task=200"
	bootargs="$bootargs USER_EVENTS_TEST_EVENTS=200000"
	;;
esac

# Objects do not depend on where the tree is.
export CCACHE_NOHASHDIR=1

# kmake ARG...: make in the kernel's tree, by way of $how, if that is set.
how=
kmake()
{
	$how make -C "$tree" O="$obj" ARCH="$karch" \
		CROSS_COMPILE="$cross" CC="ccache $cross$cc" \
		HOSTCC="ccache gcc" LOCALVERSION= \
		KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=user KBUILD_BUILD_HOST=host \
		-j"$(nproc)" $options "$@"
}

# boot_kernel OPTION... [COMMAND [ARG...]]: boot.sh with the kernel $name.
boot_kernel()
{
	echo "Booting build/$name/$image"
	# shellcheck disable=SC2086 # options
	"$top/qemu/boot.sh" $emulation -k "$build/$name/$image" -m "$memory" "$@"
}
