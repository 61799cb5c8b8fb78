/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/fields.h"

/* ------------------------------------------------------------------------------------------------ set-up */

enum { MAX_HEADER_BYTES = 64 * 1024, SHORT_FRAME_BYTES = 16 * 1024, LONG_FRAME_BYTES = 64 * 1024 };

static uint32_t or_default(uint32_t value, uint32_t preset)
{
    return value ? value : preset;
}

struct grpc_limits h2_limits_resolve(const struct grpc_limits *limits)
{
    struct grpc_limits l = limits ? *limits : (struct grpc_limits){0};
    l.max_message_bytes = or_default(l.max_message_bytes, 4u << 20);
    l.max_header_bytes = or_default(l.max_header_bytes, 16u << 10);
    /* nghttp2 itself takes no longer field, and no more than 8 CONTINUATION frames. */
    if (l.max_header_bytes > MAX_HEADER_BYTES)
        l.max_header_bytes = MAX_HEADER_BYTES;
    l.max_streams = or_default(l.max_streams, 1000);
    l.max_connections = or_default(l.max_connections, 10000);
    l.max_queued_bytes = or_default(l.max_queued_bytes, 4u << 20);
    l.low_water_bytes = or_default(l.low_water_bytes, 256u << 10);
    l.max_unary_bytes = or_default(l.max_unary_bytes, 32u << 20);
    l.stream_window_bytes = or_default(l.stream_window_bytes, 1u << 20) & INT32_MAX;
    l.connection_window_bytes = or_default(l.connection_window_bytes, 4u << 20) & INT32_MAX;
    l.keepalive_ms = or_default(l.keepalive_ms, 20000);
    l.patient_keepalive_ms = or_default(l.patient_keepalive_ms, 120000);
    l.keepalive_timeout_ms = or_default(l.keepalive_timeout_ms, 20000);
    l.handshake_ms = or_default(l.handshake_ms, 10000);
    l.control_burst = or_default(l.control_burst, 1000);
    l.control_per_second = or_default(l.control_per_second, 100);
    l.reset_burst = or_default(l.reset_burst, 10000);
    l.reset_per_second = or_default(l.reset_per_second, 1000);
    return l;
}

uint64_t h2_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static int translate(int nghttp2_error)
{
    if (nghttp2_error >= 0)
        return 0;
    return nghttp2_error == NGHTTP2_ERR_NOMEM ? UV_ENOMEM : UV_EPROTO;
}

/* ------------------------------------------------------------------------------------------------ output */

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t len, int flags, void *data)
{
    struct h2 *h2 = data;
    (void)session;
    (void)flags;
    if (outbox_is_full(h2->out, len) || !outbox_copy(h2->out, bytes, len)) {
        h2->would_block = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    return (ssize_t)len;
}

/* The DATA frame that on_read announced. After WOULDBLOCK it comes again, without a new announcement. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *data)
{
    enum { FRAME_HEAD_BYTES = 9 };
    struct h2 *h2 = data;
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)source;
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (outbox_is_full_for(h2->out, FRAME_HEAD_BYTES, len)) {
        h2->would_block = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (!outbox_copy(h2->out, head, FRAME_HEAD_BYTES))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    while (len > 0) {
        struct slice piece = sendq_take(&call->out, len);
        len -= piece.len;
        call_unary_left(call, piece.len);
        if (!outbox_take(h2->out, piece))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    call_on_sent(call);
    return 0;
}

/* How long may the next DATA frame be? What is short needs no more than nghttp2's first buffer; for longer frames it
 * takes a bigger one, though it puts no more than the head there, and keeps that. So long frames begin when a call has
 * much to send, and go on from there; to a peer that takes them: those built on gRPC's core do. Each frame costs about
 * as much as copying 4 KiB. */
static ssize_t on_frame_length(nghttp2_session *session, uint8_t type, int32_t stream_id, int32_t connection_window,
                               int32_t stream_window, uint32_t max_frame, void *data)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    struct h2 *h2 = data;
    (void)type;
    (void)connection_window;
    (void)stream_window;
    h2->sends_long = h2->sends_long || (call && call->out.n_bytes >= LONG_FRAME_BYTES);
    if (!h2->sends_long)
        return SHORT_FRAME_BYTES;
    return max_frame < LONG_FRAME_BYTES ? max_frame : LONG_FRAME_BYTES;
}

