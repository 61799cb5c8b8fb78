/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/options.h"
#include "tests/lib/failing_alloc.h"

static const char *data, *durability, *key;
static uint64_t retain_age_ms, log_max_bytes;
static bool insecure;

static const struct option table[] = {
    {.name = "data", .kind = OPTION_STRING, .value = &data},
    {.name = "durability", .kind = OPTION_CHOICE, .value = &durability, .argument = "sync|relaxed"},
    {.name = "tls-key", .kind = OPTION_STRING, .value = &key},
    {.name = "retain-age", .kind = OPTION_DURATION, .value = &retain_age_ms},
    {.name = "log-max-bytes", .kind = OPTION_SIZE, .value = &log_max_bytes, .min = 1 << 20, .max = 1 << 30},
    {.name = "insecure", .kind = OPTION_FLAG, .value = &insecure},
};
#define N_TABLE (sizeof table / sizeof *table)

static struct config config;
static char err[1024];

static void setup(void)
{
    data = durability = key = NULL;
    retain_age_ms = log_max_bytes = 0;
    insecure = false;
    err[0] = 0;
}

static void teardown(void)
{
    config_deinit(&config);
}

TestSuite(config, .init = setup, .fini = teardown);

static int parse_bytes(const char *text, size_t len)
{
    config_deinit(&config);
    err[0] = 0;
    return config_parse("f", (const uint8_t *)text, len, table, N_TABLE, &config, err, sizeof err);
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

Test(config, every_kind_of_key_is_read)
{
    cr_assert_eq(parse("# the whole of it\n"
                       "listen: [\"tls://0.0.0.0:7070\", \"unix:/run/b.sock\"]\n"
                       "insecure: true\n"
                       "tls: {key: /k.pem}\n"
                       "data: /d\n"
                       "durability: relaxed\n"
                       "retain_age: 7d\n"
                       "log_max_bytes: 64M\n"
                       "limits:\n"
                       "  events: {streams_per_principal: 21, queued_bytes_per_principal: 22M}\n"
                       "  adapter:\n"
                       "    sessions: 1\n"
                       "    streams_per_principal: 2\n"
                       "    sessions_per_principal: 3\n"
                       "    waits_per_principal: 4\n"
                       "    operations_per_principal: 5\n"
                       "    queued_records_per_session: 6\n"
                       "    queued_bytes_per_principal: 7k\n"
                       "  sdi: {handlers: 11, streams_per_principal: 12, handlers_per_principal: 13,\n"
                       "        notifies_per_principal: 14, notifies_of_broker: 15, calls_per_stream: 16}\n"
                       "plaintext: {roles: [agent, reader], hosts: [\"lab-*\"]}\n"
                       "principals:\n"
                       "  - identity: \"uri:sensebus://agent/*\"\n"
                       "    name: the agents\n"
                       "    roles: [agent]\n"
                       "    host_from_identity: true\n"
                       "  - {identity: \"unix:uid=0\", roles: [all], hosts: [a, b]}\n"),
                 0, "%s", err);
    cr_assert_eq(config.n_listen, 2);
    cr_assert_str_eq(config.listen[1], "unix:/run/b.sock");
    cr_assert(insecure);
    cr_assert_str_eq(key, "/k.pem");
    cr_assert_str_eq(data, "/d");
    cr_assert_str_eq(durability, "relaxed");
    cr_assert_eq(retain_age_ms, 7ull * 86400 * 1000);
    cr_assert_eq(log_max_bytes, 64 << 20);
    const struct adapter_limits *a = &config.adapter_limits;
    cr_assert_eq(a->max_sessions, 1);
    cr_assert_eq(a->max_streams_principal, 2);
    cr_assert_eq(a->max_sessions_principal, 3);
    cr_assert_eq(a->max_waits_principal, 4);
    cr_assert_eq(a->max_operations_principal, 5);
    cr_assert_eq(a->max_queued_records, 6);
    cr_assert_eq(a->max_queued_bytes_principal, 7168);
    cr_assert_eq(config.events_limits.max_streams_principal, 21);
    cr_assert_eq(config.events_limits.max_queued_bytes_principal, 22 << 20);
    const struct sdi_limits *s = &config.sdi_limits;
    cr_assert_eq(s->max_handlers, 11);
    cr_assert_eq(s->max_streams_principal, 12);
    cr_assert_eq(s->max_handlers_principal, 13);
    cr_assert_eq(s->max_notifies_principal, 14);
    cr_assert_eq(s->max_notifies_broker, 15);
    cr_assert_eq(s->max_calls_stream, 16);
    cr_assert_eq(config.plaintext.roles, ACCESS_AGENT | ACCESS_READER);
    cr_assert_str_eq(config.plaintext.hosts[0], "lab-*");
    cr_assert_eq(config.principals.n_rules, 2);
    const struct access_rule *rule = config.principals.rules;
    cr_assert_str_eq(rule[0].name, "the agents");
    cr_assert(rule[0].host_from_identity);
    cr_assert_null(rule[1].name);
    cr_assert_eq(rule[1].roles, ACCESS_ALL);
    cr_assert_eq(rule[1].n_hosts, 2);
}

Test(config, what_is_not_said_is_left_alone)
{
    static const char *const empty[] = {"", "# nothing\n", "{}", "tls: {}", "listen: []\nprincipals: []\n"};
    data = "/kept";
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        cr_assert_eq(parse(empty[i]), 0, "%s: %s", empty[i], err);
        cr_assert_str_eq(data, "/kept");
        cr_assert_eq(config.n_listen, 0);
        cr_assert_eq(config.plaintext.roles, 0);
        cr_assert_eq(config.principals.n_rules, 0);
        cr_assert_eq(config.adapter_limits.max_sessions, 0);
    }
    cr_assert_eq(parse("plaintext: {roles: [agent]}"), 0, "%s", err); /* its hosts: all */
    cr_assert_eq(config.plaintext.n_hosts, 1);
    cr_assert_str_eq(config.plaintext.hosts[0], "*");
}

