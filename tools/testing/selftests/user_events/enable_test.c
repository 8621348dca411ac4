// SPDX-License-Identifier: GPL-2.0
/*
 * Enable words: every consumer sets the bit and the last one to go clears it,
 * wherever the word's page is meanwhile, in every process and thread that has
 * the registration, whatever they are just doing.
 *
 * A bit in a page that is present is right when the toggling call returns. A
 * test waits only where the contract does not promise that, and for as long
 * as it takes: the harness ends a test that waits for ever.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/types.h>

#include "user_events_selftests.h"
#include "process.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_SWAPPED	0x4000000000000000ULL

/* A program that finds this in its environment just exits, with EXECUTED. */
#define EXEC_ENV	"USER_EVENTS_TEST_EXEC"
#define EXECUTED	42

static void __attribute__((constructor)) executed(void)
{
	if (getenv(EXEC_ENV))
		_exit(EXECUTED);
}

/* What the page tables have at an address, without touching it. */
static uint64_t page_entry(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / page_size() * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);

	return entry;
}

static void wait_present(const void *addr)
{
	while (!(page_entry(addr) & PAGEMAP_PRESENT))
		usleep(1000);
}

FIXTURE(enable) {
	int fd;
	int sock[2];
};

FIXTURE_SETUP(enable)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				self->sock));
}

#define INSTANCE "instances/enable_test"

FIXTURE_TEARDOWN_PARENT(enable)
{
	rmdir(UE_TRACEFS "/" INSTANCE "1");
	rmdir(UE_TRACEFS "/" INSTANCE "2");
	swapoff("/dev/ram0");
	EXPECT_EQ(0, ue_sweep());
}

static int switch_instance(int nr, const char *event, int on)
{
	char path[1024];

	snprintf(path, sizeof(path), INSTANCE "%d/%s", nr,
		 ue_event_file(event, "enable"));

	return ue_write(path, on ? "1" : "0");
}

/* Five consumers that come and go in every order of joining and leaving. */
UE_TEST_F(enable, while_anybody_listens)
{
	const char *event = "en_listen";
	uint32_t word = 0;
	int perf[2];

	ASSERT_EQ(0, ue_reg(self->fd, "en_listen", &word, 4, NULL));
	ASSERT_EQ(0, mkdir(UE_TRACEFS "/" INSTANCE "1", 0700));
	ASSERT_EQ(0, mkdir(UE_TRACEFS "/" INSTANCE "2", 0700));

	for (int first = 0; first < 5; first++) {
		/* Switch on from @first on, and off from there again. */
		for (int step = 0; step < 10; step++) {
			int on = step < 5;
			int ret = 0;

			EXPECT_EQ(step ? 1U << 4 : 0, word)
				TH_LOG("step %d.%d", first, step);
			switch ((first + step) % 5) {
			case 0:
				ret = ue_switch(event, on);
				break;
			case 1:
				ret = switch_instance(1, event, on);
				break;
			case 2:
				ret = switch_instance(2, event, on);
				break;
			case 3:
			case 4:
				if (on) {
					ret = ue_perf_open(event);
					perf[(first + step) % 5 - 3] = ret;
					ret = ret < 0 ? ret : 0;
				} else {
					ret = close(perf[(first + step) % 5 -
							 3]);
				}
				break;
			}
			ASSERT_EQ(0, ret);
		}
		EXPECT_EQ(0, word);
	}

	/* An instance that goes away is a consumer less. */
	ASSERT_EQ(0, switch_instance(1, event, 1));
	EXPECT_EQ(1U << 4, word);
	ASSERT_EQ(0, rmdir(UE_TRACEFS "/" INSTANCE "1"));
	EXPECT_EQ(0, word);
}

/* The files above that of an event: its system's, and all events'. */
UE_TEST_F(enable, by_system)
{
	uint32_t word = 0;

	ASSERT_EQ(0, ue_reg(self->fd, "en_system1", &word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "en_system2", &word, 1, NULL));
	ASSERT_EQ(0, ue_write("events/user_events/enable", "1"));
	EXPECT_EQ(3, word);
	ASSERT_EQ(0, ue_switch("en_system1", 0));
	EXPECT_EQ(2, word);
	ASSERT_EQ(0, ue_write("events/user_events/enable", "0"));
	EXPECT_EQ(0, word);
	ASSERT_EQ(0, ue_write("set_event", "user_events:en_system2"));
	EXPECT_EQ(2, word);
	ASSERT_EQ(0, ue_write("set_event", "!user_events:en_system2"));
	EXPECT_EQ(0, word);
}

