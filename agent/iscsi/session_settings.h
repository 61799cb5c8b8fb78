/* SPDX-License-Identifier: Apache-2.0 */
/* A session's own copy of its options: checked, defaults filled in, the portal taken apart. Secrets are zeroed when
 * freed. No I/O. */
#pragma once

#include "agent/iscsi/session.h"

struct session_settings {
    char *initiator_name;
    char *target_name; /* NULL: discovery */
    char *host, *port;
    char *chap_user, *chap_secret;               /* both or none */
    char *mutual_chap_user, *mutual_chap_secret; /* both or none, and only with the two above */
    bool header_digest;
    uint32_t connect_ms, nop_ms, nop_timeout_ms;
};

/* UV_EINVAL: a name or portal missing, malformed or too long, a secret without user or the other way round; UV_ENOMEM.
 * On failure nothing is left to free. */
int session_settings_init(struct session_settings *settings, const struct iscsi_session_options *options);
void session_settings_deinit(struct session_settings *settings);
