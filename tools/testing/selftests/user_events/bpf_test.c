// SPDX-License-Identifier: GPL-2.0
/*
 * BPF programs of type tracepoint as consumers. They are put together by hand
 * and loaded by the raw system call, so that no library is needed.
 */
#include <pthread.h>

#include <linux/bpf.h>

#include "consumer.h"

#define INSN(c, d, s, o, i) ((struct bpf_insn) { \
	.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOV_REG(d, s)		INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_REG(d, s)		INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define ADD_IMM(d, i)		INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LOAD(w, d, s, o)	INSN(BPF_LDX | BPF_MEM | (w), d, s, o, 0)
#define STORE(w, d, s, o)	INSN(BPF_STX | BPF_MEM | (w), d, s, o, 0)
#define ATOMIC_ADD(d, s, o)	INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, o, \
				     BPF_ADD)
#define JUMP_ZERO(d, o)		INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, 0)
#define CALL(f)			INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EXIT()			INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define LOAD_MAP_1(d, fd)	INSN(BPF_LD | BPF_DW | BPF_IMM, d, \
				     BPF_PSEUDO_MAP_FD, 0, fd)
#define LOAD_MAP_2()		INSN(0, 0, 0, 0, 0)

/* What a program leaves in its map. */
struct result {
	uint64_t count;		/* how often it ran */
	uint64_t sum;		/* of the fields it reads */
};

/* A field that a program reads. */
struct operand {
	int offset;
	int size;
};

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	int ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

static int map_create(unsigned int value_size, unsigned int entries)
{
	union bpf_attr attr = { 0 };

	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = value_size;
	attr.max_entries = entries;

	return sys_bpf(BPF_MAP_CREATE, &attr);
}

static int map_read(int map, uint32_t key, void *value)
{
	union bpf_attr attr = { 0 };

	attr.map_fd = map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)value;

	return sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

static int prog_load(const struct bpf_insn *insns, unsigned int count)
{
	union bpf_attr attr = { 0 };

	attr.prog_type = BPF_PROG_TYPE_TRACEPOINT;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = count;
	attr.license = (uintptr_t)"GPL";

	return sys_bpf(BPF_PROG_LOAD, &attr);
}

static int load_width(int size)
{
	return size == 1 ? BPF_B : size == 2 ? BPF_H : size == 4 ? BPF_W :
		BPF_DW;
}

/* Counts, adds up the fields at @operands in entry 0 of @map, returns @ret. */
static int load_adder(int map, const struct operand *operands, int nr, int ret)
{
	struct bpf_insn insns[64];
	int i, n = 0;

	insns[n++] = MOV_REG(BPF_REG_6, BPF_REG_1);
	insns[n++] = MOV_IMM(BPF_REG_7, 0);
	for (i = 0; i < nr; i++) {
		insns[n++] = LOAD(load_width(operands[i].size), BPF_REG_8,
				  BPF_REG_6, operands[i].offset);
		insns[n++] = ADD_REG(BPF_REG_7, BPF_REG_8);
	}
	insns[n++] = MOV_IMM(BPF_REG_1, 0);
	insns[n++] = STORE(BPF_W, BPF_REG_10, BPF_REG_1, -4);
	insns[n++] = MOV_REG(BPF_REG_2, BPF_REG_10);
	insns[n++] = ADD_IMM(BPF_REG_2, -4);
	insns[n++] = LOAD_MAP_1(BPF_REG_1, map);
	insns[n++] = LOAD_MAP_2();
	insns[n++] = CALL(BPF_FUNC_map_lookup_elem);
	insns[n++] = JUMP_ZERO(BPF_REG_0, 3);
	insns[n++] = MOV_IMM(BPF_REG_1, 1);
	insns[n++] = ATOMIC_ADD(BPF_REG_0, BPF_REG_1, 0);
	insns[n++] = ATOMIC_ADD(BPF_REG_0, BPF_REG_7, 8);
	insns[n++] = MOV_IMM(BPF_REG_0, ret);
	insns[n++] = EXIT();

	return prog_load(insns, n);
}

