/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/event_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients/cli/output/writer.h"
#include "sensebus/v1/events.pb-c.h"

static struct writer out;
static const struct event_text_options UTC = {.utc = true, .now_ns = 1800000000000000000u};

struct sample {
    Sensebus__V1__Event event;
    Sensebus__V1__Origin origin;
    Sensebus__V1__Address address;
    Sensebus__V1__Device device;
    Sensebus__V1__Sense sense;
};

static void make(struct sample *s)
{
    sensebus__v1__event__init(&s->event);
    sensebus__v1__origin__init(&s->origin);
    sensebus__v1__address__init(&s->address);
    sensebus__v1__device__init(&s->device);
    sensebus__v1__sense__init(&s->sense);
    s->event.sequence = 884213;
    s->event.code = SENSEBUS__V1__CODE__LUN_RESET;
    s->event.severity = SENSEBUS__V1__SEVERITY__SEVERITY_WARN;
    s->event.wall_time_unix_ns = UTC.now_ns + 1231000000u;
    s->event.origin = &s->origin;
    s->event.address = &s->address;
    s->event.device = &s->device;
    s->event.sense = &s->sense;
    s->origin.host = "db-07";
    s->address.controller = 3;
    s->address.lun = 4;
    s->device.designator = "naa.60014050123456789a1b2";
    s->sense.key = 6;
    s->sense.asc = 0x29;
    s->sense.ascq = 3;
    writer_init(&out, -1, false);
}

static const char *text(void)
{
    writer_bytes(&out, "", 1);
    return out.buf;
}

Test(event_text, compact_is_one_line)
{
    struct sample s;
    make(&s);
    event_text_compact(&out, &s.event, &UTC);
    cr_expect_str_eq(text(),
                     "08:00:01.231Z db-07 3:0:0:4 naa.6001405..a1b2 LUN_RESET WARN 06/29/03 "
                     "Bus device reset function occurred  #884213\n",
                     "%s", out.buf);
}

Test(event_text, an_earlier_day_shows_its_date)
{
    struct sample s;
    make(&s);
    s.event.wall_time_unix_ns = UTC.now_ns - 86400ull * 1000000000u;
    event_text_compact(&out, &s.event, &UTC);
    cr_expect(strstr(text(), "2027-01-14 08:00:00.000Z db-07"), "%s", out.buf);
}

Test(event_text, an_empty_event_is_still_a_line)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    writer_init(&out, -1, false);
    event_text_compact(&out, &event, &UTC);
    cr_expect_str_eq(text(), "- - - CODE_0 UNSPECIFIED code unknown to this build\n", "%s", out.buf);
    writer_init(&out, -1, false);
    event_text_wide(&out, &event, &UTC);
    cr_expect(strstr(text(), "CODE_0"), "%s", out.buf);
}

Test(event_text, wide_leaves_out_what_is_empty)
{
    struct sample s;
    make(&s);
    Sensebus__V1__Native native = SENSEBUS__V1__NATIVE__INIT;
    s.event.native = &native;
    s.device.device_type = -1;
    s.device.designator = "";
    event_text_wide(&out, &s.event, &UTC);
    cr_expect_null(strstr(text(), "    device"), "%s", out.buf);
    for (const char *label = "wwid\0target\0native\0summary\0session\0kernel\0"; *label; label += strlen(label) + 1)
        cr_expect_null(strstr(out.buf, label), "%s: %s", label, out.buf);
    cr_expect_null(strstr(out.buf, " \n"), "no space at the end of a line: %s", out.buf);

    make(&s);
    s.device.device_type = -1;
    s.device.serial = "S1";
    s.device.portal = "10.0.0.5:3260";
    native.name = "login";
    native.detail = "logged in";
    s.event.native = &native;
    event_text_wide(&out, &s.event, &UTC);
    cr_expect(strstr(text(), "    device    serial S1\n"), "%s", out.buf);
    cr_expect(strstr(out.buf, "    target    portal 10.0.0.5:3260\n"), "%s", out.buf);
    cr_expect(strstr(out.buf, "    native    login  detail logged in\n"), "%s", out.buf);
    cr_expect_null(strstr(out.buf, " \n"), "%s", out.buf);
}

static bool is_safe(const char *t)
{
    for (; *t; t++)
        if ((unsigned char)*t < 0x20 && *t != '\n')
            return false;
    return true;
}

