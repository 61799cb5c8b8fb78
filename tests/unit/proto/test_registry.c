/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/registry.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

Test(registry, has_an_entry_for_every_code_of_the_contract)
{
    cr_assert_eq(registry_size(), 128);
    cr_assert_eq(sensebus__v1__code__descriptor.n_values, registry_size() + 1); /* and CODE_UNSPECIFIED */
    for (size_t i = 0; i < registry_size(); i++) {
        const struct registry_entry *entry = registry_at(i);
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value(&sensebus__v1__code__descriptor, (int)entry->code);
        cr_assert_not_null(value, "%s", entry->name);
        cr_assert_str_eq(value->name, entry->name);
        cr_assert_eq(registry_find(entry->code), entry);
        cr_assert_eq(registry_find_name(entry->name, strlen(entry->name)), entry);
        cr_assert(*entry->meaning && *entry->remedy);
        cr_assert_str_neq(registry_severity_name(entry->severity), "?");
        cr_assert_str_neq(registry_scope_name(entry->scope), "?");
        cr_assert_str_neq(registry_mode_name(entry->mode), "?");
    }
}

Test(registry, knows_nothing_else)
{
    cr_expect_null(registry_find(0));
    cr_expect_null(registry_find(100));
    cr_expect_null(registry_find(UINT32_MAX));
    cr_expect_null(registry_find_name("LUN_RESE", 8));
    cr_expect_null(registry_find_name("LUN_RESETS", 10));
    cr_expect_null(registry_category_name(0));
    cr_expect_null(registry_category_name(10));
    cr_expect_eq(registry_category_number("RESE", 4), 0);
}

Test(registry, names_categories)
{
    cr_expect_str_eq(registry_category_name(2), "RESET");
    cr_expect_str_eq(registry_category_name(9), "SERVICE");
    cr_expect_eq(registry_category_number("TARGET_MODE", 11), 8);
    cr_expect_eq(registry_category_number("OTHER", 5), 9);
}

Test(registry, names_values_in_short)
{
    cr_expect_str_eq(registry_severity_name(SENSEBUS__V1__SEVERITY__SEVERITY_WARN), "WARN");
    cr_expect_str_eq(registry_scope_name(SENSEBUS__V1__SCOPE__SCOPE_LUN), "LUN");
    cr_expect_str_eq(registry_mode_name(SENSEBUS__V1__MODE__MODE_TARGET), "TARGET");
    cr_expect_str_eq(registry_severity_name(6), "?");
    cr_expect_str_eq(registry_severity_name(UINT32_MAX), "?");
}

Test(registry, projects_the_original_aix_bits)
{
    cr_expect_eq(registry_find(SENSEBUS__V1__CODE__ADAPTER_FATAL)->aix_bits, 1);
    cr_expect_eq(registry_find(SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED)->aix_bits, 2);
    cr_expect_eq(registry_find(SENSEBUS__V1__CODE__BUS_RESET)->aix_bits, 4);
    cr_expect_eq(registry_find(SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED)->aix_bits, 8);
}

