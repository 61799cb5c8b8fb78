/* SPDX-License-Identifier: Apache-2.0 */
/* Start:  open the log, restore what the rules knew, fold what came after the last checkpoint, serve.
 * Commit: (engine) -> acknowledge to agents -> subscriptions take turns -> fold into the status, tell sessions.
 * Stop:   sessions end -> BROKER_STOPPING to the log -> committed -> subscribers and agents get their last words -> the
 * server drains
 *         -> everything closes. */
#include "broker/service/broker.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/service/admin.h"
#include "broker/service/announce.h"
#include "broker/service/subscription/subscription.h"
#include "proto/descriptors.h"
#include "proto/event_view.h"
#include "runtime/clock.h"
#include "runtime/directory.h"

#define TLS_SCHEME           "tls://"
#define TICK_MS              1000u
#define LAST_WORDS_MS        1000u /* at a stop: for streams to end when the disk took all of the grace */
#define RETENTION_POKE_TICKS 60u
#define CHECKPOINT_DEVICES   4096u
#define FOLD_TURN_MS         20u
#define FOLD_LAST_MS         1000u /* at a stop: for what the sessions have not heard yet */
#define CHECKPOINT_MS        1000u /* between two: a restart folds the log from the last one on */

static const char *const served[] = {"sensebus.v1.Events", "sensebus.v1.Agents", "sensebus.v1.Admin",
                                     "sensebus.v1.Adapter", "sensebus.v1.Sdi"};
#define N_SERVED (sizeof served / sizeof *served)

bool broker_accepting(const struct broker *b)
{
    return b->state == BROKER_RUNNING && !b->not_accepting[0];
}

/* ------------------------------------------------------------------------------------------------ the status */

/* Records that cannot be read. The status is without them; sessions hear of it, with every bit that they may have
 * had.
 */
static void tell_lost(struct broker *b, uint64_t first, uint64_t last, Sensebus__V1__LossStage stage)
{
    bool trimmed = stage == SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION;

    status_pass_over(&b->status, first, last);
    adapter_service_lost(&b->adapter, first, last, stage, trimmed ? b->journal.trimmed_bits : AIX_ALL_BITS,
                         trimmed ? "removed by retention" : "a damaged range of the log");
}

/* Each record of a run goes to the sessions and into the status: one scan for both, and none when there is no session
 * and it was noted at its acceptance what the status needs. */
static int fold_run(struct broker *b, const struct journal_run *run, uint64_t until_ns)
{
    static const struct event_limits limits = {.max_event_bytes = JOURNAL_BATCH_BYTES, .allow_broker_fields = true};
    const uint8_t *cursor = run->bytes, *end = run->bytes + run->len, *event;
    bool listens = adapter_service_listens(&b->adapter); /* a record opens no session */
    uint64_t sequence = run->first;
    struct status_note note;
    struct event_view view;
    size_t len;
    char err[128];
    int rc = 0;

    for (; !rc && records_next(&cursor, end, &event, &len); sequence++) {
        if (status_notes_take(&b->notes, sequence, &note) && !listens) {
            adapter_service_passed(&b->adapter, sequence);
            rc = status_fold_late(&b->status, &note, event, len);
            continue;
        }
        if (event_scan(event, len, &limits, &view, err, sizeof err)) {
            log_error("log.record_damaged", "sequence=%" PRIu64 " reason=\"%s\"", sequence, err);
            tell_lost(b, sequence, sequence, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE);
            continue;
        }
        adapter_service_record(&b->adapter, &view);
        rc = status_settle(&b->status);
        if (!rc)
            rc = status_fold(&b->status, &view);
        if (!rc && listens && clock_mono_ns() >= until_ns)
            rc = UV_EAGAIN;
    }
    int failed = status_settle(&b->status);
    return rc ? rc : failed;
}

/* Fold what is committed and not folded yet. Without memory it stays behind, and is made up for at the next commit.
 * UV_EAGAIN: so many sessions heard of so many records that `until_ns` has come; there may be more. */
