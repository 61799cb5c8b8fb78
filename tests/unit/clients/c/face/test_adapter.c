/* SPDX-License-Identifier: Apache-2.0 */
/* The C library against a broker that does as it is told (fake_face.h). */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "clients/c/sensebus.h"
#include "tests/unit/clients/c/face/fake_face.h"

static struct fake_face fake;
static struct sb *sb;

static void setup(void)
{
    char err[256];
    const struct sb_options options = {.deadline_ms = 1234};
    fake_face_init(&fake);
    cr_assert_eq(sb_open(fake.address, &options, &sb, err, sizeof err), 0, "%s", err);
}

static void teardown(void)
{
    sb_close(sb);
    fake_face_deinit(&fake);
}

TestSuite(face_adapter, .init = setup, .fini = teardown);

static void expect(int rc, int error, int detail)
{
    cr_assert_eq(rc, -1);
    cr_assert_eq(errno, error, "errno %s: %s", strerror(errno), sb_message(sb));
    cr_assert_eq(sb_detail(sb), detail, "detail %s", sb_detail_name(sb_detail(sb)));
    cr_assert(*sb_message(sb));
}

/* ------------------------------------------------------------------------------------------------ results */

/* rule 13: IOCINFO before START. */
Test(face_adapter, iocinfo_needs_no_session)
{
    struct sb_adapter_info info;
    cr_assert_eq(sb_iocinfo(sb, "db-07", NULL, &info), 0);
    cr_assert_str_eq(info.adapter, "iscsi0");
    cr_assert_str_eq(info.own_id, "iqn.test:host");
    cr_assert_eq(info.adap_major, 24);
    cr_assert_eq(info.adap_minor, 1);
    cr_assert_eq(info.capabilities, SB_CAN_EVENT | SB_CAN_RESET_LUN);
    cr_assert_eq(info.maximum_transfer_bytes, 1 << 20);
    cr_assert_eq(info.transport, 1);
}

static void start(const char *session, struct sb_started *out)
{
    struct sb_address address = SB_ADDRESS_INIT;
    address.host = "db-07";
    address.target_name = session; /* the fake's way of naming a session */
    cr_assert_eq(sb_start(sb, &address, 0, out), 0);
    cr_assert_str_eq(out->session, session);
}

Test(face_adapter, start_tells_who_answered_and_the_full_address)
{
    struct sb_started started;
    start("s1", &started);
    cr_assert_eq(started.generation, 5);
    cr_assert_str_eq(started.place.adapter, "iscsi0");
    cr_assert_str_eq(started.place.host, "db-07");
    cr_assert_eq(started.place.bus, -1);
    cr_assert_str_eq(started.device.vendor, "LIO-ORG");
}

Test(face_adapter, commands_bring_status_sense_and_as_much_data_as_fits)
{
    struct sb_command_result result;
    char data[4];
    size_t len;
    cr_assert_eq(sb_inquiry(sb, "s1", SB_PAGE(0x83), SB_RESUME, data, sizeof data, &len, &result), 0);
    cr_assert_eq(len, 8);
    cr_assert_arr_eq(data, "1234", 4);
    cr_assert_eq(result.scsi_status, 2);
    cr_assert_eq(result.sense_key, 6);
    cr_assert_eq(result.asc, 0x29);
    cr_assert_eq(result.ascq, 3);
    cr_assert_eq(result.sense_len, 4);
    cr_assert_eq(sb_test_unit_ready(sb, "s1", 0, &result), 0);
    cr_assert_eq(result.scsi_status, 2);
}

/* rules 24 and 25 */
Test(face_adapter, words_and_waits)
{
    uint32_t events = 0;
    struct sb_pollpri list[] = {{"s1", 9}, {"events:4", 0}, {"gone", 0}};
    cr_assert_eq(sb_tm_event(sb, "events:12", SB_PEEK, &events), 0);
    cr_assert_eq(events, 12);
    cr_assert_eq(sb_poll_pri(sb, list, 3, 0), 2);
    cr_assert_eq(list[0].revents, 0);
    cr_assert_eq(list[1].revents, SB_PRI);
    cr_assert_eq(list[2].revents, SB_HUP);
    cr_assert_eq(sb_poll_pri(sb, list, 1, 0), 0);
}

