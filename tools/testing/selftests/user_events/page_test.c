// SPDX-License-Identifier: GPL-2.0
/*
 * Enable words in pages of the kernel's, from mmap() of user_events_data: how
 * they are mapped and protected, and that a bit is set while its event is on
 * and one of the processes that share the page is registered through it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "user_events_selftests.h"
#include "process.h"

#define MAX_PAGES	16

/* A program that finds this in its environment just exits, with EXECUTED. */
#define EXEC_ENV	"USER_EVENTS_TEST_EXEC"
#define EXECUTED	42

static void __attribute__((constructor)) executed(void)
{
	if (getenv(EXEC_ENV))
		_exit(EXECUTED);
}

/* Maps pages of the kernel's, or says why not. */
static int map_words(int fd, int pages, uint32_t **words)
{
	void *mem = mmap(NULL, pages * page_size(), PROT_READ, MAP_SHARED, fd,
			 0);

	*words = mem;

	return mem == MAP_FAILED ? -errno : 0;
}

/* Errno of an mmap() that is to fail. */
static int map_error(int fd, int pages, int prot, int flags, off_t offset)
{
	void *mem = mmap(NULL, pages * page_size(), prot, flags, fd, offset);

	if (mem == MAP_FAILED)
		return errno;

	munmap(mem, pages * page_size());

	return 0;
}

FIXTURE(page) {
	int fd;
	int sock[2];
	char cgroup[64];
};

FIXTURE_SETUP(page)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
}

FIXTURE_TEARDOWN_PARENT(page)
{
	char path[128];

	if (*self->cgroup) {
		snprintf(path, sizeof(path), "%s/page_test", self->cgroup);
		rmdir(path);
		umount(self->cgroup);
		rmdir(self->cgroup);
	}
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(page, zeroed)
{
	uint32_t *words;
	size_t count = MAX_PAGES * page_size() / sizeof(*words), set = 0;

	for (int round = 0; round < 20; round++) {
		int fd = ue_open();

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_words(fd, MAX_PAGES, &words));
		for (size_t i = 0; i < count; i++)
			set += !!words[i];
		EXPECT_EQ(0, set);

		/* Leave bits behind for the next one not to find. */
		for (int i = 0; i < 32; i++) {
			ASSERT_EQ(0, ue_reg(fd, "page_zero",
					    &words[i * count / 32], i, NULL));
		}
		ASSERT_EQ(0, ue_switch("page_zero", 1));
		for (int i = 0; i < 32; i++) {
			EXPECT_EQ(1U << i, words[i * count / 32]);
			if (round & 1) {
				ASSERT_EQ(0, ue_unreg(fd, &words[i * count /
							  32], i));
			}
		}
		ASSERT_EQ(0, ue_switch("page_zero", 0));
		close(fd);
		ASSERT_EQ(0, munmap((void *)words, MAX_PAGES * page_size()));
		for (int i = 0; i < 32 && !(round & 1); i++)
			ue_unreg(self->fd, &words[i * count / 32], i);
	}
}

UE_TEST_F(page, limits)
{
	uint32_t *words, *others;
	int other = ue_open();

	EXPECT_NE(0, map_error(self->fd, MAX_PAGES + 1, PROT_READ, MAP_SHARED,
			       0));
	EXPECT_NE(0, map_error(self->fd, 1 << 16, PROT_READ, MAP_SHARED, 0));
	EXPECT_NE(0, map_error(self->fd, 1, PROT_READ, MAP_SHARED,
			       page_size()));
	EXPECT_NE(0, map_error(self->fd, 1, PROT_READ, MAP_SHARED,
			       MAX_PAGES * page_size()));
	EXPECT_NE(0, map_error(self->fd, 1, PROT_READ, MAP_PRIVATE, 0));

	/* Each open file has that many. */
	ASSERT_EQ(0, map_words(self->fd, MAX_PAGES, &words));
	ASSERT_LE(0, other);
	ASSERT_EQ(0, map_words(other, MAX_PAGES, &others));
	ASSERT_EQ(0, ue_reg(self->fd, "page_limits", words, 0, NULL));
	ASSERT_EQ(0, ue_switch("page_limits", 1));
	EXPECT_EQ(1, words[0]);
	EXPECT_EQ(0, others[0]);
}

