/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/filter.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/filter_parts.h"
#include "runtime/glob.h"

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static bool number_listed(const struct number_list *list, uint32_t number)
{
    return list->n == 0 || bsearch(&number, list->numbers, list->n, sizeof number, compare_numbers);
}

static int compare_with_pattern(const void *name, const void *pattern)
{
    const struct text *text = name;
    const struct pattern *p = pattern;
    return filter_compare_names(text->ptr, text->len, p->text, p->len);
}

static bool pattern_listed(const struct pattern_list *list, struct text text)
{
    if (list->n == 0)
        return true;
    if (bsearch(&text, list->patterns, list->n_whole, sizeof *list->patterns, compare_with_pattern))
        return true;
    for (size_t i = list->n_whole; i < list->n; i++)
        if (glob_matches(list->patterns[i].text, text.ptr, text.len, false))
            return true;
    return false;
}

static bool number_fits(int32_t pattern, int32_t number)
{
    return pattern == FILTER_ANY || pattern == number;
}

static bool address_fits(const struct address_pattern *p, const struct address_view *a)
{
    if (p->adapter && filter_compare_names(p->adapter, p->adapter_len, a->adapter.ptr, a->adapter.len) != 0)
        return false;
    return number_fits(p->controller, a->controller) && number_fits(p->bus, a->bus) &&
           number_fits(p->target, a->target) && (p->lun == FILTER_ANY || (a->lun >= p->lun && a->lun <= p->lun_last));
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
    char inquiry[FILTER_INQUIRY_BYTES];
    if (prefixes->n == 0)
        return true;
    if (!device->present)
        return false;
    copy_padded(inquiry, FILTER_VENDOR_BYTES, device->vendor);
    copy_padded(inquiry + FILTER_VENDOR_BYTES, FILTER_PRODUCT_BYTES, device->product);
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
