/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch tells of itself: events of its session, and its health. Told once: a state that goes on is no news.
 * watch_report and watch_judge_health of watch.h are here, too. */
#pragma once

#include <stdint.h>

#include "agent/watch.h"

/* An event of the session, by the registry's code. */
void watch_report_session(struct watch *w, uint32_t code, const struct record_native *native);
/* A login that failed: news only when it failed differently the last time at this portal. That a lost target cannot be
 * reached is what NEXUS_LOST said. */
void watch_report_failure(struct watch *w, const struct iscsi_session_fate *fate, const char *detail);
void watch_report_loss(struct watch *w, const struct iscsi_session_fate *fate, const char *detail);
void watch_report_stopped(struct watch *w, const char *detail);
/* `reason` is copied. */
void watch_set_health(struct watch *w, enum watch_health health, const char *reason);