UE_TEST_F(page, never_writable)
{
	const int write_only = PROT_WRITE, both = PROT_READ | PROT_WRITE;
	uint32_t *words;
	pid_t pid;

	EXPECT_EQ(EPERM, map_error(self->fd, 1, write_only, MAP_SHARED, 0));
	EXPECT_EQ(EPERM, map_error(self->fd, 1, both, MAP_SHARED, 0));
	EXPECT_EQ(EPERM, map_error(self->fd, MAX_PAGES, both, MAP_SHARED, 0));

	ASSERT_EQ(0, map_words(self->fd, 2, &words));
	EXPECT_EQ(-1, mprotect((void *)words, page_size(), both));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, mprotect((void *)words, 2 * page_size(), write_only));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(0, mprotect((void *)words, 2 * page_size(), PROT_NONE));
	EXPECT_EQ(-1, mprotect((void *)words, 2 * page_size(), both));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(0, mprotect((void *)words, 2 * page_size(), PROT_READ));
	EXPECT_EQ(0, words[0]);

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		words[1] = 1;
		_exit(0);
	}
	EXPECT_EQ(-SIGSEGV, ue_wait(pid));
	EXPECT_EQ(0, words[1]);
}

/* Nor do the ways to write to a page without write access lead there. */
UE_TEST_F(page, not_by_back_doors)
{
	long value = -1L;
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	struct iovec local = { &value, sizeof(value) };
	struct iovec remote = { .iov_len = sizeof(value) };
	uint32_t *words;
	pid_t pid;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_doors", words, 3, NULL));
	ASSERT_LE(0, mem);
	EXPECT_GT(0, pwrite(mem, &value, sizeof(value), (uintptr_t)words));
	remote.iov_base = (void *)words;
	EXPECT_GT(0, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_GT(0, pread(open("/dev/zero", O_RDONLY), (void *)words, 4, 0));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGSTOP);
		_exit(words[0]);
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, words, value));
	ASSERT_EQ(0, ptrace(PTRACE_CONT, pid, NULL, NULL));
	EXPECT_EQ(0, ue_wait(pid));

	EXPECT_EQ(0, words[0]);
	EXPECT_EQ(0, words[1]);
	ASSERT_EQ(0, ue_switch("page_doors", 1));
	EXPECT_EQ(1U << 3, words[0]);
}

/* All of what holds for other words. */
UE_TEST_F(page, words)
{
	const int step = page_size() / sizeof(uint32_t) / 4;
	const int count = 4 * MAX_PAGES;
	uint32_t *words;
	int index;

	ASSERT_EQ(0, map_words(self->fd, MAX_PAGES, &words));
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, i & 1 ? "page_odd" : "page_even",
				    &words[i * step], i % 32, &index));
		EXPECT_EQ(i & 1, index);
	}
	for (int state = 0; state < 8; state++) {
		ASSERT_EQ(0, ue_switch("page_even", state & 1));
		ASSERT_EQ(0, ue_switch("page_odd", state >> 1 & 1));
		for (int i = 0; i < count; i++) {
			EXPECT_EQ((state >> (i & 1) & 1U) << i % 32,
				  words[i * step]);
		}
	}

	/* Both are on: words come and go with their registration. */
	EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, "page_even", words, 0, NULL));
	EXPECT_EQ(-EINVAL, ue_reg(self->fd, "page_even", (void *)words + 2, 0,
				  NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "page_even", words, 31, NULL));
	EXPECT_EQ(1U << 31 | 1, words[0]);
	ASSERT_EQ(0, ue_unreg(self->fd, words, 0));
	EXPECT_EQ(1U << 31, words[0]);
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, words, 0));
	for (int i = 1; i < count; i++) {
		ASSERT_EQ(0, ue_unreg(self->fd, &words[i * step], i % 32));
		EXPECT_EQ(0, words[i * step]);
	}
	ASSERT_EQ(0, ue_unreg(self->fd, words, 31));
	EXPECT_EQ(0, words[0]);
}

