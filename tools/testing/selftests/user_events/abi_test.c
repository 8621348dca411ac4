// SPDX-License-Identifier: GPL-2.0
/*
 * The system calls' side of user events: files, ioctl numbers, structs and
 * their size rules, enable words bit by bit, and the error of each misuse.
 * Built for 64 and for 32 bits.
 */
#include <stdalign.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "user_events_selftests.h"

static bool kernel_is_64bit(void)
{
	struct utsname name;

	if (sizeof(long) == 8)
		return true;

	return !uname(&name) && strstr(name.machine, "64");
}

/* End of a page that nothing can be read behind. */
static char *page_end(void)
{
	long size = sysconf(_SC_PAGESIZE);
	char *page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || mprotect(page + size, size, PROT_NONE))
		return NULL;

	return page + size;
}

FIXTURE(abi) {
	int fd;
	uint32_t word;
};

FIXTURE_SETUP(abi)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(abi)
{
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(abi, file_modes)
{
	struct stat st;

	ASSERT_EQ(0, stat(UE_DATA, &st));
	EXPECT_EQ(0640, st.st_mode & 07777);
	ASSERT_EQ(0, stat(UE_STATUS, &st));
	EXPECT_EQ(0440, st.st_mode & 07777);
	ASSERT_EQ(0, stat(UE_MAX, &st));
	EXPECT_EQ(0644, st.st_mode & 07777);
}

/* The numbers are part of the interface: compiled programs contain them. */
UE_TEST_F(abi, header)
{
	EXPECT_EQ(_IOC(_IOC_READ | _IOC_WRITE, '*', 0, sizeof(void *)),
		  DIAG_IOCSREG);
	EXPECT_EQ(_IOC(_IOC_WRITE, '*', 1, sizeof(void *)), DIAG_IOCSDEL);
	EXPECT_EQ(_IOC(_IOC_WRITE, '*', 2, sizeof(void *)), DIAG_IOCSUNREG);

	EXPECT_EQ(28, sizeof(struct user_reg));
	EXPECT_EQ(0, offsetof(struct user_reg, size));
	EXPECT_EQ(4, offsetof(struct user_reg, enable_bit));
	EXPECT_EQ(5, offsetof(struct user_reg, enable_size));
	EXPECT_EQ(6, offsetof(struct user_reg, flags));
	EXPECT_EQ(8, offsetof(struct user_reg, enable_addr));
	EXPECT_EQ(16, offsetof(struct user_reg, name_args));
	EXPECT_EQ(24, offsetof(struct user_reg, write_index));

	EXPECT_EQ(16, sizeof(struct user_unreg));
	EXPECT_EQ(0, offsetof(struct user_unreg, size));
	EXPECT_EQ(4, offsetof(struct user_unreg, disable_bit));
	EXPECT_EQ(8, offsetof(struct user_unreg, disable_addr));

	EXPECT_STREQ("user_events", USER_EVENTS_SYSTEM);
	EXPECT_STREQ("user_events_multi", USER_EVENTS_MULTI_SYSTEM);
	EXPECT_STREQ("u:", USER_EVENTS_PREFIX);
	EXPECT_EQ(1, USER_EVENT_REG_PERSIST);
	EXPECT_EQ(2, USER_EVENT_REG_MULTI_FORMAT);
	EXPECT_EQ(4, USER_EVENT_REG_MAX);
	EXPECT_EQ(0x00120034, DYN_LOC(0x34, 0x12));
}

UE_TEST_F(abi, unknown_ioctl)
{
	static const unsigned long unknown[] = {
		_IO('*', 0),
		_IOC(_IOC_WRITE, '*', 0, sizeof(void *)),
		_IOC(_IOC_READ | _IOC_WRITE, '*', 0, 1),
		_IOC(_IOC_READ | _IOC_WRITE, '*', 0, sizeof(struct user_reg)),
		_IOC(_IOC_READ | _IOC_WRITE, '*', 1, sizeof(void *)),
		_IOC(_IOC_WRITE, '*', 3, sizeof(void *)),
		_IOC(_IOC_READ | _IOC_WRITE, '+', 0, sizeof(void *)),
	};
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_size = sizeof(self->word),
		.enable_addr = (uintptr_t)&self->word,
		.name_args = (uintptr_t)"abi_unknown_ioctl",
	};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		EXPECT_EQ(-1, ioctl(self->fd, unknown[i], &reg));
		EXPECT_EQ(ENOTTY, errno)
			TH_LOG("number %#lx", unknown[i]);
	}
	EXPECT_EQ(0, ue_event_exists("abi_unknown_ioctl"));
}

