#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# splats.sh LOG [SYMBOLS]: fail, and show them, if the kernel reported bugs in
# LOG. With SYMBOLS, a file of functions, data races that are between others are
# none: the rest of the kernel has its own.

bugs='WARNING:|BUG:|Oops|Kernel panic|general protection fault|unable to handle'
bugs="$bugs|cut here|Call Trace|INFO: (task|rcu|trying)|rcu.*stall|soft lockup"
bugs="$bugs|(circular|recursive) locking|irq lock inversion|lock state|lock order|lock held"
bugs="$bugs|suspicious RCU usage|sleeping function called|while atomic"
bugs="$bugs|KASAN|KCSAN|UBSAN|KFENCE|KMSAN|ODEBUG|refcount_t|list_(add|del) corruption"
bugs="$bugs|kmemleak: [1-9]|unreferenced object|turning off the locking"

# How the tools introduce themselves at boot is not a report.
quiet='kasan: KernelAddressSanitizer initialized|kcsan: (enabled|strict|non-strict|selftest)'

# A report of a race is enclosed in lines of '=', and its second line names the
# two functions, or one. Lines keep their numbers.
others_races()
{
	awk '
	FNR == NR { ours[$1] = 1; next }
	{ sub(/\r$/, ""); line[FNR] = $0; last = FNR }
	/=====$/ { open = open ? 0 : FNR; skip = 0 }
	open && /BUG: KCSAN: / {
		skip = 1
		for (i = 1; i <= NF; i++)
			if ($i in ours)
				skip = 0
	}
	skip { line[FNR] = "" }
	END {
		for (i = 1; i <= last; i++)
			print line[i]
	}' "$2" "$1"
}

text=$1
if [ -n "$2" ]; then
	text=$(mktemp) || exit
	trap 'rm -f "$text"' EXIT
	others_races "$1" "$2" >"$text"
fi
found=$(grep -nE "$bugs" "$text" | grep -vE "$quiet" | head -n 40)
[ -n "$found" ] || exit 0
echo "error: the kernel reported bugs, see $1:"
echo "$found" | sed 's/^/  | /'
exit 1
