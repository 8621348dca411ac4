// SPDX-License-Identifier: GPL-2.0
/*
 * A fork is one snapshot: a child has the registrations of one instant and the
 * memory of the same instant, whatever other threads do meanwhile. And what
 * registering and unregistering promise where the memory of a word changes under
 * them, or is shared by several processes.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <linux/sched.h>
#include <linux/userfaultfd.h>

#include "user_events_selftests.h"
#include "process.h"

#define BIT		3
#define SET		8U

#define STACK_SIZE	(64 * 1024)

/* A program that finds this in its environment just exits, with EXECUTED. */
#define EXEC_ENV	"USER_EVENTS_TEST_EXEC"
#define EXECUTED	42

static void __attribute__((constructor)) executed(void)
{
	if (getenv(EXEC_ENV))
		_exit(EXECUTED);
}

static void *map_shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* A child does not outlive the test, however that ends. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);

	return pid;
}

/* A process that shares the caller's memory, but is none of its threads. */
static pid_t clone_sharing(int (*run)(void *arg), void *arg)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (stack == MAP_FAILED)
		return -errno;
	ret = clone(run, stack + STACK_SIZE, CLONE_VM | SIGCHLD, arg);

	return ret < 0 ? -errno : ret;
}

FIXTURE(fork) {
	int fd;
	int sock[2];
};

FIXTURE_SETUP(fork)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
}

FIXTURE_TEARDOWN_PARENT(fork)
{
	EXPECT_EQ(0, ue_sweep());
}

/*
 * A word is let go, is data of the program's for a while, and is registered
 * again, without end. Meanwhile the process forks. A child in which the word is
 * registered finds the bit as the event is, and a child in which it is not
 * finds what the program stored last, or is about to store: no store of the
 * program's happens in between that the child would not see.
 */
#define DATA_FORKS	ue_rounds(variant->uprobes ? 200 : 700)
#define DATA_DWELL	3000		/* looks at it before it goes on */
#define DATA		(~0U)
#define DATA_PROBE	"ue_fork/data"

struct data {
	uint32_t stored;	/* what the word has while it is let go */
	uint32_t next;		/* or this */
	uint32_t word;
};

struct data_race {
	atomic_uint steps;
	atomic_int stop;
	atomic_int failed;
};

struct data_thread {
	struct data *data;
	struct data_race *race;
	uint32_t registered;	/* what the word has while it is registered */
	int fd;
};

FIXTURE(data) {
	int fd;
};

FIXTURE_VARIANT(data) {
	bool on;		/* the event */
	bool uprobes;		/* come and go: forks wait for that */
	bool sharing;		/* not a thread, but a process that shares */
};

FIXTURE_VARIANT_ADD(data, unregistered) {
	.on = true,
};

FIXTURE_VARIANT_ADD(data, registered) {
};

FIXTURE_VARIANT_ADD(data, unregistered_uprobes) {
	.on = true,
	.uprobes = true,
};

FIXTURE_VARIANT_ADD(data, registered_uprobes) {
	.uprobes = true,
};

FIXTURE_VARIANT_ADD(data, unregistered_sharing) {
	.on = true,
	.sharing = true,
};

FIXTURE_VARIANT_ADD(data, registered_sharing) {
	.sharing = true,
};

