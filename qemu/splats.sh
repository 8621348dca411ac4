#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# splats.sh LOG: fail, and show them, if the kernel reported bugs in LOG.

bugs='WARNING:|BUG:|Oops|Kernel panic|general protection fault|unable to handle'
bugs="$bugs|cut here|Call Trace|INFO: (task|rcu|trying)|rcu.*stall|soft lockup"
bugs="$bugs|(circular|recursive) locking|irq lock inversion|lock state|lock order|lock held"
bugs="$bugs|suspicious RCU usage|sleeping function called|while atomic"
bugs="$bugs|KASAN|KCSAN|UBSAN|KFENCE|KMSAN|ODEBUG|refcount_t|list_(add|del) corruption"
bugs="$bugs|kmemleak: [1-9]|unreferenced object|turning off the locking"

# How the tools introduce themselves at boot is not a report.
quiet='kasan: KernelAddressSanitizer initialized|kcsan: (enabled|strict)'

found=$(grep -nE "$bugs" "$1" | grep -vE "$quiet" | head -n 40)
[ -n "$found" ] || exit 0
echo "error: the kernel reported bugs, see $1:"
echo "$found" | sed 's/^/  | /'
exit 1
