/* SPDX-License-Identifier: Apache-2.0 */
/* Each selector appends what one item of its value says. Memory of the Filter is protobuf-c's: plain malloc, freed by
 * free_unpacked; so a half-built one can be freed too. */
#include "clients/cli/query/selectors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "clients/cli/query/names.h"
#include "runtime/glob.h"

#define MAX_ENTRIES 1024 /* of one list: the broker's bound */

bool selector_fail(struct filter_builder *b, int rc, const char *format, ...)
{
    b->rc = rc;
    int n = snprintf(b->err, b->err_len, "--%s: ", b->option);
    if (n < 0 || (size_t)n >= b->err_len)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(b->err + n, b->err_len - (size_t)n, format, args);
    va_end(args);
    return false;
}

/* Make room for one more item of `size` bytes at the end of *list. */
static void *append(struct filter_builder *b, void *list, size_t *n, size_t size)
{
    void *items;
    memcpy(&items, list, sizeof items);
    if (*n >= MAX_ENTRIES) {
        selector_fail(b, UV_EINVAL, "more than %d entries", MAX_ENTRIES);
        return NULL;
    }
    void *grown = realloc(items, (*n + 1) * size);
    if (!grown) {
        selector_fail(b, UV_ENOMEM, "out of memory");
        return NULL;
    }
    memcpy(list, &grown, sizeof grown);
    return (char *)grown + size * (*n)++;
}

static bool append_text(struct filter_builder *b, char ***list, size_t *n, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return selector_fail(b, UV_ENOMEM, "out of memory");
    char **slot = append(b, list, n, sizeof *slot);
    if (!slot) {
        free(copy);
        return false;
    }
    *slot = copy;
    return true;
}

/* ------------------------------------------------------------------------------------------------ one selector each */

static bool add_code(struct filter_builder *b, int64_t number)
{
    Sensebus__V1__Filter *f = b->filter;
    for (size_t i = 0; i < f->n_codes; i++)
        if ((int64_t)f->codes[i] == number)
            return true;
    Sensebus__V1__Code *slot = append(b, &f->codes, &f->n_codes, sizeof *slot);
    if (slot)
        *slot = (Sensebus__V1__Code)number;
    return slot != NULL;
}

static bool unknown_word(struct filter_builder *b, enum names_kind kind, const char *word)
{
    const char *nearest = names_nearest(kind, word);
    if (nearest)
        return selector_fail(b, UV_EINVAL, "'%.60s' is none of the %s; did you mean %s?", word, names_plural(kind),
                             nearest);
    char all[200];
    return selector_fail(b, UV_EINVAL, "'%.60s' is none of the %s: %s", word, names_plural(kind),
                         names_all(kind, all, sizeof all));
}

static bool read_word(struct filter_builder *b, enum names_kind kind, const char *word, int64_t min, int64_t max,
                      int64_t *out_number)
{
    if (!names_number(kind, word, out_number))
        return unknown_word(b, kind, word);
    if (*out_number < min || *out_number > max)
        return selector_fail(b, UV_EINVAL, "'%.60s' is out of range (%lld to %lld)", word, (long long)min,
                             (long long)max);
    return true;
}

static bool select_code(struct filter_builder *b, const char *item)
{
    int64_t number;
    if (!glob_is_pattern(item))
        return read_word(b, NAMES_CODE, item, 1, INT32_MAX, &number) && add_code(b, number);
    bool any = false;
    const char *name;
    for (size_t i = 0; (name = names_at(NAMES_CODE, i, &number)); i++) {
        if (!glob_matches(item, name, strlen(name), true))
            continue;
        any = true;
        if (!add_code(b, number))
            return false;
    }
    return any || selector_fail(b, UV_EINVAL, "no code matches '%.60s'; 'sensebus explain \"*\"' lists them", item);
}

static bool select_category(struct filter_builder *b, const char *item)
{
    int64_t number;
    if (!read_word(b, NAMES_CATEGORY, item, 1, INT32_MAX, &number))
        return false;
    uint32_t *slot = append(b, &b->filter->categories, &b->filter->n_categories, sizeof *slot);
    if (slot)
        *slot = (uint32_t)number;
    return slot != NULL;
}

