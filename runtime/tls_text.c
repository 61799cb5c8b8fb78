/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/tls_context.h"

/* Control bytes and what is not ASCII come out escaped (RFC 2253), so the text can go into a log line. */
static void name_text(const X509_NAME *name, char *out, size_t len)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int n = 0;
    if (memory && X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) > 0)
        n = BIO_read(memory, out, (int)len - 1);
    BIO_free(memory);
    if (n > 0)
        out[n] = '\0';
    else
        snprintf(out, len, "no subject");
}

void tls_subject_text(const X509 *certificate, char *out, size_t len)
{
    name_text(X509_get_subject_name(certificate), out, len);
}

void tls_issuer_text(const X509 *certificate, char *out, size_t len)
{
    name_text(X509_get_issuer_name(certificate), out, len);
}

void tls_serial_text(const X509 *certificate, char *out, size_t len)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *text = number ? BN_bn2hex(number) : NULL;
    snprintf(out, len, "%s", text ? text : "none");
    OPENSSL_free(text);
    BN_free(number);
}

void tls_time_text(const ASN1_TIME *time, char *out, size_t len)
{
    struct tm tm;
    if (!ASN1_TIME_to_tm(time, &tm) || strftime(out, len, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(out, len, "an unknown time");
}

static void append(char *out, size_t len, const char *kind, const char *text, size_t text_len)
{
    size_t used = strlen(out);
    snprintf(out + used, len - used, "%s%s:", used ? ", " : "", kind);
    for (size_t i = 0; i < text_len; i++) {
        used = strlen(out);
        snprintf(out + used, len - used, "%c", text[i] > ' ' && text[i] < 0x7f ? text[i] : '?');
    }
}

static void append_address(char *out, size_t len, const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN];
    int n = ASN1_STRING_length(address);
    if ((n == 4 || n == 16) &&
        inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text))
        append(out, len, "ip", text, strlen(text));
}

void tls_server_names_text(const X509 *certificate, char *out, size_t len)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            append(out, len, "dns", (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                   (size_t)ASN1_STRING_length(name->d.dNSName));
        else if (name->type == GEN_IPADD)
            append_address(out, len, name->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
    if (out[0] == '\0')
        snprintf(out, len, "no name");
}
