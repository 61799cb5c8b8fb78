/* SPDX-License-Identifier: Apache-2.0 */
/* Three sources (watched.h); sessions and their buffers are receive.h's, the data comes from feed.h. */
#include "agent/target/target_mode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/numbers.h"
#include "agent/record.h"
#include "agent/target/feed.h"
#include "agent/target/lio.h"
#include "agent/target/receive.h"
#include "agent/target/tgtd.h"
#include "agent/target/watched.h"
#include "agent/target_url.h"
#include "runtime/log.h"

#define LIO_ROOT_DEFAULT "/sys/kernel/config/target"
#define POLL_DEFAULT_MS  1000

enum source_kind { SOURCE_TGTD, SOURCE_LIO, SOURCE_FEED, N_SOURCES };

static const struct change_source sources[N_SOURCES] = {
    [SOURCE_TGTD] = {"tgt", 1000000, "tgtd-state", true},
    [SOURCE_LIO] = {"lio", 2000000, "lio-state", true},
    [SOURCE_FEED] = {"feed", 3000000, "target-feed", false},
};
static const char *const instances[N_SOURCES] = {"tgtd", "lio", "feed"};

struct target_mode {
    uv_loop_t *loop;
    const struct target_mode_ops *ops;
    void *data;
    struct watched watched[N_SOURCES];
    struct tgtd tgtd;
    struct lio lio;
    struct feed feed;
    struct numbers initiators, lio_targets, feed_targets;
    struct receive receive;
    uv_timer_t pause; /* stopping ends from the loop, also without sources */
    int n_open;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* ------------------------------------------------------------------------------------------------ LIO */

/* LIO's targets have a name and a group; both together get a number. */
static int32_t lio_number(void *data, const struct snapshot_target *target)
{
    struct target_mode *t = data;
    char key[SNAPSHOT_NAME_BYTES + 8];

    snprintf(key, sizeof key, "%s,%" PRId32, target->name, target->number);
    return numbers_get(&t->lio_targets, key);
}

static void on_lio_snapshot(void *data, struct snapshot *snapshot)
{
    struct target_mode *t = data;

    snapshot_renumber(snapshot, lio_number, t);
    watched_snapshot(&t->watched[SOURCE_LIO], snapshot);
}

static void on_lio_failed(void *data, bool gone, const char *reason)
{
    struct target_mode *t = data;

    watched_failed(&t->watched[SOURCE_LIO], gone, reason);
}

/* ------------------------------------------------------------------------------------------------ the feed */

static void on_serves(void *data, const struct feed_message *message)
{
    struct target_mode *t = data;
    struct snapshot snapshot = {0};
    const uint8_t *cursor = message->data;
    const char *text;
    char name[SNAPSHOT_NAME_BYTES];
    size_t len;
    int rc = 0;

    while (rc == 0 && feed_next_name(&cursor, message->data + message->len, &text, &len)) {
        int32_t number;

        snprintf(name, sizeof name, "%.*s", (int)len, text);
        number = numbers_get(&t->feed_targets, name);
        rc = snapshot_add_target(&snapshot, number, text, len); /* a negative number is left out */
    }
    if (rc == 0) {
        snapshot_finish(&snapshot);
        watched_snapshot(&t->watched[SOURCE_FEED], &snapshot);
    } else {
        watched_failed(&t->watched[SOURCE_FEED], false, "out of memory");
    }
    snapshot_free(&snapshot);
}

static bool on_data(void *data, const struct feed_message *m, bool first)
{
    struct target_mode *t = data;
    struct receive *r = &t->receive;

    if (first && receive_begin(r, m->target, m->target_len, m->initiator, m->initiator_len, m->len) == 0) {
        log_debug("feed.nobody", "target=%.*s initiator=%.*s bytes=%zu", (int)m->target_len, m->target,
                  (int)m->initiator_len, m->initiator, m->len);
        return true;
    }
    return receive_deliver(r, m->data, m->len);
}

static void on_feed_down(void *data, bool gone, const char *reason)
{
    struct target_mode *t = data;

    receive_abandon(&t->receive);
    watched_failed(&t->watched[SOURCE_FEED], gone, reason);
}

/* ------------------------------------------------------------------------------------------------ adapters */

size_t target_mode_n_adapters(const struct target_mode *t)
{
    size_t n = 0;

    for (size_t i = 0; i < N_SOURCES; i++)
        n += t->watched[i].now.n_targets;
    return n < TARGET_MODE_MAX_ADAPTERS ? n : TARGET_MODE_MAX_ADAPTERS;
}

void target_mode_adapter_at(const struct target_mode *t, size_t index, struct target_mode_adapter *out)
{
    size_t kind = 0;

    while (index >= t->watched[kind].now.n_targets)
        index -= t->watched[kind++].now.n_targets;
    watched_adapter(&t->watched[kind], index, out);
}

bool target_mode_is_adapter(const char *name)
{
    for (size_t i = 0; i < N_SOURCES; i++)
        if (watched_is_adapter(&(struct watched){.source = sources[i]}, name))
            return true;
    return false;
}

/* The source that shows the target behind an adapter's name; NULL when none does. */
static const struct watched *find_adapter(const struct target_mode *t, const char *name, size_t *out_index)
{
    for (size_t i = 0; i < N_SOURCES; i++)
        if (watched_find(&t->watched[i], name, out_index))
            return &t->watched[i];
    return NULL;
}

bool target_mode_find_adapter(const struct target_mode *t, const char *name, struct target_mode_adapter *out)
{
    size_t index;
    const struct watched *w = find_adapter(t, name, &index);

    if (w)
        watched_adapter(w, index, out);
    return w;
}

bool target_mode_find_lio(const struct target_mode *t, const char *target_name, struct target_mode_adapter *out)
{
    const struct watched *w = &t->watched[SOURCE_LIO];

    for (size_t i = 0; i < w->now.n_targets; i++) {
        if (strcmp(w->now.targets[i].name, target_name) != 0)
            continue;
        watched_adapter(w, i, out);
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------ sessions */

static bool __attribute__((format(printf, 4, 5))) refuse(struct target_mode_result *out, Sensebus__V1__Errno error,
                                                         Sensebus__V1__EinvalDetail detail, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    out->error = error;
    out->detail = detail;
    vsnprintf(out->message, sizeof out->message, format, args);
    va_end(args);
    return false;
}

static bool refuse_value(struct target_mode_result *out, Sensebus__V1__EinvalDetail detail, const char *message)
{
    return refuse(out, SENSEBUS__V1__ERRNO__ERRNO_EINVAL, detail, "%s", message);
}

static bool refuse_address(struct target_mode_result *out, const char *message)
{
    return refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_ADDRESS, message);
}

static bool check_adapter(struct target_mode *t, const Sensebus__V1__DeviceAddress *address,
                          struct target_mode_adapter *adapter, struct target_mode_result *out)
{
    bool any = false;

    for (size_t i = 0; i < N_SOURCES; i++)
        any = any || t->watched[i].on;
    if (!any)
        return refuse(out, SENSEBUS__V1__ERRNO__ERRNO_ENXIO, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_SUPPORTED,
                      "the agent watches no target of its host");
    if (address->adapter[0]) {
        if (!target_mode_find_adapter(t, address->adapter, adapter))
            return refuse_address(out, "no such served target");
    } else if (target_mode_n_adapters(t) == 1) {
        target_mode_adapter_at(t, 0, adapter);
    } else {
        return refuse_address(out, "the host does not serve exactly one target: name the adapter");
    }
    snprintf(out->adapter, sizeof out->adapter, "%s", adapter->name);
    out->controller = adapter->controller;
    return true;
}

static bool check_initiator(const struct target_mode *t, const Sensebus__V1__DeviceAddress *address,
                            const struct target_mode_adapter *adapter, struct target_mode_result *out)
{
    const char *name = address->target_name[0] ? address->target_name : numbers_name(&t->initiators, address->target);

    if (address->lun != 0)
        return refuse_address(out, "lun: in target mode it is 0");
    if (!name || !target_name_valid(name))
        return refuse_address(out, "target_name: not the iSCSI name of an initiator, nor a number of one");
    if (strcmp(name, adapter->own_id) == 0)
        return refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_OWN_ID,
                            "target_name: that is the served target itself");
    snprintf(out->initiator, sizeof out->initiator, "%s", name);
    return true;
}

/* Last: a number is kept for ever. */
static bool number_initiator(struct target_mode *t, struct target_mode_result *out)
{
    out->target = numbers_get(&t->initiators, out->initiator);
    return out->target >= 0 ||
           refuse(out, SENSEBUS__V1__ERRNO__ERRNO_ENOMEM, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NONE,
                  "no number for this initiator: %s", uv_strerror(out->target));
}

static bool check_buffers(const Sensebus__V1__StartTarget *start, struct target_mode_result *out)
{
    if (start->buffer_bytes == 0 || start->buffer_bytes > TARGET_MODE_MAX_BUFFER_BYTES)
        return refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_BUFFERS, "buffer_bytes: 1 to 4,096");
    if (start->n_buffers < TARGET_MODE_MIN_BUFFERS)
        return refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_BUFFERS, "n_buffers: at least 16");
    if (start->n_buffers > TARGET_MODE_MAX_BUFFERS)
        return refuse(out, SENSEBUS__V1__ERRNO__ERRNO_ENOMEM, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NONE,
                      "n_buffers: this agent gives a session at most %d", TARGET_MODE_MAX_BUFFERS);
    return true;
}

