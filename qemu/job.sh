#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# job.sh: in a guest with systemd, run the job of this boot from the disk that this
# script is on, report by virtio's ports, and end the machine.

until [ -e /dev/virtio-ports/out ] && [ -e /dev/virtio-ports/status ]; do
	sleep 0.1
done
exec >/dev/virtio-ports/out 2>&1 </dev/null
cd "$(dirname "$0")" || exit
./distro-guest.sh "$JOB"
echo $? >/dev/virtio-ports/status
systemctl reboot --force --force
