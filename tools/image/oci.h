/*
 * Images of OCI and docker, as they lie in a store: which of them is meant, its configuration, its layers. All that is read on the way
 * has been verified against the digest that led to it.
 */
#pragma once

#include "tools/image/json.h"
#include "tools/image/layer.h"

struct image {
    struct store *store;
    json_t *config; /* the whole configuration, with "config" and "rootfs" */
    struct layer *layers;
    size_t layer_count;
};

/*
 * An OCI layout (index.json and blobs/). tag: the image's name in it (org.opencontainers.image.ref.name), or NULL: the only one; of
 * several for different platforms the one for linux/amd64. Dies when there is none.
 */
struct image oci_read(struct store *store, const char *tag);

/* What `docker save` writes (manifest.json). tag: one of its RepoTags, with or without the repository; NULL: the only image. */
struct image docker_archive_read(struct store *store, const char *tag);

void image_close(struct image *image);

/* For both: takes the diff_ids out of the configuration, of which there must be as many as layers. */
void image_take_diff_ids(struct image *image);