static int submit_trailers(struct grpc_call *call)
{
    struct fields f;
    int rc = NGHTTP2_ERR_NOMEM;
    fields_init(&f);
    fields_add_status(&f, call->status, call->message);
    if (fields_add_metadata(&f, &call->trailing))
        rc = nghttp2_submit_trailer(call->h2->session, call->stream_id, f.list, f.n);
    fields_deinit(&f);
    return rc;
}

/* How much of the body can go now. A finished body ends with its last byte; a server's is followed by trailers. */
static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len, uint32_t *flags,
                       nghttp2_data_source *source, void *data)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)buf;
    (void)source;
    (void)data;
    if (!call || call->ended)
        return NGHTTP2_ERR_DEFERRED;
    size_t n = call->out.n_bytes < len ? call->out.n_bytes : len;
    bool last = n == call->out.n_bytes && call_is_last(call);
    if (n == 0 && !last)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->h2->side == H2_SERVER) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(call) != 0)
                return h2_refuse_for_memory(session, stream_id);
        }
    }
    return (ssize_t)n;
}

/* ------------------------------------------------------------------------------------------------ session */

/* Long frames are taken as well: a message that lies in one, and in one read of the transport, is not copied. */
static int submit_preface(struct h2 *h2)
{
    const struct grpc_limits *l = h2->limits;
    nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->max_header_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, LONG_FRAME_BYTES},
    };
    nghttp2_settings_entry client[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->max_header_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, LONG_FRAME_BYTES},
    };
    int rc = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, h2->side == H2_SERVER ? server : client, 4);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                   (int32_t)l->connection_window_bytes);
    return rc;
}

static int new_session(struct h2 *h2, nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_frame_length);
    h2_set_event_callbacks(callbacks);
    /* The window opens when the owner of a call has its message, not when bytes arrive. */
    nghttp2_option_set_no_auto_window_update(option, 1);
    /* nghttp2 reckons generously what a list may come to; no list of ours must fail for that. */
    nghttp2_option_set_max_send_header_block_length(option, (size_t)h2->limits->max_header_bytes + FIELDS_BLOCK_BYTES);
    /* Resets and acknowledgements are counted by our own buckets, which act first and say why; nghttp2's stay behind
     * them as a second fence. */
    nghttp2_option_set_stream_reset_rate_limit(option, 2ULL * h2->limits->reset_burst + 1000,
                                               2ULL * h2->limits->reset_per_second + 1000);
    nghttp2_option_set_max_outbound_ack(option, 2 * (size_t)h2->limits->control_burst + 1000);
    nghttp2_mem memory = {&h2->block, session_block_malloc, session_block_free, session_block_calloc,
                          session_block_realloc};
    if (h2->side == H2_CLIENT)
        return nghttp2_session_client_new3(&h2->session, callbacks, h2, option, &memory);
    return nghttp2_session_server_new3(&h2->session, callbacks, h2, option, &memory);
}

int h2_init(struct h2 *h2, enum h2_side side, uv_loop_t *loop, const struct h2_host *host,
            const struct grpc_limits *limits, struct grpc_server_counters *counters, const char *peer)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    *h2 = (struct h2){.side = side,
                      .loop = loop,
                      .host = host,
                      .limits = limits,
                      .counters = counters,
                      .peer = peer,
                      .identity = &peer_plaintext,
                      .next_deadline_ms = UINT64_MAX};
    bucket_init(&h2->control, limits->control_burst, limits->control_per_second, h2_now_ms());
    reset_filter_init(&h2->filter);
    bucket_init(&h2->resets, limits->reset_burst, limits->reset_per_second, h2_now_ms());
    int rc = session_block_init(&h2->block) == 0 ? 0 : NGHTTP2_ERR_NOMEM;
    if (rc == 0)
        rc = nghttp2_session_callbacks_new(&callbacks);
    if (rc == 0)
        rc = nghttp2_option_new(&option);
    if (rc == 0)
        rc = new_session(h2, callbacks, option);
    if (rc == 0)
        rc = submit_preface(h2);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0)
        h2_deinit(h2);
    return translate(rc);
}

void h2_deinit(struct h2 *h2)
{
    nghttp2_session_del(h2->session);
    h2->session = NULL;
    session_block_deinit(&h2->block);
}

