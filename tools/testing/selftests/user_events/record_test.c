// SPDX-License-Identifier: GPL-2.0
/*
 * A record reaches its consumers whole, by their own word, and nothing else
 * with it: what perf takes, what is behind a record, who is asked when.
 */
#include <glob.h>
#include <pthread.h>
#include <sys/socket.h>

#include "consumer.h"
#include "process.h"

#define KIB	1024
#define MIB	(1024 * KIB)

static unsigned char big[4 * MIB];

FIXTURE(record)
{
	int fd;
	uint32_t word;
	int index;
	int id;
	int cpu;
	char event[64];
	struct pf pf;
	struct ft ft;
};

static int record_register(struct _test_data_record *self, const char *name)
{
	char args[128];
	int ret;

	snprintf(self->event, sizeof(self->event), "record_%s", name);
	snprintf(args, sizeof(args), "%s char[8] s", self->event);
	ret = ue_reg_full(self->fd, args, USER_EVENT_REG_REPORT_LOSS, &self->word,
			  sizeof(self->word), 0, &self->index);

	return ret ? ret : event_id(self->event);
}

FIXTURE_SETUP(record)
{
	UE_REQUIRE();

	self->cpu = pin_cpu(-1);
	ASSERT_LE(0, self->cpu);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	self->id = record_register(self, _metadata->name);
	ASSERT_LT(0, self->id);
	fill_pattern(big, sizeof(big), 1);
}

FIXTURE_TEARDOWN(record)
{
	pf_close(&self->pf);
	ft_destroy(&self->ft);
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

static ssize_t emit_big(struct _test_data_record *self, size_t size)
{
	return emit(self->fd, self->index, big, size);
}

/*
 * A filter of perf that would say yes on a second look: interrupts were off for
 * that one, and a write of 64 KiB went over what the ring had.
 */
UE_TEST_F(record, filter_of_flags)
{
	uint64_t head;
	size_t size;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "common_flags & 1"));
	head = pf_head(&self->pf);
	for (size = 8; size < 70000; size += 8 * KIB - 8) {
		EXPECT_EQ(4 + (ssize_t)size, emit_big(self, size));
		EXPECT_EQ(head, pf_head(&self->pf))
			TH_LOG("%d bytes were recorded", (int)size);
	}
	EXPECT_EQ(4 + 65600, emit_big(self, 65600));
	EXPECT_EQ(head, pf_head(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* A sample that only fits alone does not wait for what was lost before it. */
UE_TEST_F(record, alone_after_a_loss)
{
	size_t ring = sysconf(_SC_PAGESIZE), size;
	ssize_t ret = -1;

	/* The largest for which there is room, in a ring that has lost nothing. */
	for (size = ring; size > ring - 256; size -= 4) {
		ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
		ret = emit_big(self, size);
		if (ret > 0)
			break;
		pf_close(&self->pf);
	}
	ASSERT_EQ(4 + (ssize_t)size, ret);
	EXPECT_EQ(-ENOBUFS, emit_big(self, size));
	EXPECT_EQ(1, pf_drain(&self->pf));
	EXPECT_EQ(4 + (ssize_t)size, emit_big(self, size));
	EXPECT_EQ(1, pf_drain(&self->pf));
	EXPECT_EQ(0, self->pf.lost);

	/* It is told with a smaller one. */
	EXPECT_EQ(12, emit_big(self, 8));
	EXPECT_EQ(1, pf_drain(&self->pf));
	EXPECT_EQ(1, self->pf.lost);
}

static int flip_stop;

static void *flip_comm(void *arg)
{
	int fd = *(int *)arg;

	while (!__atomic_load_n(&flip_stop, __ATOMIC_RELAXED)) {
		if (write(fd, "aaa", 3) != 3 || write(fd, "bbb", 3) != 3)
			return "cannot set comm";
	}

	return NULL;
}

/* Records in the ring are what perf wrote, and all of them, or there is none. */
static int check_ring(struct pf *pf, size_t size)
{
	uint64_t tail = pf->meta->data_tail;
	struct perf_event_header header;

	while (tail != pf_head(pf)) {
		pf_peek(pf, tail, &header, sizeof(header));
		if (header.type == PERF_RECORD_SAMPLE && header.size != size)
			return -EBADMSG;
		if (header.type != PERF_RECORD_SAMPLE && header.type != PERF_RECORD_LOST)
			return -EBADMSG;
		tail += header.size;
	}
	pf_set_tail(pf, tail);

	return 0;
}

/* The name of the writer changes while it writes what fits no sample. */
UE_TEST_F(record, filter_of_comm)
{
	int rounds = ue_rounds(20000);
	pthread_t thread;
	void *failed;
	char path[64];
	ssize_t ret;
	int fd, i;

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", getpid());
	fd = open(path, O_WRONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(256)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "COMM == \"aaa\""));
	__atomic_store_n(&flip_stop, 0, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip_comm, &fd));
	for (i = 0; i < rounds; i++) {
		ret = emit_big(self, 65600);
		if (ret != 4 + 65600 && ret != -E2BIG)
			break;
		if (check_ring(&self->pf, 0))
			break;
	}
	EXPECT_EQ(rounds, i);
	__atomic_store_n(&flip_stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	close(fd);
}

/* Leave something on the stack of a later write, and in the buffers. */
static ssize_t emit_dirt(struct _test_data_record *self)
{
	memset(big, 'x', 600);

	return emit_big(self, 600);
}

static ssize_t emit_letters(struct _test_data_record *self, int size)
{
	memset(big, 'A', size);

	return emit_big(self, size);
}

/*
 * A string that does not end in NUL ends with the record, for a filter (where ftrace
 * takes a glob to the NUL: Linux 6.12.117 does not),
 */
UE_TEST_F(record, glob_of_ftrace)
{
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "s ~ \"*A*x*\""));
	EXPECT_EQ(604, emit_dirt(self));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(0, ft_drain(&self->ft));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "s ~ \"*A\""));
	EXPECT_EQ(604, emit_dirt(self));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(1, ft_drain(&self->ft));
}