FIXTURE_SETUP(data)
{
	UE_REQUIRE();
	if (variant->uprobes && access(UE_TRACEFS "/uprobe_events", W_OK))
		SKIP(return, "no uprobe_events: CONFIG_UPROBE_EVENTS");
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(data)
{
	if (variant->uprobes) {
		ue_write("events/" DATA_PROBE "/enable", "0");
		ue_write("uprobe_events", "-:" DATA_PROBE);
	}
	EXPECT_EQ(0, ue_sweep());
}

static void data_store(struct data *data, uint32_t value)
{
	__atomic_store_n(&data->next, value, __ATOMIC_SEQ_CST);
	__atomic_store_n(&data->word, value, __ATOMIC_SEQ_CST);
	__atomic_store_n(&data->stored, value, __ATOMIC_SEQ_CST);
}

static int data_work(void *arg)
{
	struct data_thread *thread = arg;
	struct data_race *race = thread->race;
	struct data *data = thread->data;

	while (!atomic_load(&race->stop)) {
		data_store(data, DATA);
		for (int i = 0; i < DATA_DWELL; i++) {
			if (__atomic_load_n(&data->word, __ATOMIC_SEQ_CST) !=
			    DATA)
				atomic_store(&race->failed, __LINE__);
		}

		/* With the event on, the word is to have no bit set before. */
		if (thread->registered == SET)
			data_store(data, 0);
		if (ue_reg(thread->fd, "fork_data", &data->word, BIT, NULL) ||
		    data->word != thread->registered)
			atomic_store(&race->failed, __LINE__);

		/* What it leaves behind. */
		data->next = thread->registered & ~SET;
		__atomic_store_n(&data->stored, data->next, __ATOMIC_SEQ_CST);
		if (ue_unreg(thread->fd, &data->word, BIT) ||
		    data->word != data->stored)
			atomic_store(&race->failed, __LINE__);
		atomic_fetch_add(&race->steps, 1);
	}

	return 0;
}

static void *data_thread(void *arg)
{
	data_work(arg);

	return NULL;
}

/* What was under way in the parent may still concern the child. */
static void data_settle(struct data_race *race)
{
	unsigned int start = atomic_load(&race->steps);

	while (atomic_load(&race->steps) - start < 2)
		sched_yield();
}

/* In the child; returns the line that is wrong. */
static int data_check(struct data_thread *thread, int round)
{
	struct data *data = thread->data;
	uint32_t before, after;
	int ret;

	if (round & 1)
		data_settle(thread->race);
	before = data->word;
	ret = ue_unreg(thread->fd, &data->word, BIT);
	after = data->word;
	if (ret && ret != -ENOENT)
		return __LINE__;
	if (!ret && before != thread->registered)
		return __LINE__;
	if (!ret && after != (thread->registered & ~SET))
		return __LINE__;
	if (ret && before != data->stored && before != data->next)
		return __LINE__;
	if (ret && after != before)
		return __LINE__;

	data_settle(thread->race);

	return data->word != after ? __LINE__ : 0;
}

/* Forks wait while somebody attaches a uprobe, anywhere. */
static pid_t data_attach_uprobes(struct data_race *race)
{
	int file = memfd_create("fork_data", 0);
	char probe[64];
	pid_t pid;

	if (file < 0 || ftruncate(file, page_size()))
		return -errno;
	snprintf(probe, sizeof(probe), "p:" DATA_PROBE " /proc/self/fd/%d:0",
		 file);
	if (ue_write("uprobe_events", probe))
		return -ENOENT;
	close(file);

	pid = fork_child();
	if (pid)
		return pid;
	for (int i = 0; !atomic_load(&race->stop); i++) {
		if (ue_write("events/" DATA_PROBE "/enable", i & 1 ? "0" : "1"))
			_exit(1);
	}
	_exit(0);
}

UE_TEST_F(data, is_what_was_stored)
{
	struct data_race *race = map_shared(sizeof(*race));
	struct data_thread arg = {
		.data = map_pages(1),
		.race = race,
		.registered = variant->on ? SET : DATA & ~SET,
		.fd = self->fd,
	};
	int *line = map_shared(sizeof(*line));
	uint32_t *word = map_pages(1);
	pid_t worker = 0, prober = 0;
	int wrong = 0, last = 0;
	pthread_t thread;

	ASSERT_TRUE(race && line && arg.data && word);
	ASSERT_EQ(0, ue_reg(self->fd, "fork_data", word, BIT, NULL));
	ASSERT_EQ(0, ue_switch("fork_data", variant->on));
	if (variant->uprobes) {
		prober = data_attach_uprobes(race);
		ASSERT_LT(0, prober);
	}
	if (variant->sharing) {
		worker = clone_sharing(data_work, &arg);
		ASSERT_LT(0, worker);
	} else {
		ASSERT_EQ(0, pthread_create(&thread, NULL, data_thread, &arg));
	}
	for (int round = 0; round < DATA_FORKS; round++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			*line = data_check(&arg, round);
			_exit(!!*line);
		}
		if (ue_wait(pid)) {
			wrong++;
			last = *line;
		}
	}
	atomic_store(&race->stop, 1);
	EXPECT_EQ(0, variant->sharing ? ue_wait(worker) :
					pthread_join(thread, NULL));
	EXPECT_EQ(0, prober ? ue_wait(prober) : 0);
	EXPECT_EQ(0, wrong)
		TH_LOG("of %d children, the last in line %d", DATA_FORKS, last);
	EXPECT_EQ(0, atomic_load(&race->failed))
		TH_LOG("the number is of the line in data_work()");
}

