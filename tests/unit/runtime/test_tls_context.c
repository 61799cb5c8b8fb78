/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are not what they should be: each is told by its name, at the start and when they are read again. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "tests/lib/certificates.h"

static struct certificates certificates;
static struct certificate_files good, others;
static char err[512];

static void setup(void)
{
    struct tls_subject subject = certificates_server();
    certificates_init(&certificates);
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    certificates_write(&certificates, &pem, &good);
    tls_pem_free(&pem);
    pem = certificates_issue(&certificates.ours, &subject);
    certificates_write(&certificates, &pem, &others);
    tls_pem_free(&pem);
}

static void teardown(void)
{
    certificates_deinit(&certificates);
}

TestSuite(tls_context, .init = setup, .fini = teardown);

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

static void expect_refused(int rc, const struct tls_files *files, const char *file, const char *words)
{
    struct tls_context *context = NULL;
    for (int server = 0; server < 2; server++) {
        cr_assert_eq(tls_context_new(server, files, &context, err, sizeof err), rc, "%s", err);
        cr_assert(strstr(err, file) && strstr(err, words), "'%s' lacks '%s' or '%s'", err, file, words);
        cr_assert_null(context);
    }
}

static void expect_certificate_refused(struct tls_validity validity, const char *words)
{
    struct tls_subject subject = certificates_server();
    struct certificate_files files;
    subject.validity = validity;
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    certificates_write(&certificates, &pem, &files);
    tls_pem_free(&pem);
    expect_refused(UV_EINVAL, &files.files, files.certificate, words);
}

Test(tls_context, good_files_are_read)
{
    struct tls_context *context;
    cr_assert_eq(tls_context_new(true, &good.files, &context, err, sizeof err), 0, "%s", err);
    tls_context_unref(tls_context_ref(context));
    tls_context_unref(context);
    tls_context_unref(NULL);
    cr_assert_null(tls_context_ref(NULL));
}

Test(tls_context, missing_files_are_named)
{
    expect_refused(UV_ENOENT, &(struct tls_files){"/nowhere/c", good.key, good.authority}, "/nowhere/c",
                   "no such file");
    expect_refused(UV_ENOENT, &(struct tls_files){good.certificate, "/nowhere/k", good.authority}, "/nowhere/k",
                   "no such file");
    expect_refused(UV_ENOENT, &(struct tls_files){good.certificate, good.key, "/nowhere/a"}, "/nowhere/a",
                   "no such file");
    expect_refused(UV_EISDIR, &(struct tls_files){"/tmp", good.key, good.authority}, "/tmp", "directory");
    expect_refused(UV_EINVAL, &(struct tls_files){NULL, good.key, good.authority}, "certificate", "no certificate");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, "", good.authority}, "key", "no key");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.key, NULL}, "authority", "no authority");
}

Test(tls_context, files_with_something_else_in_them_are_named)
{
    char empty[160];
    snprintf(empty, sizeof empty, "%s/empty", certificates.directory);
    put(empty, "");
    expect_refused(UV_EINVAL, &(struct tls_files){good.key, good.key, good.authority}, good.key,
                   "no certificate in it");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.certificate, good.authority}, good.certificate,
                   "no private key in it");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.key, good.key}, good.key,
                   "no certificate in it");
    expect_refused(UV_EINVAL, &(struct tls_files){empty, good.key, good.authority}, empty, "no certificate in it");
}

Test(tls_context, what_is_no_regular_file_is_refused_and_not_waited_for)
{
    char fifo[160], large[160];
    snprintf(fifo, sizeof fifo, "%s/pipe", certificates.directory);
    snprintf(large, sizeof large, "%s/large", certificates.directory);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    put(large, "");
    cr_assert_eq(truncate(large, 1024 * 1024 + 1), 0);
    expect_refused(UV_EINVAL, &(struct tls_files){fifo, good.key, good.authority}, fifo, "no regular file");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, "/dev/zero", good.authority}, "/dev/zero",
                   "no regular file");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.key, large}, large, "larger than 1 MiB");
}

Test(tls_context, a_key_of_another_certificate_is_refused)
{
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, others.key, good.authority}, others.key,
                   "does not belong to the certificate");
}

Test(tls_context, an_encrypted_key_is_refused_without_asking)
{
    char path[160];
    FILE *f = fopen(good.key, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    snprintf(path, sizeof path, "%s/encrypted", certificates.directory);
    f = fopen(path, "w");
    cr_assert_eq(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), NULL, 0, NULL, (void *)"secret"), 1);
    fclose(f);
    EVP_PKEY_free(key);
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, path, good.authority}, path, "encrypted");
}

Test(tls_context, our_own_certificate_must_be_valid_now)
{
    time_t now = time(NULL);
    expect_certificate_refused((struct tls_validity){now - 7200, now - 3600}, "has expired on 20");
    expect_certificate_refused((struct tls_validity){now + 3600, now + 7200}, "not valid before 20");
}

/* ------------------------------------------------------------------------------------------------ reading again */

