// SPDX-License-Identifier: GPL-2.0
/*
 * ftrace as a consumer: text of trace_pipe, filters, triggers, histograms,
 * injection, instances.
 */
#include <limits.h>
#include <stddef.h>

#include "consumer.h"

FIXTURE(ftrace)
{
	int fd;
	uint32_t word;
	struct ft ft;
	char event[64];
	int index;
	char text[65536];
};

FIXTURE_SETUP(ftrace)
{
	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "ftrace_%s",
		 _metadata->name);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ft_create(&self->ft, "ftrace"));
}

FIXTURE_TEARDOWN(ftrace)
{
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

/* Registers the event of the test with @fields. */
static int add_event(struct _test_data_ftrace *self, const char *fields)
{
	char args[512];

	snprintf(args, sizeof(args), "%s %s", self->event, fields);

	return ue_reg(self->fd, args, &self->word, 0, &self->index);
}

/* Lets the event of the test go, and everything of it. */
static int remove_event(struct _test_data_ftrace *self)
{
	int ret = ue_unreg(self->fd, &self->word, 0);

	close(self->fd);
	self->fd = ue_open();

	return ret ?: self->fd < 0 ? self->fd : 0;
}

static ssize_t emit_u32(struct _test_data_ftrace *self, uint32_t value)
{
	return emit(self->fd, self->index, &value, sizeof(value));
}

/* Reads the next record, one u32: 1, or 0 if there is none. */
static int got_u32(struct _test_data_ftrace *self, uint32_t *value)
{
	struct record rec;
	int ret = ft_next(&self->ft, &rec);

	if (ret > 0)
		memcpy(value, record_payload(&rec), sizeof(*value));

	return ret;
}

/* Whether the first trigger of the event starts with @text. */
static bool has_trigger(struct _test_data_ftrace *self, const char *event,
			const char *text)
{
	static char list[4096];

	/* Without triggers it is a comment that lists all kinds. */
	return ue_read(ft_event_path(&self->ft, event, "trigger"), list,
		       sizeof(list)) >= 0 && !strncmp(list, text, strlen(text));
}

/* The payload that fields of all types have in trace_pipe below. */
struct all_types {
	int8_t s8;
	uint8_t u8;
	int16_t s16;
	uint16_t u16;
	int32_t s32;
	uint32_t u32;
	int64_t s64;
	uint64_t u64;
	char ch;
	unsigned char uch;
	short sh;
	unsigned short ush;
	int in;
	unsigned int uin;
	char str[8];
	unsigned char ustr[8];
	uint32_t data;
	uint32_t rel;
	char dyn[6];
	char dyn2[7];
} __packed;

#define ALL_TYPES "s8 f_s8; u8 f_u8; s16 f_s16; u16 f_u16; s32 f_s32; " \
	"u32 f_u32; s64 f_s64; u64 f_u64; char f_char; " \
	"unsigned char f_uchar; short f_short; unsigned short f_ushort; " \
	"int f_int; unsigned int f_uint; char[8] f_str; " \
	"unsigned char[8] f_ustr; __data_loc char[] f_data; " \
	"__rel_loc char[] f_rel"

static bool ends_value(const char *pos)
{
	return *pos == ' ' || *pos == '\n' || !*pos;
}

/*
 * Finds " NAME=" in a line and whether @value follows it, as the type's
 * conversion prints it, or in hexadecimal digits of the field's size with the
 * decimal value behind.
 */
static bool text_has_number(const char *text, const char *name, int size,
			    bool is_signed, uint64_t value)
{
	uint64_t mask = size == 8 ? UINT64_MAX : (1ULL << (8 * size)) - 1;
	char want[64], needle[64];
	const char *pos;

	snprintf(needle, sizeof(needle), " %s=", name);
	pos = strstr(text, needle);
	if (!pos)
		return false;

	pos += strlen(needle);
	if (is_signed)
		snprintf(want, sizeof(want), "%lld", (long long)value);
	else
		snprintf(want, sizeof(want), "%llu",
			 (unsigned long long)(value & mask));
	if (!strncmp(pos, want, strlen(want)) && ends_value(pos + strlen(want)))
		return true;

	/* A single byte is shown by its character, if it has one. */
	if (size == 1) {
		if (pos[0] == '\'' && (uint8_t)pos[1] == (uint8_t)value)
			pos += 3;
		return *pos == '(' && (uint8_t)atoi(pos + 1) == (uint8_t)value;
	}

	return !strncmp(pos, "0x", 2) &&
	       strtoull(pos, NULL, 16) == (value & mask);
}

static bool text_has_string(const char *text, const char *name,
			    const char *value)
{
	char want[128];
	const char *pos;

	snprintf(want, sizeof(want), " %s=%s", name, value);
	pos = strstr(text, want);

	return pos && ends_value(pos + strlen(want));
}

static void fill_all_types(struct all_types *all)
{
	*all = (struct all_types) {
		.s8 = -5, .u8 = 200, .s16 = -3000, .u16 = 60000,
		.s32 = -100000, .u32 = 4000000000U,
		.s64 = -5000000000LL, .u64 = 18000000000000000000ULL,
		.ch = 'x', .uch = 250, .sh = -2, .ush = 65535,
		.in = INT_MIN, .uin = UINT_MAX,
		.str = "seven77", .ustr = "useven7",
		.dyn = "hello", .dyn2 = "worlds",
	};
	all->data = DYN_LOC(offsetof(struct all_types, dyn) + COMMON_SIZE,
			    sizeof(all->dyn));
	all->rel = DYN_LOC((uint32_t)sizeof(all->dyn), sizeof(all->dyn2));
}

static void expect_all_types(struct __test_metadata *_metadata,
			     const char *text, const struct all_types *all)
{
	EXPECT_TRUE(text_has_number(text, "f_s8", 1, true, all->s8));
	EXPECT_TRUE(text_has_number(text, "f_u8", 1, false, all->u8));
	EXPECT_TRUE(text_has_number(text, "f_s16", 2, true, all->s16));
	EXPECT_TRUE(text_has_number(text, "f_u16", 2, false, all->u16));
	EXPECT_TRUE(text_has_number(text, "f_s32", 4, true, all->s32));
	EXPECT_TRUE(text_has_number(text, "f_u32", 4, false, all->u32));
	EXPECT_TRUE(text_has_number(text, "f_s64", 8, true, all->s64));
	EXPECT_TRUE(text_has_number(text, "f_u64", 8, false, all->u64));
	EXPECT_TRUE(text_has_number(text, "f_char", 1, true, all->ch));
	EXPECT_TRUE(text_has_number(text, "f_uchar", 1, false, all->uch));
	EXPECT_TRUE(text_has_number(text, "f_short", 2, true, all->sh));
	EXPECT_TRUE(text_has_number(text, "f_ushort", 2, false, all->ush));
	EXPECT_TRUE(text_has_number(text, "f_int", 4, true, all->in));
	EXPECT_TRUE(text_has_number(text, "f_uint", 4, false, all->uin));
	EXPECT_TRUE(text_has_string(text, "f_str", all->str));
	EXPECT_TRUE(text_has_string(text, "f_ustr", (char *)all->ustr));
	EXPECT_TRUE(text_has_string(text, "f_data", all->dyn));
	EXPECT_TRUE(text_has_string(text, "f_rel", all->dyn2));
	if (_metadata->exit_code)
		TH_LOG("%s", text);
}

UE_TEST_F(ftrace, every_type_in_trace_pipe)
{
	struct all_types all;
	char needle[80];
	char *line;

	fill_all_types(&all);
	ASSERT_EQ(0, add_event(self, ALL_TYPES));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(4 + sizeof(all),
		  emit(self->fd, self->index, &all, sizeof(all)));

	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	snprintf(needle, sizeof(needle), ": %s: ", self->event);
	line = strstr(self->text, needle);
	ASSERT_TRUE(!!line)
		TH_LOG("%s", self->text);
	expect_all_types(_metadata, line, &all);

	/* One event, one line. */
	EXPECT_FALSE(!!strstr(line + strlen(needle), self->event));
	EXPECT_EQ('\n', line[strlen(line) - 1]);
}

UE_TEST_F(ftrace, every_type_in_trace)
{
	struct all_types all;

	fill_all_types(&all);
	ASSERT_EQ(0, add_event(self, ALL_TYPES));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(4 + sizeof(all),
		  emit(self->fd, self->index, &all, sizeof(all)));

	ASSERT_LT(0, ue_read(ft_path(&self->ft, "trace"), self->text,
			     sizeof(self->text)));
	expect_all_types(_metadata, self->text, &all);
}

/* A field name or text that looks like a format is printed, never run. */
UE_TEST_F(ftrace, text_is_not_a_format)
{
	ASSERT_EQ(0, add_event(self, "char[16] s"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(20, emit(self->fd, self->index, "%s%n%d%p%lld%x\0", 16));

	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	EXPECT_TRUE(text_has_string(self->text, "s", "%s%n%d%p%lld%x"))
		TH_LOG("%s", self->text);
}

/* char[N] needs no NUL, and nothing behind it is shown. */
UE_TEST_F(ftrace, array_without_nul)
{
	ASSERT_EQ(0, add_event(self, "char[4] s; char[4] t"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(12, emit(self->fd, self->index, "abcdefgh", 8));

	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	EXPECT_TRUE(text_has_string(self->text, "s", "abcd"))
		TH_LOG("%s", self->text);
	EXPECT_TRUE(text_has_string(self->text, "t", "efgh"))
		TH_LOG("%s", self->text);
}

UE_TEST_F(ftrace, struct_and_no_fields)
{
	char other[80], needle[96];
	char payload[24] = { 0 };
	uint32_t value = 4711;
	int index;

	ASSERT_EQ(0, add_event(self, "struct blob b 20; u32 a"));
	snprintf(other, sizeof(other), "%s_none", self->event);
	ASSERT_EQ(0, ue_reg(self->fd, other, &self->word, 1, &index));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_switch(&self->ft, other, 1));

	memcpy(payload + 20, &value, sizeof(value));
	ASSERT_EQ(28, emit(self->fd, self->index, payload, 24));
	ASSERT_EQ(4, emit(self->fd, index, "", 0));

	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	EXPECT_TRUE(text_has_number(self->text, "a", 4, false, value))
		TH_LOG("%s", self->text);
	snprintf(needle, sizeof(needle), ": %s:", other);
	EXPECT_TRUE(!!strstr(self->text, needle))
		TH_LOG("%s", self->text);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
}

UE_TEST_F(ftrace, filter_number)
{
	uint32_t value, seen;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter", "a > 5"));

	/* What a filter drops is a success. */
	for (value = 0; value < 10; value++) {
		ASSERT_EQ(8, emit_u32(self, value))
			TH_LOG("round %d", (int)value);
	}
	for (value = 6; value < 10; value++) {
		ASSERT_EQ(1, got_u32(self, &seen));
		EXPECT_EQ(value, seen);
	}
	EXPECT_EQ(0, got_u32(self, &seen));
	EXPECT_TRUE(event_lost_nothing(self->event));

	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter", "0"));
	ASSERT_EQ(8, emit_u32(self, 1));
	EXPECT_EQ(1, ft_drain(&self->ft));
}

UE_TEST_F(ftrace, filter_by_sign_and_size)
{
	struct {
		int8_t a;
		uint16_t b;
		int64_t c;
	} __packed payload = { 0 };
	int i;

	ASSERT_EQ(0, add_event(self, "s8 a; u16 b; s64 c"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set_event(&self->ft, self->event, "filter",
				  "a < 0 && b >= 65535 && c < -4294967296"));

	for (i = 0; i < 8; i++) {
		payload.a = i & 1 ? -1 : 1;
		payload.b = i & 2 ? 65535 : 65534;
		payload.c = i & 4 ? -4294967297LL : -4294967296LL;
		ASSERT_EQ(4 + sizeof(payload), emit(self->fd, self->index,
						    &payload, sizeof(payload)));
	}
	EXPECT_EQ(1, ft_got(&self->ft, &payload, sizeof(payload)));
}

UE_TEST_F(ftrace, filter_bad)
{
	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	EXPECT_EQ(-EINVAL, ft_set_event(&self->ft, self->event, "filter",
					"nothing == 1"));
	EXPECT_EQ(-EINVAL, ft_set_event(&self->ft, self->event, "filter",
					"a =="));
}

/* The strings of three kinds of field, as a filter sees them. */
FIXTURE(strings)
{
	int fd;
	uint32_t word;
	struct ft ft;
	char event[64];
	int index;
};

FIXTURE_VARIANT(strings)
{
	const char *type;
	int32_t loc;		/* where the text is, negative if in place */
};

FIXTURE_VARIANT_ADD(strings, array) {
	.type = "char[16]",
	.loc = -1,
};

FIXTURE_VARIANT_ADD(strings, data_loc) {
	.type = "__data_loc char[]",
	.loc = COMMON_SIZE + 4,
};

FIXTURE_VARIANT_ADD(strings, rel_loc) {
	.type = "__rel_loc char[]",
	.loc = 0,
};

FIXTURE_SETUP(strings)
{
	char args[128];

	UE_REQUIRE();

	snprintf(self->event, sizeof(self->event), "strings_%s",
		 _metadata->name);
	snprintf(args, sizeof(args), "%s %s s", self->event, variant->type);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 0, &self->index));
	ASSERT_EQ(0, ft_create(&self->ft, "strings"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
}

FIXTURE_TEARDOWN(strings)
{
	EXPECT_EQ(0, ft_destroy(&self->ft));
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

static ssize_t emit_string(struct _test_data_strings *self,
			   const struct _fixture_variant_strings *variant,
			   const char *text)
{
	char payload[32] = { 0 };
	uint32_t loc;

	if (variant->loc < 0) {
		snprintf(payload, 16, "%s", text);
		return emit(self->fd, self->index, payload, 16);
	}

	loc = DYN_LOC((uint32_t)variant->loc, (uint32_t)strlen(text) + 1);
	memcpy(payload, &loc, sizeof(loc));
	snprintf(payload + sizeof(loc), sizeof(payload) - sizeof(loc), "%s",
		 text);

	return emit(self->fd, self->index, payload, 5 + strlen(text));
}

/* How many of the strings come through a filter. */
static int count_strings(struct _test_data_strings *self,
			 const struct _fixture_variant_strings *variant,
			 const char *filter)
{
	static const char * const texts[] = {
		"hello", "hell", "hello!", "", "othello", "shell", "x",
	};
	unsigned int i;
	int ret;

	ret = ft_set_event(&self->ft, self->event, "filter", filter);
	if (ret)
		return ret;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		if (emit_string(self, variant, texts[i]) < 0)
			return -EIO;
	}

	return ft_drain(&self->ft);
}

UE_TEST_F(strings, filter)
{
	EXPECT_EQ(7, count_strings(self, variant, "0"));
	EXPECT_EQ(1, count_strings(self, variant, "s == \"hello\""));
	EXPECT_EQ(6, count_strings(self, variant, "s != \"hello\""));
	EXPECT_EQ(3, count_strings(self, variant, "s ~ \"hell*\""));
	/* The end of an array is its last byte, a NUL here. */
	EXPECT_EQ(variant->loc < 0 ? 0 : 2,
		  count_strings(self, variant, "s ~ \"*hello\""));
	EXPECT_EQ(5, count_strings(self, variant, "s ~ \"*hell*\""));
	EXPECT_EQ(1, count_strings(self, variant, "s == \"\""));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

UE_TEST_F(strings, histogram)
{
	static char text[65536];
	int i;

	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, "hist:keys=s"));
	for (i = 0; i < 5; i++) {
		ASSERT_LT(0, emit_string(self, variant, "one"))
			TH_LOG("round %d", (int)i);
	}
	ASSERT_LT(0, emit_string(self, variant, "two"));

	ASSERT_LT(0, ue_read(ft_event_path(&self->ft, self->event, "hist"),
			     text, sizeof(text)));
	EXPECT_TRUE(!!strstr(text, "Hits: 6"))
		TH_LOG("%s", text);
	EXPECT_TRUE(!!strstr(text, "Entries: 2"))
		TH_LOG("%s", text);
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event, "!hist:keys=s"));
}

/* Sum of @name in the histogram's entry with key @key. */
static long long hist_value(struct _test_data_ftrace *self, int key,
			    const char *name)
{
	char *line, *pos;

	if (ue_read(ft_event_path(&self->ft, self->event, "hist"), self->text,
		    sizeof(self->text)) < 0)
		return -EIO;

	for (line = strtok(self->text, "\n"); line; line = strtok(NULL, "\n")) {
		int seen;

		if (sscanf(line, "{ a: %d }", &seen) != 1 || seen != key)
			continue;
		pos = strstr(line, name);
		return pos ? strtoll(pos + strlen(name), NULL, 10) : -ENOENT;
	}

	return 0;
}

UE_TEST_F(ftrace, histogram)
{
	struct {
		uint32_t a;
		uint64_t b;
	} __packed payload;
	int i;

	ASSERT_EQ(0, add_event(self, "u32 a; u64 b"));

	/* The trigger alone makes the instance a consumer. */
	ASSERT_EQ(0, self->word);
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, "hist:keys=a:vals=b"));
	ASSERT_EQ(1, self->word);

	for (i = 0; i < 30; i++) {
		payload.a = i % 3;
		payload.b = 10000000000ULL + i;
		ASSERT_EQ(16, emit(self->fd, self->index, &payload, 12));
	}

	EXPECT_EQ(10, hist_value(self, 0, "hitcount:"));
	EXPECT_EQ(10, hist_value(self, 1, "hitcount:"));
	EXPECT_EQ(10, hist_value(self, 2, "hitcount:"));
	EXPECT_EQ(100000000135LL, hist_value(self, 0, "b:"));
	EXPECT_EQ(100000000145LL, hist_value(self, 1, "b:"));
	EXPECT_EQ(100000000155LL, hist_value(self, 2, "b:"));

	/* Nothing was recorded, for the event is not switched on. */
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(self->event));

	ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
				"!hist:keys=a:vals=b"));
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(-EBADF, emit(self->fd, self->index, &payload, 12));
}

