/* SPDX-License-Identifier: Apache-2.0 */
/* bench_load: connects, says "ready", and then does what it reads from standard input, a line each:
 *
 *   publish N   send N more events; when every subscriber has them, and all are acknowledged: "done {…}"
 *   expect N    another process sends N more; when every subscriber has them: "done {…}"
 *   replay N    subscribe from the oldest record; when every subscriber has N: "done {…}"
 *
 * Between commands it goes on answering the broker. It ends with its standard input. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/options.h"
#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define PACE_MS  1
#define MAX_AGES (4u << 20)

static const struct protocol *const protocols[] = {
    &protocol_raw,   &protocol_raw_acknowledged, &protocol_sensebus, &protocol_nats,   &protocol_jetstream,
    &protocol_redis, &protocol_redis_stream,     &protocol_mqtt_0,   &protocol_mqtt_1, &protocol_rabbit};

void fail(const char *format, ...)
{
    va_list arguments;

    printf("failed ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    exit(EXIT_FAILURE);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------ progress */

static bool is_sensebus(const struct load *load)
{
    return load->options.protocol == &protocol_sensebus;
}

/* What subscriber `i` must have in the end. */
static uint64_t expected(const struct load *load, unsigned i)
{
    const struct load_options *o = &load->options;
    unsigned key = o->first_key + i;

    if (!o->by_key)
        return load->quota;
    if (key == 0)
        return load->quota / o->n_keys;
    return key < o->n_keys ? (load->quota + o->n_keys - key) / o->n_keys : 0; /* of 1..quota, key modulo n_keys */
}

static uint64_t slowest(const struct load *load)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < load->options.n_subscribers; i++)
        if (load->subscribers[i].n < least)
            least = load->subscribers[i].n;
    return least;
}

uint64_t load_allowance(struct load *load)
{
    const struct load_options *o = &load->options;
    uint64_t n = load->quota - load->sent, in_flight = 0;

    if (o->rate && n > load->paced - load->sent)
        n = load->paced - load->sent;
    if (o->n_subscribers == 0 || n == 0)
        return n;
    if (o->by_key) {
        unsigned last = o->first_key + o->n_subscribers < o->n_keys ? o->first_key + o->n_subscribers : o->n_keys;
        uint64_t wanted = last > o->first_key ? load->sent * (last - o->first_key) / o->n_keys : 0;
        in_flight = wanted > load->received ? wanted - load->received : 0;
    } else {
        if (load->sent - load->slowest >= o->flight / 2)
            load->slowest = slowest(load);
        in_flight = load->sent - load->slowest;
    }
    uint64_t room = o->flight > in_flight ? o->flight - in_flight : 0;
    return n < room ? n : room;
}

void load_age(struct load *load, const uint8_t *event)
{
    uint64_t age = now_ns() - event_time(event);
    if (load->n_ages < load->ages_cap)
        load->ages_ns[load->n_ages++] = age < UINT32_MAX ? (uint32_t)age : UINT32_MAX;
}

static bool is_done(const struct load *load)
{
    const struct load_options *o = &load->options;

    if (!load->running || load->sent < load->quota)
        return false;
    if (o->n_publishers > 0 && o->protocol->acknowledges && load->acknowledged < load->quota)
        return false;
    if (load->received < load->wanted)
        return false;
    for (unsigned i = 0; i < o->n_subscribers; i++)
        if (load->subscribers[i].n != expected(load, i))
            fail("subscriber %u has %" PRIu64 " events, it should have %" PRIu64, i, load->subscribers[i].n,
                 expected(load, i));
    return true;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double age_us(const struct load *load, double part)
{
    return load->n_ages ? load->ages_ns[(size_t)((double)(load->n_ages - 1) * part)] / 1000.0 : 0;
}

static void report(struct load *load)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    printf("done {\"wall_s\": %.6f, \"load_cpu_s\": %.6f", (double)(load->end_ns - load->begin_ns) / 1e9,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    if (load->n_ages > 0) {
        qsort(load->ages_ns, load->n_ages, sizeof *load->ages_ns, by_size);
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", age_us(load, 0.5), age_us(load, 0.99),
               age_us(load, 1));
    }
    printf("}\n");
    load->n_ages = 0;
}

