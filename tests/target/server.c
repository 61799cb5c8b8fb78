/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path of a connection: what arrives is kept in `input` and reading stops; connection_step cuts it into PDUs
 * and gives them to the session, whose answers gather in `out`; flush hands them to libuv, and reading goes on. Hang
 * and slow hold the step back; an initiator that does not read is not read from (OUT_MAX).
 *
 * The end: connection_end takes the session out of the device at once, so that nothing of it is executed any more; then
 * what was sent is flushed and the socket closed by FIN, or reset. */
#include "tests/target/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/log.h"

#define INPUT_BYTES (64 * 1024)
#define OUT_MAX     (4 * 1024 * 1024)
#define LINGER_MS   5000 /* how long a peer may take to read what was sent to it before the end */

struct connection {
    struct connection *next;
    struct server *server;
    uv_tcp_t tcp;
    uv_timer_t timer; /* slow, and at the end the limit of lingering */
    uv_shutdown_t shutdown;
    struct framer framer;
    struct session session;
    char peer[64];
    uint8_t input[INPUT_BYTES];
    size_t input_at, input_len;
    uint8_t *out;
    size_t out_len, out_cap, in_flight;
    bool reading, waiting, out_of_memory; /* waiting: slow has not passed yet */
    bool ending, closing;
    int n_open; /* handles */
};

struct write {
    uv_write_t request;
    struct connection *connection;
    size_t len;
    uint8_t *bytes;
};

static void connection_step(struct connection *c);

static bool is_session(const struct connection *c)
{
    return !c->ending && c->session.full_feature && c->session.port;
}

/* ------------------------------------------------------------------------------------------------ the end */

static void server_handle_closed(struct server *s)
{
    if (--s->n_handles == 0 && s->closing && s->on_closed)
        s->on_closed(s->data);
}

static void connection_free(struct connection *c)
{
    struct server *s = c->server;
    struct connection **at = &s->connections;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    s->n_connections--;
    framer_deinit(&c->framer);
    free(c->out);
    free(c);
    server_handle_closed(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    if (--c->n_open == 0)
        connection_free(c);
}

static void connection_close(struct connection *c, enum server_drop how)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    if (how == SERVER_FIN || uv_tcp_close_reset(&c->tcp, on_handle_closed) < 0)
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

static void on_shut_down(uv_shutdown_t *request, int status)
{
    struct connection *c = request->data;

    (void)status;
    connection_close(c, SERVER_FIN);
}

static void on_lingered(uv_timer_t *timer)
{
    connection_close(timer->data, SERVER_RST);
}

static void connection_end(struct connection *c, enum server_drop how, const char *why)
{
    const struct server_events *events = c->server->events;

    if (c->ending)
        return;
    if (is_session(c) && events && events->ended)
        events->ended(c->server->events_data, &c->session, c->peer, why);
    c->ending = true;
    log_info("target.connection_ended", "peer=%s why=\"%s\"", c->peer, why);
    session_deinit(&c->session);
    uv_read_stop((uv_stream_t *)&c->tcp);
    uv_timer_stop(&c->timer);
    if (how == SERVER_RST || uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut_down) < 0)
        connection_close(c, how);
    else
        uv_timer_start(&c->timer, on_lingered, LINGER_MS, 0);
}

/* ------------------------------------------------------------------------------------------------ sending */

static void on_written(uv_write_t *request, int status)
{
    struct write *w = request->data;
    struct connection *c = w->connection;

    c->in_flight -= w->len;
    free(w->bytes);
    free(w);
    if (status < 0)
        connection_end(c, SERVER_RST, uv_strerror(status));
    else
        connection_step(c);
}

