/* SPDX-License-Identifier: Apache-2.0 */
/* Caller -> thread: commands, in a list under the lock, and a wake-up of the loop.
 * Thread -> caller: items, in a list under the same lock, and a readable descriptor.
 * Out of memory on the thread ends the connection: a message that is silently missing would be worse. */
#include "clients/c/face/io.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "clients/c/link.h"
#include "proto/grpc/grpc.h"

#define REASON_BYTES 256
/* For what was sent to arrive and calls to end in order, when the caller hangs up. */
#define LINGER_MS 1000

enum command_kind { COMMAND_START, COMMAND_SEND, COMMAND_RESUME, COMMAND_HANG_UP, COMMAND_CLOSE };

struct command {
    struct command *next;
    enum command_kind kind;
    uint64_t call;
    const char *path;
    uint32_t deadline_ms;
    bool only;
    size_t len;
    const uint8_t *bytes; /* behind the struct */
};

/* A call that is open; the thread's. */
struct open_call {
    struct open_call *next;
    struct io *io;
    uint64_t name;
    struct grpc_call *call;
};

struct io {
    uv_mutex_t lock;
    /* Under the lock. */
    struct command *commands, **commands_end;
    struct io_item *items, **items_end;
    size_t queued_bytes;
    bool paused; /* the calls, until COMMAND_RESUME */
    bool down_queued;
    struct command resume, hang_up, close; /* need no memory when they are needed */
    bool resume_queued, hang_up_queued;
    char reason[REASON_BYTES]; /* of hang_up */

    /* The caller's. */
    uv_thread_t thread;
    int fd;

    /* The thread's. */
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t linger;
    struct link *link;
    struct open_call *calls;
    struct io_item *down; /* kept from the start, so that the end can always be told */
    bool link_ended, closing;
};

/* ------------------------------------------------------------------------------------------------ queues */

static void readable(struct io *io, bool now)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = now ? write(io->fd, &one, sizeof one) : read(io->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

static struct io_item *item_new(enum io_item_kind kind, uint64_t call, int status, const void *bytes, size_t len)
{
    struct io_item *item = malloc(sizeof *item + len + 1);
    if (!item)
        return NULL;
    *item = (struct io_item){.kind = kind, .call = call, .status = status, .len = len};
    if (len)
        memcpy(item->bytes, bytes, len);
    item->bytes[len] = 0;
    return item;
}

static void pause_calls(struct io *io, bool pause)
{
    for (struct open_call *c = io->calls; c; c = c->next) {
        if (pause)
            grpc_call_pause(c->call);
        else
            grpc_call_resume(c->call);
    }
}

static void put(struct io *io, struct io_item *item)
{
    uv_mutex_lock(&io->lock);
    bool was_empty = !io->items;
    *io->items_end = item;
    io->items_end = &item->next;
    io->queued_bytes += sizeof *item + item->len;
    io->down_queued |= item->kind == IO_DOWN;
    bool pause = !io->paused && io->queued_bytes >= IO_QUEUE_HIGH_BYTES;
    io->paused |= pause;
    if (was_empty)
        readable(io, true);
    uv_mutex_unlock(&io->lock);
    if (pause)
        pause_calls(io, true);
}

/* Under the lock. */
static void command(struct io *io, struct command *c)
{
    c->next = NULL;
    *io->commands_end = c;
    io->commands_end = &c->next;
    uv_async_send(&io->wake);
}

struct io_item *io_take(struct io *io)
{
    uv_mutex_lock(&io->lock);
    struct io_item *item = io->items;
    if (item) {
        io->items = item->next;
        item->next = NULL;
        io->queued_bytes -= sizeof *item + item->len;
    }
    if (!io->items)
        io->items_end = &io->items;
    if (item && !io->items && !io->down_queued)
        readable(io, false);
    bool resume = io->paused && io->queued_bytes <= IO_QUEUE_HIGH_BYTES / 2 && !io->resume_queued;
    if (resume) {
        io->resume_queued = true;
        command(io, &io->resume);
    }
    uv_mutex_unlock(&io->lock);
    return item;
}

int io_fd(const struct io *io)
{
    return io->fd;
}

static int queue_message(struct io *io, const struct command *head, const void *bytes, size_t len)
{
    struct command *c = malloc(sizeof *c + len);
    if (!c)
        return UV_ENOMEM;
    *c = *head;
    c->len = len;
    c->bytes = memcpy(c + 1, bytes, len);
    uv_mutex_lock(&io->lock);
    command(io, c);
    uv_mutex_unlock(&io->lock);
    return 0;
}

int io_start(struct io *io, uint64_t call, const char *path, uint32_t deadline_ms, const void *bytes, size_t len,
             bool only)
{
    const struct command head = {
        .kind = COMMAND_START, .call = call, .path = path, .deadline_ms = deadline_ms, .only = only};
    return queue_message(io, &head, bytes, len);
}

int io_send(struct io *io, uint64_t call, const void *bytes, size_t len)
{
    const struct command head = {.kind = COMMAND_SEND, .call = call};
    return queue_message(io, &head, bytes, len);
}

void io_hang_up(struct io *io, const char *reason)
{
    uv_mutex_lock(&io->lock);
    if (!io->hang_up_queued) {
        io->hang_up_queued = true;
        snprintf(io->reason, sizeof io->reason, "%s", reason);
        command(io, &io->hang_up);
    }
    uv_mutex_unlock(&io->lock);
}

/* ------------------------------------------------------------------------------------------------ the thread: ends */

/* The link is over: the only item that cannot fail. */
static void end_link(struct io *io, const char *reason)
{
    if (io->link_ended)
        return;
    io->link_ended = true;
    link_close(io->link);
    io->link = NULL;
    struct io_item *down = io->down;
    io->down = NULL;
    down->len = (size_t)snprintf((char *)down->bytes, REASON_BYTES, "%s", reason);
    if (down->len >= REASON_BYTES)
        down->len = REASON_BYTES - 1;
    put(io, down);
}

/* Nobody takes from the queue any more. */
static void close_now(struct io *io)
{
    if (uv_is_closing((uv_handle_t *)&io->wake))
        return;
    end_link(io, "closed");
    uv_close((uv_handle_t *)&io->linger, NULL);
    uv_close((uv_handle_t *)&io->wake, NULL);
}

static void on_up(struct link *link, void *data)
{
    (void)link;
    struct io *io = data;
    struct io_item *item = item_new(IO_UP, 0, 0, NULL, 0);
    if (item)
        put(io, item);
    else
        end_link(io, "out of memory");
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    (void)link;
    (void)retry_ms;
    struct io *io = data;
    end_link(io, reason);
    if (io->closing)
        close_now(io);
}

/* ------------------------------------------------------------------------------------------------ the thread: calls */

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct open_call *c = data;
    struct io *io = c->io;
    if (io->link_ended || io->closing)
        return;
    struct io_item *item = item_new(IO_MESSAGE, c->name, 0, bytes, len);
    if (item)
        put(io, item);
    else
        end_link(io, "out of memory");
}

