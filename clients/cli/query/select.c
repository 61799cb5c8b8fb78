/* SPDX-License-Identifier: Apache-2.0 */
/* Options in, one list of values a selector; then values in, Filter out. Values are comma lists; each item is handed to
 * the function of its selector (selectors.c). */
#include "clients/cli/query/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "clients/cli/query/selectors.h"

#define MAX_EXCLUDES 64 /* the broker's bound */

/* ------------------------------------------------------------------------------------------------ options */

void select_options(struct selection *selection, struct option *out_options)
{
    for (size_t i = 0; i < SELECT_COUNT; i++)
        out_options[i] = (struct option){.name = SELECTORS[i].name,
                                         .kind = OPTION_LIST,
                                         .value = &selection->wanted[i],
                                         .argument = SELECTORS[i].argument,
                                         .help = SELECTORS[i].help};
}

void select_not_options(struct selection *selection, struct option *out_options)
{
    select_options(selection, out_options);
    for (size_t i = 0; i < SELECT_COUNT; i++) {
        out_options[i].name = SELECTORS[i].not_argument + 2;
        out_options[i].value = &selection->unwanted[i];
    }
}

/* Which selector "--code" or "--code=X" is; SELECT_COUNT when none. */
static size_t find_selector(const char *argument, size_t *out_len)
{
    if (strncmp(argument, "--", 2) != 0)
        return SELECT_COUNT;
    *out_len = strcspn(argument, "=");
    for (size_t i = 0; i < SELECT_COUNT; i++)
        if (strlen(SELECTORS[i].name) == *out_len - 2 && strncmp(argument + 2, SELECTORS[i].name, *out_len - 2) == 0)
            return i;
    return SELECT_COUNT;
}

int select_merge_not(int argc, char **argv, char *err, size_t err_len)
{
    int out = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (i < argc)
                argv[out++] = argv[i++];
            break;
        }
        if (strcmp(argv[i], "--not") != 0) {
            argv[out++] = argv[i];
            continue;
        }
        size_t len = 0, selector = i + 1 < argc ? find_selector(argv[i + 1], &len) : SELECT_COUNT;
        if (selector == SELECT_COUNT) {
            snprintf(err, err_len, "--not must be followed by a selector: --code, --host, --severity …");
            return -1;
        }
        argv[out++] = (char *)SELECTORS[selector].not_argument;
        i++;
        if (argv[i][len] == '=')
            argv[out++] = argv[i] + len + 1;
    }
    argv[out] = NULL;
    return out;
}

/* ------------------------------------------------------------------------------------------------ compile */

static bool add_value(struct filter_builder *b, size_t selector, const char *value)
{
    if (!*value)
        return selector_fail(b, UV_EINVAL, "the value is empty");
    if (SELECTORS[selector].whole)
        return SELECTORS[selector].add(b, value);
    char *copy = strdup(value), *rest = copy;
    if (!copy)
        return selector_fail(b, UV_ENOMEM, "out of memory");
    bool ok = true;
    while (ok && rest) {
        const char *item = strsep(&rest, ",");
        ok =
            *item ? SELECTORS[selector].add(b, item) : selector_fail(b, UV_EINVAL, "'%.60s' has an empty entry", value);
    }
    free(copy);
    return ok;
}

static bool add_list(struct filter_builder *b, size_t selector, const struct option_list *values)
{
    b->option = SELECTORS[selector].name;
    for (size_t i = 0; i < values->n; i++)
        if (!add_value(b, selector, values->items[i]))
            return false;
    return true;
}

/* The units that both of two patterns' lun members name. False when there is none. */
static bool meet_luns(Sensebus__V1__AddressPattern *a, const Sensebus__V1__AddressPattern *with)
{
    const int range = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
    if (with->lun < 0)
        return true;
    int64_t first = a->lun < 0 ? 0 : a->lun;
    int64_t last = a->lun < 0 ? INT64_MAX : (int)a->_lun_last_case == range ? a->lun_last : a->lun;
    int64_t with_last = (int)with->_lun_last_case == range ? with->lun_last : with->lun;
    if (with->lun > first)
        first = with->lun;
    if (with_last < last)
        last = with_last;
    if (first > last)
        return false;
    a->lun = first;
    a->_lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
    a->lun_last = last;
    return true;
}

static bool copy_address(struct filter_builder *b, const Sensebus__V1__AddressPattern *from,
                         const Sensebus__V1__AddressPattern *luns)
{
    Sensebus__V1__AddressPattern met = *from;
    if (!meet_luns(&met, luns))
        return true;
    Sensebus__V1__AddressPattern *pattern = selector_append_address(b);
    if (!pattern)
        return false;
    *pattern = met;
    pattern->adapter = strdup(from->adapter);
    if (pattern->adapter)
        return true;
    pattern->adapter = (char *)protobuf_c_empty_string;
    return selector_fail(b, UV_ENOMEM, "out of memory");
}

