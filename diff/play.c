// SPDX-License-Identifier: GPL-2.0
/*
 * Play sessions, a step a line, and print what each step answered and what it
 * changed, so that the transcripts of two kernels can be compared. What is not
 * the same on every run (ids, process ids, times) is left out.
 *
 * A session is played by a process of its own, and nothing of it is left when
 * the next one starts. The base destroys events from workers: after each step
 * all sleep, which costs nothing where the clock counts instructions.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/perf_event.h>
#include <linux/user_events.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define TRACING		"/sys/kernel/tracing"
#define DATA		TRACING "/user_events_data"
#define MAX_EVENTS	"/proc/sys/kernel/user_events_max"

#define NR_FILES	6
#define FIRST_FD	100	/* so that numbers are what a step says */
#define NR_PERF		2
#define RING_PAGES	8
#define NR_WORDS	16
#define TEXT_SIZE	(256 * 1024)
#define LINE_SIZE	16384

/* Memory at places that are the same on each run. */
#define WORDS_AT	0x20000000UL
#define READ_ONLY_AT	0x20100000UL
#define HOLE_AT		0x20200000UL

/* Microseconds in which the base gets done what it leaves to workers. */
#define SETTLE		50000

static __u32 *words = (__u32 *)WORDS_AT;

/* What was last shown of each, NULL for not at all. */
static struct {
	char *status, *dynamic, *trace, *words;
} shown;

static struct {
	int fd;
	struct perf_event_mmap_page *page;
} perf[NR_PERF];

static char **lines;
static unsigned int nr_lines;

