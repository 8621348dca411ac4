// SPDX-License-Identifier: GPL-2.0
/*
 * Sizes around every limit: a write succeeds if every consumer got the event
 * byte for byte, and answers E2BIG if one of them could not take it, which
 * the others do nevertheless.
 */
#include "consumer.h"

/* What perf has to take, and what does not fit the u16 of a sample's size. */
#define PERF_TAKES	60000
#define PERF_SAMPLE_MAX	65528

/* A ring may need room for the record that tells of earlier losses. */
#define LOST_SIZE	24

/* Distance around each limit that is tried, in both directions. */
#define AROUND		12

enum consumer {
	FTRACE		= 1 << 0,
	FTRACE_64K	= 1 << 1,	/* sub-buffers of 64 KiB */
	FTRACE_FILTER	= 1 << 2,	/* a filter that lets all pass */
	FTRACE_HIST	= 1 << 3,	/* a trigger that sees the record */
	PERF		= 1 << 4,
	PERF_FAT	= 1 << 5,	/* everything in front of the record */
	PERF_SMALL	= 1 << 6,	/* a ring of one page */
	PERF_BACKWARD	= 1 << 7,	/* an overwritten ring of one page */
	PERF_STACK	= 1 << 8,	/* the user's stack behind the record */
};

#define ANY_FTRACE	(FTRACE | FTRACE_64K | FTRACE_FILTER | FTRACE_HIST)
#define ANY_PERF	(PERF | PERF_FAT | PERF_SMALL | PERF_BACKWARD | \
			 PERF_STACK)

FIXTURE(size)
{
	int fd;
	uint32_t word;
	int index;
	char event[64];
	struct ft ft;
	struct pf pf[5];
	unsigned long long too_big_ft, too_big_pf;
};

FIXTURE_VARIANT(size)
{
	unsigned int consumers;
};

FIXTURE_VARIANT_ADD(size, ftrace) {
	.consumers = FTRACE,
};

FIXTURE_VARIANT_ADD(size, ftrace_64k) {
	.consumers = FTRACE_64K,
};

FIXTURE_VARIANT_ADD(size, ftrace_filter) {
	.consumers = FTRACE_FILTER,
};

FIXTURE_VARIANT_ADD(size, ftrace_64k_filter) {
	.consumers = FTRACE_64K | FTRACE_FILTER,
};

FIXTURE_VARIANT_ADD(size, ftrace_hist) {
	.consumers = FTRACE_HIST,
};

FIXTURE_VARIANT_ADD(size, ftrace_64k_hist) {
	.consumers = FTRACE_64K | FTRACE_HIST,
};

FIXTURE_VARIANT_ADD(size, perf) {
	.consumers = PERF,
};

FIXTURE_VARIANT_ADD(size, perf_fat) {
	.consumers = PERF_FAT,
};

FIXTURE_VARIANT_ADD(size, perf_small) {
	.consumers = PERF_SMALL,
};

FIXTURE_VARIANT_ADD(size, perf_backward) {
	.consumers = PERF_BACKWARD,
};

FIXTURE_VARIANT_ADD(size, perf_stack) {
	.consumers = PERF_STACK,
};

FIXTURE_VARIANT_ADD(size, perf_fat_and_small) {
	.consumers = PERF | PERF_FAT | PERF_SMALL,
};

FIXTURE_VARIANT_ADD(size, both) {
	.consumers = FTRACE | PERF,
};

FIXTURE_VARIANT_ADD(size, both_64k) {
	.consumers = FTRACE_64K | PERF,
};

FIXTURE_VARIANT_ADD(size, both_64k_small) {
	.consumers = FTRACE_64K | PERF | PERF_SMALL,
};

static int open_perf(struct _test_data_size *self, int which)
{
	struct perf_event_attr attr = pf_attr(event_id(self->event));
	unsigned int pages = pf_pages(512);

	if (which == PERF_FAT) {
		attr.sample_type |= PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP |
			PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR |
			PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID |
			PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD |
			PERF_SAMPLE_CALLCHAIN;
		attr.sample_id_all = 1;
	}
	if (which == PERF_STACK) {
		attr.sample_type |= PERF_SAMPLE_STACK_USER;
		attr.sample_stack_user = 32768;
	}
	if (which & (PERF_SMALL | PERF_BACKWARD))
		pages = 1;
	attr.write_backward = which == PERF_BACKWARD;

	return pf_open_attr(&self->pf[__builtin_ctz(which / PERF)], &attr, 0,
			    -1, pages);
}

