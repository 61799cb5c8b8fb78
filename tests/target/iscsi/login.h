/* SPDX-License-Identifier: Apache-2.0 */
/* The login phase of one connection (RFC 7143 section 6.3): who is it, may he, and on which terms. Pure: keys in, keys
 * out; the numbers of PDUs are the session's business. Chance is an argument.
 *
 * Nobody is let through without the CHAP that the target asks for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/target/iscsi/keys.h"

#define LOGIN_NAME_BYTES      224
#define LOGIN_TEXT_MAX        16384 /* keys of one step, over all PDUs of it */
#define LOGIN_MAX_STEPS       32
#define LOGIN_CHALLENGE_BYTES 16
#define LOGIN_DATA_BYTES      262144 /* the longest data segment that we take */

/* Status class and detail (RFC 7143 section 11.13.5). */
enum login_status {
    LOGIN_SUCCESS = 0x0000,
    LOGIN_MOVED_TEMPORARILY = 0x0101,
    LOGIN_INITIATOR_ERROR = 0x0200,
    LOGIN_AUTHENTICATION_FAILED = 0x0201,
    LOGIN_NOT_FOUND = 0x0203,
    LOGIN_BAD_VERSION = 0x0205,
    LOGIN_TOO_MANY_CONNECTIONS = 0x0206,
    LOGIN_MISSING_PARAMETER = 0x0207,
    LOGIN_NO_SUCH_SESSION = 0x020a,
    LOGIN_TARGET_ERROR = 0x0300,
    LOGIN_OUT_OF_RESOURCES = 0x0302,
};

/* What the target asks for; strings are borrowed. */
struct login_rules {
    const char *target_name;
    const char *user, *secret;         /* NULL: no CHAP */
    const char *own_user, *own_secret; /* for mutual CHAP; NULL: none */
};

/* What was agreed on. */
struct login_terms {
    char initiator[LOGIN_NAME_BYTES];
    bool discovery;
    bool header_digest, data_digest;
    bool immediate_data;
    uint32_t max_send_bytes; /* the longest data segment that the initiator takes */
    uint32_t max_burst_bytes;
};

enum login_stage { LOGIN_SECURITY = 0, LOGIN_OPERATIONAL = 1, LOGIN_FULL_FEATURE = 3 };

struct login {
    const struct login_rules *rules;
    struct login_terms terms;
    enum login_stage stage;
    bool begun, told_group, told_length; /* the names were read; what we declare was sent */
    bool authenticated;
    int algorithm; /* chosen for CHAP; 0 = none yet */
    uint8_t challenge[LOGIN_CHALLENGE_BYTES], identifier;
    int n_steps;
    uint8_t *text; /* keys of PDUs with the C bit */
    size_t text_len;
};

struct login_answer {
    enum login_status status; /* anything but LOGIN_SUCCESS ends the connection */
    bool transit;
    enum login_stage stage, next_stage;
    struct keys_out keys;
};

/* `rules` is borrowed for the life of the login; `challenge` is random and the login's own. */
void login_init(struct login *l, const struct login_rules *rules, const uint8_t challenge[LOGIN_CHALLENGE_BYTES]);
void login_deinit(struct login *l);
/* Take one Login Request: its flags byte (T, C, CSG, NSG) and its data segment. */
void login_step(struct login *l, uint8_t flags, const uint8_t *data, size_t len, struct login_answer *answer);

/* CHAP with MD5 (5) or SHA-256 (7), RFC 1994: the digest of identifier, secret and challenge. Returns its length, 0
 * when the algorithm is not known. */
#define CHAP_MAX_BYTES 32
size_t chap_response(int algorithm, uint8_t identifier, const char *secret, const uint8_t *challenge, size_t len,
                     uint8_t out[CHAP_MAX_BYTES]);
/* The keys of the security stage: login_step's part that knows CHAP. */
enum login_status login_security(struct login *l, const uint8_t *text, size_t len, struct login_answer *answer);