/* the filter of a trigger, which looked behind it in the ring buffer, */
UE_TEST_F(record, glob_of_trigger)
{
	static const char trigger[] = "hist:keys=common_pid if s ~ \"*A*x*\"";
	char hist[512], remove[64];
	int i;

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	/* Once around the buffer, so that there is something behind. */
	ASSERT_EQ(0, ft_set(&self->ft, "buffer_size_kb", "8"));
	for (i = 0; i < 200; i++)
		ASSERT_EQ(604, emit_dirt(self));
	for (i = 0; i < 200; i++)
		ASSERT_EQ(12, emit_letters(self, 8));
	snprintf(hist, sizeof(hist), "%s",
		 ft_event_path(&self->ft, self->event, "hist"));
	EXPECT_EQ(0, file_number(hist, "Hits:"));
	snprintf(remove, sizeof(remove), "!%s", trigger);
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, remove));
}

/* for perf, */
UE_TEST_F(record, glob_of_perf)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "s ~ \"*A*x*\""));
	EXPECT_EQ(604, emit_dirt(self));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(0, pf_drain(&self->pf));
}

/* in a batch, where the next record is behind it, */
UE_TEST_F(record, glob_in_batch)
{
	struct {
		uint32_t batch;
		struct {
			uint32_t size, index;
			char s[8];
		} record[3];
	} batch = { .batch = USER_EVENT_WRITE_BATCH };
	struct record rec;
	int i;

	for (i = 0; i < 3; i++) {
		batch.record[i].size = sizeof(batch.record[i]);
		batch.record[i].index = self->index;
		memset(batch.record[i].s, 'A' + i, 8);
	}
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "s ~ \"*A[!A]*\" || s ~ \"*B[!B]*\" || s ~ \"*C\""));
	EXPECT_EQ(604, emit_dirt(self));
	EXPECT_EQ(sizeof(batch), write(self->fd, &batch, sizeof(batch)));
	/* The size of the next record is no letter, but behind A and B. */
	ASSERT_EQ(1, ft_next(&self->ft, &rec));
	EXPECT_TRUE(record_is(&rec, "CCCCCCCC", 8));
	EXPECT_EQ(0, ft_next(&self->ft, &rec));
}

/* and for an event probe. */
UE_TEST_F(record, string_of_eprobe)
{
	static char text[65536];
	char line[128], *pos;
	int i, seen = 0;

	snprintf(line, sizeof(line), "e:record_ep user_events.%s s=$s:string",
		 self->event);
	ASSERT_EQ(0, ue_write("dynamic_events", line));
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	EXPECT_EQ(0, ft_set(&self->ft, "events/eprobes/record_ep/enable", "1"));
	for (i = 0; i < 50; i++) {
		EXPECT_EQ(604, emit_dirt(self));
		EXPECT_EQ(12, emit_letters(self, 8));
	}
	EXPECT_LT(0, ft_text(&self->ft, text, sizeof(text)));
	for (pos = text; (pos = strstr(pos, "s=\"AAAAAAAA")); pos++) {
		seen++;
		EXPECT_EQ('"', pos[11])
			TH_LOG("\"%.*s\"", (int)strcspn(pos, "\n"), pos);
	}
	EXPECT_EQ(50, seen);
	EXPECT_EQ(0, ft_set(&self->ft, "events/eprobes/record_ep/enable", "0"));
	EXPECT_EQ(0, ft_destroy(&self->ft));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:record_ep"));
}

/* Nothing of the buffer is in what is added to a record to align it. */
/* A __rel_loc is found from its end. */
UE_TEST_F(record, rel_loc_of_eprobe)
{
	struct {
		uint32_t loc;
		uint32_t other;
		char text[8];
	} payload = { .loc = 5 << 16 | 4, .other = 0x41414141, .text = "here" };
	static const char probe[] = "e:record_rel user_events.record_rel s=$r:string";
	char text[1024];
	uint32_t word;
	int index;

	ASSERT_EQ(0, ue_reg(self->fd, "record_rel __rel_loc char[] r; u32 other", &word, 0,
			    &index));
	ASSERT_EQ(0, ue_write("dynamic_events", probe));
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	EXPECT_EQ(0, ft_set(&self->ft, "events/eprobes/record_rel/enable", "1"));
	EXPECT_EQ(4 + (ssize_t)sizeof(payload),
		  emit(self->fd, index, &payload, sizeof(payload)));
	EXPECT_LT(0, ue_read(ft_path(&self->ft, "trace"), text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "s=\"here\"\n"))
		TH_LOG("%s", text);
	EXPECT_EQ(0, ft_set(&self->ft, "events/eprobes/record_rel/enable", "0"));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:eprobes/record_rel"));
	ue_unreg(self->fd, &word, 0);
}

