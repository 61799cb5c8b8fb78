/* SPDX-License-Identifier: Apache-2.0 */
/* Handshake → open → closed; failed from each of the first two. OpenSSL reads the bytes of one step where they lie and
 * writes straight into on_wire, through a BIO that holds nothing. */
#include "runtime/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/tls_context.h"

enum {
    MAX_NAMES = 32,
    /* Messages of the handshake's kind after the handshake: OpenSSL itself takes any number of them, and changing keys
     * costs a thousand times what the 27 bytes cost that ask for it. So many are fine with so much data between. */
    MAX_POSTS = 64,
    POSTS_BYTES = 64 * 1024,
};

struct tls {
    struct tls_context *context;
    SSL *ssl;
    enum tls_state state;
    bool touched;         /* the peer's first byte was looked at */
    bool verifying_ended; /* a certificate was refused: `problem` says why */
    unsigned n_posts;     /* messages after the handshake … */
    size_t n_posts_plain; /* … and data that came since they were none */
    char *server_name;    /* expected; NULL on a server */
    char *names;          /* of the peer: texts one after the other, each with its 0; behind the last an empty one */
    char problem[TLS_TEXT_MAX];
    /* of the step that runs */
    const uint8_t *in;
    size_t in_len;
    const struct tls_ops *ops;
    void *data;
};

/* ------------------------------------------------------------------------------------------------ the wire */

static int wire_read(BIO *bio, char *out, int len)
{
    struct tls *tls = BIO_get_data(bio);
    size_t n = (size_t)len < tls->in_len ? (size_t)len : tls->in_len;
    BIO_clear_retry_flags(bio);
    if (n == 0 || tls->n_posts > MAX_POSTS) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, tls->in, n);
    tls->in += n;
    tls->in_len -= n;
    return (int)n;
}

static int wire_write(BIO *bio, const char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    assert(tls->ops);
    tls->ops->on_wire(tls->data, (const uint8_t *)bytes, (size_t)len);
    return len;
}

static long wire_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_wire_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");
    if (!method)
        return NULL;
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_ctrl(method, wire_ctrl);
    return method;
}

static int add_wire(struct tls *tls)
{
    BIO *bio = BIO_new(tls->context->method);
    if (!bio)
        return UV_ENOMEM;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ making */

static bool is_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

static int expect_name(struct tls *tls, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    if (!*name || strlen(name) > 255)
        return UV_EINVAL;
    tls->server_name = strdup(name);
    if (!tls->server_name)
        return UV_ENOMEM;
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ? 0 : UV_ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_host(param, name, 0) != 1)
        return UV_EINVAL;
    return SSL_set_tlsext_host_name(tls->ssl, name) == 1 ? 0 : UV_EINVAL;
}

int tls_new(struct tls_context *context, const char *server_name, struct tls **out_tls)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return UV_ENOMEM;
    assert(context->server == !server_name);
    tls->context = tls_context_ref(context);
    tls->ssl = SSL_new(context->ctx);
    int rc = tls->ssl && SSL_set_app_data(tls->ssl, tls) == 1 ? add_wire(tls) : UV_ENOMEM;
    if (rc == 0 && server_name)
        rc = expect_name(tls, server_name);
    ERR_clear_error();
    if (rc != 0) {
        tls_free(tls);
        return rc;
    }
    if (context->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    *out_tls = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    tls_context_unref(tls->context);
    free(tls->server_name);
    free(tls->names);
    free(tls);
}

enum tls_state tls_state(const struct tls *tls)
{
    return tls->state;
}

const char *tls_problem(const struct tls *tls)
{
    return tls->problem;
}

/* ------------------------------------------------------------------------------------------------ words */

__attribute__((format(printf, 2, 3))) static void fail(struct tls *tls, const char *format, ...)
{
    va_list args;
    tls->state = TLS_FAILED;
    va_start(args, format);
    vsnprintf(tls->problem, sizeof tls->problem, format, args);
    va_end(args);
}

/* Which certificate is wrong: the peer's own, or one of those that vouch for it. */
static void name_certificate(const X509 *certificate, int depth, char *out, size_t len)
{
    char subject[120];
    tls_subject_text(certificate, subject, sizeof subject);
    if (depth == 0)
        snprintf(out, len, "the peer's certificate (%s)", subject);
    else
        snprintf(out, len, "an authority of the peer's certificate (%s)", subject);
}