Test(config, what_is_wrong_is_named_with_its_line)
{
    static const char *const table_of[][2] = {
        {"data: x\n\nretian_age: 3\n", "f:3: retian_age: unknown key; did you mean \"retain_age\"?"},
        {"color: red\n", "f:1: color: unknown key; known here: listen, insecure, tls, "},
        {"tls:\n  cert: x\n", "f:2: tls.cert: unknown key; did you mean \"certificate\"?"},
        {"tls:\n  x: x\n", "f:2: tls.x: unknown key; known here: certificate, key, authority"},
        {"tls:\n  kye: x\n", "f:2: tls.kye: unknown key; did you mean \"key\"?"},
        {"limits:\n  adaptor: {}\n", "f:2: limits.adaptor: unknown key; did you mean \"adapter\"?"},
        {"principals:\n- identity: plaintext\n  roles: [reader]\n  host: [a]\n",
         "f:4: principals[0].host: unknown key; did you mean \"hosts\"?"},
        {"\"a\\x01b\": 1\n", "f:1: a?b: unknown key"},

        {"- a\n", "f:1: must hold keys"},
        {"data: [a]\n", "f:1: data: must be one value"},
        {"data:\n", "f:1: data: has no value"},
        {"listen: 127.0.0.1:7070\n", "f:1: listen: must be a list"},
        {"listen: [[a]]\n", "f:1: listen[0]: must be one value"},
        {"tls: /k.pem\n", "f:1: tls: must hold keys"},
        {"principals: {identity: a}\n", "f:1: principals: must be a list"},
        {"principals: [a]\n", "f:1: principals[0]: must hold keys"},
        {"principals:\n  - name: n\n    roles: [reader]\n", "f:2: principals[0]: \"identity\" is missing"},
        {"principals:\n  - identity: plaintext\n", "f:2: principals[0]: \"roles\" is missing"},
        {"plaintext: {hosts: [a]}\n", "f:1: plaintext: \"roles\" is missing"},
        {"listen: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]\n", "f:1: listen: has 17 entries, at most 16"},

        {"durability: maybe\n", "f:1: durability: 'maybe' is none of sync|relaxed"},
        {"retain_age: soon\n", "f:1: retain_age: 'soon' is not a valid duration"},
        {"log_max_bytes: 1k\n", "f:1: log_max_bytes: '1k' is out of range (1048576 to 1073741824 bytes)"},
        {"insecure: yes\n", "f:1: insecure: 'yes' is neither true nor false"},
        {"limits:\n  sdi:\n    handlers: 0\n", "f:3: limits.sdi.handlers: \"0\" is no number from 1 to 4294967295"},
        {"limits:\n  adapter:\n    sessions: 0x10\n", "f:3: limits.adapter.sessions: \"0x10\" is no number"},
        {"limits:\n  adapter:\n    queued_bytes_per_principal: 4G\n", "\"4G\" is no size (examples: 4096, 64k, 16M)"},

        {"plaintext:\n  roles:\n    - reader\n    - kernal\n",
         "f:4: plaintext.roles[1]: \"kernal\" is no role; did you mean \"kernel\"?"},
        {"plaintext: {roles: [\"reader,kernel\"]}\n", "f:1: plaintext.roles[0]: holds a comma"},
        {"plaintext: {roles: []}\n", "f:1: plaintext.roles: holds no role"},
        {"plaintext:\n  roles: [reader]\n  hosts: [a]\n", "f:3: plaintext.hosts: only role agent has hosts"},
        {"principals:\n  - identity: root\n    roles: [reader]\n",
         "f:2: principals[0].identity: is none of \"uri:…\", \"dns:…\", \"unix:uid=N\""},
        {"principals:\n  - identity: \"dns:a\"\n    name: \"a\\nb\"\n    roles: [reader]\n",
         "f:3: principals[0].name: must"},
        {"principals:\n  - identity: \"dns:a\"\n    roles: [agent]\n",
         "f:2: principals[0]: hosts: role agent needs the hosts"},
        {"principals:\n  - identity: \"dns:a\"\n    roles: [agent]\n    host_from_identity: 1\n",
         "f:4: principals[0].host_from_identity: \"1\" is neither true nor false"},
        {"principals:\n  - identity: plaintext\n    roles: [agent]\n    host_from_identity: true\n",
         "f:4: principals[0].host_from_identity: only an identity of a certificate"},
        {"port_file: /x\n", "f:1: port_file: is no option of this program"}, /* of this table */
    };
    for (size_t i = 0; i < sizeof table_of / sizeof *table_of; i++) {
        cr_expect_eq(parse(table_of[i][0]), UV_EINVAL, "%s", table_of[i][0]);
        cr_expect(strstr(err, table_of[i][1]), "%s: %s", table_of[i][0], err);
        cr_expect_null(config.document);
    }
}

