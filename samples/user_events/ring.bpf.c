// SPDX-License-Identifier: GPL-2.0
/*
 * Sends each event user_events_example to the ring buffer that ring.c reads.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ring.h"

/* As events/user_events/user_events_example/format has it. */
struct user_events_example {
	__u64 common;		/* not for programs */
	__u32 count;
	__u32 msg_loc;		/* __rel_loc: the text's offset from here on */
	char dynamic[];
};

/* Room for 400,000 events: a program cannot wait for the reader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ring SEC(".maps");

SEC("tp")
int send(struct user_events_example *ctx)
{
	struct ring_event *event;

	event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);
	if (!event)
		return 0;

	event->version = bpf_get_attach_cookie(ctx);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->count = ctx->count;
	bpf_probe_read_kernel_str(event->msg, sizeof(event->msg),
				  ctx->dynamic + (ctx->msg_loc & 0xffff));
	bpf_ringbuf_submit(event, 0);

	return 0;
}

char _license[] SEC("license") = "GPL";
