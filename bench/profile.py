#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Where the instructions of a call go, function by function.

Boots a kernel, runs one benchmark in it and single-steps one call of a kernel
function through QEMU's gdb stub, from its entry to its return. Interrupts do
not happen meanwhile. With these arguments:

  ftrace_16                              one write
  -w ftrace_16                           and the system call around it
  -e user_events_write_iter ftrace_writev
  -e event_enable_write -s 250 toggle_watched
"""

import argparse
import bisect
import collections
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOT = os.path.join(TOP, "qemu", "boot.sh")
RSP = 7                 # numbers of registers in QEMU's x86_64 description
RIP = 16
KERNEL = 1 << 63


class Stub:
    """A connection to a gdb stub."""

    def __init__(self, path, limit=30):
        self.sock = socket.socket(socket.AF_UNIX)
        self.data = b""
        end = time.monotonic() + limit
        while True:
            try:
                self.sock.connect(path)
                return
            except OSError:
                if time.monotonic() > end:
                    sys.exit("error: QEMU did not start")
                time.sleep(0.1)

    def send(self, packet):
        body = packet.encode()
        self.sock.sendall(b"$%s#%02x" % (body, sum(body) % 256))

    def call(self, packet):
        self.send(packet)
        while True:
            match = re.search(rb"\$([^#]*)#..", self.data)
            if match:
                self.data = self.data[match.end():]
                self.sock.sendall(b"+")
                return match.group(1).decode()
            more = self.sock.recv(4096)
            if not more:
                sys.exit("error: the guest ended before it was profiled")
            self.data += more

    def register(self, number):
        return self.value(self.call("p%x" % number))

    def word(self, address):
        return self.value(self.call("m%x,8" % address))

    @staticmethod
    def value(reply):
        return int.from_bytes(bytes.fromhex(reply), "little")


class Symbols:
    """The functions of a System.map."""

    def __init__(self, path):
        names = {}
        with open(path, encoding="ascii") as lines:
            for line in lines:
                address, kind, name = line.split()
                if kind in "tTwW":
                    names.setdefault(int(address, 16), name)
        self.starts = sorted(names)
        self.names = [names[start] for start in self.starts]

    def find(self, address):
        """Name and start of the function around an address."""
        if address < KERNEL:
            return "(user space)", None
        at = bisect.bisect(self.starts, address) - 1
        return self.names[at], self.starts[at]

    def address(self, name):
        try:
            return self.starts[self.names.index(name)]
        except ValueError:
            sys.exit("error: the kernel has no function " + name)


def boot(options, job):
    """Start the guest with a gdb stub behind a socket in the directory job."""
    real = subprocess.check_output(["which", "qemu-system-x86_64"],
                                   text=True).strip()
    wrapper = os.path.join(job, "qemu-system-x86_64")
    with open(wrapper, "w", encoding="ascii") as script:
        script.write('#!/bin/sh\nexec %s "$@" -gdb unix:%s/gdb,server=on,'
                     'wait=off -S\n' % (real, job))
    os.chmod(wrapper, 0o755)
    env = dict(os.environ, PATH=job + ":" + os.environ["PATH"])
    return subprocess.Popen([BOOT, "-i", "-b", "-k", options.kernel,
                             "-l", os.path.join(job, "console"),
                             options.bench, options.case],
                            env=env, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def trace(stub, entry, skip, whole):
    """Program counters of one call, after skip calls.

    With whole, they go on until the next call begins.
    """
    # Without this, QEMU does not serve single registers.
    stub.call("qXfer:features:read:target.xml:0,1000")
    breakpoint = "Z1,%x,1" % entry
    if stub.call(breakpoint) != "OK":
        sys.exit("error: QEMU refused a breakpoint")
    stub.call("c")
    for _ in range(skip):
        stub.call("s")
        stub.call("c")
    stub.call("z" + breakpoint[1:])
    pc = stub.register(RIP)
    if pc != entry:
        sys.exit("error: the guest stopped at %#x, not at %#x" % (pc, entry))
    frame = stub.register(RSP)
    end = entry if whole else stub.word(frame)
    counters = []
    while True:
        counters.append(pc)
        stub.call("s")
        pc = stub.register(RIP)
        if pc == end and (whole or stub.register(RSP) > frame):
            return counters


def show(counters, symbols):
    total = collections.Counter()
    calls = collections.Counter()
    for pc in counters:
        name, start = symbols.find(pc)
        total[name] += 1
        calls[name] += pc == start
    print("| function | instructions | calls |")
    print("| --- | ---: | ---: |")
    for name, count in total.most_common():
        print("| %s | %d | %d |" % (name, count, calls[name]))
    print("| in all | %d | |" % len(counters))


def annotate(counters, symbols, vmlinux, name):
    """The function's code, each instruction with how often it ran."""
    count = collections.Counter(counters)
    symbols.address(name)
    code = subprocess.run(["objdump", "-dr", "--no-show-raw-insn",
                           "--disassemble=" + name, vmlinux],
                          check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    print("\n%s:" % name)
    for line in code.splitlines():
        match = re.match(r"(f[0-9a-f]{15}):\s+(.*)", line)
        if match:
            ran = count[int(match.group(1), 16)]
            print("%5s  %s  %s" % (ran or "", match.group(1)[-6:],
                                   match.group(2)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", help="what the benchmark program is to run")
    parser.add_argument("-b", "--bench",
                        default=os.path.join(TOP, "build/bench/user_events_bench"),
                        help="the benchmark program")
    parser.add_argument("-k", "--kernel",
                        default=os.path.join(TOP, "build/x86_64/bzImage"))
    parser.add_argument("-o", "--objects",
                        default=os.path.join(TOP, "build/linux/obj-x86_64"),
                        help="directory with the kernel's System.map")
    parser.add_argument("-e", "--entry", default="user_events_write",
                        help="the function (default user_events_write)")
    parser.add_argument("-w", "--whole", action="store_true",
                        help="go on until its next call")
    parser.add_argument("-s", "--skip", type=int, default=300,
                        help="calls that come first (default 300)")
    parser.add_argument("-d", "--disassemble", action="append", default=[],
                        metavar="FUNCTION", help="show its code with counts")
    options = parser.parse_args()

    symbols = Symbols(os.path.join(options.objects, "System.map"))
    entry = symbols.address(options.entry)
    with tempfile.TemporaryDirectory() as job:
        guest = boot(options, job)
        try:
            stub = Stub(os.path.join(job, "gdb"))
            counters = trace(stub, entry, options.skip, options.whole)
            stub.send("k")
        finally:
            guest.terminate()
            guest.wait()

    show(counters, symbols)
    for name in options.disassemble:
        annotate(counters, symbols, os.path.join(options.objects, "vmlinux"),
                 name)


if __name__ == "__main__":
    main()
