/* SPDX-License-Identifier: Apache-2.0 */
/* The library without memory: the first allocation fails, then the second, and so on, on whichever of the two threads
 * it happens to be. The broker is another process, so that it has memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/c/sensebus.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/clients/c/face/fake_face.h"

enum { MAX_ALLOCATIONS = 5000 };

static char address[80];
static pid_t broker;
static int stop_broker;

static void start_broker(void)
{
    static struct fake_face fake;
    int tell[2], stop[2];
    char byte;
    cr_assert_eq(pipe(tell), 0);
    cr_assert_eq(pipe(stop), 0);
    broker = fork();
    if (broker == 0) {
        close(stop[1]);
        fake_face_init(&fake);
        if (write(tell[1], fake.address, sizeof fake.address) < 0)
            _exit(1);
        if (read(stop[0], &byte, 1) < 0)
            _exit(1);
        fake_face_deinit(&fake);
        _exit(0);
    }
    cr_assert_gt(broker, 0);
    cr_assert_eq(read(tell[0], address, sizeof address), sizeof address);
    close(tell[0]);
    close(tell[1]);
    close(stop[0]);
    stop_broker = stop[1];
}

static void end_broker(void)
{
    int status;
    close(stop_broker);
    cr_assert_eq(waitpid(broker, &status, 0), broker);
    cr_assert_eq(status, 0);
}

struct seen {
    unsigned n;
    int last;
};

static void on_event(void *data, const struct sb_event_info *info)
{
    struct seen *seen = data;
    seen->n++;
    cr_assert_not(seen->last, "nothing comes behind the last");
    seen->last = info->last;
}

static int on_call(void *event_info, const struct sb_handler_call *call)
{
    (void)event_info;
    (void)call;
    return SB_SDI_OK;
}

static int on_session(void *data, const struct sb_session_info *info)
{
    (void)data;
    (void)info;
    return 0;
}

/* Every failure is told: as what it is, or as the loss of the connection. */
static bool ok(struct sb *sb, int rc)
{
    if (rc == 0)
        return true;
    cr_assert_eq(rc, -1);
    cr_assert(errno == ENOMEM || errno == ENOTCONN || errno == EIO, "errno %s: %s", strerror(errno), sb_message(sb));
    cr_assert(*sb_message(sb));
    return false;
}

static void use(struct sb *sb)
{
    struct sb_address where = SB_ADDRESS_INIT;
    struct sb_started started;
    struct seen seen = {0};
    struct sb_adapter_info info;
    struct sb_pollpri list = {"events:4", 0};
    const struct sb_registration registration = {
        .mode = SB_MODE_INITIATOR, .correlator = "c", .correlator_len = 1, .on_event = on_event, .data = &seen};
    const struct sb_sdi_event event = {.event_type = SB_SDI_PRIVATE, .address = SB_SCSI_ADR_ANY, .handler = on_call};
    uint64_t handler;
    where.host = "db-07";
    where.target_name = "events:4";
    ok(sb, sb_iocinfo(sb, "db-07", NULL, &info));
    bool registered = ok(sb, sb_start(sb, &where, 0, &started)) && ok(sb, sb_event(sb, "events:4", &registration));
    bool reset = ok(sb, sb_reset(sb, "events:4", 0));
    if (registered && reset)
        cr_assert_geq(seen.n, 1, "a record is told, or its loss");
    int ready = sb_poll_pri(sb, &list, 1, 0);
    ok(sb, ready > 0 ? 0 : ready);
    ok(sb, sb_add_event(sb, &event, &handler));
    ok(sb, sb_list_sessions(sb, NULL, on_session, NULL));
    ok(sb, sb_xaen(sb, NULL, SB_SDI_FLT_RESET, 0, -1, -1, -1, 0));
    ok(sb, sb_stop(sb, "events:4"));
    if (registered && !sb_is_connected(sb))
        cr_assert(seen.last, "the end of a registration is told");
}

Test(memory, whichever_allocation_fails_is_told_and_nothing_leaks)
{
    unsigned n = 0, n_opened = 0;
    signal(SIGPIPE, SIG_IGN);
    start_broker();
    for (bool failed = true; failed; n++) {
        struct sb *sb;
        cr_assert_lt(n, MAX_ALLOCATIONS);
        failing_alloc_after(n);
        if (sb_open(address, NULL, &sb, NULL, 0) == 0) {
            n_opened++;
            use(sb);
            cr_assert_eq(sb_close(sb), 0);
        }
        failed = failing_alloc_stop();
    }
    cr_assert_gt(n_opened, 10, "%u of %u", n_opened, n);
    end_broker();
}
