/* SPDX-License-Identifier: Apache-2.0 */
/* The files, checked one after the other so that each fault is told of the file that has it. */
#include "runtime/tls_context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* The first is the fastest where the processor has AES. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

enum { MAX_CHAIN_BYTES = 32 * 1024, MAX_FILE_BYTES = 1024 * 1024 };

static int refuse(int rc, char *err, size_t err_len, const char *path, const char *why)
{
    snprintf(err, err_len, "%.200s: %s", path, why);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ ALPN */

static const unsigned char ALPN_H2[] = {2, 'h', '2'};

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *data)
{
    unsigned char *chosen;
    (void)ssl;
    (void)data;
    if (SSL_select_next_proto(&chosen, out_len, ALPN_H2, sizeof ALPN_H2, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ------------------------------------------------------------------------------------------------ files */

/* What is no file could be read for ever, by a loop on which all else waits. */
static const char *not_a_file(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode))
        return NULL; /* reading says what it is */
    return !S_ISREG(st.st_mode) ? "this is no regular file" : st.st_size > MAX_FILE_BYTES ? "larger than 1 MiB" : NULL;
}

/* OpenSSL's own words for a file that cannot be read are none. */
static int check_readable(const char *what, const char *path, char *err, size_t err_len)
{
    const char *fault = NULL;
    char byte;
    if (!path || !*path) {
        snprintf(err, err_len, "no %s is given", what);
        return UV_EINVAL;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int rc = fd < 0 ? uv_translate_sys_error(errno) : 0;
    if (rc == 0 && (fault = not_a_file(fd)))
        rc = UV_EINVAL;
    if (rc == 0 && read(fd, &byte, 1) < 0)
        rc = uv_translate_sys_error(errno);
    if (fd >= 0)
        close(fd);
    if (rc != 0)
        snprintf(err, err_len, "%s %.200s: %s", what, path, fault ? fault : uv_strerror(rc));
    return rc;
}

static int check_validity(const X509 *certificate, const char *path, char *err, size_t err_len)
{
    char time[32], why[64];
    int end = X509_cmp_current_time(X509_get0_notAfter(certificate));
    int begin = X509_cmp_current_time(X509_get0_notBefore(certificate));
    if (end == 0 || begin == 0)
        return refuse(UV_EINVAL, err, err_len, path, "the certificate has no date that can be read");
    if (end < 0) {
        tls_time_text(X509_get0_notAfter(certificate), time, sizeof time);
        snprintf(why, sizeof why, "the certificate has expired on %s", time);
        return refuse(UV_EINVAL, err, err_len, path, why);
    }
    if (begin > 0) {
        tls_time_text(X509_get0_notBefore(certificate), time, sizeof time);
        snprintf(why, sizeof why, "the certificate is not valid before %s", time);
        return refuse(UV_EINVAL, err, err_len, path, why);
    }
    return 0;
}

static int load_certificate(SSL_CTX *ctx, const char *path, char *err, size_t err_len)
{
    int rc = check_readable("certificate", path, err, err_len);
    if (rc != 0)
        return rc;
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
        return refuse(UV_EINVAL, err, err_len, path,
                      SSL_CTX_get0_certificate(ctx) ? "a certificate behind the first one cannot be read"
                                                    : "there is no certificate in it (PEM)");
    return check_validity(SSL_CTX_get0_certificate(ctx), path, err, err_len);
}

/* Daemons have nobody to ask. */
static int on_passphrase(char *out, int len, int writing, void *data)
{
    bool *asked = data;
    (void)out;
    (void)len;
    (void)writing;
    *asked = true;
    return -1;
}

static int load_key(SSL_CTX *ctx, const char *path, char *err, size_t err_len)
{
    bool encrypted = false;
    EVP_PKEY *key = NULL;
    int rc = check_readable("key", path, err, err_len);
    if (rc != 0)
        return rc;
    FILE *f = fopen(path, "re");
    if (f) {
        key = PEM_read_PrivateKey(f, NULL, on_passphrase, &encrypted);
        fclose(f);
    }
    if (!key)
        return refuse(UV_EINVAL, err, err_len, path,
                      encrypted ? "the key is encrypted; it must be stored without a passphrase"
                                : "there is no private key in it (PEM): name the file that has it");
    if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = refuse(UV_EINVAL, err, err_len, path, "the key does not belong to the certificate");
    EVP_PKEY_free(key);
    return rc;
}

static int load_authority(SSL_CTX *ctx, const char *path, char *err, size_t err_len)
{
    int rc = check_readable("authority", path, err, err_len);
    if (rc == 0 && SSL_CTX_load_verify_file(ctx, path) != 1)
        rc = refuse(UV_EINVAL, err, err_len, path, "there is no certificate in it (PEM)");
    return rc;
}

/* ------------------------------------------------------------------------------------------------ the context */

static int set_up(SSL_CTX *ctx, bool server)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(ctx, MAX_CHAIN_BYTES);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_on_verify);
    SSL_CTX_set_cert_verify_callback(ctx, tls_verify, NULL);
    SSL_CTX_set_msg_callback(ctx, tls_on_message);
    if (SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_ciphersuites(ctx, CIPHERS) != 1)
        return UV_ENOMEM;
    if (server)
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    else if (SSL_CTX_set_alpn_protos(ctx, ALPN_H2, sizeof ALPN_H2) != 0)
        return UV_ENOMEM;
    return 0;
}

