/* SPDX-License-Identifier: Apache-2.0 */
/* semantics.md rules 26..29; A13..A15, A17. */
#include "broker/core/sdi.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/lib/chance.h"
#include "tests/lib/failing_alloc.h"

#define MS      1000000ull
#define PRIVATE 0x100 /* an event type between programs */

#ifdef SENSEBUS_MUTATIONS
int sensebus_mutation;

__attribute__((constructor)) static void choose_mutant(void)
{
    const char *chosen = getenv("SENSEBUS_MUTANT");
    sensebus_mutation = chosen ? atoi(chosen) : 0;
}
#endif

/* What happened, as text: "a call 1 handler 1", "a 7 OK 1", "a 8 ERR AddEvent…", "n OK 2 0". Streams and notifiers are
 * their names. */
static struct sdi *s;
static char out[1 << 16];
static size_t out_len;
static uint64_t now;
static Sensebus__V1__ListenReply *last; /* decoded, of the last action SDI_SEND */

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    out_len += (size_t)vsnprintf(out + out_len, sizeof out - out_len, format, args);
    va_end(args);
    cr_assert_lt(out_len, sizeof out);
}

static void open_world(const struct sdi_limits *limits)
{
    s = sdi_new(limits ? limits : &(struct sdi_limits){0}, 1);
    cr_assert_not_null(s);
    now = 1000 * MS;
}

static void setup(void)
{
    open_world(NULL);
}

static void teardown(void)
{
    sdi_free(s);
    s = NULL;
    if (last)
        sensebus__v1__listen_reply__free_unpacked(last, NULL);
    last = NULL;
}

static void say_sent(const struct sdi_action *a)
{
    uint8_t bytes[8192];
    size_t tail_len = a->tail ? a->tail->len : 0;

    cr_assert_lt(a->message->len + tail_len, sizeof bytes);
    memcpy(bytes, a->message->bytes, a->message->len);
    if (a->tail)
        memcpy(bytes + a->message->len, a->tail->bytes, tail_len);
    if (last)
        sensebus__v1__listen_reply__free_unpacked(last, NULL);
    last = sensebus__v1__listen_reply__unpack(NULL, a->message->len + tail_len, bytes);
    cr_assert_not_null(last);
    if (last->body_case == SENSEBUS__V1__LISTEN_REPLY__BODY_CALL) {
        cr_assert_eq(last->call->call_id, a->call_id);
        say("%s call %" PRIu64 " handler %" PRIu64 "\n", (char *)a->owner, last->call->call_id, last->call->handler_id);
        return;
    }
    cr_assert_eq(last->body_case, SENSEBUS__V1__LISTEN_REPLY__BODY_RESULT);
    cr_assert_eq(a->call_id, 0);
    if (last->result->result == SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK)
        say("%s %" PRIu64 " OK %" PRIu64 "\n", (char *)a->owner, last->result->id, last->result->handler_id);
    else
        say("%s %" PRIu64 " ERR %s\n", (char *)a->owner, last->result->id, last->result->message);
}

static void drain(void)
{
    struct sdi_action a;

    while (sdi_take(s, &a)) {
        if (a.kind == SDI_SEND)
            say_sent(&a);
        else if (a.kind == SDI_VERDICT)
            say("%s %s %u %u\n", (char *)a.notifier, a.ok ? "OK" : "ERR", a.n_called, a.n_failed);
        else
            say("%s end\n", (char *)a.owner);
        chunk_unref(a.message);
        chunk_unref(a.tail);
        a.message = a.tail = NULL;
    }
}

static void expect_at(int line, const char *text)
{
    drain();
    cr_assert_str_eq(out, text, "line %d:\n%s\nexpected:\n%s", line, out, text);
    out[out_len = 0] = '\0';
}
#define expect(text) expect_at(__LINE__, text)

static void forget(void)
{
    drain();
    out[out_len = 0] = '\0';
}

static struct sdi_listener *open_stream(const char *principal, const char *name)
{
    char err[256] = "";
    int rc = 0;
    struct sdi_listener *l = sdi_open(s, principal, (void *)name, &rc, err, sizeof err);
    cr_assert_not_null(l, "%s", err);
    return l;
}

/* ---- requests */

static uint64_t next_id = 1;

static Sensebus__V1__AddEvent any_of(int event_type)
{
    Sensebus__V1__AddEvent add = SENSEBUS__V1__ADD_EVENT__INIT;
    add.event_type = event_type;
    return add;
}

static void request_add(struct sdi_listener *l, Sensebus__V1__AddEvent *add)
{
    Sensebus__V1__ListenRequest r = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    r.id = next_id++;
    r.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD;
    r.add = add;
    sdi_request(s, l, &r, now);
}

