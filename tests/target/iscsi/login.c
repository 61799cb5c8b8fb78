/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/iscsi/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_TRANSIT  0x80
#define FLAG_CONTINUE 0x40

void login_init(struct login *l, const struct login_rules *rules, const uint8_t challenge[LOGIN_CHALLENGE_BYTES])
{
    *l = (struct login){.rules = rules,
                        .terms = {.immediate_data = true, .max_send_bytes = 8192, .max_burst_bytes = 262144}};
    memcpy(l->challenge, challenge, LOGIN_CHALLENGE_BYTES);
    l->identifier = challenge[0];
}

void login_deinit(struct login *l)
{
    free(l->text);
    l->text = NULL;
    l->text_len = 0;
}

/* ------------------------------------------------------------------------------------------------ who */

/* The names come in the first PDU (RFC 7143 section 6.3.1). */
static enum login_status read_names(struct login *l, const uint8_t *text, size_t len)
{
    char target[LOGIN_NAME_BYTES] = "";
    enum keys_result result;
    struct key key;

    while ((result = keys_next(&text, &len, &key)) == KEYS_ITEM) {
        if (strcmp(key.name, "InitiatorName") == 0) {
            if (snprintf(l->terms.initiator, LOGIN_NAME_BYTES, "%s", key.value) >= LOGIN_NAME_BYTES)
                return LOGIN_INITIATOR_ERROR;
        } else if (strcmp(key.name, "TargetName") == 0) {
            if (snprintf(target, sizeof(target), "%s", key.value) >= LOGIN_NAME_BYTES)
                return LOGIN_NOT_FOUND;
        } else if (strcmp(key.name, "SessionType") == 0) {
            l->terms.discovery = strcmp(key.value, "Discovery") == 0;
            if (!l->terms.discovery && strcmp(key.value, "Normal") != 0)
                return LOGIN_INITIATOR_ERROR;
        }
    }
    if (result == KEYS_BAD)
        return LOGIN_INITIATOR_ERROR;
    if (!l->terms.initiator[0] || (!target[0] && !l->terms.discovery))
        return LOGIN_MISSING_PARAMETER;
    if (target[0] && strcmp(target, l->rules->target_name) != 0)
        return LOGIN_NOT_FOUND;
    return LOGIN_SUCCESS;
}

/* ------------------------------------------------------------------------------------------------ terms */

/* How a key is answered (RFC 7143 section 13). */
enum rule {
    RULE_SILENT,   /* declared or read elsewhere: no answer */
    RULE_DIGEST,   /* list: the first that we know */
    RULE_YES,      /* always Yes, by its function */
    RULE_NO,       /* obsolete: No */
    RULE_BOTH,     /* ImmediateData: what is offered */
    RULE_MINIMUM,  /* not above `ours` */
    RULE_MAXIMUM,  /* not below `ours` */
    RULE_SEND_MAX, /* MaxRecvDataSegmentLength of the initiator */
    RULE_FIRST,    /* TaskReporting: the only word that we know */
};

struct key_rule {
    const char *name;
    enum rule rule;
    uint32_t ours, least, most;
};