Test(event_text, hostile_strings_are_escaped_in_every_field)
{
    struct sample s;
    make(&s);
    char *evil = "\033]0;x\a\n12:00:00.000 forged \xe2\x80\xae";
    Sensebus__V1__Native native = SENSEBUS__V1__NATIVE__INIT;
    native.name = native.detail = evil;
    s.origin.host = s.address.adapter = s.device.vendor = s.device.product = s.device.revision = s.device.serial = evil;
    s.device.designator = s.device.target_name = s.device.portal = s.sense.text = evil;
    char *names[] = {evil};
    s.device.kernel_names = names;
    s.device.n_kernel_names = 1;
    s.event.summary = s.event.session_id = s.event.origin_session = evil;
    s.event.native = &native;
    event_text_compact(&out, &s.event, &UTC);
    cr_expect(is_safe(text()), "%s", out.buf);
    cr_expect_eq(strchr(out.buf, '\n') - out.buf, (long)strlen(out.buf) - 1, "one line: %s", out.buf);
    writer_init(&out, -1, false);
    event_text_wide(&out, &s.event, &UTC);
    cr_expect(is_safe(text()), "%s", out.buf);
    cr_expect_null(strstr(out.buf, "\n12:00:00"), "%s", out.buf);
    cr_expect_null(strstr(out.buf, "\xe2\x80\xae"), "%s", out.buf);
}

Test(event_text, colours_only_when_wanted)
{
    struct sample s;
    make(&s);
    event_text_compact(&out, &s.event, &UTC);
    cr_expect_null(strchr(text(), '\033'));
    writer_init(&out, -1, true);
    event_text_compact(&out, &s.event, &UTC);
    cr_expect(strstr(text(), "\033[33mLUN_RESET WARN\033[0m"), "%s", out.buf);
}

Test(event_text, remedy_follows_when_asked)
{
    struct sample s;
    make(&s);
    struct event_text_options options = UTC;
    options.remedy = true;
    event_text_compact(&out, &s.event, &options);
    cr_expect(strstr(text(), "\n    -> "), "%s", out.buf);
}

Test(event_text, a_loss_tells_how_many)
{
    struct sample s;
    make(&s);
    Sensebus__V1__Loss loss = SENSEBUS__V1__LOSS__INIT;
    loss.count = 12;
    loss.at_least = true;
    loss.reason = "spool full";
    s.event.sense = NULL;
    s.event.loss = &loss;
    event_text_compact(&out, &s.event, &UTC);
    cr_expect(strstr(text(), "at least 12 events lost: spool full"), "%s", out.buf);
}

Test(event_text, a_gap_tells_where)
{
    Sensebus__V1__Gap gap = SENSEBUS__V1__GAP__INIT;
    Sensebus__V1__Position from = SENSEBUS__V1__POSITION__INIT, to = SENSEBUS__V1__POSITION__INIT;
    from.sequence = 10;
    to.sequence = 13;
    gap.from = &from;
    gap.to = &to;
    gap.count = 3;
    gap.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION;
    gap.reason = "trimmed\n";
    writer_init(&out, -1, false);
    event_text_gap(&out, &gap);
    cr_expect_str_eq(text(), "GAP 3 events missing after #10 up to #13 (retention: trimmed\\u{0a})", "%s", out.buf);
}

Test(event_text, a_gap_tells_how_exact_its_count_is)
{
    static const struct {
        Sensebus__V1__LossStage stage;
        uint64_t count;
        const char *words;
    } cases[] = {{SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION, 3, "GAP up to 3 events missing ("},
                 {SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE, 3, "GAP up to 3 events missing ("},
                 {SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION, 3, "GAP at least 3 events missing ("},
                 {SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_RETENTION, 0, "GAP events missing, it is not known how many ("}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sensebus__V1__Gap gap = SENSEBUS__V1__GAP__INIT;
        gap.stage = cases[i].stage;
        gap.count = cases[i].count;
        gap.at_least = true;
        writer_init(&out, -1, false);
        event_text_gap(&out, &gap);
        cr_expect(strstr(text(), cases[i].words), "%s", out.buf);
    }
}

Test(event_text, addresses)
{
    Sensebus__V1__Address a = SENSEBUS__V1__ADDRESS__INIT;
    char buf[ADDRESS_TEXT_BYTES];
    cr_expect_str_eq(address_text(NULL, buf), "-");
    cr_expect_str_eq(address_text(&a, buf), "0:0:0:0");
    a.adapter = "iscsi0";
    a.bus = -1;
    a.target = 1;
    a.lun = 4;
    cr_expect_str_eq(address_text(&a, buf), "iscsi0:-:1:4");
    a.target = -1;
    a.lun = -1;
    cr_expect_str_eq(address_text(&a, buf), "iscsi0");
    a.adapter = "";
    cr_expect_str_eq(address_text(&a, buf), "0");
    a.controller = -1;
    cr_expect_str_eq(address_text(&a, buf), "-");
}

Test(event_text, bits_have_names)
{
    char buf[80];
    cr_expect_str_eq(aix_bits_text(0, buf), "-");
    cr_expect_str_eq(aix_bits_text(5, buf), "fatal|reset");
    cr_expect_str_eq(aix_bits_text(UINT32_MAX, buf), "fatal|command_failed|reset|buffers_exhausted|0xfffffff0");
}
