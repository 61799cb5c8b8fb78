/* SPDX-License-Identifier: Apache-2.0 */
/* Every function of libsensebus against a real broker; c_face.py starts it, plays the agent, and reads what it says.
 *
 *   face_driver ADDRESS SCENARIO [ARGUMENT …]
 *
 * A line "? word" on standard output asks the script to do something; it answers with a line. A plain main, so that it
 * runs under valgrind and the thread sanitizer. Exit status 0, or a line that says what was not so. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/sensebus.h"

static const char *address;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail(#condition, __LINE__);                                                                                \
    } while (0)
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            fail_call(sb, #call, __LINE__);                                                                            \
    } while (0)
#define FAILS(call, error, detail) fails(sb, call, error, detail, #call, __LINE__)

static void fail(const char *what, int line)
{
    printf("line %d: not so: %s\n", line, what);
    fflush(stdout);
    _Exit(1);
}

static void fail_call(const struct sb *sb, const char *call, int line)
{
    printf("line %d: %s: %s %s: %s\n", line, call, strerror(errno), sb_detail_name(sb_detail(sb)), sb_message(sb));
    fflush(stdout);
    _Exit(1);
}

static void fails(const struct sb *sb, int rc, int error, int detail, const char *call, int line)
{
    if (rc == -1 && errno == error && sb_detail(sb) == detail)
        return;
    printf("expected %d and %s (%s)\n", rc == -1, strerror(error), sb_detail_name(detail));
    fail_call(sb, call, line);
}

/* The script does something, and its answer comes back. */
static const char *ask(const char *what)
{
    static char line[512];
    printf("? %s\n", what);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        fail("the script answers", __LINE__);
    line[strcspn(line, "\n")] = 0;
    return line;
}

static struct sb *open_handle(void)
{
    struct sb *sb;
    char err[512];
    if (sb_open(address, NULL, &sb, err, sizeof err) < 0) {
        printf("sb_open %s: %s: %s\n", address, strerror(errno), err);
        fflush(stdout);
        _Exit(1);
    }
    return sb;
}

static struct sb_address unit(int32_t target, int64_t lun)
{
    struct sb_address a = SB_ADDRESS_INIT;
    a.host = "agent-1";
    a.target = target;
    a.lun = lun;
    return a;
}

static struct sb_started start(struct sb *sb, int32_t target, int64_t lun, unsigned flags)
{
    struct sb_started started;
    struct sb_address where = unit(target, lun);
    OK(sb_start(sb, &where, flags, &started));
    return started;
}

struct seen {
    struct sb *sb;
    unsigned n, n_cancelled;
    uint32_t events, code;
    uint64_t sequence;
    char summary[320], origin[64], correlator_text[40], devno[80], reason[40], session[SB_SESSION_BYTES];
    size_t correlator_len, record_len;
    bool had_correlator, last, wrong_thread, not_refused;
    int64_t lun;
    pthread_t thread;
};

static void on_event(void *data, const struct sb_event_info *info)
{
    struct seen *s = data;
    s->n++;
    s->n_cancelled += info->code == SB_CODE_REGISTRATION_CANCELLED;
    s->events = info->events;
    s->code = info->code;
    s->sequence = info->sequence;
    s->last = info->last;
    s->lun = info->lun;
    s->record_len = info->record_len;
    s->had_correlator = info->correlator != NULL;
    s->correlator_len = info->correlator_len;
    snprintf(s->correlator_text, sizeof s->correlator_text, "%.*s", (int)info->correlator_len,
             info->correlator ? (const char *)info->correlator : "");
    snprintf(s->summary, sizeof s->summary, "%s", info->summary);
    snprintf(s->origin, sizeof s->origin, "%s", info->origin_session);
    snprintf(s->devno, sizeof s->devno, "%s %u:%u", info->adap_devno, info->adap_major, info->adap_minor);
    snprintf(s->reason, sizeof s->reason, "%s", info->reason);
    snprintf(s->session, sizeof s->session, "%s", info->session);
    s->wrong_thread |= !pthread_equal(s->thread, pthread_self());
    /* rule 19 */
    s->not_refused |= sb_halt(s->sb, info->session) != -1 || errno != EDEADLK || sb_dispatch(s->sb, 0) != -1 ||
                      errno != EDEADLK || sb_detail(s->sb) != SB_DETAIL_IN_CALLBACK;
}

