/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/output/escape.h"
#include "clients/cli/output/writer.h"

void table_init(struct table *t, const char *const *headings, size_t n_columns)
{
    *t = (struct table){.headings = headings, .n_columns = n_columns};
    for (size_t i = 0; i < n_columns; i++)
        t->widths[i] = strlen(headings[i]);
}

void table_deinit(struct table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
}

static char *escaped_copy(const char *text)
{
    size_t len = strlen(text), cap = len * ESCAPE_MAX_GROWTH + 1;
    char *copy = malloc(cap);
    if (copy)
        escape_text(text, len, copy, cap);
    return copy;
}

static bool reserve(struct table *t)
{
    if (t->n_cells < t->cap_cells)
        return true;
    size_t cap = t->cap_cells ? t->cap_cells * 2 : 64;
    char **cells = realloc(t->cells, cap * sizeof *cells);
    if (!cells)
        return false;
    t->cells = cells;
    t->cap_cells = cap;
    return true;
}

void table_cell(struct table *t, const char *text)
{
    char *copy = t->failed ? NULL : escaped_copy(text && *text ? text : "-");
    if (!copy || !reserve(t)) {
        free(copy);
        t->failed = true;
        return;
    }
    size_t column = t->n_cells % t->n_columns, width = escape_columns(copy, strlen(copy));
    if (width > t->widths[column])
        t->widths[column] = width;
    t->cells[t->n_cells++] = copy;
}

void table_cellf(struct table *t, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_cell(t, text);
}

static void print_cell(const struct table *t, struct writer *w, size_t column, const char *text)
{
    writer_put(w, text);
    if (column + 1 == t->n_columns) {
        writer_put(w, "\n");
        return;
    }
    for (size_t i = escape_columns(text, strlen(text)); i < t->widths[column] + 2; i++)
        writer_put(w, " ");
}

bool table_print(const struct table *t, struct writer *w)
{
    writer_style(w, STYLE_BOLD);
    for (size_t i = 0; i < t->n_columns; i++)
        print_cell(t, w, i, t->headings[i]);
    writer_style(w, STYLE_NONE);
    for (size_t i = 0; i < t->n_cells - t->n_cells % t->n_columns; i++)
        print_cell(t, w, i % t->n_columns, t->cells[i]);
    return !t->failed;
}
