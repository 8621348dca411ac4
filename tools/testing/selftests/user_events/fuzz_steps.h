/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface as a whole, in sessions: a process does steps at random, with
 * threads and children that do so as well, and then ends as it is. Nothing of
 * it may be left.
 *
 * While there are neither, what happens to the memory is known: then every bit
 * is compared with what it has to be.
 */
#ifndef _USER_EVENTS_FUZZ_STEPS_H
#define _USER_EVENTS_FUZZ_STEPS_H

#include "fuzz.h"
#include "groups.h"
#include "uring.h"

#define NR_FILES	6
#define NR_AREAS	8
#define NR_SLOTS	16		/* places for words in an area */
#define NR_NAMES	30
#define NR_INDEXES	64
#define NR_BITS		256
#define NR_PERF		6
#define NR_CHILDREN	3
#define NR_THREADS	2
#define SESSION_STEPS	2000
#define PAYLOAD_ROOM	(160 * 1024)

/* Descriptors that stay what they are, whatever threads do meanwhile. */
#define FIRST_FD	100

/* Where nothing else is mapped, on any architecture. */
#define AREAS_AT	0x20000000UL

enum area_kind {
	ANONYMOUS, SHARED, SHARED_FILE, PRIVATE_FILE, KERNEL_PAGE,
	READ_ONLY, NO_ACCESS, HOLE, NR_KINDS,
};

struct area {
	enum area_kind kind;
	bool known;		/* nothing but our bits changes it */
	unsigned int generation;
	uint64_t pattern;
	uint64_t touched[NR_SLOTS];
};

/* A bit that is registered. */
struct bit {
	uintptr_t addr;		/* 0: none */
	int nr, size;
	int area;
	unsigned int generation;
	int name;		/* negative: multi-format, or of another group */
};

struct index {
	int file, index, format;
};

struct format {
	const char *fields;
	int size;
	int data_loc, rel_loc;	/* offset of such a field, or -1 */
};

static const struct format formats[] = {
	{ "", 0, -1, -1 },
	{ " u32 a", 4, -1, -1 },
	{ " u64 a; s8 b", 9, -1, -1 },
	{ " char[16] s;", 16, -1, -1 },
	{ " __data_loc char[] s", 4, 0, -1 },
	{ " __rel_loc char[] s; u32 a", 8, -1, 0 },
	{ " struct t x 40; u16 b", 42, -1, -1 },
	{ " __data_loc u8[] d; __rel_loc unsigned char[] e; int z", 12, 0, 4 },
	{ " char[1024] s", 1024, -1, -1 },
	{ "  u8 a ;u8 b ; ", 2, -1, -1 },
};

/* Where a session takes its numbers from: another seed from a step on. */
struct origin {
	uint64_t seed;
	unsigned int turn;
	uint64_t then;
};

/* What a process, or a thread of it, knows. */
struct fuzz {
	struct rng rng;
	int depth;		/* of forks */
	bool alone;		/* no thread registers as well */
	bool exact;		/* alone, and no process shares the memory */
	bool crowd;		/* threads and forks may be made */
	bool is_thread;
	char *payload;
	struct area area[NR_AREAS];
	struct bit bit[NR_BITS];
	bool in_group[NR_FILES];	/* not in the first */
	struct index index[NR_INDEXES];
	unsigned int nr_indexes;
	int perf[NR_PERF];
	pid_t child[NR_CHILDREN];
	unsigned int nr_threads;
	int prog;
};

static size_t page_size;

static char *area_start(int area)
{
	return (char *)AREAS_AT + area * 4 * page_size;
}

static char *slot_at(int area, int slot)
{
	size_t offset = 8 * slot;

	/* Half of them at the end of the second page. */
	if (slot >= NR_SLOTS / 2)
		offset = 2 * page_size - 8 * (NR_SLOTS - slot);

	return area_start(area) + offset;
}

static bool is_writable(enum area_kind kind)
{
	return kind <= PRIVATE_FILE;
}

static int data_fd(struct fuzz *f)
{
	return FIRST_FD + below(&f->rng, NR_FILES);
}

static const char *event_path(struct fuzz *f, const char *file)
{
	static __thread char path[160];
	static const char * const tops[] = {
		"", "", "", "", "", "", "instances/fz0/", "instances/fz1/",
	};
	static const char * const groups[] = {
		"", "", "", "", "", "", "_fz0", "_fz1",
	};
	const char *group = groups[below(&f->rng, ARRAY_SIZE(groups))];

	if (one_in(&f->rng, 12))
		snprintf(path, sizeof(path), "%sevents/user_events%s%s/enable",
			 tops[below(&f->rng, ARRAY_SIZE(tops))],
			 one_in(&f->rng, 2) ? "_multi" : "", group);
	else
		snprintf(path, sizeof(path), "%sevents/user_events%s/fz%u/%s",
			 tops[below(&f->rng, ARRAY_SIZE(tops))], group,
			 below(&f->rng, NR_NAMES), file);

	return path;
}

/* Opens again what a number stands for, and forgets what was known of it. */
static void reopen_file(struct fuzz *f, int nr)
{
	int fd = -ENOENT;
	unsigned int i;

	if (one_in(&f->rng, 4)) {
		fd = group_open(one_in(&f->rng, 2) ? "fz0" : "fz1");
		EXPECT_ERRNO("open in a group", fd, EACCES, ENOENT, ENODEV);
	}
	f->in_group[nr] = fd >= 0;
	if (fd < 0)
		fd = ue_open();
	if (fd == -EACCES)
		return;
	EXPECT_ERRNO("open", fd, 0);
	if (dup3(fd, FIRST_FD + nr, O_CLOEXEC) < 0)
		fail("dup: %s", strerror(errno));
	close(fd);

	for (i = 0; i < NR_INDEXES; i++) {
		if (f->index[i].file == nr)
			f->index[i].file = -1;
	}
}

static void op_reopen(struct fuzz *f)
{
	reopen_file(f, below(&f->rng, NR_FILES));
}

