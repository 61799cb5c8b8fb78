/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path: WAITING -(dial)-> DIALLING -(login)-> UP: survey (REPORT LUNS), each unit identified and drained,
 * then a poll of every unit at each tick. "Reported LUNs data has changed", or a unit that is suddenly not supported,
 * asks for a survey: when the units are quiet, REPORT LUNS, one event for all who said so, then the differences.
 *
 * Cannot connect, login refused: reported once for each portal; the next portal, without delay until each had its try,
 * then WAITING with back-off.
 * Session lost: NEXUS_LOST, WAITING, the next portal; the login that succeeds after that is NEXUS_RESTORED, and a
 * survey finds what changed meanwhile. A task management function that a subscriber asked for ended our command with
 * its own: it is sent again. The target asks for logout or negotiation: event, LEAVING, SESSION_STOPPED, WAITING.
 * watch_stop: LEAVING, SESSION_STOPPED, STOPPED; from the states without a session STOPPED at once.
 *
 *              dial   login  end     leave    stop
 *   WAITING    DIALLING                       STOPPED
 *   DIALLING          UP     WAITING          STOPPED
 *   UP                       WAITING LEAVING  LEAVING
 *   LEAVING                  WAITING or STOPPED */
#include "agent/watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/async_event.h"
#include "agent/look.h"
#include "agent/survey.h"
#include "agent/watch_report.h"
#include "proto/sense.h"
#include "runtime/clock.h"
#include "sensebus/v1/event.pb-c.h"

#define REDIAL_MIN_MS    100
#define REDIAL_MAX_MS    2000
#define REFUSED_MIN_MS   500
#define REFUSED_MAX_MS   10000
#define STEADY_NS        5000000000ull /* up for so long: the next loss starts with a short delay again */
#define LOGOUT_MS        3000
#define TIME2WAIT_MAX_MS 60000

static void dial_later(struct watch *w, uint32_t delay_ms);
static void leave(struct watch *w);

static uint32_t random_next(struct watch *w)
{
    uint32_t x = w->random; /* xorshift32: jitter needs no better */

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return w->random = x;
}

static void move(struct watch *w, enum watch_state to)
{
    static const bool allowed[5][5] = {
        [WATCH_WAITING] = {[WATCH_DIALLING] = true, [WATCH_WAITING] = true, [WATCH_STOPPED] = true},
        [WATCH_DIALLING] = {[WATCH_UP] = true, [WATCH_WAITING] = true, [WATCH_STOPPED] = true},
        [WATCH_UP] = {[WATCH_WAITING] = true, [WATCH_LEAVING] = true},
        [WATCH_LEAVING] = {[WATCH_WAITING] = true, [WATCH_STOPPED] = true},
    };

    assert(allowed[w->state][to]);
    (void)allowed;
    w->state = to;
}

/* ------------------------------------------------------------------------------------------------ units */

struct unit *watch_find_unit(const struct watch *w, uint16_t lun)
{
    for (size_t i = 0; i < w->n_units; i++)
        if (w->units[i]->lun == lun)
            return w->units[i];
    return NULL;
}

/* The command of a removed unit has ended. */
static void unit_bury(struct watch *w, struct unit *u)
{
    struct unit **link = &w->gone;

    while (*link != u)
        link = &(*link)->next_gone;
    *link = u->next_gone;
    unit_free(u);
}

static void on_unit_command(struct iscsi_session *s, void *data, const struct iscsi_command_result *result)
{
    struct unit *u = data;
    struct watch *w = u->watch;

    (void)s;
    w->n_in_flight--;
    u->in_flight = false;
    if (u->gone) {
        unit_bury(w, u);
    } else if (result->end == ISCSI_COMMAND_GONE) {
        return;                                        /* on_end follows */
    } else if (result->end != ISCSI_COMMAND_ABORTED) { /* else it is still runnable, and sent again */
        unit_answer(u, result);
        watch_judge_health(w);
    }
    watch_pump(w);
}