UE_TEST_F(abi, write_index_counts_per_file)
{
	int other = ue_open();
	int index;

	ASSERT_LE(0, other);
	for (int i = 0; i < 32; i++) {
		char name[32];

		snprintf(name, sizeof(name), "abi_index%d u32 a", i);
		ASSERT_EQ(0, ue_reg(self->fd, name, &self->word, i, &index));
		EXPECT_EQ(i, index);
	}

	/* The same events again, elsewhere, from the last to the first. */
	for (int i = 31; i >= 0; i--) {
		uint32_t word = 0;
		char name[32];

		snprintf(name, sizeof(name), "abi_index%d u32 a", i);
		ASSERT_EQ(0, ue_reg(self->fd, name, &word, i, &index));
		EXPECT_EQ(i, index);
		ASSERT_EQ(0, ue_unreg(self->fd, &word, i));

		ASSERT_EQ(0, ue_reg(other, name, &word, i, &index));
		EXPECT_EQ(31 - i, index);
		ASSERT_EQ(0, ue_unreg(other, &word, i));
	}
}

UE_TEST_F(abi, enable_size)
{
	uint64_t word = 0;

	for (int size = 0; size < 256; size++) {
		bool good = size == 4 || (size == 8 && kernel_is_64bit());
		int ret = ue_reg_full(self->fd, "abi_enable_size", 0, &word,
				      size, 0, NULL);

		EXPECT_EQ(good ? 0 : -EINVAL, ret)
			TH_LOG("enable_size %d", size);
		EXPECT_EQ(good, ue_event_exists("abi_enable_size"));
		if (ret)
			continue;
		ASSERT_EQ(0, ue_unreg(self->fd, &word, 0));
		close(self->fd);
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
	}
}

UE_TEST_F(abi, enable_bit_out_of_word)
{
	uint64_t word = 0;

	for (int bit = 32; bit < 256; bit++) {
		EXPECT_EQ(-EINVAL, ue_reg_full(self->fd, "abi_bit", 0, &word,
					       4, bit, NULL));
		if (bit < 64)
			continue;
		EXPECT_EQ(-EINVAL, ue_reg_full(self->fd, "abi_bit", 0, &word,
					       8, bit, NULL));
	}

	EXPECT_EQ(0, ue_event_exists("abi_bit"));
}

UE_TEST_F(abi, unaligned_word)
{
	alignas(16) char words[16] = {};

	for (int i = 0; i < 8; i++) {
		int ret = ue_reg_full(self->fd, "abi_unaligned", 0, words + i,
				      4, 0, NULL);

		EXPECT_EQ(i % 4 ? -EINVAL : 0, ret);
		EXPECT_EQ(i % 4 ? -ENOENT : 0,
			  ue_unreg(self->fd, words + i, 0));
	}

	if (!kernel_is_64bit())
		return;

	for (int i = 0; i < 8; i++) {
		int ret = ue_reg_full(self->fd, "abi_unaligned", 0, words + i,
				      8, 0, NULL);

		EXPECT_EQ(i ? -EINVAL : 0, ret);
		EXPECT_EQ(i ? -ENOENT : 0, ue_unreg(self->fd, words + i, 0));
	}
}

/* A word that cannot be written is EFAULT, and nothing stays behind. */
UE_TEST_F(abi, bad_word)
{
	long size = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 3 * size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t bad[] = {
		0,				/* NULL */
		(uintptr_t)pages,		/* nothing there */
		(uintptr_t)pages + size,	/* no access */
		(uintptr_t)pages + 2 * size,	/* read only */
		-8ULL,				/* last word there can be */
		1ULL << 63,
		0xffffffff81000000ULL,		/* kernel text, on x86 */
		/* Must not be cut to the address of a good word. */
		sizeof(long) == 8 ? (uintptr_t)&self->word | 1ULL << 63 :
				    (uintptr_t)&self->word | 1ULL << 32,
	};

	ASSERT_TRUE(pages != MAP_FAILED);
	ASSERT_EQ(0, munmap(pages, size));
	ASSERT_EQ(0, mprotect(pages + size, size, PROT_NONE));
	ASSERT_EQ(0, mprotect(pages + 2 * size, size, PROT_READ));

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct user_reg reg = {
			.size = sizeof(reg),
			.enable_size = 4,
			.enable_addr = bad[i],
			.name_args = (uintptr_t)"abi_bad_word u32 a",
		};
		struct user_unreg unreg = {
			.size = sizeof(unreg),
			.disable_addr = bad[i],
		};

		EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSREG, &reg));
		EXPECT_EQ(EFAULT, errno)
			TH_LOG("address %#llx", (unsigned long long)bad[i]);
		EXPECT_EQ(0, ue_event_exists("abi_bad_word"));
		EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSUNREG, &unreg));
		EXPECT_EQ(ENOENT, errno);
	}
}

