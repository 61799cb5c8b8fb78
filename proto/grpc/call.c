/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a call (see call.h): what the session reports goes in at call_on_*, what the owner wants at grpc_call_*,
 * and call_attend tells the owner what it must not hear from inside either. */
#include "proto/grpc/call.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/h2.h"
#include "proto/grpc/metadata.h"

/* ------------------------------------------------------------------------------------------------ making, freeing */

struct grpc_call *call_new(struct h2 *h2, int32_t stream_id)
{
    struct grpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->h2 = h2;
    call->stream_id = stream_id;
    call->deadline_ms = UINT64_MAX;
    call->framer.max_len = h2->limits->max_message_bytes;
    call->next = h2->calls;
    if (call->next)
        call->next->prev = call;
    h2->calls = call;
    h2->n_calls++;
    h2->counters->calls_started++;
    h2->counters->calls_open++;
    return call;
}

static void call_free(struct grpc_call *call)
{
    struct h2 *h2 = call->h2;
    if (call->prev)
        call->prev->next = call->next;
    else
        h2->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    h2->n_calls--;
    h2->n_patient -= call->patient;
    h2->kept_bytes -= call->kept_bytes;
    call_unary_left(call, call->out.n_bytes);
    h2->counters->calls_open--;
    unary_free(call->unary);
    wire_framer_deinit(&call->framer);
    sendq_deinit(&call->out);
    headers_deinit(&call->headers);
    headers_deinit(&call->trailers);
    headers_deinit(&call->initial);
    headers_deinit(&call->trailing);
    free(call->message);
    free(call);
}

void call_unary_left(struct grpc_call *call, size_t len)
{
    struct h2 *h2 = call->h2;
    if (!call->unary)
        return;
    h2->unary_bytes -= len;
    h2->unary_is_full = h2->unary_is_full && h2->unary_bytes > h2->limits->max_unary_bytes / 2;
}

/* ------------------------------------------------------------------------------------------------ budget */

void grpc_call_share(struct grpc_call *call, struct grpc_budget *budget)
{
    assert(!call->budget && !call->ended);
    call->budget = budget;
}

void grpc_call_set_patient(struct grpc_call *call)
{
    call->h2->n_patient += !call->patient;
    call->patient = true;
}

void grpc_call_flush(struct grpc_call *call)
{
    call->h2->host->flush(call->h2);
}

/* `queued` bytes wait now. */
static void count_queued(struct grpc_call *call, size_t queued)
{
    if (!call->budget)
        return;
    call->budget->queued_bytes += queued;
    call->budget->queued_bytes -= call->budgeted_bytes;
    call->budgeted_bytes = queued;
}

static void leave_budget(struct grpc_call *call)
{
    count_queued(call, 0);
    call->budget = NULL;
}

static bool is_writable(const struct grpc_call *call)
{
    const struct grpc_budget *b = call->budget;
    size_t queued = call->out.n_bytes;
    return queued < call->h2->limits->low_water_bytes && (queued == 0 || !b || b->queued_bytes < b->max_queued_bytes);
}

/* ------------------------------------------------------------------------------------------------ attention */

static void ask_attention(struct grpc_call *call, unsigned what)
{
    struct h2 *h2 = call->h2;
    bool listed = call->attention & CALL_LISTED;
    call->attention |= what | CALL_LISTED;
    if (listed)
        return;
    call->next_attention = NULL;
    if (h2->attention)
        h2->attention_last->next_attention = call;
    else
        h2->attention = call;
    h2->attention_last = call;
    h2->host->wake(h2);
}

void call_attend(struct grpc_call *call)
{
    unsigned what = call->attention;
    call->attention = 0;
    if (what & CALL_CLOSE) {
        leave_budget(call);
        if (call->ops)
            call->ops->on_close(call, call->data, call->status, call->message ? call->message : "");
        h2_detach(call);
        call_free(call);
        return;
    }
    if ((what & CALL_SEND_HEADERS) && !call->responded) {
        call->responded = true;
        if (h2_respond(call) != 0)
            call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    }
    if ((what & CALL_TELL_WRITABLE) && !call->ended && !call->finishing && call->ops && call->ops->on_writable)
        call->ops->on_writable(call, call->data);
    if ((what & CALL_TELL_DRAIN) && !call->ended && !call->finishing && call->ops && call->ops->on_drain)
        call->ops->on_drain(call, call->data);
}

