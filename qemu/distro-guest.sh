#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2317 # check calls the functions
#
# distro-guest.sh JOB: in an installed system, check that user events work for what a
# distribution has. It prints a line for each check, and fails if one of them does.
#
#   consumers     perf, bpftrace, trace-cmd, the function tracer, kprobes
#   services      settings of systemd, AppArmor
#   lockdown      the consumers under lockdown=integrity, then confidentiality
#   locked        lockdown=confidentiality from the start
#   kselftests    those of the kernel
#   containers    as in make containers
#   removal       the kernel's package is removed

tracing=/sys/kernel/tracing
event=$tracing/events/user_events/distro
data=$tracing/user_events_data
events=1000
passed=0
failed=0
work=/var/tmp/distro

heading()
{
	printf '\n=== %s\n' "$*"
}

# check WHAT COMMAND...: one line, and the output of what fails.
check()
{
	what=$1
	shift
	if "$@" >"$work/output" 2>&1 </dev/null; then
		echo "ok      $what"
		passed=$((passed + 1))
	else
		echo "FAILED  $what: $*"
		tail -n 40 "$work/output" | sed 's/^/  | /'
		failed=$((failed + 1))
	fi
}

fails()
{
	! "$@"
}

# says WHAT: the program did.
says()
{
	grep -qx "$1" "$work/said" || { cat "$work/said"; return 1; }
}

# counted N PATTERN FILE: so many lines have it.
counted()
{
	found=$(grep -c "$2" "$3")
	[ "$found" = "$1" ] || {
		echo "$found lines of '$2', not $1"
		tail -n 20 "$3"
		return 1
	}
}

# The event is there before the program is: a tracer can have it on when it starts.
make_event()
{
	echo 'u:distro u32 count; u32 odd; char[8] tag; __data_loc char[] text' \
		>>$tracing/dynamic_events
}

clear_trace()
{
	echo 0 >$event/enable
	echo nop >$tracing/current_tracer
	echo >$tracing/trace
}

# The records of the program are those of 0 to $events - 1, in order.
in_order()
{
	record='count=0x[0-9a-f]* (\([0-9]*\)) odd=.* tag=tag [01] text=text \1'
	sed -n "s/.* distro: $record\$/\\1/p" "$1" >"$work/numbers"
	seq 0 $((events - 1)) | cmp - "$work/numbers"
}

by_ftrace()
{
	clear_trace
	echo 1 >$event/enable || return
	./distro $events >"$work/said" || return
	cp $tracing/trace "$work/trace"
	clear_trace
	in_order "$work/trace"
}

# with_tracer TRACER PATTERN: beside a tracer of functions, which sees each call.
with_tracer()
{
	clear_trace
	echo vfs_writev >$tracing/set_ftrace_filter &&
	echo "$1" >$tracing/current_tracer &&
	echo 1 >$event/enable &&
	./distro $events >"$work/said" || return
	echo 0 >$tracing/tracing_on
	grep -a 'distro' $tracing/trace >"$work/trace"
	grep -a "$2" $tracing/trace >"$work/calls"
	clear_trace
	echo >$tracing/set_ftrace_filter
	echo 1 >$tracing/tracing_on
	counted $events "$2" "$work/calls" && counted $events ' count=0x' "$work/trace"
}

by_kprobe()
{
	clear_trace
	echo 'p:kprobes/distro_writev vfs_writev' >>$tracing/kprobe_events &&
	echo 'common_pid > 0 && comm == "distro"' \
		>$tracing/events/kprobes/distro_writev/filter &&
	echo 1 >$tracing/events/kprobes/distro_writev/enable &&
	echo 1 >$event/enable &&
	./distro $events >"$work/said" || return
	echo 0 >$tracing/events/kprobes/distro_writev/enable
	cp $tracing/trace "$work/trace"
	clear_trace
	echo '-:kprobes/distro_writev' >>$tracing/kprobe_events &&
	counted $events ': distro_writev: ' "$work/trace" && in_order "$work/trace"
}

perf_record()
{
	perf record -q -g -e user_events:distro -m 2M -o "$work/perf.data" ./distro $events &&
	perf script -i "$work/perf.data" >"$work/perf.txt" &&
	counted $events 'user_events:distro: count=[0-9]* odd=[01] tag=tag [01] text=text [0-9]*$' \
		"$work/perf.txt" &&
	counted $events ' main+0x' "$work/perf.txt"
}

perf_trace()
{
	perf trace --no-syscalls -e user_events:distro ./distro $events >"$work/perf.txt" 2>&1
	counted $events 'user_events:distro(' "$work/perf.txt"
}

perf_stat()
{
	perf stat -x, -e user_events:distro -o "$work/stat" ./distro $events &&
	counted 1 "^$events,,user_events:distro," "$work/stat"
}

