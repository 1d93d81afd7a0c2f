/*
 * Digests of what images are made of: "sha256:HEX" or "sha512:HEX". The sums come from libnettle, which libarchive needs too; it is
 * loaded with the first sum.
 */
#pragma once

#include "tools/common.h"

enum { DIGEST_MOST = 64, DIGEST_TEXT = 7 + 2 * DIGEST_MOST + 1 };

struct digest {
    char text[DIGEST_TEXT]; /* "sha256:HEX", lower case */
};

/* Whether the text is a digest of a kind that is known; nothing else is ever made a file's name. */
bool digest_parse(const char *text, struct digest *digest);

/* The part behind the colon. */
const char *digest_hex(const struct digest *digest);

/* The algorithm's name, "sha256" or "sha512". */
const char *digest_algorithm(const struct digest *digest);

/* A sum that grows. Kinds as above; NULL: sha256. */
struct sum;
struct sum *sum_new(const char *algorithm);
void sum_add(struct sum *sum, const void *data, size_t size);
/* The digest; frees the sum. */
struct digest sum_end(struct sum *sum);

/* Of bytes in memory, and of a whole file; the latter is false with errno when it cannot be read. */
struct digest digest_of(const char *algorithm, const void *data, size_t size);
bool digest_of_file(const char *algorithm, int fd, uint64_t from, uint64_t size, struct digest *digest);
