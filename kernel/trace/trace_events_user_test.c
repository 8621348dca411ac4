// SPDX-License-Identifier: GPL-2.0
/*
 * What can be tested without user space: commands, locations, bits, the registry,
 * enablers, events that are gone, layout. Included by trace_events_user.c.
 */

#include <kunit/test.h>
#include <linux/mman.h>

KUNIT_DEFINE_ACTION_WRAPPER(kfree_action, kfree, const void *);

/* The format of a command that is good, freed when the test is over. */
static struct user_event_format *parse(struct kunit *test, const char *command)
{
	struct user_event_format *format = format_parse(command);

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(format), "\"%s\" is refused: %ld",
			       command, PTR_ERR(format));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kfree_action, format));
	return format;
}

/* The print fmt that an event of the command has. */
static const char *print_fmt_of(struct kunit *test, const char *command)
{
	char *print_fmt = format_print_fmt(parse(test, command));

	KUNIT_ASSERT_NOT_NULL(test, print_fmt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kfree_action, print_fmt));
	return print_fmt;
}

/*
 * Suite user_events_format: command strings.
 */

struct type_case {
	const char	*field;
	const char	*type;
	u32		size;
	u8		place;
	const char	*print_fmt;
};

#define PRINT_AS(print)		"\"f=" print "\", REC->f"

static const struct type_case type_cases[] = {
	{ "s8 f", "s8", 1, PLACE_INLINE, PRINT_AS("%d") },
	{ "u8 f", "u8", 1, PLACE_INLINE, PRINT_AS("%u") },
	{ "s16 f", "s16", 2, PLACE_INLINE, PRINT_AS("%d") },
	{ "u16 f", "u16", 2, PLACE_INLINE, PRINT_AS("%u") },
	{ "s32 f", "s32", 4, PLACE_INLINE, PRINT_AS("%d") },
	{ "u32 f", "u32", 4, PLACE_INLINE, PRINT_AS("%u") },
	{ "s64 f", "s64", 8, PLACE_INLINE, PRINT_AS("%lld") },
	{ "u64 f", "u64", 8, PLACE_INLINE, PRINT_AS("%llu") },
	{ "char f", "char", 1, PLACE_INLINE, PRINT_AS("%d") },
	{ "unsigned char f", "unsigned char", 1, PLACE_INLINE, PRINT_AS("%u") },
	{ "short f", "short", 2, PLACE_INLINE, PRINT_AS("%d") },
	{ "unsigned short f", "unsigned short", 2, PLACE_INLINE, PRINT_AS("%u") },
	{ "int f", "int", 4, PLACE_INLINE, PRINT_AS("%d") },
	{ "unsigned int f", "unsigned int", 4, PLACE_INLINE, PRINT_AS("%u") },
	{ "char[1] f", "char[1]", 1, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[1024] f", "char[1024]", 1024, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[0x1] f", "char[0x1]", 1, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[0x400] f", "char[0x400]", 1024, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[0x0010] f", "char[0x0010]", 16, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[0X10] f", "char[0X10]", 16, PLACE_INLINE, PRINT_AS("%s") },
	{ "char[000010] f", "char[000010]", 8, PLACE_INLINE, PRINT_AS("%s") },
	{ "unsigned char[20] f", "unsigned char[20]", 20, PLACE_INLINE, PRINT_AS("%s") },
	{ "struct foo f 20", "struct foo", 20, PLACE_INLINE, PRINT_AS("%llu") },
	{ "struct foo f 1", "struct foo", 1, PLACE_INLINE, PRINT_AS("%llu") },
	{ "struct charm f 4", "struct charm", 4, PLACE_INLINE, PRINT_AS("%llu") },
	{ "struct my_cpumask_t f 8", "struct my_cpumask_t", 8, PLACE_INLINE, PRINT_AS("%llu") },
	{ "__data_loc u32[] f", "__data_loc u32[]", 4, PLACE_DATA_LOC, PRINT_AS("%llu") },
	{ "__data_loc u8 f", "__data_loc u8", 4, PLACE_DATA_LOC, PRINT_AS("%llu") },
	{ "__rel_loc s64[] f", "__rel_loc s64[]", 4, PLACE_REL_LOC, PRINT_AS("%llu") },
	{ "__data_loc char[] f", "__data_loc char[]", 4, PLACE_DATA_LOC,
	  "\"f=%s\", __get_str(f)" },
	{ "__data_loc unsigned char[] f", "__data_loc unsigned char[]", 4, PLACE_DATA_LOC,
	  "\"f=%s\", __get_str(f)" },
	{ "__data_loc char f", "__data_loc char", 4, PLACE_DATA_LOC,
	  "\"f=%s\", __get_str(f)" },
	{ "__rel_loc char[] f", "__rel_loc char[]", 4, PLACE_REL_LOC,
	  "\"f=%s\", __get_rel_str(f)" },
};

KUNIT_ARRAY_PARAM_DESC(type, type_cases, field);

static void format_type(struct kunit *test)
{
	const struct type_case *param = test->param_value;
	const struct user_event_format *format;
	char command[64];

	snprintf(command, sizeof(command), "e %s", param->field);
	format = parse(test, command);
	KUNIT_ASSERT_EQ(test, format->nr_fields, 1);
	KUNIT_EXPECT_STREQ(test, format->name, "e");
	KUNIT_EXPECT_STREQ(test, format->fields[0].name, "f");
	KUNIT_EXPECT_STREQ(test, format->fields[0].type, param->type);
	KUNIT_EXPECT_EQ(test, format->fields[0].size, param->size);
	KUNIT_EXPECT_EQ(test, format->fields[0].place, param->place);
	KUNIT_EXPECT_EQ(test, format->fields[0].offset, 8);
	KUNIT_EXPECT_EQ(test, format->payload_size, param->size);
	KUNIT_EXPECT_EQ(test, format->nr_locations, param->place != PLACE_INLINE);
	KUNIT_EXPECT_STREQ(test, print_fmt_of(test, command), param->print_fmt);
}

struct bad_case {
	const char	*why;
	const char	*command;
};

static const struct bad_case bad_cases[] = {
	{ "empty", "" },
	{ "space only", " " },
	{ "no name", " u32 a" },
	{ "no name but a flag", ":flag" },
	{ "flag", "e:flag u32 a" },
	{ "two flags", "e:a,b u32 a" },
	{ "empty flag", "e: u32 a" },
	{ "name is a path", "a/b u32 a" },
	{ "name is .", ". u32 a" },
	{ "name is ..", ".. u32 a" },
	{ "control character in the name", "e\001 u32 a" },
	{ "type only", "e u32" },
	{ "type only, behind a good field", "e u8 a; u32" },
	{ "unknown type", "e u33 a" },
	{ "long", "e long a" },
	{ "unsigned long", "e unsigned long a" },
	{ "unsigned without a type", "e unsigned a" },
	{ "unsigned s8", "e unsigned s8 a" },
	{ "pointer", "e char * a" },
	{ "array of int", "e int[4] a" },
	{ "size for a plain type", "e u32 a 4" },
	{ "size for an array", "e char[4] a 4" },
	{ "field name with a quote", "e u32 a\"" },
	{ "field name with a backslash", "e u32 a\\n" },
	{ "field name with a percent sign", "e u32 %s" },
	{ "field name with a control character", "e u32 a\177" },
	{ "struct tag with a percent sign", "e struct %n a 4" },
	{ "location of a word with a quote", "e __rel_loc \" a" },
	{ "space of Latin-1", "e u32\240a" },
	{ "space of Latin-1 for a field", "e u32 a;\xa0" },
	{ "comma between fields", "e u32 a, u32 b" },
	{ "no field before ;", "e; u32 a" },
	{ "array of 0", "e char[0] a" },
	{ "array of 0x0", "e char[0x0] a" },
	{ "array without a size", "e char[] a" },
	{ "array of 1025", "e char[1025] a" },
	{ "array of 0x401", "e char[0x401] a" },
	{ "array size of 7 characters", "e char[0000010] a" },
	{ "array size of 7 characters, hex", "e char[0x00010] a" },
	{ "array size past 32 bits", "e char[4294967297] a" },
	{ "array of -1", "e char[-1] a" },
	{ "array size is hex without 0x", "e char[1a] a" },
	{ "array size is 0x", "e char[0x] a" },
	{ "array size with a space", "e char[ 1] a" },
	{ "array not closed", "e char[1 a" },
	{ "text behind an array", "e char[1]x a" },
	{ "array of arrays", "e char[2][2] a" },
	{ "struct without a size", "e struct foo a" },
	{ "struct without a tag", "e struct a 4" },
	{ "struct of size 0", "e struct foo a 0" },
	{ "struct of negative size", "e struct foo a -1" },
	{ "struct of hex size", "e struct foo a 0x10" },
	{ "struct size with a tail", "e struct foo a 4x" },
	{ "struct with two sizes", "e struct foo a 4 4" },
	{ "struct size past 32 bits", "e struct foo a 4294967297" },
	{ "location without a type", "e __data_loc a" },
	{ "location of two words", "e __data_loc const char* a" },
	{ "size for a location", "e __data_loc char[] a 4" },
	/* ftrace would take these for what has not been checked. */
	{ "struct named as a location", "e struct __data_loc_char a 4" },
	{ "struct named as a relative location", "e struct my__rel_loc_char a 4" },
	{ "location within a location", "e __rel_loc __data_loc char[] a" },
	{ "mask of CPUs, whose size is not the location's", "e __data_loc cpumask_t a" },
};

KUNIT_ARRAY_PARAM_DESC(bad, bad_cases, why);

static void format_refused(struct kunit *test)
{
	const struct bad_case *param = test->param_value;
	struct user_event_format *format __free(kfree) = format_parse(param->command);

	KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(format), -EINVAL, "\"%s\"", param->command);
}

