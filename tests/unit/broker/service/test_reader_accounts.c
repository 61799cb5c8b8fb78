/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/reader_accounts.h"

#include <criterion/criterion.h>
#include <string.h>

static struct reader_accounts accounts;
static char err[ACCESS_MAX_PRINCIPAL + 200];

static struct reader_account *enter(const char *principal)
{
    struct reader_account *account = NULL;
    return reader_accounts_enter(&accounts, principal, &account, err, sizeof err) == 0 ? account : NULL;
}

static void begin(uint32_t max_streams, uint32_t max_bytes)
{
    struct reader_limits limits = {max_streams, max_bytes};
    cr_assert_eq(reader_accounts_init(&accounts, &limits), 0);
}

Test(reader_accounts, streams_of_a_principal_share_an_account)
{
    begin(0, 0);
    struct reader_account *first = enter("alice"), *second = enter("alice"), *other = enter("bob");
    cr_assert(first && first == second && other && other != first);
    cr_assert_eq(first->n_streams, 2);
    cr_assert_eq(first->budget.max_queued_bytes, 256u << 20);
    reader_accounts_leave(&accounts, first);
    reader_accounts_leave(&accounts, first);
    reader_accounts_leave(&accounts, other);
    reader_accounts_deinit(&accounts);
}

Test(reader_accounts, further_streams_are_refused_by_name)
{
    begin(2, 0);
    struct reader_account *account = enter("alice");
    cr_assert(enter("alice"));
    cr_assert_null(enter("alice"));
    cr_assert(strstr(err, "alice has 2 subscriptions") && strstr(err, "limits.events.streams_per_principal"), "%s",
              err);
    struct reader_account *other = enter("bob");
    cr_assert(other, "others notice nothing");
    reader_accounts_leave(&accounts, account);
    cr_assert_eq(enter("alice"), account, "there is room again");
    reader_accounts_leave(&accounts, account);
    reader_accounts_leave(&accounts, account);
    reader_accounts_leave(&accounts, other);
    reader_accounts_deinit(&accounts);
}

Test(reader_accounts, who_does_not_read_gets_no_further_stream)
{
    begin(0, 1000);
    struct reader_account *account = enter("alice");
    account->budget.queued_bytes = 1000;
    cr_assert_null(enter("alice"));
    cr_assert(strstr(err, "alice does not read what it asked for: 1000 bytes wait in 1 subscriptions") &&
                  strstr(err, "limits.events.queued_bytes_per_principal is 1000"),
              "%s", err);
    account->budget.queued_bytes = 999;
    cr_assert_eq(enter("alice"), account);
    reader_accounts_leave(&accounts, account);
    reader_accounts_leave(&accounts, account);
    reader_accounts_leave(&accounts, NULL);
    reader_accounts_deinit(&accounts);
}
