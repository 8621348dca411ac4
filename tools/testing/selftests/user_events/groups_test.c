// SPDX-License-Identifier: GPL-2.0
/*
 * Groups: what a program does through the files of one group is the group's
 * alone, and a group is removed when nothing of it is in use, or not at all.
 */
#include <dirent.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/userfaultfd.h>

#include "consumer.h"
#include "exec.h"
#include "groups.h"
#include "process.h"

#define WEB	"test_web"
#define DB	"test_db"

/* 45 characters, the most. */
#define LONGEST	"a23456789_123456789_123456789_123456789_12345"

/* Nobody's. */
#define USER	54321
#define GID	54322
#define OTHER	54323

#define MANY	ue_rounds(1000)
#define EVENTS	10

FIXTURE(groups) {
	int web, db;		/* user_events_data of both */
	uint32_t *words;	/* private memory */
	char max[32];		/* user_events_max */
	struct ft ft;
	int line;		/* where a child failed */
};

FIXTURE_SETUP(groups)
{
	UE_REQUIRE();
	if (access(UE_GROUPS, F_OK))
		SKIP(return, "no " UE_GROUPS);
	ASSERT_LT(0, ue_read(UE_MAX, self->max, sizeof(self->max)));
	ASSERT_EQ(0, group_make(WEB));
	ASSERT_EQ(0, group_make(DB));
	self->web = group_open(WEB);
	self->db = group_open(DB);
	ASSERT_LE(0, self->web);
	ASSERT_LE(0, self->db);
	self->words = map_pages(1);
	ASSERT_TRUE(!!self->words);
}

FIXTURE_TEARDOWN_PARENT(groups)
{
	ue_write("events/user_events_" WEB "/enable", "0");
	ue_write("events/user_events_" DB "/enable", "0");
	/* Memory and file were the test's process's. */
	self->ft.page = NULL;
	self->ft.fd = 0;
	EXPECT_EQ(0, ft_destroy(&self->ft));
	EXPECT_EQ(0, group_sweep(WEB));
	EXPECT_EQ(0, group_sweep(DB));
	if (*self->max)
		EXPECT_EQ(0, ue_write(UE_MAX, self->max));
	EXPECT_EQ(0, ue_sweep());
}

static bool lists(const char *file, const char *line)
{
	static char text[1 << 20];
	size_t len = strlen(line);
	char *pos = text;

	if (ue_read(file, text, sizeof(text)) < 0)
		return false;
	while ((pos = strstr(pos, line))) {
		if ((pos == text || pos[-1] == '\n') && pos[len] == '\n')
			return true;
		pos++;
	}

	return false;
}

static bool status_lists(const char *group, const char *line)
{
	return lists(group_path(group, "root/user_events_status"), line);
}

UE_TEST_F(groups, names)
{
	static const struct {
		const char *name;
		int error;
	} cases[] = {
		{ "x", 0 },
		{ "_", 0 },
		{ "0", 0 },
		{ "Az_09", 0 },
		{ "multia", 0 },
		{ "Multi", 0 },
		{ "a_multi_b", 0 },
		{ LONGEST, 0 },
		{ LONGEST "6", -EINVAL },
		{ "multi", -EINVAL },
		{ "multi_", -EINVAL },
		{ "multi_x", -EINVAL },
		{ "a.b", -EINVAL },
		{ "a-b", -EINVAL },
		{ "a b", -EINVAL },
		{ "a:b", -EINVAL },
		{ "a%sb", -EINVAL },
		{ "a\nb", -EINVAL },
		{ "\xc3\xa9", -EINVAL },
		{ WEB, -EEXIST },
	};
	char line[128];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, group_make(cases[i].name))
			TH_LOG("name \"%s\"", cases[i].name);
		if (cases[i].error)
			continue;

		/* It works to the last character of its systems. */
		EXPECT_EQ(-EEXIST, group_make(cases[i].name));
		fd = group_open(cases[i].name);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, ue_reg(fd, "grp_a u32 a", self->words, 0, NULL));
		EXPECT_EQ(0, ue_reg_full(fd, "grp_a u32 a", USER_EVENT_REG_MULTI_FORMAT,
					 self->words, 4, 1, NULL));
		EXPECT_EQ(1, group_event_exists(cases[i].name, "grp_a"));
		snprintf(line, sizeof(line), "events/user_events_multi_%s/grp_a.0/id",
			 cases[i].name);
		EXPECT_LT(0, file_number(line, ""));
		EXPECT_EQ(0, ue_unreg(fd, self->words, 0));
		EXPECT_EQ(0, ue_unreg(fd, self->words, 1));
		close(fd);
		EXPECT_EQ(0, group_remove(cases[i].name));
		EXPECT_EQ(-ENOENT, group_remove(cases[i].name));
	}
	EXPECT_EQ(-EEXIST, mkdir(UE_GROUPS "/.", 0700) ? -errno : 0);
}

static unsigned int mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_mode;
}

