/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus pki: a small certificate authority in a directory, and certificates for the programs of one installation.
 *
 * Keys are files that only their owner may read. Nothing is overwritten: a key that is gone is gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "runtime/directory.h"
#include "runtime/spelling.h"
#include "runtime/tls_authority.h"

#define CA_DIRECTORY   "/etc/sensebus/pki"
#define CA_CERTIFICATE "ca.pem"
#define CA_KEY         "ca.key"
#define USAGE                                                                                                          \
    "usage: sensebus pki init DIR [--days N]\n"                                                                        \
    "       sensebus pki issue ROLE NAME --out FILE [OPTIONS]\n"                                                       \
    "\n"                                                                                                               \
    "init makes a CA: DIR/" CA_CERTIFICATE ", which everybody gets, and DIR/" CA_KEY ", which stays there.\n"          \
    "issue makes a certificate for one program and its key. ROLE is broker, agent,\n"                                  \
    "reader, kernel, dev-config or operator; its identity is sensebus://ROLE/NAME.\n"                                  \
    "NAME of an agent is the name of its host.\n"                                                                      \
    "\n"                                                                                                               \
    "  sensebus pki init /etc/sensebus/pki\n"                                                                          \
    "  sensebus pki issue broker b1 --dns broker.example --ip 10.0.0.7 --out b1.pem\n"                                 \
    "  sensebus pki issue agent db-07 --out db-07.pem"

enum {
    CA_DAYS = 3650,
    DAYS = 365,
    MAX_DAYS = 36500,
    SKEW_S = 300, /* clocks of other hosts may be behind by this much */
    MAX_FILE_BYTES = 64 * 1024,
    PATH_BYTES = 4096,
    CERTIFICATE_MODE = 0644,
    KEY_MODE = 0600,
};

static const char *const ROLES[] = {"broker", "agent", "reader", "kernel", "dev-config", "operator"};
enum { N_ROLES = sizeof ROLES / sizeof *ROLES };

struct pki {
    struct cli *cli;
    const char *ca, *out;
    struct option_list dns, ip;
    uint64_t days;
};

/* ------------------------------------------------------------------------------------------------ files */

static int write_new(const char *path, const char *text, mode_t mode)
{
    size_t len = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    ssize_t n = write(fd, text, len);
    int rc = n < 0 ? uv_translate_sys_error(errno) : n < (ssize_t)len ? UV_ENOSPC : 0;
    if (rc == 0 && fsync(fd) != 0)
        rc = uv_translate_sys_error(errno);
    close(fd);
    if (rc != 0)
        unlink(path);
    return rc;
}

static int cannot_write(struct pki *p, const char *path, int rc)
{
    if (rc == UV_EEXIST)
        cli_error(p->cli, "%s exists already, and nothing is overwritten", path);
    else
        cli_error(p->cli, "cannot write %s: %s", path, uv_strerror(rc));
    return EXIT_FAILED;
}

/* Both or none. */
static int write_pem(struct pki *p, const struct tls_pem *pem, const char *certificate, const char *key)
{
    int rc = write_new(key, pem->key, KEY_MODE);
    if (rc != 0)
        return cannot_write(p, key, rc);
    rc = write_new(certificate, pem->certificate, CERTIFICATE_MODE);
    if (rc != 0) {
        unlink(key);
        return cannot_write(p, certificate, rc);
    }
    return EXIT_OK;
}

/* The text of a file, on the heap; NULL, and a message. */
static char *read_text(struct pki *p, const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = f ? calloc(1, MAX_FILE_BYTES + 1) : NULL;
    if (!f)
        cli_error(p->cli, "cannot read %s: %s", path, strerror(errno));
    else if (!text)
        cli_error(p->cli, "out of memory");
    else if (fread(text, 1, MAX_FILE_BYTES, f) == 0)
        cli_error(p->cli, "cannot read %s: %s", path, ferror(f) ? strerror(errno) : "the file is empty");
    else {
        fclose(f);
        return text;
    }
    free(text);
    if (f)
        fclose(f);
    return NULL;
}

/* False when it does not fit. */
static bool join(const char *directory, const char *name, char out[PATH_BYTES])
{
    size_t len = strlen(directory);
    return snprintf(out, PATH_BYTES, "%s%s%s", directory, len && directory[len - 1] == '/' ? "" : "/", name) <
           PATH_BYTES;
}

