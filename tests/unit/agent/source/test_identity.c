/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/event_view.h"
#include "sensebus/v1/event.pb-c.h"

#define TRANSPORT(name) SENSEBUS__V1__TRANSPORT__TRANSPORT_##name

static void file(struct identity_file *f, const char *text)
{
    f->len = strlen(text);
    memcpy(f->bytes, text, f->len);
}

static void page(struct identity_page_file *f, const void *bytes, size_t len)
{
    f->len = len;
    memcpy(f->bytes, bytes, len);
}

/* As Linux 6.1 shows a disk of LIO over iSCSI. */
static struct identity_facts *a_disk(void)
{
    static const uint8_t naa[] = {0,    0x83, 0,    20,   1,    3,    0,    16,   0x60, 0x01, 0x40, 0x5a,
                                  0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12};
    static const uint8_t serial[] = {0, 0x80, 0, 4, 'S', 'N', '4', '2'};
    uint8_t inquiry[36] = {0, 0, 6, 2, 31};
    struct identity_facts *f = calloc(1, sizeof *f);

    memcpy(inquiry + 8, "LIO-ORG d0              4.0 ", 28);
    f->place = (struct observation_place){3, 0, 0, 4};
    strcpy(f->path, "/devices/platform/host3/session1/target3:0:0/3:0:0:4");
    page(&f->inquiry, inquiry, sizeof inquiry);
    page(&f->vpd_pg83, naa, sizeof naa);
    page(&f->vpd_pg80, serial, sizeof serial);
    file(&f->proc_name, "iscsi_tcp\n");
    file(&f->block, "sdc");
    file(&f->generic, "sg3");
    file(&f->map_name, "mpathb\n");
    file(&f->map_uuid, "mpath-36001405abcdef\n");
    file(&f->iscsi_target, "iqn.2026-01.example:t1\n");
    file(&f->iscsi_address, "192.0.2.7\n");
    file(&f->iscsi_port, "3260\n");
    file(&f->iscsi_tpgt, "1\n");
    return f;
}

Test(identity, a_disk_is_named_by_all_that_sysfs_knows)
{
    struct identity_facts *f = a_disk();
    struct identity_place p;
    struct kernel_device d;

    identity_from_facts(f, &d);
    identity_fill_place(&p, &d, NULL, NULL);
    free(f);
    cr_assert_str_eq(p.place.adapter, "host3");
    cr_assert_eq(p.place.controller, 3);
    cr_assert_eq(p.place.target, 0);
    cr_assert_eq(p.place.lun, 4);
    cr_assert_eq(p.place.kernel->bus, 0);
    cr_assert_eq(p.place.kernel->lun_raw, 0x0004000000000000);
    cr_assert_eq(p.place.kernel->transport, TRANSPORT(ISCSI));
    cr_assert_eq(p.place.kernel->n_names, 4);
    cr_assert_str_eq(p.place.kernel->names[0], "3:0:0:4");
    cr_assert_str_eq(p.place.kernel->names[1], "sdc");
    cr_assert_str_eq(p.place.kernel->names[2], "sg3");
    cr_assert_str_eq(p.place.kernel->names[3], "mpathb");
    cr_assert_str_eq(p.place.identity->vendor, "LIO-ORG");
    cr_assert_str_eq(p.place.identity->product, "d0");
    cr_assert_str_eq(p.place.identity->revision, "4.0");
    cr_assert_str_eq(p.place.identity->serial, "SN42");
    cr_assert_str_eq(p.place.identity->designator, "naa.6001405abcdef0123456789abcdef012");
    cr_assert_str_eq(p.place.target_name, "iqn.2026-01.example:t1");
    cr_assert_str_eq(p.place.portal, "192.0.2.7:3260,1");

    identity_fill_place(&p, &d, "iqn.other", "p:1");
    cr_assert_str_eq(p.place.target_name, "iqn.other", "the hook's own word comes first");
    cr_assert_str_eq(p.place.portal, "p:1");
}

