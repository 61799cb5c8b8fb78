/* SPDX-License-Identifier: Apache-2.0 */
/* An operation: check, encode, hand to the I/O thread, then take items until the own reply is among them.
 *   a reply nobody waits for        an operation that was given up: a session that it opened is closed again, a handler
 *                                   that it added is removed; other things are kept for who asks again (late.h)
 *   a stream ends                   the operation that waits fails with its status. When sessions or handlers hung on
 *                                   it, the handle is lost: they are gone, and nobody must overlook it
 *   the connection ends             the handle is lost
 *   a message does not decode       the handle is lost: what it said is not known */
#include "clients/c/face/handle.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "clients/c/broker_address.h"
#include "clients/c/broker_tls.h"
#include "clients/c/face/handlers.h"
#include "clients/c/face/io.h"
#include "clients/c/face/late.h"
#include "clients/c/face/sessions.h"
#include "clients/c/link.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"
#include "runtime/clock.h"
#include "runtime/standard_files.h"

#define PATH_ADAPTER   "/sensebus.v1.Adapter/Open"
#define PATH_LISTEN    "/sensebus.v1.Sdi/Listen"
#define CONNECT_MS     10000
#define MAX_CONNECT_MS (24u * 3600 * 1000)
/* Callbacks that one sb_dispatch runs at most, so that a flood does not keep it. */
#define MAX_ITEMS 1024

/* ------------------------------------------------------------------------------------------------ checks */

int handle_begin_local(struct sb *sb)
{
    if (sb->in_callback) {
        errno = EDEADLK; /* what is said of the operation outside stays */
        sb->detail = SB_DETAIL_IN_CALLBACK;
        snprintf(sb->message, sizeof sb->message, "called from inside a callback");
        return -1;
    }
    sb->detail = SB_DETAIL_NONE;
    *sb->message = 0;
    return 0;
}

static int fail_lost(struct sb *sb)
{
    return errors_set(sb, ENOTCONN, SB_DETAIL_CONNECTION_LOST, "connection lost: %s", sb->lost_reason);
}

int handle_begin(struct sb *sb)
{
    if (handle_begin_local(sb) < 0)
        return -1;
    return sb->lost ? fail_lost(sb) : 0;
}

int handle_check_reserved(struct sb *sb, const void *bytes, size_t len)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < len; i++)
        if (b[i])
            return errors_set(sb, EINVAL, SB_DETAIL_RESERVED, "a reserved member is not 0");
    return 0;
}

/* ------------------------------------------------------------------------------------------------ items */

static void wait_end(struct sb *sb, int status)
{
    sb->waiting->done = true;
    sb->waiting->status = status;
}

void handle_lose(struct sb *sb, const char *reason)
{
    if (sb->lost)
        return;
    sb->lost = true;
    snprintf(sb->lost_reason, sizeof sb->lost_reason, "%s", reason);
    io_hang_up(sb->io, reason);
    sb->adapter.call = sb->listen.call = 0;
    sessions_lost(sb, reason);
    if (sb->waiting && !sb->waiting->done)
        wait_end(sb, GRPC_UNAVAILABLE);
}

static bool waits_for(const struct sb *sb, enum wait_kind kind, uint64_t id)
{
    return sb->waiting && !sb->waiting->done && sb->waiting->kind == kind && sb->waiting->id == id;
}

static void answer(struct sb *sb, ProtobufCMessage *reply)
{
    sb->waiting->done = true;
    sb->waiting->status = GRPC_OK;
    sb->waiting->reply = reply;
}

/* The caller does not know of the session that its START opened after all. */
static void stop_unknown(struct sb *sb, const Sensebus__V1__Result *result)
{
    if (result->value_case != SENSEBUS__V1__RESULT__VALUE_START)
        return;
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Stop stop = SENSEBUS__V1__STOP__INIT;
    stop.session_id = result->start->session_id;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP;
    request.stop = &stop;
    if (handle_tell(sb, &request) < 0)
        handle_lose(sb, "out of memory");
}

