/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as people write them: "0x7f21" in hexadecimal, anything else as it stands. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Returns 0; UV_EINVAL (an odd number of digits, or none are) or UV_E2BIG (more than `cap` bytes), with `err`. */
int octets_parse(const char *text, uint8_t *out, size_t cap, size_t *out_len, char *err, size_t err_len);
/* Back: as text when all of it is printable ASCII that does not begin with "0x", else hexadecimal; cut to fit `cap`.
 * Returns `out`. */
const char *octets_text(const void *bytes, size_t len, char *out, size_t cap);
