/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(list, .init = begin, .fini = end);

static Sensebus__V1__ListSessionsResponse *list(uint32_t size, const char *token, char *host)
{
    Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
    Sensebus__V1__ListSessionsResponse *response = NULL;
    char err[128];
    request.page_size = size;
    request.page_token = (char *)token;
    request.hosts = &host;
    request.n_hosts = host ? 1 : 0;
    cr_assert_eq(adapter_list(w.a, &request, &response, err, sizeof err), 0, "%s", err);
    return response;
}

Test(list, tells_what_a_session_is)
{
    started(&w, a, 4);
    registered(&w, a, "s1");
    ask_halt(&w, a, "s1");
    unit_reset(&w, 4);
    ask_start(&w, a, 5, false); /* not open yet */
    Sensebus__V1__ListSessionsResponse *r = list(0, "", NULL);
    cr_assert_eq(r->n_sessions, 1);
    const Sensebus__V1__Session *s = r->sessions[0];
    cr_assert_str_eq(s->session_id, "s1");
    cr_assert_eq(s->generation, 1);
    cr_assert_str_eq(s->address->host, "h");
    cr_assert_str_eq(s->address->adapter, "a");
    cr_assert_str_eq(s->address->target_name, "iqn.t");
    cr_assert_eq(s->address->target, 1);
    cr_assert_eq(s->address->lun, 4);
    cr_assert_eq(s->mode, SENSEBUS__V1__MODE__MODE_INITIATOR);
    cr_assert_str_eq(s->principal, "alice");
    cr_assert(s->registered && s->halted && !s->shared);
    cr_assert_eq(s->pending_events, 4);
    cr_assert_eq(s->since_unix_ns, w.wall_ns);
    cr_assert_eq(s->registered_unix_ns, w.wall_ns);
    cr_assert_eq(s->n_delivered, 1);
    cr_assert_eq(s->n_lost, 0);
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
}

Test(list, pages_cover_all_once_also_when_sessions_end_between)
{
    for (int lun = 0; lun < 5; lun++)
        started(&w, a, lun);
    Sensebus__V1__ListSessionsResponse *r = list(2, "", NULL);
    cr_assert_eq(r->n_sessions, 2);
    cr_assert_str_eq(r->next_page_token, "s2");
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
    ask_stop(&w, a, "s2");
    r = list(2, "s2", NULL);
    cr_assert_str_eq(r->sessions[0]->session_id, "s3");
    cr_assert_str_eq(r->next_page_token, "s4");
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
    r = list(2, "s4", NULL);
    cr_assert_eq(r->n_sessions, 1);
    cr_assert_str_eq(r->next_page_token, "");
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
    r = list(0, "", (char *)"x*");
    cr_assert_eq(r->n_sessions, 0);
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
    r = list(0, "", (char *)"h*");
    cr_assert_eq(r->n_sessions, 4);
    sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
}

Test(list, refuses_what_it_cannot_do)
{
    static const struct {
        uint32_t size;
        const char *token;
    } table[] = {{10001, ""}, {1, "x"}, {1, "s"}, {1, "s1z"}, {1, "s11111111111111111"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
        Sensebus__V1__ListSessionsResponse *response = NULL;
        char err[128] = "";
        request.page_size = table[i].size;
        request.page_token = (char *)table[i].token;
        cr_assert_eq(adapter_list(w.a, &request, &response, err, sizeof err), UV_EINVAL, "%zu", i);
        cr_assert_not_null(strstr(err, "ListSessionsRequest.page_"), "%s", err);
    }
}

/* Each entry costs a comparison with each session: a reader must not be able to ask for millions of them. */
Test(list, refuses_more_hosts_than_a_person_would_name)
{
    static char *many[257], long_one[4098];
    Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
    Sensebus__V1__ListSessionsResponse *response;
    char err[128], *p = long_one;
    for (size_t i = 0; i < 257; i++)
        many[i] = (char *)"*x";
    request.hosts = many;
    request.n_hosts = 257;
    cr_assert_eq(adapter_list(w.a, &request, &response, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "ListSessionsRequest.hosts: 257 entries, at most 256");
    memset(long_one, '*', sizeof long_one - 1);
    request.hosts = &p;
    request.n_hosts = 1;
    cr_assert_eq(adapter_list(w.a, &request, &response, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "ListSessionsRequest.hosts: 4097 bytes in all, at most 4096");
}
