#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# menuconfig.sh [NAME]: change the configuration of the kernel NAME by hand, until
# qemu/config changes, and say what of it belongs there to stay.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
# shellcheck source=name.sh
. "$top/qemu/name.sh"
"$top/qemu/packages.sh" kernel menuconfig || exit
"$top/qemu/kernel.sh" "$name" prepare || exit

cp "$obj/.config" "$obj/.config.before" || exit
kmake menuconfig || exit
echo "Changed, for a fragment in qemu/config:"
"$tree/scripts/diffconfig" -m "$obj/.config.before" "$obj/.config"
