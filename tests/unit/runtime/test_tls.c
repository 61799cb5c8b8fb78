/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends in memory. Good ends are ours on both sides; what no end of ours would show (an expired certificate, none at
 * all, TLS 1.2) comes from OpenSSL itself. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "tests/lib/certificates.h"

static struct certificates certificates;

static void setup(void)
{
    certificates_init(&certificates);
}

static void teardown(void)
{
    certificates_deinit(&certificates);
}

TestSuite(tls, .init = setup, .fini = teardown, .timeout = 60);

/* ------------------------------------------------------------------------------------------------ ends of ours */

struct end {
    struct tls *tls;
    uint8_t wire[256 * 1024]; /* said and not yet heard */
    size_t n_wire;
    uint8_t plain[256 * 1024];
    size_t n_plain;
};

static struct end server, client;

static void on_plain(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    cr_assert_eq(tls_state(e->tls), TLS_OPEN);
    cr_assert_leq(e->n_plain + len, sizeof e->plain);
    memcpy(e->plain + e->n_plain, bytes, len);
    e->n_plain += len;
}

static void on_wire(void *data, const uint8_t *bytes, size_t len)
{
    struct end *e = data;
    cr_assert_leq(e->n_wire + len, sizeof e->wire);
    memcpy(e->wire + e->n_wire, bytes, len);
    e->n_wire += len;
}

static const struct tls_ops ops = {on_plain, on_wire};

/* What `from` said goes to `to`, in pieces of at most `piece` bytes. */
static void carry(struct end *from, struct end *to, size_t piece)
{
    static uint8_t bytes[sizeof from->wire];
    size_t n = from->n_wire;
    memcpy(bytes, from->wire, n);
    from->n_wire = 0;
    for (size_t at = 0; at < n; at += piece)
        tls_step(to->tls, bytes + at, n - at < piece ? n - at : piece, &ops, to);
}

static void talk(size_t piece)
{
    tls_step(client.tls, NULL, 0, &ops, &client);
    while (client.n_wire || server.n_wire) {
        carry(&client, &server, piece);
        carry(&server, &client, piece);
    }
}

static void open_end(struct end *e, struct tls_context *context, const char *server_name)
{
    *e = (struct end){0};
    cr_assert_eq(tls_new(context, server_name, &e->tls), 0);
    tls_context_unref(context);
}

/* Ours on both sides; not yet connected. */
static void open_ends(const char *server_name)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    open_end(&server, certificates_context(&certificates, true, &certificates.ours, &broker), NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.ours, &reader), server_name);
}

static void close_ends(void)
{
    tls_free(server.tls);
    tls_free(client.tls);
}

static void say(struct end *from, const char *text)
{
    cr_assert_eq(tls_write(from->tls, (const uint8_t *)text, strlen(text), &ops, from), 0);
}

static void expect_heard(const struct end *e, const char *text)
{
    cr_assert_eq(e->n_plain, strlen(text));
    cr_assert_eq(memcmp(e->plain, text, e->n_plain), 0);
}

Test(tls, both_ends_open_and_name_each_other)
{
    open_ends("localhost");
    talk(SIZE_MAX / 2);
    cr_assert_eq(tls_state(server.tls), TLS_OPEN, "%s", tls_problem(server.tls));
    cr_assert_eq(tls_state(client.tls), TLS_OPEN, "%s", tls_problem(client.tls));
    cr_assert_str_eq(tls_peer_name(server.tls, 0), "uri:sensebus://reader/r1");
    cr_assert_null(tls_peer_name(server.tls, 1));
    cr_assert_str_eq(tls_peer_name(client.tls, 0), "uri:sensebus://broker/b1");
    cr_assert_str_eq(tls_peer_name(client.tls, 1), "dns:localhost");
    cr_assert_str_eq(tls_peer_name(client.tls, 2), "dns:broker.example");
    cr_assert_null(tls_peer_name(client.tls, 3));
    say(&client, "question");
    say(&server, "answer");
    talk(SIZE_MAX / 2);
    expect_heard(&server, "question");
    expect_heard(&client, "answer");
    close_ends();
}

Test(tls, an_address_is_a_server_name_too)
{
    open_ends("127.0.0.1");
    talk(SIZE_MAX / 2);
    cr_assert_eq(tls_state(client.tls), TLS_OPEN, "%s", tls_problem(client.tls));
    close_ends();
}