static const struct key_rule rules[] = {
    {"InitiatorName", RULE_SILENT, 0, 0, 0},
    {"InitiatorAlias", RULE_SILENT, 0, 0, 0},
    {"TargetName", RULE_SILENT, 0, 0, 0},
    {"SessionType", RULE_SILENT, 0, 0, 0},
    {"AuthMethod", RULE_SILENT, 0, 0, 0},
    {"HeaderDigest", RULE_DIGEST, 0, 0, 0},
    {"DataDigest", RULE_DIGEST, 0, 0, 0},
    {"InitialR2T", RULE_YES, 0, 0, 0},
    {"ImmediateData", RULE_BOTH, 0, 0, 0},
    {"MaxRecvDataSegmentLength", RULE_SEND_MAX, 0, 512, 0xffffff},
    {"MaxBurstLength", RULE_MINIMUM, 262144, 512, 0xffffff},
    {"FirstBurstLength", RULE_MINIMUM, 65536, 512, 0xffffff},
    {"MaxConnections", RULE_MINIMUM, 1, 1, 65535},
    {"MaxOutstandingR2T", RULE_MINIMUM, 1, 1, 65535},
    {"ErrorRecoveryLevel", RULE_MINIMUM, 0, 0, 2},
    {"DefaultTime2Wait", RULE_MAXIMUM, 0, 0, 3600},
    {"DefaultTime2Retain", RULE_MINIMUM, 0, 0, 3600},
    {"DataPDUInOrder", RULE_YES, 0, 0, 0},
    {"DataSequenceInOrder", RULE_YES, 0, 0, 0},
    {"IFMarker", RULE_NO, 0, 0, 0},
    {"OFMarker", RULE_NO, 0, 0, 0},
    {"iSCSIProtocolLevel", RULE_MINIMUM, 1, 0, 31},
    {"TaskReporting", RULE_FIRST, 0, 0, 0},
};

static const struct key_rule *find_rule(const char *name)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

static enum login_status answer_number(struct login *l, const struct key_rule *rule, const struct key *key,
                                       struct keys_out *out)
{
    uint32_t offered, agreed;

    if (keys_number(key->value, &offered) < 0 || offered < rule->least || offered > rule->most)
        return LOGIN_INITIATOR_ERROR;
    if (rule->rule == RULE_SEND_MAX) {
        l->terms.max_send_bytes = offered;
        return LOGIN_SUCCESS;
    }
    if (rule->rule == RULE_MAXIMUM)
        agreed = offered > rule->ours ? offered : rule->ours;
    else
        agreed = offered < rule->ours ? offered : rule->ours;
    if (strcmp(key->name, "MaxBurstLength") == 0)
        l->terms.max_burst_bytes = agreed;
    keys_put_number(out, key->name, agreed);
    return LOGIN_SUCCESS;
}

static enum login_status answer_boolean(struct login *l, const struct key_rule *rule, const struct key *key,
                                        struct keys_out *out)
{
    bool offered;

    if (keys_boolean(key->value, &offered) < 0)
        return LOGIN_INITIATOR_ERROR;
    if (rule->rule == RULE_BOTH)
        l->terms.immediate_data = offered;
    keys_put(out, key->name, rule->rule == RULE_YES || (rule->rule == RULE_BOTH && offered) ? "Yes" : "No");
    return LOGIN_SUCCESS;
}

static enum login_status answer_list(struct login *l, const struct key_rule *rule, const struct key *key,
                                     struct keys_out *out)
{
    static const char *const digests[] = {"None", "CRC32C"}, *const reporting[] = {"RFC3720"};
    bool digest = rule->rule == RULE_DIGEST;
    int chosen = digest ? keys_choose(key->value, digests, 2) : keys_choose(key->value, reporting, 1);

    if (chosen < 0) {
        keys_put(out, key->name, "Reject");
        return digest ? LOGIN_INITIATOR_ERROR : LOGIN_SUCCESS;
    }
    if (strcmp(key->name, "HeaderDigest") == 0)
        l->terms.header_digest = chosen == 1;
    else if (digest)
        l->terms.data_digest = chosen == 1;
    keys_put(out, key->name, digest ? digests[chosen] : reporting[chosen]);
    return LOGIN_SUCCESS;
}

static enum login_status answer_key(struct login *l, const struct key *key, struct keys_out *out)
{
    const struct key_rule *rule = find_rule(key->name);

    if (!rule) {
        keys_put(out, key->name, "NotUnderstood");
        return LOGIN_SUCCESS;
    }
    switch (rule->rule) {
    case RULE_MINIMUM:
    case RULE_MAXIMUM:
    case RULE_SEND_MAX: return answer_number(l, rule, key, out);
    case RULE_YES:
    case RULE_NO:
    case RULE_BOTH: return answer_boolean(l, rule, key, out);
    case RULE_DIGEST:
    case RULE_FIRST: return answer_list(l, rule, key, out);
    default: return LOGIN_SUCCESS;
    }
}

