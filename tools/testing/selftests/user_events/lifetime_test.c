// SPDX-License-Identifier: GPL-2.0
/*
 * How long events live: who keeps them, who may delete them, that they are
 * gone when the call of their last user returns; and the two places that
 * count them, user_events_max and user_events_status.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <linux/capability.h>

#include "user_events_selftests.h"
#include "exec.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif

#define ROUNDS		ue_rounds(1000)
#define TRACED_ROUNDS	ue_rounds(40)

/* Leaves the caller one capability, or none if @cap is negative. */
static int keep_capability(int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {};

	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(65534, 65534, 65534))
		return -errno;

	if (cap >= 0) {
		data[cap / 32].permitted = 1U << cap % 32;
		data[cap / 32].effective = 1U << cap % 32;
	}

	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* Fails if somebody uses the name: tries to take it for other fields. */
static int name_is_free(const char *name)
{
	char args[128];
	uint32_t word = 0;
	int fd, ret;

	if (ue_event_exists(name))
		return 0;

	fd = ue_open();
	if (fd < 0)
		return 0;

	snprintf(args, sizeof(args), "%s struct fields of_its_own 3", name);
	ret = ue_reg(fd, args, &word, 0, NULL);
	if (!ret)
		ue_unreg(fd, &word, 0);
	close(fd);

	return !ret && !ue_event_exists(name);
}

FIXTURE(lifetime) {
	int fd;
	int sock[2];
	char max[32];
	uint32_t word;
};

FIXTURE_SETUP(lifetime)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LT(0, ue_read(UE_MAX, self->max, sizeof(self->max)));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, self->sock));
}

FIXTURE_TEARDOWN_PARENT(lifetime)
{
	EXPECT_EQ(0, ue_write(UE_MAX, self->max));
	EXPECT_EQ(0, ue_sweep());
}

UE_TEST_F(lifetime, close_is_last)
{
	ASSERT_EQ(0, ue_reg(self->fd, "life_close u32 a", &self->word, 0,
			    NULL));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	EXPECT_EQ(1, ue_event_exists("life_close"));
	close(self->fd);
	EXPECT_EQ(0, ue_event_exists("life_close"));
	EXPECT_EQ(0, ue_active());
	EXPECT_EQ(1, name_is_free("life_close"));
}

UE_TEST_F(lifetime, unregister_is_last)
{
	int other;

	ASSERT_EQ(0, ue_reg(self->fd, "life_unreg u32 a", &self->word, 0,
			    NULL));
	close(self->fd);
	EXPECT_EQ(1, ue_event_exists("life_unreg"));
	other = ue_open();
	ASSERT_LE(0, other);
	EXPECT_EQ(-EADDRINUSE, ue_reg(other, "life_unreg", &self->word, 1,
				      NULL));
	EXPECT_EQ(-EBUSY, ue_del(other, "life_unreg"));

	/* The registration works on, and takes any open file to end. */
	ASSERT_EQ(0, ue_switch("life_unreg", 1));
	EXPECT_EQ(1, self->word);
	ASSERT_EQ(0, ue_switch("life_unreg", 0));
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(0, ue_unreg(other, &self->word, 0));
	EXPECT_EQ(0, ue_event_exists("life_unreg"));
	EXPECT_EQ(1, name_is_free("life_unreg"));
}

/* Each of several words and files keeps the event. */
UE_TEST_F(lifetime, last_of_several)
{
	int other = ue_open();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ue_reg(self->fd, "life_several", &self->word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "life_several", &self->word, 1, NULL));
	ASSERT_EQ(0, ue_reg(other, "life_several", &self->word, 2, NULL));

	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 1));
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 2));
	close(self->fd);
	EXPECT_EQ(0, ue_unreg(other, &self->word, 0));
	EXPECT_EQ(1, ue_event_exists("life_several"));
	EXPECT_EQ(-EBUSY, ue_del(other, "life_several"));
	close(other);
	EXPECT_EQ(1, name_is_free("life_several"));
}

UE_TEST_F(lifetime, exit_is_last)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid;

		/* Its own file, or only a word: the file is closed before. */
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int fd = ue_open();

			if (ue_reg(fd, i & 1 ? "life_exit u64 a" :
				   "life_exit u8 a", &self->word, 3, NULL))
				_exit(1);
			if (i & 2)
				close(fd);
			if (i & 4)
				raise(SIGKILL);
			_exit(0);
		}
		ASSERT_EQ(i & 4 ? -SIGKILL : 0, ue_wait(pid));
		ASSERT_EQ(0, ue_event_exists("life_exit"));
		ASSERT_EQ(1, name_is_free("life_exit"));
	}
}