/* Add and return the handler's id. */
static uint64_t added(struct sdi_listener *l, Sensebus__V1__AddEvent add)
{
    request_add(l, &add);
    forget();
    cr_assert_eq(last->result->result, SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK, "%s", last->result->message);
    return last->result->handler_id;
}

static void request_remove(struct sdi_listener *l, uint64_t handler_id)
{
    Sensebus__V1__ListenRequest r = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__RemoveEvent rm = SENSEBUS__V1__REMOVE_EVENT__INIT;
    rm.handler_id = handler_id;
    r.id = 7;
    r.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_REMOVE;
    r.remove = &rm;
    sdi_request(s, l, &r, now);
}

static void verdict(struct sdi_listener *l, uint64_t call_id, bool ok)
{
    Sensebus__V1__ListenRequest r = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__Verdict v = SENSEBUS__V1__VERDICT__INIT;
    v.call_id = call_id;
    v.verdict = ok ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
    r.id = 9;
    r.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_VERDICT;
    r.verdict = &v;
    sdi_request(s, l, &r, now);
}

/* ---- notifications */

static char err[256];

static int notify_with(const char *notifier, const char *sender, bool by_broker,
                       const Sensebus__V1__NotifyEventRequest *r)
{
    return sdi_notify(s, r, sender, by_broker, (void *)notifier, now, err, sizeof err);
}

static int notify(const char *notifier, int event_type)
{
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    r.event_type = event_type;
    return notify_with(notifier, "sender", false, &r);
}

static struct sdi_counters counters(void)
{
    struct sdi_counters c;
    sdi_counters(s, &c);
    return c;
}

TestSuite(sdi, .init = setup, .fini = teardown);

/* rule 29 */
Test(sdi, handlers_are_called_in_the_order_they_were_added_over_all_streams)
{
    struct sdi_listener *a = open_stream("p", "a"), *b = open_stream("q", "b");
    Sensebus__V1__AddEvent any_type = any_of(PRIVATE);
    any_type.any_device_type = true;
    added(b, any_of(PRIVATE));
    added(a, any_type);
    added(b, any_type);
    added(a, any_of(PRIVATE));
    added(a, any_of(PRIVATE)); /* duplicates allowed: rule 26 */
    added(a, any_of(PRIVATE + 1));
    cr_assert_eq(notify("n", PRIVATE), 0);
    expect("b call 1 handler 1\na call 2 handler 2\nb call 3 handler 3\na call 4 handler 4\na call 5 handler 5\n");
    for (uint64_t call = 1; call <= 5; call++)
        verdict(call == 1 || call == 3 ? b : a, call, true);
    expect("b 9 OK 0\na 9 OK 0\nb 9 OK 0\na 9 OK 0\nn OK 5 0\na 9 OK 0\n");
}

/* rules 29 and 31 */
Test(sdi, no_match_is_ok)
{
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    cr_assert_eq(notify("n", PRIVATE + 1), 0);
    expect("n OK 0 0\n");
}

/* rule 29, A15 */
Test(sdi, all_are_called_and_awaited_after_one_failed)
{
    struct sdi_listener *a = open_stream("p", "a"), *b = open_stream("q", "b");
    added(a, any_of(PRIVATE));
    added(b, any_of(PRIVATE));
    added(b, any_of(PRIVATE));
    notify("n", PRIVATE);
    expect("a call 1 handler 1\nb call 2 handler 2\nb call 3 handler 3\n");
    verdict(a, 1, false);
    verdict(b, 2, true);
    expect("a 9 OK 0\nb 9 OK 0\n");
    verdict(b, 3, true);
    expect("n ERR 3 1\nb 9 OK 0\n");
    cr_assert_eq(counters().calls_failed, 1);
    cr_assert_eq(counters().notifies_open, 0);
}

/* rule 29 */
Test(sdi, a_late_verdict_makes_err_at_the_deadline_and_is_answered_err)
{
    struct sdi_listener *a = open_stream("p", "a"), *b = open_stream("q", "b");
    added(a, any_of(PRIVATE));
    added(b, any_of(PRIVATE));
    cr_assert_eq(sdi_next_ns(s), UINT64_MAX);
    notify("n", PRIVATE);
    forget();
    cr_assert_eq(sdi_next_ns(s), now + SDI_DEFAULT_DEADLINE_MS * MS);
    verdict(b, 2, true);
    expect("b 9 OK 0\n");
    sdi_tick(s, sdi_next_ns(s) - 1);
    expect("");
    now = sdi_next_ns(s);
    sdi_tick(s, now);
    expect("n ERR 2 1\n");
    cr_assert_eq(sdi_next_ns(s), UINT64_MAX);
    verdict(a, 1, true);
    expect("a 9 ERR Verdict.call_id: the verdict of call 1 is too late\n");
    verdict(a, 1, true);
    expect("a 9 ERR Verdict.call_id: no call 1 waits for a verdict on this stream\n");
    cr_assert_eq(counters().calls_late, 1);
    cr_assert_eq(counters().verdicts_late, 1);
    cr_assert_eq(counters().verdicts_unknown, 1);
}

