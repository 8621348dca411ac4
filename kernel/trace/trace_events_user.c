// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events that programs define and write.
 *
 * A program registers an event through the tracefs file user_events_data. It also
 * names a bit in its own memory, which the kernel keeps set while a tracer is
 * attached. What it writes to the file then reaches ftrace, perf and BPF like any
 * other event. See Documentation/trace/user_events.rst for the interface.
 *
 *   formats    what a command string says: name, fields, print fmt
 *   events     groups, registry, lifetime, numbers of events that are gone
 *   enablers   enable bits, in user memory or in pages of the kernel; consumers
 *   records    stage, check, deliver to every consumer, batches, losses
 *   files      user_events_data, user_events_status, dynamic_events, sysctl
 *   groups     mkdir and rmdir in user_events_groups
 *
 * Locks, outermost first. Code that may fault on user memory holds none of them.
 *
 *   groups_mutex   mkdir and rmdir of groups: they wait for directories, which
 *                  must not be done under event_mutex
 *   event_mutex    the registry, attaching and detaching consumers (ftrace and
 *                  perf hold it then), enablers
 *
 * Apart from these, user_event_handle.lock serializes updates of a file's index
 * table and of its pages; it nests inside mmap_lock, for ->mmap(). The enablers
 * have locks of their own, see there.
 */

#include <linux/anon_inodes.h>
#include <linux/bpf.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/init.h>
#include <linux/ioctl.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/perf_event.h>
#include <linux/random.h>
#include <linux/rbtree.h>
#include <linux/rhashtable.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/seq_buf.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/tracefs.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/unaligned.h>
#include <linux/user_events.h>
#include <linux/user_namespace.h>
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "trace.h"
#include "trace_dynevent.h"
#include "trace_output.h"

/* Bytes of a command string, its NUL included. */
#define USER_EVENT_MAX_COMMAND		512

/*
 * The same for dynamic_events, which takes the lines that it lists: with a space
 * behind each ';', where the command may have had none.
 */
#define USER_EVENT_MAX_LISTED		(2 * USER_EVENT_MAX_COMMAND)

/* Most bytes of the common and declared fields: as far as a location reaches. */
#define USER_EVENT_MAX_FIELDS_SIZE	SZ_64K

/* Upper bound of any record: the largest ftrace sub-buffer on any page size. */
#define USER_EVENT_MAX_RECORD		SZ_1M

/* Records of up to this many bytes are staged on the stack: 1 KiB and change. */
#define USER_EVENT_STACK_RECORD		(BITS_PER_LONG == 64 ? 1072 : 512)

/* Pages of enable words that one open file may map. */
#define USER_EVENT_MAX_PAGES		16

/* What separates words. isspace() has 0xa0 too, which is part of letters in UTF-8. */
#define USER_EVENT_SPACES		" \t\n\v\f\r"

/* Most events that are gone and keep their number, as records may have it. */
#define USER_EVENT_MAX_RETIRED		SZ_16K

/* Most characters in the name of a group: a system has 63 at most. */
#define USER_EVENT_GROUP_NAME		45

/* Most events of a new group. */
#define USER_EVENT_GROUP_EVENTS		1024

/* Lists that the multi-format events of all groups are spread over: 2^10. */
#define USER_EVENT_MULTI_BITS		10

/* Most page faults taken for one update of a word. */
#define USER_EVENT_FAULT_ATTEMPTS	10

/* Late words that are tried per critical section of event_mutex. */
#define USER_EVENT_SETTLE_BATCH		64

/* Work items of one user in each lane that fault pages in at a time. */
#define USER_EVENT_MAX_FAULTS		4

/*
 * Formats: what a command string says.
 *
 *   command    "name type field; type field", from a program or dynamic_events
 *   format     a parsed command, read-only from then on: name and fields
 *   location   a field of 4 bytes that says where in the record its bytes are
 *   print fmt  how tools are to print a record, shown in the file "format"
 *
 * A format is one allocation. Its strings are words of the command at its end:
 *
 *   struct user_event_format | fields[] | "name\0type\0field\0type\0field\0"
 *
 * Whoever parses a command owns the format, until an event is made of it.
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
 * @is_string: an array of char, or a location of char, whose bytes must end in
 *	NUL; never a plain char
 */
struct user_event_field {
	const char		*type;
	const char		*name;
	u16			offset;
	u16			size;
	u8			place;
	bool			has_size;
	bool			is_string;
};

/**
 * struct user_event_format - name and fields of an event
 * @name: name of the event; the strings of the fields follow it in the same text
 * @payload_size: bytes of all fields, least payload of a write
 * @nr_fields: elements of @fields
 * @nr_locations: how many of them are not PLACE_INLINE
 * @fields: in the order declared
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
	/* "010" is 8 */
	if (kstrtou32(digits, 0, &size))
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
	char *word;

	do {
		word = strsep(text, USER_EVENT_SPACES);
	} while (word && !*word);
	return word;
}

/* Are all characters graphic, UTF-8 among them, and none of @except? */
static bool is_graphic(const char *text, const char *except)
{
	const char *c;

	for (c = text; *c; c++) {
		if (isascii(*c) && (!isgraph(*c) || strchr(except, *c)))
			return false;
	}
	return true;
}

/* Names become directories. A ':' would start text flags, and none exist. */
static bool is_event_name(const char *name)
{
	return *name && strlen(name) <= NAME_MAX && is_graphic(name, "/:") &&
	       strcmp(name, ".") && strcmp(name, "..");
}

/*
 * ftrace looks for these words anywhere in a type. Accept them only as the first
 * word, or it would follow a location that location_ok() has never checked.
 */
static bool misleads_ftrace(const struct user_event_field *field, const char *word)
{
	return strstr(word, "__data_loc") || strstr(word, "__rel_loc") ||
	       (field->place != PLACE_INLINE && strstr(word, "cpumask_t"));
}

/*
 * Move @word to the end of @type, one space in front. There is room: the words of
 * a type come from the same text, with at least one space between them.
 */
static void append_word(char *type, const char *word)
{
	size_t len = strlen(type);

	type[len] = ' ';
	memmove(type + len + 1, word, strlen(word) + 1);
}

/* Find size and kind of a field by its type; @size is what follows the name. */
static int parse_size(struct user_event_field *field, const char *size)
{
	const struct basic_type *basic;

	if (field->has_size)
		return kstrtou16(size, 10, &field->size) || !field->size ? -EINVAL : 0;

	if (field->place != PLACE_INLINE) {
		field->size = sizeof(u32);
		/* The test of filter_assign_type(): ftrace takes it for a string. */
		field->is_string = strstr(field->type, "char");
		return 0;
	}

	basic = find_basic_type(field->type);
	field->size = basic ? basic->size : char_array_size(field->type);
	field->is_string = !basic;
	return field->size ? 0 : -EINVAL;
}

/*
 * Parse "TYPE name" or "struct TAG name size". A type has one word, one more
 * behind "unsigned", and another behind "__data_loc" and "__rel_loc".
 */
static int parse_field(struct user_event_field *field, char *text)
{
	unsigned int nr = 0, in_type = 1, i;
	char *word[5];

	while (nr < ARRAY_SIZE(word) && (word[nr] = next_word(&text)))
		nr++;

	field->has_size = !strcmp(word[0], "struct");
	if (!strcmp(word[0], "__data_loc"))
		field->place = PLACE_DATA_LOC;
	else if (!strcmp(word[0], "__rel_loc"))
		field->place = PLACE_REL_LOC;

	if (field->has_size || field->place != PLACE_INLINE)
		in_type++;
	if (!field->has_size && in_type <= nr && !strcmp(word[in_type - 1], "unsigned"))
		in_type++;
	if (nr != in_type + 1 + field->has_size)
		return -EINVAL;

	/* What would end a string or a statement where tools parse the format. */
	for (i = 0; i < nr; i++) {
		if (!is_graphic(word[i], ";\"\\%"))
			return -EINVAL;
	}
	if (in_type > 1 && misleads_ftrace(field, word[in_type - 1]))
		return -EINVAL;

	for (i = 1; i < in_type; i++)
		append_word(word[0], word[i]);
	field->type = word[0];
	field->name = word[in_type];
	return parse_size(field, word[nr - 1]);
}

static int parse_fields(struct user_event_format *format, char *text)
{
	u32 offset = sizeof(struct trace_entry);
	struct user_event_field *field;
	char *part;
	int ret;

	while ((part = strsep(&text, ";"))) {
		if (is_blank(part))
			continue;

		field = &format->fields[format->nr_fields++];
		ret = parse_field(field, part);
		if (ret)
			return ret;

		if (field->size > USER_EVENT_MAX_FIELDS_SIZE - offset)
			return -EINVAL;
		field->offset = offset;
		offset += field->size;
		format->nr_locations += field->place != PLACE_INLINE;
	}

	format->payload_size = offset - sizeof(struct trace_entry);
	return 0;
}

/* Fields of @command, or one more. Counting ';' would let ";;;;" cost memory. */
static size_t count_fields(const char *command)
{
	size_t nr = 0;

	while (*(command += strspn(command, USER_EVENT_SPACES ";"))) {
		nr++;
		command += strcspn(command, ";");
	}
	return nr;
}

/**
 * format_parse - read a command string
 * @command: "name[:flags] [field][; field]...", without the "u:" prefix
 *
 * Context: process context, may sleep.
 * Return: a format, which kfree() frees, or an ERR_PTR(): -EINVAL where the
 * command is malformed, -ENOMEM.
 */
static struct user_event_format *format_parse(const char *command)
{
	struct user_event_format *format __free(kfree) = NULL;
	size_t head = struct_size(format, fields, count_fields(command));
	size_t size = strlen(command) + 1;
	char *name, *rest, end;
	int ret;

	format = kzalloc(head + size, GFP_KERNEL_ACCOUNT);
	if (!format)
		return ERR_PTR(-ENOMEM);

	name = (char *)format + head;
	format->name = memcpy(name, command, size);
	rest = name + strcspn(name, USER_EVENT_SPACES ";");
	end = *rest;
	if (end)
		*rest++ = '\0';

	/* The ';' of "name;" ends an empty list of fields. */
	if (!is_event_name(name) || (end == ';' && !is_blank(rest)))
		return ERR_PTR(-EINVAL);

	ret = parse_fields(format, rest);
	if (ret)
		return ERR_PTR(ret);

	return_ptr(format);
}

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
	const struct basic_type *basic = find_basic_type(field->type);

	if (field->is_string)
		return "%s";
	return basic ? basic->print : "%llu";
}

static const char *field_accessor(const struct user_event_field *field)
{
	if (field->place == PLACE_INLINE || !field->is_string)
		return ", REC->%s";
	return field->place == PLACE_DATA_LOC ? ", __get_str(%s)" : ", __get_rel_str(%s)";
}

/* Return: a string, which kfree() frees, or NULL. */
static char *format_print_fmt(const struct user_event_format *format)
{
	const struct user_event_field *end = format->fields + format->nr_fields;
	const struct user_event_field *field;
	size_t size = sizeof("\"\"");
	struct seq_buf out;
	char *buf;

	for (field = format->fields; field < end; field++)
		size += 2 * strlen(field->name) + strlen(" =%lld, __get_rel_str()");
	buf = kmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return NULL;

	seq_buf_init(&out, buf, size);
	seq_buf_puts(&out, "\"");
	for (field = format->fields; field < end; field++) {
		seq_buf_printf(&out, "%s%s=%s", field == format->fields ? "" : " ",
			       field->name, field_print(field));
	}
	seq_buf_puts(&out, "\"");
	for (field = format->fields; field < end; field++)
		seq_buf_printf(&out, field_accessor(field), field->name);
	return buf;
}

/*
 * Events: group, registry, lifetime.
 *
 *   group      a name space of events; the first one is the system's
 *   single     an event that has its name to itself
 *   multi      one of several events of a name, which differ in their fields
 *   registry   all events, by group, name and, if multi, fields
 *   orphan     an event whose last reference could not be dropped yet
 *   retired    an event that is gone, but not its records: ftrace has it, see
 *              trace_retire_event_call()
 *
 * event_mutex protects all of it. Only lookups do without: they find an event in
 * the registry under RCU, and take a reference unless that was the last one.
 *
 * Whoever drops the last reference in a system call destroys the event in that
 * call. Callbacks of ftrace and perf must not, as it is their own event: they
 * make it an orphan. So is an event that ftrace still points to, from an eprobe
 * for example, until ftrace calls class->released. A work item drops the reference
 * of an orphan, unless whoever registers, deletes or drops an event comes first.
 */

/* The files of a group, by which it is opened. */
enum user_event_group_file {
	GROUP_DATA,
	GROUP_STATUS,
	GROUP_MAX_EVENTS,
	NR_GROUP_FILES,
};

/**
 * struct user_event_group - everything an open file can see
 * @refs: one each for the directory, an open file and a mapping. Drops to 0 only
 *	in rmdir, with event_mutex, when no event of the group is in use
 * @max_events: most elements of @list
 * @nr_events: elements of @list
 * @seed: random, so that no program can choose names that all hash to one list
 * @next_id: suffix of the next multi-format event, never used twice
 * @list: all events in the order created
 * @single_class: what ftrace needs to know of single-format events
 * @multi_class: the same of multi-format events
 * @dyn_ops: what dynamic_events calls for events of the group
 * @node: in user_event_groups
 * @single_system: name of @single_class
 * @multi_system: name of @multi_class
 * @dir: directory, removed with the group
 * @root: directory in @dir which is given away
 * @file: the files; their inodes point to the group from the end of mkdir until rmdir
 * @rcu: freed after those that open a file, or search the registry
 *
 * @nr_events, @next_id and @list are changed under event_mutex. The first group
 * has neither mkdir nor rmdir, nor what follows @multi_system.
 */
struct user_event_group {
	refcount_t			refs;
	unsigned int			max_events;
	unsigned int			nr_events;
	u32				seed;
	u64				next_id;
	struct list_head		list;
	struct trace_event_class	single_class;
	struct trace_event_class	multi_class;
	struct dyn_event_operations	*dyn_ops;
	struct hlist_node		node;
	char				single_system[USER_EVENT_GROUP_NAME +
						      sizeof(USER_EVENTS_SYSTEM "_")];
	char				multi_system[USER_EVENT_GROUP_NAME +
						     sizeof(USER_EVENTS_MULTI_SYSTEM "_")];

	struct dentry			*dir;
	struct dentry			*root;
	struct dentry			*file[NR_GROUP_FILES];
	struct rcu_head			rcu;
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
	LOSS_BUSY,
	LOSS_NO_MEMORY,
	NR_LOSSES,
};

static const char * const consumer_names[NR_CONSUMERS] = { "ftrace", "perf" };

static const char * const loss_names[NR_LOSSES] = {
	"too_big", "full", "recursion", "no_memory",
};

/**
 * struct user_event_instance - an ftrace instance that records an event
 * @node: in event->recorders
 * @file: the event in that instance
 * @rcu: freed after readers
 */
struct user_event_instance {
	struct hlist_node		node;
	struct trace_event_file		*file;
	struct rcu_head			rcu;
};

/**
 * struct user_event - an event
 * @format: name and fields, owned
 * @group: group it belongs to
 * @multi: a multi-format event, which its name and fields identify; a
 *	single-format event is identified by its name alone
 * @recorders: instances of ftrace that record it; changed under event_mutex, read
 *	under RCU
 * @perf: perf events exist for it; call.perf_events is valid while set
 * @enabled: any consumer is attached, what the enable bits say
 * @call: what ftrace, perf and BPF know of the event; owns its print_fmt
 * @fields: fields as ftrace wants them
 * @losses: records lost, by who lost them and why; owned, there since the first
 *	consumer
 * @refs: one each for the registry, an index of a file, an enabler, an
 *	instance that records, perf. Drops to 0 only under event_mutex, and
 *	the event is out of the registry when that is released.
 * @persistent: the registry holds a reference, event_mutex
 * @tracepoint: carries the name for @call, owned if @multi; nothing is ever
 *	hooked to it
 * @enablers: words that show @enabled, event_mutex
 * @node: in user_event_registry
 * @link: in group->list
 * @multi_link: in user_event_multi, unhashed for a single-format event
 * @orphan_link: in user_event_orphans while that holds a reference
 * @retired: which records ftrace may have of it once it is destroyed
 * @dyn_event: in the list of dynamic_events
 * @rcu: freed after readers of the registry
 *
 * Writes read what comes before @refs, which is written only when a consumer
 * attaches or detaches.
 */
