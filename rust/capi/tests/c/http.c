/* Flushes an outbox over HTTP: http OUTBOX URL TIMEOUT_MS TOKEN CA. Prints the status, the records that wait, and the
 * reason of the failure. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t SEED[EDGESENTRY_SEED_SIZE] = {7};

static void text(const char **pointer, size_t *size, const char *argument) {
    *pointer = argument;
    *size = strlen(argument);
}

/* The failures that need no service. */
static void contract(edgesentry_outbox *outbox, edgesentry_service service) {
    edgesentry_flushed flushed = {1, 1, 1, 1};
    CHECK(edgesentry_outbox_flush_to(NULL, &service, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_outbox_flush_to(outbox, NULL, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(flushed.accepted == 0 && flushed.waiting == 0);
    CHECK(edgesentry_outbox_flush_to(outbox, &service, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    edgesentry_service wrong = service;
    wrong.struct_size = 8;
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    wrong = service;
    wrong.url_size = 0;
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    wrong = service;
    text(&wrong.token, &wrong.token_size, "line\nfeed");
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) != EDGESENTRY_OK);
    wrong.token_size = 4;
    wrong.token = "a\0b";
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    wrong = service;
    text(&wrong.certificate, &wrong.certificate_size, "lift-01.pem");
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    text(&wrong.certificate_key, &wrong.certificate_key_size, "lift-01.key");
    CHECK(edgesentry_outbox_flush_to(outbox, &wrong, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    /* A structure of a later version, whose further fields are zero. */
    struct {
        edgesentry_service service;
        uint64_t later;
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.service = service;
    longer.service.struct_size = (uint32_t)sizeof longer;
    longer.service.url_size = 3;
    CHECK(edgesentry_outbox_flush_to(outbox, &longer.service, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
    longer.later = 1;
    CHECK(edgesentry_outbox_flush_to(outbox, &longer.service, &flushed) == EDGESENTRY_INVALID_ARGUMENT);
}

/* Keys that cannot be opened. */
static void keys(void) {
    edgesentry_private_key *key = NULL;
    edgesentry_signer signer = EDGESENTRY_SIGNER_INIT;
    const char *program = "exec:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a /bin/sign";
    const char *cases[] = {"", "pkcs11:token=t?pin-value=4711", program, "/absent.seed",
                           "pkcs11:object=lift-01?module-path=/absent.so"};
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        edgesentry_status expected = at < 3 ? EDGESENTRY_INVALID_ARGUMENT : EDGESENTRY_SIGNER;
        CHECK(edgesentry_signer_open(cases[at], strlen(cases[at]), &key, &signer) == expected);
        char reason[512];
        CHECK(edgesentry_last_error(reason, sizeof reason) > 0 && strstr(reason, "4711") == NULL && key == NULL);
    }
    CHECK(edgesentry_signer_open(NULL, 1, &key, &signer) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_signer_open("a\0b", 3, &key, &signer) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_signer_open("/absent", 7, NULL, &signer) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_signer_open("/absent", 7, &key, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    signer.struct_size = 0;
    CHECK(edgesentry_signer_open("/absent", 7, &key, &signer) == EDGESENTRY_INVALID_ARGUMENT);
    uint8_t message[32] = {0}, signature[EDGESENTRY_SIGNATURE_SIZE];
    CHECK(edgesentry_signer_sign(NULL, message, sizeof message, signature) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_signer_close(NULL) == EDGESENTRY_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 6);
    edgesentry_outbox *outbox = NULL;
    CHECK(edgesentry_outbox_open(arguments[1], strlen(arguments[1]), "lift-01", 7, SEED, sizeof SEED,
                                 EDGESENTRY_SCHEME_RECORD, &outbox) == EDGESENTRY_OK);
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    record.timestamp_ms = 1790000000000;
    text(&record.object_ref, &record.object_ref_size, "lift-01/1.bin");
    /* More than one write. */
    static uint8_t payload[1 << 20];
    CHECK(edgesentry_outbox_sign(outbox, payload, sizeof payload, &record) == EDGESENTRY_OK);
    edgesentry_service service = EDGESENTRY_SERVICE_INIT;
    text(&service.url, &service.url_size, arguments[2]);
    service.timeout_ms = (uint32_t)atoi(arguments[3]);
    text(&service.token, &service.token_size, arguments[4]);
    text(&service.ca, &service.ca_size, arguments[5]);
    contract(outbox, service);
    keys();
    edgesentry_flushed flushed;
    edgesentry_status status = edgesentry_outbox_flush_to(outbox, &service, &flushed);
    char reason[512] = "";
    edgesentry_last_error(reason, sizeof reason);
    uint64_t waiting = 0;
    CHECK(edgesentry_outbox_state(outbox, &waiting, NULL) == EDGESENTRY_OK);
    printf("%d, %llu wait: %s\n", status, (unsigned long long)waiting, reason);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
    return 0;
}
