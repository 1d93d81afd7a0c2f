/*
 * Where the parts of an image lie: files below a directory, or members of a tar archive, which is not unpacked for it. Names are as the
 * image's JSON has them, and never lead out of the store.
 */
#pragma once

#include "tools/image/digest.h"

struct store;

/* A directory, or an archive in any compression that libarchive knows. Die when they cannot be read. `name` is used in messages. */
struct store *store_of_directory(const char *directory);
struct store *store_of_archive(const char *file);
void store_close(struct store *store);
const char *store_name(const struct store *store);

/* A part that is being read. */
struct part;

/* NULL when there is no such file. */
struct part *part_open(struct store *store, const char *name);
uint64_t part_size(const struct part *part);
/* The next bytes: how many, 0 at the end. Dies when they cannot be read. */
size_t part_read(struct part *part, void *data, size_t size);
void part_close(struct part *part);

/* A whole small part with a NUL behind it, allocated; it is at most JSON_MOST long. NULL when there is no such file. */
char *store_read(struct store *store, const char *name, size_t *size);

/* The same of the blob with that digest, in blobs/ALGORITHM/HEX; dies when it is not there or not what the digest says. */
char *store_read_blob(struct store *store, const struct digest *digest, size_t *size);

/* The name of such a blob, allocated. */
char *blob_name(const struct digest *digest);
