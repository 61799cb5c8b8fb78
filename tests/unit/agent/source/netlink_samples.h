/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as the kernel sends them, without struct nlmsghdr: recorded ones, and others built like them. Numbers are in
 * the byte order of the host, PDUs are big-endian. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SAMPLE_UEVENT_BYTES 56
#define SAMPLE_MAX_BYTES    512

struct sample {
    uint8_t bytes[SAMPLE_MAX_BYTES];
    size_t len;
};

/* Recorded: session 2 gets asynchronous event 0 on LUN 0 with the sense of "reported LUNs data has changed". */
struct sample sample_iscsi_async(void);
/* struct iscsi_uevent with the three numbers of its union; the rest is filled with bytes that must not get out. */
struct sample sample_iscsi(uint32_t type, uint32_t first, uint32_t second, uint32_t third);
/* RECV_PDU for a session: a header with the opcode, flags and two bytes at 36, and data behind it. */
struct sample sample_iscsi_pdu(uint32_t sid, uint8_t opcode, uint8_t flags, uint8_t at36, uint8_t at37,
                               const void *data, size_t data_len);
/* Recorded: LIPRESET of host 5. */
struct sample sample_fc_lipreset(void);
struct sample sample_fc(uint16_t host, uint32_t number, uint32_t event, const void *data, size_t data_len);
/* An FPIN with descriptors of these tags, each with eight bytes. */
struct sample sample_fc_fpin(const uint32_t *tags, size_t n);
/* TCM-USER: command and device, and one more attribute when `type` is not 0. */
struct sample sample_tcmu(uint8_t command, const char *device, uint16_t type, const void *data, size_t data_len);
