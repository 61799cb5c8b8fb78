/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/compare.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/big_endian.h"
#include "sensebus/v1/code.pb-c.h"

#define MARK          "detected by comparison: "
#define PROTECTED     0x80
#define MAX_TRANSFER  4 /* offsets in VPD page B0h behind its header */
#define TRANSFER_NEED 8

/* ------------------------------------------------------------------------------------------------ words */

static void describe_capacity(const struct compare_reading *before, const struct compare_reading *now, char *out,
                              size_t len)
{
    assert(before->len == 12 && now->len == 12);
    snprintf(out, len, MARK "%" PRIu64 " blocks of %" PRIu32 " bytes, %" PRIu64 " of %" PRIu32 " before",
             be64_read(now->bytes) + 1, be32_read(now->bytes + 8), be64_read(before->bytes) + 1,
             be32_read(before->bytes + 8));
}

static void describe_protection(const struct compare_reading *before, const struct compare_reading *now, char *out,
                                size_t len)
{
    (void)before;
    snprintf(out, len, MARK "%s",
             now->bytes[0] & PROTECTED ? "write protected, writable before" : "writable, write protected before");
}

/* The one that people look for, else where they differ. */
static void describe_limits(const struct compare_reading *before, const struct compare_reading *now, char *out,
                            size_t len)
{
    size_t shorter = before->len < now->len ? before->len : now->len, at = 0;

    while (at < shorter && before->bytes[at] == now->bytes[at])
        at++;
    if (shorter >= TRANSFER_NEED && at >= MAX_TRANSFER && at < TRANSFER_NEED)
        snprintf(out, len, MARK "maximum transfer length %" PRIu32 " blocks, %" PRIu32 " before (0 = no limit)",
                 be32_read(now->bytes + MAX_TRANSFER), be32_read(before->bytes + MAX_TRANSFER));
    else if (at < shorter)
        snprintf(out, len, MARK "block limits (VPD page B0h) differ from byte %zu on: %02Xh, %02Xh before", at + 4,
                 now->bytes[at], before->bytes[at]);
    else
        snprintf(out, len, MARK "block limits (VPD page B0h) have %zu bytes, %zu before", now->len, before->len);
}

static const struct {
    uint32_t code;
    const char *name;
    void (*describe)(const struct compare_reading *before, const struct compare_reading *now, char *out, size_t len);
} news[COMPARE_N_TRAITS] = {
    [COMPARE_CAPACITY] = {SENSEBUS__V1__CODE__CAPACITY_CHANGED, "read-capacity", describe_capacity},
    [COMPARE_PROTECTION] = {SENSEBUS__V1__CODE__WRITE_PROTECT_CHANGED, "mode-sense", describe_protection},
    [COMPARE_LIMITS] = {SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED, "block-limits", describe_limits},
};

/* ------------------------------------------------------------------------------------------------ readings */

static bool same(const struct compare_reading *a, const struct compare_reading *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

void compare_read(struct compare *c, enum compare_trait trait, const uint8_t *bytes, size_t len)
{
    struct compare_reading *now = &c->traits[trait].now, *before = &c->traits[trait].before;
    struct compare_reading was = *now;

    assert(len > 0);
    now->len = len < COMPARE_BYTES ? len : COMPARE_BYTES;
    memcpy(now->bytes, bytes, now->len);
    if (was.len == 0 || c->traits[trait].announced)
        before->len = 0;
    else if (before->len == 0 && !same(&was, now))
        *before = was;
    else if (same(before, now))
        before->len = 0;
    c->traits[trait].announced = false;
}

static unsigned explains(uint32_t code)
{
    switch (code) {
    case SENSEBUS__V1__CODE__CAPACITY_CHANGED: return 1u << COMPARE_CAPACITY;
    case SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED:
    case SENSEBUS__V1__CODE__WRITE_PROTECT_CHANGED: return 1u << COMPARE_PROTECTION;
    case SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED:
    case SENSEBUS__V1__CODE__MICROCODE_CHANGED: return 1u << COMPARE_LIMITS;
    case SENSEBUS__V1__CODE__PARAMETERS_CHANGED:
    case SENSEBUS__V1__CODE__MEDIUM_CHANGED:
    case SENSEBUS__V1__CODE__IDENTITY_CHANGED: return (1u << COMPARE_N_TRAITS) - 1;
    default: return 0;
    }
}

bool compare_announced(struct compare *c, uint32_t code)
{
    unsigned traits = explains(code);

    for (enum compare_trait t = 0; t < COMPARE_N_TRAITS; t++) {
        if (!(traits & 1u << t))
            continue;
        c->traits[t].announced = true;
        c->traits[t].before.len = 0;
    }
    return traits != 0;
}

void compare_reset(struct compare *c)
{
    memset(c, 0, sizeof *c);
}

bool compare_take(struct compare *c, struct compare_difference *out)
{
    for (enum compare_trait t = 0; t < COMPARE_N_TRAITS; t++) {
        if (c->traits[t].before.len == 0)
            continue;
        out->code = news[t].code;
        out->name = news[t].name;
        out->before = c->traits[t].before;
        out->now = c->traits[t].now;
        news[t].describe(&out->before, &out->now, out->detail, sizeof out->detail);
        c->traits[t].before.len = 0;
        return true;
    }
    return false;
}
