#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kernel.sh [NAME [TARGET...]]: build a kernel as build/NAME/bzImage.
#
# NAME is [CONFIG-]ARCH. The configuration is allnoconfig with the fragments common,
# ARCH, CONFIG and ours of qemu/config, each followed by what the base adds to it
# (qemu/config/6.12 and so on); CONFIG "baseline" stands for the untouched base
# tree. With TARGETs, make them instead of the kernel's image.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

name=${1:-x86_64}
[ $# -eq 0 ] || shift
# shellcheck source=name.sh
. "$top/qemu/name.sh"
log=$logs/kernel-$name.log
fragments="common $arch"
differs=$(base_directory qemu/config)
lock "kernel-$name"

case $config in
baseline)
	"$top/qemu/tree.sh" baseline || exit
	;;
*)
	fragments="$fragments $config ours"
	"$top/qemu/tree.sh" || exit
	;;
esac
mkdir -p "$obj" "$logs"

configure()
{
	for fragment in $fragments; do
		[ -e "$top/qemu/config/$fragment" ] ||
			die "there is no configuration qemu/config/$fragment"
		cat "$top/qemu/config/$fragment"
		[ ! -e "$differs/$fragment" ] || cat "$differs/$fragment"
	done >"$obj/fragments.new"
	if [ -e "$obj/.config" ] && cmp -s "$obj/fragments" "$obj/fragments.new"
	then
		return
	fi
	logged "configuring $name" "config-$name" \
		kmake KCONFIG_ALLCONFIG="$obj/fragments.new" allnoconfig
	check_config
	mv "$obj/fragments.new" "$obj/fragments"
}

# Kconfig silently drops what has an unmet dependency. The last word on a
# symbol counts.
check_config()
{
	awk '
	{
		sym = ""
		if (match($0, /^CONFIG_[A-Za-z0-9_]+=/))
			sym = substr($0, 1, RLENGTH - 1)
		else if (match($0, /^# CONFIG_[A-Za-z0-9_]+ is not set/))
			sym = $2
		if (!sym)
			next
		value = $1 == "#" ? "n" : substr($0, length(sym) + 2)
	}
	NR == FNR { want[sym] = value; next }
	{ have[sym] = value }
	END {
		for (sym in want) {
			if (!(sym in have))
				have[sym] = "n"
			if (have[sym] != want[sym]) {
				print sym " is " have[sym] ", not " want[sym]
				bad = 1
			}
		}
		exit bad
	}' "$obj/fragments.new" "$obj/.config" >"$logs/config-$name.log" ||
		fail "configuring $name" "$logs/config-$name.log"
}

compiled()
{
	grep -cE '^  (CC|AS|HOSTCC|LDS|VDSO)' "$log"
}

# One line that says how far the build is; on a terminal it replaces itself.
progress()
{
	about=
	[ -e "$obj/vmlinux" ] || about=" of about $objects"
	start=$(date +%s)
	said=0
	while sleep 1; do
		now=$(($(date +%s) - start))
		line="  $name: $(compiled) files compiled$about, $now s"
		if [ -t 1 ]; then
			printf '\r%s ' "$line"
		elif [ $((now - said)) -ge 15 ]; then
			echo "$line"
			said=$now
		fi
	done
}

build_kernel()
{
	: >"$log"
	begin=$(date +%s)
	(how="exec" && kmake "$@") >"$log" 2>&1 </dev/null &
	maker=$!
	progress 9>&- &
	watcher=$!
	trap 'kill $maker $watcher 2>/dev/null; exit 130' INT TERM HUP
	wait $maker
	status=$?
	kill $watcher
	wait $watcher 2>/dev/null
	[ ! -t 1 ] || printf '\r\033[K'
	[ $status = 0 ] || fail "building the kernel $name" "$log"
	echo "  $name: $(compiled) files compiled in $(($(date +%s) - begin)) s"
}

configure
if [ $# -gt 0 ]; then
	logged "making $* for $name" "make-$name" kmake "$@"
	exit
fi
build_kernel "$image"
mkdir -p "$build/$name"
cmp -s "$obj/$image_path" "$build/$name/$image" ||
	cp "$obj/$image_path" "$build/$name/$image"
echo "Kernel: build/$name/$image"
