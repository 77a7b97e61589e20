/* Signs a record into an outbox and sends the waiting records to eds serve: push KEY OUTBOX URL PAYLOAD
 *   cc push.c $(pkg-config --cflags --libs edgesentry)
 * KEY is a seed file or the PKCS#11 URI of a key in a token. EDS_TOKEN has the token of the service. */
#include <edgesentry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failed(const char *step) {
    char reason[512];
    edgesentry_last_error(reason, sizeof reason);
    fprintf(stderr, "%s: %s\n", step, reason);
    return 1;
}

int main(int count, char **arguments) {
    if (count != 5)
        return fputs("usage: push KEY OUTBOX URL PAYLOAD\n", stderr), 2;
    const char *key = arguments[1], *path = arguments[2], *payload = arguments[4];
    edgesentry_private_key *private_key;
    edgesentry_signer signer = EDGESENTRY_SIGNER_INIT;
    if (edgesentry_signer_open(key, strlen(key), &private_key, &signer) != EDGESENTRY_OK)
        return failed("key");
    edgesentry_outbox *outbox;
    if (edgesentry_outbox_open_with(path, strlen(path), "lift-01", 7, &signer, EDGESENTRY_SCHEME_RECORD,
                                    &outbox) != EDGESENTRY_OK)
        return failed("outbox");
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    record.timestamp_ms = (uint64_t)time(NULL) * 1000;
    record.object_ref = "lift-01/door.txt";
    record.object_ref_size = strlen(record.object_ref);
    if (edgesentry_outbox_sign(outbox, (const uint8_t *)payload, strlen(payload), &record) != EDGESENTRY_OK)
        return failed("sign");
    edgesentry_service service = EDGESENTRY_SERVICE_INIT;
    service.url = arguments[3];
    service.url_size = strlen(service.url);
    service.token = getenv("EDS_TOKEN");
    service.token_size = service.token == NULL ? 0 : strlen(service.token);
    edgesentry_flushed flushed;
    int result = edgesentry_outbox_flush_to(outbox, &service, &flushed) == EDGESENTRY_OK ? 0 : failed("flush");
    printf("%llu accepted, %llu wait\n", (unsigned long long)flushed.accepted, (unsigned long long)flushed.waiting);
    edgesentry_outbox_close(outbox);
    edgesentry_signer_close(private_key);
    return result;
}
