/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/dedupe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/mutant.h"

#define VALUE_VERSION 1

/* ---- keys and values */

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

static uint64_t get_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static int make_key(const char *host, uint64_t epoch, struct dedupe_key *out_key)
{
    size_t len = strlen(host);
    if (len == 0 || len > DEDUPE_MAX_HOST)
        return UV_EINVAL;
    put_u64(out_key->bytes, epoch);
    memcpy(out_key->bytes + 8, host, len);
    out_key->len = 8 + len;
    return 0;
}

void dedupe_encode(const struct dedupe_agent *a, uint64_t sequence, uint64_t stamp,
                   uint8_t out_value[DEDUPE_VALUE_SIZE])
{
    out_value[0] = VALUE_VERSION;
    put_u64(out_value + 1, sequence > a->committed ? sequence : a->committed);
    put_u64(out_value + 9, stamp);
}

/* ---- the table */

static struct dedupe_host *host_of(struct dedupe *d, const struct dedupe_key *key)
{
    return table_get(&d->by_host, key->bytes + 8, key->len - 8);
}

static struct dedupe_host *add_host(struct dedupe *d, const struct dedupe_key *key)
{
    size_t len = key->len - 8;
    struct dedupe_host *host = calloc(1, sizeof *host + len);
    if (!host)
        return NULL;
    TAILQ_INIT(&host->epochs);
    host->name_len = len;
    memcpy(host->name, key->bytes + 8, len);
    if (table_add(&d->by_host, host->name, len, host) != 0) {
        free(host);
        return NULL;
    }
    return host;
}

static void drop_empty_host(struct dedupe *d, struct dedupe_host *host)
{
    if (host->n > 0)
        return;
    table_remove(&d->by_host, host->name, host->name_len);
    free(host);
}

static int add(struct dedupe *d, const struct dedupe_key *key, struct dedupe_agent **out_agent)
{
    struct dedupe_agent *a = calloc(1, sizeof *a);
    struct dedupe_host *host = host_of(d, key);
    if (a && !host)
        host = add_host(d, key);
    if (!a || !host) {
        free(a);
        return UV_ENOMEM;
    }
    a->key = *key;
    a->host = host;
    int rc = table_add(&d->by_key, a->key.bytes, a->key.len, a);
    if (rc != 0) {
        free(a);
        drop_empty_host(d, host);
        return rc;
    }
    TAILQ_INSERT_TAIL(&d->ages, a, age);
    TAILQ_INSERT_TAIL(&host->epochs, a, own);
    host->n++;
    *out_agent = a;
    return 0;
}

/* Whose place a new pair of `host` (NULL: one not known yet) takes when there is no room; NULL when all are held. */
static struct dedupe_agent *find_victim(struct dedupe *d, struct dedupe_host *host)
{
    struct dedupe_agent *a;
    if (host) {
        TAILQ_FOREACH(a, &host->epochs, own)
        {
            if (a->n_users == 0)
                return a;
        }
        if (host->n >= DEDUPE_MAX_EPOCHS)
            return NULL;
    }
    TAILQ_FOREACH(a, &d->ages, age)
    {
        if (a->n_users == 0)
            return a;
    }
    return NULL;
}

static void forget(struct dedupe *d, struct dedupe_agent *a)
{
    table_remove(&d->by_key, a->key.bytes, a->key.len);
    TAILQ_REMOVE(&d->ages, a, age);
    TAILQ_REMOVE(&a->host->epochs, a, own);
    a->host->n--;
    drop_empty_host(d, a->host);
    free(a);
}

static void touch(struct dedupe *d, struct dedupe_agent *a, uint64_t stamp)
{
    a->stamp = stamp;
    TAILQ_REMOVE(&d->ages, a, age);
    TAILQ_INSERT_TAIL(&d->ages, a, age);
    TAILQ_REMOVE(&a->host->epochs, a, own);
    TAILQ_INSERT_TAIL(&a->host->epochs, a, own);
}

void dedupe_init(struct dedupe *d, uint64_t seed, size_t max_agents)
{
    memset(d, 0, sizeof *d);
    table_init(&d->by_key, seed);
    table_init(&d->by_host, seed);
    TAILQ_INIT(&d->ages);
    d->max_agents = max_agents ? max_agents : DEDUPE_MAX_AGENTS;
}

void dedupe_deinit(struct dedupe *d)
{
    if (!d->max_agents)
        return;
    for (struct dedupe_agent *a; (a = TAILQ_FIRST(&d->ages));) {
        assert(a->n_users == 0);
        forget(d, a);
    }
    table_deinit(&d->by_key);
    table_deinit(&d->by_host);
    memset(d, 0, sizeof *d);
}

