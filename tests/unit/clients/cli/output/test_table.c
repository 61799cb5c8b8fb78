/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/table.h"

#include <criterion/criterion.h>

#include "clients/cli/output/writer.h"

static struct writer w;

Test(table, columns_line_up)
{
    static const char *const headings[] = {"NAME", "N", "LAST"};
    struct table t;
    table_init(&t, headings, 3);
    table_cell(&t, "a-long-name");
    table_cellf(&t, "%d", 7);
    table_cell(&t, "x");
    table_cell(&t, "ü");
    table_cell(&t, "");
    table_cell(&t, "a\nb");
    writer_init(&w, -1, false);
    cr_expect(table_print(&t, &w));
    writer_bytes(&w, "", 1);
    cr_expect_str_eq(w.buf,
                     "NAME         N  LAST\n"
                     "a-long-name  7  x\n"
                     "ü            -  a\\u{0a}b\n",
                     "%s", w.buf);
    table_deinit(&t);
}

Test(table, grows_and_frees)
{
    static const char *const headings[] = {"N"};
    struct table t;
    table_init(&t, headings, 1);
    for (int i = 0; i < 1000; i++)
        table_cellf(&t, "%d", i);
    cr_expect_eq(t.n_cells, 1000);
    table_deinit(&t);
}
