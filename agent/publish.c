/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path: link up -> Attach: Hello -> Welcome -> Coverage, Inventory -> Publish … with Ack … and Heartbeats ->
 * all acknowledged -> Detach -> the call ends with OK.
 *
 * Link lost: everything begins again when it is back; sent but not acknowledged events are sent again.
 * Attach refused (another agent of this host, another version), or the broker says what cannot be: logged as an error,
 * tried again after a long delay.
 * Attach ended otherwise (broker drains): tried again after a short one.
 * The broker knows more of this epoch than was ever sent from this spool (which was restored from a copy, and may have
 * given the same numbers to other events since): the spool begins a new epoch, then Attach again.
 *
 *             up       welcome   call ends  link lost  stop
 *   DOWN      HELLO                                    STOPPED
 *   WAITING   (timer) HELLO                 DOWN       STOPPED
 *   HELLO              ATTACHED  WAITING    DOWN       STOPPED
 *   ATTACHED                     WAITING    DOWN       DETACHED when all is acknowledged, or time is up
 *   DETACHED                     STOPPED    STOPPED */
#include "agent/publish.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/spool.h"
#include "clients/c/link.h"
#include "proto/event_view.h"
#include "proto/grpc/grpc.h"
#include "runtime/chunk.h"
#include "sensebus/v1/agents.pb-c.h"

#define ATTACH_PATH          "/sensebus.v1.Agents/Attach"
#define CONTRACT_VERSION     1
#define BATCH_BYTES          (256u << 10)
#define BATCH_SLACK          16 /* tag and length in front of the records */
#define DEFAULT_WINDOW       1024
#define DEFAULT_HEARTBEAT_MS 5000
#define MIN_HEARTBEAT_MS     100
#define NEWS_MS              50 /* changes so close together are told once */
#define FLUSH_MS             3000
#define DETACH_MS            1000
#define RETRY_MIN_MS         500
#define RETRY_MAX_MS         30000
#define REFUSED_MIN_MS       5000
#define REFUSED_MAX_MS       60000
#define MAX_BROKER_MESSAGE   (64u << 10)
#define MAX_COMMAND_NAMES    (COMMAND_N_KINDS + ASKED_N_KINDS)

static void step(struct publish *p);

static uint32_t random_next(struct publish *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 17;
    p->random ^= p->random << 5;
    return p->random;
}

/* ------------------------------------------------------------------------------------------------ messages */

static int send_bytes(struct publish *p, const uint8_t *bytes, size_t len)
{
    struct slice part = {.ptr = bytes, .len = len};

    return grpc_call_send(p->call, &part, 1);
}

static int send_message(struct publish *p, const Sensebus__V1__AgentMessage *message)
{
    uint8_t *bytes = malloc(sensebus__v1__agent_message__get_packed_size(message));
    int rc;

    if (!bytes)
        return UV_ENOMEM;
    rc = send_bytes(p, bytes, sensebus__v1__agent_message__pack(message, bytes));
    free(bytes);
    return rc;
}

static int send_hello(struct publish *p)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    struct adapter_list adapters;
    int rc;

    hello.version = CONTRACT_VERSION;
    hello.host = (char *)p->options.host;
    hello.boot_id = (char *)p->options.boot_id;
    hello.agent_epoch = spool_epoch(p->options.spool);
    hello.instance = p->options.instance;
    hello.agent_version = (char *)SENSEBUS_VERSION;
    hello.oldest_source_sequence = spool_oldest(p->options.spool);
    hello.newest_source_sequence = spool_newest(p->options.spool);
    rc = p->ops->list_adapters(p->data, &adapters);
    if (rc < 0)
        return rc;
    hello.n_adapters = adapters.n;
    hello.adapters = adapters.items;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_HELLO;
    message.hello = &hello;
    rc = send_message(p, &message);
    adapter_list_free(&adapters);
    return rc;
}

