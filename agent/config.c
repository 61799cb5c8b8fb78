/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/source/sources.h"
#include "clients/c/broker_tls.h"
#include "runtime/directory.h"

#define INITIATOR_FILE "/etc/iscsi/initiatorname.iscsi"
#define BOOT_ID_FILE   "/proc/sys/kernel/random/boot_id"
#define OWN_NAME_FILE  "initiator-name"
#define USAGE                                                                                                          \
    "usage: sensebus-agent [OPTION]...\n"                                                                              \
    "       sensebus-agent check [OPTION]...\n"                                                                        \
    "\n"                                                                                                               \
    "Watches iSCSI targets and the SCSI devices of this host's kernel for\n"                                           \
    "asynchronous events, and delivers them to a broker. With \"check\" it says what\n"                                \
    "it could watch here with these options, why not, and what to grant.\n"                                            \
    "\n"                                                                                                               \
    "Exit codes: 0 stopped in order, 1 cannot start, 2 usage: options or the files that\n"                             \
    "they name are wrong."

static void set_defaults(struct config *c)
{
    c->broker = BROKER_ADDRESS_DEFAULT;
    c->state_directory = "/var/lib/sensebus/agent";
    c->spool_max_bytes = 64u << 20;
    c->spool_max_records = 100000;
    c->poll_ms = 1000;
    c->jitter_ms = 100;
    c->compare_ms = 30000;
    c->command_timeout_ms = 5000;
    c->discover_interval_ms = 30000;
    c->target_poll_ms = 1000;
    c->sysfs_root = "/sys";
    c->source_poll_ms = 5000;
    c->merge_window_ms = 1000;
    for (size_t i = 0; i < sources_count(); i++)
        if (sources_list[i]->off_because)
            c->sources_off |= 1u << i;
    c->log_level_text = "info";
}

/* ------------------------------------------------------------------------------------------------ the host */

static int read_line(const char *path, char *out, size_t len)
{
    FILE *f = fopen(path, "re");
    char *got;

    if (!f)
        return uv_translate_sys_error(errno);
    got = fgets(out, (int)len, f);
    fclose(f);
    if (!got)
        return UV_EIO;
    out[strcspn(out, "\r\n")] = 0;
    return 0;
}

static int read_host(struct config *c, char *err, size_t err_len)
{
    size_t len;

    if (c->host_text)
        snprintf(c->host, sizeof c->host, "%s", c->host_text);
    else if (gethostname(c->host, sizeof c->host) < 0)
        c->host[0] = 0;
    c->host[sizeof c->host - 1] = 0;
    len = strspn(c->host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    if (len == 0 || c->host[len] || (c->host_text && strlen(c->host_text) >= sizeof c->host)) {
        snprintf(err, err_len, "--host: \"%.80s\" must be 1 to 253 of A-Z a-z 0-9 . _ -",
                 c->host_text ? c->host_text : c->host);
        return UV_EINVAL;
    }
    if (read_line(BOOT_ID_FILE, c->boot_id, sizeof c->boot_id) < 0)
        c->boot_id[0] = 0; /* no /proc: the field stays empty */
    return 0;
}

/* ------------------------------------------------------------------------------------------------ initiator name */

/* "InitiatorName=iqn…" of open-iscsi's file. */
static bool system_initiator(char out[TARGET_NAME_BYTES])
{
    static const char key[] = "InitiatorName=";
    char line[512];
    bool found = false;
    FILE *f = fopen(INITIATOR_FILE, "re");

    if (!f)
        return false;
    while (!found && fgets(line, sizeof line, f)) {
        line[strcspn(line, " \t\r\n")] = 0;
        found = strncmp(line, key, strlen(key)) == 0 && target_name_valid(line + strlen(key));
    }
    fclose(f);
    if (found)
        snprintf(out, TARGET_NAME_BYTES, "%s", line + strlen(key));
    return found;
}

/* Made once, so that targets see the same initiator after a restart. */
static int own_initiator(struct config *c, char *err, size_t err_len)
{
    char path[4096];
    uint8_t random[8];
    FILE *f;
    int rc;

    snprintf(path, sizeof path, "%s/%s", c->state_directory, OWN_NAME_FILE);
    if (read_line(path, c->initiator_name, sizeof c->initiator_name) == 0 && target_name_valid(c->initiator_name))
        return 0;
    rc = uv_random(NULL, NULL, random, sizeof random, 0, NULL);
    if (rc < 0) {
        snprintf(err, err_len, "no random numbers: %s", uv_strerror(rc));
        return rc;
    }
    strcpy(c->initiator_name, "iqn.2026-01.org.sensebus:agent.");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(c->initiator_name + strlen(c->initiator_name), 3, "%02x", random[i]);
    f = fopen(path, "we");
    if (f)
        fprintf(f, "%s\n", c->initiator_name);
    if (!f || fclose(f) != 0) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "--state: %s: %s", path, uv_strerror(rc));
        return rc;
    }
    return 0;
}