static int fold_committed(struct broker *b, uint64_t until_ns)
{
    uint64_t at = status_done(&b->status) + 1;
    struct journal_run run;
    int rc = 0;

    while (!rc) {
        int result = journal_read(&b->journal, at, UINT64_MAX, SIZE_MAX, &run);
        if (result == JOURNAL_CAUGHT_UP) {
            status_caught_up(&b->status, at - 1);
            return 0;
        }
        if (result == JOURNAL_TRIMMED) {
            log_warn("status.not_seen", "first=%" PRIu64 " last=%" PRIu64 " reason=\"removed by retention\"", at,
                     b->journal.oldest - 1);
            tell_lost(b, at, b->journal.oldest - 1, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION);
            at = b->journal.oldest;
            continue;
        }
        if (result == JOURNAL_DAMAGED) {
            log_error("log.damaged", "first=%" PRIu64 " last=%" PRIu64, run.first, run.last);
            tell_lost(b, run.first, run.last, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE);
            at = run.last + 1;
            continue;
        }
        if (result != JOURNAL_RUN)
            return result;
        rc = fold_run(b, &run, until_ns);
        at = run.last + 1;
        journal_run_release(&run);
    }
    return rc;
}

/* Add the devices that changed to the transaction, if it is time, or retention waits for it: what it removes nobody can
 * fold again. Without memory for all of them none is added, until it is time again: records do not wait for them, and a
 * try that failed leaves nothing behind. */
static void checkpoint(struct broker *b, struct journal_write *w)
{
    struct journal_write part = {0};
    struct status_device *d;
    uint64_t now_ms = clock_mono_ns() / 1000000;
    int rc = 0;

    w->status_through = b->checkpoint_through;
    w->keep_unfolded = true;
    if (b->state == BROKER_RUNNING && !b->journal.trim_waits && now_ms - b->checkpoint_ms < CHECKPOINT_MS)
        return;
    b->checkpoint_ms = now_ms;
    uint64_t through;
    status_checkpoint_begin(&b->status, CHECKPOINT_DEVICES, &through);
    TAILQ_FOREACH(d, &b->status.flight, flight)
    {
        size_t len = d->gone ? 0 : status_encoded_size(d);
        uint8_t *bytes = d->gone ? NULL : malloc(len ? len : 1);
        if (!d->gone && !bytes) {
            rc = UV_ENOMEM;
            break;
        }
        if (bytes)
            status_encode(d, bytes);
        rc = journal_write_put(&part, JOURNAL_STATUS, d->key, d->key_len, bytes, len);
        free(bytes);
        if (rc)
            break;
    }
    if (rc) {
        journal_write_deinit(&part);
        status_checkpoint_end(&b->status, false);
        if (rc != b->checkpoint_error) /* once: where retention waits for it, every transaction tries again */
            log_warn("status.not_stored", "reason=\"%s\" action=\"tried again\"", uv_strerror(rc));
        b->checkpoint_error = rc;
        return;
    }
    b->checkpoint_error = 0;
    journal_write_join(w, &part);
    b->checkpoint_through = w->status_through = through;
}

/* ------------------------------------------------------------------------------------------------ commits */

static void set_agents_health(struct broker *b, bool serving)
{
    if (b->health)
        grpc_health_set(b->health, "sensebus.v1.Agents", serving);
}

static int on_seal(void *data, struct journal_write *w, uint64_t through)
{
    struct broker *b = data;
    int rc = agents_on_seal(&b->agents, w, through);

    if (!rc)
        checkpoint(b, w);
    return rc;
}

static void on_fold(uv_idle_t *handle);

/* A turn of folding; what is left comes after what else the loop has to do. So a host with very many sessions, and an
 * agent that tells them all of everything, hold up nobody. */
static void fold(struct broker *b)
{
    int rc = fold_committed(b, clock_mono_ns() + FOLD_TURN_MS * 1000000ull);

    if (rc == UV_EAGAIN)
        uv_idle_start(&b->folding, on_fold);
    else
        uv_idle_stop(&b->folding);
    if (rc && rc != UV_EAGAIN)
        log_warn("status.behind", "through=%" PRIu64 " newest=%" PRIu64, b->status.through, b->journal.newest);
    adapter_service_delivered(&b->adapter);
}

static void on_fold(uv_idle_t *handle)
{
    fold(handle->data);
}

static void on_committed(void *data, uint64_t from, uint64_t through)
{
    struct broker *b = data;

    (void)from;
    if (b->status.in_flight)
        status_checkpoint_end(&b->status, true);
    /* What is queued last is written first: records go out before the acknowledgement of the same commit. */
    agents_on_committed(&b->agents, through);
    events_on_committed(&b->events);
    if (!uv_is_active((uv_handle_t *)&b->folding))
        fold(b);
    if (b->state == BROKER_RUNNING && b->not_accepting[0]) {
        b->not_accepting[0] = 0;
        set_agents_health(b, true);
        log_info("log.writable_again", "newest=%" PRIu64, b->journal.newest);
    }
}

