/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/registry.h"

#define CURRENT         0x70 /* response codes of fixed-format sense */
#define DEFERRED        0x71
#define UNIT_LINE_BYTES 160    /* more than a line about a unit takes */
#define DEFAULT_BLOCKS  131072 /* 64 MiB */

static enum orders_result say(struct orders_answer *answer, enum orders_result result, const char *text)
{
    snprintf(answer->text, sizeof(answer->text), "%s", text);
    return result;
}

static enum orders_result from_errno(struct orders_answer *answer, int rc)
{
    switch (rc) {
    case 0: return ORDERS_DONE;
    case UV_ENOENT: return say(answer, ORDERS_UNKNOWN, "there is no such unit");
    case UV_EEXIST: return say(answer, ORDERS_THERE, "that unit is there already");
    case UV_EINVAL: return say(answer, ORDERS_WRONG, "the size is out of range");
    case UV_EALREADY: return say(answer, ORDERS_NOBODY, "nobody is registered on that unit");
    case UV_ENOBUFS: return say(answer, ORDERS_FULL, "too much sense waits on that unit already");
    case UV_ENOSPC: return say(answer, ORDERS_FULL, "there are as many units as the target can have");
    default: return say(answer, ORDERS_FULL, uv_strerror(rc));
    }
}

static enum orders_result from_count(struct orders_answer *answer, size_t n)
{
    if (n == 0)
        return say(answer, ORDERS_NOBODY, "there is no session");
    answer->n_sessions = n;
    snprintf(answer->text, sizeof(answer->text), "%zu sessions", n);
    return ORDERS_DONE;
}

static enum alua alua_state(const char *word)
{
    static const struct {
        const char *word;
        enum alua state;
    } states[] = {{"non-optimized", ALUA_NON_OPTIMIZED},
                  {"standby", ALUA_STANDBY},
                  {"unavailable", ALUA_UNAVAILABLE},
                  {"offline", ALUA_OFFLINE},
                  {"transition", ALUA_TRANSITION}};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i].word, word) == 0)
            return states[i].state;
    return ALUA_OPTIMIZED;
}

static enum orders_result send_async(struct server *s, const struct verb *v, struct orders_answer *answer)
{
    uint8_t segment[2 + VERB_DATA_MAX];
    struct session_async message = {.event = (uint8_t)v->number, .lun = (uint16_t)v->lun};

    if (v->number > UINT8_MAX)
        return say(answer, ORDERS_WRONG, "events are 0 to 255");
    memcpy(message.parameters, v->parameters, sizeof(message.parameters));
    put_be(segment, v->data_len, 2);
    memcpy(segment + 2, v->data, v->data_len);
    message.data = v->has_sense ? segment : v->data;
    message.data_len = v->data_len > 0 && v->has_sense ? 2 + v->data_len : v->data_len;
    return from_count(answer, server_async(s, &message));
}

static enum orders_result script(struct server *s, int lun, const uint8_t *sense, size_t len,
                                 struct orders_answer *answer)
{
    enum orders_result result;

    if (!device_unit(&s->device, (uint64_t)lun))
        return from_errno(answer, UV_ENOENT);
    if (server_n_sessions(s) == 0)
        return say(answer, ORDERS_NOBODY, "there is no session");
    result = from_errno(answer, device_script(&s->device, (uint64_t)lun, sense, len));
    if (result == ORDERS_DONE) {
        memcpy(answer->sense, sense, len);
        answer->sense_len = len;
    }
    return result;
}

/* The sense that becomes this code, by the registry: unit attentions first, then the other keys. */
static bool sense_of_code(uint32_t code, uint8_t sense[SENSE_FIXED_BYTES])
{
    static const uint8_t keys[] = {KEY_UNIT_ATTENTION, 0x0b, KEY_NOT_READY, 0x03, 0x01, 0x04};

    for (size_t k = 0; k < sizeof(keys); k++)
        for (unsigned asc = 0; asc <= UINT16_MAX; asc++)
            if (registry_classify_sense(CURRENT, keys[k], (uint8_t)(asc >> 8), (uint8_t)asc) == code) {
                sense_fixed(sense, CURRENT, keys[k], (uint16_t)asc);
                return true;
            }
    sense_fixed(sense, DEFERRED, KEY_ABORTED_COMMAND, ASC_NONE);
    return registry_classify_sense(DEFERRED, KEY_ABORTED_COMMAND, 0, 0) == code;
}

static enum orders_result raise_code(struct server *s, const struct verb *v, struct orders_answer *answer)
{
    const struct registry_entry *entry = registry_find_name(v->word, strlen(v->word));
    uint8_t sense[SENSE_FIXED_BYTES];
    enum orders_result result;

    if (!entry)
        return say(answer, ORDERS_UNKNOWN, "there is no such event code");
    if (sense_of_code(entry->code, sense)) {
        result = script(s, v->lun, sense, sizeof(sense), answer);
        if (result == ORDERS_DONE)
            snprintf(answer->text, sizeof(answer->text), "sense %d %x/%02x/%02x", v->lun, sense[2], sense[12],
                     sense[13]);
        return result;
    }
    for (unsigned event = 0; event < 256; event++)
        if (registry_classify_async((uint8_t)event) == entry->code) {
            const struct verb async = {.kind = VERB_ASYNC, .lun = v->lun, .number = event};

            return send_async(s, &async, answer);
        }
    return say(answer, ORDERS_WRONG, "no sense data and no Asynchronous Message has this code");
}

