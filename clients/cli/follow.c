/* SPDX-License-Identifier: Apache-2.0 */
/* Start: "#N" needs the epoch of the log, so the broker is asked first; then one subscription, which redials by itself.
 * Stop: whatever ends it calls stop() with the exit code, once; everything is closed, the loop runs dry, and the output
 * is completed. The first message about a lost connection is shown, further tries are not, its return is. */
#include "clients/cli/follow.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clients/c/subscription.h"
#include "clients/cli/broker.h"
#include "clients/cli/cli.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/output/presenter.h"
#include "clients/cli/query/where.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

#define MARK_INTERVAL_MS 10000 /* so that the position to resume from is never much older */
#define READER_CHECK_MS  500
#define MAX_BATCH_BYTES  (4u << 20)

struct follow {
    struct cli *cli;
    const struct follow_options *options;
    struct presenter *presenter;
    uv_loop_t loop;
    struct subscription *subscription;
    struct interrupt interrupt;
    uv_timer_t connect_timer, deadline_timer, reader_timer;
    bool stopped, opened, lost;
    int code;
    bool hint; /* say where to resume */
    uint64_t n_shown;
    uint64_t epoch, sequence; /* of the end, when has_position */
    bool has_position;
    char why_down[256];
};

static void on_connect_timeout(uv_timer_t *timer);

static void stop(struct follow *f, int code, bool hint)
{
    if (f->stopped)
        return;
    f->stopped = true;
    f->code = code;
    f->hint = hint;
    f->has_position = f->subscription && subscription_position(f->subscription, &f->epoch, &f->sequence);
    subscription_close(f->subscription);
    f->subscription = NULL;
    uv_close((uv_handle_t *)&f->connect_timer, NULL);
    uv_close((uv_handle_t *)&f->deadline_timer, NULL);
    uv_close((uv_handle_t *)&f->reader_timer, NULL);
    interrupt_stop(&f->interrupt);
}

/* ------------------------------------------------------------------------------------------------ what comes in */

/* Loss of any kind ends a strict run, behind the message that tells of it. */
static void on_loss(struct follow *f)
{
    if (f->options->strict)
        stop(f, EXIT_GAP, true);
}

static void on_opened(void *data, const struct Sensebus__V1__Opened *opened, bool resumed)
{
    (void)opened;
    struct follow *f = data;
    f->opened = true;
    uv_timer_stop(&f->connect_timer);
    uint64_t epoch, sequence;
    if (f->lost && resumed && subscription_position(f->subscription, &epoch, &sequence))
        presenter_warning(f->presenter, "connected again; resumed after #%" PRIu64, sequence);
    f->lost = false;
}

static void on_event(void *data, const Sensebus__V1__Event *event)
{
    struct follow *f = data;
    if (f->options->where && !where_matches(f->options->where, event))
        return;
    presenter_event(f->presenter, event);
    f->n_shown++;
    if (event->loss)
        on_loss(f);
    if (f->options->count && f->n_shown >= f->options->count)
        stop(f, EXIT_OK, false);
}

static void on_gap(void *data, const Sensebus__V1__Gap *gap)
{
    struct follow *f = data;
    presenter_gap(f->presenter, gap);
    on_loss(f);
}

static void on_fault(void *data, const char *text)
{
    struct follow *f = data;
    presenter_warning(f->presenter, "%s", text);
    on_loss(f);
}

static void on_snapshot_begin(void *data, const Sensebus__V1__Position *position)
{
    struct follow *f = data;
    Sensebus__V1__SnapshotBegin begin = SENSEBUS__V1__SNAPSHOT_BEGIN__INIT;
    begin.position = (Sensebus__V1__Position *)position;
    presenter_control(f->presenter, "snapshotBegin", &begin.base);
}

static void on_synced(void *data, const Sensebus__V1__Position *position)
{
    struct follow *f = data;
    Sensebus__V1__Synced synced = SENSEBUS__V1__SYNCED__INIT;
    synced.position = (Sensebus__V1__Position *)position;
    if (f->options->snapshot || f->options->until_synced)
        presenter_control(f->presenter, "synced", &synced.base);
    if (f->options->until_synced)
        stop(f, EXIT_OK, false);
}

