// SPDX-License-Identifier: GPL-2.0
/* What one event costs its writer. */
#include <linux/perf_event.h>
#include <pthread.h>
#include <sys/uio.h>

#include "bench.h"

#define WARM_UP	200
#define ROUNDS	1000	/* that a perf ring and an ftrace buffer hold */
#define REPEAT	4

#define BATCH	64

#define FTRACE	1
#define PERF	2
#define RECORD	6	/* perf, with what perf-record asks for */

#define RECORD_TYPE (PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | \
		     PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD)

struct write_case {
	const char *name;
	const char *command;
	const char *event;
	unsigned int consumers;
	size_t size;		/* of the payload */
	__u32 location;	/* offset of a __rel_loc field in it, 0: none */
	enum {
		WRITE,
		WRITEV,
		THREADS,	/* two that share the file */
	} how;
};

#define PLAIN "bench_plain u64 a; u64 b"
#define STRING "bench_string u64 a; __rel_loc char[] s"

static const struct write_case cases[] = {
	{ "ftrace_16", PLAIN, "bench_plain", FTRACE, 16, 0, WRITE },
	{ "ftrace_rel_loc", STRING, "bench_string", FTRACE, 16, 8, WRITE },
	{ "ftrace_writev", PLAIN, "bench_plain", FTRACE, 16, 0, WRITEV },
	{ "perf_writev", PLAIN, "bench_plain", PERF, 16, 0, WRITEV },
	{ "ftrace_1k", PLAIN, "bench_plain", FTRACE, 1024, 0, WRITE },
	{ "perf_16", PLAIN, "bench_plain", PERF, 16, 0, WRITE },
	{ "perf_1k", PLAIN, "bench_plain", PERF, 1024, 0, WRITE },
	{ "perf_record_16", PLAIN, "bench_plain", RECORD, 16, 0, WRITE },
	{ "both_16", PLAIN, "bench_plain", FTRACE | PERF, 16, 0, WRITE },
	{ "refused_16", PLAIN, "bench_plain", 0, 16, 0, WRITE },
	/* The last: where threads were, write() of the C library costs more. */
	{ "ftrace_threads", PLAIN, "bench_plain", FTRACE, 16, 0, THREADS },
};

struct batch_case {
	const char *name;
	unsigned int consumers;
};

static const struct batch_case batches[] = {
	{ "ftrace_batch", FTRACE },
	{ "perf_batch", PERF },
};

/* Guest instructions of one write of @data. */
static double time_write(int fd, const void *data, size_t size, ssize_t expect,
			 int rounds)
{
	__u64 start;
	int i;

	start = now();
	for (i = 0; i < rounds; i++)
		REQUIRE(write(fd, data, size) == expect);

	return (double)(now() - start) / rounds;
}

static double time_writev(int fd, const struct iovec *iov, int count,
			  ssize_t expect, int rounds)
{
	__u64 start;
	int i;

	start = now();
	for (i = 0; i < rounds; i++)
		REQUIRE(writev(fd, iov, count) == expect);

	return (double)(now() - start) / rounds;
}

struct writer {
	int fd;
	const void *data;
	size_t size;
	int rounds;
	pthread_barrier_t start;
};

static void *write_in_thread(void *arg)
{
	struct writer *writer = arg;

	pthread_barrier_wait(&writer->start);
	time_write(writer->fd, writer->data, writer->size, writer->size, writer->rounds);

	return NULL;
}

/* One half of the rounds is a second thread's. */
static double time_threads(int fd, const void *data, size_t size, int rounds)
{
	struct writer writer = {
		.fd = fd, .data = data, .size = size, .rounds = rounds / 2,
	};
	pthread_t thread;
	__u64 start;

	REQUIRE(!pthread_barrier_init(&writer.start, NULL, 2));
	REQUIRE(!pthread_create(&thread, NULL, write_in_thread, &writer));
	start = now();
	write_in_thread(&writer);
	REQUIRE(!pthread_join(thread, NULL));

	return (double)(now() - start) / rounds;
}

static double time_case(const struct write_case *c, int fd, const void *data,
			const struct iovec *iov, ssize_t expect, int rounds)
{
	size_t size = iov[0].iov_len + iov[1].iov_len;

	switch (c->how) {
	case WRITEV:
		return time_writev(fd, iov, 2, expect, rounds);
	case THREADS:
		return time_threads(fd, data, size, rounds);
	default:
		return time_write(fd, data, size, expect, rounds);
	}
}

/* Events that the ftrace buffer took since it was made. */
static long ftrace_count(void)
{
	char text[512] = "";
	long entries, overrun;
	char *line;
	int fd;

	fd = CHECK(open(TRACING "per_cpu/cpu0/stats", O_RDONLY));
	CHECK(read(fd, text, sizeof(text) - 1));
	close(fd);
	line = strstr(text, "entries: ");
	REQUIRE(line && sscanf(line, "entries: %ld", &entries) == 1);
	line = strstr(text, "overrun: ");
	REQUIRE(line && sscanf(line, "overrun: %ld", &overrun) == 1);

	return entries + overrun;
}

