// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that runs out: each allocation of a call is made to fail, one after
 * the other. The call succeeds all the same or says ENOMEM, and then it has
 * changed nothing and succeeds when it is tried again. That nothing leaks is
 * for kmemleak to say, which whoever runs the tests should have scan.
 *
 * Allocations of the system calls around ours fail as well, those of ftrace,
 * perf and the file system among them. Pages of user memory do so only where
 * the test is about them: a fault that gets none is taken again.
 */
#include <signal.h>

#include "consumer.h"
#include "groups.h"
#include "process.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
#define FAIL_FROM	DEBUGFS "failslab/require-start"
#define FAIL_TO		DEBUGFS "failslab/require-end"
#define WORDS		8
#define KEEP		"fault_keep"
#define FIELDS		" u32 a; char[8] b; __data_loc char[] c; struct s d 4"

#define SUBBUF_KB	"64"

/* More than any allocation has. */
#define NO_ORDER	"63"

/*
 * A call that has met no failure is not the last one before so many others:
 * debugging aids of the kernel allocate now and then, too.
 */
#define MISSES		4

struct setting {
	const char *file;
	const char *value;
	char saved[32];
};

/* An injected failure uses up one of the times, if they are limited. */
static const struct setting wanted[] = {
	{ DEBUGFS "failslab/times", "-1" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ FAIL_FROM, "0" },
	{ FAIL_TO, "0xffffffffffffffff" },
	{ DEBUGFS "fail_page_alloc/times", "-1" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "Y" },
};

/* What no call that failed may change. */
struct state {
	char status[4096];
	char dynamic[4096];
	uint32_t words[WORDS];
	uint32_t shared[WORDS];
	bool no_losses;		/* a write that fails is counted as lost */
};

struct context {
	struct setting settings[ARRAY_SIZE(wanted)];
	struct state before, now;
	int nth;		/* FAIL_NTH */
	int fd, other;
	int index;
	int enable;		/* file "enable" of an event in an instance */
	int hits;		/* allocations made to fail */
	int failed;		/* calls that failed for them */
	uint32_t *words;
	uint32_t *shared;	/* words in a page of the kernel's, or NULL */
	uint32_t *mapped;
	int pages;
	pid_t pid;
	struct ft ft;
	struct pf pf;
	unsigned char *payload;
	size_t size;
};

typedef int (*step)(struct context *ctx);

/*
 * Each returns 0 or a negative errno. Behind @call comes @undo if it has
 * succeeded, to check what it did and to take that back; or else @failed, for
 * what a failure alone has to be checked for, unless it is NULL.
 */
struct operation {
	step call;
	step undo;
	step failed;
	int stride;		/* from one allocation to the next, 0 is 1 */
};

FIXTURE(fault) {
	struct context ctx;
};

static int fail_nth(int nth, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	return pwrite(nth, text, len, 0) == len ? 0 : -errno;
}

/* Ends what fail_nth() began: 1 if an allocation failed, else 0. */
static int fail_nth_end(int nth)
{
	char text[16] = {};

	if (pread(nth, text, sizeof(text) - 1, 0) <= 0 || fail_nth(nth, 0))
		return -EIO;

	return !atoi(text);
}

static void take_state(struct context *ctx, struct state *state)
{
	ue_read("user_events_status", state->status, sizeof(state->status));
	ue_read("dynamic_events", state->dynamic, sizeof(state->dynamic));
	if (state->no_losses) {
		char *lost = strstr(state->status, " lost ");
		char *end = lost ? strchr(lost, '\n') : NULL;

		if (end)
			memmove(lost, end, strlen(end) + 1);
	}
	for (int i = 0; i < WORDS; i++) {
		state->words[i] = ctx->words[i];
		state->shared[i] = ctx->shared ? ctx->shared[i] : 0;
	}
}

static void expect_unchanged(struct __test_metadata *_metadata,
			     struct context *ctx, const char *when, int n)
{
	const struct state *before = &ctx->before, *now = &ctx->now;

	take_state(ctx, &ctx->now);
	EXPECT_STREQ(before->status, now->status)
		TH_LOG("%s, allocation %d", when, n);
	EXPECT_STREQ(before->dynamic, now->dynamic)
		TH_LOG("%s, allocation %d", when, n);
	EXPECT_EQ(0, memcmp(before->words, now->words, sizeof(now->words)))
		TH_LOG("%s, allocation %d", when, n);
	EXPECT_EQ(0, memcmp(before->shared, now->shared, sizeof(now->shared)))
		TH_LOG("%s, allocation %d", when, n);
}

/*
 * Once for slabs and once for pages: how many pages a call takes depends on
 * how full slabs are, which must not shift the allocations that are counted.
 */
enum kind { SLABS, PAGES, KINDS };

static int select_kind(enum kind kind)
{
	int ret = ue_write(DEBUGFS "failslab/ignore-gfp-wait",
			   kind == SLABS ? "N" : "Y");

	return ret ?: ue_write(DEBUGFS "fail_page_alloc/min-order",
			       kind == PAGES ? "0" : NO_ORDER);
}