struct user_event {
	const struct user_event_format	*format;
	struct user_event_group		*group;
	bool				multi;
	bool				perf;
	bool				enabled;
	struct hlist_head		recorders;
	struct trace_event_call		call;
	struct list_head		fields;
	atomic_long_t			(*losses)[NR_LOSSES];

	refcount_t			refs ____cacheline_aligned_in_smp;
	bool				persistent;
	struct tracepoint		tracepoint;
	struct list_head		enablers;
	struct rhash_head		node;
	struct list_head		link;
	struct hlist_node		multi_link;
	union {
		struct list_head	orphan_link;
		struct retired_event	retired;
	};
	struct dyn_event		dyn_event;
	struct rcu_head			rcu;
};

/* Multi-format events of a name are in the same list of user_event_multi. */
static u32 hash_name(const struct user_event_group *group, const char *name)
{
	return jhash(name, strlen(name), group->seed);
}

/* What the registry is searched for. */
struct user_event_lookup {
	const struct user_event_format	*format;
	struct user_event_group		*group;
	bool				multi;
};

static u32 hash_lookup(const void *data, u32 len, u32 seed)
{
	const struct user_event_lookup *lookup = data;
	const struct user_event_format *format = lookup->format;

	seed = jhash(format->name, strlen(format->name), seed ^ lookup->group->seed);
	return lookup->multi ? format_hash(format, ~seed) : seed;
}

static u32 hash_registered(const void *data, u32 len, u32 seed)
{
	const struct user_event *event = data;
	struct user_event_lookup lookup = { event->format, event->group, event->multi };

	return hash_lookup(&lookup, sizeof(lookup), seed);
}

static int compare_registered(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct user_event_lookup *lookup = arg->key;
	const struct user_event *event = obj;

	if (event->group != lookup->group || event->multi != lookup->multi ||
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

/* The events of all groups; changed under event_mutex, searched under RCU as well. */
static struct rhashtable user_event_registry;

/*
 * Its multi-format events by group and name, event_mutex: many may share a name,
 * and whoever deletes an event by name looks for all of them.
 */
static DEFINE_HASHTABLE(user_event_multi, USER_EVENT_MULTI_BITS);

/* Most events of all groups, and how many there are, event_mutex. */
static unsigned int user_events_max = 32768;
static unsigned int nr_user_events;

static struct kmem_cache *event_cache;

/* Orphans, event_mutex. */
static LIST_HEAD(user_event_orphans);

/* The reference of some orphan may be dropped by now. */
static bool orphans_due;

/*
 * The group of a file that is being opened, with a reference, or NULL: mkdir has
 * not finished yet, or rmdir has been there.
 */
static struct user_event_group *group_get(const struct inode *inode)
{
	struct user_event_group *group;

	guard(rcu)();
	/* Pairs with group_show(). */
	group = READ_ONCE(inode->i_private);
	return group && refcount_inc_not_zero(&group->refs) ? group : NULL;
}

/* Never the last one, which is the directory's. */
static void group_put(struct user_event_group *group)
{
	refcount_dec(&group->refs);
}

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
	struct user_event *event = event_of_call(call);
	const struct user_event_format *format = event->format;
	const struct user_event_field *field;
	struct ftrace_event_field *shown;
	int ret;

	for (field = format->fields; field < format->fields + format->nr_fields; field++) {
		ret = trace_define_field(call, field->type, field->name,
					 field->offset, field->size,
					 field->type[0] != 'u', FILTER_OTHER);
		if (ret)
			return ret;

		/* It is the first of the list. Without its length an array shows as []. */
		shown = list_first_entry(&event->fields, struct ftrace_event_field, link);
		if (field->is_string && field->place == PLACE_INLINE)
			shown->len = field->size;
	}
	return 0;
}

static struct trace_event_fields user_event_fields_array[] = {
	{ .type = TRACE_FUNCTION_TYPE, .define_fields = user_event_define_fields },
	{}
};

/* By the list of fields: never use a string from user space as a format. */
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
	if (event->multi)
		kfree(event->tracepoint.name);
	kfree(event->call.print_fmt);
	kfree(event->format);
	kfree(event->losses);
	kmem_cache_free(event_cache, event);
}

static void user_event_free_rcu(struct rcu_head *rcu)
{
	user_event_free(container_of(rcu, struct user_event, rcu));
}

/*
 * Free what showed records of a retired event. The format may still be compared with
 * by who found the event in the registry.
 */
static void user_event_hidden(struct trace_event_call *call)
{
	struct user_event *event = event_of_call(call);

	if (event->multi)
		kfree(event->tracepoint.name);
	kfree(call->print_fmt);
	kfree_rcu_mightsleep(event->format);
}

static void user_event_forgotten(struct trace_event_call *call)
{
	struct user_event *event = event_of_call(call);

	kfree_rcu(event, rcu);
}

/* Of retired events, whose group need not be there any more. */
static struct trace_event_class retired_class = {
	.system		= USER_EVENTS_SYSTEM,
	.get_fields	= user_event_get_fields,
	.hidden		= user_event_hidden,
	.forgotten	= user_event_forgotten,
};

/*
 * Is @limit reached? The last 1/32, but one at least, is for who may see to it that
 * there is room again.
 */
static bool is_full(unsigned int nr, unsigned int limit)
{
	if (nr >= limit)
		return true;
	/* A refused capability may be logged: ask for it only where it matters. */
	return nr >= limit - max(limit / 32, 1U) && !perfmon_capable();
}

/* A type number, as far as those of retired events may be taken. */
static bool take_number(struct user_event *event)
{
	if (is_full(nr_retired_events, USER_EVENT_MAX_RETIRED) && !forget_retired_events())
		return false;
	return register_trace_event(&event->call.event) ||
	       (forget_retired_events() && register_trace_event(&event->call.event));
}

/*
 * Unregister and free @event, whose last reference was dropped. If ftrace has not
 * let go of it, that reference is back and all is as before; without a registry
 * that holds the event it is an orphan.
 */
static int user_event_destroy(struct user_event *event)
{
	int ret;

	lockdep_assert_held(&event_mutex);

	ret = trace_event_dyn_busy(&event->call) ? -EBUSY :
	      trace_retire_event_call(&event->call, &event->retired);
	if (ret < 0) {
		refcount_set(&event->refs, 1);
		if (!event->persistent)
			list_add_tail(&event->orphan_link, &user_event_orphans);
		return ret;
	}

	dyn_event_remove(&event->dyn_event);
	rhashtable_remove_fast(&user_event_registry, &event->node, registry_params);
	list_del(&event->link);
	hash_del(&event->multi_link);
	event->group->nr_events--;
	nr_user_events--;
	if (ret) {
		kfree(event->losses);
		event->call.class = &retired_class;
	} else {
		call_rcu(&event->rcu, user_event_free_rcu);
	}
	return 0;
}

/* Drop what may be the last reference, event_mutex is held. */
static void user_event_put_locked(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (refcount_dec_and_test(&event->refs))
		user_event_destroy(event);
}

