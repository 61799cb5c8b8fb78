/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for one initiator port: unit attention conditions by the rules of SAM-5 5.14, and sense that a test wants
 * to see on the next command. Pure.
 *
 * Per logical unit, in the order in which they came; each is told once. At most ATTENTION_MAX a unit: what comes to a
 * full queue makes room by dropping everything there and leaving POWER ON, RESET, OR BUS DEVICE RESET OCCURRED, which
 * tells the initiator that it knows nothing any more. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTENTION_MAX 32

struct attention {
    struct attention *next;
    uint16_t lun;
    bool unit_attention; /* false: sense of a test, of any form */
    uint16_t asc;        /* of a unit attention */
    uint16_t len;
    uint8_t sense[];
};

/* Zeroed is valid and empty. */
struct attention_list {
    struct attention *first;
};

void attention_deinit(struct attention_list *list);
/* Establish a unit attention. One that waits already is not queued twice; one of the reset family (29h) is put in the
 * place of the other unit attentions; one of its family that waits already and says more (a lower qualifier) stays
 * instead. Returns 0 or UV_ENOMEM. */
int attention_establish(struct attention_list *list, uint16_t lun, uint16_t asc);
/* Any sense, for the next command. Returns 0, UV_ENOBUFS when ATTENTION_MAX wait, or UV_ENOMEM. */
int attention_script(struct attention_list *list, uint16_t lun, const uint8_t *sense, size_t len);
/* What is to be told next on this unit: the caller frees it. NULL when there is nothing. `only_attention` leaves what a
 * test has scripted where it is. */
struct attention *attention_take(struct attention_list *list, uint16_t lun, bool only_attention);
/* REPORT LUNS clears "reported LUNs data has changed" on all units. */
void attention_clear_code(struct attention_list *list, uint16_t asc);
void attention_clear_lun(struct attention_list *list, uint16_t lun);
size_t attention_count(const struct attention_list *list);