UE_TEST_F(abi, word_at_end_of_memory)
{
	char *end = page_end();

	ASSERT_TRUE(!!end);
	EXPECT_EQ(0, ue_reg_full(self->fd, "abi_end", 0, end - 4, 4, 31, NULL));
	EXPECT_EQ(-EFAULT, ue_reg_full(self->fd, "abi_end", 0, end, 4, 0,
				       NULL));
	if (kernel_is_64bit()) {
		EXPECT_EQ(0, ue_reg_full(self->fd, "abi_end", 0, end - 8, 8,
					 63, NULL));
	}
}

UE_TEST_F(abi, reg_size)
{
	char *end = page_end();
	long page = sysconf(_SC_PAGESIZE);
	const struct {
		uint32_t size;
		int tail;		/* offset of a byte that is not 0 */
		int error;
	} tests[] = {
		{ 0, 0, EINVAL },
		{ 1, 0, EINVAL },
		{ 4, 0, EINVAL },
		{ 24, 0, EINVAL },
		{ 27, 0, EINVAL },
		{ 28, 0, 0 },
		{ 28, 28, 0 },		/* not part of the struct */
		{ 29, 0, 0 },
		{ 29, 28, E2BIG },
		{ 32, 0, 0 },
		{ 32, 28, E2BIG },
		{ 32, 31, E2BIG },
		{ 1000, 0, 0 },
		{ 1000, 28, E2BIG },
		{ 1000, 999, E2BIG },
		{ page, 0, 0 },
		{ page, page - 1, E2BIG },
		{ page + 1, 0, E2BIG },
		{ 1U << 31, 0, E2BIG },
		{ ~0U, 0, E2BIG },
	};
	char *buf = malloc(2 * page);

	ASSERT_TRUE(!!buf);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct user_reg reg = {
			.size = tests[i].size,
			.enable_bit = 9,
			.enable_size = sizeof(self->word),
			.enable_addr = (uintptr_t)&self->word,
			.name_args = (uintptr_t)"abi_reg_size u64 a",
			.write_index = 1234,
		};
		struct user_reg *arg = (void *)buf;

		memset(buf, 0, 2 * page);
		memcpy(buf, &reg, sizeof(reg));
		if (tests[i].tail)
			buf[tests[i].tail] = 1;

		errno = 0;
		EXPECT_EQ(tests[i].error ? -1 : 0,
			  ioctl(self->fd, DIAG_IOCSREG, arg));
		EXPECT_EQ(tests[i].error, errno)
			TH_LOG("size %u tail %d", tests[i].size, tests[i].tail);
		EXPECT_EQ(tests[i].error ? 1234 : 0, arg->write_index);
		EXPECT_EQ(tests[i].error ? -ENOENT : 0,
			  ue_unreg(self->fd, &self->word, 9));

		/* Only the index was written. */
		arg->write_index = 1234;
		EXPECT_EQ(0, memcmp(buf, &reg, sizeof(reg)));
	}

	/* Nothing is read behind the size that is given. */
	ASSERT_TRUE(!!end);
	for (int tail = 0; tail <= 8; tail += 4) {
		struct user_reg *arg = (void *)(end - sizeof(*arg) - tail);

		*arg = (struct user_reg) {
			.size = sizeof(*arg) + tail,
			.enable_size = sizeof(self->word),
			.enable_addr = (uintptr_t)&self->word,
			.name_args = (uintptr_t)"abi_reg_size u64 a",
		};
		EXPECT_EQ(0, ioctl(self->fd, DIAG_IOCSREG, arg));
		EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 0));

		arg->size += 4;
		EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSREG, arg));
		EXPECT_EQ(EFAULT, errno);
	}
}

