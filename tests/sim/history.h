/* SPDX-License-Identifier: Apache-2.0 */
/* What went into the broker's rules and what came out, in order: all that the checker may look at. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum history_kind {
    /* in */
    HISTORY_OPEN,       /* stream, text = principal, a = roles */
    HISTORY_CLOSE,      /* stream */
    HISTORY_REQUEST,    /* stream, bytes = AdapterRequest, a = newest sequence of the log, b = was its place good */
    HISTORY_RESULT,     /* text = host, bytes = OperationResult, a = newest sequence of the log, b = after sequence */
    HISTORY_AGENT_GONE, /* text = host */
    HISTORY_RECORD,     /* bytes = Event with the broker's fields */
    HISTORY_DELIVERED,  /* a = sequence */
    HISTORY_TICK,
    HISTORY_BLOCKED,     /* stream */
    HISTORY_WRITABLE,    /* stream */
    HISTORY_END_SESSION, /* text = session id */
    HISTORY_STOP,
    /* out */
    HISTORY_SEND,    /* stream, bytes = AdapterReply */
    HISTORY_FORWARD, /* text = host, bytes = Operation */
};

struct history_entry {
    enum history_kind kind;
    uint64_t now_ns;
    uint32_t stream; /* 1, 2, 3 …: never used twice */
    uint64_t a, b;
    char text[64];
    uint8_t *bytes;
    size_t len;
};

struct history {
    struct history_entry *entries;
    size_t n, cap;
};

/* `bytes` are copied; `text` may be NULL. */
struct history_entry *history_add(struct history *h, enum history_kind kind, uint64_t now_ns, uint32_t stream,
                                  const char *text, const void *bytes, size_t len);
void history_free(struct history *h);
/* For people: one line an entry. */
void history_print(const struct history *h);
