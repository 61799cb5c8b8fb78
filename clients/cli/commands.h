/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `sensebus`. Each gets its own arguments (argv[0] is its name) and returns an exit code. */
#pragma once

struct cli;

int watch_run(struct cli *cli, int argc, char **argv);
int get_run(struct cli *cli, int argc, char **argv);
int wait_run(struct cli *cli, int argc, char **argv);
int status_run(struct cli *cli, int argc, char **argv);
int agents_run(struct cli *cli, int argc, char **argv);
int devices_run(struct cli *cli, int argc, char **argv);
int explain_run(struct cli *cli, int argc, char **argv);
int pki_run(struct cli *cli, int argc, char **argv);
int health_run(struct cli *cli, int argc, char **argv);
int version_run(struct cli *cli, int argc, char **argv);
