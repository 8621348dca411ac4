/* SPDX-License-Identifier: GPL-2.0 */
/* What ring.bpf.c sends to ring.c. */
#ifndef _USER_EVENTS_RING_H
#define _USER_EVENTS_RING_H

#define MSG_SIZE 16

struct ring_event {
	__u64 version;		/* of the program, the cookie of its link */
	__u32 pid;
	__u32 count;
	char msg[MSG_SIZE];
};

#endif /* _USER_EVENTS_RING_H */