UE_TEST_F(lifetime, exec_is_last)
{
	char byte;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = ue_open();

		if (ue_reg(fd, "life_exec", &self->word, 3, NULL) ||
		    ue_reg(fd, "life_exec2 u32 a", &self->word, 4, NULL) ||
		    close(self->sock[0]))
			_exit(1);
		exec_self(self->sock[1]);
		_exit(2);
	}
	close(self->sock[1]);
	ASSERT_EQ(1, read(self->sock[0], &byte, 1));

	/* The new program runs, and neither has the file nor the words. */
	EXPECT_EQ(1, name_is_free("life_exec"));
	EXPECT_EQ(1, name_is_free("life_exec2"));
	close(self->sock[0]);
	EXPECT_EQ(0, ue_wait(pid));
}

/* What exec drops are the words: a file that stays open keeps the event. */
UE_TEST_F(lifetime, exec_with_open_file)
{
	char byte;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = open(UE_DATA, O_RDWR);

		if (ue_reg(fd, "life_exec_open", &self->word, 3, NULL) ||
		    close(self->sock[0]))
			_exit(1);
		exec_self(self->sock[1]);
		_exit(2);
	}
	close(self->sock[1]);
	ASSERT_EQ(1, read(self->sock[0], &byte, 1));
	EXPECT_EQ(1, ue_event_exists("life_exec_open"));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_exec_open"));

	/* The old program's word is nobody's: it is not written any more. */
	self->word = 0;
	EXPECT_EQ(0, ue_switch("life_exec_open", 1));
	EXPECT_EQ(0, self->word);
	EXPECT_EQ(0, ue_switch("life_exec_open", 0));

	close(self->sock[0]);
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(1, name_is_free("life_exec_open"));
}

/* A child has the registrations of its parent, and is a user of its own. */
UE_TEST_F(lifetime, forked_child_is_last)
{
	uint32_t *mine = mmap(NULL, sizeof(*mine), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte;
	pid_t pid;

	ASSERT_TRUE(mine != MAP_FAILED);
	ASSERT_EQ(0, ue_reg(self->fd, "life_child u32 a", mine, 5, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "life_child2 u32 a", mine, 6, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int other = ue_open();

		close(self->fd);
		close(self->sock[0]);

		/* Tell, wait, drop one, tell, wait, exit with the other. */
		if (write(self->sock[1], "", 1) != 1 ||
		    read(self->sock[1], &byte, 1) != 1 ||
		    ue_unreg(other, mine, 5) ||
		    write(self->sock[1], "", 1) != 1 ||
		    read(self->sock[1], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(self->sock[1]);
	ASSERT_EQ(1, read(self->sock[0], &byte, 1));
	EXPECT_EQ(0, ue_unreg(self->fd, mine, 5));
	EXPECT_EQ(0, ue_unreg(self->fd, mine, 6));
	close(self->fd);
	EXPECT_EQ(1, ue_event_exists("life_child"));
	EXPECT_EQ(1, ue_event_exists("life_child2"));

	ASSERT_EQ(1, write(self->sock[0], "", 1));
	ASSERT_EQ(1, read(self->sock[0], &byte, 1));
	EXPECT_EQ(1, name_is_free("life_child"));
	EXPECT_EQ(1, ue_event_exists("life_child2"));

	ASSERT_EQ(1, write(self->sock[0], "", 1));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(1, name_is_free("life_child2"));
}

/* Nothing to wait for between the last use of a name and its next one. */
UE_TEST_F(lifetime, reuse_name_at_once)
{
	static const char * const args[] = {
		"life_reuse u32 a",
		"life_reuse u64 b; char[4] c",
		"life_reuse",
	};

	close(self->fd);
	for (int i = 0; i < ROUNDS; i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg(self->fd, args[i % 3], &self->word, i % 32,
				    NULL))
			TH_LOG("round %d", i);
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, i % 32));
		ASSERT_EQ(0, close(self->fd));
	}
	EXPECT_EQ(0, ue_active());
}

UE_TEST_F(lifetime, delete_at_once)
{
	static const char * const args[] = {
		"life_delete u32 a",
		"life_delete u64 b; char[4] c",
		"life_delete",
	};
	int other = ue_open();

	ASSERT_LE(0, other);
	close(self->fd);
	for (int i = 0; i < ROUNDS; i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg_full(self->fd, args[i % 3],
					 USER_EVENT_REG_PERSIST, &self->word,
					 4, i % 32, NULL))
			TH_LOG("round %d", i);
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, i % 32));
		ASSERT_EQ(0, close(self->fd));
		ASSERT_EQ(0, ue_del(other, "life_delete"))
			TH_LOG("round %d", i);
	}
	EXPECT_EQ(0, ue_active());
}

