// SPDX-License-Identifier: GPL-2.0
/*
 * Nobody can hold up a tracer: a process whose enable words cannot be written,
 * since a fault for them is not answered or its mmap lock is held, delays
 * neither toggles nor anybody else's calls, and its words follow when they can.
 *
 * Each test first makes sure that the kernel does wait for the process: a
 * fault has come to the userfaultfd, or a request to the file system. What
 * must not wait would then do so for ever, until the harness ends the test.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <linux/fuse.h>
#include <linux/userfaultfd.h>

#include "user_events_selftests.h"
#include "process.h"

#define PROCESSES	300

enum how { BY_USERFAULTFD, BY_FUSE };

/* Requests to the process that plays the file system. */
enum { HOLD = 'h', ANSWER = 'a', HELD = '!' };

struct context {
	int fd;
	int sock[2];		/* to the held process */
	int server[2];		/* to the file system */
	char dir[64];
	bool mounted;
};

/* A child does not outlive the test, however that ends. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);

	return pid;
}

/*
 * A file system with one file, a page of zeroes that forgets what is written.
 * Told to HOLD it no longer answers reads and writes of the file, and says
 * HELD for each that comes; told to ANSWER it answers all of them.
 */
#define FILE_NODE	2
#define MAX_HELD	1024

struct held_request {
	uint64_t unique;
	uint32_t opcode;
	uint32_t size;
};

static int fuse_reply(int fuse, uint64_t unique, int error, const void *body,
		      size_t size)
{
	char buf[sizeof(struct fuse_out_header) + 65536];
	struct fuse_out_header *out = (void *)buf;

	if (error)
		size = 0;
	out->len = sizeof(*out) + size;
	out->error = error;
	out->unique = unique;
	memcpy(out + 1, body, size);

	return write(fuse, buf, out->len) == (ssize_t)out->len ? 0 : -errno;
}

static void fuse_transfer(int fuse, const struct held_request *req)
{
	static char zeroes[65536];
	struct fuse_write_out written = { .size = req->size };

	if (req->opcode == FUSE_READ)
		fuse_reply(fuse, req->unique, 0, zeroes, req->size);
	else
		fuse_reply(fuse, req->unique, 0, &written, sizeof(written));
}

static struct fuse_attr fuse_attr(uint64_t node)
{
	bool file = node == FILE_NODE;

	return (struct fuse_attr) {
		.ino = node,
		.size = file ? page_size() : 0,
		.mode = file ? S_IFREG | 0600 : S_IFDIR | 0700,
		.nlink = 1,
		.blksize = page_size(),
	};
}

