/* SPDX-License-Identifier: Apache-2.0 */
/* A filter's message is checked and becomes sorted numbers and names, each once; matching then only compares. Its key
 * is the message's JSON: filters that say the same in the same order share one evaluation per record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "broker/core/filter_parts.h"
#include "proto/json.h"
#include "runtime/glob.h"
#include "sensebus/v1/events.pb-c.h"

#define LIST_MAX          1024
#define ENTRIES_MAX       16384 /* of all lists, those of the excludes too: one evaluation may look at each address */
#define EXCLUDES_MAX      64
#define PATTERN_BYTES_MAX 256
/* Wildcards cost pattern * text at worst; so a filter may hold this many bytes of them. Plain names cost nothing. */
#define WILDCARD_BYTES_MAX 4096

/* One filter_new under way. */
struct compile {
    char prefix[32]; /* of the members in errors: "" or "exclude[2]." */
    char *err;
    size_t err_len;
    size_t n_entries, wildcard_bytes; /* so far */
};

static int refuse(const struct compile *c, const char *member, size_t i, const char *fault)
{
    snprintf(c->err, c->err_len, "filter: %s%s[%zu]: %s", c->prefix, member, i, fault);
    return UV_EINVAL;
}

static int refuse_member(const struct compile *c, const char *member, const char *fault)
{
    snprintf(c->err, c->err_len, "filter: %s%s: %s", c->prefix, member, fault);
    return UV_EINVAL;
}

/* Another list of `n` entries: is that too much? */
static int count_entries(struct compile *c, const char *member, size_t n)
{
    if (n > LIST_MAX)
        return refuse_member(c, member, "more than 1024 entries");
    c->n_entries += n;
    if (c->n_entries > ENTRIES_MAX)
        return refuse_member(c, member, "more than 16384 entries, with those of the other members");
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* `numbers` are 32 bits each, whatever their type. */
static int compile_numbers(struct compile *c, const char *member, const void *numbers, size_t n, bool zero_allowed,
                           struct number_list *out)
{
    int rc = count_entries(c, member, n);

    if (rc || n == 0)
        return rc;
    out->numbers = malloc(n * sizeof *out->numbers);
    if (!out->numbers)
        return UV_ENOMEM;
    memcpy(out->numbers, numbers, n * sizeof *out->numbers);
    for (size_t i = 0; i < n && !zero_allowed; i++)
        if (out->numbers[i] == 0)
            return refuse(c, member, i, "0 names nothing");
    qsort(out->numbers, n, sizeof *out->numbers, compare_numbers);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || out->numbers[i] != out->numbers[out->n - 1])
            out->numbers[out->n++] = out->numbers[i];
    return 0;
}

int filter_compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return a_len ? memcmp(a, b, a_len) : 0;
}

static int compare_patterns(const void *a, const void *b)
{
    const struct pattern *left = a, *right = b;
    return filter_compare_names(left->text, left->len, right->text, right->len);
}

/* The whole names of a list in order, each once. */
static void sort_whole(struct pattern_list *list)
{
    size_t n = 0;

    qsort(list->patterns, list->n_whole, sizeof *list->patterns, compare_patterns);
    for (size_t i = 0; i < list->n_whole; i++) {
        if (n > 0 && compare_patterns(&list->patterns[n - 1], &list->patterns[i]) == 0)
            free(list->patterns[i].text);
        else
            list->patterns[n++] = list->patterns[i];
    }
    memmove(list->patterns + n, list->patterns + list->n_whole, (list->n - list->n_whole) * sizeof *list->patterns);
    list->n -= list->n_whole - n;
    list->n_whole = n;
}

static int check_pattern(const struct compile *c, const char *member, size_t i, const char *text, size_t max_bytes)
{
    size_t len = strlen(text);

    if (len > max_bytes)
        return refuse(c, member, i, "too long");
    if (!utf8_valid((const uint8_t *)text, len))
        return refuse(c, member, i, "not UTF-8");
    return 0;
}