/*
 * Memory whose first fault is waited for by a userfaultfd.
 */
struct missing {
	int uffd;
	char *page;
};

static int missing_map(struct missing *missing)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.len = page_size(),
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	missing->page = map_pages(1);
	if (!missing->page)
		return -ENOMEM;
	reg.range.start = (uintptr_t)missing->page;
	missing->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (missing->uffd < 0 || ioctl(missing->uffd, UFFDIO_API, &api) ||
	    ioctl(missing->uffd, UFFDIO_REGISTER, &reg))
		return -errno;

	return 0;
}

/* Waits for the fault. */
static int missing_wait(struct missing *missing)
{
	struct uffd_msg msg;

	if (read(missing->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return -EIO;

	return msg.event == UFFD_EVENT_PAGEFAULT ? 0 : -EIO;
}

static int missing_answer(struct missing *missing)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)missing->page,
		.range.len = page_size(),
	};

	return ioctl(missing->uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

/* Puts other memory in its place. Who waits for the old goes on waiting. */
static int missing_replace(struct missing *missing, int prot)
{
	void *mem = mmap(missing->page, page_size(), prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return mem == missing->page ? 0 : -errno;
}

/* Has them look again. */
static int missing_wake(struct missing *missing)
{
	struct uffdio_range range = {
		.start = (uintptr_t)missing->page,
		.len = page_size(),
	};

	return ioctl(missing->uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}

/*
 * A fork that is held up behind the copy of the memory: it stores the pidfd
 * where nothing is.
 */
#define HELD_WORDS	2000

struct held_fork {
	struct missing pidfd;
	pthread_t thread;
	int (*check)(int fd, uint32_t *words);
	int fd;
	uint32_t *words;
	int *wrong;		/* what check() returned in the child */
	pid_t pid;
};

static void *held_fork_thread(void *arg)
{
	struct held_fork *held = arg;
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uintptr_t)held->pidfd.page,
		.exit_signal = SIGCHLD,
	};

	held->pid = syscall(__NR_clone3, &args, sizeof(args));
	if (!held->pid) {
		*held->wrong = held->check(held->fd, held->words);
		_exit(0);
	}

	return NULL;
}

static int held_fork_start(struct held_fork *held, int fd,
			   int (*check)(int fd, uint32_t *words))
{
	int ret = missing_map(&held->pidfd);

	if (ret)
		return ret;
	held->fd = fd;
	held->check = check;
	held->words = map_pages(HELD_WORDS * sizeof(*held->words) /
				page_size() + 1);
	held->wrong = map_shared(sizeof(*held->wrong));
	if (!held->words || !held->wrong)
		return -ENOMEM;
	*held->wrong = -1;

	return 0;
}

static int held_fork_begin(struct held_fork *held)
{
	if (pthread_create(&held->thread, NULL, held_fork_thread, held))
		return -EAGAIN;

	return missing_wait(&held->pidfd);
}

/* Returns how many words are wrong in the child. */
static int held_fork_end(struct held_fork *held)
{
	int ret = missing_answer(&held->pidfd);

	if (ret || pthread_join(held->thread, NULL) || held->pid < 0)
		return -EIO;
	ret = ue_wait(held->pid);
	close(held->pidfd.uffd);

	return ret ? -EIO : *held->wrong;
}

static int held_reg(int fd, uint32_t *words)
{
	int ret = 0;

	for (int i = 0; i < HELD_WORDS && !ret; i++)
		ret = ue_reg(fd, "fork_held", &words[i], BIT, NULL);

	return ret;
}

static int held_unreg(int fd, uint32_t *words)
{
	int ret = 0;

	for (int i = 0; i < HELD_WORDS && !ret; i++)
		ret = ue_unreg(fd, &words[i], BIT);

	return ret;
}

/* A bit is set where the word is registered, and only there. */
static int bits_of_registrations(int fd, uint32_t *words)
{
	int wrong = 0;

	for (int i = 0; i < HELD_WORDS; i++) {
		uint32_t before = words[i];
		int ret = ue_unreg(fd, &words[i], BIT);

		if (ret != (before == SET ? 0 : -ENOENT) || words[i])
			wrong++;
	}

	return wrong;
}

UE_TEST_F(fork, unregistered_while_it_is_held)
{
	struct held_fork held;

	ASSERT_EQ(0, held_fork_start(&held, self->fd, bits_of_registrations));
	ASSERT_EQ(0, held_reg(self->fd, held.words));
	ASSERT_EQ(0, ue_switch("fork_held", 1));
	ASSERT_EQ(0, held_fork_begin(&held));
	EXPECT_EQ(0, held_unreg(self->fd, held.words));
	EXPECT_EQ(0, held_fork_end(&held));
}

UE_TEST_F(fork, registered_while_it_is_held)
{
	struct held_fork held;
	uint32_t word = 0;

	ASSERT_EQ(0, held_fork_start(&held, self->fd, bits_of_registrations));
	ASSERT_EQ(0, ue_reg(self->fd, "fork_held", &word, BIT, NULL));
	ASSERT_EQ(0, ue_switch("fork_held", 1));
	ASSERT_EQ(0, held_fork_begin(&held));
	EXPECT_EQ(0, held_reg(self->fd, held.words));
	EXPECT_EQ(0, held_fork_end(&held));
	EXPECT_EQ(0, bits_of_registrations(self->fd, held.words));
}

/* Words of other data, of which none may change. */
static int data_everywhere(int fd, uint32_t *words)
{
	int wrong = 0;

	for (int i = 0; i < HELD_WORDS; i++) {
		if (ue_unreg(fd, &words[i], BIT) != -ENOENT ||
		    words[i] != DATA)
			wrong++;
	}

	return wrong;
}

/* Registered after it, with an event that is off. */
UE_TEST_F(fork, data_while_it_is_held)
{
	struct held_fork held;
	int changed = 0;

	ASSERT_EQ(0, held_fork_start(&held, self->fd, data_everywhere));
	ASSERT_EQ(0, held_reg(self->fd, held.words));
	ASSERT_EQ(0, ue_switch("fork_held", 1));
	ASSERT_EQ(0, held_unreg(self->fd, held.words));
	for (int i = 0; i < HELD_WORDS; i++)
		held.words[i] = DATA;
	ASSERT_EQ(0, ue_switch("fork_held", 0));
	ASSERT_EQ(0, held_fork_begin(&held));
	EXPECT_EQ(0, held_reg(self->fd, held.words));
	for (int i = 0; i < HELD_WORDS; i++)
		changed += held.words[i] == (DATA & ~SET);
	EXPECT_EQ(HELD_WORDS, changed);
	EXPECT_EQ(0, held_fork_end(&held));
}

static int bits_go(int fd, uint32_t *words)
{
	int wrong = 0;

	for (int i = 0; i < HELD_WORDS; i++) {
		wait_word(&words[i], 0);
		wrong += ue_unreg(fd, &words[i], BIT) || words[i];
	}

	return wrong;
}

UE_TEST_F(fork, toggled_while_it_is_held)
{
	struct held_fork held;

	ASSERT_EQ(0, held_fork_start(&held, self->fd, bits_go));
	ASSERT_EQ(0, held_reg(self->fd, held.words));
	ASSERT_EQ(0, ue_switch("fork_held", 1));
	ASSERT_EQ(0, held_fork_begin(&held));
	ASSERT_EQ(0, ue_switch("fork_held", 0));
	for (int i = 0; i < HELD_WORDS; i++)
		wait_word(&held.words[i], 0);
	EXPECT_EQ(0, held_fork_end(&held));
}

/* A registration that waits for its memory, in a thread. */
struct reg_thread {
	pthread_t thread;
	struct missing missing;
	int fd;
	int ret;
};

static void *reg_thread(void *arg)
{
	struct reg_thread *reg = arg;

	reg->ret = ue_reg(reg->fd, "fork_waits",
			  (uint32_t *)reg->missing.page, BIT, NULL);

	return NULL;
}

static int reg_thread_start(struct reg_thread *reg, int fd)
{
	int ret = missing_map(&reg->missing);

	if (ret)
		return ret;
	reg->fd = fd;
	if (pthread_create(&reg->thread, NULL, reg_thread, reg))
		return -EAGAIN;

	return missing_wait(&reg->missing);
}

/* Its memory becomes read-only meanwhile, so it fails: returns its errno. */
static int reg_thread_end(struct reg_thread *reg)
{
	if (mprotect(reg->missing.page, page_size(), PROT_READ) ||
	    missing_wake(&reg->missing) || pthread_join(reg->thread, NULL))
		return -EIO;
	close(reg->missing.uffd);

	return reg->ret;
}

UE_TEST_F(fork, failed_reg_takes_nothing)
{
	struct reg_thread reg;
	uint32_t *word;
	int ret;

	ASSERT_EQ(0, reg_thread_start(&reg, self->fd));
	ASSERT_EQ(0, missing_replace(&reg.missing, PROT_READ | PROT_WRITE));
	word = (uint32_t *)reg.missing.page;
	*word = 0;

	/* What has not succeeded cannot be seen. */
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, BIT));
	ASSERT_EQ(0, ue_reg(self->fd, "fork_third", word, BIT, NULL));
	ASSERT_EQ(0, ue_switch("fork_third", 1));
	EXPECT_EQ(SET, *word);

	ret = reg_thread_end(&reg);
	EXPECT_TRUE(ret == -EFAULT || ret == -EADDRINUSE)
		TH_LOG("it returned %d", ret);
	EXPECT_EQ(0, ue_event_exists("fork_waits"));
	EXPECT_EQ(SET, *word);
	ASSERT_EQ(0, mprotect((void *)word, page_size(),
			      PROT_READ | PROT_WRITE));
	ASSERT_EQ(-EADDRINUSE, ue_reg(self->fd, "fork_third", word, BIT, NULL));
	ASSERT_EQ(0, ue_switch("fork_third", 0));
	wait_word(word, 0);
	ASSERT_EQ(0, ue_switch("fork_third", 1));
	wait_word(word, SET);
	EXPECT_EQ(0, ue_unreg(self->fd, word, BIT));
	EXPECT_EQ(0, *word);
}

