/* SPDX-License-Identifier: Apache-2.0 */
/* Sense data of any content and length: decoded, classified and put into words. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/registry.h"
#include "proto/sense.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sense sense;
    char text[SENSE_TEXT_BYTES];

    if (sense_decode(data, size, &sense) != 0)
        return 0;
    uint32_t code = registry_classify_sense(sense.response_code, sense.key, sense.asc, sense.ascq);
    if (code != 0 && !registry_find(code))
        abort();
    if ((sense.deferred || sense.key == 6) && code == 0)
        abort();
    if (strlen(sense_text(sense.asc, sense.ascq, text)) >= sizeof(text) || !*sense_key_name(sense.key))
        abort();
    return 0;
}