/* The same with the words going last. */
UE_TEST_F(lifetime, unregister_and_reuse)
{
	int other = ue_open();

	ASSERT_LE(0, other);
	close(self->fd);
	for (int i = 0; i < ROUNDS; i++) {
		int persist = i & 2 ? USER_EVENT_REG_PERSIST : 0;

		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg_full(self->fd, i & 1 ? "life_again u8 a" :
					 "life_again u16 a", persist,
					 &self->word, 4, i % 32, NULL))
			TH_LOG("round %d", i);
		ASSERT_EQ(0, close(self->fd));
		ASSERT_EQ(0, ue_unreg(other, &self->word, i % 32));
		ASSERT_EQ(persist ? 0 : -ENOENT, ue_del(other, "life_again"))
			TH_LOG("round %d", i);
	}
	EXPECT_EQ(0, ue_active());
}

/* Which consumers to attach, and what it takes to detach them. */
struct consumers {
	bool ftrace;
	bool instance;
	bool perf;
	int perf_fd;
};

FIXTURE(tracer) {
	int fd;
	uint32_t word;
	struct consumers con;
};

FIXTURE_VARIANT(tracer) {
	struct consumers con;
};

FIXTURE_VARIANT_ADD(tracer, ftrace) {
	.con.ftrace = true,
};

FIXTURE_VARIANT_ADD(tracer, perf) {
	.con.perf = true,
};

FIXTURE_VARIANT_ADD(tracer, instance) {
	.con.instance = true,
};

FIXTURE_VARIANT_ADD(tracer, all) {
	.con.ftrace = true,
	.con.instance = true,
	.con.perf = true,
};

#define INSTANCE "instances/life_tracer"

FIXTURE_SETUP(tracer)
{
	UE_REQUIRE();
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	self->con = variant->con;
}

FIXTURE_TEARDOWN_PARENT(tracer)
{
	rmdir(UE_TRACEFS "/" INSTANCE);
	EXPECT_EQ(0, ue_sweep());
}

static int attach(struct consumers *con, const char *event)
{
	char path[1024];
	int ret = 0;

	if (con->ftrace)
		ret = ue_switch(event, 1);
	if (con->instance && !ret) {
		snprintf(path, sizeof(path), INSTANCE "/%s",
			 ue_event_file(event, "enable"));
		ret = mkdir(UE_TRACEFS "/" INSTANCE, 0700) ? -errno :
							     ue_write(path, "1");
	}
	if (con->perf && !ret) {
		con->perf_fd = ue_perf_open(event);
		ret = con->perf_fd < 0 ? con->perf_fd : 0;
	}

	return ret;
}

static int detach(struct consumers *con, const char *event)
{
	int ret = 0;

	if (con->ftrace)
		ret = ue_switch(event, 0);
	if (con->instance && !ret)
		ret = rmdir(UE_TRACEFS "/" INSTANCE) ? -errno : 0;
	if (con->perf && !ret)
		ret = close(con->perf_fd) ? -errno : 0;

	return ret;
}

/* After a tracer was the last user, the name is for the next to take. */
UE_TEST_F(tracer, register_at_once)
{
	close(self->fd);
	for (int i = 0; i < TRACED_ROUNDS; i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg(self->fd, i & 1 ? "life_traced u8 a" :
				    "life_traced u16 a", &self->word, i % 32,
				    NULL))
			TH_LOG("round %d", i);
		ASSERT_EQ(0, attach(&self->con, "life_traced"));
		EXPECT_EQ(1U << i % 32, self->word);
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, i % 32));
		EXPECT_EQ(0, self->word);
		ASSERT_EQ(0, close(self->fd));
		EXPECT_EQ(1, ue_event_exists("life_traced"));
		ASSERT_EQ(0, detach(&self->con, "life_traced"));
	}
}

UE_TEST_F(tracer, delete_at_once)
{
	int other = ue_open();

	ASSERT_LE(0, other);
	close(self->fd);
	for (int i = 0; i < TRACED_ROUNDS; i++) {
		bool persist = i & 2;

		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg_full(self->fd, i & 1 ?
					 "life_traced_del u8 a" :
					 "life_traced_del u16 a", persist ?
					 USER_EVENT_REG_PERSIST : 0,
					 &self->word, 4, i % 32, NULL))
			TH_LOG("round %d", i);
		ASSERT_EQ(0, attach(&self->con, "life_traced_del"));
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, i % 32));
		ASSERT_EQ(0, close(self->fd));
		EXPECT_EQ(-EBUSY, ue_del(other, "life_traced_del"));
		ASSERT_EQ(0, detach(&self->con, "life_traced_del"));
		if (persist) {
			EXPECT_EQ(0, ue_del(other, "life_traced_del"))
				TH_LOG("round %d", i);
		} else {
			/* Gone, or deletable: but not busy. */
			EXPECT_NE(-EBUSY, ue_del(other, "life_traced_del"))
				TH_LOG("round %d", i);
		}
		EXPECT_EQ(-ENOENT, ue_del(other, "life_traced_del"));
	}
	EXPECT_EQ(0, ue_active());
}

