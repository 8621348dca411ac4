/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test that is executed anew: there need not be any other program.
 */
#ifndef _USER_EVENTS_EXEC_H
#define _USER_EVENTS_EXEC_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A program that is executed here finds in its environment what to do. */
#define EXEC_ENV	"USER_EVENTS_TEST_EXEC"

/*
 * Says over a socket, whose number is in the environment, that the new
 * program runs, and ends when the other side is closed.
 */
static void __attribute__((constructor)) executed(void)
{
	const char *env = getenv(EXEC_ENV);
	char byte = 1;

	if (!env)
		return;

	if (write(atoi(env), &byte, 1) != 1)
		_exit(1);
	_exit(read(atoi(env), &byte, 1) ? 1 : 0);
}

/* Starts this program anew in place of the calling one; see above. */
static inline void exec_self(int sock)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", sock);
	clearenv();
	setenv(EXEC_ENV, number, 1);
	execl("/proc/self/exe", "executed", NULL);
}

#endif /* _USER_EVENTS_EXEC_H */