/* Histograms count on while the buffer is switched off. */
UE_TEST_F(ftrace, histogram_with_a_filter_and_tracing_off)
{
	int i;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
				"hist:keys=a if a >= 2"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));

	for (i = 0; i < 12; i++) {
		ASSERT_EQ(8, emit_u32(self, i % 4))
			TH_LOG("round %d", (int)i);
	}

	EXPECT_EQ(0, hist_value(self, 1, "hitcount:"));
	EXPECT_EQ(3, hist_value(self, 2, "hitcount:"));
	EXPECT_EQ(3, hist_value(self, 3, "hitcount:"));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(self->event));
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event,
				"!hist:keys=a if a >= 2"));
}

UE_TEST_F(ftrace, trigger_traceoff)
{
	uint32_t value, seen;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
				"traceoff if a == 3"));

	for (value = 0; value < 10; value++) {
		ASSERT_EQ(8, emit_u32(self, value))
			TH_LOG("round %d", (int)value);
	}
	EXPECT_EQ(0, file_number(ft_path(&self->ft, "tracing_on"), ""));

	/* The event that pulls it is the last one at most. */
	for (value = 0; value <= 2; value++) {
		ASSERT_EQ(1, got_u32(self, &seen));
		EXPECT_EQ(value, seen);
	}
	if (got_u32(self, &seen)) {
		EXPECT_EQ(3, seen);
		EXPECT_EQ(0, got_u32(self, &seen));
	}

	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "1"));
	ASSERT_EQ(8, emit_u32(self, 8));
	ASSERT_EQ(1, got_u32(self, &seen));
	EXPECT_EQ(8, seen);
	EXPECT_TRUE(event_lost_nothing(self->event));
}

