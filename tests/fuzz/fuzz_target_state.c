/* SPDX-License-Identifier: Apache-2.0 */
/* What tgtd answers, twice: the snapshots keep their bounds and order, every difference is a record that the broker
 * takes, and nothing changed between a snapshot and itself. The inputs are parted by the byte FFh. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/record.h"
#include "agent/target/change.h"
#include "agent/target/snapshot.h"
#include "agent/target/tgtd_text.h"
#include "proto/event_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct change_source source = {"tgt", 1000000, "tgtd-state", true};

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);

    if (len == cap || !utf8_valid((const uint8_t *)text, len))
        abort();
}

static void check_target(const struct snapshot *s, const struct snapshot_target *t)
{
    check_text(t->name, sizeof t->name);
    if (t->number < 0 || t->number > SNAPSHOT_MAX_NUMBER || t->first_nexus + t->n_nexuses > s->n_nexuses ||
        t->first_lun + t->n_luns > s->n_luns)
        abort();
    for (size_t i = 0; i < t->n_nexuses; i++) {
        check_text(s->nexuses[t->first_nexus + i].initiator, SNAPSHOT_NAME_BYTES);
        check_text(s->nexuses[t->first_nexus + i].address, SNAPSHOT_ADDRESS_BYTES);
        if (i > 0 && s->nexuses[t->first_nexus + i - 1].id > s->nexuses[t->first_nexus + i].id)
            abort();
    }
    for (size_t i = 0; i < t->n_luns; i++)
        if (s->luns[t->first_lun + i].lun > SNAPSHOT_MAX_LUN ||
            (i > 0 && s->luns[t->first_lun + i - 1].lun >= s->luns[t->first_lun + i].lun))
            abort();
}

static void check_snapshot(const struct snapshot *s)
{
    if (s->n_targets > SNAPSHOT_MAX_TARGETS || s->n_nexuses > SNAPSHOT_MAX_NEXUSES || s->n_luns > SNAPSHOT_MAX_LUNS)
        abort();
    for (size_t i = 0; i < s->n_targets; i++)
        check_target(s, &s->targets[i]);
}

static void on_change(void *data, const struct snapshot_change *change)
{
    struct change_text text;
    struct record_bytes bytes;
    struct event_view view;
    struct record record;
    char err[128];

    (void)data;
    change_record(&source, change, -1, &text, &record);
    if (record_encode(&record, &bytes) < 0)
        return;
    if (event_scan(bytes.bytes, bytes.len, NULL, &view, err, sizeof err) < 0)
        abort();
    free(bytes.bytes);
}

static void on_no_change(void *data, const struct snapshot_change *change)
{
    (void)data;
    (void)change;
    abort();
}

static void parse(const uint8_t *data, size_t size, struct snapshot *out)
{
    if (tgtd_text_parse((const char *)data, size, out) < 0)
        *out = (struct snapshot){0};
    check_snapshot(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *part = size > 0 ? memchr(data, 0xff, size) : NULL;
    size_t first = part ? (size_t)(part - data) : size;
    struct snapshot before, now;

    parse(data, first, &before);
    parse(part ? part + 1 : data, part ? size - first - 1 : 0, &now);
    snapshot_diff(&before, &now, on_change, NULL);
    snapshot_diff(&now, &now, on_no_change, NULL);
    snapshot_free(&before);
    snapshot_free(&now);
    return 0;
}