int dedupe_open(struct dedupe *d, const char *host, uint64_t epoch, uint64_t oldest_source_sequence, uint64_t stamp,
                struct dedupe_agent **out_agent, struct dedupe_key *out_evicted)
{
    struct dedupe_key key;
    int rc = make_key(host, epoch, &key);
    if (rc != 0)
        return rc;
    struct dedupe_agent *a = table_get(&d->by_key, key.bytes, key.len), *evicted = NULL;
    if (!a) {
        struct dedupe_host *known = host_of(d, &key);
        bool full = d->by_key.n >= d->max_agents || (known && known->n >= DEDUPE_MAX_EPOCHS);
        if (full && !(evicted = find_victim(d, known)))
            return UV_ENOBUFS;
        rc = add(d, &key, &a);
        if (rc != 0)
            return rc;
        a->taken = a->committed = oldest_source_sequence ? oldest_source_sequence - 1 : 0;
    }
    out_evicted->len = 0;
    if (evicted) {
        *out_evicted = evicted->key;
        forget(d, evicted);
        d->n_evicted++;
    }
    touch(d, a, stamp);
    a->n_users++;
    *out_agent = a;
    return 0;
}

void dedupe_close(struct dedupe_agent *a)
{
    assert(a->n_users > 0);
    a->n_users--;
}

/* ---- the decision */

static enum dedupe_verdict invalid(const char **out_fault, const char *fault)
{
    *out_fault = fault;
    return DEDUPE_INVALID;
}

enum dedupe_verdict dedupe_judge(const struct dedupe_agent *a, uint64_t previous, const struct dedupe_claim *claim,
                                 struct dedupe_hole *out_hole, const char **out_fault)
{
    uint64_t first = claim->sequence, last = claim->sequence;
    if (last == 0)
        return invalid(out_fault, "origin.source_sequence: 0");
    if (last > INT64_MAX)
        return invalid(out_fault, "origin.source_sequence: larger than 2^63 - 1");
    if (last <= previous)
        return invalid(out_fault, "origin.source_sequence: not greater than the one before it");
    if (claim->loss_first || claim->loss_last) {
        if (claim->loss_first == 0 || claim->loss_first > claim->loss_last)
            return invalid(out_fault, "loss: the range of source sequences is empty");
        if (claim->loss_last != last && claim->loss_last != last - 1)
            return invalid(out_fault, "loss: the range does not end at this record's source sequence");
        first = claim->loss_first;
    }
    if (last <= a->taken)
        return DEDUPE_REPEAT;
    if (first <= a->taken + 1)
        return DEDUPE_FRESH;
    *out_hole = (struct dedupe_hole){
        .first = a->taken + 1,
        .last = first - 1,
        .n_missing = first - 1 - a->taken,
    };
    return DEDUPE_HOLE;
}

void dedupe_take(struct dedupe_agent *a, uint64_t sequence)
{
    if (sequence > a->taken)
        a->taken = sequence;
}

void dedupe_commit(struct dedupe *d, struct dedupe_agent *a, uint64_t sequence, uint64_t stamp)
{
    assert(sequence <= a->taken);
    if (sequence > a->committed)
        a->committed = sequence;
    touch(d, a, stamp);
}

void dedupe_rollback(struct dedupe_agent *a)
{
    a->taken = a->committed;
}

/* ---- loading */

int dedupe_load(struct dedupe *d, const void *key, size_t key_len, const void *value, size_t value_len)
{
    const uint8_t *bytes = value;
    struct dedupe_key stored;
    if (key_len <= 8 || key_len > sizeof stored.bytes || value_len != DEDUPE_VALUE_SIZE || bytes[0] != VALUE_VERSION ||
        get_u64(bytes + 1) > INT64_MAX || table_get(&d->by_key, key, key_len))
        return UV_EINVAL;
    if (d->by_key.n >= d->max_agents)
        return UV_ENOBUFS;
    memcpy(stored.bytes, key, key_len);
    stored.len = key_len;
    struct dedupe_agent *a;
    int rc = MUTANT(208) ? 0 : add(d, &stored, &a);
    if (rc != 0 || MUTANT(208))
        return rc;
    a->taken = a->committed = get_u64(bytes + 1);
    a->stamp = get_u64(bytes + 9);
    return 0;
}

static int compare_stamps(const void *left, const void *right)
{
    const struct dedupe_agent *a = *(struct dedupe_agent *const *)left, *b = *(struct dedupe_agent *const *)right;
    return (a->stamp > b->stamp) - (a->stamp < b->stamp);
}

int dedupe_loaded(struct dedupe *d)
{
    size_t n = 0;
    if (d->by_key.n == 0)
        return 0;
    struct dedupe_agent **agents = calloc(d->by_key.n, sizeof *agents), *a;
    if (!agents)
        return UV_ENOMEM;
    TAILQ_FOREACH(a, &d->ages, age)
    agents[n++] = a;
    qsort(agents, n, sizeof *agents, compare_stamps);
    TAILQ_INIT(&d->ages);
    for (size_t i = 0; i < n; i++) {
        TAILQ_INSERT_TAIL(&d->ages, agents[i], age);
        TAILQ_REMOVE(&agents[i]->host->epochs, agents[i], own);
        TAILQ_INSERT_TAIL(&agents[i]->host->epochs, agents[i], own);
    }
    free(agents);
    return 0;
}