/* From here on only slabs fail which @function and what it calls allocate. */
static int select_function(const char *function)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	unsigned long long address, start = 0, end = 0;
	char line[512], name[256], text[32];
	int ret;

	if (!symbols)
		return -errno;
	while (!end && fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%llx %*c %255s", &address, name) != 2)
			continue;
		if (start && address > start)
			end = address;
		else if (!strcmp(name, function))
			start = address;
	}
	fclose(symbols);
	if (!end)
		return -ENOENT;

	snprintf(text, sizeof(text), "%llu", start);
	ret = ue_write(FAIL_FROM, text);
	snprintf(text, sizeof(text), "%llu", end);

	return ret ?: ue_write(FAIL_TO, text);
}

/* Makes the allocation @n of a call fail. Returns whether there was one. */
static int inject_nth(struct __test_metadata *_metadata, struct context *ctx,
		      const struct operation *op, int n)
{
	int ret, hit;

	ASSERT_EQ(0, fail_nth(ctx->nth, n));
	ret = op->call(ctx);
	hit = fail_nth_end(ctx->nth);
	ASSERT_LE(0, hit);
	ctx->hits += hit;
	if (ret) {
		ctx->failed++;
		ASSERT_EQ(-ENOMEM, ret)
			TH_LOG("allocation %d", n);
		ASSERT_EQ(1, hit);
		if (op->failed) {
			ASSERT_EQ(0, op->failed(ctx))
				TH_LOG("allocation %d", n);
		}
		expect_unchanged(_metadata, ctx, "failed", n);
		ASSERT_EQ(0, op->call(ctx))
			TH_LOG("again after allocation %d", n);
	}
	ASSERT_EQ(0, op->undo(ctx))
		TH_LOG("allocation %d", n);
	expect_unchanged(_metadata, ctx, "undone", n);

	return hit;
}

/* Makes every allocation of a call fail, until there are no more. */
static void inject(struct __test_metadata *_metadata, struct context *ctx,
		   const struct operation *op)
{
	ctx->hits = 0;
	ctx->failed = 0;
	take_state(ctx, &ctx->before);
	for (int kind = 0; kind < KINDS; kind++) {
		int n = 1, missed = 0;

		ASSERT_EQ(0, select_kind(kind));
		while (missed < MISSES) {
			if (inject_nth(_metadata, ctx, op, n))
				missed = 0;
			else
				missed++;
			n += op->stride ?: 1;
		}
	}
}

/* How the children of inject_in_child() end; other numbers say what is wrong. */
enum { NOT_HIT = 0, HIT = 1, HIT_AND_FAILED = 2 };

/* Makes a call in @child, a new process for each of the slabs' allocations. */
static void inject_in_child(struct __test_metadata *_metadata,
			    struct context *ctx,
			    int (*child)(struct context *ctx, int n))
{
	int missed = 0, end;

	ctx->hits = 0;
	ctx->failed = 0;
	take_state(ctx, &ctx->before);
	ASSERT_EQ(0, select_kind(SLABS));
	for (int n = 1; missed < MISSES; n++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			static struct context own;

			/* What the child changes there is not the parent's. */
			own = *ctx;
			own.nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
			_exit(child(&own, n));
		}
		end = ue_wait(pid);
		ASSERT_LE(0, end);
		ASSERT_GE(HIT_AND_FAILED, end)
			TH_LOG("allocation %d, the number is of the return in the child",
			       n);
		missed = end == NOT_HIT ? missed + 1 : 0;
		ctx->hits += end != NOT_HIT;
		ctx->failed += end == HIT_AND_FAILED;
		expect_unchanged(_metadata, ctx, "child", n);
	}
}

static void fault_require(struct __test_metadata *_metadata)
{
	if (access(FAIL_NTH, F_OK))
		SKIP(_exit(0), "no " FAIL_NTH ": CONFIG_FAULT_INJECTION_DEBUG_FS");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (access(wanted[i].file, F_OK))
			SKIP(_exit(0), "no %s: debugfs, all of CONFIG_FAULT_INJECTION",
			     wanted[i].file);
	}
}

static int reopen(struct context *ctx)
{
	close(ctx->fd);
	ctx->fd = ue_open();

	return ctx->fd < 0 ? ctx->fd : 0;
}

FIXTURE_SETUP(fault)
{
	struct context *ctx = &self->ctx;

	UE_REQUIRE();
	fault_require(_metadata);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct setting *setting = &ctx->settings[i];

		*setting = wanted[i];
		ASSERT_LT(0, ue_read(setting->file, setting->saved,
				     sizeof(setting->saved)));
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		ASSERT_EQ(0, ue_write(wanted[i].file, wanted[i].value));

	ctx->nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, ctx->nth);
	ctx->fd = ue_open();
	ASSERT_LE(0, ctx->fd);
	ctx->other = ue_open();
	ASSERT_LE(0, ctx->other);
	ctx->words = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(ctx->words != MAP_FAILED);
	memset(ctx->words, 0, page_size());
}

