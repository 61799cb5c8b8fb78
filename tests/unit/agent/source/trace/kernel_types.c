/* SPDX-License-Identifier: Apache-2.0 */
/* Types as a kernel with SCSI and its target have them: compiled for BPF, the object stands for /sys/kernel/btf/vmlinux
 * in test_bpf_hook.c. */
struct Scsi_Host {
    char before[12];
    unsigned int host_no;
};
struct scsi_device {
    struct Scsi_Host *host;
    unsigned int bits : 3;
    unsigned int id, channel;
#ifndef WITHOUT_LUN
    unsigned long long lun;
#endif
    enum scsi_device_state { SDEV_CREATED = 1 } sdev_state;
};
struct scsi_cmnd {
    struct scsi_device *device;
    int retries, allowed;
    unsigned short cmd_len;
#ifdef BEFORE_5_18
    unsigned char *cmnd;
#else
    unsigned char cmnd[32];
#endif
    unsigned char *sense_buffer;
    int result;
};
struct config_item {
    char *ci_name;
};
struct config_group {
    char before[8];
    struct config_item cg_item;
};
struct se_wwn {
    char before[16];
    struct config_group wwn_group;
};
struct se_portal_group {
    struct se_wwn *se_tpg_wwn;
    struct config_group tpg_group;
};
struct se_node_acl {
    char initiatorname[224];
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
    unsigned char before[4], scsi_status;
#ifndef WITHOUT_LUN
    unsigned long long orig_fe_lun;
#endif
    unsigned char *t_task_cdb;
    void *sense_buffer;
    struct se_session *se_sess;
    struct se_device *se_dev;
};
/* A type of which there is nothing is not told. */
struct se_cmd answered;
struct se_session session;
struct se_node_acl acl;
struct se_portal_group group;
struct se_wwn wwn;
struct se_device served;
struct se_hba hba;
struct Scsi_Host host;
struct scsi_device device;
struct scsi_cmnd command;