static void on_adapter_reply(struct sb *sb, const struct io_item *item)
{
    Sensebus__V1__AdapterReply *reply = (Sensebus__V1__AdapterReply *)message_unpack(
        &sensebus__v1__adapter_reply__descriptor, item->bytes, item->len, 0);
    if (!reply) {
        handle_lose(sb, "a message of the broker does not decode, or memory is out");
        return;
    }
    switch (reply->body_case) {
    case SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT:
        if (waits_for(sb, WAIT_RESULT, reply->result->id)) {
            answer(sb, &reply->base);
            return;
        }
        late_answer(sb, reply->result);
        stop_unknown(sb, reply->result);
        break;
    case SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT: sessions_event(sb, reply->event, item->bytes, item->len); break;
    case SENSEBUS__V1__ADAPTER_REPLY__BODY_TARGET_DATA: sessions_target_data(sb, reply->target_data); break;
    default: break; /* of a later version */
    }
    message_free(&reply->base);
}

/* The caller does not know of the handler that was added after all: nobody would answer for it. */
static void remove_unknown(struct sb *sb, const Sensebus__V1__ListenResult *result)
{
    if (!result->handler_id)
        return;
    Sensebus__V1__ListenRequest request = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__RemoveEvent remove = SENSEBUS__V1__REMOVE_EVENT__INIT;
    remove.handler_id = result->handler_id;
    request.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_REMOVE;
    request.remove = &remove;
    if (handle_listen_tell(sb, &request) < 0)
        handle_lose(sb, "out of memory");
}

static void on_listen_reply(struct sb *sb, const struct io_item *item)
{
    Sensebus__V1__ListenReply *reply =
        (Sensebus__V1__ListenReply *)message_unpack(&sensebus__v1__listen_reply__descriptor, item->bytes, item->len, 0);
    if (!reply) {
        handle_lose(sb, "a message of the broker does not decode, or memory is out");
        return;
    }
    if (reply->body_case == SENSEBUS__V1__LISTEN_REPLY__BODY_RESULT &&
        waits_for(sb, WAIT_LISTEN_RESULT, reply->result->id)) {
        answer(sb, &reply->base);
        return;
    }
    if (reply->body_case == SENSEBUS__V1__LISTEN_REPLY__BODY_RESULT)
        remove_unknown(sb, reply->result);
    else if (reply->body_case == SENSEBUS__V1__LISTEN_REPLY__BODY_CALL)
        handlers_call(sb, reply->call);
    message_free(&reply->base);
}

static void on_message(struct sb *sb, const struct io_item *item)
{
    if (item->call == sb->adapter.call)
        on_adapter_reply(sb, item);
    else if (item->call == sb->listen.call)
        on_listen_reply(sb, item);
    else if (waits_for(sb, WAIT_CALL, item->call) && !sb->waiting->reply) {
        sb->waiting->reply = message_unpack(sb->waiting->type, item->bytes, item->len, 0);
        if (!sb->waiting->reply)
            handle_lose(sb, "a reply of the broker does not decode, or memory is out");
    }
}

static void on_stream_end(struct sb *sb, struct face_stream *stream, enum wait_kind kind, bool has_state,
                          const struct io_item *item)
{
    stream->call = 0;
    snprintf(sb->message, sizeof sb->message, "%.400s", (const char *)item->bytes);
    if (sb->waiting && !sb->waiting->done && sb->waiting->kind == kind)
        wait_end(sb, item->status);
    if (has_state) {
        char reason[sizeof sb->lost_reason];
        snprintf(reason, sizeof reason, "the broker ended the stream: %s: %.200s", grpc_status_name(item->status),
                 (const char *)item->bytes);
        handle_lose(sb, reason);
    }
}

static void on_end(struct sb *sb, const struct io_item *item)
{
    if (item->call == sb->adapter.call) {
        on_stream_end(sb, &sb->adapter, WAIT_RESULT, sb->n_sessions > 0, item);
    } else if (item->call == sb->listen.call) {
        on_stream_end(sb, &sb->listen, WAIT_LISTEN_RESULT, sb->first_handler != NULL, item);
    } else if (waits_for(sb, WAIT_CALL, item->call)) {
        snprintf(sb->message, sizeof sb->message, "%.400s", (const char *)item->bytes);
        wait_end(sb, item->status);
    }
}

static void deal_with(struct sb *sb, const struct io_item *item)
{
    if (sb->lost)
        return; /* what came before was dealt with; what came after the loss was decided is of no use */
    switch (item->kind) {
    case IO_UP:
        if (waits_for(sb, WAIT_UP, 0))
            wait_end(sb, GRPC_OK);
        break;
    case IO_MESSAGE: on_message(sb, item); break;
    case IO_END: on_end(sb, item); break;
    case IO_DOWN: handle_lose(sb, (const char *)item->bytes); break;
    }
}