/* Nothing else is there, and nothing can be made. */
UE_TEST_F(groups, files)
{
	static const char * const dirs[] = { "", "root" };
	char path[256];

	EXPECT_EQ(S_IFDIR | 0750, mode_of(UE_GROUPS));
	EXPECT_EQ(S_IFDIR | 0750, mode_of(group_full_path(WEB, "")));
	EXPECT_EQ(S_IFREG | 0644, mode_of(group_full_path(WEB, "max_events")));
	EXPECT_EQ(S_IFDIR | 0750, mode_of(group_full_path(WEB, "root")));
	EXPECT_EQ(S_IFREG | 0640, mode_of(group_full_path(WEB, "root/user_events_data")));
	EXPECT_EQ(S_IFREG | 0440, mode_of(group_full_path(WEB, "root/user_events_status")));
	EXPECT_TRUE(lists(group_path(WEB, "max_events"), "1024"));
	EXPECT_TRUE(lists(group_path(WEB, "root/user_events_status"), "Active: 0"));

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		struct dirent *entry;
		DIR *dir = opendir(group_full_path(WEB, dirs[i]));
		int count = 0;

		ASSERT_TRUE(!!dir);
		while ((entry = readdir(dir)))
			count += entry->d_name[0] != '.';
		closedir(dir);
		EXPECT_EQ(2, count);

		snprintf(path, sizeof(path), "%s/more", group_full_path(WEB, dirs[i]));
		EXPECT_EQ(-1, mkdir(path, 0700));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(-1, open(path, O_CREAT | O_RDWR, 0600));
	}
	EXPECT_EQ(-1, rmdir(group_full_path(WEB, "root")));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, unlink(group_full_path(WEB, "root/user_events_data")));
	EXPECT_EQ(-1, rename(group_full_path(WEB, ""), group_full_path("x", "")));
	EXPECT_EQ(-1, open(UE_GROUPS "/file", O_CREAT | O_RDWR, 0600));

	/* Those of ftrace are what they were. */
	EXPECT_EQ(0, ft_create(&self->ft, "groups"));
	EXPECT_EQ(-1, mkdir(UE_TRACEFS "/more", 0700));
	EXPECT_EQ(-ENOENT, group_remove(strrchr(self->ft.dir, '/') + 1));
}

UE_TEST_F(groups, same_name)
{
	int first = ue_open(), index;

	ASSERT_LE(0, first);
	ASSERT_EQ(0, ue_reg(first, "grp_a u8 a", self->words, 0, &index));
	EXPECT_EQ(0, index);
	ASSERT_EQ(0, ue_reg(self->web, "grp_a u32 a", self->words, 1, &index));
	EXPECT_EQ(0, index);
	ASSERT_EQ(0, ue_reg(self->db, "grp_a u64 b; u8 c", self->words, 2, &index));
	EXPECT_EQ(0, index);
	EXPECT_EQ(-EADDRINUSE, ue_reg(self->web, "grp_a u8 a", self->words, 3, NULL));

	EXPECT_LT(0, file_number(group_event(NULL, "grp_a", "format"), "u8 a;\toffset:"));
	EXPECT_LT(0, file_number(group_event(WEB, "grp_a", "format"), "u32 a;\toffset:"));
	EXPECT_LT(0, file_number(group_event(DB, "grp_a", "format"), "u64 b;\toffset:"));

	/* Each status lists its own. */
	ASSERT_EQ(0, ue_reg(self->web, "grp_w", self->words, 4, NULL));
	EXPECT_EQ(2, group_active(WEB));
	EXPECT_EQ(1, group_active(DB));
	EXPECT_EQ(1, ue_active());
	EXPECT_TRUE(status_lists(WEB, "grp_w"));
	EXPECT_FALSE(status_lists(DB, "grp_w"));
	EXPECT_FALSE(lists("user_events_status", "grp_w"));

	/* A name of another group is none of ours. */
	EXPECT_EQ(-ENOENT, ue_del(self->db, "grp_w"));
	EXPECT_EQ(-ENOENT, ue_del(first, "grp_w"));
	EXPECT_EQ(-EBUSY, ue_del(self->web, "grp_w"));
	EXPECT_EQ(0, ue_unreg(self->web, self->words, 1));
	close(self->web);
	self->web = group_open(WEB);
	ASSERT_LE(0, self->web);
	EXPECT_EQ(-ENOENT, ue_del(self->web, "grp_a"));
	EXPECT_EQ(1, group_event_exists(DB, "grp_a"));
	EXPECT_EQ(1, group_event_exists(NULL, "grp_a"));
	EXPECT_EQ(0, group_event_exists(WEB, "grp_a"));
	close(first);
}

/* The number behind the name counts each group's own. */
UE_TEST_F(groups, same_name_multi)
{
	int first = ue_open(), flags = USER_EVENT_REG_MULTI_FORMAT | USER_EVENT_REG_PERSIST;

	ASSERT_LE(0, first);
	ASSERT_EQ(0, ue_reg_full(self->web, "grp_m u32 a", flags, self->words, 4, 0, NULL));
	ASSERT_EQ(0, ue_reg_full(self->web, "grp_m u32 b", flags, self->words, 4, 1, NULL));
	ASSERT_EQ(0, ue_reg_full(self->db, "grp_m u32 a", flags, self->words, 4, 2, NULL));
	ASSERT_EQ(0, ue_reg_full(first, "grp_m u32 a", flags, self->words, 4, 3, NULL));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:user_events_" WEB "/grp_m u8 c"));
	EXPECT_TRUE(status_lists(WEB, "grp_m.0"));
	EXPECT_TRUE(status_lists(WEB, "grp_m.1"));
	EXPECT_TRUE(status_lists(WEB, "grp_m"));
	EXPECT_TRUE(status_lists(DB, "grp_m.0"));
	EXPECT_FALSE(status_lists(DB, "grp_m.1"));

	for (int i = 0; i < 4; i++)
		EXPECT_EQ(0, ue_unreg(first, self->words, i));
	EXPECT_EQ(-EBUSY, ue_del(self->web, "grp_m"));
	close(self->web);
	self->web = group_open(WEB);
	ASSERT_LE(0, self->web);
	EXPECT_EQ(0, ue_del(self->web, "grp_m"));
	EXPECT_EQ(0, group_active(WEB));
	EXPECT_EQ(1, group_active(DB));
	EXPECT_LE(1, ue_active());
	close(first);
}