/* What the agent sends on its own, all of it; of what it may be asked for, what it was. */
static size_t list_commands(const struct command_counts *counts, Sensebus__V1__Heartbeat__CommandsEntry *entries)
{
    size_t n = 0;

    for (enum command_kind kind = 0; kind < COMMAND_N_KINDS; kind++) {
        sensebus__v1__heartbeat__commands_entry__init(&entries[n]);
        entries[n].key = (char *)command_name(kind);
        entries[n].value = counts->n[kind];
        n++;
    }
    for (enum asked_kind kind = 0; kind < ASKED_N_KINDS; kind++) {
        if (counts->asked[kind] == 0)
            continue;
        sensebus__v1__heartbeat__commands_entry__init(&entries[n]);
        entries[n].key = (char *)asked_name(kind);
        entries[n].value = counts->asked[kind];
        n++;
    }
    return n;
}

static int send_heartbeat(struct publish *p)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Heartbeat heartbeat = SENSEBUS__V1__HEARTBEAT__INIT;
    Sensebus__V1__Heartbeat__CommandsEntry entries[MAX_COMMAND_NAMES];
    Sensebus__V1__Heartbeat__CommandsEntry *list[MAX_COMMAND_NAMES];
    size_t n = list_commands(p->options.counts, entries);

    for (size_t i = 0; i < n; i++)
        list[i] = &entries[i];
    heartbeat.newest_source_sequence = spool_newest(p->options.spool);
    heartbeat.dropped = spool_n_dropped(p->options.spool);
    heartbeat.n_commands = n;
    heartbeat.commands = list;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_HEARTBEAT;
    message.heartbeat = &heartbeat;
    return send_message(p, &message);
}

static int send_detach(struct publish *p)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Detach detach = SENSEBUS__V1__DETACH__INIT;

    detach.reason = (char *)p->stop_reason;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_DETACH;
    message.detach = &detach;
    return send_message(p, &message);
}

/* Coverage, unless it is what the broker was told last. */
static void tell_coverage(struct publish *p)
{
    uint8_t *bytes;
    size_t len;

    if (p->ops->encode_coverage(p->data, &bytes, &len) < 0)
        return; /* still due */
    if (len == p->coverage_sent_len && p->coverage_sent && memcmp(bytes, p->coverage_sent, len) == 0) {
        free(bytes);
        p->coverage_due = false;
        return;
    }
    if (send_bytes(p, bytes, len) < 0) {
        free(bytes);
        return;
    }
    free(p->coverage_sent);
    p->coverage_sent = bytes;
    p->coverage_sent_len = len;
    p->coverage_due = false;
}

static void tell_inventory(struct publish *p)
{
    uint8_t *bytes;
    size_t len;

    if (p->ops->encode_inventory(p->data, &bytes, &len) < 0)
        return;
    if (send_bytes(p, bytes, len) == 0)
        p->inventory_due = false;
    free(bytes);
}

/* The next events of the spool as one Publish. False when there is nothing to send now. */
static bool send_events(struct publish *p)
{
    uint64_t in_flight = p->sent - p->acknowledged, last, n;
    uint8_t prefix[BATCH_SLACK];
    struct chunk *records;
    struct slice parts[2];
    int rc;

    if (in_flight >= p->window_events || !grpc_call_writable(p->call))
        return false;
    rc = spool_read(p->options.spool, p->sent + 1, p->batch_bytes, p->window_events - in_flight, &records, &last, &n);
    if (rc == UV_ENOENT)
        return false;
    if (rc < 0) {
        log_error("spool.read", "sequence=%" PRIu64 " reason=\"%s\"", p->sent + 1, uv_strerror(rc));
        return false;
    }
    prefix[0] = 0x12; /* AgentMessage.publish = 2, length-delimited */
    parts[0] = (struct slice){.ptr = prefix, .len = 1 + varint_write(prefix + 1, records->len)};
    parts[1] = (struct slice){.owner = records, .ptr = records->bytes, .len = records->len};
    rc = grpc_call_send(p->call, parts, 2);
    chunk_unref(records);
    if (rc < 0)
        return false;
    log_debug("publish.sent", "first=%" PRIu64 " last=%" PRIu64 " events=%" PRIu64, p->sent + 1, last, n);
    p->sent = last;
    return true;
}