/* Everything, into a new SSL_CTX: what is in use is not touched. */
static int load(const struct tls_context *context, SSL_CTX **out_ctx, char *err, size_t err_len)
{
    SSL_CTX *ctx = SSL_CTX_new(context->server ? TLS_server_method() : TLS_client_method());
    snprintf(err, err_len, "out of memory");
    int rc = ctx ? set_up(ctx, context->server) : UV_ENOMEM;
    if (rc == 0)
        rc = load_certificate(ctx, context->certificate, err, err_len);
    if (rc == 0)
        rc = load_key(ctx, context->key, err, err_len);
    if (rc == 0)
        rc = load_authority(ctx, context->authority, err, err_len);
    ERR_clear_error();
    if (rc != 0)
        SSL_CTX_free(ctx);
    else
        *out_ctx = ctx;
    return rc;
}

static void context_free(struct tls_context *context)
{
    SSL_CTX_free(context->ctx);
    BIO_meth_free(context->method);
    free(context->certificate);
    free(context->key);
    free(context->authority);
    free(context);
}

/* False when memory is out. */
static bool copy_name(const char *path, char **out_copy)
{
    *out_copy = path ? strdup(path) : NULL;
    return !path || *out_copy;
}

int tls_context_new(bool server, const struct tls_files *files, struct tls_context **out_context, char *err,
                    size_t err_len)
{
    struct tls_context *context = calloc(1, sizeof *context);
    snprintf(err, err_len, "out of memory");
    if (!context)
        return UV_ENOMEM;
    context->n_refs = 1;
    context->server = server;
    context->method = tls_wire_method();
    bool made = context->method && copy_name(files->certificate, &context->certificate) &&
                copy_name(files->key, &context->key) && copy_name(files->authority, &context->authority);
    int rc = made ? load(context, &context->ctx, err, err_len) : UV_ENOMEM;
    if (rc != 0)
        context_free(context);
    else
        *out_context = context;
    return rc;
}

int tls_context_reload(struct tls_context *context, char *err, size_t err_len)
{
    SSL_CTX *ctx;
    int rc = load(context, &ctx, err, err_len);
    if (rc != 0)
        return rc;
    SSL_CTX_free(context->ctx);
    context->ctx = ctx;
    return 0;
}

void tls_context_certificate(const struct tls_context *context, struct tls_certificate *out)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context->ctx);
    const ASN1_TIME *not_after = X509_get0_notAfter(certificate);
    struct tm tm = {0};
    tls_subject_text(certificate, out->subject, sizeof out->subject);
    tls_serial_text(certificate, out->serial, sizeof out->serial);
    tls_time_text(not_after, out->not_after, sizeof out->not_after);
    ASN1_TIME_to_tm(not_after, &tm); /* compared with the clock when it was read: it is a time */
    out->not_after_s = timegm(&tm);
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    if (context)
        context->n_refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context && --context->n_refs == 0)
        context_free(context);
}