UE_TEST_F(ftrace, trigger_snapshot)
{
	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	if (access("/sys/kernel/tracing/snapshot", F_OK))
		SKIP(return, "kernel without CONFIG_TRACER_SNAPSHOT");

	ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
				"snapshot:1 if a == 3"));
	ASSERT_EQ(8, emit_u32(self, 41));
	ASSERT_EQ(8, emit_u32(self, 3));
	ASSERT_EQ(8, emit_u32(self, 43));

	/* Buffers have been swapped: the first events are in the snapshot. */
	ASSERT_LT(0, ue_read(ft_path(&self->ft, "snapshot"), self->text,
			     sizeof(self->text)));
	EXPECT_TRUE(text_has_number(self->text, "a", 4, false, 41))
		TH_LOG("%s", self->text);
	EXPECT_FALSE(text_has_number(self->text, "a", 4, false, 43));
	EXPECT_EQ(0, ft_trigger(&self->ft, self->event,
				"!snapshot:1 if a == 3"));
}

static int occurrences(const char *text, const char *what)
{
	int count = 0;

	while ((text = strstr(text, what))) {
		count++;
		text++;
	}

	return count;
}

UE_TEST_F(ftrace, trigger_stacktrace)
{
	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event,
				"stacktrace if a == 3"));
	ASSERT_EQ(8, emit_u32(self, 1));
	ASSERT_EQ(8, emit_u32(self, 3));

	/* An event that is off has triggers all the same. */
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	ASSERT_EQ(8, emit_u32(self, 1));
	ASSERT_EQ(8, emit_u32(self, 3));

	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	EXPECT_EQ(2, occurrences(self->text, "<stack trace>"))
		TH_LOG("%s", self->text);
	EXPECT_EQ(2, occurrences(self->text, " a="));
}

