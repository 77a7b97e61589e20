/* Checks the C interface from C and from C++: arguments are the file of vectors. */
#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t SEED[EDGESENTRY_SEED_SIZE] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                                                   7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};

/* Memory of exactly this size, so that valgrind and ASan see each byte beyond it. */
static uint8_t *exact(size_t size) {
    uint8_t *memory = (uint8_t *)malloc(size > 0 ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

static size_t from_hex(const char *text, uint8_t *out, size_t capacity) {
    size_t size = strlen(text) / 2;
    CHECK(size <= capacity);
    for (size_t at = 0; at < size; at++) {
        unsigned byte;
        CHECK(sscanf(text + 2 * at, "%2x", &byte) == 1);
        out[at] = (uint8_t)byte;
    }
    return size;
}

static void fill_in(edgesentry_record *record, const char *device_id, const char *object_ref, uint64_t time) {
    record->device_id = device_id;
    record->device_id_size = strlen(device_id);
    record->object_ref = object_ref;
    record->object_ref_size = strlen(object_ref);
    record->timestamp_ms = time;
}

static void check_vector(char *line, edgesentry_head *head, char *last_seed) {
    char *fields[8];
    char *rest = line;
    for (int at = 0; at < 8; at++) {
        fields[at] = rest;
        char *end = strchr(rest, '\t');
        if (end != NULL) {
            *end = 0;
            rest = end + 1;
        } else {
            CHECK(at == 7);
        }
    }
    uint8_t seed[EDGESENTRY_SEED_SIZE], expected[4096], hash[EDGESENTRY_HASH_SIZE], actual[EDGESENTRY_HASH_SIZE];
    uint8_t public_key[EDGESENTRY_PUBLIC_KEY_SIZE], payload[1024];
    CHECK(from_hex(fields[0], seed, sizeof seed) == sizeof seed);
    uint32_t scheme =
        strcmp(fields[1], "record") == 0 ? EDGESENTRY_SCHEME_RECORD : EDGESENTRY_SCHEME_PAYLOAD_HASH;
    size_t payload_size = from_hex(fields[5], payload, sizeof payload);
    size_t expected_size = from_hex(fields[6], expected, sizeof expected);
    CHECK(from_hex(fields[7], hash, sizeof hash) == sizeof hash);

    /* The lines of one key are one chain. */
    if (strcmp(fields[0], last_seed) != 0) {
        memset(head, 0, sizeof *head);
        strcpy(last_seed, fields[0]);
    }
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    fill_in(&record, fields[2], fields[4], strtoull(fields[3], NULL, 10));
    CHECK(edgesentry_sign(seed, sizeof seed, scheme, head, payload, payload_size, &record) == EDGESENTRY_OK);
    CHECK(record.sequence == head->sequence && memcmp(head->hash, hash, sizeof hash) == 0);
    CHECK(edgesentry_record_hash(&record, actual, sizeof actual) == EDGESENTRY_OK);
    CHECK(memcmp(actual, hash, sizeof hash) == 0);

    size_t size = 0;
    uint8_t *bytes = exact(expected_size);
    CHECK(edgesentry_canonical_bytes(&record, bytes, expected_size, &size) == EDGESENTRY_OK);
    CHECK(size == expected_size && memcmp(bytes, expected, size) == 0);

    edgesentry_record read = EDGESENTRY_RECORD_INIT;
    CHECK(edgesentry_parse_record(bytes, size, &read) == EDGESENTRY_OK);
    CHECK(read.sequence == record.sequence && read.timestamp_ms == record.timestamp_ms);
    CHECK(read.device_id_size == record.device_id_size && read.struct_size == sizeof read);
    CHECK(memcmp(read.device_id, record.device_id, read.device_id_size) == 0);
    CHECK(memcmp(read.signature, record.signature, sizeof read.signature) == 0);
    CHECK(edgesentry_public_key(seed, sizeof seed, public_key, sizeof public_key) == EDGESENTRY_OK);
    uint32_t finding = 0;
    CHECK(edgesentry_verify_record(&read, public_key, sizeof public_key, scheme, payload, payload_size,
                                   &finding) == EDGESENTRY_OK);
    CHECK(finding == 0);

    for (size_t shorter = 0; shorter < size; shorter++) {
        uint8_t *part = exact(shorter);
        memcpy(part, bytes, shorter);
        CHECK(edgesentry_parse_record(part, shorter, &read) == EDGESENTRY_MALFORMED);
        CHECK(edgesentry_canonical_bytes(&record, part, shorter, &size) == EDGESENTRY_BUFFER_TOO_SMALL);
        CHECK(size == expected_size && memcmp(part, bytes, shorter) == 0);
        free(part);
    }
    free(bytes);
}

static void check_vectors(const char *path) {
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    static char line[16384];
    char seed[80] = "";
    edgesentry_head head = EDGESENTRY_HEAD_INIT;
    int count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] != '#') {
            check_vector(line, &head, seed);
            count++;
        }
    }
    fclose(file);
    CHECK(count >= 10);
}

