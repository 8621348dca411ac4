/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writes through io_uring by the raw system calls.
 */
#ifndef _USER_EVENTS_URING_H
#define _USER_EVENTS_URING_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/io_uring.h>

/* One io_uring, used for one request at a time. */
struct uring {
	int fd;
	struct io_uring_params params;
	unsigned char *rings;
	struct io_uring_sqe *sqe;
	size_t rings_size;
};

static inline int uring_open(struct uring *ring)
{
	struct io_uring_params *params = &ring->params;
	size_t sq_size, cq_size;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(__NR_io_uring_setup, 1, params);
	if (ring->fd < 0)
		return -errno;

	/* Both rings are in one mapping since Linux 5.4. */
	sq_size = params->sq_off.array + params->sq_entries * sizeof(__u32);
	cq_size = params->cq_off.cqes +
		  params->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings_size = sq_size > cq_size ? sq_size : cq_size;
	ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd,
			   IORING_OFF_SQ_RING);
	ring->sqe = mmap(NULL, sizeof(*ring->sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->sqe == MAP_FAILED)
		return -ENOMEM;

	return 0;
}

static inline void uring_close(struct uring *ring)
{
	munmap(ring->sqe, sizeof(*ring->sqe));
	munmap(ring->rings, ring->rings_size);
	close(ring->fd);
}

/* Submits one request and waits for its result. */
static inline int uring_do(struct uring *ring, const struct io_uring_sqe *sqe)
{
	struct io_uring_params *params = &ring->params;
	__u32 *tail = (void *)(ring->rings + params->sq_off.tail);
	__u32 *array = (void *)(ring->rings + params->sq_off.array);
	__u32 *cq_head = (void *)(ring->rings + params->cq_off.head);
	__u32 *cq_tail = (void *)(ring->rings + params->cq_off.tail);
	struct io_uring_cqe *cqes = (void *)(ring->rings + params->cq_off.cqes);
	__u32 head;
	int ret;

	*ring->sqe = *sqe;
	array[*tail & (params->sq_entries - 1)] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);

	ret = syscall(__NR_io_uring_enter, ring->fd, 1, 1,
		      IORING_ENTER_GETEVENTS, NULL, 0);
	if (ret < 0)
		return -errno;

	head = *cq_head;
	if (head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE))
		return -ETIME;

	ret = cqes[head & (params->cq_entries - 1)].res;
	__atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);

	return ret;
}

/* Sends @size bytes at @buf in one request. */
static inline ssize_t uring_send(int fd, const void *buf, size_t size,
				 int opcode, int flags)
{
	struct iovec iov = { (void *)buf, size };
	struct io_uring_sqe sqe = {
		.opcode = opcode,
		.flags = flags,
		.fd = fd,
		.addr = (uintptr_t)buf,
		.len = size,
	};
	struct uring ring;
	ssize_t ret;

	ret = uring_open(&ring);
	if (ret)
		return ret;

	if (opcode == IORING_OP_WRITEV) {
		sqe.addr = (uintptr_t)&iov;
		sqe.len = 1;
	} else if (opcode == IORING_OP_WRITE_FIXED) {
		if (syscall(__NR_io_uring_register, ring.fd,
			    IORING_REGISTER_BUFFERS, &iov, 1))
			ret = -errno;
	}
	if (!ret)
		ret = uring_do(&ring, &sqe);
	uring_close(&ring);

	return ret;
}

#endif /* _USER_EVENTS_URING_H */
