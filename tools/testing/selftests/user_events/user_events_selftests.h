/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of user events share: the files, the ioctls, tracefs text.
 * A call returns 0, a count or a file descriptor; or a negative errno.
 */
#ifndef _USER_EVENTS_SELFTESTS_H
#define _USER_EVENTS_SELFTESTS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/perf_event.h>
#include <linux/user_events.h>

#include "../kselftest_harness.h"

#define UE_TRACEFS	"/sys/kernel/tracing"
#define UE_DATA		UE_TRACEFS "/user_events_data"
#define UE_STATUS	UE_TRACEFS "/user_events_status"
#define UE_MAX		"/proc/sys/kernel/user_events_max"

/* Seconds for a test on an emulated machine with a debugging kernel. */
#define UE_TIMEOUT	600

#define UE_TEST_F(fixture, name) TEST_F_TIMEOUT(fixture, name, UE_TIMEOUT)

/* First thing in a FIXTURE_SETUP(): the one reason to skip a test. */
#define UE_REQUIRE() ue_require(_metadata)

static inline void ue_require(struct __test_metadata *_metadata)
{
	if (access(UE_DATA, F_OK))
		SKIP(_exit(0), "no " UE_DATA ", is tracefs mounted?");
}

/*
 * How many of @rounds a test of a race or the fuzzer goes through: all, or as
 * many percent of them as UE_ROUNDS in the environment says.
 */
static inline int ue_rounds(int rounds)
{
	const char *percent = getenv("UE_ROUNDS");
	int some = percent ? rounds * atoi(percent) / 100 : rounds;

	return some < 1 ? 1 : some;
}

static inline int ue_open(void)
{
	int fd = open(UE_DATA, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Registers with every argument; @index may be NULL. */
static inline int ue_reg_full(int fd, const char *args, unsigned int flags,
			      const void *word, int size, int bit,
			      int *index)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = bit,
		.enable_size = size,
		.flags = flags,
		.enable_addr = (uintptr_t)word,
		.name_args = (uintptr_t)args,
		.write_index = ~0U,
	};

	int ret = ioctl(fd, DIAG_IOCSREG, &reg) < 0 ? -errno : 0;

	if (index)
		*index = ret ? -1 : (int)reg.write_index;

	return ret;
}

/* Registers with a 4-byte enable word and no flags. */
static inline int ue_reg(int fd, const char *args,
			 const uint32_t *word, int bit, int *index)
{
	return ue_reg_full(fd, args, 0, word, sizeof(*word), bit, index);
}

static inline int ue_unreg(int fd, const void *word, int bit)
{
	struct user_unreg unreg = {
		.size = sizeof(unreg),
		.disable_bit = bit,
		.disable_addr = (uintptr_t)word,
	};

	return ioctl(fd, DIAG_IOCSUNREG, &unreg) < 0 ? -errno : 0;
}

static inline int ue_del(int fd, const char *name)
{
	return ioctl(fd, DIAG_IOCSDEL, name) < 0 ? -errno : 0;
}

/* Opens a file of tracefs, named from its top; "/..." is taken as it is. */
static inline int ue_open_file(const char *file, int flags)
{
	char path[1024 + 64];
	int fd;

	snprintf(path, sizeof(path), "%s%s",
		 *file == '/' ? "" : UE_TRACEFS "/", file);
	fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Reads a whole file as a string of less than @size bytes. */
static inline int ue_read(const char *file, char *buf, size_t size)
{
	int fd = ue_open_file(file, O_RDONLY);
	size_t len = 0;
	ssize_t ret;

	buf[0] = '\0';
	if (fd < 0)
		return fd;

	do {
		ret = read(fd, buf + len, size - 1 - len);
		if (ret < 0)
			ret = -errno;
		else
			len += ret;
	} while (ret > 0 && len < size - 1);

	close(fd);
	buf[len] = '\0';

	return ret < 0 ? ret : (int)len;
}

/* Writes a string in one call, without truncating the file. */
static inline int ue_write(const char *file, const char *text)
{
	int fd = ue_open_file(file, O_WRONLY);
	ssize_t ret;

	if (fd < 0)
		return fd;

	ret = write(fd, text, strlen(text));
	if (ret < 0)
		ret = -errno;
	else
		ret = ret == (ssize_t)strlen(text) ? 0 : -EIO;

	close(fd);

	return ret;
}

/* Path of a file of an event of the system user_events. */
static inline const char *ue_event_file(const char *event, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "events/" USER_EVENTS_SYSTEM "/%s/%s",
		 event, file);

	return path;
}

