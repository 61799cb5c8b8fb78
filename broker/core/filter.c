/* SPDX-License-Identifier: Apache-2.0 */
/* A filter is compiled once into sorted numbers and copied patterns; matching then only compares. Its key is the
 * filter's JSON: filters that say the same in the same order share one evaluation per record. */
#include "broker/core/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/json.h"
#include "runtime/glob.h"
#include "sensebus/v1/events.pb-c.h"

#define LIST_MAX          1024
#define EXCLUDES_MAX      64
#define PATTERN_BYTES_MAX 256
/* Wildcards cost pattern * text at worst; so a list may hold this many bytes of them. Plain names cost nothing. */
#define WILDCARD_BYTES_MAX 4096

#define VENDOR_BYTES  8
#define PRODUCT_BYTES 16
#define INQUIRY_BYTES (VENDOR_BYTES + PRODUCT_BYTES)

#define ANY (-1)

struct number_list {
    uint32_t *numbers; /* sorted */
    size_t n;
};

struct pattern {
    char *text;
    size_t len;
    bool wildcard;
};

struct pattern_list {
    struct pattern *patterns;
    size_t n;
};

struct address_pattern {
    char *adapter; /* NULL = any */
    int32_t controller, bus, target;
    int64_t lun, lun_last; /* lun ANY: any unit */
};

struct filter {
    struct number_list codes, categories;
    uint32_t minimum_severity;
    struct pattern_list hosts;
    struct address_pattern *addresses;
    size_t n_addresses;
    struct pattern_list inquiry_prefixes;
    struct number_list device_types; /* as unsigned: -1 is one of them */
    struct pattern_list designators, target_names;
    uint32_t modes; /* OR of enum Mode, whose values are bits: 1 initiator, 2 target, 3 both */
    uint32_t any_aix_bits;
    struct filter **excludes;
    size_t n_excludes;
    bool matches_all;
    char *key; /* of the outermost filter only */
};

/* Where errors go: `prefix` is "" or "exclude[2].". */
struct compile {
    const char *prefix;
    char *err;
    size_t err_len;
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

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* `numbers` are 32 bits each, whatever their type. */
static int compile_numbers(const struct compile *c, const char *member, const void *numbers, size_t n,
                           bool zero_allowed, struct number_list *out)
{
    if (n == 0)
        return 0;
    if (n > LIST_MAX)
        return refuse_member(c, member, "more than 1024 entries");
    out->numbers = malloc(n * sizeof(*out->numbers));
    if (!out->numbers)
        return UV_ENOMEM;
    memcpy(out->numbers, numbers, n * sizeof(*out->numbers));
    out->n = n;
    for (size_t i = 0; i < n && !zero_allowed; i++)
        if (out->numbers[i] == 0)
            return refuse(c, member, i, "0 names nothing");
    qsort(out->numbers, n, sizeof(*out->numbers), compare_numbers);
    return 0;
}

static int compile_patterns(const struct compile *c, const char *member, char **texts, size_t n, size_t max_bytes,
                            struct pattern_list *out)
{
    size_t wildcard_bytes = 0;

    if (n == 0)
        return 0;
    if (n > LIST_MAX)
        return refuse_member(c, member, "more than 1024 entries");
    out->patterns = calloc(n, sizeof(*out->patterns));
    if (!out->patterns)
        return UV_ENOMEM;
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        struct pattern *pattern = &out->patterns[i];
        pattern->len = strlen(texts[i]);
        if (pattern->len > max_bytes)
            return refuse(c, member, i, "too long");
        if (!utf8_valid((const uint8_t *)texts[i], pattern->len))
            return refuse(c, member, i, "not UTF-8");
        pattern->text = strdup(texts[i]);
        if (!pattern->text)
            return UV_ENOMEM;
        pattern->wildcard = strpbrk(pattern->text, "*?") != NULL;
        if (pattern->wildcard)
            wildcard_bytes += pattern->len;
    }
    if (wildcard_bytes > WILDCARD_BYTES_MAX)
        return refuse_member(c, member, "more than 4096 bytes of patterns with wildcards");
    return 0;
}