/* Each record goes to the event of its group, by ftrace and by perf. */
UE_TEST_F(groups, records)
{
	uint32_t small = 0x12345678;
	uint64_t big = 0x1122334455667788ULL;
	struct pf web = {}, db = {};
	int wi, di;

	ASSERT_EQ(0, ft_create(&self->ft, "groups"));
	ASSERT_EQ(0, ue_reg(self->web, "grp_a u32 a", &self->words[0], 0, &wi));
	ASSERT_EQ(0, ue_reg(self->db, "grp_a u64 b", &self->words[1], 0, &di));

	ASSERT_EQ(0, ft_set(&self->ft, "events/user_events_" WEB "/grp_a/enable", "1"));
	EXPECT_EQ(1, self->words[0]);
	EXPECT_EQ(0, self->words[1]);
	EXPECT_EQ(-EBADF, emit(self->db, di, &big, sizeof(big)));
	EXPECT_EQ(8, emit(self->web, wi, &small, sizeof(small)));
	EXPECT_EQ(1, ft_got(&self->ft, &small, sizeof(small)));

	ASSERT_EQ(0, ft_set(&self->ft, "events/user_events_" WEB "/enable", "0"));
	ASSERT_EQ(0, ft_set(&self->ft, "set_event", "user_events_" DB ":*"));
	EXPECT_EQ(0, self->words[0]);
	EXPECT_EQ(1, self->words[1]);
	EXPECT_EQ(-EBADF, emit(self->web, wi, &small, sizeof(small)));
	EXPECT_EQ(12, emit(self->db, di, &big, sizeof(big)));
	EXPECT_EQ(1, ft_got(&self->ft, &big, sizeof(big)));
	EXPECT_TRUE(status_lists(DB, "grp_a # Used by ftrace"));
	EXPECT_TRUE(status_lists(WEB, "grp_a"));
	ASSERT_EQ(0, ft_set(&self->ft, "events/user_events_" DB "/grp_a/filter", "b == 1"));
	EXPECT_EQ(12, emit(self->db, di, &big, sizeof(big)));
	EXPECT_EQ(0, ft_got(&self->ft, &big, sizeof(big)));
	ASSERT_EQ(0, ft_set(&self->ft, "events/enable", "0"));

	ASSERT_EQ(0, pf_open(&web, file_number(group_event(WEB, "grp_a", "id"), ""), 0, -1,
			     pf_pages(64)));
	ASSERT_EQ(0, pf_open(&db, file_number(group_event(DB, "grp_a", "id"), ""), 0, -1,
			     pf_pages(64)));
	EXPECT_EQ(8, emit(self->web, wi, &small, sizeof(small)));
	EXPECT_EQ(1, pf_got(&web, &small, sizeof(small)));
	EXPECT_EQ(0, pf_got(&db, &big, sizeof(big)));
	EXPECT_EQ(12, emit(self->db, di, &big, sizeof(big)));
	EXPECT_EQ(1, pf_got(&db, &big, sizeof(big)));
	EXPECT_EQ(0, pf_got(&web, &small, sizeof(small)));
	pf_close(&web);
	pf_close(&db);
}

UE_TEST_F(groups, dynamic_events)
{
	static const struct {
		const char *line;
		int error;
	} lines[] = {
		{ "u:user_events_" WEB "/grp_d u32 a", 0 },
		{ "u:user_events_" WEB "/grp_d u32 a", 0 },
		{ "u:user_events_" WEB "/grp_d u32 b", -EADDRINUSE },
		{ "u:user_events_" DB "/grp_d u64 b", 0 },
		{ "u:grp_d u8 a", 0 },
		{ "u:user_events/grp_d u8 a", 0 },
		{ "u:user_events/grp_d u8 b", -EADDRINUSE },
		{ "u:user_events_none/grp_d u32 a", -ENOENT },
		{ "u:user_events_" WEB "x/grp_d u32 a", -ENOENT },
		{ "u:user_events_/grp_d u32 a", -ENOENT },
		{ "u:user_events_multi/grp_d u32 a", -ENOENT },
		{ "u:user_events_multi_" WEB "/grp_d u32 a", -ENOENT },
		{ "u:user_events_" LONGEST "6/grp_d", -EINVAL },
		{ "u:sched/grp_d u32 a", -EINVAL },
		{ "u:/grp_d u32 a", -EINVAL },
		{ "u:user_events_" WEB "/", -EINVAL },
		{ "u:user_events_" WEB "/a/b", -EINVAL },
		{ "u:user_events_" WEB "/grp_d2 u33 a", -EINVAL },
		{ "-:user_events_none/grp_d", -ENOENT },
		{ "-:user_events_" DB "/grp_d u32 a", -ENOENT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		EXPECT_EQ(lines[i].error, ue_write("dynamic_events", lines[i].line))
			TH_LOG("\"%s\"", lines[i].line);
	}

	EXPECT_TRUE(lists("dynamic_events", "u:user_events_" WEB "/grp_d u32 a"));
	EXPECT_TRUE(lists("dynamic_events", "u:user_events_" DB "/grp_d u64 b"));
	EXPECT_TRUE(lists("dynamic_events", "u:grp_d u8 a"));
	EXPECT_EQ(1, group_active(WEB));
	EXPECT_EQ(1, group_active(DB));
	EXPECT_EQ(1, ue_active());

	/* Without a system it is the first group's, and only that. */
	ASSERT_EQ(0, ue_write("dynamic_events", "u:user_events_" WEB "/grp_bare"));
	EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:grp_bare"));
	ASSERT_EQ(0, ue_write("dynamic_events", "u: user_events/grp_bare"));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:grp_bare"));
	EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:grp_bare"));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:user_events/grp_d"));
	EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:user_events/grp_d"));
	EXPECT_EQ(-ENOENT, ue_write("dynamic_events", "-:grp_d u32 a"));
	EXPECT_EQ(2, group_active(WEB));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:user_events_" WEB "/grp_bare"));
	EXPECT_EQ(0, ue_write("dynamic_events", "-:user_events_" WEB "/grp_d u32 a"));
	EXPECT_EQ(0, group_active(WEB));
	EXPECT_EQ(1, group_active(DB));

	/* Both kinds of events are the group's. */
	ASSERT_EQ(0, ue_reg_full(self->web, "grp_d u32 a", USER_EVENT_REG_MULTI_FORMAT |
				 USER_EVENT_REG_PERSIST, self->words, 4, 0, NULL));
	EXPECT_TRUE(lists("dynamic_events", "u:user_events_" WEB "/grp_d u32 a"));
	EXPECT_EQ(-EBUSY, ue_write("dynamic_events", "-:user_events_" WEB "/grp_d"));
	ASSERT_EQ(0, ue_unreg(self->web, self->words, 0));
	close(self->web);
	EXPECT_EQ(0, ue_write("dynamic_events", "-:user_events_" WEB "/grp_d"));
	EXPECT_EQ(0, group_active(WEB));
	EXPECT_EQ(0, ue_write("dynamic_events", "!u:user_events_" DB "/grp_d u64 b"));
	EXPECT_EQ(0, group_active(DB));
}