/* rule 32: symbolic errnos become the platform's. */
Test(face_adapter, each_errno_arrives_with_its_detail)
{
    struct sb_adapter_info info;
    expect(sb_halt(sb, "errno:1:0"), EPERM, SB_DETAIL_NONE);
    expect(sb_reset(sb, "errno:2:0", 0), EFAULT, SB_DETAIL_NONE);
    expect(sb_stop(sb, "errno:3:1"), EINVAL, SB_DETAIL_NOT_STARTED);
    expect(sb_iocinfo(sb, "errno:4:0:agent is away", "iscsi0", &info), EIO, SB_DETAIL_NONE);
    cr_assert_str_eq(sb_message(sb), "agent is away");
    expect(sb_halt(sb, "errno:5:12"), ENXIO, SB_DETAIL_HALTED);
    expect(sb_halt(sb, "errno:6:13"), ENOMEM, SB_DETAIL_RESOURCE_EXHAUSTED);
    expect(sb_halt(sb, "errno:7:0"), ENODEV, SB_DETAIL_NONE);
    expect(sb_halt(sb, "errno:8:0"), ENOTCONN, SB_DETAIL_NONE);
    expect(sb_halt(sb, "errno:9:0"), ETIMEDOUT, SB_DETAIL_NONE);
    expect(sb_halt(sb, "errno:10:0"), EACCES, SB_DETAIL_NONE);
    expect(sb_halt(sb, "errno:77:0"), EPROTO, SB_DETAIL_NONE);
    cr_assert_eq(sb_halt(sb, "s1"), 0);
    cr_assert_eq(sb_detail(sb), SB_DETAIL_NONE);
    cr_assert_str_eq(sb_message(sb), "");
    cr_assert(sb_is_connected(sb));
}

Test(face_adapter, the_deadline_of_the_options_goes_along)
{
    cr_assert_eq(sb_halt(sb, "s1"), 0);
    sb_close(sb);
    sb = NULL;
    fake_face_deinit(&fake);
    cr_assert_eq(fake.last_deadline_ms, 1234);
    fake_face_init(&fake);
}

/* ------------------------------------------------------------------------------------------------ arguments */

/* rule 8: reserved members must be 0. */
Test(face_adapter, what_is_wrong_with_an_argument_is_said_here)
{
    struct sb_started started;
    struct sb_adapter_info info;
    struct sb_pollpri none[1];
    struct sb_address address = SB_ADDRESS_INIT;
    uint32_t events;
    expect(sb_iocinfo(sb, NULL, NULL, &info), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_start(sb, &address, 0, &started), EINVAL, SB_DETAIL_ARGUMENT);
    address.host = "db-07";
    expect(sb_start(sb, &address, 0x80, &started), EINVAL, SB_DETAIL_ARGUMENT);
    address.reserved[1] = 1;
    expect(sb_start(sb, &address, 0, &started), EINVAL, SB_DETAIL_RESERVED);
    address.reserved[1] = 0;
    expect(sb_start_target(sb, &address, &(struct sb_target_options){0}, &started), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_stop(sb, NULL), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_reset(sb, "s1", 0x10), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_tm_event(sb, "s1", 4, &events), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_poll_pri(sb, none, 0, 0), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_poll_pri(sb, none, 1025, 0), EINVAL, SB_DETAIL_ARGUMENT);
}

/* ------------------------------------------------------------------------------------------------ events */

struct seen {
    unsigned n;
    uint32_t events, code;
    int last;
    char summary[320], devno[64];
    uint8_t correlator[8];
    size_t correlator_len, record_len;
    uint64_t sequence;
    pthread_t thread;
    int nested, nested_errno;
};

static void on_event(void *data, const struct sb_event_info *info)
{
    struct seen *seen = data;
    seen->n++;
    seen->events = info->events;
    seen->code = info->code;
    seen->last = info->last;
    seen->sequence = info->sequence;
    seen->thread = pthread_self();
    seen->record_len = info->record_len;
    snprintf(seen->summary, sizeof seen->summary, "%s", info->summary);
    snprintf(seen->devno, sizeof seen->devno, "%s", info->adap_devno);
    seen->correlator_len = info->correlator_len;
    if (info->correlator && info->correlator_len <= sizeof seen->correlator)
        memcpy(seen->correlator, info->correlator, info->correlator_len);
    seen->nested = sb_halt(sb, "s1");
    seen->nested_errno = errno;
}

static void register_events(const char *session, struct seen *seen)
{
    struct sb_started started;
    start(session, &started);
    const struct sb_registration registration = {
        .mode = SB_MODE_INITIATOR, .correlator = "\1\2", .correlator_len = 2, .on_event = on_event, .data = seen};
    cr_assert_eq(sb_event(sb, session, &registration), 0, "%s", sb_message(sb));
}