/* A chain of this many records, with its key and its last head. */
enum { RECORDS = 20 };
typedef struct {
    edgesentry_record records[RECORDS];
    edgesentry_key key;
    edgesentry_head head;
} signed_chain;

static void sign_chain(signed_chain *chain, uint32_t scheme) {
    memset(chain, 0, sizeof *chain);
    chain->key.valid_from = 1;
    chain->key.scheme = scheme;
    CHECK(edgesentry_public_key(SEED, sizeof SEED, chain->key.public_key, sizeof chain->key.public_key) ==
          EDGESENTRY_OK);
    for (int at = 0; at < RECORDS; at++) {
        edgesentry_record record = EDGESENTRY_RECORD_INIT;
        fill_in(&record, "lift-01", "s3://bucket/lift-01/1.bin", 1700000000000 + (uint64_t)at);
        CHECK(edgesentry_sign(SEED, sizeof SEED, scheme, &chain->head, (const uint8_t *)"door", 4, &record) ==
              EDGESENTRY_OK);
        chain->records[at] = record;
    }
}

static edgesentry_chain checked(const signed_chain *from) {
    edgesentry_chain chain = EDGESENTRY_CHAIN_INIT;
    chain.records = from->records;
    chain.record_count = RECORDS;
    chain.keys = &from->key;
    chain.key_count = 1;
    chain.head = &from->head;
    return chain;
}