/* Maps pages of enable words of a file of its own, or of one that is used. */
static void map_kernel_page(struct fuzz *f, int nr)
{
	struct area *area = &f->area[nr];
	bool own = !one_in(&f->rng, 4);
	int fd = own ? ue_open() : data_fd(f);
	void *at = area_start(nr);
	size_t size = 2 * page_size;

	if (fd == -EACCES)
		return;
	if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
	    MAP_FAILED || errno != EPERM)
		fail("a page of enable words may be written: %d", errno);
	if (mmap(NULL, 17 * page_size, PROT_READ, MAP_SHARED, fd, 0) !=
	    MAP_FAILED || errno != EINVAL)
		fail("more pages of enable words than allowed: %d", errno);
	if (mmap(at, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != at)
		fail("mmap of enable words: %s", strerror(errno));
	if (!mprotect(at, size, PROT_READ | PROT_WRITE) || errno != EPERM)
		fail("mprotect of enable words: %d", errno);
	if (own)
		close(fd);

	area->known = own;
	area->pattern = 0;
}

static void map_memory(struct fuzz *f, int nr, enum area_kind kind)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE, fd = -1, slot;
	struct area *area = &f->area[nr];
	void *at = area_start(nr);
	size_t size = 2 * page_size;

	if (kind == READ_ONLY)
		prot = PROT_READ;
	if (kind == NO_ACCESS)
		prot = PROT_NONE;
	if (kind == SHARED || kind == SHARED_FILE)
		flags = MAP_SHARED;
	if (kind == SHARED_FILE || kind == PRIVATE_FILE) {
		fd = syscall(__NR_memfd_create, "fuzz", 1);
		if (fd < 0 || ftruncate(fd, size))
			fail("memfd: %s", strerror(errno));
	} else {
		flags |= MAP_ANONYMOUS;
	}
	if (mmap(at, size, prot, flags | MAP_FIXED, fd, 0) != at)
		fail("mmap: %s", strerror(errno));
	if (fd >= 0)
		close(fd);

	/* Without a pattern the pages are not there. */
	area->known = true;
	area->pattern = 0;
	if (!is_writable(kind) || one_in(&f->rng, 3))
		return;

	area->pattern = rng_next(&f->rng);
	for (slot = 0; slot < NR_SLOTS; slot++)
		memcpy(slot_at(nr, slot), &area->pattern, 8);
}

/* A bit of a word of 4 or 8 bytes as bit of the 8 bytes around it. */
static uint64_t bit_in_slot(uintptr_t addr, int size, int nr)
{
	uint64_t mask = 1ULL << nr;
	uint32_t half = mask;

	if (size == 8)
		return mask;
	mask = 0;
	memcpy((char *)&mask + addr % 8, &half, sizeof(half));

	return mask;
}

/* From now on this bit is ours. */
static void touch(struct fuzz *f, int area, uintptr_t addr, int size, int bit)
{
	size_t offset = addr - (uintptr_t)area_start(area);
	size_t slot = offset / 8;

	if (slot >= NR_SLOTS / 2)
		slot = NR_SLOTS - (2 * page_size - offset + 7) / 8;
	f->area[area].touched[slot] |= bit_in_slot(addr, size, bit);
}

static void map_area(struct fuzz *f, int nr, enum area_kind kind)
{
	struct area *area = &f->area[nr];
	struct bit *bit;

	area->kind = kind;
	area->generation++;
	memset(area->touched, 0, sizeof(area->touched));
	/* They are still registered, and follow the next toggle. */
	for (bit = f->bit; bit < f->bit + NR_BITS; bit++) {
		if (bit->addr && bit->area == nr)
			touch(f, nr, bit->addr, bit->size, bit->nr);
	}
	if (kind == HOLE)
		munmap(area_start(nr), 2 * page_size);
	else if (kind == KERNEL_PAGE)
		map_kernel_page(f, nr);
	else
		map_memory(f, nr, kind);
}

static void op_map(struct fuzz *f)
{
	int nr = below(&f->rng, NR_AREAS);

	map_area(f, nr, one_in(&f->rng, 2) ? below(&f->rng, NR_KINDS) :
		 below(&f->rng, KERNEL_PAGE + 1));
}

/* Pages go, or change their rights, below words that are registered. */
static void op_advise(struct fuzz *f)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
		MADV_NORMAL, MADV_SEQUENTIAL,
	};
	int nr = below(&f->rng, NR_AREAS);
	struct area *area = &f->area[nr];
	int advice = advices[below(&f->rng, ARRAY_SIZE(advices))];
	char *at = area_start(nr) + below(&f->rng, 2) * page_size;

	if (area->kind == HOLE)
		return;

	if (one_in(&f->rng, 3) && is_writable(area->kind)) {
		mprotect(area_start(nr), 2 * page_size,
			 one_in(&f->rng, 2) ? PROT_READ : PROT_NONE);
		area->kind = NO_ACCESS;
		area->generation++;
		return;
	}

	madvise(at, page_size, advice);
	/* The words are lost with the pages, until the next toggle. */
	if (advice == MADV_DONTNEED && area->kind != KERNEL_PAGE) {
		area->generation++;
		area->known = false;
	}
}

static struct bit *find_bit(struct fuzz *f, uintptr_t addr, int nr)
{
	struct bit *bit;

	for (bit = f->bit; bit < f->bit + NR_BITS; bit++) {
		if (bit->addr == addr && (!addr || bit->nr == nr))
			return bit;
	}

	return NULL;
}

static void make_reg(struct fuzz *f, struct user_reg *reg, int area, int slot)
{
	static const unsigned int flags[] = {
		0, 0, 0, 0, USER_EVENT_REG_MULTI_FORMAT,
		USER_EVENT_REG_REPORT_LOSS, USER_EVENT_REG_PERSIST,
		USER_EVENT_REG_PERSIST | USER_EVENT_REG_MULTI_FORMAT,
	};

	memset(reg, 0, sizeof(*reg));
	reg->size = sizeof(*reg);
	reg->enable_size = one_in(&f->rng, 3) ? sizeof(long) : 4;
	reg->enable_bit = below(&f->rng, 8 * reg->enable_size);
	reg->flags = flags[below(&f->rng, ARRAY_SIZE(flags))];
	reg->enable_addr = (uintptr_t)slot_at(area, slot);
	if (reg->enable_size == 4 && one_in(&f->rng, 2))
		reg->enable_addr += 4;
}