/* Adds one to the entry of @map that the u32 at @offset names. */
static int load_marker(int map, int offset)
{
	const struct bpf_insn insns[] = {
		LOAD(BPF_W, BPF_REG_2, BPF_REG_1, offset),
		STORE(BPF_W, BPF_REG_10, BPF_REG_2, -4),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -4),
		LOAD_MAP_1(BPF_REG_1, map),
		LOAD_MAP_2(),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_ZERO(BPF_REG_0, 2),
		MOV_IMM(BPF_REG_1, 1),
		ATOMIC_ADD(BPF_REG_0, BPF_REG_1, 0),
		MOV_IMM(BPF_REG_0, 0),
		EXIT(),
	};

	return prog_load(insns, ARRAY_SIZE(insns));
}

/* Copies the string at @offset to the value of @map, which has @size bytes. */
static int load_string_reader(int map, int offset, int size)
{
	const struct bpf_insn insns[] = {
		MOV_REG(BPF_REG_6, BPF_REG_1),
		MOV_IMM(BPF_REG_1, 0),
		STORE(BPF_W, BPF_REG_10, BPF_REG_1, -4),
		MOV_REG(BPF_REG_2, BPF_REG_10),
		ADD_IMM(BPF_REG_2, -4),
		LOAD_MAP_1(BPF_REG_1, map),
		LOAD_MAP_2(),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_ZERO(BPF_REG_0, 5),
		MOV_REG(BPF_REG_1, BPF_REG_0),
		MOV_IMM(BPF_REG_2, size),
		MOV_REG(BPF_REG_3, BPF_REG_6),
		ADD_IMM(BPF_REG_3, offset),
		CALL(BPF_FUNC_probe_read_kernel_str),
		MOV_IMM(BPF_REG_0, 0),
		EXIT(),
	};

	return prog_load(insns, ARRAY_SIZE(insns));
}

/* Ways to attach a program to a perf event: the descriptor to close, or 0. */
static int attach_ioctl(int perf_fd, int prog)
{
	return ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, prog) ? -errno : 0;
}

static int attach_link(int perf_fd, int prog)
{
	union bpf_attr attr = { 0 };

	attr.link_create.prog_fd = prog;
	attr.link_create.target_fd = perf_fd;
	attr.link_create.attach_type = BPF_PERF_EVENT;

	return sys_bpf(BPF_LINK_CREATE, &attr);
}

/* A program on a perf event of its own, without a ring. */
struct program {
	struct pf pf;
	int prog;
	int link;
};

static void program_close(struct program *program)
{
	if (program->link > 0)
		close(program->link);
	if (program->prog > 0)
		close(program->prog);
	pf_close(&program->pf);
	program->link = 0;
	program->prog = 0;
}

static int program_open(struct program *program, int id, int cpu, int prog,
			int (*attach)(int perf_fd, int prog))
{
	int ret;

	memset(program, 0, sizeof(*program));
	if (prog < 0)
		return prog;

	program->prog = prog;
	ret = pf_open(&program->pf, id, -1, cpu, 0);
	if (!ret)
		ret = attach(program->pf.fd, prog);
	if (ret >= 0)
		program->link = ret;
	else
		program_close(program);

	return ret < 0 ? ret : 0;
}

FIXTURE(bpf)
{
	int fd;
	uint32_t word;
	int index;
	int id;
	int cpu;
	int map;
	char event[64];
	struct program program;
};

FIXTURE_VARIANT(bpf)
{
	int (*attach)(int perf_fd, int prog);
};

FIXTURE_VARIANT_ADD(bpf, ioctl) {
	.attach = attach_ioctl,
};

FIXTURE_VARIANT_ADD(bpf, link) {
	.attach = attach_link,
};

struct payload {
	uint64_t a;
	uint32_t b;
	uint16_t c;
	uint8_t d;
} __packed;

#define WRITTEN ((ssize_t)(sizeof(int) + sizeof(struct payload)))

FIXTURE_SETUP(bpf)
{
	char args[128];

	UE_REQUIRE();

	self->cpu = pin_cpu(-1);
	ASSERT_LE(0, self->cpu);
	snprintf(self->event, sizeof(self->event), "bpf_%s", _metadata->name);
	snprintf(args, sizeof(args), "%s u64 a; u32 b; u16 c; u8 d",
		 self->event);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ue_reg_full(self->fd, args, USER_EVENT_REG_REPORT_LOSS,
				 &self->word, 4, 0, &self->index));
	self->id = event_id(self->event);
	ASSERT_LT(0, self->id);

	self->map = map_create(sizeof(struct result), 1);
	ASSERT_LT(0, self->map)
		TH_LOG("does the kernel have CONFIG_BPF_SYSCALL?");
}

