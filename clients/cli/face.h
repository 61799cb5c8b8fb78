/* SPDX-License-Identifier: Apache-2.0 */
/* What commands on the originals' operations share: which device, a handle of libsensebus with a session on it, and the
 * exit code of a failure. Messages about failures are printed here; callers pass the exit code on. */
#pragma once

#include <stdbool.h>

#include "clients/c/sensebus.h"
#include "clients/cli/query/device.h"

struct cli;
struct option;

/* The device of the operand ("HOST:TARGET[:LUN]", "HOST:H:C:T:L") or of the options. Points into itself: not to be
 * copied. */
struct chosen_device {
    struct device device;
    struct sb_address address;
    const char *session; /* the device was not named: this session is meant */
};
/* The command line of a command on one device: its own options, then those that name the device, then the common ones.
 * Exactly one of operand, options and --session names it. Returns -1 to go on, else the exit code. */
int face_parse(struct cli *cli, const char *usage, const struct option *own, size_t n_own, int argc, char **argv,
               struct chosen_device *out);
/* The address of an operand alone. Returns -1, or the exit code. */
int face_address(struct cli *cli, const char *operand, struct chosen_device *out);

struct face {
    struct cli *cli;
    struct sb *sb;
};
/* Connect. Returns EXIT_OK, or the exit code. face_close in any case. */
int face_open(struct face *f, struct cli *cli);
/* A session of the device, opened with `flags` (SB_SHARED) for as long as the handle lives, or the one that was named.
 * EXIT_OK, or the exit code. */
int face_session(struct face *f, const struct chosen_device *chosen, unsigned flags, char session[SB_SESSION_BYTES]);
/* The operation `what` has failed: say so. Returns the exit code. */
int face_failed(struct face *f, const char *what);
/* NULL-safe, and accepts what was not opened. */
void face_close(struct face *f);
