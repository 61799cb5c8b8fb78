/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/hanging_call.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VARIABLE      "SENSEBUS_HANG"
#define SG_SCSI_RESET 0x2284
#define PATH_BYTES    1024

struct dirent *__real_readdir(DIR *folder);
int __real_ioctl(int fd, unsigned long request, ...);
struct dirent *__wrap_readdir(DIR *folder);
int __wrap_ioctl(int fd, unsigned long request, ...);

static bool path_of(const char *name, char out[PATH_BYTES])
{
    const char *folder = getenv(VARIABLE);

    return folder && snprintf(out, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES;
}

static void wait_for_writer(void)
{
    char fifo[PATH_BYTES], waiting[PATH_BYTES];
    int fd, before = errno;

    if ((pid_t)syscall(SYS_gettid) == getpid() || !path_of("hang", fifo) || !path_of("waiting", waiting) ||
        access(fifo, F_OK) < 0) {
        errno = before;
        return;
    }
    fd = open(waiting, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1)
        abort();
    close(fd);
    fd = open(fifo, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    errno = before;
}

struct dirent *__wrap_readdir(DIR *folder)
{
    wait_for_writer();
    return __real_readdir(folder);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (request == SG_SCSI_RESET)
        wait_for_writer();
    return __real_ioctl(fd, request, argument);
}

/* ------------------------------------------------------------------------------------------------ for tests */

void hanging_call_begin(void)
{
    char folder[] = "/tmp/sensebus-hang-XXXXXX", fifo[PATH_BYTES];

    if (!mkdtemp(folder) || setenv(VARIABLE, folder, 1) < 0 || !path_of("hang", fifo) || mkfifo(fifo, 0600) < 0)
        abort();
}

unsigned hanging_call_count(void)
{
    char waiting[PATH_BYTES];
    struct stat st;

    return path_of("waiting", waiting) && stat(waiting, &st) == 0 ? (unsigned)st.st_size : 0;
}

/* A call may have counted itself and not be at the FIFO yet: both ends are open until that has no name. */
void hanging_call_let_go(void)
{
    char fifo[PATH_BYTES], waiting[PATH_BYTES];
    int fd = path_of("hang", fifo) ? open(fifo, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0 || unlink(fifo) < 0)
        abort();
    close(fd);
    if (path_of("waiting", waiting))
        unlink(waiting);
    rmdir(getenv(VARIABLE));
}
