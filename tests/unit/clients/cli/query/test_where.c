/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/where.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/event.pb-c.h"

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
    s->event.scope = SENSEBUS__V1__SCOPE__SCOPE_LUN;
    s->event.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    s->event.aix_bits = 4;
    s->event.synthetic = true;
    s->event.origin = &s->origin;
    s->event.address = &s->address;
    s->event.device = &s->device;
    s->event.sense = &s->sense;
    s->origin.host = "db-07";
    s->origin.source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
    s->address.adapter = "iscsi0";
    s->address.bus = 0;
    s->address.target = 1;
    s->address.lun = 4;
    s->device.vendor = "LIO-ORG";
    s->device.product = "disk \"one\"";
    s->device.serial = "0012";
    s->device.designator = "naa.6001405abc";
    s->device.target_name = "iqn.2026-01.demo:t0";
    s->sense.key = 6;
    s->sense.asc = 0x29;
    s->sense.ascq = 3;
}

static bool holds(const char *text, const Sensebus__V1__Event *event)
{
    struct where *where;
    struct where_error error;
    int rc = where_new(text, &where, &error);
    cr_assert_eq(rc, 0, "%s: column %zu: %s", text, error.column, error.text);
    bool matches = where_matches(where, event);
    where_free(where);
    return matches;
}

Test(where, tells_what_holds)
{
    static const struct {
        const char *text;
        bool expected;
    } cases[] = {
        {"asc==0x29 && ascq==3 && lun==4", true},
        {"asc == 41", true},
        {"asc==0x29 && host!=\"db-07\"", false},
        {"code==LUN_RESET", true},
        {"code==lun_reset", true},
        {"code==203", true},
        {"code=~\"LUN_*\"", true},
        {"code=~*_reset", true},
        {"code=~TARGET_*", false},
        {"category==RESET", true},
        {"category==2", true},
        {"severity>=warn", true},
        {"severity>warn", false},
        {"severity<error", true},
        {"severity<=warn", true},
        {"scope==lun && mode==initiator && source==iscsi", true},
        {"host=~db-*", true},
        {"host=~db-?", false},
        {"host==db-07", true},
        {"adapter==iscsi0 && bus==0 && target==1", true},
        {"vendor=='LIO-ORG'", true},
        {"product==\"disk \\\"one\\\"\"", true},
        {"serial==0012", true},
        {"serial==12", false},
        {"wwid=~naa.6001405*", true},
        {"target_name==iqn.2026-01.demo:t0", true},
        {"key==6", true},
        {"bits & 4", true},
        {"bits & 3", false},
        {"bits&4&&lun==4", true},
        {"bits==4", true},
        {"seq>=884213 && seq<884214", true},
        {"count==1", true},
        {"synthetic", true},
        {"!synthetic", false},
        {"deferred", false},
        {"!deferred", true},
        {"deferred==false", true},
        {"synthetic!=true", false},
        {"lun!=-1", true},
        {"lun==3 || lun==4", true},
        {"lun==3 || lun==4 && host==x", false},
        {"(lun==3 || lun==4) && host==db-07", true},
        {"!(lun==3) && !!(lun==4)", true},
        {"lun==4 && lun==4 || lun==5", true},
        {"  lun  ==  4  ", true},
    };
    struct sample s;
    make(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(holds(cases[i].text, &s.event), cases[i].expected, "%s", cases[i].text);
}

Test(where, a_missing_field_equals_nothing)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    static const char *const fields[] = {"asc", "ascq", "key", "lun", "target", "bus"};
    static const char *const texts[] = {"host", "adapter", "vendor", "product", "serial", "wwid", "target_name"};
    char text[80];
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        for (const char *const *op = (const char *const[]){"==", "<", "<=", ">", ">=", "&", NULL}; *op; op++) {
            snprintf(text, sizeof text, "%s %s 0", fields[i], *op);
            cr_expect_not(holds(text, &event), "%s", text);
        }
        snprintf(text, sizeof text, "%s != 0", fields[i]);
        cr_expect(holds(text, &event), "%s", text);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(text, sizeof text, "%s == ''", texts[i]);
        cr_expect_not(holds(text, &event), "%s", text);
        snprintf(text, sizeof text, "%s =~ '*'", texts[i]);
        cr_expect_not(holds(text, &event), "%s", text);
        snprintf(text, sizeof text, "%s != x", texts[i]);
        cr_expect(holds(text, &event), "%s", text);
    }
    cr_expect_not(holds("deferred || synthetic", &event));
    cr_expect_not(holds("source==iscsi", &event));
    cr_expect(holds("count==1", &event), "0 and 1 both mean one");
}

