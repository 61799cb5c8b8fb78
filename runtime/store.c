/* SPDX-License-Identifier: Apache-2.0 */
/* The store over LMDB.
 *
 * Opening: lock file (one process at a time), marker of the relaxed mode, environment, check that the file is as long
 * as its meta page says (reading a cut file through the map would be a SIGBUS) or, when it is shorter, that nothing in
 * use is missing, stale readers cleared. Full disk: LMDB
 * fails the commit and keeps the old meta page, so nothing of the transaction exists and the environment goes on. Only
 * when writing the meta page itself fails does it declare the environment dead (MDB_PANIC): then it is closed and
 * opened again before the next transaction, once the last one is over. The map is never written through (no
 * MDB_WRITEMAP), so a full disk cannot raise SIGBUS. */
#include "runtime/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define MAX_READERS  512
#define BOOT_ID_SIZE 64

struct store_table_name {
    char *name;
    unsigned flags;
    MDB_dbi dbi;
};

/* ---- errors */

static int translate(int rc)
{
    switch (rc) {
    case MDB_SUCCESS: return 0;
    case MDB_NOTFOUND: return UV_ENOENT;
    case MDB_KEYEXIST: return UV_EEXIST;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return UV_ENOSPC;
    case MDB_TXN_FULL: return UV_EFBIG;
    case MDB_READERS_FULL: return UV_ENOBUFS;
    case MDB_BAD_TXN: return UV_ECANCELED; /* an earlier call on this transaction failed */
    case MDB_BAD_VALSIZE:
    case MDB_BAD_DBI:
    case MDB_DBS_FULL:
    case MDB_INCOMPATIBLE: return UV_EINVAL;
    default: break;
    }
    return rc > 0 ? -rc : UV_EIO; /* the rest of LMDB's own: damaged, or of another version */
}

static bool disk_is_full(const struct store *s)
{
    struct statvfs fs;
    return statvfs(s->path, &fs) == 0 && fs.f_bavail < 16;
}

/* LMDB reports a write that was cut short as EIO: on a full disk that means "full". */
static int translate_write(const struct store *s, int rc)
{
    if ((rc == EIO || rc == MDB_PANIC) && disk_is_full(s))
        return UV_ENOSPC;
    return translate(rc);
}

static struct store *store_of(const struct store_txn *t)
{
    return mdb_env_get_userctx(mdb_txn_env(t->txn));
}

/* ---- files beside the data */

static char *path_in(const struct store *s, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", s->path, name) < 0 ? NULL : path;
}

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : -errno;
    close(fd);
    return rc;
}

static int make_directory(const char *path)
{
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    char *parent = NULL;
    if (asprintf(&parent, "%s/..", path) < 0)
        return UV_ENOMEM;
    int rc = sync_directory(parent);
    free(parent);
    /* A parent we may not read cannot be synced; the directory is there all the same. */
    return rc == UV_EACCES ? 0 : rc;
}

static int take_lock(struct store *s)
{
    char *path = path_in(s, "lock");
    if (!path)
        return UV_ENOMEM;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : 0;
    free(path);
    if (rc < 0)
        return rc;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? UV_EBUSY : -errno;
        close(fd);
        return rc;
    }
    s->lock_fd = fd;
    return 0;
}

static size_t read_line(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n < 0)
        n = 0;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return strlen(out);
}

static void read_boot_id(char out[BOOT_ID_SIZE])
{
    if (!read_line("/proc/sys/kernel/random/boot_id", out, BOOT_ID_SIZE))
        snprintf(out, BOOT_ID_SIZE, "unknown");
}