struct pair_case {
	const char	*why;
	const char	*a;
	const char	*b;
};

static const struct pair_case same_cases[] = {
	{ "no space at ;", "e u32 a; u8 b", "e u32 a;u8 b" },
	{ "space around ;", "e u32 a; u8 b", "e u32 a \t ;  u8 b" },
	{ "space between words", "e u32 a; u8 b", "e   u32   a; u8\tb" },
	{ "trailing ;", "e u32 a", "e u32 a;" },
	{ "trailing ; with spaces", "e u32 a", "e u32 a ; " },
	{ "trailing space", "e u32 a", "e u32 a  " },
	{ "no fields", "e", "e " },
	{ "empty field", "e u32 a; u8 b", "e u32 a;; u8 b" },
	{ "empty field with a space", "e u32 a; u8 b", "e u32 a; ; u8 b" },
	{ "leading ;", "e u32 a", "e ;u32 a" },
	{ "two trailing ;", "e u32 a", "e u32 a;;" },
	{ "two trailing ; with a space", "e u32 a", "e u32 a; ; " },
	{ "no fields and ;", "e", "e;" },
	{ "no fields and ; with spaces", "e", "e ; " },
	{ "words of a type", "e unsigned int a", "e unsigned   int a" },
	{ "words of a struct", "e struct foo a 4", "e struct  foo  a  4 " },
	{ "words of a location", "e __rel_loc unsigned char[] a",
	  "e  __rel_loc  unsigned  char[]  a" },
};

KUNIT_ARRAY_PARAM_DESC(same, same_cases, why);

static void format_same(struct kunit *test)
{
	const struct pair_case *param = test->param_value;
	const struct user_event_format *a = parse(test, param->a);
	const struct user_event_format *b = parse(test, param->b);

	KUNIT_EXPECT_STREQ(test, b->name, "e");
	KUNIT_EXPECT_TRUE(test, formats_match(a, b));
	KUNIT_EXPECT_EQ(test, format_hash(a, 42), format_hash(b, 42));
}

static const struct pair_case different_cases[] = {
	{ "sign", "e u32 a", "e s32 a" },
	{ "type of the same size", "e u32 a", "e unsigned int a" },
	{ "field name", "e u32 a", "e u32 b" },
	{ "order", "e u32 a; u32 b", "e u32 b; u32 a" },
	{ "one field more", "e u32 a", "e u32 a; u32 b" },
	{ "no field", "e", "e u8 a" },
	{ "size of an array", "e char[4] a", "e char[5] a" },
	{ "sign of an array", "e char[4] a", "e unsigned char[4] a" },
	{ "size of a struct", "e struct foo a 4", "e struct foo a 8" },
	{ "sizes that add up to the same", "e struct s a 4; struct s b 8",
	  "e struct s a 8; struct s b 4" },
	{ "tag of a struct", "e struct foo a 4", "e struct bar a 4" },
	{ "kind of a location", "e __data_loc char[] a", "e __rel_loc char[] a" },
	{ "type of a location", "e __data_loc char[] a", "e __data_loc u8[] a" },
};

KUNIT_ARRAY_PARAM_DESC(different, different_cases, why);

static void format_different(struct kunit *test)
{
	const struct pair_case *param = test->param_value;
	const struct user_event_format *a = parse(test, param->a);
	const struct user_event_format *b = parse(test, param->b);

	KUNIT_EXPECT_FALSE(test, formats_match(a, b));
	KUNIT_EXPECT_FALSE(test, formats_match(b, a));
	KUNIT_EXPECT_NE(test, format_hash(a, 42), format_hash(b, 42));
}

static void format_offsets(struct kunit *test)
{
	static const u32 offsets[] = { 8, 9, 17, 20, 22, 27, 31 };
	const struct user_event_format *format;
	int i;

	format = parse(test, "e u8 a; s64 b; char[3] c; u16 d; struct foo e 5; "
			     "__rel_loc char[] f; u8 g");
	KUNIT_ASSERT_EQ(test, format->nr_fields, ARRAY_SIZE(offsets));
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		KUNIT_EXPECT_EQ(test, format->fields[i].offset, offsets[i]);
	KUNIT_EXPECT_EQ(test, format->payload_size, 24);
	KUNIT_EXPECT_EQ(test, format->nr_locations, 1);
}

/* 0xa0 is a space to isspace(), and here the second byte of a letter. */
static void format_name_in_utf8(struct kunit *test)
{
	const char *name = "voil\xc3\xa0";
	const struct user_event_format *format;

	format = parse(test, "voil\xc3\xa0 u32 a");
	KUNIT_EXPECT_STREQ(test, format->name, name);
	KUNIT_EXPECT_EQ(test, format->nr_fields, 1);
	KUNIT_EXPECT_STREQ(test, parse(test, name)->name, name);
	KUNIT_EXPECT_STREQ(test, parse(test, "voil\xc3\xa0;")->name, name);

	/* What does separate words. */
	format = parse(test, "e\tu32\na\v;\fu8\rb");
	KUNIT_EXPECT_TRUE(test, formats_match(format, parse(test, "e u32 a; u8 b")));
}

static void format_print_fmt_of_many(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, print_fmt_of(test, "e"), "\"\"");
	KUNIT_EXPECT_STREQ(test, print_fmt_of(test, "e u32 a; __rel_loc char[] b; s64 c"),
			   "\"a=%u b=%s c=%lld\", REC->a, __get_rel_str(b), REC->c");
}

/* There is room for the longest kinds of a field, however many there are. */
static void format_print_fmt_is_whole(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test,
			   print_fmt_of(test, "e __rel_loc char a; __rel_loc char b"),
			   "\"a=%s b=%s\", __get_rel_str(a), __get_rel_str(b)");
	KUNIT_EXPECT_STREQ(test,
			   print_fmt_of(test, "e s64 a; u64 b; s64 c; u64 d"),
			   "\"a=%lld b=%llu c=%lld d=%llu\", REC->a, REC->b, REC->c, REC->d");
}

/* Nothing takes memory but fields. */
static void format_count_fields(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, count_fields("e"), 1);
	KUNIT_EXPECT_EQ(test, count_fields("e;;; \t;;"), 1);
	KUNIT_EXPECT_EQ(test, count_fields("e u8 a;; ;u8 b ; u8 c;"), 3);
	KUNIT_EXPECT_EQ(test, count_fields("e ;u8 a"), 2);
}

static void format_total_size(struct kunit *test)
{
	static const struct bad_case too_large[] = {
		{ "one field", "e struct foo a 65529" },
		{ "sum", "e struct foo a 65000; struct foo b 529" },
		{ "sum past 32 bits", "e struct foo a 4294967295; struct foo b 1000" },
		{ "many", "e struct foo a 65000; u64 b; u64 c; struct foo d 513" },
	};
	int i;

	KUNIT_EXPECT_EQ(test, parse(test, "e struct foo a 65528")->payload_size, 65528);
	KUNIT_EXPECT_EQ(test, parse(test, "e struct foo a 65000; struct foo b 528")->payload_size,
			65528);
	for (i = 0; i < ARRAY_SIZE(too_large); i++) {
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(format_parse(too_large[i].command)),
				    -EINVAL, "%s", too_large[i].why);
	}
}

static void format_many_fields(struct kunit *test)
{
	const struct user_event_format *format;
	char *command = kunit_kzalloc(test, USER_EVENT_MAX_COMMAND, GFP_KERNEL);
	size_t len;
	int nr = 0;

	KUNIT_ASSERT_NOT_NULL(test, command);
	len = scnprintf(command, USER_EVENT_MAX_COMMAND, "e ");
	for (; len + 5 < USER_EVENT_MAX_COMMAND; nr++)
		len += scnprintf(command + len, USER_EVENT_MAX_COMMAND - len, "u8 f;");

	format = parse(test, command);
	KUNIT_EXPECT_EQ(test, nr, 101);
	KUNIT_EXPECT_EQ(test, format->nr_fields, nr);
	KUNIT_EXPECT_EQ(test, format->payload_size, nr);
	KUNIT_EXPECT_EQ(test, format->fields[nr - 1].offset, 8 + nr - 1);
}