UE_TEST_F(enable, already_on)
{
	uint32_t words[100] = {};

	ASSERT_EQ(0, ue_reg(self->fd, "en_already", &words[0], 0, NULL));
	ASSERT_EQ(0, ue_switch("en_already", 1));
	for (int i = 1; i < 100; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, "en_already", &words[i], i % 32,
				    NULL));
		EXPECT_EQ(1U << i % 32, words[i]);
	}
}

UE_TEST_F(enable, many_words)
{
	const int count = 3000;
	uint32_t *words = map_pages(3);

	ASSERT_TRUE(!!words);
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, i & 1 ? "en_many1" : "en_many0",
				    &words[i], i % 32, NULL));
	}
	for (int step = 0; step < 4; step++) {
		int odd_on = step & 1, even_on = step >> 1;
		int wrong = 0;

		ASSERT_EQ(0, ue_switch("en_many0", even_on));
		ASSERT_EQ(0, ue_switch("en_many1", odd_on));
		for (int i = 0; i < count; i++) {
			int on = i & 1 ? odd_on : even_on;

			wrong += words[i] != (on ? 1U << i % 32 : 0);
		}
		EXPECT_EQ(0, wrong);
	}

	/* Those that are left are still right when others have gone. */
	for (int i = 0; i < count; i += 3) {
		ASSERT_EQ(0, ue_unreg(self->fd, &words[i], i % 32));
		EXPECT_EQ(0, words[i]);
	}
	ASSERT_EQ(0, ue_switch("en_many0", 0));
	ASSERT_EQ(0, ue_switch("en_many0", 1));
	for (int i = 0; i < count; i++) {
		ASSERT_EQ(i % 3 ? 1U << i % 32 : 0, words[i])
			TH_LOG("word %d", i);
	}
}

/* The application changes its bits while the kernel changes the other one. */
struct adder {
	atomic_uint *word;
	atomic_int stop;
	uint32_t added;
};

static void *add(void *arg)
{
	struct adder *adder = arg;

	while (!atomic_load(&adder->stop)) {
		atomic_fetch_add(adder->word, 2);
		adder->added += 2;
		/* With one CPU there would be few toggles. */
		if (!(adder->added & 0xff))
			sched_yield();
	}

	return NULL;
}

UE_TEST_F(enable, bits_of_the_application)
{
	atomic_uint word = 0;
	struct adder adder = { .word = &word };
	pthread_t thread;

	ASSERT_EQ(0, ue_reg(self->fd, "en_app", (void *)&word, 0, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, add, &adder));
	for (int i = 0; i < 100; i++) {
		uint32_t seen = atomic_load(&word);

		ASSERT_EQ(0, ue_switch("en_app", !(i & 1)));
		ASSERT_EQ(!(i & 1), atomic_load(&word) & 1);
		while (atomic_load(&word) >> 1 == seen >> 1)
			sched_yield();
	}
	atomic_store(&adder.stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(adder.added, atomic_load(&word));
}

/* A page never touched: the registration itself makes it present. */
UE_TEST_F(enable, page_never_touched)
{
	uint32_t *off = map_pages(1), *on = map_pages(1);

	ASSERT_TRUE(off && on);
	ASSERT_EQ(0, page_entry(off) & PAGEMAP_PRESENT);
	ASSERT_EQ(0, ue_reg(self->fd, "en_untouched", off, 31, NULL));
	EXPECT_EQ(0, *off);
	ASSERT_EQ(0, ue_switch("en_untouched", 1));
	EXPECT_EQ(1U << 31, *off);
	ASSERT_EQ(0, page_entry(on) & PAGEMAP_PRESENT);
	ASSERT_EQ(0, ue_reg(self->fd, "en_untouched", on, 31, NULL));
	EXPECT_EQ(1U << 31, *on);
}

/* Memory given back: the word follows without the program touching it. */
UE_TEST_F(enable, page_given_back)
{
	uint32_t *word = map_pages(1);

	ASSERT_TRUE(!!word);
	ASSERT_EQ(0, ue_reg(self->fd, "en_dontneed", word, 7, NULL));
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(0, madvise((void *)word, page_size(),
				     MADV_DONTNEED));
		ASSERT_EQ(0, page_entry(word) & PAGEMAP_PRESENT);
		ASSERT_EQ(0, ue_switch("en_dontneed", 1));
		wait_present(word);
		wait_word(word, 1U << 7);
		ASSERT_EQ(0, ue_switch("en_dontneed", 0));
		ASSERT_EQ(0, *word);
	}
}

