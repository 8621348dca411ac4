// SPDX-License-Identifier: GPL-2.0
/*
 * Full buffers: who is told, what is counted, and that an application that
 * tries again loses nothing.
 */
#include <pthread.h>

#include "consumer.h"

/* Sends of a test that waits for a buffer to run full: more than any holds. */
#define MANY	20000

FIXTURE(loss)
{
	int fd;			/* registered with the flag */
	int plain_fd;		/* and without */
	uint32_t word;
	int index, plain_index;
	int id;
	char event[64];
	struct ft ft;
	struct pf pf;
	uint32_t seq;
};

FIXTURE_SETUP(loss)
{
	char args[128];

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "loss_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u32 seq", self->event);
	self->fd = ue_open();
	self->plain_fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->plain_fd);
	ASSERT_EQ(0, ue_reg_full(self->fd, args, USER_EVENT_REG_REPORT_LOSS,
				 &self->word, 4, 0, &self->index));
	ASSERT_EQ(0, ue_reg(self->plain_fd, args, &self->word, 1,
			    &self->plain_index));
	self->id = event_id(self->event);
	ASSERT_LT(0, self->id);
	ASSERT_LE(0, pin_cpu(-1));
}

FIXTURE_TEARDOWN(loss)
{
	pf_close(&self->pf);
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
	if (self->plain_fd > 0) {
		ue_unreg(self->plain_fd, &self->word, 1);
		close(self->plain_fd);
	}
}

static ssize_t send_seq(struct _test_data_loss *self, uint32_t seq)
{
	return emit(self->fd, self->index, &seq, sizeof(seq));
}

static ssize_t send_plain(struct _test_data_loss *self, uint32_t seq)
{
	return emit(self->plain_fd, self->plain_index, &seq, sizeof(seq));
}

/* Sends until a buffer is full: how many went in, or a negative errno. */
static int fill(struct _test_data_loss *self)
{
	uint32_t seq;
	ssize_t ret;

	for (seq = 0; seq < MANY; seq++) {
		ret = send_seq(self, seq);
		if (ret == -ENOBUFS)
			return seq;
		if (ret != 8)
			return ret < 0 ? ret : -EIO;
	}

	return -EOVERFLOW;
}

/* Reads what a ring holds: 0, 1, 2... up to, but without, the result. */
static int pf_read_all(struct pf *pf)
{
	struct record rec;
	uint32_t seq = 0;
	int ret;

	while ((ret = pf_next(pf, &rec)) > 0) {
		if (!record_is(&rec, &seq, sizeof(seq)))
			return -EBADMSG;
		seq++;
	}

	return ret < 0 ? ret : (int)seq;
}

static int ft_read_all(struct ft *ft)
{
	struct record rec;
	uint32_t seq = 0;
	int ret;

	while ((ret = ft_next(ft, &rec)) > 0) {
		if (!record_is(&rec, &seq, sizeof(seq)))
			return -EBADMSG;
		seq++;
	}

	return ret < 0 ? ret : (int)seq;
}

/* An instance with a buffer that is small and stops when it is full. */
static int open_small_ft(struct _test_data_loss *self)
{
	int ret = ft_create(&self->ft, "loss");

	if (!ret)
		ret = ft_set(&self->ft, "options/overwrite", "0");
	if (!ret)
		ret = ft_set(&self->ft, "buffer_size_kb", "8");
	if (!ret)
		ret = ft_switch(&self->ft, self->event, 1);

	return ret;
}

/* What every ring that is full does, whomever it watches. */
static void check_full_ring(struct __test_metadata *_metadata,
			    struct _test_data_loss *self)
{
	int count, i;

	count = fill(self);
	ASSERT_LT(0, count);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-ENOBUFS, send_seq(self, 0))
			TH_LOG("round %d", (int)i);
	}
	EXPECT_EQ(11, event_lost(self->event, "perf", "full"));

	/* What went in is there, once and in order. */
	EXPECT_EQ(count, pf_read_all(&self->pf));

	/* With room again it goes on. */
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_EQ(1, pf_read_all(&self->pf));
	EXPECT_EQ(11, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(11, self->pf.lost);
}

