/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: opened from the loop, again after a while when that fails or it breaks; read until it is empty. What was
 * not heard between two sockets is lost, too. */
#include "agent/source/uevent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/source/uevent_message.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

#define KERNEL_GROUP       1
#define BUFFER_BYTES       (8 << 20)
#define RETRY_MS           10000
#define BROKEN_RETRY_MS    1000
#define MESSAGES_PER_TURN  256
#define INITIAL_USER_INODE 0xEFFFFFFDu /* PROC_USER_INIT_INO of include/linux/proc_ns.h */

#define OFF      SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define DEGRADED SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED
#define ARMED    SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED

struct source {
    const struct source_ops *ops;
    void *data;
    uv_loop_t *loop;
    uv_timer_t retry;
    uv_poll_t poll;
    int fd; /* -1 = not armed */
    int buffer_bytes;
    int n_open; /* handles */
    uint64_t newest_seqnum, last_proof_ns;
    uint64_t drained_ns; /* the socket was empty then */
    bool overrun;        /* the buffer was full, and is not drained yet */
    uint64_t broken_ns;  /* since then nobody listens, after somebody did; 0 = not so */
    uint64_t n_forged;
    struct log_limit forged_limit, malformed_limit;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* ------------------------------------------------------------------------------------------------ open */

/* The kernel sends uevents to the network namespaces of the initial user namespace. Namespaces of those above us cannot
 * be looked at, and may be the host's. */
static bool is_beyond_reach(void)
{
    int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), owner = net < 0 ? -1 : ioctl(net, NS_GET_USERNS);
    struct stat st;
    bool beyond = owner >= 0 && fstat(owner, &st) == 0 && st.st_ino != INITIAL_USER_INODE;

    if (owner >= 0)
        close(owner);
    if (net >= 0)
        close(net);
    return beyond;
}

/* As large as we may have it. Returns what it is; the kernel keeps and tells twice of what it was given (socket(7)). */
static int set_buffer(int fd)
{
    int bytes = BUFFER_BYTES;
    socklen_t len = sizeof bytes;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* up to net.core.rmem_max */
    return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len) < 0 ? 0 : bytes / 2;
}

/* Returns the state, with its reason; OFF: there is no socket. */
static uint32_t open_socket(int *out_fd, int *out_bytes, char *reason, size_t reason_len)
{
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
    int fd, bytes, on = 1;

    reason[0] = 0;
    if (is_beyond_reach()) {
        snprintf(reason, reason_len,
                 "the kernel sends no uevents into the network namespace of a user namespace: run "
                 "the agent in the host's network namespace");
        return OFF;
    }
    fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&group, sizeof group) < 0) {
        snprintf(reason, reason_len, "no socket for uevents: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return OFF;
    }
    bytes = set_buffer(fd);
    *out_fd = fd;
    *out_bytes = bytes;
    if (bytes >= BUFFER_BYTES)
        return ARMED;
    snprintf(reason, reason_len,
             "a receive buffer of %d KiB instead of %d KiB, which a storm may overflow: grant CAP_NET_ADMIN",
             bytes >> 10, BUFFER_BYTES >> 10);
    return DEGRADED;
}

static uint32_t check(const struct source_options *options, char *reason, size_t reason_len)
{
    int fd = -1, bytes;
    uint32_t state = open_socket(&fd, &bytes, reason, reason_len);

    (void)options;
    if (fd >= 0)
        close(fd);
    return state;
}

/* ------------------------------------------------------------------------------------------------ read */

struct message {
    uint8_t bytes[UEVENT_MAX_BYTES];
    struct sockaddr_nl sender;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct ucred))];
    struct msghdr header;
};

