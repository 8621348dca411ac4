// SPDX-License-Identifier: GPL-2.0
/*
 * A little of the fuzzer, the same each time: the strings and steps that found
 * something, and some that a fixed seed makes up.
 */
#include <limits.h>

#include "user_events_selftests.h"

FIXTURE(fuzz) {
};

FIXTURE_SETUP(fuzz)
{
	UE_REQUIRE();
}

FIXTURE_TEARDOWN(fuzz)
{
}

/* Runs the fuzzer, which is next to this program. Returns as ue_wait(). */
static int run_fuzz(int commands, int steps)
{
	char command_count[16], step_count[16];
	char path[PATH_MAX] = "";
	pid_t pid;

	if (readlink("/proc/self/exe", path, PATH_MAX - 1) < 0)
		return -errno;
	/* NAME_test */
	*strrchr(path, '_') = '\0';
	snprintf(command_count, sizeof(command_count), "%d", commands);
	snprintf(step_count, sizeof(step_count), "%d", steps);

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		execl(path, path, "-s", "1", "-c", command_count, "-n", step_count,
		      NULL);
		_exit(127);
	}

	return ue_wait(pid);
}

UE_TEST_F(fuzz, commands)
{
	EXPECT_EQ(0, run_fuzz(ue_rounds(20000), 0));
}

UE_TEST_F(fuzz, steps)
{
	EXPECT_EQ(0, run_fuzz(0, ue_rounds(2000)));
}

TEST_HARNESS_MAIN
