// SPDX-License-Identifier: GPL-2.0
/*
 * Batches: one write that carries many events.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "consumer.h"
#include "uring.h"

#define HEADER_SIZE	sizeof(struct user_event_record)

/* A batch that is being put together, its index included. */
struct batch {
	unsigned char *buf;
	size_t size, room;
};

static void batch_start(struct batch *batch, void *buf, size_t room)
{
	uint32_t index = USER_EVENT_WRITE_BATCH;

	batch->buf = buf;
	batch->room = room;
	batch->size = sizeof(index);
	memcpy(buf, &index, sizeof(index));
}

/* Adds a record that says to be @says bytes long and carries @size of them. */
static void batch_add_sized(struct batch *batch, uint32_t says,
			    uint32_t index, const void *payload, size_t size)
{
	struct user_event_record record = {
		.size = says, .write_index = index,
	};

	if (batch->size + HEADER_SIZE + size > batch->room)
		abort();

	memcpy(batch->buf + batch->size, &record, HEADER_SIZE);
	memcpy(batch->buf + batch->size + HEADER_SIZE, payload, size);
	batch->size += HEADER_SIZE + size;
}

static void batch_add(struct batch *batch, uint32_t index, const void *payload,
		      size_t size)
{
	batch_add_sized(batch, HEADER_SIZE + size, index, payload, size);
}

static ssize_t batch_send(int fd, const struct batch *batch)
{
	ssize_t ret = write(fd, batch->buf, batch->size);

	return ret < 0 ? -errno : ret;
}

/* Payload of most tests: a number, its event has room for a location too. */
struct payload {
	uint32_t seq;
	uint32_t loc;
	uint64_t more;
};

static struct payload make_payload(uint32_t seq)
{
	return (struct payload) {
		.seq = seq, .loc = DYN_LOC(0, 8), .more = seq ^ 0xff00,
	};
}

FIXTURE(batch)
{
	int fd;
	uint32_t word;
	int index;		/* of the event that is consumed */
	int other;		/* of one that is not, at first */
	char event[64], other_event[80];
	struct ft ft;
	struct pf pf;
	unsigned char buf[65536];
	struct batch batch;
};

FIXTURE_SETUP(batch)
{
	char args[128];

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "batch_%s",
		 _metadata->name);
	snprintf(self->other_event, sizeof(self->other_event), "%s_other",
		 self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	snprintf(args, sizeof(args), "%s u32 seq; __rel_loc u8[] loc; u64 more",
		 self->event);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &self->index));
	snprintf(args, sizeof(args), "%s u32 seq", self->other_event);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 1, &self->other));
	ASSERT_EQ(0, ft_create(&self->ft, "batch"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	batch_start(&self->batch, self->buf, sizeof(self->buf));
}

FIXTURE_TEARDOWN(batch)
{
	pf_close(&self->pf);
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		ue_unreg(self->fd, &self->word, 1);
		close(self->fd);
	}
}

static void add_good(struct _test_data_batch *self, uint32_t seq)
{
	struct payload payload = make_payload(seq);

	batch_add(&self->batch, self->index, &payload, sizeof(payload));
}

static ssize_t send_batch(struct _test_data_batch *self)
{
	return batch_send(self->fd, &self->batch);
}

static void restart(struct _test_data_batch *self)
{
	batch_start(&self->batch, self->buf, sizeof(self->buf));
}

/* The next record is the good one of that number. */
static bool got_good(struct ft *ft, uint32_t seq)
{
	struct payload payload = make_payload(seq);
	struct record rec;

	return ft_next(ft, &rec) == 1 &&
	       record_is(&rec, &payload, sizeof(payload));
}

