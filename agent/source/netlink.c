/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/netlink.h"

#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BYTES (4 << 20) /* of the kernel's queue: some ten thousand messages; memory only while they wait */
#define MAX_IN_TURN   64        /* datagrams; epoll brings us back for more */

struct netlink {
    const struct netlink_ops *ops;
    void *data;
    struct mnl_socket *socket;
    uv_poll_t poll;
    uint64_t n_forged;
    bool overrun;                  /* the queue was full, and is not empty yet */
    void (*on_closed)(void *data); /* set: closing */
    void *on_closed_data;
    uint8_t bytes[NETLINK_MAX_BYTES] __attribute__((aligned(8)));
};

/* ------------------------------------------------------------------------------------------------ joining */

struct family {
    const char *wanted; /* name of a group */
    const char *name;   /* of the group that is being read */
    uint32_t number;    /* likewise */
    uint32_t group;     /* 0 = not found */
};

static int on_group_member(const struct nlattr *member, void *data)
{
    struct family *f = data;

    if (mnl_attr_get_type(member) == CTRL_ATTR_MCAST_GRP_NAME && mnl_attr_validate(member, MNL_TYPE_NUL_STRING) == 0)
        f->name = mnl_attr_get_str(member);
    if (mnl_attr_get_type(member) == CTRL_ATTR_MCAST_GRP_ID && mnl_attr_validate(member, MNL_TYPE_U32) == 0)
        f->number = mnl_attr_get_u32(member);
    return MNL_CB_OK;
}

static int on_group(const struct nlattr *attribute, void *data)
{
    struct family *f = data;

    f->name = NULL;
    f->number = 0;
    mnl_attr_parse_nested(attribute, on_group_member, f);
    if (f->name && strcmp(f->name, f->wanted) == 0)
        f->group = f->number;
    return MNL_CB_OK;
}

static int on_family_attribute(const struct nlattr *attribute, void *data)
{
    if (mnl_attr_get_type(attribute) == CTRL_ATTR_MCAST_GROUPS)
        mnl_attr_parse_nested(attribute, on_group, data);
    return MNL_CB_OK;
}

static int on_family(const struct nlmsghdr *header, void *data)
{
    mnl_attr_parse(header, sizeof(struct genlmsghdr), on_family_attribute, data);
    return MNL_CB_OK;
}

/* The kernel answers inside of the question's own system call, so nothing waits here. */
static int find_group(struct mnl_socket *socket, const char *family, const char *name, uint32_t *out_number)
{
    uint8_t bytes[4096] __attribute__((aligned(8)));
    struct family found = {.wanted = name};
    struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
    struct genlmsghdr *generic;
    ssize_t len;

    header->nlmsg_type = GENL_ID_CTRL;
    header->nlmsg_flags = NLM_F_REQUEST;
    header->nlmsg_seq = 1;
    generic = mnl_nlmsg_put_extra_header(header, sizeof *generic);
    generic->cmd = CTRL_CMD_GETFAMILY;
    generic->version = 1;
    mnl_attr_put_strz(header, CTRL_ATTR_FAMILY_NAME, family);
    if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
        return -errno;
    len = mnl_socket_recvfrom(socket, bytes, sizeof bytes);
    if (len < 0)
        return -errno;
    if (mnl_cb_run(bytes, (size_t)len, 1, mnl_socket_get_portid(socket), on_family, &found) < 0)
        return -errno;
    if (found.group == 0)
        return UV_ENOENT;
    *out_number = found.group;
    return 0;
}

/* Too short for a header, so the kernel's side looks no further; where it has none, it is refused. */
static int ask_whether_kernel_listens(struct mnl_socket *socket)
{
    static const uint8_t nothing[4];

    return mnl_socket_sendto(socket, nothing, sizeof nothing) < 0 ? -errno : 0;
}

static int set_receive_bytes(struct mnl_socket *socket, int bytes)
{
    int fd = mnl_socket_get_fd(socket);

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0)
        return 0;
    return -errno;
}

static int join(struct mnl_socket *socket, const struct netlink_group *group)
{
    uint32_t number = group->number;
    int rc;

    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    if ((rc = ask_whether_kernel_listens(socket)) < 0)
        return rc;
    if (group->family && (rc = find_group(socket, group->family, group->name, &number)) < 0)
        return rc;
    if ((rc = set_receive_bytes(socket, RECEIVE_BYTES)) < 0)
        return rc;
    if (number > 0 && mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &number, sizeof number) < 0)
        return -errno;
    return 0;
}

