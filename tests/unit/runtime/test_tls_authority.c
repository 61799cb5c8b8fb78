/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tls_authority.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "tests/lib/certificates.h"

static struct certificates certificates;
static struct tls_subject subject;
static char err[256];

static void setup(void)
{
    certificates_init(&certificates);
    subject = certificates_server();
}

static void teardown(void)
{
    certificates_deinit(&certificates);
}

TestSuite(tls_authority, .init = setup, .fini = teardown);

static void expect_refused(const struct tls_pem *authority, const char *words)
{
    struct tls_pem pem = {0};
    err[0] = '\0';
    cr_assert_eq(tls_authority_issue(authority, &subject, &pem, err, sizeof err), UV_EINVAL);
    cr_assert(strstr(err, words), "'%s' lacks '%s'", err, words);
    cr_assert_null(pem.certificate);
    cr_assert_null(pem.key);
}

Test(tls_authority, issues_in_pem)
{
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    cr_assert_eq(strncmp(pem.certificate, "-----BEGIN CERTIFICATE-----\n", 28), 0);
    cr_assert_eq(strncmp(pem.key, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
    tls_pem_free(&pem);
    cr_assert_null(pem.key);
}

Test(tls_authority, what_is_no_authority_is_refused)
{
    struct tls_pem leaf = certificates_issue(&certificates.ours, &subject);
    char none[] = "none";
    expect_refused(&leaf, "not one of an authority");
    expect_refused(&(struct tls_pem){none, certificates.ours.key}, "no certificate");
    expect_refused(&(struct tls_pem){certificates.ours.certificate, none}, "no key");
    expect_refused(&(struct tls_pem){certificates.ours.certificate, certificates.other.key}, "does not belong");
    tls_pem_free(&leaf);
}

Test(tls_authority, no_certificate_outlives_its_authority)
{
    subject.validity.not_after = time(NULL) + 86400 * 11;
    expect_refused(&certificates.ours, "outlive");
    subject.validity.not_after = subject.validity.not_before;
    expect_refused(&certificates.ours, "end before it begins");
    cr_assert_eq(tls_authority_new(&subject.validity, &(struct tls_pem){0}, err, sizeof err), UV_EINVAL);
}

Test(tls_authority, names_are_checked)
{
    static const char *const dns[] = {"",
                                      "a b",
                                      "a..b",
                                      ".a",
                                      "a.",
                                      "*",
                                      "*.",
                                      "a.*.b",
                                      "b\xc3\xbc.example",
                                      "a\nb",
                                      "0123456789012345678901234567890123456789012345678901234567890123.example"};
    static const char *const ip[] = {"", "localhost", "1.2.3", "1.2.3.4/24", "::g"};
    const char *name[1];
    subject.dns = subject.ip = name;
    subject.n_ip = 0;
    subject.n_dns = 1;
    for (size_t i = 0; i < sizeof dns / sizeof *dns; i++) {
        name[0] = dns[i];
        expect_refused(&certificates.ours, "is no DNS name");
    }
    subject.n_dns = 0;
    subject.n_ip = 1;
    for (size_t i = 0; i < sizeof ip / sizeof *ip; i++) {
        name[0] = ip[i];
        expect_refused(&certificates.ours, "is no IP address");
    }
    subject.n_ip = 0;
    subject.uri = "sensebus://agent/a b";
    expect_refused(&certificates.ours, "URI");
    subject.uri = NULL;
    subject.common_name = "";
    expect_refused(&certificates.ours, "1 to 64 bytes");
}

Test(tls_authority, good_names_are_taken)
{
    static const char *const dns[] = {"a", "*.example", "db-07.example.com", "_x.y"};
    static const char *const ip[] = {"10.0.0.7", "::1", "2001:db8::7"};
    subject.dns = dns;
    subject.n_dns = 4;
    subject.ip = ip;
    subject.n_ip = 3;
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    tls_pem_free(&pem);
}