static int write_marker(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    int rc = n < 0 ? -errno : (size_t)n != len ? UV_ENOSPC : fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

/* The data file of a store that was open relaxed when the machine went down may hold pages that never reached the disk.
 */
static int set_aside(struct store *s)
{
    int rc = UV_ENOMEM;
    char *data = path_in(s, "data.mdb"), *aside = path_in(s, "data.mdb.unsafe"), *readers = path_in(s, "lock.mdb");
    if (data && aside && readers) {
        rc = 0;
        bool is_moved = rename(data, aside) == 0 || errno == ENOENT;
        if (!is_moved || (unlink(readers) < 0 && errno != ENOENT))
            rc = -errno;
        else
            s->started_over = true;
    }
    free(data);
    free(aside);
    free(readers);
    return rc;
}

/* The marker says in which boot the store was open relaxed. A clean close removes it. */
static int check_marker(struct store *s)
{
    char *path = path_in(s, "relaxed");
    if (!path)
        return UV_ENOMEM;
    char boot[BOOT_ID_SIZE], marked[BOOT_ID_SIZE];
    read_boot_id(boot);
    int rc = 0;
    bool is_marked = access(path, F_OK) == 0;
    if (is_marked && (!read_line(path, marked, sizeof marked) || strcmp(marked, boot) != 0))
        rc = set_aside(s);
    if (rc == 0 && s->relaxed)
        rc = write_marker(path, boot);
    free(path);
    return rc;
}

/* Everything is on disk now: the store can be trusted without the marker. */
static void clear_marker(struct store *s)
{
    char *path = path_in(s, "relaxed");
    if (path && access(path, F_OK) == 0 && mdb_env_sync(s->env, 1) == 0)
        unlink(path);
    free(path);
}

/* ---- the environment */

/* Touch every page that a transaction can reach. Runs in a process of its own: a page beyond the end of the file is a
 * SIGBUS, a page of zeros may be an abort. */
static int walk_table(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        volatile const char *bytes = value.mv_data;
        for (size_t i = 0; i < value.mv_size; i += 4096)
            (void)bytes[i];
        if (value.mv_size > 0)
            (void)bytes[value.mv_size - 1];
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int walk_all(const struct store *s, size_t map)
{
    enum { FREE_TABLE, MAIN_TABLE };
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *names;
    MDB_val name, unused;
    int rc = mdb_env_create(&env);
    if (rc != 0 || (rc = mdb_env_set_mapsize(env, map)) != 0 || (rc = mdb_env_set_maxdbs(env, s->max_tables)) != 0 ||
        (rc = mdb_env_open(env, s->path, MDB_RDONLY | MDB_NOLOCK, 0600)) != 0 ||
        (rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)) != 0 || (rc = walk_table(txn, FREE_TABLE)) != 0 ||
        (rc = mdb_cursor_open(txn, MAIN_TABLE, &names)) != 0)
        return rc;
    while ((rc = mdb_cursor_get(names, &name, &unused, MDB_NEXT)) == 0) {
        char text[512];
        MDB_dbi dbi;
        snprintf(text, sizeof text, "%.*s", (int)name.mv_size, (const char *)name.mv_data);
        if ((rc = mdb_dbi_open(txn, text, 0, &dbi)) != 0 || (rc = walk_table(txn, dbi)) != 0)
            return rc;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool can_be_walked(const struct store *s, size_t map)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        _exit(walk_all(s, map) != 0);
    }
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The file holds every page that its meta page speaks of, or at least every page that is in use: those at the end that
 * a transaction took and gave back again were never written. */
static int check_length(const struct store *s, MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    int fd;
    int rc = mdb_env_info(env, &info);
    if (rc == 0)
        rc = mdb_env_stat(env, &stat);
    if (rc == 0)
        rc = mdb_env_get_fd(env, &fd);
    if (rc != 0)
        return translate(rc);
    struct stat file;
    if (fstat(fd, &file) < 0)
        return -errno;
    if ((uint64_t)file.st_size / stat.ms_psize > info.me_last_pgno)
        return 0;
    return can_be_walked(s, info.me_mapsize) ? 0 : UV_EIO;
}

static uint64_t reserve_bytes(uint64_t limit)
{
    return limit / 64 + 1024ull * 1024;
}

static int open_env(struct store *s)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (rc != 0)
        return translate(rc);
    size_t map = (size_t)((s->limit_bytes + reserve_bytes(s->limit_bytes) + 4095) & ~4095ull);
    unsigned flags = MDB_NOTLS | (s->relaxed ? (unsigned)MDB_NOSYNC : 0);
    if ((rc = mdb_env_set_mapsize(env, map)) != 0 || (rc = mdb_env_set_maxdbs(env, s->max_tables)) != 0 ||
        (rc = mdb_env_set_maxreaders(env, MAX_READERS)) != 0 || (rc = mdb_env_set_userctx(env, s)) != 0 ||
        (rc = mdb_env_open(env, s->path, flags, 0600)) != 0)
        rc = translate_write(s, rc);
    else
        rc = check_length(s, env);
    int n_stale;
    if (rc == 0)
        rc = translate(mdb_reader_check(env, &n_stale));
    if (rc != 0) {
        mdb_env_close(env);
        return rc;
    }
    s->env = env;
    return 0;
}

/* Tables get their numbers in the order they are opened, so they are the same in a new environment. */
static int open_table(struct store *s, const char *name, unsigned flags, MDB_dbi *out_dbi)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc != 0)
        return translate_write(s, rc);
    unsigned wanted = flags & STORE_INTEGER_KEYS ? MDB_INTEGERKEY : 0, actual;
    rc = mdb_dbi_open(txn, name, MDB_CREATE | wanted, &dbi);
    if (rc == 0 && (rc = mdb_dbi_flags(txn, dbi, &actual)) == 0 && (actual & MDB_INTEGERKEY) != wanted)
        rc = MDB_INCOMPATIBLE;
    if (rc != 0) {
        mdb_txn_abort(txn);
        return translate_write(s, rc);
    }
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return translate_write(s, rc);
    *out_dbi = dbi;
    return 0;
}

