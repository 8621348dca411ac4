// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what: users that the files are opened to, capabilities one by
 * one, user namespaces, files that are passed on, and who pays for memory.
 */
#include <grp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/capability.h>

#include "consumer.h"
#include "process.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON	38
#endif

/* Nobody's. */
#define USER		65534
#define GROUP		54321
#define OTHER_GROUP	54322

/* A file of tracefs as it was, for the end of the test. */
struct saved {
	const char *path;
	struct stat stat;
};

struct context {
	int fd;			/* opened by root */
	int dynamic;		/* dynamic_events, likewise */
	int index;		/* perm_root on @fd, which @ft records */
	int sock[2];
	uint32_t *words;	/* private memory */
	struct saved saved[4];
	struct ft ft;
	int line;		/* where a child failed */
	char cgroup[64];
};

FIXTURE(permission) {
	struct context ctx;
};

/* Becomes somebody else, in @group, and keeps no capability but one. */
static int become(uid_t user, gid_t group, int cap, bool effective)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {};

	if (setgroups(0, NULL) || setresgid(group, group, group) ||
	    prctl(PR_SET_KEEPCAPS, 1) || setresuid(user, user, user))
		return -errno;

	if (cap >= 0) {
		data[cap / 32].permitted = 1U << cap % 32;
		if (effective)
			data[cap / 32].effective = 1U << cap % 32;
	}

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static int save(struct context *ctx, int nr, const char *path)
{
	if (stat(path, &ctx->saved[nr].stat))
		return -errno;

	ctx->saved[nr].path = path;

	return 0;
}

/* As an administrator lets a group emit events. */
static int open_to_group(struct context *ctx)
{
	if (chmod(UE_TRACEFS, 0755) || chown(UE_DATA, 0, GROUP) ||
	    chmod(UE_DATA, 0660))
		return -errno;

	return 0;
}

static bool open_is(const char *file, int flags, int error)
{
	int fd = ue_open_file(file, flags);

	if (fd >= 0)
		close(fd);

	return fd < 0 ? fd == error : !error;
}

/* perm_root is persistent, known to root's file, and traced. */
static int trace_event(struct context *ctx)
{
	int ret = ue_write("dynamic_events", "u:perm_root u32 a");

	if (!ret)
		ret = ue_reg(ctx->fd, "perm_root u32 a", ctx->words, 0,
			     &ctx->index);
	if (!ret)
		ret = ft_create(&ctx->ft, "permission");

	return ret ?: ft_switch(&ctx->ft, "perm_root", 1);
}

FIXTURE_SETUP(permission)
{
	struct context *ctx = &self->ctx;

	UE_REQUIRE();
	ASSERT_EQ(0, save(ctx, 0, UE_TRACEFS));
	ASSERT_EQ(0, save(ctx, 1, UE_DATA));
	ASSERT_EQ(0, save(ctx, 2, UE_STATUS));
	ASSERT_EQ(0, save(ctx, 3, UE_TRACEFS "/dynamic_events"));
	ctx->fd = ue_open();
	ASSERT_LE(0, ctx->fd);
	ctx->dynamic = ue_open_file("dynamic_events", O_WRONLY);
	ASSERT_LE(0, ctx->dynamic);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				ctx->sock));
	ctx->words = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(ctx->words != MAP_FAILED);
	memset(ctx->words, 0, page_size());
}

FIXTURE_TEARDOWN_PARENT(permission)
{
	struct context *ctx = &self->ctx;
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(ctx->saved); i++) {
		struct saved *saved = &ctx->saved[i];

		EXPECT_EQ(0, chown(saved->path, saved->stat.st_uid,
				   saved->stat.st_gid));
		EXPECT_EQ(0, chmod(saved->path, saved->stat.st_mode & 07777));
	}
	if (*ctx->ft.dir) {
		/* All else of it ended with the child. */
		snprintf(path, sizeof(path), UE_TRACEFS "/%s", ctx->ft.dir);
		EXPECT_EQ(0, rmdir(path));
	}
	EXPECT_EQ(0, ue_sweep());
}

/* For children: notes the first line that goes wrong, and skips the rest. */
#define CHECK(what) (ctx->line = ctx->line ?: (what) ? 0 : __LINE__)

