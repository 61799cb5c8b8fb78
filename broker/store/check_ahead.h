/* SPDX-License-Identifier: Apache-2.0 */
/* What a log's write-ahead log (broker/engine/redo.h) holds that its store does not, for who looks at both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/engine/redo.h"

struct check_ahead {
    uint64_t epoch, applied; /* of the store */
    bool must_be;            /* the file: the store was not closed in order */
    /* A transaction, in order. Other than 0 ends it and is returned. */
    int (*on_frame)(void *data, const struct redo_frame *frame);
    /* In words. */
    void (*on_fault)(void *data, const char *reason);
    void *data;
};

/* Returns 0, also with damage; UV_ENOMEM, UV_EIO and others from the file system. A directory without the file is
 * sound unless it must be there. */
int check_ahead(const char *directory, const struct check_ahead *check);
