/* SPDX-License-Identifier: Apache-2.0 */
/* reads DEVICE N: N direct reads of the first 4 KiB, one after the other, and nothing else. Prints the nanoseconds that
 * they took; in a guest whose clocks count instructions (run.sh --count), these. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BYTES 4096

static long long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    static char buf[BYTES] __attribute__((aligned(BYTES)));
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    int fd = n > 0 ? open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
    long long begin;

    if (fd < 0) {
        perror("reads DEVICE N");
        return 2;
    }
    begin = now_ns();
    for (long i = 0; i < n; i++)
        if (pread(fd, buf, BYTES, 0) != BYTES) {
            perror(argv[1]);
            return 1;
        }
    printf("%lld\n", now_ns() - begin);
    close(fd);
    return 0;
}
