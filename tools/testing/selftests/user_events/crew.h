/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads of several processes that work at the same time, and meet. What
 * they expect they say with WANT(), as the harness sees the test's own process
 * only; the test ends with CREW_EXPECT_DONE().
 */
#ifndef _USER_EVENTS_CREW_H
#define _USER_EVENTS_CREW_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "user_events_selftests.h"

#define CREW_PROCESSES	32
#define CREW_THREADS	8

/* In shared memory. */
struct crew {
	pthread_barrier_t barrier;
	atomic_int stop;
	atomic_int line;		/* of the first check that failed */
	atomic_long value;		/* what it got */
	pid_t pids[CREW_PROCESSES];
	int nr_pids;
};

struct crew_job {
	void (*work)(int nr);
	int nr;
};

static struct crew *crew;

static inline void *map_shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Says who failed first, and goes on: others wait for this one. */
static inline void crew_failed(int line, long value)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&crew->line, &none, line))
		atomic_store(&crew->value, value);
}

#define WANT(condition, got)						\
	do {								\
		if (!(condition))					\
			crew_failed(__LINE__, got);			\
	} while (0)

#define WANT_EQ(want, got)						\
	do {								\
		long _got = (got);					\
									\
		if (_got != (want))					\
			crew_failed(__LINE__, _got);			\
	} while (0)

/* @parties: how many meet, the test's own process included. */
static inline int crew_create(unsigned int parties)
{
	pthread_barrierattr_t attr;

	crew = map_shared(sizeof(*crew));
	if (!crew || pthread_barrierattr_init(&attr) ||
	    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED))
		return -ENOMEM;

	return -pthread_barrier_init(&crew->barrier, &attr, parties);
}

static inline void crew_meet(void)
{
	pthread_barrier_wait(&crew->barrier);
}

static inline void *crew_thread(void *arg)
{
	struct crew_job *job = arg;

	job->work(job->nr);

	return NULL;
}

static inline int crew_run(void (*work)(int nr), int first, int threads)
{
	struct crew_job jobs[CREW_THREADS];
	pthread_t ids[CREW_THREADS];
	int i;

	for (i = 1; i < threads; i++) {
		jobs[i].work = work;
		jobs[i].nr = first + i;
		if (pthread_create(&ids[i], NULL, crew_thread, &jobs[i]))
			return 1;
	}
	work(first);
	for (i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);

	return 0;
}

/*
 * Starts processes of @threads threads each, which get numbers from 0 on. They
 * do not outlive the test.
 */
static inline int crew_start(void (*work)(int nr), int processes, int threads)
{
	pid_t pid;
	int i;

	for (i = 0; i < processes; i++) {
		pid = fork();
		if (pid < 0)
			return -errno;
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(crew_run(work, i * threads, threads));
		}
		crew->pids[crew->nr_pids++] = pid;
	}

	return 0;
}

/* Waits for all: how many of them did not end well. */
static inline int crew_wait(void)
{
	int failed = 0;

	while (crew->nr_pids)
		failed += ue_wait(crew->pids[--crew->nr_pids]) != 0;

	return failed;
}

#define CREW_EXPECT_DONE()						\
	do {								\
		EXPECT_EQ(0, crew_wait());				\
		EXPECT_EQ(0, atomic_load(&crew->line))			\
			TH_LOG("got %ld in line %d",			\
			       atomic_load(&crew->value),		\
			       atomic_load(&crew->line));		\
	} while (0)

#endif /* _USER_EVENTS_CREW_H */