UE_TEST_F(fork, failed_reg_is_not_inherited)
{
	struct reg_thread reg;
	pid_t pid;

	ASSERT_EQ(0, reg_thread_start(&reg, self->fd));
	pid = fork_child();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (tell(self->sock[1]) || hear(self->sock[1]))
			_exit(1);
		_exit(-ue_unreg(self->fd, reg.missing.page, BIT));
	}
	ASSERT_EQ(0, hear(self->sock[0]));
	ASSERT_EQ(0, missing_replace(&reg.missing, PROT_READ));
	EXPECT_EQ(-EFAULT, reg_thread_end(&reg));
	EXPECT_EQ(0, ue_event_exists("fork_waits"));
	ASSERT_EQ(0, tell(self->sock[0]));
	EXPECT_EQ(ENOENT, ue_wait(pid));
}

/*
 * A registration whose memory is gone, or may not be written any more. The bit
 * cannot be cleared, which UNREG says, and the registration has ended.
 */
FIXTURE(gone) {
	int fd;
};

FIXTURE_VARIANT(gone) {
	enum { UNMAPPED, PROTECTED, INACCESSIBLE, TRUNCATED } how;
	bool on;
};

FIXTURE_VARIANT_ADD(gone, unmapped) {
	.how = UNMAPPED,
};