static void fuse_request(int fuse, const struct fuse_in_header *in)
{
	const uint64_t forever = 1 << 30;
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = page_size(),
	};
	struct fuse_entry_out entry = {
		.nodeid = FILE_NODE,
		.entry_valid = forever,
		.attr_valid = forever,
		.attr = fuse_attr(FILE_NODE),
	};
	struct fuse_attr_out attr = {
		.attr_valid = forever,
		.attr = fuse_attr(in->nodeid),
	};
	const struct fuse_open_in *open_in = (void *)(in + 1);
	struct fuse_open_out open = { .open_flags = FOPEN_KEEP_CACHE };

	switch (in->opcode) {
	case FUSE_INIT:
		fuse_reply(fuse, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		fuse_reply(fuse, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		fuse_reply(fuse, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		if (open_in->flags & O_APPEND)
			open.open_flags |= FOPEN_DIRECT_IO;
		fuse_reply(fuse, in->unique, 0, &open, sizeof(open));
		break;
	case FUSE_ACCESS:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		fuse_reply(fuse, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		fuse_reply(fuse, in->unique, -EOPNOTSUPP, NULL, 0);
	}
}

static void fuse_serve(int fuse, int control)
{
	static struct held_request held[MAX_HELD];
	static char buf[1 << 18];
	struct pollfd fds[2] = {
		{ .fd = fuse, .events = POLLIN },
		{ .fd = control, .events = POLLIN },
	};
	const struct fuse_in_header *in = (void *)buf;
	bool hold = false;
	int count = 0;

	while (poll(fds, 2, -1) > 0) {
		char said;

		if (fds[1].revents) {
			if (read(control, &said, 1) != 1)
				return;
			hold = said == HOLD;
			while (!hold && count)
				fuse_transfer(fuse, &held[--count]);
			if (write(control, &said, 1) != 1)
				return;
		}
		if (!(fds[0].revents & POLLIN))
			continue;
		if (read(fuse, buf, sizeof(buf)) < (ssize_t)sizeof(*in))
			return;
		if (in->opcode == FUSE_READ || in->opcode == FUSE_WRITE) {
			/* The size is at the same place in both. */
			const struct fuse_read_in *arg = (void *)(in + 1);
			struct held_request req = {
				in->unique, in->opcode, arg->size,
			};

			if (!hold) {
				fuse_transfer(fuse, &req);
				continue;
			}
			if (count == MAX_HELD)
				return;
			held[count++] = req;
			said = HELD;
			if (write(control, &said, 1) != 1)
				return;
			continue;
		}
		fuse_request(fuse, in);
	}
}

/* Mounts the file system and starts the process that serves it. */
static int fuse_mount(struct context *ctx)
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];
	pid_t pid;

	if (fuse < 0)
		return -errno;
	snprintf(ctx->dir, sizeof(ctx->dir), "/tmp/user_events_test.XXXXXX");
	if (!mkdtemp(ctx->dir))
		return -errno;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (mount("user_events_test", ctx->dir, "fuse", MS_NOSUID | MS_NODEV,
		  options))
		return -errno;
	ctx->mounted = true;

	pid = fork_child();
	if (pid < 0)
		return -errno;
	if (!pid) {
		/* It ends some time after the test, and keeps no event. */
		close(ctx->fd);
		close(ctx->server[0]);
		fuse_serve(fuse, ctx->server[1]);
		_exit(0);
	}
	close(fuse);
	close(ctx->server[1]);

	return 0;
}

static int fuse_tell(int server, char what)
{
	char said;

	if (write(server, &what, 1) != 1)
		return -EPIPE;
	/* What was held meanwhile is said before. */
	do {
		if (read(server, &said, 1) != 1)
			return -EPIPE;
	} while (said != what);

	return 0;
}

/* Waits until a request is held. */
static int fuse_wait_held(int server)
{
	char said;

	return read(server, &said, 1) == 1 && said == HELD ? 0 : -EPIPE;
}

static int fuse_open_file(const char *dir, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

static int context_init(struct context *ctx, enum how how)
{
	ctx->fd = ue_open();
	if (ctx->fd < 0)
		return ctx->fd;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctx->sock) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ctx->server))
		return -errno;

	return how == BY_FUSE ? fuse_mount(ctx) : 0;
}

static void context_exit(struct context *ctx)
{
	if (ctx->mounted)
		umount2(ctx->dir, MNT_DETACH);
	if (*ctx->dir)
		rmdir(ctx->dir);
}

/* A page that is there at first, and whose next fault is not answered. */
struct held {
	enum how how;
	int server;
	int uffd;
	int file;
	char *page;
};

static int held_map(struct held *held, struct context *ctx, enum how how)
{
	*held = (struct held) {
		.how = how,
		.server = ctx->server[0],
		.uffd = -1,
		.file = -1,
	};

	if (how == BY_USERFAULTFD) {
		held->page = map_pages(1);
		return held->page ? 0 : -ENOMEM;
	}

	held->file = fuse_open_file(ctx->dir, 0);
	if (held->file < 0)
		return held->file;
	held->page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE, held->file, 0);

	return held->page == MAP_FAILED ? -errno : 0;
}