static int find_initiator(struct config *c, char *err, size_t err_len)
{
    if (!c->initiator_text)
        return system_initiator(c->initiator_name) ? 0 : own_initiator(c, err, err_len);
    if (!target_name_valid(c->initiator_text)) {
        snprintf(err, err_len, "--initiator-name: \"%.80s\" is no iSCSI name (iqn., eui. or naa., up to 223 bytes)",
                 c->initiator_text);
        return UV_EINVAL;
    }
    snprintf(c->initiator_name, sizeof c->initiator_name, "%s", c->initiator_text);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ options */

static int parse_targets(struct config *c, char *err, size_t err_len)
{
    char why[256];

    c->targets = calloc(c->target_texts.n + 1, sizeof *c->targets);
    c->discover = calloc(c->discover_texts.n + 1, sizeof *c->discover);
    if (!c->targets || !c->discover) {
        snprintf(err, err_len, "out of memory");
        return UV_ENOMEM;
    }
    for (size_t i = 0; i < c->target_texts.n; i++, c->n_targets++) {
        if (target_url_parse(c->target_texts.items[i], &c->targets[i], why, sizeof why) < 0) {
            snprintf(err, err_len, "--target: %s", why);
            return UV_EINVAL;
        }
    }
    for (size_t i = 0; i < c->discover_texts.n; i++, c->n_discover++) {
        if (target_portal_parse(c->discover_texts.items[i], c->discover[i], why, sizeof why) < 0) {
            snprintf(err, err_len, "--discover: %s", why);
            return UV_EINVAL;
        }
    }
    return 0;
}

static int complete_broker(struct config *c, char *err, size_t err_len)
{
    char why[400];
    int rc = broker_address_complete(c->broker, c->insecure, c->broker_address, why, sizeof why);

    if (rc < 0) {
        snprintf(err, err_len, "--broker: %s", why);
        return rc;
    }
    c->broker = c->broker_address;
    return broker_tls_load(c->broker, &c->tls_files, c->server_name, &c->tls, err, err_len);
}

/* Another scheme may come, so the one there is must be said. */
static int parse_feed(struct config *c, char *err, size_t err_len)
{
    static const char scheme[] = "unix:";

    if (!c->target_feed)
        return 0;
    if (strncmp(c->target_feed, scheme, strlen(scheme)) != 0 || !c->target_feed[strlen(scheme)]) {
        snprintf(err, err_len, "--target-feed: \"%.80s\" must be unix:PATH", c->target_feed);
        return UV_EINVAL;
    }
    c->target_feed += strlen(scheme);
    return 0;
}

/* NAME=on|off, where NAME may be "all"; the last word counts. */
static int parse_sources(struct config *c, char *err, size_t err_len)
{
    char name[32];

    for (size_t i = 0; i < c->source_texts.n; i++) {
        const char *text = c->source_texts.items[i], *equals = strchr(text, '=');
        size_t len = equals ? (size_t)(equals - text) : 0;
        bool off = equals && strcmp(equals + 1, "off") == 0;
        uint32_t bits = 0;

        if (len > 0 && len < sizeof name && (off || strcmp(equals + 1, "on") == 0)) {
            snprintf(name, sizeof name, "%.*s", (int)len, text);
            bits = strcmp(name, "all") == 0 ? UINT32_MAX : sources_find(name) >= 0 ? 1u << sources_find(name) : 0;
        }
        if (!bits) {
            size_t used =
                (size_t)snprintf(err, err_len, "--source: \"%.40s\" must be NAME=on or NAME=off; names are all", text);

            for (size_t j = 0; j < sources_count() && used < err_len; j++)
                used += (size_t)snprintf(err + used, err_len - used, ", %s", sources_list[j]->name);
            return UV_EINVAL;
        }
        c->sources_off = off ? c->sources_off | bits : c->sources_off & ~bits;
    }
    return 0;
}

/* What subscribers may have done to devices of the kernel. */
static int parse_allow(struct config *c, char *err, size_t err_len)
{
    for (size_t i = 0; i < c->allow_texts.n; i++) {
        if (strcmp(c->allow_texts.items[i], "reset") != 0) {
            snprintf(err, err_len, "--allow: \"%.40s\" must be reset", c->allow_texts.items[i]);
            return UV_EINVAL;
        }
        c->allow_reset = true;
    }
    return 0;
}

static int check(struct config *c, char *err, size_t err_len)
{
    char why[400];
    int rc = log_parse_level(c->log_level_text, &c->log_level);

    if (rc < 0) {
        snprintf(err, err_len, "--log-level: \"%.40s\" must be debug, info, warn or error", c->log_level_text);
        return rc;
    }
    rc = complete_broker(c, err, err_len);
    if (rc == 0)
        rc = parse_targets(c, err, err_len);
    if (rc == 0)
        rc = parse_feed(c, err, err_len);
    if (rc == 0)
        rc = parse_sources(c, err, err_len);
    if (rc == 0)
        rc = parse_allow(c, err, err_len);
    if (rc == 0)
        rc = read_host(c, err, err_len);
    if (rc == 0 && c->chap_path) {
        rc = chap_list_load(&c->chap, c->chap_path, why, sizeof why);
        if (rc < 0)
            snprintf(err, err_len, "--chap-file: %s", why);
    }
    if (rc < 0 || c->check)
        return rc;
    rc = directory_make(c->state_directory);
    if (rc < 0) {
        snprintf(err, err_len, "--state: %s: %s", c->state_directory, uv_strerror(rc));
        return rc;
    }
    return find_initiator(c, err, err_len);
}

enum config_result config_read(struct config *c, int argc, char **argv, char *err, size_t err_len)
{
    const struct option options[] = {
        {"broker", 0, OPTION_STRING, &c->broker, "ADDR", "SENSEBUS_BROKER", 0, 0,
         "broker to deliver to: tls://HOST:PORT; without TLS HOST:PORT, [IPV6]:PORT\n"
         "or unix:PATH (" BROKER_ADDRESS_DEFAULT ")"},
        {"ca", 0, OPTION_STRING, &c->tls_files.authority, "FILE", "SENSEBUS_CA", 0, 0,
         "for tls://: certificate of the CA that signed the broker's, PEM"},
        {"certificate", 0, OPTION_STRING, &c->tls_files.certificate, "FILE", "SENSEBUS_CERTIFICATE", 0, 0,
         "for tls://: our certificate, PEM, with intermediate ones behind it"},
        {"key", 0, OPTION_STRING, &c->tls_files.key, "FILE", "SENSEBUS_KEY", 0, 0,
         "for tls://: its private key, PEM (in the file of --certificate)"},
        {"server-name", 0, OPTION_STRING, &c->server_name, "NAME", "SENSEBUS_SERVER_NAME", 0, 0,
         "for tls://: name in the broker's certificate (the host of --broker)"},
        {"insecure", 0, OPTION_FLAG, &c->insecure, NULL, "SENSEBUS_INSECURE", 0, 0,
         "deliver beyond this machine, though the connection is not encrypted"},
        {"target", 't', OPTION_LIST, &c->target_texts, "URL", "SENSEBUS_TARGET", 0, 0,
         "target to watch, iscsi://HOST[:PORT][,HOST[:PORT]].../NAME[/LUN]; repeatable"},
        {"discover", 'd', OPTION_LIST, &c->discover_texts, "HOST[:PORT]", "SENSEBUS_DISCOVER", 0, 0,
         "portal whose targets are watched; repeatable"},
        {"discover-interval", 0, OPTION_DURATION, &c->discover_interval_ms, "TIME", "SENSEBUS_DISCOVER_INTERVAL", 100,
         0, "time between discoveries (30s)"},
        {"initiator-name", 0, OPTION_STRING, &c->initiator_text, "NAME", "SENSEBUS_INITIATOR_NAME", 0, 0,
         "iSCSI name of the agent (from " INITIATOR_FILE ", else made once and kept)"},
        {"chap-file", 0, OPTION_STRING, &c->chap_path, "FILE", "SENSEBUS_CHAP_FILE", 0, 0,
         "lines: target user secret [mutual-user mutual-secret]; * is any target,\n"
         "\"discovery\" is discovery sessions; only the owner may have access"},
        {"header-digest", 0, OPTION_FLAG, &c->header_digest, NULL, "SENSEBUS_HEADER_DIGEST", 0, 0,
         "offer CRC32C header digests"},
        {"host", 0, OPTION_STRING, &c->host_text, "NAME", "SENSEBUS_HOST", 0, 0,
         "name of this host in events (the host name)"},
        {"state", 0, OPTION_STRING, &c->state_directory, "DIR", "SENSEBUS_AGENT_STATE", 0, 0,
         "directory of the spool (/var/lib/sensebus/agent)"},
        {"spool-max-bytes", 0, OPTION_SIZE, &c->spool_max_bytes, "SIZE", "SENSEBUS_SPOOL_MAX_BYTES", 65536, 1ull << 40,
         "bound of events not acknowledged, then the oldest are dropped (64M)"},
        {"spool-max-records", 0, OPTION_UINT, &c->spool_max_records, "N", "SENSEBUS_SPOOL_MAX_RECORDS", 2, 0,
         "likewise, in events (100000)"},
        {"poll", 0, OPTION_DURATION, &c->poll_ms, "TIME", "SENSEBUS_POLL", 10, 3600000,
         "time between polls of a logical unit (1s)"},
        {"poll-jitter", 0, OPTION_DURATION, &c->jitter_ms, "TIME", "SENSEBUS_POLL_JITTER", 0, 3600000,
         "up to so much more, at random, so that agents do not poll in step (100ms)"},
        {"compare", 0, OPTION_DURATION, &c->compare_ms, "TIME", "SENSEBUS_COMPARE", 0, 86400000,
         "time between two looks at capacity, write protection and block limits of a\n"
         "logical unit, which may change unannounced; 0 = never (30s)"},
        {"command-timeout", 0, OPTION_DURATION, &c->command_timeout_ms, "TIME", "SENSEBUS_COMMAND_TIMEOUT", 500, 600000,
         "a command that takes longer counts as not answered (5s)"},
        {"diagnostics", 0, OPTION_FLAG, &c->diagnostics, NULL, "SENSEBUS_DIAGNOSTICS", 0, 0,
         "keep subscribers off the targets: of their operations only IOCINFO is answered"},
        {"tgtd", 0, OPTION_STRING, &c->tgtd_socket, "PATH", "SENSEBUS_TGTD", 0, 0,
         "target mode: watch what tgtd serves here, by its management socket; \"auto\" finds it"},
        {"lio", 0, OPTION_STRING, &c->lio_root, "DIR", "SENSEBUS_LIO", 0, 0,
         "target mode: watch what LIO serves here, by its configfs folder; \"auto\" is\n/sys/kernel/config/target"},
        {"target-poll", 0, OPTION_DURATION, &c->target_poll_ms, "TIME", "SENSEBUS_TARGET_POLL", 50, 3600000,
         "time between two looks at tgtd and LIO (1s)"},
        {"target-feed", 0, OPTION_STRING, &c->target_feed, "unix:PATH", "SENSEBUS_TARGET_FEED", 0, 0,
         "target mode: socket on which a target hands over what initiators send it"},
        {"source", 0, OPTION_LIST, &c->source_texts, "NAME=on|off", "SENSEBUS_SOURCES", 0, 0,
         "hooks of this host's kernel: uevent, trace, iscsi-netlink, fc-netlink, sysfs,\n"
         "lio-sense, tcmu, or all (all=on, tcmu=off); repeatable, the last word counts"},
        {"source-poll", 0, OPTION_DURATION, &c->source_poll_ms, "TIME", "SENSEBUS_SOURCE_POLL", 100, 600000,
         "time between two looks at the states in sysfs (5s)"},
        {"merge-window", 0, OPTION_DURATION, &c->merge_window_ms, "TIME", "SENSEBUS_MERGE_WINDOW", 10, 60000,
         "what several hooks say within this time of one condition is one event (1s)"},
        {"sysfs", 0, OPTION_STRING, &c->sysfs_root, "DIR", "SENSEBUS_SYSFS", 0, 0,
         "where sysfs of the host is mounted (/sys)"},
        {"allow", 0, OPTION_LIST, &c->allow_texts, "reset", "SENSEBUS_ALLOW", 0, 0,
         "let subscribers reset SCSI devices of this host's kernel, by SG_SCSI_RESET\n"
         "(they only observe them; needs CAP_SYS_ADMIN and CAP_SYS_RAWIO)"},
        {"log-level", 0, OPTION_STRING, &c->log_level_text, "LEVEL", "SENSEBUS_LOG_LEVEL", 0, 0,
         "debug, info, warn or error (info)"},
        {"version", 'V', OPTION_FLAG, &c->version, NULL, NULL, 0, 0, "print the version and exit"},
    };
    size_t n_options = sizeof options / sizeof options[0];
    int n_operands;

    memset(c, 0, sizeof *c);
    set_defaults(c);
    switch (options_parse(options, n_options, argc, argv, &n_operands, err, err_len)) {
    case OPTIONS_OK: break;
    case OPTIONS_HELP: options_print_help(stdout, USAGE, options, n_options); return CONFIG_DONE;
    case OPTIONS_ERROR: return CONFIG_ERROR;
    }
    c->check = n_operands == 1 && strcmp(argv[1], "check") == 0;
    if (n_operands > 0 && !c->check) {
        snprintf(err, err_len, "unexpected argument \"%.80s\"", argv[1]);
        return CONFIG_ERROR;
    }
    if (c->version) {
        puts("sensebus-agent " SENSEBUS_VERSION);
        return CONFIG_DONE;
    }
    return check(c, err, err_len) < 0 ? CONFIG_ERROR : CONFIG_RUN;
}

void config_free(struct config *c)
{
    free(c->targets);
    free(c->discover);
    chap_list_free(&c->chap);
    tls_context_unref(c->tls);
    c->tls = NULL;
}
