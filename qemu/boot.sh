#!/bin/sh
# SPDX-License-Identifier: GPL-2.0

usage()
{
	cat <<'END'
usage: boot.sh [OPTION...] COMMAND [ARG...]

Boot a kernel and run COMMAND in it as root, with the host's root file system:
every path is the same as on the host, and what the guest writes is lost, but
below the directory of -w. The command's output is copied to stdout, the exit
status is its status; 124 if it does not finish, 125 if the guest dies or the
kernel reports a bug on its console.

  -k IMAGE   kernel to boot (default build/x86_64/bzImage)
  -c CPUS    (default 2)
  -m MB      memory (default 1024)
  -a ARGS    more kernel arguments
  -w DIR     what the guest writes below DIR stays
  -t SECONDS limit (default 300)
  -l FILE    the console's log (default build/log/console.log)
  -i         count instructions: 1 ns of the guest's clock is one instruction
  -s         interactive: COMMAND gets the terminal
  -b         bugs on the console are not looked for
END
}

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

kernel=$build/x86_64/bzImage
cpus=2
memory=1024
args=
writable=
limit=300
console=$logs/console.log
icount=
interactive=
bugs=yes
while getopts k:c:m:a:w:t:l:isbh option; do
	case $option in
	k) kernel=$OPTARG ;;
	c) cpus=$OPTARG ;;
	m) memory=$OPTARG ;;
	a) args=$OPTARG ;;
	w) writable=$OPTARG ;;
	t) limit=$OPTARG ;;
	l) console=$OPTARG ;;
	i) icount=yes ;;
	s) interactive=yes ;;
	b) bugs= ;;
	h) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { usage >&2; exit 2; }
[ -e "$kernel" ] || die "there is no kernel $kernel: run 'make kernel'"

job=$(mktemp -d) || exit
qemu=
# shellcheck disable=SC2317 # the trap calls it
cleanup()
{
	[ -z "$qemu" ] || kill "$qemu" 2>/dev/null
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
# same, whatever the guest makes of measuring them.
tsc="tsc=reliable"
if [ -n "$icount" ]; then
	cpus=1
	tsc="$tsc tsc_early_khz=1000000"
	set -- -accel tcg -icount shift=0,sleep=off -cpu max
elif [ "$("$top/qemu/accel.sh" "$kernel")" = kvm ]; then
	set -- -accel kvm -cpu host
	tsc=
else
	set -- -accel tcg,thread=multi -cpu max
fi

share()
{
	echo "local,id=$1,path=$2,security_model=none,multidevs=remap$3"
}

set -- "$@" -smp "$cpus,sockets=$cpus" -m "$memory" \
	-nodefaults -no-user-config -display none -no-reboot \
	-kernel "$kernel" \
	-fsdev "$(share root / ,readonly=on)" \
	-device virtio-9p-pci,fsdev=root,mount_tag=root \
	-fsdev "$(share job "$job")" \
	-device virtio-9p-pci,fsdev=job,mount_tag=job \
	-device virtio-serial-pci -serial "file:$console" \
	-chardev "file,id=status,path=$job/status" \
	-device virtserialport,chardev=status,name=status
if [ -n "$writable" ]; then
	writable=$(cd "$writable" && pwd -P) || exit
	echo "$writable" >"$job/writable"
	set -- "$@" -fsdev "$(share writable "$writable")" \
		-device virtio-9p-pci,fsdev=writable,mount_tag=writable
fi

append="console=ttyS0 panic=-1 root=root rootfstype=9p"
append="$append rootflags=trans=virtio,version=9p2000.L,msize=262144,cache=loose"
append="$append ro init=$top/qemu/init $tsc $args"
mkdir -p "$(dirname "$console")"
: >"$console"

if [ -n "$interactive" ]; then
	: >"$job/interactive"
	qemu-system-x86_64 "$@" -append "$append" \
		-chardev stdio,id=tty,signal=off -device virtconsole,chardev=tty
else
	mkfifo "$job/out"
	cat "$job/out" &
	reader=$!
	timeout -k 2 "$limit" qemu-system-x86_64 "$@" -append "$append" \
		-chardev "file,id=out,path=$job/out" \
		-device virtserialport,chardev=out,name=out \
		</dev/null >"$job/err" 2>&1 &
	qemu=$!
	wait $qemu
	ended=$?
	qemu=
	wait $reader
	if [ $ended = 124 ]; then
		echo "error: the guest did not finish in $limit s; console: $console" >&2
		exit 124
	fi
fi

if [ ! -s "$job/status" ]; then
	cat "$job/err" >&2
	fail "the guest died: it" "$console"
fi
if [ -n "$bugs" ] && ! "$top/qemu/splats.sh" "$console" >&2; then
	exit 125
fi
exit "$(cat "$job/status")"