FIXTURE_SETUP(size)
{
	char args[128];
	int which;

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "size_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u32 a", self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &self->index));

	if (variant->consumers & ANY_FTRACE) {
		ASSERT_EQ(0, ft_create(&self->ft, "size"));
		if (variant->consumers & FTRACE_64K) {
			ft_close_raw(&self->ft);
			ASSERT_EQ(0, ft_set(&self->ft, "buffer_subbuf_size_kb",
					    "64"));
			ASSERT_EQ(0, ft_open_raw(&self->ft));
		}
		ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	}
	if (variant->consumers & FTRACE_FILTER)
		ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
					  "a != 0xdeadbeef"));
	if (variant->consumers & FTRACE_HIST)
		ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
					"hist:keys=common_pid if a != 1"));

	for (which = PERF; which <= PERF_STACK; which <<= 1) {
		if (variant->consumers & which)
			ASSERT_EQ(0, open_perf(self, which));
	}
}

FIXTURE_TEARDOWN(size)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(self->pf); i++)
		pf_close(&self->pf[i]);
	if (variant->consumers & FTRACE_HIST)
		ft_trigger(&self->ft, self->event,
			   "!hist:keys=common_pid if a != 1");
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

/* Bytes of a sample that carries nothing but a record of @size. */
static size_t sample_size(size_t size)
{
	size_t raw = sizeof(uint32_t) + COMMON_SIZE + size;

	return sizeof(struct perf_event_header) + (raw + 7) / 8 * 8;
}

/* The newest sample of an overwritten ring, without taking it. */
static int backward_got(struct pf *pf, const void *payload, size_t size)
{
	uint64_t head = pf_head(pf);
	struct perf_event_header header;
	struct record rec;
	int ret;

	if (!head)
		return 0;

	/* What was lost before is told in front of it. */
	pf_peek(pf, head, &header, sizeof(header));
	if (header.type == PERF_RECORD_LOST) {
		head += header.size;
		pf_peek(pf, head, &header, sizeof(header));
	}
	if (header.type != PERF_RECORD_SAMPLE || header.size > pf->size)
		return -EBADMSG;

	pf_peek(pf, head, pf->copy, header.size);
	ret = pf_parse_sample(pf, header.size, &rec);

	return ret < 0 ? ret : record_is(&rec, payload, size);
}

/*
 * A sample that was lost is told in front of the next one, which takes space
 * in the ring: get it out of the way with a small event.
 */
static int flush_lost(struct _test_data_size *self)
{
	uint64_t small = 0;
	unsigned int i;

	if (emit(self->fd, self->index, &small, sizeof(small)) !=
	    4 + sizeof(small))
		return -EIO;

	for (i = 0; i < ARRAY_SIZE(self->pf); i++) {
		if (self->pf[i].meta && self->pf[i].data &&
		    i != __builtin_ctz(PERF_BACKWARD / PERF))
			pf_drain(&self->pf[i]);
	}
	if (*self->ft.dir)
		ft_drain(&self->ft);

	return 0;
}

