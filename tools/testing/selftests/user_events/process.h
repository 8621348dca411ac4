/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory of a test, and processes that take turns over a socket.
 */
#ifndef _USER_EVENTS_PROCESS_H
#define _USER_EVENTS_PROCESS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static inline long page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline void *map_pages(int count)
{
	void *mem = mmap(NULL, count * page_size(), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static inline void wait_word(const uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_RELAXED) != value)
		usleep(100);
}

/* One byte to the other side, or from it: steps of two processes. */
static inline int tell(int sock)
{
	return write(sock, "", 1) == 1 ? 0 : -EPIPE;
}

static inline int hear(int sock)
{
	char byte;

	return read(sock, &byte, 1) == 1 ? 0 : -EPIPE;
}

#endif /* _USER_EVENTS_PROCESS_H */
