/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus store: hands over to sensebus-store, which comes with the broker. Clients know nothing of how a broker keeps
 * its log; the log can be looked at only where the broker's data is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"

#define PROGRAM "sensebus-store"

/* The program beside this one, as both are installed together. */
static void run_beside(char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof PROGRAM);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash) {
        memcpy(slash + 1, PROGRAM, sizeof PROGRAM);
        execv(path, argv);
    }
}

int store_run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    run_beside(argv);
    execvp(PROGRAM, argv);
    if (errno == ENOENT)
        cli_error(cli, PROGRAM " is not on this machine: it comes with the broker");
    else
        cli_error(cli, "cannot run " PROGRAM ": %s", strerror(errno));
    return EXIT_FAILED;
}
