/* SPDX-License-Identifier: Apache-2.0 */
/* The language of --where: conditions on one event, evaluated by the client.
 *
 *   expression   condition | ! expression | ( expression ) | expression && expression | expression || expression
 *   condition    FIELD OPERATOR VALUE, or a yes-no field by itself (deferred, synthetic)
 *   operators    == != < <= > >=   =~ (pattern with '*' and '?')   & (has one of these bits)
 *   values       decimal and 0x numbers, bare words, "quoted" or 'quoted' text with \" \' and \\ in it
 *
 * Names of enums are bare words of any case (code == lun_reset, severity >= warn). A field that the event does not have
 * equals nothing: with it == < <= > >= =~ & are false and != is true.
 *
 * Pure. Input is bounded: WHERE_MAX_BYTES of text, WHERE_MAX_NODES conditions and operators, WHERE_MAX_DEPTH levels. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define WHERE_MAX_BYTES 4096
#define WHERE_MAX_NODES 256
#define WHERE_MAX_DEPTH 32

struct Sensebus__V1__Event;
struct where;

struct where_error {
    size_t column; /* of the first byte that cannot be used, from 1 */
    char text[200];
};

/* Compile `text`. Returns 0; UV_EINVAL with `out_error`; UV_ENOMEM with `out_error` saying so. */
int where_new(const char *text, struct where **out_where, struct where_error *out_error);
void where_free(struct where *where);
bool where_matches(const struct where *where, const struct Sensebus__V1__Event *event);
/* The names of all fields with what they are, for --help. */
void where_print_fields(FILE *out);
