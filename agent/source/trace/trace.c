/* SPDX-License-Identifier: Apache-2.0 */
/* Two sources, which differ in their kind alone.
 * A timer looks every TICK_MS: without the module there is nothing to arm; once it is there, BPF, else tracefs is
 * armed. When neither can be, all is tried again every RETRY_TICKS, for tracefs may be mounted. Without the module
 * again (only BPF keeps it from going) it waits anew. Records are judged as they are read (decode.h), noise is counted
 * and forgotten, retries are folded (fold.h): what is held back leaves when its time has come, which a timer of its own
 * says. */
#include "agent/source/trace/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/source/trace/fold.h"
#include "agent/source/trace/hook.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

#define TICK_MS     1000
#define RETRY_TICKS 60

#define OFF      SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define DEGRADED SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED
#define ARMED    SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED

struct kind {
    uint32_t source;    /* enum Source */
    const char *gate;   /* below sysfs: there is something to trace. Also where it is built in: it has parameters */
    const char *absent; /* when that is not there */
    const struct hook_api *bpf, *tracefs;
    const char *through_tracefs; /* what is not seen so */
};

static const struct kind scsi_kind = {
    .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE,
    .gate = "module/scsi_mod",
    .absent = "scsi_mod is not loaded: this kernel has no SCSI devices; armed when it is",
    .bpf = &bpf_hook_api,
    .tracefs = &tracefs_hook_api,
    .through_tracefs = "no device states, no sense before Linux 6.5",
};

static const struct kind answers_kind = {
    .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
    .gate = "module/target_core_mod",
    .absent = "target_core_mod is not loaded: this kernel serves no target; armed when it is",
    .bpf = &bpf_target_api,
    .tracefs = &tracefs_target_api,
    .through_tracefs = "no names of targets, 18 bytes of sense",
};

struct source {
    const struct kind *kind;
    const struct source_ops *ops;
    void *data;
    uv_loop_t *loop;
    char *sysfs_root;
    uv_timer_t tick, due;
    uv_poll_t poll;
    int n_open;   /* handles */
    bool polling; /* `poll` is initialised */
    const struct hook_api *api;
    struct hook *hook; /* NULL: not armed */
    uint32_t n_skip;   /* ticks until all is tried again */
    struct trace_fold fold;
    uint64_t n_noise, n_lost, whole_ns; /* until `whole_ns` nothing was lost that is not told */
    uint64_t last_proof_ns;
    uint32_t state;
    char reason[SOURCE_REASON_BYTES];
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

static void cover(struct source *s, uint32_t state, const char *reason)
{
    if (s->state == state && strcmp(s->reason, reason) == 0)
        return;
    s->state = state;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    s->ops->on_coverage(s->data, s->kind->source, state, s->reason);
}

/* ------------------------------------------------------------------------------------------------ records */

static void on_folded(void *data, const struct trace_record *record, const struct trace_judgement *judgement,
                      uint32_t count)
{
    struct source *s = data;
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;
    uint64_t now_ns = clock_mono_ns(), age_ns = now_ns > record->mono_ns ? now_ns - record->mono_ns : 0;

    trace_observe(record, judgement->code, count, detail, &o);
    o.wall_ns = clock_wall_ns() - age_ns;
    o.boot_ns = clock_boot_ns() - age_ns;
    s->ops->on_observation(s->data, &o);
}

static void on_due(uv_timer_t *timer);

static void wait_for_due(struct source *s)
{
    uint64_t due_ns = trace_fold_due(&s->fold), now_ns = clock_mono_ns();

    if (due_ns == UINT64_MAX)
        uv_timer_stop(&s->due);
    else
        uv_timer_start(&s->due, on_due, due_ns > now_ns ? (due_ns - now_ns) / 1000000 + 1 : 0, 0);
}

static void on_due(uv_timer_t *timer)
{
    struct source *s = timer->data;

    trace_fold_flush(&s->fold, clock_mono_ns(), on_folded, s);
    wait_for_due(s);
}

static void on_record(void *data, const struct trace_record *record)
{
    struct source *s = data;
    struct trace_judgement judgement = trace_judge(record);

    if (judgement.verdict == TRACE_NOISE)
        s->n_noise++;
    else
        trace_fold_add(&s->fold, record, &judgement, on_folded, s);
}

static void tell_losses(struct source *s)
{
    uint64_t lost = s->api->lost(s->hook), now_ns = clock_wall_ns();
    char reason[96];

    if (lost > s->n_lost) {
        snprintf(reason, sizeof reason,
                 "the kernel dropped %" PRIu64 " trace records: they came faster than they were read",
                 lost - s->n_lost);
        s->ops->on_lost(s->data, s->kind->source, s->whole_ns, now_ns, reason);
    }
    s->n_lost = lost;
    s->whole_ns = now_ns;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct source *s = poll->data;

    (void)status;
    (void)events;
    s->last_proof_ns = clock_wall_ns();
    s->api->read(s->hook, on_record, s);
    tell_losses(s);
    wait_for_due(s);
}

/* ------------------------------------------------------------------------------------------------ arming */

static bool is_loaded(const struct kind *kind, const char *sysfs_root)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", sysfs_root, kind->gate);
    return access(path, F_OK) == 0;
}

