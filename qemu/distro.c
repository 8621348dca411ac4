// SPDX-License-Identifier: GPL-2.0
/*
 * distro COUNT: register the event distro and write it COUNT times as soon as it is
 * traced, into the file that systemd has opened or else by the usual path. What fails
 * is said by the name of its error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/user_events.h>

#define COMMON_FIELDS	8

static const char path[] = "/sys/kernel/tracing/user_events_data";
static const char command[] =
	"distro u32 count; u32 odd; char[8] tag; __data_loc char[] text";

static __u32 enabled;

static int inherited(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS");

	return pid && fds && atoi(pid) == getpid() && atoi(fds) == 1;
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

static int write_event(int fd, __u32 index, __u32 count)
{
	char text[16];
	char tag[8] = "";
	int size = snprintf(text, sizeof(text), "text %u", count) + 1;
	__u32 odd = count % 2;
	__u32 location = DYN_LOC(COMMON_FIELDS + sizeof(count) + sizeof(odd) + sizeof(tag) +
				 sizeof(location), size);
	struct iovec record[] = {
		{ &index, sizeof(index) },
		{ &count, sizeof(count) },
		{ &odd, sizeof(odd) },
		{ tag, sizeof(tag) },
		{ &location, sizeof(location) },
		{ text, size },
	};

	snprintf(tag, sizeof(tag), "tag %u", odd);
	return writev(fd, record, 6) < 0;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_size = sizeof(enabled),
		.enable_addr = (unsigned long)&enabled,
		.name_args = (unsigned long)command,
	};
	int fd = inherited() ? 3 : open(path, O_WRONLY);

	if (fd < 0)
		return failed("open");
	if (ioctl(fd, DIAG_IOCSREG, &reg))
		return failed("register");

	while (!__atomic_load_n(&enabled, __ATOMIC_RELAXED))
		usleep(10000);
	for (unsigned long i = 0; i < count; i++)
		if (write_event(fd, reg.write_index, i))
			return failed("write");

	printf("wrote %lu\n", count);
	return 0;
}
