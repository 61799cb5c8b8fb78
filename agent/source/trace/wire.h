/* SPDX-License-Identifier: Apache-2.0 */
/* One record of the programs in the kernel (hook.bpf.c), as it lies in their ring buffer. Included by both sides, so
 * it has the kernel's integer types and no other header. */
#pragma once

#include <linux/types.h>

enum trace_kind {
    TRACE_DONE = 1,  /* a command ended, and not well */
    TRACE_TIMEOUT,   /* a command's timer ran out */
    TRACE_EH_WAKEUP, /* the error handler of an adapter begins; the place is the adapter */
    TRACE_STATE,     /* a device is about to get another state */
};

#define TRACE_CDB_BYTES   16
#define TRACE_SENSE_BYTES 96 /* SCSI_SENSE_BUFFERSIZE, include/scsi/scsi_cmnd.h */

struct trace_wire {
    __u64 mono_ns; /* CLOCK_MONOTONIC */
    __u64 lun;
    __u32 host, channel, target;
    __s32 result; /* SAM status | host byte << 16 */
    __u8 kind;    /* enum trace_kind */
    __u8 cdb_len, sense_len;
    __u8 state_from, state_to; /* enum scsi_device_state, include/scsi/scsi_device.h */
    __u8 reserved[3];
    __s32 retries, allowed;
    __u8 cdb[TRACE_CDB_BYTES];
    __u8 sense[TRACE_SENSE_BYTES];
};

/* Offsets in bytes of the members that the programs read, for the object without relocations. */
struct trace_offsets {
    __u32 cmnd_device, cmnd_result, cmnd_sense_buffer, cmnd_cmnd, cmnd_retries, cmnd_allowed, cmnd_cmd_len;
    __u32 device_host, device_id, device_channel, device_lun, device_state, host_no;
    __u32 cmnd_is_pointer; /* scsi_cmnd.cmnd: an array since Linux 5.18, a pointer before */
};