FIXTURE_VARIANT_ADD(gone, unmapped_on) {
	.how = UNMAPPED,
	.on = true,
};

FIXTURE_VARIANT_ADD(gone, read_only) {
	.how = PROTECTED,
};

FIXTURE_VARIANT_ADD(gone, read_only_on) {
	.how = PROTECTED,
	.on = true,
};

FIXTURE_VARIANT_ADD(gone, inaccessible) {
	.how = INACCESSIBLE,
};

FIXTURE_VARIANT_ADD(gone, inaccessible_on) {
	.how = INACCESSIBLE,
	.on = true,
};

FIXTURE_VARIANT_ADD(gone, truncated) {
	.how = TRUNCATED,
};

FIXTURE_VARIANT_ADD(gone, truncated_on) {
	.how = TRUNCATED,
	.on = true,
};

FIXTURE_SETUP(gone)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(gone)
{
	EXPECT_EQ(0, ue_sweep());
}

static int take_away(int how, uint32_t *word, int file)
{
	int ret = -1;

	switch (how) {
	case UNMAPPED:
		ret = munmap((void *)word, page_size());
		break;
	case PROTECTED:
		ret = mprotect((void *)word, page_size(), PROT_READ);
		break;
	case INACCESSIBLE:
		ret = mprotect((void *)word, page_size(), PROT_NONE);
		break;
	case TRUNCATED:
		ret = ftruncate(file, 0);
		break;
	}

	return ret ? -errno : 0;
}

