// SPDX-License-Identifier: GPL-2.0
/*
 * What registering, toggling, fork and exit cost, and how that grows with the
 * number of events and registrations. Each benchmark runs in processes of its
 * own and leaves no event behind.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"

#define MAX_EVENTS	8000

/* Most events in a process: MAX_EVENTS and those that are timed on top. */
#define SLOTS		(MAX_EVENTS + MAX_EVENTS / 4)

/*
 * Seconds of sleep, in which RCU and workers get done what was left to them, so
 * that it does not count for what is timed next. They pass at once.
 */
#define QUIET		12

/* An enable word of each event. */
static __u32 words[SLOTS];

static const unsigned int sizes[] = { 250, 500, 1000, 2000, 4000, MAX_EVENTS };

/*
 * What a call costs where there are so many events is measured with the calls
 * that take it from there to window() more.
 */
static unsigned int window(unsigned int size)
{
	return size / 4 > 250 ? size / 4 : 250;
}

/* So many times, as ticks and RCU would show in a few calls. */
static unsigned int rounds(unsigned int size)
{
	return 2 * MAX_EVENTS / (size + window(size)) + 1;
}

static double per_call(__u64 cost, unsigned int size)
{
	return (double)cost / rounds(size) / window(size);
}

/* Instructions that child processes counted. */
static struct {
	__u64 reg;
	__u64 unreg;
} *sums;

static const char *command(unsigned int i)
{
	static char text[64];

	snprintf(text, sizeof(text), "bench_%u u64 a; u64 b", i);

	return text;
}

static const char *event_name(unsigned int i)
{
	static char text[32];

	snprintf(text, sizeof(text), "bench_%u", i);

	return text;
}

static void reg_range(int fd, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++)
		reg(fd, command(i), &words[i], 0);
}

static int del(int fd, unsigned int i)
{
	return ioctl(fd, DIAG_IOCSDEL, event_name(i));
}

static void unreg_range(int fd, unsigned int from, unsigned int to)
{
	while (to-- > from)
		unreg(fd, &words[to], 0);
}