static void put_end(struct io *io, uint64_t call, int status, const char *message)
{
    if (io->link_ended)
        return; /* IO_DOWN was the last word */
    struct io_item *item = item_new(IO_END, call, status, message, strlen(message));
    if (item)
        put(io, item);
    else
        end_link(io, "out of memory");
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    struct open_call *c = data;
    struct io *io = c->io;
    struct open_call **at = &io->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    put_end(io, c->name, status, message);
    free(c);
    if (io->closing && !io->calls)
        close_now(io);
}

static void send_message(struct io *io, struct open_call *c, const struct command *command)
{
    const struct slice part = {.ptr = command->bytes, .len = command->len};
    int rc = grpc_call_send(c->call, &part, 1);
    if (rc == 0 && command->only)
        rc = grpc_call_half_close(c->call);
    if (rc == UV_ENOMEM || rc == UV_ENOBUFS)
        end_link(io, rc == UV_ENOMEM ? "out of memory" : "the broker takes nothing any more");
}

static void start(struct io *io, const struct command *command)
{
    static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};
    struct grpc_channel *channel = io->link ? link_channel(io->link) : NULL;
    if (!channel) {
        put_end(io, command->call, GRPC_UNAVAILABLE, "the connection does not stand");
        return;
    }
    struct open_call *c = calloc(1, sizeof *c);
    int rc = c ? 0 : UV_ENOMEM;
    if (c) {
        *c = (struct open_call){.next = io->calls, .io = io, .name = command->call};
        rc = grpc_call_start(channel, command->path, command->deadline_ms, &ops, c, &c->call);
    }
    if (rc < 0) {
        put_end(io, command->call, GRPC_UNAVAILABLE, uv_strerror(rc));
        free(c);
        return;
    }
    io->calls = c;
    send_message(io, c, command);
}

static void send_on(struct io *io, const struct command *command)
{
    for (struct open_call *c = io->calls; c; c = c->next) {
        if (c->name == command->call) {
            send_message(io, c, command);
            return;
        }
    }
}

