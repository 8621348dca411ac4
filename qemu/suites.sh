# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154
#
# Sourced after name.sh: build the kernel $name and, in $suites, the selftests.

# shellcheck disable=SC2086 # a list of names
"$top/qemu/packages.sh" kernel guest test $packages || exit
if [ "$config" = distro ]; then
	"$top/qemu/deb.sh" -t || exit
else
	"$top/qemu/kernel.sh" "$name" || exit
	"$top/qemu/kernel.sh" "$name" headers || exit
fi

# Where the host's programs do not run, the tests bring all they need. On i386
# the 32-bit programs would be the others once more.
static=
[ "$arch" = x86_64 ] || static=STATIC=1
[ "$arch" != i386 ] || static="$static CAN_BUILD_32=0"
# All kernels of an architecture have the same programs.
suites=$build/$name/kselftest
rm -rf "$suites"
(
	lock "selftests-$arch"
	mkdir -p "$tree/obj-selftests-$arch"
	logged "building the selftests" "selftests-$name" make \
		-C "$tree/tools/testing/selftests" TARGETS=user_events \
		O="$tree/obj-selftests-$arch" KHDR_INCLUDES="-isystem $obj/usr/include" \
		CC="ccache ${cross}gcc $cflags" ARCH="$karch" $static \
		INSTALL_PATH="$suites" -j"$(nproc)" install
) || exit
[ -s "$suites/kselftest-list.txt" ] ||
	fail "building the selftests" "$logs/selftests-$name.log"

if [ "$arch" = x86_64 ] && ! grep -q '_32$' "$suites/kselftest-list.txt"; then
	die "the selftests have no 32-bit programs: does 'gcc -m32' work?"
fi

# choose_suites [PROGRAM...]: $listed has the names of these programs, or of all, and
# $tests the options by which run_kselftest.sh runs them. $results is an empty directory.
choose_suites()
{
	results=$build/$name/results
	rm -rf "$results"
	mkdir -p "$results"
	listed=$suites/kselftest-list.txt
	tests=
	if [ $# -gt 0 ]; then
		listed=$results/listed
		printf 'user_events:%s\n' "$@" >"$listed"
		tests=$(printf ' -t user_events:%s' "$@")
	fi
}