/* Runs a function in a child process and waits for its end. */
static void in_child(void (*run)(unsigned int), unsigned int arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = CHECK(fork());
	if (!pid) {
		run(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0));
	REQUIRE(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Waits until the last benchmark's events are gone. */
static void settle(void)
{
	char text[256];
	ssize_t size;
	int fd, i;

	for (i = 0; i < 1000; i++) {
		fd = CHECK(open(TRACING "user_events_status", O_RDONLY));
		size = CHECK(read(fd, text, sizeof(text) - 1));
		close(fd);
		text[size] = 0;
		if (strstr(text, "Active: 0\n"))
			return;
		usleep(10000);
	}
	REQUIRE(!"events of the last benchmark are gone");
}

/* Makes persistent events that nobody uses. */
static void persist(unsigned int from, unsigned int to)
{
	__u32 word = 0;
	unsigned int i;
	int fd;

	fd = data_open();
	for (i = from; i < to; i++) {
		reg_flags(fd, command(i), &word, 0, USER_EVENT_REG_PERSIST);
		unreg(fd, &word, 0);
		if (i % 100)
			continue;
		close(fd);
		fd = data_open();
	}
	close(fd);
}

static void delete_all(unsigned int count)
{
	int fd;

	fd = data_open();
	while (count--)
		REQUIRE(!del(fd, count) || errno == ENOENT);
	close(fd);
}

/* Ways to register. */
static bool many_files;

static void register_round(unsigned int size)
{
	unsigned int end = size + window(size);
	static int files[SLOTS];
	__u64 start;
	unsigned int i;

	files[0] = data_open();
	for (i = 1; i < end; i++)
		files[i] = many_files ? data_open() : files[0];
	for (i = 0; i < size; i++)
		reg(files[i], command(i), &words[i], 0);
	sleep(QUIET);
	start = now();
	for (; i < end; i++)
		reg(files[i], command(i), &words[i], 0);
	sums->reg += now() - start;

	sleep(QUIET);
	start = now();
	unreg_range(files[0], size, end);
	sums->unreg += now() - start;
}

static void register_rounds(const char *name, unsigned int size)
{
	unsigned int round;

	memset(sums, 0, sizeof(*sums));
	for (round = 0; round < rounds(size); round++)
		in_child(register_round, size);
	report_at(name, size, per_call(sums->reg, size));
}

void bench_register(void)
{
	struct rlimit limit = { SLOTS + 64, SLOTS + 64 };
	unsigned int i;

	CHECK(setrlimit(RLIMIT_NOFILE, &limit));
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		register_rounds("register_new", sizes[i]);
	many_files = true;
	register_rounds("register_new_files", sizes[0]);
	register_rounds("register_new_files", MAX_EVENTS);
	many_files = false;
	settle();

	persist(0, SLOTS);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		register_rounds("register_existing", sizes[i]);
		report_at("unregister", sizes[i],
			  per_call(sums->unreg, sizes[i]));
	}
	many_files = true;
	register_rounds("register_existing_files", sizes[0]);
	register_rounds("register_existing_files", MAX_EVENTS);
	delete_all(SLOTS);
	settle();
}

/*
 * The base looks for an event in the list of all, in which the newest is the
 * first. So deleting the newest first shows the cost without that walk.
 */
static void destroy_rounds(const char *name, bool newest, unsigned int size)
{
	unsigned int count = window(size);
	unsigned int total = size + count;
	__u64 cost = 0;
	unsigned int round;
	__u64 start;
	unsigned int i;
	int fd;

	fd = data_open();
	for (round = 0; round < rounds(size); round++) {
		persist(0, total);
		sleep(QUIET);
		start = now();
		for (i = 0; i < count; i++)
			CHECK(del(fd, newest ? total - 1 - i :
				      i * (total / count)));
		cost += now() - start;
		delete_all(total);
	}
	close(fd);
	report_at(name, size, per_call(cost, size));
}

void bench_destroy(void)
{
	destroy_rounds("destroy_newest", true, sizes[0]);
	destroy_rounds("destroy_newest", true, MAX_EVENTS);
	destroy_rounds("destroy_any", false, sizes[0]);
	destroy_rounds("destroy_any", false, MAX_EVENTS);
	settle();
}

#define CROWD_WINDOW	250
#define CROWD_ROUNDS	16

/* Each event has one reference, by a file; the oldest go first. */
static void let_go(unsigned int crowd)
{
	static int files[30000 + CROWD_WINDOW];
	__u64 start;
	unsigned int i;

	for (i = 0; i < crowd + CROWD_WINDOW; i++) {
		files[i] = data_open();
		reg(files[i], command(i), &words[0], 0);
		unreg(files[i], &words[0], 0);
	}
	sleep(QUIET);
	start = now();
	for (i = 0; i < CROWD_WINDOW; i++)
		close(files[i]);
	report_at("let_go", crowd, (double)(now() - start) / CROWD_WINDOW);
	fflush(stdout);
}

void bench_let_go(void)
{
	struct rlimit limit = { 31000, 31000 };

	CHECK(setrlimit(RLIMIT_NOFILE, &limit));
	in_child(let_go, 250);
	settle();

	/* Where all of them do not go in good time, the guest ends with them. */
	in_child(let_go, 30000);
}

static void crowd_new(unsigned int crowd)
{
	__u64 start;
	unsigned int i;
	int fd;

	fd = data_open();
	sleep(QUIET);
	start = now();
	for (i = 0; i < CROWD_WINDOW; i++)
		reg(fd, command(crowd + i), &words[i], 0);
	sums->reg += now() - start;
}

static void crowd_existing(unsigned int crowd)
{
	__u64 start;
	unsigned int i;
	int fd;

	fd = data_open();
	sleep(QUIET);
	start = now();
	for (i = 0; i < CROWD_WINDOW; i++)
		reg(fd, command(i * (crowd / CROWD_WINDOW)), &words[i], 0);
	sums->reg += now() - start;
}

static void crowd_rounds(const char *name, void (*run)(unsigned int),
			 unsigned int crowd)
{
	unsigned int round;

	memset(sums, 0, sizeof(*sums));
	for (round = 0; round < CROWD_ROUNDS; round++)
		in_child(run, crowd);
	report_at(name, crowd,
		  (double)sums->reg / CROWD_ROUNDS / CROWD_WINDOW);
}

/* Deletes events from all over the crowd, and makes them again. */
static void crowd_delete(unsigned int crowd)
{
	unsigned int step = crowd / CROWD_WINDOW;
	__u64 cost = 0, start;
	unsigned int i, round;
	int fd;

	fd = data_open();
	for (round = 0; round < CROWD_ROUNDS / 4; round++) {
		sleep(QUIET);
		start = now();
		for (i = 0; i < CROWD_WINDOW; i++)
			CHECK(del(fd, i * step));
		cost += now() - start;
		for (i = 0; i < CROWD_WINDOW; i++)
			persist(i * step, i * step + 1);
	}
	report_at("crowd_delete", crowd,
		  (double)cost / CROWD_WINDOW / (CROWD_ROUNDS / 4));
	fflush(stdout);
}

/* What registering costs a process of few events in a system of many. */
void bench_crowd(void)
{
	static const unsigned int crowds[] = { 250, 8000, 30000 };
	unsigned int have = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(crowds); i++) {
		persist(have, crowds[i]);
		have = crowds[i];
		crowd_rounds("crowd_new", crowd_new, have);
		crowd_rounds("crowd_existing", crowd_existing, have);
		in_child(crowd_delete, have);
	}

	/* Deleting so many takes long, so the guest ends with them. */
}

