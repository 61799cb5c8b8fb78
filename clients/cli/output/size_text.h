/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people read them: "64 MiB", "1.5 TiB". Pure. */
#pragma once

enum { SIZE_TEXT_BYTES = 32 };

const char *size_text(double bytes, char buf[SIZE_TEXT_BYTES]);