static void on_done(struct load *load)
{
    load->end_ns = now_ns();
    load->running = false;
    uv_timer_stop(&load->pace);
    report(load);
}

void load_progress(struct load *load)
{
    if (is_sensebus(load))
        agents_publish(load);
    else
        conns_publish(load);
    if (is_done(load))
        on_done(load);
}

/* ------------------------------------------------------------------------------------------------ the loop */

static void on_sockets(uv_poll_t *handle, int status, int events)
{
    struct load *load = handle->data;

    (void)status;
    (void)events;
    conns_turn(load);
    load_progress(load);
}

static void on_pace(uv_timer_t *timer)
{
    struct load *load = timer->data;
    load->paced = load->pace_base + (now_ns() - load->begin_ns) * load->options.rate / 1000000000u;
    if (load->paced > load->quota)
        load->paced = load->quota;
    load_progress(load);
}

static void begin(struct load *load, uint64_t n)
{
    load->pace_base = load->paced = load->sent;
    load->quota += n;
    load->wanted = 0;
    for (unsigned i = 0; i < load->options.n_subscribers; i++)
        load->wanted += expected(load, i);
    load->running = true;
    load->begin_ns = now_ns();
    if (load->options.rate)
        uv_timer_start(&load->pace, on_pace, PACE_MS, PACE_MS);
}

static void command(struct load *load, const char *line)
{
    unsigned n_publishers = load->options.n_publishers;
    uint64_t n;

    if (load->running)
        fail("\"%s\" while something is under way", line);
    if (sscanf(line, "publish %" SCNu64, &n) == 1 && n_publishers > 0) {
        begin(load, n);
        if (is_sensebus(load))
            agents_quota(load);
        for (unsigned i = 0; !is_sensebus(load) && i < n_publishers; i++)
            load->publishers[i].quota = load->quota / n_publishers + (i < load->quota % n_publishers);
    } else if (sscanf(line, "expect %" SCNu64, &n) == 1 && n_publishers == 0) {
        begin(load, n);
        load->sent = load->quota;
    } else if (sscanf(line, "replay %" SCNu64, &n) == 1 && load->options.replay && !load->subscribed) {
        begin(load, n);
        load->sent = load->quota;
        conns_subscribe(load);
    } else {
        fail("\"%s\" is nothing that can be done", line);
    }
    load_progress(load);
}

static void on_command(uv_poll_t *handle, int status, int events)
{
    static char text[256];
    static size_t len;
    struct load *load = handle->data;
    char *eol;

    (void)status;
    (void)events;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (n <= 0)
        exit(EXIT_SUCCESS);
    len += (size_t)n;
    text[len] = '\0';
    while ((eol = strchr(text, '\n'))) {
        *eol = '\0';
        command(load, text);
        len -= (size_t)(eol + 1 - text);
        memmove(text, eol + 1, len + 1);
    }
}

/* While it is active the loop does not wait. */
static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void run(struct load *load)
{
    uv_idle_t idle;

    uv_loop_init(&load->loop);
    load->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    uv_poll_init(&load->loop, &load->poll, load->poll_fd);
    uv_poll_init(&load->loop, &load->commands, STDIN_FILENO);
    uv_timer_init(&load->loop, &load->pace);
    load->poll.data = load->commands.data = load->pace.data = load;
    if (is_sensebus(load))
        agents_open(load);
    else
        conns_open(load, true);
    if (load->options.authority) {
        secure_subscribe(load);
    } else {
        conns_open(load, false);
        if (!load->options.replay)
            conns_subscribe(load);
    }
    uv_poll_start(&load->poll, UV_READABLE, on_sockets);
    uv_poll_start(&load->commands, UV_READABLE, on_command);
    uv_idle_init(&load->loop, &idle);
    if (load->options.awake)
        uv_idle_start(&idle, on_idle);
    printf("ready\n");
    uv_run(&load->loop, UV_RUN_DEFAULT);
}

/* ------------------------------------------------------------------------------------------------ options */

static void find_protocol(struct load_options *o, const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i]->name, name) == 0)
            o->protocol = protocols[i];
    if (!o->protocol)
        fail("protocol %s is not spoken here", name);
}