static void register_for(struct sb *sb, struct seen *seen, const char *session, const char *correlator)
{
    seen->sb = sb;
    seen->thread = pthread_self();
    const struct sb_registration r = {.mode = SB_MODE_INITIATOR,
                                      .correlator = correlator,
                                      .correlator_len = correlator ? strlen(correlator) : 0,
                                      .on_event = on_event,
                                      .data = seen};
    OK(sb_event(sb, session, &r));
}

static void dispatch_until(struct sb *sb, const unsigned *counter, unsigned n)
{
    while (*counter < n) {
        struct pollfd fd = {.fd = sb_fd(sb), .events = POLLIN};
        CHECK(poll(&fd, 1, 60000) == 1);
        OK(sb_dispatch(sb, 0));
    }
}

/* ------------------------------------------------------------------------------------------------ sessions */

static void operations(void)
{
    struct sb *sb = open_handle();
    struct sb_adapter_info info;
    struct sb_started started, other;
    struct sb_command_result result;
    struct seen seen = {0};
    char data[4];
    size_t len;
    uint32_t events = 99;

    OK(sb_iocinfo(sb, "agent-1", NULL, &info));
    CHECK(strcmp(info.adapter, "iscsi0") == 0 && info.adap_major == 8 && info.adap_minor == 1);
    CHECK(info.maximum_transfer_bytes == 1 << 20 && info.transport == 1);
    CHECK(info.capabilities & SB_CAN_EVENT && info.capabilities & SB_CAN_HALT);

    started = start(sb, 1, 1, 0);
    CHECK(started.generation > 0 && !started.already_started);
    CHECK(strcmp(started.place.target_name, "iqn.2026-01.example:t1") == 0 && started.place.lun == 1);
    CHECK(strcmp(started.device.vendor, "ACME") == 0);

    register_for(sb, &seen, started.session, "k-1");
    OK(sb_tm_event(sb, started.session, 0, &events));
    CHECK(events == 0);
    ask("publish");
    dispatch_until(sb, &seen.n, 1);
    CHECK(!*seen.reason && seen.events == SB_SCSI_RESET_EVENT && seen.code == 203 && seen.sequence > 0 &&
          seen.lun == 1);
    CHECK(strcmp(seen.correlator_text, "k-1") == 0 && seen.record_len > 0 && !seen.last);
    CHECK(strncmp(seen.devno, "agent-1/iscsi0 ", 15) == 0);
    CHECK(!seen.wrong_thread && !seen.not_refused);

    struct sb_pollpri list[] = {{started.session, 0}, {"s-of-nobody", 0}};
    OK(sb_poll_pri(sb, list, 1, -1));
    CHECK(list[0].revents == SB_PRI);
    OK(sb_tm_event(sb, started.session, SB_PEEK, &events));
    CHECK(events == SB_SCSI_RESET_EVENT);
    OK(sb_tm_event(sb, started.session, 0, &events));
    CHECK(events == SB_SCSI_RESET_EVENT);
    OK(sb_tm_event(sb, started.session, 0, &events));
    CHECK(events == 0);
    CHECK(sb_poll_pri(sb, list, 1, 0) == 0);
    CHECK(sb_poll_pri(sb, list, 2, -1) == 1 && list[1].revents == SB_HUP);

    OK(sb_inquiry(sb, started.session, 0, 0, data, sizeof data, &len, &result));
    CHECK(len == 4 && memcmp(data, "data", 4) == 0 && result.scsi_status == 0);
    OK(sb_inquiry(sb, started.session, SB_PAGE(0x83), 0, data, 2, &len, &result));
    CHECK(len == 4);
    OK(sb_test_unit_ready(sb, started.session, 0, &result));
    OK(sb_halt(sb, started.session));
    FAILS(sb_test_unit_ready(sb, started.session, 0, &result), ENXIO, SB_DETAIL_HALTED);
    OK(sb_test_unit_ready(sb, started.session, SB_RESUME, &result));

    /* rule 15: told before the reset returns, and who asked for it. */
    OK(sb_reset(sb, started.session, SB_RESET_LUN));
    CHECK(seen.n == 2 && strcmp(seen.origin, started.session) == 0);

    other = start(sb, 1, 0, SB_SHARED);
    const struct sb_registration none = {.mode = SB_MODE_INITIATOR, .on_event = on_event, .data = &seen};
    OK(sb_event(sb, other.session, &none));
    ask("publish 0");
    dispatch_until(sb, &seen.n, 3);
    CHECK(!seen.had_correlator); /* A10 */
    OK(sb_stop(sb, other.session));
    CHECK(seen.n == 4 && seen.last && strcmp(seen.reason, "STOP") == 0);
    FAILS(sb_stop(sb, other.session), EINVAL, SB_DETAIL_NOT_STARTED);
    OK(sb_stop(sb, started.session));
    CHECK(seen.n_cancelled == 2 && !seen.wrong_thread && !seen.not_refused);
    OK(sb_close(sb));
}

