/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target_url.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/inventory.h"
#include "runtime/options.h"

#define SCHEME       "iscsi://"
#define DEFAULT_PORT "3260"
#define MAX_LUN      16383

bool target_name_valid(const char *name)
{
    size_t len = strlen(name);

    if (len < 4 || len >= TARGET_NAME_BYTES)
        return false;
    if (strncmp(name, "iqn.", 4) != 0 && strncmp(name, "eui.", 4) != 0 && strncmp(name, "naa.", 4) != 0)
        return false;
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == '/')
            return false;
    return true;
}

static bool port_valid(const char *port)
{
    uint64_t n;

    return options_uint(port, &n) == 0 && n >= 1 && n <= 65535;
}

/* Names, IPv4 addresses and the inside of brackets. */
static bool host_valid(const char *host, size_t len)
{
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (host[i] <= ' ' || host[i] > '~' || strchr("/[],", host[i]))
            return false;
    return true;
}

int target_portal_parse(const char *text, char out[TARGET_PORTAL_BYTES], char *err, size_t err_len)
{
    const char *host = text, *port = DEFAULT_PORT, *colon = strchr(text, ':');
    size_t host_len = strlen(text);
    bool v6 = false;
    int n;

    if (text[0] == '[') {
        const char *end = strchr(text, ']');

        host = text + 1;
        host_len = end ? (size_t)(end - host) : 0;
        v6 = true;
        if (end && end[1] == ':')
            port = end + 2;
        else if (!end || end[1])
            host_len = 0;
    } else if (colon && strchr(colon + 1, ':')) {
        v6 = true; /* without brackets there is no place for a port */
    } else if (colon) {
        host_len = (size_t)(colon - text);
        port = colon + 1;
    }
    if (!host_valid(host, host_len)) {
        snprintf(err, err_len, "\"%s\": no host name or address", text);
        return UV_EINVAL;
    }
    if (!port_valid(port)) {
        snprintf(err, err_len, "\"%s\": port must be 1 to 65535", text);
        return UV_EINVAL;
    }
    n = snprintf(out, TARGET_PORTAL_BYTES, v6 ? "[%.*s]:%s" : "%.*s:%s", (int)host_len, host, port);
    if (n >= TARGET_PORTAL_BYTES) {
        snprintf(err, err_len, "host and port are longer than %d bytes", TARGET_PORTAL_BYTES - 1);
        return UV_EINVAL;
    }
    return 0;
}

static int parse_lun(const char *text, struct target_url *out, char *err, size_t err_len)
{
    uint64_t lun;

    if (options_uint(text, &lun) < 0 || lun > MAX_LUN) {
        snprintf(err, err_len, "LUN \"%s\": must be 0 to %d", text, MAX_LUN);
        return UV_EINVAL;
    }
    out->lun = (int32_t)lun;
    return 0;
}

/* "A,B,C" */
static int parse_portals(char *text, struct target_url *out, char *err, size_t err_len)
{
    int rc = 0;

    for (char *next = text; rc == 0 && next;) {
        char *one = strsep(&next, ",");

        if (out->n_portals == TARGET_MAX_PORTALS) {
            snprintf(err, err_len, "more than %d portals", TARGET_MAX_PORTALS);
            return UV_EINVAL;
        }
        rc = target_portal_parse(one, out->portals[out->n_portals], err, err_len);
        for (size_t i = 0; rc == 0 && i < out->n_portals; i++) {
            if (strcmp(out->portals[i], out->portals[out->n_portals]) == 0) {
                snprintf(err, err_len, "portal %s is there twice", out->portals[i]);
                rc = UV_EINVAL;
            }
        }
        out->n_portals++;
    }
    return rc;
}

int target_url_parse(const char *text, struct target_url *out, char *err, size_t err_len)
{
    struct target_url url = {.lun = -1};
    char copy[sizeof SCHEME + TARGET_MAX_PORTALS * TARGET_PORTAL_BYTES + TARGET_NAME_BYTES + 8];
    char *portals, *name, *lun;
    int rc;

    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0 || strlen(text) >= sizeof copy) {
        snprintf(err, err_len, "\"%.80s\": a target is iscsi://HOST[:PORT][,HOST[:PORT]]/NAME[/LUN]", text);
        return UV_EINVAL;
    }
    strcpy(copy, text + strlen(SCHEME));
    portals = copy;
    name = strchr(portals, '/');
    if (!name) {
        snprintf(err, err_len, "\"%.80s\": the target's name is missing (iscsi://HOST[:PORT]/NAME[/LUN])", text);
        return UV_EINVAL;
    }
    *name++ = 0;
    lun = strchr(name, '/');
    if (lun)
        *lun++ = 0;
    if (!target_name_valid(name)) {
        snprintf(err, err_len, "\"%.80s\": an iSCSI name begins with iqn., eui. or naa., up to 223 bytes", name);
        return UV_EINVAL;
    }
    strcpy(url.name, name);
    rc = parse_portals(portals, &url, err, err_len);
    if (rc == 0 && lun)
        rc = parse_lun(lun, &url, err, err_len);
    if (rc == 0)
        *out = url;
    return rc;
}