void target_mode_open(struct target_mode *t, const char *session_id, uint64_t generation,
                      const Sensebus__V1__StartTarget *start, struct target_mode_result *out)
{
    static const Sensebus__V1__DeviceAddress nowhere = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    const Sensebus__V1__DeviceAddress *address = start->address ? start->address : &nowhere;
    struct receive_session session = {.generation = generation, .buffer_bytes = start->buffer_bytes};
    struct target_mode_adapter adapter;
    const struct watched *w;
    size_t index;
    int rc;

    memset(out, 0, sizeof *out);
    if (!check_adapter(t, address, &adapter, out) || !check_initiator(t, address, &adapter, out) ||
        !check_buffers(start, out))
        return;
    if (!session_id[0] || strlen(session_id) >= sizeof session.id) {
        refuse_address(out, "session_id: 1 to 63 bytes");
        return;
    }
    if (!number_initiator(t, out))
        return;
    strcpy(session.id, session_id); /* it fits: checked above */
    memcpy(session.initiator, out->initiator, sizeof session.initiator);
    memcpy(session.adapter, out->adapter, sizeof session.adapter);
    snprintf(session.target, sizeof session.target, "%s", adapter.own_id);
    session.controller = out->controller;
    session.initiator_number = out->target;
    rc = receive_open(&t->receive, &session, start->n_buffers);
    if (rc == UV_EEXIST)
        refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_ALREADY_STARTED, "this session is open");
    else if (rc < 0)
        refuse(out, SENSEBUS__V1__ERRNO__ERRNO_ENOMEM, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NONE,
               "no more target-mode sessions: %s", uv_strerror(rc));
    else if ((w = find_adapter(t, out->adapter, &index)))
        out->logged_in = watched_logged_in(w, index, out->initiator);
}