static void on_failed(void *data, int error)
{
    struct broker *b = data;

    agents_pause(&b->agents);
    if (b->not_accepting[0])
        return;
    snprintf(b->not_accepting, sizeof b->not_accepting, "the log cannot be written: %s", uv_strerror(error));
    set_agents_health(b, false);
    log_error("log.not_writable", "directory=%s reason=\"%s\" action=\"agents keep their events; tried again\"",
              b->options.data_directory, uv_strerror(error));
}

static void on_room(void *data)
{
    struct broker *b = data;
    agents_resume(&b->agents);
}

/* ------------------------------------------------------------------------------------------------ start */

static int on_stored_dedupe(void *data, const struct store_value *key, const struct store_value *value)
{
    int rc = dedupe_load(data, key->data, key->len, value->data, value->len);

    if (rc == UV_EINVAL) {
        log_warn("dedupe.damaged_entry", "bytes=%zu", key->len);
        rc = 0;
    }
    return rc;
}

static int on_stored_status(void *data, const struct store_value *key, const struct store_value *value)
{
    int rc = status_load(data, key->data, key->len, value->data, value->len);

    if (rc == UV_EINVAL) {
        log_warn("status.damaged_entry", "key=\"%.*s\"", (int)(key->len < 512 ? key->len : 512),
                 (const char *)key->data);
        rc = 0;
    }
    return rc;
}

/* What the rules knew when the log was closed. */
static int restore(struct broker *b)
{
    int rc = journal_each(&b->journal, JOURNAL_DEDUPE, on_stored_dedupe, &b->dedupe);

    if (!rc)
        rc = dedupe_loaded(&b->dedupe);
    if (!rc)
        rc = journal_each(&b->journal, JOURNAL_STATUS, on_stored_status, &b->status);
    if (!rc)
        rc = status_loaded(&b->status, b->journal.status_through);
    if (!rc)
        rc = cursor_store_load(&b->cursors, &b->journal);
    if (!rc)
        rc = fold_committed(b, UINT64_MAX);
    if (!rc)
        log_info("status.restored", "devices=%zu folded=%" PRIu64, b->status.n,
                 b->journal.newest - b->journal.status_through);
    return rc;
}

/* Our name in origin.host: the host's, with what a name may not hold replaced. */
static void name_host(char out[DIRECTORY_MAX_HOST + 1])
{
    char name[DIRECTORY_MAX_HOST + 1] = "";
    size_t len = sizeof name;

    if (uv_os_gethostname(name, &len) || !name[0])
        snprintf(name, sizeof name, "broker");
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '-';
    snprintf(out, DIRECTORY_MAX_HOST + 1, "%s", name);
}

bool broker_listen_is_tls(const char *listen)
{
    return strncmp(listen, TLS_SCHEME, strlen(TLS_SCHEME)) == 0;
}

const char *broker_listen_address(const char *listen)
{
    return listen + (broker_listen_is_tls(listen) ? strlen(TLS_SCHEME) : 0);
}

static int listen_all(struct broker *b, char *err, size_t err_len)
{
    const struct broker_options *o = &b->options;
    int rc = 0;

    for (size_t i = 0; !rc && i < o->n_listen; i++) {
        struct grpc_listen_options options = {.insecure = o->insecure};
        if (broker_listen_is_tls(o->listen[i])) {
            if (!b->tls)
                rc = tls_context_new(true, &o->tls, &b->tls, err, err_len);
            options.tls = b->tls;
        }
        if (!rc)
            rc = grpc_server_listen(b->server, broker_listen_address(o->listen[i]), &options, err, err_len);
    }
    return rc;
}

