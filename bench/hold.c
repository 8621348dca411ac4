// SPDX-License-Identifier: GPL-2.0
/*
 * How long one process keeps event_mutex from all others. Kprobes at
 * mutex_lock() and mutex_unlock() see who takes it and when; the longest hold
 * counts. An instance of its own has the records, so that nothing of the tracers
 * that are measured goes into them. What the probes cost is in the figures: some
 * hundreds of instructions for each mutex taken within event_mutex. So is an
 * interrupt, of some 2,500 instructions, which one of 40,000 holds will meet.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"

#define INSTANCE	"instances/bench_hold"

static const unsigned int counts[] = { 250, 40000 };

/* So many times, of which the median counts. */
#define TIMES		9

static unsigned long address_of(const char *symbol)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	unsigned long address;
	char name[256];

	REQUIRE(symbols);
	while (fscanf(symbols, "%lx %*c %255s%*[^\n]", &address, name) == 2) {
		if (strcmp(name, symbol))
			continue;
		fclose(symbols);
		return address;
	}
	REQUIRE(!"the kernel has KALLSYMS_ALL");
	return 0;
}

static void probes_add(void)
{
	char filter[64];

	CHECK(mkdir(TRACING INSTANCE, 0700));
	tracefs_write(INSTANCE "/tracing_on", "0");
	/* The counter of cycles, which is one of instructions here. */
	tracefs_write(INSTANCE "/trace_clock", "x86-tsc");
	tracefs_write("kprobe_events", "p:bench_hold/lock mutex_lock m=%di:x64");
	tracefs_append("kprobe_events",
		       "p:bench_hold/unlock mutex_unlock m=%di:x64");

	snprintf(filter, sizeof(filter), "m == 0x%lx", address_of("event_mutex"));
	tracefs_write(INSTANCE "/events/bench_hold/filter", filter);
	tracefs_write(INSTANCE "/events/bench_hold/enable", "1");
}

static void probes_remove(void)
{
	tracefs_write(INSTANCE "/events/bench_hold/enable", "0");
	CHECK(rmdir(TRACING INSTANCE));
	tracefs_write("kprobe_events", "");
}

static void holds_begin(void)
{
	tracefs_write(INSTANCE "/trace", "");
	tracefs_write(INSTANCE "/tracing_on", "1");
}

/* Instructions of the longest hold since holds_begin(), 0 if there was none. */
static __u64 holds_end(void)
{
	__u64 time, taken = 0, longest = 0;
	char line[512], *at;
	FILE *trace;

	tracefs_write(INSTANCE "/tracing_on", "0");
	trace = fopen(TRACING INSTANCE "/trace", "r");
	REQUIRE(trace);
	while (fgets(line, sizeof(line), trace)) {
		at = strstr(line, "lock: (mutex_");
		if (!at)
			continue;
		/* TIME: lock: or TIME: unlock: */
		at = strchr(line, ']');
		REQUIRE(at && sscanf(at, "] %*s %llu:", &time) == 1);
		if (strstr(line, ": lock:")) {
			taken = time;
		} else if (taken) {
			if (time - taken > longest)
				longest = time - taken;
			taken = 0;
		}
	}
	fclose(trace);

	return longest;
}

static int compare(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static __u64 median(__u64 *values)
{
	qsort(values, TIMES, sizeof(*values), compare);

	return values[TIMES / 2];
}

/* What a child that has inherited so many words does, with one word of its own. */
struct job {
	const char	*name;
	void		(*run)(int fd, __u32 *inherited, __u32 *own);
};

static void job_unreg(int fd, __u32 *inherited, __u32 *own)
{
	unreg(fd, inherited, 0);
}

static void job_reg(int fd, __u32 *inherited, __u32 *own)
{
	reg(fd, "bench_hold u64 a", own, 0);
}

/* One write that the next fork has to bring to its child. */
static void job_fork(int fd, __u32 *inherited, __u32 *own)
{
	int status;
	pid_t pid;

	reg(fd, "bench_hold_other u64 a", own, 0);
	enable_event("bench_hold_other", true);
	pid = CHECK(fork());
	if (!pid)
		_exit(0);
	CHECK(waitpid(pid, &status, 0));
	REQUIRE(WIFEXITED(status) && !WEXITSTATUS(status));
	enable_event("bench_hold_other", false);
	/* A page that is shared by fork takes its time. */
	while (__atomic_load_n(own, __ATOMIC_RELAXED))
		usleep(1000);
}

static void job_exit(int fd, __u32 *inherited, __u32 *own)
{
	/* Which is what a child does next, anyway. */
}

static const struct job jobs[] = {
	{ "hold_unreg", job_unreg },
	{ "hold_reg", job_reg },
	{ "hold_fork", job_fork },
	{ "hold_exit", job_exit },
};

static __u64 run_job(const struct job *job, int fd, __u32 *words)
{
	bool exits = job->run == job_exit;
	__u64 longest = 0, *shared;
	static __u32 own;
	int status;
	pid_t pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(shared != MAP_FAILED);

	pid = CHECK(fork());
	if (!pid) {
		/* A set of its own, so that its exit has all words to drop. */
		if (exits)
			unreg(fd, &words[1], 0);
		holds_begin();
		job->run(fd, words, &own);
		if (!exits)
			*shared = holds_end();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0));
	REQUIRE(WIFEXITED(status) && !WEXITSTATUS(status));
	/* What the exit left to workers counts, too. */
	if (exits)
		sleep(1);
	longest = exits ? holds_end() : *shared;
	munmap(shared, sizeof(*shared));

	return longest;
}

static void run_jobs(unsigned int count)
{
	size_t size = count * sizeof(__u32);
	__u64 values[TIMES];
	unsigned int i, j;
	__u32 *words;
	int fd;

	words = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(words != MAP_FAILED);
	fd = data_open();
	for (i = 0; i < count; i++)
		reg(fd, "bench_hold u64 a", &words[i], 0);

	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		for (j = 0; j < TIMES; j++)
			values[j] = run_job(&jobs[i], fd, words);
		report_at(jobs[i].name, count, median(values));
	}
	close(fd);
}

void bench_hold(void)
{
	unsigned int i;
	int status;
	pid_t pid;

	probes_add();
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		fflush(stdout);
		pid = CHECK(fork());
		if (!pid) {
			run_jobs(counts[i]);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0));
		REQUIRE(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	probes_remove();
}
