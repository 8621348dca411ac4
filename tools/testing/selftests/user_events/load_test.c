// SPDX-License-Identifier: GPL-2.0
/*
 * A machine that is used: many processes and threads, a thousand events, and
 * tracers that come and go. One tracer stays. In the end it has as many records
 * of each event as writes said that they succeeded, and as soon as it has gone
 * every bit is clear.
 */
#include <stddef.h>

#include "consumer.h"
#include "crew.h"

#define PROCESSES	8
#define THREADS		4
#define WORKERS		(PROCESSES * THREADS)
#define EVENTS		1000
#define WRITES		600		/* of each worker */
#define ROUNDS		ue_rounds(24)		/* of each tracer */
#define INSTANCES	6		/* of one of them: each is a big one */
#define READ_CPUS	16

/* Each event is used by two processes, each thread has a bit in its word. */
#define PER_PROCESS	(EVENTS / PROCESSES)
#define USED		(2 * PER_PROCESS)

#define INSTANCE	"instances/ue_load"

struct body {
	uint32_t event;
	uint32_t worker;
	uint32_t seq;
};

#define BODY_FIELDS	"u32 event; u32 worker; u32 seq"

/* Shared by all: writes that succeeded, by event. */
static atomic_long *written;

static const char *event_name(int event)
{
	static __thread char name[32];

	snprintf(name, sizeof(name), "load_%d", event);

	return name;
}

/* The events of a process overlap with those of the next. */
static int event_of(int nr, int i)
{
	return (nr / THREADS * PER_PROCESS + i) % EVENTS;
}

struct worker {
	int nr;
	int fd;
	uint32_t *words;
	int index[USED];
	uint32_t seq;
	unsigned int seed;
};

static unsigned int draw(struct worker *worker, unsigned int below)
{
	return (unsigned int)rand_r(&worker->seed) / 16 % below;
}

static int bit_of(const struct worker *worker)
{
	return worker->nr % 32;
}

static void register_event(struct worker *worker, int i)
{
	char args[64];
	int index = -1;

	snprintf(args, sizeof(args), "%s " BODY_FIELDS,
		 event_name(event_of(worker->nr, i)));
	WANT_EQ(0, ue_reg(worker->fd, args, &worker->words[i], bit_of(worker),
			  &index));
	if (worker->index[i] >= 0)
		WANT_EQ(worker->index[i], index);
	worker->index[i] = index;
}

static void unregister_event(struct worker *worker, int i)
{
	WANT_EQ(0, ue_unreg(worker->fd, &worker->words[i], bit_of(worker)));
	WANT_EQ(0, worker->words[i]);
}

static void fill_body(struct worker *worker, int i, struct body *body)
{
	body->event = event_of(worker->nr, i);
	body->worker = worker->nr;
	body->seq = worker->seq++;
}

static void write_one(struct worker *worker, int i)
{
	struct body body;

	fill_body(worker, i, &body);
	WANT_EQ(sizeof(body) + 4, emit(worker->fd, worker->index[i], &body,
				       sizeof(body)));
	atomic_fetch_add(&written[body.event], 1);
}

static void write_batch(struct worker *worker)
{
	struct {
		uint32_t mark;
		struct {
			uint32_t size;
			uint32_t index;
			struct body body;
		} records[4];
	} batch = { .mark = USER_EVENT_WRITE_BATCH };
	ssize_t ret;

	for (int i = 0; i < 4; i++) {
		int used = draw(worker, USED);

		batch.records[i].size = sizeof(batch.records[i]);
		batch.records[i].index = worker->index[used];
		fill_body(worker, used, &batch.records[i].body);
	}
	ret = write(worker->fd, &batch, sizeof(batch));
	WANT_EQ(sizeof(batch), ret < 0 ? -errno : ret);
	for (int i = 0; i < 4; i++)
		atomic_fetch_add(&written[batch.records[i].body.event], 1);
}

static void check_words(struct worker *worker, uint32_t want)
{
	for (int i = 0; i < USED; i++)
		WANT_EQ(want, worker->words[i]);
}