/* An event that a trigger may switch on is attached, and off until then. */
UE_TEST_F(ftrace, trigger_enable_event)
{
	char other[80], trigger[128], remove[130], on[8];
	uint32_t word = 0, value = 1;
	int index;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	snprintf(other, sizeof(other), "%s_other", self->event);
	snprintf(trigger, sizeof(trigger), "%s u32 a", other);
	ASSERT_EQ(0, ue_reg(self->fd, trigger, &word, 3, &index));

	snprintf(trigger, sizeof(trigger),
		 "enable_event:" USER_EVENTS_SYSTEM ":%s", other);
	snprintf(remove, sizeof(remove), "!%s", trigger);
	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, trigger));
	EXPECT_TRUE(has_trigger(self, self->event, "enable_event:"));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(1 << 3, word);
	ASSERT_LT(0, ue_read(ft_event_path(&self->ft, other, "enable"), on,
			     sizeof(on)));
	EXPECT_STREQ("0*\n", on);

	EXPECT_EQ(8, emit(self->fd, index, &value, 4));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(other));

	EXPECT_EQ(8, emit_u32(self, 1));
	EXPECT_EQ(8, emit(self->fd, index, &value, 4));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));

	ASSERT_EQ(0, ft_trigger(&self->ft, self->event, remove));
	EXPECT_FALSE(has_trigger(self, self->event, "enable_event:"));
	EXPECT_EQ(0, self->word);
	ASSERT_EQ(0, ft_switch(&self->ft, other, 0));
	EXPECT_EQ(0, word);
	EXPECT_EQ(0, ue_unreg(self->fd, &word, 3));
}