bool target_mode_close(struct target_mode *t, const char *session_id, uint64_t generation)
{
    struct receive_session *s = receive_find(&t->receive, session_id, generation);

    if (!s)
        return false;
    receive_close(&t->receive, s);
    feed_continue(&t->feed);
    return true;
}

void target_mode_close_all(struct target_mode *t)
{
    receive_close_all(&t->receive);
    feed_continue(&t->feed);
}

void target_mode_register(const struct target_mode *t, const char *session_id, uint64_t generation,
                          struct target_mode_result *out)
{
    const struct receive_session *s = receive_find(&t->receive, session_id, generation);
    size_t index;

    memset(out, 0, sizeof *out);
    if (!s)
        refuse_value(out, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_STARTED, "no such session");
    else if (!find_adapter(t, s->adapter, &index))
        refuse(out, SENSEBUS__V1__ERRNO__ERRNO_ENXIO, SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_SUPPORTED,
               "the target is no longer served");
}

void target_mode_release(struct target_mode *t, const char *session_id, uint64_t generation, uint32_t n_buffers)
{
    struct receive_session *s = receive_find(&t->receive, session_id, generation);

    if (s && receive_release(&t->receive, s, n_buffers))
        feed_continue(&t->feed);
}

void target_mode_writable(struct target_mode *t)
{
    feed_continue(&t->feed);
}