static void time_fork(unsigned int count)
{
	const int warm_up = 10;
	const int forks = 800;
	__u64 forked = 0;
	__u64 whole = 0;
	__u64 start;
	int fd, i;
	pid_t pid;

	memset(words, 0, sizeof(words));
	fd = data_open();
	reg_range(fd, 0, count);
	close(fd);
	sleep(QUIET);
	for (i = -warm_up; i < forks; i++) {
		if (!i) {
			forked = 0;
			whole = 0;
		}
		start = now();
		pid = CHECK(fork());
		if (!pid)
			_exit(0);
		forked += now() - start;
		CHECK(waitpid(pid, NULL, 0));
		whole += now() - start;
	}
	report_at("fork", count, (double)forked / forks);
	report_at("fork_exit", count, (double)whole / forks);
}

void bench_fork(void)
{
	static const unsigned int counts[] = { 0, 500, 1000, 2000, 4000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		in_child(time_fork, counts[i]);
		settle();
	}
}

/*
 * Instructions that were executed since boot by anybody, workers and RCU too:
 * time in which the CPU was not idle.
 */
static __u64 busy(void)
{
	char text[16384];
	char *line;
	int fd;

	fd = CHECK(open("/proc/timer_list", O_RDONLY));
	text[CHECK(read(fd, text, sizeof(text) - 1))] = 0;
	close(fd);
	line = strstr(text, ".idle_sleeptime");
	REQUIRE(line);

	return now() - strtoull(strchr(line, ':') + 1, NULL, 10);
}

#define EXIT_COUNT	4000

/* Until the parent closes the other end of its pipe. */
static void wait_for_parent(int pipe[2])
{
	char byte;

	close(pipe[1]);
	CHECK(read(pipe[0], &byte, 1));
}

/* All that the exit of a process with registrations costs. */
static double time_exit(unsigned int count)
{
	const int exits = 5;
	int ready[2], leave[2];
	__u64 start, sum = 0;
	char byte;
	pid_t pid;
	int fd, i;

	for (i = -1; i < exits; i++) {
		CHECK(pipe(ready));
		CHECK(pipe(leave));
		pid = CHECK(fork());
		if (!pid) {
			memset(words, 0, sizeof(words));
			fd = data_open();
			reg_range(fd, 0, count);
			close(fd);
			CHECK(write(ready[1], "", 1));
			wait_for_parent(leave);
			_exit(0);
		}
		REQUIRE(read(ready[0], &byte, 1) == 1);
		sleep(QUIET);
		start = busy();
		close(leave[1]);
		CHECK(waitpid(pid, NULL, 0));
		sleep(QUIET);
		if (i >= 0)
			sum += busy() - start;
		close(leave[0]);
		close(ready[0]);
		close(ready[1]);
	}

	return (double)sum / exits;
}

static void exit_in_child(unsigned int unused)
{
	double none;
	int fd;

	/* The events outlive each process that is timed. */
	fd = data_open();
	reg_range(fd, 0, EXIT_COUNT);
	unreg_range(fd, 0, EXIT_COUNT);

	none = time_exit(0);
	report("exit_per_registration",
	       (time_exit(EXIT_COUNT) - none) / EXIT_COUNT);
}

void bench_exit(void)
{
	in_child(exit_in_child, 0);
	settle();
}

#define TOGGLES	100

/* Long enough for what waits for RCU if it is asked again too soon. */
#define PAUSE	50000

static __u64 time_switch(int fd, const char *on)
{
	__u64 start;

	usleep(PAUSE);
	start = now();
	REQUIRE(pwrite(fd, on, 1, 0) == 1);

	return now() - start;
}

/* Instructions of switching an event on and off. */
static double time_toggle(const char *event)
{
	__u64 cost = 0;
	char file[128];
	int fd, i;

	snprintf(file, sizeof(file), TRACING "events/user_events/%s/enable",
		 event);
	fd = CHECK(open(file, O_WRONLY));
	for (i = -5; i < TOGGLES; i++) {
		if (!i)
			cost = 0;
		cost += time_switch(fd, "1");
		cost += time_switch(fd, "0");
	}
	close(fd);

	return (double)cost / TOGGLES;
}

