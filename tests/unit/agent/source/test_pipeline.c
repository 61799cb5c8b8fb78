/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out is scanned as the broker scans it: whatever a device says, its event is one that the broker takes. */
#include "agent/source/pipeline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/record.h"
#include "agent/source/observation.h"
#include "proto/event_view.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define CODE(name)    SENSEBUS__V1__CODE__##name
#define LONGEST_SENSE 252

static const struct record_origin origin = {
    .host = "host-1", .boot_id = "boot", .epoch = 42, .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE, .sequence = 7};
static struct test_loop loop;
static struct fake_sysfs tree;
static struct pipeline *pipeline;
static uint64_t conditions;
static Sensebus__V1__Event *newest;
static bool stopped, told;

static void on_record(void *data, const struct record *r)
{
    struct record_bytes event = {0};
    struct event_view view;
    const uint8_t *cursor, *found;
    char err[128] = "";
    uint8_t *bytes;
    size_t size, len;

    (void)data;
    told = true;
    conditions += r->gap ? r->gap->count : r->count > 1 ? r->count : 1;
    cr_assert_eq(record_encode(r, &event), 0);
    size = record_element_write(NULL, event.bytes, event.len, &origin);
    bytes = malloc(size);
    cr_assert_not_null(bytes);
    record_element_write(bytes, event.bytes, event.len, &origin);
    cursor = bytes;
    cr_assert(records_next(&cursor, bytes + size, &found, &len));
    cr_assert_eq(event_scan(found, len, &(struct event_limits){0}, &view, err, sizeof err), 0, "%s", err);
    if (newest)
        sensebus__v1__event__free_unpacked(newest, NULL);
    newest = sensebus__v1__event__unpack(NULL, len, found);
    cr_assert_not_null(newest);
    free(bytes);
    free(event.bytes);
}

static void set_up_with(uint32_t merge_window_ms)
{
    fake_sysfs_make(&tree);
    struct pipeline_options options = {
        .loop = &loop.loop, .sysfs_root = tree.root, .poll_ms = 5000, .merge_window_ms = merge_window_ms};

    test_loop_init(&loop);
    cr_assert_eq(pipeline_start(&options, on_record, NULL, &pipeline), 0);
}

static void setup(void)
{
    set_up_with(0);
}

static void setup_short_window(void)
{
    set_up_with(10);
}

static void setup_long_window(void)
{
    set_up_with(3600000);
}

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void stop(void)
{
    if (pipeline)
        pipeline_stop(pipeline, on_stopped, NULL);
    pipeline = NULL;
}

static void teardown(void)
{
    stop();
    test_loop_until(&loop, &stopped);
    test_loop_deinit(&loop);
    fake_sysfs_remove(&tree);
    if (newest)
        sensebus__v1__event__free_unpacked(newest, NULL);
}

TestSuite(pipeline, .init = setup, .fini = teardown);

Test(pipeline, sense_of_any_length_and_response_code_is_an_event_and_none_is_lost)
{
    uint8_t bytes[LONGEST_SENSE];
    uint64_t pushed = 0;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 5); /* lengths inside of it lie, too */
    for (unsigned response = 0; response < 256; response++) {
        for (size_t len = 0; len <= LONGEST_SENSE; len++) {
            uint8_t *exact = malloc(len ? len : 1); /* so that reading behind it is caught */
            struct observation o = {
                .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE,
                .code = CODE(UNCLASSIFIED),
                .place = {3, 0, 0, response % 16},
                .wall_ns = pushed + 1,
                .boot_ns = pushed + 1,
                .native = {.name = "sense", .raw = exact, .raw_len = len},
                .sense = exact,
                .sense_len = len,
            };

            cr_assert_not_null(exact);
            memcpy(exact, bytes, len);
            if (len > 0)
                exact[0] = (uint8_t)response;
            cr_assert_eq(pipeline_push(pipeline, &o), 0);
            pushed++;
            free(exact);
        }
    }
    stop();
    cr_assert_eq(conditions, pushed);
}

Test(pipeline, a_device_may_call_itself_anything)
{
    static const char *const words[] = {"\x1b[2J\x07\x7f", "\xff\xfe\xc0\x80", "\xed\xa0\x80",
                                        "%s%n%n",          "a\rb\tc",          "\xe2\x80\xae"};
    char huge[6000];

    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    for (size_t i = 0; i <= sizeof words / sizeof *words; i++) {
        const char *text = i < sizeof words / sizeof *words ? words[i] : huge;
        static const char *const files[] = {"vendor", "model",   "rev",      "type",
                                            "wwid",   "inquiry", "vpd_pg80", "vpd_pg83"};
        struct observation o = {.source = SENSEBUS__V1__SOURCE__SOURCE_UEVENT,
                                .code = CODE(MODE_PARAMETERS_CHANGED),
                                .place = {3, 0, 0, (int64_t)i},
                                .wall_ns = 1,
                                .boot_ns = 1,
                                .native = {.name = "SDEV_UA", .detail = text},
                                .target_name = text};
        char path[128];

        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            snprintf(path, sizeof path, "bus/scsi/devices/3:0:0:%zu/%s", i, files[k]);
            fake_sysfs_write(&tree, path, k == 3 ? "0" : text);
        }
        conditions = 0;
        cr_assert_eq(pipeline_push(pipeline, &o), 0);
        cr_assert_eq(conditions, 1, "word %zu", i);
        cr_assert_eq(newest->address->lun, (int64_t)i);
        cr_assert(newest->device->device_type >= 0 && newest->device->device_type < 32);
        cr_assert_str_eq(newest->device->kernel_names[0], (snprintf(path, sizeof path, "3:0:0:%zu", i), path));
    }
}

TestSuite(pipeline_window, .fini = teardown);

static void push_what_waits_for_a_uevent(void)
{
    struct observation o = {
        .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE,
        .code = CODE(MODE_PARAMETERS_CHANGED),
        .place = {3, 0, 0, 0},
        .wall_ns = 1,
        .boot_ns = 1,
        .native = {.name = "unit-attention"},
        .sense = (const uint8_t[]){0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 1, 0, 0, 0, 0},
        .sense_len = 18,
    };

    pipeline_set_armed(pipeline, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, true);
    cr_assert_eq(pipeline_push(pipeline, &o), 0);
}

Test(pipeline_window, an_event_waits_for_the_other_hooks_as_long_as_it_was_asked_to, .init = setup_long_window)
{
    push_what_waits_for_a_uevent();
    uv_run(&loop.loop, UV_RUN_NOWAIT);
    cr_assert(!told);
    stop();
    cr_assert_eq(conditions, 1);
}

Test(pipeline_window, and_no_longer, .init = setup_short_window)
{
    push_what_waits_for_a_uevent();
    test_loop_until(&loop, &told);
    cr_assert_eq(conditions, 1);
}