#define NO_INJECT "no injection: CONFIG_TRACE_EVENT_INJECT"

static bool can_inject(struct _test_data_ftrace *self)
{
	int fd = ue_open_file(ft_event_path(&self->ft, self->event, "inject"),
			      O_PATH);

	return fd >= 0 && !close(fd);
}

UE_TEST_F(ftrace, inject)
{
	const char *file;
	char payload[64];
	struct record rec;
	uint32_t loc;

	ASSERT_EQ(0, add_event(self,
			       "u32 a; s16 b; char[8] s; __rel_loc char[] t"));
	file = ft_event_path(&self->ft, self->event, "inject");
	if (!can_inject(self))
		SKIP(return, NO_INJECT);
	ASSERT_EQ(0, ue_write(file,
			      "a=77 b=-2 s=\"static\" t=\"dynamic\""));

	ASSERT_EQ(1, ft_next(&self->ft, &rec));
	EXPECT_EQ(event_id(self->event), record_type(&rec));
	ASSERT_LE(COMMON_SIZE + 18 + 8, rec.size);
	memcpy(payload, record_payload(&rec), 18);
	EXPECT_EQ(0, memcmp(payload, &(uint32_t){ 77 }, 4));
	EXPECT_EQ(0, memcmp(payload + 4, &(int16_t){ -2 }, 2));
	EXPECT_STREQ("static", payload + 6);

	memcpy(&loc, payload + 14, sizeof(loc));
	ASSERT_LE(COMMON_SIZE + 18 + (loc & 0xffff) + 8, rec.size);
	EXPECT_STREQ("dynamic", (const char *)record_payload(&rec) + 18 +
		     (loc & 0xffff));
	EXPECT_EQ(0, ft_drain(&self->ft));

	EXPECT_EQ(-ENOENT, ue_write(file, "nothing=1"));
	EXPECT_EQ(-EINVAL, ue_write(file, "a=\"text\""));
}