/* Writes @size bytes and holds the answer against what arrived. */
static void try_size(struct __test_metadata *_metadata,
		     struct _test_data_size *self,
		     const struct _fixture_variant_size *variant, size_t size)
{
	static unsigned char payload[MAX_PAYLOAD];
	bool all = true;
	int got, which;
	ssize_t ret;

	fill_pattern(payload, size, size);
	ret = emit(self->fd, self->index, payload, size);

	if (variant->consumers & ANY_FTRACE) {
		got = ft_got(&self->ft, payload, size);
		EXPECT_EQ(size <= ft_max_payload(&self->ft), got)
			TH_LOG("ftrace, %zu bytes", size);
		all = all && got == 1;
		self->too_big_ft += got != 1;
	}

	for (which = PERF; which <= PERF_STACK; which <<= 1) {
		struct pf *pf = &self->pf[__builtin_ctz(which / PERF)];
		size_t sample = sample_size(size);
		bool takes, refuses;

		if (!(variant->consumers & which))
			continue;

		takes = sample <= PERF_SAMPLE_MAX &&
			sample + LOST_SIZE < pf->size;
		refuses = sample > PERF_SAMPLE_MAX || sample >= pf->size;
		/* Nothing else need be in a ring that overwrites itself. */
		if (which == PERF_BACKWARD)
			refuses = sample > PERF_SAMPLE_MAX || sample > pf->size;

		/* How much more is in a sample is perf's business. */
		if (which & (PERF_FAT | PERF_STACK))
			takes = size <= PERF_TAKES;

		if (which == PERF_BACKWARD)
			got = backward_got(pf, payload, size);
		else
			got = pf_got(pf, payload, size);
		EXPECT_LE(0, got)
			TH_LOG("perf %#x, %zu bytes", which, size);
		if (takes)
			EXPECT_EQ(1, got)
				TH_LOG("perf %#x, %zu bytes", which, size);
		if (refuses)
			EXPECT_EQ(0, got)
				TH_LOG("perf %#x, %zu bytes", which, size);
		all = all && got == 1;
		self->too_big_pf += got != 1;
	}

	EXPECT_EQ(all ? 4 + (ssize_t)size : -E2BIG, ret)
		TH_LOG("%zu bytes", size);
	if (!all)
		EXPECT_EQ(0, flush_lost(self));
}

/* Bit 9 of the kernel's taint: it warned. */
static bool kernel_warned(void)
{
	return file_number("/proc/sys/kernel/tainted", "") & (1 << 9);
}

UE_TEST_F(size, around_every_limit)
{
	size_t limits[] = {
		4 + AROUND, 1024, 4096, 8192, 16384, 32768, PERF_TAKES,
		PERF_SAMPLE_MAX, 65536, 128 * 1024,
		4096 - COMMON_SIZE, 8192 - COMMON_SIZE,
		*self->ft.dir ? ft_max_payload(&self->ft) : 4064,
	};
	bool warned = kernel_warned();
	unsigned int i;
	size_t size;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		for (size = limits[i] - AROUND; size <= limits[i] + AROUND;
		     size++)
			try_size(_metadata, self, variant, size);
	}
	EXPECT_EQ(warned, kernel_warned());

	/* What was refused for its size is counted as such, and only so. */
	EXPECT_EQ(self->too_big_ft,
		  event_lost(self->event, "ftrace", "too_big"));
	EXPECT_EQ(0, event_lost(self->event, "ftrace", "full"));
	if (__builtin_popcount(variant->consumers & ANY_PERF) == 1)
		EXPECT_EQ(self->too_big_pf,
			  event_lost(self->event, "perf", "too_big"));
	EXPECT_EQ(0, event_lost(self->event, "perf", "full"));
}

/* All sizes that fit a page or two, one by one. */
UE_TEST_F(size, every_size)
{
	size_t size;

	/* The first one that goes wrong will do. */
	for (size = 4; size < 4400 && !_metadata->exit_code; size++)
		try_size(_metadata, self, variant, size);
}

/* Sizes that no consumer takes and no allocator likes. */
UE_TEST_F(size, huge)
{
	static const size_t sizes[] = {
		256 << 10, 1 << 20, 4 << 20, (4 << 20) + 1, 64 << 20, 1 << 30,
	};
	bool warned = kernel_warned();
	size_t room = (1 << 30) + 4096;
	unsigned char *payload;
	unsigned int i;

	payload = mmap(NULL, room, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_TRUE(payload != MAP_FAILED);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-E2BIG, emit(self->fd, self->index, payload,
				       sizes[i]))
			TH_LOG("%zu bytes", sizes[i]);
	}

	if (*self->ft.dir)
		EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(warned, kernel_warned());
	munmap(payload, room);
}