UE_TEST_F(abi, unreg_size)
{
	char *end = page_end();
	long page = sysconf(_SC_PAGESIZE);
	const struct {
		uint32_t size;
		int tail;
		int error;
	} tests[] = {
		{ 0, 0, EINVAL },
		{ 4, 0, EINVAL },
		{ 8, 0, EINVAL },
		{ 15, 0, EINVAL },
		{ 16, 0, 0 },
		{ 16, 16, 0 },
		{ 17, 0, 0 },
		{ 17, 16, E2BIG },
		{ 28, 0, 0 },
		{ 28, 27, E2BIG },
		{ page, 0, 0 },
		{ page, page - 1, E2BIG },
		{ page + 1, 0, E2BIG },
		{ ~0U, 0, E2BIG },
	};
	char *buf = malloc(2 * page);

	ASSERT_TRUE(!!buf);
	ASSERT_EQ(0, ue_reg(self->fd, "abi_unreg_size", &self->word, 3, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct user_unreg unreg = {
			.size = tests[i].size,
			.disable_bit = 3,
			.disable_addr = (uintptr_t)&self->word,
		};

		memset(buf, 0, 2 * page);
		memcpy(buf, &unreg, sizeof(unreg));
		if (tests[i].tail)
			buf[tests[i].tail] = 1;

		errno = 0;
		EXPECT_EQ(tests[i].error ? -1 : 0,
			  ioctl(self->fd, DIAG_IOCSUNREG, buf));
		EXPECT_EQ(tests[i].error, errno)
			TH_LOG("size %u tail %d", tests[i].size, tests[i].tail);

		/* Still registered only if that failed. */
		EXPECT_EQ(tests[i].error ? -EADDRINUSE : 0,
			  ue_reg(self->fd, "abi_unreg_size", &self->word, 3,
				 NULL));
	}

	ASSERT_TRUE(!!end);
	memcpy(end - 16, &(struct user_unreg) {
		.size = 16,
		.disable_bit = 3,
		.disable_addr = (uintptr_t)&self->word,
	}, 16);
	EXPECT_EQ(0, ioctl(self->fd, DIAG_IOCSUNREG, end - 16));
	*(uint32_t *)(end - 16) = 20;
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSUNREG, end - 16));
	EXPECT_EQ(EFAULT, errno);
}

UE_TEST_F(abi, unreg_reserved)
{
	ASSERT_EQ(0, ue_reg(self->fd, "abi_reserved", &self->word, 0, NULL));

	/* Bytes 5 to 7 are the reserved ones. */
	for (int bit = 0; bit < 24; bit++) {
		struct user_unreg unreg = {
			.size = sizeof(unreg),
			.disable_addr = (uintptr_t)&self->word,
		};

		((uint8_t *)&unreg)[5 + bit / 8] = 1 << bit % 8;
		EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSUNREG, &unreg));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 0));
}

UE_TEST_F(abi, unreg_not_registered)
{
	uint32_t words[3] = { ~0U, ~0U, ~0U };

	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[1], 5));
	ASSERT_EQ(0, ue_reg(self->fd, "abi_not_reg", &words[1], 5, NULL));
	words[1] = ~0U;
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[0], 5));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[2], 5));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[1], 4));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[1], 6));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, NULL, 5));
	EXPECT_EQ(~0U, words[0]);
	EXPECT_EQ(~0U, words[1]);
	EXPECT_EQ(~0U, words[2]);
	EXPECT_EQ(0, ue_unreg(self->fd, &words[1], 5));
	EXPECT_EQ(~(1U << 5), words[1]);
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &words[1], 5));
}

UE_TEST_F(abi, unknown_flags)
{
	for (int bit = 2; bit < 15; bit++) {
		for (unsigned int known = 0; known < 4; known++) {
			EXPECT_EQ(-EINVAL,
				  ue_reg_full(self->fd, "abi_flags u32 a",
					      1U << bit | known, &self->word,
					      4, 0, NULL))
				TH_LOG("flags %#x", 1U << bit | known);
		}
	}
	EXPECT_EQ(0, ue_active());
	EXPECT_EQ(0, ue_event_exists("abi_flags"));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &self->word, 0));
}

UE_TEST_F(abi, unreadable_string)
{
	char *end = page_end();
	static const char fits[] = "abi_string u32 a";

	ASSERT_TRUE(!!end);
	EXPECT_EQ(-EFAULT, ue_reg(self->fd, NULL, &self->word, 0, NULL));
	EXPECT_EQ(-EFAULT, ue_reg(self->fd, end, &self->word, 0, NULL));
	EXPECT_EQ(-EFAULT, ue_del(self->fd, NULL));
	EXPECT_EQ(-EFAULT, ue_del(self->fd, end));

	/* Without its NUL there is no end before the hole. */
	memcpy(end - strlen(fits), fits, strlen(fits));
	EXPECT_EQ(-EFAULT, ue_reg(self->fd, end - strlen(fits), &self->word, 0,
				  NULL));
	EXPECT_EQ(-EFAULT, ue_del(self->fd, end - strlen(fits)));
	EXPECT_EQ(0, ue_active());

	memcpy(end - sizeof(fits), fits, sizeof(fits));
	EXPECT_EQ(0, ue_reg(self->fd, end - sizeof(fits), &self->word, 0,
			    NULL));
	EXPECT_EQ(1, ue_event_exists("abi_string"));
}