UE_TEST_F(gone, says_so_and_ends)
{
	int file = memfd_create("fork_gone", MFD_CLOEXEC);
	uint32_t *word, left = variant->on ? SET : 0;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, page_size()));
	word = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
		    variant->how == TRUNCATED ? MAP_SHARED : MAP_PRIVATE, file,
		    0);
	ASSERT_TRUE(word != MAP_FAILED);
	*word = 0;
	ASSERT_EQ(0, ue_reg(self->fd, "fork_gone", word, BIT, NULL));
	ASSERT_EQ(0, ue_switch("fork_gone", variant->on));
	EXPECT_EQ(variant->on ? SET : 0, *word);
	ASSERT_EQ(0, take_away(variant->how, word, file));
	EXPECT_EQ(-EFAULT, ue_unreg(self->fd, word, BIT));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, BIT));
	if (variant->how == PROTECTED)
		left = *word;
	EXPECT_EQ(variant->on ? SET : 0, left);
	ASSERT_EQ(0, ue_switch("fork_gone", 0));
	close(self->fd);
	EXPECT_EQ(0, ue_event_exists("fork_gone"));
}

/* The event is persistent, so that its last user does not take it along. */
UE_TEST_F(gone, leaves_an_event_to_delete)
{
	int file = memfd_create("fork_gone", MFD_CLOEXEC);
	int other = ue_open();
	uint32_t *word;

	ASSERT_LE(0, file);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, ftruncate(file, page_size()));
	word = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
		    variant->how == TRUNCATED ? MAP_SHARED : MAP_PRIVATE, file,
		    0);
	ASSERT_TRUE(word != MAP_FAILED);
	ASSERT_EQ(0, ue_reg_full(other, "fork_kept", USER_EVENT_REG_PERSIST,
				 word, sizeof(*word), BIT, NULL));
	close(other);
	ASSERT_EQ(0, take_away(variant->how, word, file));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "fork_kept"));
	EXPECT_EQ(-EFAULT, ue_unreg(self->fd, word, BIT));
	EXPECT_EQ(0, ue_del(self->fd, "fork_kept"));
}

/*
 * Processes that share memory share the registrations, whichever of them made
 * them. They last as long as one of the processes has the memory, and no longer,
 * whoever else looks into it.
 */
#define SHARING_ROUNDS	ue_rounds(40)

FIXTURE(sharing) {
	int fd;
	int sock[2];
};

FIXTURE_VARIANT(sharing) {
	bool parent_first;	/* ends first, else the child */
	enum { EXIT, EXEC, KILL } end;
};

FIXTURE_VARIANT_ADD(sharing, child_exits) {
	.end = EXIT,
};

FIXTURE_VARIANT_ADD(sharing, child_executes) {
	.end = EXEC,
};

FIXTURE_VARIANT_ADD(sharing, child_killed) {
	.end = KILL,
};

FIXTURE_VARIANT_ADD(sharing, parent_exits) {
	.parent_first = true,
	.end = EXIT,
};

FIXTURE_VARIANT_ADD(sharing, parent_executes) {
	.parent_first = true,
	.end = EXEC,
};

FIXTURE_VARIANT_ADD(sharing, parent_killed) {
	.parent_first = true,
	.end = KILL,
};

FIXTURE_SETUP(sharing)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
}

FIXTURE_TEARDOWN_PARENT(sharing)
{
	EXPECT_EQ(0, ue_sweep());
}

struct sharing {
	uint32_t *word;
	int sock;
	bool parent_first;
	int end;
	atomic_int registered;
};

/* Of those who read the processes' memory. */
struct peek {
	atomic_int pid;
	atomic_int stop;
	const void *word;
};

static void end_process(int how)
{
	static char * const argv[] = { "/proc/self/exe", NULL };
	static char * const envp[] = { EXEC_ENV "=1", NULL };

	switch (how) {
	case EXIT:
		_exit(EXECUTED);
	case EXEC:
		execve(argv[0], argv, envp);
		_exit(1);
	case KILL:
		raise(SIGKILL);
		_exit(1);
	}
}

/* The one that is left sees the toggles, and exits. */
static int sharing_last(struct sharing *sharing)
{
	for (uint32_t want = SET; ; want ^= SET) {
		if (tell(sharing->sock) || hear(sharing->sock))
			return 1;
		if (*sharing->word != want)
			return 2;
		if (!want)
			break;
	}

	return tell(sharing->sock) || hear(sharing->sock) ? 3 : EXECUTED;
}

