/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime/notify.h"

/* A service manager's socket with an abstract name; returns its descriptor and sets NOTIFY_SOCKET. */
static int manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int len = snprintf(name, sizeof name, "@sensebus-test-%d", (int)getpid());
    memcpy(address.sun_path, name, (size_t)len);
    address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, address_len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

Test(notify, tells_the_manager_that_started_us)
{
    int fd = manager();
    char text[32] = "";
    notify_manager("READY=1");
    cr_assert_eq(recv(fd, text, sizeof text - 1, MSG_DONTWAIT), 7);
    cr_assert_str_eq(text, "READY=1");
    close(fd);
}

Test(notify, says_when_a_reload_began)
{
    int fd = manager();
    char text[64] = "";
    unsigned long long usec = 0;
    int at = 0;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    notify_reloading();
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_assert_gt(recv(fd, text, sizeof text - 1, MSG_DONTWAIT), 0);
    cr_assert_eq(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%llu%n", &usec, &at), 1, "%s", text);
    cr_assert_eq(text[at], 0);
    cr_assert_geq(usec, (unsigned long long)before.tv_sec * 1000000 + (unsigned long long)before.tv_nsec / 1000);
    cr_assert_leq(usec, (unsigned long long)after.tv_sec * 1000000 + (unsigned long long)after.tv_nsec / 1000);
    close(fd);
}

Test(notify, is_silent_without_a_manager_and_survives_a_bad_name)
{
    static const char *const names[] = {"", "/", "relative", "/nonexistent/socket"};
    unsetenv("NOTIFY_SOCKET");
    notify_manager("READY=1");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_manager("READY=1");
    }
    char longer[300];
    memset(longer, '/', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    setenv("NOTIFY_SOCKET", longer, 1);
    notify_manager("READY=1");
}