static int map_stop;

/* Has the lock of the process's memory most of the time. */
static void *map_forever(void *arg)
{
	while (!__atomic_load_n(&map_stop, __ATOMIC_RELAXED)) {
		void *mem = map_pages(1);

		if (!mem || munmap(mem, page_size()))
			return "cannot map";
	}

	return NULL;
}

/* A word in a page of the kernel needs no fault, and waits for a lock at most. */
UE_TEST_F(page, words_while_mapping)
{
	int rounds = ue_rounds(20000);
	uint32_t *words;
	pthread_t thread;
	void *failed;
	int i;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_mapping", words, 1, NULL));
	__atomic_store_n(&map_stop, 0, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_create(&thread, NULL, map_forever, NULL));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, "page_mapping", words, 0, NULL));
		ASSERT_EQ(0, ue_unreg(self->fd, words, 0));
	}
	__atomic_store_n(&map_stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	EXPECT_EQ(0, ue_unreg(self->fd, words, 1));
}

UE_TEST_F(page, long_words)
{
	int set = 0, clear = 0;
	uint64_t *words;
	uint32_t *mem;

	if (sizeof(long) < 8)
		SKIP(return, "8-byte words take a 64-bit kernel");

	ASSERT_EQ(0, map_words(self->fd, 1, &mem));
	words = (void *)mem;
	for (int bit = 0; bit < 64; bit++) {
		ASSERT_EQ(0, ue_reg_full(self->fd, "page_long", 0, &words[bit],
					 8, bit, NULL));
	}
	ASSERT_EQ(0, ue_switch("page_long", 1));
	for (int bit = 0; bit < 64; bit++)
		set += words[bit] == 1ULL << bit;
	EXPECT_EQ(64, set);
	ASSERT_EQ(0, ue_switch("page_long", 0));
	for (int bit = 0; bit < 64; bit++)
		clear += !words[bit];
	EXPECT_EQ(64, clear);
}

/* Persistent, multi-format: whatever the event is. */
UE_TEST_F(page, every_kind_of_event)
{
	const unsigned int flags[] = {
		0,
		USER_EVENT_REG_PERSIST,
		USER_EVENT_REG_MULTI_FORMAT,
		USER_EVENT_REG_MULTI_FORMAT | USER_EVENT_REG_PERSIST,
	};
	uint32_t *words;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		const char *name = i & 1 ? "page_kind1" : "page_kind0";

		ASSERT_EQ(0, ue_reg_full(self->fd, name, flags[i], &words[i], 4,
					 0, NULL));
	}
	ASSERT_EQ(0, ue_write("events/user_events/enable", "1"));
	ASSERT_EQ(0, ue_write("events/user_events_multi/enable", "1"));
	EXPECT_EQ(4, words[0] + words[1] + words[2] + words[3]);
	ASSERT_EQ(0, ue_write("events/user_events/enable", "0"));
	ASSERT_EQ(0, ue_write("events/user_events_multi/enable", "0"));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(0, words[i]);
		ASSERT_EQ(0, ue_unreg(self->fd, &words[i], 0));
	}
}

/*
 * Parent and child see one page. A bit is set until the last of them that is
 * registered through it has unregistered, or ended, or become another program.
 */
FIXTURE(family) {
	int fd;
	int sock[2];
};

FIXTURE_VARIANT(family) {
	bool parent_first;
	enum { UNREG, EXIT, KILL, EXEC } end;
};

FIXTURE_VARIANT_ADD(family, child_unregisters_first) {
	.end = UNREG,
};

FIXTURE_VARIANT_ADD(family, child_unregisters_last) {
	.end = UNREG,
	.parent_first = true,
};

FIXTURE_VARIANT_ADD(family, child_exits_first) {
	.end = EXIT,
};

