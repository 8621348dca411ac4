#!/bin/sh
# SPDX-License-Identifier: GPL-2.0

usage()
{
	cat <<'END'
usage: diff.sh [-s SEED] [-c COMMANDS] [-n SESSIONS] [FILE]

Play the same sessions on the base kernel and on ours, and compare what each step
answered and changed. Sessions are those of diff/sessions, the corpus of the
fuzzer, and so many command strings and sessions made up from SEED; or those of
FILE alone. A difference has to be wanted: by a rule of diff/wanted, under a
heading that README.md has among the differences.

A session that differs otherwise is made as short as possible and printed: keep it
in a file to play it again.
END
}

# shellcheck source=../qemu/common.sh
. "$(dirname "$0")/../qemu/common.sh"

seed=1
commands=100000
sessions=10000
while getopts s:c:n:h option; do
	case $option in
	s) seed=$OPTARG ;;
	c) commands=$OPTARG ;;
	n) sessions=$OPTARG ;;
	h) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))

diff=$top/diff
work=$build/diff
tests=tools/testing/selftests/user_events

"$diff/headings.sh" || exit
"$top/qemu/packages.sh" kernel guest || exit
"$top/qemu/kernel.sh" baseline-x86_64 || exit
"$top/qemu/kernel.sh" x86_64 || exit
mkdir -p "$work"
cp "$build/baseline-x86_64/bzImage" "$work/base.bzImage" || exit
cp "$build/x86_64/bzImage" "$work/ours.bzImage" || exit

compile()
{
	program=$1
	shift
	logged "building $program" "diff-$program" \
		cc -O2 -Wall -Wextra -Wno-unused-parameter \
		-Wno-missing-field-initializers -Werror \
		-I "$top/include/uapi" -o "$work/$program" "$diff/$program.c" "$@"
}

compile play
# The fuzzer has more than is used here.
compile make_sessions -Wno-unused-function -Wno-format-nonliteral \
	-I "$build/linux/$tests"

# play KERNEL SESSIONS TRANSCRIPT: on the clock that counts instructions sleep
# costs nothing, and two runs are the same. The base has bugs of its own.
play()
{
	bugs=
	[ "$1" = ours ] || bugs=-b
	# shellcheck disable=SC2086 # options
	"$top/qemu/boot.sh" -i $bugs -t 14400 -k "$work/$1.bzImage" \
		-l "$logs/diff-$1.log" "$work/play" "$2" >"$3.$1" ||
		die "the guest of $1 failed, see $3.$1 and $logs/diff-$1.log"
}

# compare SESSIONS NAME: play them on both, and say what differs. The sessions that
# failed are in $work/NAME.failed.
compare()
{
	rm -rf "$work/$2.failed" "$work/$2.unseen"
	mkdir -p "$work/$2.failed"
	play base "$1" "$work/$2" &
	other=$!
	play ours "$1" "$work/$2" || { wait $other; exit 1; }
	wait $other || exit 1
	awk -v wanted="$diff/wanted" -v base="$work/$2.base" -v ours="$work/$2.ours" \
		-v failed="$work/$2.failed" -v unseen="$work/$2.unseen" \
		-f "$diff/compare.awk" >"$work/$2.result"
	case $? in
	0) return 0 ;;
	1) return 1 ;;
	*) cat "$work/$2.result"; exit 2 ;;
	esac
}

# Those of the numbered sessions in $work/shrink.failed, in order.
still_fail()
{
	head -qn 1 "$work"/shrink.failed/* 2>/dev/null |
		sed -n 's/^session without //p' | sort -n
}

# without FILE NUMBERS NAME: a session without these lines; the end of a child or
# of a thread goes with its start.
without()
{
	awk -v drop=" $2 " -v name="$3" '
	NR == 1 { print "session without " name; next }
	$1 == "fork" || $1 == "thread" { gone = index(drop, " " NR " ") }
	/^end(fork|thread)$/ && gone { gone = 0; next }
	!index(drop, " " NR " ")' "$1"
}

# shrink FILE: leave out steps as long as there is a difference.
shrink()
{
	cp "$1" "$work/shortest"
	while :; do
		lines=$(wc -l <"$work/shortest")
		[ "$lines" -gt 2 ] || return
		for line in $(seq 2 "$lines"); do
			without "$work/shortest" "$line" "$line"
		done >"$work/shrink.sessions"
		compare "$work/shrink.sessions" shrink && return
		# Each of these can go. How many of them can go together?
		some=
		for line in $(still_fail); do
			some="$some $line"
			without "$work/shortest" "$some" "$line"
		done >"$work/shrink.sessions"
		[ -n "$some" ] || return
		compare "$work/shrink.sessions" shrink && return
		last=$(still_fail | tail -n 1)
		sum=
		for line in $some; do
			sum="$sum $line"
			[ "$line" != "$last" ] || break
		done
		without "$work/shortest" "$sum" "$last" >"$work/shorter"
		mv "$work/shorter" "$work/shortest"
	done
}

if [ $# -gt 0 ]; then
	script=$1
else
	script=$work/sessions
	cat "$diff/sessions" >"$script"
	"$work/make_sessions" "$seed" "$commands" "$sessions" \
		"$top/$tests/fuzz_corpus.txt" >>"$script" || exit
fi
echo "Playing $(grep -c '^session' "$script") sessions on both kernels"
begin=$(date +%s)
compare "$script" run
status=$?
cat "$work/run.result"
echo "  in $(($(date +%s) - begin)) s"
# A short run does not come by all of them.
if [ $# -eq 0 ] && [ $status = 0 ] && [ "$commands" -ge 100000 ] &&
	[ "$sessions" -ge 10000 ] && [ -s "$work/run.unseen" ]; then
	echo "error: rules of diff/wanted that nothing matches any more:"
	cat "$work/run.unseen"
	exit 1
fi
[ $status != 0 ] || exit 0

echo "Shortening the first of them"
first=$(find "$work/run.failed" -type f | sort -V | head -n 1)
shrink "$first"
compare "$work/shortest" shortest
cat "$work/shortest" "$work/shortest.result"
exit 1
