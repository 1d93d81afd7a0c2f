/*
 * SHA-256 digests as the OCI specifications write them: "sha256:" and 64 hexadecimal digits. Computed by nettle, which is loaded when the
 * first one is needed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_TEXT = 7 + 64 + 1 };

struct digest; /* one that is being computed */

struct digest *digest_begin(void);
void digest_add(struct digest *digest, const void *data, size_t size);
/* Ends and frees it. */
void digest_end(struct digest *digest, char text[DIGEST_TEXT]);

/* Of bytes in memory, and of `size` bytes of a file from an offset on (false with errno, ENODATA when it is shorter). */
void digest_of(const void *data, size_t size, char text[DIGEST_TEXT]);
bool digest_of_file(int fd, uint64_t offset, uint64_t size, char text[DIGEST_TEXT]);

/* Whether it is a digest as above. */
bool digest_is_valid(const char *text);
