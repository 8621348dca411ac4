// SPDX-License-Identifier: GPL-2.0
/*
 * Attaches the BPF program of ring.bpf.c to the event user_events_example and
 * prints what the program sends through its ring buffer. In this directory, with
 * the headers of the kernel installed, and as root to run them:
 *
 *	make
 *	cc -o user_events_example user_events_example.c
 *	./user_events_example 1000 &
 *	./ring ring.bpf.o 10
 *
 * The event is on a little before the program is attached to it. To get the
 * first ones too, hold the writer (kill -STOP) until "attached version 1".
 *
 * ring OBJECT [COUNT [VERSIONS]]: ends after COUNT events (10). With VERSIONS
 * the program is replaced while it runs: each version takes over when the last
 * one sent COUNT events. No event is missed, for the new link is made before the
 * old one goes, and an event that two versions sent counts once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ring.h"

static const char event_name[] = "user_events_example";

/* One load of the program. */
struct version {
	struct bpf_object *object;
	struct bpf_link *link;
	unsigned long wanted;
	unsigned long got;
	__u32 first;
	__u32 last;
};

struct reader {
	struct version *versions;
	unsigned long got;
	unsigned long twice;
	unsigned long lost;
	unsigned long long sum;
	__u32 first;
	__u32 next;
};

static int fail(const char *what)
{
	perror(what);
	return -1;
}

/*
 * The writer counts: what it wrote and nobody sent shows as a gap. An error ends
 * ring_buffer__poll(), which else goes on for as long as there are events.
 */
static int take(void *data, void *record, size_t size)
{
	const struct ring_event *event = record;
	struct reader *reader = data;
	struct version *version;

	if (size != sizeof(*event))
		return -EINVAL;

	version = &reader->versions[event->version];
	printf("version %llu, pid %u: count=%u msg=%s\n",
	       (unsigned long long)event->version + 1, event->pid, event->count,
	       event->msg);

	if (!version->got++)
		version->first = event->count;
	else if (event->count != version->last + 1)
		reader->lost++;
	version->last = event->count;

	if (!reader->got) {
		reader->first = event->count;
		reader->next = event->count;
	}
	if (event->count < reader->next) {
		reader->twice++;
	} else {
		reader->lost += event->count - reader->next;
		reader->next = event->count + 1;
		reader->got++;
		reader->sum += event->count;
	}
	return version->got == version->wanted ? -EINTR : 0;
}

/* All versions send to the ring of the first, which stays when that one goes. */
static int load_version(struct version *version, const char *path, int *ring)
{
	struct bpf_map *map;

	version->object = bpf_object__open(path);
	if (!version->object)
		return fail(path);

	map = bpf_object__find_map_by_name(version->object, "ring");
	if (!map || (*ring >= 0 && bpf_map__reuse_fd(map, *ring)))
		return fail("cannot use the ring buffer");

	if (bpf_object__load(version->object))
		return fail("cannot load the program");

	if (*ring < 0)
		*ring = dup(bpf_map__fd(map));
	return *ring < 0 ? fail("cannot keep the ring buffer") : 0;
}

static int attach_version(struct version *version, __u64 cookie)
{
	LIBBPF_OPTS(bpf_tracepoint_opts, opts, .bpf_cookie = cookie);
	struct bpf_program *program;

	program = bpf_object__find_program_by_name(version->object, "send");
	if (!program)
		return fail("the object has no program 'send'");

	version->link = bpf_program__attach_tracepoint_opts(program, "user_events",
							    event_name, &opts);
	if (!version->link)
		return fail("cannot attach the program");

	printf("attached version %llu\n", cookie + 1ULL);
	fflush(stdout);
	return 0;
}

static void detach_version(struct version *version)
{
	bpf_link__destroy(version->link);
	bpf_object__close(version->object);
}

static int read_ring(struct ring_buffer *rb, struct version *version,
		     unsigned long count)
{
	int ret;

	version->wanted = count;
	while (version->got < count) {
		ret = ring_buffer__poll(rb, -1);
		if (ret < 0 && ret != -EINTR)
			return fail("cannot read the ring buffer");
	}
	return 0;
}

/* The last version goes when this one has sent an event: for a while both run. */
static int run(struct reader *reader, const char *path, unsigned long count,
	       unsigned long nr)
{
	struct version *version = reader->versions;
	struct ring_buffer *rb = NULL;
	unsigned long i;
	int ring = -1;

	for (i = 0; i < nr; i++) {
		if (load_version(&version[i], path, &ring))
			return -1;
		if (!rb)
			rb = ring_buffer__new(ring, take, reader, NULL);
		if (!rb)
			return fail("cannot map the ring buffer");
		if (attach_version(&version[i], i))
			return -1;
		if (read_ring(rb, &version[i], 1))
			return -1;
		if (i)
			detach_version(&version[i - 1]);
		if (read_ring(rb, &version[i], count))
			return -1;
	}

	detach_version(&version[nr - 1]);
	if (ring_buffer__consume(rb) < 0)
		return fail("cannot read the ring buffer");
	ring_buffer__free(rb);
	close(ring);
	return 0;
}

static void report(const struct reader *reader, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++)
		printf("version %lu sent %lu events, %u to %u\n", i + 1,
		       reader->versions[i].got, reader->versions[i].first,
		       reader->versions[i].last);
	printf("got %lu events, %u to %u, sum %llu; %lu by two versions; %lu lost\n",
	       reader->got, reader->first, reader->next - 1, reader->sum,
	       reader->twice, reader->lost);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 10;
	unsigned long nr = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;
	struct reader reader = { 0 };

	if (argc < 2 || !count || !nr) {
		fprintf(stderr, "usage: ring OBJECT [COUNT [VERSIONS]]\n");
		return 2;
	}

	reader.versions = calloc(nr, sizeof(*reader.versions));
	if (!reader.versions || run(&reader, argv[1], count, nr))
		return 1;

	report(&reader, nr);
	free(reader.versions);
	return reader.lost ? 1 : 0;
}
