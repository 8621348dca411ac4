/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Consumers of user events for tests that look at every byte: an ftrace
 * instance read through trace_pipe_raw, and perf events read from their ring.
 * A call returns 0, a count or a file descriptor; or a negative errno.
 */
#ifndef _USER_EVENTS_CONSUMER_H
#define _USER_EVENTS_CONSUMER_H

#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/perf_event.h>

#include "user_events_selftests.h"

/* As kernel headers have it. */
#ifndef __packed
#define __packed	__attribute((__packed__))
#endif

/* Bytes of common fields in front of the payload of every record. */
#define COMMON_SIZE	8

/* A record is padded by its consumer to less than this many bytes more. */
#define RECORD_ALIGN	8

/* More than any consumer takes. */
#define MAX_PAYLOAD	(160 * 1024)

/* One record as a consumer got it, valid until the next one is fetched. */
struct record {
	const unsigned char *data;	/* common fields, then the payload */
	size_t size;			/* with padding of the consumer */
};

static inline const unsigned char *record_payload(const struct record *rec)
{
	return rec->data + COMMON_SIZE;
}

static inline int record_type(const struct record *rec)
{
	uint16_t type;

	memcpy(&type, rec->data, sizeof(type));

	return type;
}

/* Whether @rec carries @payload, and nothing but padding behind it. */
static inline bool record_is(const struct record *rec, const void *payload,
			     size_t size)
{
	if (rec->size < COMMON_SIZE + size ||
	    rec->size >= COMMON_SIZE + size + RECORD_ALIGN)
		return false;

	return !memcmp(record_payload(rec), payload, size);
}

/* A CPU that the caller may run on, other than @cpu; negative: none. */
static inline int other_cpu(int cpu)
{
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	for (i = 0; i < CPU_SETSIZE; i++) {
		if (i == cpu)
			continue;
		CPU_SET(i, &set);
		if (!sched_setaffinity(0, sizeof(set), &set)) {
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			return sched_setaffinity(0, sizeof(set), &set) ?
				-errno : i;
		}
		CPU_CLR(i, &set);
	}

	return -ENODEV;
}

/* Runs the caller on one CPU, the one it is on if @cpu is negative. */
static inline int pin_cpu(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);

	return sched_setaffinity(0, sizeof(set), &set) ? -errno : cpu;
}

/* Number after @key in a text file of tracefs. */
static inline long long file_number(const char *file, const char *key)
{
	static char text[16384];
	char *pos;
	int ret;

	ret = ue_read(file, text, sizeof(text));
	if (ret < 0)
		return ret;

	pos = strstr(text, key);

	return pos ? strtoll(pos + strlen(key), NULL, 0) : -ENOENT;
}

/* Id of an event of the system user_events. */
static inline int event_id(const char *event)
{
	return file_number(ue_event_file(event, "id"), "");
}

/* Attribute of a field in the format file: "offset:" or "size:". */
static inline int event_field(const char *event, const char *field,
			      const char *key)
{
	static char text[16384];
	char needle[128];
	char *pos;
	int ret;

	ret = ue_read(ue_event_file(event, "format"), text, sizeof(text));
	if (ret < 0)
		return ret;

	snprintf(needle, sizeof(needle), " %s;\t", field);
	pos = strstr(text, needle);
	if (pos)
		pos = strstr(pos, key);

	return pos ? atoi(pos + strlen(key)) : -ENOENT;
}

/* Writes index and payload as an application does, with two segments. */
static inline ssize_t emit(int fd, int index, const void *payload, size_t size)
{
	struct iovec iov[] = {
		{ &index, sizeof(index) },
		{ (void *)payload, size },
	};
	ssize_t ret = writev(fd, iov, 2);

	return ret < 0 ? -errno : ret;
}

/*
 * ftrace: an instance of the test's own, read on one CPU. All zero is none.
 */
