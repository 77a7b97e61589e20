/* Signs two records of a device, encodes and verifies them. Compile with:
 *   cc sign.c $(pkg-config --cflags --libs edgesentry)
 */
#include <edgesentry.h>

#include <stdio.h>
#include <string.h>

static int failed(const char *what) {
    char reason[256];
    edgesentry_last_error(reason, sizeof reason);
    fprintf(stderr, "%s: %s\n", what, reason);
    return 1;
}

int main(void) {
    /* A device makes its seed once and keeps it in protected memory. */
    uint8_t seed[EDGESENTRY_SEED_SIZE], public_key[EDGESENTRY_PUBLIC_KEY_SIZE];
    if (edgesentry_keygen(seed, sizeof seed, public_key, sizeof public_key) != EDGESENTRY_OK)
        return failed("keygen");

    /* The head is kept with the records, so that the chain goes on after a restart. */
    edgesentry_head head = EDGESENTRY_HEAD_INIT;
    static const char *const payloads[] = {"door open", "door closed"};
    for (size_t at = 0; at < 2; at++) {
        const uint8_t *payload = (const uint8_t *)payloads[at];
        size_t payload_size = strlen(payloads[at]);
        edgesentry_record record = EDGESENTRY_RECORD_INIT;
        record.device_id = "lift-01";
        record.device_id_size = strlen(record.device_id);
        record.object_ref = "s3://bucket/lift-01/door.txt";
        record.object_ref_size = strlen(record.object_ref);
        record.timestamp_ms = 1700000001000 + 1000 * at;
        if (edgesentry_sign(seed, sizeof seed, EDGESENTRY_SCHEME_RECORD, &head, payload, payload_size,
                            &record) != EDGESENTRY_OK)
            return failed("sign");

        uint8_t bytes[512];
        size_t size;
        if (edgesentry_canonical_bytes(&record, bytes, sizeof bytes, &size) != EDGESENTRY_OK)
            return failed("encode");

        edgesentry_record read = EDGESENTRY_RECORD_INIT;
        if (edgesentry_parse_record(bytes, size, &read) != EDGESENTRY_OK ||
            edgesentry_verify_record(&read, public_key, sizeof public_key, EDGESENTRY_SCHEME_RECORD, payload,
                                     payload_size, NULL) != EDGESENTRY_OK)
            return failed("verify");
        printf("sequence %llu of %.*s is signed and valid\n", (unsigned long long)read.sequence,
               (int)read.device_id_size, read.device_id);
    }
    return 0;
}
