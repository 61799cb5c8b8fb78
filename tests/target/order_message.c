/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/order_message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#define DEFAULT_DOWN_MS   1000
#define DEFAULT_EXPECT_MS 5000
#define MAX_MS            (UINT64_C(7) * 24 * 3600 * 1000)

/* One order while it is read. */
struct reading {
    struct verb *verb;
    const char *name; /* of the order */
    char *err;
    size_t err_len;
};

static int wrong(const struct reading *r, const char *member, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int wrong(const struct reading *r, const char *member, const char *format, ...)
{
    char why[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    snprintf(r->err, r->err_len, "Order.%s%s%s: %s", r->name, member[0] ? "." : "", member, why);
    return UV_EINVAL;
}

/* ------------------------------------------------------------------------------------------------ members */

static int check_most(const struct reading *r, const char *member, uint64_t value, uint64_t most)
{
    return value <= most ? 0 : wrong(r, member, "%" PRIu64 ", at most %" PRIu64, value, most);
}

static int read_lun(const struct reading *r, uint32_t lun)
{
    int rc = check_most(r, "lun", lun, UNIT_MAX_NUMBER);

    if (rc == 0)
        r->verb->lun = (int)lun;
    return rc;
}

static int read_blocks(const struct reading *r, uint64_t blocks, uint64_t least)
{
    if (blocks < least)
        return wrong(r, "blocks", "%" PRIu64 ", at least %" PRIu64, blocks, least);
    r->verb->number = blocks;
    return check_most(r, "blocks", blocks, UNIT_MAX_BLOCKS);
}

static int read_number(const struct reading *r, const char *member, uint64_t value, uint64_t most)
{
    r->verb->number = value;
    return check_most(r, member, value, most);
}

static int read_time(const struct reading *r, const char *member, uint64_t ms)
{
    r->verb->ms = ms;
    return check_most(r, member, ms, MAX_MS);
}

static int read_asc(const struct reading *r, uint32_t asc, uint32_t ascq)
{
    int rc = check_most(r, "asc", asc, UINT8_MAX);

    if (rc == 0)
        rc = check_most(r, "ascq", ascq, UINT8_MAX);
    r->verb->asc = (uint16_t)(asc << 8 | ascq);
    return rc;
}

static int read_bytes(const struct reading *r, const char *member, ProtobufCBinaryData bytes)
{
    if (bytes.len > VERB_DATA_MAX)
        return wrong(r, member, "%zu bytes, at most %d", bytes.len, VERB_DATA_MAX);
    if (bytes.len > 0)
        memcpy(r->verb->data, bytes.data, bytes.len);
    r->verb->data_len = bytes.len;
    return 0;
}

/* A word as in a line. */
static int read_word(const struct reading *r, const char *member, const char *word)
{
    if (!word[0])
        return wrong(r, member, "is empty");
    if (strlen(word) >= sizeof(r->verb->word))
        return wrong(r, member, "more than %zu bytes", sizeof(r->verb->word) - 1);
    for (const char *c = word; *c; c++)
        if (*c <= ' ' || *c > '~')
            return wrong(r, member, "neither blanks nor control characters, ASCII only");
    snprintf(r->verb->word, sizeof(r->verb->word), "%s", word);
    return 0;
}

static void put_word(const struct reading *r, const char *word)
{
    snprintf(r->verb->word, sizeof(r->verb->word), "%s", word);
}

/* ------------------------------------------------------------------------------------------------ orders */

static const struct {
    Sensebus__Target__V1__AccessState message;
    enum alua state;
    const char *word;
} accesses[] = {
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_OPTIMIZED, ALUA_OPTIMIZED, "optimized"},
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_NON_OPTIMIZED, ALUA_NON_OPTIMIZED, "non-optimized"},
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_STANDBY, ALUA_STANDBY, "standby"},
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_UNAVAILABLE, ALUA_UNAVAILABLE, "unavailable"},
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_OFFLINE, ALUA_OFFLINE, "offline"},
    {SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_TRANSITION, ALUA_TRANSITION, "transition"},
};
#define N_ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