/* Returns the line, or 0. The context is shared with the child. */
static int run_child(struct context *ctx, int (*child)(struct context *ctx))
{
	pid_t pid;
	int ret;

	ctx->line = 0;
	pid = fork();
	if (!pid)
		_exit(!!child(ctx));
	ret = pid < 0 ? -errno : ue_wait(pid);

	return ctx->line ?: ret;
}

#define EXPECT_CHILD(child) do {					\
	int line = run_child(&self->ctx, child);			\
									\
	EXPECT_EQ(0, line)						\
		TH_LOG("what failed is in line %d", line);		\
} while (0)

/* The modes that files have when nobody has changed them. */
UE_TEST_F(permission, modes)
{
	const struct saved *saved = self->ctx.saved;

	EXPECT_EQ(0640, saved[1].stat.st_mode & 07777);
	EXPECT_EQ(0440, saved[2].stat.st_mode & 07777);
	for (int i = 1; i < 3; i++)
		EXPECT_EQ(0, saved[i].stat.st_uid);
}

static int opens_nothing(struct context *ctx)
{
	CHECK(!become(USER, OTHER_GROUP, -1, false));
	CHECK(open_is("user_events_data", O_RDWR, -EACCES));
	CHECK(open_is("user_events_data", O_WRONLY, -EACCES));
	CHECK(open_is("user_events_data", O_RDONLY, -EACCES));
	CHECK(open_is("user_events_status", O_RDONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_WRONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_RDONLY, -EACCES));
	CHECK(open_is(UE_MAX, O_WRONLY, -EACCES));
	CHECK(open_is("events/user_events/perm_root/enable", O_WRONLY,
		      -EACCES));

	return ctx->line;
}

/* No capability of ours is a right to open: CAP_PERFMON is for what follows. */
static int opens_nothing_with_perfmon(struct context *ctx)
{
	CHECK(!become(USER, OTHER_GROUP, CAP_PERFMON, true));
	CHECK(open_is("user_events_data", O_RDWR, -EACCES));
	CHECK(open_is("user_events_status", O_RDONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_WRONLY, -EACCES));

	return ctx->line;
}

/* With search permission on the way, and without. */
UE_TEST_F(permission, other_users)
{
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_root u32 a"));
	ASSERT_EQ(0, chmod(UE_TRACEFS, 0700));
	EXPECT_CHILD(opens_nothing);
	ASSERT_EQ(0, open_to_group(&self->ctx));
	EXPECT_CHILD(opens_nothing);
	EXPECT_CHILD(opens_nothing_with_perfmon);
}

/* What takes CAP_PERFMON, which the caller has not. */
static int is_not_perfmon(struct context *ctx, int fd)
{
	const unsigned int multi = USER_EVENT_REG_MULTI_FORMAT;
	const unsigned int persist = USER_EVENT_REG_PERSIST;
	uint32_t *word = &ctx->words[1];

	CHECK(ue_reg_full(fd, "perm_new u32 a", persist, word, 4, 0, NULL) ==
	      -EPERM);
	CHECK(ue_reg_full(fd, "perm_new u32 a", persist | multi, word, 4, 0,
			  NULL) == -EPERM);
	CHECK(ue_reg_full(fd, "perm_root u32 a", persist, word, 4, 0, NULL) ==
	      -EPERM);
	CHECK(ue_unreg(fd, word, 0) == -ENOENT);
	/* The command is read first, but not looked into. */
	CHECK(ue_reg_full(fd, NULL, persist, word, 4, 0, NULL) == -EFAULT);
	CHECK(ue_reg_full(fd, "perm_new u99 a", persist, word, 4, 0, NULL) ==
	      -EPERM);
	CHECK(!ue_reg(fd, "perm_root u32 a", word, 0, NULL));
	CHECK(ue_reg_full(fd, "perm_root u32 a", persist, word, 4, 0, NULL) ==
	      -EADDRINUSE);
	CHECK(!ue_unreg(fd, word, 0));
	CHECK(ue_del(fd, "perm_idle") == -EPERM);
	CHECK(ue_del(fd, "perm_new") == -ENOENT);
	CHECK(write(ctx->dynamic, "u:perm_new u32 a", 16) == -1 &&
	      errno == EPERM);
	CHECK(write(ctx->dynamic, "-:user_events/perm_idle", 23) == -1 && errno == EPERM);

	return ctx->line;
}