static void einval(void)
{
    struct sb *sb = open_handle();
    struct sb_adapter_info info;
    struct sb_started started = start(sb, 1, 0, 0), again;
    struct sb_address where = unit(1, 0);
    struct seen seen = {0};
    uint32_t events;
    FAILS(sb_start(sb, &where, 0, &again), EINVAL, SB_DETAIL_ALREADY_STARTED);
    where = unit(7, 0);
    FAILS(sb_start(sb, &where, 0, &again), EINVAL, SB_DETAIL_ADDRESS);
    where.host = "agent-9";
    FAILS(sb_start(sb, &where, 0, &again), EIO, SB_DETAIL_NONE);
    FAILS(sb_iocinfo(sb, "agent-1", "iscsi7", &info), EINVAL, SB_DETAIL_ADDRESS);
    struct sb_registration r = {.mode = SB_MODE_TARGET, .on_event = on_event, .data = &seen};
    FAILS(sb_event(sb, started.session, &r), EINVAL, SB_DETAIL_MODE);
    FAILS(sb_event(sb, "s-of-nobody", &r), EINVAL, SB_DETAIL_NOT_STARTED);
    register_for(sb, &seen, started.session, "");
    r.mode = SB_MODE_INITIATOR;
    FAILS(sb_event(sb, started.session, &r), EINVAL, SB_DETAIL_ALREADY_REGISTERED);
    CHECK(strlen(sb_message(sb)) > 0);
    FAILS(sb_tm_event(sb, "s-of-nobody", 0, &events), EINVAL, SB_DETAIL_NOT_STARTED);
    FAILS(sb_reset(sb, "s-of-nobody", 0), EINVAL, SB_DETAIL_NOT_STARTED);
    FAILS(sb_release_buffers(sb, started.session, 1), EINVAL, SB_DETAIL_MODE);
    OK(sb_close(sb));
}

/* What the agent answers to HALT is what the caller hears. */
static void agent_errnos(void)
{
    static const struct {
        const char *name;
        int error;
    } ERRNOS[] = {
        {"EIO", EIO},       {"ENXIO", ENXIO},        {"ENOMEM", ENOMEM}, {"ENODEV", ENODEV}, {"ENOCONNECT", ENOTCONN},
        {"EACCES", EACCES}, {"ETIMEDOUT", ETIMEDOUT}};
    struct sb *sb = open_handle();
    struct sb_started started = start(sb, 1, 0, 0);
    char line[40];
    for (size_t i = 0; i < sizeof ERRNOS / sizeof *ERRNOS; i++) {
        snprintf(line, sizeof line, "answer %s", ERRNOS[i].name);
        ask(line);
        FAILS(sb_halt(sb, started.session), ERRNOS[i].error,
              ERRNOS[i].error == ENXIO ? SB_DETAIL_NOT_SUPPORTED : SB_DETAIL_NONE);
        CHECK(strstr(sb_message(sb), "the agent's words"));
        CHECK(sb_is_connected(sb));
    }
    OK(sb_close(sb));
}

