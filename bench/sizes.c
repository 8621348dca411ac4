// SPDX-License-Identifier: GPL-2.0
/*
 * What write() answers for payloads of every size, and what arrives at the
 * consumers. Prints lines "CONSUMERS FIRST LAST OUTCOME": sizes from FIRST to
 * LAST bytes all had that outcome.
 */
#include "consumer.h"

/* The sizes that are tried: all up to EVERY, and then one of STEP. */
#define SMALLEST	4
#define EVERY		4200
#define STEP		97
#define LARGEST		(128 * 1024)

#define RING_KIB 512

struct setup {
	const char *name;
	const char *subbuf_kib;		/* NULL: no ftrace */
	bool perf;
};

static const struct setup setups[] = {
	{ "ftrace", "4", false },
	{ "ftrace_64k", "64", false },
	{ "perf", NULL, true },
	{ "both", "4", true },
};

static void check(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "error: %s: %s\n", what, strerror(-ret));
	exit(1);
}

/* What a consumer that is asked for one record says: whether it got it. */
enum got {
	NOT_ASKED,
	NOTHING,
	DAMAGED,
	ARRIVED,
};

static enum got got(int ret)
{
	if (ret == -EBADMSG)
		return DAMAGED;
	check(ret, "reading what arrived");

	return ret ? ARRIVED : NOTHING;
}

struct state {
	int fd;
	int index;
	struct ft ft;
	struct pf *pf;
};

struct outcome {
	char text[128];
};

/* Writes so many bytes and says what came of it. */
static struct outcome outcome_of(struct state *state, size_t size)
{
	static unsigned char payload[LARGEST];
	enum got ft = NOT_ASKED, pf = NOT_ASKED;
	const __u64 small = 0;
	struct outcome outcome;
	const char *what;
	ssize_t ret;

	fill_pattern(payload, size, size);
	ret = emit(state->fd, state->index, payload, size);
	if (*state->ft.dir)
		ft = got(ft_got(&state->ft, payload, size));
	if (state->pf)
		pf = got(pf_got(state->pf, payload, size));

	if (ft == DAMAGED || pf == DAMAGED)
		what = ", damaged";
	else if (ft == ARRIVED && pf == NOTHING)
		what = ", arrived at ftrace only";
	else if (ft == NOTHING && pf == ARRIVED)
		what = ", arrived at perf only";
	else if (ft == ARRIVED || pf == ARRIVED)
		what = ", arrived";
	else
		what = ret < 0 ? "" : ", lost";

	if (ret < 0)
		snprintf(outcome.text, sizeof(outcome.text), "%s%s",
			 strerrorname_np(-ret), what);
	else if (ret == (ssize_t)(sizeof(int) + size))
		snprintf(outcome.text, sizeof(outcome.text), "success%s", what);
	else
		snprintf(outcome.text, sizeof(outcome.text), "short%s", what);

	/* perf tells of a loss in front of the next event. */
	if (pf == NOTHING) {
		emit(state->fd, state->index, &small, sizeof(small));
		pf_drain(state->pf);
		if (ft != NOT_ASKED)
			ft_drain(&state->ft);
	}

	return outcome;
}

/*
 * Where the outcome that the sizes from @from on have ends: the first size up to
 * @to, whose outcome is another one, that does not have it.
 */
static size_t find_edge(struct state *state, size_t from, size_t to)
{
	struct outcome begin = outcome_of(state, from);
	size_t middle;

	while (to - from > 1) {
		middle = from + (to - from) / 2;
		if (strcmp(outcome_of(state, middle).text, begin.text))
			to = middle;
		else
			from = middle;
	}

	return to;
}

static void all_sizes(struct state *state, const char *name)
{
	struct outcome last = outcome_of(state, SMALLEST);
	size_t first = SMALLEST, tried = SMALLEST;
	struct outcome outcome;
	size_t size, edge;

	while (tried < LARGEST) {
		size = tried < EVERY ? tried + 1 : tried + STEP;
		if (size > LARGEST)
			size = LARGEST;
		outcome = outcome_of(state, size);
		if (strcmp(outcome.text, last.text)) {
			edge = find_edge(state, tried, size);
			printf("%s %zu %zu %s\n", name, first, edge - 1,
			       last.text);
			first = edge;
			last = outcome;
		}
		tried = size;
	}
	printf("%s %zu %zu %s\n", name, first, tried, last.text);
}

static void run(const struct setup *setup)
{
	struct state state = {};
	static struct pf pf;
	__u32 word = 0;

	state.fd = ue_open();
	check(state.fd, "opening user_events_data");
	check(ue_reg(state.fd, "bench_sizes u32 a", &word, 0, &state.index),
	      "registering");
	if (setup->subbuf_kib) {
		check(ft_create(&state.ft, "sizes"), "making an instance");
		ft_close_raw(&state.ft);
		check(ft_set(&state.ft, "buffer_subbuf_size_kb",
			     setup->subbuf_kib),
		      "setting the size of sub-buffers");
		check(ft_open_raw(&state.ft), "reading an instance");
		check(ft_switch(&state.ft, "bench_sizes", 1), "enabling");
	}
	if (setup->perf) {
		check(pf_open(&pf, event_id("bench_sizes"), 0, -1,
			      pf_pages(RING_KIB)), "opening a perf event");
		state.pf = &pf;
	}

	all_sizes(&state, setup->name);

	pf_close(&pf);
	check(ft_destroy(&state.ft), "removing an instance");
	check(ue_unreg(state.fd, &word, 0), "unregistering");
	close(state.fd);
}

int main(void)
{
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < ARRAY_SIZE(setups); i++)
		run(&setups[i]);

	return 0;
}
