/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/numbers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static char directory[] = "/tmp/sensebus-numbers-XXXXXX";
static char path[64];
static struct numbers n;

static void setup(void)
{
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/names", directory);
}

static void teardown(void)
{
    numbers_free(&n);
    unlink(path);
    rmdir(directory);
}

TestSuite(numbers, .init = setup, .fini = teardown);

static void reload(void)
{
    numbers_free(&n);
    cr_assert_eq(numbers_load(&n, directory, "names", NUMBERS_MAX, true), 0);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

Test(numbers, count_up_and_survive_a_restart)
{
    reload();
    cr_expect_eq(numbers_get(&n, "iqn.a"), 0);
    cr_expect_eq(numbers_get(&n, "iqn.b"), 1);
    cr_expect_eq(numbers_get(&n, "iqn.a"), 0);
    reload();
    cr_expect_eq(numbers_find(&n, "iqn.b"), 1);
    cr_expect_eq(numbers_get(&n, "iqn.c"), 2);
    cr_expect_str_eq(numbers_name(&n, 1), "iqn.b");
    cr_expect_null(numbers_name(&n, 3));
    cr_expect_null(numbers_name(&n, -1));
    cr_expect_eq(numbers_find(&n, "iqn.d"), UV_ENOENT);
}

Test(numbers, a_torn_last_line_is_cut_off)
{
    write_file("iqn.a\niqn.bro");
    reload();
    cr_expect_eq(n.n, 1);
    cr_expect_eq(numbers_get(&n, "iqn.c"), 1);
    reload();
    cr_expect_eq(numbers_find(&n, "iqn.a"), 0);
    cr_expect_eq(numbers_find(&n, "iqn.c"), 1);
}

/* What some file systems leave of a write that a power failure cut: the room for it, full of zeros. */
Test(numbers, zeros_at_the_end_are_cut_off)
{
    for (off_t zeros = 1; zeros <= 4096; zeros *= 4) {
        struct stat st;

        write_file("iqn.a\niqn.b\n");
        cr_assert_eq(truncate(path, 12 + zeros), 0);
        reload();
        cr_expect_eq(n.n, 2, "%d zeros", (int)zeros);
        cr_assert_eq(stat(path, &st), 0);
        cr_expect_eq(st.st_size, 12);
        cr_expect_eq(numbers_get(&n, "iqn.c"), 2);
        reload();
        cr_expect_eq(numbers_find(&n, "iqn.c"), 2);
    }
}

Test(numbers, names_that_would_break_the_file_have_none)
{
    char longest[NUMBERS_NAME_BYTES + 1];

    memset(longest, 'x', sizeof longest);
    longest[NUMBERS_NAME_BYTES] = 0;
    reload();
    cr_expect_eq(numbers_get(&n, "a\nb"), UV_EINVAL);
    cr_expect_eq(numbers_get(&n, ""), UV_EINVAL);
    cr_expect_eq(numbers_get(&n, longest), UV_EINVAL);
    longest[NUMBERS_NAME_BYTES - 1] = 0;
    cr_expect_eq(numbers_get(&n, longest), 0);
    reload();
    cr_expect_eq(numbers_find(&n, longest), 0);
}

Test(numbers, are_good_until_the_restart_when_the_file_cannot_be_written)
{
    cr_assert_eq(numbers_load(&n, "/nonexistent", "names", 2, false), 0);
    cr_expect_eq(numbers_get(&n, "iqn.a"), 0);
    cr_expect_eq(numbers_get(&n, "iqn.a"), 0);
    cr_expect_eq(numbers_get(&n, "iqn.b"), 1);
    cr_expect_eq(numbers_get(&n, "iqn.c"), UV_ENOSPC, "the bound that was given");
}

Test(numbers, what_could_not_be_written_is_written_with_the_next_in_order)
{
    reload();
    cr_assert_eq(mkdir(path, 0700), 0); /* in the way of the file */
    cr_expect_eq(numbers_get(&n, "iqn.a"), 0);
    cr_assert_eq(rmdir(path), 0);
    cr_expect_eq(numbers_get(&n, "iqn.b"), 1);
    reload();
    cr_expect_eq(numbers_find(&n, "iqn.a"), 0);
    cr_expect_eq(numbers_find(&n, "iqn.b"), 1);
}

Test(numbers, a_line_that_is_no_name_is_refused_and_left_alone)
{
    char line[2 * NUMBERS_NAME_BYTES];

    memset(line, 'x', sizeof line - 1);
    strcpy(line + sizeof line - 8, "\niqn.a\n");
    write_file(line);
    cr_expect_eq(numbers_load(&n, directory, "names", NUMBERS_MAX, true), UV_EINVAL);
}

Test(numbers, end_at_their_bound)
{
    FILE *f = fopen(path, "w");

    for (int i = 0; i < NUMBERS_MAX; i++)
        fprintf(f, "iqn.%d\n", i);
    fclose(f);
    reload();
    cr_expect_eq(numbers_get(&n, "iqn.5"), 5);
    cr_expect_eq(numbers_get(&n, "iqn.new"), UV_ENOSPC);
}