struct end {
    struct tls *tls;
    uint8_t wire[64 * 1024]; /* said and not yet heard */
    size_t n_wire, n_plain;
};
struct pair {
    struct end server, client;
};

static void on_plain(void *data, const uint8_t *bytes, size_t len)
{
    (void)bytes;
    ((struct end *)data)->n_plain += len;
}

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    cr_assert_leq(e->n_wire + len, sizeof e->wire);
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

static void talk(struct pair *p)
{
    while (p->client.n_wire || p->server.n_wire) {
        carry(&p->client, &p->server);
        carry(&p->server, &p->client);
    }
}

static void begin(struct pair *p, struct tls_context *accepts, struct tls_context *connects)
{
    *p = (struct pair){0};
    cr_assert_eq(tls_new(accepts, NULL, &p->server.tls), 0);
    cr_assert_eq(tls_new(connects, "localhost", &p->client.tls), 0);
    tls_step(p->client.tls, NULL, 0, &ops, &p->client);
}

static void end(struct pair *p)
{
    tls_free(p->server.tls);
    tls_free(p->client.tls);
}

static void expect_names(const struct pair *p, const char *of_server, const char *of_client)
{
    cr_assert_eq(tls_state(p->client.tls), TLS_OPEN, "%s", tls_problem(p->client.tls));
    cr_assert_eq(tls_state(p->server.tls), TLS_OPEN, "%s", tls_problem(p->server.tls));
    cr_assert_str_eq(tls_peer_name(p->client.tls, 0), of_server);
    cr_assert_str_eq(tls_peer_name(p->server.tls, 0), of_client);
}

/* Data goes both ways. */
static void expect_alive(struct pair *p)
{
    size_t n_server = p->server.n_plain, n_client = p->client.n_plain;
    cr_assert_eq(tls_write(p->client.tls, (const uint8_t *)"ask", 3, &ops, &p->client), 0);
    cr_assert_eq(tls_write(p->server.tls, (const uint8_t *)"answer", 6, &ops, &p->server), 0);
    talk(p);
    cr_assert_eq(p->server.n_plain - n_server, 3);
    cr_assert_eq(p->client.n_plain - n_client, 6);
}

/* A certificate of `subject`, into the files that there are. */
static void renew(const struct certificate_files *files, const struct tls_pem *authority, struct tls_subject subject)
{
    struct tls_pem pem = certificates_issue(authority, &subject);
    put(files->certificate, pem.certificate);
    put(files->key, pem.key);
    tls_pem_free(&pem);
}

static void open_context(bool server, const struct tls_files *files, struct tls_context **out)
{
    cr_assert_eq(tls_context_new(server, files, out, err, sizeof err), 0, "%s", err);
}

static struct tls_subject named(const char *uri)
{
    struct tls_subject subject = certificates_server();
    subject.uri = uri;
    return subject;
}

Test(tls_context, read_again_is_for_new_connections_and_old_ones_stay)
{
    static struct pair old, midway, new;
    struct tls_context *accepts, *connects;
    renew(&others, &certificates.ours, certificates_subject("r1", "sensebus://reader/r1"));
    open_context(true, &good.files, &accepts);
    open_context(false, &others.files, &connects);
    begin(&old, accepts, connects);
    talk(&old);
    expect_names(&old, "uri:sensebus://broker/b1", "uri:sensebus://reader/r1");
    begin(&midway, accepts, connects);
    carry(&midway.client, &midway.server);

    renew(&good, &certificates.ours, named("sensebus://broker/b2"));
    cr_assert_eq(tls_context_reload(accepts, err, sizeof err), 0, "%s", err);
    renew(&others, &certificates.ours, certificates_subject("r2", "sensebus://reader/r2"));
    cr_assert_eq(tls_context_reload(connects, err, sizeof err), 0, "%s", err);
    begin(&new, accepts, connects);
    talk(&new);
    expect_names(&new, "uri:sensebus://broker/b2", "uri:sensebus://reader/r2");
    talk(&midway);
    expect_names(&midway, "uri:sensebus://broker/b1", "uri:sensebus://reader/r1");
    expect_alive(&old);
    end(&new);

    tls_context_unref(accepts);
    tls_context_unref(connects);
    expect_alive(&old);
    expect_alive(&midway);
    end(&old);
    end(&midway);
}