/* What is left after many toggles is the last one, however late it comes. */
UE_TEST_F(enable, last_toggle_wins)
{
	uint32_t *word = map_pages(1);

	ASSERT_TRUE(!!word);
	ASSERT_EQ(0, ue_reg(self->fd, "en_last", word, 7, NULL));
	for (int i = 0; i < 100; i++) {
		/* An odd number of toggles: the last is the one to find. */
		for (int toggle = 0; toggle <= 2 * (i % 4); toggle++) {
			ASSERT_EQ(0, madvise((void *)word, page_size(),
					     MADV_DONTNEED));
			ASSERT_EQ(0, ue_switch("en_last", !(toggle & 1)));
		}
		wait_word(word, 1U << 7);

		/* Its page is present, and no old toggle is to come. */
		ASSERT_EQ(0, ue_switch("en_last", 0));
		ASSERT_EQ(0, *word);
		sched_yield();
		ASSERT_EQ(0, *word);
	}
}

/*
 * A word in a file keeps its value while its page is not mapped, so that it
 * shows what register and unregister do to a page that is not present.
 */
UE_TEST_F(enable, shared_file)
{
	const off_t offset = 40;
	int file = memfd_create("en_file", MFD_CLOEXEC);
	uint32_t value;
	char *page;
	uint32_t *word;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, page_size()));
	page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
		    file, 0);
	ASSERT_TRUE(page != MAP_FAILED);
	word = (void *)(page + offset);

	/* Register: the bit is stale, the others are kept. */
	value = 0xffff;
	ASSERT_EQ(4, pwrite(file, &value, 4, offset));
	ASSERT_EQ(0, ue_reg(self->fd, "en_file", word, 3, NULL));
	ASSERT_EQ(4, pread(file, &value, 4, offset));
	EXPECT_EQ(0xfff7, value);

	ASSERT_EQ(0, ue_switch("en_file", 1));
	ASSERT_EQ(4, pread(file, &value, 4, offset));
	EXPECT_EQ(0xffff, value);

	/* Toggle while it is not mapped: the file has it in the end. */
	for (int on = 0; on < 4; on++) {
		ASSERT_EQ(0, madvise(page, page_size(), MADV_DONTNEED));
		ASSERT_EQ(0, page_entry(page) & PAGEMAP_PRESENT);
		ASSERT_EQ(0, ue_switch("en_file", on & 1));
		do {
			ASSERT_EQ(4, pread(file, &value, 4, offset));
		} while (value != (on & 1 ? 0xffff : 0xfff7));
	}

	/* Unregister: clear when it returns. */
	ASSERT_EQ(0, madvise(page, page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, page_entry(page) & PAGEMAP_PRESENT);
	ASSERT_EQ(0, ue_unreg(self->fd, word, 3));
	ASSERT_EQ(4, pread(file, &value, 4, offset));
	EXPECT_EQ(0xfff7, value);

	/* Register while on: set when it returns. */
	ASSERT_EQ(0, madvise(page, page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, ue_reg(self->fd, "en_file", word, 3, NULL));
	ASSERT_EQ(4, pread(file, &value, 4, offset));
	EXPECT_EQ(0xffff, value);
}

/* A private mapping of a file has words of its own; the file does not. */
UE_TEST_F(enable, private_file)
{
	int file = memfd_create("en_private", MFD_CLOEXEC);
	uint32_t value = 0xf0;
	uint32_t *word;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, page_size()));
	ASSERT_EQ(4, pwrite(file, &value, 4, 0));
	word = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE,
		    file, 0);
	ASSERT_TRUE(word != MAP_FAILED);

	ASSERT_EQ(0, ue_reg(self->fd, "en_private", word, 0, NULL));
	EXPECT_EQ(0xf0, *word);
	ASSERT_EQ(0, ue_switch("en_private", 1));
	EXPECT_EQ(0xf1, *word);
	ASSERT_EQ(4, pread(file, &value, 4, 0));
	EXPECT_EQ(0xf0, value);

	/* Back to the file's page, of which it takes a new copy. */
	ASSERT_EQ(0, madvise((void *)word, page_size(), MADV_DONTNEED));
	ASSERT_EQ(0, ue_switch("en_private", 0));
	ASSERT_EQ(0, ue_switch("en_private", 1));
	wait_word(word, 0xf1);
	ASSERT_EQ(4, pread(file, &value, 4, 0));
	EXPECT_EQ(0xf0, value);
}

/* A page behind the end of its file cannot be had, for now. */
UE_TEST_F(enable, file_cut_off)
{
	int file = memfd_create("en_cut", MFD_CLOEXEC);
	uint32_t value;
	uint32_t *word;

	ASSERT_LE(0, file);
	ASSERT_EQ(0, ftruncate(file, page_size()));
	word = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
		    file, 0);
	ASSERT_TRUE(word != MAP_FAILED);
	ASSERT_EQ(0, ue_reg(self->fd, "en_cut", word, 1, NULL));

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, ftruncate(file, 0));
		ASSERT_EQ(0, ue_switch("en_cut", 1));
		ASSERT_EQ(0, ue_switch("en_cut", 0));
		EXPECT_EQ(-EFAULT, ue_reg(self->fd, "en_cut", word, 2, NULL));
	}
	ASSERT_EQ(0, ftruncate(file, page_size()));
	ASSERT_EQ(0, ue_switch("en_cut", 1));
	do {
		ASSERT_EQ(4, pread(file, &value, 4, 0));
	} while (value != 1U << 1);

	ASSERT_EQ(0, ftruncate(file, 0));
	EXPECT_NE(-ENOENT, ue_unreg(self->fd, word, 1));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, 1));
}

