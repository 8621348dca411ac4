/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What both parts of the fuzzer need: numbers from a seed, what is expected of
 * a call, and code coverage where the kernel measures it.
 */
#ifndef _USER_EVENTS_FUZZ_H
#define _USER_EVENTS_FUZZ_H

#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <linux/bpf.h>
#include <linux/kcov.h>
#include "../kselftest.h"

#include "user_events_selftests.h"

/* Comes with the helpers, and is for tests. */
static inline int no_harness(int argc, char **argv)
{
	return test_harness_run(argc, argv);
}

/* Seconds in which a session has to end on the slowest machine. */
#define STUCK_AFTER	900

/* splitmix64: any seed is a good one, and the next number is the state's. */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

	return z ^ (z >> 31);
}

/* A number below @limit. */
static inline unsigned int below(struct rng *rng, unsigned int limit)
{
	return (rng_next(rng) >> 32) % limit;
}

static inline bool one_in(struct rng *rng, unsigned int n)
{
	return !below(rng, n);
}

/* What it takes to get back to where something was found. */
static __thread char where[160];

static inline __noreturn __printf(1, 2) void fail(const char *fmt, ...)
{
	char text[2560];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	/* One write, as other processes may have something to say as well. */
	dprintf(STDOUT_FILENO, "FAIL: %s: %s\n", where, text);
	_exit(1);
}

/* What a call returned has to be a success or one of a list of errors. */
static inline void expect_list(const char *what, int ret, const int *errors)
{
	if (ret >= 0)
		return;

	for (; *errors; errors++) {
		if (ret == -*errors)
			return;
	}
	fail("%s: unexpected error %d (%s)", what, -ret, strerror(-ret));
}

#define EXPECT_ERRNO(what, ret, ...) \
	expect_list(what, ret, (const int []){ __VA_ARGS__, 0 })

/* A bug that the kernel has noticed itself, but for reasons to be as old. */
static inline void check_taint(void)
{
	static long first = -1;
	char text[32];
	long taint;

	if (ue_read("/proc/sys/kernel/tainted", text, sizeof(text)) < 0)
		return;

	taint = atol(text);
	if (first < 0)
		first = taint;
	if (taint != first)
		fail("the kernel reported a bug: taint %ld, was %ld", taint,
		     first);
}

/*
 * Coverage: which program counters of the kernel have been seen, one bit each
 * by their hash, shared by all processes.
 */
#define KCOV_FILE	"/sys/kernel/debug/kcov"
#define KCOV_ENTRIES	(64 * 1024)
#define SEEN_BITS	0x40000

struct coverage {
	int fd;
	unsigned long *trace;	/* NULL: not measured */
	unsigned long *seen;
	unsigned int *count;
};

static inline int coverage_init(struct coverage *cov)
{
	size_t size = SEEN_BITS / 8 + sizeof(*cov->count);

	memset(cov, 0, sizeof(*cov));
	cov->fd = -1;
	cov->seen = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cov->seen == MAP_FAILED)
		return -ENOMEM;

	cov->count = (unsigned int *)((char *)cov->seen + SEEN_BITS / 8);

	return 0;
}

/* Measures the calling thread from now on, until coverage_stop(). */
static inline void coverage_start(struct coverage *cov)
{
	size_t size = KCOV_ENTRIES * sizeof(*cov->trace);

	cov->trace = NULL;
	cov->fd = open(KCOV_FILE, O_RDWR | O_CLOEXEC);
	if (cov->fd < 0 || ioctl(cov->fd, KCOV_INIT_TRACE, KCOV_ENTRIES))
		return;

	cov->trace = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  cov->fd, 0);
	if (cov->trace == MAP_FAILED ||
	    ioctl(cov->fd, KCOV_ENABLE, KCOV_TRACE_PC))
		cov->trace = NULL;
}

static inline void coverage_stop(struct coverage *cov)
{
	if (cov->trace) {
		ioctl(cov->fd, KCOV_DISABLE, 0);
		munmap(cov->trace, KCOV_ENTRIES * sizeof(*cov->trace));
	}
	if (cov->fd >= 0)
		close(cov->fd);
	cov->trace = NULL;
	cov->fd = -1;
}

static inline void coverage_reset(struct coverage *cov)
{
	if (cov->trace)
		__atomic_store_n(&cov->trace[0], 0, __ATOMIC_RELAXED);
}

/* How many program counters since coverage_reset() were not seen before. */
static inline unsigned int coverage_new(struct coverage *cov)
{
	const unsigned int word_bits = 8 * sizeof(*cov->seen);
	unsigned long i, count, last = 0;
	unsigned int found = 0;

	if (!cov->trace)
		return 0;

	count = __atomic_load_n(&cov->trace[0], __ATOMIC_RELAXED);
	for (i = 1; i <= count && i < KCOV_ENTRIES; i++) {
		unsigned long pc = cov->trace[i];
		unsigned int bit;

		if (pc == last)
			continue;
		last = pc;
		bit = (uint32_t)(pc * 0x9e3779b1U) >> 14;
		if (cov->seen[bit / word_bits] >> bit % word_bits & 1)
			continue;
		cov->seen[bit / word_bits] |= 1UL << bit % word_bits;
		found++;
	}
	*cov->count += found;

	return found;
}

#endif /* _USER_EVENTS_FUZZ_H */
