/* SPDX-License-Identifier: Apache-2.0 */
/* Fills a real, tiny file system (its path is the argument) with a store and checks that nothing committed is lost,
 * that full means UV_ENOSPC, and that commits succeed again as soon as there is space. Run by store_full_disk.sh. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/store.h"

#define VALUE_BYTES 30000

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct store s;
static unsigned table;

static void open_store(const char *directory)
{
    struct store_options options = {.directory = directory, .map_bytes = 1u << 30, .n_tables = 1};
    CHECK(store_open(&s, &options) == 0);
    CHECK(store_table(&s, "log", STORE_INTEGER_KEYS, &table) == 0);
}

static int append(uint64_t key)
{
    static char value[VALUE_BYTES];
    memset(value, (int)(key & 0xff), sizeof value);
    struct store_txn t = {0};
    int rc = store_begin(&s, true, &t);
    if (rc != 0)
        return rc;
    rc = store_put(&t, table, &key, sizeof key, value, sizeof value, STORE_APPEND);
    if (rc != 0) {
        store_abort(&t);
        return rc;
    }
    return store_commit(&t);
}

static void check_all(uint64_t first, uint64_t last)
{
    struct store_txn t = {0};
    struct store_value v;
    uint64_t n;
    CHECK(store_begin(&s, false, &t) == 0);
    for (uint64_t key = first; key <= last; key++) {
        CHECK(store_get(&t, table, &key, sizeof key, &v) == 0);
        CHECK(v.len == VALUE_BYTES);
        for (size_t i = 0; i < v.len; i++)
            CHECK(((const uint8_t *)v.data)[i] == (uint8_t)key);
    }
    CHECK(store_count(&t, table, &n) == 0);
    CHECK(n == last - first + 1);
    store_abort(&t);
}

/* Take all space but `leave` bytes away from the store. */
static void fill_disk(const char *path)
{
    static const char zeros[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    CHECK(fd >= 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    close(fd);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    char directory[512], ballast[512];
    snprintf(directory, sizeof directory, "%s/store", argv[1]);
    snprintf(ballast, sizeof ballast, "%s/ballast", argv[1]);
    open_store(directory);
    uint64_t last = 0;
    for (int round = 1; round <= 4; round++) {
        int rc;
        for (uint64_t i = 0; i < 6; i++, last++)
            CHECK(append(last + 1) == 0);
        fill_disk(ballast);
        while ((rc = append(last + 1)) == 0)
            last++;
        fprintf(stderr, "round %d: full after %" PRIu64 " values: %s\n", round, last, uv_strerror(rc));
        CHECK(rc == UV_ENOSPC);
        for (int i = 0; i < 20; i++)
            CHECK(append(last + 1) == UV_ENOSPC);
        check_all(1, last);
        if (round == 2) {
            store_close(&s);
            open_store(directory); /* a full disk does not keep it from opening */
            check_all(1, last);
        }
        CHECK(unlink(ballast) == 0);
        CHECK(append(last + 1) == 0);
        last++;
        check_all(1, last);
    }
    store_close(&s);
    return 0;
}