static int try_hook(struct source *s, const struct hook_api *api, char *reason, size_t reason_len)
{
    int rc = api->open(s->sysfs_root, &s->hook, reason, reason_len);

    if (rc < 0) {
        if (rc == UV_ENOMEM)
            snprintf(reason, reason_len, "out of memory");
        return rc;
    }
    rc = uv_poll_init(s->loop, &s->poll, api->fd(s->hook));
    if (rc < 0) {
        snprintf(reason, reason_len, "the loop cannot wait for it: %s", uv_strerror(rc));
        api->close(s->hook);
        s->hook = NULL;
        return rc;
    }
    s->poll.data = s;
    s->polling = true;
    s->n_open++;
    s->api = api;
    s->n_lost = api->lost(s->hook);
    s->whole_ns = clock_wall_ns();
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    return 0;
}

/* Why neither way is open: once where it is one reason. */
static void say_both(const char *bpf, const char *tracefs, char *reason, size_t reason_len)
{
    if (strcmp(bpf, tracefs) == 0)
        snprintf(reason, reason_len, "%s", bpf);
    else
        snprintf(reason, reason_len, "BPF: %s; tracefs: %s", bpf, tracefs);
}

static void arm(struct source *s)
{
    char bpf[HOOK_REASON_BYTES] = "", tracefs[HOOK_REASON_BYTES] = "", reason[SOURCE_REASON_BYTES];

    if (try_hook(s, s->kind->bpf, bpf, sizeof bpf) == 0) {
        const char *blind = s->api->blind(s->hook);

        cover(s, blind[0] ? DEGRADED : ARMED, blind);
    } else if (try_hook(s, s->kind->tracefs, tracefs, sizeof tracefs) == 0) {
        snprintf(reason, sizeof reason, "%s; BPF: %s", s->api->blind(s->hook), bpf);
        cover(s, DEGRADED, reason);
    } else {
        say_both(bpf, tracefs, reason, sizeof reason);
        cover(s, OFF, reason);
        s->n_skip = RETRY_TICKS;
    }
}

static void on_poll_closed(uv_handle_t *handle);