Test(sdi, deadlines_of_notifications_end_in_their_own_order)
{
    static const uint32_t deadlines[] = {500, 100, 300, 0, 600000};
    static const char *const names[] = {"n500", "n100", "n300", "n2000", "n600000"};
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    for (size_t i = 0; i < 5; i++) {
        Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
        r.event_type = PRIVATE;
        r.deadline_ms = deadlines[i];
        cr_assert_eq(notify_with(names[i], "sender", false, &r), 0);
    }
    forget();
    while (sdi_next_ns(s) != UINT64_MAX)
        sdi_tick(s, sdi_next_ns(s));
    expect("n100 ERR 1 1\nn300 ERR 1 1\nn500 ERR 1 1\nn2000 ERR 1 1\nn600000 ERR 1 1\n");
}

/* rule 29: a stream that ends fails its calls; rule 28: its handlers end with it */
Test(sdi, a_stream_that_ends_loses_its_calls_and_handlers)
{
    struct sdi_listener *a = open_stream("p", "a"), *b = open_stream("q", "b");
    added(a, any_of(PRIVATE));
    added(b, any_of(PRIVATE));
    notify("n", PRIVATE);
    forget();
    sdi_close(s, a, now);
    expect("");
    verdict(b, 2, true);
    expect("n ERR 2 1\nb 9 OK 0\n");
    cr_assert_eq(counters().calls_lost, 1);
    notify("n", PRIVATE);
    expect("b call 3 handler 2\n");
    verdict(b, 3, true);
    expect("n OK 1 0\nb 9 OK 0\n");
}

Test(sdi, what_was_queued_for_a_stream_goes_with_it)
{
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    sdi_close(s, a, now);
    expect("n ERR 1 1\n");
}

/* rule 29: queue full */
Test(sdi, a_call_that_cannot_be_sent_is_lost)
{
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    sdi_call_failed(s, 1, now);
    expect("a call 1 handler 1\na call 2 handler 2\n");
    verdict(a, 2, true);
    expect("n ERR 2 1\na 9 OK 0\n");
    sdi_call_failed(s, 2, now); /* gone already */
    expect("");
    cr_assert_eq(counters().calls_lost, 1);
}

Test(sdi, a_stream_that_gives_no_verdicts_loses_calls_at_once_and_holds_up_nobody)
{
    teardown();
    open_world(&(struct sdi_limits){.max_calls_stream = 3});
    struct sdi_listener *silent = open_stream("p", "silent"), *good = open_stream("q", "good");
    added(silent, any_of(PRIVATE));
    added(good, any_of(PRIVATE));
    for (int i = 0; i < 3; i++) { /* late calls count on */
        notify("n", PRIVATE);
        drain();
        verdict(good, last->call->call_id, true);
        now = sdi_next_ns(s);
        sdi_tick(s, now);
        forget();
    }
    notify("n", PRIVATE);
    drain();
    verdict(good, last->call->call_id, true);
    expect("good call 7 handler 2\nn ERR 2 1\ngood 9 OK 0\n");
    verdict(silent, 1, true); /* room for one again */
    forget();
    notify("n", PRIVATE);
    expect("silent call 8 handler 1\ngood call 9 handler 2\n");
}

/* rule 28 */
Test(sdi, handlers_are_removed_by_their_principal_alone)
{
    struct sdi_listener *a = open_stream("p", "a"), *a2 = open_stream("p", "a2"), *b = open_stream("q", "b");
    uint64_t h = added(a, any_of(PRIVATE)), h2 = added(a, any_of(PRIVATE));
    request_remove(b, h);
    expect("b 7 ERR RemoveEvent.handler_id: q has no handler 1\n");
    request_remove(a, 99);
    expect("a 7 ERR RemoveEvent.handler_id: p has no handler 99\n");
    request_remove(a2, h); /* another stream of the same principal */
    expect("a2 7 OK 0\n");
    request_remove(a, h);
    expect("a 7 ERR RemoveEvent.handler_id: p has no handler 1\n");
    notify("n", PRIVATE);
    expect("a call 1 handler 2\n");
    request_remove(a, h2); /* while it is being called: its verdict counts */
    verdict(a, 1, false);
    expect("a 7 OK 0\nn ERR 1 1\na 9 OK 0\n");
    cr_assert_eq(counters().handlers_open, 0);
}