UE_TEST_F(record, padding)
{
	static const unsigned char zero[8];
	struct record rec;
	int size;

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	for (size = 8; size < 40; size++) {
		EXPECT_EQ(604, emit_dirt(self));
		EXPECT_EQ(4 + size, emit_letters(self, size));
		ASSERT_EQ(1, ft_next(&self->ft, &rec));
		ASSERT_EQ(1, ft_next(&self->ft, &rec));
		EXPECT_EQ(0, memcmp(record_payload(&rec) + size, zero,
				    rec.size - COMMON_SIZE - size));
		ASSERT_EQ(1, pf_next(&self->pf, &rec));
		ASSERT_EQ(1, pf_next(&self->pf, &rec));
		EXPECT_EQ(0, memcmp(record_payload(&rec) + size, zero,
				    rec.size - COMMON_SIZE - size));
	}
}

/*
 * perf
 */

/* A call chain is as deep as it is, not as it may be. */
UE_TEST_F(record, deep_callchain)
{
	static const char sysctl[] = "/proc/sys/kernel/perf_event_max_stack";
	struct perf_event_attr attr = pf_attr(self->id);
	char before[32];
	int i;

	ASSERT_LT(0, ue_read(sysctl, before, sizeof(before)));
	ASSERT_EQ(0, ue_write(sysctl, "8192"));
	attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
	EXPECT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	for (i = 0; self->pf.meta && i < 1000; i++) {
		ASSERT_EQ(12, emit_letters(self, 8));
		ASSERT_EQ(1, pf_got(&self->pf, "AAAAAAAA", 8));
	}
	pf_close(&self->pf);
	EXPECT_EQ(0, ue_write(sysctl, before));
}

static uint64_t pf_lost(const struct pf *pf)
{
	uint64_t value[2];

	return read(pf->fd, value, sizeof(value)) == sizeof(value) ? value[1] : ~0ULL;
}

/* What does not fit is lost in perf's books as well. */
UE_TEST_F(record, lost_for_readers)
{
	struct perf_event_attr attr = pf_attr(self->id);
	int i;

	attr.read_format = PERF_FORMAT_LOST;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(-E2BIG, emit_big(self, i & 1 ? 70000 : 8 * KIB));
	EXPECT_EQ(5, pf_lost(&self->pf));
	EXPECT_EQ(5, event_lost(self->event, "perf", "too_big"));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(1, pf_got(&self->pf, "AAAAAAAA", 8));
	EXPECT_EQ(5, self->pf.lost);
	EXPECT_EQ(5, pf_lost(&self->pf));
}

/* The stack of the program stands in front of what cannot be cut. */
UE_TEST_F(record, registers_behind_a_stack)
{
	struct perf_event_attr attr = pf_attr(self->id);

	attr.sample_type |= PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_INTR;
	attr.sample_stack_user = 65528;
	attr.sample_regs_intr = 0xff;
	attr.read_format = PERF_FORMAT_LOST;
	if (pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(256)))
		SKIP(return, "no registers or stacks in samples");

	EXPECT_EQ(-E2BIG, emit_letters(self, 8));
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_EQ(1, pf_lost(&self->pf));
}

/* A dump as large as the ring is cut to what a sample takes, and the ring decides. */
UE_TEST_F(record, stack_as_large_as_the_ring)
{
	static const unsigned int kib[] = { 4, 8, 32, 64, 128 };
	struct perf_event_attr attr = pf_attr(self->id);
	struct record rec;
	bool fits;
	int i, j;

	attr.sample_type |= PERF_SAMPLE_STACK_USER;
	attr.read_format = PERF_FORMAT_LOST;
	for (i = 0; i < ARRAY_SIZE(kib); i++) {
		attr.sample_stack_user = kib[i] < 64 ? kib[i] * KIB : 65528;
		if (pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(kib[i])))
			SKIP(return, "no stacks in samples");

		fits = self->pf.size > attr.sample_stack_user;
		for (j = 0; j < 10; j++) {
			EXPECT_EQ(fits ? 12 : -E2BIG, emit_letters(self, 8));
			ASSERT_EQ(fits, pf_next(&self->pf, &rec))
				TH_LOG("%u KiB", kib[i]);
			if (fits)
				EXPECT_TRUE(record_is(&rec, "AAAAAAAA", 8));
		}
		EXPECT_EQ(fits ? 0 : 10, pf_lost(&self->pf));
		pf_close(&self->pf);
	}
	EXPECT_EQ(30, event_lost(self->event, "perf", "too_big"));
}

