/* SPDX-License-Identifier: Apache-2.0 */
/* The trace points of SCSI, and that of the host as a target, through tracefs, each in an instance of our own: nobody
 * else's tracing is touched. The only user of libtracefs and libtraceevent.
 *
 * The kernel drops what ended well (filter) and keeps the rest in a buffer for each processor, which is read in pages.
 * An agent that died leaves its instance behind; the next one removes it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <event-parse.h>
#include <kbuffer.h>
#include <tracefs.h>

#include "agent/source/trace/hook.h"
#include "agent/source/trace/lockdown.h"

#define BUFFER_KIB     64 /* for each processor: some 800 records */
#define MAX_PROCESSORS 4096
#define READY_MAX      64
#define MAX_POINTS     3
#define NEEDS          "run the agent as root, or let it use tracefs (mount option gid=)"

enum field {
    HOST,
    CHANNEL,
    TARGET,
    LUN,
    RESULT,
    CDB,
    KEY,
    ASC,
    ASCQ,
    STATUS, /* this and the rest of the answers of a target */
    SERVED_LUN,
    SERVED_CDB,
    SENSE,
    SENSE_LENGTH,
    INITIATOR,
    N_FIELDS,
};
static const char *const field_names[N_FIELDS] = {
    "host_no", "channel",     "id",           "lun", "result",     "cmnd",         "sense_key", "asc",
    "ascq",    "scsi_status", "unpacked_lun", "cdb", "sense_data", "sense_length", "initiator"};

struct trace_point {
    const char *name, *filter;
    enum trace_kind kind;
};

struct kind {
    const char *system;
    const char *instance;                  /* the name begins so; then comes the process */
    struct trace_point points[MAX_POINTS]; /* the first must be */
    enum field place;                      /* the first must have it */
    enum field sense;                      /* and with this it tells sense */
    const char *blind;
};

static const struct kind scsi_kind = {
    .system = "scsi",
    .instance = "sensebus-agent.",
    .points = {{"scsi_dispatch_cmd_done", "result != 0", TRACE_DONE},
               {"scsi_dispatch_cmd_timeout", NULL, TRACE_TIMEOUT},
               {"scsi_eh_wakeup", NULL, TRACE_EH_WAKEUP}},
    .place = HOST,
    .sense = KEY,
    .blind = "through tracefs: no device states",
};
static const struct kind target_kind = {
    .system = "target",
    .instance = "sensebus-agent-target.",
    .points = {{"target_cmd_complete", "scsi_status == 2", TRACE_ANSWER}},
    .place = SERVED_LUN,
    .sense = SENSE,
    .blind = "through tracefs: no names of targets, 18 bytes of sense",
};

/* A trace point as this kernel describes it. */
struct format {
    int id; /* -1: there is none */
    struct tep_format_field *fields[N_FIELDS];
};

struct hook {
    const struct kind *kind;
    struct tracefs_instance *instance;
    struct tep_handle *tep;
    struct format formats[MAX_POINTS];
    struct kbuffer *page;
    uint8_t *page_bytes;
    size_t page_size;
    int *readers; /* trace_pipe_raw of each processor, -1 none */
    int n_readers;
    int epoll;
    uint64_t n_lost;
    char blind[HOOK_REASON_BYTES];
};

/* ------------------------------------------------------------------------------------------------ where */

/* The folder of tracefs below sysfs, "" when it is not mounted. */
static void find_folder(const char *sysfs_root, char *path, size_t path_len)
{
    static const char *const places[] = {"kernel/tracing", "kernel/debug/tracing"};
    char instances[320];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, path_len, "%s/%s", sysfs_root, places[i]);
        snprintf(instances, sizeof instances, "%s/instances", path);
        if (access(instances, F_OK) == 0 || errno == EACCES)
            return;
    }
    path[0] = 0;
}