/* Takes the page away, in the calling process. */
static int held_hold(struct held *held)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.start = (uintptr_t)held->page,
		.range.len = page_size(),
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (held->how == BY_USERFAULTFD) {
		held->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
		if (held->uffd < 0 || ioctl(held->uffd, UFFDIO_API, &api) ||
		    ioctl(held->uffd, UFFDIO_REGISTER, &reg))
			return -errno;
	}
	if (madvise(held->page, page_size(), MADV_DONTNEED))
		return -errno;
	if (held->how == BY_FUSE)
		return posix_fadvise(held->file, 0, 0, POSIX_FADV_DONTNEED);

	return 0;
}

/* Waits for the fault that is not answered. */
static int held_wait(struct held *held)
{
	struct uffd_msg msg;

	if (held->how == BY_FUSE)
		return fuse_wait_held(held->server);

	if (read(held->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return -EIO;

	return msg.event == UFFD_EVENT_PAGEFAULT ? 0 : -EIO;
}

static int held_answer(struct held *held)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)held->page,
		.range.len = page_size(),
	};

	if (held->how == BY_FUSE)
		return fuse_tell(held->server, ANSWER);

	return ioctl(held->uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

/*
 * What everybody else does meanwhile. The event @held has words that cannot be
 * written now; it is on, and left on. Returns the line that failed, or 0.
 */
static int everything_else(int fd, const char *held_event)
{
	uint32_t *page = map_pages(1);
	uint32_t word = 0;
	char line[256];
	int other = ue_open();
	int ret = 0;

	if (!page || other < 0)
		return __LINE__;

	/* The event itself: toggles, new registrations, their end. */
	if (ue_reg(other, held_event, &word, 1, NULL) || word != 2)
		return __LINE__;
	for (int i = 0; i < 20; i++) {
		if (ue_switch(held_event, i & 1) || word != (i & 1 ? 2 : 0))
			return __LINE__;
	}
	if (ue_del(other, held_event) != -EBUSY)
		return __LINE__;
	if (ue_unreg(other, &word, 1) || word)
		return __LINE__;

	/* Status: says how things are. */
	if (ue_status(held_event, line, sizeof(line)) < 0 ||
	    !strstr(line, " # Used by ftrace"))
		return __LINE__;
	if (ue_active() < 1 || ue_busy() < 1)
		return __LINE__;

	/* Other events: their whole life. */
	if (ue_reg_full(other, "hold_else u32 a", USER_EVENT_REG_PERSIST, page,
			4, 3, NULL))
		return __LINE__;
	if (ue_switch("hold_else", 1) || *page != 1U << 3)
		return __LINE__;

	/* Also with a page that takes a fault, which is answered. */
	if (madvise((void *)page, page_size(), MADV_DONTNEED) ||
	    ue_switch("hold_else", 0) || ue_switch("hold_else", 1))
		return __LINE__;
	wait_word(page, 1U << 3);
	if (ue_switch("hold_else", 0) || *page)
		return __LINE__;
	if (ue_unreg(other, page, 3))
		return __LINE__;
	close(other);
	if (ue_del(fd, "hold_else"))
		return __LINE__;
	if (ue_write("dynamic_events", "u:hold_else2 u8 a") ||
	    ue_del(fd, "hold_else2"))
		return __LINE__;

	/* Those who wait in the kernel for it do not use up its workers. */
	ret = ue_open_file("/proc/sys/vm/stat_refresh", O_RDONLY);
	if (ret >= 0) {
		if (read(ret, line, sizeof(line)) < 0)
			return __LINE__;
		close(ret);
	}
	munmap((void *)page, page_size());

	return 0;
}

static void nobody_held_up(struct __test_metadata *_metadata,
			   struct context *ctx, const char *event)
{
	EXPECT_EQ(0, everything_else(ctx->fd, event))
		TH_LOG("the number is of the line in everything_else()");
}

/* A process with a held word, that is told step by step what to do. */
static void held_process(struct context *ctx, enum how how,
			 const char *event)
{
	struct held held;
	uint32_t *word;
	int sock = ctx->sock[1];
	int fd = ue_open();
	pid_t pid;

	/* Its words: one to be held, and one that is not, in its stack. */
	if (held_map(&held, ctx, how))
		_exit(1);
	word = (uint32_t *)held.page + 5;
	if (ue_reg(fd, event, word, 9, NULL))
		_exit(2);
	if (how == BY_FUSE && fuse_tell(held.server, HOLD))
		_exit(3);
	if (held_hold(&held))
		_exit(4);

	/* Now it is switched on. */
	if (tell(sock) || hear(sock) || held_wait(&held))
		_exit(5);

	/* It can fork, and what the child has is a page of its own. */
	pid = fork();
	if (pid < 0)
		_exit(6);
	if (!pid) {
		uint32_t own = 0;

		if (ue_reg(fd, event, &own, 0, NULL) || own != 1 ||
		    ue_unreg(fd, &own, 0) || own)
			_exit(1);
		_exit(0);
	}
	if (ue_wait(pid))
		_exit(7);

	/* The word follows when its memory answers. */
	if (tell(sock) || hear(sock) || held_answer(&held))
		_exit(8);
	wait_word(word, 1U << 9);
	if (tell(sock) || hear(sock))
		_exit(9);

	/* Toggled once more, now at once. */
	if (*word)
		_exit(10);
	if (ue_unreg(fd, word, 9))
		_exit(11);
	_exit(0);
}

FIXTURE(hold) {
	struct context ctx;
};

FIXTURE_VARIANT(hold) {
	enum how how;
};

FIXTURE_VARIANT_ADD(hold, userfaultfd) {
	.how = BY_USERFAULTFD,
};

FIXTURE_VARIANT_ADD(hold, fuse) {
	.how = BY_FUSE,
};

FIXTURE_SETUP(hold)
{
	UE_REQUIRE();
	if (variant->how == BY_FUSE && access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse: CONFIG_FUSE_FS");
	ASSERT_EQ(0, context_init(&self->ctx, variant->how));
}

FIXTURE_TEARDOWN_PARENT(hold)
{
	context_exit(&self->ctx);
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(hold, word_follows)
{
	pid_t pid;

	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid)
		held_process(&self->ctx, variant->how, "hold_follows");
	close(self->ctx.sock[1]);
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	ASSERT_EQ(0, ue_switch("hold_follows", 1));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	nobody_held_up(_metadata, &self->ctx, "hold_follows");
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	ASSERT_EQ(0, ue_switch("hold_follows", 0));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the exit in held_process()");
	EXPECT_EQ(0, ue_event_exists("hold_follows"));
}

static void held_and_killed(struct context *ctx, enum how how,
			    const char *event)
{
	struct held held;
	int fd = ue_open();

	if (held_map(&held, ctx, how) ||
	    ue_reg(fd, event, (uint32_t *)held.page, 9, NULL) ||
	    (how == BY_FUSE && fuse_tell(held.server, HOLD)) ||
	    held_hold(&held) ||
	    tell(ctx->sock[1]) || hear(ctx->sock[1]) || held_wait(&held) ||
	    tell(ctx->sock[1]))
		_exit(1);
	pause();
}

/* It can be killed, while the kernel still waits for its memory. */
UE_TEST_F(hold, can_be_killed)
{
	pid_t pid;

	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid)
		held_and_killed(&self->ctx, variant->how, "hold_killed");
	close(self->ctx.sock[1]);
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	ASSERT_EQ(0, ue_switch("hold_killed", 1));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	nobody_held_up(_metadata, &self->ctx, "hold_killed");
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-SIGKILL, ue_wait(pid));
	ASSERT_EQ(0, ue_switch("hold_killed", 0));
	EXPECT_EQ(0, ue_active());
}

