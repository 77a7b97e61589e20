/* A producer of Arrow arrays over the C data interface with false claims, each within mapped memory. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

enum { ROWS = 50, COLUMNS = 7 };

static const char *NAMES[COLUMNS] = {"device_id", "sequence", "timestamp_ms", "payload_hash",
                                     "signature", "prev_record_hash", "object_ref"};
static const char *FORMATS[COLUMNS] = {"u", "L", "L", "w:32", "w:64", "w:32", "u"};

/* Memory is freed only at the end of the process: exported arrays may be read after their release. */
static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }
static void release_array(struct ArrowArray *array) { array->release = NULL; }

static uint64_t state;
static uint64_t below(uint64_t bound) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % bound;
}

static void *zeroed(size_t bytes) { return calloc(1, bytes); }

static void text(struct ArrowArray *array) {
    int32_t *offsets = malloc((ROWS + 1) * sizeof *offsets);
    char *values = malloc(ROWS * 8);
    memset(values, 'x', ROWS * 8);
    for (int row = 0; row <= ROWS; row++) offsets[row] = row * 8;
    array->n_buffers = 3;
    array->buffers = zeroed(3 * sizeof(void *));
    array->buffers[1] = offsets, array->buffers[2] = values;
}

static void fixed(struct ArrowArray *array, size_t width) {
    array->n_buffers = 2;
    array->buffers = zeroed(2 * sizeof(void *));
    array->buffers[1] = zeroed(ROWS * width);
}

/* Builds the texts of a column as views, or as a dictionary of one text. */
static void as_views(struct ArrowSchema *schema, struct ArrowArray *array, int lie) {
    struct view { int32_t length; char prefix[4]; int32_t buffer, offset; } *views = zeroed(ROWS * sizeof *views);
    char *values = malloc(64);
    memset(values, 'x', 64);
    int64_t *lengths = zeroed(sizeof *lengths);
    lengths[0] = 64;
    for (int row = 0; row < ROWS; row++) views[row] = (struct view){20, "xxxx", 0, row % 40};
    struct view *bad = &views[below(ROWS)];
    switch (lie) {
    case 1: bad->buffer = 1; break;
    case 2: bad->buffer = -1; break;
    case 3: bad->offset = 60; break;
    case 4: bad->offset = -4; break;
    case 5: bad->length = -20; break;
    case 6: bad->length = 0x7fffffff; break;
    case 7: values[below(64)] = (char)0xff; break;
    case 8: lengths[0] = 1; break;
    case 9: memcpy(bad->prefix, "yyyy", 4); break;
    }
    schema->format = "vu";
    array->n_buffers = 4;
    array->buffers = zeroed(4 * sizeof(void *));
    array->buffers[1] = views, array->buffers[2] = values, array->buffers[3] = lengths;
}

static void as_dictionary(struct ArrowSchema *schema, struct ArrowArray *array, int lie) {
    int32_t *keys = zeroed(ROWS * sizeof *keys);
    schema->dictionary = zeroed(sizeof *schema);
    *schema->dictionary = (struct ArrowSchema){.format = "u", .name = "", .flags = 2, .release = release_schema};
    array->dictionary = zeroed(sizeof *array);
    *array->dictionary = (struct ArrowArray){.length = 3, .release = release_array};
    text(array->dictionary);
    schema->format = "i";
    array->n_buffers = 2;
    array->buffers = zeroed(2 * sizeof(void *));
    array->buffers[1] = keys;
    switch (lie) {
    case 1: keys[below(ROWS)] = 3; break;
    case 2: keys[below(ROWS)] = -1; break;
    case 3: keys[below(ROWS)] = 0x7fffffff; break;
    case 4: array->dictionary->length = 0; break;
    case 5: ((int32_t *)array->dictionary->buffers[1])[1] = 100; break;
    }
}

/* Builds the batch with the false claim of this number. */
void hostile(uint64_t seed, struct ArrowSchema *schema, struct ArrowArray *array) {
    state = seed * 0x9e3779b97f4a7c15u + 1;
    *schema = (struct ArrowSchema){.format = "+s", .name = "", .n_children = COLUMNS, .release = release_schema};
    *array = (struct ArrowArray){.length = ROWS, .n_buffers = 1, .n_children = COLUMNS, .release = release_array};
    schema->children = zeroed(COLUMNS * sizeof(void *));
    array->children = zeroed(COLUMNS * sizeof(void *));
    array->buffers = zeroed(sizeof(void *));
    for (int at = 0; at < COLUMNS; at++) {
        schema->children[at] = zeroed(sizeof *schema);
        *schema->children[at] =
            (struct ArrowSchema){.format = FORMATS[at], .name = NAMES[at], .flags = 2, .release = release_schema};
        array->children[at] = zeroed(sizeof *array);
        *array->children[at] = (struct ArrowArray){.length = ROWS, .release = release_array};
        if (FORMATS[at][0] == 'u') text(array->children[at]);
        else fixed(array->children[at], FORMATS[at][0] == 'L' ? 8 : (size_t)atoi(FORMATS[at] + 2));
    }
    int column = below(2) ? 0 : 6, any = below(COLUMNS);
    struct ArrowSchema *kind = schema->children[column];
    struct ArrowArray *texts = array->children[column];
    int32_t *offsets = (int32_t *)texts->buffers[1];
    static const char *ODD[] = {"zz", "", "w:0", "w:31", "+l", "+s", "n", "b", "tsm:", "+w:3", "d:20,0", "U", "+vl", "+r"};
    switch (seed % 24) {
    case 0: break;
    case 1: offsets[1 + below(ROWS - 1)] = 0; break;
    case 2: offsets[below(ROWS)] = -1 - (int32_t)below(100); break;
    case 3: offsets[below(ROWS)] = ROWS * 8 + (int32_t)below(1000); break;
    case 4: ((char *)texts->buffers[2])[below(ROWS * 8)] = (char)0xff; break;
    case 5: array->children[any]->null_count = (int64_t)below(3) * 1000 - 1000; break;
    case 6: schema->children[any]->format = ODD[below(sizeof ODD / sizeof *ODD)]; break;
    case 7: array->children[any]->length = below(ROWS); break;
    case 8: array->n_children = below(COLUMNS); break;
    case 9: schema->n_children = below(COLUMNS); break;
    case 10: schema->children[any]->name = NAMES[below(COLUMNS)]; break;
    case 11: array->children[any]->n_buffers = below(2); break;
    case 12: array->length = below(ROWS); break;
    case 13: array->children[any]->length = ROWS - 10, array->children[any]->offset = 10, array->length = ROWS - 10; break;
    case 14: array->children[any]->buffers[0] = zeroed(8), array->children[any]->null_count = ROWS; break;
    case 15: offsets[ROWS] = offsets[ROWS - 1]; break;
    case 16: array->buffers[0] = zeroed(8), array->null_count = ROWS; break;
    case 17: schema->children[any]->name = "__index_level_0__"; break;
    case 18: case 19: case 20: as_views(kind, texts, below(10)); break;
    default: as_dictionary(kind, texts, below(6)); break;
    }
}
