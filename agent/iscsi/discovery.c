/* SPDX-License-Identifier: Apache-2.0 */
/* One discovery: open a discovery session, on login ask SendTargets, read the list, close. The timer bounds it all:
 * whatever a target does or does not, the callback comes by then. */
#include "agent/iscsi/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct iscsi_discovery {
    uv_timer_t timer;
    uint32_t timeout_ms;
    struct iscsi_session *session;
    iscsi_discovery_cb cb;
    void *data;
    char portal[128]; /* asked; numeric */
};

/* ---- the list ---- */

struct target_list {
    struct iscsi_discovered *targets;
    size_t n, cap;
};

void discovery_free(struct iscsi_discovered *targets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(targets[i].target_name);
        free(targets[i].portal);
    }
    free(targets);
}

static int list_add(struct target_list *list, const char *name, const char *portal)
{
    struct iscsi_discovered *t;

    if (list->n == DISCOVERY_MAX_TARGETS)
        return UV_E2BIG;
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        struct iscsi_discovered *grown = realloc(list->targets, cap * sizeof(*grown));

        if (!grown)
            return UV_ENOMEM;
        list->targets = grown;
        list->cap = cap;
    }
    t = &list->targets[list->n];
    t->target_name = strdup(name);
    t->portal = strdup(portal);
    list->n++; /* also half-made: discovery_free takes NULL */
    return t->target_name && t->portal ? 0 : UV_ENOMEM;
}

/* The value when `pair` is "key=value", else NULL. */
static const char *value_of(const char *pair, const char *key)
{
    size_t len = strlen(key);

    return strncmp(pair, key, len) == 0 && pair[len] == '=' && pair[len + 1] ? pair + len + 1 : NULL;
}

static int list_parse(struct target_list *list, const char *text, const char *end, const char *default_portal)
{
    const char *name = NULL;
    bool has_portal = false;
    int rc = 0;

    for (; rc == 0 && text < end; text += strlen(text) + 1) {
        const char *new_name = value_of(text, "TargetName");
        const char *portal = value_of(text, "TargetAddress");

        if (new_name) {
            if (name && !has_portal)
                rc = list_add(list, name, default_portal);
            name = new_name;
            has_portal = false;
        } else if (portal && name) {
            rc = list_add(list, name, portal);
            has_portal = true;
        } else if (*text) {
            rc = UV_EPROTO;
        }
    }
    if (rc == 0 && name && !has_portal)
        rc = list_add(list, name, default_portal);
    return rc;
}

int discovery_parse(const uint8_t *text, size_t len, const char *default_portal, struct iscsi_discovered **out_targets,
                    size_t *out_n)
{
    struct target_list list = {0};
    int rc;

    if (len > 0 && text[len - 1] != 0)
        return UV_EPROTO;
    rc = list_parse(&list, (const char *)text, (const char *)text + len, default_portal);
    if (rc < 0) {
        discovery_free(list.targets, list.n);
        return rc;
    }
    *out_targets = list.targets;
    *out_n = list.n;
    return 0;
}

/* ---- the exchange ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void iscsi_discovery_cancel(struct iscsi_discovery *d)
{
    if (!d || uv_is_closing((uv_handle_t *)&d->timer))
        return;
    iscsi_session_close(d->session);
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

static void discovery_end(struct iscsi_discovery *d, int status, const char *text,
                          const struct iscsi_discovered *targets, size_t n)
{
    iscsi_discovery_cb cb = d->cb;
    void *data = d->data;

    iscsi_discovery_cancel(d);
    cb(data, status, text, targets, n);
}

static void on_text(struct iscsi_session *s, void *data, int status, const uint8_t *text, size_t len)
{
    struct iscsi_discovery *d = data;
    struct iscsi_discovered *targets = NULL;
    size_t n = 0;
    char reason[256];

    (void)s;
    if (status == 0)
        status = discovery_parse(text, len, d->portal, &targets, &n);
    if (status < 0) {
        snprintf(reason, sizeof(reason), "%s: list of targets: %s", d->portal,
                 status == UV_EMSGSIZE ? "sent in several parts" : uv_strerror(status));
        discovery_end(d, status, reason, NULL, 0);
        return;
    }
    discovery_end(d, 0, "", targets, n);
    discovery_free(targets, n);
}

static void on_login(struct iscsi_session *s, void *data, const char *portal)
{
    struct iscsi_discovery *d = data;
    int rc;

    snprintf(d->portal, sizeof(d->portal), "%s", portal);
    rc = iscsi_session_send_targets(s, on_text, d);
    if (rc < 0)
        discovery_end(d, rc, uv_strerror(rc), NULL, 0);
}

static int end_status(const struct iscsi_session_fate *fate)
{
    if (fate->error < 0)
        return fate->error;
    switch (fate->end) {
    case ISCSI_END_LOGIN_STATUS: return fate->status_class == 2 ? UV_EACCES : UV_ECONNREFUSED;
    case ISCSI_END_CLOSED: return UV_EOF;
    default: return UV_EPROTO;
    }
}

static void on_end(struct iscsi_session *s, void *data, const struct iscsi_session_fate *fate)
{
    (void)s;
    discovery_end(data, end_status(fate), fate->text, NULL, 0);
}

static void on_sense(struct iscsi_session *s, void *data, uint64_t lun_raw, int opcode, const uint8_t *sense,
                     size_t len)
{
    (void)s;
    (void)data;
    (void)lun_raw;
    (void)opcode;
    (void)sense;
    (void)len;
}

static void on_async(struct iscsi_session *s, void *data, const struct iscsi_async_message *message)
{
    (void)s;
    (void)data;
    (void)message;
}

static void on_reject(struct iscsi_session *s, void *data, uint8_t reason, const uint8_t *header)
{
    (void)s;
    (void)data;
    (void)reason;
    (void)header;
}

static const struct iscsi_session_ops discovery_session_ops = {
    .on_login = on_login,
    .on_end = on_end,
    .on_sense = on_sense,
    .on_async = on_async,
    .on_reject = on_reject,
};

static void on_timeout(uv_timer_t *timer)
{
    struct iscsi_discovery *d = timer->data;
    char reason[256];

    snprintf(reason, sizeof(reason), "%s: no list of targets in %u ms", d->portal, d->timeout_ms);
    discovery_end(d, UV_ETIMEDOUT, reason, NULL, 0);
}

int iscsi_discovery_start(uv_loop_t *loop, const struct iscsi_session_options *options, uint32_t timeout_ms,
                          iscsi_discovery_cb cb, void *data, struct iscsi_discovery **out_discovery)
{
    struct iscsi_session_options session_options = *options;
    struct iscsi_discovery *d = calloc(1, sizeof(*d));
    int rc;

    if (!d)
        return UV_ENOMEM;
    d->timeout_ms = timeout_ms;
    d->cb = cb;
    d->data = data;
    snprintf(d->portal, sizeof(d->portal), "%s", options->portal ? options->portal : "");
    session_options.target_name = NULL;
    rc = iscsi_session_open(loop, &session_options, &discovery_session_ops, d, &d->session);
    if (rc < 0) {
        free(d);
        return rc;
    }
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    uv_timer_start(&d->timer, on_timeout, timeout_ms, 0);
    *out_discovery = d;
    return 0;
}
