/* SPDX-License-Identifier: Apache-2.0 */
/* The SDI operations of the C library against a broker that does as it is told (fake_face.h). */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "clients/c/sensebus.h"
#include "tests/unit/clients/c/face/fake_face.h"

static struct fake_face fake;
static struct sb *sb;

static void setup(void)
{
    fake_face_init(&fake);
    cr_assert_eq(sb_open(fake.address, NULL, &sb, NULL, 0), 0);
}

static void teardown(void)
{
    sb_close(sb);
    fake_face_deinit(&fake);
}

TestSuite(face_handlers, .init = setup, .fini = teardown);

static void expect(int rc, int error, int detail)
{
    cr_assert_eq(rc, -1);
    cr_assert_eq(errno, error, "errno %s: %s", strerror(errno), sb_message(sb));
    cr_assert_eq(sb_detail(sb), detail, "detail %s", sb_detail_name(sb_detail(sb)));
}

struct told {
    unsigned n;
    int verdict;
    int32_t type, lun;
    char text[40];
};

static int on_call(void *event_info, const struct sb_handler_call *call)
{
    struct told *told = event_info;
    told->n++;
    told->type = call->event_type;
    told->lun = call->address.lun;
    snprintf(told->text, sizeof told->text, "%s %s %.*s", call->address.host, call->sender, (int)call->sb_data_len,
             (const char *)call->sb_data);
    return told->verdict;
}

static struct sb_sdi_event event_of(struct told *told)
{
    return (struct sb_sdi_event){
        .event_type = SB_SDI_FIRSTOPEN, .address = SB_SCSI_ADR_ANY, .handler = on_call, .event_info = told};
}

/* rules 26, 28, 29 */
Test(face_handlers, a_handler_is_called_here_and_its_verdict_sent)
{
    struct told told = {0}, failing = {.verdict = SB_SDI_ERR};
    struct sb_sdi_event event = event_of(&told);
    uint64_t id, other;
    cr_assert_eq(sb_add_event(sb, &event, &id), 0, "%s", sb_message(sb));
    cr_assert_eq(told.n, 0);
    cr_assert_eq(sb_dispatch(sb, 20000), 1);
    cr_assert_eq(told.n, 1);
    cr_assert_eq(told.type, 0x101);
    cr_assert_eq(told.lun, 7);
    cr_assert_str_eq(told.text, "db-07 other sb");
    event.event_info = &failing;
    cr_assert_eq(sb_add_event(sb, &event, &other), 0);
    cr_assert_neq(id, other);
    cr_assert_eq(sb_dispatch(sb, 20000), 1);
    cr_assert_eq(failing.n, 1);
    cr_assert_eq(sb_rm_event(sb, id), 0);
    expect(sb_rm_event(sb, 7), EINVAL, SB_DETAIL_ARGUMENT);
    sb_close(sb);
    sb = NULL;
    fake_face_deinit(&fake);
    cr_assert_eq(fake.n_verdicts_ok, 1);
    cr_assert_eq(fake.n_verdicts_err, 1);
    fake_face_init(&fake);
}

/* The notifier's own handler is called while it waits for the verdicts. */
Test(face_handlers, a_notifier_may_be_its_own_listener)
{
    struct told told = {0};
    struct sb_sdi_event event = event_of(&told);
    struct sb_verdicts verdicts;
    struct sb_notification n = {.event_type = SB_SDI_PRIVATE, .address = SB_SCSI_ADR_ANY};
    uint64_t id;
    cr_assert_eq(sb_add_event(sb, &event, &id), 0);
    cr_assert_eq(sb_notify_event(sb, &n, &verdicts), 0);
    cr_assert_eq(verdicts.n_called, 2);
    cr_assert_geq(told.n, 1);
    n.device_type = 5;
    expect(sb_notify_event(sb, &n, NULL), EIO, SB_DETAIL_VERDICT);
    cr_assert_str_eq(sb_message(sb), "1 of 2 handlers failed, were late or were lost");
}

/* A17: private codes begin at 0x100, so that none looks like one of SDI's own. */
Test(face_handlers, private_codes_begin_at_0x100)
{
    static const int32_t WRONG[] = {0, -1, 4, 0xff, INT32_MIN};
    struct told told = {0};
    struct sb_sdi_event event = event_of(&told);
    struct sb_notification n = {.address = SB_SCSI_ADR_ANY};
    uint64_t id;
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        n.event_type = event.event_type = WRONG[i];
        expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_EVENT_TYPE);
        expect(sb_notify_event(sb, &n, NULL), EINVAL, SB_DETAIL_EVENT_TYPE);
    }
    for (int32_t type = SB_SDI_FIRSTOPEN; type <= SB_SDI_LASTCLOSE_ERR; type++) {
        n.event_type = event.event_type = type;
        cr_assert_eq(sb_add_event(sb, &event, &id), 0);
        expect(sb_notify_event(sb, &n, NULL), EINVAL, SB_DETAIL_EVENT_TYPE);
    }
    event.event_type = 0x100;
    cr_assert_eq(sb_add_event(sb, &event, &id), 0);
}

Test(face_handlers, what_is_wrong_with_an_argument_is_said_here)
{
    struct told told = {0};
    struct sb_sdi_event event = event_of(&told);
    struct sb_notification n = {.event_type = SB_SDI_PRIVATE, .sb_data = "", .sb_data_len = 4097};
    uint64_t id;
    event.device_type = 99;
    expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_ARGUMENT);
    event.device_type = 98;
    expect(sb_add_event(sb, &event, &id), ENOMEM, SB_DETAIL_RESOURCE_EXHAUSTED);
    event.device_type = 0;
    event.inquiry = "0123456789012345678901234";
    expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_ARGUMENT);
    event.inquiry = NULL;
    event.flags = 8;
    expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_ARGUMENT);
    event.flags = 0;
    event.reserved[0] = 1;
    expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_RESERVED);
    event.handler = NULL;
    expect(sb_add_event(sb, &event, &id), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_notify_event(sb, &n, NULL), EINVAL, SB_DETAIL_ARGUMENT);
}

/* A16: there is no wildcard for the adapter, but for the bus. rule 31: no listener is no error. */
Test(face_handlers, xaen_broadcasts_but_not_over_adapters)
{
    cr_assert_eq(sb_xaen(sb, "db-07", SB_SDI_FLT_RESET, 0, -1, -1, -1, 7), 0);
    cr_assert_eq(sb_aen(sb, NULL, SB_SDI_FLT_PTHRU, 3, 0, 0), 0);
    expect(sb_xaen(sb, NULL, 1, -1, -1, -1, 0, 0), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_aen(sb, NULL, 1, -1, -1, -1), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_xaen(sb, NULL, 1, 0, -2, -1, 0, 0), EINVAL, SB_DETAIL_ARGUMENT);
    expect(sb_xaen(sb, NULL, 99, 0, 0, 0, 0, 0), EINVAL, SB_DETAIL_ARGUMENT);
}