Test(sdi, a_verdict_is_taken_on_the_stream_that_was_called_alone)
{
    struct sdi_listener *a = open_stream("p", "a"), *a2 = open_stream("p", "a2");
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    forget();
    verdict(a2, 1, true);
    expect("a2 9 ERR Verdict.call_id: no call 1 waits for a verdict on this stream\n");
    verdict(a, 1, true);
    verdict(a, 1, true); /* repeated */
    expect("n OK 1 0\na 9 OK 0\na 9 ERR Verdict.call_id: no call 1 waits for a verdict on this stream\n");
}

Test(sdi, a_call_carries_what_was_added_and_what_was_notified)
{
    static uint8_t info[SDI_MAX_EVENT_INFO], sb[SDI_MAX_SB];
    struct sdi_listener *a = open_stream("p", "a");
    Sensebus__V1__AddEvent add = any_of(PRIVATE);
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
    for (size_t i = 0; i < sizeof info; i++)
        info[i] = (uint8_t)i; /* any bytes */
    for (size_t i = 0; i < sizeof sb; i++)
        sb[i] = (uint8_t)(i * 7);
    add.event_info = (ProtobufCBinaryData){sizeof info, info};
    added(a, add);
    r.event_type = PRIVATE;
    adr.controller = 1, adr.bus = 2, adr.target = 3, adr.lun = 4, adr.host = (char *)"db-07";
    r.address = &adr;
    r.sb = (ProtobufCBinaryData){sizeof sb, sb};
    cr_assert_eq(notify_with("n", "bad\xffname", false, &r), 0);
    forget();
    cr_assert_eq(last->call->event_info.len, sizeof info);
    cr_assert_arr_eq(last->call->event_info.data, info, sizeof info);
    cr_assert_eq(last->call->sb.len, sizeof sb);
    cr_assert_arr_eq(last->call->sb.data, sb, sizeof sb);
    cr_assert_eq(last->call->event_type, PRIVATE);
    cr_assert_eq(last->call->address->controller, 1);
    cr_assert_eq(last->call->address->bus, 2);
    cr_assert_eq(last->call->address->target, 3);
    cr_assert_eq(last->call->address->lun, 4);
    cr_assert_str_eq(last->call->address->host, "db-07");
    cr_assert_str_eq(last->call->sender, "bad?name");
}

/* rule 27, A13, A14 */
Test(sdi, patterns_match_member_by_member)
{
    struct adr {
        int32_t controller, bus, target, lun;
        const char *host;
    };
    static const struct {
        const char *what;
        struct adr pattern;
        const char *inquiry;
        int device_type;
        bool any_type, matches;
    } table[] = {
        {"all any", {-1, -1, -1, -1, ""}, "", 0, false, true},
        {"exact", {1, 2, 3, 4, "h"}, "LIO-ORG disk", 0, false, true},
        {"controller", {0, -1, -1, -1, ""}, "", 0, false, false},
        {"bus", {-1, 1, -1, -1, ""}, "", 0, false, false},
        {"target", {-1, -1, 4, -1, ""}, "", 0, false, false},
        {"lun", {-1, -1, -1, 0, ""}, "", 0, false, false},
        {"controller alone", {1, -1, -1, -1, ""}, "", 0, false, true},
        {"bus alone", {-1, 2, -1, -1, ""}, "", 0, false, true},
        {"target alone", {-1, -1, 3, -1, ""}, "", 0, false, true},
        {"lun alone", {-1, -1, -1, 4, ""}, "", 0, false, true},
        {"other host", {-1, -1, -1, -1, "h2"}, "", 0, false, false},
        {"host is no prefix", {-1, -1, -1, -1, "hh"}, "", 0, false, false},
        {"vendor", {-1, -1, -1, -1, ""}, "LIO-ORG", 0, false, true},
        {"vendor with its padding", {-1, -1, -1, -1, ""}, "LIO-ORG ", 0, false, true},
        {"prefix of the product", {-1, -1, -1, -1, ""}, "LIO-ORG d", 0, false, true},
        {"all 24 bytes", {-1, -1, -1, -1, ""}, "LIO-ORG disk            ", 0, false, true},
        {"case matters", {-1, -1, -1, -1, ""}, "lio-org", 0, false, false},
        {"no substring", {-1, -1, -1, -1, ""}, "disk", 0, false, false},
        {"more than there is", {-1, -1, -1, -1, ""}, "LIO-ORG disk2", 0, false, false},
        {"other device type", {-1, -1, -1, -1, ""}, "", 5, false, false},
        {"device type has no -1", {-1, -1, -1, -1, ""}, "", -1, false, false},
        {"any device type", {-1, -1, -1, -1, ""}, "", 5, true, true},
        {"any device type, bus", {-1, 1, -1, -1, ""}, "", 5, true, false},
    };
    struct sdi_listener *a = open_stream("p", "a");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Sensebus__V1__AddEvent add = any_of(PRIVATE);
        Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
        Sensebus__V1__ScsiAdr pattern = SENSEBUS__V1__SCSI_ADR__INIT, where = SENSEBUS__V1__SCSI_ADR__INIT;
        pattern.controller = table[i].pattern.controller;
        pattern.bus = table[i].pattern.bus;
        pattern.target = table[i].pattern.target;
        pattern.lun = table[i].pattern.lun;
        pattern.host = (char *)table[i].pattern.host;
        add.address = &pattern;
        add.inquiry = (char *)table[i].inquiry;
        add.device_type = table[i].device_type;
        add.any_device_type = table[i].any_type;
        uint64_t h = added(a, add);
        r.event_type = PRIVATE;
        r.address = &where;
        where.controller = 1, where.bus = 2, where.target = 3, where.lun = 4, where.host = (char *)"h";
        r.inquiry = (char *)"LIO-ORG disk";
        cr_assert_eq(notify_with("n", "x", false, &r), 0, "%s: %s", table[i].what, err);
        drain();
        cr_assert_eq(strstr(out, "call") != NULL, table[i].matches, "%s: %s", table[i].what, out);
        sdi_tick(s, UINT64_MAX);
        request_remove(a, h);
        forget();
    }
}

