/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/coverage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "sensebus/v1/agents.pb-c.h"

#define ISCSI SENSEBUS__V1__SOURCE__SOURCE_ISCSI
#define OFF   SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define ARMED SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED

Test(coverage, tells_each_source_with_its_reason)
{
    struct coverage c = {0};
    Sensebus__V1__AgentMessage *m;
    uint8_t *bytes;
    size_t len;

    cr_assert_eq(coverage_set(&c, ISCSI, "iqn.a", OFF, "not \xff reachable"), 0);
    for (int i = 0; i < 20; i++) {
        char name[32];

        snprintf(name, sizeof name, "iqn.%d", i);
        cr_assert_eq(coverage_set(&c, ISCSI, name, ARMED, ""), 0);
    }
    coverage_prove(&c, ISCSI, "iqn.a", 77);
    coverage_prove(&c, ISCSI, "iqn.unknown", 78);
    cr_assert_eq(coverage_encode(&c, &bytes, &len), 0);
    m = sensebus__v1__agent_message__unpack(NULL, len, bytes);
    cr_assert_not_null(m);
    cr_assert_eq(m->coverage->n_sources, 21);
    cr_assert_eq(m->coverage->sources[0]->state, OFF);
    cr_assert_str_eq(m->coverage->sources[0]->reason, "not \xef\xbf\xbd reachable");
    cr_assert_eq(m->coverage->sources[0]->last_proof_unix_ns, 77);
    sensebus__v1__agent_message__free_unpacked(m, NULL);
    free(bytes);
    coverage_free(&c);
}

Test(coverage, its_version_grows_with_news_only)
{
    struct coverage c = {0};
    uint64_t version;

    coverage_set(&c, ISCSI, "iqn.a", OFF, "away");
    version = c.version;
    coverage_set(&c, ISCSI, "iqn.a", OFF, "away");
    coverage_prove(&c, ISCSI, "iqn.a", 5);
    cr_assert_eq(c.version, version);
    coverage_set(&c, ISCSI, "iqn.a", OFF, "refused");
    cr_assert_eq(c.version, version + 1);
    cr_assert_eq(c.n, 1);
    coverage_free(&c);
}
