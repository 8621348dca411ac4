// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 where the host's programs do not run: runs the kselftests of the
 * initramfs, named in /tests/list, and reports like the kselftest runner.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char ports[] = "/sys/class/virtio-ports";
static const char data[] = "/sys/kernel/tracing/user_events_data";

static void mount_at(const char *type, const char *path)
{
	mkdir(path, 0755);
	if (mount(type, path, type, 0, NULL))
		perror(path);
}

/* Opens the virtio port of that name, or the console where there is none. */
static FILE *open_port(const char *wanted)
{
	char path[512], name[64];
	struct dirent *entry;
	FILE *file;
	DIR *dir;

	dir = opendir(ports);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s/name", ports, entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (!fgets(name, sizeof(name), file))
			name[0] = '\0';
		fclose(file);

		name[strcspn(name, "\n")] = '\0';
		if (strcmp(name, wanted))
			continue;

		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		closedir(dir);
		return fopen(path, "w");
	}
	if (dir)
		closedir(dir);

	return fopen("/dev/console", "w");
}

/* Returns the test's exit status, or -1 if it cannot be run. */
static int run(FILE *out, const char *test)
{
	char path[512], line[4096];
	int start = 1;
	int fds[2];
	int status;
	FILE *in;
	pid_t pid;

	if (pipe(fds))
		return -1;

	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		snprintf(path, sizeof(path), "/tests/%s", test);
		execl(path, path, NULL);
		_exit(127);
	}
	close(fds[1]);

	in = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), in)) {
		fprintf(out, "%s%s", start ? "# " : "", line);
		fflush(out);
		start = !!strchr(line, '\n');
	}
	fclose(in);

	/* Orphans of tests end up here as well. */
	while (waitpid(pid, &status, 0) != pid)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The kernel hands on what it is told of: "cpus=", of boot.sh. */
static int cpus_missing(FILE *out)
{
	const char *asked = getenv("cpus");
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (asked && atoi(asked) == cpus)
		return 0;
	fprintf(out, "error: the guest has %ld CPUs, not %s\n", cpus,
		asked ?: "what was asked for");
	return 1;
}

/* Without it every test is skipped. */
static int data_missing(FILE *out)
{
	if (!access(data, F_OK))
		return 0;
	fprintf(out, "error: there is no %s\n", data);
	return 1;
}

int main(void)
{
	char test[256];
	FILE *out, *list, *report;
	int number = 0;
	int failed;
	int status;

	mount_at("devtmpfs", "/dev");
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("tracefs", "/sys/kernel/tracing");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tmpfs", "/tmp");
	mount_at("tmpfs", "/dev/shm");

	out = open_port("out");
	list = fopen("/tests/list", "r");
	failed = !out || !list || cpus_missing(out) || data_missing(out);
	while (!failed && fgets(test, sizeof(test), list)) {
		test[strcspn(test, "\n")] = '\0';
		number++;

		fprintf(out, "# selftests: user_events: %s\n", test);
		fflush(out);

		status = run(out, test);
		if (!status || status == 4)
			fprintf(out, "ok %d selftests: user_events: %s%s\n", number,
				test, status ? " # SKIP" : "");
		else
			fprintf(out, "not ok %d selftests: user_events: %s # exit=%d\n",
				number, test, status);
		fflush(out);
	}

	report = open_port("status");
	if (report) {
		fprintf(report, "%d\n", failed);
		fclose(report);
	}
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}
