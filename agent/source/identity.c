/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"
#include "sensebus/v1/event.pb-c.h"

#define TRANSPORT(name) SENSEBUS__V1__TRANSPORT__TRANSPORT_##name

/* ------------------------------------------------------------------------------------------------ numbers */

const char *identity_place_text(const struct observation_place *p, char buf[IDENTITY_NAME_BYTES])
{
    if (p->host < 0)
        buf[0] = 0;
    else if (p->target < 0)
        snprintf(buf, IDENTITY_NAME_BYTES, "host%" PRId32, p->host);
    else if (p->lun < 0)
        snprintf(buf, IDENTITY_NAME_BYTES, "target%" PRId32 ":%" PRId32 ":%" PRId32, p->host, p->channel, p->target);
    else
        snprintf(buf, IDENTITY_NAME_BYTES, "%" PRId32 ":%" PRId32 ":%" PRId32 ":%" PRId64, p->host, p->channel,
                 p->target, p->lun);
    return buf;
}

uint64_t identity_lun_raw(int64_t kernel_lun)
{
    uint64_t lun = kernel_lun < 0 ? 0 : (uint64_t)kernel_lun, raw = 0;

    for (unsigned word = 0; word < 4; word++)
        raw |= (lun >> (16 * word) & 0xffff) << (48 - 16 * word);
    return raw;
}

int64_t identity_lun_flat(int64_t kernel_lun)
{
    uint16_t flat;

    if (kernel_lun < 0 || !inventory_lun_flat(identity_lun_raw(kernel_lun), &flat))
        return kernel_lun;
    return flat;
}

void identity_from_place(const struct observation_place *place, struct kernel_device *out)
{
    memset(out, 0, sizeof *out);
    out->place = *place;
    identity_init(&out->identity);
    if (place->host >= 0)
        snprintf(out->adapter, sizeof out->adapter, "host%" PRId32, place->host);
    if (place->target >= 0 && place->lun >= 0)
        identity_place_text(place, out->names[out->n_names++]);
}

/* ------------------------------------------------------------------------------------------------ texts */

/* Up to the end of the line; spaces around it removed. False when there is none. */
static bool line_of(const struct identity_file *f, char *out, size_t cap)
{
    const uint8_t *end = f->len > 0 ? memchr(f->bytes, '\n', f->len) : NULL;

    identify_text(f->bytes, end ? (size_t)(end - f->bytes) : f->len, out, cap);
    return out[0] != 0;
}

static void add_name(struct kernel_device *d, const struct identity_file *f)
{
    if (d->n_names < IDENTITY_MAX_NAMES && line_of(f, d->names[d->n_names], IDENTITY_NAME_BYTES))
        d->n_names++;
}

/* ------------------------------------------------------------------------------------------------ INQUIRY and VPD */

static void read_inquiry(const struct identity_facts *f, struct identity *id)
{
    char type[16];
    char *end;
    long n;

    if (identify_inquiry(f->inquiry.bytes, f->inquiry.len, id) == 0)
        return;
    /* A kernel without the page: its own words for it. */
    if (!line_of(&f->type, type, sizeof type))
        return;
    n = strtol(type, &end, 10);
    if (*end || n < 0 || n > 31)
        return;
    id->known = true;
    id->device_type = (int32_t)n;
    line_of(&f->vendor, id->vendor, sizeof id->vendor);
    line_of(&f->model, id->product, sizeof id->product);
    line_of(&f->rev, id->revision, sizeof id->revision);
}

static void read_designator(const struct identity_facts *f, struct identity *id)
{
    static const char *const kinds[] = {"naa.", "eui.", "t10."};
    char wwid[IDENTITY_DESIGNATOR_BYTES];

    identify_vpd_serial(f->vpd_pg80.bytes, f->vpd_pg80.len, id);
    identify_vpd_designators(f->vpd_pg83.bytes, f->vpd_pg83.len, id);
    if (id->designator[0] || !line_of(&f->wwid, wwid, sizeof wwid))
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(wwid, kinds[i], 4) == 0)
            memcpy(id->designator, wwid, sizeof wwid);
}

/* ------------------------------------------------------------------------------------------------ transport */

/* What a component of the path begins with, with a digit behind where there is a number. */
static const struct {
    const char *prefix;
    bool number;
    uint32_t transport;
} path_parts[] = {
    {"session", true, TRANSPORT(ISCSI)},   {"rport-", true, TRANSPORT(FC)},
    {"end_device-", true, TRANSPORT(SAS)}, {"usb", true, TRANSPORT(USB)},
    {"ata", true, TRANSPORT(ATA)},         {"virtio", true, TRANSPORT(VIRTUAL)},
    {"pseudo_", true, TRANSPORT(VIRTUAL)}, {"tcm_loop_", false, TRANSPORT(VIRTUAL)},
};

