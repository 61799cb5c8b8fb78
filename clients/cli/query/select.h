/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors of the command line (--code, --host, --not …) and the Filter they become. The broker applies it.
 *
 * The same selector twice is OR, different ones are AND, --not turns the next one into an exclude. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "runtime/options.h"

struct Sensebus__V1__Filter;

enum selector {
    SELECT_CODE,
    SELECT_CATEGORY,
    SELECT_SEVERITY,
    SELECT_HOST,
    SELECT_ADDR,
    SELECT_LUN,
    SELECT_INQUIRY,
    SELECT_PDT,
    SELECT_WWID,
    SELECT_TARGET,
    SELECT_MODE,
    SELECT_BITS,
    SELECT_COUNT
};

struct selection {
    struct option_list wanted[SELECT_COUNT];
    struct option_list unwanted[SELECT_COUNT]; /* behind --not */
};

/* SELECT_COUNT options that fill `selection`: the selectors, and the hidden ones that select_merge_not makes of
 * "--not --NAME". */
void select_options(struct selection *selection, struct option *out_options);
void select_not_options(struct selection *selection, struct option *out_options);
/* Rewrite "--not --code X" in argv to "--not-code X", in place. Returns the new argc, or -1 with `err`. */
int select_merge_not(int argc, char **argv, char *err, size_t err_len);

/* Compile. *out_filter is NULL when nothing was selected; free with sensebus__v1__filter__free_unpacked(f, NULL).
 * Returns 0; UV_EINVAL with `err` naming option and value; UV_ENOMEM with `err`. */
int select_compile(const struct selection *selection, struct Sensebus__V1__Filter **out_filter, char *err,
                   size_t err_len);