static int open_socket(const struct netlink_group *group, struct mnl_socket **out_socket)
{
    struct mnl_socket *socket = mnl_socket_open2(group->protocol, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int rc;

    if (!socket)
        return -errno;
    rc = join(socket, group);
    if (rc < 0)
        mnl_socket_close(socket);
    else
        *out_socket = socket;
    return rc;
}

int netlink_probe(const struct netlink_group *group)
{
    struct mnl_socket *socket;
    int rc = open_socket(group, &socket);

    if (rc == 0)
        mnl_socket_close(socket);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ receiving */

static void take_messages(struct netlink *n, size_t len)
{
    const struct nlmsghdr *header = (const struct nlmsghdr *)n->bytes;
    int left = (int)len;

    while (!n->on_closed && mnl_nlmsg_ok(header, left)) {
        struct netlink_message message = {
            .type = header->nlmsg_type,
            .payload = mnl_nlmsg_get_payload(header),
            .len = mnl_nlmsg_get_payload_len(header),
        };

        /* Type 0 is what the iSCSI transport uses; 1 to 15 are netlink's own. */
        if (message.type == 0 || message.type >= NLMSG_MIN_TYPE)
            n->ops->on_message(n->data, &message);
        header = mnl_nlmsg_next(header, &left);
    }
    if (left > 0 && !n->on_closed)
        n->ops->on_malformed(n->data, len);
}

/* Returns 0, or a negative errno: UV_EAGAIN when there is no more. */
static int take_datagram(struct netlink *n)
{
    struct sockaddr_nl sender = {0};
    struct iovec part = {.iov_base = n->bytes, .iov_len = sizeof n->bytes};
    struct msghdr header = {.msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t len = recvmsg(mnl_socket_get_fd(n->socket), &header, 0);

    if (len < 0)
        return -errno;
    if (header.msg_namelen != sizeof sender || sender.nl_pid != 0)
        n->ops->on_forged(n->data, sender.nl_pid, ++n->n_forged);
    else if (header.msg_flags & MSG_TRUNC)
        n->ops->on_lost(n->data, "a message of the kernel was longer than 16,384 bytes");
    else
        take_messages(n, (size_t)len);
    explicit_bzero(n->bytes, (size_t)len);
    return 0;
}

static void on_no_more(struct netlink *n, int rc)
{
    char reason[96];

    if (n->overrun)
        n->ops->on_lost(n->data, "the kernel's queue was full");
    n->overrun = false;
    if (rc == UV_EAGAIN)
        return;
    snprintf(reason, sizeof reason, "the socket failed: %s", uv_strerror(rc));
    n->ops->on_lost(n->data, reason);
}

/* A queue that overflowed takes nothing until it is empty, and says so once (netlink_overrun of af_netlink.c): what was
 * lost came after what is in it. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct netlink *n = poll->data;

    (void)events;
    if (status < 0) /* libuv stops at an error of the socket, which a full queue is; recvmsg says which */
        uv_poll_start(poll, UV_READABLE, on_readable);
    for (int i = 0; i < MAX_IN_TURN && !n->on_closed; i++) {
        int rc = take_datagram(n);

        if (rc == UV_ENOBUFS) {
            n->overrun = true;
        } else if (rc < 0 && rc != UV_EINTR) {
            on_no_more(n, rc);
            return;
        }
    }
}

/* ------------------------------------------------------------------------------------------------ life */

int netlink_open(uv_loop_t *loop, const struct netlink_group *group, const struct netlink_ops *ops, void *data,
                 struct netlink **out_netlink)
{
    struct netlink *n = calloc(1, sizeof *n);
    int rc;

    if (!n)
        return UV_ENOMEM;
    n->ops = ops;
    n->data = data;
    if ((rc = open_socket(group, &n->socket)) < 0)
        goto fail;
    if ((rc = uv_poll_init(loop, &n->poll, mnl_socket_get_fd(n->socket))) < 0) {
        mnl_socket_close(n->socket);
        goto fail;
    }
    n->poll.data = n;
    rc = uv_poll_start(&n->poll, UV_READABLE, on_readable);
    assert(rc == 0); /* it fails for closing handles only */
    (void)rc;
    *out_netlink = n;
    return 0;

fail:
    free(n);
    return rc;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct netlink *n = handle->data;
    void (*cb)(void *data) = n->on_closed;
    void *data = n->on_closed_data;

    mnl_socket_close(n->socket);
    free(n);
    cb(data);
}

void netlink_close(struct netlink *n, void (*cb)(void *data), void *data)
{
    n->on_closed = cb;
    n->on_closed_data = data;
    uv_close((uv_handle_t *)&n->poll, on_poll_closed);
}

int netlink_set_receive_bytes(struct netlink *n, int bytes)
{
    return set_receive_bytes(n->socket, bytes);
}

int netlink_send(struct netlink *n, const void *bytes, size_t len)
{
    return mnl_socket_sendto(n->socket, bytes, len) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------------------------------------ attributes */

bool netlink_attribute_next(const uint8_t **at, size_t *left, struct netlink_attribute *out)
{
    struct nlattr header;
    size_t step;

    if (*left < sizeof header)
        return false;
    memcpy(&header, *at, sizeof header); /* the bytes need not be aligned */
    if (header.nla_len < sizeof header || header.nla_len > *left)
        return false;
    out->type = header.nla_type & (uint16_t)NLA_TYPE_MASK;
    out->data = *at + sizeof header;
    out->len = header.nla_len - sizeof header;
    step = MNL_ALIGN(header.nla_len);
    if (step > *left)
        step = *left;
    *at += step;
    *left -= step;
    return true;
}
