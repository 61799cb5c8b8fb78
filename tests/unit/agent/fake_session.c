/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_session.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"

struct fake_command {
    struct fake_command *next;
    uint16_t lun;
    uint8_t cdb[16];
    iscsi_session_command_cb cb;
    void *data;
};

struct fake_task {
    struct fake_task *next;
    enum iscsi_task_function function;
    uint16_t lun;
    iscsi_session_management_cb cb;
    void *data;
};

struct iscsi_session {
    const struct iscsi_session_ops *ops;
    void *data;
    uv_timer_t timer;
    bool up, closed, logout;
    char portal[128];
    struct fake_command *first, *last;
    struct fake_task *tasks;
};

struct fake_target fake;

void fake_reset(uv_loop_t *loop)
{
    memset(&fake, 0, sizeof fake);
    fake.loop = loop;
    fake.refuse_with = ISCSI_END_CLOSED;
}

void fake_log(const char *format, ...)
{
    size_t used = strlen(fake.log);
    va_list args;

    va_start(args, format);
    vsnprintf(fake.log + used, sizeof fake.log - used, format, args);
    va_end(args);
}

void fake_attention(unsigned lun, uint8_t key, uint8_t asc, uint8_t ascq)
{
    struct fake_unit *u = &fake.units[lun];

    assert(u->n_pending < FAKE_MAX_SENSES);
    u->pending[u->n_pending++] = (struct fake_sense){key, asc, ascq};
}

static void make_sense(uint8_t out[18], struct fake_sense s)
{
    memset(out, 0, 18);
    out[0] = 0x70;
    out[2] = s.key;
    out[7] = 10;
    out[12] = s.asc;
    out[13] = s.ascq;
}

static void answer(struct iscsi_session *s, struct fake_command *c, uint8_t status, const void *data, size_t len,
                   const uint8_t *sense, size_t sense_len)
{
    struct iscsi_command_result result = {.end = ISCSI_COMMAND_DONE,
                                          .scsi_status = status,
                                          .data = data,
                                          .len = len,
                                          .sense = sense,
                                          .sense_len = sense_len};

    if (sense)
        s->ops->on_sense(s, s->data, inventory_lun_raw(c->lun), c->cdb[0], sense, sense_len);
    if (!s->closed)
        c->cb(s, c->data, &result);
}

static void answer_sense(struct iscsi_session *s, struct fake_command *c, struct fake_sense what)
{
    uint8_t sense[18];

    make_sense(sense, what);
    answer(s, c, 0x02, NULL, 0, sense, sizeof sense);
}

static void do_report_luns(struct iscsi_session *s, struct fake_command *c)
{
    uint8_t data[8 + 8 * FAKE_MAX_UNITS] = {0};
    size_t n = 0;

    fake.n_luns_asked++;
    for (unsigned lun = 0; lun < FAKE_MAX_UNITS; lun++) {
        struct fake_unit *u = &fake.units[lun];
        size_t kept = 0;

        if (u->present)
            data[8 + 8 * n++ + 1] = (uint8_t)lun;
        for (size_t i = 0; fake.report_luns_clears && i < u->n_pending; i++)
            if (u->pending[i].asc != 0x3f || u->pending[i].ascq != 0x0e)
                u->pending[kept++] = u->pending[i];
        if (fake.report_luns_clears)
            u->n_pending = kept;
    }
    data[3] = (uint8_t)(8 * n);
    if (fake.report_luns_attention)
        answer_sense(s, c, (struct fake_sense){6, 0x3f, 0x0e});
    else if (fake.report_luns)
        answer(s, c, 0, fake.report_luns, fake.report_luns_len, NULL, 0);
    else
        answer(s, c, 0, data, 8 + 8 * n, NULL, 0);
}

