/*
 * Layers of an image, on their way from a store to an archive that can be read: unpacked, and verified against both of their digests.
 */
#pragma once

#include "tools/image/store.h"

struct layer {
    char *name;            /* its part in the store */
    struct digest blob;    /* of the part; empty: it has none */
    uint64_t size;         /* of the part, when it has a digest */
    struct digest diff_id; /* of the tar archive in it */
};

/*
 * The layer's tar archive, from the cache or from the store; *cached says which. Dies when the layer is missing, damaged or not what
 * its digests say. The caller owns the descriptor.
 */
int layer_open(struct store *store, const struct layer *layer, bool use_cache, bool *cached);
