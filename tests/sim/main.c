/* SPDX-License-Identifier: Apache-2.0 */
/* Plays seeds, judges each, and prints the command that plays a failing one again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/core/adapter/mutant.h"
#include "tests/sim/checker.h"
#include "tests/sim/world.h"

#define N_MUTANTS 22 /* in mutant.h */

int sensebus_mutation;

struct settings {
    uint64_t first, seeds, only;
    uint32_t seconds, jobs;
    int mutant;
    bool mutants, history;
};

struct totals {
    uint64_t seeds, sessions, registrations, conflicts, records, lost, cancelled, woken, resets, stale;
};

/* True when the seed holds. */
static bool play(const struct settings *s, uint64_t seed, struct totals *t, bool quiet)
{
    struct world w;
    struct verdict v;

    world_run(&w, seed, s->seconds);
    check_history(&w.history, &v);
    t->seeds++;
    t->sessions += v.n_sessions;
    t->registrations += v.n_registrations;
    t->conflicts += v.n_conflicts;
    t->records += v.n_records;
    t->lost += v.n_lost;
    t->cancelled += v.n_cancelled;
    t->woken += v.n_waits_woken;
    t->resets += v.n_resets;
    t->stale += v.n_stale;
    if (s->history)
        history_print(&w.history);
    if (v.broken && !quiet)
        printf("FAIL  seed %" PRIu64 ": %s: %s (entry %zu)\nagain: sensebus_sim --seed %" PRIu64
               " --seconds %u --mutant %d --history\n",
               seed, v.invariant, v.text, v.at, seed, s->seconds, sensebus_mutation);
    world_free(&w);
    return !v.broken;
}

static void print_totals(const struct totals *t)
{
    printf("%" PRIu64 " seeds: %" PRIu64 " sessions, %" PRIu64 " registrations, %" PRIu64 " refused as second, %" PRIu64
           " records, %" PRIu64 " announced as lost, %" PRIu64 " cancellations, %" PRIu64 " waits woken, %" PRIu64
           " resets, %" PRIu64 " stale\n",
           t->seeds, t->sessions, t->registrations, t->conflicts, t->records, t->lost, t->cancelled, t->woken,
           t->resets, t->stale);
}

/* Every kind of thing must happen, or the judgement is about nothing. */
static bool enough(const struct totals *t)
{
    return t->seeds < 100 || (t->registrations && t->conflicts && t->records && t->lost && t->cancelled && t->woken &&
                              t->resets && t->stale);
}

static int play_share(const struct settings *s, uint32_t job)
{
    struct totals t = {0};

    for (uint64_t seed = s->first + job; seed < s->first + s->seeds; seed += s->jobs)
        if (!play(s, seed, &t, false))
            return 1;
    print_totals(&t);
    if (!enough(&t)) {
        printf("FAIL  something never happened\n");
        return 1;
    }
    return 0;
}

static int play_seeds(const struct settings *s)
{
    int failed = 0, status;

    fflush(stdout);
    for (uint32_t job = 0; job < s->jobs; job++) {
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            return 1;
        }
        if (pid == 0)
            exit(play_share(s, job));
    }
    while (wait(&status) > 0)
        failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return failed;
}

/* 0 when a seed catches the mutant. A crash would do too: it runs in a process of its own. */
static int catch_mutant(const struct settings *s, int mutant)
{
    struct totals t = {0};

    sensebus_mutation = mutant;
    for (uint64_t seed = s->first; seed < s->first + s->seeds; seed++) {
        if (!play(s, seed, &t, true)) {
            printf("ok    mutant %d is caught by seed %" PRIu64 "\n", mutant, seed);
            return 0;
        }
    }
    printf("FAIL  mutant %d lives after %" PRIu64 " seeds\n", mutant, s->seeds);
    return 1;
}

static int catch_mutants(const struct settings *s)
{
    int failed = 0, status;

    for (int mutant = 1; mutant <= N_MUTANTS; mutant++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            exit(catch_mutant(s, mutant));
        if (pid < 0 || waitpid(pid, &status, 0) < 0) {
            perror("fork");
            return 1;
        }
        if (WIFSIGNALED(status))
            printf("ok    mutant %d is caught by signal %d\n", mutant, WTERMSIG(status));
        else
            failed |= WEXITSTATUS(status) != 0;
    }
    return failed;
}

static const char usage[] =
    "usage: sensebus_sim [--seeds N] [--first SEED] [--seconds S] [--jobs N]\n"
    "       sensebus_sim --seed SEED [--mutant N] [--history]\n"
    "       sensebus_sim --mutant N | --mutants [--seeds N]\n"
    "\n"
    "  --seeds N     how many (1000), from --first on (1)\n"
    "  --seconds S   virtual time in which new things happen (4)\n"
    "  --jobs N      processes (2)\n"
    "  --seed SEED   only this one\n"
    "  --history     with --seed: what happened in it\n"
    "  --mutant N    break rule N (broker/core/adapter/mutant.h); ends 0 when a seed catches it\n"
    "  --mutants     each mutant in turn must be caught within --seeds\n";

static uint64_t number(const char *name, const char *text)
{
    char *end;

    errno = 0;
    unsigned long long n = text ? strtoull(text, &end, 10) : 0;
    if (!text || end == text || *end || errno) {
        fprintf(stderr, "sensebus_sim: %s: a number is wanted\n", name);
        exit(2);
    }
    return n;
}

static struct settings read_settings(int argc, char **argv)
{
    struct settings s = {.first = 1, .seeds = 1000, .seconds = 4, .jobs = 2};

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--history") == 0)
            s.history = true;
        else if (strcmp(name, "--mutants") == 0)
            s.mutants = true;
        else if (strcmp(name, "--seeds") == 0)
            s.seeds = number(name, value), i++;
        else if (strcmp(name, "--first") == 0)
            s.first = number(name, value), i++;
        else if (strcmp(name, "--seed") == 0)
            s.only = number(name, value), i++;
        else if (strcmp(name, "--seconds") == 0)
            s.seconds = (uint32_t)number(name, value), i++;
        else if (strcmp(name, "--jobs") == 0)
            s.jobs = (uint32_t)number(name, value), i++;
        else if (strcmp(name, "--mutant") == 0)
            s.mutant = (int)number(name, value), i++;
        else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            fputs(usage, stdout);
            exit(0);
        } else {
            fprintf(stderr, "sensebus_sim: unknown option %s\n%s", name, usage);
            exit(2);
        }
    }
    if (s.jobs == 0 || s.jobs > 64)
        s.jobs = 1;
    return s;
}

int main(int argc, char **argv)
{
    struct settings s = read_settings(argc, argv);
    struct totals t = {0};

    sensebus_mutation = s.mutant;
    if (s.only)
        return !play(&s, s.only, &t, false);
    if (s.mutants)
        return catch_mutants(&s);
    if (s.mutant)
        return catch_mutant(&s, s.mutant);
    return play_seeds(&s);
}