/* Drop the references that had to wait, as far as that is possible now. */
static void put_orphans(void)
{
	struct user_event *event, *next;
	LIST_HEAD(orphans);

	lockdep_assert_held(&event_mutex);

	/* What ftrace lets go of from here on makes them due once more. */
	smp_store_mb(orphans_due, false);
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

/*
 * An orphan may go. ftrace calls this as well when it has dropped its last
 * reference to some event, with locks that differ.
 */
static void put_orphans_later(void)
{
	WRITE_ONCE(orphans_due, true);
	schedule_work(&orphan_work);
}

/* Drop a reference from a callback of ftrace or perf on this very event. */
static void user_event_put_later(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (refcount_dec_not_one(&event->refs))
		return;

	list_add_tail(&event->orphan_link, &user_event_orphans);
	put_orphans_later();
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

	if (dropped && !READ_ONCE(orphans_due))
		return;

	guard(mutex)(&event_mutex);
	if (!dropped)
		user_event_put_locked(event);
	put_orphans();
}

/* Show @event to ftrace and enter it in the registry. */
static int user_event_publish(struct user_event *event)
{
	struct user_event_group *group = event->group;
	int ret;

	if (!take_number(event))
		return -EMFILE;

	ret = trace_add_event_call(&event->call);
	if (ret) {
		unregister_trace_event(&event->call.event);
		return ret;
	}

	if (rhashtable_insert_fast(&user_event_registry, &event->node, registry_params)) {
		trace_remove_event_call(&event->call);
		return -ENOMEM;
	}

	dyn_event_add(&event->dyn_event, &event->call);
	list_add_tail(&event->link, &group->list);
	if (event->multi) {
		hash_add(user_event_multi, &event->multi_link,
			 hash_name(group, event->format->name));
		group->next_id++;
	}
	group->nr_events++;
	nr_user_events++;
	return 0;
}

/* An event that nobody knows of yet. */
static struct user_event *user_event_alloc(const struct user_event_lookup *lookup)
{
	const struct user_event_format *format = lookup->format;
	struct user_event_group *group = lookup->group;
	struct user_event *event;

	event = kmem_cache_zalloc(event_cache, GFP_KERNEL_ACCOUNT);
	if (!event)
		return NULL;

	event->format = format;
	event->group = group;
	event->multi = lookup->multi;
	refcount_set(&event->refs, 1);
	INIT_LIST_HEAD(&event->fields);
	INIT_LIST_HEAD(&event->enablers);
	INIT_LIST_HEAD(&event->link);
	INIT_HLIST_NODE(&event->multi_link);
	INIT_LIST_HEAD(&event->orphan_link);
	dyn_event_init(&event->dyn_event, group->dyn_ops);

	event->tracepoint.name = !event->multi ? format->name :
		kasprintf(GFP_KERNEL_ACCOUNT, "%s.%llx", format->name, group->next_id);
	event->call.print_fmt = format_print_fmt(format);
	event->call.class = event->multi ? &group->multi_class : &group->single_class;
	event->call.tp = &event->tracepoint;
	event->call.flags = TRACE_EVENT_FL_TRACEPOINT | TRACE_EVENT_FL_DYNAMIC;
	event->call.event.funcs = &user_event_functions;

	if (event->tracepoint.name && event->call.print_fmt)
		return event;
	event->format = NULL;
	user_event_free(event);
	return NULL;
}

/*
 * Make an event, which owns the format from then on. If that fails the format
 * stays the caller's.
 */
static struct user_event *user_event_create(const struct user_event_lookup *lookup)
{
	struct user_event *event;
	int ret;

	lockdep_assert_held(&event_mutex);

	if (lookup->group->nr_events >= READ_ONCE(lookup->group->max_events) ||
	    is_full(nr_user_events, READ_ONCE(user_events_max)))
		return ERR_PTR(-EMFILE);

	event = user_event_alloc(lookup);
	if (!event)
		return ERR_PTR(-ENOMEM);

	ret = user_event_publish(event);
	if (ret) {
		event->format = NULL;
		user_event_free(event);
		return ERR_PTR(ret);
	}
	return event;
}

/*
 * Look an event up. Return: event with a reference, -EADDRINUSE if the name has
 * other fields, or NULL: there is none, or it is on its way out.
 */
static struct user_event *user_event_find(const struct user_event_lookup *lookup)
{
	struct user_event *event;

	guard(rcu)();
	event = rhashtable_lookup(&user_event_registry, lookup, registry_params);
	if (event && !formats_match(event->format, lookup->format))
		return ERR_PTR(-EADDRINUSE);
	return event && refcount_inc_not_zero(&event->refs) ? event : NULL;
}

/* Let the registry hold an event that the caller has a reference to. */
static void user_event_persist(struct user_event *event)
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

/*
 * Can the event have a directory? That of a single-format event stands beside
 * the files of its system. A multi-format one is NAME.ID, with up to 16 digits.
 */
static bool is_directory_name(const char *name, bool multi)
{
	if (multi)
		return strlen(name) + strlen(".") + 2 * sizeof(u64) <= NAME_MAX;
	return strcmp(name, "enable") && strcmp(name, "filter");
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
 * group or the system is full, -ENOMEM.
 */
static struct user_event *user_event_get(struct user_event_group *group,
					 const char *command, u16 flags)
{
	struct user_event_format *format __free(kfree) = format_parse(command);
	struct user_event_lookup lookup = {
		.format	= format,
		.group	= group,
		.multi	= flags & USER_EVENT_REG_MULTI_FORMAT,
	};
	struct user_event *event;

	if (IS_ERR(format))
		return ERR_CAST(format);
	if (!is_directory_name(format->name, lookup.multi))
		return ERR_PTR(-EINVAL);

	event = flags & USER_EVENT_REG_PERSIST ? NULL : user_event_find(&lookup);
	if (!IS_ERR_OR_NULL(event))
		return event;

	guard(mutex)(&event_mutex);

	/* Events whose last tracer has just detached: their names may be wanted here. */
	put_orphans();

	event = user_event_find(&lookup);
	if (!event) {
		event = user_event_create(&lookup);
		if (!IS_ERR(event))
			format = NULL;
	}
	if (!IS_ERR(event) && flags & USER_EVENT_REG_PERSIST)
		user_event_persist(event);
	return event;
}

/* Does anybody use @event, or does only the registry or user_event_orphans hold it? */
static bool user_event_busy(struct user_event *event)
{
	/* Never both of them. */
	bool idle_ref = event->persistent || !list_empty(&event->orphan_link);

	return refcount_read(&event->refs) > idle_ref ||
	       trace_event_dyn_busy(&event->call);
}

/*
 * May @event be deleted by name? One that is not persistent is in use, or else an
 * orphan, which anybody may delete.
 */
static int user_event_may_delete(struct user_event *event)
{
	if (user_event_busy(event))
		return -EBUSY;
	return !event->persistent || perfmon_capable() ? 0 : -EPERM;
}

/*
 * Delete what user_event_may_delete() allows. Must free no other event:
 * dyn_events_release_all() holds a pointer to the next one.
 */
static int user_event_delete_locked(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	/* A lookup may have taken a reference in the meantime. */
	if (!refcount_dec_if_one(&event->refs))
		return -EBUSY;

	list_del_init(&event->orphan_link);
	return user_event_destroy(event) ? -EBUSY : 0;
}

/**
 * user_event_delete - delete an event by name, with every format of it
 * @group: group to look in
 * @name: name of the event
 *
 * Context: process context, takes event_mutex.
 * Return: 0; -ENOENT, -EBUSY if anything refers to one of them, -EPERM
 * without CAP_PERFMON. On error nothing was deleted, unless one of the formats
 * was registered concurrently.
 */
static int user_event_delete(struct user_event_group *group, const char *name)
{
	struct user_event_format format = { .name = name };
	struct user_event_lookup lookup = { .format = &format, .group = group };
	u32 hash = hash_name(group, name);
	struct user_event *event, *single;
	struct hlist_node *next;
	int ret = -ENOENT;

	guard(mutex)(&event_mutex);
	put_orphans();

	single = rhashtable_lookup_fast(&user_event_registry, &lookup, registry_params);
	if (single) {
		ret = user_event_may_delete(single);
		if (ret)
			return ret;
	}
	hash_for_each_possible(user_event_multi, event, multi_link, hash) {
		if (event->group != group || strcmp(event->format->name, name))
			continue;
		ret = user_event_may_delete(event);
		if (ret)
			return ret;
	}

	if (single)
		ret = user_event_delete_locked(single);
	hash_for_each_possible_safe(user_event_multi, event, next, multi_link, hash) {
		if (!ret && event->group == group && !strcmp(event->format->name, name))
			ret = user_event_delete_locked(event);
	}
	return ret;
}

/*
 * Enablers: enable bits, in user memory or in pages of the kernel.
 *
 *   word       4 or 8 bytes that a program looks at before it writes an event, in
 *              its own memory or in a page that it mapped from user_events_data
 *   enabler    one bit of a word, and the event that it says is enabled
 *   set        the enablers of one program, and of children that changed none
 *   owner      an address space (struct user_event_mm), which has a set
 *   late       an enabler whose word some owner still has to update
 *   settled    how far an owner has caught up with what is late
 *
 * fork gives the child an owner of the same set, so it costs the same however
 * many enablers there are. Whoever then changes the set of several owners copies
 * it first. What makes a child's memory and its set one snapshot is this rule:
 *
 *   A word is written, and the enablers of an owner change, only while the
 *   mmap_lock of that owner is held for reading.
 *
 * fork copies the memory and enters the child with that lock held for writing:
 *
 *   CPU 0: dup_mmap()                   CPU 1: a toggle, REG or UNREG
 *
 *                                       (a) mmap_lock taken, word written,
 *                                           enabler inserted or removed
 *   mmap_write_lock(parent)
 *   copy pages                          (b) trylock fails: a toggle makes the
 *                                           enabler late, the others wait
 *   child joins the set, takes over
 *     what the parent has settled
 *   mmap_write_unlock(parent)
 *                                       (c) as (a), and a toggle finds the child
 *
 * (a) is in what the child copies, (c) is after it. The toggle of (b) is late for
 * the parent, and so it is for the child, which has settled no more than that.
 *
 * The life of a word, for each owner:
 *
 *            REG                      the toggle cannot write it
 *   (none) -------> up to date ---------------------------------> late
 *      ^               |  ^                                        | |
 *      |     UNREG     |  |       owner_work() can write it        | |
 *      +---------------+  +----------------------------------------+ |
 *      |                  |                                          v
 *      |                  |  fault_in_words() has faulted the     waits for a
 *      |                  +-- page in, or can't: it gives up <--- fault worker
 *      |      UNREG                                                  |
 *      +-------------------------------------------------------------+
 *
 * A toggle never waits for user memory: it only tries mmap_lock, and a page that
 * is not present, or still shared copy-on-write, makes the word late. REG and
 * UNREG wait for mmap_lock, at their caller's cost; if the word still cannot be
 * written they fault the page in, with no lock held, and try again. How many page
 * faults late words cause at a time is bounded for each user.
 *
 * Locks, outermost first, and why:
 *
 *   owner->lock    one REG or UNREG of a program at a time, so that the set does
 *                  not change while it is copied, which takes long and memory
 *   event_mutex    event->enabled and the enablers that show it; late enablers
 *                  and work items; an owner and its set stay while it is held
 *   mmap_lock      the rule above; under event_mutex it is only tried, as whoever
 *                  holds it may wait for user memory. Who may wait for it takes
 *                  it first, and only tries event_mutex: lock_words_waiting()
 *   owners_lock    owners of a set. fork must not take event_mutex, which uprobes
 *                  hold while they keep forks away
 *   faults_lock    who waits for a fault worker
 */

/**
 * struct user_event_pages - pages of enable words that a file gave out
 * @refs: one each for the file, a mapping, a page bit
 * @group: group of the file; each mapping has a reference to it
 * @user: whose locked memory they are
 * @nr: elements of @page, grows under the lock of the file
 * @page: the pages
 * @bits: struct user_event_page_bit by number, event_mutex
 */
struct user_event_pages {
	refcount_t			refs;
	struct user_event_group		*group;
	struct user_struct		*user;
	unsigned int			nr;
	struct page			*page[USER_EVENT_MAX_PAGES];
	struct rb_root			bits;
};

/**
 * struct user_event_page_bit - a bit in a page of the kernel, which enablers share
 * @node: in pages->bits
 * @pages: where, holds a reference
 * @nr: number of the bit, counted through all pages
 * @users: enablers that point here
 * @enabled: those of them whose event is enabled
 *
 * Everything is protected by event_mutex.
 */
struct user_event_page_bit {
	struct rb_node			node;
	struct user_event_pages		*pages;
	unsigned long			nr;
	unsigned int			users;
	unsigned int			enabled;
};

#define BITS_PER_PAGE_OF_WORDS		(PAGE_SIZE * BITS_PER_BYTE)

/* One page more, as far as current may have it locked. */
static int pages_add(struct user_event_pages *pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	bool allowed = atomic_long_inc_return(&pages->user->locked_vm) <= limit ||
		       capable(CAP_IPC_LOCK);
	struct page *page = allowed ? alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO) : NULL;

	if (!page) {
		atomic_long_dec(&pages->user->locked_vm);
		return allowed ? -ENOMEM : -EPERM;
	}
	pages->page[pages->nr] = page;
	WRITE_ONCE(pages->nr, pages->nr + 1);
	return 0;
}

/* Free all pages but the first @left. */
static void pages_drop(struct user_event_pages *pages, unsigned int left)
{
	atomic_long_sub(pages->nr - left, &pages->user->locked_vm);
	while (pages->nr > left) {
		WRITE_ONCE(pages->nr, pages->nr - 1);
		put_page(pages->page[pages->nr]);
	}
}

static void pages_put(struct user_event_pages *pages)
{
	if (!pages || !refcount_dec_and_test(&pages->refs))
		return;

	pages_drop(pages, 0);
	free_uid(pages->user);
	kfree(pages);
}

static int user_event_pages_release(struct inode *inode, struct file *file)
{
	struct user_event_pages *pages = file->private_data;

	group_put(pages->group);
	pages_put(pages);
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
 * struct user_event_key - what tells the enablers of a set apart
 * @addr: address of the word, without a tag
 * @bit: bit as the program counts it
 */
struct user_event_key {
	unsigned long		addr;
	u32			bit;
} __packed __aligned(sizeof(u32));

/**
 * struct user_event_enabler - a bit that shows whether an event is enabled
 * @node: in set->enablers; changes under owner->lock and event_mutex
 * @key: where the bit is
 * @width: bytes of the word
 * @in_page: the word is in a page of the kernel, where it is never late
 * @event: event, holds a reference
 * @set: set it belongs to
 * @event_link: in event->enablers
 * @late_node: unless @in_page, in set->late if @late is not 0
 * @late: unless @in_page, number of the latest deferred write, 0 if none; no two
 *	are the same
 * @page_bit: if @in_page, counts this enabler as a user
 *
 * Everything is protected by event_mutex.
 */
struct user_event_enabler {
	struct rb_node			node;
	struct user_event_key		key;
	u8				width;
	bool				in_page;
	struct user_event		*event;
	struct user_event_set		*set;
	struct list_head		event_link;
	union {
		struct {
			struct rb_node	late_node;
			u64		late;
		};
		struct user_event_page_bit *page_bit;
	};
};

/**
 * struct user_event_set - enablers of one or more address spaces
 * @enablers: enablers by key; changes only while there is one owner
 * @late: enablers with a write that was deferred for some owner, by number
 * @owners: address spaces; fork adds under owners_lock, all else also takes
 *	event_mutex. Whoever takes the last one out frees the set
 * @last_late: number of the latest deferred write; written under both as well
 */
struct user_event_set {
	struct rb_root			enablers;
	struct rb_root			late;
	struct list_head		owners;
	u64				last_late;
};

/* Faults that need only memory do not queue behind those that somebody answers. */
enum user_event_lane {
	FAULTS_AT_ONCE,
	FAULTS_AND_WAITS,
	NR_LANES,
};

static_assert(sizeof_field(struct ucounts, user_event_faults) ==
	      NR_LANES * sizeof(struct user_event_faults));

/**
 * struct user_event_mm - an owner: what an address space registered
 * @mm: address space, which points here; holds mm_count
 * @user: who is charged for faults in this memory, holds a reference; changes under
 *	event_mutex unless @faulting, as @cred does
 * @cred: of the task whose memory it is; a file system may answer nobody else
 * @lock: held to change or copy @set
 * @set: NULL once the last process is gone; changes as set->owners does
 * @set_link: in set->owners
 * @refs: one for @mm, one while @work is queued or runs, and each of @fault_work
 * @settled: all deferred writes up to this number are done or abandoned; written
 *	under event_mutex and owners_lock
 * @work: writes what is late, as far as that needs no waiting
 * @fault_work: faults in the memory of what is left, by lane
 * @fault_link: in user->user_event_faults[].waiting, faults_lock
 * @faulting: @fault_work waits, is queued or will look again, event_mutex
 */
struct user_event_mm {
	struct mm_struct		*mm;
	struct ucounts			*user;
	const struct cred		*cred;
	struct mutex			lock;	/* changes and copies of the set */
	struct user_event_set		*set;
	struct list_head		set_link;
	refcount_t			refs;
	u64				settled;
	struct work_struct		work;
	struct work_struct		fault_work[NR_LANES];
	struct list_head		fault_link;
	bool				faulting;
};

/**
 * struct user_event_missed - a late word that could not be written
 * @addr: address of the word
 * @late: that of the enabler, which gets another number when deferred again
 */
struct user_event_missed {
	unsigned long			addr;
	u64				late;
};

static DEFINE_SPINLOCK(owners_lock);
static DEFINE_SPINLOCK(faults_lock);

/* Number of the latest deferred write of all sets, event_mutex. */
static u64 nr_late;

/* Only items of the second one may block on user memory, and that for ever. */
static struct workqueue_struct *user_event_wq, *user_event_fault_wq;
static struct kmem_cache *enabler_cache;
static struct kmem_cache *owner_cache;

static struct user_event_enabler *enabler_of_node(const struct rb_node *node)
{
	return rb_entry(node, struct user_event_enabler, node);
}

static int compare_key(const void *key, const struct rb_node *node)
{
	return memcmp(key, &enabler_of_node(node)->key, sizeof(struct user_event_key));
}

static int compare_enablers(struct rb_node *a, const struct rb_node *b)
{
	return compare_key(&enabler_of_node(a)->key, b);
}

/* Context: event_mutex, or the lock of an owner of @set. */
static struct user_event_enabler *find_enabler(const struct user_event_set *set,
					       const struct user_event_key *key)
{
	struct rb_node *node = rb_find(key, &set->enablers, compare_key);

	return node ? enabler_of_node(node) : NULL;
}

static bool is_less_late(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct user_event_enabler, late_node)->late <
	       rb_entry(b, struct user_event_enabler, late_node)->late;
}

/* All numbers above @late match; rb_find_first() takes the lowest of them. */
static int compare_late(const void *late, const struct rb_node *node)
{
	return rb_entry(node, struct user_event_enabler, late_node)->late <= *(u64 *)late;
}

/* The enabler of @set with the lowest number above @late. */
static struct user_event_enabler *next_late(const struct user_event_set *set, u64 late)
{
	struct rb_node *node = rb_find_first(&late, &set->late, compare_late);

	return node ? rb_entry(node, struct user_event_enabler, late_node) : NULL;
}

/*
 * The bit of the long around @addr that is bit @bit of a word of @width bytes at
 * @addr. A 4-byte word is one half of an 8-byte long: the half at the lower address
 * is the low one on little endian, the high one on big endian.
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

static int compare_page_bits(struct rb_node *a, const struct rb_node *b)
{
	return (int)rb_entry(a, struct user_event_page_bit, node)->nr -
	       (int)rb_entry(b, struct user_event_page_bit, node)->nr;
}

static void page_bit_put(struct user_event_page_bit *bit)
{
	if (--bit->users)
		return;
	if (!RB_EMPTY_NODE(&bit->node))
		rb_erase(&bit->node, &bit->pages->bits);
	pages_put(bit->pages);
	kfree(bit);
}

/* The bit with the number of @fresh, which may be that one or is freed. */
static struct user_event_page_bit *page_bit_enter(struct user_event_page_bit *fresh)
{
	struct user_event_page_bit *bit;
	struct rb_node *known;

	lockdep_assert_held(&event_mutex);

	known = rb_find_add(&fresh->node, &fresh->pages->bits, compare_page_bits);
	if (!known)
		return fresh;

	bit = rb_entry(known, struct user_event_page_bit, node);
	bit->users++;
	RB_CLEAR_NODE(&fresh->node);
	page_bit_put(fresh);
	return bit;
}

/* @change is 1 or -1: one enabler more or less has its event enabled. */
static void page_bit_add(struct user_event_page_bit *bit, int change)
{
	unsigned long nr = bit->nr % BITS_PER_PAGE_OF_WORDS;
	unsigned long *page;

	lockdep_assert_held(&event_mutex);

	bit->enabled += change;
	page = page_address(bit->pages->page[bit->nr / BITS_PER_PAGE_OF_WORDS]);
	assign_bit(nr % BITS_PER_LONG, page + nr / BITS_PER_LONG, bit->enabled);
	flush_dcache_page(virt_to_page(page));
}

/*
 * Set or clear the bit of @enabler where the program could, without a fault.
 *
 * Context: event_mutex, and mmap_lock of @mm for reading.
 * Return: as assign_remote_bit().
 */
static int write_word(struct mm_struct *mm, const struct user_event_enabler *enabler,
		      bool value)
{
	lockdep_assert_held(&event_mutex);
	return assign_remote_bit(mm, ALIGN_DOWN(enabler->key.addr, sizeof(long)),
				 enabler_bit(enabler), value);
}

/*
 * Write what the event says, -EAGAIN if mmap_lock is contended as well. The lock
 * also keeps the page tables of an address space that is going away.
 */
static int try_word(struct user_event_mm *owner, const struct user_event_enabler *enabler)
{
	int ret;

	if (!mmap_read_trylock(owner->mm))
		return -EAGAIN;
	ret = write_word(owner->mm, enabler, enabler->event->enabled);
	mmap_read_unlock(owner->mm);
	return ret;
}

static void unlock_words(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
	mutex_unlock(&event_mutex);
}

/* Take event_mutex, and mmap_lock if it is free, else -EBUSY with neither. */
static int lock_words(struct mm_struct *mm)
{
	mutex_lock(&event_mutex);
	if (mmap_read_trylock(mm))
		return 0;
	mutex_unlock(&event_mutex);
	return -EBUSY;
}

/*
 * Take both, and wait for mmap_lock: the one that was tried in vain is waited for
 * next. A program that maps memory all the time may have either free for moments
 * only. Return: 0 or -EINTR.
 */
static int lock_words_waiting(struct mm_struct *mm)
{
	int ret;

	do {
		ret = mmap_read_lock_killable(mm);
		if (ret || mutex_trylock(&event_mutex))
			return ret;
		mmap_read_unlock(mm);
	} while (lock_words(mm));
	return 0;
}

/* Fault in a page for writing. May wait for ever: hold no lock. */
static int fault_and_wait(struct mm_struct *mm, unsigned long addr)
{
	bool unlocked = false;
	int ret;

	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	ret = fixup_user_fault(mm, addr, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE,
			       &unlocked);
	mmap_read_unlock(mm);
	return ret;
}

/* Fault in a page for writing if that takes only memory, else -EBUSY. */
static int fault_at_once(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma;
	struct page *page;
	int ret = -EBUSY;

	if (!mmap_read_trylock(mm))
		return -EBUSY;
	vma = vma_lookup(mm, addr);
	if (vma && vma_is_anonymous(vma) && !userfaultfd_armed(vma)) {
		ret = get_user_pages_remote(mm, addr, 1, FOLL_WRITE | FOLL_NOWAIT,
					    &page, NULL);
		if (ret == 1)
			put_page(page);
	}
	mmap_read_unlock(mm);
	return min(ret, 0);
}

/*
 * Have @fault fault in a word after write_word() returned @why. -EAGAIN counts for
 * no attempt: a program that forks all the time is no reason to give up.
 */
static int fault_in_word(struct mm_struct *mm, unsigned long addr, int why,
			 unsigned int *attempt,
			 int (*fault)(struct mm_struct *mm, unsigned long addr))
{
	int ret;

	/* Give whoever keeps unmapping the page time to finish. */
	if (*attempt > 1)
		schedule_timeout_killable(msecs_to_jiffies(1 << *attempt));

	ret = fault(mm, addr);
	if (!ret && why != -EAGAIN && ++*attempt >= USER_EVENT_FAULT_ATTEMPTS)
		ret = -EFAULT;
	return ret;
}

/*
 * Who is charged for faults in memory of somebody with @cred. In a user namespace a
 * user can become any number of others: charge the one who made it. Root makes them
 * for others: there charge the namespace.
 */
static struct ucounts *fault_user(const struct cred *cred)
{
	struct user_namespace *ns = cred->user_ns;
	kuid_t uid = cred->uid;

	for (; ns != &init_user_ns; ns = ns->parent) {
		uid = ns->owner;
		if (ns->parent == &init_user_ns && uid_eq(uid, GLOBAL_ROOT_UID))
			break;
	}
	return alloc_ucounts(ns, uid);
}

/* A work item of @user leaves @lane: the next one's turn. */
static void fault_end(struct ucounts *user, enum user_event_lane lane)
{
	struct user_event_faults *faults = &user->user_event_faults[lane];
	struct user_event_mm *next;

	spin_lock(&faults_lock);
	next = list_first_entry_or_null(&faults->waiting, struct user_event_mm, fault_link);
	if (next) {
		list_del_init(&next->fault_link);
		queue_work(user_event_fault_wq, &next->fault_work[lane]);
	} else {
		faults->running--;
	}
	spin_unlock(&faults_lock);
}

/* Stop waiting for a turn. Return: was @owner waiting? */
static bool fault_cancel(struct user_event_mm *owner)
{
	bool waits;

	spin_lock(&faults_lock);
	waits = !list_empty(&owner->fault_link);
	list_del_init(&owner->fault_link);
	spin_unlock(&faults_lock);
	return waits;
}

static void owner_put(struct user_event_mm *owner)
{
	if (!refcount_dec_and_test(&owner->refs))
		return;

	put_ucounts(owner->user);
	put_cred(owner->cred);
	mmdrop(owner->mm);
	kmem_cache_free(owner_cache, owner);
}

/*
 * Queue the work item of @owner, or @owner for its turn. Takes over a reference,
 * and drops it if the processes of @owner have ended: fault_cancel() has been there.
 */
static void fault_begin(struct user_event_mm *owner, enum user_event_lane lane)
{
	struct user_event_faults *faults = &owner->user->user_event_faults[lane];
	bool ended;

	spin_lock(&faults_lock);
	ended = !READ_ONCE(owner->set);
	if (!ended && faults->running == USER_EVENT_MAX_FAULTS) {
		list_add_tail(&owner->fault_link, &faults->waiting);
	} else if (!ended) {
		if (!faults->running++)
			INIT_LIST_HEAD(&faults->waiting);
		queue_work(user_event_fault_wq, &owner->fault_work[lane]);
	}
	spin_unlock(&faults_lock);
	if (ended)
		owner_put(owner);
}

static void owner_queue(struct user_event_mm *owner)
{
	refcount_inc(&owner->refs);
	if (!queue_work(user_event_wq, &owner->work))
		refcount_dec(&owner->refs);
}

/* The write of @enabler's word is deferred for some owner. */
static void enabler_late(struct user_event_enabler *enabler)
{
	struct user_event_set *set = enabler->set;

	if (enabler->late)
		rb_erase(&enabler->late_node, &set->late);
	enabler->late = ++nr_late;
	rb_add(&enabler->late_node, &set->late, is_less_late);
	spin_lock(&owners_lock);
	set->last_late = enabler->late;
	spin_unlock(&owners_lock);
}

/*
 * event->enabled has changed: update every word that shows it, or defer that.
 *
 * Context: event_mutex, may sleep; waits for no user memory.
 */
static void update_enablers(struct user_event *event)
{
	struct user_event_enabler *enabler;
	struct user_event_mm *owner;

	lockdep_assert_held(&event_mutex);

	list_for_each_entry(enabler, &event->enablers, event_link) {
		cond_resched();
		if (enabler->in_page) {
			page_bit_add(enabler->page_bit, event->enabled ? 1 : -1);
			continue;
		}
		/* No owner leaves under event_mutex; fork may add one at the end. */
		list_for_each_entry_rcu(owner, &enabler->set->owners, set_link,
					lockdep_is_held(&event_mutex)) {
			if (try_word(owner, enabler)) {
				enabler_late(enabler);
				owner_queue(owner);
			}
		}
	}
}

/* All deferred writes up to @late are done or abandoned. */
static void settled_up_to(struct user_event_mm *owner, u64 late)
{
	spin_lock(&owners_lock);
	owner->settled = late;
	spin_unlock(&owners_lock);
}

/*
 * Write late words: up to the first that cannot be written, and try up to @ahead
 * more behind it.
 *
 * Return: 0, 1 if there is more to do, or why @missed could not be written.
 */
static int settle_words(struct user_event_mm *owner, unsigned int ahead,
			struct user_event_missed *missed)
{
	unsigned int left = USER_EVENT_SETTLE_BATCH;
	struct user_event_enabler *enabler;
	u64 late = owner->settled;
	int ret, why = 0;

	lockdep_assert_held(&event_mutex);
	mmap_assert_locked(owner->mm);

	if (!owner->set)
		return 0;

	for (; left; left--) {
		enabler = next_late(owner->set, late);
		if (!enabler) {
			if (!why)
				settled_up_to(owner, owner->set->last_late);
			return why;
		}
		late = enabler->late;
		ret = write_word(owner->mm, enabler, enabler->event->enabled);
		if (ret && !why) {
			missed->addr = enabler->key.addr;
			missed->late = late;
			why = ret;
		}
		if (!why)
			settled_up_to(owner, late);
		else if (!ahead--)
			return why;
	}
	return why ?: 1;
}

/*
 * The word of @missed cannot be faulted in: go on with the next. If it was deferred
 * again meanwhile, other memory may be mapped there now and is still to be tried.
 */
static void give_up_word(struct user_event_mm *owner,
			 const struct user_event_missed *missed)
{
	struct user_event_enabler *enabler;

	guard(mutex)(&event_mutex);

	enabler = owner->set ? next_late(owner->set, owner->settled) : NULL;
	if (enabler && enabler->late == missed->late)
		settled_up_to(owner, missed->late);
}

/*
 * The next word to fault in, @missed. Return: as settle_words(), or -EBUSY if @lane
 * is not to wait for mmap_lock and would have to.
 */
static int next_fault(struct user_event_mm *owner, enum user_event_lane lane,
		      struct user_event_missed *missed)
{
	int why;

	why = lane == FAULTS_AT_ONCE ? lock_words(owner->mm) : lock_words_waiting(owner->mm);
	if (why)
		return why;

	why = settle_words(owner, 0, missed);
	owner->faulting = why;
	unlock_words(owner->mm);
	return why;
}

/*
 * Have @fault fault in the words of @owner that cannot be written, one by one. As
 * soon as none is left the next turn may begin, in the other lane too, before this
 * one has ended.
 */
static void fault_in_words(struct user_event_mm *owner, enum user_event_lane lane,
			   int (*fault)(struct mm_struct *mm, unsigned long addr))
{
	/* Both change once nothing is left, which is before this turn has ended. */
	const struct cred *cred = get_cred(owner->cred);
	struct ucounts *user = get_ucounts(owner->user);
	const struct cred *old_cred = override_creds(cred);
	struct user_event_missed missed = {};
	unsigned int attempt = 0;
	bool waits = false;
	u64 last = 0;
	int why, ret;

	while ((why = next_fault(owner, lane, &missed))) {
		cond_resched();
		if (why > 0)
			continue;
		if (missed.late != last)
			attempt = 0;
		last = missed.late;

		/* Only for this fault: a process may end in between. */
		if (!mmget_not_zero(owner->mm))
			break;
		ret = why == -EBUSY ? why :
		      fault_in_word(owner->mm, missed.addr, why, &attempt, fault);
		mmput(owner->mm);

		waits = ret == -EBUSY && lane == FAULTS_AT_ONCE;
		if (waits)
			break;
		if (ret == -ENOMEM && ++attempt < USER_EVENT_FAULT_ATTEMPTS)
			continue;
		if (ret)
			give_up_word(owner, &missed);
	}
	revert_creds(old_cred);
	put_cred(cred);
	fault_end(user, lane);
	put_ucounts(user);
	if (waits)
		fault_begin(owner, FAULTS_AND_WAITS);
	else
		owner_put(owner);
}

static void owner_faults_at_once(struct work_struct *work)
{
	fault_in_words(container_of(work, struct user_event_mm, fault_work[FAULTS_AT_ONCE]),
		       FAULTS_AT_ONCE, fault_at_once);
}

static void owner_faults_and_waits(struct work_struct *work)
{
	fault_in_words(container_of(work, struct user_event_mm, fault_work[FAULTS_AND_WAITS]),
		       FAULTS_AND_WAITS, fault_and_wait);
}

/* Enter @enabler, which has a reference to its event, in its set and its event. */
static void enabler_link(struct user_event_enabler *enabler)
{
	lockdep_assert_held(&event_mutex);

	rb_find_add(&enabler->node, &enabler->set->enablers, compare_enablers);
	list_add_tail(&enabler->event_link, &enabler->event->enablers);
	if (enabler->in_page && enabler->event->enabled)
		page_bit_add(enabler->page_bit, 1);
}

/* Remove @enabler from its event. */
static void enabler_unlink(struct user_event_enabler *enabler)
{
	lockdep_assert_held(&event_mutex);

	list_del(&enabler->event_link);
	if (enabler->in_page && enabler->event->enabled)
		page_bit_add(enabler->page_bit, -1);
}

/* May destroy the event. */
static void enabler_free(struct user_event_enabler *enabler)
{
	lockdep_assert_held(&event_mutex);

	if (enabler->in_page)
		page_bit_put(enabler->page_bit);
	user_event_put_locked(enabler->event);
	kmem_cache_free(enabler_cache, enabler);
}

static struct user_event_set *set_alloc(void)
{
	struct user_event_set *set = kzalloc(sizeof(*set), GFP_KERNEL_ACCOUNT);

	if (set)
		INIT_LIST_HEAD(&set->owners);
	return set;
}

/*
 * Free a set without owners. Each enabler may destroy an event, so let others have
 * event_mutex in between.
 */
static void set_discard(struct user_event_set *set)
{
	struct user_event_enabler *enabler, *next;

	rbtree_postorder_for_each_entry_safe(enabler, next, &set->enablers, node) {
		guard(mutex)(&event_mutex);
		enabler_unlink(enabler);
		enabler_free(enabler);
	}
	kfree(set);
}

/**
 * user_event_mm_release - drop what an address space registered
 * @owner: of the address space, which its last process leaves
 *
 * Context: process context, takes event_mutex.
 */
void user_event_mm_release(struct user_event_mm *owner)
{
	struct user_event_set *set;
	bool last;

	mutex_lock(&event_mutex);
	spin_lock(&owners_lock);
	set = owner->set;
	list_del(&owner->set_link);
	last = list_empty(&set->owners);
	WRITE_ONCE(owner->set, NULL);
	spin_unlock(&owners_lock);
	mutex_unlock(&event_mutex);

	if (fault_cancel(owner))
		owner_put(owner);
	if (last)
		set_discard(set);
}

/* Have faults begin for @owner, on the account of whoever its memory belongs to now. */
static void owner_fault(struct user_event_mm *owner)
{
	const struct cred *cred = get_mm_cred(owner->mm);
	struct ucounts *user = cred ? fault_user(cred) : NULL;

	mutex_lock(&event_mutex);
	if (!owner->faulting) {
		if (user) {
			swap(owner->cred, cred);
			swap(owner->user, user);
		}
		owner->faulting = true;
		refcount_inc(&owner->refs);
		fault_begin(owner, FAULTS_AT_ONCE);
	}
	mutex_unlock(&event_mutex);

	if (user)
		put_ucounts(user);
	if (cred)
		put_cred(cred);
}

/*
 * What is late is first tried here, without waiting for memory, so that no other
 * word and no other process can hold it up.
 */
static void owner_work(struct work_struct *work)
{
	struct user_event_mm *owner = container_of(work, struct user_event_mm, work);
	struct user_event_missed missed;
	int why;

	/* A child that never ran: fork failed after user_event_mm_dup(). */
	if (!atomic_read(&owner->mm->mm_users) && READ_ONCE(owner->set))
		user_event_mm_release(owner);

	mutex_lock(&event_mutex);
	why = -EBUSY;
	if (mmap_read_trylock(owner->mm)) {
		why = settle_words(owner, USER_EVENT_SETTLE_BATCH, &missed);
		mmap_read_unlock(owner->mm);
	}
	mutex_unlock(&event_mutex);
	if (why < 0)
		owner_fault(owner);
	else if (why > 0)
		owner_queue(owner);
	owner_put(owner);
}

static struct user_event_mm *owner_alloc(struct mm_struct *mm)
{
	struct user_event_mm *owner;

	owner = kmem_cache_zalloc(owner_cache, GFP_KERNEL_ACCOUNT);
	if (!owner)
		return NULL;

	owner->user = fault_user(current_cred());
	if (!owner->user) {
		kmem_cache_free(owner_cache, owner);
		return NULL;
	}
	mmgrab(mm);
	owner->mm = mm;
	owner->cred = get_current_cred();
	mutex_init(&owner->lock);
	refcount_set(&owner->refs, 1);
	INIT_LIST_HEAD(&owner->set_link);
	INIT_LIST_HEAD(&owner->fault_link);
	INIT_WORK(&owner->work, owner_work);
	INIT_WORK(&owner->fault_work[FAULTS_AT_ONCE], owner_faults_at_once);
	INIT_WORK(&owner->fault_work[FAULTS_AND_WAITS], owner_faults_and_waits);
	return owner;
}

/* An owner with a set of its own. */
static struct user_event_mm *owner_alloc_first(struct mm_struct *mm)
{
	struct user_event_mm *owner = owner_alloc(mm);

	if (!owner)
		return NULL;
	owner->set = set_alloc();
	if (!owner->set) {
		owner_put(owner);
		return NULL;
	}
	list_add(&owner->set_link, &owner->set->owners);
	return owner;
}

/* The owner of the memory of current, made if there is none. */
static struct user_event_mm *owner_of_current(void)
{
	struct mm_struct *mm = current->mm;
	struct user_event_mm *owner, *fresh;

	/* Pairs with cmpxchg() below: the owner has its set. */
	owner = smp_load_acquire(&mm->user_event_mm);
	if (owner)
		return owner;

	fresh = owner_alloc_first(mm);
	if (!fresh)
		return NULL;

	owner = cmpxchg(&mm->user_event_mm, NULL, fresh);
	if (!owner)
		return fresh;
	kfree(fresh->set);
	owner_put(fresh);
	return owner;
}

/**
 * user_event_mm_free - an address space goes
 * @owner: of the address space, which has no users any more
 *
 * The child of a fork that failed still has its registrations.
 *
 * Context: process context, whatever locks are held.
 */
void user_event_mm_free(struct user_event_mm *owner)
{
	if (READ_ONCE(owner->set))
		owner_queue(owner);
	owner_put(owner);
}

/**
 * user_event_mm_dup - let a child of fork inherit what its parent registered
 * @mm: memory of the child, a copy that is complete
 * @oldmm: memory of the parent, which has registered something
 *
 * Context: process context, mmap_lock of both held for writing.
 * Return: 0 or -ENOMEM.
 */
int user_event_mm_dup(struct mm_struct *mm, struct mm_struct *oldmm)
{
	struct user_event_mm *parent = oldmm->user_event_mm;
	struct user_event_mm *child;
	bool none, late;

	mmap_assert_write_locked(oldmm);

	spin_lock(&owners_lock);
	none = RB_EMPTY_ROOT(&parent->set->enablers);
	spin_unlock(&owners_lock);
	if (none)
		return 0;

	child = owner_alloc(mm);
	if (!child)
		return -ENOMEM;

	spin_lock(&owners_lock);
	child->set = parent->set;
	child->settled = parent->settled;
	late = child->settled != child->set->last_late;
	list_add_tail_rcu(&child->set_link, &child->set->owners);
	spin_unlock(&owners_lock);

	mm->user_event_mm = child;
	if (late) {
		/* The parent too, or all of its children would be late. */
		owner_queue(parent);
		owner_queue(child);
	}
	return 0;
}

/* Holds until the next fork, which mmap_lock keeps away. */
static bool owner_is_alone(const struct user_event_mm *owner)
{
	bool alone;

	spin_lock(&owners_lock);
	alone = list_is_singular(&owner->set->owners);
	spin_unlock(&owners_lock);
	return alone;
}

static int set_copy_enabler(struct user_event_set *set,
			    const struct user_event_enabler *from)
{
	struct user_event_enabler *enabler;

	enabler = kmem_cache_alloc(enabler_cache, GFP_KERNEL_ACCOUNT);
	if (!enabler)
		return -ENOMEM;

	guard(mutex)(&event_mutex);
	*enabler = *from;
	enabler->set = set;
	refcount_inc(&enabler->event->refs);
	if (enabler->in_page) {
		enabler->page_bit->users++;
	} else {
		enabler->late = 0;
		enabler_late(enabler);
	}
	enabler_link(enabler);
	return 0;
}

/*
 * Copy the shared set @from. The copy has no owners yet, for which toggles would
 * write a word or defer that: so each enabler in it counts as late.
 *
 * Context: the lock of an owner of @from.
 */
static struct user_event_set *set_copy(const struct user_event_set *from)
{
	struct user_event_set *set = set_alloc();
	struct rb_node *node;
	int ret = set ? 0 : -ENOMEM;

	for (node = rb_first(&from->enablers); !ret && node; node = rb_next(node)) {
		ret = fatal_signal_pending(current) ? -EINTR :
		      set_copy_enabler(set, enabler_of_node(node));
	}
	if (!ret)
		return set;
	if (set)
		set_discard(set);
	return ERR_PTR(ret);
}

/*
 * Let @owner use @set, a copy of the set that it shares. If it had settled all of
 * that, its words are up to date: then nothing of the copy is late for it.
 *
 * Return: false if the set is no longer shared.
 */
static bool owner_take_set(struct user_event_mm *owner, struct user_event_set *set)
{
	bool shared, settled;

	guard(mutex)(&event_mutex);

	spin_lock(&owners_lock);
	shared = !list_is_singular(&owner->set->owners);
	settled = owner->settled == owner->set->last_late;
	if (shared) {
		list_move(&owner->set_link, &set->owners);
		owner->set = set;
		owner->settled = settled ? set->last_late : 0;
	}
	spin_unlock(&owners_lock);

	if (shared && !settled)
		owner_queue(owner);
	return shared;
}

/*
 * Make sure that @owner is the only one of its set, which is to be changed. This
 * is the copy that fork put off.
 */
static int owner_unshare(struct user_event_mm *owner)
{
	struct user_event_set *set;

	lockdep_assert_held(&owner->lock);

	if (owner_is_alone(owner))
		return 0;

	set = set_copy(owner->set);
	if (IS_ERR(set))
		return PTR_ERR(set);
	if (!owner_take_set(owner, set))
		set_discard(set);
	return 0;
}

/**
 * struct user_event_change - REG or UNREG of a bit
 * @key: which
 * @fresh: enabler to be inserted; NULL if one is to be removed
 * @removed: enabler that was removed and is to be freed
 * @futile: the word cannot be faulted in: what cannot be written now never will
 */
struct user_event_change {
	struct user_event_key		key;
	struct user_event_enabler	*fresh;
	struct user_event_enabler	*removed;
	bool				futile;
};

/* Write the word and insert the enabler, one step for forks and toggles. */
static int enabler_insert(struct user_event_mm *owner, struct user_event_change *change)
{
	struct user_event_enabler *enabler = change->fresh;
	int ret = enabler->in_page ? 0 :
		  write_word(owner->mm, enabler, enabler->event->enabled);

	if (ret)
		return change->futile ? -EFAULT : ret;
	if (enabler->in_page)
		enabler->page_bit = page_bit_enter(enabler->page_bit);

	enabler->set = owner->set;
	refcount_inc(&enabler->event->refs);
	enabler_link(enabler);
	return 0;
}

/* Clear the bit and remove the enabler, one step as well. */
static int enabler_remove(struct user_event_mm *owner, struct user_event_change *change)
{
	struct user_event_enabler *enabler = find_enabler(owner->set, &change->key);
	int ret = enabler->in_page ? 0 : write_word(owner->mm, enabler, false);

	if (ret && ret != -EFAULT && !change->futile)
		return ret;

	rb_erase(&enabler->node, &enabler->set->enablers);
	if (!enabler->in_page && enabler->late)
		rb_erase(&enabler->late_node, &enabler->set->late);
	enabler_unlink(enabler);
	change->removed = enabler;
	return ret ? -EFAULT : 0;
}

/* Change the set of @owner, the caller's, once no other owner shares it. */
static int change_alone(struct user_event_mm *owner, struct user_event_change *change)
{
	bool alone;
	int ret;

	do {
		ret = owner_unshare(owner) ?: lock_words_waiting(owner->mm);
		if (ret)
			return ret;

		alone = owner_is_alone(owner);
		if (alone && change->fresh)
			ret = enabler_insert(owner, change);
		else if (alone)
			ret = enabler_remove(owner, change);
		mmap_read_unlock(owner->mm);

		/* May destroy the event, which must not happen under mmap_lock. */
		if (change->removed)
			enabler_free(change->removed);
		mutex_unlock(&event_mutex);
	} while (!alone);
	return ret;
}

/* Try once. Look the key up first: a set is not copied for a change that fails. */
static int try_change(struct user_event_mm *owner, struct user_event_change *change)
{
	struct user_event_enabler *known;
	int ret;

	if (mutex_lock_killable(&owner->lock))
		return -EINTR;

	known = find_enabler(owner->set, &change->key);
	if (known && change->fresh)
		ret = -EADDRINUSE;
	else if (!known && !change->fresh)
		ret = -ENOENT;
	else
		ret = change_alone(owner, change);
	mutex_unlock(&owner->lock);
	return ret;
}

/*
 * Change the set of @owner, the caller's, and write the word. Page faults are taken
 * here, without a lock.
 */
static int change_set(struct user_event_mm *owner, struct user_event_change *change)
{
	unsigned int attempt = 0;
	int ret, fault;

	for (;;) {
		ret = try_change(owner, change);
		if (ret != -EAGAIN && ret != -ENXIO)
			return ret;

		fault = fault_in_word(owner->mm, change->key.addr, ret, &attempt,
				      fault_and_wait);
		if (fault == -EINTR || fault == -ENOMEM)
			return fault;
		if (fault)
			change->futile = true;
	}
}

/**
 * unregister_enabler - let go of a bit of the caller's memory
 * @key: which
 *
 * Context: process context, may wait for the memory of current.
 * Return: 0 with the bit clear; -ENOENT if it was not registered; -EFAULT if it is
 * unregistered but its word cannot be written; -EINTR or -ENOMEM, nothing changed.
 */
static int unregister_enabler(const struct user_event_key *key)
{
	struct user_event_change change = { .key = *key };
	struct user_event_mm *owner;

	/* Pairs with owner_of_current(). */
	owner = smp_load_acquire(&current->mm->user_event_mm);
	return owner ? change_set(owner, &change) : -ENOENT;
}

/*
 * Is the bit of the caller's memory free? Programs expect this error before those of
 * the command. Another thread may take the bit meanwhile: register_enabler() decides.
 *
 * Context: process context.
 * Return: 0; -EADDRINUSE if it is registered, -EINTR.
 */
static int check_bit_free(const struct user_event_key *key)
{
	struct user_event_mm *owner;
	int ret;

	/* Pairs with owner_of_current(). */
	owner = smp_load_acquire(&current->mm->user_event_mm);
	if (!owner)
		return 0;
	if (mutex_lock_killable(&owner->lock))
		return -EINTR;
	ret = find_enabler(owner->set, key) ? -EADDRINUSE : 0;
	mutex_unlock(&owner->lock);
	return ret;
}

/* If the word is in a page of the kernel, find out where. */
static int enabler_find_page_bit(struct user_event_enabler *enabler)
{
	struct user_event_pages *pages = NULL;
	struct mm_struct *mm = current->mm;
	struct user_event_page_bit *bit;
	struct vm_area_struct *vma;
	unsigned long offset;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, enabler->key.addr);
	if (vma && vma->vm_file && vma->vm_file->f_op == &user_event_pages_fops) {
		pages = vma->vm_file->private_data;
		refcount_inc(&pages->refs);
		offset = enabler->key.addr - vma->vm_start + (vma->vm_pgoff << PAGE_SHIFT);
	}
	mmap_read_unlock(mm);
	if (!pages)
		return 0;

	bit = kzalloc(sizeof(*bit), GFP_KERNEL_ACCOUNT);
	if (!bit) {
		pages_put(pages);
		return -ENOMEM;
	}
	RB_CLEAR_NODE(&bit->node);
	bit->pages = pages;
	bit->nr = ALIGN_DOWN(offset, sizeof(long)) * BITS_PER_BYTE + enabler_bit(enabler);
	bit->users = 1;
	enabler->in_page = true;
	enabler->page_bit = bit;
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
	struct user_event_change change = {
		.key = { .addr = reg->enable_addr, .bit = reg->enable_bit },
	};
	struct user_event_mm *owner = owner_of_current();
	struct user_event_enabler *enabler;
	int ret;

	if (!owner)
		return -ENOMEM;

	enabler = kmem_cache_zalloc(enabler_cache, GFP_KERNEL_ACCOUNT);
	if (!enabler)
		return -ENOMEM;

	enabler->key = change.key;
	enabler->width = reg->enable_size;
	enabler->event = event;
	change.fresh = enabler;

	ret = enabler_find_page_bit(enabler) ?: change_set(owner, &change);
	if (ret) {
		if (enabler->in_page)
			page_bit_put(enabler->page_bit);
		kmem_cache_free(enabler_cache, enabler);
	}
	return ret;
}