static int try_event(int fd, const char *event)
{
	uint32_t word = 0;
	int ret = ue_reg(fd, event, &word, 0, NULL);

	if (!ret)
		ret = ue_unreg(fd, &word, 0);

	return ret;
}

UE_TEST_F(groups, max_events)
{
	static const char * const bad[] = { "", "-1", "x", "1x", "4294967296", "0x10", NULL };

	ASSERT_EQ(0, group_set_max(WEB, 2));
	EXPECT_TRUE(lists(group_path(WEB, "max_events"), "2"));
	ASSERT_EQ(0, ue_reg(self->web, "grp_0", self->words, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->web, "grp_1", self->words, 1, NULL));
	EXPECT_EQ(-EMFILE, ue_reg(self->web, "grp_2", self->words, 2, NULL));
	EXPECT_EQ(-EMFILE, ue_reg_full(self->web, "grp_0", USER_EVENT_REG_MULTI_FORMAT,
				       self->words, 4, 2, NULL));
	EXPECT_EQ(-EMFILE, ue_write("dynamic_events", "u:user_events_" WEB "/grp_2"));
	EXPECT_EQ(0, ue_reg(self->web, "grp_1", self->words, 2, NULL));
	EXPECT_EQ(2, group_active(WEB));

	/* Nobody else has less for it. */
	EXPECT_EQ(0, try_event(self->db, "grp_2"));

	/* Below what is there: nothing goes, and nothing comes. */
	ASSERT_EQ(0, group_set_max(WEB, 0));
	EXPECT_EQ(2, group_active(WEB));
	EXPECT_EQ(-EMFILE, try_event(self->web, "grp_2"));
	EXPECT_EQ(0, try_event(self->web, "grp_1"));
	ASSERT_EQ(0, group_set_max(WEB, 3));
	EXPECT_EQ(0, try_event(self->web, "grp_2"));
	ASSERT_EQ(0, group_set_max(WEB, UINT32_MAX));
	EXPECT_EQ(0, try_event(self->web, "grp_3"));

	for (int i = 0; bad[i]; i++) {
		int ret = ue_write(group_path(WEB, "max_events"), bad[i]);

		EXPECT_TRUE(ret == -EINVAL || ret == -ERANGE || (!*bad[i] && !ret))
			TH_LOG("\"%s\": %d", bad[i], ret);
		EXPECT_TRUE(lists(group_path(WEB, "max_events"), "4294967295"));
	}
}

/* What is left of the system's total is for all of them. */
UE_TEST_F(groups, system_total)
{
	int first = ue_open();
	char text[32];

	ASSERT_LE(0, first);
	ASSERT_EQ(0, ue_active());
	ASSERT_EQ(0, ue_reg(self->web, "grp_0", self->words, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->db, "grp_0", self->words, 1, NULL));
	ASSERT_EQ(0, ue_reg(first, "grp_0", self->words, 2, NULL));
	snprintf(text, sizeof(text), "%d", 3);
	ASSERT_EQ(0, ue_write(UE_MAX, text));
	EXPECT_EQ(-EMFILE, try_event(self->web, "grp_1"));
	EXPECT_EQ(-EMFILE, try_event(self->db, "grp_1"));
	EXPECT_EQ(-EMFILE, try_event(first, "grp_1"));
	EXPECT_EQ(0, try_event(self->web, "grp_0"));

	/* An event of one group that goes makes room in another. */
	ASSERT_EQ(0, ue_unreg(first, self->words, 1));
	close(self->db);
	EXPECT_EQ(0, try_event(self->web, "grp_1"));
	close(first);
}

/* Registers as a user until there are no more; returns how many. */
static int fill(int fd)
{
	uint32_t word = 0;
	char name[32];
	int nr = -1;
	int ret;

	if (setresuid(USER, USER, USER))
		return -1;
	do {
		snprintf(name, sizeof(name), "grp_fill%d", ++nr);
		ret = ue_reg(fd, name, &word, 0, NULL) ?: ue_unreg(fd, &word, 0);
	} while (!ret && nr < 100);

	return ret == -EMFILE ? nr : -1;
}

