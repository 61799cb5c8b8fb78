/* SPDX-License-Identifier: Apache-2.0 */
/* What a logical unit says about itself, of any content and length: INQUIRY data, VPD pages, capacities, LUN lists. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identify.h"
#include "agent/inventory.h"
#include "proto/event_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);

    if (len == cap || !utf8_valid((const uint8_t *)text, len))
        abort();
}

static void check_identity(const struct identity *id)
{
    check_text(id->vendor, sizeof id->vendor);
    check_text(id->product, sizeof id->product);
    check_text(id->revision, sizeof id->revision);
    check_text(id->serial, sizeof id->serial);
    check_text(id->designator, sizeof id->designator);
    if (id->raw_inquiry_len > sizeof id->raw_inquiry)
        abort();
}

static void check_list(const uint8_t *data, size_t size)
{
    static struct lun_list list, added, removed;
    static const struct lun_list empty;

    if (inventory_parse(data, size, &list) < 0)
        return;
    for (size_t i = 0; i < list.n; i++)
        if (list.luns[i] > 16383 || (i > 0 && list.luns[i - 1] >= list.luns[i]))
            abort();
    inventory_diff(&empty, &list, &added, &removed);
    if (added.n != list.n || removed.n != 0)
        abort();
}

/* The first byte says which answer it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity id;
    uint8_t protection;
    bool use_16;

    if (size == 0)
        return 0;
    identity_init(&id);
    switch (data[0] % 10) {
    case 0: identify_inquiry(data + 1, size - 1, &id); break;
    case 1: identify_vpd_pages(data + 1, size - 1, &id); break;
    case 2: identify_vpd_serial(data + 1, size - 1, &id); break;
    case 3: identify_vpd_designators(data + 1, size - 1, &id); break;
    case 4: identify_vpd_block_limits(data + 1, size - 1, &id); break;
    case 5: identify_capacity_10(data + 1, size - 1, &id, &use_16); break;
    case 6: identify_capacity_16(data + 1, size - 1, &id); break;
    case 7: check_list(data + 1, size - 1); break;
    case 8: identify_protection(data + 1, size - 1, false, &protection); break;
    case 9: identify_protection(data + 1, size - 1, true, &protection); break;
    }
    check_identity(&id);
    return 0;
}
