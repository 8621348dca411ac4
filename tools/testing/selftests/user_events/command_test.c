// SPDX-License-Identifier: GPL-2.0
/*
 * Command strings: what they accept and refuse, which of them mean the same
 * event, and how tracefs shows what was understood.
 */
#include <stddef.h>

#include "user_events_selftests.h"

/* A field's type as written, its bytes, its part of the print fmt. */
struct type {
	const char *name;
	const char *size_arg;	/* what has to follow the field's name */
	int size;
	int is_signed;		/* -1: not part of the interface */
	const char *fmt;
	const char *arg;
};

static const struct type types[] = {
	{ "s8", "", 1, 1, "%d", "REC->f" },
	{ "u8", "", 1, 0, "%u", "REC->f" },
	{ "s16", "", 2, 1, "%d", "REC->f" },
	{ "u16", "", 2, 0, "%u", "REC->f" },
	{ "s32", "", 4, 1, "%d", "REC->f" },
	{ "u32", "", 4, 0, "%u", "REC->f" },
	{ "s64", "", 8, 1, "%lld", "REC->f" },
	{ "u64", "", 8, 0, "%llu", "REC->f" },
	{ "char", "", 1, -1, "%d", "REC->f" },
	{ "unsigned char", "", 1, 0, "%u", "REC->f" },
	{ "short", "", 2, 1, "%d", "REC->f" },
	{ "unsigned short", "", 2, 0, "%u", "REC->f" },
	{ "int", "", 4, 1, "%d", "REC->f" },
	{ "unsigned int", "", 4, 0, "%u", "REC->f" },
	{ "char[1]", "", 1, -1, "%s", "REC->f" },
	{ "char[20]", "", 20, -1, "%s", "REC->f" },
	{ "char[1024]", "", 1024, -1, "%s", "REC->f" },
	{ "char[0x10]", "", 16, -1, "%s", "REC->f" },
	{ "char[0x0400]", "", 1024, -1, "%s", "REC->f" },
	{ "char[0X10]", "", 16, -1, "%s", "REC->f" },
	{ "char[010]", "", 8, -1, "%s", "REC->f" },
	{ "unsigned char[1]", "", 1, -1, "%s", "REC->f" },
	{ "unsigned char[0x3ff]", "", 1023, -1, "%s", "REC->f" },
	{ "__data_loc char[]", "", 4, -1, "%s", "__get_str(f)" },
	{ "__rel_loc char[]", "", 4, -1, "%s", "__get_rel_str(f)" },
	{ "__data_loc unsigned char[]", "", 4, -1, "%s", "__get_str(f)" },
	{ "__rel_loc unsigned char[]", "", 4, -1, "%s", "__get_rel_str(f)" },
	{ "__data_loc u8[]", "", 4, -1, "%llu", "REC->f" },
	{ "__rel_loc u64[]", "", 4, -1, "%llu", "REC->f" },
	{ "__rel_loc int[]", "", 4, -1, "%llu", "REC->f" },
	{ "struct timespec", " 16", 16, -1, "%llu", "REC->f" },
	{ "struct a", " 1", 1, -1, "%llu", "REC->f" },
	{ "struct big", " 3000", 3000, -1, "%llu", "REC->f" },
	{ "struct ns::foo", " 8", 8, -1, "%llu", "REC->f" },
	{ "struct foo<int>", " 8", 8, -1, "%llu", "REC->f" },
	{ "struct foo*", " 8", 8, -1, "%llu", "REC->f" },
	{ "struct \xc3\xa9", " 8", 8, -1, "%llu", "REC->f" },
	{ "__rel_loc std::string", "", 4, -1, "%llu", "REC->f" },
};

FIXTURE(command) {
	int fd;
	uint32_t word;
	char text[16384];
};

FIXTURE_SETUP(command)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN_PARENT(command)
{
	EXPECT_EQ(0, ue_sweep());
}

/* Registers on a file of its own and lets go of the event again. */
static int try_command(const char *args)
{
	uint32_t word = 0;
	int fd = ue_open();
	int ret;

	if (fd < 0)
		return fd;

	ret = ue_reg(fd, args, &word, 0, NULL);
	if (!ret)
		ue_unreg(fd, &word, 0);
	close(fd);

	return ret;
}

/* Unregisters the first bits of a word; how many of them it could not. */
static int unreg_bits(int fd, const uint32_t *word, int count)
{
	int failed = 0;

	for (int bit = 0; bit < count; bit++)
		failed += !!ue_unreg(fd, word, bit);

	return failed;
}

/*
 * Finds a field in the text of a format file, as "NAME" or "NAME[...]", and
 * its numbers. Returns the offset, or a negative error.
 */
static int find_field(const char *text, const char *name, int *size,
		      int *is_signed)
{
	size_t len = strlen(name);

	while ((text = strstr(text, "\tfield:"))) {
		const char *end = strchr(text, ';');
		const char *pos;
		int offset;

		if (!end)
			break;

		pos = end;
		while (pos > text && pos[-1] != ' ')
			pos--;
		text = end;
		if (strncmp(pos, name, len) ||
		    (pos[len] != ';' && pos[len] != '['))
			continue;

		if (sscanf(end, ";\toffset:%d;\tsize:%d;\tsigned:%d;",
			   &offset, size, is_signed) != 3)
			break;
		return offset;
	}

	return -ENOENT;
}