/* As echo > dynamic_events: deletes all events, or none if one is in use. */
static int delete_all(void)
{
	int fd = ue_open_file("dynamic_events", O_WRONLY | O_TRUNC);

	if (fd < 0)
		return fd;

	return close(fd) ? -errno : 0;
}

/* dynamic_events, too, sees no user where the last one was a tracer. */
UE_TEST_F(tracer, delete_line_at_once)
{
	int ret;

	close(self->fd);
	for (int i = 0; i < TRACED_ROUNDS; i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg(self->fd, "life_traced_line u8 a",
				    &self->word, 0, NULL));
		ASSERT_EQ(0, attach(&self->con, "life_traced_line"));
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		ASSERT_EQ(0, close(self->fd));
		EXPECT_EQ(-EBUSY, ue_write("dynamic_events",
					   "-:user_events/life_traced_line"));
		EXPECT_EQ(-EBUSY, delete_all());
		ASSERT_EQ(0, detach(&self->con, "life_traced_line"));

		/* It may be gone already. */
		ret = i & 1 ? delete_all() :
			      ue_write("dynamic_events", "-:user_events/life_traced_line");
		EXPECT_TRUE(!ret || (!(i & 1) && ret == -ENOENT))
			TH_LOG("round %d: %d", i, ret);
		EXPECT_EQ(0, ue_event_exists("life_traced_line"));
	}
	EXPECT_EQ(0, ue_active());
}

/* An event in use saves those that are not. */
UE_TEST_F(lifetime, delete_all)
{
	ASSERT_EQ(0, ue_write("dynamic_events", "u:life_idle u32 a"));
	ASSERT_EQ(0, ue_reg(self->fd, "life_busy", &self->word, 0, NULL));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:life_idle2 u32 a"));
	EXPECT_EQ(-EBUSY, delete_all());
	EXPECT_EQ(3, ue_active());
	EXPECT_EQ(1, ue_event_exists("life_idle"));
	EXPECT_EQ(1, ue_event_exists("life_busy"));
	EXPECT_EQ(1, ue_event_exists("life_idle2"));

	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	EXPECT_EQ(-EBUSY, delete_all());
	close(self->fd);
	EXPECT_EQ(2, ue_active());
	EXPECT_EQ(0, delete_all());
	EXPECT_EQ(0, ue_active());
}

/* An event that only an eprobe has kept goes when that does, untouched. */
UE_TEST_F(lifetime, eprobe_is_last)
{
	int ret;

	ASSERT_EQ(0, ue_reg(self->fd, "life_kept u32 a", &self->word, 0, NULL));
	ret = ue_write("dynamic_events", "e:life/kept user_events/life_kept a=$a:u32");
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);
	if (ret == -EINVAL)
		SKIP(return, "no eprobes");
	ASSERT_EQ(0, ret);
	EXPECT_EQ(1, ue_event_exists("life_kept"));
	ASSERT_EQ(0, ue_write("dynamic_events", "-:life/kept"));

	/* Nobody asks for it. The test ends by its time limit if it stays. */
	while (ue_event_exists("life_kept"))
		usleep(10000);
}

/* An eprobe holds the event, which is free as soon as that is gone. */
UE_TEST_F(lifetime, delete_after_eprobe)
{
	static const char * const lines[] = {
		"-:life_probed u32 a", "-:user_events/life_probed", NULL,
	};
	int ret;

	close(self->fd);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		self->fd = ue_open();
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ue_reg(self->fd, "life_probed u32 a",
				    &self->word, 0, NULL));
		ret = ue_write("dynamic_events",
			       "e:life/eprobe user_events/life_probed a=$a:u32");
		ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
		close(self->fd);
		if (ret == -EINVAL)
			SKIP(return, "no eprobes");
		ASSERT_EQ(0, ret);

		EXPECT_EQ(-EBUSY, ue_write("dynamic_events", "-:life_probed u32 a"));
		EXPECT_EQ(-EBUSY, delete_all());
		ASSERT_EQ(0, ue_write("dynamic_events", "-:life/eprobe"));
		ret = lines[i] ? ue_write("dynamic_events", lines[i]) :
		      delete_all();
		/* Or it has gone already. */
		EXPECT_TRUE(!ret || (lines[i] && ret == -ENOENT));
		EXPECT_EQ(0, ue_event_exists("life_probed"));
	}
	EXPECT_EQ(0, ue_active());
}