static ssize_t receive(int fd, struct message *m)
{
    struct iovec part = {.iov_base = m->bytes, .iov_len = sizeof m->bytes};
    ssize_t n;

    m->header = (struct msghdr){.msg_name = &m->sender,
                                .msg_namelen = sizeof m->sender,
                                .msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = m->control,
                                .msg_controllen = sizeof m->control};
    do
        n = recvmsg(fd, &m->header, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

/* The kernel's own have no sender. Where root is not in our user namespace the kernel's user is not told as 0, but then
 * its process is. */
static bool is_from_kernel(struct message *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(&m->header);
    struct ucred who;

    if (m->header.msg_namelen != sizeof m->sender || m->sender.nl_pid != 0 || !c || c->cmsg_level != SOL_SOCKET ||
        c->cmsg_type != SCM_CREDENTIALS)
        return false;
    memcpy(&who, CMSG_DATA(c), sizeof who);
    return who.uid == 0 || who.pid == 0;
}

static void lose(struct source *s, const char *reason)
{
    s->ops->on_lost(s->data, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, s->drained_ns, clock_wall_ns(), reason);
}

/* Out of order is no gap: kernels send from several processors at once. Returns whether numbers are missing. */
static bool follow_numbers(struct source *s, uint64_t seqnum)
{
    bool gap = s->newest_seqnum && seqnum > s->newest_seqnum + 1;

    if (seqnum > s->newest_seqnum)
        s->newest_seqnum = seqnum;
    return gap;
}

/* Returns whether something before it seems to be missing. */
static bool take(struct source *s, struct message *m, size_t len)
{
    char detail[UEVENT_DETAIL_BYTES];
    const char *fault = "longer than any uevent";
    uint64_t wall_ns = clock_wall_ns();
    struct observation observation;
    struct uevent u;

    if (!is_from_kernel(m)) {
        s->n_forged++;
        if (log_limit_allow(&s->forged_limit, uv_now(s->loop), 10, NULL))
            log_warn("uevent.forged", "port=%" PRIu32 " bytes=%zu total=%" PRIu64 " reason=\"not sent by the kernel\"",
                     m->sender.nl_pid, len, s->n_forged);
        return false;
    }
    s->last_proof_ns = wall_ns;
    if (m->header.msg_flags & MSG_TRUNC || uevent_parse(m->bytes, len, &u, &fault) < 0) {
        if (log_limit_allow(&s->malformed_limit, uv_now(s->loop), 10, NULL))
            log_warn("uevent.malformed", "bytes=%zu reason=\"%s\"", len, fault);
        return true;
    }
    if (uevent_observe(&u, wall_ns, clock_boot_ns(), detail, &observation))
        s->ops->on_observation(s->data, &observation);
    return u.seqnum && follow_numbers(s, u.seqnum);
}

static void on_poll_closed(uv_handle_t *handle);

static void disarm(struct source *s)
{
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    close(s->fd);
    s->fd = -1;
}

static void on_retry(uv_timer_t *timer);

static void break_off(struct source *s, int error)
{
    char reason[SOURCE_REASON_BYTES];

    snprintf(reason, sizeof reason, "the socket for uevents failed: %s", uv_strerror(error));
    disarm(s);
    uv_timer_start(&s->retry, on_retry, BROKEN_RETRY_MS, 0);
    s->ops->on_coverage(s->data, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, OFF, reason);
    lose(s, reason);
    s->broken_ns = clock_wall_ns();
}

/* A socket that overflowed gets nothing until it is empty, and says so once (netlink_overrun of af_netlink.c): what was
 * lost came after what was in it, up to now. */
static void on_drained(struct source *s)
{
    char reason[96];

    if (s->overrun) {
        snprintf(reason, sizeof reason, "uevents came faster than they were read: %d KiB were full",
                 s->buffer_bytes >> 10);
        lose(s, reason);
    }
    s->overrun = false;
    s->drained_ns = clock_wall_ns();
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct source *s = poll->data;
    struct message m;
    bool doubt = false;

    (void)events;
    if (status < 0) /* libuv stops at an error of the socket, which a full buffer is; it is read from it */
        uv_poll_start(poll, UV_READABLE, on_readable);
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        ssize_t n = receive(s->fd, &m);

        if (n >= 0) {
            doubt |= take(s, &m, (size_t)n);
        } else if (errno == EAGAIN) {
            on_drained(s);
            break;
        } else if (errno == ENOBUFS) {
            s->overrun = true;
        } else {
            break_off(s, uv_translate_sys_error(errno));
            break;
        }
    }
    if (doubt)
        s->ops->on_doubt(s->data, SENSEBUS__V1__SOURCE__SOURCE_UEVENT);
}

/* ------------------------------------------------------------------------------------------------ life */

static int begin_to_listen(struct source *s)
{
    int rc = uv_poll_init(s->loop, &s->poll, s->fd);

    if (rc < 0)
        return rc;
    s->n_open++;
    s->poll.data = s;
    s->newest_seqnum = 0;
    s->overrun = false;
    s->drained_ns = clock_wall_ns();
    uv_poll_start(&s->poll, UV_READABLE, on_readable); /* it fails for closing handles only */
    return 0;
}

static void on_retry(uv_timer_t *timer)
{
    struct source *s = timer->data;
    char reason[SOURCE_REASON_BYTES];
    uint32_t state;
    int rc;

    if (s->n_open > 1) { /* the one before is not closed yet */
        uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
        return;
    }
    state = open_socket(&s->fd, &s->buffer_bytes, reason, sizeof reason);
    if (state != OFF && (rc = begin_to_listen(s)) < 0) {
        snprintf(reason, sizeof reason, "no socket for uevents: %s", uv_strerror(rc));
        close(s->fd);
        s->fd = -1;
        state = OFF;
    }
    if (state == OFF)
        uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
    s->ops->on_coverage(s->data, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, state, reason);
    if (state == OFF || !s->broken_ns)
        return;
    s->ops->on_lost(s->data, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, s->broken_ns, s->drained_ns,
                    "nobody listened: the socket for uevents had failed");
    s->broken_ns = 0;
}

static int start(const struct source_options *options, const struct source_ops *ops, void *data,
                 struct source **out_source)
{
    struct source *s = calloc(1, sizeof *s);

    if (!s)
        return UV_ENOMEM;
    s->ops = ops;
    s->data = data;
    s->loop = options->loop;
    s->fd = -1;
    uv_timer_init(s->loop, &s->retry);
    s->retry.data = s;
    s->n_open = 1;
    uv_timer_start(&s->retry, on_retry, 0, 0);
    *out_source = s;
    return 0;
}

static void one_closed(struct source *s)
{
    void (*cb)(void *) = s->on_stopped;
    void *data = s->on_stopped_data;

    if (--s->n_open > 0)
        return;
    free(s);
    cb(data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

static void stop(struct source *s, void (*cb)(void *data), void *data)
{
    s->on_stopped = cb;
    s->on_stopped_data = data;
    uv_close((uv_handle_t *)&s->retry, on_timer_closed);
    if (s->fd >= 0)
        disarm(s);
}

static uint64_t last_proof(const struct source *s)
{
    return s->last_proof_ns;
}

const struct source_api uevent_source = {
    .name = "uevent",
    .source = SENSEBUS__V1__SOURCE__SOURCE_UEVENT,
    .start = start,
    .stop = stop,
    .last_proof = last_proof,
    .check = check,
};