/* How a ring is used. */
enum ring {
	RING,
	RING_PAUSED,
	RING_NONE,
	RING_OVERWRITE,
	RING_SHARED,
	NR_RINGS,
};

static const char * const ring_names[] = {
	"ring", "paused", "no ring", "overwrite", "shared",
};

static int open_ring(struct pf *pf, struct pf *other, struct perf_event_attr *attr,
		     int pages, enum ring how)
{
	int ret;

	attr->write_backward = how == RING_OVERWRITE;
	memset(other, 0, sizeof(*other));
	ret = pf_open_attr(pf, attr, 0, -1, how == RING_NONE ? 0 : pages);
	if (ret)
		return ret;
	if (how == RING_PAUSED && ioctl(pf->fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1))
		return -errno;
	if (how != RING_SHARED)
		return 0;

	/* The first one only counts: what arrives is the second one's. */
	attr->disabled = 0;
	ret = pf_open_attr(other, attr, 0, -1, 0);
	if (!ret && ioctl(other->fd, PERF_EVENT_IOC_SET_OUTPUT, pf->fd))
		ret = -errno;
	return ret;
}

/* The size of the sample at data_head or data_tail, 0 if there is none. */
static size_t newest_sample(struct pf *pf, enum ring how, uint64_t before)
{
	struct perf_event_header header;

	if (pf_head(pf) == before)
		return 0;
	pf_peek(pf, how == RING_OVERWRITE ? pf_head(pf) : before, &header,
		sizeof(header));
	if (header.type == PERF_RECORD_LOST) {
		pf_peek(pf, before + header.size, &header, sizeof(header));
		if (header.type != PERF_RECORD_SAMPLE)
			return 1;
	}

	return header.type == PERF_RECORD_SAMPLE ? header.size : 1;
}

static const uint64_t sample_types[] = {
	PERF_SAMPLE_RAW,
	PERF_SAMPLE_RAW | PERF_SAMPLE_CALLCHAIN,
	PERF_SAMPLE_RAW | PERF_SAMPLE_STACK_USER,
	PERF_SAMPLE_RAW | PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_INTR,
	PERF_SAMPLE_RAW | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_REGS_INTR,
	PERF_SAMPLE_RAW | PERF_SAMPLE_PERIOD | PERF_SAMPLE_IDENTIFIER,
	PERF_SAMPLE_RAW | PERF_SAMPLE_ID | PERF_SAMPLE_CGROUP | PERF_SAMPLE_TID |
		PERF_SAMPLE_TIME,
	PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
};

static const size_t sample_sizes[] = {
	8, 1000, 4000, 4040, 4048, 4056, 4064, 4072, 4080, 8 * KIB, 16 * KIB, 60000,
	65400, 65480, 65488, 65496, 65504, 65512, 65516, 65517, 65520, 65528, 65536,
	65544, 65600, 66000, 131072, MIB - 8, MIB, 3 * MIB,
};

/* One write: what it says is what is in the ring, in perf's count and in ours. */
static void check_write(struct __test_metadata *_metadata,
			struct _test_data_record *self, const struct pf *counts,
			enum ring how, int pages, size_t size)
{
	uint64_t before = how == RING_NONE ? 0 : pf_head(&self->pf);
	bool raw = self->pf.sample_type & PERF_SAMPLE_RAW;
	long long too_big, full;
	uint64_t lost;
	size_t sample;
	ssize_t ret;

	if (how != RING_NONE && how != RING_OVERWRITE)
		pf_set_tail(&self->pf, before);
	lost = pf_lost(counts);
	too_big = event_lost(self->event, "perf", "too_big");
	full = event_lost(self->event, "perf", "full");
	ret = emit_big(self, size);
	sample = how == RING_NONE ? 0 : newest_sample(&self->pf, how, before);
	lost = pf_lost(counts) - lost;
	too_big = event_lost(self->event, "perf", "too_big") - too_big;
	full = event_lost(self->event, "perf", "full") - full;

	/* Off: nobody is asked. On: taken, or lost in all books. */
	EXPECT_EQ(0, full);
	if (how == RING_NONE || how == RING_PAUSED) {
		EXPECT_EQ(4 + (ssize_t)size, ret);
		EXPECT_EQ(0, sample);
		EXPECT_EQ(0, too_big);
	} else if (ret >= 0) {
		EXPECT_EQ(4 + (ssize_t)size, ret);
		EXPECT_LT(raw ? size : 8, sample);
		EXPECT_EQ(0, lost + too_big);
	} else {
		EXPECT_EQ(-E2BIG, ret);
		EXPECT_EQ(0, sample);
		EXPECT_EQ(1, lost);
		EXPECT_EQ(1, too_big);
		EXPECT_TRUE(raw);
		EXPECT_LT(pages * 4096 > 65536 ? 60000 : pages * 4096 - 2300,
			  (int)size);
	}
}

