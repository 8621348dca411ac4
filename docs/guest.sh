#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# guest.sh DIR INCLUDE: in the guest, type the sessions of DIR/list one after the other
# into one shell, with the headers of the kernel installed. What each command prints
# has to be what the page says.

# shellcheck disable=SC2317 # the sessions call the functions

dir=$1
export CPATH=$2
docs=$(dirname "$0")
work=$(mktemp -d)
out=$work/out
failed=0
systemd=

starting()
{
	printf '# %s\n' "$1"
}

finished()
{
	sed 's/^/    /' "$out/$1.got"
	if [ "$2" != 0 ]; then
		echo "FAILED  status $2"
	elif ! awk -f "$docs/compare.awk" "$out/$1.wanted" "$out/$1.got" >"$out/why"; then
		echo "FAILED  $(cat "$out/why")"
	else
		return
	fi
	failed=1
}

check()
{
	echo
	if [ $failed = 0 ]; then
		echo "Each example does what the page says."
	else
		echo "FAILED: an example does not do what the page says."
	fi
	exit $failed
}

mkdir "$out" "$work/examples"
cp "$dir"/* "$work/examples"
export HOME="$work/examples"
cd || exit
chmod 755 "$work"

# systemd is not process 1 of the guest. It gets processes of its own, and those who
# talk to it have to be among them.
systemctl()
{
	if [ -z "$systemd" ]; then
		mkdir -p /run/systemd/system
		# Nothing of what a boot does: it cleans up /tmp.
		ln -s /dev/null /run/systemd/system/systemd-tmpfiles-setup.service
		for target in docs sysinit basic; do
			printf '[Unit]\nDefaultDependencies=no\n' \
				>"/run/systemd/system/$target.target"
		done
		(container=docs unshare --pid --fork --mount-proc sh -c '
			mount --make-rshared /
			exec /lib/systemd/systemd --system --unit=docs.target' >/dev/null 2>&1 &)
		until systemd=$(pgrep -f '^/lib/systemd/systemd --system --unit=docs') &&
			[ -S /run/systemd/private ]; do
			sleep 0.5
		done
	fi
	nsenter -t "$systemd" -p -m systemctl "$@"
}
# Whoever types has a shell with job control.
set -m

echo "=== parts of programs"
./parts || { failed=1; check; }

while read -r session; do
	awk -v name="$session" -v dir="$out" -f "$docs/session.awk" "$session" >"$out/$session" ||
		exit
	[ -s "$out/$session" ] || exit
done <list
while read -r session; do
	printf '\n=== %s\n' "$session"
	# shellcheck source=/dev/null
	. "$out/$session"
done <"$work/examples/list"
check