static void spoil_reg(struct fuzz *f, struct user_reg *reg)
{
	static const unsigned int sizes[] = { 0, 4, 27, 29, 64, 4096, 4097, ~0 };
	static const uint64_t addrs[] = {
		0, 1, 4096, 0x7ffffffffffcULL, 0x7ffffffff000ULL, 0xfffffffc,
		0x800000000000ULL, 0xffff888000000000ULL, ~7ULL, ~0ULL,
	};

	switch (below(&f->rng, 6)) {
	case 0:
		reg->size = sizes[below(&f->rng, ARRAY_SIZE(sizes))];
		break;
	case 1:
		reg->enable_bit = 32 + below(&f->rng, 224);
		break;
	case 2:
		reg->enable_size = below(&f->rng, 256);
		break;
	case 3:
		reg->flags = rng_next(&f->rng);
		break;
	case 4:
		reg->enable_addr = addrs[below(&f->rng, ARRAY_SIZE(addrs))];
		break;
	default:
		reg->name_args = addrs[below(&f->rng, ARRAY_SIZE(addrs))];
	}
}

/* A bit of a long word and one of its half may be the same: either event's. */
static void disown_same(struct fuzz *f, struct bit *new)
{
	uint64_t mask = bit_in_slot(new->addr, new->size, new->nr);
	struct bit *bit;

	for (bit = f->bit; bit < f->bit + NR_BITS; bit++) {
		if (bit == new || !bit->addr || bit->addr / 8 != new->addr / 8 ||
		    bit_in_slot(bit->addr, bit->size, bit->nr) != mask)
			continue;
		bit->generation = 0;
		new->generation = 0;
	}
}

/* Remembers what a register that succeeded has made. */
static void registered(struct fuzz *f, const struct user_reg *reg, int file,
		       int area, int name, int format)
{
	struct bit *bit = find_bit(f, 0, 0);

	f->index[f->nr_indexes++ % NR_INDEXES] = (struct index){
		file, reg->write_index, format,
	};
	*bit = (struct bit){
		.addr = reg->enable_addr,
		.nr = reg->enable_bit,
		.size = reg->enable_size,
		.area = area,
		.generation = f->area[area].generation,
		.name = reg->flags & USER_EVENT_REG_MULTI_FORMAT ||
			f->in_group[file] ? -1 : name,
	};
	disown_same(f, bit);
}

static void op_register(struct fuzz *f)
{
	int name = below(&f->rng, NR_NAMES);
	int area = below(&f->rng, NR_AREAS);
	int slot = below(&f->rng, NR_SLOTS);
	int file = below(&f->rng, NR_FILES);
	int format = name % ARRAY_SIZE(formats);
	bool spoiled = one_in(&f->rng, 8);
	bool known = false;
	struct {
		struct user_reg reg;
		char tail[8192];
	} arg = { 0 };
	char command[96];
	int ret;

	if (!find_bit(f, 0, 0))
		return;
	if (one_in(&f->rng, 8))
		format = below(&f->rng, ARRAY_SIZE(formats));

	snprintf(command, sizeof(command), "fz%d%s", name,
		 formats[format].fields);
	make_reg(f, &arg.reg, area, slot);
	arg.reg.name_args = (uintptr_t)command;
	if (spoiled) {
		spoil_reg(f, &arg.reg);
		arg.tail[below(&f->rng, sizeof(arg.tail))] = one_in(&f->rng, 2);
	} else {
		touch(f, area, arg.reg.enable_addr, arg.reg.enable_size,
		      arg.reg.enable_bit);
		known = find_bit(f, arg.reg.enable_addr, arg.reg.enable_bit);
	}

	ret = ioctl(FIRST_FD + file, DIAG_IOCSREG, &arg) < 0 ? -errno : 0;
	EXPECT_ERRNO("register", ret, EINVAL, EADDRINUSE, EFAULT, EMFILE,
		     ENOMEM, E2BIG, EPERM);
	if (spoiled && arg.reg.enable_addr != (uintptr_t)slot_at(area, slot) &&
	    arg.reg.enable_addr != (uintptr_t)slot_at(area, slot) + 4) {
		if (!ret)
			fail("registered a word at %#llx",
			     (unsigned long long)arg.reg.enable_addr);
		return;
	}
	if (!spoiled && (ret == -EINVAL || ret == -E2BIG))
		fail("register: %d for \"%s\"", ret, command);
	if (f->alone && known && !ret)
		fail("registered twice");
	if (f->alone && !ret && !is_writable(f->area[area].kind) &&
	    f->area[area].kind != KERNEL_PAGE)
		fail("registered memory of kind %d", f->area[area].kind);
	if (ret)
		return;

	if (spoiled)
		f->area[area].known = false;
	if (!find_bit(f, arg.reg.enable_addr, arg.reg.enable_bit))
		registered(f, &arg.reg, file, area, name, format);
}

static bool read_bit(const struct bit *bit)
{
	uint64_t value;
	uint32_t half;

	if (bit->size == 8) {
		memcpy(&value, (void *)bit->addr, 8);
	} else {
		memcpy(&half, (void *)bit->addr, 4);
		value = half;
	}

	return value >> bit->nr & 1;
}

/* Whether the memory behind @bit is still what it was registered in. */
static bool is_current(const struct fuzz *f, const struct bit *bit)
{
	const struct area *area = &f->area[bit->area];

	return f->exact && area->generation == bit->generation &&
	       (is_writable(area->kind) ||
		(area->kind == KERNEL_PAGE && area->known));
}