UE_TEST_F(record, every_ring)
{
	static const int pages[] = { 1, 2, 16, 32, 128 };
	int nr = ARRAY_SIZE(sample_types) * ARRAY_SIZE(pages) * NR_RINGS;
	struct perf_event_attr attr;
	int i, page, how, opened = 0;
	struct pf other;
	size_t j;

	for (i = 0; i < nr; i++) {
		page = pages[i / NR_RINGS % ARRAY_SIZE(pages)];
		how = i % NR_RINGS;
		attr = pf_attr(self->id);
		attr.sample_type = sample_types[i / NR_RINGS / ARRAY_SIZE(pages)];
		if (attr.sample_type & PERF_SAMPLE_STACK_USER)
			attr.sample_stack_user = 2048;
		if (attr.sample_type & PERF_SAMPLE_REGS_USER)
			attr.sample_regs_user = 3;
		if (attr.sample_type & PERF_SAMPLE_REGS_INTR)
			attr.sample_regs_intr = 3;
		attr.read_format = PERF_FORMAT_LOST;
		attr.disabled = how == RING_SHARED;
		if (!open_ring(&self->pf, &other, &attr, page, how)) {
			opened++;
			for (j = 0; j < ARRAY_SIZE(sample_sizes) &&
			     !_metadata->exit_code; j++) {
				check_write(_metadata, self,
					    how == RING_SHARED ? &other : &self->pf,
					    how, page, sample_sizes[j]);
			}
			if (_metadata->exit_code)
				TH_LOG("%s of %d pages, type %llx, before %d bytes",
				       ring_names[how], page,
				       (unsigned long long)attr.sample_type,
				       (int)sample_sizes[j]);
		}
		pf_close(&other);
		pf_close(&self->pf);
	}
	/* Registers, stacks and groups are not there on every machine. */
	EXPECT_LE(4 * (int)ARRAY_SIZE(pages) * NR_RINGS, opened);
}

/* Nobody switches interrupts off on account of a record. */
UE_TEST_F(record, flags_for_perf)
{
	static const size_t sizes[] = { 8, 3000, 20000 };
	struct record rec;
	struct pf other;
	int i;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(64)));
	ASSERT_EQ(0, pf_open(&other, self->id, 0, -1, pf_pages(64)));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(4 + (ssize_t)sizes[i], emit_big(self, sizes[i]));
		ASSERT_EQ(1, pf_next(&self->pf, &rec));
		/* TRACE_FLAG_IRQS_OFF */
		EXPECT_EQ(0, rec.data[2] & 1);
		ASSERT_EQ(1, pf_next(&other, &rec));
		EXPECT_EQ(0, rec.data[2] & 1);
	}
	pf_close(&other);
}

/*
 * On, off, full
 */

/* A trigger that switches the instance on does so for the next record. */
UE_TEST_F(record, traceon)
{
	static const char trigger[] = "traceon if s == \"on\"";
	static const char on[8] = "on";

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(12, emit(self->fd, self->index, on, 8));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(1, file_number(ft_path(&self->ft, "tracing_on"), ""));
	EXPECT_EQ(12, emit_letters(self, 8));
	EXPECT_EQ(1, ft_got(&self->ft, "AAAAAAAA", 8));
	EXPECT_TRUE(event_lost_nothing(self->event));
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, "!traceon if s == \"on\""));
}

/* One without a condition acts before the record, as for any event. */
UE_TEST_F(record, traceon_at_once)
{
	uint32_t word = 0;
	char args[128];
	int index;

	/* Once more, without REPORT_LOSS. */
	int fd = ue_open();

	ASSERT_LE(0, fd);
	snprintf(args, sizeof(args), "%s char[8] s", self->event);
	ASSERT_EQ(0, ue_reg(fd, args, &word, 0, &index));
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, "traceon:1"));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(12, emit(fd, index, "12345678", 8));
	EXPECT_EQ(1, ft_got(&self->ft, "12345678", 8));
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, "!traceon:1"));
	EXPECT_TRUE(event_lost_nothing(self->event));
	ue_unreg(fd, &word, 0);
	close(fd);
}

/* Of more than any buffer takes a consumer that is off hears nothing, */
UE_TEST_F(record, huge_and_off)
{
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(4 + 3 * MIB, emit_big(self, 3 * MIB));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "1"));
	EXPECT_TRUE(event_lost_nothing(self->event));
	EXPECT_EQ(-E2BIG, emit_big(self, 3 * MIB));
	EXPECT_EQ(1, event_lost(self->event, "ftrace", "too_big"));
}

/* and a filter sees it as it sees any other. */
UE_TEST_F(record, huge_and_filtered)
{
	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "s == \"wanted\""));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "s == \"wanted\""));
	EXPECT_EQ(4 + 3 * MIB, emit_big(self, 3 * MIB));
	EXPECT_TRUE(event_lost_nothing(self->event));
	memcpy(big, "wanted", sizeof("wanted"));
	EXPECT_EQ(-E2BIG, emit_big(self, 3 * MIB));
	EXPECT_EQ(1, event_lost(self->event, "ftrace", "too_big"));
	EXPECT_EQ(1, event_lost(self->event, "perf", "too_big"));
}