static void do_inquiry(struct iscsi_session *s, struct fake_command *c, struct fake_unit *u)
{
    uint8_t data[64] = {0};

    if (u->kept.key) {
        answer(s, c, 0x02, NULL, 0, NULL, 0);
        return;
    }
    if (u->inquiry.key) {
        answer_sense(s, c, u->inquiry);
        return;
    }
    if (c->cdb[1] & 1) {
        data[1] = c->cdb[2];
        if (!u->serial) {
            answer_sense(s, c, (struct fake_sense){5, 0x24, 0});
        } else if (c->cdb[2] == 0) {
            data[3] = u->maximum_transfer ? 3 : 2;
            data[5] = 0x80;
            data[6] = 0xb0;
            answer(s, c, 0, data, (size_t)4 + data[3], NULL, 0);
        } else if (c->cdb[2] == 0xb0) {
            data[3] = 0x3c;
            data[10] = (uint8_t)(u->maximum_transfer >> 8);
            data[11] = (uint8_t)u->maximum_transfer;
            if (u->behind_limits.key)
                u->pending[u->n_pending++] = u->behind_limits;
            u->behind_limits.key = 0;
            answer(s, c, 0, data, 64, NULL, 0);
        } else {
            data[3] = (uint8_t)strlen(u->serial);
            memcpy(data + 4, u->serial, strlen(u->serial));
            answer(s, c, 0, data, 4 + strlen(u->serial), NULL, 0);
        }
        return;
    }
    data[0] = u->qualifier_3 ? 0x7f : u->device_type;
    memcpy(data + 8, "FAKE    DISK            0001", 28);
    answer(s, c, 0, data, u->short_inquiry ? 5 : 36, NULL, 0);
}

static void do_poll(struct iscsi_session *s, struct fake_command *c, struct fake_unit *u)
{
    if (u->n_pending > 0) {
        struct fake_sense what = u->pending[0];

        memmove(u->pending, u->pending + 1, --u->n_pending * sizeof u->pending[0]);
        answer_sense(s, c, what);
    } else if (u->kept.key && c->cdb[0] == 0x03) {
        uint8_t sense[18];

        make_sense(sense, u->kept);
        u->kept = (struct fake_sense){0};
        answer(s, c, 0, sense, sizeof sense, NULL, 0);
    } else if (u->no_sense && c->cdb[0] == 0x03) {
        uint8_t sense[18];

        make_sense(sense, (struct fake_sense){0});
        answer(s, c, 0, sense, sizeof sense, NULL, 0);
    } else if (u->no_sense) {
        answer(s, c, 0x02, NULL, 0, NULL, 0);
    } else if (u->state.key) {
        answer_sense(s, c, u->state);
    } else {
        answer(s, c, 0, NULL, 0, NULL, 0);
    }
}

static void do_mode_sense(struct iscsi_session *s, struct fake_command *c, struct fake_unit *u)
{
    bool form_6 = c->cdb[0] == 0x1a;
    uint8_t data[8] = {0};

    if (form_6 ? u->no_mode_6 : u->no_mode_10) {
        answer_sense(s, c, (struct fake_sense){5, 0x20, 0});
        return;
    }
    data[form_6 ? 0 : 1] = form_6 ? 3 : 6;
    data[form_6 ? 2 : 3] = u->write_protected ? 0x90 : 0x10;
    answer(s, c, 0, data, form_6 ? 4 : 8, NULL, 0);
}

static void do_capacity(struct iscsi_session *s, struct fake_command *c, struct fake_unit *u)
{
    uint8_t capacity[32] = {[10] = 2};
    uint32_t last = (u->n_blocks ? u->n_blocks : 0x2000) - 1;

    for (unsigned i = 0; i < 4; i++)
        capacity[7 - i] = (uint8_t)(last >> 8 * i);
    answer(s, c, 0, capacity, sizeof capacity, NULL, 0);
}

static void run_command(struct iscsi_session *s, struct fake_command *c)
{
    static const struct iscsi_command_result timeout = {.end = ISCSI_COMMAND_TIMEOUT};
    struct fake_unit none = {.state = {5, 0x25, 0}, .qualifier_3 = true}, *u = &fake.units[c->lun];

    fake.n_commands++;
    if (fake.log_commands)
        fake_log("LUN %u: %02X%s\n", c->lun, c->cdb[0], c->cdb[1] & 1 ? " vpd" : "");
    if ((u->hangs || (u->hangs_on && u->hangs_on == c->cdb[0])) && c->cdb[0] != 0xa0) {
        c->cb(s, c->data, &timeout);
        return;
    }
    if (!u->present && c->cdb[0] != 0xa0)
        u = &none;
    switch (c->cdb[0]) {
    case 0xa0: do_report_luns(s, c); break;
    case 0x12: do_inquiry(s, c, u); break;
    case 0x1a:
    case 0x5a:
    case 0x9e:
        if (u->n_pending > 0) /* as SAM-5 section 5.14 wants it */
            do_poll(s, c, u);
        else if (c->cdb[0] == 0x9e)
            do_capacity(s, c, u);
        else
            do_mode_sense(s, c, u);
        break;
    default: do_poll(s, c, u); break;
    }
}

