/* SPDX-License-Identifier: Apache-2.0 */
/* Does every subscription get what its filter wants, once, in order, or hear that it did not? Random subscriptions
 * against random commits, full queues, retention, damaged values and memory that runs out, compared with a plain model
 * that evaluates every filter on every record. The service, its matcher and the log are real; calls and clocks are
 * replaced at link time.
 *
 * SENSEBUS_DELIVERY_SEED=N plays one seed again, SENSEBUS_DELIVERY_STEPS=N says how far. */
#include "broker/service/events.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"
#include "broker/engine/journal.h"
#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/subscription/subscription.h"
#include "proto/event_view.h"
#include "sensebus/v1/event.pb-c.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/chance.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/broker/engine/log_directory.h"

#define N_CODES     6
#define N_HOSTS     3
#define MAX_CALLS   48
#define MAX_RECORDS 200000
#define MAX_MESSAGE (1024 * 1024)
#define MAX_RAW     4096 /* of an event's native part */

static const unsigned codes[N_CODES] = {203, 204, 402, 101, 301, 502};

/* A filter as the model sees it: bits of indices, 0 = all. */
struct wanted {
    unsigned codes, hosts, not_codes;
    bool glob; /* hosts as patterns */
};

struct record {
    uint8_t code, host;
    bool damaged;
};

/* A Subscribe stream. */
struct grpc_call {
    const struct grpc_call_ops *ops;
    struct subscription *data;
    struct wanted wanted;
    bool is_full, is_finished, is_opened, in_snapshot, is_live, any_start;
    uint64_t accounted; /* every match up to here was sent or is in a gap */
    uint64_t asked;     /* where it wants to begin */
    uint64_t due_ns;    /* its timer, 0 = not running */
    uv_timer_cb on_due;
};

static struct broker broker;
static uv_loop_t loop;
static struct log_directory directory;
static struct grpc_call *calls[MAX_CALLS];
static struct record records[MAX_RECORDS + 1];
static const struct grpc_method *methods;
static struct chance luck;
static uint64_t seed, step, now_ns, n_sent, n_gaps_told;
static bool is_settling;
static unsigned reads_until_failure; /* of the log, 0 = none fails */

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "seed %" PRIu64 " step %" PRIu64 ": ", seed, step);                                        \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fprintf(stderr, "\n");                                                                                     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static unsigned below(unsigned n)
{
    return chance_below(&luck, n);
}

static bool one_in(unsigned n)
{
    return below(n) == 0;
}

/* ------------------------------------------------------------------------------------------------ the model */

static bool is_wanted(const struct wanted *w, uint64_t sequence)
{
    const struct record *r = &records[sequence];
    return (!w->codes || (w->codes >> r->code & 1)) && (!w->hosts || (w->hosts >> r->host & 1)) &&
           !(w->not_codes >> r->code & 1);
}

/* Nothing up to `through` is owed any more. */
static void account(struct grpc_call *c, uint64_t through, const char *what)
{
    for (uint64_t n = c->accounted + 1; n <= through; n++)
        CHECK(!is_wanted(&c->wanted, n), "%s at %" PRIu64 ", and %" PRIu64 " was not sent", what, through, n);
    if (through > c->accounted)
        c->accounted = through;
}

static void see_record(struct grpc_call *c, const Sensebus__V1__Event *event)
{
    uint64_t n = event->sequence;

    CHECK(n >= 1 && n <= broker.journal.newest, "no such record: %" PRIu64, n);
    CHECK(is_wanted(&c->wanted, n), "nobody asked for %" PRIu64, n);
    CHECK(event->code == (Sensebus__V1__Code)codes[records[n].code], "%" PRIu64 " is not what was accepted", n);
    n_sent++;
    if (c->in_snapshot)
        return;
    CHECK(n > c->accounted, "%" PRIu64 " again, or out of order behind %" PRIu64, n, c->accounted);
    account(c, n - 1, "a record");
    c->accounted = n;
}