static int compile_patterns(struct compile *c, const char *member, char **texts, size_t n, size_t max_bytes,
                            bool wildcards, struct pattern_list *out)
{
    int rc = count_entries(c, member, n);

    if (rc || n == 0)
        return rc;
    out->patterns = calloc(n, sizeof *out->patterns);
    if (!out->patterns)
        return UV_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        rc = check_pattern(c, member, i, texts[i], max_bytes);
        if (rc)
            return rc;
        struct pattern pattern = {.text = strdup(texts[i]), .len = strlen(texts[i])};
        if (!pattern.text)
            return UV_ENOMEM;
        if (wildcards && glob_is_pattern(pattern.text)) {
            c->wildcard_bytes += pattern.len;
            out->patterns[out->n++] = pattern;
        } else {
            out->patterns[out->n++] = out->patterns[out->n_whole];
            out->patterns[out->n_whole++] = pattern;
        }
    }
    if (c->wildcard_bytes > WILDCARD_BYTES_MAX)
        return refuse_member(c, member, "more than 4096 bytes of patterns with wildcards, with those of other members");
    sort_whole(out);
    return 0;
}

static int compile_address(const struct compile *c, size_t i, const Sensebus__V1__AddressPattern *from,
                           struct address_pattern *to)
{
    bool range = from->_lun_last_case == SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;

    if (from->controller < FILTER_ANY || from->bus < FILTER_ANY || from->target < FILTER_ANY || from->lun < FILTER_ANY)
        return refuse(c, "addresses", i, "numbers below -1 name nothing");
    if (range && from->lun == FILTER_ANY)
        return refuse(c, "addresses", i, "lun_last needs a first lun");
    if (range && from->lun_last < from->lun)
        return refuse(c, "addresses", i, "lun_last is below lun");
    to->adapter_len = strlen(from->adapter);
    if (to->adapter_len > PATTERN_BYTES_MAX)
        return refuse(c, "addresses", i, "adapter: too long");
    if (!utf8_valid((const uint8_t *)from->adapter, to->adapter_len))
        return refuse(c, "addresses", i, "adapter: not UTF-8");
    if (to->adapter_len > 0) {
        to->adapter = strdup(from->adapter);
        if (!to->adapter)
            return UV_ENOMEM;
    }
    to->controller = from->controller;
    to->bus = from->bus;
    to->target = from->target;
    to->lun = from->lun;
    to->lun_last = range ? from->lun_last : from->lun;
    return 0;
}

