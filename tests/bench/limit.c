/* SPDX-License-Identifier: Apache-2.0 */
/* bench_limit: the least that a broker could do, to compare brokers with.
 *
 *   bench_limit [--log FILE [--log-mib N] [--sync]] [--acknowledge] [--by-key]
 *
 * Reads what publishers send (raw.h), appends it to a file that was written before (--log), waits for the disk
 * (--sync), says how much it has (--acknowledge), and writes the same bytes to every subscriber; or, --by-key, every
 * event to the one subscriber that wants its key, with a system call each. Who asks for a replay gets the file with
 * sendfile. Whatever comes in during a write to the disk shares the next one. The ring holds publishers back when a
 * subscriber is that far behind. Prints the port; ends with its standard input. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/bench/raw.h"

#define RING_BYTES   (32u << 20)
#define READ_BYTES   (256u << 10)
#define TURN_BYTES   (256u << 10)
#define TURN_EVENTS  256
#define MAX_KEYS     65536u
#define INPUT_ROOM   (READ_BYTES + 256u)
#define REPLAY_BYTES (1u << 20)

enum kind { LISTENER, STRANGER, PUBLISHER, SUBSCRIBER, REPLAY, STANDARD_INPUT };

struct peer {
    enum kind kind;
    int fd;
    bool waits;    /* for room in the socket */
    uint64_t at;   /* SUBSCRIBER, REPLAY: bytes sent of all there ever were */
    uint8_t *part; /* PUBLISHER: a frame that is not complete */
    size_t n_part;
    uint64_t n_acknowledged, n_events; /* PUBLISHER */
    size_t index;                      /* in its list */
};

static struct {
    bool sync, acknowledge, by_key;
    int poll_fd, log_fd;
    uint8_t *ring;
    uint64_t head;      /* bytes that came, of all there ever were */
    uint64_t logged;    /* of them, in the file */
    uint64_t log_bytes; /* of the file; then it begins again */
    struct peer **publishers, **subscribers;
    size_t n_publishers, n_subscribers;
    struct peer *by_keys[MAX_KEYS];
} limit = {.log_fd = -1, .log_bytes = 64u << 20};

static uint8_t input[INPUT_ROOM];

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_limit: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void watch(struct peer *p, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(limit.poll_fd, operation, p->fd, &event) < 0)
        fail("epoll_ctl");
}

static struct peer *peer_new(int fd, enum kind kind)
{
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        fail("calloc");
    p->fd = fd;
    p->kind = kind;
    watch(p, EPOLL_CTL_ADD, EPOLLIN);
    return p;
}

static void list_add(struct peer ***list, size_t *n, struct peer *p)
{
    struct peer **grown = realloc(*list, (*n + 1) * sizeof *grown);
    if (!grown)
        fail("realloc");
    p->index = (*n)++;
    grown[p->index] = p;
    *list = grown;
}

static void list_remove(struct peer **list, size_t *n, struct peer *p)
{
    list[p->index] = list[--*n];
    list[p->index]->index = p->index;
}

static void peer_gone(struct peer *p)
{
    if (p->kind == PUBLISHER)
        list_remove(limit.publishers, &limit.n_publishers, p);
    if (p->kind == SUBSCRIBER)
        list_remove(limit.subscribers, &limit.n_subscribers, p);
    for (unsigned i = 0; p->kind == SUBSCRIBER && limit.by_key && i < MAX_KEYS; i++)
        if (limit.by_keys[i] == p)
            limit.by_keys[i] = NULL;
    close(p->fd);
    free(p->part);
    free(p);
}

/* ------------------------------------------------------------------------------------------------ subscribers */

/* One writev of what the subscriber does not have, at most TURN_BYTES. */
static void subscriber_send(struct peer *p)
{
    size_t len = limit.head - p->at < TURN_BYTES ? (size_t)(limit.head - p->at) : TURN_BYTES;
    size_t offset = (size_t)(p->at % RING_BYTES), first = RING_BYTES - offset < len ? RING_BYTES - offset : len;
    struct iovec parts[2] = {{limit.ring + offset, first}, {limit.ring, len - first}};

    ssize_t n = len ? writev(p->fd, parts, len > first ? 2 : 1) : 0;
    if (n < 0 && errno != EAGAIN)
        return; /* its end is read soon */
    p->at += n > 0 ? (uint64_t)n : 0;
    bool waits = p->at < limit.head;
    if (waits != p->waits)
        watch(p, EPOLL_CTL_MOD, EPOLLIN | (waits ? EPOLLOUT : 0u));
    p->waits = waits;
}

