/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/options.h"
#include "tests/target/scsi/unit.h"

/* Arguments by letter; those behind '?' may be left out.
 * l LUN; a LUN or "all"; n number; p number up to 65535; s sense; c ASC/ASCQ; b on or off; t duration; h hex digits;
 * w any word; k word that must be a known one (see `words`) */
struct form {
    const char *name;
    enum verb_kind kind;
    const char *arguments;
    const char *words; /* for 'k', separated by '|' */
};

static const struct form forms[] = {
    {"add", VERB_ADD, "l?n", NULL},
    {"alua", VERB_ALUA, "lk", "optimized|non-optimized|standby|unavailable|offline|transition"},
    {"async", VERB_ASYNC, "n?lsppp", NULL},
    {"attention", VERB_ATTENTION, "ac", NULL},
    {"drop", VERB_DROP, "k", "fin|rst"},
    {"expect", VERB_EXPECT, "kn?t", "sessions|pending"},
    {"garbage", VERB_GARBAGE, "h", NULL},
    {"hang", VERB_HANG, "b", NULL},
    {"health", VERB_HEALTH, "lc", NULL},
    {"offline", VERB_OFFLINE, "lb", NULL},
    {"ping", VERB_PING, "", NULL},
    {"preempt", VERB_PREEMPT, "l", NULL},
    {"protect", VERB_PROTECT, "lb", NULL},
    {"raise", VERB_RAISE, "w?l", NULL},
    {"reboot", VERB_REBOOT, "?t", NULL},
    {"redirect", VERB_REDIRECT, "w", NULL},
    {"refuse", VERB_REFUSE, "n", NULL},
    {"reject", VERB_REJECT, "n", NULL},
    {"remove", VERB_REMOVE, "l", NULL},
    {"reset", VERB_RESET, "a", NULL},
    {"resize", VERB_RESIZE, "ln", NULL},
    {"sense", VERB_SENSE, "ls", NULL},
    {"slow", VERB_SLOW, "t", NULL},
    {"state", VERB_STATE, "", NULL},
    {"statsn", VERB_STATSN, "n", NULL},
    {"thin", VERB_THIN, "l?n", NULL},
};
#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

const char *verb_help(void)
{
    return "add LUN [BLOCKS]                 a new unit; the others tell 3F/0E\n"
           "alua LUN STATE                   optimized, non-optimized, standby, unavailable, offline or transition; "
           "2A/06\n"
           "async EVENT [LUN [SENSE [P1 [P2 [P3]]]]]\n"
           "                                 Asynchronous Message to every session\n"
           "attention LUN|all ASC/ASCQ       unit attention for every initiator port\n"
           "drop fin|rst                     end every connection\n"
           "expect sessions|pending N [WITHIN]\n"
           "                                 wait until there are N sessions, or N attentions not told yet (default "
           "5s)\n"
           "garbage HEX                      send these bytes on every connection\n"
           "hang on|off                      do not look at what comes\n"
           "health LUN ASC/ASCQ              informational exception, 5D/10 for example; 0/0 is none\n"
           "offline LUN on|off               NOT READY, 04/12\n"
           "ping                             NOP-In that asks for an answer\n"
           "preempt LUN                      another initiator preempts reservation and registrations\n"
           "protect LUN on|off               write protection; 2A/01\n"
           "raise CODE [LUN]                 the event of this code, LUN_RESET for example\n"
           "reboot [DOWN]                    power off, on again after DOWN (default 1s); ports and reservations are "
           "forgotten\n"
           "redirect ADDRESS|off             logins are sent to this address\n"
           "refuse STATUS                    logins end with this status, 0x0301 for example; 0 lets them in\n"
           "reject REASON                    send a Reject on every session\n"
           "remove LUN                       the unit is gone; the others tell 3F/0E\n"
           "reset LUN|all                    29/03, or 29/02 on all units\n"
           "resize LUN BLOCKS                2A/09\n"
           "sense LUN SENSE                  the next command of each session gets CHECK CONDITION with this\n"
           "slow DURATION                    look at what comes only after this time; 0 ends it\n"
           "state                            sessions, units, what waits\n"
           "statsn SKEW                      the next StatSN of every session is wrong by this\n"
           "thin LUN [BLOCKS]                thin provisioning threshold; 38/07, now or when so many blocks are "
           "written\n";
}

static int wrong(char *err, size_t err_len, const char *word, const char *expected)
{
    snprintf(err, err_len, "\"%.60s\": expected %s", word, expected);
    return UV_EINVAL;
}

static int nibble(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | (c >= 'A' && c <= 'F' ? 0x20 : 0)) : NULL;

    return at ? (int)(at - digits) : -1;
}

static bool parse_hex(const char *text, struct verb *v)
{
    size_t n = strlen(text);

    if (n % 2 || n / 2 > sizeof(v->data))
        return false;
    for (size_t i = 0; i < n; i += 2) {
        int high = nibble(text[i]), low = nibble(text[i + 1]);

        if (high < 0 || low < 0)
            return false;
        v->data[i / 2] = (uint8_t)(high << 4 | low);
    }
    v->data_len = n / 2;
    return true;
}

/* Hex numbers up to `most`, `n` of them, separated by '/'. */
static bool parse_slashed(const char *text, unsigned *out, int n, const unsigned *most)
{
    for (int i = 0; i < n; i++) {
        size_t len = strspn(text, "0123456789abcdefABCDEF");

        if (len == 0 || len > 2)
            return false;
        out[i] = (unsigned)strtoul(text, NULL, 16);
        if (out[i] > most[i] || text[len] != (i + 1 < n ? '/' : '\0'))
            return false;
        text += len + 1;
    }
    return true;
}

