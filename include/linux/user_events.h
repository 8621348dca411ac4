/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the life of an address space means to the enable words it registered. The
 * calls stand where fork, exec and exit make, copy and leave one.
 */
#ifndef _LINUX_USER_EVENTS_H
#define _LINUX_USER_EVENTS_H

#include <linux/mm_types.h>
#include <linux/sched.h>
#include <uapi/linux/sched.h>
#include <uapi/linux/user_events.h>

#ifdef CONFIG_USER_EVENTS

struct user_event_mm;

int user_event_mm_dup(struct mm_struct *mm, struct mm_struct *oldmm);
void user_event_mm_release(struct user_event_mm *owner);
void user_event_mm_free(struct user_event_mm *owner);

/**
 * user_events_mm_init - a new address space has registered nothing
 * @mm: address space, which one process is going to run in
 */
static inline void user_events_mm_init(struct mm_struct *mm)
{
	mm->user_event_mm = NULL;
	atomic_set(&mm->user_event_processes, 1);
}

/**
 * user_events_dup_mmap - let the child of a fork inherit what its parent registered
 * @mm: memory of the child, all of which has been copied
 * @oldmm: memory of the parent
 *
 * Context: process context, mmap_lock of both held for writing.
 * Return: 0 or -ENOMEM.
 */
static inline int user_events_dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm)
{
	return READ_ONCE(oldmm->user_event_mm) ? user_event_mm_dup(mm, oldmm) : 0;
}

/**
 * user_events_fork - a process more may run in an address space
 * @child: new task, which does not run yet
 * @clone_flags: of clone
 */
static inline void user_events_fork(struct task_struct *child, u64 clone_flags)
{
	if ((clone_flags & (CLONE_VM | CLONE_THREAD)) == CLONE_VM && child->mm)
		atomic_inc(&child->mm->user_event_processes);
}

/**
 * user_events_leave - a process leaves an address space, by exit or exec
 * @mm: address space, NULL for none; the caller holds mm_users
 *
 * The last one takes the registrations along. All of its threads but current are
 * past every system call.
 *
 * Context: process context, takes event_mutex.
 */
static inline void user_events_leave(struct mm_struct *mm)
{
	if (mm && atomic_dec_and_test(&mm->user_event_processes) && mm->user_event_mm)
		user_event_mm_release(mm->user_event_mm);
}

/**
 * user_events_mmput - an address space has no users any more
 * @mm: address space
 *
 * Context: process context, whatever locks are held.
 */
static inline void user_events_mmput(struct mm_struct *mm)
{
	if (mm->user_event_mm)
		user_event_mm_free(mm->user_event_mm);
}

#else

static inline void user_events_mm_init(struct mm_struct *mm)
{
}

static inline int user_events_dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm)
{
	return 0;
}

static inline void user_events_fork(struct task_struct *child, u64 clone_flags)
{
}

static inline void user_events_leave(struct mm_struct *mm)
{
}

static inline void user_events_mmput(struct mm_struct *mm)
{
}

#endif /* CONFIG_USER_EVENTS */

#endif /* _LINUX_USER_EVENTS_H */