UE_TEST_F(loss, perf_task)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	check_full_ring(_metadata, self);
}

UE_TEST_F(loss, perf_cpu)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, -1, sched_getcpu(), 1));
	check_full_ring(_metadata, self);
}

UE_TEST_F(loss, perf_inherited)
{
	struct perf_event_attr attr = pf_attr(self->id);

	attr.inherit = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, sched_getcpu(), 1));
	check_full_ring(_metadata, self);
}

UE_TEST_F(loss, perf_64k)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(64)));
	check_full_ring(_metadata, self);
}

/* Without the flag a full ring is counted, and still a success. */
UE_TEST_F(loss, perf_without_flag)
{
	int i, count;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(8, send_plain(self, i))
			TH_LOG("round %d", (int)i);
	}

	count = pf_read_all(&self->pf);
	EXPECT_LT(0, count);
	EXPECT_EQ(1000, count + event_lost(self->event, "perf", "full"));
}

/* Who has the flag is told, who has not is not, of the same full ring. */
UE_TEST_F(loss, flag_is_of_the_registration)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_LT(0, fill(self));
	EXPECT_EQ(8, send_plain(self, 0));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_EQ(8, send_plain(self, 0));
	EXPECT_EQ(4, event_lost(self->event, "perf", "full"));
}

/* The flag goes together with others. */
UE_TEST_F(loss, flag_with_multi_format)
{
	uint32_t word = 0;
	char args[128];
	struct pf pf;
	int i, index;
	ssize_t ret;
	int id;

	snprintf(args, sizeof(args), "%s u32 seq", self->event);
	ASSERT_EQ(0, ue_reg_full(self->fd, args, USER_EVENT_REG_REPORT_LOSS |
				 USER_EVENT_REG_MULTI_FORMAT, &word, 4, 0,
				 &index));

	/* Its name is NAME.ID, for an ID that nobody tells. */
	for (id = -1, i = 0; i < 65536 && id < 0; i++) {
		snprintf(args, sizeof(args), "events/" USER_EVENTS_MULTI_SYSTEM
			 "/%s.%x/id", self->event, i);
		id = file_number(args, "");
	}
	ASSERT_LT(0, id);

	ASSERT_EQ(0, pf_open(&pf, id, 0, -1, 1));
	for (i = 0; i < MANY; i++) {
		ret = emit(self->fd, index, &i, sizeof(i));
		if (ret != 8)
			break;
	}
	EXPECT_EQ(-ENOBUFS, ret);
	pf_close(&pf);
	EXPECT_EQ(0, ue_unreg(self->fd, &word, 0));
}

/* Of several rings one is full: the others get the event. */
UE_TEST_F(loss, perf_several)
{
	struct pf task, cpu;
	int first, i;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, pf_open(&task, self->id, 0, -1, pf_pages(64)));
	ASSERT_EQ(0, pf_open(&cpu, self->id, -1, sched_getcpu(),
			     pf_pages(64)));

	first = fill(self);
	ASSERT_LT(0, first);
	for (i = first + 1; i < 2 * first; i++) {
		ASSERT_EQ(-ENOBUFS, send_seq(self, i))
			TH_LOG("round %d", (int)i);
	}

	EXPECT_EQ(first, pf_read_all(&self->pf));
	EXPECT_EQ(2 * first, pf_read_all(&task));
	EXPECT_EQ(2 * first, pf_read_all(&cpu));
	EXPECT_EQ(first, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(0, task.lost);
	EXPECT_EQ(0, cpu.lost);
	pf_close(&task);
	pf_close(&cpu);
}

/* The order of attaching does not matter: here the full ring came last. */
UE_TEST_F(loss, perf_several_last_is_full)
{
	struct pf big;
	int first;

	ASSERT_EQ(0, pf_open(&big, self->id, 0, -1, pf_pages(64)));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	first = fill(self);
	ASSERT_LT(0, first);
	EXPECT_EQ(first, pf_read_all(&self->pf));
	EXPECT_EQ(first + 1, pf_read_all(&big));
	pf_close(&big);
}