/* Everything that events are for. */
static int emits(struct context *ctx, int fd)
{
	struct { uint32_t index, a; } event = { .a = 4711 };
	uint32_t *word = &ctx->words[1], *shared;
	int index;

	CHECK(!ue_reg(fd, "perm_root u32 a", word, 7, &index));
	CHECK(*word == 1U << 7);
	event.index = index;
	CHECK(write(fd, &event, sizeof(event)) == sizeof(event));
	CHECK(!ue_reg_full(fd, "perm_own u32 a", USER_EVENT_REG_MULTI_FORMAT,
			   word, 4, 8, NULL));
	CHECK(!ue_reg_full(fd, "perm_own u32 a", USER_EVENT_REG_REPORT_LOSS,
			   word, 4, 9, &index));
	event.index = index;
	CHECK(write(fd, &event, sizeof(event)) == -1 && errno == EBADF);
	CHECK(ue_del(fd, "perm_own") == -EBUSY);

	shared = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED);
	CHECK(!ue_reg(fd, "perm_root u32 a", shared, 3, NULL));
	CHECK(*shared == 1U << 3);
	CHECK(!ue_unreg(fd, shared, 3));
	for (int bit = 7; bit <= 9; bit++)
		CHECK(!ue_unreg(fd, word, bit));
	CHECK(!*word && !*shared);

	return ctx->line;
}

static int member_of_group(struct context *ctx)
{
	int fd, ret;

	CHECK(!become(USER, GROUP, -1, false));
	CHECK(open_is("user_events_status", O_RDONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_WRONLY, -EACCES));
	fd = ue_open();
	CHECK(fd >= 0);
	ret = is_not_perfmon(ctx, fd);

	return ret ?: emits(ctx, fd);
}

UE_TEST_F(permission, group)
{
	const uint32_t payload = 4711;

	ASSERT_EQ(0, trace_event(&self->ctx));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_idle"));
	ASSERT_EQ(0, open_to_group(&self->ctx));
	EXPECT_CHILD(member_of_group);
	EXPECT_EQ(1, ft_got(&self->ctx.ft, &payload, sizeof(payload)));

	/* It has left nothing, and changed nothing. */
	EXPECT_EQ(2, ue_active());
	EXPECT_EQ(1, ue_event_exists("perm_idle"));
	EXPECT_EQ(1, self->ctx.words[0]);
}

static int member_is_perfmon(struct context *ctx)
{
	uint32_t *word = &ctx->words[1];
	int fd;

	CHECK(!become(USER, GROUP, CAP_PERFMON, true));
	fd = ue_open();
	CHECK(fd >= 0);
	CHECK(!ue_reg_full(fd, "perm_new u32 a", USER_EVENT_REG_PERSIST, word,
			   4, 0, NULL));
	CHECK(!ue_unreg(fd, word, 0));
	CHECK(!ue_del(fd, "perm_idle"));
	CHECK(write(ctx->dynamic, "u:perm_idle", 11) == 11);
	CHECK(write(ctx->dynamic, "-:user_events/perm_idle", 23) == 23);

	/* That is all it stands for. */
	CHECK(open_is("user_events_status", O_RDONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_WRONLY, -EACCES));

	return ctx->line;
}

UE_TEST_F(permission, group_with_perfmon)
{
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_idle"));
	ASSERT_EQ(0, open_to_group(&self->ctx));
	EXPECT_CHILD(member_is_perfmon);
	EXPECT_EQ(1, ue_event_exists("perm_new"));
	EXPECT_EQ(0, ue_event_exists("perm_idle"));
	EXPECT_EQ(0, ue_del(self->ctx.fd, "perm_new"));
}

/* The capability counts, not the user, and only when it is in effect. */
static int not_in_effect(struct context *ctx)
{
	CHECK(!become(USER, GROUP, CAP_PERFMON, false));

	return is_not_perfmon(ctx, ctx->fd);
}