FIXTURE_VARIANT_ADD(family, child_exits_last) {
	.end = EXIT,
	.parent_first = true,
};

FIXTURE_VARIANT_ADD(family, child_killed_first) {
	.end = KILL,
};

FIXTURE_VARIANT_ADD(family, child_killed_last) {
	.end = KILL,
	.parent_first = true,
};

FIXTURE_VARIANT_ADD(family, child_executes_first) {
	.end = EXEC,
};

FIXTURE_VARIANT_ADD(family, child_executes_last) {
	.end = EXEC,
	.parent_first = true,
};

FIXTURE_SETUP(family)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
}

FIXTURE_TEARDOWN_PARENT(family)
{
	EXPECT_EQ(0, ue_sweep());
}

static void end_child(int how, int fd, uint32_t *word, int bit)
{
	static char * const argv[] = { "/proc/self/exe", NULL };
	static char * const envp[] = { EXEC_ENV "=1", NULL };

	switch (how) {
	case UNREG:
		_exit(ue_unreg(fd, word, bit) ? 1 : EXECUTED);
	case EXIT:
		_exit(EXECUTED);
	case KILL:
		raise(SIGKILL);
		_exit(1);
	case EXEC:
		execve(argv[0], argv, envp);
		_exit(1);
	}
}

UE_TEST_F(family, shared_bit)
{
	const int expected = variant->end == KILL ? -SIGKILL : EXECUTED;
	uint32_t *words;
	pid_t pid;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	for (int on = 0; on < 2; on++) {
		ASSERT_EQ(0, ue_reg(self->fd, "page_family", &words[9], 5,
				    NULL));
		ASSERT_EQ(0, ue_switch("page_family", on));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			/* Toggled by the parent: seen by the child at once. */
			for (int i = 0; i < 4; i++) {
				uint32_t want = (on ^ (i & 1)) << 5;

				if (words[9] != want || tell(self->sock[1]) ||
				    hear(self->sock[1]))
					_exit(1);
			}
			if (ue_reg(self->fd, "page_family", &words[9], 5,
				   NULL) != -EADDRINUSE)
				_exit(1);
			end_child(variant->end, self->fd, &words[9], 5);
		}
		for (int i = 0; i < 4; i++) {
			ASSERT_EQ(0, hear(self->sock[0]));
			EXPECT_EQ((on ^ (i & 1)) << 5, words[9]);
			if (i == 3)
				break;
			ASSERT_EQ(0, ue_switch("page_family", on ^ !(i & 1)));
			ASSERT_EQ(0, tell(self->sock[0]));
		}

		ASSERT_EQ(0, ue_switch("page_family", 1));
		EXPECT_EQ(1U << 5, words[9]);
		if (variant->parent_first) {
			ASSERT_EQ(0, ue_unreg(self->fd, &words[9], 5));
			EXPECT_EQ(1U << 5, words[9]);

			/* The child's registration still works. */
			ASSERT_EQ(0, ue_switch("page_family", 0));
			EXPECT_EQ(0, words[9]);
			ASSERT_EQ(0, ue_switch("page_family", 1));
			EXPECT_EQ(1U << 5, words[9]);
			ASSERT_EQ(0, tell(self->sock[0]));
			ASSERT_EQ(expected, ue_wait(pid));
			EXPECT_EQ(0, words[9]);
		} else {
			ASSERT_EQ(0, tell(self->sock[0]));
			ASSERT_EQ(expected, ue_wait(pid));
			EXPECT_EQ(1U << 5, words[9]);
			ASSERT_EQ(0, ue_switch("page_family", 0));
			EXPECT_EQ(0, words[9]);
			ASSERT_EQ(0, ue_switch("page_family", 1));
			EXPECT_EQ(1U << 5, words[9]);
			ASSERT_EQ(0, ue_unreg(self->fd, &words[9], 5));
			EXPECT_EQ(0, words[9]);
		}
		ASSERT_EQ(0, ue_switch("page_family", 0));
	}
}

