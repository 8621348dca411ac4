// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events that programs define and write.
 *
 * A program registers an event through the tracefs file user_events_data and
 * names a bit in its memory, which is set while anybody listens; what it then
 * writes to that file reaches ftrace, perf and BPF as any event does. The
 * interface is described in Documentation/trace/user_events.rst.
 *
 *   formats    what a command string says: name, fields, print fmt
 *   enablers   bits in the memory of programs and in pages of ours
 *   events     group, registry, consumers, lifetime
 *   records    stage, check, deliver to every consumer, batches, losses
 *   files      user_events_data, user_events_status, dynamic_events, sysctl
 *
 * Locks, outermost first:
 *
 *   event_mutex            the registry, consumers coming and going, the
 *                          enablers of an event and of a set, every word
 *                          that is written in the memory of a program
 *   mmap_lock              only tried while event_mutex is held; waited for
 *                          only by those who hold nothing
 *   user_event_file.lock   the index table of one open file, for writers, and
 *                          its pages: mmap() holds mmap_lock
 *   user_event_pages.lock  pages of enable words, bits that are registered
 *   owners_lock (spin)     owners of a set, user_event_seq
 *   siglock (spin)         who is attached to an owner
 *
 * Nothing that can fault in memory of a program runs under any of them but
 * mmap_lock.
 */

#include <linux/anon_inodes.h>
#include <linux/bpf.h>
#include <linux/compat.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/highmem.h>
#include <linux/init.h>
#include <linux/ioctl.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/perf_event.h>
#include <linux/random.h>
#include <linux/rhashtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/secretmem.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/tracefs.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/unaligned.h>
#include <linux/user_events.h>
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "../events/internal.h"
#include "trace.h"
#include "trace_dynevent.h"
#include "trace_output.h"

/* Bytes of a command string, its NUL included. */
#define USER_EVENT_MAX_COMMAND		512

/* Most bytes the declared fields of an event may take. */
#define USER_EVENT_MAX_FIELDS_SIZE	SZ_64K

/*
 * No ring takes a record of more: the largest sub-buffer of ftrace, whatever the
 * size of a page.
 */
#define USER_EVENT_MAX_RECORD		SZ_1M

/* Records of up to this many bytes are staged on the stack: 1 KiB and change. */
#define USER_EVENT_STACK_RECORD		(BITS_PER_LONG == 64 ? 1072 : 512)

/* Pages of enable words that one open file may map. */
#define USER_EVENT_MAX_PAGES		16

/*
 * What separates words. isspace() has 0xa0 as well, which is no space in UTF-8
 * but a part of letters.
 */
#define USER_EVENT_SPACES		" \t\n\v\f\r"

/* Lists that the multi-format events of a group are spread over: 2^10. */
#define USER_EVENT_MULTI_BITS		10

/* How often a page is faulted in for one update of a word. */
#define USER_EVENT_FAULT_ATTEMPTS	10

/* Words behind one that has to wait which are tried before that is waited for. */
#define USER_EVENT_LOOK_AHEAD		256

/* Enablers of a process that has ended which go in one hold of event_mutex. */
#define USER_EVENT_DISCARD_BATCH	64

/* Unregistered words that a fork may have missed, most of one process. */
#define USER_EVENT_MAX_REMOVED		256

/*
 * Formats: what a command string says.
 *
 * A format is written once by format_parse() and read-only from then on. The
 * event made from it owns it.
 */

/* How the bytes of a field are found. */
enum user_event_place {
	PLACE_INLINE,		/* they are the field */
	PLACE_DATA_LOC,		/* offset counts from the start of the record */
	PLACE_REL_LOC,		/* offset counts from the end of the field */
};

/**
 * struct user_event_field - a declared field
 * @type: type as written, one space between its words
 * @name: name
 * @offset: bytes from the start of the record, common fields included
 * @size: bytes
 * @place: how its bytes are found
 * @has_size: the size is part of the declaration (struct)
 * @is_char: type of characters; those a location points at end in NUL
 */
struct user_event_field {
	const char		*type;
	const char		*name;
	u32			offset;
	u32			size;
	u8			place;
	bool			has_size;
	bool			is_char;
};

/**
 * struct user_event_format - name and fields of an event
 * @name: name of the event; the strings of the fields follow it in the same text
 * @payload_size: bytes of all fields, least payload of a write
 * @nr_fields: elements of @fields
 * @nr_locations: how many of them are not PLACE_INLINE
 * @fields: in the order declared. Behind them is the print fmt, once an event
 *	has the format, and the text
 */
struct user_event_format {
	const char		*name;
	u32			payload_size;
	u16			nr_fields;
	u16			nr_locations;
	struct user_event_field	fields[];
};

struct basic_type {
	const char		*name;
	u8			size;
	const char		*print;
};

static const struct basic_type basic_types[] = {
	{ "s8",			1, "%d" },
	{ "u8",			1, "%u" },
	{ "s16",		2, "%d" },
	{ "u16",		2, "%u" },
	{ "s32",		4, "%d" },
	{ "u32",		4, "%u" },
	{ "s64",		8, "%lld" },
	{ "u64",		8, "%llu" },
	{ "char",		1, "%d" },
	{ "unsigned char",	1, "%u" },
	{ "short",		2, "%d" },
	{ "unsigned short",	2, "%u" },
	{ "int",		4, "%d" },
	{ "unsigned int",	4, "%u" },
};

static const struct basic_type *find_basic_type(const char *type)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(basic_types); i++) {
		if (!strcmp(basic_types[i].name, type))
			return &basic_types[i];
	}
	return NULL;
}

/* N of "char[N]" and "unsigned char[N]", 0 for any other type. */
static u32 char_array_size(const char *type)
{
	char digits[7];
	size_t len;
	u32 size;

	if (!str_has_prefix(type, "char[") &&
	    !str_has_prefix(type, "unsigned char["))
		return 0;

	type = strchr(type, '[') + 1;
	len = strcspn(type, "]");
	if (!len || len >= sizeof(digits) || strcmp(type + len, "]"))
		return 0;

	memcpy(digits, type, len);
	digits[len] = '\0';
	if (!isxdigit(digits[0]) ||
	    kstrtou32(digits, str_has_prefix(digits, "0x") ? 16 : 10, &size))
		return 0;

	return size <= 1024 ? size : 0;
}

static bool is_blank(const char *text)
{
	return !text[strspn(text, USER_EVENT_SPACES)];
}

/* Cut the next word off *text, NULL where none is left. */
static char *next_word(char **text)
{
	char *word = *text + strspn(*text, USER_EVENT_SPACES);
	char *end = word + strcspn(word, USER_EVENT_SPACES);

	if (!*word)
		return NULL;

	*text = end;
	if (*end) {
		*end = '\0';
		*text = end + 1;
	}
	return word;
}

/*
 * Filters, histograms and the trace file tell by these words where the bytes
 * of a field are. A type that has one of them elsewhere than in front would be
 * decoded by rules that no record is checked for.
 */
static bool says_location(const char *word)
{
	return strstr(word, "__data_loc") || strstr(word, "__rel_loc");
}

/* The same for the type of what a location points at. */
static bool misleads_filters(const char *word)
{
	return says_location(word) || strstr(word, "cpumask_t");
}

/* For isalpha() and the like, the letters of Latin-1 are letters as well. */
static bool is_ascii(const char *text)
{
	while (*text && isascii(*text))
		text++;
	return !*text;
}

static bool is_identifier(const char *word)
{
	return is_ascii(word) && is_good_name(word);
}

/* Words of a location's type: letters, digits, and what arrays need. */
static bool is_type_word(const char *word)
{
	if (misleads_filters(word) || !is_ascii(word))
		return false;

	while (isalnum(*word) || *word == '_' || *word == '[' || *word == ']' ||
	       *word == '*')
		word++;
	return !*word;
}

/*
 * Move @word to where the type in @type ends, one space in front. The words
 * of a type come from the same text with at least one space between them, so
 * it never grows over what has not been read.
 */
static void append_word(char *type, const char *word)
{
	size_t len = strlen(type);

	type[len] = ' ';
	memmove(type + len + 1, word, strlen(word) + 1);
}

static int parse_struct(struct user_event_field *field, char *type, char *text)
{
	const char *tag = next_word(&text);
	const char *name = next_word(&text);
	const char *size = next_word(&text);

	if (!size || next_word(&text) || !is_identifier(tag) ||
	    says_location(tag) || !isdigit(size[0]) || kstrtou32(size, 10, &field->size) ||
	    !field->size)
		return -EINVAL;

	append_word(type, tag);
	field->name = name;
	field->has_size = true;
	return 0;
}

static int parse_location(struct user_event_field *field, char *type, char *text)
{
	const char *word = next_word(&text);
	const char *next = next_word(&text);

	if (!next)
		return -EINVAL;

	for (; next; next = next_word(&text)) {
		if (!is_type_word(word))
			return -EINVAL;
		append_word(type, word);
		word = next;
	}

	field->name = word;
	field->size = sizeof(u32);
	/* The same test as filter_assign_type(): its strings end in NUL. */
	field->is_char = strstr(type, "char");
	return 0;
}

static int parse_plain(struct user_event_field *field, char *type, char *text)
{
	const struct basic_type *basic;
	const char *word;

	if (!strcmp(type, "unsigned")) {
		word = next_word(&text);
		if (!word)
			return -EINVAL;
		append_word(type, word);
	}

	field->name = next_word(&text);
	if (!field->name || next_word(&text))
		return -EINVAL;

	basic = find_basic_type(type);
	field->size = basic ? basic->size : char_array_size(type);
	field->is_char = !basic;
	return field->size ? 0 : -EINVAL;
}

static int parse_field(struct user_event_field *field, char *text)
{
	char *type = next_word(&text);
	int ret;

	if (!type)
		return -EINVAL;

	field->type = type;
	if (!strcmp(type, "struct")) {
		ret = parse_struct(field, type, text);
	} else if (!strcmp(type, "__data_loc")) {
		field->place = PLACE_DATA_LOC;
		ret = parse_location(field, type, text);
	} else if (!strcmp(type, "__rel_loc")) {
		field->place = PLACE_REL_LOC;
		ret = parse_location(field, type, text);
	} else {
		ret = parse_plain(field, type, text);
	}

	if (!ret && !is_identifier(field->name))
		ret = -EINVAL;
	return ret;
}

/* Names become directories, next to the files named here. */
static bool is_event_name(const char *name)
{
	const char *c;

	for (c = name; *c; c++) {
		if (!isgraph(*c) && isascii(*c))
			return false;
		if (*c == '/')
			return false;
	}
	return c != name && strcmp(name, ".") && strcmp(name, "..") &&
	       strcmp(name, "enable") && strcmp(name, "filter");
}

static int parse_fields(struct user_event_format *format, char *text)
{
	u32 offset = sizeof(struct trace_entry);
	struct user_event_field *field;
	char *part;
	int ret;

	while ((part = strsep(&text, ";"))) {
		/* Nothing behind the last ';', or one ';' and no field at all */
		if (is_blank(part) && is_blank(text ?: part) &&
		    (!text || !format->nr_fields))
			break;

		field = &format->fields[format->nr_fields++];
		ret = parse_field(field, part);
		if (ret)
			return ret;

		field->offset = offset;
		if (field->size > USER_EVENT_MAX_FIELDS_SIZE)
			return -EINVAL;
		offset += field->size;
		if (offset > USER_EVENT_MAX_FIELDS_SIZE)
			return -EINVAL;
		format->nr_locations += field->place != PLACE_INLINE;
	}

	format->payload_size = offset - sizeof(struct trace_entry);
	return 0;
}

static void format_free(struct user_event_format *format)
{
	if (!IS_ERR(format))
		kfree(format);
}

DEFINE_FREE(user_event_format, struct user_event_format *, format_free(_T))

static bool formats_match(const struct user_event_format *a,
			  const struct user_event_format *b)
{
	int i;

	if (a->nr_fields != b->nr_fields || a->payload_size != b->payload_size)
		return false;

	for (i = 0; i < a->nr_fields; i++) {
		const struct user_event_field *x = &a->fields[i];
		const struct user_event_field *y = &b->fields[i];

		if (x->size != y->size || strcmp(x->name, y->name) ||
		    strcmp(x->type, y->type))
			return false;
	}
	return true;
}

static u32 format_hash(const struct user_event_format *format, u32 seed)
{
	int i;

	for (i = 0; i < format->nr_fields; i++) {
		const struct user_event_field *field = &format->fields[i];

		seed = jhash(field->type, strlen(field->type), seed);
		seed = jhash(field->name, strlen(field->name), seed);
		seed = jhash_1word(field->size, seed);
	}
	return seed;
}

static const char *field_print(const struct user_event_field *field)
{
	const struct basic_type *basic;

	if (field->place != PLACE_INLINE)
		return field->is_char ? "%s" : "%llu";
	if (field->is_char)
		return "%s";

	basic = find_basic_type(field->type);
	return basic ? basic->print : "%llu";
}

static const char *field_accessor(const struct user_event_field *field)
{
	if (field->place == PLACE_DATA_LOC && field->is_char)
		return ", __get_str(%s)";
	if (field->place == PLACE_REL_LOC && field->is_char)
		return ", __get_rel_str(%s)";
	return ", REC->%s";
}

/* As snprintf() behind @len bytes of @buf. Return: the length with that. */
static __printf(4, 5) size_t append(char *buf, size_t size, size_t len,
				    const char *fmt, ...)
{
	size_t at = min(len, size);
	va_list args;

	va_start(args, fmt);
	len += vsnprintf(buf + at, size - at, fmt, args);
	va_end(args);
	return len;
}

/* As snprintf(): the length that is needed, of which @size is written. */
static size_t format_print_fmt(const struct user_event_format *format,
			       char *buf, size_t size)
{
	const struct user_event_field *end = format->fields + format->nr_fields;
	const struct user_event_field *field;
	size_t len = append(buf, size, 0, "\"");

	for (field = format->fields; field < end; field++) {
		len = append(buf, size, len, "%s%s=%s",
			     field == format->fields ? "" : " ", field->name,
			     field_print(field));
	}
	len = append(buf, size, len, "\"");
	for (field = format->fields; field < end; field++)
		len = append(buf, size, len, field_accessor(field), field->name);
	return len;
}

static char *format_end(struct user_event_format *format)
{
	return (char *)&format->fields[format->nr_fields];
}

/*
 * The format of a new event in just the memory it needs, print fmt included: most
 * formats are only looked up. Frees @format.
 */
static struct user_event_format *format_finish(struct user_event_format *format)
{
	size_t head = format_end(format) - (char *)format;
	size_t print_size = format_print_fmt(format, NULL, 0) + 1;
	const char *last = format->name;
	struct user_event_format *new;
	size_t text_size;
	char *text;
	int i;

	if (format->nr_fields)
		last = format->fields[format->nr_fields - 1].name;
	text_size = last + strlen(last) + 1 - format->name;

	new = kmalloc(head + print_size + text_size, GFP_KERNEL_ACCOUNT);
	if (!new)
		goto out;

	memcpy(new, format, head);
	text = format_end(new) + print_size;
	memcpy(text, format->name, text_size);
	for (i = 0; i < new->nr_fields; i++) {
		new->fields[i].type = text + (format->fields[i].type - format->name);
		new->fields[i].name = text + (format->fields[i].name - format->name);
	}
	new->name = text;
	format_print_fmt(new, format_end(new), print_size);
out:
	format_free(format);
	return new;
}

/**
 * format_parse - read a command string
 * @command: "name[:flags] [field][; field]...", without the "u:" prefix
 *
 * Context: process context, may sleep.
 * Return: a format that the caller has to hand to format_free(), or an
 * ERR_PTR(): -EINVAL where the command is malformed, -ENOMEM.
 */
static struct user_event_format *format_parse(const char *command)
{
	struct user_event_format *format __free(user_event_format) = NULL;
	char *name, *rest;
	size_t parts = 1;
	size_t head;
	const char *c;
	int ret;

	for (c = command; *c; c++)
		parts += *c == ';';

	head = struct_size(format, fields, parts);
	format = kzalloc(head + (c - command) + 1, GFP_KERNEL_ACCOUNT);
	if (!format)
		return ERR_PTR(-ENOMEM);

	name = (char *)format + head;
	memcpy(name, command, c - command + 1);
	rest = name + strcspn(name, USER_EVENT_SPACES ";");

	/* The ';' of "name;" ends an empty field list. */
	if (*rest) {
		bool empty = *rest == ';';

		*rest++ = '\0';
		if (empty && !is_blank(rest))
			return ERR_PTR(-EINVAL);
	}

	/* No text flag exists. */
	if (!is_event_name(name) || strchr(name, ':'))
		return ERR_PTR(-EINVAL);

	format->name = name;
	ret = parse_fields(format, rest);
	if (ret)
		return ERR_PTR(ret);

	return_ptr(format);
}

/*
 * Events: group, registry, lifetime.
 *
 * Every reference to an event has a name, see struct user_event. Whoever drops
 * the last one in a system call destroys the event in that call. Only the
 * callbacks of ftrace and perf must not destroy the call that is calling them:
 * they leave the last reference to user_event_orphans, from where a work item
 * drops it, or before that anybody who registers, deletes or drops another.
 * An event that ftrace still points to, from an eprobe for example, waits
 * there as well.
 */