/* Text after "print fmt: " to the end of its line. */
static const char *print_fmt(char *text)
{
	const char *key = "\nprint fmt: ";
	char *pos = strstr(text, key);

	if (!pos)
		return "(none)";

	pos += strlen(key);
	pos[strcspn(pos, "\n")] = '\0';

	return pos;
}

static int has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	while (text && *text) {
		if (!strncmp(text, line, len) && text[len] == '\n')
			return 1;
		text = strchr(text, '\n');
		text += !!text;
	}

	return 0;
}

/* Where the fields of an event start. */
#define FIRST_OFFSET 8

/* Number in an array's type, and " f[N];" as its format shows it, else 0. */
static long array_length(const char *type, char *shown, size_t size)
{
	const char *at = strchr(type, '[');
	long length = at && *type != '_' ? strtol(at + 1, NULL, 0) : 0;

	snprintf(shown, size, " f[%ld];", length);

	return length;
}

UE_TEST_F(command, each_type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct type *type = &types[i];
		int bit = i % 32, size = -1, is_signed = -1;
		char args[256], name[32], fmt[256];

		snprintf(name, sizeof(name), "cmd_type%zu", i);
		snprintf(args, sizeof(args), "%s %s f%s; u8 after", name,
			 type->name, type->size_arg);
		ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, bit, NULL))
			TH_LOG("%s", args);
		ASSERT_LT(0, ue_read(ue_event_file(name, "format"), self->text,
				     sizeof(self->text)));

		EXPECT_EQ(FIRST_OFFSET, find_field(self->text, "f", &size,
						   &is_signed));
		EXPECT_EQ(type->size, size)
			TH_LOG("%s", args);
		EXPECT_EQ(!!array_length(type->name, fmt, sizeof(fmt)),
			  !!strstr(self->text, fmt))
			TH_LOG("%s", self->text);
		if (type->is_signed >= 0) {
			EXPECT_EQ(type->is_signed, is_signed)
				TH_LOG("%s", args);
		}
		EXPECT_EQ(FIRST_OFFSET + type->size,
			  find_field(self->text, "after", &size, &is_signed));
		EXPECT_EQ(1, size);
		snprintf(fmt, sizeof(fmt), "\"f=%s after=%%u\", %s, REC->after",
			 type->fmt, type->arg);
		EXPECT_STREQ(fmt, print_fmt(self->text));

		/* What it shows is what it was told. */
		snprintf(args, sizeof(args), "u:%s %s f%s; u8 after", name,
			 type->name, type->size_arg);
		ASSERT_LT(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		EXPECT_EQ(1, has_line(self->text, args))
			TH_LOG("no line '%s'", args);

		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, bit));
	}
}

/* Fields are packed: nothing is aligned. */
UE_TEST_F(command, offsets)
{
	const struct {
		const char *name;
		int offset;
		int size;
	} fields[] = {
		{ "common_type", 0, 2 },
		{ "common_flags", 2, 1 },
		{ "common_preempt_count", 3, 1 },
		{ "common_pid", 4, 4 },
		{ "a", 8, 1 },
		{ "b", 9, 8 },
		{ "c", 17, 2 },
		{ "d", 19, 3 },
		{ "e", 22, 4 },
		{ "f", 26, 5 },
		{ "g", 31, 4 },
	};
	const char *args =
		"cmd_off u8 a; u64 b; short c; char[3] d; __data_loc char[] e; struct s f 5; int g";
	const char *fmt = "\"a=%u b=%llu c=%d d=%s e=%s f=%llu g=%d\", ";
	const char *rec =
		"REC->a, REC->b, REC->c, REC->d, __get_str(e), REC->f, REC->g";
	const char *text;
	int size, is_signed;

	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, NULL));
	ASSERT_LT(0, ue_read(ue_event_file("cmd_off", "format"),
			     self->text, sizeof(self->text)));
	EXPECT_EQ(0, strncmp(self->text, "name: cmd_off\nID: ", 18));

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		EXPECT_EQ(fields[i].offset,
			  find_field(self->text, fields[i].name, &size,
				     &is_signed))
			TH_LOG("field %s", fields[i].name);
		EXPECT_EQ(fields[i].size, size);
	}
	text = print_fmt(self->text);
	EXPECT_EQ(0, strncmp(text, fmt, strlen(fmt)))
		TH_LOG("print fmt: %s", text);
	EXPECT_STREQ(rec, text + strlen(fmt));
}

UE_TEST_F(command, no_fields)
{
	char *pos;
	int lines = 0;

	ASSERT_EQ(0, ue_reg(self->fd, "cmd_no_fields", &self->word, 0, NULL));
	ASSERT_LT(0, ue_read(ue_event_file("cmd_no_fields", "format"),
			     self->text, sizeof(self->text)));
	for (pos = self->text; (pos = strstr(pos, "\tfield:")); pos++)
		lines++;
	EXPECT_EQ(4, lines);
	EXPECT_STREQ("\"\"", print_fmt(self->text));

	ASSERT_LT(0, ue_read("dynamic_events", self->text,
			     sizeof(self->text)));
	EXPECT_EQ(1, has_line(self->text, "u:cmd_no_fields"));
}