static void op_unregister(struct fuzz *f)
{
	struct bit copy, *bit = &f->bit[below(&f->rng, NR_BITS)];
	struct user_unreg unreg = { .size = sizeof(unreg) };
	bool spoiled = one_in(&f->rng, 16);
	int tries = 20;
	int ret;

	while (!bit->addr && --tries)
		bit = &f->bit[below(&f->rng, NR_BITS)];

	copy = *bit;
	unreg.disable_addr = bit->addr;
	unreg.disable_bit = bit->nr;
	if (spoiled) {
		unreg.size = below(&f->rng, 20);
		unreg.__reserved = one_in(&f->rng, 2);
		unreg.disable_addr = rng_next(&f->rng);
	} else if (bit->addr) {
		bit->addr = 0;
	}

	ret = ioctl(data_fd(f), DIAG_IOCSUNREG, &unreg) < 0 ? -errno : 0;
	EXPECT_ERRNO("unregister", ret, ENOENT, ENOMEM, EINVAL, E2BIG, EFAULT);
	if (spoiled || !f->alone)
		return;

	/* Memory that went, or is read-only by now, keeps its bit. */
	if (ret == -EFAULT && copy.addr && !is_current(f, &copy))
		return;
	if (ret != (copy.addr ? 0 : -ENOENT))
		fail("unregister: %d", ret);
	if (!ret && is_current(f, &copy) && read_bit(&copy))
		fail("bit %d at %#lx is set although unregistered", copy.nr,
		     (unsigned long)copy.addr);
}

static void op_delete(struct fuzz *f)
{
	char name[8];
	int ret;

	snprintf(name, sizeof(name), "fz%u", below(&f->rng, NR_NAMES));
	ret = ue_del(data_fd(f), one_in(&f->rng, 8) ?
		     area_start(below(&f->rng, NR_AREAS)) : name);
	EXPECT_ERRNO("delete", ret, ENOENT, EBUSY, EPERM, EFAULT, EINVAL,
		     ENOMEM);
}

static void op_ioctl(struct fuzz *f)
{
	static const unsigned long numbers[] = {
		DIAG_IOCSREG, DIAG_IOCSDEL, DIAG_IOCSUNREG, 0x40042a00,
		_IO('*', 3), _IO('*', 0), 0x5421, 0,
	};
	unsigned long number = numbers[below(&f->rng, ARRAY_SIZE(numbers))];
	int area = below(&f->rng, NR_AREAS);
	int ret;

	/* Areas hold no address that anything could be registered at. */
	ret = ioctl(data_fd(f), number, slot_at(area, below(&f->rng, NR_SLOTS)));
	EXPECT_ERRNO("ioctl", ret < 0 ? -errno : ret, ENOTTY, EFAULT, EINVAL,
		     E2BIG, ENOENT, EBUSY, EPERM, ENOMEM);
}

/* Makes locations that are good, mostly. */
static void fill_payload(struct fuzz *f, char *to, int format, int size)
{
	static const int header = 8;
	const struct format *fmt = &formats[format];
	uint32_t loc;
	int i;

	for (i = 0; i < size && i < 64; i += 8) {
		uint64_t value = rng_next(&f->rng);

		memcpy(to + i, &value, 8);
	}
	if (size <= fmt->size || one_in(&f->rng, 4))
		return;

	to[size - 1] = '\0';
	if (fmt->data_loc >= 0) {
		loc = DYN_LOC(header + fmt->size, size - fmt->size);
		memcpy(to + fmt->data_loc, &loc, sizeof(loc));
	}
	if (fmt->rel_loc >= 0) {
		loc = DYN_LOC(fmt->size - fmt->rel_loc - 4, size - fmt->size);
		memcpy(to + fmt->rel_loc, &loc, sizeof(loc));
	}
}

static int payload_size(struct fuzz *f, int format)
{
	int size = formats[format].size;

	switch (below(&f->rng, 32)) {
	case 0:
		return below(&f->rng, size + 1);
	case 1:
		return size + below(&f->rng, 9000);
	case 2:
		return one_in(&f->rng, 8) ? below(&f->rng, 140000) : size;
	default:
		return size + below(&f->rng, 3) * below(&f->rng, 64);
	}
}

static struct index pick_index(struct fuzz *f)
{
	unsigned int nr = f->nr_indexes < NR_INDEXES ? f->nr_indexes :
			  NR_INDEXES;
	struct index index = {
		below(&f->rng, NR_FILES), below(&f->rng, 32),
		below(&f->rng, ARRAY_SIZE(formats)),
	};

	int tries, file = index.file;

	for (tries = 0; nr && tries < 4; tries++) {
		index = f->index[below(&f->rng, nr)];
		if (index.file >= 0)
			break;
	}
	if (index.file < 0)
		index.file = file;
	if (one_in(&f->rng, 64))
		index.index = rng_next(&f->rng);

	return index;
}

static ssize_t write_split(struct fuzz *f, int fd, char *buf, size_t size)
{
	struct iovec iov[8];
	int count = 0;
	size_t part;

	while (count < 7 && size) {
		part = below(&f->rng, size < 16 ? size + 1 : 16);
		iov[count++] = (struct iovec){ buf, part };
		buf += part;
		size -= part;
	}
	iov[count++] = (struct iovec){ buf, size };
	/* A record larger than any consumer takes, or memory that is bad. */
	if (one_in(&f->rng, 64))
		iov[count - 1].iov_len = 2 << 20;
	else if (one_in(&f->rng, 32))
		iov[count - 1].iov_base = area_start(below(&f->rng, NR_AREAS));

	return writev(fd, iov, count);
}

static void send(struct fuzz *f, int file, size_t size, bool batch)
{
	int fd = FIRST_FD + file;
	ssize_t ret;
	bool split = one_in(&f->rng, 4);
	bool sparse = !split && one_in(&f->rng, 16);

	if (split)
		ret = write_split(f, fd, f->payload, size);
	else if (sparse)
		ret = pwrite(fd, f->payload, size, below(&f->rng, 2));
	else
		ret = write(fd, f->payload, size);
	if (ret < 0)
		ret = -errno;

	/* What io_uring makes of a short count is its own business. */
	if (!batch && one_in(&f->rng, 256)) {
		ret = uring_send(fd, f->payload, size, IORING_OP_WRITE, 0);
		if (ret == -EPERM)
			return;
	}

	EXPECT_ERRNO(batch ? "batch" : "write", ret, EINVAL, ENOENT, EBADF,
		     EFAULT, E2BIG, ENOBUFS, ENOMEM);
	if (ret >= 0 && !split && (batch ? (size_t)ret > size || ret < 4 :
				   (size_t)ret != size))
		fail("%s of %zu returned %zd", batch ? "batch" : "write", size,
		     ret);
}