/* A program that protects its page keeps what is in it. */
UE_TEST_F(enable, read_only_page)
{
	uint32_t *word = map_pages(1), *other = map_pages(1);

	ASSERT_TRUE(word && other);
	ASSERT_EQ(0, ue_reg(self->fd, "en_ro", word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "en_ro", other, 0, NULL));
	ASSERT_EQ(0, mprotect((void *)word, page_size(), PROT_READ));
	ASSERT_EQ(0, ue_switch("en_ro", 1));
	EXPECT_EQ(1, *other);
	EXPECT_EQ(0, *word);
	ASSERT_EQ(0, ue_switch("en_ro", 0));
	EXPECT_EQ(0, *other);

	ASSERT_EQ(0, mprotect((void *)word, page_size(),
			      PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, ue_switch("en_ro", 1));
	wait_word(word, 1);
	EXPECT_EQ(0, ue_unreg(self->fd, word, 0));
	EXPECT_EQ(0, *word);
}

/* The registration is of the address, whatever is mapped there. */
UE_TEST_F(enable, unmapped_in_between)
{
	uint32_t *word = map_pages(1), *other = map_pages(1);

	ASSERT_TRUE(word && other);
	ASSERT_EQ(0, ue_reg(self->fd, "en_unmapped", word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "en_unmapped", other, 0, NULL));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, munmap((void *)word, page_size()));
		ASSERT_EQ(0, ue_switch("en_unmapped", 1));
		ASSERT_EQ(1, *other);
		ASSERT_EQ(0, ue_switch("en_unmapped", 0));
		ASSERT_EQ(0, *other);
		ASSERT_EQ(word, mmap((void *)word, page_size(),
				     PROT_READ | PROT_WRITE, MAP_PRIVATE |
				     MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		ASSERT_EQ(0, ue_switch("en_unmapped", 1));
		wait_word(word, 1);
		ASSERT_EQ(0, ue_switch("en_unmapped", 0));
		ASSERT_EQ(0, *word);
	}

	/* Also without its memory a registration can be ended. */
	ASSERT_EQ(0, munmap((void *)word, page_size()));
	EXPECT_NE(-ENOENT, ue_unreg(self->fd, word, 0));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, 0));
}

/* Moving the page leaves the registration at the old address. */
UE_TEST_F(enable, moved_page)
{
	uint32_t *word = map_pages(1), *moved = map_pages(1);

	ASSERT_TRUE(word && moved);
	ASSERT_EQ(0, ue_reg(self->fd, "en_moved", word, 0, NULL));
	*word = 0xf0;
	ASSERT_EQ(moved, mremap((void *)word, page_size(), page_size(),
				MREMAP_MAYMOVE | MREMAP_FIXED, moved));
	ASSERT_EQ(0, ue_switch("en_moved", 1));
	EXPECT_EQ(0xf0, *moved);
	ASSERT_EQ(0, ue_switch("en_moved", 0));
	EXPECT_EQ(0xf0, *moved);
}

static int swap_on(const char *device)
{
	char *page = calloc(1, page_size());
	uint32_t *header = (void *)(page + 1024);
	int fd = open(device, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;

	header[0] = 1;
	header[1] = 64;		/* last page */
	memcpy(page + page_size() - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, page, page_size(), 0) != page_size() || fsync(fd))
		ret = -EIO;
	close(fd);
	free(page);
	if (ret)
		return ret;

	return swapon(device, 0) ? -errno : 0;
}

/*
 * madvise() finds the page only once it has left the list of new pages of the
 * CPU that faulted it in, and takes it from there on its own CPU alone: asked
 * elsewhere it may have to wait for long.
 */
static int swap_out(void *page)
{
	int cpus = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t before, set;
	int ret = 0;

	sched_getaffinity(0, sizeof(before), &before);
	for (int i = 0; !ret && !(page_entry(page) & PAGEMAP_SWAPPED); i++) {
		CPU_ZERO(&set);
		CPU_SET(i % cpus, &set);
		sched_setaffinity(0, sizeof(set), &set);
		ret = madvise(page, page_size(), MADV_PAGEOUT);
	}
	sched_setaffinity(0, sizeof(before), &before);

	return ret;
}