static void refuse_certificate(struct tls *tls, const X509 *certificate, int error, int depth)
{
    char who[180], text[200];
    name_certificate(certificate, depth, who, sizeof who);
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        tls_time_text(X509_get0_notAfter(certificate), text, sizeof text);
        fail(tls, "%s has expired on %s", who, text);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        tls_time_text(X509_get0_notBefore(certificate), text, sizeof text);
        fail(tls, "%s is not yet valid: it begins on %s", who, text);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        fail(tls, "%s is self-signed: our authority did not sign it", who);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: /* the peer sent the authority along */
        tls_subject_text(certificate, text, sizeof text);
        fail(tls, "the peer's certificate was signed by another authority (%s) than ours", text);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        tls_issuer_text(certificate, text, sizeof text);
        fail(tls, "%s was signed by another authority (%s) than ours", who, text);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        tls_server_names_text(certificate, text, sizeof text);
        fail(tls, "the peer's certificate is for %s and not for %.80s", text, tls->server_name);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        fail(tls, "%s must not be used by a %s", who, tls->context->server ? "client" : "server");
        break;
    default: fail(tls, "%s is refused: %s", who, X509_verify_cert_error_string(error)); break;
    }
}

/* OpenSSL would keep the chain for as long as the connection. */
int tls_verify(X509_STORE_CTX *store, void *data)
{
    (void)data;
    int result = X509_verify_cert(store);
    X509_STORE_CTX_set0_verified_chain(store, NULL);
    return result;
}

int tls_on_verify(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    if (ok)
        return 1;
    if (certificate)
        refuse_certificate(tls, certificate, error, X509_STORE_CTX_get_error_depth(store));
    else
        fail(tls, "the peer's certificate is refused: %s", X509_verify_cert_error_string(error));
    tls->verifying_ended = true;
    return 0;
}

/* What the peer says of us (RFC 8446 section 6.2). */
static void fail_by_alert(struct tls *tls, int alert)
{
    static const struct {
        int alert;
        const char *words;
    } known[] = {
        {SSL_AD_BAD_CERTIFICATE, "the peer refused our certificate: it is bad, not yet valid, or has another name"},
        {SSL_AD_UNSUPPORTED_CERTIFICATE, "the peer refused our certificate: not of a kind or for a use that it takes"},
        {SSL_AD_CERTIFICATE_REVOKED, "the peer refused our certificate: it is revoked"},
        {SSL_AD_CERTIFICATE_EXPIRED, "the peer refused our certificate: it has expired"},
        {SSL_AD_CERTIFICATE_UNKNOWN, "the peer refused our certificate"},
        {SSL_AD_UNKNOWN_CA, "the peer refused our certificate: it does not know the authority that signed it"},
        {SSL_AD_CERTIFICATE_REQUIRED, "the peer wants a certificate, and got none"},
        {SSL_AD_PROTOCOL_VERSION, "the peer does not speak TLS 1.3"},
        {SSL_AD_NO_APPLICATION_PROTOCOL, "the peer does not speak HTTP/2 (ALPN h2)"},
        {SSL_AD_UNRECOGNIZED_NAME, "the peer has no certificate for the name that it was asked for"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].alert == alert) {
            fail(tls, "%s", known[i].words);
            return;
        }
    }
    fail(tls, "the peer ended TLS: %s", SSL_alert_desc_string_long(alert));
}

static void fail_by_error(struct tls *tls, unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    const char *words = ERR_reason_error_string(error);
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
        fail_by_alert(tls, reason - SSL_AD_REASON_OFFSET);
        return;
    }
    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
        switch (reason) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: fail(tls, "the peer shows no certificate"); return;
        case SSL_R_UNSUPPORTED_PROTOCOL: fail(tls, "the peer does not speak TLS 1.3"); return;
        case SSL_R_NO_APPLICATION_PROTOCOL: fail(tls, "the peer does not offer HTTP/2 (ALPN h2)"); return;
        case SSL_R_WRONG_VERSION_NUMBER: fail(tls, "the peer does not speak TLS"); return;
        default: break;
        }
    }
    fail(tls, "TLS failed: %s", words ? words : "unknown error");
}

/* After a call of OpenSSL that did not do what it should; wanting more bytes is no failure. */
static void check(struct tls *tls, int result)
{
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        if (tls->n_posts > MAX_POSTS)
            fail(tls, "the peer changes its keys too often");
        return;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        tls->state = TLS_CLOSED;
    else if (tls->verifying_ended)
        tls->state = TLS_FAILED;
    else
        fail_by_error(tls, ERR_peek_error());
}

/* ------------------------------------------------------------------------------------------------ names */

/* Identity texts are compared byte for byte and written into lines of a log. */
static bool is_name(const unsigned char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return len > 0;
}

/* Append the names of one kind to `out` (NULL: count). Returns the bytes they take. */
static size_t put_names(const GENERAL_NAMES *names, int type, const char *prefix, unsigned *n, char *out)
{
    size_t used = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && *n < MAX_NAMES; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != type)
            continue;
        const unsigned char *text = ASN1_STRING_get0_data(name->d.ia5);
        size_t len = (size_t)ASN1_STRING_length(name->d.ia5);
        if (!is_name(text, len))
            continue;
        ++*n;
        if (out) {
            char *at = out + used;
            memcpy(at, prefix, strlen(prefix));
            at += strlen(prefix);
            for (size_t k = 0; k < len; k++)
                at[k] = (char)(type == GEN_DNS ? tolower(text[k]) : text[k]);
            at[len] = '\0';
        }
        used += strlen(prefix) + len + 1;
    }
    return used;
}

