/* SPDX-License-Identifier: Apache-2.0 */
/* The files of sysfs that say who a device is: each is one byte of length, its number, and the bytes; a page has two
 * bytes of length. Devices and targets choose most of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/identity.h"
#include "proto/event_view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);

    if (len == cap || !utf8_valid((const uint8_t *)text, len))
        abort();
}

/* Take up to `cap` of the next `want` bytes. */
static size_t take(const uint8_t **data, size_t *size, size_t want, void *out, size_t cap)
{
    size_t n = want < *size ? want : *size;

    n = n < cap ? n : cap;
    memcpy(out, *data, n);
    *data += n;
    *size -= n;
    return n;
}

static void check(const struct kernel_device *d)
{
    struct identity_place p;

    identity_fill_place(&p, d, NULL, NULL);
    if (d->n_names > IDENTITY_MAX_NAMES)
        abort();
    for (size_t i = 0; i < d->n_names; i++)
        check_text(p.names[i], IDENTITY_NAME_BYTES);
    check_text(d->adapter, sizeof d->adapter);
    check_text(d->target_name, sizeof d->target_name);
    check_text(d->portal, sizeof d->portal);
    check_text(d->identity.vendor, sizeof d->identity.vendor);
    check_text(d->identity.product, sizeof d->identity.product);
    check_text(d->identity.revision, sizeof d->identity.revision);
    check_text(d->identity.serial, sizeof d->identity.serial);
    check_text(d->identity.designator, sizeof d->identity.designator);
    if (d->identity.device_type < -1 || d->identity.device_type > 31 || p.place.lun < -1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity_facts *f = calloc(1, sizeof *f);
    struct kernel_device d;

    if (!f)
        return 0;
    {
        struct identity_file *files[] = {&f->proc_name,  &f->vendor,        &f->model,      &f->rev,
                                         &f->type,       &f->wwid,          &f->block,      &f->generic,
                                         &f->other,      &f->map_name,      &f->map_uuid,   &f->iscsi_target,
                                         &f->iscsi_port, &f->iscsi_address, &f->iscsi_tpgt, &f->port_name};
        struct identity_page_file *pages[] = {&f->inquiry, &f->vpd_pg80, &f->vpd_pg83};
        const size_t n_files = sizeof files / sizeof *files;

        f->place = (struct observation_place){3, 0, 0, 4};
        while (size > 2) {
            size_t len = data[0], number = data[1] % (n_files + 5);

            data += 2, size -= 2;
            if (number < n_files) {
                files[number]->len = take(&data, &size, len, files[number]->bytes, sizeof files[number]->bytes);
            } else if (number < n_files + 3) {
                struct identity_page_file *page = pages[number - n_files];

                page->len = take(&data, &size, 8 * len, page->bytes, sizeof page->bytes);
            } else if (number == n_files + 3) {
                memset(f->path, 0, sizeof f->path);
                take(&data, &size, len, f->path, sizeof f->path - 1);
            } else {
                uint64_t lun = 0;

                take(&data, &size, sizeof lun, &lun, sizeof lun);
                f->place.lun = (int64_t)(lun >> 1);
            }
        }
    }
    identity_from_facts(f, &d);
    check(&d);
    free(f);
    return 0;
}