/* A record that is refused and tried again counts once in a histogram. */
UE_TEST_F(record, full_and_triggers)
{
	static const char trigger[] = "hist:keys=common_pid if s != \"never\"";
	int i, taken = 0, refused = 0;
	char hist[512], remove[64];
	ssize_t ret;

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_set(&self->ft, "buffer_size_kb", "8"));
	ASSERT_EQ(0, ft_set(&self->ft, "options/overwrite", "0"));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (i = 0; i < 3000; i++) {
		ret = emit_letters(self, 8);
		taken += ret == 12;
		refused += ret == -ENOBUFS;
	}
	EXPECT_LT(0, taken);
	EXPECT_LT(0, refused);
	EXPECT_EQ(3000, taken + refused);
	snprintf(hist, sizeof(hist), "%s",
		 ft_event_path(&self->ft, self->event, "hist"));
	EXPECT_EQ(taken, file_number(hist, "Hits:"));
	EXPECT_EQ(refused, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(taken, ft_drain(&self->ft));
	snprintf(remove, sizeof(remove), "!%s", trigger);
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, remove));
}

/* The file has no position. */
static const char *clear_path;

static void *clear_without_end(void *arg)
{
	unsigned int *clears = arg;
	int fd;

	while (!__atomic_load_n(&flip_stop, __ATOMIC_RELAXED)) {
		fd = open(clear_path, O_WRONLY | O_TRUNC);
		if (fd < 0)
			return "cannot clear trace";
		close(fd);
		__atomic_add_fetch(clears, 1, __ATOMIC_RELAXED);
	}

	return NULL;
}

/*
 * While a buffer is cleared it is off, and not full. That it is on again when
 * somebody asks why it refused a record can happen once for each time.
 */
UE_TEST_F(record, cleared)
{
	unsigned int clears = 0, refused = 0;
	unsigned int rounds = 10;
	pthread_t thread;
	char path[1024];
	void *failed;
	ssize_t ret;

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	snprintf(path, sizeof(path), UE_TRACEFS "/%s",
		 ft_path(&self->ft, "trace"));
	clear_path = path;
	__atomic_store_n(&flip_stop, 0, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_create(&thread, NULL, clear_without_end, &clears));
	while (__atomic_load_n(&clears, __ATOMIC_RELAXED) < rounds) {
		ret = emit_big(self, 8);
		if (ret != 12 && ret != -ENOBUFS)
			break;
		refused += ret < 0;
	}
	__atomic_store_n(&flip_stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	EXPECT_LE(rounds, clears);
	EXPECT_GE(clears, refused);
}

UE_TEST_F(record, no_position)
{
	struct iovec iov = { big, 12 };

	ASSERT_EQ(0, ft_create(&self->ft, "record"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	memset(big, 'A', 12);
	memcpy(big, &self->index, 4);
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, lseek(self->fd, 4, SEEK_CUR));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(12, pwrite(self->fd, big, 12, 0));
	EXPECT_EQ(-1, pwrite(self->fd, big, 12, 12));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(12, pwritev(self->fd, &iov, 1, 12));
	EXPECT_EQ(12, write(self->fd, big, 12));
	EXPECT_EQ(12, write(self->fd, big, 12));
	EXPECT_EQ(4, ft_drain(&self->ft));
}

/*
 * Records that outlive their event
 */

FIXTURE(retired)
{
	struct ft ft;
	char text[65536];
};

FIXTURE_SETUP(retired)
{
	UE_REQUIRE();

	ASSERT_EQ(0, ft_create(&self->ft, "retired"));
}

FIXTURE_TEARDOWN(retired)
{
	ft_destroy(&self->ft);
}

/* Registers an event, has it recorded once, and lets go of it. Its type. */
static int record_and_go(struct ft *ft, const char *args, unsigned int flags,
			 const void *payload, size_t size)
{
	char name[64];
	uint32_t word = 0;
	int fd = ue_open();
	int index, id, ret;

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(args, " "), args);
	ret = ue_reg_full(fd, args, flags, &word, sizeof(word), 0, &index);
	if (ret)
		return ret;
	id = event_id(name);
	ret = ft_switch(ft, name, 1);
	if (!ret)
		ret = emit(fd, index, payload, size) == 4 + (ssize_t)size ? 0 : -EIO;
	ft_switch(ft, name, 0);
	ue_unreg(fd, &word, 0);
	close(fd);

	return ret ? ret : id;
}

static int trace_text(struct _test_data_retired *self)
{
	return ue_read(ft_path(&self->ft, "trace"), self->text, sizeof(self->text));
}

struct gone_payload {
	uint32_t a;
	char s[8];
	uint32_t loc;
	char text[8];
};

static const struct gone_payload gone = {
	.a = 41, .s = "mine", .loc = 8 << 16 | 24, .text = "tail",
};

#define GONE_ARGS	"retired_gone u32 a; char[8] s; __data_loc char[] loc"
#define GONE_TEXT	"retired_gone: a=0x29 (41) s=mine loc=tail"

/* The program has gone, its records are shown by their name and fields, */
UE_TEST_F(retired, shown)
{
	int id = record_and_go(&self->ft, GONE_ARGS, 0, &gone, sizeof(gone));

	ASSERT_LT(0, id);
	EXPECT_FALSE(ue_event_exists("retired_gone"));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT))
		TH_LOG("%s", self->text);
	EXPECT_EQ(NULL, strstr(self->text, "Unknown type"));

	/* in each of the ways there are, */
	ASSERT_EQ(0, ft_set(&self->ft, "options/fields", "1"));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT));
	ASSERT_EQ(0, ft_set(&self->ft, "options/fields", "0"));
	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT));
}