void call_end(struct grpc_call *call, int status, const char *message)
{
    if (call->ended)
        return;
    call->ended = true;
    call->discards = true;
    call->status = status;
    /* The status that was sent ends the call with its own message. */
    if (message != call->message) {
        free(call->message);
        call->message = message ? strdup(message) : NULL;
    }
    ask_attention(call, CALL_CLOSE);
}

/* Refuse what the peer sent: a status for a client, a reset for a server. */
static void call_abort(struct grpc_call *call, int status, const char *message)
{
    if (call->h2->side == H2_SERVER)
        grpc_call_finish(call, status, "%s", message);
    else
        call_end(call, status, message);
}

/* ------------------------------------------------------------------------------------------------ requests */

static void refuse(struct grpc_call *call, int http_status)
{
    call->h2->counters->calls_refused++;
    call->finishing = true;
    call->responded = true;
    call->discards = true;
    call->status = GRPC_UNKNOWN;
    if (h2_respond_only(call, http_status) != 0)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void set_deadline(struct grpc_call *call, uint64_t timeout_ms)
{
    struct h2 *h2 = call->h2;
    call->deadline_ms = h2_now_ms() + timeout_ms;
    if (call->deadline_ms < h2->next_deadline_ms) {
        h2->next_deadline_ms = call->deadline_ms;
        h2->host->on_deadline(h2);
    }
}

void call_on_request(struct grpc_call *call)
{
    const struct grpc_limits *limits = call->h2->limits;
    const char *method = headers_get(&call->headers, ":method");
    const char *content_type = headers_get(&call->headers, "content-type");
    const char *timeout = headers_get(&call->headers, "grpc-timeout");
    uint64_t timeout_ms;

    if (call->headers.list_bytes > limits->max_header_bytes) {
        call->h2->counters->calls_refused++;
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "request headers of %zu bytes exceed the limit of %u bytes",
                         call->headers.list_bytes, limits->max_header_bytes);
    } else if (!method || strcmp(method, "POST") != 0) {
        refuse(call, 405);
    } else if (!content_type || !wire_is_grpc_content_type(content_type)) {
        refuse(call, 415);
    } else if (timeout && wire_timeout_parse(timeout, &timeout_ms) != 0) {
        call->h2->counters->calls_refused++;
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "grpc-timeout '%.20s' is no timeout", timeout);
    } else {
        if (timeout)
            set_deadline(call, timeout_ms);
        call->h2->host->on_call(call->h2, call);
    }
}

/* ------------------------------------------------------------------------------------------------ responses */

static int status_of_http(const char *http_status)
{
    switch (http_status ? strtol(http_status, NULL, 10) : 0) {
    case 400: return GRPC_INTERNAL;
    case 401: return GRPC_UNAUTHENTICATED;
    case 403: return GRPC_PERMISSION_DENIED;
    case 404: return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return GRPC_UNAVAILABLE;
    default: return GRPC_UNKNOWN;
    }
}

static void end_with_trailers(struct grpc_call *call)
{
    const char *text = headers_get(&call->trailers, "grpc-status");
    const char *encoded = headers_get(&call->trailers, "grpc-message");
    char *end = NULL;
    long status = text ? strtol(text, &end, 10) : -1;
    if (!text || end == text || *end != '\0' || status < 0) {
        call_end(call, GRPC_UNKNOWN, "the response has no grpc-status");
        return;
    }
    if (status == GRPC_OK && !wire_framer_between_messages(&call->framer)) {
        call_end(call, GRPC_INTERNAL, "the response ended inside a message");
        return;
    }
    char *message = encoded ? strdup(encoded) : NULL;
    if (message)
        wire_message_decode(message);
    call_end(call, status <= GRPC_UNAUTHENTICATED ? (int)status : GRPC_UNKNOWN, message);
    free(message);
}