static void check_chains(uint32_t scheme) {
    static signed_chain good;
    sign_chain(&good, scheme);
    edgesentry_finding findings[4];
    size_t found = 9;
    edgesentry_chain chain = checked(&good);
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_OK && found == 0);
    CHECK(edgesentry_verify_chain(&chain, NULL, 4, &found) == EDGESENTRY_INVALID_ARGUMENT);

    /* A changed time breaks the next link, and the signature under scheme record. */
    static signed_chain bad;
    bad = good;
    bad.records[4].timestamp_ms++;
    chain = checked(&bad);
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);
    if (scheme == EDGESENTRY_SCHEME_RECORD) {
        CHECK(found == 2 && findings[0].code == EDGESENTRY_FINDING_SIGNATURE_INVALID && findings[0].index == 4);
        CHECK(findings[1].code == EDGESENTRY_FINDING_PREV_HASH_MISMATCH && findings[1].sequence == 6);
    } else {
        CHECK(found == 1 && findings[0].code == EDGESENTRY_FINDING_PREV_HASH_MISMATCH);
    }
    /* Findings beyond the capacity are counted. */
    CHECK(edgesentry_verify_chain(&chain, NULL, 0, &found) == EDGESENTRY_FINDINGS && found > 0);
    char text[512];
    CHECK(edgesentry_last_error(text, sizeof text) == strlen(text) && strstr(text, "lift-01") != NULL);

    /* Truncated, and a range without its start. */
    chain = checked(&good);
    chain.record_count = RECORDS - 1;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);
    CHECK(found == 1 && findings[0].code == EDGESENTRY_FINDING_HEAD_MISMATCH);
    chain.head = NULL;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_OK);
    chain.records = good.records + 5;
    chain.record_count = 10;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);
    CHECK(found == 1 && findings[0].code == EDGESENTRY_FINDING_FIRST_RECORD_NOT_GENESIS);
    edgesentry_head start;
    start.sequence = 5;
    memcpy(start.hash, good.records[5].prev_record_hash, sizeof start.hash);
    chain.start = &start;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_OK);

    /* A record is missing, one is there twice, one is of another device. */
    bad = good;
    memmove(bad.records + 3, bad.records + 4, (RECORDS - 4) * sizeof(edgesentry_record));
    chain = checked(&bad);
    chain.record_count = RECORDS - 1;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);
    CHECK(findings[0].code == EDGESENTRY_FINDING_SEQUENCE_GAP && findings[0].index == 3);
    bad = good;
    bad.records[RECORDS - 1] = bad.records[RECORDS - 2];
    chain = checked(&bad);
    chain.head = NULL;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);
    CHECK(findings[0].code == EDGESENTRY_FINDING_SEQUENCE_DUPLICATE);
    bad = good;
    bad.records[7].device_id = "lift-02";
    chain = checked(&bad);
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_FINDINGS);

    /* Nothing to verify is not a pass; neither are records without keys. */
    chain = checked(&good);
    chain.record_count = 0;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_NOTHING_TO_VERIFY && found == 0);
    chain = checked(&good);
    chain.key_count = 0;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_INVALID_ARGUMENT);
    static const edgesentry_key weak = {1, EDGESENTRY_SCHEME_RECORD, 0, {1}};
    chain.keys = &weak;
    chain.key_count = 1;
    CHECK(edgesentry_verify_chain(&chain, findings, 4, &found) == EDGESENTRY_WEAK_KEY);

    uint32_t finding = 0;
    edgesentry_record one = good.records[0];
    const uint8_t *key = good.key.public_key;
    CHECK(edgesentry_verify_record(&one, key, 32, scheme, NULL, 0, NULL) == EDGESENTRY_OK);
    CHECK(edgesentry_verify_record(&one, key, 32, scheme, (const uint8_t *)"dooR", 4, &finding) ==
          EDGESENTRY_FINDINGS);
    CHECK(finding == EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH);
    one.signature[40] ^= 1;
    CHECK(edgesentry_verify_record(&one, key, 32, scheme, NULL, 0, &finding) == EDGESENTRY_FINDINGS);
    CHECK(finding == EDGESENTRY_FINDING_SIGNATURE_INVALID);
}