/* A location nobody checked, which is not text: the decoder takes care. */
UE_TEST_F(ftrace, inject_wild_location)
{
	static const char * const locs[] = {
		"t=0xffffffff", "t=0x10000000", "t=0x80000010", "t=0x7fff0000",
	};
	unsigned int i;

	ASSERT_EQ(0, add_event(self, "u32 a; __data_loc u8[] t"));
	if (!can_inject(self))
		SKIP(return, NO_INJECT);
	for (i = 0; i < ARRAY_SIZE(locs); i++) {
		ASSERT_EQ(0, ue_write(ft_event_path(&self->ft, self->event,
						    "inject"), locs[i]));
		ASSERT_LT(0, ft_text(&self->ft, self->text,
				     sizeof(self->text)));
		EXPECT_TRUE(!!strstr(self->text, self->event));
		EXPECT_GT(512, strlen(self->text))
			TH_LOG("%s: %s", locs[i], self->text);
	}
}

/* KASAN saw the common fields written behind the entry that is made up. */
UE_TEST_F(ftrace, inject_without_fields)
{
	struct record rec;

	ASSERT_EQ(0, add_event(self, ""));
	if (!can_inject(self))
		SKIP(return, NO_INJECT);
	ASSERT_EQ(0, ue_write(ft_event_path(&self->ft, self->event, "inject"),
			      "\n"));
	ASSERT_EQ(1, ft_next(&self->ft, &rec));
	EXPECT_EQ(event_id(self->event), record_type(&rec));
	EXPECT_EQ(0, ft_drain(&self->ft));
}

