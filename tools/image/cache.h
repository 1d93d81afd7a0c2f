/*
 * Layers that were unpacked once: tar archives named by the digest of their bytes (the diff_id of OCI), in $XDG_CACHE_HOME/knarr/layers.
 * A name says what is in the file, whichever image, tag or compression it came from, so an entry is never out of date. The bytes are
 * summed again at each use: what is not what its name says is thrown away. The oldest go when all are larger than
 * $KNARR_CACHE_SIZE (4G; 0: no cache).
 */
#pragma once

#include "tools/image/digest.h"

/* A layer's archive, verified, or -1 when it is not there. */
int cache_find(const struct digest *diff_id);

/* A file without a name that can become an entry, or -1: there is no cache. */
int cache_create(void);

/* It is complete, and has been verified: gives it its name. Whatever fails is silent: then it is not in the cache. */
void cache_keep(int fd, const struct digest *diff_id);