UE_TEST_F(abi, unreadable_struct)
{
	char *end = page_end();

	ASSERT_TRUE(!!end);
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSREG, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSREG, end));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSUNREG, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSUNREG, end));
	EXPECT_EQ(EFAULT, errno);
}

/* The index cannot be handed out: that is not a registration. */
UE_TEST_F(abi, read_only_struct)
{
	long size = sysconf(_SC_PAGESIZE);
	struct user_reg *reg = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(reg != MAP_FAILED);
	*reg = (struct user_reg) {
		.size = sizeof(*reg),
		.enable_size = 4,
		.enable_addr = (uintptr_t)&self->word,
		.name_args = (uintptr_t)"abi_read_only u32 a",
	};
	ASSERT_EQ(0, mprotect(reg, size, PROT_READ));
	EXPECT_EQ(-1, ioctl(self->fd, DIAG_IOCSREG, reg));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &self->word, 0));
	EXPECT_EQ(0, ue_event_exists("abi_read_only"));
}

UE_TEST_F(abi, pair_in_use)
{
	alignas(8) uint64_t words[2] = {};
	int other = ue_open();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ue_reg_full(self->fd, "abi_pair u32 a", 0, &words[0], 4, 7,
				 NULL));

	/* By whatever file, for whatever event. */
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(self->fd, "abi_pair u32 a", 0,
					   &words[0], 4, 7, NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(other, "abi_pair u32 a", 0,
					   &words[0], 4, 7, NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(other, "abi_pair2 u32 a", 0,
					   &words[0], 4, 7, NULL));
	EXPECT_EQ(0, ue_event_exists("abi_pair2"));
	if (kernel_is_64bit()) {
		EXPECT_EQ(-EADDRINUSE, ue_reg_full(other, "abi_pair u32 a", 0,
						   &words[0], 8, 7, NULL));
	}
	/* That comes before what is wrong with the command. */
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(other, NULL, 0, &words[0], 4, 7, NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(other, "abi_pair2 u99 a", 0,
					   &words[0], 4, 7, NULL));

	/* Its neighbours are free, also for the same event. */
	EXPECT_EQ(0, ue_reg_full(other, "abi_pair u32 a", 0, &words[0], 4, 6,
				 NULL));
	EXPECT_EQ(0, ue_reg_full(other, "abi_pair u32 a", 0, &words[0], 4, 8,
				 NULL));
	EXPECT_EQ(0, ue_reg_full(other, "abi_pair u32 a", 0,
				 (char *)words + 4, 4, 7, NULL));
	EXPECT_EQ(0, ue_reg_full(other, "abi_pair u32 a", 0, &words[1], 4, 7,
				 NULL));

	/* What failed above did not drop the pair; this does, on any file. */
	EXPECT_EQ(0, ue_unreg(other, &words[0], 7));
	EXPECT_EQ(0, ue_reg_full(other, "abi_pair2 u32 a", 0, &words[0], 4, 7,
				 NULL));
}

FIXTURE(word) {
	int fd;
};

FIXTURE_VARIANT(word) {
	int size;
	int offset;		/* from a multiple of 8 */
	uint64_t other_bits;	/* what the application keeps there */
};

FIXTURE_VARIANT_ADD(word, size4_zeroes) {
	.size = 4,
};

FIXTURE_VARIANT_ADD(word, size4_ones) {
	.size = 4,
	.other_bits = ~0ULL,
};

FIXTURE_VARIANT_ADD(word, size4_odd_zeroes) {
	.size = 4,
	.offset = 4,
};

FIXTURE_VARIANT_ADD(word, size4_odd_ones) {
	.size = 4,
	.offset = 4,
	.other_bits = ~0ULL,
};

FIXTURE_VARIANT_ADD(word, size8_zeroes) {
	.size = 8,
};

FIXTURE_VARIANT_ADD(word, size8_mixed) {
	.size = 8,
	.other_bits = 0xa5a5f00f3cc30ff0ULL,
};

