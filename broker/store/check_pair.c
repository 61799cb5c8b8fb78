/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/check_pair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "broker/core/cursors.h"
#include "broker/core/dedupe.h"
#include "broker/core/status.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

static int wrong(const char *what, const struct store_value *key, char *err, size_t err_len)
{
    snprintf(err, err_len, "%s (key \"%.*s\")", what, (int)(key->len < 100 ? key->len : 100), (const char *)key->data);
    return UV_EINVAL;
}

static int check_dedupe(const struct store_value *key, const struct store_value *value, uint64_t newest, char *err,
                        size_t err_len)
{
    struct dedupe d;
    dedupe_init(&d, 1, 1);
    int rc = dedupe_load(&d, key->data, key->len, value->data, value->len);
    uint64_t stamp = rc ? 0 : TAILQ_FIRST(&d.ages)->stamp;
    dedupe_deinit(&d);
    struct store_value host = {.data = (const uint8_t *)key->data + 8, .len = key->len > 8 ? key->len - 8 : 0};
    if (rc == UV_EINVAL)
        return wrong("no agent's newest record", &host, err, err_len);
    return rc == 0 && stamp > newest ? wrong("an agent was seen behind the newest record", &host, err, err_len) : rc;
}

static int check_status(const struct store_value *key, const struct store_value *value, uint64_t newest, char *err,
                        size_t err_len)
{
    struct status s;
    uint64_t last = 0;
    status_init(&s, 1, 1, 0);
    int rc = status_load(&s, key->data, key->len, value->data, value->len);
    const struct status_device *device = rc ? NULL : status_at(&s, 0);
    if (device && device->n_last > 0)
        last = device->last[0].sequence;
    status_deinit(&s);
    if (rc == UV_EINVAL)
        return wrong("no device's status", key, err, err_len);
    return rc == 0 && last > newest ? wrong("a device has an event behind the newest record", key, err, err_len) : rc;
}

static int check_cursor(const struct store_value *key, const struct store_value *value, uint64_t epoch, uint64_t newest,
                        char *err, size_t err_len)
{
    struct cursor_position position;
    char name[CURSOR_MAX_NAME + 1], reason[128];

    if (key->len > CURSOR_MAX_NAME)
        return wrong("no cursor's name", key, err, err_len);
    memcpy(name, key->data, key->len);
    name[key->len] = 0;
    if (strlen(name) != key->len || cursor_check_name(name, reason, sizeof reason))
        return wrong("no cursor's name", key, err, err_len);
    if (cursor_decode(value->data, value->len, &position))
        return wrong("no cursor", key, err, err_len);
    if (position.epoch == epoch && position.sequence > newest)
        return wrong("a cursor stands behind the newest record", key, err, err_len);
    return 0;
}

static int check_agent(const struct store_value *key, const struct store_value *value, char *err, size_t err_len)
{
    Sensebus__V1__Agent *agent =
        (Sensebus__V1__Agent *)message_unpack(&sensebus__v1__agent__descriptor, value->data, value->len, 0);
    bool is_right = agent && strlen(agent->host) == key->len && memcmp(agent->host, key->data, key->len) == 0;
    message_free((struct ProtobufCMessage *)agent);
    return is_right ? 0 : wrong("no agent", key, err, err_len);
}

int check_pair(enum journal_table table, const struct store_value *key, const struct store_value *value, uint64_t epoch,
               uint64_t newest, char *err, size_t err_len)
{
    switch (table) {
    case JOURNAL_DEDUPE: return check_dedupe(key, value, newest, err, err_len);
    case JOURNAL_STATUS: return check_status(key, value, newest, err, err_len);
    case JOURNAL_CURSORS: return check_cursor(key, value, epoch, newest, err, err_len);
    case JOURNAL_AGENTS: return check_agent(key, value, err, err_len);
    case JOURNAL_N_TABLES: break;
    }
    return 0;
}
