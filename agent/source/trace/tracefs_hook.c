/* SPDX-License-Identifier: Apache-2.0 */
/* The trace points of SCSI through tracefs, in an instance of our own: nobody else's tracing is touched. The only user
 * of libtracefs and libtraceevent.
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

#define INSTANCE_PREFIX "sensebus-agent."
#define SYSTEM          "scsi"
#define BUFFER_KIB      64 /* for each processor: some 800 records */
#define MAX_PROCESSORS  4096
#define READY_MAX       64
#define NEEDS           "run the agent as root, or let it use tracefs (mount option gid=)"

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
    N_FIELDS,
};
static const char *const field_names[N_FIELDS] = {"host_no", "channel",   "id",  "lun", "result",
                                                  "cmnd",    "sense_key", "asc", "ascq"};

struct trace_point {
    const char *name, *filter;
    enum trace_kind kind;
};
#define N_POINTS 3
static const struct trace_point points[N_POINTS] = {
    {"scsi_dispatch_cmd_done", "result != 0", TRACE_DONE},
    {"scsi_dispatch_cmd_timeout", NULL, TRACE_TIMEOUT},
    {"scsi_eh_wakeup", NULL, TRACE_EH_WAKEUP},
};

/* A trace point as this kernel describes it. */
struct format {
    int id; /* -1: there is none */
    struct tep_format_field *fields[N_FIELDS];
};

struct hook {
    struct tracefs_instance *instance;
    struct tep_handle *tep;
    struct format formats[N_POINTS];
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

static bool possible(const char *sysfs_root, char *reason, size_t reason_len)
{
    char folder[256], path[320];

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
    snprintf(path, sizeof path, "%s/events/" SYSTEM "/%s", folder, points[0].name);
    if (access(path, F_OK) < 0) {
        snprintf(reason, reason_len, "the kernel has no trace point " SYSTEM "/%s", points[0].name);
        return false;
    }
    return true;
}

/* Of agents that died. Processes of other namespaces cannot be told from dead ones: a busy instance stays, the kernel
 * refuses to remove it. */
static void sweep(const char *folder)
{
    char path[320];
    struct dirent *entry;
    DIR *d;

    snprintf(path, sizeof path, "%s/instances", folder);
    d = opendir(path);
    while (d && (entry = readdir(d))) {
        size_t prefix = strlen(INSTANCE_PREFIX);
        char *end;
        long pid;

        if (strncmp(entry->d_name, INSTANCE_PREFIX, prefix) != 0)
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
    char *text = tracefs_event_file_read(h->instance, SYSTEM, name, "format", &len);

    if (text && len > 0)
        tep_parse_event(h->tep, text, (unsigned long)len, SYSTEM);
    free(text);
    return tep_find_event_by_name(h->tep, SYSTEM, name);
}

static int arm_point(struct hook *h, int i, char *reason, size_t reason_len)
{
    struct tep_event *event = describe(h, points[i].name);
    size_t used = strlen(h->blind);

    h->formats[i].id = -1;
    if (!event || tracefs_event_enable(h->instance, SYSTEM, points[i].name) != 0 ||
        (points[i].filter &&
         tracefs_event_file_write(h->instance, SYSTEM, points[i].name, "filter", points[i].filter) < 0)) {
        if (points[i].kind == TRACE_DONE) {
            snprintf(reason, reason_len, "the trace point " SYSTEM "/%s cannot be armed: %s", points[i].name,
                     event ? strerror(errno) : "the kernel does not describe it");
            return UV_ENOTSUP;
        }
        snprintf(h->blind + used, sizeof h->blind - used, ", no %s", points[i].name);
        return 0;
    }
    h->formats[i].id = event->id;
    for (int f = 0; f < N_FIELDS; f++)
        h->formats[i].fields[f] = tep_find_field(event, field_names[f]);
    if (!h->formats[i].fields[HOST]) {
        snprintf(reason, reason_len, "the trace point " SYSTEM "/%s has no host_no", points[i].name);
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
    return h->formats[0].fields[KEY] != NULL;
}

static int arm(struct hook *h, const char *folder, char *reason, size_t reason_len)
{
    char name[64];
    int rc = 0;

    snprintf(h->blind, sizeof h->blind, "through tracefs: no device states");
    sweep(folder);
    tracefs_set_tracing_dir((char *)folder);
    snprintf(name, sizeof name, INSTANCE_PREFIX "%d", (int)getpid());
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
    for (int i = 0; rc == 0 && i < N_POINTS; i++)
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
        tracefs_event_disable(h->instance, SYSTEM, NULL);
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

static int hook_open(const char *sysfs_root, struct hook **out_hook, char *reason, size_t reason_len)
{
    char folder[256];
    struct hook *h;
    int rc;

    if (!possible(sysfs_root, reason, reason_len))
        return UV_ENOTSUP;
    find_folder(sysfs_root, folder, sizeof folder);
    h = calloc(1, sizeof *h);
    if (!h)
        return UV_ENOMEM;
    h->epoll = -1;
    tracefs_set_loglevel(TEP_LOG_NONE);
    rc = arm(h, folder, reason, reason_len);
    if (rc < 0) {
        hook_close(h);
        return rc;
    }
    *out_hook = h;
    return 0;
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

/* A dynamic array is told as where it lies in the record and how long it is (__data_loc). */
static void fill_cdb(const struct format *f, const uint8_t *bytes, size_t len, struct trace_record *r)
{
    struct tep_format_field *field = f->fields[CDB];
    uint32_t where;
    size_t offset, n;

    if (!field || field->offset < 0 || field->size != sizeof where || (size_t)field->offset + sizeof where > len)
        return;
    memcpy(&where, bytes + field->offset, sizeof where);
    offset = where & 0xffff;
    n = where >> 16;
    if (offset > len || n > len - offset)
        return;
    r->cdb_len = (uint8_t)(n < sizeof r->cdb ? n : sizeof r->cdb);
    memcpy(r->cdb, bytes + offset, r->cdb_len);
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
    while (i < N_POINTS && h->formats[i].id != id)
        i++;
    if (i == N_POINTS)
        return false;
    const struct format *f = &h->formats[i];
    memset(r, 0, sizeof *r);
    r->kind = points[i].kind;
    r->mono_ns = mono_ns;
    r->retries = r->allowed = -1;
    r->place = (struct observation_place){small(f->fields[HOST], bytes, len), small(f->fields[CHANNEL], bytes, len),
                                          small(f->fields[TARGET], bytes, len), -1};
    if (number(f->fields[LUN], bytes, len, &lun) && lun <= INT64_MAX)
        r->place.lun = (int64_t)lun;
    if (r->kind == TRACE_DONE && number(f->fields[RESULT], bytes, len, &result))
        r->result = (int32_t)(uint32_t)result;
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
    .possible = possible,
    .open = hook_open,
    .fd = hook_fd,
    .read = hook_read,
    .lost = hook_lost,
    .tells_sense = tells_sense,
    .blind = hook_blind,
    .close = hook_close,
};
