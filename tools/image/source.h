/*
 * What `knarr build` makes images of: docker-archive:FILE[:TAG], oci-archive:FILE[:TAG], oci:DIR[:TAG], docker://NAME, dockerfile:DIR, a
 * directory, an ELF file, or "-" for a tar archive on standard input.
 */
#pragma once

#include "tools/erofs/writer.h"
#include "tools/image/json.h"

struct source_options {
    bool use_cache, quiet;
    bool insecure; /* docker://: a registry without certificates */
};

/*
 * Puts the source's files into the tree. Returns the image's configuration (for the caller to own) or NULL: it has none. Dies when the
 * source cannot be used.
 */
json_t *source_add(struct erofs_tree *tree, const char *source, const struct source_options *options);