UE_TEST_F(enable, page_swapped_out)
{
	uint32_t *word = map_pages(1);

	if (swap_on("/dev/ram0"))
		SKIP(return, "no swap: /dev/ram0 takes CONFIG_BLK_DEV_RAM");

	ASSERT_TRUE(!!word);
	ASSERT_EQ(0, ue_reg(self->fd, "en_swapped", word, 12, NULL));
	word[0] |= 0xf;
	word[1] = 0x12345678;
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, swap_out(word));
		ASSERT_EQ(0, ue_switch("en_swapped", !(i & 1)));
		wait_present(word);
		wait_word(word, i & 1 ? 0xf : 0x100f);
		ASSERT_EQ(0x12345678, word[1]);
	}

	ASSERT_EQ(0, ue_switch("en_swapped", 1));
	wait_word(word, 0x100f);
	ASSERT_EQ(0, swap_out(word));
	ASSERT_EQ(0, ue_unreg(self->fd, word, 12));
	EXPECT_EQ(0xf, *word);
}

UE_TEST_F(enable, huge_page)
{
	const char *nr = "/proc/sys/vm/nr_hugepages";
	size_t size = 0;
	char text[4096], *pos;
	uint32_t *word;

	ASSERT_LT(0, ue_read("/proc/meminfo", text, sizeof(text)));
	pos = strstr(text, "Hugepagesize:");
	if (pos)
		size = strtoul(pos + 13, NULL, 10) << 10;
	if (!size)
		SKIP(return, "no huge pages: CONFIG_HUGETLBFS");

	ASSERT_EQ(0, ue_write(nr, "2"));
	word = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (word == MAP_FAILED) {
		ue_write(nr, "0");
		SKIP(return, "no memory for a huge page");
	}
	word += size / sizeof(*word) - 3;

	EXPECT_EQ(0, ue_reg(self->fd, "en_huge", word, 30, NULL));
	EXPECT_EQ(0, ue_switch("en_huge", 1));
	EXPECT_EQ(1U << 30, *word);
	EXPECT_EQ(0, ue_switch("en_huge", 0));
	EXPECT_EQ(0, *word);

	EXPECT_EQ(0, madvise((char *)(word + 3) - size, size, MADV_DONTNEED));
	EXPECT_EQ(0, ue_switch("en_huge", 1));
	wait_word(word, 1U << 30);
	EXPECT_EQ(0, ue_unreg(self->fd, word, 30));
	EXPECT_EQ(0, *word);
	EXPECT_EQ(0, munmap((char *)(word + 3) - size, size));
	EXPECT_EQ(0, ue_write(nr, "0"));
}

/* Pages that the kernel moves about, on its own account. */
UE_TEST_F(enable, migrated_pages)
{
	const char *compact = "/proc/sys/vm/compact_memory";
	const int pages = 64;
	char *mem = map_pages(pages);

	ASSERT_TRUE(!!mem);
	if (access(compact, W_OK))
		SKIP(return, "no memory compaction: CONFIG_COMPACTION");

	for (int i = 0; i < pages; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, "en_migrated",
				    (uint32_t *)(mem + i * page_size()), i % 32,
				    NULL));
	}
	for (int i = 0; i < ue_rounds(20); i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(!!ue_write(compact, "1"));
		for (int toggle = 0; toggle <= 10; toggle++) {
			ASSERT_EQ(0, ue_switch("en_migrated",
					       (i ^ toggle) & 1));
		}
		ASSERT_EQ(0, ue_wait(pid));
		for (int page = 0; page < pages; page++) {
			wait_word((uint32_t *)(mem + page * page_size()),
				  i & 1 ? 1U << page % 32 : 0);
		}
	}
}

/*
 * A forked child has words of its own, registered as its parent's were, and
 * either of them changes or drops what is its own without the other.
 */
static int child_words(int fd, int sock, uint32_t *words, int on)
{
	/* As they were when it was forked, and as they become. */
	for (int step = 0; step < 3; step++) {
		for (int i = 0; i < 4; i++)
			wait_word(&words[i], on ? 1U << i : 0);
		on = !on;
		if (tell(sock) || hear(sock))
			return 1;
	}

	/* Its pairs are in use, and can be dropped, and used again. */
	on = !on;
	if (ue_reg(fd, "en_fork", &words[0], 0, NULL) != -EADDRINUSE)
		return 2;
	if (ue_unreg(fd, &words[0], 0) || words[0])
		return 3;
	if (ue_unreg(fd, &words[0], 0) != -ENOENT)
		return 4;
	if (ue_unreg(fd, &words[1], 1) || words[1])
		return 5;
	if (ue_reg(fd, "en_fork", &words[1], 9, NULL))
		return 6;
	if (words[1] != (on ? 1U << 9 : 0))
		return 7;
	if (tell(sock) || hear(sock))
		return 8;

	/* The parent has toggled; it also has dropped its words 2 and 3. */
	on = !on;
	for (int i = 1; i < 4; i++)
		wait_word(&words[i], on ? 1U << (i == 1 ? 9 : i) : 0);
	if (words[0])
		return 9;

	return 0;
}