static void toggle_holding(unsigned int others)
{
	__u32 word = 0;
	int fd;

	fd = data_open();
	reg(fd, "bench_toggle u64 a", &word, 0);
	reg_range(fd, 0, others);
	enable_event("bench_toggle", true);
	REQUIRE(word == 1);
	enable_event("bench_toggle", false);
	REQUIRE(word == 0);
	report_at("toggle", others, time_toggle("bench_toggle"));
}

#define WATCHED 100

/* So many processes register the same events of their own accord. */
static void watch_and_toggle(unsigned int watchers)
{
	int ready[2], leave[2];
	unsigned int i;
	char byte;
	int fd;

	CHECK(pipe(ready));
	CHECK(pipe(leave));
	for (i = 0; i < watchers; i++) {
		if (CHECK(fork()))
			continue;
		fd = data_open();
		reg_range(fd, 0, WATCHED);
		CHECK(write(ready[1], "", 1));
		wait_for_parent(leave);
		_exit(0);
	}
	for (i = 0; i < watchers; i++)
		REQUIRE(read(ready[0], &byte, 1) == 1);
	report_at("toggle_watched", watchers, time_toggle(event_name(0)));
	close(leave[1]);
	while (wait(NULL) > 0)
		;
}

static void switch_all(unsigned int count)
{
	__u64 start;
	unsigned int i;
	int fd;

	fd = data_open();
	reg_range(fd, 0, count);

	/* The first one makes the ring buffer larger. */
	tracefs_write("events/user_events/enable", "1");
	tracefs_write("events/user_events/enable", "0");
	usleep(PAUSE);

	start = now();
	tracefs_write("events/user_events/enable", "1");
	report_at("enable_all", count, (double)(now() - start) / count);
	for (i = 0; i < count; i++)
		REQUIRE(words[i] == 1);
	usleep(PAUSE);
	start = now();
	tracefs_write("events/user_events/enable", "0");
	report_at("disable_all", count, (double)(now() - start) / count);
	for (i = 0; i < count; i++)
		REQUIRE(words[i] == 0);
}

/* So many words of one process watch one event, all in one page or so. */
#define WORDS 1000

static void time_toggle_words(int fd, __u32 *at, const char *name)
{
	int i;

	for (i = 0; i < WORDS; i++)
		reg(fd, "bench_words u64 a", &at[i], 0);
	enable_event("bench_words", true);
	for (i = 0; i < WORDS; i++)
		REQUIRE(at[i] == 1);
	enable_event("bench_words", false);
	for (i = 0; i < WORDS; i++)
		REQUIRE(at[i] == 0);
	report(name, time_toggle("bench_words"));
}

static void toggle_words(unsigned int unused)
{
	time_toggle_words(data_open(), words, "toggle_memory_words");
}

static void toggle_page_words(unsigned int unused)
{
	__u32 *page;
	int fd;

	fd = data_open();
	page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED)
		time_toggle_words(fd, page, "toggle_page_words");
	else
		REQUIRE(errno == ENODEV);
}

void bench_toggle(void)
{
	unsigned int i;

	for (i = 0; sizes[i] <= 4000; i++) {
		in_child(toggle_holding, sizes[i]);
		settle();
	}
}

void bench_toggle_watched(void)
{
	static const unsigned int watchers[] = { 200, 100, 50 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(watchers); i++) {
		in_child(watch_and_toggle, watchers[i]);
		settle();
	}
}

void bench_enable_all(void)
{
	static const unsigned int counts[] = { 250, 1000, 4000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		in_child(switch_all, counts[i]);
		settle();
	}
}

void bench_toggle_words(void)
{
	in_child(toggle_words, 0);
	settle();
	in_child(toggle_page_words, 0);
	settle();
}

/* Bytes that the kernel has allocated for itself. */
static double kernel_memory(void)
{
	static const char *const keys[] = {
		"\nSlab:", "\nVmallocUsed:", "\nPercpu:",
	};
	char text[8192];
	double sum = 0;
	unsigned int i;
	ssize_t size;
	char *line;
	int fd;

	sleep(QUIET);

	fd = CHECK(open("/proc/meminfo", O_RDONLY));
	size = CHECK(read(fd, text, sizeof(text) - 1));
	text[size] = 0;
	close(fd);
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		line = strstr(text, keys[i]);
		REQUIRE(line);
		sum += strtod(line + strlen(keys[i]), NULL) * 1024;
	}

	return sum;
}

#define MEMORY_EVENTS		8000
#define MEMORY_PROCESSES	4

