/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as LIO shows it, in a temporary folder. */
#include "agent/target/lio_scan.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/target/snapshot.h"

#define GROUP "iscsi/iqn.2026-01.example:disks/tpgt_1"

static char root[] = "/tmp/sensebus-lio-XXXXXX";
static struct snapshot s;
static char err[256];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    snapshot_free(&s);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(lio_scan, .init = setup, .fini = teardown);

static void full(const char *path, char out[1024])
{
    snprintf(out, 1024, "%s/%s", root, path);
}

static void folder(const char *path)
{
    char whole[1024];

    full(path, whole);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(whole, 0700);
    }
    mkdir(whole, 0700);
}

static void file_bytes(const char *path, const char *bytes, size_t len)
{
    char whole[1024];
    FILE *f;

    full(path, whole);
    f = fopen(whole, "w");
    cr_assert_not_null(f, "%s", whole);
    fwrite(bytes, 1, len, f);
    fclose(f);
}

static void file(const char *path, const char *text)
{
    file_bytes(path, text, strlen(text));
}

static void link_to(const char *path, const char *where)
{
    char whole[1024];

    full(path, whole);
    cr_assert_eq(symlink(where, whole), 0);
}

static const char info[] = "InitiatorName: iqn.2026-01.example:host-a\n"
                           "InitiatorAlias: \n"
                           "LIO Session ID: 2   ISID: 0x00 02 3d 00 00 00  TSIH: 2  SessionType: Normal\n"
                           "Session State: TARG_SESS_STATE_LOGGED_IN\n"
                           "CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n"
                           "   Address 192.0.2.7 TCP  StatSN: 0x1f2e3d4c\n";

static void make_tree(void)
{
    folder("iscsi/discovery_auth");
    folder(GROUP "/acls/iqn.2026-01.example:host-a");
    folder(GROUP "/acls/iqn.2026-01.example:host-b");
    folder(GROUP "/lun/lun_0");
    folder(GROUP "/lun/lun_12");
    file(GROUP "/enable", "1\n");
    file(GROUP "/acls/iqn.2026-01.example:host-a/info", info);
    file(GROUP "/acls/iqn.2026-01.example:host-b/info",
         "No active iSCSI Session for Initiator Endpoint: iqn.2026-01.example:host-b\n");
    file_bytes(GROUP "/dynamic_sessions", "iqn.2026-01.example:host-c\n\0iqn.2026-01.example:host-d\n", 55);
    link_to(GROUP "/lun/lun_0/0a1b2c3d", "../../../../../../core/fileio_0/disk0");
}

static int scan(void)
{
    snapshot_free(&s);
    return lio_scan(root, &s, err, sizeof err);
}

Test(lio_scan, reads_targets_sessions_and_units)
{
    make_tree();
    cr_assert_eq(scan(), 0);
    cr_assert_eq(s.n_targets, 1);
    cr_expect_str_eq(s.targets[0].name, "iqn.2026-01.example:disks");
    cr_expect_eq(s.targets[0].number, 1);
    cr_expect(s.targets[0].online);
    cr_assert_eq(s.n_nexuses, 3);
    cr_expect_str_eq(s.nexuses[0].initiator, "iqn.2026-01.example:host-c");
    cr_expect_str_eq(s.nexuses[1].initiator, "iqn.2026-01.example:host-d");
    cr_expect_eq(s.nexuses[2].id, 2);
    cr_expect_str_eq(s.nexuses[2].initiator, "iqn.2026-01.example:host-a");
    cr_expect_str_eq(s.nexuses[2].address, "192.0.2.7");
    cr_assert_eq(s.n_luns, 2);
    cr_expect(s.luns[0].lun == 0 && s.luns[0].online);
    cr_expect(s.luns[1].lun == 12 && !s.luns[1].online, "no backstore is linked");
    cr_expect_not(s.cut);
}