Test(tls, bytes_may_come_one_by_one)
{
    open_ends("localhost");
    talk(1);
    say(&client, "question");
    talk(1);
    expect_heard(&server, "question");
    close_ends();
}

Test(tls, large_data_arrives_whole)
{
    static uint8_t bytes[200000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    open_ends("localhost");
    talk(SIZE_MAX / 2);
    cr_assert_eq(tls_write(server.tls, bytes, sizeof bytes, &ops, &server), 0);
    talk(1000);
    cr_assert_eq(client.n_plain, sizeof bytes);
    cr_assert_eq(memcmp(client.plain, bytes, sizeof bytes), 0);
    close_ends();
}

Test(tls, data_that_comes_with_the_end_of_the_handshake_is_heard)
{
    open_ends("localhost");
    tls_step(client.tls, NULL, 0, &ops, &client);
    carry(&client, &server, SIZE_MAX / 2);
    carry(&server, &client, SIZE_MAX / 2);
    cr_assert_eq(tls_state(client.tls), TLS_OPEN);
    say(&client, "early");
    carry(&client, &server, SIZE_MAX / 2);
    expect_heard(&server, "early");
    close_ends();
}

Test(tls, the_end_is_told)
{
    open_ends("localhost");
    talk(SIZE_MAX / 2);
    say(&client, "bye");
    tls_shutdown(client.tls, &ops, &client);
    carry(&client, &server, SIZE_MAX / 2);
    expect_heard(&server, "bye");
    cr_assert_eq(tls_state(server.tls), TLS_CLOSED);
    cr_assert_eq(tls_write(server.tls, (const uint8_t *)"x", 1, &ops, &server), UV_EPROTO);
    close_ends();
}

Test(tls, nothing_is_written_before_it_is_open)
{
    open_ends("localhost");
    cr_assert_eq(tls_write(client.tls, (const uint8_t *)"x", 1, &ops, &client), UV_EPROTO);
    tls_shutdown(client.tls, &ops, &client);
    cr_assert_eq(client.n_wire, 0);
    close_ends();
}

Test(tls, a_damaged_record_ends_it)
{
    open_ends("localhost");
    talk(SIZE_MAX / 2);
    say(&client, "question");
    client.wire[client.n_wire - 1] ^= 1;
    carry(&client, &server, SIZE_MAX / 2);
    cr_assert_eq(tls_state(server.tls), TLS_FAILED);
    cr_assert(strstr(tls_problem(server.tls), "TLS failed: "), "%s", tls_problem(server.tls));
    cr_assert_gt(server.n_wire, 0, "an alert");
    cr_assert_eq(server.n_plain, 0);
    close_ends();
}

/* ------------------------------------------------------------------------------------------------ wrong names */

static void expect_problem(const struct end *e, const char *const *words)
{
    cr_assert_eq(tls_state(e->tls), TLS_FAILED);
    for (; *words; words++)
        cr_expect(strstr(tls_problem(e->tls), *words), "'%s' lacks '%s'", tls_problem(e->tls), *words);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(tls, another_server_name_is_refused_naming_both)
{
    open_ends("elsewhere.example");
    talk(SIZE_MAX / 2);
    expect_problem(&client, WORDS("dns:localhost", "dns:broker.example", "ip:127.0.0.1", "not for elsewhere.example"));
    expect_problem(&server, WORDS("refused our certificate", "another name"));
    close_ends();
}

Test(tls, another_server_address_is_refused)
{
    open_ends("127.0.0.2");
    talk(SIZE_MAX / 2);
    expect_problem(&client, WORDS("ip:127.0.0.1", "not for 127.0.0.2"));
    close_ends();
}

Test(tls, the_common_name_is_no_server_name)
{
    open_ends("broker");
    talk(SIZE_MAX / 2);
    expect_problem(&client, WORDS("not for broker"));
    close_ends();
}

Test(tls, a_name_that_can_be_none_is_refused)
{
    struct tls_subject reader = certificates_subject("r1", NULL);
    struct tls_context *context = certificates_context(&certificates, false, &certificates.ours, &reader);
    struct tls *tls;
    cr_assert_eq(tls_new(context, "", &tls), UV_EINVAL);
    tls_context_unref(context);
}

/* ------------------------------------------------------------------------------------------------ wrong authority */

Test(tls, a_client_of_another_authority_is_refused)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("stranger", "sensebus://reader/stranger");
    open_end(&server, certificates_context(&certificates, true, &certificates.ours, &broker), NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.other, &reader), "localhost");
    talk(SIZE_MAX / 2);
    expect_problem(&server, WORDS("CN=stranger", "another authority (CN=Sensebus authority"));
    expect_problem(&client, WORDS("refused our certificate", "does not know the authority"));
    cr_assert_null(tls_peer_name(server.tls, 0));
    close_ends();
}