UE_TEST_F(lifetime, delete_errors)
{
	EXPECT_EQ(-ENOENT, ue_del(self->fd, "life_del"));
	EXPECT_EQ(-ENOENT, ue_del(self->fd, ""));
	ASSERT_EQ(0, ue_reg(self->fd, "life_del u32 a", &self->word, 0, NULL));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_del"));
	EXPECT_EQ(-ENOENT, ue_del(self->fd, "life_de"));
	EXPECT_EQ(-ENOENT, ue_del(self->fd, "life_dell"));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));

	/* The index on this very file is a user, too. */
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_del"));
	EXPECT_EQ(1, ue_event_exists("life_del"));
}

UE_TEST_F(lifetime, persistent)
{
	ASSERT_EQ(0, ue_reg_full(self->fd, "life_persist u32 a",
				 USER_EVENT_REG_PERSIST, &self->word, 4, 0,
				 NULL));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_persist"));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);
	EXPECT_EQ(1, ue_event_exists("life_persist"));
	EXPECT_EQ(1, ue_active());

	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EADDRINUSE, ue_reg(self->fd, "life_persist u64 a",
				      &self->word, 0, NULL));
	EXPECT_EQ(0, ue_reg(self->fd, "life_persist u32 a", &self->word, 0,
			    NULL));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_persist"));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);

	/* It was made persistent: that it was used without does not matter. */
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(1, ue_event_exists("life_persist"));
	EXPECT_EQ(0, ue_del(self->fd, "life_persist"));
	EXPECT_EQ(0, ue_event_exists("life_persist"));
	EXPECT_EQ(-ENOENT, ue_del(self->fd, "life_persist"));
}

/* A call that fails changes nothing: no event, and none that stays for good. */
UE_TEST_F(lifetime, persistent_if_registered)
{
	void *none = (void *)0x10000;

	ASSERT_EQ(0, ue_reg(self->fd, "life_taken u32 a", &self->word, 0,
			    NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg_full(self->fd, "life_persist u32 a",
					   USER_EVENT_REG_PERSIST, &self->word,
					   4, 0, NULL));
	EXPECT_EQ(-EFAULT, ue_reg_full(self->fd, "life_persist u32 a",
				       USER_EVENT_REG_PERSIST, none, 4, 0,
				       NULL));
	EXPECT_EQ(0, ue_event_exists("life_persist"));

	EXPECT_EQ(-EFAULT, ue_reg_full(self->fd, "life_taken u32 a",
				       USER_EVENT_REG_PERSIST, none, 4, 0,
				       NULL));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 0));
	close(self->fd);
	EXPECT_EQ(0, ue_event_exists("life_taken"));
}

/* A persistent event that nobody uses can be traced, and then is in use. */
UE_TEST_F(lifetime, persistent_and_traced)
{
	ASSERT_EQ(0, ue_write("dynamic_events", "u:life_ptraced u32 a"));
	ASSERT_EQ(0, ue_switch("life_ptraced", 1));
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_ptraced"));
	EXPECT_EQ(0, ue_reg(self->fd, "life_ptraced u32 a", &self->word, 8,
			    NULL));
	EXPECT_EQ(1U << 8, self->word);
	EXPECT_EQ(0, ue_unreg(self->fd, &self->word, 8));
	EXPECT_EQ(0, self->word);
	close(self->fd);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(-EBUSY, ue_del(self->fd, "life_ptraced"));
	ASSERT_EQ(0, ue_switch("life_ptraced", 0));
	EXPECT_EQ(0, ue_del(self->fd, "life_ptraced"));
}

UE_TEST_F(lifetime, delete_every_format)
{
	const unsigned int flags = USER_EVENT_REG_MULTI_FORMAT |
				   USER_EVENT_REG_PERSIST;
	int other, unregistered = 0;

	for (int i = 0; i < 8; i++) {
		char args[64];

		snprintf(args, sizeof(args), "life_formats char[%d] a", i + 1);
		ASSERT_EQ(0, ue_reg_full(self->fd, args, flags, &self->word, 4,
					 i, NULL));
	}
	EXPECT_EQ(8, ue_active());
	other = ue_open();
	ASSERT_LE(0, other);
	EXPECT_EQ(-EBUSY, ue_del(other, "life_formats"));
	EXPECT_EQ(8, ue_active());
	for (int i = 0; i < 8; i++)
		unregistered += !ue_unreg(self->fd, &self->word, i);
	EXPECT_EQ(8, unregistered);
	close(self->fd);
	EXPECT_EQ(8, ue_active());
	EXPECT_EQ(0, ue_del(other, "life_formats"));
	EXPECT_EQ(0, ue_active());
	EXPECT_EQ(-ENOENT, ue_del(other, "life_formats"));
}

/*
 * What takes CAP_PERFMON. The files were opened by root: it is the caller who
 * is asked, in a child that has lost what root can do.
 */
