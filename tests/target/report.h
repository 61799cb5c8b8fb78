/* SPDX-License-Identifier: Apache-2.0 */
/* The state of the target, its sessions and what they sent, as messages of the gRPC service. Pure.
 *
 * Names that initiators gave themselves are made UTF-8: what is not becomes '?'. */
#pragma once

#include <stddef.h>

#include "sensebus/target/v1/target.pb-c.h"
#include "tests/target/server.h"

/* A session with the memory that its message points to; not to be copied. */
struct report_session {
    Sensebus__Target__V1__Session message;
    char initiator[LOGIN_NAME_BYTES];
};
/* `session` and `peer` are borrowed for the life of the message. */
void report_session_init(struct report_session *r, const struct session *session, const char *peer);

struct report_state {
    Sensebus__Target__V1__State message;
    char portal[SESSION_PORTAL_BYTES];
    struct report_session sessions[SERVER_MAX_CONNECTIONS];
    Sensebus__Target__V1__Session *session_pointers[SERVER_MAX_CONNECTIONS];
    Sensebus__Target__V1__Unit units[DEVICE_MAX_UNITS];
    Sensebus__Target__V1__Unit *unit_pointers[DEVICE_MAX_UNITS];
};
/* NULL when out of memory. Good until the server changes; free with free(). */
struct report_state *report_state_new(const struct server *s);

/* The members of `out` that say what was sent, and the memory that they need. */
struct report_sent {
    Sensebus__Target__V1__SenseSent sense;
    Sensebus__Target__V1__AsyncMessage message;
    uint32_t parameters[3];
};
void report_sent_init(struct report_sent *r, const struct session_sent *sent, Sensebus__Target__V1__Happening *out);

/* Replace in place what is not UTF-8 by '?'. */
void report_clean(char *text);