static void resume(struct io *io)
{
    uv_mutex_lock(&io->lock);
    io->resume_queued = false;
    bool go = io->paused && io->queued_bytes <= IO_QUEUE_HIGH_BYTES / 2;
    if (go)
        io->paused = false;
    uv_mutex_unlock(&io->lock);
    if (go)
        pause_calls(io, false);
}

static void on_linger(uv_timer_t *timer)
{
    close_now(timer->data);
}

static void start_closing(struct io *io)
{
    io->closing = true;
    if (io->link_ended || !io->calls) {
        close_now(io);
        return;
    }
    uv_timer_start(&io->linger, on_linger, LINGER_MS, 0);
    pause_calls(io, false);
    for (struct open_call *c = io->calls; c; c = c->next)
        grpc_call_half_close(c->call); /* one that did so already ends by itself */
}

/* ------------------------------------------------------------------------------------------------ the thread: loop */

static void run_command(struct io *io, struct command *c)
{
    switch (c->kind) {
    case COMMAND_START: start(io, c); break;
    case COMMAND_SEND: send_on(io, c); break;
    case COMMAND_RESUME: resume(io); return;
    case COMMAND_HANG_UP: end_link(io, io->reason); return;
    case COMMAND_CLOSE: start_closing(io); return;
    }
    free(c);
}

static void on_wake(uv_async_t *wake)
{
    struct io *io = wake->data;
    uv_mutex_lock(&io->lock);
    struct command *list = io->commands;
    io->commands = NULL;
    io->commands_end = &io->commands;
    uv_mutex_unlock(&io->lock);
    while (list) {
        struct command *next = list->next;
        run_command(io, list);
        list = next;
    }
}

static void run(void *data)
{
    struct io *io = data;
    uv_run(&io->loop, UV_RUN_DEFAULT);
}

/* Signals are the program's: its threads take them. That goes for SIGPIPE of our own writes too. */
static int start_thread(struct io *io)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create(&io->thread, run, io);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ open and close */

static void io_free(struct io *io)
{
    while (io->items) {
        struct io_item *next = io->items->next;
        free(io->items);
        io->items = next;
    }
    if (io->fd >= 0)
        close(io->fd);
    uv_mutex_destroy(&io->lock);
    free(io->down);
    free(io);
}

static struct io *io_new(void)
{
    struct io *io = calloc(1, sizeof *io);
    if (!io)
        return NULL;
    if (uv_mutex_init(&io->lock) < 0) {
        free(io);
        return NULL;
    }
    io->commands_end = &io->commands;
    io->items_end = &io->items;
    io->resume.kind = COMMAND_RESUME;
    io->hang_up.kind = COMMAND_HANG_UP;
    io->close.kind = COMMAND_CLOSE;
    io->fd = -1;
    io->down = malloc(sizeof *io->down + REASON_BYTES);
    if (!io->down) {
        io_free(io);
        return NULL;
    }
    *io->down = (struct io_item){.kind = IO_DOWN};
    return io;
}

/* What was begun on the loop ends before its thread was there. */
static void close_loop(struct io *io)
{
    link_close(io->link);
    io->link = NULL;
    uv_close((uv_handle_t *)&io->linger, NULL);
    uv_close((uv_handle_t *)&io->wake, NULL);
    uv_run(&io->loop, UV_RUN_DEFAULT);
    uv_loop_close(&io->loop);
}

static int begin(struct io *io, const struct link_options *options)
{
    static const struct link_ops ops = {.on_up = on_up, .on_down = on_down};
    int rc = uv_async_init(&io->loop, &io->wake, on_wake);
    if (rc < 0) {
        uv_loop_close(&io->loop);
        return rc;
    }
    io->wake.data = io;
    uv_timer_init(&io->loop, &io->linger);
    io->linger.data = io;
    rc = link_open(&io->loop, options, &ops, io, &io->link);
    if (rc < 0)
        io->link = NULL;
    else
        rc = start_thread(io);
    if (rc < 0)
        close_loop(io);
    return rc;
}

int io_open(const struct link_options *options, struct io **out_io)
{
    struct io *io = io_new();
    if (!io)
        return UV_ENOMEM;
    io->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = io->fd < 0 ? uv_translate_sys_error(errno) : uv_loop_init(&io->loop);
    if (rc == 0)
        rc = begin(io, options);
    if (rc < 0) {
        io_free(io);
        return rc;
    }
    *out_io = io;
    return 0;
}

void io_close(struct io *io)
{
    if (!io)
        return;
    uv_mutex_lock(&io->lock);
    command(io, &io->close);
    uv_mutex_unlock(&io->lock);
    uv_thread_join(&io->thread);
    uv_loop_close(&io->loop);
    io_free(io);
}