/* With the tracer that stays, an event that is registered is enabled. */
static void work(struct worker *worker)
{
	for (int i = 0; i < WRITES; i++) {
		int used = draw(worker, USED);

		switch (draw(worker, 8)) {
		case 0:
			unregister_event(worker, used);
			register_event(worker, used);
			break;
		case 1:
			write_batch(worker);
			break;
		default:
			write_one(worker, used);
		}
		WANT_EQ(1U << bit_of(worker), worker->words[used]);
	}
}

static void load_worker(int nr)
{
	struct worker worker = { .nr = nr, .seed = nr + 1 };

	worker.fd = ue_open();
	worker.words = calloc(USED, sizeof(*worker.words));
	WANT(worker.fd >= 0 && worker.words, nr);
	memset(worker.index, -1, sizeof(worker.index));
	for (int i = 0; i < USED; i++)
		register_event(&worker, i);

	/* All are registered. The tracer that stays comes. */
	crew_meet();
	check_words(&worker, 0);
	crew_meet();
	crew_meet();
	check_words(&worker, 1U << bit_of(&worker));
	work(&worker);
	crew_meet();
	/* The other tracers have gone, and then that one. */
	check_words(&worker, 1U << bit_of(&worker));
	crew_meet();
	crew_meet();
	check_words(&worker, 0);
	for (int i = 0; i < USED; i++)
		unregister_event(&worker, i);
	close(worker.fd);
	free(worker.words);
}

/* The top instance, by event and by system. */
static void trace_top(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		for (int event = i; event < EVENTS; event += 37)
			WANT_EQ(0, ue_switch(event_name(event), 1));
		if (i % 8 == 0) {
			WANT_EQ(0, ue_write("events/user_events/enable", "1"));
			WANT_EQ(0, ue_write("events/user_events/enable", "0"));
		}
		for (int event = i; event < EVENTS; event += 37)
			WANT_EQ(0, ue_switch(event_name(event), 0));
	}
}

static void trace_instance(void)
{
	char file[640];

	for (int i = 0; i < INSTANCES; i++) {
		WANT(!mkdir(UE_TRACEFS "/" INSTANCE, 0700), errno);
		for (int event = i; event < EVENTS; event += 101) {
			snprintf(file, sizeof(file), INSTANCE "/%s",
				 ue_event_file(event_name(event), "enable"));
			WANT_EQ(0, ue_write(file, "1"));
		}
		WANT(!rmdir(UE_TRACEFS "/" INSTANCE), errno);
	}
}

/* Rings and counters, on the CPUs there are. */
static void trace_perf(void)
{
	static struct pf pfs[8];
	int cpus = sysconf(_SC_NPROCESSORS_ONLN);

	for (int i = 0; i < ROUNDS; i++) {
		for (int k = 0; k < 8; k++) {
			int id = event_id(event_name((i * 61 + k * 7) % EVENTS));

			WANT_EQ(0, pf_open(&pfs[k], id, -1, k % cpus,
					   k & 1 ? 4 : 0));
		}
		for (int k = 0; k < 8; k++) {
			if (k & 1)
				WANT(pf_drain(&pfs[k]) >= 0, k);
			else
				WANT(pf_count(&pfs[k]) >= 0, k);
			pf_close(&pfs[k]);
		}
	}
}

/* Of the processes that take no part in the writing. */
static void load_tracer(int nr)
{
	crew_meet();
	crew_meet();
	crew_meet();
	if (nr == 0)
		trace_top();
	else if (nr == 1)
		trace_instance();
	else
		trace_perf();
	crew_meet();
	crew_meet();
	crew_meet();
}

#define TRACERS		3

/* The tracer that stays. */
struct stayer {
	struct ft ft[READ_CPUS];
	int nr_ft;
	int event_of_id[UINT16_MAX + 1];
	long recorded[EVENTS];
};

FIXTURE(load) {
	struct stayer *stayer;
};

FIXTURE_SETUP(load)
{
	UE_REQUIRE();
	written = map_shared(EVENTS * sizeof(*written));
	self->stayer = calloc(1, sizeof(*self->stayer));
	ASSERT_TRUE(written && self->stayer);
	ASSERT_EQ(0, crew_create(WORKERS + TRACERS + 1));
}

FIXTURE_TEARDOWN_PARENT(load)
{
	rmdir(UE_TRACEFS "/" INSTANCE);
	rmdir(UE_TRACEFS "/" INSTANCE "_stays");
	EXPECT_EQ(0, ue_sweep());
}

