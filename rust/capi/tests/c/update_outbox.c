/* Checks the records of updates from C: arguments are those of update.c, and the file of an outbox. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t SEED[EDGESENTRY_SEED_SIZE] = {7};
static const uint64_t NOW_MS = 1790000000000;

typedef struct {
    const char *bytes;
    size_t size;
    size_t taken;
} source;

static int64_t next(void *context, uint8_t *buffer, size_t capacity) {
    source *from = (source *)context;
    size_t size = from->size - from->taken < capacity ? from->size - from->taken : capacity;
    memcpy(buffer, from->bytes + from->taken, size);
    from->taken += size;
    return (int64_t)size;
}

static size_t content(const char *path, uint8_t *memory, size_t capacity) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t size = fread(memory, 1, capacity, file);
    fclose(file);
    return size;
}

static edgesentry_outbox *opened(const char *path) {
    edgesentry_outbox *outbox = NULL;
    CHECK(edgesentry_outbox_open(path, strlen(path), "door-01", 7, SEED, sizeof SEED,
                                 EDGESENTRY_SCHEME_RECORD, &outbox) == EDGESENTRY_OK);
    return outbox;
}

static uint64_t waiting(edgesentry_outbox *outbox) {
    uint64_t number = 0;
    CHECK(edgesentry_outbox_state(outbox, &number, NULL) == EDGESENTRY_OK);
    return number;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    static uint8_t manifest[9000], keys[9000], state[EDGESENTRY_UPDATE_STATE_SIZE], buffer[4];
    const char *name = "door-controller";
    CHECK(edgesentry_update_state_new(name, strlen(name), state, sizeof state) == EDGESENTRY_OK);
    edgesentry_update_check check = EDGESENTRY_UPDATE_CHECK_INIT;
    check.threshold = 2;
    check.name = name;
    check.name_size = strlen(name);
    check.manifest = manifest;
    check.manifest_size = content(arguments[1], manifest, sizeof manifest);
    check.keys = keys;
    check.keys_size = content(arguments[2], keys, sizeof keys);
    check.state = state;
    check.state_size = sizeof state;
    check.now_ms = NOW_MS;
    check.buffer = buffer;
    check.buffer_size = sizeof buffer;
    edgesentry_update update = EDGESENTRY_UPDATE_INIT;
    edgesentry_outbox *outbox = opened(arguments[3]);

    /* A refused update is a record, and leaves nothing to complete. */
    source other = {"version 7", 9, 0};
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &other, NOW_MS, &update) == EDGESENTRY_REFUSED);
    CHECK(update.refusal == EDGESENTRY_REFUSAL_IMAGE_HASH && waiting(outbox) == 1);
    CHECK(edgesentry_outbox_unfinished_update(outbox, state, sizeof state, &update) == EDGESENTRY_OK);
    CHECK(update.version == 0);

    /* Power is lost after the record of an accepted update. */
    source image = {"version 6", 9, 0};
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &image, NOW_MS, &update) == EDGESENTRY_OK);
    CHECK(update.version == 6 && waiting(outbox) == 2);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
    outbox = opened(arguments[3]);

    /* Another update has to wait until the state is complete. */
    image.taken = 0;
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &image, NOW_MS, &update) == EDGESENTRY_OUTBOX);
    CHECK(edgesentry_outbox_unfinished_update(outbox, state, sizeof state, &update) == EDGESENTRY_OK);
    CHECK(update.version == 6 && update.slot < 2);
    memcpy(state + update.slot * EDGESENTRY_UPDATE_SLOT_SIZE, update.slot_bytes, sizeof update.slot_bytes);
    CHECK(edgesentry_outbox_unfinished_update(outbox, state, sizeof state, &update) == EDGESENTRY_OK);
    CHECK(update.version == 0);

    /* The repetition has no second record; the next installation has one. */
    image.taken = 0;
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &image, NOW_MS, &update) == EDGESENTRY_OK);
    CHECK(update.version == 6 && waiting(outbox) == 2);
    memcpy(state + update.slot * EDGESENTRY_UPDATE_SLOT_SIZE, update.slot_bytes, sizeof update.slot_bytes);
    CHECK(edgesentry_outbox_finish_update(outbox) == EDGESENTRY_OK);
    image.taken = 0;
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &image, NOW_MS, &update) == EDGESENTRY_OK);
    CHECK(waiting(outbox) == 3);

    /* Failures have no record. */
    CHECK(edgesentry_outbox_verify_update(outbox, &check, NULL, NULL, NOW_MS, &update) ==
          EDGESENTRY_INVALID_ARGUMENT);
    memset(state, 0, sizeof state);
    CHECK(edgesentry_outbox_verify_update(outbox, &check, next, &image, NOW_MS, &update) ==
          EDGESENTRY_STATE_DAMAGED);
    CHECK(edgesentry_outbox_unfinished_update(outbox, state, sizeof state, &update) == EDGESENTRY_STATE_DAMAGED);
    CHECK(waiting(outbox) == 3);
    CHECK(edgesentry_outbox_close(outbox) == EDGESENTRY_OK);
    puts("ok");
    return 0;
}