Test(registry, classifies_sense_data)
{
    static const struct {
        uint8_t response_code, key, asc, ascq;
        uint32_t code;
        const char *why;
    } rows[] = {
        {0x70, 0x6, 0x29, 0x00, SENSEBUS__V1__CODE__POWER_ON_OR_RESET, "listed"},
        {0x72, 0x6, 0x29, 0x02, SENSEBUS__V1__CODE__BUS_RESET, "listed, descriptor format"},
        {0x70, 0x6, 0x29, 0x03, SENSEBUS__V1__CODE__LUN_RESET, "listed"},
        {0x70, 0x6, 0x3f, 0x0e, SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED, "listed"},
        {0x70, 0x6, 0x2a, 0x01, SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED, "listed"},
        {0x70, 0x6, 0x2a, 0x03, SENSEBUS__V1__CODE__RESERVATIONS_PREEMPTED, "listed"},
        {0x70, 0x6, 0x2a, 0x09, SENSEBUS__V1__CODE__CAPACITY_CHANGED, "listed"},
        {0x70, 0x6, 0x38, 0x07, SENSEBUS__V1__CODE__PROVISIONING_THRESHOLD, "listed"},
        {0x70, 0x6, 0x2f, 0x00, SENSEBUS__V1__CODE__COMMANDS_CLEARED, "listed"},
        {0x70, 0x2, 0x04, 0x01, SENSEBUS__V1__CODE__DEVICE_NOT_READY, "a state that polling finds"},
        {0x70, 0x2, 0x3a, 0x00, SENSEBUS__V1__CODE__MEDIUM_ABSENT, "a state that polling finds"},
        {0x70, 0x2, 0x04, 0x80, SENSEBUS__V1__CODE__DEVICE_NOT_READY, "a family comes before the vendor rule"},
        {0x70, 0x6, 0x5d, 0x10, SENSEBUS__V1__CODE__FAILURE_PREDICTED, "family"},
        {0x70, 0x6, 0x5d, 0xff, SENSEBUS__V1__CODE__FAILURE_PREDICTION_TEST, "a pair comes before its family"},
        {0x70, 0x1, 0x5d, 0x10, SENSEBUS__V1__CODE__FAILURE_PREDICTED, "reported by RECOVERED ERROR"},
        {0x70, 0x0, 0x0b, 0x01, SENSEBUS__V1__CODE__TEMPERATURE_WARNING, "reported by NO SENSE"},
        {0x70, 0x4, 0x3e, 0x01, SENSEBUS__V1__CODE__LUN_FAILURE, "HARDWARE ERROR"},
        {0x70, 0xb, 0x47, 0x7f, SENSEBUS__V1__CODE__COMMANDS_CLEARED, "listed for key B"},
        {0x70, 0x4, 0x47, 0x7f, 0, "listed for key B only"},
        {0x70, 0x6, 0x47, 0x7f, SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER, "listed for key B only"},
        {0x71, 0x6, 0x29, 0x00, SENSEBUS__V1__CODE__DEFERRED_ERROR, "deferred comes before the list"},
        {0x73, 0x3, 0x0c, 0x00, SENSEBUS__V1__CODE__DEFERRED_ERROR, "deferred"},
        {0x71, 0x5, 0x80, 0x80, SENSEBUS__V1__CODE__DEFERRED_ERROR, "deferred, whatever the key"},
        {0x70, 0x6, 0x80, 0x01, SENSEBUS__V1__CODE__VENDOR_SPECIFIC, "vendor's ASC"},
        {0x70, 0x6, 0x29, 0x81, SENSEBUS__V1__CODE__VENDOR_SPECIFIC, "vendor's ASCQ, no family"},
        {0x70, 0x9, 0x80, 0x00, SENSEBUS__V1__CODE__VENDOR_SPECIFIC, "vendor's key"},
        {0x70, 0x5, 0x80, 0x01, 0, "ILLEGAL REQUEST of a vendor"},
        {0x70, 0x5, 0x24, 0x81, 0, "ILLEGAL REQUEST of a vendor"},
        {0x70, 0x3, 0x11, 0x80, 0, "read error with a vendor's ASCQ"},
        {0x70, 0xb, 0x80, 0x01, 0, "aborted command of a vendor"},
        {0x70, 0x6, 0x55, 0x01, SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER, "not listed"},
        {0x70, 0x6, 0x00, 0x00, SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER, "not listed"},
        {0x70, 0x5, 0x25, 0x00, 0, "unit not supported"},
        {0x70, 0x5, 0x20, 0x00, 0, "invalid operation code"},
        {0x70, 0x5, 0x2c, 0x08, 0, "listed, but the key answers a command"},
        {0x70, 0x3, 0x11, 0x00, 0, "read error"},
        {0x70, 0x7, 0x27, 0x00, 0, "write protected"},
        {0x70, 0x0, 0x00, 0x00, 0, "nothing to say"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(registry_classify_sense(rows[i].response_code, rows[i].key, rows[i].asc, rows[i].ascq),
                     rows[i].code, "%02x %x/%02x/%02x: %s", rows[i].response_code, rows[i].key, rows[i].asc,
                     rows[i].ascq, rows[i].why);
}

Test(registry, every_unit_attention_has_a_code)
{
    for (unsigned asc = 0; asc < 256; asc++)
        for (unsigned ascq = 0; ascq < 256; ascq++)
            cr_assert_not_null(registry_find(registry_classify_sense(0x70, 6, (uint8_t)asc, (uint8_t)ascq)));
}

Test(registry, illegal_request_is_never_an_event)
{
    for (unsigned asc = 0; asc < 256; asc++)
        for (unsigned ascq = 0; ascq < 256; ascq++)
            cr_assert_eq(registry_classify_sense(0x70, 5, (uint8_t)asc, (uint8_t)ascq), 0);
}

Test(registry, classifies_every_async_event)
{
    for (unsigned event = 0; event < 256; event++) {
        uint32_t wanted = event >= 248 ? SENSEBUS__V1__CODE__VENDOR_SPECIFIC
                          : event >= 6 ? SENSEBUS__V1__CODE__UNCLASSIFIED
                          : event == 5 ? SENSEBUS__V1__CODE__COMMANDS_CLEARED
                          : event == 4 ? SENSEBUS__V1__CODE__NEGOTIATION_REQUESTED
                          : event == 3 ? SENSEBUS__V1__CODE__SESSION_DROP_NOTICE
                          : event == 2 ? SENSEBUS__V1__CODE__CONNECTION_DROP_NOTICE
                          : event == 1 ? SENSEBUS__V1__CODE__LOGOUT_REQUESTED
                                       : SENSEBUS__V1__CODE__ASYNC_EVENT_PENDING;
        cr_expect_eq(registry_classify_async((uint8_t)event), wanted, "AsyncEvent %u", event);
    }
}
