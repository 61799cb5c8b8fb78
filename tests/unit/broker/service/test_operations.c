/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on their way to an agent that reads slowly, and results of an agent that means ill. The stream and the
 * face are replaced at link time. */
#include "broker/service/operations.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/adapter.h"
#include "broker/core/dedupe.h"
#include "broker/core/directory.h"
#include "broker/service/adapter.h"
#include "broker/service/agent_session.h"
#include "broker/service/agents.h"
#include "proto/grpc/grpc.h"

/* ------------------------------------------------------------------------------------------------ what is replaced */

static size_t queued_bytes, n_sent, n_results;
static int send_fails;
static char failed[512]; /* why the stream ended; empty while it has not */
static bool result_ends_stream;

static struct directory directory;
static struct directory_agent *agent;
static struct agents agents;
static struct agent_session session;
static struct agent_source source;
static struct dedupe_agent dedupe;
static struct chunk *message;

int __wrap_grpc_call_send(struct grpc_call *call, const struct slice *parts, size_t n);
size_t __wrap_grpc_call_queued_bytes(const struct grpc_call *call);
__attribute__((format(printf, 3, 4))) void __wrap_session_fail(struct agent_session *s, int status, const char *format,
                                                               ...);
void __wrap_adapter_service_result(struct adapter_service *f, const char *host,
                                   const Sensebus__V1__OperationResult *result, bool after_events);
size_t __wrap_adapter_service_agent_gone(struct adapter_service *f, const char *host, bool in_order);

int __wrap_grpc_call_send(struct grpc_call *call, const struct slice *parts, size_t n)
{
    (void)call, (void)parts, (void)n;
    n_sent += send_fails == 0;
    return send_fails;
}

size_t __wrap_grpc_call_queued_bytes(const struct grpc_call *call)
{
    (void)call;
    return queued_bytes;
}

void __wrap_session_fail(struct agent_session *s, int status, const char *format, ...)
{
    va_list args;

    if (s->state == SESSION_OVER)
        return;
    s->state = SESSION_OVER;
    size_t n = (size_t)snprintf(failed, sizeof failed, "%d ", status);
    va_start(args, format);
    vsnprintf(failed + n, sizeof failed - n, format, args);
    va_end(args);
    operations_agent_gone(s, false);
}

void __wrap_adapter_service_result(struct adapter_service *f, const char *host,
                                   const Sensebus__V1__OperationResult *result, bool after_events)
{
    (void)f, (void)host, (void)result, (void)after_events;
    n_results++;
    if (result_ends_stream)
        __wrap_session_fail(&session, GRPC_RESOURCE_EXHAUSTED, "it follows from the result");
}

size_t __wrap_adapter_service_agent_gone(struct adapter_service *f, const char *host, bool in_order)
{
    (void)f, (void)host, (void)in_order;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ an agent */

static void setup(void)
{
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    char err[256];
    void *old;

    hello.host = (char *)"h";
    directory_init(&directory, 0, 0, 0);
    cr_assert_eq(directory_attach(&directory, &hello, "p", &session, 1, &agent, &old, err, sizeof err),
                 DIRECTORY_ACCEPT);
    session = (struct agent_session){
        .agents = &agents, .agent = agent, .source = &source, .state = SESSION_ATTACHED, .expected = 1};
    source.dedupe = &dedupe;
    dedupe.taken = 10;
    operations_init(&session);
    message = chunk_new(8);
    message->len = 8;
    memset(message->bytes, 0, 8);
}

static void teardown(void)
{
    operations_agent_gone(&session, true);
    chunk_unref(message);
    directory_deinit(&directory);
}

TestSuite(operations, .init = setup, .fini = teardown);

static int forward(bool must_arrive, char reason[256])
{
    struct adapter_action action = {
        .kind = ADAPTER_FORWARD, .message = message, .host = "h", .must_arrive = must_arrive};
    return operations_forward(&directory, &action, reason, 256);
}

static void take_result(uint64_t after, size_t text_bytes)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__IocInfoResult ioc_info = SENSEBUS__V1__IOC_INFO_RESULT__INIT;
    char *text = calloc(1, text_bytes + 1);

    memset(text, 'x', text_bytes);
    ioc_info.own_id = text;
    result.id = 1;
    result.after_source_sequence = after;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_IOC_INFO;
    result.ioc_info = &ioc_info;
    operations_take_result(&session, &result);
    free(text);
}

