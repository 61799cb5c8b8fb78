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

int device_parse(const char *text, struct device *out, char *err, size_t err_len)
{
    struct device d = {.target = -1};
    const char *target = strchr(text, ':');
    if (!target) {
        snprintf(err, err_len, "'%.80s' is no HOST:TARGET[:LUN]", text);
        return UV_EINVAL;
    }
    int rc = copy_name(d.host, text, (size_t)(target - text), "host", err, err_len);
    target++;
    const char *last = strrchr(target, ':');
    if (rc == 0 && last && is_number(last + 1))
        rc = parse_lun(last + 1, &d, err, err_len);
    if (rc == 0)
        rc = parse_target(target, d.has_lun ? (size_t)(last - target) : strlen(target), &d, err, err_len);
    if (rc == 0)
        *out = d;
    return rc;
}