static void on_send(void *data, const uint8_t *bytes, size_t len)
{
    struct connection *c = data;
    size_t cap = c->out_cap ? c->out_cap : 4096;
    uint8_t *out;

    if (len == 0 || c->out_of_memory)
        return;
    while (cap - c->out_len < len)
        cap *= 2;
    out = cap == c->out_cap ? c->out : realloc(c->out, cap);
    if (!out) {
        c->out_of_memory = true; /* half a PDU must not leave: flush ends the connection */
        return;
    }
    c->out = out;
    c->out_cap = cap;
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

/* What has gathered becomes a write, which owns it. */
static void connection_flush(struct connection *c)
{
    struct write *w;
    uv_buf_t buf;
    int rc;

    if (c->out_len == 0 || c->ending)
        return;
    w = c->out_of_memory ? NULL : calloc(1, sizeof(*w));
    if (!w) {
        connection_end(c, SERVER_RST, "out of memory");
        return;
    }
    *w = (struct write){.request.data = w, .connection = c, .len = c->out_len, .bytes = c->out};
    buf = uv_buf_init((char *)c->out, (unsigned)c->out_len);
    c->in_flight += c->out_len;
    c->out = NULL;
    c->out_len = c->out_cap = 0;
    rc = uv_write(&w->request, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
    if (rc < 0) {
        c->in_flight -= w->len;
        free(w->bytes);
        free(w);
        connection_end(c, SERVER_RST, uv_strerror(rc));
    }
}

/* ------------------------------------------------------------------------------------------------ what sessions ask */

static void on_reinstate(void *data, const char *initiator, const uint8_t isid[6])
{
    struct connection *self = data;

    for (struct connection *c = self->server->connections; c; c = c->next)
        if (c != self && !c->ending && c->session.port && memcmp(c->session.isid, isid, 6) == 0 &&
            strcmp(c->session.port->name, initiator) == 0)
            connection_end(c, SERVER_FIN, "session reinstated");
}

static void on_abort_all(void *data, int number)
{
    struct connection *self = data;

    for (struct connection *c = self->server->connections; c; c = c->next)
        if (!c->ending)
            session_abort(&c->session, number);
}

/* PREEMPT AND ABORT of another session. */
static void on_abort_port(void *data, uint32_t port, uint16_t number)
{
    const struct server *s = data;

    for (struct connection *c = s->connections; c; c = c->next)
        if (!c->ending && c->session.port && c->session.port->id == port)
            session_abort(&c->session, number);
}

static void on_cold_reset(void *data)
{
    struct connection *self = data;

    for (struct connection *c = self->server->connections; c; c = c->next)
        if (c != self)
            connection_end(c, SERVER_FIN, "cold reset");
}

static void on_sent(void *data, const struct session_sent *sent)
{
    struct connection *c = data;
    const struct server_events *events = c->server->events;

    if (is_session(c) && events && events->sent)
        events->sent(c->server->events_data, &c->session, c->peer, sent);
}

static const struct session_events session_events = {
    .send = on_send,
    .reinstate = on_reinstate,
    .abort_all = on_abort_all,
    .cold_reset = on_cold_reset,
    .sent = on_sent,
};

/* ------------------------------------------------------------------------------------------------ receiving */

static const char *framer_error(enum framer_result result)
{
    switch (result) {
    case FRAMER_TOO_LONG: return "data segment too long";
    case FRAMER_BAD_DIGEST: return "digest wrong";
    default: return "out of memory";
    }
}

/* Give it to the session, which perhaps begins with it. */
static enum session_verdict connection_receive(struct connection *c, const struct framer_pdu *pdu)
{
    const struct server_events *events = c->server->events;
    bool was_session = is_session(c);
    enum session_verdict verdict = session_receive(&c->session, pdu);

    if (!was_session && is_session(c) && events && events->began)
        events->began(c->server->events_data, &c->session, c->peer);
    return verdict;
}

/* Take PDUs from the input while there is room for answers. */
static void connection_work(struct connection *c)
{
    while (!c->ending && c->input_at < c->input_len && c->out_len + c->in_flight < OUT_MAX) {
        const uint8_t *in = c->input + c->input_at;
        size_t left = c->input_len - c->input_at;
        struct framer_pdu pdu;
        enum framer_result result = framer_next(&c->framer, &in, &left, &pdu);

        c->input_at = c->input_len - left;
        if (result == FRAMER_MORE)
            return;
        if (result != FRAMER_PDU) {
            connection_end(c, SERVER_FIN, framer_error(result));
        } else if (connection_receive(c, &pdu) == SESSION_ENDS) {
            connection_flush(c);
            connection_end(c, SERVER_FIN, c->session.why);
        } else {
            session_digests(&c->session, &c->framer.header_digest, &c->framer.data_digest);
        }
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)c->input, INPUT_BYTES);
}

static void on_slept(uv_timer_t *timer)
{
    struct connection *c = timer->data;

    c->waiting = false;
    connection_step(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;

    (void)buf;
    if (c->ending || n == 0)
        return;
    if (n < 0) {
        connection_end(c, SERVER_FIN, n == UV_EOF ? "closed by the initiator" : uv_strerror((int)n));
        return;
    }
    c->input_at = 0;
    c->input_len = (size_t)n;
    uv_read_stop(stream);
    c->reading = false;
    if (c->server->slow_ms > 0) {
        c->waiting = true;
        uv_timer_start(&c->timer, on_slept, c->server->slow_ms, 0);
    }
    connection_step(c);
}

/* Go on as far as it goes: work, send, read. */
static void connection_step(struct connection *c)
{
    int rc;

    if (c->ending || c->waiting || c->server->hang)
        return;
    connection_work(c);
    connection_flush(c);
    if (c->ending || c->reading || c->input_at < c->input_len || c->in_flight >= OUT_MAX)
        return;
    rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    c->reading = rc == 0;
    if (rc < 0)
        connection_end(c, SERVER_RST, uv_strerror(rc));
}

/* ------------------------------------------------------------------------------------------------ accepting */

static void address_text(const struct sockaddr_storage *address, char *out, size_t out_len)
{
    char host[48] = "?";
    unsigned port = 0;

    if (address->ss_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)address, host, sizeof(host));
        port = ntohs(((const struct sockaddr_in *)address)->sin_port);
        snprintf(out, out_len, "%s:%u", host, port);
    } else {
        uv_ip6_name((const struct sockaddr_in6 *)address, host, sizeof(host));
        port = ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
        snprintf(out, out_len, "[%s]:%u", host, port);
    }
}