int watch_send(struct watch *w, uint16_t lun, const struct command *c, iscsi_session_command_cb cb, void *data)
{
    int rc = w->options.session_api->command(w->session, lun, c->cdb, c->cdb_len, c->in_bytes,
                                             w->options.command_timeout_ms, cb, data);

    if (rc == 0) {
        w->options.counts->n[c->kind]++;
        w->n_in_flight++;
    }
    return rc;
}

/* Send what the units have to send, fairly: begin behind the one that was served last. A refused command (queue full,
 * session just ended) is tried again at the next answer or poll. */
void watch_pump(struct watch *w)
{
    if (w->state != WATCH_UP)
        return;
    for (size_t i = 0; i < w->n_units && w->n_in_flight < WATCH_MAX_IN_FLIGHT; i++) {
        struct unit *u = w->units[(w->next_unit + i) % w->n_units];
        struct command c;

        if (!unit_runnable(u))
            continue;
        c = unit_command(u);
        if (watch_send(w, u->lun, &c, on_unit_command, u) < 0)
            break;
        u->in_flight = true;
    }
    if (w->n_units > 0)
        w->next_unit = (w->next_unit + 1) % w->n_units;
    survey_step(w);
}

void watch_set_looked(struct watch *w)
{
    if (w->looked)
        return;
    w->looked = true;
    w->ops->on_inventory(w, w->data);
}

/* ------------------------------------------------------------------------------------------------ polling */

static void poll_later(struct watch *w);

static void on_poll(uv_timer_t *timer)
{
    struct watch *w = timer->data;

    if (w->survey_problem[0] && w->survey_skip > 0)
        w->survey_skip--;
    else if (w->survey_problem[0])
        survey_want(w);
    for (size_t i = 0; i < w->n_units; i++)
        unit_poll_due(w->units[i]);
    watch_pump(w);
    poll_later(w);
}

static void poll_later(struct watch *w)
{
    uint32_t jitter = w->options.jitter_ms ? random_next(w) % (w->options.jitter_ms + 1) : 0;

    uv_timer_start(&w->timer, on_poll, w->options.poll_ms + jitter, 0);
}

/* ------------------------------------------------------------------------------------------------ session */

static void on_login(struct iscsi_session *s, void *data, const char *portal)
{
    struct watch *w = data;
    struct record_native native = {.name = "login", .detail = "logged in"};

    (void)s;
    move(w, WATCH_UP);
    snprintf(w->portal, sizeof w->portal, "%s", portal);
    w->up_since_ns = clock_mono_ns();
    for (size_t i = 0; i < w->n_portals; i++)
        w->portals[i].failure.any = w->portals[i].redirection.any = false;
    w->n_failed = 0;
    w->time2wait_ms = 0;
    watch_report_session(w, w->lost ? SENSEBUS__V1__CODE__NEXUS_RESTORED : SENSEBUS__V1__CODE__SESSION_STARTED,
                         &native);
    w->lost = false;
    w->survey_retries = 0;
    w->survey_problem[0] = 0;
    if (w->leave_due) {
        leave(w);
        return;
    }
    watch_judge_health(w);
    survey_want(w);
    poll_later(w);
    watch_pump(w);
}

/* Forget what hung on the session. */
static void drop_session(struct watch *w)
{
    w->options.session_api->close(w->session);
    w->session = NULL;
    w->n_in_flight = 0;
    w->leave_due = false;
    asks_gone(w);
    uv_timer_stop(&w->timer);
    survey_drop(w);
    for (size_t i = 0; i < w->n_units; i++)
        unit_reset(w->units[i]);
    while (w->gone)
        unit_bury(w, w->gone);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;

    if (--w->n_open_timers == 0)
        w->ops->on_stopped(w, w->data);
}

static void stopped(struct watch *w)
{
    move(w, WATCH_STOPPED);
    watch_set_health(w, WATCH_OFF, "stopped");
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
    uv_close((uv_handle_t *)&w->settle, on_timer_closed);
}

/* The delay before the next dial. A target that refuses us is asked more rarely than one that is away. What the target
 * asked for is waited once. */
