/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are not what they should be: each is told by its name. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
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
    expect_refused(UV_EINVAL, &(struct tls_files){good.key, good.key, good.authority}, good.key,
                   "no certificate in it");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.certificate, good.authority}, good.certificate,
                   "no private key in it");
    expect_refused(UV_EINVAL, &(struct tls_files){good.certificate, good.key, good.key}, good.key,
                   "no certificate in it");
    expect_refused(UV_EINVAL, &(struct tls_files){"/dev/null", good.key, good.authority}, "/dev/null",
                   "no certificate in it");
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