static noreturn void die(const char *what)
{
	fprintf(stderr, "error: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say_result(long ret)
{
	if (ret < 0)
		printf("= %s\n", strerrorname_np(errno) ?: "?");
	else
		printf("= %ld\n", ret);
}

/* Text as in a step: spaces stay, what cannot be printed is \xNN. */
static void say_escaped(const char *text, size_t len)
{
	for (; len--; text++) {
		unsigned char c = *text;

		if (c < ' ' || c > '~' || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

/* Returns the length; a NUL follows. */
static size_t unescape(char *text)
{
	char *to = text, *start = text;
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

	return to - start;
}

static const char *path_of(const char *file)
{
	static char path[8192];

	snprintf(path, sizeof(path), "%s%s", *file == '/' ? "" : TRACING "/",
		 file);

	return path;
}

/* Returns the text of a file, which the caller frees; NULL and errno. */
static char *read_file(const char *file)
{
	int fd = open(path_of(file), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char *text;
	size_t len = 0;
	ssize_t ret;

	if (fd < 0)
		return NULL;

	text = malloc(TEXT_SIZE);
	if (!text)
		die("malloc");
	do {
		ret = read(fd, text + len, TEXT_SIZE - 1 - len);
		if (ret > 0)
			len += ret;
	} while (ret > 0 && len < TEXT_SIZE - 1);
	text[len] = '\0';
	close(fd);
	if (ret < 0) {
		free(text);
		return NULL;
	}

	return text;
}

static long put_file(const char *file, const char *text, size_t len, int flags)
{
	int fd = open(path_of(file), O_WRONLY | O_CLOEXEC | flags);
	long ret;
	int error;

	if (fd < 0)
		return -1;

	ret = len ? write(fd, text, len) : 0;
	error = errno;
	close(fd);
	errno = error;

	return ret;
}

/* The suffix of a multi-format event is how many there were. */
static void hide_number(char *text, const char *in_front, const char *digits)
{
	char *pos = text, *end;

	while ((pos = strstr(pos, in_front))) {
		pos += strlen(in_front);
		end = pos + strspn(pos, digits);
		if (end == pos)
			continue;
		*pos++ = '#';
		memmove(pos, end, strlen(end) + 1);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char **)a, *(const char **)b);
}

/* In order: the files need not list events in any. */
static void sort_lines(char *text)
{
	char *copy = strdup(text), *line, *rest = copy, **list;
	size_t nr = 0, i;

	list = calloc(strlen(text) + 1, sizeof(*list));
	if (!copy || !list)
		die("malloc");
	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			list[nr++] = line;
	}
	qsort(list, nr, sizeof(*list), by_text);
	*text = '\0';
	for (i = 0; i < nr; i++)
		text += sprintf(text, "%s\n", list[i]);
	free(list);
	free(copy);
}

/* The lines of trace without what differs from run to run. */
static void strip_trace(char *text)
{
	char *line, *rest = text, *to = text, *at;

	while ((line = strsep(&rest, "\n"))) {
		/* A stack trace names functions of the kernel, which are its own. */
		if (!*line || *line == '#' || !strncmp(line, " => ", 4))
			continue;
		/* "  COMM-PID   [CPU] FLAGS SECONDS.MICROSECONDS: EVENT: ..." */
		at = strchr(line, ']');
		at = at ? strstr(at, ": ") : NULL;
		at = at ? at + 2 : line;
		memmove(to, at, strlen(at));
		to += strlen(at);
		*to++ = '\n';
	}
	*to = '\0';
	hide_number(text, "Unknown type ", "0123456789");
}

/* One line for each of @text, marked by @mark, if it is not what was @before. */
static void say_changed(char mark, char **before, char *text)
{
	char *line, *rest = text, *next;

	if (text && *before && !strcmp(text, *before)) {
		free(text);
		return;
	}
	free(*before);
	*before = text ? strdup(text) : NULL;
	for (line = rest; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		printf("%c ", mark);
		say_escaped(line, strlen(line));
		putchar('\n');
	}
	free(text);
}

static char *words_text(void)
{
	char *text = calloc(NR_WORDS, 16), *to = text;
	int i;

	if (!text)
		die("malloc");
	for (i = 0; i < NR_WORDS; i++) {
		if (words[i])
			to += sprintf(to, "%d=%x ", i, words[i]);
	}

	return text;
}

static void hide_ids(char *text)
{
	char *dot = text;

	/* NAME.ID at the end of a word */
	while ((dot = strchr(dot, '.'))) {
		size_t len = strspn(++dot, "0123456789abcdef");

		if (!len || !strchr("\n :", dot[len]))
			continue;
		*dot = '#';
		memmove(dot + 1, dot + len, strlen(dot + len) + 1);
	}
}

static void say_samples(int nr)
{
	struct perf_event_mmap_page *page = perf[nr].page;
	size_t size = RING_PAGES * sysconf(_SC_PAGESIZE);
	char *data = (char *)page + sysconf(_SC_PAGESIZE);
	__u64 tail, head;

	if (!page)
		return;

	head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
	for (tail = page->data_tail; tail != head; ) {
		struct perf_event_header header;
		char record[65536] = "";
		unsigned int i;

		for (i = 0; i < sizeof(header); i++)
			((char *)&header)[i] = data[(tail + i) % size];
		for (i = 0; i < header.size; i++)
			record[i] = data[(tail + i) % size];
		tail += header.size;
		printf("p %d: type %u size %u", nr, header.type, header.size);
		/* the raw data's size; its type and pid are left out */
		for (i = 8; header.type == PERF_RECORD_SAMPLE && i < header.size; i++) {
			if (i == 8 || i == 12 || i == 14 || i == 20)
				putchar(' ');
			if (i < 12 || i == 14 || i == 15 || i >= 20)
				printf("%02x", (unsigned char)record[i]);
		}
		putchar('\n');
	}
	__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
}

/* What a step changed. */
static void observe(void)
{
	char *text;
	int i;

	usleep(SETTLE);
	say_changed('w', &shown.words, words_text());
	text = read_file("user_events_status");
	if (text) {
		hide_ids(text);
		sort_lines(text);
	}
	say_changed('s', &shown.status, text);
	text = read_file("dynamic_events");
	say_changed('d', &shown.dynamic, text);
	text = read_file("trace");
	if (text) {
		strip_trace(text);
		hide_ids(text);
	}
	say_changed('t', &shown.trace, text);
	for (i = 0; i < NR_PERF; i++)
		say_samples(i);
}

/* The next word of a step; the whole rest is what *text is at last. */
static char *word(char **text)
{
	char *start = *text;

	*text += strcspn(*text, " ");
	if (**text)
		*(*text)++ = '\0';

	return start;
}

static long number(char **text)
{
	return strtoll(word(text), NULL, 0);
}

static int file_of(char **text)
{
	return FIRST_FD + number(text);
}

/* "w3" is a word, "w3+1" beside it, others are where no word can be. */
static __u64 address(const char *name)
{
	unsigned int nr, more = 0;

	if (sscanf(name, "w%u+%u", &nr, &more) >= 1)
		return WORDS_AT + 4 * nr + more;
	if (!strcmp(name, "readonly"))
		return READ_ONLY_AT;
	if (!strcmp(name, "hole"))
		return HOLE_AT;

	return strtoull(name, NULL, 0);
}

static void *string_of(char *text)
{
	unescape(text);

	return *text == '@' ? (void *)(uintptr_t)address(text + 1) : text;
}

static int open_flags(char *text)
{
	static const struct {
		const char *name;
		int flag;
	} known[] = {
		{ "rdonly", O_RDONLY }, { "wronly", O_WRONLY },
		{ "rdwr", O_RDWR }, { "append", O_APPEND },
		{ "nonblock", O_NONBLOCK }, { "path", O_PATH },
		{ "trunc", O_TRUNC }, { "direct", O_DIRECT },
		{ "creat", O_CREAT }, { "excl", O_EXCL }, { "sync", O_SYNC },
	};
	int flags = O_CLOEXEC;
	unsigned int i;
	char *name;

	while ((name = strsep(&text, "|"))) {
		for (i = 0; i < ARRAY_SIZE(known); i++) {
			if (!strcmp(name, known[i].name))
				flags |= known[i].flag;
		}
	}

	return flags;
}

/* A descriptor becomes that of a slot. */
static void take_slot(int slot, int fd)
{
	say_result(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	if (dup3(fd, slot, O_CLOEXEC) < 0)
		die("dup3");
	close(fd);
}

/* open SLOT FLAGS */
static void op_open(char *text)
{
	int slot = file_of(&text);

	take_slot(slot, open(DATA, open_flags(text), 0600));
}

/* reopen SLOT FROM FLAGS */
static void op_reopen(char *text)
{
	int slot = file_of(&text);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_of(&text));
	take_slot(slot, open(path, open_flags(text), 0600));
}

/* dup SLOT FROM */
static void op_dup(char *text)
{
	int slot = file_of(&text);

	take_slot(slot, dup(file_of(&text)));
}

/* close SLOT */
static void op_close(char *text)
{
	say_result(close(file_of(&text)));
}

/* A struct that may be larger than it is; '!' behind its size: not 0 there. */
static void *sized(void *buf, size_t have, char *size)
{
	__u32 value = strtoul(size, NULL, 0);

	memcpy(buf, &value, sizeof(value));
	if (strchr(size, '!'))
		((char *)buf)[have] = 1;

	return buf;
}

/* reg SLOT SIZE BIT WORD_SIZE FLAGS WORD COMMAND */
static void op_reg(char *text)
{
	int slot = file_of(&text);
	char buf[8192] = "", *size = word(&text);
	struct user_reg reg = { 0 };
	long ret;

	reg.enable_bit = number(&text);
	reg.enable_size = number(&text);
	reg.flags = number(&text);
	reg.enable_addr = address(word(&text));
	reg.name_args = (uintptr_t)string_of(text);
	reg.write_index = ~0U;
	memcpy(buf, &reg, sizeof(reg));
	ret = ioctl(slot, DIAG_IOCSREG, sized(buf, sizeof(reg), size));
	say_result(ret);
	memcpy(&reg, buf, sizeof(reg));
	if (!ret)
		printf("index %d\n", (int)reg.write_index);
}

/* unreg SLOT SIZE BIT RESERVED RESERVED2 WORD */
static void op_unreg(char *text)
{
	int slot = file_of(&text);
	char buf[8192] = "", *size = word(&text);
	struct user_unreg unreg = { 0 };

	unreg.disable_bit = number(&text);
	unreg.__reserved = number(&text);
	unreg.__reserved2 = number(&text);
	unreg.disable_addr = address(word(&text));
	memcpy(buf, &unreg, sizeof(unreg));
	say_result(ioctl(slot, DIAG_IOCSUNREG, sized(buf, sizeof(unreg), size)));
}

/* del SLOT NAME */
static void op_del(char *text)
{
	int slot = file_of(&text);

	say_result(ioctl(slot, DIAG_IOCSDEL, string_of(text)));
}

/* ioctl SLOT NUMBER ADDRESS */
static void op_ioctl(char *text)
{
	int slot = file_of(&text);
	unsigned long nr = number(&text);

	say_result(ioctl(slot, nr, address(text)));
}

/*
 * write SLOT HOW OFFSET FLAGS INDEX PAYLOAD: HOW is write, writev, pwrite or
 * pwritev; a payload is hexadecimal, "zN" N bytes of 0, or "@hole". An index
 * of "-" leaves it out.
 */
static void op_write(char *text)
{
	int slot = file_of(&text);
	char *how = word(&text);
	long long offset = number(&text);
	int flags = number(&text);
	char *index = word(&text);
	static char buf[70000];
	__u32 value = strtoul(index, NULL, 0);
	size_t len = 0;
	unsigned int c;
	struct iovec iov[3];
	long ret;

	memset(buf, 0, sizeof(buf));
	if (*index != '-') {
		memcpy(buf, &value, sizeof(value));
		len = sizeof(value);
	}
	if (*text == 'z') {
		len += strtoul(text + 1, NULL, 0) % 65536;
	} else {
		for (; sscanf(text, "%2x", &c) == 1; text += 2)
			buf[len++] = c;
	}
	iov[0] = (struct iovec){ buf, len < 4 ? len : 4 };
	iov[1] = (struct iovec){ buf + iov[0].iov_len, (len - iov[0].iov_len) / 2 };
	iov[2] = (struct iovec){ (char *)iov[1].iov_base + iov[1].iov_len,
				 len - iov[0].iov_len - iov[1].iov_len };
	if (*text == '@') {
		iov[1].iov_base = (void *)HOLE_AT;
		iov[1].iov_len = 8;
	}

	if (!strcmp(how, "write"))
		ret = write(slot, *text == '@' ? (void *)HOLE_AT : buf, len);
	else if (!strcmp(how, "pwrite"))
		ret = pwrite(slot, buf, len, offset);
	else if (!strcmp(how, "writev"))
		ret = writev(slot, iov, 3);
	else
		ret = pwritev2(slot, iov, 3, offset, flags);
	say_result(ret);
}

/* lseek SLOT OFFSET WHENCE */
static void op_lseek(char *text)
{
	int slot = file_of(&text);
	long long offset = number(&text);

	say_result(lseek(slot, offset, number(&text)));
}

/* read SLOT */
static void op_read(char *text)
{
	char buf[64];

	say_result(read(file_of(&text), buf, sizeof(buf)));
}

/* put FILE TEXT */
static void op_put(char *text)
{
	char *file = word(&text);
	size_t len = unescape(text);

	say_result(put_file(file, text, len, len ? 0 : O_TRUNC));
}

/* show FILE */
static void op_show(char *text)
{
	char *content, *none = NULL;

	unescape(text);
	content = read_file(text);
	say_result(content ? 0 : -1);
	if (!content)
		return;
	hide_number(content, "ID: ", "0123456789");
	hide_ids(content);
	say_changed('|', &none, content);
	free(none);
}

static void look_at(const char *dir, char *name)
{
	char path[4096];
	struct stat st;
	int ret;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ret = lstat(path, &st);
	hide_ids(name);
	if (ret)
		printf("| %s %s\n", name, strerrorname_np(errno));
	else
		printf("| %s %o %u:%u\n", name, st.st_mode, st.st_uid, st.st_gid);
}

/* look DIR: what is in a directory, whose, with what mode */
static void op_look(char *text)
{
	struct dirent **list;
	int i, nr;

	unescape(text);
	nr = scandir(path_of(text), &list, NULL, alphasort);
	say_result(nr);
	for (i = 0; i < nr; i++) {
		if (strcmp(list[i]->d_name, ".."))
			look_at(path_of(text), list[i]->d_name);
		free(list[i]);
	}
	if (nr >= 0)
		free(list);
}

/* mkdir DIR, rmdir DIR */
static void op_mkdir(char *text)
{
	say_result(mkdir(path_of(text), 0755));
}

static void op_rmdir(char *text)
{
	say_result(rmdir(path_of(text)));
}

static void perf_close(int nr)
{
	if (perf[nr].page)
		munmap(perf[nr].page, (RING_PAGES + 1) * sysconf(_SC_PAGESIZE));
	if (perf[nr].fd > 0)
		close(perf[nr].fd);
	perf[nr].page = NULL;
	perf[nr].fd = 0;
}

/* perf NR EVENT */
static void op_perf(char *text)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW,
	};
	int nr = number(&text);
	char file[1024], *id;
	void *page;
	int fd;

	snprintf(file, sizeof(file), "events/%s/id", text);
	id = read_file(file);
	if (!id) {
		say_result(-1);
		return;
	}
	attr.config = atoi(id);
	free(id);
	perf_close(nr);
	fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	say_result(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	page = mmap(NULL, (RING_PAGES + 1) * sysconf(_SC_PAGESIZE),
		    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	perf[nr].fd = fd;
	perf[nr].page = page == MAP_FAILED ? NULL : page;
}

/* unperf NR */
static void op_unperf(char *text)
{
	perf_close(number(&text));
	say_result(0);
}

/* word NR VALUE: what a program does to its own memory */
static void op_word(char *text)
{
	int nr = number(&text);

	words[nr] = number(&text);
	say_result(0);
}

/* uid NR */
static void op_uid(char *text)
{
	int id = number(&text);

	say_result(setresgid(id, id, id) ?: setresuid(id, id, id));
}

/* chown UID:GID MODE FILE */
static void op_chown(char *text)
{
	unsigned int uid, gid, mode;

	if (sscanf(word(&text), "%u:%u", &uid, &gid) != 2 ||
	    sscanf(word(&text), "%o", &mode) != 1)
		die("chown");
	say_result(chown(path_of(text), uid, gid) ?: chmod(path_of(text), mode));
}

/* remount OPTIONS */
static void op_remount(char *text)
{
	say_result(mount(NULL, TRACING, NULL, MS_REMOUNT, text));
}

/* exec: what becomes of the registrations */
static void op_exec(char *text)
{
	fflush(stdout);
	execl("/proc/self/exe", "play", "-x", NULL);
	say_result(-1);
}

/*
 * command HOW FLAGS COMMAND: a command string on a file of its own or, as "dyn",
 * by dynamic_events, and all that it makes appear.
 */
static void op_command(char *text)
{
	bool dynamic = !strcmp(word(&text), "dyn");
	struct user_reg reg = {
		.size = sizeof(reg), .enable_size = 4, .enable_addr = WORDS_AT,
	};
	struct user_unreg unreg = {
		.size = sizeof(unreg), .disable_addr = WORDS_AT,
	};
	char buf[LINE_SIZE], *list, *none = NULL;
	int fd = open(DATA, O_RDWR | O_CLOEXEC);
	long ret;

	reg.flags = number(&text);
	unescape(text);
	reg.name_args = (uintptr_t)text;
	if (dynamic) {
		snprintf(buf, sizeof(buf), "u:%s", text);
		ret = put_file("dynamic_events", buf, strlen(buf), 0);
		/* what counts is whether it was taken */
		say_result(ret < 0 ? ret : 0);
	} else {
		ret = ioctl(fd, DIAG_IOCSREG, &reg);
		say_result(ret);
	}
	if (ret < 0) {
		close(fd);
		return;
	}

	text[strcspn(text, "; \t\n\v\f\r")] = '\0';
	list = read_file("dynamic_events");
	say_changed('d', &none, list);
	snprintf(buf, sizeof(buf), "events/user_events/%s/format", text);
	list = reg.flags ? NULL : read_file(buf);
	if (list) {
		hide_number(list, "ID: ", "0123456789");
		say_changed('|', &none, list);
	}
	list = read_file("user_events_status");
	if (list) {
		hide_ids(list);
		sort_lines(list);
	}
	say_changed('s', &none, list);
	free(none);
	if (!dynamic)
		ioctl(fd, DIAG_IOCSUNREG, &unreg);
	close(fd);
	if (dynamic) {
		fd = open(DATA, O_RDWR | O_CLOEXEC);
		say_result(ioctl(fd, DIAG_IOCSDEL, text));
		close(fd);
	}
}

static unsigned int play(unsigned int at, const char *end);

static unsigned int skip_to(unsigned int at, const char *end)
{
	while (at < nr_lines && strcmp(lines[at], end))
		at++;

	return at < nr_lines ? at + 1 : at;
}

/* fork ... endfork: a child plays these steps */
static unsigned int play_in_child(unsigned int at)
{
	int status, nr;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		/* Rings are not inherited. */
		for (nr = 0; nr < NR_PERF; nr++)
			perf[nr].page = NULL;
		play(at, "endfork");
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("child ended by %#x\n", status);

	return skip_to(at, "endfork");
}

static void *thread_main(void *arg)
{
	play(*(unsigned int *)arg, "endthread");

	return NULL;
}

/* thread ... endthread: a thread plays these steps */
static unsigned int play_in_thread(unsigned int at)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, &at))
		die("pthread_create");
	pthread_join(thread, NULL);

	return skip_to(at, "endthread");
}

static const struct {
	const char *name;
	void (*run)(char *args);
} ops[] = {
	{ "open", op_open }, { "reopen", op_reopen }, { "dup", op_dup },
	{ "close", op_close }, { "reg", op_reg }, { "unreg", op_unreg },
	{ "del", op_del }, { "ioctl", op_ioctl }, { "write", op_write },
	{ "lseek", op_lseek }, { "read", op_read }, { "put", op_put },
	{ "show", op_show }, { "look", op_look }, { "mkdir", op_mkdir },
	{ "rmdir", op_rmdir }, { "perf", op_perf }, { "unperf", op_unperf },
	{ "word", op_word }, { "uid", op_uid }, { "chown", op_chown },
	{ "remount", op_remount }, { "exec", op_exec },
	{ "command", op_command },
};

static void play_step(const char *line)
{
	static __thread char copy[LINE_SIZE];
	char *args = copy, *name;
	unsigned int i;

	snprintf(copy, sizeof(copy), "%s", line);
	name = word(&args);
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(name, ops[i].name)) {
			ops[i].run(args);
			return;
		}
	}
	if (strcmp(name, "endfork") && strcmp(name, "endthread")) {
		fprintf(stderr, "error: no step \"%s\"\n", line);
		exit(2);
	}
}