static uint32_t next_delay(struct watch *w, bool refused)
{
    uint32_t delay, time2wait_ms = w->time2wait_ms;

    if (w->up_since_ns && clock_mono_ns() - w->up_since_ns >= STEADY_NS)
        backoff_reset(&w->redial);
    if (w->up_since_ns)
        backoff_reset(&w->refused);
    w->up_since_ns = 0;
    delay = backoff_next(refused ? &w->refused : &w->redial, random_next(w));
    w->time2wait_ms = 0;
    return delay > time2wait_ms ? delay : time2wait_ms;
}

/* A session or a login ended: the portal to dial next, and how soon. Who logged out because the target asked for it
 * comes back to the same portal, and who was sent elsewhere goes there. */
static uint32_t next_dial(struct watch *w, enum watch_state was, bool refused)
{
    if (was == WATCH_DIALLING && !w->moved_to[0])
        w->n_failed++;
    if (was != WATCH_LEAVING && !w->moved_to[0])
        w->at_portal = (w->at_portal + 1) % w->n_portals;
    if (was == WATCH_DIALLING && !w->moved_to[0] && w->n_failed % w->n_portals != 0)
        return 0; /* not each of them had its try */
    return next_delay(w, refused);
}

static void dial_again(struct watch *w, enum watch_state was, bool refused)
{
    uint32_t delay_ms = next_dial(w, was, refused);

    dial_later(w, delay_ms);
    if (was == WATCH_DIALLING && delay_ms > 0 && !w->moved_to[0]) /* no other portal is left to be tried */
        watch_set_looked(w);
}

static void on_end(struct iscsi_session *s, void *data, const struct iscsi_session_fate *fate)
{
    struct watch *w = data;
    enum watch_state was = w->state;
    char detail[WATCH_REASON_BYTES - 64]; /* the words of the fate go with the session */
    char reason[WATCH_REASON_BYTES];

    (void)s;
    snprintf(detail, sizeof detail, "%s", fate->text);
    w->moved_to[0] = 0;
    if (fate->moved_to)
        snprintf(w->moved_to, sizeof w->moved_to, "%s", fate->moved_to);
    drop_session(w);
    if (was == WATCH_LEAVING) {
        watch_report_stopped(w, w->stopping ? "the agent stops" : "logged out as the target asked");
        snprintf(reason, sizeof reason, "logged out as the target asked");
    } else if (was == WATCH_UP) {
        watch_report_loss(w, fate, detail);
        snprintf(reason, sizeof reason, "session lost: %s", detail);
    } else {
        watch_report_failure(w, fate, detail);
        snprintf(reason, sizeof reason, "%s", detail);
    }
    if (w->stopping) {
        stopped(w);
        return;
    }
    move(w, WATCH_WAITING);
    watch_set_health(w, WATCH_OFF, reason);
    dial_again(w, was, fate->end == ISCSI_END_LOGIN_STATUS);
}

static void on_sense(struct iscsi_session *s, void *data, uint64_t lun_raw, int opcode, const uint8_t *sense,
                     size_t len)
{
    struct watch *w = data;
    struct unit *u, stranger = {.watch = w};
    uint16_t lun;

    (void)s;
    if (len == 0)
        return; /* CHECK CONDITION without sense: the command's answer deals with it */
    if (inventory_lun_flat(lun_raw, &lun)) {
        stranger.lun = lun;
        u = watch_find_unit(w, lun);
    } else {
        stranger.no_lun = true;
        u = NULL;
    }
    if (!u) { /* not on the list (yet): judged without memory */
        identity_init(&stranger.identity);
        u = &stranger;
    }
    unit_sense(u, sense, len, opcode);
}

static void on_logout_timeout(uv_timer_t *timer)
{
    struct watch *w = timer->data;

    drop_session(w);
    watch_report_stopped(w, "logout was not answered, connection dropped");
    if (w->stopping) {
        stopped(w);
    } else {
        move(w, WATCH_WAITING);
        watch_set_health(w, WATCH_OFF, "logged out as the target asked");
        dial_later(w, next_delay(w, false));
    }
}

