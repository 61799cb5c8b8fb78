/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of hook.bpf.c and target.bpf.c in the kernel: two kinds of one hook. The only user of libbpf.
 *
 * With CAP_SYS_ADMIN libbpf relocates them (CO-RE). If that fails, or with CAP_BPF and CAP_PERFMON alone, the offsets
 * are read here from the kernel's types, which everybody may read, and given to the object that has no relocations.
 * Without the trace point of ended commands, the first of each kind, there is nothing; any other that is missing is
 * said in `blind`. The types of the kernel take some 11 MB while they are read; that goes back to the system. */
#include <errno.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "agent/source/trace/hook.h"
#include "agent/source/trace/lockdown.h"

/* Generated from them; of each only the object's bytes are used. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "agent/source/trace/hook_core.skel.h"
#include "agent/source/trace/hook_offsets.skel.h"
#include "agent/source/trace/target_core.skel.h"
#include "agent/source/trace/target_offsets.skel.h"
#pragma GCC diagnostic pop

#define NEEDS "needs CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"

#define MAX_PROGRAMS 5

struct program {
    const char *name, *sees;
    bool with_last; /* it and the one before it are one to whoever reads what cannot be seen */
};

/* A member of a type of the kernel's, and where its offset goes. */
struct member {
    const char *type, *name;
    size_t offset;     /* in union offsets */
    size_t is_pointer; /* likewise: is the member one? 0: nobody asks */
};

union offsets {
    struct trace_offsets scsi;
    struct trace_answer_offsets target;
};

struct kind {
    const char *module; /* which has the types where the kernel itself does not */
    const void *(*core)(size_t *size);
    const void *(*offsets)(size_t *size);
    size_t offsets_bytes;
    const struct member *members;
    size_t n_members;
    struct program programs[MAX_PROGRAMS]; /* the first must be */
    const char *point;                     /* its trace point */
    int (*parse)(const uint8_t *bytes, size_t len, struct trace_record *out);
};

struct hook {
    const struct kind *kind;
    struct bpf_object *object;
    struct bpf_link *links[MAX_PROGRAMS];
    struct ring_buffer *ring;
    int lost_map;
    hook_record_cb cb; /* of the read that is running */
    void *data;
    uint32_t n_read;
    uint64_t n_garbage; /* records of no kind we know: counted as lost */
    char blind[HOOK_REASON_BYTES];
};

/* libbpf's last complaint, for the reason. Loading is all on one thread. */
static char complaint[HOOK_REASON_BYTES];