/* After MDB_PANIC; no transaction is open. */
static int open_again(struct store *s)
{
    if (s->env) {
        mdb_env_close(s->env);
        s->env = NULL;
    }
    int rc = open_env(s);
    for (unsigned i = 0; rc == 0 && i < s->n_tables; i++) {
        MDB_dbi dbi = 0;
        rc = open_table(s, s->tables[i].name, s->tables[i].flags, &dbi);
        assert(rc != 0 || dbi == s->tables[i].dbi);
    }
    s->broken = rc != 0;
    return rc;
}

/* ---- the store */

int store_open(struct store *s, const struct store_options *options)
{
    memset(s, 0, sizeof *s);
    s->lock_fd = -1;
    s->relaxed = options->relaxed;
    s->limit_bytes = options->map_bytes;
    s->max_tables = options->n_tables;
    if (!options->directory || !options->map_bytes || options->map_bytes > SIZE_MAX / 4)
        return UV_EINVAL;
    int rc = pthread_mutex_init(&s->lock, NULL);
    if (rc != 0)
        return -rc;
    s->path = strdup(options->directory);
    if (!s->path) {
        pthread_mutex_destroy(&s->lock);
        return UV_ENOMEM;
    }
    s->tables = calloc(options->n_tables ? options->n_tables : 1, sizeof *s->tables);
    rc = s->tables ? make_directory(s->path) : UV_ENOMEM;
    if (rc == 0)
        rc = take_lock(s);
    if (rc == 0)
        rc = check_marker(s);
    if (rc == 0)
        rc = open_env(s);
    if (rc == 0)
        rc = sync_directory(s->path);
    if (rc == 0 && !s->relaxed)
        clear_marker(s);
    if (rc != 0)
        store_close(s);
    return rc;
}

void store_close(struct store *s)
{
    if (!s->path)
        return;
    assert(s->n_open == 0);
    if (s->env) {
        clear_marker(s);
        mdb_env_close(s->env);
    }
    for (unsigned i = 0; i < s->n_tables; i++)
        free(s->tables[i].name);
    free(s->tables);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    pthread_mutex_destroy(&s->lock);
    memset(s, 0, sizeof *s);
    s->lock_fd = -1;
}