perf_list()
{
	perf list user_events:distro >"$work/perf.txt" && counted 1 'user_events:distro ' \
		"$work/perf.txt"
}

# bpftrace 0.23.2 takes locations for something else: str(args.filename) of the kernel's
# own sched_process_exec is empty as well.
by_bpftrace()
{
	cat >"$work/distro.bt" <<-'END'
	tracepoint:user_events:distro {
		@count = count(); @sum = sum(args.count);
		@odd = sum(args.odd); @tag[args.tag] = count();
	}
	END
	bpftrace -c "$PWD/distro $events" "$work/distro.bt" >"$work/bpf" 2>&1 || {
		cat "$work/bpf"
		return 1
	}
	counted 1 "^@count: $events\$" "$work/bpf" &&
	counted 1 "^@sum: $((events * (events - 1) / 2))\$" "$work/bpf" &&
	counted 1 "^@odd: $((events / 2))\$" "$work/bpf" &&
	counted 2 "^@tag\[tag [01]\]: $((events / 2))\$" "$work/bpf"
}

by_trace_cmd()
{
	trace-cmd record -q -e user_events:distro -o "$work/trace.dat" ./distro $events &&
	trace-cmd report -i "$work/trace.dat" >"$work/trace" &&
	counted $events ' distro: *count=' "$work/trace"
}

# The file of by_trace_cmd().
by_kernelshark()
{
	python3 ./kernelshark.py "$work/trace.dat" >"$work/rows" &&
	counted $events '^user_events/distro count=[0-9]* odd=[01] tag=tag [01] text=text [0-9]*$' \
		"$work/rows"
}

check_consumers()
{
	check "an event by its command" make_event
	check "ftrace" by_ftrace
	check "beside the function tracer" with_tracer function 'vfs_writev <-'
	check "beside the function graph" with_tracer function_graph 'vfs_writev()'
	check "beside a kprobe" by_kprobe
	check "perf record -g" perf_record
	check "perf stat" perf_stat
	check "perf trace" perf_trace
	check "perf list" perf_list
	check "bpftrace, fields by name" by_bpftrace
	check "trace-cmd" by_trace_cmd
	check "KernelShark" by_kernelshark
}

has_options()
{
	for option in JUMP_LABEL FUNCTION_TRACER DYNAMIC_FTRACE DEBUG_INFO_BTF PREEMPT_DYNAMIC \
			SECURITY_LOCKDOWN_LSM SECURITY_APPARMOR SECURITY_SELINUX CGROUPS \
			MODULE_SIG USER_EVENTS; do
		grep -qx "CONFIG_$option=y" "/boot/config-$(uname -r)" ||
			{ echo "no $option"; return 1; }
	done
}

has_started()
{
	systemctl list-jobs
	[ -z "$(systemctl --failed --plain --no-legend)" ] || { systemctl --failed; return 1; }
}

check_system()
{
	heading "$(uname -a)"
	check "the kernel is a package's" dpkg -S "/boot/vmlinuz-$(uname -r)"
	check "Debian's options" has_options
	check "the kernel's types" test -s /sys/kernel/btf/vmlinux
	check "AppArmor and lockdown" grep -q lockdown.*apparmor /sys/kernel/security/lsm
	check "all services have started" has_started
}

# service SAYS SETTING...: what the program says as a service with these settings.
service()
{
	wanted=$1
	shift
	{
		printf '[Service]\nType=oneshot\nExecStart=/usr/local/bin/distro\n'
		echo "StandardOutput=truncate:$work/said"
		printf '%s\n' "$@"
	} >/run/systemd/system/try.service
	: >"$work/said"
	systemctl daemon-reload && { systemctl start try.service || :; }
	systemctl reset-failed try.service 2>/dev/null
	grep -qx "$wanted" "$work/said" || {
		cat "$work/said"
		journalctl -n 5 -u try.service
		return 1
	}
}

# confined SAYS RULE...: what it says under a profile of AppArmor with these rules.
confined()
{
	wanted=$1
	shift
	{
		printf 'profile distro /usr/local/bin/distro {\n  capability,\n  signal,\n'
		printf '  /usr/local/bin/distro mr,\n'
		printf '  %s\n' "$@"
		echo '}'
	} >"$work/profile"
	apparmor_parser --replace "$work/profile" || return
	/usr/local/bin/distro | cat >"$work/said"
	apparmor_parser --remove "$work/profile"
	says "$wanted"
}

