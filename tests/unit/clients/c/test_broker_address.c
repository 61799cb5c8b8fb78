/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/broker_address.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

static const struct {
    const char *text, *complete;
    bool local;
} GOOD[] = {
    {"127.0.0.1:7070", "127.0.0.1:7070", true},
    {"127.9.8.7", "127.9.8.7:7070", true},
    {"localhost", "localhost:7070", true},
    {"LocalHost:1", "LocalHost:1", true},
    {"[::1]", "[::1]:7070", true},
    {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", true},
    {"unix:/run/x.sock", "unix:/run/x.sock", true},
    {"grpc://127.0.0.1", "127.0.0.1:7070", true},
    {"grpc://unix:x", "unix:x", true},
    {"broker", "broker:7070", false},
    {"localhost.example:1", "localhost.example:1", false},
    {"127.0.0.1.example:1", "127.0.0.1.example:1", false},
    {"10.0.0.1", "10.0.0.1:7070", false},
    {"0.0.0.0:1", "0.0.0.0:1", false},
    {"[2001:db8::1]", "[2001:db8::1]:7070", false},
    {"[::]:1", "[::]:1", false},
    {"grpc://broker:1", "broker:1", false},
    {"tls://localhost", "tls://localhost:7070", true},
    {"tls://[::1]", "tls://[::1]:7070", true},
    {"tls://broker", "tls://broker:7070", false},
    {"tls://10.0.0.1:1", "tls://10.0.0.1:1", false},
};

Test(broker_address, is_completed)
{
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        char out[BROKER_ADDRESS_BYTES] = "", err[400] = "";
        cr_expect_eq(broker_address_complete(GOOD[i].text, true, out, err, sizeof err), 0, "%s: %s", GOOD[i].text, err);
        cr_expect_str_eq(out, GOOD[i].complete);
        cr_expect_eq(broker_address_is_local(out), GOOD[i].local, "%s", out);
    }
}

Test(broker_address, beyond_this_machine_needs_insecure_and_the_error_says_so)
{
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        char out[BROKER_ADDRESS_BYTES] = "", err[400] = "";
        int rc = broker_address_complete(GOOD[i].text, false, out, err, sizeof err);
        bool fine = GOOD[i].local || broker_address_is_tls(GOOD[i].complete);
        cr_expect_eq(rc, fine ? 0 : UV_EACCES, "%s", GOOD[i].text);
        if (rc < 0)
            cr_expect(strstr(err, GOOD[i].complete) && strstr(err, "--insecure") && strstr(err, "tls://"), "%s", err);
    }
}

Test(broker_address, the_scheme_of_tls_is_known_and_taken_off)
{
    cr_expect(broker_address_is_tls("tls://broker:7070"));
    cr_expect_not(broker_address_is_tls("broker:7070"));
    cr_expect_str_eq(broker_address_plain("tls://broker:7070"), "broker:7070");
    cr_expect_str_eq(broker_address_plain("broker:7070"), "broker:7070");
}

Test(broker_address, what_is_none_is_refused_by_name)
{
    static const char *const bad[] = {"",          ":7070", "http://x", "tls://grpc://x", "tls://unix:/x",
                                      "host:port", "[::1",  "::1",      "unix:",          "grpc://"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char out[BROKER_ADDRESS_BYTES] = "", err[400] = "";
        cr_expect_eq(broker_address_complete(bad[i], true, out, err, sizeof err), UV_EINVAL, "%s", bad[i]);
        cr_expect(*err && strstr(err, strncmp(bad[i], "grpc", 4) == 0 ? "no host" : bad[i]), "'%s': %s", bad[i], err);
        cr_expect_not(broker_address_is_local(bad[i]));
    }
    char text[400] = "", out[BROKER_ADDRESS_BYTES], err[400];
    memset(text, 'x', sizeof text - 1);
    cr_expect_eq(broker_address_complete(text, true, out, err, sizeof err), UV_EINVAL);
    cr_expect(strstr(err, "longer than 299 bytes"), "%s", err);
}