/* By the driver of the adapter, where the path does not tell. */
static const struct {
    const char *proc_name;
    uint32_t transport;
} drivers[] = {
    {"iscsi_tcp", TRANSPORT(ISCSI)},
    {"iser", TRANSPORT(ISCSI)},
    {"ib_srp", TRANSPORT(SRP)},
    {"virtio_scsi", TRANSPORT(VIRTUAL)},
    {"scsi_debug", TRANSPORT(VIRTUAL)},
    {"tcm_loopback", TRANSPORT(VIRTUAL)},
    {"vmw_pvscsi", TRANSPORT(VIRTUAL)},
    {"storvsc", TRANSPORT(VIRTUAL)},
    {"ibmvscsi", TRANSPORT(VIRTUAL)},
    {"xen-scsifront", TRANSPORT(VIRTUAL)},
    {"usb-storage", TRANSPORT(USB)},
    {"uas", TRANSPORT(USB)},
    {"ahci", TRANSPORT(ATA)},
    {"ata_piix", TRANSPORT(ATA)},
    {"mptsas", TRANSPORT(SAS)},
    {"mpt2sas", TRANSPORT(SAS)},
    {"mpt3sas", TRANSPORT(SAS)},
    {"mpi3mr", TRANSPORT(SAS)},
    {"fcoe", TRANSPORT(FC)},
    {"lpfc", TRANSPORT(FC)},
    {"qla2xxx", TRANSPORT(FC)},
    {"ibmvfc", TRANSPORT(FC)},
    {"sym53c8xx", TRANSPORT(SPI)},
    {"mptspi", TRANSPORT(SPI)},
    {"aic7xxx", TRANSPORT(SPI)},
    {"aic79xx", TRANSPORT(SPI)},
};

static uint32_t transport_of(const struct identity_facts *f)
{
    uint32_t transport = TRANSPORT(UNSPECIFIED);
    char driver[32];

    /* The last component that tells: a disk behind USB behind PCI is a USB disk. */
    for (const char *part = f->path; *part; part += strcspn(part, "/")) {
        part += strspn(part, "/");
        for (size_t i = 0; i < sizeof path_parts / sizeof *path_parts; i++) {
            size_t len = strlen(path_parts[i].prefix);

            if (strncmp(part, path_parts[i].prefix, len) == 0 &&
                (!path_parts[i].number || (part[len] >= '0' && part[len] <= '9')))
                transport = path_parts[i].transport;
        }
    }
    if (transport || !line_of(&f->proc_name, driver, sizeof driver))
        return transport;
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (strcmp(driver, drivers[i].proc_name) == 0)
            return drivers[i].transport;
    return transport;
}

/* "0x50014380…" to "naa.50014380…". */
static void read_port_name(const struct identity_file *f, char out[IDENTITY_TARGET_BYTES])
{
    char text[32];
    const char *digits = text + 2;

    if (!line_of(f, text, sizeof text) || strncmp(text, "0x", 2) != 0 || strlen(digits) != 16 ||
        strspn(digits, "0123456789abcdef") != 16)
        return;
    snprintf(out, IDENTITY_TARGET_BYTES, "naa.%s", digits);
}

/* "address:port,tpgt" (RFC 7143 section 4.2.8). */
static void read_portal(const struct identity_facts *f, char out[IDENTITY_PORTAL_BYTES])
{
    char address[64], port[8], tpgt[8];
    bool six, tagged = line_of(&f->iscsi_tpgt, tpgt, sizeof tpgt);

    if (!line_of(&f->iscsi_address, address, sizeof address) || !line_of(&f->iscsi_port, port, sizeof port))
        return;
    six = strchr(address, ':') && address[0] != '[';
    snprintf(out, IDENTITY_PORTAL_BYTES, "%s%s%s:%s%s%s", six ? "[" : "", address, six ? "]" : "", port,
             tagged ? "," : "", tagged ? tpgt : "");
}

void identity_from_facts(const struct identity_facts *f, struct kernel_device *out)
{
    char uuid[IDENTITY_NAME_BYTES];

    identity_from_place(&f->place, out);
    read_inquiry(f, &out->identity);
    read_designator(f, &out->identity);
    out->transport = transport_of(f);
    if (line_of(&f->iscsi_target, out->target_name, sizeof out->target_name))
        read_portal(f, out->portal);
    else
        read_port_name(&f->port_name, out->target_name);
    add_name(out, &f->block);
    add_name(out, &f->generic);
    add_name(out, &f->other);
    if (line_of(&f->map_uuid, uuid, sizeof uuid) && strncmp(uuid, "mpath-", 6) == 0)
        add_name(out, &f->map_name);
}

/* ------------------------------------------------------------------------------------------------ records */

void identity_fill_place(struct identity_place *out, const struct kernel_device *d, const char *target_name,
                         const char *portal)
{
    const struct observation_place *p = &d->place;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < d->n_names; i++)
        out->names[i] = d->names[i];
    out->kernel = (struct record_kernel){
        .transport = d->transport,
        .bus = p->channel,
        .lun_raw = p->lun >= 0 ? identity_lun_raw(p->lun) : 0,
        .names = out->names,
        .n_names = d->n_names,
    };
    out->place = (struct record_place){
        .adapter = d->adapter[0] ? d->adapter : NULL,
        .controller = p->host,
        .target = p->target,
        .lun = identity_lun_flat(p->lun),
        .target_name = target_name         ? target_name
                       : d->target_name[0] ? d->target_name
                                           : NULL,
        .portal = portal         ? portal
                  : d->portal[0] ? d->portal
                                 : NULL,
        .identity = d->identity.known ? &d->identity : NULL,
        .kernel = &out->kernel,
    };
}
