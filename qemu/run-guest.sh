#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run-guest.sh SAMPLE: in the guest, trace the sample's events with ftrace and
# perf. Each must get exactly what the sample wrote.

sample=$1
events=1000
tracing=/sys/kernel/tracing
event=$tracing/events/user_events/user_events_example
work=$(mktemp -d)
failed=0

heading()
{
	printf '\n=== %s\n' "$*"
}

# Wait until the last line of FILE says WHAT.
await()
{
	until tail -n 1 "$2" 2>/dev/null | grep -q "$1"; do
		sleep 0.1
	done
}

# The first and the last lines of a file.
ends()
{
	sed -n '1,3p' "$1"
	echo "..."
	tail -n 1 "$1"
}

# check CONSUMER FILE: events 0 to $events - 1, each once and in order.
check()
{
	sed -n -e 's/.* count=0x[0-9a-f]* (\([0-9]*\)) msg=Hello$/\1/p' \
		-e 's/.* count=\([0-9]*\) msg=Hello$/\1/p' "$2" >"$work/got"
	if seq 0 $((events - 1)) | cmp -s - "$work/got"; then
		echo "$1: got all $events events, in order"
	else
		echo "$1: WRONG, $(wc -l <"$work/got") good events of $events"
		failed=1
	fi
}

cd "$work" || exit
heading "The sample registers user_events_example and waits"
"$sample" $events >sample.log &
sample=$!
await 'waiting for a tracer' sample.log
cat sample.log
cat "$event/format"

heading "ftrace: echo 1 > events/user_events/user_events_example/enable"
cat $tracing/trace_pipe >pipe.log &
pipe=$!
echo 1 >"$event/enable"
await 'tracer to leave' sample.log
await "($((events - 1))) msg=" pipe.log
cat $tracing/user_events_status >status.log
echo 0 >"$event/enable"
kill $pipe
wait $pipe 2>/dev/null
await 'waiting for a tracer' sample.log
ends pipe.log
check trace_pipe pipe.log

# perf sets the event's bit when it opens it and starts to record a little
# later: hold the sample until perf says that it records.
heading "perf record -e 'user_events:*' -a"
kill -STOP $sample
mkfifo ctl ack
perf record -q -e 'user_events:*' -a --control fifo:ctl,ack -o perf.data 2>perf.log &
perf=$!
exec 3>ctl 4<ack
echo ping >&3
head -n 1 <&4 >/dev/null
kill -CONT $sample
await 'tracer to leave' sample.log
kill -INT $perf
wait $perf
cat perf.log
await 'waiting for a tracer' sample.log
perf script -i perf.data >script.log
ends script.log
check "perf script" script.log

heading "user_events_status, while ftrace had the event on, and now"
cat status.log
echo "---"
cat $tracing/user_events_status
grep -q '^user_events_example # Used by ftrace' status.log ||
	{ echo "user_events_status: WRONG, no 'Used by ftrace'"; failed=1; }

kill $sample
echo
if [ $failed = 0 ]; then
	echo "Each consumer got every event."
else
	echo "FAILED: a consumer did not get what the sample wrote."
fi
exit $failed
