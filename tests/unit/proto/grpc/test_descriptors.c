/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/descriptors.h"
#include "proto/grpc/descriptors.h"

static struct descriptors d;

static void setup(void)
{
    cr_assert_eq(descriptors_init(&d, sensebus_descriptor_set, sensebus_descriptor_set_len), 0);
}

static void teardown(void)
{
    descriptors_deinit(&d);
}

TestSuite(descriptors, .init = setup, .fini = teardown);

static void expect_in(const char *symbol, const char *file)
{
    const struct descriptor_symbol *found = descriptors_symbol(&d, symbol);
    cr_assert(found, "%s", symbol);
    struct descriptor_text name = d.files[found->file].name;
    cr_expect(name.len == strlen(file) && memcmp(name.ptr, file, name.len) == 0, "%s in %.*s", symbol, (int)name.len,
              (const char *)name.ptr);
}

Test(descriptors, every_kind_of_symbol_is_found)
{
    expect_in("sensebus.v1.Events", "sensebus/v1/events.proto");
    expect_in("sensebus.v1.Events.Subscribe", "sensebus/v1/events.proto");
    expect_in("sensebus.v1.Event", "sensebus/v1/event.proto");
    expect_in("sensebus.v1.Event.sequence", "sensebus/v1/event.proto");
    expect_in("sensebus.v1.Code", "sensebus/v1/code.proto");
    expect_in("sensebus.v1.CODE_UNSPECIFIED", "sensebus/v1/code.proto");
    expect_in("grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto");
    expect_in("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto");
    expect_in("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto");
    cr_assert_null(descriptors_symbol(&d, "sensebus.v1.Nothing"));
    cr_assert_null(descriptors_symbol(&d, ""));
}

Test(descriptors, closure_has_every_import_once_and_the_file_first)
{
    size_t *files = calloc(d.n_files, sizeof *files);
    size_t admin = descriptors_file(&d, "sensebus/v1/admin.proto");
    cr_assert_neq(admin, SIZE_MAX);
    size_t n = descriptors_closure(&d, admin, files);
    cr_assert_eq(files[0], admin);
    cr_assert_eq(n, 6, "admin, agents, adapter, events, event, code");
    cr_assert_eq(descriptors_closure(&d, admin, files), 6);
    free(files);
}

Test(descriptors, what_is_not_there_is_not_found)
{
    cr_assert_eq(descriptors_file(&d, "no.proto"), SIZE_MAX);
    cr_assert_eq(descriptors_extension(&d, "sensebus.v1.Event", 100), SIZE_MAX);
}

/* file { name: "a.proto" package: "p" message_type { name: "M" extension { name: "x" extendee: ".p.M" number: 7 } } }
 */
Test(descriptors, extensions_are_found)
{
    static const uint8_t set[] = "\x0a\x20\x0a\x07"
                                 "a.proto\x12\x01"
                                 "p\x22\x12\x0a\x01"
                                 "M\x32\x0d\x0a\x01"
                                 "x\x12\x04"
                                 ".p.M\x18\x07\x20\x01";
    struct descriptors e;
    cr_assert_eq(descriptors_init(&e, set, sizeof set - 1), 0);
    cr_assert_eq(descriptors_extension(&e, "p.M", 7), 0);
    cr_assert_eq(descriptors_extension(&e, "p.M", 8), SIZE_MAX);
    cr_assert(descriptors_symbol(&e, "p.M.x"));
    descriptors_deinit(&e);
}

Test(descriptors, damaged_sets_are_refused_or_read_within_bounds)
{
    uint8_t *copy = malloc(sensebus_descriptor_set_len);
    struct descriptors e;
    for (size_t len = 0; len < 600; len += 7) {
        memcpy(copy, sensebus_descriptor_set, len);
        if (descriptors_init(&e, copy, len) == 0)
            descriptors_deinit(&e);
    }
    for (size_t i = 0; i < 2000; i += 29) {
        memcpy(copy, sensebus_descriptor_set, sensebus_descriptor_set_len);
        copy[i] ^= 0x55;
        if (descriptors_init(&e, copy, sensebus_descriptor_set_len) == 0)
            descriptors_deinit(&e);
    }
    free(copy);
}