/**
 * struct user_event_group - everything an open file can see
 * @events: registry, all events by name and, for multi-format events, fields
 * @list: all events in the order created
 * @multi: those of them that are multi-format, by name: many may share it, and
 *	whoever deletes an event by name looks for all of them
 * @seed: of the hash of a name in @multi, so that nobody can make up names that
 *	all end up in one place
 * @nr_events: elements of @list, bounded by user_events_max
 * @next_id: suffix of the next multi-format event, never used twice
 * @single_class: what ftrace needs to know of single-format events
 * @multi_class: the same of multi-format events
 * @dyn_ops: what dynamic_events calls for events of the group
 *
 * All is changed under event_mutex; @events is searched under RCU as well.
 */
struct user_event_group {
	struct rhashtable		events;
	struct list_head		list;
	DECLARE_HASHTABLE(multi, USER_EVENT_MULTI_BITS);
	u32				seed;
	unsigned int			nr_events;
	u64				next_id;
	struct trace_event_class	single_class;
	struct trace_event_class	multi_class;
	struct dyn_event_operations	*dyn_ops;
};

/* Who may lose a record, and why. */
enum user_event_consumer {
	CONSUMER_FTRACE,
	CONSUMER_PERF,
	NR_CONSUMERS,
};

enum user_event_loss {
	LOSS_TOO_BIG,
	LOSS_FULL,
	LOSS_RECURSION,
	LOSS_NO_MEMORY,
	NR_LOSSES,
};

static const char * const consumer_names[NR_CONSUMERS] = { "ftrace", "perf" };

static const char * const loss_names[NR_LOSSES] = {
	"too_big", "full", "recursion", "no_memory",
};

/**
 * struct user_event_losses - records that an event lost
 * @count: by who lost it and why
 */
struct user_event_losses {
	atomic_long_t			count[NR_CONSUMERS][NR_LOSSES];
};

/**
 * struct user_event_files - the ftrace instances that record an event
 * @rcu: freed after readers
 * @nr: elements of @file
 * @file: a file may be NULL if it could not be taken out for lack of memory
 */
struct user_event_files {
	struct rcu_head			rcu;
	unsigned int			nr;
	struct trace_event_file		*file[];
};

/**
 * struct user_event - an event
 * @format: name and fields, owned
 * @files: instances that record it; changed under event_mutex, read under RCU
 * @perf: perf events exist for it; call.perf_events is valid while set
 * @enabled: any consumer is attached, what the enable bits say
 * @call: what ftrace, perf and BPF know of the event
 * @group: group it belongs to
 * @fields: fields as ftrace wants them
 * @losses: owned, there since the first consumer
 * @persistent: the registry holds a reference, event_mutex
 * @refs: one each for the registry, an index of a file, an enabler, an
 *	instance that records, perf. Drops to 0 only under event_mutex, and
 *	the event is out of the registry when that is released.
 * @tracepoint: carries the name for @call; nothing is ever hooked to it
 * @enablers: words that show @enabled, event_mutex
 * @node: in group->events
 * @link: in group->list
 * @multi_link: in group->multi, unhashed for a single-format event
 * @orphan_link: in user_event_orphans while that holds a reference
 * @dyn_event: in the list of dynamic_events
 * @rcu: freed after readers of the registry
 *
 * The first part is what a write reads; nothing of it is written while
 * consumers neither come nor go.
 */
struct user_event {
	struct user_event_format	*format;
	struct user_event_files __rcu	*files;
	bool				perf;
	bool				enabled;
	struct trace_event_call		call;
	struct user_event_group		*group;
	struct list_head		fields;
	struct user_event_losses	*losses;

	refcount_t			refs ____cacheline_aligned_in_smp;
	bool				persistent;
	struct tracepoint		tracepoint;
	struct list_head		enablers;
	struct rhash_head		node;
	struct list_head		link;
	struct hlist_node		multi_link;
	struct list_head		orphan_link;
	struct dyn_event		dyn_event;
	struct rcu_head			rcu;
};

/* What the registry is searched for. */
struct user_event_lookup {
	const struct user_event_format	*format;
	bool				multi;
};

static bool is_multi(const struct user_event *event)
{
	return event->call.class == &event->group->multi_class;
}

/* Multi-format events of a name are in the same list of group->multi. */
static u32 hash_name(const struct user_event_group *group, const char *name)
{
	return jhash(name, strlen(name), group->seed);
}

static u32 hash_event(const struct user_event_format *format, bool multi, u32 seed)
{
	seed = jhash(format->name, strlen(format->name), seed);
	return multi ? format_hash(format, ~seed) : seed;
}

static u32 hash_lookup(const void *data, u32 len, u32 seed)
{
	const struct user_event_lookup *lookup = data;

	return hash_event(lookup->format, lookup->multi, seed);
}

static u32 hash_registered(const void *data, u32 len, u32 seed)
{
	const struct user_event *event = data;

	return hash_event(event->format, is_multi(event), seed);
}

/* A multi-format event is what its fields say, others are by name alone. */
static int compare_registered(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct user_event_lookup *lookup = arg->key;
	const struct user_event *event = obj;

	if (is_multi(event) != lookup->multi ||
	    strcmp(event->format->name, lookup->format->name))
		return 1;
	return lookup->multi && !formats_match(event->format, lookup->format);
}

static const struct rhashtable_params registry_params = {
	.head_offset		= offsetof(struct user_event, node),
	.hashfn			= hash_lookup,
	.obj_hashfn		= hash_registered,
	.obj_cmpfn		= compare_registered,
	.automatic_shrinking	= true,
};

/* Most events a group may hold. */
static unsigned int user_events_max = 32768;

static struct kmem_cache *event_cache;

/* Events with a reference that could not be dropped yet, event_mutex. */
static LIST_HEAD(user_event_orphans);

static struct user_event *event_of_call(struct trace_event_call *call)
{
	return container_of(call, struct user_event, call);
}

static struct list_head *user_event_get_fields(struct trace_event_call *call)
{
	return &event_of_call(call)->fields;
}

/* Called by ftrace for each instance while there are no fields. */
static int user_event_define_fields(struct trace_event_call *call)
{
	const struct user_event_format *format = event_of_call(call)->format;
	const struct user_event_field *field;
	int ret;

	for (field = format->fields; field < format->fields + format->nr_fields; field++) {
		ret = trace_define_field(call, field->type, field->name,
					 field->offset, field->size,
					 field->type[0] != 'u', FILTER_OTHER);
		if (ret)
			return ret;
	}
	return 0;
}

static struct trace_event_fields user_event_fields_array[] = {
	{ .type = TRACE_FUNCTION_TYPE, .define_fields = user_event_define_fields },
	{}
};

/* By the list of fields: what a program wrote never is a format string. */
static enum print_line_t user_event_print(struct trace_iterator *iter, int flags,
					  struct trace_event *event)
{
	return print_event_fields(iter, event);
}

static struct trace_event_functions user_event_functions = {
	.trace = user_event_print,
};

static void user_event_free(struct user_event *event)
{
	if (event->tracepoint.name != event->format->name)
		kfree(event->tracepoint.name);
	format_free(event->format);
	kfree(event->losses);
	kmem_cache_free(event_cache, event);
}

static void user_event_free_rcu(struct rcu_head *rcu)
{
	user_event_free(container_of(rcu, struct user_event, rcu));
}

/*
 * Take @event, whose references are gone, out of sight for good. An event
 * that ftrace has not let go of is left alone.
 */
static int user_event_destroy(struct user_event *event)
{
	struct user_event_group *group = event->group;
	int ret;

	lockdep_assert_held(&event_mutex);

	ret = trace_remove_event_call(&event->call);
	if (ret)
		return ret;

	dyn_event_remove(&event->dyn_event);
	rhashtable_remove_fast(&group->events, &event->node, registry_params);
	list_del(&event->link);
	hash_del(&event->multi_link);
	group->nr_events--;
	call_rcu(&event->rcu, user_event_free_rcu);
	return 0;
}

/* Drop what may be the last reference, event_mutex is held. */
static void user_event_put_locked(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (refcount_dec_not_one(&event->refs))
		return;

	if (trace_event_dyn_busy(&event->call)) {
		list_add_tail(&event->orphan_link, &user_event_orphans);
		return;
	}

	/* Found in the registry since. */
	if (!refcount_dec_and_test(&event->refs))
		return;

	if (user_event_destroy(event)) {
		refcount_set(&event->refs, 1);
		list_add_tail(&event->orphan_link, &user_event_orphans);
	}
}

/* Drop the references that had to wait, as far as that is possible now. */
static void put_orphans(void)
{
	struct user_event *event, *next;
	LIST_HEAD(orphans);

	lockdep_assert_held(&event_mutex);

	list_splice_init(&user_event_orphans, &orphans);
	list_for_each_entry_safe(event, next, &orphans, orphan_link) {
		list_del_init(&event->orphan_link);
		user_event_put_locked(event);
	}
}

static void orphan_work_fn(struct work_struct *work)
{
	guard(mutex)(&event_mutex);
	put_orphans();
}

static DECLARE_WORK(orphan_work, orphan_work_fn);

/* Drop a reference from a callback of ftrace or perf on this very event. */
static void user_event_put_later(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (refcount_dec_not_one(&event->refs))
		return;

	list_add_tail(&event->orphan_link, &user_event_orphans);
	schedule_work(&orphan_work);
}

/**
 * user_event_put - drop a reference
 * @event: event, which is destroyed if that was the last
 *
 * Context: process context, takes event_mutex if need be.
 */
static void user_event_put(struct user_event *event)
{
	bool dropped = refcount_dec_not_one(&event->refs);

	/* What an orphan waited for may be gone by now. */
	if (dropped && list_empty_careful(&user_event_orphans))
		return;

	guard(mutex)(&event_mutex);
	if (!dropped)
		user_event_put_locked(event);
	put_orphans();
}

/*
 * ftrace adds an event to all its instances and does not say where that
 * failed: look at the first of them, where it is the latest addition.
 */
static bool ftrace_took_event(struct user_event *event)
{
	struct trace_array *tr = top_trace_array();
	struct trace_event_file *file;

	if (!tr)
		return false;

	file = list_first_entry_or_null(&tr->events, struct trace_event_file, list);
	return file && file->event_call == &event->call && file->ei &&
	       list_count_nodes(&event->fields) == event->format->nr_fields;
}

/* Show @event to ftrace and enter it in the registry. */
static int user_event_publish(struct user_event *event)
{
	struct user_event_group *group = event->group;
	int ret;

	if (!register_trace_event(&event->call.event))
		return -EMFILE;

	ret = trace_add_event_call(&event->call);
	if (ret) {
		unregister_trace_event(&event->call.event);
		return ret;
	}

	ret = ftrace_took_event(event) ? 0 : -ENOMEM;
	if (!ret && rhashtable_insert_fast(&group->events, &event->node, registry_params))
		ret = -ENOMEM;
	if (ret) {
		trace_remove_event_call(&event->call);
		return ret;
	}

	dyn_event_add(&event->dyn_event, &event->call);
	list_add_tail(&event->link, &group->list);
	if (is_multi(event)) {
		hash_add(group->multi, &event->multi_link,
			 hash_name(group, event->format->name));
		group->next_id++;
	}
	group->nr_events++;
	return 0;
}

/* An event of @format, which it takes over, that nobody knows of yet. */
static struct user_event *user_event_alloc(struct user_event_group *group,
					   struct user_event_format *format, bool multi)
{
	struct user_event *event;

	format = format_finish(format);
	if (!format)
		return NULL;

	event = kmem_cache_zalloc(event_cache, GFP_KERNEL_ACCOUNT);
	if (!event) {
		format_free(format);
		return NULL;
	}

	event->format = format;
	event->group = group;
	refcount_set(&event->refs, 1);
	INIT_LIST_HEAD(&event->fields);
	INIT_LIST_HEAD(&event->enablers);
	INIT_LIST_HEAD(&event->link);
	INIT_HLIST_NODE(&event->multi_link);
	INIT_LIST_HEAD(&event->orphan_link);
	dyn_event_init(&event->dyn_event, group->dyn_ops);

	event->tracepoint.name = format->name;
	if (multi)
		event->tracepoint.name = kasprintf(GFP_KERNEL_ACCOUNT, "%s.%llx",
						   format->name, group->next_id);
	event->call.print_fmt = format_end(format);
	event->call.class = multi ? &group->multi_class : &group->single_class;
	event->call.tp = &event->tracepoint;
	event->call.flags = TRACE_EVENT_FL_TRACEPOINT | TRACE_EVENT_FL_DYNAMIC;
	event->call.event.funcs = &user_event_functions;

	if (!event->tracepoint.name) {
		user_event_free(event);
		return NULL;
	}
	return event;
}

/* Make an event of @format, which it takes over. The reference is the caller's. */
static struct user_event *user_event_create(struct user_event_group *group,
					    struct user_event_format *format, bool multi)
{
	struct user_event *event;
	int ret;

	lockdep_assert_held(&event_mutex);

	if (group->nr_events >= READ_ONCE(user_events_max)) {
		format_free(format);
		return ERR_PTR(-EMFILE);
	}

	event = user_event_alloc(group, format, multi);
	if (!event)
		return ERR_PTR(-ENOMEM);

	ret = user_event_publish(event);
	if (ret) {
		user_event_free(event);
		return ERR_PTR(ret);
	}
	return event;
}

/* The event of a name, or for multi-format events of name and fields. */
static struct user_event *user_event_find(struct user_event_group *group,
					  const struct user_event_format *format,
					  bool multi)
{
	struct user_event_lookup lookup = { .format = format, .multi = multi };
	struct user_event *event;

	guard(rcu)();
	event = rhashtable_lookup(&group->events, &lookup, registry_params);
	if (event && refcount_inc_not_zero(&event->refs))
		return event;
	return NULL;
}

static void user_event_persist_locked(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (event->persistent)
		return;
	event->persistent = true;

	/* The registry takes over the reference of an orphan. */
	if (list_empty(&event->orphan_link))
		refcount_inc(&event->refs);
	else
		list_del_init(&event->orphan_link);
}

/* Let the registry hold an event that the caller has a reference to. */
static void user_event_persist(struct user_event *event)
{
	guard(mutex)(&event_mutex);
	user_event_persist_locked(event);
}

static struct user_event *user_event_get_locked(struct user_event_group *group,
						struct user_event_format **format,
						u16 flags)
{
	bool multi = flags & USER_EVENT_REG_MULTI_FORMAT;
	struct user_event *event;

	guard(mutex)(&event_mutex);

	/* The name may be free but for a tracer that has just let go. */
	put_orphans();

	event = user_event_find(group, *format, multi);
	if (event && !formats_match(event->format, *format)) {
		user_event_put_locked(event);
		return ERR_PTR(-EADDRINUSE);
	}
	if (!event) {
		event = user_event_create(group, no_free_ptr(*format), multi);
		if (IS_ERR(event))
			return event;
	}
	if (flags & USER_EVENT_REG_PERSIST)
		user_event_persist_locked(event);
	return event;
}

/**
 * user_event_get - find or make an event
 * @group: group to look in
 * @command: command string without the "u:" prefix
 * @flags: enum user_reg_flag; permissions have been checked
 *
 * Context: process context, takes event_mutex where the event is new.
 * Return: an event with a reference for the caller, or an ERR_PTR(): -EINVAL
 * for a bad command, -EADDRINUSE if the name has other fields, -EMFILE if the
 * group is full, -ENOMEM.
 */
static struct user_event *user_event_get(struct user_event_group *group,
					 const char *command, u16 flags)
{
	struct user_event_format *format __free(user_event_format) =
		format_parse(command);
	struct user_event *event;

	if (IS_ERR(format))
		return ERR_CAST(format);

	if (!(flags & USER_EVENT_REG_PERSIST)) {
		event = user_event_find(group, format,
					flags & USER_EVENT_REG_MULTI_FORMAT);
		if (event && formats_match(event->format, format))
			return event;
		if (event)
			user_event_put(event);
	}
	return user_event_get_locked(group, &format, flags);
}

/*
 * The registry of a persistent event and user_event_orphans hold it without
 * using it, never both of them.
 */
static bool user_event_busy(struct user_event *event)
{
	bool idle_ref = event->persistent || !list_empty(&event->orphan_link);

	return refcount_read(&event->refs) > idle_ref ||
	       trace_event_dyn_busy(&event->call);
}

/*
 * May @event be deleted by name? One that is not persistent is in use, or an
 * orphan, which is to go whoever asks.
 */
static int user_event_may_delete(struct user_event *event)
{
	if (user_event_busy(event))
		return -EBUSY;
	return !event->persistent || perfmon_capable() ? 0 : -EPERM;
}

/*
 * Drop the reference of the registry or of user_event_orphans, which
 * user_event_may_delete() allowed. No other event is touched: who empties
 * dynamic_events has a pointer to the next one.
 */