/*
 * Consumers: ftrace and perf attach and detach.
 *
 * Both call user_event_class_reg() under event_mutex. Each instance of ftrace that
 * records an event and perf as a whole hold a reference to it; BPF programs
 * are attached to perf events.
 */

static int add_recorder(struct user_event *event, struct trace_event_file *file)
{
	struct user_event_instance *instance = kmalloc(sizeof(*instance), GFP_KERNEL);

	if (!instance)
		return -ENOMEM;
	instance->file = file;
	hlist_add_head_rcu(&instance->node, &event->recorders);
	return 0;
}

static void remove_recorder(struct user_event *event, struct trace_event_file *file)
{
	struct user_event_instance *instance;

	hlist_for_each_entry(instance, &event->recorders, node) {
		if (instance->file != file)
			continue;
		hlist_del_rcu(&instance->node);
		kfree_rcu(instance, rcu);
		return;
	}
}

/* Update the words if the first consumer has attached or the last one detached. */
static void consumers_changed(struct user_event *event)
{
	bool enabled = !hlist_empty(&event->recorders) || event->perf;

	if (event->enabled == enabled)
		return;

	WRITE_ONCE(event->enabled, enabled);
	update_enablers(event);
}

/* Most events are never traced and need no counters. */
static int prepare_losses(struct user_event *event)
{
	lockdep_assert_held(&event_mutex);

	if (!event->losses) {
		WRITE_ONCE(event->losses,
			   kcalloc(NR_CONSUMERS, sizeof(*event->losses), GFP_KERNEL));
	}
	return event->losses ? 0 : -ENOMEM;
}