static size_t put_all_names(const GENERAL_NAMES *names, char *out)
{
    unsigned n = 0;
    size_t used = put_names(names, GEN_URI, "uri:", &n, out);
    return used + put_names(names, GEN_DNS, "dns:", &n, out ? out + used : NULL);
}

static int keep_names(struct tls *tls)
{
    static const char unnamed[] = "tls:unnamed";
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t len = put_all_names(names, NULL);
    tls->names = calloc(1, (len ? len : sizeof unnamed) + 1);
    if (tls->names && len)
        put_all_names(names, tls->names);
    else if (tls->names)
        memcpy(tls->names, unnamed, sizeof unnamed);
    GENERAL_NAMES_free(names);
    return tls->names ? 0 : UV_ENOMEM;
}

const char *tls_peer_name(const struct tls *tls, size_t i)
{
    const char *name = tls->names;
    while (name && *name && i-- > 0)
        name += strlen(name) + 1;
    return name && *name ? name : NULL;
}

/* ------------------------------------------------------------------------------------------------ running */

/* Every record begins with its type (RFC 8446 section 5.1); a first record is a handshake, or an alert. */
static bool looks_like_tls(uint8_t first)
{
    return first == SSL3_RT_HANDSHAKE || first == SSL3_RT_ALERT;
}

/* A fatal alert, protocol_version, in a record of its own. */
static const uint8_t ALERT[] = {SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, SSL_AD_PROTOCOL_VERSION};

/* The authorities that a peer sends along have vouched for it, and are of no more use. */
static void drop_authorities(struct tls *tls)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls->ssl);
    while (sk_X509_num(chain) > 0)
        X509_free(sk_X509_pop(chain));
}

static void on_handshake_done(struct tls *tls)
{
    const unsigned char *protocol;
    unsigned len;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &len);
    if (len != 2 || memcmp(protocol, "h2", 2) != 0)
        fail(tls, "the peer does not offer HTTP/2 (ALPN h2)");
    else if (keep_names(tls) != 0)
        fail(tls, "out of memory");
    else
        tls->state = TLS_OPEN;
    drop_authorities(tls);
}

void tls_on_message(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl, void *data)
{
    struct tls *tls = SSL_get_app_data(ssl);
    (void)version, (void)bytes, (void)len, (void)data;
    if (!sent && type == SSL3_RT_HANDSHAKE && tls && tls->state == TLS_OPEN)
        tls->n_posts++;
}

static void count_plain(struct tls *tls, size_t n)
{
    tls->n_posts_plain += n;
    if (tls->n_posts_plain < POSTS_BYTES)
        return;
    tls->n_posts = 0;
    tls->n_posts_plain = 0;
}

static void read_records(struct tls *tls)
{
    uint8_t plain[TLS_RECORD_BYTES];
    size_t n;
    while (tls->state == TLS_OPEN) {
        int result = SSL_read_ex(tls->ssl, plain, sizeof plain, &n);
        if (result != 1) {
            check(tls, result);
            return;
        }
        count_plain(tls, n);
        tls->ops->on_plain(tls->data, plain, n);
    }
}

enum tls_state tls_step(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data)
{
    if (tls->state == TLS_CLOSED || tls->state == TLS_FAILED)
        return tls->state;
    if (!tls->touched && len > 0) {
        tls->touched = true;
        if (!looks_like_tls(bytes[0])) {
            /* OpenSSL would say nothing. */
            if (tls->context->server)
                ops->on_wire(data, ALERT, sizeof ALERT);
            fail(tls, "the peer does not speak TLS");
            return tls->state;
        }
    }
    tls->in = bytes;
    tls->in_len = len;
    tls->ops = ops;
    tls->data = data;
    ERR_clear_error();
    if (tls->state == TLS_HANDSHAKE) {
        int result = SSL_do_handshake(tls->ssl);
        if (result == 1)
            on_handshake_done(tls);
        else
            check(tls, result);
    }
    read_records(tls);
    ERR_clear_error();
    tls->ops = NULL;
    tls->in_len = 0;
    return tls->state;
}

int tls_write(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data)
{
    size_t n;
    if (tls->state != TLS_OPEN)
        return UV_EPROTO;
    if (len == 0)
        return 0;
    tls->ops = ops;
    tls->data = data;
    ERR_clear_error();
    int result = SSL_write_ex(tls->ssl, bytes, len, &n);
    if (result != 1)
        fail_by_error(tls, ERR_peek_error());
    ERR_clear_error();
    tls->ops = NULL;
    return result == 1 ? 0 : UV_EPROTO;
}

void tls_shutdown(struct tls *tls, const struct tls_ops *ops, void *data)
{
    if (tls->state != TLS_OPEN && tls->state != TLS_CLOSED)
        return;
    tls->ops = ops;
    tls->data = data;
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
    tls->ops = NULL;
}
