/* SPDX-License-Identifier: Apache-2.0 */
/* The operations that send a SCSI command. */
#include <errno.h>
#include <string.h>

#include "clients/c/face/handle.h"
#include "proto/message.h"

#define PAGE_GIVEN 0x100u

static void fill(const Sensebus__V1__CommandResult *r, struct sb_command_result *out)
{
    *out = (struct sb_command_result){.scsi_status = (uint8_t)r->scsi_status};
    if (!r->sense)
        return;
    out->sense_key = (uint8_t)r->sense->key;
    out->asc = (uint8_t)r->sense->asc;
    out->ascq = (uint8_t)r->sense->ascq;
    out->sense_len = (uint32_t)(r->sense->raw.len < sizeof out->sense ? r->sense->raw.len : sizeof out->sense);
    if (out->sense_len)
        memcpy(out->sense, r->sense->raw.data, out->sense_len);
}

static int run(struct sb *sb, Sensebus__V1__AdapterRequest *request, void *buffer, size_t size, size_t *out_len,
               struct sb_command_result *out_result)
{
    Sensebus__V1__AdapterReply *reply;
    if (handle_operate(sb, request, sb->deadline_ms, false, &reply) < 0)
        return -1;
    int rc = 0;
    if (reply->result->value_case == SENSEBUS__V1__RESULT__VALUE_COMMAND) {
        const Sensebus__V1__CommandResult *r = reply->result->command;
        fill(r, out_result);
        *out_len = r->data.len;
        if (buffer && r->data.len)
            memcpy(buffer, r->data.data, r->data.len < size ? r->data.len : size);
    } else {
        rc = errors_set(sb, EPROTO, SB_DETAIL_NONE, "the broker's reply lacks its result");
    }
    message_free(&reply->base);
    return rc;
}

static int begin(struct sb *sb, const char *session, unsigned flags)
{
    if (handle_begin(sb) < 0)
        return -1;
    if (!session)
        return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "session is NULL");
    if (flags & ~SB_RESUME)
        return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "flags: unknown");
    return 0;
}

int sb_inquiry(struct sb *sb, const char *session, unsigned what, unsigned flags, void *buffer, size_t size,
               size_t *out_len, struct sb_command_result *out_result)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Inquiry message = SENSEBUS__V1__INQUIRY__INIT;
    if (begin(sb, session, flags) < 0)
        return -1;
    if (what != 0 && (what & ~0xffu) != PAGE_GIVEN)
        return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "what: neither 0 nor SB_PAGE of 0 to 0xff");
    message.session_id = (char *)session;
    message.resume = flags & SB_RESUME;
    if (what) {
        message._page_case = SENSEBUS__V1__INQUIRY___PAGE_PAGE;
        message.page = what & 0xffu;
    }
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_INQUIRY;
    request.inquiry = &message;
    return run(sb, &request, buffer, size, out_len, out_result);
}

int sb_test_unit_ready(struct sb *sb, const char *session, unsigned flags, struct sb_command_result *out_result)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__TestUnitReady message = SENSEBUS__V1__TEST_UNIT_READY__INIT;
    size_t len;
    if (begin(sb, session, flags) < 0)
        return -1;
    message.session_id = (char *)session;
    message.resume = flags & SB_RESUME;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TEST_UNIT_READY;
    request.test_unit_ready = &message;
    return run(sb, &request, NULL, 0, &len, out_result);
}
