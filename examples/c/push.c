/* Signs a record into an outbox and sends what waits there to a service. Compile with:
 *   cc push.c $(pkg-config --cflags --libs edgesentry)
 * Arguments: the key, the outbox, the address and the port of eds serve, the payload. The key is the seed file of
 * eds keygen, or the PKCS#11 URI of a key in a token. HTTP without TLS, for a service on this machine.
 */
#define _POSIX_C_SOURCE 200809L
#include <edgesentry.h>

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Sends one request over a connection of its own. */
static int32_t post(void *context, edgesentry_request *request) {
    char **address = context, *line = (char *)request->response;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(address[0], address[1], &hints, &found) != 0)
        return -1;
    int peer = socket(found->ai_family, SOCK_STREAM, 0);
    int connected = connect(peer, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    FILE *stream = connected == 0 ? fdopen(peer, "r+") : NULL;
    if (stream == NULL) {
        close(peer);
        return -1;
    }
    fprintf(stream, "POST /api/v1/ingest HTTP/1.0\r\nhost: %s\r\ncontent-type: application/json\r\n"
                    "content-length: %zu\r\n\r\n", address[0], request->body_size);
    fwrite(request->body, 1, request->body_size, stream);
    fflush(stream);
    int status = 0;
    if (fgets(line, (int)request->response_capacity, stream) == NULL || sscanf(line, "HTTP/%*s %d", &status) != 1)
        status = 0;
    while (fgets(line, (int)request->response_capacity, stream) != NULL && strcmp(line, "\r\n") != 0)
        ;
    request->response_size = fread(request->response, 1, request->response_capacity, stream);
    request->http_status = (uint32_t)status;
    fclose(stream);
    return status == 0 ? -1 : 0;
}

static int failed(const char *what) {
    char reason[512];
    edgesentry_last_error(reason, sizeof reason);
    fprintf(stderr, "%s: %s\n", what, reason);
    return 1;
}

static int open_with_seed(const char *path, const char *place, edgesentry_outbox **outbox) {
    uint8_t seed[EDGESENTRY_SEED_SIZE];
    FILE *file = fopen(path, "r");
    for (size_t at = 0; at < sizeof seed; at++)
        if (file == NULL || fscanf(file, "%2hhx", &seed[at]) != 1)
            return fprintf(stderr, "%s: not a seed file\n", path), 2;
    fclose(file);
    int status = edgesentry_outbox_open(place, strlen(place), "lift-01", 7, seed, sizeof seed,
                                        EDGESENTRY_SCHEME_RECORD, outbox);
    return status == EDGESENTRY_OK ? 0 : failed("open");
}

static int open_with_token(const char *uri, const char *place, edgesentry_token **token,
                           edgesentry_outbox **outbox) {
    edgesentry_signer signer = EDGESENTRY_SIGNER_INIT;
    if (edgesentry_pkcs11_open(uri, strlen(uri), NULL, 0, NULL, 0, token, &signer) != EDGESENTRY_OK)
        return failed("token");
    int status = edgesentry_outbox_open_with(place, strlen(place), "lift-01", 7, &signer,
                                             EDGESENTRY_SCHEME_RECORD, outbox);
    return status == EDGESENTRY_OK ? 0 : failed("open");
}

int main(int count, char **arguments) {
    if (count != 6)
        return fputs("usage: push KEY OUTBOX ADDRESS PORT PAYLOAD\n", stderr), 2;
    edgesentry_outbox *outbox;
    edgesentry_token *token = NULL;
    int unusable = strncmp(arguments[1], "pkcs11:", 7) == 0
                       ? open_with_token(arguments[1], arguments[2], &token, &outbox)
                       : open_with_seed(arguments[1], arguments[2], &outbox);
    if (unusable)
        return unusable;
    edgesentry_record record = EDGESENTRY_RECORD_INIT;
    record.timestamp_ms = (uint64_t)time(NULL) * 1000;
    record.object_ref = "lift-01/door.txt";
    record.object_ref_size = strlen(record.object_ref);
    if (edgesentry_outbox_sign(outbox, (uint8_t *)arguments[5], strlen(arguments[5]), &record) != EDGESENTRY_OK)
        return failed("sign");
    edgesentry_flushed flushed;
    int status = edgesentry_outbox_flush(outbox, post, arguments + 3, &flushed);
    int result = status == EDGESENTRY_OK ? 0 : failed("flush");
    printf("%llu accepted, %llu wait\n", (unsigned long long)flushed.accepted, (unsigned long long)flushed.waiting);
    edgesentry_outbox_close(outbox);
    edgesentry_pkcs11_close(token);
    return result;
}
