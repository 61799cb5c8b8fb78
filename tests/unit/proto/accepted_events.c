/* SPDX-License-Identifier: Apache-2.0 */
/* Writes events that event_scan accepts, damaged ones among them, each with our JSON of it: four bytes of length (big
 * endian) before each of the two. test_stock_decoder.py reads them. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/event_view.h"
#include "proto/json.h"
#include "tests/lib/sample_event.h"

#define N_SAMPLES   300
#define N_MUTATIONS 40

static void write_piece(const void *bytes, size_t len)
{
    uint32_t prefix = htonl((uint32_t)len);
    if (fwrite(&prefix, sizeof(prefix), 1, stdout) != 1 || (len && fwrite(bytes, len, 1, stdout) != 1)) {
        perror("accepted_events: write");
        exit(1);
    }
}

static void write_if_accepted(const uint8_t *bytes, size_t len)
{
    struct event_view view;
    struct event_limits limits = {.allow_broker_fields = true};
    struct json_buffer json = {0};
    char err[120];

    if (event_scan(bytes, len, &limits, &view, err, sizeof(err)) != 0)
        return;
    Sensebus__V1__Event *event = sensebus__v1__event__unpack(NULL, len, bytes);
    if (!event || json_print(&event->base, JSON_LINE, &json) != 0) {
        fprintf(stderr, "accepted_events: protobuf-c does not take an accepted event\n");
        exit(1);
    }
    write_piece(bytes, len);
    write_piece(json.text, json.len);
    json_buffer_deinit(&json);
    sensebus__v1__event__free_unpacked(event, NULL);
}

int main(void)
{
    uint64_t seed = 11, random = 12;
    for (int i = 0; i < N_SAMPLES; i++) {
        static struct sample_event sample;
        static uint8_t bytes[8192], damaged[sizeof(bytes)];
        sample_event_make(&sample, &seed);
        size_t len = sensebus__v1__event__pack(&sample.event, bytes);
        write_if_accepted(bytes, len);
        for (int k = 0; k < N_MUTATIONS; k++) {
            uint64_t r = sample_random(&random);
            memcpy(damaged, bytes, len);
            damaged[(r >> 8) % len] = (uint8_t)(r >> 40);
            write_if_accepted(damaged, r % 3 ? len : (r >> 16) % len);
        }
    }
    return 0;
}