UE_TEST_F(command, refused)
{
	static const char * const bad[] = {
		"",
		" ",
		/* text flags, of which there are none */
		"cmd_bad:flag",
		"cmd_bad:flag u32 a",
		"cmd_bad:f,g u32 a",
		"cmd_bad:1 u32 a",
		"cmd_bad:persist u32 a",
		/* types that there are not */
		"cmd_bad long a",
		"cmd_bad unsigned long a",
		"cmd_bad long long a",
		"cmd_bad unsigned a",
		"cmd_bad signed int a",
		"cmd_bad u128 a",
		"cmd_bad U32 a",
		"cmd_bad float a",
		"cmd_bad double a",
		"cmd_bad bool a",
		"cmd_bad size_t a",
		"cmd_bad void a",
		"cmd_bad char * a",
		"cmd_bad unsigned u32 a",
		"cmd_bad u32[2] a",
		"cmd_bad int[2] a",
		"cmd_bad unsigned int[2] a",
		"cmd_bad u8[16] a",
		"cmd_bad s8[16] a",
		/* sizes of arrays */
		"cmd_bad char[0] a",
		"cmd_bad char[0x0] a",
		"cmd_bad char[1025] a",
		"cmd_bad char[0x401] a",
		"cmd_bad char[99999] a",
		"cmd_bad char[999999] a",
		"cmd_bad char[0x00400] a",
		"cmd_bad char[0000016] a",
		"cmd_bad char[-1] a",
		"cmd_bad char[] a",
		"cmd_bad char[x] a",
		"cmd_bad char[1k] a",
		"cmd_bad char[4294967297] a",
		"cmd_bad char[1 a",
		"cmd_bad char] a",
		"cmd_bad char[4]x a",
		"cmd_bad char[4][4] a",
		"cmd_bad char [4] a",
		"cmd_bad unsigned char[0] a",
		"cmd_bad unsigned char[1025] a",
		"cmd_bad unsigned char[] a",
		/* a field that lacks a part, or has one too many */
		"cmd_bad u32",
		"cmd_bad unsigned int",
		"cmd_bad char[4]",
		"cmd_bad __data_loc",
		"cmd_bad __data_loc char[]",
		"cmd_bad __rel_loc char[]",
		"cmd_bad struct",
		"cmd_bad struct s",
		"cmd_bad struct s a",
		"cmd_bad u32 a b",
		"cmd_bad u32 a 4",
		"cmd_bad char[4] a 4",
		"cmd_bad struct s a x",
		"cmd_bad struct s a 0x10",
		"cmd_bad struct s a 16k",
		"cmd_bad struct s a -16",
		"cmd_bad struct s a 16 16",
		"cmd_bad struct s a 99999999999",
		"cmd_bad __data_loc char[] a 4",
		"cmd_bad __data_loc const char * a",
		/* separators */
		"cmd_bad u32 a, u32 b",
		"cmd_bad u32 a u32 b",
		"cmd_bad u32\240a",
		/* names of fields and words of types: other parsers read them */
		"cmd_bad u32 a\"b",
		"cmd_bad u32 a\\b",
		"cmd_bad u32 %s",
		"cmd_bad u32 a\001b",
		"cmd_bad u32 \177",
		"cmd_bad struct %s a 4",
		"cmd_bad struct \"s\" a 4",
		"cmd_bad __data_loc %s a",
		"cmd_bad __data_loc \\ a",
		/* the last of several fields */
		"cmd_bad u32 a; u32",
		"cmd_bad u32 a; long b",
		"cmd_bad u32 a; u32 b; char[1025] c",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, try_command(bad[i]))
			TH_LOG("'%s'", bad[i]);
	}
	EXPECT_EQ(0, ue_event_exists("cmd_bad"));
	EXPECT_EQ(0, ue_active());
}

/* A command of @len bytes, its NUL included. */
static void long_command(char *buf, size_t len)
{
	size_t pos = sprintf(buf, "cmd_long u8 f0");
	int i = 1;

	while (len - pos > 32)
		pos += sprintf(buf + pos, "; u8 f%d", i++);

	pos += sprintf(buf + pos, "; u8 last");
	memset(buf + pos, 'x', len - pos - 1);
	buf[len - 1] = '\0';
}

