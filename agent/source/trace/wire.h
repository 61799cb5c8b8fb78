/* SPDX-License-Identifier: Apache-2.0 */
/* One record of the programs in the kernel (hook.bpf.c, target.bpf.c), as it lies in their ring buffer. Included by
 * both sides, so it has the kernel's integer types and no other header. */
#pragma once

#include <linux/types.h>

enum trace_kind {
    TRACE_DONE = 1,  /* a command ended, and not well */
    TRACE_TIMEOUT,   /* a command's timer ran out */
    TRACE_EH_WAKEUP, /* the error handler of an adapter begins; the place is the adapter */
    TRACE_STATE,     /* a device is about to get another state */
    TRACE_ANSWER,    /* this host as a target (LIO) answers a command with sense; never in a struct trace_wire */
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

#define TRACE_NAME_BYTES  224 /* TRANSPORT_IQN_LEN, include/target/target_core_base.h */
#define TRACE_LABEL_BYTES 64

/* An answer with sense of the host's own target. Texts end with a NUL, and are empty when they cannot be read. */
struct trace_answer_wire {
    __u64 mono_ns;
    __u64 lun;   /* as the initiator addressed it */
    __u8 status; /* SAM status */
    __u8 cdb_len, sense_len;
    __u8 reserved[5];
    __u8 cdb[TRACE_CDB_BYTES];
    __u8 sense[TRACE_SENSE_BYTES];
    char initiator[TRACE_NAME_BYTES], target[TRACE_NAME_BYTES];
    char group[TRACE_LABEL_BYTES];                          /* "tpgt_1" */
    char hba[TRACE_LABEL_BYTES], device[TRACE_LABEL_BYTES]; /* "fileio_0", "d0": the backstore */
};

/* Offsets in bytes of the members that the programs read, for the object without relocations. */
struct trace_offsets {
    __u32 cmnd_device, cmnd_result, cmnd_sense_buffer, cmnd_cmnd, cmnd_retries, cmnd_allowed, cmnd_cmd_len;
    __u32 device_host, device_id, device_channel, device_lun, device_state, host_no;
    __u32 cmnd_is_pointer; /* scsi_cmnd.cmnd: an array since Linux 5.18, a pointer before */
};
struct trace_answer_offsets {
    __u32 cmd_status, cmd_lun, cmd_cdb, cmd_sense, cmd_session, cmd_device;
    __u32 session_acl, session_group, acl_name, group_wwn, group_item, wwn_item;
    __u32 device_hba, device_item, hba_item; /* the last five: of a config_group */
    __u32 config_item, item_name;
};
