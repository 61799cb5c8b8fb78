/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/device.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "clients/cli/query/names.h"

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

static int copy_name(char out[DEVICE_NAME_BYTES], const char *text, size_t len, const char *what, char *err,
                     size_t err_len)
{
    if (len == 0) {
        snprintf(err, err_len, "the name of the %s is empty", what);
        return UV_EINVAL;
    }
    if (len >= DEVICE_NAME_BYTES) {
        snprintf(err, err_len, "the name of the %s is longer than %d bytes", what, DEVICE_NAME_BYTES - 1);
        return UV_EINVAL;
    }
    memcpy(out, text, len);
    out[len] = 0;
    return 0;
}

static int parse_lun(const char *text, struct device *d, char *err, size_t err_len)
{
    if (!names_parse_number(text, &d->lun)) {
        snprintf(err, err_len, "LUN '%.40s' is too large", text);
        return UV_EINVAL;
    }
    d->has_lun = true;
    return 0;
}

static int parse_target(const char *text, size_t len, struct device *d, char *err, size_t err_len)
{
    int64_t number;
    int rc = copy_name(d->target_name, text, len, "target", err, err_len);
    if (rc < 0 || !is_number(d->target_name))
        return rc;
    if (!names_parse_number(d->target_name, &number) || number > INT32_MAX) {
        snprintf(err, err_len, "target number '%.40s' is too large", d->target_name);
        return UV_EINVAL;
    }
    d->target = (int32_t)number;
    *d->target_name = 0;
    return 0;
}

/* The number up to `end`, at most `max`. */
static bool number_to(const char *text, char end, int64_t max, int64_t *out, const char **out_rest)
{
    char digits[24];
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len >= sizeof digits || text[len] != end)
        return false;
    memcpy(digits, text, len);
    digits[len] = 0;
    *out_rest = text + len + 1;
    return names_parse_number(digits, out) && *out <= max;
}

/* "3:0:1:4" of the kernel, or "host3:0:1:4" as lists show it, and nothing else. */
static bool parse_kernel(const char *text, struct device *d)
{
    static const char prefix[] = "host";
    int64_t host, channel, target, lun;
    if (strncmp(text, prefix, strlen(prefix)) == 0)
        text += strlen(prefix);
    if (!number_to(text, ':', INT32_MAX, &host, &text) || !number_to(text, ':', INT32_MAX, &channel, &text) ||
        !number_to(text, ':', INT32_MAX, &target, &text) || !number_to(text, 0, INT64_MAX, &lun, &text))
        return false;
    snprintf(d->adapter, sizeof d->adapter, "host%d", (int)host);
    d->bus = (int32_t)channel;
    d->target = (int32_t)target;
    d->lun =
        lun >> 14 == 1 ? lun & 0x3fff : lun; /* the kernel keeps the bits of flat addressing (SAM-5 section 4.7.7) */
    d->has_lun = true;
    return true;
}

int device_parse(const char *text, struct device *out, char *err, size_t err_len)
{
    struct device d = {.bus = -1, .target = -1};
    const char *target = strchr(text, ':');
    if (!target) {
        snprintf(err, err_len, "'%.80s' is no HOST:TARGET[:LUN]", text);
        return UV_EINVAL;
    }
    int rc = copy_name(d.host, text, (size_t)(target - text), "host", err, err_len);
    target++;
    if (rc == 0 && parse_kernel(target, &d)) {
        *out = d;
        return 0;
    }
    const char *last = strrchr(target, ':');
    if (rc == 0 && last && is_number(last + 1))
        rc = parse_lun(last + 1, &d, err, err_len);
    if (rc == 0)
        rc = parse_target(target, d.has_lun ? (size_t)(last - target) : strlen(target), &d, err, err_len);
    if (rc == 0)
        *out = d;
    return rc;
}