UE_TEST_F(enable, fork)
{
	for (int on = 0; on < 2; on++) {
		uint32_t *words = map_pages(1);
		int state = on, right = 0;
		pid_t pid;

		ASSERT_TRUE(!!words);
		ASSERT_EQ(0, ue_reg(self->fd, "en_fork", &words[0], 0, NULL));
		ASSERT_EQ(0, ue_reg(self->fd, "en_fork", &words[1], 1, NULL));
		ASSERT_EQ(0, ue_reg(self->fd, "en_fork", &words[2], 2, NULL));
		ASSERT_EQ(0, ue_reg(self->fd, "en_fork", &words[3], 3, NULL));
		ASSERT_EQ(0, ue_switch("en_fork", state));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(child_words(self->fd, self->sock[1], words, on));

		for (int step = 0; step < 3; step++) {
			ASSERT_EQ(0, hear(self->sock[0]));
			for (int i = 0; i < 4; i++)
				wait_word(&words[i], state ? 1U << i : 0);
			/* The third time nothing changes. */
			state = step < 2 ? !state : state;
			ASSERT_EQ(0, ue_switch("en_fork", state));
			ASSERT_EQ(0, tell(self->sock[0]));
		}

		ASSERT_EQ(0, hear(self->sock[0]));
		for (int i = 0; i < 4; i++)
			right += words[i] == (state ? 1U << i : 0);
		EXPECT_EQ(4, right);
		ASSERT_EQ(0, ue_unreg(self->fd, &words[2], 2));
		ASSERT_EQ(0, ue_unreg(self->fd, &words[3], 3));
		state = !state;
		ASSERT_EQ(0, ue_switch("en_fork", state));
		for (int i = 0; i < 2; i++)
			wait_word(&words[i], state ? 1U << i : 0);
		EXPECT_EQ(0, words[2]);
		EXPECT_EQ(0, words[3]);
		ASSERT_EQ(0, tell(self->sock[0]));
		EXPECT_EQ(0, ue_wait(pid))
			TH_LOG("the number is of the return in child_words()");
		ASSERT_EQ(0, ue_unreg(self->fd, &words[0], 0));
		ASSERT_EQ(0, ue_unreg(self->fd, &words[1], 1));
	}
}

/* Each generation inherits from the one before it, which may be gone. */
UE_TEST_F(enable, generations)
{
	uint32_t *word = map_pages(1);
	pid_t pid;
	int ret;

	ASSERT_TRUE(!!word);
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, ue_reg(self->fd, "en_generations", word, 17, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (int i = 0; i < 5; i++) {
			pid = fork();
			if (pid)
				_exit(pid < 0);
		}
		for (int i = 0; i < 4; i++) {
			if (tell(self->sock[1]) || hear(self->sock[1]))
				_exit(1);
			wait_word(word, i & 1 ? 0 : 1U << 17);
		}
		_exit(tell(self->sock[1]));
	}
	EXPECT_EQ(0, ue_wait(pid));
	close(self->sock[1]);
	ASSERT_EQ(0, ue_unreg(self->fd, word, 17));

	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, hear(self->sock[0]));
		ASSERT_EQ(0, ue_switch("en_generations", !(i & 1)));
		EXPECT_EQ(0, *word);
		ASSERT_EQ(0, tell(self->sock[0]));
	}
	EXPECT_EQ(0, hear(self->sock[0]));

	/* Those whose parents have gone are the test's children. */
	do {
		ret = ue_wait(-1);
	} while (!ret);
	EXPECT_EQ(-ECHILD, ret);
}

/*
 * A child that shares the memory shares the registrations. That it executes
 * or exits does not end them for the one it shares with.
 */
UE_TEST_F(enable, vfork)
{
	static char * const argv[] = { "/proc/self/exe", NULL };
	static char * const envp[] = { EXEC_ENV "=1", NULL };
	uint32_t *word = map_pages(1);
	pid_t pid;

	ASSERT_TRUE(!!word);
	ASSERT_EQ(0, ue_reg(self->fd, "en_vfork", word, 1, NULL));
	for (int i = 0; i < 10; i++) {
		pid = vfork();
		if (!pid) {
			if (i & 1)
				execve(argv[0], argv, envp);
			_exit(EXECUTED);
		}
		ASSERT_LT(0, pid);
		EXPECT_EQ(EXECUTED, ue_wait(pid));

		ASSERT_EQ(0, ue_switch("en_vfork", 1));
		EXPECT_EQ(1U << 1, *word);
		ASSERT_EQ(0, ue_switch("en_vfork", 0));
		EXPECT_EQ(0, *word);
		EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, "en_vfork", word, 1,
					      NULL));
	}
}

