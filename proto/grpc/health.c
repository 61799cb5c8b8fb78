/* SPDX-License-Identifier: Apache-2.0 */
/* The health service. Watchers of a name stay on a list and are told when its status changes. */
#include <stdlib.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "proto/grpc/grpc.h"

enum { MAX_REQUEST_BYTES = 4096, MAX_WATCHERS = 10000 };

struct health_entry {
    char *service;
    bool serving;
};

struct watcher {
    struct watcher *prev, *next;
    struct grpc_health *health;
    struct grpc_call *call;
    char *service; /* NULL until the request is in */
    int told;      /* the status last sent */
};

struct grpc_health {
    struct health_entry *entries;
    size_t n;
    struct watcher *watchers;
    size_t n_watchers;
};

/* ------------------------------------------------------------------------------------------------ statuses */

static struct health_entry *find(const struct grpc_health *h, const char *service)
{
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->entries[i].service, service) == 0)
            return &h->entries[i];
    }
    return NULL;
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus status_of(const struct grpc_health *h, const char *service)
{
    const struct health_entry *e = find(h, service);
    if (!e)
        return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    return e->serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                      : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

/* The encoded response; `out` has room for it. */
static size_t encode(const struct grpc_health *h, const char *service, uint8_t out[16])
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(h, service);
    return grpc__health__v1__health_check_response__pack(&response, out);
}

/* The service asked for, to be freed, or NULL: then the call is finished. */
static char *decode(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    Grpc__Health__V1__HealthCheckRequest *request =
        len <= MAX_REQUEST_BYTES ? grpc__health__v1__health_check_request__unpack(NULL, len, bytes) : NULL;
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a HealthCheckRequest");
        return NULL;
    }
    char *service = strdup(request->service);
    grpc__health__v1__health_check_request__free_unpacked(request, NULL);
    if (!service)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the request");
    return service;
}

/* ------------------------------------------------------------------------------------------------ Check */

static void handle_check(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct grpc_health *h = data;
    uint8_t response[16];
    char *service = decode(call, bytes, len);
    if (!service)
        return;
    if (find(h, service))
        grpc_unary_reply(call, response, encode(h, service, response));
    else
        grpc_call_finish(call, GRPC_NOT_FOUND, "unknown service '%.200s'", service);
    free(service);
}

static void start_check(struct grpc_call *call, void *data)
{
    grpc_unary_accept(call, data, handle_check);
}

/* ------------------------------------------------------------------------------------------------ Watch */

static void tell(struct watcher *w)
{
    uint8_t response[16];
    int status = (int)status_of(w->health, w->service);
    if (w->told == status)
        return;
    struct slice part = {.ptr = response, .len = encode(w->health, w->service, response)};
    w->told = status;
    if (grpc_call_send(w->call, &part, 1) != 0)
        grpc_call_finish(w->call, GRPC_RESOURCE_EXHAUSTED, "the watcher reads too slowly");
}

static void on_watch_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct watcher *w = data;
    if (w->service) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "more than one request message");
        return;
    }
    w->service = decode(call, bytes, len);
    if (w->service)
        tell(w);
}

static void on_watch_half_close(struct grpc_call *call, void *data)
{
    struct watcher *w = data;
    if (!w->service)
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "no request message");
}

static void on_watch_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct watcher *w = data;
    (void)call;
    (void)status;
    (void)message;
    if (w->prev)
        w->prev->next = w->next;
    else
        w->health->watchers = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->health->n_watchers--;
    free(w->service);
    free(w);
}

static const struct grpc_call_ops watch_ops = {
    .on_message = on_watch_message, .on_half_close = on_watch_half_close, .on_close = on_watch_close};

static void start_watch(struct grpc_call *call, void *data)
{
    struct grpc_health *h = data;
    struct watcher *w = h->n_watchers < MAX_WATCHERS ? calloc(1, sizeof *w) : NULL;
    if (!w) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "too many watchers");
        return;
    }
    w->health = h;
    w->call = call;
    w->told = -1;
    w->next = h->watchers;
    if (w->next)
        w->next->prev = w;
    h->watchers = w;
    h->n_watchers++;
    grpc_call_accept(call, &watch_ops, w);
}

/* ------------------------------------------------------------------------------------------------ for the owner */

static const struct grpc_method methods[] = {
    {"/grpc.health.v1.Health/Check", start_check},
    {"/grpc.health.v1.Health/Watch", start_watch},
};

int grpc_health_new(struct grpc_server *server, struct grpc_health **out_health)
{
    struct grpc_health *h = calloc(1, sizeof *h);
    if (!h)
        return UV_ENOMEM;
    int rc = grpc_health_set(h, "", true);
    if (rc == 0)
        rc = grpc_server_add(server, methods, sizeof methods / sizeof methods[0], h);
    if (rc == 0)
        *out_health = h;
    else
        grpc_health_free(h);
    return rc;
}

static int add(struct grpc_health *h, const char *service, bool serving)
{
    struct health_entry *entries = realloc(h->entries, (h->n + 1) * sizeof *entries);
    char *name = strdup(service);
    if (entries)
        h->entries = entries;
    if (!entries || !name) {
        free(name);
        return UV_ENOMEM;
    }
    entries[h->n++] = (struct health_entry){name, serving};
    return 0;
}

int grpc_health_set(struct grpc_health *h, const char *service, bool serving)
{
    struct health_entry *e = find(h, service);
    int rc = 0;
    if (e)
        e->serving = serving;
    else
        rc = add(h, service, serving);
    for (struct watcher *w = h->watchers; w; w = w->next) {
        if (w->service && strcmp(w->service, service) == 0)
            tell(w);
    }
    return rc;
}

void grpc_health_free(struct grpc_health *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->n; i++)
        free(h->entries[i].service);
    free(h->entries);
    free(h);
}
