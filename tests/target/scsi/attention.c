/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scsi/attention.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/target/scsi/reply.h"

#define FAMILY_RESET 0x29

/* Remove every item that `matches`. */
static void remove_matching(struct attention_list *list, bool (*matches)(const struct attention *, uint16_t),
                            uint16_t value)
{
    struct attention **at = &list->first;

    while (*at) {
        struct attention *item = *at;

        if (matches(item, value)) {
            *at = item->next;
            free(item);
        } else {
            at = &item->next;
        }
    }
}

static bool is_any(const struct attention *item, uint16_t unused)
{
    (void)item;
    (void)unused;
    return true;
}

static bool has_lun(const struct attention *item, uint16_t lun)
{
    return item->lun == lun;
}

static bool has_code(const struct attention *item, uint16_t asc)
{
    return item->unit_attention && item->asc == asc;
}

static bool is_attention_of(const struct attention *item, uint16_t lun)
{
    return item->unit_attention && item->lun == lun;
}

void attention_deinit(struct attention_list *list)
{
    remove_matching(list, is_any, 0);
}

void attention_clear_code(struct attention_list *list, uint16_t asc)
{
    remove_matching(list, has_code, asc);
}

void attention_clear_lun(struct attention_list *list, uint16_t lun)
{
    remove_matching(list, has_lun, lun);
}

size_t attention_count(const struct attention_list *list)
{
    size_t n = 0;

    for (const struct attention *item = list->first; item; item = item->next)
        n++;
    return n;
}

static size_t count_lun(const struct attention_list *list, uint16_t lun)
{
    size_t n = 0;

    for (const struct attention *item = list->first; item; item = item->next)
        n += item->lun == lun;
    return n;
}

static struct attention *append(struct attention_list *list, uint16_t lun, const uint8_t *sense, size_t len)
{
    struct attention *item = calloc(1, sizeof(*item) + len), **at = &list->first;

    if (!item)
        return NULL;
    item->lun = lun;
    item->len = (uint16_t)len;
    if (len > 0)
        memcpy(item->sense, sense, len);
    while (*at)
        at = &(*at)->next;
    *at = item;
    return item;
}

static int append_attention(struct attention_list *list, uint16_t lun, uint16_t asc)
{
    uint8_t sense[SENSE_FIXED_BYTES];
    struct attention *item;

    sense_fixed(sense, 0x70, KEY_UNIT_ATTENTION, asc);
    item = append(list, lun, sense, sizeof(sense));
    if (!item)
        return UV_ENOMEM;
    item->unit_attention = true;
    item->asc = asc;
    return 0;
}

/* Order of the reset family (SAM-5 table 47): 29/00 and 29/01 power on, 02 hard reset, 03 unit reset, 04 internal, 07
 * nexus loss. The lower, the more is lost. */
static bool covers(uint16_t waiting, uint16_t asc)
{
    return waiting == asc || (waiting >> 8 == FAMILY_RESET && asc >> 8 == FAMILY_RESET && waiting < asc);
}

int attention_establish(struct attention_list *list, uint16_t lun, uint16_t asc)
{
    for (const struct attention *item = list->first; item; item = item->next)
        if (item->lun == lun && item->unit_attention && covers(item->asc, asc))
            return 0;
    if (asc >> 8 == FAMILY_RESET)
        remove_matching(list, is_attention_of, lun);
    if (count_lun(list, lun) < ATTENTION_MAX)
        return append_attention(list, lun, asc);
    remove_matching(list, has_lun, lun);
    return append_attention(list, lun, ASC_POWER_ON_OR_RESET);
}

int attention_script(struct attention_list *list, uint16_t lun, const uint8_t *sense, size_t len)
{
    if (count_lun(list, lun) >= ATTENTION_MAX)
        return UV_ENOBUFS;
    return append(list, lun, sense, len) ? 0 : UV_ENOMEM;
}

struct attention *attention_take(struct attention_list *list, uint16_t lun, bool only_attention)
{
    struct attention **at = &list->first, *item;

    while (*at && ((*at)->lun != lun || (only_attention && !(*at)->unit_attention)))
        at = &(*at)->next;
    item = *at;
    if (item) {
        *at = item->next;
        item->next = NULL;
    }
    return item;
}