UE_TEST_F(command, length)
{
	char buf[8192];

	long_command(buf, 511);
	ASSERT_EQ(0, ue_reg(self->fd, buf, &self->word, 0, NULL));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);

	self->fd = ue_open();
	long_command(buf, 512);
	ASSERT_EQ(511, strlen(buf));
	ASSERT_EQ(0, ue_reg(self->fd, buf, &self->word, 0, NULL));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);
	EXPECT_EQ(0, ue_event_exists("cmd_long"));

	for (size_t len = 513; len <= sizeof(buf); len += len - 512) {
		long_command(buf, len);
		EXPECT_EQ(-EINVAL, try_command(buf))
			TH_LOG("%zu bytes", len);
	}

	/* Blanks at the end count as well. */
	memset(buf, ' ', sizeof(buf));
	memcpy(buf, "cmd_long u32 a;", 15);
	buf[512] = '\0';
	EXPECT_EQ(-EINVAL, try_command(buf));
	EXPECT_EQ(0, ue_event_exists("cmd_long"));
}

UE_TEST_F(command, same_event)
{
	static const char * const same[] = {
		"cmd_same u32 a; char[8] b; struct s c 4",
		"cmd_same u32 a; char[8] b; struct s c 4;",
		"cmd_same u32 a; char[8] b; struct s c 4 ;",
		"cmd_same u32 a; char[8] b; struct s c 4; ",
		"cmd_same u32 a;char[8] b;struct s c 4",
		"cmd_same u32 a;char[8] b;struct s c 4;",
		"cmd_same u32 a ; char[8] b ; struct s c 4 ; ",
		"cmd_same u32 a  ;  char[8] b   ;struct s c 4",
		"cmd_same u32 a;;char[8] b; ;struct s c 4",
		"cmd_same ;u32 a;char[8] b;struct s c 4",
		"cmd_same ; ;u32 a;char[8] b;struct s c 4;;",
	};
	int index;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		EXPECT_EQ(0, ue_reg(self->fd, same[i], &self->word, i, &index))
			TH_LOG("'%s'", same[i]);
		EXPECT_EQ(0, index);
	}
	EXPECT_EQ(1, ue_active());

	/* Each of them may be the first. */
	EXPECT_EQ(0, unreg_bits(self->fd, &self->word, ARRAY_SIZE(same)));
	close(self->fd);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		EXPECT_EQ(0, ue_reg(self->fd, same[i], &self->word, 0, NULL));
		EXPECT_EQ(0, try_command(same[0]))
			TH_LOG("after '%s'", same[i]);
		ASSERT_LT(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		EXPECT_EQ(1, has_line(self->text,
				      "u:cmd_same u32 a; char[8] b; struct s c 4"));
		EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		close(self->fd);
	}
}

UE_TEST_F(command, trailing_separator_without_fields)
{
	static const char * const same[] = {
		"cmd_bare", "cmd_bare ", "cmd_bare;", "cmd_bare ;",
		"cmd_bare ; ", "cmd_bare ;;", "cmd_bare ; ; ",
	};
	static const char * const bad[] = {
		"cmd_bare; u32 a", "cmd_bare;u32 a",
	};
	int index;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		EXPECT_EQ(0, ue_reg(self->fd, same[i], &self->word, i, &index))
			TH_LOG("'%s'", same[i]);
		EXPECT_EQ(0, index);
	}
	EXPECT_EQ(1, ue_active());
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, try_command(bad[i]))
			TH_LOG("'%s'", bad[i]);
	}
}

/* The last byte of the name would be a space in Latin-1. */
UE_TEST_F(command, name_in_utf8)
{
	const char *name = "cmd_voil\xc3\xa0";

	ASSERT_EQ(0, ue_reg(self->fd, "cmd_voil\xc3\xa0 u32 a; u8 b",
			    &self->word, 0, NULL));
	EXPECT_EQ(1, ue_event_exists(name));
	EXPECT_LT(0, ue_status(name, self->text, sizeof(self->text)));
	ASSERT_LT(0, ue_read("dynamic_events", self->text,
			     sizeof(self->text)));
	EXPECT_EQ(1, has_line(self->text, "u:cmd_voil\xc3\xa0 u32 a; u8 b"));

	/* It is not that of the name's first bytes. */
	EXPECT_EQ(0, try_command("cmd_voil\xc3 u64 c"));
	EXPECT_EQ(-EADDRINUSE, try_command(name));

	ASSERT_EQ(0, ue_write("dynamic_events", "u:cmd_l\xc3\xa0 u32 a"));
	EXPECT_EQ(0, ue_del(self->fd, "cmd_l\xc3\xa0"));
}

/* What programs call their fields, by which formats and filters find them. */
UE_TEST_F(command, field_names)
{
	static const char * const names[] = {
		"my-field", "my.field", "@timestamp", "a:b", "\xc3\xa9",
		"\xc3\xa0", "a[4]", "1a", "4", "a,b", "(x)", "a/b", "a'b",
		"$x", "*", "<>", "a=b", "{}", "#",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int size, is_signed;
		char args[128];

		snprintf(args, sizeof(args), "cmd_named u16 %s; u8 after",
			 names[i]);
		ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, NULL))
			TH_LOG("'%s'", args);
		ASSERT_LT(0, ue_read(ue_event_file("cmd_named", "format"),
				     self->text, sizeof(self->text)));
		EXPECT_EQ(FIRST_OFFSET, find_field(self->text, names[i], &size,
						   &is_signed))
			TH_LOG("%s", self->text);
		EXPECT_EQ(2, size);
		snprintf(args, sizeof(args),
			 "\"%s=%%u after=%%u\", REC->%s, REC->after",
			 names[i], names[i]);
		EXPECT_STREQ(args, print_fmt(self->text));

		snprintf(args, sizeof(args), "u:cmd_named u16 %s; u8 after",
			 names[i]);
		ASSERT_LT(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		EXPECT_EQ(1, has_line(self->text, args));

		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		close(self->fd);
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
	}
}

