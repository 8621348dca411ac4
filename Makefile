# SPDX-License-Identifier: GPL-2.0
#
# BASE	6.12 (default) or 7.3: the Linux that ours is built on
# KERNEL_SRC	a tree of one's own of about that version instead of Debian's
# ARCH	x86_64 (default)
# CONFIG	a fragment of qemu/config on top of the plain one: debug, features, kcsan,
#	gcov; or distro, for make test
# FLAVOUR	of Debian's configurations for make deb: cloud-amd64 (default) or amd64
# KCONFIG	a configuration of one's own instead
# TRIM	yes: without the modules that a virtual machine does not need
# SUITES	programs of tools/testing/selftests/user_events (default: all)
# ROUNDS	percent of the rounds that the tests of races go through (default: all)
# BENCH	benchmarks of bench/rows (default: all)
# SEED, COMMANDS, STEPS	of the fuzzer
# SEED, COMMANDS, SESSIONS	of the comparison with the base, SESSION= a file with one

BASE ?= 6.12
KERNEL_SRC ?=
ARCH ?= x86_64
CONFIG ?=
SUITES ?=
ROUNDS ?= 100
BENCH ?=
SEED ?= 1
COMMANDS ?=
SESSIONS ?=
SESSION ?=
STEPS ?= 200000
FLAVOUR ?= cloud-amd64
KCONFIG ?=
TRIM ?=
export BASE KERNEL_SRC
name = $(if $(CONFIG),$(CONFIG)-)$(ARCH)

help:
	@echo 'make run       boot the kernel and trace the sample program'
	@echo 'make bpf       count its events by libbpf and bpftrace'
	@echo 'make containers  programs in containers, each with a group of events'
	@echo 'make docs      render the documentation and run its examples in the guest'
	@echo 'make test      run KUnit and the kselftests in the guest'
	@echo 'make fuzz      run the fuzzer, on the debug kernel unless CONFIG= says else'
	@echo 'make check     checkpatch, sparse, W=1 (gcc, clang), kernel-doc, sphinx, shellcheck,'
	@echo '               codespell'
	@echo 'make shell     a shell in the guest, with the tools of this machine'
	@echo 'make tree      prepare the source in build/linux'
	@echo 'make kernel    build build/$(name)/bzImage'
	@echo 'make deb       packages of a kernel with Debian'\''s configuration, to install'
	@echo 'make baseline  build the untouched base as build/baseline-$(ARCH)/bzImage'
	@echo 'make bench     count what user events cost, on the base and on ours'
	@echo 'make sizes     write payloads of every size, on the base and on ours'
	@echo 'make diff      play the same sessions on the base and on ours, and compare'
	@echo 'make patch     write build/user_events-$(BASE).patch'
	@echo 'make series    write build/series-$(BASE) for git am, and compile each patch'
	@echo 'make menuconfig  change the configuration by hand'
	@echo 'make gdb       a shell whose kernel waits for gdb'
	@echo 'make clean     remove build/'
	@echo
	@echo 'All take BASE= (6.12 or 7.3, whose source is fetched) and KERNEL_SRC= (a tree'
	@echo 'of your own of about that version).'
	@echo 'test and kernel take CONFIG= (debug, features, kcsan, gcov) and ARCH= (s390x, i386,'
	@echo 'arm64), test takes CONFIG=distro, SUITES= and ROUNDS= (percent of those of'
	@echo 'races), fuzz takes SEED=, COMMANDS= and STEPS=, diff takes SEED=, COMMANDS= and'
	@echo 'SESSIONS=, deb takes FLAVOUR= (cloud-amd64, amd64), KCONFIG= (a file) and TRIM=yes'

run:
	@qemu/run.sh $(name)

bpf:
	@qemu/bpf.sh $(name)

containers:
	@qemu/containers.sh $(name)

docs:
	@docs/docs.sh $(name)

test:
	@qemu/test.sh -r $(ROUNDS) $(name) $(SUITES)

fuzz:
	@qemu/fuzz.sh $(or $(CONFIG),debug)-$(ARCH) $(SEED) $(or $(COMMANDS),2000000) $(STEPS)

check:
	@qemu/check.sh

shell:
	@qemu/shell.sh $(name)

tree:
	@qemu/packages.sh kernel
	@qemu/tree.sh

kernel:
	@qemu/kernel.sh $(name)

deb:
	@qemu/deb.sh -f '$(FLAVOUR)' $(if $(KCONFIG),-c '$(KCONFIG)') $(if $(TRIM),-t)

baseline:
	@qemu/kernel.sh baseline-$(ARCH)

bench:
	@bench/bench.sh $(BENCH)

sizes:
	@bench/sizes.sh

diff:
	@diff/diff.sh -s $(SEED) -c $(or $(COMMANDS),100000) -n $(or $(SESSIONS),10000) $(SESSION)

patch:
	@qemu/patch.sh

series:
	@qemu/series.sh -b

menuconfig:
	@qemu/menuconfig.sh $(name)

gdb:
	@qemu/packages.sh debugger
	@qemu/shell.sh -g gdb-$(ARCH)

clean:
	rm -rf build

.PHONY: help run bpf containers docs test fuzz check shell tree kernel deb baseline bench sizes diff \
	patch series menuconfig gdb clean
