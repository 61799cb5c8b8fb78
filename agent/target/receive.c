/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/receive.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

void receive_init(struct receive *r, const struct receive_ops *ops, void *data)
{
    memset(r, 0, sizeof *r);
    r->ops = ops;
    r->data = data;
}

void receive_deinit(struct receive *r)
{
    receive_close_all(r);
}

int receive_open(struct receive *r, const struct receive_session *session, uint32_t n_buffers)
{
    struct receive_session *s;

    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->sessions[i]->id, session->id) == 0)
            return UV_EEXIST;
    if (r->n == RECEIVE_MAX_SESSIONS)
        return UV_ENOBUFS;
    s = malloc(sizeof *s);
    if (!s)
        return UV_ENOMEM;
    *s = *session;
    s->left = 0;
    buffers_init(&s->buffers, n_buffers);
    r->sessions[r->n++] = s;
    return 0;
}

struct receive_session *receive_find(const struct receive *r, const char *id, uint64_t generation)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->sessions[i]->generation == generation && strcmp(r->sessions[i]->id, id) == 0)
            return r->sessions[i];
    return NULL;
}

void receive_close(struct receive *r, struct receive_session *s)
{
    size_t i = 0;

    while (i < r->n && r->sessions[i] != s)
        i++;
    if (i == r->n)
        return;
    memmove(&r->sessions[i], &r->sessions[i + 1], (r->n - i - 1) * sizeof(r->sessions[0]));
    r->n--;
    free(s);
}

void receive_close_all(struct receive *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->sessions[i]);
    r->n = 0;
}

bool receive_release(struct receive *r, struct receive_session *s, uint32_t n)
{
    if (!buffers_release(&s->buffers, n))
        return false;
    r->ops->on_resumed(r->data, s);
    return true;
}

/* ------------------------------------------------------------------------------------------------ data */

static bool same(const char *name, const char *text, size_t len)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

size_t receive_begin(struct receive *r, const char *target, size_t target_len, const char *initiator,
                     size_t initiator_len, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct receive_session *s = r->sessions[i];
        bool mine = same(s->target, target, target_len) && same(s->initiator, initiator, initiator_len);

        s->left = mine ? len : 0;
        n += mine;
    }
    return n;
}

/* True when the session has all of it. */
static bool fill_buffers(struct receive *r, struct receive_session *s, const uint8_t *bytes, size_t len)
{
    while (s->left > 0 && buffers_available(&s->buffers)) {
        size_t n = s->left < s->buffer_bytes ? s->left : s->buffer_bytes;

        if (!r->ops->on_received(r->data, s, bytes + len - s->left, n))
            return false;
        s->left -= n;
        if (buffers_take(&s->buffers))
            r->ops->on_exhausted(r->data, s);
    }
    return s->left == 0;
}

bool receive_deliver(struct receive *r, const uint8_t *bytes, size_t len)
{
    bool done = true;

    for (size_t i = 0; i < r->n; i++)
        if (!fill_buffers(r, r->sessions[i], bytes, len))
            done = false;
    return done;
}

void receive_abandon(struct receive *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->sessions[i]->left = 0;
}
