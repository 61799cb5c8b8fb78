/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include "clients/cli/exit.h"

/* What a signal handler can reach. */
static struct interrupt *active;
static volatile sig_atomic_t n_signals;

static void on_signal(int number)
{
    (void)number;
    if (n_signals > 0)
        _exit(EXIT_INTERRUPTED);
    n_signals = 1;
    if (active)
        uv_async_send(&active->async);
}

static void on_signal_at_once(int number)
{
    (void)number;
    _exit(EXIT_INTERRUPTED);
}

/* Without SA_RESTART: a blocked write must notice. */
static void handle_with(void (*handler)(int number))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void interrupt_at_once(void)
{
    handle_with(on_signal_at_once);
}

static void on_async(uv_async_t *async)
{
    struct interrupt *i = async->data;
    i->cb(i->data);
}

int interrupt_start(struct interrupt *i, uv_loop_t *loop, void (*cb)(void *data), void *data)
{
    int rc = uv_async_init(loop, &i->async, on_async);
    if (rc < 0)
        return rc;
    i->async.data = i;
    i->cb = cb;
    i->data = data;
    active = i;
    n_signals = 0;
    handle_with(on_signal);
    return 0;
}

void interrupt_stop(struct interrupt *i)
{
    interrupt_at_once();
    active = NULL;
    uv_close((uv_handle_t *)&i->async, NULL);
}
