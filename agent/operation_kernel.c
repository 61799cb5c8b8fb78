/* SPDX-License-Identifier: Apache-2.0 */
/* What is done at a device of the host's own kernel, for a session that only observes: OPEN (sysfs says who is there),
 * INQUIRY from the pages that the kernel keeps, RESET by SG_SCSI_RESET where the configuration allows it. HALT and TEST
 * UNIT READY would be commands to the device, and are refused: an answer that the device did not give would be a silent
 * success (semantics.md rule 12). Nothing here asks a device. */
#include "agent/operation.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "agent/kernel/cached_page.h"
#include "agent/kernel/kernel.h"
#include "agent/kernel/sysfs_file.h"
#include "agent/message_parts.h"
#include "agent/operations.h"
#include "agent/source/identity.h"
#include "agent/source/identity_sysfs.h"
#include "runtime/clock.h"
#include "sensebus/v1/code.pb-c.h"

#define ERRNO_(name)  SENSEBUS__V1__ERRNO__ERRNO_##name
#define DETAIL_(name) SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##name

static struct kernel *kernel_of(const struct operations *o)
{
    return o->options.adapters->kernel;
}

static const char *root_of(const struct operations *o)
{
    return kernel_sysfs_root(kernel_of(o));
}

static bool refuse_gone(const struct observation_place *place, struct refusal *why)
{
    char name[IDENTITY_NAME_BYTES];

    refuse(why, ERRNO_(ENODEV), DETAIL_(NONE), "the kernel has no device %s any more",
           identity_place_text(place, name));
    return false;
}

/* Its state in the kernel's words; false, with `why`, when it is gone. */
static bool find_state(const struct operations *o, const struct observation_place *place, char state[32],
                       struct refusal *why)
{
    int rc = sysfs_file_state(root_of(o), place, state, 32);

    if (rc == UV_ENODEV)
        return refuse_gone(place, why);
    if (rc < 0)
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "the state of the device: %s", uv_strerror(rc));
    return rc == 0;
}

/* ------------------------------------------------------------------------------------------------ OPEN */

static void answer_open(struct operation *op, const struct kernel_device *reached)
{
    const struct observation_place *p = &op->place;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult opened = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    Sensebus__V1__Device device;
    char *names[IDENTITY_MAX_NAMES];

    for (size_t i = 0; i < reached->n_names; i++)
        names[i] = (char *)reached->names[i];
    message_device(&device, &reached->identity, reached->target_name, reached->portal);
    device.transport = (Sensebus__V1__Transport)reached->transport;
    device.kernel_names = names;
    device.n_kernel_names = reached->n_names;
    address.host = (char *)op->owner->options.host;
    address.adapter = (char *)reached->adapter;
    address.bus = p->channel;
    address.target = p->target;
    address.target_name = (char *)reached->target_name;
    address.lun = identity_lun_flat(p->lun);
    opened.reached = &device;
    opened.address = &address;
    opened.controller = p->host;
    opened.adapter_major = ADAPTER_MAJOR_KERNEL;
    opened.adapter_minor = (uint32_t)p->host;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &opened;
    operation_answer(op, &result);
}

/* A device that is offline can be observed, too: that is how its return is heard of. */
bool operation_kernel_open(struct operation *op, struct refusal *why)
{
    struct identity_facts facts;
    struct kernel_device reached;
    int rc = identity_sysfs_read(root_of(op->owner), &op->place, &facts);

    if (rc == UV_ENOENT)
        return refuse_gone(&op->place, why);
    if (rc < 0) {
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "the device in sysfs: %s", uv_strerror(rc));
        return false;
    }
    identity_from_facts(&facts, &reached);
    op->session->open = true;
    answer_open(op, &reached);
    return true;
}

/* ------------------------------------------------------------------------------------------------ commands */

static bool refuse_command(struct operation *op, const char *command, struct refusal *why)
{
    char name[IDENTITY_NAME_BYTES], state[32];

    if (find_state(op->owner, &op->place, state, why))
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED),
               "%s: a session of the kernel's device %s only observes; its state is %s", command,
               identity_place_text(&op->place, name), state);
    return false;
}

bool operation_kernel_halt(struct operation *op, struct refusal *why)
{
    return refuse_command(op, "HALT", why);
}

bool operation_kernel_test_unit_ready(struct operation *op, struct refusal *why)
{
    return refuse_command(op, "TEST UNIT READY", why);
}