static void no_kernel(void)
{
    struct sb *sb = open_handle();
    struct seen seen = {0};
    struct sb_started started = start(sb, 1, 0, 0);
    struct sb_sdi_event event = {.event_type = SB_SDI_FIRSTOPEN, .address = SB_SCSI_ADR_ANY};
    struct sb_notification n = {.event_type = SB_SDI_PRIVATE};
    const struct sb_registration r = {.mode = SB_MODE_INITIATOR, .on_event = on_event, .data = &seen};
    uint64_t handler;
    uint32_t events;
    FAILS(sb_event(sb, started.session, &r), EPERM, SB_DETAIL_NONE);
    FAILS(sb_halt(sb, started.session), EPERM, SB_DETAIL_NONE);
    FAILS(sb_reset(sb, started.session, 0), EPERM, SB_DETAIL_NONE);
    OK(sb_tm_event(sb, started.session, 0, &events));
    event.handler = (sb_handler_cb)(void *)abort;
    FAILS(sb_add_event(sb, &event, &handler), EPERM, SB_DETAIL_NONE);
    FAILS(sb_notify_event(sb, &n, NULL), EPERM, SB_DETAIL_NONE);
    FAILS(sb_xaen(sb, NULL, SB_SDI_FLT_RESET, 0, -1, -1, -1, 0), EPERM, SB_DETAIL_NONE);
    CHECK(sb_is_connected(sb));
    OK(sb_close(sb));
}

static int count_session(void *data, const struct sb_session_info *info)
{
    unsigned *n = data;
    CHECK(strcmp(info->host, "agent-1") == 0 && *info->principal && info->mode == SB_MODE_INITIATOR);
    CHECK(info->registered == (info->lun == 1) && info->since_unix_ns > 0);
    (*n)++;
    return 0;
}

static void sessions(void)
{
    struct sb *sb = open_handle(), *second = open_handle();
    struct sb_started a = start(sb, 1, 0, 0), b = start(sb, 1, 1, 0);
    struct seen seen = {0};
    unsigned n = 0;
    /* Another handle of the same principal may use the session, and gets its events. */
    register_for(second, &seen, b.session, "second");
    OK(sb_list_sessions(sb, NULL, count_session, &n));
    CHECK(n == 2);
    OK(sb_list_sessions(sb, "nobody-*", count_session, &n));
    CHECK(n == 2);
    ask("publish");
    dispatch_until(second, &seen.n, 1);
    CHECK(strcmp(seen.correlator_text, "second") == 0);
    CHECK(a.generation != b.generation);
    OK(sb_stop(sb, b.session));
    dispatch_until(second, &seen.n, 2);
    CHECK(seen.last);
    OK(sb_close(second));
    OK(sb_close(sb));
}

/* ------------------------------------------------------------------------------------------------ ends */