Test(identity, the_transport_is_told_by_the_path_else_by_the_driver)
{
    static const struct {
        const char *path, *driver;
        int transport;
    } cases[] = {
        {"/devices/platform/host3/session1/target3:0:0/3:0:0:4", "iscsi_tcp", TRANSPORT(ISCSI)},
        {"/devices/pci0000:00/0000:00:05.0/host5/rport-5:0-2/target5:0:0/5:0:0:0", "lpfc", TRANSPORT(FC)},
        {"/devices/pci0000:00/0000:00:05.0/host1/port-1:0/end_device-1:0/target1:0:0/1:0:0:0", "", TRANSPORT(SAS)},
        {"/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0", "", TRANSPORT(USB)},
        {"/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0", "ahci", TRANSPORT(ATA)},
        {"/devices/pci0000:00/0000:00:03.0/virtio0/host2/target2:0:0/2:0:0:0", "virtio_scsi", TRANSPORT(VIRTUAL)},
        {"/devices/pseudo_0/adapter0/host0/target0:0:0/0:0:0:0", "scsi_debug", TRANSPORT(VIRTUAL)},
        {"/devices/tcm_loop_0/tcm_loop_adapter_0/host4/target4:0:1/4:0:1:0", "tcm_loopback", TRANSPORT(VIRTUAL)},
        {"/devices/pci0000:00/0000:00:05.0/host1/target1:0:0/1:0:0:0", "mptspi", TRANSPORT(SPI)},
        {"/devices/pci0000:00/0000:00:05.0/host1/target1:0:0/1:0:0:0", "ib_srp", TRANSPORT(SRP)},
        {"/devices/pci0000:00/0000:00:05.0/host1/target1:0:0/1:0:0:0", "hpsa", TRANSPORT(UNSPECIFIED)},
        {"/devices/sessions/usbless/host1", "", TRANSPORT(UNSPECIFIED)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct identity_facts *f = calloc(1, sizeof *f);
        struct kernel_device d;

        strcpy(f->path, cases[i].path);
        file(&f->proc_name, cases[i].driver);
        identity_from_facts(f, &d);
        cr_assert_eq(d.transport, (uint32_t)cases[i].transport, "%s", cases[i].path);
        free(f);
    }
}

Test(identity, a_remote_port_is_named_by_its_wwpn)
{
    struct identity_facts *f = a_disk();
    struct kernel_device d;

    f->iscsi_target.len = 0;
    file(&f->port_name, "0x50014380186b46aa\n");
    identity_from_facts(f, &d);
    cr_assert_str_eq(d.target_name, "naa.50014380186b46aa");
    cr_assert_str_eq(d.portal, "");
    file(&f->port_name, "0x5001\n");
    identity_from_facts(f, &d);
    cr_assert_str_eq(d.target_name, "", "no WWPN");
    free(f);
}

Test(identity, an_address_of_six_has_brackets)
{
    struct identity_facts *f = a_disk();
    struct kernel_device d;

    file(&f->iscsi_address, "2001:db8::7\n");
    f->iscsi_tpgt.len = 0;
    identity_from_facts(f, &d);
    cr_assert_str_eq(d.portal, "[2001:db8::7]:3260");
    free(f);
}

Test(identity, without_pages_the_kernels_own_words_count)
{
    struct identity_facts *f = a_disk();
    struct kernel_device d;

    f->inquiry.len = f->vpd_pg83.len = f->vpd_pg80.len = 0;
    file(&f->vendor, "LIO-ORG \n");
    file(&f->model, "d0              \n");
    file(&f->rev, "4.0 \n");
    file(&f->type, "5\n");
    file(&f->wwid, "t10.LIO-ORG d0  1234\n");
    identity_from_facts(f, &d);
    cr_assert(d.identity.known);
    cr_assert_str_eq(d.identity.vendor, "LIO-ORG");
    cr_assert_str_eq(d.identity.product, "d0");
    cr_assert_eq(d.identity.device_type, 5);
    cr_assert_str_eq(d.identity.designator, "t10.LIO-ORG d0  1234");
    file(&f->type, "banana\n");
    identity_from_facts(f, &d);
    cr_assert_not(d.identity.known);
    free(f);
}

Test(identity, a_map_that_is_no_multipath_is_no_name)
{
    struct identity_facts *f = a_disk();
    struct kernel_device d;

    file(&f->map_uuid, "LVM-abc\n");
    identity_from_facts(f, &d);
    cr_assert_eq(d.n_names, 3);
    free(f);
}

Test(identity, luns_of_the_kernel_are_four_words_the_first_lowest)
{
    cr_assert_eq(identity_lun_raw(4), 0x0004000000000000);
    cr_assert_eq(identity_lun_raw(0x4100), 0x4100000000000000, "flat space addressing");
    cr_assert_eq(identity_lun_flat(0x4100), 256);
    cr_assert_eq(identity_lun_flat(255), 255);
    cr_assert_eq(identity_lun_raw(0x00020001), 0x0001000200000000);
    cr_assert_eq(identity_lun_flat(0x00020001), 0x00020001, "a hierarchy has no flat number");
    cr_assert_eq(identity_lun_flat(-1), -1);
}

Test(identity, places_are_named_as_sysfs_names_them)
{
    char buf[IDENTITY_NAME_BYTES];

    cr_assert_str_eq(identity_place_text(&(struct observation_place){3, 0, 1, 4}, buf), "3:0:1:4");
    cr_assert_str_eq(identity_place_text(&(struct observation_place){3, 0, 1, -1}, buf), "target3:0:1");
    cr_assert_str_eq(identity_place_text(&(struct observation_place){3, 0, -1, -1}, buf), "host3");
    cr_assert_str_eq(identity_place_text(&(struct observation_place){-1, -1, -1, -1}, buf), "");
}

/* ------------------------------------------------------------------------------------------------ hostile */

static void check_text(const char *text, size_t cap)
{
    size_t len = strnlen(text, cap);

    cr_assert_lt(len, cap);
    cr_assert(utf8_valid((const uint8_t *)text, len));
}

static void fill(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rand();
}

Test(identity, whatever_the_files_hold_all_texts_are_utf8_and_end)
{
    srand(7);
    for (int round = 0; round < 1000; round++) {
        struct identity_facts *f = a_disk();
        struct identity_file *files[] = {&f->proc_name,  &f->vendor,        &f->model,      &f->rev,
                                         &f->type,       &f->wwid,          &f->block,      &f->generic,
                                         &f->other,      &f->map_name,      &f->map_uuid,   &f->iscsi_target,
                                         &f->iscsi_port, &f->iscsi_address, &f->iscsi_tpgt, &f->port_name};
        struct identity_page_file *pages[] = {&f->inquiry, &f->vpd_pg80, &f->vpd_pg83};
        struct kernel_device d;

        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            if (rand() % 2)
                continue;
            files[i]->len = (size_t)rand() % (IDENTITY_TEXT_BYTES + 1);
            fill(files[i]->bytes + (rand() % 2 ? 4 : 0), files[i]->len > 4 ? files[i]->len - 4 : 0);
        }
        for (size_t i = 0; i < 3; i++) {
            if (rand() % 2)
                continue;
            pages[i]->len = (size_t)rand() % (IDENTITY_PAGE_BYTES + 1);
            fill(pages[i]->bytes + 2, pages[i]->len > 2 ? pages[i]->len - 2 : 0);
        }
        fill((uint8_t *)f->path, (size_t)rand() % (sizeof f->path - 1));
        f->path[sizeof f->path - 1] = 0;

        identity_from_facts(f, &d);
        cr_assert_leq(d.n_names, IDENTITY_MAX_NAMES);
        for (size_t i = 0; i < d.n_names; i++)
            check_text(d.names[i], sizeof d.names[i]);
        check_text(d.target_name, sizeof d.target_name);
        check_text(d.portal, sizeof d.portal);
        check_text(d.identity.vendor, sizeof d.identity.vendor);
        check_text(d.identity.product, sizeof d.identity.product);
        check_text(d.identity.serial, sizeof d.identity.serial);
        check_text(d.identity.designator, sizeof d.identity.designator);
        free(f);
    }
}
