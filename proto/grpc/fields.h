/* SPDX-License-Identifier: Apache-2.0 */
/* A header list to submit to nghttp2: fields of the protocol first, behind them the owner's metadata.
 *
 * Invariant: all texts are borrowed, from the caller or from the list itself, until the list is submitted: nghttp2
 * copies them. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/grpc/headers.h"

enum {
    FIELDS_FIXED = 12,             /* no request or response of ours has more fields of the protocol */
    FIELDS_MESSAGE_MAX = 1024,     /* of grpc-message, encoded; longer ones are cut */
    FIELDS_BLOCK_BYTES = 64 * 1024 /* more than the protocol's fields ever come to */
};

struct fields {
    nghttp2_nv *list;
    size_t n;
    nghttp2_nv fixed[FIELDS_FIXED];
    nghttp2_nv *longer; /* NULL: there is no metadata */
    char number[12];
    char message[FIELDS_MESSAGE_MAX];
};

void fields_init(struct fields *f);
void fields_deinit(struct fields *f);
void fields_add(struct fields *f, const char *name, const char *value);
/* What every gRPC response begins with. */
void fields_add_response(struct fields *f);
/* grpc-status, and grpc-message unless that is NULL. */
void fields_add_status(struct fields *f, int status, const char *message);
/* The last to be added. False when memory is out. */
bool fields_add_metadata(struct fields *f, const struct headers *metadata);