/* The last 1/32 of that is for CAP_PERFMON, whatever the group. */
UE_TEST_F(groups, system_reserve)
{
	pid_t pid;

	ASSERT_EQ(0, ue_active());
	ASSERT_EQ(0, ue_write(UE_MAX, "64"));
	ASSERT_EQ(0, ue_reg(self->db, "grp_0", self->words, 0, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(fill(self->web));
	EXPECT_EQ(61, ue_wait(pid));
	EXPECT_EQ(61, group_active(WEB));
	EXPECT_EQ(0, ue_reg(self->db, "grp_1", self->words, 1, NULL));
	EXPECT_EQ(0, ue_reg(self->web, "grp_1", self->words, 2, NULL));
	EXPECT_EQ(-EMFILE, ue_reg(self->web, "grp_2", self->words, 3, NULL));
}

/* Each way to use a group keeps it; without any, it goes. */
UE_TEST_F(groups, remove_open)
{
	static const char * const files[] = {
		"root/user_events_data", "root/user_events_status", "max_events",
	};
	void *map;
	int fd;

	close(self->db);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fd = ue_open_file(group_path(DB, files[i]), O_RDONLY);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EBUSY, group_remove(DB));
		close(fd);
		EXPECT_EQ(0, group_remove(DB));
		EXPECT_EQ(-ENOENT, group_open(DB));
		ASSERT_EQ(0, group_make(DB));
	}

	/* A mapping alone, and a part of one. */
	fd = group_open(DB);
	ASSERT_LE(0, fd);
	map = mmap(NULL, 2 * page_size(), PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	close(fd);
	EXPECT_EQ(-EBUSY, group_remove(DB));
	munmap(map, page_size());
	EXPECT_EQ(-EBUSY, group_remove(DB));
	munmap((char *)map + page_size(), page_size());
	EXPECT_EQ(0, group_remove(DB));
	ASSERT_EQ(0, group_make(DB));

	/* A path keeps nothing. */
	fd = ue_open_file(group_path(DB, "root/user_events_data"), O_PATH);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, group_remove(DB));
	close(fd);
}

UE_TEST_F(groups, remove_registered)
{
	void *map;

	/* The file has gone, the word is there. */
	ASSERT_EQ(0, ue_reg(self->web, "grp_a u32 a", self->words, 0, NULL));
	close(self->web);
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(1, group_event_exists(WEB, "grp_a"));
	EXPECT_EQ(0, ue_unreg(self->db, self->words, 0));
	EXPECT_EQ(0, group_event_exists(WEB, "grp_a"));
	EXPECT_EQ(0, group_remove(WEB));
	ASSERT_EQ(0, group_make(WEB));

	/* A word in a page of one group that shows an event of another. */
	self->web = group_open(WEB);
	ASSERT_LE(0, self->web);
	map = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, self->web, 0);
	ASSERT_NE(MAP_FAILED, map);
	close(self->web);
	ASSERT_EQ(0, ue_reg(self->db, "grp_a u32 a", map, 0, NULL));
	ASSERT_EQ(0, group_switch(DB, "grp_a", 1));
	EXPECT_EQ(1, *(uint32_t *)map);
	ASSERT_EQ(0, group_switch(DB, "grp_a", 0));
	close(self->db);
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(-EBUSY, group_remove(DB));
	munmap(map, page_size());
	EXPECT_EQ(0, group_remove(WEB));
	EXPECT_EQ(-EBUSY, group_remove(DB));
	self->db = ue_open();
	ASSERT_LE(0, self->db);
	ue_unreg(self->db, map, 0);
	EXPECT_EQ(0, group_remove(DB));
}

/* Histograms of two events of which a synthetic one comes. */
#define FIRST	"hist:keys=a:ts=common_timestamp.usecs"
#define SECOND	"hist:keys=a:d=common_timestamp.usecs-$ts:" \
		"onmatch(user_events_" WEB ".grp_a).grp_syn($d)"

/* Idle persistent events go with their group, those that are traced keep it. */
UE_TEST_F(groups, remove_traced)
{
	struct pf pf = {};
	int id, ret;

	close(self->web);
	ASSERT_EQ(0, ue_write("dynamic_events", "u:user_events_" WEB "/grp_a u32 a"));
	ASSERT_EQ(0, ue_write("dynamic_events", "u:user_events_" WEB "/grp_b u32 a"));
	ASSERT_EQ(0, ft_create(&self->ft, "groups"));

	ASSERT_EQ(0, ft_set(&self->ft, "events/user_events_" WEB "/grp_b/enable", "1"));
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(2, group_active(WEB));
	ASSERT_EQ(0, ft_set(&self->ft, "events/user_events_" WEB "/grp_b/enable", "0"));

	id = file_number(group_event(WEB, "grp_b", "id"), "");
	ASSERT_EQ(0, pf_open(&pf, id, 0, -1, 0));
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	pf_close(&pf);

	/* A histogram that a synthetic event comes from. */
	ret = ue_write("synthetic_events", "grp_syn u64 a");
	if (ret != -ENOENT) {
		ASSERT_EQ(0, ret);
		EXPECT_EQ(0, ue_write(group_event(WEB, "grp_a", "trigger"), FIRST));
		EXPECT_EQ(0, ue_write(group_event(WEB, "grp_b", "trigger"), SECOND));
		EXPECT_EQ(-EBUSY, group_remove(WEB));
		EXPECT_EQ(0, ue_write(group_event(WEB, "grp_b", "trigger"), "!" SECOND));
		EXPECT_EQ(-EBUSY, group_remove(WEB));
		EXPECT_EQ(0, ue_write(group_event(WEB, "grp_a", "trigger"), "!" FIRST));
		EXPECT_EQ(0, ue_write("dynamic_events", "-:synthetic/grp_syn"));
	}

	ret = ue_write("dynamic_events", "e:grp/probe user_events_" WEB "/grp_b a=$a:u32");
	if (ret != -EINVAL) {
		ASSERT_EQ(0, ret);
		EXPECT_EQ(-EBUSY, group_remove(WEB));
		EXPECT_EQ(0, ue_write("dynamic_events", "-:grp/probe"));
	}

	EXPECT_EQ(2, group_active(WEB));
	EXPECT_EQ(0, group_remove(WEB));
	EXPECT_EQ(0, group_event_exists(WEB, "grp_a"));
	EXPECT_FALSE(lists("dynamic_events", "u:user_events_" WEB "/grp_a u32 a"));

	/* A new one begins empty, with the default. */
	ASSERT_EQ(0, group_make(WEB));
	EXPECT_EQ(0, group_active(WEB));
	EXPECT_TRUE(lists(group_path(WEB, "max_events"), "1024"));
}

