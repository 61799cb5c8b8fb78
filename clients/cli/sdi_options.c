/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/sdi_options.h"

#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/query/names.h"

int sdi_event_type(struct cli *cli, const char *text, int32_t *out_type)
{
    static const char *const names[] = {
        [SB_SDI_FIRSTOPEN] = "firstopen", [SB_SDI_LASTCLOSE] = "lastclose", [SB_SDI_LASTCLOSE_ERR] = "lastclose-err"};
    int64_t number;
    for (int32_t i = SB_SDI_FIRSTOPEN; i <= SB_SDI_LASTCLOSE_ERR; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out_type = i;
            return -1;
        }
    }
    if (!names_parse_number(text, &number) || number < INT32_MIN || number > INT32_MAX)
        return cli_usage(cli, "event type '%.40s' is none of firstopen, lastclose, lastclose-err or a number", text);
    *out_type = (int32_t)number;
    return -1;
}

int sdi_device_type(struct cli *cli, const char *text, bool any_allowed, int32_t *out_type, bool *out_any)
{
    int64_t number;
    char all[400];
    *out_any = any_allowed && strcmp(text, "any") == 0;
    if (*out_any)
        return -1;
    if (!names_number(NAMES_DEVICE_TYPE, text, &number) || number < INT32_MIN || number > INT32_MAX)
        return cli_usage(cli, "--device-type: '%.40s' is none of %s%s", text, any_allowed ? "any, " : "",
                         names_all(NAMES_DEVICE_TYPE, all, sizeof all));
    *out_type = (int32_t)number;
    return -1;
}

int sdi_address(struct cli *cli, const char *text, struct sb_scsi_adr *out)
{
    static const struct sb_scsi_adr any = SB_SCSI_ADR_ANY;
    int32_t *const members[] = {&out->controller, &out->bus, &out->target, &out->lun};
    const char *rest = text;
    *out = any;
    for (size_t i = 0; rest && i < 4; i++) {
        char part[16];
        int64_t number = -1;
        size_t len = strcspn(rest, ":");
        if (len == 0 || len >= sizeof part || (i < 3) != (rest[len] == ':'))
            return cli_usage(cli, "--addr: '%.60s' is no CONTROLLER:BUS:TARGET:LUN", text);
        memcpy(part, rest, len);
        part[len] = 0;
        if (strcmp(part, "*") != 0 && (!names_parse_number(part, &number) || number < -1 || number > INT32_MAX))
            return cli_usage(cli, "--addr: '%.15s' is neither a number nor *", part);
        *members[i] = (int32_t)number;
        rest += len + 1;
    }
    return -1;
}