/* An address that is not there says nothing: a pattern without one matches all, and what happened nowhere in particular
 * is found by -1 alone. */
Test(sdi, an_absent_address_is_any)
{
    struct sdi_listener *a = open_stream("p", "a");
    Sensebus__V1__AddEvent zero = any_of(PRIVATE);
    Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
    zero.address = &adr;
    added(a, zero);
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    expect("a call 1 handler 2\n");
}

/* A17 */
Test(sdi, events_of_the_broker_are_sent_by_the_broker_alone)
{
    struct sdi_listener *a = open_stream("p", "a");
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    for (int type = SDI_FIRSTOPEN; type <= SDI_LASTCLOSE_ERR; type++) {
        added(a, any_of(type));
        cr_assert_eq(notify("n", type), UV_EINVAL);
        cr_assert_not_null(strstr(err, "by the broker alone"), "%s", err);
        expect("");
        r.event_type = type;
        cr_assert_eq(notify_with("n", "broker", true, &r), 0);
        drain();
        cr_assert_eq(last->call->event_type, type);
        verdict(a, last->call->call_id, true);
        forget();
    }
    static const int others[] = {0, 4, -1, INT32_MIN, INT32_MAX, 0xff};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        added(a, any_of(others[i]));
        cr_assert_eq(notify("n", others[i]), 0);
        drain();
        cr_assert_eq(last->call->event_type, others[i]);
        verdict(a, last->call->call_id, true);
        forget();
    }
}

/* rule 26 */
Test(sdi, a_wrong_request_is_answered_in_words)
{
    static uint8_t long_info[SDI_MAX_EVENT_INFO + 1];
    static char long_host[SDI_MAX_HOST + 2];
    struct sdi_listener *a = open_stream("p", "a");
    Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
    Sensebus__V1__AddEvent add = any_of(PRIVATE);

    next_id = 1;
    add.inquiry = (char *)"1234567890123456789012345";
    request_add(a, &add);
    expect("a 1 ERR AddEvent.inquiry: 25 bytes, at most 24: vendor (8) and product (16)\n");
    add.inquiry = (char *)"\xc0\x80";
    request_add(a, &add);
    expect("a 2 ERR AddEvent.inquiry: not UTF-8\n");
    add = any_of(PRIVATE);
    add.event_info = (ProtobufCBinaryData){sizeof long_info, long_info};
    request_add(a, &add);
    expect("a 3 ERR AddEvent.event_info: 257 bytes, at most 256\n");
    add = any_of(PRIVATE);
    add.address = &adr;
    adr.bus = -2;
    request_add(a, &add);
    expect("a 4 ERR AddEvent.address.bus: -2 is below -1, which means any\n");
    adr.bus = 0;
    adr.lun = INT32_MIN;
    request_add(a, &add);
    expect("a 5 ERR AddEvent.address.lun: -2147483648 is below -1, which means any\n");
    adr.lun = 0;
    memset(long_host, 'h', sizeof long_host - 1);
    adr.host = long_host;
    request_add(a, &add);
    expect("a 6 ERR AddEvent.address.host: more than 253 bytes\n");
    adr.host = (char *)"\xff";
    request_add(a, &add);
    expect("a 7 ERR AddEvent.address.host: not UTF-8\n");

    Sensebus__V1__ListenRequest nothing = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    nothing.id = 8;
    sdi_request(s, a, &nothing, now);
    expect("a 8 ERR ListenRequest.operation: is missing\n");
    static const uint8_t unknown[] = {8, 9, 0x12, 6, 8, 0x80, 4, 0xa8, 1, 1}; /* id 9, add {event_type, field 21} */
    Sensebus__V1__ListenRequest *r = sensebus__v1__listen_request__unpack(NULL, sizeof unknown, unknown);
    sdi_request(s, a, r, now);
    expect("a 9 ERR ListenRequest.add: unknown field 21\n");
    sensebus__v1__listen_request__free_unpacked(r, NULL);
    sdi_fault(s, a, 10, "ListenRequest.add: cut off");
    expect("a 10 ERR ListenRequest.add: cut off\n");
    cr_assert_eq(counters().handlers_open, 0);
}