struct ft {
	char dir[128];		/* from the top of tracefs */
	int cpu;
	int fd;			/* its trace_pipe_raw, does not block */
	int data_offset;	/* of the records in a sub-buffer */
	int data_size;		/* most bytes of them */
	unsigned char *page;
	size_t len, pos;	/* bytes of records in @page, and those seen */
	bool missed;		/* the buffer ran over */
};

static inline const char *ft_path(const struct ft *ft, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", ft->dir, file);

	return path;
}

static inline const char *ft_event_path(const struct ft *ft, const char *event,
					const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/events/" USER_EVENTS_SYSTEM "/%s/%s",
		 ft->dir, event, file);

	return path;
}

static inline int ft_set(const struct ft *ft, const char *file,
			 const char *text)
{
	return ue_write(ft_path(ft, file), text);
}

static inline int ft_set_event(const struct ft *ft, const char *event,
			       const char *file, const char *text)
{
	return ue_write(ft_event_path(ft, event, file), text);
}

/* Triggers are appended: a file truncated loses those it has. */
static inline int ft_trigger(const struct ft *ft, const char *event,
			     const char *trigger)
{
	return ft_set_event(ft, event, "trigger", trigger);
}

static inline void ft_close_raw(struct ft *ft)
{
	if (ft->fd > 0)
		close(ft->fd);
	free(ft->page);
	ft->fd = 0;
	ft->page = NULL;
	ft->len = 0;
	ft->pos = 0;
}

/* Starts reading, with the sub-buffers as big as they are now. */
static inline int ft_open_raw(struct ft *ft)
{
	static char text[4096];
	char file[64];
	char *pos;
	int ret;

	ft_close_raw(ft);

	ret = ue_read(ft_path(ft, "events/header_page"), text, sizeof(text));
	if (ret < 0)
		return ret;

	pos = strstr(text, "char data;");
	if (!pos ||
	    sscanf(pos, "char data; offset:%d; size:%d;", &ft->data_offset,
		   &ft->data_size) != 2)
		return -ENOENT;

	ft->page = malloc(ft->data_offset + ft->data_size);
	if (!ft->page)
		return -ENOMEM;

	snprintf(file, sizeof(file), "per_cpu/cpu%d/trace_pipe_raw", ft->cpu);
	ft->fd = ue_open_file(ft_path(ft, file), O_RDONLY | O_NONBLOCK);

	return ft->fd < 0 ? ft->fd : 0;
}

/* Makes an instance and pins the caller to the CPU that is read. */
static inline int ft_create(struct ft *ft, const char *name)
{
	char path[256];

	memset(ft, 0, sizeof(*ft));
	ft->cpu = pin_cpu(-1);
	if (ft->cpu < 0)
		return ft->cpu;

	snprintf(ft->dir, sizeof(ft->dir), "instances/ue_%s_%d", name,
		 getpid());
	snprintf(path, sizeof(path), UE_TRACEFS "/%s", ft->dir);
	if (mkdir(path, 0700))
		return -errno;

	return ft_open_raw(ft);
}

static inline int ft_destroy(struct ft *ft)
{
	char path[256];

	if (!*ft->dir)
		return 0;

	ft_close_raw(ft);
	snprintf(path, sizeof(path), UE_TRACEFS "/%s", ft->dir);
	*ft->dir = '\0';

	return rmdir(path) ? -errno : 0;
}

static inline int ft_switch(const struct ft *ft, const char *event, int on)
{
	return ft_set_event(ft, event, "enable", on ? "1" : "0");
}

/* Largest payload that fits a sub-buffer, behind the longest event header. */
static inline size_t ft_max_payload(const struct ft *ft)
{
	return ft->data_size - 2 * sizeof(uint32_t) - COMMON_SIZE;
}

