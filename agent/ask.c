/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ask.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "agent/watch.h"
#include "runtime/clock.h"

/* The session answers or ends long before. */
#define FOR_EVER_MS  UINT32_MAX
#define WHOLE_TARGET (-1)

#define STATUS_CHECK_CONDITION 0x02

struct ask {
    struct ask *next;
    struct watch *watch;
    int32_t lun; /* WHOLE_TARGET: a reset of all units */
    bool is_command;
    ask_cb cb; /* NULL: forgotten */
    void *data;
};

/* ------------------------------------------------------------------------------------------------ the list */

static struct ask *ask_new(struct watch *w, int32_t lun, bool is_command, ask_cb cb, void *data)
{
    struct ask *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    *a = (struct ask){.next = w->asks, .watch = w, .lun = lun, .is_command = is_command, .cb = cb, .data = data};
    w->asks = a;
    return a;
}

static void ask_free(struct ask *a)
{
    struct ask **link = &a->watch->asks;

    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    free(a);
}

static void ask_finish(struct ask *a, const struct ask_answer *answer)
{
    ask_cb cb = a->cb;
    void *data = a->data;

    ask_free(a);
    if (cb)
        cb(data, answer);
}

static bool has_room(const struct watch *w, int32_t lun, bool is_command)
{
    unsigned of_target = 0, of_unit = 0;

    for (const struct ask *a = w->asks; a; a = a->next) {
        if (a->is_command != is_command)
            continue;
        of_target++;
        of_unit += a->lun == lun;
    }
    if (is_command)
        return of_target < ASK_MAX_OF_TARGET && of_unit < ASK_MAX_OF_UNIT;
    return of_unit < ASK_MAX_FUNCTIONS_OF_UNIT; /* the session bounds them all */
}

void ask_forget(struct ask *a)
{
    if (a)
        a->cb = NULL;
}

void asks_gone(struct watch *w)
{
    static const struct ask_answer gone = {.end = ASK_GONE};

    while (w->asks)
        ask_finish(w->asks, &gone);
}

/* ------------------------------------------------------------------------------------------------ commands */

/* The sense belongs to somebody: as an event, if not in the answer. */
static void fetch_sense(const struct ask *a)
{
    struct unit *u = watch_find_unit(a->watch, (uint16_t)a->lun);

    if (!u)
        return;
    unit_fetch_sense(u);
    watch_pump(a->watch);
}

static void on_command(struct iscsi_session *s, void *data, const struct iscsi_command_result *result)
{
    static const enum ask_end ends[] = {
        [ISCSI_COMMAND_DONE] = ASK_DONE,       [ISCSI_COMMAND_TIMEOUT] = ASK_REFUSED, [ISCSI_COMMAND_GONE] = ASK_GONE,
        [ISCSI_COMMAND_REFUSED] = ASK_REFUSED, [ISCSI_COMMAND_ABORTED] = ASK_ABORTED,
    };
    struct ask *a = data;
    struct ask_answer answer = {
        .end = ends[result->end],
        .scsi_status = result->scsi_status,
        .data = result->data,
        .len = result->len,
        .sense = result->sense,
        .sense_len = result->sense_len,
    };

    (void)s;
    if (answer.end == ASK_DONE)
        a->watch->last_proof_ns = clock_wall_ns();
    if (answer.end == ASK_DONE && answer.scsi_status == STATUS_CHECK_CONDITION && answer.sense_len == 0)
        fetch_sense(a);
    ask_finish(a, &answer);
}

int ask_command(struct watch *w, uint16_t lun, enum asked_kind kind, int page, ask_cb cb, void *data,
                struct ask **out_ask)
{
    struct command c = command_build(kind == ASKED_INQUIRY ? COMMAND_INQUIRY : COMMAND_TEST_UNIT_READY, page);
    struct ask *a;
    int rc;

    assert(kind == ASKED_INQUIRY || kind == ASKED_TEST_UNIT_READY);
    if (w->state != WATCH_UP || !w->session)
        return UV_ENOTCONN;
    if (!has_room(w, lun, true))
        return UV_ENOBUFS;
    a = ask_new(w, lun, true, cb, data);
    if (!a)
        return UV_ENOMEM;
    rc = w->options.session_api->command(w->session, lun, c.cdb, c.cdb_len, c.in_bytes, FOR_EVER_MS, on_command, a);
    if (rc < 0) {
        ask_free(a);
        return rc;
    }
    w->options.counts->asked[kind]++;
    *out_ask = a;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ functions */

static void on_managed(struct iscsi_session *s, void *data, const struct iscsi_management_result *result)
{
    static const enum ask_end ends[] = {
        [ISCSI_MANAGEMENT_ANSWERED] = ASK_DONE,
        [ISCSI_MANAGEMENT_REJECTED] = ASK_REFUSED,
        [ISCSI_MANAGEMENT_TIMEOUT] = ASK_REFUSED,
        [ISCSI_MANAGEMENT_GONE] = ASK_GONE,
    };
    struct ask_answer answer = {.end = ends[result->end], .response = result->response};

    (void)s;
    ask_finish(data, &answer);
}

static enum iscsi_task_function function_of(enum asked_kind kind)
{
    switch (kind) {
    case ASKED_LUN_RESET: return ISCSI_LUN_RESET;
    case ASKED_TARGET_RESET: return ISCSI_TARGET_WARM_RESET;
    default: assert(kind == ASKED_ABORT_TASK_SET); return ISCSI_ABORT_TASK_SET;
    }
}

int ask_function(struct watch *w, uint16_t lun, enum asked_kind kind, ask_cb cb, void *data, struct ask **out_ask)
{
    enum iscsi_task_function function = function_of(kind);
    int32_t reached = function == ISCSI_TARGET_WARM_RESET ? WHOLE_TARGET : lun;
    struct ask *a;
    int rc;

    if (w->state != WATCH_UP || !w->session)
        return UV_ENOTCONN;
    if (!has_room(w, reached, false))
        return UV_ENOBUFS;
    a = ask_new(w, reached, false, cb, data);
    if (!a)
        return UV_ENOMEM;
    rc = w->options.session_api->manage(w->session, function, lun, FOR_EVER_MS, on_managed, a);
    if (rc < 0) {
        ask_free(a);
        return rc;
    }
    w->options.counts->asked[kind]++;
    *out_ask = a;
    return 0;
}
