/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the benchmarks share. They run as root in a guest whose clock counts
 * instructions, so a difference of now() is a number of instructions. A step
 * that fails ends the program: a figure of something that did not happen is
 * worse than none.
 */
#ifndef _BENCH_H
#define _BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/types.h>
#include <linux/user_events.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define TRACING "/sys/kernel/tracing/"

/* Ends the program if a call failed; @what is for the reader of the error. */
#define CHECK(call)						\
({								\
	__auto_type __ret = (call);				\
								\
	if (__ret < 0)						\
		bench_die(__FILE__, __LINE__, #call);		\
	__ret;							\
})

#define REQUIRE(condition)					\
do {								\
	if (!(condition)) {					\
		errno = 0;					\
		bench_die(__FILE__, __LINE__, #condition);	\
	}							\
} while (0)

static inline __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

noreturn void bench_die(const char *file, int line, const char *what);

/* One line of the result, and one of a figure that depends on a number. */
void report(const char *name, double value);
void report_at(const char *name, unsigned int number, double value);

/* Files of tracefs, named below TRACING. */
void tracefs_write(const char *file, const char *text);
void tracefs_append(const char *file, const char *text);
long tracefs_number(const char *file);
void enable_event(const char *event, bool on);
int event_id(const char *event);

/* user_events_data */
int data_open(void);
__u32 reg(int fd, const char *command, void *word, int bit);
__u32 reg_flags(int fd, const char *command, void *word, int bit,
		unsigned int flags);
void unreg(int fd, void *word, int bit);

/*
 * A perf event of the calling process on a user event, with a ring. Samples
 * carry the record and what @sample_type asks for.
 */
struct ring {
	int			fd;
	struct perf_event_mmap_page *page;
	unsigned long		size;
};

void ring_open(struct ring *ring, const char *event, __u64 sample_type);
void ring_close(struct ring *ring);

/* Samples since the last call; a lost one ends the program. */
unsigned int ring_drain(struct ring *ring);

/* Groups of benchmarks. */
void bench_write(void);
bool bench_write_case(const char *name);
void scale_init(void);
void bench_fork(void);
void bench_exit(void);
void bench_toggle(void);
void bench_toggle_watched(void);
void bench_toggle_words(void);
void bench_enable_all(void);
void bench_hold(void);
void bench_memory(void);
void bench_groups(void);
void bench_register(void);
void bench_destroy(void);
void bench_let_go(void);
void bench_crowd(void);

#endif /* _BENCH_H */