static struct tls_validity validity(const struct pki *p)
{
    time_t now = time(NULL);
    return (struct tls_validity){now - SKEW_S, now + (int64_t)p->days * 86400};
}

static void date_text(int64_t at, char out[32])
{
    time_t t = (time_t)at;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d", &tm);
}

/* ------------------------------------------------------------------------------------------------ init */

static int init(struct pki *p, const char *directory)
{
    char certificate[PATH_BYTES], key[PATH_BYTES], until[32], err[256];
    struct tls_pem pem;
    if (!p->days)
        p->days = CA_DAYS;
    struct tls_validity v = validity(p);
    if (!join(directory, CA_CERTIFICATE, certificate) || !join(directory, CA_KEY, key))
        return cli_usage(p->cli, "the name of the directory is too long");
    int rc = directory_make(directory);
    if (rc != 0) {
        cli_error(p->cli, "cannot make %s: %s", directory, uv_strerror(rc));
        return EXIT_FAILED;
    }
    if (access(certificate, F_OK) == 0)
        return cannot_write(p, certificate, UV_EEXIST);
    if (tls_authority_new(&v, &pem, err, sizeof err) != 0) {
        cli_error(p->cli, "cannot make a CA: %s", err);
        return EXIT_FAILED;
    }
    int code = write_pem(p, &pem, certificate, key);
    tls_pem_free(&pem);
    if (code != EXIT_OK)
        return code;
    date_text(v.not_after, until);
    printf("CA certificate  %s  (until %s; for everybody: --ca, --tls-authority)\n", certificate, until);
    printf("CA key          %s  (stays here: who has it can be anybody)\n", key);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

/* ------------------------------------------------------------------------------------------------ issue */

/* "db-07.pem" -> "db-07.key". */
static bool key_path(const char *certificate, char out[PATH_BYTES])
{
    size_t len = strlen(certificate);
    if (len > 4 && (strcmp(certificate + len - 4, ".pem") == 0 || strcmp(certificate + len - 4, ".crt") == 0))
        len -= 4;
    return snprintf(out, PATH_BYTES, "%.*s.key", (int)len, certificate) < PATH_BYTES;
}

static int check_role(struct pki *p, const char *role)
{
    const char *near = NULL;
    size_t best = 3;
    for (size_t i = 0; i < N_ROLES; i++) {
        size_t distance = spelling_distance(role, ROLES[i], true);
        if (distance == 0)
            return strcmp(role, ROLES[i]) == 0 ? -1 : cli_usage(p->cli, "roles are in small letters: %s", ROLES[i]);
        if (distance < best) {
            best = distance;
            near = ROLES[i];
        }
    }
    return cli_usage(p->cli, "'%.40s' is no role; %s%s%sthey are broker, agent, reader, kernel, dev-config, operator",
                     role, near ? "did you mean " : "", near ? near : "", near ? "? " : "");
}

static int check_name(struct pki *p, const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strspn(name, good);
    if (len == 0 || name[len] != '\0' || len > 64)
        return cli_usage(p->cli, "'%.80s': NAME has 1 to 64 of A-Z a-z 0-9 . _ -", name);
    return -1;
}

static int load_ca(struct pki *p, struct tls_pem *out_ca)
{
    char certificate[PATH_BYTES], key[PATH_BYTES];
    if (!join(p->ca, CA_CERTIFICATE, certificate) || !join(p->ca, CA_KEY, key))
        return cli_usage(p->cli, "--ca: the name of the directory is too long");
    out_ca->certificate = read_text(p, certificate);
    out_ca->key = out_ca->certificate ? read_text(p, key) : NULL;
    if (out_ca->key)
        return EXIT_OK;
    cli_error(p->cli, "--ca names the directory of a CA; 'sensebus pki init DIR' makes one");
    return EXIT_FAILED;
}

static int issue_with(struct pki *p, const struct tls_pem *ca, const struct tls_subject *subject, const char *key)
{
    char err[256], until[32];
    struct tls_pem pem;
    int rc = tls_authority_issue(ca, subject, &pem, err, sizeof err);
    if (rc != 0) {
        cli_error(p->cli, "cannot issue: %s", err);
        return rc == UV_EINVAL ? EXIT_USAGE : EXIT_FAILED;
    }
    int code = write_pem(p, &pem, p->out, key);
    tls_pem_free(&pem);
    if (code != EXIT_OK)
        return code;
    date_text(subject->validity.not_after, until);
    printf("certificate  %s  (uri:%s, until %s)\n", p->out, subject->uri, until);
    printf("key          %s\n", key);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static int issue(struct pki *p, const char *role, const char *name)
{
    char uri[128], key[PATH_BYTES];
    struct tls_pem ca = {0};
    bool server = strcmp(role, "broker") == 0;
    int code = check_role(p, role);
    if (code < 0)
        code = check_name(p, name);
    if (code >= 0)
        return code;
    if (!p->out)
        return cli_usage(p->cli, "--out FILE is missing: where the certificate goes, and its key beside it");
    if (!server && p->ip.n)
        return cli_usage(p->cli, "--ip is for the role broker: clients are known by names");
    if (server && p->dns.n == 0 && p->ip.n == 0)
        return cli_usage(p->cli,
                         "a broker needs --dns or --ip, as clients write it behind tls://; both may be repeated");
    if (!key_path(p->out, key))
        return cli_usage(p->cli, "--out: the name is too long");
    if (!p->days)
        p->days = DAYS;
    snprintf(uri, sizeof uri, "sensebus://%s/%s", role, name);
    const struct tls_subject subject = {.common_name = name,
                                        .uri = uri,
                                        .dns = p->dns.items,
                                        .n_dns = p->dns.n,
                                        .ip = p->ip.items,
                                        .n_ip = p->ip.n,
                                        .server = server,
                                        .validity = validity(p)};
    code = load_ca(p, &ca);
    if (code == EXIT_OK)
        code = issue_with(p, &ca, &subject, key);
    tls_pem_free(&ca);
    return code;
}

/* ------------------------------------------------------------------------------------------------ the command */

enum { OWN_OPTIONS = 5 };

static size_t pki_options(struct pki *p, struct option *o)
{
    struct option all[CLI_OPTIONS];
    size_t n = 0;
    o[n++] = (struct option){.name = "out",
                             .kind = OPTION_STRING,
                             .value = &p->out,
                             .argument = "FILE",
                             .help = "issue: where the certificate goes; its key goes beside it, to FILE with .key"};
    o[n++] = (struct option){.name = "ca",
                             .kind = OPTION_STRING,
                             .value = &p->ca,
                             .argument = "DIR",
                             .help = "issue: directory of the CA (default " CA_DIRECTORY ")"};
    o[n++] = (struct option){.name = "dns",
                             .kind = OPTION_LIST,
                             .value = &p->dns,
                             .argument = "NAME",
                             .help = "issue: DNS name in the certificate; repeatable"};
    o[n++] = (struct option){.name = "ip",
                             .kind = OPTION_LIST,
                             .value = &p->ip,
                             .argument = "ADDRESS",
                             .help = "issue: IP address in a broker's certificate; repeatable"};
    o[n++] = (struct option){.name = "days",
                             .kind = OPTION_UINT,
                             .value = &p->days,
                             .argument = "N",
                             .min = 1,
                             .max = MAX_DAYS,
                             .help = "how long the certificate is valid (default 365; of a CA 3650)"};
    /* Those of all commands may stand before this one, but nobody is connected to. */
    cli_options(p->cli, all);
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (strcmp(all[i].name, "ca") != 0)
            o[n++] = all[i];
    return n;
}

int pki_run(struct cli *cli, int argc, char **argv)
{
    struct pki p = {.cli = cli, .ca = CA_DIRECTORY};
    struct option options[OWN_OPTIONS + CLI_OPTIONS];
    int n_operands;
    size_t n = pki_options(&p, options);
    int code = cli_parse(cli, USAGE, options, OWN_OPTIONS, n, argc, argv, &n_operands);
    if (code >= 0)
        return code;
    const char *verb = n_operands > 0 ? argv[1] : "";
    if (strcmp(verb, "init") == 0 && n_operands == 2)
        return init(&p, argv[2]);
    if (strcmp(verb, "issue") == 0 && n_operands == 3)
        return issue(&p, argv[2], argv[3]);
    if (strcmp(verb, "init") == 0)
        return cli_usage(cli, "pki init takes one directory; -h shows examples");
    if (strcmp(verb, "issue") == 0)
        return cli_usage(cli, "pki issue takes a role and a name; -h shows examples");
    return cli_usage(cli, "pki takes init or issue; -h shows examples");
}
