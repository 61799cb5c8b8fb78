/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path: VPD B0h -> MODE SENSE(10), else (6) -> READ CAPACITY(16), else (10) -> resting. Without comparison
 * (compare_ms 0) the capacity alone is read, once. Each step that the unit refuses is left out. */
#include "agent/look.h"

#include <stdio.h>
#include <string.h>

#include "agent/big_endian.h"
#include "agent/iscsi/session.h"
#include "agent/record.h"
#include "agent/unit.h"
#include "agent/watch.h"
#include "proto/sense.h"
#include "runtime/clock.h"

#define PAGE_BLOCK_LIMITS   0xb0
#define PAGE_ALL            0x3f
#define STATUS_GOOD         0x00
#define KEY_ILLEGAL_REQUEST 0x5
#define MAX_RETRIES         3

static bool has_trait(const struct unit *u, enum compare_trait trait)
{
    bool compares = u->watch->options.compare_ms > 0;

    if (u->unreadable & 1u << trait)
        return false;
    switch (trait) {
    case COMPARE_LIMITS: return compares && u->identity.pages & IDENTITY_HAS_BLOCK_LIMITS;
    case COMPARE_PROTECTION: return compares && identity_has_protection(&u->identity);
    case COMPARE_CAPACITY: return identity_has_blocks(&u->identity);
    case COMPARE_N_TRAITS: break;
    }
    return false;
}

static enum compare_trait trait_of(enum unit_step step)
{
    switch (step) {
    case UNIT_LOOK_LIMITS: return COMPARE_LIMITS;
    case UNIT_LOOK_PROTECTION:
    case UNIT_LOOK_PROTECTION_6: return COMPARE_PROTECTION;
    default: return COMPARE_CAPACITY;
    }
}

/* Units of a target are not looked at all at once: each has its own place in the last quarter of the interval. */
static void look_later(struct unit *u)
{
    uint32_t interval = u->watch->options.compare_ms, scattered = (u->lun * 2654435761u) >> 16;

    u->look_at_ms = interval ? uv_now(u->watch->loop) + interval - scattered % (interval / 4 + 1) : UINT64_MAX;
}

static void look_over(struct unit *u)
{
    u->looking = false;
    u->step = UNIT_RESTING;
    look_later(u);
}

/* The first of the steps from `step` on that this unit can do. */
static void look_from(struct unit *u, enum unit_step step)
{
    if (step == UNIT_LOOK_LIMITS && !has_trait(u, COMPARE_LIMITS))
        step = UNIT_LOOK_PROTECTION;
    if (step == UNIT_LOOK_PROTECTION && !has_trait(u, COMPARE_PROTECTION))
        step = UNIT_CAPACITY_16;
    if (step == UNIT_LOOK_PROTECTION && u->mode_6)
        step = UNIT_LOOK_PROTECTION_6;
    if (step == UNIT_CAPACITY_16 && !has_trait(u, COMPARE_CAPACITY))
        look_over(u);
    else
        u->step = step;
}

void look_tell(struct unit *u)
{
    struct compare_difference d;

    while (u->watch->options.compare_ms > 0 && compare_take(&u->compare, &d)) {
        struct record_native before = {
            .name = d.name, .raw = d.before.bytes, .raw_len = d.before.len, .detail = "before"};
        struct record r = {
            .code = d.code,
            .wall_ns = clock_wall_ns(),
            .boot_ns = clock_boot_ns(),
            .synthetic = true,
            .prompt = true,
            .native = {.name = d.name, .raw = d.now.bytes, .raw_len = d.now.len, .detail = d.detail},
            .evidence = &before,
            .n_evidence = 1,
        };

        watch_report(u->watch, &r, u);
    }
}

void look_step(struct unit *u)
{
    if (!u->looking)
        look_tell(u);
    if (uv_now(u->watch->loop) >= u->look_at_ms)
        u->want_look = true;
    if (!u->want_look)
        return;
    u->want_look = false; /* what is announced from now on asks for one more */
    u->looking = true;
    look_from(u, UNIT_LOOK_LIMITS);
}

bool look_running(const struct unit *u)
{
    return u->step >= UNIT_LOOK_LIMITS && u->step <= UNIT_CAPACITY_10;
}

struct command look_command(const struct unit *u)
{
    switch (u->step) {
    case UNIT_LOOK_LIMITS: return command_build(COMMAND_INQUIRY, PAGE_BLOCK_LIMITS);
    case UNIT_LOOK_PROTECTION: return command_build(COMMAND_MODE_SENSE_10, PAGE_ALL);
    case UNIT_LOOK_PROTECTION_6: return command_build(COMMAND_MODE_SENSE_6, PAGE_ALL);
    case UNIT_CAPACITY_10: return command_build(COMMAND_READ_CAPACITY_10, 0);
    default: return command_build(COMMAND_READ_CAPACITY_16, 0);
    }
}

