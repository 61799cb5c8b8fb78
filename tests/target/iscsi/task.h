/* SPDX-License-Identifier: Apache-2.0 */
/* SCSI commands of a session, and those whose data is under way. Of the session: nobody else calls this. */
#pragma once

#include "tests/target/iscsi/session.h"

/* Answer a SCSI Command, or begin a task for it. */
void task_receive_command(struct session *s, const struct framer_pdu *pdu);
/* Data of a task; the last of it has the command executed. */
void task_receive_data_out(struct session *s, const struct framer_pdu *pdu);
/* NULL when no such command waits. */
struct session_task *task_find(struct session *s, uint32_t itt);
/* The task is gone, its data freed. */
void task_end(struct session_task *task);