Test(lio_scan, each_group_is_a_target)
{
    folder("iscsi/iqn.t/tpgt_1");
    folder("iscsi/iqn.t/tpgt_2");
    folder("iscsi/iqn.t/tpgt_x");
    folder("iscsi/iqn.t/fabric_statistics");
    file("iscsi/iqn.t/tpgt_2/enable", "1\n");
    cr_assert_eq(scan(), 0);
    cr_assert_eq(s.n_targets, 2);
    cr_expect_not(s.targets[0].online, "no word of enable is not enabled");
    cr_expect(s.targets[1].online);
}

Test(lio_scan, without_LIO_it_says_which_folder_is_missing)
{
    cr_expect_eq(scan(), UV_ENOENT);
    cr_expect_not_null(strstr(err, "/iscsi"));
    cr_expect_eq(s.n_targets, 0);
}

Test(lio_scan, no_target_yet_is_an_empty_snapshot)
{
    folder("iscsi/discovery_auth");
    cr_assert_eq(scan(), 0);
    cr_expect_eq(s.n_targets, 0);
}

Test(lio_scan, malformed_names_and_files_are_left_out_and_said)
{
    static char endless[3 * LIO_FILE_BYTES];

    make_tree();
    memset(endless, 'i', sizeof endless);
    folder(GROUP "/acls/not a name");
    folder(GROUP "/lun/lun_99999");
    folder(GROUP "/lun/lun_1x");
    file_bytes(GROUP "/dynamic_sessions", endless, sizeof endless);
    file_bytes(GROUP "/acls/iqn.2026-01.example:host-b/info",
               "LIO Session ID: 99999999999999999999\0   Address \xff\x01", 49);
    cr_assert_eq(scan(), 0);
    cr_expect(s.cut);
    cr_expect_eq(s.n_luns, 2);
    cr_expect_eq(s.n_nexuses, 2);
}

Test(lio_scan, special_files_and_links_are_not_followed)
{
    char whole[1024];

    make_tree();
    full(GROUP "/dynamic_sessions", whole);
    cr_assert_eq(unlink(whole), 0);
    cr_assert_eq(mkfifo(whole, 0600), 0); /* opening it the plain way would wait for ever */
    full(GROUP "/enable", whole);
    cr_assert_eq(unlink(whole), 0);
    link_to(GROUP "/enable", "/etc/passwd");
    full("iscsi/iqn.loop", whole);
    link_to("iscsi/iqn.loop", "..");
    folder("elsewhere");
    file("elsewhere/info", info);
    link_to(GROUP "/acls/iqn.2026-01.example:link", "../../../../elsewhere");
    cr_assert_eq(scan(), 0);
    cr_expect(s.cut);
    cr_expect_eq(s.n_targets, 1);
    cr_expect_not(s.targets[0].online);
    cr_expect_eq(s.n_nexuses, 1);
}

Test(lio_scan, more_than_the_bounds_is_left_out)
{
    char path[256];

    for (int i = 0; i < SNAPSHOT_MAX_TARGETS + 3; i++) {
        snprintf(path, sizeof path, "iscsi/iqn.t%d/tpgt_1", i);
        folder(path);
    }
    cr_assert_eq(scan(), 0);
    cr_expect(s.cut);
    cr_expect_eq(s.n_targets, SNAPSHOT_MAX_TARGETS);
}

/* What was not seen must not pass for gone. */
Test(lio_scan, without_descriptors_it_fails_and_shows_no_half)
{
    struct rlimit was, now;
    int rc, lowest;

    make_tree();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    lowest = open("/dev/null", O_RDONLY);
    for (unsigned depth = 1; depth <= 4; depth++) { /* fabric, target, group and a file, a folder of units */
        now = (struct rlimit){.rlim_cur = (rlim_t)lowest + depth, .rlim_max = was.rlim_max};
        close(lowest);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
        rc = scan();
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
        cr_expect_eq(rc, UV_EMFILE, "depth %u: %d", depth, rc);
        cr_expect_eq(s.n_targets, 0);
        cr_assert_eq(open("/dev/null", O_RDONLY), lowest);
    }
    close(lowest);
    cr_expect_eq(scan(), 0);
    cr_expect_not(s.cut);
}
