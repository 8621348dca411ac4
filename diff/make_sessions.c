// SPDX-License-Identifier: GPL-2.0
/*
 * Make up sessions for play: command strings by the grammar of the fuzzer, with
 * weight on those that are nearly valid, and steps at random. The same for the
 * same seed, whatever a kernel answers.
 */
#define _GNU_SOURCE
#include <limits.h>

#include "fuzz.h"
#include "fuzz_commands.h"

/* A session is short: what follows its first difference says nothing. */
#define MAX_STEPS	24

static struct rng rng;

static const char *pick(const char * const *list, unsigned int nr)
{
	return list[below(&rng, nr)];
}

static const char *pick_flags(void)
{
	static const char * const flags[] = {
		"0", "0", "0", "0", "0", "2", "2", "1", "3", "4", "8", "256",
		"65535",
	};

	return pick(flags, ARRAY_SIZE(flags));
}

static void make_commands(unsigned long count, const char *corpus)
{
	static struct commands c;
	char text[COMMAND_ROOM], line[4 * COMMAND_ROOM], *tab;
	FILE *file = fopen(corpus, "r");
	unsigned long i;

	if (!file) {
		perror(corpus);
		exit(1);
	}
	c.rng.state = rng_next(&rng);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		tab = strchr(line, '\t');
		if (*line == '#' || !tab)
			continue;
		printf("session corpus\ncommand ioctl 0 %s\n", tab + 1);
		printf("session corpus of formats\ncommand ioctl 2 %s\n", tab + 1);
		unescape(tab + 1);
		add_to_pool(&c, tab + 1);
	}
	fclose(file);

	for (i = 0; i < count; i++) {
		next_command(&c, text);
		if (one_in(&rng, 16))
			add_to_pool(&c, text);
		printf("session command %lu\ncommand %s %s %s\n", i,
		       one_in(&rng, 8) ? "dyn" : "ioctl",
		       one_in(&rng, 8) ? "2" : "0", escaped(text));
	}
}

static const char * const names[] = { "one", "two", "three" };

/* Fields of each event, and how many bytes a write needs for them. */
static const struct {
	const char *fields;
	unsigned int size;
	int location;		/* offset in the payload, -1 for none */
	bool relative;
} kinds[] = {
	{ "", 0, -1 },
	{ " u32 a", 4, -1 },
	{ " u64 a; s8 b", 9, -1 },
	{ " char[8] s; u16 b", 10, -1 },
	{ " __rel_loc char[] s", 4, 0, true },
	{ " u32 a; __data_loc char[] s", 8, 4 },
	{ " __rel_loc u8[] s; u8 b", 5, 0, true },
	{ " struct t x 12", 12, -1 },
};

static const char *pick_name(void)
{
	return pick(names, ARRAY_SIZE(names));
}

/* What a name mostly has. */
static unsigned int kind_of(const char *name)
{
	unsigned int kind = *name == 'o' ? 1 : name[1] == 'w' ? 4 : 5;

	return one_in(&rng, 6) ? below(&rng, ARRAY_SIZE(kinds)) : kind;
}

static const char *pick_word(void)
{
	static const char * const odd[] = {
		"0", "1", "w0+1", "w1+2", "w3+4", "readonly", "hole",
		"0x7ffffffffffc", "0x7ffffffff000", "0x800000000000",
		"0xffff888000000000", "0xfffffffffffffffc",
	};
	static char buf[16];

	if (one_in(&rng, 10))
		return pick(odd, ARRAY_SIZE(odd));
	snprintf(buf, sizeof(buf), "w%u", 2 * below(&rng, 4));

	return buf;
}

static unsigned int slot(void)
{
	return below(&rng, one_in(&rng, 16) ? 4 : 2);
}