/* ------------------------------------------------------------------------------------------------ the call */

static void end_call(struct publish *p)
{
    if (p->call)
        grpc_call_cancel(p->call); /* on_close follows */
}

static void end_in_distrust(struct publish *p)
{
    p->distrust = true;
    end_call(p);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct publish *p = timer->data;

    send_heartbeat(p);
    p->coverage_due = true; /* the last proofs have moved */
    step(p);
}

static bool wait_for_new_epoch(struct publish *p, uint64_t committed)
{
    uint64_t sent = spool_sent(p->options.spool);
    int rc;

    if (committed <= sent)
        return false;
    rc = spool_renew(p->options.spool);
    log_error("publish.epoch",
              "the broker has events up to %" PRIu64 " and this spool sent only up to %" PRIu64
              ": it is older than the broker remembers, a new epoch begins%s%s",
              committed, sent, rc < 0 ? " later: " : "", rc < 0 ? uv_strerror(rc) : "");
    return true;
}

static void on_welcome(struct publish *p, const Sensebus__V1__Welcome *w)
{
    size_t most = w->maximum_message_bytes ? w->maximum_message_bytes : BATCH_BYTES;

    if (p->state != PUBLISH_HELLO) {
        log_error("publish.protocol", "broker=%s reason=\"a second Welcome\"", p->options.broker);
        end_in_distrust(p);
        return;
    }
    if (w->version != CONTRACT_VERSION) {
        log_error("publish.version", "broker=%s broker_version=%s contract=%u ours=%d", p->options.broker,
                  w->broker_version, w->version, CONTRACT_VERSION);
        end_in_distrust(p);
        return;
    }
    if (wait_for_new_epoch(p, w->committed_source_sequence)) {
        p->reattach = true;
        end_call(p);
        return;
    }
    p->state = PUBLISH_ATTACHED;
    spool_let_send(p->options.spool, true);
    p->sent = p->acknowledged = w->committed_source_sequence;
    p->window_events = w->window_events ? w->window_events : DEFAULT_WINDOW;
    p->batch_bytes = (most < BATCH_BYTES ? most : BATCH_BYTES) - BATCH_SLACK;
    p->heartbeat_ms = w->heartbeat_ms ? w->heartbeat_ms : DEFAULT_HEARTBEAT_MS;
    if (p->heartbeat_ms < MIN_HEARTBEAT_MS)
        p->heartbeat_ms = MIN_HEARTBEAT_MS;
    backoff_reset(&p->retry);
    p->coverage_due = true;
    p->inventory_due = !p->stopping; /* who leaves may not have looked: what the broker knows of it stands */
    free(p->coverage_sent);
    p->coverage_sent = NULL;
    spool_free_upto(p->options.spool, p->acknowledged);
    uv_timer_start(&p->timer, on_heartbeat, p->heartbeat_ms, p->heartbeat_ms);
    log_info("publish.attached", "broker=%s broker_version=%s committed=%" PRIu64 " newest=%" PRIu64, p->options.broker,
             w->broker_version, p->acknowledged, spool_newest(p->options.spool));
}

static void on_ack(struct publish *p, uint64_t sequence)
{
    if (p->state == PUBLISH_HELLO) { /* of what was sent before this call, only Welcome can tell */
        log_error("publish.protocol", "broker=%s reason=\"an Ack before the Welcome\"", p->options.broker);
        end_in_distrust(p);
        return;
    }
    if (sequence > p->sent) {
        log_error("publish.protocol", "broker=%s reason=\"acknowledges %" PRIu64 ", sent is %" PRIu64 "\"",
                  p->options.broker, sequence, p->sent);
        end_in_distrust(p);
        return;
    }
    if (sequence > p->acknowledged)
        p->acknowledged = sequence;
    backoff_reset(&p->refused);
    spool_free_upto(p->options.spool, p->acknowledged);
}

