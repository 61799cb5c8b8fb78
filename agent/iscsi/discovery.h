/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the answer to SendTargets (RFC 7143 appendix C). Pure. The rest of discovery is in session.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/session.h"

/* Targets and portals in one answer; a longer list is refused. */
#define DISCOVERY_MAX_TARGETS 4096

/* One entry per (target, portal); a target without TargetAddress has `default_portal` (RFC 7143: the portal asked).
 * On success the caller frees with discovery_free. UV_EPROTO: an address before any target, a key that is neither, an
 * empty name, or text that does not end in NUL; UV_E2BIG; UV_ENOMEM. */
int discovery_parse(const uint8_t *text, size_t len, const char *default_portal, struct iscsi_discovered **out_targets,
                    size_t *out_n);
void discovery_free(struct iscsi_discovered *targets, size_t n);
