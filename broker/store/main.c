/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus-store: looks at the log of a broker that is not running. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/store/check.h"
#include "broker/store/report.h"
#include "runtime/options.h"
#include "runtime/standard_files.h"

#define DEFAULT_DATA "/var/lib/sensebus/broker"

/* As those of `sensebus`, which runs this program for `sensebus store`. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DAMAGED = 8 };

static const char USAGE[] = "usage: sensebus store verify [OPTIONS]\n"
                            "       sensebus store info [OPTIONS]\n"
                            "\n"
                            "Look at the log of a broker that is not running; nothing is changed. info says what\n"
                            "is in it. verify reads everything: the structure of the file, the checksum of every\n"
                            "stored value, every record, every pair of the broker's tables; it names each hole\n"
                            "with its reason.\n"
                            "\n"
                            "Exit codes: 0 sound, 1 cannot look (a broker has it open, there is none, it is of\n"
                            "another version), 2 usage, 8 damaged.";

struct arguments {
    const char *data, *format;
    bool version;
};

static int usage(const char *text)
{
    fprintf(stderr, "sensebus store: %s\n", text);
    return EXIT_USAGE;
}

static int run(const struct arguments *a, bool deep)
{
    struct report report = {.out = stdout, .directory = a->data, .json = strcmp(a->format, "json") == 0};
    struct check_summary summary;
    char err[512];

    report_begin(&report);
    int rc = check_log(a->data, deep, &report_ops, &report, &summary, err, sizeof err);
    if (rc) {
        report_fail(&report, err);
        fflush(stdout);
        fprintf(stderr, "sensebus store: %s: %s\n", a->data, err);
        return rc == UV_EIO ? EXIT_DAMAGED : EXIT_FAILED;
    }
    report_end(&report, &summary, deep);
    return report_is_damaged(&summary) ? EXIT_DAMAGED : EXIT_OK;
}

int main(int argc, char **argv)
{
    struct arguments a = {.data = DEFAULT_DATA, .format = "text"};
    const struct option options[] = {
        {"data", 'd', OPTION_STRING, &a.data, "DIRECTORY", "SENSEBUS_DATA", 0, 0,
         "where the broker keeps its log (" DEFAULT_DATA ")"},
        {"output", 'o', OPTION_CHOICE, &a.format, "text|json", NULL, 0, 0, "how to print it (text)"},
        {"version", 'V', OPTION_FLAG, &a.version, NULL, NULL, 0, 0, "print the version and exit"},
    };
    enum { N_OPTIONS = sizeof options / sizeof *options };
    char err[256];
    int n_operands;

    standard_files_ensure();
    switch (options_parse(options, N_OPTIONS, argc, argv, &n_operands, err, sizeof err)) {
    case OPTIONS_OK: break;
    case OPTIONS_HELP: options_print_help(stdout, USAGE, options, N_OPTIONS); return EXIT_OK;
    case OPTIONS_ERROR: return usage(err);
    }
    if (a.version) {
        puts("sensebus-store " SENSEBUS_VERSION);
        return EXIT_OK;
    }
    bool verify = n_operands == 1 && strcmp(argv[1], "verify") == 0;
    if (!verify && (n_operands != 1 || strcmp(argv[1], "info") != 0))
        return usage("say verify or info; 'sensebus store -h' shows more");
    int code = run(&a, verify);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "sensebus store: cannot write what was found\n");
        return EXIT_FAILED;
    }
    return code;
}
