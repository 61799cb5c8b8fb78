/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The programs in the kernel: commands that did not end well, timeouts, error handlers that begin, device states.
 *
 * Compiled twice from this text. As it is, libbpf relocates every access when it loads the object, by the types of the
 * running kernel (CO-RE), so the build machine needs no kernel with SCSI; for the types of a module that takes
 * CAP_SYS_ADMIN. With TRACE_OFFSETS the agent reads the offsets itself and gives them as constants, and CAP_BPF with
 * CAP_PERFMON is enough.
 *
 * A command that ended well costs one read and one comparison. */
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "agent/source/trace/wire.h"

char LICENSE[] SEC("license") = "GPL"; /* the helpers that read the kernel's memory ask for it */

#define STATUS_CHECK_CONDITION 2

/* Only what is read, in any order: the relocations find the true places. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct Scsi_Host {
    unsigned int host_no;
};
enum scsi_device_state { SDEV_CREATED = 1 };
struct scsi_device {
    struct Scsi_Host *host;
    unsigned int id, channel;
    __u64 lun;
    enum scsi_device_state sdev_state;
};
struct scsi_cmnd {
    struct scsi_device *device;
    int retries, allowed;
    unsigned short cmd_len;
    unsigned char *sense_buffer;
    int result;
};
struct scsi_cmnd___array {
    unsigned char cmnd[TRACE_CDB_BYTES];
};
struct scsi_cmnd___pointer {
    unsigned char *cmnd;
};
#pragma clang attribute pop

#ifdef TRACE_OFFSETS
const volatile struct trace_offsets offsets = {0};
#define MEMBER(out, base, type, member, offset)                                                                        \
    bpf_probe_read_kernel(&(out), sizeof(out), (void *)(base) + offsets.offset)
#else
#define MEMBER(out, base, type, member, offset) bpf_core_read(&(out), sizeof(out), &((struct type *)(base))->member)
#endif

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 18); /* some 1,400 records */
} records SEC(".maps");

__u64 lost = 0; /* records that found the ring full */

static __always_inline struct trace_wire *begin(__u8 kind)
{
    struct trace_wire *r = bpf_ringbuf_reserve(&records, sizeof *r, 0);

    if (!r) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    __builtin_memset(r, 0, sizeof *r);
    r->kind = kind;
    r->mono_ns = bpf_ktime_get_ns();
    return r;
}

static __always_inline void put_device(struct trace_wire *r, void *device)
{
    void *host = 0;

    MEMBER(host, device, scsi_device, host, device_host);
    MEMBER(r->host, host, Scsi_Host, host_no, host_no);
    MEMBER(r->channel, device, scsi_device, channel, device_channel);
    MEMBER(r->target, device, scsi_device, id, device_id);
    MEMBER(r->lun, device, scsi_device, lun, device_lun);
}

static __always_inline void put_cdb(struct trace_wire *r, void *command)
{
    __u16 len = 0;
    void *cdb = command;

    MEMBER(len, command, scsi_cmnd, cmd_len, cmnd_cmd_len);
    r->cdb_len = len < TRACE_CDB_BYTES ? len : TRACE_CDB_BYTES;
#ifdef TRACE_OFFSETS
    if (offsets.cmnd_is_pointer)
        bpf_probe_read_kernel(&cdb, sizeof cdb, command + offsets.cmnd_cmnd);
    else
        cdb = command + offsets.cmnd_cmnd;
#else
    if (bpf_core_field_exists(((struct scsi_cmnd___array *)0)->cmnd)) {
        bpf_core_read(r->cdb, sizeof r->cdb, &((struct scsi_cmnd___array *)command)->cmnd);
        return;
    }
    bpf_core_read(&cdb, sizeof cdb, &((struct scsi_cmnd___pointer *)command)->cmnd);
#endif
    bpf_probe_read_kernel(r->cdb, sizeof r->cdb, cdb);
}

static __always_inline void put_sense(struct trace_wire *r, void *command)
{
    void *sense = 0;

    MEMBER(sense, command, scsi_cmnd, sense_buffer, cmnd_sense_buffer);
    if (sense && bpf_probe_read_kernel(r->sense, sizeof r->sense, sense) == 0)
        r->sense_len = sizeof r->sense;
}

static __always_inline struct trace_wire *begin_command(__u8 kind, void *command, int result)
{
    struct trace_wire *r = begin(kind);
    void *device = 0;

    if (!r)
        return 0;
    r->result = result;
    MEMBER(device, command, scsi_cmnd, device, cmnd_device);
    put_device(r, device);
    put_cdb(r, command);
    MEMBER(r->retries, command, scsi_cmnd, retries, cmnd_retries);
    MEMBER(r->allowed, command, scsi_cmnd, allowed, cmnd_allowed);
    return r;
}

SEC("raw_tp/scsi_dispatch_cmd_done")
int on_done(struct bpf_raw_tracepoint_args *ctx)
{
    void *command = (void *)ctx->args[0];
    struct trace_wire *r;
    int result = 0;

    MEMBER(result, command, scsi_cmnd, result, cmnd_result);
    if (result == 0)
        return 0;
    r = begin_command(TRACE_DONE, command, result);
    if (!r)
        return 0;
    if ((result & 0xff) == STATUS_CHECK_CONDITION)
        put_sense(r, command);
    bpf_ringbuf_submit(r, 0);
    return 0;
}

SEC("raw_tp/scsi_dispatch_cmd_timeout")
int on_timeout(struct bpf_raw_tracepoint_args *ctx)
{
    struct trace_wire *r = begin_command(TRACE_TIMEOUT, (void *)ctx->args[0], 0);

    if (r)
        bpf_ringbuf_submit(r, 0);
    return 0;
}

SEC("raw_tp/scsi_eh_wakeup")
int on_eh_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
    struct trace_wire *r = begin(TRACE_EH_WAKEUP);
    void *host = (void *)ctx->args[0];

    if (!r)
        return 0;
    MEMBER(r->host, host, Scsi_Host, host_no, host_no);
    bpf_ringbuf_submit(r, 0);
    return 0;
}

static __always_inline void tell_state(void *device, __u32 to)
{
    struct trace_wire *r = begin(TRACE_STATE);
    __u32 from = 0;

    if (!r)
        return;
    put_device(r, device);
    MEMBER(from, device, scsi_device, sdev_state, device_state);
    r->state_from = (__u8)from;
    r->state_to = (__u8)to;
    bpf_ringbuf_submit(r, 0);
}

SEC("kprobe/scsi_device_set_state")
int BPF_KPROBE(on_set_state, void *device, __u32 state)
{
    tell_state(device, state);
    return 0;
}

/* From blocked to running or transport-offline, past scsi_device_set_state(). */
SEC("kprobe/scsi_internal_device_unblock_nowait")
int BPF_KPROBE(on_unblock, void *device, __u32 state)
{
    tell_state(device, state);
    return 0;
}