static inline int ft_fill_page(struct ft *ft)
{
	uint64_t commit;
	ssize_t ret;

	ret = read(ft->fd, ft->page, ft->data_offset + ft->data_size);
	if (ret < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (ret < ft->data_offset)
		return 0;

	/* Its size is that of a long of the kernel, its top bits are flags. */
	if (ft->data_offset == 16) {
		memcpy(&commit, ft->page + 8, 8);
	} else {
		uint32_t commit32;

		memcpy(&commit32, ft->page + 8, 4);
		commit = commit32;
	}
	if (commit & 0x80000000)
		ft->missed = true;

	ft->pos = 0;
	ft->len = commit & 0x3fffffff;

	return ft->len <= (size_t)ft->data_size ? 1 : -EBADMSG;
}

/* Fetches one record: 1, or 0 if there is none. */
static inline int ft_next(struct ft *ft, struct record *rec)
{
	for (;;) {
		const unsigned char *event;
		uint32_t head, len;
		unsigned int type;
		int ret;

		if (ft->pos >= ft->len) {
			ret = ft_fill_page(ft);
			if (ret <= 0)
				return ret;
			continue;
		}

		event = ft->page + ft->data_offset + ft->pos;
		memcpy(&head, event, sizeof(head));
		memcpy(&len, event + sizeof(head), sizeof(len));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		type = head & 31;
#else
		type = head >> 27;
#endif
		switch (type) {
		case 29:	/* padding, to the end if it has no time */
			if (head == type || head == type << 27) {
				ft->pos = ft->len;
				continue;
			}
			ft->pos += sizeof(head) + len;
			continue;
		case 30:	/* time stamps */
		case 31:
			ft->pos += 2 * sizeof(head);
			continue;
		case 0:		/* long record, its length includes @len */
			rec->data = event + 2 * sizeof(head);
			rec->size = len - sizeof(len);
			ft->pos += sizeof(head) + len;
			break;
		default:
			rec->data = event + sizeof(head);
			rec->size = 4 * type;
			ft->pos += sizeof(head) + rec->size;
		}

		return ft->pos <= ft->len ? 1 : -EBADMSG;
	}
}

/* Reads what is there: how many records, or a negative errno. */
static inline int ft_drain(struct ft *ft)
{
	struct record rec;
	int count = 0;
	int ret;

	while ((ret = ft_next(ft, &rec)) > 0)
		count++;

	return ret < 0 ? ret : count;
}

/* One record, and it is @payload: 1; none: 0; anything else: -EBADMSG. */
static inline int ft_got(struct ft *ft, const void *payload, size_t size)
{
	struct record rec;
	int ret = ft_next(ft, &rec);

	if (ret <= 0)
		return ret;
	if (!record_is(&rec, payload, size))
		return -EBADMSG;

	return ft_next(ft, &rec) ? -EBADMSG : 1;
}

/* Reads all text that trace_pipe has now. */
static inline int ft_text(const struct ft *ft, char *text, size_t size)
{
	int fd = ue_open_file(ft_path(ft, "trace_pipe"), O_RDONLY | O_NONBLOCK);
	size_t len = 0;
	ssize_t ret;

	if (fd < 0)
		return fd;

	do {
		ret = read(fd, text + len, size - 1 - len);
		if (ret < 0)
			ret = errno == EAGAIN ? 0 : -errno;
		len += ret > 0 ? ret : 0;
	} while (ret > 0 && len < size - 1);
	close(fd);
	text[len] = '\0';

	return ret < 0 ? ret : (int)len;
}

/*
 * perf: an event with its ring. All zero is none.
 */
struct pf {
	int fd;
	uint64_t sample_type;
	struct perf_event_mmap_page *meta;
	unsigned char *data;
	size_t size;			/* of @data, a power of two */
	size_t map_size;
	unsigned char copy[65536];	/* the ring's record, unwrapped */
	uint64_t lost;			/* by the records that say so */
};

static inline void pf_close(struct pf *pf)
{
	if (pf->meta)
		munmap(pf->meta, pf->map_size);
	if (pf->fd > 0)
		close(pf->fd);
	pf->meta = NULL;
	pf->fd = 0;
}

static inline struct perf_event_attr pf_attr(int id)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = id,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW,
	};

	return attr;
}

