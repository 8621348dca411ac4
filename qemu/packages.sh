#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# packages.sh GROUP...: install the packages of these groups of qemu/packages
# that are missing. With nothing missing it needs neither network nor root.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

wanted=
for group; do
	list=$(awk -v g="$group" '$1 == g { print $2 }' "$top/qemu/packages")
	[ -n "$list" ] || die "qemu/packages has no group '$group'"
	wanted="$wanted $list"
done

missing=
for package in $wanted; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

[ "$(id -u)" = 0 ] ||
	die "packages are missing and only root can install them: $missing"

echo "Installing:$missing"
mkdir -p "$logs"
log=$logs/packages.log
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of names
{
	apt-get update &&
	apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends $missing
} >"$log" 2>&1 </dev/null || fail "installing packages" "$log"
