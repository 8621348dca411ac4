// SPDX-License-Identifier: GPL-2.0
/*
 * As user_events_example, for two events whose enable bits are in a page that
 * belongs to the kernel: this program can read them and cannot change them.
 *
 *	./user_events_page 10 &
 *	echo 1 > /sys/kernel/tracing/events/user_events/user_events_page_b/enable
 *	cat /sys/kernel/tracing/trace_pipe
 */
#include <unistd.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/ioctl.h>
#include <linux/user_events.h>
#include <stdlib.h>
#include <stdio.h>
#include <errno.h>

#define NR_EVENTS 2

static const char data_file[] = "/sys/kernel/tracing/user_events_data";
static const char * const commands[NR_EVENTS] = {
	"user_events_page_a u32 count",
	"user_events_page_b u32 count",
};

/* Bit N of the first word in the page says whether event N is traced. */
static int register_event(int fd, const __u32 *word, int event, __u32 *write_index)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = event,
		.enable_size = sizeof(*word),
		.enable_addr = (unsigned long)word,
		.name_args = (unsigned long)commands[event],
	};

	if (ioctl(fd, DIAG_IOCSREG, &reg))
		return -1;

	*write_index = reg.write_index;
	return 0;
}

static int write_event(int fd, __u32 write_index, __u32 count)
{
	struct iovec record[] = {
		{ &write_index, sizeof(write_index) },
		{ &count, sizeof(count) },
	};

	/* Between the look at the bit and the write the tracer may leave. */
	if (writev(fd, record, 2) < 0 && errno != EBADF)
		return -1;

	return 0;
}

static int write_events(int fd, __u32 events, const __u32 *write_index, unsigned long count)
{
	unsigned long i;
	int event;

	for (event = 0; event < NR_EVENTS; event++) {
		if (!(events & (1U << event)))
			continue;
		for (i = 0; i < count; i++) {
			if (write_event(fd, write_index[event], i))
				return -1;
		}
		printf("wrote %lu events %s\n", count, commands[event]);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 10;
	long page_size = sysconf(_SC_PAGESIZE);
	const __u32 *word;
	__u32 write_index[NR_EVENTS];
	__u32 now, before = 0;
	int event;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);

	/* To map it takes the right to read. */
	fd = open(data_file, O_RDWR);
	if (fd < 0) {
		perror(data_file);
		return 1;
	}

	word = mmap(NULL, page_size, PROT_READ, MAP_SHARED, fd, 0);
	if (word == MAP_FAILED) {
		perror("cannot map a page of the kernel's");
		return 1;
	}

	for (event = 0; event < NR_EVENTS; event++) {
		if (register_event(fd, word, event, &write_index[event])) {
			perror("cannot register the event");
			return 1;
		}
	}

	printf("registered, waiting for a tracer\n");
	for (;; before = now) {
		usleep(10000);
		now = __atomic_load_n(word, __ATOMIC_RELAXED);
		if (write_events(fd, now & ~before, write_index, count)) {
			perror("cannot write the event");
			return 1;
		}
	}
}
