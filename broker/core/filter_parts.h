/* SPDX-License-Identifier: Apache-2.0 */
/* What a compiled filter consists of; for filter*.c alone. Made and checked by filter_compile.c, never changed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_ANY (-1) /* a number of an address pattern that takes every value */

#define FILTER_VENDOR_BYTES  8
#define FILTER_PRODUCT_BYTES 16
#define FILTER_INQUIRY_BYTES (FILTER_VENDOR_BYTES + FILTER_PRODUCT_BYTES)

/* Sorted, each once. */
struct number_list {
    uint32_t *numbers;
    size_t n;
};

struct pattern {
    char *text;
    size_t len;
};

/* Whole names first, sorted, each once; behind them what has wildcards. */
struct pattern_list {
    struct pattern *patterns;
    size_t n, n_whole;
};

struct address_pattern {
    char *adapter; /* NULL = any */
    size_t adapter_len;
    int32_t controller, bus, target;
    int64_t lun, lun_last; /* lun FILTER_ANY: any unit */
};

struct filter {
    struct number_list codes, categories;
    uint32_t minimum_severity;
    struct pattern_list hosts;
    struct address_pattern *addresses;
    size_t n_addresses;
    struct pattern_list inquiry_prefixes; /* have no wildcards: all are whole */
    struct number_list device_types;      /* as unsigned: -1 is one of them */
    struct pattern_list designators, target_names;
    uint32_t modes; /* OR of enum Mode, whose values are bits: 1 initiator, 2 target, 3 both */
    uint32_t any_aix_bits;
    struct filter **excludes;
    size_t n_excludes;
    bool matches_all;
    char *key; /* of the outermost filter only */
};

/* By length first, then by bytes. */
int filter_compare_names(const char *a, size_t a_len, const char *b, size_t b_len);