FIXTURE_TEARDOWN(bpf)
{
	program_close(&self->program);
	if (self->fd > 0) {
		ue_unreg(self->fd, &self->word, 0);
		close(self->fd);
	}
}

static struct operand operand_of(const char *event, const char *field)
{
	return (struct operand) {
		.offset = event_field(event, field, "offset:"),
		.size = event_field(event, field, "size:"),
	};
}

/* Attaches a program that adds up all fields and returns @ret. */
static int attach_adder(struct _test_data_bpf *self,
			const struct _fixture_variant_bpf *variant, int ret)
{
	struct operand operands[] = {
		operand_of(self->event, "a"), operand_of(self->event, "b"),
		operand_of(self->event, "c"), operand_of(self->event, "d"),
	};

	return program_open(&self->program, self->id, self->cpu,
			    load_adder(self->map, operands, 4, ret),
			    variant->attach);
}

static ssize_t emit_payload(struct _test_data_bpf *self, unsigned int i)
{
	struct payload payload = {
		.a = 1ULL << 40 | i, .b = 3000000000U, .c = 60000, .d = i,
	};

	return emit(self->fd, self->index, &payload, sizeof(payload));
}

static uint64_t sum_payload(unsigned int i)
{
	return (1ULL << 40 | i) + 3000000000U + 60000 + (uint8_t)i;
}

UE_TEST_F(bpf, runs_for_every_write)
{
	struct result result;
	uint64_t sum = 0;
	unsigned int i;

	/* It is the only consumer. */
	ASSERT_EQ(-EBADF, emit_payload(self, 0));
	ASSERT_EQ(0, attach_adder(self, variant, 0));
	EXPECT_EQ(1, self->word);

	for (i = 0; i < 1000; i++) {
		ASSERT_EQ(WRITTEN, emit_payload(self, i));
		sum += sum_payload(i);
	}
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(1000, result.count);
	EXPECT_EQ(sum, result.sum);
	EXPECT_TRUE(event_lost_nothing(self->event));

	program_close(&self->program);
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(-EBADF, emit_payload(self, 0));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(1000, result.count);
}

/* Wherever the event was opened that the program is attached to. */
UE_TEST_F(bpf, runs_on_another_cpu)
{
	int other = other_cpu(self->cpu);
	struct result result;

	if (other < 0)
		SKIP(return, "takes two CPUs");

	ASSERT_EQ(0, attach_adder(self, variant, 0));
	ASSERT_EQ(other, pin_cpu(other));
	ASSERT_EQ(WRITTEN, emit_payload(self, 1));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(1, result.count);
	EXPECT_EQ(sum_payload(1), result.sum);
}

