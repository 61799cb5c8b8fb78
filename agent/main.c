/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus-agent: the parts put together.
 *
 * targets (-> calm), target mode, sources -> record -> spool -> publish -> broker; what subscribers ask for comes back
 * from the broker to operations, and from there to targets and target mode. Nothing to watch, or nobody to deliver to,
 * is no reason to end. SIGTERM or SIGINT: log out of the targets, write the last events, deliver them, say Detach, exit
 * 0; calls that the kernel keeps are left behind (pool.h). */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/adapters.h"
#include "agent/check.h"
#include "agent/config.h"
#include "agent/coverage.h"
#include "agent/kernel/kernel.h"
#include "agent/operations.h"
#include "agent/pool.h"
#include "agent/publish.h"
#include "agent/source/calm.h"
#include "agent/source/sources.h"
#include "agent/spool.h"
#include "agent/target/target_mode.h"
#include "agent/targets.h"
#include "proto/event_view.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "runtime/standard_files.h"
#include "runtime/tls_renewal.h"
#include "sensebus/v1/agents.pb-c.h"

#define FLUSH_POLL_MS 20
#define FLUSH_MAX_MS  2000
#define FIRST_LOOK_MS 2000

/* Limits of each unit of a target for storm control. A unit is read at its own pace (POLL_MAX_DRAIN in a poll): they
 * are for targets that push. */
#define UNIT_BURST 1000
#define UNIT_RATE  100

struct agent {
    uv_loop_t *loop;
    struct config config;
    struct spool spool;
    struct targets targets;
    struct target_mode *target_mode; /* NULL = off */
    struct kernel *kernel;           /* NULL = no hook tells when its devices go */
    struct sources *sources;
    struct calm *calm; /* between targets and spool */
    struct adapters adapters;
    struct operations operations;
    struct publish publish;
    struct coverage coverage;
    struct command_counts counts;
    uv_signal_t term, interrupt;
    struct tls_renewal renewal; /* by SIGHUP */
    uv_timer_t first_look;      /* the broker is told of the agent without what still could not be looked at */
    uv_timer_t flush;           /* stopping: until the last events are held */
    uint32_t flush_left_ms;
    struct pool_end pool_end;
    bool stopping;
};

/* ------------------------------------------------------------------------------------------------ events */

static void on_record(void *data, const struct record *record)
{
    struct agent *a = data;
    struct record_bytes event = {0};

    log_debug("agent.event", "code=%u target=%s lun=%" PRId64, record->code,
              record->place.target_name ? record->place.target_name : "", record->place.lun);
    if (record_encode(record, &event) < 0)
        log_error("record.memory", "code=%u", record->code); /* the spool counts it as lost */
    spool_append(&a->spool, &event, record->source, record->wall_ns, record->boot_ns);
    free(event.bytes);
}

static void on_target_record(void *data, const struct record *record)
{
    struct agent *a = data;

    calm_take(a->calm, record);
}

static void on_held(struct spool *s, void *data)
{
    struct agent *a = data;

    log_debug("spool.held", "newest=%" PRIu64 " dropped=%" PRIu64, spool_newest(s), spool_n_dropped(s));
    publish_held(&a->publish);
    operations_held(&a->operations);
}

static void on_disk(struct spool *s, void *data, int error)
{
    struct agent *a = data;
    char reason[128];

    (void)s;
    if (error) {
        log_error("spool.disk", "state=%s reason=\"%s\"", a->config.state_directory, uv_strerror(error));
        snprintf(reason, sizeof reason, "events wait in memory, the spool cannot be written: %s", uv_strerror(error));
    } else {
        log_info("spool.disk", "state=%s writes again", a->config.state_directory);
        reason[0] = 0;
    }
    coverage_set(&a->coverage, SENSEBUS__V1__SOURCE__SOURCE_AGENT, "spool",
                 error ? SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED
                       : SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED,
                 reason);
    publish_coverage_changed(&a->publish);
}

static void attach(struct agent *a)
{
    uv_timer_stop(&a->first_look);
    publish_let_attach(&a->publish);
}

static void on_first_look_over(uv_timer_t *timer)
{
    attach(timer->data);
}

static void attach_when_looked(struct agent *a)
{
    if (uv_is_active((uv_handle_t *)&a->first_look) && targets_have_looked(&a->targets) &&
        (!a->kernel || kernel_has_looked(a->kernel)) && (!a->target_mode || target_mode_has_looked(a->target_mode)))
        attach(a);
}

