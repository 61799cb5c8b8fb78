/* SPDX-License-Identifier: Apache-2.0 */
/* What a source of target mode tells each time it looked. */
#pragma once

#include <stdbool.h>

struct snapshot;

struct source_ops {
    /* It looked. The receiver takes the contents of the (finished) snapshot and leaves it empty. */
    void (*on_snapshot)(void *data, struct snapshot *snapshot);
    /* It could not look, told each time. `gone`: nobody serves targets there, so every session with them is over. */
    void (*on_failed)(void *data, bool gone, const char *reason);
};
