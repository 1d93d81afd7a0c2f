/*
 * libFuzzer's entry for the JSON of container images: the input's pieces, separated by NUL bytes, are the documents that a store has, in the order
 * in which they are asked for. What ends the program ends the run; memory is given back behind its back.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/config.h"
#include "tools/image/oci.h"
#include "tools/image/user.h"

static jmp_buf ended;
static const char *next, *end;

/* --- Memory of jansson --- */

static struct block {
    struct block *next, **link;
    _Alignas(16) char bytes[];
} * blocks;

static void *allocate(size_t size) {
    struct block *block = malloc(sizeof(*block) + size);

    block->next = blocks;
    block->link = &blocks;
    if (blocks)
        blocks->link = &block->next;
    blocks = block;
    return block->bytes;
}

static void release(void *memory) {
    struct block *block = memory ? (struct block *)((char *)memory - offsetof(struct block, bytes)) : NULL;

    if (!block)
        return;
    *block->link = block->next;
    if (block->next)
        block->next->link = block->link;
    free(block);
}

/* --- What the code under test calls --- */

void __wrap_die(int status, const char *fmt, ...);
void __wrap_die(int status, const char *fmt, ...) { longjmp(ended, 1); }

const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

char *store_read(struct store *store, const char *name, size_t *size) {
    if (next >= end)
        return NULL;
    const char *zero = memchr(next, 0, (size_t)(end - next));
    *size = (size_t)((zero ? zero : end) - next);
    char *text = xmalloc(*size + 1);
    memcpy(text, next, *size);
    text[*size] = '\0';
    next += *size + 1;
    return text;
}

char *store_read_blob(struct store *store, const struct digest *digest, size_t *size) {
    char *text = store_read(store, "", size);

    return text ? text : xstrdup("");
}

const char *store_name(const struct store *store) { return "store"; }
void store_close(struct store *store) {}
char *blob_name(const struct digest *digest) { return xstrdup(digest->text); }

static void use(struct image image) {
    static const struct config_options none;
    static const char passwd[] = "root:x:0:0::/root:\nbob:x:5:6::/home:\n";
    struct user user;

    json_t *config = config_make(json_incref(image.config), &none);
    struct image_config read = config_read(config, "image");
    char *problem = user_resolve(&user, read.user, passwd, passwd);
    free(problem ? problem : user_record(&user));
    release(json_print(config));
    image_close(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_set_alloc_funcs(allocate, release);
    json_object_seed(1);
    next = (const char *)data + 1;
    end = (const char *)data + size;
    if (size > 0 && setjmp(ended) == 0)
        use(data[0] & 1 ? oci_read(NULL, data[0] & 2 ? "v1" : NULL)
                        : docker_archive_read(NULL, data[0] & 2 ? "v1" : NULL));
    while (blocks)
        release(blocks->bytes);
    return 0;
}
