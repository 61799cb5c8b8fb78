/* SPDX-License-Identifier: Apache-2.0 */
/* Types as a kernel with SCSI has them: compiled for BPF, the object stands for /sys/kernel/btf/vmlinux in
 * test_bpf_hook.c. */
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
/* A type of which there is nothing is not told. */
struct Scsi_Host host;
struct scsi_device device;
struct scsi_cmnd command;