Test(config, without_memory_nothing_is_left)
{
    static const char text[] = "listen: [a, b]\n"
                               "tls: {key: /k}\n"
                               "plaintext: {roles: [agent], hosts: [h]}\n"
                               "principals:\n"
                               "  - {identity: plaintext, name: n, roles: [agent, reader], hosts: [a, b]}\n"
                               "  - {identity: \"dns:a\", roles: [reader]}\n";
    unsigned n = 0;
    for (bool failed = true; failed; n++) {
        failing_alloc_after(n);
        int rc = parse(text);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u: %s", n, err);
        cr_assert_eq(config.document != NULL, !failed);
        if (failed)
            cr_assert_str_eq(err, "f: out of memory");
    }
    cr_assert_gt(n, 30);
}

Test(config, the_size_of_a_file_is_bounded)
{
    char *text = malloc(CONFIG_MAX_BYTES + 1);
    memset(text, '#', CONFIG_MAX_BYTES + 1);
    cr_assert_eq(parse_bytes(text, CONFIG_MAX_BYTES), 0, "%s", err);
    cr_assert_eq(parse_bytes(text, CONFIG_MAX_BYTES + 1), UV_E2BIG);
    cr_assert(strstr(err, "f: is longer than 1048576 bytes"), "%s", err);
    free(text);
}

Test(config, a_file_is_read_and_one_that_cannot_be_is_named)
{
    char path[] = "/tmp/sensebus-config.XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "data: /of/the/file\n", 19), 19);
    close(fd);
    cr_assert_eq(config_read(path, table, N_TABLE, &config, err, sizeof err), 0, "%s", err);
    cr_assert_str_eq(data, "/of/the/file");
    config_deinit(&config);
    unlink(path);
    cr_assert_eq(config_read(path, table, N_TABLE, &config, err, sizeof err), UV_ENOENT);
    cr_assert(strstr(err, path) && strstr(err, "no such file"), "%s", err);
    cr_assert_eq(config_read("/", table, N_TABLE, &config, err, sizeof err), UV_EISDIR);
    cr_assert(strstr(err, "/: "), "%s", err);
}
