/* SPDX-License-Identifier: Apache-2.0 */
/* The source on the kernel's own socket, in a network namespace of its own: who may, can let the kernel send a uevent
 * there (uevent_net_rcv of lib/kobject_uevent.c). Where that is not allowed there is nothing to test. */
#include "agent/source/uevent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/code.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/recorder.h"

#define DISK "/devices/pseudo_0/adapter0/host0/target0:0:0/0:0:0:4"
#define UA   "SUBSYSTEM=scsi;SDEV_UA=MODE_PARAMETERS_CHANGED;DEVTYPE=scsi_device"

static struct test_loop loop;
static struct recorder r;
static struct source *source;

static void teardown(void)
{
    if (!source)
        return;
    uevent_source.stop(source, recorder_stopped, &r);
    test_loop_until(&loop, &r.stopped);
    test_loop_deinit(&loop);
}

TestSuite(uevent, .fini = teardown);

static int open_sender(void)
{
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    return fd;
}

static size_t build(char *out, size_t cap, const char *action, const char *path, const char *rest)
{
    int n = snprintf(out, cap, "%s@%s;ACTION=%s;DEVPATH=%s;%s;", action, path, action, path, rest);

    for (int i = 0; i < n; i++)
        if (out[i] == ';')
            out[i] = 0;
    return (size_t)n;
}

/* Let the kernel send it to the namespace of `fd`. Returns 0 or an errno. */
static int inject(int fd, const char *action, const char *path, const char *rest)
{
    struct {
        struct nlmsghdr header;
        char text[1900];
    } message = {.header.nlmsg_type = NLMSG_MIN_TYPE, .header.nlmsg_flags = NLM_F_REQUEST};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    size_t len = sizeof message.header + build(message.text, sizeof message.text, action, path, rest);

    message.header.nlmsg_len = (uint32_t)len;
    return sendto(fd, &message, len, 0, (struct sockaddr *)&kernel, sizeof kernel) == (ssize_t)len ? 0 : errno;
}

static bool is_covered(void *data)
{
    (void)data;
    return r.n_coverage > 0;
}

/* Criterion keeps the reason to itself. */
#define SKIP(...)                                                                                                      \
    do {                                                                                                               \
        fprintf(stderr, "skipped: " __VA_ARGS__);                                                                      \
        fputc('\n', stderr);                                                                                           \
        cr_skip_test(__VA_ARGS__);                                                                                     \
    } while (0)

/* A namespace of our own with the source in it. Skips the test where that cannot be. */
static int start(void)
{
    struct source_options options = {.loop = &loop.loop, .sysfs_root = "/sys"};
    char reason[SOURCE_REASON_BYTES];
    int fd, error = unshare(CLONE_NEWNET) == 0 ? 0 : errno;

    if (error)
        SKIP("no network namespace of our own: %s", strerror(error));
    if (uevent_source.check(&options, reason, sizeof reason) == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF)
        SKIP("%s", reason);
    fd = open_sender();
    error = inject(fd, "change", "/devices/x", "SUBSYSTEM=x");
    if (error)
        SKIP("the kernel sends no uevent for us: %s", strerror(error));
    test_loop_init(&loop);
    cr_assert_eq(uevent_source.start(&options, &recorder_ops, &r, &source), 0);
    cr_assert_eq(r.n_coverage, 0, "nothing before start returned");
    cr_assert(test_loop_until_true(&loop, is_covered, NULL));
    cr_assert_neq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, "%s", r.reason);
    return fd;
}

static bool has_one(void *data)
{
    (void)data;
    return r.n > 0;
}

Test(uevent, what_the_kernel_sends_is_an_observation)
{
    int fd = start();

    cr_assert_eq(uevent_source.last_proof(source), 0);
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    cr_assert(test_loop_until_true(&loop, has_one, NULL));
    cr_assert_eq(r.seen[0].o.code, SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED);
    cr_assert_eq(r.seen[0].o.place.lun, 4);
    cr_assert_gt(uevent_source.last_proof(source), 0);
    cr_assert_eq(r.n_lost + r.n_doubts, 0);
    close(fd);
}

/* What the table says in a user namespace of our own: only a process with one thread may make one. */
static uint32_t check_elsewhere(char reason[SOURCE_REASON_BYTES])
{
    struct source_options options = {.sysfs_root = "/sys"};
    struct {
        int error;
        uint32_t state;
        char reason[SOURCE_REASON_BYTES];
    } said = {0};
    int ends[2], status;
    pid_t child;

    cr_assert_eq(pipe(ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        said.error = unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno;
        if (!said.error)
            said.state = uevent_source.check(&options, said.reason, sizeof said.reason);
        _exit(write(ends[1], &said, sizeof said) == sizeof said ? 0 : 1);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], &said, sizeof said), sizeof said);
    close(ends[0]);
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
    if (said.error)
        SKIP("no user namespace of our own: %s", strerror(said.error));
    memcpy(reason, said.reason, sizeof said.reason);
    return said.state;
}

