/* SPDX-License-Identifier: Apache-2.0 */
/* Of one operation: checked here -> done at the unit (operation_device.c), or at a device of the kernel
 * (operation_kernel.c) -> answered -> gone.
 *
 * Deadline: ETIMEDOUT; the command is forgotten. A reset goes on without anybody waiting.
 * Session closed: its operations are given up, without an answer. Stream over: all sessions are closed. */
#include "agent/operations.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ask.h"
#include "agent/identify.h"
#include "agent/kernel/kernel.h"
#include "agent/operation.h"
#include "agent/source/identity.h"
#include "agent/target/target_mode.h"
#include "agent/targets.h"
#include "runtime/log.h"

#define DEFAULT_DEADLINE_MS 30000
#define MESSAGE_BYTES       257 /* 256 and the terminator */
#define MAX_FLAT_LUN        16383

#define ERRNO_(name)  SENSEBUS__V1__ERRNO__ERRNO_##name
#define DETAIL_(name) SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##name

static void schedule(struct operations *o);

void refuse(struct refusal *r, Sensebus__V1__Errno error, Sensebus__V1__EinvalDetail detail, const char *format, ...)
{
    va_list args;

    r->error = error;
    r->detail = detail;
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
}

/* ------------------------------------------------------------------------------------------------ answers */

static void send_refusal(struct operations *o, uint64_t id, const struct refusal *why)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    char text[MESSAGE_BYTES];

    identify_text((const uint8_t *)why->text, strlen(why->text), text, sizeof text); /* a target may have had a say */
    result.id = id;
    result.error = why->error;
    result.detail = why->detail;
    result.message = text;
    o->ops->on_result(o->data, &result);
}

static void send_done(struct operations *o, uint64_t id)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;

    result.id = id;
    o->ops->on_result(o->data, &result);
}

/* ------------------------------------------------------------------------------------------------ the list */

static void operation_free(struct operation *op)
{
    ask_forget(op->ask);
    *op->link = op->next;
    if (op->next)
        op->next->link = op->link;
    free(op);
}

/* Nobody waits any more. A reset that went out goes on, for its event. */
static void operation_leave(struct operation *op)
{
    bool goes_on = op->kind == OPERATION_RESET && op->sequence == 0 && (op->ask || op->resetting);

    if (!op->answered) {
        op->answered = true;
        op->owner->n--;
    }
    op->session = NULL;
    if (!goes_on)
        operation_free(op);
}

void operation_answer(struct operation *op, Sensebus__V1__OperationResult *result)
{
    struct operations *o = op->owner;
    bool waited_for = !op->answered;

    result->id = op->id;
    operation_leave(op);
    if (waited_for)
        o->ops->on_result(o->data, result);
    schedule(o);
}

void operation_refuse(struct operation *op, const struct refusal *why)
{
    struct operations *o = op->owner;
    struct device_session *unreached = op->kind == OPERATION_OPEN ? op->session : NULL;
    bool waited_for = !op->answered;
    uint64_t id = op->id;

    operation_leave(op);
    if (unreached)
        device_sessions_remove(&o->sessions, unreached);
    if (waited_for)
        send_refusal(o, id, why);
    schedule(o);
}

void operations_refuse_commands(struct operations *o, const struct device_session *session, const struct refusal *why)
{
    for (struct operation *op = o->first, *next; op; op = next) {
        next = op->next;
        if (op->session == session && op->kind == OPERATION_COMMAND)
            operation_refuse(op, why);
    }
}

static void session_close(struct operations *o, struct device_session *s)
{
    for (struct operation *op = o->first, *next; op; op = next) {
        next = op->next;
        if (op->session == s)
            operation_leave(op);
    }
    device_sessions_remove(&o->sessions, s);
}

/* NULL with `why` when a bound is reached. */
static struct operation *operation_new(struct operations *o, const Sensebus__V1__Operation *m, enum operation_kind kind,
                                       struct device_session *s, struct refusal *why)
{
    struct operation *op = NULL;

