/* SPDX-License-Identifier: Apache-2.0 */
/* The agents as the broker knows them, and the devices they watch.
 *
 * Invariant: at most one stream is attached per host. What an agent said last stays listed after it went, with the
 * state it went in. Bounded: the agent that has been gone longest is forgotten first. Pure: times are arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/capabilities.h"

struct Sensebus__V1__Hello;
struct Sensebus__V1__Coverage;
struct Sensebus__V1__Inventory;
struct Sensebus__V1__Heartbeat;
struct Sensebus__V1__ListAgentsRequest;
struct Sensebus__V1__ListAgentsResponse;
struct Sensebus__V1__ListDevicesRequest;
struct Sensebus__V1__ListDevicesResponse;

#define DIRECTORY_MAX_AGENTS        10000
#define DIRECTORY_MAX_AGENT_DEVICES 65536
#define DIRECTORY_MAX_DEVICES       262144                      /* of all agents */
#define DIRECTORY_MAX_BYTES         ((size_t)256 * 1024 * 1024) /* what all agents said, encoded */
#define DIRECTORY_MAX_SAID_BYTES    ((size_t)1024 * 1024)       /* of one Coverage or Heartbeat: lists must hold it */
#define DIRECTORY_MAX_DEVICE_BYTES  ((size_t)64 * 1024)         /* of one device of an Inventory, for the same reason */
#define DIRECTORY_MAX_HOST          253
#define DIRECTORY_MAX_TEXT          128 /* boot id, version, peer */
#define DIRECTORY_MAX_SOURCES       4096
#define DIRECTORY_MAX_COMMANDS      64

enum directory_state { DIRECTORY_ATTACHED = 1, DIRECTORY_DETACHED, DIRECTORY_LOST }; /* as enum AgentState */

struct directory_blob {
    uint8_t *bytes;
    size_t len;
};

struct directory_device {
    char *key;                     /* device_key.h; where a host has several ways to it, the way behind that */
    struct directory_blob message; /* InventoryDevice */
    int32_t bus, target;           /* of its address, to be found by number; -1 without */
    int64_t lun;
};

struct directory_agent {
    char host[DIRECTORY_MAX_HOST + 1];
    char boot_id[DIRECTORY_MAX_TEXT + 1];
    char version[DIRECTORY_MAX_TEXT + 1];
    char peer[DIRECTORY_MAX_TEXT + 1];
    enum directory_state state;
    uint64_t since_unix_ns; /* of the state */
    uint64_t agent_epoch, instance;
    void *stream; /* the caller's; NULL when not attached */
    /* Counters that the caller keeps up to date; they start at 0 with the broker and go on over re-attachments. */
    uint64_t committed_source_sequence;
    uint64_t newest_source_sequence;
    uint64_t last_event_unix_ns;
    uint64_t last_heard_unix_ns;
    uint64_t n_events, n_duplicates, n_refused, n_dropped;
    /* What it said last. */
    struct directory_blob coverage;   /* Coverage */
    struct directory_blob heartbeat;  /* Heartbeat */
    struct directory_device *devices; /* by key */
    size_t n_devices;
    bool has_told_devices;        /* since it attached; before that they are of the time before */
    struct capabilities adapters; /* what it can do when asked: of Hello, or of an Inventory since */
    size_t bytes;                 /* of all that */
};

struct directory {
    struct directory_agent **agents; /* by host */
    size_t n, cap;
    size_t max_agents, max_devices, max_bytes;
    size_t n_attached, n_devices, bytes;
    uint64_t n_forgotten;
    char last_forgotten[DIRECTORY_MAX_HOST + 1]; /* host; an attach forgets at most one */
};

/* Bounds of 0 mean the defaults above. */
void directory_init(struct directory *d, size_t max_agents, size_t max_devices, size_t max_bytes);
void directory_deinit(struct directory *d);

/* Is the Hello well formed? Version 1, host 1..253 of [A-Za-z0-9._-], epoch and instance not 0, texts within bounds and
 * UTF-8, oldest <= newest + 1, adapters as capabilities_check wants them. Returns 0, or UV_EINVAL (UV_ENOMEM) with
 * `err` naming the member. */
int directory_check_hello(const struct Sensebus__V1__Hello *hello, char *err, size_t err_len);

enum directory_verdict {
    DIRECTORY_ACCEPT,
    DIRECTORY_REPLACE, /* the same agent process came again: its old stream (*out_old_stream) is superseded, end it
                          quietly */
    DIRECTORY_REFUSE, /* another agent of this host is attached: `err` names its peer and since when (ALREADY_EXISTS) */
    DIRECTORY_FULL,   /* every one of the max_agents is attached, or they say too much (RESOURCE_EXHAUSTED) */
    DIRECTORY_NO_MEMORY,
};
/* A checked Hello arrived from `peer` on `stream` (not NULL). On ACCEPT and REPLACE the agent is attached with
 * `stream`. */
enum directory_verdict directory_attach(struct directory *d, const struct Sensebus__V1__Hello *hello, const char *peer,
                                        void *stream, uint64_t now_unix_ns, struct directory_agent **out_agent,
                                        void **out_old_stream, char *err, size_t err_len);
/* The agent's stream ended: in order (DETACHED) or without a word (LOST). Ignored when `stream` is not the attached one
 * any more; returns true when the state changed. The agent may be forgotten at the next attach: do not keep the
 * pointer. */
bool directory_leave(struct directory *d, struct directory_agent *a, const void *stream, bool in_order,
                     uint64_t now_unix_ns);
/* Index in `agents` of the first one whose host is not less than `host`. */
size_t directory_seek(const struct directory *d, const char *host);
struct directory_agent *directory_find(const struct directory *d, const char *host);

/* The agent said something; it is copied and replaces what it said before. Returns 0; UV_EINVAL with `err` naming what
 * is wrong (nothing changed); UV_ENOBUFS with `err` naming the bound (nothing changed); UV_ENOMEM. */
int directory_coverage(struct directory *d, struct directory_agent *a, const struct Sensebus__V1__Coverage *message,
                       char *err, size_t err_len);
/* Of two devices with the same path, and on the same adapter, bus and target where the host's kernel has it, the later
 * one counts. Adapters replace those of Hello when there are any. */
int directory_inventory(struct directory *d, struct directory_agent *a, const struct Sensebus__V1__Inventory *message,
                        char *err, size_t err_len);
/* Also sets newest_source_sequence, n_dropped and last_heard_unix_ns. */
int directory_heartbeat(struct directory *d, struct directory_agent *a, const struct Sensebus__V1__Heartbeat *message,
                        uint64_t now_unix_ns, char *err, size_t err_len);

/* Is this the key of a device on the path `path` (device_key.h)? */
bool directory_is_on_path(const char *key, const char *path);

/* A page in name order. Free with ..._response__free_unpacked(response, NULL). Returns 0, UV_EINVAL with `err`
 * (page_size over 10,000), UV_ENOMEM. */
int directory_list_agents(const struct directory *d, const struct Sensebus__V1__ListAgentsRequest *request,
                          struct Sensebus__V1__ListAgentsResponse **out_response, char *err, size_t err_len);
int directory_list_devices(const struct directory *d, const struct Sensebus__V1__ListDevicesRequest *request,
                           struct Sensebus__V1__ListDevicesResponse **out_response, char *err, size_t err_len);
