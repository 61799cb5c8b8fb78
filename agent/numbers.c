/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/numbers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/log.h"

/* Room for one more. */
static int make_room(struct numbers *n)
{
    size_t cap = n->cap ? 2 * n->cap : 16;
    char **bigger;

    if (n->n >= n->max)
        return UV_ENOSPC;
    if (n->n < n->cap)
        return 0;
    bigger = realloc(n->names, cap * sizeof *bigger);
    if (!bigger)
        return UV_ENOMEM;
    n->names = bigger;
    n->cap = cap;
    return 0;
}

static int keep(struct numbers *n, const char *name)
{
    int rc = make_room(n);

    if (rc < 0)
        return rc;
    n->names[n->n] = strdup(name);
    if (!n->names[n->n])
        return UV_ENOMEM;
    n->n++;
    return 0;
}

int numbers_load(struct numbers *n, const char *directory, const char *file, size_t max, bool durable)
{
    char line[NUMBERS_NAME_BYTES + 1];
    off_t whole = 0;
    int rc = 0;
    FILE *f;

    memset(n, 0, sizeof *n);
    n->max = max;
    n->durable = durable;
    if (snprintf(n->path, sizeof n->path, "%s/%s", directory, file) >= (int)sizeof n->path)
        return UV_ENAMETOOLONG;
    f = fopen(n->path, "re");
    if (!f)
        return errno == ENOENT ? 0 : uv_translate_sys_error(errno);
    while (rc == 0 && n->n < max && fgets(line, sizeof line, f)) {
        size_t len = strcspn(line, "\n");

        if (len == sizeof line - 1) {
            rc = UV_EINVAL;
            break;
        }
        if (line[len] != '\n') { /* the end of the file, or a zero: room for what was not written any more */
            log_warn("numbers.torn", "file=%s reason=\"the last line is torn and is dropped\"", n->path);
            if (truncate(n->path, whole) < 0)
                rc = uv_translate_sys_error(errno);
            break;
        }
        whole += (off_t)len + 1;
        line[len] = 0;
        rc = keep(n, line);
    }
    fclose(f);
    n->n_written = n->n;
    return rc;
}

static int write_line(const struct numbers *n, const char *name)
{
    char line[NUMBERS_NAME_BYTES + 1];
    int len = snprintf(line, sizeof line, "%s\n", name), rc = 0;
    int fd = open(n->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ssize_t written;
    off_t whole;

    if (fd < 0)
        return uv_translate_sys_error(errno);
    whole = lseek(fd, 0, SEEK_END);
    written = write(fd, line, (size_t)len);
    if (written != len)
        rc = written < 0 ? uv_translate_sys_error(errno) : UV_ENOSPC;
    else if (n->durable && fsync(fd) < 0)
        rc = uv_translate_sys_error(errno);
    if (written >= 0 && written < len && ftruncate(fd, whole) < 0) /* else the next start cuts it off */
        rc = uv_translate_sys_error(errno);
    close(fd);
    return rc;
}

/* In order, also those that could not be written before: else the ones behind would have other numbers. */
static int write_names(struct numbers *n)
{
    int rc = 0;

    while (rc == 0 && n->n_written < n->n) {
        rc = write_line(n, n->names[n->n_written]);
        n->n_written += rc == 0;
    }
    return rc;
}

int32_t numbers_get(struct numbers *n, const char *name)
{
    int32_t number = numbers_find(n, name);
    int rc;

    if (number >= 0)
        return number;
    if (!name[0] || strlen(name) >= NUMBERS_NAME_BYTES || strchr(name, '\n'))
        return UV_EINVAL;
    rc = keep(n, name);
    if (rc < 0)
        return rc;
    rc = write_names(n);
    if (rc < 0)
        log_warn("numbers.write", "file=%s reason=\"%s\"", n->path, uv_strerror(rc));
    return (int32_t)n->n - 1;
}

int32_t numbers_find(const struct numbers *n, const char *name)
{
    for (size_t i = 0; i < n->n; i++)
        if (strcmp(n->names[i], name) == 0)
            return (int32_t)i;
    return UV_ENOENT;
}

const char *numbers_name(const struct numbers *n, int32_t number)
{
    return number >= 0 && (size_t)number < n->n ? n->names[number] : NULL;
}

void numbers_free(struct numbers *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->names[i]);
    free(n->names);
    n->names = NULL;
    n->n = n->cap = 0;
}
