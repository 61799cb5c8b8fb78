/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity_cache.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define S 1000000000ull

static const struct observation_place disk = {3, 0, 0, 4}, adapter = {3, -1, -1, -1}, target = {3, 0, 0, -1};

static struct kernel_device known(const char *designator, const char *name)
{
    struct kernel_device d;

    identity_from_place(&disk, &d);
    d.identity.known = true;
    strcpy(d.identity.designator, designator);
    strcpy(d.names[d.n_names++], name);
    return d;
}

static void put(struct identity_cache *c, const char *designator, const char *name, uint64_t now_ns)
{
    struct kernel_device d = known(designator, name);

    cr_assert_eq(identity_cache_put(c, &d, now_ns), 0);
}

static const char *at(struct identity_cache *c, uint64_t boot_ns)
{
    const struct kernel_device *d = identity_cache_at(c, &disk, boot_ns);

    return d ? d->identity.designator : "nobody";
}

static struct identity_cache *cache(size_t max_places)
{
    struct identity_cache *c = identity_cache_new(&(struct identity_options){.max_places = max_places});

    cr_assert_not_null(c);
    return c;
}

Test(identity_cache, a_device_keeps_its_name_for_a_while_after_its_removal)
{
    struct identity_cache *c = cache(0);

    put(c, "naa.1", "sda", 10 * S);
    identity_cache_removed(c, &disk, 20 * S);
    cr_assert_str_eq(at(c, 20 * S), "naa.1", "the removal itself");
    cr_assert_str_eq(at(c, 79 * S), "naa.1");
    cr_assert_str_eq(at(c, 81 * S), "nobody");
    identity_cache_free(c);
}

Test(identity_cache, a_device_at_the_place_of_another_takes_over_nothing)
{
    struct identity_cache *c = cache(0);

    put(c, "naa.1", "sda", 10 * S);
    identity_cache_removed(c, &disk, 20 * S);
    identity_cache_added(c, &disk, 21 * S);
    cr_assert(identity_cache_wants(c, &disk, 21 * S));
    put(c, "naa.2", "sdb", 22 * S);
    cr_assert_str_eq(at(c, 19 * S), "naa.1", "an event that was merged meanwhile");
    cr_assert_str_eq(at(c, 20 * S), "naa.1");
    cr_assert_str_eq(at(c, 21 * S), "naa.2");
    cr_assert_str_eq(at(c, 30 * S), "naa.2");
    identity_cache_free(c);
}

Test(identity_cache, another_device_that_nobody_announced_is_another_version)
{
    struct identity_cache *c = cache(0);

    put(c, "naa.1", "sda", 10 * S);
    put(c, "naa.2", "sda", 20 * S);
    cr_assert_str_eq(at(c, 15 * S), "naa.1");
    cr_assert_str_eq(at(c, 20 * S), "naa.2");
    identity_cache_free(c);
}

Test(identity_cache, what_happened_before_the_first_is_his)
{
    struct identity_cache *c = cache(0);

    identity_cache_added(c, &disk, 20 * S);
    put(c, "naa.1", "sda", 20 * S);
    cr_assert_str_eq(at(c, 19 * S), "naa.1", "sense of the probe comes before the uevent");
    identity_cache_free(c);
}

Test(identity_cache, a_name_that_is_not_readable_any_more_is_kept)
{
    struct identity_cache *c = cache(0);
    struct kernel_device bare;

    put(c, "naa.1", "sda", 10 * S);
    identity_from_place(&disk, &bare);
    cr_assert_eq(identity_cache_put(c, &bare, 11 * S), 0);
    cr_assert_str_eq(at(c, 11 * S), "naa.1");
    cr_assert_str_eq(identity_cache_at(c, &disk, 11 * S)->names[1], "sda");
    identity_cache_free(c);
}

Test(identity_cache, a_name_that_changes_is_read_again)
{
    struct identity_cache *c = cache(0);

    put(c, "naa.1", "sda", 10 * S);
    put(c, "naa.1", "sdb", 11 * S);
    cr_assert_str_eq(identity_cache_at(c, &disk, 11 * S)->names[1], "sdb");
    identity_cache_free(c);
}

Test(identity_cache, what_is_old_changed_or_has_just_come_wants_to_be_read)
{
    struct identity_cache *c = cache(0);

    cr_assert(identity_cache_wants(c, &disk, 10 * S), "never read");
    put(c, "naa.1", "sda", 10 * S);
    cr_assert_not(identity_cache_wants(c, &disk, 14 * S));
    cr_assert(identity_cache_wants(c, &disk, 15 * S));
    put(c, "naa.1", "sda", 15 * S);
    identity_cache_changed(c, &target);
    cr_assert(identity_cache_wants(c, &disk, 15 * S));
    identity_cache_removed(c, &disk, 16 * S);
    cr_assert_not(identity_cache_wants(c, &disk, 16 * S), "there is nothing to read");
    identity_cache_added(c, &disk, 17 * S);
    put(c, "naa.1", "", 17 * S);
    cr_assert_not(identity_cache_wants(c, &disk, 17 * S));
    cr_assert(identity_cache_wants(c, &disk, 18 * S), "its disk comes later");
    identity_cache_free(c);
}

