/* SPDX-License-Identifier: Apache-2.0 */
/* THE check order: a request with several faults is told the first. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *b, *poor, *agent;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    b = open_as(&w, "B", "bob", ACCESS_ALL);
    poor = open_as(&w, "P", "poor", ACCESS_READER);
    agent = open_as(&w, "G", "agent", ACCESS_AGENT);
    started(&w, a, 0); /* s1: alice's, nothing registered */
    started(&w, a, 1); /* s2: alice's, registered */
    registered(&w, a, "s2");
    started(&w, b, 2); /* s3: bob's, registered */
    registered(&w, b, "s3");
    ask_start_target(&w, a, "iqn.initiator", ""); /* s4: target mode */
    agent_ok(&w, w.last_operation);
    w.text[0] = '\0';
}

static void end(void)
{
    world_end(&w);
}

TestSuite(check, .init = begin, .fini = end);

/* A request that is right; each test breaks members of it. */
struct broken {
    Sensebus__V1__AdapterRequest request;
    Sensebus__V1__RegisterEvent event;
    Sensebus__V1__Start start;
    Sensebus__V1__StartTarget start_target;
    Sensebus__V1__DeviceAddress address;
    uint8_t bytes[300];
};

static void right_event(struct broken *r, const char *id)
{
    memset(r, 0, sizeof *r);
    sensebus__v1__adapter_request__init(&r->request);
    sensebus__v1__register_event__init(&r->event);
    r->event.session_id = (char *)id;
    r->event.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    r->event._correlator_case = SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
    r->event.correlator.data = r->bytes;
    r->request.version = 1;
    r->request.operation_case = ASK(EVENT);
    r->request.event = &r->event;
}

enum fault { ROLE, LENGTH, VERSION_, RESERVED_, MODE_, NOT_THERE, FOREIGN, TAKEN, UNSUPPORTED, N_FAULTS };

static const struct {
    int error, detail;
} verdicts[N_FAULTS] = {
    [ROLE] = {ERRNO(EPERM), 0},
    [LENGTH] = {ERRNO(EFAULT), 0},
    [VERSION_] = {ERRNO(EINVAL), DETAIL(VERSION)},
    [RESERVED_] = {ERRNO(EINVAL), DETAIL(RESERVED)},
    [MODE_] = {ERRNO(EINVAL), DETAIL(MODE)},
    [NOT_THERE] = {ERRNO(EINVAL), DETAIL(NOT_STARTED)},
    [FOREIGN] = {ERRNO(EINVAL), DETAIL(NOT_OWNER)},
    [TAKEN] = {ERRNO(EINVAL), DETAIL(ALREADY_REGISTERED)},
    [UNSUPPORTED] = {ERRNO(ENXIO), DETAIL(NOT_SUPPORTED)},
};

/* The order of section 6: every set of faults that one EVENT can have is answered by its first. */
Test(check, first_fault_of_an_event_is_told)
{
    unsigned n = 0;
    for (unsigned set = 1; set < 1u << N_FAULTS; set++) {
        bool gone = set & 1u << NOT_THERE, foreign = set & 1u << FOREIGN, taken = set & 1u << TAKEN;
        if (set & 1u << UNSUPPORTED || (gone && (foreign || taken)))
            continue; /* UNSUPPORTED: see below. What is not there is nobody's. */
        struct broken r;
        right_event(&r, gone ? "s99" : foreign ? "s3" : taken ? "s2" : "s1");
        if (foreign && !taken)
            continue; /* s3 is both */
        struct adapter_stream *stream = set & 1u << ROLE ? poor : a;
        if ((set & 1u << ROLE) && !foreign && !gone)
            continue; /* to the poor principal all sessions are foreign */
        if (set & 1u << LENGTH)
            r.event.correlator.len = ADAPTER_MAX_CORRELATOR + 1;
        if (set & 1u << VERSION_)
            r.request.version = 2;
        if (set & 1u << RESERVED_)
            r.request.reserved1 = 1;
        if (set & 1u << MODE_)
            r.event.mode = SENSEBUS__V1__MODE__MODE_TARGET;
        if (gone && (set & 1u << MODE_))
            r.event.mode = SENSEBUS__V1__MODE__MODE_BOTH;
        ask(&w, stream, &r.request);
        unsigned first = (unsigned)__builtin_ctz(set);
        cr_assert_eq(w.error, verdicts[first].error, "faults %x: %s", set, w.text);
        cr_assert_eq(w.detail, verdicts[first].detail, "faults %x: %s", set, w.text);
        w.text[0] = '\0';
        n++;
    }
    cr_assert_gt(n, 80);
}

