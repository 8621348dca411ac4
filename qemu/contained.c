// SPDX-License-Identifier: GPL-2.0
/*
 * contained DIR COUNT MAX: a program in a container, with user_events_data and
 * user_events_status in DIR and at most MAX events. It tries to get at what is not
 * its own; then it registers the event of the sample with other fields, and says
 * and does what the sample does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/user_events.h>

#define NAME	"user_events_example"

static __u32 words[1 << 10];

static int register_event(int fd, const char *command, unsigned int bit, int flags,
			  __u32 *index)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_bit = bit % 32,
		.enable_size = sizeof(words[0]),
		.flags = flags,
		.enable_addr = (unsigned long)&words[bit / 32],
		.name_args = (unsigned long)command,
	};

	if (ioctl(fd, DIAG_IOCSREG, &reg))
		return -errno;
	*index = reg.write_index;
	return 0;
}

static void unregister_event(int fd, unsigned int bit)
{
	struct user_unreg unreg = {
		.size = sizeof(unreg),
		.disable_bit = bit % 32,
		.disable_addr = (unsigned long)&words[bit / 32],
	};

	ioctl(fd, DIAG_IOCSUNREG, &unreg);
}

static int failed;

static void expect(int condition, const char *what)
{
	printf("%s: %s\n", condition ? "in vain" : "ESCAPED", what);
	failed |= !condition;
}

static char *path(const char *dir, const char *file)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s/%s", dir, file);
	return text;
}

/* Only the two files are there, and neither lists what others have. */
static void look_around(const char *dir)
{
	static char text[1 << 16];
	int fd = open(path(dir, "user_events_status"), O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text) - 1);
	struct dirent *entry;
	DIR *files = opendir(dir);
	int others = 0;

	close(fd);
	expect(len > 0 && !strcmp(text, "\nActive: 0\nBusy: 0\n"), "see events of others");
	while (files && (entry = readdir(files)))
		others += entry->d_name[0] != '.' &&
			  strcmp(entry->d_name, "user_events_data") &&
			  strcmp(entry->d_name, "user_events_status");
	expect(files && !others, "find other files");
	expect(access(path(dir, "../max_events"), F_OK) &&
	       access(path(dir, "../../user_events_groups"), F_OK), "reach the group's limit");
	expect(mkdir(path(dir, "more"), 0700), "make a group");
	expect(unlink(path(dir, "user_events_data")) && rmdir(dir), "remove a file");
	if (!mkdir("/tmp/t", 0700) || errno == EEXIST)
		expect(mount("none", "/tmp/t", "tracefs", 0, NULL), "mount tracefs");
}

static void take(int fd, unsigned int max)
{
	char command[64];
	unsigned int nr;
	__u32 index;
	int ret;

	expect(ioctl(fd, DIAG_IOCSDEL, NAME) && errno == ENOENT, "delete an event of others");
	expect(register_event(fd, NAME "_kept", 0, USER_EVENT_REG_PERSIST, &index) == -EPERM,
	       "leave an event behind");
	for (nr = 0; nr < 8 * sizeof(words); nr++) {
		snprintf(command, sizeof(command), "all_%u", nr);
		ret = register_event(fd, command, nr, 0, &index);
		if (ret)
			break;
	}
	expect(ret == -EMFILE && nr == max, "use up all events");
	while (nr--)
		unregister_event(fd, nr);
}

int main(int argc, char **argv)
{
	unsigned long count, i;
	__u32 index;
	int fd;

	if (argc != 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	count = strtoul(argv[2], NULL, 0);

	look_around(argv[1]);
	fd = open(path(argv[1], "user_events_data"), O_RDWR);
	if (fd < 0) {
		perror("cannot open user_events_data");
		return 1;
	}
	take(fd, strtoul(argv[3], NULL, 0));
	close(fd);
	if (failed)
		return 1;

	fd = open(path(argv[1], "user_events_data"), O_RDWR);
	if (fd < 0 || register_event(fd, NAME " u64 number", 0, 0, &index)) {
		perror("cannot register the event");
		return 1;
	}
	for (;;) {
		printf("registered, waiting for a tracer\n");
		while (!__atomic_load_n(&words[0], __ATOMIC_RELAXED))
			usleep(10000);

		for (i = 0; i < count; i++) {
			__u64 number = i;
			struct iovec record[] = {
				{ &index, sizeof(index) },
				{ &number, sizeof(number) },
			};

			if (writev(fd, record, 2) < 0 && errno != EBADF) {
				perror("cannot write the event");
				return 1;
			}
		}

		printf("wrote %lu events, waiting for the tracer to leave\n", count);
		while (__atomic_load_n(&words[0], __ATOMIC_RELAXED))
			usleep(10000);
	}
}
