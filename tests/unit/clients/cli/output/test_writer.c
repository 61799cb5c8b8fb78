/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/writer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct writer w;

Test(writer, writes_nothing_before_flush_and_everything_after)
{
    int fds[2];
    char buf[16];
    cr_assert_eq(pipe(fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    writer_init(&w, fds[1], false);
    writer_put(&w, "hello");
    cr_expect_eq(read(fds[0], buf, sizeof buf), -1);
    cr_expect_eq(writer_flush(&w), 0);
    cr_expect_eq(read(fds[0], buf, sizeof buf), 5);
    close(fds[0]);
    close(fds[1]);
}

Test(writer, more_than_the_buffer_goes_out_in_order)
{
    char path[] = "/tmp/sensebus-writer-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    unlink(path);
    writer_init(&w, fd, false);
    for (unsigned i = 0; i < 30000; i++)
        writer_format(&w, "%07u\n", i);
    cr_expect_eq(writer_flush(&w), 0);
    lseek(fd, 0, SEEK_SET);
    FILE *f = fdopen(fd, "r");
    char line[32];
    unsigned n = 0;
    while (fgets(line, sizeof line, f))
        cr_assert_eq((unsigned)atoi(line), n++);
    cr_expect_eq(n, 30000);
    fclose(f);
}

Test(writer, a_reader_that_went_away_is_epipe_and_ends_output)
{
    int fds[2];
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe(fds), 0);
    close(fds[0]);
    writer_init(&w, fds[1], false);
    writer_put(&w, "hello");
    cr_expect_eq(writer_flush(&w), -EPIPE);
    writer_put(&w, "more");
    cr_expect_eq(writer_flush(&w), -EPIPE);
    close(fds[1]);
}

Test(writer, a_full_disk_is_told)
{
    int fd = open("/dev/full", O_WRONLY);
    writer_init(&w, fd, false);
    writer_put(&w, "x");
    cr_expect_eq(writer_flush(&w), -ENOSPC);
    close(fd);
}

Test(writer, a_non_blocking_descriptor_loses_nothing)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    pid_t reader = fork();
    if (reader == 0) {
        close(fds[1]);
        char buf[1024];
        size_t n = 0;
        for (ssize_t got; (got = read(fds[0], buf, sizeof buf)) > 0;)
            n += (size_t)got;
        _exit(n == 200000 ? 0 : 1);
    }
    close(fds[0]);
    writer_init(&w, fds[1], false);
    for (int i = 0; i < 200000 / 8; i++)
        writer_put(&w, "12345678");
    cr_expect_eq(writer_flush(&w), 0);
    close(fds[1]);
    int status = -1;
    cr_assert_eq(waitpid(reader, &status, 0), reader);
    cr_expect_eq(status, 0);
}

Test(writer, long_text_is_escaped_piece_by_piece_without_cutting_characters)
{
    char text[1201] = "";
    for (int i = 0; i < 400; i++)
        strcat(text, "日");
    writer_init(&w, -1, false);
    writer_escaped(&w, text);
    cr_expect_eq(w.len, strlen(text));
    cr_expect_eq(memcmp(w.buf, text, w.len), 0);
}

Test(writer, colour_follows_terminal_and_environment)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert_geq(terminal, 0);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    cr_expect_not(writer_wants_color(COLOR_AUTO, fds[1]), "a pipe is no terminal");
    cr_expect(writer_wants_color(COLOR_AUTO, terminal));
    cr_expect(writer_wants_color(COLOR_ALWAYS, fds[1]));
    cr_expect_not(writer_wants_color(COLOR_NEVER, terminal));
    setenv("NO_COLOR", "", 1);
    cr_expect(writer_wants_color(COLOR_AUTO, terminal), "empty counts as not set");
    setenv("NO_COLOR", "1", 1);
    cr_expect_not(writer_wants_color(COLOR_AUTO, terminal));
    cr_expect(writer_wants_color(COLOR_ALWAYS, terminal), "asked for");
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    cr_expect_not(writer_wants_color(COLOR_AUTO, terminal));
    close(terminal);
    close(fds[0]);
    close(fds[1]);
}