/* What a child registers in the page it inherited, its parent sees as well. */
UE_TEST_F(family, of_the_child_alone)
{
	const int expected = variant->end == KILL ? -SIGKILL : EXECUTED;
	uint32_t *words;
	pid_t pid;

	ASSERT_EQ(0, map_words(self->fd, MAX_PAGES, &words));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ue_reg(self->fd, "page_alone", &words[77], 31, NULL) ||
		    tell(self->sock[1]) || hear(self->sock[1]))
			_exit(1);
		if (variant->parent_first)
			munmap((void *)words, MAX_PAGES * page_size());
		end_child(variant->end, self->fd, &words[77], 31);
	}
	ASSERT_EQ(0, hear(self->sock[0]));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[77], 31));
	ASSERT_EQ(0, ue_switch("page_alone", 1));
	EXPECT_EQ(1U << 31, words[77]);
	ASSERT_EQ(0, tell(self->sock[0]));
	ASSERT_EQ(expected, ue_wait(pid));
	EXPECT_EQ(0, words[77]);
	ASSERT_EQ(0, ue_switch("page_alone", 0));
}

/* Many children at once: the last one counts. */
UE_TEST_F(page, many_children)
{
	const int count = 50;
	pid_t pids[50];
	uint32_t *words;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_many", words, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "page_many", words, 1, NULL));
	for (int i = 0; i < count; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			/* Those that are even keep only bit 0. */
			if (!(i & 1) && ue_unreg(self->fd, words, 1))
				_exit(1);
			if (tell(self->sock[1]))
				_exit(1);
			pause();
		}
		ASSERT_EQ(0, hear(self->sock[0]));
	}
	ASSERT_EQ(0, ue_switch("page_many", 1));
	EXPECT_EQ(3, words[0]);
	ASSERT_EQ(0, ue_unreg(self->fd, words, 0));
	ASSERT_EQ(0, ue_unreg(self->fd, words, 1));
	for (int i = count - 1; i >= 0; i--) {
		/* From 49 down: the last odd one is 1, the last one 0. */
		EXPECT_EQ(i ? 3 : 1, words[0])
			TH_LOG("child %d", i);
		kill(pids[i], SIGKILL);
		ASSERT_EQ(-SIGKILL, ue_wait(pids[i]));
	}
	EXPECT_EQ(0, words[0]);
}