void call_on_response(struct grpc_call *call, bool end_stream)
{
    const char *http_status = headers_get(&call->headers, ":status");
    const char *content_type = headers_get(&call->headers, "content-type");
    const struct headers *newest = call->n_header_blocks > 1 ? &call->trailers : &call->headers;
    char text[128];

    if (newest->list_bytes > call->h2->limits->max_header_bytes) {
        snprintf(text, sizeof text, "response headers of %zu bytes exceed the limit of %u bytes", newest->list_bytes,
                 call->h2->limits->max_header_bytes);
        call_end(call, GRPC_RESOURCE_EXHAUSTED, text);
    } else if (http_status && http_status[0] == '1') {
        /* Not the response yet. */
        headers_deinit(&call->headers);
        call->n_header_blocks = 0;
    } else if (!http_status || strcmp(http_status, "200") != 0) {
        snprintf(text, sizeof text, "the server answered HTTP status %.3s", http_status ? http_status : "?");
        call_end(call, status_of_http(http_status), text);
    } else if (!content_type || !wire_is_grpc_content_type(content_type)) {
        snprintf(text, sizeof text, "the server answered with content-type '%.60s'", content_type ? content_type : "");
        call_end(call, GRPC_UNKNOWN, text);
    } else if (end_stream) {
        if (call->n_header_blocks == 1) {
            call->trailers = call->headers;
            call->headers = (struct headers){0};
        }
        end_with_trailers(call);
    } else if (call->n_header_blocks > 1) {
        call_end(call, GRPC_INTERNAL, "headers in the middle of the response");
    }
}

/* ------------------------------------------------------------------------------------------------ messages in */

/* What has come of messages that are not whole yet: flow control alone would let each call of a connection hold one. */
enum { KEPT_MESSAGES = 8 };