Sensebus__Target__V1__AccessState order_message_access(enum alua state)
{
    for (size_t i = 0; i < N_ACCESSES; i++)
        if (accesses[i].state == state)
            return accesses[i].message;
    return SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_UNSPECIFIED;
}

static int read_alua(const struct reading *r, const Sensebus__Target__V1__SetAccess *m)
{
    for (size_t i = 0; i < N_ACCESSES; i++)
        if (accesses[i].message == m->state) {
            put_word(r, accesses[i].word);
            return read_lun(r, m->lun);
        }
    return wrong(r, "state", "is not set");
}

static int read_health(const struct reading *r, const Sensebus__Target__V1__Health *m)
{
    int rc = read_lun(r, m->lun);

    return rc < 0 ? rc : read_asc(r, m->asc, m->ascq);
}

static int read_sized(const struct reading *r, uint32_t lun, uint64_t blocks, uint64_t least)
{
    int rc = read_lun(r, lun);

    return rc < 0 ? rc : read_blocks(r, blocks, least);
}

static int read_switch(const struct reading *r, uint32_t lun, protobuf_c_boolean on)
{
    r->verb->on = on;
    return read_lun(r, lun);
}

static int read_all(const struct reading *r, protobuf_c_boolean all)
{
    r->verb->lun = VERB_ALL_UNITS;
    return all ? 0 : wrong(r, "all", "false; give lun for one unit");
}

static int read_reset(const struct reading *r, const Sensebus__Target__V1__Reset *m)
{
    switch (m->units_case) {
    case SENSEBUS__TARGET__V1__RESET__UNITS_LUN: return read_lun(r, m->lun);
    case SENSEBUS__TARGET__V1__RESET__UNITS_ALL: return read_all(r, m->all);
    default: return wrong(r, "", "neither lun nor all is set");
    }
}

static int read_attention(const struct reading *r, const Sensebus__Target__V1__Attention *m)
{
    int rc = read_asc(r, m->asc, m->ascq);

    if (rc < 0)
        return rc;
    switch (m->units_case) {
    case SENSEBUS__TARGET__V1__ATTENTION__UNITS_LUN: return read_lun(r, m->lun);
    case SENSEBUS__TARGET__V1__ATTENTION__UNITS_ALL: return read_all(r, m->all);
    default: return wrong(r, "", "neither lun nor all is set");
    }
}

static int read_sense(const struct reading *r, const Sensebus__Target__V1__Sense *m)
{
    int rc = read_lun(r, m->lun);

    r->verb->has_sense = true;
    if (rc < 0)
        return rc;
    if (m->data_case == SENSEBUS__TARGET__V1__SENSE__DATA_RAW)
        return read_bytes(r, "raw", m->raw);
    if (m->data_case != SENSEBUS__TARGET__V1__SENSE__DATA_CODES)
        return wrong(r, "", "neither codes nor raw is set");
    rc = check_most(r, "codes.key", m->codes->key, 15);
    if (rc == 0)
        rc = check_most(r, "codes.asc", m->codes->asc, UINT8_MAX);
    if (rc == 0)
        rc = check_most(r, "codes.ascq", m->codes->ascq, UINT8_MAX);
    sense_fixed(r->verb->data, 0x70, (uint8_t)m->codes->key, (uint16_t)(m->codes->asc << 8 | m->codes->ascq));
    r->verb->data_len = SENSE_FIXED_BYTES;
    return rc;
}

static int read_raise(const struct reading *r, const Sensebus__Target__V1__RaiseCode *m)
{
    int rc = read_lun(r, m->lun);

    return rc < 0 ? rc : read_word(r, "code", m->code);
}

