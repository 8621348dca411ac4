// SPDX-License-Identifier: GPL-2.0
/*
 * A process at the limit of its memory slows down nobody but itself. A child of
 * fork changes its registrations, of which it needs copies for that, and its
 * control group has no memory for them: it is put to sleep, and readers of the
 * status go on; or others of its group are killed, and they can end.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "user_events_selftests.h"
#include "process.h"

#define GROUP		"memory_test"

#define WORDS		40000
#define VICTIMS		3

/* How often the one who sleeps is looked at. */
#define LOOKS		50

/* In shared memory. */
struct progress {
	atomic_int done;
	atomic_int ret;
};

struct context {
	int fd;
	int sock[2];
	char cgroup[64];
	struct progress *progress;
	uint32_t *words;
};

static const char *group_file(const char *cgroup, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/" GROUP "/%s", cgroup, file);

	return path;
}

static long group_number(const char *cgroup, const char *file, const char *key)
{
	char text[1024], *pos;

	if (ue_read(group_file(cgroup, file), text, sizeof(text)) < 0)
		return -EIO;
	pos = strstr(text, key);

	return pos ? atol(pos + strlen(key)) : -ENOENT;
}

static int group_set(const char *cgroup, const char *file, long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", number);

	return ue_write(group_file(cgroup, file), text);
}

/* Returns 1 if the kernel cannot limit memory. */
static int context_init(struct context *ctx)
{
	ctx->fd = ue_open();
	if (ctx->fd < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctx->sock))
		return -errno;
	ctx->progress = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ctx->words = map_pages(WORDS * sizeof(*ctx->words) / page_size() +
			       1);
	if (ctx->progress == MAP_FAILED || !ctx->words)
		return -ENOMEM;
	atomic_store(&ctx->progress->done, 0);

	snprintf(ctx->cgroup, sizeof(ctx->cgroup),
		 "/tmp/user_events_test.XXXXXX");
	if (!mkdtemp(ctx->cgroup))
		return -errno;
	if (mount("cgroup2", ctx->cgroup, "cgroup2", 0, NULL))
		return 1;
	if (mkdir(group_file(ctx->cgroup, ""), 0700))
		return -errno;
	ue_write(group_file(ctx->cgroup, "../cgroup.subtree_control"),
		 "+memory");
	if (access(group_file(ctx->cgroup, "memory.high"), W_OK))
		return 1;

	/* There without swap, too. */
	ue_write(group_file(ctx->cgroup, "memory.swap.max"), "0");

	return 0;
}

static int context_exit(struct context *ctx)
{
	rmdir(group_file(ctx->cgroup, ""));
	umount(ctx->cgroup);
	rmdir(ctx->cgroup);

	return ue_sweep();
}

/* One word of an event of its own, and all others of another event. */
static int register_words(int fd, uint32_t *words, int count)
{
	int ret = ue_reg(fd, "memory_one", &words[0], 0, NULL);

	for (int i = 1; i < count && !ret; i++)
		ret = ue_reg(fd, "memory_many", &words[i], 0, NULL);

	return ret;
}

/* In the child: lets go of a word, when it is told to. */
static void unregister_one(struct context *ctx)
{
	/* What it takes apart from that is there before: pages, page tables. */
	__atomic_store_n(&ctx->words[1], ctx->words[1], __ATOMIC_RELAXED);
	atomic_store(&ctx->progress->ret, ue_unreg(-1, &ctx->words[1], 0));
	if (tell(ctx->sock[1]) || hear(ctx->sock[1]))
		_exit(1);
	atomic_store(&ctx->progress->ret, ue_unreg(ctx->fd, &ctx->words[1], 0));
	atomic_store(&ctx->progress->done, 1);
	if (hear(ctx->sock[1]))
		_exit(1);
	_exit(0);
}

/* Forks into the group: a victim of others, or one that unregisters. */
static pid_t fork_into_group(struct context *ctx, bool victim)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (hear(ctx->sock[1]))
			_exit(1);
		if (!victim)
			unregister_one(ctx);
		for (;;)
			pause();
	}
	if (pid < 0 || group_set(ctx->cgroup, "cgroup.procs", pid) ||
	    tell(ctx->sock[0]))
		return -1;
	if (!victim && hear(ctx->sock[0]))
		return -1;

	return pid;
}

static int set_oom_score_adj(pid_t pid, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);

	return ue_write(path, text);
}

FIXTURE(limit) {
	struct context ctx;
};

