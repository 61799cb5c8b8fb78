/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/check.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "agent/config.h"
#include "agent/source/sources.h"
#include "agent/target/target_mode.h"
#include "sensebus/v1/agents.pb-c.h"

#define OFF   SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define ARMED SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED

static void put_row(FILE *out, const char *source, uint32_t state, const char *reason)
{
    const char *name = state == ARMED ? "armed" : state == OFF ? "off" : "degraded";

    fprintf(out, reason[0] ? "%-14s %-9s %s\n" : "%-14s %s\n", source, name, reason);
}

static void put_targets(const struct config *c, FILE *out)
{
    char words[128];

    if (c->n_targets + c->n_discover == 0) {
        put_row(out, "iscsi", OFF, "neither --target nor --discover was given");
        return;
    }
    snprintf(words, sizeof words, "%zu targets, %zu portals to discover at; they are not asked here", c->n_targets,
             c->n_discover);
    put_row(out, "iscsi", ARMED, words);
}

/* A socket is not connected to: its owner would take us for a client. */
static void put_path(FILE *out, const char *source, const char *path, mode_t kind, const char *option)
{
    char words[SOURCE_REASON_BYTES];
    struct stat st;

    words[0] = 0;
    if (!path)
        snprintf(words, sizeof words, "%s was not given", option);
    else if (stat(path, &st) < 0 || access(path, kind == S_IFDIR ? R_OK | X_OK : R_OK | W_OK) < 0)
        snprintf(words, sizeof words, "%.160s: %s%s", path, uv_strerror(uv_translate_sys_error(errno)),
                 errno == EACCES ? ": grant the agent's user access" : "");
    else if ((st.st_mode & S_IFMT) != kind)
        snprintf(words, sizeof words, "%.160s: is no %s", path, kind == S_IFDIR ? "directory" : "socket");
    put_row(out, source, words[0] ? OFF : ARMED, words);
}

static void put_target_mode(const struct config *c, FILE *out)
{
    char socket[TARGET_MODE_SOCKET_BYTES];
    const char *tgtd = c->tgtd_socket;
    const char *lio = c->lio_root ? target_mode_lio_root(c->lio_root) : NULL;

    if (tgtd && target_mode_tgtd_socket(tgtd, socket) == 0)
        tgtd = socket;

    put_path(out, "tgtd", tgtd, S_IFSOCK, "--tgtd");
    put_path(out, "lio", lio, S_IFDIR, "--lio");
    put_path(out, "feed", c->target_feed, S_IFSOCK, "--target-feed");
}

/* ------------------------------------------------------------------------------------------------ privileges */

/* What sources can need beside access to files, also those that are off for another reason. */
static const struct {
    unsigned number;
    const char *name, *use;
} capabilities[] = {
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "iscsi-netlink, fc-netlink; uevent: a receive buffer that storms do not overflow"},
    {CAP_BPF, "CAP_BPF", "trace, lio-sense: together with CAP_PERFMON"},
    {CAP_PERFMON, "CAP_PERFMON", "trace, lio-sense: together with CAP_BPF"},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN",
     "trace, lio-sense: in place of these two, and for what they cannot see (docs/sources.md); --allow reset"},
    {CAP_SYS_RAWIO, "CAP_SYS_RAWIO", "--allow reset: together with CAP_SYS_ADMIN"},
};

/* Of this process; nothing when that cannot be told. */
static uint64_t held_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return (uint64_t)data[1].effective << 32 | data[0].effective;
}

static void put_capabilities(FILE *out)
{
    uint64_t held = held_capabilities();

    fprintf(out, "\n%-14s %-9s %s\n", "CAPABILITY", "HELD", "USED BY");
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        fprintf(out, "%-14s %-9s %s\n", capabilities[i].name, held >> capabilities[i].number & 1 ? "yes" : "no",
                capabilities[i].use);
}

void check_print(const struct config *c, FILE *out)
{
    struct source_options options = {.sysfs_root = c->sysfs_root, .poll_ms = (uint32_t)c->source_poll_ms};
    char reason[SOURCE_REASON_BYTES];

    fprintf(out, "%-14s %-9s %s\n", "SOURCE", "STATE", "WHY, AND WHAT TO GRANT");
    put_targets(c, out);
    for (size_t i = 0; i < sources_count(); i++) {
        uint32_t state = OFF;

        snprintf(reason, sizeof reason, "%s", sources_off_reason(sources_list[i]));
        if (!(c->sources_off & 1u << i))
            state = sources_list[i]->check(&options, reason, sizeof reason);
        put_row(out, sources_list[i]->name, state, reason);
    }
    put_target_mode(c, out);
    put_capabilities(out);
}
