/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's configuration file, YAML through libcyaml. docs/operations.md is its reference.
 *
 * Simple keys are options of the command line by another name: "retain_age" is --retain-age, "tls.key" is --tls-key.
 * They take the same values and are stored by the same table. The rest (lists, limits, principals) is structure that
 * an option cannot say.
 *
 * Nothing is guessed: an unknown key, a wrong shape or a bad value is refused with file, line, key and what would be
 * right. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/access.h"
#include "broker/core/adapter/adapter.h"
#include "broker/core/sdi.h"
#include "broker/service/reader_accounts.h"

#define CONFIG_MAX_BYTES   (1024u * 1024)
#define CONFIG_MAX_LISTENS 16

struct option;
struct config_document; /* the file as libcyaml gives it; texts here and in the options point into it */

struct config {
    char **listen;
    size_t n_listen;
    struct access_rule plaintext; /* of the short form; no roles: it is not there */
    struct access principals;
    struct adapter_limits adapter_limits;
    struct sdi_limits sdi_limits;
    struct reader_limits events_limits;
    struct config_document *document;
};

/* Read the file `path`. Options that it speaks of are stored through `options`; what it does not speak of is left
 * alone. On failure `err` says what is wrong and where; nothing is left in `out`, but options may have been stored.
 * Returns 0, UV_EINVAL, UV_E2BIG, UV_ENOMEM, or what reading the file gave. */
int config_read(const char *path, const struct option *options, size_t n_options, struct config *out, char *err,
                size_t err_len);
/* The same with the file's bytes; `name` stands for it in `err`. */
int config_parse(const char *name, const uint8_t *bytes, size_t len, const struct option *options, size_t n_options,
                 struct config *out, char *err, size_t err_len);
/* Accepts zeroed. */
void config_deinit(struct config *c);