/* The pages live as long as they are mapped, not as long as the file. */
UE_TEST_F(page, closed_file)
{
	int other = ue_open();
	uint32_t *words;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, map_words(self->fd, MAX_PAGES, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_closed", words, 0, NULL));
	close(self->fd);
	ASSERT_EQ(0, ue_reg(other, "page_closed", words, 1, NULL));
	ASSERT_EQ(0, ue_switch("page_closed", 1));
	EXPECT_EQ(3, words[0]);
	ASSERT_EQ(0, ue_unreg(other, words, 0));
	EXPECT_EQ(2, words[0]);
	ASSERT_EQ(0, ue_switch("page_closed", 0));
	EXPECT_EQ(0, words[0]);
	ASSERT_EQ(0, munmap((void *)words, MAX_PAGES * page_size()));
}

/*
 * The registration is of a word in the page: when the mapping is gone, what
 * comes to be at its address is not written.
 */
UE_TEST_F(page, unmapped)
{
	uint32_t *words, *mem;

	ASSERT_EQ(0, map_words(self->fd, 2, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_unmapped", words, 0, NULL));
	ASSERT_EQ(0, munmap((void *)words, 2 * page_size()));
	ASSERT_EQ(0, ue_switch("page_unmapped", 1));
	mem = mmap((void *)words, 2 * page_size(), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(mem, words);
	ASSERT_EQ(0, ue_switch("page_unmapped", 0));
	ASSERT_EQ(0, ue_switch("page_unmapped", 1));
	EXPECT_EQ(0, mem[0]);
	mem[0] = 0xff;
	EXPECT_EQ(0, ue_unreg(self->fd, words, 0));
	EXPECT_EQ(0xff, mem[0]);
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, words, 0));
}

UE_TEST_F(page, moved)
{
	uint32_t *words, *moved;
	void *hole = mmap(NULL, 4 * page_size(), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(hole != MAP_FAILED);
	ASSERT_EQ(0, map_words(self->fd, 2, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_moved", words, 0, NULL));

	/* It does not grow. */
	EXPECT_EQ(MAP_FAILED, mremap((void *)words, 2 * page_size(),
				     4 * page_size(), MREMAP_MAYMOVE));

	moved = mremap((void *)words, 2 * page_size(), 2 * page_size(),
		       MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	if (moved == MAP_FAILED) {
		/* That is an answer, too: then nothing has changed. */
		moved = words;
	}
	ASSERT_EQ(0, ue_switch("page_moved", 1));
	EXPECT_EQ(1, moved[0]);
	ASSERT_EQ(0, ue_switch("page_moved", 0));
	EXPECT_EQ(0, moved[0]);
	ASSERT_EQ(0, ue_switch("page_moved", 1));
	EXPECT_EQ(0, ue_unreg(self->fd, words, 0));
	EXPECT_EQ(0, moved[0]);
}

/* No advice loses a bit. */
UE_TEST_F(page, advised)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_COLD, MADV_PAGEOUT,
		MADV_DONTFORK, MADV_WIPEONFORK, MADV_DOFORK, MADV_MERGEABLE,
		MADV_HUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	};
	uint32_t *words;

	ASSERT_EQ(0, map_words(self->fd, 1, &words));
	ASSERT_EQ(0, ue_reg(self->fd, "page_advised", words, 6, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		ASSERT_EQ(0, ue_switch("page_advised", 1));
		madvise((void *)words, page_size(), advice[i]);
		EXPECT_EQ(1U << 6, words[0])
			TH_LOG("advice %d", advice[i]);
		ASSERT_EQ(0, ue_switch("page_advised", 0));
		EXPECT_EQ(0, words[0])
			TH_LOG("advice %d", advice[i]);
	}
}

/* The memory is charged to whoever maps it. */
UE_TEST_F(page, charged)
{
	const int count = 100;
	char path[128], text[64], pid_text[32];
	long long before, now;
	pid_t pid;

	snprintf(self->cgroup, sizeof(self->cgroup),
		 "/tmp/user_events_test.XXXXXX");
	ASSERT_TRUE(!!mkdtemp(self->cgroup));
	if (mount("cgroup2", self->cgroup, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2: CONFIG_CGROUPS");
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", self->cgroup);
	if (ue_write(path, "+memory"))
		SKIP(return, "no memory controller: CONFIG_MEMCG");
	snprintf(path, sizeof(path), "%s/page_test", self->cgroup);
	ASSERT_EQ(0, mkdir(path, 0700));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (hear(self->sock[1]))
			_exit(1);
		for (int i = 0; i < count; i++) {
			uint32_t *words;

			if (map_words(ue_open(), MAX_PAGES, &words))
				_exit(2);
			for (int page = 0; page < MAX_PAGES; page++) {
				if (words[page * page_size() / sizeof(*words)])
					_exit(3);
			}
		}
		if (tell(self->sock[1]) || hear(self->sock[1]))
			_exit(1);
		_exit(0);
	}
	snprintf(path, sizeof(path), "%s/page_test/cgroup.procs", self->cgroup);
	snprintf(pid_text, sizeof(pid_text), "%d", pid);
	ASSERT_EQ(0, ue_write(path, pid_text));
	snprintf(path, sizeof(path), "%s/page_test/memory.current",
		 self->cgroup);
	ASSERT_LT(0, ue_read(path, text, sizeof(text)));
	before = atoll(text);
	ASSERT_EQ(0, tell(self->sock[0]));
	ASSERT_EQ(0, hear(self->sock[0]));
	ASSERT_LT(0, ue_read(path, text, sizeof(text)));
	now = atoll(text);
	EXPECT_LE((long long)count * MAX_PAGES * page_size(), now - before);
	ASSERT_EQ(0, tell(self->sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
}

/*
 * The pages are locked memory of the user who maps them: of all processes of
 * that user together, up to their RLIMIT_MEMLOCK, until they are unmapped.
 */
#define LOCK_UID	1000
#define LOCK_FILES	8	/* of MAX_PAGES pages each, that are allowed */

/* Maps all pages of each file and closes it, until one is refused. */
static int map_until_refused(int *fds, int count, uint32_t **words)
{
	for (int i = 0; i < count; i++) {
		int ret = map_words(fds[i], MAX_PAGES, &words[i]);

		if (ret)
			return ret == -EPERM ? i : ret;
		close(fds[i]);
	}

	return count;
}

static int open_many(int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		fds[i] = ue_open();
		if (fds[i] < 0)
			return fds[i];
	}

	return 0;
}

static int unmap_words(uint32_t **words, int count)
{
	for (int i = 0; i < count; i++) {
		if (munmap((void *)words[i], MAX_PAGES * page_size()))
			return -errno;
	}

	return 0;
}

static int limit_locked(long bytes)
{
	struct rlimit limit = { bytes, bytes };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

static int map_one(void)
{
	uint32_t *words;
	int fd = ue_open();
	int ret = fd < 0 ? fd : map_words(fd, 1, &words);

	close(fd);

	return ret;
}

/* As a user without privileges, with files that were opened before. */
static int locked_by_user(int sock[2])
{
	static int fds[4 * (LOCK_FILES + 1)];
	uint32_t *words[LOCK_FILES + 1];
	pid_t other;

	if (open_many(fds, ARRAY_SIZE(fds)) ||
	    limit_locked((long)LOCK_FILES * MAX_PAGES * page_size()))
		return 1;

	/* Another process of the same user, with as much left as this one. */
	other = fork();
	if (setresgid(LOCK_UID, LOCK_UID, LOCK_UID) ||
	    setresuid(LOCK_UID, LOCK_UID, LOCK_UID))
		return 2;
	if (!other) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* They are for the first one to close. */
		for (int i = 0; i < 3 * (LOCK_FILES + 1); i++)
			close(fds[i]);
		for (int want = LOCK_FILES; ; want = 0) {
			int *mine = fds + 3 * (LOCK_FILES + 1);

			if (hear(sock[1]))
				_exit(1);
			if (map_words(mine[0], 1, words) !=
			    (want ? -EPERM : 0))
				_exit(2);
			if (!want)
				_exit(0);
			if (tell(sock[1]))
				_exit(3);
		}
	}

	for (int round = 0; round < 3; round++) {
		int *mine = fds + round * (LOCK_FILES + 1);
		int ret;

		ret = map_until_refused(mine, LOCK_FILES + 1, words);
		if (ret != LOCK_FILES)
			return ret < 0 ? 3 : 10 + ret;

		/* Nor is a single page left, for any process of the user. */
		if (map_words(mine[LOCK_FILES], 1, words + LOCK_FILES) !=
		    -EPERM)
			return 4;
		if (!round && (tell(sock[0]) || hear(sock[0])))
			return 5;

		/* What one gives back, another can have. */
		if (unmap_words(words, 1) ||
		    map_words(mine[LOCK_FILES], MAX_PAGES, words))
			return 6;
		close(mine[LOCK_FILES]);
		if (unmap_words(words, LOCK_FILES))
			return 7;
	}
	if (tell(sock[0]) || ue_wait(other))
		return 8;

	return 0;
}

UE_TEST_F(page, locked_memory)
{
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(locked_by_user(self->sock));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the return in locked_by_user()");
}

/* Who may lock memory without limit may do so here. */
UE_TEST_F(page, locked_memory_of_root)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (limit_locked(0))
			_exit(1);
		for (int i = 0; i < 50; i++) {
			if (map_one())
				_exit(2);
		}
		_exit(0);
	}
	EXPECT_EQ(0, ue_wait(pid));
}

TEST_HARNESS_MAIN