static bool select_severity(struct filter_builder *b, const char *item)
{
    int64_t number;
    if (!read_word(b, NAMES_SEVERITY, item, 1, 5, &number))
        return false;
    if (b->filter->minimum_severity != 0)
        return selector_fail(b, UV_EINVAL, "is a minimum: give it once");
    b->filter->minimum_severity = (Sensebus__V1__Severity)number;
    return true;
}

static bool select_host(struct filter_builder *b, const char *item)
{
    return append_text(b, &b->filter->hosts, &b->filter->n_hosts, item);
}

Sensebus__V1__AddressPattern *selector_append_address(struct filter_builder *b)
{
    Sensebus__V1__AddressPattern *pattern = malloc(sizeof *pattern);
    if (!pattern) {
        selector_fail(b, UV_ENOMEM, "out of memory");
        return NULL;
    }
    sensebus__v1__address_pattern__init(pattern);
    pattern->controller = pattern->bus = pattern->target = -1;
    pattern->lun = -1;
    Sensebus__V1__AddressPattern **slot = append(b, &b->filter->addresses, &b->filter->n_addresses, sizeof *slot);
    if (!slot) {
        free(pattern);
        return NULL;
    }
    return *slot = pattern;
}

/* "4", "0-7" or "*". */
static bool read_luns(struct filter_builder *b, char *text, Sensebus__V1__AddressPattern *pattern)
{
    if (strcmp(text, "*") == 0)
        return true;
    char *dash = strchr(text, '-');
    int64_t first, last;
    if (dash)
        *dash = 0;
    bool ok = names_parse_number(text, &first) && first >= 0;
    if (ok && dash)
        ok = names_parse_number(dash + 1, &last) && last >= first;
    if (dash)
        *dash = '-';
    if (!ok)
        return selector_fail(b, UV_EINVAL, "'%.60s' is no unit number, range (0-7) or *", text);
    pattern->lun = first;
    if (dash) {
        pattern->_lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
        pattern->lun_last = last;
    }
    return true;
}

static bool read_member(struct filter_builder *b, const char *item, const char *text, int32_t *out_member)
{
    int64_t number;
    if (strcmp(text, "*") == 0)
        return true;
    if (!names_parse_number(text, &number) || number < 0 || number > INT32_MAX)
        return selector_fail(b, UV_EINVAL, "'%.60s': '%.20s' is no number and not *", item, text);
    *out_member = (int32_t)number;
    return true;
}

/* CONTROLLER:BUS:TARGET:LUN, where the first may also be the name of an adapter. */
static bool select_addr(struct filter_builder *b, const char *item)
{
    char copy[300], *parts[4];
    size_t n = 0;
    if (snprintf(copy, sizeof copy, "%s", item) >= (int)sizeof copy)
        return selector_fail(b, UV_EINVAL, "longer than %zu bytes", sizeof copy - 1);
    for (char *rest = copy; rest; n++) {
        char *part = strsep(&rest, ":");
        if (n < 4)
            parts[n] = part;
    }
    if (n != 4)
        return selector_fail(b, UV_EINVAL,
                             "'%.60s' has %zu parts; it takes four: ADAPTER:BUS:TARGET:LUN, each may be *", item, n);
    Sensebus__V1__AddressPattern *pattern = selector_append_address(b);
    if (!pattern)
        return false;
    int64_t number;
    bool is_name = strcmp(parts[0], "*") != 0 && !names_parse_number(parts[0], &number);
    if (is_name) {
        if (!parts[0][0])
            return selector_fail(b, UV_EINVAL, "'%.60s': the adapter is empty; * is any", item);
        pattern->adapter = strdup(parts[0]);
        if (!pattern->adapter) {
            pattern->adapter = (char *)protobuf_c_empty_string;
            return selector_fail(b, UV_ENOMEM, "out of memory");
        }
    } else if (!read_member(b, item, parts[0], &pattern->controller)) {
        return false;
    }
    return read_member(b, item, parts[1], &pattern->bus) && read_member(b, item, parts[2], &pattern->target) &&
           read_luns(b, parts[3], pattern);
}