struct worker {
	int fd;
	uint32_t *word;
	int unreg;
	int ret;
};

static void *register_in_thread(void *arg)
{
	struct worker *worker = arg;

	if (worker->unreg)
		worker->ret = ue_unreg(worker->fd, worker->word, 2);
	else
		worker->ret = ue_reg(worker->fd, "en_thread", worker->word, 2,
				     NULL);

	return NULL;
}

UE_TEST_F(enable, threads)
{
	uint32_t *word = map_pages(1);
	struct worker worker = { .fd = self->fd, .word = word };
	pthread_t thread;

	ASSERT_TRUE(!!word);
	for (int i = 0; i < 20; i++) {
		/* The thread is gone, and its registration is not. */
		worker.unreg = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, register_in_thread,
					    &worker));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, worker.ret);
		EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, "en_thread", word, 2,
					      NULL));
		ASSERT_EQ(0, ue_switch("en_thread", 1));
		EXPECT_EQ(1U << 2, *word);

		worker.unreg = 1;
		ASSERT_EQ(0, pthread_create(&thread, NULL, register_in_thread,
					    &worker));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, worker.ret);
		EXPECT_EQ(0, *word);
		EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, 2));
		ASSERT_EQ(0, ue_switch("en_thread", 0));
	}
}

/*
 * The file acts on the caller's memory: passed to another process, it
 * registers words there.
 */