/* and are nobody else's. */
UE_TEST_F(retired, never_given_out_again)
{
	static const char * const lines[] = {
		"s:retired_syn u64 a; char s[]",
		"p:retired_kp do_sys_openat2",
		"e:retired_ep user_events.retired_next a=$a:u32",
		"u:retired_dyn u32 a",
	};
	static const char * const events[] = {
		"events/synthetic/retired_syn/id", "events/kprobes/retired_kp/id",
		"events/eprobes/retired_ep/id", "events/user_events/retired_dyn/id",
		"events/user_events/retired_next/id",
	};
	static const char * const gone_lines[] = {
		"-:eprobes/retired_ep", "-:user_events/retired_dyn",
		"-:synthetic/retired_syn", "-:kprobes/retired_kp",
	};
	uint32_t word = 0;
	int i, fd, other;
	int id = record_and_go(&self->ft, GONE_ARGS, 0, &gone, sizeof(gone));

	ASSERT_LT(0, id);
	fd = ue_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ue_reg(fd, "retired_next u32 a", &word, 0, NULL));
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		EXPECT_EQ(0, ue_write("dynamic_events", lines[i]))
			TH_LOG("%s", lines[i]);
	}
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		other = file_number(events[i], "");
		EXPECT_LT(0, other);
		EXPECT_NE(id, other)
			TH_LOG("%s", events[i]);
	}
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT))
		TH_LOG("%s", self->text);

	/* Nor do records of events that come and go in numbers become another's. */
	for (i = 0; i < 50; i++) {
		other = record_and_go(&self->ft, "retired_many u64 b", 0, &gone, 8);
		ASSERT_LT(0, other);
		ASSERT_NE(id, other);
	}
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT));
	EXPECT_EQ(NULL, strstr(self->text, "Unknown type"));

	for (i = 0; i < ARRAY_SIZE(gone_lines); i++)
		EXPECT_EQ(0, ue_write("dynamic_events", gone_lines[i]));
	ue_unreg(fd, &word, 0);
	close(fd);
}

/* Registers, hears from @sock that the event is on, and writes, all as a user. */
static int write_as_user(int fd, int sock, const char *args, const void *payload, size_t size)
{
	uint32_t word = 0;
	int index;

	if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
		return -errno;
	if (ue_reg(fd, args, &word, 0, &index) || tell(sock) || hear(sock))
		return -EIO;

	return emit(fd, index, payload, size) == 4 + (ssize_t)size ? 0 : -EIO;
}

/* Nor does root, who makes an event, read what a user wrote as its strings. */
UE_TEST_F(retired, not_by_fields_of_the_next)
{
	unsigned char crafted[64];
	int fd = ue_open();
	int sock[2];
	int id, status;
	pid_t pid;

	/* Any location among these bytes is far outside the record. */
	memset(crafted, 0xff, sizeof(crafted));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(write_as_user(fd, sock[1], "retired_crafted u64 a; u64 b", crafted,
				    sizeof(crafted)) ? 1 : 0);
	close(sock[1]);
	ASSERT_EQ(0, hear(sock[0]));
	id = event_id("retired_crafted");
	ASSERT_LT(0, id);
	ASSERT_EQ(0, ft_switch(&self->ft, "retired_crafted", 1));
	ASSERT_EQ(0, tell(sock[0]));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(sock[0]);
	ASSERT_EQ(0, ft_switch(&self->ft, "retired_crafted", 0));
	close(fd);
	EXPECT_FALSE(ue_event_exists("retired_crafted"));

	ASSERT_EQ(0, ue_write("dynamic_events", "s:retired_syn u64 a; char s[]"));
	EXPECT_NE(id, file_number("events/synthetic/retired_syn/id", ""));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, "retired_crafted: a=0xffffffffffffffff"))
		TH_LOG("%s", self->text);
	EXPECT_EQ(NULL, strstr(self->text, "retired_syn"));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:synthetic/retired_syn"));
}

/* An event that goes clears nobody's buffer, nor does the next that fails to. */
UE_TEST_F(retired, clears_nothing)
{
	uint32_t word = 0;
	int fd;

	ASSERT_LT(0, record_and_go(&self->ft, GONE_ARGS, USER_EVENT_REG_PERSIST, &gone,
				   sizeof(gone)));
	ASSERT_EQ(0, ue_write("dynamic_events", "-:user_events/retired_gone"));
	EXPECT_FALSE(ue_event_exists("retired_gone"));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT))
		TH_LOG("%s", self->text);

	ASSERT_LT(0, record_and_go(&self->ft, GONE_ARGS, 0, &gone, sizeof(gone)));
	fd = ue_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ue_reg(fd, "retired_next u32 a", &word, 0, NULL));
	EXPECT_NE(0, ue_write("dynamic_events", "-:retired_next"));
	EXPECT_NE(0, ue_write("dynamic_events", "-:retired_nothing"));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:retired_dyn u32 a"));
	ASSERT_EQ(0, ue_write("dynamic_events", "-:user_events/retired_dyn"));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, GONE_TEXT))
		TH_LOG("%s", self->text);
	ue_unreg(fd, &word, 0);
	close(fd);
}