static void check_arguments(void) {
    uint8_t seed[32], key[32], other[32], buffer[512];
    CHECK(edgesentry_keygen(seed, 32, key, 32) == EDGESENTRY_OK);
    CHECK(edgesentry_public_key(seed, 32, other, 32) == EDGESENTRY_OK && memcmp(key, other, 32) == 0);
    for (size_t size = 0; size < 70; size++) {
        if (size != 32) {
            uint8_t *memory = exact(size);
            memset(memory, 1, size);
            CHECK(edgesentry_keygen(memory, size, key, 32) == EDGESENTRY_INVALID_ARGUMENT);
            CHECK(edgesentry_keygen(seed, 32, memory, size) == EDGESENTRY_INVALID_ARGUMENT);
            CHECK(edgesentry_public_key(memory, size, key, 32) == EDGESENTRY_INVALID_ARGUMENT);
            CHECK(edgesentry_hash(buffer, 0, memory, size) == EDGESENTRY_INVALID_ARGUMENT);
            free(memory);
        }
    }
    CHECK(edgesentry_hash(NULL, 0, key, 32) == EDGESENTRY_OK && key[0] == 0xaf && key[31] == 0x62);
    CHECK(edgesentry_hash(NULL, 1, key, 32) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_hash(buffer, SIZE_MAX, key, 32) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_keygen(NULL, 32, key, 32) == EDGESENTRY_INVALID_ARGUMENT);

    edgesentry_head head = EDGESENTRY_HEAD_INIT;
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    fill_in(&record, "lift-01", "1.bin", 1);
    const edgesentry_record good = record;
#define SIGN(head, record) edgesentry_sign(seed, 32, EDGESENTRY_SCHEME_RECORD, head, NULL, 0, record)
    CHECK(SIGN(NULL, &record) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(SIGN(&head, NULL) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_sign(seed, 32, 0, &head, NULL, 0, &record) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_sign(seed, 32, 3, &head, NULL, 0, &record) == EDGESENTRY_INVALID_ARGUMENT);
    const uint32_t sizes[] = {0, 1, sizeof record - 8, sizeof record + 1, 5000};
    for (size_t at = 0; at < sizeof sizes / sizeof sizes[0]; at++) {
        record = good;
        record.struct_size = sizes[at];
        CHECK(SIGN(&head, &record) == EDGESENTRY_INVALID_ARGUMENT);
    }
    record = good;
    record.reserved = 1;
    CHECK(SIGN(&head, &record) == EDGESENTRY_INVALID_ARGUMENT);
    record = good;
    record.device_id_size = 0;
    CHECK(SIGN(&head, &record) == EDGESENTRY_INVALID_ARGUMENT);
    record = good;
    record.object_ref = "\xff\xfe";
    record.object_ref_size = 2;
    CHECK(SIGN(&head, &record) == EDGESENTRY_INVALID_ARGUMENT);
    record = good;
    record.timestamp_ms = UINT64_MAX;
    CHECK(SIGN(&head, &record) == EDGESENTRY_INVALID_ARGUMENT);
    record = good;
    edgesentry_head full = {INT64_MAX, {1}};
    CHECK(SIGN(&full, &record) == EDGESENTRY_CHAIN_FULL && full.sequence == INT64_MAX);
    CHECK(memcmp(&record, &good, sizeof record) == 0 && head.sequence == 0);

    /* A structure of a later version: its further fields are zero, and stay as they are. */
    struct {
        edgesentry_record record;
        uint64_t further;
    } later;
    later.record = good;
    later.record.struct_size = sizeof later;
    later.further = 0;
    CHECK(SIGN(&head, &later.record) == EDGESENTRY_OK && head.sequence == 1);
    CHECK(later.record.struct_size == sizeof later && later.further == 0);
    later.further = 1;
    CHECK(SIGN(&head, &later.record) == EDGESENTRY_INVALID_ARGUMENT && head.sequence == 1);
#undef SIGN

    size_t size = 0;
    CHECK(edgesentry_canonical_bytes(&good, NULL, 0, &size) == EDGESENTRY_BUFFER_TOO_SMALL && size == 145);
    CHECK(edgesentry_canonical_bytes(&good, NULL, 9, &size) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_canonical_bytes(&good, buffer, sizeof buffer, NULL) == EDGESENTRY_INVALID_ARGUMENT);
}

static void *other_thread(void *unused) {
    (void)unused;
    char text[8];
    CHECK(edgesentry_last_error(text, sizeof text) == 0 && text[0] == 0);
    CHECK(edgesentry_hash(NULL, 1, NULL, 0) == EDGESENTRY_INVALID_ARGUMENT);
    CHECK(edgesentry_last_error(text, sizeof text) == strlen("bytes: is null") && strcmp(text, "bytes: ") == 0);
    return NULL;
}

static void check_last_error(void) {
    char text[512];
    CHECK(edgesentry_keygen(NULL, 32, NULL, 32) == EDGESENTRY_INVALID_ARGUMENT);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(edgesentry_last_error(text, sizeof text) > 0 && strcmp(text, "seed: is null") == 0);
    CHECK(edgesentry_last_error(NULL, 0) == strlen("seed: is null"));
    uint8_t hash[32];
    CHECK(edgesentry_hash(NULL, 0, hash, 32) == EDGESENTRY_OK && edgesentry_last_error(text, 512) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    CHECK(edgesentry_abi_version() == EDGESENTRY_ABI_VERSION && strlen(edgesentry_version()) >= 5);
    check_vectors(arguments[1]);
    check_chains(EDGESENTRY_SCHEME_RECORD);
    check_chains(EDGESENTRY_SCHEME_PAYLOAD_HASH);
    check_arguments();
    check_last_error();
    puts("ok");
    return 0;
}
