// SPDX-License-Identifier: GPL-2.0
/*
 * What a write answers and what of it is recorded, for every way to write.
 */
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/inotify.h>

#include "consumer.h"
#include "uring.h"

/* The ways to write: each sends @size bytes at @buf, index and all. */
static ssize_t send_write(int fd, const void *buf, size_t size)
{
	ssize_t ret = write(fd, buf, size);

	return ret < 0 ? -errno : ret;
}

static ssize_t send_pwrite(int fd, const void *buf, size_t size)
{
	ssize_t ret = pwrite(fd, buf, size, 0);

	return ret < 0 ? -errno : ret;
}

/* Small segments first, so that index and first fields are torn apart. */
static int make_segments(struct iovec *iov, const void *buf, size_t size)
{
	static const size_t sizes[] = { 1, 0, 2, 2, 1, 3, 5 };
	size_t pos = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes) && pos < size; i++) {
		size_t len = sizes[i] < size - pos ? sizes[i] : size - pos;

		iov[i].iov_base = (char *)buf + pos;
		iov[i].iov_len = len;
		pos += len;
	}
	iov[i].iov_base = (char *)buf + pos;
	iov[i].iov_len = size - pos;

	return i + 1;
}

static ssize_t send_writev(int fd, const void *buf, size_t size)
{
	struct iovec iov[16];
	ssize_t ret = writev(fd, iov, make_segments(iov, buf, size));

	return ret < 0 ? -errno : ret;
}

static ssize_t send_pwritev(int fd, const void *buf, size_t size)
{
	struct iovec iov[16];
	ssize_t ret = pwritev(fd, iov, make_segments(iov, buf, size), 0);

	return ret < 0 ? -errno : ret;
}

static ssize_t send_uring(int fd, const void *buf, size_t size)
{
	return uring_send(fd, buf, size, IORING_OP_WRITE, 0);
}

static ssize_t send_uring_vec(int fd, const void *buf, size_t size)
{
	return uring_send(fd, buf, size, IORING_OP_WRITEV, 0);
}

/* From a worker thread of io_uring. */
static ssize_t send_uring_async(int fd, const void *buf, size_t size)
{
	return uring_send(fd, buf, size, IORING_OP_WRITE, IOSQE_ASYNC);
}

static ssize_t send_uring_fixed(int fd, const void *buf, size_t size)
{
	return uring_send(fd, buf, size, IORING_OP_WRITE_FIXED, 0);
}

/* Memory whose last page cannot be read. */
struct fence {
	unsigned char *map;
	size_t page;
};

static int fence_open(struct fence *fence)
{
	fence->page = sysconf(_SC_PAGESIZE);
	fence->map = mmap(NULL, 2 * fence->page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fence->map == MAP_FAILED)
		return -ENOMEM;

	return mprotect(fence->map + fence->page, fence->page, PROT_NONE) ?
		-errno : 0;
}

/* Address from which @readable bytes can be read. */
static unsigned char *fence_buf(struct fence *fence, size_t readable)
{
	return fence->map + fence->page - readable;
}

FIXTURE(write)
{
	int fd;
	uint32_t word;
	int index;
	char event[64];
	char args[128];
	struct ft ft;
	struct fence fence;
};

FIXTURE_VARIANT(write)
{
	ssize_t (*send)(int fd, const void *buf, size_t size);
};

FIXTURE_VARIANT_ADD(write, write) { .send = send_write };
FIXTURE_VARIANT_ADD(write, writev) { .send = send_writev };
FIXTURE_VARIANT_ADD(write, pwrite) { .send = send_pwrite };
FIXTURE_VARIANT_ADD(write, pwritev) { .send = send_pwritev };
FIXTURE_VARIANT_ADD(write, uring) { .send = send_uring };
FIXTURE_VARIANT_ADD(write, uring_vec) { .send = send_uring_vec };
FIXTURE_VARIANT_ADD(write, uring_async) { .send = send_uring_async };

/* Fields of the event of these tests: 8 bytes. */
#define FIELDS_SIZE 8

