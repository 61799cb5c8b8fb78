/* SPDX-License-Identifier: Apache-2.0 */
/* A relay spliced under libiscsi's socket, so that every PDU of the connection passes through our hands.
 *
 *     target == TCP == [ tap ] == socket pair == libiscsi, on the file descriptor number it has always had
 *
 * Spliced in when TCP is connected and before login. The rules about PDUs are the inspector's; the tap moves bytes.
 * Each direction holds at most one PDU in its framer and TAP_FULL_BYTES (and what one read brings) for a slow reader;
 * above that it stops reading the other side. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/iscsi/inspector.h"

#define TAP_FULL_BYTES ((size_t)512 * 1024)
/* libiscsi announces MaxRecvDataSegmentLength=262144. */
#define TAP_MAX_DATA_BYTES 262144

enum tap_end {
    TAP_CLOSED,   /* FIN from the target */
    TAP_RESET,    /* socket error; `error` tells which */
    TAP_PROTOCOL, /* framing, digest, sequence or an answer nobody asked for; `text` says what */
};

struct tap_ops {
    struct inspector_events events;
    /* Nothing is relayed any more, what libiscsi was still to get is in its socket as far as it fitted. Comes once. */
    void (*on_end)(void *data, enum tap_end end, int error, const char *text);
};

struct tap;

/* Callbacks come from the loop. `fd` is libiscsi's, connected; nobody may poll it during the call. On failure the
 * connection is as it was. */
int tap_splice(uv_loop_t *loop, int fd, bool prove_target, const struct tap_ops *ops, void *data, struct tap **out_tap);
/* Drops the connection. Frees on a later turn of the loop; no callback comes any more. May be called in a callback. */
void tap_close(struct tap *t);
/* When the target was last heard, in uv_now's time. */
uint64_t tap_heard_ms(const struct tap *t);
