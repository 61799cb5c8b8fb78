/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/escape.h"

#include <stdio.h>
#include <string.h>

#include "proto/wire.h"

static bool is_hostile(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1f},       {0x7f, 0x9f},        /* C0, DEL, C1 */
        {0xad, 0xad},       {0x61c, 0x61c},      /* soft hyphen, Arabic letter mark */
        {0x115f, 0x1160},   {0x180b, 0x180f},    /* invisible fillers and selectors */
        {0x200b, 0x200f},   {0x2028, 0x202e},    /* zero width, marks; separators, embeddings and overrides */
        {0x2060, 0x206f},   {0x3164, 0x3164},    /* invisible operators, isolates */
        {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},    /* variation selectors, byte order mark */
        {0xffa0, 0xffa0},   {0xfff0, 0xfffb},    /* fillers, interlinear annotations */
        {0xe000, 0xf8ff},   {0x1bca0, 0x1bca3},  /* private use: looks are anybody's guess; shorthand controls */
        {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff}, /* musical controls; tags, selectors, private planes */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

size_t escape_text(const char *text, size_t len, char *out, size_t out_cap)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + len;
    size_t used = 0;
    while (p < end) {
        char piece[16];
        uint32_t c = 0;
        size_t n = utf8_decode(p, (size_t)(end - p), &c), n_piece;
        if (n == 0) {
            n_piece = (size_t)snprintf(piece, sizeof piece, "\\x%02x", *p);
            n = 1;
        } else if (c == '\\') {
            n_piece = (size_t)snprintf(piece, sizeof piece, "\\\\");
        } else if (is_hostile(c)) {
            n_piece = (size_t)snprintf(piece, sizeof piece, "\\u{%02x}", c);
        } else {
            memcpy(piece, p, n);
            n_piece = n;
        }
        if (used + n_piece >= out_cap)
            break;
        memcpy(out + used, piece, n_piece);
        used += n_piece;
        p += n;
    }
    out[used] = 0;
    return used;
}

size_t escape_columns(const char *text, size_t len)
{
    size_t columns = 0;
    for (size_t i = 0; i < len; i++)
        columns += ((uint8_t)text[i] & 0xc0) != 0x80;
    return columns;
}
