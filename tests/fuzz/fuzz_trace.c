/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the trace hooks of any content, of SCSI and of a target, many in a row: parsed, judged, folded and put
 * into words. Each that is no noise and no repeated "not ready" leaves the fold exactly once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/trace/fold.h"
#include "proto/registry.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_left(void *data, const struct trace_record *record, const struct trace_judgement *judgement,
                    uint32_t count)
{
    char detail[TRACE_DETAIL_BYTES];
    struct observation o;

    trace_observe(record, judgement->code, count, detail, &o);
    if (count == 0 || !o.native.name || strlen(o.native.detail) >= sizeof detail || o.sense_len > TRACE_SENSE_BYTES)
        abort();
    if ((o.target_name && !utf8_valid((const uint8_t *)o.target_name, strlen(o.target_name))) ||
        (o.object && !utf8_valid((const uint8_t *)o.object, strlen(o.object))))
        abort();
    if (judgement->verdict == TRACE_NOISE || (judgement->verdict == TRACE_EVENT) != (o.code != 0))
        abort();
    if (o.code != 0 && !registry_find(o.code))
        abort();
    *(uint64_t *)data += count;
}

/* What lies first. Returns its length; *out_ok: it is a record. */
static size_t parse(const uint8_t *data, size_t size, struct trace_record *out, int *out_ok)
{
    size_t scsi = size < sizeof(struct trace_wire) ? size : sizeof(struct trace_wire);
    size_t answer = size < sizeof(struct trace_answer_wire) ? size : sizeof(struct trace_answer_wire);

    *out_ok = trace_parse(data, scsi, out) == 0;
    if (*out_ok)
        return scsi;
    *out_ok = trace_parse_answer(data, answer, out) == 0;
    return *out_ok ? answer : scsi;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace_fold fold;
    uint64_t taken = 0, left = 0;

    memset(&fold, 0, sizeof fold);
    for (size_t n; size > 0; data += n, size -= n) {
        struct trace_record record;
        struct trace_judgement judgement;
        int ok;

        n = parse(data, size, &record, &ok);
        if (!ok)
            continue;
        judgement = trace_judge(&record);
        if (judgement.verdict == TRACE_NOISE)
            continue;
        taken++;
        trace_fold_add(&fold, &record, &judgement, on_left, &left);
    }
    trace_fold_flush(&fold, UINT64_MAX, on_left, &left);
    if (left + fold.n_repeated != taken || trace_fold_due(&fold) != UINT64_MAX)
        abort();
    return 0;
}