static void see_gap(struct grpc_call *c, const Sensebus__V1__Gap *gap)
{
    uint64_t n_left = 0, from = gap->from->sequence, to = gap->to->sequence;

    n_gaps_told++;
    CHECK(from >= c->accounted && to > from, "gap %" PRIu64 "..%" PRIu64 " behind %" PRIu64, from, to, c->accounted);
    account(c, from, "a gap");
    for (uint64_t n = from + 1; n <= to; n++) {
        n_left += is_wanted(&c->wanted, n);
        if (gap->stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE)
            CHECK(records[n].damaged, "gap %" PRIu64 "..%" PRIu64 ": %" PRIu64 " is whole", from, to, n);
    }
    if (gap->stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION)
        CHECK(to < broker.journal.oldest, "gap to %" PRIu64 ", which is kept", to);
    if (gap->stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION)
        CHECK(c->is_live, "left out without being asked to");
    CHECK(gap->at_least || gap->count == n_left, "count %" PRIu64 " of %" PRIu64, gap->count, n_left);
    c->accounted = to;
}

static void see_opened(struct grpc_call *c, const Sensebus__V1__Opened *opened)
{
    uint64_t at = opened->position->sequence, oldest = broker.journal.oldest;

    CHECK(!c->is_opened, "opened twice");
    c->is_opened = true;
    if (c->any_start)
        c->asked = at;
    CHECK(at == c->asked || (c->asked < oldest - 1 && at == oldest - 1), "opened at %" PRIu64 ", not %" PRIu64, at,
          c->asked);
    c->accounted = c->asked; /* a gap has to follow when it was not there any more */
}

static void see_batch(struct grpc_call *c, const Sensebus__V1__EventBatch *batch)
{
    CHECK(c->is_opened || batch->opened, "something before Opened");
    for (size_t i = 0; i < batch->n_events; i++)
        see_record(c, batch->events[i]);
    if (batch->opened)
        see_opened(c, batch->opened);
    if (batch->gap)
        see_gap(c, batch->gap);
    if (batch->snapshot_begin) {
        c->in_snapshot = true;
        c->accounted = batch->snapshot_begin->position->sequence;
    }
    if (batch->synced) {
        CHECK(batch->synced->position->sequence >= c->accounted, "synced before what was sent");
        account(c, batch->synced->position->sequence, "synced");
        c->in_snapshot = false;
    }
    if (batch->mark)
        account(c, batch->mark->position->sequence, "mark");
    if (batch->closed)
        account(c, batch->closed->position->sequence, "closed");
}

/* ------------------------------------------------------------------------------------------------ what is replaced */

int __wrap_grpc_server_add(struct grpc_server *server, const struct grpc_method *list, size_t n, void *data);
void __wrap_grpc_call_accept(struct grpc_call *c, const struct grpc_call_ops *ops, void *data);
int __wrap_grpc_call_send(struct grpc_call *c, const struct slice *parts, size_t n);
bool __wrap_grpc_call_writable(struct grpc_call *c);
const char *__wrap_grpc_call_peer(const struct grpc_call *c);
__attribute__((format(printf, 3, 4))) void __wrap_grpc_call_finish(struct grpc_call *c, int status, const char *format,
                                                                   ...);
void __wrap_grpc_call_share(struct grpc_call *c, struct grpc_budget *budget);
void __wrap_grpc_call_set_patient(struct grpc_call *c);
void __wrap_grpc_call_flush(struct grpc_call *c);
bool __wrap_gate_admit(struct broker *b, struct grpc_call *c, unsigned any_of, struct access_principal *out);
uint64_t __wrap_clock_mono_ns(void);
int __real_journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out);
int __wrap_journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t ms, uint64_t repeat);

int __wrap_grpc_server_add(struct grpc_server *server, const struct grpc_method *list, size_t n, void *data)
{
    (void)server, (void)n, (void)data;
    methods = list;
    return 0;
}

void __wrap_grpc_call_accept(struct grpc_call *c, const struct grpc_call_ops *ops, void *data)
{
    c->ops = ops;
    c->data = data;
}

