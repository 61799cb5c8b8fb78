/* SPDX-License-Identifier: Apache-2.0 */
/* SDI handlers of a handle: called in the order in which the broker asks, each verdict sent as soon as it is there. */
#pragma once

#include "sensebus/v1/sdi.pb-c.h"

struct sb;

void handlers_call(struct sb *sb, const Sensebus__V1__HandlerCall *call);
void handlers_deinit(struct sb *sb);