static void leave(struct watch *w)
{
    move(w, WATCH_LEAVING);
    uv_timer_start(&w->timer, on_logout_timeout, LOGOUT_MS, 0);
    w->options.session_api->logout(w->session);
}

/* ------------------------------------------------------------------------------------------------ async messages */

/* What we know of the unit may be old now. */
static void act_on_async_sense(struct watch *w, struct unit *u, const struct iscsi_async_message *m)
{
    struct poll_unit scratch = {0};
    struct poll_verdict verdict;
    struct sense s;

    sense_decode(m->sense, m->sense_len, &s);
    verdict = poll_sense(&scratch, &s, false);
    if (verdict.identify && u)
        u->want_identify = u->expect_changes = true;
    if (u && compare_announced(&u->compare, verdict.code))
        u->want_look = true;
    if (verdict.survey)
        survey_want(w);
}

static uint32_t time2wait_ms(uint16_t seconds)
{
    uint32_t ms = seconds * 1000u;

    return ms < TIME2WAIT_MAX_MS ? ms : TIME2WAIT_MAX_MS;
}

static void on_async(struct iscsi_session *s, void *data, const struct iscsi_async_message *m)
{
    struct watch *w = data;
    bool sensed;
    struct record r = {
        .code = async_event_code(m, &sensed),
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .sense = m->event == 0 ? m->sense : NULL,
        .sense_len = m->sense_len,
        .native = async_event_native(m),
    };
    struct unit *u = NULL, stranger = {.watch = w};
    uint16_t lun;

    (void)s;
    if (async_event_has_lun(m) && inventory_lun_flat(m->lun_raw, &lun)) {
        u = watch_find_unit(w, lun);
        if (!u) {
            identity_init(&stranger.identity);
            stranger.lun = lun;
            u = &stranger;
        }
    }
    watch_report(w, &r, u);
    if (sensed)
        act_on_async_sense(w, u == &stranger ? NULL : u, m);
    switch (m->event) {
    case 1:
    case 4:
        if (w->state == WATCH_UP)
            leave(w);
        else if (w->state == WATCH_DIALLING) /* behind the last login answer */
            w->leave_due = true;
        break;
    case 2:
    case 3: w->time2wait_ms = time2wait_ms(m->parameter2); break;
    default: survey_step(w); break;
    }
}

static void on_reject(struct iscsi_session *s, void *data, uint8_t reason, const uint8_t *header)
{
    struct watch *w = data;
    uint64_t suppressed;

    (void)s;
    if (log_limit_allow(&w->reject_limit, clock_mono_ns() / 1000000, 5, &suppressed))
        log_warn("watch.rejected", "target=%s reason=%02Xh opcode=%02Xh suppressed=%" PRIu64, w->target_name, reason,
                 header ? header[0] & 0x3f : 0xff, suppressed);
}

/* ------------------------------------------------------------------------------------------------ dial */

static void on_dial(uv_timer_t *timer)
{
    static const struct iscsi_session_ops ops = {
        .on_login = on_login,
        .on_end = on_end,
        .on_sense = on_sense,
        .on_async = on_async,
        .on_reject = on_reject,
    };
    struct watch *w = timer->data;
    struct iscsi_session_options options = {
        .initiator_name = w->options.initiator_name,
        .target_name = w->target_name,
        .portal = w->moved_to[0] ? w->moved_to : w->portals[w->at_portal].text,
        .chap_user = w->options.chap_user,
        .chap_secret = w->options.chap_secret,
        .mutual_chap_user = w->options.mutual_chap_user,
        .mutual_chap_secret = w->options.mutual_chap_secret,
        .header_digest = w->options.header_digest,
        /* a silent target is found before its commands time out, so that a timeout is about the unit */
        .nop_ms = w->options.command_timeout_ms * 2 / 5,
        .nop_timeout_ms = w->options.command_timeout_ms * 2 / 5,
    };
    int rc;

    /* A redirection may name the portal group, and be any bytes. */
    identify_text((const uint8_t *)options.portal, strcspn(options.portal, ","), w->portal, sizeof w->portal);
    rc = w->options.session_api->open(w->loop, &options, &ops, w, &w->session);

    if (rc < 0) {
        char text[64];
        struct iscsi_session_fate fate = {.end = ISCSI_END_UNREACHABLE, .error = rc};

        w->session = NULL;
        snprintf(text, sizeof text, "cannot dial: %s", uv_strerror(rc));
        watch_report_failure(w, &fate, text);
        watch_set_health(w, WATCH_OFF, text);
        w->moved_to[0] = 0; /* may be nonsense */
        dial_again(w, WATCH_DIALLING, true);
        return;
    }
    move(w, WATCH_DIALLING);
}