/* An event has a directory beside the files of its system. */
UE_TEST_F(command, event_names)
{
	static const char * const clash[] = { "enable u32 a", "filter u32 a" };
	char name[300];

	for (size_t i = 0; i < ARRAY_SIZE(clash); i++) {
		EXPECT_EQ(-EINVAL, try_command(clash[i]));
		EXPECT_EQ(0, ue_reg_full(self->fd, clash[i],
					 USER_EVENT_REG_MULTI_FORMAT,
					 &self->word, 4, i, NULL));
	}
	EXPECT_EQ(2, ue_active());
	EXPECT_EQ(0, unreg_bits(self->fd, &self->word, 2));

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	EXPECT_EQ(-EINVAL, try_command(name));
	EXPECT_EQ(-EINVAL, ue_reg_full(self->fd, name,
				       USER_EVENT_REG_MULTI_FORMAT,
				       &self->word, 4, 0, NULL));
	name[255] = '\0';
	EXPECT_EQ(0, ue_reg(self->fd, name, &self->word, 0, NULL));
	EXPECT_EQ(1, ue_event_exists(name));
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 0));

	/* NAME.ID */
	EXPECT_EQ(-EINVAL, ue_reg_full(self->fd, name,
				       USER_EVENT_REG_MULTI_FORMAT,
				       &self->word, 4, 0, NULL));
	name[255 - 17] = '\0';
	EXPECT_EQ(0, ue_reg_full(self->fd, name, USER_EVENT_REG_MULTI_FORMAT,
				 &self->word, 4, 0, NULL));
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 0));
}

UE_TEST_F(command, other_fields)
{
	static const char * const other[] = {
		"cmd_other",
		"cmd_other u32 a",
		"cmd_other u32 a; char[8] b",
		"cmd_other u32 a; char[8] b; struct s c 4; u8 d",
		"cmd_other char[8] b; u32 a; struct s c 4",
		"cmd_other u32 x; char[8] b; struct s c 4",
		"cmd_other s32 a; char[8] b; struct s c 4",
		"cmd_other int a; char[8] b; struct s c 4",
		"cmd_other u64 a; char[8] b; struct s c 4",
		"cmd_other u32 a; char[9] b; struct s c 4",
		"cmd_other u32 a; unsigned char[8] b; struct s c 4",
		"cmd_other u32 a; char[8] b; struct s c 5",
		"cmd_other u32 a; char[8] b; struct t c 4",
		"cmd_other u32 a; char[8] b; struct s cc 4",
		"cmd_other u32 a; char[8] b; u32 c",
	};
	int index;

	ASSERT_EQ(0, ue_reg(self->fd,
			    "cmd_other u32 a; char[8] b; struct s c 4",
			    &self->word, 0, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		EXPECT_EQ(-EADDRINUSE, try_command(other[i]))
			TH_LOG("'%s'", other[i]);
		EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, other[i], &self->word,
					      1, NULL));
		EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &self->word, 1));
	}

	/* Names that only start alike are others. */
	EXPECT_EQ(0, ue_reg(self->fd, "cmd_othe u64 z", &self->word, 2,
			    &index));
	EXPECT_EQ(1, index);
	EXPECT_EQ(0, ue_reg(self->fd, "cmd_other2 u64 z", &self->word, 3,
			    &index));
	EXPECT_EQ(2, index);

	/* An event without fields is told from one with fields, too. */
	ASSERT_EQ(0, ue_reg(self->fd, "cmd_none", &self->word, 4, NULL));
	EXPECT_EQ(-EADDRINUSE, try_command("cmd_none u8 a"));
}

/* ID of the newest event NAME.ID in dynamic directories, or an error. */
static long multi_id(const char *name)
{
	char *text = ue_status_text(), *pos = text;
	size_t len = strlen(name);
	long newest = -ENOENT;

	while (pos && *pos && *pos != '\n') {
		char *end = NULL;

		if (!strncmp(pos, name, len) && pos[len] == '.') {
			char *id = pos + len + 1;
			long value = strtol(id, &end, 16);

			/* lower-case hex, and no more digits than it takes */
			if ((size_t)(end - id) != strspn(id, "0123456789abcdef") ||
			    (*id == '0' && end - id > 1) ||
			    (*end != ' ' && *end != '\n')) {
				newest = -EINVAL;
				break;
			}
			if (value > newest)
				newest = value;
		}
		pos = strchr(pos, '\n');
		pos += !!pos;
	}
	free(text);

	return newest;
}

static int multi_exists(const char *name, long id)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "events/" USER_EVENTS_MULTI_SYSTEM
		 "/%s.%lx/format", name, id);
	fd = ue_open_file(path, O_RDONLY);
	if (fd < 0)
		return 0;

	close(fd);

	return 1;
}