static struct kunit_case format_tests[] = {
	KUNIT_CASE_PARAM(format_type, type_gen_params),
	KUNIT_CASE_PARAM(format_refused, bad_gen_params),
	KUNIT_CASE_PARAM(format_same, same_gen_params),
	KUNIT_CASE_PARAM(format_different, different_gen_params),
	KUNIT_CASE(format_offsets),
	KUNIT_CASE(format_name_in_utf8),
	KUNIT_CASE(format_print_fmt_of_many),
	KUNIT_CASE(format_print_fmt_is_whole),
	KUNIT_CASE(format_count_fields),
	KUNIT_CASE(format_total_size),
	KUNIT_CASE(format_many_fields),
	{}
};

static struct kunit_suite format_suite = {
	.name = "user_events_format",
	.test_cases = format_tests,
};

/*
 * Suite user_events_location: what locations may point at.
 */

struct location_case {
	const char	*why;
	const char	*command;	/* the last field is the location */
	u32		offset;
	u32		size;
	u32		record;		/* bytes of the record */
	s32		nul;		/* where its only NUL is, or nowhere */
	bool		ok;
};

#define NOWHERE		(-1)
#define DATA_CHAR	"e u32 a; __data_loc char[] f"
#define DATA_BYTE	"e u32 a; __data_loc u8[] f"
#define REL_CHAR	"e u32 a; __rel_loc char[] f"
#define REL_BYTE	"e u32 a; __rel_loc u8[] f"
#define REL_ODD		"e u8 a; __rel_loc char[] f"

/* Common fields are bytes 0 to 7, the location is bytes 12 to 15 (9 to 12). */
static const struct location_case location_cases[] = {
	{ "data char: whole payload behind the fields", DATA_CHAR, 16, 8, 24, 23, true },
	{ "data char: last byte", DATA_CHAR, 23, 1, 24, 23, true },
	{ "data char: one past the last byte", DATA_CHAR, 17, 8, 24, 23, false },
	{ "data char: starts past the record", DATA_CHAR, 24, 1, 24, 23, false },
	{ "data char: NUL missing", DATA_CHAR, 16, 8, 24, NOWHERE, false },
	{ "data char: NUL before the end", DATA_CHAR, 16, 8, 24, 22, false },
	{ "data char: NUL behind the end", DATA_CHAR, 16, 7, 24, 23, false },
	{ "data char: size 0", DATA_CHAR, 16, 0, 24, 16, false },
	{ "data char: size 0 behind a NUL", DATA_CHAR, 18, 0, 24, 17, false },
	{ "data char: within the declared fields", DATA_CHAR, 8, 4, 24, 11, true },
	{ "data char: first byte of the payload", DATA_CHAR, 8, 1, 24, 8, true },
	{ "data char: last common byte", DATA_CHAR, 7, 17, 24, 23, false },
	{ "data char: offset 0", DATA_CHAR, 0, 24, 24, 23, false },
	{ "data char: nothing at 0", DATA_CHAR, 0, 0, 24, 0, false },
	{ "data byte: whole payload behind the fields", DATA_BYTE, 16, 8, 24, NOWHERE, true },
	{ "data byte: one past the last byte", DATA_BYTE, 16, 9, 24, NOWHERE, false },
	{ "data byte: size 0", DATA_BYTE, 16, 0, 24, NOWHERE, true },
	{ "data byte: size 0 at the end", DATA_BYTE, 24, 0, 24, NOWHERE, true },
	{ "data byte: size 0 past the end", DATA_BYTE, 25, 0, 24, NOWHERE, false },
	{ "data byte: last common byte", DATA_BYTE, 7, 1, 24, NOWHERE, false },
	{ "data byte: offset 0", DATA_BYTE, 0, 8, 24, NOWHERE, false },
	{ "data byte: nothing at 0", DATA_BYTE, 0, 0, 24, NOWHERE, true },
	{ "data byte: nothing at the last common byte", DATA_BYTE, 7, 0, 24, NOWHERE, true },
	{ "data char: nothing at the last common byte", DATA_CHAR, 7, 0, 24, 6, false },
	{ "data char: largest location", DATA_CHAR, 0xffff, 0xffff, 0x1fffe, 0x1fffd, true },
	{ "data char: one past the largest", DATA_CHAR, 0xffff, 0xffff, 0x1fffd, 0x1fffc, false },
	{ "data char: largest, small record", DATA_CHAR, 0xffff, 0xffff, 24, 23, false },
	{ "data byte: sum is 0 in 16 bits", DATA_BYTE, 0xffff, 1, 24, NOWHERE, false },
	{ "data byte: sum is 8 in 16 bits", DATA_BYTE, 9, 0xffff, 24, NOWHERE, false },
	{ "rel char: whole payload behind the field", REL_CHAR, 0, 8, 24, 23, true },
	{ "rel char: last byte", REL_CHAR, 7, 1, 24, 23, true },
	{ "rel char: one past the last byte", REL_CHAR, 0, 9, 24, 23, false },
	{ "rel char: starts past the record", REL_CHAR, 8, 1, 24, 23, false },
	{ "rel char: NUL missing", REL_CHAR, 0, 8, 24, NOWHERE, false },
	{ "rel char: NUL before the end", REL_CHAR, 0, 8, 24, 22, false },
	{ "rel char: size 0", REL_CHAR, 0, 0, 24, 16, false },
	{ "rel char: size 0 behind a NUL", REL_CHAR, 1, 0, 24, 16, false },
	{ "rel char: offset counts from the end of the field", REL_ODD, 0, 8, 21, 20, true },
	{ "rel char: one past, field not aligned", REL_ODD, 1, 8, 21, 20, false },
	{ "rel byte: nothing at 0", REL_BYTE, 0, 0, 24, NOWHERE, true },
	{ "rel byte: nothing at 0, no payload behind", REL_BYTE, 0, 0, 16, NOWHERE, true },
	{ "rel byte: size 0 at the end", REL_BYTE, 8, 0, 24, NOWHERE, true },
	{ "rel byte: size 0 past the end", REL_BYTE, 9, 0, 24, NOWHERE, false },
	{ "rel char: largest location", REL_CHAR, 0xffff, 0xffff, 0x2000e, 0x2000d, true },
	{ "rel char: one past the largest", REL_CHAR, 0xffff, 0xffff, 0x2000d, 0x2000c, false },
	{ "rel byte: sum is 0 in 16 bits", REL_BYTE, 0xfff0, 0, 24, NOWHERE, false },
	{ "rel byte: sum is 24 in 16 bits", REL_BYTE, 9, 0xffff, 24, NOWHERE, false },
	{ "rel byte: offset and size -1", REL_BYTE, 0xffff, 0xffff, 24, NOWHERE, false },
};

KUNIT_ARRAY_PARAM_DESC(location, location_cases, why);

static void location_check(struct kunit *test)
{
	const struct location_case *param = test->param_value;
	const struct user_event_format *format = parse(test, param->command);
	const struct user_event_field *field = &format->fields[1];
	u8 *record = kunit_kmalloc(test, param->record, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, record);
	memset(record, 'x', param->record);
	put_unaligned(DYN_LOC(param->offset, param->size), (u32 *)(record + field->offset));
	if (param->nul != NOWHERE)
		record[param->nul] = '\0';
	KUNIT_EXPECT_EQ(test, location_ok(field, record, param->record), param->ok);
}

/* Each of the locations counts, wherever it stands. */
static void location_of_many(struct kunit *test)
{
	const struct user_event_format *format =
		parse(test, "e __rel_loc char[] a; u32 b; __data_loc u8[] c; u8 d; "
			    "__data_loc char[] e; u8 f");
	struct {
		struct trace_entry	entry;
		u32			a, b, c;
		u8			d;
		u32			e;
		u8			f;
		char			text[2];
	} __packed record = {}, bad;

	KUNIT_ASSERT_EQ(test, format->fields[5].offset, offsetof(typeof(record), f));
	KUNIT_ASSERT_EQ(test, format->nr_locations, 3);
	record.text[0] = 'x';
	record.a = DYN_LOC(offsetof(typeof(record), text) - offsetof(typeof(record), b), 2);
	record.c = DYN_LOC(offsetof(typeof(record), text), 1);
	record.e = DYN_LOC(offsetof(typeof(record), text), 2);
	KUNIT_EXPECT_TRUE(test, locations_ok(format, &record, sizeof(record)));
	KUNIT_EXPECT_FALSE(test, locations_ok(format, &record, sizeof(record) - 1));

	bad = record;
	bad.a += DYN_LOC(1, 0);
	KUNIT_EXPECT_FALSE(test, locations_ok(format, &bad, sizeof(bad)));
	bad = record;
	bad.c += DYN_LOC(2, 0);
	KUNIT_EXPECT_FALSE(test, locations_ok(format, &bad, sizeof(bad)));
	bad = record;
	bad.e -= DYN_LOC(0, 1);
	KUNIT_EXPECT_FALSE(test, locations_ok(format, &bad, sizeof(bad)));
	bad = record;
	bad.b = ~0U;
	KUNIT_EXPECT_TRUE(test, locations_ok(format, &bad, sizeof(bad)));
}

static struct kunit_case location_tests[] = {
	KUNIT_CASE_PARAM(location_check, location_gen_params),
	KUNIT_CASE(location_of_many),
	{}
};

static struct kunit_suite location_suite = {
	.name = "user_events_location",
	.test_cases = location_tests,
};

