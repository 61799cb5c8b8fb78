/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines of the daemons: "2026-01-31T12:00:00.123Z info  event.name key=value …" on standard error.
 *
 * error = the operator must act; warn = we coped; info = lifecycle; debug = per event. Pure modules do not log.
 * Control characters in values are escaped, so hostile device strings cannot forge lines. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Lines below `level` are dropped. Default: info. */
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error"; returns 0 or UV_EINVAL. */
int log_parse_level(const char *text, enum log_level *out_level);
bool log_enabled(enum log_level level);

/* `event` is a constant name "area.what"; `format` gives the key=value pairs ("" for none). */
void log_write(enum log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_write(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_write(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                                          \
    do {                                                                                                               \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                                              \
            log_write(LOG_LEVEL_DEBUG, event, __VA_ARGS__);                                                            \
    } while (0)

/* For lines a peer can cause: at most `burst` at once and one a second after that. Zero-initialised state is full. */
struct log_limit {
    uint64_t last_ms;
    uint32_t used;
    uint64_t n_suppressed;
};
/* True when the line may be written; `out_suppressed` (may be NULL) gets how many were held back since the last one. */
bool log_limit_allow(struct log_limit *limit, uint64_t now_ms, uint32_t burst, uint64_t *out_suppressed);