int store_table(struct store *s, const char *name, unsigned flags, unsigned *out_table)
{
    if (s->n_tables == s->max_tables)
        return UV_EINVAL;
    struct store_table_name *table = &s->tables[s->n_tables];
    table->name = strdup(name);
    if (!table->name)
        return UV_ENOMEM;
    int rc = open_table(s, name, flags, &table->dbi);
    if (rc != 0) {
        free(table->name);
        table->name = NULL;
        return rc;
    }
    table->flags = flags;
    s->n_tables++;
    *out_table = table->dbi;
    return 0;
}

/* ---- transactions */

/* A transaction is about to begin: open the environment again first if it broke. */
static int enter(struct store *s)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    if (s->broken)
        rc = s->n_open ? UV_EIO : open_again(s);
    if (rc == 0)
        s->n_open++;
    pthread_mutex_unlock(&s->lock);
    return rc == UV_EIO && disk_is_full(s) ? UV_ENOSPC : rc;
}

static void leave(struct store *s, bool broken)
{
    pthread_mutex_lock(&s->lock);
    assert(s->n_open > 0);
    s->n_open--;
    s->broken |= broken;
    pthread_mutex_unlock(&s->lock);
}

static uint64_t stat_bytes(const MDB_stat *stat)
{
    return (uint64_t)stat->ms_psize * (stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages);
}

/* Pages of the tables, the list of tables (1), the list of free pages (0), and the two meta pages. */
static int used_bytes(struct store *s, MDB_txn *txn, uint64_t *out_bytes)
{
    MDB_stat stat = {0};
    uint64_t bytes = 0;
    for (MDB_dbi dbi = 0; dbi < 2 + s->n_tables; dbi++) {
        int rc = mdb_stat(txn, dbi, &stat);
        if (rc != 0)
            return translate(rc);
        bytes += stat_bytes(&stat);
    }
    *out_bytes = bytes + 2ull * stat.ms_psize;
    return 0;
}

int store_begin(struct store *s, bool write, struct store_txn *out_txn)
{
    MDB_txn *txn;
    int rc = 0;
    for (int i = 0; i < 2; i++) {
        int err = enter(s);
        if (err != 0)
            return err;
        rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &txn);
        if (rc == 0)
            break;
        leave(s, rc == MDB_PANIC);
        if (rc != MDB_PANIC)
            break;
    }
    if (rc != 0)
        return translate_write(s, rc);
    uint64_t used = 0;
    if (write && (rc = used_bytes(s, txn, &used)) != 0) {
        mdb_txn_abort(txn);
        leave(s, false);
        return rc;
    }
    if (write)
        s->over_limit = used >= s->limit_bytes;
    out_txn->txn = txn;
    return 0;
}

int store_commit(struct store_txn *t)
{
    struct store *s = store_of(t);
    int rc = mdb_txn_commit(t->txn);
    t->txn = NULL;
    leave(s, rc == MDB_PANIC);
    return translate_write(s, rc);
}

void store_abort(struct store_txn *t)
{
    if (!t->txn)
        return;
    struct store *s = store_of(t);
    mdb_txn_abort(t->txn);
    t->txn = NULL;
    leave(s, false);
}

/* ---- pairs */

static MDB_val as_val(const void *data, size_t len)
{
    MDB_val val = {.mv_size = len, .mv_data = (void *)(uintptr_t)data};
    return val;
}

int store_get(struct store_txn *t, unsigned table, const void *key, size_t key_len, struct store_value *out_value)
{
    MDB_val k = as_val(key, key_len), v;
    int rc = mdb_get(t->txn, table, &k, &v);
    if (rc != 0)
        return translate(rc);
    out_value->data = v.mv_data;
    out_value->len = v.mv_size;
    return 0;
}

static int put(struct store_txn *t, unsigned table, const void *key, size_t key_len, MDB_val *value, unsigned flags)
{
    const struct store *s = store_of(t);
    if (s->over_limit)
        return UV_ENOSPC;
    MDB_val k = as_val(key, key_len);
    return translate_write(s, mdb_put(t->txn, table, &k, value, flags));
}