/*
 * Suite user_events_word: enable bits.
 */

struct word_case {
	const char	*machine;
	u32		long_size;
	bool		big_endian;
	u32		width;
};

static const struct word_case word_cases[] = {
	{ "4 bytes, 64-bit little endian", 8, false, 4 },
	{ "8 bytes, 64-bit little endian", 8, false, 8 },
	{ "4 bytes, 32-bit little endian", 4, false, 4 },
	{ "4 bytes, 64-bit big endian", 8, true, 4 },
	{ "8 bytes, 64-bit big endian", 8, true, 8 },
	{ "4 bytes, 32-bit big endian", 4, true, 4 },
};

KUNIT_ARRAY_PARAM_DESC(word, word_cases, machine);

/* The byte that holds bit @bit of a number of @size bytes. */
static u32 byte_of_bit(u32 size, u32 bit, bool big_endian)
{
	return big_endian ? size - 1 - bit / 8 : bit / 8;
}

/* Program and kernel mean the same bit of the same byte. */
static void word_bit_in_long(struct kunit *test)
{
	const struct word_case *param = test->param_value;
	u32 addr, bit, nr, byte;

	for (addr = 64; addr < 80; addr += param->width) {
		for (bit = 0; bit < param->width * 8; bit++) {
			nr = bit_in_long(addr, bit, param->width, param->long_size,
					 param->big_endian);
			KUNIT_ASSERT_LT(test, nr, param->long_size * 8);
			byte = round_down(addr, param->long_size) +
			       byte_of_bit(param->long_size, nr, param->big_endian);
			KUNIT_ASSERT_EQ(test, byte,
					addr + byte_of_bit(param->width, bit, param->big_endian));
			KUNIT_ASSERT_EQ(test, nr % 8, bit % 8);
		}
	}
}

union test_memory {
	unsigned long	longs[2];
	u32		words[2 * sizeof(long) / sizeof(u32)];
};

/* The same on this machine: one bit of one word changes, and no other. */
static void word_on_this_machine(struct kunit *test)
{
	union test_memory memory, set, clear;
	struct user_event_enabler enabler = { .width = sizeof(u32) };
	unsigned long *around;
	int i, bit;

	for (i = 0; i < ARRAY_SIZE(memory.words); i++) {
		around = &memory.longs[i * sizeof(u32) / sizeof(long)];
		enabler.key.addr = (unsigned long)&memory.words[i];
		for (bit = 0; bit < 32; bit++) {
			enabler.key.bit = bit;
			memset(&memory, 0x5a, sizeof(memory));
			set = memory;
			set.words[i] |= 1U << bit;
			clear = memory;
			clear.words[i] &= ~(1U << bit);

			assign_bit(enabler_bit(&enabler), around, true);
			KUNIT_ASSERT_MEMEQ(test, &memory, &set, sizeof(memory));
			assign_bit(enabler_bit(&enabler), around, false);
			KUNIT_ASSERT_MEMEQ(test, &memory, &clear, sizeof(memory));
		}
	}
}

static struct user_event_pages *alloc_pages_of_words(struct kunit *test)
{
	struct user_event_handle *handle = kunit_kzalloc(test, sizeof(*handle), GFP_KERNEL);
	struct user_event_pages *pages;

	KUNIT_ASSERT_NOT_NULL(test, handle);
	mutex_init(&handle->lock);
	pages = handle_get_pages(handle, 2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pages);
	KUNIT_ASSERT_EQ(test, pages->nr, 2);
	/* The reference of the file, which there is none of. */
	KUNIT_ASSERT_EQ(test, refcount_read(&pages->refs), 2);
	refcount_dec(&pages->refs);
	return pages;
}

static struct user_event_page_bit *get_page_bit(struct kunit *test,
						struct user_event_pages *pages,
						unsigned long nr)
{
	struct user_event_page_bit *bit = kzalloc(sizeof(*bit), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bit);
	refcount_inc(&pages->refs);
	bit->pages = pages;
	bit->nr = nr;
	bit->users = 1;
	return page_bit_enter(bit);
}

/* A bit of a kernel page is set as long as anybody wants it set. */
static void word_shared_in_page(struct kunit *test)
{
	struct user_event_pages *pages = alloc_pages_of_words(test);
	unsigned long nr = BITS_PER_PAGE_OF_WORDS + BITS_PER_LONG + 5;
	unsigned long *page = page_address(pages->page[1]);
	struct user_event_page_bit *bit, *same, *next;

	guard(mutex)(&event_mutex);
	bit = get_page_bit(test, pages, nr);
	same = get_page_bit(test, pages, nr);
	next = get_page_bit(test, pages, nr + 1);
	KUNIT_EXPECT_PTR_EQ(test, bit, same);
	KUNIT_EXPECT_PTR_NE(test, bit, next);
	KUNIT_EXPECT_EQ(test, refcount_read(&pages->refs), 3);

	page_bit_add(bit, 1);
	KUNIT_EXPECT_EQ(test, page[1], BIT(5));
	page_bit_add(bit, 1);
	page_bit_add(next, 1);
	KUNIT_EXPECT_EQ(test, page[1], BIT(5) | BIT(6));
	page_bit_add(bit, -1);
	KUNIT_EXPECT_EQ(test, page[1], BIT(5) | BIT(6));
	page_bit_add(bit, -1);
	KUNIT_EXPECT_EQ(test, page[1], BIT(6));
	page_bit_add(next, -1);
	KUNIT_EXPECT_EQ(test, page[0], 0);
	KUNIT_EXPECT_EQ(test, page[1], 0);

	page_bit_put(bit);
	KUNIT_EXPECT_EQ(test, refcount_read(&pages->refs), 3);
	page_bit_put(same);
	KUNIT_EXPECT_EQ(test, refcount_read(&pages->refs), 2);
	page_bit_put(next);
	KUNIT_EXPECT_EQ(test, refcount_read(&pages->refs), 1);
	KUNIT_EXPECT_TRUE(test, RB_EMPTY_ROOT(&pages->bits));
	pages_put(pages);
}

static struct kunit_case word_tests[] = {
	KUNIT_CASE_PARAM(word_bit_in_long, word_gen_params),
	KUNIT_CASE(word_on_this_machine),
	KUNIT_CASE(word_shared_in_page),
	{}
};

static struct kunit_suite word_suite = {
	.name = "user_events_word",
	.test_cases = word_tests,
};

/*
 * Suite user_events_registry: events of a group of the test's own.
 */

/* Static, as what ftrace frees later may still point to the classes. */
static struct user_event_group test_group;
static unsigned int saved_events_max;

static int registry_init(struct kunit *test)
{
	saved_events_max = user_events_max;
	memset(&test_group, 0, sizeof(test_group));
	group_init(&test_group, NULL);
	return 0;
}

static void registry_exit(struct kunit *test)
{
	user_events_max = saved_events_max;
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&test_group.list));
	KUNIT_EXPECT_EQ(test, nr_user_events, user_event_init_group.nr_events);
	KUNIT_EXPECT_EQ(test, atomic_read(&user_event_registry.nelems), nr_user_events);
}

static struct user_event *get(struct kunit *test, const char *command, u16 flags)
{
	struct user_event *event = user_event_get(&test_group, command, flags);

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(event), "\"%s\" is refused: %ld",
			       command, PTR_ERR(event));
	return event;
}

static int get_fails(const char *command, u16 flags)
{
	struct user_event *event = user_event_get(&test_group, command, flags);

	if (IS_ERR(event))
		return PTR_ERR(event);
	user_event_put(event);
	return 0;
}

static void registry_share(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event *other = get(test, "kunit_other", 0);

	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 1);
	KUNIT_EXPECT_PTR_EQ(test, get(test, "kunit  u32 a;", 0), event);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 2);
	KUNIT_EXPECT_PTR_NE(test, other, event);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 2);
	KUNIT_EXPECT_STREQ(test, trace_event_name(&event->call), "kunit");
	KUNIT_EXPECT_STREQ(test, event->call.class->system, "user_events");

	user_event_put(event);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 2);
	user_event_put(event);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	user_event_put(other);
}

/* A name is free for another format when the last reference has been dropped. */
static void registry_mismatch(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);

	KUNIT_EXPECT_EQ(test, get_fails("kunit s32 a", 0), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit", 0), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit s32 a", USER_EVENT_REG_PERSIST), -EADDRINUSE);
	KUNIT_EXPECT_FALSE(test, event->persistent);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 1);
	user_event_put(event);

	event = get(test, "kunit s32 a", 0);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	user_event_put(event);
}

static void registry_bad_command(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, get_fails("kunit u33 a", 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, get_fails("kunit:flag u32 a", USER_EVENT_REG_MULTI_FORMAT), -EINVAL);
	KUNIT_EXPECT_EQ(test, get_fails("enable u32 a", 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, get_fails("filter u32 a", USER_EVENT_REG_PERSIST), -EINVAL);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 0);
}