    if (o->n == OPERATIONS_MAX)
        refuse(why, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), "the agent has %d operations in flight",
               OPERATIONS_MAX);
    else if (!(op = calloc(1, sizeof *op)))
        refuse(why, ERRNO_(ENOMEM), DETAIL_(NONE), "the agent is out of memory");
    if (!op)
        return NULL;
    op->owner = o;
    op->kind = kind;
    op->id = m->id;
    op->allowed_ms = m->deadline_ms ? m->deadline_ms : DEFAULT_DEADLINE_MS;
    op->deadline_ms = uv_now(o->timer.loop) + op->allowed_ms;
    op->session = s;
    op->watch = s->watch;
    op->lun = s->lun;
    op->place = s->place;
    memcpy(op->session_id, s->id, sizeof op->session_id);
    op->next = o->first;
    op->link = &o->first;
    if (o->first)
        o->first->link = &op->next;
    o->first = op;
    o->n++;
    return op;
}

/* ------------------------------------------------------------------------------------------------ deadlines */

static void expire(struct operation *op)
{
    struct refusal why;

    if (op->sequence)
        refuse(&why, ERRNO_(ETIMEDOUT), DETAIL_(NONE),
               "the reset is done; its event could not be stored in %" PRIu32 " ms", op->allowed_ms);
    else
        refuse(&why, ERRNO_(ETIMEDOUT), DETAIL_(NONE), "no answer of the %s in %" PRIu32 " ms",
               op->watch ? "target" : "kernel", op->allowed_ms);
    operation_refuse(op, &why);
}

static void on_deadline(uv_timer_t *timer)
{
    struct operations *o = timer->data;
    uint64_t now = uv_now(timer->loop);

    for (struct operation *op = o->first, *next; op; op = next) {
        next = op->next;
        if (!op->answered && op->deadline_ms <= now)
            expire(op);
    }
    schedule(o);
}

static void schedule(struct operations *o)
{
    uint64_t now = uv_now(o->timer.loop), first = UINT64_MAX;

    if (uv_is_closing((uv_handle_t *)&o->timer))
        return;
    for (const struct operation *op = o->first; op; op = op->next)
        if (!op->answered && op->deadline_ms < first)
            first = op->deadline_ms;
    if (first == UINT64_MAX)
        uv_timer_stop(&o->timer);
    else
        uv_timer_start(&o->timer, on_deadline, first > now ? first - now : 0, 0);
}

/* ------------------------------------------------------------------------------------------------ without a unit */

static bool ioc_info(struct operations *o, const Sensebus__V1__Operation *m, struct refusal *why)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__IocInfoResult info;

    if (!adapters_info(o->options.adapters, m->ioc_info->adapter, &info)) {
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no adapter \"%.64s\" here", m->ioc_info->adapter);
        return false;
    }
    result.id = m->id;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_IOC_INFO;
    result.ioc_info = &info;
    o->ops->on_result(o->data, &result);
    return true;
}

static bool target_refused(const struct target_mode_result *r, struct refusal *why)
{
    refuse(why, r->error, r->detail, "%s", r->message);
    return r->error != ERRNO_(OK);
}

static bool open_target(struct operations *o, const Sensebus__V1__Operation *m, struct refusal *why)
{
    struct target_mode *t = o->options.adapters->target_mode;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult opened = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    struct target_mode_result r;

    if (!t) {
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "this agent has no target mode");
        return false;
    }
    if (!m->open_target->address) {
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no address");
        return false;
    }
    target_mode_open(t, m->session_id, m->generation, m->open_target, &r);
    if (target_refused(&r, why))
        return false;
    address.host = (char *)o->options.host;
    address.adapter = r.adapter;
    address.bus = -1;
    address.target = r.target;
    address.target_name = r.initiator;
    opened.address = &address;
    opened.controller = r.controller;
    opened.adapter_major = ADAPTER_MAJOR_TARGET;
    opened.adapter_minor = (uint32_t)r.controller;
    result.id = m->id;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &opened;
    o->ops->on_result(o->data, &result);
    return true;
}

