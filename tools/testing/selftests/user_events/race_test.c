// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at the same time: threads and processes that register, write,
 * toggle, attach, fork and go, on few names. While they race, each call gives
 * what the contract allows it; when they have met, everything is as if they
 * had come one after the other.
 *
 * All counts are fixed. A test waits only for what the contract promises to
 * come, and the harness ends a test that waits for ever.
 */
#include <glob.h>
#include <stddef.h>

#include "consumer.h"
#include "crew.h"
#include "groups.h"
#include "process.h"

#include <linux/sched.h>
#include <sys/mount.h>

/* What one worker does between two meetings is random, but always the same. */
static unsigned int draw(unsigned int *seed, unsigned int below)
{
	return (unsigned int)rand_r(seed) / 16 % below;
}

/* Whether a call says that the event it names has gone meanwhile. */
static bool says_gone(int ret)
{
	return ret == -ENOENT || ret == -ENODEV;
}

static void remove_instances(void)
{
	glob_t found;

	if (glob(UE_TRACEFS "/instances/ue_race*", 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		rmdir(found.gl_pathv[i]);
	globfree(&found);
}

/* The first try has to succeed, and the event goes with its user. */
static int try_name(const char *args)
{
	uint32_t word = 0;
	int fd = ue_open();
	int ret;

	if (fd < 0)
		return fd;

	ret = ue_reg(fd, args, &word, 0, NULL);
	if (!ret)
		ret = ue_unreg(fd, &word, 0);
	close(fd);

	return ret;
}

/*
 * One name: those who register it, unregister, close, delete and write race
 * with each other and with a tracer.
 */
#define NAME_PROCESSES	3
#define NAME_THREADS	2
#define NAME_ROUNDS	ue_rounds(60)
#define NAME_STEPS	40
#define NAME_TOGGLES	8

FIXTURE(name) {
};

FIXTURE_VARIANT(name) {
	unsigned int flags;
	int nr_formats;		/* that may exist together */
	const char *enable;	/* file a tracer toggles */
};

FIXTURE_VARIANT_ADD(name, single) {
	.nr_formats = 1,
	.enable = "events/user_events/race_name/enable",
};

FIXTURE_VARIANT_ADD(name, multi) {
	.flags = USER_EVENT_REG_MULTI_FORMAT,
	.nr_formats = 2,
	.enable = "events/user_events_multi/enable",
};

FIXTURE_VARIANT_ADD(name, persistent) {
	.flags = USER_EVENT_REG_PERSIST,
	.nr_formats = 1,
	.enable = "events/user_events/race_name/enable",
};

static const char * const name_formats[] = {
	"race_name u32 a",
	"race_name u32 b; u8 c",
};

/* Of the variant. */
static unsigned int name_flags;
static int name_nr_formats;

FIXTURE_SETUP(name)
{
	UE_REQUIRE();
	name_flags = variant->flags;
	name_nr_formats = variant->nr_formats;
	ASSERT_EQ(0, crew_create(NAME_PROCESSES * NAME_THREADS + 1));
}

FIXTURE_TEARDOWN_PARENT(name)
{
	EXPECT_EQ(0, ue_sweep());
}

struct user {
	int fd;
	bool on_file;			/* the file has an index */
	bool registered[2];
	uint32_t words[2];
	unsigned int seed;
};

static bool refers(const struct user *user)
{
	return user->on_file || user->registered[0] || user->registered[1];
}

static void user_register(struct user *user, int i)
{
	const char *args = name_formats[draw(&user->seed, name_nr_formats)];
	int ret = ue_reg_full(user->fd, args, name_flags, &user->words[i], 4,
			      i, NULL);

	WANT_EQ(user->registered[i] ? -EADDRINUSE : 0, ret);
	WANT(!(user->words[i] & ~(1U << i)), user->words[i]);
	if (!ret) {
		user->registered[i] = true;
		user->on_file = true;
	}
}

static void user_unregister(struct user *user, int i)
{
	WANT_EQ(user->registered[i] ? 0 : -ENOENT,
		ue_unreg(user->fd, &user->words[i], i));
	WANT_EQ(0, user->words[i]);
	user->registered[i] = false;
}

static void user_reopen(struct user *user)
{
	if (user->fd >= 0)
		close(user->fd);
	user->fd = ue_open();
	user->on_file = false;
	WANT(user->fd >= 0, user->fd);
}

static void user_delete(struct user *user)
{
	int ret = ue_del(user->fd, "race_name");

	if (refers(user))
		WANT_EQ(-EBUSY, ret);
	else if (name_flags & USER_EVENT_REG_PERSIST)
		WANT(!ret || ret == -EBUSY || ret == -ENOENT, ret);
	else
		WANT(ret == -EBUSY || ret == -ENOENT, ret);
}

static void user_write(struct user *user)
{
	uint64_t payload = user->seed;
	ssize_t ret = emit(user->fd, 0, &payload, sizeof(payload));

	if (user->on_file)
		WANT(ret == 12 || ret == -EBADF, ret);
	else
		WANT_EQ(-ENOENT, ret);
}

static void user_step(struct user *user)
{
	int i = draw(&user->seed, 2);

	switch (draw(&user->seed, 8)) {
	case 0:
	case 1:
	case 2:
		user_register(user, i);
		break;
	case 3:
	case 4:
		user_unregister(user, i);
		break;
	case 5:
		user_reopen(user);
		break;
	case 6:
		user_delete(user);
		break;
	case 7:
		user_write(user);
		break;
	}
}

static void use_name(int nr)
{
	struct user user = { .fd = -1, .seed = nr + 1 };

	for (int round = 0; round < NAME_ROUNDS; round++) {
		user_reopen(&user);
		crew_meet();
		for (int step = 0; step < NAME_STEPS; step++)
			user_step(&user);
		for (int i = 0; i < 2; i++) {
			if (user.registered[i])
				user_unregister(&user, i);
		}
		user_reopen(&user);
		crew_meet();
		crew_meet();
	}
	close(user.fd);
}

UE_TEST_F(name, register_and_let_go)
{
	bool multi = variant->flags & USER_EVENT_REG_MULTI_FORMAT;
	int fd = ue_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, crew_start(use_name, NAME_PROCESSES, NAME_THREADS));
	for (int round = 0; round < NAME_ROUNDS; round++) {
		int ret = 0;

		crew_meet();
		for (int i = 1; i <= NAME_TOGGLES; i++) {
			ret = ue_write(variant->enable, i & 1 ? "1" : "0");
			/* What a system without events says is EINVAL. */
			if (ret != -EINVAL && !says_gone(ret))
				ASSERT_EQ(0, ret);
		}
		crew_meet();

		/* Nobody uses it: at once it is free, or can be deleted. */
		if (variant->flags & USER_EVENT_REG_PERSIST) {
			ret = ue_del(fd, "race_name");
			EXPECT_TRUE(!ret || ret == -ENOENT)
				TH_LOG("delete: %d", ret);
		}
		ret = multi ? ue_del(fd, "race_name") :
			      try_name("race_name u64 other");
		EXPECT_EQ(multi ? -ENOENT : 0, ret);
		EXPECT_EQ(0, ue_active());
		crew_meet();
	}
	CREW_EXPECT_DONE();
}

FIXTURE(race) {
	int fd;
};

FIXTURE_SETUP(race)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(race)
{
	remove_instances();
	EXPECT_EQ(0, ue_sweep());
}

/*
 * The last user goes, in one of the ways there are, while another process
 * registers the same: it has the old event or a new one, and that is whole.
 */
#define LAST_ROUNDS	ue_rounds(150)

enum last_way {
	LAST_UNREG,
	LAST_CLOSE,
	LAST_EXIT,
	LAST_WAYS,
};

static void last_goes(enum last_way way)
{
	uint32_t word = 0;
	int spare = ue_open();
	int fd = ue_open();

	WANT_EQ(0, ue_reg(fd, "race_last u32 a", &word, 0, NULL));
	if (way == LAST_UNREG)
		close(fd);
	if (way == LAST_CLOSE)
		WANT_EQ(0, ue_unreg(spare, &word, 0));
	crew_meet();
	if (way == LAST_EXIT)
		_exit(0);
	if (way == LAST_CLOSE)
		close(fd);
	if (way == LAST_UNREG)
		WANT_EQ(0, ue_unreg(spare, &word, 0));
	close(spare);
}

/* A child takes part in one meeting for this process, and exits. */
static void last_exits(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		last_goes(LAST_EXIT);
	}
	WANT_EQ(0, ue_wait(pid));
}