/* A path that was found in one group does not lead into the next one. */
UE_TEST_F(groups, old_path)
{
	static const char * const files[] = {
		"root/user_events_data", "root/user_events_status", "max_events",
	};
	char name[16], path[64];
	int fds[ARRAY_SIZE(files)];
	int dir, fd;

	close(self->web);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fds[i] = ue_open_file(group_path(WEB, files[i]), O_PATH);
		ASSERT_LE(0, fds[i]);
	}
	dir = ue_open_file(group_path(WEB, "root"), O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, dir);
	ASSERT_EQ(0, group_remove(WEB));

	/* Memory that was the group's is taken by some of these. */
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "again%d", i);
		ASSERT_EQ(0, group_make(name));
	}
	ASSERT_EQ(0, group_make(WEB));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		for (int tries = 0; tries < 3; tries++) {
			fd = open(path, O_RDONLY);
			EXPECT_EQ(-1, fd);
			EXPECT_EQ(ENODEV, errno);
			usleep(20000);
		}
		close(fds[i]);
	}
	EXPECT_EQ(-1, openat(dir, "user_events_data", O_RDWR));
	EXPECT_EQ(ENOENT, errno);
	close(dir);
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "again%d", i);
		EXPECT_EQ(0, group_remove(name));
	}
}

/* A process of one group that was passed a file of the other. */
static int use_passed_file(int sock, int own)
{
	int fd = receive_fd(sock);
	uint32_t words[2] = {};

	if (fd < 0)
		return 1;
	if (ue_reg(own, "grp_a u32 a", &words[0], 0, NULL))
		return 2;
	if (ue_reg(fd, "grp_a u64 b", &words[1], 0, NULL))
		return 3;
	if (ue_del(fd, "grp_own") != -ENOENT)
		return 4;
	if (tell(sock) || hear(sock))
		return 5;
	if (ue_unreg(fd, &words[0], 0) || ue_unreg(own, &words[1], 0))
		return 6;

	return 0;
}

/* The file says whose events they are, whoever has it. */
UE_TEST_F(groups, passed_file)
{
	int sock[2];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(self->db);
		_exit(use_passed_file(sock[1], self->web));
	}
	ASSERT_EQ(0, send_fd(sock[0], self->db));
	ASSERT_EQ(0, hear(sock[0]));
	close(self->db);
	close(self->web);
	EXPECT_LT(0, file_number(group_event(WEB, "grp_a", "format"), "u32 a;\toffset:"));
	EXPECT_LT(0, file_number(group_event(DB, "grp_a", "format"), "u64 b;\toffset:"));
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(-EBUSY, group_remove(DB));
	ASSERT_EQ(0, tell(sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(0, group_remove(WEB));
	EXPECT_EQ(0, group_remove(DB));

	/* One that nobody took from the socket goes with that. */
	ASSERT_EQ(0, group_make(WEB));
	self->web = group_open(WEB);
	ASSERT_LE(0, self->web);
	ASSERT_EQ(0, send_fd(sock[0], self->web));
	close(self->web);
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	close(sock[0]);
	close(sock[1]);
	EXPECT_EQ(0, group_remove(WEB));
}

/* Words are the process's, whatever group it registers with. */
UE_TEST_F(groups, words_of_one_process)
{
	uint32_t *word = self->words;

	ASSERT_EQ(0, ue_reg(self->web, "grp_w", word, 0, NULL));
	EXPECT_EQ(-EADDRINUSE, ue_reg(self->db, "grp_d", word, 0, NULL));
	EXPECT_EQ(0, group_active(DB));
	ASSERT_EQ(0, ue_reg(self->db, "grp_d", word, 1, NULL));
	ASSERT_EQ(0, group_switch(WEB, "grp_w", 1));
	EXPECT_EQ(1, *word);
	ASSERT_EQ(0, group_switch(DB, "grp_d", 1));
	EXPECT_EQ(3, *word);

	/* Through the file of the other, which knows nothing of the event. */
	EXPECT_EQ(0, ue_unreg(self->db, word, 0));
	EXPECT_EQ(2, *word);
	EXPECT_EQ(-ENOENT, ue_unreg(self->web, word, 0));
	EXPECT_EQ(0, ue_unreg(self->web, word, 1));
	EXPECT_EQ(0, *word);
}

UE_TEST_F(groups, fork_and_exec)
{
	int sock[2];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_EQ(0, ue_reg(self->web, "grp_f", self->words, 0, NULL));
	ASSERT_EQ(0, ue_reg(self->db, "grp_f", self->words, 1, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(self->web);
		close(self->db);
		if (hear(sock[1]))
			_exit(1);
		exec_self(dup(sock[1]));
		_exit(2);
	}
	close(sock[1]);
	EXPECT_EQ(0, ue_unreg(self->db, self->words, 0));
	EXPECT_EQ(0, ue_unreg(self->db, self->words, 1));
	close(self->web);
	close(self->db);

	/* The words of the child are all there is. */
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(-EBUSY, group_remove(DB));
	ASSERT_EQ(0, tell(sock[0]));
	ASSERT_EQ(0, hear(sock[0]));
	EXPECT_EQ(0, group_remove(WEB));
	EXPECT_EQ(0, group_remove(DB));
	close(sock[0]);
	EXPECT_EQ(0, ue_wait(pid));
}

static int give(const char *group, uid_t uid, gid_t gid)
{
	static const char * const files[] = {
		"root", "root/user_events_data", "root/user_events_status",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (chown(group_full_path(group, files[i]), uid, gid))
			return -errno;
	}

	return 0;
}

static bool is_of(const char *path, uid_t uid, gid_t gid)
{
	struct stat st;

	return !stat(path, &st) && st.st_uid == uid && st.st_gid == gid;
}

static int remount(const char *options)
{
	return mount(NULL, UE_TRACEFS, NULL, MS_REMOUNT, options) ? -errno : 0;
}

/* What was given away stays that, and nothing else. */
UE_TEST_F(groups, owner_stays)
{
	struct stat top;
	char back[32];

	ASSERT_EQ(0, stat(UE_TRACEFS, &top));
	snprintf(back, sizeof(back), "uid=%d,gid=%d", top.st_uid, top.st_gid);
	ASSERT_EQ(0, give(WEB, USER, GID));
	ASSERT_EQ(0, chmod(group_full_path(WEB, "root/user_events_data"), 0600));
	ASSERT_EQ(0, chmod(group_full_path(WEB, "root"), 0500));
	ASSERT_EQ(0, chown(group_full_path(DB, "root"), USER, -1));
	ASSERT_EQ(0, chown(group_full_path(DB, "max_events"), USER, GID));
	ASSERT_EQ(0, ft_create(&self->ft, "groups"));
	ASSERT_EQ(0, chown(UE_GROUPS, 0, OTHER));
	EXPECT_TRUE(is_of(group_full_path(DB, "root/user_events_data"), 0, OTHER));
	EXPECT_TRUE(is_of(group_full_path(WEB, "root/user_events_data"), USER, GID));

	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, remount(i ? "uid=54324,gid=54323" : "gid=54323"));
		EXPECT_TRUE(is_of(group_full_path(WEB, "root"), USER, GID));
		EXPECT_TRUE(is_of(group_full_path(WEB, "root/user_events_data"), USER, GID));
		EXPECT_TRUE(is_of(group_full_path(WEB, "root/user_events_status"), USER, GID));
		EXPECT_EQ(S_IFDIR | 0500, mode_of(group_full_path(WEB, "root")));
		EXPECT_EQ(S_IFREG | 0600,
			  mode_of(group_full_path(WEB, "root/user_events_data")));

		/* The part that was given away. */
		EXPECT_TRUE(is_of(group_full_path(DB, "root"), USER, OTHER));
		EXPECT_TRUE(is_of(group_full_path(DB, "root/user_events_data"),
				  i ? 54324 : 0, OTHER));

		/* All else follows the mount, as ever. */
		EXPECT_TRUE(is_of(UE_TRACEFS "/instances", i ? 54324 : 0, OTHER));
		EXPECT_TRUE(is_of(UE_DATA, i ? 54324 : 0, OTHER));
		EXPECT_TRUE(is_of(group_full_path(WEB, ""), i ? 54324 : 0, OTHER));
		EXPECT_EQ(0, remount(back));
	}
}