static bool cross(struct filter_builder *b, const Sensebus__V1__Filter *addresses, const Sensebus__V1__Filter *luns)
{
    for (size_t i = 0; i < addresses->n_addresses; i++)
        for (size_t j = 0; j < luns->n_addresses; j++)
            if (!copy_address(b, addresses->addresses[i], luns->addresses[j]))
                return false;
    if (b->filter->n_addresses > 0)
        return true;
    b->option = "lun";
    return selector_fail(b, UV_EINVAL, "no unit is named by both --addr and --lun");
}

static Sensebus__V1__Filter *filter_message_new(struct filter_builder *b)
{
    Sensebus__V1__Filter *filter = malloc(sizeof *filter);
    if (!filter) {
        selector_fail(b, UV_ENOMEM, "out of memory");
        return NULL;
    }
    sensebus__v1__filter__init(filter);
    return filter;
}

/* --addr and --lun share one list of the Filter, where entries are ORed; but different selectors are ANDed. So each
 * address meets each --lun. */
static bool add_addresses(struct filter_builder *b, const struct selection *s)
{
    const struct option_list *addrs = &s->wanted[SELECT_ADDR], *luns = &s->wanted[SELECT_LUN];
    if (addrs->n == 0 || luns->n == 0)
        return add_list(b, SELECT_ADDR, addrs) && add_list(b, SELECT_LUN, luns);
    struct filter_builder addr_builder = *b, lun_builder = *b;
    addr_builder.filter = filter_message_new(b);
    lun_builder.filter = filter_message_new(b);
    bool ok = addr_builder.filter && lun_builder.filter && add_list(&addr_builder, SELECT_ADDR, addrs) &&
              add_list(&lun_builder, SELECT_LUN, luns) && cross(b, addr_builder.filter, lun_builder.filter);
    if (!ok && b->rc == 0)
        b->rc = addr_builder.rc ? addr_builder.rc : lun_builder.rc;
    sensebus__v1__filter__free_unpacked(addr_builder.filter, NULL);
    sensebus__v1__filter__free_unpacked(lun_builder.filter, NULL);
    return ok;
}

static bool add_wanted(struct filter_builder *b, const struct selection *s)
{
    for (size_t i = 0; i < SELECT_COUNT; i++)
        if (i != SELECT_ADDR && i != SELECT_LUN && !add_list(b, i, &s->wanted[i]))
            return false;
    return add_addresses(b, s);
}

/* One exclude for one --not: each takes away by itself. */
static bool add_exclude(struct filter_builder *b, size_t selector, const char *value)
{
    struct filter_builder inner = *b;
    inner.filter = filter_message_new(b);
    if (!inner.filter)
        return false;
    inner.option = SELECTORS[selector].not_argument + 2;
    Sensebus__V1__Filter **list = NULL;
    bool ok = add_value(&inner, selector, value);
    b->rc = inner.rc;
    if (ok) {
        list = realloc(b->filter->exclude, (b->filter->n_exclude + 1) * sizeof *list);
        ok = list || selector_fail(b, UV_ENOMEM, "out of memory");
    }
    if (!ok) {
        sensebus__v1__filter__free_unpacked(inner.filter, NULL);
        return false;
    }
    list[b->filter->n_exclude++] = inner.filter;
    b->filter->exclude = list;
    return true;
}

static bool add_unwanted(struct filter_builder *b, const struct selection *s)
{
    for (size_t i = 0; i < SELECT_COUNT; i++)
        for (size_t j = 0; j < s->unwanted[i].n; j++) {
            if (b->filter->n_exclude == MAX_EXCLUDES) {
                b->option = "not";
                return selector_fail(b, UV_EINVAL, "given more than %d times", MAX_EXCLUDES);
            }
            if (!add_exclude(b, i, s->unwanted[i].items[j]))
                return false;
        }
    return true;
}

static bool is_empty(const struct selection *s)
{
    for (size_t i = 0; i < SELECT_COUNT; i++)
        if (s->wanted[i].n > 0 || s->unwanted[i].n > 0)
            return false;
    return true;
}

int select_compile(const struct selection *selection, struct Sensebus__V1__Filter **out_filter, char *err,
                   size_t err_len)
{
    if (is_empty(selection)) {
        *out_filter = NULL;
        return 0;
    }
    struct filter_builder b = {.option = "filter", .err = err, .err_len = err_len};
    b.filter = filter_message_new(&b);
    if (!b.filter)
        return b.rc;
    if (!add_wanted(&b, selection) || !add_unwanted(&b, selection)) {
        sensebus__v1__filter__free_unpacked(b.filter, NULL);
        return b.rc;
    }
    *out_filter = b.filter;
    return 0;
}