static void next_comes(void)
{
	uint32_t payload = 1, word = 0;
	int fd = ue_open();
	int index = -1;

	crew_meet();
	WANT_EQ(0, ue_reg(fd, "race_last u32 a", &word, 0, &index));
	WANT_EQ(0, index);
	WANT_EQ(0, ue_switch("race_last", 1));
	WANT_EQ(1, word);
	WANT_EQ(8, emit(fd, index, &payload, 4));
	WANT_EQ(0, ue_switch("race_last", 0));
	WANT_EQ(0, word);
	WANT_EQ(0, ue_unreg(fd, &word, 0));
	close(fd);
}

static void last_and_next(int nr)
{
	for (int round = 0; round < LAST_ROUNDS; round++) {
		if (round % 2 == nr)
			next_comes();
		else if (round / 2 % LAST_WAYS == LAST_EXIT)
			last_exits();
		else
			last_goes(round / 2 % LAST_WAYS);
		crew_meet();
		crew_meet();
	}
}

UE_TEST_F(race, last_user_and_next)
{
	ASSERT_EQ(0, crew_create(3));
	ASSERT_EQ(0, crew_start(last_and_next, 2, 1));
	for (int round = 0; round < LAST_ROUNDS; round++) {
		crew_meet();
		crew_meet();
		EXPECT_EQ(0, try_name("race_last u64 other"))
			TH_LOG("round %d", round);
		EXPECT_EQ(0, ue_active());
		crew_meet();
	}
	CREW_EXPECT_DONE();
}

/* perf comes and goes while the application lets go of the event. */
#define PERF_ROUNDS	ue_rounds(160)

static void perf_user(void)
{
	uint32_t word = 0;

	for (int round = 0; round < PERF_ROUNDS; round++) {
		int fd = ue_open();

		WANT_EQ(0, ue_reg(fd, "race_perf u32 a", &word, 0, NULL));
		crew_meet();
		crew_meet();
		if (round & 1)
			WANT_EQ(0, ue_unreg(fd, &word, 0));
		close(fd);
		if (!(round & 1)) {
			fd = ue_open();
			WANT_EQ(0, ue_unreg(fd, &word, 0));
			close(fd);
		}
		WANT_EQ(0, word);
		crew_meet();
		crew_meet();
	}
}

