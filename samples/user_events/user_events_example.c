// SPDX-License-Identifier: GPL-2.0
/*
 * Registers the event user_events_example and writes it COUNT times whenever
 * somebody starts to trace it:
 *
 *	./user_events_example 10 &
 *	echo 1 > /sys/kernel/tracing/events/user_events/user_events_example/enable
 *	cat /sys/kernel/tracing/trace_pipe
 *
 * Without a tracer the program only looks at one bit of its own memory.
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

#define ENABLE_BIT 0

static const char data_file[] = "/sys/kernel/tracing/user_events_data";
static const char command[] =
	"user_events_example u32 count; __rel_loc char[] msg";

/* The kernel sets and clears ENABLE_BIT of it. */
static __u32 enabled;

static int register_event(int fd, __u32 *write_index)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = ENABLE_BIT,
		.enable_size = sizeof(enabled),
		.enable_addr = (unsigned long)&enabled,
		.name_args = (unsigned long)command,
	};

	if (ioctl(fd, DIAG_IOCSREG, &reg))
		return -1;

	*write_index = reg.write_index;
	return 0;
}

static int write_event(int fd, __u32 write_index, __u32 count, char *msg)
{
	size_t size = strlen(msg) + 1;
	/* The text follows its location, so it starts at offset 0 from there. */
	__u32 msg_loc = DYN_LOC(0, size);
	struct iovec record[] = {
		{ &write_index, sizeof(write_index) },
		{ &count, sizeof(count) },
		{ &msg_loc, sizeof(msg_loc) },
		{ msg, size },
	};

	/* Between the look at the bit and the write the tracer may leave. */
	if (writev(fd, record, 4) < 0 && errno != EBADF)
		return -1;

	return 0;
}

static int is_enabled(void)
{
	return __atomic_load_n(&enabled, __ATOMIC_RELAXED) >> ENABLE_BIT & 1;
}

static void wait_for(int state)
{
	while (is_enabled() != state)
		usleep(10000);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 10;
	__u32 write_index;
	unsigned long i;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);

	fd = open(data_file, O_WRONLY);
	if (fd < 0) {
		perror(data_file);
		return 1;
	}

	if (register_event(fd, &write_index)) {
		perror("cannot register the event");
		return 1;
	}

	for (;;) {
		printf("registered, waiting for a tracer\n");
		wait_for(1);

		for (i = 0; i < count; i++) {
			if (write_event(fd, write_index, i, "Hello")) {
				perror("cannot write the event");
				return 1;
			}
		}

		printf("wrote %lu events, waiting for the tracer to leave\n", count);
		wait_for(0);
	}
}