static int user_event_delete_locked(struct user_event *event)
{
	bool persistent = event->persistent;

	lockdep_assert_held(&event_mutex);

	/* Found in the registry since. */
	if (!refcount_dec_if_one(&event->refs))
		return -EBUSY;

	event->persistent = false;
	list_del_init(&event->orphan_link);
	if (!user_event_destroy(event))
		return 0;

	event->persistent = persistent;
	if (!persistent)
		list_add_tail(&event->orphan_link, &user_event_orphans);
	refcount_set(&event->refs, 1);
	return -EBUSY;
}

/**
 * user_event_delete - delete an event by name, with every format of it
 * @group: group to look in
 * @name: name of the event
 *
 * Context: process context, takes event_mutex.
 * Return: 0; -ENOENT, -EBUSY if anything refers to one of them, -EPERM
 * without CAP_PERFMON. Unless 0 is returned, nothing is deleted but for a race
 * with somebody who registers one of the formats.
 */
static int user_event_delete(struct user_event_group *group, const char *name)
{
	struct user_event_format format = { .name = name };
	struct user_event_lookup lookup = { .format = &format };
	u32 hash = hash_name(group, name);
	struct user_event *event, *single;
	struct hlist_node *next;
	int ret = -ENOENT;

	guard(mutex)(&event_mutex);
	put_orphans();

	single = rhashtable_lookup_fast(&group->events, &lookup, registry_params);
	if (single) {
		ret = user_event_may_delete(single);
		if (ret)
			return ret;
	}
	hash_for_each_possible(group->multi, event, multi_link, hash) {
		if (strcmp(event->format->name, name))
			continue;
		ret = user_event_may_delete(event);
		if (ret)
			return ret;
	}

	if (single)
		ret = user_event_delete_locked(single);
	hash_for_each_possible_safe(group->multi, event, next, multi_link, hash) {
		if (!ret && !strcmp(event->format->name, name))
			ret = user_event_delete_locked(event);
	}
	return ret;
}

/*
 * Enablers: bits in the memory of programs.
 *
 * An enabler says that one bit of a word shows whether an event is enabled.
 * Enablers live in a set. An address space points at a set through its
 * struct user_event_mm, the owner; fork gives the child an owner of the same
 * set, and the set is copied when one of several owners wants to change it.
 * So fork costs the same however many there are.
 *
 * Words in memory of the program are written under event_mutex, by whoever
 * toggles, registers or unregisters, and by the work items of an owner. None of
 * them waits for the memory: mmap_lock is tried, and nothing is faulted in but
 * the copy of an anonymous page. What cannot be written is noted as deferred.
 * One work item of the owner tries again soon, another faults pages in while it
 * holds no lock of ours. So a process whose memory never answers costs one
 * worker of a workqueue that is for such faults only.
 */

/**
 * struct user_event_pages - pages of enable words that a file gave out
 * @refs: one each for the file, a mapping, a word
 * @lock: protects @nr and the pages, and @words
 * @nr: pages allocated
 * @page: the pages
 * @words: struct user_event_word by bit number, counted through all pages
 */
struct user_event_pages {
	refcount_t			refs;
	struct mutex			lock;	/* what follows */
	unsigned int			nr;
	struct page			*page[USER_EVENT_MAX_PAGES];
	struct xarray			words;
};

/**
 * struct user_event_word - a bit in a page of ours that enablers share
 * @pages: where, holds a reference
 * @nr: bit number
 * @users: enablers that point here, pages->lock
 * @enabled: how many of them want the bit set, event_mutex
 */
struct user_event_word {
	struct user_event_pages		*pages;
	unsigned long			nr;
	unsigned int			users;
	unsigned int			enabled;
};

#define BITS_PER_PAGE_OF_WORDS		(PAGE_SIZE * BITS_PER_BYTE)

static void pages_put(struct user_event_pages *pages)
{
	unsigned int i;

	if (!pages || !refcount_dec_and_test(&pages->refs))
		return;

	for (i = 0; i < pages->nr; i++)
		put_page(pages->page[i]);
	xa_destroy(&pages->words);
	kfree(pages);
}

static int user_event_pages_release(struct inode *inode, struct file *file)
{
	pages_put(file->private_data);
	return 0;
}

