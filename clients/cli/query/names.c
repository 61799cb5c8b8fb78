/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/names.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/registry.h"
#include "runtime/spelling.h"

struct name {
    const char *word;
    int64_t number;
};

/* event.proto, enum Severity, Scope, Mode, Source. */
static const struct name SEVERITIES[] = {{"info", 1}, {"notice", 2}, {"warn", 3}, {"error", 4}, {"crit", 5}};
static const struct name SCOPES[] = {{"lun", 1},       {"target", 2}, {"session", 3}, {"connection", 4},
                                     {"port", 5},      {"bus", 6},    {"adapter", 7}, {"fabric", 8},
                                     {"enclosure", 9}, {"host", 10},  {"broker", 11}};
static const struct name MODES[] = {{"initiator", 1}, {"target", 2}, {"both", 3}};
static const struct name SOURCES[] = {{"iscsi", 1},      {"uevent", 2},     {"trace", 3},  {"iscsi_netlink", 4},
                                      {"fc_netlink", 5}, {"sysfs", 6},      {"target", 7}, {"agent", 8},
                                      {"broker", 9},     {"subscriber", 10}};
/* SPC-4 table 145. */
static const struct name DEVICE_TYPES[] = {
    {"disk", 0x00},  {"tape", 0x01},       {"printer", 0x02},  {"processor", 0x03},   {"worm", 0x04},
    {"cdrom", 0x05}, {"scanner", 0x06},    {"optical", 0x07},  {"changer", 0x08},     {"communications", 0x09},
    {"array", 0x0c}, {"enclosure", 0x0d},  {"rbc", 0x0e},      {"card_reader", 0x0f}, {"bridge", 0x10},
    {"osd", 0x11},   {"automation", 0x12}, {"security", 0x13}, {"zoned", 0x14},       {"well_known", 0x1e}};

struct table {
    const struct name *names;
    size_t n;
    const char *plural;
};

#define TABLE(names, plural)                                                                                           \
    {                                                                                                                  \
        names, sizeof(names) / sizeof(*(names)), plural                                                                \
    }
static const struct table TABLES[] = {
    [NAMES_CODE] = {NULL, 0, "codes"},
    [NAMES_CATEGORY] = {NULL, 0, "categories"},
    [NAMES_SEVERITY] = TABLE(SEVERITIES, "severities"),
    [NAMES_SCOPE] = TABLE(SCOPES, "scopes"),
    [NAMES_MODE] = TABLE(MODES, "modes"),
    [NAMES_SOURCE] = TABLE(SOURCES, "sources"),
    [NAMES_DEVICE_TYPE] = TABLE(DEVICE_TYPES, "device types"),
};

/* The registry lists categories as codes have them: code / 100, which is never above 99. */
static const char *category_at(size_t i, int64_t *out_number)
{
    for (uint32_t number = 0; number < 100; number++) {
        const char *name = registry_category_name(number);
        if (name && i-- == 0) {
            *out_number = number;
            return name;
        }
    }
    return NULL;
}

const char *names_at(enum names_kind kind, size_t i, int64_t *out_number)
{
    if (kind == NAMES_CODE) {
        if (i >= registry_size())
            return NULL;
        *out_number = registry_at(i)->code;
        return registry_at(i)->name;
    }
    if (kind == NAMES_CATEGORY)
        return category_at(i, out_number);
    if (i >= TABLES[kind].n)
        return NULL;
    *out_number = TABLES[kind].names[i].number;
    return TABLES[kind].names[i].word;
}

bool names_parse_number(const char *text, int64_t *out_number)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!isdigit((unsigned char)digits[0]))
        return false;
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (hex && !isxdigit((unsigned char)digits[2]))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, hex ? 16 : 10);
    if (errno != 0 || *end != 0)
        return false;
    *out_number = value;
    return true;
}

bool names_number(enum names_kind kind, const char *word, int64_t *out_number)
{
    if (names_parse_number(word, out_number))
        return true;
    int64_t number;
    const char *known;
    for (size_t i = 0; (known = names_at(kind, i, &number)); i++) {
        if (strcasecmp(known, word) == 0) {
            *out_number = number;
            return true;
        }
    }
    return false;
}

const char *names_word(enum names_kind kind, int64_t wanted)
{
    int64_t number;
    const char *known;
    for (size_t i = 0; (known = names_at(kind, i, &number)); i++)
        if (number == wanted)
            return known;
    return NULL;
}

const char *names_nearest(enum names_kind kind, const char *word)
{
    struct spelling_search search = {.word = word, .limit = strlen(word) / 3 + 2, .fold = true};
    const char *known;
    int64_t number;
    for (size_t i = 0; (known = names_at(kind, i, &number)); i++)
        spelling_consider(&search, known);
    return search.nearest;
}

const char *names_plural(enum names_kind kind)
{
    return TABLES[kind].plural;
}

const char *names_all(enum names_kind kind, char *buf, size_t len)
{
    const char *word;
    int64_t number;
    size_t used = 0;
    if (kind == NAMES_CODE)
        return "'sensebus explain \"*\"' lists them";
    buf[0] = 0;
    for (size_t i = 0; (word = names_at(kind, i, &number)); i++) {
        if (used + strlen(word) + sizeof ", …" > len)
            return strcat(buf, "…");
        used += (size_t)snprintf(buf + used, len - used, "%s%s", word, names_at(kind, i + 1, &number) ? ", " : "");
    }
    return buf;
}
