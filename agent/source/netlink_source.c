/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/netlink_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "sensebus/v1/agents.pb-c.h"

#define POLL_MS_MIN 10

/* ------------------------------------------------------------------------------------------------ coverage */

/* Why it cannot join, and what helps. */
static void explain(int rc, char *out, size_t out_len)
{
    switch (rc) {
    case UV_EPERM:
    case UV_EACCES:
        snprintf(out, out_len,
                 "the kernel lets only CAP_NET_ADMIN listen here: grant it (AmbientCapabilities=CAP_NET_ADMIN in the "
                 "unit, or setcap cap_net_admin+ep)");
        break;
    case UV_ECONNREFUSED:
        snprintf(out, out_len,
                 "the kernel sends these events to the host's own network namespace alone, and this is another: run "
                 "the agent in that of the host");
        break;
    case UV_EPROTONOSUPPORT: snprintf(out, out_len, "this kernel does not speak this netlink protocol"); break;
    case UV_ENOENT: snprintf(out, out_len, "this kernel has no such family or group of generic netlink"); break;
    default: snprintf(out, out_len, "cannot listen: %s", uv_strerror(rc)); break;
    }
}

static void set_coverage(struct netlink_source *s, uint32_t state, const char *reason)
{
    if (s->state == state && strcmp(s->reason, reason) == 0)
        return;
    s->state = state;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    s->ops->on_coverage(s->data, s->kind->source, state, s->reason);
}

/* 0 = there is none. */
static uint64_t find_gate(const char *sysfs_root, const char *gate)
{
    char path[NETLINK_SOURCE_PATH_BYTES];
    struct stat status;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", sysfs_root, gate) >= sizeof path)
        return 0;
    return stat(path, &status) == 0 ? status.st_ino : 0;
}

uint32_t netlink_source_check(const struct netlink_source_kind *kind, const struct source_options *options,
                              char *reason, size_t reason_len)
{
    int rc;

    if (find_gate(options->sysfs_root, kind->gate) == 0) {
        snprintf(reason, reason_len, "%s", kind->absent);
        return SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF;
    }
    rc = netlink_probe(&kind->group);
    if (rc < 0) {
        explain(rc, reason, reason_len);
        return SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF;
    }
    reason[0] = 0;
    return SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
}

/* ------------------------------------------------------------------------------------------------ listening */

static void on_message(void *data, const struct netlink_message *message)
{
    struct netlink_source *s = data;
    uint64_t suppressed;

    s->heard_wall_ns = s->proof_wall_ns = clock_wall_ns();
    if (s->kind->on_message(s, message))
        return;
    if (log_limit_allow(&s->malformed_limit, clock_mono_ns() / 1000000, 5, &suppressed))
        log_warn("netlink.malformed", "source=%s type=%u bytes=%zu suppressed=%" PRIu64, s->kind->name, message->type,
                 message->len, suppressed);
    s->ops->on_doubt(s->data, s->kind->source);
}

static void on_lost(void *data, const char *reason)
{
    struct netlink_source *s = data;
    uint64_t from = s->heard_wall_ns;

    s->heard_wall_ns = clock_wall_ns();
    s->ops->on_lost(s->data, s->kind->source, from, s->heard_wall_ns, reason);
}

static void on_malformed(void *data, size_t len)
{
    struct netlink_source *s = data;
    uint64_t suppressed;

    if (log_limit_allow(&s->malformed_limit, clock_mono_ns() / 1000000, 5, &suppressed))
        log_warn("netlink.malformed", "source=%s bytes=%zu suppressed=%" PRIu64, s->kind->name, len, suppressed);
    s->ops->on_doubt(s->data, s->kind->source);
}

static void on_forged(void *data, uint32_t port, uint64_t total)
{
    struct netlink_source *s = data;

    if (log_limit_allow(&s->forged_limit, clock_mono_ns() / 1000000, 5, NULL))
        log_warn("netlink.forged", "source=%s port=%" PRIu32 " total=%" PRIu64 " reason=\"not sent by the kernel\"",
                 s->kind->name, port, total);
}

static const struct netlink_ops netlink_ops = {
    .on_message = on_message,
    .on_lost = on_lost,
    .on_malformed = on_malformed,
    .on_forged = on_forged,
};

/* ------------------------------------------------------------------------------------------------ life */

