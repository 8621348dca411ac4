// SPDX-License-Identifier: GPL-2.0
/*
 * perf as a consumer: events of tasks and CPUs, filters, samples.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "consumer.h"
#include "process.h"

FIXTURE(perf)
{
	int fd;
	uint32_t word;
	int index;
	int id;
	int cpu;
	char event[64];
	struct pf pf;
};

FIXTURE_SETUP(perf)
{
	char args[128];

	UE_REQUIRE();

	self->cpu = pin_cpu(-1);
	ASSERT_LE(0, self->cpu);
	snprintf(self->event, sizeof(self->event), "perf_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u32 a; char[8] s", self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &self->index));
	self->id = event_id(self->event);
	ASSERT_LT(0, self->id);
}

FIXTURE_TEARDOWN(perf)
{
	pf_close(&self->pf);
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

struct payload {
	uint32_t a;
	char s[8];
};

#define WRITTEN ((ssize_t)(sizeof(int) + sizeof(struct payload)))

static struct payload make_payload(uint32_t a)
{
	struct payload payload = { .a = a };

	snprintf(payload.s, sizeof(payload.s), "s%u", a % 10);

	return payload;
}

static ssize_t emit_a(struct _test_data_perf *self, uint32_t a)
{
	struct payload payload = make_payload(a);

	return emit(self->fd, self->index, &payload, sizeof(payload));
}

/* One sample, and it is the one of emit_a(): 1; none: 0. */
static int got_a(struct pf *pf, uint32_t a)
{
	struct payload payload = make_payload(a);

	return pf_got(pf, &payload, sizeof(payload));
}

/* Has a child write, on a CPU of its choice; its result. */
static ssize_t emit_in_child(struct _test_data_perf *self, int cpu, uint32_t a)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		pin_cpu(cpu);
		_exit(emit_a(self, a) == WRITTEN ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -ECHILD;

	return status ? -EIO : WRITTEN;
}

UE_TEST_F(perf, task)
{
	ASSERT_EQ(-EBADF, emit_a(self, 0));
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	EXPECT_EQ(1, self->word);

	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));

	/* Another task is not watched, which makes its write no failure. */
	EXPECT_EQ(WRITTEN, emit_in_child(self, self->cpu, 2));
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));

	pf_close(&self->pf);
	wait_word(&self->word, 0);
	EXPECT_EQ(-EBADF, emit_a(self, 3));
}

UE_TEST_F(perf, task_on_any_cpu)
{
	int other = other_cpu(self->cpu);

	if (other < 0)
		SKIP(return, "takes two CPUs");

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(other, pin_cpu(other));
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));
	ASSERT_EQ(self->cpu, pin_cpu(self->cpu));
	EXPECT_EQ(WRITTEN, emit_a(self, 2));
	EXPECT_EQ(1, got_a(&self->pf, 2));
}

UE_TEST_F(perf, cpu)
{
	int other = other_cpu(self->cpu);

	ASSERT_EQ(0, pf_open(&self->pf, self->id, -1, self->cpu,
			     pf_pages(16)));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));
	EXPECT_EQ(WRITTEN, emit_in_child(self, self->cpu, 2));
	EXPECT_EQ(1, got_a(&self->pf, 2));

	if (other >= 0) {
		EXPECT_EQ(WRITTEN, emit_in_child(self, other, 3));
		EXPECT_EQ(0, pf_drain(&self->pf));
		EXPECT_TRUE(event_lost_nothing(self->event));
	}
}

UE_TEST_F(perf, inherit)
{
	struct perf_event_attr attr = pf_attr(self->id);

	/* A ring that is inherited is one of a CPU. */
	attr.inherit = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, self->cpu,
				  pf_pages(16)));
	EXPECT_EQ(WRITTEN, emit_in_child(self, self->cpu, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));
	EXPECT_EQ(WRITTEN, emit_a(self, 2));
	EXPECT_EQ(1, got_a(&self->pf, 2));
	EXPECT_EQ(2, pf_count(&self->pf));

	pf_close(&self->pf);
	wait_word(&self->word, 0);
}

/* The bit stays while a child that inherited the event is alive. */
UE_TEST_F(perf, task_that_exits)
{
	int gate[2], status;
	pid_t pid;
	char go;

	ASSERT_EQ(0, pipe(gate));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(1);
		_exit(emit_a(self, 1) == WRITTEN ? 0 : 1);
	}

	ASSERT_EQ(0, pf_open(&self->pf, self->id, pid, -1, pf_pages(16)));
	wait_word(&self->word, 1);
	ASSERT_EQ(1, write(gate[1], "g", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1, got_a(&self->pf, 1));

	pf_close(&self->pf);
	wait_word(&self->word, 0);
	close(gate[0]);
	close(gate[1]);
}

static void *emit_thread(void *arg)
{
	struct _test_data_perf *self = arg;

	return (void *)(long)emit_a(self, 1);
}

