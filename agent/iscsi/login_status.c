/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/login_status.h"

#include <stddef.h>

const char *login_status_text(uint8_t status_class, uint8_t detail)
{
    static const struct {
        uint8_t status_class, detail;
        const char *text;
    } known[] = {
        {1, 1, "target moved temporarily"},
        {1, 2, "target moved permanently"},
        {2, 0, "initiator error"},
        {2, 1, "authentication failed"},
        {2, 2, "not authorised"},
        {2, 3, "target not found"},
        {2, 4, "target removed"},
        {2, 5, "unsupported version"},
        {2, 6, "too many connections"},
        {2, 7, "missing parameter"},
        {2, 8, "cannot include in the session"},
        {2, 9, "session type not supported"},
        {2, 10, "session does not exist"},
        {2, 11, "invalid request during login"},
        {3, 0, "target error"},
        {3, 1, "service unavailable"},
        {3, 2, "out of resources"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].status_class == status_class && known[i].detail == detail)
            return known[i].text;
    switch (status_class) {
    case 1: return "redirection of an unknown kind";
    case 2: return "initiator error of an unknown kind";
    case 3: return "target error of an unknown kind";
    default: return "unknown status";
    }
}
