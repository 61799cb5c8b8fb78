/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/cursors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "broker/core/mutant.h"

int cursor_check_name(const char *name, char *err, size_t err_len)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name), good = strspn(name, allowed);
    if (len == 0)
        snprintf(err, err_len, "cursor: empty name");
    else if (len > CURSOR_MAX_NAME)
        snprintf(err, err_len, "cursor: name of %zu bytes, at most %d are allowed", len, CURSOR_MAX_NAME);
    else if (good != len)
        snprintf(err, err_len, "cursor: byte %zu of the name is not one of A-Z a-z 0-9 . _ -", good + 1);
    else
        return 0;
    return UV_EINVAL;
}

enum cursor_verdict cursor_judge(const char *name, const struct cursor_position *current,
                                 const struct cursor_position *next, uint64_t log_epoch, uint64_t newest,
                                 uint64_t n_cursors, char *err, size_t err_len)
{
    if (next->epoch != log_epoch) {
        snprintf(err, err_len,
                 "cursor %s: position %" PRIu64 " is of log epoch %016" PRIx64 ", this log is %016" PRIx64, name,
                 next->sequence, next->epoch, log_epoch);
        return CURSOR_OUT_OF_RANGE;
    }
    if (next->sequence > newest) {
        snprintf(err, err_len, "cursor %s: position %" PRIu64 " is newer than the newest record %" PRIu64, name,
                 next->sequence, newest);
        return CURSOR_OUT_OF_RANGE;
    }
    if (!current && n_cursors >= CURSORS_MAX) {
        snprintf(err, err_len, "cursor %s: there are %d cursors already", name, CURSORS_MAX);
        return CURSOR_TOO_MANY;
    }
    if (!current || current->epoch != log_epoch || next->sequence > current->sequence)
        return CURSOR_MOVE;
    if (next->sequence == current->sequence)
        return CURSOR_SAME;
    snprintf(err, err_len, "cursor %s: is at %" PRIu64 " and does not move backwards to %" PRIu64, name,
             current->sequence, next->sequence);
    return CURSOR_BACKWARDS;
}

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

void cursor_encode(const struct cursor_position *position, uint8_t out[CURSOR_VALUE_SIZE])
{
    put_u64(out, position->epoch);
    put_u64(out + 8, position->sequence + (MUTANT(207) ? 3 : 0));
}

int cursor_decode(const void *bytes, size_t len, struct cursor_position *out_position)
{
    if (len != CURSOR_VALUE_SIZE)
        return UV_EINVAL;
    out_position->epoch = get_u64(bytes);
    out_position->sequence = get_u64((const uint8_t *)bytes + 8);
    return 0;
}
