/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the life of a task means to the enable words it registered. The calls
 * stand in kernel/fork.c, fs/exec.c and kernel/exit.c.
 */
#ifndef _LINUX_USER_EVENTS_H
#define _LINUX_USER_EVENTS_H

#include <linux/sched.h>
#include <uapi/linux/user_events.h>

#ifdef CONFIG_USER_EVENTS

void user_event_mm_clone(struct task_struct *child, u64 clone_flags);
void user_event_mm_leave(struct task_struct *task);

/**
 * user_events_fork - let a new task take over what its parent registered
 * @child: new task, not yet running; its memory is copied already
 * @clone_flags: with CLONE_VM the registrations are shared, else inherited
 *
 * Context: process context of the parent, no locks held.
 */
static inline void user_events_fork(struct task_struct *child, u64 clone_flags)
{
	if (unlikely(READ_ONCE(current->user_event_mm) ||
		     READ_ONCE(child->user_event_mm)))
		user_event_mm_clone(child, clone_flags);
}

/**
 * user_events_execve - drop the registrations of the memory exec replaced
 * @task: current, the only thread left
 *
 * Context: process context, no locks held.
 */
static inline void user_events_execve(struct task_struct *task)
{
	if (unlikely(task->user_event_mm))
		user_event_mm_leave(task);
}

/**
 * user_events_exit - drop the registrations of a task that exits
 * @task: current, PF_POSTCOREDUMP is set
 *
 * Context: process context, no locks held.
 */
static inline void user_events_exit(struct task_struct *task)
{
	if (unlikely(READ_ONCE(task->user_event_mm)))
		user_event_mm_leave(task);
}

#else

static inline void user_events_fork(struct task_struct *child, u64 clone_flags)
{
}

static inline void user_events_execve(struct task_struct *task)
{
}

static inline void user_events_exit(struct task_struct *task)
{
}

#endif /* CONFIG_USER_EVENTS */

#endif /* _LINUX_USER_EVENTS_H */