int __wrap_grpc_call_send(struct grpc_call *c, const struct slice *parts, size_t n)
{
    static uint8_t bytes[MAX_MESSAGE];
    size_t len = 0;

    CHECK(!c->is_finished, "sent behind the end");
    if (!is_settling && one_in(2000))
        return UV_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        CHECK(len + parts[i].len <= sizeof bytes, "%zu bytes in a message", len + parts[i].len);
        memcpy(bytes + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    Sensebus__V1__EventBatch *batch = sensebus__v1__event_batch__unpack(NULL, len, bytes);
    CHECK(batch, "not a batch");
    see_batch(c, batch);
    sensebus__v1__event_batch__free_unpacked(batch, NULL);
    c->is_full = !is_settling && one_in(8);
    return 0;
}

bool __wrap_grpc_call_writable(struct grpc_call *c)
{
    return !c->is_full;
}

const char *__wrap_grpc_call_peer(const struct grpc_call *c)
{
    (void)c;
    return "peer";
}

void __wrap_grpc_call_finish(struct grpc_call *c, int status, const char *format, ...)
{
    (void)status, (void)format;
    c->is_finished = true;
}

void __wrap_grpc_call_share(struct grpc_call *c, struct grpc_budget *budget)
{
    (void)c, (void)budget;
}

void __wrap_grpc_call_set_patient(struct grpc_call *c)
{
    (void)c;
}

void __wrap_grpc_call_flush(struct grpc_call *c)
{
    CHECK(c, "flushed after its end");
}

bool __wrap_gate_admit(struct broker *b, struct grpc_call *c, unsigned any_of, struct access_principal *out)
{
    (void)b, (void)c, (void)any_of;
    if (out)
        *out = (struct access_principal){.name = "reader"};
    return true;
}

uint64_t __wrap_clock_mono_ns(void)
{
    return now_ns;
}

int __wrap_journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out)
{
    if (reads_until_failure > 0 && --reads_until_failure == 0)
        return UV_ENOMEM;
    return __real_journal_read(j, from, through, max_bytes, out);
}

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
    (void)repeat;
    for (size_t i = 0; i < MAX_CALLS; i++) {
        if (!calls[i] || !calls[i]->data || &calls[i]->data->timer != timer)
            continue;
        calls[i]->due_ns = now_ns + ms * 1000000;
        calls[i]->on_due = cb;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ subscriptions */

static void call_over(size_t i)
{
    struct grpc_call *c = calls[i];

    if (c->ops)
        c->ops->on_close(c, c->data, 0, "");
    calls[i] = NULL;
    free(c);
}

static void reap(void)
{
    for (size_t i = 0; i < MAX_CALLS; i++)
        if (calls[i] && calls[i]->is_finished)
            call_over(i);
}

/* Of few, so that classes are shared. */
static struct wanted wanted_random(void)
{
    switch (below(8)) {
    case 0:
    case 1: return (struct wanted){0};
    case 2:
    case 3: return (struct wanted){.codes = 1u << below(N_CODES)};
    case 4: return (struct wanted){.codes = 1u << below(N_CODES) | 1u << below(N_CODES), .hosts = 1u << below(N_HOSTS)};
    case 5: return (struct wanted){.hosts = 1u << below(N_HOSTS), .glob = one_in(2)};
    case 6: return (struct wanted){.not_codes = 1u << below(N_CODES)};
    default: return (struct wanted){.hosts = 1u << below(N_HOSTS), .not_codes = 1u << below(N_CODES)};
    }
}

static void list_codes(Sensebus__V1__Filter *f, Sensebus__V1__Code out[N_CODES], unsigned bits)
{
    for (unsigned i = 0; i < N_CODES; i++)
        if (bits >> i & 1)
            out[f->n_codes++] = (Sensebus__V1__Code)codes[i];
    f->codes = out;
}

static void choose_start(struct grpc_call *c, Sensebus__V1__SubscribeRequest *r, Sensebus__V1__Position *p)
{
    static Sensebus__V1__StartOldest from_oldest = SENSEBUS__V1__START_OLDEST__INIT;
    const struct journal *j = &broker.journal;

    c->asked = j->newest;
    switch (below(8)) {
    case 0:
    case 1:
        r->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST;
        r->oldest = &from_oldest;
        c->asked = j->oldest - 1;
        break;
    case 2:
    case 3:
        r->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION;
        r->position = p;
        p->epoch = j->epoch;
        p->sequence = c->asked = j->newest - below(j->newest < 500 ? (unsigned)j->newest + 1 : 500);
        r->resume_at_oldest = !one_in(4);
        break;
    case 4:
        r->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_LAST;
        r->last = 1 + below(100);
        c->any_start = true;
        break;
    case 5:
        r->snapshot = true;
        c->any_start = true;
        break;
    default: break;
    }
}

static void fail_some_memory(void)
{
    if (one_in(6))
        failing_alloc_after(below(one_in(2) ? 4 : 40));
}

static void subscribe(size_t i)
{
    static uint8_t bytes[4096];
    static char *names[2][N_HOSTS] = {{"host0", "host1", "host2"}, {"h*0", "h*1", "h*2"}};
    Sensebus__V1__SubscribeRequest r = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, exclude = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Filter *excludes[] = {&exclude};
    Sensebus__V1__Position position = SENSEBUS__V1__POSITION__INIT;
    Sensebus__V1__Code listed[N_CODES], left_out[N_CODES];
    char *hosts[N_HOSTS];
    struct grpc_call *c = calls[i] = calloc(1, sizeof *c);

    c->wanted = wanted_random();
    list_codes(&filter, listed, c->wanted.codes);
    list_codes(&exclude, left_out, c->wanted.not_codes);
    for (unsigned k = 0; k < N_HOSTS; k++)
        if (c->wanted.hosts >> k & 1)
            hosts[filter.n_hosts++] = names[c->wanted.glob][k];
    filter.hosts = hosts;
    filter.exclude = excludes;
    filter.n_exclude = c->wanted.not_codes ? 1 : 0;
    r.filter = &filter;
    choose_start(c, &r, &position);
    r.slow_reader_policy = (Sensebus__V1__SlowReaderPolicy)below(4);
    c->is_live = r.slow_reader_policy == SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_LIVE;
    r.lag_limit = one_in(2) ? 0 : 1 + below(300);
    r.mark_interval_ms = one_in(2) ? 100 + below(2000) : 0;
    r.stop_at_newest = one_in(8);
    r.context.data = (uint8_t *)"context";
    r.context.len = one_in(2) ? 7 : 0;
    size_t len = sensebus__v1__subscribe_request__pack(&r, bytes);
    methods[0].on_start(c, &broker.events);
    if (!c->ops) { /* turned away */
        CHECK(c->is_finished, "neither taken nor turned away");
        return;
    }
    fail_some_memory();
    c->ops->on_message(c, c->data, bytes, len);
    failing_alloc_stop();
}

/* ------------------------------------------------------------------------------------------------ the log */

static void append(struct journal_batch *b, uint64_t n, size_t padding)
{
    static uint8_t bytes[MAX_RAW + 512], raw[MAX_RAW];
    static char host[] = "host?";
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Native native = SENSEBUS__V1__NATIVE__INIT;
    struct event_view view;
    char err[128];

    CHECK(n <= MAX_RECORDS, "too many steps");
    records[n] = (struct record){.code = (uint8_t)below(N_CODES), .host = (uint8_t)below(N_HOSTS)};
    if (one_in(3)) /* most are of one kind, others are rare */
        records[n].code = 0;
    host[4] = (char)('0' + records[n].host);
    origin.host = host;
    origin.source_sequence = n;
    event.code = (Sensebus__V1__Code)codes[records[n].code];
    event.origin = &origin;
    event.native = &native;
    native.raw = (ProtobufCBinaryData){.data = raw, .len = padding};
    size_t len = sensebus__v1__event__pack(&event, bytes);
    CHECK(journal_batch_append(b, bytes, len, n, n * 1000, 1u << (n % 4)) == 0, "no room for a record");
    if (one_in(6)) /* as what the broker itself has to say */
        return;
    CHECK(event_scan(bytes, len, NULL, &view, err, sizeof err) == 0, "%s", err);
    fail_some_memory();
    events_on_accepted(&broker.events, &view, 0, n);
    failing_alloc_stop();
}

static void run_loop(void)
{
    fail_some_memory();
    uv_run(&loop, UV_RUN_NOWAIT);
    failing_alloc_stop();
    reap();
}

/* A few of those in line have their turn, as when there are more than one iteration of the loop serves. */
static void run_some_turns(void)
{
    struct subscription *s;

    fail_some_memory();
    for (unsigned n = 1 + below(6); n > 0 && (s = TAILQ_FIRST(&broker.events.ready)); n--) {
        TAILQ_REMOVE(&broker.events.ready, s, ready);
        broker.events.n_ready--;
        s->is_ready = false;
        subscription_turn(s);
    }
    failing_alloc_stop();
    reap();
}

static void fold(void)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    struct event_view view;
    struct journal_run run;
    const uint8_t *event;
    char err[128];
    size_t len;

    while (journal_read(&broker.journal, broker.status.through + 1, UINT64_MAX, SIZE_MAX, &run) == JOURNAL_RUN) {
        const uint8_t *cursor = run.bytes, *end = run.bytes + run.len;
        while (records_next(&cursor, end, &event, &len)) {
            CHECK(event_scan(event, len, &limits, &view, err, sizeof err) == 0, "%s", err);
            CHECK(status_fold(&broker.status, &view) == 0, "fold");
        }
        journal_run_release(&run);
    }
}