static int read_async(const struct reading *r, const Sensebus__Target__V1__AsyncMessage *m)
{
    int rc = read_lun(r, m->lun);

    if (rc == 0)
        rc = read_number(r, "event", m->event, UINT8_MAX);
    if (rc == 0 && m->n_parameters > 3)
        rc = wrong(r, "parameters", "%zu, at most 3", m->n_parameters);
    for (size_t i = 0; rc == 0 && i < m->n_parameters; i++) {
        rc = check_most(r, "parameters", m->parameters[i], UINT16_MAX);
        r->verb->parameters[i] = (uint16_t)m->parameters[i];
    }
    if (rc < 0)
        return rc;
    switch (m->data_case) {
    case SENSEBUS__TARGET__V1__ASYNC_MESSAGE__DATA_SENSE:
        r->verb->has_sense = true;
        return read_bytes(r, "sense", m->sense);
    case SENSEBUS__TARGET__V1__ASYNC_MESSAGE__DATA_RAW: return read_bytes(r, "raw", m->raw);
    default: return 0;
    }
}

static int read_drop(const struct reading *r, const Sensebus__Target__V1__Drop *m)
{
    if (m->how == SENSEBUS__TARGET__V1__DROP_HOW__DROP_HOW_UNSPECIFIED)
        return wrong(r, "how", "is not set");
    put_word(r, m->how == SENSEBUS__TARGET__V1__DROP_HOW__DROP_HOW_FIN ? "fin" : "rst");
    return 0;
}

static int read_garbage(const struct reading *r, const Sensebus__Target__V1__Garbage *m)
{
    return m->bytes.len > 0 ? read_bytes(r, "bytes", m->bytes) : wrong(r, "bytes", "is empty");
}

static int read_redirect(const struct reading *r, const Sensebus__Target__V1__Redirect *m)
{
    return read_word(r, "address", m->address[0] ? m->address : "off");
}

static int read_expect(const struct reading *r, const Sensebus__Target__V1__Expect *m)
{
    int rc = read_time(r, "within_ms", m->_within_ms_case ? m->within_ms : DEFAULT_EXPECT_MS);

    if (rc < 0)
        return rc;
    switch (m->what_case) {
    case SENSEBUS__TARGET__V1__EXPECT__WHAT_SESSIONS:
        put_word(r, "sessions");
        return read_number(r, "sessions", m->sessions, UINT64_MAX);
    case SENSEBUS__TARGET__V1__EXPECT__WHAT_PENDING:
        put_word(r, "pending");
        return read_number(r, "pending", m->pending, UINT64_MAX);
    default: return wrong(r, "", "neither sessions nor pending is set");
    }
}

static int read_line(const struct reading *r, const char *line)
{
    char why[200];
    int rc = verb_parse(line, r->verb, why, sizeof(why));

    if (rc == UV_ENOENT)
        return wrong(r, "", "there is no verb in it");
    return rc < 0 ? wrong(r, "", "%s", why) : 0;
}

/* ------------------------------------------------------------------------------------------------ all of them */

#define IS(ORDER) SENSEBUS__TARGET__V1__ORDER__ORDER_##ORDER

