/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a log's file: the check survives them, and calls nothing clean that a broker would not open. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/check.h"
#include "runtime/store_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64], path[96];

static void remove_directory(void)
{
    unlink(path);
    rmdir(directory);
}

static void make_directory(void)
{
    strcpy(directory, access("/dev/shm", W_OK) == 0 ? "/dev/shm/sensebus-fuzz.XXXXXX" : "/tmp/sensebus-fuzz.XXXXXX");
    if (!mkdtemp(directory))
        abort();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    atexit(remove_directory);
}

static void on_hole(void *out_found, const struct check_hole *hole)
{
    if (hole->first > hole->last || !hole->reason[0])
        abort();
    *(bool *)out_found = true;
}

static void on_fault(void *out_found, const struct check_fault *fault)
{
    if (!fault->reason[0])
        abort();
    *(bool *)out_found = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct check_ops ops = {.on_hole = on_hole, .on_fault = on_fault};
    struct check_summary summary;
    bool found = false;
    char err[256];

    if (!path[0])
        make_directory();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    int sound = store_image_check(directory), rc = check_log(directory, true, &ops, &found, &summary, err, sizeof err);
    if (rc == 0 && !found && sound != 0)
        abort();
    if (rc != 0 && !err[0])
        abort();
    check_log(directory, false, &ops, &found, &summary, err, sizeof err);
    return 0;
}