/*
 * A consumer attaches to an event or detaches from it. It has a reference meanwhile;
 * when that was the last one, the event is an orphan.
 *
 * Context: event_mutex.
 * Return: 0 or -ENOMEM.
 */
static int user_event_class_reg(struct trace_event_call *call, enum trace_reg type,
				void *data)
{
	struct user_event *event = event_of_call(call);
	int ret;

	switch (type) {
	case TRACE_REG_REGISTER:
		ret = prepare_losses(event) ?: add_recorder(event, data);
		if (ret)
			return ret;
		break;
	case TRACE_REG_UNREGISTER:
		remove_recorder(event, data);
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

/*
 * Records: index table, stage, check, deliver, batches, losses.
 *
 *   record    common fields and payload, as every consumer gets them
 *   payload   what the program wrote behind the index; it becomes the record
 *   index     names an event in a write; counted per open file
 *   slot      what an index stands for: an event, and whether to report losses
 *   stage     where a record is put together, on the kernel's stack if it is small
 *   loss      a consumer that is on did not take a record that it wanted
 *
 *   user_events_write(), user_events_write_iter()
 *     emit_staged()               an index and a payload, copied in one go
 *     emit_iter()                 what is large, a batch, or faults
 *       emit()
 *         emit_large()            in memory that is allocated
 *       emit_batch()
 *         emit_chunk()
 *           emit_in_place()       records that are whole in the stage
 *           emit_record()         others, by way of emit()
 *   all of which end in
 *   check_and_deliver()           the fields, zeros behind them
 *     deliver()                   nothing sleeps or faults from here on
 *       deliver_file()            for each ftrace instance
 *         deliver_particular()    one that has triggers or a filter
 *       deliver_perf()
 *         run_programs()          of BPF, which may keep the record from perf
 *       answer()                  to the writer, if somebody did not take it; runs
 *                                 the triggers that waited for that
 *
 * A record is put together once, by a copy that may fault like that of any
 * system call, and checked once. Then every consumer gets the same bytes: none
 * sees half an event, and what a thread of the program changes after the check
 * does not matter. Behind a record are zeros: a consumer may take a char array
 * that has no NUL for a string and read on.
 *
 * What a consumer does is its own decision, when it decides: whether it is on,
 * whether it wants the record, whether there is room. What it does not take
 * although it is on and wants it is a loss: counted in the event, and told to
 * the writer if no retry can help or if the writer asked for it.
 *
 *   user_event_handle.lock   updates of the index table. A writer takes no lock: it
 *                            finds the slot under RCU, and the event stays as
 *                            long as the file is open, as it is during a write
 *   preemption disabled      in deliver(): ftrace and perf wait for that when they
 *                            detach, and the buffers written are those of one CPU
 */

/* Behind a record, all zero. perf pads the raw data of a sample with them. */
#define RECORD_PADDING		sizeof(u64)

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
 * struct user_event_handle - an open user_events_data
 * @table: events by write index; the file keeps each of them
 * @group: group of the file
 * @lock: serializes changes of the index table, and @pages
 * @reserved: indexes that the table has room for besides those in use
 * @indexes: write index by the id of the event
 * @pages: pages of enable words, NULL until the first mmap
 *
 * A write of an event reads the first cache line only and changes nothing: threads
 * that share the file do not slow each other down.
 */
struct user_event_handle {
	struct user_event_table __rcu	*table;
	struct user_event_group		*group;

	struct mutex			lock ____cacheline_aligned_in_smp;	/* changes */
	unsigned int			reserved;
	struct xarray			indexes;
	struct user_event_pages		*pages;
};

/* The slot of @index, 0 for none. Its event stays as long as the file is open. */
static unsigned long handle_slot(struct user_event_handle *handle, u32 index)
{
	struct user_event_table *table;

	guard(rcu)();
	table = rcu_dereference(handle->table);
	/* Pairs with handle_add_event(): the slot is filled before it counts. */
	if (!table || index >= smp_load_acquire(&table->nr))
		return 0;
	return READ_ONCE(table->slot[index]);
}

static struct user_event *slot_event(unsigned long slot)
{
	return (struct user_event *)(slot & ~SLOT_REPORT);
}

static struct user_event_table *handle_table(struct user_event_handle *handle)
{
	return rcu_dereference_protected(handle->table, lockdep_is_held(&handle->lock));
}

static size_t table_size(unsigned int capacity)
{
	return struct_size_t(struct user_event_table, slot, capacity);
}

/* Reserve one index more. A full table is replaced by *@fresh if that is larger. */
static bool table_reserve(struct user_event_handle *handle, struct user_event_table **fresh)
{
	struct user_event_table *table = handle_table(handle), *new = *fresh;

	if (table && table->nr + handle->reserved < table->capacity) {
		handle->reserved++;
		return true;
	}
	if (!new || (table && new->capacity <= table->capacity))
		return false;

	if (table) {
		memcpy(new->slot, table->slot, table->nr * sizeof(table->slot[0]));
		new->nr = table->nr;
	}
	rcu_assign_pointer(handle->table, new);
	*fresh = NULL;
	if (table)
		kvfree_rcu(table, rcu);
	handle->reserved++;
	return true;
}

/**
 * handle_prepare_index - have the memory for a write index
 * @handle: open file
 * @id: number of the event
 *
 * Is followed by handle_add_event() or handle_cancel_index().
 *
 * Context: process context. The lock is not held where memory may be waited for,
 * as other processes may have the same open file.
 * Return: 0 or -ENOMEM.
 */
static int handle_prepare_index(struct user_event_handle *handle, unsigned long id)
{
	struct user_event_table *fresh = NULL;
	bool reserved;
	size_t size;

	if (xa_reserve(&handle->indexes, id, GFP_KERNEL_ACCOUNT))
		return -ENOMEM;

	for (;;) {
		scoped_guard(mutex, &handle->lock) {
			reserved = table_reserve(handle, &fresh);
			/* A power of two, head included: the allocator has such sizes. */
			size = 64;
			if (handle_table(handle))
				size = 2 * table_size(handle_table(handle)->capacity);
		}
		kvfree(fresh);
		if (reserved)
			return 0;

		fresh = kvmalloc(size, GFP_KERNEL_ACCOUNT);
		if (!fresh)
			return -ENOMEM;
		fresh->nr = 0;
		fresh->capacity = (size - sizeof(*fresh)) / sizeof(fresh->slot[0]);
	}
}

static void handle_cancel_index(struct user_event_handle *handle)
{
	guard(mutex)(&handle->lock);
	handle->reserved--;
}

/**
 * handle_add_event - find or make the write index of an event
 * @handle: open file, where handle_prepare_index() has been for @event
 * @event: event; a new index takes a reference of its own
 * @report: writes through the index report losses from now on
 *
 * Context: process context.
 * Return: index.
 */
static u32 handle_add_event(struct user_event_handle *handle, struct user_event *event,
			    bool report)
{
	unsigned long id = event->call.event.type;
	struct user_event_table *table;
	void *known;
	u32 index;

	guard(mutex)(&handle->lock);

	handle->reserved--;
	table = handle_table(handle);
	known = xa_load(&handle->indexes, id);
	if (known) {
		index = xa_to_value(known);
		if (report)
			WRITE_ONCE(table->slot[index], table->slot[index] | SLOT_REPORT);
		return index;
	}

	index = table->nr;
	xa_store(&handle->indexes, id, xa_mk_value(index), GFP_NOWAIT);
	refcount_inc(&event->refs);
	table->slot[index] = (unsigned long)event | (report ? SLOT_REPORT : 0);
	/* Pairs with handle_slot(), which finds the slot filled. */
	smp_store_release(&table->nr, index + 1);
	return index;
}

/**
 * struct user_event_stage - records being put together
 * @unused: keeps @index right in front of the payload
 * @index: write index
 * @entry: common fields
 * @record: the record as bytes; of a batch, as much as fits
 *
 * A write is copied so that its index lies where the common fields will be:
 *
 *   | unused | index  | payload                  as copied from the program
 *   | common fields   | payload          | 0     as consumers get it
 *   0                 8
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
	atomic_long_t (*losses)[NR_LOSSES] = READ_ONCE(event->losses);

	/* NULL: the consumer has just attached on another CPU. */
	if (likely(losses))
		atomic_long_inc(&losses[consumer][reason]);
	return BIT(reason);
}

/* Count a loss for every consumer: there is no memory for the record. */
static void lose_everywhere(struct user_event *event)
{
	if (!hlist_empty(&event->recorders))
		lose(event, CONSUMER_FTRACE, LOSS_NO_MEMORY);
	if (READ_ONCE(event->perf))
		lose(event, CONSUMER_PERF, LOSS_NO_MEMORY);
}

/* The buffer of the instance refused a record of @size. Not a loss if it is off. */
static unsigned int file_refused(struct user_event *event, struct trace_event_file *file,
				 size_t size)
{
	struct trace_array *tr = file->tr;

	/* Off by tracing_on, while trace is read or cleared, or by tracing_cpumask. */
	if (!ring_buffer_record_is_on(tr->array_buffer.buffer) ||
	    !cpumask_test_cpu(smp_processor_id(), tr->tracing_cpumask))
		return 0;

	if (size > ring_buffer_max_event_size(tr->array_buffer.buffer))
		return lose(event, CONSUMER_FTRACE, LOSS_TOO_BIG);

	/* A buffer that overwrites itself is never full. */
	return lose(event, CONSUMER_FTRACE, tr->trace_flags & BIT(TRACE_ITER_OVERWRITE_BIT) ?
		    LOSS_BUSY : LOSS_FULL);
}

/* Put the record into the buffer of the instance, to be committed. */
static __always_inline bool file_reserve(struct trace_event_buffer *fbuffer,
					 struct trace_event_file *file,
					 const struct trace_entry *entry, size_t size,
					 unsigned int trace_ctx)
{
	fbuffer->buffer = file->tr->array_buffer.buffer;
	fbuffer->event = ring_buffer_lock_reserve(fbuffer->buffer, size);
	if (!fbuffer->event)
		return false;

	fbuffer->trace_ctx = trace_ctx;
	fbuffer->trace_file = file;
	fbuffer->regs = NULL;
	fbuffer->entry = rb_event_data(fbuffer->event);
	/* An event is a multiple of 4 bytes: the last ones are zero as well. */
	memcpy(fbuffer->entry, entry, round_up(size, 4));
	return true;
}

#define FILE_IS_PARTICULAR	(EVENT_FILE_FL_TRIGGER_MODE | EVENT_FILE_FL_TRIGGER_COND | \
				 EVENT_FILE_FL_SOFT_DISABLED | EVENT_FILE_FL_FILTERED | \
				 EVENT_FILE_FL_PID_FILTER)

