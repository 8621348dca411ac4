// SPDX-License-Identifier: GPL-2.0
/*
 * Calls the functions that the documentation shows alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/user_events.h>

#define EVENT "/sys/kernel/tracing/events/user_events/part/"

static __u16 unknown;

/* A kernel that does not know the flags @unknown. */
static int old_ioctl(int fd, unsigned long cmd, struct user_reg *reg)
{
	if (cmd == DIAG_IOCSREG && reg->flags & unknown) {
		errno = EINVAL;
		return -1;
	}
	return ioctl(fd, cmd, reg);
}

#include "open_data.c"
#define ioctl old_ioctl
#include "register_flag.c"
#undef ioctl
#include "write_or_wait.c"
#include "inherited.c"

#define check(what) do {						\
	if (!(what)) {							\
		fprintf(stderr, "FAILED  %s:%d: %s: %m\n", __FILE__, __LINE__, #what); \
		exit(1);						\
	}								\
} while (0)

static __u32 word;

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	check(fd >= 0 && write(fd, value, strlen(value)) > 0);
	close(fd);
}

static void test_open(void)
{
	int fd = open_user_events();

	check(fd >= 0);
	close(fd);

	/* Nothing in the usual place, and a group elsewhere. */
	check(!mkdir("/sys/kernel/tracing/user_events_groups/parts", 0750));
	check(!mkdir("/run/parts", 0755));
	check(!mount("/sys/kernel/tracing/user_events_groups/parts/root", "/run/parts",
		     NULL, MS_BIND, NULL));
	check(!mount("none", "/sys/kernel/tracing", "tmpfs", 0, NULL));
	fd = open_user_events();
	check(fd >= 0);
	close(fd);
	check(!umount("/sys/kernel/tracing"));
	check(!umount("/run/parts"));
	check(!rmdir("/sys/kernel/tracing/user_events_groups/parts"));
}

static void test_flag(int fd, struct user_reg *reg)
{
	struct user_unreg unreg = {
		.size = sizeof(unreg),
		.disable_addr = (unsigned long)&word,
	};

	unknown = USER_EVENT_REG_REPORT_LOSS;
	check(!register_with(fd, reg, USER_EVENT_REG_REPORT_LOSS));
	check(!reg->flags);
	unknown = 0;
	check(!ioctl(fd, DIAG_IOCSUNREG, &unreg));

	/* Not the flag's fault. */
	reg->enable_size = 3;
	check(register_with(fd, reg, USER_EVENT_REG_REPORT_LOSS) && errno == EINVAL);
	reg->enable_size = sizeof(word);

	check(!register_with(fd, reg, USER_EVENT_REG_REPORT_LOSS));
	check(reg->flags == USER_EVENT_REG_REPORT_LOSS);
}

static void test_loss(int fd, struct user_reg *reg)
{
	struct { __u32 index, number; } record = { reg->write_index, 0 };
	unsigned long written = 0;

	check(write_or_wait(fd, &record, sizeof(record)) < 0 && errno == EBADF);
	check(!dropped);

	set("/sys/kernel/tracing/options/overwrite", "0");
	set(EVENT "enable", "1");
	while (!dropped) {
		if (write_or_wait(fd, &record, sizeof(record)) == sizeof(record))
			written++;
	}
	check(errno == ENOBUFS && written);

	/* Somebody has read. */
	set("/sys/kernel/tracing/trace", "\n");
	check(write_or_wait(fd, &record, sizeof(record)) == sizeof(record));
	check(dropped == 1);
	set(EVENT "enable", "0");
	set("/sys/kernel/tracing/options/overwrite", "1");
	set("/sys/kernel/tracing/trace", "\n");
}

static void test_inherited(int fd)
{
	char pid[16];

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	check(inherited_user_events() < 0);

	check(fd == 3 || dup2(fd, 3) == 3);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_PID", "1", 1);
	check(inherited_user_events() < 0);
	setenv("LISTEN_PID", pid, 1);
	check(inherited_user_events() == 3);
}

int main(void)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_size = sizeof(word),
		.enable_addr = (unsigned long)&word,
		.name_args = (unsigned long)"part u32 number",
	};
	int fd;

	test_open();
	fd = open_user_events();
	check(fd >= 0);
	test_flag(fd, &reg);
	test_loss(fd, &reg);
	test_inherited(fd);
	return 0;
}