static int receive(struct h2 *h2, const uint8_t *bytes, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(h2->session, bytes, len);
    if (n >= 0)
        return 0;
    h2->counters->protocol_errors++;
    if (h2->failure[0] == '\0')
        snprintf(h2->failure, sizeof h2->failure, "%s", nghttp2_strerror((int)n));
    return translate((int)n);
}

static int receive_filtered(struct h2 *h2, const uint8_t *bytes, size_t len)
{
    const uint8_t *piece;
    size_t n;
    unsigned n_dropped = 0;
    int rc = 0;
    while (rc == 0 && (n = reset_filter_next(&h2->filter, &bytes, &len, &piece, &n_dropped)) > 0)
        rc = receive(h2, piece, n);
    while (rc == 0 && n_dropped-- > 0)
        h2_count(h2, &h2->resets, "RST_STREAM");
    return rc;
}

int h2_receive(struct h2 *h2, const uint8_t *bytes, size_t len)
{
    const struct grpc_limits *l = h2->limits;
    int rc = h2->side == H2_SERVER ? receive_filtered(h2, bytes, len) : receive(h2, bytes, len);
    if (rc != 0)
        return rc;
    /* Answers pile up when a peer asks and does not read; honest peers stay far below this. */
    if (nghttp2_session_get_outbound_queue_size(h2->session) > 2 * ((size_t)l->max_streams + l->control_burst)) {
        h2->counters->flood_closures++;
        h2_fail(h2, H2_ENHANCE_YOUR_CALM, "the peer does not read its answers");
    }
    return 0;
}

bool h2_should_send(const struct h2 *h2)
{
    return nghttp2_session_get_outbound_queue_size(h2->session) > h2->limits->control_burst / 2;
}

int h2_send(struct h2 *h2, struct outbox *box)
{
    h2->out = box;
    h2->would_block = false;
    int rc = nghttp2_session_send(h2->session);
    h2->out = NULL;
    return translate(rc);
}

void h2_turn(struct h2 *h2)
{
    while (h2->attention) {
        struct grpc_call *call = h2->attention;
        h2->attention = call->next_attention;
        call_attend(call);
    }
}

void h2_expire(struct h2 *h2, uint64_t now_ms)
{
    h2->next_deadline_ms = UINT64_MAX;
    for (struct grpc_call *call = h2->calls; call; call = call->next) {
        if (call->deadline_ms <= now_ms)
            call_expire(call);
        if (call->deadline_ms < h2->next_deadline_ms)
            h2->next_deadline_ms = call->deadline_ms;
    }
}

bool h2_is_done(const struct h2 *h2)
{
    return !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

void h2_close(struct h2 *h2, int status, const char *reason)
{
    h2->closed = true;
    for (struct grpc_call *call = h2->calls; call; call = call->next)
        call_end(call, status, reason);
}

void h2_fail(struct h2 *h2, enum h2_error error, const char *reason)
{
    if (h2->failed)
        return;
    h2->failed = true;
    snprintf(h2->failure, sizeof h2->failure, "%s", reason);
    nghttp2_session_terminate_session(h2->session, (uint32_t)error);
    h2->host->wake(h2);
}

void h2_count(struct h2 *h2, struct bucket *bucket, const char *what)
{
    char text[80];
    if (h2->failed || bucket_take(bucket, h2_now_ms()))
        return;
    h2->counters->flood_closures++;
    snprintf(text, sizeof text, "the peer sends too many %s frames", what);
    h2_fail(h2, H2_ENHANCE_YOUR_CALM, text);
}

int h2_ping(struct h2 *h2)
{
    int rc = nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
    h2->host->wake(h2);
    return translate(rc);
}

int h2_goaway_notice(struct h2 *h2)
{
    int rc = nghttp2_submit_shutdown_notice(h2->session);
    h2->host->wake(h2);
    return translate(rc);
}

int h2_goaway_final(struct h2 *h2)
{
    static const uint8_t text[] = "server is draining";
    int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
    int rc = nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, text, sizeof text - 1);
    h2->host->wake(h2);
    return translate(rc);
}

/* ------------------------------------------------------------------------------------------------ for call.c */