static unsigned put_flags(unsigned flags)
{
    return (flags & STORE_APPEND ? (unsigned)MDB_APPEND : 0) | (flags & STORE_NO_OVERWRITE ? MDB_NOOVERWRITE : 0);
}

int store_put(struct store_txn *t, unsigned table, const void *key, size_t key_len, const void *value, size_t value_len,
              unsigned flags)
{
    MDB_val v = as_val(value, value_len);
    return put(t, table, key, key_len, &v, put_flags(flags));
}

int store_reserve(struct store_txn *t, unsigned table, const void *key, size_t key_len, size_t value_len,
                  unsigned flags, void **out_space)
{
    MDB_val v = as_val(NULL, value_len);
    int rc = put(t, table, key, key_len, &v, put_flags(flags) | MDB_RESERVE);
    if (rc == 0)
        *out_space = v.mv_data;
    return rc;
}

int store_delete(struct store_txn *t, unsigned table, const void *key, size_t key_len)
{
    struct store *s = store_of(t);
    MDB_val k = as_val(key, key_len);
    int rc = mdb_del(t->txn, table, &k, NULL);
    if (rc == 0)
        s->over_limit = false;
    return translate_write(s, rc);
}

int store_count(struct store_txn *t, unsigned table, uint64_t *out_n)
{
    MDB_stat stat;
    int rc = mdb_stat(t->txn, table, &stat);
    if (rc != 0)
        return translate(rc);
    *out_n = stat.ms_entries;
    return 0;
}

/* ---- cursors */

int store_cursor_open(struct store_txn *t, unsigned table, struct store_cursor *out_cursor)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, table, &cursor);
    if (rc != 0)
        return translate(rc);
    *out_cursor = (struct store_cursor){.cursor = cursor};
    return 0;
}

void store_cursor_close(struct store_cursor *c)
{
    if (c->cursor)
        mdb_cursor_close(c->cursor);
    c->cursor = NULL;
}

static int move(struct store_cursor *c, MDB_val key, MDB_cursor_op op)
{
    MDB_val value;
    int rc = mdb_cursor_get(c->cursor, &key, &value, op);
    if (rc != 0)
        return translate(rc);
    c->key = (struct store_value){.data = key.mv_data, .len = key.mv_size};
    c->value = (struct store_value){.data = value.mv_data, .len = value.mv_size};
    return 0;
}

int store_cursor_first(struct store_cursor *c)
{
    return move(c, as_val(NULL, 0), MDB_FIRST);
}

int store_cursor_last(struct store_cursor *c)
{
    return move(c, as_val(NULL, 0), MDB_LAST);
}

int store_cursor_next(struct store_cursor *c)
{
    return move(c, as_val(NULL, 0), MDB_NEXT);
}

int store_cursor_prev(struct store_cursor *c)
{
    return move(c, as_val(NULL, 0), MDB_PREV);
}

int store_cursor_seek(struct store_cursor *c, const void *key, size_t key_len)
{
    return move(c, as_val(key, key_len), MDB_SET_RANGE);
}

int store_cursor_delete(struct store_cursor *c)
{
    struct store_txn t = {.txn = mdb_cursor_txn(c->cursor)};
    struct store *s = store_of(&t);
    int rc = mdb_cursor_del(c->cursor, 0);
    if (rc == 0)
        s->over_limit = false;
    return translate_write(s, rc);
}

int store_usage(struct store *s, uint64_t *out_used_bytes, uint64_t *out_limit_bytes)
{
    struct store_txn t = {0};
    uint64_t used = 0;
    int rc = store_begin(s, false, &t);
    if (rc != 0)
        return rc;
    rc = used_bytes(s, t.txn, &used);
    store_abort(&t);
    if (rc != 0)
        return rc;
    *out_used_bytes = used;
    *out_limit_bytes = s->limit_bytes;
    return 0;
}
