/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/reader_accounts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_STREAMS      10000u
#define DEFAULT_QUEUED_BYTES (256u << 20)

int reader_accounts_init(struct reader_accounts *a, const struct reader_limits *limits)
{
    uint64_t seed;
    int rc = uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL);

    if (rc)
        return rc;
    *a = (struct reader_accounts){.limits = *limits};
    if (!a->limits.max_streams_principal)
        a->limits.max_streams_principal = DEFAULT_STREAMS;
    if (!a->limits.max_queued_bytes_principal)
        a->limits.max_queued_bytes_principal = DEFAULT_QUEUED_BYTES;
    table_init(&a->by_principal, seed);
    return 0;
}

void reader_accounts_deinit(struct reader_accounts *a)
{
    assert(a->by_principal.n == 0);
    table_deinit(&a->by_principal);
}

static struct reader_account *open_account(struct reader_accounts *a, const char *principal)
{
    struct reader_account *account = calloc(1, sizeof *account);

    if (!account)
        return NULL;
    account->budget.max_queued_bytes = a->limits.max_queued_bytes_principal;
    snprintf(account->principal, sizeof account->principal, "%s", principal);
    if (table_add(&a->by_principal, account->principal, strlen(account->principal), account)) {
        free(account);
        return NULL;
    }
    return account;
}

int reader_accounts_enter(struct reader_accounts *a, const char *principal, struct reader_account **out_account,
                          char *err, size_t err_len)
{
    struct reader_account *account = table_get(&a->by_principal, principal, strlen(principal));

    if (account && account->n_streams >= a->limits.max_streams_principal) {
        snprintf(err, err_len, "%s has %u subscriptions, no more are taken (limits.events.streams_per_principal)",
                 principal, account->n_streams);
        return UV_ENOBUFS;
    }
    if (account && account->budget.queued_bytes >= account->budget.max_queued_bytes) {
        snprintf(err, err_len,
                 "%s does not read what it asked for: %" PRIu64 " bytes wait in %u subscriptions "
                 "(limits.events.queued_bytes_per_principal is %" PRIu64 ")",
                 principal, account->budget.queued_bytes, account->n_streams, account->budget.max_queued_bytes);
        return UV_ENOBUFS;
    }
    if (!account && !(account = open_account(a, principal))) {
        snprintf(err, err_len, "out of memory");
        return UV_ENOMEM;
    }
    account->n_streams++;
    *out_account = account;
    return 0;
}

void reader_accounts_leave(struct reader_accounts *a, struct reader_account *account)
{
    if (!account || --account->n_streams > 0)
        return;
    table_remove(&a->by_principal, account->principal, strlen(account->principal));
    free(account);
}