static void on_refused(struct publish *p, const Sensebus__V1__Refused *refused)
{
    uint64_t suppressed;

    if (log_limit_allow(&p->refused_limit, uv_now(p->timer.loop), 10, &suppressed))
        log_warn("publish.event_refused", "sequence=%" PRIu64 " reason=\"%s\" suppressed=%" PRIu64,
                 refused->source_sequence, refused->reason, suppressed);
}

static void on_operation(struct publish *p, const Sensebus__V1__Operation *operation)
{
    if (p->state == PUBLISH_HELLO) {
        log_error("publish.protocol", "broker=%s reason=\"an Operation before the Welcome\"", p->options.broker);
        end_in_distrust(p);
        return;
    }
    p->ops->on_operation(p->data, operation);
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct publish *p = data;
    struct ProtobufCMessage *raw = message_unpack(&sensebus__v1__broker_message__descriptor, bytes, len, 0);
    Sensebus__V1__BrokerMessage *m = (Sensebus__V1__BrokerMessage *)raw;

    (void)call;
    if (!m) {
        log_error("publish.protocol", "broker=%s reason=\"a message that does not decode\"", p->options.broker);
        end_in_distrust(p);
        return;
    }
    switch (m->message_case) {
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_WELCOME: on_welcome(p, m->welcome); break;
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_ACK: on_ack(p, m->ack->source_sequence); break;
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_REFUSED: on_refused(p, m->refused); break;
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_OPERATION: on_operation(p, m->operation); break;
    default: break; /* a later version's; nothing for us */
    }
    message_free(raw);
    step(p);
}

static void on_writable(struct grpc_call *call, void *data)
{
    struct publish *p = data;

    (void)call;
    step(p);
    if (p->state == PUBLISH_ATTACHED)
        p->ops->on_writable(p->data);
}

static void on_attach_again(uv_timer_t *timer);
static void on_farewell(uv_timer_t *timer);

/* Statuses that waiting does not cure by itself: an operator must look. */
static bool needs_operator(int status)
{
    switch (status) {
    case GRPC_ALREADY_EXISTS:
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_UNIMPLEMENTED:
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED: return true;
    default: return false;
    }
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct publish *p = data;
    bool hopeless = p->distrust || needs_operator(status);
    uint32_t delay;

    (void)call;
    p->call = NULL;
    spool_let_send(p->options.spool, false);
    uv_timer_stop(&p->timer);
    p->ops->on_stream_ended(p->data);
    if (p->stopping) {
        uv_timer_start(&p->farewell, on_farewell, 0, 0);
        return;
    }
    p->state = PUBLISH_WAITING;
    delay = p->reattach ? RETRY_MIN_MS : backoff_next(hopeless ? &p->refused : &p->retry, random_next(p));
    if (hopeless)
        log_error("publish.refused", "broker=%s host=%s status=%s message=\"%s\" retry_ms=%u", p->options.broker,
                  p->options.host, grpc_status_name(status), message, delay);
    else if (!p->reattach && link_channel(p->link))
        log_warn("publish.ended", "broker=%s status=%s message=\"%s\" retry_ms=%u", p->options.broker,
                 grpc_status_name(status), message, delay);
    p->reattach = p->distrust = false;
    uv_timer_start(&p->timer, on_attach_again, delay, 0);
}

