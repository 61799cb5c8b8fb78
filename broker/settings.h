/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator wants: options of the command line, before environment variables, before the configuration file,
 * before the defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config.h"
#include "broker/core/access.h"
#include "broker/service/broker.h"
#include "runtime/options.h"
#include "runtime/tls.h"

struct settings {
    const char *config_path; /* NULL: no file */
    struct option_list listen, plaintext_hosts;
    const char *data, *durability, *log_level, *port_file, *plaintext_roles;
    struct tls_files tls;
    bool insecure, version, check_config;
    uint64_t log_max_bytes, retain_bytes, retain_age_ms, retain_records;
    uint64_t checkpoint_ms, agent_grace_ms, heartbeat_ms, drain_grace_ms;
    struct config config; /* of the file */
    struct access access; /* of file and options together */
};

enum settings_result {
    SETTINGS_RUN,
    SETTINGS_DONE,  /* help, version, a configuration that was only to be checked: printed */
    SETTINGS_WRONG, /* `err` says what */
};

/* `s` needs no initialisation, and is deinitialised by the caller whatever the result; texts of argv are borrowed. */
enum settings_result settings_read(struct settings *s, int argc, char **argv, char *err, size_t err_len);
void settings_deinit(struct settings *s);

/* For broker_start; points into `s`. */
struct broker_options settings_broker_options(const struct settings *s);
