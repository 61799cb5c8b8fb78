/* SPDX-License-Identifier: Apache-2.0 */
/* The list of logical units that a target reports: parsed from REPORT LUNS data (SPC-4 section 6.33), and compared.
 *
 * A list is sorted and without repeats, whatever the target sent. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INVENTORY_MAX_LUNS 1024
#define INVENTORY_BYTES    (8 + 8 * INVENTORY_MAX_LUNS) /* allocation length that asks for as many */

struct lun_list {
    size_t n;
    uint16_t luns[INVENTORY_MAX_LUNS]; /* flat, 0..16383, ascending */
    uint32_t
        n_unusable; /* entries that are no single-level logical unit: well-known units, hierarchies, extended LUNs */
    bool cut;       /* the target has more than it could send, or sent less than it announced */
};

/* Returns 0, or UV_EINVAL when `data` is no REPORT LUNS answer: shorter than its header, or its length no multiple of
 * eight. `out` is untouched then. */
int inventory_parse(const uint8_t *data, size_t len, struct lun_list *out);

bool inventory_has(const struct lun_list *list, uint16_t lun);
/* What is in `now` and not in `before`, and the other way round. `out_added` and `out_removed` may not be the inputs.
 */
void inventory_diff(const struct lun_list *before, const struct lun_list *now, struct lun_list *out_added,
                    struct lun_list *out_removed);

/* The eight bytes of a LUN structure (SAM-5 section 4.7) as a number, most significant first, and the flat number in
 * them. False when it is no single-level LUN in peripheral or flat space addressing. */
bool inventory_lun_flat(uint64_t lun_raw, uint16_t *out_lun);
uint64_t inventory_lun_raw(uint16_t lun);