static int reg_multi(int fd, const char *args, uint32_t *word, int bit,
		     int *index)
{
	return ue_reg_full(fd, args, USER_EVENT_REG_MULTI_FORMAT, word,
			   sizeof(*word), bit, index);
}

UE_TEST_F(command, formats_of_one_name)
{
	uint32_t single = 0;
	long first, id;
	int index;

	for (int i = 0; i < 32; i++) {
		char args[64];

		snprintf(args, sizeof(args), "cmd_multi char[%d] a", i + 1);
		ASSERT_EQ(0, reg_multi(self->fd, args, &self->word, i, &index));
		EXPECT_EQ(i, index);
		id = multi_id("cmd_multi");
		if (!i)
			first = id;
		ASSERT_LE(0, id);
		EXPECT_EQ(first + i, id);
		EXPECT_EQ(1, multi_exists("cmd_multi", id));
	}
	EXPECT_EQ(32, ue_active());

	/* The same format is the same event. */
	for (int i = 0; i < 32; i++) {
		uint32_t word = 0;
		char args[64];

		snprintf(args, sizeof(args), "cmd_multi char[%d] a;", i + 1);
		EXPECT_EQ(0, reg_multi(self->fd, args, &word, i, &index));
		EXPECT_EQ(i, index);
		EXPECT_EQ(0, ue_unreg(self->fd, &word, i));
	}
	EXPECT_EQ(32, ue_active());
	EXPECT_EQ(0, ue_event_exists("cmd_multi"));

	/* The name alone, as one of a single format, is still free. */
	EXPECT_EQ(0, ue_reg(self->fd, "cmd_multi u32 other", &single, 0,
			    &index));
	EXPECT_EQ(32, index);
	EXPECT_EQ(1, ue_event_exists("cmd_multi"));
	EXPECT_EQ(-EADDRINUSE, try_command("cmd_multi u64 other"));
	EXPECT_EQ(-EADDRINUSE, try_command("cmd_multi char[1] a"));
	EXPECT_EQ(0, ue_unreg(self->fd, &single, 0));

	/* An ID is not used again, not even for its old format. */
	EXPECT_EQ(0, unreg_bits(self->fd, &self->word, 32));
	close(self->fd);
	EXPECT_EQ(0, ue_active());
	EXPECT_EQ(0, multi_exists("cmd_multi", first));
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, reg_multi(self->fd, "cmd_multi char[1] a", &self->word, 0,
			       &index));
	EXPECT_EQ(0, index);
	EXPECT_LE(first + 32, multi_id("cmd_multi"));
}

/* Multi-format events have the same files and text as others. */
UE_TEST_F(command, multi_format_files)
{
	static const char * const files[] = {
		"enable", "filter", "format", "id", "trigger",
	};
	char path[128];
	long id;

	ASSERT_EQ(0, reg_multi(self->fd, "cmd_mfiles u32 a; char[4] b",
			       &self->word, 5, NULL));
	id = multi_id("cmd_mfiles");
	ASSERT_LE(0, id);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "events/" USER_EVENTS_MULTI_SYSTEM
			 "/cmd_mfiles.%lx/%s", id, files[i]);
		EXPECT_LE(0, ue_read(path, self->text, sizeof(self->text)))
			TH_LOG("%s", path);
	}

	snprintf(path, sizeof(path), "events/" USER_EVENTS_MULTI_SYSTEM
		 "/cmd_mfiles.%lx/format", id);
	ASSERT_LT(0, ue_read(path, self->text, sizeof(self->text)));
	EXPECT_STREQ("\"a=%u b=%s\", REC->a, REC->b", print_fmt(self->text));

	snprintf(path, sizeof(path), "events/" USER_EVENTS_MULTI_SYSTEM
		 "/cmd_mfiles.%lx/enable", id);
	EXPECT_EQ(0, ue_write(path, "1"));
	EXPECT_EQ(1U << 5, self->word);
	EXPECT_EQ(0, ue_write(path, "0"));
	EXPECT_EQ(0, self->word);
}