UE_TEST_F(enable, file_of_another_process)
{
	uint32_t *word = map_pages(1);
	pid_t pid;

	ASSERT_TRUE(!!word);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ue_reg(self->fd, "en_passed", word, 5, NULL) ||
		    tell(self->sock[1]) || hear(self->sock[1]))
			_exit(1);
		if (*word != 1U << 5)
			_exit(2);
		_exit(0);
	}
	ASSERT_EQ(0, hear(self->sock[0]));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, word, 5));
	ASSERT_EQ(0, ue_switch("en_passed", 1));
	EXPECT_EQ(0, *word);
	ASSERT_EQ(0, tell(self->sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
}

/* Words in shared memory, of several processes and two events. */
UE_TEST_F(enable, shared_word)
{
	uint32_t *word = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	ASSERT_TRUE(word != MAP_FAILED);
	ASSERT_EQ(0, ue_reg(self->fd, "en_shared0", word, 0, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ue_unreg(self->fd, word, 0) ||
		    ue_reg(self->fd, "en_shared1", word, 1, NULL) ||
		    tell(self->sock[1]) || hear(self->sock[1]))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(0, hear(self->sock[0]));
	for (unsigned int state = 0; state < 8; state++) {
		ASSERT_EQ(0, ue_switch("en_shared0", state & 1));
		ASSERT_EQ(0, ue_switch("en_shared1", !!(state & 2)));
		wait_word(word, state & 3);
	}
	ASSERT_EQ(0, tell(self->sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
}

#ifdef __aarch64__

/* Hardware takes no notice of the top byte, which then is no part of the word. */
UE_TEST_F(enable, tagged_address)
{
	uint32_t *word = map_pages(1);
	uint32_t *tagged = (uint32_t *)((uintptr_t)word | 0x5aUL << 56);
	void *page = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_TRUE(word && page != MAP_FAILED);
	if (prctl(PR_SET_TAGGED_ADDR_CTRL, PR_TAGGED_ADDR_ENABLE, 0, 0, 0))
		SKIP(return, "no tagged addresses: CONFIG_ARM64_TAGGED_ADDR_ABI");
	ASSERT_EQ(0, ue_reg(self->fd, "en_tagged", tagged, 3, NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, "en_tagged", word, 3, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "en_tagged",
			    (void *)((uintptr_t)page | 0xa5UL << 56), 4, NULL));
	ASSERT_EQ(0, ue_switch("en_tagged", 1));
	EXPECT_EQ(1U << 3, *word);
	EXPECT_EQ(1U << 4, *(uint32_t *)page);
	EXPECT_EQ(0, ue_unreg(self->fd, word, 3));
	EXPECT_EQ(0, *word);
	EXPECT_EQ(0, ue_unreg(self->fd, page, 4));
	EXPECT_EQ(0, *(uint32_t *)page);

	ASSERT_EQ(0, ue_reg(self->fd, "en_tagged", word, 3, NULL));
	EXPECT_EQ(0, ue_unreg(self->fd, tagged, 3));
	ASSERT_EQ(0, ue_switch("en_tagged", 0));
}

#endif

/*
 * Forks that race with toggles. A process toggles two events without end. For
 * each child it is asked to stop; then every word of parent and child has to
 * be as the events were left, and follow two more toggles.
 */
#define RACE_PAGES	4
#define RACE_WORDS	16
#define RACE_ROUNDS	ue_rounds(1000)

struct race {
	atomic_int stop;	/* asked for by the parent */
	atomic_int stopped;
	atomic_int end;
	atomic_uint state;	/* a bit for each event */
};

static int race_toggle(struct race *race)
{
	unsigned int state;

	for (int i = 0; !atomic_load(&race->end); i = !i) {
		if (atomic_load(&race->stop)) {
			atomic_store(&race->stopped, 1);
			while (atomic_load(&race->stop) &&
			       !atomic_load(&race->end))
				usleep(50);
			atomic_store(&race->stopped, 0);
			continue;
		}
		/* One event after the other, on or off. */
		state = atomic_load(&race->state) ^ 1 << i;
		if (ue_switch(i ? "en_race1" : "en_race0", state >> i & 1))
			return 1;
		atomic_store(&race->state, state);
	}

	return 0;
}

static uint32_t *race_word(char *mem, int i)
{
	return (uint32_t *)(mem + i % RACE_PAGES * page_size()) + i;
}

static void race_wait(char *mem, unsigned int state)
{
	for (int i = 0; i < RACE_WORDS; i++) {
		uint32_t on = state >> (i & 1) & 1;

		wait_word(race_word(mem, i), on << i);
	}
}

UE_TEST_F(enable, fork_races_with_toggles)
{
	char *mem = map_pages(RACE_PAGES);
	struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t toggler, pid;

	ASSERT_TRUE(mem && race != MAP_FAILED);
	for (int i = 0; i < RACE_WORDS; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, i & 1 ? "en_race1" : "en_race0",
				    race_word(mem, i), i, NULL));
	}

	toggler = fork();
	ASSERT_LE(0, toggler);
	if (!toggler) {
		/* What it toggles are the others' words. */
		for (int i = 0; i < RACE_WORDS; i++)
			ue_unreg(self->fd, race_word(mem, i), i);
		_exit(race_toggle(race));
	}

	for (int i = 0; i < RACE_ROUNDS; i++) {
		unsigned int state;

		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			for (int step = 0; step < 3; step++) {
				unsigned char now;

				if (read(self->sock[1], &now, 1) != 1)
					_exit(1);
				race_wait(mem, now);
				if (tell(self->sock[1]))
					_exit(1);
			}
			_exit(0);
		}

		atomic_store(&race->stop, 1);
		while (!atomic_load(&race->stopped))
			usleep(50);
		state = atomic_load(&race->state);
		for (int step = 0; step < 3; step++) {
			unsigned char now = state;

			ASSERT_EQ(1, write(self->sock[0], &now, 1));
			race_wait(mem, state);
			ASSERT_EQ(0, hear(self->sock[0]));
			if (step == 2)
				break;
			state ^= 1 << step;
			ASSERT_EQ(0, ue_switch(step ? "en_race1" : "en_race0",
					       state >> step & 1));
		}
		ASSERT_EQ(0, ue_wait(pid));
		atomic_store(&race->state, state);
		atomic_store(&race->stop, 0);
		while (atomic_load(&race->stopped))
			usleep(50);
	}
	atomic_store(&race->end, 1);
	EXPECT_EQ(0, ue_wait(toggler));
}

/* Toggles against processes that end, or become another program. */
UE_TEST_F(enable, exit_and_exec_race_with_toggles)
{
	static char * const argv[] = { "/proc/self/exe", NULL };
	static char * const envp[] = { EXEC_ENV "=1", NULL };
	uint32_t *word = map_pages(1);
	struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t toggler;

	ASSERT_TRUE(word && race != MAP_FAILED);
	ASSERT_EQ(0, ue_reg(self->fd, "en_race0", word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "en_race1", word, 1, NULL));
	toggler = fork();
	ASSERT_LE(0, toggler);
	if (!toggler)
		_exit(race_toggle(race));

	for (int i = 0; i < ue_rounds(300); i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			uint32_t *mine = map_pages(1);

			if (!mine || ue_reg(self->fd, "en_race0", mine, 3,
					    NULL))
				_exit(1);
			if (i % 3 == 0)
				execve(argv[0], argv, envp);
			if (i % 3 == 1)
				raise(SIGKILL);
			_exit(EXECUTED);
		}
		ASSERT_EQ(i % 3 == 1 ? -SIGKILL : EXECUTED, ue_wait(pid));
	}
	atomic_store(&race->end, 1);
	EXPECT_EQ(0, ue_wait(toggler));
	ASSERT_EQ(0, ue_switch("en_race0", 1));
	ASSERT_EQ(0, ue_switch("en_race1", 0));
	wait_word(word, 1);
}

TEST_HARNESS_MAIN
