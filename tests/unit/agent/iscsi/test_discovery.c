/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/iscsi/discovery.h"

/* Parse a copy of exactly that size; the result as "name@portal name@portal ". */
static int parse(const char *text, size_t len, char *out, size_t out_len)
{
    struct iscsi_discovered *targets = NULL;
    size_t n = 0, at = 0;
    uint8_t *copy = malloc(len ? len : 1);
    int rc;

    if (len)
        memcpy(copy, text, len);
    rc = discovery_parse(copy, len, "default:1", &targets, &n);
    free(copy);
    *out = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        at += (size_t)snprintf(out + at, out_len - at, "%s@%s ", targets[i].target_name, targets[i].portal);
    if (rc == 0)
        discovery_free(targets, n);
    return rc;
}

#define PARSE(text, out) parse(text, sizeof(text) - 1, out, sizeof(out))

Test(discovery, lists_every_portal_of_every_target)
{
    char out[256];

    cr_assert_eq(PARSE("TargetName=a\0TargetAddress=1.2.3.4:5,1\0TargetAddress=[::1]:5,2\0TargetName=b\0", out), 0);
    cr_assert_str_eq(out, "a@1.2.3.4:5,1 a@[::1]:5,2 b@default:1 ");
    cr_assert_eq(PARSE("TargetName=a\0TargetName=b\0TargetAddress=x:1,1\0\0\0", out), 0);
    cr_assert_str_eq(out, "a@default:1 b@x:1,1 ");
    cr_assert_eq(PARSE("", out), 0);
    cr_assert_str_eq(out, "");
}

Test(discovery, refuses_what_is_no_list)
{
    char out[256];

    cr_assert_eq(PARSE("TargetName=a", out), UV_EPROTO);
    cr_assert_eq(PARSE("TargetAddress=1.2.3.4:5,1\0", out), UV_EPROTO);
    cr_assert_eq(PARSE("TargetName=a\0Target\0", out), UV_EPROTO);
    cr_assert_eq(PARSE("TargetName=\0", out), UV_EPROTO);
    cr_assert_eq(PARSE("TargetName=a\0TargetAddress=\0", out), UV_EPROTO);
}

Test(discovery, refuses_more_targets_than_it_keeps)
{
    static char text[(DISCOVERY_MAX_TARGETS + 1) * 13];
    static char out[DISCOVERY_MAX_TARGETS * 16];

    for (size_t i = 0; i <= DISCOVERY_MAX_TARGETS; i++)
        memcpy(text + i * 13, "TargetName=a", 13);
    cr_assert_eq(parse(text, sizeof(text), out, sizeof(out)), UV_E2BIG);
    cr_assert_eq(parse(text, sizeof(text) - 13, out, sizeof(out)), 0);
}