static void perf_tracer(void)
{
	for (int round = 0; round < PERF_ROUNDS; round++) {
		int perf = -1;

		crew_meet();
		if (round / 2 % 2) {
			perf = ue_perf_open("race_perf");
			WANT(perf >= 0, perf);
		}
		crew_meet();
		if (perf < 0) {
			perf = ue_perf_open("race_perf");
			/* An id that is of no event any more is EINVAL. */
			WANT(perf >= 0 || perf == -EINVAL || says_gone(perf),
			     perf);
		}
		if (perf >= 0)
			close(perf);
		crew_meet();
		crew_meet();
	}
}

static void perf_and_user(int nr)
{
	if (nr)
		perf_tracer();
	else
		perf_user();
}

UE_TEST_F(race, perf_and_last_close)
{
	ASSERT_EQ(0, crew_create(3));
	ASSERT_EQ(0, crew_start(perf_and_user, 2, 1));
	for (int round = 0; round < PERF_ROUNDS; round++) {
		crew_meet();
		crew_meet();
		crew_meet();
		EXPECT_EQ(0, try_name("race_perf u64 other"))
			TH_LOG("round %d", round);
		EXPECT_EQ(0, ue_active());
		crew_meet();
	}
	CREW_EXPECT_DONE();
}

/*
 * Toggles meet a process that has just started: its threads are being created
 * while they register, each in memory never touched.
 */
#define FRESH_ROUNDS	ue_rounds(100)
#define FRESH_THREADS	5

static void fresh_thread(int nr)
{
	uint32_t *word = map_pages(1);
	int fd = ue_open();

	WANT(!!word, errno);
	WANT_EQ(0, ue_reg(fd, "race_fresh", word, nr, NULL));
	crew_meet();
	crew_meet();
	wait_word(word, 1U << nr);
	crew_meet();
	crew_meet();

	/* All threads just stand there: the toggle itself has written it. */
	WANT_EQ(0, *word);
	if (nr & 1)
		WANT_EQ(0, ue_unreg(fd, word, nr));
}

UE_TEST_F(race, toggles_and_fresh_threads)
{
	int fd = self->fd;

	ASSERT_EQ(0, crew_create(FRESH_THREADS + 1));
	for (int round = 0; round < FRESH_ROUNDS; round++) {
		ASSERT_EQ(0, crew_start(fresh_thread, 1, FRESH_THREADS));
		for (int i = 0; i < 20; i++) {
			int ret = ue_switch("race_fresh", ~i & 1);

			if (!says_gone(ret))
				ASSERT_EQ(0, ret);
		}
		crew_meet();
		ASSERT_EQ(0, ue_switch("race_fresh", 1));
		crew_meet();
		crew_meet();
		ASSERT_EQ(0, ue_switch("race_fresh", 0));
		crew_meet();
		CREW_EXPECT_DONE();

		/* Exit has let go of everything. */
		EXPECT_EQ(-ENOENT, ue_del(fd, "race_fresh"));
		EXPECT_EQ(0, ue_active());
	}
}

/* Toggles meet memory that is something else every moment. */
#define REMAP_TOGGLES	(2 * ue_rounds(75))

struct remap {
	uint32_t *words;
	int file;
	atomic_int stop;
	int failed;
	unsigned long count;
};

static void *remap_page(struct remap *remap, int prot, int flags, int file)
{
	return mmap(remap->words, page_size(), prot, flags | MAP_FIXED, file, 0);
}

static bool remap_once(struct remap *remap)
{
	const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	const int rw = PROT_READ | PROT_WRITE;

	switch (remap->count++ % 6) {
	case 0:
		return !munmap(remap->words, page_size());
	case 1:
		return remap_page(remap, PROT_READ, anonymous, -1) ==
			remap->words;
	case 2:
		return remap_page(remap, rw, MAP_SHARED, remap->file) ==
			remap->words;
	case 3:
		return !madvise(remap->words, page_size(), MADV_DONTNEED);
	case 4:
		return remap_page(remap, rw, MAP_PRIVATE, remap->file) ==
			remap->words;
	default:
		return remap_page(remap, rw, anonymous, -1) == remap->words;
	}
}

static void *remap_forever(void *arg)
{
	struct remap *remap = arg;

	do {
		remap->failed += !remap_once(remap);
	} while (!atomic_load(&remap->stop) || remap->count % 6);

	return NULL;
}

/* Words of the page that are not zero, but for the first. */
static int words_disturbed(const uint32_t *words)
{
	int count = 0;

	for (size_t i = 1; i < page_size() / sizeof(*words); i++)
		count += words[i] != 0;

	return count;
}

UE_TEST_F(race, toggles_and_mappings)
{
	struct remap remap = {
		.words = map_pages(1),
		.file = memfd_create("race_file", MFD_CLOEXEC),
	};
	uint32_t *still = map_pages(1);
	uint32_t *page = calloc(1, page_size());
	pthread_t thread;

	ASSERT_TRUE(remap.words && still && page);
	ASSERT_EQ(0, ftruncate(remap.file, page_size()));
	ASSERT_EQ(0, ue_reg(self->fd, "race_remap", remap.words, 3, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "race_remap", still, 4, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remap_forever, &remap));
	for (int i = 0; i < REMAP_TOGGLES; i++) {
		ASSERT_EQ(0, ue_switch("race_remap", ~i & 1));
		/* Somebody may hold the lock of the memory they share. */
		wait_word(still, i & 1 ? 0 : 1U << 4);
	}
	atomic_store(&remap.stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, remap.failed);

	/* The last mapping is memory as any other. */
	ASSERT_EQ(0, ue_switch("race_remap", 1));
	wait_word(remap.words, 1U << 3);
	wait_word(still, 1U << 4);
	ASSERT_EQ(0, ue_switch("race_remap", 0));
	EXPECT_EQ(0, *remap.words);
	EXPECT_EQ(0, *still);
	EXPECT_EQ(0, words_disturbed(remap.words));

	/* And the file has got that bit, or nothing. */
	ASSERT_EQ(page_size(), pread(remap.file, page, page_size(), 0));
	EXPECT_EQ(0, *page & ~(1U << 3));
	EXPECT_EQ(0, words_disturbed(page));
	free(page);
}