Test(uevent, in_the_network_namespace_of_another_user_namespace_it_is_off_and_says_so)
{
    char reason[SOURCE_REASON_BYTES];

    cr_assert_eq(check_elsewhere(reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_assert_not_null(strstr(reason, "run the agent in the host's network namespace"), "%s", reason);
}

Test(uevent, what_another_process_sends_is_not)
{
    struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1};
    int fd = start();
    char text[512];
    size_t len = build(text, sizeof text, "change", DISK, UA);

    cr_assert_eq(sendto(fd, text, len, 0, (struct sockaddr *)&group, sizeof group), (ssize_t)len);
    cr_assert_eq(inject(fd, "change", DISK, "SUBSYSTEM=scsi;SDEV_UA=INQUIRY_DATA_HAS_CHANGED"), 0);
    cr_assert(test_loop_until_true(&loop, has_one, NULL));
    cr_assert_eq(r.seen[0].o.code, SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED, "only the kernel's");
    cr_assert_eq(r.n, 1);
    close(fd);
}

static bool has_doubt(void *data)
{
    (void)data;
    return r.n_doubts > 0;
}

Test(uevent, a_gap_in_the_numbers_is_a_doubt_and_no_loss)
{
    int elsewhere = -1, fd;

    if (unshare(CLONE_NEWNET) == 0)
        elsewhere = open_sender();
    fd = start();
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    cr_assert_eq(inject(elsewhere, "change", "/devices/x", "SUBSYSTEM=x"), 0);
    cr_assert_eq(inject(elsewhere, "change", "/devices/x", "SUBSYSTEM=x"), 0);
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    cr_assert(test_loop_until_true(&loop, has_doubt, NULL));
    cr_assert_eq(r.n, 2);
    cr_assert_eq(r.n_lost, 0);
    close(elsewhere);
    close(fd);
}

static bool has_lost(void *data)
{
    (void)data;
    return r.n_lost > 0;
}

static bool has_two(void *data)
{
    (void)data;
    return r.n == 2;
}

/* The source's own socket: the one that is in the kernel's group. */
static int find_socket(void)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_nl own = {0};
        socklen_t len = sizeof own;

        if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.nl_family == AF_NETLINK && own.nl_groups == 1)
            return fd;
    }
    return -1;
}

static bool is_off(void *data)
{
    (void)data;
    return r.state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF;
}

static bool has_lost_twice(void *data)
{
    (void)data;
    return r.n_lost == 2;
}

Test(uevent, a_socket_that_fails_is_a_loss_until_there_is_another)
{
    int fd = start(), own = find_socket(), kept = dup(own), nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint64_t broken;

    cr_assert(own >= 0 && kept >= 0 && nothing >= 0);
    cr_assert_eq(dup2(nothing, own), own); /* the loop still watches the socket, and reads something else */
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    cr_assert(test_loop_until_true(&loop, is_off, NULL));
    close(kept);
    close(nothing);
    cr_assert_not_null(strstr(r.reason, "failed"), "%s", r.reason);
    cr_assert(r.n_lost == 1 && r.n == 0);
    broken = r.lost_to;
    cr_assert(test_loop_until_true(&loop, has_lost_twice, NULL), "it listens again");
    cr_assert_neq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_assert(r.lost_from >= broken && r.lost_to >= r.lost_from);
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    cr_assert(test_loop_until_true(&loop, has_one, NULL));
    close(fd);
}

Test(uevent, a_full_buffer_is_a_loss_and_what_was_in_it_is_read)
{
    int fd = start();
    char rest[1600] = "SUBSYSTEM=x;FILL=";

    memset(rest + strlen(rest), 'x', sizeof rest - strlen(rest) - 1);
    cr_assert_eq(inject(fd, "change", DISK, UA), 0);
    for (int i = 0; i < 20000; i++)
        cr_assert_eq(inject(fd, "change", "/devices/x", rest), 0);
    cr_assert(test_loop_until_true(&loop, has_lost, NULL));
    cr_assert_eq(r.n, 1, "the loss is told when what was held is read");
    cr_assert_eq(r.n_lost, 1);
    cr_assert_not_null(strstr(r.lost_reason, "faster than they were read"));
    cr_assert_leq(r.lost_from, r.lost_to);
    cr_assert_eq(inject(fd, "change", DISK, "SUBSYSTEM=scsi;SDEV_UA=INQUIRY_DATA_HAS_CHANGED"), 0);
    cr_assert(test_loop_until_true(&loop, has_two, NULL), "it goes on");
    cr_assert_eq(r.n_lost, 1);
    close(fd);
}
