/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the broker, one after the other: for commands that ask and print. Messages about failures are printed
 * here; callers pass the exit code on. */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct cli;
struct link;
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

struct broker {
    struct cli *cli;
    uv_loop_t loop;
    struct link *link;
    bool has_loop, up, down;
    char reason[256]; /* why down */
};

/* Returns EXIT_OK, or what went wrong. broker_close in any case. */
int broker_connect(struct broker *b, struct cli *cli);
/* Like broker_connect, without a word when it fails: `reason` says why. */
int broker_try(struct broker *b, struct cli *cli);
/* Ask and wait for the answer; on EXIT_OK the caller frees *out_reply with message_free. */
int broker_ask(struct broker *b, const char *path, const struct ProtobufCMessage *request,
               const struct ProtobufCMessageDescriptor *reply_type, struct ProtobufCMessage **out_reply);
void broker_close(struct broker *b);