static vm_fault_t user_event_pages_fault(struct vm_fault *vmf)
{
	struct user_event_pages *pages = vmf->vma->vm_file->private_data;

	if (vmf->pgoff >= READ_ONCE(pages->nr))
		return VM_FAULT_SIGBUS;

	vmf->page = pages->page[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static int user_event_pages_mprotect(struct vm_area_struct *vma, unsigned long start,
				     unsigned long end, unsigned long flags)
{
	return flags & VM_WRITE ? -EPERM : 0;
}

static const struct vm_operations_struct user_event_pages_vm_ops = {
	.fault		= user_event_pages_fault,
	.mprotect	= user_event_pages_mprotect,
};

/* Behind a mapping, so that it does not keep user_events_data open. */
static const struct file_operations user_event_pages_fops = {
	.release	= user_event_pages_release,
};

/**
 * struct user_event_key - what is unique in a set
 * @addr: address of the word, without a tag
 * @bit: bit as the program counts it
 */
struct user_event_key {
	unsigned long		addr;
	u32			bit;
} __packed __aligned(sizeof(u32));

/**
 * struct user_event_enabler - a bit that shows whether an event is enabled
 * @node: in set->table
 * @key: where
 * @width: bytes of the word
 * @in_page: the word is in a page of ours
 * @event: event, holds a reference
 * @set: set it belongs to
 * @event_link: in event->enablers
 * @set_link: in set->enablers, then in owner->clearing and owner->removed
 * @deferred: unless @in_page, set->deferrals when a write was last put off, 0 for
 *	never; two that are not yet written differ
 * @removed_at: in owner->removed, mm->user_event_seq when the bit was cleared
 * @word: if @in_page, where, holds a reference
 *
 * Everything is protected by event_mutex.
 */
struct user_event_enabler {
	struct rhash_head		node;
	struct user_event_key		key;
	u8				width;
	bool				in_page;
	struct user_event		*event;
	struct user_event_set		*set;
	struct list_head		event_link;
	struct list_head		set_link;
	union {
		u64			deferred;
		unsigned int		removed_at;
		struct user_event_word	*word;
	};
};

/**
 * struct user_event_set - enablers of one or more address spaces
 * @table: enablers by key
 * @enablers: enablers, those with the latest deferrals last
 * @owners: address spaces; fork adds under owners_lock, all else also takes
 *	event_mutex. The set goes with its last owner.
 * @deferrals: count of writes that were put off
 */
struct user_event_set {
	struct rhashtable		table;
	struct list_head		enablers;
	struct list_head		owners;
	u64				deferrals;
};

/**
 * struct user_event_mm - what an address space registered
 * @mm: address space, holds mm_count
 * @set: NULL once the last task is gone
 * @set_link: in set->owners
 * @hash: in user_event_owners while tasks are left
 * @tasks: tasks attached, those whose user_event_mm points here
 * @refs: one for @tasks, one while @work is queued or runs, and @fault_work
 * @settled: deferrals of the set up to here are in this memory, or given up
 * @settled_at: enabler whose deferral that was, if it has had no other since; NULL
 *	if it is gone or unknown, event_mutex
 * @work: writes what was deferred, as far as that needs no waiting
 * @fault_work: faults in the memory of what is left
 * @faulting: @fault_work is queued or will look again; written under event_mutex
 * @clearing: enablers that a task of this memory is unregistering, event_mutex
 * @to_clear: copies of enablers that are gone, whose bits are still to be
 *	cleared here, event_mutex
 * @removed: enablers that were unregistered while another task may have been
 *	forking, the oldest first, event_mutex
 * @nr_removed: elements of @removed
 */
struct user_event_mm {
	struct mm_struct		*mm;
	struct user_event_set		*set;
	struct list_head		set_link;
	struct hlist_node		hash;
	refcount_t			tasks;
	refcount_t			refs;
	u64				settled;
	struct user_event_enabler	*settled_at;
	struct work_struct		work;
	struct work_struct		fault_work;
	bool				faulting;
	struct list_head		clearing;
	struct list_head		to_clear;
	struct list_head		removed;
	unsigned int			nr_removed;
};

/**
 * struct user_event_missed - a write that was put off and could not be done
 * @addr: address of the word
 * @deferred: deferred of the enabler, another one once it is put off again
 */
struct user_event_missed {
	unsigned long			addr;
	u64				deferred;
};

static DEFINE_SPINLOCK(owners_lock);

/* Owners by address space, owners_lock. */
static DEFINE_HASHTABLE(user_event_owners, 8);

/* The second one may be full of faults that nobody answers, the first never. */
static struct workqueue_struct *user_event_wq, *user_event_fault_wq;
static struct kmem_cache *enabler_cache;
static struct kmem_cache *owner_cache;

static const struct rhashtable_params enabler_params = {
	.head_offset		= offsetof(struct user_event_enabler, node),
	.key_offset		= offsetof(struct user_event_enabler, key),
	.key_len		= offsetofend(struct user_event_key, bit),
	.automatic_shrinking	= true,
};

/*
 * The bit of the long around @addr that is bit @bit of a word of @width bytes
 * at @addr. A word of half a long is the half that its address says, which
 * on a big-endian machine is the upper one where it comes first.
 */
static unsigned int bit_in_long(unsigned long addr, unsigned int bit,
				unsigned int width, unsigned int long_size,
				bool big_endian)
{
	bool second = addr & width & (long_size - 1);

	if (width == long_size || second == big_endian)
		return bit;
	return bit + width * BITS_PER_BYTE;
}

static unsigned int enabler_bit(const struct user_event_enabler *enabler)
{
	return bit_in_long(enabler->key.addr, enabler->key.bit, enabler->width,
			   sizeof(long), IS_ENABLED(CONFIG_CPU_BIG_ENDIAN));
}

static void assign_shared_bit(unsigned int nr, unsigned long *word, bool value)
{
	if (test_bit(nr, word) == value)
		return;
	if (value)
		set_bit(nr, word);
	else
		clear_bit(nr, word);
}

/* The word for @enabler in @pages; the reference to @pages is taken over. */
static struct user_event_word *word_get(struct user_event_pages *pages,
					unsigned long nr)
{
	struct user_event_word *word;

	mutex_lock(&pages->lock);
	word = xa_load(&pages->words, nr);
	if (word) {
		word->users++;
		mutex_unlock(&pages->lock);
		pages_put(pages);
		return word;
	}

	word = kzalloc(sizeof(*word), GFP_KERNEL_ACCOUNT);
	if (word && !xa_err(xa_store(&pages->words, nr, word, GFP_KERNEL_ACCOUNT))) {
		word->pages = pages;
		word->nr = nr;
		word->users = 1;
		mutex_unlock(&pages->lock);
		return word;
	}
	mutex_unlock(&pages->lock);
	kfree(word);
	pages_put(pages);
	return NULL;
}

static void word_put(struct user_event_word *word)
{
	struct user_event_pages *pages = word->pages;

	mutex_lock(&pages->lock);
	if (--word->users) {
		mutex_unlock(&pages->lock);
		return;
	}
	xa_erase(&pages->words, word->nr);
	mutex_unlock(&pages->lock);
	kfree(word);
	pages_put(pages);
}

/* One enabler more or less wants the bit set. */
static void word_count(struct user_event_word *word, int change)
{
	unsigned long nr = word->nr % BITS_PER_PAGE_OF_WORDS;
	unsigned long *page;

	lockdep_assert_held(&event_mutex);

	word->enabled += change;
	page = page_address(word->pages->page[word->nr / BITS_PER_PAGE_OF_WORDS]);
	assign_shared_bit(nr % BITS_PER_LONG, page + nr / BITS_PER_LONG,
			  word->enabled);
	flush_dcache_page(virt_to_page(page));
}

/* The pages of ours that @addr is in with a reference, and where in them. */
static struct user_event_pages *find_pages(struct mm_struct *mm,
					   unsigned long addr,
					   unsigned long *offset)
{
	struct user_event_pages *pages = NULL;
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma && vma->vm_file && vma->vm_file->f_op == &user_event_pages_fops) {
		pages = vma->vm_file->private_data;
		refcount_inc(&pages->refs);
		*offset = addr - vma->vm_start + (vma->vm_pgoff << PAGE_SHIFT);
	}
	mmap_read_unlock(mm);
	return pages;
}

/* Set or clear the bit in a page that stays what it is meanwhile. */
static void write_page(struct page *page, const struct user_event_enabler *enabler,
		       unsigned long addr, bool value)
{
	void *kaddr = kmap_local_page(page);

	assign_shared_bit(enabler_bit(enabler),
			  kaddr + ALIGN_DOWN(offset_in_page(addr), sizeof(long)), value);
	flush_dcache_page(page);
	kunmap_local(kaddr);
	folio_mark_dirty(page_folio(page));
}

/*
 * The common case: the word is mapped by a page table entry that lets the
 * program write. Its lock keeps the page mapped, and from being taken for
 * clean between the store and folio_mark_dirty().
 *
 * Return: 0, -ENOENT if no page is there, -EACCES if this is no way to write it.
 */
static int write_mapped_pte(struct vm_area_struct *vma,
			    const struct user_event_enabler *enabler,
			    unsigned long addr, bool value)
{
	struct folio_walk walk;
	bool writable;

	if ((vma->vm_flags & (VM_WRITE | VM_IO | VM_PFNMAP | VM_SHADOW_STACK)) != VM_WRITE ||
	    vma_is_secretmem(vma) || !folio_walk_start(&walk, vma, addr, 0))
		return -ENOENT;

	/* folio_walk_end(), with words for sparse on what had been locked. */
	__acquire(walk.ptl);
	if (walk.level != FW_LEVEL_PTE) {
		spin_unlock(walk.ptl);
		vma_pgtable_walk_end(vma);
		return -EACCES;
	}
	__acquire(RCU);
	writable = pte_write(walk.pte);
	if (writable)
		write_page(walk.page, enabler, addr, value);
	pte_unmap_unlock(walk.ptep, walk.ptl);
	vma_pgtable_walk_end(vma);
	return writable ? 0 : -EACCES;
}

/*
 * Set or clear the bit if that needs no waiting.
 *
 * Context: event_mutex and mmap_lock for reading.
 * Return: 0, or an error for which faulting the page in may help.
 */
static int write_mapped_word(struct mm_struct *mm,
			     const struct user_event_enabler *enabler, bool value)
{
	unsigned long addr = enabler->key.addr;
	unsigned int gup_flags = FOLL_WRITE;
	struct vm_area_struct *vma;
	struct page *page;
	long got;
	int ret;

	vma = vma_lookup(mm, addr);
	if (!vma)
		return -EFAULT;
	ret = write_mapped_pte(vma, enabler, addr, value);
	if (!ret)
		return 0;

	/* A page to copy, after a fork: that waits for nobody but the allocator. */
	if (ret == -EACCES && vma_is_anonymous(vma) && !userfaultfd_armed(vma))
		gup_flags |= FOLL_NOWAIT;
	else
		gup_flags |= FOLL_NOFAULT;

	got = get_user_pages_remote(mm, addr, 1, gup_flags, &page, NULL);
	if (got != 1)
		return got < 0 ? got : -EFAULT;

	/* As above, but here it is the lock of the folio that writeback needs. */
	if (!folio_trylock(page_folio(page))) {
		put_page(page);
		return -EBUSY;
	}
	write_page(page, enabler, addr, value);
	folio_unlock(page_folio(page));
	put_page(page);
	return 0;
}

/*
 * Set or clear the bit of @enabler in the memory of @owner, if that needs no
 * waiting. user_event_seq tells a fork in between, see user_event_mm_clone().
 *
 * Return: 0, -EAGAIN if it was the lock of the memory that was not to be had, or
 * what write_mapped_word() says.
 */
static int write_word(struct user_event_mm *owner,
		      const struct user_event_enabler *enabler, bool value)
{
	struct mm_struct *mm = owner->mm;
	int ret = -EAGAIN;

	lockdep_assert_held(&event_mutex);

	/* Memory that is being torn down shows nothing to anybody. */
	if (!mmget_not_zero(mm))
		return 0;

	spin_lock(&owners_lock);
	mm->user_event_seq++;
	spin_unlock(&owners_lock);

	if (mmap_read_trylock(mm)) {
		ret = write_mapped_word(mm, enabler, value);
		mmap_read_unlock(mm);
	}

	spin_lock(&owners_lock);
	mm->user_event_seq++;
	spin_unlock(&owners_lock);

	/* Tearing the memory down is not for the one who toggles. */
	mmput_async(mm);
	return ret;
}

/*
 * Fault in a page for writing, after write_word() returned @why. May wait forever,
 * so under no lock at all. Only faults count as attempts: memory that is mapped
 * and unmapped all the time is no reason to give up on a word in it.
 */
static int fault_in_word(struct mm_struct *mm, unsigned long addr, int why,
			 unsigned int *attempt)
{
	bool unlocked = false;
	int ret;

	mmap_read_lock(mm);
	ret = fixup_user_fault(mm, addr, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE,
			       &unlocked);
	mmap_read_unlock(mm);

	if (!ret && why != -EAGAIN && ++*attempt == USER_EVENT_FAULT_ATTEMPTS)
		ret = -EFAULT;
	return ret;
}

/* Leave whoever makes faulting in futile the time to get done. */
static void back_off(unsigned int attempt)
{
	if (attempt > 1)
		schedule_timeout_killable(msecs_to_jiffies(1 << attempt));
}

/*
 * task_struct.user_event_mm is set by the task itself, by the one that forks
 * it, and, once, by the thread that registers first, for all threads of its
 * process. That last one may find a thread which is still being forked and
 * can't know whether user_event_mm_clone() is yet to come for it: it counts
 * the thread and says so with this bit. All three hold siglock.
 */
#define ATTACHED_EARLY	1UL

static struct user_event_mm *task_owner(const struct task_struct *task)
{
	return (void *)((unsigned long)READ_ONCE(task->user_event_mm) & ~ATTACHED_EARLY);
}

/* Forget all but @left of the words that a fork may have missed. */
static void forget_removed(struct user_event_mm *owner, unsigned int left)
{
	struct user_event_enabler *enabler;

	for (; owner->nr_removed > left; owner->nr_removed--) {
		enabler = list_first_entry(&owner->removed, struct user_event_enabler,
					   set_link);
		list_del(&enabler->set_link);
		kmem_cache_free(enabler_cache, enabler);
	}
}

static void enablers_free(struct list_head *enablers)
{
	struct user_event_enabler *enabler, *next;

	list_for_each_entry_safe(enabler, next, enablers, set_link)
		kmem_cache_free(enabler_cache, enabler);
}

static void owner_put(struct user_event_mm *owner)
{
	if (!refcount_dec_and_test(&owner->refs))
		return;

	forget_removed(owner, 0);
	enablers_free(&owner->to_clear);
	mmdrop(owner->mm);
	kmem_cache_free(owner_cache, owner);
}

static void owner_queue(struct user_event_mm *owner)
{
	refcount_inc(&owner->refs);
	if (!queue_work(user_event_wq, &owner->work))
		refcount_dec(&owner->refs);
}

/* Leave the bit of @enabler to the work items of the owners it is wrong at. */
static void defer_word(struct user_event_mm *owner,
		       struct user_event_enabler *enabler)
{
	struct user_event_set *set = enabler->set;

	enabler->deferred = ++set->deferrals;
	list_move_tail(&enabler->set_link, &set->enablers);
	owner_queue(owner);
}

/* Show what event->enabled says in the memory of one owner. */
static void update_word(struct user_event_mm *owner,
			struct user_event_enabler *enabler)
{
	if (write_word(owner, enabler, enabler->event->enabled))
		defer_word(owner, enabler);
}

/* The owner after @owner; none goes while event_mutex is held. */
static struct user_event_mm *next_owner(struct user_event_set *set,
					struct user_event_mm *owner)
{
	struct list_head *next;

	spin_lock(&owners_lock);
	next = owner ? owner->set_link.next : set->owners.next;
	spin_unlock(&owners_lock);

	if (next == &set->owners)
		return NULL;
	return list_entry(next, struct user_event_mm, set_link);
}

/* event->enabled has changed: visit the places that watch this event. */
static void update_enablers(struct user_event *event)
{
	struct user_event_enabler *enabler;
	struct user_event_mm *owner;

	lockdep_assert_held(&event_mutex);

	list_for_each_entry(enabler, &event->enablers, event_link) {
		if (enabler->in_page) {
			word_count(enabler->word, event->enabled ? 1 : -1);
			continue;
		}
		for (owner = next_owner(enabler->set, NULL); owner;
		     owner = next_owner(enabler->set, owner))
			update_word(owner, enabler);
		cond_resched();
	}
}

static struct user_event_enabler *find_enabler(struct user_event_mm *owner,
					       const struct user_event_key *key)
{
	lockdep_assert_held(&event_mutex);
	return rhashtable_lookup_fast(&owner->set->table, key, enabler_params);
}

/*
 * The oldest write that was put off and is not in the memory of @owner: behind
 * the last that is, or else to be looked for from the end.
 */
static struct user_event_enabler *first_deferred(struct user_event_mm *owner)
{
	struct user_event_enabler *enabler = owner->settled_at, *first = NULL;
	struct list_head *enablers = &owner->set->enablers;

	if (enabler && enabler->deferred == owner->settled)
		return list_is_last(&enabler->set_link, enablers) ? NULL :
		       list_next_entry(enabler, set_link);

	list_for_each_entry_reverse(enabler, enablers, set_link) {
		if (enabler->in_page || enabler->deferred <= owner->settled)
			break;
		first = enabler;
	}
	return first;
}

/* All deferrals up to that of @enabler are in the memory of @owner, or given up. */
static void settled_up_to(struct user_event_mm *owner, struct user_event_enabler *enabler)
{
	WRITE_ONCE(owner->settled, enabler->deferred);
	owner->settled_at = enabler;
}

/* Clear @enabler, which is no longer registered, at @owner: by its work item. */
static void clear_later(struct user_event_mm *owner,
			const struct user_event_enabler *enabler)
{
	struct user_event_enabler *copy;

	lockdep_assert_held(&event_mutex);

	copy = kmem_cache_alloc(enabler_cache, GFP_KERNEL_ACCOUNT);
	if (!copy)
		return;

	*copy = *enabler;
	copy->deferred = ++owner->set->deferrals;
	list_add_tail(&copy->set_link, &owner->to_clear);
	owner_queue(owner);
}

/*
 * What is left of an enabler whose bit is clear, to tell a child in the making. The
 * only task of @owner has none while it is here: a work item cannot say that.
 */
static void enabler_retire(struct user_event_mm *owner, struct user_event_enabler *enabler)
{
	bool alone = task_owner(current) == owner && refcount_read(&owner->tasks) == 1;

	lockdep_assert_held(&event_mutex);

	enabler->removed_at = owner->mm->user_event_seq;
	list_move_tail(&enabler->set_link, &owner->removed);
	owner->nr_removed++;
	forget_removed(owner, alone ? 0 : USER_EVENT_MAX_REMOVED);
}

/* A bit that is registered again shows what its new enabler says. */
static void forget_clear(struct user_event_mm *owner, const struct user_event_key *key)
{
	struct user_event_enabler *enabler, *next;

	list_for_each_entry_safe(enabler, next, &owner->to_clear, set_link) {
		if (!memcmp(&enabler->key, key, sizeof(*key)))
			enabler_retire(owner, enabler);
	}
}

static struct user_event_missed missed_word(const struct user_event_enabler *enabler)
{
	return (struct user_event_missed) {
		.addr = enabler->key.addr,
		.deferred = enabler->deferred,
	};
}

/* Clear what can be cleared, as settle_words() does with the words of the set. */
static int settle_clears(struct user_event_mm *owner, unsigned int ahead,
			 struct user_event_missed *missed)
{
	struct user_event_enabler *enabler, *next;
	int why = 0;
	int ret;

	list_for_each_entry_safe(enabler, next, &owner->to_clear, set_link) {
		ret = find_enabler(owner, &enabler->key) ? 0 :
		      write_word(owner, enabler, false);
		if (ret && !why) {
			*missed = missed_word(enabler);
			why = ret;
		}
		if (!ret)
			enabler_retire(owner, enabler);
		if (why && !ahead--)
			break;
		cond_resched();
	}
	return why;
}

/*
 * Write what can be written of the words that were put off: up to the first
 * that has to wait, and of those behind it up to @ahead.
 *
 * Return: 0, or why @missed could not be written, see write_word().
 */
static int settle_words(struct user_event_mm *owner, unsigned int ahead,
			struct user_event_missed *missed)
{
	struct user_event_enabler *enabler;
	int ret, why;

	lockdep_assert_held(&event_mutex);

	if (!owner->set)
		return 0;

	why = settle_clears(owner, ahead, missed);
	if (why && !ahead)
		return why;

	enabler = first_deferred(owner);
	if (!enabler) {
		WRITE_ONCE(owner->settled, owner->set->deferrals);
		return why;
	}

	list_for_each_entry_from(enabler, &owner->set->enablers, set_link) {
		ret = write_word(owner, enabler, enabler->event->enabled);
		if (ret && !why) {
			*missed = missed_word(enabler);
			why = ret;
		}
		if (!why)
			settled_up_to(owner, enabler);
		else if (!ahead--)
			break;
		cond_resched();
	}
	return why;
}

/*
 * The word of @missed cannot be had, go on with the next. If it was put off again
 * since, its memory may be another now and is still to be tried.
 */
static void give_up_word(struct user_event_mm *owner,
			 const struct user_event_missed *missed)
{
	struct user_event_enabler *enabler, *next;

	guard(mutex)(&event_mutex);

	list_for_each_entry_safe(enabler, next, &owner->to_clear, set_link) {
		if (enabler->deferred == missed->deferred) {
			enabler_retire(owner, enabler);
			return;
		}
	}

	enabler = owner->set ? first_deferred(owner) : NULL;
	if (enabler && enabler->deferred == missed->deferred)
		settled_up_to(owner, enabler);
}

/*
 * What is deferred is first tried by an item that waits for no memory, so that
 * it gets through whatever becomes of other words and other processes.
 */
static void owner_work(struct work_struct *work)
{
	struct user_event_mm *owner = container_of(work, struct user_event_mm, work);
	struct user_event_missed missed;

	mutex_lock(&event_mutex);
	if (settle_words(owner, USER_EVENT_LOOK_AHEAD, &missed) && !owner->faulting) {
		/* An item that is stuck and queued again would count twice. */
		WRITE_ONCE(owner->faulting, true);
		refcount_inc(&owner->refs);
		queue_work(user_event_fault_wq, &owner->fault_work);
	}
	mutex_unlock(&event_mutex);
	owner_put(owner);
}

/* The next word to fault in, @missed. Return: 0 if there is none. */
static int next_fault(struct user_event_mm *owner, struct user_event_missed *missed)
{
	int why;

	guard(mutex)(&event_mutex);

	why = settle_words(owner, 0, missed);
	WRITE_ONCE(owner->faulting, why);
	return why;
}

static void owner_fault_work(struct work_struct *work)
{
	struct user_event_mm *owner = container_of(work, struct user_event_mm, fault_work);
	struct user_event_missed missed;
	unsigned int attempt = 0;
	u64 last = 0;
	int why, ret;

	if (!mmget_not_zero(owner->mm))
		goto out;

	while ((why = next_fault(owner, &missed))) {
		if (missed.deferred != last)
			attempt = 0;
		last = missed.deferred;
		back_off(attempt);
		ret = fault_in_word(owner->mm, missed.addr, why, &attempt);
		/* Memory may be found the next time. */
		if (ret == -ENOMEM && ++attempt < USER_EVENT_FAULT_ATTEMPTS)
			ret = 0;
		if (ret)
			give_up_word(owner, &missed);
		cond_resched();
	}
	mmput(owner->mm);
out:
	owner_put(owner);
}

static void set_free(struct user_event_set *set)
{
	if (!set)
		return;

	rhashtable_destroy(&set->table);
	kfree(set);
}

static struct user_event_set *set_alloc(void)
{
	struct user_event_set *set = kzalloc(sizeof(*set), GFP_KERNEL_ACCOUNT);

	if (!set)
		return NULL;
	if (rhashtable_init(&set->table, &enabler_params)) {
		kfree(set);
		return NULL;
	}
	INIT_LIST_HEAD(&set->enablers);
	INIT_LIST_HEAD(&set->owners);
	return set;
}

/* Enter @enabler in its set and its event, whose reference it has. */
static int enabler_link(struct user_event_enabler *enabler)
{
	int ret;

	lockdep_assert_held(&event_mutex);

	ret = rhashtable_lookup_insert_fast(&enabler->set->table, &enabler->node,
					    enabler_params);
	if (ret)
		return ret == -EEXIST ? -EADDRINUSE : -ENOMEM;

	list_add(&enabler->set_link, &enabler->set->enablers);
	list_add_tail(&enabler->event_link, &enabler->event->enablers);
	if (enabler->in_page && enabler->event->enabled)
		word_count(enabler->word, 1);
	return 0;
}

/* Undo enabler_link() but for the table. */
static void enabler_unlink(struct user_event_enabler *enabler)
{
	lockdep_assert_held(&event_mutex);

	list_del(&enabler->set_link);
	list_del(&enabler->event_link);
	if (enabler->in_page && enabler->event->enabled)
		word_count(enabler->word, -1);
}

/* The reference to the event is dropped, an event may go with it. */
static void enabler_free(struct user_event_enabler *enabler)
{
	lockdep_assert_held(&event_mutex);

	if (enabler->in_page)
		word_put(enabler->word);
	user_event_put_locked(enabler->event);
	kmem_cache_free(enabler_cache, enabler);
}

/*
 * Drop a set that no owner uses, event_mutex is held. The table goes first:
 * then nothing that resizes it can meet an enabler that is gone.
 */
static void set_discard(struct user_event_set *set)
{
	struct user_event_enabler *enabler, *next;

	rhashtable_destroy(&set->table);
	list_for_each_entry_safe(enabler, next, &set->enablers, set_link) {
		enabler_unlink(enabler);
		enabler_free(enabler);
		cond_resched();
	}
	kfree(set);
}

/*
 * The same for one that nobody can find any more but by its enablers: with
 * event_mutex for a few of them at a time, as events may go with each.
 */
static void set_discard_slowly(struct user_event_set *set)
{
	struct user_event_enabler *enabler;
	unsigned int left;

	rhashtable_destroy(&set->table);
	do {
		guard(mutex)(&event_mutex);
		for (left = USER_EVENT_DISCARD_BATCH; left; left--) {
			enabler = list_first_entry_or_null(&set->enablers,
							   struct user_event_enabler,
							   set_link);
			if (!enabler)
				break;
			enabler_unlink(enabler);
			enabler_free(enabler);
		}
	} while (!left);
	kfree(set);
}

static void word_ref(struct user_event_word *word)
{
	guard(mutex)(&word->pages->lock);
	word->users++;
}

static int set_copy_enabler(struct user_event_set *to,
			    const struct user_event_enabler *from)
{
	struct user_event_enabler *enabler;
	int ret;

	enabler = kmem_cache_alloc(enabler_cache, GFP_KERNEL_ACCOUNT);
	if (!enabler)
		return -ENOMEM;

	*enabler = *from;
	enabler->set = to;
	ret = enabler_link(enabler);
	if (ret) {
		kmem_cache_free(enabler_cache, enabler);
		return ret;
	}
	refcount_inc(&enabler->event->refs);
	if (enabler->in_page)
		word_ref(enabler->word);
	list_move_tail(&enabler->set_link, &to->enablers);
	return 0;
}

/* Until the next fork, which needs no more than owners_lock. */
static bool owner_is_alone(const struct user_event_mm *owner)
{
	bool alone;

	spin_lock(&owners_lock);
	alone = list_is_singular(&owner->set->owners);
	spin_unlock(&owners_lock);
	return alone;
}

/*
 * Make sure that @owner is the only one of its set, which is to be changed.
 * The caller's process pays for the copy: it was due since it forked.
 */
static int owner_unshare(struct user_event_mm *owner)
{
	struct user_event_enabler *enabler;
	struct user_event_set *set;
	int ret;

	lockdep_assert_held(&event_mutex);

	if (owner_is_alone(owner))
		return 0;

	set = set_alloc();
	if (!set)
		return -ENOMEM;

	list_for_each_entry(enabler, &owner->set->enablers, set_link) {
		ret = set_copy_enabler(set, enabler);
		if (ret) {
			set_discard(set);
			return ret;
		}
		cond_resched();
	}

	spin_lock(&owners_lock);
	set->deferrals = owner->set->deferrals;
	list_move(&owner->set_link, &set->owners);
	owner->set = set;
	owner->settled_at = NULL;
	spin_unlock(&owners_lock);
	return 0;
}

static struct user_event_mm *owner_alloc(struct mm_struct *mm)
{
	struct user_event_mm *owner;

	owner = kmem_cache_zalloc(owner_cache, GFP_KERNEL_ACCOUNT);
	if (!owner)
		return NULL;

	mmgrab(mm);
	owner->mm = mm;
	refcount_set(&owner->tasks, 1);
	refcount_set(&owner->refs, 1);
	INIT_LIST_HEAD(&owner->set_link);
	INIT_LIST_HEAD(&owner->clearing);
	INIT_LIST_HEAD(&owner->to_clear);
	INIT_LIST_HEAD(&owner->removed);
	INIT_WORK(&owner->work, owner_work);
	INIT_WORK(&owner->fault_work, owner_fault_work);
	return owner;
}

static bool attached_early(const struct task_struct *task)
{
	return (unsigned long)READ_ONCE(task->user_event_mm) & ATTACHED_EARLY;
}

static spinlock_t *own_siglock(void)
{
	return &rcu_dereference_protected(current->sighand, true)->siglock;
}

/* Attach the threads of current; one that exits is past caring. */
static void attach_threads(struct user_event_mm *owner)
{
	struct task_struct *t;
	unsigned long value;

	guard(rcu)();
	spin_lock_irq(own_siglock());
	for_each_thread(current, t) {
		if (READ_ONCE(t->user_event_mm) || t->flags & PF_POSTCOREDUMP)
			continue;
		value = (unsigned long)owner;
		if (READ_ONCE(t->__state) == TASK_NEW)
			value |= ATTACHED_EARLY;
		refcount_inc(&owner->tasks);
		WRITE_ONCE(t->user_event_mm, (void *)value);
	}
	spin_unlock_irq(own_siglock());
}

/* The owner of @mm, with a count in tasks; else enter @fresh. */
static struct user_event_mm *owner_find_or_enter(struct mm_struct *mm,
						 struct user_event_mm *fresh)
{
	struct user_event_mm *owner;

	spin_lock(&owners_lock);
	hash_for_each_possible(user_event_owners, owner, hash, (unsigned long)mm) {
		if (owner->mm == mm && refcount_inc_not_zero(&owner->tasks))
			goto found;
	}
	owner = fresh;
	hash_add(user_event_owners, &owner->hash, (unsigned long)mm);
	list_add(&owner->set_link, &owner->set->owners);
found:
	spin_unlock(&owners_lock);
	return owner;
}

/* The last task of @owner is gone, and its registrations with it. */
static void owner_release(struct user_event_mm *owner)
{
	struct user_event_set *set = owner->set;
	bool last;

	mutex_lock(&event_mutex);
	spin_lock(&owners_lock);
	hash_del(&owner->hash);
	list_del(&owner->set_link);
	last = list_empty(&set->owners);
	owner->set = NULL;
	spin_unlock(&owners_lock);
	mutex_unlock(&event_mutex);
	if (last)
		set_discard_slowly(set);
	owner_put(owner);
}

static void owner_detach(struct user_event_mm *owner)
{
	if (refcount_dec_and_test(&owner->tasks))
		owner_release(owner);
}

/*
 * The owner of the memory of current, made if there is none. It stays while
 * current is in a system call, being attached to it.
 */
static struct user_event_mm *owner_of_current(void)
{
	struct user_event_mm *owner = task_owner(current);
	struct user_event_mm *fresh;

	if (owner)
		return owner;

	fresh = owner_alloc(current->mm);
	if (!fresh)
		return NULL;
	fresh->set = set_alloc();
	if (!fresh->set) {
		owner_put(fresh);
		return NULL;
	}

	owner = owner_find_or_enter(current->mm, fresh);
	attach_threads(owner);
	if (owner != fresh) {
		set_free(fresh->set);
		owner_put(fresh);
	}
	owner_detach(owner);
	return owner;
}

/**
 * user_event_mm_leave - detach a task from what its memory registered
 * @task: current, which exits or has just got other memory
 *
 * Context: process context, takes event_mutex.
 */
void user_event_mm_leave(struct task_struct *task)
{
	struct user_event_mm *owner = task_owner(task);

	WRITE_ONCE(task->user_event_mm, NULL);
	owner_detach(owner);
}

static void attach_clone(struct task_struct *child)
{
	struct user_event_mm *owner;

	spin_lock_irq(own_siglock());
	owner = task_owner(current);
	if (owner && (!attached_early(child) || attached_early(current)))
		refcount_inc(&owner->tasks);
	WRITE_ONCE(child->user_event_mm, owner);
	WRITE_ONCE(current->user_event_mm, owner);
	spin_unlock_irq(own_siglock());
}

/*
 * Enter a child of fork, whose memory was copied from user_event_seq @copied on.
 * Return: its copy of a word may be old.
 */
static bool enter_child(struct user_event_mm *parent, struct user_event_mm *child,
			unsigned int copied)
{
	unsigned int seq;
	bool missed;

	spin_lock(&owners_lock);
	seq = parent->mm->user_event_seq;
	missed = seq & 1 || seq != copied || !list_empty(&parent->clearing) ||
		 !list_empty(&parent->to_clear);
	child->mm->user_event_seq = 0;
	child->set = parent->set;
	child->settled = READ_ONCE(parent->settled);
	list_add_tail(&child->set_link, &child->set->owners);
	hash_add(user_event_owners, &child->hash, (unsigned long)child->mm);
	spin_unlock(&owners_lock);
	return missed;
}

/* Clear the bit of an enabler that is gone, unless it is registered there. */
static void clear_at(struct user_event_mm *owner, const struct user_event_enabler *enabler)
{
	if (!find_enabler(owner, &enabler->key) && write_word(owner, enabler, false))
		clear_later(owner, enabler);
}

/* Write all words of a child whose memory may have been copied too early. */
static void refresh_child(struct user_event_mm *parent, struct user_event_mm *child,
			  unsigned int copied)
{
	struct user_event_enabler *enabler, *next, *last;

	guard(mutex)(&event_mutex);

	list_for_each_entry(enabler, &parent->removed, set_link) {
		if ((int)(enabler->removed_at - copied) > 0)
			clear_at(child, enabler);
	}
	list_for_each_entry(enabler, &parent->clearing, set_link)
		clear_at(child, enabler);
	list_for_each_entry(enabler, &parent->to_clear, set_link)
		clear_at(child, enabler);

	if (list_empty(&child->set->enablers))
		return;

	/* What is deferred goes to the end and would come round again. */
	last = list_last_entry(&child->set->enablers, struct user_event_enabler, set_link);
	list_for_each_entry_safe(enabler, next, &child->set->enablers, set_link) {
		if (!enabler->in_page)
			update_word(child, enabler);
		if (enabler == last)
			break;
		cond_resched();
	}
}

/**
 * user_event_mm_clone - attach a new task
 * @child: new task, not yet running; its memory is copied already
 * @clone_flags: flags of clone
 *
 * Without CLONE_VM the child gets an owner of its own of the parent's set. A
 * word that is written by a toggle between the copy of the memory and here
 * would be old in the child, and a toggle from here on finds the child. What
 * is in between shows in user_event_seq: the count of the parent was copied
 * before any of its pages, is odd while a word is written, and both it and
 * the owners of the set change under owners_lock. Only then is more done than
 * entering one owner. A word that was unregistered in between is found in
 * parent->removed, unless more than USER_EVENT_MAX_REMOVED others were since. One
 * that still shows its event, as its memory cannot be had, is found in
 * parent->clearing or to_clear, which it enters before user_event_seq changes.
 *
 * If there is no memory for the owner the child has no registrations.
 *
 * Context: process context, takes event_mutex if a toggle came in between.
 */
void user_event_mm_clone(struct task_struct *child, u64 clone_flags)
{
	struct user_event_mm *parent, *owner;
	unsigned int copied;

	if (clone_flags & CLONE_VM) {
		attach_clone(child);
		return;
	}

	child->user_event_mm = NULL;
	parent = task_owner(current);
	if (!parent)
		return;

	owner = owner_alloc(child->mm);
	if (!owner)
		return;

	child->user_event_mm = owner;
	copied = owner->mm->user_event_seq;
	if (enter_child(parent, owner, copied))
		refresh_child(parent, owner, copied);
	if (READ_ONCE(owner->settled) == READ_ONCE(owner->set->deferrals))
		return;
	owner_queue(owner);

	/* What was put off in a child is not known to be in the parent's memory. */
	if (!READ_ONCE(parent->faulting))
		owner_queue(parent);
}

/* Take @enabler out of the set of @owner alone; the caller has to free it. */
static void enabler_remove(struct user_event_mm *owner, struct user_event_enabler *enabler)
{
	if (owner->settled_at == enabler)
		owner->settled_at = NULL;
	rhashtable_remove_fast(&enabler->set->table, &enabler->node, enabler_params);
	enabler_unlink(enabler);
}

static int enabler_insert(struct user_event_mm *owner,
			  struct user_event_enabler *enabler)
{
	int ret;

	guard(mutex)(&event_mutex);
	if (find_enabler(owner, &enabler->key))
		return -EADDRINUSE;

	ret = owner_unshare(owner);
	if (ret)
		return ret;

	enabler->set = owner->set;
	ret = enabler_link(enabler);
	if (ret)
		return ret;

	refcount_inc(&enabler->event->refs);
	forget_clear(owner, &enabler->key);
	return 0;
}

/* Fork let somebody share the set while it was being changed. */
static void update_others(struct user_event_mm *owner, struct user_event_enabler *enabler)
{
	struct user_event_mm *other;

	for (other = next_owner(owner->set, NULL); other;
	     other = next_owner(owner->set, other)) {
		if (other != owner)
			update_word(other, enabler);
	}
}

static void clear_others(struct user_event_mm *owner,
			 const struct user_event_enabler *enabler)
{
	struct user_event_mm *other;

	for (other = next_owner(owner->set, NULL); other;
	     other = next_owner(owner->set, other)) {
		if (other != owner)
			clear_at(other, enabler);
	}
}

/*
 * Bring a word of current up to date and prove that it can be: faults are
 * taken here, at the cost of the caller alone.
 */
static int prove_word(struct user_event_mm *owner, const struct user_event_key *key)
{
	struct user_event_enabler *enabler;
	unsigned int attempt = 0;
	int ret;

	while (!fatal_signal_pending(current)) {
		mutex_lock(&event_mutex);
		enabler = find_enabler(owner, key);
		ret = 0;
		if (enabler)
			ret = write_word(owner, enabler, enabler->event->enabled);
		/* A later fork sees user_event_seq move. */
		if (enabler && !ret)
			update_others(owner, enabler);
		mutex_unlock(&event_mutex);
		if (!ret)
			return 0;

		back_off(attempt);
		ret = fault_in_word(owner->mm, key->addr, ret, &attempt);
		if (ret)
			return ret == -EINTR || ret == -ENOMEM ? ret : -EFAULT;
	}
	return -EINTR;
}

/* Find the word of @enabler if it is in a page of ours. */
static int enabler_find_word(struct user_event_enabler *enabler)
{
	struct user_event_pages *pages;
	unsigned long offset;

	pages = find_pages(current->mm, enabler->key.addr, &offset);
	if (!pages)
		return 0;

	offset = ALIGN_DOWN(offset, sizeof(long)) * BITS_PER_BYTE;
	enabler->word = word_get(pages, offset + enabler_bit(enabler));
	enabler->in_page = enabler->word;
	return enabler->in_page ? 0 : -ENOMEM;
}

/*
 * Clear the bit of an enabler that has been taken out of its set, unless somebody
 * else has registered it meanwhile. Drops event_mutex to wait for the memory:
 * who forks while the enabler is in owner->clearing tells the child.
 */
static void clear_word(struct user_event_mm *owner, const struct user_event_enabler *enabler)
{
	unsigned int attempt = 0;
	int ret;

	clear_others(owner, enabler);
	while (!find_enabler(owner, &enabler->key)) {
		ret = write_word(owner, enabler, false);
		if (!ret || fatal_signal_pending(current))
			return;

		mutex_unlock(&event_mutex);
		back_off(attempt);
		ret = fault_in_word(owner->mm, enabler->key.addr, ret, &attempt);
		mutex_lock(&event_mutex);
		if (ret)
			return;
	}
}

static int unregister_enabler(const struct user_event_key *key)
{
	struct user_event_mm *owner = task_owner(current);
	struct user_event_enabler *enabler;
	int ret;

	if (!owner)
		return -ENOENT;

	guard(mutex)(&event_mutex);
	ret = find_enabler(owner, key) ? owner_unshare(owner) : -ENOENT;
	if (ret)
		return ret;

	enabler = find_enabler(owner, key);
	enabler_remove(owner, enabler);
	if (enabler->in_page) {
		enabler_free(enabler);
		return 0;
	}
	list_add_tail(&enabler->set_link, &owner->clearing);
	clear_word(owner, enabler);
	user_event_put_locked(enabler->event);
	enabler_retire(owner, enabler);
	return 0;
}

/**
 * register_enabler - let a bit of the caller's memory show an event's state
 * @event: event; the enabler takes a reference of its own
 * @reg: checked argument of the ioctl
 *
 * Context: process context, may wait for the memory of current.
 * Return: 0 with the bit up to date; -EADDRINUSE if the bit is registered,
 * -EFAULT if the word cannot be written, -EINTR, -ENOMEM.
 */
static int register_enabler(struct user_event *event, const struct user_reg *reg)
{
	struct user_event_enabler *enabler;
	struct user_event_mm *owner;
	struct user_event_key key;
	bool in_page;
	int ret;

	owner = owner_of_current();
	if (!owner)
		return -ENOMEM;

	enabler = kmem_cache_zalloc(enabler_cache, GFP_KERNEL_ACCOUNT);
	if (!enabler)
		return -ENOMEM;

	enabler->key.addr = reg->enable_addr;
	enabler->key.bit = reg->enable_bit;
	enabler->width = reg->enable_size;
	enabler->event = event;
	key = enabler->key;

	ret = enabler_find_word(enabler);
	if (!ret) {
		in_page = enabler->in_page;
		ret = enabler_insert(owner, enabler);
	}
	if (ret) {
		if (enabler->in_page)
			word_put(enabler->word);
		kmem_cache_free(enabler_cache, enabler);
		return ret;
	}

	if (in_page)
		return 0;

	ret = prove_word(owner, &key);
	if (ret)
		unregister_enabler(&key);
	return ret;
}

/*
 * Consumers: ftrace and perf coming and going.
 *
 * Both call user_event_reg() under event_mutex. Each instance of ftrace that
 * records an event and perf as a whole hold a reference to it; BPF programs
 * hang on perf events.
 */

static int add_file(struct user_event *event, struct trace_event_file *file)
{
	struct user_event_files *old, *new;
	unsigned int nr;

	old = rcu_dereference_protected(event->files, lockdep_is_held(&event_mutex));
	nr = old ? old->nr : 0;
	new = kmalloc(struct_size(new, file, nr + 1), GFP_KERNEL);
	if (!new)
		return -ENOMEM;

	if (nr)
		memcpy(new->file, old->file, nr * sizeof(file));
	new->file[nr] = file;
	new->nr = nr + 1;
	rcu_assign_pointer(event->files, new);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

/* Must not fail: without memory for a shorter list a hole is left. */
static void remove_file(struct user_event *event, struct trace_event_file *file)
{
	struct user_event_files *old, *new = NULL;
	unsigned int i, left = 0;

	old = rcu_dereference_protected(event->files, lockdep_is_held(&event_mutex));
	for (i = 0; i < old->nr; i++)
		left += old->file[i] && old->file[i] != file;

	if (left) {
		new = kmalloc(struct_size(new, file, left), GFP_KERNEL | __GFP_NOWARN);
		if (!new) {
			for (i = 0; i < old->nr; i++) {
				if (old->file[i] == file)
					WRITE_ONCE(old->file[i], NULL);
			}
			return;
		}
		new->nr = 0;
		for (i = 0; i < old->nr; i++) {
			if (old->file[i] && old->file[i] != file)
				new->file[new->nr++] = old->file[i];
		}
	}
	rcu_assign_pointer(event->files, new);
	kfree_rcu(old, rcu);
}

/* Let the words show it if the first consumer has come or the last one gone. */
static void consumers_changed(struct user_event *event)
{
	bool enabled = rcu_access_pointer(event->files) || event->perf;

	if (event->enabled == enabled)
		return;

	WRITE_ONCE(event->enabled, enabled);
	update_enablers(event);
}

/* Most events are never traced and need no counters. */
static int prepare_losses(struct user_event *event)
{
	struct user_event_losses *losses;

	lockdep_assert_held(&event_mutex);

	if (event->losses)
		return 0;
	losses = kzalloc(sizeof(*losses), GFP_KERNEL);
	if (!losses)
		return -ENOMEM;
	WRITE_ONCE(event->losses, losses);
	return 0;
}

static int user_event_reg(struct trace_event_call *call, enum trace_reg type,
			  void *data)
{
	struct user_event *event = event_of_call(call);
	int ret;

	switch (type) {
	case TRACE_REG_REGISTER:
		ret = prepare_losses(event) ?: add_file(event, data);
		if (ret)
			return ret;
		break;
	case TRACE_REG_UNREGISTER:
		remove_file(event, data);
		consumers_changed(event);
		user_event_put_later(event);
		return 0;
#ifdef CONFIG_PERF_EVENTS
	case TRACE_REG_PERF_REGISTER:
		ret = prepare_losses(event);
		if (ret)
			return ret;
		/* Pairs with deliver(), which then finds call->perf_events. */
		smp_store_release(&event->perf, true);
		break;
	case TRACE_REG_PERF_UNREGISTER:
		/* The caller waits for readers before it frees perf_events. */
		WRITE_ONCE(event->perf, false);
		consumers_changed(event);
		user_event_put_later(event);
		return 0;
#endif
	default:
		return 0;
	}

	refcount_inc(&event->refs);
	consumers_changed(event);
	return 0;
}

static void class_init(struct trace_event_class *class, const char *system)
{
	class->system = system;
	class->reg = user_event_reg;
	class->get_fields = user_event_get_fields;
	class->fields_array = user_event_fields_array;
}

static int group_init(struct user_event_group *group, struct dyn_event_operations *dyn_ops)
{
	group->dyn_ops = dyn_ops;
	INIT_LIST_HEAD(&group->list);
	hash_init(group->multi);
	group->seed = get_random_u32();
	class_init(&group->single_class, USER_EVENTS_SYSTEM);
	class_init(&group->multi_class, USER_EVENTS_MULTI_SYSTEM);
	return rhashtable_init(&group->events, &registry_params);
}

/*
 * Records: stage, check, deliver.
 *
 * A record is the common fields and the payload. It is put together once, in
 * memory of ours, by a copy that may fault like that of any system call, and
 * checked there; then, under RCU, every consumer gets the same bytes. So no
 * consumer sees half an event, and what a thread of the program changes after
 * the check does not matter.
 *
 * What a consumer does not take, although it is switched on and does not
 * filter it out, is a loss: counted in the event, and told to the writer if
 * no retry can help or if the writer asked for it.
 */

/* perf pads the raw data of a sample: room for that behind a record. */
#define RECORD_PADDING		sizeof(u64)

/**
 * struct user_event_stage - a record being put together
 * @unused: keeps @index right in front of the payload
 * @index: write index, where the common fields will be
 * @entry: common fields
 * @record: the record as bytes
 */
struct user_event_stage {
	union {
		struct {
			u32		unused;
			u32		index;
		};
		struct trace_entry	entry;
		char			record[USER_EVENT_STACK_RECORD + RECORD_PADDING];
	};
} __aligned(sizeof(u64));

static unsigned int lose(struct user_event *event, enum user_event_consumer consumer,
			 enum user_event_loss reason)
{
	struct user_event_losses *losses = READ_ONCE(event->losses);

	/* Else the consumer has just come, on another CPU. */
	if (likely(losses))
		atomic_long_inc(&losses->count[consumer][reason]);
	return BIT(reason);
}

/* Count a record that could not even be staged. */
static void lose_everywhere(struct user_event *event, enum user_event_loss reason)
{
	if (rcu_access_pointer(event->files))
		lose(event, CONSUMER_FTRACE, reason);
	if (READ_ONCE(event->perf))
		lose(event, CONSUMER_PERF, reason);
}

/*
 * Run the triggers of a file that does not get the record. They may ask a ring
 * buffer event for its time stamp, and for nothing else: one with only the
 * common fields will do, which there is room for whatever the record's size.
 */
static unsigned int run_triggers(struct user_event *event, struct trace_event_file *file,
				 struct trace_entry *entry, unsigned int trace_ctx)
{
	enum event_trigger_type post;
	struct ring_buffer_event *rb_event;
	struct trace_buffer *buffer;

	rb_event = trace_event_buffer_lock_reserve(&buffer, file, entry->type,
						   sizeof(*entry), trace_ctx);
	/* If a buffer is full or off there is one for triggers that is not. */
	if (!rb_event)
		return lose(event, CONSUMER_FTRACE, LOSS_RECURSION);

	post = event_triggers_call(file, buffer, entry, rb_event);
	__trace_event_discard_commit(buffer, rb_event);
	if (post)
		event_triggers_post_call(file, post);
	return 0;
}

/* Does the file not want the record? Triggers are run if so. */
static bool file_ignores(struct user_event *event, struct trace_event_file *file,
			 struct trace_entry *entry, unsigned int trace_ctx,
			 unsigned int *losses)
{
	unsigned long flags = file->flags;

	if (trace_trigger_soft_disabled(file))
		return true;

	if (flags & EVENT_FILE_FL_PID_FILTER && trace_event_ignore_this_pid(file))
		return true;

	if (!(flags & EVENT_FILE_FL_SOFT_DISABLED) &&
	    (!(flags & EVENT_FILE_FL_FILTERED) ||
	     filter_match_preds(rcu_dereference_sched(file->filter), entry)))
		return false;

	if (flags & EVENT_FILE_FL_TRIGGER_COND)
		*losses = run_triggers(event, file, entry, trace_ctx);
	return true;
}

#define FILE_IS_PARTICULAR	(EVENT_FILE_FL_TRIGGER_MODE | EVENT_FILE_FL_TRIGGER_COND | \
				 EVENT_FILE_FL_SOFT_DISABLED | EVENT_FILE_FL_FILTERED | \
				 EVENT_FILE_FL_PID_FILTER)

/* The buffer has refused the record. Why? */
static noinline unsigned int file_refused(struct user_event *event,
					  struct trace_event_file *file,
					  struct trace_entry *entry,
					  size_t size, unsigned int trace_ctx)
{
	struct trace_array *tr = file->tr;
	unsigned int losses = 0;

	if (file->flags & EVENT_FILE_FL_TRIGGER_COND)
		losses = run_triggers(event, file, entry, trace_ctx);

	if (!tracer_tracing_is_on(tr) || READ_ONCE(tr->stop_count) ||
	    !cpumask_test_cpu(smp_processor_id(), tr->tracing_cpumask))
		return losses;

	if (size > ring_buffer_max_event_size(tr->array_buffer.buffer))
		return losses | lose(event, CONSUMER_FTRACE, LOSS_TOO_BIG);

	/* A buffer that overwrites itself is never full. */
	return losses | lose(event, CONSUMER_FTRACE, tr->trace_flags & TRACE_ITER_OVERWRITE ?
			     LOSS_RECURSION : LOSS_FULL);
}

/*
 * Context: preemption disabled.
 * Return: losses, a bit for each enum user_event_loss.
 */
static __always_inline unsigned int deliver_ftrace(struct user_event *event,
						   struct trace_event_file *file,
						   struct trace_entry *entry, size_t size,
						   unsigned int trace_ctx)
{
	struct trace_event_buffer fbuffer __uninitialized;
	unsigned int losses = 0;

	if (unlikely(file->flags & FILE_IS_PARTICULAR) &&
	    file_ignores(event, file, entry, trace_ctx, &losses))
		return losses;

	fbuffer.buffer = file->tr->array_buffer.buffer;
	fbuffer.event = ring_buffer_lock_reserve(fbuffer.buffer, size);
	if (!fbuffer.event)
		return file_refused(event, file, entry, size, trace_ctx);

	fbuffer.trace_ctx = trace_ctx;
	fbuffer.trace_file = file;
	fbuffer.regs = NULL;
	fbuffer.entry = ring_buffer_event_data(fbuffer.event);
	memcpy(fbuffer.entry, entry, size);
	trace_event_buffer_commit(&fbuffer);
	return 0;
}

static __always_inline unsigned int deliver_files(struct user_event *event,
						  struct user_event_files *files,
						  struct trace_entry *entry, size_t size)
{
	unsigned int trace_ctx = tracing_gen_ctx_dec();
	struct trace_event_file *file;
	unsigned int losses = 0;
	unsigned int i;

	tracing_generic_entry_update(entry, event->call.event.type, trace_ctx);
	for (i = 0; i < files->nr; i++) {
		file = READ_ONCE(files->file[i]);
		if (file)
			losses |= deliver_ftrace(event, file, entry, size, trace_ctx);
	}
	return losses;
}

#ifdef CONFIG_PERF_EVENTS

/* The size of a sample is a u16 and a multiple of 8. */
#define PERF_MAX_SAMPLE		round_down((size_t)U16_MAX, 8)

/* What a sample of @pe holds besides the record and the stack, at most. */
static size_t perf_sample_rest(const struct perf_event *pe)
{
	u64 type = pe->attr.sample_type;
	size_t size = sizeof(struct perf_event_header) + pe->header_size +
		      pe->id_header_size;

	if (type & PERF_SAMPLE_CALLCHAIN) {
		size += (1 + pe->attr.sample_max_stack +
			 sysctl_perf_event_max_contexts_per_stack) * sizeof(u64);
	}
	if (type & PERF_SAMPLE_BRANCH_STACK)
		size += sizeof(u64);
	if (type & PERF_SAMPLE_REGS_USER)
		size += (1 + hweight64(pe->attr.sample_regs_user)) * sizeof(u64);
	if (type & PERF_SAMPLE_REGS_INTR)
		size += (1 + hweight64(pe->attr.sample_regs_intr)) * sizeof(u64);
	if (type & PERF_SAMPLE_AUX)
		size += 2 * sizeof(u64);
	if (type & PERF_SAMPLE_STACK_USER)
		size += 2 * sizeof(u64);
	return size;
}

/* What a record takes in a sample: its size, its bytes, padding. */
static size_t perf_raw_size(size_t size)
{
	return round_up(size + sizeof(u32), sizeof(u64));
}

/* The size of a sample with a record of @size, PERF_MAX_SAMPLE + 8 if none fits. */
static size_t perf_sample_size(const struct perf_event *pe, size_t size)
{
	size_t sample = perf_sample_rest(pe) + perf_raw_size(size);
	size_t stack = 0;

	if (pe->attr.sample_type & PERF_SAMPLE_STACK_USER)
		stack = round_up(pe->attr.sample_stack_user, sizeof(u64));

	/* The stack is cut to what is left, but not for what follows it. */
	if (pe->attr.sample_type & (PERF_SAMPLE_REGS_INTR | PERF_SAMPLE_AUX))
		return min(sample + stack, PERF_MAX_SAMPLE + sizeof(u64));
	if (sample > PERF_MAX_SAMPLE)
		return PERF_MAX_SAMPLE + sizeof(u64);
	return min(sample + stack, PERF_MAX_SAMPLE);
}

/* The event whose ring takes the samples of @pe. */
static const struct perf_event *perf_output_of(const struct perf_event *pe)
{
	return pe->parent ?: pe;
}

/*
 * Does a sample with a record of @size fit in @pe at all? A ring has to hold
 * it with the record that tells of earlier losses in front.
 */
static bool perf_can_take(struct perf_event *pe, size_t size)
{
	const struct perf_event *output = perf_output_of(pe);
	size_t lost = sizeof(struct perf_event_header) + 2 * sizeof(u64) +
		      pe->id_header_size;
	struct perf_buffer *rb;
	size_t sample;

	if (!(pe->attr.sample_type & PERF_SAMPLE_RAW) || !is_sampling_event(pe))
		return true;

	sample = perf_sample_size(pe, size);
	if (sample > PERF_MAX_SAMPLE)
		return false;

	rb = READ_ONCE(output->rb);
	return !rb || !rb->nr_pages || sample + lost < perf_data_size(rb);
}

/* What makes a sample more than a few words around the record. */
#define PERF_SAMPLE_LARGE	(PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_BRANCH_STACK | \
				 PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER | \
				 PERF_SAMPLE_REGS_INTR | PERF_SAMPLE_AUX | PERF_SAMPLE_READ)