Test(sdi, a_verdict_must_say_ok_or_err)
{
    struct sdi_listener *a = open_stream("p", "a");
    Sensebus__V1__ListenRequest r = SENSEBUS__V1__LISTEN_REQUEST__INIT;
    Sensebus__V1__Verdict v = SENSEBUS__V1__VERDICT__INIT;
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    forget();
    v.call_id = 1;
    r.id = 2;
    r.operation_case = SENSEBUS__V1__LISTEN_REQUEST__OPERATION_VERDICT;
    r.verdict = &v;
    sdi_request(s, a, &r, now);
    expect("a 2 ERR Verdict.verdict: neither SDI_RETURN_OK nor SDI_RETURN_ERR\n");
    verdict(a, 1, true); /* it still waits */
    expect("n OK 1 0\na 9 OK 0\n");
}

Test(sdi, a_wrong_notification_is_refused_in_words)
{
    static uint8_t long_sb[SDI_MAX_SB + 1];
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
    r.event_type = PRIVATE;
    r.inquiry = (char *)"1234567890123456789012345";
    cr_assert_eq(notify_with("n", "p", false, &r), UV_EINVAL);
    cr_assert_str_eq(err, "NotifyEventRequest.inquiry: 25 bytes, at most 24");
    r.inquiry = (char *)"";
    r.sb = (ProtobufCBinaryData){sizeof long_sb, long_sb};
    cr_assert_eq(notify_with("n", "p", false, &r), UV_EINVAL);
    cr_assert_str_eq(err, "NotifyEventRequest.sb: 4097 bytes, at most 4096");
    r.sb.len = 0;
    r.deadline_ms = SDI_MAX_DEADLINE_MS + 1;
    cr_assert_eq(notify_with("n", "p", false, &r), UV_EINVAL);
    cr_assert_str_eq(err, "NotifyEventRequest.deadline_ms: 600001, at most 600000");
    r.deadline_ms = 0;
    r.address = &adr;
    adr.target = -2;
    cr_assert_eq(notify_with("n", "p", false, &r), UV_EINVAL);
    cr_assert_str_eq(err, "NotifyEventRequest.address.target: -2 is below -1, which means any");
    expect("");
    cr_assert_eq(counters().notifies, 0);
}

Test(sdi, bounds_of_a_principal_leave_others_untouched)
{
    teardown();
    open_world(&(struct sdi_limits){
        .max_streams_principal = 2, .max_handlers_principal = 2, .max_notifies_principal = 2, .max_handlers = 4});
    struct sdi_listener *a = open_stream("p", "a"), *a2 = open_stream("p", "a2"), *b = open_stream("q", "b");
    int rc = 0;
    cr_assert_null(sdi_open(s, "p", NULL, &rc, err, sizeof err));
    cr_assert_eq(rc, UV_ENOBUFS);
    cr_assert_str_eq(err, "RESOURCE_EXHAUSTED: 2 streams of p are open, and more are not allowed");

    Sensebus__V1__AddEvent add = any_of(PRIVATE);
    added(a, add);
    added(a2, add);
    next_id = 1;
    request_add(a, &add);
    expect("a 1 ERR RESOURCE_EXHAUSTED: 2 handlers of p are there, and more are not allowed\n");
    added(b, add);
    added(b, add);
    struct sdi_listener *c = open_stream("r", "c");
    next_id = 1;
    request_add(c, &add);
    expect("c 1 ERR RESOURCE_EXHAUSTED: 4 handlers are there in all, and more are not allowed\n");

    cr_assert_eq(notify("n1", PRIVATE), 0);
    cr_assert_eq(notify("n2", PRIVATE), 0);
    cr_assert_eq(notify("n3", PRIVATE), UV_ENOBUFS);
    cr_assert_str_eq(err, "RESOURCE_EXHAUSTED: 2 notifications of sender wait for verdicts, and more are not allowed");
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    r.event_type = PRIVATE;
    cr_assert_eq(notify_with("n4", "other", false, &r), 0);
    cr_assert_eq(notify_with("n5", "sender", true, &r), 0); /* the broker is nobody's namesake */
    sdi_notifier_gone(s, (void *)"n1");                     /* goes on to count: its calls are out there */
    cr_assert_eq(notify("n3", PRIVATE), UV_ENOBUFS);
    sdi_tick(s, UINT64_MAX);
    forget();
    cr_assert_eq(notify("n3", PRIVATE), 0);
    cr_assert_eq(counters().refused, 5);
}

