/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/tgtd_text.h"

#include <stdbool.h>
#include <string.h>
#include <uv.h>

/* Places and values of the request, as seen between tgtadm and tgtd. */
enum {
    AT_MODE = 0,
    AT_OPERATION = 4,
    AT_DRIVER = 8,
    AT_LENGTH = 72,
    AT_TARGET = 76,
    AT_LUN = 88,
};
#define MODE_TARGET    1
#define OPERATION_SHOW 2
#define INDENT         4

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

void tgtd_request_show(uint8_t out[TGTD_REQUEST_BYTES])
{
    memset(out, 0, TGTD_REQUEST_BYTES);
    put32(out + AT_MODE, MODE_TARGET);
    put32(out + AT_OPERATION, OPERATION_SHOW);
    memcpy(out + AT_DRIVER, "iscsi", 5);
    put32(out + AT_LENGTH, TGTD_REQUEST_BYTES);
    put32(out + AT_TARGET, UINT32_MAX); /* all */
    memset(out + AT_LUN, 0xff, 8);      /* all */
}

int tgtd_header_parse(const uint8_t header[TGTD_HEADER_BYTES], uint32_t *out_error)
{
    uint32_t len;

    memcpy(out_error, header, sizeof *out_error);
    memcpy(&len, header + sizeof *out_error, sizeof len);
    if (len < TGTD_HEADER_BYTES || len > TGTD_MAX_ANSWER_BYTES)
        return UV_EPROTO;
    return (int)(len - TGTD_HEADER_BYTES);
}

/* ------------------------------------------------------------------------------------------------ lines */

struct line {
    size_t level; /* of indentation */
    const char *text;
    size_t len;
};

/* Behind `prefix`, when the line begins with it; else NULL. */
static const char *after(const struct line *line, const char *prefix, size_t *out_len)
{
    size_t n = strlen(prefix);

    if (line->len < n || memcmp(line->text, prefix, n) != 0)
        return NULL;
    *out_len = line->len - n;
    return line->text + n;
}

static bool is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* Decimal, at least one digit, how many were used in *out_used. */
static bool parse_number(const char *text, size_t len, uint64_t max, uint64_t *out, size_t *out_used)
{
    uint64_t value = 0;
    size_t i = 0;

    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');

        if (value > (max - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    *out = value;
    *out_used = i;
    return i > 0;
}

/* "Target 1: iqn.…" */
static int target_line(const struct line *line, struct snapshot *out, bool *out_is)
{
    uint64_t number;
    size_t len, used;
    const char *rest = after(line, "Target ", &len);

    *out_is = line->level == 0 && rest && parse_number(rest, len, INT32_MAX, &number, &used) && len - used > 2 &&
              memcmp(rest + used, ": ", 2) == 0;
    return *out_is ? snapshot_add_target(out, (int32_t)number, rest + used + 2, len - used - 2) : 0;
}

enum section { SECTION_OTHER, SECTION_SYSTEM, SECTION_NEXUSES, SECTION_LUNS };

static enum section section_of(const struct line *line)
{
    if (is(line->text, line->len, "System information:"))
        return SECTION_SYSTEM;
    if (is(line->text, line->len, "I_T nexus information:"))
        return SECTION_NEXUSES;
    if (is(line->text, line->len, "LUN information:"))
        return SECTION_LUNS;
    return SECTION_OTHER;
}

static void system_line(const struct line *line, struct snapshot *out)
{
    size_t len;
    const char *value = after(line, "State: ", &len);

    if (value && line->level == 2)
        snapshot_set_target_online(out, is(value, len, "ready"));
}

/* The nexus, its initiator ("NAME alias: ALIAS"), the address of its first connection. */
static int nexus_line(const struct line *line, struct snapshot *out)
{
    size_t len, used;
    uint64_t id;
    const char *value = after(line, "I_T nexus: ", &len);

    if (line->level == 2 && value) {
        if (parse_number(value, len, UINT64_MAX, &id, &used) && used == len)
            return snapshot_add_nexus(out, id);
        out->cut = true;
        return 0;
    }
    value = after(line, "Initiator: ", &len);
    if (line->level == 3 && value) {
        const char *space = memchr(value, ' ', len);

        snapshot_set_initiator(out, value, space ? (size_t)(space - value) : len);
        return 0;
    }
    value = after(line, "IP Address: ", &len);
    if (line->level == 4 && value)
        snapshot_set_address(out, value, len);
    return 0;
}

static int lun_line(const struct line *line, struct snapshot *out)
{
    size_t len, used;
    uint64_t lun;
    const char *value = after(line, "LUN: ", &len);

    if (line->level == 2 && value) {
        if (parse_number(value, len, UINT64_MAX, &lun, &used) && used == len)
            return snapshot_add_lun(out, lun, true);
        out->cut = true;
        return 0;
    }
    value = after(line, "Online: ", &len);
    if (line->level == 3 && value)
        snapshot_set_lun_online(out, is(value, len, "Yes"));
    return 0;
}

static struct line cut_line(const char *text, size_t len)
{
    size_t spaces = 0;

    while (spaces < len && text[spaces] == ' ')
        spaces++;
    return (struct line){.level = spaces / INDENT, .text = text + spaces, .len = len - spaces};
}

int tgtd_text_parse(const char *text, size_t len, struct snapshot *out)
{
    enum section section = SECTION_OTHER;
    const char *end = len > 0 ? text + strnlen(text, len) : text; /* a NUL ends it */
    int rc = 0;

    memset(out, 0, sizeof *out);
    for (const char *next; rc == 0 && text < end; text = next) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        struct line line = cut_line(text, (size_t)((newline ? newline : end) - text));
        bool is_target = false;

        next = newline ? newline + 1 : end;
        rc = target_line(&line, out, &is_target);
        if (rc < 0)
            break;
        if (!is_target && out->n_targets == 0)
            rc = UV_EPROTO;
        else if (is_target || line.level == 0)
            section = SECTION_OTHER;
        else if (line.level == 1)
            section = section_of(&line);
        else if (section == SECTION_SYSTEM)
            system_line(&line, out);
        else if (section == SECTION_NEXUSES)
            rc = nexus_line(&line, out);
        else if (section == SECTION_LUNS)
            rc = lun_line(&line, out);
    }
    if (rc < 0)
        snapshot_free(out);
    else
        snapshot_finish(out);
    return rc;
}
