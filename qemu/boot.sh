#!/bin/sh
# SPDX-License-Identifier: GPL-2.0

usage()
{
	cat <<'END'
usage: boot.sh [OPTION...] COMMAND [ARG...]
       boot.sh [OPTION...] -I INITRAMFS [-d IMAGE]...

Boot a kernel and run COMMAND in it as root, with the host's root file system:
every path is the same as on the host, and what the guest writes is lost, but
below the directory of -w. The command's output is copied to stdout, the exit
status is its status; 124 if it does not finish, 125 if the guest dies, or does
not start, or the kernel reports a bug on its console.

  -k IMAGE   kernel to boot (default build/x86_64/bzImage)
  -A ARCH    of the kernel (default x86_64); others take an initramfs
  -I FILE    initramfs to run instead of the host's root file system
  -d IMAGE   a disk for that, whose name is the file's: what the guest writes to it is
             lost
  -c CPUS    (default 2)
  -m MB      memory (default 1024)
  -a ARGS    more kernel arguments
  -w DIR     what the guest writes below DIR stays
  -t SECONDS limit (default 300)
  -l FILE    the console's log (default build/log/console.log)
  -i         count instructions: 1 ns of the guest's clock is one instruction
  -o         emulated CPUs run one at a time: code may be patched at will
  -s         interactive: COMMAND gets the terminal
  -b         bugs on the console are not looked for
  -g         wait for gdb at port 1234 of this machine
  -r FILE    data races count only where a function in FILE has part
END
}

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

kernel=$build/x86_64/bzImage
arch=x86_64
initramfs=
disks=
cpus=2
memory=1024
args=
writable=
limit=300
console=$logs/console.log
icount=
threads=multi
interactive=
bugs=yes
debugger=
symbols=
while getopts k:A:I:d:c:m:a:w:t:l:r:iosbgh option; do
	case $option in
	k) kernel=$OPTARG ;;
	A) arch=$OPTARG ;;
	I) initramfs=$OPTARG ;;
	d) disks="$disks $OPTARG" ;;
	c) cpus=$OPTARG ;;
	m) memory=$OPTARG ;;
	a) args=$OPTARG ;;
	w) writable=$OPTARG ;;
	t) limit=$OPTARG ;;
	l) console=$OPTARG ;;
	r) symbols=$OPTARG ;;
	i) icount=yes ;;
	o) threads=single ;;
	s) interactive=yes ;;
	b) bugs= ;;
	g) debugger="-gdb tcp:127.0.0.1:1234 -S" ;;
	h) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || [ -n "$initramfs" ] || { usage >&2; exit 2; }
[ -e "$kernel" ] || die "there is no kernel $kernel: run 'make kernel'"

job=$(mktemp -d) || exit
running=
# shellcheck disable=SC2317 # the trap calls it
cleanup()
{
	[ -z "$running" ] || kill "$running" 2>/dev/null
	rm -rf "$job"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# A line of shell that runs "$@" here.
quote()
{
	printf " '%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}
{
	printf 'cd'
	quote "$PWD"
	printf ' &&'
	for word; do
		quote "$word"
	done
	echo
} >"$job/command"

# Emulated time stamp counters are the host's, or count instructions: all the
# same, whatever the guest makes of measuring them. And the interrupts of an emulated
# timer may be so late on a busy host that the kernel takes it for broken and panics.
tty=ttyS0
tsc="tsc=reliable no_timer_check"
# Emulated CPUs that run side by side may go on with code that one of them has
# patched (QEMU before 8.1): they meet the breakpoint that is gone, an oops. x86
# patches the calls of a tracepoint when probes become one, several or none. ftrace
# has probes in the scheduler while any event is on, and others for set_event_pid. Two
# instances that have these events on, but record nothing, let there be several for
# good, from when there is one CPU only.
sched=sched:sched_switch,sched:sched_waking,sched:sched_wakeup,sched:sched_wakeup_new
steady="trace_instance=steady^traceoff,$sched trace_instance=steadier^traceoff,$sched"
serial="-serial file:$console"
accel="-accel tcg,thread=$threads -cpu max"
case $arch in
x86_64)
	emulator="qemu-system-x86_64"
	if [ -n "$icount" ]; then
		cpus=1
		steady=
		accel="-accel tcg -icount shift=0,sleep=off -cpu max"
		tsc="$tsc tsc_early_khz=1000000"
	elif [ "$("$top/qemu/accel.sh" "$kernel")" = kvm ]; then
		accel="-accel kvm -cpu host"
		tsc=
		steady=
	fi
	[ "$threads" = multi ] || steady=
	accel="$accel -smp $cpus,sockets=$cpus"
	# On a busy host it may also find a wrong rate of the time stamp counter,
	# which is the host's. In a virtual machine that one is known.
	if [ -z "$icount" ] && [ -n "$tsc" ] && grep -qw hypervisor /proc/cpuinfo; then
		tsc="$tsc tsc_early_khz=$(sed -n 's/^cpu MHz.*: *//p' /proc/cpuinfo |
			head -n 1 | awk '{ printf "%d", $1 * 1000 }')"
	fi
	;;