UE_TEST_F(ftrace, two_instances)
{
	struct ft other;
	uint32_t value;

	ASSERT_EQ(0, ft_create(&other, "ftrace_other"));
	ASSERT_EQ(0, add_event(self, "u32 a"));

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	value = 1;
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
	EXPECT_EQ(1, ft_got(&other, &value, 4));

	/* Each has a filter of its own. */
	ASSERT_EQ(0, ft_set_event(&other, self->event, "filter", "a > 5"));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
	EXPECT_EQ(0, ft_drain(&other));

	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 0));
	EXPECT_EQ(1, self->word);
	value = 6;
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_EQ(1, ft_got(&other, &value, 4));

	ASSERT_EQ(0, ft_switch(&other, self->event, 0));
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(-EBADF, emit_u32(self, value));
	EXPECT_EQ(0, ft_destroy(&other));
}

/* Both the top instance and another one. */
UE_TEST_F(ftrace, top_instance)
{
	uint32_t value = 12345;
	int trace;

	/* Others may have filled it. */
	trace = ue_open_file("trace", O_WRONLY | O_TRUNC);
	ASSERT_LE(0, trace);
	close(trace);

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ue_switch(self->event, 1));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	EXPECT_EQ(8, emit_u32(self, value));
	ASSERT_EQ(0, ue_switch(self->event, 0));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));

	ASSERT_LT(0, ue_read("trace", self->text, sizeof(self->text)));
	EXPECT_TRUE(!!strstr(self->text, self->event));
	EXPECT_TRUE(text_has_number(self->text, "a", 4, false, value));
}

UE_TEST_F(ftrace, instance_removed_while_enabled)
{
	uint32_t value = 1;
	struct ft other;

	ASSERT_EQ(0, ft_create(&other, "ftrace_gone"));
	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	ASSERT_EQ(1, self->word);
	ASSERT_EQ(8, emit_u32(self, value));
	ASSERT_EQ(0, ft_destroy(&other));

	EXPECT_EQ(0, self->word);
	EXPECT_EQ(-EBADF, emit_u32(self, value));

	/* And another instance is not disturbed by it. */
	ASSERT_EQ(0, ft_create(&other, "ftrace_gone"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	ASSERT_EQ(0, ft_destroy(&other));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
}

/* An instance made while an event is there knows it too. */
UE_TEST_F(ftrace, instance_made_later)
{
	uint32_t value = 3;
	struct ft other;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_create(&other, "ftrace_late"));
	ASSERT_EQ(0, ft_switch(&other, self->event, 1));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&other, &value, 4));
	EXPECT_EQ(0, ft_destroy(&other));
}

UE_TEST_F(ftrace, whole_system)
{
	char enable[256], other[80];
	uint32_t word = 0, value = 9;
	int index;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	snprintf(other, sizeof(other), "%s_other", self->event);
	ASSERT_EQ(0, ue_reg(self->fd, other, &word, 0, &index));
	snprintf(enable, sizeof(enable), "%s/events/" USER_EVENTS_SYSTEM
		 "/enable", self->ft.dir);

	ASSERT_EQ(0, ue_write(enable, "1"));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(1, word);
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
	EXPECT_EQ(4, emit(self->fd, index, "", 0));
	EXPECT_EQ(1, ft_got(&self->ft, "", 0));

	ASSERT_EQ(0, ue_write(enable, "0"));
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(0, word);
	EXPECT_EQ(-EBADF, emit_u32(self, value));

	/* Switched on by the name of the system and the event, too. */
	snprintf(enable, sizeof(enable), USER_EVENTS_SYSTEM ":%s",
		 self->event);
	ASSERT_EQ(0, ft_set(&self->ft, "set_event", enable));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(0, word);
	EXPECT_EQ(0, ue_unreg(self->fd, &word, 0));
}

/*
 * A file that was found before its system went belongs to no system that came
 * after. With the directory of this instance held, the next one of it is likely
 * to be where that of the top instance was.
 */
UE_TEST_F(ftrace, file_of_a_system_that_went)
{
	/* As a string it is larger than a directory, and not in the way. */
	const char *fields = "u32 field; u32 another_field; u32 third_field";
	const char *enable = "events/" USER_EVENTS_SYSTEM "/enable";
	char past[64];
	int fd, held;

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, add_event(self, fields));
		fd = ue_open_file(enable, O_PATH);
		ASSERT_LE(0, fd);
		held = ue_open_file(ft_path(&self->ft, enable), O_RDONLY);
		ASSERT_LE(0, held);
		ASSERT_EQ(0, remove_event(self));
		ASSERT_EQ(0, ue_active());

		ASSERT_EQ(0, add_event(self, fields));
		snprintf(past, sizeof(past), "/proc/self/fd/%d", fd);
		EXPECT_EQ(-ENODEV, ue_write(past, "1"));
		EXPECT_EQ(0, self->word);
		ASSERT_EQ(0, remove_event(self));
		close(held);
		close(fd);
	}
}