/* What the kernel has said until now is read; then the hook goes, when the loop has let go of its descriptor. */
static void disarm(struct source *s)
{
    s->api->read(s->hook, on_record, s);
    tell_losses(s);
    s->polling = false;
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

static void on_tick(uv_timer_t *timer)
{
    struct source *s = timer->data;

    if (s->hook && !s->polling)
        return; /* it is on its way out */
    if (s->hook && !is_loaded(s->kind, s->sysfs_root)) {
        disarm(s);
        wait_for_due(s);
        cover(s, OFF, s->kind->absent);
    } else if (s->hook) {
        tell_losses(s);
    } else if (!is_loaded(s->kind, s->sysfs_root)) {
        s->n_skip = 0;
        cover(s, OFF, s->kind->absent);
    } else if (s->n_skip > 0) {
        s->n_skip--;
    } else {
        arm(s);
    }
}

static uint32_t check(const struct kind *kind, const struct source_options *options, char *reason, size_t reason_len)
{
    char bpf[HOOK_REASON_BYTES] = "", tracefs[HOOK_REASON_BYTES] = "";

    reason[0] = 0;
    if (!is_loaded(kind, options->sysfs_root)) {
        snprintf(reason, reason_len, "%s", kind->absent);
        return OFF;
    }
    if (kind->bpf->possible(options->sysfs_root, bpf, sizeof bpf))
        return ARMED;
    if (kind->tracefs->possible(options->sysfs_root, tracefs, sizeof tracefs)) {
        snprintf(reason, reason_len, "through tracefs: %s; BPF: %s", kind->through_tracefs, bpf);
        return DEGRADED;
    }
    say_both(bpf, tracefs, reason, reason_len);
    return OFF;
}

static uint32_t check_scsi(const struct source_options *options, char *reason, size_t reason_len)
{
    return check(&scsi_kind, options, reason, reason_len);
}

static uint32_t check_answers(const struct source_options *options, char *reason, size_t reason_len)
{
    return check(&answers_kind, options, reason, reason_len);
}

/* ------------------------------------------------------------------------------------------------ life */

static int start(const struct kind *kind, const struct source_options *options, const struct source_ops *ops,
                 void *data, struct source **out_source)
{
    struct source *s = calloc(1, sizeof *s);

    if (!s)
        return UV_ENOMEM;
    s->sysfs_root = strdup(options->sysfs_root);
    if (!s->sysfs_root) {
        free(s);
        return UV_ENOMEM;
    }
    s->kind = kind;
    s->ops = ops;
    s->data = data;
    s->loop = options->loop;
    uv_timer_init(s->loop, &s->tick);
    uv_timer_init(s->loop, &s->due);
    s->tick.data = s->due.data = s;
    s->n_open = 2;
    uv_timer_start(&s->tick, on_tick, 0, TICK_MS);
    *out_source = s;
    return 0;
}

static int start_scsi(const struct source_options *options, const struct source_ops *ops, void *data,
                      struct source **out_source)
{
    return start(&scsi_kind, options, ops, data, out_source);
}

static int start_answers(const struct source_options *options, const struct source_ops *ops, void *data,
                         struct source **out_source)
{
    return start(&answers_kind, options, ops, data, out_source);
}

static void one_closed(struct source *s)
{
    void (*cb)(void *) = s->on_stopped;
    void *data = s->on_stopped_data;

    if (--s->n_open > 0)
        return;
    free(s->sysfs_root);
    free(s);
    cb(data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct source *s = handle->data;

    s->api->close(s->hook);
    s->hook = NULL;
    one_closed(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void stop(struct source *s, void (*cb)(void *data), void *data)
{
    s->on_stopped = cb;
    s->on_stopped_data = data;
    if (s->polling)
        disarm(s);
    trace_fold_flush(&s->fold, UINT64_MAX, on_folded, s);
    if (s->n_noise > 0 || s->fold.n_repeated > 0)
        log_debug("trace.stop", "gate=%s noise=%" PRIu64 " repeated=%" PRIu64, s->kind->gate, s->n_noise,
                  s->fold.n_repeated);
    uv_close((uv_handle_t *)&s->tick, on_timer_closed);
    uv_close((uv_handle_t *)&s->due, on_timer_closed);
}

static bool awaited(const struct source *s)
{
    return s->hook && s->api->tells_sense(s->hook);
}

static uint64_t last_proof(const struct source *s)
{
    return s->last_proof_ns;
}

const struct source_api trace_source_api = {
    .name = "trace",
    .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE,
    .start = start_scsi,
    .stop = stop,
    .awaited = awaited,
    .last_proof = last_proof,
    .check = check_scsi,
};

const struct source_api answers_source_api = {
    .name = "lio-sense",
    .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
    .start = start_answers,
    .stop = stop,
    .awaited = awaited,
    .last_proof = last_proof,
    .check = check_answers,
};