Test(where, a_wide_scope_has_no_unit)
{
    struct sample s;
    make(&s);
    s.address.lun = -1;
    cr_expect_not(holds("lun<5", &s.event));
    cr_expect(holds("lun!=4", &s.event));
}

Test(where, a_code_unknown_to_this_build_has_its_number)
{
    struct sample s;
    make(&s);
    s.event.code = (Sensebus__V1__Code)4711;
    cr_expect(holds("code==4711 && code=~47*", &s.event));
    cr_expect(holds("category==47", &s.event));
}

Test(where, errors_name_the_column)
{
    static const struct {
        const char *text;
        size_t column;
        const char *part; /* of the message */
    } cases[] = {
        {"", 1, "too early"},
        {"   ", 4, "too early"},
        {"hosst==x", 1, "did you mean host"},
        {"lun==4 && hosst==x", 11, "did you mean host"},
        {"zzzzzzzzzzzzzz==1", 1, "unknown field"},
        {"lun", 4, "operator"},
        {"lun=4", 4, "operator"},
        {"lun==", 6, "value is missing"},
        {"lun==x", 6, "is a number"},
        {"lun==0x", 6, "is a number"},
        {"lun==99999999999999999999", 6, "is a number"},
        {"lun=~4", 4, "=~ needs text"},
        {"host<x", 5, "is text"},
        {"host&1", 5, "is text"},
        {"code&1", 5, "no bits"},
        {"deferred<true", 9, "yes or no"},
        {"deferred==maybe", 11, "true or false"},
        {"code==LUN_RESETT", 7, "did you mean LUN_RESET"},
        {"severity>=wrn", 11, "did you mean warn"},
        {"lun==4 lun==5", 8, "expected &&"},
        {"(lun==4", 8, "')' for the '(' in column 1"},
        {"lun==4)", 7, "expected &&"},
        {"host==\"x", 7, "not closed"},
        {"host==\"\\n\"", 8, "after \\"},
        {"&& lun==4", 1, "expected a field"},
        {"lun==4 &&", 10, "too early"},
        {"lun==4 & lun==5", 8, "expected &&"},
        {"!", 2, "too early"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct where *where;
        struct where_error error;
        cr_assert_eq(where_new(cases[i].text, &where, &error), UV_EINVAL, "%s", cases[i].text);
        cr_expect_eq(error.column, cases[i].column, "%s: column %zu", cases[i].text, error.column);
        cr_expect(strstr(error.text, cases[i].part), "%s: %s", cases[i].text, error.text);
    }
}

static int compile(const char *text, struct where_error *error)
{
    struct where *where = NULL;
    int rc = where_new(text, &where, error);
    where_free(where);
    return rc;
}

Test(where, depth_is_bounded)
{
    for (const char *open = "(!"; *open; open++) {
        char text[WHERE_MAX_DEPTH * 2 + 40] = "";
        memset(text, *open, WHERE_MAX_DEPTH);
        strcat(text, "lun==1");
        if (*open == '(')
            for (int i = 0; i < WHERE_MAX_DEPTH; i++)
                strcat(text, ")");
        struct where_error error;
        cr_expect_eq(compile(text, &error), 0, "%d levels of %c", WHERE_MAX_DEPTH, *open);
        char deeper[sizeof text + 3];
        snprintf(deeper, sizeof deeper, "%c%s%s", *open, text, *open == '(' ? ")" : "");
        cr_expect_eq(compile(deeper, &error), UV_EINVAL);
        cr_expect_eq(error.column, WHERE_MAX_DEPTH + 1);
    }
}

Test(where, size_is_bounded)
{
    static char text[WHERE_MAX_BYTES + 10];
    struct where_error error;
    /* 128 conditions and 127 operators are 255 nodes; one more pair is 257. */
    for (int n = 128; n <= 129; n++) {
        strcpy(text, "lun==1");
        for (int i = 1; i < n; i++)
            strcat(text, "||lun==1");
        cr_expect_eq(compile(text, &error), n == 128 ? 0 : UV_EINVAL, "%d conditions", n);
    }
    memset(text, ' ', sizeof text - 1);
    memcpy(text, "lun==1", 6);
    text[WHERE_MAX_BYTES] = 0;
    cr_expect_eq(compile(text, &error), 0);
    text[WHERE_MAX_BYTES] = ' ';
    text[WHERE_MAX_BYTES + 1] = 0;
    cr_expect_eq(compile(text, &error), UV_EINVAL);
    cr_expect_eq(error.column, WHERE_MAX_BYTES + 1);
}

Test(where, the_longest_value_fits)
{
    static char text[WHERE_MAX_BYTES + 1] = "host==";
    memset(text + 6, 'x', WHERE_MAX_BYTES - 6);
    struct where_error error;
    cr_expect_eq(compile(text, &error), 0);
}
