/* SPDX-License-Identifier: Apache-2.0 */
/* What is known about every device: the fold of all its events.
 *
 * Per path (device_key.h): the newest record of each code, how often it came, the OR of AIX bits, the identity last
 * seen. Invariant: the fold contains exactly the events 1..through, each once; folding an event again changes nothing.
 * So a restart may load devices of different ages and fold the log again from the stored `through` on. Bounded: the
 * devices that were quiet longest are forgotten first, and counted. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/core/status_notes.h"
#include "proto/event_view.h"
#include "runtime/chunk.h"
#include "runtime/table.h"

struct filter;
struct Sensebus__V1__DeviceStatus;
struct Sensebus__V1__GetStatusRequest;
struct Sensebus__V1__GetStatusResponse;

#define STATUS_MAX_DEVICES      131072
#define STATUS_MAX_LAST         32
#define STATUS_MAX_LATE         64
#define STATUS_MAX_BYTES        (256u * 1024 * 1024)      /* of kept records */
#define STATUS_CHECKPOINT_BYTES ((size_t)4 * 1024 * 1024) /* from here on, no further device joins a checkpoint */

/* The newest record of one code. `record` is a log record (12 <length> <Event>), ready to be sent in an EventBatch;
 * chunk_ref it to keep it longer than the next fold. */
struct status_last {
    uint32_t code;
    uint64_t sequence;
    uint64_t count; /* how often so far */
    struct chunk *record;
};

struct status_device {
    char *key; /* terminated */
    size_t key_len;
    bool gone; /* forgotten: only the key is left, until the store has deleted it */
    uint32_t pending_aix_bits;
    uint32_t n_last, cap_last;
    struct status_last *last; /* newest first */
    uint64_t n_events;
    struct chunk *device_record;  /* newest record that carried a Device, or NULL */
    struct chunk *address_record; /* newest record that carried an Address, or NULL */
    size_t bytes;
    uint64_t dirty_since;  /* first sequence that the store lacks; 0 = clean */
    uint64_t flight_since; /* the same for the checkpoint under way; 0 = not in it */
    TAILQ_ENTRY(status_device) age, dirty, flight;
    struct status_late *late; /* what of it waits in status.late, or NULL */
};
TAILQ_HEAD(status_list, status_device);

/* Events in a row of one device and code, of which the newest one's record counts: borrowed until status_settle. */
struct status_late {
    struct status_device *device; /* NULL: it was forgotten meanwhile */
    struct status_note note;      /* of the newest; counts and bits are those of all */
    const uint8_t *event;
    size_t len;
};

/* Records that could not be read, in ranges; the newest one stands for itself, as it may come again. */
struct status_unread {
    uint64_t first, count; /* of those before it; count 0 = none */
    uint64_t newest_first, newest_last;
};

struct status {
    struct table by_key;
    struct status_device **sorted; /* by key */
    size_t n, cap;
    size_t max_devices, max_bytes, bytes;
    uint64_t through;
    uint64_t passed; /* what is behind `through` up to here cannot be read; less than `through`: nothing */
    uint64_t n_evicted;
    size_t n_gone, max_gone;
    struct status_list ages;   /* quiet longest first */
    struct status_list gones;  /* gone longest first; linked by `age` */
    struct status_list dirty;  /* by dirty_since */
    struct status_list flight; /* what the checkpoint under way stores */
    bool in_flight;
    struct status_late late[STATUS_MAX_LATE];
    size_t n_late;
    uint64_t late_through; /* events up to here are folded once these are; 0 = there are none */
    struct status_unread unread;
};

/* `seed`: any random number. 0 for a bound means the default above. */
void status_init(struct status *s, uint64_t seed, size_t max_devices, size_t max_bytes);
/* Accepts zeroed. */
void status_deinit(struct status *s);

/* Fold the next committed event (its sequence is through + 1, or at most through when folding again). The bytes are
 * copied. Returns 0, or UV_ENOMEM with nothing changed: fold it again later. */
