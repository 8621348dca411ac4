# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154
#
# Sourced after name.sh: check the configuration of the kernel $name and build it.

log=$logs/kernel-$name.log

# check_config WANTED: the configuration has what the file WANTED says: Kconfig silently
# drops what has an unmet dependency. The last word on a symbol counts.
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
	}' "$1" "$obj/.config" >"$logs/config-$name.log" ||
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

# build_kernel TARGET...: make them, and say how far it is.
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