static void read_options(struct load_options *o, int argc, char **argv)
{
    const char *protocol = "raw", *address = "127.0.0.1:0";
    uint64_t publishers = 0, subscribers = 0, keys = 16, first_key = 0, rate = 0, burst = 256;
    char err[256];
    int n_operands;

    o->window = o->flight = 65536;
    const struct option options[] = {
        {"protocol", 0, OPTION_STRING, &protocol, "NAME", NULL, 0, 0, "what the broker speaks (raw)"},
        {"address", 0, OPTION_STRING, &address, "HOST:PORT", NULL, 0, 0, "where it listens"},
        {"publishers", 0, OPTION_UINT, &publishers, "N", NULL, 0, 1000, "connections that send (0)"},
        {"subscribers", 0, OPTION_UINT, &subscribers, "N", NULL, 0, 60000, "connections that receive (0)"},
        {"window", 0, OPTION_UINT, &o->window, "N", NULL, 1, 0, "events of a publisher not yet acknowledged (65536)"},
        {"flight", 0, OPTION_UINT, &o->flight, "N", NULL, 1, 0, "events sent that the slowest has not (65536)"},
        {"burst", 0, OPTION_UINT, &burst, "N", NULL, 1, 2000, "events of one message or write (256)"},
        {"rate", 0, OPTION_UINT, &rate, "N", NULL, 0, 10000000, "events a second, 0 = as fast as it goes (0)"},
        {"keys", 0, OPTION_UINT, &keys, "N", NULL, 1, 65535, "events go round so many keys (16)"},
        {"by-key", 0, OPTION_FLAG, &o->by_key, NULL, NULL, 0, 0, "subscriber number i wants key i alone"},
        {"first-key", 0, OPTION_UINT, &first_key, "K", NULL, 0, 60000, "… or key K + i (0)"},
        {"by-designator", 0, OPTION_FLAG, &o->by_designator, NULL, NULL, 0, 0, "… and asks for it by designator"},
        {"latency", 0, OPTION_FLAG, &o->latency, NULL, NULL, 0, 0, "note the age of what arrives"},
        {"authority", 0, OPTION_STRING, &o->authority, "FILE", NULL, 0, 0,
         "subscribe over TLS (sensebus): whom to trust"},
        {"certificate", 0, OPTION_STRING, &o->certificate, "FILE", NULL, 0, 0, "… what to show"},
        {"key", 0, OPTION_STRING, &o->key, "FILE", NULL, 0, 0, "… and its key"},
        {"replay", 0, OPTION_FLAG, &o->replay, NULL, NULL, 0, 0, "subscribe when told, from the oldest record"},
        {"awake", 0, OPTION_FLAG, &o->awake, NULL, NULL, 0, 0, "never sleep while nothing comes"},
    };
    enum options_result result =
        options_parse(options, sizeof options / sizeof *options, argc, argv, &n_operands, err, sizeof err);
    if (result == OPTIONS_HELP) {
        options_print_help(stdout, "usage: bench_load [OPTION]...", options, sizeof options / sizeof *options);
        exit(EXIT_SUCCESS);
    }
    if (result != OPTIONS_OK || n_operands > 0)
        fail("%s", n_operands > 0 ? "no operands" : err);
    find_protocol(o, protocol);
    if (sscanf(address, "%63[0-9.]:%u", o->host, &o->port) != 2)
        fail("%s is no IPv4 address with a port", address);
    o->n_publishers = (unsigned)publishers;
    o->n_subscribers = (unsigned)subscribers;
    o->rate = (unsigned)rate;
    o->burst = (unsigned)burst;
    o->n_keys = (unsigned)keys;
    o->first_key = (unsigned)first_key;
}

int main(int argc, char **argv)
{
    static struct load load;
    struct rlimit files;

    setvbuf(stdout, NULL, _IOLBF, 0);
    read_options(&load.options, argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (load.options.latency) {
        load.ages_cap = MAX_AGES;
        load.ages_ns = malloc(MAX_AGES * sizeof *load.ages_ns);
        if (!load.ages_ns)
            fail("out of memory");
    }
    run(&load);
    return EXIT_SUCCESS;
}
