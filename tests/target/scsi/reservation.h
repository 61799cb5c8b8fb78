/* SPDX-License-Identifier: Apache-2.0 */
/* Persistent reservations of one logical unit (SPC-4 section 5.9): who is registered with which key, who holds what,
 * who may do what, and who must be told. Pure: initiator ports are numbers, and who is to be told comes out as a list.
 *
 * A holder is always registered. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/target/scsi/reply.h"

#define RESERVATION_MAX 64

enum reservation_type {
    RESERVE_NONE = 0,
    RESERVE_WRITE_EXCLUSIVE = 1,
    RESERVE_EXCLUSIVE_ACCESS = 3,
    RESERVE_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    RESERVE_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
    RESERVE_WRITE_EXCLUSIVE_ALL = 7,
    RESERVE_EXCLUSIVE_ACCESS_ALL = 8,
};

/* Service actions of PERSISTENT RESERVE OUT. */
enum {
    PROUT_REGISTER = 0,
    PROUT_RESERVE = 1,
    PROUT_RELEASE = 2,
    PROUT_CLEAR = 3,
    PROUT_PREEMPT = 4,
    PROUT_PREEMPT_AND_ABORT = 5,
    PROUT_REGISTER_AND_IGNORE = 6,
};

struct registration {
    uint32_t port;
    uint64_t key;
};

/* Zeroed: nobody is registered. */
struct reservation {
    struct registration items[RESERVATION_MAX];
    size_t n;
    uint32_t generation;
    enum reservation_type type;
    uint32_t holder; /* of the types that have one holder */
};

/* Unit attentions to establish. */
struct reservation_notices {
    struct {
        uint32_t port;
        uint16_t asc;
    } items[RESERVATION_MAX];
    size_t n;
};

struct reservation_request {
    uint8_t action, type, scope;
    uint64_t key, action_key;
};

/* Does as PERSISTENT RESERVE OUT says. `reply` gets what went wrong. */
void reservation_out(struct reservation *r, uint32_t port, const struct reservation_request *request,
                     struct scsi_reply *reply, struct reservation_notices *out_notices);
/* May `port` do this now? `writes`: the command changes the medium. */
bool reservation_allows(const struct reservation *r, uint32_t port, bool writes);
bool reservation_is_registered(const struct reservation *r, uint32_t port);
bool reservation_is_holder(const struct reservation *r, uint32_t port);
