#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154,SC2317 # archive.sh sets them; logged calls the functions
#
# image.sh DEB: install a kernel's package by apt in an image of Debian: build/image/root.ext4,
# which boots by build/image/vmlinuz and initrd.
#
# The image's files without the kernel are in build/image/trixie, made once by debootstrap.
# What is booted has systemd run job.sh of the disk "job".

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

deb=$1
release=trixie
image=$top/build/image
files=$image/$release
root=$image/root
"$top/qemu/packages.sh" image || exit
mkdir -p "$image" "$logs"
exec 9>"$image/lock"
flock -n 9 || { echo "Waiting for another build"; flock 9; }

packages=$(awk -v g="$release" '$1 == g { print $2 }' "$top/qemu/packages" | xargs)

bootstrap()
{
	rm -rf "$files" "$files.new"
	debootstrap --variant=minbase ${keyring:+--keyring="$keyring"} \
		--include="$(echo "$packages" | tr ' ' ',')" "$release" "$files.new" "$uri" &&
	chroot "$files.new" apt-get clean &&
	mv "$files.new" "$files"
}

if [ "$(cat "$files/packages" 2>/dev/null)" != "$packages" ]; then
	# shellcheck source=archive.sh
	. "$top/qemu/archive.sh"
	echo "Making an image of $release, which takes some minutes"
	logged "making an image of $release" image bootstrap
	echo "$packages" >"$files/packages"
fi

# A disk has the job of a boot, and what runs it.
add_job()
{
	mkdir -p "$root/job" &&
	echo user-events >"$root/etc/hostname" &&
	cat >"$root/etc/fstab" <<-END &&
	/dev/disk/by-id/virtio-root / ext4 defaults 0 1
	/dev/disk/by-id/virtio-job /job ext4 defaults 0 0
	END
	cat >"$root/etc/systemd/system/job.service" <<-END &&
	[Unit]
	RequiresMountsFor=/job
	[Service]
	Delegate=yes
	PassEnvironment=JOB UE_ROUNDS
	ExecStart=/bin/sh /job/job.sh
	[Install]
	WantedBy=multi-user.target
	END
	chroot "$root" systemctl enable job.service
}

# shellcheck disable=SC2016 # the inner shell expands it
# In namespaces of its own: all that was mounted or started in there ends with it.
install_package()
{
	cp "$deb" "$root/tmp" &&
	unshare --mount --pid --fork --kill-child sh -c '
		mount -t proc none "$1/proc" &&
		mount -t devpts none "$1/dev/pts" &&
		chroot "$1" env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin" \
			apt-get install -y "/tmp/$2"' \
		sh "$root" "$(basename "$deb")" &&
	rm "$root/tmp/$(basename "$deb")"
}

make_root()
{
	rm -rf "$root" "$image"/root.ext4 "$image"/vmlinuz "$image"/initrd &&
	cp -a "$files" "$root" &&
	add_job &&
	install_package &&
	cp "$root"/boot/vmlinuz-* "$image/vmlinuz" &&
	cp "$root"/boot/initrd.img-* "$image/initrd" &&
	truncate -s 4G "$image/root.ext4" &&
	mkfs.ext4 -q -d "$root" "$image/root.ext4"
}

echo "Installing ${deb##*/} in it"
logged "installing the package" image-root make_root
rm -rf "$root"