static int compile_addresses(struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
{
    int rc = count_entries(c, "addresses", message->n_addresses);

    if (rc || message->n_addresses == 0)
        return rc;
    f->addresses = calloc(message->n_addresses, sizeof(*f->addresses));
    if (!f->addresses)
        return UV_ENOMEM;
    f->n_addresses = message->n_addresses;
    for (size_t i = 0; i < message->n_addresses; i++) {
        rc = compile_address(c, i, message->addresses[i], &f->addresses[i]);
        if (rc)
            return rc;
    }
    return 0;
}

static int compile_modes(struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
{
    int rc = count_entries(c, "modes", message->n_modes);

    if (rc)
        return rc;
    for (size_t i = 0; i < message->n_modes; i++) {
        uint32_t mode = (uint32_t)message->modes[i];
        if (mode == 0 || mode > SENSEBUS__V1__MODE__MODE_BOTH)
            return refuse(c, "modes", i, "not a mode");
        f->modes |= mode;
    }
    return 0;
}

/* All members but `exclude`. */
static int compile_lists(struct compile *c, const Sensebus__V1__Filter *m, struct filter *f)
{
    int rc;

    f->minimum_severity = (uint32_t)m->minimum_severity;
    if (f->minimum_severity > SENSEBUS__V1__SEVERITY__SEVERITY_CRIT)
        return refuse_member(c, "minimum_severity", "not a severity");
    f->any_aix_bits = m->any_aix_bits;
    if ((rc = compile_numbers(c, "codes", m->codes, m->n_codes, false, &f->codes)) != 0 ||
        (rc = compile_numbers(c, "categories", m->categories, m->n_categories, false, &f->categories)) != 0 ||
        (rc = compile_patterns(c, "hosts", m->hosts, m->n_hosts, PATTERN_BYTES_MAX, true, &f->hosts)) != 0 ||
        (rc = compile_addresses(c, m, f)) != 0 ||
        (rc = compile_patterns(c, "inquiry_prefixes", m->inquiry_prefixes, m->n_inquiry_prefixes, FILTER_INQUIRY_BYTES,
                               false, &f->inquiry_prefixes)) != 0 ||
        (rc = compile_numbers(c, "device_types", m->device_types, m->n_device_types, true, &f->device_types)) != 0 ||
        (rc = compile_patterns(c, "designators", m->designators, m->n_designators, PATTERN_BYTES_MAX, true,
                               &f->designators)) != 0 ||
        (rc = compile_patterns(c, "target_names", m->target_names, m->n_target_names, PATTERN_BYTES_MAX, true,
                               &f->target_names)) != 0)
        return rc;
    return compile_modes(c, m, f);
}

static bool has_no_lists(const struct filter *f)
{
    return f->codes.n == 0 && f->categories.n == 0 && f->minimum_severity == 0 && f->hosts.n == 0 &&
           f->n_addresses == 0 && f->inquiry_prefixes.n == 0 && f->device_types.n == 0 && f->designators.n == 0 &&
           f->target_names.n == 0 && f->modes == 0 && f->any_aix_bits == 0;
}

static int compile_excludes(struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
{
    if (message->n_exclude == 0)
        return 0;
    if (message->n_exclude > EXCLUDES_MAX)
        return refuse_member(c, "exclude", "more than 64 entries");
    f->excludes = calloc(message->n_exclude, sizeof(struct filter *));
    if (!f->excludes)
        return UV_ENOMEM;
    f->n_excludes = message->n_exclude;
    for (size_t i = 0; i < message->n_exclude; i++) {
        if (message->exclude[i]->n_exclude)
            return refuse(c, "exclude", i, "has an exclude of its own");
        f->excludes[i] = calloc(1, sizeof(struct filter));
        if (!f->excludes[i])
            return UV_ENOMEM;
        snprintf(c->prefix, sizeof c->prefix, "exclude[%zu].", i);
        int rc = compile_lists(c, message->exclude[i], f->excludes[i]);
        c->prefix[0] = '\0';
        if (rc)
            return rc;
        if (has_no_lists(f->excludes[i]))
            return refuse(c, "exclude", i, "is empty: it would exclude every event");
    }
    return 0;
}

static int make_key(const Sensebus__V1__Filter *message, struct filter *f)
{
    struct json_buffer text = {0};
    int rc = json_print(&message->base, JSON_LINE, &text);
    if (rc != 0) {
        json_buffer_deinit(&text);
        return rc;
    }
    f->key = text.text; /* ours now */
    return 0;
}

int filter_new(const struct Sensebus__V1__Filter *message, struct filter **out_filter, char *err, size_t err_len)
{
    static const Sensebus__V1__Filter everything = SENSEBUS__V1__FILTER__INIT;
    struct compile c = {.err = err, .err_len = err_len};

    if (!message)
        message = &everything;
    struct filter *f = calloc(1, sizeof(*f));
    int rc = f ? compile_lists(&c, message, f) : UV_ENOMEM;
    if (rc == 0)
        rc = compile_excludes(&c, message, f);
    if (rc == 0)
        rc = make_key(message, f);
    if (rc != 0) {
        if (rc == UV_ENOMEM)
            snprintf(err, err_len, "filter: out of memory");
        filter_free(f);
        return rc;
    }
    f->matches_all = has_no_lists(f) && f->n_excludes == 0;
    *out_filter = f;
    return 0;
}

static void free_patterns(struct pattern_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->patterns[i].text);
    free(list->patterns);
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    free(f->codes.numbers);
    free(f->categories.numbers);
    free(f->device_types.numbers);
    free_patterns(&f->hosts);
    free_patterns(&f->inquiry_prefixes);
    free_patterns(&f->designators);
    free_patterns(&f->target_names);
    for (size_t i = 0; i < f->n_addresses; i++)
        free(f->addresses[i].adapter);
    free(f->addresses);
    for (size_t i = 0; i < f->n_excludes; i++)
        filter_free(f->excludes[i]);
    free(f->excludes);
    free(f->key);
    free(f);
}