Test(check, event_not_supported_comes_behind_the_once_rule)
{
    w.place.capabilities = 0;
    started(&w, a, 5); /* s5 */
    struct broken r;
    right_event(&r, "s5");
    ask(&w, a, &r.request);
    story(&w, "A #8 ENXIO/NOT_SUPPORTED\n");
    right_event(&r, "s5");
    r.request.reserved2 = 1;
    ask(&w, a, &r.request);
    ask(&w, b, &r.request);
    r.request.reserved2 = 0;
    ask(&w, b, &r.request);
    story(&w, "A #9 EINVAL/RESERVED\nB #10 EINVAL/RESERVED\nB #11 EINVAL/NOT_OWNER\n");
}

Test(check, nothing_of_an_unknown_version_or_field_passes)
{
    struct broken r;
    ProtobufCMessageUnknownField unknown = {.tag = 77, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT};
    right_event(&r, "s1");
    r.event.base.n_unknown_fields = 1;
    r.event.base.unknown_fields = &unknown;
    ask(&w, a, &r.request);
    story(&w, "A #7 EINVAL/RESERVED\n"); /* rule 8, also inside */
    cr_assert_not_null(strstr(w.message, "unknown field 77"), "%s", w.message);
    r.request.version = 0;
    ask(&w, a, &r.request);
    story(&w, "A #8 EINVAL/VERSION\n"); /* rule 9 */
    right_event(&r, "s1");
    r.event.mode = (Sensebus__V1__Mode)17;
    ask(&w, a, &r.request);
    story(&w, "A #9 EINVAL/RESERVED\n");
}

/* rule 10 */
Test(check, impossible_lengths_are_efault)
{
    struct broken r;
    right_event(&r, "s1");
    r.request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION__NOT_SET;
    ask(&w, a, &r.request);
    right_event(&r, "s1");
    r.request.deadline_ms = ADAPTER_MAX_DEADLINE_MS + 1;
    ask(&w, a, &r.request);
    ask_wait(&w, a, 0, NULL);
    ask_wait(&w, a, -2, "s1", NULL);
    Sensebus__V1__WaitPri wait = SENSEBUS__V1__WAIT_PRI__INIT;
    static char *ids[ADAPTER_MAX_WAIT_SESSIONS + 1];
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        ids[i] = (char *)"s1";
    wait.session_ids = ids;
    wait.n_session_ids = ADAPTER_MAX_WAIT_SESSIONS + 1;
    r.request.deadline_ms = 0;
    r.request.operation_case = ASK(WAIT_PRI);
    r.request.wait_pri = &wait;
    ask(&w, a, &r.request);
    static char text[ADAPTER_MAX_CORRELATOR + 2];
    memset(text, 'x', sizeof text - 1);
    ask_start_target(&w, a, "iqn.other", text);
    story(&w, "A #7 EFAULT\nA #8 EFAULT\nA #9 EFAULT\nA #10 EFAULT\nA #11 EFAULT\nA #12 EFAULT\n");
    adapter_fault(w.a, a, 42, "AdapterRequest.event: malformed");
    world_take(&w);
    story(&w, "A #42 EFAULT\n");
    adapter_no_room(w.a, a, 43, "AdapterRequest: takes too much memory");
    world_take(&w);
    story(&w, "A #43 ENOMEM\n");
    wait.n_session_ids = ADAPTER_MAX_WAIT_SESSIONS; /* and as many as may be */
    ask(&w, a, &r.request);
    story(&w, "A #13 OK\n");
}

