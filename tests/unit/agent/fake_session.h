/* SPDX-License-Identifier: Apache-2.0 */
/* A target made of a script: an iscsi_session_api that answers from a table of logical units and writes down what is
 * asked of it. Answers come from the loop, one command at a time, in order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/session.h"

#define FAKE_MAX_UNITS  8
#define FAKE_MAX_SENSES 64

struct fake_sense {
    uint8_t key, asc, ascq;
};

struct fake_unit {
    bool present;
    uint8_t device_type;
    const char *serial;                         /* VPD page 80h, NULL = no VPD pages */
    struct fake_sense pending[FAKE_MAX_SENSES]; /* unit attentions, oldest first */
    size_t n_pending;
    struct fake_sense state; /* answer of TEST UNIT READY when nothing is pending; key 0 = GOOD */
    bool hangs;              /* commands end with ISCSI_COMMAND_TIMEOUT */
    bool holds;              /* commands are not answered until this is false, or they are aborted */
    bool no_sense;           /* TEST UNIT READY: CHECK CONDITION without sense */
    struct fake_sense kept;  /* INQUIRY: CHECK CONDITION without sense, until REQUEST SENSE gives this; key 0 = none */
    bool qualifier_3;        /* INQUIRY: no unit here */
    bool short_inquiry;
    struct fake_sense inquiry; /* answer of INQUIRY instead of data when key is not 0 */
    uint32_t n_blocks;         /* 0 = 2000h */
    bool write_protected, no_mode_10, no_mode_6;
    uint32_t maximum_transfer;       /* VPD page B0h; 0 = the page is not there */
    struct fake_sense behind_limits; /* becomes pending once, right behind the answer with that page; key 0 = none */
    uint8_t hangs_on;                /* commands with this opcode end with ISCSI_COMMAND_TIMEOUT; 0 = none */
};

struct fake_target {
    uv_loop_t *loop;
    struct fake_unit units[FAKE_MAX_UNITS];
    const uint8_t *report_luns; /* overrides the answer when not NULL */
    size_t report_luns_len;
    bool report_luns_attention;         /* REPORT LUNS ends with 3F/0E, each time */
    bool report_luns_clears;            /* REPORT LUNS takes 3F/0E away from all units, as tgtd does */
    enum iscsi_session_end refuse_with; /* how the next logins end; ISCSI_END_CLOSED = they succeed */
    uint8_t refuse_class, refuse_detail;
    const char *moved_to; /* with refuse_class 1 */
    const char *dead[4];  /* logins at these portals end with ISCSI_END_UNREACHABLE, whatever refuse_with says */
    bool log_dials;
    uint8_t async_at_login; /* this message comes before on_login; 0 = none */
    bool ignore_logout;
    bool holds_luns;                     /* REPORT LUNS is not answered until this is false, or it is aborted */
    uint8_t task_response;               /* to task management */
    enum iscsi_management_end tasks_end; /* ISCSI_MANAGEMENT_ANSWERED: with task_response */
    bool holds_tasks;                    /* until fake_answer_task */
    struct iscsi_session *session;       /* the one that is open, or NULL */
    unsigned n_opened, n_commands, n_luns_asked;
    bool log_commands;
    char log[16384];
};

extern struct fake_target fake;
extern const struct iscsi_session_api fake_api;

void fake_reset(uv_loop_t *loop);
void fake_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fake_attention(unsigned lun, uint8_t key, uint8_t asc, uint8_t ascq);
/* End the oldest task management request that is held, as task_response and tasks_end say. */
void fake_answer_task(void);
/* End the session from the loop's side, now. */
void fake_end(enum iscsi_session_end end, const char *text);
void fake_async(const struct iscsi_async_message *message);
/* A sense of a command that nobody waits for any more. */
void fake_late_sense(uint64_t lun_raw, int opcode, uint8_t key, uint8_t asc, uint8_t ascq);
