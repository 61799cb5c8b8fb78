/* SPDX-License-Identifier: Apache-2.0 */
/* Answers. Each request gets its reply when it comes, so that it can be answered whatever happens; when there is no
 * memory even for that, one of the machine's reserve. An answer without a value is written when it is taken. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "broker/core/adapter/state.h"

struct reply *reply_new(struct adapter *a, struct adapter_stream *stream, uint64_t id)
{
    struct reply *reply = calloc(1, sizeof *reply);
    for (size_t i = 0; !reply && i < N_RESERVED_REPLIES; i++) {
        if (a->reserve_used[i])
            continue;
        a->reserve_used[i] = true;
        reply = &a->reserve[i];
        *reply = (struct reply){.is_reserved = true};
    }
    if (reply) {
        action_init(&reply->action, ACTION_REPLY, NULL, stream);
        reply->id = id;
    }
    return reply;
}

void reply_free(struct adapter *a, struct reply *reply)
{
    chunk_unref(reply->action.bytes);
    reply->action.bytes = NULL;
    if (reply->is_reserved)
        a->reserve_used[reply - a->reserve] = false;
    else
        free(reply);
}

void reply_push(struct adapter *a, struct reply *reply)
{
    action_push(a, &reply->action);
}

void reply_ok(struct adapter *a, struct reply *reply)
{
    reply_push(a, reply);
}

void reply_error(struct adapter *a, struct reply *reply, error_number error, error_detail detail, const char *format,
                 ...)
{
    char text[2 * MAX_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_copy(reply->text, sizeof reply->text, text);
    reply->error = error;
    reply->detail = detail;
    chunk_unref(reply->action.bytes); /* a value that is not true any more */
    reply->action.bytes = NULL;
    reply_push(a, reply);
}

static struct chunk *encode(Sensebus__V1__Result *result)
{
    Sensebus__V1__AdapterReply message = SENSEBUS__V1__ADAPTER_REPLY__INIT;
    message.body_case = SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT;
    message.result = result;
    struct chunk *bytes = chunk_new(sensebus__v1__adapter_reply__get_packed_size(&message));
    if (bytes)
        bytes->len = sensebus__v1__adapter_reply__pack(&message, bytes->bytes);
    return bytes;
}

int reply_write(struct reply *reply, Sensebus__V1__Result *result)
{
    result->id = reply->id;
    struct chunk *bytes = encode(result);
    if (!bytes)
        return UV_ENOMEM;
    chunk_unref(reply->action.bytes);
    reply->action.bytes = bytes;
    return 0;
}

struct chunk *reply_encode(const struct reply *reply)
{
    Sensebus__V1__Result result = SENSEBUS__V1__RESULT__INIT;
    result.id = reply->id;
    result.error = reply->error;
    result.detail = reply->detail;
    result.message = (char *)reply->text;
    return encode(&result);
}