static void command_remove(struct iscsi_session *s, struct fake_command *c)
{
    struct fake_command **link = &s->first;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    s->last = s->first;
    while (s->last && s->last->next)
        s->last = s->last->next;
}

/* The oldest that is not held back. */
static struct fake_command *command_next(struct iscsi_session *s)
{
    struct fake_command *c = s->first;

    while (c && (c->cdb[0] == 0xa0 ? fake.holds_luns : fake.units[c->lun].holds))
        c = c->next;
    return c;
}

static void abort_commands(struct iscsi_session *s, const struct fake_task *t)
{
    static const struct iscsi_command_result aborted = {.end = ISCSI_COMMAND_ABORTED};
    struct fake_command *list = NULL, **end = &list;

    for (struct fake_command *c = s->first, *next; c; c = next) {
        next = c->next;
        if (t->function != ISCSI_TARGET_WARM_RESET && c->lun != t->lun)
            continue;
        command_remove(s, c);
        c->next = NULL;
        *end = c;
        end = &c->next;
    }
    while (list) {
        struct fake_command *c = list;

        list = c->next;
        if (!s->closed)
            c->cb(s, c->data, &aborted);
        free(c);
    }
}

static void run_task(struct iscsi_session *s, struct fake_task *t)
{
    struct iscsi_management_result result = {.end = fake.tasks_end, .response = fake.task_response};

    s->tasks = t->next;
    if (result.end == ISCSI_MANAGEMENT_ANSWERED && result.response == ISCSI_TASK_COMPLETE)
        abort_commands(s, t);
    if (!s->closed)
        t->cb(s, t->data, &result);
    free(t);
}

static void tasks_gone(struct iscsi_session *s, bool tell)
{
    static const struct iscsi_management_result gone = {.end = ISCSI_MANAGEMENT_GONE};

    while (s->tasks) {
        struct fake_task *t = s->tasks;

        s->tasks = t->next;
        if (tell && !s->closed)
            t->cb(s, t->data, &gone);
        free(t);
    }
}

static void commands_gone(struct iscsi_session *s, bool tell)
{
    static const struct iscsi_command_result gone = {.end = ISCSI_COMMAND_GONE};

    while (s->first) {
        struct fake_command *c = s->first;

        s->first = c->next;
        if (tell)
            c->cb(s, c->data, &gone);
        free(c);
    }
    s->last = NULL;
}

static void end(struct iscsi_session *s, const struct iscsi_session_fate *fate)
{
    s->up = false;
    commands_gone(s, true);
    tasks_gone(s, true);
    fake.session = NULL;
    uv_timer_stop(&s->timer);
    s->ops->on_end(s, s->data, fate);
}

static bool is_dead(const char *portal)
{
    for (size_t i = 0; i < sizeof fake.dead / sizeof fake.dead[0]; i++)
        if (fake.dead[i] && strcmp(fake.dead[i], portal) == 0)
            return true;
    return false;
}