/* Two full rings make one write that failed. */
UE_TEST_F(loss, perf_all_full)
{
	struct pf cpu;
	int count;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, pf_open(&cpu, self->id, -1, sched_getcpu(), 1));
	count = fill(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_LE(2, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(count, pf_read_all(&self->pf));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_EQ(1, pf_drain(&self->pf));
	EXPECT_EQ(count, pf_read_all(&cpu));
	EXPECT_EQ(8, send_seq(self, 0));
	pf_close(&cpu);
}

/* The full ring of a task that does not write is nobody's loss. */
UE_TEST_F(loss, perf_of_another_cpu)
{
	int cpu = sched_getcpu(), other = other_cpu(cpu);

	if (other < 0)
		SKIP(return, "takes two CPUs");

	ASSERT_EQ(0, pf_open(&self->pf, self->id, -1, cpu, 1));
	ASSERT_LT(0, fill(self));
	ASSERT_EQ(other, pin_cpu(other));
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_EQ(1, event_lost(self->event, "perf", "full"));
	ASSERT_EQ(cpu, pin_cpu(cpu));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
}

/* A full ring does not matter to an event that it does not take. */
UE_TEST_F(loss, perf_filtered)
{
	uint32_t value = 0xffffffff;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "seq < 100000"));
	ASSERT_LT(0, fill(self));
	EXPECT_EQ(8, send_seq(self, value));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_EQ(2, event_lost(self->event, "perf", "full"));

	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_DISABLE, 0));
	EXPECT_EQ(8, send_seq(self, 0));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_ENABLE, 0));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_EQ(3, event_lost(self->event, "perf", "full"));
}

/* Of every third event a sample is taken: the others find room always. */
UE_TEST_F(loss, perf_every_third)
{
	struct perf_event_attr attr = pf_attr(self->id);
	uint32_t seq;
	int lost = 0;
	ssize_t ret;

	attr.sample_period = 3;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	for (seq = 0; seq < 3000; seq++) {
		ret = send_seq(self, seq);
		if (ret == -ENOBUFS) {
			EXPECT_EQ(2, seq % 3);
			lost++;
		} else {
			ASSERT_EQ(8, ret);
		}
	}
	EXPECT_EQ(1000, lost + pf_drain(&self->pf));
	EXPECT_EQ(lost, event_lost(self->event, "perf", "full"));
}

/* An event that only counts takes all, and so does an overwritten ring. */
UE_TEST_F(loss, perf_never_full)
{
	struct perf_event_attr attr = pf_attr(self->id);
	struct pf count;
	uint32_t seq;

	attr.write_backward = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	attr = pf_attr(self->id);
	attr.sample_period = 0;
	ASSERT_EQ(0, pf_open_attr(&count, &attr, 0, -1, 0));

	for (seq = 0; seq < 3000; seq++) {
		ASSERT_EQ(8, send_seq(self, seq))
			TH_LOG("round %d", (int)seq);
	}
	EXPECT_EQ(3000, pf_count(&count));
	EXPECT_TRUE(event_lost_nothing(self->event));
	pf_close(&count);
}