Test(tls, a_server_of_another_authority_is_refused)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", NULL);
    open_end(&server, certificates_context(&certificates, true, &certificates.other, &broker), NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.ours, &reader), "localhost");
    talk(SIZE_MAX / 2);
    expect_problem(&client, WORDS("CN=broker", "another authority"));
    expect_problem(&server, WORDS("does not know the authority"));
    close_ends();
}

Test(tls, a_client_certificate_is_no_server_certificate)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", NULL);
    broker.server = false;
    open_end(&server, certificates_context(&certificates, true, &certificates.ours, &broker), NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.ours, &reader), "localhost");
    talk(SIZE_MAX / 2);
    expect_problem(&client, WORDS("must not be used by a server"));
    close_ends();
}

/* ------------------------------------------------------------------------------------------------ names */

static const char *name_of(const char *uri, const char *const *dns, size_t n_dns, size_t i)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", uri);
    reader.dns = dns;
    reader.n_dns = n_dns;
    open_end(&server, certificates_context(&certificates, true, &certificates.ours, &broker), NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.ours, &reader), "localhost");
    talk(SIZE_MAX / 2);
    cr_assert_eq(tls_state(server.tls), TLS_OPEN, "%s", tls_problem(server.tls));
    return tls_peer_name(server.tls, i);
}

Test(tls, a_certificate_without_names_is_unnamed)
{
    cr_assert_str_eq(name_of(NULL, NULL, 0, 0), "tls:unnamed");
    cr_assert_null(tls_peer_name(server.tls, 1));
    close_ends();
}

Test(tls, dns_names_are_in_lower_case_and_at_most_so_many)
{
    const char *dns[40];
    for (size_t i = 0; i < 40; i++)
        dns[i] = "DB-07.Example";
    cr_assert_str_eq(name_of("urn:A", dns, 40, 0), "uri:urn:A");
    cr_assert_str_eq(tls_peer_name(server.tls, 31), "dns:db-07.example");
    cr_assert_null(tls_peer_name(server.tls, 32));
    close_ends();
}

/* ------------------------------------------------------------------------------------------------ foreign ends */

static struct {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
} foreign;

