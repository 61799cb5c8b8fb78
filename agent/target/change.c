/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/change.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

void change_adapter_name(const struct change_source *source, int32_t number, char out[16])
{
    assert(number >= 0 && number <= SNAPSHOT_MAX_NUMBER);
    snprintf(out, 16, "%s%" PRId32, source->adapter_prefix, number);
}

static void fill(const struct change_source *source, const struct snapshot_target *target, uint32_t code,
                 struct change_text *text, struct record *out)
{
    change_adapter_name(source, target->number, text->adapter);
    *out = (struct record){
        .code = code,
        .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
        .scope = SENSEBUS__V1__SCOPE__SCOPE_ADAPTER,
        .mode = SENSEBUS__V1__MODE__MODE_TARGET,
        .place = {.adapter = text->adapter,
                  .controller = source->controller_base + target->number,
                  .target = -1,
                  .lun = -1,
                  .target_name = target->name},
        .native = {.name = source->native_name, .detail = text->detail},
        .synthetic = source->synthetic,
    };
}

static void of_unit(const struct snapshot_change *c, const char *what, struct change_text *text, struct record *out)
{
    out->place.lun = c->lun->lun;
    snprintf(text->detail, sizeof text->detail, "served logical unit %s", what);
}

static void of_nexus(const struct snapshot_change *c, const char *what, int32_t number, struct change_text *text,
                     struct record *out)
{
    const struct snapshot_nexus *nexus = c->nexus;

    out->scope = SENSEBUS__V1__SCOPE__SCOPE_TARGET;
    out->place.target = number;
    out->place.target_name = nexus->initiator;
    out->place.portal = nexus->address[0] ? nexus->address : NULL;
    out->native.code = (uint32_t)nexus->id;
    snprintf(text->detail, sizeof text->detail, "initiator logged %s %s%s%s, session %" PRIu64, what, c->target->name,
             nexus->address[0] ? ", address " : "", nexus->address, nexus->id);
}

void change_record(const struct change_source *source, const struct snapshot_change *change, int32_t initiator_number,
                   struct change_text *text, struct record *out)
{
    static const uint32_t codes[] = {
        [SNAPSHOT_TARGET_ADDED] = SENSEBUS__V1__CODE__ADAPTER_ADDED,
        [SNAPSHOT_TARGET_REMOVED] = SENSEBUS__V1__CODE__ADAPTER_REMOVED,
        [SNAPSHOT_TARGET_ONLINE] = SENSEBUS__V1__CODE__ADAPTER_RESUMED,
        [SNAPSHOT_TARGET_OFFLINE] = SENSEBUS__V1__CODE__ADAPTER_SUSPENDED,
        [SNAPSHOT_LUN_ADDED] = SENSEBUS__V1__CODE__DEVICE_ADDED,
        [SNAPSHOT_LUN_REMOVED] = SENSEBUS__V1__CODE__DEVICE_REMOVED,
        [SNAPSHOT_LUN_ONLINE] = SENSEBUS__V1__CODE__DEVICE_ONLINE,
        [SNAPSHOT_LUN_OFFLINE] = SENSEBUS__V1__CODE__DEVICE_OFFLINE,
        [SNAPSHOT_LOGIN] = SENSEBUS__V1__CODE__REMOTE_LOGIN,
        [SNAPSHOT_LOGOUT] = SENSEBUS__V1__CODE__REMOTE_LOGOUT,
    };

    fill(source, change->target, codes[change->kind], text, out);
    switch (change->kind) {
    case SNAPSHOT_TARGET_ADDED: snprintf(text->detail, sizeof text->detail, "target is served"); break;
    case SNAPSHOT_TARGET_REMOVED: snprintf(text->detail, sizeof text->detail, "target is no longer served"); break;
    case SNAPSHOT_TARGET_ONLINE: snprintf(text->detail, sizeof text->detail, "served target is ready"); break;
    case SNAPSHOT_TARGET_OFFLINE: snprintf(text->detail, sizeof text->detail, "served target is offline"); break;
    case SNAPSHOT_LUN_ADDED: of_unit(change, "added", text, out); break;
    case SNAPSHOT_LUN_REMOVED: of_unit(change, "removed", text, out); break;
    case SNAPSHOT_LUN_ONLINE: of_unit(change, "is online", text, out); break;
    case SNAPSHOT_LUN_OFFLINE: of_unit(change, "is offline", text, out); break;
    case SNAPSHOT_LOGIN: of_nexus(change, "in to", initiator_number, text, out); break;
    case SNAPSHOT_LOGOUT: of_nexus(change, "out of", initiator_number, text, out); break;
    }
}

void change_outage_record(const struct change_source *source, const struct snapshot_target *target,
                          enum change_outage outage, const char *reason, struct change_text *text, struct record *out)
{
    static const uint32_t codes[] = {
        [CHANGE_UNREACHABLE] = SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED,
        [CHANGE_GONE] = SENSEBUS__V1__CODE__ADAPTER_FATAL,
        [CHANGE_BACK] = SENSEBUS__V1__CODE__ADAPTER_RESET,
    };
    static const char *const words[] = {
        [CHANGE_UNREACHABLE] = "the state of the served target is not known",
        [CHANGE_GONE] = "the target is not served any more, its sessions are over",
        [CHANGE_BACK] = "the target is served again, earlier sessions are over",
    };

    fill(source, target, codes[outage], text, out);
    snprintf(text->detail, sizeof text->detail, "%s%s%s", words[outage], reason[0] ? ": " : "", reason);
}
