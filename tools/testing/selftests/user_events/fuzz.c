// SPDX-License-Identifier: GPL-2.0
/*
 * Drives the whole interface of user events with what a seed makes up: command
 * strings, and steps of processes that register, write, map, fork and end
 * while consumers come and go. Ends with 1 and what it takes to repeat it when
 * anything is not as it has to be. What the kernel reports of itself is in its
 * log.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <limits.h>
#include <time.h>

#include "fuzz.h"
#include "fuzz_commands.h"
#include "fuzz_steps.h"

static void usage(void)
{
	puts("run as: fuzz [-p] [-s SEED] [-c COMMANDS] [-n STEPS] [-f CORPUS]\n"
	     "        fuzz [-p] -r SEED,STEP,SEED [-n STEPS]\n"
	     "  -s  what everything else is made from (default: the time)\n"
	     "  -c  command strings to try (default 20000)\n"
	     "  -n  steps of the interface to do (default 5000)\n"
	     "  -f  strings to try first (default: fuzz_corpus.txt next to fuzz)\n"
	     "  -r  repeat a session\n"
	     "  -p  write set_event_pid as well, for which the kernel patches calls\n"
	     "      of the scheduler: some emulated CPUs do not stand that");
}

static const char *default_corpus(void)
{
	static char path[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	len = slash ? slash + 1 - path : 0;
	snprintf(path + len, sizeof(path) - len, "fuzz_corpus.txt");

	return path;
}

static void phase_took(const char *what, unsigned long count, time_t start)
{
	printf("# %lu %s in %ld s\n", count, what, (long)(time(NULL) - start));
}

int main(int argc, char **argv)
{
	unsigned long commands = 20000, count = 5000;
	struct origin repeat = { 0 };
	unsigned long long seed = time(NULL), then = 0;
	const char *corpus = default_corpus();
	struct coverage cov;
	time_t start;
	int option;

	while ((option = getopt(argc, argv, "s:c:n:f:r:pxh")) != -1) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			commands = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			count = strtoul(optarg, NULL, 0);
			break;
		case 'f':
			corpus = optarg;
			break;
		case 'r':
			if (sscanf(optarg, "%llu,%u,%llu", &seed, &repeat.turn,
				   &then) != 3) {
				usage();
				return 2;
			}
			repeat.seed = seed;
			repeat.then = then;
			break;
		case 'p':
			set_pids = true;
			break;
		case 'x':
			/* What children become by exec. */
			return 0;
		default:
			usage();
			return option == 'h' ? 0 : 2;
		}
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# seed %llu\n", seed);
	if (access(UE_DATA, F_OK)) {
		puts("# SKIP no " UE_DATA ", is tracefs mounted?");
		return KSFT_SKIP;
	}
	if (ue_active())
		fail("there are %d events already", ue_active());

	page_size = sysconf(_SC_PAGESIZE);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGALRM, on_alarm);
	if (coverage_init(&cov))
		fail("no memory");
	check_taint();

	if (repeat.seed) {
		run_session(&repeat, count < SESSION_STEPS ? count :
			    SESSION_STEPS, &cov);
		return 0;
	}

	start = time(NULL);
	fuzz_commands(seed, commands, corpus, &cov);
	phase_took("commands", commands, start);

	start = time(NULL);
	fuzz_steps(~seed, count, &cov);
	phase_took("steps", count, start);
	printf("# %u places of the kernel reached\n", *cov.count);

	return 0;
}
