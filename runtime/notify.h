/* SPDX-License-Identifier: Apache-2.0 */
/* Tell the service manager how the daemon is: sd_notify(3)'s protocol, without its library. */
#pragma once

/* "READY=1", "STOPPING=1", "STATUS=…": one datagram to the socket that NOTIFY_SOCKET names; nothing when it names none.
 * Failures are logged: the daemon runs on without a manager. */
void notify_manager(const char *state);
/* "RELOADING=1" with the time (MONOTONIC_USEC), as a unit of Type=notify-reload must; "READY=1" says that it is over.
 */
void notify_reloading(void);