FIXTURE_TEARDOWN_PARENT(fault)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		EXPECT_EQ(0, ue_write(wanted[i].file,
				      self->ctx.settings[i].saved));
	if (*self->ctx.ft.dir) {
		char path[256];

		/* All else of it ended with the child. */
		snprintf(path, sizeof(path), UE_TRACEFS "/%s",
			 self->ctx.ft.dir);
		EXPECT_EQ(0, rmdir(path));
	}
	EXPECT_EQ(0, ue_sweep());
}

/*
 * An event that is traced throughout. What the first event of a system, and
 * the first that is switched on, bring along is not what the test is about:
 * ftrace does not check whether it could attach to sched_switch for names of
 * processes, and warns when it detaches from what it is not attached to.
 */
static int keep_one(struct context *ctx)
{
	int ret = ue_write("dynamic_events", "u:" KEEP);

	return ret ?: ue_switch(KEEP, 1);
}

static int map_shared(struct context *ctx)
{
	void *mem = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, ctx->other,
			 0);

	if (mem == MAP_FAILED)
		return -errno;

	ctx->shared = mem;

	return *ctx->shared ? -EBADMSG : 0;
}

static int nothing(struct context *ctx)
{
	return 0;
}

/* Registers, with an index on the file that is gone when it is undone. */
static int call_register(struct context *ctx)
{
	return ue_reg(ctx->fd, "fault_new" FIELDS, ctx->words, 3, NULL);
}

static int undo_register(struct context *ctx)
{
	return ue_unreg(ctx->fd, ctx->words, 3) ?: reopen(ctx);
}

