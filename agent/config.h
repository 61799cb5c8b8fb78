/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's configuration: command line, environment, and what follows from the host. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/chap.h"
#include "agent/record.h"
#include "agent/target_url.h"
#include "clients/c/broker_address.h"
#include "runtime/log.h"
#include "runtime/options.h"
#include "runtime/tls.h"

struct config {
    const char *broker; /* complete and checked */
    char broker_address[BROKER_ADDRESS_BYTES];
    bool insecure;
    struct tls_files tls_files; /* of a tls:// broker */
    const char *server_name;
    struct tls_context *tls; /* NULL: plaintext */
    struct option_list target_texts, discover_texts;
    struct target_url *targets;
    size_t n_targets;
    char (*discover)[TARGET_PORTAL_BYTES];
    size_t n_discover;
    const char *initiator_text;
    char initiator_name[TARGET_NAME_BYTES];
    const char *chap_path;
    struct chap_list chap;
    bool header_digest;
    const char *host_text;
    char host[RECORD_HOST_BYTES];
    char boot_id[RECORD_BOOT_ID_BYTES];
    const char *state_directory;
    uint64_t spool_max_bytes, spool_max_records;
    uint64_t poll_ms, jitter_ms, compare_ms, command_timeout_ms, discover_interval_ms;
    bool diagnostics;
    struct option_list allow_texts;
    bool allow_reset;                                 /* of devices of the host's own kernel */
    const char *tgtd_socket, *lio_root, *target_feed; /* NULL = off; the feed without "unix:" */
    uint64_t target_poll_ms;
    struct option_list source_texts;
    uint32_t sources_off; /* as sources_options.off */
    const char *sysfs_root;
    uint64_t source_poll_ms, merge_window_ms;
    bool check; /* say what can be watched, and end */
    const char *log_level_text;
    enum log_level log_level;
    bool version;
};

enum config_result { CONFIG_RUN, CONFIG_DONE, CONFIG_ERROR };

/* Read everything; --help and --version print and give CONFIG_DONE. Makes the state directory, and an initiator name
 * in it when the host has none; not when it only is to `check`. On CONFIG_ERROR `err` says what is wrong. */
enum config_result config_read(struct config *c, int argc, char **argv, char *err, size_t err_len);
void config_free(struct config *c);
