/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a Filter: unpacked, compiled, and matched against an event that has everything and one that has nothing,
 * by itself and through an index. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/filter.h"
#include "broker/core/filter_index.h"
#include "proto/message.h"
#include "sensebus/v1/events.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text text(const char *s)
{
    return (struct text){s, strlen(s)};
}

static struct event_view full_event(void)
{
    struct event_view e = {.code = 203, .severity = 2, .mode = 1, .aix_bits = 4};
    e.host = text("node-7");
    e.address = (struct address_view){
        .present = true, .adapter = text("iscsi0"), .controller = 0, .bus = -1, .target = 3, .lun = 12};
    e.device = (struct device_view){.present = true,
                                    .vendor = text("IET"),
                                    .product = text("VIRTUAL-DISK"),
                                    .designator = text("naa.6001405aabbccdde"),
                                    .target_name = text("iqn.2026-01.org.example:t1")};
    return e;
}

static void on_found(void *data, void *owner)
{
    (void)owner;
    (*(unsigned *)data)++;
}

/* The index finds the filter, once, exactly when it matches. */
static void check_index(const struct filter *filter, const struct event_view *event, bool matches)
{
    struct filter_index index;
    struct filter_entry *entry;
    unsigned n = 0;

    filter_index_init(&index, 1);
    if (filter_index_add(&index, filter, NULL, &entry))
        return;
    filter_index_find(&index, event, on_found, &n);
    if (n != matches)
        abort();
    filter_index_remove(&index, entry);
    filter_index_deinit(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_view full = full_event(), bare = {.code = 906, .device = {.device_type = -1}};
    struct filter *filter;
    char err[160] = "";

    struct ProtobufCMessage *message = message_unpack(&sensebus__v1__filter__descriptor, data, size, 0);
    if (!message)
        return 0;
    if (filter_new((Sensebus__V1__Filter *)message, &filter, err, sizeof(err)) == 0) {
        bool matches_full = filter_matches(filter, &full), matches_bare = filter_matches(filter, &bare);
        if (filter_matches_all(filter) && !(matches_full && matches_bare))
            abort();
        if (!filter_key(filter))
            abort();
        check_index(filter, &full, matches_full);
        check_index(filter, &bare, matches_bare);
        filter_free(filter);
    } else if (strncmp(err, "filter: ", 8) != 0) {
        abort();
    }
    message_free(message);
    return 0;
}
