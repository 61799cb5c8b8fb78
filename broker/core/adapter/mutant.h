/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of this folder that tests and the simulator's checker must find (broker/core/mutant.h).
 *
 *    1  the slot of a registration is not freed when the agent refuses
 *    2  a second registration is accepted and takes the place of the first
 *    3  a record for a session that is gone goes to its place's sessions of today (stale)
 *    4  pending bits are overwritten instead of OR-ed
 *    5  a peek at the pending word clears it
 *    6  the correlator ends at its first NUL
 *    7  an empty correlator becomes an absent one
 *    8  coalescing drops the OR of the bits
 *    9  a record overtakes the one queued before it
 *   10  the reply of RESET does not wait for its record
 *   11  a wait is forgotten when its session closes
 *   12  the owner of a session is not checked
 *   13  a registration survives the loss of its agent
 *   14  the last record, REGISTRATION_CANCELLED, is missing
 *   15  a record of one unit reaches all units of the target
 *   16  two exclusive STARTs of one place race: the place counts as taken only when the first is answered
 *   17  commands without resume pass while halted
 *   18  a record from before the registration is delivered
 *   19  target-mode records reach initiator sessions
 *   20  the registration that ended with its stream may be made again
 *   21  records that coalesced are counted as one
 *   22  a timed-out START leaves the session open at the agent */
#pragma once

#include "broker/core/mutant.h"
