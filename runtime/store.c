/* SPDX-License-Identifier: Apache-2.0 */
/* The store over LMDB.
 *
 * Opening: lock file (one process at a time), marker of the relaxed mode, structure of the file (store_image.h: reading
 * a cut or damaged file through the map would be a SIGBUS or worse), environment, stale readers cleared. Full disk:
 * LMDB fails the commit and keeps the old meta page, so nothing of the transaction exists and the environment goes on.
 * Only when writing the meta page itself fails does it declare the environment dead (MDB_PANIC): then it is closed and
 * opened again before the next transaction, once the last one is over. The map is never written through (no
 * MDB_WRITEMAP), so a full disk cannot raise SIGBUS. */
#include "runtime/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/failpoint.h"
#include "runtime/store_files.h"
#include "runtime/store_image.h"

#define MAX_READERS     512
#define FULL_BYTES      (2ull * 1024 * 1024) /* less is left: a write that was cut short was so for want of room */
#define DAMAGED_FILE    "data.mdb.damaged"
#define LOCK_FILE_BYTES ((MAX_READERS + 64) * 64) /* an entry takes 64 */

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

/* May the file not become much longer (setrlimit(2))? */
static bool is_at_limit(const struct store *s)
{
    struct rlimit limit;
    struct stat file;
    char *path = store_files_path(s->path, "data.mdb");
    bool is = path && getrlimit(RLIMIT_FSIZE, &limit) == 0 && stat(path, &file) == 0 &&
              (uint64_t)file.st_size + FULL_BYTES > limit.rlim_cur;
    free(path);
    return is;
}