/* rule 15: what a reset does is told before the reset returns. rule 20: adap_devno. */
Test(face_adapter, events_before_the_reply_are_told_before_the_operation_returns)
{
    struct seen seen = {0};
    register_events("events:4", &seen);
    cr_assert_eq(seen.n, 0);
    cr_assert_eq(sb_reset(sb, "events:4", SB_RESET_LUN), 0);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(seen.events, SB_SCSI_RESET_EVENT);
    cr_assert_eq(seen.code, 203);
    cr_assert_eq(seen.sequence, 17);
    cr_assert_str_eq(seen.devno, "db-07/iscsi0");
    cr_assert_str_eq(seen.summary, "bus device reset");
    cr_assert_eq(seen.correlator_len, 3); /* rule 7: as the broker returns it */
    cr_assert_arr_eq(seen.correlator, "\0\xff\x7f", 3);
    cr_assert_gt(seen.record_len, 0);
    cr_assert_not(seen.last);
}

/* rule 19: callbacks run on the caller's thread and may not block. */
Test(face_adapter, callbacks_run_here_and_are_refused_what_would_wait)
{
    struct seen seen = {0};
    register_events("events:1", &seen);
    cr_assert_eq(sb_reset(sb, "events:1", 0), 0);
    cr_assert(pthread_equal(seen.thread, pthread_self()));
    cr_assert_eq(seen.nested, -1);
    cr_assert_eq(seen.nested_errno, EDEADLK);
}

static int on_session_closing(void *data, const struct sb_session_info *info)
{
    (void)info;
    *(int *)data = sb_close(sb) == -1 && errno == EDEADLK && sb_detail(sb) == SB_DETAIL_IN_CALLBACK &&
                   sb_dispatch(sb, 0) == -1 && errno == EDEADLK;
    return 1;
}

Test(face_adapter, neither_close_nor_dispatch_from_a_callback)
{
    int refused = 0;
    cr_assert_eq(sb_list_sessions(sb, NULL, on_session_closing, &refused), 0);
    cr_assert(refused);
}

/* rule 5: the cancellation is the last word. */
Test(face_adapter, nothing_comes_behind_a_cancelled_registration)
{
    struct seen seen = {0};
    register_events("cancel", &seen);
    cr_assert_eq(sb_halt(sb, "cancel"), 0);
    cr_assert_eq(seen.n, 1);
    cr_assert(seen.last);
    cr_assert_eq(seen.code, SB_CODE_REGISTRATION_CANCELLED);
    cr_assert_eq(sb_halt(sb, "cancel"), 0);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(sb_stop(sb, "cancel"), 0);
}

Test(face_adapter, what_is_wrong_with_a_registration)
{
    struct sb_registration r = {.mode = SB_MODE_INITIATOR, .correlator = "", .correlator_len = 257};
    expect(sb_event(sb, "s1", &r), EINVAL, SB_DETAIL_ARGUMENT);
    r.on_event = on_event;
    expect(sb_event(sb, "s1", &r), EINVAL, SB_DETAIL_CORRELATOR);
    r.correlator_len = 0;
    r.mode = (enum sb_mode)0;
    expect(sb_event(sb, "s1", &r), EINVAL, SB_DETAIL_MODE);
    r.mode = SB_MODE_TARGET;
    r.reserved[0] = 1;
    expect(sb_event(sb, "s1", &r), EINVAL, SB_DETAIL_RESERVED);
    r.reserved[0] = 0;
    expect(sb_event(sb, "errno:3:2", &r), EINVAL, SB_DETAIL_ALREADY_REGISTERED);
    expect(sb_event(sb, "errno:1:0", &r), EPERM, SB_DETAIL_NONE);
    cr_assert_eq(sb_event(sb, "s1", &r), 0);
}

/* The queue of the connection's thread is bounded; what is paused goes on. */
Test(face_adapter, a_flood_arrives_complete_through_a_bounded_queue)
{
    enum { N = 20000 };
    struct seen seen = {0};
    char session[32];
    snprintf(session, sizeof session, "flood:%d", N);
    register_events(session, &seen);
    cr_assert_eq(sb_tm_event(sb, session, 0, &(uint32_t){0}), 0);
    cr_assert_eq(seen.n, N);
}

Test(face_adapter, the_descriptor_is_readable_while_there_is_something_to_tell)
{
    struct pollfd fd = {.fd = sb_fd(sb), .events = POLLIN};
    cr_assert_eq(poll(&fd, 1, 0), 0);
    cr_assert_eq(sb_dispatch(sb, 0), 0);
    cr_assert_eq(sb_poll_pri(sb, &(struct sb_pollpri){"drop", 0}, 1, -1), -1);
    cr_assert_eq(errno, ENOTCONN);
    cr_assert_eq(poll(&fd, 1, 20000), 1);
    cr_assert_eq(sb_dispatch(sb, 0), -1);
    cr_assert_eq(poll(&fd, 1, 0), 1);
}

