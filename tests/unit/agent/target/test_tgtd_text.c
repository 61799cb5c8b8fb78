/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/tgtd_text.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

/* As tgtd 1.0.85 answers. */
static const char two_targets[] = "Target 1: iqn.2026-01.example:disks\n"
                                  "    System information:\n"
                                  "        Driver: iscsi\n"
                                  "        State: ready\n"
                                  "    I_T nexus information:\n"
                                  "        I_T nexus: 7\n"
                                  "            Initiator: iqn.2026-01.example:host-a alias: my host\n"
                                  "            Connection: 0\n"
                                  "                IP Address: 192.0.2.1\n"
                                  "            Connection: 1\n"
                                  "                IP Address: 192.0.2.2\n"
                                  "    LUN information:\n"
                                  "        LUN: 0\n"
                                  "            Type: controller\n"
                                  "            SCSI ID: IET     00010000\n"
                                  "            Online: Yes\n"
                                  "            Backing store path: None\n"
                                  "        LUN: 12\n"
                                  "            Type: disk\n"
                                  "            Online: No\n"
                                  "    Account information:\n"
                                  "        LUN: 99\n"
                                  "    ACL information:\n"
                                  "        ALL\n"
                                  "Target 20: iqn.2026-01.example:tapes\n"
                                  "    System information:\n"
                                  "        Driver: iscsi\n"
                                  "        State: offline\n"
                                  "    I_T nexus information:\n"
                                  "    LUN information:\n";

Test(tgtd_text, reads_targets_nexuses_and_units)
{
    struct snapshot s;

    cr_assert_eq(tgtd_text_parse(two_targets, sizeof two_targets, &s), 0);
    cr_assert_eq(s.n_targets, 2);
    cr_expect_eq(s.targets[0].number, 1);
    cr_expect_str_eq(s.targets[0].name, "iqn.2026-01.example:disks");
    cr_expect(s.targets[0].online);
    cr_assert_eq(s.targets[0].n_nexuses, 1);
    cr_expect_eq(s.nexuses[0].id, 7);
    cr_expect_str_eq(s.nexuses[0].initiator, "iqn.2026-01.example:host-a");
    cr_expect_str_eq(s.nexuses[0].address, "192.0.2.1");
    cr_assert_eq(s.targets[0].n_luns, 2);
    cr_expect(s.luns[0].lun == 0 && s.luns[0].online);
    cr_expect(s.luns[1].lun == 12 && !s.luns[1].online);
    cr_expect_eq(s.targets[1].number, 20);
    cr_expect_not(s.targets[1].online);
    cr_expect_eq(s.targets[1].n_nexuses + s.targets[1].n_luns, 0);
    cr_expect_not(s.cut);
    snapshot_free(&s);
}

Test(tgtd_text, takes_any_beginning_of_an_answer)
{
    for (size_t len = 0; len < sizeof two_targets; len++) {
        struct snapshot s;
        int rc = tgtd_text_parse(two_targets, len, &s);

        cr_assert(rc == 0 || rc == UV_EPROTO, "length %zu", len);
        snapshot_free(&s);
    }
}

Test(tgtd_text, no_targets_is_an_empty_answer)
{
    struct snapshot s;

    cr_assert_eq(tgtd_text_parse(NULL, 0, &s), 0);
    cr_expect_eq(s.n_targets, 0);
    cr_assert_eq(tgtd_text_parse("", 1, &s), 0);
    cr_expect_eq(s.n_targets, 0);
}

Test(tgtd_text, refuses_what_is_no_list_of_targets)
{
    static const char *const texts[] = {"hello\n",     "    System information:\n",   "Target x: iqn.t\n",
                                        "Target 1:\n", "Target 99999999999: iqn.t\n", "Target -1: iqn.t\n",
                                        "\n"};
    struct snapshot s;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_expect_eq(tgtd_text_parse(texts[i], strlen(texts[i]), &s), UV_EPROTO, "text %zu", i);
}

Test(tgtd_text, numbers_that_are_none_are_left_out_and_said)
{
    static const char text[] = "Target 1: iqn.t\n"
                               "    I_T nexus information:\n"
                               "        I_T nexus: 99999999999999999999999\n"
                               "            Initiator: iqn.a\n"
                               "        I_T nexus: 3x\n"
                               "    LUN information:\n"
                               "        LUN: -1\n"
                               "        LUN: 20000\n"
                               "            Online: No\n"
                               "        LUN: 1\n";
    struct snapshot s;

    cr_assert_eq(tgtd_text_parse(text, sizeof text - 1, &s), 0);
    cr_expect(s.cut);
    cr_expect_eq(s.n_nexuses, 0);
    cr_expect(s.n_luns == 1 && s.luns[0].lun == 1 && s.luns[0].online);
    snapshot_free(&s);
}

Test(tgtd_text, asks_for_all_targets_as_tgtadm_does)
{
    uint8_t request[TGTD_REQUEST_BYTES];

    tgtd_request_show(request);
    cr_expect_eq(request[0], 1);
    cr_expect_eq(request[4], 2);
    cr_expect_arr_eq(request + 8, "iscsi", 6);
    cr_expect_eq(request[72], 120);
    cr_expect_arr_eq(request + 76, "\xff\xff\xff\xff\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 24);
}

Test(tgtd_text, believes_no_length_beyond_its_bound)
{
    static const struct {
        uint32_t error, len;
        int expected;
    } rows[] = {{0, 8, 0},
                {4, 9, 1},
                {0, 7, UV_EPROTO},
                {0, 0, UV_EPROTO},
                {0, UINT32_MAX, UV_EPROTO},
                {0, TGTD_MAX_ANSWER_BYTES + 1, UV_EPROTO}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t header[TGTD_HEADER_BYTES];
        uint32_t error;

        memcpy(header, &rows[i].error, 4);
        memcpy(header + 4, &rows[i].len, 4);
        cr_expect_eq(tgtd_header_parse(header, &error), rows[i].expected, "row %zu", i);
        cr_expect_eq(error, rows[i].error, "row %zu", i);
    }
}