static enum orders_result expect(const struct server *s, const struct verb *v, struct orders_answer *answer)
{
    size_t n = 0;

    if (strcmp(v->word, "sessions") == 0)
        n = server_n_sessions(s);
    else
        for (size_t i = 0; i < s->device.n_ports; i++)
            if (s->device.ports[i]->connected)
                n += attention_count(&s->device.ports[i]->attentions);
    if (n == v->number)
        return ORDERS_DONE;
    snprintf(answer->text, sizeof(answer->text), "expected %" PRIu64 " %s, there are %zu", v->number, v->word, n);
    return ORDERS_LATER;
}

/* One line of text for each session and unit; how many units are left out when there are too many. */
static enum orders_result describe(const struct server *s, struct orders_answer *answer)
{
    const struct device *d = &s->device;
    char *end = answer->text + server_describe(s, answer->text, sizeof(answer->text) - UNIT_LINE_BYTES);
    size_t i;

    for (i = 0; i < d->n_units; i++) {
        const struct unit *u = d->units[i];
        size_t left = sizeof(answer->text) - (size_t)(end - answer->text);

        if (left < 2 * UNIT_LINE_BYTES)
            break;
        end += snprintf(end, left, "unit %u blocks=%" PRIu64 "x%u protected=%d offline=%d access=%x registered=%zu\n",
                        u->number, u->n_blocks, u->block_bytes, unit_is_write_protected(u), u->offline,
                        (unsigned)u->alua, u->reservation.n);
    }
    if (i < d->n_units)
        snprintf(end, UNIT_LINE_BYTES, "and %zu more units\n", d->n_units - i);
    return ORDERS_DONE;
}

static enum orders_result refuse(struct server *s, uint64_t status, const char *moved_to, struct orders_answer *answer)
{
    if (status > UINT16_MAX)
        return say(answer, ORDERS_WRONG, "a status is class and detail, 0x0000 to 0xffff");
    if (moved_to && snprintf(s->moved_to, sizeof(s->moved_to), "%s", moved_to) >= (int)sizeof(s->moved_to))
        return say(answer, ORDERS_WRONG, "the address is too long");
    s->target.refuse = (uint16_t)status;
    s->target.moved_to = moved_to ? s->moved_to : NULL;
    return ORDERS_DONE;
}

/* Verbs about one unit. */
static int run_on_unit(struct device *d, const struct verb *v)
{
    uint64_t lun = (uint64_t)v->lun;

    switch (v->kind) {
    case VERB_ADD: return device_add_unit(d, lun, v->number ? v->number : DEFAULT_BLOCKS, 512);
    case VERB_ALUA: return device_set_alua(d, lun, alua_state(v->word));
    case VERB_ATTENTION: return device_establish(d, v->lun, v->asc, NULL);
    case VERB_HEALTH: return device_set_health(d, lun, v->asc);
    case VERB_OFFLINE: return device_set_offline(d, lun, v->on);
    case VERB_PREEMPT: return device_preempt(d, lun);
    case VERB_PROTECT: return device_protect(d, lun, v->on);
    case VERB_REMOVE: return device_remove_unit(d, lun);
    case VERB_RESET: return device_reset(d, v->lun);
    case VERB_RESIZE: return device_resize(d, lun, v->number);
    default:
        return v->number ? device_set_threshold(d, lun, v->number)
                         : device_establish(d, v->lun, ASC_THIN_THRESHOLD, NULL);
    }
}

static enum orders_result reboot(struct server *s, const struct verb *v)
{
    server_reboot(s, v->ms);
    return ORDERS_DONE;
}

static enum orders_result drop(struct server *s, const struct verb *v)
{
    server_drop(s, v->word[0] == 'f' ? SERVER_FIN : SERVER_RST);
    return ORDERS_DONE;
}

enum orders_result orders_run(struct server *s, const struct verb *v, struct orders_answer *answer)
{
    bool off = strcmp(v->word, "off") == 0;

    answer->text[0] = '\0';
    answer->n_sessions = answer->sense_len = 0;
    switch (v->kind) {
    case VERB_ASYNC: return send_async(s, v, answer);
    case VERB_DROP: return drop(s, v);
    case VERB_EXPECT: return expect(s, v, answer);
    case VERB_GARBAGE: return from_count(answer, server_garbage(s, v->data, v->data_len));
    case VERB_HANG: server_hang(s, v->on); return ORDERS_DONE;
    case VERB_PING: return from_count(answer, server_ping(s));
    case VERB_RAISE: return raise_code(s, v, answer);
    case VERB_REBOOT: return reboot(s, v);
    case VERB_REDIRECT: return refuse(s, off ? 0 : LOGIN_MOVED_TEMPORARILY, off ? NULL : v->word, answer);
    case VERB_REFUSE: return refuse(s, v->number, NULL, answer);
    case VERB_REJECT:
        return v->number > UINT8_MAX ? say(answer, ORDERS_WRONG, "reasons are 0 to 255")
                                     : from_count(answer, server_reject(s, (uint8_t)v->number));
    case VERB_SENSE: return script(s, v->lun, v->data, v->data_len, answer);
    case VERB_SLOW: server_slow(s, v->ms); return ORDERS_DONE;
    case VERB_STATE: return describe(s, answer);
    case VERB_STATSN:
        return v->number > UINT32_MAX ? say(answer, ORDERS_WRONG, "a skew has 32 bits")
                                      : from_count(answer, server_skew(s, (uint32_t)v->number));
    default: return from_errno(answer, run_on_unit(&s->device, v));
    }
}