/* Opens an event, and maps a ring unless @pages, a power of two, is 0. */
static inline int pf_open_attr(struct pf *pf, struct perf_event_attr *attr,
			       pid_t pid, int cpu, unsigned int pages)
{
	size_t page = sysconf(_SC_PAGESIZE);
	int ret;

	memset(pf, 0, sizeof(*pf));
	pf->sample_type = attr->sample_type;
	pf->fd = syscall(__NR_perf_event_open, attr, pid, cpu, -1,
			 PERF_FLAG_FD_CLOEXEC);
	if (pf->fd < 0) {
		pf->fd = 0;
		return -errno;
	}
	if (!pages)
		return 0;

	pf->size = pages * page;
	pf->map_size = pf->size + page;

	/* A ring that is not writable is overwritten when it is full. */
	pf->meta = mmap(NULL, pf->map_size, attr->write_backward ? PROT_READ :
			PROT_READ | PROT_WRITE, MAP_SHARED, pf->fd, 0);
	if (pf->meta == MAP_FAILED) {
		ret = -errno;
		pf->meta = NULL;
		pf_close(pf);
		return ret;
	}
	pf->data = (unsigned char *)pf->meta + pf->meta->data_offset;

	return 0;
}

static inline int pf_open(struct pf *pf, int id, pid_t pid, int cpu,
			  unsigned int pages)
{
	struct perf_event_attr attr = pf_attr(id);

	return pf_open_attr(pf, &attr, pid, cpu, pages);
}

/* Pages of a ring of @kib KiB. */
static inline unsigned int pf_pages(unsigned int kib)
{
	unsigned int page = sysconf(_SC_PAGESIZE);

	return kib * 1024 > page ? kib * 1024 / page : 1;
}

static inline void pf_peek(const struct pf *pf, uint64_t pos, void *to,
			   size_t size)
{
	size_t start = pos & (pf->size - 1);
	size_t first = pf->size - start < size ? pf->size - start : size;

	memcpy(to, pf->data + start, first);
	memcpy((char *)to + first, pf->data, size - first);
}

/* Finds the raw part of the sample in pf->copy. */
static inline int pf_parse_sample(struct pf *pf, size_t len,
				  struct record *rec)
{
	static const uint64_t words = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP |
		PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR |
		PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU |
		PERF_SAMPLE_PERIOD;
	static const uint64_t behind = PERF_SAMPLE_REGS_USER |
		PERF_SAMPLE_STACK_USER;
	size_t pos = sizeof(struct perf_event_header);
	uint32_t size;

	if (pf->sample_type & ~(words | behind | PERF_SAMPLE_CALLCHAIN |
				PERF_SAMPLE_RAW))
		return -EOPNOTSUPP;

	pos += 8 * __builtin_popcountll(pf->sample_type & words);
	if (pf->sample_type & PERF_SAMPLE_CALLCHAIN) {
		uint64_t nr;

		memcpy(&nr, pf->copy + pos, sizeof(nr));
		if (nr > 1024)
			return -EBADMSG;
		pos += 8 + 8 * nr;
	}

	if (!(pf->sample_type & PERF_SAMPLE_RAW)) {
		rec->data = NULL;
		rec->size = 0;
		return pos == len ? 1 : -EBADMSG;
	}

	memcpy(&size, pf->copy + pos, sizeof(size));
	pos += sizeof(size);
	rec->data = pf->copy + pos;
	rec->size = size;
	pos += size;
	if (pf->sample_type & behind)
		return pos <= len ? 1 : -EBADMSG;

	return pos == len ? 1 : -EBADMSG;
}