static void step_open(void)
{
	static const char * const flags[] = {
		"rdwr", "rdwr", "wronly", "rdonly", "rdwr|append",
		"rdwr|nonblock", "path", "rdwr|trunc", "rdwr|sync",
		"rdwr|direct", "rdwr|creat", "rdwr|creat|excl",
	};

	switch (below(&rng, 4)) {
	case 0:
		printf("reopen %u %u %s\n", slot(), slot(), pick(flags, ARRAY_SIZE(flags)));
		break;
	case 1:
		printf("dup %u %u\n", slot(), slot());
		break;
	default:
		printf("open %u %s\n", slot(), pick(flags, ARRAY_SIZE(flags)));
	}
}

static void step_close(void)
{
	printf("close %u\n", slot());
}

static const char *pick_size(const char *usual)
{
	static const char * const sizes[] = {
		"0", "4", "8", "15", "16", "17", "27", "28", "29", "29!",
		"64", "64!", "4096", "4096!", "4097", "0xffffffff",
	};

	return one_in(&rng, 8) ? pick(sizes, ARRAY_SIZE(sizes)) : usual;
}

static void step_reg(void)
{
	unsigned int size = one_in(&rng, 4) ? 8 : 4;
	const char *name = pick_name();

	printf("reg %u %s %u %u %s %s ", slot(), pick_size("28"),
	       one_in(&rng, 12) ? below(&rng, 256) : below(&rng, 3) * 10,
	       one_in(&rng, 12) ? below(&rng, 10) : size, pick_flags(),
	       pick_word());
	if (one_in(&rng, 20))
		printf("%s\n", one_in(&rng, 2) ? "@hole" : "@0");
	else
		printf("%s%s\n", name, kinds[kind_of(name)].fields);
}

static void step_unreg(void)
{
	printf("unreg %u %s %u %u %u %s\n", slot(), pick_size("16"),
	       below(&rng, 3) * 10, one_in(&rng, 16), one_in(&rng, 16),
	       pick_word());
}

static void step_del(void)
{
	static const char * const odd[] = { "", "@hole", "@0", "one.0", "on", "one u32 a", "one " };

	printf("del %u %s\n", slot(), one_in(&rng, 6) ? pick(odd, ARRAY_SIZE(odd)) : pick_name());
}

static void step_ioctl(void)
{
	static const char * const numbers[] = {
		"0xc0042a00", "0x40042a01", "0x40042a02", "0x40082a01",
		"0x2a03", "0x80082a00", "0x5401", "0x541b", "0x5421", "0",
		"0x5452",
	};

	printf("ioctl %u %s %s\n", slot(), pick(numbers, ARRAY_SIZE(numbers)), pick_word());
}

/* A payload for @kind; mostly as it has to be. */
static void make_payload(unsigned int kind)
{
	unsigned int size = kinds[kind].size, more = 0, i;
	unsigned int text = below(&rng, 12), location = 0;
	unsigned char byte;

	if (kinds[kind].location >= 0) {
		unsigned int start = kinds[kind].relative ?
			size - kinds[kind].location - 4 : 8 + size;

		more = text + 1;
		location = (one_in(&rng, 6) ? below(&rng, 40) : text + 1) << 16 |
			   (one_in(&rng, 6) ? below(&rng, 40) : start);
	} else if (one_in(&rng, 4)) {
		more = below(&rng, 20);
	}
	if (one_in(&rng, 8))
		size = below(&rng, size + 1);

	for (i = 0; i < size + more; i++) {
		byte = i < size ? below(&rng, 256) : 'a' + i % 26;
		if (i == size + more - 1 && more && !one_in(&rng, 12))
			byte = 0;
		if (kinds[kind].location >= 0 &&
		    i - kinds[kind].location < 4)
			byte = location >> 8 * (i - kinds[kind].location);
		printf("%02x", byte);
	}
	printf("\n");
}

