/* SPDX-License-Identifier: Apache-2.0 */
/* What the Subscribe streams of each principal hold together. Each stream has a bound of its own (its send queue); this
 * is the one over all of them, so that a principal whose readers do not read cannot take the broker's memory.
 *
 * Full: a further stream of the principal is refused by name. Those that are open stay, and while the bound is reached
 * each sends its next batch only when the one before has left: whoever reads goes on, whoever does not falls behind,
 * which his policy answers. Other principals notice nothing.
 *
 * Invariant: an account exists while a stream is in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/core/access.h"
#include "proto/grpc/grpc.h"
#include "runtime/table.h"

/* Zero in a member means its default, given here. */
struct reader_limits {
    uint32_t max_streams_principal;      /* 10,000 */
    uint32_t max_queued_bytes_principal; /* 256 MiB waiting to be sent */
};

struct reader_account {
    struct grpc_budget budget;
    uint32_t n_streams;
    char principal[ACCESS_MAX_PRINCIPAL];
};

struct reader_accounts {
    struct reader_limits limits; /* without zeros */
    struct table by_principal;
};

/* Returns 0 or a negative errno. */
int reader_accounts_init(struct reader_accounts *a, const struct reader_limits *limits);
/* All have left. Accepts zeroed. */
void reader_accounts_deinit(struct reader_accounts *a);

/* A stream of the principal begins. 0; UV_ENOBUFS: a bound is reached; UV_ENOMEM. `err` says it in words. */
int reader_accounts_enter(struct reader_accounts *a, const char *principal, struct reader_account **out_account,
                          char *err, size_t err_len);
/* It has ended. `account` may be gone then; NULL is accepted. */
void reader_accounts_leave(struct reader_accounts *a, struct reader_account *account);