static int connection_begin(struct connection *c)
{
    struct server *s = c->server;
    struct sockaddr_storage address;
    uint8_t challenge[LOGIN_CHALLENGE_BYTES];
    int len = sizeof(address), rc;

    rc = uv_random(NULL, NULL, challenge, sizeof(challenge), 0, NULL);
    if (rc < 0)
        return rc;
    if (++s->last_tsih == 0)
        s->last_tsih = 1;
    session_init(&c->session, &s->target, s->last_tsih, challenge, &session_events, c);
    framer_init(&c->framer, LOGIN_DATA_BYTES);
    rc = uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&address, &len);
    if (rc < 0)
        return rc;
    address_text(&address, c->session.portal, sizeof(c->session.portal));
    len = sizeof(address);
    rc = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len);
    if (rc < 0)
        return rc;
    address_text(&address, c->peer, sizeof(c->peer));
    return uv_tcp_nodelay(&c->tcp, 1);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    struct connection *c = status < 0 ? NULL : calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return;
    c->server = s;
    c->next = s->connections;
    s->connections = c;
    s->n_connections++;
    s->n_handles++;
    uv_tcp_init(s->loop, &c->tcp);
    uv_timer_init(s->loop, &c->timer);
    c->n_open = 2;
    c->tcp.data = c->timer.data = c->shutdown.data = c;
    rc = uv_accept(listener, (uv_stream_t *)&c->tcp);
    if (rc == 0)
        rc = connection_begin(c);
    if (rc < 0 || s->down || s->n_connections > SERVER_MAX_CONNECTIONS)
        connection_end(c, SERVER_RST, rc < 0 ? uv_strerror(rc) : s->down ? "powered off" : "too many connections");
    else
        connection_step(c);
}

static void on_powered(uv_timer_t *timer)
{
    struct server *s = timer->data;

    s->down = false;
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    server_handle_closed(handle->data);
}

int server_init(struct server *s, uv_loop_t *loop, const struct server_options *options)
{
    int rc;

    *s = (struct server){.loop = loop};
    s->target = (struct session_target){
        .device = &s->device,
        .rules = {.user = options->user,
                  .secret = options->secret,
                  .own_user = options->own_user,
                  .own_secret = options->own_secret},
    };
    s->target.rules.target_name = s->device.name;
    rc = device_init(&s->device, options->name, options->memory_bytes);
    s->device.on_abort = on_abort_port;
    s->device.data = s;
    return rc;
}