static enum login_status negotiate(struct login *l, const uint8_t *text, size_t len, struct keys_out *out)
{
    enum login_status status = LOGIN_SUCCESS;
    enum keys_result result = KEYS_END;
    struct key key;

    while (status == LOGIN_SUCCESS && (result = keys_next(&text, &len, &key)) == KEYS_ITEM)
        status = answer_key(l, &key, out);
    if (status != LOGIN_SUCCESS || result == KEYS_BAD)
        return status != LOGIN_SUCCESS ? status : LOGIN_INITIATOR_ERROR;
    if (!l->told_length)
        keys_put_number(out, "MaxRecvDataSegmentLength", LOGIN_DATA_BYTES);
    l->told_length = true;
    return LOGIN_SUCCESS;
}

/* ------------------------------------------------------------------------------------------------ steps */

/* Keep keys of a PDU with the C bit, or add them in front of the last. */
static bool gather(struct login *l, const uint8_t *data, size_t len)
{
    uint8_t *text;

    if (len > LOGIN_TEXT_MAX - l->text_len)
        return false;
    text = realloc(l->text, l->text_len + len + 1);
    if (!text)
        return false;
    if (len > 0)
        memcpy(text + l->text_len, data, len);
    l->text = text;
    l->text_len += len;
    return true;
}

static enum login_status run_stage(struct login *l, struct login_answer *answer)
{
    if (!l->begun) {
        enum login_status status = read_names(l, l->text, l->text_len);

        if (status != LOGIN_SUCCESS)
            return status;
        l->begun = true;
    }
    if (!l->told_group && !l->terms.discovery) {
        keys_put(&answer->keys, "TargetPortalGroupTag", "1");
        l->told_group = true;
    }
    if (l->stage == LOGIN_SECURITY)
        return login_security(l, l->text, l->text_len, answer);
    if (l->rules->secret && !l->authenticated)
        return LOGIN_AUTHENTICATION_FAILED;
    return negotiate(l, l->text, l->text_len, &answer->keys);
}

/* The initiator asks for the next stage; it gets it when this one is complete. */
static enum login_status transit(struct login *l, uint8_t flags, struct login_answer *answer)
{
    enum login_stage next = flags & 3;

    if (!(flags & FLAG_TRANSIT))
        return LOGIN_SUCCESS;
    if (next == 2 || next <= l->stage)
        return LOGIN_INITIATOR_ERROR;
    if (l->rules->secret && !l->authenticated)
        return LOGIN_SUCCESS; /* not yet: the answer has no T */
    answer->transit = true;
    answer->next_stage = next;
    l->stage = next;
    return LOGIN_SUCCESS;
}

static enum login_status step(struct login *l, uint8_t flags, const uint8_t *data, size_t len,
                              struct login_answer *answer)
{
    enum login_stage stage = flags >> 2 & 3;
    enum login_status status;

    if (++l->n_steps > LOGIN_MAX_STEPS)
        return LOGIN_INITIATOR_ERROR;
    if (!l->begun && stage == LOGIN_OPERATIONAL)
        l->stage = LOGIN_OPERATIONAL; /* the security stage may be left out */
    if (stage != l->stage || ((flags & FLAG_CONTINUE) && (flags & FLAG_TRANSIT)))
        return LOGIN_INITIATOR_ERROR;
    answer->stage = stage;
    if (!gather(l, data, len))
        return LOGIN_INITIATOR_ERROR;
    if (flags & FLAG_CONTINUE)
        return LOGIN_SUCCESS;
    status = run_stage(l, answer);
    l->text_len = 0;
    if (status == LOGIN_SUCCESS && answer->keys.overflow)
        status = LOGIN_INITIATOR_ERROR;
    return status == LOGIN_SUCCESS ? transit(l, flags, answer) : status;
}

void login_step(struct login *l, uint8_t flags, const uint8_t *data, size_t len, struct login_answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->status = step(l, flags, data, len, answer);
    if (answer->status != LOGIN_SUCCESS) {
        answer->keys.len = 0;
        answer->transit = false;
    }
}
