/* SPDX-License-Identifier: Apache-2.0 */
/* Rows with columns of equal width. Cells are escaped when they are put in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TABLE_MAX_COLUMNS 12

struct writer;

struct table {
    const char *const *headings;
    size_t n_columns;
    char **cells; /* row by row */
    size_t n_cells, cap_cells;
    size_t widths[TABLE_MAX_COLUMNS];
    bool failed; /* out of memory */
};

/* `headings` must outlive the table. */
void table_init(struct table *t, const char *const *headings, size_t n_columns);
void table_deinit(struct table *t);
/* The next cell; empty text becomes "-". */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The headings (bold) and all rows; complete rows only. False when memory was out and rows are missing. */
bool table_print(const struct table *t, struct writer *w);
