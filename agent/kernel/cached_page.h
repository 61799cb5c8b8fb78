/* SPDX-License-Identifier: Apache-2.0 */
/* INQUIRY data that the kernel has kept since it last asked a device: standard data, and the vital product data pages
 * that it uses itself (drivers/scsi/scsi.c, scsi_attach_vpd). No device is asked. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define CACHED_PAGE_STANDARD   (-1)
#define CACHED_PAGE_MAX_BYTES  (4 + 65535) /* header and PAGE LENGTH (SPC-4 section 7.8.2) */
#define CACHED_PAGE_LIST_BYTES 160

/* `page` is CACHED_PAGE_STANDARD, or that of the VPD, 0 to 255. `root` is "/sys", another in tests. Returns 0 with
 * *out_bytes malloc'd, the caller frees; UV_ENODEV when the kernel has no such device; UV_ENOENT when it does not keep
 * this page; UV_EPROTO when what it keeps is not that page; UV_ENOMEM; or what reading failed with. */
int cached_page_read(const char *root, const struct observation_place *place, int page, uint8_t **out_bytes,
                     size_t *out_len);
/* The pages of the VPD that it keeps of this device, for people: "00h, 80h, 83h"; "none". Returns `buf`. */
const char *cached_page_list(const char *root, const struct observation_place *place, char buf[CACHED_PAGE_LIST_BYTES]);