static void attach(struct publish *p)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message, .on_writable = on_writable, .on_close = on_close};
    struct grpc_channel *channel = link_channel(p->link);
    int rc;

    if (!channel) {
        p->state = PUBLISH_DOWN;
        return;
    }
    if (!p->may_attach) {
        p->state = PUBLISH_WAITING;
        return;
    }
    if (spool_renewing(p->options.spool)) {
        p->state = PUBLISH_WAITING;
        uv_timer_start(&p->timer, on_attach_again, RETRY_MIN_MS, 0);
        return;
    }
    rc = grpc_call_start(channel, ATTACH_PATH, 0, &ops, p, &p->call);
    if (rc == 0) {
        p->state = PUBLISH_HELLO;
        rc = send_hello(p);
        if (rc < 0)
            end_call(p);
    } else {
        p->call = NULL;
        p->state = PUBLISH_WAITING;
        uv_timer_start(&p->timer, on_attach_again, backoff_next(&p->retry, random_next(p)), 0);
    }
    if (rc < 0)
        log_warn("publish.attach", "broker=%s reason=\"%s\"", p->options.broker, uv_strerror(rc));
}

static void on_attach_again(uv_timer_t *timer)
{
    attach(timer->data);
}

/* ------------------------------------------------------------------------------------------------ steps */

static void on_timer_closed(uv_handle_t *handle)
{
    struct publish *p = handle->data;

    if (--p->n_open_timers > 0)
        return;
    free(p->coverage_sent);
    p->coverage_sent = NULL;
    if (p->on_stopped)
        p->on_stopped(p->on_stopped_data);
}

/* Only without a call: its on_close would find nobody. */
static void finish(struct publish *p)
{
    assert(!p->call);
    p->state = PUBLISH_STOPPED;
    link_close(p->link);
    p->link = NULL;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
    uv_close((uv_handle_t *)&p->news, on_timer_closed);
    uv_close((uv_handle_t *)&p->farewell, on_timer_closed);
}

static void on_farewell(uv_timer_t *timer)
{
    struct publish *p = timer->data;

    if (p->call)
        grpc_call_cancel(p->call); /* on_close comes back here */
    else
        finish(p);
}

/* All is acknowledged, or time is up. */
static void say_goodbye(struct publish *p)
{
    uint32_t patience_ms = 0;

    if (p->state == PUBLISH_ATTACHED && send_detach(p) == 0 && grpc_call_half_close(p->call) == 0) {
        p->state = PUBLISH_DETACHED;
        patience_ms = DETACH_MS;
    }
    uv_timer_start(&p->farewell, on_farewell, patience_ms, 0);
}

static void on_flush_over(uv_timer_t *timer)
{
    say_goodbye(timer->data);
}

/* Do all that can be done now. */
static void step(struct publish *p)
{
    if (p->state != PUBLISH_ATTACHED)
        return;
    if (p->coverage_due && !uv_is_active((uv_handle_t *)&p->news))
        tell_coverage(p);
    if (p->inventory_due && !uv_is_active((uv_handle_t *)&p->news))
        tell_inventory(p);
    while (send_events(p))
        continue;
    if (p->stopping && p->acknowledged >= spool_newest(p->options.spool))
        say_goodbye(p);
}

static void on_news(uv_timer_t *timer)
{
    step(timer->data);
}

static void news(struct publish *p)
{
    if (p->state == PUBLISH_ATTACHED && !uv_is_active((uv_handle_t *)&p->news))
        uv_timer_start(&p->news, on_news, NEWS_MS, 0);
}

void publish_result(struct publish *p, const Sensebus__V1__OperationResult *result)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    int rc;

    if (p->state != PUBLISH_ATTACHED) /* after Detach nobody listens */
        return;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_OPERATION_RESULT;
    message.operation_result = (Sensebus__V1__OperationResult *)result;
    rc = send_message(p, &message);
    if (rc < 0 && rc != UV_ECANCELED) { /* it ends already */
        log_error("publish.result", "broker=%s id=%" PRIu64 " reason=\"%s\"", p->options.broker, result->id,
                  uv_strerror(rc));
        end_call(p);
    }
}