/* Whoever writes. */
UE_TEST_F(size, unprivileged)
{
	static unsigned char payload[128 * 1024];
	bool warned = kernel_warned();
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setresgid(65534, 65534, 65534) ||
		    setresuid(65534, 65534, 65534))
			_exit(1);

		/* Events of tasks do not watch the child. */
		if (variant->consumers & ANY_FTRACE)
			_exit(emit(self->fd, self->index, payload,
				   sizeof(payload)) == -E2BIG ? 0 : 2);
		_exit(emit(self->fd, self->index, payload, 8) == 12 ? 0 : 3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(warned, kernel_warned());
}

#define PROBE	"kprobes/ue_refused"

/* A sub-buffer that is made larger takes more from then on. */
FIXTURE(resize)
{
	int fd;
	uint32_t word;
	int index;
	struct ft ft;
};

FIXTURE_SETUP(resize)
{
	UE_REQUIRE();

	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, "resize_event u32 a", &self->word, 0,
			    &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "resize"));
	ASSERT_EQ(0, ft_switch(&self->ft, "resize_event", 1));
}

FIXTURE_TEARDOWN(resize)
{
	EXPECT_EQ(0, ft_destroy(&self->ft));
	ue_write("dynamic_events", "-:" PROBE);
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

UE_TEST_F(resize, while_enabled)
{
	static const char * const kib[] = { "4", "8", "64", "16", "4" };
	static unsigned char payload[65536];
	unsigned int i;
	size_t most;

	fill_pattern(payload, sizeof(payload), 1);
	for (i = 0; i < ARRAY_SIZE(kib); i++) {
		ft_close_raw(&self->ft);
		ASSERT_EQ(0, ft_set(&self->ft, "buffer_subbuf_size_kb",
				    kib[i]));
		ASSERT_EQ(0, ft_open_raw(&self->ft));
		most = ft_max_payload(&self->ft);
		ASSERT_LT((atoi(kib[i]) - 1) * 1024, most);

		EXPECT_EQ(4 + most,
			  emit(self->fd, self->index, payload, most));
		EXPECT_EQ(1, ft_got(&self->ft, payload, most));
		EXPECT_EQ(-E2BIG,
			  emit(self->fd, self->index, payload, most + 1));
		EXPECT_EQ(0, ft_drain(&self->ft));
	}
}

/*
 * The ring counts a record that does not fit, and only then takes it back. An
 * event in between, here of a kprobe, must not make it lose count.
 */
UE_TEST_F(resize, event_while_a_record_is_refused)
{
	unsigned char *payload;
	int kept = 0;
	size_t most;

	if (ue_write("dynamic_events", "p:" PROBE
		     " rb_move_tail a=$stack0 b=$stack1 c=$stack2"))
		SKIP(return, "no kprobe there: CONFIG_KPROBE_EVENTS(_ON_NOTRACE)");

	ft_close_raw(&self->ft);
	ASSERT_EQ(0, ft_set(&self->ft, "buffer_subbuf_size_kb", "512"));
	ASSERT_EQ(0, ft_set(&self->ft, "buffer_size_kb", "1600"));
	ASSERT_EQ(0, ft_set(&self->ft, "options/overwrite", "0"));
	ASSERT_EQ(0, ft_set(&self->ft, "events/" PROBE "/enable", "1"));
	ASSERT_EQ(0, ft_open_raw(&self->ft));
	most = ft_max_payload(&self->ft);
	ASSERT_LT(511 * 1024, most);
	payload = malloc(most);
	ASSERT_TRUE(!!payload);
	fill_pattern(payload, most, 1);

	/* Without a report a full buffer is a success. */
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(4 + most,
			  emit(self->fd, self->index, payload, most));
	}
	ASSERT_EQ(0, ft_set(&self->ft, "events/" PROBE "/enable", "0"));

	/* Of the probe's events some may have found room as well. */
	for (;;) {
		struct record rec;
		int got = ft_next(&self->ft, &rec);

		ASSERT_LE(0, got);
		if (!got)
			break;
		kept += record_is(&rec, payload, most);
	}
	EXPECT_LT(0, kept);
	EXPECT_EQ(20 - kept, event_lost("resize_event", "ftrace", "full"));
	free(payload);
}

TEST_HARNESS_MAIN