/* Beside the bits of enum user_event_loss: answer() is to run them. */
#define TRIGGERS_WAIT	BIT(NR_LOSSES)

/*
 * deliver_file() where there are triggers, a filter or a list of pids. All of
 * them look at the record as staged: behind it in the buffer are other records.
 *
 *   1. Triggers that ask for nothing run first, as for any event.
 *   2. Who wants the record? If the instance does, is there room?
 *   3. Triggers that ask for fields run, wanted or not, on or off. One that
 *      switches the instance on does so for the next record.
 *   4. The record is committed, and what may only follow that is done.
 *
 * A writer that is told of losses may try again: no trigger runs before all
 * consumers have decided, and then those of all instances do, or none.
 */
static noinline unsigned int deliver_particular(struct user_event *event,
						struct trace_event_file *file,
						struct trace_entry *entry, size_t size,
						unsigned int trace_ctx, bool report)
{
	unsigned long flags = file->flags;
	bool ignored = flags & EVENT_FILE_FL_PID_FILTER && trace_event_ignore_this_pid(file);
	bool cond = flags & EVENT_FILE_FL_TRIGGER_COND;
	bool plain = flags & EVENT_FILE_FL_TRIGGER_MODE && !cond;
	enum event_trigger_type post = ETT_NONE;
	struct trace_event_buffer fbuffer;
	unsigned int losses = 0;
	bool wanted;

	if (report && (cond || plain)) {
		losses = TRIGGERS_WAIT;
		cond = false;
		plain = false;
	}
	if (plain)
		event_triggers_call(file, NULL, NULL, NULL);

	wanted = !ignored && !(flags & EVENT_FILE_FL_SOFT_DISABLED) &&
		 (!(flags & EVENT_FILE_FL_FILTERED) ||
		  filter_match_preds(rcu_dereference_sched(file->filter), entry));
	if (wanted && !file_reserve(&fbuffer, file, entry, size, trace_ctx)) {
		wanted = false;
		losses |= file_refused(event, file, size);
	}

	if (cond && wanted)
		post = event_triggers_call(file, fbuffer.buffer, entry, fbuffer.event);
	else if (cond)
		event_triggers_run(file, entry);

	if (wanted)
		trace_event_buffer_commit_wanted(&fbuffer);
	if (post)
		event_triggers_post_call(file, post);
	return losses;
}

/*
 * Context: preemption disabled.
 * Return: losses, a bit for each enum user_event_loss, and TRIGGERS_WAIT.
 */
static __always_inline unsigned int deliver_file(struct user_event *event,
						 struct trace_event_file *file,
						 struct trace_entry *entry, size_t size,
						 unsigned int trace_ctx, bool report)
{
	struct trace_event_buffer fbuffer __uninitialized;

	if (unlikely(file->flags & FILE_IS_PARTICULAR))
		return deliver_particular(event, file, entry, size, trace_ctx, report);
	if (unlikely(!file_reserve(&fbuffer, file, entry, size, trace_ctx)))
		return file_refused(event, file, size);

	trace_event_buffer_commit_wanted(&fbuffer);
	return 0;
}

#ifdef CONFIG_PERF_EVENTS

/*
 * Run the BPF programs of the event, which may keep the record from perf. Their
 * context starts with the registers, in place of the common fields. Where a
 * pointer is short, the process id is behind it, for them to read.
 */
static bool run_programs(struct user_event *event, struct trace_entry *entry,
			 struct pt_regs *regs, unsigned int *losses)
{
	struct trace_entry common = *entry;
	bool pass;

	*(struct pt_regs **)entry = regs;
	pass = trace_call_bpf(&event->call, entry);
	*entry = common;

#ifdef CONFIG_BPF_EVENTS
	/*
	 * BPF programs are disabled on this CPU: system calls on maps raise
	 * bpf_prog_active, and may be preempted meanwhile. None has run, so none
	 * has turned the record down.
	 */
	if (unlikely(!pass && this_cpu_read(bpf_prog_active))) {
		*losses |= lose(event, CONSUMER_PERF, LOSS_BUSY);
		pass = true;
	}
#endif
	return pass;
}

/*
 * Context: preemption disabled.
 * Return: losses, a bit for each enum user_event_loss.
 */
static noinline unsigned int deliver_perf(struct user_event *event,
					  struct trace_entry *entry, size_t size)
{
	struct hlist_head *head = this_cpu_ptr(event->call.perf_events);
	bool programs = bpf_prog_array_valid(&event->call);
	unsigned int losses = 0;
	struct pt_regs *regs;
	unsigned int lost;
	int rctx;

	if (hlist_empty(head) && !programs)
		return 0;

	rctx = perf_swevent_get_recursion_context();
	if (rctx < 0)
		return lose(event, CONSUMER_PERF, LOSS_BUSY);

	regs = this_cpu_ptr(&__perf_regs[rctx]);
	perf_fetch_caller_regs(regs);

	/* perf counts the caller's preempt_disable(), ftrace does not. */
	entry->preempt_count = preempt_count() & 0xf;
	if (unlikely(programs) && !run_programs(event, entry, regs, &losses)) {
		perf_swevent_put_recursion_context(rctx);
		return losses;
	}

	/* perf puts a u32 with the size in front: both are a multiple of 8. */
	size = round_up(size + sizeof(u32), sizeof(u64)) - sizeof(u32);
	lost = __perf_tp_event(1, entry, size, regs, head, rctx, NULL);
	if (unlikely(lost & PERF_LOST_TOO_BIG))
		losses |= lose(event, CONSUMER_PERF, LOSS_TOO_BIG);
	if (unlikely(lost & PERF_LOST_FULL))
		losses |= lose(event, CONSUMER_PERF, LOSS_FULL);
	return losses;
}

#else

static unsigned int deliver_perf(struct user_event *event, struct trace_entry *entry,
				 size_t size)
{
	return 0;
}

#endif /* CONFIG_PERF_EVENTS */

/* Not everybody took the record, or triggers have waited: what is the writer told? */
static noinline int answer(struct user_event *event, struct trace_entry *entry,
			   unsigned int losses, bool report)
{
	bool too_big = losses & BIT(LOSS_TOO_BIG);
	struct user_event_instance *instance;

	if (report && !too_big && losses & ~TRIGGERS_WAIT)
		return -ENOBUFS;
	if (losses & TRIGGERS_WAIT) {
		/* perf has its own common fields. */
		tracing_generic_entry_update(entry, event->call.event.type,
					     tracing_gen_ctx_dec());
		hlist_for_each_entry_rcu(instance, &event->recorders, node)
			event_triggers_run(instance->file, entry);
	}
	return too_big ? -E2BIG : 0;
}

/**
 * deliver - hand a record to every consumer
 * @event: event
 * @entry: record; the common fields are filled in here
 * @size: bytes of the record; RECORD_PADDING bytes of 0 follow. What is behind
 *	USER_EVENT_MAX_RECORD bytes need not be there
 * @report: tell of losses that a retry may mend
 *
 * Context: process context.
 * Return: 0; -EBADF if there is no consumer, -E2BIG if there is one that can
 * never take the record, -ENOBUFS with @report if a buffer was full.
 */
static __always_inline int deliver(struct user_event *event, struct trace_entry *entry,
				   size_t size, bool report)
{
	unsigned int trace_ctx = tracing_gen_ctx_task();
	struct user_event_instance *instance;
	unsigned int losses = 0;
	bool perf;

	guard(preempt_notrace)();

	/* Pairs with user_event_class_reg(): call.perf_events is there. */
	perf = smp_load_acquire(&event->perf);
	if (unlikely(hlist_empty(&event->recorders) && !perf))
		return -EBADF;

	tracing_generic_entry_update(entry, event->call.event.type, trace_ctx);
	hlist_for_each_entry_rcu(instance, &event->recorders, node)
		losses |= deliver_file(event, instance->file, entry, size, trace_ctx, report);
	if (perf)
		losses |= deliver_perf(event, entry, size);

	return likely(!losses) ? 0 : answer(event, entry, losses, report);
}

/*
 * Does a location point into the payload, and its string end in NUL? One of size 0
 * points at nothing, wherever that is: programs leave unused ones all 0. The sums
 * cannot overflow: they are of 16-bit numbers and the offset of a field.
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
	return !field->is_string || (len && !((const char *)record)[start + len - 1]);
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

/* The checks of a write that need no payload. */
static int may_write(unsigned long slot, s32 index, size_t payload)
{
	struct user_event *event = slot_event(slot);

	if (!event)
		return index < 0 ? -EINVAL : -ENOENT;
	if (payload < event->format->payload_size)
		return -EINVAL;
	if (!READ_ONCE(event->enabled))
		return -EBADF;
	return 0;
}

/* Check a record, of which @staged bytes are there, zero what is behind it, deliver. */
static __always_inline int __check_and_deliver(unsigned long slot, struct trace_entry *entry,
					       size_t size, size_t staged)
{
	struct user_event *event = slot_event(slot);

	if (event->format->nr_locations && !locations_ok(event->format, entry, size))
		return -EFAULT;
	put_unaligned((u64)0, (u64 *)((char *)entry + staged));
	return deliver(event, entry, size, slot & SLOT_REPORT);
}