/* A program that returns 0 keeps the event from perf, and from perf alone. */
UE_TEST_F(bpf, return_value_filters)
{
	struct payload payload = { .a = 1 };
	struct result result;
	struct record rec;
	struct pf pf;
	struct ft ft;
	int ret, pid;

	ASSERT_EQ(0, pf_open(&pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, ft_create(&ft, "bpf"));
	ASSERT_EQ(0, ft_switch(&ft, self->event, 1));

	for (ret = 0; ret <= 1; ret++) {
		ASSERT_EQ(0, attach_adder(self, variant, ret));
		ASSERT_EQ(WRITTEN, emit(self->fd, self->index, &payload,
					sizeof(payload)));

		ASSERT_EQ(ret, pf_next(&pf, &rec));
		if (ret) {
			/* Programs and samples share a record: it is whole. */
			EXPECT_TRUE(record_is(&rec, &payload, sizeof(payload)));
			EXPECT_EQ(self->id, record_type(&rec));
			memcpy(&pid, rec.data + 4, sizeof(pid));
			EXPECT_EQ(getpid(), pid);
		}

		ASSERT_EQ(1, ft_next(&ft, &rec));
		EXPECT_TRUE(record_is(&rec, &payload, sizeof(payload)));
		EXPECT_EQ(self->id, record_type(&rec));
		memcpy(&pid, rec.data + 4, sizeof(pid));
		EXPECT_EQ(getpid(), pid);

		program_close(&self->program);
	}
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(2, result.count);
	EXPECT_TRUE(event_lost_nothing(self->event));
	pf_close(&pf);
	EXPECT_EQ(0, ft_destroy(&ft));
}

/* What a program drops does not fail for a ring that is full. */
UE_TEST_F(bpf, filtered_is_not_lost)
{
	struct pf pf;
	ssize_t ret;
	int i;

	ASSERT_EQ(0, pf_open(&pf, self->id, 0, -1, 1));
	for (i = 0; i < 1000; i++) {
		ret = emit_payload(self, i);
		if (ret != WRITTEN)
			break;
	}
	ASSERT_EQ(-ENOBUFS, ret);

	ASSERT_EQ(0, attach_adder(self, variant, 0));
	EXPECT_EQ(WRITTEN, emit_payload(self, 0));
	program_close(&self->program);
	ASSERT_EQ(0, attach_adder(self, variant, 1));
	EXPECT_EQ(-ENOBUFS, emit_payload(self, 0));
	EXPECT_EQ(2, event_lost(self->event, "perf", "full"));
	pf_close(&pf);
}

/* A program on the event that has the ring. */
UE_TEST_F(bpf, event_with_a_ring)
{
	int ret, prog, link;
	struct pf pf;

	for (ret = 0; ret <= 1; ret++) {
		ASSERT_EQ(0, pf_open(&pf, self->id, 0, -1, pf_pages(16)));
		prog = load_adder(self->map, NULL, 0, ret);
		ASSERT_LT(0, prog);
		link = variant->attach(pf.fd, prog);
		ASSERT_LE(0, link);

		ASSERT_EQ(WRITTEN, emit_payload(self, 1));
		EXPECT_EQ(ret, pf_drain(&pf));

		if (link)
			close(link);
		close(prog);
		pf_close(&pf);
	}
}

/* Of two programs both run, and either one can keep perf from the event. */
UE_TEST_F(bpf, two_programs)
{
	struct result result;
	struct program other;
	struct pf pf;

	ASSERT_EQ(0, pf_open(&pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, attach_adder(self, variant, 1));
	ASSERT_EQ(0, program_open(&other, self->id, self->cpu,
				  load_adder(self->map, NULL, 0, 0),
				  variant->attach));
	ASSERT_EQ(WRITTEN, emit_payload(self, 1));
	EXPECT_EQ(0, pf_drain(&pf));
	program_close(&other);
	ASSERT_EQ(WRITTEN, emit_payload(self, 2));
	EXPECT_EQ(1, pf_drain(&pf));

	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(3, result.count);
	EXPECT_EQ(sum_payload(1) + sum_payload(2), result.sum);
	pf_close(&pf);
}

/* A program may read the declared fields and not a byte more. */
UE_TEST_F(bpf, reads_beyond_the_fields)
{
	struct operand operand = operand_of(self->event, "d");

	EXPECT_EQ(0, program_open(&self->program, self->id, self->cpu,
				  load_adder(self->map, &operand, 1, 0),
				  variant->attach));
	program_close(&self->program);

	operand.offset++;
	EXPECT_EQ(-EACCES, program_open(&self->program, self->id, self->cpu,
					load_adder(self->map, &operand, 1, 0),
					variant->attach));
}

/* Of a 32-bit kernel's common fields a program can read the last one. */
UE_TEST_F(bpf, common_pid)
{
	struct operand operand = { .offset = 4, .size = 4 };
	struct result result;
	int ret;

	ret = program_open(&self->program, self->id, self->cpu,
			   load_adder(self->map, &operand, 1, 0),
			   variant->attach);
	if (ret == -EACCES)
		return;

	ASSERT_EQ(0, ret);
	ASSERT_EQ(WRITTEN, emit_payload(self, 1));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(getpid(), result.sum);
}

UE_TEST_F(bpf, event_without_fields)
{
	struct operand operand = { .offset = 8, .size = 1 };
	struct result result;
	char event[80];
	int index, id;

	snprintf(event, sizeof(event), "%s_none", self->event);
	ASSERT_EQ(0, ue_reg(self->fd, event, &self->word, 1, &index));
	id = event_id(event);
	ASSERT_LT(0, id);

	/* Nothing is behind the common fields, for which it has no offset. */
	for (operand.size = 1; operand.size <= 8; operand.size *= 2) {
		for (operand.offset = 8; operand.offset < 4096;
		     operand.offset *= 2)
			EXPECT_EQ(-EACCES,
				  program_open(&self->program, id, self->cpu,
					       load_adder(self->map, &operand,
							  1, 0),
					       variant->attach));
	}

	ASSERT_EQ(0, program_open(&self->program, id, self->cpu,
				  load_adder(self->map, NULL, 0, 0),
				  variant->attach));
	EXPECT_EQ(4, emit(self->fd, index, "", 0));
	EXPECT_EQ(104, emit(self->fd, index, event, 100));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(2, result.count);
	program_close(&self->program);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
}

/* A string that does not end in NUL ends with the record. */
UE_TEST_F(bpf, string_without_nul)
{
	char event[80], args[128], text[64], dirt[600];
	struct {
		uint32_t batch;
		struct {
			uint32_t size;
			uint32_t write_index;
			char s[16];
		} records[2];
	} batch = { .batch = USER_EVENT_WRITE_BATCH };
	int index, id, map;

	snprintf(event, sizeof(event), "%s_string", self->event);
	snprintf(args, sizeof(args), "%s char[8] s", event);
	ASSERT_EQ(0, ue_reg(self->fd, args, &self->word, 1, &index));
	id = event_id(event);
	ASSERT_LT(0, id);
	map = map_create(sizeof(text), 1);
	ASSERT_LT(0, map);
	ASSERT_EQ(0, program_open(&self->program, id, self->cpu,
				  load_string_reader(map, event_field(event, "s[8]", "offset:"),
						     sizeof(text)),
				  variant->attach));

	/* Where the next record is put together this one is left behind it, */
	memset(dirt, 'x', sizeof(dirt));
	ASSERT_EQ(604, emit(self->fd, index, dirt, sizeof(dirt)));
	ASSERT_EQ(0, map_read(map, 0, text));
	ASSERT_EQ(0, memcmp(text, "xxxxxxxxx", 9));
	ASSERT_EQ(12, emit(self->fd, index, "AAAAAAAA", 8));
	ASSERT_EQ(0, map_read(map, 0, text));
	EXPECT_STREQ("AAAAAAAA", text);

	/* and in a batch there is one that the program does not see. */
	batch.records[0].size = sizeof(batch.records[0]);
	batch.records[0].write_index = index;
	memset(batch.records[0].s, 'B', 16);
	batch.records[1].size = sizeof(batch.records[1]);
	batch.records[1].write_index = self->index;
	memset(batch.records[1].s, 'C', 16);
	ASSERT_EQ(sizeof(batch), write(self->fd, &batch, sizeof(batch)));
	ASSERT_EQ(0, map_read(map, 0, text));
	EXPECT_STREQ("BBBBBBBBBBBBBBBB", text);

	program_close(&self->program);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
	close(map);
}

/* Every record of a batch is a write. */
UE_TEST_F(bpf, batch)
{
	struct {
		uint32_t batch;
		struct {
			uint32_t size;
			uint32_t write_index;
			struct payload payload;
		} __packed records[10];
	} __packed batch = { .batch = USER_EVENT_WRITE_BATCH };
	struct result result;
	int i;

	ASSERT_EQ(0, attach_adder(self, variant, 0));
	for (i = 0; i < 10; i++) {
		batch.records[i].size = sizeof(batch.records[i]);
		batch.records[i].write_index = self->index;
		batch.records[i].payload = (struct payload) { .a = 1000 + i };
	}
	ASSERT_EQ(sizeof(batch), write(self->fd, &batch, sizeof(batch)));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(10, result.count);
	EXPECT_EQ(10045, result.sum);
}

/* Success if the program ran, and it ran if it is a success. */
UE_TEST_F(bpf, any_size)
{
	static const size_t sizes[] = {
		4000, 4096, 8176, 8184, 8192, 60000, 65528, 65536, 131072,
		1 << 20, 4 << 20, 8 << 20,
	};
	static unsigned char payload[8 << 20];
	struct result result;
	uint64_t count = 0;
	unsigned int i;
	ssize_t ret;

	ASSERT_EQ(0, attach_adder(self, variant, 0));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ret = emit(self->fd, self->index, payload, sizes[i]);
		if (ret != -E2BIG || sizes[i] <= 60000)
			EXPECT_EQ(4 + sizes[i], ret);
		count += ret > 0;
		ASSERT_EQ(0, map_read(self->map, 0, &result));
		EXPECT_EQ(count, result.count)
			TH_LOG("%zu bytes", sizes[i]);
	}
}

/* A map whose value takes long to copy, and a thread that does nothing else. */
struct copier {
	int map;
	bool stop;
};

static void *copy_value(void *arg)
{
	struct copier *copier = arg;
	void *value = calloc(1, 2 << 20);

	while (value && !__atomic_load_n(&copier->stop, __ATOMIC_RELAXED))
		map_read(copier->map, 0, value);
	free(value);

	return NULL;
}

/*
 * No program runs on a CPU while a system call copies a value of a map there.
 * Where such a call can be preempted, a write that does so has lost what the
 * program would have seen, but not what the ring is to get.
 */
UE_TEST_F(bpf, map_call_is_preempted)
{
	struct copier copier = { .map = map_create(2 << 20, 1) };
	struct sched_param param = { .sched_priority = 1 };
	struct result result;
	int i, blocked = 0;
	pthread_t thread;
	struct pf pf;
	ssize_t ret;

	ASSERT_LT(0, copier.map);
	ASSERT_EQ(0, pf_open(&pf, self->id, 0, -1, pf_pages(16)));
	ASSERT_EQ(0, attach_adder(self, variant, 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, copy_value, &copier));
	ASSERT_EQ(0, pthread_setschedparam(pthread_self(), SCHED_FIFO, &param));

	for (i = 0; i < 1000; i++) {
		usleep(100);
		ret = emit_payload(self, i);
		if (ret == -ENOBUFS)
			blocked++;
		else
			EXPECT_EQ(WRITTEN, ret);
		EXPECT_EQ(1, pf_drain(&pf))
			TH_LOG("round %d", (int)i);
	}

	__atomic_store_n(&copier.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, map_read(self->map, 0, &result));
	EXPECT_EQ(1000, result.count + blocked);
	EXPECT_EQ(blocked, event_lost(self->event, "perf", "recursion"));
	pf_close(&pf);
	close(copier.map);
}

/*
 * Programs come and go while two threads write: as one is always attached,
 * each write is seen, once or, by two programs, twice.
 */
#define WRITES	40000

struct writer {
	struct _test_data_bpf *self;
	int first, done;
	bool *stop;
	ssize_t error;
};

static void *write_numbers(void *arg)
{
	struct writer *writer = arg;
	struct payload payload = { 0 };
	cpu_set_t all;
	ssize_t ret;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);

	while (writer->done < WRITES &&
	       !__atomic_load_n(writer->stop, __ATOMIC_RELAXED)) {
		payload.b = writer->first + writer->done;
		ret = emit(writer->self->fd, writer->self->index, &payload,
			   sizeof(payload));
		if (ret != WRITTEN) {
			writer->error = ret;
			break;
		}
		writer->done++;
	}

	return NULL;
}