/* ------------------------------------------------------------------------------------------------ waiting */

/* Milliseconds of poll(2) until `end_ns`. */
static int poll_ms(uint64_t end_ns)
{
    if (end_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = clock_mono_ns();
    uint64_t ms = now_ns >= end_ns ? 0 : (end_ns - now_ns + 999999) / 1000000;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static uint64_t end_of(int64_t limit_ms)
{
    return limit_ms >= HANDLE_NO_LIMIT / 1000000 ? UINT64_MAX : clock_mono_ns() + (uint64_t)limit_ms * 1000000;
}

/* Returns 1, 0 when the time is over, or -1 with errno. */
static int wait_readable(const struct sb *sb, uint64_t end_ns)
{
    struct pollfd fd = {.fd = io_fd(sb->io), .events = POLLIN};
    return poll(&fd, 1, poll_ms(end_ns));
}

/* Until `wait` is done. 0, or -1 with ETIMEDOUT or EINTR: then its reply is nobody's. */
static int wait_for(struct sb *sb, struct wait *wait, int64_t limit_ms, bool interruptible)
{
    uint64_t end_ns = end_of(limit_ms);
    int rc = 0;
    sb->waiting = wait;
    while (!wait->done && rc == 0) {
        struct io_item *item = io_take(sb->io);
        if (item) {
            deal_with(sb, item);
            free(item);
            continue;
        }
        int ready = wait_readable(sb, end_ns);
        if (ready == 0)
            rc = errors_set(sb, ETIMEDOUT, SB_DETAIL_NONE, "the broker does not answer");
        else if (ready < 0 && errno == EINTR && interruptible)
            rc = errors_set(sb, EINTR, SB_DETAIL_NONE, "a signal came");
        else if (ready < 0 && errno != EINTR)
            rc = errors_set(sb, errno, SB_DETAIL_NONE, "poll: %s", strerror(errno));
    }
    sb->waiting = NULL;
    if (rc == 0 && wait->status == GRPC_OK)
        return 0;
    message_free(wait->reply);
    wait->reply = NULL;
    return rc < 0 ? rc : 1;
}

/* The operation ended with a gRPC status in place of a reply; sb->message is its text. */
static int fail_status(struct sb *sb, int status)
{
    if (sb->lost)
        return fail_lost(sb);
    char text[SB_MESSAGE_BYTES];
    int detail;
    int error = errors_from_status(status, &detail);
    snprintf(text, sizeof text, "%s", sb->message);
    if (detail == SB_DETAIL_CONNECTION_LOST) { /* the call heard of it first */
        handle_lose(sb, text);
        return fail_lost(sb);
    }
    return errors_set(sb, error, detail, "%s: %.450s", grpc_status_name(status), text);
}

int sb_dispatch(struct sb *sb, int timeout_ms)
{
    if (handle_begin_local(sb) < 0)
        return -1;
    if (sb->lost)
        return fail_lost(sb);
    unsigned before = sb->n_callbacks;
    struct io_item *item = io_take(sb->io);
    if (!item) {
        if (wait_readable(sb, timeout_ms < 0 ? UINT64_MAX : end_of(timeout_ms)) < 0)
            return errors_set(sb, errno, SB_DETAIL_NONE, "waiting for events: %s", strerror(errno));
        item = io_take(sb->io);
    }
    for (int i = 1; item; i++) {
        deal_with(sb, item);
        free(item);
        item = i < MAX_ITEMS && !sb->lost ? io_take(sb->io) : NULL;
    }
    if (sb->lost && sb->n_callbacks == before)
        return fail_lost(sb);
    return (int)(sb->n_callbacks - before);
}

int sb_fd(const struct sb *sb)
{
    return io_fd(sb->io);
}

int sb_is_connected(const struct sb *sb)
{
    return !sb->lost;
}

/* ------------------------------------------------------------------------------------------------ sending */

static int send_on(struct sb *sb, struct face_stream *stream, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    protobuf_c_message_pack(message, bytes);
    int rc;
    if (stream->call) {
        rc = io_send(sb->io, stream->call, bytes, len);
    } else {
        stream->call = ++sb->n_calls;
        rc = io_start(sb->io, stream->call, stream->path, 0, bytes, len, false);
        if (rc < 0)
            stream->call = 0;
    }
    free(bytes);
    return rc < 0 ? errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory") : 0;
}

int handle_tell(struct sb *sb, Sensebus__V1__AdapterRequest *request)
{
    request->version = 1;
    request->id = ++sb->n_requests;
    return send_on(sb, &sb->adapter, &request->base);
}

/* What was waited for: its result, or how it ended without one. */
static int take_result(struct sb *sb, const struct wait *wait, Sensebus__V1__AdapterReply **out_reply)
{
    if (wait->status != GRPC_OK)
        return fail_status(sb, wait->status);
    Sensebus__V1__AdapterReply *reply = (Sensebus__V1__AdapterReply *)wait->reply;
    const Sensebus__V1__Result *result = reply->result;
    if (result->error != SENSEBUS__V1__ERRNO__ERRNO_OK) {
        int rc = errors_set(sb, errors_from_errno((int)result->error), (int)result->detail, "%.500s", result->message);
        message_free(&reply->base);
        return rc;
    }
    *out_reply = reply;
    return 0;
}

int handle_operate(struct sb *sb, Sensebus__V1__AdapterRequest *request, int64_t limit_ms, bool interruptible,
                   Sensebus__V1__AdapterReply **out_reply)
{
    request->deadline_ms = sb->deadline_ms;
    if (handle_tell(sb, request) < 0)
        return -1;
    struct wait wait = {.kind = WAIT_RESULT, .id = request->id};
    int rc = wait_for(sb, &wait, limit_ms == HANDLE_NO_LIMIT ? limit_ms : limit_ms + HANDLE_GRACE_MS, interruptible);
    if (rc < 0 && !late_note(sb, request)) {
        handle_lose(sb, "out of memory");
        return fail_lost(sb);
    }
    return rc < 0 ? rc : take_result(sb, &wait, out_reply);
}

int handle_operate_on(struct sb *sb, uint64_t id, Sensebus__V1__AdapterReply **out_reply)
{
    struct wait wait = {.kind = WAIT_RESULT, .id = id};
    int rc = wait_for(sb, &wait, (int64_t)sb->deadline_ms + HANDLE_GRACE_MS, false);
    if (rc < 0)
        return rc; /* late as before */
    late_forget(sb, id);
    return take_result(sb, &wait, out_reply);
}

int handle_listen_tell(struct sb *sb, Sensebus__V1__ListenRequest *request)
{
    request->id = ++sb->n_requests;
    return send_on(sb, &sb->listen, &request->base);
}

int handle_listen(struct sb *sb, Sensebus__V1__ListenRequest *request, Sensebus__V1__ListenReply **out_reply)
{
    if (handle_listen_tell(sb, request) < 0)
        return -1;
    struct wait wait = {.kind = WAIT_LISTEN_RESULT, .id = request->id};
    int rc = wait_for(sb, &wait, sb->deadline_ms, false);
    if (rc != 0)
        return rc < 0 ? rc : fail_status(sb, wait.status);
    Sensebus__V1__ListenReply *reply = (Sensebus__V1__ListenReply *)wait.reply;
    if (reply->result->result != SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK) {
        bool full = strstr(reply->result->message, "RESOURCE_EXHAUSTED") != NULL;
        rc = errors_set(sb, full ? ENOMEM : EINVAL, full ? SB_DETAIL_RESOURCE_EXHAUSTED : SB_DETAIL_ARGUMENT, "%.500s",
                        reply->result->message);
        message_free(&reply->base);
        return rc;
    }
    *out_reply = reply;
    return 0;
}

int handle_verdict(struct sb *sb, uint64_t call_id, Sensebus__V1__SdiReturn value)
{
    Sensebus__V1__ListenRequest request = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__Verdict verdict = SENSEBUS__V1__VERDICT__INIT;
    verdict.call_id = call_id;
    verdict.verdict = value;
    request.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_VERDICT;
    request.verdict = &verdict;
    return handle_listen_tell(sb, &request);
}

int handle_call(struct sb *sb, const char *path, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, uint32_t deadline_ms, ProtobufCMessage **out_reply)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *bytes = malloc(len + 1);
    struct wait wait = {.kind = WAIT_CALL, .id = ++sb->n_calls, .type = reply_type};
    int rc = UV_ENOMEM;
    if (bytes) {
        protobuf_c_message_pack(request, bytes);
        rc = io_start(sb->io, wait.id, path, deadline_ms + HANDLE_GRACE_MS, bytes, len, true);
    }
    free(bytes);
    if (rc < 0)
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    rc = wait_for(sb, &wait, (int64_t)deadline_ms + 2 * HANDLE_GRACE_MS, false);
    if (rc != 0)
        return rc < 0 ? rc : fail_status(sb, wait.status);
    if (!wait.reply)
        return errors_set(sb, EPROTO, SB_DETAIL_NONE, "the broker sent no reply");
    *out_reply = wait.reply;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ open and close */

static void say(char *err, size_t err_len, const char *text)
{
    if (err && err_len)
        snprintf(err, err_len, "%s", text);
}

static void sb_free(struct sb *sb)
{
    io_close(sb->io);
    tls_context_unref(sb->tls); /* its count is not atomic: only now the thread is gone */
    sessions_deinit(sb);
    handlers_deinit(sb);
    late_deinit(sb);
    free(sb);
}

static int check_options(const struct sb_options *o, char *err, size_t err_len)
{
    const char *wrong = NULL;
    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i])
            wrong = "a reserved member is not 0";
    if (o->reserved_number)
        wrong = "a reserved member is not 0";
    else if (o->flags & ~SB_INSECURE)
        wrong = "flags: unknown";
    else if (o->connect_ms > MAX_CONNECT_MS)
        wrong = "connect_ms: longer than a day";
    else if (o->deadline_ms > HANDLE_MAX_DEADLINE_MS)
        wrong = "deadline_ms: more than 600,000";
    if (!wrong)
        return 0;
    say(err, err_len, wrong);
    return UV_EINVAL;
}