/*
 * A set of registrations that fork shares: parent and children change it at
 * the same time, under toggles, and each sees what it has done itself.
 */
#define SET_ROUNDS	ue_rounds(40)
#define SET_CHILDREN	4
#define SET_WORDS	24
#define SET_STEPS	30
#define SET_TOGGLES	10

static uint32_t *set_words;

static uint32_t *set_word(int i)
{
	return set_words + i % 3 * page_size() / sizeof(*set_words) + i;
}

static void set_change(int nr, int fd, bool *registered)
{
	unsigned int seed = nr + 1;

	for (int step = 0; step < SET_STEPS; step++) {
		int i = draw(&seed, SET_WORDS);

		if (draw(&seed, 2)) {
			WANT_EQ(registered[i] ? -EADDRINUSE : 0,
				ue_reg(fd, "race_set", set_word(i), i, NULL));
			registered[i] = true;
		} else {
			WANT_EQ(registered[i] ? 0 : -ENOENT,
				ue_unreg(fd, set_word(i), i));
			registered[i] = false;
		}
	}
}

static void set_wait(const bool *registered, bool on)
{
	for (int i = 0; i < SET_WORDS; i++)
		wait_word(set_word(i), registered[i] && on ? 1U << i : 0);
}

/* The first child toggles, and keeps all that it got. */
static void set_owner(int nr)
{
	bool registered[SET_WORDS];
	int fd = ue_open();

	memset(registered, true, sizeof(registered));
	crew_meet();
	if (nr)
		set_change(nr, fd, registered);
	for (int i = 0; !nr && i < SET_TOGGLES; i++)
		WANT_EQ(0, ue_switch("race_set", ~i & 1));
	crew_meet();

	for (int on = 0; on < 2; on++) {
		if (!nr)
			WANT_EQ(0, ue_switch("race_set", on));
		crew_meet();
		set_wait(registered, on);
		crew_meet();
	}

	for (int i = 0; i < SET_WORDS; i++) {
		WANT_EQ(registered[i] ? 0 : -ENOENT,
			ue_unreg(fd, set_word(i), i));
		WANT_EQ(0, *set_word(i));
	}
	close(fd);
	crew_meet();
}

UE_TEST_F(race, set_shared_after_fork)
{
	set_words = map_pages(3);
	ASSERT_TRUE(!!set_words);
	ASSERT_EQ(0, crew_create(SET_CHILDREN + 1));
	for (int round = 0; round < SET_ROUNDS; round++) {
		for (int i = 0; i < SET_WORDS; i++) {
			ASSERT_EQ(0, ue_reg(self->fd, "race_set", set_word(i),
					    i, NULL));
		}
		ASSERT_EQ(0, crew_start(set_owner, SET_CHILDREN, 1));
		set_owner(round * SET_CHILDREN + SET_CHILDREN);
		CREW_EXPECT_DONE();
		ASSERT_EQ(0, ue_switch("race_set", 0));
		EXPECT_EQ(0, try_name("race_set"));
	}
}

/*
 * A process forks while a thread of it registers and unregisters a word. The
 * child has the registration and the bit set, or neither. Its own mounts, copied
 * between its memory and its registrations, give the thread time.
 */
#define FORK_ROUNDS	ue_rounds(300)
#define FORK_MOUNTS	60

struct fork_race {
	atomic_uint steps;
	atomic_int stop;
	atomic_int failed;
};

static uint32_t *fork_word;
static struct fork_race *fork_race;

static void *fork_register(void *arg)
{
	int fd = ue_open();

	while (!atomic_load(&fork_race->stop)) {
		if (ue_reg(fd, "race_fork", fork_word, 5, NULL) ||
		    *fork_word != 1U << 5 ||
		    ue_unreg(fd, fork_word, 5) || *fork_word)
			atomic_store(&fork_race->failed, 1);
		atomic_fetch_add(&fork_race->steps, 1);
	}
	close(fd);

	return NULL;
}

/* In the child: what was under way in the parent may still concern this word. */
static void fork_settle(void)
{
	unsigned int start = atomic_load(&fork_race->steps);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (atomic_load(&fork_race->steps) - start < 2)
		sched_yield();
}

/* 0 if bit and registration are of the same moment. */
static int fork_check(int fd, int round)
{
	uint32_t value;
	int ret;

	fork_settle();
	value = *fork_word;
	ret = ue_reg(fd, "race_fork", fork_word, 5, NULL);
	if (ret == -EADDRINUSE)
		wait_word(fork_word, 1U << 5);
	else if (ret)
		return 1;
	else if (value)
		return 2;

	if (ue_unreg(fd, fork_word, 5) || *fork_word)
		return 3;

	return 0;
}