static void dial_later(struct watch *w, uint32_t delay_ms)
{
    uv_timer_start(&w->timer, on_dial, delay_ms, 0);
}

/* ------------------------------------------------------------------------------------------------ life */

int watch_add_portal(struct watch *w, const char *portal)
{
    struct watch_portal *bigger;

    for (size_t i = 0; i < w->n_portals; i++)
        if (strcmp(w->portals[i].text, portal) == 0)
            return UV_EEXIST;
    if (strlen(portal) >= sizeof w->portals[0].text)
        return UV_EINVAL;
    if (w->n_portals == TARGET_MAX_PORTALS)
        return UV_ENOSPC;
    bigger = realloc(w->portals, (w->n_portals + 1) * sizeof *bigger);
    if (!bigger)
        return UV_ENOMEM;
    w->portals = bigger;
    w->portals[w->n_portals] = (struct watch_portal){0};
    strcpy(w->portals[w->n_portals++].text, portal);
    return 0;
}

int watch_start(struct watch *w, uv_loop_t *loop, const struct watch_options *options, const struct watch_ops *ops,
                void *data)
{
    int rc;

    memset(w, 0, sizeof *w);
    w->target_name = strdup(options->target_name);
    rc = w->target_name ? watch_add_portal(w, options->portal) : UV_ENOMEM;
    if (rc < 0) {
        free(w->target_name);
        return rc;
    }
    w->loop = loop;
    w->options = *options;
    w->options.target_name = w->target_name;
    w->options.portal = NULL; /* the caller's */
    snprintf(w->portal, sizeof w->portal, "%s", options->portal);
    w->ops = ops;
    w->data = data;
    w->random = options->seed ? options->seed : 1;
    w->redial = (struct backoff){.min_ms = REDIAL_MIN_MS, .max_ms = REDIAL_MAX_MS};
    w->refused = (struct backoff){.min_ms = REFUSED_MIN_MS, .max_ms = REFUSED_MAX_MS};
    w->health = WATCH_OFF;
    snprintf(w->reason, sizeof w->reason, "not connected yet");
    uv_timer_init(loop, &w->timer);
    uv_timer_init(loop, &w->settle);
    w->timer.data = w->settle.data = w;
    w->n_open_timers = 2;
    dial_later(w, 0);
    return 0;
}

void watch_stop(struct watch *w)
{
    if (w->stopping)
        return;
    w->stopping = true;
    for (size_t i = 0; i < w->n_units; i++)
        look_tell(w->units[i]);
    switch (w->state) {
    case WATCH_DIALLING:
        drop_session(w);
        stopped(w);
        break;
    case WATCH_WAITING: stopped(w); break;
    case WATCH_UP: leave(w); break;
    case WATCH_LEAVING:
    case WATCH_STOPPED: break;
    }
}

void watch_deinit(struct watch *w)
{
    assert(w->n_open_timers == 0 && !w->session);
    for (size_t i = 0; i < w->n_units; i++)
        unit_free(w->units[i]);
    free(w->units);
    assert(!w->asks);
    free(w->luns_changed);
    free(w->target_name);
    free(w->portals);
    memset(w, 0, sizeof *w);
}