static bool possible(const struct kind *kind, const char *sysfs_root, char *reason, size_t reason_len)
{
    char folder[256], path[320];

    if (lockdown_forbids_tracing(sysfs_root, reason, reason_len))
        return false;
    find_folder(sysfs_root, folder, sizeof folder);
    if (!folder[0]) {
        snprintf(reason, reason_len, "%s/kernel/tracing is no tracefs: mount it", sysfs_root);
        return false;
    }
    snprintf(path, sizeof path, "%s/instances", folder);
    if (access(path, W_OK) < 0) {
        snprintf(reason, reason_len, "%s: %s: " NEEDS, path, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/events/%s/%s", folder, kind->system, kind->points[0].name);
    if (access(path, F_OK) < 0) {
        snprintf(reason, reason_len, "the kernel has no trace point %s/%s", kind->system, kind->points[0].name);
        return false;
    }
    return true;
}

/* Of agents that died. Processes of other namespaces cannot be told from dead ones: a busy instance stays, the kernel
 * refuses to remove it. */
static void sweep(const struct kind *kind, const char *folder)
{
    char path[320];
    struct dirent *entry;
    DIR *d;

    snprintf(path, sizeof path, "%s/instances", folder);
    d = opendir(path);
    while (d && (entry = readdir(d))) {
        size_t prefix = strlen(kind->instance);
        char *end;
        long pid;

        if (strncmp(entry->d_name, kind->instance, prefix) != 0)
            continue;
        pid = strtol(entry->d_name + prefix, &end, 10);
        if (*end || pid <= 0 || pid > INT32_MAX || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof path, "%s/instances/%s", folder, entry->d_name);
        rmdir(path);
    }
    if (d)
        closedir(d);
}

/* ------------------------------------------------------------------------------------------------ arming */

/* As this kernel describes it; NULL when it does not. The three alone: all that libtracefs could read takes 16 MB. */
static struct tep_event *describe(struct hook *h, const char *name)
{
    int len = 0;
    char *text = tracefs_event_file_read(h->instance, h->kind->system, name, "format", &len);

    if (text && len > 0)
        tep_parse_event(h->tep, text, (unsigned long)len, h->kind->system);
    free(text);
    return tep_find_event_by_name(h->tep, h->kind->system, name);
}

static int arm_point(struct hook *h, int i, char *reason, size_t reason_len)
{
    const struct trace_point *point = &h->kind->points[i];
    const char *system = h->kind->system;
    struct tep_event *event = describe(h, point->name);
    size_t used = strlen(h->blind);

    if (!event || tracefs_event_enable(h->instance, system, point->name) != 0 ||
        (point->filter && tracefs_event_file_write(h->instance, system, point->name, "filter", point->filter) < 0)) {
        if (i == 0) {
            snprintf(reason, reason_len, "the trace point %s/%s cannot be armed: %s", system, point->name,
                     event ? strerror(errno) : "the kernel does not describe it");
            return UV_ENOTSUP;
        }
        snprintf(h->blind + used, sizeof h->blind - used, ", no %s", point->name);
        return 0;
    }
    h->formats[i].id = event->id;
    for (int f = 0; f < N_FIELDS; f++)
        h->formats[i].fields[f] = tep_find_field(event, field_names[f]);
    if (!h->formats[i].fields[h->kind->place]) {
        snprintf(reason, reason_len, "the trace point %s/%s has no %s", system, point->name,
                 field_names[h->kind->place]);
        return UV_ENOTSUP;
    }
    return 0;
}

/* A processor that is not there, or not on, has no buffer: that is tried again, for it may come. */
static int add_reader(struct hook *h, int processor)
{
    char path[64];
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = processor};
    int fd;

    snprintf(path, sizeof path, "per_cpu/cpu%d/trace_pipe_raw", processor);
    fd = tracefs_instance_file_open(h->instance, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &wanted) < 0) {
        close(fd);
        return 0;
    }
    h->readers[processor] = fd;
    return 1;
}

static void drop_reader(struct hook *h, int processor)
{
    close(h->readers[processor]); /* and with it the interest in it */
    h->readers[processor] = -1;
}

