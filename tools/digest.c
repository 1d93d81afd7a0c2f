/*
 * Digests; see the header.
 */
#include "tools/digest.h"

#include <dlfcn.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/common.h"

#define LIBRARY "libnettle.so.8"

enum { BLOCK = 256 << 10 };

static __typeof__(sha256_init) *init;
static __typeof__(sha256_update) *update;
static __typeof__(sha256_digest) *finish;

struct digest {
    struct sha256_ctx context;
};

#define TEXT(name) #name
#define SYMBOL(name) TEXT(name) /* nettle's headers rename their functions */

static void load_library(void) {
    if (init)
        return;
    void *library = dlopen(LIBRARY, RTLD_NOW);

    if (!library)
        die(STATUS_FAILED, "digests need %s (Debian: apt-get install libnettle8)", LIBRARY);
    init = (__typeof__(init))dlsym(library, SYMBOL(sha256_init));
    update = (__typeof__(update))dlsym(library, SYMBOL(sha256_update));
    finish = (__typeof__(finish))dlsym(library, SYMBOL(sha256_digest));
    if (!init || !update || !finish)
        die(STATUS_FAILED, "%s has no SHA-256", LIBRARY);
}

struct digest *digest_begin(void) {
    struct digest *digest = xmalloc(sizeof(*digest));

    load_library();
    init(&digest->context);
    return digest;
}

void digest_add(struct digest *digest, const void *data, size_t size) { update(&digest->context, size, data); }

void digest_end(struct digest *digest, char text[DIGEST_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[SHA256_DIGEST_SIZE];
    char *end = stpcpy(text, "sha256:");

    finish(&digest->context, sizeof(bytes), bytes);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        *end++ = digits[bytes[i] >> 4];
        *end++ = digits[bytes[i] & 15];
    }
    *end = '\0';
    free(digest);
}

void digest_of(const void *data, size_t size, char text[DIGEST_TEXT]) {
    struct digest *digest = digest_begin();

    digest_add(digest, data, size);
    digest_end(digest, text);
}

bool digest_of_file(int fd, uint64_t offset, uint64_t size, char text[DIGEST_TEXT]) {
    struct digest *digest = digest_begin();
    uint8_t *block = xmalloc(BLOCK);
    bool good = true;

    while (good && size > 0) {
        ssize_t got = pread(fd, block, size < BLOCK ? (size_t)size : BLOCK, (off_t)offset);
        if (got > 0) {
            digest_add(digest, block, (size_t)got);
            offset += (uint64_t)got;
            size -= (uint64_t)got;
        } else if (got == 0 || errno != EINTR) {
            errno = got == 0 ? ENODATA : errno;
            good = false;
        }
    }
    int error = errno;
    free(block);
    digest_end(digest, text);
    errno = error;
    return good;
}

bool digest_is_valid(const char *text) {
    return strncmp(text, "sha256:", 7) == 0 && strlen(text) == DIGEST_TEXT - 1 &&
           strspn(text + 7, "0123456789abcdef") == DIGEST_TEXT - 8;
}