/* 0 if they become so: the page is to be copied first, by a work item. */
static int fork_check_later(int fd, int round)
{
	int ret;

	fork_settle();
	if (round & 1) {
		ret = ue_unreg(fd, fork_word, 5);
		if (ret == -ENOENT)
			wait_word(fork_word, 0);
		else if (ret || *fork_word)
			return 1;
		return 0;
	}

	ret = ue_reg(fd, "race_fork", fork_word, 5, NULL);
	if (ret == -EADDRINUSE)
		wait_word(fork_word, 1U << 5);
	else if (ret)
		return 2;

	return ue_unreg(fd, fork_word, 5) || *fork_word ? 3 : 0;
}

static pid_t fork_with_mounts(void)
{
	struct clone_args args = {
		.flags = CLONE_NEWNS,
		.exit_signal = SIGCHLD,
	};

	return syscall(__NR_clone3, &args, sizeof(args));
}

static void check_forks(struct __test_metadata *_metadata, struct _test_data_race *self,
			int (*check)(int fd, int round))
{
	uint32_t *word = map_pages(1);
	pthread_t thread;

	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	for (int i = 0; i < FORK_MOUNTS; i++)
		ASSERT_EQ(0, mount("none", "/tmp", "tmpfs", 0, NULL));

	fork_race = map_shared(sizeof(*fork_race));
	ASSERT_TRUE(word && fork_word && fork_race);
	ASSERT_EQ(0, ue_reg(self->fd, "race_fork", word, 0, NULL));
	ASSERT_EQ(0, ue_switch("race_fork", 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fork_register, NULL));
	for (int round = 0; round < FORK_ROUNDS; round++) {
		pid_t pid = fork_with_mounts();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(check(self->fd, round));
		EXPECT_EQ(0, ue_wait(pid))
			TH_LOG("round %d", round);
	}
	atomic_store(&fork_race->stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, atomic_load(&fork_race->failed));
}

UE_TEST_F(race, fork_while_registering)
{
	fork_word = map_pages(1);
	check_forks(_metadata, self, fork_check);
}

/* As most programs have their words, in a variable. */
UE_TEST_F(race, fork_while_registering_variable)
{
	static uint32_t variable = 1U << 6;

	variable = 0;
	fork_word = &variable;
	check_forks(_metadata, self, fork_check_later);
}

/* The limit goes up and down underneath those who register. */
#define MAX_WORKERS	4
#define MAX_NAMES	8
#define MAX_ROUNDS	ue_rounds(150)
#define MAX_MORE	4
#define MAX_FLIPS	20

static atomic_int *max_held;

static int set_max(int max)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", max);

	return ue_write(UE_MAX, text);
}

static void max_worker(int nr)
{
	uint32_t words[MAX_NAMES] = {};
	char name[32];

	for (int round = 0; round < MAX_ROUNDS; round++) {
		int fd = ue_open();

		crew_meet();
		for (int i = 0; i < MAX_NAMES; i++) {
			int ret;

			snprintf(name, sizeof(name), "race_max_%d_%d", nr, i);
			ret = ue_reg(fd, name, &words[i], i, NULL);
			WANT(!ret || ret == -EMFILE, ret);
			if (!ret)
				atomic_fetch_add(max_held, 1);
		}
		crew_meet();
		crew_meet();
		for (int i = 0; i < MAX_NAMES; i++)
			ue_unreg(fd, &words[i], i);
		close(fd);
		crew_meet();
		crew_meet();
	}
}

FIXTURE(max) {
	int fd;
};

static int max_before;

FIXTURE_SETUP(max)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

static void __attribute__((constructor)) max_remember(void)
{
	char text[32];

	if (ue_read(UE_MAX, text, sizeof(text)) > 0)
		max_before = atoi(text);
}

