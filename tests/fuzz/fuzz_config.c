/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a configuration file: read, or refused with the file's name in front. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config.h"
#include "runtime/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *directory = NULL, *durability = NULL, *key = NULL;
    uint64_t age_ms = 0, bytes = 0;
    bool insecure = false;
    const struct option options[] = {
        {.name = "data", .kind = OPTION_STRING, .value = &directory},
        {.name = "durability", .kind = OPTION_CHOICE, .value = &durability, .argument = "sync|relaxed"},
        {.name = "tls-key", .kind = OPTION_STRING, .value = &key},
        {.name = "retain-age", .kind = OPTION_DURATION, .value = &age_ms},
        {.name = "log-max-bytes", .kind = OPTION_SIZE, .value = &bytes, .min = 1, .max = 1 << 30},
        {.name = "insecure", .kind = OPTION_FLAG, .value = &insecure},
    };
    struct config config;
    char err[1024] = "";

    if (config_parse("file", data, size, options, sizeof options / sizeof *options, &config, err, sizeof err) == 0) {
        for (size_t i = 0; i < config.n_listen; i++)
            if (!config.listen[i][0])
                abort();
        for (size_t i = 0; i < config.principals.n_rules; i++)
            if (!config.principals.rules[i].roles)
                abort();
        if (directory && !directory[0])
            abort();
    } else if (strncmp(err, "file:", 5) != 0 || config.document || config.principals.rules) {
        abort();
    }
    config_deinit(&config);
    return 0;
}
