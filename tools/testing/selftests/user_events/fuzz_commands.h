/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Command strings: made up by the grammar, broken on purpose, or changed at
 * random. Most name an event that is held with other fields, as the answer
 * EADDRINUSE says as well as success that a string was understood, and costs
 * no event.
 */
#ifndef _USER_EVENTS_FUZZ_COMMANDS_H
#define _USER_EVENTS_FUZZ_COMMANDS_H

#include "fuzz.h"

#define MAX_COMMAND	512		/* with its NUL */
#define COMMAND_ROOM	1280		/* of strings that may be too long */
#define POOL_SIZE	512
#define HELD_EVENTS	4
#define FILE_EVENTS	16		/* events until the file is closed */

/* Strings of these are compared with what they have to be understood as. */
enum verdict { VALID, INVALID, UNKNOWN };

struct commands {
	struct rng rng;
	struct coverage *cov;
	int held_fd;			/* keeps the held events */
	int held;			/* how many there are */
	int fd;
	unsigned int fd_events;
	uint32_t held_word, word;
	unsigned long understood;
	unsigned int pool_size;
	char pool[POOL_SIZE][COMMAND_ROOM];
};

static const char * const plain_types[] = {
	"s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "char",
	"unsigned char", "short", "unsigned short", "int", "unsigned int",
	"char[1]", "char[20]", "char[1024]", "char[0x400]", "char[0x0001]",
	"unsigned char[1]", "unsigned char[0x3ff]", "unsigned char[0010]",
};

static const char * const location_types[] = {
	"__data_loc char[]", "__rel_loc char[]", "__data_loc unsigned char[]",
	"__rel_loc unsigned char[]", "__data_loc u8[]", "__rel_loc u64[]",
	"__data_loc int[]", "__rel_loc u32",
};

/* What mutations put in. */
static const char * const tokens[] = {
	"u:", ":", ",", ";", ";;", " ; ", " ", "  ", "\t", "\v", "\f", "\r",
	"u32 a", "s64 b", "char[", "]", "[", "[]", "0x", "0x400", "1024",
	"1025", "-1", "4294967296", "99999999999", "unsigned ", "unsigned",
	"struct ", "struct x y 8", "struct x y", "__data_loc ", "__rel_loc ",
	"__data_loc char[] s", "__rel_loc char[] s", "cpumask_t", "long l",
	"unsigned long l", "void *p", "const char *s", "%s%n%s", "\"", "\\",
	"/", "..", ".", "enable", "filter", "format", "id", "#", "\n", "\x01",
	"\x7f", "\x80", "\xa0", "\xff", "$", "{}", "()", "held0", "held1",
	"bool b", "float f", "char *s", "char s[4]", "a::b", "x<y>", "-", "@", "u8[4] a",
	"common_pid",
};

static const char * const broken_fields[] = {
	"long a", "unsigned long a", "u32", "u32 a 4", "struct x a",
	"struct x a 0", "struct x a -8", "struct x a 8x", "struct a",
	"char[0] a", "char[1025] a", "char[] a", "char[0x401] a", "char[4 a",
	"char[00000010] a", "char[ 4] a", "u8[4] a", "unsigned u8 a",
	"unsigned a", "signed int a", "u32 a\"b", "u32 %s", "u32 a\\b",
	"u32 a b", "u32\240a", "u32 \177", "struct %s a 4",
	"__rel_loc \"x a", "__data_loc const char* a",
	"__data_loc", "__data_loc char[]",
	"__rel_loc a", "__data_loc char[] a 4", "struct x a 4294967296",
	"u65 a", "float a", "void *a", "struct x a 8 8", "U32 a",
};

/* Keeps what fits. */
static void add(char *to, const char *text)
{
	size_t len = strlen(to), more = strlen(text);

	if (more > COMMAND_ROOM - 1 - len)
		more = COMMAND_ROOM - 1 - len;
	memcpy(to + len, text, more);
	to[len + more] = '\0';
}

/* Escaped as in the corpus. */
static const char *escaped(const char *text)
{
	static char buf[4 * COMMAND_ROOM + 1];
	char *to = buf;

	for (; *text; text++) {
		unsigned char c = *text;

		if (c < ' ' || c > '~' || c == '\\')
			to += sprintf(to, "\\x%02x", c);
		else
			*to++ = c;
	}
	*to = '\0';

	return buf;
}

