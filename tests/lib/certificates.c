/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/certificates.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "certificates for the test: %s\n", what);
    abort();
}

static struct tls_validity one_day(void)
{
    time_t now = time(NULL);
    return (struct tls_validity){now - 3600, now + 86400};
}

void certificates_init(struct certificates *c)
{
    char err[256] = "";
    struct tls_validity validity = {time(NULL) - 86400 * 10, time(NULL) + 86400 * 10};
    *c = (struct certificates){0};
    snprintf(c->directory, sizeof c->directory, "/tmp/sensebus-tls-XXXXXX");
    require(mkdtemp(c->directory), c->directory);
    require(tls_authority_new(&validity, &c->ours, err, sizeof err) == 0, err);
    require(tls_authority_new(&validity, &c->other, err, sizeof err) == 0, err);
}

void certificates_deinit(struct certificates *c)
{
    char path[512];
    DIR *directory = opendir(c->directory);
    require(directory, c->directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        snprintf(path, sizeof path, "%s/%s", c->directory, entry->d_name);
        unlink(path);
    }
    closedir(directory);
    require(rmdir(c->directory) == 0, c->directory);
    tls_pem_free(&c->ours);
    tls_pem_free(&c->other);
}

struct tls_subject certificates_subject(const char *name, const char *uri)
{
    return (struct tls_subject){.common_name = name, .uri = uri, .validity = one_day()};
}

struct tls_subject certificates_server(void)
{
    static const char *const dns[] = {"localhost", "broker.example"};
    static const char *const ip[] = {"127.0.0.1"};
    struct tls_subject subject = certificates_subject("broker", "sensebus://broker/b1");
    subject.dns = dns;
    subject.n_dns = 2;
    subject.ip = ip;
    subject.n_ip = 1;
    subject.server = true;
    return subject;
}

struct tls_pem certificates_issue(const struct tls_pem *authority, const struct tls_subject *subject)
{
    char err[256] = "";
    struct tls_pem pem;
    require(tls_authority_issue(authority, subject, &pem, err, sizeof err) == 0, err);
    return pem;
}

static void write_text(const struct certificates *c, const char *text, char out_path[128])
{
    snprintf(out_path, 128, "%s/XXXXXX", c->directory);
    int fd = mkstemp(out_path);
    require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0, out_path);
}

void certificates_write(struct certificates *c, const struct tls_pem *pem, struct certificate_files *out_files)
{
    write_text(c, pem->certificate, out_files->certificate);
    write_text(c, pem->key, out_files->key);
    write_text(c, c->ours.certificate, out_files->authority);
    out_files->files = (struct tls_files){out_files->certificate, out_files->key, out_files->authority};
}

struct tls_context *certificates_context(struct certificates *c, bool server, const struct tls_pem *authority,
                                         const struct tls_subject *subject)
{
    char err[256] = "";
    struct certificate_files files;
    struct tls_context *context;
    struct tls_pem pem = certificates_issue(authority, subject);
    certificates_write(c, &pem, &files);
    tls_pem_free(&pem);
    require(tls_context_new(server, &files.files, &context, err, sizeof err) == 0, err);
    return context;
}
