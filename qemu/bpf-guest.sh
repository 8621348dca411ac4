#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# bpf-guest.sh DIR: in the guest, send the sample's events through a BPF ring
# buffer with the programs in DIR, replace the BPF program while they come, and
# add them up with bpftrace. Each must get exactly what the sample wrote.

dir=$1
events=10000
versions=4
work=$(mktemp -d)
failed=0

heading()
{
	printf '\n=== %s\n' "$*"
}

# Wait until a line of FILE says WHAT, or the process PID is gone.
await()
{
	until grep -qs "$1" "$2"; do
		kill -0 "$3" 2>/dev/null || { cat "$2"; exit 1; }
		sleep 0.1
	done
}

# start SAMPLE COUNT: it waits for a tracer. It is held, as its event is on before
# the tracer's program is attached.
start()
{
	"./$1" "$2" >sample.log &
	sample=$!
	await 'waiting for a tracer' sample.log $sample
	kill -STOP $sample
}

# The sample ends by a signal only.
stop()
{
	kill -KILL $sample
	wait $sample 2>/dev/null
}

# ring COUNT [VERSIONS]: read the sample's events.
ring()
{
	./ring ring.bpf.o "$@" >ring.log 2>&1 &
	ring=$!
	await 'attached version 1' ring.log $ring
	kill -CONT $sample
	wait $ring || failed=1
	sed -n '1,3p' ring.log
	echo "..."
	sed -n '/ sent /,$p' ring.log
}

# total GOT TWICE: the last line of ring, if it got all events from 0 on.
total()
{
	printf 'got %s events, 0 to %s, sum %s; %s by two versions; 0 lost' \
		"$1" $(($1 - 1)) $(($1 * ($1 - 1) / 2)) "$2"
}

# check CONSUMER PATTERN FILE: FILE has a line that is PATTERN.
check()
{
	if grep -qx "$2" "$3"; then
		echo "$1: exact"
	else
		echo "$1: WRONG, no line '$2'"
		failed=1
	fi
}

cp "$dir"/* "$work" && cd "$work" || exit

heading "ring ring.bpf.o $events: a bpf_link and a ring buffer"
start user_events_example $events
ring $events
check "ring buffer" "$(total $events 0)" ring.log
# Once the link is gone nobody traces the event.
await 'tracer to leave' sample.log $sample
until tail -n 1 sample.log | grep -q 'waiting for a tracer'; do
	sleep 0.1
done
stop

# This sample writes until it is killed: it does so whenever a link is made or
# destroyed.
heading "ring ring.bpf.o $((events / versions)) $versions: replace the program"
start user_events_example 4000000000
ring $((events / versions)) $versions
got=$(sed -n 's/^got \([0-9]*\) .*/\1/p' ring.log)
got=${got:-0}
[ "$got" -ge $events ] || failed=1
check "$versions versions" "$(total "$got" "[1-9][0-9]*")" ring.log
kill -0 $sample || failed=1
stop

# bpftrace starts its command when all probes are attached. Without BTF it knows
# the types of C only, which this sample's field has.
probe="tracepoint:user_events:user_events_batch { @count = count(); @sum = sum(args->count); }"
heading "bpftrace -e '$probe'"
cat >release <<'END'
kill -CONT "$1"
until grep -q 'tracer to leave' sample.log; do
	sleep 0.1
done
END
start user_events_batch $events
bpftrace -c "/bin/sh release $sample" -e "$probe" >bpftrace.log 2>&1 || failed=1
cat bpftrace.log
check "bpftrace's count" "@count: $events" bpftrace.log
check "bpftrace's sum" "@sum: $((events * (events - 1) / 2))" bpftrace.log
stop

echo
if [ $failed = 0 ]; then
	echo "Each program got every event."
else
	echo "FAILED: a program did not get what the sample wrote."
fi
exit $failed