/* perf_can_take() for the common case: a ring is a page at least. */
static bool perf_takes_easily(struct perf_event *pe, size_t size)
{
	return size <= PAGE_SIZE / 2 && !(pe->attr.sample_type & PERF_SAMPLE_LARGE);
}

/* Would perf hand the record to @pe? See perf_tp_event_match(). */
static bool perf_wants(const struct perf_event *pe, struct trace_entry *entry,
		       struct pt_regs *regs)
{
	struct event_filter *filter = (pe->parent ?: pe)->filter;

	if (pe->state != PERF_EVENT_STATE_ACTIVE || pe->hw.state & PERF_HES_STOPPED)
		return false;
	if (pe->attr.exclude_kernel && !user_mode(regs))
		return false;
	return !filter || filter_match_preds(filter, entry);
}

/* Would perf take a sample of the next record? See perf_swevent_event(). */
static bool perf_samples_next(struct perf_event *pe)
{
	if (!pe->attr.freq && (pe->attr.sample_type & PERF_SAMPLE_PERIOD ||
			       pe->hw.sample_period == 1))
		return true;
	return local64_read(&pe->hw.period_left) >= -1;
}

/* Samples that did not fit in the ring of @output, so far. */
static s64 perf_lost(const struct perf_event *output)
{
	return atomic64_read(&output->lost_samples);
}

