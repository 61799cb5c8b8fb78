/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "clients/c/sensebus.h"
#include "tests/unit/clients/c/face/fake_face.h"

static void refused(const char *address, const struct sb_options *options, int error, const char *text)
{
    struct sb *sb = (struct sb *)&sb;
    char err[512] = "";
    cr_assert_eq(sb_open(address, options, &sb, err, sizeof err), -1);
    cr_assert_eq(errno, error, "%s: %s: %s", address, strerror(errno), err);
    cr_assert(strstr(err, text), "%s", err);
    cr_assert_eq(sb, (struct sb *)&sb);
    cr_assert_eq(sb_open(address, options, &sb, NULL, 0), -1);
}

Test(handle, what_is_wrong_with_opening_is_said)
{
    refused("http://x", NULL, EINVAL, "http://x");
    refused("unix:/nonexistent/s", NULL, ENOTCONN, "no such file");
    refused("192.0.2.1:7070", NULL, EACCES, "beyond this machine");
    refused("tls://localhost", NULL, EINVAL, "certificate");
    refused("localhost", &(struct sb_options){.tls_authority = "ca.pem"}, EINVAL, "not encrypted");
    refused("tls://localhost", &(struct sb_options){.tls_authority = "/nonexistent", .tls_certificate = "/nonexistent"},
            ENOENT, "/nonexistent");
    refused(NULL, &(struct sb_options){.flags = 4}, EINVAL, "flags");
    refused(NULL, &(struct sb_options){.deadline_ms = 600001}, EINVAL, "deadline_ms");
    refused(NULL, &(struct sb_options){.connect_ms = UINT32_MAX}, EINVAL, "connect_ms");
    refused(NULL, &(struct sb_options){.reserved_number = 1}, EINVAL, "reserved");
    refused(NULL, &(struct sb_options){.reserved = {"x"}}, EINVAL, "reserved");
}

Test(handle, closing_nothing_is_fine)
{
    cr_assert_eq(sb_close(NULL), 0);
}

/* Of the first object, which is this program, with the library in it. */
static int thread_storage(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            *(size_t *)out = info->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

/* Thread-local storage is cut from the stack of each of them: a large one leaves none of a small stack. */
Test(handle, threads_of_a_program_keep_their_stacks)
{
    size_t bytes = 0;
    dl_iterate_phdr(thread_storage, &bytes);
    cr_assert_lt(bytes, 32 * 1024);
}

Test(handle, a_handle_is_closed_with_or_without_its_broker)
{
    struct fake_face fake;
    struct sb *one, *two;
    fake_face_init(&fake);
    cr_assert_eq(sb_open(fake.address, NULL, &one, NULL, 0), 0);
    cr_assert_eq(sb_open(fake.address, NULL, &two, NULL, 0), 0);
    cr_assert_eq(sb_close(one), 0);
    fake_face_deinit(&fake);
    cr_assert_eq(sb_dispatch(two, 20000), -1);
    cr_assert_eq(errno, ENOTCONN);
    cr_assert_eq(sb_close(two), 0);
}

/* The broker drops who does not answer its pings; a program that computes for long keeps its session all the same. */
Test(handle, pings_are_answered_while_the_program_is_elsewhere)
{
    struct fake_face fake;
    struct sb *sb;
    fake_face_init_keepalive(&fake, 50, 2000);
    cr_assert_eq(sb_open(fake.address, NULL, &sb, NULL, 0), 0);
    usleep(4000000); /* who does not answer is dropped before that; who is only held up by the machine is not */
    cr_assert_eq(sb_halt(sb, "s1"), 0, "%s", sb_message(sb));
    sb_close(sb);
    fake_face_deinit(&fake);
}

static void on_alarm(int number)
{
    (void)number;
}

/* A program that waits without limit can be interrupted. */
Test(handle, a_signal_interrupts_waiting_but_no_operation)
{
    struct fake_face fake;
    struct sb *sb;
    struct sb_pollpri silent = {"silence", 0};
    const struct itimerval again = {.it_interval = {0, 20000}, .it_value = {0, 20000}}, never = {0};
    fake_face_init(&fake);
    cr_assert_eq(sb_open(fake.address, NULL, &sb, NULL, 0), 0);
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &again, NULL);
    cr_assert_eq(sb_dispatch(sb, -1), -1);
    cr_assert_eq(errno, EINTR);
    cr_assert_eq(sb_poll_pri(sb, &silent, 1, -1), -1);
    cr_assert_eq(errno, EINTR);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(sb_halt(sb, "s1"), 0);
    setitimer(ITIMER_REAL, &never, NULL);
    sb_close(sb);
    fake_face_deinit(&fake);
}

static void *use_handle(void *data)
{
    struct sb *sb;
    uint32_t events;
    size_t failures = sb_open(data, NULL, &sb, NULL, 0) != 0;
    for (int i = 0; !failures && i < 200; i++)
        failures += sb_tm_event(sb, "events:4", 0, &events) != 0 || events != 4;
    sb_close(sb);
    return (void *)failures;
}

Test(handle, each_thread_may_have_its_own)
{
    enum { THREADS = 8 };
    struct fake_face fake;
    pthread_t threads[THREADS];
    fake_face_init(&fake);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, use_handle, fake.address), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        cr_assert_null(failures);
    }
    fake_face_deinit(&fake);
}
