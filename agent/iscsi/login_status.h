/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a login response in words (RFC 7143 section 11.13.5). */
#pragma once

#include <stdint.h>

const char *login_status_text(uint8_t status_class, uint8_t detail);
