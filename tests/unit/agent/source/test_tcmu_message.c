/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "agent/source/tcmu_message.h"
#include "proto/registry.h"
#include "tests/unit/agent/source/netlink_samples.h"

#define DEVICE "tcm-user/0/u0/foo/bar"

Test(tcmu_message, tells_what_came_went_and_changed)
{
    static const uint64_t size = 1048576;
    static const struct {
        uint8_t command;
        uint16_t type;
        const void *data;
        size_t len;
        const char *code, *detail;
    } cases[] = {
        {1, 0, "", 0, "DEVICE_ADDED", "backstore user_0/u0 added"},
        {2, 0, "", 0, "DEVICE_REMOVED", "backstore user_0/u0 removed"},
        {3, 5, &size, 8, "CAPACITY_CHANGED", "backstore user_0/u0 has 1048576 bytes now"},
        {3, 6, "\1", 1, "MODE_PARAMETERS_CHANGED", "write cache of backstore user_0/u0 is on now"},
        {3, 6, "\0", 1, "MODE_PARAMETERS_CHANGED", "write cache of backstore user_0/u0 is off now"},
        {3, 4, "rbd/x", 6, "PARAMETERS_CHANGED", "backstore user_0/u0 has another configuration now"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample s = sample_tcmu(cases[i].command, DEVICE, cases[i].type, cases[i].data, cases[i].len);
        struct tcmu_message m;
        char detail[200];

        cr_assert_eq(tcmu_parse(s.bytes, s.len, &m), 0, "case %zu", i);
        cr_assert(m.command == cases[i].command && m.minor == 7);
        cr_assert_str_eq(m.device, DEVICE);
        cr_assert_str_eq(registry_find(m.code)->name, cases[i].code);
        tcmu_describe(&m, detail, sizeof detail);
        cr_assert_str_eq(detail, cases[i].detail);
    }
}

Test(tcmu_message, leaves_answers_and_unknown_commands)
{
    for (int command = 0; command < 256; command++) {
        struct sample s = sample_tcmu((uint8_t)command, DEVICE, 0, "", 0);
        struct tcmu_message m;
        bool known = command >= 1 && command <= 3;

        cr_assert_eq(tcmu_parse(s.bytes, s.len, &m), known ? 0 : UV_ENOENT, "command %d", command);
    }
}

Test(tcmu_message, refuses_what_is_cut_or_of_a_wrong_size)
{
    struct sample s = sample_tcmu(3, DEVICE, 5, "\0\0\0\0\0\0\1", 8), wrong;
    struct tcmu_message m = {.minor = 4711};

    for (size_t len = 0; len < s.len; len++) {
        int rc = tcmu_parse(s.bytes, len, &m);

        /* At the end of an attribute it is a whole message. */
        cr_assert(rc == UV_EINVAL || len == 4 || len == 30 || len == 31 || len == 32 || len == 40, "%zu: %d", len, rc);
    }
    m.minor = 4711;
    wrong = sample_tcmu(3, DEVICE, 5, "1234", 4);
    cr_assert_eq(tcmu_parse(wrong.bytes, wrong.len, &m), UV_EINVAL);
    wrong = sample_tcmu(3, DEVICE, 6, "12345678", 8);
    cr_assert_eq(tcmu_parse(wrong.bytes, wrong.len, &m), UV_EINVAL);
    wrong = sample_tcmu(3, "", 1, "no end", 6);
    cr_assert_eq(tcmu_parse(wrong.bytes, wrong.len, &m), UV_EINVAL);
    wrong = sample_tcmu(3, DEVICE, 6, "1", 1);
    wrong.bytes[4] = 3; /* an attribute shorter than its header */
    cr_assert_eq(tcmu_parse(wrong.bytes, wrong.len, &m), UV_EINVAL);
    cr_assert_eq(m.minor, 4711);
}

Test(tcmu_message, names_a_device_whatever_it_is_called)
{
    static const char *const devices[][2] = {
        {"tcm-user/12/disk", "backstore user_12/disk added"},
        {"tcm-user/12", "backstore tcm-user/12 added"},
        {"tcm-user/", "backstore tcm-user/ added"},
        {"other", "backstore other added"},
        {"", "backstore (no name) added"},
    };

    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        struct sample s = sample_tcmu(1, devices[i][0], 0, "", 0);
        struct tcmu_message m;
        char detail[200];

        cr_assert_eq(tcmu_parse(s.bytes, s.len, &m), 0);
        tcmu_describe(&m, detail, sizeof detail);
        cr_assert_str_eq(detail, devices[i][1]);
    }
}