static int compile_address(const struct compile *c, size_t i, const Sensebus__V1__AddressPattern *from,
                           struct address_pattern *to)
{
    bool range = from->_lun_last_case == SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;

    if (from->controller < ANY || from->bus < ANY || from->target < ANY || from->lun < ANY)
        return refuse(c, "addresses", i, "numbers below -1 name nothing");
    if (range && from->lun == ANY)
        return refuse(c, "addresses", i, "lun_last needs a first lun");
    if (range && from->lun_last < from->lun)
        return refuse(c, "addresses", i, "lun_last is below lun");
    if (strlen(from->adapter) > PATTERN_BYTES_MAX)
        return refuse(c, "addresses", i, "adapter: too long");
    if (!utf8_valid((const uint8_t *)from->adapter, strlen(from->adapter)))
        return refuse(c, "addresses", i, "adapter: not UTF-8");
    if (*from->adapter) {
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

static int compile_addresses(const struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
{
    if (message->n_addresses == 0)
        return 0;
    if (message->n_addresses > LIST_MAX)
        return refuse_member(c, "addresses", "more than 1024 entries");
    f->addresses = calloc(message->n_addresses, sizeof(*f->addresses));
    if (!f->addresses)
        return UV_ENOMEM;
    f->n_addresses = message->n_addresses;
    for (size_t i = 0; i < message->n_addresses; i++) {
        int rc = compile_address(c, i, message->addresses[i], &f->addresses[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int compile_modes(const struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
{
    if (message->n_modes > LIST_MAX)
        return refuse_member(c, "modes", "more than 1024 entries");
    for (size_t i = 0; i < message->n_modes; i++) {
        uint32_t mode = (uint32_t)message->modes[i];
        if (mode == 0 || mode > SENSEBUS__V1__MODE__MODE_BOTH)
            return refuse(c, "modes", i, "not a mode");
        f->modes |= mode;
    }
    return 0;
}

/* All members but `exclude`. */
static int compile_lists(const struct compile *c, const Sensebus__V1__Filter *m, struct filter *f)
{
    int rc;

    f->minimum_severity = (uint32_t)m->minimum_severity;
    if (f->minimum_severity > SENSEBUS__V1__SEVERITY__SEVERITY_CRIT)
        return refuse_member(c, "minimum_severity", "not a severity");
    f->any_aix_bits = m->any_aix_bits;
    if ((rc = compile_numbers(c, "codes", m->codes, m->n_codes, false, &f->codes)) != 0 ||
        (rc = compile_numbers(c, "categories", m->categories, m->n_categories, false, &f->categories)) != 0 ||
        (rc = compile_patterns(c, "hosts", m->hosts, m->n_hosts, PATTERN_BYTES_MAX, &f->hosts)) != 0 ||
        (rc = compile_addresses(c, m, f)) != 0 ||
        (rc = compile_patterns(c, "inquiry_prefixes", m->inquiry_prefixes, m->n_inquiry_prefixes, INQUIRY_BYTES,
                               &f->inquiry_prefixes)) != 0 ||
        (rc = compile_numbers(c, "device_types", m->device_types, m->n_device_types, true, &f->device_types)) != 0 ||
        (rc = compile_patterns(c, "designators", m->designators, m->n_designators, PATTERN_BYTES_MAX,
                               &f->designators)) != 0 ||
        (rc = compile_patterns(c, "target_names", m->target_names, m->n_target_names, PATTERN_BYTES_MAX,
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

static int compile_excludes(const struct compile *c, const Sensebus__V1__Filter *message, struct filter *f)
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
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "exclude[%zu].", i);
        struct compile inside = {.prefix = prefix, .err = c->err, .err_len = c->err_len};
        if (message->exclude[i]->n_exclude)
            return refuse(c, "exclude", i, "has an exclude of its own");
        f->excludes[i] = calloc(1, sizeof(struct filter));
        if (!f->excludes[i])
            return UV_ENOMEM;
        int rc = compile_lists(&inside, message->exclude[i], f->excludes[i]);
        if (rc != 0)
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
    struct compile c = {.prefix = "", .err = err, .err_len = err_len};

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

static bool number_listed(const struct number_list *list, uint32_t number)
{
    return list->n == 0 || bsearch(&number, list->numbers, list->n, sizeof(number), compare_numbers);
}

static bool pattern_fits(const struct pattern *pattern, struct text text)
{
    if (pattern->wildcard)
        return glob_matches(pattern->text, text.ptr, text.len, false);
    return pattern->len == text.len && (text.len == 0 || memcmp(pattern->text, text.ptr, text.len) == 0);
}

static bool pattern_listed(const struct pattern_list *list, struct text text)
{
    for (size_t i = 0; i < list->n; i++)
        if (pattern_fits(&list->patterns[i], text))
            return true;
    return list->n == 0;
}

static bool number_fits(int32_t pattern, int32_t number)
{
    return pattern == ANY || pattern == number;
}

static bool address_fits(const struct address_pattern *p, const struct address_view *a)
{
    if (p->adapter && (strlen(p->adapter) != a->adapter.len || memcmp(p->adapter, a->adapter.ptr, a->adapter.len) != 0))
        return false;
    return number_fits(p->controller, a->controller) && number_fits(p->bus, a->bus) &&
           number_fits(p->target, a->target) && (p->lun == ANY || (a->lun >= p->lun && a->lun <= p->lun_last));
}

static bool address_listed(const struct filter *f, const struct address_view *address)
{
    for (size_t i = 0; i < f->n_addresses; i++)
        if (address_fits(&f->addresses[i], address))
            return true;
    return f->n_addresses == 0;
}

static void copy_padded(char *to, size_t bytes, struct text text)
{
    size_t n = text.len < bytes ? text.len : bytes;
    if (n)
        memcpy(to, text.ptr, n);
    memset(to + n, ' ', bytes - n);
}

/* An event without a device has no INQUIRY data to match. */
static bool inquiry_listed(const struct pattern_list *prefixes, const struct device_view *device)
{
    char inquiry[INQUIRY_BYTES];
    if (prefixes->n == 0)
        return true;
    if (!device->present)
        return false;
    copy_padded(inquiry, VENDOR_BYTES, device->vendor);
    copy_padded(inquiry + VENDOR_BYTES, PRODUCT_BYTES, device->product);
    for (size_t i = 0; i < prefixes->n; i++)
        if (memcmp(prefixes->patterns[i].text, inquiry, prefixes->patterns[i].len) == 0)
            return true;
    return false;
}

static bool lists_match(const struct filter *f, const struct event_view *e)
{
    return number_listed(&f->codes, e->code) && number_listed(&f->categories, e->code / 100) &&
           e->severity >= f->minimum_severity && (f->modes == 0 || (f->modes & e->mode)) &&
           (f->any_aix_bits == 0 || (f->any_aix_bits & (e->aix_bits | e->loss.aix_bits))) &&
           number_listed(&f->device_types, (uint32_t)e->device.device_type) && address_listed(f, &e->address) &&
           pattern_listed(&f->hosts, e->host) && inquiry_listed(&f->inquiry_prefixes, &e->device) &&
           pattern_listed(&f->designators, e->device.designator) &&
           pattern_listed(&f->target_names, e->device.target_name);
}

bool filter_matches(const struct filter *f, const struct event_view *event)
{
    if (f->matches_all)
        return true;
    if (!lists_match(f, event))
        return false;
    for (size_t i = 0; i < f->n_excludes; i++)
        if (lists_match(f->excludes[i], event))
            return false;
    return true;
}

bool filter_matches_all(const struct filter *f)
{
    return f->matches_all;
}

const char *filter_key(const struct filter *f)
{
    return f->key;
}

/* ---- exact values */

_Static_assert(FILTER_EXACT_BYTES >= PATTERN_BYTES_MAX + sizeof(int32_t) + sizeof(int64_t), "a unit fits");

static size_t exact_patterns(const struct pattern_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->patterns[i].wildcard)
            return 0;
    return list->n;
}

/* All addresses must name the adapter, and with `unit` one logical unit of it. */
static size_t exact_addresses(const struct filter *f, bool unit)
{
    for (size_t i = 0; i < f->n_addresses; i++) {
        const struct address_pattern *p = &f->addresses[i];
        if (!p->adapter || (unit && (p->target == ANY || p->lun == ANY || p->lun != p->lun_last)))
            return 0;
    }
    return f->n_addresses;
}

size_t filter_n_exact(const struct filter *f, enum filter_field field)
{
    switch (field) {
    case FILTER_DESIGNATOR: return exact_patterns(&f->designators);
    case FILTER_TARGET_NAME: return exact_patterns(&f->target_names);
    case FILTER_UNIT: return exact_addresses(f, true);
    case FILTER_ADAPTER: return exact_addresses(f, false);
    case FILTER_HOST: return exact_patterns(&f->hosts);
    case FILTER_CODE: return f->codes.n;
    case FILTER_CATEGORY: return f->categories.n;
    case FILTER_N_FIELDS: break;
    }
    return 0;
}

static size_t put_text(uint8_t *out, const char *text, size_t len)
{
    if (len)
        memcpy(out, text, len);
    return len;
}

static size_t put_number(uint8_t *out, uint32_t number)
{
    memcpy(out, &number, sizeof(number));
    return sizeof(number);
}

static size_t put_unit(uint8_t *out, int32_t target, int64_t lun, const char *adapter, size_t adapter_len)
{
    memcpy(out, &lun, sizeof(lun));
    memcpy(out + sizeof(lun), &target, sizeof(target));
    return sizeof(lun) + sizeof(target) + put_text(out + sizeof(lun) + sizeof(target), adapter, adapter_len);
}

static size_t put_address(uint8_t *out, const struct address_pattern *p)
{
    return put_unit(out, p->target, p->lun, p->adapter, strlen(p->adapter));
}

size_t filter_exact(const struct filter *f, enum filter_field field, size_t i, uint8_t out[FILTER_EXACT_BYTES])
{
    switch (field) {
    case FILTER_DESIGNATOR: return put_text(out, f->designators.patterns[i].text, f->designators.patterns[i].len);
    case FILTER_TARGET_NAME: return put_text(out, f->target_names.patterns[i].text, f->target_names.patterns[i].len);
    case FILTER_UNIT: return put_address(out, &f->addresses[i]);
    case FILTER_ADAPTER: return put_text(out, f->addresses[i].adapter, strlen(f->addresses[i].adapter));
    case FILTER_HOST: return put_text(out, f->hosts.patterns[i].text, f->hosts.patterns[i].len);
    case FILTER_CODE: return put_number(out, f->codes.numbers[i]);
    case FILTER_CATEGORY: return put_number(out, f->categories.numbers[i]);
    case FILTER_N_FIELDS: break;
    }
    return 0;
}

static struct text text_of_event(const struct event_view *e, enum filter_field field)
{
    switch (field) {
    case FILTER_DESIGNATOR: return e->device.designator;
    case FILTER_TARGET_NAME: return e->device.target_name;
    case FILTER_HOST: return e->host;
    default: return e->address.adapter;
    }
}

bool filter_exact_of_event(const struct event_view *event, enum filter_field field, uint8_t out[FILTER_EXACT_BYTES],
                           size_t *out_len)
{
    struct text text = text_of_event(event, field);

    if (field == FILTER_CODE || field == FILTER_CATEGORY) {
        *out_len = put_number(out, field == FILTER_CODE ? event->code : event->code / 100);
        return true;
    }
    if (text.len > PATTERN_BYTES_MAX)
        return false;
    if (field == FILTER_UNIT)
        *out_len = put_unit(out, event->address.target, event->address.lun, text.ptr, text.len);
    else
        *out_len = put_text(out, text.ptr, text.len);
    return true;
}