/* A process may wait for itself: its own calls with such a page. */
UE_TEST_F(hold, held_in_its_own_call)
{
	pid_t pid;
	int ret;

	ASSERT_EQ(0, ue_write("dynamic_events", "u:hold_own"));
	ASSERT_EQ(0, ue_switch("hold_own", 1));
	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct held held;
		pid_t child;

		/* The userfaultfd is read by a child that it shares with. */
		if (held_map(&held, &self->ctx, variant->how) ||
		    (variant->how == BY_FUSE &&
		     fuse_tell(held.server, HOLD)) || held_hold(&held))
			_exit(1);
		child = fork_child();
		if (!child) {
			if (held_wait(&held) || tell(self->ctx.sock[1]))
				_exit(1);
			pause();
		}
		ue_reg(self->ctx.fd, "hold_own", (uint32_t *)held.page, 9, NULL);
		_exit(2);
	}
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	nobody_held_up(_metadata, &self->ctx, "hold_own");
	ASSERT_EQ(0, kill(pid, SIGKILL));

	/* What reads a page from such a file waits, killed or not. */
	if (variant->how == BY_FUSE) {
		ret = fuse_tell(self->ctx.server[0], ANSWER);
		ASSERT_EQ(0, ret);
	}
	EXPECT_EQ(-SIGKILL, ue_wait(pid));
	ASSERT_EQ(0, ue_switch("hold_own", 0));
	EXPECT_EQ(0, ue_del(self->ctx.fd, "hold_own"));
}

