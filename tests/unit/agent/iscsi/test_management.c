/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/management.h"

#include <criterion/criterion.h>

static struct management_table t;

static struct management *ask(uint64_t deadline_ms)
{
    struct management *m = management_ask(&t);

    cr_assert_not_null(m);
    m->deadline_ms = deadline_ms;
    return m;
}

Test(management, requests_get_their_tags_in_the_order_they_were_asked_for)
{
    struct management *first = ask(1), *second = ask(1);

    management_sent(&t, 70);
    management_sent(&t, 71);
    management_sent(&t, 72); /* nobody's */
    cr_assert_eq(first->itt, 70);
    cr_assert_eq(second->itt, 71);
    management_heard(&t, 71, false, 5);
    management_heard(&t, 99, false, 0); /* nobody's */
    cr_assert_eq(first->state, MANAGEMENT_SENT);
    cr_assert_eq(second->state, MANAGEMENT_HEARD);
    cr_assert_eq(second->response, 5);
}

Test(management, is_bounded_and_a_place_is_free_again_afterwards)
{
    struct management *last = NULL;

    for (int i = 0; i < ISCSI_SESSION_MAX_MANAGEMENT; i++)
        last = ask(1);
    cr_assert_null(management_ask(&t));
    management_free(last);
    cr_assert_eq(management_ask(&t), last);
}

Test(management, time_runs_for_those_whose_owner_waits)
{
    struct management *slow = ask(500), *quick = ask(100), *done = ask(50);

    done->state = MANAGEMENT_DONE;
    cr_assert_eq(management_deadline(&t), 50);
    cr_assert_null(management_expired(&t, 99), "what is done is answered as done");
    cr_assert_eq(management_expired(&t, 100), quick);
    quick->answered = true;
    cr_assert_null(management_expired(&t, 100), "told once");
    management_free(done);
    cr_assert_eq(management_deadline(&t), 500);
    cr_assert_eq(management_waiting(&t), slow);
    slow->answered = true;
    cr_assert_null(management_waiting(&t));
    cr_assert_eq(management_deadline(&t), UINT64_MAX);
    management_sent(&t, 1);
    cr_assert_eq(slow->state, MANAGEMENT_SENT, "an answer may still come");
}