static void close_session(struct operations *o, const Sensebus__V1__Operation *m)
{
    struct device_session *s = device_sessions_find(&o->sessions, m->session_id, m->generation);

    if (s)
        session_close(o, s);
    if (o->options.adapters->target_mode)
        target_mode_close(o->options.adapters->target_mode, m->session_id, m->generation);
}

static void release_buffers(struct operations *o, const Sensebus__V1__Operation *m)
{
    if (o->options.adapters->target_mode)
        target_mode_release(o->options.adapters->target_mode, m->session_id, m->generation,
                            m->release_buffers->n_buffers);
}

/* ------------------------------------------------------------------------------------------------ on a unit */

static bool in_diagnosis(const struct operations *o, struct refusal *why)
{
    if (o->options.adapters->diagnostics)
        refuse(why, ERRNO_(EACCES), DETAIL_(NONE), "adapter " ADAPTER_ISCSI " is open for diagnostics");
    return o->options.adapters->diagnostics;
}

static struct watch *find_target(const struct operations *o, const Sensebus__V1__DeviceAddress *a, struct refusal *why)
{
    struct watch *w = NULL;

    if (!a)
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no address");
    else if (a->adapter[0] && strcmp(a->adapter, ADAPTER_ISCSI) != 0)
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no adapter \"%.64s\" here", a->adapter);
    else if (a->lun < 0 || a->lun > MAX_FLAT_LUN)
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "LUN %" PRId64 " is not 0 to %d", a->lun, MAX_FLAT_LUN);
    else if (!(w = targets_find(o->options.targets, a->target_name, a->target)) && a->target_name[0])
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "target %.224s is not watched", a->target_name);
    else if (!w)
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no target has number %" PRId32, a->target);
    return w;
}

static bool add_session(struct operations *o, const Sensebus__V1__Operation *m, struct watch *w, uint16_t lun,
                        struct device_session **out, struct refusal *why)
{
    switch (device_sessions_add(&o->sessions, m->session_id, m->generation, w, lun, out)) {
    case 0: return true;
    case UV_EEXIST:
        refuse(why, ERRNO_(EINVAL), DETAIL_(ALREADY_STARTED), "session \"%.64s\" is open", m->session_id);
        break;
    case UV_ENOSPC:
        refuse(why, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), "the agent has %d sessions", DEVICE_SESSIONS_MAX);
        break;
    case UV_ENOMEM: refuse(why, ERRNO_(ENOMEM), DETAIL_(NONE), "the agent is out of memory"); break;
    default:
        refuse(why, ERRNO_(EINVAL), DETAIL_(NONE), "a session id has 1 to %d bytes", DEVICE_SESSION_ID_BYTES - 1);
        break;
    }
    return false;
}

/* The operation could not begin: without the answer, which is the caller's. */
static void withdraw(struct operation *op)
{
    struct operations *o = op->owner;
    struct device_session *unreached = op->kind == OPERATION_OPEN ? op->session : NULL;

    operation_leave(op);
    if (unreached)
        device_sessions_remove(&o->sessions, unreached);
}

/* Devices of the host's own kernel are on adapters of its own. */
static bool is_of_kernel(const struct operations *o, const Sensebus__V1__DeviceAddress *a)
{
    return a && o->options.adapters->kernel && device_list_host(a->adapter) >= 0;
}

static bool find_device(const struct operations *o, const Sensebus__V1__DeviceAddress *a, struct observation_place *out,
                        struct refusal *why)
{
    const struct device_list *list = kernel_devices(o->options.adapters->kernel);
    const struct listed_device *d = NULL;

    if (!device_list_adapter(list, a->adapter))
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS), "no adapter \"%.64s\" here", a->adapter);
    else if (!(d = device_list_find(list, device_list_host(a->adapter), a->bus, a->target, a->lun)))
        refuse(why, ERRNO_(EINVAL), DETAIL_(ADDRESS),
               "the kernel has no device at %.64s bus %" PRId32 " target %" PRId32 " LUN %" PRId64, a->adapter, a->bus,
               a->target, a->lun);
    else
        *out = d->place;
    return d;
}

