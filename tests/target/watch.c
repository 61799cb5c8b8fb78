/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/watch.h"

#include <stdlib.h>

#include "broker/service/request.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"
#include "runtime/clock.h"
#include "tests/target/report.h"

struct watcher {
    struct watcher *next;
    struct watch *watch;
    struct grpc_call *call;
    bool asked; /* the request has come: it is told */
    bool over;
};

/* ------------------------------------------------------------------------------------------------ telling */

static struct chunk *packed(Sensebus__Target__V1__Happening *happening)
{
    struct chunk *chunk;

    happening->unix_ns = clock_wall_ns();
    chunk = chunk_new(sensebus__target__v1__happening__get_packed_size(happening));
    if (chunk)
        chunk->len = sensebus__target__v1__happening__pack(happening, chunk->bytes);
    return chunk;
}

static void watcher_end(struct watcher *w, int status, const char *why)
{
    if (w->over)
        return;
    w->over = true;
    grpc_call_finish(w->call, status, "%s", why);
}

static void watcher_tell(struct watcher *w, struct chunk *chunk)
{
    struct slice part;
    int rc = UV_ENOMEM;

    if (w->over)
        return;
    if (chunk) {
        part = (struct slice){.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
        rc = grpc_call_send(w->call, &part, 1);
    }
    if (rc < 0)
        watcher_end(w, GRPC_RESOURCE_EXHAUSTED,
                    rc == UV_ENOBUFS ? "what happens was not read: 2 MiB wait" : uv_strerror(rc));
}

static void tell_all(struct watch *watch, Sensebus__Target__V1__Happening *happening)
{
    struct chunk *chunk = packed(happening);

    for (struct watcher *w = watch->watchers; w; w = w->next)
        if (w->asked)
            watcher_tell(w, chunk);
    if (chunk)
        chunk_unref(chunk);
}

static void on_began(void *data, const struct session *session, const char *peer)
{
    Sensebus__Target__V1__Happening happening = SENSEBUS__TARGET__V1__HAPPENING__INIT;
    Sensebus__Target__V1__SessionBegan began = SENSEBUS__TARGET__V1__SESSION_BEGAN__INIT;
    struct report_session reported;

    report_session_init(&reported, session, peer);
    happening.session = &reported.message;
    happening.what_case = SENSEBUS__TARGET__V1__HAPPENING__WHAT_BEGAN;
    happening.began = &began;
    tell_all(data, &happening);
}

static void on_ended(void *data, const struct session *session, const char *peer, const char *why)
{
    Sensebus__Target__V1__Happening happening = SENSEBUS__TARGET__V1__HAPPENING__INIT;
    Sensebus__Target__V1__SessionEnded ended = SENSEBUS__TARGET__V1__SESSION_ENDED__INIT;
    struct report_session reported;

    report_session_init(&reported, session, peer);
    ended.why = (char *)why;
    happening.session = &reported.message;
    happening.what_case = SENSEBUS__TARGET__V1__HAPPENING__WHAT_ENDED;
    happening.ended = &ended;
    tell_all(data, &happening);
}

static void on_sent(void *data, const struct session *session, const char *peer, const struct session_sent *sent)
{
    Sensebus__Target__V1__Happening happening = SENSEBUS__TARGET__V1__HAPPENING__INIT;
    struct report_session reported;
    struct report_sent what;

    report_session_init(&reported, session, peer);
    report_sent_init(&what, sent, &happening);
    happening.session = &reported.message;
    tell_all(data, &happening);
}

void watch_init(struct watch *w, struct server *server)
{
    static const struct server_events events = {.began = on_began, .ended = on_ended, .sent = on_sent};

    *w = (struct watch){.server = server};
    server->events = &events;
    server->events_data = w;
}

/* ------------------------------------------------------------------------------------------------ the call */

static void tell_state(struct watcher *w)
{
    Sensebus__Target__V1__Happening happening = SENSEBUS__TARGET__V1__HAPPENING__INIT;
    struct report_state *state = report_state_new(w->watch->server);
    struct chunk *chunk = NULL;

    if (state) {
        happening.what_case = SENSEBUS__TARGET__V1__HAPPENING__WHAT_WATCHING;
        happening.watching = &state->message;
        chunk = packed(&happening);
    }
    watcher_tell(w, chunk);
    if (chunk)
        chunk_unref(chunk);
    free(state);
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct watcher *w = data;
    struct ProtobufCMessage *request;

    if (w->over)
        return;
    if (w->asked) {
        watcher_end(w, GRPC_INVALID_ARGUMENT, "more than one request message");
        return;
    }
    request = request_read(call, &sensebus__target__v1__watch_request__descriptor, bytes, len);
    if (!request) { /* the call was ended with the reason */
        w->over = true;
        return;
    }
    message_free(request);
    w->asked = true;
    tell_state(w);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct watcher *w = data;

    (void)call;
    if (!w->asked)
        watcher_end(w, GRPC_INVALID_ARGUMENT, "no request message");
}

/* The target ends: so does what happens in it. */
static void on_drain(struct grpc_call *call, void *data)
{
    (void)call;
    watcher_end(data, GRPC_OK, "");
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct watcher *w = data, **at = &w->watch->watchers;

    (void)call;
    (void)status;
    (void)message;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->watch->n--;
    free(w);
}

void watch_start(struct grpc_call *call, void *watch)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message, .on_half_close = on_half_close, .on_drain = on_drain, .on_close = on_close};
    struct watch *all = watch;
    struct watcher *w;

    if (all->n == WATCH_MAX) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%d watch already", WATCH_MAX);
        return;
    }
    w = calloc(1, sizeof(*w));
    if (!w) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *w = (struct watcher){.next = all->watchers, .watch = all, .call = call};
    all->watchers = w;
    all->n++;
    grpc_call_accept(call, &ops, w);
}
