/* SPDX-License-Identifier: Apache-2.0 */
/* SIGHUP to ourselves, and what the log says then. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/tls_renewal.h"
#include "tests/lib/certificates.h"
#include "tests/lib/loop.h"

static struct certificates certificates;
static struct certificate_files files;
static struct test_loop loop;
static struct tls_renewal renewal;
static struct tls_context *context;
static char log_path[128], said[16384];
static int standard_error;

/* Valid for this long from now on, into the files. */
static void renew(int64_t valid_s)
{
    struct tls_subject subject = certificates_server();
    subject.validity.not_after = time(NULL) + valid_s;
    struct tls_pem pem = certificates_issue(&certificates.ours, &subject);
    if (!files.certificate[0]) {
        certificates_write(&certificates, &pem, &files);
    } else {
        FILE *f = fopen(files.certificate, "w");
        cr_assert(f && fputs(pem.certificate, f) >= 0 && fclose(f) == 0);
        f = fopen(files.key, "w");
        cr_assert(f && fputs(pem.key, f) >= 0 && fclose(f) == 0);
    }
    tls_pem_free(&pem);
}

static void setup(void)
{
    char err[512];
    struct tls_validity validity = {time(NULL) - 86400, time(NULL) + 400 * 86400};
    certificates_init(&certificates);
    tls_pem_free(&certificates.ours); /* one that lives longer */
    cr_assert_eq(tls_authority_new(&validity, &certificates.ours, err, sizeof err), 0, "%s", err);
    renew(100 * 86400);
    snprintf(log_path, sizeof log_path, "%s/log", certificates.directory);
    int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert((standard_error = dup(STDERR_FILENO)) >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
    test_loop_init(&loop);
    cr_assert_eq(tls_renewal_init(&renewal, &loop.loop), 0);
    cr_assert_eq(tls_context_new(true, &files.files, &context, err, sizeof err), 0, "%s", err);
}

static void teardown(void)
{
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    tls_renewal_close(&renewal);
    tls_context_unref(context);
    test_loop_deinit(&loop);
    certificates_deinit(&certificates);
}

TestSuite(tls_renewal, .init = setup, .fini = teardown, .timeout = 120);

static bool is_said(void *words)
{
    FILE *f = fopen(log_path, "r");
    cr_assert(f);
    size_t n = fread(said, 1, sizeof said - 1, f);
    said[n] = 0;
    fclose(f);
    return strstr(said, words);
}

static void expect_said(const char *words)
{
    cr_assert(test_loop_until_true(&loop, is_said, (void *)words), "no '%s' in '%s'", words, said);
}

static const char *serial(void)
{
    static struct tls_certificate own;
    tls_context_certificate(context, &own);
    return own.serial;
}

Test(tls_renewal, a_hangup_reads_the_files_again)
{
    char line[256], old[64];
    tls_renewal_start(&renewal, context);
    snprintf(old, sizeof old, "%s", serial());
    snprintf(line, sizeof line, "info  tls.in_use subject=\"CN=broker\" serial=%s not_after=\"20", old);
    expect_said(line);
    renew(200 * 86400);
    raise(SIGHUP);
    while (strcmp(old, serial()) == 0)
        uv_run(&loop.loop, UV_RUN_ONCE);
    snprintf(line, sizeof line, "serial=%s", serial());
    expect_said(line);
    cr_assert_not(is_said("tls.expire"), "%s", said);
}

Test(tls_renewal, what_is_wrong_is_said_and_what_is_in_use_instead)
{
    char line[512], old[64];
    tls_renewal_start(&renewal, context);
    snprintf(old, sizeof old, "%s", serial());
    unlink(files.key);
    raise(SIGHUP);
    snprintf(line, sizeof line, "error tls.not_reloaded reason=\"key %s: no such file or directory\" in_use=%s ",
             files.key, old);
    expect_said(line);
    cr_assert_str_eq(serial(), old);
}

Test(tls_renewal, a_certificate_that_ends_soon_is_warned_of_at_the_start_and_after_a_reload)
{
    tls_renewal_start(&renewal, context);
    expect_said("tls.in_use");
    cr_assert_not(is_said("tls.expires"));
    renew(12 * 86400 + 3600);
    raise(SIGHUP);
    expect_said("warn  tls.expires subject=\"CN=broker\" serial=");
    expect_said("our certificate ends in 12 days, on 20");
    renew(3600);
    raise(SIGHUP);
    expect_said("our certificate ends in less than a day, on 20");
    renew(86400 + 3600);
    raise(SIGHUP);
    expect_said("our certificate ends in 1 day, on 20");
}

Test(tls_renewal, a_certificate_that_ends_is_an_error)
{
    char err[512];
    int64_t valid_s = 1;
    do { /* a busy machine may take longer to read it than it is valid */
        valid_s *= 2;
        renew(valid_s);
    } while (tls_context_reload(context, err, sizeof err) != 0 && valid_s < 64);
    tls_renewal_start(&renewal, context);
    expect_said("error tls.expired subject=\"CN=broker\" serial=");
    expect_said("our certificate has expired on 20");
}

Test(tls_renewal, a_hangup_without_tls_does_no_harm)
{
    tls_renewal_start(&renewal, NULL);
    raise(SIGHUP);
    expect_said("info  tls.not_used signal=SIGHUP");
}

Test(tls_renewal, a_hangup_before_the_start_and_after_the_stop_is_nothing)
{
    raise(SIGHUP);
    test_loop_for(&loop, 20);
    tls_renewal_start(&renewal, context);
    tls_renewal_stop(&renewal);
    tls_renewal_stop(&renewal);
    raise(SIGHUP);
    test_loop_for(&loop, 20);
    cr_assert_not(is_said("tls.not"), "%s", said);
}