/* ------------------------------------------------------------------------------------------------ target mode */

static int on_data(void *data, const struct sb_target_data *received)
{
    snprintf(data, 16, "%.*s/%.*s", (int)received->correlator_len, (const char *)received->correlator,
             (int)received->len, (const char *)received->data);
    return received->len == strlen("keeps");
}

/* rule 23: buffers are released when the callback is done with them, or later. */
Test(face_adapter, target_data_releases_its_buffer_unless_it_is_kept)
{
    static const char *const SESSIONS[] = {"data:free", "data:keeps"};
    char got[16];
    struct sb_started started;
    struct sb_address address = SB_ADDRESS_INIT;
    const struct sb_target_options options = {
        .buffer_bytes = 512, .n_buffers = 16, .receive = on_data, .data = got, .correlator = "c", .correlator_len = 1};
    address.host = "db-07";
    for (int i = 0; i < 2; i++) {
        address.target_name = SESSIONS[i];
        cr_assert_eq(sb_start_target(sb, &address, &options, &started), 0);
        cr_assert_eq(sb_halt(sb, SESSIONS[i]), 0);
        cr_assert_str_eq(got, i ? "c/keeps" : "c/free");
    }
    cr_assert_eq(sb_release_buffers(sb, SESSIONS[1], 10), 0);
    sb_close(sb);
    sb = NULL;
    fake_face_deinit(&fake);
    cr_assert_eq(fake.n_released, 1 + 10);
    fake_face_init(&fake);
}

/* ------------------------------------------------------------------------------------------------ loss */

Test(face_adapter, a_lost_connection_is_told_to_every_registration_and_every_call)
{
    struct seen a = {0}, b = {0};
    register_events("events:1", &a);
    register_events("s2", &b);
    expect(sb_halt(sb, "drop"), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    cr_assert_eq(a.n + b.n, 2);
    cr_assert(a.last && b.last);
    cr_assert_eq(a.code, SB_CODE_REGISTRATION_CANCELLED);
    cr_assert_eq(a.sequence, 0);
    cr_assert_eq(a.record_len, 0);
    cr_assert(strstr(a.summary, "connection lost"));
    cr_assert_eq(a.correlator_len, 2);
    cr_assert_str_eq(a.devno, "db-07/iscsi0");
    cr_assert_not(sb_is_connected(sb));
    expect(sb_stop(sb, "s2"), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    expect(sb_dispatch(sb, -1), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    expect(sb_list_sessions(sb, NULL, NULL, NULL), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
}

Test(face_adapter, a_refused_stream_is_an_errno_and_not_the_end)
{
    expect(sb_halt(sb, "end:7"), EPERM, SB_DETAIL_NONE);
    expect(sb_halt(sb, "end:8"), ENOMEM, SB_DETAIL_RESOURCE_EXHAUSTED);
    expect(sb_halt(sb, "end:12"), ENXIO, SB_DETAIL_NOT_SUPPORTED);
    cr_assert_eq(sb_halt(sb, "s1"), 0);
}

Test(face_adapter, a_stream_that_ends_with_sessions_on_it_is_a_loss)
{
    struct seen seen = {0};
    register_events("s1", &seen);
    expect(sb_halt(sb, "end:14"), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    cr_assert(seen.last);
    cr_assert(strstr(seen.summary, "said so"), "%s", seen.summary);
    cr_assert_not(sb_is_connected(sb));
}

Test(face_adapter, what_does_not_decode_ends_the_connection)
{
    expect(sb_halt(sb, "garbage"), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    cr_assert(strstr(sb_message(sb), "decode"));
}

Test(face_adapter, a_reply_without_its_result_breaks_the_contract)
{
    struct sb_started started;
    struct sb_address address = SB_ADDRESS_INIT;
    struct sb_adapter_info info;
    uint32_t events;
    address.host = "empty";
    expect(sb_start(sb, &address, 0, &started), EPROTO, SB_DETAIL_NONE);
    expect(sb_iocinfo(sb, "empty", NULL, &info), EPROTO, SB_DETAIL_NONE);
    expect(sb_tm_event(sb, "empty", 0, &events), EPROTO, SB_DETAIL_NONE);
}

/* ------------------------------------------------------------------------------------------------ lists */

static int on_session(void *data, const struct sb_session_info *info)
{
    strcat(data, info->session);
    return 0;
}

Test(face_adapter, all_pages_of_sessions_are_listed)
{
    char names[16] = "";
    cr_assert_eq(sb_list_sessions(sb, NULL, on_session, names), 0);
    cr_assert_str_eq(names, "s1s2");
    expect(sb_list_sessions(sb, "refused", on_session, names), EPERM, SB_DETAIL_NONE);
}