/* Out-of-line version for everything but the two fast paths. */
static noinline int check_and_deliver(unsigned long slot, struct trace_entry *entry,
				      size_t size, size_t staged)
{
	return __check_and_deliver(slot, entry, size, staged);
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

/*
 * A record that does not go on the stack. One that no buffer takes is not copied to
 * its end, but filters see all of its fields.
 */
static noinline int emit_large(unsigned long slot, size_t payload,
			       struct iov_iter *from, bool nowait)
{
	size_t size = sizeof(struct trace_entry) + payload;
	size_t staged = min_t(size_t, size, USER_EVENT_MAX_RECORD);
	struct trace_entry *entry;
	int ret;

	entry = kvmalloc(staged + RECORD_PADDING,
			 (nowait ? GFP_NOWAIT : GFP_KERNEL) | __GFP_NOWARN);
	if (!entry) {
		if (nowait)
			return -EAGAIN;
		lose_everywhere(slot_event(slot));
		return -ENOMEM;
	}

	ret = copy_in(entry + 1, staged - sizeof(*entry), from, nowait);
	if (!ret)
		ret = check_and_deliver(slot, entry, size, staged);
	kvfree(entry);
	return ret;
}

/**
 * emit - one event from an iterator
 * @handle: open file
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
static int emit(struct user_event_handle *handle, u32 index, size_t payload,
		struct iov_iter *from, struct user_event_stage *stage, bool nowait)
{
	struct trace_entry *entry = &stage->entry;
	unsigned long slot = handle_slot(handle, index);
	size_t size = sizeof(*entry) + payload;
	int ret;

	ret = may_write(slot, index, payload);
	if (ret)
		return ret;

	if (size > USER_EVENT_STACK_RECORD)
		return emit_large(slot, payload, from, nowait);

	ret = copy_in(entry + 1, payload, from, nowait);
	return ret ?: check_and_deliver(slot, entry, size, size);
}

static bool fits_stage(size_t count)
{
	return count <= USER_EVENT_STACK_RECORD - offsetof(struct user_event_stage, index);
}

/* An index and a payload, @count bytes in all, that were copied in one go. */
static __always_inline ssize_t emit_staged(struct user_event_handle *handle,
					   struct user_event_stage *stage, size_t count)
{
	size_t size = offsetof(struct user_event_stage, index) + count;
	u32 index = stage->index;
	unsigned long slot = handle_slot(handle, index);
	int ret;

	ret = may_write(slot, index, count - sizeof(index));
	if (!ret)
		ret = __check_and_deliver(slot, &stage->entry, size, size);
	return ret ?: count;
}

/* A record of a batch that is large, malformed, or cannot be read. */
static int emit_record(struct user_event_handle *handle, struct iov_iter *from,
		       struct user_event_stage *stage, size_t *done)
{
	size_t left = iov_iter_count(from);
	struct user_event_record record;
	int ret;

	if (left < sizeof(record))
		return -EINVAL;
	ret = copy_in(&record, sizeof(record), from, false);
	if (ret)
		return ret;
	if (record.size < sizeof(record) || record.size > left)
		return -EINVAL;

	ret = emit(handle, record.write_index, record.size - sizeof(record), from, stage,
		   false);
	if (ret && ret != -EBADF)
		return ret;

	iov_iter_advance(from, iov_iter_count(from) - (left - record.size));
	*done += record.size;
	return 0;
}

/*
 * Emit a record of a batch where it is staged. The common fields take the place of
 * its header. The header behind it is zero meanwhile, see RECORD_PADDING.
 */
static __always_inline int emit_in_place(struct user_event_handle *handle,
					 struct user_event_record *record)
{
	u64 *behind = (void *)record + record->size;
	u64 next = get_unaligned(behind);
	unsigned long slot = handle_slot(handle, record->write_index);
	size_t size = record->size;
	int ret;

	static_assert(sizeof(*record) == sizeof(struct trace_entry));
	static_assert(sizeof(*record) == RECORD_PADDING);

	ret = may_write(slot, record->write_index, size - sizeof(*record));
	if (!ret)
		ret = __check_and_deliver(slot, (struct trace_entry *)record, size, size);
	put_unaligned(next, behind);
	return ret == -EBADF ? 0 : ret;
}

/*
 * Copy as much of a batch as the stage takes, and emit the records that are whole
 * there. A record that is not is copied again, by emit_record() once it is first.
 */
static int emit_chunk(struct user_event_handle *handle, struct iov_iter *from,
		      struct user_event_stage *stage, size_t *done)
{
	size_t len = copy_from_iter(stage->record, min_t(size_t, iov_iter_count(from),
							 USER_EVENT_STACK_RECORD), from);
	struct user_event_record *record;
	size_t at = 0;
	int ret = 0;
	u32 size;

	for (; len - at >= sizeof(*record); at += size) {
		record = (void *)stage->record + at;
		if (!IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS) &&
		    !IS_ALIGNED(at, sizeof(u64)))
			break;
		size = record->size;
		if (size < sizeof(*record) || size > len - at)
			break;
		ret = emit_in_place(handle, record);
		if (ret)
			break;
	}

	iov_iter_revert(from, len - at);
	*done += at;
	return ret || at ? ret : emit_record(handle, from, stage, done);
}

/*
 * Emit records up to the first that fails. Return: bytes up to there, those of the
 * index included, or the error if that was the first of all.
 */
static ssize_t emit_batch(struct user_event_handle *handle, struct iov_iter *from,
			  struct user_event_stage *stage)
{
	size_t done = 0;
	int ret = 0;

	while (!ret && iov_iter_count(from) && !fatal_signal_pending(current)) {
		ret = emit_chunk(handle, from, stage, &done);
		cond_resched();
	}
	return ret && !done ? ret : sizeof(u32) + done;
}

static ssize_t emit_iter(struct user_event_handle *handle, struct iov_iter *from,
			 struct user_event_stage *stage, bool nowait)
{
	size_t count = iov_iter_count(from);
	u32 index;
	int ret;

	ret = copy_in(&index, sizeof(index), from, nowait);
	if (ret)
		return ret;
	if (index == USER_EVENT_WRITE_BATCH) {
		/* io_uring retries after a short write: never return one here. */
		return nowait ? -EAGAIN : emit_batch(handle, from, stage);
	}

	return emit(handle, index, count - sizeof(index), from, stage, nowait) ?: count;
}

/* Slow path: large records, batches, and unreadable buffers. */
static noinline ssize_t write_iter_fallback(struct user_event_handle *handle,
					    const char __user *ubuf, size_t count,
					    struct user_event_stage *stage)
{
	struct iov_iter iter;
	int ret;

	ret = import_ubuf(ITER_SOURCE, (char __user *)ubuf, count, &iter);
	return ret ?: emit_iter(handle, &iter, stage, false);
}

static ssize_t user_events_write(struct file *file, const char __user *ubuf,
				 size_t count, loff_t *ppos)
{
	struct user_event_stage stage __uninitialized;

	/* Only pwrite() has a position. */
	if (unlikely((ppos && *ppos) || count < sizeof(stage.index)))
		return -EFAULT;

	if (unlikely(!fits_stage(count) ||
		     !copy_short_from_user(&stage.index, ubuf, count) ||
		     stage.index == USER_EVENT_WRITE_BATCH))
		return write_iter_fallback(file->private_data, ubuf, count, &stage);

	return emit_staged(file->private_data, &stage, count);
}

static ssize_t user_events_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct user_event_handle *handle = iocb->ki_filp->private_data;
	struct user_event_stage stage __uninitialized;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT;
	size_t count = iov_iter_count(from);
	size_t copied;

	if (count < sizeof(stage.index))
		return -EFAULT;

	if (unlikely(nowait || !fits_stage(count)))
		return emit_iter(handle, from, &stage, nowait);

	copied = copy_from_iter(&stage.index, count, from);
	if (likely(copied == count && stage.index != USER_EVENT_WRITE_BATCH))
		return emit_staged(handle, &stage, count);

	iov_iter_revert(from, copied);
	return emit_iter(handle, from, &stage, false);
}

/*
 * Files: user_events_data.
 */

#define REG_FLAGS	(USER_EVENT_REG_PERSIST | USER_EVENT_REG_MULTI_FORMAT | \
			 USER_EVENT_REG_REPORT_LOSS)

/*
 * The argument of an ioctl that starts with its size, as the caller knows it: at
 * least @first, which the struct had in its first version.
 */
static int copy_sized_arg(void *arg, size_t size, size_t first, const void __user *uarg)
{
	u32 usize;

	if (get_user(usize, (const u32 __user *)uarg))
		return -EFAULT;
	if (usize < first)
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
	return 0;
}

/*
 * Registering the bit is the last step that can fail: nothing has to be undone. If
 * the program unmaps @uarg while it runs, put_user() of the index fails as it
 * would had the program done so right after the call.
 */
static long register_event(struct user_event_handle *handle, struct user_event *event,
			   const struct user_reg *reg, void __user *uarg)
{
	u32 __user *result = uarg + offsetof(struct user_reg, write_index);
	u32 index;
	int ret;

	/* Indexes are never released: check first that one can be stored. */
	if (put_user(reg->write_index, result))
		return -EFAULT;

	ret = handle_prepare_index(handle, event->call.event.type);
	if (ret)
		return ret;

	ret = register_enabler(event, reg);
	if (ret) {
		handle_cancel_index(handle);
		return ret;
	}
	index = handle_add_event(handle, event, reg->flags & USER_EVENT_REG_REPORT_LOSS);
	put_user(index, result);
	return 0;
}

static long ioctl_register(struct user_event_handle *handle, void __user *uarg)
{
	char *command __free(kfree) = NULL;
	struct user_event_key key;
	struct user_event *event;
	struct user_reg reg;
	long ret;

	ret = copy_sized_arg(&reg, sizeof(reg), offsetofend(struct user_reg, write_index), uarg);
	if (!ret)
		ret = check_reg(&reg);
	if (ret)
		return ret;

	reg.enable_addr = untagged_addr(reg.enable_addr);
	key.addr = reg.enable_addr;
	key.bit = reg.enable_bit;
	ret = check_bit_free(&key);
	if (ret)
		return ret;

	command = strndup_user(u64_to_user_ptr(reg.name_args), USER_EVENT_MAX_COMMAND);
	if (IS_ERR(command))
		return PTR_ERR(command);
	if (reg.flags & USER_EVENT_REG_PERSIST && !perfmon_capable())
		return -EPERM;

	/* Make it persistent only when all else has succeeded. */
	event = user_event_get(handle->group, command, reg.flags & ~USER_EVENT_REG_PERSIST);
	if (IS_ERR(event))
		return PTR_ERR(event);

	ret = register_event(handle, event, &reg, uarg);
	if (!ret && reg.flags & USER_EVENT_REG_PERSIST) {
		guard(mutex)(&event_mutex);
		user_event_persist(event);
	}
	user_event_put(event);
	return ret;
}

static long ioctl_delete(struct user_event_handle *handle, const char __user *uname)
{
	char *name __free(kfree) = strndup_user(uname, USER_EVENT_MAX_COMMAND);

	return IS_ERR(name) ? PTR_ERR(name) : user_event_delete(handle->group, name);
}

static long ioctl_unregister(const void __user *uarg)
{
	struct user_event_key key;
	struct user_unreg unreg;
	int ret;

	ret = copy_sized_arg(&unreg, sizeof(unreg), offsetofend(struct user_unreg, disable_addr),
			     uarg);
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
	struct user_event_handle *handle = file->private_data;

	switch (cmd) {
	case DIAG_IOCSREG:
		return ioctl_register(handle, (void __user *)arg);
	case DIAG_IOCSDEL:
		return ioctl_delete(handle, (const char __user *)arg);
	case DIAG_IOCSUNREG:
		return ioctl_unregister((const void __user *)arg);
	default:
		return -ENOTTY;
	}
}

#ifdef CONFIG_COMPAT

/* The numbers hold the size of a pointer, all else is as for 64 bits. */
static long user_events_compat_ioctl(struct file *file, unsigned int cmd,
				     unsigned long arg)
{
	const size_t size = sizeof(compat_uptr_t);

	if (_IOC_SIZE(cmd) != size)
		return -ENOTTY;
	cmd += (sizeof(void *) - size) << _IOC_SIZESHIFT;
	return user_events_ioctl(file, cmd, (unsigned long)compat_ptr(arg));
}

#endif /* CONFIG_COMPAT */

/*
 * Return: the pages of @handle, at least @nr of them, with a reference; -ENOMEM;
 * -EPERM where the user may lock no more memory.
 */
static struct user_event_pages *handle_get_pages(struct user_event_handle *handle,
						 unsigned int nr)
{
	struct user_event_pages *pages;
	unsigned int had;
	int ret;

	guard(mutex)(&handle->lock);

	pages = handle->pages;
	if (!pages) {
		pages = kzalloc(sizeof(*pages), GFP_KERNEL_ACCOUNT);
		if (!pages)
			return ERR_PTR(-ENOMEM);
		refcount_set(&pages->refs, 1);
		pages->group = handle->group;
		pages->user = get_uid(current_user());
		pages->bits = RB_ROOT;
		handle->pages = pages;
	}

	had = pages->nr;
	while (pages->nr < nr) {
		ret = pages_add(pages);
		if (ret) {
			pages_drop(pages, had);
			return ERR_PTR(ret);
		}
	}
	refcount_inc(&pages->refs);
	return pages;
}

/*
 * Map pages of enable words read-only, with no way to make them writable later.
 * The mapping keeps the pages, not this file.
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

	pages = handle_get_pages(file->private_data, nr);
	if (IS_ERR(pages))
		return PTR_ERR(pages);

	behind = anon_inode_getfile("[user_events]", &user_event_pages_fops, pages,
				    O_RDONLY);
	if (IS_ERR(behind)) {
		pages_put(pages);
		return PTR_ERR(behind);
	}
	refcount_inc(&pages->group->refs);

	/* VM_MAYWRITE stays: mprotect() is to answer EPERM. */
	vm_flags_mod(vma, VM_DONTEXPAND, VM_MAYEXEC);
	vma->vm_ops = &user_event_pages_vm_ops;
	vma_set_file(vma, behind);
	fput(behind);
	return 0;
}

static int user_events_open(struct inode *inode, struct file *file)
{
	struct user_event_handle *handle;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle)
		return -ENOMEM;

	handle->group = group_get(inode);
	if (!handle->group) {
		kfree(handle);
		return -ENODEV;
	}
	mutex_init(&handle->lock);
	xa_init(&handle->indexes);
	file->private_data = handle;

	/*
	 * A write has no position, changes no file that anybody could watch,
	 * and does not sleep if it must not. Threads that share the file do not
	 * share a position either.
	 */
	file->f_mode &= ~(FMODE_LSEEK | FMODE_ATOMIC_POS | FMODE_FSNOTIFY_MASK);
	file->f_mode |= FMODE_STREAM | FMODE_NOWAIT | FMODE_NONOTIFY;
	return 0;
}

static int user_events_release(struct inode *inode, struct file *file)
{
	struct user_event_handle *handle = file->private_data;
	struct user_event_table *table;
	unsigned int i;

	table = rcu_dereference_protected(handle->table, true);
	for (i = 0; table && i < table->nr; i++) {
		user_event_put(slot_event(table->slot[i]));
		cond_resched();
	}
	kvfree(table);
	xa_destroy(&handle->indexes);
	pages_put(handle->pages);
	group_put(handle->group);
	kfree(handle);
	return 0;
}

/* A lease would hold up whoever opens the file next, root among them. */
static int no_lease(struct file *file, int arg, struct file_lease **lease, void **priv)
{
	return -EINVAL;
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
	.setlease	= no_lease,
	.release	= user_events_release,
};

/*
 * Files: user_events_status, dynamic_events, sysctl.
 */

static void *status_start(struct seq_file *m, loff_t *pos)
{
	struct user_event_group *group = m->private;
	void *entry;

	mutex_lock(&event_mutex);
	/* Free orphans first, so that they are not listed. */
	put_orphans();
	entry = seq_list_start(&group->list, *pos);
	/* The list head stands for the totals, which come last, and once. */
	return entry || *pos == LLONG_MAX ? entry : &group->list;
}

static void *status_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct user_event_group *group = m->private;
	struct list_head *entry = v;

	*pos = entry == &group->list ? LLONG_MAX : *pos + 1;
	return entry == &group->list ? NULL : entry->next;
}

static void status_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&event_mutex);
}

static void show_losses(struct seq_file *m, const struct user_event *event)
{
	int consumer, reason;
	bool none = true;
	long count;

	for (consumer = 0; consumer < NR_CONSUMERS; consumer++) {
		bool first = true;

		for (reason = 0; reason < NR_LOSSES; reason++) {
			count = atomic_long_read(&event->losses[consumer][reason]);
			if (!count)
				continue;
			if (none)
				seq_puts(m, event->enabled ? " lost" : " # lost");
			if (first)
				seq_printf(m, " %s:", consumer_names[consumer]);
			else
				seq_putc(m, ',');
			seq_printf(m, "%s=%ld", loss_names[reason], count);
			none = false;
			first = false;
		}
	}
}

