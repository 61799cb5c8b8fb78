/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/grpc.h"
#include "proto/grpc/metadata.h"

Test(metadata, fields_that_may_be_sent)
{
    static const struct grpc_metadata good[] = {
        {"x-test", "seen"},      {"authorization", "Bearer a.b-c_d=="},
        {"0_a.b-c", "~ inside"}, {"empty", ""},
        {"key-bin", "CgsKCwoL"}, {"list-bin", "AA==,Cg+/"},
        {"bin", "no base64!"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *fault = grpc_metadata_fault(good[i].name, good[i].value);
        cr_expect_null(fault, "%s: %s", good[i].name, fault);
    }
}

Test(metadata, every_fault_is_named)
{
    static const struct {
        struct grpc_metadata field;
        const char *fault;
    } bad[] = {
        {{"", "x"}, "empty"},
        {{"X-Test", "x"}, "a-z"},
        {{"a b", "x"}, "a-z"},
        {{"a\n", "x"}, "a-z"},
        {{"gr\xc3\xbc\xc3\x9f", "x"}, "a-z"},
        {{":path", "/x"}, "a-z"},
        {{"grpc-status", "0"}, "grpc-"},
        {{"grpc-mine", "0"}, "grpc-"},
        {{"content-type", "text/plain"}, "HTTP"},
        {{"te", "x"}, "HTTP"},
        {{"connection", "close"}, "HTTP"},
        {{"a", "x\r\ny"}, "printable"},
        {{"a", "\xff"}, "printable"},
        {{"a", "\t"}, "printable"},
        {{"a", " x"}, "space"},
        {{"a", "x "}, "space"},
        {{"a-bin", "no base64!"}, "base64"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *fault = grpc_metadata_fault(bad[i].field.name, bad[i].field.value);
        cr_expect(fault && strstr(fault, bad[i].fault), "'%s': '%s': %s", bad[i].field.name, bad[i].field.value,
                  fault ? fault : "no fault");
    }
}

Test(metadata, what_is_refused_leaves_the_list_as_it_was)
{
    struct headers list = {0};
    cr_assert_eq(metadata_add(&list, "name", "value", 41 + 35), 0);
    cr_assert_eq(metadata_add(&list, "Name", "value", 1000), UV_EINVAL);
    cr_assert_eq(metadata_add(&list, "long", "value", 41 + 35), UV_E2BIG);
    cr_assert_eq(list.n, 1);
    cr_assert_eq(metadata_add(&list, "ab", "c", 41 + 35), 0, "there is still room for a short one");
    cr_assert_eq(list.n, 2);
    cr_assert_str_eq(headers_get(&list, "ab"), "c");
    headers_deinit(&list);
}