/* Steps up to the line @end or the end of the session. Returns what follows. */
static unsigned int play(unsigned int at, const char *end)
{
	while (at < nr_lines && strcmp(lines[at], end)) {
		const char *line = lines[at++];

		printf("> %s\n", line);
		if (!strcmp(line, "fork"))
			at = play_in_child(at);
		else if (!strcmp(line, "thread"))
			at = play_in_thread(at);
		else
			play_step(line);
		if (strncmp(line, "command ", 8))
			observe();
	}

	return at + 1;
}

static void map_memory(void)
{
	size_t size = sysconf(_SC_PAGESIZE);

	if (mmap((void *)WORDS_AT, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap((void *)READ_ONLY_AT, size, PROT_READ, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
	memset(words, 0, size);
}

static bool none_active(void)
{
	char *text = read_file("user_events_status");
	bool none = text && strstr(text, "Active: 0\n");

	free(text);

	return none;
}

/* Deletes events by what the status lists. */
static void delete_events(void)
{
	char *text = read_file("user_events_status"), *line, *rest = text, *dot;
	int fd = open(DATA, O_RDWR | O_CLOEXEC);

	while ((line = strsep(&rest, "\n")) && *line) {
		line[strcspn(line, " ")] = '\0';
		dot = strrchr(line, '.');
		if (ioctl(fd, DIAG_IOCSDEL, line) && dot) {
			*dot = '\0';
			ioctl(fd, DIAG_IOCSDEL, line);
		}
	}
	free(text);
	close(fd);
}

/* Truncation takes those of histograms, all others go by what they say. */
static void clear_triggers(const char *file)
{
	char command[1024], *text, *line, *rest, *end;

	put_file(file, "", 0, O_TRUNC);
	text = read_file(file);
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		end = strstr(line, ":unlimited") ?: strstr(line, ":count=");
		if (*line == '#' || !end)
			continue;
		*end = '\0';
		snprintf(command, sizeof(command), "!%s", line);
		put_file(file, command, strlen(command), 0);
	}
	free(text);
}

static void clear_all_triggers(const char *dir)
{
	char file[1024];
	struct dirent *entry;
	DIR *list = opendir(path_of(dir));

	while (list && (entry = readdir(list))) {
		snprintf(file, sizeof(file), "%s/%s/trigger", dir, entry->d_name);
		clear_triggers(file);
	}
	if (list)
		closedir(list);
}

/* Those of other kinds first, as an eprobe keeps the event that it is for. */
static void delete_others(void)
{
	char *text = read_file("dynamic_events"), *line, *rest = text, *name;
	char command[1024];

	while ((line = strsep(&rest, "\n"))) {
		name = strchr(line, ':');
		if (*line == 'u' || !name)
			continue;
		snprintf(command, sizeof(command), "-%s%.*s",
			 *line == 's' ? ":synthetic/" : ":",
			 (int)strcspn(name + 1, " \t"), name + 1);
		put_file("dynamic_events", command, strlen(command), 0);
	}
	free(text);
}

/* As it was before the first session. */
static void clean_up(void)
{
	static const char * const settings[][2] = {
		{ "events/user_events/enable", "0" },
		{ "events/user_events_multi/enable", "0" },
		{ "events/kprobes/enable", "0" },
		{ "events/eprobes/enable", "0" },
		{ "events/synthetic/enable", "0" },
		{ "tracing_on", "1" }, { MAX_EVENTS, "32768" },
	};
	unsigned int i, tries;

	mount(NULL, TRACING, NULL, MS_REMOUNT, "gid=0,mode=700");
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		put_file(settings[i][0], settings[i][1], strlen(settings[i][1]), 0);
	rmdir(TRACING "/instances/one");
	delete_others();
	if (chown(DATA, 0, 0) || chmod(DATA, 0640) ||
	    chown(TRACING "/user_events_status", 0, 0) ||
	    chmod(TRACING "/user_events_status", 0440))
		die("cannot give the files back");
	for (tries = 0; tries < 100; tries++) {
		/* A list that is read while events go may have skipped some. */
		clear_all_triggers("events/user_events");
		clear_all_triggers("events/user_events_multi");
		put_file("dynamic_events", "", 0, O_TRUNC);
		if (none_active())
			break;
		delete_events();
		usleep(SETTLE);
	}
	if (!none_active()) {
		char *text = read_file("user_events_status");

		fprintf(stderr, "error: events are left:\n%s", text);
		exit(1);
	}
	put_file("trace", "", 0, O_TRUNC);
}

/*
 * A program has its first registration before it has threads and children: what
 * those have of each other's is one of the differences.
 */
static void register_first(void)
{
	static unsigned int word;
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_size = sizeof(word),
		.enable_addr = (uintptr_t)&word,
		.name_args = (uintptr_t)"first",
	};
	int fd = open(DATA, O_RDWR);

	if (fd < 0 || ioctl(fd, DIAG_IOCSREG, &reg))
		die("first registration");
	close(fd);
}

static void play_session(const char *name)
{
	int status;
	pid_t pid;

	printf("session %s\n", name);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		map_memory();
		if (strncmp(lines[0], "command ", 8))
			register_first();
		play(0, "");
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		printf("session ended by %#x\n", status);
	usleep(SETTLE);
	if (nr_lines > 1 || strncmp(lines[0], "command ioctl ", 14) || !none_active())
		clean_up();
}

int main(int argc, char **argv)
{
	static char line[LINE_SIZE];
	char name[128] = "";
	unsigned int room = 0;
	FILE *script;

	if (argc == 2 && !strcmp(argv[1], "-x"))
		return 0;
	script = argc == 2 ? fopen(argv[1], "r") : NULL;
	if (!script) {
		fprintf(stderr, "usage: play SESSIONS\n");
		return 2;
	}

	clean_up();
	while (fgets(line, sizeof(line), script)) {
		line[strcspn(line, "\n")] = '\0';
		if (*line == '#' || !*line)
			continue;
		if (strncmp(line, "session ", 8)) {
			if (nr_lines == room) {
				room = 2 * room + 64;
				lines = realloc(lines, room * sizeof(*lines));
			}
			lines[nr_lines++] = strdup(line);
			continue;
		}
		if (nr_lines)
			play_session(name);
		while (nr_lines)
			free(lines[--nr_lines]);
		snprintf(name, sizeof(name), "%.100s", line + 8);
	}
	if (nr_lines)
		play_session(name);
	printf("end\n");

	return 0;
}