static int root_without(struct context *ctx)
{
	CHECK(!become(0, 0, -1, false));

	return is_not_perfmon(ctx, ctx->fd);
}

static int with_others(struct context *ctx)
{
	CHECK(!become(USER, GROUP, CAP_DAC_OVERRIDE, true));
	CHECK(open_is("user_events_data", O_RDWR, 0));

	return is_not_perfmon(ctx, ctx->fd);
}

/* As it was before there was CAP_PERFMON. */
static int with_sys_admin(struct context *ctx)
{
	CHECK(!become(USER, GROUP, CAP_SYS_ADMIN, true));
	CHECK(!ue_del(ctx->fd, "perm_idle"));

	return ctx->line;
}

UE_TEST_F(permission, capabilities)
{
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_root u32 a"));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_idle"));
	EXPECT_CHILD(not_in_effect);
	EXPECT_CHILD(root_without);
	EXPECT_CHILD(with_others);
	EXPECT_EQ(2, ue_active());
	EXPECT_CHILD(with_sys_admin);
	EXPECT_EQ(1, ue_active());
}

/* Whoever makes a user namespace has every capability, in there. */
static int in_user_namespace(struct context *ctx)
{
	int ret;

	CHECK(!unshare(CLONE_NEWUSER));
	ret = is_not_perfmon(ctx, ctx->fd);

	return ret ?: emits(ctx, ctx->fd);
}

static int user_in_user_namespace(struct context *ctx)
{
	int fd, ret;

	CHECK(!become(USER, GROUP, -1, false));
	CHECK(!unshare(CLONE_NEWUSER));

	/* The files see who was let in by the namespace that they are of. */
	fd = ue_open();
	CHECK(fd >= 0);
	CHECK(open_is("user_events_status", O_RDONLY, -EACCES));
	CHECK(open_is("dynamic_events", O_WRONLY, -EACCES));
	ret = is_not_perfmon(ctx, fd);

	return ret ?: emits(ctx, fd);
}

UE_TEST_F(permission, user_namespace)
{
	if (access("/proc/self/ns/user", F_OK))
		SKIP(return, "no user namespaces: CONFIG_USER_NS");

	ASSERT_EQ(0, trace_event(&self->ctx));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_idle"));
	EXPECT_CHILD(in_user_namespace);
	EXPECT_EQ(1, ft_drain(&self->ctx.ft));
	ASSERT_EQ(0, open_to_group(&self->ctx));
	EXPECT_CHILD(user_in_user_namespace);
	EXPECT_EQ(1, ft_drain(&self->ctx.ft));
}

/* The child has other memory: what it inherited is not the parent's. */
static int others_words(struct context *ctx)
{
	CHECK(!become(USER, GROUP, -1, false));
	CHECK(!ue_unreg(ctx->fd, ctx->words, 0));
	CHECK(ue_unreg(ctx->fd, ctx->words, 0) == -ENOENT);
	CHECK(!*ctx->words);

	return ctx->line;
}

UE_TEST_F(permission, words_of_others)
{
	ASSERT_EQ(0, trace_event(&self->ctx));
	EXPECT_CHILD(others_words);
	EXPECT_EQ(1, self->ctx.words[0]);
	ASSERT_EQ(0, ft_switch(&self->ctx.ft, "perm_root", 0));
	/* Its page is that of the child as well, so it follows. */
	wait_word(&self->ctx.words[0], 0);
	EXPECT_EQ(0, ue_unreg(self->ctx.fd, self->ctx.words, 0));
}

/*
 * Runs in a process that was there before its parent registered anything, as
 * a user that could not open the file. Both have a word at the same address.
 */