static int open_io(struct sb *sb, const char *address, const struct sb_options *o, char *err, size_t err_len)
{
    char complete[BROKER_ADDRESS_BYTES], text[600];
    bool insecure = o->flags & SB_INSECURE;
    int rc = broker_address_complete(address, insecure, complete, text, sizeof text);
    const struct tls_files files = {
        .certificate = o->tls_certificate, .key = o->tls_key, .authority = o->tls_authority};
    if (rc == 0)
        rc = broker_tls_load(complete, &files, o->tls_server_name, &sb->tls, text, sizeof text);
    if (rc < 0) {
        say(err, err_len, text);
        return rc;
    }
    const struct link_options options = {.address = complete,
                                         .connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS,
                                         .once = true,
                                         .insecure = insecure,
                                         .tls = sb->tls,
                                         .server_name = o->tls_server_name};
    rc = io_open(&options, &sb->io);
    if (rc < 0)
        say(err, err_len, uv_strerror(rc));
    return rc;
}

static int wait_up(struct sb *sb, const struct sb_options *o, char *err, size_t err_len)
{
    struct wait wait = {.kind = WAIT_UP};
    int64_t limit_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
    int rc = wait_for(sb, &wait, limit_ms + HANDLE_GRACE_MS, false);
    if (rc == 0)
        return 0;
    say(err, err_len, sb->lost ? sb->lost_reason : sb->message);
    return rc < 0 ? uv_translate_sys_error(errno) : UV_ENOTCONN;
}