static void step_write(void)
{
	static const char * const hows[] = {
		"write", "write", "write", "writev", "pwrite", "pwritev",
	};
	static const char * const odd[] = {
		"-", "7", "0xffffffff", "0x7fffffff", "0x80000001",
	};
	const char *how = pick(hows, ARRAY_SIZE(hows));

	/* 0x8: RWF_NOWAIT, 0x10: RWF_APPEND, 0x1: RWF_HIPRI, 0x2: RWF_DSYNC */
	printf("write %u %s %d %d ", slot(), how,
	       one_in(&rng, 6) ? (int)below(&rng, 4) * 8 - 8 : 0,
	       one_in(&rng, 6) ? 1 << below(&rng, 6) : 0);
	if (one_in(&rng, 10))
		printf("%s ", pick(odd, ARRAY_SIZE(odd)));
	else
		printf("%u ", below(&rng, 2));
	if (one_in(&rng, 16))
		printf("@hole\n");
	else if (one_in(&rng, 12))
		printf("z%u\n", below(&rng, 4000));
	else
		make_payload(kind_of(pick_name()));
}

static void step_lseek(void)
{
	static const int offsets[] = { 0, 1, -1, 4096 };

	if (one_in(&rng, 3))
		printf("read %u\n", slot());
	else
		printf("lseek %u %d %u\n", slot(),
		       offsets[below(&rng, ARRAY_SIZE(offsets))],
		       below(&rng, 6));
}

static void step_switch(void)
{
	static const char * const systems[] = { "user_events", "user_events_multi" };

	if (one_in(&rng, 8))
		printf("put events/%s/enable %u\n",
		       pick(systems, ARRAY_SIZE(systems)), below(&rng, 2));
	else
		printf("put events/user_events/%s/enable %u\n", pick_name(),
		       below(&rng, 3) != 0);
}

static void step_control(void)
{
	static const char * const lines[] = {
		"put events/user_events/%s/filter a > 5",
		"put events/user_events/%s/filter a == 1 || b < 3",
		"put events/user_events/%s/filter s == \"abc\"",
		"put events/user_events/%s/filter s ~ \"a*\"",
		"put events/user_events/%s/filter 0",
		"put events/user_events/%s/trigger traceoff:1",
		"put events/user_events/%s/trigger hist:keys=a",
		"put events/user_events/%s/trigger !hist:keys=a",
		"put events/user_events/%s/trigger stacktrace:2 if a > 100",
		"put events/user_events/%s/inject a=3",
		"show events/user_events/%s/enable",
		"show events/user_events/%s/filter",
		"show events/user_events/%s/trigger",
		"show events/user_events/%s/format",
		"show events/user_events/%s/hist",
		"look events/user_events/%s",
		"put set_event user_events:%s",
		"put set_event !user_events:%s",
	};

	printf(pick(lines, ARRAY_SIZE(lines)), pick_name());
	printf("\n");
}

static void step_system(void)
{
	static const char * const lines[] = {
		"put /proc/sys/kernel/user_events_max 0",
		"put /proc/sys/kernel/user_events_max 1",
		"put /proc/sys/kernel/user_events_max 3",
		"put /proc/sys/kernel/user_events_max 32768",
		"put /proc/sys/kernel/user_events_max -1",
		"put /proc/sys/kernel/user_events_max x",
		"put /proc/sys/kernel/user_events_max 4294967296",
		"show /proc/sys/kernel/user_events_max",
		"put tracing_on 0", "put tracing_on 1", "put trace ",
		"look events/user_events", "look events/user_events_multi",
		"show set_event", "show available_events_none",
		"put user_events_status x", "show user_events_data",
		"mkdir instances/one", "rmdir instances/one",
		"put instances/one/events/user_events/enable 1",
		"put instances/one/events/user_events/enable 0",
		"look instances/one/events/user_events/one",
		"remount gid=5", "remount mode=755", "remount gid=7,mode=750",
		"chown 65534:65534 0660 user_events_data",
		"chown 0:0 0640 user_events_data",
		"chown 12:34 0644 user_events_status",
	};

	printf("%s\n", pick(lines, ARRAY_SIZE(lines)));
}

