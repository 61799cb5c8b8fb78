/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/session_settings.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT       "3260"
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_NOP_MS     5000
#define MAX_NAME_BYTES     223 /* RFC 7143 section 4.2.7.1 */
#define MAX_SECRET_BYTES   255 /* libiscsi cuts longer ones */

static bool given(const char *text)
{
    return text && *text;
}

static bool fits(const char *text, size_t max)
{
    return !text || strlen(text) <= max;
}

static bool names_valid(const struct iscsi_session_options *o)
{
    return given(o->initiator_name) && fits(o->initiator_name, MAX_NAME_BYTES) && fits(o->target_name, MAX_NAME_BYTES);
}

static bool secrets_valid(const struct iscsi_session_options *o)
{
    if (given(o->chap_user) != given(o->chap_secret) || given(o->mutual_chap_user) != given(o->mutual_chap_secret))
        return false;
    if (given(o->mutual_chap_user) && !given(o->chap_user))
        return false;
    return fits(o->chap_user, MAX_SECRET_BYTES) && fits(o->chap_secret, MAX_SECRET_BYTES) &&
           fits(o->mutual_chap_user, MAX_SECRET_BYTES) && fits(o->mutual_chap_secret, MAX_SECRET_BYTES);
}

/* False when memory is out. What is not given stays NULL. */
static bool copy(const char *text, char **out_copy)
{
    if (!given(text))
        return true;
    *out_copy = strdup(text);
    return *out_copy != NULL;
}

static bool digits(const char *text, size_t len, size_t max_len)
{
    return len > 0 && len <= max_len && strspn(text, "0123456789") >= len;
}

static bool port_valid(const char *port, size_t len)
{
    return digits(port, len, 5) && strtoul(port, NULL, 10) <= 65535;
}

/* "host", "host:port", "[ipv6]", "[ipv6]:port", each maybe with ",tag", a portal group tag, behind it. */
static int split_portal(const char *portal, char **out_host, char **out_port)
{
    const char *host, *host_end, *port = NULL, *end;

    if (!given(portal))
        return UV_EINVAL;
    end = portal + strcspn(portal, ",");
    if (*end && !digits(end + 1, strlen(end + 1), 5))
        return UV_EINVAL;
    host = *portal == '[' ? portal + 1 : portal;
    host_end = host + strcspn(host, *portal == '[' ? "]," : ":,");
    if (host_end == host || (*portal == '[' && *host_end++ != ']'))
        return UV_EINVAL;
    if (host_end < end && *host_end != ':')
        return UV_EINVAL;
    if (host_end < end) {
        port = host_end + 1;
        if (!port_valid(port, (size_t)(end - port)))
            return UV_EINVAL;
    }
    *out_host = strndup(host, (size_t)(host_end - host) - (*portal == '['));
    *out_port = port ? strndup(port, (size_t)(end - port)) : strdup(DEFAULT_PORT);
    return *out_host && *out_port ? 0 : UV_ENOMEM;
}

int session_settings_init(struct session_settings *settings, const struct iscsi_session_options *o)
{
    struct session_settings s = {
        .header_digest = o->header_digest,
        .connect_ms = o->connect_ms ? o->connect_ms : DEFAULT_CONNECT_MS,
        .nop_ms = o->nop_ms ? o->nop_ms : DEFAULT_NOP_MS,
        .nop_timeout_ms = o->nop_timeout_ms ? o->nop_timeout_ms : DEFAULT_NOP_MS,
    };
    int rc;

    if (!names_valid(o) || !secrets_valid(o))
        return UV_EINVAL;
    rc = split_portal(o->portal, &s.host, &s.port);
    if (rc == 0 &&
        !(copy(o->initiator_name, &s.initiator_name) && copy(o->target_name, &s.target_name) &&
          copy(o->chap_user, &s.chap_user) && copy(o->chap_secret, &s.chap_secret) &&
          copy(o->mutual_chap_user, &s.mutual_chap_user) && copy(o->mutual_chap_secret, &s.mutual_chap_secret)))
        rc = UV_ENOMEM;
    if (rc < 0) {
        session_settings_deinit(&s);
        return rc;
    }
    *settings = s;
    return 0;
}

static void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void session_settings_deinit(struct session_settings *s)
{
    free(s->initiator_name);
    free(s->target_name);
    free(s->host);
    free(s->port);
    free(s->chap_user);
    secret_free(s->chap_secret);
    free(s->mutual_chap_user);
    secret_free(s->mutual_chap_secret);
    *s = (struct session_settings){0};
}