/* Many of them, and one more that is as it should be. */
UE_TEST_F(hold, many_processes)
{
	pid_t *pids = calloc(PROCESSES, sizeof(*pids));
	uint32_t *page = map_pages(1);
	int ret = 0, killed = 0;
	struct held held;

	ASSERT_TRUE(pids && page);
	ASSERT_EQ(0, held_map(&held, &self->ctx, variant->how));
	ASSERT_EQ(0, ue_reg(self->ctx.fd, "hold_many", (uint32_t *)held.page, 0,
			    NULL));
	if (variant->how == BY_FUSE)
		ret = fuse_tell(held.server, HOLD);
	ASSERT_EQ(0, ret);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork_child();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			if (held_hold(&held) || tell(self->ctx.sock[1]) ||
			    held_wait(&held))
				_exit(1);
			pause();
		}
		ASSERT_EQ(0, hear(self->ctx.sock[0]));
	}
	ASSERT_EQ(0, ue_unreg(self->ctx.fd, held.page, 0));
	ASSERT_EQ(0, ue_reg(self->ctx.fd, "hold_many", page, 0, NULL));
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, madvise((void *)page, page_size(),
				     MADV_DONTNEED));
		ASSERT_EQ(0, ue_switch("hold_many", 1));
		wait_word(page, 1);
		nobody_held_up(_metadata, &self->ctx, "hold_many");
		ASSERT_EQ(0, ue_switch("hold_many", 0));
	}
	for (int i = 0; i < PROCESSES; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < PROCESSES; i++)
		killed += ue_wait(pids[i]) == -SIGKILL;
	EXPECT_EQ(PROCESSES, killed);
	ASSERT_EQ(0, ue_switch("hold_many", 1));
	EXPECT_EQ(1, *page);
}

/*
 * What the memory of one user's processes holds up is bounded for that user, and
 * no word of another user waits for it; and of a process that has ended no
 * memory is kept, but for some whose fault is under way.
 */
#define STUCK		600
#define STUCK_UID	1000
#define STUCK_BYTES	(128 * 1024)
#define UNPRIVILEGED	"/proc/sys/vm/unprivileged_userfaultfd"

static long anon_kib(void)
{
	char text[4096], *pos;

	if (ue_read("/proc/meminfo", text, sizeof(text)) < 0)
		return -EIO;
	pos = strstr(text, "AnonPages:");

	return pos ? atol(pos + 10) : -ENOENT;
}

