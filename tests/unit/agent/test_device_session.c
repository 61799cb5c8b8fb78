/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/device_session.h"

#include <criterion/criterion.h>
#include <uv.h>

static struct device_sessions t;

static struct device_session *add(const char *id, uint64_t generation)
{
    struct device_session *s;

    cr_assert_eq(device_sessions_add(&t, id, generation, NULL, 3, &s), 0);
    return s;
}

Test(device_session, is_found_by_id_and_generation) /* rule 2 */
{
    struct device_session *s;

    device_sessions_init(&t, 1);
    s = add("s1", 7);
    add("s2", 8);
    cr_assert_eq(device_sessions_find(&t, "s1", 7), s);
    cr_assert_null(device_sessions_find(&t, "s1", 8), "another generation");
    cr_assert_null(device_sessions_find(&t, "s3", 7));
    cr_assert_not(s->open, "it was not reached yet");
    device_sessions_deinit(&t);
}

Test(device_session, an_id_is_taken_once_and_has_a_length)
{
    struct device_session *s;
    char longest[DEVICE_SESSION_ID_BYTES], too_long[DEVICE_SESSION_ID_BYTES + 1];

    device_sessions_init(&t, 1);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    add(longest, 1);
    cr_assert_eq(device_sessions_add(&t, longest, 2, NULL, 0, &s), UV_EEXIST);
    cr_assert_eq(device_sessions_add(&t, too_long, 1, NULL, 0, &s), UV_EINVAL);
    cr_assert_eq(device_sessions_add(&t, "", 1, NULL, 0, &s), UV_EINVAL);
    device_sessions_deinit(&t);
}

Test(device_session, any_of_many_can_go)
{
    struct device_session *s[3];

    device_sessions_init(&t, 1);
    s[0] = add("a", 1);
    s[1] = add("b", 1);
    s[2] = add("c", 1);
    device_sessions_remove(&t, s[1]);
    cr_assert_null(device_sessions_find(&t, "b", 1));
    cr_assert_eq(device_sessions_find(&t, "a", 1), s[0]);
    device_sessions_remove(&t, s[2]);
    device_sessions_remove(&t, s[0]);
    cr_assert_null(t.first);
    add("a", 2);
    device_sessions_deinit(&t);
}