static void lost(void)
{
    struct sb *sb = open_handle();
    struct sb_started a = start(sb, 1, 0, 0), b = start(sb, 1, 1, 0);
    struct seen seen = {0};
    uint32_t events;
    register_for(sb, &seen, a.session, "a");
    register_for(sb, &seen, b.session, "b");
    ask("kill the broker");
    dispatch_until(sb, &seen.n, 2);
    CHECK(seen.n_cancelled == 2 && seen.last && seen.sequence == 0 && strcmp(seen.reason, "CONNECTION_LOST") == 0);
    CHECK(!sb_is_connected(sb));
    FAILS(sb_dispatch(sb, -1), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    FAILS(sb_tm_event(sb, a.session, 0, &events), ENOTCONN, SB_DETAIL_CONNECTION_LOST);
    OK(sb_close(sb));
    struct sb *none;
    char err[256];
    CHECK(sb_open(address, NULL, &none, err, sizeof err) == -1 && errno == ENOTCONN && *err);
}

/* The last word names the device also when another handle started it: no other device is meant. */
static void lost_elsewhere(void)
{
    struct sb *owner = open_handle(), *sb = open_handle();
    struct sb_started a = start(owner, 1, 1, 0), b = start(owner, 2, 0, 0);
    struct seen told = {0}, never_told = {0};
    register_for(sb, &told, a.session, "a");
    register_for(sb, &never_told, b.session, "b");
    ask("publish");
    dispatch_until(sb, &told.n, 1);
    ask("kill the broker");
    dispatch_until(sb, &told.n, 2);
    dispatch_until(sb, &never_told.n, 1);
    CHECK(told.last && strcmp(told.reason, "CONNECTION_LOST") == 0 && strcmp(told.correlator_text, "a") == 0);
    CHECK(told.lun == 1 && strncmp(told.devno, "agent-1/iscsi0 ", 15) == 0);
    CHECK(never_told.last && never_told.lun == -1 && strcmp(never_told.correlator_text, "b") == 0);
    OK(sb_close(sb));
    sb = owner;
    OK(sb_close(sb));
}

/* An orderly stop of the broker, and an operator, are told with their reasons. */
static void ended(const char *reason, const char *words)
{
    struct sb *sb = open_handle();
    struct sb_started a = start(sb, 1, 0, 0);
    struct seen seen = {0};
    register_for(sb, &seen, a.session, "a");
    char line[100];
    snprintf(line, sizeof line, "end %s", a.session);
    ask(line);
    dispatch_until(sb, &seen.n, 1);
    CHECK(seen.last && seen.n_cancelled == 1);
    if (strcmp(seen.reason, reason) != 0 || !strstr(seen.summary, words)) {
        printf("%s: %s\n", seen.reason, seen.summary);
        fail("the reason", __LINE__);
    }
    CHECK(sb_halt(sb, a.session) == -1);
    CHECK(sb_detail(sb) == SB_DETAIL_NOT_STARTED || sb_detail(sb) == SB_DETAIL_CONNECTION_LOST);
    OK(sb_close(sb));
}

/* A daemon without standard files: nothing of the library gets their numbers, where others would write. */
static void daemon_without_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    struct sb *sb = open_handle();
    struct sb_started started = start(sb, 1, 0, 0);
    CHECK(sb_fd(sb) > 2);
    OK(sb_stop(sb, started.session));
    OK(sb_close(sb));
    _exit(0);
}

/* ------------------------------------------------------------------------------------------------ target mode */

struct received {
    unsigned n, n_kept;
    char text[64];
};

static int on_data(void *data, const struct sb_target_data *d)
{
    struct received *r = data;
    r->n++;
    snprintf(r->text, sizeof r->text, "%.*s %.*s", (int)d->correlator_len, (const char *)d->correlator, (int)d->len,
             (const char *)d->data);
    bool keep = d->len > 4;
    r->n_kept += keep;
    return keep;
}

