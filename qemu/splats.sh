#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# splats.sh LOG [SYMBOLS]: fail, and show them, if the kernel reported bugs in
# LOG. With SYMBOLS, a file of functions, a data race that is not in one of them is
# none: the rest of the kernel has its own.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

bugs='WARNING:|BUG:|Oops|Kernel panic|general protection fault|unable to handle'
bugs="$bugs|cut here|Call Trace|INFO: (task|rcu|trying)|rcu.*stall|soft lockup"
bugs="$bugs|(circular|recursive) locking|irq lock inversion|lock state|lock order|lock held"
bugs="$bugs|suspicious RCU usage|sleeping function called|while atomic"
bugs="$bugs|KASAN|KCSAN|UBSAN|KFENCE|KMSAN|ODEBUG|refcount_t|list_(add|del) corruption"
bugs="$bugs|kmemleak: [1-9]|unreferenced object|turning off the locking"

# How the tools introduce themselves at boot is not a report.
quiet='kasan: KernelAddressSanitizer initialized|kcsan: (enabled|strict|non-strict|selftest)'

# Take out the titles of others' races, which is what makes them reports: those of
# which no access is in one of our functions, or in a helper that it called. The
# lines in between stay: other CPUs may report something else meanwhile.
# Lines keep their numbers.
others_races()
{
	awk '
	FNR == NR { if ($1 != "") ours[$1] = 1; next }
	{ line[FNR] = $0 }
	/BUG: KCSAN: / { title = FNR; foreign[title] = 1; innermost = 0 }
	/ (to|of) 0x[0-9a-f]+ of [0-9]+ bytes by / { innermost = 1; next }
	innermost && $NF ~ /\+0x/ {
		name = $NF
		sub(/\+0x.*/, "", name)
		if (name in ours)
			delete foreign[title]
		if (name !~ /^_*(mem|str|list|hlist|rht|rhashtable|xa|xas|refcount)/)
			innermost = 0
	}
	/Reported by Kernel Concurrency Sanitizer/ { title = 0; innermost = 0 }
	END {
		for (i = 1; i <= FNR; i++)
			print i in foreign ? "" : line[i]
	}' "$2" "$1"
}

# Take out the head of the stack trace of a process whose control group is out of
# memory, as tests have some: whatever is wrong has another title above its own.
without_oom_traces()
{
	awk '
	/ invoked oom-killer: / { oom = 1 }
	oom && /Call Trace:/ { oom = 0; print ""; next }
	{ print }' "$1"
}

# What grep finds, which may be nothing, but not an error.
lines()
{
	grep -a "$@" || [ $? = 1 ]
}

[ -s "$1" ] || die "the console's log $1 is missing or empty"
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
races=$1
text=$work/text
if [ -n "$2" ]; then
	[ -s "$2" ] || die "the list of functions $2 is missing or empty"
	races=$work/races
	others_races "$1" "$2" >"$races" || die "cannot look for data races in $1"
fi
without_oom_traces "$races" >"$text" || die "cannot look for bugs in $1"
{
	lines -nE "$bugs" "$text" >"$work/all" &&
	lines -vE "$quiet" "$work/all" >"$work/found"
} || die "cannot look for bugs in $1"
[ -s "$work/found" ] || exit 0
echo "error: the kernel reported bugs, see $1:"
head -n 40 "$work/found" | sed 's/^/  | /'
first=$(sed -n '1s/:.*//p' "$work/found")
echo "error: the first of them, from line $first:"
tail -n "+$first" "$text" | head -n 40 | sed 's/^/  | /'
exit 1