/* ------------------------------------------------------------------------------------------------ to the agent */

/* A close that is not heard leaves the session open at the device for ever. */
Test(operations, an_agent_that_reads_slowly_still_hears_what_ends)
{
    char reason[256];

    queued_bytes = OPERATIONS_MAX_QUEUED + 1;
    cr_assert_eq(forward(false, reason), UV_ENOBUFS);
    cr_assert_str_eq(reason, "the agent of h does not read: 2097153 bytes wait for it");
    cr_assert_eq(n_sent, 0);
    cr_assert_eq(forward(true, reason), 0);
    cr_assert_eq(n_sent, 1);
    cr_assert_str_empty(failed);
}

Test(operations, an_agent_that_cannot_hear_what_ends_is_cut_off)
{
    char reason[256];

    send_fails = UV_ENOBUFS;
    cr_assert_eq(forward(false, reason), UV_ENOBUFS);
    cr_assert_str_empty(failed, "an operation that is answered can fail");
    cr_assert_eq(forward(true, reason), UV_ENOBUFS);
    cr_assert_str_eq(failed,
                     "8 the end of a session cannot be told: the agent of h does not read: 0 bytes wait for it");
    cr_assert_eq(forward(true, reason), UV_ENOTCONN);
}

Test(operations, a_call_that_is_over_is_left_to_its_end)
{
    char reason[256];

    send_fails = UV_ECANCELED;
    cr_assert_eq(forward(true, reason), UV_ECANCELED);
    cr_assert_str_empty(failed);
}

/* ------------------------------------------------------------------------------------------------ from the agent */

/* rule 15: the result waits for the event that it names */
Test(operations, a_result_waits_for_its_event)
{
    take_result(11, 0);
    cr_assert_eq(n_results, 0);
    dedupe.taken = 11;
    operations_records_taken(&session);
    cr_assert_eq(n_results, 1);
    cr_assert_eq(session.results.n + session.results.bytes, 0);
}

/* Each may be large, and their events may never come: an agent must not fill the broker's memory with them. */
Test(operations, results_that_wait_have_a_bound_in_bytes)
{
    size_t n = 0;

    for (; !failed[0]; n++)
        take_result(UINT64_MAX, 64 * 1024);
    cr_assert_leq(n, OPERATIONS_MAX_HELD_BYTES / (64 * 1024) + 1, "%zu", n);
    cr_assert(strstr(failed, "8 operation_result: 15 results of 98") == failed, "%s", failed);
    cr_assert(strstr(failed, "wait for events that do not come"));
}

/* What is sent on is bounded by what can be asked for: else a few answers would fill the queue of whoever asked. */
Test(operations, a_result_has_a_bound)
{
    take_result(0, 64 * 1024);
    cr_assert_eq(n_results, 1);
    take_result(0, OPERATIONS_MAX_RESULT);
    cr_assert_eq(n_results, 1);
    cr_assert_str_eq(failed, "3 operation_result.message: longer than 98304 bytes in all");
}

Test(operations, data_is_no_longer_than_an_allocation_length)
{
    static uint8_t data[OPERATIONS_MAX_DATA + 1];
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__CommandResult command = SENSEBUS__V1__COMMAND_RESULT__INIT;

    result.id = 1;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND;
    result.command = &command;
    command.data = (ProtobufCBinaryData){.data = data, .len = sizeof data - 1};
    operations_take_result(&session, &result);
    cr_assert_eq(n_results, 1);
    command.data.len = sizeof data;
    operations_take_result(&session, &result);
    cr_assert_eq(n_results, 1);
    cr_assert_str_eq(failed, "3 operation_result.command.data: longer than 65535 bytes");
}

/* The results that wait behind it go with the stream. */
Test(operations, a_result_may_end_the_stream_that_brought_it)
{
    take_result(11, 0);
    take_result(11, 0);
    take_result(12, 0);
    dedupe.taken = 12;
    result_ends_stream = true;
    operations_records_taken(&session);
    cr_assert_eq(n_results, 1);
    cr_assert_eq(session.results.n, 0);
}
