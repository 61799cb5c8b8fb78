/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/cursors.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

static char err[256];

Test(cursors, names_are_short_and_plain)
{
    char longest[CURSOR_MAX_NAME + 2];
    memset(longest, 'x', sizeof longest);
    longest[CURSOR_MAX_NAME] = '\0';
    cr_assert_eq(cursor_check_name("pager-2.host_A", err, sizeof err), 0);
    cr_assert_eq(cursor_check_name(longest, err, sizeof err), 0);
    longest[CURSOR_MAX_NAME] = 'x';
    longest[CURSOR_MAX_NAME + 1] = '\0';
    static const struct {
        const char *name, *says;
    } bad[] = {{"", "empty"}, {"a b", "byte 2"}, {"a/b", "byte 2"}, {"\xc3\xa4", "byte 1"}, {"ab\n", "byte 3"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(cursor_check_name(bad[i].name, err, sizeof err), UV_EINVAL);
        cr_assert_not_null(strstr(err, bad[i].says), "%s", err);
    }
    cr_assert_eq(cursor_check_name(longest, err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, "129 bytes"), "%s", err);
}

Test(cursors, never_move_backwards)
{
    enum { LOG = 7, OTHER = 8, NEWEST = 100 };
    static const struct {
        const char *what;
        struct cursor_position current; /* epoch 0: a new name */
        struct cursor_position next;
        uint64_t n_cursors;
        enum cursor_verdict verdict;
        const char *says;
    } table[] = {
        {"new name", {0, 0}, {LOG, 0}, 0, CURSOR_MOVE, NULL},
        {"new name at the newest", {0, 0}, {LOG, NEWEST}, 0, CURSOR_MOVE, NULL},
        {"forwards", {LOG, 41}, {LOG, 42}, 1, CURSOR_MOVE, NULL},
        {"same again", {LOG, 42}, {LOG, 42}, 1, CURSOR_SAME, NULL},
        {"one back", {LOG, 42}, {LOG, 41}, 1, CURSOR_BACKWARDS, "is at 42 and does not move backwards to 41"},
        {"to the newest", {LOG, 42}, {LOG, NEWEST}, 1, CURSOR_MOVE, NULL},
        {"beyond the newest", {LOG, 42}, {LOG, NEWEST + 1}, 1, CURSOR_OUT_OF_RANGE, "newer than the newest record 100"},
        {"of another log", {LOG, 42}, {OTHER, 43}, 1, CURSOR_OUT_OF_RANGE, "log epoch 0000000000000008"},
        {"back, but in a new log", {OTHER, 99}, {LOG, 1}, 1, CURSOR_MOVE, NULL},
        {"last free name", {0, 0}, {LOG, 1}, CURSORS_MAX - 1, CURSOR_MOVE, NULL},
        {"one name too many", {0, 0}, {LOG, 1}, CURSORS_MAX, CURSOR_TOO_MANY, "65536 cursors"},
        {"old name when full", {LOG, 1}, {LOG, 2}, CURSORS_MAX, CURSOR_MOVE, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        *err = '\0';
        enum cursor_verdict verdict = cursor_judge("c", table[i].current.epoch ? &table[i].current : NULL,
                                                   &table[i].next, LOG, NEWEST, table[i].n_cursors, err, sizeof err);
        cr_assert_eq(verdict, table[i].verdict, "%s: %d", table[i].what, verdict);
        if (table[i].says)
            cr_assert_not_null(strstr(err, table[i].says), "%s: %s", table[i].what, err);
    }
}

Test(cursors, stored_form_is_read_back_and_damage_is_seen)
{
    struct cursor_position in = {UINT64_MAX, 0x0123456789abcdef}, out = {0};
    uint8_t bytes[CURSOR_VALUE_SIZE];
    cursor_encode(&in, bytes);
    cr_assert_eq(cursor_decode(bytes, sizeof bytes, &out), 0);
    cr_assert_eq(out.epoch, in.epoch);
    cr_assert_eq(out.sequence, in.sequence);
    cr_assert_eq(cursor_decode(bytes, sizeof bytes - 1, &out), UV_EINVAL);
}