/* ------------------------------------------------------------------------------------------------ readings */

static void read_limits(struct unit *u, const uint8_t *data, size_t len)
{
    const uint8_t *limits;
    size_t n;

    if (identify_vpd_payload(data, len, PAGE_BLOCK_LIMITS, &limits, &n) < 0 || n == 0 ||
        identify_vpd_block_limits(data, len, &u->identity) < 0)
        snprintf(u->problem, sizeof u->problem, "VPD page B0h is malformed");
    else
        compare_read(&u->compare, COMPARE_LIMITS, limits, n);
}

static void read_protection(struct unit *u, const uint8_t *data, size_t len, bool form_6)
{
    uint8_t protection;

    if (identify_protection(data, len, form_6, &protection) < 0)
        snprintf(u->problem, sizeof u->problem, "MODE SENSE data is malformed");
    else
        compare_read(&u->compare, COMPARE_PROTECTION, &protection, 1);
}

static void read_capacity(struct unit *u, const uint8_t *data, size_t len)
{
    uint8_t reading[12];
    bool use_16 = false;
    int rc = u->step == UNIT_CAPACITY_16 ? identify_capacity_16(data, len, &u->identity)
                                         : identify_capacity_10(data, len, &u->identity, &use_16);

    if (rc < 0)
        snprintf(u->problem, sizeof u->problem, "READ CAPACITY data is malformed");
    if (rc < 0 || use_16) /* too large for the ten-byte command, and the other one is refused */
        return;
    be64_write(reading, u->identity.n_blocks - 1);
    be32_write(reading + 8, u->identity.block_bytes);
    compare_read(&u->compare, COMPARE_CAPACITY, reading, sizeof reading);
}

static void read_answer(struct unit *u, const struct iscsi_command_result *result)
{
    struct identity before = u->identity;

    switch (u->step) {
    case UNIT_LOOK_LIMITS: read_limits(u, result->data, result->len); break;
    case UNIT_LOOK_PROTECTION: read_protection(u, result->data, result->len, false); break;
    case UNIT_LOOK_PROTECTION_6: read_protection(u, result->data, result->len, true); break;
    default: read_capacity(u, result->data, result->len); break;
    }
    if (before.n_blocks != u->identity.n_blocks || before.block_bytes != u->identity.block_bytes ||
        before.maximum_transfer_blocks != u->identity.maximum_transfer_blocks)
        u->watch->ops->on_inventory(u->watch, u->watch->data);
}

/* ------------------------------------------------------------------------------------------------ steps */

static bool is_illegal(const struct iscsi_command_result *result)
{
    struct sense s;

    return result->sense_len > 0 && sense_decode(result->sense, result->sense_len, &s) == 0 &&
           s.key == KEY_ILLEGAL_REQUEST;
}

void look_answer(struct unit *u, const struct iscsi_command_result *result, bool attention)
{
    bool good = result->scsi_status == STATUS_GOOD;

    if (attention) { /* drain, then look again; not for ever */
        u->step = u->n_look_retries++ < MAX_RETRIES ? UNIT_POLL : UNIT_RESTING;
        u->looking = u->step == UNIT_POLL;
        u->want_look = true;
        return;
    }
    if (good)
        read_answer(u, result);
    switch (u->step) {
    case UNIT_LOOK_LIMITS: look_from(u, UNIT_LOOK_PROTECTION); break;
    case UNIT_LOOK_PROTECTION:
        u->mode_6 = !good && is_illegal(result);
        look_from(u, u->mode_6 ? UNIT_LOOK_PROTECTION : UNIT_CAPACITY_16);
        break;
    case UNIT_LOOK_PROTECTION_6:
        if (!good && is_illegal(result))
            u->unreadable |= 1u << COMPARE_PROTECTION;
        look_from(u, UNIT_CAPACITY_16);
        break;
    case UNIT_CAPACITY_16:
        if (!good)
            u->step = UNIT_CAPACITY_10;
        else
            look_over(u);
        break;
    default: look_over(u); break;
    }
}

void look_timed_out(struct unit *u)
{
    snprintf(u->problem, sizeof u->problem, "command %02Xh is not answered", look_command(u).cdb[0]);
    u->unreadable |= 1u << trait_of(u->step);
    u->looking = false;
    u->want_look = true; /* at the rest */
}

void look_identified(struct unit *u, bool another)
{
    if (another)
        compare_reset(&u->compare);
    u->unreadable = 0;
    u->mode_6 = u->looking = false;
    u->want_look = true;
    look_later(u);
}

void look_reset(struct unit *u)
{
    u->want_look = u->want_look || u->looking;
    u->looking = false;
    u->n_look_retries = 0;
}