/* A record may be injected into a buffer where its event was never on. */
UE_TEST_F(retired, injected)
{
	int fd, id;

	ASSERT_EQ(0, ue_write("dynamic_events", "u:retired_inj u32 a"));
	id = event_id("retired_inj");
	ASSERT_LT(0, id);
	fd = ue_open_file(ft_event_path(&self->ft, "retired_inj", "inject"), O_WRONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(5, write(fd, "a = 7", 5));
	close(fd);
	ASSERT_EQ(0, ue_write("dynamic_events", "-:user_events/retired_inj"));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:retired_dyn u32 b"));
	EXPECT_NE(id, event_id("retired_dyn"));
	ASSERT_LT(0, trace_text(self));
	EXPECT_NE(NULL, strstr(self->text, "retired_inj: a=0x7 (7)"))
		TH_LOG("%s", self->text);
	ASSERT_EQ(0, ue_write("dynamic_events", "-:user_events/retired_dyn"));
}

#define BATCH		1000
#define MAX_BATCHES	20

/* Registers events until there are enough, or the kernel has had enough. */
static int register_batch(int fd, uint32_t *words, int batch, int *error)
{
	char args[64];
	int i;

	for (i = 0; i < BATCH && !*error; i++) {
		snprintf(args, sizeof(args), "retired_%d_%d u32 a", batch, i);
		*error = ue_reg(fd, args, &words[i], 0, NULL);
	}

	return *error ? i - 1 : i;
}

/* What was recorded before, and holds numbers. */
static int clear_buffer(const char *trace)
{
	int fd = ue_open_file(trace, O_WRONLY | O_TRUNC);

	return fd < 0 ? fd : close(fd);
}

static int clear_all(void)
{
	glob_t instances;
	size_t i;
	int ret;

	if (glob(UE_TRACEFS "/instances/*/trace", 0, NULL, &instances))
		return -ENOENT;
	ret = clear_buffer("trace");
	for (i = 0; i < instances.gl_pathc && !ret; i++)
		ret = clear_buffer(instances.gl_pathv[i]);
	globfree(&instances);

	return ret;
}

/* Has each of them recorded, and lets go of them. */
static int record_batch(struct ft *ft, int fd, uint32_t *words, int count)
{
	int i, ret;

	if (!count)
		return 0;
	ret = ft_set(ft, "events/user_events/enable", "1");
	for (i = 0; i < count && !ret; i++)
		ret = emit(fd, i, &gone, 4) == 8 ? 0 : -EIO;
	if (!ret)
		ret = ft_set(ft, "events/user_events/enable", "0");
	for (i = 0; i < count && !ret; i++)
		ret = ue_unreg(fd, &words[i], 0);

	return ret;
}

/*
 * A program whose events are recorded can use up the numbers, but those for who
 * can do something about it. Clearing the buffer where they were recorded is
 * enough: what other instances hold does not matter.
 */
UE_TEST_F(retired, numbers_run_out)
{
	static uint32_t words[BATCH];
	struct ft *ft = &self->ft;
	int fd, batch, count, error = 0;
	struct ft other;

	ASSERT_EQ(0, clear_all());
	ASSERT_EQ(0, ft_create(&other, "retired_other"));
	ASSERT_EQ(0, ft_set(&other, "trace_marker", "older than all of them"));
	ASSERT_EQ(0, ft_set(ft, "buffer_size_kb", "2048"));

	for (batch = 0; batch < MAX_BATCHES && !error; batch++) {
		fd = ue_open();
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, seteuid(1000));
		count = register_batch(fd, words, batch, &error);
		ASSERT_EQ(0, seteuid(0));
		ASSERT_EQ(0, record_batch(ft, fd, words, count));
		close(fd);
	}
	EXPECT_EQ(-EMFILE, error);

	fd = ue_open();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, ue_reg(fd, "retired_root u32 a", &words[0], 0, NULL));
	ASSERT_EQ(0, seteuid(1000));
	EXPECT_EQ(-EMFILE, ue_reg(fd, "retired_next u32 a", &words[1], 0, NULL));
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, clear_buffer(ft_path(ft, "trace")));
	ASSERT_EQ(0, seteuid(1000));
	EXPECT_EQ(0, ue_reg(fd, "retired_next u32 a", &words[1], 0, NULL));
	ASSERT_EQ(0, seteuid(0));

	ue_unreg(fd, &words[0], 0);
	ue_unreg(fd, &words[1], 0);
	close(fd);
	ft_destroy(&other);
}

TEST_HARNESS_MAIN