/* KEY/ASC/ASCQ, hex:BYTES, or raw:BYTES (not sense). */
static bool parse_sense(const char *text, struct verb *v)
{
    const unsigned most[] = {15, 255, 255};
    unsigned parts[3];

    v->has_sense = strncmp(text, "raw:", 4) != 0;
    if (strncmp(text, "hex:", 4) == 0 || !v->has_sense)
        return parse_hex(text + 4, v);
    if (!parse_slashed(text, parts, 3, most))
        return false;
    sense_fixed(v->data, 0x70, (uint8_t)parts[0], (uint16_t)(parts[1] << 8 | parts[2]));
    v->data_len = SENSE_FIXED_BYTES;
    return true;
}

static bool parse_asc(const char *text, struct verb *v)
{
    const unsigned most[] = {255, 255};
    unsigned parts[2];

    if (!parse_slashed(text, parts, 2, most))
        return false;
    v->asc = (uint16_t)(parts[0] << 8 | parts[1]);
    return true;
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    bool hex = strncmp(text, "0x", 2) == 0;
    size_t n = strspn(text + (hex ? 2 : 0), hex ? "0123456789abcdefABCDEF" : "0123456789");
    unsigned long long value;

    if (n == 0 || n > 15 || text[n + (hex ? 2 : 0)] != '\0')
        return false;
    value = strtoull(text, NULL, hex ? 16 : 10);
    if (value > most)
        return false;
    *out = value;
    return true;
}

static bool is_listed(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strncmp(at, word, len) == 0 && (at[len] == '|' || at[len] == '\0'))
            return len > 0;
    return false;
}

static bool parse_lun(const char *text, struct verb *v)
{
    uint64_t lun;

    if (!parse_number(text, UNIT_MAX_NUMBER, &lun))
        return false;
    v->lun = (int)lun;
    return true;
}

static int parse_argument(char letter, const struct form *form, const char *word, int *n_parameters, struct verb *v,
                          char *err, size_t err_len)
{
    uint64_t number;

    switch (letter) {
    case 'l': return parse_lun(word, v) ? 0 : wrong(err, err_len, word, "a LUN, 0 to 16383");
    case 'a':
        if (strcmp(word, "all") == 0)
            v->lun = VERB_ALL_UNITS;
        else if (!parse_lun(word, v))
            return wrong(err, err_len, word, "a LUN or \"all\"");
        return 0;
    case 'n': return parse_number(word, UINT64_MAX, &v->number) ? 0 : wrong(err, err_len, word, "a number");
    case 'p':
        if (!parse_number(word, UINT16_MAX, &number))
            return wrong(err, err_len, word, "a number up to 65535");
        v->parameters[(*n_parameters)++] = (uint16_t)number;
        return 0;
    case 's':
        return parse_sense(word, v) ? 0 : wrong(err, err_len, word, "KEY/ASC/ASCQ in hex, hex:BYTES or raw:BYTES");
    case 'c': return parse_asc(word, v) ? 0 : wrong(err, err_len, word, "ASC/ASCQ in hex");
    case 'b':
        v->on = strcmp(word, "on") == 0;
        return v->on || strcmp(word, "off") == 0 ? 0 : wrong(err, err_len, word, "on or off");
    case 't': return options_duration_ms(word, &v->ms) == 0 ? 0 : wrong(err, err_len, word, "a duration, 500ms or 2s");
    case 'h': return parse_hex(word, v) ? 0 : wrong(err, err_len, word, "up to 252 bytes in hex");
    default: /* k, w */
        if (letter == 'k' && !is_listed(form->words, word))
            return wrong(err, err_len, word, form->words);
        snprintf(v->word, sizeof(v->word), "%s", word);
        return 0;
    }
}

static const struct form *find_form(const char *name)
{
    for (size_t i = 0; i < N_FORMS; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}

static int parse_words(const struct form *form, char *rest, struct verb *v, char *err, size_t err_len)
{
    bool optional = false;
    int n_parameters = 0, rc;
    char *word;

    for (const char *letter = form->arguments; *letter; letter++) {
        if (*letter == '?') {
            optional = true;
            continue;
        }
        word = strtok_r(NULL, " \t\r\n", &rest);
        if (!word && optional)
            return 0;
        if (!word) {
            snprintf(err, err_len, "%s: an argument is missing", form->name);
            return UV_EINVAL;
        }
        rc = parse_argument(*letter, form, word, &n_parameters, v, err, err_len);
        if (rc < 0)
            return rc;
    }
    word = strtok_r(NULL, " \t\r\n", &rest);
    return word ? wrong(err, err_len, word, "nothing more") : 0;
}

int verb_parse(const char *line, struct verb *out_verb, char *err, size_t err_len)
{
    char text[VERB_MAX_BYTES], *word, *rest = NULL;
    struct verb v = {.lun = 0};
    const struct form *form;
    int rc;

    if (snprintf(text, sizeof(text), "%s", line) >= (int)sizeof(text)) {
        snprintf(err, err_len, "the line is longer than %d bytes", VERB_MAX_BYTES - 1);
        return UV_EINVAL;
    }
    text[strcspn(text, "#")] = '\0';
    word = strtok_r(text, " \t\r\n", &rest);
    if (!word)
        return UV_ENOENT;
    form = find_form(word);
    if (!form)
        return wrong(err, err_len, word, "a verb (sensebus-target --verbs lists them)");
    v.kind = form->kind;
    v.ms = v.kind == VERB_EXPECT ? 5000 : 1000;
    rc = parse_words(form, rest, &v, err, err_len);
    if (rc == 0)
        *out_verb = v;
    return rc;
}