/* rule 1 */
Test(check, roles)
{
    static const struct {
        const char *what;
        unsigned enough, not_enough;
        request_kind kind;
    } table[] = {
        {"EVENT", ACCESS_KERNEL, ACCESS_ALL & ~(unsigned)ACCESS_KERNEL, ASK(EVENT)},
        {"HALT", ACCESS_KERNEL, ACCESS_ALL & ~(unsigned)ACCESS_KERNEL, ASK(HALT)},
        {"START_TARGET", ACCESS_KERNEL, ACCESS_ALL & ~(unsigned)ACCESS_KERNEL, ASK(START_TARGET)},
        {"RESET", ACCESS_KERNEL, ACCESS_READER | ACCESS_OPERATOR, ASK(RESET)},
        {"RESET", ACCESS_DEV_CONFIG, ACCESS_AGENT, ASK(RESET)},
        {"START", ACCESS_READER, ACCESS_AGENT, ASK(START)},
        {"IOCINFO", ACCESS_OPERATOR, ACCESS_AGENT, ASK(IOC_INFO)},
        {"TM_EVENT", ACCESS_READER, 0, ASK(TM_EVENT)},
        {"WAIT_PRI", ACCESS_DEV_CONFIG, 0, ASK(WAIT_PRI)},
        {"INQUIRY", ACCESS_READER, ACCESS_AGENT, ASK(INQUIRY)},
        {"TEST UNIT READY", ACCESS_READER, 0, ASK(TEST_UNIT_READY)},
        {"STOP", ACCESS_READER, 0, ASK(STOP)},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int enough = 0; enough < 2; enough++) {
            struct adapter_stream *s = open_as(&w, "R", "roles", enough ? table[i].enough : table[i].not_enough);
            switch (table[i].kind) {
            case ASK(EVENT): ask_event(&w, s, "s99", NULL, 0); break;
            case ASK(HALT): ask_halt(&w, s, "s99"); break;
            case ASK(START_TARGET): ask_start_target(&w, s, "", ""); break;
            case ASK(RESET): ask_reset(&w, s, "s99", true); break;
            case ASK(START): ask_start(&w, s, -1, false); break;
            case ASK(IOC_INFO):
                w.place.state = ADAPTER_PLACE_UNKNOWN;
                ask_iocinfo(&w, s);
                break;
            case ASK(TM_EVENT): ask_tm_event(&w, s, "s99", false); break;
            case ASK(WAIT_PRI): ask_wait(&w, s, 0, "s1", NULL); break;
            case ASK(INQUIRY): ask_inquiry(&w, s, "s99", false); break;
            case ASK(TEST_UNIT_READY): ask_tur(&w, s, "s99", false); break;
            default: ask_stop(&w, s, "s99"); break;
            }
            w.place.state = ADAPTER_PLACE_OK;
            cr_assert_eq(w.error, enough ? ERRNO(EINVAL) : ERRNO(EPERM), "%s %d: %s", table[i].what, enough, w.text);
            close_stream(&w, s);
        }
    }
}

/* rule 1: a target-mode session is ended in kernel mode only */
Test(check, stop_of_target_mode_needs_kernel)
{
    struct adapter_stream *reader = open_as(&w, "R", "alice", ACCESS_READER);
    ask_stop(&w, reader, "s4");
    ask_stop(&w, reader, "s1");
    cr_assert_not_null(strstr(w.text, "R #7 EPERM\n"));
    cr_assert_not_null(strstr(w.text, "R #8 OK\n"));
}

Test(check, commands_are_for_initiator_mode_and_buffers_for_target_mode)
{
    ask_halt(&w, a, "s4");
    ask_reset(&w, a, "s4", true);
    ask_tur(&w, a, "s4", false);
    ask_inquiry(&w, a, "s4", false);
    ask_release(&w, a, "s1", 0);
    story(&w, "A #7 EINVAL/MODE\nA #8 EINVAL/MODE\nA #9 EINVAL/MODE\nA #10 EINVAL/MODE\nA #11 EINVAL/MODE\n");
}

static void ask_broken_start(struct broken *r, void (*change)(struct broken *r))
{
    memset(r, 0, sizeof *r);
    sensebus__v1__adapter_request__init(&r->request);
    sensebus__v1__start__init(&r->start);
    sensebus__v1__device_address__init(&r->address);
    r->address.host = (char *)"h";
    r->start.address = &r->address;
    r->request.version = 1;
    r->request.operation_case = ASK(START);
    r->request.start = &r->start;
    change(r);
    ask(&w, a, &r->request);
}

static char long_name[400];
static void without_address(struct broken *r)
{
    r->start.address = NULL;
}
static void without_host(struct broken *r)
{
    r->address.host = (char *)"";
}
static void with_bad_lun(struct broken *r)
{
    r->address.lun = -1;
}
static void with_long_adapter(struct broken *r)
{
    r->address.adapter = long_name;
}
static void with_long_name(struct broken *r)
{
    r->address.target_name = long_name;
}
static void with_nothing_wrong(struct broken *r)
{
    (void)r;
}