/* Switches an event on or off in the top ftrace instance. */
static inline int ue_switch(const char *event, int on)
{
	return ue_write(ue_event_file(event, "enable"), on ? "1" : "0");
}

static inline int ue_event_exists(const char *event)
{
	int fd = ue_open_file(ue_event_file(event, ""), O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return 0;

	close(fd);

	return 1;
}

/* Reads all of user_events_status; the caller frees it. NULL if it failed. */
static inline char *ue_status_text(void)
{
	size_t size = 4 << 20;
	char *text = malloc(size);

	if (text && ue_read(UE_STATUS, text, size) < 0) {
		free(text);
		text = NULL;
	}

	return text;
}

/*
 * Finds the status line of an event by its tracepoint name and copies it
 * without its newline. Returns its length, or -ENOENT.
 */
static inline int ue_status(const char *event, char *line, size_t size)
{
	char *text = ue_status_text(), *pos = text;
	size_t name_len = strlen(event);
	int ret = -ENOENT;

	line[0] = '\0';
	while (pos && *pos && *pos != '\n') {
		size_t len = strcspn(pos, "\n");

		if (!strncmp(pos, event, name_len) &&
		    (len == name_len || pos[name_len] == ' ')) {
			ret = snprintf(line, size, "%.*s", (int)len, pos);
			break;
		}
		pos += len + (pos[len] == '\n');
	}
	free(text);

	return ret;
}

/* Number after "Active:" or "Busy:" in the status. */
static inline int ue_status_number(const char *key)
{
	char *text = ue_status_text(), *pos = NULL;
	int ret = -ENOENT;

	if (text)
		pos = strstr(text, key);
	if (pos)
		ret = atoi(pos + strlen(key));
	free(text);

	return ret;
}

static inline int ue_active(void)
{
	return ue_status_number("\nActive:");
}

static inline int ue_busy(void)
{
	return ue_status_number("\nBusy:");
}

/* Attaches perf, counting for the calling thread, until the file is closed. */
static inline int ue_perf_open(const char *event)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	char id[32];
	int ret;

	ret = ue_read(ue_event_file(event, "id"), id, sizeof(id));
	if (ret < 0)
		return ret;

	attr.config = atoi(id);
	ret = syscall(__NR_perf_event_open, &attr, 0, -1, -1,
		      PERF_FLAG_FD_CLOEXEC);

	return ret < 0 ? -errno : ret;
}

/* Waits for a child: its exit status, or minus the signal that ended it. */
static inline int ue_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		return -errno;

	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/*
 * For the end of a test: detaches the top ftrace instance and deletes every
 * event. Returns how many events could not be deleted, because somebody still
 * refers to them.
 */
static inline int ue_sweep(void)
{
	int fd = ue_open();
	char *text, *pos;

	if (fd < 0)
		return fd;

	/* Neither directory has to be there. */
	ue_write("events/" USER_EVENTS_SYSTEM "/enable", "0");
	ue_write("events/" USER_EVENTS_MULTI_SYSTEM "/enable", "0");

	text = ue_status_text();
	pos = text;
	while (pos && *pos && *pos != '\n') {
		size_t len = strcspn(pos, "\n");
		char *end = pos + len + (pos[len] == '\n');
		char *id;

		pos[strcspn(pos, "\n ")] = '\0';
		id = strrchr(pos, '.');

		/* NAME.ID is deleted by its NAME, with all formats of it. */
		if (ue_del(fd, pos) == -ENOENT && id) {
			*id = '\0';
			ue_del(fd, pos);
		}
		pos = end;
	}
	free(text);
	close(fd);

	return ue_active();
}

#endif /* _USER_EVENTS_SELFTESTS_H */
