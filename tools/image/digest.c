/*
 * Digests by libnettle; see the header. Its list of algorithms is all that is taken from it: each has its functions in a table.
 */
#include "tools/image/digest.h"

#include <dlfcn.h>
#include <errno.h>
#include <nettle/nettle-meta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libnettle.so.8"

enum { BLOCK = 256 << 10 };

struct sum {
    const struct nettle_hash *hash;
    _Alignas(16) char context[];
};

static const struct nettle_hash *find_hash(const char *name) {
    static const struct nettle_hash *const *hashes;

    if (!hashes) {
        void *library = dlopen(LIBRARY, RTLD_NOW);
        const struct nettle_hash *const *(*get)(void) = NULL;
        if (library)
            *(void **)&get = dlsym(library, "nettle_get_hashes");
        if (!get)
            die(STATUS_FAILED, "digests need %s (Debian: apt-get install libnettle8)", LIBRARY);
        hashes = get();
    }
    for (const struct nettle_hash *const *hash = hashes; *hash; hash++) {
        if (strcmp((*hash)->name, name) == 0 && (*hash)->digest_size <= DIGEST_MOST)
            return *hash;
    }
    die(STATUS_FAILED, "%s has no %s", LIBRARY, name);
}

bool digest_parse(const char *text, struct digest *digest) {
    size_t prefix = 7, length = text ? strlen(text) : 0;

    if (!(length == prefix + 64 && strncmp(text, "sha256:", prefix) == 0) &&
        !(length == prefix + 128 && strncmp(text, "sha512:", prefix) == 0))
        return false;
    if (strspn(text + prefix, "0123456789abcdef") != length - prefix)
        return false;
    strcpy(digest->text, text);
    return true;
}

const char *digest_hex(const struct digest *digest) { return digest->text + 7; }

const char *digest_algorithm(const struct digest *digest) {
    return strncmp(digest->text, "sha512:", 7) == 0 ? "sha512" : "sha256";
}

struct sum *sum_new(const char *algorithm) {
    const struct nettle_hash *hash = find_hash(algorithm ? algorithm : "sha256");
    struct sum *sum = xmalloc(sizeof(*sum) + hash->context_size);

    sum->hash = hash;
    hash->init(sum->context);
    return sum;
}

void sum_add(struct sum *sum, const void *data, size_t size) { sum->hash->update(sum->context, size, data); }

struct digest sum_end(struct sum *sum) {
    uint8_t bytes[DIGEST_MOST];
    struct digest digest;
    char *end = digest.text + sprintf(digest.text, "%s:", sum->hash->name);

    sum->hash->digest(sum->context, sum->hash->digest_size, bytes);
    for (unsigned i = 0; i < sum->hash->digest_size; i++)
        end += sprintf(end, "%02x", bytes[i]);
    free(sum);
    return digest;
}

struct digest digest_of(const char *algorithm, const void *data, size_t size) {
    struct sum *sum = sum_new(algorithm);

    sum_add(sum, data, size);
    return sum_end(sum);
}

bool digest_of_file(const char *algorithm, int fd, uint64_t from, uint64_t size, struct digest *digest) {
    struct sum *sum = sum_new(algorithm);
    char *buffer = xmalloc(BLOCK);
    ssize_t got = 1;

    for (uint64_t done = 0; got > 0 && done < size; done += (uint64_t)got) {
        got = pread(fd, buffer, size - done < BLOCK ? size - done : BLOCK, (off_t)(from + done));
        if (got > 0)
            sum_add(sum, buffer, (size_t)got);
    }
    free(buffer);
    *digest = sum_end(sum);
    if (got == 0)
        errno = EIO;
    return got > 0 || size == 0;
}
