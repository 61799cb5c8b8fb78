/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `sensebus`. Each gets its own arguments (argv[0] is its name) and returns an exit code. */
#pragma once

struct cli;

int watch_run(struct cli *cli, int argc, char **argv);
int get_run(struct cli *cli, int argc, char **argv);
int wait_run(struct cli *cli, int argc, char **argv);
int status_run(struct cli *cli, int argc, char **argv);
int store_run(struct cli *cli, int argc, char **argv);
int agents_run(struct cli *cli, int argc, char **argv);
int devices_run(struct cli *cli, int argc, char **argv);
int explain_run(struct cli *cli, int argc, char **argv);
int pki_run(struct cli *cli, int argc, char **argv);
int metrics_run(struct cli *cli, int argc, char **argv);
int health_run(struct cli *cli, int argc, char **argv);
int version_run(struct cli *cli, int argc, char **argv);
int sessions_run(struct cli *cli, int argc, char **argv);
int register_run(struct cli *cli, int argc, char **argv);
int halt_run(struct cli *cli, int argc, char **argv);
int reset_run(struct cli *cli, int argc, char **argv);
int ioc_run(struct cli *cli, int argc, char **argv);
int tm_event_run(struct cli *cli, int argc, char **argv);
int wait_pri_run(struct cli *cli, int argc, char **argv);
int notify_run(struct cli *cli, int argc, char **argv);
int listen_run(struct cli *cli, int argc, char **argv);
int xaen_run(struct cli *cli, int argc, char **argv);
int end_session_run(struct cli *cli, int argc, char **argv);
