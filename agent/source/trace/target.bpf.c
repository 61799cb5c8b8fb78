/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The program at the end of the commands that this host serves as a target (LIO): what it answers with sense, to whom.
 *
 * Compiled twice, as hook.bpf.c is. Its types are those of target_core_mod, which may come and go without SCSI: so it
 * is an object of its own. A command that ended well costs one read and one comparison. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>

#include "agent/source/trace/wire.h"

char LICENSE[] SEC("license") = "GPL"; /* the helpers that read the kernel's memory ask for it */

#define STATUS_CHECK_CONDITION 2

/* Only what is read, in any order: the relocations find the true places. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct config_item {
    char *ci_name;
};
struct config_group {
    struct config_item cg_item;
};
struct se_wwn {
    struct config_group wwn_group;
};
struct se_portal_group {
    struct se_wwn *se_tpg_wwn;
    struct config_group tpg_group;
};
struct se_node_acl {
    char initiatorname[TRACE_NAME_BYTES];
};
struct se_session {
    struct se_node_acl *se_node_acl;
    struct se_portal_group *se_tpg;
};
struct se_hba {
    struct config_group hba_group;
};
struct se_device {
    struct se_hba *se_hba;
    struct config_group dev_group;
};
struct se_cmd {
    __u8 scsi_status;
    __u64 orig_fe_lun;
    unsigned char *t_task_cdb;
    void *sense_buffer;
    struct se_session *se_sess;
    struct se_device *se_dev;
};
#pragma clang attribute pop

#ifdef TRACE_OFFSETS
const volatile struct trace_answer_offsets offsets = {0};
#define ADDRESS(base, type, member, offset) ((void *)(base) + offsets.offset)
#define ITEM(group)                         ((void *)(group) + offsets.config_item + offsets.item_name)
#define READ(out, address)                  bpf_probe_read_kernel(&(out), sizeof(out), address)
#else
#define ADDRESS(base, type, member, offset) ((void *)&((struct type *)(base))->member)
#define ITEM(group)                         ((void *)&((struct config_group *)(group))->cg_item.ci_name)
#define READ(out, address)                  bpf_probe_read_kernel(&(out), sizeof(out), address)
#endif

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 18); /* some 330 records */
} records SEC(".maps");

__u64 lost = 0; /* records that found the ring full */

/* The name of a folder of configfs. */
static __always_inline void put_name(char *out, __u32 size, void *group)
{
    void *name = 0;

    READ(name, ITEM(group));
    bpf_probe_read_kernel_str(out, size, name);
}

static __always_inline void put_nexus(struct trace_answer_wire *r, void *command)
{
    void *session = 0, *acl = 0, *group = 0, *wwn = 0;

    READ(session, ADDRESS(command, se_cmd, se_sess, cmd_session));
    READ(acl, ADDRESS(session, se_session, se_node_acl, session_acl));
    bpf_probe_read_kernel_str(r->initiator, sizeof r->initiator, ADDRESS(acl, se_node_acl, initiatorname, acl_name));
    READ(group, ADDRESS(session, se_session, se_tpg, session_group));
    put_name(r->group, sizeof r->group, ADDRESS(group, se_portal_group, tpg_group, group_item));
    READ(wwn, ADDRESS(group, se_portal_group, se_tpg_wwn, group_wwn));
    put_name(r->target, sizeof r->target, ADDRESS(wwn, se_wwn, wwn_group, wwn_item));
}

static __always_inline void put_backstore(struct trace_answer_wire *r, void *command)
{
    void *device = 0, *hba = 0;

    READ(device, ADDRESS(command, se_cmd, se_dev, cmd_device));
    put_name(r->device, sizeof r->device, ADDRESS(device, se_device, dev_group, device_item));
    READ(hba, ADDRESS(device, se_device, se_hba, device_hba));
    put_name(r->hba, sizeof r->hba, ADDRESS(hba, se_hba, hba_group, hba_item));
}

static __always_inline void put_command(struct trace_answer_wire *r, void *command)
{
    void *cdb = 0, *sense = 0;

    READ(r->lun, ADDRESS(command, se_cmd, orig_fe_lun, cmd_lun));
    READ(cdb, ADDRESS(command, se_cmd, t_task_cdb, cmd_cdb));
    if (cdb && bpf_probe_read_kernel(r->cdb, sizeof r->cdb, cdb) == 0)
        r->cdb_len = sizeof r->cdb;
    READ(sense, ADDRESS(command, se_cmd, sense_buffer, cmd_sense));
    if (sense && bpf_probe_read_kernel(r->sense, sizeof r->sense, sense) == 0)
        r->sense_len = sizeof r->sense;
}

SEC("raw_tp/target_cmd_complete")
int on_answer(struct bpf_raw_tracepoint_args *ctx)
{
    void *command = (void *)ctx->args[0];
    struct trace_answer_wire *r;
    __u8 status = 0;

    READ(status, ADDRESS(command, se_cmd, scsi_status, cmd_status));
    if (status != STATUS_CHECK_CONDITION)
        return 0;
    r = bpf_ringbuf_reserve(&records, sizeof *r, 0);
    if (!r) {
        __sync_fetch_and_add(&lost, 1);
        return 0;
    }
    __builtin_memset(r, 0, sizeof *r);
    r->mono_ns = bpf_ktime_get_ns();
    r->status = status;
    put_command(r, command);
    put_nexus(r, command);
    put_backstore(r, command);
    bpf_ringbuf_submit(r, 0);
    return 0;
}