static void step_dynamic(void)
{
	static const char * const makes[] = {
		"p:%s do_nanosleep", "s:%s u32 a", "e:%s user_events.%s a=$a",
		"e:%s user_events.%s", "u:user_events/%s u32 a",
	};
	static const char * const deletes[] = {
		"-:%s", "-:%s", "!u:%s", "-:user_events/%s", "!p:%s do_nanosleep",
		"-:kprobes/%s", "-:synthetic/%s", "-:eprobes/%s", "!s:%s u32 a",
		"!u:%s u32 a", "-:%s u32 a", "!u:user_events/%s", "-:%s u32 b",
		"-:user_events_multi/%s", "-u:%s", "!:%s", "-:eprobes/",
	};
	const char *name = pick_name();

	printf("put dynamic_events ");
	switch (below(&rng, 4)) {
	case 0:
	case 1:
		printf("u:%s%s%s", one_in(&rng, 6) ? " " : "", name,
		       kinds[kind_of(name)].fields);
		break;
	case 2:
		printf(pick(makes, ARRAY_SIZE(makes)), name, pick_name());
		break;
	default:
		if (one_in(&rng, 4))
			printf("%s:%s%s", one_in(&rng, 2) ? "-" : "!u", name,
			       kinds[kind_of(name)].fields);
		else
			printf(pick(deletes, ARRAY_SIZE(deletes)), name);
	}
	printf("\n");
}

static void step_perf(void)
{
	if (one_in(&rng, 3))
		printf("unperf %u\n", below(&rng, 2));
	else
		printf("perf %u user_events/%s\n", below(&rng, 2), pick_name());
}

static void step_word(void)
{
	printf("word %u %u\n", 2 * below(&rng, 4), (unsigned int)rng_next(&rng));
}

static const struct {
	void (*make)(void);
	unsigned int weight;
} steps[] = {
	{ step_open, 5 }, { step_close, 3 }, { step_reg, 20 },
	{ step_unreg, 9 }, { step_del, 6 }, { step_ioctl, 2 },
	{ step_write, 18 }, { step_lseek, 2 }, { step_switch, 10 },
	{ step_control, 8 }, { step_system, 5 }, { step_dynamic, 9 },
	{ step_perf, 4 }, { step_word, 1 },
};

static void make_step(void)
{
	unsigned int i, all = 0;
	int left;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		all += steps[i].weight;
	left = below(&rng, all);
	for (i = 0; (left -= steps[i].weight) >= 0; i++)
		;
	steps[i].make();
}

/* Steps of a child or a thread. */
static void make_block(void)
{
	bool child = !one_in(&rng, 3);
	unsigned int i, count = below(&rng, 5);

	printf("%s\n", child ? "fork" : "thread");
	if (child && one_in(&rng, 4))
		printf("uid 65534\n");
	for (i = 0; i < count; i++)
		make_step();
	if (child && one_in(&rng, 4))
		printf("exec\n");
	printf("%s\n", child ? "endfork" : "endthread");
}

static void make_session(unsigned long nr)
{
	unsigned int i, count = 4 + below(&rng, MAX_STEPS - 4);

	printf("session steps %lu\nopen 0 rdwr\n", nr);
	if (one_in(&rng, 2))
		printf("open 1 rdwr\n");
	for (i = 0; i < count; i++) {
		if (one_in(&rng, 16))
			make_block();
		else
			make_step();
	}
}

int main(int argc, char **argv)
{
	unsigned long i, sessions;

	if (argc != 5) {
		fputs("usage: make_sessions SEED COMMANDS SESSIONS CORPUS\n", stderr);
		return 2;
	}
	rng.state = strtoull(argv[1], NULL, 0);
	make_commands(strtoul(argv[2], NULL, 0), argv[4]);
	sessions = strtoul(argv[3], NULL, 0);
	for (i = 0; i < sessions; i++)
		make_session(i);

	return 0;
}