int h2_respond(struct grpc_call *call)
{
    nghttp2_data_provider body = {.read_callback = on_read};
    struct fields f;
    int rc = NGHTTP2_ERR_NOMEM;
    if (call->stream_id == 0)
        return 0;
    fields_init(&f);
    fields_add_response(&f);
    if (fields_add_metadata(&f, &call->initial))
        rc = nghttp2_submit_response(call->h2->session, call->stream_id, f.list, f.n, &body);
    fields_deinit(&f);
    headers_deinit(&call->initial);
    call->h2->host->wake(call->h2);
    return translate(rc);
}

int h2_respond_only(struct grpc_call *call, int http_status)
{
    char http_number[12];
    struct fields f;
    int rc = NGHTTP2_ERR_NOMEM;
    if (call->stream_id == 0)
        return 0;
    fields_init(&f);
    if (http_status == 200) {
        fields_add_response(&f);
        fields_add_status(&f, call->status, call->message);
    } else {
        snprintf(http_number, sizeof http_number, "%d", http_status);
        fields_add(&f, ":status", http_number);
        if (http_status == 405)
            fields_add(&f, "allow", "POST");
    }
    if (fields_add_metadata(&f, &call->trailing))
        rc = nghttp2_submit_response(call->h2->session, call->stream_id, f.list, f.n, NULL);
    fields_deinit(&f);
    call->h2->host->wake(call->h2);
    return translate(rc);
}

int h2_request(struct grpc_call *call, const char *path, const char *authority, uint32_t timeout_ms)
{
    struct h2 *h2 = call->h2;
    char timeout[WIRE_TIMEOUT_MAX];
    nghttp2_data_provider body = {.read_callback = on_read};
    struct fields f;
    int32_t id = NGHTTP2_ERR_NOMEM;
    fields_init(&f);
    fields_add(&f, ":method", "POST");
    fields_add(&f, ":scheme", h2->identity->kind == PEER_TLS ? "https" : "http");
    fields_add(&f, ":path", path);
    fields_add(&f, ":authority", authority);
    fields_add(&f, "te", "trailers");
    fields_add(&f, "content-type", "application/grpc");
    fields_add(&f, "user-agent", "sensebus/" SENSEBUS_VERSION);
    fields_add(&f, "grpc-accept-encoding", "identity");
    if (timeout_ms > 0) {
        wire_timeout_format(timeout_ms, timeout);
        fields_add(&f, "grpc-timeout", timeout);
    }
    if (fields_add_metadata(&f, &call->initial))
        id = nghttp2_submit_request(h2->session, NULL, f.list, f.n, &body, call);
    fields_deinit(&f);
    headers_deinit(&call->initial);
    if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
        h2_fail(h2, H2_NO_ERROR, "the connection has used up its stream numbers");
    if (id < 0)
        return translate(id);
    call->stream_id = id;
    h2->host->wake(h2);
    return 0;
}

/* The peer would wait for ever for what nghttp2 has no memory to say: the connection ends. */
static void end_if_no_memory(struct h2 *h2, int rc)
{
    if (rc == NGHTTP2_ERR_NOMEM)
        h2_fail(h2, H2_ENHANCE_YOUR_CALM, "out of memory");
}

void h2_resume(struct grpc_call *call)
{
    if (call->stream_id == 0)
        return;
    /* Another error means that the body is not deferred: then it goes on by itself. */
    end_if_no_memory(call->h2, nghttp2_session_resume_data(call->h2->session, call->stream_id));
    call->h2->host->wake(call->h2);
}

void h2_consume(struct grpc_call *call, size_t len)
{
    if (call->stream_id == 0 || len == 0)
        return;
    end_if_no_memory(call->h2, nghttp2_session_consume_stream(call->h2->session, call->stream_id, len));
    call->h2->host->wake(call->h2);
}

void h2_detach(struct grpc_call *call)
{
    struct h2 *h2 = call->h2;
    if (call->stream_id == 0 || !h2->session)
        return;
    nghttp2_session_set_stream_user_data(h2->session, call->stream_id, NULL);
    bool is_refused = h2->side == H2_SERVER && call->status == GRPC_RESOURCE_EXHAUSTED;
    int rc = nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                       is_refused ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_CANCEL);
    call->stream_id = 0;
    end_if_no_memory(h2, rc);
    h2->host->wake(h2);
}