FIXTURE_SETUP(write)
{
	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "write_%s", _metadata->name);
	snprintf(self->args, sizeof(self->args), "%s u32 a; u32 b",
		 self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, self->args, &self->word, 0,
			    &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "write"));
	ASSERT_EQ(0, fence_open(&self->fence));
}

FIXTURE_TEARDOWN(write)
{
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

UE_TEST_F(write, success_is_the_whole_length)
{
	static const size_t sizes[] = { 8, 9, 15, 16, 100, 500, 1000, 3001 };
	static unsigned char buf[4096];
	unsigned int i;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memcpy(buf, &self->index, 4);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i];

		fill_pattern(buf + 4, size, i);
		EXPECT_EQ(4 + size, variant->send(self->fd, buf, 4 + size));
		EXPECT_EQ(1, ft_got(&self->ft, buf + 4, size))
			TH_LOG("payload of %zu bytes", size);
	}
}

UE_TEST_F(write, less_than_an_index)
{
	unsigned char buf[4] = { 0xff, 0xff, 0xff, 0xff };
	size_t size;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (size = 1; size < 4; size++) {
		EXPECT_EQ(-EFAULT, variant->send(self->fd, buf, size))
			TH_LOG("round %d", (int)size);
	}

	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(write, unreadable_index)
{
	size_t readable;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (readable = 0; readable < 4; readable++) {
		EXPECT_EQ(-EFAULT,
			  variant->send(self->fd,
					fence_buf(&self->fence, readable),
					4 + FIELDS_SIZE));
	}

	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(write, negative_index)
{
	static const int indexes[] = { -1, INT_MIN + 1 };
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	unsigned char *torn = fence_buf(&self->fence, 4);
	unsigned int i;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		memcpy(buf, &indexes[i], 4);
		memcpy(torn, &indexes[i], 4);

		EXPECT_EQ(-EINVAL, variant->send(self->fd, buf, sizeof(buf)));

		/* Comes before a short and before an unreadable payload. */
		EXPECT_EQ(-EINVAL, variant->send(self->fd, buf, 4));
		EXPECT_EQ(-EINVAL, variant->send(self->fd, torn, sizeof(buf)));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(write, unregistered_index)
{
	const int indexes[] = { self->index + 1, 1000000, INT_MAX };
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	unsigned char *torn = fence_buf(&self->fence, 4);
	unsigned int i;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		memcpy(buf, &indexes[i], 4);
		memcpy(torn, &indexes[i], 4);

		EXPECT_EQ(-ENOENT, variant->send(self->fd, buf, sizeof(buf)));
		EXPECT_EQ(-ENOENT, variant->send(self->fd, buf, 4));
		EXPECT_EQ(-ENOENT, variant->send(self->fd, torn, sizeof(buf)));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(write, index_of_another_file)
{
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	int other = ue_open();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memcpy(buf, &self->index, 4);

	EXPECT_EQ(-ENOENT, variant->send(other, buf, sizeof(buf)));
	EXPECT_EQ(0, ft_drain(&self->ft));
	close(other);
}

UE_TEST_F(write, payload_shorter_than_the_fields)
{
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	unsigned char *torn = fence_buf(&self->fence, 4);
	size_t size;
	int on;

	memcpy(buf, &self->index, 4);
	memcpy(torn, &self->index, 4);

	/* Comes before the question whether anybody listens. */
	for (on = 0; on <= 1; on++) {
		ASSERT_EQ(0, ft_switch(&self->ft, self->event, on));
		for (size = 0; size < FIELDS_SIZE; size++) {
			EXPECT_EQ(-EINVAL,
				  variant->send(self->fd, buf, 4 + size));
			EXPECT_EQ(-EINVAL,
				  variant->send(self->fd, torn, 4 + size));
		}
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(write, nobody_listens)
{
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	unsigned char *torn = fence_buf(&self->fence, 4 + FIELDS_SIZE - 1);

	memcpy(buf, &self->index, 4);
	memcpy(torn, &self->index, 4);

	EXPECT_EQ(-EBADF, variant->send(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(-EBADF, variant->send(self->fd, torn, sizeof(buf)));

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	EXPECT_EQ(sizeof(buf), variant->send(self->fd, buf, sizeof(buf)));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	EXPECT_EQ(-EBADF, variant->send(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(1, ft_drain(&self->ft));
}

/* A write changes no file that somebody could watch. */
UE_TEST_F(write, no_file_changes)
{
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	unsigned char buf[4 + FIELDS_SIZE] = { 0 };
	char seen[1024];

	ASSERT_LE(0, watch);
	ASSERT_LE(0, inotify_add_watch(watch, UE_DATA, IN_MODIFY | IN_ACCESS));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memcpy(buf, &self->index, 4);

	EXPECT_EQ(sizeof(buf), variant->send(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(1, ft_drain(&self->ft));
	EXPECT_EQ(-1, read(watch, seen, sizeof(seen)));
	EXPECT_EQ(EAGAIN, errno);
	close(watch);
}

UE_TEST_F(write, unreadable_payload)
{
	static const size_t sizes[] = { FIELDS_SIZE, 600, 3000 };
	unsigned int i;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = 4 + sizes[i];
		const size_t readable[] = { 4, 5, size / 2, size - 1 };
		unsigned int j;

		for (j = 0; j < ARRAY_SIZE(readable); j++) {
			unsigned char *buf = fence_buf(&self->fence,
						       readable[j]);

			memcpy(buf, &self->index, 4);
			EXPECT_EQ(-EFAULT, variant->send(self->fd, buf, size))
				TH_LOG("%zu of %zu readable", readable[j],
				       size);
		}
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* Memory that was never touched is no reason to fail. */
UE_TEST_F(write, payload_not_present)
{
	size_t page = self->fence.page;
	unsigned char *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char zeroes[1000] = { 0 };

	ASSERT_TRUE(map != MAP_FAILED);
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memcpy(map + page - 4, &self->index, 4);

	EXPECT_EQ(4 + sizeof(zeroes),
		  variant->send(self->fd, map + page - 4, 4 + sizeof(zeroes)));
	EXPECT_EQ(1, ft_got(&self->ft, zeroes, sizeof(zeroes)));
	munmap(map, 3 * page);
}

FIXTURE(segments)
{
	int fd;
	uint32_t word;
	int index;
	char event[64];
	char args[128];
	struct ft ft;
	struct pf pf;
};

FIXTURE_SETUP(segments)
{
	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "segments_%s",
		 _metadata->name);
	snprintf(self->args, sizeof(self->args), "%s u32 a; u32 b",
		 self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, self->args, &self->word, 0,
			    &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "segments"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, pf_open(&self->pf, event_id(self->event), 0, -1,
			     pf_pages(64)));
}

FIXTURE_TEARDOWN(segments)
{
	pf_close(&self->pf);
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

UE_TEST_F(segments, nothing_at_all)
{
	EXPECT_EQ(-EFAULT, send_write(self->fd, "", 0));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* Three segments, cut at every pair of places, inside the index too. */
UE_TEST_F(segments, cut_anywhere)
{
	unsigned char buf[4 + 16];
	size_t size = sizeof(buf), i, j;

	memcpy(buf, &self->index, 4);
	for (i = 0; i <= size; i++) {
		for (j = i; j <= size; j++) {
			struct iovec iov[] = {
				{ buf, i },
				{ buf + i, j - i },
				{ buf + j, size - j },
			};

			fill_pattern(buf + 4, size - 4, i * size + j);
			ASSERT_EQ(size, writev(self->fd, iov, 3));
			ASSERT_EQ(1, ft_got(&self->ft, buf + 4, size - 4))
				TH_LOG("cut at %zu and %zu", i, j);
			ASSERT_EQ(1, pf_got(&self->pf, buf + 4, size - 4))
				TH_LOG("cut at %zu and %zu", i, j);
		}
	}
}

UE_TEST_F(segments, a_byte_each)
{
	static unsigned char buf[1024];
	static struct iovec iov[1024];
	unsigned int i;

	memcpy(buf, &self->index, 4);
	fill_pattern(buf + 4, sizeof(buf) - 4, 3);
	for (i = 0; i < ARRAY_SIZE(iov); i++) {
		iov[i].iov_base = buf + i;
		iov[i].iov_len = 1;
	}

	ASSERT_EQ(sizeof(buf), writev(self->fd, iov, ARRAY_SIZE(iov)));
	EXPECT_EQ(1, ft_got(&self->ft, buf + 4, sizeof(buf) - 4));
	EXPECT_EQ(1, pf_got(&self->pf, buf + 4, sizeof(buf) - 4));
}

/* Registered buffers come to the kernel as pages, not as addresses. */
UE_TEST_F(segments, uring_fixed)
{
	static const size_t sizes[] = { 8, 17, 1000, 3000 };
	static unsigned char buf[4096];
	unsigned char short_buf[8] = { 0 };
	unsigned int i;

	memcpy(buf, &self->index, 4);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill_pattern(buf + 4, sizes[i], i);
		ASSERT_EQ(4 + sizes[i],
			  send_uring_fixed(self->fd, buf, 4 + sizes[i]));
		EXPECT_EQ(1, ft_got(&self->ft, buf + 4, sizes[i]));
	}

	memcpy(short_buf, &self->index, 4);
	EXPECT_EQ(-EFAULT, send_uring_fixed(self->fd, short_buf, 3));
	EXPECT_EQ(-EINVAL, send_uring_fixed(self->fd, short_buf, 8));
	memset(short_buf, 0xff, 4);
	EXPECT_EQ(-EINVAL, send_uring_fixed(self->fd, short_buf, 8));
	memset(short_buf, 0x7f, 4);
	EXPECT_EQ(-ENOENT, send_uring_fixed(self->fd, short_buf, 8));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* What io_uring can write at once is written by the task that submits it. */
UE_TEST_F(segments, uring_is_the_task)
{
	uint32_t buf[3] = { self->index, 1, 2 };
	struct record rec;
	int pid;

	ASSERT_EQ(sizeof(buf), send_uring(self->fd, buf, sizeof(buf)));
	ASSERT_EQ(1, ft_next(&self->ft, &rec));
	memcpy(&pid, rec.data + 4, sizeof(pid));
	EXPECT_EQ(getpid(), pid);
	EXPECT_EQ(1, pf_got(&self->pf, buf + 1, 8));
}

/* A payload with no declared field is still recorded. */
UE_TEST_F(segments, event_without_fields)
{
	char event[80], args[96];
	unsigned char buf[40];
	size_t size;
	int index;

	snprintf(event, sizeof(event), "%s_none", self->event);
	snprintf(args, sizeof(args), "%s", event);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 1, &index));
	ASSERT_EQ(0, ft_switch(&self->ft, event, 1));

	for (size = 0; size <= sizeof(buf); size++) {
		fill_pattern(buf, size, size);
		EXPECT_EQ(4 + size, emit(self->fd, index, buf, size));
		EXPECT_EQ(1, ft_got(&self->ft, buf, size));
	}
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
}

/*
 * Location fields: u32 a; KIND s; u32 b, then TAIL_SIZE bytes, the last a NUL.
 */
#define LOC_AT		4
#define TAIL_AT		12
#define TAIL_SIZE	16
#define LOC_SIZE	(TAIL_AT + TAIL_SIZE)

FIXTURE(location)
{
	int fd;
	uint32_t word;
	int index;
	char event[64];
	char args[128];
	struct ft ft;
	unsigned char buf[LOC_SIZE];
};

FIXTURE_VARIANT(location)
{
	const char *type;
	bool rel;
	bool string;
};

FIXTURE_VARIANT_ADD(location, data_char) {
	.type = "__data_loc char[]",
	.string = true,
};

FIXTURE_VARIANT_ADD(location, data_unsigned_char) {
	.type = "__data_loc unsigned char[]",
	.string = true,
};

FIXTURE_VARIANT_ADD(location, data_u8) {
	.type = "__data_loc u8[]",
};

FIXTURE_VARIANT_ADD(location, data_int) {
	.type = "__data_loc int[]",
};

FIXTURE_VARIANT_ADD(location, rel_char) {
	.type = "__rel_loc char[]",
	.rel = true,
	.string = true,
};

FIXTURE_VARIANT_ADD(location, rel_unsigned_char) {
	.type = "__rel_loc unsigned char[]",
	.rel = true,
	.string = true,
};

FIXTURE_VARIANT_ADD(location, rel_u8) {
	.type = "__rel_loc u8[]",
	.rel = true,
};

FIXTURE_VARIANT_ADD(location, rel_int) {
	.type = "__rel_loc int[]",
	.rel = true,
};

FIXTURE_SETUP(location)
{
	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "location_%s",
		 _metadata->name);
	snprintf(self->args, sizeof(self->args), "%s u32 a; %s s; u32 b",
		 self->event, variant->type);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, self->args, &self->word, 0,
			    &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "location"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memcpy(self->buf + TAIL_AT, "0123456789abcde", TAIL_SIZE);
}

FIXTURE_TEARDOWN(location)
{
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

/* Location of @size bytes from @at in the payload. */
static uint32_t make_loc(const struct _fixture_variant_location *variant,
			 unsigned int at, unsigned int size)
{
	unsigned int base = variant->rel ? LOC_AT + 4 : -COMMON_SIZE;

	return DYN_LOC(at - base, size);
}

static ssize_t send_loc(struct _test_data_location *self, uint32_t loc)
{
	memcpy(self->buf + LOC_AT, &loc, sizeof(loc));

	return emit(self->fd, self->index, self->buf, LOC_SIZE);
}

/* The write is answered by @error and leaves no trace. */
#define EXPECT_REFUSED(error, loc) do { \
	uint32_t _loc = (loc); \
	EXPECT_EQ(error, send_loc(self, _loc)) \
		TH_LOG("location 0x%08x", _loc); \
	EXPECT_EQ(0, ft_drain(&self->ft)) \
		TH_LOG("location 0x%08x was recorded", _loc); \
} while (0)

#define EXPECT_TAKEN(loc) do { \
	uint32_t _loc = (loc); \
	EXPECT_EQ(4 + LOC_SIZE, send_loc(self, _loc)) \
		TH_LOG("location 0x%08x", _loc); \
	EXPECT_EQ(1, ft_got(&self->ft, self->buf, LOC_SIZE)) \
		TH_LOG("location 0x%08x", _loc); \
} while (0)

UE_TEST_F(location, behind_the_fields)
{
	EXPECT_TAKEN(make_loc(variant, TAIL_AT, TAIL_SIZE));
	EXPECT_TAKEN(make_loc(variant, TAIL_AT + 3, TAIL_SIZE - 3));
}

UE_TEST_F(location, last_byte)
{
	EXPECT_TAKEN(make_loc(variant, LOC_SIZE - 1, 1));
}

UE_TEST_F(location, one_past_the_end)
{
	EXPECT_REFUSED(-EFAULT, make_loc(variant, TAIL_AT, TAIL_SIZE + 1));
	EXPECT_REFUSED(-EFAULT, make_loc(variant, LOC_SIZE, 1));
	EXPECT_REFUSED(-EFAULT, make_loc(variant, LOC_SIZE - 1, 2));
}

UE_TEST_F(location, within_the_fields)
{
	/* The u32 behind it, which is 0. */
	EXPECT_TAKEN(make_loc(variant, LOC_AT + 4, 4));
	EXPECT_TAKEN(make_loc(variant, LOC_AT + 4, 1));

	/* The u32 in front of it, which only an absolute one reaches. */
	if (!variant->rel)
		EXPECT_TAKEN(make_loc(variant, 0, 4));
}

UE_TEST_F(location, common_fields)
{
	unsigned int at, size;

	if (variant->rel) {
		/* Offset 0 is what follows the field. */
		EXPECT_TAKEN(DYN_LOC(0, 4));
		return;
	}

	for (at = 0; at < COMMON_SIZE; at++) {
		for (size = 1; at + size <= COMMON_SIZE + 4; size++)
			EXPECT_REFUSED(-EFAULT, DYN_LOC(at, size));
	}
}

UE_TEST_F(location, size_zero)
{
	static const unsigned int places[] = { LOC_AT + 4, TAIL_AT, LOC_SIZE };
	unsigned int i, at;

	/* In front of each place there is a NUL, which must not be found. */
	memset(self->buf, 0, LOC_SIZE);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (variant->string)
			EXPECT_REFUSED(-EFAULT,
				       make_loc(variant, places[i], 0));
		else
			EXPECT_TAKEN(make_loc(variant, places[i], 0));
	}
	EXPECT_REFUSED(-EFAULT, make_loc(variant, LOC_SIZE + 1, 0));

	/* Nothing is also what a location left 0 points at. */
	for (at = 0; at <= COMMON_SIZE; at++) {
		if (variant->string)
			EXPECT_REFUSED(-EFAULT, DYN_LOC(at, 0));
		else
			EXPECT_TAKEN(DYN_LOC(at, 0));
	}
}

UE_TEST_F(location, without_a_nul)
{
	if (variant->string) {
		EXPECT_REFUSED(-EFAULT,
			       make_loc(variant, TAIL_AT, TAIL_SIZE - 1));
		EXPECT_REFUSED(-EFAULT, make_loc(variant, TAIL_AT, 1));
	} else {
		EXPECT_TAKEN(make_loc(variant, TAIL_AT, TAIL_SIZE - 1));
		EXPECT_TAKEN(make_loc(variant, TAIL_AT, 1));
	}
}

UE_TEST_F(location, sums_that_overflow)
{
	static const uint32_t locs[] = {
		DYN_LOC(0xffffU, 0xffffU), DYN_LOC(0xffffU, 1U),
		DYN_LOC(16U, 0xffffU), DYN_LOC(0xfff0U, 0x20U),
		DYN_LOC(0xffffU, 0x11U), DYN_LOC(0x8000U, 0x8010U),
		DYN_LOC(16U, 0xfff0U), DYN_LOC(0x7fffU, 0x7fffU),
	};
	unsigned int i;

	memset(self->buf, 0, LOC_SIZE);
	for (i = 0; i < ARRAY_SIZE(locs); i++)
		EXPECT_REFUSED(-EFAULT, locs[i]);
}

/* Offset and size beyond 32767 are neither negative nor cut. */
UE_TEST_F(location, far_away)
{
	static const struct {
		unsigned int at, size;
	} places[] = {
		{ TAIL_AT, 60000 - TAIL_AT }, { 59999, 1 }, { 40000, 20000 },
	};
	unsigned char *buf = calloc(1, 60000);
	struct pf pf = { 0 };
	unsigned int i;
	uint32_t loc;

	ASSERT_TRUE(!!buf);
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	ASSERT_EQ(0, pf_open(&pf, event_id(self->event), 0, -1,
			     pf_pages(256)));

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		loc = make_loc(variant, places[i].at, places[i].size);
		memcpy(buf + LOC_AT, &loc, sizeof(loc));
		EXPECT_EQ(4 + 60000, emit(self->fd, self->index, buf, 60000));
		EXPECT_EQ(1, pf_got(&pf, buf, 60000));

		loc = make_loc(variant, places[i].at, places[i].size + 1);
		memcpy(buf + LOC_AT, &loc, sizeof(loc));
		EXPECT_EQ(-EFAULT, emit(self->fd, self->index, buf, 60000));
		EXPECT_EQ(0, pf_drain(&pf));
	}
	pf_close(&pf);
	free(buf);
}

UE_TEST_F(location, nobody_listens)
{
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	EXPECT_REFUSED(-EBADF, make_loc(variant, LOC_SIZE, 100));
}

/* All locations of a payload are checked before anybody gets any of it. */
UE_TEST_F(location, second_one_is_bad)
{
	struct {
		uint8_t odd;
		uint32_t one, two;
		char text[8];
	} __packed payload = { .text = "string" };
	char event[80], args[160];
	struct pf pf = { 0 };
	int index, offset;

	/* The first field leaves both locations unaligned. */
	snprintf(event, sizeof(event), "%s_two", self->event);
	snprintf(args, sizeof(args), "%s u8 odd; __rel_loc char[] one; %s two",
		 event, variant->type);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 1, &index));
	ASSERT_EQ(0, ft_switch(&self->ft, event, 1));
	ASSERT_EQ(0, pf_open(&pf, event_id(event), 0, -1, 1));

	offset = offsetof(typeof(payload), text);
	payload.one = DYN_LOC(4, 7);
	payload.two = DYN_LOC(variant->rel ? 0 : offset + COMMON_SIZE, 7);
	EXPECT_EQ(4 + sizeof(payload),
		  emit(self->fd, index, &payload, sizeof(payload)));
	EXPECT_EQ(1, ft_got(&self->ft, &payload, sizeof(payload)));
	EXPECT_EQ(1, pf_got(&pf, &payload, sizeof(payload)));

	payload.two = DYN_LOC(variant->rel ? 0 : offset + COMMON_SIZE, 9);
	EXPECT_EQ(-EFAULT, emit(self->fd, index, &payload, sizeof(payload)));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(0, pf_drain(&pf));

	pf_close(&pf);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
}

/*
 * The payload changes while it is written: whatever moment was recorded, it
 * is the same for all, and it is one that passes the checks.
 */
struct shifty {
	uint32_t loc;
	char text[60];
};

static void *shift(void *arg)
{
	struct shifty *payload = arg;
	char *text = payload->text;
	unsigned int i;

	/* The first byte ends the thread, the rest flips good and bad. */
	for (i = 0; __atomic_load_n(text, __ATOMIC_RELAXED) != 'q'; i++) {
		__atomic_store_n(&payload->loc, i & 1 ? DYN_LOC(0, 60) :
				 DYN_LOC(0, 61), __ATOMIC_RELAXED);
		__atomic_store_n(text + 59, i & 2 ? 'x' : '\0',
				 __ATOMIC_RELAXED);
		__atomic_store_n(text + 30, i, __ATOMIC_RELAXED);
	}

	return NULL;
}

UE_TEST_F(segments, payload_changes_meanwhile)
{
	struct shifty payload = { .loc = DYN_LOC(0, 60) };
	const struct shifty *seen;
	int rounds = 20000, taken = 0;
	char event[80], args[128];
	struct record one, two;
	pthread_t thread;
	struct pf pf;
	cpu_set_t all;
	ssize_t ret;
	int index;

	snprintf(event, sizeof(event), "%s_loc", self->event);
	snprintf(args, sizeof(args), "%s __rel_loc char[] s", event);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 1, &index));
	ASSERT_EQ(0, ft_switch(&self->ft, event, 1));
	ASSERT_EQ(0, pf_open(&pf, event_id(event), 0, -1, pf_pages(64)));

	ASSERT_EQ(0, pthread_create(&thread, NULL, shift, &payload));
	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(thread, sizeof(all), &all);

	while (rounds--) {
		ret = emit(self->fd, index, &payload, sizeof(payload));
		if (ret == -EFAULT) {
			ASSERT_EQ(0, ft_next(&self->ft, &one));
			ASSERT_EQ(0, pf_next(&pf, &two));
			continue;
		}

		ASSERT_EQ(4 + sizeof(payload), ret);
		ASSERT_EQ(1, ft_next(&self->ft, &one));
		ASSERT_EQ(1, pf_next(&pf, &two));
		ASSERT_EQ(0, memcmp(record_payload(&one), record_payload(&two),
				    sizeof(payload)));

		seen = (const struct shifty *)record_payload(&one);
		ASSERT_EQ(DYN_LOC(0, 60), seen->loc);
		ASSERT_EQ('\0', seen->text[59]);
		taken++;
	}
	__atomic_store_n(payload.text, 'q', __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_LT(0, taken);

	pf_close(&pf);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
}

TEST_HARNESS_MAIN
