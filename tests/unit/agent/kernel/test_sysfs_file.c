/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/sysfs_file.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/unit/agent/source/fake_sysfs.h"

static struct fake_sysfs sysfs;
static const struct observation_place place = {3, 0, 1, 4};

static void setup(void)
{
    fake_sysfs_make(&sysfs);
}

static void teardown(void)
{
    fake_sysfs_remove(&sysfs);
}

TestSuite(sysfs_file, .init = setup, .fini = teardown);

Test(sysfs_file, text_is_the_first_line_made_valid)
{
    char text[16];

    fake_sysfs_write(&sysfs, "a", " 12 \xff \nmore");
    cr_assert_eq(sysfs_file_text(sysfs.root, "a", text, sizeof text), 0);
    cr_assert_str_eq(text, "12 \xef\xbf\xbd");
    cr_assert_eq(sysfs_file_text(sysfs.root, "none", text, sizeof text), UV_ENOENT);
    cr_assert_str_eq(text, "");
    cr_assert_lt(sysfs_file_text(sysfs.root, "class", text, sizeof text), 0); /* a folder */
}

Test(sysfs_file, a_number_is_all_of_the_line)
{
    static const struct {
        const char *text;
        uint64_t number;
    } NUMBERS[] = {{"16384", 16384},
                   {"0", 0},
                   {"18446744073709551615", UINT64_MAX},
                   {"18446744073709551616", 0},
                   {"-1", 0},
                   {"1x", 0},
                   {"", 0},
                   {"0x10", 0}};

    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        fake_sysfs_write(&sysfs, "n", NUMBERS[i].text);
        cr_expect_eq(sysfs_file_number(sysfs.root, "n"), NUMBERS[i].number, "%s", NUMBERS[i].text);
    }
    cr_expect_eq(sysfs_file_number(sysfs.root, "none"), 0);
}

Test(sysfs_file, a_device_without_a_state_is_none)
{
    char state[32];

    cr_assert_eq(sysfs_file_state(sysfs.root, &place, state, sizeof state), UV_ENODEV);
    fake_sysfs_write(&sysfs, "bus/scsi/devices/3:0:1:4/state", "transport-offline");
    cr_assert_eq(sysfs_file_state(sysfs.root, &place, state, sizeof state), 0);
    cr_assert_str_eq(state, "transport-offline");
}

Test(sysfs_file, reads_no_more_than_there_is_room_for)
{
    uint8_t bytes[4];

    fake_sysfs_write(&sysfs, "a", "123456");
    cr_assert_eq(sysfs_file_read(sysfs.root, "a", bytes, sizeof bytes), 4);
    cr_assert_eq(memcmp(bytes, "1234", 4), 0);
}