static void memory(unsigned int unused)
{
	int ready[2], leave[2], start[2];
	double before, after;
	unsigned int i;
	char byte;
	int fd;

	memset(words, 0, sizeof(words));
	fd = data_open();
	before = kernel_memory();
	reg_range(fd, 0, MEMORY_EVENTS);
	after = kernel_memory();
	report("memory_event", (after - before) / MEMORY_EVENTS);

	/* The next processes are to have registrations of their own only. */
	unreg_range(fd, 0, MEMORY_EVENTS);

	CHECK(pipe(ready));
	CHECK(pipe(leave));
	CHECK(pipe(start));
	for (i = 0; i < MEMORY_PROCESSES; i++) {
		if (CHECK(fork()))
			continue;
		memset(words, 0, sizeof(words));
		fd = data_open();
		CHECK(write(ready[1], "", 1));
		CHECK(read(start[0], &byte, 1));
		reg_range(fd, 0, MEMORY_EVENTS);
		CHECK(write(ready[1], "", 1));
		wait_for_parent(leave);
		_exit(0);
	}
	for (i = 0; i < MEMORY_PROCESSES; i++)
		REQUIRE(read(ready[0], &byte, 1) == 1);
	before = kernel_memory();
	for (i = 0; i < MEMORY_PROCESSES; i++)
		CHECK(write(start[1], "", 1));
	for (i = 0; i < MEMORY_PROCESSES; i++)
		REQUIRE(read(ready[0], &byte, 1) == 1);
	after = kernel_memory();
	report("memory_registration",
	       (after - before) / (MEMORY_EVENTS * MEMORY_PROCESSES));
	close(leave[1]);
	while (wait(NULL) > 0)
		;
}

void bench_memory(void)
{
	in_child(memory, 0);
	settle();
}

#define GROUPS		TRACING "user_events_groups"
#define GROUP_EVENTS	10
#define GROUP_WINDOW	50

static const char *group_path(unsigned int i)
{
	static char text[64];

	snprintf(text, sizeof(text), GROUPS "/bench%u", i);

	return text;
}

static void group_fill(unsigned int i)
{
	char text[80];
	unsigned int j;

	for (j = 0; j < GROUP_EVENTS; j++) {
		snprintf(text, sizeof(text), "u:user_events_bench%u/bench_%u u64 a; u64 b",
			 i, j);
		tracefs_append("dynamic_events", text);
	}
}

/* What comes on top of @crowd groups of so many events. */
static void group_window(unsigned int crowd)
{
	unsigned int i, end = crowd + GROUP_WINDOW;
	char text[80];
	__u64 start;

	sleep(QUIET);
	start = now();
	for (i = crowd; i < end; i++)
		CHECK(mkdir(group_path(i), 0700));
	report_at("group_make", crowd, (double)(now() - start) / GROUP_WINDOW);

	sleep(QUIET);
	start = now();
	for (i = crowd; i < end; i++)
		group_fill(i);
	report_at("group_fill", crowd, (double)(now() - start) / GROUP_WINDOW);

	sleep(QUIET);
	start = now();
	for (i = crowd; i < end; i++) {
		snprintf(text, sizeof(text), "events/user_events_bench%u/enable", i);
		tracefs_write(text, "1");
		tracefs_write(text, "0");
	}
	report_at("group_trace", crowd, (double)(now() - start) / GROUP_WINDOW);

	sleep(QUIET);
	start = now();
	for (i = crowd; i < end; i++)
		CHECK(rmdir(group_path(i)));
	report_at("group_remove", crowd, (double)(now() - start) / GROUP_WINDOW);
}

void bench_groups(void)
{
	static const unsigned int crowds[] = { 0, 1000 };
	unsigned int i, j, have = 0;
	double before;

	/* The base has none. */
	if (access(GROUPS, F_OK))
		return;

	before = kernel_memory();
	for (i = 0; i < 1000; i++)
		CHECK(mkdir(group_path(i), 0700));
	report("memory_group", (kernel_memory() - before) / 1000);
	for (i = 0; i < 1000; i++)
		CHECK(rmdir(group_path(i)));
	settle();

	for (i = 0; i < ARRAY_SIZE(crowds); i++) {
		for (; have < crowds[i]; have++) {
			CHECK(mkdir(group_path(have), 0700));
			group_fill(have);
		}
		group_window(have);
	}
	for (j = 0; j < have; j++)
		CHECK(rmdir(group_path(j)));
	settle();
}

void scale_init(void)
{
	sums = mmap(NULL, sizeof(*sums), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(sums != MAP_FAILED);
}