/* A ring whose output is paused is one that is switched off. */
UE_TEST_F(loss, perf_paused)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1));
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_EQ(0, pf_drain(&self->pf));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 0));
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_EQ(1, pf_read_all(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* What a paused ring counts neither makes a loss nor hides that of another. */
UE_TEST_F(loss, perf_paused_and_full)
{
	struct pf paused;

	ASSERT_EQ(0, pf_open(&paused, self->id, 0, -1, 1));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, ioctl(paused.fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1));
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_TRUE(event_lost_nothing(self->event));

	ASSERT_LT(0, fill(self));
	EXPECT_EQ(1, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(0, pf_drain(&paused));
	pf_close(&paused);
}

/* Lost is the event, however many rings are too small for it. */
UE_TEST_F(loss, too_big_for_two_rings)
{
	static unsigned char big[MAX_PAYLOAD];
	struct pf other;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_EQ(0, pf_open(&other, self->id, 0, -1, 1));
	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(1, event_lost(self->event, "perf", "too_big"));
	pf_close(&other);
}

/* Too big wins: trying again would never help. */
UE_TEST_F(loss, too_big_for_a_full_ring)
{
	static unsigned char big[8192];

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	ASSERT_LT(0, fill(self));
	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(1, event_lost(self->event, "perf", "too_big"));
	EXPECT_EQ(1, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(-E2BIG, emit(self->plain_fd, self->plain_index, big,
			       sizeof(big)));
	EXPECT_EQ(2, event_lost(self->event, "perf", "too_big"));
}

/*
 * ftrace
 */
static void check_full_ftrace(struct __test_metadata *_metadata,
			      struct _test_data_loss *self)
{
	int count, i;

	count = fill(self);
	ASSERT_LT(0, count);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-ENOBUFS, send_seq(self, 0))
			TH_LOG("round %d", (int)i);
	}
	EXPECT_EQ(11, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(8, send_plain(self, 0));
	EXPECT_EQ(12, event_lost(self->event, "ftrace", "full"));

	EXPECT_EQ(count, ft_read_all(&self->ft));
	EXPECT_EQ(8, send_seq(self, 0));
	EXPECT_EQ(1, ft_read_all(&self->ft));
	EXPECT_EQ(12, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(0, event_lost(self->event, "perf", "full"));
}

UE_TEST_F(loss, ftrace)
{
	ASSERT_EQ(0, open_small_ft(self));
	check_full_ftrace(_metadata, self);
}

/* ftrace keeps records aside while it looks whether a filter wants them. */
UE_TEST_F(loss, ftrace_with_a_filter)
{
	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "seq < 100000"));
	check_full_ftrace(_metadata, self);

	/* What the filter drops is no loss, full or not. */
	ASSERT_LT(0, fill(self));
	EXPECT_EQ(13, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(8, send_seq(self, 100000));
	EXPECT_EQ(13, event_lost(self->event, "ftrace", "full"));
}

/* A trigger gets to see the record, even if the buffer does not take it. */
UE_TEST_F(loss, ftrace_with_a_trigger)
{
	static const char trigger[] = "hist:keys=common_pid if seq < 100000";
	char remove[64];

	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	check_full_ftrace(_metadata, self);
	snprintf(remove, sizeof(remove), "!%s", trigger);
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, remove));
}

/* Triggers see records that the buffer does not get, whatever their size. */
UE_TEST_F(loss, ftrace_triggers_of_big_records)
{
	static const char trigger[] =
		"hist:keys=common_pid:at=common_timestamp if seq < 100000";
	static unsigned char big[6000], wanted[6000];
	char hist[512], remove[80];
	const uint32_t seq = 1;

	memcpy(wanted, &seq, sizeof(seq));
	ASSERT_EQ(0, ft_create(&self->ft, "loss"));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	snprintf(hist, sizeof(hist), "%s",
		 ft_event_path(&self->ft, self->event, "hist"));

	/* The event is not switched on, */
	EXPECT_EQ(4 + sizeof(big),
		  emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(1, file_number(hist, "Hits:"));

	/* its filter does not want the record, */
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "seq == 1"));
	EXPECT_EQ(4 + sizeof(big),
		  emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(2, file_number(hist, "Hits:"));

	/* or tracing is off. */
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(4 + sizeof(wanted),
		  emit(self->fd, self->index, wanted, sizeof(wanted)));
	EXPECT_EQ(3, file_number(hist, "Hits:"));
	EXPECT_TRUE(event_lost_nothing(self->event));
	EXPECT_EQ(0, ft_drain(&self->ft));
	snprintf(remove, sizeof(remove), "!%s", trigger);
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, remove));
}

UE_TEST_F(loss, ftrace_switched_off)
{
	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_LT(0, fill(self));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(8, send_seq(self, 0));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "1"));
	EXPECT_EQ(-ENOBUFS, send_seq(self, 0));
	EXPECT_EQ(2, event_lost(self->event, "ftrace", "full"));
}