static int without_capability(int fd, int dynamic, uint32_t *word)
{
	const unsigned int multi = USER_EVENT_REG_MULTI_FORMAT;

	if (keep_capability(-1))
		return 1;
	if (ue_reg_full(fd, "life_cap u32 a", USER_EVENT_REG_PERSIST, word, 4,
			0, NULL) != -EPERM)
		return 2;
	if (ue_reg_full(fd, "life_cap u32 a", USER_EVENT_REG_PERSIST | multi,
			word, 4, 0, NULL) != -EPERM)
		return 3;
	if (ue_reg_full(fd, "life_root u32 a", USER_EVENT_REG_PERSIST, word, 4,
			0, NULL) != -EPERM)
		return 4;
	if (ue_unreg(fd, word, 0) != -ENOENT)
		return 5;
	if (ue_del(fd, "life_root") != -EPERM)
		return 6;
	if (ue_del(fd, "life_root_multi") != -EPERM)
		return 7;
	if (ue_del(fd, "life_cap") != -ENOENT)
		return 8;
	if (write(dynamic, "u:life_cap u32 a", 16) != -1 || errno != EPERM)
		return 9;
	if (write(dynamic, "-:life_root u32 a", 17) != -1 || errno != EPERM)
		return 10;

	/* The rest is for everybody who was given the file. */
	if (ue_reg(fd, "life_cap u32 a", word, 0, NULL))
		return 11;
	if (ue_reg(fd, "life_root u32 a", word, 1, NULL))
		return 12;
	if (ue_reg_full(fd, "life_root_multi u64 a", multi, word, 4, 2, NULL))
		return 13;
	if (ue_unreg(fd, word, 0) || ue_unreg(fd, word, 1) ||
	    ue_unreg(fd, word, 2))
		return 14;

	return 0;
}

UE_TEST_F(lifetime, unprivileged)
{
	int dynamic = ue_open_file("dynamic_events", O_WRONLY);
	pid_t pid;

	ASSERT_LE(0, dynamic);
	ASSERT_EQ(0, ue_write("dynamic_events", "u:life_root u32 a"));
	ASSERT_EQ(0, ue_reg_full(self->fd, "life_root_multi u32 a",
				 USER_EVENT_REG_PERSIST |
				 USER_EVENT_REG_MULTI_FORMAT, &self->word, 4,
				 9, NULL));
	ASSERT_EQ(0, ue_unreg(self->fd, &self->word, 9));
	close(self->fd);
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(without_capability(self->fd, dynamic, &self->word));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the return in without_capability()");

	close(self->fd);
	self->fd = ue_open();
	EXPECT_EQ(0, ue_event_exists("life_cap"));
	EXPECT_EQ(1, ue_event_exists("life_root"));
	EXPECT_EQ(2, ue_active());
	EXPECT_EQ(0, ue_del(self->fd, "life_root"));
	EXPECT_EQ(0, ue_del(self->fd, "life_root_multi"));
	EXPECT_EQ(0, ue_active());
}

static int with_capability(int fd, int dynamic, uint32_t *word)
{
	int own = dup(fd);

	if (keep_capability(CAP_PERFMON))
		return 1;
	if (ue_reg_full(fd, "life_cap u32 a", USER_EVENT_REG_PERSIST, word, 4,
			0, NULL))
		return 2;
	if (ue_unreg(fd, word, 0))
		return 3;
	if (write(dynamic, "u:life_cap2 u32 a", 17) != 17)
		return 4;
	if (ue_del(own, "life_cap2"))
		return 5;
	if (ue_del(own, "life_root"))
		return 6;

	return 0;
}

