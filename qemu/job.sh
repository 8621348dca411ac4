#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# job.sh: in a guest with systemd, run the job of this boot from the disk that this
# script is on, report by virtio's ports, and end the machine.

until [ -e /dev/virtio-ports/out ] && [ -e /dev/virtio-ports/status ]; do
	sleep 0.1
done
# Only one open of the port is possible, a fifo has no such limit.
mkfifo /run/out
cat /run/out >/dev/virtio-ports/out &
reader=$!
cd "$(dirname "$0")" || exit
./distro-guest.sh "$JOB" >/run/out 2>&1 </dev/null
status=$?
# What is left behind and still has it open is not waited for.
timeout 20 tail --pid=$reader -f /dev/null
echo $status >/dev/virtio-ports/status
systemctl reboot --force --force