check_services()
{
	heading "A service that opens the file"
	cp distro /usr/local/bin
	clear_trace
	echo 1 >$event/enable
	check "no setting" service 'wrote 1'
	for setting in NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes \
			PrivateDevices=yes PrivateNetwork=yes PrivateUsers=yes ProtectClock=yes \
			ProtectControlGroups=yes ProtectHostname=yes ProtectKernelLogs=yes \
			ProtectKernelModules=yes ProtectProc=invisible ProcSubset=pid \
			RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes \
			RestrictAddressFamilies=AF_UNIX LockPersonality=yes \
			MemoryDenyWriteExecute=yes SystemCallFilter=@system-service \
			SystemCallArchitectures=native CapabilityBoundingSet= UMask=0077; do
		check "$setting" service 'wrote 1' "$setting"
	done
	check "User=nobody is refused" service 'open: EACCES' User=nobody
	check "DynamicUser=yes is refused" service 'open: EACCES' DynamicUser=yes
	tunables=ProtectKernelTunables=yes
	check "$tunables is refused" service 'open: EROFS' $tunables
	check "$tunables, ReadWritePaths= the directory is refused" \
		service 'open: EROFS' $tunables ReadWritePaths=$tracing
	check "$tunables, ReadWritePaths= the file" \
		service 'wrote 1' $tunables ReadWritePaths=$data

	heading "A service that is given the file by OpenFile="
	open=OpenFile=$data:user_events
	for setting in User=nobody DynamicUser=yes $tunables InaccessiblePaths=/sys \
			PrivateUsers=yes; do
		check "$setting" service 'wrote 1' $open "$setting"
	done
	check "all that systemd-analyze security asks for" service 'wrote 1' $open \
		DynamicUser=yes NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes \
		PrivateTmp=yes PrivateDevices=yes PrivateNetwork=yes PrivateUsers=yes \
		ProtectClock=yes ProtectControlGroups=yes ProtectHostname=yes \
		ProtectKernelLogs=yes ProtectKernelModules=yes $tunables \
		ProtectProc=invisible ProcSubset=pid RestrictNamespaces=yes \
		RestrictRealtime=yes RestrictSUIDSGID=yes RestrictAddressFamilies=AF_UNIX \
		LockPersonality=yes MemoryDenyWriteExecute=yes \
		SystemCallFilter=@system-service SystemCallArchitectures=native \
		CapabilityBoundingSet= UMask=0077

	heading "A service of the group tracers"
	check "the group" groupadd --system tracers
	printf 'z %s - - -\n' "$tracing 0711" "$data 0660 root tracers" |
		sed 's/tracers - - -/tracers -/' >/etc/tmpfiles.d/user_events.conf
	check "tmpfiles.d" systemd-tmpfiles --create user_events.conf
	check "User= and SupplementaryGroups=" service 'wrote 1' User=nobody \
		SupplementaryGroups=tracers
	check "the unit of the documentation" service 'wrote 1' DynamicUser=yes \
		SupplementaryGroups=tracers NoNewPrivileges=yes ProtectSystem=strict \
		$tunables ReadWritePaths=$data

	heading "AppArmor"
	check "a profile without a rule refuses" confined 'open: EACCES'
	check "a profile with a rule" confined 'wrote 1' "$data rw,"
	clear_trace
}

# Locked down later: what is registered, opened and written goes on, tracers do not.
check_lockdown()
{
	check "lockdown=integrity" grep -qF '[integrity]' /sys/kernel/security/lockdown
	check_consumers
	heading "Then confidentiality"
	echo 1 >$event/enable
	echo confidentiality >/sys/kernel/security/lockdown
	check "confidentiality" grep -qF '[confidentiality]' /sys/kernel/security/lockdown
	check "perf is refused" fails perf_record
	check "a program opens, registers, writes" \
		sh -c "./distro $events | grep -x 'wrote $events'"
}

check_locked()
{
	check "lockdown=confidentiality" grep -qF '[confidentiality]' /sys/kernel/security/lockdown
	check "tracefs is empty" sh -c "[ -z \"\$(ls $tracing)\" ]"
	check "the program is told" sh -c "./distro | grep -x 'open: ENOENT'"
}

check_kselftests()
{
	modprobe brd
	# shellcheck disable=SC2046 # options
	./kselftest/run_kselftest.sh $(cat options) || failed=$((failed + 1))
}

check_containers()
{
	./containers-guest.sh "$PWD/containers" || failed=$((failed + 1))
}

check_removal()
{
	release=$(uname -r)
	check "apt purge" env DEBIAN_FRONTEND=noninteractive apt-get purge -y "linux-image-$release"
	check "nothing is left of it" sh -c "! ls -d /boot/*$release* /lib/modules/$release"
	check "dpkg finds nothing wrong" dpkg --audit
}

mkdir -p $work
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME=/root
check_system
for job in $(echo "$1" | tr ',' ' '); do
	heading "$job"
	"check_$job"
done
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