static bool add_kernel_session(struct operations *o, const Sensebus__V1__Operation *m, struct device_session **out,
                               struct refusal *why)
{
    struct observation_place place;

    if (!find_device(o, m->open->address, &place, why) || !add_session(o, m, NULL, 0, out, why))
        return false;
    (*out)->place = place;
    return true;
}

static bool add_unit_session(struct operations *o, const Sensebus__V1__Operation *m, struct device_session **out,
                             struct refusal *why)
{
    struct watch *w = in_diagnosis(o, why) ? NULL : find_target(o, m->open->address, why);

    return w && add_session(o, m, w, (uint16_t)m->open->address->lun, out, why);
}

static bool open_device(struct operations *o, const Sensebus__V1__Operation *m, struct refusal *why)
{
    bool of_kernel = is_of_kernel(o, m->open->address);
    struct device_session *s;
    struct operation *op;

    if (!(of_kernel ? add_kernel_session(o, m, &s, why) : add_unit_session(o, m, &s, why)))
        return false;
    op = operation_new(o, m, OPERATION_OPEN, s, why);
    if (op && (of_kernel ? operation_kernel_open(op, why) : operation_open(op, why)))
        return true;
    if (op)
        withdraw(op);
    else
        device_sessions_remove(&o->sessions, s);
    return false;
}

static struct device_session *find_session(struct operations *o, const Sensebus__V1__Operation *m, struct refusal *why)
{
    struct device_session *s = device_sessions_find(&o->sessions, m->session_id, m->generation);

    if (s && s->open && (s->watch || o->options.adapters->kernel)) /* the kernel's are over when the agent stops */
        return s;
    refuse(why, ERRNO_(EINVAL), DETAIL_(NOT_STARTED), "no session \"%.64s\" of generation %" PRIu64 " is open here",
           m->session_id, m->generation);
    return NULL;
}

static bool register_event(struct operations *o, const Sensebus__V1__Operation *m, struct refusal *why)
{
    struct device_session *s = find_session(o, m, why);
    struct target_mode *t = o->options.adapters->target_mode;

    if (s && !s->watch) {
        if (!operation_kernel_can_see_events(o, s, why))
            return false;
    } else if (s) {
        if (in_diagnosis(o, why) || !operation_can_see_events(s, why))
            return false;
    } else if (t) {
        struct target_mode_result r;

        target_mode_register(t, m->session_id, m->generation, &r);
        if (target_refused(&r, why))
            return false;
    } else {
        return false;
    }
    send_done(o, m->id);
    return true;
}

static bool begin_inquiry(struct operation *op, const Sensebus__V1__Inquiry *m, struct refusal *why)
{
    bool standard = m->_page_case != SENSEBUS__V1__INQUIRY___PAGE_PAGE;
    int page = standard ? COMMAND_STANDARD_INQUIRY : (int)(m->page & UINT8_MAX);

    if (standard || m->page <= UINT8_MAX)
        return op->watch ? operation_inquiry(op, page, why) : operation_kernel_inquiry(op, page, why);
    refuse(why, ERRNO_(EINVAL), DETAIL_(NONE), "VPD page %" PRIu32 " is not 0 to 255", m->page);
    return false;
}

static bool begin_at_kernel(struct operation *op, const Sensebus__V1__Operation *m, struct refusal *why)
{
    switch (m->operation_case) {
    case SENSEBUS__V1__OPERATION__OPERATION_HALT: return operation_kernel_halt(op, why);
    case SENSEBUS__V1__OPERATION__OPERATION_RESET:
        op->lun_reset = m->reset->lun_reset;
        return operation_kernel_reset(op, why);
    case SENSEBUS__V1__OPERATION__OPERATION_INQUIRY: return begin_inquiry(op, m->inquiry, why);
    default: return operation_kernel_test_unit_ready(op, why);
    }
}