static void come_or_go(size_t i)
{
    if (!calls[i])
        subscribe(i);
    else if (one_in(2))
        call_over(i);
}

/* A commit of a few stored values of a few records; sometimes the subscribers run, come and go while it is on disk and
 * not published. */
static void commit(void)
{
    struct journal_batch batches[4] = {0};
    struct journal_write w = {.batches = batches, .n_batches = one_in(3) ? 2 + below(3) : 1};
    uint64_t next = broker.journal.newest + 1;

    bool is_large = one_in(12);

    for (size_t i = 0; i < w.n_batches; i++) {
        unsigned n = is_large ? 20 + below(40) : one_in(10) ? 1 + below(60) : 1 + below(4);
        size_t padding = is_large ? MAX_RAW : one_in(20) ? below(MAX_RAW) : below(200);
        for (; n > 0; n--)
            append(&batches[i], next++, padding);
    }
    if (one_in(12))
        w.retention.max_records = 50 + below(2000);
    w.checkpoint = w.retention.max_records > 0 || one_in(3);
    CHECK(journal_write(&broker.journal, &w) == 0, "write");
    if (one_in(4))
        come_or_go(below(MAX_CALLS));
    if (one_in(4))
        run_loop();
    journal_publish(&broker.journal, &w);
    if (!one_in(10)) /* else memory is out, and the status stays behind */
        fold();
    if (one_in(2))
        failing_alloc_after(below(5));
    reads_until_failure = below(12) < 3 ? 1 + below(3) : 0;
    events_on_committed(&broker.events);
    reads_until_failure = 0;
    failing_alloc_stop();
    for (size_t i = 0; i < w.n_batches; i++)
        journal_batch_deinit(&batches[i]);
    journal_write_deinit(&w);
}