static int become_user(void)
{
	return setresgid(STUCK_UID, STUCK_UID, STUCK_UID) ||
	       setresuid(STUCK_UID, STUCK_UID, STUCK_UID);
}

/* Of a user namespace that root made, and root there. */
static int become_root_of_a_namespace(void)
{
	return unshare(CLONE_NEWUSER) || ue_write("/proc/self/uid_map", "0 0 1");
}

static int stay(void)
{
	return 0;
}

/* Who the processes are that get stuck: one user, before they fork or afterwards. */
struct stuck {
	enum how how;
	int (*parent)(void);
	int (*child)(void);
};

/* Forks processes that are stuck, and ends them. */
static void stuck_user(struct context *ctx, const struct stuck *stuck,
		       const char *event)
{
	pid_t *pids = calloc(STUCK, sizeof(*pids));
	int sock = ctx->sock[1];
	struct held held;

	if (!pids || held_map(&held, ctx, stuck->how) || stuck->parent())
		_exit(1);
	if (ue_reg(ctx->fd, event, (uint32_t *)held.page, 9, NULL))
		_exit(2);
	if (stuck->how == BY_FUSE &&
	    (fuse_tell(held.server, HOLD) || held_hold(&held)))
		_exit(3);
	for (int i = 0; i < STUCK; i++) {
		int ready[2];

		if (pipe(ready))
			_exit(4);
		pids[i] = fork();
		if (pids[i] < 0)
			_exit(5);
		if (!pids[i]) {
			char *mem = malloc(STUCK_BYTES);

			if (!mem || stuck->child() ||
			    (stuck->how == BY_USERFAULTFD && held_hold(&held)))
				_exit(1);
			/* Who becomes another user has none. */
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			memset(mem, 1, STUCK_BYTES);
			if (tell(ready[1]))
				_exit(1);
			for (;;)
				pause();
		}
		if (hear(ready[0]))
			_exit(6);
		close(ready[0]);
		close(ready[1]);
	}

	/* They are switched on; others go on. */
	if (tell(sock) || hear(sock))
		_exit(7);
	for (int i = 0; i < STUCK; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < STUCK; i++) {
		if (ue_wait(pids[i]) != -SIGKILL)
			_exit(8);
	}
	if (tell(sock) || hear(sock))
		_exit(9);
	_exit(0);
}

/* A page that takes a file to fault it in: such a fault may wait. */
static uint32_t *map_file(void)
{
	int fd = memfd_create("word", MFD_CLOEXEC);
	void *page = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, page_size()))
		page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE,
			    fd, 0);
	close(fd);

	return page == MAP_FAILED ? NULL : page;
}

/* Words of other users follow, whatever their page takes. */
static void many_are_stuck(struct __test_metadata *_metadata, struct context *ctx,
			   const struct stuck *stuck)
{
	uint32_t *page = map_pages(1), *file = map_file();
	char before[16] = "";
	long start, most;
	pid_t pid;

	ASSERT_TRUE(page && file);
	ASSERT_EQ(0, ue_reg(ctx->fd, "hold_user", page, 0, NULL));
	ASSERT_EQ(0, ue_reg(ctx->fd, "hold_user", file, 0, NULL));
	if (stuck->how == BY_USERFAULTFD &&
	    ue_read(UNPRIVILEGED, before, sizeof(before)) > 0)
		ue_write(UNPRIVILEGED, "1");
	start = anon_kib();
	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid)
		stuck_user(ctx, stuck, "hold_user");
	close(ctx->sock[1]);
	ASSERT_EQ(0, hear(ctx->sock[0]));
	if (*before)
		ue_write(UNPRIVILEGED, before);

	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, madvise(page, page_size(), MADV_DONTNEED));
		ASSERT_EQ(0, madvise(file, page_size(), MADV_DONTNEED));
		ASSERT_EQ(0, ue_switch("hold_user", 1));
		wait_word(page, 1);
		wait_word(file, 1);
		ASSERT_EQ(0, ue_switch("hold_user", 0));
	}
	ASSERT_EQ(0, ue_switch("hold_user", 1));

	/* All have ended: their memory comes back, most of it. */
	ASSERT_EQ(0, tell(ctx->sock[0]));
	ASSERT_EQ(0, hear(ctx->sock[0]));
	most = start + (long)STUCK * STUCK_BYTES / 1024 / 4;
	while (anon_kib() > most)
		usleep(1000);
	ASSERT_EQ(0, tell(ctx->sock[0]));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the exit in stuck_user()");
	ASSERT_EQ(0, ue_switch("hold_user", 0));
}

