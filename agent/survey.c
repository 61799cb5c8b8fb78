/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/survey.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/look.h"
#include "agent/watch.h"
#include "proto/sense.h"
#include "runtime/clock.h"
#include "sensebus/v1/event.pb-c.h"

#define SETTLE_MS           100
#define MAX_SURVEY_RETRIES  3
#define SURVEY_SKIP_TICKS   5
#define STATUS_GOOD         0x00
#define STATUS_CHECK        0x02
#define KEY_ILLEGAL_REQUEST 0x5
#define KEY_UNIT_ATTENTION  0x6

/* ------------------------------------------------------------------------------------------------ units */

/* Keeps the order. Returns NULL when memory is out. */
static struct unit *unit_insert(struct watch *w, uint16_t lun)
{
    struct unit *u;
    size_t at = 0;

    if (w->n_units == w->cap_units) {
        size_t cap = w->cap_units ? 2 * w->cap_units : 8;
        void *bigger = realloc(w->units, cap * sizeof *w->units);

        if (!bigger)
            return NULL;
        w->units = bigger;
        w->cap_units = cap;
    }
    u = unit_new(w, lun);
    if (!u)
        return NULL;
    while (at < w->n_units && w->units[at]->lun < lun)
        at++;
    memmove(&w->units[at + 1], &w->units[at], (w->n_units - at) * sizeof w->units[0]);
    w->units[at] = u;
    w->n_units++;
    return u;
}

static void unit_remove(struct watch *w, struct unit *u)
{
    size_t at = 0;

    while (w->units[at] != u)
        at++;
    w->n_units--;
    memmove(&w->units[at], &w->units[at + 1], (w->n_units - at) * sizeof w->units[0]);
    if (u->in_flight) {
        u->gone = true;
        u->next_gone = w->gone;
        w->gone = u;
    } else {
        unit_free(u);
    }
}

/* ------------------------------------------------------------------------------------------------ survey */

static bool units_quiet(const struct watch *w)
{
    if (w->n_in_flight > 0)
        return false;
    for (size_t i = 0; i < w->n_units; i++)
        if (unit_runnable(w->units[i]))
            return false;
    return true;
}

bool survey_note_luns_changed(struct watch *w, struct unit *u, const uint8_t *sense, size_t len, int opcode)
{
    struct watch_luns_changed *c = w->luns_changed;

    if (!c && !(c = w->luns_changed = calloc(1, sizeof *c)))
        return false;
    c->wall_ns = clock_wall_ns();
    c->boot_ns = clock_boot_ns();
    if (c->n == 0)
        c->first_wall_ns = c->wall_ns;
    if (c->n <= RECORD_MAX_EVIDENCE) {
        c->said[c->n].len = len < RECORD_MAX_SENSE ? len : RECORD_MAX_SENSE;
        memcpy(c->said[c->n].sense, sense, c->said[c->n].len);
        snprintf(c->said[c->n].detail, sizeof c->said[c->n].detail, "LUN %u, in answer to command %02Xh", u->lun,
                 opcode >= 0 ? (unsigned)opcode : 0xffu);
    }
    c->n++;
    if (++u->n_luns_changed > c->n_most)
        c->n_most = u->n_luns_changed;
    return true;
}

/* One event for all that was noted. */
static void report_luns_changed(struct watch *w)
{
    struct watch_luns_changed *c = w->luns_changed;
    struct record_native evidence[RECORD_MAX_EVIDENCE];
    struct record r = {.code = SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED, .evidence = evidence};
    char unused[64];

    if (!c)
        return;
    r.wall_ns = c->wall_ns;
    r.boot_ns = c->boot_ns;
    r.first_wall_ns = c->first_wall_ns;
    r.count = c->n_most;
    r.sense = c->said[0].sense;
    r.sense_len = c->said[0].len;
    record_native_sense(&r.native, c->said[0].sense, c->said[0].len, -1, unused, sizeof unused);
    r.native.detail = c->said[0].detail;
    for (uint32_t i = 1; i < c->n && i <= RECORD_MAX_EVIDENCE; i++) {
        struct record_native *n = &evidence[r.n_evidence++];

        record_native_sense(n, c->said[i].sense, c->said[i].len, -1, unused, sizeof unused);
        n->detail = c->said[i].detail;
    }
    watch_report(w, &r, NULL);
    free(c);
    w->luns_changed = NULL;
    for (size_t i = 0; i < w->n_units; i++)
        w->units[i]->n_luns_changed = 0;
}

static void remove_unit(struct watch *w, uint16_t lun)
{
    struct unit *u = watch_find_unit(w, lun);
    struct record r = {
        .code = SENSEBUS__V1__CODE__DEVICE_REMOVED,
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .synthetic = true,
        .prompt = true,
        .native = {.name = "report-luns", .detail = "logical unit gone"},
    };

    if (!u)
        return;
    if (u->announced) {
        look_tell(u);
        watch_report(w, &r, u);
    }
    unit_remove(w, u);
}

static void add_unit(struct watch *w, uint16_t lun)
{
    struct unit *u = unit_insert(w, lun);

    if (!u) {
        snprintf(w->survey_problem, sizeof w->survey_problem, "no memory to watch LUN %u", lun);
        log_error("watch.memory", "target=%s lun=%u is not watched", w->target_name, lun);
        return;
    }
    u->announced = !w->surveyed; /* the first list is no news */
}