static bool begin_at_unit(struct operation *op, const Sensebus__V1__Operation *m, struct refusal *why)
{
    switch (m->operation_case) {
    case SENSEBUS__V1__OPERATION__OPERATION_HALT: return operation_halt(op, why);
    case SENSEBUS__V1__OPERATION__OPERATION_RESET: op->lun_reset = m->reset->lun_reset; return operation_reset(op, why);
    case SENSEBUS__V1__OPERATION__OPERATION_INQUIRY: return begin_inquiry(op, m->inquiry, why);
    default: return operation_test_unit_ready(op, why);
    }
}

static bool at_unit(struct operations *o, const Sensebus__V1__Operation *m, enum operation_kind kind,
                    struct refusal *why)
{
    struct device_session *s = find_session(o, m, why);
    bool of_kernel = s && !s->watch;
    struct operation *op;

    if (!of_kernel && in_diagnosis(o, why))
        return false;
    op = s ? operation_new(o, m, kind, s, why) : NULL;
    if (!op)
        return false;
    if (of_kernel ? begin_at_kernel(op, m, why) : begin_at_unit(op, m, why))
        return true;
    withdraw(op);
    return false;
}

void operations_begin(struct operations *o, const Sensebus__V1__Operation *m)
{
    struct refusal why;
    bool begun;

    log_debug("operation.begin", "id=%" PRIu64 " session=%s kind=%d", m->id, m->session_id, (int)m->operation_case);
    switch (m->operation_case) {
    case SENSEBUS__V1__OPERATION__OPERATION_CLOSE: close_session(o, m); return;
    case SENSEBUS__V1__OPERATION__OPERATION_RELEASE_BUFFERS: release_buffers(o, m); return;
    case SENSEBUS__V1__OPERATION__OPERATION_IOC_INFO: begun = ioc_info(o, m, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_OPEN: begun = open_device(o, m, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET: begun = open_target(o, m, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_EVENT: begun = register_event(o, m, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_HALT: begun = at_unit(o, m, OPERATION_HALT, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_RESET: begun = at_unit(o, m, OPERATION_RESET, &why); break;
    case SENSEBUS__V1__OPERATION__OPERATION_INQUIRY:
    case SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY: begun = at_unit(o, m, OPERATION_COMMAND, &why); break;
    default:
        refuse(&why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "this agent (" SENSEBUS_VERSION ") does not know that");
        begun = false;
        break;
    }
    if (!begun)
        send_refusal(o, m->id, &why);
    schedule(o);
}

/* ------------------------------------------------------------------------------------------------ life */

void operations_held(struct operations *o)
{
    uint64_t held = o->ops->held(o->data);

    for (struct operation *op = o->first, *next; op; op = next) {
        Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;

        next = op->next;
        if (op->sequence == 0 || op->sequence > held)
            continue;
        result.after_source_sequence = op->sequence;
        operation_answer(op, &result);
    }
}

void operations_stream_ended(struct operations *o)
{
    for (struct operation *op = o->first, *next; op; op = next) {
        next = op->next;
        operation_leave(op);
    }
    device_sessions_clear(&o->sessions);
    if (o->options.adapters->target_mode)
        target_mode_close_all(o->options.adapters->target_mode);
    schedule(o);
}

void operations_init(struct operations *o, uv_loop_t *loop, const struct operations_options *options,
                     const struct operations_ops *ops, void *data)
{
    memset(o, 0, sizeof *o);
    o->options = *options;
    o->ops = ops;
    o->data = data;
    device_sessions_init(&o->sessions, uv_hrtime());
    uv_timer_init(loop, &o->timer);
    o->timer.data = o;
}

void operations_close(struct operations *o)
{
    operations_stream_ended(o);
    device_sessions_deinit(&o->sessions);
    uv_close((uv_handle_t *)&o->timer, NULL);
}