static void op_write(struct fuzz *f)
{
	struct index index = pick_index(f);
	int size = payload_size(f, index.format);

	memcpy(f->payload, &index.index, 4);
	fill_payload(f, f->payload + 4, index.format, size);
	send(f, index.file, one_in(&f->rng, 64) ? below(&f->rng, 5) : size + 4,
	     (unsigned int)index.index == USER_EVENT_WRITE_BATCH);
}

static void op_batch(struct fuzz *f)
{
	uint32_t header = USER_EVENT_WRITE_BATCH;
	int nr = below(&f->rng, 12);
	size_t at = sizeof(header);
	struct index index = pick_index(f);
	int file = index.file;

	memcpy(f->payload, &header, sizeof(header));
	while (nr-- && at < PAYLOAD_ROOM / 2) {
		struct user_event_record record;
		int size = payload_size(f, index.format);

		if (size > 16384)
			size = formats[index.format].size;
		record.size = size + sizeof(record);
		record.write_index = index.index;
		if (one_in(&f->rng, 32))
			record.size = below(&f->rng, 2 * record.size);
		memcpy(f->payload + at, &record, sizeof(record));
		at += sizeof(record);
		fill_payload(f, f->payload + at, index.format, size);
		at += size;
		index = pick_index(f);
	}
	if (one_in(&f->rng, 16))
		at -= below(&f->rng, at - 4 + 1);
	send(f, file, at, true);
}

/* Text for a file of tracefs that may come and go. */
static void put_text(const char *file, const char *text)
{
	EXPECT_ERRNO(file, ue_write(file, text), ENOENT, ENODEV, EINVAL, EBUSY,
		     EACCES, EPERM, ENOMEM, EEXIST, EADDRINUSE, EMFILE, ESRCH);
}

static void op_toggle(struct fuzz *f)
{
	put_text(event_path(f, "enable"), one_in(&f->rng, 4) ? "0" : "1");
}

static void op_filter(struct fuzz *f)
{
	static const char * const filters[] = {
		"a > 3", "a == 1 && b != 2", "0", "s == \"x\"", "s ~ \"*a*\"",
		"common_pid == 0", "d == 1", "x == 3", "a >", "e ~ \"[\"",
		"!(a & 1)", "s != \"\" || z < -5",
	};

	put_text(event_path(f, "filter"), filters[below(&f->rng, ARRAY_SIZE(filters))]);
}

static void op_trigger(struct fuzz *f)
{
	static const char * const triggers[] = {
		"traceon", "!traceon", "traceoff:3 if a > 4", "!traceoff",
		"hist:keys=common_pid", "!hist:keys=common_pid",
		"hist:keys=s:vals=a", "hist:keys=a.log2", "hist:keys=stacktrace",
		"!hist:keys=a.log2", "hist:keys=x", "nonsense",
		"enable_event:user_events:fz3", "!enable_event:user_events:fz3",
		"enable_event:user_events:fz7:2", "disable_event:user_events:fz1",
		"!disable_event:user_events:fz1", "traceon if s == \"a\"",
	};

	put_text(event_path(f, "trigger"), triggers[below(&f->rng, ARRAY_SIZE(triggers))]);
}

static void op_inject(struct fuzz *f)
{
	static const char * const fields[] = {
		"a = 5", "b = -1", "s = \"text\"", "", "z = 1", "x = 3",
	};

	put_text(event_path(f, "inject"), fields[below(&f->rng, ARRAY_SIZE(fields))]);
}

/* Write set_event_pid as well, which changes who probes the scheduler. */
static bool set_pids;

/* Put back by restore_settings(). */
static void op_setting(struct fuzz *f)
{
	static const char * const settings[][2] = {
		{ "tracing_on", "0" }, { "tracing_on", "1" },
		{ "options/overwrite", "0" }, { "options/overwrite", "1" },
		{ "set_event_pid", "1" }, { "set_event", "user_events:fz2" },
		{ "set_event", "!user_events:fz2" }, { UE_MAX, "x" },
		{ "options/raw", "1" }, { "options/fields", "1" },
		{ "options/event-fork", "1" },
	};
	static const char * const limits[] = { "0", "5", "20" };
	const char * const *setting = settings[below(&f->rng, ARRAY_SIZE(settings))];

	if (one_in(&f->rng, 2))
		put_text(UE_MAX, one_in(&f->rng, 6) ? limits[below(&f->rng, ARRAY_SIZE(limits))] :
			 "32768");
	else if (set_pids || strcmp(setting[0], "set_event_pid"))
		put_text(setting[0], setting[1]);
}

static void restore_settings(void)
{
	static const char * const settings[][2] = {
		{ "tracing_on", "1" }, { "options/overwrite", "1" },
		{ UE_MAX, "32768" }, { "options/raw", "0" },
		{ "options/fields", "0" }, { "options/event-fork", "0" },
	};
	unsigned int i;
	int fd, ret;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		ret = ue_write(settings[i][0], settings[i][1]);
		if (ret)
			fail("%s: %d", settings[i][0], ret);
	}
	fd = ue_open_file("set_event_pid", O_WRONLY | O_TRUNC);
	if (fd >= 0)
		close(fd);
}

static void op_dynamic(struct fuzz *f)
{
	static const char * const systems[] = {
		"", "", "", "user_events/", "user_events/", "user_events_multi/",
		"user_events_fz0/", "user_events_fz1/", "user_events_multi_fz0/",
	};
	const char *system = systems[below(&f->rng, ARRAY_SIZE(systems))];
	int name = below(&f->rng, NR_NAMES);
	char text[128];

	if (one_in(&f->rng, 2))
		snprintf(text, sizeof(text), "u:%sfz%d%s", system, name,
			 formats[name % ARRAY_SIZE(formats)].fields);
	else
		snprintf(text, sizeof(text), "%s:%sfz%d", one_in(&f->rng, 2) ?
			 "-" : "!u", system, name);
	put_text("dynamic_events", text);
}