static bool select_lun(struct filter_builder *b, const char *item)
{
    char copy[64];
    if (snprintf(copy, sizeof copy, "%s", item) >= (int)sizeof copy)
        return selector_fail(b, UV_EINVAL, "'%.60s…' is no unit number or range", item);
    Sensebus__V1__AddressPattern *pattern = selector_append_address(b);
    return pattern && read_luns(b, copy, pattern);
}

static bool select_inquiry(struct filter_builder *b, const char *item)
{
    if (strlen(item) > 24)
        return selector_fail(b, UV_EINVAL, "'%.60s' is longer than vendor and product together (8 + 16)", item);
    return append_text(b, &b->filter->inquiry_prefixes, &b->filter->n_inquiry_prefixes, item);
}

static bool select_pdt(struct filter_builder *b, const char *item)
{
    int64_t number;
    if (!read_word(b, NAMES_DEVICE_TYPE, item, 0, 0x1f, &number))
        return false;
    int32_t *slot = append(b, &b->filter->device_types, &b->filter->n_device_types, sizeof *slot);
    if (slot)
        *slot = (int32_t)number;
    return slot != NULL;
}

static bool select_wwid(struct filter_builder *b, const char *item)
{
    return append_text(b, &b->filter->designators, &b->filter->n_designators, item);
}

static bool select_target(struct filter_builder *b, const char *item)
{
    return append_text(b, &b->filter->target_names, &b->filter->n_target_names, item);
}

static bool select_mode(struct filter_builder *b, const char *item)
{
    int64_t number;
    if (!read_word(b, NAMES_MODE, item, 1, 3, &number))
        return false;
    Sensebus__V1__Mode *slot = append(b, &b->filter->modes, &b->filter->n_modes, sizeof *slot);
    if (slot)
        *slot = (Sensebus__V1__Mode)number;
    return slot != NULL;
}

static bool select_bits(struct filter_builder *b, const char *item)
{
    static const char *const names[] = {"fatal", "command_failed", "reset", "buffers_exhausted"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(item, names[i]) == 0) {
            b->filter->any_aix_bits |= 1u << i;
            return true;
        }
    }
    int64_t number;
    if (!names_parse_number(item, &number) || number < 1 || number > UINT32_MAX)
        return selector_fail(
            b, UV_EINVAL, "'%.60s' is no mask; use a number, or fatal, command_failed, reset, buffers_exhausted", item);
    b->filter->any_aix_bits |= (uint32_t)number;
    return true;
}

const struct selector_info SELECTORS[SELECT_COUNT] = {
    [SELECT_CODE] = {"code", "--not-code", "LIST", "codes: names ('LUN_*' too) or numbers", select_code, false},
    [SELECT_CATEGORY] = {"category", "--not-category", "LIST", "groups of codes: RESET, LINK, DEVICE, … or numbers",
                         select_category, false},
    [SELECT_SEVERITY] = {"severity", "--not-severity", "MIN", "at least: info, notice, warn, error, crit",
                         select_severity, true},
    [SELECT_HOST] = {"host", "--not-host", "LIST", "names of agents; 'db-*' too", select_host, false},
    [SELECT_ADDR] = {"addr", "--not-addr", "PATTERN", "ADAPTER:BUS:TARGET:LUN, each may be *, LUN may be 0-7",
                     select_addr, false},
    [SELECT_LUN] = {"lun", "--not-lun", "LIST", "unit numbers and ranges: 0,4-7", select_lun, false},
    [SELECT_INQUIRY] = {"inquiry", "--not-inquiry", "PREFIX", "how vendor (8 bytes) and product (16 bytes) begin",
                        select_inquiry, true},
    [SELECT_PDT] = {"pdt", "--not-pdt", "LIST", "device types: disk, tape, changer, … or numbers", select_pdt, false},
    [SELECT_WWID] = {"wwid", "--not-wwid", "LIST", "designators: 'naa.6001405*'", select_wwid, false},
    [SELECT_TARGET] = {"target", "--not-target", "LIST", "target names: 'iqn.2026-01.*'", select_target, false},
    [SELECT_MODE] = {"mode", "--not-mode", "LIST", "initiator, target, both", select_mode, false},
    [SELECT_BITS] = {"bits", "--not-bits", "MASK",
                     "any of these AIX bits: number, fatal, command_failed, reset, "
                     "buffers_exhausted",
                     select_bits, false},
};