/* The child makes the registration, with a file of its own. */
static int sharing_child(void *arg)
{
	struct sharing *sharing = arg;
	pid_t pid = getpid();
	int fd = ue_open();

	if (fd < 0 || ue_reg(fd, "fork_sharing", sharing->word, BIT, NULL))
		_exit(1);
	close(fd);
	if (!sharing->parent_first)
		end_process(sharing->end);

	/* Told when the parent is gone. */
	if (write(sharing->sock, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	atomic_store(&sharing->registered, 1);
	if (hear(sharing->sock))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(sharing_last(sharing));
}

static void sharing_parent(struct sharing *sharing)
{
	int expected = sharing->end == KILL ? -SIGKILL : EXECUTED;
	pid_t pid;

	pid = clone_sharing(sharing_child, sharing);
	if (pid < 0)
		_exit(1);
	if (!sharing->parent_first) {
		if (ue_wait(pid) != expected)
			_exit(2);
		_exit(sharing_last(sharing));
	}

	while (!atomic_load(&sharing->registered))
		sched_yield();
	end_process(sharing->end);
}

static void peek_file(pid_t pid, const char *file)
{
	static char text[4096];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	ue_read(path, text, sizeof(text));
}

static void peek_without_end(struct peek *peek)
{
	while (!atomic_load(&peek->stop)) {
		pid_t pid = atomic_load(&peek->pid);
		uint32_t value;
		struct iovec local = { &value, sizeof(value) };
		struct iovec remote = { (void *)peek->word, sizeof(value) };

		if (!pid) {
			sched_yield();
			continue;
		}
		peek_file(pid, "cmdline");
		peek_file(pid, "maps");
		process_vm_readv(pid, &local, 1, &remote, 1, 0);
	}
	_exit(0);
}

UE_TEST_F(sharing, lasts_as_long_as_the_memory)
{
	const int expected = variant->end == KILL ? -SIGKILL : EXECUTED;
	struct peek *peek = map_shared(sizeof(*peek));
	struct sharing sharing = {
		.word = map_pages(1),
		.sock = self->sock[1],
		.parent_first = variant->parent_first,
		.end = variant->end,
	};
	int left = 0;
	pid_t reader;

	ASSERT_TRUE(peek && sharing.word);
	peek->word = sharing.word;
	reader = fork_child();
	ASSERT_LE(0, reader);
	if (!reader)
		peek_without_end(peek);

	for (int round = 0; round < SHARING_ROUNDS; round++) {
		pid_t pid = fork_child();

		ASSERT_LE(0, pid);
		if (!pid) {
			close(self->sock[0]);
			sharing_parent(&sharing);
		}
		atomic_store(&peek->pid, pid);
		if (variant->parent_first) {
			pid_t parent = pid;

			ASSERT_EQ(sizeof(pid),
				  read(self->sock[0], &pid, sizeof(pid)));
			EXPECT_EQ(expected, ue_wait(parent));
			atomic_store(&peek->pid, pid);
			ASSERT_EQ(0, tell(self->sock[0]));
		}
		for (int on = 1; on >= 0; on--) {
			ASSERT_EQ(0, hear(self->sock[0]));
			ASSERT_EQ(0, ue_switch("fork_sharing", on));
			ASSERT_EQ(0, tell(self->sock[0]));
		}
		ASSERT_EQ(0, hear(self->sock[0]));
		EXPECT_EQ(1, ue_event_exists("fork_sharing"));
		ASSERT_EQ(0, tell(self->sock[0]));
		EXPECT_EQ(EXECUTED, ue_wait(pid));
		left += ue_event_exists("fork_sharing");
		atomic_store(&peek->pid, 0);
	}
	atomic_store(&peek->stop, 1);
	EXPECT_EQ(0, ue_wait(reader));
	EXPECT_EQ(0, left)
		TH_LOG("of %d rounds", SHARING_ROUNDS);
}

/*
 * Memory that a fork has made copy-on-write: each of the two has its words in
 * the shared page until it writes there, and they follow from then on and before.
 */
FIXTURE(cow) {
	int fd;
	int sock[2];
	size_t size;
	uint32_t *words;
	char nr_hugepages[32];
};

FIXTURE_VARIANT(cow) {
	bool huge;
};

FIXTURE_VARIANT_ADD(cow, page) {
};

FIXTURE_VARIANT_ADD(cow, huge_page) {
	.huge = true,
};

#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"

FIXTURE_SETUP(cow)
{
	char text[4096], *pos;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
	self->size = page_size();
	if (variant->huge) {
		ASSERT_LT(0, ue_read("/proc/meminfo", text, sizeof(text)));
		pos = strstr(text, "Hugepagesize:");
		if (!pos)
			SKIP(return, "no huge pages: CONFIG_HUGETLBFS");
		self->size = strtoul(pos + 13, NULL, 10) << 10;
		ASSERT_LT(0, ue_read(NR_HUGEPAGES, self->nr_hugepages,
				     sizeof(self->nr_hugepages)));
		/* One for each of the two, and one to spare. */
		ASSERT_EQ(0, ue_write(NR_HUGEPAGES, "3"));
		flags |= MAP_HUGETLB;
	}
	self->words = mmap(NULL, self->size, PROT_READ | PROT_WRITE, flags, -1,
			   0);
	if (self->words == MAP_FAILED && variant->huge)
		SKIP(return, "no memory for a huge page");
	ASSERT_TRUE(self->words != MAP_FAILED);
}

FIXTURE_TEARDOWN_PARENT(cow)
{
	const char *before = self->nr_hugepages;

	EXPECT_EQ(0, *before ? ue_write(NR_HUGEPAGES, before) : 0);
	EXPECT_EQ(0, ue_sweep());
}

/* In the child: it follows, and then it alone is registered. */
static int cow_child(int sock, int fd, uint32_t *words)
{
	for (int i = 0; i < 4; i++) {
		wait_word(&words[0], i & 1 ? SET : 0);
		if (words[1] != DATA)
			return 1;
		if (tell(sock) || hear(sock))
			return 2;
	}

	/* The parent has let go of its word, and switched off and on. */
	wait_word(&words[0], SET);
	if (tell(sock) || hear(sock))
		return 3;
	wait_word(&words[0], 0);
	if (words[1] != DATA || ue_unreg(fd, &words[0], BIT) || words[0])
		return 4;

	return 0;
}

UE_TEST_F(cow, each_follows_on_its_own)
{
	uint32_t *words = self->words;
	pid_t pid;

	words[1] = DATA;
	ASSERT_EQ(0, ue_reg(self->fd, "fork_cow", &words[0], BIT, NULL));
	for (int round = 0; round < 5; round++) {
		ASSERT_EQ(0, ue_switch("fork_cow", 1));
		wait_word(&words[0], SET);
		pid = fork_child();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (hear(self->sock[1]))
				_exit(5);
			_exit(cow_child(self->sock[1], self->fd, words));
		}

		/* Nobody has written to the page, and nobody need do so. */
		ASSERT_EQ(0, ue_switch("fork_cow", 0));
		ASSERT_EQ(0, tell(self->sock[0]));
		for (int i = 0; i < 4; i++) {
			wait_word(&words[0], i & 1 ? SET : 0);
			ASSERT_EQ(0, hear(self->sock[0]));
			EXPECT_EQ(DATA, words[1]);
			if (i == 3)
				break;
			ASSERT_EQ(0, ue_switch("fork_cow", !(i & 1)));
			ASSERT_EQ(0, tell(self->sock[0]));
		}

		ASSERT_EQ(0, ue_unreg(self->fd, &words[0], BIT));
		EXPECT_EQ(0, words[0]);
		words[0] = DATA;
		ASSERT_EQ(0, ue_switch("fork_cow", 0));
		ASSERT_EQ(0, ue_switch("fork_cow", 1));
		ASSERT_EQ(0, tell(self->sock[0]));
		ASSERT_EQ(0, hear(self->sock[0]));
		ASSERT_EQ(0, ue_switch("fork_cow", 0));
		ASSERT_EQ(0, tell(self->sock[0]));
		EXPECT_EQ(0, ue_wait(pid))
			TH_LOG("the number is of the return in cow_child()");
		EXPECT_EQ(DATA, words[0]);
		words[0] = 0;
		ASSERT_EQ(0, ue_reg(self->fd, "fork_cow", &words[0], BIT,
				    NULL));
	}
	ASSERT_EQ(0, ue_unreg(self->fd, &words[0], BIT));
}

TEST_HARNESS_MAIN