UE_TEST_F(perf, one_thread_of_two)
{
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, pthread_create(&thread, NULL, emit_thread, self));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(WRITTEN, (long)ret);
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_EQ(WRITTEN, emit_a(self, 2));
	EXPECT_EQ(1, got_a(&self->pf, 2));
}

/* Attached, but switched off: not a failure, whatever the size. */
UE_TEST_F(perf, disabled)
{
	struct perf_event_attr attr = pf_attr(self->id);
	static char big[100000];

	attr.disabled = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(4 + sizeof(big),
		  emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(0, pf_drain(&self->pf));

	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_ENABLE, 0));
	EXPECT_EQ(WRITTEN, emit_a(self, 2));
	EXPECT_EQ(1, got_a(&self->pf, 2));

	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_DISABLE, 0));
	EXPECT_EQ(WRITTEN, emit_a(self, 3));
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_EQ(1, pf_count(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
	EXPECT_EQ(0, self->pf.lost);
}

UE_TEST_F(perf, filter)
{
	uint32_t a;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER, "a > 5"));
	for (a = 0; a < 10; a++) {
		EXPECT_EQ(WRITTEN, emit_a(self, a));
		EXPECT_EQ(a > 5, got_a(&self->pf, a));
	}

	/* An event takes one filter in its life. */
	pf_close(&self->pf);
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			   "s == \"s3\""));
	for (a = 0; a < 10; a++) {
		EXPECT_EQ(WRITTEN, emit_a(self, a));
		EXPECT_EQ(a == 3, got_a(&self->pf, a));
	}

	pf_close(&self->pf);
	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	EXPECT_EQ(-1, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER,
			    "nothing == 1"));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* Of two events one has a filter. */
UE_TEST_F(perf, filter_of_one)
{
	struct pf all;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, pf_open(&all, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ioctl(self->pf.fd, PERF_EVENT_IOC_SET_FILTER, "a == 1"));

	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));
	EXPECT_EQ(1, got_a(&all, 1));
	EXPECT_EQ(WRITTEN, emit_a(self, 2));
	EXPECT_EQ(0, got_a(&self->pf, 2));
	EXPECT_EQ(1, got_a(&all, 2));
	pf_close(&all);
}