/* Who reads the trace may have it stand still meanwhile. */
UE_TEST_F(loss, ftrace_paused_by_a_reader)
{
	int fd, i;

	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, ft_set(&self->ft, "options/pause-on-trace", "1"));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ft_set(&self->ft, "options/overwrite",
				    i ? "1" : "0"));
		fd = ue_open_file(ft_path(&self->ft, "trace"), O_RDONLY);
		ASSERT_LE(0, fd);
		EXPECT_EQ(8, send_seq(self, 1));
		close(fd);
		EXPECT_EQ(8, send_seq(self, 0));
		EXPECT_EQ(1, ft_read_all(&self->ft));
	}
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* A buffer that is overwritten takes all. */
UE_TEST_F(loss, ftrace_overwrite)
{
	uint32_t seq;

	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, ft_set(&self->ft, "options/overwrite", "1"));
	for (seq = 0; seq < MANY; seq++) {
		ASSERT_EQ(8, send_seq(self, seq))
			TH_LOG("round %d", (int)seq);
	}
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* Of two instances one is full. */
UE_TEST_F(loss, ftrace_two_instances)
{
	struct ft other;
	int count;

	ASSERT_EQ(0, ft_create(&other, "loss_other"));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	ASSERT_EQ(0, open_small_ft(self));
	count = fill(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(count, ft_read_all(&self->ft));
	EXPECT_EQ(count + 1, ft_read_all(&other));
	EXPECT_EQ(1, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(0, ft_destroy(&other));
}

/*
 * A record that was refused is tried again: until everybody has room it has run no
 * trigger anywhere, and a histogram counts it once. @ft has the triggers.
 */
static void check_triggers(struct __test_metadata *_metadata,
			   struct _test_data_loss *self, struct ft *ft)
{
	static const char hist[] = "hist:keys=common_pid";
	char path[512];
	int count;

	ASSERT_EQ(0, ft_trigger(ft, self->event, hist));
	snprintf(path, sizeof(path), "%s", ft_event_path(ft, self->event, "hist"));
	count = fill(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(count, file_number(path, "Hits:"));

	/* One that asks for nothing of the record. */
	ASSERT_EQ(0, ft_trigger(ft, self->event, "!hist:keys=common_pid"));
	ASSERT_EQ(0, ft_trigger(ft, self->event, "traceoff"));
	EXPECT_EQ(-ENOBUFS, send_seq(self, count));
	EXPECT_EQ(1, file_number(ft_path(ft, "tracing_on"), ""));

	/* Nobody tries again what was lost without a word. */
	EXPECT_EQ(8, send_plain(self, count));
	EXPECT_EQ(0, file_number(ft_path(ft, "tracing_on"), ""));
	EXPECT_EQ(0, ft_trigger(ft, self->event, "!traceoff"));
}

UE_TEST_F(loss, triggers_while_another_instance_is_full)
{
	struct ft other;

	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, ft_create(&other, "loss_other"));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	check_triggers(_metadata, self, &other);
	EXPECT_EQ(0, ft_destroy(&other));
}

UE_TEST_F(loss, triggers_while_a_later_instance_is_full)
{
	struct ft other;

	ASSERT_EQ(0, ft_create(&other, "loss_other"));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	ASSERT_EQ(0, open_small_ft(self));
	check_triggers(_metadata, self, &other);
	EXPECT_EQ(0, ft_destroy(&other));
}

/* The event is off there, but for its triggers. */
UE_TEST_F(loss, triggers_while_perf_is_full)
{
	ASSERT_EQ(0, ft_create(&self->ft, "loss"));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	check_triggers(_metadata, self, &self->ft);
}

UE_TEST_F(loss, ftrace_full_perf_not)
{
	int count;

	ASSERT_EQ(0, open_small_ft(self));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(512)));
	count = fill(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(count, ft_read_all(&self->ft));
	EXPECT_EQ(count + 1, pf_read_all(&self->pf));
	EXPECT_EQ(1, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(0, event_lost(self->event, "perf", "full"));
}

UE_TEST_F(loss, perf_full_ftrace_not)
{
	int count;

	ASSERT_EQ(0, ft_create(&self->ft, "loss"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	count = fill(self);
	ASSERT_LT(0, count);
	EXPECT_EQ(count + 1, ft_read_all(&self->ft));
	EXPECT_EQ(count, pf_read_all(&self->pf));
	EXPECT_EQ(0, event_lost(self->event, "ftrace", "full"));
	EXPECT_EQ(1, event_lost(self->event, "perf", "full"));
}

/* Counters are the event's: they stay when its consumers have left. */
UE_TEST_F(loss, counters_in_the_status)
{
	static unsigned char big[8192];
	char line[256], *used, *lost;

	ASSERT_EQ(0, ft_create(&self->ft, "loss"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));

	ASSERT_LT(0, ue_status(self->event, line, sizeof(line)));
	EXPECT_FALSE(!!strstr(line, "lost"));

	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
	ASSERT_LT(0, fill(self));

	/* Behind the users, which stand as ever. */
	ASSERT_LT(0, ue_status(self->event, line, sizeof(line)));
	used = strstr(line, " # Used by ftrace perf");
	lost = strstr(line, " lost ");
	ASSERT_TRUE(!!used)
		TH_LOG("%s", line);
	ASSERT_TRUE(!!lost)
		TH_LOG("%s", line);
	EXPECT_TRUE(used < lost);

	pf_close(&self->pf);
	ASSERT_EQ(0, ft_destroy(&self->ft));
	ASSERT_LT(0, ue_status(self->event, line, sizeof(line)));
	EXPECT_FALSE(!!strstr(line, "Used by"));
	EXPECT_TRUE(!!strstr(line, " # lost "))
		TH_LOG("%s", line);
	EXPECT_EQ(2, event_lost(self->event, "ftrace", "too_big"));
	EXPECT_EQ(2, event_lost(self->event, "perf", "too_big"));
	EXPECT_EQ(1, event_lost(self->event, "perf", "full"));
	EXPECT_EQ(0, event_lost(self->event, "ftrace", "full"));
}

/* A write that nobody wants is no loss, nor is one that is bad. */
UE_TEST_F(loss, refused_is_not_lost)
{
	EXPECT_EQ(-EBADF, send_seq(self, 0));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
	EXPECT_EQ(-EINVAL, emit(self->fd, self->index, "", 1));
	EXPECT_EQ(-EFAULT, emit(self->fd, self->index, (void *)8, 100));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/*
 * Writers on two CPUs at once, one buffer each that runs full: what they sent
 * is what arrived and what was counted as lost.
 */
struct writer {
	struct _test_data_loss *self;
	int cpu, full, bad;
};

static void *write_many(void *arg)
{
	struct writer *writer = arg;
	uint32_t seq;
	ssize_t ret;

	if (pin_cpu(writer->cpu) < 0)
		writer->bad++;
	for (seq = 0; seq < MANY; seq++) {
		ret = send_seq(writer->self, seq);
		if (ret == -ENOBUFS)
			writer->full++;
		else if (ret != 8)
			writer->bad++;
	}

	return NULL;
}

UE_TEST_F(loss, two_writers)
{
	struct writer writers[2] = { { .self = self }, { .self = self } };
	pthread_t threads[2];
	int i, arrived = 0;

	ASSERT_EQ(0, open_small_ft(self));
	writers[0].cpu = self->ft.cpu;
	writers[1].cpu = other_cpu(self->ft.cpu);
	if (writers[1].cpu < 0)
		SKIP(return, "takes two CPUs");

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, write_many,
					    &writers[i]));
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
		EXPECT_EQ(0, writers[i].bad);
		EXPECT_LT(0, writers[i].full);
	}

	for (i = 0; i < 2; i++) {
		ft_close_raw(&self->ft);
		self->ft.cpu = writers[i].cpu;
		ASSERT_EQ(0, ft_open_raw(&self->ft));
		arrived += ft_drain(&self->ft);
	}
	EXPECT_EQ(2 * MANY, arrived + writers[0].full + writers[1].full);
	EXPECT_EQ(writers[0].full + writers[1].full,
		  event_lost(self->event, "ftrace", "full"));
}

/*
 * An application that tries again on ENOBUFS while a consumer drains: every
 * event arrives once and in order.
 */
static uint32_t events_to_send(void)
{
	const char *text = getenv("USER_EVENTS_TEST_EVENTS");

	return text ? strtoul(text, NULL, 10) : ue_rounds(1000000);
}

struct drain {
	struct _test_data_loss *self;
	int (*next)(struct _test_data_loss *self, struct record *rec);
	uint32_t total;
	uint32_t seen;		/* how many of them, in order */
	long again;		/* writes without room */
	bool done;		/* no more writes */
	int error;
};

static int next_perf(struct _test_data_loss *self, struct record *rec)
{
	return pf_next(&self->pf, rec);
}

static int next_ftrace(struct _test_data_loss *self, struct record *rec)
{
	return ft_next(&self->ft, rec);
}

/* Drains whenever there was no room, at the same time as the next writes. */
static void *drain_all(void *arg)
{
	struct drain *drain = arg;
	long again, last = 0;
	struct record rec;
	int ret;

	while (drain->seen < drain->total) {
		bool done = __atomic_load_n(&drain->done, __ATOMIC_ACQUIRE);

		again = __atomic_load_n(&drain->again, __ATOMIC_ACQUIRE);
		if (again == last && !done) {
			sched_yield();
			continue;
		}
		last = again;

		while ((ret = drain->next(drain->self, &rec)) > 0) {
			if (!record_is(&rec, &drain->seen, 4)) {
				ret = -EBADMSG;
				break;
			}
			drain->seen++;
		}
		if (!ret && done && drain->seen < drain->total)
			ret = -ENODATA;
		if (ret < 0) {
			__atomic_store_n(&drain->error, ret, __ATOMIC_RELEASE);
			break;
		}
	}

	return NULL;
}

/* Sends all, again and again where there is no room. */
static int send_all(struct drain *drain)
{
	uint32_t seq = 0;
	ssize_t ret;
	int error;

	while (seq < drain->total) {
		ret = send_seq(drain->self, seq);
		if (ret == 8) {
			seq++;
			continue;
		}
		if (ret != -ENOBUFS)
			return ret < 0 ? ret : -EIO;

		error = __atomic_load_n(&drain->error, __ATOMIC_ACQUIRE);
		if (error)
			return error;
		__atomic_add_fetch(&drain->again, 1, __ATOMIC_RELEASE);
		sched_yield();
	}

	return 0;
}

static void check_again(struct __test_metadata *_metadata,
			struct _test_data_loss *self, const char *consumer,
			int (*next)(struct _test_data_loss *self,
				    struct record *rec), uint32_t total)
{
	struct drain drain = { .self = self, .next = next, .total = total };
	pthread_t thread;
	cpu_set_t all;

	ASSERT_EQ(0, pthread_create(&thread, NULL, drain_all, &drain));
	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(thread, sizeof(all), &all);

	EXPECT_EQ(0, send_all(&drain));
	__atomic_store_n(&drain.done, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, drain.error);
	EXPECT_EQ(total, drain.seen);
	EXPECT_LT(0, drain.again);
	EXPECT_EQ(drain.again, event_lost(self->event, consumer, "full"));
}

UE_TEST_F(loss, perf_again)
{
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(64)));
	check_again(_metadata, self, "perf", next_perf, events_to_send());
	EXPECT_EQ(0, pf_drain(&self->pf));
}

UE_TEST_F(loss, ftrace_again)
{
	ASSERT_EQ(0, open_small_ft(self));
	check_again(_metadata, self, "ftrace", next_ftrace,
		    events_to_send() / 10);
	EXPECT_EQ(0, ft_drain(&self->ft));
}

TEST_HARNESS_MAIN
