/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory of a test, and processes that take turns over a socket or pass files.
 */
#ifndef _USER_EVENTS_PROCESS_H
#define _USER_EVENTS_PROCESS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
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

/* After a fork: where the page is still that of both, the word follows a bit later. */
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

/* A message of one byte that carries a descriptor. */
struct fd_message {
	struct msghdr msg;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
};

static inline struct msghdr *fd_message(struct fd_message *message)
{
	memset(message, 0, sizeof(*message));
	message->iov.iov_base = &message->byte;
	message->iov.iov_len = 1;
	message->msg.msg_iov = &message->iov;
	message->msg.msg_iovlen = 1;
	message->msg.msg_control = &message->control;
	message->msg.msg_controllen = sizeof(message->control);

	return &message->msg;
}

/* Passes a descriptor over a socket. */
static inline int send_fd(int sock, int fd)
{
	struct fd_message message;
	struct msghdr *msg = fd_message(&message);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));

	return sendmsg(sock, msg, 0) == 1 ? 0 : -errno;
}

/* The descriptor that the other side passes. */
static inline int receive_fd(int sock)
{
	struct fd_message message;
	struct msghdr *msg = fd_message(&message);
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, msg, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EPIPE;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));

	return fd;
}

#endif /* _USER_EVENTS_PROCESS_H */