UE_TEST_F(command, event_files)
{
	static const char * const files[] = {
		"enable", "filter", "format", "id", "trigger",
	};

	ASSERT_EQ(0, ue_reg(self->fd, "cmd_files u32 a", &self->word, 0, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		EXPECT_LE(0, ue_read(ue_event_file("cmd_files", files[i]),
				     self->text, sizeof(self->text)))
			TH_LOG("%s", files[i]);
	}
	ASSERT_LT(0, ue_read(ue_event_file("cmd_files", "id"), self->text,
			     sizeof(self->text)));
	EXPECT_LT(0, atoi(self->text));
	ASSERT_LT(0, ue_read(ue_event_file("cmd_files", "enable"), self->text,
			     sizeof(self->text)));
	EXPECT_STREQ("0\n", self->text);
}

UE_TEST_F(command, dynamic_events)
{
	static const char * const remove[] = {
		"-:user_events/cmd_dyn",
		"!u:user_events/cmd_dyn",
		"-:user_events_multi/cmd_dyn",
		"-:user_events/cmd_dyn u32 a; char[20] b; struct s c 16",
		"-:cmd_dyn u32 a; char[20] b; struct s c 16",
		"!u:cmd_dyn u32 a; char[20] b; struct s c 16",
	};
	const char *line = "u:cmd_dyn u32 a; char[20] b; struct s c 16";

	for (size_t i = 0; i < ARRAY_SIZE(remove); i++) {
		ASSERT_EQ(0, ue_write("dynamic_events", line));
		ASSERT_LT(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		EXPECT_EQ(1, has_line(self->text, line));
		EXPECT_EQ(1, ue_event_exists("cmd_dyn"));
		EXPECT_EQ(1, ue_active());

		/* It is persistent. */
		EXPECT_EQ(0, try_command(line + 2));
		EXPECT_EQ(-EADDRINUSE, try_command("cmd_dyn u32 a"));
		EXPECT_EQ(1, ue_event_exists("cmd_dyn"));

		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:cmd_dy"));
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:x/cmd_dyn"));
		/* The name alone may be meant for an event of another kind. */
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:cmd_dyn"));
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "!u:cmd_dyn"));
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events",
					    "-:cmd_dyn u32 a; char[21] b"));
		EXPECT_EQ(1, ue_event_exists("cmd_dyn"));

		EXPECT_EQ(0, ue_write("dynamic_events", remove[i]))
			TH_LOG("'%s'", remove[i]);
		EXPECT_EQ(0, ue_event_exists("cmd_dyn"));
		EXPECT_EQ(0, ue_active());
		ASSERT_LE(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		EXPECT_EQ(0, has_line(self->text, line));
	}
}

/* One line deletes all formats of a name, and which of both systems does not matter. */
UE_TEST_F(command, dynamic_events_formats)
{
	static const char * const systems[] = { "user_events", "user_events_multi" };
	const __u16 flags = USER_EVENT_REG_PERSIST | USER_EVENT_REG_MULTI_FORMAT;
	char line[64];

	for (size_t i = 0; i < ARRAY_SIZE(systems); i++) {
		ASSERT_EQ(0, ue_write("dynamic_events", "u:cmd_dyn u32 a"));
		ASSERT_EQ(0, ue_reg_full(self->fd, "cmd_dyn u32 b", flags, &self->word,
					 sizeof(self->word), 0, NULL));
		ASSERT_EQ(0, ue_reg_full(self->fd, "cmd_dyn u32 c", flags, &self->word,
					 sizeof(self->word), 1, NULL));
		ASSERT_EQ(0, unreg_bits(self->fd, &self->word, 2));
		close(self->fd);
		EXPECT_EQ(3, ue_active());

		snprintf(line, sizeof(line), "-:%s/cmd_dyn u32 b", systems[i]);
		EXPECT_EQ(0, ue_write("dynamic_events", line));
		EXPECT_EQ(2, ue_active());
		snprintf(line, sizeof(line), "-:%s/cmd_dyn", systems[i]);
		EXPECT_EQ(0, ue_write("dynamic_events", line));
		EXPECT_EQ(0, ue_active());
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
	}
}

/* Words to delete by count to the last, as many as there may be. */
UE_TEST_F(command, dynamic_events_long)
{
	static const char * const more[] = {
		"; u8 more", " more", "; u8 a b", "x",
	};
	char line[1024] = "u:";
	char *end = line + 2 + 511;

	long_command(line + 2, 512);
	ASSERT_EQ(0, ue_write("dynamic_events", line));
	memcpy(line, "-:", 2);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		snprintf(end, line + sizeof(line) - end, "%s", more[i]);
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", line))
			TH_LOG("with '%s'", more[i]);
		EXPECT_EQ(1, ue_event_exists("cmd_long"));
	}
	*end = '\0';
	EXPECT_EQ(0, ue_write("dynamic_events", line));
	EXPECT_EQ(0, ue_event_exists("cmd_long"));
}

UE_TEST_F(command, dynamic_events_refused)
{
	static const char * const bad[] = {
		"u:",
		"u: u32 a",
		"u:cmd_dynbad:flag u32 a",
		"u:cmd_dynbad long a",
		"u:cmd_dynbad u32",
		"u:cmd_dynbad char[1025] a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, ue_write("dynamic_events", bad[i]))
			TH_LOG("'%s'", bad[i]);
	}
	EXPECT_EQ(0, ue_active());
}

/* Events of programs are listed too, and are not to be deleted under them. */
UE_TEST_F(command, dynamic_events_in_use)
{
	ASSERT_EQ(0, ue_reg(self->fd, "cmd_used u64 a; __rel_loc char[] b",
			    &self->word, 0, NULL));
	ASSERT_LT(0, ue_read("dynamic_events", self->text,
			     sizeof(self->text)));
	EXPECT_EQ(1, has_line(self->text,
			      "u:cmd_used u64 a; __rel_loc char[] b"));
	EXPECT_EQ(-EBUSY, ue_write("dynamic_events", "-:user_events/cmd_used"));
	EXPECT_EQ(-EBUSY, ue_write("dynamic_events",
				   "-:cmd_used u64 a; __rel_loc char[] b"));
	EXPECT_EQ(1, ue_event_exists("cmd_used"));

	ASSERT_EQ(0, ue_write("dynamic_events", "u:cmd_used2 u8 a"));
	ASSERT_EQ(0, ue_switch("cmd_used2", 1));
	EXPECT_EQ(-EBUSY, ue_write("dynamic_events", "-:cmd_used2 u8 a"));
	ASSERT_EQ(0, ue_switch("cmd_used2", 0));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:cmd_used2 u8 a"));
	EXPECT_EQ(0, ue_event_exists("cmd_used2"));
}