static void op_instance(struct fuzz *f)
{
	static const char * const dirs[] = {
		UE_TRACEFS "/instances/fz0", UE_TRACEFS "/instances/fz1",
	};
	const char *dir = dirs[below(&f->rng, ARRAY_SIZE(dirs))];
	int ret;

	ret = one_in(&f->rng, 2) ? mkdir(dir, 0700) : rmdir(dir);
	EXPECT_ERRNO("instance", ret ? -errno : 0, EEXIST, ENOENT, EBUSY,
		     EACCES, ENOMEM);
}

/* Groups come, are full, and go while they are used. */
static void op_group(struct fuzz *f)
{
	static const char * const names[] = {
		"fz0", "fz1", "fz0", "fz1", "multi", "multi_fz", "f-z", "",
	};
	static const unsigned int limits[] = { 0, 3, 1024, 1024, ~0 };
	const char *name = names[below(&f->rng, ARRAY_SIZE(names))];
	int ret;

	switch (below(&f->rng, 4)) {
	case 0:
		ret = group_remove(name);
		break;
	case 1:
		ret = group_set_max(name, limits[below(&f->rng, ARRAY_SIZE(limits))]);
		break;
	default:
		ret = group_make(name);
	}
	EXPECT_ERRNO("group", ret, EEXIST, ENOENT, ENODEV, EBUSY, EACCES, EPERM,
		     EINVAL, ENOMEM, ENOTDIR);
}

static void op_read(struct fuzz *f)
{
	static const char * const files[] = {
		"user_events_status", "dynamic_events", "trace", "set_event",
		"instances/fz0/trace", UE_MAX,
		"user_events_groups/fz0/root/user_events_status",
		"user_events_groups/fz1/max_events",
	};
	static const char * const event_files[] = {
		"format", "enable", "filter", "trigger", "hist", "id",
	};
	static __thread char text[32 * 1024];
	const char *file;

	file = one_in(&f->rng, 2) ? files[below(&f->rng, ARRAY_SIZE(files))] :
		event_path(f, event_files[below(&f->rng, ARRAY_SIZE(event_files))]);
	EXPECT_ERRNO(file, ue_read(file, text, sizeof(text)), ENOENT, ENODEV,
		     EACCES, EINVAL, ENOMEM);
}

static int open_perf(struct fuzz *f)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.sample_period = 1 + below(&f->rng, 2),
		.sample_type = PERF_SAMPLE_RAW | PERF_SAMPLE_TID,
		.disabled = one_in(&f->rng, 4),
		.inherit = one_in(&f->rng, 4),
	};
	char id[32];
	int ret;

	ret = ue_read(event_path(f, "id"), id, sizeof(id));
	if (ret < 0)
		return ret;

	attr.config = atoi(id);
	ret = syscall(__NR_perf_event_open, &attr, one_in(&f->rng, 2) ? 0 : -1,
		      0, -1, PERF_FLAG_FD_CLOEXEC);
	if (ret < 0)
		return -errno;

	/* The ring stays mapped: not all of them at once go with the file. */
	if (!attr.inherit && one_in(&f->rng, 4))
		mmap(NULL, 5 * page_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     ret, 0);

	return ret;
}

static void op_perf(struct fuzz *f)
{
	int *perf = &f->perf[below(&f->rng, NR_PERF)];
	int ret = 0;

	if (!*perf) {
		ret = open_perf(f);
		EXPECT_ERRNO("perf", ret, ENOENT, ENODEV, EINVAL, EACCES,
			     EPERM, ENOMEM, EMFILE);
		*perf = ret < 0 ? 0 : ret;
		return;
	}

	switch (below(&f->rng, 4)) {
	case 0:
		ret = ioctl(*perf, PERF_EVENT_IOC_ENABLE, 0);
		break;
	case 1:
		ret = ioctl(*perf, PERF_EVENT_IOC_DISABLE, 0);
		break;
	case 2:
		if (f->prog > 0)
			ret = ioctl(*perf, PERF_EVENT_IOC_SET_BPF, f->prog);
		break;
	default:
		close(*perf);
		*perf = 0;
	}
	EXPECT_ERRNO("perf ioctl", ret < 0 ? -errno : ret, EEXIST, EINVAL,
		     EPERM, EACCES, ENOMEM, E2BIG);
}

