/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/chap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define MAX_LINE  2048
#define MAX_LINES 1024
#define N_FIELDS  5

static void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void chap_list_free(struct chap_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].target);
        free(list->items[i].user);
        secret_free(list->items[i].secret);
        free(list->items[i].mutual_user);
        secret_free(list->items[i].mutual_secret);
    }
    free(list->items);
    memset(list, 0, sizeof *list);
}

const struct chap *chap_list_find(const struct chap_list *list, const char *target)
{
    const struct chap *any = NULL;

    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i].target, target) == 0)
            return &list->items[i];
        if (strcmp(list->items[i].target, "*") == 0)
            any = &list->items[i];
    }
    return any;
}

static int add(struct chap_list *list, char *const fields[N_FIELDS], size_t n)
{
    void *bigger = realloc(list->items, (list->n + 1) * sizeof *list->items);
    struct chap *c;

    if (!bigger)
        return UV_ENOMEM;
    list->items = bigger;
    c = &list->items[list->n++];
    memset(c, 0, sizeof *c);
    c->target = strdup(fields[0]);
    c->user = strdup(fields[1]);
    c->secret = strdup(fields[2]);
    if (n == N_FIELDS) {
        c->mutual_user = strdup(fields[3]);
        c->mutual_secret = strdup(fields[4]);
        if (!c->mutual_user || !c->mutual_secret)
            return UV_ENOMEM;
    }
    return c->target && c->user && c->secret ? 0 : UV_ENOMEM;
}

/* What is wrong with the line, or NULL. */
static const char *take_line(struct chap_list *list, char *line, int *out_rc)
{
    char *fields[N_FIELDS + 1], *rest = line, *field;
    size_t n = 0;

    *out_rc = 0;
    while (n <= N_FIELDS && (field = strtok_r(rest, " \t\r\n", &rest)))
        fields[n++] = field;
    if (n == 0 || fields[0][0] == '#')
        return NULL;
    *out_rc = UV_EINVAL;
    if (n != 3 && n != N_FIELDS)
        return "expected: target user secret [mutual-user mutual-secret]";
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].target, fields[0]) == 0)
            return "a second line for this target";
    if (n == N_FIELDS && strcmp(fields[2], fields[4]) == 0)
        return "both directions have the same secret (RFC 7143 section 12.1.3 forbids it)";
    *out_rc = add(list, fields, n);
    return *out_rc < 0 ? "out of memory" : NULL;
}

static int read_lines(struct chap_list *list, FILE *f, const char *path, char *err, size_t err_len)
{
    char line[MAX_LINE];
    int rc = 0;

    for (unsigned n = 1; rc == 0 && fgets(line, sizeof line, f); n++) {
        const char *fault;

        if (n > MAX_LINES || (!strchr(line, '\n') && !feof(f))) {
            snprintf(err, err_len, "%s:%u: %s", path, n, n > MAX_LINES ? "too many lines" : "line too long");
            rc = UV_EINVAL;
            break;
        }
        fault = take_line(list, line, &rc);
        if (fault)
            snprintf(err, err_len, "%s:%u: %s", path, n, fault);
    }
    explicit_bzero(line, sizeof line);
    return rc;
}

int chap_list_load(struct chap_list *list, const char *path, char *err, size_t err_len)
{
    static char buffer[BUFSIZ]; /* stdio's copy of the secrets, so that we can overwrite it */
    FILE *f = fopen(path, "re");
    struct stat st;
    int rc;

    memset(list, 0, sizeof *list);
    if (!f || fstat(fileno(f), &st) < 0) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "%s: %s", path, uv_strerror(rc));
        if (f)
            fclose(f);
        return rc;
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        snprintf(err, err_len, "%s: group or others may access it (mode %03o); it holds secrets: chmod 600", path,
                 st.st_mode & 0777u);
        fclose(f);
        return UV_EACCES;
    }
    setvbuf(f, buffer, _IOFBF, sizeof buffer);
    rc = read_lines(list, f, path, err, err_len);
    fclose(f);
    explicit_bzero(buffer, sizeof buffer);
    if (rc < 0)
        chap_list_free(list);
    return rc;
}