static void target(void)
{
    struct sb *sb = open_handle();
    struct sb_address where = SB_ADDRESS_INIT;
    struct sb_started started, again;
    struct received received = {0};
    struct sb_target_options options = {.buffer_bytes = 4096,
                                        .n_buffers = 15,
                                        .correlator = "tm",
                                        .correlator_len = 2,
                                        .receive = on_data,
                                        .data = &received};
    struct seen seen = {.sb = sb, .thread = pthread_self()};
    where.host = "agent-1";
    where.adapter = "tgt1";
    where.target_name = "iqn.2026-01.example:remote";
    FAILS(sb_start_target(sb, &where, &options, &started), EINVAL, SB_DETAIL_BUFFERS);
    options.n_buffers = 16;
    OK(sb_start_target(sb, &where, &options, &started));
    FAILS(sb_start_target(sb, &where, &options, &again), EINVAL, SB_DETAIL_ALREADY_STARTED);
    const struct sb_registration r = {.mode = SB_MODE_TARGET, .on_event = on_event, .data = &seen};
    OK(sb_event(sb, started.session, &r));
    char line[100];
    snprintf(line, sizeof line, "send %s %llu", started.session, (unsigned long long)started.generation);
    ask(line); /* "free", then "kept!" */
    dispatch_until(sb, &received.n, 2);
    CHECK(received.n_kept == 1 && strcmp(received.text, "tm kept!") == 0);
    FAILS(sb_release_buffers(sb, started.session, 16), EINVAL, SB_DETAIL_BUFFERS);
    OK(sb_release_buffers(sb, started.session, 1));
    ask("released");
    OK(sb_stop(sb, started.session));
    CHECK(seen.last);
    OK(sb_close(sb));
}

/* ------------------------------------------------------------------------------------------------ SDI */

struct handler {
    struct sb *sb;
    unsigned n;
    int verdict;
    char text[160];
    bool not_refused;
};

static int on_call(void *event_info, const struct sb_handler_call *call)
{
    struct handler *h = event_info;
    h->n++;
    snprintf(h->text, sizeof h->text, "%d %d:%d:%d:%d %s %.*s", call->event_type, call->address.controller,
             call->address.bus, call->address.target, call->address.lun, call->address.host, (int)call->sb_data_len,
             (const char *)call->sb_data);
    h->not_refused |= sb_rm_event(h->sb, call->handler) != -1 || errno != EDEADLK;
    return h->verdict;
}

static void sdi(void)
{
    struct sb *sb = open_handle();
    struct handler h = {.sb = sb}, opens = {.sb = sb}, closes = {.sb = sb};
    struct sb_sdi_event event = {.event_type = 0x100, .address = SB_SCSI_ADR_ANY, .handler = on_call, .event_info = &h};
    struct sb_notification n = {.event_type = 0x100,
                                .address = {0, -1, 1, 4, "db-07"},
                                .inquiry = "ACME    Disk",
                                .sb_data = "sb!",
                                .sb_data_len = 3};
    struct sb_verdicts verdicts;
    uint64_t id, second, other;
    OK(sb_add_event(sb, &event, &id));
    event.flags = SB_ANY_DEVICE_TYPE;
    event.event_type = SB_SDI_FIRSTOPEN;
    event.event_info = &opens;
    OK(sb_add_event(sb, &event, &second));
    event.event_type = SB_SDI_LASTCLOSE;
    event.event_info = &closes;
    OK(sb_add_event(sb, &event, &other));

    /* The notifier is its own listener. */
    OK(sb_notify_event(sb, &n, &verdicts));
    CHECK(verdicts.n_called == 1 && verdicts.n_failed == 0 && h.n == 1 && !h.not_refused);
    CHECK(strcmp(h.text, "256 0:-1:1:4 db-07 sb!") == 0);
    h.verdict = SB_SDI_ERR;
    FAILS(sb_notify_event(sb, &n, &verdicts), EIO, SB_DETAIL_VERDICT);
    CHECK(verdicts.n_failed == 1);
    n.device_type = 1; /* exact */
    OK(sb_notify_event(sb, &n, &verdicts));
    CHECK(verdicts.n_called == 0);
    OK(sb_rm_event(sb, id));
    FAILS(sb_rm_event(sb, id), EINVAL, SB_DETAIL_ARGUMENT);
    n.device_type = 0;
    OK(sb_notify_event(sb, &n, &verdicts));
    CHECK(verdicts.n_called == 0);

    /* Sessions make driver events of their own, and hear of faults. */
    struct sb_started started = start(sb, 1, 1, 0);
    struct seen seen = {0};
    register_for(sb, &seen, started.session, "x");
    dispatch_until(sb, &opens.n, 1);
    OK(sb_xaen(sb, "agent-1", SB_SDI_FLT_RESET, 0, 1, 1, -1, 7));
    dispatch_until(sb, &seen.n, 1);
    CHECK(seen.code == 203);
    OK(sb_aen(sb, NULL, SB_SDI_FLT_RESET, 0, -1, -1));
    dispatch_until(sb, &seen.n, 2);
    OK(sb_xaen(sb, NULL, SB_SDI_FLT_RESET, 99, -1, -1, -1, 0)); /* rule 31: nobody there */
    OK(sb_stop(sb, started.session));
    dispatch_until(sb, &closes.n, 1);
    OK(sb_close(sb));
}

