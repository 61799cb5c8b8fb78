/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/iscsi_netlink_sysfs.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/source/netlink_source.h"

#define CLASS      "class/iscsi_session"
#define CONNECTION "class/iscsi_connection/connection%" PRIu32 ":%" PRIu32 "/%s"

/* The last "/host<n>/" of where the session's link leads to; -1 = none. */
static int32_t find_host(const struct netlink_source *s, uint32_t sid)
{
    char path[NETLINK_SOURCE_PATH_BYTES], link[1024];
    const char *at = link, *next;
    int host = -1, number, used;
    ssize_t len;

    if (netlink_source_path(s, path, CLASS "/session%" PRIu32, sid) < 0 ||
        (len = readlink(path, link, sizeof link - 1)) < 0)
        return -1;
    link[len] = 0;
    while ((next = strstr(at, "/host"))) {
        used = 0;
        if (sscanf(next, "/host%9d/%n", &number, &used) == 1 && used > 0)
            host = number;
        at = next + 1;
    }
    return host;
}

/* The SCSI target of the session is a folder in that of its device: "target3:0:0". */
static void find_target(const struct netlink_source *s, struct iscsi_kernel_session *session)
{
    char path[NETLINK_SOURCE_PATH_BYTES];
    struct dirent *entry;
    DIR *folder;

    if (netlink_source_path(s, path, CLASS "/session%" PRIu32 "/device", session->sid) < 0 || !(folder = opendir(path)))
        return;
    while ((entry = readdir(folder))) {
        int host, channel, target;

        if (sscanf(entry->d_name, "target%9d:%9d:%9d", &host, &channel, &target) != 3)
            continue;
        session->channel = channel;
        session->target = target;
        break;
    }
    closedir(folder);
}

static void learn_portal(const struct netlink_source *s, uint32_t cid, struct iscsi_kernel_session *session)
{
    uint32_t sid = session->sid;
    char address[64], port[16], group[16];
    bool ipv6;

    if (netlink_source_read(s, address, sizeof address, CONNECTION, sid, cid, "persistent_address") < 0 ||
        netlink_source_read(s, port, sizeof port, CONNECTION, sid, cid, "persistent_port") < 0)
        return;
    netlink_source_read(s, group, sizeof group, CLASS "/session%" PRIu32 "/tpgt", sid);
    ipv6 = strchr(address, ':');
    snprintf(session->portal, sizeof session->portal, "%s%s%s:%s%s%s", ipv6 ? "[" : "", address, ipv6 ? "]" : "", port,
             group[0] ? "," : "", group);
}

void iscsi_netlink_learn(const struct netlink_source *s, uint32_t cid, struct iscsi_kernel_session *session)
{
    char name[ISCSI_SESSION_NAME_BYTES];

    if (session->host < 0)
        session->host = find_host(s, session->sid);
    find_target(s, session);
    if (netlink_source_read(s, name, sizeof name, CLASS "/session%" PRIu32 "/targetname", session->sid) == 0)
        memcpy(session->target_name, name, sizeof name);
    learn_portal(s, cid, session);
}

static enum iscsi_phase read_phase(const struct netlink_source *s, uint32_t sid)
{
    char state[32];

    netlink_source_read(s, state, sizeof state, CLASS "/session%" PRIu32 "/state", sid);
    if (strcmp(state, "LOGGED_IN") == 0)
        return ISCSI_PHASE_UP;
    return strcmp(state, "FAILED") == 0 ? ISCSI_PHASE_LOST : ISCSI_PHASE_NEW;
}

/* FREE is what a session is before its login, and when nobody waits for its recovery any more. */
static void settle_phase(struct iscsi_kernel_session *session, enum iscsi_phase now)
{
    if (now == ISCSI_PHASE_NEW && (session->phase == ISCSI_PHASE_UP || session->phase == ISCSI_PHASE_LOST))
        now = ISCSI_PHASE_LOST;
    if (session->phase != ISCSI_PHASE_OVER)
        session->phase = now;
}

void iscsi_netlink_learn_all(const struct netlink_source *s, struct iscsi_sessions *sessions)
{
    struct iscsi_sessions now = {0};
    char path[NETLINK_SOURCE_PATH_BYTES];
    struct dirent *entry;
    DIR *folder = netlink_source_path(s, path, CLASS) < 0 ? NULL : opendir(path);

    while (folder && (entry = readdir(folder))) {
        const struct iscsi_kernel_session *known;
        struct iscsi_kernel_session *session;
        uint32_t sid;

        if (sscanf(entry->d_name, "session%9" SCNu32, &sid) != 1 || !(session = iscsi_sessions_add(&now, sid)))
            continue;
        known = iscsi_sessions_find(sessions, sid);
        if (known)
            *session = *known;
        settle_phase(session, read_phase(s, sid));
        iscsi_netlink_learn(s, 0, session);
    }
    if (folder)
        closedir(folder);
    iscsi_sessions_deinit(sessions);
    *sessions = now;
}
