/* SPDX-License-Identifier: Apache-2.0 */
/* Every socket is in one epoll set, whose descriptor is watched by the loop: a turn costs one call more than bare
 * epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define READ_BYTES  (256u << 10)
#define TURN_EVENTS 256
#define TURN_BURSTS 4u
#define PATIENCE_S  60
#define HELD_BYTES  (64u << 10)
#define OUT_BYTES   (1u << 20)

static uint8_t input[HELD_BYTES + READ_BYTES]; /* what was held, and what is read behind it */

static const char *name_of(const struct conn *c)
{
    return c->is_publisher ? "publisher" : "subscriber";
}

/* ------------------------------------------------------------------------------------------------ blocking, at first
 */

static int dial(const struct load_options *o)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket: %s", strerror(errno));
    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1)
        fail("%s is no IPv4 address", o->host);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect to %s:%u: %s", o->host, o->port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

void conn_read(struct conn *c, void *out, size_t len)
{
    char *to = out;

    while (len > 0) {
        ssize_t n = read(c->fd, to, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail("%s %u: no answer while it connects: %s", name_of(c), c->index, n ? strerror(errno) : "end of stream");
        to += n;
        len -= (size_t)n;
    }
}

void conn_read_line(struct conn *c, char *out, size_t cap)
{
    size_t n = 0;

    for (;;) {
        conn_read(c, out + n, 1);
        if (out[n] == '\n')
            break;
        if (++n == cap)
            fail("%s %u: a line longer than %zu bytes", name_of(c), c->index, cap);
    }
    if (n > 0 && out[n - 1] == '\r')
        n--;
    out[n] = '\0';
}

static void watch(struct conn *c, int operation, bool write)
{
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(c->load->poll_fd, operation, c->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
    c->wants_write = write;
}

void conn_send(struct conn *c, const void *bytes, size_t len)
{
    const char *p = bytes;

    if (c->out_len > 0) { /* behind what the socket did not take yet */
        if (c->out_len + len > OUT_BYTES)
            fail("%s %u: the broker does not read", name_of(c), c->index);
        memcpy(c->out + c->out_len, bytes, len);
        c->out_len += len;
        return;
    }
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail("%s %u: send: %s", name_of(c), c->index, strerror(errno));
        p += n;
        len -= (size_t)n;
    }
}

void conn_redial(struct conn *c)
{
    close(c->fd);
    c->fd = dial(&c->load->options);
}

void conns_open(struct load *load, bool publishers)
{
    const struct load_options *o = &load->options;
    unsigned n = publishers ? o->n_publishers : o->n_subscribers;
    struct conn *conns = calloc(n ? n : 1, sizeof *conns);

    if (!conns)
        fail("out of memory");
    *(publishers ? &load->publishers : &load->subscribers) = conns;
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = &conns[i];
        *c = (struct conn){.load = load, .protocol = o->protocol, .is_publisher = publishers, .index = i};
        c->fd = dial(o);
        if (publishers && !(c->out = malloc(OUT_BYTES)))
            fail("out of memory");
        c->protocol->greet(c);
        watch(c, EPOLL_CTL_ADD, false);
    }
}

/* ------------------------------------------------------------------------------------------------ input */

static void hold(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (len > HELD_BYTES)
        fail("%s %u: %zu bytes of input make no sense", name_of(c), c->index, len);
    if (len > c->held_cap) {
        c->held_cap = len < 512 ? 512 : HELD_BYTES;
        free(c->held);
        if (!(c->held = malloc(c->held_cap)))
            fail("out of memory");
    }
    memcpy(c->held, bytes, len);
    c->held_len = len;
}

/* Read once. False: nothing was there. */
static bool take_input(struct conn *c, int flags)
{
    uint8_t *at = input;
    size_t len = c->held_len;

    if (len)
        memcpy(input, c->held, len);
    ssize_t n = recv(c->fd, input + len, READ_BYTES, flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && (flags & MSG_DONTWAIT))
        return false;
    if (n <= 0)
        fail("%s %u: the broker ended the connection after %llu events: %s", name_of(c), c->index,
             (unsigned long long)c->n, n ? strerror(errno) : "end of stream");
    len += (size_t)n;
    c->held_len = 0;
    for (;;) {
        size_t skip = c->skip < len ? c->skip : len;
        c->skip -= skip;
        at += skip;
        len -= skip;
        if (len == 0)
            return true;
        size_t used = c->protocol->take(c, at, len);
        if (used == 0 && c->skip == 0)
            break;
        at += used;
        len -= used;
    }
    hold(c, at, len);
    return true;
}

void conns_subscribe(struct load *load)
{
    for (unsigned i = 0; i < load->options.n_subscribers; i++) {
        struct conn *c = &load->subscribers[i];
        c->protocol->subscribe(c);
    }
    for (unsigned i = 0; i < load->options.n_subscribers; i++)
        while (!load->subscribers[i].ready)
            take_input(&load->subscribers[i], 0);
    load->subscribed = true;
}

/* ------------------------------------------------------------------------------------------------ output */

/* Hand what is written to the socket. False: it does not take all of it now. */
static bool flush(struct conn *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0)
            fail("%s %u: send: %s", name_of(c), c->index, strerror(errno));
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
    return true;
}

/* How many events may this publisher send now? */
static uint64_t may_send(struct conn *c)
{
    const struct load_options *o = &c->load->options;
    uint64_t n = c->quota - c->n, allowed = load_allowance(c->load);

    if (c->protocol->acknowledges && n > o->window - (c->n - c->acknowledged))
        n = o->window - (c->n - c->acknowledged);
    if (n > allowed)
        n = allowed;
    return n < o->burst ? n : o->burst;
}

static void publish(struct conn *c)
{
    unsigned bursts = 0;
    uint64_t n = 0;
    bool drained;

    while ((drained = flush(c)) && bursts++ < TURN_BURSTS && (n = may_send(c)) > 0) {
        c->out_len = c->protocol->write(c, c->out, (unsigned)n);
        c->n += n;
        c->load->sent += n;
    }
    bool more = !drained || n > 0;
    if (more != c->wants_write)
        watch(c, EPOLL_CTL_MOD, more);
}

void conns_publish(struct load *load)
{
    for (unsigned i = 0; i < load->options.n_publishers; i++)
        publish(&load->publishers[i]);
}

/* ------------------------------------------------------------------------------------------------ a turn */

void conns_turn(struct load *load)
{
    struct epoll_event events[TURN_EVENTS];
    int n = epoll_wait(load->poll_fd, events, TURN_EVENTS, 0);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (events[i].events & ~(unsigned)EPOLLOUT)
            take_input(c, MSG_DONTWAIT);
    }
}

/* ------------------------------------------------------------------------------------------------ for protocols */

unsigned conn_next_event(struct conn *c, uint8_t *out)
{
    struct event_source source = {.host = "bench-0", .epoch = 1, .n_keys = c->load->options.n_keys};
    uint64_t sequence = ++c->n_written;

    event_write(out, &source, sequence, c->load->options.latency ? now_ns() : 0);
    return (unsigned)(sequence % source.n_keys);
}

void conn_received(struct conn *c, uint64_t n, const uint8_t *event)
{
    c->n += n;
    c->load->received += n;
    if (event && c->load->options.latency)
        load_age(c->load, event);
}

void conn_acknowledged(struct conn *c, uint64_t n)
{
    c->acknowledged += n;
    c->load->acknowledged += n;
}
