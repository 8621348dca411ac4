// SPDX-License-Identifier: GPL-2.0
/*
 * Writes the event user_events_batch COUNT times, up to 64 of them with one
 * system call, whenever somebody starts to trace it. No event is lost: when a
 * buffer is full the program waits and goes on with the first one that did not
 * fit.
 *
 *	./user_events_batch 100000 &
 *	cd /sys/kernel/tracing
 *	echo 0 > options/overwrite
 *	echo 1 > events/user_events/user_events_batch/enable
 *	cat trace_pipe
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/user_events.h>

#define ENABLE_BIT 0
#define BATCH 64

static const char data_file[] = "/sys/kernel/tracing/user_events_data";
static const char command[] = "user_events_batch unsigned int count";

/* The kernel sets and clears ENABLE_BIT of it. */
static __u32 enabled;

/* A struct user_event_record and its payload, the fields of the event. */
struct event {
	__u32 size;
	__u32 write_index;
	__u32 count;
};

static int register_event(int fd, __u32 *write_index)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = ENABLE_BIT,
		.enable_size = sizeof(enabled),
		.flags = USER_EVENT_REG_REPORT_LOSS,
		.enable_addr = (unsigned long)&enabled,
		.name_args = (unsigned long)command,
	};

	if (ioctl(fd, DIAG_IOCSREG, &reg))
		return -1;

	*write_index = reg.write_index;
	return 0;
}

static int write_batch(int fd, struct event *event, unsigned int left)
{
	__u32 index = USER_EVENT_WRITE_BATCH;
	ssize_t written;
	size_t done;

	while (left) {
		struct iovec batch[] = {
			{ &index, sizeof(index) },
			{ event, left * sizeof(*event) },
		};

		written = writev(fd, batch, 2);
		if (written < 0 && errno == ENOBUFS) {
			usleep(1000);
			continue;
		}
		if (written < 0)
			return -1;

		done = (written - sizeof(index)) / sizeof(*event);
		event += done;
		left -= done;
	}
	return 0;
}

static int write_events(int fd, __u32 write_index, unsigned long count)
{
	struct event events[BATCH];
	unsigned int nr = 0;
	unsigned long i;

	for (i = 0; i < count; i++) {
		events[nr].size = sizeof(events[nr]);
		events[nr].write_index = write_index;
		events[nr].count = i;
		nr++;
		if (nr < BATCH && i + 1 < count)
			continue;
		if (write_batch(fd, events, nr))
			return -1;
		nr = 0;
	}
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
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
	__u32 write_index;
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

		if (write_events(fd, write_index, count)) {
			perror("cannot write the events");
			return 1;
		}

		printf("wrote %lu events, waiting for the tracer to leave\n", count);
		wait_for(0);
	}
}
