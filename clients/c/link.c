/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling -> up -> down -> waiting -> dialling …; closed from any of them. With `once`, down is the end.
 *
 * A channel that stays up for STABLE_MS is a success and starts the back-off from its minimum again; one that comes up
 * and falls at once is a failure like any other, so a broker that dies at every start is not hammered. */
#include "clients/c/link.h"

#include <stdlib.h>
#include <string.h>

#include "clients/c/broker_address.h"
#include "proto/grpc/address.h"
#include "runtime/clock.h"
#include "runtime/tls.h"

#define STABLE_MS  1000
#define CONNECT_MS 10000
#define MIN_MS     100
#define MAX_MS     10000

struct link {
    uv_loop_t *loop;
    char *address;
    struct tls_context *tls;
    char *server_name;
    uint32_t connect_ms;
    struct backoff backoff;
    bool once;
    struct grpc_limits limits;
    const struct link_ops *ops;
    void *data;

    uv_timer_t timer;             /* waits for the next dial */
    struct grpc_channel *channel; /* dialling or up */
    bool up;
    uint64_t up_since_ms;
};

static int dial(struct link *link);

static void link_free(struct link *link)
{
    tls_context_unref(link->tls);
    free(link->server_name);
    free(link->address);
    free(link);
}

static void on_timer_closed(uv_handle_t *handle)
{
    link_free(handle->data);
}

/* Report that there is no channel, and when the next try begins. The owner may close the link in its callback. */
static void on_lost(struct link *link, const char *reason);

static void on_retry(uv_timer_t *timer)
{
    struct link *link = timer->data;
    int rc = dial(link);
    if (rc < 0)
        on_lost(link, uv_strerror(rc));
}

static uint32_t random_bits(void)
{
    uint32_t bits;
    if (uv_random(NULL, NULL, &bits, sizeof(bits), 0, NULL) < 0)
        bits = (uint32_t)clock_mono_ns();
    return bits;
}

static void on_lost(struct link *link, const char *reason)
{
    uint32_t retry_ms = UINT32_MAX;
    if (!link->once) {
        retry_ms = backoff_next(&link->backoff, random_bits());
        uv_timer_start(&link->timer, on_retry, retry_ms, 0);
    }
    link->ops->on_down(link, link->data, reason, retry_ms);
}

static void on_channel_up(struct grpc_channel *channel, void *data)
{
    (void)channel;
    struct link *link = data;
    link->up = true;
    link->up_since_ms = uv_now(link->loop);
    link->ops->on_up(link, link->data);
}

static void on_channel_down(struct grpc_channel *channel, void *data, const char *reason)
{
    struct link *link = data;
    if (link->up && uv_now(link->loop) - link->up_since_ms >= STABLE_MS)
        backoff_reset(&link->backoff);
    link->up = false;
    link->channel = NULL;
    on_lost(link, reason);
    /* Last, because `reason` may belong to the channel. */
    grpc_channel_close(channel);
}

static int dial(struct link *link)
{
    static const struct grpc_channel_ops ops = {.on_up = on_channel_up, .on_down = on_channel_down};
    struct grpc_channel_options options = {
        .limits = &link->limits, .connect_ms = link->connect_ms, .tls = link->tls, .server_name = link->server_name};

    return grpc_channel_open(link->loop, broker_address_plain(link->address), &options, &ops, link, &link->channel);
}

static struct link *link_new(uv_loop_t *loop, const struct link_options *options, const struct link_ops *ops,
                             void *data)
{
    struct link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->address = strdup(options->address);
    link->tls = tls_context_ref(options->tls);
    if (options->server_name)
        link->server_name = strdup(options->server_name);
    if (!link->address || (options->server_name && !link->server_name)) {
        link_free(link);
        return NULL;
    }
    link->loop = loop;
    link->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
    link->backoff.min_ms = options->backoff.min_ms ? options->backoff.min_ms : MIN_MS;
    link->backoff.max_ms = options->backoff.max_ms ? options->backoff.max_ms : MAX_MS;
    link->once = options->once;
    link->limits = options->limits;
    link->ops = ops;
    link->data = data;
    return link;
}

int link_open(uv_loop_t *loop, const struct link_options *options, const struct link_ops *ops, void *data,
              struct link **out_link)
{
    struct address address;
    char err[320];
    bool tls = broker_address_is_tls(options->address);
    int rc = address_parse(broker_address_plain(options->address), &address, err, sizeof err);
    if (rc < 0)
        return rc;
    if (tls != (options->tls != NULL))
        return UV_EINVAL;
    if (!tls && !options->insecure && !broker_address_is_local(options->address))
        return UV_EACCES;
    struct link *link = link_new(loop, options, ops, data);
    if (!link)
        return UV_ENOMEM;
    uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    rc = dial(link);
    if (rc < 0) {
        link->channel = NULL;
        link_close(link);
        return rc;
    }
    *out_link = link;
    return 0;
}

struct grpc_channel *link_channel(struct link *link)
{
    return link->up ? link->channel : NULL;
}

void link_close(struct link *link)
{
    if (!link)
        return;
    if (link->channel)
        grpc_channel_close(link->channel);
    link->channel = NULL;
    link->up = false;
    uv_close((uv_handle_t *)&link->timer, on_timer_closed);
}
