/* SPDX-License-Identifier: Apache-2.0 */
/* Opens one iSCSI session (or discovery) and prints every callback as a line, for tests.
 *
 *   iscsi_driver [--discover MS] --portal HOST:PORT [--target NAME] [--chap USER:SECRET] [--mutual USER:SECRET]
 *                [--digest] [--connect-ms N] [--nop-ms N] [--nop-timeout-ms N]
 *
 * Lines on standard input: "command LUN CDB-HEX IN-BYTES TIMEOUT-MS", "manage FUNCTION LUN TIMEOUT-MS", "logout". At
 * its end the session is closed, and the program ends with 0 when the loop could be closed: no handle is left. */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/iscsi/session.h"
#include "runtime/log.h"

struct driver {
    uv_loop_t loop;
    uv_pipe_t input;
    struct iscsi_session *session;
    struct iscsi_discovery *discovery;
    char line[4096];
    size_t len;
};

static void print_hex(const char *name, const uint8_t *bytes, size_t len)
{
    printf(" %s=", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
}

static void end_line(void)
{
    putchar('\n');
    fflush(stdout);
}

static void on_login(struct iscsi_session *s, void *data, const char *portal)
{
    (void)s;
    (void)data;
    printf("login portal=%s", portal);
    end_line();
}

static void on_end(struct iscsi_session *s, void *data, const struct iscsi_session_fate *fate)
{
    static const char *const names[] = {
        [ISCSI_END_UNREACHABLE] = "UNREACHABLE",
        [ISCSI_END_LOGIN_STATUS] = "LOGIN_STATUS",
        [ISCSI_END_LOGIN_FAILED] = "LOGIN_FAILED",
        [ISCSI_END_CLOSED] = "CLOSED",
        [ISCSI_END_RESET] = "RESET",
        [ISCSI_END_PROTOCOL] = "PROTOCOL",
        [ISCSI_END_SILENT] = "SILENT",
    };
    (void)s;
    (void)data;
    printf("end kind=%s status=%02x%02x error=%s moved_to=%s text=%s", names[fate->end], fate->status_class,
           fate->status_detail, fate->error ? uv_err_name(fate->error) : "0", fate->moved_to ? fate->moved_to : "",
           fate->text);
    end_line();
}

static void on_sense(struct iscsi_session *s, void *data, uint64_t lun_raw, int opcode, const uint8_t *sense,
                     size_t len)
{
    (void)s;
    (void)data;
    printf("sense lun=%016" PRIx64 " opcode=%d", lun_raw, opcode);
    print_hex("sense", sense, len);
    end_line();
}

static void on_async(struct iscsi_session *s, void *data, const struct iscsi_async_message *m)
{
    (void)s;
    (void)data;
    printf("async event=%u vcode=%u parameters=%u,%u,%u lun=%016" PRIx64, m->event, m->vcode, m->parameter1,
           m->parameter2, m->parameter3, m->lun_raw);
    print_hex("sense", m->sense, m->sense_len);
    print_hex("pdu", m->pdu, m->pdu_len);
    end_line();
}

static void on_reject(struct iscsi_session *s, void *data, uint8_t reason, const uint8_t *header)
{
    (void)s;
    (void)data;
    printf("reject reason=%02x", reason);
    print_hex("header", header, header ? 48 : 0);
    end_line();
}

static const struct iscsi_session_ops driver_ops = {
    .on_login = on_login,
    .on_end = on_end,
    .on_sense = on_sense,
    .on_async = on_async,
    .on_reject = on_reject,
};

static void on_result(struct iscsi_session *s, void *data, const struct iscsi_command_result *result)
{
    static const char *const names[] = {
        [ISCSI_COMMAND_DONE] = "DONE",       [ISCSI_COMMAND_TIMEOUT] = "TIMEOUT", [ISCSI_COMMAND_GONE] = "GONE",
        [ISCSI_COMMAND_REFUSED] = "REFUSED", [ISCSI_COMMAND_ABORTED] = "ABORTED",
    };
    (void)s;
    printf("result number=%u end=%s status=%02x", (unsigned)(uintptr_t)data, names[result->end], result->scsi_status);
    print_hex("data", result->data, result->len);
    print_hex("sense", result->sense, result->sense_len);
    end_line();
}

static void on_managed(struct iscsi_session *s, void *data, const struct iscsi_management_result *result)
{
    static const char *const names[] = {
        [ISCSI_MANAGEMENT_ANSWERED] = "ANSWERED",
        [ISCSI_MANAGEMENT_REJECTED] = "REJECTED",
        [ISCSI_MANAGEMENT_TIMEOUT] = "TIMEOUT",
        [ISCSI_MANAGEMENT_GONE] = "GONE",
    };
    (void)s;
    (void)data;
    printf("managed end=%s response=%u", names[result->end], result->response);
    end_line();
}

static void on_discovered(void *data, int status, const char *text, const struct iscsi_discovered *targets, size_t n)
{
    struct driver *d = data;

    d->discovery = NULL;
    for (size_t i = 0; i < n; i++)
        printf("target name=%s portal=%s\n", targets[i].target_name, targets[i].portal);
    printf("discovered status=%s n=%zu text=%s", status ? uv_err_name(status) : "0", n, text);
    end_line();
}

/* ---- input ---- */

static size_t parse_hex(const char *text, uint8_t *bytes, size_t max)
{
    size_t n = 0;

    for (unsigned byte; n < max && sscanf(text + 2 * n, "%2x", &byte) == 1; n++)
        bytes[n] = (uint8_t)byte;
    return n;
}

static void run_line(struct driver *d, const char *line)
{
    static unsigned number;
    unsigned lun, in_bytes, timeout_ms, function;
    char hex[64];
    uint8_t cdb[16];

    if (sscanf(line, "command %u %63s %u %u", &lun, hex, &in_bytes, &timeout_ms) == 4) {
        size_t len = parse_hex(hex, cdb, sizeof(cdb));
        int rc = iscsi_session_command(d->session, (uint16_t)lun, cdb, len, in_bytes, timeout_ms, on_result,
                                       (void *)(uintptr_t)++number);

        printf("command number=%u rc=%s", number, rc ? uv_err_name(rc) : "0");
        end_line();
    } else if (sscanf(line, "manage %u %u %u", &function, &lun, &timeout_ms) == 3) {
        int rc = iscsi_session_manage(d->session, (enum iscsi_task_function)function, (uint16_t)lun, timeout_ms,
                                      on_managed, NULL);

        printf("manage rc=%s", rc ? uv_err_name(rc) : "0");
        end_line();
    } else if (strcmp(line, "logout") == 0) {
        iscsi_session_logout(d->session);
    } else {
        printf("unknown line: %s", line);
        end_line();
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct driver *d = handle->data;

    (void)suggested;
    *buf = uv_buf_init(d->line + d->len, (unsigned)(sizeof(d->line) - d->len));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct driver *d = stream->data;
    char *newline;

    (void)buf;
    if (n < 0) {
        iscsi_session_close(d->session);
        iscsi_discovery_cancel(d->discovery);
        uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    d->len += (size_t)n;
    while ((newline = memchr(d->line, '\n', d->len))) {
        *newline = 0;
        run_line(d, d->line);
        d->len -= (size_t)(newline + 1 - d->line);
        memmove(d->line, newline + 1, d->len);
    }
}

/* "user:secret" cut in two. */
static void split_secret(char *text, const char **out_user, const char **out_secret)
{
    char *colon = strchr(text, ':');

    if (!colon)
        return;
    *colon = 0;
    *out_user = text;
    *out_secret = colon + 1;
}

static uint32_t parse_options(int argc, char **argv, struct iscsi_session_options *o)
{
    static const struct option options[] = {
        {"portal", 1, NULL, 'p'},   {"target", 1, NULL, 't'},
        {"chap", 1, NULL, 'c'},     {"mutual", 1, NULL, 'm'},
        {"digest", 0, NULL, 'd'},   {"connect-ms", 1, NULL, 'C'},
        {"nop-ms", 1, NULL, 'n'},   {"nop-timeout-ms", 1, NULL, 'N'},
        {"discover", 1, NULL, 'D'}, {"debug", 0, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    uint32_t discover_ms = 0;
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;

        switch (letter) {
        case 'p': o->portal = optarg; break;
        case 't': o->target_name = optarg; break;
        case 'c': split_secret(optarg, &o->chap_user, &o->chap_secret); break;
        case 'm': split_secret(optarg, &o->mutual_chap_user, &o->mutual_chap_secret); break;
        case 'd': o->header_digest = true; break;
        case 'C': o->connect_ms = number; break;
        case 'n': o->nop_ms = number; break;
        case 'N': o->nop_timeout_ms = number; break;
        case 'D': discover_ms = number; break;
        case 'v': log_set_level(LOG_LEVEL_DEBUG); break;
        default: exit(2);
        }
    }
    return discover_ms;
}

int main(int argc, char **argv)
{
    struct driver d = {0};
    struct iscsi_session_options options = {.initiator_name = "iqn.2026-01.org.sensebus:driver"};
    uint32_t discover_ms = parse_options(argc, argv, &options);
    int rc;

    uv_loop_init(&d.loop);
    if (discover_ms)
        rc = iscsi_discovery_start(&d.loop, &options, discover_ms, on_discovered, &d, &d.discovery);
    else
        rc = iscsi_session_open(&d.loop, &options, &driver_ops, &d, &d.session);
    if (rc < 0) {
        printf("open rc=%s", uv_err_name(rc));
        end_line();
    }
    uv_pipe_init(&d.loop, &d.input, 0);
    d.input.data = &d;
    uv_pipe_open(&d.input, 0);
    uv_read_start((uv_stream_t *)&d.input, on_alloc, on_input);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&d.loop);
    printf("closed rc=%s", rc ? uv_err_name(rc) : "0");
    end_line();
    return rc ? 1 : 0;
}
