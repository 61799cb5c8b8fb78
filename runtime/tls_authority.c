/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tls_authority.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { SERIAL_BYTES = 16, MAX_COMMON_NAME = 64 };

static int refuse(char *err, size_t err_len, const char *why)
{
    snprintf(err, err_len, "%s", why);
    return UV_EINVAL;
}

void tls_pem_free(struct tls_pem *pem)
{
    if (pem->key)
        OPENSSL_cleanse(pem->key, strlen(pem->key));
    free(pem->key);
    free(pem->certificate);
    *pem = (struct tls_pem){0};
}

/* ------------------------------------------------------------------------------------------------ PEM */

/* The text in `memory`, on the heap; NULL when memory is out. */
static char *text_of(BIO *memory)
{
    char *bytes;
    long len = BIO_get_mem_data(memory, &bytes);
    return len > 0 ? strndup(bytes, (size_t)len) : NULL;
}

static int write_pem(X509 *certificate, EVP_PKEY *key, struct tls_pem *out_pem)
{
    BIO *certificate_text = BIO_new(BIO_s_mem());
    BIO *key_text = BIO_new(BIO_s_secmem());
    struct tls_pem pem = {0};
    if (certificate_text && key_text && PEM_write_bio_X509(certificate_text, certificate) == 1 &&
        PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) == 1) {
        pem.certificate = text_of(certificate_text);
        pem.key = text_of(key_text);
    }
    BIO_free(certificate_text);
    BIO_free(key_text);
    if (!pem.certificate || !pem.key) {
        tls_pem_free(&pem);
        return UV_ENOMEM;
    }
    *out_pem = pem;
    return 0;
}

static int no_passphrase(char *out, int len, int writing, void *data)
{
    (void)out;
    (void)len;
    (void)writing;
    (void)data;
    return -1;
}

static X509 *read_certificate(const char *text)
{
    BIO *memory = BIO_new_mem_buf(text, -1);
    X509 *certificate = memory ? PEM_read_bio_X509(memory, NULL, no_passphrase, NULL) : NULL;
    BIO_free(memory);
    return certificate;
}

static EVP_PKEY *read_key(const char *text)
{
    BIO *memory = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = memory ? PEM_read_bio_PrivateKey(memory, NULL, no_passphrase, NULL) : NULL;
    BIO_free(memory);
    return key;
}

/* ------------------------------------------------------------------------------------------------ certificates */

static bool set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always of the same length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return done;
}

static bool set_validity(X509 *certificate, const struct tls_validity *v)
{
    return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)v->not_before) &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)v->not_after);
}

static bool set_common_name(X509 *certificate, const char *name)
{
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)name, -1, -1, 0) == 1;
}

/* A blank certificate for `key`. NULL when memory is out. */
static X509 *begin(const char *common_name, const struct tls_validity *validity, EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    if (certificate && X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
        set_validity(certificate, validity) && set_common_name(certificate, common_name) &&
        X509_set_pubkey(certificate, key) == 1)
        return certificate;
    X509_free(certificate);
    return NULL;
}

struct extension {
    int nid;
    const char *value;
};

/* `value` in the language of OpenSSL's configuration; never made of what people give. */
static bool add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions, size_t n)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
        bool added = e && X509_add_ext(certificate, e, -1) == 1;
        X509_EXTENSION_free(e);
        if (!added)
            return false;
    }
    return true;
}