Test(identity_cache, a_place_without_anything_is_not_read_for_every_event)
{
    struct identity_cache *c = cache(0);

    identity_cache_absent(c, &disk, 10 * S);
    cr_assert_not(identity_cache_wants(c, &disk, 11 * S));
    cr_assert_str_eq(at(c, 11 * S), "nobody");
    cr_assert(identity_cache_wants(c, &disk, 15 * S));
    put(c, "naa.1", "sda", 15 * S);
    cr_assert_str_eq(at(c, 15 * S), "naa.1");
    identity_cache_free(c);
}

Test(identity_cache, an_adapter_takes_its_devices_with_it)
{
    struct identity_cache *c = cache(0);

    put(c, "naa.1", "sda", 10 * S);
    identity_cache_removed(c, &adapter, 20 * S);
    cr_assert_str_eq(at(c, 81 * S), "nobody");
    identity_cache_free(c);
}

Test(identity_cache, observations_say_what_comes_goes_and_changes)
{
    struct identity_cache *c = cache(0);
    struct observation o = {.source = SENSEBUS__V1__SOURCE__SOURCE_UEVENT, .place = disk, .boot_ns = 20 * S};

    put(c, "naa.1", "sda", 10 * S);
    o.code = SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED;
    identity_cache_observe(c, &o);
    cr_assert(identity_cache_wants(c, &disk, 10 * S));
    o.code = SENSEBUS__V1__CODE__DEVICE_REMOVED;
    identity_cache_observe(c, &o);
    o.code = SENSEBUS__V1__CODE__DEVICE_ADDED;
    o.boot_ns = 30 * S;
    identity_cache_observe(c, &o);
    put(c, "naa.2", "sda", 31 * S);
    cr_assert_str_eq(at(c, 29 * S), "naa.1");
    cr_assert_str_eq(at(c, 30 * S), "naa.2");
    o.source = SENSEBUS__V1__SOURCE__SOURCE_SYSFS;
    o.boot_ns = 35 * S;
    identity_cache_observe(c, &o);
    cr_assert_str_eq(at(c, 36 * S), "naa.2", "found later, and the same");
    identity_cache_free(c);
}

Test(identity_cache, when_full_the_place_that_was_not_asked_for_longest_is_forgotten)
{
    struct identity_cache *c = cache(3);
    struct kernel_device d = known("naa.1", "sda");

    for (int64_t lun = 0; lun < 3; lun++) {
        d.place.lun = lun;
        cr_assert_eq(identity_cache_put(c, &d, S), 0);
    }
    d.place.lun = 0;
    cr_assert_not_null(identity_cache_at(c, &d.place, S));
    d.place.lun = 3;
    cr_assert_eq(identity_cache_put(c, &d, S), 0);
    cr_assert_eq(identity_cache_size(c), 3);
    d.place.lun = 0;
    cr_assert_not_null(identity_cache_at(c, &d.place, S));
    d.place.lun = 1;
    cr_assert_null(identity_cache_at(c, &d.place, S));
    identity_cache_free(c);
}

Test(identity_cache, any_sequence_keeps_its_bounds_and_times_in_order)
{
    static const char *const names[] = {"naa.1", "naa.2", "naa.3"};
    struct identity_cache *c = cache(5);
    uint64_t now = S;

    srand(3);
    for (int i = 0; i < 10000; i++) {
        struct kernel_device d = known(names[rand() % 3], "sda");
        struct observation_place place = {rand() % 2, 0, rand() % 4 ? 0 : -1, -1};

        if (place.target == 0 && rand() % 4)
            place.lun = rand() % 6;
        d.place = place;
        now += (uint32_t)rand() % (2 * S);
        switch (rand() % 6) {
        case 0: identity_cache_added(c, &place, now); break;
        case 1: identity_cache_removed(c, &place, now); break;
        case 2: identity_cache_changed(c, &place); break;
        case 3: identity_cache_absent(c, &place, now); break;
        default: cr_assert_eq(identity_cache_put(c, &d, now), 0);
        }
        cr_assert_leq(identity_cache_size(c), 5);
        (void)identity_cache_at(c, &place, now - (uint32_t)rand() % S);
    }
    identity_cache_free(c);
}