/* ------------------------------------------------------------------------------------------------ buffers */

static bool on_received(void *data, const struct receive_session *s, const uint8_t *bytes, size_t len)
{
    struct target_mode *t = data;

    return t->ops->on_received(t->data, s->id, s->generation, bytes, len);
}

static void tell_buffers(struct target_mode *t, const struct receive_session *s, uint32_t code, const char *words)
{
    char detail[128];
    struct record record = {
        .code = code,
        .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
        .mode = SENSEBUS__V1__MODE__MODE_TARGET,
        .place = {.adapter = s->adapter,
                  .controller = s->controller,
                  .target = s->initiator_number,
                  .lun = -1,
                  .target_name = s->initiator},
        .native = {.name = sources[SOURCE_FEED].native_name, .detail = detail},
        .session_id = s->id,
    };

    snprintf(detail, sizeof detail, "%s: %" PRIu32 " of %" PRIu32 " receive buffers are held", words, s->buffers.held,
             s->buffers.total);
    watched_tell(&t->watched[SOURCE_FEED], &record);
}

static void on_exhausted(void *data, const struct receive_session *s)
{
    tell_buffers(data, s, SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED, "data is delayed");
}

static void on_resumed(void *data, const struct receive_session *s)
{
    tell_buffers(data, s, SENSEBUS__V1__CODE__BUFFERS_RESUMED, "data goes on");
}

/* ------------------------------------------------------------------------------------------------ life */

static void target_mode_free(struct target_mode *t)
{
    for (size_t i = 0; i < N_SOURCES; i++)
        watched_deinit(&t->watched[i]);
    receive_deinit(&t->receive);
    numbers_free(&t->initiators);
    numbers_free(&t->lio_targets);
    numbers_free(&t->feed_targets);
    free(t);
}

static void one_stopped(void *data)
{
    struct target_mode *t = data;
    void (*cb)(void *) = t->on_stopped;
    void *cb_data = t->on_stopped_data;

    if (--t->n_open > 0)
        return;
    target_mode_free(t);
    if (cb)
        cb(cb_data);
}

static void on_pause_closed(uv_handle_t *handle)
{
    one_stopped(handle->data);
}

static int load_numbers(struct target_mode *t, const char *directory, char *err, size_t err_len)
{
    /* Whoever may log in causes names of initiators: they must not make the loop wait for the disk. */
    int rc = numbers_load(&t->initiators, directory, "initiators", NUMBERS_MAX, false);

    if (rc == 0)
        rc = numbers_load(&t->lio_targets, directory, "lio-targets", NUMBERS_MAX, true);
    if (rc == 0)
        rc = numbers_load(&t->feed_targets, directory, "feed-targets", NUMBERS_MAX, true);
    if (rc < 0)
        snprintf(err, err_len, "numbers of initiators and targets in %s: %s", directory, uv_strerror(rc));
    return rc;
}

_Static_assert(TARGET_MODE_SOCKET_BYTES == TGTD_PATH_BYTES, "both are sun_path");

int target_mode_tgtd_socket(const char *given, char out[TARGET_MODE_SOCKET_BYTES])
{
    return tgtd_find_socket(given, out);
}

const char *target_mode_lio_root(const char *given)
{
    return strcmp(given, "auto") == 0 ? LIO_ROOT_DEFAULT : given;
}