static void foreign_open(bool accepts, const struct tls_pem *pem, int version)
{
    foreign.ctx = SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_max_proto_version(foreign.ctx, version);
    if (pem) {
        BIO *text = BIO_new_mem_buf(pem->certificate, -1);
        X509 *certificate = PEM_read_bio_X509(text, NULL, NULL, NULL);
        BIO_free(text);
        text = BIO_new_mem_buf(pem->key, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
        BIO_free(text);
        cr_assert_eq(SSL_CTX_use_certificate(foreign.ctx, certificate), 1);
        cr_assert_eq(SSL_CTX_use_PrivateKey(foreign.ctx, key), 1);
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    foreign.ssl = SSL_new(foreign.ctx);
    foreign.in = BIO_new(BIO_s_mem());
    foreign.out = BIO_new(BIO_s_mem());
    SSL_set_bio(foreign.ssl, foreign.in, foreign.out);
    if (accepts)
        SSL_set_accept_state(foreign.ssl);
    else
        SSL_set_connect_state(foreign.ssl);
}

static void foreign_offer(const char *alpn)
{
    SSL_set_alpn_protos(foreign.ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
}

/* Until neither has anything to say. */
static void foreign_talk(struct end *ours)
{
    char bytes[65536];
    int n;
    tls_step(ours->tls, NULL, 0, &ops, ours);
    do {
        BIO_write(foreign.in, ours->wire, (int)ours->n_wire);
        ours->n_wire = 0;
        if (SSL_do_handshake(foreign.ssl) == 1)
            SSL_read(foreign.ssl, bytes, sizeof bytes);
        n = BIO_read(foreign.out, bytes, sizeof bytes);
        if (n > 0)
            tls_step(ours->tls, (uint8_t *)bytes, (size_t)n, &ops, ours);
    } while (n > 0 || ours->n_wire);
}

static void foreign_close(void)
{
    SSL_free(foreign.ssl);
    SSL_CTX_free(foreign.ctx);
}

static void open_server(void)
{
    struct tls_subject broker = certificates_server();
    open_end(&server, certificates_context(&certificates, true, &certificates.ours, &broker), NULL);
}

static void open_client(void)
{
    struct tls_subject reader = certificates_subject("r1", NULL);
    open_end(&client, certificates_context(&certificates, false, &certificates.ours, &reader), "localhost");
}

/* A client with this certificate (NULL: none) against our server. */
static void expect_client_refused(const struct tls_pem *pem, const char *const *words)
{
    open_server();
    foreign_open(false, pem, TLS1_3_VERSION);
    foreign_offer("\x02h2");
    foreign_talk(&server);
    expect_problem(&server, words);
    foreign_close();
    tls_free(server.tls);
}

static void expect_server_refused(const struct tls_pem *pem, const char *const *words)
{
    open_client();
    foreign_open(true, pem, TLS1_3_VERSION);
    foreign_talk(&client);
    expect_problem(&client, words);
    foreign_close();
    tls_free(client.tls);
}

static struct tls_pem issue_valid(struct tls_subject subject, int64_t from_s, int64_t to_s)
{
    time_t now = time(NULL);
    subject.validity = (struct tls_validity){now + from_s, now + to_s};
    return certificates_issue(&certificates.ours, &subject);
}

Test(tls, expired_certificates_are_refused_on_both_sides)
{
    struct tls_pem pem = issue_valid(certificates_subject("late", NULL), -7200, -3600);
    expect_client_refused(&pem, WORDS("CN=late", "has expired on 20"));
    tls_pem_free(&pem);
    pem = issue_valid(certificates_server(), -7200, -3600);
    expect_server_refused(&pem, WORDS("CN=broker", "has expired on 20"));
    tls_pem_free(&pem);
}

Test(tls, certificates_of_tomorrow_are_refused_on_both_sides)
{
    struct tls_pem pem = issue_valid(certificates_subject("early", NULL), 3600, 7200);
    expect_client_refused(&pem, WORDS("CN=early", "not yet valid", "begins on 20"));
    tls_pem_free(&pem);
    pem = issue_valid(certificates_server(), 3600, 7200);
    expect_server_refused(&pem, WORDS("not yet valid"));
    tls_pem_free(&pem);
}

Test(tls, self_signed_certificates_are_refused_on_both_sides)
{
    expect_client_refused(&certificates.other, WORDS("self-signed"));
    expect_server_refused(&certificates.other, WORDS("self-signed"));
}

Test(tls, a_client_without_certificate_is_refused)
{
    expect_client_refused(NULL, WORDS("shows no certificate"));
}

Test(tls, old_tls_is_refused_on_both_sides)
{
    struct tls_subject subject = certificates_server();
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    open_server();
    foreign_open(false, &pem, TLS1_2_VERSION);
    foreign_talk(&server);
    expect_problem(&server, WORDS("does not speak TLS 1.3"));
    foreign_close();
    tls_free(server.tls);
    open_client();
    foreign_open(true, &pem, TLS1_2_VERSION);
    foreign_talk(&client);
    expect_problem(&client, WORDS("does not speak TLS 1.3"));
    foreign_close();
    tls_free(client.tls);
    tls_pem_free(&pem);
}

Test(tls, peers_that_do_not_speak_http2_are_refused)
{
    static const char *const offers[] = {NULL, "\x08http/1.1"};
    struct tls_subject subject = certificates_subject("r2", NULL);
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    for (int i = 0; i < 2; i++) {
        open_server();
        foreign_open(false, &pem, TLS1_3_VERSION);
        if (offers[i])
            foreign_offer(offers[i]);
        foreign_talk(&server);
        expect_problem(&server, WORDS("does not offer HTTP/2"));
        foreign_close();
        tls_free(server.tls);
    }
    tls_pem_free(&pem);
    subject = certificates_server();
    pem = certificates_issue(&certificates.ours, &subject);
    expect_server_refused(&pem, WORDS("HTTP/2"));
    tls_pem_free(&pem);
}

Test(tls, what_is_not_tls_is_said_to_be_none)
{
    static const char *const texts[] = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\xff\xff", ""};
    for (size_t i = 0; i < 4; i++) {
        open_server();
        tls_step(server.tls, (const uint8_t *)texts[i], strlen(texts[i]) + !*texts[i], &ops, &server);
        expect_problem(&server, WORDS("does not speak TLS"));
        cr_assert_eq(server.n_wire, 7, "an alert");
        tls_free(server.tls);
    }
    open_client();
    tls_step(client.tls, NULL, 0, &ops, &client);
    tls_step(client.tls, (const uint8_t *)"\0\0\x12\4\0\0\0\0\0", 9, &ops, &client);
    expect_problem(&client, WORDS("does not speak TLS"));
    tls_free(client.tls);
}

/* What the foreign end has to say, to the server. */
static void foreign_says(void)
{
    static uint8_t bytes[512 * 1024];
    int n = BIO_read(foreign.out, bytes, sizeof bytes);
    server.n_wire = 0;
    tls_step(server.tls, bytes, n > 0 ? (size_t)n : 0, &ops, &server);
}

static void foreign_changes_keys(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        cr_assert_eq(SSL_key_update(foreign.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(foreign.ssl), 1);
    }
}

/* 27 bytes that cost a thousand times as much as other 27: some are fine, a flood is cut off at once. */
Test(tls, a_peer_that_changes_its_keys_all_the_time_is_cut_off)
{
    static const uint8_t data[16384];
    struct tls_pem pem = issue_valid(certificates_subject("r1", "sensebus://reader/r1"), -60, 3600);
    open_server();
    foreign_open(false, &pem, TLS1_3_VERSION);
    foreign_offer("\x02h2");
    foreign_talk(&server);
    cr_assert_eq(tls_state(server.tls), TLS_OPEN, "%s", tls_problem(server.tls));
    for (unsigned i = 0; i < 10; i++) { /* now and then */
        foreign_changes_keys(12);
        SSL_write(foreign.ssl, data, sizeof data);
        foreign_says();
        cr_assert_eq(tls_state(server.tls), TLS_OPEN, "%s", tls_problem(server.tls));
    }
    cr_assert_eq(server.n_plain, 10 * sizeof data);
    foreign_changes_keys(10000);
    clock_t begin = clock();
    foreign_says();
    cr_assert_lt(clock() - begin, CLOCKS_PER_SEC / 10);
    cr_assert_eq(tls_state(server.tls), TLS_FAILED);
    cr_assert_str_eq(tls_problem(server.tls), "the peer changes its keys too often");
    foreign_close();
    tls_free(server.tls);
    tls_pem_free(&pem);
}

Test(tls, after_a_failure_bytes_are_ignored)
{
    open_server();
    tls_step(server.tls, (const uint8_t *)"nonsense", 8, &ops, &server);
    cr_assert_eq(tls_step(server.tls, (const uint8_t *)"\x16\x03\x01", 3, &ops, &server), TLS_FAILED);
    expect_problem(&server, WORDS("does not speak TLS"));
    tls_free(server.tls);
}

/* The version in a record's head is not authenticated, and old peers sent odd ones: damage there may go unnoticed. No
 * other may. */
static void expect_unharmed(const struct end *e, const char *name)
{
    if (tls_state(e->tls) == TLS_OPEN)
        cr_assert_str_eq(tls_peer_name(e->tls, 0), name);
    else
        cr_assert_null(tls_peer_name(e->tls, 0));
}

Test(tls, damaged_handshakes_prove_nothing_false)
{
    unsigned n_open = 0;
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    struct tls_context *accepts = certificates_context(&certificates, true, &certificates.ours, &broker);
    struct tls_context *connects = certificates_context(&certificates, false, &certificates.ours, &reader);
    for (unsigned i = 0; i < 400; i++) {
        open_end(&server, tls_context_ref(accepts), NULL);
        open_end(&client, tls_context_ref(connects), "localhost");
        tls_step(client.tls, NULL, 0, &ops, &client);
        if (i % 2) {
            carry(&client, &server, SIZE_MAX / 2);
            server.wire[i * 7 % server.n_wire] ^= (uint8_t)(1u << i % 8);
            carry(&server, &client, SIZE_MAX / 2);
            expect_unharmed(&client, "uri:sensebus://broker/b1");
            n_open += tls_state(client.tls) == TLS_OPEN;
        } else {
            client.wire[i * 3 % client.n_wire] ^= (uint8_t)(1u << i % 8);
            carry(&client, &server, SIZE_MAX / 2);
            carry(&server, &client, SIZE_MAX / 2);
            carry(&client, &server, SIZE_MAX / 2);
            expect_unharmed(&server, "uri:sensebus://reader/r1");
            n_open += tls_state(server.tls) == TLS_OPEN;
        }
        close_ends();
    }
    cr_assert_lt(n_open, 40);
    tls_context_unref(accepts);
    tls_context_unref(connects);
}