static int on_print(enum libbpf_print_level level, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static int on_print(enum libbpf_print_level level, const char *format, va_list arguments)
{
    if (level == LIBBPF_WARN && !complaint[0]) {
        vsnprintf(complaint, sizeof complaint, format, arguments);
        complaint[strcspn(complaint, "\n")] = 0;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ privileges */

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[capability / 32].effective >> (capability % 32) & 1;
}

static bool possible(const char *sysfs_root, char *reason, size_t reason_len)
{
    char path[256];

    snprintf(path, sizeof path, "%s/kernel/btf/vmlinux", sysfs_root);
    if (access(path, R_OK) < 0) {
        snprintf(reason, reason_len, "%s: %s (the kernel needs CONFIG_DEBUG_INFO_BTF)", path, strerror(errno));
        return false;
    }
    if (lockdown_forbids_tracing(sysfs_root, reason, reason_len))
        return false;
    if (!has_capability(CAP_SYS_ADMIN) && !(has_capability(CAP_BPF) && has_capability(CAP_PERFMON))) {
        snprintf(reason, reason_len, NEEDS);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ offsets */

#define SCSI(type, name, to)                                                                                           \
    {                                                                                                                  \
        type, name, offsetof(union offsets, scsi.to), 0                                                                \
    }
static const struct member scsi_members[] = {
    SCSI("scsi_cmnd", "device", cmnd_device),
    SCSI("scsi_cmnd", "result", cmnd_result),
    SCSI("scsi_cmnd", "sense_buffer", cmnd_sense_buffer),
    {"scsi_cmnd", "cmnd", offsetof(union offsets, scsi.cmnd_cmnd), offsetof(union offsets, scsi.cmnd_is_pointer)},
    SCSI("scsi_cmnd", "retries", cmnd_retries),
    SCSI("scsi_cmnd", "allowed", cmnd_allowed),
    SCSI("scsi_cmnd", "cmd_len", cmnd_cmd_len),
    SCSI("scsi_device", "host", device_host),
    SCSI("scsi_device", "id", device_id),
    SCSI("scsi_device", "channel", device_channel),
    SCSI("scsi_device", "lun", device_lun),
    SCSI("scsi_device", "sdev_state", device_state),
    SCSI("Scsi_Host", "host_no", host_no),
};

#define TARGET(type, name, to)                                                                                         \
    {                                                                                                                  \
        type, name, offsetof(union offsets, target.to), 0                                                              \
    }
static const struct member target_members[] = {
    TARGET("se_cmd", "scsi_status", cmd_status),
    TARGET("se_cmd", "orig_fe_lun", cmd_lun),
    TARGET("se_cmd", "t_task_cdb", cmd_cdb),
    TARGET("se_cmd", "sense_buffer", cmd_sense),
    TARGET("se_cmd", "se_sess", cmd_session),
    TARGET("se_cmd", "se_dev", cmd_device),
    TARGET("se_session", "se_node_acl", session_acl),
    TARGET("se_session", "se_tpg", session_group),
    TARGET("se_node_acl", "initiatorname", acl_name),
    TARGET("se_portal_group", "se_tpg_wwn", group_wwn),
    TARGET("se_portal_group", "tpg_group", group_item),
    TARGET("se_wwn", "wwn_group", wwn_item),
    TARGET("se_device", "se_hba", device_hba),
    TARGET("se_device", "dev_group", device_item),
    TARGET("se_hba", "hba_group", hba_item),
    TARGET("config_group", "cg_item", config_item),
    TARGET("config_item", "ci_name", item_name),
};

static const struct kind scsi_kind = {
    .module = "scsi_mod",
    .core = trace_core_hook__elf_bytes,
    .offsets = trace_offsets_hook__elf_bytes,
    .offsets_bytes = sizeof(struct trace_offsets),
    .members = scsi_members,
    .n_members = sizeof scsi_members / sizeof *scsi_members,
    .programs = {{"on_done", "failed commands"},
                 {"on_timeout", "timeouts"},
                 {"on_eh_wakeup", "error handlers"},
                 {"on_set_state", "device states"},
                 {"on_unblock", "states after a block", .with_last = true}},
    .point = "scsi_dispatch_cmd_done",
    .parse = trace_parse,
};

static const struct kind target_kind = {
    .module = "target_core_mod",
    .core = trace_core_target__elf_bytes,
    .offsets = trace_offsets_target__elf_bytes,
    .offsets_bytes = sizeof(struct trace_answer_offsets),
    .members = target_members,
    .n_members = sizeof target_members / sizeof *target_members,
    .programs = {{"on_answer", "answers with sense"}},
    .point = "target_cmd_complete",
    .parse = trace_parse_answer,
};

/* NULL when the type has no such member, or it is a bit field. */
static const struct btf_member *find_member(const struct btf *types, const char *type_name, const char *name)
{
    int id = btf__find_by_name_kind(types, type_name, BTF_KIND_STRUCT);
    const struct btf_type *type = id > 0 ? btf__type_by_id(types, (uint32_t)id) : NULL;

    for (uint16_t i = 0; type && i < btf_vlen(type); i++) {
        const struct btf_member *m = btf_members(type) + i;
        const char *found = btf__name_by_offset(types, m->name_off);

        if (found && strcmp(found, name) == 0)
            return btf_member_bitfield_size(type, i) == 0 && btf_member_bit_offset(type, i) % 8 == 0 ? m : NULL;
    }
    return NULL;
}

/* The offset is the whole word unless the type has bit fields: then its upper byte is their size, 0 for this one. */
static int find_offsets(const struct kind *kind, const struct btf *types, union offsets *out, char *reason,
                        size_t reason_len)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < kind->n_members; i++) {
        const struct member *wanted = &kind->members[i];
        const struct btf_member *m = find_member(types, wanted->type, wanted->name);
        uint32_t offset;

        if (!m) {
            snprintf(reason, reason_len, "the kernel's types have no %s.%s", wanted->type, wanted->name);
            return UV_ENOTSUP;
        }
        offset = (m->offset & 0xffffff) / 8;
        memcpy((char *)out + wanted->offset, &offset, sizeof offset);
        if (wanted->is_pointer) {
            int id = btf__resolve_type(types, m->type);
            const struct btf_type *type = id > 0 ? btf__type_by_id(types, (uint32_t)id) : NULL;
            uint32_t is_pointer = type && btf_is_ptr(type);

            memcpy((char *)out + wanted->is_pointer, &is_pointer, sizeof is_pointer);
        }
    }
    return 0;
}

/* From the types of the kernel and, where that has them in a module, of it. */
static int read_offsets(const struct kind *kind, const char *sysfs_root, union offsets *out, char *reason,
                        size_t reason_len)
{
    char path[256];
    struct btf *kernel, *module = NULL;
    int rc;

    snprintf(path, sizeof path, "%s/kernel/btf/vmlinux", sysfs_root);
    kernel = btf__parse(path, NULL);
    if (!kernel) {
        rc = errno == ENOMEM ? UV_ENOMEM : UV_ENOTSUP;
        snprintf(reason, reason_len, "%s: %s", path, strerror(errno));
        return rc;
    }
    snprintf(path, sizeof path, "%s/kernel/btf/%s", sysfs_root, kind->module);
    if (access(path, R_OK) == 0)
        module = btf__parse_split(path, kernel);
    rc = find_offsets(kind, module ? module : kernel, out, reason, reason_len);
    btf__free(module);
    btf__free(kernel);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ loading */

static int set_offsets(const struct kind *kind, struct bpf_object *object, const union offsets *offsets)
{
    struct bpf_map *map;

    bpf_object__for_each_map(map, object)
    {
        const char *name = bpf_map__name(map), *dot = name ? strchr(name, '.') : NULL;

        if (dot && strcmp(dot, ".rodata") == 0)
            return bpf_map__set_initial_value(map, offsets, kind->offsets_bytes);
    }
    return -ENOENT;
}

/* NULL `offsets`: the object with relocations. Returns 0 or an error with its reason. */
static int load(struct hook *h, const union offsets *offsets, char *reason, size_t reason_len)
{
    struct bpf_object_open_opts options = {.sz = sizeof options, .object_name = "sensebus"};
    size_t size = 0;
    const void *bytes = offsets ? h->kind->offsets(&size) : h->kind->core(&size);
    int rc;

    complaint[0] = 0;
    h->object = bpf_object__open_mem(bytes, size, &options);
    if (!h->object) {
        rc = -errno;
    } else {
        rc = offsets ? set_offsets(h->kind, h->object, offsets) : 0;
        if (rc == 0)
            rc = bpf_object__load(h->object);
        if (rc == 0)
            return 0;
        bpf_object__close(h->object);
        h->object = NULL;
    }
    if (rc == -ENOMEM)
        return UV_ENOMEM;
    if (rc == -EPERM || rc == -EACCES)
        snprintf(reason, reason_len, "the kernel refused the program (%s): " NEEDS ", lockdown below confidentiality",
                 strerror(-rc));
    else
        snprintf(reason, reason_len, "the kernel did not take the program (%s): %.80s", strerror(-rc), complaint);
    return UV_ENOTSUP;
}

static int load_any(struct hook *h, const char *sysfs_root, char *reason, size_t reason_len)
{
    union offsets offsets;
    int rc;

    if (has_capability(CAP_SYS_ADMIN)) {
        rc = load(h, NULL, reason, reason_len);
        if (rc == 0 || rc == UV_ENOMEM)
            return rc;
    }
    rc = read_offsets(h->kind, sysfs_root, &offsets, reason, reason_len);
    return rc < 0 ? rc : load(h, &offsets, reason, reason_len);
}

/* ------------------------------------------------------------------------------------------------ arming */

static int on_sample(void *data, void *bytes, size_t len)
{
    struct hook *h = data;
    struct trace_record record;

    if (h->kind->parse(bytes, len, &record) == 0)
        h->cb(h->data, &record);
    else
        h->n_garbage++;
    return ++h->n_read >= HOOK_MAX_READ ? -ECANCELED : 0; /* this one is taken, the others stay */
}

/* Debian's own limit: kprobes are made with perf_event_open, which it closes to all but CAP_SYS_ADMIN. */
static bool is_perf_closed(void)
{
    FILE *f = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
    int level = 0;

    if (f) {
        if (fscanf(f, "%d", &level) != 1)
            level = 0;
        fclose(f);
    }
    return level > 2;
}

static void note_blind(struct hook *h, const struct program *program, int error)
{
    size_t used = strlen(h->blind);

    snprintf(h->blind + used, sizeof h->blind - used, "%s %s (%s)", used ? "," : "cannot see", program->sees,
             error == EACCES && is_perf_closed() ? "grant CAP_SYS_ADMIN, or sysctl kernel.perf_event_paranoid=2"
                                                 : strerror(error));
}

static int attach(struct hook *h, char *reason, size_t reason_len)
{
    const struct program *programs = h->kind->programs;

    for (size_t i = 0; i < MAX_PROGRAMS && programs[i].name; i++) {
        struct bpf_program *program = bpf_object__find_program_by_name(h->object, programs[i].name);

        complaint[0] = 0;
        h->links[i] = program ? bpf_program__attach(program) : NULL;
        if (h->links[i])
            continue;
        if (i == 0) {
            snprintf(reason, reason_len, "no trace point %s (%s): %.80s", h->kind->point, strerror(errno), complaint);
            return UV_ENOTSUP;
        }
        if (!programs[i].with_last || h->links[i - 1])
            note_blind(h, &programs[i], errno);
    }
    return 0;
}

static int listen_to(struct hook *h, char *reason, size_t reason_len)
{
    struct bpf_map *records = bpf_object__find_map_by_name(h->object, "records"), *map;

    h->lost_map = -1;
    bpf_object__for_each_map(map, h->object)
    {
        const char *name = bpf_map__name(map), *dot = name ? strchr(name, '.') : NULL;

        if (dot && strcmp(dot, ".bss") == 0)
            h->lost_map = bpf_map__fd(map);
    }
    h->ring = records ? ring_buffer__new(bpf_map__fd(records), on_sample, h, NULL) : NULL;
    if (h->ring)
        return 0;
    snprintf(reason, reason_len, "no ring buffer of the kernel's: %s", strerror(errno));
    return errno == ENOMEM ? UV_ENOMEM : UV_ENOTSUP;
}

static void hook_close(struct hook *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < MAX_PROGRAMS; i++)
        bpf_link__destroy(h->links[i]);
    ring_buffer__free(h->ring);
    bpf_object__close(h->object);
    free(h);
}

static int open_kind(const struct kind *kind, const char *sysfs_root, struct hook **out_hook, char *reason,
                     size_t reason_len)
{
    libbpf_print_fn_t before;
    struct hook *h;
    int rc;

    if (!possible(sysfs_root, reason, reason_len))
        return UV_ENOTSUP;
    h = calloc(1, sizeof *h);
    if (!h)
        return UV_ENOMEM;
    h->kind = kind;
    before = libbpf_set_print(on_print);
    rc = load_any(h, sysfs_root, reason, reason_len);
    if (rc == 0)
        rc = attach(h, reason, reason_len);
    if (rc == 0)
        rc = listen_to(h, reason, reason_len);
    libbpf_set_print(before);
    if (rc < 0) {
        hook_close(h);
        h = NULL;
    }
    malloc_trim(0);
    if (rc == 0)
        *out_hook = h;
    return rc;
}

static int open_scsi(const char *sysfs_root, struct hook **out_hook, char *reason, size_t reason_len)
{
    return open_kind(&scsi_kind, sysfs_root, out_hook, reason, reason_len);
}

static int open_target(const char *sysfs_root, struct hook **out_hook, char *reason, size_t reason_len)
{
    return open_kind(&target_kind, sysfs_root, out_hook, reason, reason_len);
}

/* ------------------------------------------------------------------------------------------------ reading */

static int hook_fd(const struct hook *h)
{
    return ring_buffer__epoll_fd(h->ring);
}

static void hook_read(struct hook *h, hook_record_cb cb, void *data)
{
    h->cb = cb;
    h->data = data;
    h->n_read = 0;
    ring_buffer__consume(h->ring);
}

static uint64_t hook_lost(struct hook *h)
{
    uint32_t key = 0;
    uint64_t lost = 0;

    if (h->lost_map >= 0 && bpf_map_lookup_elem(h->lost_map, &key, &lost) < 0)
        lost = 0;
    return lost + h->n_garbage;
}

static bool tells_sense(const struct hook *h)
{
    (void)h;
    return true;
}

static const char *hook_blind(const struct hook *h)
{
    return h->blind;
}

const struct hook_api bpf_hook_api = {
    .name = "BPF",
    .possible = possible,
    .open = open_scsi,
    .fd = hook_fd,
    .read = hook_read,
    .lost = hook_lost,
    .tells_sense = tells_sense,
    .blind = hook_blind,
    .close = hook_close,
};

const struct hook_api bpf_target_api = {
    .name = "BPF",
    .possible = possible,
    .open = open_target,
    .fd = hook_fd,
    .read = hook_read,
    .lost = hook_lost,
    .tells_sense = tells_sense,
    .blind = hook_blind,
    .close = hook_close,
};