static void on_batch_end(void *data)
{
    struct follow *f = data;
    int rc = presenter_flush(f->presenter);
    if (rc < 0 && !(rc == UV_EPIPE && f->options->heedless))
        stop(f, rc == UV_EPIPE ? EXIT_OK : EXIT_FAILED, false);
}

static void on_lost(void *data, const char *reason, uint32_t retry_ms)
{
    (void)retry_ms;
    struct follow *f = data;
    snprintf(f->why_down, sizeof f->why_down, "%s", reason);
    if (!f->opened && !f->options->patient) {
        cli_cannot_connect(f->cli, "", reason);
        stop(f, EXIT_CONNECT, false);
    } else if (f->opened && !f->lost) {
        f->lost = true;
        /* A question has an end: only who follows waits for ever. */
        if (f->options->stop_at_newest)
            uv_timer_start(&f->connect_timer, on_connect_timeout, f->cli->connect_ms, 0);
        presenter_warning(f->presenter, "connection to %s lost: %s; trying again", f->cli->broker, reason);
    }
}

static void on_end(void *data, int status, const char *message)
{
    struct follow *f = data;
    if (status == GRPC_OK && f->options->stop_at_newest) {
        stop(f, EXIT_OK, false);
        return;
    }
    if (status == GRPC_OK) {
        cli_error(f->cli, "%s ended the stream", f->cli->broker);
        stop(f, EXIT_FAILED, true);
        return;
    }
    stop(f, cli_refused(f->cli, status, message), f->opened);
}

/* ------------------------------------------------------------------------------------------------ time and signals */

static void on_connect_timeout(uv_timer_t *timer)
{
    struct follow *f = timer->data;
    char within[40];
    snprintf(within, sizeof within, " within %" PRIu64 " ms", f->cli->connect_ms);
    cli_cannot_connect(f->cli, within, *f->why_down ? f->why_down : "no answer");
    stop(f, EXIT_CONNECT, f->opened);
}

static void on_deadline(uv_timer_t *timer)
{
    struct follow *f = timer->data;
    if (!f->opened) {
        cli_cannot_connect(f->cli, " within the time", *f->why_down ? f->why_down : "no answer");
        stop(f, EXIT_CONNECT, false);
        return;
    }
    cli_error(f->cli, "timeout: what was waited for did not come");
    stop(f, EXIT_TIMEOUT, true);
}

/* A pipe whose reader went away is noticed although nothing is written. */
static void on_reader_check(uv_timer_t *timer)
{
    struct follow *f = timer->data;
    struct pollfd out = {.fd = f->cli->out.fd};
    if (poll(&out, 1, 0) > 0 && (out.revents & POLLERR))
        stop(f, EXIT_OK, false);
}

static void on_interrupt(void *data)
{
    stop(data, EXIT_INTERRUPTED, true);
}

/* ------------------------------------------------------------------------------------------------ start */

/* The place just before the event numbered `sequence`. */
static int position_before(struct cli *cli, uint64_t sequence, Sensebus__V1__Position *out_position)
{
    struct broker broker;
    ProtobufCMessage *reply = NULL;
    Sensebus__V1__GetBrokerRequest request = SENSEBUS__V1__GET_BROKER_REQUEST__INIT;
    int code = broker_connect(&broker, cli);
    if (code == EXIT_OK)
        code = broker_ask(&broker, "/sensebus.v1.Admin/GetBroker", &request.base,
                          &sensebus__v1__get_broker_response__descriptor, &reply);
    broker_close(&broker);
    if (code != EXIT_OK)
        return code;
    const Sensebus__V1__Position *newest = ((Sensebus__V1__GetBrokerResponse *)reply)->newest;
    if (newest) {
        out_position->epoch = newest->epoch;
        out_position->sequence = sequence ? sequence - 1 : 0;
    } else {
        cli_error(cli, "%s does not say which log it has", cli->broker);
        code = EXIT_FAILED;
    }
    message_free(reply);
    return code;
}