UE_TEST_F(batch, one_record)
{
	add_good(self, 1);
	EXPECT_EQ(4 + 8 + 16, send_batch(self));
	EXPECT_TRUE(got_good(&self->ft, 1));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(batch, no_record)
{
	EXPECT_EQ(4, send_batch(self));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(batch, other_negative_indexes)
{
	static const uint32_t indexes[] = {
		USER_EVENT_WRITE_BATCH + 1, 0xffffffff, 0xc0000000,
	};
	unsigned int i;

	add_good(self, 1);
	for (i = 0; i < ARRAY_SIZE(indexes); i++) {
		memcpy(self->buf, &indexes[i], 4);
		EXPECT_EQ(-EINVAL, send_batch(self));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* Each record is an event of its own for every consumer. */
UE_TEST_F(batch, in_order_for_all_consumers)
{
	struct payload payload;
	struct record rec;
	uint32_t seq;

	ASSERT_EQ(0, pf_open(&self->pf, event_id(self->event), 0, -1,
			     pf_pages(64)));
	for (seq = 0; seq < 64; seq++)
		add_good(self, seq);
	EXPECT_EQ(4 + 64 * 24, send_batch(self));

	for (seq = 0; seq < 64; seq++) {
		payload = make_payload(seq);
		ASSERT_TRUE(got_good(&self->ft, seq));
		ASSERT_EQ(1, pf_next(&self->pf, &rec));
		ASSERT_TRUE(record_is(&rec, &payload, sizeof(payload)));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_EQ(64, pf_count(&self->pf));
}

/* Records of any length follow each other with no padding. */
UE_TEST_F(batch, odd_sizes)
{
	unsigned char payload[256];
	size_t size;

	ASSERT_EQ(0, ft_switch(&self->ft, self->other_event, 1));
	for (size = 4; size < 200; size++) {
		fill_pattern(payload, size, size);
		batch_add(&self->batch, self->other, payload, size);
	}
	EXPECT_EQ(self->batch.size, send_batch(self));

	for (size = 4; size < 200; size++) {
		struct record rec;

		fill_pattern(payload, size, size);
		ASSERT_EQ(1, ft_next(&self->ft, &rec));
		ASSERT_TRUE(record_is(&rec, payload, size))
			TH_LOG("%zu bytes", size);
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(batch, two_events)
{
	struct record rec;
	uint32_t seq;

	ASSERT_EQ(0, ft_switch(&self->ft, self->other_event, 1));
	for (seq = 0; seq < 100; seq += 2) {
		uint32_t next = seq + 1;

		add_good(self, seq);
		batch_add(&self->batch, self->other, &next, sizeof(next));
	}
	EXPECT_EQ(self->batch.size, send_batch(self));

	for (seq = 0; seq < 100; seq += 2) {
		uint32_t next = seq + 1;

		ASSERT_TRUE(got_good(&self->ft, seq));
		ASSERT_EQ(1, ft_next(&self->ft, &rec));
		ASSERT_TRUE(record_is(&rec, &next, sizeof(next)));
		ASSERT_EQ(event_id(self->other_event), record_type(&rec));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* Nothing but a header, for an event without fields. */
UE_TEST_F(batch, empty_payload)
{
	char event[96];
	int index, i;

	snprintf(event, sizeof(event), "%s_none", self->event);
	ASSERT_EQ(0, ue_reg(self->fd, event, &self->word, 2, &index));
	ASSERT_EQ(0, ft_switch(&self->ft, event, 1));
	for (i = 0; i < 10; i++)
		batch_add(&self->batch, index, "", 0);
	EXPECT_EQ(4 + 80, send_batch(self));
	EXPECT_EQ(10, ft_drain(&self->ft));
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 2));
}

/* A record of an event that nobody consumes is dealt with. */
UE_TEST_F(batch, nobody_listens)
{
	uint32_t seq;

	for (seq = 0; seq < 10; seq++) {
		batch_add(&self->batch, self->other, &seq, sizeof(seq));
		add_good(self, seq);
		batch_add(&self->batch, self->other, &seq, sizeof(seq));
	}
	EXPECT_EQ(self->batch.size, send_batch(self));
	for (seq = 0; seq < 10; seq++) {
		EXPECT_TRUE(got_good(&self->ft, seq))
			TH_LOG("round %d", (int)seq);
	}
	EXPECT_EQ(0, ft_drain(&self->ft));

	/* Even if there is no other in it. */
	restart(self);
	batch_add(&self->batch, self->other, &seq, sizeof(seq));
	EXPECT_EQ(self->batch.size, send_batch(self));
	EXPECT_TRUE(event_lost_nothing(self->other_event));

	/* But what comes before that question is asked of it, too. */
	batch_add(&self->batch, self->other, &seq, sizeof(seq) - 1);
	EXPECT_EQ(self->batch.size - 11, send_batch(self));
}

/*
 * A record that fails: alone, first, and behind others, whose length a short
 * count then is. @add puts it into the batch.
 */
static void check_bad(struct __test_metadata *_metadata,
		      struct _test_data_batch *self, int error,
		      void (*add)(struct _test_data_batch *self, long arg),
		      long arg)
{
	size_t before;

	restart(self);
	add(self, arg);
	EXPECT_EQ(error, send_batch(self));
	EXPECT_EQ(0, ft_drain(&self->ft));

	restart(self);
	add_good(self, 1);
	add_good(self, 2);
	before = self->batch.size;
	add(self, arg);
	EXPECT_EQ(before, send_batch(self));
	EXPECT_TRUE(got_good(&self->ft, 1));
	EXPECT_TRUE(got_good(&self->ft, 2));
	EXPECT_EQ(0, ft_drain(&self->ft));

	/* One that is dealt with counts, though it goes nowhere. */
	restart(self);
	batch_add(&self->batch, self->other, &before, 4);
	before = self->batch.size;
	add(self, arg);
	EXPECT_EQ(before, send_batch(self));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* The same, and what is behind it is not looked at. */
static void check_bad_in_the_middle(struct __test_metadata *_metadata,
				    struct _test_data_batch *self, int error,
				    void (*add)(struct _test_data_batch *self,
						long arg),
				    long arg)
{
	size_t before;

	check_bad(_metadata, self, error, add, arg);

	restart(self);
	add(self, arg);
	add_good(self, 1);
	EXPECT_EQ(error, send_batch(self));
	EXPECT_EQ(0, ft_drain(&self->ft));

	restart(self);
	add_good(self, 1);
	before = self->batch.size;
	add(self, arg);
	add_good(self, 2);
	EXPECT_EQ(before, send_batch(self));
	EXPECT_TRUE(got_good(&self->ft, 1));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

static void add_with_size(struct _test_data_batch *self, long says)
{
	struct payload payload = make_payload(99);

	batch_add_sized(&self->batch, says, self->index, &payload,
			sizeof(payload));
}

UE_TEST_F(batch, size_less_than_a_header)
{
	long says;

	for (says = 0; says < 8; says++)
		check_bad_in_the_middle(_metadata, self, -EINVAL,
					add_with_size, says);
}

UE_TEST_F(batch, size_past_the_end)
{
	static const uint32_t sizes[] = {
		25, 26, 32, 4096, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
		0xffffffff - 4,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		check_bad(_metadata, self, -EINVAL, add_with_size, sizes[i]);
}

/* The header itself is not whole. */
static void add_part_of_header(struct _test_data_batch *self, long size)
{
	uint32_t header[2] = { size, self->index };

	memcpy(self->buf + self->batch.size, header, size);
	self->batch.size += size;
}

UE_TEST_F(batch, part_of_a_header)
{
	long size;

	for (size = 1; size < 8; size++)
		check_bad(_metadata, self, -EINVAL, add_part_of_header, size);
}

static void add_with_index(struct _test_data_batch *self, long index)
{
	struct payload payload = make_payload(99);

	batch_add(&self->batch, index, &payload, sizeof(payload));
}

UE_TEST_F(batch, bad_index)
{
	check_bad_in_the_middle(_metadata, self, -ENOENT, add_with_index,
				self->other + 1);
	check_bad_in_the_middle(_metadata, self, -ENOENT, add_with_index,
				INT_MAX);
	check_bad_in_the_middle(_metadata, self, -EINVAL, add_with_index, -1);

	/* There is no batch in a batch. */
	check_bad_in_the_middle(_metadata, self, -EINVAL, add_with_index,
				(int)USER_EVENT_WRITE_BATCH);
}

static void add_short_payload(struct _test_data_batch *self, long size)
{
	struct payload payload = make_payload(99);

	batch_add(&self->batch, self->index, &payload, size);
}

UE_TEST_F(batch, payload_shorter_than_the_fields)
{
	long size;

	for (size = 0; size < sizeof(struct payload); size++)
		check_bad_in_the_middle(_metadata, self, -EINVAL,
					add_short_payload, size);
}

/* A location reaches to the end of its record, not to the next one. */
static void add_bad_location(struct _test_data_batch *self, long size)
{
	struct payload payload = make_payload(99);

	payload.loc = DYN_LOC(0, (uint32_t)size);
	batch_add(&self->batch, self->index, &payload, sizeof(payload));
}

UE_TEST_F(batch, bad_location)
{
	check_bad_in_the_middle(_metadata, self, -EFAULT, add_bad_location, 9);
	check_bad_in_the_middle(_metadata, self, -EFAULT, add_bad_location,
				0xffff);
}

static void add_too_big(struct _test_data_batch *self, long size)
{
	static unsigned char payload[8192];

	batch_add(&self->batch, self->index, payload, size);
}

UE_TEST_F(batch, too_big)
{
	check_bad_in_the_middle(_metadata, self, -E2BIG, add_too_big, 8192);
}

/* A record may be as large as an event that is written alone. */
UE_TEST_F(batch, large_record)
{
	static unsigned char payload[60000];
	struct record rec;

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	ASSERT_EQ(0, pf_open(&self->pf, event_id(self->event), 0, -1,
			     pf_pages(256)));
	fill_pattern(payload, sizeof(payload), 5);
	memset(payload + 4, 0, 4);

	add_good(self, 1);
	batch_add(&self->batch, self->index, payload, sizeof(payload));
	add_good(self, 2);
	EXPECT_EQ(self->batch.size, send_batch(self));

	EXPECT_EQ(1, pf_next(&self->pf, &rec));
	ASSERT_EQ(1, pf_next(&self->pf, &rec));
	EXPECT_TRUE(record_is(&rec, payload, sizeof(payload)));
	EXPECT_EQ(1, pf_drain(&self->pf));
}

/* A consumer that can take what another one cannot has got it. */
UE_TEST_F(batch, too_big_for_one)
{
	static unsigned char big[8192];
	size_t before;

	ASSERT_EQ(0, pf_open(&self->pf, event_id(self->event), 0, -1,
			     pf_pages(64)));
	add_good(self, 1);
	before = self->batch.size;
	batch_add(&self->batch, self->index, big, sizeof(big));
	add_good(self, 2);
	EXPECT_EQ(before, send_batch(self));
	EXPECT_TRUE(got_good(&self->ft, 1));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(2, pf_drain(&self->pf));
}

/* After a short count the rest goes on its own, error and all. */
UE_TEST_F(batch, resume_behind_a_bad_record)
{
	struct batch rest;
	uint32_t index = USER_EVENT_WRITE_BATCH;
	ssize_t ret;

	add_good(self, 1);
	add_good(self, 2);
	add_with_index(self, 1000);
	add_good(self, 3);
	ret = send_batch(self);
	ASSERT_EQ(4 + 48, ret);

	/* The index goes where the last record dealt with ends. */
	rest.buf = self->buf + ret - 4;
	rest.size = self->batch.size - ret + 4;
	memcpy(rest.buf, &index, 4);
	EXPECT_EQ(-ENOENT, batch_send(self->fd, &rest));

	rest.buf += 24;
	rest.size -= 24;
	memcpy(rest.buf, &index, 4);
	EXPECT_EQ(4 + 24, batch_send(self->fd, &rest));

	EXPECT_TRUE(got_good(&self->ft, 1));
	EXPECT_TRUE(got_good(&self->ft, 2));
	EXPECT_TRUE(got_good(&self->ft, 3));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* A batch whose tail cannot be read: at every place. */
UE_TEST_F(batch, unreadable)
{
	size_t page = sysconf(_SC_PAGESIZE), readable, whole;
	unsigned char *map;
	ssize_t ret;

	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(map != MAP_FAILED);
	ASSERT_EQ(0, mprotect(map + page, page, PROT_NONE));

	add_good(self, 0);
	add_good(self, 1);
	add_good(self, 2);
	for (readable = 0; readable < self->batch.size; readable++) {
		unsigned char *buf = map + page - readable;

		memcpy(buf, self->buf, readable);
		ret = write(self->fd, buf, self->batch.size);
		if (ret < 0)
			ret = -errno;

		/* Of the records that can be read all are dealt with. */
		whole = readable < 4 ? 0 : (readable - 4) / 24;
		EXPECT_EQ(whole ? 4 + 24 * (ssize_t)whole : -EFAULT, ret)
			TH_LOG("%zu bytes readable", readable);
		EXPECT_EQ(whole, ft_drain(&self->ft))
			TH_LOG("%zu bytes readable", readable);
	}
	munmap(map, 2 * page);
}

/* Three segments, cut at every pair of places. */
UE_TEST_F(batch, cut_anywhere)
{
	size_t i, j, size;

	add_good(self, 0);
	batch_add(&self->batch, self->other, "odd!!", 5);
	add_good(self, 1);
	add_good(self, 2);
	size = self->batch.size;

	for (i = 0; i <= size; i++) {
		for (j = i; j <= size; j++) {
			struct iovec iov[] = {
				{ self->buf, i },
				{ self->buf + i, j - i },
				{ self->buf + j, size - j },
			};

			ASSERT_EQ(size, writev(self->fd, iov, 3))
				TH_LOG("cut at %zu and %zu", i, j);
			ASSERT_TRUE(got_good(&self->ft, 0));
			ASSERT_TRUE(got_good(&self->ft, 1));
			ASSERT_TRUE(got_good(&self->ft, 2));
			ASSERT_EQ(0, ft_drain(&self->ft));
		}
	}
}

UE_TEST_F(batch, every_way_to_write)
{
	size_t size;
	int i;

	add_good(self, 0);
	add_good(self, 1);
	size = self->batch.size;

	ASSERT_EQ(size, pwrite(self->fd, self->buf, size, 0));
	ASSERT_EQ(size, uring_send(self->fd, self->buf, size,
				   IORING_OP_WRITE, 0));
	ASSERT_EQ(size, uring_send(self->fd, self->buf, size,
				   IORING_OP_WRITEV, 0));
	ASSERT_EQ(size, uring_send(self->fd, self->buf, size,
				   IORING_OP_WRITE_FIXED, 0));
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(got_good(&self->ft, 0));
		EXPECT_TRUE(got_good(&self->ft, 1));
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/*
 * io_uring continues a write to a file that came back short, but what follows
 * is no write: here size and payload of the record that failed happen to be
 * indexes of events.
 */
UE_TEST_F(batch, uring_short_count)
{
	static const struct {
		int opcode, flags;
	} ways[] = {
		{ IORING_OP_WRITE, 0 }, { IORING_OP_WRITE, IOSQE_ASYNC },
		{ IORING_OP_WRITEV, 0 }, { IORING_OP_WRITE_FIXED, 0 },
	};
	char event[96];
	uint32_t words[32] = { 0 };
	struct payload payload;
	unsigned int i;
	int index = 0;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(event, sizeof(event), "%s_%u", self->event, i);
		ASSERT_EQ(0, ue_reg(self->fd, event, &words[i], 0, &index));
		ASSERT_EQ(0, ft_switch(&self->ft, event, 1));
	}
	ASSERT_LT(24, index);

	payload = make_payload(index);
	add_good(self, 1);
	batch_add(&self->batch, 1000, &payload, sizeof(payload));
	add_good(self, 2);
	add_good(self, 3);
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		EXPECT_EQ(4 + 24, uring_send(self->fd, self->buf,
					     self->batch.size, ways[i].opcode,
					     ways[i].flags));
		EXPECT_TRUE(got_good(&self->ft, 1));
		EXPECT_EQ(0, ft_drain(&self->ft))
			TH_LOG("way %u", i);
	}

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		EXPECT_EQ(0, ue_unreg(self->fd, &words[i], 0))
			TH_LOG("round %d", (int)i);
	}
}

/* A page that has to be faulted in is no reason for a short count. */
UE_TEST_F(batch, uring_not_present)
{
	size_t page = sysconf(_SC_PAGESIZE), size = 4, i;
	unsigned char *map;
	uint32_t seq = 0;
	int fd;

	while (size + 24 < 2 * page) {
		add_good(self, seq++);
		size += 24;
	}
	fd = memfd_create("batch", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(size, write(fd, self->buf, size));
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_TRUE(map != MAP_FAILED);

	/* The first page is mapped, by a write that maps no other with it. */
	map[0] = self->buf[0];
	EXPECT_EQ(size, uring_send(self->fd, map, size, IORING_OP_WRITE, 0));
	for (i = 0; i < seq; i++) {
		ASSERT_TRUE(got_good(&self->ft, i))
			TH_LOG("record %zu", i);
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
	munmap(map, 2 * page);
	close(fd);
}

/* What is not read with the file's registration is ENOENT here as well. */
UE_TEST_F(batch, another_file)
{
	int fd = ue_open();

	ASSERT_LE(0, fd);
	add_good(self, 1);
	EXPECT_EQ(-ENOENT, batch_send(fd, &self->batch));
	EXPECT_EQ(0, ft_drain(&self->ft));
	close(fd);
}

/*
 * REPORT_LOSS inside of a batch
 */
FIXTURE(full)
{
	int fd;
	uint32_t word;
	int index;		/* with the flag */
	int plain_fd, plain_index;
	char event[64];
	struct pf pf;
};

FIXTURE_SETUP(full)
{
	char args[128];

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "full_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u32 seq; u32 loc; u64 more",
		 self->event);
	self->fd = ue_open();
	self->plain_fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->plain_fd);
	ASSERT_EQ(0, ue_reg_full(self->fd, args, USER_EVENT_REG_REPORT_LOSS,
				 &self->word, 4, 0, &self->index));
	ASSERT_EQ(0, ue_reg(self->plain_fd, args, &self->word, 1,
			    &self->plain_index));
	ASSERT_EQ(0, pf_open(&self->pf, event_id(self->event), 0, -1, 1));
}

FIXTURE_TEARDOWN(full)
{
	pf_close(&self->pf);
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
	if (self->plain_fd > 0) {
		ue_unreg(self->plain_fd, &self->word, 1);
		close(self->plain_fd);
	}
}

/* A batch of @count records, numbered from 0; the caller frees its memory. */
static void batch_make(struct batch *batch, int index, unsigned int count)
{
	size_t room = 4 + (size_t)count * (HEADER_SIZE +
					   sizeof(struct payload));
	uint32_t seq;

	batch_start(batch, malloc(room), room);
	for (seq = 0; seq < count; seq++) {
		struct payload payload = make_payload(seq);

		batch_add(batch, index, &payload, sizeof(payload));
	}
}

/*
 * Cuts what the write of @written bytes has dealt with off the batch. The
 * index takes the place of what was in front of the rest.
 */
static void batch_advance(struct batch *batch, size_t written)
{
	uint32_t index = USER_EVENT_WRITE_BATCH;

	batch->buf += written - sizeof(index);
	batch->size -= written - sizeof(index);
	memcpy(batch->buf, &index, sizeof(index));
}

static bool batch_done(const struct batch *batch)
{
	return batch->size == sizeof(uint32_t);
}

/* Takes what the ring has, which goes on from @seq: the next, or negative. */
static long pf_take(struct pf *pf, long seq)
{
	struct record rec;
	int ret;

	while ((ret = pf_next(pf, &rec)) > 0) {
		struct payload payload = make_payload(seq++);

		if (!record_is(&rec, &payload, sizeof(payload)))
			return -EBADMSG;
	}

	return ret < 0 ? ret : seq;
}

/* A ring of one page, emptied whenever it is full. */
UE_TEST_F(full, resume)
{
	const long count = 5000;
	struct batch batch;
	unsigned char *mem;
	int stops = 0, refused = 0;
	long seen = 0;
	ssize_t ret;

	batch_make(&batch, self->index, count);
	mem = batch.buf;
	while (!batch_done(&batch)) {
		ret = batch_send(self->fd, &batch);
		if (ret == -ENOBUFS) {
			refused++;
		} else {
			ASSERT_LT(4, ret);
			ASSERT_EQ(4, ret % 24);
			batch_advance(&batch, ret);
			stops++;

			/* A ring that has filled up stays full. */
			if (!batch_done(&batch))
				ASSERT_EQ(-ENOBUFS,
					  batch_send(self->fd, &batch));
		}
		seen = pf_take(&self->pf, seen);
		ASSERT_LT(0, seen);
	}
	EXPECT_EQ(count, seen);
	EXPECT_LT(1, stops);
	EXPECT_EQ(0, refused);
	free(mem);
}

/* Without the flag the batch goes through, and the loss is counted. */
UE_TEST_F(full, without_flag)
{
	const long count = 5000;
	struct batch batch;
	long seen;

	batch_make(&batch, self->plain_index, count);
	EXPECT_EQ(batch.size, batch_send(self->plain_fd, &batch));
	seen = pf_take(&self->pf, 0);
	EXPECT_LT(0, seen);
	EXPECT_EQ(count, seen + event_lost(self->event, "perf", "full"));
	free(batch.buf);
}

/* Batches, while somebody drains: every event arrives once and in order. */
struct drain {
	struct pf *pf;
	long total, seen;
};

static void *drain_ring(void *arg)
{
	struct drain *drain = arg;
	struct pollfd poll_fd = { .fd = drain->pf->fd, .events = POLLIN };
	long seen = 0;

	while (seen >= 0 && seen < drain->total) {
		poll(&poll_fd, 1, 1);
		seen = pf_take(drain->pf, seen);
		__atomic_store_n(&drain->seen, seen, __ATOMIC_RELEASE);
	}

	return NULL;
}

UE_TEST_F(full, resume_while_drained)
{
	struct drain drain = { .pf = &self->pf, .total = 100000 };
	struct batch batch;
	unsigned char *mem;
	pthread_t thread;
	ssize_t ret;

	batch_make(&batch, self->index, drain.total);
	mem = batch.buf;
	ASSERT_EQ(0, pthread_create(&thread, NULL, drain_ring, &drain));
	while (!batch_done(&batch)) {
		ret = batch_send(self->fd, &batch);
		if (ret > 0) {
			batch_advance(&batch, ret);
			continue;
		}
		ASSERT_EQ(-ENOBUFS, ret);
		ASSERT_LE(0, __atomic_load_n(&drain.seen, __ATOMIC_ACQUIRE));
		sched_yield();
	}
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(drain.total, drain.seen);
	EXPECT_EQ(0, pf_drain(&self->pf));
	free(mem);
}

/*
 * Large batches
 */
#define LARGE	100000

FIXTURE(large)
{
	int fd;
	uint32_t word;
	int index;
	char event[64];
	struct ft ft;
	struct batch batch;
	unsigned char *mem;
};

FIXTURE_SETUP(large)
{
	char args[128];

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "large_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u32 seq; u32 loc; u64 more",
		 self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "large"));
	ASSERT_EQ(0, ft_set(&self->ft, "buffer_size_kb", "6000"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	batch_make(&self->batch, self->index, LARGE);
	self->mem = self->batch.buf;
}

FIXTURE_TEARDOWN(large)
{
	free(self->mem);
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

static void check_all_arrived(struct __test_metadata *_metadata,
			      struct _test_data_large *self)
{
	uint32_t seq;

	for (seq = 0; seq < LARGE; seq++) {
		ASSERT_TRUE(got_good(&self->ft, seq))
			TH_LOG("event %u", seq);
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_FALSE(self->ft.missed);
}

UE_TEST_F(large, at_once)
{
	EXPECT_EQ(self->batch.size, batch_send(self->fd, &self->batch));
	check_all_arrived(_metadata, self);
}

static int signals;

static void count_signal(int sig)
{
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

/* A signal that is blocked does not cut a batch. */
UE_TEST_F(large, blocked_signal_pending)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	ASSERT_EQ(0, raise(SIGUSR1));
	EXPECT_EQ(self->batch.size, batch_send(self->fd, &self->batch));
	check_all_arrived(_metadata, self);
}

/* Signals that arrive meanwhile may cut it, but lose and repeat nothing. */
UE_TEST_F(large, signals_meanwhile)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct itimerval timer = {
		.it_interval = { .tv_usec = 1000 },
		.it_value = { .tv_usec = 1000 },
	};
	ssize_t ret;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	while (!batch_done(&self->batch)) {
		ret = batch_send(self->fd, &self->batch);
		if (ret == -EINTR)
			continue;
		ASSERT_LE(4, ret);
		batch_advance(&self->batch, ret);
	}
	memset(&timer, 0, sizeof(timer));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	EXPECT_LT(0, __atomic_load_n(&signals, __ATOMIC_RELAXED));
	check_all_arrived(_metadata, self);
}

/* Who writes batches without end can be killed. */
UE_TEST_F(large, killed)
{
	int status, gate[2];
	uint32_t seq;
	pid_t pid;
	char go;

	ASSERT_EQ(0, ft_set(&self->ft, "options/overwrite", "0"));
	ASSERT_EQ(0, pipe(gate));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(gate[0]);
		for (;;) {
			batch_send(self->fd, &self->batch);
			if (write(gate[1], "g", 1) != 1)
				_exit(1);
		}
	}
	close(gate[1]);
	ASSERT_EQ(1, read(gate[0], &go, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(gate[0]);

	/* The first one was complete by then. */
	for (seq = 0; seq < LARGE; seq++) {
		ASSERT_TRUE(got_good(&self->ft, seq))
			TH_LOG("round %d", (int)seq);
	}
}

TEST_HARNESS_MAIN