/* Suffixes count up in hex, are not used twice, and one format is one event. */
static void registry_multi(struct kunit *test)
{
	u16 flags = USER_EVENT_REG_MULTI_FORMAT;
	struct user_event *a = get(test, "kunit u32 a", flags);
	struct user_event *b = get(test, "kunit u32 b", flags);

	KUNIT_EXPECT_STREQ(test, trace_event_name(&a->call), "kunit.0");
	KUNIT_EXPECT_STREQ(test, trace_event_name(&b->call), "kunit.1");
	KUNIT_EXPECT_STREQ(test, b->call.class->system, "user_events_multi");
	KUNIT_EXPECT_PTR_EQ(test, get(test, "kunit u32 b;", flags), b);
	user_event_put(b);
	user_event_put(b);

	b = get(test, "kunit u32 b", flags);
	KUNIT_EXPECT_STREQ(test, trace_event_name(&b->call), "kunit.2");
	user_event_put(b);

	test_group.next_id = 0x1f;
	b = get(test, "kunit u32 b", flags);
	KUNIT_EXPECT_STREQ(test, trace_event_name(&b->call), "kunit.1f");
	user_event_put(b);
	user_event_put(a);
}

static void registry_name_spaces(struct kunit *test)
{
	struct user_event *multi = get(test, "kunit u32 a", USER_EVENT_REG_MULTI_FORMAT);
	struct user_event *single = get(test, "kunit u32 a", 0);

	KUNIT_EXPECT_PTR_NE(test, single, multi);
	KUNIT_EXPECT_STREQ(test, trace_event_name(&single->call), "kunit");
	KUNIT_EXPECT_EQ(test, get_fails("kunit u32 b", 0), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit u32 b", USER_EVENT_REG_MULTI_FORMAT), 0);
	user_event_put(single);
	user_event_put(multi);
}

static void registry_quota(struct kunit *test)
{
	struct user_event *a, *b;

	user_events_max = 2;
	a = get(test, "kunit_a", 0);
	b = get(test, "kunit_b", 0);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_c", 0), -EMFILE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_a u32 a", USER_EVENT_REG_MULTI_FORMAT), -EMFILE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_a", 0), 0);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_a u32 a", 0), -EADDRINUSE);
	user_event_put(b);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_c", 0), 0);

	/* Lowered below what is there: no new event, the others stay. */
	user_events_max = 0;
	KUNIT_EXPECT_EQ(test, get_fails("kunit_c", 0), -EMFILE);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_a", 0), 0);
	user_event_put(a);
}

static void registry_persist(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", USER_EVENT_REG_PERSIST);

	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 2);
	user_event_put(event);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	KUNIT_EXPECT_EQ(test, get_fails("kunit u32 b", 0), -EADDRINUSE);

	/* Persistent once, however often that is asked for. */
	KUNIT_EXPECT_PTR_EQ(test, get(test, "kunit u32 a", USER_EVENT_REG_PERSIST), event);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 2);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -EBUSY);
	user_event_put(event);

	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 0);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -ENOENT);
}

/* An event that is in use may be made persistent. */
static void registry_persist_later(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);

	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -EBUSY);
	KUNIT_EXPECT_EQ(test, get_fails("kunit u32 a", USER_EVENT_REG_PERSIST), 0);
	user_event_put(event);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
}

/* Every format of a name is deleted, or none. */
static void registry_delete_formats(struct kunit *test)
{
	u16 multi = USER_EVENT_REG_MULTI_FORMAT | USER_EVENT_REG_PERSIST;
	struct user_event *event;

	KUNIT_ASSERT_EQ(test, get_fails("kunit u32 a", multi), 0);
	KUNIT_ASSERT_EQ(test, get_fails("kunit u32 c", USER_EVENT_REG_PERSIST), 0);
	KUNIT_ASSERT_EQ(test, get_fails("kunit_other", multi), 0);
	event = get(test, "kunit u32 b", multi);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -EBUSY);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 4);
	user_event_put(event);

	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -ENOENT);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit_other"), 0);
}

/* Who deletes one name looks at few events of other names. */
static void registry_delete_among_many(struct kunit *test)
{
	u16 multi = USER_EVENT_REG_MULTI_FORMAT | USER_EVENT_REG_PERSIST;
	struct user_event *event;
	char command[16];
	int i, seen = 0;

	for (i = 0; i < 200; i++) {
		snprintf(command, sizeof(command), "kunit%d", i);
		KUNIT_ASSERT_EQ(test, get_fails(command, multi), 0);
	}
	hash_for_each_possible(user_event_multi, event, multi_link,
			       hash_name(&test_group, "kunit7"))
		seen++;
	KUNIT_EXPECT_GE(test, seen, 1);
	KUNIT_EXPECT_LE(test, seen, 20);

	for (i = 0; i < 200; i++) {
		snprintf(command, sizeof(command), "kunit%d", i);
		KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, command), 0);
	}
}

static void registry_enabled(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);

	KUNIT_EXPECT_FALSE(test, event->enabled);
	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 1), 0);
	KUNIT_EXPECT_TRUE(test, event->enabled);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 2);
	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 0), 0);
	KUNIT_EXPECT_FALSE(test, event->enabled);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 1);
	user_event_put(event);
}

/* How many instances record @event; -1 if @file is not one of them. */
static int count_recorders(struct user_event *event, const struct trace_event_file *file)
{
	struct user_event_instance *instance;
	bool found = false;

	hlist_for_each_entry(instance, &event->recorders, node)
		found |= instance->file == file;
	return found ? hlist_count_nodes(&event->recorders) : -1;
}

/* Instances come and go in any order. */
static void registry_recorders(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct trace_event_file *file;

	file = kunit_kcalloc(test, 3, sizeof(*file), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, file);
	scoped_guard(mutex, &event_mutex) {
		KUNIT_ASSERT_EQ(test, add_recorder(event, &file[0]), 0);
		KUNIT_ASSERT_EQ(test, add_recorder(event, &file[1]), 0);
		KUNIT_ASSERT_EQ(test, add_recorder(event, &file[2]), 0);
		remove_recorder(event, &file[1]);
		KUNIT_EXPECT_EQ(test, count_recorders(event, &file[0]), 2);
		KUNIT_EXPECT_EQ(test, count_recorders(event, &file[2]), 2);
		remove_recorder(event, &file[0]);
		KUNIT_EXPECT_EQ(test, count_recorders(event, &file[2]), 1);
		remove_recorder(event, &file[2]);
		KUNIT_EXPECT_TRUE(test, hlist_empty(&event->recorders));
	}
	user_event_put(event);
}

/*
 * A tracer holds the event, and when it was the last to do so, the next who
 * asks for the name gets it.
 */
static void registry_tracer(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);

	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 1), 0);
	user_event_put(event);
	KUNIT_EXPECT_EQ(test, get_fails("kunit u32 b", 0), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -EBUSY);

	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 0), 0);
	event = get(test, "kunit u32 b", 0);
	KUNIT_EXPECT_FALSE(test, event->enabled);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	user_event_put(event);
}

/* The same whether or not a work item comes first, which it does at times. */
static void registry_tracer_again(struct kunit *test)
{
	struct user_event *event;
	int round;

	for (round = 0; round < 20; round++) {
		event = get(test, "kunit u32 a", 0);
		KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 1), 0);
		user_event_put(event);
		KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 0), 0);
		KUNIT_ASSERT_EQ(test, get_fails("kunit u32 b", USER_EVENT_REG_PERSIST), 0);
		KUNIT_ASSERT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
	}
}

/* As above, and then it is deleted: there is nothing left to delete. */
static void registry_tracer_delete(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);

	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 1), 0);
	user_event_put(event);
	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 0), 0);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -ENOENT);

	KUNIT_ASSERT_EQ(test, get_fails("kunit u32 a", USER_EVENT_REG_PERSIST), 0);
	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 1), 0);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), -EBUSY);
	KUNIT_ASSERT_EQ(test, trace_set_clr_event("user_events", "kunit", 0), 0);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
}

/*
 * dynamic_events, which walks all events, deletes the one it is asked for,
 * before the work item that would: nothing runs in between here.
 */
static void registry_tracer_dyn_free(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event *other = get(test, "kunit_other", 0);

	guard(mutex)(&event_mutex);
	KUNIT_EXPECT_TRUE(test, dyn_is_busy(&event->dyn_event));
	user_event_put_later(event);
	user_event_put_later(other);
	KUNIT_EXPECT_FALSE(test, dyn_is_busy(&event->dyn_event));
	KUNIT_EXPECT_EQ(test, dyn_free(&event->dyn_event), 0);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);

	/* In use again, although it still is an orphan. */
	refcount_inc(&other->refs);
	KUNIT_EXPECT_TRUE(test, dyn_is_busy(&other->dyn_event));
	KUNIT_EXPECT_EQ(test, dyn_free(&other->dyn_event), -EBUSY);
	refcount_dec(&other->refs);

	/* An orphan that is to stay is no orphan any more. */
	user_event_persist(other);
	KUNIT_EXPECT_EQ(test, refcount_read(&other->refs), 1);
	put_orphans();
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 1);
	KUNIT_EXPECT_EQ(test, dyn_free(&other->dyn_event), 0);
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 0);
}