static int set_start(struct cli *cli, const struct follow_options *options, Sensebus__V1__SubscribeRequest *request,
                     Sensebus__V1__Position *position)
{
    static Sensebus__V1__StartNow now = SENSEBUS__V1__START_NOW__INIT;
    static Sensebus__V1__StartOldest oldest = SENSEBUS__V1__START_OLDEST__INIT;
    if (options->last) {
        request->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_LAST;
        request->last = options->last;
        return EXIT_OK;
    }
    switch (options->since.kind) {
    case SINCE_NOW:
        request->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_NOW;
        request->now = &now;
        return EXIT_OK;
    case SINCE_OLDEST:
        request->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST;
        request->oldest = &oldest;
        return EXIT_OK;
    case SINCE_TIME:
        request->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_SINCE_UNIX_NS;
        request->since_unix_ns = options->since.unix_ns;
        return EXIT_OK;
    case SINCE_POSITION:
        position->epoch = options->since.epoch;
        position->sequence = options->since.sequence;
        break;
    case SINCE_SEQUENCE: {
        int code = position_before(cli, options->since.sequence, position);
        if (code != EXIT_OK)
            return code;
        break;
    }
    }
    request->start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION;
    request->position = position;
    return EXIT_OK;
}

static void init_timer(struct follow *f, uv_timer_t *timer, uv_timer_cb cb, uint64_t ms, uint64_t repeat_ms)
{
    uv_timer_init(&f->loop, timer);
    timer->data = f;
    if (ms)
        uv_timer_start(timer, cb, ms, repeat_ms);
}

static int start(struct follow *f, const Sensebus__V1__SubscribeRequest *request)
{
    static const struct subscription_ops ops = {.on_opened = on_opened,
                                                .on_event = on_event,
                                                .on_gap = on_gap,
                                                .on_snapshot_begin = on_snapshot_begin,
                                                .on_synced = on_synced,
                                                .on_batch_end = on_batch_end,
                                                .on_lost = on_lost,
                                                .on_fault = on_fault,
                                                .on_end = on_end};
    struct link_options link = cli_link(f->cli);
    link.limits.max_message_bytes = MAX_BATCH_BYTES;
    int rc = interrupt_start(&f->interrupt, &f->loop, on_interrupt, f);
    if (rc < 0)
        return rc;
    init_timer(f, &f->connect_timer, on_connect_timeout, f->options->patient ? 0 : f->cli->connect_ms, 0);
    init_timer(f, &f->deadline_timer, on_deadline, f->options->timeout_ms, 0);
    init_timer(f, &f->reader_timer, on_reader_check, f->options->heedless ? 0 : READER_CHECK_MS, READER_CHECK_MS);
    rc = subscription_open(&f->loop, &link, request, &ops, f, &f->subscription);
    if (rc < 0) {
        cli_error(f->cli, "cannot subscribe at %s: %s", f->cli->broker, uv_strerror(rc));
        stop(f, rc == UV_EINVAL ? EXIT_USAGE : EXIT_FAILED, false);
    }
    return 0;
}

static int finish(struct follow *f)
{
    int rc = presenter_end(f->presenter);
    if (rc < 0 && rc != UV_EPIPE) {
        cli_error(f->cli, "cannot write the output: %s", uv_strerror(rc));
        if (f->code == EXIT_OK || f->code == EXIT_GAP || f->code == EXIT_INTERRUPTED)
            f->code = EXIT_FAILED;
    }
    /* Who resumed there would miss what was not written. */
    if (rc == 0 && f->hint && f->has_position) {
        char text[POSITION_TEXT_BYTES];
        cli_error(f->cli, "resume with --since %s", position_text(f->epoch, f->sequence, text));
    }
    return f->code;
}

int follow_run(struct cli *cli, const struct follow_options *options, struct presenter *presenter)
{
    struct follow f = {.cli = cli, .options = options, .presenter = presenter};
    Sensebus__V1__Position position = SENSEBUS__V1__POSITION__INIT;
    Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    request.filter = options->filter;
    request.snapshot = options->snapshot;
    request.stop_at_newest = options->stop_at_newest;
    request.mark_interval_ms = MARK_INTERVAL_MS;
    f.code = set_start(cli, options, &request, &position);
    if (f.code != EXIT_OK)
        return finish(&f);
    int rc = uv_loop_init(&f.loop);
    if (rc == 0)
        rc = start(&f, &request);
    if (rc < 0) {
        cli_error(cli, "cannot start: %s", uv_strerror(rc));
        f.code = EXIT_FAILED;
        return finish(&f);
    }
    uv_run(&f.loop, UV_RUN_DEFAULT);
    uv_loop_close(&f.loop);
    return finish(&f);
}