int sb_open(const char *address, const struct sb_options *options, struct sb **out_sb, char *err, size_t err_len)
{
    static const struct sb_options defaults;
    const struct sb_options *o = options ? options : &defaults;
    if (!address)
        address = getenv("SENSEBUS_BROKER");
    if (!address || !*address)
        address = BROKER_ADDRESS_DEFAULT;
    say(err, err_len, "");
    standard_files_ensure();
    int rc = check_options(o, err, err_len);
    struct sb *sb = rc < 0 ? NULL : calloc(1, sizeof *sb);
    if (rc == 0 && !sb) {
        say(err, err_len, "out of memory");
        rc = UV_ENOMEM;
    }
    if (rc == 0) {
        sb->deadline_ms = o->deadline_ms ? o->deadline_ms : HANDLE_DEADLINE_MS;
        sb->adapter.path = PATH_ADAPTER;
        sb->listen.path = PATH_LISTEN;
        rc = open_io(sb, address, o, err, err_len);
    }
    if (rc == 0)
        rc = wait_up(sb, o, err, err_len);
    if (rc < 0) {
        if (sb)
            sb_free(sb);
        errno = errors_from_uv(rc);
        return -1;
    }
    *out_sb = sb;
    return 0;
}

int sb_close(struct sb *sb)
{
    if (!sb)
        return 0;
    if (handle_begin_local(sb) < 0)
        return -1;
    sb_free(sb);
    return 0;
}
