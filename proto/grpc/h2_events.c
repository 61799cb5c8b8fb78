/* SPDX-License-Identifier: Apache-2.0 */
/* What nghttp2 reports about the peer, turned into events of calls; and the count of frames that cost us more than
 * the peer (see h2.h). */
#include <ctype.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/h2.h"

/* A header list this many times longer than allowed ends the connection, not only the call. */
enum { HEADER_FLOOD = 16 };

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* Frames that make us work and carry nothing. Requests are bounded as streams, resets have a bucket of their own. */
static const char *control_name(nghttp2_session *session, const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_PING: return "PING";
    case NGHTTP2_SETTINGS: return "SETTINGS";
    case NGHTTP2_PRIORITY: return "PRIORITY";
    case NGHTTP2_CONTINUATION: return "CONTINUATION";
    case NGHTTP2_DATA: return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? "empty DATA" : NULL;
    case NGHTTP2_HEADERS: return call_of(session, hd->stream_id) ? "HEADERS" : NULL;
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_RST_STREAM: return NULL;
    default: return "other";
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *data)
{
    struct h2 *h2 = data;
    /* Headers and trailers of a response are no flood. */
    const char *name = h2->side == H2_CLIENT && hd->type == NGHTTP2_HEADERS ? NULL : control_name(session, hd);
    if (name)
        h2_count(h2, &h2->control, name);
    return 0;
}

int h2_refuse_for_memory(nghttp2_session *session, int32_t stream_id)
{
    int rc = nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
    return rc == 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2 *h2 = data;
    struct grpc_call *call = call_of(session, frame->hd.stream_id);
    if (!call && h2->side == H2_SERVER && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (h2->failed || h2->closed)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        call = call_new(h2, frame->hd.stream_id);
        if (!call)
            return h2_refuse_for_memory(session, frame->hd.stream_id);
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    }
    if (call)
        call->n_header_blocks++;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
    struct h2 *h2 = data;
    struct grpc_call *call = call_of(session, frame->hd.stream_id);
    (void)flags;
    if (!call)
        return 0;
    /* Trailers have a list of their own: what the owner was told of the first block stays where it is. */
    struct headers *list = call->n_header_blocks > 1 ? &call->trailers : &call->headers;
    int rc = headers_add(list, name, name_len, value, value_len, h2->limits->max_header_bytes);
    if (rc == UV_ENOMEM)
        return h2_refuse_for_memory(session, frame->hd.stream_id);
    /* A list that is too long is answered when it is complete. */
    if (list->list_bytes / HEADER_FLOOD > h2->limits->max_header_bytes && !h2->failed) {
        h2->counters->flood_closures++;
        h2_fail(h2, H2_ENHANCE_YOUR_CALM, "the peer sends an endless header list");
    }
    return 0;
}

static void on_headers_complete(struct h2 *h2, struct grpc_call *call, const nghttp2_frame *frame)
{
    bool end_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (h2->side == H2_CLIENT) {
        call->remote_closed = end_stream;
        if (!call->ended)
            call_on_response(call, end_stream);
        return;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        call_on_request(call);
    if (end_stream)
        call_on_remote_close(call);
}

static void on_data_complete(struct h2 *h2, struct grpc_call *call, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        call_on_remote_close(call);
    else if (frame->data.padlen > 0 && frame->data.padlen == frame->hd.length)
        h2_count(h2, &h2->control, "empty DATA");
}

static void on_goaway(struct h2 *h2, const nghttp2_goaway *goaway)
{
    char text[80];
    size_t n = goaway->opaque_data_len < sizeof text - 1 ? goaway->opaque_data_len : sizeof text - 1;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(isprint(goaway->opaque_data[i]) ? goaway->opaque_data[i] : '?');
    text[n] = '\0';
    h2->goaway_received = true;
    if (h2->failed)
        return;
    if (goaway->error_code == NGHTTP2_NO_ERROR)
        snprintf(h2->failure, sizeof h2->failure, "the peer is going away%s%s", n ? ": " : "", text);
    else
        snprintf(h2->failure, sizeof h2->failure, "the peer gave up: %s%s%s",
                 nghttp2_http2_strerror(goaway->error_code), n ? ": " : "", text);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2 *h2 = data;
    struct grpc_call *call = frame->hd.stream_id ? call_of(session, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call)
            on_headers_complete(h2, call, frame);
        break;
    case NGHTTP2_DATA:
        if (call)
            on_data_complete(h2, call, frame);
        break;
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) && !h2->settings_received) {
            h2->settings_received = true;
            h2->host->on_settings(h2);
        }
        break;
    case NGHTTP2_RST_STREAM: h2_count(h2, &h2->resets, "RST_STREAM"); break;
    case NGHTTP2_GOAWAY:
        on_goaway(h2, &frame->goaway);
        h2->host->wake(h2);
        break;
    default: break;
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes, size_t len,
                         void *data)
{
    struct grpc_call *call = call_of(session, stream_id);
    (void)flags;
    (void)data;
    /* A paused call holds back its own window; the connection's belongs to all. */
    if (nghttp2_session_consume_connection(session, len) == NGHTTP2_ERR_NOMEM)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (call)
        call_on_data(call, bytes, len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *data)
{
    struct grpc_call *call = call_of(session, stream_id);
    (void)data;
    if (call)
        call_on_stream_close(call, error);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct h2 *h2 = data;
    if (frame->hd.type == NGHTTP2_HEADERS && h2->side == H2_SERVER && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        struct grpc_call *call = call_of(session, frame->hd.stream_id);
        if (!call)
            return 0;
        call->trailers_sent = true;
        /* The rest of the request is not wanted; without this the stream would stay open. */
        if (!call->remote_closed && nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                              NGHTTP2_NO_ERROR) == NGHTTP2_ERR_NOMEM)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    } else if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
               frame->rst_stream.error_code != NGHTTP2_CANCEL) {
        /* Resets that the peer provokes cost as much as resets that it sends. */
        h2_count(h2, &h2->resets, "faulty");
    } else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
               h2->failure[0] == '\0') {
        /* nghttp2 gave up on the peer, and says in the frame why. */
        snprintf(h2->failure, sizeof h2->failure, "the peer broke the protocol: %s: %.*s",
                 nghttp2_http2_strerror(frame->goaway.error_code), (int)frame->goaway.opaque_data_len,
                 (const char *)frame->goaway.opaque_data);
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *data)
{
    struct h2 *h2 = data;
    (void)session;
    (void)frame;
    (void)error;
    h2->counters->protocol_errors++;
    return 0;
}

/* nghttp2's own words for what the peer did wrong. */
static int on_error(nghttp2_session *session, int error, const char *text, size_t len, void *data)
{
    struct h2 *h2 = data;
    (void)session;
    (void)error;
    if (h2->failure[0] == '\0')
        snprintf(h2->failure, sizeof h2->failure, "%.*s", (int)len, text);
    return 0;
}

void h2_set_event_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
}