static int serve(struct broker *b, char *err, size_t err_len)
{
    const struct grpc_limits limits = {.max_connections = b->options.max_connections};
    int rc = grpc_server_new(b->loop, &limits, &b->server);

    if (!rc)
        rc = grpc_health_new(b->server, &b->health);
    if (!rc)
        rc = grpc_reflection_new(b->server, sensebus_descriptor_set, sensebus_descriptor_set_len, served, N_SERVED,
                                 &b->reflection);
    if (!rc)
        rc = agents_start(&b->agents, b, &b->adapter);
    if (!rc)
        rc = reader_accounts_init(&b->readers, &b->options.reader_limits);
    if (!rc)
        rc = events_start(&b->events, b);
    if (!rc)
        rc = admin_start(b);
    if (!rc)
        rc = adapter_service_start(
            &b->adapter,
            &(struct adapter_outside){
                .loop = b->loop, .server = b->server, .directory = &b->directory, .commit = &b->commit, .broker = b},
            &b->options.adapter_limits, b->journal.newest, b->journal.newest_time_ns);
    if (!rc)
        rc = sdi_service_start(&b->sdi, b);
    for (size_t i = 0; !rc && i < N_SERVED; i++)
        rc = grpc_health_set(b->health, served[i], true);
    if (rc) {
        snprintf(err, err_len, "cannot start serving: %s", uv_strerror(rc));
        return rc;
    }
    return listen_all(b, err, err_len);
}

static void on_tick(uv_timer_t *timer);
static void close_all(struct broker *b);