/* By the number of the member. The kind of a line is the line's. */
static const struct {
    const char *name;
    enum verb_kind kind;
} orders[] = {
    [IS(LINE)] = {.name = "line"},
    [IS(ADD)] = {"add", VERB_ADD},
    [IS(REMOVE)] = {"remove", VERB_REMOVE},
    [IS(RESIZE)] = {"resize", VERB_RESIZE},
    [IS(PROTECT)] = {"protect", VERB_PROTECT},
    [IS(OFFLINE)] = {"offline", VERB_OFFLINE},
    [IS(ALUA)] = {"alua", VERB_ALUA},
    [IS(HEALTH)] = {"health", VERB_HEALTH},
    [IS(THIN)] = {"thin", VERB_THIN},
    [IS(RESET)] = {"reset", VERB_RESET},
    [IS(PREEMPT)] = {"preempt", VERB_PREEMPT},
    [IS(ATTENTION)] = {"attention", VERB_ATTENTION},
    [IS(SENSE)] = {"sense", VERB_SENSE},
    [IS(RAISE_CODE)] = {"raise_code", VERB_RAISE},
    [IS(ASYNC_MESSAGE)] = {"async_message", VERB_ASYNC},
    [IS(PING)] = {"ping", VERB_PING},
    [IS(REJECT)] = {"reject", VERB_REJECT},
    [IS(DROP)] = {"drop", VERB_DROP},
    [IS(REBOOT)] = {"reboot", VERB_REBOOT},
    [IS(HANG)] = {"hang", VERB_HANG},
    [IS(SLOW)] = {"slow", VERB_SLOW},
    [IS(GARBAGE)] = {"garbage", VERB_GARBAGE},
    [IS(SKEW_STATSN)] = {"skew_statsn", VERB_STATSN},
    [IS(REFUSE)] = {"refuse", VERB_REFUSE},
    [IS(REDIRECT)] = {"redirect", VERB_REDIRECT},
    [IS(EXPECT)] = {"expect", VERB_EXPECT},
};

static int read_order(const struct reading *r, const Sensebus__Target__V1__Order *o)
{
    switch (o->order_case) {
    case IS(LINE): return read_line(r, o->line);
    case IS(ADD): return read_sized(r, o->add->lun, o->add->blocks, 0);
    case IS(REMOVE): return read_lun(r, o->remove->lun);
    case IS(RESIZE): return read_sized(r, o->resize->lun, o->resize->blocks, 1);
    case IS(PROTECT): return read_switch(r, o->protect->lun, o->protect->on);
    case IS(OFFLINE): return read_switch(r, o->offline->lun, o->offline->on);
    case IS(ALUA): return read_alua(r, o->alua);
    case IS(HEALTH): return read_health(r, o->health);
    case IS(THIN): return read_sized(r, o->thin->lun, o->thin->blocks, 0);
    case IS(RESET): return read_reset(r, o->reset);
    case IS(PREEMPT): return read_lun(r, o->preempt->lun);
    case IS(ATTENTION): return read_attention(r, o->attention);
    case IS(SENSE): return read_sense(r, o->sense);
    case IS(RAISE_CODE): return read_raise(r, o->raise_code);
    case IS(ASYNC_MESSAGE): return read_async(r, o->async_message);
    case IS(REJECT): return read_number(r, "reason", o->reject->reason, UINT8_MAX);
    case IS(DROP): return read_drop(r, o->drop);
    case IS(REBOOT): return read_time(r, "down_ms", o->reboot->_down_ms_case ? o->reboot->down_ms : DEFAULT_DOWN_MS);
    case IS(HANG): return read_switch(r, 0, o->hang->on);
    case IS(SLOW): return read_time(r, "ms", o->slow->ms);
    case IS(GARBAGE): return read_garbage(r, o->garbage);
    case IS(SKEW_STATSN): return read_number(r, "skew", o->skew_statsn->skew, UINT32_MAX);
    case IS(REFUSE): return read_number(r, "status", o->refuse->status, UINT16_MAX);
    case IS(REDIRECT): return read_redirect(r, o->redirect);
    case IS(EXPECT): return read_expect(r, o->expect);
    default: return 0; /* ping */
    }
}

int order_message_read(const Sensebus__Target__V1__Order *order, struct verb *out_verb, char *err, size_t err_len)
{
    struct verb verb = {.lun = 0};
    struct reading r = {.verb = &verb, .err = err, .err_len = err_len};
    int rc;

    if (order->order_case == IS(_NOT_SET)) {
        snprintf(err, err_len, "Order: nothing is ordered");
        return UV_EINVAL;
    }
    r.name = orders[order->order_case].name;
    verb.kind = orders[order->order_case].kind;
    rc = read_order(&r, order);
    if (rc == 0)
        *out_verb = verb;
    return rc;
}