static void run_case(const struct write_case *c)
{
	static struct {
		__u32 index;
		char payload[1024];
	} record;
	size_t size = sizeof(record.index) + c->size;
	struct iovec iov[] = {
		{ &record.index, sizeof(record.index) },
		{ record.payload, c->size },
	};
	struct ring ring = {};
	__u32 word = 0;
	double sum = 0;
	long before;
	ssize_t ret;
	int fd, i;

	fd = data_open();
	record.index = reg(fd, c->command, &word, 0);
	if (c->location) {
		__u32 rest = c->size - c->location - sizeof(rest);

		memset(record.payload, 'x', c->size - 1);
		record.payload[c->size - 1] = 0;
		rest <<= 16;
		memcpy(record.payload + c->location, &rest, sizeof(rest));
	}
	if (c->consumers & FTRACE)
		enable_event(c->event, true);
	if (c->consumers & PERF)
		ring_open(&ring, c->event,
			  c->consumers == RECORD ? RECORD_TYPE : 0);
	REQUIRE(!!word == !!c->consumers);

	ret = c->consumers ? (ssize_t)size : -1;
	for (i = -1; i < REPEAT; i++) {
		int rounds = i < 0 ? WARM_UP : ROUNDS;
		double one;

		before = ftrace_count();
		one = time_case(c, fd, &record, iov, ret, rounds);
		REQUIRE(c->consumers || errno == EBADF);
		if (c->consumers & FTRACE)
			REQUIRE(ftrace_count() - before == rounds);
		if (c->consumers & PERF)
			REQUIRE(ring_drain(&ring) == (unsigned int)rounds);
		if (i >= 0)
			sum += one;
	}
	report(c->name, sum / REPEAT);

	if (c->consumers & PERF)
		ring_close(&ring);
	if (c->consumers & FTRACE)
		enable_event(c->event, false);
	unreg(fd, &word, 0);
	close(fd);
}

/* Per event of a batch; a kernel without them says EINVAL to the index. */
static void run_batch(const struct batch_case *c)
{
	static struct {
		__u32 index;
		struct {
			__u32 size;
			__u32 index;
			char payload[16];
		} record[BATCH];
	} batch = { .index = USER_EVENT_WRITE_BATCH };
	const int rounds = ROUNDS / BATCH;
	struct ring ring = {};
	__u32 word = 0;
	double sum = 0;
	int fd, i;

	fd = data_open();
	batch.record[0].index = reg(fd, PLAIN, &word, 0);
	for (i = 0; i < BATCH; i++) {
		batch.record[i].size = sizeof(batch.record[i]);
		batch.record[i].index = batch.record[0].index;
	}
	if (c->consumers & FTRACE)
		enable_event("bench_plain", true);
	if (c->consumers & PERF)
		ring_open(&ring, "bench_plain", 0);

	for (i = -1; i < REPEAT; i++) {
		long before = ftrace_count();
		double one;

		if (i < 0 && write(fd, &batch, sizeof(batch)) < 0) {
			REQUIRE(errno == EINVAL);
			break;
		}
		one = time_write(fd, &batch, sizeof(batch), sizeof(batch),
				 rounds);
		if (c->consumers & FTRACE)
			REQUIRE(ftrace_count() - before ==
				(rounds + (i < 0)) * BATCH);
		if (c->consumers & PERF)
			REQUIRE(ring_drain(&ring) ==
				(rounds + (i < 0)) * BATCH);
		if (i >= 0)
			sum += one;
	}
	if (sum)
		report(c->name, sum / REPEAT / BATCH);

	if (c->consumers & PERF)
		ring_close(&ring);
	if (c->consumers & FTRACE)
		enable_event("bench_plain", false);
	unreg(fd, &word, 0);
	close(fd);
}

/* What any write costs, and a write into the ring buffer that does least. */
static void references(void)
{
	char data[20] = { 1 };
	int fd;

	fd = CHECK(open("/dev/null", O_WRONLY));
	time_write(fd, data, sizeof(data), sizeof(data), WARM_UP);
	report("dev_null", time_write(fd, data, sizeof(data), sizeof(data),
				      ROUNDS * REPEAT));
	close(fd);

	fd = CHECK(open(TRACING "trace_marker_raw", O_WRONLY));
	time_write(fd, data, sizeof(data), sizeof(data), WARM_UP);
	report("trace_marker_raw", time_write(fd, data, sizeof(data),
					      sizeof(data), ROUNDS * REPEAT));
	close(fd);
}

void bench_write(void)
{
	unsigned int i;

	references();
	for (i = 0; i < ARRAY_SIZE(batches); i++)
		run_batch(&batches[i]);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		run_case(&cases[i]);
}

/* Runs a single case: what profile.py looks at. */
bool bench_write_case(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!strcmp(cases[i].name, name)) {
			run_case(&cases[i]);
			return true;
		}
	}
	for (i = 0; i < ARRAY_SIZE(batches); i++) {
		if (!strcmp(batches[i].name, name)) {
			run_batch(&batches[i]);
			return true;
		}
	}

	return false;
}
