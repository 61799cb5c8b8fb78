/* SPDX-License-Identifier: Apache-2.0 */
/* What the failpoints of a test build do, by two environment variables:
 *
 *   SENSEBUS_FAILPOINT=STEP:N=ACTION[,…]   at the N-th time that STEP is come by ("any": any step): kill, or fail with
 *                                          ENOSPC, EIO or ENOMEM. "N+": from then on always
 *   SENSEBUS_FAILPOINT_TRACE=FILE          append the name of each step to FILE, before it acts */
#include "runtime/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RULES 32

struct rule {
    char step[32];
    unsigned long at, seen;
    bool and_on;
    char action[16];
};

static struct rule rules[MAX_RULES];
static size_t n_rules;
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void die(const char *text)
{
    fprintf(stderr, "failpoint: %s\n", text);
    abort();
}

static void read_rules(void)
{
    const char *text = getenv("SENSEBUS_FAILPOINT"), *path = getenv("SENSEBUS_FAILPOINT_TRACE");
    if (path && (trace = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        die("cannot open the trace");
    while (text && *text) {
        struct rule *r = &rules[n_rules++];
        char plus = 0;
        if (n_rules > MAX_RULES || sscanf(text, "%31[a-z._]:%lu%c", r->step, &r->at, &plus) != 3)
            die(text);
        r->and_on = plus == '+';
        const char *action = strchr(text, '=');
        if (!action || sscanf(action, "=%15[a-zA-Z]", r->action) != 1)
            die(text);
        text = strchr(action, ',');
        text = text ? text + 1 : NULL;
    }
}

static int act(const struct rule *r)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"ENOSPC", -ENOSPC}, {"EIO", -EIO}, {"ENOMEM", -ENOMEM}};

    if (strcmp(r->action, "kill") == 0)
        kill(getpid(), SIGKILL);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(r->action, errors[i].name) == 0)
            return errors[i].error;
    die(r->action);
    return 0;
}

int failpoint(const char *name)
{
    int rc = 0;
    pthread_once(&once, read_rules);
    pthread_mutex_lock(&lock);
    if (trace >= 0) {
        char line[64];
        int n = snprintf(line, sizeof line, "%s\n", name);
        if (write(trace, line, (size_t)n) != n)
            die("cannot write the trace");
    }
    for (size_t i = 0; i < n_rules; i++) {
        struct rule *r = &rules[i];
        if (strcmp(r->step, "any") != 0 && strcmp(r->step, name) != 0)
            continue;
        r->seen++;
        if (r->seen == r->at || (r->and_on && r->seen > r->at))
            rc = act(r);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}