/* Only what was asked for. */
static void restrict_list(struct watch *w, struct lun_list *list)
{
    bool has;

    if (w->options.lun < 0)
        return;
    has = inventory_has(list, (uint16_t)w->options.lun);
    list->n = has;
    list->luns[0] = (uint16_t)w->options.lun;
    if (!has)
        snprintf(w->survey_problem, sizeof w->survey_problem, "the target does not report LUN %d", w->options.lun);
}

static void take_list(struct watch *w, struct lun_list *now)
{
    static struct lun_list added, removed; /* the loop is one thread; these are large */
    bool first = !w->surveyed;

    w->survey_problem[0] = 0;
    if (now->cut)
        snprintf(w->survey_problem, sizeof w->survey_problem, "the list of logical units is cut at %zu", now->n);
    restrict_list(w, now);
    w->survey_skip = SURVEY_SKIP_TICKS;
    inventory_diff(&w->luns, now, &added, &removed);
    for (size_t i = 0; i < removed.n; i++)
        remove_unit(w, removed.luns[i]);
    for (size_t i = 0; i < added.n; i++)
        add_unit(w, added.luns[i]);
    w->luns.n = 0;
    for (size_t i = 0; i < w->n_units; i++) /* a unit that found no memory is new again to the next survey */
        w->luns.luns[w->luns.n++] = w->units[i]->lun;
    w->surveyed = w->looked = true;
    for (size_t i = 0; i < w->n_units; i++) {
        struct unit *u = w->units[i];

        if (u->step == UNIT_RESTING && (u->want_identify || u->absent))
            unit_begin(u);
    }
    if (first || removed.n > 0)
        w->ops->on_inventory(w, w->data);
}

/* Asked again some polls later, however much who asks was told meanwhile. */
static void survey_failed(struct watch *w, const char *why)
{
    w->survey_again = false;
    snprintf(w->survey_problem, sizeof w->survey_problem, "REPORT LUNS: %s", why);
    w->survey_skip = SURVEY_SKIP_TICKS;
    for (size_t i = 0; i < w->n_units; i++) /* what is known is watched all the same */
        if (w->units[i]->step == UNIT_RESTING && w->units[i]->want_identify)
            unit_begin(w->units[i]);
    watch_set_looked(w);
}

static void survey_answer(struct watch *w, const struct iscsi_command_result *result)
{
    static struct lun_list list;
    struct sense s = {0};

    if (result->end == ISCSI_COMMAND_TIMEOUT) {
        survey_failed(w, "no answer in time");
        return;
    }
    if (result->end == ISCSI_COMMAND_REFUSED) {
        survey_failed(w, "rejected");
        return;
    }
    w->last_proof_ns = clock_wall_ns();
    if (result->sense_len > 0)
        sense_decode(result->sense, result->sense_len, &s);
    if (result->scsi_status == STATUS_GOOD) {
        if (inventory_parse(result->data, result->len, &list) == 0)
            take_list(w, &list);
        else
            survey_failed(w, "malformed answer");
    } else if (result->scsi_status == STATUS_CHECK && s.key == KEY_UNIT_ATTENTION &&
               w->survey_retries++ < MAX_SURVEY_RETRIES) {
        w->survey_again = true;
    } else if (result->scsi_status == STATUS_CHECK && s.key == KEY_ILLEGAL_REQUEST) {
        list = (struct lun_list){.n = 1}; /* the command is not there: LUN 0 is all there can be */
        take_list(w, &list);
    } else {
        survey_failed(w, result->scsi_status == STATUS_CHECK ? "CHECK CONDITION" : "refused");
    }
}

static void on_report_luns(struct iscsi_session *s, void *data, const struct iscsi_command_result *result)
{
    struct watch *w = data;

    (void)s;
    w->n_in_flight--;
    if (result->end == ISCSI_COMMAND_GONE)
        return;
    assert(w->survey == SURVEY_RUNNING);
    w->survey = SURVEY_NONE;
    if (result->end == ISCSI_COMMAND_ABORTED) {
        w->survey_again = true;
    } else {
        report_luns_changed(w); /* who has given the list says no more of this change (SPC-4 section 6.33) */
        survey_answer(w, result);
    }
    if (w->survey_again) {
        w->survey_again = false;
        w->survey = SURVEY_WANTED;
    } else {
        w->survey_retries = 0;
    }
    watch_judge_health(w);
    watch_pump(w);
}

static void on_settle(uv_timer_t *timer)
{
    survey_step(timer->data);
}

void survey_want(struct watch *w)
{
    if (w->survey == SURVEY_RUNNING)
        w->survey_again = true;
    if (w->survey != SURVEY_NONE || w->state != WATCH_UP)
        return;
    w->survey = SURVEY_WANTED;
    uv_timer_start(&w->settle, on_settle, SETTLE_MS, 0);
}

/* REPORT LUNS goes out when it is wanted and the units are quiet, or have had their time. */
void survey_step(struct watch *w)
{
    struct command c = command_build(COMMAND_REPORT_LUNS, 0);
    uint16_t lun = 0;

    if (w->state != WATCH_UP || w->survey != SURVEY_WANTED)
        return;
    if (!units_quiet(w) && uv_is_active((uv_handle_t *)&w->settle))
        return;
    uv_timer_stop(&w->settle);
    if (watch_send(w, lun, &c, on_report_luns, w) < 0)
        return;
    w->survey = SURVEY_RUNNING;
}

void survey_drop(struct watch *w)
{
    w->survey = SURVEY_NONE;
    w->survey_again = false;
    uv_timer_stop(&w->settle);
    report_luns_changed(w);
}
