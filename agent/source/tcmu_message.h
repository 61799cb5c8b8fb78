/* SPDX-License-Identifier: Apache-2.0 */
/* A message of the generic netlink family TCM-USER, parsed (linux/target_core_user.h): a backstore of LIO whose
 * commands a program serves came, went or changed.
 *
 * Whatever the bytes are, nothing outside of them is read. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tcmu_message {
    uint32_t command;   /* enum tcmu_genl_cmd */
    uint32_t code;      /* enum Code */
    const char *device; /* "tcm-user/<hba>/<name>/<configuration>"; points into the message; "" = not told */
    uint32_t minor;     /* of its uio device */
    uint64_t value;     /* of the new size or of write cache */
};

/* Returns 0; UV_ENOENT for a whole message that tells no change; or UV_EINVAL when it is not whole. Only with 0 *out is
 * touched. */
int tcmu_parse(const uint8_t *bytes, size_t len, struct tcmu_message *out);
/* "ADDED_DEVICE". */
const char *tcmu_command_name(uint32_t command);
/* "user_0/u0", what the device is called below /sys/kernel/config/target/core, with what changed, in words. */
void tcmu_describe(const struct tcmu_message *m, char *out, size_t out_len);