static int open_readers(struct hook *h, char *reason, size_t reason_len)
{
    long n = sysconf(_SC_NPROCESSORS_CONF);
    int n_open = 0;

    n = n < 1 ? 1 : n > MAX_PROCESSORS ? MAX_PROCESSORS : n;
    h->page_size = (size_t)sysconf(_SC_PAGESIZE);
    h->page_bytes = calloc(1, h->page_size);
    h->readers = malloc((size_t)n * sizeof *h->readers);
    h->page = kbuffer_alloc(sizeof(long) == 8 ? KBUFFER_LSIZE_8 : KBUFFER_LSIZE_4,
                            __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? KBUFFER_ENDIAN_BIG : KBUFFER_ENDIAN_LITTLE);
    if (!h->page_bytes || !h->readers || !h->page)
        return UV_ENOMEM;
    for (h->n_readers = 0; h->n_readers < n; h->n_readers++)
        h->readers[h->n_readers] = -1;
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; h->epoll >= 0 && i < h->n_readers; i++)
        n_open += add_reader(h, i);
    if (n_open > 0)
        return 0;
    snprintf(reason, reason_len, "no buffer of the instance could be opened: %s", strerror(errno));
    return UV_ENOTSUP;
}

static bool tells_sense(const struct hook *h)
{
    return h->formats[0].fields[h->kind->sense] != NULL;
}

static int arm(struct hook *h, const char *folder, char *reason, size_t reason_len)
{
    char name[64];
    int rc = 0;

    snprintf(h->blind, sizeof h->blind, "%s", h->kind->blind);
    sweep(h->kind, folder);
    tracefs_set_tracing_dir((char *)folder);
    snprintf(name, sizeof name, "%s%d", h->kind->instance, (int)getpid());
    h->instance = tracefs_instance_create(name);
    if (!h->instance) {
        snprintf(reason, reason_len, "no instance in %s: %s: " NEEDS, folder, strerror(errno));
        return UV_ENOTSUP;
    }
    tracefs_instance_set_buffer_size(h->instance, BUFFER_KIB, -1);
    tracefs_instance_file_write(h->instance, "buffer_percent", "0"); /* readable from the first record on */
    if (tracefs_instance_file_write(h->instance, "trace_clock", "mono") < 0) {
        snprintf(reason, reason_len, "tracefs has no clock \"mono\": %s", strerror(errno));
        return UV_ENOTSUP;
    }
    h->tep = tep_alloc();
    if (!h->tep)
        return UV_ENOMEM;
    rc = open_readers(h, reason, reason_len);
    for (int i = 0; rc == 0 && i < MAX_POINTS && h->kind->points[i].name; i++)
        rc = arm_point(h, i, reason, reason_len);
    if (rc == 0 && !tells_sense(h)) {
        size_t used = strlen(h->blind);

        snprintf(h->blind + used, sizeof h->blind - used, ", no sense (this kernel's trace points lack it)");
    }
    return rc;
}

static void hook_close(struct hook *h)
{
    if (!h)
        return;
    if (h->epoll >= 0)
        close(h->epoll);
    for (int i = 0; i < h->n_readers; i++)
        if (h->readers[i] >= 0)
            close(h->readers[i]);
    if (h->instance) {
        tracefs_event_disable(h->instance, h->kind->system, NULL);
        tracefs_instance_destroy(h->instance);
        tracefs_instance_free(h->instance);
    }
    if (h->page)
        kbuffer_free(h->page);
    tep_free(h->tep);
    free(h->readers);
    free(h->page_bytes);
    free(h);
}

static int open_kind(const struct kind *kind, const char *sysfs_root, struct hook **out_hook, char *reason,
                     size_t reason_len)
{
    char folder[256];
    struct hook *h;
    int rc;

    if (!possible(kind, sysfs_root, reason, reason_len))
        return UV_ENOTSUP;
    find_folder(sysfs_root, folder, sizeof folder);
    h = calloc(1, sizeof *h);
    if (!h)
        return UV_ENOMEM;
    h->kind = kind;
    h->epoll = -1;
    for (int i = 0; i < MAX_POINTS; i++)
        h->formats[i].id = -1;
    tracefs_set_loglevel(TEP_LOG_NONE);
    rc = arm(h, folder, reason, reason_len);
    if (rc < 0) {
        hook_close(h);
        return rc;
    }
    *out_hook = h;
    return 0;
}