int status_fold(struct status *s, const struct event_view *event);
/* The same with what was noted of the event when it was accepted (status_notes.h), and its bytes. */
int status_fold_noted(struct status *s, const struct status_note *note, const uint8_t *event, size_t len);
/* The same, but the bytes are borrowed until status_settle, which must come before anything else is done with `s`: of
 * events that say the same of one device only the newest is copied. After UV_ENOMEM all since the last status_settle
 * are to be folded again later. */
int status_fold_late(struct status *s, const struct status_note *note, const uint8_t *event, size_t len);
int status_settle(struct status *s);
/* Everything through `sequence` was folded or cannot be read, which nobody needs to try again. `through` stays: who
 * reads on behind it hears what is missing. */
void status_caught_up(struct status *s, uint64_t sequence);
/* Where there may be more to fold: everything through this one is done with. */
uint64_t status_done(const struct status *s);

/* The events first..last, which come next, cannot be read: the fold is without them. Ranges come in order; one may come
 * again as long as nothing behind it is folded. */
void status_pass_over(struct status *s, uint64_t first, uint64_t last);
/* How many events of 1..through the fold was without since status_init, and the first of them; 0 = none. */
uint64_t status_passed_over(const struct status *s, uint64_t *out_first);

const struct status_device *status_find(const struct status *s, const char *key, size_t key_len);
/* Devices by key: index of the first one behind `after` ("" = all); status_at gives NULL at the end. */
size_t status_seek(const struct status *s, const char *after);
const struct status_device *status_at(const struct status *s, size_t i);
/* Does a kept record of the device match? NULL matches. */
bool status_matches(const struct status_device *device, const struct filter *filter);

/* The event in a kept record; its texts live as long as the record. */
bool status_scan(const struct chunk *record, struct event_view *out_view);

/* As a message of its own; free with sensebus__v1__device_status__free_unpacked. Returns 0 or UV_ENOMEM. */
int status_message(const struct status_device *device, struct Sensebus__V1__DeviceStatus **out_message);
/* A page of devices that match: position {log_epoch, through}, devices, token of the next page. A page also ends at
 * about 1 MiB, so that stock clients can take it. Free with sensebus__v1__get_status_response__free_unpacked. Returns
 * 0, UV_EINVAL with `err` (page_size), or UV_ENOMEM. */
int status_page(const struct status *s, const struct Sensebus__V1__GetStatusRequest *request,
                const struct filter *filter, uint64_t log_epoch, struct Sensebus__V1__GetStatusResponse **out_response,
                char *err, size_t err_len);

/* Checkpoints. status_checkpoint_begin picks at most `max` devices (and not much more than
 * STATUS_CHECKPOINT_BYTES of them) that changed, longest ago first, into s->flight
 * (linked by `flight`). Before the next fold, take status_encode's bytes of each to store under its key; of a `gone`
 * one delete the key (it may not be there). Once these and *out_through are in one commit call
 * status_checkpoint_end(true): a restart then loads the devices and folds the log from out_through + 1.
 * status_checkpoint_end(false) when the commit failed: they count as changed again. One checkpoint at a time. Returns
 * how many devices there are to store; with 0, out_through may still have moved. */
size_t status_checkpoint_begin(struct status *s, size_t max, uint64_t *out_through);
void status_checkpoint_end(struct status *s, bool committed);

/* Bytes of the stored form, and the form. */
size_t status_encoded_size(const struct status_device *device);
void status_encode(const struct status_device *device, uint8_t *out);
/* Fill a device that is empty but for its key. Returns 0, UV_EINVAL (damaged) or UV_ENOMEM, and then what it has filled
 * is the caller's to free all the same. */
int status_decode(struct status_device *device, const void *bytes, size_t len);
/* Add a stored device, at start, before any fold; status_loaded ends loading and sets `through`. Returns 0, UV_EINVAL
 * (damaged: leave it out, the fold starts it anew), UV_EEXIST, UV_ENOMEM. */
int status_load(struct status *s, const char *key, size_t key_len, const void *bytes, size_t len);
int status_loaded(struct status *s, uint64_t through);
