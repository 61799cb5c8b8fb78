/* SPDX-License-Identifier: Apache-2.0 */
/* The way with offsets that the agent reads, on the running kernel: with the privileges, its verifier takes the
 * programs, and then there is no trace point of SCSI, or there is. */
#include "agent/source/trace/hook.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static char root[64], reason[HOOK_REASON_BYTES];
static const struct hook_api *const hooks[] = {&bpf_hook_api, &bpf_target_api};
enum { SCSI, TARGET, N_HOOKS };

static const char *path(const char *name)
{
    static char buf[160];

    snprintf(buf, sizeof buf, "%s/%s", root, name);
    return buf;
}

static void begin(void)
{
    snprintf(root, sizeof root, "/tmp/sensebus-bpf.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    cr_assert_eq(mkdir(path("kernel"), 0700), 0);
    cr_assert_eq(mkdir(path("kernel/btf"), 0700), 0);
}

static void end(void)
{
    unlink(path("kernel/btf/vmlinux"));
    rmdir(path("kernel/btf"));
    rmdir(path("kernel"));
    rmdir(root);
}
TestSuite(bpf_hook, .init = begin, .fini = end);

/* Tries it with `types` for the kernel's. False when the privileges are missing, which the reason says. */
static bool tried(int which, const char *types)
{
    const struct hook_api *api = hooks[which];
    struct hook *hook = NULL;
    char why[HOOK_REASON_BYTES];
    int rc;

    unlink(path("kernel/btf/vmlinux"));
    cr_assert_eq(symlink(types, path("kernel/btf/vmlinux")), 0);
    reason[0] = 0;
    rc = api->open(root, &hook, reason, sizeof reason);
    if (rc == 0) {
        api->close(hook);
        return true;
    }
    cr_assert_eq(rc, UV_ENOTSUP);
    cr_assert(reason[0]);
    if (strstr(reason, "CAP_BPF") || strstr(reason, strerror(ENOSYS))) {
        fprintf(stderr, "not allowed here: %s\n", reason);
        return false;
    }
    cr_expect(api->possible(root, why, sizeof why));
    return true;
}

static void expect_taken(int which, const char *types)
{
    static const char *const points[] = {"no trace point scsi_dispatch_cmd_done", "no trace point target_cmd_complete"};

    if (tried(which, types) && reason[0])
        cr_expect(strstr(reason, points[which]), "%s", reason);
}

Test(bpf_hook, is_taken_by_the_verifier)
{
    expect_taken(SCSI, KERNEL_TYPES);
    expect_taken(TARGET, KERNEL_TYPES);
}

Test(bpf_hook, is_taken_where_the_command_is_a_pointer)
{
    expect_taken(SCSI, KERNEL_TYPES_5_17);
}

Test(bpf_hook, names_the_member_that_a_kernel_lacks)
{
    if (tried(SCSI, KERNEL_TYPES_WITHOUT_LUN) && reason[0])
        cr_expect_str_eq(reason, "the kernel's types have no scsi_device.lun");
    if (tried(TARGET, KERNEL_TYPES_WITHOUT_LUN) && reason[0])
        cr_expect_str_eq(reason, "the kernel's types have no se_cmd.orig_fe_lun");
}

Test(bpf_hook, is_not_possible_without_types)
{
    for (int i = 0; i < N_HOOKS; i++) {
        struct hook *hook = NULL;

        cr_expect_not(hooks[i]->possible(root, reason, sizeof reason));
        cr_expect(strstr(reason, "kernel/btf/vmlinux: No such file or directory"), "%s", reason);
        cr_expect_eq(hooks[i]->open(root, &hook, reason, sizeof reason), UV_ENOTSUP);
        cr_expect_null(hook);
    }
}

Test(bpf_hook, refuses_types_that_are_none)
{
    FILE *f = fopen(path("types"), "w");
    char types[160];

    cr_assert_not_null(f);
    fputs("\x9f\xeb\x01 and then nothing that is a type", f); /* the magic of BTF */
    fclose(f);
    snprintf(types, sizeof types, "%s", path("types"));
    for (int i = 0; i < N_HOOKS; i++)
        if (tried(i, types) && reason[0])
            cr_expect(strstr(reason, "kernel/btf/vmlinux: "), "%s", reason);
    unlink(types);
}
