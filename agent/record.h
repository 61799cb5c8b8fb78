/* SPDX-License-Identifier: Apache-2.0 */
/* Event records: what a source saw, turned into an encoded Event of event.proto.
 *
 * A record is encoded without its origin; the spool adds that when it sends, because only the spool knows sequence and
 * epoch. Native evidence is kept untouched; text is valid UTF-8 whatever the device sent. Pure: times are arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity;

#define RECORD_MAX_EVIDENCE  16
#define RECORD_MAX_RAW       4096
#define RECORD_MAX_SENSE     252 /* MESSAGE_MAX_SENSE */
#define RECORD_SUMMARY_BYTES 257 /* 256 and the terminator */
#define RECORD_HOST_BYTES    254
#define RECORD_BOOT_ID_BYTES 40

/* What the host's own kernel knows of a place. */
struct record_kernel {
    uint32_t transport; /* enum Transport, 0 = not known */
    int32_t bus;        /* channel, -1 if the place has none */
    uint64_t lun_raw;   /* as on the wire, 0 if the place has none */
    const char *const *names;
    size_t n_names;
};

/* Where it happened. */
struct record_place {
    const char *adapter;                /* "iscsi0", "host3" */
    int32_t controller;                 /* number of the adapter */
    int32_t target;                     /* alias that the agent assigned, -1 if none */
    int64_t lun;                        /* -1 when the scope is wider than a unit */
    const char *target_name, *portal;   /* NULL when not known */
    const struct identity *identity;    /* of the unit, NULL when not known */
    const struct record_kernel *kernel; /* NULL: a session of the agent's own, which is iSCSI and has no bus */
    const char *initiator;              /* whom a served unit told it, NULL else: storm control keeps them apart. It is
                                           not in the record but in its words */
};

/* The reporter's own words. */
struct record_native {
    const char *name;
    uint32_t code, subcode;
    const uint8_t *raw;
    size_t raw_len; /* cut at RECORD_MAX_RAW in the record, which keeps the full length beside it */
    uint32_t parameters[3];
    size_t n_parameters;
    const char *detail; /* NULL or words; made valid UTF-8 */
};

/* What EVENTS_LOST says beside its code. */
struct record_gap {
    uint32_t stage; /* enum LossStage */
    uint64_t count;
    bool at_least;     /* more may be missing than `count` */
    uint32_t aix_bits; /* OR of those of what is missing */
    const char *reason;
};

struct record {
    uint32_t code;   /* enum Code */
    uint32_t source; /* enum Source */
    uint32_t scope;  /* enum Scope; 0 = the code's default */
    uint32_t mode;   /* enum Mode; 0 = INITIATOR */
    struct record_place place;
    uint64_t wall_ns, boot_ns;
    struct record_native native;
    const struct record_native *evidence; /* more that said the same, at most RECORD_MAX_EVIDENCE are kept */
    size_t n_evidence;
    const uint8_t *sense; /* NULL when there is none */
    size_t sense_len;
    bool synthetic;
    bool prompt;                  /* the reporter's own finding, which paces itself: storm control never holds it */
    const char *session_id;       /* of the Adapter face, when the record is for this session alone; else NULL */
    const char *origin_session;   /* of the Adapter face, which asked for what happened; else NULL */
    uint64_t count;               /* 0 and 1: one */
    uint64_t first_wall_ns;       /* of the first, when count > 1 */
    uint32_t more_bits;           /* AIX bits beside those of the code */
    const struct record_gap *gap; /* of EVENTS_LOST, else NULL */
};

/* Fill the native part from sense data: name, key, ASC and ASCQ. `opcode` of the command it answered, -1 unknown.
 * `detail` holds the words and must outlive the record. */
void record_native_sense(struct record_native *n, const uint8_t *sense, size_t len, int opcode, char *detail,
                         size_t detail_len);

/* An encoded Event without origin. */
struct record_bytes {
    uint8_t *bytes; /* malloc'd; the caller frees */
    size_t len;
    uint32_t aix_bits;
};
/* Returns 0 or UV_ENOMEM; then *out has no bytes, but the AIX bits. The code must be one of the registry. */
int record_encode(const struct record *r, struct record_bytes *out);

/* EVENTS_LOST of the agent's spool (stage AGENT). Count is exactly last - first + 1: each sequence is one event. */
struct record_loss {
    uint64_t first, last; /* source sequences */
    uint32_t aix_bits;
    uint64_t wall_ns, boot_ns; /* of the latest loss */
    const char *reason;
};
int record_encode_loss(const struct record_loss *loss, struct record_bytes *out);

/* Who reports, and the place of one record in its numbering. */
struct record_origin {
    const char *host;
    const char *boot_id; /* of the boot in which it happened */
    uint64_t epoch;
    uint32_t source; /* enum Source */
    uint64_t sequence;
};
/* Bytes of one element of Publish.events: prefix, the Event's bytes, its origin. `out` NULL only counts. */
size_t record_element_write(uint8_t *out, const uint8_t *event, size_t len, const struct record_origin *origin);
