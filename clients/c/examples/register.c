/* SPDX-License-Identifier: Apache-2.0 */
/* Register for the events of a logical unit and print them, until the registration ends.
 *
 *   cc register.c -o register $(pkg-config --cflags --libs sensebus)
 *   ./register tls://broker:7070 db-07 iqn.2026-01.example:disks 3
 *
 * Certificates for tls:// come from SENSEBUS_CERTIFICATE, SENSEBUS_KEY and SENSEBUS_CA. */
#include <errno.h>
#include <sensebus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the correlator is for: it comes back with each event and says whose it is, without looking anything up. */
#define DEVICE_NUMBER 0x7f21

static void on_event(void *data, const struct sb_event_info *event)
{
    int *done = data;
    uint32_t device;
    sb_correlator_get_u32(event->correlator, event->correlator_len, &device);
    printf("device %#x: %s, events %#x, #%llu\n", (unsigned)device, event->code_name, (unsigned)event->events,
           (unsigned long long)event->sequence);
    if (event->events & SB_FATAL_HDW_ERR)
        printf("the adapter %s has failed: end the session\n", event->adap_devno);
    if (event->last)
        printf("the registration has ended: %s\n", event->reason);
    *done = event->last;
    fflush(stdout);
}

static int failed(const struct sb *sb, const char *what)
{
    fprintf(stderr, "%s: %s (%s): %s\n", what, strerror(errno), sb_detail_name(sb_detail(sb)), sb_message(sb));
    return 1;
}

static int run(struct sb *sb, char **argv)
{
    struct sb_address address = SB_ADDRESS_INIT;
    struct sb_started started;
    struct sb_registration registration;
    unsigned char correlator[SB_CORRELATOR_U32_BYTES];
    int done = 0;

    address.host = argv[2];
    address.target_name = argv[3];
    address.lun = atoi(argv[4]);
    if (sb_start(sb, &address, 0, &started) < 0)
        return failed(sb, "start");
    printf("%s %s answers, session %s\n", started.device.vendor, started.device.product, started.session);

    sb_correlator_put_u32(DEVICE_NUMBER, correlator);
    memset(&registration, 0, sizeof registration);
    registration.mode = SB_MODE_INITIATOR;
    registration.correlator = correlator;
    registration.correlator_len = sizeof correlator;
    registration.on_event = on_event;
    registration.data = &done;
    if (sb_event(sb, started.session, &registration) < 0)
        return failed(sb, "register");
    puts("registered");
    fflush(stdout);
    while (!done)
        if (sb_dispatch(sb, -1) < 0 && errno != EINTR)
            return failed(sb, "waiting for events");
    return 0;
}

int main(int argc, char **argv)
{
    struct sb_options options;
    struct sb *sb;
    char why[256];
    int status;

    if (argc != 5) {
        fprintf(stderr, "usage: register BROKER HOST TARGET LUN\n");
        return 2;
    }
    memset(&options, 0, sizeof options);
    if (strncmp(argv[1], "tls://", 6) == 0) {
        options.tls_certificate = getenv("SENSEBUS_CERTIFICATE");
        options.tls_key = getenv("SENSEBUS_KEY");
        options.tls_authority = getenv("SENSEBUS_CA");
    }
    if (sb_open(argv[1], &options, &sb, why, sizeof why) < 0) {
        fprintf(stderr, "cannot connect: %s\n", why);
        return 1;
    }
    status = run(sb, argv);
    sb_close(sb);
    return status;
}