static void on_coverage(void *data)
{
    struct agent *a = data;

    attach_when_looked(a);
    publish_coverage_changed(&a->publish);
}

static void on_inventory(void *data)
{
    struct agent *a = data;

    attach_when_looked(a);
    publish_inventory_changed(&a->publish);
}

static int encode_coverage(void *data, uint8_t **out_bytes, size_t *out_len)
{
    struct agent *a = data;

    targets_prove(&a->targets);
    if (a->target_mode)
        target_mode_prove(a->target_mode);
    if (a->sources)
        sources_prove(a->sources);
    return coverage_encode(&a->coverage, out_bytes, out_len);
}

static int encode_inventory(void *data, uint8_t **out_bytes, size_t *out_len)
{
    struct agent *a = data;
    struct kernel_inventory kernel = {0};
    struct adapter_list adapters;
    int rc = adapters_list(&a->adapters, &adapters);

    if (rc == 0 && a->kernel)
        rc = kernel_inventory(a->kernel, &kernel);
    if (rc == 0)
        rc = targets_encode_inventory(&a->targets, kernel.items, kernel.n, &adapters, out_bytes, out_len);
    kernel_inventory_free(&kernel);
    adapter_list_free(&adapters);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ operations */

static int list_adapters(void *data, struct adapter_list *out)
{
    struct agent *a = data;

    return adapters_list(&a->adapters, out);
}

static void on_operation(void *data, const Sensebus__V1__Operation *operation)
{
    struct agent *a = data;

    operations_begin(&a->operations, operation);
}

static void on_stream_ended(void *data)
{
    struct agent *a = data;

    operations_stream_ended(&a->operations);
}

static void on_writable(void *data)
{
    struct agent *a = data;

    if (a->target_mode)
        target_mode_writable(a->target_mode);
}

static void on_result(void *data, const Sensebus__V1__OperationResult *result)
{
    struct agent *a = data;

    publish_result(&a->publish, result);
}

static uint64_t reported(void *data)
{
    struct agent *a = data;

    return spool_appended(&a->spool);
}

static uint64_t held(void *data)
{
    struct agent *a = data;

    return spool_newest(&a->spool);
}

static bool on_received(void *data, const char *session_id, uint64_t generation, const uint8_t *bytes, size_t len)
{
    struct agent *a = data;

    return publish_received(&a->publish, session_id, generation, bytes, len);
}

/* ------------------------------------------------------------------------------------------------ stop */

static void on_spool_closed(void *data)
{
    struct agent *a = data;

    uv_close((uv_handle_t *)&a->term, NULL);
    uv_close((uv_handle_t *)&a->interrupt, NULL);
    tls_renewal_close(&a->renewal);
    uv_close((uv_handle_t *)&a->first_look, NULL);
    uv_close((uv_handle_t *)&a->flush, NULL);
    pool_end(&a->pool_end, a->loop);
}

static void on_published(void *data)
{
    struct agent *a = data;

    operations_close(&a->operations);
    spool_close(&a->spool, on_spool_closed, a);
}

static void on_flush(uv_timer_t *timer)
{
    struct agent *a = timer->data;

    if (!spool_settled(&a->spool) && a->flush_left_ms > 0) {
        a->flush_left_ms -= FLUSH_POLL_MS;
        return;
    }
    uv_timer_stop(timer);
    publish_stop(&a->publish, "the agent stops", on_published, a);
}

static void on_all_stopped(void *data)
{
    struct agent *a = data;

    a->sources = NULL;
    a->flush_left_ms = FLUSH_MAX_MS;
    uv_timer_start(&a->flush, on_flush, 0, FLUSH_POLL_MS);
}

static void on_kernel_stopped(void *data)
{
    struct agent *a = data;

    sources_stop(a->sources, on_all_stopped, a);
}

static void on_target_mode_stopped(void *data)
{
    struct agent *a = data;
    struct kernel *kernel = a->kernel;

    a->target_mode = a->adapters.target_mode = NULL;
    if (!kernel) {
        on_kernel_stopped(a);
        return;
    }
    a->kernel = a->adapters.kernel = NULL;
    kernel_stop(kernel, on_kernel_stopped, a);
}

static void on_calm_stopped(void *data)
{
    struct agent *a = data;

    a->calm = NULL;
    if (a->target_mode)
        target_mode_stop(a->target_mode, on_target_mode_stopped, a);
    else
        on_target_mode_stopped(a);
}

static void on_targets_stopped(void *data)
{
    struct agent *a = data;

    calm_stop(a->calm, on_calm_stopped, a);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *a = handle->data;

    if (a->stopping)
        return;
    a->stopping = true;
    log_info("agent.stopping", "signal=%d", number);
    tls_renewal_stop(&a->renewal);
    uv_timer_stop(&a->first_look);
    targets_stop(&a->targets, on_targets_stopped, a);
}

/* ------------------------------------------------------------------------------------------------ start */

/* The spool's file could not be read: how much it held is not known. */
static void tell_spool_lost(struct agent *a, const char *directory)
{
    static const struct record_gap gap = {.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_AGENT,
                                          .at_least = true,
                                          .aix_bits = AIX_ALL_BITS,
                                          .reason = "the agent's spool was damaged, and is set aside"};
    struct record record = {
        .code = SENSEBUS__V1__CODE__EVENTS_LOST,
        .source = SENSEBUS__V1__SOURCE__SOURCE_AGENT,
        .scope = SENSEBUS__V1__SCOPE__SCOPE_HOST,
        .mode = SENSEBUS__V1__MODE__MODE_BOTH,
        .place = {.controller = -1, .target = -1, .lun = -1},
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .gap = &gap,
    };

    log_error("spool.started_over", "directory=%s reason=\"data.mdb was damaged; it is data.mdb.damaged now\"",
              directory);
    on_record(a, &record);
}

static int open_spool(struct agent *a)
{
    static const struct spool_ops ops = {.on_held = on_held, .on_disk = on_disk};
    char directory[4096];
    struct spool_options options = {
        .directory = directory,
        .host = a->config.host,
        .boot_id = a->config.boot_id,
        .max_bytes = a->config.spool_max_bytes,
        .max_records = a->config.spool_max_records,
    };
    int rc;

    if (snprintf(directory, sizeof directory, "%s/spool", a->config.state_directory) >= (int)sizeof directory)
        return UV_ENAMETOOLONG;
    rc = spool_open(&a->spool, a->loop, &options, &ops, a);
    if (rc == UV_EBUSY)
        log_error("spool.open", "directory=%s reason=\"another agent has it open\"", directory);
    else if (rc < 0)
        log_error("spool.open", "directory=%s reason=\"%s\"", directory, uv_strerror(rc));
    else
        log_info("spool.open", "directory=%s epoch=%016" PRIx64 " newest=%" PRIu64 " records=%" PRIu64, directory,
                 spool_epoch(&a->spool), spool_newest(&a->spool), a->spool.held.n_records);
    if (rc == 0 && spool_started_over(&a->spool))
        tell_spool_lost(a, directory);
    return rc;
}

static int start_publish(struct agent *a)
{
    static const struct publish_ops ops = {
        .encode_coverage = encode_coverage,
        .encode_inventory = encode_inventory,
        .list_adapters = list_adapters,
        .on_operation = on_operation,
        .on_stream_ended = on_stream_ended,
        .on_writable = on_writable,
    };
    struct publish_options options = {
        .broker = a->config.broker,
        .insecure = a->config.insecure,
        .tls = a->config.tls,
        .server_name = a->config.server_name,
        .host = a->config.host,
        .boot_id = a->config.boot_id,
        .spool = &a->spool,
        .counts = &a->counts,
    };
    int rc = uv_random(NULL, NULL, &options.instance, sizeof options.instance, 0, NULL);

    if (rc == 0)
        rc = publish_start(&a->publish, a->loop, &options, &ops, a);
    if (rc < 0)
        log_error("publish.start", "broker=%s reason=\"%s\"", a->config.broker, uv_strerror(rc));
    return rc;
}

static void add_targets(struct agent *a)
{
    for (size_t i = 0; i < a->config.n_targets; i++) {
        int rc = targets_add(&a->targets, &a->config.targets[i]);

        if (rc < 0)
            log_error("targets.add", "target=%s reason=\"%s\"", a->config.targets[i].name, uv_strerror(rc));
    }
    for (size_t i = 0; i < a->config.n_discover; i++) {
        int rc = targets_discover(&a->targets, a->config.discover[i]);

        if (rc < 0)
            log_error("targets.discover", "portal=%s reason=\"%s\"", a->config.discover[i], uv_strerror(rc));
    }
    if (a->config.n_targets + a->config.n_discover == 0 && !a->target_mode)
        log_info("targets.none", "reason=\"neither --target nor --discover was given: only this host is watched\"");
}

static int start_targets(struct agent *a)
{
    static const struct targets_ops ops = {
        .on_record = on_target_record, .on_coverage = on_coverage, .on_inventory = on_inventory};
    struct targets_options options = {
        .state_directory = a->config.state_directory,
        .initiator_name = a->config.initiator_name,
        .chap = &a->config.chap,
        .header_digest = a->config.header_digest,
        .poll_ms = (uint32_t)a->config.poll_ms,
        .jitter_ms = (uint32_t)a->config.jitter_ms,
        .compare_ms = (uint32_t)a->config.compare_ms,
        .command_timeout_ms = (uint32_t)a->config.command_timeout_ms,
        .discover_interval_ms = (uint32_t)a->config.discover_interval_ms,
        .counts = &a->counts,
        .coverage = &a->coverage,
    };
    int rc = calm_start(a->loop, &(struct storm_options){.burst = UNIT_BURST, .rate_per_s = UNIT_RATE}, on_record, a,
                        &a->calm);

    if (rc == 0)
        rc = targets_init(&a->targets, a->loop, &options, &ops, a);
    if (rc < 0)
        log_error("targets.start", "state=%s reason=\"%s\"", a->config.state_directory, uv_strerror(rc));
    return rc;
}

/* What a caller asked of a device of the kernel: behind what the sources told of it before. */
static void on_asked_record(void *data, const struct record *record)
{
    struct agent *a = data;

    if (a->sources)
        sources_report(a->sources, record);
    else
        on_record(a, record);
}

static void start_operations(struct agent *a)
{
    static const struct operations_ops ops = {
        .on_result = on_result, .reported = reported, .held = held, .on_record = on_asked_record};
    struct operations_options options = {.host = a->config.host, .adapters = &a->adapters, .targets = &a->targets};

    a->adapters = (struct adapters){
        .initiator_name = a->config.initiator_name,
        .targets = &a->targets,
        .target_mode = a->target_mode,
        .kernel = a->kernel,
        .diagnostics = a->config.diagnostics,
    };
    operations_init(&a->operations, a->loop, &options, &ops, a);
}

static int start_target_mode(struct agent *a)
{
    static const struct target_mode_ops ops = {
        .on_record = on_record, .on_coverage = on_coverage, .on_adapters = on_inventory, .on_received = on_received};
    struct target_mode_options options = {
        .tgtd_socket = a->config.tgtd_socket,
        .lio_root = a->config.lio_root,
        .feed = a->config.target_feed,
        .state_directory = a->config.state_directory,
        .poll_ms = (uint32_t)a->config.target_poll_ms,
        .coverage = &a->coverage,
    };
    char err[256];
    int rc;

    if (!options.tgtd_socket && !options.lio_root && !options.feed)
        return 0;
    rc = target_mode_start(a->loop, &options, &ops, a, &a->target_mode, err, sizeof err);
    if (rc < 0)
        log_error("target_mode.start", "reason=\"%s\"", err);
    return rc;
}

/* Is the source of that name on by configuration? */
static bool is_on(const struct agent *a, const char *source)
{
    return !(a->config.sources_off & 1u << sources_find(source));
}

static int start_kernel(struct agent *a)
{
    static const struct kernel_ops ops = {.on_changed = on_inventory};
    struct kernel_options options = {
        .sysfs_root = a->config.sysfs_root,
        .poll_ms = (uint32_t)a->config.source_poll_ms,
        .allow_reset = a->config.allow_reset,
        .coverage = &a->coverage,
    };
    int rc = 0;

    if (is_on(a, "uevent") || is_on(a, "sysfs"))
        rc = kernel_start(a->loop, &options, &ops, a, &a->kernel);
    if (rc < 0)
        log_error("kernel.start", "reason=\"%s\"", uv_strerror(rc));
    return rc;
}

/* What LIO told an initiator is of the adapter that its target is in target mode. */
static void name_served(struct agent *a, struct record *record)
{
    struct target_mode_adapter adapter;

    if (record->mode != SENSEBUS__V1__MODE__MODE_TARGET || record->place.adapter || !record->place.target_name ||
        !a->target_mode || !target_mode_find_lio(a->target_mode, record->place.target_name, &adapter))
        return;
    record->place.adapter = adapter.name;
    record->place.controller = adapter.controller;
}

static void on_kernel_record(void *data, const struct record *record)
{
    struct agent *a = data;
    struct record named = *record;

    name_served(a, &named);
    on_record(a, &named);
    if (a->kernel)
        kernel_heard(a->kernel, record);
}

static int start_sources(struct agent *a)
{
    static const struct sources_ops ops = {.on_record = on_kernel_record, .on_coverage = on_coverage};
    struct sources_options options = {
        .off = a->config.sources_off,
        .sysfs_root = a->config.sysfs_root,
        .poll_ms = (uint32_t)a->config.source_poll_ms,
        .merge_window_ms = (uint32_t)a->config.merge_window_ms,
        .coverage = &a->coverage,
    };
    int rc = sources_start(a->loop, &options, &ops, a, &a->sources);

    if (rc < 0)
        log_error("sources.start", "reason=\"%s\"", uv_strerror(rc));
    return rc;
}

static void watch_signal(struct agent *a, uv_signal_t *handle, int number)
{
    uv_signal_init(a->loop, handle);
    handle->data = a;
    uv_signal_start(handle, on_signal, number);
}

/* Everything up, or nothing. A part that fails has closed itself; the process ends, so the ones before it are left to
 * the kernel, except the spool, which is consistent at any moment. */
static int agent_start(struct agent *a)
{
    int rc;

    uv_timer_init(a->loop, &a->flush);
    uv_timer_init(a->loop, &a->first_look);
    a->flush.data = a->first_look.data = a;
    watch_signal(a, &a->term, SIGTERM);
    watch_signal(a, &a->interrupt, SIGINT);
    rc = tls_renewal_init(&a->renewal, a->loop);
    if (rc < 0)
        log_error("agent.signals", "reason=\"%s\"", uv_strerror(rc));
    else
        rc = open_spool(a);
    if (rc == 0)
        rc = coverage_set(&a->coverage, SENSEBUS__V1__SOURCE__SOURCE_AGENT, "spool",
                          SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED, "");
    if (rc == 0)
        rc = start_targets(a);
    if (rc == 0)
        rc = start_target_mode(a);
    if (rc == 0)
        rc = start_kernel(a);
    if (rc == 0) {
        start_operations(a);
        rc = start_publish(a);
    }
    if (rc == 0)
        rc = start_sources(a);
    if (rc == 0) {
        add_targets(a);
        uv_update_time(a->loop); /* names of new targets were written to disk */
        uv_timer_start(&a->first_look, on_first_look_over, FIRST_LOOK_MS, 0);
        attach_when_looked(a);
        tls_renewal_start(&a->renewal, a->config.tls);
    }
    return rc;
}

int main(int argc, char **argv)
{
    static struct agent agent;
    char err[512];

    standard_files_ensure();
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not become longer is a full disk */
    signal(SIGHUP, SIG_IGN);  /* until it is answered */
    if (pool_size() < 0) {
        fprintf(stderr, "sensebus-agent: out of memory\n");
        return 1;
    }
    switch (config_read(&agent.config, argc, argv, err, sizeof err)) {
    case CONFIG_RUN: break;
    case CONFIG_DONE: config_free(&agent.config); return 0;
    case CONFIG_ERROR:
        fprintf(stderr, "sensebus-agent: %s\n", err);
        config_free(&agent.config);
        return 2;
    }
    if (agent.config.check) {
        check_print(&agent.config, stdout);
        config_free(&agent.config);
        return 0;
    }
    log_set_level(agent.config.log_level);
    agent.loop = uv_default_loop();
    log_info("agent.starting", "version=%s host=%s broker=%s initiator=%s", SENSEBUS_VERSION, agent.config.host,
             agent.config.broker, agent.config.initiator_name);
    if (agent_start(&agent) < 0)
        return 1;
    uv_run(agent.loop, UV_RUN_DEFAULT);
    if (!pool_ended(&agent.pool_end)) {
        log_warn("agent.left_behind", "reason=\"the kernel keeps calls: looks at sysfs or configfs, resets, names\"");
        log_info("agent.stopped", "%s", "");
        fflush(NULL);
        _exit(0);
    }
    targets_deinit(&agent.targets);
    coverage_free(&agent.coverage);
    config_free(&agent.config);
    uv_loop_close(agent.loop);
    log_info("agent.stopped", "%s", "");
    return 0;
}