static void refuse_message(struct grpc_call *call, enum wire_step why)
{
    const char *encoding = headers_get(&call->headers, "grpc-encoding");
    char text[160];
    switch (why) {
    case WIRE_TOO_LONG:
        call->h2->counters->oversize_messages++;
        snprintf(text, sizeof text, "message of %u bytes exceeds the limit of %u bytes", call->framer.len,
                 call->framer.max_len);
        call_abort(call, GRPC_RESOURCE_EXHAUSTED, text);
        break;
    case WIRE_COMPRESSED:
        snprintf(text, sizeof text, "compressed messages are not supported (grpc-encoding: %.40s)",
                 encoding ? encoding : "not given");
        call_abort(call, GRPC_UNIMPLEMENTED, text);
        break;
    case WIRE_NO_MEMORY: call_abort(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the message"); break;
    default:
        call->h2->counters->protocol_errors++;
        snprintf(text, sizeof text, "a message begins with byte %u instead of 0 or 1", call->framer.prefix[0]);
        call_abort(call, GRPC_INTERNAL, text);
    }
    call->discards = true;
}

bool call_keep(struct grpc_call *call, size_t more, size_t less)
{
    struct h2 *h2 = call->h2;
    size_t limit = (size_t)KEPT_MESSAGES * h2->limits->max_message_bytes;
    char text[160];
    call->kept_bytes = call->kept_bytes + more - less;
    h2->kept_bytes = h2->kept_bytes + more - less;
    if (more <= less || h2->kept_bytes <= limit)
        return true;
    h2->counters->calls_refused++;
    snprintf(text, sizeof text, "unfinished messages on this connection hold %zu bytes, more than the limit of %zu",
             h2->kept_bytes, limit);
    call_abort(call, GRPC_RESOURCE_EXHAUSTED, text);
    return false;
}

/* The framer had `before` bytes of memory. Between messages it needs none. */
static void keep_unfinished(struct grpc_call *call, size_t before)
{
    struct wire_framer *f = &call->framer;
    bool kept = call_keep(call, f->cap, before);
    if (kept && !call->discards && !wire_framer_between_messages(f))
        return;
    call_keep(call, 0, f->cap);
    wire_framer_deinit(f);
}

void call_on_data(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    const uint8_t *in = bytes;
    const uint8_t *message;
    size_t left = len;
    size_t message_len;
    size_t framer_bytes = call->framer.cap;

    while (!call->discards) {
        enum wire_step step = wire_framer_step(&call->framer, &in, &left, &message, &message_len);
        if (step == WIRE_NEED_MORE)
            break;
        if (step != WIRE_MESSAGE) {
            refuse_message(call, step);
            break;
        }
        call->h2->counters->messages_received++;
        call->ops->on_message(call, call->data, message, message_len);
    }
    keep_unfinished(call, framer_bytes);
    if (call->paused && !call->discards)
        call->held_bytes += len;
    else
        h2_consume(call, len);
}

void call_on_remote_close(struct grpc_call *call)
{
    call->remote_closed = true;
    if (call->discards)
        return;
    if (call->h2->side == H2_CLIENT) {
        call_end(call, GRPC_INTERNAL, "the response ended without a status");
    } else if (!wire_framer_between_messages(&call->framer)) {
        call->h2->counters->protocol_errors++;
        grpc_call_finish(call, GRPC_INTERNAL, "the request ended inside a message");
    } else if (call->ops->on_half_close) {
        call->ops->on_half_close(call, call->data);
    }
}

/* ------------------------------------------------------------------------------------------------ ends */

/* https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Errors" */
static int status_of_reset(uint32_t h2_error)
{
    switch (h2_error) {
    case 7: return GRPC_UNAVAILABLE;         /* REFUSED_STREAM */
    case 8: return GRPC_CANCELLED;           /* CANCEL */
    case 11: return GRPC_RESOURCE_EXHAUSTED; /* ENHANCE_YOUR_CALM */
    case 12: return GRPC_PERMISSION_DENIED;  /* INADEQUATE_SECURITY */
    default: return GRPC_INTERNAL;
    }
}

void call_on_stream_close(struct grpc_call *call, uint32_t h2_error)
{
    char text[80];
    call->stream_id = 0;
    if (call->trailers_sent) {
        call_end(call, call->status, call->message);
    } else if (call->h2->side == H2_SERVER) {
        snprintf(text, sizeof text, "ended by the client (HTTP/2 error %u)", h2_error);
        call_end(call, GRPC_CANCELLED, text);
    } else {
        snprintf(text, sizeof text, "the server reset the call (HTTP/2 error %u)", h2_error);
        call_end(call, status_of_reset(h2_error), text);
    }
}

void call_expire(struct grpc_call *call)
{
    call->deadline_ms = UINT64_MAX;
    /* A status can be sent only where a message ends. */
    bool can_say = call->h2->side == H2_SERVER && !call->finishing && call->out.n_bytes == 0;
    if (can_say)
        grpc_call_finish(call, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    else
        call_end(call, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

void call_drain(struct grpc_call *call)
{
    if (call->ops && call->ops->on_drain)
        ask_attention(call, CALL_TELL_DRAIN);
    else
        grpc_call_finish(call, GRPC_UNAVAILABLE, "server is draining");
}

/* ------------------------------------------------------------------------------------------------ for the owner */

void grpc_call_accept(struct grpc_call *call, const struct grpc_call_ops *ops, void *data)
{
    call->ops = ops;
    call->data = data;
    /* Clients wait for headers to know that the server took the call; a unary answer brings them along. */
    if (!call->unary)
        ask_attention(call, CALL_SEND_HEADERS);
}

int grpc_call_send(struct grpc_call *call, const struct slice *parts, size_t n)
{
    struct h2 *h2 = call->h2;
    if (call->ended || call->finishing || call->half_closed)
        return UV_ECANCELED;
    uint64_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    if (call->out.n_bytes > 0 && call->out.n_bytes + len > h2->limits->max_queued_bytes)
        return UV_ENOBUFS;
    if (call->unary && h2->unary_bytes > 0 && h2->unary_bytes + len > h2->limits->max_unary_bytes) {
        h2->unary_is_full = true;
        return UV_ENOBUFS;
    }
    size_t before = call->out.n_bytes;
    int rc = sendq_message(&call->out, parts, n);
    if (rc != 0)
        return rc;
    if (call->unary)
        h2->unary_bytes += call->out.n_bytes - before;
    count_queued(call, call->out.n_bytes);
    h2->counters->messages_sent++;
    if (call->out.n_bytes >= h2->limits->low_water_bytes)
        call->was_full = true;
    if (h2->side == H2_SERVER && !call->responded) {
        call->responded = true;
        rc = h2_respond(call);
        if (rc != 0)
            call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return rc;
    }
    h2_resume(call);
    return 0;
}

size_t grpc_call_queued_bytes(const struct grpc_call *call)
{
    return call->out.n_bytes;
}

bool grpc_call_writable(struct grpc_call *call)
{
    if (is_writable(call))
        return true;
    call->was_full = true;
    return false;
}

void call_on_sent(struct grpc_call *call)
{
    count_queued(call, call->out.n_bytes);
    if (call->was_full && is_writable(call)) {
        call->was_full = false;
        ask_attention(call, CALL_TELL_WRITABLE);
    }
}

bool call_is_last(const struct grpc_call *call)
{
    return call->finishing || call->half_closed;
}

void grpc_call_pause(struct grpc_call *call)
{
    call->paused = true;
}

void grpc_call_resume(struct grpc_call *call)
{
    call->paused = false;
    h2_consume(call, call->held_bytes);
    call->held_bytes = 0;
}

void grpc_call_finish(struct grpc_call *call, int status, const char *format, ...)
{
    assert(call->h2->side == H2_SERVER && status >= GRPC_OK && status <= GRPC_UNAUTHENTICATED);
    if (call->ended || call->finishing)
        return;
    call->finishing = true;
    call->discards = true;
    call->status = status;
    if (format) {
        va_list args;
        va_start(args, format);
        if (vasprintf(&call->message, format, args) < 0)
            call->message = NULL;
        va_end(args);
    }
    if (call->responded) {
        h2_resume(call);
        return;
    }
    call->responded = true;
    /* A response of one block would have its initial metadata taken for trailing. */
    if ((call->initial.n > 0 ? h2_respond(call) : h2_respond_only(call, 200)) != 0)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

void grpc_call_cancel(struct grpc_call *call)
{
    call_end(call, GRPC_CANCELLED, "cancelled");
}

int grpc_call_half_close(struct grpc_call *call)
{
    assert(call->h2->side == H2_CLIENT);
    if (call->ended)
        return UV_ECANCELED;
    call->half_closed = true;
    h2_resume(call);
    return 0;
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    return call->h2->peer;
}

const struct peer_identity *grpc_call_identity(const struct grpc_call *call)
{
    return call->h2->identity;
}

const char *grpc_call_metadata(const struct grpc_call *call, const char *name)
{
    return headers_get(&call->headers, name);
}

const char *grpc_call_trailer(const struct grpc_call *call, const char *name)
{
    return headers_get(&call->trailers, name);
}

static int add_metadata(struct grpc_call *call, struct headers *list, bool has_left, const char *name,
                        const char *value)
{
    assert(call->h2->side == H2_SERVER);
    if (call->ended)
        return UV_ECANCELED;
    if (has_left)
        return UV_EALREADY;
    return metadata_add(list, name, value, call->h2->limits->max_header_bytes);
}

int grpc_call_set_initial(struct grpc_call *call, const char *name, const char *value)
{
    return add_metadata(call, &call->initial, call->responded, name, value);
}

int grpc_call_set_trailing(struct grpc_call *call, const char *name, const char *value)
{
    return add_metadata(call, &call->trailing, call->finishing, name, value);
}

uint64_t grpc_call_remaining_ms(const struct grpc_call *call)
{
    uint64_t now_ms = h2_now_ms();
    if (call->deadline_ms == UINT64_MAX)
        return UINT64_MAX;
    return call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 0;
}

uv_loop_t *grpc_call_loop(const struct grpc_call *call)
{
    return call->h2->loop;
}

/* Submit the request of a new call. */
static int request(struct grpc_call *call, const char *path, const char *authority,
                   const struct grpc_call_options *options)
{
    for (size_t i = 0; i < options->n_metadata; i++) {
        const struct grpc_metadata *field = &options->metadata[i];
        int rc = metadata_add(&call->initial, field->name, field->value, call->h2->limits->max_header_bytes);
        if (rc != 0)
            return rc;
    }
    return h2_request(call, path, authority, options->deadline_ms);
}

int call_start(struct h2 *h2, const char *path, const char *authority, const struct grpc_call_options *options,
               const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call)
{
    if (h2->closed || h2->failed || h2->goaway_received)
        return UV_ENOTCONN;
    if (h2->n_calls >= h2->limits->max_streams)
        return UV_ENOBUFS;
    struct grpc_call *call = call_new(h2, 0);
    if (!call)
        return UV_ENOMEM;
    int rc = request(call, path, authority, options);
    if (rc != 0) {
        call_free(call);
        return rc;
    }
    call->ops = ops;
    call->data = data;
    if (options->deadline_ms > 0)
        set_deadline(call, options->deadline_ms);
    *out_call = call;
    return 0;
}
