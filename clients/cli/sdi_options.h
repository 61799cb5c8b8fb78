/* SPDX-License-Identifier: Apache-2.0 */
/* What notify and listen share: event type, device type and address, as people write them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clients/c/sensebus.h"

struct cli;

/* "firstopen", "lastclose", "lastclose-err", or a number. Returns -1, or the exit code. */
int sdi_event_type(struct cli *cli, const char *text, int32_t *out_type);
/* "disk", "tape", …, a number; "any" when `any_allowed`. */
int sdi_device_type(struct cli *cli, const char *text, bool any_allowed, int32_t *out_type, bool *out_any);
/* "CONTROLLER:BUS:TARGET:LUN"; "*" is -1. NULL is all -1. */
int sdi_address(struct cli *cli, const char *text, struct sb_scsi_adr *out);
