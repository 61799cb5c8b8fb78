/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of events in the form the user asked for. Text formats put gaps and warnings on standard error; JSON formats
 * put them there and in the stream, so that a program that reads only the stream misses nothing. */
#pragma once

#include <stdbool.h>

#include "clients/cli/output/event_text.h"
#include "clients/cli/output/objects.h"

struct cli;
struct Sensebus__V1__Position;
struct ProtobufCMessage;

struct presenter {
    struct cli *cli;
    enum format format;
    bool remedy;
    struct objects objects; /* JSON formats */
};

void presenter_begin(struct presenter *p, struct cli *cli, enum format format, bool remedy);
void presenter_event(struct presenter *p, const struct Sensebus__V1__Event *event);
void presenter_gap(struct presenter *p, const struct Sensebus__V1__Gap *gap);
void presenter_warning(struct presenter *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Where the stream stands: {"synced": …} in JSON formats, nothing in text. `name` is a member of EventBatch. */
void presenter_control(struct presenter *p, const char *name, const struct ProtobufCMessage *message);
/* Everything presented so far goes out. Returns 0 or why not, as writer_flush. */
int presenter_flush(struct presenter *p);
/* Complete the output; nothing may follow. Returns 0, or why not everything could be written. */
int presenter_end(struct presenter *p);
