/* SPDX-License-Identifier: Apache-2.0 */
/* What the trace hooks saw, parsed, judged and put into words.
 *
 * Whatever the bytes are, nothing outside of them is read. Pure: times are arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"
#include "agent/source/trace/wire.h"

#define TRACE_DETAIL_BYTES 640

/* Of TRACE_ANSWER: who asked, and what served. Valid UTF-8 without control characters; "" where the hook does not tell.
 */
struct trace_nexus {
    char initiator[TRACE_NAME_BYTES], target[TRACE_NAME_BYTES];
    char group[TRACE_LABEL_BYTES];         /* the target portal group: "tpgt_1" */
    char backstore[2 * TRACE_LABEL_BYTES]; /* "fileio_0/d0" */
};

struct trace_record {
    enum trace_kind kind;
    uint64_t mono_ns; /* CLOCK_MONOTONIC of the host */
    struct observation_place place;
    int32_t result;           /* of TRACE_DONE: SAM status | host byte << 16 */
    int32_t retries, allowed; /* -1 when the hook does not tell */
    uint8_t state_from, state_to;
    uint8_t cdb[TRACE_CDB_BYTES];
    uint8_t cdb_len;
    uint8_t sense[TRACE_SENSE_BYTES]; /* as long as it says that it is; 0 = the hook saw none */
    uint8_t sense_len;
    bool has_key; /* the hook tells these three in place of the bytes (tracefs, since Linux 6.5) */
    uint8_t key, asc, ascq;
    struct trace_nexus nexus;
};

/* One struct trace_wire. Returns 0, or UV_EINVAL for what is none. */
int trace_parse(const uint8_t *bytes, size_t len, struct trace_record *out);
/* One struct trace_answer_wire; likewise. */
int trace_parse_answer(const uint8_t *bytes, size_t len, struct trace_record *out);
/* A name as the kernel tells it, which needs no NUL, into one of the texts of a nexus. */
void trace_name(const char *bytes, size_t len, char *out, size_t cap);
/* Length of the CDB that begins so (SPC-4 section 4.2.5.1: it is in the group of the operation code), at most `len`. */
uint8_t trace_cdb_length(const uint8_t *cdb, uint8_t len);

enum trace_verdict {
    TRACE_NOISE,    /* happens on every healthy host: counted, and forgotten */
    TRACE_EVIDENCE, /* no event by itself */
    TRACE_EVENT,    /* `code` says which */
};

struct trace_judgement {
    enum trace_verdict verdict;
    uint32_t code; /* enum Code of TRACE_EVENT, else 0 */
    bool at_once;  /* each one counts and may have partners elsewhere (unit attentions, states): never held back */
    bool state;    /* "not ready": every command is told the same as long as it lasts */
};
struct trace_judgement trace_judge(const struct trace_record *r);

/* Key and additional sense code, of the bytes or as told. False when there are none. */
bool trace_sense_key(const struct trace_record *r, uint8_t *out_key, uint8_t *out_asc, uint8_t *out_ascq);

/* The observation of `count` equal records, borrowing from `r` and `detail`. Its times are the caller's to fill. */
void trace_observe(const struct trace_record *r, uint32_t code, uint32_t count, char detail[TRACE_DETAIL_BYTES],
                   struct observation *out);
