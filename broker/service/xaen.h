/* SPDX-License-Identifier: Apache-2.0 */
/* sdi_xaen and sdi_aen: an HBA driver tells the target drivers (semantics.md rules 30 and 31; A16).
 *
 * One record goes into the log for each (host, adapter) that has open sessions at the place, and reaches those that are
 * registered by the normal path. Where there is none, nobody is told and nothing is written: that is no error. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sensebus/v1/sdi.pb-c.h"

struct broker;

/* SDI_FLT_… and SDI_TARMOD_… : not the codes of driver events (sdi.h), whose numbers are the same. */
#define XAEN_FLT_RESET     1
#define XAEN_FLT_PTHRU     2
#define XAEN_TARMOD_WRCOMP 3

/* 0 with how many sessions the place has; UV_EINVAL with `err` (hba -1, a member below -1); UV_EAGAIN (the log takes
 * nothing); UV_ENOBUFS, UV_ENOMEM. Some adapters may have been told when it fails for want of memory. */
int xaen_take(struct broker *b, const Sensebus__V1__XaenRequest *request, const char *sender, uint32_t *out_n_told,
              char *err, size_t err_len);