i386)
	emulator="qemu-system-i386"
	# Of AMD's, 32-bit kernels know models that cannot go with another.
	accel="$accel,vendor=GenuineIntel -smp $cpus,sockets=$cpus"
	;;
s390x)
	emulator="qemu-system-s390x"
	tty=ttysclp0
	tsc=
	steady=
	serial="-chardev file,id=console,path=$console -device sclpconsole,chardev=console"
	accel="$accel -smp $cpus"
	;;
arm64)
	emulator="qemu-system-aarch64"
	tty=ttyAMA0
	tsc=
	steady=
	accel="-machine virt -accel tcg,thread=multi -cpu max,pauth-impdef=on -smp $cpus"
	;;
*)
	die "unknown architecture $arch"
	;;
esac

bus=pci
[ "$arch" != s390x ] || bus=ccw

share()
{
	echo "local,id=$1,path=$2,security_model=none,multidevs=remap$3"
}

# What hangs ends the guest. An emulated CPU of a busy host may be a minute late.
hangs="hung_task_panic=1 softlockup_panic=1 watchdog_thresh=60"
hangs="$hangs sysctl.kernel.hung_task_timeout_secs=240 workqueue.watchdog_thresh=120"

# shellcheck disable=SC2086 # options
set -- $accel $debugger $serial -m "$memory" \
	-nodefaults -no-user-config -display none -no-reboot \
	-kernel "$kernel" \
	-device virtio-serial-$bus \
	-chardev "file,id=status,path=$job/status" \
	-device virtserialport,chardev=status,name=status
append="console=$tty panic=-1 $hangs $tsc $steady $args"
if [ -n "$initramfs" ]; then
	set -- "$@" -initrd "$initramfs"
	append="$append cpus=$cpus"
	for disk in $disks; do
		id=$(basename "$disk" .ext4)
		set -- "$@" -drive "id=$id,if=none,format=raw,snapshot=on,file=$disk" \
			-device "virtio-blk-$bus,drive=$id,serial=$id"
	done
else
	set -- "$@" -fsdev "$(share root / ,readonly=on)" \
		-device virtio-9p-$bus,fsdev=root,mount_tag=root \
		-fsdev "$(share job "$job")" \
		-device virtio-9p-$bus,fsdev=job,mount_tag=job
	append="$append root=root rootfstype=9p ro init=$top/qemu/init"
	append="$append rootflags=trans=virtio,version=9p2000.L,msize=262144,cache=loose"
fi
if [ -n "$writable" ]; then
	writable=$(cd "$writable" && pwd -P) || exit
	echo "$writable" >"$job/writable"
	set -- "$@" -fsdev "$(share writable "$writable")" \
		-device virtio-9p-$bus,fsdev=writable,mount_tag=writable
fi
echo "$cpus" >"$job/cpus"
mkdir -p "$(dirname "$console")"
: >"$console"

if [ -n "$interactive" ]; then
	: >"$job/interactive"
	"$emulator" "$@" -append "$append" \
		-chardev stdio,id=tty,mux=on,signal=off \
		-device virtconsole,chardev=tty
else
	# Held open here as well: the reader comes to its end even if QEMU never
	# opens it.
	mkfifo "$job/out"
	cat "$job/out" &
	reader=$!
	exec 3>"$job/out"
	timeout -k 2 "$limit" "$emulator" "$@" -append "$append" \
		-chardev "file,id=out,path=$job/out" \
		-device virtserialport,chardev=out,name=out \
		</dev/null >"$job/err" 2>&1 3>&- &
	running=$!
	wait $running
	ended=$?
	running=
	exec 3>&-
	wait $reader
	if [ $ended = 124 ]; then
		echo "error: the guest did not finish in $limit s; console: $console" >&2
		exit 124
	fi
fi

if [ ! -s "$job/status" ]; then
	[ -z "$interactive" ] || exit 125
	cat "$job/err" >&2
	(fail "the guest died: it" "$console")
	exit 125
fi
if [ -n "$bugs" ] && ! "$top/qemu/splats.sh" "$console" "$symbols" >&2; then
	exit 125
fi
exit "$(cat "$job/status")"