FIXTURE_VARIANT_ADD(word, size8_ones) {
	.size = 8,
	.other_bits = ~0ULL,
};

FIXTURE_SETUP(word)
{
	UE_REQUIRE();
	if (variant->size == 8 && !kernel_is_64bit())
		SKIP(return, "8-byte words take a 64-bit kernel");
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(word)
{
	EXPECT_EQ(0, ue_sweep());
}

/* A word with the memory around it, as the application wrote it. */
struct surrounded {
	alignas(8) uint64_t mem[3];
};

static void *word_at(struct surrounded *s, int offset)
{
	return (char *)&s->mem[1] + offset;
}

static void put_word(struct surrounded *s, int offset, int size, uint64_t value)
{
	uint32_t half = value;

	memcpy(word_at(s, offset), size == 8 ? (void *)&value : &half, size);
}

/*
 * Each bit alone: registering makes it say whether the event is on, be it set
 * or clear before, and unregistering clears it.
 */
UE_TEST_F(word, each_bit)
{
	struct surrounded now, want;
	int size = variant->size, offset = variant->offset;
	uint32_t first;

	ASSERT_EQ(0, ue_reg(self->fd, "abi_each_bit", &first, 0, NULL));

	for (int on = 0; on <= 1; on++) {
		ASSERT_EQ(0, ue_switch("abi_each_bit", on));
		for (int bit = 0; bit < 8 * size; bit++) {
			uint64_t clear = variant->other_bits & ~(1ULL << bit);
			uint64_t set = variant->other_bits | 1ULL << bit;

			memset(&now, (char)variant->other_bits, sizeof(now));
			put_word(&now, offset, size, on ? clear : set);
			want = now;

			ASSERT_EQ(0, ue_reg_full(self->fd, "abi_each_bit", 0,
						 word_at(&now, offset), size,
						 bit, NULL));
			put_word(&want, offset, size, on ? set : clear);
			EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)))
				TH_LOG("bit %d, event on: %d", bit, on);

			ASSERT_EQ(0, ue_unreg(self->fd, word_at(&now, offset),
					      bit));
			put_word(&want, offset, size, clear);
			EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)))
				TH_LOG("bit %d, event on: %d", bit, on);
		}
	}
}

/* Every second bit is another event's: toggles change each its own. */
UE_TEST_F(word, two_events)
{
	uint64_t even = 0x5555555555555555ULL, odd = ~even;
	struct surrounded now, want;
	int size = variant->size, offset = variant->offset;
	uint64_t bits = 0;

	memset(&now, (char)variant->other_bits, sizeof(now));
	put_word(&now, offset, size, ~0ULL);
	want = now;

	for (int bit = 0; bit < 8 * size; bit++) {
		ASSERT_EQ(0, ue_reg_full(self->fd, bit & 1 ? "abi_odd" :
					 "abi_even", 0, word_at(&now, offset),
					 size, bit, NULL));
	}
	put_word(&want, offset, size, 0);
	EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)));

	for (int step = 1; step <= 8; step++) {
		/* Off and on, in all four orders. */
		bool is_odd = step & 1;

		bits ^= is_odd ? odd : even;
		ASSERT_EQ(0, ue_switch(is_odd ? "abi_odd" : "abi_even",
				       !!(bits & (is_odd ? odd : even))));
		put_word(&want, offset, size, bits);
		EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)))
			TH_LOG("step %d", step);
	}
}

/* The other bits are the application's, also while the event is toggled. */
UE_TEST_F(word, other_bits)
{
	struct surrounded now, want;
	int size = variant->size, offset = variant->offset;
	int bit = 8 * size - 1;
	uint64_t mask = 1ULL << bit;

	memset(&now, 0, sizeof(now));
	ASSERT_EQ(0, ue_reg_full(self->fd, "abi_others", 0,
				 word_at(&now, offset), size, bit, NULL));

	for (int i = 0; i < 8; i++) {
		uint64_t rest = (variant->other_bits ^ 0x0101010101010101ULL <<
				 i) & ~mask;

		memset(&now, ~i, sizeof(now));
		put_word(&now, offset, size, rest);
		want = now;

		ASSERT_EQ(0, ue_switch("abi_others", 1));
		put_word(&want, offset, size, rest | mask);
		EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)));

		ASSERT_EQ(0, ue_switch("abi_others", 0));
		put_word(&want, offset, size, rest);
		EXPECT_EQ(0, memcmp(&want, &now, sizeof(now)));
	}
}

TEST_HARNESS_MAIN