UE_TEST_F(bpf, replaced_while_writers_run)
{
	int map = map_create(sizeof(uint64_t), 2 * WRITES);
	struct operand operand = operand_of(self->event, "b");
	struct program programs[2] = { 0 };
	struct writer writers[2];
	pthread_t threads[2];
	bool stop = false;
	int i, j, rounds = ue_rounds(100);
	uint64_t seen;

	ASSERT_LT(0, map);
	ASSERT_EQ(0, program_open(&programs[0], self->id, self->cpu,
				  load_marker(map, operand.offset),
				  variant->attach));
	for (i = 0; i < 2; i++) {
		writers[i] = (struct writer) {
			.self = self, .first = i * WRITES, .stop = &stop,
		};
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, write_numbers,
					    &writers[i]));
	}

	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, program_open(&programs[i & 1], self->id,
					  self->cpu,
					  load_marker(map, operand.offset),
					  variant->attach));
		program_close(&programs[!(i & 1)]);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
		EXPECT_EQ(0, writers[i].error);
		EXPECT_LT(0, writers[i].done);
		for (j = 0; j < writers[i].done; j++) {
			ASSERT_EQ(0, map_read(map, writers[i].first + j,
					      &seen));
			ASSERT_LE(1, seen)
				TH_LOG("write %d of %d", j, writers[i].done);
			ASSERT_GE(2, seen);
		}
	}
	program_close(&programs[0]);
	program_close(&programs[1]);
	close(map);
}

TEST_HARNESS_MAIN