static void registry_many(struct kunit *test)
{
	struct user_event **events = kunit_kcalloc(test, 200, sizeof(*events), GFP_KERNEL);
	char command[32];
	int i;

	KUNIT_ASSERT_NOT_NULL(test, events);
	for (i = 0; i < 200; i++) {
		snprintf(command, sizeof(command), "kunit%d u32 a", i);
		events[i] = get(test, command, 0);
	}
	KUNIT_EXPECT_EQ(test, test_group.nr_events, 200);
	for (i = 0; i < 200; i++) {
		snprintf(command, sizeof(command), "kunit%d u32 a", i);
		KUNIT_EXPECT_PTR_EQ(test, get(test, command, 0), events[i]);
		user_event_put(events[i]);
	}
	for (i = 0; i < 200; i++)
		user_event_put(events[i]);
}

/* Commands of dynamic_events, at the edge of their length. */
static void registry_dyn_create(struct kunit *test)
{
	char *command = kunit_kzalloc(test, USER_EVENT_MAX_LISTED + 3, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, command);
	memset(command, ' ', USER_EVENT_MAX_LISTED + 2);
	memcpy(command, "u:kunit", 7);
	KUNIT_EXPECT_EQ(test, dyn_create(command), -EINVAL);

	command[USER_EVENT_MAX_LISTED + 1] = '\0';
	KUNIT_EXPECT_EQ(test, dyn_create(command), 0);
	KUNIT_EXPECT_EQ(test, user_event_delete(&user_event_init_group, "kunit"), 0);

	KUNIT_EXPECT_EQ(test, dyn_create("p:kunit u32 a"), -ECANCELED);
	KUNIT_EXPECT_EQ(test, dyn_create("u:kunit u33 a"), -EINVAL);
}

/* A program of the first version, on a kernel whose struct has grown since. */
static void registry_size_of_argument(struct kunit *test)
{
	unsigned long at = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
					 MAP_ANONYMOUS | MAP_PRIVATE, 0);
	const u32 first = sizeof(struct user_unreg);
	struct {
		struct user_unreg	old;
		u64			new;
	} arg = { .new = 1 };
	u32 __user *size = (u32 __user *)at;

	KUNIT_ASSERT_FALSE(test, !at || IS_ERR_VALUE(at));
	KUNIT_ASSERT_EQ(test, put_user(first, size), 0);
	KUNIT_EXPECT_EQ(test, copy_sized_arg(&arg, sizeof(arg), first, size), 0);
	KUNIT_EXPECT_EQ(test, arg.old.size, first);
	KUNIT_EXPECT_EQ(test, arg.new, 0);

	KUNIT_ASSERT_EQ(test, put_user(first - 1, size), 0);
	KUNIT_EXPECT_EQ(test, copy_sized_arg(&arg, sizeof(arg), first, size), -EINVAL);
}

struct dyn_match_case {
	const char	*why;
	const char	*system;
	const char	*name;
	int		argc;
	const char	*argv[4];
	bool		match;
};

static const struct dyn_match_case dyn_match_cases[] = {
	{ "name", NULL, "kunit", 0, {}, false },
	{ "name of the format", "user_events_multi", NULL, 0, {}, true },
	{ "system", "user_events_multi", "kunit", 0, {}, true },
	{ "system of the others", "user_events", "kunit", 0, {}, true },
	{ "other system", "user_events_kunit", "kunit", 0, {}, false },
	{ "other name", NULL, "kuni", 0, {}, false },
	{ "fields", NULL, "kunit", 4, { "u32", "a;", "u8", "b" }, true },
	{ "fields, other spacing", NULL, "kunit", 3, { "u32", "a;u8", "b;" }, true },
	{ "other fields", NULL, "kunit", 4, { "u32", "a;", "u8", "c" }, false },
	{ "fewer fields", NULL, "kunit", 2, { "u32", "a" }, false },
	{ "no fields at all", NULL, "kunit", 1, { "nonsense" }, false },
};

KUNIT_ARRAY_PARAM_DESC(dyn_match, dyn_match_cases, why);

static void registry_dyn_match(struct kunit *test)
{
	const struct dyn_match_case *param = test->param_value;
	struct user_event *event;
	const char *argv[4];

	event = user_event_get(&user_event_init_group, "kunit u32 a; u8 b",
			       USER_EVENT_REG_MULTI_FORMAT);
	KUNIT_ASSERT_FALSE(test, IS_ERR(event));
	memcpy(argv, param->argv, sizeof(argv));
	KUNIT_EXPECT_EQ(test, param->match,
			dyn_match(param->system, param->name ?: event->tracepoint.name,
				  param->argc, argv, &event->dyn_event));
	user_event_put(event);
}

static bool matches(struct user_event *event, const char *system)
{
	return dyn_match(system, "kunit", 0, NULL, &event->dyn_event);
}

/* In dynamic_events each system of a group stands for both kinds of its events. */
static void registry_dyn_match_group(struct kunit *test)
{
	struct user_event *multi, *single;

	group_init(&test_group, "kunit");
	single = get(test, "kunit", USER_EVENT_REG_PERSIST);
	multi = get(test, "kunit u32 a", USER_EVENT_REG_MULTI_FORMAT);
	KUNIT_EXPECT_STREQ(test, single->call.class->system, "user_events_kunit");
	KUNIT_EXPECT_STREQ(test, multi->call.class->system, "user_events_multi_kunit");

	KUNIT_EXPECT_TRUE(test, matches(single, "user_events_kunit"));
	KUNIT_EXPECT_TRUE(test, matches(multi, "user_events_kunit"));
	KUNIT_EXPECT_TRUE(test, matches(multi, "user_events_multi_kunit"));
	KUNIT_EXPECT_TRUE(test, matches(single, "user_events_multi_kunit"));
	KUNIT_EXPECT_FALSE(test, matches(single, NULL));
	KUNIT_EXPECT_FALSE(test, matches(multi, NULL));
	KUNIT_EXPECT_FALSE(test, matches(single, "user_events"));
	KUNIT_EXPECT_FALSE(test, matches(multi, "user_events_multi"));
	user_event_put(single);
	user_event_put(multi);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
}

/* Two groups share nothing but the total. */
static void registry_groups(struct kunit *test)
{
	struct user_event_group *first = &user_event_init_group;
	struct user_event *event, *multi, *other;

	group_init(&test_group, "kunit");
	event = get(test, "kunit u32 a", USER_EVENT_REG_PERSIST);
	multi = get(test, "kunit u32 a", USER_EVENT_REG_MULTI_FORMAT);
	other = user_event_get(first, "kunit u64 b", 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(other));
	KUNIT_EXPECT_PTR_NE(test, other, event);
	KUNIT_EXPECT_EQ(test, user_event_delete(first, "kunit"), -EBUSY);
	user_event_put(other);
	KUNIT_EXPECT_EQ(test, user_event_delete(first, "kunit"), -ENOENT);

	test_group.max_events = 2;
	user_event_put(event);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_other", 0), -EMFILE);
	user_event_put(multi);
	KUNIT_EXPECT_EQ(test, get_fails("kunit_other", 0), 0);
	user_events_max = nr_user_events;
	KUNIT_EXPECT_EQ(test, get_fails("kunit_other", 0), -EMFILE);
	KUNIT_EXPECT_EQ(test, user_event_delete(&test_group, "kunit"), 0);
}

struct group_name_case {
	const char	*name;
	bool		good;
};

#define NAME_45	"a23456789_123456789_123456789_123456789_12345"

static const struct group_name_case group_name_cases[] = {
	{ "a", true },
	{ "_", true },
	{ "0", true },
	{ "Az_09", true },
	{ NAME_45, true },
	{ NAME_45 "6", false },
	{ "", false },
	{ "a.b", false },
	{ "a-b", false },
	{ "a b", false },
	{ "a:b", false },
	{ "caf\xe9", false },
	{ "\xc3\xa9", false },
	{ "multi", false },
	{ "multi_", false },
	{ "multi_a", false },
	{ "multia", true },
	{ "a_multi_b", true },
	{ "Multi", true },
};

KUNIT_ARRAY_PARAM_DESC(group_name, group_name_cases, name);

static void registry_group_name(struct kunit *test)
{
	const struct group_name_case *param = test->param_value;

	KUNIT_EXPECT_EQ(test, is_group_name(param->name), param->good);
	if (!param->good)
		return;

	group_init(&test_group, param->name);
	KUNIT_EXPECT_LT(test, strlen(test_group.multi_system), 64);
	KUNIT_EXPECT_STREQ(test, test_group.single_system + strlen("user_events_"),
			   param->name);
	KUNIT_EXPECT_STREQ(test, test_group.multi_system + strlen("user_events_multi_"),
			   param->name);
}