UE_TEST_F(hold, many_of_one_user)
{
	const struct stuck stuck = { variant->how, become_user, stay };

	many_are_stuck(_metadata, &self->ctx, &stuck);
}

UE_TEST_F(hold, many_of_a_namespace)
{
	const struct stuck stuck = { variant->how, become_root_of_a_namespace, stay };

	many_are_stuck(_metadata, &self->ctx, &stuck);
}

/* What root registered and a fork copied is that of the user whose process it is now. */
UE_TEST_F(hold, many_that_give_up_root)
{
	const struct stuck stuck = { variant->how, stay, become_user };

	many_are_stuck(_metadata, &self->ctx, &stuck);
}

/*
 * The userfaultfd outlives the process, so that its end does not end the
 * fault. The process ends nevertheless, and so do its registrations.
 */
FIXTURE(userfaultfd) {
	struct context ctx;
};

FIXTURE_SETUP(userfaultfd)
{
	UE_REQUIRE();
	ASSERT_EQ(0, context_init(&self->ctx, BY_USERFAULTFD));
}

FIXTURE_TEARDOWN_PARENT(userfaultfd)
{
	context_exit(&self->ctx);
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(userfaultfd, outlives_its_process)
{
	struct held held;
	struct uffd_msg msg;
	uint32_t word = 0;
	int uffd;
	pid_t pid;

	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = ue_open();

		if (held_map(&held, &self->ctx, BY_USERFAULTFD) ||
		    ue_reg(fd, "hold_exits", (uint32_t *)held.page, 9, NULL) ||
		    held_hold(&held) || send_fd(self->ctx.sock[1], held.uffd) ||
		    hear(self->ctx.sock[1]))
			_exit(1);
		_exit(0);
	}
	uffd = receive_fd(self->ctx.sock[0]);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ue_switch("hold_exits", 1));
	ASSERT_EQ(sizeof(msg), read(uffd, &msg, sizeof(msg)));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	ASSERT_EQ(0, ue_switch("hold_exits", 0));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(0, ue_event_exists("hold_exits"));
	EXPECT_EQ(0, ue_reg(self->ctx.fd, "hold_exits u32 other_fields",
			    &word, 0, NULL));
	ASSERT_EQ(0, ue_switch("hold_exits", 1));
	EXPECT_EQ(1, word);
	EXPECT_EQ(0, ue_unreg(self->ctx.fd, &word, 0));
	ASSERT_EQ(0, ue_switch("hold_exits", 0));
	close(uffd);
}

/*
 * The mmap lock of the process is held for writing: it maps a file in which a
 * page has to be written first, which the file system does not.
 */
static void *map_direct(void *arg)
{
	void *mem = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE,
			 *(int *)arg, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static void lock_process(struct context *ctx, const char *event)
{
	uint32_t *word = map_pages(1);
	int file = fuse_open_file(ctx->dir, 0);
	int direct = fuse_open_file(ctx->dir, O_APPEND);
	pthread_t thread;
	char *page;
	void *ret;

	page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
		    file, 0);
	if (!word || file < 0 || direct < 0 || page == MAP_FAILED || page[0])
		_exit(1);
	if (ue_reg(ctx->fd, event, word, 9, NULL))
		_exit(2);
	if (tell(ctx->sock[1]) || hear(ctx->sock[1]))
		_exit(3);
	/* Not before: what is written back already holds nobody. */
	page[0] = 1;
	if (pthread_create(&thread, NULL, map_direct, &direct))
		_exit(4);

	/* Switched on meanwhile. */
	if (hear(ctx->sock[1]) || pthread_join(thread, &ret) || !ret)
		_exit(5);
	wait_word(word, 1U << 9);
	_exit(0);
}

