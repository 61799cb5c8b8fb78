/* SPDX-License-Identifier: Apache-2.0 */
/* The Admin service: what the broker knows about itself, its agents and its subscribers. It only reads. */
#pragma once

struct broker;

/* Add the service to the broker's server. Returns 0 or a negative errno. */
int admin_start(struct broker *broker);
