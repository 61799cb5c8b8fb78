/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inventory.h"

#include <stdlib.h>
#include <uv.h>

#include "agent/big_endian.h"

bool inventory_lun_flat(uint64_t lun_raw, uint16_t *out_lun)
{
    uint16_t first = (uint16_t)(lun_raw >> 48);

    if (lun_raw & 0xffffffffffffull) /* a second level, or an extended structure */
        return false;
    switch (first >> 14) {
    case 0: /* peripheral device addressing: bus 0 is the unit itself */
        if (first >> 8)
            return false;
        *out_lun = first;
        return true;
    case 1: /* flat space addressing */ *out_lun = first & 0x3fff; return true;
    default: return false;
    }
}

uint64_t inventory_lun_raw(uint16_t lun)
{
    return (uint64_t)(lun < 256 ? lun : 0x4000 | lun) << 48;
}

static int compare_luns(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void sort_unique(struct lun_list *list)
{
    size_t n = 0;

    if (list->n == 0)
        return;
    qsort(list->luns, list->n, sizeof list->luns[0], compare_luns);
    for (size_t i = 0; i < list->n; i++)
        if (n == 0 || list->luns[n - 1] != list->luns[i])
            list->luns[n++] = list->luns[i];
    list->n = n;
}

int inventory_parse(const uint8_t *data, size_t len, struct lun_list *out)
{
    uint32_t announced;
    size_t available;

    if (len < 8)
        return UV_EINVAL;
    announced = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    if (announced % 8 != 0)
        return UV_EINVAL;

    available = (len - 8) / 8;
    out->n = 0;
    out->n_unusable = 0;
    out->cut = announced / 8 > available;
    for (size_t i = 0; i < announced / 8 && i < available; i++) {
        uint16_t lun;

        if (!inventory_lun_flat(be64_read(data + 8 + 8 * i), &lun)) {
            out->n_unusable++;
        } else if (out->n == INVENTORY_MAX_LUNS) {
            out->cut = true;
            break;
        } else {
            out->luns[out->n++] = lun;
        }
    }
    sort_unique(out);
    return 0;
}

bool inventory_has(const struct lun_list *list, uint16_t lun)
{
    return list->n > 0 && bsearch(&lun, list->luns, list->n, sizeof lun, compare_luns) != NULL;
}

static void without(const struct lun_list *list, const struct lun_list *other, struct lun_list *out)
{
    out->n = 0;
    out->n_unusable = 0;
    out->cut = false;
    for (size_t i = 0; i < list->n; i++)
        if (!inventory_has(other, list->luns[i]))
            out->luns[out->n++] = list->luns[i];
}

void inventory_diff(const struct lun_list *before, const struct lun_list *now, struct lun_list *out_added,
                    struct lun_list *out_removed)
{
    without(now, before, out_added);
    without(before, now, out_removed);
}