/* Takes all there is, and never overwrites. */
static int stay(struct stayer *stayer)
{
	cpu_set_t all;
	int ret = 0;

	if (sched_getaffinity(0, sizeof(all), &all) ||
	    mkdir(UE_TRACEFS "/" INSTANCE "_stays", 0700))
		return -errno;

	for (int cpu = 0; cpu < CPU_SETSIZE && !ret; cpu++) {
		struct ft *ft = &stayer->ft[stayer->nr_ft];

		if (!CPU_ISSET(cpu, &all))
			continue;
		if (stayer->nr_ft++ == READ_CPUS)
			return -E2BIG;
		snprintf(ft->dir, sizeof(ft->dir), INSTANCE "_stays");
		ft->cpu = cpu;
		ret = ft_open_raw(ft);
	}
	if (!ret)
		ret = ft_set(&stayer->ft[0], "options/overwrite", "0");
	if (!ret)
		ret = ft_set(&stayer->ft[0], "buffer_size_kb", "8192");

	return ret;
}

static int leave(struct stayer *stayer)
{
	for (int i = 0; i < stayer->nr_ft; i++)
		ft_close_raw(&stayer->ft[i]);

	return rmdir(UE_TRACEFS "/" INSTANCE "_stays") ? -errno : 0;
}

/* Counts a record, if it is whole and of the event that it says. */
static int count_record(struct stayer *stayer, const struct record *rec)
{
	struct body body;

	if (rec->size < COMMON_SIZE + sizeof(body))
		return -EBADMSG;
	memcpy(&body, record_payload(rec), sizeof(body));
	if (!record_is(rec, &body, sizeof(body)) || body.worker >= WORKERS ||
	    body.event >= EVENTS ||
	    stayer->event_of_id[record_type(rec)] != (int)body.event)
		return -EBADMSG;

	stayer->recorded[body.event]++;

	return 0;
}

static int count_records(struct stayer *stayer)
{
	struct record rec;
	int ret = 0;

	for (int i = 0; i < stayer->nr_ft && !ret; i++) {
		while ((ret = ft_next(&stayer->ft[i], &rec)) > 0) {
			ret = count_record(stayer, &rec);
			if (ret)
				return ret;
		}
		if (stayer->ft[i].missed)
			return -ENOBUFS;
	}

	return ret;
}

static int know_events(struct stayer *stayer)
{
	memset(stayer->event_of_id, -1, sizeof(stayer->event_of_id));
	for (int event = 0; event < EVENTS; event++) {
		int id = event_id(event_name(event));

		if (id < 0)
			return id;
		stayer->event_of_id[id] = event;
	}

	return 0;
}

UE_TEST_F(load, nothing_is_lost)
{
	struct stayer *stayer = self->stayer;
	long total = 0;
	int wrong = 0;

	ASSERT_EQ(0, crew_start(load_worker, PROCESSES, THREADS));
	ASSERT_EQ(0, crew_start(load_tracer, TRACERS, 1));
	crew_meet();
	EXPECT_EQ(EVENTS, ue_active());
	EXPECT_EQ(0, ue_busy());
	ASSERT_EQ(0, know_events(stayer));
	ASSERT_EQ(0, stay(stayer));
	crew_meet();
	ASSERT_EQ(0, ft_set(&stayer->ft[0], "events/user_events/enable", "1"));
	crew_meet();
	crew_meet();
	EXPECT_EQ(EVENTS, ue_busy());
	crew_meet();
	ASSERT_EQ(0, count_records(stayer));
	ASSERT_EQ(0, leave(stayer));
	EXPECT_EQ(0, ue_busy());
	EXPECT_EQ(EVENTS, ue_active());
	crew_meet();
	CREW_EXPECT_DONE();
	EXPECT_EQ(0, ue_active());

	for (int event = 0; event < EVENTS; event++) {
		long count = atomic_load(&written[event]);

		if (count != stayer->recorded[event] && !wrong++) {
			TH_LOG("%s: %ld writes, %ld records",
			       event_name(event), count,
			       stayer->recorded[event]);
		}
		total += count;
	}
	EXPECT_EQ(0, wrong);
	EXPECT_LT(WORKERS * WRITES / 2, total);
}

TEST_HARNESS_MAIN