Test(check, addresses)
{
    struct broken r;
    memset(long_name, 'x', sizeof long_name - 1);
    ask_broken_start(&r, without_address);
    ask_broken_start(&r, without_host);
    ask_broken_start(&r, with_bad_lun);
    ask_broken_start(&r, with_long_adapter);
    ask_broken_start(&r, with_long_name);
    w.place.state = ADAPTER_PLACE_UNKNOWN;
    ask_broken_start(&r, with_nothing_wrong);
    w.place.state = ADAPTER_PLACE_AMBIGUOUS;
    ask_broken_start(&r, with_nothing_wrong);
    story(&w, "A #7 EINVAL/ADDRESS\nA #8 EINVAL/ADDRESS\nA #9 EINVAL/ADDRESS\nA #10 EINVAL/ADDRESS\n"
              "A #11 EINVAL/ADDRESS\nA #12 EINVAL/ADDRESS\nA #13 EINVAL/ADDRESS\n");
    w.place.state = ADAPTER_PLACE_NO_AGENT;
    ask_broken_start(&r, with_nothing_wrong);
    story(&w, "A #14 EIO\n");
    ask_broken_start(&r, with_bad_lun); /* what it says of itself comes first */
    story(&w, "A #15 EINVAL/ADDRESS\n");
    w.place.state = ADAPTER_PLACE_OK;
    w.place.own_id = "iqn.t"; /* the target at that address is the adapter itself */
    ask_broken_start(&r, with_nothing_wrong);
    w.place.own_id = NULL;
    w.place.diagnostics = true; /* A23 */
    w.full.lun = 9;
    ask_broken_start(&r, with_nothing_wrong);
    ask_iocinfo(&w, a);
    story(&w, "A #16 EINVAL/OWN_ID\nA #17 EACCES\n> h ioc_info 7\n");
    w.full.lun = 0;
    ask_broken_start(&r, with_nothing_wrong); /* what the place is comes before that it may not be used now */
    story(&w, "A #19 EINVAL/ALREADY_STARTED\n");
}

static void with_adapter(struct broken *r)
{
    r->address.adapter = (char *)"host3";
}

/* Of several it is said what keeps them apart: not the adapter when that was named. */
Test(check, what_is_several_says_what_to_name)
{
    struct broken r;
    w.place.state = ADAPTER_PLACE_AMBIGUOUS;
    ask_broken_start(&r, with_nothing_wrong);
    story(&w, "A #7 EINVAL/ADDRESS\n");
    cr_assert_str_eq(w.message, "the agent of host h has this on several adapters: name one");
    ask_broken_start(&r, with_adapter);
    story(&w, "A #8 EINVAL/ADDRESS\n");
    cr_assert_str_eq(w.message,
                     "the agent of host h has several of this on adapter host3: name bus and target by number");
    ask_iocinfo(&w, a);
    story(&w, "A #9 EINVAL/ADDRESS\n");
    cr_assert_str_eq(w.message, "the agent of host h has several adapters: name one");
}

static void ask_target(uint32_t buffer_bytes, uint32_t n_buffers, const char *name, int64_t lun)
{
    struct broken r;
    memset(&r, 0, sizeof r);
    sensebus__v1__adapter_request__init(&r.request);
    sensebus__v1__start_target__init(&r.start_target);
    sensebus__v1__device_address__init(&r.address);
    r.address.host = (char *)"h";
    r.address.target_name = (char *)name;
    r.address.lun = lun;
    r.start_target.address = &r.address;
    r.start_target.buffer_bytes = buffer_bytes;
    r.start_target.n_buffers = n_buffers;
    r.request.version = 1;
    r.request.operation_case = ASK(START_TARGET);
    r.request.start_target = &r.start_target;
    w.full.target_name = (char *)name;
    w.full.lun = 0;
    ask(&w, a, &r.request);
}

/* A18: EINVAL for what is not open, EIO for what the agent cannot be asked */
Test(check, session_that_is_not_open_is_einval_and_a_lost_agent_is_eio)
{
    ask_event(&w, a, "s99", NULL, 0);
    w.place.state = ADAPTER_PLACE_NO_AGENT;
    ask_start(&w, a, 7, false);
    ask_iocinfo(&w, a);
    story(&w, "A #7 EINVAL/NOT_STARTED\nA #8 EIO\nA #9 EIO\n");
}

Test(check, adapter_of_iocinfo)
{
    struct broken r;
    Sensebus__V1__IocInfo ioc_info = SENSEBUS__V1__IOC_INFO__INIT;
    right_event(&r, "");
    r.request.operation_case = ASK(IOC_INFO);
    r.request.ioc_info = &ioc_info;
    ask(&w, a, &r.request);
    ioc_info.host = (char *)"h";
    memset(long_name, 'x', sizeof long_name - 1);
    ioc_info.adapter = long_name;
    ask(&w, a, &r.request);
    ioc_info.adapter = (char *)"";
    w.full.adapter = long_name; /* what the inventory holds counts as well */
    ask(&w, a, &r.request);
    story(&w, "A #7 EINVAL/ADDRESS\nA #8 EINVAL/ADDRESS\nA #9 EINVAL/ADDRESS\n");
}