static struct kunit_case registry_tests[] = {
	KUNIT_CASE(registry_share),
	KUNIT_CASE(registry_mismatch),
	KUNIT_CASE(registry_bad_command),
	KUNIT_CASE(registry_multi),
	KUNIT_CASE(registry_name_spaces),
	KUNIT_CASE(registry_quota),
	KUNIT_CASE(registry_persist),
	KUNIT_CASE(registry_persist_later),
	KUNIT_CASE(registry_delete_formats),
	KUNIT_CASE(registry_delete_among_many),
	KUNIT_CASE(registry_enabled),
	KUNIT_CASE(registry_recorders),
	KUNIT_CASE(registry_tracer),
	KUNIT_CASE(registry_tracer_again),
	KUNIT_CASE(registry_tracer_delete),
	KUNIT_CASE(registry_tracer_dyn_free),
	KUNIT_CASE(registry_many),
	KUNIT_CASE(registry_dyn_create),
	KUNIT_CASE(registry_size_of_argument),
	KUNIT_CASE_PARAM(registry_dyn_match, dyn_match_gen_params),
	KUNIT_CASE(registry_dyn_match_group),
	KUNIT_CASE(registry_groups),
	KUNIT_CASE_PARAM(registry_group_name, group_name_gen_params),
	{}
};

static struct kunit_suite registry_suite = {
	.name = "user_events_registry",
	.init = registry_init,
	.exit = registry_exit,
	.test_cases = registry_tests,
};

/*
 * Suite user_events_enabler: words that are put off, sets that are shared.
 */

/* An owner of memory that is empty, without a process. */
static struct user_event_mm *owner_of_nothing(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();
	struct user_event_mm *owner;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	owner = owner_alloc_first(mm);
	KUNIT_ASSERT_NOT_NULL(test, owner);
	return owner;
}

static void owner_of_nothing_free(struct user_event_mm *owner)
{
	struct mm_struct *mm = owner->mm;

	user_event_mm_release(owner);
	owner_put(owner);
	mmput(mm);
}

/* A word of @event at @addr, where no memory is. */
static struct user_event_enabler *enabler_of_nothing(struct kunit *test,
						     struct user_event_mm *owner,
						     struct user_event *event,
						     unsigned long addr)
{
	struct user_event_enabler *enabler = kmem_cache_zalloc(enabler_cache, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, enabler);
	enabler->key.addr = addr;
	enabler->width = sizeof(u32);
	enabler->event = event;
	enabler->set = owner->set;
	refcount_inc(&event->refs);
	guard(mutex)(&event_mutex);
	enabler_link(enabler);
	return enabler;
}

/* A toggle that could not write the word. */
static void miss(struct user_event_enabler *enabler)
{
	guard(mutex)(&event_mutex);
	enabler_late(enabler);
}

/*
 * A word is given up for what it was put off for. By then its program may have
 * mapped other memory there, for which it was put off again.
 */
static void enabler_put_off_again(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event_mm *owner = owner_of_nothing(test);
	struct user_event_missed missed, again = {};
	struct user_event_enabler *enabler;

	enabler = enabler_of_nothing(test, owner, event, PAGE_SIZE);
	miss(enabler);
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), -EFAULT);

	miss(enabler);
	give_up_word(owner, &missed);
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &again), -EFAULT);
	KUNIT_EXPECT_EQ(test, again.addr, PAGE_SIZE);
	give_up_word(owner, &again);
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &again), 0);

	owner_of_nothing_free(owner);
	user_event_put(event);
}

/* Unregister it, in memory where its bit cannot be cleared. */
static void remove(struct kunit *test, struct user_event_mm *owner,
		   struct user_event_enabler *enabler)
{
	struct user_event_change change = { .key = enabler->key };

	guard(mutex)(&event_mutex);
	KUNIT_ASSERT_TRUE(test, mmap_read_trylock(owner->mm));
	KUNIT_EXPECT_EQ(test, enabler_remove(owner, &change), -EFAULT);
	mmap_read_unlock(owner->mm);
	KUNIT_EXPECT_PTR_EQ(test, change.removed, enabler);
	enabler_free(enabler);
}

/* Words that cannot be had come in the order in which they were put off. */
static void enabler_put_off_in_order(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event_mm *owner = owner_of_nothing(test);
	struct user_event_enabler *enabler[6];
	struct user_event_missed missed;
	int i;

	for (i = 0; i < 6; i++) {
		enabler[i] = enabler_of_nothing(test, owner, event, (i + 1) * PAGE_SIZE);
		miss(enabler[i]);
	}
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), -EFAULT);
		KUNIT_EXPECT_EQ(test, missed.addr, enabler[i]->key.addr);
		give_up_word(owner, &missed);
	}

	/* One that was given up goes, one is put off again. */
	remove(test, owner, enabler[1]);
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), -EFAULT);
	KUNIT_EXPECT_EQ(test, missed.addr, enabler[2]->key.addr);
	give_up_word(owner, &missed);
	miss(enabler[2]);
	for (i = 3; i < 7; i++) {
		KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), -EFAULT);
		KUNIT_EXPECT_EQ(test, missed.addr, enabler[i < 6 ? i : 2]->key.addr);
		give_up_word(owner, &missed);
	}
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), 0);

	owner_of_nothing_free(owner);
	user_event_put(event);
}

/* A hold of event_mutex goes through so many words, and all are gone through. */
static void enabler_settle_in_batches(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event_mm *owner = owner_of_nothing(test);
	struct user_event_missed missed;
	u64 last;
	int i;

	for (i = 1; i <= USER_EVENT_SETTLE_BATCH + 1; i++)
		miss(enabler_of_nothing(test, owner, event, i * PAGE_SIZE));
	for (i = 1; i <= USER_EVENT_SETTLE_BATCH + 1; i++) {
		KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), -EFAULT);
		KUNIT_EXPECT_EQ(test, missed.addr, i * PAGE_SIZE);
		last = owner->settled;
		give_up_word(owner, &missed);
		KUNIT_EXPECT_GT(test, owner->settled, last);
	}
	KUNIT_EXPECT_EQ(test, next_fault(owner, FAULTS_AT_ONCE, &missed), 0);
	KUNIT_EXPECT_EQ(test, owner->settled, owner->set->last_late);

	owner_of_nothing_free(owner);
	user_event_put(event);
}

/* A child that fork has let share the set of @parent. */
static struct user_event_mm *child_of_nothing(struct kunit *test, struct user_event_mm *parent)
{
	struct mm_struct *mm = mm_alloc();
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	parent->mm->user_event_mm = parent;
	mmap_write_lock(parent->mm);
	ret = user_event_mm_dup(mm, parent->mm);
	mmap_write_unlock(parent->mm);
	parent->mm->user_event_mm = NULL;
	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_ASSERT_NOT_NULL(test, mm->user_event_mm);
	return mm->user_event_mm;
}

/* Whoever changes a shared set has one of its own, in which nothing is late. */
static void enabler_unshare(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct user_event_mm *parent = owner_of_nothing(test);
	struct user_event_enabler *enabler[3];
	struct user_event_missed missed;
	struct user_event_mm *child;
	int i;

	for (i = 0; i < 3; i++)
		enabler[i] = enabler_of_nothing(test, parent, event, (i + 1) * PAGE_SIZE);
	child = child_of_nothing(test, parent);
	KUNIT_EXPECT_PTR_EQ(test, child->set, parent->set);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&event->enablers), 3);

	mutex_lock(&child->lock);
	KUNIT_EXPECT_EQ(test, owner_unshare(child), 0);
	mutex_unlock(&child->lock);
	KUNIT_EXPECT_PTR_NE(test, child->set, parent->set);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&event->enablers), 6);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 7);
	KUNIT_EXPECT_EQ(test, next_fault(child, FAULTS_AT_ONCE, &missed), 0);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_PTR_EQ(test, find_enabler(parent->set, &enabler[i]->key),
				    enabler[i]);
		KUNIT_EXPECT_NOT_NULL(test, find_enabler(child->set, &enabler[i]->key));
	}

	miss(find_enabler(child->set, &enabler[1]->key));
	KUNIT_EXPECT_EQ(test, next_fault(parent, FAULTS_AT_ONCE, &missed), 0);
	KUNIT_EXPECT_EQ(test, next_fault(child, FAULTS_AT_ONCE, &missed), -EFAULT);
	KUNIT_EXPECT_EQ(test, missed.addr, enabler[1]->key.addr);

	user_event_mm_release(child);
	mmput(child->mm);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&event->enablers), 3);
	owner_of_nothing_free(parent);
	KUNIT_EXPECT_EQ(test, refcount_read(&event->refs), 1);
	user_event_put(event);
}

static struct kunit_case enabler_tests[] = {
	KUNIT_CASE(enabler_put_off_again),
	KUNIT_CASE(enabler_put_off_in_order),
	KUNIT_CASE(enabler_settle_in_batches),
	KUNIT_CASE(enabler_unshare),
	{}
};

static struct kunit_suite enabler_suite = {
	.name = "user_events_enabler",
	.init = registry_init,
	.exit = registry_exit,
	.test_cases = enabler_tests,
};

/*
 * Suite user_events_retired: type numbers of events that are gone.
 */

/* An event that was recorded, and is gone. It stays until it is forgotten. */
static struct user_event *retire_event(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	struct trace_event_file *file;

	mutex_lock(&event_mutex);
	file = list_first_entry(&top_trace_array()->events, struct trace_event_file, list);
	KUNIT_EXPECT_PTR_EQ(test, file->event_call, &event->call);
	set_bit(EVENT_FILE_FL_WAS_ENABLED_BIT, &file->flags);
	mutex_unlock(&event_mutex);
	user_event_put(event);
	return event;
}