/* Of what the broker does when the caller has given up nothing is lost: neither bits nor the one registration. */
static void late_results(void)
{
    const struct sb_options hasty = {.deadline_ms = 300};
    struct sb *sb;
    struct seen seen = {.thread = pthread_self()};
    uint32_t events;
    CHECK(sb_open(address, &hasty, &sb, NULL, 0) == 0);
    seen.sb = sb;
    struct sb_started a = start(sb, 1, 1, 0), b = start(sb, 1, 0, 0);
    struct sb_registration r = {
        .mode = SB_MODE_INITIATOR, .correlator = "b", .correlator_len = 1, .on_event = on_event, .data = &seen};
    struct sb_pollpri pending[] = {{b.session, 0}, {a.session, 0}};
    ask("publish 1");
    OK(sb_poll_pri(sb, pending, 2, -1));
    ask("stop");
    FAILS(sb_tm_event(sb, a.session, 0, &events), ETIMEDOUT, SB_DETAIL_NONE);
    ask("go on");
    CHECK(sb_dispatch(sb, 60000) == 0); /* it cleared the word */
    CHECK(sb_poll_pri(sb, pending, 2, 1000) == 1 && pending[1].revents == SB_PRI);
    OK(sb_tm_event(sb, a.session, SB_PEEK, &events));
    CHECK(events == SB_SCSI_RESET_EVENT);
    OK(sb_tm_event(sb, a.session, 0, &events));
    CHECK(events == SB_SCSI_RESET_EVENT);
    OK(sb_tm_event(sb, a.session, 0, &events));
    CHECK(events == 0 && sb_poll_pri(sb, pending, 2, 0) == 0);

    ask("stop");
    FAILS(sb_event(sb, b.session, &r), ETIMEDOUT, SB_DETAIL_NONE);
    ask("go on");
    r.correlator = "c";
    FAILS(sb_event(sb, b.session, &r), EINVAL, SB_DETAIL_ALREADY_REGISTERED);
    r.correlator = "b";
    OK(sb_event(sb, b.session, &r));
    CHECK(sb_detail(sb) == SB_DETAIL_NONE && !*sb_message(sb));
    FAILS(sb_event(sb, b.session, &r), EINVAL, SB_DETAIL_ALREADY_REGISTERED);
    ask("publish 0");
    dispatch_until(sb, &seen.n, 1);
    CHECK(strcmp(seen.correlator_text, "b") == 0);
    OK(sb_close(sb));
}

/* The broker adds the handler when the caller has given up: nobody knows of it, so it must not be asked for long. */
static void late_handler(void)
{
    const struct sb_options hasty = {.deadline_ms = 300};
    struct sb *notifier = open_handle(), *sb;
    struct handler h = {0};
    struct sb_sdi_event event = {.event_type = 0x100, .address = SB_SCSI_ADR_ANY, .handler = on_call, .event_info = &h};
    const struct sb_notification n = {.event_type = 0x100, .address = SB_SCSI_ADR_ANY};
    struct sb_verdicts verdicts;
    uint64_t id;
    CHECK(sb_open(address, &hasty, &sb, NULL, 0) == 0);
    ask("stop");
    FAILS(sb_add_event(sb, &event, &id), ETIMEDOUT, SB_DETAIL_NONE);
    ask("go on"); /* until it is added */
    CHECK(sb_dispatch(sb, 60000) == 0);
    ask("removed");
    CHECK(sb_notify_event(notifier, &n, &verdicts) == 0 && verdicts.n_called == 0 && h.n == 0);
    OK(sb_close(sb));
    sb = notifier;
    OK(sb_close(sb));
}

