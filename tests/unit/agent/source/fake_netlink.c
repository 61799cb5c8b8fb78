/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/source/fake_netlink.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct netlink {
    uv_idle_t handle; /* makes closing asynchronous */
    const struct netlink_ops *ops;
    void *data;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

struct fake_netlink fake_netlink;
static struct netlink *open_one;

int netlink_open(uv_loop_t *loop, const struct netlink_group *group, const struct netlink_ops *ops, void *data,
                 struct netlink **out_netlink)
{
    struct netlink *n;

    if (fake_netlink.rc < 0)
        return fake_netlink.rc;
    cr_assert_null(open_one);
    n = calloc(1, sizeof *n);
    cr_assert_not_null(n);
    n->ops = ops;
    n->data = data;
    uv_idle_init(loop, &n->handle);
    n->handle.data = n;
    fake_netlink.n_opened++;
    fake_netlink.group = *group;
    *out_netlink = open_one = n;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct netlink *n = handle->data;

    fake_netlink.n_closed++;
    n->on_closed(n->on_closed_data);
    free(n);
}

void netlink_close(struct netlink *n, void (*cb)(void *data), void *data)
{
    cr_assert_eq(n, open_one);
    open_one = NULL;
    n->on_closed = cb;
    n->on_closed_data = data;
    uv_close((uv_handle_t *)&n->handle, on_handle_closed);
}

int netlink_probe(const struct netlink_group *group)
{
    (void)group;
    return fake_netlink.rc;
}

void fake_netlink_send(uint16_t type, const void *payload, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1); /* so that reading behind it is caught */
    struct netlink_message message = {.type = type, .payload = exact, .len = len};

    cr_assert_not_null(exact);
    memcpy(exact, payload, len);
    open_one->ops->on_message(open_one->data, &message);
    free(exact);
}

void fake_netlink_lose(const char *reason)
{
    open_one->ops->on_lost(open_one->data, reason);
}

void fake_netlink_garble(void)
{
    open_one->ops->on_malformed(open_one->data, 3);
}

void fake_netlink_forge(void)
{
    open_one->ops->on_forged(open_one->data, 4711, 1);
}