static int load_prog(void)
{
	/* r0 = 1; exit */
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = { 0 };

	attr.prog_type = BPF_PROG_TYPE_TRACEPOINT;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (uintptr_t)"GPL";

	return syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* Which events have a consumer, by the status. */
static void read_enabled(bool *enabled)
{
	char *text = ue_status_text(), *pos = text, *end;
	unsigned int nr;

	memset(enabled, 0, NR_NAMES * sizeof(*enabled));
	while (pos && *pos && *pos != '\n') {
		end = pos + strcspn(pos, "\n");
		if (sscanf(pos, "fz%u", &nr) == 1 && nr < NR_NAMES &&
		    pos[strcspn(pos, " .\n")] != '.')
			enabled[nr] = memmem(pos, end - pos, "Used by", 7);
		pos = end + 1;
	}
	free(text);
}

/* Every bit is right, at the latest when the workqueue had its turn. */
static void check_bits(struct fuzz *f)
{
	bool enabled[NR_NAMES];
	unsigned int waits = 0;
	struct bit *bit;

	read_enabled(enabled);
	for (bit = f->bit; bit < f->bit + NR_BITS; bit++) {
		if (!bit->addr || bit->name < 0 || !is_current(f, bit))
			continue;
		while (read_bit(bit) != enabled[bit->name]) {
			if (++waits == 60000)
				fail("bit %d at %#lx of fz%d is not %d, kind %d",
				     bit->nr, (unsigned long)bit->addr,
				     bit->name, enabled[bit->name],
				     f->area[bit->area].kind);
			usleep(1000);
		}
	}
}

static void op_check(struct fuzz *f)
{
	const struct area *area;
	uint64_t value;
	int nr, slot;

	if (!f->exact)
		return;

	check_bits(f);
	for (nr = 0; nr < NR_AREAS; nr++) {
		area = &f->area[nr];
		if (!area->known ||
		    (!is_writable(area->kind) && area->kind != KERNEL_PAGE))
			continue;
		for (slot = 0; slot < NR_SLOTS; slot++) {
			memcpy(&value, slot_at(nr, slot), 8);
			if ((value ^ area->pattern) & ~area->touched[slot])
				fail("word %d of area %d, kind %d: %#llx, was %#llx, ours %#llx",
				     slot, nr, area->kind,
				     (unsigned long long)value,
				     (unsigned long long)area->pattern,
				     (unsigned long long)area->touched[slot]);
		}
	}
}

static void do_steps(struct fuzz *f, unsigned int count,
		     const struct origin *origin, struct coverage *cov);

static void *thread_main(void *arg)
{
	struct fuzz *f = arg;

	snprintf(where, sizeof(where), "a thread of a session");
	do_steps(f, 20 + below(&f->rng, 200), NULL, NULL);

	return NULL;
}

/* The copy is for the thread alone, and is left to the end of the process. */
static void op_thread(struct fuzz *f)
{
	struct fuzz *copy;
	pthread_t thread;

	if (!f->crowd || f->nr_threads == NR_THREADS)
		return;

	copy = malloc(sizeof(*copy));
	if (!copy)
		return;
	f->nr_threads++;
	f->alone = false;
	f->exact = false;
	*copy = *f;
	copy->is_thread = true;
	copy->rng.state = rng_next(&f->rng);
	copy->payload = malloc(PAYLOAD_ROOM);
	if (!copy->payload ||
	    pthread_create(&thread, NULL, thread_main, copy))
		return;
	pthread_detach(thread);
}

static void __noreturn child_main(struct fuzz *f, uint64_t seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(STUCK_AFTER);
	f->rng.state = seed;
	f->depth++;
	f->nr_threads = 0;
	memset(f->child, 0, sizeof(f->child));

	if (one_in(&f->rng, 6) && setresuid(65534, 65534, 65534))
		fail("setresuid: %s", strerror(errno));
	do_steps(f, below(&f->rng, 80), NULL, NULL);
	if (one_in(&f->rng, 8))
		execl("/proc/self/exe", "fuzz", "-x", NULL);
	_exit(0);
}

static void op_fork(struct fuzz *f)
{
	pid_t *child = &f->child[below(&f->rng, NR_CHILDREN)];
	uint64_t seed = rng_next(&f->rng);

	if (!f->crowd || f->depth > 1 || *child)
		return;

	f->exact = false;
	*child = fork();
	if (*child < 0)
		fail("fork: %s", strerror(errno));
	if (!*child)
		child_main(f, seed);
}

static void op_reap(struct fuzz *f)
{
	pid_t *child = &f->child[below(&f->rng, NR_CHILDREN)];
	int ret;

	if (!*child)
		return;

	if (one_in(&f->rng, 2))
		kill(*child, SIGKILL);
	ret = ue_wait(*child);
	if (ret && ret != -SIGKILL)
		fail("a child ended by %d", ret);
	*child = 0;
}

/* What threads leave alone: memory, descriptors and children. */
#define PROCESS_ONLY	true

static const struct step {
	void (*run)(struct fuzz *f);
	int weight;
	bool process_only;
} steps[] = {
	{ op_register, 200 }, { op_unregister, 100 }, { op_write, 250 },
	{ op_batch, 60 }, { op_toggle, 80 }, { op_delete, 40 },
	{ op_ioctl, 30 }, { op_dynamic, 15 }, { op_read, 15 },
	{ op_setting, 15 }, { op_filter, 6 }, { op_trigger, 6 },
	{ op_inject, 6 },
	{ op_reopen, 20, PROCESS_ONLY }, { op_map, 40, PROCESS_ONLY },
	{ op_advise, 25, PROCESS_ONLY }, { op_perf, 15, PROCESS_ONLY },
	{ op_instance, 1, PROCESS_ONLY }, { op_group, 10, PROCESS_ONLY },
	{ op_check, 25, PROCESS_ONLY },
	{ op_thread, 5, PROCESS_ONLY }, { op_fork, 8, PROCESS_ONLY },
	{ op_reap, 8, PROCESS_ONLY },
};

static const struct step *pick_step(struct fuzz *f)
{
	unsigned int i, all = 0;
	int left;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		all += steps[i].weight;

	left = below(&f->rng, all);
	for (i = 0; (left -= steps[i].weight) >= 0; i++)
		;

	return &steps[i];
}

static void do_steps(struct fuzz *f, unsigned int count,
		     const struct origin *origin, struct coverage *cov)
{
	const struct step *step;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (origin) {
			if (i == origin->turn)
				f->rng.state = origin->then;
			snprintf(where, sizeof(where),
				 "session -r %llu,%u,%llu step %u",
				 (unsigned long long)origin->seed, origin->turn,
				 (unsigned long long)origin->then, i);
		}
		step = pick_step(f);
		if (f->is_thread && step->process_only)
			continue;
		if (cov)
			coverage_reset(cov);
		step->run(f);
		if (cov)
			coverage_new(cov);
	}
}

static void on_alarm(int sig)
{
	static const char text[] = "FAIL: stuck: ";

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDOUT_FILENO, where, strlen(where)) < 0 ||
	    write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(3);
	_exit(2);
}

/* The process of a session, which ends as it is. */
static void __noreturn
session_main(const struct origin *origin, unsigned int count,
	     struct coverage *cov)
{
	static struct fuzz f;
	int i, kind;

