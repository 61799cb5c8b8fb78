/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/broker_tls.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "tests/lib/certificates.h"

static struct certificates certificates;
static struct certificate_files files;
static struct tls_context *context;
static char err[512];

static void setup(void)
{
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    certificates_init(&certificates);
    struct tls_pem pem = certificates_issue(&certificates.ours, &reader);
    certificates_write(&certificates, &pem, &files);
    tls_pem_free(&pem);
}

static void teardown(void)
{
    tls_context_unref(context);
    certificates_deinit(&certificates);
}

TestSuite(broker_tls, .init = setup, .fini = teardown);

static int load(const char *address, const char *certificate, const char *key, const char *authority)
{
    struct tls_files f = {certificate, key, authority};
    return broker_tls_load(address, &f, NULL, &context, err, sizeof err);
}

Test(broker_tls, plaintext_needs_nothing)
{
    context = (struct tls_context *)err;
    cr_assert_eq(load("127.0.0.1:7070", NULL, NULL, NULL), 0);
    cr_assert_null(context);
}

Test(broker_tls, tls_is_loaded)
{
    cr_assert_eq(load("tls://b:7070", files.certificate, files.key, files.authority), 0, "%s", err);
    cr_assert_not_null(context);
}

Test(broker_tls, the_key_may_be_in_the_file_of_the_certificate)
{
    char path[160], line[4096];
    snprintf(path, sizeof path, "%s/both", certificates.directory);
    FILE *both = fopen(path, "w");
    const char *const parts[] = {files.certificate, files.key};
    for (int i = 0; i < 2; i++) {
        FILE *part = fopen(parts[i], "r");
        size_t n = fread(line, 1, sizeof line, part);
        cr_assert_eq(fwrite(line, 1, n, both), n);
        fclose(part);
    }
    fclose(both);
    cr_assert_eq(load("tls://b:7070", path, NULL, files.authority), 0, "%s", err);
    tls_context_unref(context);
    context = NULL;
    cr_assert_eq(load("tls://b:7070", files.certificate, NULL, files.authority), UV_EINVAL);
    cr_assert(strstr(err, "no private key"), "%s", err);
}

Test(broker_tls, what_tls_lacks_is_named)
{
    cr_assert_eq(load("tls://b:7070", NULL, NULL, NULL), UV_EINVAL);
    cr_assert(strstr(err, "tls://b:7070") && strstr(err, "--certificate") && strstr(err, "--ca"), "%s", err);
    cr_assert_eq(load("tls://b:7070", files.certificate, files.key, NULL), UV_EINVAL);
    cr_assert(strstr(err, "--ca") && !strstr(err, "--certificate"), "%s", err);
    cr_assert_eq(load("tls://b:7070", NULL, files.key, files.authority), UV_EINVAL);
    cr_assert(strstr(err, "--certificate"), "%s", err);
    cr_assert_eq(load("tls://b:7070", "/nowhere/x.pem", files.key, files.authority), UV_ENOENT);
    cr_assert(strstr(err, "/nowhere/x.pem"), "%s", err);
}

Test(broker_tls, files_without_tls_are_refused)
{
    struct tls_files none = {0};
    const char *const places[3][3] = {{"x", NULL, NULL}, {NULL, "x", NULL}, {NULL, NULL, "x"}};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(load("127.0.0.1:7070", places[i][0], places[i][1], places[i][2]), UV_EINVAL);
        cr_assert(strstr(err, "write tls://127.0.0.1:7070"), "%s", err);
    }
    cr_assert_eq(broker_tls_load("127.0.0.1:7070", &none, "name", &context, err, sizeof err), UV_EINVAL);
}
