/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of an observation in one piece of memory: what merge.h holds of it while its event is open. */
#pragma once

#include <stddef.h>

#include "agent/source/observation.h"

struct piece {
    struct observation seen; /* all that it points to lies behind it */
    size_t bytes;            /* of all of it */
    char text[];
};

/* At most RECORD_MAX_RAW and RECORD_MAX_SENSE bytes are kept; native.raw_len stays the full length. NULL when there is
 * no memory. free() it. */
struct piece *piece_new(const struct observation *o);
