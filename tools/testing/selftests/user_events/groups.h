/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Groups of user events: directories that mkdir makes and rmdir removes.
 */
#ifndef _USER_EVENTS_GROUPS_H
#define _USER_EVENTS_GROUPS_H

#include <sys/stat.h>

#include "user_events_selftests.h"

#define UE_GROUPS	UE_TRACEFS "/user_events_groups"

/* From the top of tracefs; valid until the next but three. */
static inline const char *group_path(const char *group, const char *file)
{
	static char paths[4][256];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "user_events_groups/%s/%s", group, file);

	return path;
}

static inline const char *group_full_path(const char *group, const char *file)
{
	static char paths[4][256];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), UE_GROUPS "/%s/%s", group, file);

	return path;
}

static inline int group_make(const char *group)
{
	return mkdir(group_full_path(group, ""), 0700) ? -errno : 0;
}

static inline int group_remove(const char *group)
{
	return rmdir(group_full_path(group, "")) ? -errno : 0;
}

/* Opens user_events_data of a group, NULL is the first. */
static inline int group_open(const char *group)
{
	if (!group)
		return ue_open();

	return ue_open_file(group_path(group, "root/user_events_data"), O_RDWR);
}

/* Path of a file of an event, NULL is the first group. */
static inline const char *group_event(const char *group, const char *event,
				      const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "events/" USER_EVENTS_SYSTEM "%s%s/%s/%s",
		 group ? "_" : "", group ?: "", event, file);

	return path;
}

static inline int group_switch(const char *group, const char *event, int on)
{
	return ue_write(group_event(group, event, "enable"), on ? "1" : "0");
}

static inline int group_event_exists(const char *group, const char *event)
{
	int fd = ue_open_file(group_event(group, event, ""), O_RDONLY | O_DIRECTORY);

	if (fd >= 0)
		close(fd);

	return fd >= 0;
}

static inline int group_set_max(const char *group, unsigned int max)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", max);

	return ue_write(group_path(group, "max_events"), text);
}

/* Number of events that the status of a group lists, or a negative errno. */
static inline int group_active(const char *group)
{
	static char text[1 << 20];
	char *pos;
	int ret;

	ret = ue_read(group_path(group, "root/user_events_status"), text, sizeof(text));
	if (ret < 0)
		return ret;
	pos = strstr(text, "\nActive:");

	return pos ? atoi(pos + strlen("\nActive:")) : -EIO;
}

/*
 * For the end of a test: deletes what is left of a group and removes it. What
 * is persistent goes with it.
 */
static inline int group_sweep(const char *group)
{
	int ret = group_remove(group);

	return ret == -ENOENT ? 0 : ret;
}

#endif /* _USER_EVENTS_GROUPS_H */
