/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/feed_message.h"

/* iSCSI names: printable ASCII without space. */
static bool name_ok(const uint8_t *name, size_t len)
{
    if (len == 0 || len > FEED_MAX_NAME)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return true;
}

bool feed_next_name(const uint8_t **cursor, const uint8_t *end, const char **out_name, size_t *out_len)
{
    const uint8_t *at = *cursor;

    if (at == end || (size_t)(end - at) < 1u + at[0])
        return false;
    *out_name = (const char *)at + 1;
    *out_len = at[0];
    *cursor = at + 1 + at[0];
    return true;
}

static bool take_name(const uint8_t **cursor, const uint8_t *end, const char **out_name, size_t *out_len)
{
    return feed_next_name(cursor, end, out_name, out_len) && name_ok((const uint8_t *)*out_name, *out_len);
}

static const char *check_serves(const uint8_t *body, const uint8_t *end, struct feed_message *out)
{
    const uint8_t *cursor = body;
    const char *name;
    size_t len, n = 0;

    while (cursor < end) {
        if (!take_name(&cursor, end, &name, &len))
            return "SERVES: a name is cut, empty or not an iSCSI name";
        if (++n > FEED_MAX_TARGETS)
            return "SERVES: more than 256 targets";
    }
    out->data = body;
    out->len = (size_t)(end - body);
    return NULL;
}

static const char *check_data(const uint8_t *body, const uint8_t *end, struct feed_message *out)
{
    if (!take_name(&body, end, &out->target, &out->target_len))
        return "DATA: the target's name is cut, empty or not an iSCSI name";
    if (!take_name(&body, end, &out->initiator, &out->initiator_len))
        return "DATA: the initiator's name is cut, empty or not an iSCSI name";
    if (end - body > FEED_MAX_DATA)
        return "DATA: more than 65,536 bytes";
    out->data = body;
    out->len = (size_t)(end - body);
    return NULL;
}

enum feed_result feed_message_read(const uint8_t *bytes, size_t len, struct feed_message *out, const char **out_fault)
{
    const uint8_t *body = bytes + FEED_PREFIX_BYTES, *end;
    uint32_t n;

    if (len < FEED_PREFIX_BYTES)
        return FEED_INCOMPLETE;
    n = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    if (n == 0 || n > FEED_MAX_BODY) {
        *out_fault = "a message has an impossible length";
        return FEED_MALFORMED;
    }
    if (len - FEED_PREFIX_BYTES < n)
        return FEED_INCOMPLETE;
    *out = (struct feed_message){.kind = body[0], .n_bytes = FEED_PREFIX_BYTES + n};
    end = body + n;
    *out_fault = NULL;
    if (out->kind == FEED_SERVES)
        *out_fault = check_serves(body + 1, end, out);
    else if (out->kind == FEED_DATA)
        *out_fault = check_data(body + 1, end, out);
    return *out_fault ? FEED_MALFORMED : FEED_COMPLETE;
}

void feed_done_write(uint8_t out[FEED_DONE_BYTES], uint64_t n_done)
{
    static const uint8_t head[] = {0, 0, 0, 9, FEED_DONE};

    for (size_t i = 0; i < sizeof head; i++)
        out[i] = head[i];
    for (int i = 0; i < 8; i++)
        out[sizeof head + (size_t)i] = (uint8_t)(n_done >> (56 - 8 * i));
}
