/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/chap.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static char path[64], err[512];
static struct chap_list list;

static int load(const char *text, mode_t mode)
{
    int fd;

    strcpy(path, "/tmp/sensebus-chap.XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
    err[0] = 0;
    int rc = chap_list_load(&list, path, err, sizeof err);
    unlink(path);
    return rc;
}

Test(chap, lines_are_found_by_target_and_star_is_any_other)
{
    cr_assert_eq(
        load("# comment\n\n* any anysecret\niqn.a:1 one secret-one\niqn.a:2 two secret-two back secret-back", 0600), 0,
        "%s", err);
    cr_assert_str_eq(chap_list_find(&list, "iqn.a:1")->user, "one");
    cr_assert_str_eq(chap_list_find(&list, "iqn.a:1")->secret, "secret-one");
    cr_assert_null(chap_list_find(&list, "iqn.a:1")->mutual_user);
    cr_assert_str_eq(chap_list_find(&list, "iqn.a:2")->mutual_secret, "secret-back");
    cr_assert_str_eq(chap_list_find(&list, "iqn.z")->user, "any");
    chap_list_free(&list);
}

Test(chap, without_a_star_others_have_none)
{
    cr_assert_eq(load("iqn.a:1 one secret-one\n", 0400), 0);
    cr_assert_null(chap_list_find(&list, "iqn.z"));
    chap_list_free(&list);
}

Test(chap, faults_name_file_and_line_and_never_a_secret)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"iqn.a:1 one\n", ":1: expected"},
        {"\niqn.a:1 one s3cr3t back\n", ":2: expected"},
        {"iqn.a:1 one s3cr3t b s3cr3t2 more\n", ":1: expected"},
        {"iqn.a:1 one s3cr3t\niqn.a:1 two s3cr3t\n", ":2: a second line"},
        {"iqn.a:1 one s3cr3t back s3cr3t\n", "same secret"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(load(cases[i].text, 0600), UV_EINVAL, "%s", cases[i].text);
        cr_assert(strstr(err, path) && strstr(err, cases[i].fault), "%s", err);
        cr_assert_null(strstr(err, "s3cr3t"), "%s", err);
        cr_assert_eq(list.n, 0);
    }
}

Test(chap, a_file_that_others_can_open_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0601};

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(load("* a b\n", modes[i]), UV_EACCES);
        cr_assert(strstr(err, "chmod 600"), "%s", err);
    }
}

Test(chap, a_missing_file_is_named)
{
    cr_assert_eq(chap_list_load(&list, "/nonexistent/chap", err, sizeof err), UV_ENOENT);
    cr_assert(strstr(err, "/nonexistent/chap"));
}