static void send_whole(struct peer *p, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = p->fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (n < 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static void replay_send(struct peer *p)
{
    off_t offset = (off_t)p->at;
    ssize_t n = 1;

    while (p->at < limit.logged && n > 0) {
        size_t len = limit.logged - p->at < REPLAY_BYTES ? (size_t)(limit.logged - p->at) : REPLAY_BYTES;
        n = sendfile(p->fd, limit.log_fd, &offset, len);
        p->at += n > 0 ? (uint64_t)n : 0;
    }
    bool waits = p->at < limit.logged;
    if (waits != p->waits)
        watch(p, EPOLL_CTL_MOD, EPOLLIN | (waits ? EPOLLOUT : 0u));
    p->waits = waits;
}

/* ------------------------------------------------------------------------------------------------ events */

static uint64_t room(void)
{
    uint64_t least = limit.head;
    for (size_t i = 0; i < limit.n_subscribers; i++)
        if (limit.subscribers[i]->at < least)
            least = limit.subscribers[i]->at;
    return RING_BYTES - (limit.head - least);
}

static void ring_append(const uint8_t *bytes, size_t len)
{
    size_t offset = (size_t)(limit.head % RING_BYTES), first = RING_BYTES - offset < len ? RING_BYTES - offset : len;
    memcpy(limit.ring + offset, bytes, first);
    memcpy(limit.ring, bytes + first, len - first);
    limit.head += len;
}

static void distribute(const uint8_t *bytes, size_t len)
{
    for (; len >= RAW_FRAME_BYTES; bytes += RAW_FRAME_BYTES, len -= RAW_FRAME_BYTES) {
        struct raw_frame head;
        memcpy(&head, bytes, sizeof head);
        if (limit.by_keys[head.key])
            send_whole(limit.by_keys[head.key], bytes, RAW_FRAME_BYTES);
    }
}

/* Read once; whole frames go on. With one publisher and nobody to sort for, straight into the ring. */
static void publisher_read(struct peer *p)
{
    size_t offset = (size_t)(limit.head % RING_BYTES);
    bool direct = limit.n_publishers == 1 && !limit.by_key && p->n_part == 0 && RING_BYTES - offset >= READ_BYTES;
    uint8_t *to = direct ? limit.ring + offset : input;
    size_t len = direct ? 0 : p->n_part;

    if (len)
        memcpy(to, p->part, len);
    ssize_t n = read(p->fd, to + len, READ_BYTES);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        peer_gone(p);
        return;
    }
    len += (size_t)n;
    p->n_part = len % RAW_FRAME_BYTES;
    size_t whole = len - p->n_part;
    if (p->n_part)
        memcpy(p->part, to + whole, p->n_part);
    if (direct)
        limit.head += whole;
    else if (!limit.by_key || limit.log_fd >= 0)
        ring_append(to, whole);
    if (limit.by_key)
        distribute(to, whole);
    p->n_events += whole / RAW_FRAME_BYTES;
}

/* Append what is new to the file. It begins again at its end: nobody replays so much. */
static void log_new(void)
{
    if (limit.logged == limit.head)
        return;
    while (limit.logged < limit.head) {
        size_t from = (size_t)(limit.logged % RING_BYTES), at = (size_t)(limit.logged % limit.log_bytes);
        size_t len = (size_t)(limit.head - limit.logged);
        if (len > RING_BYTES - from)
            len = RING_BYTES - from;
        if (len > limit.log_bytes - at)
            len = limit.log_bytes - at;
        ssize_t n = pwrite(limit.log_fd, limit.ring + from, len, (off_t)at);
        if (n <= 0)
            fail("write to the log");
        limit.logged += (uint64_t)n;
    }
    if (limit.sync && fdatasync(limit.log_fd) < 0)
        fail("fdatasync");
}

static void acknowledge(void)
{
    for (size_t i = 0; i < limit.n_publishers; i++) {
        struct peer *p = limit.publishers[i];
        if (p->n_acknowledged == p->n_events)
            continue;
        send_whole(p, (uint8_t *)&p->n_events, sizeof p->n_events);
        p->n_acknowledged = p->n_events;
    }
}

/* ------------------------------------------------------------------------------------------------ peers */

static void introduce(struct peer *p)
{
    struct raw_hello hello;
    ssize_t n = recv(p->fd, &hello, sizeof hello, MSG_WAITALL);

    if (n != (ssize_t)sizeof hello) {
        peer_gone(p);
        return;
    }
    send_whole(p, (const uint8_t *)"K", 1);
    if (hello.role == RAW_PUBLISHER) {
        p->kind = PUBLISHER;
        if (!(p->part = malloc(RAW_FRAME_BYTES)))
            fail("malloc");
        list_add(&limit.publishers, &limit.n_publishers, p);
    } else if (hello.role == RAW_REPLAY) {
        p->kind = REPLAY;
        replay_send(p);
    } else {
        p->kind = SUBSCRIBER;
        p->at = limit.head;
        limit.by_keys[hello.key] = p;
        list_add(&limit.subscribers, &limit.n_subscribers, p);
    }
}

static void on_event(struct peer *p, uint32_t events)
{
    char end;

    switch (p->kind) {
    case LISTENER: {
        int one = 1, fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        peer_new(fd, STRANGER);
        break;
    }
    case STRANGER: introduce(p); break;
    case PUBLISHER:
        if (limit.n_subscribers == 0 || limit.by_key || room() > READ_BYTES + RAW_FRAME_BYTES)
            publisher_read(p);
        break;
    case SUBSCRIBER:
    case REPLAY:
        if (events & ~(uint32_t)EPOLLOUT) {
            if (read(p->fd, &end, 1) <= 0)
                peer_gone(p);
        } else if (p->kind == SUBSCRIBER) {
            subscriber_send(p);
        } else {
            replay_send(p);
        }
        break;
    case STANDARD_INPUT:
        if (read(p->fd, &end, 1) <= 0)
            exit(EXIT_SUCCESS);
        break;
    }
}

static void serve(void)
{
    struct epoll_event events[TURN_EVENTS];

    for (;;) {
        uint64_t before = limit.head;
        int n = epoll_wait(limit.poll_fd, events, TURN_EVENTS, -1);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
        if (limit.log_fd >= 0)
            log_new();
        if (limit.acknowledge)
            acknowledge();
        if (limit.head == before || limit.by_key)
            continue;
        for (size_t i = 0; i < limit.n_subscribers; i++)
            if (!limit.subscribers[i]->waits)
                subscriber_send(limit.subscribers[i]);
    }
}

/* ------------------------------------------------------------------------------------------------ begin */

static void open_log(const char *path)
{
    static uint8_t zeros[1u << 20];

    limit.log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (limit.log_fd < 0)
        fail(path);
    for (size_t i = 0; i < limit.log_bytes / sizeof zeros; i++)
        if (write(limit.log_fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
            fail(path);
    if (limit.sync && fdatasync(limit.log_fd) < 0)
        fail(path);
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        fail("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    struct rlimit files;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--log") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--log-mib") == 0 && i + 1 < argc && atoi(argv[i + 1]) > 0) {
            limit.log_bytes = (uint64_t)atoi(argv[++i]) << 20;
        } else if (strcmp(argv[i], "--sync") == 0) {
            limit.sync = true;
        } else if (strcmp(argv[i], "--acknowledge") == 0) {
            limit.acknowledge = true;
        } else if (strcmp(argv[i], "--by-key") == 0) {
            limit.by_key = true;
        } else {
            fprintf(stderr, "usage: bench_limit [--log FILE [--log-mib N] [--sync]] [--acknowledge] [--by-key]\n");
            return 2;
        }
    }
    if (path)
        open_log(path);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    limit.ring = malloc(RING_BYTES);
    limit.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!limit.ring || limit.poll_fd < 0)
        fail("begin");
    memset(limit.ring, 0, RING_BYTES);
    peer_new(STDIN_FILENO, STANDARD_INPUT);
    peer_new(listen_somewhere(), LISTENER);
    serve();
}