Test(tls_context, authorities_overlap_and_then_one_goes)
{
    static struct pair p, before;
    struct tls_context *accepts, *old, *new;
    struct certificate_files newcomer;
    char both[16384];
    struct tls_subject subject = certificates_subject("r2", "sensebus://reader/r2");
    struct tls_pem pem = certificates_issue(&certificates.other, &subject);
    certificates_write(&certificates, &pem, &newcomer);
    tls_pem_free(&pem);
    renew(&others, &certificates.ours, certificates_subject("r1", "sensebus://reader/r1"));
    open_context(true, &good.files, &accepts);
    open_context(false, &others.files, &old);
    open_context(false, &newcomer.files, &new);
    begin(&p, accepts, new);
    talk(&p);
    cr_assert_eq(tls_state(p.server.tls), TLS_FAILED);
    end(&p);

    snprintf(both, sizeof both, "%s%s", certificates.ours.certificate, certificates.other.certificate);
    put(good.authority, both);
    cr_assert_eq(tls_context_reload(accepts, err, sizeof err), 0, "%s", err);
    begin(&p, accepts, new);
    talk(&p);
    expect_names(&p, "uri:sensebus://broker/b1", "uri:sensebus://reader/r2");
    end(&p);
    begin(&before, accepts, old);
    talk(&before);
    expect_names(&before, "uri:sensebus://broker/b1", "uri:sensebus://reader/r1");

    put(good.authority, certificates.other.certificate);
    cr_assert_eq(tls_context_reload(accepts, err, sizeof err), 0, "%s", err);
    begin(&p, accepts, old);
    talk(&p);
    cr_assert_eq(tls_state(p.server.tls), TLS_FAILED);
    end(&p);
    expect_alive(&before);
    end(&before);
    tls_context_unref(accepts);
    tls_context_unref(old);
    tls_context_unref(new);
}

static void expect_old_stays(struct tls_context *context, int rc, const char *file, const char *words)
{
    struct tls_certificate before, after;
    tls_context_certificate(context, &before);
    cr_assert_eq(tls_context_reload(context, err, sizeof err), rc, "%s", err);
    cr_assert(strstr(err, file) && strstr(err, words), "'%s' lacks '%s' or '%s'", err, file, words);
    tls_context_certificate(context, &after);
    cr_assert_str_eq(before.serial, after.serial);
}

Test(tls_context, whatever_is_wrong_with_the_files_the_old_ones_stay_in_use)
{
    static struct pair p;
    time_t now = time(NULL);
    struct tls_context *accepts, *connects;
    struct tls_subject late = named("sensebus://broker/b2");
    struct tls_pem pem = certificates_issue(&certificates.ours, &late);
    char chain[16384], missing[160];
    snprintf(missing, sizeof missing, "%s.away", good.key);
    open_context(true, &good.files, &accepts);
    open_context(false, &others.files, &connects);

    put(good.certificate, pem.certificate); /* its key comes later */
    expect_old_stays(accepts, UV_EINVAL, good.key, "does not belong to the certificate");
    put(good.key, pem.key);
    cr_assert_eq(rename(good.key, missing), 0);
    expect_old_stays(accepts, UV_ENOENT, good.key, "no such file");
    cr_assert_eq(rename(missing, good.key), 0);
    put(good.certificate, "");
    expect_old_stays(accepts, UV_EINVAL, good.certificate, "no certificate in it");
    snprintf(chain, sizeof chain, "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pem.certificate);
    put(good.certificate, chain);
    expect_old_stays(accepts, UV_EINVAL, good.certificate, "a certificate behind the first one cannot be read");
    put(good.certificate, pem.certificate);
    put(good.authority, "-----BEGIN CERTIFICATE-----\n");
    expect_old_stays(accepts, UV_EINVAL, good.authority, "no certificate in it");
    put(good.authority, certificates.ours.certificate);
    late.validity = (struct tls_validity){now - 7200, now - 3600};
    renew(&good, &certificates.ours, late);
    expect_old_stays(accepts, UV_EINVAL, good.certificate, "has expired on 20");

    begin(&p, accepts, connects);
    talk(&p);
    expect_names(&p, "uri:sensebus://broker/b1", "uri:sensebus://broker/b1");
    end(&p);
    put(good.certificate, pem.certificate);
    put(good.key, pem.key);
    cr_assert_eq(tls_context_reload(accepts, err, sizeof err), 0, "%s", err);
    begin(&p, accepts, connects);
    talk(&p);
    expect_names(&p, "uri:sensebus://broker/b2", "uri:sensebus://broker/b1");
    end(&p);
    tls_pem_free(&pem);
    tls_context_unref(accepts);
    tls_context_unref(connects);
}

Test(tls_context, tells_what_is_in_use)
{
    struct tls_context *context;
    struct tls_certificate own;
    struct tls_subject subject = named("sensebus://broker/b2");
    subject.validity.not_after = 4000000000; /* 2096-10-02 07:06:40 */
    struct tls_pem authority = {0}, pem;
    struct tls_validity validity = {time(NULL) - 86400, 4100000000};
    cr_assert_eq(tls_authority_new(&validity, &authority, err, sizeof err), 0, "%s", err);
    pem = certificates_issue(&authority, &subject);
    put(good.certificate, pem.certificate);
    put(good.key, pem.key);
    open_context(true, &good.files, &context);
    tls_context_certificate(context, &own);
    cr_assert_str_eq(own.subject, "CN=broker");
    cr_assert_str_eq(own.not_after, "2096-10-02 07:06:40Z");
    cr_assert_eq(own.not_after_s, 4000000000);
    cr_assert_eq(strlen(own.serial), 32, "%s", own.serial);
    cr_assert_eq(strspn(own.serial, "0123456789ABCDEF"), 32, "%s", own.serial);
    tls_pem_free(&pem);
    tls_pem_free(&authority);
    tls_context_unref(context);
}