UE_TEST_F(ftrace, set_event_pid)
{
	uint32_t value = 5;
	char pid[16];

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));

	/* Somebody else is watched: a rule of the consumer, not a loss. */
	ASSERT_EQ(0, ft_set(&self->ft, "set_event_pid", "1"));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(self->event));

	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, ft_set(&self->ft, "set_event_pid", pid));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
}

UE_TEST_F(ftrace, tracing_off_is_no_loss)
{
	static char big[8192];
	uint32_t value = 7;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "0"));
	EXPECT_EQ(1, self->word);
	EXPECT_EQ(8, emit_u32(self, value));

	/* Whatever its size. */
	EXPECT_EQ(4 + sizeof(big),
		  emit(self->fd, self->index, big, sizeof(big)));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(self->event));

	ASSERT_EQ(0, ft_set(&self->ft, "tracing_on", "1"));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(1, ft_got(&self->ft, &value, 4));
	EXPECT_EQ(-E2BIG, emit(self->fd, self->index, big, sizeof(big)));
}

/* A CPU that the instance does not trace: a rule of its own, too. */
UE_TEST_F(ftrace, tracing_cpumask)
{
	int other = other_cpu(self->ft.cpu);
	uint32_t value = 8;
	char mask[16];

	if (other < 0)
		SKIP(return, "takes two CPUs");

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	snprintf(mask, sizeof(mask), "%x", 1 << other);
	ASSERT_EQ(0, ft_set(&self->ft, "tracing_cpumask", mask));
	EXPECT_EQ(8, emit_u32(self, value));
	EXPECT_EQ(0, ft_drain(&self->ft));
	EXPECT_TRUE(event_lost_nothing(self->event));
}

/* The record carries who wrote it, and when: in order, by our pid. */
UE_TEST_F(ftrace, common_fields)
{
	struct record rec;
	uint32_t value;
	int pid;

	ASSERT_EQ(0, add_event(self, "u32 a"));
	ASSERT_EQ(0, ft_switch(&self->ft, self->event, 1));
	for (value = 0; value < 1000; value++) {
		ASSERT_EQ(8, emit_u32(self, value))
			TH_LOG("round %d", (int)value);
	}

	for (value = 0; value < 1000; value++) {
		ASSERT_EQ(1, ft_next(&self->ft, &rec));
		ASSERT_TRUE(record_is(&rec, &value, sizeof(value)));
		ASSERT_EQ(event_id(self->event), record_type(&rec));
		memcpy(&pid, rec.data + 4, sizeof(pid));
		ASSERT_EQ(getpid(), pid);
	}
	EXPECT_EQ(0, ft_drain(&self->ft));
}

/* Of a multi-format event each format is recorded as its own. */
UE_TEST_F(ftrace, multi_format)
{
	char args[128], path[512], *pos;
	struct {
		uint32_t word;
		int index;
	} format[2] = { 0 };
	uint64_t wide = 0x1122334455667788ULL;
	uint32_t narrow = 0x99aabbcc;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		snprintf(args, sizeof(args), "%s %s a", self->event,
			 i ? "u64" : "u32");
		ASSERT_EQ(0, ue_reg_full(self->fd, args,
					 USER_EVENT_REG_MULTI_FORMAT,
					 &format[i].word, 4, 0,
					 &format[i].index));
	}

	snprintf(path, sizeof(path), "%s/events/" USER_EVENTS_MULTI_SYSTEM
		 "/enable", self->ft.dir);
	ASSERT_EQ(0, ue_write(path, "1"));
	EXPECT_EQ(1, format[0].word);
	EXPECT_EQ(1, format[1].word);

	EXPECT_EQ(8, emit(self->fd, format[0].index, &narrow, 4));
	EXPECT_EQ(1, ft_got(&self->ft, &narrow, 4));
	EXPECT_EQ(12, emit(self->fd, format[1].index, &wide, 8));
	EXPECT_EQ(1, ft_got(&self->ft, &wide, 8));
	EXPECT_EQ(-EINVAL, emit(self->fd, format[1].index, &wide, 4));

	/* The text names the event and its format, or the event alone. */
	EXPECT_EQ(8, emit(self->fd, format[0].index, &narrow, 4));
	ASSERT_LT(0, ft_text(&self->ft, self->text, sizeof(self->text)));
	pos = strstr(self->text, self->event);
	ASSERT_TRUE(!!pos);
	EXPECT_TRUE(text_has_number(pos, "a", 4, false, narrow));

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, ue_unreg(self->fd, &format[i].word, 0))
			TH_LOG("round %d", (int)i);
	}
}

TEST_HARNESS_MAIN