static bool refuse_page(const struct operation *op, int page, int rc, struct refusal *why)
{
    char name[16] = "standard data", list[CACHED_PAGE_LIST_BYTES];

    if (page != CACHED_PAGE_STANDARD)
        snprintf(name, sizeof name, "VPD page %02Xh", (unsigned)page);
    switch (rc) {
    case UV_ENODEV: return refuse_gone(&op->place, why);
    case UV_ENOENT:
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "INQUIRY: the kernel keeps no %s of the device; pages: %s",
               name, cached_page_list(root_of(op->owner), &op->place, list));
        break;
    case UV_EPROTO:
        refuse(why, ERRNO_(EIO), DETAIL_(NONE), "INQUIRY: what the kernel keeps as %s is malformed", name);
        break;
    case UV_ENOMEM: refuse(why, ERRNO_(ENOMEM), DETAIL_(NONE), "the agent is out of memory"); break;
    default: refuse(why, ERRNO_(EIO), DETAIL_(NONE), "INQUIRY: %s: %s", name, uv_strerror(rc)); break;
    }
    return false;
}

_Static_assert(CACHED_PAGE_STANDARD == COMMAND_STANDARD_INQUIRY, "one number for both");

bool operation_kernel_inquiry(struct operation *op, int page, struct refusal *why)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__CommandResult command = SENSEBUS__V1__COMMAND_RESULT__INIT;
    uint8_t *bytes;
    size_t len;
    int rc = cached_page_read(root_of(op->owner), &op->place, page, &bytes, &len);

    if (rc < 0)
        return refuse_page(op, page, rc, why);
    command.data.data = bytes;
    command.data.len = len;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND;
    result.command = &command;
    operation_answer(op, &result);
    free(bytes);
    return true;
}

/* ------------------------------------------------------------------------------------------------ RESET */

static int mode_of(const struct operation *op)
{
    return op->lun_reset ? RESET_MODE_UNIT : RESET_MODE_TARGET;
}

static void report_reset(struct operation *op)
{
    const struct operations *o = op->owner;
    struct observation_place at = op->place;
    struct identity_facts facts;
    struct kernel_device device;
    struct identity_place place;
    struct record r = {
        .code = op->lun_reset ? SENSEBUS__V1__CODE__LUN_RESET : SENSEBUS__V1__CODE__TARGET_RESET,
        .source = SENSEBUS__V1__SOURCE__SOURCE_AGENT,
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
        .origin_session = op->session_id,
        .native = {.name = "SG_SCSI_RESET",
                   .code = (uint32_t)mode_of(op),
                   .detail = op->lun_reset ? "LOGICAL UNIT RESET, asked for by a subscriber"
                                           : "TARGET RESET, asked for by a subscriber"},
    };

    if (!op->lun_reset)
        at.lun = -1;
    if (identity_sysfs_read(root_of(o), &at, &facts) == 0)
        identity_from_facts(&facts, &device);
    else
        identity_from_place(&at, &device);
    identity_fill_place(&place, &device, NULL, NULL);
    r.place = place.place;
    o->ops->on_record(o->data, &r);
    op->sequence = o->ops->reported(o->data);
}

static void on_reset(void *data, int rc, const char *words)
{
    struct operation *op = data;
    struct operations *o = op->owner;
    struct refusal why;

    op->resetting = false;
    if (rc == 0) {
        report_reset(op);
        operations_held(o); /* it may be held already */
        return;
    }
    switch (rc) {
    case UV_ENODEV: refuse(&why, ERRNO_(ENODEV), DETAIL_(NONE), "RESET: %s", words); break;
    case UV_EACCES:
    case UV_EPERM:
    case UV_ENOENT: refuse(&why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "RESET: %s", words); break;
    default: refuse(&why, ERRNO_(EIO), DETAIL_(NONE), "RESET: %s", words); break;
    }
    operation_refuse(op, &why);
}

bool operation_kernel_reset(struct operation *op, struct refusal *why)
{
    int rc;

    if (!kernel_allows_reset(kernel_of(op->owner))) {
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED),
               "RESET: not without --allow reset; a session of the kernel's device only observes");
        return false;
    }
    rc = kernel_reset(kernel_of(op->owner), &op->place, mode_of(op), on_reset, op);
    if (rc == UV_EBUSY)
        refuse(why, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED),
               "RESET: the kernel does %d already, and has not ended one", RESETS_MAX);
    else if (rc < 0)
        refuse(why, ERRNO_(ENOMEM), DETAIL_(NONE), "the agent: %s", uv_strerror(rc));
    op->resetting = rc == 0;
    return rc == 0;
}

/* ------------------------------------------------------------------------------------------------ EVENT */

bool operation_kernel_can_see_events(const struct operations *o, const struct device_session *s, struct refusal *why)
{
    char reason[300], state[32];

    if (!find_state(o, &s->place, state, why)) {
        char name[IDENTITY_NAME_BYTES];

        if (why->error == ERRNO_(ENODEV)) /* as for a unit that its target does not report any more */
            refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "no events: the kernel has no device %s any more",
                   identity_place_text(&s->place, name));
        return false;
    }
    if (!kernel_sees_events(kernel_of(o), reason, sizeof reason)) {
        refuse(why, ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), "no events of this device are seen now: %.280s", reason);
        return false;
    }
    return true;
}