static void show_totals(struct seq_file *m, const struct user_event_group *group)
{
	struct user_event *event;
	unsigned int busy = 0;

	list_for_each_entry(event, &group->list, link)
		busy += event->enabled;
	seq_printf(m, "\nActive: %u\nBusy: %u\n", group->nr_events, busy);
}

static int status_show(struct seq_file *m, void *v)
{
	struct user_event *event = list_entry(v, struct user_event, link);
	struct user_event_group *group = m->private;

	if (v == &group->list) {
		show_totals(m, group);
		return 0;
	}

	seq_puts(m, event->tracepoint.name);
	if (event->enabled)
		seq_puts(m, " # Used by");
	if (!hlist_empty(&event->recorders))
		seq_puts(m, " ftrace");
	if (event->perf)
		seq_puts(m, " perf");
	if (event->losses)
		show_losses(m, event);
	seq_putc(m, '\n');
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
	struct user_event_group *group = group_get(inode);
	int ret;

	if (!group)
		return -ENODEV;

	ret = seq_open(file, &status_seq_ops);
	if (ret)
		group_put(group);
	else
		((struct seq_file *)file->private_data)->private = group;
	return ret;
}

static int status_release(struct inode *inode, struct file *file)
{
	/* The inode points there as long as the file is open. */
	group_put(inode->i_private);
	return seq_release(inode, file);
}

static const struct file_operations user_events_status_fops = {
	.open		= status_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.setlease	= no_lease,
	.release	= status_release,
};

static struct user_event_group user_event_init_group;

/* Groups by @single_system; changed under groups_mutex, read under RCU. */
static DEFINE_HASHTABLE(user_event_groups, 8);
static DEFINE_MUTEX(groups_mutex);

static u32 hash_system(const char *system)
{
	return jhash(system, strlen(system), 0);
}

/* The group whose single-format events have this system. */
static struct user_event_group *find_group(const char *system)
{
	struct user_event_group *group;

	hash_for_each_possible_rcu(user_event_groups, group, node, hash_system(system),
				   lockdep_is_held(&groups_mutex)) {
		if (!strcmp(group->single_system, system))
			return group;
	}
	return NULL;
}

/*
 * Cut "SYSTEM/" off *command; without a system it is the first group's. Return:
 * the group with a reference, -ENOENT if there is none, or -EINVAL for a system
 * that could not be a group's.
 */
static struct user_event_group *cut_group(const char **command)
{
	char system[sizeof_field(struct user_event_group, single_system)] = USER_EVENTS_SYSTEM;
	size_t len = strcspn(*command, USER_EVENT_SPACES ";/");
	struct user_event_group *group;

	if ((*command)[len] == '/') {
		if (!str_has_prefix(*command, USER_EVENTS_SYSTEM) || len >= sizeof(system))
			return ERR_PTR(-EINVAL);
		strscpy(system, *command, len + 1);
		*command += len + 1;
	}

	guard(rcu)();
	group = find_group(system);
	return group && refcount_inc_not_zero(&group->refs) ? group : ERR_PTR(-ENOENT);
}

static int dyn_create(const char *raw_command)
{
	struct user_event *event = ERR_PTR(-EINVAL);
	struct user_event_group *group;

	if (!str_has_prefix(raw_command, USER_EVENTS_PREFIX))
		return -ECANCELED;
	if (!perfmon_capable())
		return -EPERM;
	raw_command += strlen(USER_EVENTS_PREFIX);
	raw_command += strspn(raw_command, USER_EVENT_SPACES);
	group = cut_group(&raw_command);
	if (IS_ERR(group))
		return PTR_ERR(group);

	if (strlen(raw_command) < USER_EVENT_MAX_LISTED)
		event = user_event_get(group, raw_command, USER_EVENT_REG_PERSIST);
	if (!IS_ERR(event))
		user_event_put(event);
	group_put(group);
	return PTR_ERR_OR_ZERO(event);
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
	struct user_event *event = event_of_dyn(dyn_event);
	const struct user_event_format *format = event->format;

	seq_puts(m, USER_EVENTS_PREFIX);
	if (event->group != &user_event_init_group)
		seq_printf(m, "%s/", event->group->single_system);
	seq_puts(m, format->name);
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

	return user_event_may_delete(event) ?: user_event_delete_locked(event);
}

/* Does a delete command name the fields of the event? */
static bool args_match(const struct user_event_format *format, int argc, const char **argv)
{
	struct user_event_format *other __free(kfree) = NULL;
	char *command __free(kfree) = NULL;
	size_t size = strlen(format->name) + 1;
	struct seq_buf out;
	int i;

	for (i = 0; i < argc; i++)
		size += strlen(" ") + strlen(argv[i]);
	command = kmalloc(size, GFP_KERNEL);
	if (!command)
		return false;

	seq_buf_init(&out, command, size);
	seq_buf_puts(&out, format->name);
	for (i = 0; i < argc; i++)
		seq_buf_printf(&out, " %s", argv[i]);
	other = format_parse(command);
	return !IS_ERR(other) && formats_match(format, other);
}

/* Each system of a group, or none, stands for single- and multi-format events. */
static bool in_system(const struct user_event_group *group, const char *system)
{
	if (!system)
		return group == &user_event_init_group;
	return !strcmp(system, group->single_system) || !strcmp(system, group->multi_system);
}

static bool dyn_match(const char *system, const char *name, int argc,
		      const char **argv, struct dyn_event *dyn_event)
{
	struct user_event *event = event_of_dyn(dyn_event);

	if (!in_system(event->group, system))
		return false;
	if (strcmp(name, event->format->name) && strcmp(name, event->tracepoint.name))
		return false;
	if (argc)
		return args_match(event->format, argc, argv);

	/*
	 * A mere name may be meant for an event of another kind, a kprobe for
	 * example: it stands for no event of a program, nor for one with fields.
	 */
	return system || (event->persistent && !event->format->nr_fields);
}

static struct dyn_event_operations user_event_dyn_ops = {
	.create		= dyn_create,
	.show		= dyn_show,
	.is_busy	= dyn_is_busy,
	.free		= dyn_free,
	.match		= dyn_match,
};

/*
 * Groups: mkdir and rmdir in user_events_groups.
 *
 * A group is a name space of events and a directory of files by which it is opened.
 * It has a reference from
 *
 *   its directory     from mkdir to rmdir
 *   an open file      of its three, whoever has that by now
 *   a mapping         of user_events_data
 *   dynamic_events    while it creates an event
 *
 * but none from its events: rmdir, which frees the group or fails, looks at each
 * of them. Meanwhile somebody may open a file or begin to use an event:
 *
 *   open                                rmdir, event_mutex held
 *   ----                                -----------------------
 *   rcu_read_lock()                     is an event busy?         -EBUSY
 *   group = inode->i_private            refs: 1 -> 0, else        -EBUSY
 *   refs: n -> n + 1, but not 0 -> 1    delete the idle events
 *     else -ENODEV                      inode->i_private = NULL
 *   rcu_read_unlock()                   free after a grace period
 *
 * Tracers begin to use an event under event_mutex. Whoever registers it may find
 * it without, but has an open file, or is dynamic_events: rmdir sees that reference.
 * An inode may outlive the group, by O_PATH for example, and so has NULL then.
 *
 * groups_mutex serializes mkdir and rmdir, which tracefs calls without its locks.
 * They do not make or remove directories under event_mutex: that would have to wait
 * for whoever reads the directory, into memory that may never answer. Programs can
 * have root/ open: rmdir only tries its lock, else it is -EBUSY, and marks root/ dead,
 * so that nobody begins to read it after that.
 */

static int max_events_open(struct inode *inode, struct file *file)
{
	file->private_data = group_get(inode);
	return file->private_data ? 0 : -ENODEV;
}

static ssize_t max_events_read(struct file *file, char __user *ubuf, size_t count,
			       loff_t *ppos)
{
	struct user_event_group *group = file->private_data;
	char text[16];

	return simple_read_from_buffer(ubuf, count, ppos, text,
				       sprintf(text, "%u\n", READ_ONCE(group->max_events)));
}

static ssize_t max_events_write(struct file *file, const char __user *ubuf,
				size_t count, loff_t *ppos)
{
	struct user_event_group *group = file->private_data;
	unsigned int max;
	int ret;

	ret = kstrtouint_from_user(ubuf, count, 10, &max);
	if (ret)
		return ret;

	WRITE_ONCE(group->max_events, max);
	*ppos += count;
	return count;
}

static int max_events_release(struct inode *inode, struct file *file)
{
	group_put(file->private_data);
	return 0;
}

static const struct file_operations max_events_fops = {
	.open		= max_events_open,
	.read		= max_events_read,
	.write		= max_events_write,
	.llseek		= default_llseek,
	.release	= max_events_release,
};

static struct dentry *groups_dir;

/* "multi_NAME" is refused: it would have the system of multi-format events of NAME. */
static bool is_group_name(const char *name)
{
	size_t len = strlen(name);
	const char *c = name;

	while (isascii(*c) && (isalnum(*c) || *c == '_'))
		c++;
	if (*c || !len || len > USER_EVENT_GROUP_NAME)
		return false;
	return strcmp(name, "multi") && !str_has_prefix(name, "multi_");
}

static void class_init(struct trace_event_class *class, const char *system)
{
	class->system = system;
	class->reg = user_event_class_reg;
	class->get_fields = user_event_get_fields;
	class->released = put_orphans_later;
	class->fields_array = user_event_fields_array;
}

/* Make a group of this name, or the first one, of what is zeroed. */
static void group_init(struct user_event_group *group, const char *name)
{
	const char *line = name ? "_" : "";

	sprintf(group->single_system, USER_EVENTS_SYSTEM "%s%s", line, name ?: "");
	sprintf(group->multi_system, USER_EVENTS_MULTI_SYSTEM "%s%s", line, name ?: "");
	class_init(&group->single_class, group->single_system);
	class_init(&group->multi_class, group->multi_system);
	refcount_set(&group->refs, 1);
	group->max_events = name ? USER_EVENT_GROUP_EVENTS : UINT_MAX;
	group->seed = get_random_u32();
	group->dyn_ops = &user_event_dyn_ops;
	INIT_LIST_HEAD(&group->list);
}

/* Let the files open @to: @group, or nothing any more. */
static void group_show(struct user_event_group *group, void *to)
{
	int i;

	for (i = 0; i < NR_GROUP_FILES; i++) {
		/* Pairs with group_get(). */
		smp_store_release(&d_inode(group->file[i])->i_private, to);
	}
}

static int group_make_files(struct user_event_group *group, const char *name)
{
	struct dentry **file = group->file;
	int i;

	group->dir = tracefs_create_dir(name, groups_dir);
	if (!group->dir)
		return -ENOMEM;
	group->root = tracefs_create_dir("root", group->dir);
	if (!group->root)
		return -ENOMEM;

	file[GROUP_DATA] = tracefs_create_file("user_events_data", TRACE_MODE_WRITE,
					       group->root, NULL, &user_events_data_fops);
	file[GROUP_STATUS] = tracefs_create_file("user_events_status", TRACE_MODE_READ,
						 group->root, NULL,
						 &user_events_status_fops);
	file[GROUP_MAX_EVENTS] = tracefs_create_file("max_events", 0644, group->dir, NULL,
						     &max_events_fops);
	for (i = 0; i < NR_GROUP_FILES; i++) {
		if (!file[i])
			return -ENOMEM;
	}

	tracefs_keep_owner(group->root);
	tracefs_keep_owner(file[GROUP_DATA]);
	tracefs_keep_owner(file[GROUP_STATUS]);
	return 0;
}

static int group_mkdir(const char *name)
{
	struct user_event_group *group;
	int ret;

	if (!is_group_name(name))
		return -EINVAL;

	group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	if (!group)
		return -ENOMEM;
	group_init(group, name);

	guard(mutex)(&groups_mutex);
	ret = find_group(group->single_system) ? -EEXIST : group_make_files(group, name);
	if (ret) {
		tracefs_remove(group->dir);
		kfree(group);
		return ret;
	}
	hash_add_rcu(user_event_groups, &group->node, hash_system(group->single_system));
	group_show(group, group);
	return 0;
}

/* Drop the reference of the directory, if it is the last one. */
static int group_close(struct user_event_group *group)
{
	struct inode *root = d_inode(group->root);
	bool last;

	if (!inode_trylock(root))
		return -EBUSY;
	last = refcount_dec_if_one(&group->refs);
	if (last)
		root->i_flags |= S_DEAD;
	inode_unlock(root);
	return last ? 0 : -EBUSY;
}

/* Delete the events of @group if all are idle, and let nobody open it any more. */
static int group_retire(struct user_event_group *group)
{
	struct user_event *event, *next;
	int ret;

	guard(mutex)(&event_mutex);
	put_orphans();

	list_for_each_entry(event, &group->list, link) {
		if (user_event_busy(event))
			return -EBUSY;
	}
	ret = group_close(group);
	if (ret)
		return ret;

	list_for_each_entry_safe(event, next, &group->list, link)
		WARN_ON_ONCE(user_event_delete_locked(event));
	return 0;
}

static int group_rmdir(const char *name)
{
	char system[sizeof_field(struct user_event_group, single_system)];
	struct user_event_group *group;
	int ret;

	snprintf(system, sizeof(system), "%s_%s", USER_EVENTS_SYSTEM, name);

	guard(mutex)(&groups_mutex);
	group = find_group(system);
	if (!group)
		return -ENOENT;
	ret = group_retire(group);
	if (ret)
		return ret;

	hash_del_rcu(&group->node);
	group_show(group, NULL);
	tracefs_remove(group->dir);
	/* Wait for who prints a record, and found its event just before that retired. */
	down_write(&trace_event_sem);
	up_write(&trace_event_sem);
	kfree_rcu(group, rcu);
	return 0;
}

static struct ctl_table user_event_sysctls[] = {
	{
		.procname	= "user_events_max",
		.data		= &user_events_max,
		.maxlen		= sizeof(user_events_max),
		.mode		= 0644,
		.proc_handler	= proc_douintvec,
	},
};

/* If that fails what it has made stays: nothing can use it, nor is it made again. */
static int __init user_events_alloc(void)
{
	event_cache = KMEM_CACHE(user_event, SLAB_ACCOUNT | SLAB_PANIC);
	enabler_cache = KMEM_CACHE(user_event_enabler, SLAB_ACCOUNT | SLAB_PANIC);
	owner_cache = KMEM_CACHE(user_event_mm, SLAB_ACCOUNT | SLAB_PANIC);
	/* max_active 1: every item takes event_mutex. */
	user_event_wq = alloc_workqueue("user_events", WQ_UNBOUND, 1);
	user_event_fault_wq = alloc_workqueue("user_events_fault", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!user_event_wq || !user_event_fault_wq)
		return -ENOMEM;
	return rhashtable_init(&user_event_registry, &registry_params);
}

static int __init user_events_init(void)
{
	struct user_event_group *group = &user_event_init_group;
	int ret;

	/* Says so itself where tracing is locked down. */
	ret = tracing_init_dentry();
	if (ret)
		return ret;

	ret = user_events_alloc();
	if (ret) {
		pr_warn("user_events: not available, error %d\n", ret);
		return ret;
	}

	group_init(group, NULL);
	hash_add_rcu(user_event_groups, &group->node, hash_system(group->single_system));
	trace_create_file("user_events_data", TRACE_MODE_WRITE, NULL, group,
			  &user_events_data_fops);
	trace_create_file("user_events_status", TRACE_MODE_READ, NULL, group,
			  &user_events_status_fops);
	groups_dir = tracefs_create_instance_dir("user_events_groups", NULL, group_mkdir,
						 group_rmdir);
	register_sysctl_init("kernel", user_event_sysctls);
	return dyn_event_register(&user_event_dyn_ops);
}
fs_initcall(user_events_init);

#ifdef CONFIG_USER_EVENTS_KUNIT_TEST
#include "trace_events_user_test.c"
#endif