/*
 * Whether the ring is switched off, with PERF_EVENT_IOC_PAUSE_OUTPUT: what perf
 * counts as lost then is no loss.
 */
static bool perf_paused(const struct perf_event *output)
{
	const struct perf_buffer *rb = READ_ONCE(output->rb);

	return rb && rb->paused;
}

/* A perf event that is switched off for one record it cannot take. */
#define PERF_PASSED_OVER	(PERF_HES_STOPPED | PERF_HES_ARCH)

/* Have @pe take no sample of a record, but count it, and its next period begin. */
static void perf_pass_over(struct perf_event *pe)
{
	local64_inc(&pe->count);
	if (!local64_add_negative(1, &pe->hw.period_left))
		perf_swevent_set_period(pe);
	pe->hw.state |= PERF_PASSED_OVER;
}

/*
 * Hand out a record that not all perf events can take, or that more of them
 * want than perf_submit() keeps count of. Interrupts are off, so that neither
 * the list nor the states of the events change. Only a clock uses prev_count.
 */
static noinline unsigned int perf_submit_some(struct user_event *event,
					      struct trace_entry *entry, size_t size,
					      struct hlist_head *head,
					      struct pt_regs *regs, int rctx)
{
	bool too_big = false, full = false;
	const struct perf_event *output;
	unsigned int losses = 0;
	unsigned long flags;
	struct perf_event *pe;

	/* Filters may look at the common fields. */
	tracing_generic_entry_update(entry, event->call.event.type, tracing_gen_ctx());

	local_irq_save(flags);
	hlist_for_each_entry_rcu(pe, head, hlist_entry) {
		local64_set(&pe->hw.prev_count, perf_lost(perf_output_of(pe)));
		if (perf_can_take(pe, size) || !perf_wants(pe, entry, regs) ||
		    !perf_samples_next(pe))
			continue;
		too_big = true;
		perf_pass_over(pe);
	}

	perf_tp_event(event->call.event.type, 1, entry, perf_raw_size(size) - sizeof(u32),
		      regs, head, rctx, NULL);

	hlist_for_each_entry_rcu(pe, head, hlist_entry) {
		output = perf_output_of(pe);
		if (perf_lost(output) != local64_read(&pe->hw.prev_count) &&
		    !perf_paused(output))
			full = true;
		if ((pe->hw.state & PERF_PASSED_OVER) == PERF_PASSED_OVER)
			pe->hw.state &= ~PERF_PASSED_OVER;
	}
	local_irq_restore(flags);

	if (too_big)
		losses |= lose(event, CONSUMER_PERF, LOSS_TOO_BIG);
	if (full)
		losses |= lose(event, CONSUMER_PERF, LOSS_FULL);
	return losses;
}

/*
 * Hand the record to the only perf event on this CPU. perf itself does not say
 * whether a sample found room; its own count of those that did not does. No
 * other CPU writes samples of this event: a ring belongs to a CPU, or to a
 * task, which is current.
 */
static __always_inline unsigned int perf_submit_one(struct user_event *event,
						    struct trace_entry *entry, size_t size,
						    struct hlist_head *head,
						    const struct perf_event *pe,
						    struct pt_regs *regs, int rctx)
{
	const struct perf_event *output = perf_output_of(pe);
	s64 lost = perf_lost(output);

	perf_tp_event(event->call.event.type, 1, entry, perf_raw_size(size) - sizeof(u32),
		      regs, head, rctx, NULL);

	if (likely(perf_lost(output) == lost) || perf_paused(output))
		return 0;
	return lose(event, CONSUMER_PERF, LOSS_FULL);
}

/* Hand the record to the perf events on this CPU. */
static __always_inline unsigned int perf_submit(struct user_event *event,
						struct trace_entry *entry, size_t size,
						struct hlist_head *head,
						struct pt_regs *regs, int rctx)
{
	struct perf_event *pe;

	if (hlist_empty(head)) {
		perf_swevent_put_recursion_context(rctx);
		return 0;
	}
	put_unaligned((u64)0, (u64 *)((char *)entry + size));
	pe = hlist_entry_safe(rcu_dereference_raw(hlist_first_rcu(head)), struct perf_event,
			      hlist_entry);
	if (likely(pe && !pe->hlist_entry.next && perf_takes_easily(pe, size)))
		return perf_submit_one(event, entry, size, head, pe, regs, rctx);
	return perf_submit_some(event, entry, size, head, regs, rctx);
}

/*
 * Are programs kept from running on this CPU? So they are while a system call
 * for a map is at work, which may have been preempted.
 */
static bool programs_blocked(void)
{
#ifdef CONFIG_BPF_EVENTS
	return this_cpu_read(bpf_prog_active);
#else
	return false;
#endif
}

/* The same for an event with programs, which may keep the record from perf. */
static noinline unsigned int perf_submit_filtered(struct user_event *event,
						  struct trace_entry *entry, size_t size,
						  struct hlist_head *head,
						  struct pt_regs *regs, int rctx)
{
	unsigned int losses = 0;

	/*
	 * The context of a program starts with its registers. Where a pointer is
	 * short, the process id is behind it, for the program to read.
	 */
	if (BITS_PER_LONG == 32)
		tracing_generic_entry_update(entry, event->call.event.type,
					     tracing_gen_ctx());
	*(struct pt_regs **)entry = regs;
	if (!trace_call_bpf(&event->call, entry)) {
		/* Programs that did not run have not turned the record down. */
		if (likely(!programs_blocked())) {
			perf_swevent_put_recursion_context(rctx);
			return 0;
		}
		losses = lose(event, CONSUMER_PERF, LOSS_RECURSION);
	}
	return losses | perf_submit(event, entry, size, head, regs, rctx);
}

/*
 * Context: preemption disabled. The record is followed by RECORD_PADDING.
 * Return: losses, a bit for each enum user_event_loss.
 */