FIXTURE_SETUP(limit)
{
	int ret;

	UE_REQUIRE();
	ret = context_init(&self->ctx);
	if (ret > 0)
		SKIP(return, "no memory controller: CONFIG_MEMCG");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN_PARENT(limit)
{
	EXPECT_EQ(0, context_exit(&self->ctx));
}

/*
 * The kernel kills others for it, one after the other, as it needs more than all
 * of them give. The first ends while it still waits for memory, so it does not
 * hold what the end of a process takes. What the kernel writes to its log then
 * is no report of a bug.
 */
UE_TEST_F(limit, victims_end)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct context *ctx = &self->ctx;
	pid_t victims[VICTIMS], pid;
	int ended = 0;

	ASSERT_EQ(0, register_words(ctx->fd, ctx->words, WORDS));
	for (int i = 0; i < VICTIMS; i++) {
		victims[i] = fork_into_group(ctx, true);
		ASSERT_LT(0, victims[i]);
		ASSERT_EQ(0, set_oom_score_adj(victims[i], "1000"));
	}
	pid = fork_into_group(ctx, false);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, set_oom_score_adj(pid, "-1000"));
	ASSERT_EQ(0, group_set(ctx->cgroup, "memory.max",
			       group_number(ctx->cgroup, "memory.current",
					    "")));

	/* To see the end of a victim before anything else happens. */
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &first));
	ASSERT_EQ(0, tell(ctx->sock[0]));
	for (int i = 0; i < VICTIMS; i++) {
		siginfo_t info;

		ASSERT_EQ(0, waitid(P_ALL, 0, &info, WEXITED | WNOWAIT));
		ended += !atomic_load(&ctx->progress->done);
		EXPECT_NE(pid, info.si_pid);
		EXPECT_EQ(-SIGKILL, ue_wait(info.si_pid));
	}
	EXPECT_LT(0, ended)
		TH_LOG("victims that ended before what they were killed for");
	ASSERT_EQ(0, ue_write(group_file(ctx->cgroup, "memory.max"), "max"));
	ASSERT_EQ(0, tell(ctx->sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_LT(0, group_number(ctx->cgroup, "memory.events", "oom_kill "));
}

/* The function that a process sleeps in, empty if it does not. */
static int sleeps_in(pid_t pid, char *where, size_t size)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	ret = ue_read(path, where, size);
	if (ret > 0 && !strcmp(where, "0"))
		*where = '\0';

	return ret < 0 ? ret : 0;
}

static bool is_throttled(pid_t pid)
{
	char where[128];

	return !sleeps_in(pid, where, sizeof(where)) &&
	       strstr(where, "handle_over_high");
}

/* How often a process has gone to sleep. */
static long sleeps(pid_t pid)
{
	char path[64], text[4096], *pos;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (ue_read(path, text, sizeof(text)) < 0)
		return -EIO;
	pos = strstr(text, "\nvoluntary_ctxt_switches:");

	return pos ? atol(strchr(pos, ':') + 1) : -ENOENT;
}

/* Reads the status without end. */
static pid_t fork_reader(void)
{
	static char text[65536];
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (ue_read("user_events_status", text, sizeof(text)) > 0)
		;
	_exit(1);
}

/*
 * While the limit keeps a process asleep in the middle of its system call, it
 * has nothing that a reader of the status waits for: he is never asleep then.
 */
UE_TEST_F(limit, sleeper_has_no_lock)
{
	struct context *ctx = &self->ctx;
	int looks = 0, waits = 0;
	char where[128];
	pid_t pid, reader;

	ASSERT_EQ(0, register_words(ctx->fd, ctx->words, WORDS));
	pid = fork_into_group(ctx, false);
	ASSERT_LT(0, pid);
	reader = fork_reader();
	ASSERT_LT(0, reader);
	ASSERT_EQ(0, group_set(ctx->cgroup, "memory.high",
			       group_number(ctx->cgroup, "memory.current",
					    "")));
	ASSERT_EQ(0, tell(ctx->sock[0]));

	while (looks < LOOKS && !atomic_load(&ctx->progress->done)) {
		long before = sleeps(pid);

		if (!is_throttled(pid))
			continue;
		ASSERT_EQ(0, sleeps_in(reader, where, sizeof(where)));
		/* The same sleep, so it was asleep all the time. */
		if (!is_throttled(pid) || sleeps(pid) != before)
			continue;
		looks++;
		if (*where && !waits++)
			TH_LOG("the reader sleeps in %s", where);
	}
	EXPECT_EQ(LOOKS, looks);
	EXPECT_EQ(0, waits) TH_LOG("of %d looks", looks);

	kill(pid, SIGKILL);
	kill(reader, SIGKILL);
	EXPECT_EQ(-SIGKILL, ue_wait(pid));
	EXPECT_EQ(-SIGKILL, ue_wait(reader));
}

TEST_HARNESS_MAIN