/* What a program calls its event does not matter to who deletes a kprobe. */
UE_TEST_F(command, dynamic_events_same_name)
{
	static const char * const fields[] = { "", " u32 a" };
	char args[64];

	for (size_t i = 0; i < 2 * ARRAY_SIZE(fields); i++) {
		bool first = i % 2;

		if (first)
			ASSERT_EQ(0, ue_write("dynamic_events",
					      "p:kprobes/cmd_same do_exit"));
		snprintf(args, sizeof(args), "cmd_same%s", fields[i / 2]);
		ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, NULL));
		if (!first)
			ASSERT_EQ(0, ue_write("dynamic_events",
					      "p:kprobes/cmd_same do_exit"));

		EXPECT_EQ(0, ue_write("dynamic_events", "-:cmd_same"));
		EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:kprobes/cmd_same"));
		EXPECT_EQ(1, ue_event_exists("cmd_same"));
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		close(self->fd);
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
	}
}

/* What an event is listed as, longer than its command, means that event. */
UE_TEST_F(command, dynamic_events_listing)
{
	char args[512] = "cmd_list ", line[1024];
	size_t len = strlen(args);

	for (int i = 0; len < 500; i++)
		len += sprintf(args + len, "%su8 %c%c", i ? ";" : "",
			       'a' + i / 26, 'a' + i % 26);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, NULL));
		ASSERT_LT(0, ue_read("dynamic_events", self->text,
				     sizeof(self->text)));
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		close(self->fd);
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		snprintf(line, sizeof(line), "%.*s",
			 (int)strcspn(self->text, "\n"), self->text);
		ASSERT_LT(513, strlen(line));

		ASSERT_EQ(0, ue_write("dynamic_events", line));
		EXPECT_EQ(0, try_command(args));
		memcpy(line, "-:", 2);
		EXPECT_EQ(0, ue_write("dynamic_events", line));
		EXPECT_EQ(0, ue_event_exists("cmd_list"));
	}
}

UE_TEST_F(command, dynamic_events_spaces)
{
	EXPECT_EQ(0, ue_write("dynamic_events", "u: cmd_spaced u32 a"));
	EXPECT_EQ(1, ue_event_exists("cmd_spaced"));
	EXPECT_EQ(0, ue_write("dynamic_events", "u: \tcmd_spaced u32 a"));
	EXPECT_EQ(1, ue_active());
	EXPECT_EQ(0, ue_del(self->fd, "cmd_spaced"));
}

/* Text from user space is shown, and never used as a format. */
UE_TEST_F(command, trace_shows_fields)
{
	struct {
		uint32_t index;
		uint32_t a;
		uint64_t b;
		char c[12];
		uint32_t d;
		uint32_t e;
		char e_text[16];
		char d_text[8];
	} record = {
		.a = 0x12,
		.b = 0x1234,
		.c = "%s%n%d%p%x",
		/* from the record's start, and from the end of its field */
		.d = DYN_LOC(8 + 4 + 8 + 12 + 4 + 4 + 16, 8),
		.e = DYN_LOC(0, 16),
		.e_text = "%n%n%n %1$s",
		.d_text = "100%",
	};
	const char *want =
		"cmd_shown: a=0x12 (18) b=0x1234 (4660) c=%s%n%d%p%x d=100% e=%n%n%n %1$s\n";
	const char *args =
		"cmd_shown u32 a; u64 b; char[12] c; __data_loc char[] d; __rel_loc char[] e";
	const size_t size = offsetof(typeof(record), d_text) + 8;
	int fd, index;

	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &index));
	record.index = index;
	fd = ue_open_file("trace", O_WRONLY | O_TRUNC);
	ASSERT_LE(0, fd);
	close(fd);

	ASSERT_EQ(0, ue_switch("cmd_shown", 1));
	EXPECT_EQ(size, write(self->fd, &record, size));
	ASSERT_LT(0, ue_read("trace", self->text, sizeof(self->text)));
	EXPECT_NE(NULL, strstr(self->text, want))
		TH_LOG("trace:\n%s", self->text);

	fd = ue_open_file("trace_pipe", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, fd);
	memset(self->text, 0, sizeof(self->text));
	EXPECT_LT(0, read(fd, self->text, sizeof(self->text) - 1));
	EXPECT_NE(NULL, strstr(self->text, want))
		TH_LOG("trace_pipe:\n%s", self->text);
	close(fd);
}

TEST_HARNESS_MAIN
