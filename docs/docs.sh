#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# docs.sh [NAME]: render the documentation as build/docs/html, and run its examples
# as they are printed there, on the kernel NAME.

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

name=${1:-x86_64}
"$top/qemu/packages.sh" kernel guest docs || exit
"$top/qemu/kernel.sh" "$name" || exit
"$top/qemu/kernel.sh" "$name" headers || exit

# shellcheck source=../qemu/name.sh
. "$top/qemu/name.sh"
page=$top/Documentation/trace/user_events.rst
work=$build/docs
rm -rf "$work"
mkdir -p "$work/examples"

logged "rendering the documentation" docs-sphinx "$top/docs/render.sh" "$work/html"
echo "Page: ${work#"$top"/}/html/user_events.html"

awk -v dir="$work/examples" -f "$top/docs/extract.awk" "$page" ||
	die "the examples of ${page#"$top"/} cannot be told from its text"
cp "$top/docs/parts.c" "$work/examples"
# Parts of programs are compiled into one that calls them.
logged "building the parts of programs" docs-parts cc -O2 -Wall -Wextra -Werror -pthread \
	-I "$obj/usr/include" -o "$work/examples/parts" "$work/examples/parts.c"
logged "looking at the programs" docs-programs cc -O2 -Wall -Wextra -Werror \
	-I "$obj/usr/include" -o "$work/shop" "$work/examples/shop.c"

boot_kernel -t 900 -l "$logs/docs.log" "$top/docs/guest.sh" "$work/examples" "$obj/usr/include"