static __always_inline unsigned int deliver_perf(struct user_event *event,
						 struct trace_entry *entry, size_t size)
{
	struct trace_event_call *call = &event->call;
	struct hlist_head *head = this_cpu_ptr(call->perf_events);
	struct pt_regs *regs;
	int rctx;

	if (hlist_empty(head) && !bpf_prog_array_valid(call))
		return 0;

	rctx = perf_swevent_get_recursion_context();
	if (rctx < 0)
		return lose(event, CONSUMER_PERF, LOSS_RECURSION);

	regs = this_cpu_ptr(&__perf_regs[rctx]);
	perf_fetch_caller_regs(regs);

	if (bpf_prog_array_valid(call))
		return perf_submit_filtered(event, entry, size, head, regs, rctx);
	return perf_submit(event, entry, size, head, regs, rctx);
}

#else

static unsigned int deliver_perf(struct user_event *event, struct trace_entry *entry,
				 size_t size)
{
	return 0;
}

#endif /* CONFIG_PERF_EVENTS */

/**
 * deliver - hand a record to every consumer
 * @event: event
 * @entry: record; the common fields are filled in here
 * @size: bytes of the record; RECORD_PADDING bytes follow that may be written
 * @report: tell of losses that a retry may mend
 *
 * Context: process context.
 * Return: 0; -EBADF if there is no consumer, -E2BIG if there is one that can
 * never take the record, -ENOBUFS with @report if a buffer was full.
 */
static __always_inline int deliver(struct user_event *event, struct trace_entry *entry,
				   size_t size, bool report)
{
	struct user_event_files *files;
	unsigned int losses = 0;
	bool perf;

	guard(preempt_notrace)();

	files = rcu_dereference_sched(event->files);
	/* Pairs with user_event_reg(): call.perf_events is there. */
	perf = smp_load_acquire(&event->perf);
	if (!files && !perf)
		return -EBADF;

	if (files)
		losses |= deliver_files(event, files, entry, size);
	if (perf)
		losses |= deliver_perf(event, entry, size);

	if (likely(!losses))
		return 0;
	if (losses & BIT(LOSS_TOO_BIG))
		return -E2BIG;
	return report ? -ENOBUFS : 0;
}

/*
 * Does a location point into the payload, and its string end in NUL? One of no
 * bytes points at nothing, also if it is all 0, as programs leave what they do
 * not use. The sums are of 16-bit numbers and the offset of a field: they do
 * not overflow.
 */
static bool location_ok(const struct user_event_field *field, const void *record,
			size_t size)
{
	u32 location = get_unaligned((const u32 *)(record + field->offset));
	size_t start = location & 0xffff;
	size_t len = location >> 16;

	if (field->place == PLACE_REL_LOC)
		start += field->offset + sizeof(u32);
	else if (len && start < sizeof(struct trace_entry))
		return false;

	if (start + len > size)
		return false;
	return !field->is_char || (len && !((const char *)record)[start + len - 1]);
}

static bool locations_ok(const struct user_event_format *format, const void *record,
			 size_t size)
{
	const struct user_event_field *field = format->fields;
	unsigned int left;

	for (left = format->nr_locations; left; field++) {
		if (field->place == PLACE_INLINE)
			continue;
		if (!location_ok(field, record, size))
			return false;
		left--;
	}
	return true;
}

/**
 * struct user_event_table - events of an open file by write index
 * @rcu: freed after readers
 * @nr: indexes in use, grows only
 * @capacity: elements of @slot
 * @slot: event, which the table holds a reference to, and SLOT_REPORT
 */
struct user_event_table {
	struct rcu_head		rcu;
	unsigned int		nr;
	unsigned int		capacity;
	unsigned long		slot[];
};

/* Writes through this index report losses. */
#define SLOT_REPORT	1UL

/**
 * struct user_event_file - an open user_events_data
 * @group: group of the file
 * @lock: serializes changes of the index table, and @pages
 * @table: events by write index; the file keeps each of them
 * @indexes: write index by the id of the event
 * @pages: pages of enable words, NULL until the first mmap
 */
struct user_event_file {
	struct user_event_group		*group;
	struct mutex			lock;	/* changes of what follows */
	struct user_event_table __rcu	*table;
	struct xarray			indexes;
	struct user_event_pages		*pages;
};

/* The slot of @index, 0 for none. What it points to stays with the file. */
static unsigned long file_slot(struct user_event_file *info, u32 index)
{
	struct user_event_table *table;

	guard(rcu)();
	table = rcu_dereference(info->table);
	/* Pairs with file_add_event(): the slot is filled before it counts. */
	if (!table || index >= smp_load_acquire(&table->nr))
		return 0;
	return READ_ONCE(table->slot[index]);
}

static struct user_event *slot_event(unsigned long slot)
{
	return (struct user_event *)(slot & ~SLOT_REPORT);
}

/* What can be said of a write before its payload has been read. */
static int may_write(unsigned long slot, s32 index, size_t payload)
{
	struct user_event *event = slot_event(slot);

	if (index < 0)
		return -EINVAL;
	if (!event)
		return -ENOENT;
	if (payload < event->format->payload_size)
		return -EINVAL;
	if (!READ_ONCE(event->enabled))
		return -EBADF;
	return 0;
}

static __always_inline int check_and_deliver_now(unsigned long slot,
						 struct trace_entry *entry, size_t size)
{
	struct user_event *event = slot_event(slot);

	if (event->format->nr_locations && !locations_ok(event->format, entry, size))
		return -EFAULT;
	return deliver(event, entry, size, slot & SLOT_REPORT);
}

/* The same for all but the one path that is worth a copy of the code. */
static noinline int check_and_deliver(unsigned long slot, struct trace_entry *entry,
				      size_t size)
{
	return check_and_deliver_now(slot, entry, size);
}

/* Copy all or nothing. With @nowait a page that is not there is -EAGAIN. */
static int copy_in(void *to, size_t size, struct iov_iter *from, bool nowait)
{
	size_t copied;

	if (!nowait)
		return copy_from_iter(to, size, from) == size ? 0 : -EFAULT;

	pagefault_disable();
	copied = copy_from_iter(to, size, from);
	pagefault_enable();
	return copied == size ? 0 : -EAGAIN;
}

/* A record that does not go on the stack. */
static noinline int emit_large(unsigned long slot, size_t payload,
			       struct iov_iter *from, bool nowait)
{
	size_t size = sizeof(struct trace_entry) + payload;
	struct trace_entry *entry;
	int ret;

	if (size > USER_EVENT_MAX_RECORD) {
		lose_everywhere(slot_event(slot), LOSS_TOO_BIG);
		return -E2BIG;
	}

	entry = kvmalloc(size + RECORD_PADDING,
			 (nowait ? GFP_NOWAIT : GFP_KERNEL) | __GFP_NOWARN);
	if (!entry) {
		if (nowait)
			return -EAGAIN;
		lose_everywhere(slot_event(slot), LOSS_NO_MEMORY);
		return -ENOMEM;
	}

	ret = copy_in(entry + 1, payload, from, nowait);
	if (!ret)
		ret = check_and_deliver(slot, entry, size);
	kvfree(entry);
	return ret;
}

/**
 * emit - one event from an iterator
 * @info: open file
 * @index: write index
 * @payload: bytes to take from @from
 * @from: where the payload is
 * @stage: where small records are put together
 * @nowait: -EAGAIN rather than sleep
 *
 * Context: process context.
 * Return: 0 or, in this order: -EINVAL for a negative index, -ENOENT for one
 * that is not in use, -EINVAL for a short payload, -EBADF without a consumer,
 * -ENOMEM, -EFAULT for memory that cannot be read or a bad location, -E2BIG,
 * -ENOBUFS.
 */
static int emit(struct user_event_file *info, u32 index, size_t payload,
		struct iov_iter *from, struct user_event_stage *stage, bool nowait)
{
	struct trace_entry *entry = &stage->entry;
	unsigned long slot = file_slot(info, index);
	int ret;

	ret = may_write(slot, index, payload);
	if (ret)
		return ret;

	if (sizeof(*entry) + payload > USER_EVENT_STACK_RECORD)
		return emit_large(slot, payload, from, nowait);

	ret = copy_in(entry + 1, payload, from, nowait);
	return ret ?: check_and_deliver(slot, entry, sizeof(*entry) + payload);
}

static bool fits_stage(size_t count)
{
	return count <= USER_EVENT_STACK_RECORD - offsetof(struct user_event_stage, index);
}

/* An index and a payload, @count bytes in all, that were copied in one go. */
static __always_inline ssize_t emit_staged(struct user_event_file *info,
					   struct user_event_stage *stage, size_t count)
{
	u32 index = stage->index;
	unsigned long slot = file_slot(info, index);
	int ret;

	ret = may_write(slot, index, count - sizeof(index));
	if (!ret)
		ret = check_and_deliver_now(slot, &stage->entry,
					    offsetof(struct user_event_stage, index) + count);
	return ret ?: count;
}

#ifndef unsafe_copy_long
static __must_check __always_inline bool
unsafe_copy_long(unsigned long *to, const unsigned long __user *from)
{
	unsafe_get_user(*to, from, fault);
	return true;
fault:
	return false;
}
#endif

/* Both ends are aligned as it comes. */
static __must_check __always_inline bool
unsafe_copy_8_longs(unsigned long *to, const unsigned long __user *from)
{
	return unsafe_copy_long(to, from) && unsafe_copy_long(to + 1, from + 1) &&
	       unsafe_copy_long(to + 2, from + 2) && unsafe_copy_long(to + 3, from + 3) &&
	       unsafe_copy_long(to + 4, from + 4) && unsafe_copy_long(to + 5, from + 5) &&
	       unsafe_copy_long(to + 6, from + 6) && unsafe_copy_long(to + 7, from + 7);
}

/*
 * Copy an index and a payload in one go, the index to where the common fields
 * will be. In line and word by word, as most records are a few words only.
 */
static __always_inline bool stage_user(struct user_event_stage *stage,
				       const char __user *from, size_t count)
{
	char *to = stage->record + sizeof(struct trace_entry);
	const size_t word = sizeof(long);

	if (!IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS))
		return !copy_from_user(&stage->index, from, count);

	might_fault();
	if (!user_read_access_begin(from, count))
		return false;

	unsafe_get_user(stage->index, (const u32 __user *)from, fault);
	from += sizeof(stage->index);
	count -= sizeof(stage->index);

	for (; count >= 8 * word; count -= 8 * word, from += 8 * word, to += 8 * word) {
		if (!unsafe_copy_8_longs((void *)to, (const void __user *)from))
			goto fault;
	}
	for (; count >= word; count -= word, from += word, to += word) {
		if (!unsafe_copy_long((void *)to, (const void __user *)from))
			goto fault;
	}
	for (; count; count--)
		unsafe_get_user(*to++, from++, fault);
	user_read_access_end();
	return true;

fault:
	user_read_access_end();
	return false;
}

/* A record of a batch that is small and in one piece. */
static ssize_t emit_record_user(struct user_event_file *info, struct iov_iter *from,
				struct user_event_stage *stage)
{
	const char __user *record = from->ubuf + from->iov_offset;
	ssize_t ret;
	u32 size;

	if (get_user(size, (const u32 __user *)record) ||
	    size < sizeof(struct user_event_record) || size > iov_iter_count(from) ||
	    !fits_stage(size - sizeof(size)) ||
	    !stage_user(stage, record + sizeof(size), size - sizeof(size)))
		return -EAGAIN;

	ret = emit_staged(info, stage, size - sizeof(size));
	if (ret < 0 && ret != -EBADF)
		return ret;
	iov_iter_advance(from, size);
	return size;
}

/* One record of a batch. Return: bytes dealt with, or an error. */
static ssize_t emit_record(struct user_event_file *info, struct iov_iter *from,
			   struct user_event_stage *stage)
{
	size_t left = iov_iter_count(from);
	struct user_event_record record;
	ssize_t ret;

	if (left < sizeof(record))
		return -EINVAL;

	if (iter_is_ubuf(from)) {
		ret = emit_record_user(info, from, stage);
		if (ret != -EAGAIN)
			return ret;
	}

	ret = copy_in(&record, sizeof(record), from, false);
	if (ret)
		return ret;
	if (record.size < sizeof(record) || record.size > left)
		return -EINVAL;

	ret = emit(info, record.write_index, record.size - sizeof(record), from, stage,
		   false);
	if (ret && ret != -EBADF)
		return ret;

	iov_iter_advance(from, iov_iter_count(from) - (left - record.size));
	return record.size;
}

/* Records one after the other, up to the first that fails. */
static ssize_t emit_batch(struct user_event_file *info, struct iov_iter *from,
			  struct user_event_stage *stage)
{
	ssize_t done = sizeof(u32);
	ssize_t ret;

	while (iov_iter_count(from)) {
		ret = emit_record(info, from, stage);
		if (ret < 0)
			return done > sizeof(u32) ? done : ret;
		done += ret;
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return done;
}

static ssize_t emit_iter(struct user_event_file *info, struct iov_iter *from,
			 struct user_event_stage *stage, bool nowait)
{
	size_t count = iov_iter_count(from);
	u32 index;
	int ret;

	ret = copy_in(&index, sizeof(index), from, nowait);
	if (ret)
		return ret;
	if (index == USER_EVENT_WRITE_BATCH) {
		/* io_uring would take a short count for reason to write the rest. */
		return nowait ? -EAGAIN : emit_batch(info, from, stage);
	}

	return emit(info, index, count - sizeof(index), from, stage, nowait) ?: count;
}

/*
 * Files: user_events_data.
 *
 * An open file has an index table, which register adds to and writes look up
 * under RCU. Each index keeps its event until the file is closed.
 */

/* A write that is large, a batch, or not to be read: with all that may take. */
static noinline ssize_t write_slowly(struct user_event_file *info, const char __user *ubuf,
				     size_t count, struct user_event_stage *stage)
{
	struct iov_iter iter;
	int ret;

	ret = import_ubuf(ITER_SOURCE, (char __user *)ubuf, count, &iter);
	return ret ?: emit_iter(info, &iter, stage, false);
}

static ssize_t user_events_write(struct file *file, const char __user *ubuf,
				 size_t count, loff_t *ppos)
{
	struct user_event_stage stage __uninitialized;

	if (unlikely(*ppos || count < sizeof(stage.index)))
		return -EFAULT;

	if (unlikely(!fits_stage(count) || !stage_user(&stage, ubuf, count) ||
		     stage.index == USER_EVENT_WRITE_BATCH))
		return write_slowly(file->private_data, ubuf, count, &stage);

	return emit_staged(file->private_data, &stage, count);
}

static ssize_t user_events_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct user_event_file *info = iocb->ki_filp->private_data;
	struct user_event_stage stage __uninitialized;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT;
	size_t count = iov_iter_count(from);
	size_t copied;

	if (iocb->ki_pos || count < sizeof(stage.index))
		return -EFAULT;

	if (unlikely(nowait || !fits_stage(count)))
		return emit_iter(info, from, &stage, nowait);

	copied = copy_from_iter(&stage.index, count, from);
	if (likely(copied == count && stage.index != USER_EVENT_WRITE_BATCH))
		return emit_staged(info, &stage, count);

	iov_iter_revert(from, copied);
	return emit_iter(info, from, &stage, false);
}

static int table_grow(struct user_event_file *info, struct user_event_table *old)
{
	struct user_event_table *new;
	size_t size;

	/* A power of two with the head, which is what the allocator makes of it. */
	size = old ? 2 * struct_size(old, slot, old->capacity) : 64;
	new = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;

	new->nr = old ? old->nr : 0;
	new->capacity = (size - sizeof(*new)) / sizeof(new->slot[0]);
	if (old)
		memcpy(new->slot, old->slot, old->nr * sizeof(old->slot[0]));
	rcu_assign_pointer(info->table, new);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

/**
 * file_add_event - find or make the write index of an event
 * @info: open file
 * @event: event; a new index takes a reference of its own
 * @report: writes through the index report losses from now on
 *
 * Context: process context.
 * Return: index, or -ENOMEM.
 */
static int file_add_event(struct user_event_file *info, struct user_event *event,
			  bool report)
{
	unsigned long id = event->call.event.type;
	struct user_event_table *table;
	unsigned int index;
	void *known;

	guard(mutex)(&info->lock);

	table = rcu_dereference_protected(info->table, lockdep_is_held(&info->lock));
	known = xa_load(&info->indexes, id);
	if (known) {
		index = xa_to_value(known);
		if (report)
			WRITE_ONCE(table->slot[index], table->slot[index] | SLOT_REPORT);
		return index;
	}

	if (!table || table->nr == table->capacity) {
		if (table_grow(info, table))
			return -ENOMEM;
		table = rcu_dereference_protected(info->table,
						  lockdep_is_held(&info->lock));
	}
	index = table->nr;
	if (xa_err(xa_store(&info->indexes, id, xa_mk_value(index), GFP_KERNEL_ACCOUNT)))
		return -ENOMEM;

	refcount_inc(&event->refs);
	table->slot[index] = (unsigned long)event | (report ? SLOT_REPORT : 0);
	/* Pairs with file_slot(), which finds the slot filled. */
	smp_store_release(&table->nr, index + 1);
	return index;
}

#define REG_FLAGS	(USER_EVENT_REG_PERSIST | USER_EVENT_REG_MULTI_FORMAT | \
			 USER_EVENT_REG_REPORT_LOSS)

