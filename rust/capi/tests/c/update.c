/* Checks the verification of updates from C: arguments are a manifest of two publishers for version 6, of product
 * door-controller with the image "version 6", and the file of their public keys.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An image, and what becomes of it. */
typedef struct {
    const char *bytes;
    size_t size;
    size_t taken;
    int64_t result;
    int calls;
} source;

static int64_t next(void *context, uint8_t *buffer, size_t capacity) {
    source *from = (source *)context;
    from->calls++;
    if (from->result != 0)
        return from->result;
    size_t size = from->size - from->taken < capacity ? from->size - from->taken : capacity;
    memcpy(buffer, from->bytes + from->taken, size);
    from->taken += size;
    return (int64_t)size;
}

static uint8_t *content(const char *path, size_t *size) {
    static uint8_t files[2][9000];
    static int count = 0;
    uint8_t *memory = files[count++];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    *size = fread(memory, 1, sizeof files[0], file);
    fclose(file);
    return memory;
}

static const uint64_t NOW_MS = 1790000000000;

int main(int count, char **arguments) {
    CHECK(count == 3);
    size_t manifest_size, keys_size;
    uint8_t *manifest = content(arguments[1], &manifest_size);
    const uint8_t *keys = content(arguments[2], &keys_size);
    uint8_t state[EDGESENTRY_UPDATE_STATE_SIZE], buffer[4];
    const char *name = "door-controller";
    CHECK(edgesentry_update_state_new(name, strlen(name), state, sizeof state) == EDGESENTRY_OK);

    edgesentry_update_check check = EDGESENTRY_UPDATE_CHECK_INIT;
    check.threshold = 2;
    check.name = name;
    check.name_size = strlen(name);
    check.keys = keys;
    check.keys_size = keys_size;
    check.manifest = manifest;
    check.manifest_size = manifest_size;
    check.state = state;
    check.state_size = sizeof state;
    check.now_ms = NOW_MS;
    check.buffer = buffer;
    check.buffer_size = sizeof buffer;
    edgesentry_update update = EDGESENTRY_UPDATE_INIT;
    source image = {"version 6", 9, 0, 0, 0};
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_OK);
    CHECK(update.version == 6 && update.image_size == 9 && update.refusal == 0 && update.slot < 2);
    CHECK(update.struct_size == sizeof update && image.calls == 4);
    memcpy(state + update.slot * EDGESENTRY_UPDATE_SLOT_SIZE, update.slot_bytes, sizeof update.slot_bytes);

#define REFUSED(from, code)                                                                                  \
    CHECK(edgesentry_update_verify(&check, next, &from, &update) == EDGESENTRY_REFUSED);                     \
    CHECK(update.refusal == (code) && update.version == 0)
    /* The same update again, then images that are truncated, longer, or others. */
    image.taken = 0;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_OK);
    source truncated = {"version 6", 8, 0, 0, 0}, longer = {"version 6!", 10, 0, 0, 0};
    source other = {"version 7", 9, 0, 0, 0};
    REFUSED(truncated, EDGESENTRY_REFUSAL_IMAGE_TRUNCATED);
    REFUSED(longer, EDGESENTRY_REFUSAL_IMAGE_TOO_LONG);
    REFUSED(other, EDGESENTRY_REFUSAL_IMAGE_HASH);
    char text[512];
    CHECK(edgesentry_last_error(text, sizeof text) > 0 && strstr(text, "update_image_hash") == text);

    /* Nothing is read for a manifest that is refused. */
    other.calls = 0;
    check.now_ms = UINT64_MAX;
    REFUSED(other, EDGESENTRY_REFUSAL_EXPIRED);
    check.now_ms = 0;
    check.name = "lift-drive";
    check.name_size = strlen(check.name);
    REFUSED(other, EDGESENTRY_REFUSAL_OTHER_NAME);
    check.name = name;
    check.name_size = strlen(name);
    manifest[manifest_size - 1] ^= 1;
    REFUSED(other, EDGESENTRY_REFUSAL_UNTRUSTED);
    manifest[manifest_size - 1] ^= 1;
    check.manifest_size--;
    REFUSED(other, EDGESENTRY_REFUSAL_MALFORMED);
    check.manifest_size++;
    CHECK(other.calls == 0);

    /* Failures are not verdicts. */
    source broken = {NULL, 0, 0, -1, 0};
    CHECK(edgesentry_update_verify(&check, next, &broken, &update) == EDGESENTRY_UNREADABLE);
    broken.result = sizeof buffer + 1;
    CHECK(edgesentry_update_verify(&check, next, &broken, &update) == EDGESENTRY_UNREADABLE);
    CHECK(edgesentry_update_verify(&check, NULL, NULL, &update) == EDGESENTRY_INVALID_ARGUMENT);
    check.buffer_size = 0;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_BUFFER_TOO_SMALL);
    check.buffer_size = sizeof buffer;
    check.threshold = 3;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_INVALID_ARGUMENT);
    check.threshold = 0;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_INVALID_ARGUMENT);
    check.threshold = 2;
    check.keys_size--;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_INVALID_ARGUMENT);
    check.keys_size++;
    check.state_size--;
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_INVALID_ARGUMENT);
    check.state_size++;
    memset(state, 0, sizeof state);
    CHECK(edgesentry_update_verify(&check, next, &image, &update) == EDGESENTRY_STATE_DAMAGED);
    CHECK(edgesentry_update_state_new("a b", 3, state, sizeof state) == EDGESENTRY_INVALID_ARGUMENT);
    puts("ok");
    return 0;
}
