#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# containers-guest.sh DIR: in the guest, run the programs in DIR in three containers
# that have a group of user events each. All write the event user_events_example, one
# of them with other fields. The host traces each by its group, and must get exactly
# what the container wrote.

dir=$1
events=1000
max=20
tracing=/sys/kernel/tracing
groups=$tracing/user_events_groups
user=54321
work=$(mktemp -d)
failed=0

heading()
{
	printf '\n=== %s\n' "$*"
}

# await WHAT FILE PID: until the last line of FILE says WHAT, or PID is gone.
await()
{
	until tail -n 1 "$2" 2>/dev/null | grep -q "$1"; do
		kill -0 "$3" 2>/dev/null || { echo "FAILED:"; cat "$2"; exit 1; }
		sleep 0.1
	done
}

check()
{
	if eval "$2"; then
		echo "$1: yes"
	else
		echo "$1: NO, '$2' failed"
		failed=1
	fi
}

# numbers PATTERN FILE: what PATTERN finds in the lines of FILE are 0 to events - 1.
# shellcheck disable=SC2317 # check calls it
numbers()
{
	sed -n "s/$1/\\1/p" "$2" >got
	seq 0 $((events - 1)) | cmp -s - got
}

# The root file system of a container: a program, and places to mount at.
make_root()
{
	mkdir -p "$1/bin" "$1/proc" "$1/sys" "$1/dev" "$1/tmp" "$1/run/user_events"
	cp "$dir"/* "$1/bin"
}

# bundle GROUP ARG...: what crun runs. The group is the container's tracefs.
bundle()
{
	group=$1
	shift
	arguments=
	for word; do
		arguments="$arguments, \"$word\""
	done
	make_root "$group/rootfs"
	cat >"$group/config.json" <<-END
	{
	  "ociVersion": "1.0.2",
	  "process": {
	    "terminal": false,
	    "user": { "uid": 0, "gid": 0 },
	    "args": [ ${arguments#, } ],
	    "cwd": "/",
	    "env": [ "PATH=/bin" ],
	    "capabilities": {
	      "bounding": [ "CAP_KILL" ],
	      "effective": [ "CAP_KILL" ],
	      "permitted": [ "CAP_KILL" ]
	    },
	    "noNewPrivileges": true
	  },
	  "root": { "path": "rootfs" },
	  "hostname": "$group",
	  "mounts": [
	    { "destination": "/proc", "type": "proc", "source": "proc" },
	    { "destination": "/sys", "type": "sysfs", "source": "sysfs",
	      "options": [ "nosuid", "noexec", "nodev", "ro" ] },
	    { "destination": "/sys/kernel/tracing", "type": "bind",
	      "source": "$groups/$group/root", "options": [ "bind", "rw" ] }
	  ],
	  "linux": {
	    "namespaces": [ { "type": "pid" }, { "type": "ipc" }, { "type": "uts" },
	      { "type": "mount" }, { "type": "network" } ],
	    "resources": { "devices": [ { "allow": false, "access": "rwm" } ],
	      "pids": { "limit": 16 } }
	  }
	}
	END
}

cd "$work" || exit
heading "Three groups: mkdir $groups/web, db and user"
for group in web db user; do
	mkdir $groups/$group || exit
	echo $max >$groups/$group/max_events || exit
done
ls -lR $groups/web

heading "web: crun, the group over /sys/kernel/tracing"
bundle web /bin/user_events_example $events
crun run --bundle=web web >web.log 2>&1 </dev/null &
web=$!
await 'waiting for a tracer' web.log $web
cat web.log

heading "db: bubblewrap, the group at /run/user_events, other fields"
make_root root
# Of a network of its own bwrap wants the address of the loopback device: the kernel
# has no IP.
bwrap --bind root / --proc /proc --unshare-pid --unshare-ipc --unshare-uts \
	--bind $groups/db/root /run/user_events --cap-drop ALL --die-with-parent \
	/bin/contained /run/user_events $events $max >db.log 2>&1 </dev/null &
db=$!
await 'waiting for a tracer' db.log $db
cat db.log

heading "user: bubblewrap by user $user in a user namespace, the group is his"
chown -R $user:$user $groups/user/root
# He cannot enter tracefs: the directory is brought to where he can.
mkdir -p /run/user_events_user
mount --bind $groups/user/root /run/user_events_user
chmod 755 "$work"
setpriv --reuid $user --regid $user --clear-groups \
	bwrap --ro-bind root / --tmpfs /tmp --proc /proc --unshare-all --share-net --uid 0 --gid 0 \
	--bind /run/user_events_user /run/user_events --die-with-parent \
	/bin/contained /run/user_events $events $max >user.log 2>&1 </dev/null &
user_pid=$!
await 'waiting for a tracer' user.log $user_pid
cat user.log

heading "What the host sees"
head -n 100 $tracing/user_events_status $groups/*/root/user_events_status
check "the host's own group has none of theirs" \
	"! grep -q user_events_example $tracing/user_events_status"
grep user_events_example $tracing/dynamic_events
check "three of one name, each of its group" \
	"[ \$(grep -c '/user_events_example ' $tracing/dynamic_events) = 3 ]"

# perf sets the events' bits when it opens them and starts to record a little later:
# hold the programs until perf says that it records.
programs=$(pgrep -x 'user_events_exa|contained')
heading "perf record -e 'user_events_web:*' -e 'user_events_db:*' -e 'user_events_user:*' -a"
# shellcheck disable=SC2086 # a list
kill -STOP $programs
mkfifo ctl ack
perf record -q -e 'user_events_web:*' -e 'user_events_db:*' -e 'user_events_user:*' -a \
	-m 512 --control fifo:ctl,ack -o perf.data 2>perf.log &
perf=$!
exec 3>ctl 4<ack
echo ping >&3
head -n 1 <&4 >/dev/null
# shellcheck disable=SC2086 # a list
kill -CONT $programs
await 'tracer to leave' web.log $web
await 'tracer to leave' db.log $db
await 'tracer to leave' user.log $user_pid
echo stop >&3
head -n 1 <&4 >/dev/null
wait $perf
exec 3>&- 4<&-
perf script -i perf.data >perf.txt 2>/dev/null
grep -E 'number=0$|count=0 ' perf.txt
for group in web db user; do
	grep "user_events_$group:" perf.txt >$group.perf
done
check "perf: web's events" "numbers '.* count=\\([0-9]*\\) msg=Hello\$' web.perf"
check "perf: db's events" "numbers '.* number=\\([0-9]*\\)\$' db.perf"
check "perf: user's events" "numbers '.* number=\\([0-9]*\\)\$' user.perf"
check "perf: no other" "[ \$(wc -l <perf.txt) = $((3 * events)) ]"
await 'waiting for a tracer' web.log $web
await 'waiting for a tracer' db.log $db
await 'waiting for a tracer' user.log $user_pid

heading "ftrace: an instance that records user_events_db alone"
instance=$tracing/instances/containers
mkdir $instance
echo 1 >$instance/events/user_events_db/enable
await 'tracer to leave' db.log $db
echo 0 >$instance/events/user_events_db/enable
grep user_events_example $instance/trace >db.trace
head -n 2 db.trace
check "ftrace: db's events" "numbers '.* number=0x[0-9a-f]* (\\([0-9]*\\))\$' db.trace"
check "ftrace: no other" "[ \$(wc -l <db.trace) = $events ]"
check "web did not write" "tail -n 1 web.log | grep -q 'waiting for a tracer'"
rmdir $instance

heading "Removal"
check "a group in use stays" "! rmdir $groups/web 2>/dev/null && [ -d $groups/web ]"
crun kill web KILL
wait $web
check "web goes, db has not noticed" \
	"rmdir $groups/web && kill -0 $db && [ ! -e $tracing/events/user_events_web ]"
kill -KILL $db $user_pid
wait
# They end their containers' programs when they are gone, not before.
while pgrep -x contained >/dev/null; do
	sleep 0.1
done
check "the others go" "rmdir $groups/db $groups/user"
check "what was bound is empty" "! [ -e /run/user_events_user/user_events_data ]"
umount /run/user_events_user
check "nothing is left" "grep -q '^Active: 0' $tracing/user_events_status"

echo
if [ $failed = 0 ]; then
	echo "Each container had its own events, and the host had them all."
else
	echo "FAILED, see above."
fi
exit $failed