/* SCIOSTARTTGT: buf_size at most 4096, num_bufs at least 16, lun 0, not the adapter itself, once for each initiator */
Test(check, target_mode)
{
    ask_target(4097, 16, "iqn.new", 0);
    ask_target(0, 16, "iqn.new", 0);
    ask_target(4096, 15, "iqn.new", 0);
    ask_target(4096, 15, "iqn.new", 1); /* ADDRESS comes first */
    ask_target(4096, 16, "", 0);
    ask_target(4096, 16, "iqn.self", 0);
    ask_target(4096, 16, "iqn.initiator", 0);
    ask_target(4096, 16, "iqn.new", 0);
    story(&w, "A #7 EINVAL/BUFFERS\nA #8 EINVAL/BUFFERS\nA #9 EINVAL/BUFFERS\nA #10 EINVAL/ADDRESS\n"
              "A #11 EINVAL/ADDRESS\nA #12 EINVAL/OWN_ID\nA #13 EINVAL/ALREADY_STARTED\n> h open_target 7 s5\n");
    w.place.capabilities &= ~(unsigned)ADAPTER_CAN_TARGET_MODE; /* rule 12, A5 */
    ask_target(4096, 16, "iqn.third", 0);
    story(&w, "A #15 ENXIO/NOT_SUPPORTED\n");
}

/* bounds: the principal that is over one is told which; nobody else is touched */
Test(check, bounds)
{
    struct adapter_limits limits = {.max_sessions_principal = 1,
                                    .max_sessions = 2,
                                    .max_operations_principal = 1,
                                    .max_waits_principal = 1,
                                    .max_streams_principal = 2,
                                    .max_queued_bytes_principal = 16 * 4096};
    world_end(&w);
    world_begin(&w, &limits);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    b = open_as(&w, "B", "bob", ACCESS_ALL);
    struct adapter_stream *c = open_as(&w, "C", "carol", ACCESS_ALL);
    started(&w, a, 0);
    ask_start(&w, a, 1, false);
    cr_assert_str_eq(w.message, "sessions of a principal: 1 are in use, at most 1");
    ask_tur(&w, a, "s1", false);
    ask_tur(&w, a, "s1", false);
    cr_assert_str_eq(w.message, "operations of a principal: 1 are in use, at most 1");
    ask_wait(&w, a, -1, "s1", NULL);
    ask_wait(&w, a, -1, "s1", NULL);
    cr_assert_str_eq(w.message, "waits of a principal: 1 are in use, at most 1");
    story(&w, "A #2 ENOMEM/RESOURCE_EXHAUSTED\n> h test_unit_ready 2 s1\nA #4 ENOMEM/RESOURCE_EXHAUSTED\n"
              "A #6 ENOMEM/RESOURCE_EXHAUSTED\n");
    ask_target(4096, 16, "iqn.new", 0);
    cr_assert_eq(w.detail, DETAIL(RESOURCE_EXHAUSTED));
    w.text[0] = '\0';
    started(&w, b, 1); /* another principal may */
    ask_start(&w, c, 2, false);
    story(&w, "C #9 ENOMEM/RESOURCE_EXHAUSTED\n");
    cr_assert_str_eq(w.message, "sessions in all: 2 are in use, at most 2");
    ask_stop(&w, b, "s2");
    w.text[0] = '\0';
    struct adapter_stream *one = a;
    a = c;
    ask_target(4096, 17, "iqn.new", 0);
    story(&w, "C #11 ENOMEM/RESOURCE_EXHAUSTED\n");
    ask_target(1, 16 * 4096 / 512 + 1, "iqn.new", 0); /* a buffer of one byte takes more than that to keep */
    story(&w, "C #12 ENOMEM/RESOURCE_EXHAUSTED\n");
    ask_target(4096, 16, "iqn.new", 0);
    story(&w, "> h open_target 5 s3\n");
    a = one;
    char err[128];
    int rc = 0;
    open_as(&w, "A2", "alice", ACCESS_ALL);
    cr_assert_null(adapter_open(w.a, "alice", ACCESS_ALL, NULL, &rc, err, sizeof err));
    cr_assert_eq(rc, -105, "%d", rc); /* UV_ENOBUFS */
    cr_assert_str_eq(err, "streams of alice: 2 are open, at most 2");
}
