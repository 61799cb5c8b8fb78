/* SPDX-License-Identifier: Apache-2.0 */
/* Be called when the first session of a device opens, when the last one closes, and for one private event, from a loop
 * that waits for other things too.
 *
 *   cc listen.c -o listen $(pkg-config --cflags --libs sensebus)
 *   ./listen 127.0.0.1:7070          # ends with the end of its standard input */
#include <errno.h>
#include <poll.h>
#include <sensebus.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TAPE_MOUNTED SB_SDI_PRIVATE /* agreed with who sends it */

static int on_call(void *event_info, const struct sb_handler_call *call)
{
    printf("%s: %s %d:%d:%d:%d\n", (const char *)event_info, call->address.host, (int)call->address.controller,
           (int)call->address.bus, (int)call->address.target, (int)call->address.lun);
    fflush(stdout);
    /* The verdict: a notifier hears whether every handler said OK. */
    return SB_SDI_OK;
}

static int add(struct sb *sb, int type, const char *name)
{
    static const struct sb_scsi_adr any = SB_SCSI_ADR_ANY;
    struct sb_sdi_event event;
    uint64_t handler;

    memset(&event, 0, sizeof event);
    event.event_type = type;
    event.flags = SB_ANY_DEVICE_TYPE;
    event.address = any;
    event.handler = on_call;
    event.event_info = (void *)name;
    if (sb_add_event(sb, &event, &handler) == 0)
        return 0;
    fprintf(stderr, "%s: %s: %s\n", name, strerror(errno), sb_message(sb));
    return -1;
}

static int run(struct sb *sb)
{
    struct pollfd fds[2];
    char byte;

    if (add(sb, SB_SDI_FIRSTOPEN, "first open") < 0 || add(sb, SB_SDI_LASTCLOSE, "last close") < 0 ||
        add(sb, SB_SDI_LASTCLOSE_ERR, "last close, with errors") < 0 || add(sb, TAPE_MOUNTED, "tape mounted") < 0)
        return 1;
    puts("listening");
    fflush(stdout);
    fds[0].fd = sb_fd(sb);
    fds[1].fd = STDIN_FILENO;
    fds[0].events = fds[1].events = POLLIN;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (fds[1].revents && read(STDIN_FILENO, &byte, 1) <= 0)
            return 0;
        if (fds[0].revents && sb_dispatch(sb, 0) < 0) {
            fprintf(stderr, "%s\n", sb_message(sb));
            return 1;
        }
    }
}

int main(int argc, char **argv)
{
    struct sb *sb;
    char why[256];
    int status;

    if (sb_open(argc > 1 ? argv[1] : NULL, NULL, &sb, why, sizeof why) < 0) {
        fprintf(stderr, "cannot connect: %s\n", why);
        return 1;
    }
    status = run(sb);
    sb_close(sb);
    return status;
}