/* ------------------------------------------------------------------------------------------------ threads */

static void *one_thread(void *data)
{
    int number = (int)(size_t)data;
    struct sb *sb = open_handle();
    struct seen seen = {0};
    uint32_t events;
    for (int i = 0; i < 10; i++) {
        struct sb_started started = start(sb, 1, number % 2, SB_SHARED);
        seen = (struct seen){0};
        register_for(sb, &seen, started.session, "thread");
        OK(sb_xaen(sb, "agent-1", SB_SDI_FLT_RESET, 0, 1, number % 2, -1, 0));
        dispatch_until(sb, &seen.n, 1);
        OK(sb_tm_event(sb, started.session, 0, &events));
        CHECK(events & SB_SCSI_RESET_EVENT);
        OK(sb_stop(sb, started.session));
        CHECK(seen.last && seen.n_cancelled == 1 && !seen.wrong_thread);
    }
    OK(sb_close(sb));
    return NULL;
}

static void threads(void)
{
    enum { N = 6 };
    pthread_t list[N];
    for (int i = 0; i < N; i++)
        CHECK(pthread_create(&list[i], NULL, one_thread, (void *)(size_t)i) == 0);
    for (int i = 0; i < N; i++)
        pthread_join(list[i], NULL);
}

/* A handle may wander between threads, one at a time. */
static void *close_elsewhere(void *data)
{
    struct sb *sb = data;
    struct sb_started started = start(sb, 1, 0, 0);
    OK(sb_stop(sb, started.session));
    OK(sb_close(sb));
    return NULL;
}

static void wanders(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, close_elsewhere, open_handle()) == 0);
    pthread_join(thread, NULL);
}

static void with_tls(char **files)
{
    const struct sb_options options = {.tls_certificate = files[0], .tls_key = files[1], .tls_authority = files[2]};
    struct sb *sb;
    char err[512] = "";
    uint32_t events;
    if (sb_open(address, &options, &sb, err, sizeof err) < 0) {
        printf("%s: %s\n", strerror(errno), err);
        exit(errno == ENOTCONN ? 3 : 1);
    }
    struct sb_started started = start(sb, 1, 0, 0);
    OK(sb_tm_event(sb, started.session, 0, &events));
    OK(sb_close(sb));
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    address = argv[1];
    const char *scenario = argv[2];
    if (strcmp(scenario, "operations") == 0)
        operations();
    else if (strcmp(scenario, "einval") == 0)
        einval();
    else if (strcmp(scenario, "agent-errnos") == 0)
        agent_errnos();
    else if (strcmp(scenario, "no-kernel") == 0)
        no_kernel();
    else if (strcmp(scenario, "sessions") == 0)
        sessions();
    else if (strcmp(scenario, "lost") == 0)
        lost();
    else if (strcmp(scenario, "lost-elsewhere") == 0)
        lost_elsewhere();
    else if (strcmp(scenario, "ended") == 0 && argc == 5)
        ended(argv[3], argv[4]);
    else if (strcmp(scenario, "daemon") == 0)
        daemon_without_files();
    else if (strcmp(scenario, "target") == 0)
        target();
    else if (strcmp(scenario, "sdi") == 0)
        sdi();
    else if (strcmp(scenario, "late-results") == 0)
        late_results();
    else if (strcmp(scenario, "late-handler") == 0)
        late_handler();
    else if (strcmp(scenario, "threads") == 0)
        threads();
    else if (strcmp(scenario, "wanders") == 0)
        wanders();
    else if (strcmp(scenario, "tls") == 0 && argc == 6)
        with_tls(argv + 3);
    else
        return 2;
    puts("done");
    return 0;
}