/* The feed first: it alone can fail for another reason than its option. */
static int start_sources(struct target_mode *t, const struct target_mode_options *o, char *err, size_t err_len)
{
    static const struct snapshot_ops tgtd_ops = {.on_snapshot = watched_snapshot, .on_failed = watched_failed};
    static const struct snapshot_ops lio_ops = {.on_snapshot = on_lio_snapshot, .on_failed = on_lio_failed};
    static const struct feed_ops feed_ops = {.on_serves = on_serves, .on_data = on_data, .on_down = on_feed_down};
    const char *root = o->lio_root ? target_mode_lio_root(o->lio_root) : NULL;
    uint32_t poll_ms = o->poll_ms ? o->poll_ms : POLL_DEFAULT_MS;
    char socket[TGTD_PATH_BYTES] = "";
    int rc = 0;

    if (o->tgtd_socket && tgtd_find_socket(o->tgtd_socket, socket) < 0) {
        snprintf(err, err_len, "tgtd: the path of a socket has at most %d bytes", TGTD_PATH_BYTES - 1);
        return UV_EINVAL;
    }
    if (root && strlen(root) >= LIO_ROOT_BYTES) {
        snprintf(err, err_len, "lio: the path has at most %d bytes", LIO_ROOT_BYTES - 1);
        return UV_EINVAL;
    }
    if (o->feed)
        rc = feed_start(&t->feed, t->loop, o->feed, &feed_ops, t);
    if (rc < 0) {
        snprintf(err, err_len, "target-feed: %s", uv_strerror(rc));
        return rc == UV_ENOMEM ? rc : UV_EINVAL;
    }
    if (o->tgtd_socket)
        tgtd_start(&t->tgtd, t->loop, socket, poll_ms, &tgtd_ops, &t->watched[SOURCE_TGTD]);
    if (root)
        lio_start(&t->lio, t->loop, root, poll_ms, &lio_ops, t);
    if (o->tgtd_socket)
        watched_start(&t->watched[SOURCE_TGTD]);
    if (root)
        watched_start(&t->watched[SOURCE_LIO]);
    if (o->feed)
        watched_start(&t->watched[SOURCE_FEED]);
    return 0;
}

int target_mode_start(uv_loop_t *loop, const struct target_mode_options *options, const struct target_mode_ops *ops,
                      void *data, struct target_mode **out_target_mode, char *err, size_t err_len)
{
    static const struct receive_ops receive_ops = {
        .on_received = on_received, .on_exhausted = on_exhausted, .on_resumed = on_resumed};
    struct target_mode *t = calloc(1, sizeof *t);
    int rc;

    if (!t) {
        snprintf(err, err_len, "out of memory");
        return UV_ENOMEM;
    }
    t->loop = loop;
    t->ops = ops;
    t->data = data;
    for (size_t i = 0; i < N_SOURCES; i++)
        t->watched[i] = (struct watched){.source = sources[i],
                                         .instance = instances[i],
                                         .ops = ops,
                                         .data = data,
                                         .coverage = options->coverage,
                                         .initiators = &t->initiators};
    receive_init(&t->receive, &receive_ops, t);
    rc = load_numbers(t, options->state_directory, err, err_len);
    if (rc == 0)
        rc = start_sources(t, options, err, err_len);
    if (rc < 0) {
        target_mode_free(t);
        return rc;
    }
    uv_timer_init(loop, &t->pause);
    t->pause.data = t;
    *out_target_mode = t;
    return 0;
}

void target_mode_stop(struct target_mode *t, void (*cb)(void *data), void *data)
{
    if (!t)
        return;
    t->on_stopped = cb;
    t->on_stopped_data = data;
    t->n_open = 1 + t->watched[SOURCE_TGTD].on + t->watched[SOURCE_LIO].on + t->watched[SOURCE_FEED].on;
    receive_close_all(&t->receive);
    if (t->watched[SOURCE_TGTD].on)
        tgtd_stop(&t->tgtd, one_stopped, t);
    if (t->watched[SOURCE_LIO].on)
        lio_stop(&t->lio, one_stopped, t);
    if (t->watched[SOURCE_FEED].on)
        feed_stop(&t->feed, one_stopped, t);
    uv_close((uv_handle_t *)&t->pause, on_pause_closed);
}

void target_mode_prove(struct target_mode *t)
{
    watched_prove(&t->watched[SOURCE_FEED]); /* the others prove it with each look */
}

bool target_mode_has_looked(const struct target_mode *t)
{
    for (size_t i = 0; i < N_SOURCES; i++)
        if (!watched_has_looked(&t->watched[i]))
            return false;
    return true;
}