UE_TEST_F(lifetime, perfmon_only)
{
	int dynamic = ue_open_file("dynamic_events", O_WRONLY);
	pid_t pid;

	ASSERT_LE(0, dynamic);
	ASSERT_EQ(0, ue_write("dynamic_events", "u:life_root u32 a"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(with_capability(self->fd, dynamic, &self->word));
	EXPECT_EQ(0, ue_wait(pid))
		TH_LOG("the number is of the return in with_capability()");
	EXPECT_EQ(1, ue_event_exists("life_cap"));
	EXPECT_EQ(0, ue_event_exists("life_root"));
	close(self->fd);
	self->fd = ue_open();
	EXPECT_EQ(0, ue_del(self->fd, "life_cap"));
	EXPECT_EQ(0, ue_active());
}

UE_TEST_F(lifetime, max_default)
{
	char text[32];

	EXPECT_STREQ("32768\n", self->max);
	ASSERT_EQ(0, ue_write(UE_MAX, "1234"));
	ASSERT_LT(0, ue_read(UE_MAX, text, sizeof(text)));
	EXPECT_STREQ("1234\n", text);
	EXPECT_EQ(-EINVAL, ue_write(UE_MAX, "many"));
	ASSERT_LT(0, ue_read(UE_MAX, text, sizeof(text)));
	EXPECT_STREQ("1234\n", text);
}

UE_TEST_F(lifetime, max_reached)
{
	const unsigned int multi = USER_EVENT_REG_MULTI_FORMAT;

	ASSERT_EQ(0, ue_write(UE_MAX, "4"));
	ASSERT_EQ(0, ue_reg(self->fd, "life_max0", &self->word, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->fd, "life_max1", &self->word, 1, NULL));
	ASSERT_EQ(0, ue_reg_full(self->fd, "life_max2 u8 a", multi,
				 &self->word, 4, 2, NULL));
	ASSERT_EQ(0, ue_reg_full(self->fd, "life_max2 u16 a", multi,
				 &self->word, 4, 3, NULL));

	/* However they are made, there are to be no more. */
	EXPECT_EQ(-EMFILE, ue_reg(self->fd, "life_max4", &self->word, 4, NULL));
	EXPECT_EQ(-EMFILE, ue_reg_full(self->fd, "life_max2 u32 a", multi,
				       &self->word, 4, 4, NULL));
	EXPECT_EQ(-EMFILE, ue_reg_full(self->fd, "life_max4",
				       USER_EVENT_REG_PERSIST, &self->word, 4,
				       4, NULL));
	EXPECT_EQ(-EMFILE, ue_write("dynamic_events", "u:life_max4"));
	EXPECT_EQ(4, ue_active());
	EXPECT_EQ(0, ue_event_exists("life_max4"));
	EXPECT_EQ(-ENOENT, ue_unreg(self->fd, &self->word, 4));

	/* Those that are there can be used, and one gone is one more. */
	EXPECT_EQ(0, ue_reg(self->fd, "life_max1", &self->word, 5, NULL));
	for (int bit = 0; bit < 6; bit++) {
		EXPECT_EQ(bit == 4 ? -ENOENT : 0,
			  ue_unreg(self->fd, &self->word, bit));
	}
	close(self->fd);
	EXPECT_EQ(0, ue_active());
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, ue_reg(self->fd, "life_max4", &self->word, 4, NULL));

	/* Lowered below what there is, nothing ends, and nothing is added. */
	ASSERT_EQ(0, ue_write(UE_MAX, "0"));
	EXPECT_EQ(1, ue_event_exists("life_max4"));
	EXPECT_EQ(0, ue_reg(self->fd, "life_max4", &self->word, 5, NULL));
	EXPECT_EQ(-EMFILE, ue_reg(self->fd, "life_max5", &self->word, 6, NULL));
	ASSERT_EQ(0, ue_write(UE_MAX, "2"));
	EXPECT_EQ(0, ue_reg(self->fd, "life_max5", &self->word, 6, NULL));
	EXPECT_EQ(-EMFILE, ue_reg(self->fd, "life_max6", &self->word, 7, NULL));
}

/* Registers until there are no more; returns how many, or an error. */
static int fill(int fd, const char *prefix, uint32_t *word)
{
	char args[64];
	int ret, nr = 0;

	do {
		snprintf(args, sizeof(args), "%s%d", prefix, nr);
		ret = ue_reg(fd, args, word, 0, NULL);
		if (!ret)
			ret = ue_unreg(fd, word, 0);
	} while (!ret && ++nr < 1000);

	return ret == -EMFILE ? nr : ret;
}

/* How many of @max events a program without CAP_PERFMON can have; root the rest. */
static int try_reserve(struct _test_data_lifetime *self, int max)
{
	uint32_t word = 0;
	int fd, ret, rest;
	char text[16];
	pid_t pid;

	snprintf(text, sizeof(text), "%d", max);
	ret = ue_write(UE_MAX, text);
	if (ret)
		return ret;
	fd = ue_open();
	if (fd < 0)
		return fd;
	pid = fork();
	if (!pid) {
		if (setresuid(65534, 65534, 65534))
			_exit(-1);
		_exit(fill(fd, "life_user", &word));
	}
	ret = pid < 0 ? -errno : ue_wait(pid);
	rest = fill(self->fd, "life_root", &word);
	close(fd);

	return ret < 0 ? ret : ret + rest == max ? ret : -ERANGE;
}

/* The last 1/32 cannot be taken by programs without CAP_PERFMON. */
UE_TEST_F(lifetime, max_reserve)
{
	EXPECT_EQ(97, try_reserve(self, 100));
}

/* Of few events it is one. */
UE_TEST_F(lifetime, max_reserve_of_few)
{
	EXPECT_EQ(9, try_reserve(self, 10));
}

/* The status is a list of lines, an empty line, and two numbers. */
UE_TEST_F(lifetime, status)
{
	char line[256], want[256], *text, *end;
	int perf;

	text = ue_status_text();
	ASSERT_TRUE(!!text);
	EXPECT_STREQ("\nActive: 0\nBusy: 0\n", text);
	free(text);

	ASSERT_EQ(0, ue_reg(self->fd, "life_status u32 a", &self->word, 0,
			    NULL));
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	EXPECT_STREQ("life_status\n\nActive: 1\nBusy: 0\n", text);
	free(text);

	ASSERT_EQ(0, ue_switch("life_status", 1));
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	EXPECT_STREQ("life_status # Used by ftrace\n\nActive: 1\nBusy: 1\n",
		     text);
	free(text);

	perf = ue_perf_open("life_status");
	ASSERT_LE(0, perf);
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	EXPECT_STREQ("life_status # Used by ftrace perf\n\n"
		     "Active: 1\nBusy: 1\n", text);
	free(text);

	ASSERT_EQ(0, ue_switch("life_status", 0));
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	EXPECT_STREQ("life_status # Used by perf\n\nActive: 1\nBusy: 1\n",
		     text);
	free(text);

	close(perf);
	ASSERT_LT(0, ue_status("life_status", line, sizeof(line)));
	EXPECT_STREQ("life_status", line);
	EXPECT_EQ(0, ue_busy());

	/* More than fits one read; each has its line. */
	close(self->fd);
	EXPECT_EQ(0, ue_unreg(ue_open(), &self->word, 0));
	self->fd = ue_open();
	ASSERT_LE(0, self->fd);
	for (int i = 0; i < 500; i++) {
		uint32_t word = 0;

		snprintf(line, sizeof(line), "life_status_of_many_%d u8 a", i);
		ASSERT_EQ(0, ue_reg(self->fd, line, &word, 0, NULL));
		ASSERT_EQ(0, ue_unreg(self->fd, &word, 0));
	}
	ASSERT_EQ(0, ue_switch("life_status_of_many_77", 1));
	ASSERT_EQ(0, ue_switch("life_status_of_many_499", 1));
	for (int i = 0; i < 500; i++) {
		snprintf(want, sizeof(want), "life_status_of_many_%d", i);
		EXPECT_LT(0, ue_status(want, line, sizeof(line)));
		if (i == 77 || i == 499)
			strcat(want, " # Used by ftrace");
		EXPECT_STREQ(want, line);
	}
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	end = strstr(text, "\n\n");
	ASSERT_TRUE(!!end);
	EXPECT_STREQ("\n\nActive: 500\nBusy: 2\n", end);
	free(text);
}

/* Who reads on behind the end gets nothing, until it starts over. */
UE_TEST_F(lifetime, status_ends)
{
	int fd = ue_open_file("user_events_status", O_RDONLY);
	char text[256];
	ssize_t len;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ue_reg(self->fd, "life_end0", &self->word, 0, NULL));
	len = read(fd, text, sizeof(text) - 1);
	ASSERT_LT(0, len);
	text[len] = '\0';
	EXPECT_STREQ("life_end0\n\nActive: 1\nBusy: 0\n", text);

	/* One and the other, as what is new might be taken for the totals. */
	ASSERT_EQ(0, ue_reg(self->fd, "life_end1", &self->word, 1, NULL));
	EXPECT_EQ(0, read(fd, text, sizeof(text)));
	ASSERT_EQ(0, ue_reg(self->fd, "life_end2", &self->word, 2, NULL));
	EXPECT_EQ(0, read(fd, text, sizeof(text)));

	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	len = read(fd, text, sizeof(text) - 1);
	ASSERT_LT(0, len);
	text[len] = '\0';
	EXPECT_STREQ("life_end0\nlife_end1\nlife_end2\n\n"
		     "Active: 3\nBusy: 0\n", text);
	EXPECT_EQ(0, read(fd, text, sizeof(text)));
	close(fd);
}

UE_TEST_F(lifetime, status_of_formats)
{
	const char *name = "life_smulti.";
	const size_t len = strlen(name);
	char *text, *second, *end;
	unsigned long id, id2;

	ASSERT_EQ(0, ue_reg_full(self->fd, "life_smulti u8 a",
				 USER_EVENT_REG_MULTI_FORMAT, &self->word, 4,
				 0, NULL));
	ASSERT_EQ(0, ue_reg_full(self->fd, "life_smulti u16 a",
				 USER_EVENT_REG_MULTI_FORMAT, &self->word, 4,
				 1, NULL));
	text = ue_status_text();
	ASSERT_TRUE(!!text);
	ASSERT_EQ(0, strncmp(text, name, len));
	id = strtoul(text + len, &second, 16);
	ASSERT_EQ('\n', *second);
	second++;
	ASSERT_EQ(0, strncmp(second, name, len));
	id2 = strtoul(second + len, &end, 16);
	EXPECT_NE(id, id2);
	EXPECT_STREQ("\n\nActive: 2\nBusy: 0\n", end);
	free(text);
}

TEST_HARNESS_MAIN