FIXTURE_TEARDOWN_PARENT(max)
{
	EXPECT_EQ(0, set_max(max_before));
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(max, limit_moves)
{
	max_held = map_shared(sizeof(*max_held));
	ASSERT_TRUE(!!max_held);
	ASSERT_EQ(0, crew_create(MAX_WORKERS + 1));
	ASSERT_EQ(0, crew_start(max_worker, MAX_WORKERS, 1));
	for (int round = 0; round < MAX_ROUNDS; round++) {
		int max = 5 + round % 7;
		int held;

		atomic_store(max_held, 0);
		ASSERT_EQ(0, set_max(max));
		crew_meet();
		for (int i = 0; i < MAX_FLIPS; i++) {
			ASSERT_EQ(0, set_max(max + (i & 1) * MAX_MORE));
			EXPECT_GE(max + MAX_MORE, ue_active());
		}
		crew_meet();
		held = atomic_load(max_held);
		EXPECT_EQ(held, ue_active());
		EXPECT_LE(max, held);
		EXPECT_GE(max + MAX_MORE, held);

		/* Below what there is: nothing goes, and nothing comes. */
		ASSERT_EQ(0, set_max(1));
		EXPECT_EQ(-EMFILE, try_name("race_max_more"));
		EXPECT_EQ(held, ue_active());
		crew_meet();
		crew_meet();
		EXPECT_EQ(0, try_name("race_max_more"));
		EXPECT_EQ(0, ue_active());
		crew_meet();
	}
	CREW_EXPECT_DONE();
}

/*
 * A group is made and removed while others open it, register and let go. Who has
 * got in finds everything there, until he leaves.
 */
#define GROUP		"race_group"
#define GROUP_USERS	3
#define GROUP_ROUNDS	ue_rounds(2000)

static void group_user(int nr)
{
	char args[32], name[32];
	uint32_t word = 0;
	int fd, ret;

	snprintf(name, sizeof(name), "race_%d", nr % 2);
	snprintf(args, sizeof(args), "race_%d u32 a%d", nr % 2, nr % 2);
	fd = group_open(GROUP);
	WANT(fd >= 0 || says_gone(fd), fd);
	if (fd < 0)
		return;

	WANT_EQ(0, ue_reg(fd, args, &word, nr, NULL));
	WANT_EQ(0, access(group_full_path(GROUP, "root/user_events_data"), F_OK));
	WANT_EQ(1, group_event_exists(GROUP, name));
	if (nr & 1) {
		WANT_EQ(0, ue_unreg(fd, &word, nr));
		close(fd);
		return;
	}

	/* The last to let go of is the word. */
	close(fd);
	WANT_EQ(1, group_event_exists(GROUP, name));
	WANT_EQ(-EBUSY, group_remove(GROUP));
	fd = ue_open();
	ret = ue_unreg(fd, &word, nr);
	WANT_EQ(0, ret);
	close(fd);
}

static void group_persist(void)
{
	int ret = ue_write("dynamic_events", "u:user_events_" GROUP "/race_kept u32 a");

	WANT(!ret || says_gone(ret), ret);
	ret = ue_write("dynamic_events", "-:user_events_" GROUP "/race_kept");
	WANT(!ret || says_gone(ret) || ret == -EBUSY, ret);
	ue_write("dynamic_events", "u:user_events_" GROUP "/race_kept u32 a");
	ret = group_active(GROUP);
	WANT(ret >= 0 || says_gone(ret), ret);
}

static void group_trace(void)
{
	int ret = group_switch(GROUP, "race_kept", 1);

	WANT(!ret || says_gone(ret) || ret == -EINVAL, ret);
	ret = group_switch(GROUP, "race_kept", 0);
	WANT(!ret || says_gone(ret) || ret == -EINVAL, ret);
}

static void group_worker(int nr)
{
	for (int round = 0; round < GROUP_ROUNDS; round++) {
		if (nr < GROUP_USERS)
			group_user(nr);
		else if (nr == GROUP_USERS)
			group_persist();
		else
			group_trace();
	}
	crew_meet();
}

static void group_maker(int nr)
{
	while (!atomic_load(&crew->stop)) {
		int ret = group_make(GROUP);

		WANT(!ret || ret == -EEXIST, ret);
		ret = group_remove(GROUP);
		WANT(!ret || ret == -EBUSY || says_gone(ret), ret);
	}
}

FIXTURE(group) {
	int unused;
};

FIXTURE_SETUP(group)
{
	UE_REQUIRE();
}

FIXTURE_TEARDOWN_PARENT(group)
{
	ue_write("events/user_events_" GROUP "/enable", "0");
	EXPECT_EQ(0, group_sweep(GROUP));
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(group, made_and_removed)
{
	ASSERT_EQ(0, crew_create(GROUP_USERS + 2 + 1));
	ASSERT_EQ(0, crew_start(group_worker, GROUP_USERS + 2, 1));
	ASSERT_EQ(0, crew_start(group_maker, 2, 1));
	crew_meet();
	atomic_store(&crew->stop, 1);
	CREW_EXPECT_DONE();
	EXPECT_EQ(0, group_sweep(GROUP));
	EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:user_events_" GROUP "/race_kept"));
}

/* A payload that shows whether it is whole, and whose it is. */
#define BODY_MAX	2048

struct body {
	uint32_t writer;
	uint32_t seq;
	uint32_t size;			/* of all of it */
	unsigned char rest[BODY_MAX];
};

#define BODY_FIELDS	"u32 writer; u32 seq; u32 size"

static size_t body_fill(struct body *body, uint32_t writer, uint32_t seq)
{
	/* Small ones and, now and then, one that is not staged on the stack. */
	size_t rest = seq % 61 ? seq * 7 % 90 : 1200 + seq % 800;

	body->writer = writer;
	body->seq = seq;
	body->size = offsetof(struct body, rest) + rest;
	fill_pattern(body->rest, rest, writer * 31 + seq);

	return body->size;
}

static bool body_whole(const struct record *rec, uint32_t *writer,
		       uint32_t *seq)
{
	struct body body;

	if (rec->size < COMMON_SIZE + offsetof(struct body, rest))
		return false;
	memcpy(&body, record_payload(rec), offsetof(struct body, rest));
	*writer = body.writer;
	*seq = body.seq;

	return record_is(rec, &body, body_fill(&body, *writer, *seq));
}

/* One instance of ftrace, read on every CPU. */
#define READ_CPUS	16

struct reader {
	struct ft ft[READ_CPUS];
	int nr;
};

static int reader_create(struct reader *reader, const char *name,
			 const char *kib)
{
	cpu_set_t all;
	int ret;

	memset(reader, 0, sizeof(*reader));
	if (sched_getaffinity(0, sizeof(all), &all))
		return -errno;
	ret = ft_create(&reader->ft[0], name);
	if (!ret)
		ret = ft_set(&reader->ft[0], "buffer_size_kb", kib);
	if (sched_setaffinity(0, sizeof(all), &all))
		return -errno;

	reader->nr = 1;
	for (int cpu = 0; cpu < CPU_SETSIZE && !ret; cpu++) {
		struct ft *ft = &reader->ft[reader->nr];

		if (!CPU_ISSET(cpu, &all) || cpu == reader->ft[0].cpu)
			continue;
		if (reader->nr++ == READ_CPUS)
			return -E2BIG;
		memcpy(ft->dir, reader->ft[0].dir, sizeof(ft->dir));
		ft->cpu = cpu;
		ret = ft_open_raw(ft);
	}

	return ret;
}

static int reader_destroy(struct reader *reader)
{
	for (int i = 1; i < reader->nr; i++)
		ft_close_raw(&reader->ft[i]);

	return ft_destroy(&reader->ft[0]);
}

/*
 * Reads what there is; @seen counts for each writer and sequence number, or is
 * NULL. Returns how many records, or -EBADMSG for one that is not whole.
 */
static int reader_check(struct reader *reader, unsigned char *seen,
			unsigned int most_seq)
{
	uint32_t writer, seq;
	struct record rec;
	int count = 0;
	int ret = 0;

	for (int i = 0; i < reader->nr && ret >= 0; i++) {
		while ((ret = ft_next(&reader->ft[i], &rec)) > 0) {
			if (!body_whole(&rec, &writer, &seq) || seq >= most_seq)
				return -EBADMSG;
			if (seen)
				seen[writer * most_seq + seq]++;
			count++;
		}
	}

	return ret < 0 ? ret : count;
}

static bool reader_missed(const struct reader *reader)
{
	bool missed = false;

	for (int i = 0; i < reader->nr; i++)
		missed |= reader->ft[i].missed;

	return missed;
}

/*
 * Writes against all of it. One event stays enabled, every write to it that
 * succeeds is found once; one is toggled, by ftrace and perf; and one comes
 * and goes with the file that it is written through.
 */
#define WRITE_PROCESSES	2
#define WRITE_THREADS	3		/* the last of them opens and closes */
#define WRITE_COUNT	1200
#define WRITE_SEQS	(4 * WRITE_COUNT)
#define WRITE_TOGGLES	120
#define WRITE_REOPENS	200

enum { KEPT, TOGGLED };

static int write_file;			/* shared by all, indexes as above */
static int write_gone;			/* of each process, replaced */
static unsigned char *write_done;	/* by writer and sequence number */

static void write_kept(int nr, int seq)
{
	struct body body;
	size_t size = body_fill(&body, nr, seq);

	WANT_EQ(size + 4, emit(write_file, KEPT, &body, size));
	write_done[nr * WRITE_SEQS + seq]++;
}

static void write_toggled(int nr, int seq)
{
	struct {
		uint32_t index;
		struct body body;
	} record = { .index = TOGGLED };
	size_t size = body_fill(&record.body, nr, seq) + 4;
	ssize_t ret = write(write_file, &record, size);

	if (ret < 0)
		ret = -errno;
	WANT(ret == size || ret == -EBADF, ret);
}

static void write_to_gone(int nr, int seq)
{
	struct body body;
	size_t size = body_fill(&body, nr, seq);
	ssize_t ret = emit(write_gone, 0, &body, size);

	WANT(ret == size + 4 || ret == -EBADF || ret == -ENOENT, ret);
}

static size_t put_record(char *batch, int index, int nr, int seq)
{
	struct user_event_record head = { .write_index = index };
	struct body body;
	size_t size = body_fill(&body, nr, seq);

	head.size = sizeof(head) + size;
	memcpy(batch, &head, sizeof(head));
	memcpy(batch + sizeof(head), &body, size);

	return head.size;
}

static void write_batch(int nr, int seq)
{
	static const int indexes[] = { KEPT, TOGGLED, KEPT };
	uint32_t mark = USER_EVENT_WRITE_BATCH;
	char batch[4 + 3 * (8 + sizeof(struct body))];
	size_t size = sizeof(mark);
	ssize_t ret;

	memcpy(batch, &mark, sizeof(mark));
	for (int i = 0; i < 3; i++)
		size += put_record(batch + size, indexes[i], nr, seq + i);
	ret = write(write_file, batch, size);
	WANT_EQ(size, ret < 0 ? -errno : ret);
	write_done[nr * WRITE_SEQS + seq]++;
	write_done[nr * WRITE_SEQS + seq + 2]++;
}

static void write_many(int nr)
{
	for (int i = 0; i < WRITE_COUNT; i++) {
		switch (i % 4) {
		case 0:
			write_kept(nr, 4 * i);
			break;
		case 1:
			write_toggled(nr, 4 * i);
			break;
		case 2:
			write_to_gone(nr, 4 * i);
			break;
		case 3:
			write_batch(nr, 4 * i);
			break;
		}
	}
}

/* The descriptor stays and gets another file, with the event or without. */
static void write_reopen(void)
{
	uint32_t word = 0;

	for (int i = 0; i < WRITE_REOPENS; i++) {
		int fd = ue_open();

		if (i & 1) {
			WANT_EQ(0, ue_reg(fd, "race_gone " BODY_FIELDS, &word,
					  1, NULL));
		}
		WANT_EQ(write_gone, dup2(fd, write_gone));
		close(fd);
		for (int yields = 0; yields < 4; yields++)
			sched_yield();
		if (i & 1)
			WANT_EQ(0, ue_unreg(write_gone, &word, 1));
		ue_del(write_gone, "race_gone");
	}
}

static void write_worker(int nr)
{
	crew_meet();
	if (nr % WRITE_THREADS == WRITE_THREADS - 1)
		write_reopen();
	else
		write_many(nr);
}

/* A ring on one CPU for a moment: every sample in it is whole. */
static int sample_toggled(int id, int cpu)
{
	static struct pf pf;
	uint32_t writer, seq;
	struct record rec;
	int ret;

	ret = pf_open(&pf, id, -1, cpu, 32);
	if (ret)
		return ret;

	sched_yield();
	while ((ret = pf_next(&pf, &rec)) > 0) {
		if (!body_whole(&rec, &writer, &seq)) {
			ret = -EBADMSG;
			break;
		}
	}
	pf_close(&pf);

	return ret;
}

UE_TEST_F(race, writes_against_all)
{
	const int writers = WRITE_PROCESSES * WRITE_THREADS;
	struct reader kept, others;
	unsigned char *seen = calloc(writers, WRITE_SEQS);
	uint32_t words[2] = {};
	int count = 0, ret, id;

	write_file = self->fd;
	write_gone = ue_open();
	write_done = map_shared(writers * WRITE_SEQS);
	ASSERT_TRUE(seen && write_done && write_gone > 0);
	ASSERT_EQ(0, ue_reg(self->fd, "race_kept " BODY_FIELDS, &words[0], 0,
			    NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "race_toggled " BODY_FIELDS, &words[1],
			    0, NULL));
	id = event_id("race_toggled");
	ASSERT_EQ(0, reader_create(&kept, "race_kept", "8192"));
	ASSERT_EQ(0, reader_create(&others, "race_others", "1024"));
	ASSERT_EQ(0, ft_switch(&kept.ft[0], "race_kept", 1));

	ASSERT_EQ(0, crew_create(writers + 1));
	ASSERT_EQ(0, crew_start(write_worker, WRITE_PROCESSES, WRITE_THREADS));
	crew_meet();
	for (int i = 0; i < WRITE_TOGGLES; i++) {
		ASSERT_EQ(0, ft_switch(&others.ft[0], "race_toggled", ~i & 1));
		ret = ft_switch(&others.ft[0], "race_gone", ~i & 1);
		if (!says_gone(ret))
			ASSERT_EQ(0, ret);
		ASSERT_EQ(0, sample_toggled(id, kept.ft[i % kept.nr].cpu));
		ASSERT_LE(0, reader_check(&others, NULL, WRITE_SEQS));
		ret = reader_check(&kept, seen, WRITE_SEQS);
		ASSERT_LE(0, ret);
		count += ret;
		EXPECT_EQ(1, words[0]);
	}
	CREW_EXPECT_DONE();

	ASSERT_LE(0, reader_check(&others, NULL, WRITE_SEQS));
	ret = reader_check(&kept, seen, WRITE_SEQS);
	ASSERT_LE(0, ret);
	EXPECT_FALSE(reader_missed(&kept));
	EXPECT_EQ(0, memcmp(seen, write_done, writers * WRITE_SEQS));
	EXPECT_EQ(WRITE_PROCESSES * (WRITE_THREADS - 1) * WRITE_COUNT * 3 / 4,
		  count + ret);
	EXPECT_TRUE(event_lost_nothing("race_kept"));

	ASSERT_EQ(0, reader_destroy(&kept));
	ASSERT_EQ(0, reader_destroy(&others));
	wait_word(&words[0], 0);
	wait_word(&words[1], 0);
	free(seen);
}

/* Instances come and go around writers. */
#define INSTANCE_ROUNDS	ue_rounds(30)
#define INSTANCE_SEQS	64

static void instance_writer(int nr)
{
	struct body body;
	unsigned int seq;

	for (seq = 0; !atomic_load(&crew->stop); seq++) {
		size_t size = body_fill(&body, nr, seq % INSTANCE_SEQS);
		ssize_t ret = emit(write_file, 0, &body, size);

		WANT(ret == size + 4 || ret == -EBADF, ret);
	}
}

/* Another one comes and goes as well, unread. */
static void instance_other(void)
{
	struct ft ft;

	for (int i = 0; i < INSTANCE_ROUNDS; i++) {
		WANT_EQ(0, ft_create(&ft, "race_other"));
		WANT_EQ(0, ft_switch(&ft, "race_instance", 1));
		WANT_EQ(0, ft_destroy(&ft));
	}
}

static void instance_worker(int nr)
{
	if (nr)
		instance_writer(nr);
	else
		instance_other();
}

UE_TEST_F(race, writes_and_instances)
{
	struct reader reader;
	uint32_t word = 0;
	struct body body;

	write_file = self->fd;
	ASSERT_EQ(0, ue_reg(self->fd, "race_instance " BODY_FIELDS, &word, 0,
			    NULL));
	ASSERT_EQ(0, crew_create(1));
	ASSERT_EQ(0, crew_start(instance_worker, 3, 1));
	for (int i = 0; i < INSTANCE_ROUNDS; i++) {
		size_t size = body_fill(&body, 0, 1);

		ASSERT_EQ(0, reader_create(&reader, "race_reader", "256"));
		ASSERT_EQ(0, ft_switch(&reader.ft[0], "race_instance", 1));
		wait_word(&word, 1);
		EXPECT_EQ(size + 4, emit(self->fd, 0, &body, size));
		EXPECT_LT(0, reader_check(&reader, NULL, INSTANCE_SEQS));
		ASSERT_EQ(0, reader_destroy(&reader));
	}
	atomic_store(&crew->stop, 1);
	CREW_EXPECT_DONE();
	wait_word(&word, 0);
	EXPECT_EQ(-EBADF, emit(self->fd, 0, &body, body_fill(&body, 0, 1)));
}

TEST_HARNESS_MAIN
