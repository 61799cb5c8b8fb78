/* SPDX-License-Identifier: Apache-2.0 */
/* One multicast group of one netlink protocol of the kernel, listened to on the loop: the only user of libmnl.
 *
 * Only what the kernel itself sent comes out: the sender's port is checked (nl_pid 0), whatever another process sends
 * is dropped and counted. Nothing is sent but one question at open: a datagram too short to be a message, which tells
 * whether the kernel listens in this network namespace at all (it is refused where it does not), and for a generic
 * netlink family its number.
 *
 * Memory is bounded: the kernel's buffer, and one buffer here that is wiped after each datagram, because some carry
 * login payloads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct netlink;

/* Larger than the largest message of the sources: an iSCSI PDU of 8,192 bytes with its headers. */
#define NETLINK_MAX_BYTES 16384

struct netlink_group {
    int protocol; /* NETLINK_… of linux/netlink.h */
    uint32_t number;
    const char *family, *name; /* NETLINK_GENERIC: of the family and of its group, in place of a number; else NULL */
};

struct netlink_message {
    uint16_t type;
    const uint8_t *payload; /* behind struct nlmsghdr */
    size_t len;
};

struct netlink_ops {
    /* Valid until it returns. */
    void (*on_message)(void *data, const struct netlink_message *message);
    /* Messages were lost: the kernel's queue was full, one was longer than NETLINK_MAX_BYTES, or the socket failed. */
    void (*on_lost)(void *data, const char *reason);
    /* A datagram that is no message, or ends in the middle of one. */
    void (*on_malformed)(void *data, size_t len);
    /* A datagram that another process sent; it is dropped. `total` of them so far. */
    void (*on_forged)(void *data, uint32_t port, uint64_t total);
};

/* Join. Callbacks come from the loop only. Returns 0 or a negative errno, among them UV_EPERM (no CAP_NET_ADMIN),
 * UV_EPROTONOSUPPORT (the kernel has no such protocol), UV_ECONNREFUSED (the kernel does not listen in this network
 * namespace), UV_ENOENT (no such generic netlink family or group). */
int netlink_open(uv_loop_t *loop, const struct netlink_group *group, const struct netlink_ops *ops, void *data,
                 struct netlink **out_netlink);
/* No callback of its ops comes any more; `cb` runs from the loop when the memory is gone. */
void netlink_close(struct netlink *n, void (*cb)(void *data), void *data);
/* What netlink_open would return, and nothing left open. */
int netlink_probe(const struct netlink_group *group);

/* For tests, which cannot overflow a large one. */
int netlink_set_receive_bytes(struct netlink *n, int bytes);
int netlink_send(struct netlink *n, const void *bytes, size_t len);

/* One attribute of a message with attributes (struct nlattr). */
struct netlink_attribute {
    uint16_t type;
    const uint8_t *data;
    size_t len;
};
/* The next of those in *at, *left, which moves on. False at the end, and when what follows is none; then *left tells
 * how much was not understood. Pure. */
bool netlink_attribute_next(const uint8_t **at, size_t *left, struct netlink_attribute *out);