/* A stored value is overwritten; readers of what is in memory do not notice. */
static void damage(void)
{
    struct journal *j = &broker.journal;
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    uint64_t at = j->oldest + below((unsigned)(j->newest - j->oldest) + 1), first, next = j->newest + 1, after = at + 1;

    if (j->oldest > j->newest)
        return;
    CHECK(store_begin(&j->store, true, &txn) == 0, "begin");
    CHECK(store_cursor_open(&txn, j->log_table, &cursor) == 0, "cursor");
    if (store_cursor_seek(&cursor, &after, sizeof after) == 0) {
        memcpy(&next, cursor.key.data, sizeof next);
        CHECK(store_cursor_prev(&cursor) == 0, "prev");
    } else {
        CHECK(store_cursor_last(&cursor) == 0, "last");
    }
    memcpy(&first, cursor.key.data, sizeof first);
    store_cursor_close(&cursor);
    CHECK(store_put(&txn, j->log_table, &first, sizeof first, "rubbish", 7, 0) == 0, "put");
    CHECK(store_commit(&txn) == 0, "commit");
    for (; first < next; first++)
        records[first].damaged = true;
}

/* ------------------------------------------------------------------------------------------------ the play */

static void pass_time(uint64_t ns)
{
    now_ns += ns;
    for (size_t i = 0; i < MAX_CALLS; i++) {
        struct grpc_call *c = calls[i];
        if (!c || !c->due_ns || c->due_ns > now_ns)
            continue;
        c->due_ns = 0;
        c->on_due(&c->data->timer);
    }
}

static void unblock(struct grpc_call *c)
{
    if (!c->is_full)
        return;
    c->is_full = false;
    c->ops->on_writable(c, c->data);
}