static int receiver(struct context *ctx)
{
	struct { uint32_t index, a; } event = { .index = 0, .a = 1 };
	int sock = ctx->sock[1], fd, own, index;

	close(ctx->sock[0]);
	close(ctx->fd);
	CHECK(!become(USER, OTHER_GROUP, -1, false));
	CHECK(open_is("user_events_data", O_RDWR, -EACCES));
	fd = receive_fd(sock);
	CHECK(fd >= 0);
	is_not_perfmon(ctx, fd);

	/* Indexes are the file's. Words are the process's: it has none yet. */
	CHECK(write(fd, &event, sizeof(event)) == sizeof(event));
	event.index = 1;
	CHECK(write(fd, &event, sizeof(event)) == -1 && errno == ENOENT);
	CHECK(ue_unreg(fd, ctx->words, 0) == -ENOENT);
	CHECK(!*ctx->words);

	/* Registered, it is this process's word that shows the event. */
	CHECK(!ue_reg(fd, "perm_root u32 a", ctx->words, 5, &index));
	CHECK(!index && *ctx->words == 1U << 5);
	CHECK(!ue_reg(fd, "perm_passed", ctx->words, 6, &index));
	CHECK(index == 1);
	CHECK(!tell(sock) && !hear(sock));

	/* The other side has closed its file, and unregistered its word. */
	CHECK(*ctx->words == 1U << 5);
	event.index = 0;
	event.a = 2;
	CHECK(write(fd, &event, sizeof(event)) == sizeof(event));
	own = dup(fd);
	CHECK(own >= 0 && !close(fd));
	event.a = 3;
	CHECK(write(own, &event, sizeof(event)) == sizeof(event));
	CHECK(!ue_unreg(own, ctx->words, 5) && !*ctx->words);
	CHECK(!tell(sock) && !hear(sock));

	return ctx->line;
}

UE_TEST_F(permission, passed_file)
{
	struct context *ctx = &self->ctx;
	uint32_t payload;
	pid_t pid;

	/* Both sides write on the CPU that is read. */
	ASSERT_LE(0, pin_cpu(-1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(!!receiver(ctx));
	}
	close(ctx->sock[1]);
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_idle"));
	ASSERT_EQ(0, trace_event(ctx));
	ASSERT_EQ(0, ctx->index);
	ASSERT_EQ(0, send_fd(ctx->sock[0], ctx->fd));

	ASSERT_EQ(0, hear(ctx->sock[0]));
	EXPECT_EQ(1, ctx->words[0]);
	payload = 1;
	EXPECT_EQ(1, ft_got(&ctx->ft, &payload, sizeof(payload)));

	/* What the other one registered is an index here, and no word. */
	EXPECT_EQ(-EBADF, emit(ctx->fd, 1, NULL, 0));
	EXPECT_EQ(-ENOENT, ue_unreg(ctx->fd, ctx->words, 5));
	EXPECT_EQ(0, ue_unreg(ctx->fd, ctx->words, 0));
	EXPECT_EQ(0, ctx->words[0]);
	close(ctx->fd);

	ASSERT_EQ(0, tell(ctx->sock[0]));
	ASSERT_EQ(0, hear(ctx->sock[0]));
	for (payload = 2; payload <= 3; payload++) {
		struct record rec;

		ASSERT_EQ(1, ft_next(&ctx->ft, &rec));
		EXPECT_TRUE(record_is(&rec, &payload, sizeof(payload)));
	}
	EXPECT_EQ(0, ft_drain(&ctx->ft));
	EXPECT_EQ(1, ue_event_exists("perm_passed"));
	ASSERT_EQ(0, tell(ctx->sock[0]));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("what failed is in line %d", ctx->line);
	EXPECT_EQ(0, ue_event_exists("perm_passed"));
}

/*
 * Counts what the kernel says from now on. Lines of others are let be: others
 * may have reason to print.
 */
static int kernel_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);

	return fd < 0 ? -errno : fd;
}