UE_TEST_F(fault, register_new)
{
	const struct operation op = { call_register, undo_register };

	ASSERT_EQ(0, keep_one(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
}

/* There is no directory events/user_events yet. */
UE_TEST_F(fault, register_first)
{
	const struct operation op = { call_register, undo_register };

	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
	EXPECT_EQ(0, ue_active());
}

/* What is allocated once in the life of a process. */
static int register_in_child(struct context *ctx, int n)
{
	int ret, hit;

	ctx->fd = ue_open();
	if (fail_nth(ctx->nth, n))
		return 3;
	ret = call_register(ctx);
	hit = fail_nth_end(ctx->nth);
	if (ret && (ret != -ENOMEM || hit != 1))
		return 4;
	if (ret && ue_event_exists("fault_new"))
		return 5;
	if (ret && ue_unreg(ctx->fd, ctx->words, 3) != -ENOENT)
		return 6;
	if (ret && call_register(ctx))
		return 7;
	if (call_register(ctx) != -EADDRINUSE)
		return 8;
	if (ue_switch("fault_new", 1) || *ctx->words != 1U << 3)
		return 9;
	if (ue_switch("fault_new", 0) || *ctx->words)
		return 10;
	if (undo_register(ctx))
		return 11;

	return ret ? HIT_AND_FAILED : hit ? HIT : NOT_HIT;
}

UE_TEST_F(fault, first_of_a_process)
{
	ASSERT_EQ(0, keep_one(&self->ctx));
	close(self->ctx.fd);
	inject_in_child(_metadata, &self->ctx, register_in_child);
	EXPECT_LT(10, self->ctx.failed);
}

static int call_register_other(struct context *ctx)
{
	return ue_reg(ctx->other, "fault_old" FIELDS, ctx->words, 4, NULL);
}

static int undo_register_other(struct context *ctx)
{
	int ret = ue_unreg(ctx->other, ctx->words, 4);

	close(ctx->other);
	ctx->other = ue_open();

	return ret;
}

/* A word more for an event that is there and on, through another file. */
UE_TEST_F(fault, register_existing)
{
	const struct operation op = { call_register_other, undo_register_other };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, ue_reg(self->ctx.fd, "fault_old" FIELDS, self->ctx.words,
			    1, NULL));
	ASSERT_EQ(0, ue_switch("fault_old", 1));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(3, self->ctx.failed);
	EXPECT_EQ(1U << 1, *self->ctx.words);
}

static int call_register_word(struct context *ctx)
{
	return ue_reg(ctx->fd, "fault_old" FIELDS, &ctx->words[1], 4, NULL);
}

static int undo_register_word(struct context *ctx)
{
	return ue_unreg(ctx->fd, &ctx->words[1], 4);
}

/* The same through its file, which has the index already. */
UE_TEST_F(fault, register_second_word)
{
	const struct operation op = { call_register_word, undo_register_word };

	ASSERT_EQ(0, ue_reg(self->ctx.fd, "fault_old" FIELDS, self->ctx.words,
			    1, NULL));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LE(3, self->ctx.failed);
}

static int call_register_untouched(struct context *ctx)
{
	return ue_reg(ctx->fd, "fault_old" FIELDS, ctx->mapped, 4, NULL);
}

static int undo_register_untouched(struct context *ctx)
{
	int ret = ue_unreg(ctx->fd, ctx->mapped, 4);

	return madvise((void *)ctx->mapped, page_size(), MADV_DONTNEED) ?
		-errno : ret;
}

static int failed_untouched(struct context *ctx)
{
	return madvise((void *)ctx->mapped, page_size(), MADV_DONTNEED) ?
		-errno : 0;
}

/* The page of the word is not there, and there may be none to be had. */
UE_TEST_F(fault, register_untouched_page)
{
	const struct operation op = {
		call_register_untouched, undo_register_untouched,
		failed_untouched,
	};

	ASSERT_EQ(0, ue_write(DEBUGFS "fail_page_alloc/ignore-gfp-highmem",
			      "N"));
	self->ctx.mapped = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(self->ctx.mapped != MAP_FAILED);
	ASSERT_EQ(0, ue_reg(self->ctx.fd, "fault_old" FIELDS, self->ctx.words,
			    1, NULL));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LE(3, self->ctx.failed);
}

static int call_register_persist(struct context *ctx)
{
	return ue_reg_full(ctx->fd, "fault_persist" FIELDS,
			   USER_EVENT_REG_PERSIST, ctx->words, 4, 5, NULL);
}

static int undo_register_persist(struct context *ctx)
{
	return ue_unreg(ctx->fd, ctx->words, 5) ?: reopen(ctx) ?:
		ue_del(ctx->fd, "fault_persist");
}

/* A call that fails makes no event persistent. */
UE_TEST_F(fault, register_persist)
{
	const struct operation op = {
		call_register_persist, undo_register_persist,
	};

	ASSERT_EQ(0, keep_one(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
}

static int call_register_multi(struct context *ctx)
{
	return ue_reg_full(ctx->fd, "fault_multi" FIELDS,
			   USER_EVENT_REG_MULTI_FORMAT, ctx->words, 4, 5,
			   NULL);
}

static int undo_register_multi(struct context *ctx)
{
	return ue_unreg(ctx->fd, ctx->words, 5) ?: reopen(ctx);
}

UE_TEST_F(fault, register_multi_format)
{
	const struct operation op = { call_register_multi, undo_register_multi };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, ue_reg_full(self->ctx.other, "fault_multi u8 a",
				 USER_EVENT_REG_MULTI_FORMAT,
				 self->ctx.words, 4, 0, NULL));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
}

static int call_register_shared(struct context *ctx)
{
	return ue_reg(ctx->fd, "fault_old" FIELDS, ctx->shared, 6, NULL);
}

static int undo_register_shared(struct context *ctx)
{
	if (*ctx->shared != 1U << 6)
		return -EBADMSG;

	return ue_unreg(ctx->fd, ctx->shared, 6);
}

/* A word in a page of the kernel's, of an event that is on. */
UE_TEST_F(fault, register_in_page)
{
	const struct operation op = {
		call_register_shared, undo_register_shared,
	};

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, map_shared(&self->ctx));
	ASSERT_EQ(0, ue_reg(self->ctx.fd, "fault_old" FIELDS, self->ctx.words,
			    1, NULL));
	ASSERT_EQ(0, ue_switch("fault_old", 1));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(3, self->ctx.failed);
	EXPECT_EQ(0, *self->ctx.shared);
}

/* So many indexes of a file fit its first table, the next makes it grow. */
#define TABLE_INDEXES	(sizeof(long) == 8 ? 5 : 12)

static int fill_table(struct context *ctx)
{
	char name[32];
	int ret = 0;

	for (int i = 0; i < TABLE_INDEXES && !ret; i++) {
		snprintf(name, sizeof(name), "fault_index%d", i);
		ret = ue_reg(ctx->fd, name, &ctx->words[i], 0, NULL);
	}

	return ret;
}

static int call_register_next(struct context *ctx)
{
	return ue_reg(ctx->fd, KEEP, ctx->words, 7, &ctx->index);
}

static int undo_register_next(struct context *ctx)
{
	int ret = ctx->index != TABLE_INDEXES || ue_unreg(ctx->fd, ctx->words, 7);

	for (int i = 0; i < TABLE_INDEXES; i++)
		ret |= ue_unreg(ctx->fd, &ctx->words[i], 0);

	return (ret ? -EBADMSG : 0) ?: reopen(ctx) ?: fill_table(ctx);
}

UE_TEST_F(fault, index_table_grows)
{
	const struct operation op = { call_register_next, undo_register_next };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, fill_table(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(3, self->ctx.failed);
}

static int undo_unregister(struct context *ctx)
{
	return *ctx->words ? -EBADMSG : call_register(ctx);
}

static int call_unregister(struct context *ctx)
{
	return ue_unreg(ctx->fd, ctx->words, 3);
}

/* Takes no memory that could fail it. */
UE_TEST_F(fault, unregister)
{
	const struct operation op = { call_unregister, undo_unregister };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_register(&self->ctx));
	ASSERT_EQ(0, ue_switch("fault_new", 1));
	inject(_metadata, &self->ctx, &op);
	EXPECT_EQ(0, self->ctx.failed);
}

static int undo_unregister_last(struct context *ctx)
{
	if (ue_event_exists("fault_new"))
		return -EEXIST;

	return call_register(ctx) ?: reopen(ctx);
}

/* The event goes with it. */
UE_TEST_F(fault, unregister_last)
{
	const struct operation op = { call_unregister, undo_unregister_last };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_register(&self->ctx));
	ASSERT_EQ(0, reopen(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_EQ(0, self->ctx.failed);
}

static int register_words(struct context *ctx)
{
	int ret = 0;

	for (int i = 0; i < WORDS && !ret; i++)
		ret = ue_reg(ctx->fd, "fault_fork" FIELDS, i & 1 && ctx->shared ?
			     &ctx->shared[i] : &ctx->words[i], i, NULL);

	return ret;
}

static uint32_t *nth_word(struct context *ctx, int i)
{
	return i & 1 && ctx->shared ? &ctx->shared[i] : &ctx->words[i];
}

/* How many of the words are registered in this process. */
static int registered_words(struct context *ctx)
{
	int count = 0;

	for (int i = 0; i < WORDS; i++)
		count += ue_reg(ctx->fd, "fault_fork" FIELDS, nth_word(ctx, i),
				i, NULL) == -EADDRINUSE;

	return count;
}

/* A child's first change copies all that it has inherited. */
static int unregister_in_child(struct context *ctx, int n)
{
	int ret, hit;

	if (fail_nth(ctx->nth, n))
		return 3;
	ret = ue_unreg(ctx->fd, ctx->words, 0);
	hit = fail_nth_end(ctx->nth);
	if (ret && (ret != -ENOMEM || hit != 1))
		return 4;
	if (ret && registered_words(ctx) != WORDS)
		return 5;
	if (ret && (!*ctx->words || ue_unreg(ctx->fd, ctx->words, 0)))
		return 6;
	if (*ctx->words)
		return 7;
	for (int i = 1; i < WORDS; i++) {
		if (ue_unreg(ctx->fd, nth_word(ctx, i), i))
			return 8;
	}

	return ret ? HIT_AND_FAILED : hit ? HIT : NOT_HIT;
}

UE_TEST_F(fault, unregister_in_child)
{
	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, map_shared(&self->ctx));
	ASSERT_EQ(0, register_words(&self->ctx));
	ASSERT_EQ(0, ue_switch("fault_fork", 1));
	inject_in_child(_metadata, &self->ctx, unregister_in_child);
	EXPECT_LE(WORDS, self->ctx.failed);

	/* None of the children had the parent's. */
	EXPECT_EQ(WORDS, registered_words(&self->ctx));
	ASSERT_EQ(0, ue_switch("fault_fork", 0));
	/* Their page is as fork left it: they follow from the work item. */
	for (int i = 0; i < WORDS; i++)
		wait_word(nth_word(&self->ctx, i), 0);
}

static int call_fork(struct context *ctx)
{
	pid_t pid = fork();
	int wrong = 0;

	if (pid) {
		ctx->pid = pid;
		return pid < 0 ? -errno : 0;
	}

	for (int i = 0; i < WORDS; i++)
		wrong |= ue_unreg(ctx->fd, nth_word(ctx, i), i);
	if (wrong)
		_exit(1);

	/* It can have registrations of its own. */
	for (int i = 0; i < WORDS; i++)
		wrong |= ue_reg(ctx->fd, "fault_fork" FIELDS, nth_word(ctx, i),
				i, NULL);
	if (wrong || registered_words(ctx) != WORDS)
		_exit(2);
	if (ue_switch("fault_fork", 1))
		_exit(3);
	for (int i = 0; i < WORDS; i++)
		wrong |= *nth_word(ctx, i) != 1U << i;
	if (ue_switch("fault_fork", 0))
		_exit(4);
	for (int i = 0; i < WORDS; i++)
		wrong |= !!*nth_word(ctx, i);
	_exit(wrong ? 5 : 0);
}

static int undo_fork(struct context *ctx)
{
	return ue_wait(ctx->pid) ? -EBADMSG : 0;
}

UE_TEST_F(fault, fork)
{
	const struct operation op = { call_fork, undo_fork };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, map_shared(&self->ctx));
	ASSERT_EQ(0, register_words(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
	EXPECT_EQ(WORDS, registered_words(&self->ctx));
}

/* One allocation of fork is for the registrations: all of them, or no child. */
UE_TEST_F(fault, fork_without_registrations)
{
	struct context *ctx = &self->ctx;

	ASSERT_EQ(0, keep_one(ctx));
	ASSERT_EQ(0, map_shared(ctx));
	ASSERT_EQ(0, register_words(ctx));
	take_state(ctx, &ctx->before);
	ASSERT_EQ(0, select_kind(SLABS));
	ASSERT_EQ(0, select_function("user_event_mm_dup"));

	ASSERT_EQ(0, fail_nth(ctx->nth, 1));
	EXPECT_EQ(-ENOMEM, call_fork(ctx));
	EXPECT_EQ(1, fail_nth_end(ctx->nth));
	expect_unchanged(_metadata, ctx, "fork", 1);
	EXPECT_EQ(WORDS, registered_words(ctx));
}

static int call_mmap(struct context *ctx)
{
	void *mem = mmap(NULL, ctx->pages * page_size(), PROT_READ, MAP_SHARED,
			 ctx->fd, 0);

	if (mem == MAP_FAILED)
		return -errno;

	ctx->mapped = mem;

	return 0;
}

/* The pages are the file's: a new one has none. */
static int undo_mmap(struct context *ctx)
{
	uint32_t *last = ctx->mapped +
		(ctx->pages - 1) * page_size() / sizeof(*last);
	int ret;

	ret = *ctx->mapped || *last ? -EBADMSG : 0;
	if (munmap((void *)ctx->mapped, ctx->pages * page_size()))
		ret = -errno;

	return ret ?: reopen(ctx);
}

UE_TEST_F(fault, mmap)
{
	const struct operation op = { call_mmap, undo_mmap };
	static const int pages[] = { 1, 16 };

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		self->ctx.pages = pages[i];
		inject(_metadata, &self->ctx, &op);
		EXPECT_LT(pages[i], self->ctx.failed);
	}
}

static int call_open(struct context *ctx)
{
	close(ctx->fd);
	ctx->fd = ue_open();

	return ctx->fd < 0 ? ctx->fd : 0;
}

UE_TEST_F(fault, open)
{
	const struct operation op = { call_open, nothing };

	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(1, self->ctx.failed);
}

/* The file with the event of this name, and an instance that records it. */
static int trace_writes(struct context *ctx, const char *subbuf_kb)
{
	int ret = keep_one(ctx);

	ctx->payload = malloc(MAX_PAYLOAD);
	if (!ctx->payload)
		return -ENOMEM;
	fill_pattern(ctx->payload, MAX_PAYLOAD, 7);
	if (!ret)
		ret = ue_reg(ctx->fd, "fault_write u32 a", ctx->words, 0,
			     &ctx->index);
	if (!ret)
		ret = ft_create(&ctx->ft, "fault");
	if (!ret && subbuf_kb)
		ret = ft_set(&ctx->ft, "buffer_subbuf_size_kb", subbuf_kb) ?:
			ft_open_raw(&ctx->ft);
	ctx->before.no_losses = true;
	ctx->now.no_losses = true;

	return ret ?: ft_switch(&ctx->ft, "fault_write", 1);
}

static int written(struct context *ctx, ssize_t ret, size_t size)
{
	if (ret < 0)
		return ret;

	return ret == (ssize_t)size ? 0 : -EIO;
}

static int call_writev(struct context *ctx)
{
	return written(ctx, emit(ctx->fd, ctx->index, ctx->payload, ctx->size),
		       4 + ctx->size);
}

static int call_write(struct context *ctx)
{
	ssize_t ret;

	memcpy(ctx->payload, &ctx->index, 4);
	ret = write(ctx->fd, ctx->payload, 4 + ctx->size);

	return written(ctx, ret < 0 ? -errno : ret, 4 + ctx->size);
}

static int got_writev(struct context *ctx)
{
	return ft_got(&ctx->ft, ctx->payload, ctx->size) == 1 ? 0 : -EBADMSG;
}

static int got_write(struct context *ctx)
{
	return ft_got(&ctx->ft, ctx->payload + 4, ctx->size) == 1 ? 0 :
								    -EBADMSG;
}

static int got_none(struct context *ctx)
{
	return ft_drain(&ctx->ft) ? -EBADMSG : 0;
}

static void inject_writes(struct __test_metadata *_metadata,
			  struct context *ctx, const struct operation *op,
			  const size_t *sizes, int count)
{
	int failed = 0;

	for (int i = 0; i < count; i++) {
		ctx->size = sizes[i];
		inject(_metadata, ctx, op);
		EXPECT_LT(0, ctx->hits)
			TH_LOG("%zu bytes", sizes[i]);
		failed += ctx->failed;
	}

	/* What was refused is lost, and nothing else is. */
	EXPECT_LT(0, failed);
	EXPECT_EQ(failed, event_lost("fault_write", "ftrace", "no_memory"));
	EXPECT_EQ(0, event_lost("fault_write", "ftrace", "full"));
	EXPECT_EQ(0, event_lost("fault_write", "ftrace", "too_big"));
}

/* More than a page falls back to other memory, up to that it is ENOMEM. */
UE_TEST_F(fault, write)
{
	const struct operation op = { call_write, got_write, got_none };
	static const size_t sizes[] = { 1100, 2000, 3000, 5000, 20000, 60000 };

	ASSERT_EQ(0, trace_writes(&self->ctx, SUBBUF_KB));
	inject_writes(_metadata, &self->ctx, &op, sizes, ARRAY_SIZE(sizes));
}

UE_TEST_F(fault, writev)
{
	const struct operation op = { call_writev, got_writev, got_none };
	static const size_t sizes[] = { 1100, 2000, 3000 };

	ASSERT_EQ(0, trace_writes(&self->ctx, NULL));
	inject_writes(_metadata, &self->ctx, &op, sizes, ARRAY_SIZE(sizes));
}

/* Two records that take no memory around one that does. */
static const uint32_t batch_payload[] = { 20, 2000, 20 };

static int call_batch(struct context *ctx)
{
	static char batch[4096];
	uint32_t head = USER_EVENT_WRITE_BATCH;
	size_t len = sizeof(head), first = 0;
	ssize_t ret;

	memcpy(batch, &head, sizeof(head));
	for (size_t i = 0; i < ARRAY_SIZE(batch_payload); i++) {
		uint32_t record[] = { 8 + batch_payload[i], ctx->index };

		memcpy(batch + len, record, sizeof(record));
		memcpy(batch + len + sizeof(record), ctx->payload,
		       batch_payload[i]);
		len += record[0];
		if (!i)
			first = len;
	}
	ret = write(ctx->fd, batch, len);
	if (ret == (ssize_t)first)
		return -ENOMEM;

	return written(ctx, ret < 0 ? -errno : ret, len);
}

static int got_batch(struct context *ctx)
{
	struct record rec;

	for (size_t i = 0; i < ARRAY_SIZE(batch_payload); i++) {
		if (ft_next(&ctx->ft, &rec) != 1 ||
		    !record_is(&rec, ctx->payload, batch_payload[i]))
			return -EBADMSG;
	}

	return got_none(ctx);
}

static int got_first(struct context *ctx)
{
	return ft_got(&ctx->ft, ctx->payload, batch_payload[0]) == 1 ? 0 :
		-EBADMSG;
}

/* The count says that the second record was not dealt with. */
UE_TEST_F(fault, batch)
{
	const struct operation op = { call_batch, got_batch, got_first };

	ASSERT_EQ(0, trace_writes(&self->ctx, NULL));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(0, self->ctx.failed);
	EXPECT_EQ(self->ctx.failed,
		  event_lost("fault_write", "ftrace", "no_memory"));
}

static int call_enable(struct context *ctx)
{
	return ue_switch("fault_fork", 1);
}

static int undo_enable(struct context *ctx)
{
	for (int i = 0; i < WORDS; i++) {
		if (*nth_word(ctx, i) != 1U << i)
			return -EBADMSG;
	}

	return ue_switch("fault_fork", 0);
}

UE_TEST_F(fault, enable)
{
	const struct operation op = { call_enable, undo_enable };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, map_shared(&self->ctx));
	ASSERT_EQ(0, register_words(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(1, self->ctx.failed);
}

static int call_disable(struct context *ctx)
{
	return write(ctx->enable, "0", 1) == 1 ? 0 : -errno;
}

static int undo_disable(struct context *ctx)
{
	/* The other instance keeps it on, and on its own can end that. */
	if (*ctx->words != 1 || ue_switch("fault_write", 0) || *ctx->words)
		return -EBADMSG;
	if (ue_switch("fault_write", 1) || *ctx->words != 1)
		return -EBADMSG;

	return ft_switch(&ctx->ft, "fault_write", 1);
}

/* One of two instances lets go, which takes no memory and cannot fail. */
UE_TEST_F(fault, disable)
{
	const struct operation op = { call_disable, undo_disable };

	ASSERT_EQ(0, trace_writes(&self->ctx, NULL));
	ASSERT_EQ(0, ue_switch("fault_write", 1));
	self->ctx.enable = ue_open_file(ft_event_path(&self->ctx.ft,
						      "fault_write", "enable"),
					O_WRONLY);
	ASSERT_LE(0, self->ctx.enable);
	inject(_metadata, &self->ctx, &op);
	EXPECT_EQ(0, self->ctx.hits);
	EXPECT_EQ(0, self->ctx.failed);
}

static int call_perf(struct context *ctx)
{
	return pf_open(&ctx->pf, ctx->index, 0, -1, 0);
}

static int undo_perf(struct context *ctx)
{
	bool on = *ctx->words == 1U << 3;

	pf_close(&ctx->pf);

	return on && !*ctx->words ? 0 : -EBADMSG;
}

UE_TEST_F(fault, perf_event_open)
{
	const struct operation op = { call_perf, undo_perf };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_register(&self->ctx));
	self->ctx.index = event_id("fault_new");
	ASSERT_LT(0, self->ctx.index);
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(2, self->ctx.failed);
}

#define INSTANCE	UE_TRACEFS "/instances/ue_fault"

static int call_instance(struct context *ctx)
{
	return mkdir(INSTANCE, 0700) ? -errno : 0;
}

static int undo_instance(struct context *ctx)
{
	return rmdir(INSTANCE) ? -errno : 0;
}

/*
 * Ours are some of many events that get a directory, which ftrace leaves out
 * if there is no memory for it, and says so on the console only. Nothing of
 * that is in our code: some of the thousands of allocations will do.
 */
UE_TEST_F(fault, instance)
{
	const struct operation op = {
		.call = call_instance,
		.undo = undo_instance,
		.stride = 197,
	};

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_register(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(0, self->ctx.failed);
}

/* A call that succeeded has put the event into the instance. */
static int undo_register_in_instance(struct context *ctx)
{
	int ret = ft_switch(&ctx->ft, "fault_new", 1);

	if (!ret && *ctx->words != 1U << 3)
		ret = -EIO;

	return ret ?: ft_switch(&ctx->ft, "fault_new", 0) ?: undo_register(ctx);
}

UE_TEST_F(fault, register_with_an_instance)
{
	const struct operation op = { call_register, undo_register_in_instance };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, ft_create(&self->ctx.ft, "fault"));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
}

#define GROUP		"fault_group"

static int call_group(struct context *ctx)
{
	return group_make(GROUP);
}

static int undo_group(struct context *ctx)
{
	return group_remove(GROUP);
}

static int failed_group(struct context *ctx)
{
	return access(group_full_path(GROUP, ""), F_OK) ? 0 : -EEXIST;
}

/* Whatever is made last, nothing is left of what was made before. */
UE_TEST_F(fault, group)
{
	const struct operation op = {
		.call = call_group,
		.undo = undo_group,
		.failed = failed_group,
	};

	ASSERT_EQ(0, keep_one(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
	group_sweep(GROUP);
}

/* To open one, to create an event in it, and to remove it with the event. */
static int call_in_group(struct context *ctx)
{
	int fd = group_open(GROUP);

	if (fd < 0)
		return fd;
	close(fd);

	return ue_write("dynamic_events", "u:user_events_" GROUP "/fault_dyn" FIELDS);
}

static int undo_in_group(struct context *ctx)
{
	return ue_write("dynamic_events", "-:user_events_" GROUP "/fault_dyn");
}

UE_TEST_F(fault, event_in_group)
{
	const struct operation op = { call_in_group, undo_in_group };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, group_make(GROUP));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
	EXPECT_EQ(0, group_remove(GROUP));
}

static int call_group_remove(struct context *ctx)
{
	return group_remove(GROUP);
}

static int undo_group_remove(struct context *ctx)
{
	return group_make(GROUP) ?: call_in_group(ctx);
}

UE_TEST_F(fault, group_remove)
{
	const struct operation op = { call_group_remove, undo_group_remove };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, undo_group_remove(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_EQ(0, group_remove(GROUP));
}

#define PERSISTENT	"fault_dyn" FIELDS

static int call_create(struct context *ctx)
{
	return ue_write("dynamic_events", "u:" PERSISTENT);
}

static int call_delete(struct context *ctx)
{
	return ue_del(ctx->fd, "fault_dyn");
}

UE_TEST_F(fault, dynamic_events_create)
{
	const struct operation op = { call_create, call_delete };

	ASSERT_EQ(0, keep_one(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(10, self->ctx.failed);
}

UE_TEST_F(fault, delete)
{
	const struct operation op = { call_delete, call_create };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_create(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(0, self->ctx.failed);
}

static int call_dynamic_delete(struct context *ctx)
{
	return ue_write("dynamic_events", "-:user_events/fault_dyn");
}

UE_TEST_F(fault, dynamic_events_delete)
{
	const struct operation op = { call_dynamic_delete, call_create };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_create(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(0, self->ctx.failed);
}

static int call_dynamic_delete_fields(struct context *ctx)
{
	int ret = ue_write("dynamic_events", "-:user_events/" PERSISTENT);

	/*
	 * dynamic_events asks only whether an event is the one: without memory
	 * for the fields in the line, none is.
	 */
	return ret == -ENOENT ? -ENOMEM : ret;
}

UE_TEST_F(fault, dynamic_events_delete_by_fields)
{
	const struct operation op = { call_dynamic_delete_fields, call_create };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_create(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(0, self->ctx.failed);
}

static int call_read_status(struct context *ctx)
{
	static char text[4096];
	int ret = ue_read(UE_STATUS, text, sizeof(text));

	if (ret < 0)
		return ret;

	return strcmp(text, ctx->before.status) ? -EBADMSG : 0;
}

UE_TEST_F(fault, status)
{
	const struct operation op = { call_read_status, nothing };

	ASSERT_EQ(0, keep_one(&self->ctx));
	ASSERT_EQ(0, call_create(&self->ctx));
	inject(_metadata, &self->ctx, &op);
	EXPECT_LT(1, self->ctx.failed);
}

TEST_HARNESS_MAIN
