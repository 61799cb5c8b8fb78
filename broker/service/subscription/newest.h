/* SPDX-License-Identifier: Apache-2.0 */
/* Where do the newest N records that match begin? Looked for backwards, one stored value after another, in turns; the
 * stream opens when it is known. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct subscription;

/* Begin to look for the newest `n`; the stream opens at once when every record matches. */
void newest_start(struct subscription *s, uint64_t n);
/* Look at one stored value further back. Returns the bytes looked at. */
size_t newest_step(struct subscription *s);