FIXTURE(lock) {
	struct context ctx;
};

FIXTURE_SETUP(lock)
{
	UE_REQUIRE();
	if (access("/dev/fuse", F_OK))
		SKIP(return, "no /dev/fuse: CONFIG_FUSE_FS");
	ASSERT_EQ(0, context_init(&self->ctx, BY_FUSE));
}

FIXTURE_TEARDOWN_PARENT(lock)
{
	context_exit(&self->ctx);
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(lock, held_for_writing)
{
	pid_t pid;

	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid)
		lock_process(&self->ctx, "hold_lock");
	close(self->ctx.sock[1]);
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	ASSERT_EQ(0, fuse_tell(self->ctx.server[0], HOLD));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	ASSERT_EQ(0, fuse_wait_held(self->ctx.server[0]));
	ASSERT_EQ(0, ue_switch("hold_lock", 1));
	nobody_held_up(_metadata, &self->ctx, "hold_lock");
	ASSERT_EQ(0, fuse_tell(self->ctx.server[0], ANSWER));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the exit in lock_process()");
}

/* The calling process: root of a user namespace that a user without rights made. */
static int enter_user_namespace(void)
{
	int ret = setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000) ||
		  prctl(PR_SET_DUMPABLE, 1) ||
		  unshare(CLONE_NEWUSER | CLONE_NEWNS);

	return ret ? -errno : ue_write("/proc/self/setgroups", "deny") ?:
	       ue_write("/proc/self/uid_map", "0 1000 1") ?:
	       ue_write("/proc/self/gid_map", "0 1000 1");
}

static void held_in_a_namespace(struct context *ctx, const char *event)
{
	struct held held;

	if (enter_user_namespace())
		_exit(1);
	if (fuse_mount(ctx) || held_map(&held, ctx, BY_FUSE))
		_exit(2);
	if (ue_reg(ctx->fd, event, (uint32_t *)held.page, 9, NULL) ||
	    held_hold(&held))
		_exit(3);
	if (tell(ctx->sock[1]) || hear(ctx->sock[1]))
		_exit(4);
	wait_word((uint32_t *)held.page, 1U << 9);
	_exit(0);
}

FIXTURE(space) {
	struct context ctx;
	struct stat device;
};

FIXTURE_SETUP(space)
{
	UE_REQUIRE();
	ASSERT_EQ(0, context_init(&self->ctx, BY_USERFAULTFD));
	ASSERT_EQ(0, stat("/dev/fuse", &self->device));
	ASSERT_EQ(0, chmod("/dev/fuse", 0666));
}

FIXTURE_TEARDOWN_PARENT(space)
{
	EXPECT_EQ(0, chmod("/dev/fuse", self->device.st_mode));
	EXPECT_EQ(0, ue_sweep());
}

/* A file system that answers its own namespace alone: the word follows. */
UE_TEST_F(space, fuse)
{
	pid_t pid = fork_child();

	ASSERT_LE(0, pid);
	if (!pid)
		held_in_a_namespace(&self->ctx, "hold_space");
	close(self->ctx.sock[1]);
	ASSERT_EQ(0, hear(self->ctx.sock[0]));
	ASSERT_EQ(0, ue_switch("hold_space", 1));
	ASSERT_EQ(0, tell(self->ctx.sock[0]));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the exit in held_in_a_namespace()");
	ASSERT_EQ(0, ue_switch("hold_space", 0));
}

TEST_HARNESS_MAIN