bool publish_received(struct publish *p, const char *session_id, uint64_t generation, const uint8_t *bytes, size_t len)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__TargetReceived received = SENSEBUS__V1__TARGET_RECEIVED__INIT;
    int rc;

    if (p->state != PUBLISH_ATTACHED || !grpc_call_writable(p->call))
        return false;
    received.session_id = (char *)session_id;
    received.generation = generation;
    received.data.data = (uint8_t *)bytes;
    received.data.len = len;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_TARGET_RECEIVED;
    message.target_received = &received;
    rc = send_message(p, &message);
    if (rc < 0 && rc != UV_ECANCELED) { /* on_writable would not come, and the data wait for ever */
        log_error("publish.received", "broker=%s session=%s reason=\"%s\"", p->options.broker, session_id,
                  uv_strerror(rc));
        end_call(p);
    }
    return rc == 0;
}

void publish_let_attach(struct publish *p)
{
    if (p->may_attach)
        return;
    p->may_attach = true;
    if (p->state == PUBLISH_WAITING)
        attach(p);
}

void publish_held(struct publish *p)
{
    step(p);
}

void publish_coverage_changed(struct publish *p)
{
    p->coverage_due = true;
    news(p);
}

void publish_inventory_changed(struct publish *p)
{
    p->inventory_due = true;
    news(p);
}

/* ------------------------------------------------------------------------------------------------ life */

static void on_up(struct link *link, void *data)
{
    struct publish *p = data;

    (void)link;
    if (p->stopping)
        return;
    p->down_reason[0] = 0;
    uv_timer_stop(&p->timer);
    attach(p);
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    struct publish *p = data;

    (void)link;
    uv_timer_stop(&p->timer);
    p->state = PUBLISH_DOWN;
    if (strncmp(p->down_reason, reason, sizeof p->down_reason - 1) != 0) { /* once, not at every try */
        snprintf(p->down_reason, sizeof p->down_reason, "%s", reason);
        log_warn("publish.broker_away", "broker=%s reason=\"%s\" retry_ms=%u", p->options.broker, reason, retry_ms);
    }
}

int publish_start(struct publish *p, uv_loop_t *loop, const struct publish_options *options,
                  const struct publish_ops *ops, void *data)
{
    static const struct link_ops link_ops = {.on_up = on_up, .on_down = on_down};
    struct link_options link_options = {.address = options->broker,
                                        .insecure = options->insecure,
                                        .tls = options->tls,
                                        .server_name = options->server_name,
                                        .limits = {.max_message_bytes = MAX_BROKER_MESSAGE}};
    int rc;

    memset(p, 0, sizeof *p);
    p->options = *options;
    p->ops = ops;
    p->data = data;
    p->random = (uint32_t)options->instance | 1;
    p->retry = (struct backoff){.min_ms = RETRY_MIN_MS, .max_ms = RETRY_MAX_MS};
    p->refused = (struct backoff){.min_ms = REFUSED_MIN_MS, .max_ms = REFUSED_MAX_MS};
    rc = link_open(loop, &link_options, &link_ops, p, &p->link);
    if (rc < 0)
        return rc;
    uv_timer_init(loop, &p->timer);
    uv_timer_init(loop, &p->news);
    uv_timer_init(loop, &p->farewell);
    p->timer.data = p->news.data = p->farewell.data = p;
    p->n_open_timers = 3;
    return 0;
}

void publish_stop(struct publish *p, const char *reason, void (*cb)(void *data), void *data)
{
    uint32_t patience_ms;

    if (p->stopping)
        return;
    p->stopping = true;
    p->stop_reason = reason;
    p->on_stopped = cb;
    p->on_stopped_data = data;
    if (spool_oldest(p->options.spool) <= spool_newest(p->options.spool)) /* what has happened so far is delivered */
        publish_let_attach(p);
    patience_ms = p->state == PUBLISH_HELLO || p->state == PUBLISH_ATTACHED ? FLUSH_MS : 0;
    uv_timer_start(&p->farewell, on_flush_over, patience_ms, 0);
    uv_timer_stop(&p->news);
    step(p);
}
