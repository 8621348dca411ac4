#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154,SC2317 # name.sh and suites.sh set them; logged calls it
#
# distro.sh ROUNDS [SUITE...]: install the package of make deb TRIM=yes in an image of
# Debian, and boot that: programs and tracers of a distribution, services of systemd,
# lockdown, the kselftests (or only the given programs), the package's removal.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

rounds=$1
shift
name=distro-x86_64
# shellcheck source=name.sh
. "$top/qemu/name.sh"
# shellcheck source=suites.sh
. "$top/qemu/suites.sh"
"$top/qemu/image.sh" "$build/deb"/linux-image-*-user-events_*.deb || exit

image=$top/build/image
choose_suites "$@"
disk=$results/job
mkdir -p "$disk/containers"

# What the guest does is on a disk of its own.
make_disk()
{
	cp -r "$suites" "$disk/kselftest" &&
	cp "$top"/qemu/job.sh "$top"/qemu/distro-guest.sh "$top"/qemu/containers-guest.sh \
		"$top"/qemu/kernelshark.py "$disk" &&
	echo "$tests" >"$disk/options" &&
	for program in samples/user_events/user_events_example qemu/contained qemu/distro; do
		gcc -O2 -g -fno-omit-frame-pointer -fno-inline -Wall -Werror -static \
			-D_GNU_SOURCE \
			-isystem "$obj/usr/include" -o "$disk/containers/${program##*/}" \
			"$top/$program.c" || return
	done &&
	mv "$disk/containers/distro" "$disk" &&
	truncate -s 256M "$results/job.ext4" &&
	mkfs.ext4 -q -d "$disk" "$results/job.ext4"
}

# boot JOBS SECONDS [ARG...]: with more arguments of the kernel.
boot()
{
	jobs=$1
	seconds=$2
	shift 2
	echo
	echo "Booting build/image: $jobs"
	"$top/qemu/boot.sh" -o -k "$image/vmlinuz" -I "$image/initrd" -m 2048 \
		-d "$image/root.ext4" -d "$results/job.ext4" -t "$seconds" \
		-l "$logs/distro-$jobs.log" \
		-a "root=/dev/vda rw systemd.setenv=JOB=$jobs systemd.setenv=UE_ROUNDS=$rounds $*"
}

logged "making the disk" distro-disk make_disk
status=0
boot consumers,services,removal 3600 || status=1
boot lockdown 1800 lockdown=integrity || status=1
boot locked 900 lockdown=confidentiality || status=1
boot containers 1800 || status=1
{
	boot kselftests 7200
	echo $? >"$results/status"
} | tee "$logs/test-$name.tap"
echo
# No test of fault_test can run without fault injection in the kernel.
: >"$results/kunit.tap"
awk -f "$top/qemu/tap.awk" -v status="$(cat "$results/status")" -v mayskip=fault_test \
	"$listed" "$results/kunit.tap" "$logs/test-$name.tap" || status=1
[ $status = 0 ] || echo "FAILED, see above"
exit $status