static int complaints(int log, const char * const *words)
{
	char text[8192];
	int count = 0;
	ssize_t len;

	/* EPIPE: there were more lines than the log holds. */
	while ((len = read(log, text, sizeof(text) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		bool found = len < 0;

		text[len > 0 ? len : 0] = '\0';
		for (int i = 0; words[i]; i++)
			found |= !!strstr(text, words[i]);
		count += found;
	}

	return count;
}

#define TOO_BIG_ROUNDS	200

static const char * const any_word[] = {
	"user_event", "perf buffer", "WARNING:", "BUG:", NULL,
};

/* Nothing an unprivileged writer sends makes the kernel talk. */
static int writes_too_much(struct context *ctx)
{
	static char payload[MAX_PAYLOAD];
	int fd, index = -1;

	CHECK(!become(USER, GROUP, -1, false));
	fd = ue_open();
	CHECK(fd >= 0);
	CHECK(!ue_reg(fd, "perm_root u32 a", &ctx->words[1], 0, &index));
	for (int i = 0; i < TOO_BIG_ROUNDS; i++) {
		size_t size = MAX_PAYLOAD - i % 7;

		CHECK(emit(fd, index, payload, size) == -E2BIG);
		CHECK(emit(fd, index, payload, 3) == -EINVAL);
		CHECK(emit(fd, index + 1, payload, 8) == -ENOENT);
		CHECK(emit(fd, -1, payload, 8) == -EINVAL);
		CHECK(emit(fd, index, NULL, 8) == -EFAULT);
	}
	CHECK(!ue_unreg(fd, &ctx->words[1], 0));

	return ctx->line;
}

UE_TEST_F(permission, too_big_from_anybody)
{
	struct pf pf;
	int log = kernel_log();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, trace_event(&self->ctx));
	ASSERT_EQ(0, open_to_group(&self->ctx));
	ASSERT_EQ(0, pf_open(&pf, event_id("perm_root"), -1, self->ctx.ft.cpu,
			     pf_pages(256)));
	EXPECT_CHILD(writes_too_much);
	EXPECT_EQ(0, complaints(log, any_word));
	EXPECT_EQ(0, ft_drain(&self->ctx.ft));
	EXPECT_EQ(0, pf_drain(&pf));
	EXPECT_EQ(TOO_BIG_ROUNDS, event_lost("perm_root", "ftrace", "too_big"));
	EXPECT_EQ(TOO_BIG_ROUNDS, event_lost("perm_root", "perf", "too_big"));
	pf_close(&pf);
}

/*
 * Memory: a control group that is at its limit gets no more of it through us,
 * and only that group.
 */
#define LIMIT		0x100000
#define PAGES		16
#define WORDS		0x8000

FIXTURE(memory) {
	struct context ctx;
};

FIXTURE_VARIANT(memory) {
	int (*child)(struct context *ctx);
};

/* Each takes several times the limit, or returns the errno that ended it. */
static int maps_without_end(struct context *ctx)
{
	const int count = 4 * LIMIT / (PAGES * page_size());

	/* The pages stay as long as they are mapped. */
	for (int i = 0; i < count; i++) {
		int fd = ue_open();

		if (fd < 0)
			return -fd;
		if (mmap(NULL, PAGES * page_size(), PROT_READ, MAP_SHARED, fd,
			 0) == MAP_FAILED)
			return errno;
		close(fd);
	}

	return 0;
}

static int registers_without_end(struct context *ctx)
{
	uint32_t *words = mmap(NULL, WORDS / 8, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < WORDS; i++) {
		int ret = ue_reg(ctx->fd, "perm_root u32 a", &words[i / 32],
				 i % 32, NULL);

		if (ret)
			return -ret;
	}

	return 0;
}

FIXTURE_VARIANT_ADD(memory, pages) {
	.child = maps_without_end,
};

FIXTURE_VARIANT_ADD(memory, words) {
	.child = registers_without_end,
};

static const char *cgroup_file(struct context *ctx, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/permission/%s", ctx->cgroup, file);

	return path;
}

FIXTURE_SETUP(memory)
{
	struct context *ctx = &self->ctx;
	char text[32];

	UE_REQUIRE();
	ctx->fd = ue_open();
	ASSERT_LE(0, ctx->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				ctx->sock));
	snprintf(ctx->cgroup, sizeof(ctx->cgroup),
		 "/tmp/user_events_test.XXXXXX");
	ASSERT_TRUE(!!mkdtemp(ctx->cgroup));
	if (mount("cgroup2", ctx->cgroup, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2: CONFIG_CGROUPS");
	ASSERT_EQ(0, mkdir(cgroup_file(ctx, ""), 0700));
	ue_write(cgroup_file(ctx, "../cgroup.subtree_control"), "+memory");
	snprintf(text, sizeof(text), "%d", LIMIT);
	if (ue_write(cgroup_file(ctx, "memory.max"), text))
		SKIP(return, "no memory controller: CONFIG_MEMCG");

	/* There without swap, too. */
	ue_write(cgroup_file(ctx, "memory.swap.max"), "0");
}

FIXTURE_TEARDOWN_PARENT(memory)
{
	struct context *ctx = &self->ctx;

	EXPECT_EQ(0, rmdir(cgroup_file(ctx, "")));
	EXPECT_EQ(0, umount(ctx->cgroup));
	EXPECT_EQ(0, rmdir(ctx->cgroup));
	EXPECT_EQ(0, ue_sweep());
}

/* Registers events of 70 fields, and keeps them until it is told. */
static int registers_fields(struct context *ctx)
{
	int fd = ue_open();
	uint32_t word = 0;

	for (int i = 0; i < 500; i++) {
		char args[512];
		int len = sprintf(args, "perm%d ", i);

		for (int field = 0; field < 70; field++)
			len += sprintf(args + len, "u8 f%d;", field);
		if (ue_reg(fd, args, &word, 0, NULL) ||
		    ue_unreg(fd, &word, 0))
			return 1;
	}

	return tell(ctx->sock[1]) || hear(ctx->sock[1]) ? 2 : 0;
}

/* What an event takes is charged to who makes it, to nearly all of it. */
UE_TEST_F(memory, of_events)
{
	struct context *ctx = &self->ctx;
	long long before, grown, charged;
	char text[32];
	pid_t pid;

	ASSERT_EQ(0, ue_write(cgroup_file(ctx, "memory.max"), "max"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (hear(ctx->sock[1]))
			_exit(3);
		_exit(registers_fields(ctx));
	}
	close(ctx->sock[1]);
	snprintf(text, sizeof(text), "%d", pid);
	ASSERT_EQ(0, ue_write(cgroup_file(ctx, "cgroup.procs"), text));
	before = file_number("/proc/meminfo", "\nSlab:");
	ASSERT_EQ(0, tell(ctx->sock[0]));
	ASSERT_EQ(0, hear(ctx->sock[0]));
	EXPECT_EQ(500, ue_active());
	grown = (file_number("/proc/meminfo", "\nSlab:") - before) * 1024;
	charged = file_number(cgroup_file(ctx, "memory.stat"), "\nslab ");
	/* What kmemleak notes of each object is nobody's: then at least the fields. */
	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		grown = 500LL * 70 * 64;
	EXPECT_LT(grown * 9 / 10, charged)
		TH_LOG("%lld of %lld bytes", charged, grown);
	ASSERT_EQ(0, tell(ctx->sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
}

/*
 * The process gets ENOMEM or is killed for its group's want of memory, where
 * the kernel writes a stack trace that means no harm to its log.
 */
UE_TEST_F(memory, limited)
{
	static const char * const bugs[] = { "WARNING:", "BUG:", NULL };
	struct context *ctx = &self->ctx;
	int log = kernel_log(), ret;
	char text[32];
	pid_t pid;

	ASSERT_LE(0, log);
	ASSERT_EQ(0, ue_write("dynamic_events", "u:perm_root u32 a"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (hear(ctx->sock[1]))
			_exit(1);
		_exit(variant->child(ctx));
	}
	snprintf(text, sizeof(text), "%d", pid);
	ASSERT_EQ(0, ue_write(cgroup_file(ctx, "cgroup.procs"), text));
	ASSERT_EQ(0, tell(ctx->sock[0]));
	ret = ue_wait(pid);
	EXPECT_TRUE(ret == -SIGKILL || ret == ENOMEM)
		TH_LOG("it ended with %d", ret);
	EXPECT_LT(0, file_number(cgroup_file(ctx, "memory.events"), "\nmax "));
	EXPECT_GE(LIMIT, file_number(cgroup_file(ctx, "memory.peak"), ""));
	EXPECT_EQ(0, complaints(log, bugs));

	/* Nobody else has less for it, and what it had is free. */
	EXPECT_EQ(1, ue_active());
	EXPECT_EQ(0, variant->child(ctx));
}

TEST_HARNESS_MAIN