/* What a subscription says of itself must be true at any time. */
static void check_cursors(void)
{
    for (size_t i = 0; i < MAX_CALLS; i++) {
        struct grpc_call *c = calls[i];
        if (c && c->is_opened && !c->is_finished && c->data->state == SUBSCRIPTION_FOLLOW)
            account(c, subscription_cursor(c->data), "its cursor");
    }
}

/* With room and time for everybody, each gets all it wants. */
static void settle(void)
{
    unsigned n_rounds = 0;

    is_settling = true;
    for (unsigned n_quiet = 0; n_quiet < 8; n_quiet++) { /* gaps are a second apart */
        pass_time(300000000);
        do {
            CHECK(n_rounds++ < 10000, "they never settle");
            for (size_t i = 0; i < MAX_CALLS; i++)
                if (calls[i])
                    unblock(calls[i]);
            uv_run(&loop, UV_RUN_NOWAIT);
            reap();
        } while (broker.events.n_ready > 0);
    }
    for (size_t i = 0; i < MAX_CALLS; i++) {
        if (!calls[i])
            continue;
        account(calls[i], broker.journal.newest, "settled");
    }
    is_settling = false;
}

static void play_step(void)
{
    size_t i = below(MAX_CALLS);

    switch (below(17)) {
    case 0:
    case 1:
    case 2:
        if (!calls[i])
            subscribe(i);
        break;
    case 3:
        if (calls[i] && one_in(2))
            call_over(i);
        break;
    case 4:
    case 5:
    case 6:
    case 7: commit(); break;
    case 8:
        for (unsigned n = one_in(20) ? 80 : 3; n > 0; n--)
            commit();
        break;
    case 9: pass_time(below(400) * 1000000ull); break;
    case 10:
        if (one_in(60))
            damage();
        break;
    case 11:
        if (calls[i] && !calls[i]->is_finished && one_in(8))
            calls[i]->ops->on_drain(calls[i], calls[i]->data);
        break;
    case 12:
    case 13: run_some_turns(); break;
    default:
        for (size_t k = 0; k < MAX_CALLS; k++)
            if (calls[k] && one_in(3))
                unblock(calls[k]);
        run_loop();
        break;
    }
    reap();
    check_cursors();
}

static void play(uint64_t with_seed, uint64_t n_steps)
{
    seed = with_seed;
    luck = chance_from(with_seed);
    now_ns = 1000000000;
    memset(&broker, 0, sizeof broker);
    memset(records, 0, sizeof records);
    CHECK(uv_loop_init(&loop) == 0, "loop");
    log_directory_make(&directory);
    struct journal_options options = {.directory = directory.path,
                                      .map_bytes = 1024u * 1024 * 1024,
                                      .tail_bytes = 16384, /* little, so that much is read from disk */
                                      .relaxed = true,
                                      .new_epoch = with_seed};
    char err[256];
    CHECK(journal_open(&broker.journal, &options, err, sizeof err) == 0, "%s", err);
    broker.loop = &loop;
    status_init(&broker.status, 1, STATUS_MAX_DEVICES, STATUS_MAX_BYTES);
    CHECK(reader_accounts_init(&broker.readers, &(struct reader_limits){0}) == 0, "accounts");
    CHECK(events_start(&broker.events, &broker) == 0, "start");
    for (step = 0; step < n_steps; step++) {
        play_step();
        if (step % 250 == 249)
            settle();
    }
    settle();
    for (size_t i = 0; i < MAX_CALLS; i++)
        if (calls[i])
            call_over(i);
    events_stop(&broker.events);
    reader_accounts_deinit(&broker.readers);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0, "handles are left");
    status_deinit(&broker.status);
    journal_close(&broker.journal);
    log_directory_remove(&directory);
}

Test(delivery, each_gets_what_its_filter_wants_once_and_in_order_or_hears_of_a_gap)
{
    const char *one = getenv("SENSEBUS_DELIVERY_SEED"), *steps = getenv("SENSEBUS_DELIVERY_STEPS");
    uint64_t n_steps = steps ? strtoull(steps, NULL, 10) : 1500;

    log_set_level(LOG_LEVEL_ERROR + 1);
    if (one) {
        play(strtoull(one, NULL, 10), n_steps);
        return;
    }
    for (uint64_t s = 1; s <= 4; s++)
        play(s, n_steps);
    cr_assert_gt(n_sent, 10000); /* the play has something to say */
    cr_assert_gt(n_gaps_told, 10);
}