/* As a user without rights, with nothing of tracefs but what @dir is. */
static int be_user(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;

	return prctl(PR_SET_DUMPABLE, 1) ? -errno : 0;
}

/* For children, which the harness does not see. */
static void need(bool condition, int line)
{
	if (condition)
		return;
	fprintf(stderr, "line %d, errno %d\n", line, errno);
	_exit(1);
}

#define NEED(condition) need(condition, __LINE__)

static int user_of_group(int root, int max_events)
{
	uint32_t word = 0;
	int fd;

	NEED(!be_user(USER, GID));
	fd = openat(root, "user_events_data", O_RDWR);
	NEED(fd >= 0);
	NEED(!ue_reg(fd, "grp_u u32 a", &word, 0, NULL));
	NEED(openat(root, "user_events_status", O_RDONLY) >= 0);
	NEED(ue_reg_full(fd, "grp_p", USER_EVENT_REG_PERSIST, &word, 4, 1, NULL) == -EPERM);

	/* The files are the user's: who may use them, but not whose they are. */
	NEED(!fchmodat(root, "user_events_data", 0600, 0));
	NEED(!fchmodat(root, "user_events_data", 0640, 0));
	NEED(fchownat(root, "user_events_data", OTHER, -1, 0) && errno == EPERM);
	NEED(fchownat(root, "user_events_data", -1, OTHER, 0) && errno == EPERM);

	/* Not what is in the directory, nor what is above it. */
	NEED(unlinkat(root, "user_events_data", 0) && errno == EPERM);
	NEED(mkdirat(root, "more", 0700) && (errno == EPERM || errno == EACCES));
	NEED(renameat(root, "user_events_data", root, "x"));
	NEED(linkat(root, "user_events_data", root, "x", 0));
	NEED(symlinkat("x", root, "x"));
	NEED(openat(root, "x", O_CREAT | O_RDWR, 0600) < 0);
	NEED(openat(root, "../max_events", O_RDONLY) < 0 && errno == EACCES);
	NEED(openat(root, "../../" DB "/root/user_events_data", O_RDWR) < 0);
	NEED(group_open(DB) == -EACCES);
	NEED(group_remove(WEB) == -EACCES && group_make("mine") == -EACCES);
	NEED(write(max_events, "5", 1) < 0);

	/* Whoever opens it next would wait for a lease to be given up. */
	NEED(fcntl(openat(root, "user_events_status", O_RDONLY), F_SETLEASE, F_RDLCK) &&
	     errno == EINVAL);
	NEED(fcntl(fd, F_SETLEASE, F_WRLCK) && errno == EINVAL);

	return 0;
}

static int other_user(int root)
{
	NEED(!be_user(OTHER, OTHER));
	NEED(openat(root, "user_events_data", O_RDWR) < 0 && errno == EACCES);
	NEED(openat(root, "user_events_status", O_RDONLY) < 0 && errno == EACCES);
	NEED(fchmodat(root, "user_events_data", 0666, 0) && errno == EACCES);
	NEED(fchownat(root, "user_events_data", OTHER, OTHER, 0) && errno == EACCES);

	return 0;
}

UE_TEST_F(groups, user)
{
	int root, max;
	pid_t pid;

	ASSERT_EQ(0, give(WEB, USER, GID));
	root = ue_open_file(group_path(WEB, "root"), O_RDONLY | O_DIRECTORY);
	max = ue_open_file(group_path(DB, "max_events"), O_RDONLY);
	ASSERT_LE(0, root);
	ASSERT_LE(0, max);
	close(self->web);
	close(self->db);

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(user_of_group(root, max));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(0, group_active(WEB));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(other_user(root));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(0, group_remove(WEB));
	close(root);
	close(max);
}