	f.rng.state = origin->seed;
	f.alone = true;
	f.exact = true;
	f.crowd = one_in(&f.rng, 2);
	f.payload = mmap(NULL, PAYLOAD_ROOM, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.prog = load_prog();

	alarm(STUCK_AFTER);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(where, sizeof(where), "start of a session");
	for (i = 0; i < NR_FILES; i++)
		reopen_file(&f, i);
	for (i = 0; i < NR_AREAS; i++) {
		kind = i < KERNEL_PAGE ? i : KERNEL_PAGE;
		map_area(&f, i, kind);
	}

	coverage_start(cov);
	do_steps(&f, count, origin, cov);
	_exit(0);
}

/* Truncation takes those of histograms, all others go by what they say. */
static void clear_triggers_of(const char *file)
{
	char text[4096], command[256];
	char *line, *end;
	int fd;

	fd = ue_open_file(file, O_WRONLY | O_TRUNC);
	if (fd < 0)
		return;
	close(fd);

	ue_read(file, text, sizeof(text));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		end = strstr(line, ":unlimited") ?: strstr(line, ":count=");
		if (*line == '#' || !end)
			continue;
		*end = '\0';
		snprintf(command, sizeof(command), "!%s", line);
		ue_write(file, command);
	}
}

static void clear_triggers(const char *system)
{
	char path[512];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), UE_TRACEFS "/events/%s", system);
	dir = opendir(path);
	if (!dir)
		return;

	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "events/%s/%s/trigger", system,
			 entry->d_name);
		clear_triggers_of(path);
	}
	closedir(dir);
}

/* A new event has to work from end to end, and to go. */
static void check_fresh_event(void)
{
	uint32_t word = 0, record[2] = { 0, 7 };
	int fd = ue_open();
	int index, ret;

	ret = ue_reg(fd, "fz_fresh u32 a", &word, 31, &index);
	if (ret || word)
		fail("fresh event: register %d, word %#x", ret, word);
	ret = ue_switch("fz_fresh", 1);
	if (ret || word != 1U << 31)
		fail("fresh event: enable %d, word %#x", ret, word);

	record[0] = index;
	ret = write(fd, record, sizeof(record)) < 0 ? -errno : 0;
	if (ret)
		fail("fresh event: write %d", ret);
	ret = ue_switch("fz_fresh", 0);
	if (ret || word)
		fail("fresh event: disable %d, word %#x", ret, word);
	ret = ue_unreg(fd, &word, 31);
	close(fd);
	if (ret || ue_active())
		fail("fresh event: unregister %d, %d events left", ret,
		     ue_active());
}

/*
 * Sweeps until nothing is left: Linux 7.3 lets go of the event of a trigger some
 * time after the trigger was removed.
 */
static int sweep_group(const char *name)
{
	int i, ret = -EBUSY;

	for (i = 0; i < 1000 && ret == -EBUSY; i++) {
		if (i)
			usleep(10000);
		ret = group_sweep(name);
	}

	return ret;
}

static int sweep(void)
{
	int i, left = 1;

	for (i = 0; i < 1000 && left > 0; i++) {
		if (i)
			usleep(10000);
		left = ue_sweep();
	}

	return left;
}

/* Whatever was done in it, a group that nobody uses can be removed. */
static void remove_group(const char *name)
{
	static const char * const kinds[] = { "", "_multi" };
	char system[64], path[96];
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(system, sizeof(system), "user_events%s_%s", kinds[i], name);
		clear_triggers(system);
		snprintf(path, sizeof(path), "events/%s/enable", system);
		ue_write(path, "0");
	}
	ret = sweep_group(name);
	if (ret)
		fail("group %s cannot be removed: %d", name, ret);
}

/* After a session everything has to be as before. */
static void check_clean(void)
{
	rmdir(UE_TRACEFS "/instances/fz0");
	rmdir(UE_TRACEFS "/instances/fz1");
	if (!access(UE_TRACEFS "/instances/fz0", F_OK) ||
	    !access(UE_TRACEFS "/instances/fz1", F_OK))
		fail("an instance cannot be removed");

	restore_settings();
	clear_triggers(USER_EVENTS_SYSTEM);
	clear_triggers(USER_EVENTS_MULTI_SYSTEM);
	remove_group("fz0");
	remove_group("fz1");
	if (sweep())
		fail("events cannot be deleted: %s", ue_status_text());
	check_fresh_event();
	check_taint();
}

static void run_session(const struct origin *origin, unsigned int count,
			struct coverage *cov)
{
	int status, failed = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid)
		session_main(origin, count, cov);

	snprintf(where, sizeof(where), "end of session -r %llu,%u,%llu",
		 (unsigned long long)origin->seed, origin->turn,
		 (unsigned long long)origin->then);
	alarm(STUCK_AFTER);

	/* Children of the session come here when it has ended. */
	while ((pid = waitpid(-1, &status, 0)) > 0) {
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			continue;
		if (status)
			failed = status;
	}
	if (failed)
		fail("ended by status %#x", failed);
	check_clean();
}

/*
 * A session that reached places of the kernel for the first time is started
 * upon once more by later ones, which turn to other steps in its course.
 */
static void fuzz_steps(uint64_t seed, unsigned long count, struct coverage *cov)
{
	struct rng rng = { seed };
	struct origin kept[64], origin;
	unsigned int nr_kept = 0, before;
	unsigned long done, shown = 0;

	for (done = 0; done < count; done += SESSION_STEPS) {
		origin = (struct origin){ rng_next(&rng), ~0U, 0 };
		if (nr_kept && one_in(&rng, 2)) {
			origin = kept[below(&rng, nr_kept)];
			origin.turn = below(&rng, SESSION_STEPS);
			origin.then = rng_next(&rng);
		}
		before = *cov->count;
		run_session(&origin, SESSION_STEPS, cov);
		if (*cov->count > before && nr_kept < ARRAY_SIZE(kept))
			kept[nr_kept++] = origin;

		if ((done + SESSION_STEPS) * 10 / count > shown) {
			shown = (done + SESSION_STEPS) * 10 / count;
			printf("# %lu steps: %u places of the kernel, %u sessions kept\n",
			       done + SESSION_STEPS, *cov->count, nr_kept);
		}
	}
}

#endif /* _USER_EVENTS_FUZZ_STEPS_H */