int server_listen(struct server *s, const struct sockaddr *address)
{
    int rc;

    uv_tcp_init(s->loop, &s->listener);
    uv_timer_init(s->loop, &s->power);
    s->listener.data = s->power.data = s;
    s->listening = true;
    s->n_handles = 2;
    rc = uv_tcp_bind(&s->listener, address, 0);
    return rc < 0 ? rc : uv_listen((uv_stream_t *)&s->listener, 16, on_connection);
}

void server_address(const struct server *s, char *out, size_t out_len)
{
    struct sockaddr_storage address = {0};
    int len = sizeof(address);

    uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &len);
    address_text(&address, out, out_len);
}

void server_close(struct server *s, void (*on_closed)(void *data), void *data)
{
    s->closing = true;
    s->on_closed = on_closed;
    s->data = data;
    server_drop(s, SERVER_RST);
    uv_close((uv_handle_t *)&s->listener, on_server_handle_closed);
    uv_close((uv_handle_t *)&s->power, on_server_handle_closed);
}

void server_deinit(struct server *s)
{
    device_deinit(&s->device);
}

/* ------------------------------------------------------------------------------------------------ verbs */

void server_drop(struct server *s, enum server_drop how)
{
    for (struct connection *c = s->connections; c; c = c->next) {
        if (c->ending && how == SERVER_RST)
            connection_close(c, how);
        else
            connection_end(c, how, "dropped");
    }
}

void server_hang(struct server *s, bool on)
{
    s->hang = on;
    for (struct connection *c = s->connections; !on && c; c = c->next)
        connection_step(c);
}

void server_slow(struct server *s, uint64_t ms)
{
    s->slow_ms = ms;
}

size_t server_n_sessions(const struct server *s)
{
    size_t n = 0;

    for (const struct connection *c = s->connections; c; c = c->next)
        n += is_session(c);
    return n;
}

size_t server_async(struct server *s, const struct session_async *message)
{
    size_t n = 0;

    for (struct connection *c = s->connections; c; c = c->next)
        if (is_session(c) && session_async(&c->session, message) == 0) {
            connection_flush(c);
            n++;
        }
    return n;
}

size_t server_ping(struct server *s)
{
    for (struct connection *c = s->connections; c; c = c->next)
        if (is_session(c)) {
            session_ping(&c->session);
            connection_flush(c);
        }
    return server_n_sessions(s);
}

size_t server_reject(struct server *s, uint8_t reason)
{
    for (struct connection *c = s->connections; c; c = c->next)
        if (is_session(c)) {
            session_reject(&c->session, reason);
            connection_flush(c);
        }
    return server_n_sessions(s);
}

size_t server_skew(struct server *s, uint32_t skew)
{
    for (struct connection *c = s->connections; c; c = c->next)
        if (is_session(c))
            c->session.statsn_skew = skew;
    return server_n_sessions(s);
}

size_t server_garbage(struct server *s, const uint8_t *bytes, size_t len)
{
    for (struct connection *c = s->connections; c; c = c->next)
        if (is_session(c)) {
            on_send(c, bytes, len);
            connection_flush(c);
        }
    return server_n_sessions(s);
}

void server_reboot(struct server *s, uint64_t down_ms)
{
    for (struct connection *c = s->connections; c; c = c->next)
        connection_end(c, SERVER_RST, "reboot");
    device_power_cycle(&s->device);
    s->down = down_ms > 0;
    uv_timer_start(&s->power, on_powered, down_ms, 0);
}

void server_each_session(const struct server *s,
                         void (*each)(void *data, const struct session *session, const char *peer), void *data)
{
    for (const struct connection *c = s->connections; c; c = c->next)
        if (is_session(c))
            each(data, &c->session, c->peer);
}

size_t server_describe(const struct server *s, char *out, size_t len)
{
    size_t at = 0;

    for (const struct connection *c = s->connections; c && at < len; c = c->next) {
        if (!is_session(c))
            continue;
        at += (size_t)snprintf(out + at, len - at, "session %u initiator=%s peer=%s waiting=%zu\n", c->session.tsih,
                               c->session.port->name, c->peer, attention_count(&c->session.port->attentions));
    }
    return at < len ? at : len - 1;
}