Test(sdi, the_broker_has_a_bound_too)
{
    teardown();
    open_world(&(struct sdi_limits){.max_notifies_broker = 1});
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    added(open_stream("p", "a"), any_of(SDI_FIRSTOPEN));
    r.event_type = SDI_FIRSTOPEN;
    cr_assert_eq(notify_with("n1", "broker", true, &r), 0);
    cr_assert_eq(notify_with("n2", "broker", true, &r), UV_ENOBUFS);
    cr_assert_eq(
        notify_with("n3", "broker", false,
                    &(Sensebus__V1__NotifyEventRequest){.base = r.base, .event_type = PRIVATE, .inquiry = r.inquiry}),
        0);
}

Test(sdi, a_notifier_that_went_is_not_told)
{
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    forget();
    sdi_notifier_gone(s, (void *)"n");
    sdi_notifier_gone(s, (void *)"n");
    verdict(a, 1, true); /* in time */
    expect("a 9 OK 0\n");
    notify("m", PRIVATE + 1); /* no match: its verdict is queued */
    sdi_notifier_gone(s, (void *)"m");
    expect("");
    cr_assert_eq(counters().notifies_open, 0);
}

Test(sdi, everything_open_can_be_freed)
{
    struct sdi_listener *a = open_stream("p", "a");
    added(a, any_of(PRIVATE));
    notify("n", PRIVATE);
    forget();
    sdi_tick(s, UINT64_MAX); /* a late call */
    notify("m", PRIVATE);
    request_remove(a, 77);
}

/* ---- order, whatever is added and removed meanwhile */

struct model_handler {
    uint64_t id;
    int event_type, device_type, bus;
    bool any_type;
    size_t stream;
};

/* rules 26..29 against a list searched from the front */
Test(sdi, calls_are_those_of_a_plain_list_in_its_order)
{
    enum { STREAMS = 4, MAX = 200, ROUNDS = 6000 };
    static struct model_handler model[MAX];
    static const char *const names[STREAMS] = {"s0", "s1", "s2", "s3"};
    struct sdi_listener *streams[STREAMS];
    struct chance chance = chance_from(1);
    size_t n = 0;

    for (size_t i = 0; i < STREAMS; i++)
        streams[i] = open_stream(i % 2 ? "p" : "q", names[i]);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned what = chance_below(&chance, 100);
        if (what < 40 && n < MAX) {
            struct model_handler *m = &model[n++];
            Sensebus__V1__AddEvent add = SENSEBUS__V1__ADD_EVENT__INIT;
            Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
            *m = (struct model_handler){.event_type = (int)chance_below(&chance, 3) + PRIVATE,
                                        .device_type = (int)chance_below(&chance, 3),
                                        .bus = (int)chance_below(&chance, 3) - 1,
                                        .any_type = chance_below(&chance, 3) == 0,
                                        .stream = chance_below(&chance, STREAMS)};
            add.event_type = m->event_type;
            add.device_type = m->device_type;
            add.any_device_type = m->any_type;
            adr.controller = adr.target = adr.lun = -1;
            adr.bus = m->bus;
            add.address = &adr;
            m->id = added(streams[m->stream], add);
        } else if (what < 60 && n) {
            size_t i = chance_below(&chance, (unsigned)n);
            request_remove(streams[model[i].stream], model[i].id);
            forget();
            cr_assert_eq(last->result->result, SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK);
            memmove(&model[i], &model[i + 1], (--n - i) * sizeof *model);
        } else if (what < 62) {
            size_t stream = chance_below(&chance, STREAMS), kept = 0;
            sdi_close(s, streams[stream], now);
            streams[stream] = open_stream(stream % 2 ? "p" : "q", names[stream]);
            for (size_t i = 0; i < n; i++)
                if (model[i].stream != stream)
                    model[kept++] = model[i];
            n = kept;
        } else {
            Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
            Sensebus__V1__ScsiAdr adr = SENSEBUS__V1__SCSI_ADR__INIT;
            struct sdi_action a;
            size_t i = 0;
            r.event_type = (int)chance_below(&chance, 3) + PRIVATE;
            r.device_type = (int)chance_below(&chance, 3);
            adr.bus = (int)chance_below(&chance, 2);
            r.address = &adr;
            cr_assert_eq(notify_with("n", "sender", false, &r), 0, "%s", err);
            bool verdict_came = false;
            while (sdi_take(s, &a)) {
                if (a.kind == SDI_VERDICT) {
                    verdict_came = true;
                    break;
                }
                say_sent(&a);
                chunk_unref(a.message);
                chunk_unref(a.tail);
                while (i < n && !(model[i].event_type == r.event_type &&
                                  (model[i].any_type || model[i].device_type == r.device_type) &&
                                  (model[i].bus == -1 || model[i].bus == adr.bus)))
                    i++;
                cr_assert_lt(i, n, "round %d: handler %lu is called and does not match", round,
                             (unsigned long)last->call->handler_id);
                cr_assert_eq(last->call->handler_id, model[i].id, "round %d", round);
                cr_assert_str_eq(a.owner, names[model[i].stream]);
                i++;
            }
            for (; i < n; i++)
                cr_assert(model[i].event_type != r.event_type ||
                              (!model[i].any_type && model[i].device_type != r.device_type) ||
                              (model[i].bus != -1 && model[i].bus != adr.bus),
                          "round %d: handler %lu is not called", round, (unsigned long)model[i].id);
            if (!verdict_came)
                sdi_tick(s, UINT64_MAX);
            forget();
            /* The late calls take room until they are answered: streams begin anew before it runs out. */
            struct sdi_counters c = counters();
            if (c.calls_late - c.verdicts_late > 500 && round % 50 == 0)
                for (size_t k = 0; k < STREAMS; k++) {
                    sdi_close(s, streams[k], now);
                    streams[k] = open_stream(k % 2 ? "p" : "q", names[k]);
                    n = 0;
                }
        }
        cr_assert_eq(counters().handlers_open, n);
    }
}

