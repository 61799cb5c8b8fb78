/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/format.h"

#include <stddef.h>
#include <string.h>

bool format_parse(const char *text, enum format *out_format)
{
    static const struct {
        const char *name;
        enum format format;
    } names[] = {{"compact", FORMAT_COMPACT},
                 {"table", FORMAT_COMPACT},
                 {"wide", FORMAT_WIDE},
                 {"json", FORMAT_JSON},
                 {"ndjson", FORMAT_NDJSON}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!text || strcmp(text, names[i].name) == 0) {
            *out_format = names[i].format;
            return true;
        }
    }
    return false;
}

bool format_is_json(enum format format)
{
    return format == FORMAT_JSON || format == FORMAT_NDJSON;
}