static void unescape(char *text)
{
	char *to = text;
	unsigned int c;

	while (*text) {
		if (!strncmp(text, "\\x", 2) &&
		    sscanf(text + 2, "%2x", &c) == 1) {
			*to++ = c;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

static const char *random_space(struct rng *rng)
{
	static const char * const spaces[] = { "", "", " ", "  ", "\t", " \t" };

	return spaces[below(rng, ARRAY_SIZE(spaces))];
}

static void make_name(struct rng *rng, char *to)
{
	static const char * const odd[] = {
		"", ".x", "..x", "-", "a.b", "enable2", "\xc3\xa9",
		"\xc3\xa0", "(x)", "%s", "'", "\"", "*", "id",
	};
	char name[32];

	if (one_in(rng, 32))
		snprintf(name, sizeof(name), "fresh%u%s", below(rng, 4),
			 odd[below(rng, ARRAY_SIZE(odd))]);
	else
		snprintf(name, sizeof(name), "held%u", below(rng, HELD_EVENTS));
	add(to, name);
}

static void make_field(struct rng *rng, char *to, unsigned int nr)
{
	char field[96];

	switch (below(rng, 4)) {
	case 0:
		snprintf(field, sizeof(field), "%s %sf%u",
			 location_types[below(rng, ARRAY_SIZE(location_types))],
			 random_space(rng), nr);
		break;
	case 1:
		snprintf(field, sizeof(field), "struct s%u %sf%u %u",
			 below(rng, 3), random_space(rng), nr,
			 1 + below(rng, one_in(rng, 8) ? 3000 : 64));
		break;
	default:
		snprintf(field, sizeof(field), "%s %sf%u",
			 plain_types[below(rng, ARRAY_SIZE(plain_types))], random_space(rng), nr);
	}
	add(to, field);
}

/* A valid string by the grammar, or one with a single thing wrong. */
static enum verdict make_command(struct rng *rng, char *to, bool broken)
{
	enum { NOTHING, NO_NAME, TEXT_FLAG, NO_FIELD, BAD_FIELD };
	unsigned int wrong = broken ? 1 + below(rng, 8) : NOTHING;
	unsigned int nr = below(rng, one_in(rng, 4) ? 12 : 4);
	unsigned int at = wrong < NO_FIELD ? ~0U : below(rng, ++nr);
	unsigned int i;

	if (wrong != NO_NAME)
		make_name(rng, to);
	if (wrong == TEXT_FLAG)
		add(to, one_in(rng, 2) ? ":flag" : ":");

	add(to, " ");
	for (i = 0; i < nr; i++) {
		add(to, i ? ";" : "");
		add(to, random_space(rng));
		if (i != at)
			make_field(rng, to, i);
		else
			add(to, wrong == NO_FIELD ? "u32" :
			    broken_fields[below(rng, ARRAY_SIZE(broken_fields))]);
		add(to, random_space(rng));
	}
	if (nr && one_in(rng, 4))
		add(to, "; ");

	return strlen(to) >= MAX_COMMAND || broken ? INVALID : VALID;
}

/* Bytes of the name that starts a string, as the kernel takes spaces. */
static int name_length(const char *text)
{
	return strcspn(text, " \t\n\v\f\r;");
}

static void mutate_once(struct commands *c, char *text)
{
	char tail[COMMAND_ROOM], part[COMMAND_ROOM];
	size_t len = strlen(text);
	size_t keep = one_in(&c->rng, 32) ? 0 : name_length(text);
	const char *from;
	size_t count, at;

	/* A name that is changed is mostly an event that is new: not often. */
	at = keep < len ? keep + 1 : len;
	at += below(&c->rng, len - at + 1);

	switch (below(&c->rng, 8)) {
	case 0:
		if (at < len)
			text[at] = 1 + below(&c->rng, 255);
		return;
	case 1:
		count = 1 << below(&c->rng, 8);
		if (at < len && text[at] != (char)count)
			text[at] ^= count;
		return;
	case 2:
		count = below(&c->rng, 1 + below(&c->rng, len - at + 1));
		memmove(text + at, text + at + count, len - at - count + 1);
		return;
	case 3:
		from = text + below(&c->rng, len + 1);
		break;
	case 4:
		from = c->pool[below(&c->rng, c->pool_size)];
		from += below(&c->rng, strlen(from) + 1);
		break;
	default:
		from = tokens[below(&c->rng, ARRAY_SIZE(tokens))];
	}

	/* Put it in, or in place of all that follows. */
	count = below(&c->rng, 4) ? COMMAND_ROOM - 1 : below(&c->rng, 64);
	count = strnlen(from, count);
	memcpy(part, from, count);
	part[count] = '\0';
	memcpy(tail, text + at, len - at + 1);
	text[at] = '\0';
	add(text, part);
	if (!one_in(&c->rng, 8))
		add(text, tail);
}

static void pad_to_limit(struct rng *rng, char *text)
{
	size_t want = MAX_COMMAND - 3 + below(rng, 5);

	while (strlen(text) < want)
		add(text, one_in(rng, 2) ? " " : "x");
}

/* Under the name of an event that is there, for the cost of a new one. */
static void take_from_pool(struct commands *c, char *text)
{
	const char *from = c->pool[below(&c->rng, c->pool_size)];

	if (!one_in(&c->rng, 32)) {
		snprintf(text, COMMAND_ROOM, "held%u",
			 below(&c->rng, HELD_EVENTS));
		from += name_length(from);
	}
	add(text, from);
}

static enum verdict next_command(struct commands *c, char *text)
{
	unsigned int kind = below(&c->rng, 8);
	unsigned int count;

	*text = '\0';
	if (kind == 0)
		return make_command(&c->rng, text, false);
	if (kind == 1)
		return make_command(&c->rng, text, true);

	if (kind == 2)
		make_command(&c->rng, text, false);
	else
		take_from_pool(c, text);

	for (count = 1 + below(&c->rng, 4); count; count--)
		mutate_once(c, text);
	if (one_in(&c->rng, 64))
		pad_to_limit(&c->rng, text);

	return strlen(text) >= MAX_COMMAND ? INVALID : UNKNOWN;
}

static void reopen(struct commands *c)
{
	int active;

	close(c->fd);
	c->fd = ue_open();
	if (c->fd < 0)
		fail("open: %s", strerror(-c->fd));

	c->fd_events = 0;
	active = ue_active();
	if (active != c->held)
		fail("%d events, not %d, with all others closed", active,
		     c->held);
}

static bool is_held(const char *text)
{
	return name_length(text) == 5 && !strncmp(text, "held", 4) &&
	       text[4] >= '0' && text[4] < '0' + HELD_EVENTS;
}

/* What the latest event shows of itself has to mean that event again. */
static void check_round_trip(struct commands *c, const char *text, int index)
{
	static char list[64 * 1024];
	char *line, *end;
	int again, ret;

	ret = ue_read("dynamic_events", list, sizeof(list));
	if (ret < 0)
		fail("dynamic_events: %s", strerror(-ret));

	end = strrchr(list, '\n');
	if (!end)
		fail("no line in dynamic_events for \"%s\"", escaped(text));
	*end = '\0';
	line = strrchr(list, '\n');
	line = line ? line + 1 : list;
	if (strncmp(line, USER_EVENTS_PREFIX, 2))
		fail("\"%s\" is shown without its prefix", escaped(text));

	/* Spaces are added to it. */
	if (strlen(line + 2) >= MAX_COMMAND)
		return;

	ret = ue_reg(c->fd, line + 2, &c->word, 1, &again);
	if (ret || again != index)
		fail("\"%s\" is shown as another event: %d, index %d not %d",
		     escaped(text), ret, again, index);
	ret = ue_unreg(c->fd, &c->word, 1);
	if (ret)
		fail("unregister \"%s\": %d", escaped(text), ret);
}

/*
 * dynamic_events has to understand it in the same way, while the event is
 * there. It reads lines, has comments, and takes spaces in front: nothing for
 * strings with them. Nor for one that is too long for the ioctl: a listing has
 * more spaces than what was registered, and dynamic_events takes it back.
 */
static bool check_dynamic(const char *text, int expected)
{
	char line[COMMAND_ROOM + 2];
	int ret;

	if (strpbrk(text, "\n#") || strchr(" \t\v\f\r", *text) ||
	    strlen(text) >= MAX_COMMAND)
		return false;

	snprintf(line, sizeof(line), USER_EVENTS_PREFIX "%s", text);
	ret = ue_write("dynamic_events", line);
	if (ret != expected)
		fail("dynamic_events: %d, the ioctl: %d, for \"%s\"", ret,
		     expected, escaped(text));

	return !ret;
}

/* An event made by dynamic_events stays until it is deleted. */
static void delete_persistent(struct commands *c, const char *text)
{
	char name[COMMAND_ROOM];
	int ret;

	snprintf(name, sizeof(name), "%.*s", name_length(text), text);
	close(c->fd);
	c->fd = ue_open();
	ret = ue_del(c->fd, name);
	if (ret)
		fail("delete of \"%s\": %d", escaped(name), ret);
	reopen(c);
}

static void understood(struct commands *c, const char *text, int index)
{
	bool persistent = false;
	bool is_new = index == (int)c->fd_events;
	int ret;

	c->fd_events += is_new;
	if (is_new && !is_held(text)) {
		if (one_in(&c->rng, 2))
			check_round_trip(c, text, index);
		if (one_in(&c->rng, 8))
			persistent = check_dynamic(text, 0);
	}

	ret = ue_unreg(c->fd, &c->word, 0);
	if (ret)
		fail("unregister \"%s\": %d", escaped(text), ret);
	if (persistent)
		delete_persistent(c, text);
	else if (c->fd_events >= FILE_EVENTS)
		reopen(c);
}

static void add_to_pool(struct commands *c, const char *text)
{
	unsigned int at = c->pool_size < POOL_SIZE ? c->pool_size++ :
			  below(&c->rng, POOL_SIZE);

	*c->pool[at] = '\0';
	add(c->pool[at], text);
}

/* Returns what the kernel said. */
static int try_command(struct commands *c, const char *text,
		       enum verdict verdict)
{
	int index, ret;

	coverage_reset(c->cov);
	ret = ue_reg(c->fd, text, &c->word, 0, &index);
	if (coverage_new(c->cov))
		add_to_pool(c, text);

	if (ret && ret != -EINVAL && ret != -EADDRINUSE)
		fail("register: %d for \"%s\"", ret, escaped(text));
	if ((ret == -EINVAL ? VALID : INVALID) == verdict)
		fail("%s string %s: \"%s\"",
		     verdict == VALID ? "a valid" : "an invalid",
		     ret ? "refused" : "accepted", escaped(text));

	if (!ret)
		understood(c, text, index);
	else if (one_in(&c->rng, 64))
		check_dynamic(text, ret);

	c->understood += ret != -EINVAL;

	return ret;
}

static int errno_of(const char *name)
{
	static const struct {
		const char *name;
		int value;
	} known[] = {
		{ "0", 0 }, { "EINVAL", -EINVAL }, { "EADDRINUSE", -EADDRINUSE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (!strcmp(known[i].name, name))
			return known[i].value;
	}
	fail("no errno of the corpus: %s", name);
}

/* Replays what is kept: lines of an errno, a tab and a string. */
static void replay_corpus(struct commands *c, const char *file)
{
	char line[4 * COMMAND_ROOM], *text;
	FILE *corpus = fopen(file, "r");
	unsigned long count = 0;
	int expected, ret;

	if (!corpus)
		fail("%s: %s", file, strerror(errno));

	while (fgets(line, sizeof(line), corpus)) {
		line[strcspn(line, "\n")] = '\0';
		if (*line == '#' || !*line)
			continue;
		text = strchr(line, '\t');
		if (!text || strlen(text) >= COMMAND_ROOM)
			fail("no line of a corpus: \"%s\"", escaped(line));
		*text++ = '\0';
		expected = errno_of(line);
		unescape(text);

		snprintf(where, sizeof(where), "corpus");
		ret = try_command(c, text, UNKNOWN);
		if (ret != expected)
			fail("%d, not %s, for \"%s\"", ret, line,
			     escaped(text));
		reopen(c);
		add_to_pool(c, text);
		count++;
	}
	fclose(corpus);
	printf("# corpus: %lu strings\n", count);
}

static void hold_events(struct commands *c)
{
	static const char * const held[HELD_EVENTS] = {
		"held0", "held1 u32 f0", "held2 char[20] f0; s64 f1",
		"held3 __data_loc char[] f0",
	};
	int i, ret;

	c->held_fd = ue_open();
	c->fd = ue_open();
	for (i = 0; i < HELD_EVENTS; i++) {
		ret = ue_reg(c->held_fd, held[i], &c->held_word, i, NULL);
		if (ret)
			fail("register \"%s\": %d", held[i], ret);
		c->held++;
		add_to_pool(c, held[i]);
	}
}

static void fuzz_commands(uint64_t seed, unsigned long count,
			  const char *corpus, struct coverage *cov)
{
	static struct commands c;
	char text[COMMAND_ROOM];
	enum verdict verdict;
	unsigned long i;

	c.rng.state = seed;
	c.cov = cov;
	snprintf(where, sizeof(where), "commands");
	coverage_start(cov);
	hold_events(&c);
	replay_corpus(&c, corpus);

	for (i = 0; i < count; i++) {
		snprintf(where, sizeof(where), "seed %llu command %lu",
			 (unsigned long long)seed, i);
		verdict = next_command(&c, text);
		try_command(&c, text, verdict);

		if (i % 4096 == 4095) {
			alarm(STUCK_AFTER);
			check_taint();
		}
		if (!((i + 1) % (count / 10 ?: 1)))
			printf("# %lu commands: %lu understood, pool %u, %u places of the kernel\n",
			       i + 1, c.understood, c.pool_size, *cov->count);
	}

	for (i = 0; i < HELD_EVENTS; i++) {
		if (ue_unreg(c.fd, &c.held_word, i))
			fail("cannot unregister held%lu", i);
	}
	c.held = 0;
	close(c.held_fd);
	reopen(&c);
	close(c.fd);
	coverage_stop(cov);
}

#endif /* _USER_EVENTS_FUZZ_COMMANDS_H */