/* The argument of an ioctl that starts with its size, as the caller knows it. */
static int copy_sized_arg(void *arg, size_t size, const void __user *uarg)
{
	u32 usize;

	if (get_user(usize, (const u32 __user *)uarg))
		return -EFAULT;
	if (usize < size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(arg, size, uarg, usize);
}

static int check_reg(const struct user_reg *reg)
{
	if (reg->flags & ~REG_FLAGS)
		return -EINVAL;
	if (reg->enable_size != sizeof(u32) && reg->enable_size != sizeof(long))
		return -EINVAL;
	if (reg->enable_bit >= reg->enable_size * BITS_PER_BYTE)
		return -EINVAL;
	if (!IS_ALIGNED(reg->enable_addr, reg->enable_size))
		return -EINVAL;
	if (reg->enable_addr != (unsigned long)reg->enable_addr ||
	    !access_ok((void __user *)(unsigned long)reg->enable_addr, reg->enable_size))
		return -EFAULT;
	if (reg->flags & USER_EVENT_REG_PERSIST && !perfmon_capable())
		return -EPERM;
	return 0;
}

static long register_event(struct user_event_file *info, struct user_event *event,
			   const struct user_reg *reg, void __user *uarg)
{
	struct user_event_key key = { .addr = reg->enable_addr, .bit = reg->enable_bit };
	u32 __user *result = uarg + offsetof(struct user_reg, write_index);
	int index;
	int ret;

	/* An index is not taken back: see that it can be told, change nothing. */
	if (put_user(reg->write_index, result))
		return -EFAULT;

	ret = register_enabler(event, reg);
	if (ret)
		return ret;

	index = file_add_event(info, event, reg->flags & USER_EVENT_REG_REPORT_LOSS);
	ret = index < 0 ? index : 0;
	if (!ret && put_user(index, result))
		ret = -EFAULT;
	if (ret)
		unregister_enabler(&key);
	return ret;
}

static long ioctl_register(struct user_event_file *info, void __user *uarg)
{
	struct user_event *event;
	struct user_reg reg;
	char *command;
	long ret;

	ret = copy_sized_arg(&reg, sizeof(reg), uarg);
	if (!ret)
		ret = check_reg(&reg);
	if (ret)
		return ret;

	command = strndup_user(u64_to_user_ptr(reg.name_args), USER_EVENT_MAX_COMMAND);
	if (IS_ERR(command))
		return PTR_ERR(command);

	reg.enable_addr = untagged_addr(reg.enable_addr);
	/* It is to persist only if all else is done. */
	event = user_event_get(info->group, command, reg.flags & ~USER_EVENT_REG_PERSIST);
	kfree(command);
	if (IS_ERR(event))
		return PTR_ERR(event);

	ret = register_event(info, event, &reg, uarg);
	if (!ret && reg.flags & USER_EVENT_REG_PERSIST)
		user_event_persist(event);
	user_event_put(event);
	return ret;
}

static long ioctl_delete(struct user_event_file *info, const char __user *uname)
{
	char *name;
	long ret;

	name = strndup_user(uname, USER_EVENT_MAX_COMMAND);
	if (IS_ERR(name))
		return PTR_ERR(name);

	ret = user_event_delete(info->group, name);
	kfree(name);
	return ret;
}

static long ioctl_unregister(const void __user *uarg)
{
	struct user_event_key key;
	struct user_unreg unreg;
	int ret;

	ret = copy_sized_arg(&unreg, sizeof(unreg), uarg);
	if (ret)
		return ret;
	if (unreg.__reserved || unreg.__reserved2)
		return -EINVAL;
	if (unreg.disable_addr != (unsigned long)unreg.disable_addr)
		return -ENOENT;

	key.addr = untagged_addr(unreg.disable_addr);
	key.bit = unreg.disable_bit;
	return unregister_enabler(&key);
}

static long user_events_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct user_event_file *info = file->private_data;

	switch (cmd) {
	case DIAG_IOCSREG:
		return ioctl_register(info, (void __user *)arg);
	case DIAG_IOCSDEL:
		return ioctl_delete(info, (const char __user *)arg);
	case DIAG_IOCSUNREG:
		return ioctl_unregister((const void __user *)arg);
	default:
		return -ENOTTY;
	}
}

#ifdef CONFIG_COMPAT

/* The numbers hold the size of a pointer, all else is as for 64 bits. */
#define COMPAT_IOCSREG		_IOWR(DIAG_IOC_MAGIC, 0, compat_uptr_t)
#define COMPAT_IOCSDEL		_IOW(DIAG_IOC_MAGIC, 1, compat_uptr_t)
#define COMPAT_IOCSUNREG	_IOW(DIAG_IOC_MAGIC, 2, compat_uptr_t)

static long user_events_compat_ioctl(struct file *file, unsigned int cmd,
				     unsigned long arg)
{
	unsigned long ptr = (unsigned long)compat_ptr(arg);

	switch (cmd) {
	case COMPAT_IOCSREG:
		return user_events_ioctl(file, DIAG_IOCSREG, ptr);
	case COMPAT_IOCSDEL:
		return user_events_ioctl(file, DIAG_IOCSDEL, ptr);
	case COMPAT_IOCSUNREG:
		return user_events_ioctl(file, DIAG_IOCSUNREG, ptr);
	default:
		return -ENOTTY;
	}
}

#endif /* CONFIG_COMPAT */

/* The pages of @info, at least @nr of them, with a reference. */
static struct user_event_pages *file_get_pages(struct user_event_file *info,
					       unsigned int nr)
{
	struct user_event_pages *pages;
	struct page *page;

	guard(mutex)(&info->lock);

	pages = info->pages;
	if (!pages) {
		pages = kzalloc(sizeof(*pages), GFP_KERNEL_ACCOUNT);
		if (!pages)
			return NULL;
		refcount_set(&pages->refs, 1);
		mutex_init(&pages->lock);
		xa_init(&pages->words);
		info->pages = pages;
	}

	guard(mutex)(&pages->lock);
	while (pages->nr < nr) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return NULL;
		pages->page[pages->nr++] = page;
	}
	refcount_inc(&pages->refs);
	return pages;
}

/*
 * Map pages of enable words, for reading only and for good. The mapping keeps
 * the pages, not this file.
 */
static int user_events_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long nr = vma_pages(vma);
	struct user_event_pages *pages;
	struct file *behind;

	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	if (!(vma->vm_flags & VM_MAYSHARE) || vma->vm_pgoff || nr > USER_EVENT_MAX_PAGES)
		return -EINVAL;

	pages = file_get_pages(file->private_data, nr);
	if (!pages)
		return -ENOMEM;

	behind = anon_inode_getfile("[user_events]", &user_event_pages_fops, pages,
				    O_RDONLY);
	if (IS_ERR(behind)) {
		pages_put(pages);
		return PTR_ERR(behind);
	}

	/* VM_MAYWRITE stays: mprotect() is to answer EPERM. */
	vm_flags_mod(vma, VM_DONTEXPAND, VM_MAYEXEC);
	vma->vm_ops = &user_event_pages_vm_ops;
	vma_set_file(vma, behind);
	fput(behind);
	return 0;
}

static int user_events_open(struct inode *inode, struct file *file)
{
	struct user_event_file *info;

	info = kzalloc(sizeof(*info), GFP_KERNEL_ACCOUNT);
	if (!info)
		return -ENOMEM;

	info->group = inode->i_private;
	mutex_init(&info->lock);
	xa_init(&info->indexes);
	file->private_data = info;

	/*
	 * A write has no position, changes no file that anybody could watch,
	 * and does not sleep if it must not.
	 */
	file->f_mode &= ~FMODE_ATOMIC_POS;
	file->f_mode |= FMODE_NOWAIT | FMODE_NONOTIFY;
	return 0;
}

static int user_events_release(struct inode *inode, struct file *file)
{
	struct user_event_file *info = file->private_data;
	struct user_event_table *table;
	unsigned int i;

	/* The latest first, which is where ftrace begins to look for an event. */
	table = rcu_dereference_protected(info->table, true);
	for (i = table ? table->nr : 0; i--; ) {
		user_event_put(slot_event(table->slot[i]));
		cond_resched();
	}
	kvfree(table);
	xa_destroy(&info->indexes);
	pages_put(info->pages);
	kfree(info);
	return 0;
}

static const struct file_operations user_events_data_fops = {
	.fop_flags	= FOP_BUFFER_WASYNC,
	.open		= user_events_open,
	.write		= user_events_write,
	.write_iter	= user_events_write_iter,
	.unlocked_ioctl	= user_events_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl	= user_events_compat_ioctl,
#endif
	.mmap		= user_events_mmap,
	.release	= user_events_release,
	.llseek		= noop_llseek,
};

/*
 * Files: user_events_status, dynamic_events, sysctl.
 */

/**
 * struct user_event_status - a reader of user_events_status
 * @group: group of the file
 * @active: events listed so far
 * @busy: those of them with a consumer
 */
struct user_event_status {
	struct user_event_group	*group;
	unsigned int		active;
	unsigned int		busy;
};

static void *status_start(struct seq_file *m, loff_t *pos)
{
	struct user_event_status *status = m->private;

	mutex_lock(&event_mutex);
	if (!*pos) {
		/* Show no event that is only waiting to go. */
		put_orphans();
		status->active = 0;
		status->busy = 0;
	}
	/* Nothing follows the totals, whatever was registered since. */
	if (*pos > status->active)
		return NULL;
	/* The list head stands for the totals, which come last. */
	return seq_list_start(&status->group->list, *pos) ?:
	       (*pos == status->active ? &status->group->list : NULL);
}

static void *status_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct user_event_status *status = m->private;
	struct list_head *entry = v;

	++*pos;
	return entry == &status->group->list ? NULL : entry->next;
}

static void status_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&event_mutex);
}

static void show_losses(struct seq_file *m, struct user_event *event)
{
	bool lost = false;
	int consumer, reason;
	long count;

	for (consumer = 0; consumer < NR_CONSUMERS; consumer++) {
		bool first = true;

		for (reason = 0; reason < NR_LOSSES; reason++) {
			count = atomic_long_read(&event->losses->count[consumer][reason]);
			if (!count)
				continue;
			if (!lost)
				seq_puts(m, " lost");
			if (first)
				seq_printf(m, " %s:", consumer_names[consumer]);
			else
				seq_putc(m, ',');
			seq_printf(m, "%s=%ld", loss_names[reason], count);
			lost = true;
			first = false;
		}
	}
}

static bool has_losses(struct user_event *event)
{
	struct user_event_losses *losses = event->losses;
	int i;

	for (i = 0; losses && i < NR_CONSUMERS * NR_LOSSES; i++) {
		if (atomic_long_read(&losses->count[i / NR_LOSSES][i % NR_LOSSES]))
			return true;
	}
	return false;
}

static int status_show(struct seq_file *m, void *v)
{
	struct user_event_status *status = m->private;
	struct user_event *event;

	if (v == &status->group->list) {
		seq_printf(m, "\nActive: %u\nBusy: %u\n", status->active, status->busy);
		return 0;
	}

	event = list_entry(v, struct user_event, link);
	seq_puts(m, event->tracepoint.name);
	if (event->enabled || has_losses(event))
		seq_puts(m, " #");
	if (event->enabled)
		seq_puts(m, " Used by");
	if (rcu_access_pointer(event->files))
		seq_puts(m, " ftrace");
	if (event->perf)
		seq_puts(m, " perf");
	if (event->losses)
		show_losses(m, event);
	seq_putc(m, '\n');

	/* A line that did not fit is shown again. */
	if (!seq_has_overflowed(m)) {
		status->active++;
		status->busy += event->enabled;
	}
	return 0;
}

static const struct seq_operations status_seq_ops = {
	.start	= status_start,
	.next	= status_next,
	.stop	= status_stop,
	.show	= status_show,
};

static int status_open(struct inode *inode, struct file *file)
{
	struct user_event_status *status;

	status = __seq_open_private(file, &status_seq_ops, sizeof(*status));
	if (!status)
		return -ENOMEM;
	status->group = inode->i_private;
	return 0;
}

static const struct file_operations user_events_status_fops = {
	.open		= status_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

static struct user_event_group user_event_init_group;

static int dyn_create(const char *raw_command)
{
	struct user_event *event;

	if (!str_has_prefix(raw_command, USER_EVENTS_PREFIX))
		return -ECANCELED;
	if (!perfmon_capable())
		return -EPERM;
	raw_command += strlen(USER_EVENTS_PREFIX);
	if (strlen(raw_command) >= USER_EVENT_MAX_COMMAND)
		return -EINVAL;

	event = user_event_get(&user_event_init_group, raw_command,
			       USER_EVENT_REG_PERSIST);
	if (IS_ERR(event))
		return PTR_ERR(event);
	user_event_put(event);
	return 0;
}

static struct user_event *event_of_dyn(struct dyn_event *dyn_event)
{
	return container_of(dyn_event, struct user_event, dyn_event);
}

static void show_fields(struct seq_file *m, const struct user_event_format *format)
{
	int i;

	for (i = 0; i < format->nr_fields; i++) {
		const struct user_event_field *field = &format->fields[i];

		seq_printf(m, "%s %s %s", i ? ";" : "", field->type, field->name);
		if (field->has_size)
			seq_printf(m, " %u", field->size);
	}
}

static int dyn_show(struct seq_file *m, struct dyn_event *dyn_event)
{
	const struct user_event_format *format = event_of_dyn(dyn_event)->format;

	seq_printf(m, "%s%s", USER_EVENTS_PREFIX, format->name);
	show_fields(m, format);
	seq_putc(m, '\n');
	return 0;
}

static bool dyn_is_busy(struct dyn_event *dyn_event)
{
	return user_event_busy(event_of_dyn(dyn_event));
}

static int dyn_free(struct dyn_event *dyn_event)
{
	struct user_event *event = event_of_dyn(dyn_event);
	int ret;

	ret = user_event_may_delete(event);
	return ret ?: user_event_delete_locked(event);
}

/* Do the words of a delete command say what the fields of the event do? */
static bool args_match(const struct user_event_format *format, int argc, const char **argv)
{
	char command[USER_EVENT_MAX_COMMAND];
	struct user_event_format *other;
	size_t len;
	bool match;
	int i;

	len = append(command, sizeof(command), 0, "%s", format->name);
	for (i = 0; i < argc; i++)
		len = append(command, sizeof(command), len, " %s", argv[i]);
	/* What is left of words that were cut may say something else. */
	if (len >= sizeof(command))
		return false;

	other = format_parse(command);
	if (IS_ERR(other))
		return false;
	match = formats_match(format, other);
	format_free(other);
	return match;
}

static bool dyn_match(const char *system, const char *name, int argc,
		      const char **argv, struct dyn_event *dyn_event)
{
	struct user_event *event = event_of_dyn(dyn_event);

	if (system && strcmp(system, event->call.class->system))
		return false;
	if (strcmp(name, event->format->name) && strcmp(name, event->tracepoint.name))
		return false;
	return !argc || args_match(event->format, argc, argv);
}

static struct dyn_event_operations user_event_dyn_ops = {
	.create		= dyn_create,
	.show		= dyn_show,
	.is_busy	= dyn_is_busy,
	.free		= dyn_free,
	.match		= dyn_match,
};

static struct ctl_table user_event_sysctls[] = {
	{
		.procname	= "user_events_max",
		.data		= &user_events_max,
		.maxlen		= sizeof(user_events_max),
		.mode		= 0644,
		.proc_handler	= proc_douintvec,
	},
};

static int __init user_events_init_caches(void)
{
	event_cache = KMEM_CACHE(user_event, SLAB_ACCOUNT);
	enabler_cache = KMEM_CACHE(user_event_enabler, SLAB_ACCOUNT);
	owner_cache = KMEM_CACHE(user_event_mm, SLAB_ACCOUNT);
	/* More than one at a time would only wait for event_mutex. */
	user_event_wq = alloc_workqueue("user_events", WQ_UNBOUND, 1);
	user_event_fault_wq = alloc_workqueue("user_events_fault", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return event_cache && enabler_cache && owner_cache && user_event_wq &&
	       user_event_fault_wq ? 0 : -ENOMEM;
}

static int __init user_events_init(void)
{
	struct user_event_group *group = &user_event_init_group;
	int ret;

	ret = user_events_init_caches();
	if (ret)
		return ret;

	ret = group_init(group, &user_event_dyn_ops);
	if (ret)
		return ret;

	ret = tracing_init_dentry();
	if (ret)
		return ret;

	trace_create_file("user_events_data", TRACE_MODE_WRITE, NULL, group,
			  &user_events_data_fops);
	trace_create_file("user_events_status", TRACE_MODE_READ, NULL, group,
			  &user_events_status_fops);
	register_sysctl_init("kernel", user_event_sysctls);
	return dyn_event_register(&user_event_dyn_ops);
}
fs_initcall(user_events_init);

#ifdef CONFIG_USER_EVENTS_KUNIT_TEST
#include "trace_events_user_test.c"
#endif
