/* SPDX-License-Identifier: Apache-2.0 */
/* "HOST:TARGET[:LUN]", or "HOST:H:C:T:L" for a device of the host's own kernel: one device as people name it, for the
 * operations of the Adapter face. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_NAME_BYTES    254
#define DEVICE_ADAPTER_BYTES 16

struct device {
    char host[DEVICE_NAME_BYTES];
    char adapter[DEVICE_ADAPTER_BYTES];  /* "host3" of H:C:T:L; "": not said */
    int32_t bus;                         /* of H:C:T:L; else -1 */
    char target_name[DEVICE_NAME_BYTES]; /* "": by number */
    int32_t target;                      /* -1: by name */
    int64_t lun;
    bool has_lun; /* it was written */
};

/* The host ends at the first colon; a number behind the last colon is the LUN (0 when there is none), unless it is all
 * there is behind the host: then it is the target's number. Names of targets have colons themselves, so one that ends
 * in a number needs its LUN written. Four numbers are the kernel's H:C:T:L, with or without "host" before them. Returns
 * 0, or UV_EINVAL with `err`; *out is untouched then. */
int device_parse(const char *text, struct device *out, char *err, size_t err_len);