int broker_start(struct broker *b, uv_loop_t *loop, const struct broker_options *options, char *err, size_t err_len)
{
    static const struct commit_ops commit_ops = {
        .on_seal = on_seal, .on_committed = on_committed, .on_failed = on_failed, .on_room = on_room};
    uint64_t random[3];
    char reason[256];

    memset(b, 0, sizeof *b);
    b->loop = loop;
    b->options = *options;
    b->started_unix_ns = clock_wall_ns();
    name_host(b->host);
    int rc = uv_random(NULL, NULL, random, sizeof random, 0, NULL);
    if (rc) {
        snprintf(err, err_len, "no random numbers: %s", uv_strerror(rc));
        return rc;
    }
    struct journal_options journal_options = {
        .directory = options->data_directory,
        .map_bytes = options->map_bytes,
        .relaxed = options->relaxed,
        .new_epoch = random[0] ? random[0] : 1,
    };
    dedupe_init(&b->dedupe, random[1], 0);
    status_init(&b->status, random[2], 0, 0);
    directory_init(&b->directory, 0, 0, 0);
    cursor_store_init(&b->cursors, random[1]);
    rc = directory_make(options->data_directory);
    if (rc) {
        snprintf(err, err_len, "data directory %s: %s", options->data_directory, uv_strerror(rc));
        goto fail;
    }
    rc = journal_open(&b->journal, &journal_options, reason, sizeof reason);
    if (rc) {
        snprintf(err, err_len, "data directory %s: %s", options->data_directory, reason);
        goto fail;
    }
    b->log_open = true;
    b->checkpoint_through = b->journal.status_through;
    if (b->journal.store.started_over)
        log_error("log.started_over", "directory=%s reason=\"durability was relaxed and the machine went down\"",
                  options->data_directory);
    rc = restore(b);
    if (!rc)
        rc = commit_init(&b->commit, loop, &b->journal, &options->retention, &commit_ops, b);
    if (!rc && options->checkpoint_ms > 0)
        commit_settle_after(&b->commit, options->checkpoint_ms);
    if (rc) {
        snprintf(err, err_len, "data directory %s: cannot restore the state: %s", options->data_directory,
                 uv_strerror(rc));
        goto fail;
    }
    b->commit_open = true;
    uv_timer_init(loop, &b->tick);
    uv_idle_init(loop, &b->folding);
    b->tick.data = b->folding.data = b;
    b->tick_open = true;
    rc = serve(b, err, err_len);
    if (rc)
        goto fail;
    uv_timer_start(&b->tick, on_tick, TICK_MS, TICK_MS);
    return 0;
fail:
    close_all(b);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ stop */

static void on_commit_closed(void *data)
{
    struct broker *b = data;

    b->commit_open = false;
    close_all(b);
}

static void on_server_closed(void *data)
{
    struct broker *b = data;

    grpc_health_free(b->health);
    grpc_reflection_free(b->reflection);
    tls_context_unref(b->tls);
    b->health = NULL;
    b->reflection = NULL;
    b->tls = NULL;
    b->server = NULL;
    close_all(b);
}

/* Close one thing after the other; each that takes time comes back here. */
static void close_all(struct broker *b)
{
    if (b->state != BROKER_CLOSING) {
        b->state = BROKER_CLOSING;
        if (b->tick_open) {
            uv_close((uv_handle_t *)&b->tick, NULL);
            uv_close((uv_handle_t *)&b->folding, NULL);
        }
        if (b->server) {
            grpc_server_close(b->server, on_server_closed, b);
            return;
        }
    }
    if (b->server)
        return;
    agents_stop(&b->agents);
    events_stop(&b->events);
    reader_accounts_deinit(&b->readers);
    adapter_service_close(&b->adapter);
    sdi_service_stop(&b->sdi);
    if (b->commit_open) {
        if (!b->commit.closing)
            commit_close(&b->commit, on_commit_closed);
        return;
    }
    agents_deinit(&b->agents);
    adapter_service_deinit(&b->adapter);
    cursor_store_deinit(&b->cursors);
    directory_deinit(&b->directory);
    status_deinit(&b->status);
    status_notes_deinit(&b->notes);
    known_events_deinit(&b->known);
    dedupe_deinit(&b->dedupe);
    if (b->log_open)
        journal_close(&b->journal);
    b->log_open = false;
    b->state = BROKER_CLOSED;
    if (b->on_closed)
        b->on_closed(b->on_closed_data);
}

static void on_drained(void *data)
{
    close_all(data);
}

/* One grace for the disk and for the streams together. */
static void drain(struct broker *b)
{
    struct subscription *s;
    uint64_t now_ms = clock_mono_ns() / 1000000, left_ms = now_ms < b->stop_by_ms ? b->stop_by_ms - now_ms : 0;

    if (b->state != BROKER_STOPPING)
        return;
    if (left_ms < LAST_WORDS_MS)
        left_ms = LAST_WORDS_MS < b->options.drain_grace_ms ? LAST_WORDS_MS : b->options.drain_grace_ms;
    b->state = BROKER_DRAINING;
    commit_forget(&b->stopping_written);
    TAILQ_FOREACH(s, &b->events.all, all) /* those who keep up hear BROKER_STOPPING before their stream ends */
    subscription_turn(s);
    grpc_server_drain(b->server, (uint32_t)left_ms, on_drained, b);
}

static void on_stopping_written(struct commit_waiter *waiter)
{
    drain((struct broker *)((char *)waiter - offsetof(struct broker, stopping_written)));
}

void broker_stop(struct broker *b, void (*cb)(void *data), void *data)
{
    char summary[DIRECTORY_MAX_HOST + 64];

    if (b->state != BROKER_RUNNING)
        return;
    b->state = BROKER_STOPPING;
    b->on_closed = cb;
    b->on_closed_data = data;
    b->stop_by_ms = clock_mono_ns() / 1000000 + b->options.drain_grace_ms;
    snprintf(b->not_accepting, sizeof b->not_accepting, "the broker is stopping");
    log_info("broker.stopping", "newest=%" PRIu64, b->commit.newest);
    grpc_health_set(b->health, "", false);
    for (size_t i = 0; i < N_SERVED; i++)
        grpc_health_set(b->health, served[i], false);
    if (uv_is_active((uv_handle_t *)&b->folding))
        fold_committed(b, clock_mono_ns() + FOLD_LAST_MS * 1000000ull);
    adapter_service_stop(&b->adapter); /* what it announces stands in the log before the stop */
    snprintf(summary, sizeof summary, "the broker on %s is stopping", b->host);
    announce(b, SENSEBUS__V1__CODE__BROKER_STOPPING, b->host, summary);
    b->stopping_written.cb = on_stopping_written;
    commit_wait(&b->commit, &b->stopping_written);
}

static void on_tick(uv_timer_t *timer)
{
    struct broker *b = timer->data;
    uint64_t now_ms = clock_mono_ns() / 1000000;

    if (b->state == BROKER_STOPPING && now_ms >= b->stop_by_ms) {
        log_error("broker.stopping_not_written", "reason=\"the disk did not take the last records in time\"");
        drain(b);
    }
    if (b->state != BROKER_RUNNING)
        return;
    bool retention_due = b->options.retention.max_age_ns && ++b->n_ticks % RETENTION_POKE_TICKS == 0;
    /* When it is quiet the checkpoints go on until the store knows every device, a start then folds nothing; and until
     * retention waits for none. */
    bool checkpoint_due =
        (!TAILQ_EMPTY(&b->status.dirty) || b->journal.trim_waits) && now_ms - b->checkpoint_ms >= CHECKPOINT_MS;
    if (retention_due || (checkpoint_due && commit_idle(&b->commit)))
        commit_poke(&b->commit);
}
