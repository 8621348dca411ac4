#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# render.sh DIR: Documentation/trace/user_events.rst as a page in DIR, with what the
# kernel's own sphinx configuration has that the page uses. A warning fails.

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

cp "$top"/Documentation/trace/user_events.rst "$work"
srctree=$build/linux PYTHONPATH=$build/linux/Documentation/sphinx \
	PYTHONDONTWRITEBYTECODE=1 \
	sphinx-build -q -W --keep-going -b html -C \
	-D extensions=kerneldoc -D root_doc=user_events \
	-D highlight_language=none -D project="The Linux Kernel" \
	-D html_theme=alabaster -D html_theme_options.page_width=65em \
	-D html_theme_options.sidebar_width=15em \
	-D html_theme_options.font_size=inherit -D html_theme_options.font_family=serif \
	-D html_static_path="$build/linux/Documentation/sphinx-static" \
	-D html_css_files=custom.css \
	-D kerneldoc_bin="$build/linux/scripts/kernel-doc" \
	-D kerneldoc_srctree="$build/linux" "$work" "$1"
