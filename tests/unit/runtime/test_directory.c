/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/directory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static char top[64], path[128];

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void make_top(void)
{
    snprintf(top, sizeof top, "/tmp/sensebus-directory.XXXXXX");
    cr_assert_not_null(mkdtemp(top));
}

Test(directory, is_made_with_all_above_it_and_for_the_owner_only)
{
    struct stat st;
    make_top();
    cr_assert_eq(directory_make(at("a/b//c/")), 0);
    cr_assert_eq(stat(at("a/b/c"), &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0700);
    cr_expect_eq(directory_make(at("a/b/c")), 0, "all was there");
    rmdir(at("a/b/c"));
    rmdir(at("a/b"));
    rmdir(at("a"));
    rmdir(top);
}

Test(directory, what_is_there_keeps_its_mode)
{
    struct stat st;
    make_top();
    cr_assert_eq(chmod(top, 0755), 0);
    cr_assert_eq(directory_make(top), 0);
    cr_assert_eq(stat(top, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0755);
    rmdir(top);
}

Test(directory, a_file_in_the_way_is_an_error)
{
    make_top();
    FILE *f = fopen(at("file"), "w");
    cr_assert_not_null(f);
    fclose(f);
    cr_expect_eq(directory_make(at("file")), UV_ENOTDIR);
    cr_expect_eq(directory_make(at("file/below")), UV_ENOTDIR);
    cr_expect_eq(directory_make(""), UV_ENOENT);
    char long_name[5000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    cr_expect_eq(directory_make(long_name), UV_ENAMETOOLONG);
    unlink(at("file"));
    rmdir(top);
}