static void on_turn(uv_timer_t *timer)
{
    struct iscsi_session *s = timer->data;
    struct fake_command *c = command_next(s);

    if (!s->up) {
        struct iscsi_session_fate fate = {.end = fake.refuse_with,
                                          .status_class = fake.refuse_class,
                                          .status_detail = fake.refuse_detail,
                                          .moved_to = fake.moved_to,
                                          .text = "refused by the script"};

        if (is_dead(s->portal))
            fate = (struct iscsi_session_fate){.end = ISCSI_END_UNREACHABLE, .text = "nobody is there"};
        if (fate.end != ISCSI_END_CLOSED) {
            end(s, &fate);
            return;
        }
        if (fake.async_at_login) {
            struct iscsi_async_message m = {.event = fake.async_at_login};

            fake.async_at_login = 0;
            s->ops->on_async(s, s->data, &m);
        }
        s->up = true;
        fake.session = s;
        s->ops->on_login(s, s->data, s->portal);
    } else if (s->tasks && !fake.holds_tasks) {
        run_task(s, s->tasks);
    } else if (c) {
        command_remove(s, c);
        run_command(s, c);
        free(c);
    } else if (s->logout && !fake.ignore_logout) {
        struct iscsi_session_fate fate = {.end = ISCSI_END_CLOSED, .text = "logged out"};

        end(s, &fate);
        return;
    }
    if (!s->closed && s->up && (s->first || (s->tasks && !fake.holds_tasks) || (s->logout && !fake.ignore_logout)))
        uv_timer_start(&s->timer, on_turn, 1, 0);
}

static int fake_open(uv_loop_t *loop, const struct iscsi_session_options *options, const struct iscsi_session_ops *ops,
                     void *data, struct iscsi_session **out)
{
    struct iscsi_session *s = calloc(1, sizeof *s);

    snprintf(s->portal, sizeof s->portal, "%s", options->portal);
    if (fake.log_dials)
        fake_log("dial %s\n", s->portal);
    s->ops = ops;
    s->data = data;
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_turn, 1, 0);
    fake.n_opened++;
    *out = s;
    return 0;
}

static int fake_command(struct iscsi_session *s, uint16_t lun, const uint8_t *cdb, size_t cdb_len, uint32_t in_bytes,
                        uint32_t timeout_ms, iscsi_session_command_cb cb, void *data)
{
    struct fake_command *c;

    (void)in_bytes;
    (void)timeout_ms;
    if (!s->up || s->logout)
        return UV_ENOTCONN;
    c = calloc(1, sizeof *c);
    c->lun = lun;
    memcpy(c->cdb, cdb, cdb_len);
    c->cb = cb;
    c->data = data;
    if (s->last)
        s->last->next = c;
    else
        s->first = c;
    s->last = c;
    uv_timer_start(&s->timer, on_turn, 1, 0);
    return 0;
}

static int fake_manage(struct iscsi_session *s, enum iscsi_task_function function, uint16_t lun, uint32_t timeout_ms,
                       iscsi_session_management_cb cb, void *data)
{
    struct fake_task *t, **link = &s->tasks;

    (void)timeout_ms;
    if (!s->up || s->logout)
        return UV_ENOTCONN;
    t = calloc(1, sizeof *t);
    t->function = function;
    t->lun = lun;
    t->cb = cb;
    t->data = data;
    while (*link)
        link = &(*link)->next;
    *link = t;
    fake_log("manage %d LUN %u\n", function, lun);
    uv_timer_start(&s->timer, on_turn, 1, 0);
    return 0;
}

static void fake_logout(struct iscsi_session *s)
{
    fake_log("logout\n");
    s->logout = true;
    uv_timer_start(&s->timer, on_turn, 1, 0);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void fake_close(struct iscsi_session *s)
{
    s->closed = true;
    s->up = false;
    commands_gone(s, false);
    tasks_gone(s, false);
    if (fake.session == s)
        fake.session = NULL;
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

const struct iscsi_session_api fake_api = {
    .open = fake_open, .command = fake_command, .manage = fake_manage, .logout = fake_logout, .close = fake_close};

void fake_answer_task(void)
{
    assert(fake.session && fake.session->tasks);
    run_task(fake.session, fake.session->tasks);
}

void fake_end(enum iscsi_session_end how, const char *text)
{
    struct iscsi_session_fate fate = {.end = how, .text = text};

    assert(fake.session);
    end(fake.session, &fate);
}

void fake_async(const struct iscsi_async_message *message)
{
    fake.session->ops->on_async(fake.session, fake.session->data, message);
}

void fake_late_sense(uint64_t lun_raw, int opcode, uint8_t key, uint8_t asc, uint8_t ascq)
{
    uint8_t sense[18];

    make_sense(sense, (struct fake_sense){key, asc, ascq});
    fake.session->ops->on_sense(fake.session, fake.session->data, lun_raw, opcode, sense, sizeof sense);
}