/* A container: namespaces of its own, root/ over /sys/kernel/tracing. */
static int container(int step, const char *dir)
{
	char data[128];
	uint32_t word = 0;
	int fd;

	snprintf(data, sizeof(data), "%s/user_events_data", dir);
	NEED(!unshare(CLONE_NEWNS));
	NEED(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	NEED(!mount(group_full_path(WEB, "root"), dir, NULL, MS_BIND, NULL));
	NEED(!mount(group_full_path(WEB, "root"), UE_TRACEFS, NULL, MS_BIND, NULL));
	NEED(access(UE_TRACEFS "/events", F_OK) && errno == ENOENT);
	fd = ue_open();
	NEED(fd >= 0);
	NEED(!ue_reg(fd, "grp_c u64 b", &word, 0, NULL));
	NEED(ue_active() == 1);
	close(fd);
	fd = open(data, O_RDWR);
	NEED(fd >= 0);
	NEED(!ue_unreg(fd, &word, 0));
	close(fd);
	NEED(!tell(step) && !hear(step));

	/* The group has gone, the mounts have not. */
	NEED(ue_open() == -ENOENT);
	NEED(open(data, O_RDWR) < 0 && errno == ENOENT);
	NEED(open(dir, O_RDONLY | O_DIRECTORY) >= 0);

	return 0;
}

UE_TEST_F(groups, bind_mount)
{
	char dir[] = "/tmp/user_events_test.XXXXXX";
	int sock[2];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	ASSERT_NE(NULL, mkdtemp(dir));
	close(self->web);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[0]);
		_exit(container(sock[1], dir));
	}
	close(sock[1]);
	ASSERT_EQ(0, hear(sock[0]));
	EXPECT_EQ(0, group_remove(WEB));
	ASSERT_EQ(0, group_make(WEB));
	ASSERT_EQ(0, tell(sock[0]));
	EXPECT_EQ(0, ue_wait(pid));
	EXPECT_EQ(0, rmdir(dir));
}

struct getdents {
	int dir;
	void *buf;
};

static void *read_dir(void *arg)
{
	struct getdents *get = arg;

	syscall(SYS_getdents64, get->dir, get->buf, 4096);

	return NULL;
}

/* Reads root/ into memory that does not answer, and says so. */
static int hold_directory(int root, int sock)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct getdents get = { .dir = root };
	struct uffd_msg msg;
	pthread_t thread;
	int uffd;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	NEED(uffd >= 0);
	NEED(!ioctl(uffd, UFFDIO_API, &api));
	get.buf = map_pages(1);
	NEED(get.buf);
	range.range.start = (uintptr_t)get.buf;
	range.range.len = page_size();
	NEED(!ioctl(uffd, UFFDIO_REGISTER, &range));
	NEED(!pthread_create(&thread, NULL, read_dir, &get));
	NEED(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
	NEED(!tell(sock));
	hear(sock);

	return 0;
}

/*
 * The lock of a directory is held while its names are stored. Who does that for
 * ever keeps the group, as if a file were open, and holds up nobody: neither
 * rmdir nor, behind it, tracers.
 */
UE_TEST_F(groups, held_directory)
{
	int sock[2], root;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	root = ue_open_file(group_path(WEB, "root"), O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, root);
	close(self->web);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sock[0]);
		_exit(hold_directory(root, sock[1]));
	}
	close(sock[1]);
	ASSERT_EQ(0, hear(sock[0]));
	EXPECT_EQ(-EBUSY, group_remove(WEB));
	EXPECT_EQ(0, ue_active());
	EXPECT_EQ(0, try_event(self->db, "grp_a u32 a"));
	EXPECT_EQ(0, group_make("another"));
	EXPECT_EQ(0, group_remove("another"));

	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-SIGKILL, ue_wait(pid));
	EXPECT_EQ(0, group_remove(WEB));
	close(root);
}

/* Many groups: all are there, one of them is traced, all go. */
UE_TEST_F(groups, many)
{
	uint32_t *words = map_pages(1 + MANY * EVENTS * 4 / page_size());
	int fd = -1, seen = 0;
	struct dirent *entry;
	char name[32];
	DIR *dir;

	ASSERT_TRUE(!!words);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		ASSERT_EQ(0, group_make(name));
		for (int j = 0; j < EVENTS; j++) {
			char event[64];

			snprintf(event, sizeof(event), "u:user_events_%s/grp_%d u32 a%d",
				 name, j, i % 3);
			ASSERT_EQ(0, ue_write("dynamic_events", event));
		}
	}
	dir = opendir(UE_GROUPS);
	ASSERT_TRUE(!!dir);
	while ((entry = readdir(dir)))
		seen += !strncmp(entry->d_name, "many", 4);
	closedir(dir);
	EXPECT_EQ(MANY, seen);

	snprintf(name, sizeof(name), "many%d", MANY / 2);
	fd = group_open(name);
	ASSERT_LE(0, fd);
	snprintf(name, sizeof(name), "grp_3 u32 a%d", MANY / 2 % 3);
	ASSERT_EQ(0, ue_reg(fd, name, words, 0, NULL));
	snprintf(name, sizeof(name), "many%d", MANY / 2);
	ASSERT_EQ(0, group_switch(name, "grp_3", 1));
	EXPECT_EQ(1, words[0]);
	ASSERT_EQ(0, group_switch(name, "grp_3", 0));
	EXPECT_EQ(0, words[0]);
	EXPECT_EQ(-EBUSY, group_remove(name));
	ASSERT_EQ(0, ue_unreg(fd, words, 0));
	close(fd);

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		ASSERT_EQ(0, group_remove(name));
	}
	EXPECT_EQ(0, ue_active());
}

TEST_HARNESS_MAIN
