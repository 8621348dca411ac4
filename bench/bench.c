// SPDX-License-Identifier: GPL-2.0
/*
 * Count what user events cost, by the benchmarks named or by all. Prints lines "NAME VALUE"
 * of instructions for each call, and of bytes where the name is of memory.
 */
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include "bench.h"

#define RING_PAGES 512UL

void bench_die(const char *file, int line, const char *what)
{
	fprintf(stderr, "error: %s:%d: %s: %s\n", file, line, what,
		errno ? strerror(errno) : "does not hold");
	exit(1);
}

void report(const char *name, double value)
{
	printf("%s %.1f\n", name, value);
	fflush(stdout);
}

void report_at(const char *name, unsigned int number, double value)
{
	printf("%s.%u %.1f\n", name, number, value);
	fflush(stdout);
}

static void write_file(const char *file, int flags, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = CHECK(open(path, O_WRONLY | flags));
	CHECK(write(fd, text, strlen(text)));
	close(fd);
}

void tracefs_write(const char *file, const char *text)
{
	write_file(file, O_TRUNC, text);
}

void tracefs_append(const char *file, const char *text)
{
	write_file(file, O_APPEND, text);
}

long tracefs_number(const char *file)
{
	char text[64] = "";
	char path[256];
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = CHECK(open(path, O_RDONLY));
	CHECK(read(fd, text, sizeof(text) - 1));
	close(fd);

	return strtol(text, NULL, 0);
}

void enable_event(const char *event, bool on)
{
	char file[128];

	snprintf(file, sizeof(file), "events/user_events/%s/enable", event);
	tracefs_write(file, on ? "1" : "0");
}

int event_id(const char *event)
{
	char file[128];

	snprintf(file, sizeof(file), "events/user_events/%s/id", event);

	return tracefs_number(file);
}

int data_open(void)
{
	return CHECK(open(TRACING "user_events_data", O_RDWR));
}

__u32 reg_flags(int fd, const char *command, void *word, int bit,
		unsigned int flags)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = bit,
		.enable_size = sizeof(__u32),
		.flags = flags,
		.enable_addr = (unsigned long)word,
		.name_args = (unsigned long)command,
	};

	CHECK(ioctl(fd, DIAG_IOCSREG, &reg));

	return reg.write_index;
}

__u32 reg(int fd, const char *command, void *word, int bit)
{
	return reg_flags(fd, command, word, bit, 0);
}

void unreg(int fd, void *word, int bit)
{
	struct user_unreg unreg = {
		.size = sizeof(unreg),
		.disable_bit = bit,
		.disable_addr = (unsigned long)word,
	};

	CHECK(ioctl(fd, DIAG_IOCSUNREG, &unreg));
}

void ring_open(struct ring *ring, const char *event, __u64 sample_type)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = event_id(event),
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW | sample_type,
	};
	size_t length = (RING_PAGES + 1) * sysconf(_SC_PAGESIZE);

	ring->size = RING_PAGES * sysconf(_SC_PAGESIZE);
	ring->fd = CHECK(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
	ring->page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
			  ring->fd, 0);
	REQUIRE(ring->page != MAP_FAILED);
}

void ring_close(struct ring *ring)
{
	munmap(ring->page, ring->size + sysconf(_SC_PAGESIZE));
	close(ring->fd);
}

unsigned int ring_drain(struct ring *ring)
{
	char *data = (char *)ring->page + sysconf(_SC_PAGESIZE);
	__u64 head = __atomic_load_n(&ring->page->data_head,
					__ATOMIC_ACQUIRE);
	__u64 tail = ring->page->data_tail;
	struct perf_event_header *header;
	unsigned int samples = 0;

	for (; tail != head; tail += header->size) {
		header = (void *)(data + tail % ring->size);
		REQUIRE(header->type != PERF_RECORD_LOST);
		samples += header->type == PERF_RECORD_SAMPLE;
	}
	__atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);

	return samples;
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "write", bench_write },
	{ "fork", bench_fork },
	{ "exit", bench_exit },
	{ "toggle", bench_toggle },
	{ "toggle_watched", bench_toggle_watched },
	{ "toggle_words", bench_toggle_words },
	{ "enable_all", bench_enable_all },
	{ "hold", bench_hold },
	{ "memory", bench_memory },
	{ "groups", bench_groups },
	{ "register", bench_register },
	{ "destroy", bench_destroy },
	/* These leave events behind. */
	{ "let_go", bench_let_go },
	{ "crowd", bench_crowd },
};

static bool run(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (!strcmp(name, groups[i].name)) {
			groups[i].run();
			return true;
		}
	}

	return bench_write_case(name);
}

int main(int argc, char **argv)
{
	unsigned int i;

	/* Page tables, and so what a fork costs, are to be the same each time. */
	if (!(CHECK(personality(~0UL)) & ADDR_NO_RANDOMIZE)) {
		CHECK(personality(ADDR_NO_RANDOMIZE));
		CHECK(execv("/proc/self/exe", argv));
	}

	scale_init();
	for (i = 0; argc == 1 && i < ARRAY_SIZE(groups); i++)
		groups[i].run();
	while (*++argv) {
		if (!run(*argv)) {
			fprintf(stderr, "error: no benchmark %s\n", *argv);
			return 2;
		}
	}

	return 0;
}