static bool possible_scsi(const char *sysfs_root, char *reason, size_t reason_len)
{
    return possible(&scsi_kind, sysfs_root, reason, reason_len);
}

static bool possible_target(const char *sysfs_root, char *reason, size_t reason_len)
{
    return possible(&target_kind, sysfs_root, reason, reason_len);
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

static bool number(struct tep_format_field *field, const uint8_t *bytes, size_t len, uint64_t *out)
{
    unsigned long long value;

    if (!field || field->offset < 0 || field->size <= 0 || (size_t)field->offset + (size_t)field->size > len ||
        tep_read_number_field(field, bytes, &value) != 0)
        return false;
    *out = value;
    return true;
}

/* A dynamic array is told as where it lies in the record and how long it is (__data_loc). NULL when there is none. */
static const uint8_t *dynamic(struct tep_format_field *field, const uint8_t *bytes, size_t len, size_t *out_len)
{
    uint32_t where;
    size_t offset, n;

    if (!field || field->offset < 0 || field->size != sizeof where || (size_t)field->offset + sizeof where > len)
        return NULL;
    memcpy(&where, bytes + field->offset, sizeof where);
    offset = where & 0xffff;
    n = where >> 16;
    if (offset > len || n > len - offset)
        return NULL;
    *out_len = n;
    return bytes + offset;
}

static void fill_cdb(const struct format *f, const uint8_t *bytes, size_t len, struct trace_record *r)
{
    size_t n;
    const uint8_t *cdb = dynamic(f->fields[CDB], bytes, len, &n);

    if (!cdb)
        return;
    r->cdb_len = (uint8_t)(n < sizeof r->cdb ? n : sizeof r->cdb);
    memcpy(r->cdb, cdb, r->cdb_len);
}

/* An array of bytes in the record. Returns how many there are, at most `cap`. */
static uint8_t array(struct tep_format_field *field, const uint8_t *bytes, size_t len, uint8_t *out, size_t cap)
{
    size_t n;

    if (!field || field->offset < 0 || field->size <= 0 || (size_t)field->offset + (size_t)field->size > len)
        return 0;
    n = (size_t)field->size < cap ? (size_t)field->size : cap;
    memcpy(out, bytes + field->offset, n);
    return (uint8_t)n;
}

static void fill_answer(const struct format *f, const uint8_t *bytes, size_t len, struct trace_record *r)
{
    uint64_t value;
    size_t n;
    const uint8_t *initiator = dynamic(f->fields[INITIATOR], bytes, len, &n);

    if (number(f->fields[SERVED_LUN], bytes, len, &value) && value <= INT64_MAX)
        r->place.lun = (int64_t)value;
    if (number(f->fields[STATUS], bytes, len, &value))
        r->result = (uint8_t)value;
    r->cdb_len = trace_cdb_length(r->cdb, array(f->fields[SERVED_CDB], bytes, len, r->cdb, sizeof r->cdb));
    r->sense_len = array(f->fields[SENSE], bytes, len, r->sense, sizeof r->sense);
    if (number(f->fields[SENSE_LENGTH], bytes, len, &value) && value < r->sense_len)
        r->sense_len = (uint8_t)value;
    if (initiator)
        trace_name((const char *)initiator, n, r->nexus.initiator, sizeof r->nexus.initiator);
}

static void fill_sense(const struct format *f, const uint8_t *bytes, size_t len, struct trace_record *r)
{
    uint64_t key, asc, ascq;

    if (r->kind != TRACE_DONE || (r->result & 0xff) != 0x02 || !number(f->fields[KEY], bytes, len, &key) ||
        !number(f->fields[ASC], bytes, len, &asc) || !number(f->fields[ASCQ], bytes, len, &ascq))
        return;
    r->has_key = true;
    r->key = key & 0xf;
    r->asc = (uint8_t)asc;
    r->ascq = (uint8_t)ascq;
}

static int32_t small(struct tep_format_field *field, const uint8_t *bytes, size_t len)
{
    uint64_t value;

    return number(field, bytes, len, &value) ? (int32_t)value : -1;
}

static bool fill(const struct hook *h, const uint8_t *bytes, size_t len, uint64_t mono_ns, struct trace_record *r)
{
    uint16_t id; /* the first member of every record */
    uint64_t lun, result = 0;
    int i = 0;

    if (len < sizeof id)
        return false;
    memcpy(&id, bytes, sizeof id);
    while (i < MAX_POINTS && h->formats[i].id != id)
        i++;
    if (i == MAX_POINTS)
        return false;
    const struct format *f = &h->formats[i];
    memset(r, 0, sizeof *r);
    r->kind = h->kind->points[i].kind;
    r->mono_ns = mono_ns;
    r->retries = r->allowed = -1;
    r->place = (struct observation_place){small(f->fields[HOST], bytes, len), small(f->fields[CHANNEL], bytes, len),
                                          small(f->fields[TARGET], bytes, len), -1};
    if (number(f->fields[LUN], bytes, len, &lun) && lun <= INT64_MAX)
        r->place.lun = (int64_t)lun;
    if (r->kind == TRACE_DONE && number(f->fields[RESULT], bytes, len, &result))
        r->result = (int32_t)(uint32_t)result;
    if (r->kind == TRACE_ANSWER) {
        fill_answer(f, bytes, len, r);
        return true;
    }
    fill_cdb(f, bytes, len, r);
    fill_sense(f, bytes, len, r);
    return true;
}

/* Returns the records of the page. */
static uint32_t read_page(struct hook *h, hook_record_cb cb, void *data)
{
    unsigned long long ts;
    uint32_t n = 0;
    int missed;

    if (kbuffer_load_subbuffer(h->page, h->page_bytes) != 0)
        return 0;
    missed = kbuffer_missed_events(h->page);
    if (missed != 0)
        h->n_lost += missed > 0 ? (uint64_t)missed : 1;
    for (const uint8_t *bytes = kbuffer_read_event(h->page, &ts); bytes; bytes = kbuffer_next_event(h->page, &ts)) {
        int len = kbuffer_event_size(h->page);
        struct trace_record record;

        n++;
        if (len > 0 && fill(h, bytes, (size_t)len, ts, &record))
            cb(data, &record);
    }
    return n;
}

static int hook_fd(const struct hook *h)
{
    return h->epoll;
}

/* A page of each processor that has one, and again while the turn is not full. */
static void hook_read(struct hook *h, hook_record_cb cb, void *data)
{
    struct epoll_event ready[READY_MAX];
    uint32_t n_read = 0;
    int n;

    do {
        n = epoll_wait(h->epoll, ready, READY_MAX, 0);
        for (int i = 0; i < n; i++) {
            int processor = ready[i].data.fd;
            ssize_t len;

            if (ready[i].events & (EPOLLERR | EPOLLHUP)) { /* it is off: this would be ready for ever */
                drop_reader(h, processor);
                continue;
            }
            len = read(h->readers[processor], h->page_bytes, h->page_size);
            if (len <= 0)
                continue;
            memset(h->page_bytes + len, 0, h->page_size - (size_t)len);
            n_read += 1 + read_page(h, cb, data);
        }
    } while (n > 0 && n_read > 0 && n_read < HOOK_MAX_READ);
}

/* Asked now and then: the moment to look for processors that came. */
static uint64_t hook_lost(struct hook *h)
{
    for (int i = 0; i < h->n_readers; i++)
        if (h->readers[i] < 0)
            add_reader(h, i);
    return h->n_lost;
}

static const char *hook_blind(const struct hook *h)
{
    return h->blind;
}

const struct hook_api tracefs_hook_api = {
    .name = "tracefs",
    .possible = possible_scsi,
    .open = open_scsi,
    .fd = hook_fd,
    .read = hook_read,
    .lost = hook_lost,
    .tells_sense = tells_sense,
    .blind = hook_blind,
    .close = hook_close,
};

const struct hook_api tracefs_target_api = {
    .name = "tracefs",
    .possible = possible_target,
    .open = open_target,
    .fd = hook_fd,
    .read = hook_read,
    .lost = hook_lost,
    .tells_sense = tells_sense,
    .blind = hook_blind,
    .close = hook_close,
};
