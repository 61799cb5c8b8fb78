/* SPDX-License-Identifier: Apache-2.0 */
/* The security stage: AuthMethod, and CHAP in both directions (RFC 7143 section 12.1).
 *
 * The normal path: the initiator offers methods; it offers algorithms (CHAP_A), we choose one and challenge it (CHAP_I,
 * CHAP_C); it answers with name and response (CHAP_N, CHAP_R), perhaps with a challenge of its own, which we answer. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "tests/target/iscsi/login.h"

#define MAX_CHALLENGE_BYTES 256

/* Everything that may come in the security stage. */
struct security_keys {
    char methods[64], algorithms[64], user[256], response[KEYS_VALUE_BYTES], identifier[16],
        challenge[KEYS_VALUE_BYTES];
};

static const char *const algorithm_names[] = {"7", "5"};
static const int algorithms[] = {7, 5};

size_t chap_response(int algorithm, uint8_t identifier, const char *secret, const uint8_t *challenge, size_t len,
                     uint8_t out[CHAP_MAX_BYTES])
{
    const EVP_MD *digest = algorithm == 5 ? EVP_md5() : algorithm == 7 ? EVP_sha256() : NULL;
    EVP_MD_CTX *context = digest ? EVP_MD_CTX_new() : NULL;
    uint8_t made[EVP_MAX_MD_SIZE];
    unsigned made_len = 0;

    if (!context)
        return 0;
    if (!EVP_DigestInit_ex(context, digest, NULL) || !EVP_DigestUpdate(context, &identifier, 1) ||
        !EVP_DigestUpdate(context, secret, strlen(secret)) || !EVP_DigestUpdate(context, challenge, len) ||
        !EVP_DigestFinal_ex(context, made, &made_len) || made_len > CHAP_MAX_BYTES)
        made_len = 0;
    EVP_MD_CTX_free(context);
    memcpy(out, made, made_len);
    return made_len;
}

static bool keep(char *out, size_t cap, const char *value)
{
    return snprintf(out, cap, "%s", value) < (int)cap;
}

static bool read_keys(struct security_keys *s, const uint8_t *text, size_t len)
{
    struct key key;
    enum keys_result result;

    while ((result = keys_next(&text, &len, &key)) == KEYS_ITEM) {
        const struct {
            const char *name;
            char *out;
            size_t cap;
        } wanted[] = {
            {"AuthMethod", s->methods, sizeof(s->methods)},
            {"CHAP_A", s->algorithms, sizeof(s->algorithms)},
            {"CHAP_N", s->user, sizeof(s->user)},
            {"CHAP_R", s->response, sizeof(s->response)},
            {"CHAP_I", s->identifier, sizeof(s->identifier)},
            {"CHAP_C", s->challenge, sizeof(s->challenge)},
        };
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (strcmp(key.name, wanted[i].name) == 0 && !keep(wanted[i].out, wanted[i].cap, key.value))
                return false;
    }
    return result == KEYS_END;
}

static enum login_status offer_challenge(struct login *l, const struct security_keys *s, struct login_answer *answer)
{
    int chosen = keys_choose(s->algorithms, algorithm_names, 2);

    if (chosen < 0)
        return LOGIN_AUTHENTICATION_FAILED;
    l->algorithm = algorithms[chosen];
    keys_put(&answer->keys, "CHAP_A", algorithm_names[chosen]);
    keys_put_number(&answer->keys, "CHAP_I", l->identifier);
    keys_put_binary(&answer->keys, "CHAP_C", l->challenge, sizeof(l->challenge));
    return LOGIN_SUCCESS;
}

/* The initiator wants us to prove who we are. Our own challenge sent back would have us answer for it. */
static enum login_status prove_ourselves(struct login *l, const struct security_keys *s, struct login_answer *answer)
{
    uint8_t challenge[MAX_CHALLENGE_BYTES], response[CHAP_MAX_BYTES];
    int len = keys_binary(s->challenge, challenge, sizeof(challenge));
    uint32_t identifier;
    size_t n;

    if (len < 0 || keys_number(s->identifier, &identifier) < 0 || identifier > 255)
        return LOGIN_INITIATOR_ERROR;
    if (!l->rules->own_secret ||
        ((size_t)len == sizeof(l->challenge) && memcmp(challenge, l->challenge, (size_t)len) == 0))
        return LOGIN_AUTHENTICATION_FAILED;
    n = chap_response(l->algorithm, (uint8_t)identifier, l->rules->own_secret, challenge, (size_t)len, response);
    if (n == 0)
        return LOGIN_TARGET_ERROR;
    keys_put(&answer->keys, "CHAP_N", l->rules->own_user);
    keys_put_binary(&answer->keys, "CHAP_R", response, n);
    return LOGIN_SUCCESS;
}

static enum login_status check_response(struct login *l, const struct security_keys *s, struct login_answer *answer)
{
    uint8_t expected[CHAP_MAX_BYTES], got[CHAP_MAX_BYTES];
    size_t n =
        chap_response(l->algorithm, l->identifier, l->rules->secret, l->challenge, sizeof(l->challenge), expected);
    int len = keys_binary(s->response, got, sizeof(got));

    if (l->algorithm == 0 || l->authenticated)
        return LOGIN_INITIATOR_ERROR;
    if (n == 0)
        return LOGIN_TARGET_ERROR;
    if (len != (int)n || CRYPTO_memcmp(got, expected, n) != 0 || strcmp(s->user, l->rules->user) != 0)
        return LOGIN_AUTHENTICATION_FAILED;
    l->authenticated = true;
    return s->challenge[0] ? prove_ourselves(l, s, answer) : LOGIN_SUCCESS;
}

enum login_status login_security(struct login *l, const uint8_t *text, size_t len, struct login_answer *answer)
{
    static const char *const chap[] = {"CHAP"}, *const none[] = {"None"};
    struct security_keys s = {0};

    if (!read_keys(&s, text, len))
        return LOGIN_INITIATOR_ERROR;
    if (!l->rules->secret) {
        l->authenticated = true;
        if (!s.methods[0])
            return LOGIN_SUCCESS;
        if (keys_choose(s.methods, none, 1) < 0)
            return LOGIN_AUTHENTICATION_FAILED;
        keys_put(&answer->keys, "AuthMethod", "None");
        return LOGIN_SUCCESS;
    }
    if (s.response[0])
        return check_response(l, &s, answer);
    if (s.algorithms[0])
        return offer_challenge(l, &s, answer);
    if (s.methods[0] && keys_choose(s.methods, chap, 1) < 0)
        return LOGIN_AUTHENTICATION_FAILED;
    if (s.methods[0])
        keys_put(&answer->keys, "AuthMethod", "CHAP");
    return LOGIN_SUCCESS;
}