/* What was written of a transaction that was cut short counts as used, and LMDB writes up to a MiB at once. */
static bool disk_is_full(const struct store *s)
{
    struct statvfs fs;
    return is_at_limit(s) || (statvfs(s->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BYTES);
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

/* ---- the marker of the relaxed mode */

static int check_mark(struct store *s)
{
    enum store_files_mark mark;
    int rc = store_files_mark(s->path, &mark);
    if (rc == 0 && mark == STORE_MARK_UNSAFE) {
        rc = store_files_set_aside(s->path, "data.mdb.unsafe");
        s->started_over = rc == 0;
    }
    return rc == 0 && s->relaxed ? store_files_set_mark(s->path) : rc;
}

/* Everything is on disk now: the store can be trusted without the marker. */
static int clear_mark(struct store *s)
{
    enum store_files_mark mark;
    int rc = store_files_mark(s->path, &mark);
    if (rc == 0 && mark != STORE_MARK_NONE && (rc = translate(mdb_env_sync(s->env, 1))) == 0)
        rc = store_files_clear_mark(s->path);
    return rc;
}

/* ---- the environment */

/* LMDB writes its table of readers through a map, into a file that it only made long: on a full disk that is SIGBUS.
 * Here it gets its blocks first, more than the table takes. */
static int make_lock_file(const char *directory)
{
    char *path = store_files_path(directory, "lock.mdb");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    int rc = !path ? ENOMEM : fd < 0 ? errno : posix_fallocate(fd, 0, LOCK_FILE_BYTES);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

static int make_empty(const char *directory)
{
    MDB_env *env;
    int rc = make_lock_file(directory);
    if (rc == 0)
        rc = mdb_env_create(&env);
    if (rc != 0)
        return rc;
    rc = mdb_env_open(env, directory, 0, 0600);
    if (rc == 0)
        rc = mdb_env_sync(env, 1);
    mdb_env_close(env);
    return rc;
}

/* An empty store, made aside and on disk before it gets its name: LMDB writes the first pages without a flush, and
 * would not open a file that a loss of power left half written. */
static int make_data(const struct store *s)
{
    char *aside = store_files_path(s->path, "new"), *from = store_files_path(s->path, "new/data.mdb"),
         *readers = store_files_path(s->path, "new/lock.mdb"), *to = store_files_path(s->path, "data.mdb");
    int rc = aside && from && readers && to ? 0 : UV_ENOMEM;
    if (rc == 0 && access(to, F_OK) != 0) {
        unlink(from); /* of a process that died here */
        if (mkdir(aside, 0700) < 0 && errno != EEXIST)
            rc = -errno;
        if (rc == 0)
            rc = translate_write(s, make_empty(aside));
        if (rc == 0)
            rc = FAILPOINT("store.made");
        if (rc == 0 && rename(from, to) < 0)
            rc = -errno;
        if (rc == 0)
            rc = FAILPOINT("store.named");
        unlink(readers);
        unlink(from);
        rmdir(aside);
        if (rc == 0)
            rc = store_files_sync_directory(s->path);
    }
    free(aside);
    free(from);
    free(readers);
    free(to);
    return rc;
}

static uint64_t reserve_bytes(uint64_t limit)
{
    return limit / 64 + 1024ull * 1024;
}

static int open_env(struct store *s)
{
    MDB_env *env;
    int rc = store_image_check(s->path);
    if (rc != 0)
        return rc;
    rc = mdb_env_create(&env);
    if (rc != 0)
        return translate(rc);
    size_t map = (size_t)((s->limit_bytes + reserve_bytes(s->limit_bytes) + 4095) & ~4095ull);
    unsigned flags = MDB_NOTLS | (s->relaxed ? (unsigned)MDB_NOSYNC : 0);
    if ((rc = mdb_env_set_mapsize(env, map)) != 0 || (rc = mdb_env_set_maxdbs(env, s->max_tables)) != 0 ||
        (rc = mdb_env_set_maxreaders(env, MAX_READERS)) != 0 || (rc = mdb_env_set_userctx(env, s)) != 0 ||
        (rc = make_lock_file(s->path)) != 0 || (rc = mdb_env_open(env, s->path, flags, 0600)) != 0)
        rc = translate_write(s, rc);
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

static int start_over(struct store *s)
{
    int rc = store_files_set_aside(s->path, DAMAGED_FILE);
    if (rc == 0)
        rc = make_data(s);
    s->started_over = rc == 0;
    return rc == 0 ? open_env(s) : rc;
}

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
    rc = s->tables ? store_files_make_directory(s->path) : UV_ENOMEM;
    if (rc == 0)
        rc = store_files_lock(s->path, false, &s->lock_fd);
    if (rc == 0)
        rc = check_mark(s);
    if (rc == 0)
        rc = make_data(s);
    if (rc == 0 && !options->set_aside)
        rc = open_env(s);
    if ((rc == UV_EIO && options->start_over) || (rc == 0 && options->set_aside))
        rc = start_over(s);
    if (rc == 0)
        rc = store_files_sync_directory(s->path);
    if (rc == 0 && !s->relaxed)
        rc = clear_mark(s);
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
        clear_mark(s); /* if it fails, the next start after a crash of the machine begins anew */
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

/* Pages of the tables, the list of tables (1), the list of free pages (0), and the two meta pages. These are counts in
 * the file, and may be damaged: there are no more than all that were ever used. */
static int used_bytes(struct store *s, MDB_txn *txn, uint64_t *out_bytes)
{
    MDB_stat stat = {0};
    MDB_envinfo info;
    uint64_t bytes = 0;
    mdb_env_info(s->env, &info);
    for (MDB_dbi dbi = 0; dbi < 2 + s->n_tables; dbi++) {
        int rc = mdb_stat(txn, dbi, &stat);
        if (rc != 0)
            return translate(rc);
        bytes += stat_bytes(&stat);
    }
    bytes += 2ull * stat.ms_psize;
    uint64_t all_bytes = (info.me_last_pgno + 1ull) * stat.ms_psize;
    *out_bytes = bytes < all_bytes ? bytes : all_bytes;
    return 0;
}

int store_begin(struct store *s, bool write, struct store_txn *out_txn)
{
    MDB_txn *txn;
    int rc = write ? FAILPOINT("store.begin") : 0;
    if (rc != 0)
        return rc;
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
    if (write) {
        s->over_limit = used >= s->limit_bytes;
        s->met_limit = false;
    }
    out_txn->txn = txn;
    return 0;
}

int store_commit(struct store_txn *t)
{
    struct store *s = store_of(t);
    int rc = FAILPOINT("store.commit");
    if (rc != 0) {
        store_abort(t);
        return rc;
    }
    rc = mdb_txn_commit(t->txn);
    t->txn = NULL;
    s->met_limit |= rc == MDB_MAP_FULL;
    leave(s, rc == MDB_PANIC);
    return rc != 0 ? translate_write(s, rc) : FAILPOINT("store.committed");
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
    struct store *s = store_of(t);
    int rc = FAILPOINT("store.put");
    if (rc != 0)
        return rc;
    MDB_val k = as_val(key, key_len);
    rc = s->over_limit ? MDB_MAP_FULL : mdb_put(t->txn, table, &k, value, flags);
    s->met_limit |= rc == MDB_MAP_FULL;
    return translate_write(s, rc);
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
    int rc = FAILPOINT("store.delete");
    if (rc != 0)
        return rc;
    rc = mdb_del(t->txn, table, &k, NULL);
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

int store_was_set_aside(const struct store *s)
{
    char *path = store_files_path(s->path, DAMAGED_FILE);
    if (!path)
        return UV_ENOMEM;
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

bool store_met_limit(const struct store *s)
{
    return s->met_limit;
}

int store_make_room(struct store *s, uint64_t bytes)
{
    uint64_t used, limit;
    struct stat file;
    int fd, rc = store_usage(s, &used, &limit);
    if (rc != 0)
        return rc;
    rc = enter(s);
    if (rc != 0)
        return rc;
    rc = mdb_env_get_fd(s->env, &fd);
    if (rc == 0 && fstat(fd, &file) < 0)
        rc = errno;
    if (rc == 0 && (uint64_t)file.st_size < used + bytes)
        do {
            rc = posix_fallocate(fd, file.st_size, (off_t)(used + bytes - (uint64_t)file.st_size));
        } while (rc == EINTR);
    leave(s, false);
    return translate_write(s, rc);
}