static bool sign(X509 *certificate, X509 *issuer, EVP_PKEY *key)
{
    return X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

/* ------------------------------------------------------------------------------------------------ the authority */

int tls_authority_new(const struct tls_validity *validity, struct tls_pem *out_authority, char *err, size_t err_len)
{
    static const struct extension extensions[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                                  {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                                  {NID_subject_key_identifier, "hash"}};
    unsigned char random[4];
    char name[MAX_COMMON_NAME];
    if (validity->not_after <= validity->not_before)
        return refuse(err, err_len, "the certificate would end before it begins");
    snprintf(err, err_len, "out of memory");
    if (RAND_bytes(random, sizeof random) != 1)
        return UV_ENOMEM;
    snprintf(name, sizeof name, "Sensebus authority %02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? begin(name, validity, key) : NULL;
    int rc = UV_ENOMEM;
    if (certificate && add_extensions(certificate, certificate, extensions, 3) && sign(certificate, certificate, key))
        rc = write_pem(certificate, key, out_authority);
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

/* ------------------------------------------------------------------------------------------------ issuing */

static bool push_text(GENERAL_NAMES *names, int type, const char *text)
{
    ASN1_IA5STRING *ia5 = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (ia5 && name && ASN1_STRING_set(ia5, text, -1) == 1) {
        GENERAL_NAME_set0_value(name, type, ia5);
        ia5 = NULL;
        if (sk_GENERAL_NAME_push(names, name) > 0)
            return true;
    }
    ASN1_IA5STRING_free(ia5);
    GENERAL_NAME_free(name);
    return false;
}

static bool push_address(GENERAL_NAMES *names, const char *text)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (address && name) {
        GENERAL_NAME_set0_value(name, GEN_IPADD, address);
        address = NULL;
        if (sk_GENERAL_NAME_push(names, name) > 0)
            return true;
    }
    ASN1_OCTET_STRING_free(address);
    GENERAL_NAME_free(name);
    return false;
}

static bool add_names(X509 *certificate, const struct tls_subject *s)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool done = names && (!s->uri || push_text(names, GEN_URI, s->uri));
    for (size_t i = 0; done && i < s->n_dns; i++)
        done = push_text(names, GEN_DNS, s->dns[i]);
    for (size_t i = 0; done && i < s->n_ip; i++)
        done = push_address(names, s->ip[i]);
    if (done && sk_GENERAL_NAME_num(names) > 0)
        done = X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return done;
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text >= 0x7f)
            return false;
    return true;
}

/* Labels of letters, digits and "-", with "*" as a whole first one (RFC 9525 section 6.3). */
static bool is_dns_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t len = strlen(text);
    if (strncmp(text, "*.", 2) == 0)
        text += 2;
    if (*text == '\0')
        return false;
    while (*text) {
        size_t n = strspn(text, letters);
        if (n == 0 || n > 63 || (text[n] != '\0' && text[n] != '.') || (text[n] == '.' && text[n + 1] == '\0'))
            return false;
        text += n + (text[n] == '.');
    }
    return len <= 253;
}

static bool is_address(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static int check_subject(const struct tls_subject *s, char *err, size_t err_len)
{
    size_t len = strlen(s->common_name);
    if (len < 1 || len > MAX_COMMON_NAME)
        return refuse(err, err_len, "a name has 1 to 64 bytes");
    if (s->uri && !is_printable(s->uri))
        return refuse(err, err_len, "a URI has no spaces, control bytes or letters beyond ASCII");
    for (size_t i = 0; i < s->n_dns; i++) {
        if (!is_dns_name(s->dns[i])) {
            snprintf(err, err_len, "'%.100s' is no DNS name", s->dns[i]);
            return UV_EINVAL;
        }
    }
    for (size_t i = 0; i < s->n_ip; i++) {
        if (!is_address(s->ip[i])) {
            snprintf(err, err_len, "'%.100s' is no IP address", s->ip[i]);
            return UV_EINVAL;
        }
    }
    return 0;
}

static int check_authority(X509 *certificate, EVP_PKEY *key, const struct tls_validity *validity, char *err,
                           size_t err_len)
{
    time_t begin_at = (time_t)validity->not_before;
    time_t end_at = (time_t)validity->not_after;
    if (!certificate)
        return refuse(err, err_len, "there is no certificate of the authority");
    if (!key)
        return refuse(err, err_len, "there is no key of the authority without a passphrase");
    if (X509_check_private_key(certificate, key) != 1)
        return refuse(err, err_len, "the key of the authority does not belong to its certificate");
    if (X509_check_ca(certificate) != 1)
        return refuse(err, err_len, "the certificate is not one of an authority");
    if (begin_at >= end_at)
        return refuse(err, err_len, "the certificate would end before it begins");
    if (X509_cmp_time(X509_get0_notAfter(certificate), &end_at) < 0)
        return refuse(err, err_len, "the certificate would outlive its authority");
    return 0;
}

static X509 *make(X509 *issuer, const struct tls_subject *s, EVP_PKEY *key)
{
    const struct extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, s->server ? "serverAuth,clientAuth" : "clientAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    X509 *certificate = begin(s->common_name, &s->validity, key);
    if (certificate && add_extensions(certificate, issuer, extensions, sizeof extensions / sizeof *extensions) &&
        add_names(certificate, s))
        return certificate;
    X509_free(certificate);
    return NULL;
}

int tls_authority_issue(const struct tls_pem *authority, const struct tls_subject *subject, struct tls_pem *out_pem,
                        char *err, size_t err_len)
{
    X509 *issuer = read_certificate(authority->certificate);
    EVP_PKEY *issuer_key = read_key(authority->key);
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    int rc = check_authority(issuer, issuer_key, &subject->validity, err, err_len);
    if (rc == 0)
        rc = check_subject(subject, err, err_len);
    if (rc == 0) {
        snprintf(err, err_len, "out of memory");
        rc = UV_ENOMEM;
        key = EVP_EC_gen("P-256");
        certificate = key ? make(issuer, subject, key) : NULL;
        if (certificate && sign(certificate, issuer, issuer_key))
            rc = write_pem(certificate, key, out_pem);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    ERR_clear_error();
    return rc;
}
