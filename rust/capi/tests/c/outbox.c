/* Checks the outbox and keys elsewhere from C: arguments are the files of three outboxes. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t SEED[EDGESENTRY_SEED_SIZE] = {7};

/* A service that gives the same response to each request, and counts them. */
typedef struct {
    int reachable;
    uint32_t status;
    const char *response;
    int requests;
    char last[4096];
} service;

static int32_t post(void *context, edgesentry_request *request) {
    service *to = (service *)context;
    CHECK(request->struct_size == sizeof *request && request->body_size < sizeof to->last);
    memcpy(to->last, request->body, request->body_size);
    to->last[request->body_size] = 0;
    to->requests++;
    if (!to->reachable)
        return -1;
    size_t size = strlen(to->response);
    CHECK(size <= request->response_capacity);
    memcpy(request->response, to->response, size);
    request->response_size = size;
    request->http_status = to->status;
    return 0;
}

/* A service that uses the outbox while the outbox waits for it. */
static int32_t reenter(void *context, edgesentry_request *request) {
    edgesentry_outbox *outbox = (edgesentry_outbox *)context;
    uint64_t waiting = 0;
    CHECK(request->body_size > 0);
    CHECK(edgesentry_outbox_state(outbox, &waiting, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    return -1;
}

/* A secure element that has made the signature before: it gives it, fails, lies, or uses the outbox that waits for it. */
enum { GIVES, FAILS, LIES, REENTERS };
typedef struct {
    int state;
    const uint8_t *signature;
    edgesentry_outbox *outbox;
    size_t message_size;
} element;

static int32_t sign_in_element(void *context, const uint8_t *message, size_t size, uint8_t *signature) {
    element *of = (element *)context;
    uint64_t waiting = 0;
    CHECK(message != NULL);
    of->message_size = size;
    if (of->state == FAILS)
        return -5;
    if (of->state == REENTERS)
        return edgesentry_outbox_state(of->outbox, &waiting, NULL);
    memcpy(signature, of->signature, EDGESENTRY_SIGNATURE_SIZE);
    if (of->state == LIES)
        signature[7] ^= 1;
    return 0;
}

static edgesentry_record record_at(uint64_t time) {
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    record.device_id = "lift-01";
    record.device_id_size = 7;
    record.timestamp_ms = time;
    record.object_ref = "1.bin";
    record.object_ref_size = 5;
    return record;
}

/* A key that is not in the process signs like the seed, and its failures change nothing. */
static void check_signer(const char *path) {
    edgesentry_record expected = record_at(1), record = record_at(1);
    edgesentry_head head = EDGESENTRY_HEAD_INIT, start = EDGESENTRY_HEAD_INIT;
    CHECK(edgesentry_sign(SEED, sizeof SEED, EDGESENTRY_SCHEME_RECORD, &head, (const uint8_t *)"open", 4,
                          &expected) == EDGESENTRY_OK);
    element has = {FAILS, expected.signature, NULL, 0};
    edgesentry_signer signer = EDGESENTRY_SIGNER_INIT;
    CHECK(edgesentry_public_key(SEED, sizeof SEED, signer.public_key, sizeof signer.public_key) ==
          EDGESENTRY_OK);
    signer.context = &has;
    edgesentry_outbox *outbox = NULL;
    CHECK(edgesentry_sign_with(&signer, 1, &start, (const uint8_t *)"open", 4, &record) ==
          EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_open_with(path, strlen(path), "lift-01", 7, &signer, 1, &outbox) ==
          EDGESENTRY_INVALID_ARGUMENT);
    signer.sign = sign_in_element;
    CHECK(edgesentry_outbox_open_with(path, strlen(path), "lift-01", 7, NULL, 1, &outbox) ==
          EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_open_with(path, strlen(path), "lift-01", 7, &signer, 1, &outbox) ==
          EDGESENTRY_OK);
    has.outbox = outbox;
    char reason[512];
    uint64_t waiting = 0;
    for (int state = FAILS; state <= REENTERS; state++) {
        has.state = state;
        if (state != REENTERS) {
            CHECK(edgesentry_sign_with(&signer, 1, &start, (const uint8_t *)"open", 4, &record) ==
                  EDGESENTRY_SIGNER);
            CHECK(start.sequence == 0 && record.sequence == 0);
        }
        CHECK(edgesentry_outbox_sign(outbox, (const uint8_t *)"open", 4, &record) == EDGESENTRY_SIGNER);
        CHECK(edgesentry_last_error(reason, sizeof reason) > 0);
        CHECK(strstr(reason, state == FAILS ? "returned -5" : state == LIES ? "does not hold" : "return from it"));
        CHECK(edgesentry_outbox_state(outbox, &waiting, NULL) == EDGESENTRY_OK && waiting == 0);
    }
    has.state = GIVES;
    CHECK(edgesentry_sign_with(&signer, 1, &start, (const uint8_t *)"open", 4, &record) == EDGESENTRY_OK);
    CHECK(has.message_size == 32 && start.sequence == 1 && memcmp(start.hash, head.hash, 32) == 0);
    CHECK(memcmp(record.signature, expected.signature, 64) == 0);
    CHECK(edgesentry_outbox_sign(outbox, (const uint8_t *)"open", 4, &record) == EDGESENTRY_OK);
    CHECK(record.sequence == 1 && memcmp(record.signature, expected.signature, 64) == 0);

    /* The succession by a key whose element gives no signature of it that holds. */
    const uint8_t other[EDGESENTRY_SEED_SIZE] = {9};
    element next = {FAILS, expected.signature, outbox, 0};
    edgesentry_signer successor = EDGESENTRY_SIGNER_INIT;
    uint64_t sequence = 9;
    CHECK(edgesentry_public_key(other, sizeof other, successor.public_key, sizeof successor.public_key) ==
          EDGESENTRY_OK);
    successor.sign = sign_in_element;
    successor.context = &next;
    CHECK(edgesentry_outbox_rotate_with(outbox, 2, NULL, 1, &sequence) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_rotate_with(outbox, 2, &successor, 1, &sequence) == EDGESENTRY_SIGNER);
    next.state = LIES;
    CHECK(edgesentry_outbox_rotate_with(outbox, 2, &successor, 1, &sequence) == EDGESENTRY_SIGNER);
    CHECK(next.message_size > 0 && sequence == 0);
    CHECK(edgesentry_outbox_state(outbox, &waiting, NULL) == EDGESENTRY_OK && waiting == 1);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
}

/* A token that cannot be opened. */
static void check_no_token(void) {
    edgesentry_token *token = NULL;
    edgesentry_signer signer = EDGESENTRY_SIGNER_INIT;
    const char *uri = "pkcs11:object=lift-01?pin-value=4711";
    char reason[512];
    CHECK(edgesentry_pkcs11_open(uri, strlen(uri), NULL, 0, NULL, 0, &token, &signer) ==
          EDGESENTRY_INVALID_ARGUMENT);
    edgesentry_last_error(reason, sizeof reason);
    CHECK(strstr(reason, "4711") == NULL);
    CHECK(edgesentry_pkcs11_open(uri, 21, "/absent.so", 10, "4711", 4, &token, NULL) == EDGESENTRY_SIGNER);
    CHECK(token == NULL && edgesentry_last_error(reason, sizeof reason) > 0);
    CHECK(strstr(reason, "/absent.so: cannot load") != NULL && strstr(reason, "4711") == NULL);
    CHECK(edgesentry_pkcs11_sign(NULL, NULL, 0, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_pkcs11_close(NULL) == EDGESENTRY_OK);
}

static edgesentry_outbox *opened(const char *path) {
    edgesentry_outbox *outbox = NULL;
    CHECK(edgesentry_outbox_open(path, strlen(path), "lift-01", 7, SEED, sizeof SEED,
                                 EDGESENTRY_SCHEME_RECORD, &outbox) == EDGESENTRY_OK);
    CHECK(outbox != NULL);
    return outbox;
}

static edgesentry_record signed_record(edgesentry_outbox *outbox, uint64_t time) {
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    record.timestamp_ms = time;
    record.object_ref = "1.bin";
    record.object_ref_size = 5;
    CHECK(edgesentry_outbox_sign(outbox, (const uint8_t *)"open", 4, &record) == EDGESENTRY_OK);
    CHECK(record.device_id_size == 7 && memcmp(record.device_id, "lift-01", 7) == 0);
    return record;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    check_signer(arguments[3]);
    check_no_token();
    edgesentry_outbox *outbox = opened(arguments[1]);
    edgesentry_outbox *other = NULL;
    edgesentry_record records[3];
    for (int at = 0; at < 3; at++)
        records[at] = signed_record(outbox, 1000 + (uint64_t)at);
    uint8_t hash[32];
    edgesentry_head head;
    uint64_t waiting = 0;
    CHECK(edgesentry_record_hash(&records[2], hash, sizeof hash) == EDGESENTRY_OK);
    CHECK(edgesentry_outbox_state(outbox, &waiting, &head) == EDGESENTRY_OK && waiting == 3);
    CHECK(head.sequence == 3 && memcmp(head.hash, hash, 32) == 0);

    /* Nothing is lost without a service, and by a restart. */
    service to = {0, 0, "", 0, ""};
    edgesentry_flushed flushed;
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_TRY_AGAIN && to.requests == 1);
    CHECK(strstr(to.last, "\"sequence\":1") != NULL && strstr(to.last, "6f70656e") != NULL);
    CHECK(edgesentry_outbox_flush(outbox, reenter, outbox, &flushed) == EDGESENTRY_TRY_AGAIN);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
    outbox = opened(arguments[1]);
    to.reachable = 1;
    to.status = 503;
    to.response = "{\"code\":\"busy\",\"detail\":\"later\"}";
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_TRY_AGAIN && to.requests == 2);
    to.status = 401;
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_OUTBOX && to.requests == 3);

    /* A rejected record stays, with those behind it. */
    to.status = 409;
    to.response = "{\"code\":\"fork\",\"expected\":\"a\",\"actual\":\"b\"}";
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_REJECTED && to.requests == 4);
    CHECK(flushed.rejected_sequence == 1 && flushed.waiting == 3);
    to.status = 202;
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_OK && to.requests == 7);
    CHECK(flushed.accepted == 3 && flushed.waiting == 0 && flushed.rejected_sequence == 0);
    CHECK(strstr(to.last, "\"sequence\":3") != NULL);
    records[0] = signed_record(outbox, 2000);
    CHECK(records[0].sequence == 4 && memcmp(records[0].prev_record_hash, hash, 32) == 0);
    to.status = 200;
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_OK && flushed.duplicates == 1);

    /* Clock records have the known times. */
    uint64_t boots = 7, uptime = 90000, sequence = 0;
    CHECK(edgesentry_outbox_sign_clock(outbox, 3000, NULL, NULL, &sequence) == EDGESENTRY_OK && sequence == 5);
    CHECK(edgesentry_outbox_note_service_time(outbox, 1700000000000) == EDGESENTRY_OK);
    CHECK(edgesentry_outbox_sign_clock(outbox, 3001, &boots, &uptime, NULL) == EDGESENTRY_OK);
    to.status = 202;
    CHECK(edgesentry_outbox_flush(outbox, post, &to, &flushed) == EDGESENTRY_OK && flushed.accepted == 2);
    CHECK(strstr(to.last, "lift-01/clock/6.json") != NULL);
    CHECK(edgesentry_outbox_sign_clock(outbox, UINT64_MAX, NULL, NULL, &sequence) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(sequence == 0);
    CHECK(edgesentry_outbox_note_service_time(outbox, UINT64_MAX) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_sign_clock(NULL, 1, NULL, NULL, NULL) == EDGESENTRY_INVALID_ARGUMENT);

    /* Arguments that cannot be used. */
    CHECK(edgesentry_outbox_flush(outbox, NULL, &to, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_flush(outbox, post, &to, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_sign(NULL, NULL, 0, &records[0]) == EDGESENTRY_INVALID_ARGUMENT);
    records[0].object_ref_size = 0;
    CHECK(edgesentry_outbox_sign(outbox, NULL, 0, &records[0]) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_state(outbox, &waiting, NULL) == EDGESENTRY_OK && waiting == 0);
    CHECK(edgesentry_outbox_open(arguments[1], strlen(arguments[1]), "a\0b", 3, SEED, 32, 1, &other) ==
          EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_open(NULL, 0, "x", 1, SEED, 32, 1, &other) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_open("/", 1, "x", 1, SEED, 32, 1, &other) == EDGESENTRY_TRY_AGAIN && other == NULL);
    CHECK(edgesentry_outbox_open(arguments[1], strlen(arguments[1]), "x", 1, SEED, 32, 1, &other) ==
          EDGESENTRY_OUTBOX);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK && edgesentry_outbox_close(NULL) == EDGESENTRY_OK);
    outbox = opened(arguments[2]);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
    puts("ok");
    return 0;
}