static int retire_type(struct kunit *test)
{
	return retire_event(test)->call.event.type;
}

static bool is_shown(int type)
{
	bool shown;

	trace_event_read_lock();
	shown = ftrace_find_event(type);
	trace_event_read_unlock();
	return shown;
}

/* An event that was never recorded leaves nothing behind. */
static void retired_never_recorded(struct kunit *test)
{
	struct user_event *event = get(test, "kunit u32 a", 0);
	unsigned int retired = nr_retired_events;
	int type = event->call.event.type;

	user_event_put(event);
	KUNIT_EXPECT_EQ(test, nr_retired_events, retired);
	KUNIT_EXPECT_FALSE(test, is_shown(type));
}

/* The last to retire are shown, and the numbers of all stay taken. */
static void retired_bound(struct kunit *test)
{
	unsigned int retired = nr_retired_events;
	unsigned long *taken;
	struct user_event *hidden = retire_event(test);
	int first = hidden->call.event.type;
	int type, i;

	taken = kunit_kzalloc(test, BITS_TO_LONGS(SZ_64K) * sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, taken);
	set_bit(first, taken);
	for (i = 1; i < RETIRED_EVENTS_SHOWN; i++) {
		type = retire_type(test);
		KUNIT_ASSERT_FALSE(test, test_and_set_bit(type, taken));
	}
	KUNIT_EXPECT_TRUE(test, is_shown(first));

	KUNIT_ASSERT_FALSE(test, test_and_set_bit(retire_type(test), taken));
	KUNIT_EXPECT_FALSE(test, is_shown(first));
	/* Who searches the registry may have found it there before. */
	KUNIT_EXPECT_NOT_NULL(test, hidden->format);
	KUNIT_EXPECT_TRUE(test, is_shown(type));
	KUNIT_EXPECT_FALSE(test, test_and_set_bit(retire_type(test), taken));
	KUNIT_EXPECT_EQ(test, nr_retired_events, retired + RETIRED_EVENTS_SHOWN + 2);
}

/* When the buffers are empty, numbers are free again, but those of events shown. */
static void retired_forgotten(struct kunit *test)
{
	struct trace_array *tr;
	u64 ages[NR_TRACE_AGES];
	int i;

	for (i = 0; i <= RETIRED_EVENTS_SHOWN; i++)
		retire_event(test);
	mutex_lock(&event_mutex);
	list_for_each_entry(tr, &ftrace_trace_arrays, list)
		tr->clear_trace = true;
	tracing_reset_all_online_cpus();
	trace_oldest_ages(ages);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(ages, 0, sizeof(ages)), NULL);
	KUNIT_EXPECT_GT(test, nr_retired_events, RETIRED_EVENTS_SHOWN);
	KUNIT_EXPECT_TRUE(test, forget_retired_events());
	KUNIT_EXPECT_EQ(test, nr_retired_events, RETIRED_EVENTS_SHOWN);
	KUNIT_EXPECT_FALSE(test, forget_retired_events());
	mutex_unlock(&event_mutex);
}

/*
 * Records of an instance where the event was not enabled hold nothing, nor do
 * those that are younger than the event's end.
 */
static void retired_elsewhere(struct kunit *test)
{
	struct retired_event event = {
		.time = 1000 * NSEC_PER_SEC,
		.instances = BIT_ULL(3) | BIT_ULL(40),
	};
	u64 now = 1100 * NSEC_PER_SEC;
	u64 ages[NR_TRACE_AGES] = {};

	KUNIT_EXPECT_FALSE(test, retired_event_has_records(&event, ages, now));
	ages[4] = U64_MAX;
	KUNIT_EXPECT_FALSE(test, retired_event_has_records(&event, ages, now));
	ages[3] = 90 * NSEC_PER_SEC;
	KUNIT_EXPECT_FALSE(test, retired_event_has_records(&event, ages, now));
	ages[40] = 99 * NSEC_PER_SEC;
	KUNIT_EXPECT_TRUE(test, retired_event_has_records(&event, ages, now));
	ages[40] = U64_MAX;
	KUNIT_EXPECT_TRUE(test, retired_event_has_records(&event, ages, now));
}

/* What one instance holds is not taken for what another one holds. */
static void retired_places(struct kunit *test)
{
	struct trace_array *instances[8];
	unsigned int i, nr;
	u64 places = BIT_ULL(top_trace_array()->age_index);
	char name[16];

	for (nr = 0; nr < ARRAY_SIZE(instances); nr++) {
		snprintf(name, sizeof(name), "kunit_%u", nr);
		instances[nr] = trace_array_get_by_name(name, NULL);
		if (!instances[nr])
			break;
		KUNIT_EXPECT_EQ(test, places & BIT_ULL(instances[nr]->age_index), 0);
		places |= BIT_ULL(instances[nr]->age_index);
	}
	KUNIT_EXPECT_EQ(test, nr, ARRAY_SIZE(instances));
	for (i = 0; i < nr; i++) {
		trace_array_put(instances[i]);
		KUNIT_EXPECT_EQ(test, trace_array_destroy(instances[i]), 0);
	}
}

static struct kunit_case retired_tests[] = {
	KUNIT_CASE(retired_places),
	KUNIT_CASE(retired_never_recorded),
	KUNIT_CASE(retired_bound),
	KUNIT_CASE(retired_forgotten),
	KUNIT_CASE(retired_elsewhere),
	{}
};

static struct kunit_suite retired_suite = {
	.name = "user_events_retired",
	.init = registry_init,
	.exit = registry_exit,
	.test_cases = retired_tests,
};

/*
 * Suite user_events_layout: who writes which cache line.
 */

#ifdef CONFIG_SMP

#define LINE(member)		(offsetof(struct user_event, member) / SMP_CACHE_BYTES)
#define LAST_LINE(member)	((offsetofend(struct user_event, member) - 1) / SMP_CACHE_BYTES)

/* What a write reads stays in the caches while references come and go. */
static void layout_of_event(struct kunit *test)
{
	size_t last_read = max3(LAST_LINE(format), LAST_LINE(recorders), LAST_LINE(perf));

	last_read = max3(last_read, LAST_LINE(enabled), LAST_LINE(call));
	last_read = max(last_read, LAST_LINE(losses));
	KUNIT_EXPECT_GT(test, LINE(refs), last_read);
	KUNIT_EXPECT_GT(test, LINE(persistent), last_read);
	KUNIT_EXPECT_GT(test, LINE(enablers), last_read);
	KUNIT_EXPECT_GT(test, LINE(node), last_read);
	KUNIT_EXPECT_GT(test, LINE(link), last_read);
	KUNIT_EXPECT_GT(test, LINE(multi_link), last_read);
	KUNIT_EXPECT_GT(test, LINE(orphan_link), last_read);
	KUNIT_EXPECT_GT(test, LINE(dyn_event), last_read);
	KUNIT_EXPECT_GT(test, LINE(rcu), last_read);
}

/* What is read before a consumer is looked for is one line. */
static void layout_of_checks(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, LAST_LINE(format), 0);
	KUNIT_EXPECT_EQ(test, LAST_LINE(recorders), 0);
	KUNIT_EXPECT_EQ(test, LAST_LINE(perf), 0);
	KUNIT_EXPECT_EQ(test, LAST_LINE(enabled), 0);
}

/* Offsets say something of lines only if events start at one. */
static void layout_of_memory(struct kunit *test)
{
	struct user_event *a = get(test, "kunit_a", 0);
	struct user_event *b = get(test, "kunit_b", 0);

	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)a, SMP_CACHE_BYTES));
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)b, SMP_CACHE_BYTES));
	user_event_put(a);
	user_event_put(b);
}

/* Who writes reads the table of the file, while others register and map. */
static void layout_of_file(struct kunit *test)
{
	size_t lock = offsetof(struct user_event_handle, lock);

	KUNIT_EXPECT_LT(test, offsetof(struct user_event_handle, table), SMP_CACHE_BYTES);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(lock, SMP_CACHE_BYTES));
	KUNIT_EXPECT_GT(test, lock, offsetof(struct user_event_handle, table));
	KUNIT_EXPECT_GT(test, offsetof(struct user_event_handle, reserved), lock);
	KUNIT_EXPECT_GT(test, offsetof(struct user_event_handle, indexes), lock);
	KUNIT_EXPECT_GT(test, offsetof(struct user_event_handle, pages), lock);
}

static struct kunit_case layout_tests[] = {
	KUNIT_CASE(layout_of_event),
	KUNIT_CASE(layout_of_checks),
	KUNIT_CASE(layout_of_memory),
	KUNIT_CASE(layout_of_file),
	{}
};

static struct kunit_suite layout_suite = {
	.name = "user_events_layout",
	.init = registry_init,
	.exit = registry_exit,
	.test_cases = layout_tests,
};

kunit_test_suite(layout_suite);

#endif /* CONFIG_SMP */

kunit_test_suites(&format_suite, &location_suite, &word_suite, &registry_suite,
		  &enabler_suite, &retired_suite);
