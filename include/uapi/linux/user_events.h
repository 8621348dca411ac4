/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Trace events that programs define and write: the interface of the tracefs
 * file user_events_data. Documentation/trace/user_events.rst is the reference.
 */
#ifndef _UAPI_LINUX_USER_EVENTS_H
#define _UAPI_LINUX_USER_EVENTS_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define USER_EVENTS_SYSTEM "user_events"
#define USER_EVENTS_MULTI_SYSTEM "user_events_multi"
#define USER_EVENTS_PREFIX "u:"

/* Value of a __data_loc or __rel_loc field: where its bytes are, how many. */
#define DYN_LOC(offset, size) ((size) << 16 | (offset))

enum user_reg_flag {
	/* The event stays when nobody refers to it; takes CAP_PERFMON. */
	USER_EVENT_REG_PERSIST		= 1U << 0,

	/* Events of one name may differ in format, each is named NAME.ID. */
	USER_EVENT_REG_MULTI_FORMAT	= 1U << 1,

	/* First value above the flags that are handed out from the bottom. */
	USER_EVENT_REG_MAX		= 1U << 2,

	/* Writes answer ENOBUFS when the buffer of a consumer is full. */
	USER_EVENT_REG_REPORT_LOSS	= 1U << 15,
};

/**
 * struct user_reg - argument of DIAG_IOCSREG
 * @size: size of this struct in the caller's build, in bytes
 * @enable_bit: bit of the word at @enable_addr that says the event is enabled
 * @enable_size: bytes in that word: 4, or 8 on 64-bit kernels
 * @flags: bitwise or of enum user_reg_flag
 * @enable_addr: address of the word, aligned to @enable_size
 * @name_args: address of the command string "name[:flags] [fields]"; there are no
 *	flags yet
 * @write_index: set by the kernel, goes in front of each payload written
 */
struct user_reg {
	__u32	size;
	__u8	enable_bit;
	__u8	enable_size;
	__u16	flags;
	__u64	enable_addr;
	__u64	name_args;
	__u32	write_index;
} __attribute__((__packed__));

/**
 * struct user_unreg - argument of DIAG_IOCSUNREG
 * @size: size of this struct in the caller's build, in bytes
 * @disable_bit: bit given as enable_bit at registration
 * @__reserved: 0
 * @__reserved2: 0
 * @disable_addr: address given as enable_addr at registration
 */
struct user_unreg {
	__u32	size;
	__u8	disable_bit;
	__u8	__reserved;
	__u16	__reserved2;
	__u64	disable_addr;
} __attribute__((__packed__));

/*
 * Index of a write that carries a sequence of struct user_event_record. A
 * kernel without batches answers EINVAL to it.
 */
#define USER_EVENT_WRITE_BATCH 0x80000000U

/**
 * struct user_event_record - one event of a batch
 * @size: bytes of the whole record, these two fields included
 * @write_index: index of the event, from struct user_reg
 * @payload: the fields of the event; the next record follows with no padding
 *
 * A write of two events whose only field is a u32, 7 in the first, 8 in the second,
 * returns 28::
 *
 *	__u32 batch[] = {
 *		USER_EVENT_WRITE_BATCH,
 *		12, first.write_index, 7,
 *		12, second.write_index, 8,
 *	};
 *
 *	write(fd, batch, sizeof(batch));
 */
struct user_event_record {
	__u32	size;
	__u32	write_index;
	__u8	payload[];
} __attribute__((__packed__));

#define DIAG_IOC_MAGIC '*'

/* Register for an event, which is created where it does not exist. */
#define DIAG_IOCSREG _IOWR(DIAG_IOC_MAGIC, 0, struct user_reg *)

/* Delete an event that nobody uses, by name. */
#define DIAG_IOCSDEL _IOW(DIAG_IOC_MAGIC, 1, char *)

/* Stop updates of an enable bit. */
#define DIAG_IOCSUNREG _IOW(DIAG_IOC_MAGIC, 2, struct user_unreg *)

#endif /* _UAPI_LINUX_USER_EVENTS_H */