UE_TEST_F(perf, every_third)
{
	struct perf_event_attr attr = pf_attr(self->id);
	uint32_t a;

	attr.sample_period = 3;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	for (a = 1; a <= 30; a++) {
		EXPECT_EQ(WRITTEN, emit_a(self, a));
		EXPECT_EQ(a % 3 == 0, got_a(&self->pf, a));
	}
	EXPECT_EQ(30, pf_count(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* A ring that is too small matters only to events that go there. */
UE_TEST_F(perf, every_third_of_big_ones)
{
	struct perf_event_attr attr = pf_attr(self->id);
	static unsigned char big[MAX_PAYLOAD];
	int i;

	attr.sample_period = 3;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	for (i = 1; i <= 30; i++) {
		EXPECT_EQ(i % 3 ? 4 + (int)sizeof(big) : -E2BIG,
			  emit(self->fd, self->index, big, sizeof(big)));
		EXPECT_EQ(i, pf_count(&self->pf));
		EXPECT_EQ(i / 3, event_lost(self->event, "perf", "too_big"));
	}

	/* The next small ones are counted on. */
	for (i = 1; i <= 6; i++) {
		EXPECT_EQ(WRITTEN, emit_a(self, i));
		EXPECT_EQ(i % 3 == 0, got_a(&self->pf, i));
	}
	/* perf has told its reader of what went before. */
	EXPECT_EQ(10, self->pf.lost);
}

/* The same with the period in each sample: then perf takes one of every event. */
UE_TEST_F(perf, big_ones_with_their_period)
{
	struct perf_event_attr attr = pf_attr(self->id);
	static unsigned char big[MAX_PAYLOAD];

	attr.sample_period = 1000;
	attr.sample_type |= PERF_SAMPLE_PERIOD;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(1, got_a(&self->pf, 1));
	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(2, pf_count(&self->pf));
}

/* An event that only counts needs no ring. */
UE_TEST_F(perf, count)
{
	struct perf_event_attr attr = pf_attr(self->id);
	uint32_t a;

	attr.sample_period = 0;
	attr.sample_type = 0;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 0));
	EXPECT_EQ(1, self->word);
	for (a = 0; a < 1000; a++) {
		ASSERT_EQ(WRITTEN, emit_a(self, a))
			TH_LOG("round %d", (int)a);
	}
	EXPECT_EQ(1000, pf_count(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* Every part of a sample that can stand in front of the record. */
UE_TEST_F(perf, sample_with_everything)
{
	struct perf_event_attr attr = pf_attr(self->id);
	uint32_t a;
	int tid;

	attr.sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP |
		PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR |
		PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU |
		PERF_SAMPLE_PERIOD | PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_RAW;
	attr.sample_id_all = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	for (a = 0; a < 100; a++) {
		ASSERT_EQ(WRITTEN, emit_a(self, a));
		ASSERT_EQ(1, got_a(&self->pf, a));

		/* header, IDENTIFIER, IP, then pid and tid */
		memcpy(&tid, self->pf.copy + 28, sizeof(tid));
		ASSERT_EQ(getpid(), tid);
	}
}

/* A sample need not carry the record. */
UE_TEST_F(perf, sample_without_record)
{
	struct perf_event_attr attr = pf_attr(self->id);
	struct record rec;

	attr.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	ASSERT_EQ(WRITTEN, emit_a(self, 1));
	ASSERT_EQ(1, pf_next(&self->pf, &rec));
	EXPECT_EQ(0, pf_drain(&self->pf));
}

UE_TEST_F(perf, record)
{
	struct record rec;
	int pid;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(WRITTEN, emit_a(self, 1));
	ASSERT_EQ(1, pf_next(&self->pf, &rec));
	EXPECT_EQ(self->id, record_type(&rec));
	memcpy(&pid, rec.data + 4, sizeof(pid));
	EXPECT_EQ(getpid(), pid);
}

/* Two events of the task, one of the CPU, and ftrace: all get each event. */
UE_TEST_F(perf, many_consumers)
{
	struct payload payload;
	struct pf task, cpu;
	struct ft ft;
	uint32_t a;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, pf_open(&task, self->id, 0, -1, pf_pages(32)));
	ASSERT_EQ(0, pf_open(&cpu, self->id, -1, self->cpu, pf_pages(16)));
	ASSERT_EQ(0, ft_create(&ft, "perf"));
	ASSERT_EQ(0, ft_switch(&ft, self->event, 1));

	for (a = 0; a < 1000; a++) {
		payload = make_payload(a);
		ASSERT_EQ(WRITTEN, emit_a(self, a));
		ASSERT_EQ(1, got_a(&self->pf, a));
		ASSERT_EQ(1, got_a(&task, a));
		ASSERT_EQ(1, got_a(&cpu, a));
		ASSERT_EQ(1, ft_got(&ft, &payload, sizeof(payload)));
	}

	/* One after the other goes, the last one takes the bit along. */
	pf_close(&self->pf);
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(0, ft_destroy(&ft));
	EXPECT_EQ(1, self->word);
	pf_close(&task);
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(WRITTEN, emit_a(self, a));
	EXPECT_EQ(1, got_a(&cpu, a));
	pf_close(&cpu);
	EXPECT_EQ(0, self->word);
}

/* Two events that share a ring. */
UE_TEST_F(perf, shared_ring)
{
	struct pf other;

	ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, pf_open(&other, self->id, 0, -1, 0));
	ASSERT_EQ(0, ioctl(other.fd, PERF_EVENT_IOC_SET_OUTPUT, self->pf.fd));
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(2, pf_drain(&self->pf));
	pf_close(&other);
}

/* A ring that is overwritten is never full, and has the newest in front. */
UE_TEST_F(perf, backward_ring)
{
	struct perf_event_attr attr = pf_attr(self->id);
	struct perf_event_header header;
	struct payload payload;
	struct record rec;
	uint32_t a;

	attr.write_backward = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, 1));
	for (a = 0; a < 1000; a++) {
		ASSERT_EQ(WRITTEN, emit_a(self, a))
			TH_LOG("round %d", (int)a);
	}

	pf_peek(&self->pf, self->pf.meta->data_head, &header, sizeof(header));
	ASSERT_EQ(PERF_RECORD_SAMPLE, header.type);
	pf_peek(&self->pf, self->pf.meta->data_head, self->pf.copy,
		header.size);
	ASSERT_EQ(1, pf_parse_sample(&self->pf, header.size, &rec));
	payload = make_payload(999);
	EXPECT_TRUE(record_is(&rec, &payload, sizeof(payload)));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* What the filter of a kernel-mode sample drops is no failure. */
UE_TEST_F(perf, exclude_kernel)
{
	struct perf_event_attr attr = pf_attr(self->id);

	attr.exclude_kernel = 1;
	ASSERT_EQ(0, pf_open_attr(&self->pf, &attr, 0, -1, pf_pages(16)));
	EXPECT_EQ(WRITTEN, emit_a(self, 1));
	EXPECT_EQ(0, pf_drain(&self->pf));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

UE_TEST_F(perf, attach_and_detach)
{
	uint32_t a;

	for (a = 0; a < 200; a++) {
		ASSERT_EQ(0, pf_open(&self->pf, self->id, 0, -1, 1));
		ASSERT_EQ(1, self->word);
		ASSERT_EQ(WRITTEN, emit_a(self, a));
		ASSERT_EQ(1, got_a(&self->pf, a));
		pf_close(&self->pf);
		ASSERT_EQ(0, self->word);
		ASSERT_EQ(-EBADF, emit_a(self, a));
	}
}

TEST_HARNESS_MAIN
