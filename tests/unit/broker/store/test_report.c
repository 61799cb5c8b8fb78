/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/store/report.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char text[8192];

static struct report open_report(bool json)
{
    struct report r = {.out = fmemopen(text, sizeof text, "w"), .directory = "/d\"ir", .json = json};
    cr_assert_not_null(r.out);
    report_begin(&r);
    return r;
}

static const struct check_summary sound = {.is_made = true,
                                           .epoch = 0xabc,
                                           .oldest = 5,
                                           .newest = 9,
                                           .newest_time_ns = 1000000000,
                                           .n_records = 5,
                                           .n_tables = 1,
                                           .tables = {{.name = "log", .n_pairs = 2, .bytes = 300}}};

static void write_findings(struct report *r)
{
    report_ops.on_hole(r, &(struct check_hole){.first = 6, .last = 7, .reason = "torn"});
    report_ops.on_hole(r, &(struct check_hole){.last = 4, .reason = "page 3: gone"});
    report_ops.on_fault(
        r, &(struct check_fault){.table = "l\x1b[2J\"\n", .page = STORE_IMAGE_NO_PAGE, .reason = "host \xff\\"});
    report_ops.on_fault(r, &(struct check_fault){.page = 17, .reason = "it is used twice"});
}

Test(report, text_names_holes_and_escapes_what_the_file_says)
{
    struct report r = open_report(false);
    struct check_summary s = sound;
    s.n_holes = 2;
    s.n_lost = 2;
    s.n_faults = 2;
    write_findings(&r);
    report_end(&r, &s, true);
    fclose(r.out);
    cr_assert_not_null(strstr(text, "hole   6..7 (2): torn\n"));
    cr_assert_not_null(strstr(text, "hole   ..4 (it is not known where it begins): page 3: gone\n"));
    cr_assert_not_null(strstr(text, "fault  l\\x1b[2J\"\\x0a: host \\xff\\\n"), "%s", text);
    cr_assert_not_null(strstr(text, "fault  page 17: it is used twice\n"));
    cr_assert_not_null(strstr(text, "epoch       0000000000000abc\n"));
    cr_assert_not_null(strstr(text, "newest      9  1970-01-01T00:00:01Z\n"));
    cr_assert_not_null(strstr(text, "\ndamaged: 2 holes with 2 records, 2 other faults\n"));
    cr_assert(report_is_damaged(&s));
}

Test(report, json_is_one_valid_object)
{
    struct report r = open_report(true);
    write_findings(&r);
    report_end(&r, &sound, true);
    fclose(r.out);
    cr_assert_eq(strncmp(text, "{\"directory\":\"/d\\u0022ir\",\"findings\":[\n  {", 42), 0, "%s", text);
    cr_assert_not_null(strstr(text, "{\"kind\":\"hole\",\"first\":\"6\",\"last\":\"7\",\"reason\":\"torn\"},"));
    cr_assert_not_null(strstr(text, "{\"kind\":\"hole\",\"last\":\"4\","));
    cr_assert_not_null(strstr(text, "\"table\":\"l\\u001b[2J\\u0022\\u000a\",\"reason\":\"host \\u00ff\\u005c\"},"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "\"page\":\"17\","));
    cr_assert_not_null(strstr(text, "\"tables\":[{\"name\":\"log\",\"pairs\":\"2\",\"bytes\":\"300\"}]}\n"));
}

Test(report, says_what_the_mark_of_the_relaxed_mode_means)
{
    struct report r = open_report(false);
    struct check_summary s = sound;
    cr_assert_not(report_is_damaged(&s));
    s.mark = STORE_MARK_RELAXED;
    cr_assert_not(report_is_damaged(&s));
    s.mark = STORE_MARK_UNSAFE;
    cr_assert(report_is_damaged(&s), "the next start does not use it");
    report_end(&r, &s, true);
    fclose(r.out);
    cr_assert_not_null(strstr(text, "the machine went down"));
    cr_assert_not_null(strstr(text, "not safe"));
    cr_assert_null(strstr(text, "clean"));
}
