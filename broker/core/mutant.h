/* SPDX-License-Identifier: Apache-2.0 */
/* Faults put in on purpose, to see that the tests find them: MUTANT(n) is true when fault n is switched on.
 *
 * Only builds with SENSEBUS_MUTATIONS have them, and define `sensebus_mutation`; in everything that ships MUTANT(n) is
 * 0 and leaves no code. A mutant that no test kills is a missing test (tests/unit/broker/core/mutants.py; of delivery:
 * tests/fault/storm.sh --mutants).
 *
 *    1..99   sessions: broker/core/adapter/mutant.h
 *  101  handlers of a principal have no bound
 *  102  whose handler it is is not asked when it is removed
 *  103  a pattern's bus is not compared
 *  104  a pattern's inquiry is not compared
 *  105  handlers for any device type come last, whenever they were added
 *  106  nobody is called after a call that was lost
 *  107  anybody may send the broker's own events
 *  108  a verdict is taken from a stream that was not called
 *  109  a verdict ERR counts as OK
 *  110  a stream that ends does not fail its calls
 *  111  a late verdict does not fail its call
 *
 *  201  an event is acknowledged before it is on disk
 *  202  a commit that failed counts as done: acknowledged, and delivered
 *  203  after a start the newest sequence is given away again
 *  204  LIVE skips and does not tell
 *  205  the index of filters is stale: from some match on its hits are forgotten
 *  206  a position is resumed one record too early
 *  207  a cursor is stored ahead of what was acknowledged
 *  208  what agents sent before a restart is forgotten
 *  209  a Mark is one ahead of what was sent
 *  210  the gap of a LIVE reader counts one too many
 *  211  records that were trimmed are passed over in silence
 *  212  a snapshot leaves out a device's newest record
 *  213  a record is lost where one stored value ends and the next begins */
#pragma once

#ifdef SENSEBUS_MUTATIONS
extern int sensebus_mutation; /* 0 = none */
#define MUTANT(n) (sensebus_mutation == (n))
#else
#define MUTANT(n) 0
#endif
