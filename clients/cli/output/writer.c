/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/writer.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/output/escape.h"

bool writer_wants_color(enum color_mode mode, int fd)
{
    if (mode != COLOR_AUTO)
        return mode == COLOR_ALWAYS;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color && *no_color)
        return false;
    if (!term || !*term || strcmp(term, "dumb") == 0)
        return false;
    return isatty(fd) == 1;
}

void writer_init(struct writer *w, int fd, bool color)
{
    w->fd = fd;
    w->color = color;
    w->error = 0;
    w->len = 0;
}

int writer_flush(struct writer *w)
{
    size_t done = 0;
    while (done < w->len && w->error == 0) {
        ssize_t n = write(w->fd, w->buf + done, w->len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            /* Whoever shares this descriptor made it non-blocking. */
            struct pollfd ready = {.fd = w->fd, .events = POLLOUT};
            (void)poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            w->error = -errno;
        }
    }
    w->len = 0;
    return w->error;
}

void writer_bytes(struct writer *w, const char *bytes, size_t len)
{
    while (len > 0 && w->error == 0) {
        size_t room = sizeof w->buf - w->len, n = len < room ? len : room;
        memcpy(w->buf + w->len, bytes, n);
        w->len += n;
        bytes += n;
        len -= n;
        if (w->len == sizeof w->buf)
            writer_flush(w);
    }
}

void writer_put(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

void writer_format(struct writer *w, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        writer_bytes(w, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void writer_escaped(struct writer *w, const char *text)
{
    enum { PIECE = 256 };
    size_t len = strlen(text);
    char escaped[PIECE * ESCAPE_MAX_GROWTH + 1];
    while (len > 0) {
        /* Cut before the first byte of a character, not inside it. */
        size_t n = len < PIECE ? len : PIECE;
        for (unsigned i = 0; n < len && i < 3 && ((unsigned char)text[n] & 0xc0) == 0x80; i++)
            n--;
        writer_bytes(w, escaped, escape_text(text, n, escaped, sizeof escaped));
        text += n;
        len -= n;
    }
}

void writer_style(struct writer *w, enum style style)
{
    static const char *const codes[] = {
        [STYLE_NONE] = "\033[0m",   [STYLE_DIM] = "\033[2m",     [STYLE_BOLD] = "\033[1m",
        [STYLE_INFO] = "\033[32m",  [STYLE_NOTICE] = "\033[36m", [STYLE_WARN] = "\033[33m",
        [STYLE_ERROR] = "\033[31m", [STYLE_CRIT] = "\033[1;31m", [STYLE_GAP] = "\033[1;35m",
    };
    if (w->color)
        writer_put(w, codes[style]);
}