/* ---- memory runs out */

/* Every allocation in turn: each request is answered or its stream is ended, each notification gets its verdict or was
 * refused, and nothing leaks. */
static void story(void)
{
    struct sdi_listener *streams[2];
    int rc = 0, n_notified = 0;
    static const char *const names[] = {"a", "b"};
    struct sdi_action a;
    int n_answers = 0, n_verdicts = 0, n_ended = 0, n_requests = 0;
    char text[256] = "";

    s = sdi_new(&(struct sdi_limits){0}, 1);
    if (!s)
        return;
    for (size_t i = 0; i < 2; i++) {
        streams[i] = sdi_open(s, names[i], (void *)names[i], &rc, text, sizeof text);
        if (!streams[i])
            cr_assert_eq(rc, UV_ENOMEM);
    }
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 2; i++) {
            Sensebus__V1__AddEvent add = any_of(PRIVATE);
            if (!streams[i])
                continue;
            add.any_device_type = round == 1;
            request_add(streams[i], &add);
            n_requests++;
        }
    for (int i = 0; i < 3; i++) {
        rc = notify(i == 0 ? "n0" : i == 1 ? "n1" : "n2", PRIVATE);
        cr_assert(rc == 0 || rc == UV_ENOMEM);
        n_notified += rc == 0;
    }
    while (sdi_take(s, &a)) {
        n_answers += a.kind == SDI_SEND && !a.call_id;
        n_ended += a.kind == SDI_END;
        n_verdicts += a.kind == SDI_VERDICT;
        if (a.kind == SDI_SEND && a.call_id) {
            verdict(a.owner == names[0] ? streams[0] : streams[1], a.call_id, true);
            n_requests++;
        }
        chunk_unref(a.message);
        chunk_unref(a.tail);
    }
    cr_assert_geq(n_answers + n_ended, n_requests);
    cr_assert_eq(n_verdicts, n_notified, "%d verdicts, %d notifications", n_verdicts, n_notified);
    cr_assert_eq(counters().notifies_open, 0);
    for (size_t i = 0; i < 2; i++)
        if (streams[i])
            sdi_close(s, streams[i], now);
    cr_assert_eq(counters().handlers_open, 0);
    sdi_free(s);
    s = NULL;
}

Test(sdi_memory, no_allocation_that_fails_breaks_a_promise)
{
    unsigned n = 0;
    bool failed = true;
    for (; failed; n++) {
        failing_alloc_after(n);
        story();
        failed = failing_alloc_stop();
    }
    cr_assert_gt(n, 50); /* the allocator was really in our hands */
}
