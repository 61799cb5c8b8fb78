/* SPDX-License-Identifier: Apache-2.0 */
/* Buffered output to one file descriptor, with colours where they are wanted and device strings escaped.
 *
 * Nothing is written until writer_flush or until the buffer is full. After a failed write the rest is dropped and
 * `error` keeps why: UV_EPIPE means that the reader went away, which is no failure for a filter in a pipe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define WRITER_BYTES 65536

struct writer {
    int fd;
    bool color;
    int error; /* 0 or the first failure, a negative errno */
    size_t len;
    char buf[WRITER_BYTES];
};

enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
/* Does output on `fd` get colours? AUTO: on a terminal, unless NO_COLOR is set or TERM is "dumb" or missing. */
bool writer_wants_color(enum color_mode mode, int fd);

enum style {
    STYLE_NONE,
    STYLE_DIM,
    STYLE_BOLD,
    STYLE_INFO,
    STYLE_NOTICE,
    STYLE_WARN,
    STYLE_ERROR,
    STYLE_CRIT,
    STYLE_GAP,
};

void writer_init(struct writer *w, int fd, bool color);
void writer_bytes(struct writer *w, const char *bytes, size_t len);
void writer_put(struct writer *w, const char *text);
void writer_format(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text from outside, escaped. */
void writer_escaped(struct writer *w, const char *text);
/* Until the next style; STYLE_NONE ends it. Nothing without colours. */
void writer_style(struct writer *w, enum style style);
/* Returns w->error. Goes on after signals, so that an interrupted program can end what it began to print. */
int writer_flush(struct writer *w);