static void on_closed(void *data)
{
    struct netlink_source *s = data;
    void (*cb)(void *data) = s->on_stopped;
    void *cb_data = s->on_stopped_data;

    if (--s->n_open > 0)
        return;
    if (s->kind->deinit)
        s->kind->deinit(s);
    free(s->sysfs_root);
    free(s);
    cb(cb_data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_closed(handle->data);
}

static void leave(struct netlink_source *s)
{
    if (!s->netlink)
        return;
    netlink_close(s->netlink, on_closed, s);
    s->netlink = NULL;
}

static void join(struct netlink_source *s)
{
    char reason[SOURCE_REASON_BYTES];
    int rc = netlink_open(s->loop, &s->kind->group, &netlink_ops, s, &s->netlink);

    if (rc < 0) {
        s->netlink = NULL;
        explain(rc, reason, sizeof reason);
        set_coverage(s, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, reason);
        return;
    }
    s->n_open++;
    s->heard_wall_ns = clock_wall_ns();
    if (s->kind->on_armed)
        s->kind->on_armed(s);
    set_coverage(s, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED, "");
}

static void look(struct netlink_source *s)
{
    uint64_t gate = find_gate(s->sysfs_root, s->kind->gate);

    if (s->netlink && gate == s->gate_inode)
        return;
    leave(s);
    s->gate_inode = gate;
    if (gate == 0)
        set_coverage(s, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, s->kind->absent);
    else
        join(s);
}

static void on_look(uv_timer_t *timer)
{
    look(timer->data);
}

int netlink_source_start(const struct netlink_source_kind *kind, const struct source_options *options,
                         const struct source_ops *ops, void *data, struct source **out_source)
{
    struct netlink_source *s = calloc(1, kind->bytes);

    if (!s || !(s->sysfs_root = strdup(options->sysfs_root))) {
        free(s);
        return UV_ENOMEM;
    }
    s->kind = kind;
    s->ops = ops;
    s->data = data;
    s->loop = options->loop;
    s->poll_ms = options->poll_ms > POLL_MS_MIN ? options->poll_ms : POLL_MS_MIN;
    uv_timer_init(s->loop, &s->timer);
    s->timer.data = s;
    s->n_open = 1;
    uv_timer_start(&s->timer, on_look, 0, s->poll_ms);
    *out_source = (struct source *)s;
    return 0;
}

void netlink_source_stop(struct source *source, void (*cb)(void *data), void *data)
{
    struct netlink_source *s = (struct netlink_source *)source;

    s->on_stopped = cb;
    s->on_stopped_data = data;
    leave(s);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

uint64_t netlink_source_last_proof(const struct source *s)
{
    return ((const struct netlink_source *)s)->proof_wall_ns;
}

/* ------------------------------------------------------------------------------------------------ sysfs */

static int __attribute__((format(printf, 3, 0)))
join_path(const struct netlink_source *s, char out[NETLINK_SOURCE_PATH_BYTES], const char *format, va_list args)
{
    int root_len = snprintf(out, NETLINK_SOURCE_PATH_BYTES, "%s/", s->sysfs_root), len;

    if (root_len >= NETLINK_SOURCE_PATH_BYTES)
        return UV_ENAMETOOLONG;
    len = vsnprintf(out + root_len, (size_t)(NETLINK_SOURCE_PATH_BYTES - root_len), format, args);
    return len < NETLINK_SOURCE_PATH_BYTES - root_len ? 0 : UV_ENAMETOOLONG;
}

int netlink_source_path(const struct netlink_source *s, char out[NETLINK_SOURCE_PATH_BYTES], const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = join_path(s, out, format, args);
    va_end(args);
    return rc;
}

/* Returns its length, or a negative errno. */
static ssize_t read_file(const char *path, char *out, size_t out_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t len;

    if (fd < 0)
        return -errno;
    len = read(fd, out, out_len);
    if (len < 0)
        len = -errno;
    close(fd);
    return len;
}

int netlink_source_read(const struct netlink_source *s, char *out, size_t out_len, const char *format, ...)
{
    char path[NETLINK_SOURCE_PATH_BYTES];
    va_list args;
    ssize_t len;

    va_start(args, format);
    len = join_path(s, path, format, args);
    va_end(args);
    if (len == 0)
        len = read_file(path, out, out_len - 1);
    out[len < 0 ? 0 : len] = 0;
    if (len < 0)
        return (int)len;
    out[strcspn(out, "\n")] = 0;
    if (out[0] && strcmp(out, "(null)") != 0 && strcmp(out, "<NULL>") != 0)
        return 0;
    out[0] = 0;
    return UV_ENXIO;
}
