/* SPDX-License-Identifier: Apache-2.0 */
/* A whole connection, again and again, each time with another allocation failing, OpenSSL's and ours. Whether it comes
 * up does not matter; that it fails in good order, with words, does. A program of its own: OpenSSL lets its allocator
 * be replaced only before it has allocated anything, and Criterion's libraries come first. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/tls_context.h"
#include "tests/lib/certificates.h"
#include "tests/lib/failing_alloc.h"

enum { FIRST = 300, STEP = 11, RELOAD_STEP = 53 };

struct end {
    struct tls *tls;
    uint8_t wire[65536];
    size_t n_wire;
};

#define REQUIRE(what)                                                                                                  \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #what);                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct end server, client;
static struct tls_context *accepts, *connects;

static void on_plain(void *data, const uint8_t *bytes, size_t len)
{
    (void)data;
    (void)bytes;
    (void)len;
}

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    REQUIRE(e->n_wire + len <= sizeof e->wire);
    memcpy(e->wire + e->n_wire, bytes, len);
    e->n_wire += len;
}

static const struct tls_ops ops = {on_plain, on_wire};

static void carry(struct end *from, struct end *to)
{
    static uint8_t bytes[sizeof from->wire];
    size_t n = from->n_wire;
    memcpy(bytes, from->wire, n);
    from->n_wire = 0;
    if (n > 0)
        tls_step(to->tls, bytes, n, &ops, to);
}

static void say(struct end *e)
{
    if (tls_state(e->tls) == TLS_OPEN)
        tls_write(e->tls, (const uint8_t *)"hello", 5, &ops, e);
}

static void talk(void)
{
    tls_step(client.tls, NULL, 0, &ops, &client);
    for (int i = 0; i < 4; i++) {
        carry(&client, &server);
        carry(&server, &client);
        say(&client);
        say(&server);
    }
    tls_shutdown(client.tls, &ops, &client);
    carry(&client, &server);
}

static void check_end(const struct end *e)
{
    REQUIRE((tls_state(e->tls) == TLS_FAILED) == (tls_problem(e->tls)[0] != '\0'));
    if (tls_state(e->tls) == TLS_OPEN || tls_state(e->tls) == TLS_CLOSED)
        REQUIRE(tls_peer_name(e->tls, 0));
}

/* False when memory was out before there were two ends. */
static bool run(void)
{
    server = client = (struct end){0};
    bool made = tls_new(accepts, NULL, &server.tls) == 0 && tls_new(connects, "localhost", &client.tls) == 0;
    if (made) {
        talk();
        check_end(&server);
        check_end(&client);
    }
    return made;
}

static void *crypto_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(len);
}

static void *crypto_realloc(void *old, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return realloc(old, len);
}

static void crypto_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

static void set_up(struct certificates *certificates)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    REQUIRE(CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1);
    certificates_init(certificates);
    accepts = certificates_context(certificates, true, &certificates->ours, &broker);
    connects = certificates_context(certificates, false, &certificates->ours, &reader);
    /* What OpenSSL makes once for the process. */
    REQUIRE(run());
    REQUIRE(tls_state(server.tls) == TLS_CLOSED);
    tls_free(server.tls);
    tls_free(client.tls);
}

/* Reading the files again, in the same way, with few failures, for all of it is OpenSSL's: what is in use stays in use.
 * Returns how many allocations it takes. */
static unsigned reload(void)
{
    char err[512];
    unsigned n = 0;
    bool failed = true;
    for (; failed && n < 20000; n += RELOAD_STEP) {
        SSL_CTX *before = accepts->ctx;
        err[0] = '\0';
        failing_alloc_after(n);
        int rc = tls_context_reload(accepts, err, sizeof err);
        failed = failing_alloc_stop();
        REQUIRE((rc == 0) == (accepts->ctx != before));
        REQUIRE(rc == 0 || (failed && err[0] != '\0'));
    }
    REQUIRE(n > 100 && !failed);
    return n;
}

int main(void)
{
    struct certificates certificates;
    unsigned n = 0;
    bool failed = true;
    set_up(&certificates);
    /* Each of the first, among which ours are; of the thousands that OpenSSL adds, some. With a step of 1 all pass too.
     */
    for (; failed && n < 20000; n += n < FIRST ? 1 : STEP) {
        failing_alloc_after(n);
        run();
        failed = failing_alloc_stop();
        tls_free(server.tls);
        tls_free(client.tls);
    }
    REQUIRE(n > 500 && !failed);
    unsigned n_reload = reload();
    REQUIRE(run());
    REQUIRE(tls_state(server.tls) == TLS_CLOSED);
    tls_free(server.tls);
    tls_free(client.tls);
    tls_context_unref(accepts);
    tls_context_unref(connects);
    certificates_deinit(&certificates);
    printf("about %u allocations, %u of them to read the files again\n", n + n_reload, n_reload);
    return 0;
}