/* A 32-bit program sees the halves of these one by one: the low ones will do. */
static inline uint64_t pf_head(struct pf *pf)
{
	return __atomic_load_n((unsigned long *)(void *)&pf->meta->data_head,
			       __ATOMIC_ACQUIRE);
}

static inline void pf_set_tail(struct pf *pf, uint64_t tail)
{
	__atomic_store_n((unsigned long *)(void *)&pf->meta->data_tail, tail,
			 __ATOMIC_RELEASE);
}

/* Fetches one sample: 1, or 0 if there is none. */
static inline int pf_next(struct pf *pf, struct record *rec)
{
	uint64_t head = pf_head(pf);
	uint64_t tail = pf->meta->data_tail;
	struct perf_event_header header;
	int ret = 0;

	while (!ret && tail != head) {
		pf_peek(pf, tail, &header, sizeof(header));
		if (header.size < sizeof(header) || header.size > head - tail)
			return -EBADMSG;

		pf_peek(pf, tail, pf->copy, header.size);
		tail += header.size;

		if (header.type == PERF_RECORD_SAMPLE) {
			ret = pf_parse_sample(pf, header.size, rec);
		} else if (header.type == PERF_RECORD_LOST) {
			uint64_t lost;

			memcpy(&lost, pf->copy + sizeof(header) + 8,
			       sizeof(lost));
			pf->lost += lost;
		}
	}
	pf_set_tail(pf, tail);

	return ret;
}

static inline int pf_drain(struct pf *pf)
{
	struct record rec;
	int count = 0;
	int ret;

	while ((ret = pf_next(pf, &rec)) > 0)
		count++;

	return ret < 0 ? ret : count;
}

/* One sample, and it is @payload: 1; none: 0; anything else: -EBADMSG. */
static inline int pf_got(struct pf *pf, const void *payload, size_t size)
{
	struct record rec;
	int ret = pf_next(pf, &rec);

	if (ret <= 0)
		return ret;
	if (!record_is(&rec, payload, size))
		return -EBADMSG;

	return pf_next(pf, &rec) ? -EBADMSG : 1;
}

/* What the event counted. */
static inline long long pf_count(const struct pf *pf)
{
	uint64_t count;
	ssize_t ret = read(pf->fd, &count, sizeof(count));

	if (ret < 0)
		return -errno;

	return ret == sizeof(count) ? (long long)count : -EIO;
}

/*
 * Loss counters: "EVENT # lost CONSUMER:REASON=N[,REASON=N]... ..."
 */
static inline long long event_lost(const char *event, const char *consumer,
				   const char *reason)
{
	char line[1024], needle[64];
	char *pos, *end;
	int ret;

	ret = ue_status(event, line, sizeof(line));
	if (ret < 0)
		return ret;

	pos = strstr(line, " lost ");
	if (!pos)
		return 0;

	snprintf(needle, sizeof(needle), " %s:", consumer);
	pos = strstr(pos, needle);
	if (!pos)
		return 0;

	pos += strlen(needle);
	end = pos + strcspn(pos, " ");
	*end = '\0';
	for (pos = strtok(pos, ","); pos; pos = strtok(NULL, ",")) {
		size_t len = strlen(reason);

		if (!strncmp(pos, reason, len) && pos[len] == '=')
			return strtoll(pos + len + 1, NULL, 10);
	}

	return 0;
}

/* Whether the status shows no loss of any kind. */
static inline bool event_lost_nothing(const char *event)
{
	char line[1024];

	return ue_status(event, line, sizeof(line)) >= 0 &&
	       !strstr(line, " lost ");
}

/* Payload that differs in every place and with every @seed. */
static inline void fill_pattern(void *buf, size_t size, unsigned int seed)
{
	unsigned char *pos = buf;
	size_t i;

	for (i = 0; i < size; i++)
		pos[i] = (i * 167 + (i >> 8) * 13 + seed * 29 + 1) & 0xff;
}

#endif /* _USER_EVENTS_CONSUMER_H */
